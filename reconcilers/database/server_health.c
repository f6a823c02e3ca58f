/* A server is hardened when no role can connect to a database that it was not let into: CONNECT is
 * PUBLIC's by default, and names, sizes and settings can be read from any database. Tenants' own
 * databases are closed by their own step. */
#include "reconcilers/database/server_health.h"

#include "controller/base/str.h"
#include "reconcilers/database/database_internal.h"
#include "reconcilers/model/names.h"

enum {
    VERSION_MIN =
        150000, /* CREATE DATABASE ... STRATEGY, and no CREATE for PUBLIC on schema public */
    OPEN_SHOWN = 10,
};

/* ---- observing ---- */

static int observe_role(struct sql_conn *conn, const struct call *call, struct arena *arena,
                        struct server_health *ret, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT current_setting('server_version'), current_setting('max_connections'), "
                "pg_is_in_recovery() OR current_setting('transaction_read_only') = 'on', "
                "rolname, rolcreatedb, rolcreaterole, pg_has_role('pg_signal_backend', 'USAGE'), "
                "rolsuper, rolbypassrls, rolinherit, pg_has_role('pg_read_all_stats', 'USAGE') "
                "FROM pg_roles WHERE rolname = current_user");
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    *ret = (struct server_health){
        .version = arena_strdup(arena, sql_text(rows, 0, 0)),
        .version_number = sql_server_version(conn),
        .max_connections = sql_int(rows, 0, 1),
        .read_only = sql_bool(rows, 0, 2),
        .role = arena_strdup(arena, sql_text(rows, 0, 3)),
        .creates_databases = sql_bool(rows, 0, 4),
        .creates_roles = sql_bool(rows, 0, 5),
        .ends_sessions = sql_bool(rows, 0, 6),
        .superuser = sql_bool(rows, 0, 7),
        .bypasses_rls = sql_bool(rows, 0, 8),
        .inherits = sql_bool(rows, 0, 9),
        .sees_sessions = sql_bool(rows, 0, 10),
    };
    return 0;
}

static int observe_shared_roles(struct sql_conn *conn, const struct call *call,
                                struct server_health *ret, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT count(*) = 2 AND EXISTS (SELECT FROM pg_auth_members m "
                "JOIN pg_roles a ON a.oid = m.roleid JOIN pg_roles g ON g.oid = m.member "
                "WHERE a.rolname = 'tenantry_app' AND g.rolname = 'tenantry_gateway'), "
                "coalesce(bool_or(rolsuper OR rolbypassrls), false) FROM pg_roles "
                "WHERE rolname IN ('tenantry_app', 'tenantry_gateway')");
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    ret->has_shared_roles = sql_bool(rows, 0, 0);
    ret->shared_roles_too_strong = sql_bool(rows, 0, 1);
    return 0;
}

static int observe_open(struct sql_conn *conn, const struct call *call, struct arena *arena,
                        struct server_health *ret, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT datname FROM pg_database WHERE datallowconn AND EXISTS (SELECT FROM "
                "aclexplode(coalesce(datacl, acldefault('d', datdba))) "
                "WHERE grantee = 0 AND privilege_type = 'CONNECT') "
                "AND coalesce(shobj_description(oid, 'pg_database'), '') NOT LIKE "
                "'tenantry: tenant %' ORDER BY datname");
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    size_t count = (size_t)sql_row_count(rows);
    const char **names = ARENA_ARRAY(arena, const char *, count);
    for (size_t i = 0; i < count; i++) {
        names[i] = arena_strdup(arena, sql_text(rows, (int)i, 0));
    }
    ret->open_databases = names;
    ret->open_count = count;
    return 0;
}

int server_observe(struct sql_conn *conn, const struct call *call, struct arena *arena,
                   struct server_health *ret, struct err *err)
{
    return observe_role(conn, call, arena, ret, err) ||
                   observe_shared_roles(conn, call, ret, err) ||
                   observe_open(conn, call, arena, ret, err)
               ? -1
               : 0;
}

/* ---- judging ---- */

int server_check_able(const struct server_health *health, struct err *err)
{
    if (health->version_number < VERSION_MIN) {
        return err_set(err, ERR_TERMINAL, "VersionUnsupported",
                       "the server runs PostgreSQL %s; 15 or later is needed", health->version);
    }
    if (health->read_only) {
        return err_set(err, ERR_RETRY, "DatabaseReadOnly",
                       "the server takes no writes: it is a standby or set to read-only; let "
                       "spec.hosts name the primary");
    }
    if (health->superuser || (health->creates_databases && health->creates_roles &&
                              health->ends_sessions && health->inherits)) {
        return 0;
    }
    AUTO(buf) struct buf words = BUF(ERR_MESSAGE_BYTES);
    if (!health->creates_databases || !health->creates_roles || !health->inherits) {
        (void)buf_printf(&words, " ALTER ROLE \"%s\"%s%s%s;", health->role,
                         health->creates_databases ? "" : " CREATEDB",
                         health->creates_roles ? "" : " CREATEROLE",
                         health->inherits ? "" : " INHERIT");
    }
    if (!health->ends_sessions) {
        (void)buf_printf(&words, " GRANT pg_signal_backend TO \"%s\";", health->role);
    }
    return err_set(err, ERR_RETRY, "InsufficientPrivilege",
                   "the controller's role lacks rights; as a superuser, run:%s", buf_text(&words));
}

/* Quoted as SQL wants it. */
static void append_ident(struct buf *out, const char *name)
{
    (void)buf_append_char(out, '"');
    for (; *name; name++) {
        if (*name == '"') {
            (void)buf_append_char(out, '"');
        }
        (void)buf_append_char(out, *name);
    }
    (void)buf_append_char(out, '"');
}

void server_describe_open(const struct server_health *health, struct buf *out)
{
    for (size_t i = 0; i < health->open_count && i < OPEN_SHOWN; i++) {
        (void)buf_append_text(out, " REVOKE CONNECT, TEMPORARY ON DATABASE ");
        append_ident(out, health->open_databases[i]);
        (void)buf_append_text(out, " FROM PUBLIC;");
    }
    if (health->open_count > OPEN_SHOWN) {
        (void)buf_printf(out, " (and for %zu more databases)", health->open_count - OPEN_SHOWN);
    }
    if (health->superuser || health->bypasses_rls) {
        (void)buf_append_text(out, " ALTER ROLE ");
        append_ident(out, health->role);
        (void)buf_append_text(out, " NOSUPERUSER NOBYPASSRLS;");
    }
    if (!health->sees_sessions) {
        (void)buf_append_text(out, " GRANT pg_read_all_stats TO ");
        append_ident(out, health->role);
        (void)buf_append_text(out, "; -- to end sessions that go too far");
    }
    if (health->shared_roles_too_strong) {
        (void)buf_append_text(out, " ALTER ROLE " NAME_ROLE_APP " NOSUPERUSER NOBYPASSRLS;"
                                   " ALTER ROLE " NAME_ROLE_GATEWAY " NOSUPERUSER NOBYPASSRLS;");
    }
}

int server_make_shared_roles(struct sql_conn *conn, const struct call *call, struct err *err)
{
    AUTO(sql) struct sql script = {0};

    sql_init(&script);
    database_sql_shared_roles(&script);
    return sql_script(conn, call, &script, err);
}
