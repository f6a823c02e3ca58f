/* What a watch does on the wire, rule by rule (docs/conformance.md), against a real API server
 * behind the fault proxy, whose log is the witness. With the argument "long", what needs minutes.
 */
#include "controller/kube/watch.h"

#include <stdlib.h>
#include <time.h>

#include "controller/base/clock.h"
#include "tests/check.h"
#include "tests/integration/cluster.h"
#include "tests/integration/widgets.h"
#include "tests/support/faults.h"
#include "tests/support/watch_recorder.h"

/* A cluster, the proxy before it, and a client through the proxy. */
struct wire {
    struct cluster *cluster;
    struct faults *faults;
    struct kube_client *client;
    char *path; /* part of the URL of the ConfigMaps of the test */
    int64_t since;
};

static struct watch_config config_maps(const struct wire *wire)
{
    return (struct watch_config){.resource = &KUBE_CONFIG_MAPS,
                                 .namespace_ = wire->cluster->namespace_,
                                 .label_selector = "made-by=test"};
}

/* Quick to try again; what the server is asked for stays as it ships. */
static struct watch_timing quick(void)
{
    struct watch_timing timing = WATCH_TIMING;
    timing.backoff_base_ms = 20;
    timing.backoff_cap_ms = 200;
    return timing;
}

static void make_maps(struct wire *wire, const char *prefix, int count)
{
    for (int i = 0; i < count; i++) {
        AUTO(free) char *name = xasprintf("%s-%d", prefix, i);
        cluster_make_config_map(wire->cluster, name);
    }
}

static size_t asked(struct wire *wire, const char *query)
{
    return faults_count(wire->faults, wire->since, "GET", wire->path, query);
}

/* A rule for requests to the ConfigMaps of the test; match: further members, each with a comma
 * before it. */
static int rule(struct wire *wire, const char *match, const char *action)
{
    AUTO(free) char *whole = xasprintf("{'path':'%s$'%s}", wire->path, match);
    return faults_rule(wire->faults, whole, action);
}

static uint64_t lists(struct watch_recorder *recorder)
{
    struct watch_stats stats;
    watch_stats_get(recorder_watch(recorder), &stats);
    return stats.lists;
}

static void pass_ms(int64_t duration_ms)
{
    CHECK(cancel_sleep_ms(NULL, duration_ms));
}

/* Like recorder_wait, for as long as it takes up to a limit. */
static void wait_long(struct watch_recorder *recorder, const char *text, int64_t limit_ms)
{
    int64_t until_ms = clock_monotonic_ms() + limit_ms;
    while (recorder_count(recorder, text) == 0) {
        if (clock_monotonic_ms() > until_ms) {
            AUTO(free) char *story = recorder_story(recorder);
            fail_msg("no \"%s\" within %lld ms in:\n%s", text, (long long)limit_ms, story);
        }
        pass_ms(50);
    }
}

/* --- fixture ---------------------------------------------------------------------------------- */

static int set_up(void **state)
{
    struct wire *wire = xcalloc(1, sizeof(*wire));
    CHECK_INT(cluster_set_up((void **)&wire->cluster), 0);
    wire->faults = faults_open();
    wire->client = faults_client(wire->faults, "watch");
    wire->path = xasprintf("/namespaces/%s/configmaps", wire->cluster->namespace_);
    *state = wire;
    return 0;
}

static int tear_down(void **state)
{
    struct wire *wire = *state;
    kube_client_free(wire->client);
    faults_close(wire->faults);
    CHECK_INT(cluster_tear_down((void **)&wire->cluster), 0);
    free(wire->path);
    free(wire);
    return 0;
}

/* Every test begins without rules and without ConfigMaps of its own. */
static int begin(void **state)
{
    struct wire *wire = *state;
    AUTO(json) json_t *list = cluster_get(wire->cluster, &KUBE_CONFIG_MAPS, NULL);
    size_t index = 0;
    json_t *item = NULL;
    json_array_foreach(json_object_get(list, "items"), index, item)
    {
        if (text_equal(js_text_or(item, "/metadata/labels/made-by", ""), "test")) {
            cluster_delete(wire->cluster, &KUBE_CONFIG_MAPS,
                           js_text_or(item, "/metadata/name", ""));
        }
    }
    faults_remove(wire->faults, 0);
    wire->since = faults_mark(wire->faults);
    return 0;
}

