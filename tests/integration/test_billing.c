/* Usage and bills: the ledger keeps every row, each once; bills close once and stay; what comes
 * late is adjusted; payments count once. The time is given to the functions of the registry here;
 * that the controller's own time moves them is in tests/billing. */
#include "tests/check.h"
#include "tests/integration/postgres.h"
#include "tests/integration/registry_fixture.h"

#include <pthread.h>

#include "controller/base/cancel.h"
#include "controller/base/clock.h"
#include "reconcilers/registry/billing.h"
#include "reconcilers/registry/steps.h"
#include "reconcilers/registry/usage.h"

enum { THREADS = 6 };

/* A tenant of 49 a month since 11 March, with 10,000 requests and 10 hours included. */
struct bill {
    const struct fixture *fixture;
    char *id; /* of the tenant */
};

static const char plan[] =
    "{\"currency\": \"EUR\", \"monthly\": \"49\", \"suspendAfterDays\": 7, "
    "\"overage\": {\"api_requests\": \"0.001\", \"compute_hours\": \"0.5\", \"storage_mb\": "
    "\"0.02\"}, "
    "\"included\": {\"api_requests\": 10000, \"compute_hours\": 10, \"storage_mb\": 1000}}";

static void bill_begin(struct bill *bill, const struct fixture *fixture, const char *cycle)
{
    bill->fixture = fixture;
    bill->id = postgres_text(
        fixture->conn,
        "INSERT INTO public.tenants (name, subdomain, tier, database_name, tenant_uid, "
        "tenant_name, plan, "
        "billing_cycle, created_at) VALUES ('a', 'a', 'premium', 'a', 'uid', 'a', '%s', '%s', "
        "'2031-03-11 10:00Z') RETURNING id",
        plan, cycle);
    postgres_run(
        fixture->conn,
        "INSERT INTO public.tenant_quotas (tenant_id, resource_type, quota_limit, period_start) "
        "SELECT '%s', r, 1000000, "
        "CASE WHEN public.quota_is_monthly(r) THEN '2031-03-01'::date END "
        "FROM unnest(ARRAY['api_requests', 'compute_hours', 'storage_mb', 'sandboxes', 'users']) r",
        bill->id);
}

static void auto_release_bill(const struct bill *bill)
{
    free(bill->id);
}

/* Everything that billing does at that time. */
static void tick(const struct bill *bill, const char *at)
{
    postgres_run(
        bill->fixture->conn,
        "DO $do$ DECLARE pass text; BEGIN FOR pass IN SELECT public.billing_work('%s', true) LOOP "
        "PERFORM public.billing_pass(pass, '%s', true, 100); END LOOP; END $do$",
        at, at);
}

static void check_work(const struct bill *bill, const char *at, const char *expected)
{
    AUTO(free)
    char *work = postgres_text(
        bill->fixture->conn,
        "SELECT coalesce(string_agg(w, ' '), '') FROM public.billing_work('%s', true) w", at);
    CHECK_TEXT(work, expected);
}

/* status, amount due and paid of the period that begins then. */
static void check_bill(const struct bill *bill, const char *start, const char *expected)
{
    AUTO(free)
    char *text = postgres_text(bill->fixture->conn,
                               "SELECT concat_ws(' ', status, CASE WHEN closed_at IS NULL THEN "
                               "'open' ELSE 'closed' END, amount_due, "
                               "amount_paid) FROM public.tenant_billing WHERE tenant_id = '%s' AND "
                               "billing_period_start = '%s'",
                               bill->id, start);
    CHECK_TEXT(text, expected);
}

static void use_requests(const struct bill *bill, int64_t count)
{
    postgres_run(bill->fixture->conn,
                 "UPDATE public.tenant_quotas SET current_usage = current_usage + %lld WHERE "
                 "tenant_id = '%s' AND resource_type = "
                 "'api_requests'",
                 (long long)count, bill->id);
}

static void check_refused(const struct bill *bill, const char *state, const char *format, ...)
    PRINTF_LIKE(3, 4);
