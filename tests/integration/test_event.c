/* Events against a real API server. */
#include "controller/kube/event.h"

#include <pthread.h>
#include <stdlib.h>

#include "controller/base/clock.h"
#include "controller/kube/event_internal.h"
#include "tests/check.h"
#include "tests/integration/cluster.h"
#include "tests/support/relay.h"

enum { WAIT_MS = 30 * 1000 };

static const struct event_timing QUICK = {
    .refresh_ms = 1000,
    .finish_ms = 2000,
    .retry_ms = 200,
    .sweep_ms = 100,
    .flush_ms = 2000,
    .tries_max = 12,
};

static struct event_recorder *new_recorder(struct kube_client *client, const struct fence *fence,
                                           const struct event_timing *timing)
{
    struct event_recorder *recorder = NULL;
    struct err err;

    CHECK_OK(
        event_recorder_new(client, fence, "tenantry.dev/controller", "host-1", &recorder, &err),
        &err);
    if (timing) {
        event_recorder_set_timing(recorder, timing);
    }
    return recorder;
}

static struct event_object config_map(const struct cluster *cluster, const char *name)
{
    return (struct event_object){.resource = &KUBE_CONFIG_MAPS,
                                 .namespace_ = cluster->namespace_,
                                 .name = name,
                                 .uid = "5d2c1e6f-0000-4000-8000-000000000001"};
}

/* Requests that changed something, as the client counts them. */
static double writes(struct cluster *cluster)
{
    static const char *const answers[][2] = {
        {"POST", "201"}, {"PATCH", "200"}, {"POST", "409"}, {"PATCH", "404"}, {"POST", "422"}};
    double sum = 0;

    for (size_t i = 0; i < ARRAY_COUNT(answers); i++) {
        AUTO(free)
        char *series =
            xasprintf("rest_client_requests_total{code=\"%s\",method=\"%s\",host=\"127.0.0.1:%d\"}",
                      answers[i][1], answers[i][0], cluster_port(cluster));
        sum += cluster_metric(series);
    }
    return sum;
}

/* The events about an object of this name, as an array. Caller decrefs. */
static json_t *events_of(struct cluster *cluster, const char *name)
{
    AUTO(json) json_t *list = cluster_get(cluster, &KUBE_EVENTS, NULL);
    json_t *found = json_array();
    size_t index = 0;
    json_t *item = NULL;

    json_array_foreach(json_object_get(list, "items"), index, item)
    {
        if (text_equal(js_text_or(item, "/regarding/name", ""), name)) {
            json_array_append(found, item);
        }
    }
    return found;
}

/* Until there are so many events about it, the first with this count (1: no series). */
static json_t *wait_for_events(struct cluster *cluster, const char *name, size_t number,
                               int64_t count)
{
    int64_t until_ms = clock_monotonic_ms() + WAIT_MS;

    for (;;) {
        json_t *events = events_of(cluster, name);
        if (json_array_size(events) == number && js_int_or(events, "/0/series/count", 1) == count) {
            return events;
        }
        if (clock_monotonic_ms() > until_ms) {
            AUTO(free) char *text = js_print(events);
            fail_msg("waited for %zu events and count %lld: %s", number, (long long)count, text);
        }
        json_decref(events);
        CHECK(cancel_sleep_ms(NULL, 20));
    }
}

static void c55_an_event_is_as_people_expect_it(void **state)
{
    struct cluster *cluster = *state;
    struct event_recorder *recorder = new_recorder(cluster->client, NULL, NULL);
    const struct event_object object = config_map(cluster, "plain");

    event_record(recorder, &object, EVENT_WARNING, "DatabaseUnreachable", "EnsureDatabase",
                 "host %s: no route to host", "db.example");
    AUTO(json) json_t *events = wait_for_events(cluster, "plain", 1, 1);
    CHECK_TEXT(js_text_or(events, "/0/type", ""), "Warning");
    CHECK_TEXT(js_text_or(events, "/0/reason", ""), "DatabaseUnreachable");
    CHECK_TEXT(js_text_or(events, "/0/action", ""), "EnsureDatabase");
    CHECK_TEXT(js_text_or(events, "/0/note", ""), "host db.example: no route to host");
    CHECK_TEXT(js_text_or(events, "/0/reportingController", ""), "tenantry.dev/controller");
    CHECK_TEXT(js_text_or(events, "/0/reportingInstance", ""), "host-1");
    CHECK_TEXT(js_text_or(events, "/0/regarding/kind", ""), "ConfigMap");
    CHECK_TEXT(js_text_or(events, "/0/regarding/namespace", ""), cluster->namespace_);
    CHECK_NULL(js_at(events, "/0/series"));
    event_recorder_free(recorder);
}

