/* One worker looks and listens, on a connection of its own; steps only read what it found. lock
 * guards the sleepers; no statement is run while it is held.
 *
 * LISTEN comes before the first look, and a notification only leads to another look, so that none
 * need be understood and none can be missed. */
#include "reconcilers/sandbox/idle.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "controller/base/clock.h"
#include "controller/base/map.h"
#include "controller/base/metrics.h"
#include "controller/base/str.h"
#include "reconcilers/drivers/sql.h"
#include "reconcilers/model/codec.h"
#include "reconcilers/registry/registry.h"

#define CHANNEL "tenantry_wake"

enum {
    HEAR_MS =
        5000, /* so long a run listens at most, so that stopping and new policies get a turn */
    SOONEST_MS = 100,
};

static const char duty_key[] = "fleet";

static struct metric asleep_metric =
    METRIC_GAUGE("tenantry_tenants_asleep", "Tenants whose sandboxes sleep, or are waking.");

struct sleeper {
    bool waking;
    uint64_t look; /* the last one that it was found in */
    char name[];   /* of the Tenant */
};

struct idle {
    struct registry *registry;
    struct cache *tiers;
    struct cache *tenants;
    struct queue *own;
    struct queue *tenant_queue;
    int64_t period_ms;
    pthread_mutex_t lock;
    struct map sleepers; /* tenant's id → struct sleeper, heap */
    uint64_t looks;      /* under lock */
    atomic_bool known;
    /* The duty's own. */
    struct sql_conn *conn; /* listens; NULL: none */
    int64_t look_ms;       /* monotonic: when to look next */
};

/* ---- who sleeps, as last seen ---- */

bool idle_is_known(struct idle *idle)
{
    return !idle || atomic_load(&idle->known);
}

enum idle_state idle_state_of(struct idle *idle, const char *tenant_id)
{
    enum idle_state state = IDLE_AWAKE;

    if (!idle) {
        return state;
    }
    pthread_mutex_lock(&idle->lock);
    const struct sleeper *sleeper = map_get(&idle->sleepers, str_from(tenant_id));
    if (sleeper) {
        state = sleeper->waking ? IDLE_WAKING : IDLE_ASLEEP;
    }
    pthread_mutex_unlock(&idle->lock);
    return state;
}

static void put_sleeper(struct idle *idle, const char *id, const char *name, bool waking)
{
    size_t size = strlen(name) + 1;
    struct sleeper *sleeper = xcalloc(1, sizeof(*sleeper) + size);

    sleeper->waking = waking;
    sleeper->look = idle->looks;
    memcpy(sleeper->name, name, size);
    free(map_put(&idle->sleepers, str_from(id), sleeper));
}

static void tell(const struct idle *idle, const char *name)
{
    queue_add(idle->tenant_queue, name, QUEUE_NORMAL);
}

static void take_row(struct idle *idle, const struct sql_rows *rows, int row)
{
    const char *id = sql_text(rows, row, 0);
    const char *name = sql_text(rows, row, 1);
    bool waking = sql_bool(rows, row, 2);
    struct sleeper *known = map_get(&idle->sleepers, str_from(id));

    if (known && known->waking == waking) {
        known->look = idle->looks;
        return;
    }
    put_sleeper(idle, id, name, waking);
    tell(idle, name);
}

/* Those who were not in the look are awake. */
static void drop_awake(struct idle *idle)
{
    size_t cursor = 0;
    struct str id;
    void *value;

    while (map_next(&idle->sleepers, &cursor, &id, &value)) {
        struct sleeper *sleeper = value;
        if (sleeper->look != idle->looks) {
            tell(idle, sleeper->name);
            free(map_remove(&idle->sleepers, id));
        }
    }
}

static void take_over(struct idle *idle, const struct sql_rows *rows)
{
    pthread_mutex_lock(&idle->lock);
    idle->looks++;
    for (int row = 0; row < sql_row_count(rows); row++) {
        take_row(idle, rows, row);
    }
    drop_awake(idle);
    size_t count = idle->sleepers.count;
    pthread_mutex_unlock(&idle->lock);
    metric_set(&asleep_metric, (double)count);
}

