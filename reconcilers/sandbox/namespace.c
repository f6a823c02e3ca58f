/* The step Namespace: the tenant's namespace, and the binding by which the controller may write
 * Secrets in it: it has that right in no other namespace but its own.
 *
 * A crash between the two leaves a namespace with our labels, and the next run adds the binding. A
 * namespace of the name without them is somebody else's and is neither taken nor deleted. */
#include "controller/base/cancel.h"
#include "controller/base/clock.h"
#include "controller/base/str.h"
#include "reconcilers/database/steps.h"
#include "reconcilers/model/names.h"
#include "reconcilers/objects/objects.h"
#include "reconcilers/sandbox/steps.h"

/* Names of what manifests/rbac ships. */
#define MANAGER_ROLE "tenantry-namespace-manager"
#define SERVICE_ACCOUNT "tenantry-controller"

enum {
    BODY_MAX_BYTES = 16 * 1024,
    TERMINATING_RETRY_MS = 1000,
    RIGHTS_WAIT_MS = 3000,
    RIGHTS_POLL_MS = 20,
};

static const struct kube_pair pod_security = {"pod-security.kubernetes.io/enforce", "restricted"};

/* ---- the namespace ---- */

static bool has_labels(const struct tenant_work *work, const struct kube_meta *meta)
{
    struct kube_pair wanted[4];
    size_t count = work_labels(work, wanted);

    wanted[count++] = pod_security;
    for (size_t i = 0; i < count; i++) {
        const char *value = kube_pair_get(meta->labels, meta->label_count, wanted[i].name);
        if (!text_equal(value, wanted[i].value)) {
            return false;
        }
    }
    return true;
}

static int apply_namespace(struct reconcile *rc, const struct tenant_work *work,
                           const struct kube_ref *ref, struct err *err)
{
    AUTO(buf) struct buf json = BUF(BODY_MAX_BYTES);
    struct jsonw writer;

    jsonw_init(&writer, &json);
    object_begin(&writer, work, ref, &pod_security);
    jsonw_end_object(&writer);
    if (kube_apply(work->services->kube, &rc->call, ref, NAME_MANAGER, buf_str(&json), NULL, err)) {
        return err_wrap(err, "namespace \"%s\"", ref->name);
    }
    return 0;
}

static int check_namespace(const struct tenant_work *work, const struct kube_meta *meta,
                           struct err *err)
{
    if (!object_is_own(work, meta)) {
        return object_refuse(work, "namespace", NULL, meta->name,
                             kube_pair_get(meta->labels, meta->label_count, NAME_LABEL_TENANT_UID),
                             err);
    }
    if (meta->deletion_timestamp) {
        (void)err_set(err, ERR_WAIT, "NamespaceTerminating",
                      "namespace \"%s\" is being deleted, and is made anew once it is gone",
                      meta->name);
        err->retry_after_ms = TERMINATING_RETRY_MS;
        return -1;
    }
    return 0;
}

/* ret_fresh: it was not there before. */
static int ensure_namespace(struct reconcile *rc, const struct tenant_work *work, const char *name,
                            bool *ret_fresh, struct err *err)
{
    AUTO(buf) struct buf body = BUF(OBJECT_MAX_BYTES);
    const struct kube_ref ref = {.resource = &KUBE_NAMESPACES, .name = name};
    struct kube_meta meta = {0};
    bool found = false;

    if (object_look(rc, work, &ref, &body, &meta, &found, err)) {
        return -1;
    }
    *ret_fresh = !found;
    if (found && check_namespace(work, &meta, err)) {
        return -1;
    }
    return found && has_labels(work, &meta) ? 0 : apply_namespace(rc, work, &ref, err);
}

/* ---- the binding ---- */

