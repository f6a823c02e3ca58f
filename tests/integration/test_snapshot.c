/* deletionPolicy Snapshot: nothing is removed unless a dump stands that is proven to hold every
 * row, whatever the tenant did to hide some; and what cannot be proven leaves everything as it was.
 */
#include "tests/check.h"
#include "tests/integration/postgres.h"
#include "tests/integration/snapshot_fixture.h"
#include "tests/support/folder.h"

#include <sys/stat.h>
#include <unistd.h>

#include "reconcilers/database/steps.h"

static int64_t count_databases(const char *name)
{
    return postgres_int(NULL, "SELECT count(*) FROM pg_database WHERE datname = '%s'", name);
}

static struct sql_conn *registry_connection(void)
{
    return postgres_connect("dbname=registry_of_database_test");
}

static void check_not_taken(const char *subdomain)
{
    AUTO(sql_conn) struct sql_conn *registry = registry_connection();
    AUTO(free) char *database = xasprintf("tenant_%s", subdomain);

    CHECK_INT(count_databases(database), 1);
    CHECK_INT(postgres_int(registry,
                           "SELECT count(*) FROM public.tenant_snapshots s JOIN public.tenants t "
                           "ON t.id = s.tenant_id WHERE subdomain = '%s' AND taken_at IS NOT NULL",
                           subdomain),
              0);
}

/* ---- what a snapshot holds ---- */

static void every_row_is_in_it_and_then_all_goes(void **state)
{
    AUTO(run) struct run run;
    AUTO(run) struct run end;
    const struct fixture *fixture = snapshot_use_store(state, "tenant_shot");
    const struct tenant tenant = fixture_tenant("shot", "uid-shot");
    struct err err = {0};

    snapshot_make(&run, fixture, &tenant);
    struct sql_conn *live =
        fixture_connect_as(fixture, "tenant_shot", "tenant_shot.a", SNAPSHOT_PASSWORD, &err);
    CHECK_NOT_NULL(live);
    postgres_run(live,
                 "INSERT INTO public.users (email, password_hash) SELECT n || '@shot.test', "
                 "'x' FROM generate_series(1, 1000) n; "
                 "CREATE TABLE app.\"Odd \"\"name\"\".x\" AS SELECT n, E'two\\nlines\\t\\\\.' "
                 "AS text FROM generate_series(1, 77) n; "
                 "CREATE TABLE app.parts (n int) PARTITION BY RANGE (n); "
                 "CREATE TABLE app.low PARTITION OF app.parts FOR VALUES FROM (0) TO (10); "
                 "CREATE TABLE app.empty (x int); INSERT INTO app.parts VALUES (1), (2)");
    sql_close(live);
    CHECK_OK(snapshot_end(&end, fixture, &tenant), &end.err);
    CHECK_INT(count_databases("tenant_shot"), 0);
    CHECK_INT(postgres_int(NULL, "SELECT count(*) FROM pg_roles WHERE rolname LIKE "
                                 "'tenant\\_shot.%%'"),
              0);
    AUTO(sql_conn) struct sql_conn *registry = registry_connection();
    CHECK_INT(postgres_int(registry, "SELECT (row_counts->>'public.users')::int FROM "
                                     "public.tenant_snapshots WHERE tenant_uid = 'uid-shot'"),
              1000);
    CHECK_INT(postgres_int(registry, "SELECT (row_counts->>'app.Odd \"name\".x')::int FROM "
                                     "public.tenant_snapshots WHERE tenant_uid = 'uid-shot'"),
              77);
    struct stat file;
    CHECK_INT(stat(snapshot_file.path, &file), 0);
    CHECK_INT(postgres_int(registry, "SELECT size_bytes FROM public.tenant_snapshots WHERE "
                                     "tenant_uid = 'uid-shot' AND location = 'folder' AND "
                                     "object = 'the-dump' AND length(sha256) = 64"),
              file.st_size);
    struct sql_conn *back = snapshot_restore();
    CHECK_INT(postgres_int(back, "SELECT count(*) FROM public.users"), 1000);
    CHECK_INT(postgres_int(back, "SELECT count(*) FROM app.\"Odd \"\"name\"\".x\" WHERE text LIKE "
                                 "E'two\\nlines%%'"),
              77);
    CHECK_INT(postgres_int(back, "SELECT count(*) FROM app.parts"), 2);
    CHECK_INT(postgres_int(back, "SELECT count(*) FROM pg_class WHERE relrowsecurity AND "
                                 "relforcerowsecurity AND relname = 'users'"),
              1);
    snapshot_drop_restored(back);
}