/* --- connections ------------------------------------------------------------------------------ */

static void c01_twenty_watches_and_their_calls_share_a_connection(void **state)
{
    enum { WATCHES = 20, CALLS = 50 };
    struct wire *wire = *state;
    const struct watch_config config = config_maps(wire);
    struct watch_recorder *recorders[WATCHES];
    const struct kube_ref list = {.resource = &KUBE_CONFIG_MAPS,
                                  .namespace_ = wire->cluster->namespace_};
    struct err err;

    for (size_t i = 0; i < WATCHES; i++) {
        recorders[i] = recorder_start(wire->client, &config, NULL);
    }
    for (size_t i = 0; i < WATCHES; i++) {
        recorder_wait(recorders[i], "healthy");
    }
    for (int i = 0; i < CALLS; i++) {
        AUTO(buf) struct buf body = BUF(1U << 20);
        CHECK_OK(kube_get(wire->client, NULL, &list, &body, &err), &err);
    }
    AUTO(json) json_t *log = faults_log(wire->faults, wire->since);
    int64_t seen[4] = {0};
    size_t connections = 0;
    size_t index = 0;
    json_t *line = NULL;
    json_array_foreach(log, index, line)
    {
        int64_t connection = js_int_or(line, "/connection", 0);
        size_t place = 0;
        if (!strstr(js_text_or(line, "/path", ""), wire->path)) {
            continue;
        }
        CHECK_TEXT(js_text_or(line, "/protocol", ""), "HTTP/2.0");
        while (place < connections && seen[place] != connection) {
            place++;
        }
        if (place == connections) {
            CHECK(connections < 2);
            seen[connections++] = connection;
        }
    }
    CHECK_INT(connections, 1);
    for (size_t i = 0; i < WATCHES; i++) {
        recorder_stop(recorders[i]);
    }
}

static void half_open(struct wire *wire, const struct watch_timing *timing, int64_t limit_ms)
{
    const struct watch_config config = config_maps(wire);
    struct watch_recorder *recorder = recorder_start(wire->client, &config, timing);

    recorder_wait(recorder, "healthy");
    (void)rule(wire, ",'watch':true,'open':true,'count':1", "{'type':'blackhole'}");
    int64_t begun_ms = clock_monotonic_ms();
    cluster_make_config_map(wire->cluster, "meanwhile");
    wait_long(recorder, "added meanwhile ", limit_ms);
    print_message("noticed and resumed after %lld ms\n",
                  (long long)(clock_monotonic_ms() - begun_ms));
    CHECK(clock_monotonic_ms() - begun_ms <= limit_ms);
    CHECK_INT(lists(recorder), 1);
    CHECK_INT(asked(wire, "sendInitialEvents"), 1);
    CHECK_INT(asked(wire, "limit="), 0);
    recorder_stop(recorder);
}

/* The times are shortened: a stream may be silent for 2 s. */
static void c02_a_half_open_connection_is_left_and_its_watch_resumed(void **state)
{
    struct watch_timing timing = quick();
    timing.silence_ms = 2000;
    half_open(*state, &timing, 20000);
}

/* As it ships. The limit is 75 s; two more are for this machine. */
static void c03_a_half_open_watch_is_resumed_within_75_seconds(void **state)
{
    half_open(*state, NULL, 77000);
}

/* Which connections the first `count` watches since mark came over, and how many those are. */
static size_t connections_of_watches(struct wire *wire, int64_t mark, size_t count)
{
    enum { CONNECTIONS_MAX = 64 };
    AUTO(json) json_t *log = faults_log(wire->faults, mark);
    int64_t seen[CONNECTIONS_MAX] = {0};
    size_t connections = 0;
    size_t watches = 0;
    size_t index = 0;
    json_t *line = NULL;
    json_array_foreach(log, index, line)
    {
        int64_t connection = js_int_or(line, "/connection", 0);
        size_t place = 0;
        if (watches == count || !strstr(js_text_or(line, "/path", ""), wire->path) ||
            !text_equal(js_text_or(line, "/phase", ""), "open")) {
            continue;
        }
        watches++;
        while (place < connections && seen[place] != connection) {
            place++;
        }
        if (place == connections) {
            CHECK(connections < CONNECTIONS_MAX);
            seen[connections++] = connection;
        }
    }
    CHECK_INT(watches, count);
    return connections;
}

