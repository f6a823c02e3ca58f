/* deletionPolicy Snapshot where tenants share a database: the dump holds all of the one that goes,
 * and nothing of the others, who notice nothing. */
#include "tests/check.h"
#include "tests/integration/postgres.h"
#include "tests/integration/snapshot_fixture.h"

#include <unistd.h>

#include "reconcilers/database/steps.h"

#define SHARED "tenantry_shared"
#define ROWS "tenantry_rows"

enum { USERS = 300, USERS_OF_OTHER = 7 };

static const enum isolation modes[] = {ISOLATION_SCHEMA, ISOLATION_ROW};

static struct tenant tenant_in(enum isolation isolation, const char *name)
{
    struct tenant tenant = fixture_tenant(name, name);
    tenant.isolation = isolation;
    return tenant;
}

static struct sql_conn *shared(void)
{
    return postgres_connect("dbname=" SHARED);
}

/* As the tenant itself does. */
static void fill(const struct fixture *fixture, const struct run *run, int users)
{
    AUTO(free) char *login = xasprintf("tenant_%s.a", run->tenant.name);
    struct err err = {0};
    AUTO(sql_conn)
    struct sql_conn *conn = fixture_connect_as(fixture, SHARED, login, SNAPSHOT_PASSWORD, &err);

    CHECK_NOT_NULL(conn);
    postgres_run(conn,
                 "SET search_path TO \"%s\"; "
                 "INSERT INTO users (email, password_hash) SELECT n || '@%s', E'a\\nb' FROM "
                 "generate_series(1, %d) n; "
                 "INSERT INTO applications (user_id, name) SELECT id, email FROM users; "
                 "INSERT INTO deployments (application_id, version) SELECT id, 'v' FROM "
                 "applications",
                 run->work.place.schema, run->tenant.name, users);
}

static void make(struct run *run, const struct fixture *fixture, const struct tenant *tenant,
                 int users)
{
    snapshot_make(run, fixture, tenant);
    fill(fixture, run, users);
}

static int64_t rows_of(const struct run *run)
{
    AUTO(sql_conn) struct sql_conn *conn = shared();
    AUTO(free)
    char *there = xasprintf("to_regclass('\"%s\".users')", run->work.place.schema);

    return postgres_int(conn, "SELECT (%s IS NOT NULL)::int", there) == 0
               ? 0
               : postgres_int(conn, "SELECT count(*) FROM \"%s\".users WHERE tenant_id = '%s'",
                              run->work.place.schema, run->work.tenant_id);
}

static int64_t unforced_tables(void)
{
    AUTO(sql_conn) struct sql_conn *conn = shared();
    return postgres_int(conn, "SELECT count(*) FROM pg_class WHERE relkind = 'r' AND relnamespace "
                              "= to_regnamespace('" ROWS "') AND relname <> 'tenant_logins' "
                              "AND NOT (relforcerowsecurity AND relrowsecurity)");
}

static int64_t count_in_registry(const char *condition, const char *name)
{
    AUTO(sql_conn)
    struct sql_conn *registry = postgres_connect("dbname=registry_of_database_test");
    return postgres_int(registry,
                        "SELECT count(*) FROM public.tenants t LEFT JOIN public.tenant_snapshots s "
                        "ON s.tenant_id = t.id WHERE t.subdomain = '%s' AND %s",
                        name, condition);
}

static void check_kept(const struct run *run, int users)
{
    CHECK_INT(rows_of(run), users);
    CHECK_INT(unforced_tables(), 0);
    CHECK_INT(count_in_registry("taken_at IS NOT NULL", run->tenant.name), 0);
}

/* ---- what a snapshot holds ---- */

