/* A schema goes as a whole, in one transaction. Rows go in batches that each commit, children
 * first, so that a large tenant holds no lock for long and a crash loses no progress; a cascade
 * would delete them all in one statement. */
#include "reconcilers/database/part.h"

#include "controller/base/str.h"
#include "reconcilers/model/names.h"

enum { BATCH_ROWS = 5000, ROW_HEADER_BYTES = 24 };

/* Those that refer before those that are referred to. */
static const char *const tables[] = {"deployments", "api_keys", "applications", "users"};

/* ---- size ---- */

static int first_int(struct sql_conn *conn, const struct call *call, struct sql *query,
                     int64_t *ret, struct err *err)
{
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    if (sql_query(conn, call, query, &rows, err)) {
        return -1;
    }
    *ret = sql_row_count(rows) > 0 ? sql_int(rows, 0, 0) : 0;
    return 0;
}

static int schema_size(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                       int64_t *ret_bytes, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c "
                "JOIN pg_namespace n ON n.oid = c.relnamespace "
                "WHERE c.relkind IN ('r', 'm', 'p', 'S') AND n.nspname = ");
    sql_param(&query, scope->schema);
    return first_int(conn, call, &query, ret_bytes, err);
}

/* Tables that are not there hold nothing. */
static int rows_exist(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                      bool *ret, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    int64_t count = 0;

    sql_init(&query);
    SQL(&query, "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
                "WHERE c.relname = '" NAME_TABLE_LOGINS "' AND n.nspname = ");
    sql_param(&query, scope->schema);
    if (first_int(conn, call, &query, &count, err)) {
        return -1;
    }
    *ret = count > 0;
    return 0;
}

static int schema_exists(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                         bool *ret, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    int64_t count = 0;

    sql_init(&query);
    SQL(&query, "SELECT count(*) FROM pg_namespace WHERE nspname = ");
    sql_param(&query, scope->schema);
    SQL(&query, " AND pg_get_userbyid(nspowner) = ");
    sql_param(&query, scope->roles[ROLE_OWNER]);
    if (first_int(conn, call, &query, &count, err)) {
        return -1;
    }
    *ret = count > 0;
    return 0;
}

int part_exists(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                bool *ret, struct err *err)
{
    return scope->mode->rows_are_keyed ? rows_exist(conn, call, scope, ret, err)
                                       : schema_exists(conn, call, scope, ret, err);
}

static int list_columns(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                        struct sql_rows **ret, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "SELECT c.relname, a.attname FROM pg_class c "
                "JOIN pg_namespace n ON n.oid = c.relnamespace "
                "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped "
                "WHERE c.relname IN (''");
    for (size_t i = 0; i < ARRAY_COUNT(tables); i++) {
        SQL(&query, ", ");
        sql_param(&query, tables[i]);
    }
    SQL(&query, ") AND n.nspname = ");
    sql_param(&query, scope->schema);
    SQL(&query, " ORDER BY c.relname, a.attnum");
    return sql_query(conn, call, &query, ret, err);
}

/* Value by value: of one that is stored apart, its size is known without reading it. A row as a
 * whole would have all of it fetched. */
static void append_size(struct sql *query, const struct scope *scope,
                        const struct sql_rows *columns)
{
    SQL(query, "SELECT (0");
    for (int i = 0; i < sql_row_count(columns); i++) {
        const char *table = sql_text(columns, i, 0);
        if (i == 0 || !text_equal(table, sql_text(columns, i - 1, 0))) {
            SQL(query, " + (SELECT coalesce(sum(");
            sql_integer(query, ROW_HEADER_BYTES);
        }
        SQL(query, " + coalesce(pg_column_size(");
        sql_ident(query, sql_text(columns, i, 1));
        SQL(query, "), 0)");
        if (i + 1 == sql_row_count(columns) || !text_equal(table, sql_text(columns, i + 1, 0))) {
            SQL(query, "), 0) FROM ");
            sql_ident2(query, scope->schema, table);
            SQL(query, ")");
        }
    }
    SQL(query, ")::bigint");
}

