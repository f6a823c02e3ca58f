/* The lease as a state machine: several gateways against a model of the registry's functions, with
 * answers that get lost, gateways that die, and counts that others set, in any order. What must
 * hold is what the opening of gateway/bucket.h proves. */
#include "gateway/bucket.h"

#include "tests/check.h"

enum { GATEWAYS = 3, LIFE_MS = 15000, STEPS = 20000 };

/* ---- the registry, as migrations/0002_gateway.sql has it ---- */

struct lease {
    bool there;
    int64_t spent;
    int64_t until;
};

struct registry {
    int64_t used;
    int64_t limit;
    struct lease leases[GATEWAYS];
};

static int64_t settle(struct registry *registry, int who, int64_t spent)
{
    struct lease *lease = &registry->leases[who];

    if (!lease->there) {
        return 0;
    }
    lease->there = false;
    return lease->until - (spent > lease->spent ? spent : lease->spent);
}

static int64_t at_least(int64_t value, int64_t floor)
{
    return value > floor ? value : floor;
}

static struct bucket_grant take(struct registry *registry, int who,
                                const struct bucket_question *question)
{
    int64_t kept = settle(registry, who, question->spent);
    int64_t used = at_least(registry->used - kept, 0);
    int64_t wish = at_least(kept, 0) + question->wanted;
    int64_t granted = at_least(wish < registry->limit - used ? wish : registry->limit - used, 0);
    struct bucket_grant grant = {.found = true,
                                 .until = question->spent + granted,
                                 .used = used + granted,
                                 .limit = registry->limit,
                                 .seconds_left = 1000};

    for (int i = 0; i < GATEWAYS; i++) {
        const struct lease *lease = &registry->leases[i];
        grant.others += lease->there ? at_least(lease->until - lease->spent, 0) : 0;
    }
    if (granted > 0) {
        registry->leases[who] = (struct lease){true, question->spent, grant.until};
    }
    registry->used = grant.used;
    return grant;
}

static void give(struct registry *registry, int who, int64_t spent)
{
    int64_t kept = settle(registry, who, spent);

    registry->used = at_least(registry->used - kept, 0);
}

/* ---- the tests ---- */

static void ask(struct registry *registry, struct bucket *buckets, int who, int64_t waiting,
                int64_t now_ms)
{
    struct bucket_question question = bucket_ask(&buckets[who], waiting, now_ms);
    struct bucket_grant grant = take(registry, who, &question);

    bucket_take(&buckets[who], &grant, LIFE_MS, now_ms);
}

static void an_empty_bucket_asks_and_a_full_one_does_not(void **state)
{
    struct bucket bucket;
    struct bucket_grant grant = {
        .found = true, .until = 2, .used = 2, .limit = 10, .seconds_left = 100};

    (void)state;
    bucket_init(&bucket);
    CHECK_INT(bucket_spend(&bucket, 1000), BUCKET_EMPTY);
    struct bucket_question question = bucket_ask(&bucket, 2, 1000);
    CHECK_INT(question.spent, 0);
    CHECK_INT(question.wanted, 2);
    bucket_take(&bucket, &grant, LIFE_MS, 1000);
    CHECK_INT(bucket_spend(&bucket, 1000), BUCKET_ADMITTED);
    CHECK_INT(bucket_spend(&bucket, 1000), BUCKET_ADMITTED);
    CHECK_INT(bucket_spend(&bucket, 1000), BUCKET_EMPTY);
    CHECK_INT(bucket_spent(&bucket), 2);
    CHECK_INT(bucket_remaining(&bucket), 8);
}

static void a_lease_ends_with_the_month(void **state)
{
    struct bucket bucket;
    struct bucket_grant grant = {
        .found = true, .until = 100, .used = 100, .limit = 1000, .seconds_left = 2};

    (void)state;
    bucket_init(&bucket);
    (void)bucket_ask(&bucket, 100, 1000);
    bucket_take(&bucket, &grant, LIFE_MS, 1500);
    CHECK_INT(bucket_spend(&bucket, 2900), BUCKET_ADMITTED);
    CHECK_INT(bucket_spend(&bucket, 3000), BUCKET_EMPTY);
    CHECK(bucket_is_idle(&bucket, 3000));
}

static void spent_and_missing_are_remembered_until_told_otherwise(void **state)
{
    struct bucket bucket;
    struct bucket_grant full = {.found = true, .used = 10, .limit = 10, .seconds_left = 5};
    struct bucket_grant missing = {.found = false};

    (void)state;
    bucket_init(&bucket);
    (void)bucket_ask(&bucket, 1, 1000);
    bucket_take(&bucket, &full, LIFE_MS, 1000);
    CHECK_INT(bucket_spend(&bucket, 5999), BUCKET_DENIED);
    CHECK_INT(bucket_spend(&bucket, 6000), BUCKET_EMPTY); /* a new month */
    bucket_take(&bucket, &missing, LIFE_MS, 6000);
    CHECK_INT(bucket_spend(&bucket, INT64_MAX / 2), BUCKET_MISSING);
    bucket_reopen(&bucket);
    CHECK_INT(bucket_spend(&bucket, 6000), BUCKET_EMPTY);
    full.others = 1; /* somebody may give something back */
    bucket_take(&bucket, &full, LIFE_MS, 6000);
    CHECK_INT(bucket_spend(&bucket, 6000), BUCKET_EMPTY);
}

