/* Why FORCE ROW LEVEL SECURITY is taken off and put on again: it binds owners too, and the
 * controller is no superuser, so without that neither a count nor pg_dump could be sure to see
 * every row (and pg_dump told to go by the policies would leave rows out and end with 0). It is
 * taken off after the snapshot was exported: what is forced is then still part of what the dump
 * says of the tables, since pg_dump reads the catalog by the snapshot, while the server decides by
 * the catalog as it is. */
#include <inttypes.h>

#include "controller/base/secret.h"
#include "controller/base/str.h"
#include "reconcilers/database/snapshot_internal.h"

#define NO_SUCH_TABLE "42P01"
#define NO_SUCH_SCHEMA "3F000"

enum { TABLES_MAX = 20000 };

int snapshot_begin(struct sql_conn *conn, const struct call *call, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    if (sql_begin(conn, call, err)) {
        return -1;
    }
    sql_init(&query);
    SQL(&query, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ");
    return sql_query(conn, call, &query, NULL, err);
}

int snapshot_export(struct sql_conn *conn, const struct call *call, struct arena *arena,
                    const char **ret_snapshot, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    if (snapshot_begin(conn, call, err)) {
        return -1;
    }
    sql_init(&query);
    SQL(&query, "SELECT pg_export_snapshot()");
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    *ret_snapshot = arena_strdup(arena, sql_text(rows, 0, 0));
    return 0;
}

int snapshot_list(struct sql_conn *conn, const struct call *call, struct arena *arena,
                  const struct scope *scope, struct snapshot_tables *ret, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query,
        "SELECT n.nspname, c.relname, pg_get_userbyid(c.relowner), "
        "pg_has_role(c.relowner, 'USAGE'), c.relforcerowsecurity, c.relkind = 'r' FROM pg_class c "
        "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind IN ('r', 'p') "
        "AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' "
        "AND n.nspname <> 'information_schema' AND NOT EXISTS (SELECT FROM pg_depend d WHERE "
        "d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')");
    if (!scope->mode->owns_database) {
        SQL(&query, " AND n.nspname = ");
        sql_param(&query, scope->schema);
    }
    SQL(&query, " ORDER BY n.nspname COLLATE \"C\", c.relname COLLATE \"C\" LIMIT ");
    sql_integer(&query, TABLES_MAX + 1);
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    size_t count = (size_t)sql_row_count(rows);
    if (count > TABLES_MAX) {
        return err_set(err, ERR_TERMINAL, "SnapshotIncomplete",
                       "the database has more than %d tables; nothing was deleted", TABLES_MAX);
    }
    ret->items = ARENA_ARRAY(arena, struct snapshot_table, count);
    ret->count = count;
    for (size_t i = 0; i < count; i++) {
        int row = (int)i;
        ret->items[i] = (struct snapshot_table){
            .name = {arena_strdup(arena, sql_text(rows, row, 0)),
                     arena_strdup(arena, sql_text(rows, row, 1))},
            .owner = arena_strdup(arena, sql_text(rows, row, 2)),
            .ours = sql_bool(rows, row, 3),
            .forced = sql_bool(rows, row, 4),
            .holds_rows = sql_bool(rows, row, 5),
        };
    }
    return 0;
}

/* ---- counting ---- */

/* Of the functions, one for each table, what their names begin with: one that the tenant cannot
 * have given to a function of its own. */
static const char *counter_prefix(struct arena *arena)
{
    uint64_t number = 0;

    random_bytes(&number, sizeof(number));
    return arena_printf(arena, "tenantry_count_%016" PRIx64, number);
}

static const char *counter_name(struct arena *arena, const char *prefix, size_t number)
{
    return arena_printf(arena, "%s_%zu", prefix, number);
}

static void append_count(struct sql *query, const struct table_name *name)
{
    SQL(query, "SELECT count(*) FROM ONLY ");
    sql_ident2(query, name->schema, name->table);
}

