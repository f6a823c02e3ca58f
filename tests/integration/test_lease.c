/* Leader election against a real API server. */
#include "controller/kube/lease.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "controller/base/clock.h"
#include "tests/check.h"
#include "tests/integration/cluster.h"
#include "tests/support/relay.h"

enum { WAIT_MS = 30 * 1000 };

/* One candidate on a thread of its own. */
struct candidate {
    struct kube_client *client;
    struct lease_config config;
    struct fence fence;
    struct cancel *cancel;
    struct lease *lease;
    pthread_t thread;
    _Atomic int64_t leading_ms; /* since when; 0 = not */
    _Atomic int64_t block_ms;   /* the next callback sleeps so long: a paused process */
    struct err err;
    atomic_int changes;
    int result;
    atomic_bool is_done;
};

static void on_leading(void *context, bool leading)
{
    struct candidate *candidate = context;

    atomic_store(&candidate->leading_ms, leading ? clock_boot_ms() : 0);
    atomic_fetch_add(&candidate->changes, 1);
    int64_t block_ms = atomic_exchange(&candidate->block_ms, 0);
    CHECK(cancel_sleep_ms(NULL, block_ms));
}

static void *run(void *context)
{
    struct candidate *candidate = context;
    const struct call call = {.cancel = candidate->cancel};

    candidate->result = lease_run(candidate->lease, &call, &candidate->err);
    atomic_store(&candidate->is_done, true);
    return NULL;
}

static const struct lease_config QUICK = {
    .lease_duration_ms = 3000, .renew_deadline_ms = 2000, .retry_period_ms = 500};

static void prepare(struct candidate *candidate, struct cluster *cluster,
                    struct kube_client *client, const char *name, const char *identity,
                    const struct lease_config *timing)
{
    *candidate = (struct candidate){.client = client, .config = *timing};
    candidate->config.namespace_ = cluster->namespace_;
    candidate->config.name = name;
    candidate->config.identity = identity;
    candidate->config.fence = &candidate->fence;
    candidate->config.on_leading = on_leading;
    candidate->config.context = candidate;
    candidate->cancel = cancel_new(NULL);
    candidate->lease = lease_new(client, &candidate->config);
}

static void start(struct candidate *candidate)
{
    CHECK_INT(pthread_create(&candidate->thread, NULL, run, candidate), 0);
}

/* As a manager stops: cancel, wait for the workers (there are none), release. */
static void stop(struct candidate *candidate, bool release)
{
    cancel_trigger(candidate->cancel);
    pthread_join(candidate->thread, NULL);
    if (release) {
        lease_release(candidate->lease);
    }
    lease_free(candidate->lease);
    cancel_free(candidate->cancel);
}

static bool is_leading(struct candidate *candidate)
{
    return atomic_load(&candidate->leading_ms) != 0;
}

static bool is_done(struct candidate *candidate)
{
    return atomic_load(&candidate->is_done);
}

static void wait_for(bool (*condition)(struct candidate *), struct candidate *candidate)
{
    int64_t until_ms = clock_monotonic_ms() + WAIT_MS;

    while (!condition(candidate)) {
        CHECK(clock_monotonic_ms() < until_ms);
        CHECK(cancel_sleep_ms(NULL, 5));
    }
}

static json_t *record(struct cluster *cluster, const char *name)
{
    json_t *lease = cluster_get(cluster, &KUBE_LEASES, name);

    CHECK_NOT_NULL(lease);
    return lease;
}

static void one_candidate_makes_renews_and_releases_the_lease(void **state)
{
    struct cluster *cluster = *state;
    struct candidate one;
    int64_t first_us = 0;
    int64_t later_us = 0;

    prepare(&one, cluster, cluster->client, "single", NULL, &QUICK);
    CHECK(!fence_is_open(&one.fence));
    start(&one);
    wait_for(is_leading, &one);
    CHECK(fence_is_open(&one.fence));
    CHECK(lease_is_held(one.lease));
    AUTO(json) json_t *before = record(cluster, "single");
    const char *holder = js_text_or(before, "/spec/holderIdentity", "");
    const char *underscore = strrchr(holder, '_');
    CHECK(underscore && strlen(underscore + 1) == 36); /* host_uuid */
    CHECK_INT(js_int_or(before, "/spec/leaseDurationSeconds", 0), 3);
    CHECK_INT(js_int_or(before, "/spec/leaseTransitions", -1), 0);
    CHECK(clock_parse(str_from(js_text_or(before, "/spec/renewTime", "")), &first_us));
    CHECK_INT(strlen(js_text_or(before, "/spec/renewTime", "")),
              strlen("2026-01-02T03:04:05.000000Z"));
    CHECK(first_us <= clock_wall_us() && first_us > clock_wall_us() - INT64_C(20000000));

    /* Longer than the fence stays open without a renewal. */
    int64_t until_ms = clock_monotonic_ms() + 3000;
    while (clock_monotonic_ms() < until_ms) {
        CHECK(fence_is_open(&one.fence));
        CHECK(cancel_sleep_ms(NULL, 10));
    }
    AUTO(json) json_t *after = record(cluster, "single");
    CHECK(clock_parse(str_from(js_text_or(after, "/spec/renewTime", "")), &later_us));
    CHECK(later_us > first_us);
    CHECK_TEXT(js_text_or(after, "/spec/acquireTime", ""),
               js_text_or(before, "/spec/acquireTime", "-"));
    CHECK_INT(js_int_or(after, "/spec/leaseTransitions", -1), 0);

    stop(&one, true);
    CHECK_INT(one.result, 0);
    CHECK(!fence_is_open(&one.fence));
    AUTO(json) json_t *released = record(cluster, "single");
    CHECK_TEXT(js_text_or(released, "/spec/holderIdentity", "-"), "");
    CHECK_INT(js_int_or(released, "/spec/leaseDurationSeconds", 0), 1);
}

