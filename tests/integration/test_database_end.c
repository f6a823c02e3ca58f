/* How a tenant's database ends: kept, deleted, or not touched at all; with sessions open, with
 * things of its roles elsewhere, and when half of it is gone already. And how it begins when a
 * stranger has the name, or when an earlier run ended anywhere. */
#include "tests/check.h"
#include "tests/integration/database_fixture.h"
#include "tests/integration/postgres.h"

#include <pthread.h>
#include <stdatomic.h>

#include "controller/base/clock.h"
#include "reconcilers/database/steps.h"
#include "reconcilers/registry/steps.h"

#define PASSWORD "a-password-of-some-length"

/* Databases and roles of a tenant that are on the server. */
static int64_t count_left(const char *name)
{
    return postgres_int(NULL,
                        "SELECT (SELECT count(*) FROM pg_database WHERE datname = 'tenant_%s') + "
                        "(SELECT count(*) FROM pg_roles WHERE rolname LIKE 'tenant\\_%s.%%')",
                        name, name);
}

static struct sql_conn *registry_connection(void)
{
    return postgres_connect("dbname=registry_of_database_test");
}

static char *retained(const char *subdomain)
{
    AUTO(sql_conn) struct sql_conn *conn = registry_connection();
    return postgres_text(conn,
                         "SELECT string_agg(format('%%s %%s', kind, name), ', ' ORDER BY kind, "
                         "name) FROM public.tenant_retained WHERE subdomain = '%s' AND location = "
                         "'primary'",
                         subdomain);
}

static void make(struct run *run, void *state, const struct tenant *tenant)
{
    run_provision(run, state, tenant);
    run_make_login(run, state, PASSWORD);
}

/* ---- beginning ---- */

static void a_strangers_database_is_left_alone(void **state)
{
    AUTO(run) struct run run;
    const struct tenant tenant = fixture_tenant("squatted", "uid-squatted");

    postgres_run(NULL, "CREATE DATABASE tenant_squatted TEMPLATE template0");
    run_init(&run, *state, &tenant);
    CHECK_OK(record_ensure(&run.rc, &run.work, &run.err), &run.err);
    CHECK_FAILS(database_ensure(&run.rc, &run.work, &run.err), &run.err, ERR_TERMINAL,
                "NameConflict");
    CHECK_NOT_NULL(strstr(run.err.message, "database \"tenant_squatted\""));
    CHECK_INT(count_left("squatted"), 1);
    CHECK_INT(postgres_int(NULL, "SELECT count(*) FROM pg_database WHERE datname = "
                                 "'tenant_squatted' AND datacl IS NULL AND datallowconn"),
              1);
    /* Nor is it deleted. */
    AUTO(run) struct run end;
    CHECK_OK(run_delete(&end, *state, &tenant, DELETION_DELETE), &end.err);
    CHECK_INT(count_left("squatted"), 1);
    postgres_run(NULL, "DROP DATABASE tenant_squatted");
}

static void a_strangers_role_is_left_alone(void **state)
{
    AUTO(run) struct run run;
    AUTO(run) struct run end;
    const struct tenant tenant = fixture_tenant("rolled", "uid-rolled");

    postgres_run(NULL, "CREATE ROLE \"tenant_rolled.rw\" LOGIN");
    run_init(&run, *state, &tenant);
    CHECK_OK(record_ensure(&run.rc, &run.work, &run.err), &run.err);
    CHECK_FAILS(database_ensure(&run.rc, &run.work, &run.err), &run.err, ERR_TERMINAL,
                "NameConflict");
    CHECK_OK(run_delete(&end, *state, &tenant, DELETION_DELETE), &end.err);
    CHECK_INT(count_left("rolled"), 1);
    postgres_run(NULL, "DROP ROLE \"tenant_rolled.rw\"");
}