static void check_refused(const struct bill *bill, const char *state, const char *format, ...)
{
    AUTO(free) char *text = NULL;
    va_list arguments;

    va_start(arguments, format);
    CHECK(vasprintf(&text, format, arguments) > 0);
    va_end(arguments);
    postgres_run(
        bill->fixture->conn,
        "CREATE OR REPLACE FUNCTION pg_temp.try(statement text) RETURNS text LANGUAGE plpgsql AS "
        "$try$ BEGIN "
        "EXECUTE statement; RETURN 'fine'; EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE; END $try$");
    AUTO(free)
    char *code = postgres_text(bill->fixture->conn, "SELECT pg_temp.try($sql$%s$sql$)", text);
    CHECK_TEXT(code, state);
}

/* ---- the ledger ---- */

static void the_ledger_is_append_only(void **state)
{
    AUTO(bill) struct bill bill = {0};

    bill_begin(&bill, *state, "monthly");
    tick(&bill, "2031-03-11 10:01Z");
    use_requests(&bill, 5);
    tick(&bill, "2031-03-12 10:00Z");
    CHECK_INT(
        postgres_int(bill.fixture->conn, "SELECT sum(quantity)::bigint FROM public.usage_ledger"),
        5);
    check_refused(&bill, "42501", "UPDATE public.usage_ledger SET quantity = 4");
    check_refused(&bill, "42501", "DELETE FROM public.usage_ledger");
    check_refused(&bill, "42501", "TRUNCATE public.usage_ledger");
    CHECK_INT(
        postgres_int(bill.fixture->conn, "SELECT sum(quantity)::bigint FROM public.usage_ledger"),
        5);
    /* A correction is a row more. */
    postgres_run(bill.fixture->conn, "SELECT public.usage_correct(min(id), -2, 'c', 'counted "
                                     "twice', '2031-03-13 10:00Z') FROM public.usage_ledger");
    CHECK_INT(
        postgres_int(bill.fixture->conn, "SELECT sum(quantity)::bigint FROM public.usage_ledger"),
        3);
    check_refused(
        &bill, "23503",
        "INSERT INTO public.usage_ledger (tenant_id, resource, kind, quantity, used_at, key, "
        "source, corrects) "
        "SELECT tenant_id, 'users', 'level', 1, used_at, 'd', 'x', id FROM public.usage_ledger");
}

static void flexprice_605_usage_of_a_key_counts_once(void **state)
{
    AUTO(bill) struct bill bill = {0};
    AUTO(arena) struct arena arena = {0};
    struct reconcile rc = {.arena = &arena, .key = "a"};
    struct err err = {0};
    int64_t now_us = clock_wall_us();
    const struct usage items[] = {
        {"compute_hours", USAGE_COUNT, "1.75", now_us, "pod-1", "test"},
        {"compute_hours", USAGE_COUNT, "0.5", now_us, "pod-2", "test"},
    };
    const struct usage other = {"compute_hours", USAGE_COUNT, "2", now_us, "pod-1", "test"};

    arena_init(&arena, 0);
    bill_begin(&bill, *state, "monthly");
    struct registry *registry = bill.fixture->services.registry;
    for (int i = 0; i < 3; i++) {
        CHECK_OK(usage_record(registry, &rc, bill.id, items, ARRAY_COUNT(items), &err), &err);
    }
    CHECK_FAILS(usage_record(registry, &rc, bill.id, &other, 1, &err), &err, ERR_TERMINAL,
                "UsageConflict");
    CHECK_INT(
        postgres_int(bill.fixture->conn,
                     "SELECT count(*) FROM public.usage_ledger WHERE quantity IN (1.75, 0.5)"),
        2);
    /* The quota counts whole hours, and what it counts is not metered again. */
    CHECK_INT(
        postgres_int(
            bill.fixture->conn,
            "SELECT current_usage FROM public.tenant_quotas WHERE resource_type = 'compute_hours'"),
        2);
    CHECK_INT(postgres_int(
                  bill.fixture->conn,
                  "SELECT metered FROM public.tenant_quotas WHERE resource_type = 'compute_hours'"),
              2);
    CHECK_INT(postgres_int(bill.fixture->conn,
                           "SELECT (compute_hours_used * 100)::bigint FROM public.tenant_billing "
                           "WHERE now() >= billing_period_start AND now() < billing_period_end"),
              225);
}