/* ---- the registry ---- */

static int ask_due(struct idle *idle, const struct call *call, bool *ret_due, int64_t *ret_next_ms,
                   struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT due, next_ms FROM public.idle_due()");
    if (sql_query(idle->conn, call, &query, &rows, err)) {
        return -1;
    }
    *ret_due = sql_bool(rows, 0, 0);
    *ret_next_ms = sql_is_null(rows, 0, 1) ? idle->period_ms : sql_int(rows, 0, 1);
    return 0;
}

static int settle(struct idle *idle, const struct call *call, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "SELECT public.idle_settle()");
    return sql_exec(idle->conn, call, &query, NULL, err);
}

static int read_sleepers(struct idle *idle, const struct call *call, struct sql_rows **ret,
                         struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "SELECT a.tenant_id, t.tenant_name, a.wake_requested_at IS NOT NULL "
                "FROM public.tenant_activity a JOIN public.tenants t ON t.id = a.tenant_id "
                "WHERE a.asleep AND t.status <> 'deleted' AND t.tenant_name IS NOT NULL");
    return sql_query(idle->conn, call, &query, ret, err);
}

int idle_learn(struct idle *idle, struct reconcile *rc, const char *tenant_id, struct err *err)
{
    AUTO(registry_loan) struct registry_loan loan = {0};
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    if (idle_is_known(idle)) {
        return 0;
    }
    if (registry_borrow(idle->registry, rc, &loan, err)) {
        return -1;
    }
    sql_init(&query);
    SQL(&query, "SELECT a.wake_requested_at IS NOT NULL FROM public.tenant_activity a "
                "WHERE a.asleep AND a.tenant_id = ");
    sql_param(&query, tenant_id);
    if (sql_query(loan.conn, &rc->call, &query, &rows, err)) {
        return registry_loan_report(&loan, err);
    }
    if (sql_row_count(rows) > 0) {
        pthread_mutex_lock(&idle->lock);
        put_sleeper(idle, tenant_id, rc->key, sql_bool(rows, 0, 0));
        pthread_mutex_unlock(&idle->lock);
    }
    return 0;
}

int idle_end(struct idle *idle, struct reconcile *rc, const char *tenant_id, struct err *err)
{
    AUTO(registry_loan) struct registry_loan loan = {0};
    AUTO(sql) struct sql query = {0};

    if (registry_borrow(idle->registry, rc, &loan, err)) {
        return -1;
    }
    sql_init(&query);
    SQL(&query, "UPDATE public.tenant_activity SET asleep = false WHERE asleep AND tenant_id = ");
    sql_param(&query, tenant_id);
    if (sql_exec(loan.conn, &rc->call, &query, NULL, err)) {
        return registry_loan_report(&loan, err);
    }
    pthread_mutex_lock(&idle->lock);
    free(map_remove(&idle->sleepers, str_from(tenant_id)));
    size_t count = idle->sleepers.count;
    pthread_mutex_unlock(&idle->lock);
    metric_set(&asleep_metric, (double)count);
    return 0;
}

/* ---- the duty ---- */

static bool does_anybody_sleep(struct idle *idle)
{
    pthread_mutex_lock(&idle->lock);
    bool any = idle->sleepers.count > 0;
    pthread_mutex_unlock(&idle->lock);
    return any;
}

static bool note_policy(void *context, const struct record *record)
{
    bool *found = context;
    AUTO(arena) struct arena scratch = {0};
    struct tier tier;

    arena_init(&scratch, 0);
    tier_unpack(record, &scratch, &tier);
    *found = *found || tier.idle_after_ms > 0;
    return !*found;
}

static bool add_tenant(void *context, const struct record *record)
{
    queue_add(context, record_key(record), QUEUE_LOW);
    return true;
}

/* What was taken to stand while nobody knew is looked at again. */
static void become_known(struct idle *idle, bool has_policy)
{
    if (!atomic_exchange(&idle->known, true) && has_policy) {
        cache_each(idle->tenants, add_tenant, idle->tenant_queue);
    }
}