static void what_bears_anothers_mark_names_the_way_out(void **state)
{
    AUTO(run) struct run first;
    AUTO(run) struct run second;
    AUTO(run) struct run end;
    const struct tenant tenant = fixture_tenant("marked", "uid-marked");
    static const char id[] = "11111111-2222-4333-8444-555555555555";

    make(&first, *state, &tenant);
    postgres_run(NULL, "COMMENT ON DATABASE tenant_marked IS 'tenantry: tenant %s uid other'", id);
    /* Of the tenant's owner role it would stay the tenant's: that one may comment on it. */
    postgres_run(NULL, "ALTER DATABASE tenant_marked OWNER TO CURRENT_USER");
    run_init(&second, *state, &tenant);
    CHECK_OK(record_ensure(&second.rc, &second.work, &second.err), &second.err);
    CHECK_FAILS(database_ensure(&second.rc, &second.work, &second.err), &second.err, ERR_TERMINAL,
                "NameConflict");
    CHECK_NOT_NULL(strstr(second.err.message, "tenantry.dev/adopt: 11111111-2222-4333"));
    /* Deleting leaves what is another's, and the owner role that it still needs. */
    (void)run_delete(&end, *state, &tenant, DELETION_DELETE);
    CHECK_INT(
        postgres_int(NULL, "SELECT count(*) FROM pg_database WHERE datname = 'tenant_marked'"), 1);
}

/* Every prefix of the plan is what a crash may leave; the next run ends where an undisturbed one
 * does. */
static void a_crash_after_any_action_heals(void **state)
{
    size_t actions = 1;

    for (size_t done = 0; done < actions; done++) {
        AUTO(free) char *name = xasprintf("crash-%zu", done);
        AUTO(run) struct run crashed;
        AUTO(run) struct run next;
        AUTO(run) struct run quiet;
        AUTO(sql_conn) struct sql_conn *conn = fixture_connect(*state, "postgres");
        const struct tenant tenant = fixture_tenant(name, name);
        struct scope scope;
        struct seen seen;
        struct plan plan;
        run_init(&crashed, *state, &tenant);
        CHECK_OK(record_ensure(&crashed.rc, &crashed.work, &crashed.err), &crashed.err);
        scope_init(&scope, &crashed.arena, &crashed.work);
        CHECK_OK(database_look(conn, &crashed.rc.call, &crashed.arena, &scope, false, &seen, &plan,
                               &crashed.err),
                 &crashed.err);
        actions = plan.count;
        plan.count = done;
        CHECK_OK(database_execute(conn, &crashed.rc.call, &scope, &plan, &crashed.err),
                 &crashed.err);
        run_provision(&next, *state, &tenant);
        const struct quiet since = postgres_quiet_begin();
        run_again(&quiet, *state, &tenant);
        postgres_quiet_end(&since);
        /* PUBLIC could not connect before, and cannot now. */
        CHECK_INT(postgres_int(NULL,
                               "SELECT count(*) FROM pg_database, aclexplode(datacl) WHERE "
                               "grantee = 0 AND datname = '%s'",
                               scope.database),
                  0);
        AUTO(run) struct run end;
        CHECK_OK(run_delete(&end, *state, &tenant, DELETION_DELETE), &end.err);
        CHECK_INT(postgres_int(NULL, "SELECT count(*) FROM pg_roles WHERE rolname LIKE '%s.%%'",
                               scope.database),
                  0);
    }
    CHECK(actions > 10);
}

/* ---- keeping ---- */

