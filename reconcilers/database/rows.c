/* Isolation mode Row: which login is whose, and how the controller comes to a tenant's rows. */
#include "controller/base/str.h"
#include "reconcilers/database/database_internal.h"
#include "reconcilers/database/fence_internal.h"
#include "reconcilers/database/servers.h"
#include "reconcilers/model/names.h"

/* ---- mapping ---- */

static int count_mapped(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                        int64_t *ret, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT count(*) FROM ");
    sql_ident2(&query, scope->schema, NAME_TABLE_LOGINS);
    SQL(&query, " WHERE login IN (");
    sql_param(&query, scope->roles[ROLE_A]);
    SQL(&query, ", ");
    sql_param(&query, scope->roles[ROLE_B]);
    SQL(&query, ") AND tenant_id = ");
    sql_param(&query, scope->tenant_id);
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    *ret = sql_int(rows, 0, 0);
    return 0;
}

static int write_mapping(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                         struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "INSERT INTO ");
    sql_ident2(&query, scope->schema, NAME_TABLE_LOGINS);
    SQL(&query, " (login, tenant_id) SELECT login, ");
    sql_param(&query, scope->tenant_id);
    SQL(&query, "::uuid FROM (VALUES (");
    sql_param(&query, scope->roles[ROLE_A]);
    SQL(&query, "::name), (");
    sql_param(&query, scope->roles[ROLE_B]);
    SQL(&query, "::name)) logins (login) "
                "ON CONFLICT (login) DO UPDATE SET tenant_id = excluded.tenant_id");
    return sql_exec(conn, call, &query, NULL, err);
}

static int map_logins(struct sql_conn *conn, const struct call *call,
                      const struct tenant_work *work, const struct scope *scope, struct err *err)
{
    enum { SLOTS = 2 };
    int64_t mapped = 0;

    if (count_mapped(conn, call, scope, &mapped, err)) {
        return -1;
    }
    if (mapped == SLOTS) {
        return 0;
    }
    if (write_mapping(conn, call, scope, err)) {
        return -1;
    }
    if (database_was_complete(work)) {
        work_event(work, EVENT_WARNING, "DriftHealed", "Heal",
                   "put right in database \"%s\": a login of the tenant was not mapped to it",
                   scope->database);
    }
    return 0;
}

int rows_map_logins(struct reconcile *rc, const struct tenant_work *work, const struct scope *scope,
                    struct err *err)
{
    AUTO(server_loan) struct server_loan loan = {0};

    if (servers_borrow(work->services->servers, rc, scope->server, scope->database, &loan, err)) {
        return -1;
    }
    if (map_logins(loan.conn, &rc->call, work, scope, err)) {
        loan.failure = *err;
        return -1;
    }
    return 0;
}

/* ---- the fence ---- */

static void append_marked_otherwise(struct sql *query, const struct scope *scope, bool spent)
{
    SQL(query, " WHERE tenant_id = ");
    sql_param(query, scope->tenant_id);
    SQL(query, " AND login IN (");
    sql_param(query, scope->roles[ROLE_A]);
    SQL(query, ", ");
    sql_param(query, scope->roles[ROLE_B]);
    SQL(query, ") AND spent <> ");
    sql_param(query, spent ? "true" : "false");
}

static int count_marked_otherwise(struct sql_conn *conn, const struct call *call,
                                  const struct scope *scope, bool spent, int64_t *ret,
                                  struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT count(*) FROM ");
    sql_ident2(&query, scope->schema, NAME_TABLE_LOGINS);
    append_marked_otherwise(&query, scope, spent);
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    *ret = sql_int(rows, 0, 0);
    return 0;
}

/* Asked first: at rest, not even a statement that could write is sent. */
int rows_fence(struct sql_conn *conn, const struct call *call, const struct scope *scope,
               bool spent, int64_t *ret_changed, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    if (count_marked_otherwise(conn, call, scope, spent, ret_changed, err)) {
        return -1;
    }
    if (*ret_changed == 0) {
        return 0;
    }
    sql_init(&query);
    SQL(&query, "UPDATE ");
    sql_ident2(&query, scope->schema, NAME_TABLE_LOGINS);
    SQL(&query, " SET spent = ");
    sql_param(&query, spent ? "true" : "false");
    append_marked_otherwise(&query, scope, spent);
    return sql_exec(conn, call, &query, NULL, err);
}

/* ---- reaching a tenant's rows ---- */

int rows_begin(struct sql_conn *conn, const struct call *call, const struct scope *scope,
               struct err *err)
{
    AUTO(sql) struct sql query = {0};

    if (!scope->mode->rows_are_keyed) {
        return 0;
    }
    sql_init(&query);
    SQL(&query, "SELECT set_config('role', ");
    sql_param(&query, scope->roles[ROLE_OWNER]);
    SQL(&query, ", true), set_config('app.tenant_id', ");
    sql_param(&query, scope->tenant_id);
    SQL(&query, ", true)");
    return sql_begin(conn, call, err) || sql_query(conn, call, &query, NULL, err) ? -1 : 0;
}

int rows_end(struct sql_conn *conn, const struct call *call, const struct scope *scope,
             struct err *err)
{
    return scope->mode->rows_are_keyed ? sql_commit(conn, call, err) : 0;
}
