/* The statements that end what a tenant has on a server: its sessions, its database, its roles.
 * Every one of them takes what is already gone for done. */
#include "controller/base/cancel.h"
#include "controller/base/clock.h"
#include "controller/base/str.h"
#include "reconcilers/database/database_internal.h"

enum { SESSIONS_WAIT_MS = 2000, SESSIONS_POLL_MS = 20, OBSTACLES_SHOWN = 8 };

#define NO_SUCH_DATABASE "3D000"
#define NO_SUCH_OBJECT "42704"
#define STILL_DEPENDED_ON "2BP01"

/* Dropped in this order, the members before what they are members of. */
static const enum role_kind drop_order[] = {ROLE_A, ROLE_B, ROLE_APP, ROLE_RW, ROLE_RO, ROLE_OWNER};

/* ---- sessions ---- */

static void append_sessions(struct sql *query, const struct scope *scope, bool whole_database)
{
    SQL(query, " FROM pg_stat_activity s JOIN pg_roles r ON r.oid = s.usesysid "
               "WHERE NOT r.rolsuper AND s.pid <> pg_backend_pid() AND (s.usename IN (");
    sql_literal(query, scope->roles[ROLE_A]);
    SQL(query, ", ");
    sql_literal(query, scope->roles[ROLE_B]);
    SQL(query, ")");
    if (whole_database) {
        SQL(query, " OR s.datname = ");
        sql_literal(query, scope->database);
    }
    SQL(query, ")");
}

static int count_sessions(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                          bool whole_database, int *ret, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT count(*)");
    append_sessions(&query, scope, whole_database);
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    *ret = (int)sql_int(rows, 0, 0);
    return 0;
}

int database_end_sessions(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                          bool whole_database, int *ret_left, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    int64_t end_ms = clock_monotonic_ms() + SESSIONS_WAIT_MS;

    if (count_sessions(conn, call, scope, whole_database, ret_left, err)) {
        return -1;
    }
    sql_init(&query);
    SQL(&query, "SELECT pg_terminate_backend(s.pid)");
    append_sessions(&query, scope, whole_database);
    /* Again and again, since one that was logging in meanwhile may appear late. */
    while (*ret_left > 0 && clock_monotonic_ms() < end_ms) {
        if (sql_exec(conn, call, &query, NULL, err)) {
            return -1;
        }
        if (!cancel_sleep_ms(call->cancel, SESSIONS_POLL_MS)) {
            return cancel_check(call->cancel, err);
        }
        if (count_sessions(conn, call, scope, whole_database, ret_left, err)) {
            return -1;
        }
    }
    return 0;
}

/* ---- obstacles ---- */

/* In a database that is shared, only the tenant's own are its own. */
static void append_prepared_owners(struct sql *query, const struct scope *scope)
{
    if (scope->mode->owns_database) {
        SQL(query, "true");
        return;
    }
    SQL(query, "owner IN (''");
    for (int i = 0; i < ROLE_COUNT; i++) {
        if (scope_owns(scope, i)) {
            SQL(query, ", ");
            sql_literal(query, scope->roles[i]);
        }
    }
    SQL(query, ")");
}

/* Sessions, slots and subscriptions, which keep a database from being dropped. */
static void append_users_of_database(struct sql *query)
{
    SQL(query,
        " UNION ALL SELECT format('session %s of superuser \"%s\", application \"%s\"', s.pid, "
        "s.usename, "
        "s.application_name) FROM pg_stat_activity s JOIN d ON s.datid = d.oid "
        "JOIN pg_roles r ON r.oid = s.usesysid WHERE r.rolsuper AND s.pid <> pg_backend_pid() "
        "UNION ALL SELECT format('replication slot \"%s\", used by pid %s', l.slot_name, "
        "l.active_pid) FROM pg_replication_slots l JOIN d ON l.datoid = d.oid WHERE l.active "
        "UNION ALL SELECT format('subscription \"%s\"', u.subname) FROM pg_subscription u "
        "JOIN d ON u.subdbid = d.oid");
}

