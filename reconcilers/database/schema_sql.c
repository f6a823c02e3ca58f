/* The statements behind the tenant schema.
 *
 * The controller connects as its own role and becomes the owner role for what makes tables, so that
 * these belong to it; schemas are handed over before, as itself. All of a change is one
 * transaction: after a crash either nothing happened or the comment with the version stands too.
 * What two controllers at once would both create, the catalog's unique names let only one of them
 * commit.
 *
 * Row-level security in this mode. The database holds one tenant, so a row is visible when its
 * tenant_id is that tenant's, and
 *   - for the application roles, which serve all tenants, app.tenant_id must name the tenant;
 *   - for everyone else, that is the tenant's logins and their kin, it may be unset; naming another
 *     tenant shows nothing.
 * The tenant is a literal of the policy, so no setting can widen what is seen. Settings are
 * compared as text, or cast only when they look like a UUID, so that no setting can make a query
 * fail. Each test is a sub-select without a row's data, which is evaluated once a query. */
#include "controller/base/str.h"
#include "reconcilers/database/schema_internal.h"
#include "reconcilers/drivers/embedded.h"
#include "reconcilers/model/names.h"

extern const struct embedded_file tenant_migrations[];
extern const struct embedded_file tenant_repair[];
extern const struct embedded_file tenant_queries[];

#define SCRATCH_SCHEMA "tenantry_scratch"
#define APP_SCHEMA "app"

static const char *const tables[] = {"api_keys", "applications", "deployments", "users"};

#define DUPLICATE_TABLE "42P07"
#define DUPLICATE_SCHEMA "42P06"
#define UNIQUE_VIOLATION "23505"
#define TUPLE_CHANGED "XX000"

int64_t schema_newest(void)
{
    int64_t count = 0;
    while (tenant_migrations[count].name) {
        count++;
    }
    return count;
}

/* ---- policies and rights ---- */

#define IS_APPLICATION_ROLE "current_user IN ('tenantry_app', 'tenantry_gateway')"

/* Whether the row is of the tenant that the role and the settings allow. */
static void append_tenant_test(struct sql *script, const struct scope *scope)
{
    SQL(script, "tenant_id = (SELECT CASE WHEN coalesce(lower(nullif("
                "current_setting('app.tenant_id', true), '')), CASE WHEN " IS_APPLICATION_ROLE
                " THEN '' ELSE ");
    sql_literal(script, scope->tenant_id);
    SQL(script, " END) = ");
    sql_literal(script, scope->tenant_id);
    SQL(script, " THEN ");
    sql_literal(script, scope->tenant_id);
    SQL(script, "::uuid END)");
}

/* Through the application roles a user sees the deployments of his own applications; owner and
 * admin see all. */
static void append_deployment_test(struct sql *script, const char *schema)
{
    SQL(script, " AND ((SELECT NOT (" IS_APPLICATION_ROLE ") OR coalesce("
                "current_setting('app.user_role', true) IN ('admin', 'owner'), false)) "
                "OR application_id IN (SELECT a.id FROM ");
    sql_ident2(script, schema, "applications");
    SQL(script, " a WHERE a.user_id = (SELECT CASE WHEN current_setting('app.user_id', true) ~ "
                "'^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$' "
                "THEN current_setting('app.user_id', true)::uuid END)))");
}

static void append_test(struct sql *script, const struct scope *scope, const char *schema,
                        const char *table)
{
    SQL(script, "(");
    append_tenant_test(script, scope);
    if (text_equal(table, "deployments")) {
        append_deployment_test(script, schema);
    }
    SQL(script, ")");
}

static void append_table_rights(struct sql *script, const struct scope *scope, const char *schema,
                                const char *table)
{
    SQL(script, "ALTER TABLE ");
    sql_ident2(script, schema, table);
    SQL(script, " ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY, "
                "ALTER COLUMN tenant_id SET DEFAULT ");
    sql_literal(script, scope->tenant_id);
    SQL(script, ";\nCREATE POLICY tenant ON ");
    sql_ident2(script, schema, table);
    SQL(script, " USING ");
    append_test(script, scope, schema, table);
    SQL(script, " WITH CHECK ");
    append_test(script, scope, schema, table);
    SQL(script, ";\nGRANT SELECT, INSERT, UPDATE, DELETE ON ");
    sql_ident2(script, schema, table);
    SQL(script, " TO ");
    sql_ident(script, scope->roles[ROLE_RW]);
    SQL(script, ", tenantry_app;\nGRANT SELECT ON ");
    sql_ident2(script, schema, table);
    SQL(script, " TO ");
    sql_ident(script, scope->roles[ROLE_RO]);
    SQL(script, ";\n");
}

