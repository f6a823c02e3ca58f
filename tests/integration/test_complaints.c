/* What users of other operators complained of, each a test named after where they did. Those about
 * the end of a database are in test_database_end, about Secrets in test_tenant_objects, about
 * rotation in test_login_rotation, about bills in test_billing, and about limits in
 * test_gateway_quota. */
#include "tests/check.h"
#include "tests/integration/database_fixture.h"
#include "tests/integration/postgres.h"

#include "reconcilers/database/steps.h"
#include "reconcilers/registry/steps.h"

#define PASSWORD "a-password-of-some-length"

static const enum isolation modes[] = {ISOLATION_DATABASE, ISOLATION_SCHEMA, ISOLATION_ROW};

static struct tenant tenant_in(enum isolation isolation, const char *name, const char *uid)
{
    struct tenant tenant = fixture_tenant(name, uid);
    tenant.isolation = isolation;
    return tenant;
}

static void provision(struct run *run, const struct fixture *fixture, const struct tenant *tenant)
{
    run_provision(run, fixture, tenant);
    run_make_login(run, fixture, PASSWORD);
}

static struct sql_conn *log_in(const struct fixture *fixture, const struct run *run,
                               const char *database, struct err *err)
{
    AUTO(arena) struct arena arena = {0};
    struct scope scope;

    arena_init(&arena, 0);
    scope_init(&scope, &arena, &run->work);
    return fixture_connect_as(fixture, database, scope.roles[ROLE_A], PASSWORD, err);
}

static int try_sql(struct sql_conn *conn, const char *statement, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    struct call call = {0};

    sql_init(&query);
    sql_append_literal(&query, statement, strlen(statement));
    return sql_script(conn, &call, &query, err);
}

static void end(const struct fixture *fixture, const struct tenant *tenant)
{
    AUTO(run) struct run run;
    CHECK_OK(run_delete(&run, fixture, tenant, DELETION_DELETE), &run.err);
}

/* Deleting the duplicate that lost dropped the winner's database. */
static void cnpg_10866_deleting_the_loser_leaves_the_winner(void **state)
{
    const struct fixture *fixture = *state;

    for (size_t i = 0; i < ARRAY_COUNT(modes); i++) {
        AUTO(free) char *uid = xasprintf("winner-%zu", i);
        AUTO(free) char *other = xasprintf("loser-%zu", i);
        const struct tenant winner = tenant_in(modes[i], "twice", uid);
        struct tenant loser = tenant_in(modes[i], "twice", other);
        AUTO(run) struct run first;
        AUTO(run) struct run lost;
        struct err err = {0};
        provision(&first, fixture, &winner);
        loser.name = "another-object";
        CHECK_OK(run_delete(&lost, fixture, &loser, DELETION_DELETE), &lost.err);
        AUTO(sql_conn)
        struct sql_conn *conn = log_in(fixture, &first, first.work.place.database, &err);
        CHECK_NOT_NULL(conn);
        sql_close(TAKE(conn));
        end(fixture, &winner);
    }
}

/* Deletion hung as long as a pool kept connecting. */
static void provider_sql_397_a_pool_does_not_hold_deletion_up(void **state)
{
    const struct fixture *fixture = *state;

    for (size_t i = 0; i < ARRAY_COUNT(modes); i++) {
        AUTO(free) char *uid = xasprintf("pooled-%zu", i);
        const struct tenant tenant = tenant_in(modes[i], "pooled", uid);
        AUTO(run) struct run run;
        struct err err = {0};
        provision(&run, fixture, &tenant);
        AUTO(sql_conn)
        struct sql_conn *idle = log_in(fixture, &run, run.work.place.database, &err);
        AUTO(sql_conn)
        struct sql_conn *busy = log_in(fixture, &run, run.work.place.database, &err);
        CHECK_OK(try_sql(busy, "BEGIN; SELECT pg_catalog.pg_advisory_xact_lock(7)", &err), &err);
        end(fixture, &tenant);
        CHECK_NULL(log_in(fixture, &run, run.work.place.database, &err));
        CHECK_INT(postgres_int(NULL, "SELECT count(*) FROM pg_roles WHERE rolname LIKE "
                                     "'tenant\\_pooled.%%'"),
                  0);
    }
}