static void movetokube_8_retain_locks_lists_and_can_be_adopted(void **state)
{
    AUTO(run) struct run run;
    AUTO(run) struct run end;
    AUTO(run) struct run conflict;
    AUTO(run) struct run adopted;
    struct tenant tenant = fixture_tenant("kept", "uid-old");
    struct err err = {0};

    make(&run, *state, &tenant);
    AUTO(sql_conn)
    struct sql_conn *live =
        fixture_connect_as(*state, "tenant_kept", "tenant_kept.a", PASSWORD, &err);
    CHECK_NOT_NULL(live);
    postgres_run(live,
                 "INSERT INTO public.users (email, password_hash) VALUES ('a@kept.test', 'x')");

    CHECK_OK(run_delete(&end, *state, &tenant, DELETION_RETAIN), &end.err);
    postgres_wait("SELECT (count(*) = 0)::int FROM pg_stat_activity WHERE datname = 'tenant_kept'");
    CHECK_NULL(fixture_connect_as(*state, "tenant_kept", "tenant_kept.a", PASSWORD, &err));
    CHECK_INT(postgres_int(NULL, "SELECT count(*) FROM pg_database WHERE datname = 'tenant_kept' "
                                 "AND NOT datallowconn"),
              1);
    AUTO(free) char *listed = retained("kept");
    CHECK_TEXT(listed, "database tenant_kept, role tenant_kept.a, role tenant_kept.app, role "
                       "tenant_kept.owner, role tenant_kept.ro, role tenant_kept.rw");
    AUTO(sql_conn) struct sql_conn *registry = registry_connection();
    CHECK(postgres_int(registry,
                       "SELECT size_bytes FROM public.tenant_retained WHERE kind = 'database' "
                       "AND subdomain = 'kept' AND delete_after IS NULL") > 1000000);

    /* Again, as after a crash before the finalizer was removed: the same. */
    AUTO(run) struct run once_more;
    CHECK_OK(run_delete(&once_more, *state, &tenant, DELETION_RETAIN), &once_more.err);
    AUTO(free) char *still = retained("kept");
    CHECK_TEXT(still, listed);

    tenant.uid = "uid-new";
    run_init(&conflict, *state, &tenant);
    CHECK_FAILS(record_ensure(&conflict.rc, &conflict.work, &conflict.err), &conflict.err,
                ERR_TERMINAL, "NameConflict");

    tenant.adopt = run.work.tenant_id;
    run_init(&adopted, *state, &tenant);
    adopted.work.adopted = true;
    (void)snprintf(adopted.work.tenant_id, sizeof(adopted.work.tenant_id), "%s",
                   run.work.tenant_id);
    adopted.work.place = run.work.place;
    CHECK_OK(database_ensure(&adopted.rc, &adopted.work, &adopted.err), &adopted.err);
    CHECK_OK(schema_ensure(&adopted.rc, &adopted.work, &adopted.err), &adopted.err);
    run_make_login(&adopted, *state, PASSWORD);
    AUTO(free) char *nothing = retained("kept");
    CHECK_TEXT(nothing, "");
    AUTO(sql_conn)
    struct sql_conn *back =
        fixture_connect_as(*state, "tenant_kept", "tenant_kept.a", PASSWORD, &err);
    CHECK_NOT_NULL(back);
    CHECK_INT(postgres_int(back, "SELECT count(*) FROM public.users"), 1);
    CHECK_INT(postgres_int(NULL, "SELECT count(*) FROM pg_roles WHERE rolname LIKE "
                                 "'tenant\\_kept.%%' AND shobj_description(oid, 'pg_authid') LIKE "
                                 "'%% uid uid-new%%'"),
              5);
}

static void days_of_grace_keep_what_is_to_be_deleted(void **state)
{
    AUTO(run) struct run run;
    AUTO(run) struct run end;
    struct tenant tenant = fixture_tenant("graced", "uid-graced");

    make(&run, *state, &tenant);
    tenant.deletion_grace_days = 7;
    CHECK_OK(run_delete(&end, *state, &tenant, DELETION_DELETE), &end.err);
    CHECK_INT(count_left("graced"), 6);
    AUTO(sql_conn) struct sql_conn *registry = registry_connection();
    CHECK_INT(postgres_int(registry,
                           "SELECT count(*) FROM public.tenant_retained WHERE subdomain = "
                           "'graced' AND delete_after BETWEEN now() + interval '6 days' "
                           "AND now() + interval '8 days'"),
              6);
}

/* ---- deleting ---- */

/* A client whose pool never gives up. */
struct pool {
    const struct fixture *fixture;
    atomic_bool stop;
    atomic_int connected;
};

static void *reconnect(void *context)
{
    struct pool *pool = context;
    while (!atomic_load(&pool->stop)) {
        struct err err = {0};
        AUTO(sql_conn)
        struct sql_conn *conn =
            fixture_connect_as(pool->fixture, "tenant_pooled", "tenant_pooled.a", PASSWORD, &err);
        AUTO(sql) struct sql query = {0};
        struct call call = {0};
        if (conn) {
            atomic_fetch_add(&pool->connected, 1);
            sql_init(&query);
            SQL(&query, "SELECT pg_sleep(60)");
            /* Whether it sleeps to the end or is ended does not matter. */
            int ended = sql_query(conn, &call, &query, NULL, &err);
            (void)ended;
        }
    }
    return NULL;
}

