/* A tenant's own migrations: once each, in order, refused when edited, and by no trick anybody but
 * the owner's: on a real server, with the controller's own rights. */
#include "tests/check.h"
#include "tests/integration/postgres.h"
#include "tests/integration/tenant_life.h"

#include "controller/base/jsonw.h"
#include "reconcilers/database/migrations_internal.h"
#include "reconcilers/database/steps.h"

struct file {
    const char *name;
    const char *text;
};

/* The ConfigMap <life>-sql, as the platform's people write it. */
static void put_files(struct life *life, const struct file *files, size_t count)
{
    AUTO(buf) struct buf json = BUF(1 << 20);
    AUTO(free) char *name = xasprintf("%s-sql", life->name);
    const struct kube_ref ref = {&KUBE_CONFIG_MAPS, "tenantry-system", name, NULL};
    struct jsonw writer;
    struct err err = {0};

    jsonw_init(&writer, &json);
    jsonw_object(&writer, NULL);
    jsonw_text(&writer, "apiVersion", "v1");
    jsonw_text(&writer, "kind", "ConfigMap");
    jsonw_object(&writer, "metadata");
    jsonw_text(&writer, "name", name);
    jsonw_text(&writer, "namespace", "tenantry-system");
    jsonw_end_object(&writer);
    jsonw_object(&writer, "data");
    for (size_t i = 0; i < count; i++) {
        jsonw_text(&writer, files[i].name, files[i].text);
    }
    jsonw_end_object(&writer);
    jsonw_end_object(&writer);
    CHECK_OK(kube_apply(life->world->cluster->client, NULL, &ref, "somebody", buf_str(&json), NULL,
                        &err),
             &err);
}

static int migrate(struct life *life)
{
    struct reconcile *rc = &life->run.rc;
    const struct tenant_work *work = &life->run.work;
    struct tenant_status *status = &life->run.tenant.status;

    if (migrations_ensure(rc, &life->run.work, &life->run.err)) {
        return -1;
    }
    /* As the status says afterwards. */
    status->schema_version = 1;
    status->migration_count = work->migration_count;
    status->migration_last = work->migration_last;
    return 0;
}

/* A tenant that stands, and names its ConfigMap. */
static void begin(struct life *life, void *state, const char *name, enum isolation isolation,
                  char **ret_map)
{
    life_init(life, state, name);
    life->tenant.isolation = isolation;
    life_make(life);
    *ret_map = xasprintf("%s-sql", life->name);
    life->run.tenant.migrations = *ret_map;
}

static void check_no_role(const struct life *life)
{
    CHECK_INT(postgres_int(NULL,
                           "SELECT count(*) FROM pg_roles WHERE rolname LIKE '%%.migrate' AND "
                           "shobj_description(oid, 'pg_authid') LIKE '%%%s%%'",
                           life->uid),
              0);
}

static void run_once_each_in_order(void **state, const char *name, enum isolation isolation)
{
    static const struct file files[] = {
        {"0002_more.sql", "ALTER TABLE orders ADD COLUMN note text; INSERT INTO orders (id, note) "
                          "VALUES (1, 'semi;colon $$ dollar');"},
        {"0001_orders.sql", "CREATE TABLE orders (id int PRIMARY KEY);"},
        {"README", "not SQL"},
    };
    AUTO(life) struct life life;
    AUTO(free) char *map = NULL;

    begin(&life, *state, name, isolation, &map);
    put_files(&life, files, 3);
    CHECK_OK(migrate(&life), &life.run.err);
    CHECK_INT(life.run.work.migration_count, 2);
    CHECK_TEXT(life.run.work.migration_last, "0002_more.sql");
    AUTO(sql_conn) struct sql_conn *conn = life_database(&life);
    const char *schema = life.run.work.place.schema;
    CHECK_INT(postgres_int(conn, "SELECT count(*) FROM %s.orders", schema), 1);
    AUTO(free)
    char *owner = postgres_text(
        conn, "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = '%s.orders'::regclass",
        schema);
    CHECK(str_ends_with(str_from(owner), STR(".owner")));
    check_no_role(&life);
    const struct quiet since = postgres_quiet_begin();
    CHECK_OK(migrate(&life), &life.run.err);
    postgres_quiet_end(&since);
    /* The tenant's login may use what was made. */
    AUTO(kube_secret) struct kube_secret secret = {0};
    life_connection(&life, &secret);
    AUTO(sql_conn) struct sql_conn *login = life_login(&life, &secret, &life.run.err);
    CHECK_INT(postgres_int(login, "SELECT count(*) FROM %s.orders", schema), 1);
}

