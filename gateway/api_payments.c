/* POST /api/payments: what the platform took for a tenant's bill, told by whoever took it. Recorded
 * once by the id it has there, however often it is told; open to suspended tenants, who may be so
 * for not having paid. */
#include <string.h>

#include "controller/base/clock.h"
#include "controller/base/log.h"
#include "gateway/api_internal.h"
#include "reconcilers/drivers/sql_pool.h"

enum { ID_MAX_BYTES = 200, CURRENCY_BYTES = 3, WHOLE_DIGITS_MAX = 8, CENTS_DIGITS = 2 };

struct payment {
    const char *external_id;
    const char *period; /* the first day of the bill's period */
    const char *amount;
    const char *currency;
    const char *paid_at;
};

/* "49", "49.5", "49.00": money is text, so that nothing makes a binary number of it. */
static bool is_amount(const char *text)
{
    size_t whole = strspn(text, "0123456789");
    const char *rest = text + whole;

    if (whole == 0 || whole > WHOLE_DIGITS_MAX || strspn(text, "0.") == strlen(text)) {
        return false;
    }
    if (*rest == '\0') {
        return true;
    }
    size_t cents = strspn(rest + 1, "0123456789");
    return *rest == '.' && cents > 0 && cents <= CENTS_DIGITS && rest[1 + cents] == '\0';
}

static bool is_day(const char *text)
{
    char instant[CLOCK_TEXT_BYTES];
    int64_t us = 0;
    int length = snprintf(instant, sizeof(instant), "%sT00:00:00Z", text);

    return length > 0 && (size_t)length < sizeof(instant) && clock_parse(str_from(instant), &us);
}

static bool read_payment(const json_t *body, struct payment *ret)
{
    int64_t us = 0;

    *ret = (struct payment){
        .external_id = js_text_or(body, "/externalID", ""),
        .period = js_text_or(body, "/periodStart", ""),
        .amount = js_text_or(body, "/amount", ""),
        .currency = js_text_or(body, "/currency", ""),
        .paid_at = js_text_or(body, "/paidAt", ""),
    };
    return !text_is_empty(ret->external_id) && strlen(ret->external_id) <= ID_MAX_BYTES &&
           is_day(ret->period) && is_amount(ret->amount) &&
           strspn(ret->currency, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == CURRENCY_BYTES &&
           strlen(ret->currency) == CURRENCY_BYTES && clock_parse(str_from(ret->paid_at), &us);
}

static int record(const struct api_call *call, const struct payment *payment,
                  struct sql_rows **ret_rows, struct err *err)
{
    const struct call limits = api_deadline();
    AUTO(sql_loan) struct sql_loan loan = {0};
    AUTO(sql) struct sql query = {0};

    if (sql_loan_take(&loan, call->gateway->registry, &limits, err)) {
        return -1;
    }
    sql_init(&query);
    SQL(&query, "SELECT public.billing_record_payment(");
    sql_param(&query, payment->external_id);
    SQL(&query, ", ");
    sql_param(&query, call->record->facts.id);
    SQL(&query, "::uuid, ");
    sql_param(&query, payment->period);
    SQL(&query, "::date, ");
    sql_param(&query, payment->amount);
    SQL(&query, "::numeric, ");
    sql_param(&query, payment->currency);
    SQL(&query, ", ");
    sql_param(&query, payment->paid_at);
    SQL(&query, "::timestamptz, ");
    sql_now(&query);
    SQL(&query, ")");
    return sql_exec(loan.conn, &limits, &query, ret_rows, err);
}

void api_record_payment(struct api_call *call)
{
    AUTO(json) json_t *body = NULL;
    AUTO(sql_rows) struct sql_rows *rows = NULL;
    struct payment payment;
    struct err err = {0};

    if (!api_read_body(call, &body)) {
        return;
    }
    if (!read_payment(body, &payment)) {
        api_fail(call, 400,
                 "externalID, periodStart (2026-11-01), amount (\"49.00\"), currency and paidAt "
                 "are needed, as strings");
    } else if (record(call, &payment, &rows, &err) == 0) {
        call->status = 200;
        (void)buf_append_text(&call->answer, sql_text(rows, 0, 0));
    } else if (err_has_code(&err, "TY404")) {
        api_fail(call, 404, "No such bill");
    } else if (err_has_code(&err, "TY409")) {
        api_fail(call, 409,
                 "The payment is recorded already, and was another one, or has another currency "
                 "than the bill");
    } else {
        log_warn(NULL, "a payment cannot be recorded", KV("tenant", call->record->facts.subdomain),
                 KV_ERR(&err));
        api_fail(call, 503, "Billing system error");
    }
}
