/* The tenant's row: made once, found again, following its Tenant, never another's; and not a write
 * when nothing differs. */
#include "tests/check.h"
#include "tests/integration/postgres.h"
#include "tests/integration/registry_fixture.h"

#include <pthread.h>

#include "reconcilers/model/codec.h"
#include "reconcilers/registry/steps.h"

enum { THREADS = 8, RUNS_MAX = 20, PLACEMENT_LOCK = 0x7e4b };

/* ---- the schema ---- */

struct column {
    const char *table;
    const char *name;
    const char *type; /* as format_type prints it */
    bool required;
    const char *fallback; /* default */
};

/* What programs written against the contract rely on. */
static const struct column columns[] = {
    {"tenants", "id", "uuid", true, "gen_random_uuid()"},
    {"tenants", "name", "character varying(255)", true, ""},
    {"tenants", "subdomain", "character varying(255)", true, ""},
    {"tenants", "tier", "character varying(50)", true, ""},
    {"tenants", "status", "character varying(50)", true, "'active'::character varying"},
    {"tenants", "max_sandboxes", "integer", false, "5"},
    {"tenants", "max_storage_mb", "integer", false, "1000"},
    {"tenants", "max_compute_hours", "integer", false, "10"},
    {"tenants", "max_users", "integer", false, "5"},
    {"tenants", "billing_plan", "character varying(50)", false, ""},
    {"tenants", "billing_cycle", "character varying(50)", false, ""},
    {"tenants", "mrr", "numeric(10,2)", false, "0"},
    {"tenants", "database_name", "character varying(255)", true, ""},
    {"tenants", "created_at", "timestamp with time zone", true, "now()"},
    {"tenants", "updated_at", "timestamp with time zone", true, "now()"},
    {"tenants", "deleted_at", "timestamp with time zone", false, ""},
    {"tenant_users", "id", "uuid", true, "gen_random_uuid()"},
    {"tenant_users", "tenant_id", "uuid", true, ""},
    {"tenant_users", "email", "character varying(255)", true, ""},
    {"tenant_users", "role", "character varying(50)", true, ""},
    {"tenant_users", "status", "character varying(50)", false, "'active'::character varying"},
    {"tenant_users", "created_at", "timestamp with time zone", true, "now()"},
    {"tenant_quotas", "id", "uuid", true, "gen_random_uuid()"},
    {"tenant_quotas", "tenant_id", "uuid", true, ""},
    {"tenant_quotas", "resource_type", "character varying(100)", true, ""},
    {"tenant_quotas", "current_usage", "bigint", false, "0"},
    {"tenant_quotas", "quota_limit", "bigint", true, ""},
    {"tenant_quotas", "updated_at", "timestamp with time zone", true, "now()"},
    {"tenant_billing", "id", "uuid", true, "gen_random_uuid()"},
    {"tenant_billing", "tenant_id", "uuid", true, ""},
    {"tenant_billing", "billing_period_start", "date", true, ""},
    {"tenant_billing", "billing_period_end", "date", true, ""},
    {"tenant_billing", "sandboxes_used", "integer", false, "0"},
    {"tenant_billing", "storage_gb_used", "numeric(10,2)", false, "0"},
    {"tenant_billing", "compute_hours_used", "numeric(10,2)", false, "0"},
    {"tenant_billing", "api_requests_made", "bigint", false, "0"},
    {"tenant_billing", "amount_due", "numeric(10,2)", false, "0"},
    {"tenant_billing", "amount_paid", "numeric(10,2)", false, "0"},
    {"tenant_billing", "status", "character varying(50)", false, "'pending'::character varying"},
    {"tenant_billing", "created_at", "timestamp with time zone", true, "now()"},
    {"tenant_retained", "subdomain", "character varying(255)", true, ""},
    {"tenant_retained", "kind", "character varying(50)", true, ""},
    {"tenant_retained", "name", "character varying(255)", true, ""},
    {"tenant_retained", "location", "character varying(255)", true, ""},
    {"tenant_retained", "size_bytes", "bigint", false, ""},
    {"tenant_retained", "retained_at", "timestamp with time zone", true, "now()"},
    {"tenant_retained", "delete_after", "timestamp with time zone", false, ""},
};