/* Renewals read nothing: one PUT a period, and what others wrote on the Lease stays. */
static void c45_renewals_do_not_read_and_keep_what_is_not_ours(void **state)
{
    struct cluster *cluster = *state;
    struct candidate one;
    int64_t first_us = 0;
    int64_t last_us = 0;

    cluster_create(cluster, &KUBE_LEASES,
                   "{\"apiVersion\":\"coordination.k8s.io/v1\",\"kind\":\"Lease\",\"metadata\":{"
                   "\"name\":\"labelled\",\"labels\":{\"team\":\"a\"}}}");
    prepare(&one, cluster, cluster->client, "labelled", "one", &QUICK);
    start(&one);
    wait_for(is_leading, &one);
    AUTO(json) json_t *before = record(cluster, "labelled");
    CHECK(clock_parse(str_from(js_text_or(before, "/spec/renewTime", "")), &first_us));
    CHECK_TEXT(js_text_or(before, "/metadata/labels/team", ""), "a");
    /* Somebody changes the labels meanwhile: our version is old, so the slow path must serve. */
    CHECK_INT(cluster_metric("leader_election_slowpath_total{name=\"labelled\"}"), 0);
    cluster_patch(cluster, &KUBE_LEASES, "labelled",
                  "{\"metadata\":{\"labels\":{\"team\":\"b\"}}}");
    do {
        AUTO(json) json_t *lease = record(cluster, "labelled");
        CHECK(clock_parse(str_from(js_text_or(lease, "/spec/renewTime", "")), &last_us));
        CHECK_TEXT(js_text_or(lease, "/metadata/labels/team", ""), "b");
        CHECK(fence_is_open(&one.fence));
        CHECK(cancel_sleep_ms(NULL, 20));
    } while (last_us - first_us < INT64_C(2000000));
    CHECK_INT(cluster_metric("leader_election_slowpath_total{name=\"labelled\"}"), 1);
    stop(&one, true);
    CHECK_INT(one.result, 0);
}

static void c47_a_planned_handover_takes_less_than_three_seconds(void **state)
{
    static const struct lease_config defaults = {0};
    struct cluster *cluster = *state;
    struct candidate one;
    struct candidate two;

    prepare(&one, cluster, cluster->client, "handover", "one", &defaults);
    prepare(&two, cluster, cluster->client, "handover", "two", &defaults);
    start(&one);
    wait_for(is_leading, &one);
    start(&two);
    CHECK(cancel_sleep_ms(NULL, 3000)); /* the second has looked, and waits */
    CHECK(!is_leading(&two));
    CHECK(!fence_is_open(&two.fence));

    int64_t stopped_ms = clock_monotonic_ms();
    stop(&one, true);
    CHECK(!fence_is_open(&one.fence));
    wait_for(is_leading, &two);
    assert_in_range(clock_monotonic_ms() - stopped_ms, 0, 3000);
    AUTO(json) json_t *lease = record(cluster, "handover");
    CHECK_TEXT(js_text_or(lease, "/spec/holderIdentity", ""), "two");
    CHECK_INT(js_int_or(lease, "/spec/leaseTransitions", 0), 1);
    stop(&two, true);
}

/* Killed without a release: the lease runs out by the other's own clock, whatever the times in the
 * record say. */
