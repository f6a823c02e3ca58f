/* With ten thousand tenants every statement of a reconcile finds its rows by an index: what a look
 * costs does not grow with the number of tenants. The statements are those that the server saw. */
#include "tests/check.h"
#include "tests/integration/postgres.h"
#include "tests/integration/registry_fixture.h"

#include "controller/base/clock.h"
#include "reconcilers/registry/orphans.h"
#include "reconcilers/registry/purge.h"
#include "reconcilers/registry/snapshot_record.h"
#include "reconcilers/registry/steps.h"

enum { TENANTS = 10000, FEW = 60, FILLING_MAX_MS = 300000 };

/* However busy the machine is. */
static void fill(struct sql_conn *conn, int tenants)
{
    static const char *const statements[] = {
        "INSERT INTO public.tenant_quotas (tenant_id, resource_type, quota_limit) "
        "SELECT id, r, 10 FROM public.tenants, unnest(ARRAY['api_requests', 'compute_hours', "
        "'sandboxes', 'storage_mb', 'users']) r",
        "INSERT INTO public.tenant_users (tenant_id, email, role) "
        "SELECT id, 'owner@' || subdomain, 'owner' FROM public.tenants",
        "INSERT INTO public.tenant_billing (tenant_id, billing_period_start, billing_period_end) "
        "SELECT id, m, m + interval '1 month' FROM public.tenants, generate_series("
        "date_trunc('month', now() AT TIME ZONE 'UTC') - interval '3 months', "
        "date_trunc('month', now() AT TIME ZONE 'UTC'), '1 month') m",
        "INSERT INTO public.tenant_credentials (tenant_id, kind, digest) "
        "SELECT id, 'login_a', repeat('a', 64) FROM public.tenants",
        "INSERT INTO public.tenant_retained (tenant_id, subdomain, kind, name, location, "
        "delete_after) SELECT id, subdomain, 'database', database_name, 'primary', "
        "CASE WHEN n < 3 THEN now() - interval '1 day' ELSE now() + interval '1 day' END "
        "FROM (SELECT *, row_number() OVER () n FROM public.tenants WHERE status = 'deleted') t",
        "UPDATE public.tenants SET purge_policy = 'Delete' WHERE status = 'deleted'",
        "ANALYZE",
    };
    struct call call = {0};
    struct err err = {0};

    CHECK_OK(sql_be_patient(conn, &call, FILLING_MAX_MS, &err), &err);
    postgres_run(
        conn,
        "INSERT INTO public.tenants (id, name, subdomain, tier, database_name, tenant_name, "
        "tenant_uid, server, isolation, schema_name, status) SELECT "
        "('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 't' || n, 't' || n, "
        "'premium', 'tenant_t' || n, 't' || n, 'uid-' || n, 'primary', 'Database', 'public', "
        "CASE WHEN n %% 10 = 0 THEN 'deleted' ELSE 'active' END FROM generate_series(1, %d) n",
        tenants);
    for (size_t i = 0; i < ARRAY_COUNT(statements); i++) {
        postgres_run(conn, "%s", statements[i]);
    }
}

static int64_t sequential_reads(struct sql_conn *conn)
{
    postgres_run(conn, "SELECT pg_stat_force_next_flush()");
    return postgres_int(conn, "SELECT coalesce(sum(seq_tup_read), 0) FROM pg_stat_user_tables");
}

/* Everything that a look at one tenant asks of the registry. */
static void look(const struct fixture *fixture, const char *name, const char *uid)
{
    AUTO(run) struct run run = {0};
    const struct tenant tenant = fixture_tenant(name, uid);
    struct registry *registry = fixture->services.registry;
    struct snapshot_record record;
    struct registry_claim *claims = NULL;
    char digest[65];

    run_record(&run, fixture, &tenant, &tier_premium);
    CHECK_OK(quotas_ensure(&run.rc, &run.work, &run.err), &run.err);
    CHECK_OK(registry_owner_put(registry, &run.rc, run.work.tenant_id, "admin@acme.com", &run.err),
             &run.err);
    CHECK_OK(
        registry_digest_get(registry, &run.rc, run.work.tenant_id, "login_a", digest, &run.err),
        &run.err);
    CHECK_OK(snapshot_record_get(registry, &run.rc, run.work.tenant_id, uid, &record, &run.err),
             &run.err);
    const char *const ids[] = {run.work.tenant_id};
    CHECK_OK(registry_claims(registry, &run.rc, ids, 1, &claims, &run.err), &run.err);
    CHECK_OK(registry_unretain(registry, &run.rc, run.work.tenant_id, "database", NULL, &run.err),
             &run.err);
}

/* Since sequential_reads() said `before`. */
static void check_few_were_read(struct fixture *fixture, int64_t before)
{
    /* The pool's session tells its numbers when it is idle, or at its end. */
    registry_free(fixture->services.registry);
    AUTO(secret) struct secret uri = {0};
    fixture_uri(&uri);
    fixture->services.registry = registry_new(&uri, 2);
    postgres_wait("SELECT (count(*) = 0)::int FROM pg_stat_activity WHERE usename = "
                  "'registry_test'");
    int64_t read = sequential_reads(fixture->conn) - before;
    if (read > TENANTS / 10) {
        AUTO(free)
        char *words = postgres_text(
            fixture->conn, "SELECT string_agg(format('%%s %%s', relname, seq_tup_read), ', ' "
                           "ORDER BY seq_tup_read DESC) FROM pg_stat_user_tables");
        fail_msg("%lld rows were read by sequential scans; of all: %s", (long long)read, words);
    }
}