static void tables_are_those_of_the_contract(void **state)
{
    const struct fixture *fixture = *state;

    for (size_t i = 0; i < ARRAY_COUNT(columns); i++) {
        AUTO(free)
        char *text = postgres_text(
            fixture->conn,
            "SELECT format('%%s %%s %%s', format_type(a.atttypid, a.atttypmod), a.attnotnull, "
            "pg_get_expr(d.adbin, d.adrelid)) FROM pg_attribute a LEFT JOIN pg_attrdef d ON "
            "d.adrelid = a.attrelid AND d.adnum = a.attnum WHERE a.attrelid = "
            "'public.%s'::regclass "
            "AND a.attname = '%s'",
            columns[i].table, columns[i].name);
        AUTO(buf) struct buf expected = BUF(300);
        CHECK(buf_printf(&expected, "%s %s %s", columns[i].type, columns[i].required ? "t" : "f",
                         columns[i].fallback));
        if (strcmp(text, buf_text(&expected)) != 0) {
            fail_msg("%s.%s is \"%s\", not \"%s\"", columns[i].table, columns[i].name, text,
                     buf_text(&expected));
        }
    }
}

/* Further columns are nullable or defaulted: a program's INSERT names those of the contract only.
 */
static void a_program_can_insert_by_the_contract_alone(void **state)
{
    const struct fixture *fixture = *state;

    postgres_run(fixture->conn,
                 "WITH t AS (INSERT INTO public.tenants (name, subdomain, tier, database_name) "
                 "VALUES ('Beta', 'beta', 'free', 'tenant_beta') RETURNING id), "
                 "u AS (INSERT INTO public.tenant_users (tenant_id, email, role) "
                 "SELECT id, 'a@b.c', 'owner' FROM t), "
                 "q AS (INSERT INTO public.tenant_quotas (tenant_id, resource_type, quota_limit) "
                 "SELECT id, 'users', 5 FROM t) "
                 "INSERT INTO public.tenant_billing (tenant_id, billing_period_start, "
                 "billing_period_end) SELECT id, '2030-01-01', '2030-02-01' FROM t");
    CHECK_INT(postgres_int(fixture->conn, "SELECT count(*) FROM public.tenants WHERE "
                                          "subdomain = 'beta' AND status = 'active'"),
              1);
    postgres_run(fixture->conn, "DELETE FROM public.tenants WHERE subdomain = 'beta'");
    CHECK_INT(postgres_int(fixture->conn, "SELECT count(*) FROM public.tenant_users"), 0);
}

static void names_can_be_used_again_after_deletion_only(void **state)
{
    const struct fixture *fixture = *state;
    AUTO(sql) struct sql query = {0};
    struct call call = {0};
    struct err err = {0};

    sql_init(&query);
    SQL(&query, "INSERT INTO public.tenants (name, subdomain, tier, status, database_name) VALUES "
                "('a', 'a', 'free', 'deleted', 'a'), ('a', 'a', 'free', 'deleted', 'a'), "
                "('a', 'a', 'free', 'suspended', 'a')");
    CHECK_OK(sql_exec(fixture->conn, &call, &query, NULL, &err), &err);
    sql_clear(&query);
    SQL(&query, "INSERT INTO public.tenants (name, subdomain, tier, database_name) VALUES "
                "('a', 'a', 'free', 'a')");
    CHECK_FAILS(sql_exec(fixture->conn, &call, &query, NULL, &err), &err, ERR_RETRY, "SQLError");
    CHECK_TEXT(err.code, "23505");
}

static void migrating_again_writes_nothing(void **state)
{
    const struct fixture *fixture = *state;
    struct call call = {0};
    struct err err = {0};
    struct quiet quiet = postgres_quiet_begin();

    CHECK_OK(registry_migrate(fixture->services.registry, &call, &err), &err);
    postgres_quiet_end(&quiet);
}

static void public_may_not_connect(void **state)
{
    const struct fixture *fixture = *state;

    CHECK_INT(postgres_int(fixture->conn, "SELECT count(*) FROM pg_database, "
                                          "aclexplode(coalesce(datacl, acldefault('d', datdba))) "
                                          "WHERE datname = 'registry_test' AND grantee = 0"),
              0);
}