/* Since PostgreSQL 15: permission denied for schema public. */
static void kloeckner_186_a_tenant_can_use_its_schema_at_once(void **state)
{
    const struct fixture *fixture = *state;

    for (size_t i = 0; i < ARRAY_COUNT(modes); i++) {
        AUTO(free) char *uid = xasprintf("usable-%zu", i);
        const struct tenant tenant = tenant_in(modes[i], "usable", uid);
        AUTO(run) struct run run;
        struct err err = {0};
        provision(&run, fixture, &tenant);
        AUTO(sql_conn)
        struct sql_conn *conn = log_in(fixture, &run, run.work.place.database, &err);
        AUTO(free)
        char *statement =
            xasprintf("INSERT INTO %s.users (email, password_hash) VALUES ('a', 'x'); "
                      "CREATE TEMP TABLE t (n int)%s",
                      run.work.place.schema, i == 0 ? "; CREATE TABLE app.mine (n int)" : "");
        CHECK_OK(try_sql(conn, statement, &err), &err);
        sql_close(TAKE(conn));
        end(fixture, &tenant);
    }
}

/* Any role could connect to any database. */
static void cnpg_10831_a_role_connects_to_its_own_database_alone(void **state)
{
    const struct fixture *fixture = *state;
    const struct tenant own = tenant_in(ISOLATION_DATABASE, "door", "door");
    const struct tenant rows = tenant_in(ISOLATION_ROW, "hall", "hall");
    AUTO(run) struct run of_own;
    AUTO(run) struct run of_rows;
    struct err err = {0};

    provision(&of_own, fixture, &own);
    provision(&of_rows, fixture, &rows);
    CHECK_NULL(log_in(fixture, &of_own, "tenantry_shared", &err));
    CHECK_TEXT(err.code, "42501");
    CHECK_NULL(log_in(fixture, &of_rows, "tenant_door", &err));
    CHECK_TEXT(err.code, "42501");
    CHECK_NULL(log_in(fixture, &of_rows, "postgres", &err));
    CHECK_TEXT(err.code, "42501");
    end(fixture, &own);
    end(fixture, &rows);
}

/* Default privileges cover only what the role named in FOR ROLE makes. */
static void zalando_1170_what_the_owner_makes_later_can_be_used(void **state)
{
    const struct fixture *fixture = *state;

    for (size_t i = 0; i < 2; i++) {
        AUTO(free) char *uid = xasprintf("later-%zu", i);
        const struct tenant tenant = tenant_in(modes[i], "later", uid);
        AUTO(run) struct run run;
        provision(&run, fixture, &tenant);
        AUTO(free) char *more = xasprintf("dbname=%s", run.work.place.database);
        AUTO(sql_conn) struct sql_conn *conn = postgres_connect(more);
        postgres_run(conn, "SET ROLE \"tenant_later.owner\"; CREATE TABLE %s.more (n int)",
                     run.work.place.schema);
        CHECK_INT(postgres_int(conn,
                               "SELECT (has_table_privilege('tenant_later.rw', '%1$s.more', "
                               "'INSERT') AND has_table_privilege('tenant_later.ro', '%1$s.more', "
                               "'SELECT') AND has_table_privilege('tenantry_app', '%1$s.more', "
                               "'UPDATE') AND NOT has_table_privilege('tenant_later.rw', "
                               "'%1$s.more', 'TRUNCATE'))::int",
                               run.work.place.schema),
                  1);
        sql_close(TAKE(conn));
        end(fixture, &tenant);
    }
}