/* "pg_dump with --enable-row-security as a forced owner without the tenant's setting writes zero
 * rows and exits 0": neither a policy nor a foreign tenant_id hides anything from a snapshot. */
static void forced_row_security_hides_nothing(void **state)
{
    AUTO(run) struct run run;
    AUTO(run) struct run end;
    const struct fixture *fixture = snapshot_use_store(state, "tenant_hidden");
    const struct tenant tenant = fixture_tenant("hidden", "uid-hidden");
    struct err err = {0};

    snapshot_make(&run, fixture, &tenant);
    struct sql_conn *live =
        fixture_connect_as(fixture, "tenant_hidden", "tenant_hidden.a", SNAPSHOT_PASSWORD, &err);
    CHECK_NOT_NULL(live);
    postgres_run(live, "CREATE TABLE app.secret AS SELECT n FROM generate_series(1, 500) n; "
                       "ALTER TABLE app.secret ENABLE ROW LEVEL SECURITY; "
                       "ALTER TABLE app.secret FORCE ROW LEVEL SECURITY; "
                       "CREATE POLICY nobody ON app.secret USING (false)");
    CHECK_INT(postgres_int(live, "SELECT count(*) FROM app.secret"), 0);
    sql_close(live);
    AUTO(sql_conn) struct sql_conn *admin = postgres_connect("dbname=tenant_hidden");
    postgres_run(admin, "INSERT INTO public.users (tenant_id, email, password_hash) VALUES "
                        "(gen_random_uuid(), 'of@another', 'x'), (gen_random_uuid(), 'b@c', 'y')");
    sql_close(TAKE(admin));
    CHECK_OK(snapshot_end(&end, fixture, &tenant), &end.err);
    CHECK_INT(count_databases("tenant_hidden"), 0);
    struct sql_conn *back = snapshot_restore();
    CHECK_INT(postgres_int(back, "SELECT count(*) FROM app.secret"), 500);
    CHECK_INT(postgres_int(back, "SELECT count(*) FROM public.users"), 2);
    CHECK_INT(postgres_int(back, "SELECT count(*) FROM pg_class WHERE relname = 'secret' AND "
                                 "relforcerowsecurity"),
              1);
    snapshot_drop_restored(back);
}

/* Counting plans, and planning folds the immutable functions in indexes: as whoever counts, whose
 * rights must not be had that way, nor those to end the sessions of others. */
