/* lock guards the entries; no statement is run while it is held. Durations are monotonic, so that a
 * clock that is set counts nothing; wall time only says when a span was. */
#include "reconcilers/sandbox/meter.h"

#include <inttypes.h>
#include <pthread.h>

#include "controller/base/clock.h"
#include "controller/base/map.h"
#include "controller/base/metrics.h"
#include "controller/base/str.h"
#include "controller/kube/object.h"
#include "reconcilers/drivers/sql.h"
#include "reconcilers/model/codec.h"
#include "reconcilers/objects/child.h"
#include "reconcilers/registry/registry.h"

enum { LAST_HOUR_MS = 5000, SECONDS_BYTES = 32 };
#define BRIDGE "5 minutes"

static struct metric metered = METRIC_COUNTER("tenantry_compute_seconds_total",
                                              "Seconds of running sandbox copies written down.");

/* Observed time, not yet known to be in the registry. */
struct span {
    int64_t since_us; /* wall */
    int64_t until_us;
    int64_t copy_ms; /* copies × time */
    int64_t before;  /* copies at its beginning */
    int64_t after;
};

struct entry {
    char tenant_id[UUID_TEXT_BYTES];
    int64_t running;
    int64_t counted_ms; /* monotonic: copy_ms is complete up to here */
    struct span now;    /* growing */
    struct span sent;   /* until_us 0: none */
    int64_t written;    /* copies that the registry knows of; -1 = not known */
    bool spent;
    int64_t left; /* whole hours until the limit, as last heard */
};

struct meter {
    struct registry *registry;
    struct cache *tenants;
    struct queue *queue;
    int64_t period_ms;
    pthread_mutex_t lock;
    struct map entries; /* tenant's name → struct entry, heap */
};

/* ---- observing ---- */

static void count_up(struct entry *entry)
{
    int64_t now_ms = clock_monotonic_ms();
    entry->now.copy_ms += entry->running * (now_ms - entry->counted_ms);
    entry->counted_ms = now_ms;
}

static void begin_span(struct entry *entry)
{
    entry->now = (struct span){.since_us = clock_wall_us(), .before = entry->running};
}

static struct entry *entry_of(struct meter *meter, const char *tenant)
{
    struct entry *entry = map_get(&meter->entries, str_from(tenant));
    if (!entry) {
        entry = xcalloc(1, sizeof(*entry));
        entry->written = -1;
        entry->left = INT64_MAX;
        entry->counted_ms = clock_monotonic_ms();
        begin_span(entry);
        (void)map_put(&meter->entries, str_from(tenant), entry);
    }
    return entry;
}

static void on_deployment(void *context, enum cache_change change, const struct record *before,
                          const struct record *after, bool initial)
{
    struct meter *meter = context;
    AUTO(arena) struct arena scratch = {0};
    arena_init(&scratch, 0);
    struct child was = {0};
    struct child is = {0};

    (void)change;
    (void)initial;
    if (before) {
        child_unpack(before, &scratch, &was);
    }
    if (after) {
        child_unpack(after, &scratch, &is);
    }
    const char *tenant = after ? is.tenant : was.tenant;
    if (was.ready == is.ready || text_is_empty(tenant)) {
        return;
    }
    pthread_mutex_lock(&meter->lock);
    struct entry *entry = entry_of(meter, tenant);
    count_up(entry);
    if (entry->written < 0 && entry->now.copy_ms == 0) {
        entry->now.before += is.ready; /* the first view comes object by object */
    }
    entry->running += is.ready - was.ready;
    pthread_mutex_unlock(&meter->lock);
}

struct meter *meter_new(struct registry *registry, struct cache *tenants, struct cache *deployments,
                        int64_t period_ms)
{
    struct meter *meter = xcalloc(1, sizeof(*meter));
    meter->registry = registry;
    meter->tenants = tenants;
    meter->period_ms = period_ms;
    pthread_mutex_init(&meter->lock, NULL);
    map_init(&meter->entries);
    cache_listen(deployments, on_deployment, meter);
    metrics_register(&metered);
    return meter;
}

