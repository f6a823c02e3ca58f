#include "reconcilers/objects/child.h"

#include <stddef.h>

#include "controller/base/str.h"
#include "controller/kube/object.h"
#include "controller/runtime/condition.h"
#include "controller/runtime/fields.h"
#include "reconcilers/model/names.h"
#include "reconcilers/model/words.h"
#include "reconcilers/objects/objects.h"

enum { CONTENT_MAX_BYTES = 4 << 20 };

static const struct kube_resource deployments = {"apps", "v1", "deployments", "Deployment", true};
static const struct kube_resource services = {"", "v1", "services", "Service", true};
static const struct kube_resource accounts = {"", "v1", "serviceaccounts", "ServiceAccount", true};
static const struct kube_resource quotas = {"", "v1", "resourcequotas", "ResourceQuota", true};
static const struct kube_resource limits = {"", "v1", "limitranges", "LimitRange", true};
static const struct kube_resource policies = {"networking.k8s.io", "v1", "networkpolicies",
                                              "NetworkPolicy", true};
static const struct kube_resource ingresses = {"networking.k8s.io", "v1", "ingresses", "Ingress",
                                               true};
static const struct kube_resource http_routes = {"gateway.networking.k8s.io", "v1", "httproutes",
                                                 "HTTPRoute", true};
static const struct kube_resource service_monitors = {"monitoring.coreos.com", "v1",
                                                      "servicemonitors", "ServiceMonitor", true};
static const struct kube_resource pod_monitors = {"monitoring.coreos.com", "v1", "podmonitors",
                                                  "PodMonitor", true};
static const struct kube_resource prometheus_rules = {"monitoring.coreos.com", "v1",
                                                      "prometheusrules", "PrometheusRule", true};

/* ---- from JSON ---- */

struct child_spec {
    int64_t replicas;
};
static const struct field spec_fields[] = {
    {FIELD_NAME("replicas"), .kind = FIELD_INT, .offset = offsetof(struct child_spec, replicas)},
    {.name = NULL},
};

struct child_status {
    int64_t observed_generation;
    int64_t updated;
    int64_t ready;
    int64_t available;
    struct condition_set conditions;
};
#define STATUS_INT(json, at)                                                                       \
    {FIELD_NAME(json), .kind = FIELD_INT, .offset = offsetof(struct child_status, at)}
static const struct field status_fields[] = {
    STATUS_INT("observedGeneration", observed_generation),
    STATUS_INT("updatedReplicas", updated),
    STATUS_INT("readyReplicas", ready),
    STATUS_INT("availableReplicas", available),
    {FIELD_NAME("conditions"), .kind = FIELD_CONDITIONS,
     .offset = offsetof(struct child_status, conditions)},
    {.name = NULL},
};

/* Everything there is to say goes into one hash: members in the order in which the server writes
 * them, which is always the same. */
static void take_content(struct buf *content, struct str name, struct str raw)
{
    (void)buf_append_str(content, name);
    (void)buf_append_char(content, 0);
    (void)buf_append_str(content, raw);
    (void)buf_append_char(content, 0);
}

static void take_labels(struct buf *content, const struct kube_meta *meta)
{
    for (size_t i = 0; i < meta->label_count; i++) {
        take_content(content, str_from(meta->labels[i].name), str_from(meta->labels[i].value));
    }
}

/* A Deployment says in two conditions that its Pods do not come up. */
static const char *failure_of(const struct condition_set *conditions)
{
    const struct condition *refused = condition_get(conditions, "ReplicaFailure");
    const struct condition *progress = condition_get(conditions, "Progressing");
    if (refused && refused->status == CONDITION_TRUE) {
        return refused->message;
    }
    return progress && progress->status == CONDITION_FALSE ? progress->message : "";
}

static void read_member(struct jsonr *reader, struct arena *arena, struct str name,
                        struct kube_meta *meta, struct child_status *status, struct buf *content,
                        struct child *child)
{
    struct str raw = {0};
    if (str_equal(name, STR("metadata"))) {
        if (!kube_meta_read(reader, arena, meta)) {
            *meta = (struct kube_meta){0};
        }
    } else if (str_equal(name, STR("status"))) {
        (void)fields_read(reader, arena, status_fields, status);
    } else if (str_equal(name, STR("apiVersion")) || str_equal(name, STR("kind"))) {
        jsonr_skip(reader);
    } else if (jsonr_raw(reader, &raw)) {
        take_content(content, name, raw);
        if (str_equal(name, STR("spec"))) {
            struct child_spec spec = {0};
            struct jsonr inner;
            jsonr_init(&inner, raw);
            (void)fields_read(&inner, arena, spec_fields, &spec);
            child->replicas = spec.replicas;
        }
    }
}

static const char *label(const struct kube_meta *meta, const char *name)
{
    const char *value = kube_pair_get(meta->labels, meta->label_count, name);
    return value ? value : "";
}