/* Tables that are not there hold nothing. */
static int rows_size(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                     int64_t *ret_bytes, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *columns = NULL;

    *ret_bytes = 0;
    if (list_columns(conn, call, scope, &columns, err)) {
        return -1;
    }
    if (sql_row_count(columns) == 0) {
        return 0;
    }
    sql_init(&query);
    append_size(&query, scope, columns);
    return rows_begin(conn, call, scope, err) || first_int(conn, call, &query, ret_bytes, err) ||
                   rows_end(conn, call, scope, err)
               ? -1
               : 0;
}

int part_size(struct sql_conn *conn, const struct call *call, const struct scope *scope,
              int64_t *ret_bytes, struct err *err)
{
    return scope->mode->rows_are_keyed ? rows_size(conn, call, scope, ret_bytes, err)
                                       : schema_size(conn, call, scope, ret_bytes, err);
}

/* ---- dropping ---- */

static int drop_schema(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                       struct err *err)
{
    AUTO(sql) struct sql query = {0};
    bool exists = false;

    if (schema_exists(conn, call, scope, &exists, err)) {
        return -1;
    }
    if (!exists) {
        return 0;
    }
    sql_init(&query);
    SQL(&query, "DROP SCHEMA IF EXISTS ");
    sql_ident(&query, scope->schema);
    SQL(&query, " CASCADE");
    return sql_exec(conn, call, &query, NULL, err)
               ? err_wrap(err, "dropping schema \"%s\"", scope->schema)
               : 0;
}

static int delete_batch(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                        const char *table, int64_t *ret_deleted, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "DELETE FROM ");
    sql_ident2(&query, scope->schema, table);
    SQL(&query, " WHERE tenant_id = ");
    sql_param(&query, scope->tenant_id);
    SQL(&query, " AND ctid = ANY (ARRAY(SELECT ctid FROM ");
    sql_ident2(&query, scope->schema, table);
    SQL(&query, " WHERE tenant_id = ");
    sql_param(&query, scope->tenant_id);
    SQL(&query, " LIMIT ");
    sql_integer(&query, BATCH_ROWS);
    SQL(&query, "))");
    if (rows_begin(conn, call, scope, err) || sql_exec(conn, call, &query, &rows, err) ||
        rows_end(conn, call, scope, err)) {
        return -1;
    }
    *ret_deleted = sql_affected(rows);
    return 0;
}

static int unmap_logins(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                        struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "DELETE FROM ");
    sql_ident2(&query, scope->schema, NAME_TABLE_LOGINS);
    SQL(&query, " WHERE tenant_id = ");
    sql_param(&query, scope->tenant_id);
    SQL(&query, " AND login IN (");
    sql_param(&query, scope->roles[ROLE_A]);
    SQL(&query, ", ");
    sql_param(&query, scope->roles[ROLE_B]);
    SQL(&query, ")");
    return sql_exec(conn, call, &query, NULL, err);
}

static int delete_rows(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                       struct err *err)
{
    bool exist = false;

    if (rows_exist(conn, call, scope, &exist, err)) {
        return -1;
    }
    if (!exist) {
        return 0;
    }
    for (size_t i = 0; i < ARRAY_COUNT(tables); i++) {
        int64_t deleted = 0;
        do {
            if (delete_batch(conn, call, scope, tables[i], &deleted, err)) {
                return err_wrap(err, "deleting rows of \"%s\"", tables[i]);
            }
        } while (deleted > 0); /* a batch is short also where a row was changed meanwhile */
    }
    return unmap_logins(conn, call, scope, err);
}

int part_drop(struct sql_conn *conn, const struct call *call, const struct scope *scope,
              struct err *err)
{
    return scope->mode->rows_are_keyed ? delete_rows(conn, call, scope, err)
                                       : drop_schema(conn, call, scope, err);
}
