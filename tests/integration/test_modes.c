/* The three isolation modes behind one API: the same tables, the same sight, the same rights. */
#include "tests/check.h"
#include "tests/integration/database_fixture.h"
#include "tests/integration/postgres.h"

#include "reconcilers/database/steps.h"

#define PASSWORD "a-password-of-some-length"

static const enum isolation modes[] = {ISOLATION_DATABASE, ISOLATION_SCHEMA, ISOLATION_ROW};

static struct tenant tenant_in(enum isolation isolation, const char *name, const char *uid)
{
    struct tenant tenant = fixture_tenant(name, uid);
    tenant.isolation = isolation;
    return tenant;
}

static struct sql_conn *log_in(const struct fixture *fixture, const struct run *run)
{
    AUTO(free) char *user = xasprintf("tenant_%s.a", run->tenant.name);
    struct err err = {0};
    struct sql_conn *conn =
        fixture_connect_as(fixture, run->work.place.database, user, PASSWORD, &err);

    if (!conn) {
        fail_msg("%s cannot log in: %s", user, err.message);
    }
    return conn;
}

static void fill(struct sql_conn *conn, const char *schema, const char *mail)
{
    postgres_run(conn,
                 "SET search_path TO %s; "
                 "INSERT INTO users (id, email, password_hash) VALUES "
                 "('00000000-0000-4000-8000-000000000001', '%s', 'x'); "
                 "INSERT INTO applications (user_id, name) SELECT id, email FROM users; "
                 "INSERT INTO deployments (application_id, version) SELECT id, 'v1' FROM "
                 "applications; "
                 "INSERT INTO api_keys (user_id, key_hash) SELECT id, 'hash' FROM users",
                 schema, mail);
}

/* In the shared database, as a superuser sees them. */
static int64_t rows_of(const struct run *run)
{
    if (run->work.place.isolation == ISOLATION_DATABASE) {
        return postgres_int(NULL,
                            "SELECT count(*) FROM pg_database WHERE datname = '%s' AND "
                            "shobj_description(oid, 'pg_database') LIKE '%%%s%%'",
                            run->work.place.database, run->work.tenant_id);
    }
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("dbname=tenantry_shared");
    return run->work.place.isolation == ISOLATION_ROW
               ? postgres_int(conn,
                              "SELECT count(*) FROM tenantry_rows.users WHERE tenant_id = '%s'",
                              run->work.tenant_id)
               : postgres_int(conn, "SELECT count(*) FROM pg_namespace WHERE nspname = '%s'",
                              run->work.place.schema);
}

/* Two tenants may have rows with the same ids, addresses and keys, and each sees its own. */
static void two_tenants_in_each_mode_see_their_own(void **state)
{
    const struct fixture *fixture = *state;

    for (size_t i = 0; i < ARRAY_COUNT(modes); i++) {
        AUTO(free) char *one = xasprintf("one-%zu", i);
        AUTO(free) char *two = xasprintf("two-%zu", i);
        const struct tenant first = tenant_in(modes[i], "one", one);
        const struct tenant second = tenant_in(modes[i], "two", two);
        AUTO(run) struct run a;
        AUTO(run) struct run b;
        AUTO(run) struct run quiet;
        print_message("    %s\n", isolation_text(modes[i]));
        run_provision(&a, fixture, &first);
        run_make_login(&a, fixture, PASSWORD);
        run_provision(&b, fixture, &second);
        run_make_login(&b, fixture, PASSWORD);
        AUTO(sql_conn) struct sql_conn *at_a = log_in(fixture, &a);
        AUTO(sql_conn) struct sql_conn *at_b = log_in(fixture, &b);
        fill(at_a, a.work.place.schema, "same@one.test");
        fill(at_b, b.work.place.schema, "same@one.test");
        CHECK_INT(postgres_int(at_a, "SELECT count(*) FROM users"), 1);
        AUTO(free) char *id = postgres_text(at_b, "SELECT tenant_id FROM deployments");
        CHECK_TEXT(id, b.work.tenant_id);
        const struct quiet since = postgres_quiet_begin();
        run_again(&quiet, fixture, &first);
        postgres_quiet_end(&since);
        AUTO(run) struct run end_a;
        AUTO(run) struct run end_b;
        sql_close(TAKE(at_a));
        CHECK_OK(run_delete(&end_a, fixture, &first, DELETION_DELETE), &end_a.err);
        CHECK_INT(postgres_int(at_b, "SELECT count(*) FROM users"), 1);
        CHECK_INT(rows_of(&a), 0);
        CHECK_INT(rows_of(&b), 1);
        sql_close(TAKE(at_b));
        CHECK_OK(run_delete(&end_b, fixture, &second, DELETION_DELETE), &end_b.err);
        CHECK_INT(postgres_int(NULL, "SELECT count(*) FROM pg_roles WHERE rolname LIKE "
                                     "'tenant\\_one.%%' OR rolname LIKE 'tenant\\_two.%%'"),
                  0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_tenants_in_each_mode_see_their_own),
    };
    return cmocka_run_group_tests(tests, fixture_set_up, fixture_tear_down);
}
