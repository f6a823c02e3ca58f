/* Who sleeps, and who is woken by what, decided in a real registry. Time is not waited for: the
 * registry is told that the last request was longer ago. */
#include "tests/check.h"
#include "tests/integration/postgres.h"
#include "tests/integration/registry_fixture.h"

#include "controller/runtime/queue.h"
#include "reconcilers/model/codec.h"
#include "reconcilers/sandbox/idle.h"

enum { PERIOD_MS = 50 };

#define LONG_AGO                                                                                   \
    "UPDATE public.tenant_activity SET awake_since = now() - interval '1 hour', "                  \
    "last_request_at = now() - interval '1 hour'"

/* An idle duty, and a tenant of a tier that lets it sleep after a minute. */
struct world {
    struct fixture *fixture;
    struct run run;
    struct tier tier;
    struct tenant tenant;
    struct cache *tiers;
    struct queue *own, *woken;
    struct idle *idle;
};

static void put_tier(struct world *world, const char *version, const char *spec)
{
    AUTO(free) char *text = NULL;
    struct watch_handler handler = cache_watch_handler(world->tiers);

    CHECK(asprintf(&text,
                   "{\"metadata\":{\"name\":\"tiny\",\"uid\":\"t\",\"resourceVersion\":\"%s\"},"
                   "\"spec\":%s}",
                   version, spec) > 0);
    handler.replace_begin(handler.context);
    handler.replace_object(handler.context, str_from(text));
    handler.replace_end(handler.context, version);
}

static void world_begin(struct world *world, void **state)
{
    *world = (struct world){.fixture = *state, .tier = tier_tiny};
    world->tier.idle_after_ms = 60000;
    world->tenant = fixture_tenant("acme", "uid-1");
    run_record(&world->run, world->fixture, &world->tenant, &world->tier);
    world->own = queue_new(&(struct queue_config){.name = "idle"});
    world->woken = queue_new(&(struct queue_config){.name = "tenant"});
    world->tiers = cache_new(&tier_codec);
    world->idle = idle_new(world->fixture->services.registry, world->tiers,
                           world->fixture->services.tenants, PERIOD_MS);
    idle_wire(world->idle, world->own, world->woken);
    put_tier(world, "1", "{\"idle\":{\"scaleToZeroAfter\":\"1m\"}}");
    world->run.rc.environment = world->idle;
}

static void world_end(struct world *world)
{
    idle_free(world->idle);
    cache_free(world->tiers);
    queue_free(world->own);
    queue_free(world->woken);
    run_release(&world->run);
}

static enum idle_state state_of(const struct world *world)
{
    return idle_state_of(world->idle, world->run.work.tenant_id);
}

/* Run the duty until the tenant is in that state, and somebody was told. */
static void becomes(struct world *world, enum idle_state expected)
{
    for (int i = 0; i < 30 && state_of(world) != expected; i++) {
        struct outcome outcome = idle_reconcile(&world->run.rc);
        CHECK_INT(outcome.err.cls, ERR_OK);
    }
    CHECK_INT(state_of(world), expected);
    struct queue_item item;
    CHECK(queue_depth(world->woken) == 1);
    CHECK(queue_get(world->woken, &item));
    CHECK_TEXT(item.key, "acme");
    queue_done(world->woken, &item, QUEUE_FORGET, 0);
}

static void look(struct world *world)
{
    for (int i = 0; i < 3; i++) {
        CHECK_INT(idle_reconcile(&world->run.rc).err.cls, ERR_OK);
    }
}

static void exec(const struct world *world, const char *statement)
{
    postgres_run(world->fixture->conn, "%s", statement);
}

static void gateway_wakes(const struct world *world)
{
    exec(world, "SELECT public.gateway_used('{}', ARRAY(SELECT id FROM public.tenants))");
}

static void who_is_not_used_sleeps_until_asked(void **state)
{
    struct world world;

    world_begin(&world, state);
    CHECK(!idle_is_known(world.idle));
    look(&world);
    CHECK(idle_is_known(world.idle));
    CHECK_INT(state_of(&world), IDLE_AWAKE);
    exec(&world, LONG_AGO);
    becomes(&world, IDLE_ASLEEP);
    struct quiet quiet = postgres_quiet_begin();
    look(&world);
    postgres_quiet_end(&quiet);
    gateway_wakes(&world);
    becomes(&world, IDLE_WAKING);
    CHECK_OK(idle_end(world.idle, &world.run.rc, world.run.work.tenant_id, &world.run.err),
             &world.run.err);
    CHECK_INT(state_of(&world), IDLE_AWAKE);
    look(&world); /* it has its whole time again */
    CHECK_INT(state_of(&world), IDLE_AWAKE);
    world_end(&world);
}

/* The gateway had not heard yet that the tenant sleeps, and told only of use. */
static void use_in_the_moment_of_falling_asleep_wakes(void **state)
{
    struct world world;

    world_begin(&world, state);
    look(&world);
    exec(&world, LONG_AGO);
    becomes(&world, IDLE_ASLEEP);
    exec(&world, "SELECT public.gateway_used(ARRAY(SELECT id FROM public.tenants), '{}')");
    becomes(&world, IDLE_WAKING);
    world_end(&world);
}

static void a_second_controller_knows_at_once(void **state)
{
    struct world world;

    world_begin(&world, state);
    look(&world);
    exec(&world, LONG_AGO);
    becomes(&world, IDLE_ASLEEP);
    struct idle *other = idle_new(world.fixture->services.registry, world.tiers,
                                  world.fixture->services.tenants, PERIOD_MS);
    CHECK(!idle_is_known(other));
    CHECK_OK(idle_learn(other, &world.run.rc, world.run.work.tenant_id, &world.run.err),
             &world.run.err);
    CHECK_INT(idle_state_of(other, world.run.work.tenant_id), IDLE_ASLEEP);
    idle_free(other);
    world_end(&world);
}

static void a_policy_that_ends_wakes(void **state)
{
    struct world world;

    world_begin(&world, state);
    look(&world);
    exec(&world, LONG_AGO);
    becomes(&world, IDLE_ASLEEP);
    put_tier(&world, "2", "{}");
    exec(&world, "UPDATE public.tenants SET gateway = '{}'");
    becomes(&world, IDLE_WAKING);
    CHECK_OK(idle_end(world.idle, &world.run.rc, world.run.work.tenant_id, &world.run.err),
             &world.run.err);
    CHECK_INT(idle_reconcile(&world.run.rc).next_ms, 0); /* nothing is asked any more */
    world_end(&world);
}

static void suspension_is_no_sleep(void **state)
{
    struct world world;

    world_begin(&world, state);
    look(&world);
    exec(&world, "UPDATE public.tenants SET status = 'suspended'");
    exec(&world, LONG_AGO);
    look(&world);
    CHECK_INT(state_of(&world), IDLE_AWAKE);
    exec(&world, "UPDATE public.tenants SET status = 'active'");
    look(&world); /* since then it has not been long */
    CHECK_INT(state_of(&world), IDLE_AWAKE);
    world_end(&world);
}

#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, fixture_set_up, fixture_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FIXTURE(who_is_not_used_sleeps_until_asked),
        WITH_FIXTURE(use_in_the_moment_of_falling_asleep_wakes),
        WITH_FIXTURE(a_second_controller_knows_at_once),
        WITH_FIXTURE(a_policy_that_ends_wakes),
        WITH_FIXTURE(suspension_is_no_sleep),
    };
    return cmocka_run_group_tests(tests, fixture_make, fixture_remove);
}
