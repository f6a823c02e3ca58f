/* What a tenant's login may and may not do, tenant against tenant, on a real server; and what the
 * application roles see. docs/isolation.md */
#include "tests/check.h"
#include "tests/integration/database_fixture.h"
#include "tests/integration/postgres.h"

#include "reconcilers/database/steps.h"

#define PASSWORD "a-password-of-some-length"

struct pair {
    struct fixture *fixture;
    struct run ours;
    struct run theirs;
    struct sql_conn *conn; /* our login */
    char *their_id;
};

static int set_up(void **state)
{
    struct pair *pair = xcalloc(1, sizeof(*pair));
    const struct tenant ours = fixture_tenant("ours", "uid-ours");
    const struct tenant theirs = fixture_tenant("theirs", "uid-theirs");
    void *fixture = NULL;
    struct err err = {0};

    CHECK_INT(fixture_set_up(&fixture), 0);
    pair->fixture = fixture;
    run_provision(&pair->ours, fixture, &ours);
    run_make_login(&pair->ours, fixture, PASSWORD);
    run_provision(&pair->theirs, fixture, &theirs);
    run_make_login(&pair->theirs, fixture, PASSWORD);
    pair->their_id = xstrdup(pair->theirs.work.tenant_id);
    pair->conn = fixture_connect_as(fixture, "tenant_ours", "tenant_ours.a", PASSWORD, &err);
    if (!pair->conn) {
        fail_msg("our own login is refused: %s", err.message);
    }
    /* Two users, an application each, a deployment each. */
    postgres_run(pair->conn,
                 "SET search_path TO public; "
                 "INSERT INTO users (id, email, password_hash) VALUES "
                 "('00000000-0000-4000-8000-000000000001', 'one@ours.test', 'x'), "
                 "('00000000-0000-4000-8000-000000000002', 'two@ours.test', 'x'); "
                 "INSERT INTO applications (user_id, name) SELECT id, email FROM users; "
                 "INSERT INTO deployments (application_id, version) SELECT id, name FROM "
                 "applications; "
                 "INSERT INTO api_keys (user_id, key_hash) SELECT id, email FROM users");
    sql_close(pair->conn);
    pair->conn = fixture_connect_as(fixture, "tenant_ours", "tenant_ours.a", PASSWORD, &err);
    *state = pair;
    return 0;
}

static int tear_down(void **state)
{
    struct pair *pair = *state;
    void *fixture = pair->fixture;

    sql_close(pair->conn);
    run_release(&pair->ours);
    run_release(&pair->theirs);
    free(pair->their_id);
    free(pair);
    return fixture_tear_down(&fixture);
}

static int run_statement(struct sql_conn *conn, const char *statement, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    struct call call = {0};

    sql_init(&query);
    sql_append_literal(&query, statement, strlen(statement));
    return sql_script(conn, &call, &query, err);
}

/* ---- attacks ---- */

struct attack {
    const char *statement;
    const char *sqlstate; /* how it is refused */
};

