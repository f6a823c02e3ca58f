/* The three isolation modes behind one API: the same tables, the same sight, the same rights. */
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

/* ---- suspending, keeping, taking back ---- */

static bool is_let_in(const struct fixture *fixture, const struct run *run)
{
    AUTO(free) char *user = xasprintf("tenant_%s.a", run->tenant.name);
    struct err err = {0};
    AUTO(sql_conn)
    struct sql_conn *conn =
        fixture_connect_as(fixture, run->work.place.database, user, PASSWORD, &err);

    return conn != NULL;
}

static void a_suspended_tenant_is_out_and_comes_back(void **state)
{
    const struct fixture *fixture = *state;

    for (size_t i = 0; i < ARRAY_COUNT(modes); i++) {
        AUTO(free) char *uid = xasprintf("pause-%zu", i);
        struct tenant tenant = tenant_in(modes[i], "pause", uid);
        AUTO(run) struct run first;
        AUTO(run) struct run suspend;
        AUTO(run) struct run quiet;
        AUTO(run) struct run resume;
        AUTO(run) struct run end;
        run_provision(&first, fixture, &tenant);
        run_make_login(&first, fixture, PASSWORD);
        AUTO(sql_conn) struct sql_conn *live = log_in(fixture, &first);
        fill(live, first.work.place.schema, "a@pause.test");
        tenant.state = TENANT_SUSPENDED;
        run_again(&suspend, fixture, &tenant);
        CHECK(!is_let_in(fixture, &first));
        CHECK_INT(postgres_int(NULL, "SELECT count(*) FROM pg_stat_activity WHERE usename = "
                                     "'tenant_pause.a'"),
                  0);
        const struct quiet since = postgres_quiet_begin();
        run_again(&quiet, fixture, &tenant);
        postgres_quiet_end(&since);
        tenant.state = TENANT_ACTIVE;
        run_again(&resume, fixture, &tenant);
        run_make_login(&resume, fixture, PASSWORD);
        AUTO(sql_conn) struct sql_conn *again = log_in(fixture, &first);
        CHECK_INT(
            postgres_int(again, "SELECT count(*) FROM %s.deployments", first.work.place.schema), 1);
        sql_close(TAKE(again));
        CHECK_OK(run_delete(&end, fixture, &tenant, DELETION_DELETE), &end.err);
    }
}

static char *retained(const struct fixture *fixture, const struct run *run)
{
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("dbname=registry_of_database_test");

    (void)fixture;
    return postgres_text(conn,
                         "SELECT string_agg(concat_ws(' ', kind, name), ', ' ORDER BY kind, name) "
                         "FROM public.tenant_retained WHERE tenant_id = '%s'",
                         run->work.tenant_id);
}

/* The registry asks the API server whether a Tenant that takes something back is there; here there
 * is none, so that what it decides is given. */
static void take_back(struct run *run, const struct fixture *fixture, const struct tenant *tenant,
                      const struct run *first)
{
    run_init(run, fixture, tenant);
    run->work.adopted = true;
    (void)snprintf(run->work.tenant_id, sizeof(run->work.tenant_id), "%s", first->work.tenant_id);
    run->work.place = first->work.place;
    CHECK_OK(database_ensure(&run->rc, &run->work, &run->err), &run->err);
    CHECK_OK(schema_ensure(&run->rc, &run->work, &run->err), &run->err);
}

static void give_back(const struct run *run, const char *uid)
{
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("dbname=registry_of_database_test");
    postgres_run(
        conn,
        "UPDATE public.tenants SET tenant_uid = '%s', status = 'active', deleted_at = NULL "
        "WHERE id = '%s'",
        uid, run->work.tenant_id);
}

