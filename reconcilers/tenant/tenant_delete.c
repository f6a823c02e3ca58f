/* Deletion: data is lost only when the user said so, and said so of this very object.
 *
 * A cache may be behind, so the Tenant is read live first: same UID, and still being deleted. Then
 * the CRD: if that is going or gone, the Tenant vanishes because its kind does, not because
 * somebody wanted this tenant gone, and every policy acts as Retain. Only then do the steps run in
 * reverse. The finalizer goes last, so that a crash anywhere is taken up again by the next run. */
#include "controller/base/clock.h"
#include "controller/runtime/finalizer.h"
#include "reconcilers/model/codec.h"
#include "reconcilers/model/names.h"
#include "reconcilers/registry/steps.h"
#include "reconcilers/tenant/tenant.h"
#include "reconcilers/tenant/tenant_internal.h"

#define TENANT_CRD "tenants.tenantry.dev"

/* Replace *tenant by what the API server says now. ret_gone: nothing is left that we may touch. */
static int read_live(struct reconcile *rc, const struct services *services, struct tenant *tenant,
                     bool *ret_gone, struct err *err)
{
    AUTO(buf) struct buf body = BUF(4UL << 20);
    struct tenant *live = ARENA_NEW(rc->arena, struct tenant);
    const struct kube_ref ref = {&KUBE_TENANTS, NULL, tenant->name, NULL};

    *ret_gone = false;
    if (kube_get(services->kube, &rc->call, &ref, &body, err)) {
        if (err->cls != ERR_NOT_FOUND) {
            return err_wrap(err, "reading the tenant again");
        }
        *ret_gone = true;
        return 0;
    }
    if (tenant_decode(buf_str(&body), rc->arena, live, err)) {
        return -1;
    }
    *ret_gone = !text_equal(live->uid, tenant->uid) || !live->deleting || !live->has_finalizer;
    *tenant = *live;
    return 0;
}

int tenant_kind_is_going(struct reconcile *rc, const struct services *services, bool *ret,
                         struct err *err)
{
    AUTO(buf) struct buf body = BUF(4UL << 20);
    struct kube_meta meta = {0};
    const struct kube_ref ref = {&KUBE_CRDS, NULL, TENANT_CRD, NULL};

    if (kube_get(services->kube, &rc->call, &ref, &body, err)) {
        if (err->cls != ERR_NOT_FOUND) {
            return err_wrap(err, "reading the CRD");
        }
        *ret = true;
        return 0;
    }
    if (kube_object_meta(buf_str(&body), rc->arena, &meta, err)) {
        return -1;
    }
    *ret = meta.deletion_timestamp != NULL;
    return 0;
}

static struct outcome report_failure(struct reconcile *rc, struct tenant_work *work,
                                     const struct err *failure)
{
    struct outcome outcome = outcome_from_err(failure, work->services->drift_period_ms);
    struct err ignored;
    struct tenant_status *next = ARENA_NEW(rc->arena, struct tenant_status);
    if (outcome.canceled || err_has_reason(failure, "BackendBusy")) {
        return outcome;
    }
    tenant_status_next(rc->arena, work, NULL, failure, "", clock_wall_s(), next);
    /* The status is a courtesy here: that it cannot be written must not hide why the deletion
     * waits. */
    if (tenant_status_write(rc, work->services, work->tenant, next, &ignored)) {
        log_debug(rc->call.log, "status of a tenant being deleted not written", KV_ERR(&ignored));
    }
    if (!err_has_reason(failure, "Progressing")) {
        work_event(work, EVENT_WARNING, failure->reason, "Delete", "%s", failure->message);
    }
    return outcome;
}

static int let_go(struct reconcile *rc, struct tenant_work *work, struct err *err)
{
    const struct kube_ref ref = {&KUBE_TENANTS, NULL, work->tenant->name, NULL};
    return finalizer_remove(work->services->kube, &rc->call, &ref, work->tenant->uid,
                            NAME_FINALIZER, err);
}

/* What is to be undone is what the registry says this UID owns: where nothing was ever registered,
 * the steps find nothing to undo. */
static int prepare(struct reconcile *rc, struct tenant_work *work, struct tenant *tenant,
                   bool *ret_gone, struct err *err)
{
    bool crd_going = false;
    if (read_live(rc, work->services, tenant, ret_gone, err)) {
        return -1;
    }
    if (*ret_gone) {
        return 0;
    }
    if (tenant_kind_is_going(rc, work->services, &crd_going, err)) {
        return -1;
    }
    work->tenant = tenant;
    work->deletion_policy = crd_going ? DELETION_RETAIN : tenant->deletion_policy;
    work->retain_reason = crd_going ? "CRDTerminating" : "";
    return record_find(rc, work, err);
}

struct outcome tenant_delete(struct reconcile *rc, struct tenant_work *work)
{
    struct step_result *results = ARENA_ARRAY(rc->arena, struct step_result, tenant_step_count);
    struct tenant *tenant = ARENA_NEW(rc->arena, struct tenant);
    bool gone = false;
    struct err err = {0};

    *tenant = *work->tenant;
    if (prepare(rc, work, tenant, &gone, &err)) {
        return report_failure(rc, work, &err);
    }
    if (gone) {
        return outcome_done(0);
    }
    steps_finalize(rc, tenant_steps, tenant_step_count, work, results);
    tenant_observe_steps(tenant_steps, results, tenant_step_count);
    if (steps_error(tenant_steps, results, tenant_step_count, &err) || let_go(rc, work, &err)) {
        return report_failure(rc, work, &err);
    }
    return outcome_done(0);
}
