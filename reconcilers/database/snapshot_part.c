/* Snapshots of a tenant that shares its database: a schema, or rows in tables of all.
 *
 * Rows are dumped as the policies show them to the owner role with the tenant's setting; that these
 * are all of them, and nobody else's, is proven by counts that no policy has a say in. The table of
 * logins has no policy, since only the owner role may touch it: no row of it is dumped. */
#include "controller/base/str.h"
#include "reconcilers/database/part.h"
#include "reconcilers/database/schema_internal.h"
#include "reconcilers/database/snapshot_internal.h"
#include "reconcilers/model/names.h"

/* Everybody else waits behind us for the table that we wait for, and while we count in it. */
#define LOCK_WAIT "500ms"
#define COUNT_WAIT "20s"

/* ---- what there is ---- */

static int count_large_objects(struct sql_conn *conn, const struct call *call,
                               const struct scope *scope, int64_t *ret, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT count(*) FROM pg_largeobject_metadata l JOIN pg_roles r "
                "ON r.oid = l.lomowner WHERE r.rolname IN (''");
    for (int i = 0; i < ROLE_COUNT; i++) {
        if (scope_owns(scope, i)) {
            SQL(&query, ", ");
            sql_literal(&query, scope->roles[i]);
        }
    }
    SQL(&query, ")");
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    *ret = sql_int(rows, 0, 0);
    return 0;
}

int snapshot_part_find(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                       bool *ret, struct err *err)
{
    int64_t large_objects = 0;

    if (part_exists(conn, call, scope, ret, err) ||
        count_large_objects(conn, call, scope, &large_objects, err)) {
        return -1;
    }
    return large_objects == 0
               ? 0
               : err_set(err, ERR_TERMINAL, "SnapshotIncomplete",
                         "the tenant has %lld large objects in database \"%s\", which are in no "
                         "schema and not part of a snapshot of one; nothing was deleted: remove "
                         "them (lo_unlink), or set deletionPolicy to Retain or Delete",
                         (long long)large_objects, scope->database);
}

/* ---- nobody gets in ---- */

int snapshot_part_close(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                        struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql) struct sql script = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    if (scope->mode->rows_are_keyed) {
        return 0;
    }
    sql_init(&query);
    SQL(&query, "SELECT DISTINCT CASE WHEN a.grantee <> 0 THEN pg_get_userbyid(a.grantee) END "
                "FROM pg_namespace n, aclexplode(n.nspacl) a WHERE a.grantee <> n.nspowner "
                "AND n.nspname = ");
    sql_param(&query, scope->schema);
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    sql_init(&script);
    for (int i = 0; i < sql_row_count(rows); i++) {
        SQL(&script, "REVOKE ALL ON SCHEMA ");
        sql_ident(&script, scope->schema);
        SQL(&script, " FROM ");
        if (sql_is_null(rows, i, 0)) {
            SQL(&script, "PUBLIC");
        } else {
            sql_ident(&script, sql_text(rows, i, 0));
        }
        SQL(&script, " CASCADE;\n");
    }
    return sql_row_count(rows) > 0 ? sql_script(conn, call, &script, err) : 0;
}

int snapshot_part_open(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                       struct err *err)
{
    AUTO(sql) struct sql script = {0};

    if (scope->mode->rows_are_keyed) {
        return 0;
    }
    sql_init(&script);
    SQL(&script, "SET LOCAL ROLE ");
    sql_ident(&script, scope->roles[ROLE_OWNER]);
    SQL(&script, ";\n");
    schema_append_usage(&script, scope, scope->schema);
    return sql_script(conn, call, &script, err);
}

/* ---- counting rows among others' ---- */

/* Within a transaction: see the snapshot, and all of the table. */
static int unforce(struct sql_conn *conn, const struct call *call, const char *snapshot,
                   const struct table_name *name, struct err *err)
{
    AUTO(sql) struct sql script = {0};

    sql_init(&script);
    SQL(&script, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;\n");
    if (snapshot) {
        SQL(&script, "SET TRANSACTION SNAPSHOT ");
        sql_literal(&script, snapshot);
        SQL(&script, ";\n");
    }
    SQL(&script, "SET LOCAL lock_timeout TO '" LOCK_WAIT "';\n"
                 "SET LOCAL statement_timeout TO '" COUNT_WAIT "';\n"
                 "SET LOCAL enable_seqscan TO off;\n"
                 "SET LOCAL row_security TO off;\nALTER TABLE ");
    sql_ident2(&script, name->schema, name->table);
    SQL(&script, " NO FORCE ROW LEVEL SECURITY;\n");
    return sql_script(conn, call, &script, err);
}

static int count_in(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                    struct snapshot_table *table, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT count(*) FROM ");
    sql_ident2(&query, table->name.schema, table->name.table);
    SQL(&query, " WHERE tenant_id = ");
    sql_param(&query, scope->tenant_id);
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    table->rows = sql_int(rows, 0, 0);
    return 0;
}

static int count_table(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                       const char *snapshot, struct snapshot_table *table, struct err *err)
{
    int result = sql_begin(conn, call, err) || unforce(conn, call, snapshot, &table->name, err) ||
                         count_in(conn, call, scope, table, err)
                     ? -1
                     : 0;
    sql_rollback(conn);
    return result ? err_wrap(err, "table \"%s\".\"%s\"", table->name.schema, table->name.table) : 0;
}

int snapshot_count_keyed(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                         const char *snapshot, struct snapshot_tables *tables, struct err *err)
{
    for (size_t i = 0; i < tables->count; i++) {
        struct snapshot_table *table = &tables->items[i];
        if (table->holds_rows && !text_equal(table->name.table, NAME_TABLE_LOGINS) &&
            count_table(conn, call, scope, snapshot, table, err)) {
            return -1;
        }
    }
    return 0;
}
