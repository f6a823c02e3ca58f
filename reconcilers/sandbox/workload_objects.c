/* A sandbox as Kubernetes wants it: a Deployment that meets the restricted Pod Security profile by
 * itself, and a Service. */
#include "controller/base/str.h"
#include "reconcilers/model/names.h"
#include "reconcilers/objects/objects.h"
#include "reconcilers/sandbox/sandbox_internal.h"

enum { REVISIONS_KEPT = 2 };

#define CONTAINER "sandbox"
#define SCRATCH_SIZE "1Gi" /* of the node's disk, each */

struct body {
    struct arena *arena;
    const struct tenant_work *work;
    const struct planned_sandbox *item;
    struct jsonw writer;
};

static void begin(struct body *body, const struct intent *intent)
{
    const struct kube_pair label = {NAME_LABEL_SANDBOX, body->item->spec->name};
    intent_begin(intent, &body->writer, body->work, &label);
    jsonw_object(&body->writer, "spec");
}

static void end(struct body *body)
{
    jsonw_end_object(&body->writer);
    jsonw_end_object(&body->writer);
}

static void write_texts(struct jsonw *writer, const char *name, const char *const *texts,
                        size_t count)
{
    if (count == 0) {
        return;
    }
    jsonw_array(writer, name);
    for (size_t i = 0; i < count; i++) {
        jsonw_text(writer, NULL, texts[i]);
    }
    jsonw_end_array(writer);
}

static void write_raw(struct jsonw *writer, const char *name, const char *json)
{
    if (!text_is_empty(json)) {
        jsonw_raw(writer, name, str_from(json));
    }
}

/* ---- environment ---- */

static void write_env(struct jsonw *writer, const char *name, const char *value)
{
    jsonw_object(writer, NULL);
    jsonw_text(writer, "name", name);
    jsonw_text(writer, "value", value);
    jsonw_end_object(writer);
}

static bool names(const struct text_pair *pairs, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (text_equal(pairs[i].name, name)) {
            return true;
        }
    }
    return false;
}

static bool is_ours(const char *name)
{
    return text_equal(name, "TENANT_ID") || text_equal(name, "TENANT_SUBDOMAIN");
}

/* Ours, then the tenant's, then what of the template neither overrides. */
static void write_environment(struct body *body)
{
    const struct sandbox *spec = body->item->spec;
    const struct sandbox_template *template_ = body->item->template_;
    struct jsonw *writer = &body->writer;

    jsonw_array(writer, "env");
    write_env(writer, "TENANT_ID", body->work->tenant_id);
    write_env(writer, "TENANT_SUBDOMAIN", body->work->tenant->subdomain);
    for (size_t i = 0; i < spec->env_count; i++) {
        if (!is_ours(spec->env[i].name)) {
            write_env(writer, spec->env[i].name, spec->env[i].value);
        }
    }
    for (size_t i = 0; i < template_->env_count; i++) {
        const struct text_pair *pair = &template_->env[i];
        if (!is_ours(pair->name) && !names(spec->env, spec->env_count, pair->name)) {
            write_env(writer, pair->name, pair->value);
        }
    }
    jsonw_end_array(writer);
}

/* ---- container ---- */

static void write_container_ports(struct body *body)
{
    const struct sandbox_template *template_ = body->item->template_;
    struct jsonw *writer = &body->writer;
    if (template_->port_count == 0) {
        return;
    }
    jsonw_array(writer, "ports");
    for (size_t i = 0; i < template_->port_count; i++) {
        jsonw_object(writer, NULL);
        jsonw_text(writer, "name", template_->ports[i].name);
        jsonw_int(writer, "containerPort", template_->ports[i].container_port);
        jsonw_text(writer, "protocol", "TCP");
        jsonw_end_object(writer);
    }
    jsonw_end_array(writer);
}

static void write_container_security(struct jsonw *writer)
{
    jsonw_object(writer, "securityContext");
    jsonw_bool(writer, "allowPrivilegeEscalation", false);
    jsonw_bool(writer, "readOnlyRootFilesystem", true);
    jsonw_object(writer, "capabilities");
    jsonw_array(writer, "drop");
    jsonw_text(writer, NULL, "ALL");
    jsonw_end_array(writer);
    jsonw_end_object(writer);
    jsonw_end_object(writer);
}

static const char *scratch_name(struct body *body, size_t index)
{
    return arena_printf(body->arena, "scratch-%zu", index);
}

static void write_mounts(struct body *body)
{
    const struct sandbox_template *template_ = body->item->template_;
    if (template_->scratch_count == 0) {
        return;
    }
    jsonw_array(&body->writer, "volumeMounts");
    for (size_t i = 0; i < template_->scratch_count; i++) {
        jsonw_object(&body->writer, NULL);
        jsonw_text(&body->writer, "name", scratch_name(body, i));
        jsonw_text(&body->writer, "mountPath", template_->scratch[i]);
        jsonw_end_object(&body->writer);
    }
    jsonw_end_array(&body->writer);
}

static void write_volumes(struct body *body)
{
    const struct sandbox_template *template_ = body->item->template_;
    if (template_->scratch_count == 0) {
        return;
    }
    jsonw_array(&body->writer, "volumes");
    for (size_t i = 0; i < template_->scratch_count; i++) {
        jsonw_object(&body->writer, NULL);
        jsonw_text(&body->writer, "name", scratch_name(body, i));
        jsonw_object(&body->writer, "emptyDir");
        jsonw_text(&body->writer, "sizeLimit", SCRATCH_SIZE);
        jsonw_end_object(&body->writer);
        jsonw_end_object(&body->writer);
    }
    jsonw_end_array(&body->writer);
}

