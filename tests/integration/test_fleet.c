/* Who may go next in an upgrade of all tenants: a few first, twice as many each time, nobody once
 * one failed; and the same whoever asks, and after a crash. */
#include "tests/check.h"
#include "tests/integration/database_fixture.h"
#include "tests/integration/postgres.h"

#include <pthread.h>
#include <stdatomic.h>

#include "reconcilers/registry/fleet.h"

enum { TENANTS = 9, FLEET_SIZE = 10, TRIES = 10 };

#define ID(number) "00000000-0000-4000-8000-00000000000" number

static const char *const ids[TENANTS] = {ID("0"), ID("1"), ID("2"), ID("3"), ID("4"),
                                         ID("5"), ID("6"), ID("7"), ID("8")};

static struct sql_conn *registry_of(void)
{
    return postgres_connect("dbname=registry_of_database_test");
}

/* Tenants "t0" to "t8" at version 1, and nothing under way. */
static int begin(void **state)
{
    AUTO(sql_conn) struct sql_conn *conn = registry_of();

    (void)state;
    postgres_run(conn, "DELETE FROM public.tenants");
    for (int i = 0; i < TENANTS; i++) {
        postgres_run(conn,
                     "INSERT INTO public.tenants (id, name, subdomain, tier, database_name, "
                     "schema_version, migrations_target) VALUES ('%s', 't%d', 't%d', 'free', "
                     "'tenant_t%d', 1, 'migrations shop 0001 x')",
                     ids[i], i, i, i);
    }
    return 0;
}

static int ask(const struct fixture *fixture, const char *target, int tenant, struct err *err)
{
    AUTO(arena) struct arena arena;
    struct reconcile rc = {.arena = &arena, .key = "t"};

    arena_init(&arena, 0);
    return fleet_begin(fixture->services.registry, &rc, ids[tenant], target, FLEET_SIZE, err);
}

static void tell(const struct fixture *fixture, const char *target, int tenant,
                 const struct err *failure)
{
    AUTO(arena) struct arena arena;
    struct reconcile rc = {.arena = &arena, .key = "t"};
    struct err err = {0};

    arena_init(&arena, 0);
    CHECK_OK(fleet_end(fixture->services.registry, &rc, ids[tenant], target, failure, &err), &err);
}

#define may(state, target, tenant) may_at((state), (target), (tenant), __LINE__)
static void may_at(void **state, const char *target, int tenant, int line)
{
    struct err err = {0};

    if (ask(*state, target, tenant, &err)) {
        fail_msg("line %d: t%d may not begin: %s", line, tenant, err.message);
    }
}

#define must_wait(state, target, tenant, reason, whom)                                             \
    must_wait_at((state), (target), (tenant), (reason), (whom), __LINE__)
static void must_wait_at(void **state, const char *target, int tenant, const char *reason,
                         const char *whom, int line)
{
    struct err err = {0};

    if (ask(*state, target, tenant, &err) == 0) {
        fail_msg("line %d: t%d may begin", line, tenant);
    }
    CHECK_INT(err.cls, ERR_WAIT);
    CHECK_TEXT(err.reason, reason);
    CHECK_NOT_NULL(strstr(err.message, whom));
    CHECK(err.retry_after_ms >= 1000 && err.retry_after_ms <= 90000);
}

static void each_wave_is_as_large_as_all_before(void **state)
{
    static const char target[] = "schema 2";

    may(state, target, 4);
    must_wait(state, target, 0, "UpgradeWaiting", "\"t4\"");
    tell(*state, target, 4, NULL);
    may(state, target, 0);
    must_wait(state, target, 1, "UpgradeWaiting", "\"t0\"");
    tell(*state, target, 0, NULL);
    may(state, target, 1);
    may(state, target, 2);
    must_wait(state, target, 3, "UpgradeWaiting", "\"t1\"");
    tell(*state, target, 1, NULL);
    must_wait(state, target, 3, "UpgradeWaiting", "\"t2\"");
    tell(*state, target, 2, NULL);
    may(state, target, 3);
    may(state, target, 5);
    may(state, target, 6);
    may(state, target, 7);
    must_wait(state, target, 8, "UpgradeWaiting", "\"t3\"");
    /* Another upgrade has waves of its own. */
    may(state, "schema 3", 8);
    AUTO(sql_conn) struct sql_conn *conn = registry_of();
    AUTO(free)
    char *waves = postgres_text(conn, "SELECT string_agg(wave::text, ' ' ORDER BY wave) "
                                      "FROM public.fleet_upgrades WHERE target = 'schema 2'");
    CHECK_TEXT(waves, "0 1 2 2 3 3 3 3");
}

static void one_failure_stops_all_others(void **state)
{
    static const char target[] = "schema 2";
    AUTO(sql_conn) struct sql_conn *conn = registry_of();
    struct err failure = {0};

    may(state, target, 0);
    (void)err_set(&failure, ERR_TERMINAL, "MigrationFailed", "no such column");
    tell(*state, target, 0, &failure);
    must_wait(state, target, 1, "UpgradeStopped", "\"t0\"");
    AUTO(free) char *error = postgres_text(conn, "SELECT error FROM public.fleet_upgrades");
    CHECK_TEXT(error, "no such column");
    /* It may try again itself; once it went well, the others go on. */
    may(state, target, 0);
    must_wait(state, target, 1, "UpgradeStopped", "\"t0\"");
    tell(*state, target, 0, NULL);
    may(state, target, 1);
    /* Told to be left out, or gone, it stops nobody. */
    tell(*state, target, 1, &failure);
    must_wait(state, target, 2, "UpgradeStopped", "\"t1\"");
    postgres_run(conn, "UPDATE public.fleet_upgrades SET state = 'skipped' WHERE tenant_id = '%s'",
                 ids[1]);
    may(state, target, 2);
    may(state, target, 1);
    tell(*state, target, 1, &failure);
    tell(*state, target, 2, &failure);
    must_wait(state, target, 3, "UpgradeStopped", "\"t2\"");
    postgres_run(conn, "UPDATE public.tenants SET status = 'suspended' WHERE id = '%s'", ids[2]);
    may(state, target, 3);
}

