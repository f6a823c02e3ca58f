/* The statements behind a tenant's roles and database, on a connection to the maintenance database.
 * Reads see catalogs that every role may read. Each write is safe to repeat; what another program
 * was faster with ends as CONFLICT, and the next look sees it. */
#include <string.h>

#include "controller/base/cancel.h"
#include "controller/base/clock.h"
#include "controller/base/str.h"
#include "reconcilers/database/database_internal.h"
#include "reconcilers/database/spares.h"
#include "reconcilers/model/names.h"

/* SQLSTATEs that tell of another program, or an earlier run, that did the same. */
#define DUPLICATE_DATABASE "42P04"
#define DUPLICATE_OBJECT "42710"
#define UNIQUE_VIOLATION "23505"
#define NO_SUCH_DATABASE "3D000"
#define NO_SUCH_OBJECT "42704"
#define TUPLE_CHANGED "XX000"
#define NO_PRIVILEGE "42501"

static const char *copy(struct arena *arena, const struct sql_rows *rows, int row, int column)
{
    return arena_strdup(arena, sql_text(rows, row, column));
}

/* ---- observing ---- */

/* The roles in `set`, of ROLE_BIT, as literals. */
static void append_role_names(struct sql *query, const struct scope *scope, unsigned set)
{
    const char *separator = "";
    for (int i = 0; i < ROLE_COUNT; i++) {
        if (set & ROLE_BIT(i)) {
            if (*separator) {
                SQL(query, ", ");
            }
            sql_literal(query, scope->roles[i]);
            separator = ", ";
        }
    }
}

static void take_role(struct arena *arena, const struct sql_rows *rows, int row,
                      struct role_seen *ret)
{
    *ret = (struct role_seen){
        .exists = true,
        .can_login = sql_bool(rows, row, 1),
        .superuser = sql_bool(rows, row, 2),
        .create_db = sql_bool(rows, row, 3),
        .create_role = sql_bool(rows, row, 4),
        .replication = sql_bool(rows, row, 5),
        .bypass_rls = sql_bool(rows, row, 6),
        .inherits = sql_bool(rows, row, 7),
        .expires = sql_bool(rows, row, 8),
        .connection_limit = sql_int(rows, row, 9),
        .comment = copy(arena, rows, row, 10),
        .settings = copy(arena, rows, row, 11),
    };
}

static int observe_roles(struct sql_conn *conn, const struct call *call, struct arena *arena,
                         const struct scope *scope, struct seen *ret, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query,
        "SELECT r.rolname, r.rolcanlogin, r.rolsuper, r.rolcreatedb, r.rolcreaterole, "
        "r.rolreplication, r.rolbypassrls, r.rolinherit, "
        "coalesce(r.rolvaliduntil <> 'infinity', false), r.rolconnlimit, "
        "shobj_description(r.oid, 'pg_authid'), "
        "(SELECT string_agg(split_part(c, '=', 1), ' ' ORDER BY c) FROM pg_db_role_setting s, "
        "unnest(s.setconfig) c WHERE s.setrole = r.oid AND s.setdatabase = "
        "(SELECT oid FROM pg_database WHERE datname = ");
    sql_param(&query, scope->database);
    SQL(&query, ")) FROM pg_roles r WHERE r.rolname IN (");
    append_role_names(&query, scope, scope->mode->own);
    SQL(&query, ")");
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    for (int i = 0; i < ROLE_COUNT; i++) {
        for (int row = 0; row < sql_row_count(rows); row++) {
            if (text_equal(sql_text(rows, row, 0), scope->roles[i])) {
                take_role(arena, rows, row, &ret->roles[i]);
            }
        }
    }
    return 0;
}

/* Whether the controller acts as the role whose oid is that column, by a grant of its own. Not by
 * pg_has_role: for that the server lists all that the controller is a member of, which are the
 * owners of all tenants, and after each grant to anybody it lists them anew. */