/* Where others use the database too, it is not dropped, and who else is in it is no obstacle. */
static void append_obstacles(struct sql *query, const struct scope *scope)
{
    SQL(query, "WITH d AS (SELECT oid, datname FROM pg_database WHERE datname = ");
    sql_param(query, scope->database);
    SQL(query, ") SELECT format('prepared transaction ''%s'' of \"%s\"', x.gid, x.owner) "
               "FROM pg_prepared_xacts x JOIN d ON x.database = d.datname WHERE ");
    append_prepared_owners(query, scope);
    if (scope->mode->owns_database) {
        append_users_of_database(query);
    }
    SQL(query, " ORDER BY 1 LIMIT ");
    sql_integer(query, OBSTACLES_SHOWN);
}

int database_obstacles(struct sql_conn *conn, const struct call *call, struct arena *arena,
                       const struct scope *scope, const char **ret, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;
    const char *words = "";

    sql_init(&query);
    append_obstacles(&query, scope);
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    for (int i = 0; i < sql_row_count(rows); i++) {
        words = arena_printf(arena, "%s%s%s", words, i > 0 ? "; " : "", sql_text(rows, i, 0));
    }
    *ret = words;
    return 0;
}

/* ---- prepared transactions ---- */

int database_prepared(struct sql_conn *conn, const struct call *call, struct arena *arena,
                      const struct scope *scope, struct prepared **ret, size_t *ret_count,
                      struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT gid, owner FROM pg_prepared_xacts WHERE ");
    append_prepared_owners(&query, scope);
    SQL(&query, " AND database = ");
    sql_param(&query, scope->database);
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    size_t count = (size_t)sql_row_count(rows);
    struct prepared *prepared = ARENA_ARRAY(arena, struct prepared, count);
    for (size_t i = 0; i < count; i++) {
        prepared[i].gid = arena_strdup(arena, sql_text(rows, (int)i, 0));
        prepared[i].owner = arena_strdup(arena, sql_text(rows, (int)i, 1));
    }
    *ret = prepared;
    *ret_count = count;
    return 0;
}

/* Only its own role may end it, or a superuser. */
int database_roll_back_prepared(struct sql_conn *conn, const struct call *call,
                                const struct prepared *prepared, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    database_sql_act_as(&query, conn, prepared->owner);
    if (sql_script(conn, call, &query, err)) {
        return -1;
    }
    sql_clear(&query);
    SQL(&query, "SET ROLE ");
    sql_ident(&query, prepared->owner);
    if (sql_query(conn, call, &query, NULL, err)) {
        return -1;
    }
    sql_clear(&query);
    SQL(&query, "ROLLBACK PREPARED ");
    sql_literal(&query, prepared->gid);
    bool failed = sql_exec(conn, call, &query, NULL, err) && !err_has_code(err, NO_SUCH_OBJECT);
    sql_clear(&query);
    SQL(&query, "RESET ROLE");
    struct err of_reset;
    if (sql_query(conn, call, &query, NULL, failed ? &of_reset : err)) {
        sql_use_up(conn); /* nobody must find it as another role */
        return -1;
    }
    return failed ? -1 : 0;
}

/* ---- dropping ---- */

int database_drop(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                  struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "DROP DATABASE ");
    sql_ident(&query, scope->database);
    SQL(&query, " WITH (FORCE)");
    if (sql_exec(conn, call, &query, NULL, err) && !err_has_code(err, NO_SUCH_DATABASE)) {
        return err_wrap(err, "dropping database \"%s\"", scope->database);
    }
    return 0;
}

/* The owned roles that exist, as literals; never an empty list. */
static void append_owned(struct sql *query, const struct scope *scope, const struct owned *owned)
{
    SQL(query, "''");
    for (size_t i = 0; i < ARRAY_COUNT(drop_order); i++) {
        if (owned->roles[drop_order[i]]) {
            SQL(query, ", ");
            sql_literal(query, scope->roles[drop_order[i]]);
        }
    }
}

