/* The statements behind the tenant schema.
 *
 * The controller connects as its own role and becomes the owner role for what makes tables, so that
 * these belong to it; schemas are handed over before, as itself. All of a change is one
 * transaction: after a crash either nothing happened or the comment with the version stands too.
 * What two controllers at once would both create, the catalog's unique names let only one of them
 * commit.
 */
#include "controller/base/str.h"
#include "reconcilers/database/fence_internal.h"
#include "reconcilers/database/schema_internal.h"
#include "reconcilers/drivers/embedded.h"
#include "reconcilers/model/names.h"

extern const struct embedded_file tenant_migrations[];
extern const struct embedded_file tenant_repair[];
extern const struct embedded_file tenant_queries[];

#define SCRATCH_SCHEMA "tenantry_scratch"
#define APP_SCHEMA "app"

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

/* ---- roles and schemas ---- */

static void become_owner(struct sql *script, const struct scope *scope)
{
    SQL(script, "SET LOCAL ROLE ");
    sql_ident(script, scope->roles[ROLE_OWNER]);
    SQL(script, ";\n");
}

static void become_self(struct sql *script)
{
    SQL(script, "RESET ROLE;\nSET LOCAL search_path TO pg_catalog, pg_temp;\n");
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
static void append_migrations(struct sql *script, const struct scope *scope, const char *schema,
                              int64_t from)
{
    SQL(script, "SET LOCAL search_path TO ");
    sql_ident(script, schema);
    SQL(script, ";\n");
    for (int64_t i = from; tenant_migrations[i].name; i++) {
        if (scope->mode->rows_are_keyed) {
            SQL_UNCOMMENT(script, &tenant_migrations[i], "tenant_id,");
        } else {
            sql_append_file(script, &tenant_migrations[i]);
        }
        SQL(script, "\n");
    }
    SQL(script, "SET LOCAL search_path TO pg_catalog, pg_temp;\n");
}

/* ---- observing ---- */

/* The text of the list of what stands in a schema: a query of `plain` follows. Names are literals,
 * so that it can be part of a script. */
static void append_listing(struct sql *query, const struct scope *scope, const char *schema)
{
    SQL(query, "WITH given (place, role_prefix, tenant_id, tables, functions, fence) AS (SELECT ");
    sql_literal(query, schema);
    SQL(query, "::text, ");
    sql_literal(query, scope->role_prefix);
    SQL(query, "::text, ");
    sql_literal(query, scope->tenant_id);
    SQL(query, "::text, ");
    sql_literal(query, schema_tables(scope));
    SQL(query, "::text, ");
    sql_literal(query, scope->mode->rows_are_keyed ? SCHEMA_FUNCTIONS : "");
    SQL(query, "::text, ");
    sql_literal(query, scope->mode->rows_are_keyed ? "" : fence_body());
    SQL(query, "::text),\n");
    sql_append_file(query, &tenant_queries[0]);
}

/* A hash of the list, as an expression. */
static void append_hash(struct sql *query, const struct scope *scope, const char *schema)
{
    SQL(query, "(");
    append_listing(query, scope, schema);
    SQL(query, "SELECT left(encode(sha256(convert_to(coalesce(string_agg(concat(item, E'\\t', "
               "definition), E'\\n' ORDER BY item COLLATE \"C\", definition COLLATE \"C\"), ''), "
               "'UTF8')), 'hex'), 32) FROM plain)");
}

static int list_schema(struct sql_conn *conn, const struct call *call, struct arena *arena,
                       const struct scope *scope, const char *schema, struct schema_listing *ret,
                       struct err *err)
{
    AUTO(sql) struct sql query;
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    append_listing(&query, scope, schema);
    SQL(&query, "SELECT item, definition FROM plain "
                "ORDER BY item COLLATE \"C\", definition COLLATE \"C\"");
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

static int observe(struct sql_conn *conn, const struct call *call, struct arena *arena,
                   const struct scope *scope, bool hashed, struct schema_seen *ret, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT n.oid IS NOT NULL, pg_get_userbyid(n.nspowner), "
                "obj_description(n.oid, 'pg_namespace'), (SELECT shobj_description(oid, "
                "'pg_authid') FROM pg_roles WHERE rolname = ");
    sql_param(&query, scope->roles[ROLE_OWNER]);
    SQL(&query, "), EXISTS (SELECT FROM pg_class c "
                "WHERE c.relnamespace = n.oid AND c.relname = ANY (string_to_array(");
    sql_param(&query, schema_tables(scope));
    SQL(&query, ", ' '))), (SELECT pg_get_userbyid(nspowner) FROM pg_namespace "
                "WHERE nspname = '" APP_SCHEMA "'), ");
    if (hashed) {
        SQL(&query, "CASE WHEN n.oid IS NOT NULL THEN ");
        append_hash(&query, scope, scope->schema);
        SQL(&query, " END");
    } else {
        SQL(&query, "NULL");
    }
    SQL(&query, " FROM (SELECT) one LEFT JOIN pg_namespace n ON n.nspname = ");
    sql_param(&query, scope->schema);
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    *ret = (struct schema_seen){
        .exists = sql_bool(rows, 0, 0),
        .owner = arena_strdup(arena, sql_text(rows, 0, 1)),
        .comment = arena_strdup(arena, sql_text(rows, 0, 2)),
        .owner_comment = arena_strdup(arena, sql_text(rows, 0, 3)),
        .has_tables = sql_bool(rows, 0, 4),
        .app_owner = arena_strdup(arena, sql_text(rows, 0, 5)),
        .hash = arena_strdup(arena, sql_text(rows, 0, 6)),
    };
    return 0;
}

int schema_observe(struct sql_conn *conn, const struct call *call, struct arena *arena,
                   const struct scope *scope, struct schema_seen *ret, struct err *err)
{
    return observe(conn, call, arena, scope, true, ret, err);
}

/* Only to plan the list takes the server several milliseconds: it is not asked for where no schema
 * is expected and none is. */
static int look(struct sql_conn *conn, const struct call *call, struct arena *arena,
                const struct scope *scope, bool expected, struct schema_seen *ret, struct err *err)
{
    if (!expected && observe(conn, call, arena, scope, false, ret, err)) {
        return -1;
    }
    return expected || ret->has_tables ? schema_observe(conn, call, arena, scope, ret, err) : 0;
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

/* Note in the comments of schema and owner role what stands now. Each as who may by its own right:
 * whether the controller may because it is a member of the owner, the server would find by listing
 * the owners of all tenants. Ends as the controller's role. */
static void append_mark(struct sql *script, const struct scope *scope)
{
    become_owner(script, scope);
    SQL(script, "COMMENT ON SCHEMA ");
    sql_ident(script, scope->schema);
    SQL(script, " IS '" SCHEMA_MARK_START);
    sql_integer(script, schema_newest());
    if (scope->mode->rows_are_keyed) {
        char version[HASH128_TEXT_BYTES];
        schema_keyed_version(version);
        SQL(script, SCHEMA_KEYED_WORD);
        sql_append_literal(script, version, strlen(version));
    }
    SQL(script, "';\n");
    become_self(script);
    SQL(script, "DO $mark$ DECLARE made constant text := ");
    append_hash(script, scope, scope->schema);
    SQL(script, ";\nBEGIN EXECUTE format('COMMENT ON ROLE %I IS %L', ");
    sql_literal(script, scope->roles[ROLE_OWNER]);
    SQL(script, ", concat(");
    sql_literal(script, scope->mark);
    SQL(script, ", ' " SCHEMA_HASH_WORD "', made)); END $mark$;\n");
}

static int list(const struct change *change, const char *schema, struct schema_listing *ret,
                struct err *err)
{
    return list_schema(change->conn, change->call, change->arena, change->scope, schema, ret, err);
}

/* All of it is one round trip and one transaction. */
static int create(const struct change *change, struct err *err)
{
    AUTO(sql) struct sql script = {0};
    const struct scope *scope = change->scope;

    sql_init(&script);
    append_hand_over(&script, change->conn, scope, change->seen, &change->outcome->decision);
    become_owner(&script, scope);
    append_migrations(&script, scope, scope->schema, 0);
    schema_append_rights(&script, scope, scope->schema);
    append_mark(&script, scope);
    return sql_script(change->conn, change->call, &script, err);
}

static void append_setting(struct sql *script, const char *name, const char *value)
{
    SQL(script, "SELECT set_config(");
    sql_literal(script, name);
    SQL(script, ", ");
    sql_literal(script, value);
    SQL(script, ", true);\n");
}

/* For the repair: what of the tables carries code. */
static void append_code_setting(struct sql *script, const struct scope *scope)
{
    append_listing(script, scope, scope->schema);
    SQL(script, "SELECT set_config('tenantry.code', coalesce((SELECT json_agg(json_build_array("
                "kind, relname, name)) FROM code), '[]')::text, true);\n");
}

void schema_append_code(struct sql *query, const struct scope *scope)
{
    append_listing(query, scope, scope->schema);
    SQL(query, "SELECT item FROM plain WHERE item ~ '^(trigger|rule|code in) ' ORDER BY item "
               "LIMIT 1");
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
    append_setting(&script, "tenantry.tables", schema_tables(scope));
    append_code_setting(&script, scope);
    append_hand_over(&script, change->conn, scope, change->seen, &change->outcome->decision);
    sql_append_file(&script, &tenant_repair[0]);
    become_owner(&script, scope);
    sql_append_file(&script, &tenant_repair[1]);
    become_self(&script);
    SQL(&script, "SELECT " SCRATCH_SCHEMA ".repair();\n");
    become_owner(&script, scope);
    schema_append_rights(&script, scope, scope->schema);
    become_self(&script);
    return sql_script(change->conn, change->call, &script, err);
}

/* Our own never outlives its transaction: what stands under that name was made by the owner role,
 * and must not keep the schema from being put right. */
static void append_drop_leftover(struct sql *script, const struct scope *scope)
{
    SQL(script, "DO $leftover$ BEGIN IF EXISTS (SELECT FROM pg_namespace WHERE nspname = "
                "'" SCRATCH_SCHEMA "' AND pg_get_userbyid(nspowner) = ");
    sql_literal(script, scope->roles[ROLE_OWNER]);
    SQL(script, ") THEN DROP SCHEMA " SCRATCH_SCHEMA " CASCADE; END IF; END $leftover$;\n");
}

static int make_scratch(const struct change *change, struct err *err)
{
    AUTO(sql) struct sql script = {0};

    sql_init(&script);
    append_drop_leftover(&script, change->scope);
    SQL(&script, "CREATE SCHEMA " SCRATCH_SCHEMA " AUTHORIZATION ");
    sql_ident(&script, change->scope->roles[ROLE_OWNER]);
    SQL(&script, ";\n");
    become_owner(&script, change->scope);
    append_migrations(&script, change->scope, SCRATCH_SCHEMA, 0);
    schema_append_rights(&script, change->scope, SCRATCH_SCHEMA);
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

static int mark(const struct change *change, struct err *err)
{
    AUTO(sql) struct sql script = {0};

    sql_init(&script);
    append_mark(&script, change->scope);
    return sql_script(change->conn, change->call, &script, err);
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
        return mark(change, err);
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
    struct schema_listing actual = {0};

    if (make_scratch(change, err) || list(change, SCRATCH_SCHEMA, &wanted, err) ||
        list(change, schema, &actual, err)) {
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
    append_migrations(&script, change->scope, change->scope->schema,
                      change->outcome->decision.version);
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
    case SCHEMA_CREATE:
        return 0;
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
    /* Code on the tables may have left settings, and what waits for the end. */
    sql_use_up(change->conn);
    if (tables_make_read_only(change->conn, change->call, result ? &of_commit : err) ||
        sql_commit(change->conn, change->call, result ? &of_commit : err)) {
        sql_rollback(change->conn);
        return -1;
    }
    return result;
}

int schema_converge(struct sql_conn *conn, const struct call *call, struct arena *arena,
                    const struct scope *scope, bool expected, bool only_compare,
                    struct schema_outcome *ret, struct err *err)
{
    struct schema_seen *seen = ARENA_NEW(arena, struct schema_seen);
    const struct change change = {conn, call, arena, scope, seen, ret};
    bool keep = false;

    *ret = (struct schema_outcome){0};
    if (look(conn, call, arena, scope, expected, seen, err) ||
        schema_decide(scope, seen, schema_newest(), &ret->decision, err)) {
        return -1;
    }
    if (ret->decision.action == SCHEMA_KEEP) {
        return 0;
    }
    if (ret->decision.action == SCHEMA_CREATE) {
        return create(&change, err) ? explain(err) : 0;
    }
    if (sql_begin(conn, call, err)) {
        return -1;
    }
    int result = run_change(&change, only_compare && !ret->decision.upgrade, &keep, err);
    return finish(&change, result, keep, err);
}
