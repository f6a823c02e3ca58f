/* The spec's members in the tenant's users and in tenant_users, in each isolation mode. */
#include "tests/check.h"
#include "tests/integration/postgres.h"
#include "tests/integration/tenant_life.h"

#define REGISTRY "dbname=registry_of_database_test"

static const struct person two[] = {{"dev@acme.com", "Dev", MEMBER_MEMBER},
                                    {"ops@acme.com", "Ops", MEMBER_ADMIN}};

static void name_members(struct life *life, const struct person *people, size_t count)
{
    life->tenant.members = people;
    life->tenant.member_count = count;
}

/* The rows of users that are not the owner's. */
static void check_users(const struct life *life, const char *wanted)
{
    AUTO(sql_conn) struct sql_conn *conn = life_database(life);
    AUTO(free)
    char *users = postgres_text(
        conn,
        "SELECT coalesce(string_agg(concat_ws(' ', email, full_name, role, must_change_password, "
        "password_hash), ', ' ORDER BY email), '') FROM %s.users WHERE role <> 'owner' AND "
        "tenant_id = '%s'",
        life->run.work.place.schema, life->run.work.tenant_id);
    CHECK_TEXT(users, wanted);
}

static void check_registered(const struct life *life, const char *wanted)
{
    AUTO(sql_conn) struct sql_conn *registry = postgres_connect(REGISTRY);
    AUTO(free)
    char *rows =
        postgres_text(registry,
                      "SELECT string_agg(concat_ws(' ', email, role, status), ', ' ORDER BY email) "
                      "FROM public.tenant_users WHERE tenant_id = '%s'",
                      life->run.work.tenant_id);
    CHECK_TEXT(rows, wanted);
}

static void run_in(void **state, const char *name, enum isolation isolation)
{
    AUTO(life) struct life life;

    life_init(&life, *state, name);
    life.tenant.isolation = isolation;
    name_members(&life, two, 2);
    life_make(&life);
    check_users(&life, "dev@acme.com Dev member t !, ops@acme.com Ops admin t !");
    check_registered(&life, "admin@acme.com owner active, dev@acme.com member active, "
                            "ops@acme.com admin active");
    const struct quiet since = postgres_quiet_begin();
    life_drift_check(&life);
    postgres_quiet_end(&since);

    /* Somebody who set a password, and has a key, is removed, and comes back. */
    AUTO(sql_conn) struct sql_conn *conn = life_database(&life);
    AUTO(free) char *tenant_id = xstrdup(life.run.work.tenant_id);
    AUTO(free) char *schema = xstrdup(life.run.work.place.schema);
    postgres_run(conn,
                 "UPDATE %s.users SET password_hash = 'hash', must_change_password = false "
                 "WHERE email = 'dev@acme.com' AND tenant_id = '%s'",
                 schema, tenant_id);
    postgres_run(conn,
                 "INSERT INTO %s.api_keys (tenant_id, user_id, key_hash) SELECT tenant_id, id, "
                 "'k' || id FROM %s.users WHERE email = 'dev@acme.com' AND tenant_id = '%s'",
                 schema, schema, tenant_id);
    name_members(&life, two + 1, 1);
    life_drift_check(&life);
    check_users(&life, "dev@acme.com Dev member f !disabled!hash, ops@acme.com Ops admin t !");
    check_registered(&life, "admin@acme.com owner active, dev@acme.com member disabled, "
                            "ops@acme.com admin active");
    CHECK_INT(postgres_int(conn,
                           "SELECT count(*) FROM %s.api_keys WHERE expires_at <= now() AND "
                           "tenant_id = '%s'",
                           schema, tenant_id),
              1);
    name_members(&life, two, 2);
    life_drift_check(&life);
    check_users(&life, "dev@acme.com Dev member f hash, ops@acme.com Ops admin t !");

    /* Removed for good. */
    name_members(&life, NULL, 0);
    life.tenant.erase_members = "dev@acme.com";
    life_drift_check(&life);
    check_users(&life, "ops@acme.com Ops admin t !disabled!!");
    check_registered(&life, "admin@acme.com owner active, ops@acme.com admin disabled");
    const struct quiet rest = postgres_quiet_begin();
    life_drift_check(&life);
    postgres_quiet_end(&rest);
}

static void members_of_a_database(void **state)
{
    run_in(state, "people", ISOLATION_DATABASE);
}

static void members_of_a_schema(void **state)
{
    run_in(state, "people-schema", ISOLATION_SCHEMA);
}

static void members_of_rows(void **state)
{
    run_in(state, "people-row", ISOLATION_ROW);
}

static void who_does_not_fit_is_named_and_not_added(void **state)
{
    static const struct quota narrow[] = {{"users", 2}};
    static const struct quota wide[] = {{"users", -1}};
    AUTO(life) struct life life;

    life_init(&life, *state, "crowded");
    name_members(&life, two, 2);
    life.tenant.quotas = narrow;
    life.tenant.quota_count = 1;
    life_make(&life);
    CHECK_NOT_NULL(life.run.work.members_excess);
    CHECK_NOT_NULL(strstr(life.run.work.members_excess, "1 over the limit of 2"));
    CHECK_NOT_NULL(strstr(life.run.work.members_excess, "ops@acme.com"));
    check_users(&life, "dev@acme.com Dev member t !");
    check_registered(&life, "admin@acme.com owner active, dev@acme.com member active");
    life.tenant.quotas = wide;
    life_drift_check(&life);
    CHECK_NULL(life.run.work.members_excess);
    check_users(&life, "dev@acme.com Dev member t !, ops@acme.com Ops admin t !");
}

static void people_of_other_programs_are_left_alone(void **state)
{
    AUTO(life) struct life life;

    life_init(&life, *state, "mixed");
    name_members(&life, two, 1);
    life_make(&life);
    AUTO(sql_conn) struct sql_conn *conn = life_database(&life);
    AUTO(sql_conn) struct sql_conn *registry = postgres_connect(REGISTRY);
    postgres_run(conn,
                 "INSERT INTO public.users (email, password_hash) VALUES ('x@acme.com', 'h')");
    postgres_run(registry,
                 "INSERT INTO public.tenant_users (tenant_id, email, role) VALUES ('%s', "
                 "'x@acme.com', 'member')",
                 life.run.work.tenant_id);
    name_members(&life, NULL, 0);
    life_drift_check(&life);
    check_registered(&life, "admin@acme.com owner active, dev@acme.com member disabled, "
                            "x@acme.com member active");
    check_users(&life, "dev@acme.com Dev member t !disabled!!, x@acme.com member f h");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_of_a_database),
        cmocka_unit_test(members_of_a_schema),
        cmocka_unit_test(members_of_rows),
        cmocka_unit_test(who_does_not_fit_is_named_and_not_added),
        cmocka_unit_test(people_of_other_programs_are_left_alone),
    };
    return cmocka_run_group_tests(tests, life_set_up, life_tear_down);
}