static void what_must_be_granted_is_said(void **state)
{
    const struct fixture *fixture = *state;
    AUTO(secret) struct secret uri = {0};
    struct call call = {0};
    struct err err = {0};

    postgres_run(NULL, "DROP DATABASE IF EXISTS registry_foreign WITH (FORCE)");
    postgres_run(NULL, "CREATE DATABASE registry_foreign TEMPLATE template0");
    fixture_uri(&uri);
    AUTO(buf) struct buf text = BUF(2000);
    CHECK(buf_printf(&text, "%s&dbname=registry_foreign", secret_bytes(&uri)));
    secret_set(&uri, buf_str(&text));
    struct registry *registry = registry_new(&uri, 1);
    CHECK_FAILS(registry_migrate(registry, &call, &err), &err, ERR_RETRY, "InsufficientPrivilege");
    CHECK_NOT_NULL(strstr(err.message, "OWNER TO \"registry_test\""));
    registry_free(registry);
    postgres_run(NULL, "DROP DATABASE registry_foreign WITH (FORCE)");
    (void)fixture;
}

/* ---- making ---- */

static void a_row_is_made_of_the_tenant(void **state)
{
    static const struct text_pair settings[] = {{"theme", "dark"}, {"x", "\"'\\"}};
    const struct fixture *fixture = *state;
    struct tenant tenant = fixture_tenant("acme-corp", "uid-1");
    AUTO(run) struct run run = {0};

    tenant.display_name = "Acme'; DROP TABLE tenants; --";
    tenant.settings = settings;
    tenant.setting_count = ARRAY_COUNT(settings);
    run_record(&run, fixture, &tenant, &tier_premium);
    CHECK_TEXT(run.work.place.server, "primary");
    CHECK_TEXT(run.work.place.database, "tenant_acme_corp");
    CHECK_TEXT(run.work.place.schema, "public");
    CHECK_INT(run.work.place.isolation, ISOLATION_DATABASE);
    CHECK(!run.work.adopted);
    AUTO(free)
    char *row = postgres_text(
        fixture->conn,
        "SELECT concat_ws('|', name, subdomain, tier, status, max_sandboxes, max_storage_mb, "
        "max_compute_hours, max_users, billing_plan, billing_cycle, mrr, database_name, "
        "deleted_at IS NULL, tenant_name, tenant_uid, server, isolation, settings) "
        "FROM public.tenants WHERE id = '%s'",
        run.work.tenant_id);
    CHECK_TEXT(row, "Acme'; DROP TABLE tenants; --|acme-corp|premium|active|5|1000|10|5|premium|"
                    "monthly|49.00|tenant_acme_corp|t|acme-corp|uid-1|primary|Database|"
                    "{\"x\": \"\\\"'\\\\\", \"theme\": \"dark\"}");
}

static void the_billing_period_is_there_from_the_start(void **state)
{
    const struct fixture *fixture = *state;
    struct tenant tenant = fixture_tenant("acme", "uid-1");
    AUTO(run) struct run run = {0};

    run_record(&run, fixture, &tenant, &tier_premium);
    CHECK_INT(
        postgres_int(fixture->conn,
                     "SELECT count(*) FROM public.tenant_billing WHERE tenant_id = '%s' AND "
                     "billing_period_start = date_trunc('month', now() AT TIME ZONE 'UTC') "
                     "AND billing_period_end = billing_period_start + interval '1 month' "
                     "AND status = 'pending' AND currency = 'EUR' AND amount_due = round(49.0 * "
                     "(billing_period_end - (now() AT TIME ZONE 'UTC')::date) / "
                     "(billing_period_end - billing_period_start), 2)",
                     run.work.tenant_id),
        1);
}

static void a_second_run_finds_the_row_and_writes_nothing(void **state)
{
    const struct fixture *fixture = *state;
    struct tenant tenant = fixture_tenant("acme", "uid-1");
    AUTO(run) struct run first = {0};
    AUTO(run) struct run second = {0};

    run_record(&first, fixture, &tenant, &tier_premium);
    struct quiet quiet = postgres_quiet_begin();
    run_record(&second, fixture, &tenant, &tier_premium);
    postgres_quiet_end(&quiet);
    CHECK_TEXT(second.work.tenant_id, first.work.tenant_id);
    CHECK_TEXT(second.work.place.server, "primary");
    CHECK_TEXT(second.work.place.database, "tenant_acme");
    CHECK(!second.work.adopted);
}

