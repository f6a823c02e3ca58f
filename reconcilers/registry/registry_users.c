/* The people of a tenant, in tenant_users. */
#include "controller/base/str.h"
#include "reconcilers/drivers/sql.h"
#include "reconcilers/registry/registry.h"

/* ---- one person ---- */

static int read_user(struct sql_conn *conn, const struct call *call, const char *tenant_id,
                     const char *email, const char *role, const char *status, bool *ret_equal,
                     struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT role, status FROM public.tenant_users WHERE tenant_id = ");
    sql_param(&query, tenant_id);
    SQL(&query, " AND email = ");
    sql_param(&query, email);
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    *ret_equal = sql_row_count(rows) == 1 && text_equal(sql_text(rows, 0, 0), role) &&
                 text_equal(sql_text(rows, 0, 1), status);
    return 0;
}

static int write_user(struct sql_conn *conn, const struct call *call, const char *tenant_id,
                      const char *email, const char *role, const char *status, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "INSERT INTO public.tenant_users (tenant_id, email, role, status) VALUES (");
    sql_param(&query, tenant_id);
    SQL(&query, ", ");
    sql_param(&query, email);
    SQL(&query, ", ");
    sql_param(&query, role);
    SQL(&query, ", ");
    sql_param(&query, status);
    SQL(&query, ") ON CONFLICT (tenant_id, email) DO UPDATE SET role = excluded.role, "
                "status = excluded.status");
    return sql_exec(conn, call, &query, NULL, err);
}

int registry_user_put(struct registry *registry, struct reconcile *rc, const char *tenant_id,
                      const char *email, const char *role, const char *status, struct err *err)
{
    AUTO(registry_loan) struct registry_loan loan = {0};
    bool equal = false;

    if (registry_borrow(registry, rc, &loan, err)) {
        return -1;
    }
    if (read_user(loan.conn, &rc->call, tenant_id, email, role, status, &equal, err) ||
        (!equal && write_user(loan.conn, &rc->call, tenant_id, email, role, status, err))) {
        return registry_loan_report(&loan, err);
    }
    return 0;
}

/* ---- the owner ---- */

enum owner_state {
    OWNER_EQUAL,   /* the address is the owner's, and active */
    OWNER_RENAMED, /* there is an owner, of another address */
    OWNER_MISSING, /* nobody is owner */
};

/* Members may be owners too; the owner of the spec is the one who was there first. */
static int read_owner(struct sql_conn *conn, const struct call *call, const char *tenant_id,
                      const char *email, enum owner_state *ret_state, char ret_id[UUID_TEXT_BYTES],
                      struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT id, email = ");
    sql_param(&query, email);
    SQL(&query, " AND status IS NOT DISTINCT FROM 'active' FROM public.tenant_users "
                "WHERE role = 'owner' AND tenant_id = ");
    sql_param(&query, tenant_id);
    SQL(&query, " ORDER BY email = ");
    sql_param(&query, email);
    SQL(&query, " DESC, created_at, id LIMIT 1");
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    *ret_state = sql_row_count(rows) == 0 ? OWNER_MISSING
                 : sql_bool(rows, 0, 1)   ? OWNER_EQUAL
                                          : OWNER_RENAMED;
    (void)snprintf(ret_id, UUID_TEXT_BYTES, "%s", sql_text(rows, 0, 0));
    return 0;
}

/* The owner's row takes the address. Whoever had it as a member is the owner now, and one row is
 * enough for one person. */
static int rename_owner(struct sql_conn *conn, const struct call *call, const char *tenant_id,
                        const char *id, const char *email, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "DELETE FROM public.tenant_users WHERE tenant_id = ");
    sql_param(&query, tenant_id);
    SQL(&query, " AND email = ");
    sql_param(&query, email);
    SQL(&query, " AND id <> ");
    sql_param(&query, id);
    if (sql_begin(conn, call, err) || sql_exec(conn, call, &query, NULL, err)) {
        return -1;
    }
    sql_clear(&query);
    SQL(&query, "UPDATE public.tenant_users SET status = 'active', email = ");
    sql_param(&query, email);
    SQL(&query, " WHERE id = ");
    sql_param(&query, id);
    if (sql_exec(conn, call, &query, NULL, err)) {
        return -1;
    }
    return sql_commit(conn, call, err);
}

int registry_owner_put(struct registry *registry, struct reconcile *rc, const char *tenant_id,
                       const char *email, struct err *err)
{
    AUTO(registry_loan) struct registry_loan loan = {0};
    enum owner_state state = OWNER_EQUAL;
    char id[UUID_TEXT_BYTES];
    int result = 0;

    if (registry_borrow(registry, rc, &loan, err)) {
        return -1;
    }
    if (read_owner(loan.conn, &rc->call, tenant_id, email, &state, id, err)) {
        return registry_loan_report(&loan, err);
    }
    if (state == OWNER_MISSING) {
        result = write_user(loan.conn, &rc->call, tenant_id, email, "owner", "active", err);
    } else if (state == OWNER_RENAMED) {
        result = rename_owner(loan.conn, &rc->call, tenant_id, id, email, err);
    }
    return result ? registry_loan_report(&loan, err) : 0;
}