static int apply_binding(struct reconcile *rc, const struct tenant_work *work,
                         const struct kube_ref *ref, struct err *err)
{
    AUTO(buf) struct buf json = BUF(BODY_MAX_BYTES);
    struct jsonw writer;

    jsonw_init(&writer, &json);
    object_begin(&writer, work, ref, NULL);
    object_write_binding(&writer, "ClusterRole", MANAGER_ROLE, "ServiceAccount",
                         work->services->system_namespace, SERVICE_ACCOUNT);
    jsonw_end_object(&writer);
    if (kube_apply(work->services->kube, &rc->call, ref, NAME_MANAGER, buf_str(&json), NULL, err)) {
        return err_wrap(err, "RoleBinding \"%s/%s\"", ref->namespace_, ref->name);
    }
    return 0;
}

static int look_at_binding(struct reconcile *rc, const struct tenant_work *work,
                           const struct kube_ref *ref, bool *ret_stands, struct err *err)
{
    AUTO(buf) struct buf body = BUF(OBJECT_MAX_BYTES);
    struct kube_meta meta = {0};
    bool found = false;

    if (object_look(rc, work, ref, &body, &meta, &found, err)) {
        return -1;
    }
    *ret_stands =
        found && object_is_own(work, &meta) &&
        object_binding_equal(buf_str(&body), "ClusterRole", MANAGER_ROLE, "ServiceAccount",
                             work->services->system_namespace, SERVICE_ACCOUNT);
    return 0;
}

/* The API server learns of a new binding by a watch of its own, a moment later. */
static int wait_for_rights(struct reconcile *rc, const struct tenant_work *work, const char *name,
                           struct err *err)
{
    const char *secret = name_database_secret(rc->arena, work->tenant->subdomain);
    const struct kube_ref ref = {.resource = &KUBE_SECRETS, .namespace_ = name, .name = secret};
    int64_t end_ms = clock_monotonic_ms() + RIGHTS_WAIT_MS;

    for (;;) {
        AUTO(buf) struct buf body = BUF(OBJECT_MAX_BYTES);
        if (kube_get(work->services->kube, &rc->call, &ref, &body, err) == 0 ||
            err->cls == ERR_NOT_FOUND) {
            if (body.ptr) {
                explicit_bzero(body.ptr, body.capacity);
            }
            return 0;
        }
        if (!err_has_reason(err, "Forbidden") || clock_monotonic_ms() >= end_ms) {
            return err_wrap(err, "namespace \"%s\"", name);
        }
        if (!cancel_sleep_ms(rc->call.cancel, RIGHTS_POLL_MS)) {
            return cancel_check(rc->call.cancel, err);
        }
    }
}

static int ensure_binding(struct reconcile *rc, const struct tenant_work *work, const char *name,
                          bool fresh, struct err *err)
{
    const struct kube_ref ref = {
        .resource = &KUBE_ROLE_BINDINGS, .namespace_ = name, .name = MANAGER_ROLE};
    bool stands = false;

    if (!fresh && look_at_binding(rc, work, &ref, &stands, err)) {
        return -1;
    }
    if (stands) {
        return 0;
    }
    /* The role of a binding cannot be changed, only the binding replaced. */
    if (!fresh && object_delete_own(rc, work, &ref, err)) {
        return -1;
    }
    return apply_binding(rc, work, &ref, err) ? -1 : wait_for_rights(rc, work, name, err);
}

/* ---- the step ---- */

int namespace_ensure(struct reconcile *rc, void *subject, struct err *err)
{
    struct tenant_work *work = subject;
    const char *name = name_namespace(rc->arena, work->tenant->subdomain);
    bool fresh = false;

    if (ensure_namespace(rc, work, name, &fresh, err)) {
        return -1;
    }
    work->namespace_fresh = fresh;
    return ensure_binding(rc, work, name, fresh, err);
}

int namespace_finalize(struct reconcile *rc, void *subject, struct err *err)
{
    struct tenant_work *work = subject;
    const struct kube_ref ref = {.resource = &KUBE_NAMESPACES,
                                 .name = name_namespace(rc->arena, work->tenant->subdomain)};

    return object_delete_own(rc, work, &ref, err);
}