static void nothing_to_write_needs_no_right_to_write(void **state)
{
    const struct fixture *fixture = *state;
    struct tenant tenant = fixture_tenant("acme", "uid-1");
    AUTO(run) struct run first = {0};
    AUTO(run) struct run second = {0};
    AUTO(run) struct run third = {0};
    AUTO(secret) struct secret uri = {0};
    AUTO(buf) struct buf text = BUF(2000);
    struct fixture read_only = *fixture;

    run_record(&first, fixture, &tenant, &tier_premium);
    fixture_uri(&uri);
    CHECK(buf_printf(&text, "%s&options=-c%%20default_transaction_read_only%%3Don",
                     secret_bytes(&uri)));
    secret_set(&uri, buf_str(&text));
    read_only.services.registry = registry_new(&uri, 1);
    run_record(&second, &read_only, &tenant, &tier_premium);
    tenant.tier = "free";
    run_init(&third, &read_only, &tenant, &tier_free);
    CHECK_FAILS(record_ensure(&third.rc, &third.work, &third.err), &third.err, ERR_RETRY,
                "DatabaseReadOnly");
    registry_free(read_only.services.registry);
}

static void each_isolation_has_its_place(void **state)
{
    const struct fixture *fixture = *state;
    static const struct {
        enum isolation isolation;
        const char *subdomain;
        const char *database;
        const char *schema;
    } cases[] = {
        {ISOLATION_DEFAULT, "one-a", "tenant_one_a", "public"},
        {ISOLATION_DATABASE, "one-b", "tenant_one_b", "public"},
        {ISOLATION_SCHEMA, "one-c", "tenantry_shared", "tenant_one_c"},
        {ISOLATION_ROW, "one-d", "tenantry_shared", "tenantry_rows"},
    };

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        AUTO(free) char *uid = xasprintf("uid-%zu", i);
        struct tenant tenant = fixture_tenant(cases[i].subdomain, uid);
        AUTO(run) struct run run = {0};
        tenant.isolation = cases[i].isolation;
        run_record(&run, fixture, &tenant, &tier_premium);
        CHECK_TEXT(run.work.place.database, cases[i].database);
        CHECK_TEXT(run.work.place.schema, cases[i].schema);
        /* And so it is found again. */
        AUTO(run) struct run again = {0};
        run_record(&again, fixture, &tenant, &tier_premium);
        CHECK_INT(again.work.place.isolation, run.work.place.isolation);
        CHECK_TEXT(again.work.place.schema, cases[i].schema);
    }
}

static void a_tenant_without_a_tier_is_not_made(void **state)
{
    const struct fixture *fixture = *state;
    struct tenant tenant = fixture_tenant("acme", "uid-1");
    AUTO(run) struct run run = {0};

    run_init(&run, fixture, &tenant, NULL);
    CHECK_FAILS(record_ensure(&run.rc, &run.work, &run.err), &run.err, ERR_TERMINAL,
                "TierNotFound");
}

/* ---- following ---- */

static char *describe(const struct fixture *fixture, const char *id)
{
    return postgres_text(fixture->conn,
                         "SELECT concat_ws('|', name, tier, status, max_users, billing_plan, "
                         "billing_cycle, mrr) FROM public.tenants WHERE id = '%s'",
                         id);
}

static void the_row_follows_the_tenant(void **state)
{
    const struct fixture *fixture = *state;
    struct tenant tenant = fixture_tenant("acme", "uid-1");
    AUTO(run) struct run first = {0};
    AUTO(run) struct run second = {0};
    AUTO(run) struct run third = {0};
    AUTO(run) struct run fourth = {0};

    run_record(&first, fixture, &tenant, &tier_premium);
    tenant.display_name = "Acme Ltd";
    tenant.billing_cycle = BILLING_ANNUAL;
    run_record(&second, fixture, &tenant, &tier_premium);
    AUTO(free) char *annual = describe(fixture, first.work.tenant_id);
    CHECK_TEXT(annual, "Acme Ltd|premium|active|5|premium|annual|40.83"); /* 490 / 12 */
    tenant.state = TENANT_SUSPENDED;
    run_record(&third, fixture, &tenant, &tier_tiny);
    AUTO(free) char *tiny = describe(fixture, first.work.tenant_id);
    CHECK_TEXT(tiny, "Acme Ltd|tiny|suspended|1|tiny|annual|8.33"); /* 100 / 12 */
    CHECK_TEXT(third.work.place.server, "primary");                 /* the place stays */
    tenant.state = TENANT_ACTIVE;
    tenant.billing_cycle = BILLING_MONTHLY;
    run_record(&fourth, fixture, &tenant, &tier_tiny);
    AUTO(free) char *monthly = describe(fixture, first.work.tenant_id);
    CHECK_TEXT(monthly, "Acme Ltd|tiny|active|1|tiny|monthly|9.99");
}

