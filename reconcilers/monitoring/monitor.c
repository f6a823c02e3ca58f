/* lock guards the table of what was found; no check runs while it is held. */
#include "reconcilers/monitoring/monitor.h"

#include <pthread.h>

#include "controller/base/clock.h"
#include "controller/base/map.h"
#include "controller/base/str.h"
#include "reconcilers/model/codec.h"
#include "reconcilers/model/conditions.h"
#include "reconcilers/model/login_keep.h"
#include "reconcilers/monitoring/monitor_internal.h"

/* One failure may be chance; after so many in a row the tenant is said to be ill. */
enum { FAILURES_TO_SAY = 2, FAILING_PERIOD_MS = 5000 };

/* What can make MonitoringReady False. */
enum check { CHECK_DATABASE, CHECK_BUCKET, CHECK_COUNT };

static const struct {
    const char *name; /* label probe */
    int (*run)(struct reconcile *rc, const struct services *services, const struct tenant *tenant,
               struct err *err);
} check_kinds[CHECK_COUNT] = {
    [CHECK_DATABASE] = {"database", probe_database},
    [CHECK_BUCKET] = {"bucket", probe_bucket},
};

struct finding {
    int failures;    /* in a row */
    struct err *err; /* the last of them; heap, NULL when the last check went well */
};

struct health {
    struct finding findings[CHECK_COUNT];
};

/* What is asked of a tenant's health, copied out from under the lock. */
struct verdict {
    bool database_fails;
    bool ill;
    struct err err; /* what it is ill of */
};

struct monitor {
    const struct services *services;
    int64_t period_ms;
    struct queue *checks;
    struct queue *tenants;
    pthread_mutex_t lock;
    struct map found; /* tenant's name → struct health, heap */
};

/* ---- what was found ---- */

/* What the tenant is ill of; NULL when it is well. */
static const struct finding *illness(const struct health *health)
{
    for (int i = 0; i < CHECK_COUNT; i++) {
        if (health->findings[i].failures >= FAILURES_TO_SAY) {
            return &health->findings[i];
        }
    }
    return NULL;
}

/* Returns whether the tenant was ever checked. */
static bool look_up(struct monitor *monitor, const char *tenant, struct verdict *ret)
{
    *ret = (struct verdict){0};
    pthread_mutex_lock(&monitor->lock);
    const struct health *health = map_get(&monitor->found, str_from(tenant));
    if (health) {
        const struct finding *finding = illness(health);
        ret->database_fails = health->findings[CHECK_DATABASE].failures > 0;
        ret->ill = finding != NULL;
        if (finding) {
            ret->err = *finding->err;
        }
    }
    pthread_mutex_unlock(&monitor->lock);
    return health != NULL;
}

static void health_free(struct health *health)
{
    if (!health) {
        return;
    }
    for (int i = 0; i < CHECK_COUNT; i++) {
        free(health->findings[i].err);
    }
    free(health);
}

static void forget(struct monitor *monitor, const char *tenant)
{
    pthread_mutex_lock(&monitor->lock);
    health_free(map_remove(&monitor->found, str_from(tenant)));
    pthread_mutex_unlock(&monitor->lock);
}

/* Returns whether the tenant is well or ill now and was not before. */
static bool note(struct monitor *monitor, const char *tenant, enum check check,
                 const struct err *failure)
{
    pthread_mutex_lock(&monitor->lock);
    struct health *health = map_get(&monitor->found, str_from(tenant));
    if (!health) {
        health = xcalloc(1, sizeof(*health));
        (void)map_put(&monitor->found, str_from(tenant), health);
    }
    struct finding *finding = &health->findings[check];
    bool was_ill = illness(health) != NULL;
    finding->failures = failure ? finding->failures + 1 : 0;
    free(finding->err);
    finding->err = NULL;
    if (failure) {
        finding->err = xmalloc(sizeof(*finding->err));
        *finding->err = *failure;
    }
    bool changed = was_ill != (illness(health) != NULL);
    pthread_mutex_unlock(&monitor->lock);
    return changed;
}