static void what_is_kept_is_locked_listed_and_taken_back(void **state)
{
    const struct fixture *fixture = *state;
    static const char *const listed[] = {
        "database tenant_kept, role tenant_kept.a, role tenant_kept.app, role tenant_kept.owner, "
        "role tenant_kept.ro, role tenant_kept.rw",
        "role tenant_kept.a, role tenant_kept.owner, role tenant_kept.ro, role tenant_kept.rw, "
        "schema tenant_kept",
        "role tenant_kept.a, rows tenantry_rows",
    };

    for (size_t i = 0; i < ARRAY_COUNT(modes); i++) {
        AUTO(free) char *uid = xasprintf("kept-%zu", i);
        AUTO(free) char *new_uid = xasprintf("kept-again-%zu", i);
        struct tenant tenant = tenant_in(modes[i], "kept", uid);
        struct tenant anew = tenant_in(modes[i], "kept", new_uid);
        AUTO(run) struct run first;
        AUTO(run) struct run keep;
        AUTO(run) struct run refused;
        AUTO(run) struct run adopt;
        AUTO(run) struct run end;
        print_message("    %s\n", isolation_text(modes[i]));
        run_provision(&first, fixture, &tenant);
        run_make_login(&first, fixture, PASSWORD);
        AUTO(sql_conn) struct sql_conn *conn = log_in(fixture, &first);
        fill(conn, first.work.place.schema, "a@kept.test");
        sql_close(TAKE(conn));
        CHECK_OK(run_delete(&keep, fixture, &tenant, DELETION_RETAIN), &keep.err);
        CHECK(!is_let_in(fixture, &first));
        AUTO(free) char *list = retained(fixture, &first);
        CHECK_TEXT(list, listed[i]);
        run_init(&refused, fixture, &anew);
        CHECK_FAILS(record_ensure(&refused.rc, &refused.work, &refused.err), &refused.err,
                    ERR_TERMINAL, "NameConflict");
        anew.adopt = first.work.tenant_id;
        take_back(&adopt, fixture, &anew, &first);
        run_make_login(&adopt, fixture, PASSWORD);
        AUTO(sql_conn) struct sql_conn *again = log_in(fixture, &first);
        CHECK_INT(postgres_int(again, "SELECT count(*) FROM %s.api_keys", first.work.place.schema),
                  1);
        AUTO(free) char *nothing = retained(fixture, &first);
        CHECK_TEXT(nothing, "");
        sql_close(TAKE(again));
        give_back(&first, new_uid);
        CHECK_OK(run_delete(&end, fixture, &anew, DELETION_DELETE), &end.err);
        CHECK_INT(rows_of(&first), 0);
    }
}

/* More rows than one batch, and what hangs on the roles besides them. */
static void a_large_tenant_goes_in_batches_and_leaves_nothing(void **state)
{
    const struct fixture *fixture = *state;
    const struct tenant tenant = tenant_in(ISOLATION_ROW, "large", "large");
    AUTO(run) struct run first;
    AUTO(run) struct run end;

    run_provision(&first, fixture, &tenant);
    run_make_login(&first, fixture, PASSWORD);
    AUTO(sql_conn) struct sql_conn *conn = log_in(fixture, &first);
    postgres_run(conn, "INSERT INTO tenantry_rows.users (email, password_hash) SELECT i, 'x' FROM "
                       "generate_series(1, 12000) i");
    AUTO(free) char *object = postgres_text(conn, "SELECT lo_from_bytea(0, 'x')::text");
    sql_close(TAKE(conn));
    CHECK_OK(run_delete(&end, fixture, &tenant, DELETION_DELETE), &end.err);
    CHECK_INT(rows_of(&first), 0);
    AUTO(sql_conn) struct sql_conn *shared = postgres_connect("dbname=tenantry_shared");
    CHECK_INT(postgres_int(shared,
                           "SELECT (SELECT count(*) FROM tenantry_rows.tenant_logins WHERE "
                           "tenant_id = '%s') + (SELECT count(*) FROM "
                           "pg_largeobject_metadata WHERE oid = %s)",
                           first.work.tenant_id, object),
              0);
}

/* ---- whose it is ---- */