static void lago_879_a_month_is_rolled_over_once(void **state)
{
    AUTO(bill) struct bill bill = {0};

    bill_begin(&bill, *state, "monthly");
    tick(&bill, "2031-03-11 10:01Z");
    use_requests(&bill, 12345);
    tick(&bill, "2031-04-01 00:00:01Z");
    tick(&bill, "2031-04-01 00:00:02Z");
    CHECK_INT(
        postgres_int(
            bill.fixture->conn,
            "SELECT current_usage FROM public.tenant_quotas WHERE resource_type = 'api_requests'"),
        0);
    CHECK_INT(
        postgres_int(
            bill.fixture->conn,
            "SELECT sum(quantity)::bigint FROM public.usage_ledger WHERE resource = 'api_requests' "
            "AND used_at >= '2031-03-01Z' AND used_at < '2031-04-01Z' AND billed_on = "
            "'2031-03-01'"),
        12345);
    CHECK_INT(
        postgres_int(bill.fixture->conn,
                     "SELECT count(*) FROM public.usage_ledger WHERE resource = 'api_requests'"),
        1);
    check_work(&bill, "2031-04-01 00:00:03Z", "");
}

/* ---- bills ---- */

static void a_bill_explains_itself(void **state)
{
    AUTO(bill) struct bill bill = {0};

    bill_begin(&bill, *state, "monthly");
    tick(&bill, "2031-03-11 10:01Z");
    check_bill(&bill, "2031-03-01", "pending open 33.19 0.00"); /* 21 of 31 days */
    use_requests(&bill, 12500);
    tick(&bill, "2031-03-20 12:00Z");
    check_bill(&bill, "2031-03-01", "pending open 35.69 0.00");
    tick(&bill, "2031-04-02 00:00Z");
    check_bill(&bill, "2031-03-01", "pending closed 35.69 0.00");
    AUTO(free)
    char *lines = postgres_text(bill.fixture->conn,
                                "SELECT string_agg(l->>'text', '; ') FROM (SELECT "
                                "public.billing_explain('%s', '2031-03-01', "
                                "'2031-05-01Z') AS e) x, jsonb_array_elements(e->'lines') l",
                                bill.id);
    CHECK_TEXT(
        lines,
        "premium: 49 x 21 of 31 days = 33.19; "
        "api_requests in 2031-03: 12500 used, 10000 included by premium, the rest x 0.001 = 2.50");
    CHECK_INT(postgres_int(bill.fixture->conn,
                           "SELECT jsonb_array_length(public.billing_explain('%s', '2031-03-01', "
                           "now())->'ledger')",
                           bill.id),
              1);
}

static void a_tier_is_prorated_by_the_day(void **state)
{
    AUTO(bill) struct bill bill = {0};

    bill_begin(&bill, *state, "monthly");
    tick(&bill, "2031-03-11 10:01Z");
    postgres_run(bill.fixture->conn,
                 "UPDATE public.tenants SET tier = 'big', plan = plan || '{\"monthly\": \"310\"}'");
    tick(&bill, "2031-03-22 09:00Z");
    /* 11 days at 49 and 10 at 310, of 31. */
    check_bill(&bill, "2031-03-01", "pending open 117.39 0.00");
    postgres_run(bill.fixture->conn,
                 "UPDATE public.tenants SET status = 'deleted', deleted_at = '2031-03-25 01:00Z'");
    tick(&bill, "2031-03-25 01:00Z");
    check_bill(&bill, "2031-03-01", "pending open 57.39 0.00"); /* 4 at 310: the 22nd to the 25th */
    tick(&bill, "2031-04-02 00:00Z");
    tick(&bill, "2031-06-01 00:00Z");
    check_bill(&bill, "2031-03-01", "overdue closed 57.39 0.00");
    CHECK_INT(postgres_int(bill.fixture->conn, "SELECT count(*) FROM public.tenant_billing"), 1);
}