/* They notice one after the other, and the first one's new connection is good for all. */
static void c01_watches_of_a_half_open_connection_move_to_one_other(void **state)
{
    enum { WATCHES = 8, SILENCE_MS = 4000, APART_MS = 250 };
    struct wire *wire = *state;
    const struct watch_config config = config_maps(wire);
    struct watch_recorder *recorders[WATCHES];
    struct watch_timing timing = quick();

    for (size_t i = 0; i < WATCHES; i++) {
        timing.silence_ms = SILENCE_MS + (int64_t)i * APART_MS;
        recorders[i] = recorder_start(wire->client, &config, &timing);
    }
    for (size_t i = 0; i < WATCHES; i++) {
        recorder_wait(recorders[i], "healthy");
    }
    int64_t mark = faults_mark(wire->faults);
    (void)rule(wire, ",'watch':true,'open':true,'count':1", "{'type':'blackhole'}");
    cluster_make_config_map(wire->cluster, "meanwhile");
    for (size_t i = 0; i < WATCHES; i++) {
        wait_long(recorders[i], "added meanwhile ", 20000);
    }
    CHECK_INT(connections_of_watches(wire, mark, WATCHES), 1);
    for (size_t i = 0; i < WATCHES; i++) {
        recorder_stop(recorders[i]);
    }
}

static void c07_goaway_and_resets_cost_no_event_and_no_list(void **state)
{
    enum { ROUNDS = 10 };
    struct wire *wire = *state;
    const struct watch_config config = config_maps(wire);
    const struct watch_timing timing = quick();
    struct watch_recorder *recorder = recorder_start(wire->client, &config, &timing);
    const struct kube_ref list = {.resource = &KUBE_CONFIG_MAPS,
                                  .namespace_ = wire->cluster->namespace_};
    struct err err;

    recorder_wait(recorder, "healthy");
    for (int i = 0; i < ROUNDS; i++) {
        AUTO(buf) struct buf body = BUF(1U << 20);
        AUTO(free) char *name = xasprintf("map-%d", i);
        int goaway = rule(wire, ",'watch':false", "{'type':'goaway'}");
        CHECK_OK(kube_get(wire->client, NULL, &list, &body, &err), &err);
        CHECK_INT(faults_fired(wire->faults, goaway), 1);
        cluster_make_config_map(wire->cluster, name);
        (void)rule(wire, ",'watch':true,'open':true",
                   i % 2 ? "{'type':'reset'}" : "{'type':'reset','scope':'stream'}");
    }
    cluster_make_config_map(wire->cluster, "last");
    recorder_wait(recorder, "added last ");
    CHECK_INT(recorder_count(recorder, "added "), ROUNDS + 1);
    CHECK_INT(lists(recorder), 1);
    CHECK_INT(asked(wire, "sendInitialEvents"), 1);
    recorder_stop(recorder);
}

/* --- lists ------------------------------------------------------------------------------------ */

static void c16_views_are_listed_once_and_watched_from_their_version(void **state)
{
    struct wire *wire = *state;
    const struct watch_config config = config_maps(wire);
    struct watch_timing timing = quick();
    timing.stream_min_s = 1;
    timing.stream_spread_s = 0;
    make_maps(wire, "map", 3);
    struct watch_recorder *recorder = recorder_start(wire->client, &config, &timing);

    recorder_wait(recorder, "healthy");
    while (asked(wire, "watch=1") < 4) {
        pass_ms(50);
    }
    recorder_stop(recorder);
    AUTO(json) json_t *log = faults_log(wire->faults, wire->since);
    size_t index = 0;
    size_t count = 0;
    json_t *line = NULL;
    json_array_foreach(log, index, line)
    {
        const char *query = js_text_or(line, "/query", "");
        if (!strstr(js_text_or(line, "/path", ""), wire->path) ||
            !text_equal(js_text_or(line, "/phase", ""), "open")) {
            continue;
        }
        CHECK_NOT_NULL(strstr(query, "allowWatchBookmarks=true"));
        const char *version = strstr(query, "resourceVersion=");
        CHECK_NOT_NULL(version);
        version += strlen("resourceVersion=");
        if (count++ == 0) { /* consistent: no version, and not "0" */
            CHECK_NOT_NULL(strstr(query, "sendInitialEvents=true&resourceVersionMatch="
                                         "NotOlderThan&resourceVersion=&"));
        } else {
            CHECK(version[0] >= '1' && version[0] <= '9' && version[1] != '&');
            CHECK_NULL(strstr(query, "sendInitialEvents"));
        }
    }
    CHECK(count >= 4);
}