static void somebody_elses_schema_or_role_is_left_alone(void **state)
{
    const struct fixture *fixture = *state;
    const struct tenant tenant = tenant_in(ISOLATION_SCHEMA, "taken", "taken");
    AUTO(run) struct run run;
    AUTO(run) struct run then;
    AUTO(run) struct run end;

    /* The shared database is there. */
    const struct tenant before = tenant_in(ISOLATION_SCHEMA, "before", "before");
    AUTO(run) struct run first;
    run_provision(&first, fixture, &before);
    AUTO(sql_conn) struct sql_conn *shared = postgres_connect("dbname=tenantry_shared");
    postgres_run(shared, "CREATE SCHEMA tenant_taken CREATE TABLE theirs (n int)");
    run_init(&run, fixture, &tenant);
    CHECK_OK(record_ensure(&run.rc, &run.work, &run.err), &run.err);
    CHECK_OK(database_ensure(&run.rc, &run.work, &run.err), &run.err);
    CHECK_FAILS(schema_ensure(&run.rc, &run.work, &run.err), &run.err, ERR_TERMINAL,
                "NameConflict");
    CHECK_OK(run_delete(&then, fixture, &tenant, DELETION_DELETE), &then.err);
    CHECK_INT(postgres_int(shared, "SELECT count(*) FROM tenant_taken.theirs"), 0);
    postgres_run(shared, "DROP SCHEMA tenant_taken CASCADE");

    postgres_run(NULL, "CREATE ROLE \"tenant_taken.rw\"");
    const struct tenant again = tenant_in(ISOLATION_SCHEMA, "taken", "taken-2");
    AUTO(run) struct run refused;
    run_init(&refused, fixture, &again);
    CHECK_OK(record_ensure(&refused.rc, &refused.work, &refused.err), &refused.err);
    CHECK_FAILS(database_ensure(&refused.rc, &refused.work, &refused.err), &refused.err,
                ERR_TERMINAL, "NameConflict");
    postgres_run(NULL, "DROP ROLE \"tenant_taken.rw\"");
    CHECK_OK(run_delete(&end, fixture, &before, DELETION_DELETE), &end.err);
}

/* ---- drift ---- */

struct drift {
    enum isolation isolation; /* of the tenant that finds it */
    const char *what;
    const char *harm;  /* by a superuser, in the shared database */
    const char *probe; /* 0 = as it should be */
};

