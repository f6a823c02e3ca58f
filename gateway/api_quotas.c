/* Quotas of any resource: GET shows them, POST changes several at once, all or none, for the
 * platform's own programs. */
#include <inttypes.h>
#include <string.h>

#include "controller/base/clock.h"
#include "controller/base/log.h"
#include "gateway/api_internal.h"
#include "gateway/quota_sql.h"
#include "reconcilers/drivers/sql_pool.h"

enum { QUOTAS_MAX = 1000, CHANGES_MAX = 64, PATIENCE_MS = 2000, RETRY_MS = 100 };

/* -1 is unlimited, as in the API. */
static int64_t shown_limit(int64_t limit)
{
    return limit == INT64_MAX ? -1 : limit;
}

static void write_quota(struct jsonw *writer, const char *resource, int64_t used, int64_t limit)
{
    jsonw_object(writer, NULL);
    jsonw_text(writer, "resource", resource);
    jsonw_int(writer, "current", used);
    jsonw_int(writer, "limit", shown_limit(limit));
    jsonw_int(writer, "remaining", limit == INT64_MAX ? -1 : limit > used ? limit - used : 0);
    jsonw_end_object(writer);
}

static int read_quotas(struct api_call *call, const struct call *limits, struct sql_rows **ret,
                       struct err *err)
{
    AUTO(sql_loan) struct sql_loan loan = {0};
    AUTO(sql) struct sql query = {0};

    if (sql_loan_take(&loan, call->gateway->registry, limits, err)) {
        return -1;
    }
    sql_init(&query);
    SQL(&query, "SELECT resource_type, CASE WHEN period_start < public.quota_month(");
    quota_append_ahead(&query);
    SQL(&query, ") THEN 0 ELSE coalesce(current_usage, 0) END, quota_limit "
                "FROM public.tenant_quotas WHERE tenant_id = ");
    sql_param(&query, call->record->facts.id);
    SQL(&query, " ORDER BY resource_type LIMIT ");
    sql_integer(&query, QUOTAS_MAX);
    return sql_query(loan.conn, limits, &query, ret, err);
}

int api_append_quotas(struct api_call *call, const struct call *limits, struct jsonw *writer,
                      const char *name, struct err *err)
{
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    if (read_quotas(call, limits, &rows, err)) {
        log_warn(NULL, "quotas cannot be read", KV("tenant", call->record->facts.subdomain),
                 KV_ERR(err));
        return -1;
    }
    jsonw_array(writer, name);
    for (int row = 0; row < sql_row_count(rows); row++) {
        write_quota(writer, sql_text(rows, row, 0), sql_int(rows, row, 1), sql_int(rows, row, 2));
    }
    jsonw_end_array(writer);
    return 0;
}

void api_list_quotas(struct api_call *call)
{
    const struct call limits = api_deadline();
    struct jsonw writer;
    struct err err;

    jsonw_init(&writer, &call->answer);
    if (api_append_quotas(call, &limits, &writer, NULL, &err)) {
        api_fail(call, 503, "Quota system error");
        return;
    }
    call->status = 200;
}

/* ---- changing ---- */

/* The columns of quota_change. */
enum { RESULT_RESOURCE, RESULT_FITS, RESULT_USED, RESULT_LIMIT, RESULT_OTHERS };

static int change(struct api_call *call, const struct call *limits, const char *changes, bool dry,
                  struct sql_rows **ret, struct err *err)
{
    AUTO(sql_loan) struct sql_loan loan = {0};
    AUTO(sql) struct sql query = {0};

    if (sql_loan_take(&loan, call->gateway->registry, limits, err)) {
        return -1;
    }
    sql_init(&query);
    SQL(&query, "SELECT resource, fits, used, quota_limit, coalesce(others, 0) "
                "FROM public.quota_change(");
    sql_param(&query, call->record->facts.id);
    SQL(&query, "::uuid, ");
    sql_param(&query, changes);
    SQL(&query, "::jsonb, ");
    quota_append_ahead(&query);
    SQL(&query, ")");
    if (!dry) {
        return sql_exec(loan.conn, limits, &query, ret, err);
    }
    if (sql_begin(loan.conn, limits, err)) {
        return -1;
    }
    int result = sql_exec(loan.conn, limits, &query, ret, err);
    sql_rollback(loan.conn);
    return result;
}

