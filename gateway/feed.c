/* One loop: hear for a short time, then do what was heard of, then see that the registry is there.
 *
 * LISTEN comes first and the tables are read after it, so that no change falls between. What is
 * notified of a tenant is only its id; the row is read, so that the order of notifications does not
 * matter. */
#include "gateway/feed.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/base/buf.h"
#include "controller/base/cancel.h"
#include "controller/base/clock.h"
#include "controller/base/jsonr.h"
#include "controller/base/jsonw.h"
#include "controller/base/log.h"
#include "controller/base/metrics.h"
#include "controller/base/thread.h"
#include "gateway/auth.h"
#include "gateway/feed_sql.h"
#include "gateway/quota.h"
#include "gateway/session.h"
#include "gateway/tenants.h"

enum {
    HEAR_MS = 200,
    STATEMENT_MS = 2000,
    FRESH_MS = 3000, /* an answer counts for so long */
    ALIVE_MS = 3000,
    USED_MS = 5000,
    WAKE_MS = 200,
    RETRY_MS = 200,
    SESSIONS_MS = 2000,
    IDS_MAX_BYTES = 4 << 20,
    PAYLOADS_MAX_BYTES = 1 << 20,
    DIRTY_MAX = 1000, /* more changes at once are read as a whole */
};

struct feed {
    struct gateway *gateway;
    struct secret url;
    pthread_t thread;
    struct cancel *stop;
    pthread_mutex_t lock;
    struct buf outbox; /* under lock: payloads to notify, each ended by a line feed */
    /* The thread's own. */
    struct sql_conn *conn;
    struct buf dirty; /* ids that were notified, a JSON array in the making */
    int dirty_count;
    bool dirty_servers;
    bool was_lost;
    int64_t alive_ms;
    int64_t used_ms;
    int64_t wake_ms;
    int64_t sessions_ms;
    int64_t told_used_ms; /* what was in use before this has been told */
    int64_t clock_offset_ms;
};

static struct metric connected =
    METRIC_GAUGE("tenantry_gateway_registry_connected", "1 while the registry answers.");
static struct metric resyncs =
    METRIC_COUNTER("tenantry_gateway_resyncs_total", "How often all tenants were read.");

/* ---- the table ---- */

struct reading {
    struct feed *feed;
    struct record **records;
    size_t count;
    size_t capacity;
};

static struct record *make_record(struct feed *feed, const struct tenant_facts *facts)
{
    struct live *live = tenants_live(feed->gateway->tenants, facts->id);
    struct record *record = record_new(facts, live);

    live_unref(live);
    return record;
}

static void collect(void *context, const struct tenant_facts *facts)
{
    struct reading *reading = context;

    if (reading->count == reading->capacity) {
        reading->capacity = 2 * reading->capacity + 64;
        reading->records = xrealloc(reading->records, reading->capacity * sizeof(struct record *));
    }
    reading->records[reading->count++] = make_record(reading->feed, facts);
}

static void reopen(void *context, struct live *live)
{
    struct feed *feed = context;

    quota_recall(feed->gateway->quota, &live->requests, false);
}

/* Everything anew. What gateways heard of keys, users and quotas meanwhile is not known either. */
static int read_all(struct feed *feed, const struct call *call, struct err *err)
{
    struct reading reading = {.feed = feed};
    int result = feed_read_servers(feed->conn, call, feed->gateway->places, err);

    if (result == 0) {
        result = feed_read_tenants(feed->conn, call, NULL, collect, &reading, err);
    }
    if (result) {
        for (size_t i = 0; i < reading.count; i++) {
            record_unref(reading.records[i]);
        }
    } else {
        tenants_replace(feed->gateway->tenants, reading.records, reading.count);
        auth_forget_all(feed->gateway->auth);
        tenants_each_live(feed->gateway->tenants, reopen, feed);
        metric_add(&resyncs, 1);
    }
    free(reading.records);
    return result;
}

/* ---- hearing ---- */

static void mark_dirty(struct feed *feed, struct str id)
{
    feed->dirty_count++;
    (void)buf_append_text(&feed->dirty, feed->dirty.len > 0 ? "," : "[");
    (void)buf_append_json(&feed->dirty, id);
}