static void c44_a_dead_leader_is_followed_after_its_lease(void **state)
{
    struct cluster *cluster = *state;
    struct candidate one;
    struct candidate two;

    /* An hour of difference between their wall clocks. */
    clock_set_wall_offset_ms(INT64_C(3600) * 1000);
    prepare(&one, cluster, cluster->client, "dead", "one", &QUICK);
    start(&one);
    wait_for(is_leading, &one);
    clock_set_wall_offset_ms(0);
    prepare(&two, cluster, cluster->client, "dead", "two", &QUICK);
    start(&two);
    stop(&one, false);
    int64_t died_ms = clock_boot_ms();
    int64_t open_until_ms = atomic_load(&one.fence.open_until_ms);
    wait_for(is_leading, &two);
    int64_t gap_ms = atomic_load(&two.leading_ms) - died_ms;
    assert_in_range(gap_ms, 1000, 3000 + 2000);
    CHECK(atomic_load(&two.leading_ms) > open_until_ms); /* never both */
    CHECK(!fence_is_open(&one.fence));
    stop(&two, true);
}

/* The process sleeps (SIGSTOP, a paused machine) with the lease in its hand. */
static void c46_a_leader_that_slept_finds_its_fence_closed(void **state)
{
    struct cluster *cluster = *state;
    struct candidate one;
    struct candidate two;

    prepare(&one, cluster, cluster->client, "paused", "one", &QUICK);
    prepare(&two, cluster, cluster->client, "paused", "two", &QUICK);
    atomic_store(&one.block_ms, 6000);
    start(&one);
    wait_for(is_leading, &one);
    CHECK(fence_is_open(&one.fence));
    start(&two);
    wait_for(is_leading, &two);
    CHECK(!fence_is_open(&one.fence)); /* though its thread has not woken yet */
    CHECK(fence_is_open(&two.fence));
    wait_for(is_done, &one);
    CHECK_INT(one.result, -1);
    CHECK_INT(one.err.cls, ERR_CANCELED);
    CHECK_TEXT(one.err.reason, "LeadershipLost");
    CHECK_INT(atomic_load(&one.changes), 2); /* told of both */
    CHECK(!lease_is_held(one.lease));
    CHECK(fence_is_open(&two.fence));
    AUTO(json) json_t *lease = record(cluster, "paused");
    CHECK_TEXT(js_text_or(lease, "/spec/holderIdentity", ""), "two"); /* not taken back */
    stop(&one, true);
    AUTO(json) json_t *still = record(cluster, "paused");
    CHECK_TEXT(js_text_or(still, "/spec/holderIdentity", ""), "two"); /* nor released */
    stop(&two, true);
}

/* A machine that was suspended: the monotonic clock and every timer stood still meanwhile. */
static void c44_a_suspended_machine_has_lost_its_lease(void **state)
{
    struct cluster *cluster = *state;
    struct candidate one;

    prepare(&one, cluster, cluster->client, "suspended", "one", &QUICK);
    start(&one);
    wait_for(is_leading, &one);
    clock_suspend_ms(QUICK.lease_duration_ms);
    CHECK(!fence_is_open(&one.fence)); /* at once */
    wait_for(is_done, &one);
    CHECK_TEXT(one.err.reason, "LeadershipLost");
    stop(&one, true);
}

static void c46_a_leader_cut_off_from_the_server_gives_up_in_time(void **state)
{
    struct cluster *cluster = *state;
    struct relay *relay = relay_start(cluster_port(cluster));
    struct kube_config relayed;
    struct kube_client *client = cluster_client_at(cluster, relay_port(relay), &relayed);
    struct candidate one;

    prepare(&one, cluster, client, "cut-off", "one", &QUICK);
    start(&one);
    wait_for(is_leading, &one);
    relay_freeze(relay);
    relay_stop(relay); /* and nobody answers any more */
    int64_t cut_ms = clock_monotonic_ms();
    wait_for(is_done, &one);
    CHECK_TEXT(one.err.reason, "LeadershipLost");
    assert_in_range(clock_monotonic_ms() - cut_ms, 500, 2000 + 1500);
    CHECK(!fence_is_open(&one.fence));
    stop(&one, true);
    kube_client_free(client);
    kube_config_release(&relayed);
}

/* A single connection that dies costs a slow renewal, not the leadership. */
static void c47_a_connection_that_dies_does_not_cost_the_lease(void **state)
{
    static const struct lease_config timing = {
        .lease_duration_ms = 9000, .renew_deadline_ms = 6000, .retry_period_ms = 500};
    struct cluster *cluster = *state;
    struct relay *relay = relay_start(cluster_port(cluster));
    struct kube_config relayed;
    struct kube_client *client = cluster_client_at(cluster, relay_port(relay), &relayed);
    struct candidate one;
    int64_t first_us = 0;
    int64_t last_us = 0;

    prepare(&one, cluster, client, "half-open", "one", &timing);
    start(&one);
    wait_for(is_leading, &one);
    AUTO(json) json_t *before = record(cluster, "half-open");
    CHECK(clock_parse(str_from(js_text_or(before, "/spec/renewTime", "")), &first_us));
    relay_freeze(relay);
    while (last_us - first_us < INT64_C(7000) * 1000) {
        AUTO(json) json_t *lease = record(cluster, "half-open");
        CHECK(clock_parse(str_from(js_text_or(lease, "/spec/renewTime", "")), &last_us));
        CHECK(fence_is_open(&one.fence));
        CHECK(cancel_sleep_ms(NULL, 20));
    }
    CHECK_INT(atomic_load(&one.changes), 1);
    stop(&one, true);
    kube_client_free(client);
    kube_config_release(&relayed);
    relay_stop(relay);
}

