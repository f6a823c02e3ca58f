/* The statements behind a login role. The password travels as a SCRAM verifier made here. */
#include "controller/base/str.h"
#include "reconcilers/database/extensions_internal.h"
#include "reconcilers/database/login_internal.h"

/* ALTER ROLE login IN DATABASE database SET|RESET ... */
static void begin_setting(struct sql *script, const struct scope *scope, const char *login)
{
    SQL(script, "ALTER ROLE ");
    sql_ident(script, login);
    SQL(script, " IN DATABASE ");
    sql_ident(script, scope->database);
}

static void append_defaults(struct sql *script, const struct scope *scope, const char *login,
                            const struct login_wanted *wanted, unsigned defaults)
{
    if (defaults & DEFAULT_ROLE) {
        begin_setting(script, scope, login);
        SQL(script, " SET role TO ");
        sql_literal(script, scope->roles[scope->mode->login_group]);
        SQL(script, ";\n");
    }
    if (defaults & DEFAULT_SEARCH_PATH) {
        begin_setting(script, scope, login);
        SQL(script, " SET search_path TO ");
        if (scope->mode->has_app_schema) {
            SQL(script, "app, ");
        }
        sql_ident(script, scope->schema);
        if (wanted->extensions) {
            SQL(script, ", " EXTENSIONS_SCHEMA);
        }
        SQL(script, ";\n");
    }
    if (defaults & DEFAULT_STATEMENT_TIMEOUT) {
        begin_setting(script, scope, login);
        SQL(script, " SET statement_timeout TO ");
        sql_integer(script, wanted->statement_timeout_ms);
        SQL(script, ";\n");
    }
    if (defaults & DEFAULT_IDLE_TIMEOUT) {
        begin_setting(script, scope, login);
        SQL(script, " SET idle_in_transaction_session_timeout TO ");
        sql_integer(script, wanted->idle_in_transaction_timeout_ms);
        SQL(script, ";\n");
    }
}

static void reset_defaults(struct sql *script, const struct scope *scope, const char *login,
                           unsigned defaults)
{
    if (defaults & DEFAULT_STATEMENT_TIMEOUT) {
        begin_setting(script, scope, login);
        SQL(script, " RESET statement_timeout;\n");
    }
    if (defaults & DEFAULT_IDLE_TIMEOUT) {
        begin_setting(script, scope, login);
        SQL(script, " RESET idle_in_transaction_session_timeout;\n");
    }
}

/* The options of CREATE ROLE and ALTER ROLE. */
static int append_options(struct sql *script, struct sql_conn *conn,
                          const struct login_wanted *wanted, const struct login_plan *plan,
                          const struct secret *password, struct err *err)
{
    AUTO(secret) struct secret verifier = {0};

    secret_init(&verifier);
    if (plan->set_login && wanted->enabled) {
        SQL(script, " LOGIN");
    } else if (plan->set_login) {
        SQL(script, " NOLOGIN");
    }
    if (plan->set_limit) {
        SQL(script, " CONNECTION LIMIT ");
        sql_integer(script, wanted->connection_limit);
    }
    if (plan->set_password) {
        if (sql_scram_verifier(conn, password, &verifier, err)) {
            return -1;
        }
        SQL(script, " PASSWORD ");
        sql_literal_secret(script, &verifier);
    }
    SQL(script, ";\n");
    return 0;
}

static void append_database_limit(struct sql *script, const struct scope *scope, int64_t limit)
{
    SQL(script, "ALTER DATABASE ");
    sql_ident(script, scope->database);
    if (limit < 0) {
        SQL(script, " CONNECTION LIMIT -1;\n");
        return;
    }
    SQL(script, " CONNECTION LIMIT ");
    sql_integer(script, limit);
    SQL(script, ";\n");
}

int login_execute(struct sql_conn *conn, const struct call *call, struct arena *arena,
                  const struct scope *scope, const struct login_wanted *wanted,
                  const struct login_plan *plan, const struct secret *password, struct err *err)
{
    AUTO(sql) struct sql script = {0};
    const char *login = scope->roles[wanted->slot];

    sql_init(&script);
    if (plan->create) {
        SQL(&script, "CREATE ROLE ");
        sql_ident(&script, login);
    } else if (plan->set_login || plan->set_limit || plan->set_password) {
        SQL(&script, "ALTER ROLE ");
        sql_ident(&script, login);
    }
    if (script.text.len > 0 && append_options(&script, conn, wanted, plan, password, err)) {
        return -1;
    }
    if (plan->set_database_limit) {
        append_database_limit(&script, scope, wanted->database_limit);
    }
    if (plan->set_mark) {
        SQL(&script, "COMMENT ON ROLE ");
        sql_ident(&script, login);
        SQL(&script, " IS ");
        sql_literal(&script, login_mark(arena, scope, wanted));
        SQL(&script, ";\n");
    }
    if (plan->create) {
        SQL(&script, "GRANT ");
        sql_ident(&script, scope->roles[scope->mode->login_group]);
        SQL(&script, " TO ");
        sql_ident(&script, login);
        SQL(&script, ";\n");
    }
    reset_defaults(&script, scope, login, plan->reset_defaults);
    append_defaults(&script, scope, login, wanted, plan->set_defaults);
    if (sql_script(conn, call, &script, err)) {
        return err_has_code(err, "42710") || err_has_code(err, "23505")
                   ? err_reclass(err, ERR_CONFLICT, "Conflict")
                   : -1;
    }
    return 0;
}

int login_observe_use(struct sql_conn *conn, const struct call *call, const char *user,
                      struct login_use *ret, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT rolconnlimit, (SELECT count(*) FROM pg_stat_activity "
                "WHERE usesysid = r.oid) FROM pg_roles r WHERE rolname = ");
    sql_param(&query, user);
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    *ret = (struct login_use){0};
    if (sql_row_count(rows) > 0) {
        *ret = (struct login_use){.limit = sql_int(rows, 0, 0), .sessions = sql_int(rows, 0, 1)};
    }
    return 0;
}

int login_set_limit(struct sql_conn *conn, const struct call *call, const char *user, int64_t limit,
                    struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "ALTER ROLE ");
    sql_ident(&query, user);
    SQL(&query, " CONNECTION LIMIT ");
    sql_integer(&query, limit);
    return sql_exec(conn, call, &query, NULL, err);
}

int login_close(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                const char *user, int64_t database_limit, struct err *err)
{
    AUTO(sql) struct sql script = {0};

    sql_init(&script);
    SQL(&script, "ALTER ROLE ");
    sql_ident(&script, user);
    SQL(&script, " NOLOGIN PASSWORD NULL;\n");
    if (scope->mode->owns_database) {
        append_database_limit(&script, scope, database_limit);
    }
    if (sql_script(conn, call, &script, err)) {
        return -1;
    }
    sql_clear(&script);
    SQL(&script, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = ");
    sql_param(&script, user);
    return sql_exec(conn, call, &script, NULL, err);
}