static void code_in_an_index_gets_nothing(void **state)
{
    AUTO(run) struct run run;
    AUTO(run) struct run victim;
    AUTO(run) struct run end;
    const struct fixture *fixture = snapshot_use_store(state, "tenant_folded");
    const struct tenant tenant = fixture_tenant("folded", "uid-folded");
    const struct tenant other = fixture_tenant("victim", "uid-victim");
    struct err err = {0};

    snapshot_make(&run, fixture, &tenant);
    snapshot_make(&victim, fixture, &other);
    AUTO(sql_conn)
    struct sql_conn *theirs =
        fixture_connect_as(fixture, "tenant_victim", "tenant_victim.a", SNAPSHOT_PASSWORD, &err);
    CHECK_NOT_NULL(theirs);
    int64_t pid = postgres_int(theirs, "SELECT pg_backend_pid()");
    struct sql_conn *live =
        fixture_connect_as(fixture, "tenant_folded", "tenant_folded.a", SNAPSHOT_PASSWORD, &err);
    CHECK_NOT_NULL(live);
    postgres_run(live,
                 "CREATE FUNCTION app.take() RETURNS int LANGUAGE plpgsql AS $$ BEGIN "
                 "BEGIN PERFORM pg_terminate_backend(%lld); EXCEPTION WHEN OTHERS THEN NULL; END; "
                 "BEGIN RESET ROLE; EXCEPTION WHEN OTHERS THEN NULL; END; "
                 "BEGIN PERFORM pg_terminate_backend(%lld); EXCEPTION WHEN OTHERS THEN NULL; END; "
                 "BEGIN SET transaction_read_only = off; EXCEPTION WHEN OTHERS THEN NULL; END; "
                 "BEGIN CREATE ROLE pwned_by_folding; EXCEPTION WHEN OTHERS THEN NULL; END; "
                 "RETURN 1; END $$; "
                 "CREATE FUNCTION app.pwn(x int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ "
                 "BEGIN IF session_user = '" FIXTURE_CONTROLLER "' THEN PERFORM app.take(); "
                 "END IF; RETURN x; END $$; "
                 "CREATE TABLE app.bait (x int); INSERT INTO app.bait VALUES (1); "
                 "CREATE INDEX ON app.bait ((x + app.pwn(1)))",
                 (long long)pid, (long long)pid);
    /* Named as a counter would be, if one could tell. */
    postgres_run(live, "CREATE FUNCTION app.tenantry_count_0() RETURNS bigint LANGUAGE sql AS "
                       "'SELECT 1::bigint'");
    sql_close(live);
    CHECK_OK(snapshot_end(&end, fixture, &tenant), &end.err);
    CHECK_INT(count_databases("tenant_folded"), 0);
    int64_t made =
        postgres_int(NULL, "SELECT count(*) FROM pg_roles WHERE rolname = 'pwned_by_folding'");
    postgres_run(NULL, "DROP ROLE IF EXISTS pwned_by_folding");
    CHECK_INT(made, 0);
    CHECK_INT(postgres_int(theirs, "SELECT pg_backend_pid()"), pid);
}

/* ---- what leaves everything as it was ---- */

static void without_a_store_nothing_is_touched(void **state)
{
    AUTO(run) struct run run;
    AUTO(run) struct run end;
    struct fixture *fixture = snapshot_use_store(state, "");
    const struct tenant tenant = fixture_tenant("storeless", "uid-storeless");
    struct err err = {0};

    fixture->services.snapshots = NULL;
    snapshot_make(&run, fixture, &tenant);
    CHECK_FAILS(snapshot_end(&end, fixture, &tenant), &end.err, ERR_TERMINAL, "SnapshotNoStore");
    AUTO(sql_conn)
    struct sql_conn *conn = fixture_connect_as(fixture, "tenant_storeless", "tenant_storeless.a",
                                               SNAPSHOT_PASSWORD, &err);
    CHECK_NOT_NULL(conn);
    /* Nor does the database's own step go on without one. */
    AUTO(run) struct run alone;
    snapshot_begin_end(&alone, fixture, &tenant);
    CHECK_FAILS(database_finalize(&alone.rc, &alone.work, &alone.err), &alone.err, ERR_WAIT,
                "SnapshotIncomplete");
}

static void a_table_of_somebody_else_is_named(void **state)
{
    AUTO(run) struct run run;
    AUTO(run) struct run end;
    const struct fixture *fixture = snapshot_use_store(state, "tenant_alien");
    const struct tenant tenant = fixture_tenant("alien", "uid-alien");

    snapshot_make(&run, fixture, &tenant);
    AUTO(sql_conn) struct sql_conn *admin = postgres_connect("dbname=tenant_alien");
    postgres_run(admin, "CREATE TABLE public.by_admin AS SELECT 1 AS x");
    sql_close(TAKE(admin));
    CHECK_FAILS(snapshot_end(&end, fixture, &tenant), &end.err, ERR_TERMINAL, "SnapshotIncomplete");
    CHECK_NOT_NULL(strstr(end.err.message, "\"public\".\"by_admin\" of role \"postgres\""));
    check_not_taken("alien");
}

