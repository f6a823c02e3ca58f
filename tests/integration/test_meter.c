/* Compute hours with two leaders at once, as behind a pause of the first, both of which see the
 * same sandboxes and write into one registry: what ran is counted once. */
#include <pthread.h>
#include <stdlib.h>

#include "controller/base/clock.h"
#include "reconcilers/objects/child.h"
#include "reconcilers/sandbox/meter.h"
#include "tests/check.h"
#include "tests/integration/postgres.h"
#include "tests/integration/registry_fixture.h"

enum { PERIOD_MS = 1000, OBSERVED_MS = 1500, COPIES = 2 };

/* One of the leaders: its meter, on a thread of its own. */
struct leader {
    struct meter *meter;
    struct run run;
    int64_t until_ms;
    int writes;
    struct err failure; /* of the first that failed */
};

struct world {
    struct fixture *fixture;
    struct tenant tenant;
    struct run record;
    struct cache *deployments;
    struct leader leaders[2];
};

static void put(struct cache *cache, const char *version, const char *text)
{
    struct watch_handler handler = cache_watch_handler(cache);
    handler.replace_begin(handler.context);
    handler.replace_object(handler.context, str_from(text));
    handler.replace_end(handler.context, version);
}

static void put_copies(struct world *world, const char *version, int ready)
{
    AUTO(free)
    char *text =
        xasprintf("{\"metadata\":{\"name\":\"acme-box\",\"namespace\":\"tenant-acme\","
                  "\"uid\":\"d\",\"resourceVersion\":\"%s\",\"labels\":{"
                  "\"tenantry.dev/tenant\":\"acme\",\"tenantry.dev/tenant-uid\":\"uid-1\"}},"
                  "\"spec\":{\"replicas\":%d},\"status\":{\"readyReplicas\":%d}}",
                  version, ready, ready);
    put(world->deployments, version, text);
}

static void world_begin(struct world *world, void **state)
{
    *world = (struct world){.fixture = *state};
    world->tenant = fixture_tenant("acme", "uid-1");
    run_record(&world->record, world->fixture, &world->tenant, &tier_premium);
    AUTO(free)
    char *text = xasprintf("{\"metadata\":{\"name\":\"acme\",\"uid\":\"uid-1\","
                           "\"resourceVersion\":\"1\"},\"status\":{\"tenantID\":\"%s\"}}",
                           world->record.work.tenant_id);
    put(world->fixture->services.tenants, "1", text);
    world->deployments = cache_new(&child_codecs[CHILD_DEPLOYMENT]);
    for (size_t i = 0; i < ARRAY_COUNT(world->leaders); i++) {
        struct leader *leader = &world->leaders[i];
        leader->meter = meter_new(world->fixture->services.registry,
                                  world->fixture->services.tenants, world->deployments, PERIOD_MS);
        run_init(&leader->run, world->fixture, &world->tenant, &tier_premium);
        leader->run.rc.environment = leader->meter;
    }
}

static void world_end(struct world *world)
{
    cache_free(world->deployments);
    for (size_t i = 0; i < ARRAY_COUNT(world->leaders); i++) {
        meter_free(world->leaders[i].meter);
        run_release(&world->leaders[i].run);
    }
    run_release(&world->record);
}

static void write_down(struct leader *leader)
{
    struct outcome outcome = meter_reconcile(&leader->run.rc);
    if (outcome.err.cls != ERR_OK && leader->failure.cls == ERR_OK) {
        leader->failure = outcome.err;
    }
    leader->writes++;
}

static void *lead(void *context)
{
    struct leader *leader = context;
    while (clock_monotonic_ms() < leader->until_ms) {
        write_down(leader);
    }
    return NULL;
}

static double counted_s(const struct world *world)
{
    AUTO(free)
    char *text = postgres_text(world->fixture->conn,
                               "SELECT coalesce(sum(quantity), 0) * 3600 FROM public.usage_ledger "
                               "WHERE resource = 'compute_hours'");
    return strtod(text, NULL);
}

static void two_leaders_count_once(void **state)
{
    struct world world;
    pthread_t threads[2];

    world_begin(&world, state);
    int64_t since_us = clock_monotonic_us();
    put_copies(&world, "1", COPIES);
    for (size_t i = 0; i < ARRAY_COUNT(threads); i++) {
        world.leaders[i].until_ms = clock_monotonic_ms() + OBSERVED_MS;
        CHECK_INT(pthread_create(&threads[i], NULL, lead, &world.leaders[i]), 0);
    }
    for (size_t i = 0; i < ARRAY_COUNT(threads); i++) {
        CHECK_INT(pthread_join(threads[i], NULL), 0);
    }
    put_copies(&world, "2", 0);
    double ran_s = (double)COPIES * (double)(clock_monotonic_us() - since_us) / 1e6;
    for (size_t i = 0; i < ARRAY_COUNT(world.leaders); i++) {
        write_down(&world.leaders[i]);
        CHECK_OK(world.leaders[i].failure.cls == ERR_OK ? 0 : -1, &world.leaders[i].failure);
        CHECK(world.leaders[i].writes > 2);
    }
    /* Spans are written down in whole millionths of an hour. */
    double most_s = ran_s + 0.004 * (world.leaders[0].writes + world.leaders[1].writes);
    if (counted_s(&world) > most_s || counted_s(&world) < 0.9 * ran_s) {
        fail_msg("%.3f s were counted of %.3f s", counted_s(&world), ran_s);
    }
    world_end(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(two_leaders_count_once, fixture_set_up, fixture_tear_down),
    };
    return cmocka_run_group_tests(tests, fixture_make, fixture_remove);
}
