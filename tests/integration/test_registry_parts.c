/* What other concerns keep in the registry: quotas, people, digests, what is retained. */
#include "tests/check.h"
#include "tests/integration/postgres.h"
#include "tests/integration/registry_fixture.h"

#include "reconcilers/registry/steps.h"

#define DIGEST_1 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define DIGEST_2 "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"

/* A tenant, and its registry with it. */
static void begin(struct run *run, const struct fixture *fixture, struct tenant *tenant)
{
    *tenant = fixture_tenant("acme", "uid-1");
    run_record(run, fixture, tenant, &tier_premium);
    run->work.tenant = tenant; /* the test goes on to change it */
}

/* ---- quotas ---- */

static void ensure_quotas(struct run *run)
{
    CHECK_OK(quotas_ensure(&run->rc, &run->work, &run->err), &run->err);
}

static void check_quotas(const struct fixture *fixture, const char *expected)
{
    AUTO(free)
    char *text = postgres_text(fixture->conn, "SELECT string_agg(resource_type || ' ' || "
                                              "current_usage || '/' || quota_limit, ', ' ORDER BY "
                                              "resource_type) FROM public.tenant_quotas");
    CHECK_TEXT(text, expected);
}

static void every_resource_gets_its_row(void **state)
{
    const struct fixture *fixture = *state;
    struct tenant tenant;
    AUTO(run) struct run run = {0};

    begin(&run, fixture, &tenant);
    ensure_quotas(&run);
    check_quotas(fixture, "api_requests 0/10000, compute_hours 0/10, sandboxes 0/5, "
                          "storage_mb 0/1000, users 0/5");
    CHECK_INT(run.work.quota_count, 5);
    CHECK_TEXT(run.work.quotas[0].resource, "api_requests");
    CHECK_INT(run.work.quotas_used[0], 0);
    CHECK_NULL(run.work.quota_exceeded);
    struct quiet quiet = postgres_quiet_begin();
    ensure_quotas(&run);
    postgres_quiet_end(&quiet);
}

static void limits_follow_and_usage_stays(void **state)
{
    static const struct quota overrides[] = {{"storage_mb", -1}, {"gpus", 2}};
    const struct fixture *fixture = *state;
    struct tenant tenant;
    AUTO(run) struct run run = {0};

    begin(&run, fixture, &tenant);
    ensure_quotas(&run);
    postgres_run(fixture->conn,
                 "UPDATE public.tenant_quotas SET current_usage = 77, quota_limit = 1, "
                 "updated_at = '2020-01-01' WHERE resource_type IN ('api_requests', 'users'); "
                 "INSERT INTO public.tenant_quotas (tenant_id, resource_type, quota_limit) "
                 "SELECT id, 'flop''; --\"\\pies', 3 FROM public.tenants");
    tenant.quotas = overrides;
    tenant.quota_count = ARRAY_COUNT(overrides);
    ensure_quotas(&run);
    check_quotas(fixture, "api_requests 77/10000, compute_hours 0/10, gpus 0/2, sandboxes 0/5, "
                          "storage_mb 0/9223372036854775807, users 77/5");
    CHECK_TEXT(run.work.quota_exceeded, "users: 77 used of 5");
    CHECK_INT(run.work.quota_count, 6);
    CHECK_INT(run.work.quotas[4].limit, -1);
    CHECK_INT(postgres_int(fixture->conn, "SELECT count(*) FROM public.tenant_quotas WHERE "
                                          "updated_at < '2021-01-01'"),
              0);
    struct quiet quiet = postgres_quiet_begin();
    ensure_quotas(&run);
    postgres_quiet_end(&quiet);
}

static void a_lost_row_comes_back(void **state)
{
    const struct fixture *fixture = *state;
    struct tenant tenant;
    AUTO(run) struct run run = {0};

    begin(&run, fixture, &tenant);
    ensure_quotas(&run);
    postgres_run(fixture->conn, "DELETE FROM public.tenant_quotas WHERE resource_type = 'users'");
    ensure_quotas(&run);
    CHECK_INT(postgres_int(fixture->conn, "SELECT count(*) FROM public.tenant_quotas"), 5);
}

static void without_a_tier_rows_stay_as_they_are(void **state)
{
    const struct fixture *fixture = *state;
    struct tenant tenant;
    AUTO(run) struct run run = {0};

    begin(&run, fixture, &tenant);
    ensure_quotas(&run);
    postgres_run(fixture->conn, "UPDATE public.tenant_quotas SET quota_limit = "
                                "9223372036854775807 WHERE resource_type = 'users'");
    run.work.tier = NULL;
    struct quiet quiet = postgres_quiet_begin();
    ensure_quotas(&run);
    postgres_quiet_end(&quiet);
    CHECK_INT(run.work.quota_count, 5);
    CHECK_INT(run.work.quotas[4].limit, -1);
}

