/* The end of the days of grace. It is the deletion that was put off: the same steps in reverse, for
 * a Tenant that exists no more and is made up from the registry's row.
 *
 * Before anything is touched: the kind must stand, no Tenant of that UID may exist (one may have
 * come back with a backup of the cluster, and takes back what is its own), and the registry must
 * have let us begin (registry/purge.h), which it does not once the id was taken back. After that
 * every run, of whichever controller, does what is left; the list of what is due is what remains to
 * be done. */
#include "controller/base/clock.h"
#include "reconcilers/model/codec.h"
#include "reconcilers/registry/purge.h"
#include "reconcilers/tenant/tenant.h"
#include "reconcilers/tenant/tenant_internal.h"

enum { OBJECT_MAX_BYTES = 4 << 20 };

static struct outcome list_due(struct reconcile *rc, const struct services *services)
{
    const char *const *ids = NULL;
    size_t count = 0;
    struct err err;

    if (purge_list(services->registry, rc, clock_wall_s(), &ids, &count, &err)) {
        return outcome_from_err(&err, services->drift_period_ms);
    }
    for (size_t i = 0; i < count; i++) {
        queue_add(rc->queue, ids[i], QUEUE_NORMAL);
    }
    return outcome_done(services->drift_period_ms);
}

/* ret_stands: the Tenant whose deletion this ends is there again. */
static int look_for_tenant(struct reconcile *rc, const struct services *services,
                           const struct purge *purge, bool *ret_stands, struct err *err)
{
    AUTO(buf) struct buf body = BUF(OBJECT_MAX_BYTES);
    struct kube_meta meta = {0};
    const struct kube_ref ref = {.resource = &KUBE_TENANTS, .name = purge->tenant_name};

    *ret_stands = false;
    if (kube_get(services->kube, &rc->call, &ref, &body, err)) {
        return err->cls == ERR_NOT_FOUND ? 0 : err_wrap(err, "tenant \"%s\"", ref.name);
    }
    if (kube_object_meta(buf_str(&body), rc->arena, &meta, err)) {
        return -1;
    }
    *ret_stands = text_equal(meta.uid, purge->tenant_uid);
    return 0;
}

static int may_purge(struct reconcile *rc, const struct services *services,
                     const struct purge *purge, bool *ret, struct err *err)
{
    bool kind_going = false;
    bool stands = false;

    if (tenant_kind_is_going(rc, services, &kind_going, err) ||
        look_for_tenant(rc, services, purge, &stands, err)) {
        return -1;
    }
    *ret = !kind_going && !stands;
    return 0;
}

/* As much of a Tenant as its end needs. */
static void make_up(const struct purge *purge, const char *id, struct tenant *tenant,
                    struct tenant_work *work)
{
    *tenant = (struct tenant){
        .name = purge->tenant_name,
        .uid = purge->tenant_uid,
        .subdomain = purge->subdomain,
        .resource_version = "",
        .adopt = "",
        .display_name = "",
        .tier = "",
        .server = "",
        .deleting = true,
        .deletion_policy = purge->policy,
    };
    work->tenant = tenant;
    work->deletion_policy = purge->policy;
    work->retain_reason = "";
    work->place = purge->place;
    (void)snprintf(work->tenant_id, sizeof(work->tenant_id), "%s", id);
}

static int undo(struct reconcile *rc, const struct services *services, const struct purge *purge,
                struct err *err)
{
    struct step_result *results = ARENA_ARRAY(rc->arena, struct step_result, tenant_step_count);
    struct tenant *tenant = ARENA_NEW(rc->arena, struct tenant);
    struct tenant_work *work = ARENA_NEW(rc->arena, struct tenant_work);

    work->services = services;
    make_up(purge, rc->key, tenant, work);
    steps_finalize(rc, tenant_steps, tenant_step_count, work, results);
    tenant_observe_steps(tenant_steps, results, tenant_step_count);
    if (steps_error(tenant_steps, results, tenant_step_count, err)) {
        if (err->cls != ERR_CANCELED && !err_has_reason(err, "BackendBusy")) {
            work_event(work, EVENT_WARNING, err->reason, "Purge", "%s", err->message);
        }
        return -1;
    }
    return 0;
}

static int purge_one(struct reconcile *rc, const struct services *services, struct err *err)
{
    struct purge purge;
    bool due = false;
    bool may = false;
    int64_t now_s = clock_wall_s();

    if (purge_find(services->registry, rc, rc->key, now_s, &purge, &due, err)) {
        return -1;
    }
    if (!due) {
        return 0;
    }
    if (may_purge(rc, services, &purge, &may, err)) {
        return -1;
    }
    if (!may) {
        return 0;
    }
    return purge_begin(services->registry, rc, rc->key, &purge, err) ||
                   undo(rc, services, &purge, err) ||
                   purge_end(services->registry, rc, rc->key, &purge, now_s, err)
               ? -1
               : 0;
}

struct outcome tenant_purge(struct reconcile *rc)
{
    struct tenant_environment *environment = rc->environment;
    const struct services *services = &environment->services;
    struct err err;

    if (text_equal(rc->key, TENANT_PURGE_LIST)) {
        return list_due(rc, services);
    }
    return purge_one(rc, services, &err) ? outcome_from_err(&err, services->drift_period_ms)
                                         : outcome_done(0);
}
