/* The statements behind a tenant's extensions. */
#include "controller/base/buf.h"
#include "controller/base/str.h"
#include "reconcilers/database/extensions_internal.h"

#define NO_PRIVILEGE "42501"
#define NOT_SUPPORTED "0A000"  /* "extension is not available" */
#define UNDEFINED_FILE "58P01" /* the same, of older servers */
#define DUPLICATE_OBJECT "42710"
#define DUPLICATE_SCHEMA "42P06"
#define UNIQUE_VIOLATION "23505"

enum { NAMES_MAX_BYTES = 8192 };

static int observe_schema(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                          struct extensions_seen *ret, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT pg_get_userbyid(nspowner) = current_user, "
                "(SELECT bool_and(has_schema_privilege(rolname, n.oid, 'USAGE')) FROM pg_roles "
                "WHERE rolname IN (");
    sql_param(&query, scope->roles[ROLE_OWNER]);
    SQL(&query, ", ");
    sql_param(&query, scope->roles[ROLE_RW]);
    SQL(&query, ", ");
    sql_param(&query, scope->roles[ROLE_RO]);
    SQL(&query, ")) FROM pg_namespace n WHERE nspname = '" EXTENSIONS_SCHEMA "'");
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    ret->schema_exists = sql_row_count(rows) > 0;
    ret->schema_is_ours = ret->schema_exists && sql_bool(rows, 0, 0);
    ret->schema_is_open = ret->schema_exists && sql_bool(rows, 0, 1);
    return 0;
}

int extensions_observe(struct sql_conn *conn, const struct call *call, struct arena *arena,
                       const struct scope *scope, const char *const *names, size_t count,
                       struct extensions_seen *ret, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    if (observe_schema(conn, call, scope, ret, err)) {
        return -1;
    }
    sql_init(&query);
    SQL(&query, "SELECT extname FROM pg_extension");
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    ret->installed = ARENA_ARRAY(arena, bool, count);
    for (size_t i = 0; i < count; i++) {
        ret->installed[i] = false;
        for (int row = 0; row < sql_row_count(rows); row++) {
            ret->installed[i] |= text_equal(sql_text(rows, row, 0), names[i]);
        }
    }
    return 0;
}

int extensions_open_schema(struct sql_conn *conn, const struct call *call,
                           const struct scope *scope, bool create, struct err *err)
{
    AUTO(sql) struct sql script = {0};

    sql_init(&script);
    if (create) {
        SQL(&script, "CREATE SCHEMA " EXTENSIONS_SCHEMA ";\n");
    }
    SQL(&script, "GRANT USAGE ON SCHEMA " EXTENSIONS_SCHEMA " TO ");
    sql_ident(&script, scope->roles[ROLE_OWNER]);
    SQL(&script, ", ");
    sql_ident(&script, scope->roles[ROLE_RW]);
    SQL(&script, ", ");
    sql_ident(&script, scope->roles[ROLE_RO]);
    SQL(&script, ";\n");
    if (sql_script(conn, call, &script, err) == 0) {
        return 0;
    }
    return err_has_code(err, DUPLICATE_SCHEMA) || err_has_code(err, UNIQUE_VIOLATION)
               ? err_reclass(err, ERR_CONFLICT, "Conflict")
               : -1;
}

static int explain(const struct scope *scope, const char *name, struct err *err)
{
    if (err_has_code(err, DUPLICATE_OBJECT) || err_has_code(err, UNIQUE_VIOLATION)) {
        return err_reclass(err, ERR_CONFLICT, "Conflict");
    }
    if (err_has_code(err, NOT_SUPPORTED) || err_has_code(err, UNDEFINED_FILE)) {
        return err_set(err, ERR_TERMINAL, "ExtensionUnavailable",
                       "extension \"%s\" is not installed on server \"%s\"", name, scope->server);
    }
    if (err_has_code(err, NO_PRIVILEGE)) {
        return err_set(
            err, ERR_TERMINAL, "InsufficientPrivilege",
            "extension \"%s\" is none that its database's owner may create: as a "
            "superuser, run in database \"%s\": CREATE EXTENSION \"%s\" SCHEMA " EXTENSIONS_SCHEMA
            ";",
            name, scope->database, name);
    }
    return err_wrap(err, "extension \"%s\"", name);
}

int extensions_create(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                      const char *name, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "CREATE EXTENSION ");
    sql_ident(&query, name);
    SQL(&query, " SCHEMA " EXTENSIONS_SCHEMA);
    return sql_exec(conn, call, &query, NULL, err) ? explain(scope, name, err) : 0;
}