static void write_container(struct body *body)
{
    const struct sandbox_template *template_ = body->item->template_;
    struct jsonw *writer = &body->writer;

    jsonw_object(writer, NULL);
    jsonw_text(writer, "name", CONTAINER);
    jsonw_text(writer, "image", template_->image);
    jsonw_text(writer, "imagePullPolicy", "Always");
    write_texts(writer, "command", template_->command, template_->command_count);
    write_texts(writer, "args", template_->args, template_->arg_count);
    if (!text_is_empty(template_->working_dir)) {
        jsonw_text(writer, "workingDir", template_->working_dir);
    }
    write_environment(body);
    write_container_ports(body);
    write_raw(writer, "resources", template_->resources);
    write_raw(writer, "livenessProbe", template_->liveness);
    write_raw(writer, "readinessProbe", template_->readiness);
    write_raw(writer, "startupProbe", template_->startup);
    write_mounts(body);
    write_container_security(writer);
    jsonw_end_object(writer);
}

/* ---- Pod, Deployment, Service ---- */

static void write_pod_security(struct body *body)
{
    struct jsonw *writer = &body->writer;
    int64_t user = body->item->template_->run_as_user;

    jsonw_object(writer, "securityContext");
    jsonw_bool(writer, "runAsNonRoot", true);
    if (user > 0) {
        jsonw_int(writer, "runAsUser", user);
        jsonw_int(writer, "runAsGroup", user);
        jsonw_int(writer, "fsGroup", user);
    }
    jsonw_object(writer, "seccompProfile");
    jsonw_text(writer, "type", "RuntimeDefault");
    jsonw_end_object(writer);
    jsonw_end_object(writer);
}

static void write_pod(struct body *body)
{
    const struct sandbox_template *template_ = body->item->template_;
    struct jsonw *writer = &body->writer;

    jsonw_object(writer, "spec");
    jsonw_text(writer, "serviceAccountName", SANDBOX_ACCOUNT);
    jsonw_bool(writer, "automountServiceAccountToken", false);
    jsonw_bool(writer, "enableServiceLinks", false);
    jsonw_int(writer, "terminationGracePeriodSeconds", template_->termination_grace_s);
    if (!text_is_empty(template_->runtime_class)) {
        jsonw_text(writer, "runtimeClassName", template_->runtime_class);
    }
    write_pod_security(body);
    jsonw_array(writer, "containers");
    write_container(body);
    jsonw_end_array(writer);
    write_volumes(body);
    jsonw_end_object(writer);
}

static void write_selecting_labels(struct body *body, const char *name)
{
    jsonw_object(&body->writer, name);
    jsonw_text(&body->writer, NAME_LABEL_SANDBOX, body->item->spec->name);
    jsonw_end_object(&body->writer);
}

static void write_deployment(struct body *body, const struct intent *intent)
{
    struct jsonw *writer = &body->writer;
    begin(body, intent);
    jsonw_int(writer, "replicas", body->item->replicas);
    jsonw_int(writer, "revisionHistoryLimit", REVISIONS_KEPT);
    jsonw_object(writer, "selector");
    write_selecting_labels(body, "matchLabels");
    jsonw_end_object(writer);
    jsonw_object(writer, "template");
    jsonw_object(writer, "metadata");
    jsonw_object(writer, "labels");
    jsonw_text(writer, NAME_LABEL_SANDBOX, body->item->spec->name);
    jsonw_text(writer, NAME_LABEL_TENANT, body->work->tenant->name);
    jsonw_end_object(writer);
    jsonw_end_object(writer);
    write_pod(body);
    jsonw_end_object(writer);
    end(body);
}

static void write_service(struct body *body, const struct intent *intent)
{
    const struct sandbox_template *template_ = body->item->template_;
    struct jsonw *writer = &body->writer;

    begin(body, intent);
    write_selecting_labels(body, "selector");
    jsonw_array(writer, "ports");
    for (size_t i = 0; i < template_->port_count; i++) {
        const struct template_port *port = &template_->ports[i];
        jsonw_object(writer, NULL);
        jsonw_text(writer, "name", port->name);
        jsonw_int(writer, "port", port->service_port ? port->service_port : port->container_port);
        jsonw_text(writer, "protocol", "TCP");
        jsonw_int(writer, "targetPort", port->container_port);
        jsonw_end_object(writer);
    }
    jsonw_end_array(writer);
    end(body);
}

size_t workload_intents(struct arena *arena, const struct tenant_work *work,
                        const struct sandbox_plan *plan, struct intent *ret)
{
    size_t count = 0;
    for (size_t i = 0; i < plan->count; i++) {
        struct body body = {.arena = arena, .work = work, .item = &plan->items[i]};
        if (!body.item->template_) {
            continue;
        }
        intent_init(arena, &ret[count], CHILD_DEPLOYMENT, plan->namespace_, body.item->full_name);
        write_deployment(&body, &ret[count++]);
        if (body.item->template_->port_count > 0) {
            intent_init(arena, &ret[count], CHILD_SERVICE, plan->namespace_, body.item->spec->name);
            write_service(&body, &ret[count++]);
        }
    }
    return count;
}