static const struct drift drifts[] = {
    {ISOLATION_ROW, "PUBLIC may connect to the shared database",
     "GRANT CONNECT ON DATABASE tenantry_shared TO PUBLIC",
     "SELECT count(*) FROM pg_database, aclexplode(datacl) WHERE datname = 'tenantry_shared' AND "
     "grantee = 0"},
    {ISOLATION_ROW, "the shared database lost its mark",
     "COMMENT ON DATABASE tenantry_shared IS NULL",
     "SELECT count(*) FROM pg_database WHERE datname = 'tenantry_shared' AND "
     "shobj_description(oid, 'pg_database') IS NULL"},
    {ISOLATION_SCHEMA, "a group of all logs in", "ALTER ROLE tenantry_shared LOGIN",
     "SELECT count(*) FROM pg_roles WHERE rolname = 'tenantry_shared' AND rolcanlogin"},
    {ISOLATION_ROW, "the rw of all may not connect",
     "SET ROLE " FIXTURE_CONTROLLER
     "; REVOKE tenantry_shared FROM \"tenantry_rows.rw\"; RESET ROLE",
     "SELECT 1 - count(*) FROM pg_auth_members WHERE roleid = 'tenantry_shared'::regrole AND "
     "member "
     "= '\"tenantry_rows.rw\"'::regrole"},
    {ISOLATION_ROW, "a login is a member of the owner of all",
     "SET ROLE " FIXTURE_CONTROLLER
     "; GRANT \"tenantry_rows.owner\" TO \"tenant_drifter.a\"; RESET ROLE",
     "SELECT count(*) FROM pg_auth_members WHERE roleid = '\"tenantry_rows.owner\"'::regrole AND "
     "member = '\"tenant_drifter.a\"'::regrole"},
    {ISOLATION_ROW, "a login is mapped to nobody",
     "DELETE FROM tenantry_rows.tenant_logins WHERE login = 'tenant_drifter.a'",
     "SELECT 1 - count(*) FROM tenantry_rows.tenant_logins WHERE login = 'tenant_drifter.a'"},
    {ISOLATION_ROW, "a login is mapped to another",
     "UPDATE tenantry_rows.tenant_logins SET tenant_id = gen_random_uuid() WHERE login = "
     "'tenant_drifter.a'",
     "SELECT count(*) FROM tenantry_rows.tenant_logins a JOIN tenantry_rows.tenant_logins b ON "
     "a.login = 'tenant_drifter.a' AND b.login = 'tenant_drifter.b' AND a.tenant_id <> "
     "b.tenant_id"},
    {ISOLATION_ROW, "the mapping knows of no fence, as an earlier program made it",
     "DROP FUNCTION tenantry_rows.writer(name) CASCADE; "
     "ALTER TABLE tenantry_rows.tenant_logins DROP COLUMN spent",
     "SELECT 5 - (SELECT count(*) FROM pg_policy WHERE polrelid IN (SELECT oid FROM pg_class WHERE "
     "relnamespace = 'tenantry_rows'::regnamespace)) - (SELECT count(*) FROM pg_attribute WHERE "
     "attrelid = 'tenantry_rows.tenant_logins'::regclass AND attname = 'spent')"},
    {ISOLATION_ROW, "the mapping can be read",
     "GRANT SELECT ON tenantry_rows.tenant_logins TO \"tenantry_rows.rw\"",
     "SELECT has_table_privilege('tenantry_rows.rw', 'tenantry_rows.tenant_logins', "
     "'SELECT')::int"},
    {ISOLATION_ROW, "the policy's function lets all through",
     "CREATE OR REPLACE FUNCTION tenantry_rows.tenant(acting name) RETURNS uuid LANGUAGE sql AS "
     "$$ SELECT NULL::uuid $$",
     "SELECT count(*) FROM pg_proc WHERE oid = 'tenantry_rows.tenant(name)'::regprocedure AND NOT "
     "prosecdef"},
    {ISOLATION_ROW, "PUBLIC may ask the policy's function",
     "GRANT EXECUTE ON FUNCTION tenantry_rows.tenant(name) TO PUBLIC",
     "SELECT count(*) FROM pg_proc, aclexplode(proacl) WHERE proname = 'tenant' AND grantee = 0"},
    {ISOLATION_ROW, "row-level security is off",
     "ALTER TABLE tenantry_rows.users DISABLE ROW LEVEL SECURITY",
     "SELECT count(*) FROM pg_class WHERE oid = 'tenantry_rows.users'::regclass AND NOT "
     "relrowsecurity"},
    {ISOLATION_ROW, "a policy is gone", "DROP POLICY tenant ON tenantry_rows.api_keys",
     "SELECT 1 - count(*) FROM pg_policy WHERE polrelid = 'tenantry_rows.api_keys'::regclass"},
    {ISOLATION_ROW, "a policy more", "CREATE POLICY all_of_it ON tenantry_rows.users USING (true)",
     "SELECT count(*) FROM pg_policy WHERE polname = 'all_of_it'"},
    {ISOLATION_ROW, "rw may truncate",
     "GRANT TRUNCATE ON tenantry_rows.users TO \"tenantry_rows.rw\"",
     "SELECT has_table_privilege('tenantry_rows.rw', 'tenantry_rows.users', 'TRUNCATE')::int"},
    {ISOLATION_ROW, "a key does not lead with the tenant",
     "ALTER TABLE tenantry_rows.users DROP CONSTRAINT users_email_key, ADD CONSTRAINT "
     "users_email_key UNIQUE (email)",
     "SELECT count(*) FROM pg_constraint WHERE conname = 'users_email_key' AND conrelid = "
     "'tenantry_rows.users'::regclass AND array_length(conkey, 1) = 1"},
    {ISOLATION_ROW, "statistics are kept",
     "ALTER TABLE tenantry_rows.users ALTER COLUMN email SET STATISTICS 100",
     "SELECT count(*) FROM pg_attribute WHERE attrelid = 'tenantry_rows.users'::regclass AND "
     "attname = 'email' AND attstattarget <> 0"},
    {ISOLATION_ROW, "a table has no default for its tenant",
     "ALTER TABLE tenantry_rows.users ALTER COLUMN tenant_id DROP DEFAULT",
     "SELECT count(*) FROM pg_attribute WHERE attrelid = 'tenantry_rows.users'::regclass AND "
     "attname = 'tenant_id' AND NOT atthasdef"},
    {ISOLATION_SCHEMA, "a schema has another owner",
     "ALTER SCHEMA tenant_drifter OWNER TO " FIXTURE_CONTROLLER,
     "SELECT count(*) FROM pg_namespace WHERE nspname = 'tenant_drifter' AND "
     "pg_get_userbyid(nspowner) <> 'tenant_drifter.owner'"},
    {ISOLATION_SCHEMA, "PUBLIC may use a schema", "GRANT USAGE ON SCHEMA tenant_drifter TO PUBLIC",
     "SELECT count(*) FROM pg_namespace, aclexplode(nspacl) WHERE nspname = 'tenant_drifter' AND "
     "grantee = 0"},
    {ISOLATION_SCHEMA, "another tenant's role may use a schema",
     "GRANT USAGE ON SCHEMA tenant_drifter TO \"tenantry_rows.rw\"",
     "SELECT has_schema_privilege('tenantry_rows.rw', 'tenant_drifter', 'USAGE')::int"},
    {ISOLATION_SCHEMA, "a policy of a schema is gone", "DROP POLICY tenant ON tenant_drifter.users",
     "SELECT 1 - count(*) FROM pg_policy WHERE polrelid = 'tenant_drifter.users'::regclass"},
    {ISOLATION_SCHEMA, "a schema is gone", "DROP SCHEMA tenant_drifter CASCADE",
     "SELECT (to_regclass('tenant_drifter.users') IS NULL)::int"},
    {ISOLATION_SCHEMA, "the owner role of a schema lost its mark",
     "COMMENT ON ROLE \"tenant_drifter.owner\" IS NULL",
     "SELECT count(*) FROM pg_roles WHERE rolname = 'tenant_drifter.owner' AND "
     "shobj_description(oid, 'pg_authid') IS NULL"},
    {ISOLATION_ROW, "the tables of all are gone", "DROP SCHEMA tenantry_rows CASCADE",
     "SELECT (to_regclass('tenantry_rows.users') IS NULL OR NOT EXISTS (SELECT FROM "
     "tenantry_rows.tenant_logins WHERE login = 'tenant_drifter.a'))::int"},
};