/* 16,867 roles in the rights of one table, until the catalog row was full. */
static void open_bank_9689_rights_do_not_grow_with_tenants(void **state)
{
    const struct fixture *fixture = *state;
    static const char rights[] =
        "SELECT (SELECT count(*) FROM pg_database, aclexplode(datacl) WHERE datname = "
        "'tenantry_shared') + (SELECT count(*) FROM pg_class c, aclexplode(relacl) WHERE "
        "relnamespace = 'tenantry_rows'::regnamespace) + (SELECT count(*) FROM pg_namespace, "
        "aclexplode(nspacl) WHERE nspname = 'tenantry_rows') + (SELECT count(*) FROM pg_policy "
        "WHERE polrelid = 'tenantry_rows.users'::regclass)";
    const struct tenant first = tenant_in(ISOLATION_ROW, "rights", "rights");
    AUTO(run) struct run run;
    int64_t before = 0;

    provision(&run, fixture, &first);
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("dbname=tenantry_shared");
    before = postgres_int(conn, "%s", rights);
    for (int i = 0; i < 6; i++) {
        AUTO(free) char *name = xasprintf("rights%d", i);
        const struct tenant tenant = tenant_in(modes[1 + i % 2], name, name);
        AUTO(run) struct run more;
        provision(&more, fixture, &tenant);
        CHECK_INT(postgres_int(conn, "%s", rights), before);
        end(fixture, &tenant);
    }
    end(fixture, &first);
}

/* Source database "template1" is being accessed by other users. */
static void sqlx_1283_a_session_on_template1_is_in_nobodys_way(void **state)
{
    const struct fixture *fixture = *state;
    const struct tenant own = tenant_in(ISOLATION_DATABASE, "plain", "plain");
    AUTO(sql_conn) struct sql_conn *there = postgres_connect("dbname=template1");
    AUTO(run) struct run run;

    provision(&run, fixture, &own);
    CHECK(sql_is_healthy(there));
    end(fixture, &own);
}

/* Names over 63 bytes were cut, and met. */
static void sqlmesh_4082_the_longest_names_do_not_meet(void **state)
{
    const struct fixture *fixture = *state;

    for (size_t i = 0; i < ARRAY_COUNT(modes); i++) {
        AUTO(free) char *uid_x = xasprintf("long-x-%zu", i);
        AUTO(free) char *uid_y = xasprintf("long-y-%zu", i);
        const struct tenant one =
            tenant_in(modes[i], "a23456789-123456789-123456789-123456789-1234567x", uid_x);
        const struct tenant two =
            tenant_in(modes[i], "a23456789-123456789-123456789-123456789-1234567y", uid_y);
        AUTO(run) struct run first;
        AUTO(run) struct run second;
        struct err err = {0};
        provision(&first, fixture, &one);
        provision(&second, fixture, &two);
        AUTO(sql_conn)
        struct sql_conn *conn = log_in(fixture, &first, first.work.place.database, &err);
        CHECK_NOT_NULL(conn);
        AUTO(free)
        char *statement = xasprintf("INSERT INTO %s.users (email, password_hash) VALUES ('a', 'x')",
                                    first.work.place.schema);
        CHECK_OK(try_sql(conn, statement, &err), &err);
        AUTO(sql_conn)
        struct sql_conn *other = log_in(fixture, &second, second.work.place.database, &err);
        CHECK_INT(postgres_int(other, "SELECT count(*) FROM %s.users", second.work.place.schema),
                  0);
        sql_close(TAKE(conn));
        sql_close(TAKE(other));
        end(fixture, &one);
        end(fixture, &two);
    }
}

/* An owner dropped his own database. */
static void cnpg_10011_a_tenant_cannot_drop_what_it_lives_in(void **state)
{
    const struct fixture *fixture = *state;

    for (size_t i = 0; i < ARRAY_COUNT(modes); i++) {
        AUTO(free) char *uid = xasprintf("home-%zu", i);
        const struct tenant tenant = tenant_in(modes[i], "home", uid);
        AUTO(run) struct run run;
        struct err err = {0};
        provision(&run, fixture, &tenant);
        AUTO(sql_conn)
        struct sql_conn *conn = log_in(fixture, &run, run.work.place.database, &err);
        AUTO(free) char *database = xasprintf("DROP DATABASE %s", run.work.place.database);
        AUTO(free) char *schema = xasprintf("DROP SCHEMA %s CASCADE", run.work.place.schema);
        AUTO(free) char *table = xasprintf("DROP TABLE %s.users CASCADE", run.work.place.schema);
        const char *const statements[] = {database, schema, table};
        for (size_t s = 0; s < ARRAY_COUNT(statements); s++) {
            CHECK(try_sql(conn, statements[s], &err) != 0);
            CHECK_TEXT(err.code, "42501");
        }
        sql_close(TAKE(conn));
        end(fixture, &tenant);
    }
}