static void append_default_rights(struct sql *script, const struct scope *scope, const char *schema)
{
    SQL(script, "ALTER DEFAULT PRIVILEGES IN SCHEMA ");
    sql_ident(script, schema);
    SQL(script, " GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO ");
    sql_ident(script, scope->roles[ROLE_RW]);
    SQL(script, ", tenantry_app;\nALTER DEFAULT PRIVILEGES IN SCHEMA ");
    sql_ident(script, schema);
    SQL(script, " GRANT SELECT ON TABLES TO ");
    sql_ident(script, scope->roles[ROLE_RO]);
    SQL(script, ";\nALTER DEFAULT PRIVILEGES IN SCHEMA ");
    sql_ident(script, schema);
    SQL(script, " GRANT USAGE, SELECT ON SEQUENCES TO ");
    sql_ident(script, scope->roles[ROLE_RW]);
    SQL(script, ", tenantry_app;\nALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM "
                "PUBLIC;\n");
}

/* Policies and rights of a schema without any, as the owner role. */
static void append_rights(struct sql *script, const struct scope *scope, const char *schema)
{
    SQL(script, "REVOKE ALL ON SCHEMA ");
    sql_ident(script, schema);
    SQL(script, " FROM PUBLIC;\nGRANT USAGE ON SCHEMA ");
    sql_ident(script, schema);
    SQL(script, " TO ");
    sql_ident(script, scope->roles[ROLE_RW]);
    SQL(script, ", ");
    sql_ident(script, scope->roles[ROLE_RO]);
    SQL(script, ", tenantry_app;\n");
    append_default_rights(script, scope, schema);
    for (size_t i = 0; i < ARRAY_COUNT(tables); i++) {
        append_table_rights(script, scope, schema, tables[i]);
    }
}

/* ---- roles and schemas ---- */

static void become_owner(struct sql *script, const struct scope *scope)
{
    SQL(script, "SET LOCAL ROLE ");
    sql_ident(script, scope->roles[ROLE_OWNER]);
    SQL(script, ";\n");
}

static void become_self(struct sql *script)
{
    SQL(script, "RESET ROLE;\nSET LOCAL search_path TO pg_catalog;\n");
}

/* As the controller's role. */
static void append_take_schema(struct sql *script, const struct scope *scope,
                               const struct schema_seen *seen)
{
    if (!seen->exists) {
        SQL(script, "CREATE SCHEMA ");
        sql_ident(script, scope->schema);
        SQL(script, " AUTHORIZATION ");
    } else {
        SQL(script, "ALTER SCHEMA ");
        sql_ident(script, scope->schema);
        SQL(script, " OWNER TO ");
    }
    sql_ident(script, scope->roles[ROLE_OWNER]);
    SQL(script, ";\n");
}

/* Who gives a schema to a role must be a member of it; the controller is one of .app only for that
 * moment, within the transaction. */
static void append_make_app(struct sql *script, struct sql_conn *conn, const struct scope *scope,
                            const struct schema_seen *seen)
{
    database_sql_act_as(script, conn, scope->roles[ROLE_APP]);
    if (*seen->app_owner) {
        SQL(script, "ALTER SCHEMA " APP_SCHEMA " OWNER TO ");
    } else {
        SQL(script, "CREATE SCHEMA " APP_SCHEMA " AUTHORIZATION ");
    }
    sql_ident(script, scope->roles[ROLE_APP]);
    SQL(script, ";\nREVOKE ");
    sql_ident(script, scope->roles[ROLE_APP]);
    SQL(script, " FROM CURRENT_USER;\n");
}

static void append_hand_over(struct sql *script, struct sql_conn *conn, const struct scope *scope,
                             const struct schema_seen *seen, const struct schema_decision *decision)
{
    if (decision->take_schema) {
        append_take_schema(script, scope, seen);
    }
    if (decision->make_app) {
        append_make_app(script, conn, scope, seen);
    }
}

