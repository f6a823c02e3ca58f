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

enum { LIMIT_WAIT_MS_MIN = 5000, HOUR_MS = 3600 * 1000, SECONDS_BYTES = 32 };
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
    bool heard;         /* what follows is from behind the last write */
    bool spent;
    int64_t left_copy_ms; /* until the limit */
    int64_t left_at_ms;   /* monotonic: when that was so */
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
        entry->left_copy_ms = INT64_MAX;
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

/* ---- what there is to do ---- */

struct due {
    const char *tenant;
    char tenant_id[UUID_TEXT_BYTES];
    struct span span; /* until_us 0: nothing to write */
};

/* What the registry has not been asked yet is not written either: a start with everything in place
 * finds there what it sees. */
static bool is_to_write(const struct entry *entry)
{
    return entry->sent.until_us ||
           (entry->written >= 0 && (entry->now.copy_ms > 0 || entry->written != entry->running));
}

/* Of a tenant whose hours are spent, whether they are there again. */
static bool is_to_hear(const struct entry *entry)
{
    return entry->spent || (!entry->heard && (entry->written >= 0 || entry->running > 0));
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
    if (entry->sent.until_us) {
        return;
    }
    entry->sent = entry->now;
    entry->sent.until_us = clock_wall_us();
    entry->sent.after = entry->running;
    begin_span(entry);
    entry->now.since_us = entry->sent.until_us;
}

/* Of a tenant that is gone nothing is left to write or hear. */
static bool is_over(const struct meter *meter, const char *tenant, const struct entry *entry)
{
    if (entry->running > 0 || is_to_write(entry)) {
        return false;
    }
    AUTO(record) const struct record *record = cache_get(meter->tenants, tenant);
    return !record;
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
        struct due due = {.tenant = arena_strndup(arena, key.ptr, key.len)};
        count_up(entry);
        if (is_over(meter, due.tenant, entry)) {
            free(map_remove(&meter->entries, key));
            continue;
        }
        if ((!is_to_write(entry) && !is_to_hear(entry)) ||
            !learn_id(meter, arena, due.tenant, entry)) {
            continue;
        }
        if (is_to_write(entry)) {
            take_span(entry);
            due.span = entry->sent;
        }
        memcpy(due.tenant_id, entry->tenant_id, sizeof(due.tenant_id));
        (*ret)[count++] = due;
    }
    pthread_mutex_unlock(&meter->lock);
    return count;
}

/* ---- writing down ---- */

static void param_time(struct sql *query, char text[CLOCK_TEXT_BYTES], int64_t wall_us)
{
    clock_format_us(wall_us, text);
    sql_param(query, text);
    SQL(query, "::timestamptz");
}

static int write_down(struct reconcile *rc, struct sql_conn *conn, const struct due *due,
                      struct err *err)
{
    AUTO(sql) struct sql query = {0};
    char times[3][CLOCK_TEXT_BYTES];
    char seconds[SECONDS_BYTES];

    (void)snprintf(seconds, sizeof(seconds), "%" PRId64 ".%03d", due->span.copy_ms / 1000,
                   (int)(due->span.copy_ms % 1000));
    sql_init(&query);
    SQL(&query, "SELECT FROM public.tenants t, public.compute_meter(t.id, ");
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
    SQL(&query, ") WHERE t.id = "); /* no row: it was deleted meanwhile, and nobody pays */
    sql_param(&query, due->tenant_id);
    SQL(&query, "::uuid");
    return sql_exec(conn, &rc->call, &query, NULL, err);
}

static void settle_span(struct meter *meter, const struct due *due)
{
    pthread_mutex_lock(&meter->lock);
    struct entry *entry = entry_of(meter, due->tenant);
    entry->sent = (struct span){0};
    entry->written = due->span.after;
    entry->heard = false;
    pthread_mutex_unlock(&meter->lock);
    metric_add(&metered, (double)due->span.copy_ms / 1000.0);
}

/* ---- hearing ---- */