/* What counts is made in a schema by the table's owner, who must have the right to do so. */
static void a_table_of_a_role_that_may_make_nothing_is_named(void **state)
{
    AUTO(run) struct run run;
    AUTO(run) struct run end;
    const struct fixture *fixture = snapshot_use_store(state, "tenant_barred");
    const struct tenant tenant = fixture_tenant("barred", "uid-barred");

    snapshot_make(&run, fixture, &tenant);
    AUTO(sql_conn) struct sql_conn *admin = postgres_connect("dbname=tenant_barred");
    postgres_run(admin, "CREATE TABLE public.read_only AS SELECT 1 AS x; "
                        "ALTER TABLE public.read_only OWNER TO \"tenant_barred.ro\"");
    sql_close(TAKE(admin));
    CHECK_FAILS(snapshot_end(&end, fixture, &tenant), &end.err, ERR_TERMINAL, "SnapshotIncomplete");
    CHECK_NOT_NULL(strstr(end.err.message, "\"tenant_barred.ro\", which owns table "
                                           "\"public\".\"read_only\", may make nothing"));
    check_not_taken("barred");
}

/* Rows that come while the dump is written, and would be lost. */
static void what_is_written_meanwhile_is_noticed(void **state)
{
    AUTO(run) struct run run;
    AUTO(run) struct run end;
    const struct fixture *fixture = snapshot_use_store(state, "tenant_moving");
    const struct tenant tenant = fixture_tenant("moving", "uid-moving");

    snapshot_make(&run, fixture, &tenant);
    snapshot_file.during_write =
        "INSERT INTO public.users (email, password_hash) VALUES ('late@x', 'x')";
    CHECK_FAILS(snapshot_end(&end, fixture, &tenant), &end.err, ERR_RETRY, "SnapshotIncomplete");
    CHECK_NOT_NULL(strstr(end.err.message, "\"public\".\"users\" had 0 rows"));
    check_not_taken("moving");
    run_release(&end);
    CHECK_OK(snapshot_end(&end, fixture, &tenant), &end.err);
    CHECK_INT(count_databases("tenant_moving"), 0);
    struct sql_conn *back = snapshot_restore();
    CHECK_INT(postgres_int(back, "SELECT count(*) FROM public.users"), 1);
    snapshot_drop_restored(back);
}

static void a_store_that_gives_back_something_else_is_noticed(void **state)
{
    AUTO(run) struct run run;
    AUTO(run) struct run end;
    const struct fixture *fixture = snapshot_use_store(state, "tenant_rotten");
    const struct tenant tenant = fixture_tenant("rotten", "uid-rotten");

    snapshot_make(&run, fixture, &tenant);
    snapshot_file.damages = true;
    CHECK_FAILS(snapshot_end(&end, fixture, &tenant), &end.err, ERR_RETRY, "SnapshotIncomplete");
    check_not_taken("rotten");
}

static void a_superusers_session_is_waited_for(void **state)
{
    AUTO(run) struct run run;
    AUTO(run) struct run end;
    const struct fixture *fixture = snapshot_use_store(state, "tenant_seen");
    const struct tenant tenant = fixture_tenant("seen", "uid-seen");

    snapshot_make(&run, fixture, &tenant);
    struct sql_conn *admin = postgres_connect("dbname=tenant_seen&application_name=night-watch");
    CHECK_INT(postgres_int(admin, "SELECT 1"), 1);
    CHECK_FAILS(snapshot_end(&end, fixture, &tenant), &end.err, ERR_WAIT, "DatabaseBusy");
    CHECK_NOT_NULL(strstr(end.err.message, "night-watch"));
    CHECK(!snapshot_file.finished);
    sql_close(admin);
    postgres_wait("SELECT (count(*) = 0)::int FROM pg_stat_activity WHERE datname = 'tenant_seen'");
    run_release(&end);
    CHECK_OK(snapshot_end(&end, fixture, &tenant), &end.err);
}

/* ---- the tool ---- */

/* A pg_dump of another age in front of the real one. */
static void place_tool(const char *name, const char *script)
{
    free(folder_write(snapshot_folder, name, str_from(script), S_IRWXU));
}