/* A reconciler took back the ADMIN that PostgreSQL 16 gives whoever makes a role. */
static void cnpg_11448_the_controllers_own_memberships_are_left_alone(void **state)
{
    const struct fixture *fixture = *state;
    static const char own[] = "SELECT count(*) FROM pg_auth_members WHERE member = "
                              "'" FIXTURE_CONTROLLER "'::regrole";

    for (size_t i = 0; i < ARRAY_COUNT(modes); i++) {
        AUTO(free) char *uid = xasprintf("admin-%zu", i);
        const struct tenant tenant = tenant_in(modes[i], "adminof", uid);
        AUTO(run) struct run run;
        AUTO(run) struct run again;
        provision(&run, fixture, &tenant);
        int64_t before = postgres_int(NULL, "%s", own);
        const struct quiet since = postgres_quiet_begin();
        run_again(&again, fixture, &tenant);
        postgres_quiet_end(&since);
        CHECK_INT(postgres_int(NULL, "%s", own), before);
        end(fixture, &tenant);
    }
}

/* One credential that all tenants had made every tenant readable. */
static void kobe_105_no_login_is_shared(void **state)
{
    const struct fixture *fixture = *state;

    for (size_t i = 0; i < ARRAY_COUNT(modes); i++) {
        AUTO(free) char *uid = xasprintf("kobe-%zu", i);
        AUTO(free) char *other = xasprintf("another-%zu", i);
        const struct tenant one = tenant_in(modes[i], "kobe-one", uid);
        const struct tenant two = tenant_in(modes[i], "kobe-two", other);
        AUTO(run) struct run of_one;
        AUTO(run) struct run of_two;
        struct err err = {0};

        provision(&of_one, fixture, &one);
        provision(&of_two, fixture, &two);
        AUTO(sql_conn)
        struct sql_conn *conn = log_in(fixture, &of_one, of_one.work.place.database, &err);
        CHECK_NOT_NULL(conn);
        AUTO(free) char *self = postgres_text(conn, "SELECT session_user");
        CHECK_TEXT(self, "tenant_kobe_one.a");
        /* It can become neither the other's login nor the controller. */
        CHECK(try_sql(conn, "SET SESSION AUTHORIZATION \"tenant_kobe_two.a\"", &err) != 0);
        CHECK_TEXT(err.code, "42501");
        CHECK(try_sql(conn, "SET ROLE \"tenant_kobe_two.a\"", &err) != 0);
        CHECK_TEXT(err.code, "42501");
        CHECK(try_sql(conn, "SET ROLE " FIXTURE_CONTROLLER, &err) != 0);
        CHECK_TEXT(err.code, "42501");
        CHECK_INT(postgres_int(NULL, "SELECT count(*) FROM pg_auth_members m JOIN pg_roles r "
                                     "ON r.oid = m.member WHERE r.rolname LIKE 'tenant\\_kobe%%.a' "
                                     "AND pg_get_userbyid(m.roleid) LIKE 'tenant\\_kobe%%' AND "
                                     "split_part(pg_get_userbyid(m.roleid), '.', 1) <> "
                                     "split_part(r.rolname, '.', 1)"),
                  0);
        sql_close(TAKE(conn));
        end(fixture, &one);
        end(fixture, &two);
    }
}