static void append_acts_as(struct sql *query, struct sql_conn *conn, const char *table,
                           const char *column)
{
    SQL(query, "EXISTS (SELECT FROM pg_roles me WHERE me.rolname = current_user AND (me.rolsuper "
               "OR me.oid = ");
    sql_ident2(query, table, column);
    SQL(query, " OR EXISTS (SELECT FROM pg_auth_members m WHERE m.member = me.oid AND m.roleid = ");
    sql_ident2(query, table, column);
    if (sql_server_version(conn) >= POSTGRES_16) {
        SQL(query, " AND m.inherit_option AND m.set_option)))");
    } else {
        SQL(query, " AND me.rolinherit)))");
    }
}

/* Who the controller is, what it can act as, whether anything bears the scope's names yet, and what
 * its database may be made of: all that there is to know of a new tenant, in one round trip. */
static int observe_self(struct sql_conn *conn, const struct call *call, struct arena *arena,
                        const struct scope *scope, struct seen *ret, bool *ret_stands,
                        struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT current_user, coalesce((SELECT ");
    append_acts_as(&query, conn, "r", "oid");
    SQL(&query, " FROM pg_roles r WHERE r.rolname = ");
    sql_param(&query, scope->roles[ROLE_OWNER]);
    SQL(&query, "), false), EXISTS (SELECT FROM pg_auth_members "
                "WHERE roleid = (SELECT oid FROM pg_roles WHERE rolname = ");
    sql_param(&query, NAME_ROLE_APP);
    SQL(&query, ") AND member = (SELECT oid FROM pg_roles WHERE rolname = ");
    sql_param(&query, NAME_ROLE_GATEWAY);
    SQL(&query, ")), EXISTS (SELECT FROM pg_roles WHERE rolname IN (");
    append_role_names(&query, scope, scope->mode->own);
    SQL(&query, "))");
    if (scope->mode->owns_database) {
        SQL(&query, " OR EXISTS (SELECT FROM pg_database WHERE datname = ");
        sql_param(&query, scope->database);
        SQL(&query, ")");
    }
    if (scope->takes_spares) {
        SQL(&query, ", ");
        spares_sql_choose(&query, scope->database);
    }
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    ret->self = copy(arena, rows, 0, 0);
    ret->acts_as_owner = sql_bool(rows, 0, 1);
    ret->shared_roles = sql_bool(rows, 0, 2);
    *ret_stands = sql_bool(rows, 0, 3);
    ret->spare = scope->takes_spares ? copy(arena, rows, 0, 4) : "";
    return 0;
}

/* What the scope's roles are members of, and the members of those that are guarded, but for the
 * controller itself: it is a member of the owner, and from PostgreSQL 16 on the administrator of
 * every role that it made. */
static int observe_memberships(struct sql_conn *conn, const struct call *call, struct arena *arena,
                               const struct scope *scope, struct seen *ret, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT pg_get_userbyid(roleid), pg_get_userbyid(member), bool_or(admin_option) "
                "FROM pg_auth_members WHERE (roleid = ANY (ARRAY(SELECT oid FROM pg_roles "
                "WHERE rolname IN (");
    append_role_names(&query, scope, scope->mode->guarded);
    SQL(&query, "))) OR member = ANY (ARRAY(SELECT oid FROM pg_roles WHERE rolname IN (");
    append_role_names(&query, scope, scope->mode->own);
    SQL(&query, ")))) AND "
                "member <> (SELECT oid FROM pg_roles WHERE rolname = current_user) "
                "GROUP BY 1, 2 ORDER BY 1, 2");
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    size_t count = (size_t)sql_row_count(rows);
    struct membership_seen *memberships = ARENA_ARRAY(arena, struct membership_seen, count);
    for (size_t i = 0; i < count; i++) {
        memberships[i] = (struct membership_seen){
            .role = copy(arena, rows, (int)i, 0),
            .member = copy(arena, rows, (int)i, 1),
            .admin = sql_bool(rows, (int)i, 2),
        };
    }
    ret->memberships = memberships;
    ret->membership_count = count;
    return 0;
}

static void take_privileges(struct arena *arena, const struct sql_rows *rows,
                            struct database_seen *ret)
{
    enum { FIRST = 6 };
    size_t count = (size_t)sql_row_count(rows);
    struct privilege_seen *privileges = ARENA_ARRAY(arena, struct privilege_seen, count);
    size_t used = 0;

    for (size_t i = 0; i < count; i++) {
        if (!sql_is_null(rows, (int)i, FIRST + 1)) {
            privileges[used++] = (struct privilege_seen){
                .grantee = copy(arena, rows, (int)i, FIRST),
                .privilege = copy(arena, rows, (int)i, FIRST + 1),
                .grantable = sql_bool(rows, (int)i, FIRST + 2),
            };
        }
    }
    ret->privileges = privileges;
    ret->privilege_count = used;
}

static int observe_database(struct sql_conn *conn, const struct call *call, struct arena *arena,
                            const struct scope *scope, struct database_seen *ret, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT d.datallowconn, d.datconnlimit, pg_get_userbyid(d.datdba), ");
    append_acts_as(&query, conn, "d", "datdba");
    SQL(&query, ", shobj_description(d.oid, 'pg_database'), d.oid, "
                "CASE WHEN a.grantee <> 0 THEN pg_get_userbyid(a.grantee) ELSE '' END, "
                "a.privilege_type, a.is_grantable FROM pg_database d LEFT JOIN LATERAL "
                "aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a ON true "
                "WHERE d.datname = ");
    sql_param(&query, scope->database);
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    if (sql_row_count(rows) == 0) {
        return 0;
    }
    ret->exists = true;
    ret->allows_connections = sql_bool(rows, 0, 0);
    ret->connection_limit = sql_int(rows, 0, 1);
    ret->owner = copy(arena, rows, 0, 2);
    ret->acts_as_its_owner = sql_bool(rows, 0, 3);
    ret->comment = copy(arena, rows, 0, 4);
    take_privileges(arena, rows, ret);
    return 0;
}

static void see_nothing(struct seen *ret)
{
    for (int i = 0; i < ROLE_COUNT; i++) {
        ret->roles[i] = (struct role_seen){.connection_limit = -1, .comment = "", .settings = ""};
    }
    ret->database = (struct database_seen){.connection_limit = -1, .owner = "", .comment = ""};
    ret->memberships = NULL;
    ret->membership_count = 0;
}

int database_observe(struct sql_conn *conn, const struct call *call, struct arena *arena,
                     const struct scope *scope, struct seen *ret, struct err *err)
{
    bool stands = false;

    see_nothing(ret);
    if (observe_self(conn, call, arena, scope, ret, &stands, err)) {
        return -1;
    }
    if (!stands) {
        return 0;
    }
    return observe_roles(conn, call, arena, scope, ret, err) ||
                   observe_memberships(conn, call, arena, scope, ret, err) ||
                   (scope->mode->owns_database &&
                    observe_database(conn, call, arena, scope, &ret->database, err))
               ? -1
               : 0;
}

int database_size(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                  int64_t *ret_bytes, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT pg_database_size(oid) FROM pg_database WHERE datname = ");
    sql_param(&query, scope->database);
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    *ret_bytes = sql_int(rows, 0, 0);
    return 0;
}

/* ---- executing a plan ---- */

/* Creating a role that another transaction is just creating fails with one of two errors, depending
 * on who sees whom. Memberships are granted without a question since granting twice is nothing. */
void database_sql_shared_roles(struct sql *query)
{
    SQL(query, "DO $$ BEGIN "
               "BEGIN CREATE ROLE tenantry_app NOLOGIN; "
               "COMMENT ON ROLE tenantry_app IS 'tenantry: programs that serve all tenants'; "
               "EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END; "
               "BEGIN CREATE ROLE tenantry_gateway NOLOGIN NOINHERIT; "
               "COMMENT ON ROLE tenantry_gateway IS 'tenantry: the gateway'; "
               "EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END; "
               "IF NOT EXISTS (SELECT FROM pg_catalog.pg_auth_members "
               "WHERE roleid = 'tenantry_app'::regrole AND member = 'tenantry_gateway'::regrole) "
               "THEN BEGIN GRANT tenantry_app TO tenantry_gateway; "
               "EXCEPTION WHEN unique_violation THEN NULL; END; END IF; END $$;\n");
}

static void append_mark(struct sql *query, const struct scope *scope)
{
    SQL(query, " IS ");
    sql_literal(query, scope->mark);
    SQL(query, ";\n");
}

static void append_mark_role(struct sql *query, const struct scope *scope, const char *role)
{
    SQL(query, "COMMENT ON ROLE ");
    sql_ident(query, role);
    append_mark(query, scope);
}

static void append_restrict(struct sql *query, const struct action *action)
{
    SQL(query, "ALTER ROLE ");
    sql_ident(query, action->role);
    if (action->flaws & FLAW_SUPERUSER) {
        SQL(query, " NOSUPERUSER");
    }
    if (action->flaws & FLAW_CREATE_DB) {
        SQL(query, " NOCREATEDB");
    }
    if (action->flaws & FLAW_CREATE_ROLE) {
        SQL(query, " NOCREATEROLE");
    }
    if (action->flaws & FLAW_REPLICATION) {
        SQL(query, " NOREPLICATION");
    }
    if (action->flaws & FLAW_BYPASS_RLS) {
        SQL(query, " NOBYPASSRLS");
    }
    if (action->flaws & FLAW_NO_INHERIT) {
        SQL(query, " INHERIT");
    }
    if (action->flaws & FLAW_LOGIN) {
        SQL(query, " NOLOGIN PASSWORD NULL");
    }
    if (action->flaws & FLAW_CONNECTION_LIMIT) {
        SQL(query, " CONNECTION LIMIT -1");
    }
    if (action->flaws & FLAW_EXPIRES) {
        SQL(query, " VALID UNTIL 'infinity'");
    }
    SQL(query, ";\n");
}

static void append_pair(struct sql *query, const char *role, const char *member, bool grant)
{
    if (grant) {
        SQL(query, "GRANT ");
    } else {
        SQL(query, "REVOKE ");
    }
    sql_ident(query, role);
    if (grant) {
        SQL(query, " TO ");
    } else {
        SQL(query, " FROM ");
    }
    sql_ident(query, member);
    SQL(query, ";\n");
}

void database_sql_act_as(struct sql *query, struct sql_conn *conn, const char *role)
{
    SQL(query, "GRANT ");
    sql_ident(query, role);
    SQL(query, " TO CURRENT_USER");
    if (sql_server_version(conn) >= POSTGRES_16) {
        SQL(query, " WITH INHERIT TRUE, SET TRUE");
    }
    SQL(query, ";\n");
}

static void append_take(struct sql *query, struct sql_conn *conn, const struct scope *scope,
                        const struct action *action)
{
    if (action->foreign) {
        database_sql_act_as(query, conn, action->member);
    }
    SQL(query, "ALTER DATABASE ");
    sql_ident(query, scope->database);
    SQL(query, " OWNER TO ");
    sql_ident(query, scope->roles[ROLE_OWNER]);
    SQL(query, ";\n");
    if (action->foreign) {
        SQL(query, "REVOKE ");
        sql_ident(query, action->member);
        SQL(query, " FROM CURRENT_USER;\n");
    }
}

static void append_grantee(struct sql *query, const char *grantee)
{
    if (*grantee) {
        sql_ident(query, grantee);
    } else {
        SQL(query, "PUBLIC");
    }
    SQL(query, ";\n");
}

static void append_grant_database(struct sql *query, const struct scope *scope, const char *grantee)
{
    unsigned rights = database_rights(scope, grantee);

    if (rights == RIGHT_ALL) {
        SQL(query, "GRANT ALL ON DATABASE ");
    } else if (rights == (RIGHT_CONNECT | RIGHT_TEMPORARY)) {
        SQL(query, "GRANT CONNECT, TEMPORARY ON DATABASE ");
    } else if (rights == RIGHT_TEMPORARY) {
        SQL(query, "GRANT TEMPORARY ON DATABASE ");
    } else {
        SQL(query, "GRANT CONNECT ON DATABASE ");
    }
    sql_ident(query, scope->database);
    SQL(query, " TO ");
    append_grantee(query, grantee);
}

static void append_alter_database(struct sql *query, const struct scope *scope,
                                  enum action_kind kind)
{
    SQL(query, "ALTER DATABASE ");
    sql_ident(query, scope->database);
    if (kind == ACTION_OPEN_DATABASE) {
        SQL(query, " ALLOW_CONNECTIONS true;\n");
    } else {
        SQL(query, " ALLOW_CONNECTIONS false;\n");
    }
}

/* An action as part of a script. */
static void append_action(struct sql *query, struct sql_conn *conn, const struct scope *scope,
                          const struct action *action)
{
    switch (action->kind) {
    case ACTION_MAKE_SHARED_ROLES:
        database_sql_shared_roles(query);
        return;
    case ACTION_CREATE_ROLE:
        SQL(query, "CREATE ROLE ");
        sql_ident(query, action->role);
        SQL(query, " NOLOGIN;\n");
        append_mark_role(query, scope, action->role);
        return;
    case ACTION_MARK_ROLE:
        append_mark_role(query, scope, action->role);
        return;
    case ACTION_RESTRICT_ROLE:
        append_restrict(query, action);
        return;
    case ACTION_DISABLE_LOGIN:
        SQL(query, "ALTER ROLE ");
        sql_ident(query, action->role);
        SQL(query, " NOLOGIN;\n");
        return;
    case ACTION_ACT_AS_OWNER:
        database_sql_act_as(query, conn, action->role);
        return;
    case ACTION_GRANT_ROLE:
    case ACTION_REVOKE_ROLE:
        append_pair(query, action->role, action->member, action->kind == ACTION_GRANT_ROLE);
        return;
    case ACTION_TAKE_DATABASE:
        append_take(query, conn, scope, action);
        return;
    case ACTION_MARK_DATABASE:
        SQL(query, "COMMENT ON DATABASE ");
        sql_ident(query, scope->database);
        append_mark(query, scope);
        return;
    case ACTION_REVOKE_DATABASE:
        SQL(query, "REVOKE ALL ON DATABASE ");
        sql_ident(query, scope->database);
        SQL(query, " FROM ");
        append_grantee(query, action->member);
        return;
    case ACTION_GRANT_DATABASE:
        append_grant_database(query, scope, action->member);
        return;
    case ACTION_OPEN_DATABASE:
    case ACTION_CLOSE_DATABASE:
        append_alter_database(query, scope, action->kind);
        return;
    case ACTION_DROP_DATABASE:
    case ACTION_CREATE_DATABASE:
        return; /* by themselves */
    }
}

/* Another program, or an earlier run of ours whose answer was lost, was faster: look again. */
static int explain(struct err *err)
{
    static const char *const raced[] = {DUPLICATE_DATABASE, DUPLICATE_OBJECT, UNIQUE_VIOLATION,
                                        TUPLE_CHANGED,      NO_SUCH_OBJECT,   NO_SUCH_DATABASE};
    for (size_t i = 0; i < ARRAY_COUNT(raced); i++) {
        if (err_has_code(err, raced[i])) {
            return err_reclass(err, ERR_CONFLICT, "Conflict");
        }
    }
    return -1;
}

static int flush(struct sql_conn *conn, const struct call *call, struct sql *script,
                 struct err *err)
{
    if (script->text.len == 0 && !script->failed) {
        return 0;
    }
    int result = sql_script(conn, call, script, err);
    sql_clear(script);
    return result ? explain(err) : 0;
}

static int create_database(struct sql_conn *conn, const struct call *call,
                           const struct scope *scope, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "CREATE DATABASE ");
    sql_ident(&query, scope->database);
    SQL(&query, " OWNER ");
    sql_ident(&query, scope->roles[ROLE_OWNER]);
    SQL(&query, " TEMPLATE template0 ENCODING 'UTF8' STRATEGY wal_log ALLOW_CONNECTIONS false");
    return sql_exec(conn, call, &query, NULL, err) ? explain(err) : 0;
}