static void hear_quota(struct feed *feed, struct str kind, struct str rest)
{
    char id[UUID_TEXT_BYTES];
    struct str tenant = str_cut(&rest, ' ');
    struct str resource = str_cut(&rest, ' ');

    (void)snprintf(id, sizeof(id), "%.*s", (int)tenant.len, tenant.ptr);
    struct live *live = tenants_live_if_known(feed->gateway->tenants, id);
    if (live && str_equal_c(resource, live->requests.resource)) {
        if (str_equal(kind, STR("freed"))) {
            quota_freed(feed->gateway->quota, &live->requests);
        } else if (str_equal(kind, STR("quota"))) {
            quota_recall(feed->gateway->quota, &live->requests, false);
        } else if (!str_equal_c(rest, feed->gateway->replica)) {
            quota_recall(feed->gateway->quota, &live->requests, true);
        }
    }
    live_unref(live);
}

static void hear_revocation(struct feed *feed, struct str kind, struct str rest)
{
    struct str tenant = str_cut(&rest, ' ');
    char id[UUID_TEXT_BYTES];
    char what[SHA256_TEXT_BYTES] = "";
    unsigned char digest[SHA256_BYTES];

    (void)snprintf(id, sizeof(id), "%.*s", (int)tenant.len, tenant.ptr);
    (void)snprintf(what, sizeof(what), "%.*s", (int)rest.len, rest.ptr);
    if (str_equal(kind, STR("user"))) {
        auth_forget_user(feed->gateway->auth, id, what);
        return;
    }
    for (size_t i = 0; i < SHA256_BYTES; i++) {
        char byte[3] = "";
        memcpy(byte, what + 2 * i, 2);
        digest[i] = (unsigned char)strtoul(byte, NULL, 16);
    }
    auth_forget_digest(feed->gateway->auth, id, digest);
}

/* "KIND ..." as the registry's triggers and functions, and other gateways, say it. */
static void hear(void *context, const char *channel, const char *payload)
{
    struct feed *feed = context;
    struct str rest = str_from(payload);
    struct str kind = str_cut(&rest, ' ');

    (void)channel;
    if (str_equal(kind, STR("tenant"))) {
        mark_dirty(feed, rest);
    } else if (str_equal(kind, STR("server"))) {
        feed->dirty_servers = true;
    } else if (str_equal(kind, STR("key")) || str_equal(kind, STR("user"))) {
        hear_revocation(feed, kind, rest);
    } else {
        hear_quota(feed, kind, rest);
    }
}

/* Take out those that were notified of and are not there any more. */
static void remove_gone(struct feed *feed, const char *ids, struct record *const *seen,
                        size_t seen_count)
{
    AUTO(arena) struct arena arena = {0};
    struct jsonr reader;
    const char *id = NULL;

    arena_init(&arena, 0);
    jsonr_init(&reader, str_from(ids));
    if (!jsonr_array_begin(&reader)) {
        return;
    }
    while (jsonr_element(&reader) && jsonr_string(&reader, &arena, &id)) {
        bool there = false;
        for (size_t i = 0; i < seen_count && !there; i++) {
            there = strcmp(seen[i]->facts.id, id) == 0;
        }
        if (!there) {
            tenants_put(feed->gateway->tenants, id, NULL);
        }
    }
}

static int read_dirty(struct feed *feed, const struct call *call, struct err *err)
{
    struct reading reading = {.feed = feed};

    (void)buf_append_char(&feed->dirty, ']');
    int result =
        feed_read_tenants(feed->conn, call, buf_text(&feed->dirty), collect, &reading, err);
    if (result == 0) {
        remove_gone(feed, buf_text(&feed->dirty), reading.records, reading.count);
        for (size_t i = 0; i < reading.count; i++) {
            record_ref(reading.records[i]);
            tenants_put(feed->gateway->tenants, reading.records[i]->facts.id, reading.records[i]);
        }
    }
    for (size_t i = 0; i < reading.count; i++) {
        record_unref(reading.records[i]);
    }
    free(reading.records);
    return result;
}

static int follow(struct feed *feed, const struct call *call, struct err *err)
{
    int result = 0;

    if (feed->dirty_count > DIRTY_MAX || buf_failed(&feed->dirty)) {
        result = read_all(feed, call, err);
    } else if (feed->dirty_count > 0) {
        result = read_dirty(feed, call, err);
    }
    if (result == 0 && feed->dirty_servers) {
        result = feed_read_servers(feed->conn, call, feed->gateway->places, err);
    }
    if (result == 0) {
        buf_clear(&feed->dirty);
        feed->dirty_count = 0;
        feed->dirty_servers = false;
    }
    return result;
}

