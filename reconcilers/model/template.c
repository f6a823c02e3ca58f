#include "reconcilers/model/template.h"

#include "controller/base/str.h"
#include "controller/runtime/object_type.h"
#include "reconcilers/model/codec_internal.h"
#include "reconcilers/model/names.h"
#include "reconcilers/model/words.h"

enum { TERMINATION_GRACE_S = 30 };

const struct kube_resource KUBE_SANDBOX_TEMPLATES = {CODEC_GROUP, CODEC_VERSION, "sandboxtemplates",
                                                     "SandboxTemplate", false};

static const struct field port_fields[] = {
    TEXT("name", struct template_port, name),
    INT("containerPort", struct template_port, container_port),
    INT("servicePort", struct template_port, service_port),
    END,
};
static const struct field probe_fields[] = {
    RAW("liveness", struct sandbox_template, liveness),
    RAW("readiness", struct sandbox_template, readiness),
    RAW("startup", struct sandbox_template, startup),
    END,
};
static const struct field spec_fields[] = {
    TEXT("image", struct sandbox_template, image),
    LIST("command", FIELD_TEXTS, struct sandbox_template, command, command_count),
    LIST("args", FIELD_TEXTS, struct sandbox_template, args, arg_count),
    TEXT("workingDir", struct sandbox_template, working_dir),
    OBJECTS("ports", struct sandbox_template, ports, port_count, struct template_port, port_fields),
    OBJECTS("env", struct sandbox_template, env, env_count, struct text_pair, codec_pair_fields),
    RAW("resources", struct sandbox_template, resources),
    OBJECT("probes", probe_fields),
    LIST("scratch", FIELD_TEXTS, struct sandbox_template, scratch, scratch_count),
    TEXT("runtimeClassName", struct sandbox_template, runtime_class),
    INT("runAsUser", struct sandbox_template, run_as_user),
    INT("terminationGracePeriodSeconds", struct sandbox_template, termination_grace_s),
    END,
};
static const struct field status_fields[] = {
    INT("observedGeneration", struct sandbox_template, observed_generation),
    INT("tenants", struct sandbox_template, status_tenants),
    CONDITIONS(struct sandbox_template, conditions),
    END,
};
static const struct field template_fields[] = {
    KEPT_TEXT(struct sandbox_template, uid),
    KEPT_INT(struct sandbox_template, generation),
    KEPT_BOOL(struct sandbox_template, deleting),
    KEPT_BOOL(struct sandbox_template, in_use_label),
    OBJECT("spec", spec_fields),
    OBJECT("status", status_fields),
    END,
};

int sandbox_template_decode(struct str json, struct arena *arena, struct sandbox_template *ret,
                            struct err *err)
{
    struct kube_meta meta = {0};
    *ret = (struct sandbox_template){.termination_grace_s = TERMINATION_GRACE_S,
                                     .status_tenants = -1,
                                     .observed_generation = -1};
    if (object_read(json, arena, template_fields, &meta, ret, err)) {
        return -1;
    }
    ret->name = meta.name;
    ret->uid = meta.uid;
    ret->resource_version = meta.resource_version;
    ret->generation = meta.generation;
    ret->deleting = meta.deletion_timestamp != NULL;
    ret->in_use_label = kube_pair_get(meta.labels, meta.label_count, NAME_LABEL_IN_USE) != NULL;
    return 0;
}

static int pack(struct str json, struct arena *scratch, struct buf *payload,
                struct record_head *ret_head, struct err *err)
{
    struct sandbox_template *template_ = ARENA_NEW(scratch, struct sandbox_template);
    if (sandbox_template_decode(json, scratch, template_, err)) {
        return -1;
    }
    codec_fill_head(ret_head, template_->name, template_->uid, template_->resource_version);
    fields_pack(template_fields, &record_dictionary, template_, payload);
    return 0;
}

const struct codec sandbox_template_codec = {.resource = &KUBE_SANDBOX_TEMPLATES, .pack = pack};

void sandbox_template_unpack(const struct record *record, struct arena *arena,
                             struct sandbox_template *ret)
{
    *ret = (struct sandbox_template){0};
    fields_unpack(template_fields, &record_dictionary, record_payload(record), arena, ret);
    ret->name = arena_strdup(arena, record_key(record));
    ret->resource_version = arena_strdup(arena, record_resource_version(record));
}

void sandbox_template_spec_pack(const struct sandbox_template *template_, struct buf *out)
{
    fields_pack(spec_fields, NULL, template_, out);
}

const struct sandbox_template *sandbox_template_find(struct cache *templates, struct arena *arena,
                                                     const char *name)
{
    AUTO(record) const struct record *record = cache_get(templates, name);
    if (!record) {
        return NULL;
    }
    struct sandbox_template *template_ = ARENA_NEW(arena, struct sandbox_template);
    sandbox_template_unpack(record, arena, template_);
    return template_;
}

const struct sandbox *tenant_sandboxes(const struct tenant *tenant, const struct tier *tier,
                                       size_t *ret_count)
{
    if (tenant->lists_sandboxes) {
        *ret_count = tenant->sandbox_count;
        return tenant->sandboxes;
    }
    *ret_count = tier ? tier->sandbox_count : 0;
    return tier ? tier->sandboxes : NULL;
}

const char *sandbox_template_name(const struct sandbox *sandbox)
{
    return text_is_empty(sandbox->template_) ? SANDBOX_TEMPLATE : sandbox->template_;
}