void meter_free(struct meter *meter)
{
    if (!meter) {
        return;
    }
    size_t cursor = 0;
    struct str key;
    void *entry;
    while (map_next(&meter->entries, &cursor, &key, &entry)) {
        free(entry);
    }
    map_release(&meter->entries);
    pthread_mutex_destroy(&meter->lock);
    free(meter);
}

void meter_wake(struct meter *meter, struct queue *tenants)
{
    meter->queue = tenants;
}

bool meter_is_spent(struct meter *meter, const char *tenant)
{
    if (!meter) {
        return false;
    }
    pthread_mutex_lock(&meter->lock);
    const struct entry *entry = map_get(&meter->entries, str_from(tenant));
    bool spent = entry && entry->spent;
    pthread_mutex_unlock(&meter->lock);
    return spent;
}

void meter_set_spent(struct meter *meter, const char *tenant, bool spent)
{
    if (!meter || spent == meter_is_spent(meter, tenant)) {
        return;
    }
    pthread_mutex_lock(&meter->lock);
    entry_of(meter, tenant)->spent = spent;
    pthread_mutex_unlock(&meter->lock);
}

/* ---- writing down ---- */

struct due {
    const char *tenant;
    char tenant_id[UUID_TEXT_BYTES];
    struct span span;
};

/* Whether there is something to write, or something to hear: of a tenant whose hours are spent,
 * whether they are there again. */
static bool is_due(const struct entry *entry)
{
    return entry->sent.until_us || entry->now.copy_ms > 0 || entry->spent ||
           (entry->written < 0 ? entry->running > 0 : entry->written != entry->running);
}

static bool learn_id(struct meter *meter, struct arena *arena, const char *tenant,
                     struct entry *entry)
{
    if (*entry->tenant_id) {
        return true;
    }
    AUTO(record) const struct record *record = cache_get(meter->tenants, tenant);
    if (!record) {
        return false;
    }
    struct tenant *found = ARENA_NEW(arena, struct tenant);
    tenant_unpack(record, arena, found);
    (void)snprintf(entry->tenant_id, sizeof(entry->tenant_id), "%s", found->status.tenant_id);
    return *entry->tenant_id != 0;
}

/* A span that was sent goes first, exactly as it was, until it is known what became of it. */
static void take_span(struct entry *entry)
{
    count_up(entry);
    if (entry->sent.until_us) {
        return;
    }
    entry->sent = entry->now;
    entry->sent.until_us = clock_wall_us();
    entry->sent.after = entry->running;
    begin_span(entry);
    entry->now.since_us = entry->sent.until_us;
}

static size_t collect(struct meter *meter, struct arena *arena, struct due **ret)
{
    size_t cursor = 0;
    size_t count = 0;
    struct str key;
    void *value;

    pthread_mutex_lock(&meter->lock);
    *ret = ARENA_ARRAY(arena, struct due, meter->entries.count);
    while (map_next(&meter->entries, &cursor, &key, &value)) {
        struct entry *entry = value;
        const char *tenant = arena_strndup(arena, key.ptr, key.len);
        count_up(entry);
        if (is_due(entry) && learn_id(meter, arena, tenant, entry)) {
            take_span(entry);
            (*ret)[count] = (struct due){.tenant = tenant, .span = entry->sent};
            memcpy((*ret)[count++].tenant_id, entry->tenant_id, sizeof(entry->tenant_id));
        }
    }
    pthread_mutex_unlock(&meter->lock);
    return count;
}

static void param_time(struct sql *query, char text[CLOCK_TEXT_BYTES], int64_t wall_us)
{
    clock_format_us(wall_us, text);
    sql_param(query, text);
    SQL(query, "::timestamptz");
}