/* The migrations behind version `from`, into this schema, as the owner role. */
static void append_migrations(struct sql *script, const char *schema, int64_t from)
{
    SQL(script, "SET LOCAL search_path TO ");
    sql_ident(script, schema);
    SQL(script, ";\n");
    for (int64_t i = from; tenant_migrations[i].name; i++) {
        sql_append_file(script, &tenant_migrations[i]);
        SQL(script, "\n");
    }
    SQL(script, "SET LOCAL search_path TO pg_catalog;\n");
}

/* ---- observing ---- */

/* Their names, separated by blanks. */
static const char *table_names(struct arena *arena)
{
    const char *names = "";
    for (size_t i = 0; i < ARRAY_COUNT(tables); i++) {
        names = arena_printf(arena, "%s%s%s", names, i > 0 ? " " : "", tables[i]);
    }
    return names;
}

static int list_schema(struct sql_conn *conn, const struct call *call, struct arena *arena,
                       const struct scope *scope, const char *schema, struct schema_listing *ret,
                       struct err *err)
{
    AUTO(sql) struct sql query;
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "WITH given (place, role_prefix, tenant_id, tables) AS (SELECT ");
    sql_param(&query, schema);
    SQL(&query, "::text, ");
    sql_param(&query, scope->role_prefix);
    SQL(&query, "::text, ");
    sql_param(&query, scope->tenant_id);
    SQL(&query, "::text, ");
    sql_param(&query, table_names(arena));
    SQL(&query, "::text),\n");
    sql_append_file(&query, &tenant_queries[0]);
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    size_t count = (size_t)sql_row_count(rows);
    struct schema_line *lines = ARENA_ARRAY(arena, struct schema_line, count);
    for (size_t i = 0; i < count; i++) {
        lines[i].item = arena_strdup(arena, sql_text(rows, (int)i, 0));
        lines[i].definition = arena_strdup(arena, sql_text(rows, (int)i, 1));
    }
    *ret = (struct schema_listing){.lines = lines, .count = count};
    return 0;
}

static int observe_schemas(struct sql_conn *conn, const struct call *call, struct arena *arena,
                           const struct scope *scope, struct schema_seen *ret, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT n.oid IS NOT NULL, pg_get_userbyid(n.nspowner), "
                "obj_description(n.oid, 'pg_namespace'), EXISTS (SELECT FROM pg_class c "
                "WHERE c.relnamespace = n.oid AND c.relname = ANY (string_to_array(");
    sql_param(&query, table_names(arena));
    SQL(&query, ", ' '))), (SELECT pg_get_userbyid(nspowner) FROM pg_namespace "
                "WHERE nspname = '" APP_SCHEMA "') FROM (SELECT) one "
                "LEFT JOIN pg_namespace n ON n.nspname = ");
    sql_param(&query, scope->schema);
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    *ret = (struct schema_seen){
        .exists = sql_bool(rows, 0, 0),
        .owner = arena_strdup(arena, sql_text(rows, 0, 1)),
        .comment = arena_strdup(arena, sql_text(rows, 0, 2)),
        .has_tables = sql_bool(rows, 0, 3),
        .app_owner = arena_strdup(arena, sql_text(rows, 0, 4)),
    };
    return 0;
}

int schema_observe(struct sql_conn *conn, const struct call *call, struct arena *arena,
                   const struct scope *scope, struct schema_seen *ret, struct err *err)
{
    if (observe_schemas(conn, call, arena, scope, ret, err)) {
        return -1;
    }
    return ret->has_tables
               ? list_schema(conn, call, arena, scope, scope->schema, &ret->listing, err)
               : 0;
}

/* ---- changing, inside a transaction ---- */

struct change {
    struct sql_conn *conn;
    const struct call *call;
    struct arena *arena;
    const struct scope *scope;
    const struct schema_seen *seen;
    struct schema_outcome *outcome;
};

/* Note in the schema's comment what stands now. */
static int mark(const struct change *change, const struct schema_listing *listing, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "COMMENT ON SCHEMA ");
    sql_ident(&query, change->scope->schema);
    SQL(&query, " IS ");
    sql_literal(&query, schema_mark(change->arena, schema_newest(), listing));
    return sql_exec(change->conn, change->call, &query, NULL, err);
}