static int ask(struct reconcile *rc, struct sql_conn *conn, const struct due *due, size_t count,
               struct sql_rows **ret, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(buf) struct buf ids = BUF(count * UUID_TEXT_BYTES + 3);
    char now[CLOCK_TEXT_BYTES];

    for (size_t i = 0; i < count; i++) {
        (void)buf_printf(&ids, "%c%s", i == 0 ? '{' : ',', due[i].tenant_id);
    }
    (void)buf_append_char(&ids, '}');
    sql_init(&query);
    SQL(&query, "SELECT tenant, running, used, allowed, "
                "floor((allowed::numeric - used - begun) * 3600000) FROM public.compute_state(");
    sql_param(&query, buf_text(&ids));
    SQL(&query, "::uuid[], ");
    param_time(&query, now, clock_wall_us());
    SQL(&query, ")");
    return sql_query(conn, &rc->call, &query, ret, err);
}

/* More than 2^53 ms is no limit that anybody lives to see. */
static int64_t left_of(const struct sql_rows *rows, int row)
{
    const char *text = sql_text(rows, row, 4);

    return sql_is_null(rows, row, 4) || strlen(text) > 15 ? INT64_MAX : sql_int(rows, row, 4);
}

static void hear(struct meter *meter, const struct due *due, const struct sql_rows *rows, int row)
{
    bool spent = !sql_is_null(rows, row, 3) && sql_int(rows, row, 2) >= sql_int(rows, row, 3);

    pthread_mutex_lock(&meter->lock);
    struct entry *entry = entry_of(meter, due->tenant);
    bool changed = entry->spent != spent;
    if (entry->written < 0) {
        entry->written = sql_int(rows, row, 1);
    }
    entry->heard = true;
    entry->spent = spent;
    entry->left_copy_ms = left_of(rows, row);
    entry->left_at_ms = entry->counted_ms;
    pthread_mutex_unlock(&meter->lock);
    if (changed && meter->queue) {
        queue_add(meter->queue, due->tenant, QUEUE_NORMAL);
    }
}

static int hear_all(struct reconcile *rc, struct meter *meter, struct sql_conn *conn,
                    const struct due *due, size_t count, struct err *err)
{
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    if (ask(rc, conn, due, count, &rows, err)) {
        return -1;
    }
    for (int row = 0; row < sql_row_count(rows); row++) {
        for (size_t i = 0; i < count; i++) { /* in the order asked for, as a rule */
            const struct due *one = &due[((size_t)row + i) % count];
            if (text_equal(one->tenant_id, sql_text(rows, row, 0))) {
                hear(meter, one, rows, row);
                break;
            }
        }
    }
    return 0;
}

static int settle_all(struct reconcile *rc, struct meter *meter, const struct due *due,
                      size_t count, struct err *err)
{
    AUTO(registry_loan) struct registry_loan loan = {0};
    if (count == 0) {
        return 0;
    }
    if (registry_borrow(meter->registry, rc, &loan, err)) {
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        if (due[i].span.until_us) {
            if (write_down(rc, loan.conn, &due[i], err)) {
                return registry_loan_report(&loan, err);
            }
            settle_span(meter, &due[i]);
        }
    }
    return hear_all(rc, meter, loan.conn, due, count, err) ? registry_loan_report(&loan, err) : 0;
}

/* ---- when again ---- */

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

/* When its hours are spent at the pace of now. */
static int64_t limit_in_ms(const struct entry *entry, int64_t now_ms)
{
    if (entry->running == 0 || entry->spent || entry->left_copy_ms == INT64_MAX) {
        return INT64_MAX;
    }
    int64_t in_ms = entry->left_copy_ms / entry->running - (now_ms - entry->left_at_ms) + 1;
    return in_ms > LIMIT_WAIT_MS_MIN ? in_ms : LIMIT_WAIT_MS_MIN;
}

/* Sooner where somebody's limit is reached sooner; and at the end of the month, so that no span
 * lies in two. */
static int64_t next_ms(struct meter *meter)
{
    int64_t next = meter->period_ms;
    int64_t now_ms = clock_monotonic_ms();
    size_t cursor = 0;
    struct str key;
    void *value;

    pthread_mutex_lock(&meter->lock);
    while (map_next(&meter->entries, &cursor, &key, &value)) {
        int64_t in_ms = limit_in_ms(value, now_ms);
        next = in_ms < next ? in_ms : next;
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

    if (settle_all(rc, meter, due, count, &err)) {
        return outcome_from_err(&err, meter->period_ms);
    }
    return outcome_done(next_ms(meter));
}