/* %s is the other tenant's id. */
static const struct attack attacks[] = {
    /* towards the owner, who could switch row-level security off */
    {"SET ROLE \"tenant_ours.owner\"", "42501"},
    {"SET SESSION AUTHORIZATION \"tenant_ours.owner\"", "42501"},
    {"RESET ROLE; SET ROLE NONE; SET ROLE \"tenant_ours.owner\"", "42501"},
    {"SET ROLE tenantry_app", "42501"},
    {"SET ROLE " FIXTURE_CONTROLLER, "42501"},
    {"GRANT \"tenant_ours.owner\" TO \"tenant_ours.a\"", "42501"},
    {"GRANT \"tenant_theirs.rw\" TO \"tenant_ours.a\"", "42501"},
    {"ALTER ROLE \"tenant_ours.a\" CREATEROLE", "42501"},
    {"ALTER ROLE \"tenant_theirs.a\" PASSWORD 'x'", "42501"},
    {"CREATE ROLE mine", "42501"},
    {"ALTER DATABASE tenant_ours OWNER TO \"tenant_ours.a\"", "42501"},
    {"ALTER DATABASE tenant_ours CONNECTION LIMIT 100", "42501"},
    {"ALTER DATABASE tenant_ours SET search_path TO app", "42501"},
    /* the tables of the tenant schema */
    {"ALTER TABLE public.users DISABLE ROW LEVEL SECURITY", "42501"},
    {"ALTER TABLE public.users NO FORCE ROW LEVEL SECURITY", "42501"},
    {"DROP POLICY tenant ON public.users", "42501"},
    {"CREATE POLICY mine ON public.users USING (true)", "42501"},
    {"ALTER TABLE public.users ADD COLUMN mine text", "42501"},
    {"DROP TABLE public.users", "42501"},
    {"TRUNCATE public.users", "42501"},
    {"CREATE TABLE app.probe (id uuid REFERENCES public.users (id))", "42501"},
    {"CREATE FUNCTION app.spy() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$; "
     "CREATE TRIGGER spy BEFORE INSERT ON public.users FOR EACH ROW EXECUTE FUNCTION app.spy()",
     "42501"},
    {"CREATE RULE spy AS ON SELECT TO public.users DO INSTEAD SELECT 1", "42501"},
    {"SET row_security TO off; SELECT * FROM public.users", "42501"},
    {"BEGIN; LOCK TABLE pg_catalog.pg_authid", "42501"},
    /* other places in the database and the server */
    {"CREATE TABLE public.mine ()", "42501"},
    {"CREATE SCHEMA mine", "42501"},
    {"CREATE EXTENSION hstore", "42501"},
    {"CREATE DATABASE mine", "42501"},
    {"DROP DATABASE tenant_theirs", "42501"},
    {"ALTER SCHEMA public OWNER TO \"tenant_ours.app\"", "42501"},
    {"ALTER SCHEMA app RENAME TO public2", "42501"},
    {"CREATE EVENT TRIGGER mine ON ddl_command_start EXECUTE FUNCTION pg_catalog.now()", "42501"},
    {"CREATE PUBLICATION mine FOR ALL TABLES", "42501"},
    {"COPY public.users TO PROGRAM 'cat'", "42501"},
    {"COPY public.users TO '/tmp/tenantry-attack'", "42501"},
    {"SELECT pg_catalog.pg_read_file('/etc/passwd')", "42501"},
    {"SELECT pg_catalog.lo_import('/etc/passwd')", "42501"},
    {"SELECT * FROM pg_catalog.pg_authid", "42501"},
    {"SELECT pg_catalog.pg_reload_conf()", "42501"},
    {"ALTER SYSTEM SET work_mem TO '1GB'", "42501"},
    {"SET log_statement TO 'none'", "42501"},
    {"SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity "
     "WHERE usename = '" FIXTURE_CONTROLLER "'",
     "42501"},
    {"DO LANGUAGE plpgsql $$ BEGIN EXECUTE 'SET ROLE \"tenant_ours.owner\"'; END $$", "42501"},
    /* rows of another tenant */
    {"INSERT INTO public.users (tenant_id, email, password_hash) VALUES "
     "('%s', 'x@theirs.test', 'x')",
     "42501"},
    {"UPDATE public.users SET tenant_id = '%s'", "42501"},
};

static void every_attack_is_refused(void **state)
{
    struct pair *pair = *state;

    /* The controller's session that one of the attacks aims at. */
    AUTO(sql_conn) struct sql_conn *controller = fixture_connect(pair->fixture, "postgres");
    for (size_t i = 0; i < ARRAY_COUNT(attacks); i++) {
        AUTO(buf) struct buf statement = BUF(4096);
        struct err err = {0};
        struct str rest = str_from(attacks[i].statement);
        const char *id = strstr(attacks[i].statement, "%s");
        (void)buf_append(&statement, rest.ptr, id ? (size_t)(id - rest.ptr) : rest.len);
        if (id) {
            (void)buf_append_text(&statement, pair->their_id);
            (void)buf_append_text(&statement, id + 2);
        }
        AUTO(sql_conn)
        struct sql_conn *conn =
            fixture_connect_as(pair->fixture, "tenant_ours", "tenant_ours.a", PASSWORD, &err);
        CHECK_NOT_NULL(conn);
        if (run_statement(conn, buf_text(&statement), &err) == 0) {
            fail_msg("not refused: %s", buf_text(&statement));
        }
        if (!err_has_code(&err, attacks[i].sqlstate)) {
            fail_msg("%s: refused with %s %s", buf_text(&statement), err.code, err.message);
        }
    }
    CHECK(sql_is_healthy(controller));
    CHECK_INT(postgres_int(pair->conn, "SELECT count(*) FROM public.users"), 2);
}