static void c18_pages_that_expire_give_way_to_one_whole_list(void **state)
{
    enum { COUNT = 30 };
    struct wire *wire = *state;
    struct watch_config config = config_maps(wire);
    const struct watch_timing timing = quick();
    config.no_watch_list = true;
    config.page_size = 10;
    make_maps(wire, "map", COUNT);
    (void)rule(wire, ",'query':'continue='", "{'type':'status','code':410}");
    struct watch_recorder *recorder = recorder_start(wire->client, &config, &timing);

    recorder_wait(recorder, "healthy");
    CHECK_INT(recorder_view_size(recorder), COUNT);
    CHECK_INT(recorder_count(recorder, "end "), 1);
    CHECK_INT(recorder_count(recorder, "trouble"), 0);
    CHECK_INT(asked(wire, "limit=10"), 2); /* the first page, and the one that expired */
    recorder_stop(recorder);
}

static void c19_a_watch_list_that_breaks_off_leaves_no_half_view(void **state)
{
    enum { COUNT = 20 };
    struct wire *wire = *state;
    const struct watch_config config = config_maps(wire);
    const struct watch_timing timing = quick();
    make_maps(wire, "map", COUNT);
    int cut = rule(wire, ",'query':'sendInitialEvents','count':3", "{'type':'cut','bytes':2500}");
    struct watch_recorder *recorder = recorder_start(wire->client, &config, &timing);

    recorder_wait(recorder, "end ");
    CHECK_INT(faults_fired(wire->faults, cut), 3);
    CHECK_INT(recorder_view_size(recorder), COUNT);
    CHECK_INT(recorder_count(recorder, "end "), 1);
    CHECK(recorder_count(recorder, "begin\n") >= 2);
    recorder_stop(recorder);
}

static void c19_a_server_without_watch_list_is_listed_in_pages(void **state)
{
    struct wire *wire = *state;
    const struct watch_config config = config_maps(wire);
    const struct watch_timing timing = quick();
    make_maps(wire, "map", 3);
    (void)rule(wire, ",'query':'sendInitialEvents','count':-1", "{'type':'status','code':422}");
    struct watch_recorder *recorder = recorder_start(wire->client, &config, &timing);

    recorder_wait(recorder, "healthy");
    CHECK_INT(recorder_view_size(recorder), 3);
    cluster_make_config_map(wire->cluster, "later");
    recorder_wait(recorder, "added later ");
    CHECK_INT(asked(wire, "sendInitialEvents"), 1); /* asked once, then never again */
    CHECK_INT(asked(wire, "limit=500"), 1);
    recorder_stop(recorder);
}