/* A lock that was not to be had is no failure, until it was not to be had ten times. */
static void locks_are_waited_for_ten_times(void **state)
{
    static const char target[] = "schema 2";
    struct err failure = {0};

    (void)err_set(&failure, ERR_RETRY, "LockTimeout", "a lock was not to be had");
    for (int i = 0; i < TRIES - 1; i++) {
        may(state, target, 0);
        tell(*state, target, 0, &failure);
        must_wait(state, target, 1, "UpgradeWaiting", "\"t0\"");
    }
    may(state, target, 0);
    tell(*state, target, 0, &failure);
    must_wait(state, target, 1, "UpgradeStopped", "\"t0\"");
}

static void canaries_go_before_all_others(void **state)
{
    static const char target[] = "schema 2";
    static const char files[] = "migrations shop 0002 y";
    AUTO(sql_conn) struct sql_conn *conn = registry_of();

    postgres_run(conn, "UPDATE public.tenants SET canary = true WHERE id IN ('%s', '%s')", ids[7],
                 ids[8]);
    must_wait(state, target, 0, "UpgradeWaiting", "\"t7\"");
    may(state, target, 7);
    may(state, target, 8);
    tell(*state, target, 7, NULL);
    must_wait(state, target, 0, "UpgradeWaiting", "\"t8\"");
    tell(*state, target, 8, NULL);
    may(state, target, 0);
    /* Of a ConfigMap, those canaries alone that name it, and have not all of it. */
    postgres_run(conn,
                 "UPDATE public.tenants SET migrations_target = 'migrations other 1 x' "
                 "WHERE id = '%s'",
                 ids[7]);
    postgres_run(conn, "UPDATE public.tenants SET migrations_target = '%s' WHERE id = '%s'", files,
                 ids[8]);
    may(state, files, 0);
}

/* The upgrade was made, and the controller died before it could say so. */
static void after_a_crash_it_goes_on(void **state)
{
    const struct fixture *fixture = *state;
    static const char target[] = "schema 2";
    AUTO(sql_conn) struct sql_conn *conn = registry_of();
    AUTO(arena) struct arena arena;
    struct reconcile rc = {.arena = &arena, .key = "t"};
    struct err err = {0};

    arena_init(&arena, 0);
    may(state, target, 0);
    must_wait(state, target, 1, "UpgradeWaiting", "\"t0\"");
    may(state, target, 0);
    CHECK_OK(fleet_put_schema(fixture->services.registry, &rc, ids[0], 2, &err), &err);
    CHECK_INT(
        postgres_int(conn, "SELECT schema_version FROM public.tenants WHERE id = '%s'", ids[0]), 2);
    may(state, target, 1);
    CHECK_OK(fleet_put_migrations(fixture->services.registry, &rc, ids[0], "migrations shop 2 z", 2,
                                  &err),
             &err);
    AUTO(free)
    char *versions = postgres_text(conn,
                                   "SELECT concat_ws(' ', schema_version, migrations_target, "
                                   "migrations_applied) FROM public.tenants WHERE id = '%s'",
                                   ids[0]);
    CHECK_TEXT(versions, "2 migrations shop 2 z 2");
    const struct quiet since = postgres_quiet_begin();
    CHECK_INT(postgres_int(conn, "SELECT count(*) FROM public.fleet_upgrades"), 2);
    postgres_quiet_end(&since);
    /* One that is not heard of any more holds nobody up for long. */
    must_wait(state, target, 2, "UpgradeWaiting", "\"t1\"");
    postgres_run(conn,
                 "UPDATE public.fleet_upgrades SET updated_at = now() - interval '11 minutes' "
                 "WHERE tenant_id = '%s'",
                 ids[1]);
    may(state, target, 2);
}

struct racer {
    const struct fixture *fixture;
    int tenant;
    atomic_int *admitted;
};

static void *race(void *context)
{
    const struct racer *racer = context;
    struct err err = {0};

    if (ask(racer->fixture, "schema 2", racer->tenant, &err) == 0) {
        atomic_fetch_add(racer->admitted, 1);
    }
    return NULL;
}

static void of_all_who_ask_at_once_one_begins(void **state)
{
    struct racer racers[TENANTS];
    pthread_t threads[TENANTS];
    atomic_int admitted = 0;

    for (int i = 0; i < TENANTS; i++) {
        racers[i] = (struct racer){.fixture = *state, .tenant = i, .admitted = &admitted};
        CHECK_INT(pthread_create(&threads[i], NULL, race, &racers[i]), 0);
    }
    for (int i = 0; i < TENANTS; i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK_INT(atomic_load(&admitted), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(each_wave_is_as_large_as_all_before, begin),
        cmocka_unit_test_setup(one_failure_stops_all_others, begin),
        cmocka_unit_test_setup(locks_are_waited_for_ten_times, begin),
        cmocka_unit_test_setup(canaries_go_before_all_others, begin),
        cmocka_unit_test_setup(after_a_crash_it_goes_on, begin),
        cmocka_unit_test_setup(of_all_who_ask_at_once_one_begins, begin),
    };
    return cmocka_run_group_tests(tests, fixture_set_up, fixture_tear_down);
}