static void a_year_costs_ten_months(void **state)
{
    AUTO(bill) struct bill bill = {0};

    bill_begin(&bill, *state, "annual");
    tick(&bill, "2031-03-11 10:01Z");
    check_bill(&bill, "2031-03-01", "pending open 476.61 0.00"); /* 490 x 356 of 366 days */
    CHECK_INT(
        postgres_int(
            bill.fixture->conn,
            "SELECT count(*) FROM public.tenant_billing WHERE billing_period_end = '2032-03-01'"),
        1);
    /* Overage is by the month, as the limits are. */
    use_requests(&bill, 9000);
    tick(&bill, "2031-04-01 00:00Z");
    use_requests(&bill, 9000);
    tick(&bill, "2031-04-05 00:00Z");
    check_bill(&bill, "2031-03-01", "pending open 476.61 0.00");
    use_requests(&bill, 2000);
    tick(&bill, "2031-04-06 00:00Z");
    check_bill(&bill, "2031-03-01", "pending open 477.61 0.00");
}

static void pug_sh_123_a_closed_bill_stays(void **state)
{
    AUTO(bill) struct bill bill = {0};

    bill_begin(&bill, *state, "monthly");
    tick(&bill, "2031-03-11 10:01Z");
    tick(&bill, "2031-04-02 00:00Z");
    check_bill(&bill, "2031-03-01", "pending closed 33.19 0.00");
    check_refused(&bill, "42501",
                  "UPDATE public.tenant_billing SET amount_due = 1 WHERE billing_period_start = "
                  "'2031-03-01'");
    check_refused(&bill, "42501",
                  "UPDATE public.tenant_billing SET closed_at = NULL WHERE billing_period_start = "
                  "'2031-03-01'");
    check_refused(&bill, "42501",
                  "DELETE FROM public.tenant_billing WHERE billing_period_start = '2031-03-01'");
    /* A program may say that it is paid, and not that it is not. */
    postgres_run(bill.fixture->conn, "UPDATE public.tenant_billing SET amount_paid = 33.19 WHERE "
                                     "billing_period_start = '2031-03-01'");
    tick(&bill, "2031-04-03 00:00Z");
    check_bill(&bill, "2031-03-01", "paid closed 33.19 33.19");
    check_refused(&bill, "23514",
                  "UPDATE public.tenant_billing SET status = 'pending' WHERE billing_period_start "
                  "= '2031-03-01'");
}

struct closer {
    pthread_t thread;
    struct sql_conn *conn;
    const char *at;
    int64_t closed;
};

static void *close_bills(void *context)
{
    struct closer *closer = context;

    closer->closed = postgres_int(closer->conn,
                                  "SELECT count(*) FROM public.tenant_billing b WHERE "
                                  "public.billing_close_one(b.id, '%s')",
                                  closer->at);
    return NULL;
}

/* Complaint 23: invoices made twice at the edges of time zones and anniversaries. Periods are UTC
 * and half-open, one row each, made once however many look at once and in whatever time zone they
 * are. */
