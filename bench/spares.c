/* What a tenant waits for its database, with a spare and without, beside CREATE DATABASE itself.
 *
 *     bench-spares COUNT     with TENANTRY_SERVER_URL and TENANTRY_SERVER_CA, as tests have them
 *
 * Runs the step Database as the controller does, COUNT times of each kind in turn, and prints a
 * JSON line for each: {"raw", "made", "given", "spare"} in microseconds, and "spare_bytes". raw is
 * one CREATE DATABASE over a connection that stays open; made and given are the whole step, from
 * the first look to the last right granted; spare is the making of one ahead. */
#include <stdio.h>
#include <stdlib.h>

#include "controller/base/clock.h"
#include "controller/base/str.h"
#include "reconcilers/database/spares.h"
#include "reconcilers/database/steps.h"
#include "reconcilers/registry/steps.h"
#include "tests/check.h"
#include "tests/integration/database_fixture.h"
#include "tests/integration/postgres.h"

enum { COUNT_MAX = 1000 };

static int64_t time_raw(struct sql_conn *conn, int number)
{
    int64_t start_us = clock_monotonic_us();
    postgres_run(conn, "CREATE DATABASE raw_%d TEMPLATE template0 STRATEGY wal_log", number);
    int64_t took_us = clock_monotonic_us() - start_us;
    postgres_run(conn, "DROP DATABASE raw_%d", number);
    return took_us;
}

static int64_t time_spare(struct sql_conn *conn)
{
    struct call call = {0};
    struct err err = {0};
    const struct spares_plan plan = {.action = SPARES_CREATE, .name = SPARE_PREFIX "1"};
    int64_t start_us = clock_monotonic_us();

    CHECK_OK(spares_execute(conn, &call, &plan, &err), &err);
    return clock_monotonic_us() - start_us;
}

/* The record is another step. */
static int64_t time_step(struct fixture *fixture, const char *kind, int number)
{
    AUTO(run) struct run run;
    AUTO(free) char *name = xasprintf("%s-%d", kind, number);
    const struct tenant tenant = fixture_tenant(name, name);

    run_init(&run, fixture, &tenant);
    CHECK_OK(record_ensure(&run.rc, &run.work, &run.err), &run.err);
    int64_t start_us = clock_monotonic_us();
    CHECK_OK(database_ensure(&run.rc, &run.work, &run.err), &run.err);
    return clock_monotonic_us() - start_us;
}

static void take_turns(struct fixture *fixture, struct sql_conn *conn, int number, bool tell)
{
    int64_t raw_us = time_raw(conn, number);
    int64_t made_us = time_step(fixture, "made", number);
    int64_t spare_us = time_spare(conn);
    int64_t bytes = postgres_int(NULL, "SELECT pg_database_size('" SPARE_PREFIX "1')");
    int64_t given_us = time_step(fixture, "given", number);

    CHECK_INT(
        postgres_int(NULL, "SELECT count(*) FROM pg_database WHERE datname = '" SPARE_PREFIX "1'"),
        0);
    if (tell) {
        (void)printf("{\"raw\": %lld, \"made\": %lld, \"given\": %lld, \"spare\": %lld, "
                     "\"spare_bytes\": %lld}\n",
                     (long long)raw_us, (long long)made_us, (long long)given_us,
                     (long long)spare_us, (long long)bytes);
    }
}

int main(int argc, char **argv)
{
    long count = argc == 2 ? strtol(argv[1], NULL, 10) : 0;
    void *state = NULL;

    if (count < 1 || count > COUNT_MAX) {
        (void)fprintf(stderr, "usage: bench-spares COUNT\n");
        return 2;
    }
    fixture_set_up(&state);
    struct fixture *fixture = state;
    struct sql_conn *conn = fixture_connect(fixture, "postgres");
    fixture_set_spares(fixture, 1, 600);
    for (int i = 0; i <= count; i++) {
        take_turns(fixture, conn, i, i > 0); /* the first warms up */
    }
    sql_close(conn);
    fixture_tear_down(&state);
    return 0;
}