/* ---- digests ---- */

static void digests_are_kept_and_replaced(void **state)
{
    const struct fixture *fixture = *state;
    struct registry *registry = fixture->services.registry;
    struct tenant tenant;
    AUTO(run) struct run run = {0};
    char digest[65] = "x";

    begin(&run, fixture, &tenant);
    const char *id = run.work.tenant_id;
    CHECK_OK(registry_digest_get(registry, &run.rc, id, "owner", digest, &run.err), &run.err);
    CHECK_TEXT(digest, "");
    CHECK_OK(registry_digest_put(registry, &run.rc, id, "owner", DIGEST_1, &run.err), &run.err);
    CHECK_OK(registry_digest_put(registry, &run.rc, id, "login_a", DIGEST_2, &run.err), &run.err);
    CHECK_OK(registry_digest_get(registry, &run.rc, id, "owner", digest, &run.err), &run.err);
    CHECK_TEXT(digest, DIGEST_1);
    struct quiet quiet = postgres_quiet_begin();
    CHECK_OK(registry_digest_put(registry, &run.rc, id, "owner", DIGEST_1, &run.err), &run.err);
    postgres_quiet_end(&quiet);
    CHECK_OK(registry_digest_put(registry, &run.rc, id, "owner", DIGEST_2, &run.err), &run.err);
    CHECK_OK(registry_digest_get(registry, &run.rc, id, "owner", digest, &run.err), &run.err);
    CHECK_TEXT(digest, DIGEST_2);
    CHECK_INT(postgres_int(fixture->conn, "SELECT count(*) FROM public.tenant_credentials"), 2);
}

/* ---- what is retained ---- */

static const struct retained things[] = {
    {"database", "tenant_acme", "primary", 7000000},
    {"role", "tenant_acme.owner", "primary", 0},
    {"bucket", "it's \"quoted\" \\", "store", 5},
};

static void retained_things_are_listed_once(void **state)
{
    const struct fixture *fixture = *state;
    struct registry *registry = fixture->services.registry;
    struct tenant tenant;
    AUTO(run) struct run run = {0};

    begin(&run, fixture, &tenant);
    const char *id = run.work.tenant_id;
    CHECK_OK(registry_retain(registry, &run.rc, id, "acme", things, 2, 0, &run.err), &run.err);
    struct quiet quiet = postgres_quiet_begin();
    CHECK_OK(registry_retain(registry, &run.rc, id, "acme", things, 2, 4102444800, &run.err),
             &run.err);
    postgres_quiet_end(&quiet); /* what was said first holds */
    CHECK_OK(registry_retain(registry, &run.rc, id, "acme", things, 3, 4102444800, &run.err),
             &run.err);
    AUTO(free)
    char *list = postgres_text(fixture->conn,
                               "SELECT string_agg(concat_ws(' ', subdomain, kind, name, location, "
                               "size_bytes, delete_after::date), ', ' ORDER BY kind) "
                               "FROM public.tenant_retained");
    CHECK_TEXT(list, "acme bucket it's \"quoted\" \\ store 5 2100-01-01, "
                     "acme database tenant_acme primary 7000000, "
                     "acme role tenant_acme.owner primary 0");
}

static void retained_things_are_forgotten_by_kind_and_name(void **state)
{
    const struct fixture *fixture = *state;
    struct registry *registry = fixture->services.registry;
    struct tenant tenant;
    AUTO(run) struct run run = {0};

    begin(&run, fixture, &tenant);
    const char *id = run.work.tenant_id;
    CHECK_OK(registry_retain(registry, &run.rc, id, "acme", things, 3, 0, &run.err), &run.err);
    CHECK_OK(registry_unretain(registry, &run.rc, id, "role", "other", &run.err), &run.err);
    CHECK_INT(postgres_int(fixture->conn, "SELECT count(*) FROM public.tenant_retained"), 3);
    CHECK_OK(registry_unretain(registry, &run.rc, id, "role", NULL, &run.err), &run.err);
    CHECK_OK(registry_unretain(registry, &run.rc, id, "database", "tenant_acme", &run.err),
             &run.err);
    CHECK_INT(postgres_int(fixture->conn, "SELECT count(*) FROM public.tenant_retained WHERE "
                                          "kind = 'bucket'"),
              1);
    struct quiet quiet = postgres_quiet_begin();
    CHECK_OK(registry_unretain(registry, &run.rc, id, "role", NULL, &run.err), &run.err);
    postgres_quiet_end(&quiet);
    CHECK_OK(registry_unretain(registry, &run.rc, id, NULL, NULL, &run.err), &run.err);
    CHECK_INT(postgres_int(fixture->conn, "SELECT count(*) FROM public.tenant_retained"), 0);
}