/* The first row that does not fit; -1 when all do. */
static int find_refusal(const struct sql_rows *rows)
{
    for (int row = 0; row < sql_row_count(rows); row++) {
        if (!sql_bool(rows, row, RESULT_FITS)) {
            return row;
        }
    }
    return -1;
}

/* Try, and try again while gateways hold what would make it fit; they have been called upon. */
static int change_patiently(struct api_call *call, const char *changes, bool dry,
                            struct sql_rows **ret, int *ret_refusal, struct err *err)
{
    const struct call limits = api_deadline();
    int64_t until_ms = clock_monotonic_ms() + PATIENCE_MS;

    for (;;) {
        AUTO(sql_rows) struct sql_rows *rows = NULL;
        if (change(call, &limits, changes, dry, &rows, err)) {
            return -1;
        }
        *ret_refusal = find_refusal(rows);
        bool may_come = *ret_refusal >= 0 && sql_int(rows, *ret_refusal, RESULT_OTHERS) > 0;
        if (!may_come || clock_monotonic_ms() > until_ms || !cancel_sleep_ms(NULL, RETRY_MS)) {
            *ret = TAKE(rows);
            return 0;
        }
    }
}

static void answer_refusal(struct api_call *call, const struct sql_rows *rows, int row)
{
    struct jsonw writer;

    call->status = 429;
    jsonw_init(&writer, &call->answer);
    jsonw_object(&writer, NULL);
    jsonw_text(&writer, "error", "Quota exceeded");
    if (sql_is_null(rows, row, RESULT_LIMIT)) {
        jsonw_text(&writer, "message", "Quota not configured");
    } else {
        jsonw_printf(&writer, "message", "Quota exceeded for %s",
                     sql_text(rows, row, RESULT_RESOURCE));
        jsonw_int(&writer, "current", sql_int(rows, row, RESULT_USED));
        jsonw_int(&writer, "limit", shown_limit(sql_int(rows, row, RESULT_LIMIT)));
    }
    jsonw_end_object(&writer);
}

static void answer_change(struct api_call *call, const json_t *changes, bool dry,
                          const struct sql_rows *rows)
{
    struct jsonw writer;

    call->status = 200;
    jsonw_init(&writer, &call->answer);
    jsonw_array(&writer, NULL);
    for (int row = 0; row < sql_row_count(rows); row++) {
        const char *resource = sql_text(rows, row, RESULT_RESOURCE);
        int64_t by = dry ? 0 : json_integer_value(json_object_get(changes, resource));
        int64_t used = sql_int(rows, row, RESULT_USED);
        used = by < 0 && used < -by ? 0 : used + by;
        write_quota(&writer, resource, used, sql_int(rows, row, RESULT_LIMIT));
    }
    jsonw_end_array(&writer);
}

static bool are_changes(const json_t *changes)
{
    const char *name = NULL;
    json_t *value = NULL;

    if (!json_is_object(changes) || json_object_size(changes) == 0 ||
        json_object_size(changes) > CHANGES_MAX) {
        return false;
    }
    json_object_foreach((json_t *)changes, name, value)
    {
        if (!json_is_integer(value) || json_integer_value(value) == INT64_MIN) {
            return false;
        }
    }
    return true;
}

void api_change_quotas(struct api_call *call)
{
    AUTO(json) json_t *body = NULL;
    AUTO(sql_rows) struct sql_rows *rows = NULL;
    struct err err;
    int refusal = -1;

    if (!api_read_body(call, &body)) {
        return;
    }
    const json_t *changes = js_at(body, "/changes");
    bool dry = js_bool_or(body, "/check", false);
    if (!are_changes(changes)) {
        api_fail(call, 400, "changes must be an object of whole numbers, such as {\"users\": 1}");
        return;
    }
    AUTO(free) char *text = js_print(changes);
    if (change_patiently(call, text, dry, &rows, &refusal, &err)) {
        log_warn(NULL, "quotas cannot be changed", KV("tenant", call->record->facts.subdomain),
                 KV_ERR(&err));
        api_fail(call, 503, "Quota system error");
    } else if (refusal >= 0) {
        answer_refusal(call, rows, refusal);
    } else {
        answer_change(call, changes, dry, rows);
    }
}