static void a_pool_that_reconnects_does_not_keep_a_database(void **state)
{
    enum { CLIENTS = 3 };
    AUTO(run) struct run run;
    AUTO(run) struct run end;
    const struct tenant tenant = fixture_tenant("pooled", "uid-pooled");
    struct pool pool = {.fixture = *state};
    pthread_t threads[CLIENTS];

    make(&run, *state, &tenant);
    for (int i = 0; i < CLIENTS; i++) {
        CHECK_INT(pthread_create(&threads[i], NULL, reconnect, &pool), 0);
    }
    postgres_wait("SELECT (count(*) = %d)::int FROM pg_stat_activity WHERE datname = "
                  "'tenant_pooled' AND query LIKE '%%sleep%%'",
                  CLIENTS);
    int result = run_delete(&end, *state, &tenant, DELETION_DELETE);
    atomic_store(&pool.stop, true);
    for (int i = 0; i < CLIENTS; i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK_OK(result, &end.err);
    CHECK(atomic_load(&pool.connected) >= CLIENTS);
    CHECK_INT(count_left("pooled"), 0);
    AUTO(free) char *listed = retained("pooled");
    CHECK_TEXT(listed, "");
}

static void a_superusers_session_is_named_and_waited_for(void **state)
{
    AUTO(run) struct run run;
    AUTO(run) struct run blocked;
    AUTO(run) struct run end;
    const struct tenant tenant = fixture_tenant("watched", "uid-watched");

    make(&run, *state, &tenant);
    struct sql_conn *admin = postgres_connect("dbname=tenant_watched&application_name=night-watch");
    AUTO(free) char *pid = postgres_text(admin, "SELECT pg_backend_pid()");
    CHECK_FAILS(run_delete(&blocked, *state, &tenant, DELETION_DELETE), &blocked.err, ERR_WAIT,
                "DatabaseBusy");
    AUTO(free)
    char *words =
        xasprintf("session %s of superuser \"postgres\", application \"night-watch\"", pid);
    CHECK_NOT_NULL(strstr(blocked.err.message, words));
    CHECK_INT(postgres_int(admin, "SELECT 1"), 1); /* alive, as are the data */
    CHECK_INT(count_left("watched"), 6);
    sql_close(admin);
    postgres_wait("SELECT (count(*) = 0)::int FROM pg_stat_activity WHERE datname = "
                  "'tenant_watched'");
    CHECK_OK(run_delete(&end, *state, &tenant, DELETION_DELETE), &end.err);
    CHECK_INT(count_left("watched"), 0);
}

static void movetokube_52_what_roles_own_in_another_database_is_handed_over(void **state)
{
    AUTO(run) struct run run;
    AUTO(run) struct run end;
    const struct tenant tenant = fixture_tenant("spread", "uid-spread");

    make(&run, *state, &tenant);
    postgres_run(NULL, "CREATE DATABASE spread_reports OWNER " FIXTURE_CONTROLLER);
    AUTO(sql_conn) struct sql_conn *reports = postgres_connect("dbname=spread_reports");
    postgres_run(reports, "GRANT CREATE, USAGE ON SCHEMA public TO \"tenant_spread.app\"; "
                          "CREATE TABLE public.theirs AS SELECT 1 AS n; "
                          "ALTER TABLE public.theirs OWNER TO \"tenant_spread.app\"; "
                          "CREATE TABLE public.shared (n int); ALTER TABLE public.shared OWNER "
                          "TO " FIXTURE_CONTROLLER);
    AUTO(sql_conn) struct sql_conn *owner = fixture_connect(*state, "spread_reports");
    postgres_run(owner, "GRANT SELECT ON public.shared TO \"tenant_spread.ro\"");
    CHECK_OK(run_delete(&end, *state, &tenant, DELETION_DELETE), &end.err);
    CHECK_INT(count_left("spread"), 0);
    AUTO(free)
    char *now = postgres_text(reports, "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE "
                                       "relname = 'theirs'");
    CHECK_TEXT(now, FIXTURE_CONTROLLER);
    CHECK_INT(postgres_int(reports, "SELECT n FROM public.theirs"), 1);
    sql_close(TAKE(reports));
    sql_close(TAKE(owner));
    postgres_run(NULL, "DROP DATABASE spread_reports WITH (FORCE)");
}

static void cnpg_6155_rights_only_a_superuser_can_take_back_are_named(void **state)
{
    AUTO(run) struct run run;
    AUTO(run) struct run blocked;
    AUTO(run) struct run end;
    const struct tenant tenant = fixture_tenant("granted", "uid-granted");

    make(&run, *state, &tenant);
    postgres_run(NULL, "CREATE TABLE public.granted_probe (); "
                       "GRANT SELECT ON public.granted_probe TO \"tenant_granted.ro\"");
    int result = run_delete(&blocked, *state, &tenant, DELETION_DELETE);
    CHECK(result != 0);
    CHECK_NOT_NULL(strstr(blocked.err.message, "postgres"));
    CHECK_NOT_NULL(strstr(blocked.err.message, "tenant_granted.ro"));
    postgres_run(NULL, "DROP OWNED BY \"tenant_granted.ro\"; DROP TABLE public.granted_probe");
    CHECK_OK(run_delete(&end, *state, &tenant, DELETION_DELETE), &end.err);
    CHECK_INT(count_left("granted"), 0);
}

static void prepared_transactions_are_rolled_back(void **state)
{
    AUTO(run) struct run run;
    AUTO(run) struct run blocked;
    AUTO(run) struct run end;
    const struct tenant tenant = fixture_tenant("prepared", "uid-prepared");
    struct err err = {0};

    make(&run, *state, &tenant);
    {
        AUTO(sql_conn)
        struct sql_conn *conn =
            fixture_connect_as(*state, "tenant_prepared", "tenant_prepared.a", PASSWORD, &err);
        CHECK_NOT_NULL(conn);
        postgres_run(conn, "BEGIN; INSERT INTO public.users (email, password_hash) VALUES "
                           "('p@p.test', 'x'); PREPARE TRANSACTION 'of the tenant'");
    }
    AUTO(sql_conn) struct sql_conn *admin = postgres_connect("dbname=tenant_prepared");
    postgres_run(admin, "BEGIN; CREATE TABLE public.x (); PREPARE TRANSACTION 'of an admin'");
    sql_close(TAKE(admin));

    /* A superuser's may not be ended, and the database stays open for who can. */
    CHECK_FAILS(run_delete(&blocked, *state, &tenant, DELETION_DELETE), &blocked.err, ERR_WAIT,
                "DatabaseBusy");
    CHECK_NOT_NULL(strstr(blocked.err.message, "prepared transaction 'of an admin'"));
    CHECK_NULL(strstr(blocked.err.message, "of the tenant"));
    CHECK_INT(postgres_int(NULL, "SELECT count(*) FROM pg_prepared_xacts"), 1);
    AUTO(sql_conn) struct sql_conn *again = postgres_connect("dbname=tenant_prepared");
    AUTO(sql) struct sql query = {0};
    struct call call = {0};
    sql_init(&query);
    SQL(&query, "ROLLBACK PREPARED 'of an admin'");
    CHECK_OK(sql_exec(again, &call, &query, NULL, &err), &err);
    sql_close(TAKE(again));
    CHECK_OK(run_delete(&end, *state, &tenant, DELETION_DELETE), &end.err);
    CHECK_INT(count_left("prepared"), 0);
}

static void an_idle_replication_slot_goes_with_its_database(void **state)
{
    AUTO(run) struct run run;
    AUTO(run) struct run end;
    const struct tenant tenant = fixture_tenant("slotted", "uid-slotted");

    make(&run, *state, &tenant);
    AUTO(sql_conn) struct sql_conn *admin = postgres_connect("dbname=tenant_slotted");
    postgres_run(admin, "SELECT pg_create_logical_replication_slot('slotted', 'test_decoding')");
    sql_close(TAKE(admin));
    postgres_wait("SELECT (count(*) = 0)::int FROM pg_stat_activity WHERE datname = "
                  "'tenant_slotted'");
    CHECK_OK(run_delete(&end, *state, &tenant, DELETION_DELETE), &end.err);
    CHECK_INT(count_left("slotted"), 0);
    CHECK_INT(postgres_int(NULL, "SELECT count(*) FROM pg_replication_slots"), 0);
}

static void movetokube_44_what_is_gone_by_hand_is_no_obstacle(void **state)
{
    AUTO(run) struct run run;
    AUTO(run) struct run end;
    AUTO(run) struct run again;
    const struct tenant tenant = fixture_tenant("handled", "uid-handled");

    make(&run, *state, &tenant);
    postgres_run(NULL, "DROP DATABASE tenant_handled WITH (FORCE)");
    postgres_run(NULL, "DROP ROLE \"tenant_handled.rw\"");
    CHECK_OK(run_delete(&end, *state, &tenant, DELETION_DELETE), &end.err);
    CHECK_INT(count_left("handled"), 0);
    CHECK_OK(run_delete(&again, *state, &tenant, DELETION_DELETE), &again.err);
}

static void an_interrupted_drop_is_completed(void **state)
{
    AUTO(run) struct run run;
    AUTO(run) struct run end;
    const struct tenant tenant = fixture_tenant("halved", "uid-halved");

    make(&run, *state, &tenant);
    postgres_run(NULL, "UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'tenant_halved'");
    CHECK_OK(run_delete(&end, *state, &tenant, DELETION_DELETE), &end.err);
    CHECK_INT(count_left("halved"), 0);
}

static void a_name_can_be_used_again(void **state)
{
    AUTO(run) struct run run;
    AUTO(run) struct run end;
    AUTO(run) struct run next;
    struct tenant tenant = fixture_tenant("reborn", "uid-reborn");

    make(&run, *state, &tenant);
    CHECK_OK(run_delete(&end, *state, &tenant, DELETION_DELETE), &end.err);
    tenant.uid = "uid-2";
    make(&next, *state, &tenant);
    CHECK(!text_equal(run.work.tenant_id, next.work.tenant_id));
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("dbname=tenant_reborn");
    CHECK_INT(postgres_int(conn, "SELECT count(*) FROM public.users"), 0);
}

/* ---- a server that is gone ---- */

static void cnpg_10535_a_server_that_is_gone_is_told_and_can_be_given_up(void **state)
{
    AUTO(run) struct run run;
    AUTO(run) struct run waiting;
    AUTO(run) struct run given_up;
    struct tenant tenant = fixture_tenant("stranded", "uid-stranded");

    make(&run, *state, &tenant);
    fixture_lose_server(*state);
    CHECK_FAILS(run_delete(&waiting, *state, &tenant, DELETION_DELETE), &waiting.err, ERR_RETRY,
                "DatabaseUnreachable");
    tenant.force_finalize = true;
    CHECK_OK(run_delete(&given_up, *state, &tenant, DELETION_DELETE), &given_up.err);
    AUTO(free) char *listed = retained("stranded");
    CHECK_NOT_NULL(strstr(listed, "database tenant_stranded"));
    fixture_set_drift(*state, "Heal");
    CHECK_INT(count_left("stranded"), 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_strangers_database_is_left_alone),
        cmocka_unit_test(a_strangers_role_is_left_alone),
        cmocka_unit_test(what_bears_anothers_mark_names_the_way_out),
        cmocka_unit_test(a_crash_after_any_action_heals),
        cmocka_unit_test(movetokube_8_retain_locks_lists_and_can_be_adopted),
        cmocka_unit_test(days_of_grace_keep_what_is_to_be_deleted),
        cmocka_unit_test(a_pool_that_reconnects_does_not_keep_a_database),
        cmocka_unit_test(a_superusers_session_is_named_and_waited_for),
        cmocka_unit_test(movetokube_52_what_roles_own_in_another_database_is_handed_over),
        cmocka_unit_test(cnpg_6155_rights_only_a_superuser_can_take_back_are_named),
        cmocka_unit_test(prepared_transactions_are_rolled_back),
        cmocka_unit_test(an_idle_replication_slot_goes_with_its_database),
        cmocka_unit_test(movetokube_44_what_is_gone_by_hand_is_no_obstacle),
        cmocka_unit_test(an_interrupted_drop_is_completed),
        cmocka_unit_test(a_name_can_be_used_again),
        cmocka_unit_test(cnpg_10535_a_server_that_is_gone_is_told_and_can_be_given_up),
    };
    return cmocka_run_group_tests(tests, fixture_set_up, fixture_tear_down);
}