/* Choosing a server for one more tenant is registering it: no more is read than for the first. */
static void check_registering_reads_little(struct fixture *fixture)
{
    AUTO(run) struct run first = {0};
    AUTO(run) struct run run = {0};
    const struct tenant warm = fixture_tenant("warm", "uid-warm");
    const struct tenant tenant = fixture_tenant("onemore", "uid-onemore");

    run_record(&first, fixture, &warm, &tier_premium);
    int64_t before = sequential_reads(fixture->conn);
    run_record(&run, fixture, &tenant, &tier_premium);
    check_few_were_read(fixture, before);
}

static void a_look_at_a_tenant_reads_no_table_from_end_to_end(void **state)
{
    const struct fixture *fixture = *state;

    fill(fixture->conn, TENANTS);
    look(fixture, "t7777", "uid-7777"); /* what differs is put right first */
    int64_t before = sequential_reads(fixture->conn);
    look(fixture, "t7777", "uid-7777");
    check_few_were_read(*state, before);
    check_registering_reads_little(*state);
}

/* The counts follow every change, whoever makes it. */
static void loads_are_what_counting_says(void **state)
{
    static const char *const changes[] = {
        "UPDATE public.tenants SET status = 'deleted' WHERE subdomain LIKE 't1%'",
        "UPDATE public.tenants SET status = 'active' WHERE subdomain LIKE 't12%'",
        "UPDATE public.tenants SET status = 'suspended' WHERE subdomain LIKE 't12%'",
        "UPDATE public.tenants SET server = 'secondary' WHERE subdomain LIKE 't2%'",
        "UPDATE public.tenants SET server = NULL WHERE subdomain = 't33'",
        "UPDATE public.tenants SET server = 'primary' WHERE subdomain = 't33'",
        "DELETE FROM public.tenants WHERE subdomain IN ('t44', 't50', 't55')",
        "UPDATE public.tenants SET status = 'deleted' WHERE server = 'secondary'",
    };
    const struct fixture *fixture = *state;

    fill(fixture->conn, FEW);
    postgres_run(fixture->conn, "DELETE FROM public.tenant_billing");
    for (size_t i = 0; i < ARRAY_COUNT(changes); i++) {
        postgres_run(fixture->conn, "%s", changes[i]);
        int64_t different = postgres_int(
            fixture->conn,
            "SELECT count(*) FROM (SELECT server, count(*) AS tenants FROM public.tenants "
            "WHERE status <> 'deleted' AND server IS NOT NULL GROUP BY server) counted "
            "FULL JOIN public.server_loads kept USING (server, tenants) "
            "WHERE kept IS NULL OR counted IS NULL");
        if (different != 0) {
            fail_msg("after %s", changes[i]);
        }
    }
}

static void what_is_due_is_found_by_its_time(void **state)
{
    const struct fixture *fixture = *state;
    AUTO(run) struct run run = {0};
    const char *const *ids = NULL;
    const struct tenant tenant = fixture_tenant("t1", "uid-1");
    size_t count = 0;

    fill(fixture->conn, FEW);
    run_init(&run, fixture, &tenant, &tier_premium);
    CHECK_OK(
        purge_list(fixture->services.registry, &run.rc, clock_wall_s(), &ids, &count, &run.err),
        &run.err);
    CHECK_INT(count, 2);
}

/* The plans themselves, as EXPLAIN tells them, of the statements that programs are told to use. */
static void statements_of_other_programs_use_indexes(void **state)
{
    static const char *const statements[] = {
        "SELECT * FROM public.tenants WHERE subdomain = 't77' AND status <> 'deleted'",
        "SELECT q.* FROM public.tenant_quotas q JOIN public.tenants t ON t.id = q.tenant_id WHERE "
        "t.subdomain = 't77' AND t.status <> 'deleted'",
        "UPDATE public.tenant_quotas SET current_usage = current_usage + 1, updated_at = now() "
        "WHERE tenant_id = '00000000-0000-4000-8000-000000000077' AND resource_type = "
        "'api_requests' AND current_usage < quota_limit",
        "SELECT * FROM public.tenant_users WHERE tenant_id = "
        "'00000000-0000-4000-8000-000000000077'",
        "SELECT * FROM public.tenant_billing WHERE tenant_id = "
        "'00000000-0000-4000-8000-000000000077' ORDER BY billing_period_start DESC LIMIT 1",
        "SELECT * FROM public.tenant_retained WHERE subdomain = 't70'",
        "SELECT * FROM public.tenant_retained WHERE delete_after <= now() - interval '12 hours'",
    };
    const struct fixture *fixture = *state;

    fill(fixture->conn, TENANTS);
    for (size_t i = 0; i < ARRAY_COUNT(statements); i++) {
        AUTO(sql) struct sql query = {0};
        AUTO(sql_rows) struct sql_rows *rows = NULL;
        struct call call = {0};
        struct err err = {0};
        sql_init(&query);
        SQL(&query, "EXPLAIN ");
        CHECK(buf_append_text(&query.text, statements[i]));
        CHECK_OK(sql_query(fixture->conn, &call, &query, &rows, &err), &err);
        for (int row = 0; row < sql_row_count(rows); row++) {
            if (strstr(sql_text(rows, row, 0), "Seq Scan")) {
                fail_msg("%s: %s", statements[i], sql_text(rows, row, 0));
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_look_at_a_tenant_reads_no_table_from_end_to_end,
                                        fixture_set_up, fixture_tear_down),
        cmocka_unit_test_setup_teardown(loads_are_what_counting_says, fixture_set_up,
                                        fixture_tear_down),
        cmocka_unit_test_setup_teardown(what_is_due_is_found_by_its_time, fixture_set_up,
                                        fixture_tear_down),
        cmocka_unit_test_setup_teardown(statements_of_other_programs_use_indexes, fixture_set_up,
                                        fixture_tear_down),
    };
    return cmocka_run_group_tests(tests, fixture_make, fixture_remove);
}
