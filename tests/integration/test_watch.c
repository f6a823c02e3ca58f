/* The watch against a real API server. */
#include "controller/kube/watch.h"

#include <pthread.h>
#include <stdlib.h>

#include "controller/base/clock.h"
#include "tests/check.h"
#include "tests/integration/cluster.h"
#include "tests/integration/widgets.h"
#include "tests/support/relay.h"
#include "tests/support/watch_recorder.h"

static const struct kube_resource CLUSTER_ROLES = {"rbac.authorization.k8s.io", "v1",
                                                   "clusterroles", "ClusterRole", false};
static const struct kube_resource CLUSTER_ROLE_BINDINGS = {
    "rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", false};

static struct watch_config config_maps(const struct cluster *cluster)
{
    return (struct watch_config){.resource = &KUBE_CONFIG_MAPS,
                                 .namespace_ = cluster->namespace_,
                                 .label_selector = "made-by=test"};
}

/* Every test begins without ConfigMaps of its own. */
static int without_config_maps(void **state)
{
    struct cluster *cluster = *state;
    AUTO(json) json_t *list = cluster_get(cluster, &KUBE_CONFIG_MAPS, NULL);
    size_t index = 0;
    json_t *item = NULL;

    json_array_foreach(json_object_get(list, "items"), index, item)
    {
        if (text_equal(js_text_or(item, "/metadata/labels/made-by", ""), "test")) {
            cluster_delete(cluster, &KUBE_CONFIG_MAPS, js_text_or(item, "/metadata/name", ""));
        }
    }
    return 0;
}

/* What was written before the watch was started is in its first view, every time: a view out of a
 * server's cache that lags behind would miss it now and then. */
static void c17_the_first_view_is_consistent(void **state)
{
    struct cluster *cluster = *state;
    const struct watch_config both[] = {config_maps(cluster), config_maps(cluster)};
    struct kube_client *client = cluster_client(cluster, "watch");

    for (int i = 0; i < 40; i++) {
        struct watch_config config = both[i % 2];
        AUTO(free) char *name = xasprintf("map-%d", i);
        config.no_watch_list = i % 2 == 0;
        cluster_make_config_map(cluster, name);
        struct watch_recorder *recorder = recorder_start(client, &config, NULL);
        recorder_wait(recorder, "healthy");
        CHECK(recorder_view_has(recorder, name));
        CHECK_INT(recorder_view_size(recorder), i + 1);
        CHECK_INT(recorder_count(recorder, "trouble"), 0);
        recorder_stop(recorder);
    }
    kube_client_free(client);
}

static void changes_are_seen_once_and_in_order(void **state)
{
    struct cluster *cluster = *state;
    const struct watch_config config = config_maps(cluster);
    struct kube_client *client = cluster_client(cluster, "watch");
    struct watch_recorder *recorder = recorder_start(client, &config, NULL);
    AUTO(buf) struct buf expected = BUF(1U << 20);

    recorder_wait(recorder, "healthy");
    for (int i = 0; i < 50; i++) {
        AUTO(free) char *name = xasprintf("map-%d", i);
        cluster_make_config_map(cluster, name);
        cluster_patch(cluster, &KUBE_CONFIG_MAPS, name, "{\"data\":{\"key\":\"two\"}}");
        cluster_delete(cluster, &KUBE_CONFIG_MAPS, name);
        buf_printf(&expected, "added %s\nmodified %s\ndeleted %s\n", name, name, name);
    }
    recorder_wait(recorder, "deleted map-49 ");
    AUTO(free) char *story = recorder_story(recorder);
    AUTO(buf) struct buf seen = BUF(1U << 20);
    long long newest = 0;
    struct str rest = str_from(strstr(story, "healthy\n") + strlen("healthy\n"));
    while (rest.len > 0) {
        struct str line = str_cut(&rest, '\n');
        struct str what = str_cut(&line, ' ');
        struct str name = str_cut(&line, ' ');
        int64_t version = 0;
        if (str_equal_c(what, "bookmark")) {
            continue;
        }
        buf_printf(&seen, "%.*s %.*s\n", (int)what.len, what.ptr, (int)name.len, name.ptr);
        CHECK(str_to_int64(line, &version));
        CHECK(version > newest);
        newest = version;
    }
    CHECK_TEXT(buf_text(&seen), buf_text(&expected));
    recorder_stop(recorder);
    kube_client_free(client);
}

struct making {
    struct cluster *cluster;
    int first;
    int step;
    int count;
};

