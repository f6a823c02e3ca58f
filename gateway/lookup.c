#include "gateway/lookup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/base/clock.h"
#include "controller/base/log.h"
#include "controller/base/metrics.h"
#include "gateway/auth.h"
#include "gateway/password.h"
#include "gateway/places.h"
#include "gateway/quota_sql.h"
#include "gateway/session.h"
#include "gateway/workers.h"
#include "reconcilers/drivers/sql.h"

enum { LOOKUP_MS = 5000, UNKNOWN_PER_SECOND = 5, UNKNOWN_BURST = 50 };

struct lookup {
    struct job job;
    struct gateway *gateway;
    struct record *record;
    struct waiter *waiter;
    unsigned char digest[SHA256_BYTES];
    struct secret token;
};

/* What was found. */
struct finding {
    bool found;
    struct principal principal;
    int64_t until_ms; /* monotonic */
};

static struct metric lookups =
    METRIC_COUNTER("tenantry_gateway_lookups_total",
                   "Credentials looked up in tenants' databases, by what came of it.", "result");

static void hex(const unsigned char digest[SHA256_BYTES], char ret[SHA256_TEXT_BYTES])
{
    for (size_t i = 0; i < SHA256_BYTES; i++) {
        (void)snprintf(ret + 2 * i, 3, "%02x", digest[i]);
    }
}

/* A role that the product does not know, and a key without a user, have the least right. */
static const char *known_role(const char *text)
{
    static const char *const roles[] = {"owner", "admin", "member"};

    for (size_t i = 0; i < ARRAY_COUNT(roles); i++) {
        if (strcmp(roles[i], text) == 0) {
            return roles[i];
        }
    }
    return "member";
}

static void take_user(const struct sql_rows *rows, struct principal *ret)
{
    (void)snprintf(ret->user_id, sizeof(ret->user_id), "%s", sql_text(rows, 0, 0));
    (void)snprintf(ret->role, sizeof(ret->role), "%s", known_role(sql_text(rows, 0, 1)));
}

/* When a key was last used, to a minute. */
static int mark_used(struct sql_conn *conn, const struct call *call, const char *schema,
                     const char *hash, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "UPDATE ");
    sql_ident2(&query, schema, "api_keys");
    SQL(&query, " SET last_used_at = now() WHERE key_hash = ");
    sql_param(&query, hash);
    return sql_exec(conn, call, &query, NULL, err);
}

static int find_key(struct sql_conn *conn, const struct call *call, const char *schema,
                    const unsigned char digest[SHA256_BYTES], struct finding *ret, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;
    char hash[SHA256_TEXT_BYTES];

    hex(digest, hash);
    sql_init(&query);
    SQL(&query, "SELECT k.user_id, u.role, ceil(extract(epoch FROM k.expires_at - now() - ");
    quota_append_ahead(&query);
    SQL(&query, ") * 1000)::bigint, k.last_used_at IS NULL "
                "OR k.last_used_at < now() - interval '1 minute' FROM ");
    sql_ident2(&query, schema, "api_keys");
    SQL(&query, " k LEFT JOIN ");
    sql_ident2(&query, schema, "users");
    SQL(&query, " u ON u.id = k.user_id WHERE k.key_hash = ");
    sql_param(&query, hash);
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    if (sql_row_count(rows) == 0 || (!sql_is_null(rows, 0, 2) && sql_int(rows, 0, 2) <= 0)) {
        return 0;
    }
    ret->found = true;
    take_user(rows, &ret->principal);
    ret->until_ms =
        sql_is_null(rows, 0, 2) ? INT64_MAX : clock_monotonic_ms() + sql_int(rows, 0, 2);
    return sql_bool(rows, 0, 3) ? mark_used(conn, call, schema, hash, err) : 0;
}

/* A new password ends sessions, but for the one that set it. */
static bool has_password_of(const struct session *session, const unsigned char digest[SHA256_BYTES],
                            const char *hash)
{
    char mark[PASSWORD_MARK_BYTES];

    password_mark(hash, mark);
    return strcmp(mark, session->mark) == 0 || password_was_set_by(hash, digest);
}