/* A list of what is forbidden is never whole: what is not in the tier's list is refused. */
static void supautils_118_only_listed_extensions_are_made(void **state)
{
    static const char *const listed[] = {"citext", "pgcrypto", "file_fdw"};
    static const char *const wanted[] = {"citext", "pgcrypto"};
    static const char *const unlisted[] = {"citext", "dblink"};
    static const char *const untrusted[] = {"file_fdw"};
    const struct fixture *fixture = *state;
    struct tenant tenant = tenant_in(ISOLATION_DATABASE, "extended", "extended");
    struct tier tier = tier_small;
    AUTO(run) struct run run;

    tier.extensions = listed;
    tier.extension_count = ARRAY_COUNT(listed);
    run_provision(&run, fixture, &tenant);
    run.work.tier = &tier;
    run.tenant.extensions = unlisted;
    run.tenant.extension_count = ARRAY_COUNT(unlisted);
    CHECK_FAILS(extensions_ensure(&run.rc, &run.work, &run.err), &run.err, ERR_TERMINAL,
                "ExtensionRefused");
    CHECK_NOT_NULL(strstr(run.err.message, "\"dblink\""));
    AUTO(sql_conn) struct sql_conn *admin = postgres_connect("dbname=tenant_extended");
    CHECK_INT(postgres_int(admin, "SELECT count(*) FROM pg_extension WHERE extname = 'citext'"), 0);

    run.tenant.extensions = wanted;
    run.tenant.extension_count = ARRAY_COUNT(wanted);
    CHECK_OK(extensions_ensure(&run.rc, &run.work, &run.err), &run.err);
    CHECK_INT(postgres_int(admin, "SELECT count(*) FROM pg_extension WHERE extname IN ('citext', "
                                  "'pgcrypto') AND extnamespace = 'extensions'::regnamespace"),
              2);
    /* The tenant uses them, and neither adds to their schema nor drops them. */
    run_make_login(&run, fixture, PASSWORD);
    struct err err = {0};
    AUTO(sql_conn) struct sql_conn *conn = log_in(fixture, &run, "tenant_extended", &err);
    CHECK_NOT_NULL(conn);
    CHECK_OK(try_sql(conn,
                     "CREATE TABLE app.t (name extensions.citext); "
                     "SELECT extensions.gen_random_bytes(8)",
                     &err),
             &err);
    CHECK(try_sql(conn, "CREATE TABLE extensions.t ()", &err) != 0);
    CHECK_TEXT(err.code, "42501");
    CHECK(try_sql(conn, "DROP EXTENSION pgcrypto", &err) != 0);
    CHECK_TEXT(err.code, "42501");
    /* All is there: not a write. The tenant schema is still what it must be. */
    run.tenant.status.schema_version = run.work.schema_version;
    const struct quiet since = postgres_quiet_begin();
    CHECK_OK(extensions_ensure(&run.rc, &run.work, &run.err), &run.err);
    CHECK_OK(schema_ensure(&run.rc, &run.work, &run.err), &run.err);
    postgres_quiet_end(&since);

    /* What only a superuser may create is told to one; and never dropped is what was. */
    run.tenant.extensions = untrusted;
    run.tenant.extension_count = ARRAY_COUNT(untrusted);
    CHECK_FAILS(extensions_ensure(&run.rc, &run.work, &run.err), &run.err, ERR_TERMINAL,
                "InsufficientPrivilege");
    const char *statement = strstr(run.err.message, "CREATE EXTENSION");
    CHECK_NOT_NULL(statement);
    postgres_run(admin, "%s", statement);
    CHECK_OK(extensions_ensure(&run.rc, &run.work, &run.err), &run.err);
    CHECK_INT(postgres_int(admin, "SELECT count(*) FROM pg_extension WHERE extname IN ('citext', "
                                  "'pgcrypto', 'file_fdw')"),
              3);
    sql_close(TAKE(conn));
    sql_close(TAKE(admin));
    end(fixture, &tenant);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cnpg_10866_deleting_the_loser_leaves_the_winner),
        cmocka_unit_test(provider_sql_397_a_pool_does_not_hold_deletion_up),
        cmocka_unit_test(kloeckner_186_a_tenant_can_use_its_schema_at_once),
        cmocka_unit_test(cnpg_10831_a_role_connects_to_its_own_database_alone),
        cmocka_unit_test(zalando_1170_what_the_owner_makes_later_can_be_used),
        cmocka_unit_test(open_bank_9689_rights_do_not_grow_with_tenants),
        cmocka_unit_test(sqlx_1283_a_session_on_template1_is_in_nobodys_way),
        cmocka_unit_test(sqlmesh_4082_the_longest_names_do_not_meet),
        cmocka_unit_test(cnpg_10011_a_tenant_cannot_drop_what_it_lives_in),
        cmocka_unit_test(cnpg_11448_the_controllers_own_memberships_are_left_alone),
        cmocka_unit_test(kobe_105_no_login_is_shared),
        cmocka_unit_test(supautils_118_only_listed_extensions_are_made),
    };
    return cmocka_run_group_tests(tests, fixture_set_up, fixture_tear_down);
}