static void no_other_database_lets_it_in(void **state)
{
    struct pair *pair = *state;
    static const char *const databases[] = {"tenant_theirs", "postgres", "template1",
                                            "registry_of_database_test"};

    for (size_t i = 0; i < ARRAY_COUNT(databases); i++) {
        struct err err = {0};
        AUTO(sql_conn)
        struct sql_conn *conn =
            fixture_connect_as(pair->fixture, databases[i], "tenant_ours.a", PASSWORD, &err);
        CHECK_NULL(conn);
        CHECK_TEXT(err.code, "42501");
    }
}

static void granting_what_one_has_gives_nothing_away(void **state)
{
    struct pair *pair = *state;
    struct err err = {0};

    /* PostgreSQL warns and grants nothing. */
    (void)run_statement(pair->conn, "GRANT ALL ON public.users TO PUBLIC", &err);
    (void)run_statement(pair->conn, "GRANT CONNECT ON DATABASE tenant_ours TO PUBLIC", &err);
    CHECK_INT(postgres_int(pair->conn, "SELECT count(*) FROM pg_class, aclexplode(relacl) "
                                       "WHERE relname = 'users' AND grantee = 0"),
              0);
    CHECK_INT(postgres_int(NULL, "SELECT count(*) FROM pg_database, aclexplode(datacl) "
                                 "WHERE datname = 'tenant_ours' AND grantee = 0"),
              0);
}

/* ---- what a login sees ---- */

static int64_t rows_with(struct sql_conn *conn, const char *setting, const char *value)
{
    AUTO(free)
    char *ignored = postgres_text(conn, "SELECT set_config('%s', '%s', false)", setting, value);
    return postgres_int(conn, "SELECT (SELECT count(*) FROM public.users) + "
                              "(SELECT count(*) FROM public.applications) + "
                              "(SELECT count(*) FROM public.deployments) + "
                              "(SELECT count(*) FROM public.api_keys)");
}

static void a_login_sees_its_tenant_and_no_setting_widens_that(void **state)
{
    struct pair *pair = *state;
    struct err err = {0};
    AUTO(sql_conn)
    struct sql_conn *conn =
        fixture_connect_as(pair->fixture, "tenant_ours", "tenant_ours.a", PASSWORD, &err);

    CHECK_NOT_NULL(conn);
    CHECK_INT(rows_with(conn, "app.unrelated", "x"), 8);
    CHECK_INT(rows_with(conn, "app.user_role", "owner"), 8);
    CHECK_INT(rows_with(conn, "app.user_id", "00000000-0000-4000-8000-000000000001"), 8);
    CHECK_INT(rows_with(conn, "app.tenant_id", pair->ours.work.tenant_id), 8);
    CHECK_INT(rows_with(conn, "app.tenant_id", pair->their_id), 0);
    CHECK_INT(rows_with(conn, "app.tenant_id", "no uuid at all"), 0);
    CHECK_INT(rows_with(conn, "app.tenant_id", ""), 8);
}

static void a_login_works_in_its_own_schema(void **state)
{
    struct pair *pair = *state;
    struct err err = {0};
    AUTO(sql_conn)
    struct sql_conn *conn =
        fixture_connect_as(pair->fixture, "tenant_ours", "tenant_ours.a", PASSWORD, &err);

    CHECK_NOT_NULL(conn);
    /* The driver sets its own search path; the role's default is what a client gets. */
    CHECK_OK(run_statement(conn,
                           "RESET search_path; SET search_path TO app, public; "
                           "CREATE TABLE notes (text text); INSERT INTO notes VALUES ('mine'); "
                           "CREATE TEMPORARY TABLE scrap (n int); "
                           "CREATE VIEW everyone AS SELECT email FROM users",
                           &err),
             &err);
    AUTO(free)
    char *owner = postgres_text(conn, "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = "
                                      "'app.notes'::regclass");
    CHECK_TEXT(owner, "tenant_ours.app");
    CHECK_INT(postgres_int(conn, "SELECT count(*) FROM everyone"), 2);
    AUTO(free)
    char *settings = postgres_text(
        NULL, "SELECT array_to_string(setconfig, ' ') FROM pg_db_role_setting WHERE setrole = "
              "'\"tenant_ours.a\"'::regrole");
    CHECK_TEXT(settings, "role=tenant_ours.app search_path=app, public statement_timeout=10000 "
                         "idle_in_transaction_session_timeout=60000");
}

