/* A Tenant's walk: look it up, decide by its finalizer, skip what is known to stand, run the steps,
 * say in the status how it went.
 *
 * Why a restart costs nothing: the status keeps the hash of all inputs of the last run that ended
 * well. When generation and hash are equal and nobody asked, there is nothing to make; only the
 * drift check, by its own jittered period, looks at the world anyway. */
#include <stdatomic.h>

#include "controller/base/clock.h"
#include "controller/base/metrics.h"
#include "controller/runtime/finalizer.h"
#include "reconcilers/database/steps.h"
#include "reconcilers/model/codec.h"
#include "reconcilers/model/conditions.h"
#include "reconcilers/model/names.h"
#include "reconcilers/monitoring/monitor.h"
#include "reconcilers/sandbox/sandbox.h"
#include "reconcilers/tenant/tenant.h"
#include "reconcilers/tenant/tenant_internal.h"

enum { STARTING_S = 3 };

static const double step_bounds[] = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30};
static struct metric step_duration = METRIC_HISTOGRAM(
    "tenantry_step_duration_seconds", "How long a step of a tenant took.", step_bounds, "step");
static struct metric step_failures = METRIC_COUNTER(
    "tenantry_step_failures_total", "Failed runs of a step, by reason.", "step", "reason");

void tenant_observe_steps(const struct step *steps, const struct step_result *results, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (results[i].state == STEP_DONE || results[i].state == STEP_FAILED) {
            metric_observe(&step_duration, (double)results[i].duration_ms / 1000.0, steps[i].name);
        }
        if (results[i].state == STEP_FAILED && results[i].err->cls != ERR_CANCELED) {
            metric_add(&step_failures, 1, steps[i].name, results[i].err->reason);
        }
    }
}

/* Spread over the period, so that a restart, or a thousand tenants applied at once, do not check at
 * once. */
static int64_t next_drift_check_ms(const struct services *services)
{
    int64_t period_ms = services->drift_period_ms;
    return period_ms > 0 ? period_ms - period_ms / 5 + clock_jitter_ms(period_ms / 5 * 2 + 1) : 0;
}

static const struct tier *find_tier(struct reconcile *rc, const struct services *services,
                                    const char *name)
{
    AUTO(record) const struct record *record = cache_get(services->tiers, name);
    if (!record) {
        return NULL;
    }
    struct tier *tier = ARENA_NEW(rc->arena, struct tier);
    tier_unpack(record, rc->arena, tier);
    return tier;
}

static const struct database_server *find_server(struct reconcile *rc,
                                                 const struct services *services, const char *name)
{
    AUTO(record)
    const struct record *record =
        text_is_empty(name) ? NULL : cache_get(services->database_servers, name);
    if (!record) {
        return NULL;
    }
    struct database_server *server = ARENA_NEW(rc->arena, struct database_server);
    database_server_unpack(record, rc->arena, server);
    return server;
}

/* Whether the last run made exactly this, and nobody asked for a look since. */
static bool is_known_to_stand(const struct reconcile *rc, const struct tenant *tenant,
                              const char *inputs_hash)
{
    return !rc->drift_check && tenant->status.observed_generation == tenant->generation &&
           text_equal(tenant->status.inputs_hash, inputs_hash) &&
           text_equal(tenant->status.handled_reconcile_at, tenant->reconcile_requested_at) &&
           (text_is_empty(tenant->rotate_requested_at) ||
            text_equal(tenant->status.login.handled_rotate_at, tenant->rotate_requested_at)) &&
           text_is_empty(tenant->status.login.retiring_user) &&
           condition_is_true(&tenant->status.conditions, CONDITION_READY);
}

/* The finalizer goes on before the first side effect; the answer is the object that the run goes on
 * with. */
