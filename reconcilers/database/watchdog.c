/* The watchdog of a server: one query every few seconds on a pooled connection to the maintenance
 * database. What it costs the server is a look at the sessions there are, about a millisecond at a
 * few hundred; the roles' comments and the table of locks are read only for sessions that are
 * already long at it. */
#include "reconcilers/database/watchdog.h"

#include <string.h>

#include "controller/base/buf.h"
#include "controller/base/metrics.h"
#include "controller/base/str.h"
#include "reconcilers/database/servers.h"
#include "reconcilers/model/codec.h"
#include "reconcilers/model/work.h"

#define STRONG_LOCKS                                                                               \
    "('ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', "         \
    "'AccessExclusiveLock')"

enum { PERIOD_MS = 5000, SHARED_MAX_MS = 20 * 1000, GRACE_MS = 2000 };

/* A transaction in a shared database that is ended at 20 s is gone, patrol and all, within 30. */
const struct watchdog_limits watchdog_limits = {
    .shared_idle_ms = SHARED_MAX_MS,
    .shared_lock_ms = SHARED_MAX_MS,
    .grace_ms = GRACE_MS,
};

static struct metric sessions_ended = METRIC_COUNTER(
    "tenantry_watchdog_sessions_ended_total", "Sessions of tenants that went too far.", "server");

/* ---- statements ---- */

/* Sessions of logins that are at something for over a second, with what their tenant may. */
static void append_sessions(struct sql *query)
{
    SQL(query,
        "WITH busy AS (SELECT s.pid, s.backend_start, s.usename, s.datname, s.state, "
        "s.state LIKE 'idle in transaction%' AS idle, "
        "(extract(epoch FROM clock_timestamp() - s.xact_start) * 1000)::bigint AS xact_ms, "
        "(extract(epoch FROM clock_timestamp() - s.query_start) * 1000)::bigint AS query_ms, "
        "(extract(epoch FROM clock_timestamp() - s.state_change) * 1000)::bigint AS state_ms, "
        "s.usesysid FROM pg_stat_activity s WHERE s.backend_type = 'client backend' "
        "AND s.usename ~ '^tenant_.*[.][ab]$' AND s.state <> 'idle' "
        "AND s.xact_start < clock_timestamp() - interval '1 second'), "
        "known AS (SELECT busy.*, (regexp_match(shobj_description(usesysid, 'pg_authid'), "
        "' times ([0-9]+)/([0-9]+)$'))::bigint[] AS times FROM busy)");
}

/* CASE keeps the planner from looking at locks before it must. */
static void append_offences(struct sql *query, const struct watchdog_limits *limits)
{
    SQL(query, " SELECT pid, backend_start::text, usename, datname, CASE "
               "WHEN idle AND times[2] > 0 AND state_ms > times[2] + ");
    sql_integer(query, limits->grace_ms);
    SQL(query, " OR idle AND datname = ");
    sql_literal(query, limits->shared_database);
    SQL(query, " AND state_ms > ");
    sql_integer(query, limits->shared_idle_ms);
    SQL(query, " THEN format('idle in a transaction for %s s', state_ms / 1000) "
               "WHEN NOT idle AND times[1] > 0 AND query_ms > times[1] + ");
    sql_integer(query, limits->grace_ms);
    SQL(query, " THEN format('a statement for %s s', query_ms / 1000) WHEN datname = ");
    sql_literal(query, limits->shared_database);
    SQL(query, " AND xact_ms > ");
    sql_integer(query, limits->shared_lock_ms);
    SQL(query, " THEN (SELECT format('%s on a shared table for %s s', min(l.mode), xact_ms / 1000) "
               "FROM pg_locks l WHERE l.pid = known.pid AND l.locktype = 'relation' "
               "AND l.relation >= 16384 AND l.mode IN " STRONG_LOCKS " "
               "HAVING count(*) > 0) END AS offence FROM known");
}