static void check_dump(const struct run *run)
{
    struct sql_conn *back = snapshot_restore();
    const char *schema = run->work.place.schema;

    CHECK_INT(postgres_int(back, "SELECT count(*) FROM \"%s\".users WHERE tenant_id = '%s'", schema,
                           run->work.tenant_id),
              USERS);
    CHECK_INT(postgres_int(back, "SELECT count(*) FROM \"%s\".users", schema), USERS);
    CHECK_INT(postgres_int(back,
                           "SELECT count(*) FROM \"%s\".deployments d JOIN \"%s\".applications a "
                           "ON a.id = application_id JOIN \"%s\".users u ON u.id = user_id",
                           schema, schema, schema),
              USERS);
    CHECK_INT(postgres_int(back, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'tenant%%'"),
              1);
    CHECK_INT(postgres_int(back, "SELECT count(*) FROM pg_class WHERE relname IN ('users', "
                                 "'applications', 'deployments', 'api_keys') "
                                 "AND relrowsecurity AND relforcerowsecurity"),
              4);
    if (run->work.place.isolation == ISOLATION_ROW) {
        CHECK_INT(postgres_int(back, "SELECT count(*) FROM " ROWS ".tenant_logins"), 0);
    }
    snapshot_drop_restored(back);
}

static void all_of_one_and_nothing_of_another_is_in_it(void **state)
{
    static const char *const names[] = {"leaving1", "leaving2"};
    static const char *const others[] = {"staying1", "staying2"};

    for (size_t i = 0; i < ARRAY_COUNT(modes); i++) {
        AUTO(run) struct run run;
        AUTO(run) struct run stays;
        AUTO(run) struct run end;
        AUTO(run) struct run away;
        const struct fixture *fixture = snapshot_use_store(state, SHARED);
        const struct tenant tenant = tenant_in(modes[i], names[i]);
        const struct tenant other = tenant_in(modes[i], others[i]);

        make(&run, fixture, &tenant, USERS);
        make(&stays, fixture, &other, USERS_OF_OTHER);
        AUTO(sql_conn) struct sql_conn *somebody = shared(); /* no obstacle where all may be in */
        CHECK_OK(snapshot_end(&end, fixture, &tenant), &end.err);
        sql_close(TAKE(somebody));
        CHECK_INT(rows_of(&run), 0);
        CHECK_INT(rows_of(&stays), USERS_OF_OTHER);
        CHECK_INT(unforced_tables(), 0);
        CHECK_INT(count_in_registry("t.status = 'deleted' AND length(sha256) = 64 AND EXISTS ("
                                    "SELECT FROM jsonb_each(row_counts) WHERE key LIKE '%.users' "
                                    "AND value = '300') AND NOT EXISTS (SELECT FROM "
                                    "jsonb_each(row_counts) WHERE key LIKE '%.api_keys' AND value "
                                    "<> '0')",
                                    names[i]),
                  1);
        CHECK_INT(postgres_int(NULL,
                               "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'tenant_%s.%%'",
                               names[i]),
                  0);
        check_dump(&run);
        CHECK_OK(run_delete(&away, fixture, &other, DELETION_DELETE), &away.err);
    }
}

/* Between the proof of it and the removal. */
static void a_dump_that_is_gone_is_taken_anew(void **state)
{
    static const char *const names[] = {"tidied1", "tidied2"};

    for (size_t i = 0; i < ARRAY_COUNT(modes); i++) {
        AUTO(run) struct run run;
        AUTO(run) struct run first;
        AUTO(run) struct run end;
        const struct fixture *fixture = snapshot_use_store(state, SHARED);
        const struct tenant tenant = tenant_in(modes[i], names[i]);

        make(&run, fixture, &tenant, USERS);
        snapshot_begin_end(&first, fixture, &tenant);
        CHECK_FAILS(snapshot_end_once(&first), &first.err, ERR_WAIT, "Progressing");
        CHECK_INT(unlink(snapshot_file.path), 0);
        CHECK_OK(snapshot_end(&end, fixture, &tenant), &end.err);
        CHECK_INT(snapshot_file.finished, 2);
        CHECK_INT(rows_of(&run), 0);
        check_dump(&run);
    }
}

static void what_was_dropped_by_hand_holds_up_nothing(void **state)
{
    AUTO(run) struct run run;
    AUTO(run) struct run end;
    const struct fixture *fixture = snapshot_use_store(state, SHARED);
    const struct tenant tenant = tenant_in(ISOLATION_SCHEMA, "unseen");

    snapshot_make(&run, fixture, &tenant);
    AUTO(sql_conn) struct sql_conn *admin = shared();
    postgres_run(admin, "DROP SCHEMA tenant_unseen CASCADE");
    CHECK_OK(snapshot_end(&end, fixture, &tenant), &end.err);
    CHECK(!snapshot_file.finished);
}

/* ---- what leaves everything as it was ---- */

/* "pg_dump with --enable-row-security ... writes zero rows and exits 0": a row that a policy hides
 * from the dump is counted all the same. */
static void a_row_that_a_policy_hides_is_missed(void **state)
{
    AUTO(run) struct run run;
    AUTO(run) struct run end;
    const struct fixture *fixture = snapshot_use_store(state, SHARED);
    const struct tenant tenant = tenant_in(ISOLATION_ROW, "veiled");

    make(&run, fixture, &tenant, USERS);
    AUTO(sql_conn) struct sql_conn *admin = shared();
    postgres_run(admin, "CREATE POLICY veil ON " ROWS ".users AS RESTRICTIVE USING (email NOT LIKE "
                        "'1@%%')");
    int result = snapshot_end(&end, fixture, &tenant);
    postgres_run(admin, "DROP POLICY veil ON " ROWS ".users");
    CHECK_FAILS(result, &end.err, ERR_RETRY, "SnapshotIncomplete");
    CHECK_NOT_NULL(strstr(end.err.message, "had 300 rows"));
    CHECK_NOT_NULL(strstr(end.err.message, "and the dump has 299"));
    check_kept(&run, USERS);
    run_release(&end);
    CHECK_OK(snapshot_end(&end, fixture, &tenant), &end.err);
    check_dump(&run);
}

static void what_is_written_meanwhile_is_noticed(void **state)
{
    static const char *const names[] = {"written1", "written2"};

    for (size_t i = 0; i < ARRAY_COUNT(modes); i++) {
        AUTO(run) struct run run;
        AUTO(run) struct run end;
        const struct fixture *fixture = snapshot_use_store(state, SHARED);
        const struct tenant tenant = tenant_in(modes[i], names[i]);

        make(&run, fixture, &tenant, USERS - 1);
        AUTO(free)
        char *late = xasprintf("INSERT INTO \"%s\".users (tenant_id, email, password_hash) VALUES "
                               "('%s', 'late@x', 'x')",
                               run.work.place.schema, run.work.tenant_id);
        snapshot_file.during_write = late;
        CHECK_FAILS(snapshot_end(&end, fixture, &tenant), &end.err, ERR_RETRY,
                    "SnapshotIncomplete");
        CHECK_NOT_NULL(strstr(end.err.message, "had 299 rows"));
        check_kept(&run, USERS);
        /* By then the gateway lets nobody in. */
        CHECK_INT(count_in_registry("t.status = 'suspended'", names[i]), 1);
        run_release(&end);
        CHECK_OK(snapshot_end(&end, fixture, &tenant), &end.err);
        CHECK_INT(rows_of(&run), 0);
    }
}

/* The run that is cut short after the dump was stored. `run` is made here. */
static const struct fixture *make_and_cut_short(void **state, const struct tenant *tenant,
                                                struct run *run)
{
    AUTO(run) struct run first;
    const struct fixture *fixture = snapshot_use_store(state, SHARED);

    make(run, fixture, tenant, USERS);
    snapshot_file.cut_short = true;
    snapshot_begin_end(&first, fixture, tenant);
    CHECK_INT(snapshot_end_once(&first), -1);
    CHECK_INT(first.err.cls, ERR_CANCELED);
    CHECK_INT(snapshot_file.finished, 1);
    return fixture;
}

/* The bucket would keep the first as an old version, for nobody. */
static void a_dump_that_was_stored_is_not_written_again(void **state)
{
    static const char *const names[] = {"resumed1", "resumed2"};

    for (size_t i = 0; i < ARRAY_COUNT(modes); i++) {
        AUTO(run) struct run run;
        AUTO(run) struct run second;
        const struct tenant tenant = tenant_in(modes[i], names[i]);
        const struct fixture *fixture = make_and_cut_short(state, &tenant, &run);

        CHECK_OK(snapshot_end(&second, fixture, &tenant), &second.err);
        CHECK_INT(snapshot_file.finished, 1);
        CHECK_INT(rows_of(&run), 0);
        check_dump(&run);
    }
}

/* As many rows as before, and not the same. */
static void a_dump_is_made_anew_where_others_wrote_since(void **state)
{
    static const char *const names[] = {"anew1", "anew2"};

    for (size_t i = 0; i < ARRAY_COUNT(modes); i++) {
        AUTO(run) struct run run;
        AUTO(run) struct run second;
        AUTO(run) struct run third;
        const struct tenant tenant = tenant_in(modes[i], names[i]);
        const struct fixture *fixture = make_and_cut_short(state, &tenant, &run);

        AUTO(sql_conn) struct sql_conn *admin = shared();
        postgres_run(admin, "UPDATE \"%s\".users SET password_hash = 'new' WHERE tenant_id = '%s'",
                     run.work.place.schema, run.work.tenant_id);
        CHECK_FAILS(snapshot_end(&second, fixture, &tenant), &second.err, ERR_RETRY,
                    "SnapshotIncomplete");
        check_kept(&run, USERS);
        CHECK_OK(snapshot_end(&third, fixture, &tenant), &third.err);
        CHECK_INT(snapshot_file.finished, 2);
        struct sql_conn *back = snapshot_restore();
        CHECK_INT(postgres_int(back,
                               "SELECT count(*) FROM \"%s\".users WHERE password_hash = 'new'",
                               run.work.place.schema),
                  USERS);
        snapshot_drop_restored(back);
    }
}

/* Statements stand in a dump as they are. */
static void check_stored_says(const char *words)
{
    enum { DUMP_MAX_BYTES = 1 << 20 };
    AUTO(free) char *bytes = xmalloc(DUMP_MAX_BYTES);
    FILE *file = fopen(snapshot_file.path, "r");

    CHECK_NOT_NULL(file);
    size_t length = fread(bytes, 1, DUMP_MAX_BYTES, file);
    CHECK_INT(fclose(file), 0);
    CHECK(length < DUMP_MAX_BYTES);
    CHECK_NOT_NULL(memmem(bytes, length, words, strlen(words)));
}

/* Whoever reached into a schema may do so in what is restored, however often it was tried. */
static void a_second_try_dumps_the_rights_on_the_schema_too(void **state)
{
    AUTO(run) struct run run;
    AUTO(run) struct run second;
    const struct tenant tenant = tenant_in(ISOLATION_SCHEMA, "granted");
    const struct fixture *fixture = make_and_cut_short(state, &tenant, &run);

    AUTO(sql_conn) struct sql_conn *admin = shared();
    postgres_run(admin, "REVOKE ALL ON SCHEMA tenant_granted FROM \"tenant_granted.rw\", "
                        "\"tenant_granted.ro\", tenantry_app");
    CHECK_INT(unlink(snapshot_file.path), 0);
    CHECK_OK(snapshot_end(&second, fixture, &tenant), &second.err);
    CHECK_INT(snapshot_file.finished, 2);
    check_stored_says("GRANT USAGE ON SCHEMA tenant_granted TO \"tenant_granted.rw\";");
}

/* The others must not wait for whom we wait for. */
static void a_table_that_is_held_is_not_waited_for_long(void **state)
{
    AUTO(run) struct run run;
    AUTO(run) struct run end;
    const struct fixture *fixture = snapshot_use_store(state, SHARED);
    const struct tenant tenant = tenant_in(ISOLATION_ROW, "held");

    make(&run, fixture, &tenant, USERS);
    AUTO(sql_conn) struct sql_conn *holder = shared();
    postgres_run(holder, "BEGIN; SELECT count(*) FROM " ROWS ".users");
    CHECK_FAILS(snapshot_end(&end, fixture, &tenant), &end.err, ERR_RETRY, "SnapshotIncomplete");
    CHECK(!snapshot_file.finished);
    check_kept(&run, USERS);
    postgres_run(holder, "ROLLBACK");
    run_release(&end);
    CHECK_OK(snapshot_end(&end, fixture, &tenant), &end.err);
    check_dump(&run);
}

static void what_is_in_no_schema_is_named(void **state)
{
    AUTO(run) struct run run;
    AUTO(run) struct run end;
    AUTO(run) struct run away;
    const struct fixture *fixture = snapshot_use_store(state, SHARED);
    const struct tenant tenant = tenant_in(ISOLATION_SCHEMA, "blobs");

    make(&run, fixture, &tenant, USERS);
    AUTO(sql_conn) struct sql_conn *admin = shared();
    postgres_run(admin, "SELECT lo_create(4242); "
                        "ALTER LARGE OBJECT 4242 OWNER TO \"tenant_blobs.a\"");
    CHECK_FAILS(snapshot_end(&end, fixture, &tenant), &end.err, ERR_TERMINAL, "SnapshotIncomplete");
    CHECK_NOT_NULL(strstr(end.err.message, "1 large objects"));
    check_kept(&run, USERS);
    CHECK_OK(run_delete(&away, fixture, &tenant, DELETION_DELETE), &away.err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_of_one_and_nothing_of_another_is_in_it),
        cmocka_unit_test(a_dump_that_is_gone_is_taken_anew),
        cmocka_unit_test(what_was_dropped_by_hand_holds_up_nothing),
        cmocka_unit_test(a_row_that_a_policy_hides_is_missed),
        cmocka_unit_test(what_is_written_meanwhile_is_noticed),
        cmocka_unit_test(a_dump_that_was_stored_is_not_written_again),
        cmocka_unit_test(a_dump_is_made_anew_where_others_wrote_since),
        cmocka_unit_test(a_second_try_dumps_the_rights_on_the_schema_too),
        cmocka_unit_test(a_table_that_is_held_is_not_waited_for_long),
        cmocka_unit_test(what_is_in_no_schema_is_named),
    };
    return cmocka_run_group_tests(tests, snapshot_set_up, snapshot_tear_down);
}
