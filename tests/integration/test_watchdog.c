/* Sessions of tenants that go too far, and those that do not. */
#include "tests/check.h"
#include "tests/integration/database_fixture.h"
#include "tests/integration/postgres.h"

#include <libpq-fe.h>

#include "controller/base/clock.h"
#include "reconcilers/database/watchdog.h"

#define PASSWORD "a-password-of-some-length"

enum { PATIENCE_MS = 20 * 1000, PAUSE_NS = 50 * 1000 * 1000 };

/* As short as the watchdog's eyes allow, which see nothing that is younger than a second. */
static const struct watchdog_limits quick = {
    .shared_database = "tenantry_shared",
    .shared_idle_ms = 1000,
    .shared_lock_ms = 1000,
    .grace_ms = 0,
};
/* As good as none, where the tenant's own times are what counts. */
static const struct watchdog_limits patient = {
    .shared_database = "tenantry_shared",
    .shared_idle_ms = 1000000,
    .shared_lock_ms = 1000000,
    .grace_ms = 0,
};

struct world {
    struct fixture *fixture;
    struct run row;
    struct run other;
    struct run database;
};

static void provision(struct run *run, const struct fixture *fixture, const char *name,
                      enum isolation isolation)
{
    struct tenant tenant = fixture_tenant(name, name);
    tenant.isolation = isolation;
    run_provision(run, fixture, &tenant);
    run->work.tenant = &run->tenant;
    run_make_login(run, fixture, PASSWORD);
}

static int set_up(void **state)
{
    struct world *world = xcalloc(1, sizeof(*world));
    void *fixture = NULL;

    CHECK_INT(fixture_set_up(&fixture), 0);
    world->fixture = fixture;
    provision(&world->row, fixture, "row", ISOLATION_ROW);
    provision(&world->other, fixture, "other", ISOLATION_ROW);
    provision(&world->database, fixture, "own", ISOLATION_DATABASE);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    void *fixture = world->fixture;

    run_release(&world->row);
    run_release(&world->other);
    run_release(&world->database);
    free(world);
    return fixture_tear_down(&fixture);
}

/* A session that goes on with `sql` while the test goes on too. */
static PGconn *begin(const struct run *run, const char *sql)
{
    const char *colon = strrchr(check_getenv("TENANTRY_SERVER_URL"), ':');
    CHECK_NOT_NULL(colon);
    AUTO(free) char *port = xasprintf("%ld", strtol(colon + 1, NULL, 10));
    AUTO(free) char *user = xasprintf("tenant_%s.a", run->tenant.name);
    const char *const keys[] = {"host", "port", "dbname", "user", "password", "sslmode", NULL};
    const char *const values[] = {"127.0.0.1", port, run->work.place.database, user, PASSWORD,
                                  "require",   NULL};
    PGconn *conn = PQconnectdbParams(keys, values, 0);

    if (PQstatus(conn) != CONNECTION_OK) {
        fail_msg("%s", PQerrorMessage(conn));
    }
    CHECK(PQsendQuery(conn, sql));
    return conn;
}

/* What the watchdog says of the session, having waited for it to say something; "" if it does not.
 */
static char *offence(const struct world *world, PGconn *conn, const struct watchdog_limits *limits,
                     int64_t patience_ms)
{
    AUTO(sql_conn) struct sql_conn *eyes = fixture_connect(world->fixture, "postgres");
    int64_t end_ms = clock_monotonic_ms() + patience_ms;
    struct call call = {0};
    struct err err = {0};

    while (clock_monotonic_ms() < end_ms) {
        AUTO(arena) struct arena arena = {0};
        struct offender *offenders = NULL;
        size_t count = 0;
        arena_init(&arena, 0);
        CHECK_OK(watchdog_observe(eyes, &call, &arena, limits, &offenders, &count, &err), &err);
        for (size_t i = 0; i < count; i++) {
            if (offenders[i].pid == PQbackendPID(conn)) {
                return xstrdup(offenders[i].what);
            }
        }
        const struct timespec pause = {.tv_nsec = PAUSE_NS};
        nanosleep(&pause, NULL);
    }
    return xstrdup("");
}

static void check_offence(const struct world *world, PGconn *conn,
                          const struct watchdog_limits *limits, const char *start)
{
    AUTO(free) char *what = offence(world, conn, limits, PATIENCE_MS);

    if (!str_starts_with(str_from(what), str_from(start))) {
        fail_msg("the watchdog says \"%s\", expected \"%s...\"", what, start);
    }
}