static void *make_many(void *context)
{
    const struct making *making = context;

    for (int i = making->first; i < making->count; i += making->step) {
        AUTO(free) char *name = xasprintf("map-%d", i);
        cluster_make_config_map(making->cluster, name);
    }
    return NULL;
}

static void c18_fifteen_hundred_objects_come_in_pages_or_in_a_stream(void **state)
{
    enum { COUNT = 1500, THREADS = 8 };
    struct cluster *cluster = *state;
    struct watch_config config = config_maps(cluster);
    struct kube_client *client = cluster_client(cluster, "watch");
    struct making making[THREADS];
    pthread_t threads[THREADS];

    for (int i = 0; i < THREADS; i++) {
        making[i] = (struct making){cluster, i, THREADS, COUNT};
        CHECK_INT(pthread_create(&threads[i], NULL, make_many, &making[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    for (int i = 0; i < 3; i++) {
        config.no_watch_list = i > 0;
        config.page_size = i == 2 ? 7 : 0; /* 215 pages */
        struct watch_recorder *recorder = recorder_start(client, &config, NULL);
        recorder_wait(recorder, "healthy");
        CHECK_INT(recorder_view_size(recorder), COUNT);
        CHECK_INT(recorder_count(recorder, "object "), COUNT);
        CHECK_INT(recorder_count(recorder, "begin\n"), 1);
        recorder_stop(recorder);
    }
    kube_client_free(client);
}

static void c33_only_metadata_comes_when_asked_for(void **state)
{
    struct cluster *cluster = *state;
    struct watch_config config = config_maps(cluster);
    struct kube_client *client = cluster_client(cluster, "watch");

    config.metadata_only = true;
    cluster_make_config_map(cluster, "before");
    for (int i = 0; i < 2; i++) {
        AUTO(free) char *name = xasprintf("after-%d", i);
        config.no_watch_list = i == 1;
        struct watch_recorder *recorder = recorder_start(client, &config, NULL);
        recorder_wait(recorder, "healthy");
        CHECK(recorder_view_has(recorder, "before"));
        cluster_make_config_map(cluster, name);
        AUTO(free) char *event = xasprintf("added %s ", name);
        recorder_wait(recorder, event);
        recorder_stop(recorder);
    }
    kube_client_free(client);
}

/* Streams of a second each, changes all the time: none is lost or comes twice, and nothing is
 * listed again. */
static void streams_that_end_are_resumed_without_a_list(void **state)
{
    struct cluster *cluster = *state;
    const struct watch_config config = config_maps(cluster);
    struct watch_timing timing = WATCH_TIMING;
    struct kube_client *client = cluster_client(cluster, "watch");
    struct watch_stats stats;

    timing.stream_min_s = 1;
    timing.stream_spread_s = 0;
    timing.hasty_ms = 100;
    struct watch_recorder *recorder = recorder_start(client, &config, &timing);
    recorder_wait(recorder, "healthy");
    int count = 0;
    do {
        AUTO(free) char *name = xasprintf("map-%d", count++);
        cluster_make_config_map(cluster, name);
        watch_stats_get(recorder_watch(recorder), &stats);
    } while (stats.watches < 5);
    AUTO(free) char *last = xasprintf("added map-%d ", count - 1);
    recorder_wait(recorder, last);
    CHECK_INT(recorder_count(recorder, "added "), count);
    CHECK_INT(recorder_view_size(recorder), count);
    watch_stats_get(recorder_watch(recorder), &stats);
    CHECK_INT(stats.lists, 1);
    CHECK_INT(recorder_count(recorder, "trouble"), 0);
    recorder_stop(recorder);
    kube_client_free(client);
}

/* A connection that is reset in the middle of the stream, many times. */
static void c07_resets_lose_nothing(void **state)
{
    struct cluster *cluster = *state;
    const struct watch_config config = config_maps(cluster);
    struct watch_timing timing = WATCH_TIMING;
    struct relay *relay = relay_start(cluster_port(cluster));
    struct kube_config relayed;
    struct kube_client *client = cluster_client_at(cluster, relay_port(relay), &relayed);
    struct watch_stats stats;
    int count = 0;

    timing.backoff_base_ms = 20;
    timing.backoff_cap_ms = 100;
    struct watch_recorder *recorder = recorder_start(client, &config, &timing);
    recorder_wait(recorder, "healthy");
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < 5; i++) {
            AUTO(free) char *name = xasprintf("map-%d", count++);
            cluster_make_config_map(cluster, name);
        }
        relay_reset(relay);
    }
    cluster_make_config_map(cluster, "last");
    recorder_wait(recorder, "added last ");
    CHECK_INT(recorder_count(recorder, "added "), count + 1);
    CHECK_INT(recorder_view_size(recorder), count + 1);
    watch_stats_get(recorder_watch(recorder), &stats);
    CHECK_INT(stats.lists, 1);
    recorder_stop(recorder);
    kube_client_free(client);
    kube_config_release(&relayed);
    relay_stop(relay);
}

/* The cable is out: the connection stays open and says nothing. Real servers send bookmarks about
 * once a minute; here silence counts after 2 s. */
static void a_connection_that_falls_silent_is_replaced_without_a_list(void **state)
{
    struct cluster *cluster = *state;
    const struct watch_config config = config_maps(cluster);
    struct watch_timing timing = WATCH_TIMING;
    struct relay *relay = relay_start(cluster_port(cluster));
    struct kube_config relayed;
    struct kube_client *client = cluster_client_at(cluster, relay_port(relay), &relayed);
    struct watch_stats stats;

    timing.silence_ms = 2000;
    struct watch_recorder *recorder = recorder_start(client, &config, &timing);
    recorder_wait(recorder, "healthy");
    relay_freeze(relay);
    int64_t frozen_ms = clock_monotonic_ms();
    cluster_make_config_map(cluster, "meanwhile");
    recorder_wait(recorder, "added meanwhile ");
    assert_in_range(clock_monotonic_ms() - frozen_ms, 1000, 10000);
    CHECK(relay_accepted(relay) >= 2);
    watch_stats_get(recorder_watch(recorder), &stats);
    CHECK_INT(stats.lists, 1);
    recorder_stop(recorder);
    kube_client_free(client);
    kube_config_release(&relayed);
    relay_stop(relay);
}

static int without_widgets(void **state)
{
    widgets_remove(*state);
    return 0;
}

static void c32_a_kind_may_come_later_and_go_and_come_back(void **state)
{
    struct cluster *cluster = *state;
    const struct watch_config config = {.resource = &WIDGETS};
    struct watch_timing timing = WATCH_TIMING;
    struct kube_client *client = cluster_client(cluster, "watch");

    timing.poll_ms = 200;
    struct watch_recorder *recorder = recorder_start(client, &config, &timing);
    recorder_wait(recorder, "trouble CRDMissing");
    widgets_define(cluster);
    recorder_wait(recorder, "healthy");
    widgets_make(cluster, "one");
    recorder_wait(recorder, "added one ");

    widgets_remove(cluster);
    recorder_wait(recorder, "deleted one ");
    recorder_wait_times(recorder, "trouble CRDMissing", 2);
    widgets_define(cluster);
    widgets_make(cluster, "two");
    recorder_wait_times(recorder, "healthy", 2);
    recorder_wait(recorder, " two ");
    CHECK_INT(recorder_view_size(recorder), 1);
    recorder_stop(recorder);
    widgets_remove(cluster);
    kube_client_free(client);
}

static void c23_a_version_that_the_server_does_not_have_leads_to_a_new_view(void **state)
{
    struct cluster *cluster = *state;
    const struct watch_config config = {.resource = &WIDGETS};
    struct watch_timing timing = WATCH_TIMING;
    struct kube_client *client = cluster_client(cluster, "watch");
    struct watch_stats stats;

    timing.backoff_base_ms = 20;
    widgets_define(cluster);
    widgets_make(cluster, "here");
    /* The server's memory of this kind begins with its definition: this is from before. */
    struct watch_recorder *recorder = recorder_start_at(client, &config, &timing, "1");
    recorder_wait(recorder, "end ");
    CHECK(recorder_view_has(recorder, "here"));
    CHECK_INT(recorder_count(recorder, "trouble"), 0);
    watch_stats_get(recorder_watch(recorder), &stats);
    CHECK_INT(stats.lists, 1);
    CHECK_INT(stats.watches, 2);
    recorder_stop(recorder);
    /* One that is not reached for long, as after a restore: the server takes it, and says nothing.
     */
    timing.silence_ms = 1000;
    recorder = recorder_start_at(client, &config, &timing, "900000000000000");
    recorder_wait(recorder, "end ");
    CHECK(recorder_view_has(recorder, "here"));
    CHECK_INT(recorder_count(recorder, "trouble"), 0);
    recorder_stop(recorder);
    widgets_remove(cluster);
    kube_client_free(client);
}

static void a_right_that_is_missing_is_told_and_waited_for(void **state)
{
    static const struct kube_header_value nobody[] = {{"Impersonate-User", "watch-test-nobody"}};
    struct cluster *cluster = *state;
    const struct watch_config config = config_maps(cluster);
    const struct kube_client_config client_config = {.name = "watch"};
    struct watch_timing timing = WATCH_TIMING;
    struct kube_config impersonating;
    struct kube_client *client = NULL;
    struct err err;

    CHECK_OK(kube_config_load(NULL, NULL, &impersonating, &err), &err);
    impersonating.impersonate = nobody;
    impersonating.impersonate_count = 1;
    CHECK_OK(kube_client_new(&impersonating, &client_config, &client, &err), &err);
    timing.backoff_base_ms = 50;
    timing.backoff_cap_ms = 500;
    struct watch_recorder *recorder = recorder_start(client, &config, &timing);
    recorder_wait(recorder, "trouble Forbidden");
    cluster_create(cluster, &CLUSTER_ROLES,
                   "{\"apiVersion\":\"rbac.authorization.k8s.io/v1\",\"kind\":\"ClusterRole\","
                   "\"metadata\":{\"name\":\"%s\"},\"rules\":[{\"apiGroups\":[\"\"],"
                   "\"resources\":[\"configmaps\"],\"verbs\":[\"list\",\"watch\"]}]}",
                   cluster->namespace_);
    cluster_create(cluster, &CLUSTER_ROLE_BINDINGS,
                   "{\"apiVersion\":\"rbac.authorization.k8s.io/v1\",\"kind\":"
                   "\"ClusterRoleBinding\",\"metadata\":{\"name\":\"%s\"},\"roleRef\":{"
                   "\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"ClusterRole\","
                   "\"name\":\"%s\"},\"subjects\":[{\"kind\":\"User\",\"apiGroup\":"
                   "\"rbac.authorization.k8s.io\",\"name\":\"watch-test-nobody\"}]}",
                   cluster->namespace_, cluster->namespace_);
    recorder_wait(recorder, "healthy");
    recorder_stop(recorder);
    cluster_delete(cluster, &CLUSTER_ROLE_BINDINGS, cluster->namespace_);
    cluster_delete(cluster, &CLUSTER_ROLES, cluster->namespace_);
    kube_client_free(client);
    kube_config_release(&impersonating);
}

static void an_unreachable_server_is_told(void **state)
{
    struct cluster *cluster = *state;
    const struct watch_config config = config_maps(cluster);
    struct watch_timing timing = WATCH_TIMING;
    struct relay *relay = relay_start(cluster_port(cluster));
    int port = relay_port(relay);
    struct kube_config relayed;

    relay_stop(relay); /* nobody listens there now */
    struct kube_client *client = cluster_client_at(cluster, port, &relayed);
    timing.backoff_base_ms = 50;
    struct watch_recorder *recorder = recorder_start(client, &config, &timing);
    recorder_wait(recorder, "trouble ConnectionFailed");
    CHECK_INT(recorder_count(recorder, "begin"), 0);
    recorder_stop(recorder);
    kube_client_free(client);
    kube_config_release(&relayed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(c17_the_first_view_is_consistent, without_config_maps),
        cmocka_unit_test_setup(changes_are_seen_once_and_in_order, without_config_maps),
        cmocka_unit_test_setup(c33_only_metadata_comes_when_asked_for, without_config_maps),
        cmocka_unit_test_setup(streams_that_end_are_resumed_without_a_list, without_config_maps),
        cmocka_unit_test_setup(c07_resets_lose_nothing, without_config_maps),
        cmocka_unit_test_setup(a_connection_that_falls_silent_is_replaced_without_a_list,
                               without_config_maps),
        cmocka_unit_test_setup(c32_a_kind_may_come_later_and_go_and_come_back, without_widgets),
        cmocka_unit_test_setup(c23_a_version_that_the_server_does_not_have_leads_to_a_new_view,
                               without_widgets),
        cmocka_unit_test(a_right_that_is_missing_is_told_and_waited_for),
        cmocka_unit_test(an_unreachable_server_is_told),
        cmocka_unit_test_setup(c18_fifteen_hundred_objects_come_in_pages_or_in_a_stream,
                               without_config_maps),
    };

    js_init();
    http_global_init();
    return cmocka_run_group_tests(tests, cluster_set_up, cluster_tear_down);
}