/* A spare becomes the scope's in the script's own transaction; CREATE DATABASE can be in none. */
static int get_database(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                        const char *spare, struct sql *script, struct err *err)
{
    if (!text_is_empty(spare)) {
        spares_sql_take(script, spare, scope->database, scope->roles[ROLE_OWNER]);
        return 0;
    }
    return flush(conn, call, script, err) || create_database(conn, call, scope, err) ? -1 : 0;
}

static int run_plan(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                    const struct plan *plan, struct err *err)
{
    AUTO(sql) struct sql script = {0};

    sql_init(&script);
    for (size_t i = 0; i < plan->count; i++) {
        const struct action *action = &plan->actions[i];
        if (action->kind == ACTION_DROP_DATABASE &&
            (flush(conn, call, &script, err) || database_drop(conn, call, scope, err))) {
            return -1;
        }
        if (action->kind == ACTION_CREATE_DATABASE &&
            get_database(conn, call, scope, action->member, &script, err)) {
            return -1;
        }
        append_action(&script, conn, scope, action);
    }
    return flush(conn, call, &script, err);
}

/* What only a superuser may put right is told to one. */
static int explain_privilege(const struct scope *scope, const struct plan *plan, struct err *err)
{
    AUTO(buf) struct buf words = BUF(ERR_MESSAGE_BYTES);

    if (!err_has_code(err, NO_PRIVILEGE)) {
        return -1;
    }
    database_plan_describe(scope, plan, &words);
    return err_wrap(err, "a superuser has to put this right: %s", buf_text(&words));
}

