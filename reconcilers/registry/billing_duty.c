/* What billing asks of time: one look over all tenants tells which passes have work, and each of
 * those is made in small transactions (billing_pass in the registry), so that none holds locks for
 * long. What must happen once is made once by the database; two controllers at once only share the
 * work. */
#include "controller/base/clock.h"
#include "controller/base/metrics.h"
#include "controller/base/str.h"
#include "reconcilers/registry/billing.h"
#include "reconcilers/registry/registry.h"

enum {
    PASS_ROWS = 200,    /* tenants or rows in one transaction */
    PASS_REPEATS = 500, /* transactions of one pass: then the others have their turn */
};
static const int64_t hour_us = INT64_C(3600) * 1000000;

const char BILLING_KEY[] = "fleet";

static struct metric rows_metric =
    METRIC_COUNTER("tenantry_billing_rows_total",
                   "Tenants, quotas and bills that a pass of the billing duty worked on.", "pass");
static struct metric seconds_metric =
    METRIC_GAUGE("tenantry_billing_last_success_timestamp_seconds",
                 "When the billing duty last looked at everything and left nothing to do.");

/* One time for a whole look, so that no pass is in another month than the one before it. */
struct look {
    char *now; /* as PostgreSQL prints it; in the arena */
    int64_t now_us;
    bool full;
};

static int begin_look(struct sql_conn *conn, struct reconcile *rc, const struct billing_duty *duty,
                      struct look *ret, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT at, (extract(epoch FROM at) * 1000000)::bigint FROM (SELECT ");
    sql_now(&query);
    SQL(&query, " AS at) clock");
    if (sql_query(conn, &rc->call, &query, &rows, err)) {
        return -1;
    }
    ret->now = arena_strdup(rc->arena, sql_text(rows, 0, 0));
    ret->now_us = sql_int(rows, 0, 1);
    ret->full = ret->now_us / hour_us != duty->full_hour;
    return 0;
}

static int observe(struct sql_conn *conn, struct reconcile *rc, const struct look *look,
                   struct sql_rows **ret_passes, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "SELECT public.billing_work(");
    sql_param(&query, look->now);
    SQL(&query, "::timestamptz, ");
    sql_param(&query, look->full ? "true" : "false");
    SQL(&query, "::boolean)");
    return sql_query(conn, &rc->call, &query, ret_passes, err);
}

static int run_pass(struct sql_conn *conn, struct reconcile *rc, const struct look *look,
                    const char *pass, int64_t *ret_rows, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT public.billing_pass(");
    sql_param(&query, pass);
    SQL(&query, ", ");
    sql_param(&query, look->now);
    SQL(&query, "::timestamptz, ");
    sql_param(&query, look->full ? "true" : "false");
    SQL(&query, "::boolean, ");
    sql_integer(&query, PASS_ROWS);
    SQL(&query, ")");
    if (sql_exec(conn, &rc->call, &query, &rows, err)) {
        return err_wrap(err, "billing pass %s", pass);
    }
    *ret_rows = sql_int(rows, 0, 0);
    return 0;
}

/* Nothing is left of the pass once it found less than it may take. */
static int finish_pass(struct sql_conn *conn, struct reconcile *rc, const struct look *look,
                       const char *pass, struct err *err)
{
    int64_t rows = PASS_ROWS;

    for (int i = 0; i < PASS_REPEATS && rows >= PASS_ROWS; i++) {
        if (run_pass(conn, rc, look, pass, &rows, err)) {
            return -1;
        }
        metric_add(&rows_metric, rows, pass);
    }
    return 0;
}

/* Tenants whose hold is not yet realised, or not yet lifted. */
static int wake_held(struct sql_conn *conn, struct reconcile *rc, struct queue *tenants,
                     struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT tenant_name FROM public.tenants WHERE status <> 'deleted' "
                "AND tenant_name IS NOT NULL AND billing_held <> (billing_hold_at IS NOT NULL)");
    if (sql_query(conn, &rc->call, &query, &rows, err)) {
        return -1;
    }
    for (int i = 0; tenants && i < sql_row_count(rows); i++) {
        /* By a timer, as drift is checked: neither spec nor tier has changed. */
        queue_add_after(tenants, sql_text(rows, i, 0), 1, QUEUE_NORMAL);
    }
    return 0;
}

static int look_once(struct reconcile *rc, struct billing_duty *duty, struct sql_conn *conn,
                     struct look *look, struct err *err)
{
    AUTO(sql_rows) struct sql_rows *passes = NULL;

    if (begin_look(conn, rc, duty, look, err) || observe(conn, rc, look, &passes, err)) {
        return -1;
    }
    for (int i = 0; i < sql_row_count(passes); i++) {
        if (finish_pass(conn, rc, look, sql_text(passes, i, 0), err)) {
            return -1;
        }
    }
    if (wake_held(conn, rc, duty->tenants, err)) {
        return -1;
    }
    duty->full_hour = look->now_us / hour_us;
    metric_set(&seconds_metric, (double)look->now_us / 1e6);
    return 0;
}

/* An hour's beginning may be a month's: what is counted then shall not be counted in the month
 * before. */
static int64_t next_look_ms(const struct billing_duty *duty)
{
    int64_t to_hour_ms = (hour_us - clock_wall_us() % hour_us) / 1000 + 1;

    return to_hour_ms < duty->period_ms ? to_hour_ms : duty->period_ms;
}

struct outcome billing_reconcile(struct reconcile *rc)
{
    struct billing_duty *duty = rc->environment;
    AUTO(registry_loan) struct registry_loan loan = {0};
    struct look look = {0};
    struct err err = {0};

    if (registry_borrow(duty->registry, rc, &loan, &err)) {
        return outcome_from_err(&err, duty->period_ms);
    }
    if (look_once(rc, duty, loan.conn, &look, &err)) {
        (void)registry_loan_report(&loan, &err);
        return outcome_from_err(&err, duty->period_ms);
    }
    return outcome_done(next_look_ms(duty));
}
