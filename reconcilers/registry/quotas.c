/* The step Quotas: one row of tenant_quotas a resource. Limits are derived, so a change of them by
 * others is healed; current_usage belongs to whoever counts. The step only reads it, but for that
 * of sandboxes, which follows from the spec. */
#include <string.h>

#include "controller/base/buf.h"
#include "controller/base/jsonw.h"
#include "reconcilers/drivers/sql.h"
#include "reconcilers/model/template.h"
#include "reconcilers/model/work.h"
#include "reconcilers/registry/quotas_plan.h"
#include "reconcilers/registry/registry.h"
#include "reconcilers/registry/steps.h"

enum { LIMITS_MAX_BYTES = 64 * 1024, NAMES_MAX_BYTES = 256 * 1024, ROWS_MAX = 1000 };

static int observe(struct reconcile *rc, struct sql_conn *conn, const char *tenant_id,
                   struct quota_row **ret_rows, size_t *ret_count, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT resource_type, coalesce(current_usage, 0), quota_limit "
                "FROM public.tenant_quotas WHERE tenant_id = ");
    sql_param(&query, tenant_id);
    SQL(&query, " ORDER BY resource_type LIMIT ");
    sql_integer(&query, ROWS_MAX);
    if (sql_query(conn, &rc->call, &query, &rows, err)) {
        return -1;
    }
    size_t count = (size_t)sql_row_count(rows);
    struct quota_row *list = ARENA_ARRAY(rc->arena, struct quota_row, count);
    for (size_t i = 0; i < count; i++) {
        list[i].resource = arena_strdup(rc->arena, sql_text(rows, (int)i, 0));
        list[i].used = sql_int(rows, (int)i, 1);
        list[i].limit = sql_int(rows, (int)i, 2);
    }
    *ret_rows = list;
    *ret_count = count;
    return 0;
}

/* One statement for all that is missing or has another limit. */
static int set_limits(struct reconcile *rc, struct sql_conn *conn, const char *tenant_id,
                      const struct quotas_plan *plan, struct err *err)
{
    AUTO(buf) struct buf limits = BUF(LIMITS_MAX_BYTES);
    AUTO(sql) struct sql query = {0};
    struct jsonw writer;

    jsonw_init(&writer, &limits);
    jsonw_object(&writer, NULL);
    for (size_t i = 0; i < plan->set_count; i++) {
        jsonw_int(&writer, plan->set[i]->resource, quota_stored(plan->set[i]->limit));
    }
    jsonw_end_object(&writer);
    sql_init(&query);
    SQL(&query, "INSERT INTO public.tenant_quotas AS q (tenant_id, resource_type, quota_limit, "
                "period_start) SELECT ");
    sql_param(&query, tenant_id);
    SQL(&query, "::uuid, key, value::bigint, "
                "CASE WHEN public.quota_is_monthly(key) THEN public.utc_month(");
    sql_now(&query);
    SQL(&query, ") END FROM jsonb_each_text(");
    sql_param(&query, buf_text(&limits));
    SQL(&query, "::jsonb) ON CONFLICT (tenant_id, resource_type) DO UPDATE "
                "SET quota_limit = excluded.quota_limit, updated_at = ");
    sql_now(&query);
    SQL(&query, " WHERE q.quota_limit <> excluded.quota_limit");
    return sql_exec(conn, &rc->call, &query, NULL, err);
}

static int remove_rows(struct reconcile *rc, struct sql_conn *conn, const char *tenant_id,
                       const struct quotas_plan *plan, struct err *err)
{
    AUTO(buf) struct buf names = BUF(NAMES_MAX_BYTES);
    AUTO(sql) struct sql query = {0};
    struct jsonw writer;

    jsonw_init(&writer, &names);
    jsonw_array(&writer, NULL);
    for (size_t i = 0; i < plan->remove_count; i++) {
        jsonw_text(&writer, NULL, plan->remove[i]->resource);
    }
    jsonw_end_array(&writer);
    sql_init(&query);
    SQL(&query, "DELETE FROM public.tenant_quotas WHERE tenant_id = ");
    sql_param(&query, tenant_id);
    SQL(&query, " AND resource_type IN (SELECT jsonb_array_elements_text(");
    sql_param(&query, buf_text(&names));
    SQL(&query, "::jsonb))");
    return sql_exec(conn, &rc->call, &query, NULL, err);
}