/* Warn is about what people change, and not about what an older program made. */
static void an_older_programs_shared_tables_are_upgraded_under_warn(void **state)
{
    static const char probe[] =
        "SELECT count(*) FROM pg_attribute WHERE attname = 'spent' AND NOT attisdropped AND "
        "attrelid = 'tenantry_rows.tenant_logins'::regclass";
    const struct tenant tenant = tenant_in(ISOLATION_ROW, "older", "older");
    AUTO(run) struct run first;
    AUTO(run) struct run again;
    AUTO(run) struct run end;

    run_provision(&first, *state, &tenant);
    AUTO(sql_conn) struct sql_conn *shared = postgres_connect("dbname=tenantry_shared");
    postgres_run(shared, "DROP FUNCTION tenantry_rows.writer(name) CASCADE; "
                         "ALTER TABLE tenantry_rows.tenant_logins DROP COLUMN spent; "
                         "COMMENT ON SCHEMA tenantry_rows IS 'tenantry: schema 1'");
    fixture_set_drift(*state, "Warn");
    run_init(&again, *state, &tenant);
    again.tenant.status.schema_version = 1;
    CHECK_OK(record_ensure(&again.rc, &again.work, &again.err), &again.err);
    CHECK_OK(database_ensure(&again.rc, &again.work, &again.err), &again.err);
    CHECK_INT(postgres_int(shared, "%s", probe), 1);
    fixture_set_drift(*state, "Heal");
    CHECK_OK(run_delete(&end, *state, &tenant, DELETION_DELETE), &end.err);
}