/* A lock on a table that all tenants share: the others wait, and are served once it is ended. */
static void a_lock_on_a_shared_table_is_ended(void **state)
{
    const struct world *world = *state;
    PGconn *locker = begin(&world->row, "BEGIN; LOCK TABLE tenantry_rows.users; SELECT "
                                        "pg_sleep(600)");
    struct call call = {0};
    struct err err = {0};
    bool confirmed = false;

    postgres_wait("SELECT count(*)::int FROM pg_locks WHERE pid = %d AND mode = "
                  "'AccessExclusiveLock' AND granted",
                  PQbackendPID(locker));
    PGconn *waiter = begin(&world->other, "SELECT count(*) FROM tenantry_rows.users");
    check_offence(world, locker, &quick, "AccessExclusiveLock on a shared table for");
    AUTO(sql_conn) struct sql_conn *conn = fixture_connect(world->fixture, "tenantry_shared");
    AUTO(free)
    char *started = postgres_text(NULL,
                                  "SELECT backend_start::text FROM pg_stat_activity WHERE "
                                  "pid = %d",
                                  PQbackendPID(locker));
    const struct offender offender = {.pid = PQbackendPID(locker), .started = started};
    CHECK_OK(watchdog_confirm(conn, &call, &offender, &confirmed, &err), &err);
    CHECK(confirmed);
    /* One that has the pid, but is another session, is left alone. */
    const struct offender another = {.pid = PQbackendPID(locker), .started = "2001-01-01"};
    CHECK_OK(watchdog_end(conn, &call, &another, &err), &err);
    CHECK_INT(postgres_int(NULL, "SELECT count(*) FROM pg_stat_activity WHERE pid = %d",
                           PQbackendPID(locker)),
              1);
    CHECK_OK(watchdog_end(conn, &call, &offender, &err), &err);
    PGresult *result = PQgetResult(waiter);
    CHECK_INT(PQresultStatus(result), PGRES_TUPLES_OK);
    PQclear(result);
    PQfinish(waiter);
    PQfinish(locker);
}

static void a_lock_on_a_table_of_its_own_is_none(void **state)
{
    const struct world *world = *state;
    PGconn *conn =
        begin(&world->row, "BEGIN; CREATE TEMP TABLE mine (n int); SELECT pg_sleep(600)");
    struct call call = {0};
    struct err err = {0};
    bool confirmed = true;

    check_offence(world, conn, &quick, "AccessExclusiveLock on a shared table for");
    AUTO(sql_conn) struct sql_conn *shared = fixture_connect(world->fixture, "tenantry_shared");
    const struct offender offender = {.pid = PQbackendPID(conn)};
    CHECK_OK(watchdog_confirm(shared, &call, &offender, &confirmed, &err), &err);
    CHECK(!confirmed);
    postgres_run(NULL, "SELECT pg_terminate_backend(%d)", PQbackendPID(conn));
    PQfinish(conn);
}

static void a_transaction_left_idle_in_the_shared_database_is_ended(void **state)
{
    const struct world *world = *state;
    PGconn *conn = begin(&world->row, "BEGIN; SELECT count(*) FROM tenantry_rows.users");

    for (PGresult *result; (result = PQgetResult(conn));) {
        PQclear(result);
    }
    check_offence(world, conn, &quick, "idle in a transaction for");
    PQfinish(conn);
}

/* The tenant's own times hold in a database of its own, whatever its session sets. */
static void the_tiers_times_hold_whatever_a_session_sets(void **state)
{
    const struct world *world = *state;

    postgres_run(
        NULL,
        "COMMENT ON ROLE \"tenant_own.a\" IS 'tenantry: tenant %s uid own defaults x times "
        "1200/1200'",
        world->database.work.tenant_id);
    PGconn *sleeper = begin(&world->database, "SET statement_timeout TO 0; SELECT pg_sleep(600)");
    check_offence(world, sleeper, &patient, "a statement for");
    PQfinish(sleeper);
    PGconn *idler =
        begin(&world->database, "SET idle_in_transaction_session_timeout TO 0; BEGIN; SELECT 1");
    for (PGresult *result; (result = PQgetResult(idler));) {
        PQclear(result);
    }
    check_offence(world, idler, &patient, "idle in a transaction for");
    PQfinish(idler);
    postgres_run(NULL, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = "
                       "'tenant_own.a'");
}

static void who_keeps_to_its_times_is_left_alone(void **state)
{
    const struct world *world = *state;
    PGconn *reader = begin(&world->row, "SELECT count(*), pg_sleep(600) FROM tenantry_rows.users");
    AUTO(free) char *what = offence(world, reader, &quick, 2500);

    CHECK_TEXT(what, "");
    postgres_run(NULL, "SELECT pg_terminate_backend(%d)", PQbackendPID(reader));
    PQfinish(reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lock_on_a_shared_table_is_ended),
        cmocka_unit_test(a_lock_on_a_table_of_its_own_is_none),
        cmocka_unit_test(a_transaction_left_idle_in_the_shared_database_is_ended),
        cmocka_unit_test(the_tiers_times_hold_whatever_a_session_sets),
        cmocka_unit_test(who_keeps_to_its_times_is_left_alone),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