static int put_use(struct sql_conn *conn, const struct call *call, const char *tenant_id,
                   const char *resource, int64_t used, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "UPDATE public.tenant_quotas SET current_usage = ");
    sql_param_int(&query, used);
    SQL(&query, "::bigint, updated_at = ");
    sql_now(&query);
    SQL(&query, " WHERE resource_type = ");
    sql_param(&query, resource);
    SQL(&query, " AND tenant_id = ");
    sql_param(&query, tenant_id);
    SQL(&query, " AND current_usage IS DISTINCT FROM ");
    sql_param_int(&query, used);
    SQL(&query, "::bigint");
    return sql_exec(conn, call, &query, NULL, err);
}

int registry_quota_use(struct registry *registry, struct reconcile *rc, const char *tenant_id,
                       const char *resource, int64_t used, struct err *err)
{
    AUTO(registry_loan) struct registry_loan loan = {0};

    if (registry_borrow(registry, rc, &loan, err)) {
        return -1;
    }
    return put_use(loan.conn, &rc->call, tenant_id, resource, used, err)
               ? registry_loan_report(&loan, err)
               : 0;
}

/* The sandboxes that the tenant has, whether they run now or not; not those beyond the quota. */
static int count_sandboxes(struct reconcile *rc, struct sql_conn *conn, struct tenant_work *work,
                           struct err *err)
{
    size_t listed = 0;
    int64_t limit = 0;
    int64_t used = 0;

    if (!work_quota(work, "sandboxes", &limit, &used)) {
        return 0;
    }
    (void)tenant_sandboxes(work->tenant, work->tier, &listed);
    int64_t count = limit >= 0 && (int64_t)listed > limit ? limit : (int64_t)listed;
    if (used == count) {
        return 0;
    }
    work_quota_use(work, "sandboxes", count);
    return put_use(conn, &rc->call, work->tenant_id, "sandboxes", count, err);
}

/* What the status shows. */
static void report(struct tenant_work *work, struct arena *arena, const struct quota *wanted,
                   size_t wanted_count, const struct quota_row *rows, size_t row_count)
{
    int64_t *used = ARENA_ARRAY(arena, int64_t, wanted_count);

    for (size_t i = 0; i < wanted_count; i++) {
        for (size_t j = 0; j < row_count; j++) {
            if (strcmp(rows[j].resource, wanted[i].resource) == 0) {
                used[i] = rows[j].used;
            }
        }
    }
    work->quotas = wanted;
    work->quotas_used = used;
    work->quota_count = wanted_count;
    work->quota_exceeded = quotas_excess(arena, wanted, wanted_count, rows, row_count);
}

/* Without a tier (the tenant is suspended and its tier is gone) the rows stay as they are. */
static const struct quota *as_stored(struct arena *arena, const struct quota_row *rows,
                                     size_t count)
{
    struct quota *quotas = ARENA_ARRAY(arena, struct quota, count);

    for (size_t i = 0; i < count; i++) {
        quotas[i].resource = rows[i].resource;
        quotas[i].limit = rows[i].limit == INT64_MAX ? -1 : rows[i].limit;
    }
    return quotas;
}

static int ensure(struct reconcile *rc, struct tenant_work *work, struct sql_conn *conn,
                  struct err *err)
{
    struct quota_row *rows = NULL;
    size_t row_count = 0;
    size_t wanted_count = 0;
    struct quotas_plan plan = {0};

    if (observe(rc, conn, work->tenant_id, &rows, &row_count, err)) {
        return -1;
    }
    if (!work->tier) {
        report(work, rc->arena, as_stored(rc->arena, rows, row_count), row_count, rows, row_count);
        return 0;
    }
    const struct quota *wanted =
        quotas_effective(rc->arena, work->tier, work->tenant, &wanted_count);
    quotas_plan(rc->arena, wanted, wanted_count, rows, row_count, &plan);
    if ((plan.set_count > 0 && set_limits(rc, conn, work->tenant_id, &plan, err)) ||
        (plan.remove_count > 0 && remove_rows(rc, conn, work->tenant_id, &plan, err))) {
        return -1;
    }
    report(work, rc->arena, wanted, wanted_count, rows, row_count);
    return count_sandboxes(rc, conn, work, err);
}

int quotas_ensure(struct reconcile *rc, void *subject, struct err *err)
{
    struct tenant_work *work = subject;
    AUTO(registry_loan) struct registry_loan loan = {0};

    if (registry_borrow(work->services->registry, rc, &loan, err)) {
        return -1;
    }
    return ensure(rc, work, loan.conn, err) ? registry_loan_report(&loan, err) : 0;
}