static int by_value(const void *a, const void *b)
{
    const int64_t left = *(const int64_t *)a;
    const int64_t right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

static void c20_watch_timeouts_are_spread(void **state)
{
    enum { WATCHES = 50, MIN_S = 300, MAX_S = 600 };
    struct wire *wire = *state;
    const struct watch_config config = config_maps(wire);
    struct watch_recorder *recorders[WATCHES];
    int64_t timeouts[WATCHES];
    size_t count = 0;

    for (size_t i = 0; i < WATCHES; i++) {
        recorders[i] = recorder_start(wire->client, &config, NULL);
    }
    for (size_t i = 0; i < WATCHES; i++) {
        recorder_wait(recorders[i], "healthy");
        recorder_stop(recorders[i]);
    }
    AUTO(json) json_t *log = faults_log(wire->faults, wire->since);
    size_t index = 0;
    json_t *line = NULL;
    json_array_foreach(log, index, line)
    {
        const char *at = strstr(js_text_or(line, "/query", ""), "timeoutSeconds=");
        if (at && strstr(js_text_or(line, "/path", ""), wire->path) &&
            text_equal(js_text_or(line, "/phase", ""), "open") && count < WATCHES) {
            timeouts[count++] = strtol(at + strlen("timeoutSeconds="), NULL, 10);
        }
    }
    CHECK_INT(count, WATCHES);
    qsort(timeouts, count, sizeof(timeouts[0]), by_value);
    assert_in_range(timeouts[0], MIN_S, MIN_S + 100);
    assert_in_range(timeouts[WATCHES / 2], MIN_S + 75, MAX_S - 75);
    assert_in_range(timeouts[WATCHES - 1], MAX_S - 100, MAX_S);
}

/* The version of the last bookmark that was told. */
static long long last_bookmark(struct watch_recorder *recorder)
{
    AUTO(free) char *story = recorder_story(recorder);
    const char *rest = story;
    long long version = 0;

    while ((rest = strstr(rest, "bookmark "))) {
        rest += strlen("bookmark ");
        version = strtoll(rest, NULL, 10);
    }
    return version;
}

/* A kind where nothing happens, beside others where much does: bookmarks bring its version along,
 * so that a stream is never resumed from what the server has forgotten. Before a stream's end by
 * its timeout the server sends one; otherwise about once a minute. */
static void c21_bookmarks_bring_a_quiet_kind_along(void **state)
{
    struct wire *wire = *state;
    struct watch_config config = config_maps(wire);
    struct watch_timing timing = quick();
    config.label_selector = "made-by=nobody";
    timing.stream_min_s = 5;
    timing.stream_spread_s = 0;
    struct watch_recorder *recorder = recorder_start(wire->client, &config, &timing);

    recorder_wait(recorder, "healthy");
    make_maps(wire, "busy", 20);
    AUTO(json) json_t *busy = cluster_get(wire->cluster, &KUBE_CONFIG_MAPS, "busy-19");
    AUTO(free) char *end = recorder_story(recorder);
    long long listed = strtoll(strstr(end, "end ") + strlen("end "), NULL, 10);
    long long last = strtoll(js_text_or(busy, "/metadata/resourceVersion", "0"), NULL, 10);
    long long marked = 0;
    /* On a slow machine a stream may end before all of them are made. */
    for (size_t bookmarks = 1; marked < last; bookmarks++) {
        recorder_wait_times(recorder, "bookmark ", bookmarks);
        marked = last_bookmark(recorder);
    }
    CHECK(marked > listed);
    /* The next stream begins at the last bookmark, and one more may come before the first ends. */
    for (size_t resumed = 0; resumed < 1;) {
        pass_ms(50);
        AUTO(free) char *from = xasprintf("resourceVersion=%lld", last_bookmark(recorder));
        resumed = asked(wire, from);
    }
    CHECK_INT(lists(recorder), 1);
    recorder_stop(recorder);
}

/* The same over the server's compaction of its history, which takes 5 minutes. */
static void c21_a_quiet_kind_outlives_compaction(void **state)
{
    enum { MINUTES = 11 };
    struct wire *wire = *state;
    struct watch_config config = config_maps(wire);
    config.label_selector = "made-by=nobody";
    struct watch_recorder *recorder = recorder_start(wire->client, &config, NULL);

    recorder_wait(recorder, "healthy");
    for (int i = 0; i < MINUTES * 60; i++) {
        AUTO(free) char *name = xasprintf("busy-%d", i);
        cluster_make_config_map(wire->cluster, name);
        cluster_delete(wire->cluster, &KUBE_CONFIG_MAPS, name);
        pass_ms(1000);
    }
    faults_reset_connections(wire->faults);
    cluster_create(wire->cluster, &KUBE_CONFIG_MAPS,
                   "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"rare\","
                   "\"labels\":{\"made-by\":\"nobody\"}}}");
    recorder_wait(recorder, "added rare ");
    CHECK_INT(lists(recorder), 1);
    recorder_stop(recorder);
}

static void c22_410_in_both_forms_leads_to_a_new_view(void **state)
{
    struct wire *wire = *state;
    const struct watch_config config = config_maps(wire);
    const struct watch_timing timing = quick();
    make_maps(wire, "map", 3);
    struct watch_recorder *recorder = recorder_start(wire->client, &config, &timing);

    recorder_wait_times(recorder, "end ", 1);
    (void)rule(wire, ",'watch':true,'open':true", "{'type':'watch-error','code':410}");
    recorder_wait_times(recorder, "end ", 2); /* inside of the stream */
    (void)rule(wire, ",'watch':true,'query':'[?&]resourceVersion=[0-9]'",
               "{'type':'status','code':410}");
    (void)rule(wire, ",'watch':true,'open':true", "{'type':'reset','scope':'stream'}");
    recorder_wait_times(recorder, "end ", 3); /* as the answer's status */
    cluster_make_config_map(wire->cluster, "after");
    recorder_wait(recorder, " after ");
    CHECK_INT(recorder_view_size(recorder), 4);
    CHECK_INT(recorder_count(recorder, "trouble"), 0);
    recorder_stop(recorder);
}

static void c23_a_version_that_the_server_does_not_have_is_given_up(void **state)
{
    struct wire *wire = *state;
    const struct watch_config config = config_maps(wire);
    const struct watch_timing timing = quick();
    make_maps(wire, "map", 3);
    struct watch_recorder *recorder = recorder_start(wire->client, &config, &timing);

    recorder_wait(recorder, "healthy");
    int64_t begun_ms = clock_monotonic_ms();
    (void)rule(wire, ",'watch':true,'query':'[?&]resourceVersion=[0-9]'",
               "{'type':'status','code':504,'reason':'ResourceVersionTooLarge','retry_after':1}");
    (void)rule(wire, ",'watch':true,'open':true", "{'type':'reset','scope':'stream'}");
    recorder_wait_times(recorder, "end ", 2);
    CHECK(clock_monotonic_ms() - begun_ms >= 1000); /* as the server asked */
    CHECK_INT(recorder_view_size(recorder), 3);
    CHECK_INT(asked(wire, "resourceVersion=&"), 2); /* both views consistent */
    recorder_stop(recorder);
}

/* Twenty watches of a server that refuses them all, with the times that ship: each tries again
 * after 0.8 to 1.6 s, 1.6 to 3.2 s and so on, so at most 5 times in 12 s, and none lists. */
static void c24_failures_back_off_and_cost_no_list(void **state)
{
    enum { WATCHES = 20, TRIES_MAX = 5, PASS_MS = 12000 };
    struct wire *wire = *state;
    const struct watch_config config = config_maps(wire);
    struct watch_recorder *recorders[WATCHES];

    for (size_t i = 0; i < WATCHES; i++) {
        recorders[i] = recorder_start(wire->client, &config, NULL);
        recorder_wait(recorders[i], "healthy");
    }
    wire->since = faults_mark(wire->faults);
    int refusal = rule(wire, ",'count':-1", "{'type':'status','code':500}");
    faults_reset_connections(wire->faults);
    pass_ms(PASS_MS);
    int fired = faults_fired(wire->faults, refusal);
    assert_in_range(fired, WATCHES * 2, WATCHES * TRIES_MAX);
    faults_remove(wire->faults, 0);
    cluster_make_config_map(wire->cluster, "after");
    for (size_t i = 0; i < WATCHES; i++) {
        recorder_wait(recorders[i], "added after ");
        CHECK_INT(lists(recorders[i]), 1);
        recorder_stop(recorders[i]);
    }
    CHECK_INT(asked(wire, "sendInitialEvents"), 0);
    CHECK_INT(asked(wire, "limit="), 0);
}

static double cpu_s(void)
{
    struct timespec used;
    CHECK_INT(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used), 0);
    return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

/* Every byte in a frame of its own, characters split in the middle; then a large object. What is
 * linear costs about the same for each byte. */
static void c25_one_byte_at_a_time_is_the_same(void **state)
{
    enum { LARGE_BYTES = 128 * 1024 };
    struct wire *wire = *state;
    const struct watch_config config = config_maps(wire);
    AUTO(buf) struct buf text = BUF(1U << 20);
    (void)rule(wire, ",'watch':true,'count':-1", "{'type':'rechunk','bytes':1}");
    make_maps(wire, "map", 5);
    struct watch_recorder *recorder = recorder_start(wire->client, &config, NULL);

    recorder_wait(recorder, "healthy");
    CHECK_INT(recorder_view_size(recorder), 5);
    while (text.len < LARGE_BYTES) {
        buf_append_text(&text, "Gr\xc3\xbc\xc3\x9f\xf0\x9f\x8e\x89");
    }
    double before_s = cpu_s();
    cluster_create(wire->cluster, &KUBE_CONFIG_MAPS,
                   "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"large\","
                   "\"labels\":{\"made-by\":\"test\"}},\"data\":{\"text\":\"%s\"}}",
                   buf_text(&text));
    recorder_wait(recorder, "added large ");
    /* Reading the frames is most of it; the parser's own share is measured in its unit tests. */
    CHECK(cpu_s() - before_s < 10);
    CHECK_INT(recorder_view_size(recorder), 6);
    recorder_stop(recorder);
}

static void c26_a_hundred_deleted_while_nothing_came_are_all_told(void **state)
{
    enum { COUNT = 100 };
    struct wire *wire = *state;
    const struct watch_config config = config_maps(wire);
    struct watch_timing timing = quick();
    timing.silence_ms = 4000;
    make_maps(wire, "map", COUNT);
    struct watch_recorder *recorder = recorder_start(wire->client, &config, &timing);

    recorder_wait(recorder, "healthy");
    (void)rule(wire, ",'watch':true,'open':true", "{'type':'blackhole'}");
    for (int i = 0; i < COUNT; i++) {
        AUTO(free) char *name = xasprintf("map-%d", i);
        cluster_delete(wire->cluster, &KUBE_CONFIG_MAPS, name);
    }
    recorder_wait_times(recorder, "deleted ", COUNT);
    CHECK_INT(recorder_view_size(recorder), 0);
    CHECK_INT(lists(recorder), 1);
    recorder_stop(recorder);
}

/* Metadata is all that is asked for, and all that comes: 200 KiB of data stay on the server. */
static void c33_what_is_not_wanted_does_not_come_over_the_wire(void **state)
{
    enum { DATA_BYTES = 200 * 1024 };
    struct wire *wire = *state;
    struct watch_config config = config_maps(wire);
    AUTO(free) char *data = xcalloc(1, DATA_BYTES + 1);
    memset(data, 'x', DATA_BYTES);
    config.metadata_only = true;
    config.label_selector = "made-by=large"; /* tells this watch from those of earlier tests */
    cluster_create(wire->cluster, &KUBE_CONFIG_MAPS,
                   "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"large\","
                   "\"labels\":{\"made-by\":\"large\"}},\"data\":{\"text\":\"%s\"}}",
                   data);
    cluster_create(wire->cluster, &KUBE_CONFIG_MAPS,
                   "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":"
                   "\"foreign\"},\"data\":{\"text\":\"%s\"}}",
                   data);
    struct watch_recorder *recorder = recorder_start(wire->client, &config, NULL);

    recorder_wait(recorder, "healthy");
    CHECK(recorder_view_has(recorder, "large"));
    CHECK(!recorder_view_has(recorder, "foreign"));
    recorder_stop(recorder);
    AUTO(json) json_t *log = faults_log(wire->faults, wire->since);
    size_t index = 0;
    size_t watches = 0;
    json_t *line = NULL;
    json_array_foreach(log, index, line)
    {
        if (strstr(js_text_or(line, "/query", ""), "made-by%3Dlarge")) {
            watches++;
            CHECK(js_int_or(line, "/bytes_out", -1) < (int64_t)16 * 1024);
        }
    }
    CHECK(watches > 0);
    cluster_delete(wire->cluster, &KUBE_CONFIG_MAPS, "foreign");
    cluster_delete(wire->cluster, &KUBE_CONFIG_MAPS, "large");
}

/* --- kinds that a server may lack ---------------------------------------------------------------
 */

static size_t widgets_asked(struct wire *wire)
{
    return faults_count(wire->faults, wire->since, "GET", "/widgets", NULL);
}

static size_t definitions_asked(struct wire *wire)
{
    return faults_count(wire->faults, wire->since, "GET", "/customresourcedefinitions",
                        "metadata.name%3Dwidgets.");
}

static void await_definition_watch(struct wire *wire, size_t times)
{
    int64_t until_ms = clock_monotonic_ms() + 20000;
    while (definitions_asked(wire) < times) {
        CHECK(clock_monotonic_ms() < until_ms);
        pass_ms(20);
    }
}

/* Nothing is asked while it is absent, however long; once it is served it is seen within seconds (a
 * server that still prepares its storage has us wait for one); and so again when it went and came
 * back. */
static void absent_then_served(struct wire *wire, int64_t rest_ms)
{
    const struct watch_config config = {.resource = &WIDGETS, .optional = true};
    struct watch_timing timing = WATCH_TIMING;
    if (rest_ms < 2 * timing.optional_poll_ms) {
        timing.optional_poll_ms = rest_ms / 20;
    }
    struct watch_recorder *recorder = recorder_start(wire->client, &config, &timing);

    recorder_wait(recorder, "healthy");
    await_definition_watch(wire, 1);
    pass_ms(rest_ms);
    CHECK_INT(widgets_asked(wire), 1);
    CHECK_INT(definitions_asked(wire), 1);

    static const char *const names[] = {"one", "two"};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        AUTO(free) char *seen = xasprintf(" %s ", names[i]);
        widgets_define(wire->cluster);
        widgets_make(wire->cluster, names[i]);
        int64_t made_ms = clock_monotonic_ms();
        recorder_wait(recorder, seen);
        assert_in_range(clock_monotonic_ms() - made_ms, 0, 5000);
        widgets_remove(wire->cluster);
        recorder_wait_times(recorder, "not served", i + 2);
        CHECK_INT(recorder_view_size(recorder), 0);
    }
    CHECK_INT(recorder_count(recorder, "trouble CRDMissing"), 0);
    recorder_stop(recorder);
}

