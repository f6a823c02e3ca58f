/* Reading and writing tables that a tenant may have put code on.
 *
 * Triggers, rules, defaults, checks and the expressions of indexes run as whoever touches the
 * table, and a tenant's own migrations may make them, at any moment and by way of a function that
 * is kept for later. So neither looking beforehand nor becoming the owner role helps: the code
 * would run RESET ROLE and be the controller. Two things of PostgreSQL it cannot undo: a
 * transaction that is read-only does not become another one, and inside a function with SECURITY
 * DEFINER no role can be set. What reads is read in the one, and what writes is the body of the
 * other, owned by the owner role, made and dropped in the transaction that calls it. What is left
 * for the commit, such as deferred triggers, finds the transaction read-only too. A session that
 * code may have left settings in serves nobody else.
 *
 * Where tenants share tables, none of them may put anything on those. */
#include "controller/base/str.h"
#include "reconcilers/database/database_internal.h"

#define WRITE_FUNCTION "tenantry_write"

int tables_make_read_only(struct sql_conn *conn, const struct call *call, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "SET TRANSACTION READ ONLY");
    return sql_query(conn, call, &query, NULL, err);
}

int tables_read(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                struct sql *query, struct sql_rows **ret, struct err *err)
{
    if (scope->mode->rows_are_keyed) {
        return sql_query(conn, call, query, ret, err);
    }
    int result = sql_begin(conn, call, err) || tables_make_read_only(conn, call, err) ||
                         sql_query(conn, call, query, ret, err)
                     ? -1
                     : 0;
    sql_rollback(conn); /* and with it whatever was set meanwhile */
    return result;
}

/* The function takes the statement's parameters as text. */
static void append_function(struct sql *script, const struct scope *scope, const struct sql *query)
{
    SQL(script, "SET LOCAL search_path TO pg_catalog, pg_temp;\nSET LOCAL ROLE ");
    sql_ident(script, scope->roles[ROLE_OWNER]);
    SQL(script, ";\nCREATE OR REPLACE FUNCTION ");
    sql_ident2(script, scope->schema, WRITE_FUNCTION);
    SQL(script, "(");
    for (int i = 0; i < query->parameter_count; i++) {
        if (i > 0) {
            SQL(script, ", ");
        }
        SQL(script, "text");
    }
    SQL(script, ") RETURNS void LANGUAGE sql VOLATILE SECURITY DEFINER "
                "SET search_path = pg_catalog, pg_temp AS ");
    sql_literal(script, buf_text(&query->text));
    SQL(script, ";\nRESET ROLE;\n");
    script->failed |= query->failed;
}

static void append_call(struct sql *call, const struct scope *scope, const struct sql *query)
{
    SQL(call, "SELECT ");
    sql_ident2(call, scope->schema, WRITE_FUNCTION);
    SQL(call, "(");
    for (int i = 0; i < query->parameter_count; i++) {
        if (i > 0) {
            SQL(call, ", ");
        }
        sql_param(call, query->parameters[i]);
        SQL(call, "::pg_catalog.text");
    }
    SQL(call, ")");
}

static void append_drop(struct sql *script, const struct scope *scope, int parameter_count)
{
    SQL(script, "DROP FUNCTION ");
    sql_ident2(script, scope->schema, WRITE_FUNCTION);
    SQL(script, "(");
    for (int i = 0; i < parameter_count; i++) {
        if (i > 0) {
            SQL(script, ", ");
        }
        SQL(script, "pg_catalog.text");
    }
    SQL(script, ");\n");
}

static int write_guarded(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                         const struct sql *query, struct err *err)
{
    AUTO(sql) struct sql make = {0};
    AUTO(sql) struct sql run = {0};
    AUTO(sql) struct sql drop = {0};

    sql_init(&make);
    sql_init(&run);
    sql_init(&drop);
    append_function(&make, scope, query);
    append_call(&run, scope, query);
    append_drop(&drop, scope, query->parameter_count);
    return sql_script(conn, call, &make, err) || sql_exec(conn, call, &run, NULL, err) ||
                   sql_script(conn, call, &drop, err) || tables_make_read_only(conn, call, err)
               ? -1
               : 0;
}

int tables_write(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                 struct sql *query, struct err *err)
{
    if (scope->mode->rows_are_keyed) {
        return sql_exec(conn, call, query, NULL, err);
    }
    if (sql_begin(conn, call, err)) {
        return -1;
    }
    sql_use_up(conn);
    if (write_guarded(conn, call, scope, query, err)) {
        sql_rollback(conn);
        return -1;
    }
    return sql_commit(conn, call, err);
}