static void a_tool_that_is_too_old_is_told(void **state)
{
    AUTO(run) struct run run;
    AUTO(run) struct run end;
    struct fixture *fixture = snapshot_use_store(state, "tenant_aged");
    const struct tenant tenant = fixture_tenant("aged", "uid-aged");

    snapshot_make(&run, fixture, &tenant);
    place_tool("pg_dump", "#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.24'\n");
    fixture->services.postgres_tools = snapshot_folder;
    CHECK_FAILS(snapshot_end(&end, fixture, &tenant), &end.err, ERR_TERMINAL, "DumpToolTooOld");
    check_not_taken("aged");
    AUTO(free) char *path = xasprintf("%s/pg_dump", snapshot_folder);
    CHECK_INT(unlink(path), 0);
    run_release(&end);
    CHECK_FAILS(snapshot_end(&end, fixture, &tenant), &end.err, ERR_TERMINAL, "DumpToolMissing");
    CHECK_NOT_NULL(strstr(end.err.message, path));
    check_not_taken("aged");
}

/* A pg_dump that leaves rows out and ends with 0. */
static void a_dump_without_rows_is_noticed(void **state)
{
    AUTO(run) struct run run;
    AUTO(run) struct run end;
    struct fixture *fixture = snapshot_use_store(state, "tenant_zero");
    const struct tenant tenant = fixture_tenant("zero", "uid-zero");

    snapshot_make(&run, fixture, &tenant);
    AUTO(sql_conn) struct sql_conn *admin = postgres_connect("dbname=tenant_zero");
    postgres_run(admin, "INSERT INTO public.users (email, password_hash) VALUES ('a@b', 'x')");
    sql_close(TAKE(admin));
    place_tool("pg_dump", "#!/bin/sh\nexec pg_dump \"$@\" --exclude-table-data=users\n");
    place_tool("pg_restore", "#!/bin/sh\nexec pg_restore \"$@\"\n");
    fixture->services.postgres_tools = snapshot_folder;
    CHECK_FAILS(snapshot_end(&end, fixture, &tenant), &end.err, ERR_RETRY, "SnapshotIncomplete");
    CHECK_NOT_NULL(strstr(end.err.message, "and the dump has 0"));
    check_not_taken("zero");
}

/* ---- crashes, and a change of mind ---- */

/* Cut short while security was not forced; then somebody keeps the tenant after all. */
static void what_was_unforced_is_forced_again(void **state)
{
    AUTO(run) struct run run;
    AUTO(run) struct run end;
    AUTO(run) struct run again;
    const struct fixture *fixture = snapshot_use_store(state, "tenant_cut");
    const struct tenant tenant = fixture_tenant("cut", "uid-cut");

    snapshot_make(&run, fixture, &tenant);
    snapshot_file.damages = true; /* fails after it was unforced and before it is forced again */
    CHECK_FAILS(snapshot_end(&end, fixture, &tenant), &end.err, ERR_RETRY, "SnapshotIncomplete");
    AUTO(sql_conn) struct sql_conn *admin = postgres_connect("dbname=tenant_cut");
    CHECK_INT(postgres_int(admin, "SELECT count(*) FROM pg_class WHERE relforcerowsecurity"), 0);
    CHECK_INT(postgres_int(admin, "SELECT count(*) FROM pg_database, aclexplode(datacl) WHERE "
                                  "datname = 'tenant_cut' AND grantee <> datdba"),
              0);
    sql_close(TAKE(admin));
    snapshot_file.damages = false;
    CHECK_OK(snapshot_end(&again, fixture, &tenant), &again.err);
    struct sql_conn *back = snapshot_restore();
    CHECK_INT(postgres_int(back, "SELECT count(*) FROM pg_class WHERE relforcerowsecurity"), 4);
    snapshot_drop_restored(back);
}