static int decode(struct str json, struct arena *arena, struct kube_meta *meta, struct child *ret,
                  struct err *err)
{
    AUTO(buf) struct buf content = BUF(CONTENT_MAX_BYTES);
    struct child_status *status = ARENA_NEW(arena, struct child_status);
    struct jsonr reader;
    struct str name;

    *ret = (struct child){0};
    jsonr_init(&reader, json);
    bool is_object = jsonr_object_begin(&reader);
    while (is_object && jsonr_member(&reader, &name)) {
        read_member(&reader, arena, name, meta, status, &content, ret);
    }
    if (jsonr_failed(&reader) || buf_failed(&content) || text_is_empty(meta->name) ||
        text_is_empty(meta->uid)) {
        return err_set(err, ERR_TERMINAL, "InvalidObject", "not an object with name and uid");
    }
    take_labels(&content, meta);
    ret->tenant = label(meta, NAME_LABEL_TENANT);
    ret->tenant_uid = label(meta, NAME_LABEL_TENANT_UID);
    ret->deleting = meta->deletion_timestamp != NULL;
    ret->content = hash_128(buf_str(&content));
    ret->generation = meta->generation;
    ret->observed_generation = status->observed_generation;
    ret->updated = status->updated;
    ret->ready = status->ready;
    ret->available = status->available;
    ret->failure = failure_of(&status->conditions);
    return 0;
}

int child_decode(struct str json, struct arena *arena, struct child *ret, struct err *err)
{
    struct kube_meta meta = {0};
    return decode(json, arena, &meta, ret, err);
}

/* ---- as a record ---- */

#define KEPT(kind_, at)                                                                            \
    {.name = #at, .kind = (kind_), .packed_only = true, .offset = offsetof(struct child, at)}
static const struct field child_fields[] = {
    KEPT(FIELD_TEXT, tenant),
    KEPT(FIELD_TEXT, tenant_uid),
    KEPT(FIELD_BOOL, deleting),
    KEPT(FIELD_INT, content.high),
    KEPT(FIELD_INT, content.low),
    KEPT(FIELD_INT, generation),
    KEPT(FIELD_INT, replicas),
    KEPT(FIELD_INT, observed_generation),
    KEPT(FIELD_INT, updated),
    KEPT(FIELD_INT, ready),
    KEPT(FIELD_INT, available),
    KEPT(FIELD_TEXT, failure),
    {.name = NULL},
};

static int pack(struct str json, struct arena *scratch, struct buf *payload,
                struct record_head *ret_head, struct err *err)
{
    struct kube_meta meta = {0};
    struct child *child = ARENA_NEW(scratch, struct child);
    if (decode(json, scratch, &meta, child, err)) {
        return -1;
    }
    ret_head->key = text_is_empty(meta.namespace_)
                        ? str_from(meta.name)
                        : str_from(arena_printf(scratch, "%s/%s", meta.namespace_, meta.name));
    ret_head->uid = str_from(meta.uid);
    ret_head->resource_version = str_from(meta.resource_version);
    fields_pack(child_fields, &record_dictionary, child, payload);
    return 0;
}

const struct codec child_codecs[CHILD_KIND_COUNT] = {
    [CHILD_DEPLOYMENT] = {.resource = &deployments, .pack = pack},
    [CHILD_SERVICE] = {.resource = &services, .pack = pack},
    [CHILD_SERVICE_ACCOUNT] = {.resource = &accounts, .pack = pack},
    [CHILD_RESOURCE_QUOTA] = {.resource = &quotas, .pack = pack},
    [CHILD_LIMIT_RANGE] = {.resource = &limits, .pack = pack},
    [CHILD_NETWORK_POLICY] = {.resource = &policies, .pack = pack},
    [CHILD_ROLE_BINDING] = {.resource = &KUBE_ROLE_BINDINGS, .pack = pack},
    [CHILD_NAMESPACE] = {.resource = &KUBE_NAMESPACES, .pack = pack},
    [CHILD_ROLE] = {.resource = &KUBE_ROLES, .pack = pack},
    [CHILD_INGRESS] = {.resource = &ingresses, .pack = pack},
    [CHILD_HTTP_ROUTE] = {.resource = &http_routes, .pack = pack},
    [CHILD_SERVICE_MONITOR] = {.resource = &service_monitors, .pack = pack},
    [CHILD_POD_MONITOR] = {.resource = &pod_monitors, .pack = pack},
    [CHILD_PROMETHEUS_RULE] = {.resource = &prometheus_rules, .pack = pack},
};

void child_unpack(const struct record *record, struct arena *arena, struct child *ret)
{
    *ret = (struct child){0};
    fields_unpack(child_fields, &record_dictionary, record_payload(record), arena, ret);
}

bool child_is_available(const struct child *child)
{
    return child->observed_generation >= child->generation && child->updated >= child->replicas &&
           child->available >= child->replicas;
}