static int find_user(struct sql_conn *conn, const struct call *call, const char *schema,
                     const struct session *session, const unsigned char digest[SHA256_BYTES],
                     struct finding *ret, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT id, role, coalesce(must_change_password, false), password_hash FROM ");
    sql_ident2(&query, schema, "users");
    SQL(&query, " WHERE id::text = ");
    sql_param(&query, session->user_id);
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    if (sql_row_count(rows) == 0 || !has_password_of(session, digest, sql_text(rows, 0, 3))) {
        return 0;
    }
    ret->found = true;
    take_user(rows, &ret->principal);
    ret->principal.must_change_password = sql_bool(rows, 0, 2);
    ret->until_ms = clock_monotonic_ms() + (session->expires_s - clock_wall_s()) * 1000;
    return 0;
}

static int look_up(struct lookup *lookup, struct finding *ret, struct err *err)
{
    const struct tenant_facts *facts = &lookup->record->facts;
    struct call call = {.deadline_ms = clock_monotonic_ms() + LOOKUP_MS};
    AUTO(place_loan) struct place_loan loan = {0};
    struct str token = {secret_bytes(&lookup->token), secret_length(&lookup->token)};
    struct session session = {.expires_s = 0};
    bool is_session = session_is_token(token);

    if (is_session && !sessions_check(lookup->gateway->sessions, token, facts->id, &session)) {
        return 0;
    }
    if (places_begin(lookup->gateway->places, &call, facts, "", "", &loan, err)) {
        return -1;
    }
    if (is_session ? find_user(loan.conn, &call, facts->schema, &session, lookup->digest, ret, err)
                   : find_key(loan.conn, &call, facts->schema, lookup->digest, ret, err)) {
        return -1;
    }
    return places_commit(&loan, &call, err);
}

static void run(struct job *job)
{
    struct lookup *lookup = (struct lookup *)job;
    struct live *live = lookup->record->live;
    struct finding finding = {.found = false};
    struct err err = {0};
    enum wait_result result = WAIT_AGAIN;
    uint64_t epoch = auth_epoch(lookup->gateway->auth);

    if (look_up(lookup, &finding, &err)) {
        log_warn(NULL, "a credential could not be looked up",
                 KV("tenant", lookup->record->facts.subdomain), KV_ERR(&err));
        metric_add(&lookups, 1, "fault");
        result = WAIT_FAULT;
    } else {
        auth_store(lookup->gateway->auth, live->id, lookup->digest,
                   finding.found ? &finding.principal : NULL,
                   finding.found ? finding.until_ms : INT64_MAX, epoch);
        if (!finding.found) {
            (void)rate_pass(&live->unknown, UNKNOWN_PER_SECOND, UNKNOWN_BURST,
                            clock_monotonic_us());
        }
        metric_add(&lookups, 1, finding.found ? "known" : "unknown");
    }
    if (lookup->waiter) {
        lookup->waiter->wake(lookup->waiter, result);
    }
    secret_release(&lookup->token);
    record_unref(lookup->record);
    free(lookup);
}

bool lookup_start(struct gateway *gateway, struct record *record, struct str token,
                  const unsigned char digest[SHA256_BYTES], struct waiter *waiter)
{
    struct lookup *lookup = xcalloc(1, sizeof(*lookup));

    *lookup =
        (struct lookup){.job.run = run, .gateway = gateway, .record = record, .waiter = waiter};
    memcpy(lookup->digest, digest, sizeof(lookup->digest));
    secret_set(&lookup->token, token);
    record_ref(record);
    if (rate_open(&record->live->unknown, UNKNOWN_PER_SECOND, UNKNOWN_BURST,
                  clock_monotonic_us()) &&
        workers_submit(gateway->workers, &lookup->job)) {
        return true;
    }
    secret_release(&lookup->token);
    record_unref(record);
    free(lookup);
    return false;
}