static void each_file_runs_once_in_order(void **state)
{
    run_once_each_in_order(state, "mig", ISOLATION_DATABASE);
}

static void in_a_shared_database_too(void **state)
{
    run_once_each_in_order(state, "mig-schema", ISOLATION_SCHEMA);
}

static void row_mode_has_none(void **state)
{
    AUTO(life) struct life life;
    AUTO(free) char *map = NULL;

    begin(&life, *state, "mig-row", ISOLATION_ROW, &map);
    CHECK_FAILS(migrate(&life), &life.run.err, ERR_TERMINAL, "MigrationRefused");
}

static void an_edited_or_late_file_is_refused(void **state)
{
    static const struct file first[] = {{"0002.sql", "CREATE TABLE two ()"}};
    static const struct file edited[] = {{"0002.sql", "CREATE TABLE two (id int)"}};
    static const struct file late[] = {{"0001.sql", "SELECT 1"},
                                       {"0002.sql", "CREATE TABLE two ()"}};
    AUTO(life) struct life life;
    AUTO(free) char *map = NULL;

    begin(&life, *state, "mig-old", ISOLATION_DATABASE, &map);
    CHECK_FAILS(migrate(&life), &life.run.err, ERR_RETRY, "MigrationsNotFound");
    put_files(&life, first, 1);
    CHECK_OK(migrate(&life), &life.run.err);
    put_files(&life, edited, 1);
    CHECK_FAILS(migrate(&life), &life.run.err, ERR_TERMINAL, "MigrationEdited");
    put_files(&life, late, 2);
    CHECK_FAILS(migrate(&life), &life.run.err, ERR_TERMINAL, "MigrationOutOfOrder");
    CHECK_NOT_NULL(strstr(life.run.err.message, "0001.sql"));
}