static void c46_a_lease_that_somebody_took_is_lost_at_once(void **state)
{
    struct cluster *cluster = *state;
    struct candidate one;

    prepare(&one, cluster, cluster->client, "taken", "one", &QUICK);
    start(&one);
    wait_for(is_leading, &one);
    cluster_patch(cluster, &KUBE_LEASES, "taken", "{\"spec\":{\"holderIdentity\":\"thief\"}}");
    wait_for(is_done, &one);
    CHECK_TEXT(one.err.reason, "LeadershipLost");
    CHECK_NOT_NULL(strstr(one.err.message, "thief"));
    CHECK(!fence_is_open(&one.fence));
    stop(&one, true);
    AUTO(json) json_t *lease = record(cluster, "taken");
    CHECK_TEXT(js_text_or(lease, "/spec/holderIdentity", ""), "thief");
}

static void a_lease_that_was_deleted_is_made_again(void **state)
{
    struct cluster *cluster = *state;
    struct candidate one;

    prepare(&one, cluster, cluster->client, "deleted", "one", &QUICK);
    start(&one);
    wait_for(is_leading, &one);
    cluster_delete(cluster, &KUBE_LEASES, "deleted");
    int64_t until_ms = clock_monotonic_ms() + WAIT_MS;
    for (;;) {
        AUTO(json) json_t *lease = cluster_get(cluster, &KUBE_LEASES, "deleted");
        if (lease) {
            break;
        }
        CHECK(clock_monotonic_ms() < until_ms);
        CHECK(cancel_sleep_ms(NULL, 20));
    }
    CHECK(fence_is_open(&one.fence));
    CHECK_INT(atomic_load(&one.changes), 1);
    stop(&one, true);
}

/* Many candidates, leaders that come and go: there is never a moment with two open fences. */
static void c46_there_is_never_more_than_one_leader(void **state)
{
    enum { CANDIDATES = 5, ROUNDS = 4 };
    static const struct lease_config timing = {
        .lease_duration_ms = 2000, .renew_deadline_ms = 1500, .retry_period_ms = 200};
    struct cluster *cluster = *state;
    struct candidate candidates[CANDIDATES];

    for (int i = 0; i < CANDIDATES; i++) {
        prepare(&candidates[i], cluster, cluster->client, "crowd", NULL, &timing);
        start(&candidates[i]);
    }
    for (int round = 0; round < ROUNDS; round++) {
        struct candidate *leader = NULL;
        int64_t until_ms = clock_monotonic_ms() + WAIT_MS;
        while (!leader || !leader->lease) {
            leader = NULL;
            for (int i = 0; i < CANDIDATES; i++) {
                if (fence_is_open(&candidates[i].fence)) {
                    /* Seen open before, and still so while this one is: two leaders. */
                    CHECK(!leader || !fence_is_open(&leader->fence));
                    leader = &candidates[i];
                }
            }
            CHECK(clock_monotonic_ms() < until_ms);
        }
        /* Every second one dies without a word. */
        stop(leader, round % 2 == 0);
        leader->lease = NULL;
    }
    for (int i = 0; i < CANDIDATES; i++) {
        if (candidates[i].lease) {
            stop(&candidates[i], true);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_candidate_makes_renews_and_releases_the_lease),
        cmocka_unit_test(c45_renewals_do_not_read_and_keep_what_is_not_ours),
        cmocka_unit_test(c47_a_planned_handover_takes_less_than_three_seconds),
        cmocka_unit_test(c44_a_dead_leader_is_followed_after_its_lease),
        cmocka_unit_test(c46_a_leader_that_slept_finds_its_fence_closed),
        cmocka_unit_test(c44_a_suspended_machine_has_lost_its_lease),
        cmocka_unit_test(c46_a_leader_cut_off_from_the_server_gives_up_in_time),
        cmocka_unit_test(c47_a_connection_that_dies_does_not_cost_the_lease),
        cmocka_unit_test(c46_a_lease_that_somebody_took_is_lost_at_once),
        cmocka_unit_test(a_lease_that_was_deleted_is_made_again),
        cmocka_unit_test(c46_there_is_never_more_than_one_leader),
    };

    js_init();
    http_global_init();
    return cmocka_run_group_tests(tests, cluster_set_up, cluster_tear_down);
}