static int list(const struct change *change, const char *schema, struct schema_listing *ret,
                struct err *err)
{
    return list_schema(change->conn, change->call, change->arena, change->scope, schema, ret, err);
}

static int create(const struct change *change, struct err *err)
{
    AUTO(sql) struct sql script = {0};
    struct schema_listing listing = {0};
    const struct scope *scope = change->scope;

    sql_init(&script);
    append_hand_over(&script, change->conn, scope, change->seen, &change->outcome->decision);
    become_owner(&script, scope);
    append_migrations(&script, scope->schema, 0);
    append_rights(&script, scope, scope->schema);
    become_self(&script);
    return sql_script(change->conn, change->call, &script, err) ||
                   list(change, scope->schema, &listing, err) || mark(change, &listing, err)
               ? -1
               : 0;
}

static void append_setting(struct sql *script, const char *name, const char *value)
{
    SQL(script, "SELECT set_config(");
    sql_literal(script, name);
    SQL(script, ", ");
    sql_literal(script, value);
    SQL(script, ", true);\n");
}

/* Hand over what others own, then make tables, policies and rights like the scratch schema's. */
static int repair(const struct change *change, struct err *err)
{
    AUTO(sql) struct sql script = {0};
    const struct scope *scope = change->scope;

    sql_init(&script);
    append_setting(&script, "tenantry.schema", scope->schema);
    append_setting(&script, "tenantry.scratch", SCRATCH_SCHEMA);
    append_setting(&script, "tenantry.owner", scope->roles[ROLE_OWNER]);
    append_setting(&script, "tenantry.tables", table_names(change->arena));
    append_hand_over(&script, change->conn, scope, change->seen, &change->outcome->decision);
    sql_append_file(&script, &tenant_repair[0]);
    become_owner(&script, scope);
    sql_append_file(&script, &tenant_repair[1]);
    append_rights(&script, scope, scope->schema);
    become_self(&script);
    return sql_script(change->conn, change->call, &script, err);
}

static int make_scratch(const struct change *change, struct err *err)
{
    AUTO(sql) struct sql script = {0};

    sql_init(&script);
    become_owner(&script, change->scope);
    SQL(&script, "CREATE SCHEMA " SCRATCH_SCHEMA ";\n");
    append_migrations(&script, SCRATCH_SCHEMA, 0);
    append_rights(&script, change->scope, SCRATCH_SCHEMA);
    become_self(&script);
    return sql_script(change->conn, change->call, &script, err);
}

static int drop_scratch(const struct change *change, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "DROP SCHEMA " SCRATCH_SCHEMA " CASCADE");
    return sql_exec(change->conn, change->call, &query, NULL, err);
}

static size_t compare(const struct change *change, const struct schema_listing *wanted,
                      const struct schema_listing *actual)
{
    struct schema_outcome *outcome = change->outcome;
    size_t count = schema_diff(wanted, actual, outcome->differences);

    if (outcome->decision.make_app && !outcome->healed && count < SCHEMA_DIFFERENCES_MAX) {
        outcome->differences[count].kind =
            *change->seen->app_owner ? SCHEMA_DIFFERENT : SCHEMA_MISSING;
        outcome->differences[count++].item = "schema " APP_SCHEMA;
    }
    return count;
}

/* What still differs after a repair is for a person to decide. */
static int check_repaired(const struct change *change, const struct schema_listing *wanted,
                          const struct schema_listing *actual, struct err *err)
{
    AUTO(buf) struct buf words = BUF(ERR_MESSAGE_BYTES);
    struct schema_difference *rest =
        ARENA_ARRAY(change->arena, struct schema_difference, SCHEMA_DIFFERENCES_MAX);
    size_t count = schema_diff(wanted, actual, rest);

    if (count == 0) {
        return mark(change, actual, err);
    }
    schema_describe(rest, count, &words);
    return err_set(err, ERR_TERMINAL, "SchemaDrift",
                   "what stands in database \"%s\" does not let everything be put right: %s",
                   change->scope->database, buf_text(&words));
}

/* Compare with a fresh schema and repair. *ret_keep: the transaction is to be committed, also when
 * this fails because something is left. */