static void drift_in_a_shared_database_is_put_right(void **state)
{
    const struct fixture *fixture = *state;
    enum isolation isolation = ISOLATION_DEFAULT;
    struct tenant tenant = {0};
    AUTO(sql_conn) struct sql_conn *shared = NULL;

    for (size_t pass = 1; pass < ARRAY_COUNT(modes); pass++) {
        AUTO(run) struct run first;
        AUTO(run) struct run end;
        AUTO(free) char *uid = xasprintf("drifter-%zu", pass);
        isolation = modes[pass];
        tenant = tenant_in(isolation, "drifter", uid);
        run_provision(&first, fixture, &tenant);
        run_make_login(&first, fixture, PASSWORD);
        shared = shared ? shared : postgres_connect("dbname=tenantry_shared");
        for (size_t i = 0; i < ARRAY_COUNT(drifts); i++) {
            const struct drift *drift = &drifts[i];
            if (drift->isolation != isolation) {
                continue;
            }
            AUTO(run) struct run run;
            AUTO(run) struct run quiet;
            print_message("    %s\n", drift->what);
            CHECK_INT(postgres_int(shared, "%s", drift->probe), 0);
            postgres_run(shared, "%s", drift->harm);
            run_again(&run, fixture, &tenant);
            CHECK_INT(postgres_int(shared, "%s", drift->probe), 0);
            const struct quiet since = postgres_quiet_begin();
            run_again(&quiet, fixture, &tenant);
            postgres_quiet_end(&since);
        }
        CHECK_OK(run_delete(&end, fixture, &tenant, DELETION_DELETE), &end.err);
    }
}

/* Without the shared database nothing of the tenant is left; it is made again, empty. */
static void a_shared_database_dropped_by_hand_is_made_again(void **state)
{
    const struct fixture *fixture = *state;

    for (size_t i = 1; i < ARRAY_COUNT(modes); i++) {
        AUTO(free) char *uid = xasprintf("lost-%zu", i);
        const struct tenant tenant = tenant_in(modes[i], "lost", uid);
        AUTO(run) struct run first;
        AUTO(run) struct run again;
        AUTO(run) struct run end;
        run_provision(&first, fixture, &tenant);
        run_make_login(&first, fixture, PASSWORD);
        postgres_run(NULL, "DROP DATABASE tenantry_shared WITH (FORCE)");
        run_again(&again, fixture, &tenant);
        AUTO(sql_conn) struct sql_conn *conn = log_in(fixture, &first);
        fill(conn, first.work.place.schema, "a@lost.test");
        sql_close(TAKE(conn));
        if (i == 1) {
            postgres_run(NULL, "DROP DATABASE tenantry_shared WITH (FORCE)");
        }
        CHECK_OK(run_delete(&end, fixture, &tenant, DELETION_DELETE), &end.err);
        CHECK_INT(postgres_int(NULL, "SELECT count(*) FROM pg_roles WHERE rolname LIKE "
                                     "'tenant\\_lost.%%'"),
                  0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_tenants_in_each_mode_see_their_own),
        cmocka_unit_test(a_suspended_tenant_is_out_and_comes_back),
        cmocka_unit_test(what_is_kept_is_locked_listed_and_taken_back),
        cmocka_unit_test(a_large_tenant_goes_in_batches_and_leaves_nothing),
        cmocka_unit_test(somebody_elses_schema_or_role_is_left_alone),
        cmocka_unit_test(drift_in_a_shared_database_is_put_right),
        cmocka_unit_test(an_older_programs_shared_tables_are_upgraded_under_warn),
        cmocka_unit_test(a_shared_database_dropped_by_hand_is_made_again),
    };
    return cmocka_run_group_tests(tests, fixture_set_up, fixture_tear_down);
}