/* A schema where the owner may make something. */
static int find_home(struct sql_conn *conn, const struct call *call, struct arena *arena,
                     struct snapshot_table *table, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query,
        "SELECT nspname FROM pg_namespace, (SELECT oid AS id FROM pg_roles WHERE rolname = ");
    sql_param(&query, table->owner);
    SQL(&query, ") owner WHERE nspname !~ '^pg_' AND nspname <> 'information_schema' "
                "AND has_schema_privilege(owner.id, pg_namespace.oid, 'CREATE') "
                "AND has_schema_privilege(owner.id, pg_namespace.oid, 'USAGE') "
                "ORDER BY nspname <> ");
    sql_param(&query, table->name.schema);
    SQL(&query, ", nspname LIMIT 1");
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    if (sql_row_count(rows) == 0) {
        return err_set(err, ERR_TERMINAL, "SnapshotIncomplete",
                       "role \"%s\", which owns table \"%s\".\"%s\", may make nothing in any "
                       "schema, which counting its rows takes; nothing was deleted: give the table "
                       "to another role of the tenant",
                       table->owner, table->name.schema, table->name.table);
    }
    table->home = arena_strdup(arena, sql_text(rows, 0, 0));
    return 0;
}

/* The function is parsed when it is called, and then as what it is. */
static int make_counter(struct sql_conn *conn, const struct call *call,
                        const struct snapshot_table *table, const char *name, struct err *err)
{
    AUTO(sql) struct sql script = {0};
    AUTO(sql) struct sql body = {0};

    sql_init(&script);
    sql_init(&body);
    append_count(&body, &table->name);
    SQL(&script, "SET LOCAL check_function_bodies TO off;\nSET LOCAL ROLE ");
    sql_ident(&script, table->owner);
    SQL(&script, ";\nCREATE FUNCTION ");
    sql_ident2(&script, table->home, name);
    SQL(&script, "() RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER "
                 "SET search_path = pg_catalog, pg_temp SET row_security = off AS ");
    sql_literal(&script, buf_text(&body.text));
    SQL(&script, ";\nRESET ROLE;\n");
    script.failed |= body.failed;
    return sql_script(conn, call, &script, err);
}

static int make_counters(struct sql_conn *conn, const struct call *call, struct arena *arena,
                         const char *prefix, struct snapshot_tables *tables, struct err *err)
{
    for (size_t i = 0; i < tables->count; i++) {
        struct snapshot_table *table = &tables->items[i];
        if (table->holds_rows &&
            (find_home(conn, call, arena, table, err) ||
             make_counter(conn, call, table, counter_name(arena, prefix, i), err))) {
            return -1;
        }
    }
    return 0;
}

static int count_rows(struct sql_conn *conn, const struct call *call, struct snapshot_table *table,
                      const char *counter, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT ");
    sql_ident2(&query, table->home, counter);
    SQL(&query, "()");
    if (sql_query(conn, call, &query, &rows, err)) {
        return err_wrap(err, "table \"%s\".\"%s\"", table->name.schema, table->name.table);
    }
    table->rows = sql_int(rows, 0, 0);
    return 0;
}

int snapshot_count(struct sql_conn *conn, const struct call *call, struct arena *arena,
                   struct snapshot_tables *tables, struct err *err)
{
    const char *prefix = counter_prefix(arena);

    sql_use_up(conn);
    if (make_counters(conn, call, arena, prefix, tables, err) ||
        tables_make_read_only(conn, call, err)) {
        return -1;
    }
    for (size_t i = 0; i < tables->count; i++) {
        if (tables->items[i].holds_rows &&
            count_rows(conn, call, &tables->items[i], counter_name(arena, prefix, i), err)) {
            return -1;
        }
    }
    return 0;
}

int snapshot_force(struct sql_conn *conn, const struct call *call, const struct table_name *names,
                   size_t count, bool force, struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        AUTO(sql) struct sql query = {0};
        sql_init(&query);
        SQL(&query, "ALTER TABLE ");
        sql_ident2(&query, names[i].schema, names[i].table);
        if (force) {
            SQL(&query, " FORCE ROW LEVEL SECURITY");
        } else {
            SQL(&query, " NO FORCE ROW LEVEL SECURITY");
        }
        if (sql_exec(conn, call, &query, NULL, err) && !err_has_code(err, NO_SUCH_TABLE) &&
            !err_has_code(err, NO_SUCH_SCHEMA)) {
            return err_wrap(err, "table \"%s\".\"%s\"", names[i].schema, names[i].table);
        }
    }
    return 0;
}