/* ---- telling ---- */

static int send_outbox(struct feed *feed, const struct call *call, struct err *err)
{
    AUTO(buf) struct buf payloads = BUF(PAYLOADS_MAX_BYTES);

    pthread_mutex_lock(&feed->lock);
    struct buf held = feed->outbox;
    feed->outbox = payloads;
    payloads = held;
    pthread_mutex_unlock(&feed->lock);
    struct str rest = buf_str(&payloads);
    while (rest.len > 0) {
        struct str line = str_cut(&rest, '\n');
        AUTO(free) char *payload = xmemdup0(line.ptr, line.len);
        if (feed_notify(feed->conn, call, payload, err)) {
            return -1;
        }
    }
    return 0;
}

struct used {
    struct jsonw used_writer, wake_writer;
    int64_t since_ms;
    int used_count, wake_count;
    bool wake_only;
};

static void note_used(void *context, struct live *live)
{
    struct used *used = context;

    if (atomic_exchange(&live->wake, false)) {
        jsonw_text(&used->wake_writer, NULL, live->id);
        used->wake_count++;
    } else if (!used->wake_only && atomic_load(&live->used_ms) >= used->since_ms) {
        jsonw_text(&used->used_writer, NULL, live->id);
        used->used_count++;
    }
}

/* Who was in use, now and then; whom to wake, at once. */
static int tell_used(struct feed *feed, const struct call *call, int64_t now_ms, struct err *err)
{
    AUTO(buf) struct buf in_use = BUF(IDS_MAX_BYTES);
    AUTO(buf) struct buf wake = BUF(IDS_MAX_BYTES);
    struct used used = {.since_ms = feed->told_used_ms,
                        .wake_only = now_ms - feed->used_ms < USED_MS};

    jsonw_init(&used.used_writer, &in_use);
    jsonw_init(&used.wake_writer, &wake);
    jsonw_array(&used.used_writer, NULL);
    jsonw_array(&used.wake_writer, NULL);
    tenants_each_live(feed->gateway->tenants, note_used, &used);
    jsonw_end_array(&used.used_writer);
    jsonw_end_array(&used.wake_writer);
    if (!used.wake_only) {
        feed->used_ms = now_ms;
        feed->told_used_ms = now_ms;
    }
    return used.used_count + used.wake_count > 0
               ? feed_tell_used(feed->conn, call, buf_text(&in_use), buf_text(&wake), err)
               : 0;
}

static int be_alive(struct feed *feed, const struct call *call, int64_t now_ms, struct err *err)
{
    int64_t count = 1;

    if (now_ms - feed->alive_ms < ALIVE_MS) {
        return feed_ping(feed->conn, call, err);
    }
    feed->alive_ms = now_ms;
    if (feed_be_alive(feed->conn, call, feed->gateway->replica, false, &count, err)) {
        return -1;
    }
    atomic_store(&feed->gateway->replica_count, count > 0 ? count : 1);
    return 0;
}

/* ---- the loop ---- */

/* A shifted test clock may have passed a month's end: ask for all quotas again. */
static void look_at_clock(struct feed *feed)
{
    int64_t offset_ms = clock_wall_offset_ms();

    if (offset_ms != feed->clock_offset_ms) {
        feed->clock_offset_ms = offset_ms;
        tenants_each_live(feed->gateway->tenants, reopen, feed);
    }
}

static void look_at_sessions(struct feed *feed, int64_t now_ms)
{
    struct err err;

    if (now_ms - feed->sessions_ms < SESSIONS_MS) {
        return;
    }
    feed->sessions_ms = now_ms;
    if (sessions_reload(feed->gateway->sessions, &err)) {
        log_warn(NULL, "session keys cannot be read; those in force stay so", KV_ERR(&err));
    }
}

static int connect_feed(struct feed *feed, const struct call *call, struct err *err)
{
    if (sql_connect_uri(call, &feed->url, &feed->conn, err)) {
        feed->conn = NULL;
        return -1;
    }
    if (sql_listen(feed->conn, call, "tenantry_gateway", err)) {
        return -1;
    }
    buf_clear(&feed->dirty);
    feed->dirty_count = 0;
    return read_all(feed, call, err);
}