static void a_snapshot_that_stands_is_not_taken_twice(void **state)
{
    AUTO(run) struct run run;
    AUTO(run) struct run first;
    AUTO(run) struct run second;
    const struct fixture *fixture = snapshot_use_store(state, "tenant_once");
    const struct tenant tenant = fixture_tenant("once", "uid-once");

    snapshot_make(&run, fixture, &tenant);
    snapshot_begin_end(&first, fixture, &tenant);
    CHECK_FAILS(snapshot_end_once(&first), &first.err, ERR_WAIT, "Progressing");
    CHECK_INT(count_databases("tenant_once"), 1);
    CHECK_INT(postgres_int(NULL, "SELECT count(*) FROM pg_database WHERE datname = 'tenant_once' "
                                 "AND datallowconn"),
              0);
    CHECK_OK(snapshot_end(&second, fixture, &tenant), &second.err);
    CHECK_INT(snapshot_file.finished, 1);
    CHECK_INT(count_databases("tenant_once"), 0);
}

/* Days may pass between the two, and somebody tidies up the bucket. */
static void a_dump_that_is_gone_is_taken_anew(void **state)
{
    AUTO(run) struct run run;
    AUTO(run) struct run first;
    AUTO(run) struct run second;
    AUTO(run) struct run third;
    const struct fixture *fixture = snapshot_use_store(state, "tenant_tidied");
    const struct tenant tenant = fixture_tenant("tidied", "uid-tidied");

    snapshot_make(&run, fixture, &tenant);
    snapshot_begin_end(&first, fixture, &tenant);
    CHECK_FAILS(snapshot_end_once(&first), &first.err, ERR_WAIT, "Progressing");
    CHECK_INT(unlink(snapshot_file.path), 0);
    snapshot_begin_end(&second, fixture, &tenant);
    CHECK_FAILS(snapshot_end_once(&second), &second.err, ERR_WAIT, "Progressing");
    CHECK_INT(count_databases("tenant_tidied"), 1);
    CHECK_INT(snapshot_file.finished, 2);
    snapshot_begin_end(&third, fixture, &tenant);
    CHECK_OK(snapshot_end_once(&third), &third.err);
    CHECK_INT(count_databases("tenant_tidied"), 0);
    struct sql_conn *back = snapshot_restore();
    CHECK_INT(postgres_int(back, "SELECT count(*) FROM public.users"), 0);
    snapshot_drop_restored(back);
}

/* There is nothing to be removed any more; before, there is. */
static void a_store_that_goes_after_the_database_holds_up_nothing(void **state)
{
    AUTO(run) struct run run;
    AUTO(run) struct run first;
    AUTO(run) struct run second;
    AUTO(run) struct run third;
    const struct fixture *fixture = snapshot_use_store(state, "tenant_late");
    const struct tenant tenant = fixture_tenant("late", "uid-late");

    snapshot_make(&run, fixture, &tenant);
    snapshot_begin_end(&first, fixture, &tenant);
    CHECK_FAILS(snapshot_end_once(&first), &first.err, ERR_WAIT, "Progressing");
    snapshot_file.away = true;
    snapshot_begin_end(&second, fixture, &tenant);
    CHECK_FAILS(snapshot_end_once(&second), &second.err, ERR_TERMINAL, "SnapshotNoStore");
    CHECK_INT(count_databases("tenant_late"), 1);
    postgres_run(NULL, "DROP DATABASE tenant_late");
    snapshot_begin_end(&third, fixture, &tenant);
    CHECK_OK(snapshot_end_once(&third), &third.err);
    CHECK_INT(snapshot_file.finished, 1);
}