int database_dependencies(struct sql_conn *conn, const struct call *call, struct arena *arena,
                          const struct scope *scope, const struct owned *owned,
                          struct dependency **ret, size_t *ret_count, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT coalesce(d.datname, ''), "
                "string_agg(DISTINCT quote_ident(r.rolname), ', ') "
                "FROM pg_shdepend s JOIN pg_roles r ON r.oid = s.refobjid "
                "LEFT JOIN pg_database d ON d.oid = s.dbid "
                "WHERE s.refclassid = 'pg_authid'::regclass AND r.rolname IN (");
    append_owned(&query, scope, owned);
    SQL(&query, ") GROUP BY 1 ORDER BY 1");
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    size_t count = (size_t)sql_row_count(rows);
    struct dependency *dependencies = ARENA_ARRAY(arena, struct dependency, count);
    for (size_t i = 0; i < count; i++) {
        dependencies[i].database = arena_strdup(arena, sql_text(rows, (int)i, 0));
        dependencies[i].roles = arena_strdup(arena, sql_text(rows, (int)i, 1));
    }
    *ret = dependencies;
    *ret_count = count;
    return 0;
}

/* Whom objects of the tenant's roles in a database that is not the tenant's are given to. */
static int find_heir(struct sql_conn *conn, const struct call *call, struct sql_rows **ret,
                     struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "SELECT CASE WHEN pg_has_role(datdba, 'USAGE') THEN pg_get_userbyid(datdba) "
                "ELSE current_user END FROM pg_database WHERE datname = current_database()");
    return sql_query(conn, call, &query, ret, err);
}

int database_disown(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                    const struct owned *owned, bool drop, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *heir = NULL;

    if (find_heir(conn, call, &heir, err)) {
        return -1;
    }
    sql_init(&query);
    for (size_t i = 0; i < ARRAY_COUNT(drop_order); i++) {
        const char *role = scope->roles[drop_order[i]];
        if (!owned->roles[drop_order[i]]) {
            continue;
        }
        database_sql_act_as(&query, conn, role);
        if (!drop) {
            SQL(&query, "REASSIGN OWNED BY ");
            sql_ident(&query, role);
            SQL(&query, " TO ");
            sql_ident(&query, sql_text(heir, 0, 0));
            SQL(&query, ";\n");
        }
        SQL(&query, "DROP OWNED BY ");
        sql_ident(&query, role);
        SQL(&query, ";\n");
    }
    return query.text.len > 0 ? sql_script(conn, call, &query, err) : 0;
}

/* Something still hangs on a role where we may not reach it: say where. */
static int explain_dependencies(struct sql_conn *conn, const struct call *call,
                                const struct scope *scope, const struct owned *owned,
                                struct err *err)
{
    AUTO(arena) struct arena arena = {0};
    AUTO(buf) struct buf words = BUF(ERR_MESSAGE_BYTES / 2);
    struct dependency *dependencies = NULL;
    struct err ignored;
    size_t count = 0;

    arena_init(&arena, 0);
    if (database_dependencies(conn, call, &arena, scope, owned, &dependencies, &count, &ignored)) {
        return -1;
    }
    for (size_t i = 0; i < count && i < OBSTACLES_SHOWN; i++) {
        bool shared = *dependencies[i].database == '\0';
        (void)buf_printf(&words, "%s%s of %s", i > 0 ? ", " : "", dependencies[i].roles,
                         shared ? "the whole server" : dependencies[i].database);
    }
    return err_set(err, ERR_WAIT, "DatabaseBusy",
                   "roles of the tenant own something or hold rights elsewhere that the controller "
                   "may not take from them (%s): as a superuser, run REASSIGN OWNED and DROP OWNED "
                   "for those roles there",
                   buf_text(&words));
}

int database_drop_roles(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                        const struct owned *owned, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    for (size_t i = 0; i < ARRAY_COUNT(drop_order); i++) {
        if (owned->roles[drop_order[i]]) {
            SQL(&query, "DROP ROLE IF EXISTS ");
            sql_ident(&query, scope->roles[drop_order[i]]);
            SQL(&query, ";\n");
        }
    }
    if (query.text.len == 0 || sql_script(conn, call, &query, err) == 0) {
        return 0;
    }
    return err_has_code(err, STILL_DEPENDED_ON)
               ? explain_dependencies(conn, call, scope, owned, err)
               : -1;
}