static int turn(struct feed *feed, struct err *err)
{
    struct call call = {.cancel = feed->stop, .deadline_ms = clock_monotonic_ms() + STATEMENT_MS};

    if (!feed->conn) {
        call.deadline_ms += 10L * STATEMENT_MS; /* a large table takes its time */
        if (connect_feed(feed, &call, err)) {
            return -1;
        }
        call.deadline_ms = clock_monotonic_ms() + STATEMENT_MS;
    } else if (sql_hear(feed->conn, &call, HEAR_MS, hear, feed, err)) {
        return -1;
    }
    int64_t now_ms = clock_monotonic_ms();
    call.deadline_ms = now_ms + STATEMENT_MS;
    look_at_clock(feed);
    look_at_sessions(feed, now_ms);
    if (follow(feed, &call, err) || send_outbox(feed, &call, err) ||
        tell_used(feed, &call, now_ms, err) || be_alive(feed, &call, now_ms, err)) {
        return -1;
    }
    atomic_store(&feed->gateway->fresh_until_ms, now_ms + FRESH_MS);
    return 0;
}

/* Said once when it begins and once when it ends. */
static void tell_state(struct feed *feed, const struct err *err)
{
    if (err && !feed->was_lost) {
        log_error(NULL, "the registry cannot be reached", KV_ERR(err));
    } else if (!err && feed->was_lost) {
        log_info(NULL, "the registry answers again");
    }
    feed->was_lost = err != NULL;
    metric_set(&connected, err ? 0 : 1);
}

static void say_goodbye(struct feed *feed)
{
    struct call call = {.deadline_ms = clock_monotonic_ms() + STATEMENT_MS};
    struct err err;
    int64_t count = 0;

    if (feed->conn && sql_is_healthy(feed->conn) &&
        feed_be_alive(feed->conn, &call, feed->gateway->replica, true, &count, &err)) {
        log_debug(NULL, "the registry still counts this gateway for a while", KV_ERR(&err));
    }
}

static void *run(void *context)
{
    struct feed *feed = context;
    struct err err;

    while (!cancel_is_set(feed->stop)) {
        if (turn(feed, &err) == 0) {
            tell_state(feed, NULL);
            continue;
        }
        if (err.cls == ERR_CANCELED) {
            break;
        }
        atomic_store(&feed->gateway->fresh_until_ms, 0);
        tell_state(feed, &err);
        sql_close(TAKE(feed->conn));
        if (!cancel_sleep_ms(feed->stop, RETRY_MS)) {
            break;
        }
    }
    say_goodbye(feed);
    sql_close(TAKE(feed->conn));
    return NULL;
}

struct feed *feed_new(struct gateway *gateway, const struct secret *url)
{
    struct feed *feed = xcalloc(1, sizeof(*feed));

    metrics_register(&connected);
    metrics_register(&resyncs);
    feed->gateway = gateway;
    secret_copy(&feed->url, url);
    feed->stop = cancel_new(NULL);
    pthread_mutex_init(&feed->lock, NULL);
    buf_init(&feed->outbox, PAYLOADS_MAX_BYTES);
    buf_init(&feed->dirty, IDS_MAX_BYTES);
    feed->clock_offset_ms = clock_wall_offset_ms();
    thread_start(&feed->thread, "feed", run, feed);
    return feed;
}

void feed_free(struct feed *feed)
{
    if (feed) {
        cancel_trigger(feed->stop);
        (void)pthread_join(feed->thread, NULL);
        cancel_free(feed->stop);
        pthread_mutex_destroy(&feed->lock);
        buf_release(&feed->outbox);
        buf_release(&feed->dirty);
        secret_release(&feed->url);
        free(feed);
    }
}

/* ---- from other threads ---- */

static void post(struct feed *feed, const char *kind, const char *tenant_id, const char *what)
{
    pthread_mutex_lock(&feed->lock);
    (void)buf_printf(&feed->outbox, "%s %s %s\n", kind, tenant_id, what);
    pthread_mutex_unlock(&feed->lock);
}

void feed_revoke_key(struct feed *feed, const char *tenant_id, const char *key_hash)
{
    post(feed, "key", tenant_id, key_hash);
}

void feed_revoke_user(struct feed *feed, const char *tenant_id, const char *user_id)
{
    auth_forget_user(feed->gateway->auth, tenant_id, user_id);
    post(feed, "user", tenant_id, user_id);
}
