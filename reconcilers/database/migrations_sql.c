/* The statements behind a tenant's own migrations.
 *
 * A file is run by PL/pgSQL's EXECUTE inside a transaction that is ours: the server itself then
 * refuses COMMIT, ROLLBACK and whatever cannot run in a transaction, COPY from or to the client,
 * and knows where a statement ends, which a parser of our own would have to guess. The session
 * belongs to a role made for it alone, so RESET ROLE and whatever else leads to the session's own
 * role find nobody but a member of the owner. On PostgreSQL 15 a role may grant itself to others:
 * so before the end, once everything that was deferred has run, it is looked whether anybody has
 * become its member, and then nothing of the file stays. */
#include "controller/base/str.h"
#include "reconcilers/database/extensions_internal.h"
#include "reconcilers/database/migrations_internal.h"
#include "reconcilers/database/schema_internal.h"

#define LEDGER "tenantry_migrations"
#define LOCK_NOT_AVAILABLE "55P03"

enum { DONE_MAX = 10000, STATEMENT_TIMEOUT_MS = 10 * 60 * 1000, LOCK_TIMEOUT_MS = 5000 };

const char *migrations_role(struct arena *arena, const struct scope *scope)
{
    struct str login = str_from(scope->roles[ROLE_A]);

    return arena_printf(arena, "%.*s.migrate", (int)login.len - 2, login.ptr); /* without ".a" */
}

/* ---- the role ---- */

int migrations_role_exists(struct sql_conn *conn, const struct call *call,
                           const struct scope *scope, const char *role, bool *ret, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;
    struct mark mark;

    sql_init(&query);
    SQL(&query, "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = ");
    sql_param(&query, role);
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    *ret = sql_row_count(rows) > 0;
    if (*ret &&
        !(mark_parse(sql_text(rows, 0, 0), &mark) && str_equal_c(mark.id, scope->tenant_id))) {
        return err_set(err, ERR_TERMINAL, "NameConflict",
                       "role \"%s\" on server \"%s\" exists and was not made for this: rename or "
                       "drop it",
                       role, scope->server);
    }
    return 0;
}

int migrations_make_role(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                         const char *role, const struct secret *password, struct err *err)
{
    AUTO(sql) struct sql script = {0};
    AUTO(secret) struct secret verifier = {0};

    secret_init(&verifier);
    sql_init(&script);
    if (sql_scram_verifier(conn, password, &verifier, err)) {
        return -1;
    }
    SQL(&script, "CREATE ROLE ");
    sql_ident(&script, role);
    SQL(&script, " LOGIN CONNECTION LIMIT 1 PASSWORD ");
    sql_literal_secret(&script, &verifier);
    SQL(&script, ";\nDO $until$ BEGIN EXECUTE format('ALTER ROLE %I VALID UNTIL %L', ");
    sql_literal(&script, role);
    SQL(&script, ", now() + interval '15 minutes'); END $until$;\nCOMMENT ON ROLE ");
    sql_ident(&script, role);
    SQL(&script, " IS ");
    sql_literal(&script, scope->mark);
    SQL(&script, ";\nGRANT ");
    sql_ident(&script, scope->roles[ROLE_OWNER]);
    if (!scope->mode->owns_database) {
        SQL(&script, ", ");
        sql_ident(&script, scope->roles[ROLE_APP]); /* CONNECT, and nothing else */
    }
    SQL(&script, " TO ");
    sql_ident(&script, role);
    SQL(&script, ";\n");
    return sql_script(conn, call, &script, err);
}

int migrations_drop_role(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                         const char *role, struct err *err)
{
    AUTO(sql) struct sql script = {0};

    sql_init(&script);
    database_sql_act_as(&script, conn, role);
    SQL(&script, "REASSIGN OWNED BY ");
    sql_ident(&script, role);
    SQL(&script, " TO ");
    sql_ident(&script, scope->roles[ROLE_OWNER]);
    SQL(&script, ";\nDROP OWNED BY ");
    sql_ident(&script, role);
    SQL(&script, ";\nDROP ROLE ");
    sql_ident(&script, role);
    SQL(&script, ";\n");
    return sql_script(conn, call, &script, err);
}

/* ---- what was applied ---- */

static int make_ledger(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                       struct err *err)
{
    AUTO(sql) struct sql script = {0};

    sql_init(&script);
    SQL(&script, "CREATE TABLE ");
    sql_ident2(&script, scope->schema, LEDGER);
    SQL(&script, " (name text PRIMARY KEY, checksum text NOT NULL, "
                 "applied_at timestamptz NOT NULL DEFAULT now());\nREVOKE ALL ON ");
    sql_ident2(&script, scope->schema, LEDGER);
    SQL(&script, " FROM PUBLIC, ");
    sql_ident(&script, scope->roles[ROLE_RW]);
    SQL(&script, ", ");
    sql_ident(&script, scope->roles[ROLE_RO]);
    SQL(&script, ";\nALTER TABLE ");
    sql_ident2(&script, scope->schema, LEDGER);
    SQL(&script, " OWNER TO ");
    sql_ident(&script, scope->roles[ROLE_OWNER]);
    SQL(&script, ";\n");
    return sql_script(conn, call, &script, err);
}

static int ledger_exists(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                         bool *ret, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n "
                "ON n.oid = c.relnamespace WHERE c.relname = '" LEDGER "' AND n.nspname = ");
    sql_param(&query, scope->schema);
    SQL(&query, ")");
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    *ret = sql_bool(rows, 0, 0);
    return 0;
}