static void only_the_fast_hold_more_than_they_need(void **state)
{
    struct registry registry = {.limit = 100000};
    struct bucket buckets[GATEWAYS];

    (void)state;
    bucket_init(&buckets[0]);
    ask(&registry, buckets, 0, 1, 1000);
    CHECK_INT(registry.used, 1);
    CHECK_INT(bucket_spend(&buckets[0], 1000), BUCKET_ADMITTED);
    for (int i = 0; i < 500; i++) { /* 500 in half a second */
        ask(&registry, buckets, 0, 1, 1100 + i);
        CHECK(bucket_spend(&buckets[0], 1100 + i) <= BUCKET_ADMITTED_LOW);
    }
    CHECK(registry.used - bucket_spent(&buckets[0]) > 100);
    CHECK(registry.used - bucket_spent(&buckets[0]) <= 1000); /* 1 % of what remains */
    bucket_hurry(&buckets[0], 2000);
    give(&registry, 0, bucket_close(&buckets[0]));
    ask(&registry, buckets, 0, 2, 2001);
    CHECK_INT(registry.used, bucket_spent(&buckets[0]) + 2);
}

/* A small generator, so that a failure can be repeated. */
static uint32_t next(uint32_t *seed)
{
    *seed = *seed * 1664525U + 1013904223U;
    return *seed >> 8;
}

/* An answer that is lost: the registry did what was asked, the gateway does not know. */
static void lose_answer(struct registry *registry, struct bucket *buckets, int who, int64_t now_ms)
{
    struct bucket_question question = bucket_ask(&buckets[who], 5, now_ms);

    (void)take(registry, who, &question);
}

static void any_order_of_events_keeps_the_limit(void **state)
{
    (void)state;
    for (uint32_t round = 1; round <= 20; round++) {
        uint32_t seed = round;
        struct registry registry = {.limit = 5000};
        struct bucket buckets[GATEWAYS];
        int64_t admitted = 0;
        int64_t lost = 0;
        int64_t now_ms = 1000;

        for (int i = 0; i < GATEWAYS; i++) {
            bucket_init(&buckets[i]);
        }
        for (int step = 0; step < STEPS; step++) {
            int who = (int)(next(&seed) % GATEWAYS);
            uint32_t event = next(&seed) % 100;
            now_ms += next(&seed) % 3;
            if (event < 80) {
                admitted += bucket_spend(&buckets[who], now_ms) <= BUCKET_ADMITTED_LOW ? 1 : 0;
            } else if (event < 90) {
                ask(&registry, buckets, who, next(&seed) % 4, now_ms);
            } else if (event < 95) {
                give(&registry, who, bucket_close(&buckets[who]));
            } else if (event < 99) {
                lose_answer(&registry, buckets, who, now_ms);
            } else if (step % 7 == 0) { /* killed, and started anew under another id */
                struct lease *lease = &registry.leases[who];
                lost += lease->there ? lease->until - bucket_spent(&buckets[who]) : 0;
                lease->there = false;
                bucket_init(&buckets[who]);
            }
            CHECK(admitted <= registry.limit);
            CHECK(registry.used <= registry.limit);
            CHECK(registry.used >= admitted);
        }
        for (int i = 0; i < GATEWAYS; i++) {
            give(&registry, i, bucket_close(&buckets[i]));
        }
        CHECK_INT(registry.used, admitted + lost); /* exact but for what the dead held */
    }
}

/* Recalls: who finds nothing has the others give back, and asks again. */
static void exactly_the_limit_is_admitted_while_all_live(void **state)
{
    (void)state;
    for (uint32_t round = 1; round <= 20; round++) {
        uint32_t seed = round;
        struct registry registry = {.limit = 1234};
        struct bucket buckets[GATEWAYS];
        int64_t admitted = 0;

        for (int i = 0; i < GATEWAYS; i++) {
            bucket_init(&buckets[i]);
        }
        for (int request = 0; request < 3000; request++) {
            int who = (int)(next(&seed) % GATEWAYS);
            int64_t now_ms = 1000 + request / 4;
            enum bucket_answer answer = bucket_spend(&buckets[who], now_ms);
            for (int tries = 0; answer == BUCKET_EMPTY && tries < 10; tries++) {
                ask(&registry, buckets, who, 1, now_ms);
                answer = bucket_spend(&buckets[who], now_ms);
                for (int i = 0; answer == BUCKET_EMPTY && i < GATEWAYS; i++) {
                    if (i != who) {
                        bucket_hurry(&buckets[i], now_ms);
                        give(&registry, i, bucket_close(&buckets[i]));
                    }
                }
            }
            CHECK(answer != BUCKET_EMPTY);
            admitted += answer <= BUCKET_ADMITTED_LOW ? 1 : 0;
        }
        CHECK_INT(admitted, registry.limit);
        CHECK_INT(registry.used, registry.limit);
    }
}

static void a_void_lease_is_counted_no_more(void **state)
{
    struct registry registry = {.limit = 100};
    struct bucket buckets[GATEWAYS];

    (void)state;
    bucket_init(&buckets[0]);
    ask(&registry, buckets, 0, 10, 1000);
    CHECK_INT(bucket_spend(&buckets[0], 1000), BUCKET_ADMITTED);
    registry.used = 100; /* others set it to the limit, which makes leases void */
    registry.leases[0].there = false;
    give(&registry, 0, bucket_close(&buckets[0]));
    CHECK_INT(registry.used, 100);
    ask(&registry, buckets, 0, 1, 1000);
    CHECK_INT(bucket_spend(&buckets[0], 1000), BUCKET_DENIED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_bucket_asks_and_a_full_one_does_not),
        cmocka_unit_test(a_lease_ends_with_the_month),
        cmocka_unit_test(spent_and_missing_are_remembered_until_told_otherwise),
        cmocka_unit_test(only_the_fast_hold_more_than_they_need),
        cmocka_unit_test(any_order_of_events_keeps_the_limit),
        cmocka_unit_test(exactly_the_limit_is_admitted_while_all_live),
        cmocka_unit_test(a_void_lease_is_counted_no_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