static void complaint_23_no_duplicate_bills_at_edges(void **state)
{
    static const char *const zones[] = {"Pacific/Kiritimati", "Pacific/Pago_Pago",
                                        "Europe/Berlin",      "UTC",
                                        "Asia/Kathmandu",     "America/New_York"};
    AUTO(bill) struct bill bill = {0};
    struct closer closers[THREADS];

    bill_begin(&bill, *state, "monthly");
    tick(&bill, "2031-03-31 23:59:59.999999Z");
    CHECK_INT(postgres_int(bill.fixture->conn, "SELECT count(*) FROM public.tenant_billing"), 1);
    for (size_t i = 0; i < THREADS; i++) {
        postgres_run(bill.fixture->conn, "SET TimeZone = '%s'", zones[i]);
        tick(&bill, "2031-04-01 00:00Z");
        tick(&bill, "2031-04-01 13:59:59Z");
    }
    postgres_run(bill.fixture->conn, "RESET TimeZone");
    CHECK_INT(
        postgres_int(
            bill.fixture->conn,
            "SELECT count(*) FROM public.tenant_billing WHERE (billing_period_start, "
            "billing_period_end) IN (('2031-03-01', '2031-04-01'), ('2031-04-01', '2031-05-01'))"),
        2);
    CHECK_INT(postgres_int(bill.fixture->conn, "SELECT count(*) FROM public.tenant_billing"), 2);
    for (size_t i = 0; i < THREADS; i++) {
        closers[i] = (struct closer){.conn = postgres_connect("dbname=registry_test"),
                                     .at = "2031-04-02 00:00Z"};
        postgres_run(closers[i].conn, "SET TimeZone = '%s'", zones[i]);
        CHECK_INT(pthread_create(&closers[i].thread, NULL, close_bills, &closers[i]), 0);
    }
    int64_t closed = 0;
    for (size_t i = 0; i < THREADS; i++) {
        CHECK_INT(pthread_join(closers[i].thread, NULL), 0);
        sql_close(closers[i].conn);
        closed += closers[i].closed;
    }
    CHECK_INT(closed, 1);
    check_bill(&bill, "2031-03-01", "pending closed 33.19 0.00");
    check_bill(&bill, "2031-04-01", "pending open 49.00 0.00");
}

/* Complaint 24: closed before late usage had landed; retries counted twice. A day of grace, then
 * frozen; what is later still is a line of the next bill; a key counts once, whichever period it
 * lands in. */
static void complaint_24_late_usage_is_billed_once(void **state)
{
    AUTO(bill) struct bill bill = {0};
    static const char late[] = "SELECT public.usage_record('%s', 'compute_hours', 'count', %s, "
                               "'2031-03-31 23:00Z', '%s', 'test', '%s')";

    bill_begin(&bill, *state, "monthly");
    tick(&bill, "2031-03-11 10:01Z");
    tick(&bill, "2031-04-01 23:59:59Z");
    check_bill(&bill, "2031-03-01", "pending open 33.19 0.00");
    postgres_run(bill.fixture->conn, late, bill.id, "12", "in-grace", "2031-04-01 23:59:59Z");
    tick(&bill, "2031-04-02 00:00Z");
    check_bill(&bill, "2031-03-01", "pending closed 34.19 0.00");
    for (int i = 0; i < 3; i++) {
        postgres_run(bill.fixture->conn, late, bill.id, "3.5", "late", "2031-04-02 00:00:01Z");
        postgres_run(bill.fixture->conn, late, bill.id, "12", "in-grace", "2031-04-05 00:00Z");
    }
    check_refused(&bill, "TY409", late, bill.id, "13", "in-grace", "2031-04-05 00:00Z");
    check_bill(&bill, "2031-03-01", "pending closed 34.19 0.00");
    check_bill(&bill, "2031-04-01", "pending open 50.75 0.00");
    tick(&bill, "2031-05-02 00:00Z");
    check_bill(&bill, "2031-04-01", "pending closed 50.75 0.00");
    check_bill(&bill, "2031-05-01", "pending open 49.00 0.00");
    AUTO(free)
    char *text =
        postgres_text(bill.fixture->conn, "SELECT lines->1->>'text' FROM public.tenant_billing "
                                          "WHERE billing_period_start = '2031-04-01'");
    CHECK_TEXT(text, "compute_hours in 2031-03 after its bill was closed: 15.5 used, 10 included "
                     "by premium, the rest x 0.5, less what was billed = 1.75");
}