static int add_finalizer(struct reconcile *rc, const struct services *services,
                         struct tenant *tenant, struct err *err)
{
    AUTO(buf) struct buf body = BUF(4UL << 20);
    const struct kube_ref ref = {&KUBE_TENANTS, NULL, tenant->name, NULL};
    if (finalizer_add(services->kube, &rc->call, &ref, tenant->uid, tenant->resource_version,
                      (size_t)tenant->finalizer_count, NAME_FINALIZER, &body, err)) {
        return err_wrap(err, "finalizer");
    }
    cache_store_written(services->tenants, buf_str(&body));
    return tenant_decode(buf_str(&body), rc->arena, tenant, err);
}

/* Say that work has begun, where the status still tells of another generation: whoever waits sees
 * it go on. */
static int announce(struct reconcile *rc, const struct tenant_work *work, struct err *err)
{
    const struct tenant *tenant = work->tenant;
    if (tenant->status.observed_generation == tenant->generation) {
        return 0;
    }
    struct err progress;
    struct tenant_status *next = ARENA_NEW(rc->arena, struct tenant_status);
    (void)err_set(&progress, ERR_WAIT, "Progressing", "the tenant is being made as its spec says");
    tenant_status_next(rc->arena, work, NULL, &progress, "", clock_wall_s(), next);
    return tenant_status_write(rc, work->services, tenant, next, err);
}

/* A missing tier stops everything but a suspension, which never needs it. */
static int check_tier(const struct tenant_work *work, struct err *err)
{
    const struct tenant *tenant = work->tenant;
    if (work->tier) {
        return 0;
    }
    return err_set(
        err, ERR_TERMINAL, "TierNotFound",
        "there is no TenantTier \"%s\"; nothing was changed, and the tenant goes on once "
        "it exists or spec.tier names another",
        tenant->tier);
}

/* Sandboxes take a moment to start, in which nothing else changes: as long as the status says that
 * the work goes on, it need not be written for that. */
static bool is_just_starting(const struct tenant *tenant, const struct err *failure)
{
    const struct condition *progress =
        condition_get(&tenant->status.conditions, CONDITION_RECONCILING);
    if (!err_has_reason(failure, "SandboxStarting")) {
        return false;
    }
    if (tenant->status.observed_generation != tenant->generation) {
        return true; /* it was announced by this very run */
    }
    return progress && text_equal(progress->reason, "Progressing") &&
           clock_wall_s() - progress->transition_s < STARTING_S;
}

/* Write the status and turn the run's result into the next one. An error of the write itself counts
 * too. */
static struct outcome conclude(struct reconcile *rc, struct tenant_work *work,
                               const struct step_result *results, const struct err *failure,
                               const char *inputs_hash)
{
    const struct services *services = work->services;
    int64_t drift_ms = next_drift_check_ms(services);
    int64_t again_ms = atomic_load(&work->again_ms);
    int64_t next_ms = again_ms > 0 && (drift_ms == 0 || again_ms < drift_ms) ? again_ms : drift_ms;
    struct outcome outcome =
        failure->cls == ERR_OK ? outcome_done(next_ms) : outcome_from_err(failure, drift_ms);
    bool only_queued = failure->cls == ERR_WAIT && err_has_reason(failure, "BackendBusy");
    if (outcome.canceled || only_queued) {
        return outcome;
    }
    if (is_just_starting(work->tenant, failure)) {
        outcome.next_ms = (int64_t)STARTING_S * 1000;
        return outcome;
    }
    struct err err;
    struct tenant_status *next = ARENA_NEW(rc->arena, struct tenant_status);
    tenant_status_next(rc->arena, work, results, failure, inputs_hash, clock_wall_s(), next);
    if (tenant_status_write(rc, services, work->tenant, next, &err)) {
        struct outcome of_write = outcome_from_err(&err, drift_ms);
        return outcome_merge(&outcome, &of_write);
    }
    return outcome;
}