/* What a file may try; nothing of it is kept, and nobody is left with more than before. */
static const struct {
    const char *what;
    const char *text;
    const char *reason;
} tricks[] = {
    {"commit", "CREATE TABLE kept (); COMMIT; SELECT 1", "MigrationFailed"},
    {"rollback", "ROLLBACK; CREATE TABLE kept ()", "MigrationFailed"},
    {"a block that commits", "DO $$ BEGIN CREATE TABLE kept (); COMMIT; END $$", "MigrationFailed"},
    {"a procedure that commits",
     "CREATE PROCEDURE p() LANGUAGE plpgsql AS $$ BEGIN CREATE TABLE kept (); COMMIT; END $$; "
     "CALL p()",
     "MigrationFailed"},
    {"a broken statement", "CREATE TABLE kept (); SELECT 1/0", "MigrationFailed"},
    {"a program", "CREATE TABLE kept (t text); COPY kept FROM PROGRAM 'id'", "MigrationFailed"},
    {"a file of the server", "CREATE TABLE kept (t text); COPY kept FROM '/etc/passwd'",
     "MigrationFailed"},
    {"another user", "CREATE TABLE kept (); RESET ROLE; SET SESSION AUTHORIZATION postgres",
     "MigrationFailed"},
    {"the controller", "CREATE TABLE kept (); RESET ROLE; SET ROLE database_test",
     "MigrationFailed"},
    {"a role of its own", "CREATE TABLE kept (); RESET ROLE; CREATE ROLE mine SUPERUSER",
     "MigrationFailed"},
    {"the owner for a login",
     "CREATE TABLE kept (); DO $$ BEGIN EXECUTE format('GRANT %I TO %I', current_user, "
     "replace(current_user, '.owner', '.a')); END $$",
     "MigrationFailed"},
    {"its own role for a login",
     "CREATE TABLE kept (); RESET ROLE; DO $$ BEGIN EXECUTE format('GRANT %I TO %I', session_user, "
     "replace(session_user, '.migrate', '.a')); END $$",
     "Migration"},
    {"a trigger on ours",
     "CREATE TABLE kept (); CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
     "RETURN "
     "new; END $$; CREATE TRIGGER t BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION t()",
     "MigrationRefused"},
    {"a check with a function on ours",
     "CREATE TABLE kept (); CREATE FUNCTION c() RETURNS bool IMMUTABLE LANGUAGE sql AS 'SELECT "
     "true'; "
     "ALTER TABLE api_keys ADD CONSTRAINT c CHECK (c())",
     "MigrationRefused"},
    {"a default that runs what it is given",
     "CREATE TABLE kept (); ALTER TABLE api_keys ADD COLUMN x text DEFAULT "
     "query_to_xml('SELECT 1', true, true, '')::text",
     "MigrationRefused"},
    {"its own role for a login, at the last moment",
     "CREATE TABLE kept (id int); CREATE FUNCTION late() RETURNS trigger SECURITY INVOKER LANGUAGE "
     "plpgsql AS $$ BEGIN RESET ROLE; EXECUTE format('GRANT %I TO %I', session_user, "
     "replace(session_user, '.migrate', '.a')); RETURN NULL; END $$; CREATE CONSTRAINT TRIGGER "
     "late "
     "AFTER INSERT ON kept DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION late(); "
     "INSERT INTO kept VALUES (1)",
     "Migration"},
};

static void no_trick_leads_anywhere(void **state)
{
    AUTO(life) struct life life;
    AUTO(free) char *map = NULL;

    begin(&life, *state, "mig-trick", ISOLATION_DATABASE, &map);
    AUTO(sql_conn) struct sql_conn *conn = life_database(&life);
    for (size_t i = 0; i < ARRAY_COUNT(tricks); i++) {
        const struct file file = {"0001_trick.sql", tricks[i].text};
        put_files(&life, &file, 1);
        life.run.err = (struct err){0};
        if (migrate(&life) == 0 || !strstr(life.run.err.reason, tricks[i].reason)) {
            fail_msg("%s: %s %s", tricks[i].what, life.run.err.reason, life.run.err.message);
        }
        if (postgres_int(conn, "SELECT count(*) FROM pg_class WHERE relname = 'kept'") != 0) {
            fail_msg("%s: something of it was kept", tricks[i].what);
        }
        check_no_role(&life);
        CHECK_INT(postgres_int(NULL,
                               "SELECT count(*) FROM pg_auth_members WHERE member = "
                               "'\"%s.a\"'::regrole",
                               life.run.work.place.database),
                  1);
    }
    const struct file good = {
        "0001_trick.sql",
        "CREATE TABLE kept (); ALTER TABLE users ADD COLUMN phone text DEFAULT '' "
        "CHECK (length(phone) < 40), ADD COLUMN seen timestamptz DEFAULT now(); "
        "CREATE INDEX ON users (lower(email)) WHERE role = 'member'"};
    put_files(&life, &good, 1);
    CHECK_OK(migrate(&life), &life.run.err);
}