static void suspending_needs_no_tier(void **state)
{
    const struct fixture *fixture = *state;
    struct tenant tenant = fixture_tenant("acme", "uid-1");
    AUTO(run) struct run first = {0};
    AUTO(run) struct run second = {0};

    run_record(&first, fixture, &tenant, &tier_premium);
    tenant.state = TENANT_SUSPENDED;
    tenant.tier = "gone";
    run_record(&second, fixture, &tenant, NULL);
    AUTO(free) char *row = describe(fixture, first.work.tenant_id);
    CHECK_TEXT(row, "acme|premium|suspended|5|premium|monthly|49.00");
}

static void changes_of_others_are_healed_and_dated(void **state)
{
    const struct fixture *fixture = *state;
    struct tenant tenant = fixture_tenant("acme", "uid-1");
    AUTO(run) struct run first = {0};
    AUTO(run) struct run second = {0};

    run_record(&first, fixture, &tenant, &tier_premium);
    postgres_run(fixture->conn, "UPDATE public.tenants SET tier = 'enterprise', mrr = 0, "
                                "status = 'suspended', updated_at = '2020-01-01'");
    run_record(&second, fixture, &tenant, &tier_premium);
    AUTO(free) char *row = describe(fixture, first.work.tenant_id);
    CHECK_TEXT(row, "acme|premium|active|5|premium|monthly|49.00");
    CHECK_INT(postgres_int(fixture->conn, "SELECT count(*) FROM public.tenants WHERE "
                                          "updated_at > now() - interval '1 hour'"),
              1);
}

static void a_huge_price_fits(void **state)
{
    const struct fixture *fixture = *state;
    struct tenant tenant = fixture_tenant("acme", "uid-1");
    struct tier tier = tier_premium;
    AUTO(run) struct run first = {0};
    AUTO(run) struct run second = {0};

    tier.price_monthly = "123456789012345678.123456";
    run_record(&first, fixture, &tenant, &tier);
    struct quiet quiet = postgres_quiet_begin();
    run_record(&second, fixture, &tenant, &tier);
    postgres_quiet_end(&quiet);
    CHECK_INT(postgres_int(fixture->conn, "SELECT count(*) FROM public.tenants WHERE "
                                          "mrr = 99999999.99"),
              1);
}

/* ---- billing periods ---- */

static void check_periods(const struct fixture *fixture, const char *expected)
{
    AUTO(free)
    char *periods = postgres_text(
        fixture->conn, "SELECT string_agg(round(extract(epoch FROM age(billing_period_start, "
                       "date_trunc('month', now() AT TIME ZONE 'UTC'))) / 2629800) || '+' || "
                       "extract(year FROM age(billing_period_end, billing_period_start)) * 12 + "
                       "extract(month FROM age(billing_period_end, billing_period_start)), ' ' "
                       "ORDER BY billing_period_start) FROM public.tenant_billing");

    CHECK_TEXT(periods, expected);
}

/* Move the tenant and its periods into the past. */
static void pass_months(const struct fixture *fixture, int months)
{
    postgres_run(fixture->conn,
                 "UPDATE public.tenants SET created_at = created_at - interval '%d months'; "
                 "UPDATE public.tenant_billing SET billing_period_start = billing_period_start - "
                 "interval '%d months', billing_period_end = billing_period_end - "
                 "interval '%d months'",
                 months, months, months);
}