int database_execute(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                     const struct plan *plan, struct err *err)
{
    return run_plan(conn, call, scope, plan, err) ? explain_privilege(scope, plan, err) : 0;
}

int database_look(struct sql_conn *conn, const struct call *call, struct arena *arena,
                  const struct scope *scope, bool suspended, struct seen *ret_seen,
                  struct plan *ret_plan, struct err *err)
{
    if (database_observe(conn, call, arena, scope, ret_seen, err) ||
        database_check_owned(scope, ret_seen, err)) {
        return -1;
    }
    database_plan(scope, ret_seen, suspended, ret_plan);
    return 0;
}

int database_apply(struct sql_conn *conn, const struct call *call, struct arena *arena,
                   const struct scope *scope, bool suspended, const struct seen *seen,
                   const struct plan *plan, struct err *err)
{
    AUTO(buf) struct buf words = BUF(ERR_MESSAGE_BYTES);
    struct seen *after = ARENA_NEW(arena, struct seen);
    struct plan *rest = ARENA_NEW(arena, struct plan);

    if (database_execute(conn, call, scope, plan, err)) {
        return -1;
    }
    if (!database_stood(scope, seen) || plan->count == 0) {
        return 0; /* new as a whole, or nothing was done */
    }
    if (database_look(conn, call, arena, scope, suspended, after, rest, err)) {
        return -1;
    }
    if (rest->count == 0 || plan->truncated) {
        return 0;
    }
    database_plan_describe(scope, rest, &words);
    return err_set(err, ERR_RETRY, "InsufficientPrivilege", "a superuser has to put this right: %s",
                   buf_text(&words));
}