static void the_connection_limit_holds(void **state)
{
    struct pair *pair = *state;
    struct sql_conn *held[8] = {0};
    struct err err = {0};
    size_t count = 0;

    postgres_wait("SELECT (count(*) = 0)::int FROM pg_stat_activity WHERE usename = "
                  "'tenant_theirs.a'");
    while (count < ARRAY_COUNT(held) &&
           (held[count] = fixture_connect_as(pair->fixture, "tenant_theirs", "tenant_theirs.a",
                                             PASSWORD, &err))) {
        count++;
    }
    CHECK_INT(count, tier_small.connection_limit);
    CHECK_TEXT(err.code, "53300");
    while (count > 0) {
        sql_close(held[--count]);
    }
}

/* ---- the application roles ---- */

struct view {
    const char *tenant_id; /* NULL: ours; "theirs": the other's */
    const char *user_id;
    const char *user_role;
    int64_t users;
    int64_t deployments;
};

static const struct view views[] = {
    {"", "", "", 0, 0},
    {"", "00000000-0000-4000-8000-000000000001", "owner", 0, 0},
    {"theirs", "", "owner", 0, 0},
    {"garbage", "", "owner", 0, 0},
    {NULL, "", "", 2, 0},
    {NULL, "00000000-0000-4000-8000-000000000001", "", 2, 1},
    {NULL, "00000000-0000-4000-8000-000000000002", "member", 2, 1},
    {NULL, "00000000-0000-4000-8000-000000000009", "member", 2, 0},
    {NULL, "garbage", "member", 2, 0},
    {NULL, "garbage", "admin", 2, 2},
    {NULL, "00000000-0000-4000-8000-000000000001", "owner", 2, 2},
};

static void application_roles_see_what_their_settings_say(void **state)
{
    struct pair *pair = *state;
    static const char *const roles[] = {"tenantry_app", "tenantry_gateway"};
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("dbname=tenant_ours");

    /* The gateway itself has no rights on tables; here it gets them to show that it is bound too.
     */
    postgres_run(conn, "GRANT USAGE ON SCHEMA public TO tenantry_gateway; GRANT SELECT ON ALL "
                       "TABLES IN SCHEMA public TO tenantry_gateway");
    for (size_t r = 0; r < ARRAY_COUNT(roles); r++) {
        for (size_t i = 0; i < ARRAY_COUNT(views); i++) {
            const struct view *view = &views[i];
            const char *id = !view->tenant_id                        ? pair->ours.work.tenant_id
                             : text_equal(view->tenant_id, "theirs") ? pair->their_id
                                                                     : view->tenant_id;
            postgres_run(conn, "BEGIN; SET LOCAL ROLE %s", roles[r]);
            AUTO(free)
            char *ignored = postgres_text(conn,
                                          "SELECT set_config('app.tenant_id', '%s', true), "
                                          "set_config('app.user_id', '%s', true), "
                                          "set_config('app.user_role', '%s', true)",
                                          id, view->user_id, view->user_role);
            CHECK_INT(postgres_int(conn, "SELECT count(*) FROM public.users"), view->users);
            CHECK_INT(postgres_int(conn, "SELECT count(*) FROM public.deployments"),
                      view->deployments);
            postgres_run(conn, "ROLLBACK");
            /* After a transaction the setting is '' and no longer absent: still nothing. */
            postgres_run(conn, "BEGIN; SET LOCAL ROLE %s", roles[r]);
            CHECK_INT(postgres_int(conn, "SELECT count(*) FROM public.users"), 0);
            postgres_run(conn, "ROLLBACK");
        }
    }
    postgres_run(conn, "REVOKE ALL ON ALL TABLES IN SCHEMA public FROM tenantry_gateway; REVOKE "
                       "USAGE ON SCHEMA public FROM tenantry_gateway");
}