static void the_next_month_begins_where_the_last_ended(void **state)
{
    const struct fixture *fixture = *state;
    struct tenant tenant = fixture_tenant("acme", "uid-1");
    AUTO(run) struct run first = {0};
    AUTO(run) struct run second = {0};

    run_record(&first, fixture, &tenant, &tier_premium);
    check_periods(fixture, "0+1");
    pass_months(fixture, 1);
    run_record(&second, fixture, &tenant, &tier_premium);
    check_periods(fixture, "-1+1 0+1");
}

static void a_year_begins_with_the_month_of_creation(void **state)
{
    const struct fixture *fixture = *state;
    struct tenant tenant = fixture_tenant("acme", "uid-1");
    AUTO(run) struct run first = {0};
    AUTO(run) struct run second = {0};
    AUTO(run) struct run third = {0};

    tenant.billing_cycle = BILLING_ANNUAL;
    run_record(&first, fixture, &tenant, &tier_premium);
    check_periods(fixture, "0+12");
    pass_months(fixture, 11);
    run_record(&second, fixture, &tenant, &tier_premium);
    check_periods(fixture, "-11+12");
    pass_months(fixture, 1);
    run_record(&third, fixture, &tenant, &tier_premium);
    check_periods(fixture, "-12+12 0+12");
}

static void a_change_of_cycle_begins_with_the_next_period(void **state)
{
    const struct fixture *fixture = *state;
    struct tenant tenant = fixture_tenant("acme", "uid-1");
    AUTO(run) struct run first = {0};
    AUTO(run) struct run second = {0};
    AUTO(run) struct run third = {0};
    AUTO(run) struct run fourth = {0};

    run_record(&first, fixture, &tenant, &tier_premium);
    pass_months(fixture, 1);
    run_record(&second, fixture, &tenant, &tier_premium);
    tenant.billing_cycle = BILLING_ANNUAL;
    run_record(&third, fixture, &tenant, &tier_premium);
    check_periods(fixture, "-1+1 0+1");
    pass_months(fixture, 1);
    run_record(&fourth, fixture, &tenant, &tier_premium);
    check_periods(fixture, "-2+1 -1+1 0+12");
}

/* ---- two of one name, capacity ---- */

struct racer {
    pthread_t thread;
    const struct fixture *fixture;
    struct tenant tenant;
    const struct tier *tier;
    char name[16];
    char uid[16];
    struct run run;
    int result;
};

/* As the queue would: again when another was faster. */
static void *race(void *argument)
{
    struct racer *racer = argument;

    for (int i = 0; i < RUNS_MAX; i++) {
        run_init(&racer->run, racer->fixture, &racer->tenant, racer->tier);
        racer->result = record_ensure(&racer->run.rc, &racer->run.work, &racer->run.err);
        if (racer->result == 0 || racer->run.err.cls != ERR_CONFLICT) {
            break;
        }
        run_release(&racer->run);
    }
    return NULL;
}

static void start_race(struct racer racers[THREADS], const struct fixture *fixture, bool same_name,
                       const struct tier *tier)
{
    for (int i = 0; i < THREADS; i++) {
        racers[i].fixture = fixture;
        racers[i].tier = tier;
        (void)snprintf(racers[i].name, sizeof(racers[i].name), "acme-%d", same_name ? 0 : i);
        (void)snprintf(racers[i].uid, sizeof(racers[i].uid), "uid-%d", i);
        racers[i].tenant = fixture_tenant(racers[i].name, racers[i].uid);
    }
    /* All of them have found their name free before the first may take it. */
    postgres_run(fixture->conn, "SELECT pg_advisory_lock(%d, hashtext('placement'))",
                 PLACEMENT_LOCK);
    for (int i = 0; i < THREADS; i++) {
        CHECK_INT(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
    }
    postgres_wait("SELECT count(*) / %d FROM pg_locks WHERE locktype = 'advisory' AND NOT granted",
                  THREADS);
    postgres_run(fixture->conn, "SELECT pg_advisory_unlock(%d, hashtext('placement'))",
                 PLACEMENT_LOCK);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(racers[i].thread, NULL);
    }
}