static int write_down(struct reconcile *rc, struct sql_conn *conn, const struct due *due,
                      int64_t *ret_used, int64_t *ret_limit, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;
    char times[3][CLOCK_TEXT_BYTES];
    char seconds[SECONDS_BYTES];

    (void)snprintf(seconds, sizeof(seconds), "%" PRId64 ".%03d", due->span.copy_ms / 1000,
                   (int)(due->span.copy_ms % 1000));
    sql_init(&query);
    SQL(&query, "SELECT used, allowed FROM public.compute_meter(");
    sql_param(&query, due->tenant_id);
    SQL(&query, "::uuid, ");
    param_time(&query, times[0], due->span.since_us);
    SQL(&query, ", ");
    param_time(&query, times[1], due->span.until_us);
    SQL(&query, ", ");
    sql_param(&query, seconds);
    SQL(&query, "::numeric, ");
    sql_param_int(&query, due->span.before);
    SQL(&query, "::int, ");
    sql_param_int(&query, due->span.after);
    SQL(&query, "::int, interval '" BRIDGE "', ");
    param_time(&query, times[2], clock_wall_us());
    SQL(&query, ")");
    if (sql_exec(conn, &rc->call, &query, &rows, err)) {
        return -1;
    }
    bool known = sql_row_count(rows) > 0 && !sql_is_null(rows, 0, 1);
    *ret_used = known ? sql_int(rows, 0, 0) : 0;
    *ret_limit = known ? sql_int(rows, 0, 1) : INT64_MAX;
    return 0;
}

static void hear(struct meter *meter, const struct due *due, int64_t used, int64_t limit)
{
    bool spent = used >= limit;
    pthread_mutex_lock(&meter->lock);
    struct entry *entry = entry_of(meter, due->tenant);
    bool changed = entry->spent != spent;
    entry->sent = (struct span){0};
    entry->written = due->span.after;
    entry->spent = spent;
    entry->left = limit - used;
    pthread_mutex_unlock(&meter->lock);
    metric_add(&metered, (double)due->span.copy_ms / 1000.0);
    if (changed && meter->queue) {
        queue_add(meter->queue, due->tenant, QUEUE_NORMAL);
    }
}

static int write_all(struct reconcile *rc, struct meter *meter, const struct due *due, size_t count,
                     struct err *err)
{
    AUTO(registry_loan) struct registry_loan loan = {0};
    if (count == 0) {
        return 0;
    }
    if (registry_borrow(meter->registry, rc, &loan, err)) {
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        int64_t used = 0;
        int64_t limit = 0;
        if (write_down(rc, loan.conn, &due[i], &used, &limit, err)) {
            return registry_loan_report(&loan, err);
        }
        hear(meter, &due[i], used, limit);
    }
    return 0;
}

/* The first second of the next month, UTC. */
static int64_t month_end_us(int64_t now_s)
{
    char text[CLOCK_TEXT_BYTES];
    int64_t end_us = 0;
    clock_format_s(now_s, text); /* "2026-11-27T…" */
    int year =
        (text[0] - '0') * 1000 + (text[1] - '0') * 100 + (text[2] - '0') * 10 + text[3] - '0';
    int month = (text[5] - '0') * 10 + text[6] - '0';
    (void)snprintf(text, sizeof(text), "%04d-%02d-01T00:00:00Z", month == 12 ? year + 1 : year,
                   month % 12 + 1);
    return clock_parse(str_from(text), &end_us) ? end_us : INT64_MAX;
}

/* Sooner while somebody runs in the last hour that is left; and at the end of the month, so that no
 * span lies in two. */
static int64_t next_ms(struct meter *meter)
{
    int64_t next = meter->period_ms;
    size_t cursor = 0;
    struct str key;
    void *value;

    pthread_mutex_lock(&meter->lock);
    while (map_next(&meter->entries, &cursor, &key, &value)) {
        const struct entry *entry = value;
        if (entry->running > 0 && entry->left <= 1 && next > LAST_HOUR_MS) {
            next = LAST_HOUR_MS;
        }
    }
    pthread_mutex_unlock(&meter->lock);
    int64_t end_ms = (month_end_us(clock_wall_s()) - clock_wall_us()) / 1000 + 1;
    return end_ms > 0 && end_ms < next ? end_ms : next;
}

struct outcome meter_reconcile(struct reconcile *rc)
{
    struct meter *meter = rc->environment;
    struct due *due = NULL;
    struct err err = {0};
    size_t count = collect(meter, rc->arena, &due);

    return write_all(rc, meter, due, count, &err) ? outcome_from_err(&err, meter->period_ms)
                                                  : outcome_done(next_ms(meter));
}