static void c55_events_about_the_cluster_are_in_default(void **state)
{
    struct cluster *cluster = *state;
    struct event_recorder *recorder = new_recorder(cluster->client, NULL, NULL);
    const struct event_object object = {
        .resource = &KUBE_NAMESPACES, .name = cluster->namespace_, .uid = "u-1"};
    const struct kube_ref in_default = {.resource = &KUBE_EVENTS, .namespace_ = "default"};
    AUTO(buf) struct buf body = BUF(16U << 20);
    struct err err;

    event_record(recorder, &object, EVENT_NORMAL, "Tested", "Test", "seen");
    event_recorder_free(recorder); /* sends what is queued */
    CHECK_OK(kube_get(cluster->client, NULL, &in_default, &body, &err), &err);
    AUTO(free) char *name = xasprintf("\"name\":\"%s.", cluster->namespace_);
    CHECK_NOT_NULL(strstr(buf_text(&body), name));
}

static void *record_many(void *context)
{
    struct event_recorder *recorder = ((void **)context)[0];
    const struct event_object *object = ((void **)context)[1];

    for (int i = 0; i < 2500; i++) {
        event_record(recorder, object, EVENT_WARNING, "Failed", "Reconcile", "it still fails");
    }
    return NULL;
}

static void c55_ten_thousand_equal_failures_are_at_most_five_writes(void **state)
{
    struct cluster *cluster = *state;
    struct event_recorder *recorder = new_recorder(cluster->client, NULL, NULL);
    const struct event_object object = config_map(cluster, "failing");
    void *context[] = {recorder, (void *)&object};
    pthread_t threads[4];
    double before = writes(cluster);
    int64_t start_ms = clock_monotonic_ms();

    for (size_t i = 0; i < ARRAY_COUNT(threads); i++) {
        CHECK_INT(pthread_create(&threads[i], NULL, record_many, context), 0);
    }
    for (size_t i = 0; i < ARRAY_COUNT(threads); i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK(clock_monotonic_ms() - start_ms < 5000); /* it never waits for the network */
    event_recorder_free(recorder);
    AUTO(json) json_t *events = wait_for_events(cluster, "failing", 1, 10000);
    double after = writes(cluster);
    assert_in_range(after - before, 1, 5);
}

static void c55_a_series_is_told_again_and_finished(void **state)
{
    struct cluster *cluster = *state;
    struct event_recorder *recorder = new_recorder(cluster->client, NULL, &QUICK);
    const struct event_object object = config_map(cluster, "series");

    event_record(recorder, &object, EVENT_NORMAL, "Waiting", "Wait", "not yet");
    AUTO(json) json_t *one = wait_for_events(cluster, "series", 1, 1);
    event_record(recorder, &object, EVENT_NORMAL, "Waiting", "Wait", "not yet");
    AUTO(json) json_t *two = wait_for_events(cluster, "series", 1, 2);
    event_record(recorder, &object, EVENT_NORMAL, "Waiting", "Wait", "not yet");
    event_record(recorder, &object, EVENT_NORMAL, "Waiting", "Wait", "not yet");
    AUTO(json) json_t *four = wait_for_events(cluster, "series", 1, 4);
    CHECK_TEXT(js_text_or(four, "/0/eventTime", "4"), js_text_or(one, "/0/eventTime", "1"));
    CHECK(strcmp(js_text_or(four, "/0/series/lastObservedTime", ""),
                 js_text_or(two, "/0/series/lastObservedTime", "~")) > 0);
    /* After its end, the same again is a new series. */
    double before = writes(cluster);
    CHECK(cancel_sleep_ms(NULL, QUICK.finish_ms + 1000));
    CHECK_INT(writes(cluster) - before, 0);
    event_record(recorder, &object, EVENT_NORMAL, "Waiting", "Wait", "not yet");
    AUTO(json) json_t *again = wait_for_events(cluster, "series", 2, 4);
    event_recorder_free(recorder);
}

static void what_differs_is_not_merged(void **state)
{
    struct cluster *cluster = *state;
    struct event_recorder *recorder = new_recorder(cluster->client, NULL, NULL);
    const struct event_object object = config_map(cluster, "various");

    event_record(recorder, &object, EVENT_NORMAL, "A", "Act", "one");
    event_record(recorder, &object, EVENT_WARNING, "A", "Act", "one");
    event_record(recorder, &object, EVENT_NORMAL, "B", "Act", "one");
    event_record(recorder, &object, EVENT_NORMAL, "A", "Other", "one");
    event_record(recorder, &object, EVENT_NORMAL, "A", "Act", "two");
    AUTO(json) json_t *events = wait_for_events(cluster, "various", 5, 1);
    event_recorder_free(recorder);
}

static void texts_of_any_kind_are_taken_by_the_server(void **state)
{
    struct cluster *cluster = *state;
    struct event_recorder *recorder = new_recorder(cluster->client, NULL, NULL);
    const struct event_object object = config_map(cluster, "odd");
    char long_text[4000] = "";
    char odd_bytes[2000] = "";

    memset(long_text, 'x', sizeof(long_text) - 1);
    memset(odd_bytes, 0xfe, sizeof(odd_bytes) - 1);
    event_record(recorder, &object, EVENT_NORMAL, long_text, long_text, "\"%s", long_text);
    event_record(recorder, &object, EVENT_NORMAL, "Odd", "Act", "%s", odd_bytes);
    event_record(recorder, &object, EVENT_NORMAL, "Odd", "Act", "\x01\t\"\\\n\xf0\x9f\x8e\x89");
    AUTO(json) json_t *events = wait_for_events(cluster, "odd", 3, 1);
    event_recorder_free(recorder);
}

/* Somebody deleted the Event, or it expired: the series goes on in a new one. */
static void an_event_that_is_gone_is_made_again(void **state)
{
    struct cluster *cluster = *state;
    struct event_recorder *recorder = new_recorder(cluster->client, NULL, &QUICK);
    const struct event_object object = config_map(cluster, "gone");

    event_record(recorder, &object, EVENT_NORMAL, "Waiting", "Wait", "not yet");
    AUTO(json) json_t *one = wait_for_events(cluster, "gone", 1, 1);
    cluster_delete(cluster, &KUBE_EVENTS, js_text_or(one, "/0/metadata/name", ""));
    event_record(recorder, &object, EVENT_NORMAL, "Waiting", "Wait", "not yet");
    AUTO(json) json_t *two = wait_for_events(cluster, "gone", 1, 2);
    event_recorder_free(recorder);
}

static void a_server_that_is_away_for_a_while_costs_no_event(void **state)
{
    struct cluster *cluster = *state;
    struct relay *relay = relay_start(cluster_port(cluster));
    struct kube_config relayed;
    struct kube_client *client = cluster_client_at(cluster, relay_port(relay), &relayed);
    struct event_recorder *recorder = new_recorder(client, NULL, &QUICK);
    const struct event_object object = config_map(cluster, "away");
    int64_t until_ms = clock_monotonic_ms() + 1500;
    int count = 0;

    while (clock_monotonic_ms() < until_ms) {
        event_record(recorder, &object, EVENT_NORMAL, "Waiting", "Wait", "number %d", count++);
        relay_reset(relay);
        CHECK(cancel_sleep_ms(NULL, 20));
    }
    /* All of them, each once, though answers were lost. */
    AUTO(json) json_t *events = wait_for_events(cluster, "away", (size_t)count, 1);
    event_recorder_free(recorder);
    kube_client_free(client);
    kube_config_release(&relayed);
    relay_stop(relay);
}

static void without_leadership_nothing_is_written(void **state)
{
    struct cluster *cluster = *state;
    struct fence fence = {0};
    struct event_recorder *recorder = new_recorder(cluster->client, &fence, NULL);
    const struct event_object object = config_map(cluster, "fenced");
    double dropped = cluster_metric("tenantry_events_dropped_total{cause=\"Canceled\"}");
    double before = writes(cluster);
    int64_t until_ms = clock_monotonic_ms() + WAIT_MS;

    event_record(recorder, &object, EVENT_NORMAL, "Waiting", "Wait", "closed");
    while (cluster_metric("tenantry_events_dropped_total{cause=\"Canceled\"}") == dropped) {
        CHECK(clock_monotonic_ms() < until_ms);
        CHECK(cancel_sleep_ms(NULL, 5));
    }
    CHECK_INT(writes(cluster) - before, 0);
    fence_open_until(&fence, INT64_MAX);
    event_record(recorder, &object, EVENT_NORMAL, "Waiting", "Wait", "open");
    AUTO(json) json_t *events = wait_for_events(cluster, "fenced", 1, 1);
    event_recorder_free(recorder);
}

/* More different events than the queue holds while nobody answers: the caller does not wait, the
 * rest is dropped and counted, and the end does not wait long. */
static void c55_a_flood_is_dropped_not_waited_for(void **state)
{
    struct cluster *cluster = *state;
    struct relay *relay = relay_start(cluster_port(cluster));
    struct kube_config relayed;
    struct kube_client *client = cluster_client_at(cluster, relay_port(relay), &relayed);
    struct event_recorder *recorder = new_recorder(client, NULL, NULL);
    const struct event_object object = config_map(cluster, "flood");
    double dropped = cluster_metric("tenantry_events_dropped_total{cause=\"queue_full\"}");

    event_record(recorder, &object, EVENT_NORMAL, "Flood", "Flood", "first");
    AUTO(json) json_t *events = wait_for_events(cluster, "flood", 1, 1);
    relay_freeze(relay);
    int64_t start_ms = clock_monotonic_ms();
    for (int i = 0; i < 3000; i++) {
        event_record(recorder, &object, EVENT_NORMAL, "Flood", "Flood", "number %d", i);
    }
    CHECK(clock_monotonic_ms() - start_ms < 2000);
    assert_in_range(cluster_metric("tenantry_events_dropped_total{cause=\"queue_full\"}") - dropped,
                    1900, 2000);
    start_ms = clock_monotonic_ms();
    event_recorder_free(recorder);
    CHECK(clock_monotonic_ms() - start_ms < 4000);
    kube_client_free(client);
    kube_config_release(&relayed);
    relay_stop(relay);
}

static void no_recorder_records_nothing(void **state)
{
    struct cluster *cluster = *state;
    const struct event_object object = config_map(cluster, "none");

    event_record(NULL, &object, EVENT_NORMAL, "A", "B", "%d", 1);
    event_recorder_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(c55_an_event_is_as_people_expect_it),
        cmocka_unit_test(c55_events_about_the_cluster_are_in_default),
        cmocka_unit_test(c55_ten_thousand_equal_failures_are_at_most_five_writes),
        cmocka_unit_test(c55_a_series_is_told_again_and_finished),
        cmocka_unit_test(what_differs_is_not_merged),
        cmocka_unit_test(texts_of_any_kind_are_taken_by_the_server),
        cmocka_unit_test(an_event_that_is_gone_is_made_again),
        cmocka_unit_test(a_server_that_is_away_for_a_while_costs_no_event),
        cmocka_unit_test(without_leadership_nothing_is_written),
        cmocka_unit_test(c55_a_flood_is_dropped_not_waited_for),
        cmocka_unit_test(no_recorder_records_nothing),
    };

    js_init();
    http_global_init();
    return cmocka_run_group_tests(tests, cluster_set_up, cluster_tear_down);
}
