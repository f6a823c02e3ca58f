#include "reconcilers/registry/registry_members.h"

#include "controller/base/arena.h"
#include "reconcilers/drivers/sql.h"

static const char *copy(struct arena *arena, const struct sql_rows *rows, int row, int column)
{
    return arena_strdup(arena, sql_text(rows, row, column));
}

static int list(struct sql_conn *conn, struct reconcile *rc, const char *tenant_id,
                const struct member_row **ret, size_t *ret_count, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT email, role, status, managed FROM public.tenant_users WHERE tenant_id = ");
    sql_param(&query, tenant_id);
    SQL(&query, " ORDER BY email");
    if (sql_query(conn, &rc->call, &query, &rows, err)) {
        return -1;
    }
    size_t count = (size_t)sql_row_count(rows);
    struct member_row *members = ARENA_ARRAY(rc->arena, struct member_row, count);
    for (size_t i = 0; i < count; i++) {
        members[i] = (struct member_row){
            .email = copy(rc->arena, rows, (int)i, 0),
            .role = copy(rc->arena, rows, (int)i, 1),
            .status = copy(rc->arena, rows, (int)i, 2),
            .managed = sql_bool(rows, (int)i, 3),
        };
    }
    *ret = members;
    *ret_count = count;
    return 0;
}

int registry_members_list(struct registry *registry, struct reconcile *rc, const char *tenant_id,
                          const struct member_row **ret, size_t *ret_count, struct err *err)
{
    AUTO(registry_loan) struct registry_loan loan = {0};

    if (registry_borrow(registry, rc, &loan, err)) {
        return -1;
    }
    return list(loan.conn, rc, tenant_id, ret, ret_count, err) ? registry_loan_report(&loan, err)
                                                               : 0;
}

static void append_people(struct sql *query, const char *people)
{
    SQL(query, " FROM jsonb_to_recordset(");
    sql_param(query, people);
    SQL(query, "::jsonb) AS p (email text, role text)");
}

static void append_change(struct sql *query, const char *tenant_id, enum member_change change,
                          const char *people)
{
    if (change == MEMBER_ROW_ACTIVE) {
        SQL(query, "INSERT INTO public.tenant_users (tenant_id, email, role, status, managed) "
                   "SELECT ");
        sql_param(query, tenant_id);
        SQL(query, "::uuid, p.email, p.role, 'active', true");
        append_people(query, people);
        SQL(query, " ON CONFLICT (tenant_id, email) DO UPDATE SET role = excluded.role, "
                   "status = 'active', managed = true");
        return;
    }
    if (change == MEMBER_ROW_GONE) {
        SQL(query, "DELETE FROM public.tenant_users");
    } else {
        SQL(query, "UPDATE public.tenant_users SET status = 'disabled'");
    }
    SQL(query, " WHERE tenant_id = ");
    sql_param(query, tenant_id);
    SQL(query, " AND managed AND email IN (SELECT p.email");
    append_people(query, people);
    SQL(query, ")");
}

int registry_members_write(struct registry *registry, struct reconcile *rc, const char *tenant_id,
                           enum member_change change, const char *people, struct err *err)
{
    AUTO(registry_loan) struct registry_loan loan = {0};
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    append_change(&query, tenant_id, change, people);
    if (registry_borrow(registry, rc, &loan, err)) {
        return -1;
    }
    return sql_exec(loan.conn, &rc->call, &query, NULL, err) ? registry_loan_report(&loan, err) : 0;
}
