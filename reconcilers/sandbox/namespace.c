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
#include "reconcilers/objects/children.h"
#include "reconcilers/objects/objects.h"
#include "reconcilers/sandbox/sandbox.h"
#include "reconcilers/sandbox/steps.h"

/* Names of what manifests/rbac ships. */
#define MANAGER_ROLE "tenantry-namespace-manager"
#define SERVICE_ACCOUNT "tenantry-controller"

enum { RIGHTS_WAIT_MS = 3000, RIGHTS_POLL_MS = 20 };

static const struct kube_pair pod_security = {"pod-security.kubernetes.io/enforce", "restricted"};

/* ---- what is wanted ---- */

enum { NAMESPACE_INTENTS = 2 };

static void want_namespace(struct arena *arena, const struct tenant_work *work, const char *name,
                           struct intent *intent)
{
    struct jsonw writer;

    intent_init(arena, intent, CHILD_NAMESPACE, NULL, name);
    intent_begin(intent, &writer, work, &pod_security);
    jsonw_end_object(&writer);
}

static void want_binding(struct arena *arena, const struct tenant_work *work, const char *name,
                         struct intent *intent)
{
    struct jsonw writer;

    intent_init(arena, intent, CHILD_ROLE_BINDING, name, MANAGER_ROLE);
    intent_begin(intent, &writer, work, NULL);
    object_write_binding(&writer, "ClusterRole", MANAGER_ROLE, "ServiceAccount",
                         work->services->system_namespace, SERVICE_ACCOUNT);
    jsonw_end_object(&writer);
}

/* The namespace, and then the binding. */
static void want(struct arena *arena, const struct tenant_work *work,
                 struct intent ret[NAMESPACE_INTENTS])
{
    const char *name = name_namespace(arena, work->tenant->subdomain);

    want_namespace(arena, work, name, &ret[0]);
    want_binding(arena, work, name, &ret[1]);
}

/* ---- the rights ---- */

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

/* ---- the step ---- */

static int ensure(struct reconcile *rc, struct tenant_work *work, const struct intent *intents,
                  struct err *err)
{
    enum child_fate fate;

    if (children_ensure(rc, work, &intents[0], &fate, err)) {
        return -1;
    }
    work->namespace_fresh = fate == CHILD_CREATED;
    if (children_ensure(rc, work, &intents[1], &fate, err)) {
        return -1;
    }
    return fate == CHILD_KEPT ? 0 : wait_for_rights(rc, work, intents[0].name, err);
}

int namespace_ensure(struct reconcile *rc, void *subject, struct err *err)
{
    struct intent intents[NAMESPACE_INTENTS];

    want(rc->arena, subject, intents);
    int result = ensure(rc, subject, intents, err);
    intents_release(intents, NAMESPACE_INTENTS);
    return result;
}

bool namespace_stands(const struct services *services, struct arena *arena,
                      const struct tenant *tenant)
{
    struct tenant_work *work = ARENA_NEW(arena, struct tenant_work);
    struct intent intents[NAMESPACE_INTENTS];

    *work = (struct tenant_work){.services = services, .tenant = tenant};
    want(arena, work, intents);
    bool stands = children_stand(services, arena, tenant, intents, NAMESPACE_INTENTS);
    intents_release(intents, NAMESPACE_INTENTS);
    return stands;
}

int namespace_finalize(struct reconcile *rc, void *subject, struct err *err)
{
    struct tenant_work *work = subject;

    return children_delete(rc, work, CHILD_NAMESPACE, NULL,
                           name_namespace(rc->arena, work->tenant->subdomain), err);
}