bool monitor_agrees(struct monitor *monitor, const struct tenant *tenant)
{
    struct verdict verdict;
    return !monitor || tenant->state == TENANT_SUSPENDED ||
           !look_up(monitor, tenant->name, &verdict) ||
           verdict.ill != condition_is_true(&tenant->status.conditions, CONDITION_MONITORING);
}

/* ---- life ---- */

static void on_tenant(void *context, enum cache_change change, const struct record *before,
                      const struct record *after, bool initial)
{
    struct monitor *monitor = context;
    AUTO(arena) struct arena scratch = {0};
    arena_init(&scratch, 0);
    struct tenant *was = before ? ARENA_NEW(&scratch, struct tenant) : NULL;
    struct tenant *is = after ? ARENA_NEW(&scratch, struct tenant) : NULL;

    (void)initial;
    if (was) {
        tenant_unpack(before, &scratch, was);
    }
    if (is) {
        tenant_unpack(after, &scratch, is);
    }
    monitor_metrics_follow(was, is);
    if (is && change == CACHE_ADDED) {
        queue_add_after(monitor->checks, is->name, clock_jitter_ms(monitor->period_ms) + 1,
                        QUEUE_NORMAL);
    } else if (was && change == CACHE_REMOVED) {
        forget(monitor, was->name);
        login_keep_forget(monitor->services->logins, was->uid);
    }
}

struct monitor *monitor_new(const struct services *services, int64_t period_ms)
{
    struct monitor *monitor = xcalloc(1, sizeof(*monitor));
    monitor->services = services;
    monitor->period_ms = period_ms;
    pthread_mutex_init(&monitor->lock, NULL);
    map_init(&monitor->found);
    monitor_metrics_register();
    cache_listen(services->tenants, on_tenant, monitor);
    return monitor;
}

void monitor_free(struct monitor *monitor)
{
    if (!monitor) {
        return;
    }
    size_t cursor = 0;
    struct str key;
    void *health;
    while (map_next(&monitor->found, &cursor, &key, &health)) {
        health_free(health);
    }
    map_release(&monitor->found);
    pthread_mutex_destroy(&monitor->lock);
    free(monitor);
}

void monitor_wire(struct monitor *monitor, struct queue *checks, struct queue *tenants)
{
    monitor->checks = checks;
    monitor->tenants = tenants;
}

/* ---- checking ---- */

/* Only what stands can be ill: a tenant that is being made, changed or suspended is not checked. */
static bool is_to_be_checked(const struct tenant *tenant)
{
    return tenant->state == TENANT_ACTIVE && !tenant->deleting && !tenant->paused &&
           tenant->has_finalizer && !text_is_empty(tenant->status.database_secret_name) &&
           !text_is_empty(tenant->status.place.server) && tenant->status.schema_version > 0;
}

static bool sandboxes_ready(const struct tenant *tenant)
{
    for (size_t i = 0; i < tenant->status.sandbox_count; i++) {
        if (!tenant->status.sandboxes[i].ready) {
            return false;
        }
    }
    return true;
}

/* 0, or -1 with why. CANCELED says nothing about the tenant. */
static int run_check(struct reconcile *rc, struct monitor *monitor, const struct tenant *tenant,
                     enum check check, bool *ret_changed, struct err *err)
{
    int64_t start_us = clock_monotonic_us();
    int failure = check_kinds[check].run(rc, monitor->services, tenant, err);
    double seconds = (double)(clock_monotonic_us() - start_us) / 1e6;

    if (failure && err->cls == ERR_CANCELED) {
        return -1;
    }
    monitor_metrics_probe(tenant->name, check_kinds[check].name, !failure, seconds);
    *ret_changed |= note(monitor, tenant->name, check, failure ? err : NULL);
    return failure;
}