static int compare_and_repair(const struct change *change, bool only_compare, bool *ret_keep,
                              struct err *err)
{
    struct schema_outcome *outcome = change->outcome;
    const char *schema = change->scope->schema;
    struct schema_listing wanted = {0};
    struct schema_listing actual = change->seen->listing;

    if (make_scratch(change, err) || list(change, SCRATCH_SCHEMA, &wanted, err)) {
        return -1;
    }
    outcome->difference_count = compare(change, &wanted, &actual);
    if (outcome->difference_count > 0 && only_compare) {
        return 0;
    }
    if (outcome->difference_count > 0 &&
        (repair(change, err) || list(change, schema, &actual, err))) {
        return -1;
    }
    if (drop_scratch(change, err)) {
        return -1;
    }
    outcome->healed = outcome->difference_count > 0;
    *ret_keep = true;
    return check_repaired(change, &wanted, &actual, err);
}

/* From an older version: the migrations behind it, then as after any change. */
static int upgrade(const struct change *change, bool *ret_keep, struct err *err)
{
    AUTO(sql) struct sql script = {0};
    struct schema_seen *now = ARENA_NEW(change->arena, struct schema_seen);
    struct change next = *change;

    sql_init(&script);
    append_hand_over(&script, change->conn, change->scope, change->seen,
                     &change->outcome->decision);
    become_owner(&script, change->scope);
    append_migrations(&script, change->scope->schema, change->outcome->decision.version);
    become_self(&script);
    if (sql_script(change->conn, change->call, &script, err) ||
        schema_observe(change->conn, change->call, change->arena, change->scope, now, err)) {
        return -1;
    }
    change->outcome->decision.take_schema = false;
    change->outcome->decision.make_app = false;
    next.seen = now;
    return compare_and_repair(&next, false, ret_keep, err);
}

static int run_change(const struct change *change, bool only_compare, bool *ret_keep,
                      struct err *err)
{
    switch (change->outcome->decision.action) {
    case SCHEMA_KEEP:
        return 0;
    case SCHEMA_CREATE:
        *ret_keep = true;
        return create(change, err);
    case SCHEMA_MIGRATE:
        return upgrade(change, ret_keep, err);
    case SCHEMA_COMPARE:
        return compare_and_repair(change, only_compare, ret_keep, err);
    }
    return 0;
}

/* Another controller was faster, or both at once. */
static int explain(struct err *err)
{
    static const char *const raced[] = {DUPLICATE_TABLE, DUPLICATE_SCHEMA, UNIQUE_VIOLATION,
                                        TUPLE_CHANGED};
    for (size_t i = 0; i < ARRAY_COUNT(raced); i++) {
        if (err_has_code(err, raced[i])) {
            return err_reclass(err, ERR_CONFLICT, "Conflict");
        }
    }
    return -1;
}

/* A refusal of ours (SchemaDrift) leaves the transaction whole, and what could be put right is
 * kept; an error of the server has ended it. */
static int finish(const struct change *change, int result, bool keep, struct err *err)
{
    struct err of_commit;
    bool whole = result == 0 || err_has_reason(err, "SchemaDrift");

    if (!keep || !whole) {
        sql_rollback(change->conn);
        return result ? explain(err) : 0;
    }
    if (sql_commit(change->conn, change->call, result ? &of_commit : err)) {
        sql_rollback(change->conn);
        return -1;
    }
    return result;
}

int schema_converge(struct sql_conn *conn, const struct call *call, struct arena *arena,
                    const struct scope *scope, bool only_compare, struct schema_outcome *ret,
                    struct err *err)
{
    struct schema_seen *seen = ARENA_NEW(arena, struct schema_seen);
    const struct change change = {conn, call, arena, scope, seen, ret};
    bool keep = false;

    *ret = (struct schema_outcome){0};
    if (schema_observe(conn, call, arena, scope, seen, err) ||
        schema_decide(scope, seen, schema_newest(), &ret->decision, err)) {
        return -1;
    }
    if (ret->decision.action == SCHEMA_KEEP) {
        return 0;
    }
    if (sql_begin(conn, call, err)) {
        return -1;
    }
    int result = run_change(&change, only_compare, &keep, err);
    return finish(&change, result, keep, err);
}