static void what_a_file_opens_is_closed_again(void **state)
{
    static const struct file open_[] = {
        {"0001.sql", "ALTER TABLE users DISABLE ROW LEVEL SECURITY; GRANT ALL ON users TO PUBLIC; "
                     "CREATE SCHEMA tenantry_scratch CREATE TABLE in_the_way ()"}};
    AUTO(life) struct life life;
    AUTO(free) char *map = NULL;

    begin(&life, *state, "mig-open", ISOLATION_DATABASE, &map);
    put_files(&life, open_, 1);
    CHECK_OK(migrate(&life), &life.run.err);
    AUTO(sql_conn) struct sql_conn *conn = life_database(&life);
    CHECK_INT(postgres_int(conn,
                           "SELECT count(*) FROM pg_class WHERE oid = 'public.users'::regclass "
                           "AND relrowsecurity AND relforcerowsecurity"),
              1);
    CHECK_INT(postgres_int(conn, "SELECT count(*) FROM pg_class, aclexplode(relacl) a WHERE oid = "
                                 "'public.users'::regclass AND a.grantee = 0"),
              0);
}

/* What the code of a file is made of that waits for the controller to touch a table. */
#define CODE                                                                                       \
    "CREATE FUNCTION take() RETURNS int LANGUAGE plpgsql AS $$ BEGIN "                             \
    "BEGIN RESET ROLE; EXCEPTION WHEN OTHERS THEN NULL; END; "                                     \
    "BEGIN SET transaction_read_only = off; EXCEPTION WHEN OTHERS THEN NULL; END; "                \
    "BEGIN CREATE ROLE taken_by_code; EXCEPTION WHEN OTHERS THEN NULL; END; RETURN 1; END $$; "    \
    "GRANT EXECUTE ON FUNCTION take() TO PUBLIC; "

static void check_nothing_taken(void)
{
    int64_t taken =
        postgres_int(NULL, "SELECT count(*) FROM pg_roles WHERE rolname = 'taken_by_code'");

    postgres_run(NULL, "DROP ROLE IF EXISTS taken_by_code");
    CHECK_INT(taken, 0);
}

/* The table of what was applied is no table any more. */
static void a_ledger_with_code_gets_nothing(void **state)
{
    static const struct file files[] = {
        {"0001.sql",
         CODE "ALTER TABLE tenantry_migrations RENAME TO applied; "
              "CREATE VIEW tenantry_migrations AS SELECT name, checksum FROM applied WHERE take() "
              "= 1; "
              "CREATE RULE note AS ON INSERT TO tenantry_migrations DO INSTEAD INSERT INTO applied "
              "(name, checksum) VALUES (new.name, new.checksum)"}};
    AUTO(life) struct life life;
    AUTO(free) char *map = NULL;

    begin(&life, *state, "mig-ledger", ISOLATION_DATABASE, &map);
    put_files(&life, files, 1);
    CHECK_OK(migrate(&life), &life.run.err);
    CHECK_OK(migrate(&life), &life.run.err);
    check_nothing_taken();
}

/* Triggers, also deferred ones, a default and an index with code on the table that the controller
 * writes the owner's row in; put there behind its back, between two of its looks. */
static void code_on_users_gets_nothing(void **state, const char *name, enum isolation isolation)
{
    static const struct file files[] = {{"0001.sql", CODE}};
    AUTO(life) struct life life;
    AUTO(free) char *map = NULL;

    begin(&life, *state, name, isolation, &map);
    put_files(&life, files, 1);
    CHECK_OK(migrate(&life), &life.run.err);
    AUTO(sql_conn) struct sql_conn *conn = life_database(&life);
    const char *schema = life.run.work.place.schema;
    postgres_run(conn, "SET search_path TO %s", schema);
    postgres_run(
        conn,
        "CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql SET search_path = %s AS "
        "$$ BEGIN SET CONSTRAINTS ALL DEFERRED; PERFORM take(); RETURN new; END $$; "
        "CREATE TRIGGER early BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION fire(); "
        "CREATE CONSTRAINT TRIGGER late AFTER UPDATE ON users DEFERRABLE INITIALLY "
        "DEFERRED FOR EACH ROW EXECUTE FUNCTION fire(); "
        "ALTER TABLE users ADD CONSTRAINT takes CHECK (take() = 1)",
        schema);
    postgres_run(NULL, "DROP ROLE IF EXISTS taken_by_code"); /* the superuser's rows were checked */
    life.run.tenant.owner.name = "Another Name";
    CHECK_OK(owner_ensure(&life.run.rc, &life.run.work, &life.run.err), &life.run.err);
    CHECK_INT(postgres_int(conn, "SELECT count(*) FROM users WHERE full_name = 'Another Name'"), 1);
    check_nothing_taken();
    CHECK_OK(schema_ensure(&life.run.rc, &life.run.work, &life.run.err), &life.run.err);
    CHECK_INT(postgres_int(conn, "SELECT (SELECT count(*) FROM pg_trigger WHERE tgrelid = "
                                 "'users'::regclass AND NOT tgisinternal) + (SELECT count(*) FROM "
                                 "pg_constraint WHERE conname = 'takes')"),
              0);
}

