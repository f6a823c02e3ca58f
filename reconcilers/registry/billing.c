/* The step Billing: the tenant's periods and prices follow its record, and the status shows the
 * period that runs. What changes with time alone is the duty's (billing_duty.c). */
#include "reconcilers/registry/billing.h"

#include "controller/base/str.h"
#include "reconcilers/model/work.h"
#include "reconcilers/registry/registry.h"
#include "reconcilers/registry/steps.h"

enum { RESULT_CURRENT, RESULT_START, RESULT_END, RESULT_DUE, RESULT_CURRENCY, RESULT_STATUS };

int billing_follow(struct sql_conn *conn, const struct call *call, const char *id, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "SELECT public.billing_follow(");
    sql_param(&query, id);
    SQL(&query, "::uuid, ");
    sql_now(&query);
    SQL(&query, ")");
    return sql_exec(conn, call, &query, NULL, err);
}

static int observe(struct sql_conn *conn, struct reconcile *rc, const char *id, bool *ret_current,
                   struct billing_status *ret, struct err *err)
{
    enum { RESULT_OVERDUE = RESULT_STATUS + 1 };
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT public.billing_is_current(t, day.at), b.billing_period_start, "
                "b.billing_period_end, b.amount_due, b.currency, b.status, "
                "(SELECT sum(o.amount_due - coalesce(o.amount_paid, 0)) FROM public.tenant_billing "
                "o WHERE o.tenant_id = t.id AND o.status = 'overdue') "
                "FROM public.tenants t CROSS JOIN (SELECT ");
    sql_now(&query);
    SQL(&query, " AS at) day LEFT JOIN public.tenant_billing b ON b.tenant_id = t.id "
                "AND b.billing_period_start <= public.utc_day(day.at) "
                "AND b.billing_period_end > public.utc_day(day.at) WHERE t.id = ");
    sql_param(&query, id);
    if (sql_query(conn, &rc->call, &query, &rows, err)) {
        return -1;
    }
    *ret_current = sql_row_count(rows) == 0 || sql_bool(rows, 0, RESULT_CURRENT);
    if (sql_row_count(rows) > 0) {
        *ret = (struct billing_status){
            .period_start = arena_strdup(rc->arena, sql_text(rows, 0, RESULT_START)),
            .period_end = arena_strdup(rc->arena, sql_text(rows, 0, RESULT_END)),
            .amount_due = arena_strdup(rc->arena, sql_text(rows, 0, RESULT_DUE)),
            .currency = arena_strdup(rc->arena, sql_text(rows, 0, RESULT_CURRENCY)),
            .status = arena_strdup(rc->arena, sql_text(rows, 0, RESULT_STATUS)),
            .overdue = arena_strdup(rc->arena, sql_text(rows, 0, RESULT_OVERDUE)),
        };
    }
    return 0;
}

static int ensure(struct reconcile *rc, struct tenant_work *work, struct sql_conn *conn,
                  struct err *err)
{
    bool is_current = true;

    if (observe(conn, rc, work->tenant_id, &is_current, &work->billing, err)) {
        return -1;
    }
    if (is_current) {
        return 0;
    }
    return billing_follow(conn, &rc->call, work->tenant_id, err) ||
                   observe(conn, rc, work->tenant_id, &is_current, &work->billing, err)
               ? -1
               : 0;
}

int billing_ensure(struct reconcile *rc, void *subject, struct err *err)
{
    struct tenant_work *work = subject;
    AUTO(registry_loan) struct registry_loan loan = {0};

    if (registry_borrow(work->services->registry, rc, &loan, err)) {
        return -1;
    }
    return ensure(rc, work, loan.conn, err) ? registry_loan_report(&loan, err) : 0;
}