static void an_application_role_cannot_write_for_others(void **state)
{
    struct pair *pair = *state;
    struct err err = {0};
    AUTO(buf) struct buf statement = BUF(1024);
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("dbname=tenant_ours");

    (void)buf_printf(&statement,
                     "BEGIN; SET LOCAL ROLE tenantry_app; "
                     "SELECT set_config('app.tenant_id', '%s', true); "
                     "INSERT INTO public.users (email, password_hash) VALUES ('x@y.z', 'x')",
                     pair->their_id);
    CHECK(run_statement(conn, buf_text(&statement), &err) != 0);
    CHECK_TEXT(err.code, "42501");
    CHECK_OK(run_statement(conn, "ROLLBACK", &err), &err);
    /* Deployments only to applications of its own. */
    buf_clear(&statement);
    (void)buf_printf(&statement,
                     "BEGIN; SET LOCAL ROLE tenantry_app; "
                     "SELECT set_config('app.tenant_id', '%s', true), "
                     "set_config('app.user_id', '00000000-0000-4000-8000-000000000001', true); "
                     "INSERT INTO public.deployments (application_id, version) "
                     "SELECT id, 'v2' FROM public.applications WHERE name = 'two@ours.test'",
                     pair->ours.work.tenant_id);
    CHECK(run_statement(conn, buf_text(&statement), &err) != 0);
    CHECK_TEXT(err.code, "42501");
    CHECK_OK(run_statement(conn, "ROLLBACK", &err), &err);
}

/* Row-level security binds the tables' owner too. */
static void the_owner_role_is_bound(void **state)
{
    struct pair *pair = *state;
    AUTO(sql_conn) struct sql_conn *conn = fixture_connect(pair->fixture, "tenant_ours");

    postgres_run(conn, "SET ROLE \"tenant_ours.owner\"");
    CHECK_INT(rows_with(conn, "app.unrelated", "x"), 8);
    CHECK_INT(rows_with(conn, "app.tenant_id", pair->their_id), 0);
}

/* ---- suspension ---- */

static void suspending_ends_sessions_and_resuming_restores(void **state)
{
    struct pair *pair = *state;
    AUTO(run) struct run suspend;
    AUTO(run) struct run quiet;
    AUTO(run) struct run resume;
    struct err err = {0};
    struct tenant tenant = fixture_tenant("theirs", "uid-theirs");
    AUTO(sql_conn)
    struct sql_conn *live =
        fixture_connect_as(pair->fixture, "tenant_theirs", "tenant_theirs.a", PASSWORD, &err);

    CHECK_NOT_NULL(live);
    tenant.state = TENANT_SUSPENDED;
    run_again(&suspend, pair->fixture, &tenant);
    CHECK(run_statement(live, "SELECT 1", &err) != 0);
    CHECK_NULL(
        fixture_connect_as(pair->fixture, "tenant_theirs", "tenant_theirs.a", PASSWORD, &err));
    CHECK_TEXT(err.code, "28000");
    const struct quiet since = postgres_quiet_begin();
    run_again(&quiet, pair->fixture, &tenant);
    postgres_quiet_end(&since);

    tenant.state = TENANT_ACTIVE;
    run_again(&resume, pair->fixture, &tenant);
    run_make_login(&resume, pair->fixture, PASSWORD);
    AUTO(sql_conn)
    struct sql_conn *again =
        fixture_connect_as(pair->fixture, "tenant_theirs", "tenant_theirs.a", PASSWORD, &err);
    CHECK_NOT_NULL(again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_attack_is_refused),
        cmocka_unit_test(no_other_database_lets_it_in),
        cmocka_unit_test(granting_what_one_has_gives_nothing_away),
        cmocka_unit_test(a_login_sees_its_tenant_and_no_setting_widens_that),
        cmocka_unit_test(a_login_works_in_its_own_schema),
        cmocka_unit_test(the_connection_limit_holds),
        cmocka_unit_test(application_roles_see_what_their_settings_say),
        cmocka_unit_test(an_application_role_cannot_write_for_others),
        cmocka_unit_test(the_owner_role_is_bound),
        cmocka_unit_test(suspending_ends_sessions_and_resuming_restores),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