int watchdog_observe(struct sql_conn *conn, const struct call *call, struct arena *arena,
                     const struct watchdog_limits *limits, struct offender **ret, size_t *ret_count,
                     struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    append_sessions(&query);
    SQL(&query, ", judged AS (");
    append_offences(&query, limits);
    SQL(&query, ") SELECT *, offence LIKE '%Lock on a %' FROM judged WHERE offence IS NOT NULL");
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    size_t count = (size_t)sql_row_count(rows);
    struct offender *offenders = ARENA_ARRAY(arena, struct offender, count);
    for (size_t i = 0; i < count; i++) {
        offenders[i] = (struct offender){
            .pid = sql_int(rows, (int)i, 0),
            .started = arena_strdup(arena, sql_text(rows, (int)i, 1)),
            .login = arena_strdup(arena, sql_text(rows, (int)i, 2)),
            .database = arena_strdup(arena, sql_text(rows, (int)i, 3)),
            .what = arena_strdup(arena, sql_text(rows, (int)i, 4)),
            .locks = sql_bool(rows, (int)i, 5),
        };
    }
    *ret = offenders;
    *ret_count = count;
    return 0;
}

int watchdog_confirm(struct sql_conn *conn, const struct call *call,
                     const struct offender *offender, bool *ret, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT count(*) > 0 FROM pg_locks l JOIN pg_class c ON c.oid = l.relation "
                "WHERE l.locktype = 'relation' AND c.relpersistence <> 't' "
                "AND l.mode IN " STRONG_LOCKS " AND l.pid = ");
    sql_param_int(&query, offender->pid);
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    *ret = sql_bool(rows, 0, 0);
    return 0;
}

int watchdog_end(struct sql_conn *conn, const struct call *call, const struct offender *offender,
                 struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = ");
    sql_param_int(&query, offender->pid);
    SQL(&query, " AND backend_start = ");
    sql_param(&query, offender->started);
    SQL(&query, "::timestamptz");
    return sql_exec(conn, call, &query, NULL, err);
}

/* ---- the patrol ---- */

struct patrol {
    struct reconcile *rc;
    const struct services *services;
    const struct database_server *server;
    struct offender *offenders;
    size_t count;
};

static int look(struct patrol *patrol, struct err *err)
{
    AUTO(server_loan) struct server_loan loan = {0};
    struct reconcile *rc = patrol->rc;
    struct watchdog_limits limits = watchdog_limits;

    limits.shared_database = patrol->server->shared_database;
    if (servers_borrow(patrol->services->servers, rc, patrol->server->name, NULL, &loan, err)) {
        return -1;
    }
    if (watchdog_observe(loan.conn, &rc->call, rc->arena, &limits, &patrol->offenders,
                         &patrol->count, err)) {
        loan.failure = *err;
        return -1;
    }
    return 0;
}

static int confirm_and_end(const struct patrol *patrol, struct sql_conn *conn,
                           const struct offender *offender, bool *ret_ended, struct err *err)
{
    const struct call *call = &patrol->rc->call;

    *ret_ended = true;
    if (offender->locks && watchdog_confirm(conn, call, offender, ret_ended, err)) {
        return -1;
    }
    return *ret_ended ? watchdog_end(conn, call, offender, err) : 0;
}

static int end(const struct patrol *patrol, const struct offender *offender, struct err *err)
{
    AUTO(server_loan) struct server_loan loan = {0};
    const struct database_server *server = patrol->server;
    const struct event_object object = {
        .resource = &KUBE_DATABASE_SERVERS,
        .name = server->name,
        .uid = server->uid,
    };
    bool ended = false;

    if (servers_borrow(patrol->services->servers, patrol->rc, server->name,
                       offender->locks ? offender->database : NULL, &loan, err)) {
        return -1;
    }
    if (confirm_and_end(patrol, loan.conn, offender, &ended, err)) {
        loan.failure = *err;
        return -1;
    }
    if (ended) {
        metric_add(&sessions_ended, 1, server->name);
        event_record(patrol->services->events, &object, EVENT_WARNING, "SessionEnded", "Patrol",
                     "ended a session of \"%s\" in database \"%s\": %s", offender->login,
                     offender->database, offender->what);
    }
    return 0;
}

struct outcome watchdog_patrol(struct reconcile *rc)
{
    const struct services *services = rc->environment;
    AUTO(record) const struct record *record = cache_get(services->database_servers, rc->key);
    struct database_server *server = ARENA_NEW(rc->arena, struct database_server);
    struct patrol patrol = {.rc = rc, .services = services, .server = server};
    struct err err;

    if (!record) {
        return outcome_done(0);
    }
    database_server_unpack(record, rc->arena, server);
    if (look(&patrol, &err)) {
        return outcome_from_err(&err, PERIOD_MS);
    }
    for (size_t i = 0; i < patrol.count; i++) {
        if (end(&patrol, &patrol.offenders[i], &err)) {
            return outcome_from_err(&err, PERIOD_MS);
        }
    }
    return outcome_done(PERIOD_MS);
}