int migrations_list_done(struct sql_conn *conn, const struct call *call, struct arena *arena,
                         const struct scope *scope, const struct migration_done **ret,
                         size_t *ret_count, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;
    bool exists = false;

    *ret_count = 0;
    if (ledger_exists(conn, call, scope, &exists, err)) {
        return -1;
    }
    if (!exists) {
        return make_ledger(conn, call, scope, err);
    }
    sql_init(&query);
    SQL(&query, "SELECT name, checksum FROM ONLY ");
    sql_ident2(&query, scope->schema, LEDGER);
    SQL(&query, " ORDER BY name LIMIT ");
    sql_integer(&query, DONE_MAX);
    /* It may be anything by now, a view with functions say: files run with its owner's rights. */
    if (tables_read(conn, call, scope, &query, &rows, err)) {
        return -1;
    }
    size_t count = (size_t)sql_row_count(rows);
    struct migration_done *done = ARENA_ARRAY(arena, struct migration_done, count);
    for (size_t i = 0; i < count; i++) {
        done[i].name = arena_strdup(arena, sql_text(rows, (int)i, 0));
        done[i].checksum = arena_strdup(arena, sql_text(rows, (int)i, 1));
    }
    *ret = done;
    *ret_count = count;
    return 0;
}

/* ---- running a file ---- */

static int prepare(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                   const struct migration_file *file, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "SELECT set_config('statement_timeout', ");
    sql_param_int(&query, STATEMENT_TIMEOUT_MS);
    SQL(&query, ", true), set_config('lock_timeout', ");
    sql_param_int(&query, LOCK_TIMEOUT_MS);
    SQL(&query, ", true), set_config('tenantry.migration', ");
    sql_param(&query, file->text);
    SQL(&query, ", true), set_config('search_path', quote_ident(");
    sql_param(&query, scope->schema);
    SQL(&query, ")");
    if (scope->mode->has_app_schema) {
        SQL(&query, " || ', " EXTENSIONS_SCHEMA "'");
    }
    SQL(&query, ", true), set_config('role', ");
    sql_param(&query, scope->roles[ROLE_OWNER]);
    SQL(&query, ", true)");
    return sql_query(conn, call, &query, NULL, err);
}

/* The note goes first, since the user may have put a trigger on its table; what was deferred runs
 * next; and after that nothing runs any more that is not ours. */
static int note(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                const struct migration_file *file, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "INSERT INTO ");
    sql_ident2(&query, scope->schema, LEDGER);
    SQL(&query, " (name, checksum) VALUES (");
    sql_param(&query, file->name);
    SQL(&query, ", ");
    sql_param(&query, file->checksum);
    SQL(&query, ")");
    if (sql_exec(conn, call, &query, NULL, err)) {
        return -1;
    }
    sql_clear(&query);
    SQL(&query, "SET CONSTRAINTS ALL IMMEDIATE; SET LOCAL search_path TO pg_catalog, pg_temp; "
                "RESET ROLE;");
    return sql_script(conn, call, &query, err);
}

static int check_members(struct sql_conn *conn, const struct call *call, const char *role,
                         const char *file, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT pg_catalog.count(*) FROM pg_catalog.pg_auth_members m "
                "JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) m.roleid "
                "JOIN pg_catalog.pg_roles g ON g.oid OPERATOR(pg_catalog.=) m.member "
                "WHERE NOT g.rolcreaterole AND r.rolname OPERATOR(pg_catalog.=) ");
    sql_param(&query, role);
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    return sql_int(rows, 0, 0) == 0
               ? 0
               : err_set(err, ERR_TERMINAL, "MigrationRefused",
                         "migration \"%s\" granted the role that it runs as to somebody; nothing "
                         "of it was kept",
                         file);
}

/* What would run as the gateway or the controller does not come in; what comes later, by a function
 * that a file left, is found as drift. */
static int check_code(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                      const char *file, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    schema_append_code(&query, scope);
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    return sql_row_count(rows) == 0
               ? 0
               : err_set(err, ERR_TERMINAL, "MigrationRefused",
                         "migration \"%s\" puts code on a table of the tenant schema (%s), where "
                         "others than the tenant would run it; nothing of it was kept",
                         file, sql_text(rows, 0, 0));
}

static int execute(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                   const struct migration_file *file, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "DO $tenantry$ BEGIN EXECUTE pg_catalog.current_setting('tenantry.migration'); "
                "END $tenantry$");
    if (prepare(conn, call, scope, file, err)) {
        return -1;
    }
    return sql_exec(conn, call, &query, NULL, err);
}

/* What passes by itself is tried again; everything else waits for another file. */
static int explain(const struct migration_file *file, struct err *err)
{
    bool passes = err_has_code(err, LOCK_NOT_AVAILABLE) || sql_err_unreachable(err) ||
                  err->cls == ERR_CANCELED || err->cls == ERR_CONFLICT;

    if (passes) {
        return err_wrap(err, "migration \"%s\"", file->name);
    }
    (void)err_wrap(err, "migration \"%s\" failed, and nothing of it was kept", file->name);
    return err_reclass(err, ERR_TERMINAL, "MigrationFailed");
}

int migrations_apply(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                     const char *role, const struct migration_file *file, struct err *err)
{
    if (sql_begin(conn, call, err)) {
        return -1;
    }
    if (execute(conn, call, scope, file, err) || note(conn, call, scope, file, err)) {
        sql_rollback(conn);
        return explain(file, err);
    }
    if (check_members(conn, call, role, file->name, err) ||
        check_code(conn, call, scope, file->name, err)) {
        sql_rollback(conn);
        return -1;
    }
    return sql_commit(conn, call, err);
}