static struct outcome ensure_tenant(struct reconcile *rc, struct tenant_environment *environment,
                                    struct tenant_work *work)
{
    struct step_result *results = ARENA_ARRAY(rc->arena, struct step_result, tenant_step_count);
    struct err *failure = ARENA_NEW(rc->arena, struct err);
    char inputs_hash[HASH128_TEXT_BYTES];
    bool has_tier = check_tier(work, failure) == 0;
    bool suspends =
        work->tenant->state == TENANT_SUSPENDED && !text_is_empty(work->tenant->status.tenant_id);

    if (!has_tier && !suspends) {
        return conclude(rc, work, NULL, failure, "");
    }
    struct err announcing;
    if (announce(rc, work, &announcing)) {
        return outcome_from_err(&announcing, 0);
    }
    steps_ensure(rc, tenant_steps, tenant_step_count, work, environment->services.crew, results);
    tenant_observe_steps(tenant_steps, results, tenant_step_count);
    struct err of_steps = {0};
    if (steps_error(tenant_steps, results, tenant_step_count, &of_steps) || has_tier) {
        *failure = of_steps;
    }
    /* The place is known only now; with it, the hash of what was made. */
    tenant_inputs_hash(work->services, work->tenant, work->tier,
                       find_server(rc, work->services, work->place.server), inputs_hash);
    return conclude(rc, work, results, failure, inputs_hash);
}

static struct outcome reconcile_alive(struct reconcile *rc, struct tenant_environment *environment,
                                      struct tenant_work *work, struct tenant *tenant,
                                      bool add_ours)
{
    const struct services *services = work->services;
    char inputs_hash[HASH128_TEXT_BYTES];
    struct err err;

    if (tenant->paused) {
        return outcome_done(0);
    }
    work->tier = find_tier(rc, services, tenant->tier);
    if (add_ours) {
        /* Nothing is touched yet, so a tenant that can have nothing needs no finalizer either. */
        if (work->tier && add_finalizer(rc, services, tenant, &err)) {
            return outcome_from_err(&err, 0);
        }
        return ensure_tenant(rc, environment, work);
    }
    tenant_inputs_hash(services, tenant, work->tier,
                       find_server(rc, services, tenant->status.place.server), inputs_hash);
    if (is_known_to_stand(rc, tenant, inputs_hash) &&
        namespace_stands(services, rc->arena, tenant) &&
        owner_rights_stand(services, rc->arena, tenant) &&
        sandboxes_stand(services, rc->arena, tenant, work->tier) &&
        monitoring_objects_stand(services, rc->arena, tenant, work->tier) &&
        monitor_agrees(services->monitor, tenant)) {
        return outcome_done(next_drift_check_ms(services));
    }
    return ensure_tenant(rc, environment, work);
}

static void release_work(struct tenant_work *work)
{
    secret_release(&work->owner_password);
    secret_release(&work->owner_hash);
}

struct outcome tenant_reconcile(struct reconcile *rc)
{
    struct tenant_environment *environment = rc->environment;
    struct tenant *tenant = ARENA_NEW(rc->arena, struct tenant);
    struct tenant_work *work = ARENA_NEW(rc->arena, struct tenant_work);
    AUTO(record) const struct record *record = cache_get(environment->services.tenants, rc->key);
    struct outcome outcome = outcome_done(0);

    if (!record) {
        return outcome;
    }
    tenant_unpack(record, rc->arena, tenant);
    work->services = &environment->services;
    work->tenant = tenant;
    switch (finalizer_decide(tenant->deleting, tenant->has_finalizer)) {
    case FINALIZER_ADD:
        outcome = reconcile_alive(rc, environment, work, tenant, true);
        break;
    case FINALIZER_ENSURE:
        outcome = reconcile_alive(rc, environment, work, tenant, false);
        break;
    case FINALIZER_FINALIZE:
        outcome = tenant_delete(rc, work);
        break;
    case FINALIZER_LEAVE:
        break;
    }
    release_work(work);
    return outcome;
}
