/* What the registry keeps for the gateway: where the database servers are, and the gateway's
 * rights. The gateway reads a few tables and changes counts by functions alone (migrations/0002),
 * so that a gateway in foreign hands can neither touch another table nor raise a limit. */
#include "controller/base/str.h"
#include "reconcilers/drivers/sql.h"
#include "reconcilers/registry/registry.h"

#define FUNCTIONS                                                                                  \
    "('public.quota_take(uuid, text, uuid, bigint, bigint, interval, interval)'), "                \
    "('public.quota_give(uuid, text, uuid, bigint, interval)'), "                                  \
    "('public.quota_change(uuid, jsonb, interval)'), ('public.gateway_used(uuid[], uuid[])'), "    \
    "('public.gateway_alive(uuid, boolean)'), "                                                    \
    "('public.billing_record_payment(text, uuid, date, numeric, text, timestamptz, timestamptz)')"
#define TABLES                                                                                     \
    "('public.tenants'), ('public.tenant_quotas'), ('public.database_servers'), "                  \
    "('public.tenant_activity')"

/* True when there is such a role and it lacks something. */
static int lacks_rights(struct sql_conn *conn, const struct call *call, bool *ret, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT EXISTS (SELECT FROM pg_roles r WHERE r.rolname = 'tenantry_gateway' AND ("
                "NOT has_database_privilege(r.oid, current_database(), 'CONNECT') "
                "OR NOT has_schema_privilege(r.oid, 'public', 'USAGE') "
                "OR EXISTS (SELECT FROM (VALUES " TABLES ") t (name) "
                "WHERE NOT has_table_privilege(r.oid, t.name, 'SELECT')) "
                "OR EXISTS (SELECT FROM (VALUES " FUNCTIONS ") f (name) "
                "WHERE NOT has_function_privilege(r.oid, f.name, 'EXECUTE'))))");
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    *ret = sql_bool(rows, 0, 0);
    return 0;
}

int registry_grant_gateway(struct sql_conn *conn, const struct call *call, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    bool lacking = false;

    if (lacks_rights(conn, call, &lacking, err)) {
        return -1;
    }
    if (!lacking) {
        return 0;
    }
    sql_init(&query);
    SQL(&query,
        "DO $$ DECLARE item text; BEGIN "
        "EXECUTE format('GRANT CONNECT ON DATABASE %I TO tenantry_gateway', current_database()); "
        "GRANT USAGE ON SCHEMA public TO tenantry_gateway; "
        "FOR item IN SELECT name FROM (VALUES " TABLES ") t (name) LOOP "
        "EXECUTE 'GRANT SELECT ON ' || item || ' TO tenantry_gateway'; END LOOP; "
        "FOR item IN SELECT name FROM (VALUES " FUNCTIONS ") f (name) LOOP "
        "EXECUTE 'GRANT EXECUTE ON FUNCTION ' || item || ' TO tenantry_gateway'; END LOOP; END $$");
    return sql_exec(conn, call, &query, NULL, err);
}

/* ---- servers ---- */

static void append_server(struct sql *query, const struct registry_server *server)
{
    sql_param(query, server->name);
    SQL(query, ", ");
    sql_param(query, server->host);
    SQL(query, ", ");
    sql_param_int(query, server->port);
    SQL(query, "::int, ");
    sql_param(query, server->sslmode);
    SQL(query, ", ");
    sql_param(query, server->ca_pem);
    SQL(query, ", ");
    sql_param(query, server->target_session_attrs);
}

static int stands_already(struct sql_conn *conn, const struct call *call,
                          const struct registry_server *server, bool *ret, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT EXISTS (SELECT FROM public.database_servers WHERE (name, host, port, "
                "sslmode, ca_pem, target_session_attrs) = (");
    append_server(&query, server);
    SQL(&query, "))");
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    *ret = sql_bool(rows, 0, 0);
    return 0;
}

static int put_server(struct sql_conn *conn, const struct call *call,
                      const struct registry_server *server, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "INSERT INTO public.database_servers (name, host, port, sslmode, ca_pem, "
                "target_session_attrs) VALUES (");
    append_server(&query, server);
    SQL(&query, ") ON CONFLICT (name) DO UPDATE SET host = excluded.host, port = excluded.port, "
                "sslmode = excluded.sslmode, ca_pem = excluded.ca_pem, "
                "target_session_attrs = excluded.target_session_attrs, updated_at = now()");
    return sql_exec(conn, call, &query, NULL, err);
}

int registry_server_put(struct registry *registry, struct reconcile *rc,
                        const struct registry_server *server, struct err *err)
{
    AUTO(registry_loan) struct registry_loan loan = {0};
    bool stands = false;

    if (registry_borrow(registry, rc, &loan, err)) {
        return -1;
    }
    if (registry_grant_gateway(loan.conn, &rc->call, err) ||
        stands_already(loan.conn, &rc->call, server, &stands, err) ||
        (!stands && put_server(loan.conn, &rc->call, server, err))) {
        return registry_loan_report(&loan, err);
    }
    return 0;
}

int registry_server_remove(struct registry *registry, struct reconcile *rc, const char *name,
                           struct err *err)
{
    AUTO(registry_loan) struct registry_loan loan = {0};
    AUTO(sql) struct sql query = {0};

    if (registry_borrow(registry, rc, &loan, err)) {
        return -1;
    }
    sql_init(&query);
    SQL(&query, "DELETE FROM public.database_servers WHERE name = ");
    sql_param(&query, name);
    return sql_exec(loan.conn, &rc->call, &query, NULL, err) ? registry_loan_report(&loan, err) : 0;
}