/* ---- people ---- */

static void check_users(const struct fixture *fixture, const char *expected)
{
    AUTO(free)
    char *list = postgres_text(fixture->conn, "SELECT string_agg(concat_ws(' ', email, role, "
                                              "status), ', ' ORDER BY email) "
                                              "FROM public.tenant_users");
    CHECK_TEXT(list, expected);
}

static void people_are_put_once(void **state)
{
    const struct fixture *fixture = *state;
    struct registry *registry = fixture->services.registry;
    struct tenant tenant;
    AUTO(run) struct run run = {0};

    begin(&run, fixture, &tenant);
    const char *id = run.work.tenant_id;
    CHECK_OK(registry_user_put(registry, &run.rc, id, "d@a.c", "member", "active", &run.err),
             &run.err);
    struct quiet quiet = postgres_quiet_begin();
    CHECK_OK(registry_user_put(registry, &run.rc, id, "d@a.c", "member", "active", &run.err),
             &run.err);
    postgres_quiet_end(&quiet);
    CHECK_OK(registry_user_put(registry, &run.rc, id, "d@a.c", "admin", "disabled", &run.err),
             &run.err);
    CHECK_OK(registry_user_put(registry, &run.rc, id, "o'r@a.c", "member", "active", &run.err),
             &run.err);
    check_users(fixture, "d@a.c admin disabled, o'r@a.c member active");
}

static void an_owner_is_renamed_not_doubled(void **state)
{
    const struct fixture *fixture = *state;
    struct registry *registry = fixture->services.registry;
    struct tenant tenant;
    AUTO(run) struct run run = {0};

    begin(&run, fixture, &tenant);
    const char *id = run.work.tenant_id;
    CHECK_OK(registry_owner_put(registry, &run.rc, id, "old@a.c", &run.err), &run.err);
    struct quiet quiet = postgres_quiet_begin();
    CHECK_OK(registry_owner_put(registry, &run.rc, id, "old@a.c", &run.err), &run.err);
    postgres_quiet_end(&quiet);
    AUTO(free) char *row = postgres_text(fixture->conn, "SELECT id FROM public.tenant_users");
    CHECK_OK(registry_owner_put(registry, &run.rc, id, "new@a.c", &run.err), &run.err);
    check_users(fixture, "new@a.c owner active");
    AUTO(free) char *same = postgres_text(fixture->conn, "SELECT id FROM public.tenant_users");
    CHECK_TEXT(same, row);
}

static void a_member_can_become_the_owner(void **state)
{
    const struct fixture *fixture = *state;
    struct registry *registry = fixture->services.registry;
    struct tenant tenant;
    AUTO(run) struct run run = {0};

    begin(&run, fixture, &tenant);
    const char *id = run.work.tenant_id;
    CHECK_OK(registry_owner_put(registry, &run.rc, id, "old@a.c", &run.err), &run.err);
    CHECK_OK(registry_user_put(registry, &run.rc, id, "dev@a.c", "member", "disabled", &run.err),
             &run.err);
    CHECK_OK(registry_owner_put(registry, &run.rc, id, "dev@a.c", &run.err), &run.err);
    check_users(fixture, "dev@a.c owner active");
    postgres_run(fixture->conn, "UPDATE public.tenant_users SET role = 'member'");
    CHECK_OK(registry_owner_put(registry, &run.rc, id, "dev@a.c", &run.err), &run.err);
    check_users(fixture, "dev@a.c owner active");
}

#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, fixture_set_up, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FIXTURE(every_resource_gets_its_row),
        WITH_FIXTURE(limits_follow_and_usage_stays),
        WITH_FIXTURE(a_lost_row_comes_back),
        WITH_FIXTURE(without_a_tier_rows_stay_as_they_are),
        WITH_FIXTURE(digests_are_kept_and_replaced),
        WITH_FIXTURE(retained_things_are_listed_once),
        WITH_FIXTURE(retained_things_are_forgotten_by_kind_and_name),
        WITH_FIXTURE(people_are_put_once),
        WITH_FIXTURE(an_owner_is_renamed_not_doubled),
        WITH_FIXTURE(a_member_can_become_the_owner),
    };

    return cmocka_run_group_tests(tests, fixture_make, fixture_remove);
}