static void code_on_users_gets_nothing_in_a_database(void **state)
{
    code_on_users_gets_nothing(state, "mig-code", ISOLATION_DATABASE);
}

static void code_on_users_gets_nothing_in_a_schema(void **state)
{
    code_on_users_gets_nothing(state, "mig-codes", ISOLATION_SCHEMA);
}

static void a_lock_is_waited_for_by_trying_again(void **state)
{
    static const struct file alter[] = {{"0001.sql", "ALTER TABLE users ADD COLUMN extra int"}};
    AUTO(life) struct life life;
    AUTO(free) char *map = NULL;

    begin(&life, *state, "mig-lock", ISOLATION_DATABASE, &map);
    put_files(&life, alter, 1);
    AUTO(sql_conn) struct sql_conn *conn = life_database(&life);
    postgres_run(conn, "BEGIN");
    postgres_run(conn, "LOCK TABLE public.users IN ACCESS SHARE MODE");
    CHECK_FAILS(migrate(&life), &life.run.err, ERR_RETRY, "LockTimeout");
    check_no_role(&life);
    postgres_run(conn, "ROLLBACK");
    CHECK_OK(migrate(&life), &life.run.err);
}

/* A run ended before it dropped the role. */
static void a_role_that_was_left_is_dropped(void **state)
{
    AUTO(life) struct life life;
    AUTO(free) char *map = NULL;
    AUTO(secret) struct secret password = {0};
    struct scope scope;

    begin(&life, *state, "mig-left", ISOLATION_DATABASE, &map);
    secret_set(&password, STR("left-by-an-earlier-run-0123456789"));
    put_files(&life, NULL, 0);
    scope_init(&scope, &life.run.arena, &life.run.work);
    AUTO(sql_conn) struct sql_conn *conn = fixture_connect(life.world->fixture, "postgres");
    const char *role = migrations_role(&life.run.arena, &scope);
    CHECK_OK(migrations_make_role(conn, NULL, &scope, role, &password, &life.run.err),
             &life.run.err);
    CHECK_OK(migrate(&life), &life.run.err);
    check_no_role(&life);
    CHECK_OK(migrations_make_role(conn, NULL, &scope, role, &password, &life.run.err),
             &life.run.err);
    CHECK_OK(migrations_finalize(&life.run.rc, &life.run.work, &life.run.err), &life.run.err);
    check_no_role(&life);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_file_runs_once_in_order),
        cmocka_unit_test(in_a_shared_database_too),
        cmocka_unit_test(row_mode_has_none),
        cmocka_unit_test(an_edited_or_late_file_is_refused),
        cmocka_unit_test(no_trick_leads_anywhere),
        cmocka_unit_test(what_a_file_opens_is_closed_again),
        cmocka_unit_test(a_ledger_with_code_gets_nothing),
        cmocka_unit_test(code_on_users_gets_nothing_in_a_database),
        cmocka_unit_test(code_on_users_gets_nothing_in_a_schema),
        cmocka_unit_test(a_lock_is_waited_for_by_trying_again),
        cmocka_unit_test(a_role_that_was_left_is_dropped),
    };
    return cmocka_run_group_tests(tests, life_set_up, life_tear_down);
}