static void one_of_many_gets_the_name(void **state)
{
    struct fixture fixture = *(struct fixture *)*state;
    struct racer *racers = xcalloc(THREADS, sizeof(*racers));
    int winners = 0;

    /* The others' Tenants are taken to be there: a cache that is not synced proves nothing. */
    fixture.services.tenants = cache_new(&tenant_codec);
    start_race(racers, &fixture, true, &tier_premium);
    for (int i = 0; i < THREADS; i++) {
        winners += racers[i].result == 0;
        if (racers[i].result) {
            CHECK_INT(racers[i].run.err.cls, ERR_TERMINAL);
            CHECK_TEXT(racers[i].run.err.reason, "NameConflict");
            /* Deleting a loser touches nothing of the winner's. */
            run_release(&racers[i].run);
            run_init(&racers[i].run, &fixture, &racers[i].tenant, NULL);
            CHECK_OK(record_find(&racers[i].run.rc, &racers[i].run.work, &racers[i].run.err),
                     &racers[i].run.err);
            CHECK_TEXT(racers[i].run.work.tenant_id, "");
            CHECK_OK(record_finalize(&racers[i].run.rc, &racers[i].run.work, &racers[i].run.err),
                     &racers[i].run.err);
        }
    }
    CHECK_INT(winners, 1);
    CHECK_INT(postgres_int(fixture.conn, "SELECT count(*) FROM public.tenants WHERE "
                                         "subdomain = 'acme-0' AND status = 'active'"),
              1);
    for (int i = 0; i < THREADS; i++) {
        run_release(&racers[i].run);
    }
    free(racers);
    cache_free(fixture.services.tenants);
}

static void capacity_is_never_passed(void **state)
{
    const struct fixture *fixture = *state;
    struct racer *racers = xcalloc(THREADS, sizeof(*racers));
    int placed = 0;

    start_race(racers, fixture, false, &tier_tiny);
    for (int i = 0; i < THREADS; i++) {
        placed += racers[i].result == 0;
        if (racers[i].result) {
            CHECK_TEXT(racers[i].run.err.reason, "CapacityExhausted");
        }
        run_release(&racers[i].run);
    }
    CHECK_INT(placed, 3);
    CHECK_INT(postgres_int(fixture->conn, "SELECT count(*) FROM public.tenants WHERE "
                                          "server = 'small'"),
              3);
    CHECK_INT(postgres_int(fixture->conn, "SELECT count(*) FROM public.tenant_billing"), 3);
    free(racers);
}

/* ---- ending, and what comes after ---- */

static void finalize(const struct fixture *fixture, const struct tenant *tenant)
{
    AUTO(run) struct run run = {0};

    run_init(&run, fixture, tenant, NULL);
    CHECK_OK(record_finalize(&run.rc, &run.work, &run.err), &run.err);
}

static void ending_marks_the_row_once(void **state)
{
    const struct fixture *fixture = *state;
    struct tenant tenant = fixture_tenant("acme", "uid-1");
    AUTO(run) struct run run = {0};
    AUTO(run) struct run found = {0};

    finalize(fixture, &tenant); /* never registered */
    run_record(&run, fixture, &tenant, &tier_premium);
    finalize(fixture, &tenant);
    CHECK_INT(postgres_int(fixture->conn, "SELECT count(*) FROM public.tenants WHERE status = "
                                          "'deleted' AND deleted_at = updated_at"),
              1);
    struct quiet quiet = postgres_quiet_begin();
    finalize(fixture, &tenant);
    /* Also for a run that crashed before the finalizer was gone. */
    run_init(&found, fixture, &tenant, NULL);
    CHECK_OK(record_find(&found.rc, &found.work, &found.err), &found.err);
    postgres_quiet_end(&quiet);
    CHECK_TEXT(found.work.tenant_id, run.work.tenant_id);
    CHECK_TEXT(found.work.place.database, "tenant_acme");
    CHECK_TEXT(found.work.place.server, "primary");
}

static void a_name_that_left_nothing_begins_anew(void **state)
{
    const struct fixture *fixture = *state;
    struct tenant old = fixture_tenant("acme", "uid-1");
    struct tenant new = fixture_tenant("acme", "uid-2");
    AUTO(run) struct run first = {0};
    AUTO(run) struct run second = {0};

    run_record(&first, fixture, &old, &tier_premium);
    finalize(fixture, &old);
    run_record(&second, fixture, &new, &tier_premium);
    CHECK(strcmp(first.work.tenant_id, second.work.tenant_id) != 0);
    CHECK(!second.work.adopted);
    finalize(fixture, &old); /* its Tenant is gone for good, and has no say any more */
    CHECK_INT(postgres_int(fixture->conn, "SELECT count(*) FROM public.tenants WHERE status = "
                                          "'active' AND tenant_uid = 'uid-2'"),
              1);
}