static void c32_an_absent_kind_is_not_asked_for_and_seen_once_it_comes(void **state)
{
    absent_then_served(*state, 4000);
}

/* With the times as they ship: four periods in which it would be asked for, were its definition not
 * watched. */
static void c32_an_absent_kind_is_not_asked_for_at_rest(void **state)
{
    absent_then_served(*state, 4 * INT64_C(15000));
}

/* Without the right to watch its definition, the kind itself is asked for. */
static void c32_without_the_right_to_its_definition_a_kind_is_polled(void **state)
{
    struct wire *wire = *state;
    const struct watch_config config = {.resource = &WIDGETS, .optional = true};
    struct watch_timing timing = WATCH_TIMING;
    int refused = faults_rule(
        wire->faults, "{'path':'/customresourcedefinitions','query':'fieldSelector','count':-1}",
        "{'type':'status','code':403,'reason':'Forbidden'}");

    timing.optional_poll_ms = 200;
    struct watch_recorder *recorder = recorder_start(wire->client, &config, &timing);
    faults_await(wire->faults, refused, 3);
    CHECK(widgets_asked(wire) >= 3);
    widgets_define(wire->cluster);
    recorder_wait(recorder, "\nserved");
    CHECK_INT(recorder_count(recorder, "trouble CRDMissing"), 0);
    recorder_stop(recorder);
    widgets_remove(wire->cluster);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup(name, begin)
    const struct CMUnitTest tests[] = {
        TEST(c01_twenty_watches_and_their_calls_share_a_connection),
        TEST(c01_watches_of_a_half_open_connection_move_to_one_other),
        TEST(c02_a_half_open_connection_is_left_and_its_watch_resumed),
        TEST(c07_goaway_and_resets_cost_no_event_and_no_list),
        TEST(c16_views_are_listed_once_and_watched_from_their_version),
        TEST(c18_pages_that_expire_give_way_to_one_whole_list),
        TEST(c19_a_watch_list_that_breaks_off_leaves_no_half_view),
        TEST(c19_a_server_without_watch_list_is_listed_in_pages),
        TEST(c20_watch_timeouts_are_spread),
        TEST(c21_bookmarks_bring_a_quiet_kind_along),
        TEST(c22_410_in_both_forms_leads_to_a_new_view),
        TEST(c23_a_version_that_the_server_does_not_have_is_given_up),
        TEST(c24_failures_back_off_and_cost_no_list),
        TEST(c25_one_byte_at_a_time_is_the_same),
        TEST(c26_a_hundred_deleted_while_nothing_came_are_all_told),
        TEST(c32_an_absent_kind_is_not_asked_for_and_seen_once_it_comes),
        TEST(c32_without_the_right_to_its_definition_a_kind_is_polled),
        TEST(c33_what_is_not_wanted_does_not_come_over_the_wire),
    };
    const struct CMUnitTest long_tests[] = {
        TEST(c03_a_half_open_watch_is_resumed_within_75_seconds),
        TEST(c21_a_quiet_kind_outlives_compaction),
        TEST(c32_an_absent_kind_is_not_asked_for_at_rest),
    };
#undef TEST

    js_init();
    http_global_init();
    if (argc > 1 && strcmp(argv[1], "long") == 0) {
        return cmocka_run_group_tests_name("wire_watch_long", long_tests, set_up, tear_down);
    }
    return cmocka_run_group_tests_name("wire_watch", tests, set_up, tear_down);
}