static void a_credit_is_taken_over(void **state)
{
    AUTO(bill) struct bill bill = {0};

    bill_begin(&bill, *state, "monthly");
    postgres_run(bill.fixture->conn,
                 "UPDATE public.tenants SET plan = plan || '{\"monthly\": \"1\"}'");
    tick(&bill, "2031-03-11 10:01Z");
    postgres_run(bill.fixture->conn,
                 "SELECT public.usage_record('%s', 'compute_hours', 'count', 30, '2031-03-20Z', "
                 "'k', 'test', '2031-03-20Z')",
                 bill.id);
    tick(&bill, "2031-04-02 00:00Z");
    check_bill(&bill, "2031-03-01", "pending closed 10.68 0.00");
    postgres_run(bill.fixture->conn, "SELECT public.usage_correct(max(id), -25, 'c', NULL, "
                                     "'2031-04-03Z') FROM public.usage_ledger WHERE key = 'k'");
    check_bill(&bill, "2031-04-01", "pending open 0.00 0.00"); /* 1.00 - 10.00 */
    tick(&bill, "2031-05-02 00:00Z");
    check_bill(&bill, "2031-04-01", "paid closed 0.00 0.00");
    postgres_run(bill.fixture->conn,
                 "SELECT public.usage_record('%s', 'compute_hours', 'count', 40, '2031-05-03Z', "
                 "'l', 'test', '2031-05-03Z')",
                 bill.id);
    check_bill(&bill, "2031-05-01", "pending open 7.00 0.00"); /* 1.00 + 15.00 - 9.00 */
}

/* ---- payment ---- */

static void a_payment_counts_once(void **state)
{
    AUTO(bill) struct bill bill = {0};
    static const char pay[] = "SELECT public.billing_record_payment('%s', '%s', '2031-03-01', %s, "
                              "'EUR', '2031-04-05Z', '2031-04-05Z')";

    bill_begin(&bill, *state, "monthly");
    tick(&bill, "2031-03-11 10:01Z");
    tick(&bill, "2031-04-02 00:00Z");
    for (int i = 0; i < 2; i++) {
        postgres_run(bill.fixture->conn, pay, "first", bill.id, "20");
        check_bill(&bill, "2031-03-01", "pending closed 33.19 20.00");
    }
    check_refused(&bill, "TY409", pay, "first", bill.id, "21");
    check_refused(
        &bill, "TY404",
        "SELECT public.billing_record_payment('x', '%s', '2030-01-01', 1, 'EUR', now(), now())",
        bill.id);
    check_refused(
        &bill, "TY409",
        "SELECT public.billing_record_payment('x', '%s', '2031-03-01', 1, 'USD', now(), now())",
        bill.id);
    CHECK_INT(postgres_int(bill.fixture->conn, "SELECT count(*) FROM public.billing_payments"), 1);
    postgres_run(bill.fixture->conn, pay, "second", bill.id, "13.19");
    check_bill(&bill, "2031-03-01", "paid closed 33.19 33.19");
}

/* What the registry says of the tenant, after the controller's step. */
static void check_held(const struct bill *bill, enum billing_hold hold, const char *status)
{
    struct tenant tenant = fixture_tenant("a", "uid");
    AUTO(run) struct run run = {0};

    run_record(&run, bill->fixture, &tenant, NULL);
    CHECK_INT(run.work.billing_hold, hold);
    CHECK_INT(run.work.tenant->state,
              hold == BILLING_HOLD_OVERDUE ? TENANT_SUSPENDED : TENANT_ACTIVE);
    AUTO(free) char *text = postgres_text(bill->fixture->conn, "SELECT status FROM public.tenants");
    CHECK_TEXT(text, status);
    CHECK_INT(postgres_int(bill->fixture->conn, "SELECT count(*) FROM public.tenants WHERE "
                                                "billing_held <> (billing_hold_at IS NOT NULL)"),
              0);
}