/* The Tenant came back with a backup of the cluster (test_registry_takeover.c), and went again. */
static void a_receipt_that_is_void_permits_nothing(void **state)
{
    AUTO(run) struct run run;
    AUTO(run) struct run again;
    AUTO(run) struct run first;
    AUTO(run) struct run second;
    AUTO(sql_conn) struct sql_conn *registry = registry_connection();
    const struct fixture *fixture = snapshot_use_store(state, "tenant_twice");
    const struct tenant tenant = fixture_tenant("twice", "uid-twice");

    snapshot_make(&run, fixture, &tenant);
    CHECK_OK(snapshot_end(&first, fixture, &tenant), &first.err);
    CHECK_INT(snapshot_file.earlier, 0);
    postgres_run(registry, "UPDATE public.tenant_snapshots SET voided_at = now() WHERE tenant_uid "
                           "= 'uid-twice'; UPDATE public.tenants SET status = 'active', "
                           "deleted_at = NULL WHERE tenant_uid = 'uid-twice'");
    snapshot_make(&again, fixture, &tenant);
    CHECK_TEXT(again.work.tenant_id, run.work.tenant_id);
    CHECK_OK(snapshot_end(&second, fixture, &tenant), &second.err);
    CHECK_INT(count_databases("tenant_twice"), 0);
    CHECK_INT(snapshot_file.finished, 2);
    CHECK_INT(snapshot_file.earlier, 1); /* whose dump is not written over */
    CHECK_INT(postgres_int(registry, "SELECT count(*) FROM public.tenant_snapshots WHERE "
                                     "tenant_uid = 'uid-twice' AND taken_at IS NOT NULL"),
              2);
}

/* Cut short after the dump was stored, before it was proven; then ended. Returns how many dumps
 * were written. */
static int end_in_two(void **state, const char *subdomain, const char *uid, bool loses_dump,
                      const char *meanwhile)
{
    AUTO(run) struct run run;
    AUTO(run) struct run first;
    AUTO(run) struct run second;
    AUTO(free) char *database = xasprintf("tenant_%s", subdomain);
    const struct fixture *fixture = snapshot_use_store(state, database);
    const struct tenant tenant = fixture_tenant(subdomain, uid);
    AUTO(sql_conn) struct sql_conn *registry = registry_connection();

    snapshot_make(&run, fixture, &tenant);
    snapshot_file.cut_short = true;
    snapshot_begin_end(&first, fixture, &tenant);
    CHECK_INT(snapshot_end_once(&first), -1);
    CHECK_INT(first.err.cls, ERR_CANCELED);
    check_not_taken(subdomain);
    CHECK_INT(snapshot_file.finished, 1);
    if (loses_dump) {
        CHECK_INT(unlink(snapshot_file.path), 0);
    }
    if (meanwhile) {
        postgres_run(registry, "%s", meanwhile);
    }
    CHECK_OK(snapshot_end(&second, fixture, &tenant), &second.err);
    CHECK_INT(count_databases(database), 0);
    CHECK_INT(postgres_int(registry,
                           "SELECT count(*) FROM public.tenant_snapshots WHERE tenant_uid = '%s' "
                           "AND taken_at IS NOT NULL AND length(sha256) = 64",
                           uid),
              1);
    return snapshot_file.finished;
}

static void a_dump_that_was_stored_is_proven_and_not_written_again(void **state)
{
    CHECK_INT(end_in_two(state, "resumed", "uid-resumed", false, NULL), 1);
    struct sql_conn *back = snapshot_restore();
    CHECK_INT(postgres_int(back, "SELECT count(*) FROM public.users"), 0);
    snapshot_drop_restored(back);
}

static void a_dump_that_never_arrived_or_is_old_is_written_again(void **state)
{
    CHECK_INT(end_in_two(state, "unsent", "uid-unsent", true, NULL), 2);
    CHECK_INT(end_in_two(state, "stale", "uid-stale", false,
                         "UPDATE public.tenant_snapshots SET stored_at = now() - interval '1 hour' "
                         "WHERE tenant_uid = 'uid-stale'"),
              2);
}