/* While StorageReady is not True, that says it all, and nobody waits for the store again. */
static int check_bucket(struct reconcile *rc, struct monitor *monitor, const struct tenant *tenant,
                        bool *ret_changed, struct err *err)
{
    bool stands = condition_is_true(&tenant->status.conditions, CONDITION_STORAGE);

    if (tenant->status.bucket_count > 0 && stands) {
        return run_check(rc, monitor, tenant, CHECK_BUCKET, ret_changed, err);
    }
    if (tenant->status.bucket_count > 0) {
        monitor_metrics_probe(tenant->name, check_kinds[CHECK_BUCKET].name, false, 0);
    }
    *ret_changed |= note(monitor, tenant->name, CHECK_BUCKET, NULL);
    return 0;
}

/* All of it; the first failure is told. */
static int check_all(struct reconcile *rc, struct monitor *monitor, const struct tenant *tenant,
                     bool *ret_changed, struct err *err)
{
    struct err of_bucket = {0};

    monitor_metrics_probe(tenant->name, "sandbox", sandboxes_ready(tenant), 0);
    int database = run_check(rc, monitor, tenant, CHECK_DATABASE, ret_changed, err);
    if (database && err->cls == ERR_CANCELED) {
        return -1;
    }
    int bucket = check_bucket(rc, monitor, tenant, ret_changed, &of_bucket);
    if (bucket && !database) {
        *err = of_bucket;
    }
    return database || bucket ? -1 : 0;
}

struct outcome monitor_reconcile(struct reconcile *rc)
{
    struct monitor *monitor = rc->environment;
    AUTO(record) const struct record *record = cache_get(monitor->services->tenants, rc->key);
    struct tenant *tenant = ARENA_NEW(rc->arena, struct tenant);
    int64_t next_ms = monitor->period_ms - monitor->period_ms / 5 +
                      clock_jitter_ms(monitor->period_ms / 5 * 2 + 1);
    bool changed = false;
    struct err err = {0};

    if (!record) {
        return outcome_done(0);
    }
    tenant_unpack(record, rc->arena, tenant);
    if (!is_to_be_checked(tenant)) {
        return outcome_done(next_ms);
    }
    if (check_all(rc, monitor, tenant, &changed, &err)) {
        if (err.cls == ERR_CANCELED) {
            return outcome_from_err(&err, 0);
        }
        next_ms = next_ms < FAILING_PERIOD_MS ? next_ms : FAILING_PERIOD_MS;
    }
    if (changed) {
        queue_add(monitor->tenants, tenant->name, QUEUE_NORMAL);
    }
    return outcome_done(next_ms);
}

/* ---- the step ---- */

/* What this run made counts, not what the status said before. */
static const struct tenant *as_made(struct reconcile *rc, const struct tenant_work *work)
{
    struct tenant *tenant = ARENA_NEW(rc->arena, struct tenant);
    *tenant = *work->tenant;
    tenant->status.place = work->place;
    return tenant;
}

/* A tenant whose database was never checked, or was found out of reach, is checked now. A bucket is
 * not: a run does not wait for a store that only storage needs. */
static int ensure_well(struct reconcile *rc, const struct tenant_work *work, struct err *err)
{
    struct monitor *monitor = work->services->monitor;
    const char *tenant = work->tenant->name;
    struct verdict verdict;
    bool changed = false;

    if (!monitor) {
        return 0;
    }
    if (!look_up(monitor, tenant, &verdict) || verdict.database_fails) {
        if (run_check(rc, monitor, as_made(rc, work), CHECK_DATABASE, &changed, err)) {
            return err->cls == ERR_CANCELED ? -1 : err_reclass(err, ERR_RETRY, "ProbeFailed");
        }
        (void)look_up(monitor, tenant, &verdict);
    }
    if (verdict.ill) {
        *err = verdict.err;
        return err_reclass(err, ERR_RETRY, "ProbeFailed");
    }
    return 0;
}

int monitoring_ensure(struct reconcile *rc, void *subject, struct err *err)
{
    struct tenant_work *work = subject;

    monitor_metrics_quotas(work);
    if (tenant_object_ensure(rc, work, err)) {
        return -1;
    }
    return work->tenant->state == TENANT_SUSPENDED ? 0 : ensure_well(rc, work, err);
}