static void an_overdue_bill_suspends_until_it_is_paid(void **state)
{
    AUTO(bill) struct bill bill = {0};

    bill_begin(&bill, *state, "monthly");
    postgres_run(bill.fixture->conn, "UPDATE public.tenants SET server = 'primary', isolation = "
                                     "'Database', schema_name = 'public'");
    tick(&bill, "2031-03-11 10:01Z");
    tick(&bill, "2031-04-02 00:00Z");
    tick(&bill, "2031-04-15 23:59:59Z");
    check_bill(&bill, "2031-03-01", "pending closed 33.19 0.00");
    tick(&bill, "2031-04-16 00:00Z");
    check_bill(&bill, "2031-03-01", "overdue closed 33.19 0.00");
    tick(&bill, "2031-04-22 23:59:59Z");
    check_held(&bill, BILLING_HOLD_NONE, "active");
    tick(&bill, "2031-04-23 00:00Z");
    check_held(&bill, BILLING_HOLD_OVERDUE, "suspended");
    check_held(&bill, BILLING_HOLD_OVERDUE, "suspended");
    postgres_run(bill.fixture->conn,
                 "SELECT public.billing_record_payment('p', '%s', '2031-03-01', 33.19, 'EUR', "
                 "'2031-04-24Z', '2031-04-24Z')",
                 bill.id);
    check_bill(&bill, "2031-03-01", "paid closed 33.19 33.19");
    check_held(&bill, BILLING_HOLD_NONE, "active");
}

/* ---- the duty ---- */

static void the_duty_writes_only_what_is_new(void **state)
{
    const struct fixture *fixture = *state;
    struct tenant tenant = fixture_tenant("acme", "uid-1");
    AUTO(run) struct run run = {0};
    AUTO(run) struct run duty_run = {0};
    struct billing_duty duty = {.registry = fixture->services.registry, .period_ms = 1000};

    run_record(&run, fixture, &tenant, &tier_premium);
    CHECK_OK(billing_ensure(&run.rc, &run.work, &run.err), &run.err);
    CHECK_OK(quotas_ensure(&run.rc, &run.work, &run.err), &run.err);
    CHECK_TEXT(run.work.billing.currency, "EUR");
    CHECK_TEXT(run.work.billing.status, "pending");
    run_init(&duty_run, fixture, &tenant, &tier_premium);
    duty_run.rc.environment = &duty;
    CHECK(!billing_reconcile(&duty_run.rc).failed);
    struct quiet quiet = postgres_quiet_begin();
    struct outcome outcome = billing_reconcile(&duty_run.rc);
    duty.full_hour = 0;
    CHECK(!billing_reconcile(&duty_run.rc).failed);
    CHECK_OK(billing_ensure(&run.rc, &run.work, &run.err), &run.err);
    postgres_quiet_end(&quiet);
    CHECK(outcome.next_ms > 0 && outcome.next_ms <= 1000);
    postgres_run(
        fixture->conn,
        "UPDATE public.tenant_quotas SET current_usage = 7 WHERE resource_type = 'api_requests'");
    CHECK(!billing_reconcile(&duty_run.rc).failed);
    CHECK_INT(postgres_int(fixture->conn, "SELECT api_requests_made FROM public.tenant_billing"),
              7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)
        TEST(the_ledger_is_append_only),
        TEST(flexprice_605_usage_of_a_key_counts_once),
        TEST(lago_879_a_month_is_rolled_over_once),
        TEST(a_bill_explains_itself),
        TEST(a_tier_is_prorated_by_the_day),
        TEST(a_year_costs_ten_months),
        TEST(pug_sh_123_a_closed_bill_stays),
        TEST(complaint_23_no_duplicate_bills_at_edges),
        TEST(complaint_24_late_usage_is_billed_once),
        TEST(a_credit_is_taken_over),
        TEST(a_payment_counts_once),
        TEST(an_overdue_bill_suspends_until_it_is_paid),
        TEST(the_duty_writes_only_what_is_new),
    };
    return cmocka_run_group_tests(tests, fixture_make, fixture_remove);
}