static int look(struct idle *idle, const struct call *call, bool has_policy, struct err *err)
{
    AUTO(sql_rows) struct sql_rows *rows = NULL;
    int64_t next_ms = 0;
    bool due = false;

    if (ask_due(idle, call, &due, &next_ms, err) || (due && settle(idle, call, err)) ||
        (due && ask_due(idle, call, &due, &next_ms, err)) ||
        read_sleepers(idle, call, &rows, err)) {
        return -1;
    }
    take_over(idle, rows);
    become_known(idle, has_policy);
    next_ms = next_ms < SOONEST_MS ? SOONEST_MS : next_ms;
    idle->look_ms = clock_monotonic_ms() + (next_ms < idle->period_ms ? next_ms : idle->period_ms);
    return 0;
}

static void on_wake(void *context, const char *channel, const char *payload)
{
    struct idle *idle = context;

    (void)channel;
    (void)payload;
    idle->look_ms = 0;
}

static int connect_and_listen(struct idle *idle, const struct call *call, struct err *err)
{
    idle->look_ms = 0;
    return registry_connect(idle->registry, call, &idle->conn, err) ||
                   sql_listen(idle->conn, call, CHANNEL, err)
               ? -1
               : 0;
}

static int listen_for_a_while(struct idle *idle, const struct call *call, struct err *err)
{
    int64_t left_ms = idle->look_ms - clock_monotonic_ms();

    return left_ms > 0 ? sql_hear(idle->conn, call, left_ms < HEAR_MS ? left_ms : HEAR_MS, on_wake,
                                  idle, err)
                       : 0;
}

static int turn(struct idle *idle, const struct call *call, bool has_policy, struct err *err)
{
    if (idle->conn ? listen_for_a_while(idle, call, err) : connect_and_listen(idle, call, err)) {
        return -1;
    }
    return clock_monotonic_ms() >= idle->look_ms ? look(idle, call, has_policy, err) : 0;
}

struct outcome idle_reconcile(struct reconcile *rc)
{
    struct idle *idle = rc->environment;
    bool has_policy = false;
    struct err err = {0};

    cache_each(idle->tiers, note_policy, &has_policy);
    if (!has_policy && idle_is_known(idle) && !does_anybody_sleep(idle)) {
        sql_close(TAKE(idle->conn));
        return outcome_done(0); /* a tier wakes us */
    }
    if (turn(idle, &rc->call, has_policy, &err)) {
        sql_close(TAKE(idle->conn));
        return outcome_from_err(&err, idle->period_ms);
    }
    return outcome_done(1);
}

/* ---- life ---- */

static void on_tier(void *context, enum cache_change change, const struct record *before,
                    const struct record *after, bool initial)
{
    const struct idle *idle = context;

    (void)change;
    (void)before;
    (void)after;
    (void)initial;
    queue_add(idle->own, duty_key, QUEUE_NORMAL);
}

struct idle *idle_new(struct registry *registry, struct cache *tiers, struct cache *tenants,
                      int64_t period_ms)
{
    struct idle *idle = xcalloc(1, sizeof(*idle));

    idle->registry = registry;
    idle->tiers = tiers;
    idle->tenants = tenants;
    idle->period_ms = period_ms;
    pthread_mutex_init(&idle->lock, NULL);
    map_init(&idle->sleepers);
    metrics_register(&asleep_metric);
    return idle;
}

void idle_wire(struct idle *idle, struct queue *own, struct queue *tenants)
{
    idle->own = own;
    idle->tenant_queue = tenants;
    cache_listen(idle->tiers, on_tier, idle);
    queue_add(own, duty_key, QUEUE_NORMAL);
}

void idle_free(struct idle *idle)
{
    size_t cursor = 0;
    struct str id;
    void *value;

    if (!idle) {
        return;
    }
    while (map_next(&idle->sleepers, &cursor, &id, &value)) {
        free(value);
    }
    map_release(&idle->sleepers);
    sql_close(idle->conn);
    pthread_mutex_destroy(&idle->lock);
    free(idle);
}