/* Somebody wrote between the two tries: what was stored is not what is there now. */
/* A superuser does something between two tries, which the second one has to see. */
static void give_up_after(void **state, const char *name, const char *statement, const char *proof)
{
    AUTO(run) struct run run;
    AUTO(run) struct run first;
    AUTO(run) struct run second;
    AUTO(free) char *database = xasprintf("tenant_%s", name);
    AUTO(free) char *target = xasprintf("dbname=%s", database);
    AUTO(free) char *uid = xasprintf("uid-%s", name);
    const struct fixture *fixture = snapshot_use_store(state, database);
    const struct tenant tenant = fixture_tenant(name, uid);

    snapshot_make(&run, fixture, &tenant);
    struct sql_conn *admin = postgres_connect(target);
    postgres_run(admin, "INSERT INTO public.users (tenant_id, email, password_hash) VALUES "
                        "(gen_random_uuid(), 'early@x', 'x')");
    snapshot_file.cut_short = true;
    sql_close(admin);
    snapshot_begin_end(&first, fixture, &tenant);
    CHECK_INT(snapshot_end_once(&first), -1);
    admin = postgres_connect(target);
    postgres_run(admin, "%s", statement);
    sql_close(admin);
    CHECK_FAILS(snapshot_end(&second, fixture, &tenant), &second.err, ERR_RETRY,
                "SnapshotIncomplete");
    check_not_taken(name);
    run_release(&second);
    CHECK_OK(snapshot_end(&second, fixture, &tenant), &second.err);
    CHECK_INT(snapshot_file.finished, 2);
    struct sql_conn *back = snapshot_restore();
    CHECK_INT(postgres_int(back, "%s", proof), 1);
    snapshot_drop_restored(back);
}

static void a_dump_that_lacks_a_row_is_given_up(void **state)
{
    give_up_after(state, "behind",
                  "INSERT INTO public.users (tenant_id, email, password_hash) VALUES "
                  "(gen_random_uuid(), 'late@x', 'x')",
                  "SELECT count(*) FROM public.users WHERE email = 'late@x'");
}

static void a_dump_with_a_row_as_it_was_is_given_up(void **state)
{
    give_up_after(state, "changed",
                  "UPDATE public.users SET full_name = 'Late' WHERE email = 'early@x'",
                  "SELECT count(*) FROM public.users WHERE full_name = 'Late'");
}

static void a_database_dropped_by_hand_holds_up_nothing(void **state)
{
    AUTO(run) struct run run;
    AUTO(run) struct run end;
    const struct fixture *fixture = snapshot_use_store(state, "tenant_hand");
    const struct tenant tenant = fixture_tenant("hand", "uid-hand");

    snapshot_make(&run, fixture, &tenant);
    postgres_run(NULL, "DROP DATABASE tenant_hand WITH (FORCE)");
    CHECK_OK(snapshot_end(&end, fixture, &tenant), &end.err);
    CHECK(!snapshot_file.finished);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_is_in_it_and_then_all_goes),
        cmocka_unit_test(forced_row_security_hides_nothing),
        cmocka_unit_test(code_in_an_index_gets_nothing),
        cmocka_unit_test(without_a_store_nothing_is_touched),
        cmocka_unit_test(a_table_of_somebody_else_is_named),
        cmocka_unit_test(a_table_of_a_role_that_may_make_nothing_is_named),
        cmocka_unit_test(what_is_written_meanwhile_is_noticed),
        cmocka_unit_test(a_store_that_gives_back_something_else_is_noticed),
        cmocka_unit_test(a_superusers_session_is_waited_for),
        cmocka_unit_test(a_tool_that_is_too_old_is_told),
        cmocka_unit_test(a_dump_without_rows_is_noticed),
        cmocka_unit_test(what_was_unforced_is_forced_again),
        cmocka_unit_test(a_snapshot_that_stands_is_not_taken_twice),
        cmocka_unit_test(a_dump_that_is_gone_is_taken_anew),
        cmocka_unit_test(a_store_that_goes_after_the_database_holds_up_nothing),
        cmocka_unit_test(a_receipt_that_is_void_permits_nothing),
        cmocka_unit_test(a_dump_that_was_stored_is_proven_and_not_written_again),
        cmocka_unit_test(a_dump_that_never_arrived_or_is_old_is_written_again),
        cmocka_unit_test(a_dump_that_lacks_a_row_is_given_up),
        cmocka_unit_test(a_dump_with_a_row_as_it_was_is_given_up),
        cmocka_unit_test(a_database_dropped_by_hand_holds_up_nothing),
    };
    return cmocka_run_group_tests(tests, snapshot_set_up, snapshot_tear_down);
}
