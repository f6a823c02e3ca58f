#include "reconcilers/registry/registry_mails.h"

#include "reconcilers/drivers/sql.h"

static int first_int(struct registry *registry, struct reconcile *rc, struct sql *query,
                     int64_t *ret, struct err *err)
{
    AUTO(registry_loan) struct registry_loan loan = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    if (registry_borrow(registry, rc, &loan, err)) {
        return -1;
    }
    if (sql_query(loan.conn, &rc->call, query, &rows, err)) {
        return registry_loan_report(&loan, err);
    }
    *ret = sql_row_count(rows) > 0 ? sql_int(rows, 0, 0) : 0;
    return 0;
}

int registry_mail_is_sent(struct registry *registry, struct reconcile *rc, const char *tenant_id,
                          const char *kind, const char *recipient, bool *ret, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    int64_t count = 0;

    sql_init(&query);
    SQL(&query, "SELECT count(*) FROM public.tenant_mails WHERE tenant_id = ");
    sql_param(&query, tenant_id);
    SQL(&query, " AND kind = ");
    sql_param(&query, kind);
    SQL(&query, " AND recipient = ");
    sql_param(&query, recipient);
    if (first_int(registry, rc, &query, &count, err)) {
        return -1;
    }
    *ret = count > 0;
    return 0;
}

int registry_mail_put(struct registry *registry, struct reconcile *rc, const char *tenant_id,
                      const char *kind, const char *recipient, const char *message_id,
                      struct err *err)
{
    AUTO(registry_loan) struct registry_loan loan = {0};
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query,
        "INSERT INTO public.tenant_mails (tenant_id, kind, recipient, message_id) VALUES (");
    sql_param(&query, tenant_id);
    SQL(&query, ", ");
    sql_param(&query, kind);
    SQL(&query, ", ");
    sql_param(&query, recipient);
    SQL(&query, ", ");
    sql_param(&query, message_id);
    SQL(&query, ") ON CONFLICT DO NOTHING");
    if (registry_borrow(registry, rc, &loan, err)) {
        return -1;
    }
    return sql_exec(loan.conn, &rc->call, &query, NULL, err) ? registry_loan_report(&loan, err) : 0;
}

int registry_digest_age(struct registry *registry, struct reconcile *rc, const char *tenant_id,
                        const char *kind, int64_t *ret_s, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "SELECT extract(epoch FROM now() - updated_at)::bigint "
                "FROM public.tenant_credentials WHERE tenant_id = ");
    sql_param(&query, tenant_id);
    SQL(&query, " AND kind = ");
    sql_param(&query, kind);
    return first_int(registry, rc, &query, ret_s, err);
}