static void isolation_and_server_of_a_row_stay(void **state)
{
    const struct fixture *fixture = *state;
    struct tenant tenant = fixture_tenant("acme", "uid-1");
    AUTO(run) struct run first = {0};
    AUTO(run) struct run second = {0};

    run_record(&first, fixture, &tenant, &tier_premium);
    tenant.isolation = ISOLATION_ROW;
    tenant.server = "small";
    struct quiet quiet = postgres_quiet_begin();
    run_record(&second, fixture, &tenant, &tier_premium);
    postgres_quiet_end(&quiet);
    CHECK_TEXT(second.work.place.server, "primary");
    CHECK_INT(second.work.place.isolation, ISOLATION_DATABASE);
}

static void an_unreachable_registry_is_told_and_then_left_alone(void **state)
{
    struct fixture fixture = *(struct fixture *)*state;
    struct tenant tenant = fixture_tenant("acme", "uid-1");
    AUTO(secret) struct secret uri = {0};

    secret_set(&uri, STR("host=127.0.0.1 port=1 user=u dbname=d"));
    fixture.services.registry = registry_new(&uri, 2);
    for (int i = 0; i < 3; i++) {
        AUTO(run) struct run run = {0};
        run_init(&run, &fixture, &tenant, &tier_premium);
        CHECK_FAILS(record_ensure(&run.rc, &run.work, &run.err), &run.err, ERR_RETRY,
                    "DatabaseUnreachable");
        CHECK_NOT_NULL(strstr(run.err.message, "registry: "));
    }
    AUTO(run) struct run run = {0};
    run_init(&run, &fixture, &tenant, &tier_premium);
    CHECK_FAILS(record_ensure(&run.rc, &run.work, &run.err), &run.err, ERR_RETRY,
                "DatabaseUnreachable");
    CHECK_NOT_NULL(strstr(run.err.message, "registry: "));
    CHECK(run.err.retry_after_ms > 0); /* refused by the breaker, without a try */
    registry_free(fixture.services.registry);
}

#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, fixture_set_up, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FIXTURE(tables_are_those_of_the_contract),
        WITH_FIXTURE(a_program_can_insert_by_the_contract_alone),
        WITH_FIXTURE(names_can_be_used_again_after_deletion_only),
        WITH_FIXTURE(migrating_again_writes_nothing),
        WITH_FIXTURE(public_may_not_connect),
        WITH_FIXTURE(what_must_be_granted_is_said),
        WITH_FIXTURE(a_row_is_made_of_the_tenant),
        WITH_FIXTURE(the_billing_period_is_there_from_the_start),
        WITH_FIXTURE(a_second_run_finds_the_row_and_writes_nothing),
        WITH_FIXTURE(nothing_to_write_needs_no_right_to_write),
        WITH_FIXTURE(each_isolation_has_its_place),
        WITH_FIXTURE(a_tenant_without_a_tier_is_not_made),
        WITH_FIXTURE(the_row_follows_the_tenant),
        WITH_FIXTURE(suspending_needs_no_tier),
        WITH_FIXTURE(changes_of_others_are_healed_and_dated),
        WITH_FIXTURE(a_huge_price_fits),
        WITH_FIXTURE(the_next_month_begins_where_the_last_ended),
        WITH_FIXTURE(a_year_begins_with_the_month_of_creation),
        WITH_FIXTURE(a_change_of_cycle_begins_with_the_next_period),
        WITH_FIXTURE(one_of_many_gets_the_name),
        WITH_FIXTURE(capacity_is_never_passed),
        WITH_FIXTURE(ending_marks_the_row_once),
        WITH_FIXTURE(a_name_that_left_nothing_begins_anew),
        WITH_FIXTURE(isolation_and_server_of_a_row_stay),
        WITH_FIXTURE(an_unreachable_registry_is_told_and_then_left_alone),
    };

    return cmocka_run_group_tests(tests, fixture_make, fixture_remove);
}
