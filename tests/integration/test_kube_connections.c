/* How connections to a real kube-apiserver are shared, and what happens when they break. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "controller/base/clock.h"
#include "controller/kube/api.h"
#include "controller/kube/config.h"
#include "tests/check.h"
#include "tests/integration/cluster.h"
#include "tests/support/relay.h"

enum { BODY_MAX_BYTES = 1 << 20 };

/* --- streams ---------------------------------------------------------------------------------- */

struct stream {
    struct buf seen;
    pthread_mutex_t lock;
    pthread_cond_t changed;
};

static void stream_init(struct stream *stream)
{
    *stream = (struct stream){.seen = BUF(BODY_MAX_BYTES)};
    pthread_mutex_init(&stream->lock, NULL);
    pthread_cond_init(&stream->changed, NULL);
}

static int on_data(void *context, struct str data, struct err *err)
{
    (void)err;
    struct stream *stream = context;
    pthread_mutex_lock(&stream->lock);
    buf_append_str(&stream->seen, data);
    pthread_cond_broadcast(&stream->changed);
    pthread_mutex_unlock(&stream->lock);
    return 0;
}

static void watch_streams_objects_or_their_metadata(void **state)
{
    const struct cluster *cluster = *state;
    const struct kube_ref collection = cluster_config_map(cluster, NULL);
    AUTO(json) json_t *made = cluster_add_config_map(cluster, "watched", "data-of-the-object");
    for (int metadata_only = 0; metadata_only <= 1; metadata_only++) {
        struct stream stream;
        struct err err;
        stream_init(&stream);
        const struct kube_stream request = {.query = "watch=1&timeoutSeconds=1",
                                            .metadata_only = metadata_only != 0,
                                            .timeout_ms = 20000,
                                            .on_data = on_data,
                                            .on_data_context = &stream};
        CHECK_OK(kube_stream(cluster->client, NULL, &collection, &request, &err), &err);
        CHECK_NOT_NULL(strstr(buf_text(&stream.seen), "{\"type\":\"ADDED\""));
        CHECK_NOT_NULL(strstr(buf_text(&stream.seen), "\"name\":\"watched\""));
        bool has_data = strstr(buf_text(&stream.seen), "data-of-the-object") != NULL;
        bool is_partial = strstr(buf_text(&stream.seen), "PartialObjectMetadata") != NULL;
        CHECK_INT(has_data, metadata_only == 0);
        CHECK_INT(is_partial, metadata_only == 1);
        buf_release(&stream.seen);
    }
}

static void list_streams_metadata_in_one_object(void **state)
{
    const struct cluster *cluster = *state;
    struct stream stream;
    struct err err;
    const struct kube_ref collection = cluster_config_map(cluster, NULL);
    AUTO(json) json_t *made = cluster_add_config_map(cluster, "listed", "data-of-the-object");
    stream_init(&stream);
    const struct kube_stream request = {.query = "limit=500",
                                        .metadata_only = true,
                                        .on_data = on_data,
                                        .on_data_context = &stream};
    CHECK_OK(kube_stream(cluster->client, NULL, &collection, &request, &err), &err);
    AUTO(json) json_t *list = cluster_parse(&stream.seen);
    CHECK_TEXT(js_text_or(list, "/kind", ""), "PartialObjectMetadataList");
    CHECK_NULL(strstr(buf_text(&stream.seen), "data-of-the-object"));
    buf_release(&stream.seen);
}

static void stream_from_a_compacted_version_is_expired(void **state)
{
    const struct cluster *cluster = *state;
    struct stream stream;
    struct err err;
    const struct kube_ref collection = cluster_config_map(cluster, NULL);
    stream_init(&stream);
    const struct kube_stream request = {
        .query = "watch=1&timeoutSeconds=1&resourceVersion=1&resourceVersionMatch=NotOlderThan",
        .on_data = on_data,
        .on_data_context = &stream};
    CHECK_FAILS(kube_stream(cluster->client, NULL, &collection, &request, &err), &err, ERR_TERMINAL,
                "Invalid"); /* a match without sendInitialEvents */
    const struct kube_stream future = {.query = "resourceVersion=999999999999&limit=1",
                                       .on_data = on_data,
                                       .on_data_context = &stream};
    CHECK_FAILS(kube_stream(cluster->client, NULL, &collection, &future, &err), &err, ERR_RETRY,
                "ResourceVersionTooLarge");
    CHECK(err.retry_after_ms > 0);
    buf_release(&stream.seen);
}

/* --- connections ------------------------------------------------------------------------------ */

/* The same cluster behind a relay. config.server is in `url`, which the caller frees. */
static struct relay *relay_to(const struct cluster *cluster, struct kube_config *config, char **url)
{
    const char *port = strrchr(cluster->config.server, ':') + 1;
    int64_t number = 0;
    CHECK(str_to_int64(str_from(port), &number));
    struct relay *relay = relay_start((int)number);
    *config = cluster->config;
    *url = xasprintf("https://127.0.0.1:%d", relay_port(relay));
    config->server = *url;
    return relay;
}

enum { CALLERS = 12, CALLS_EACH = 20, STREAMS = 6 };

struct caller {
    struct kube_client *client;
    struct kube_ref ref;
    int failures;
};

static void *call_often(void *context)
{
    struct caller *caller = context;
    for (int i = 0; i < CALLS_EACH; i++) {
        AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
        struct err err;
        caller->failures += kube_get(caller->client, NULL, &caller->ref, &body, &err) != 0;
    }
    return NULL;
}

struct watcher {
    struct kube_client *client;
    struct kube_ref collection;
    struct cancel *cancel;
    struct stream stream;
    int64_t idle_timeout_ms;
    int result;
    struct err err;
};

static void *watch_until_end(void *context)
{
    struct watcher *watcher = context;
    const struct call call = {.cancel = watcher->cancel};
    const struct kube_stream request = {.query = "watch=1&timeoutSeconds=300",
                                        .timeout_ms = -1,
                                        .idle_timeout_ms = watcher->idle_timeout_ms,
                                        .on_data = on_data,
                                        .on_data_context = &watcher->stream};
    watcher->result =
        kube_stream(watcher->client, &call, &watcher->collection, &request, &watcher->err);
    return NULL;
}

static void await_first_bytes(struct stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    while (stream->seen.len == 0) {
        pthread_cond_wait(&stream->changed, &stream->lock);
    }
    pthread_mutex_unlock(&stream->lock);
}

static void c01_streams_and_calls_share_a_connection(void **state)
{
    const struct cluster *cluster = *state;
    AUTO(json) json_t *made = cluster_add_config_map(cluster, "shared", "one");
    AUTO(free) char *url = NULL;
    struct kube_config config;
    struct relay *relay = relay_to(cluster, &config, &url);
    struct kube_client *client = cluster_connect(&config, false);
    struct cancel *cancel = cancel_new(NULL);
    struct watcher watchers[STREAMS];
    struct caller callers[CALLERS];
    pthread_t watching[STREAMS];
    pthread_t calling[CALLERS];
    for (size_t i = 0; i < STREAMS; i++) {
        watchers[i] = (struct watcher){
            .client = client, .collection = cluster_config_map(cluster, NULL), .cancel = cancel};
        stream_init(&watchers[i].stream);
        CHECK_INT(pthread_create(&watching[i], NULL, watch_until_end, &watchers[i]), 0);
    }
    for (size_t i = 0; i < CALLERS; i++) {
        callers[i] =
            (struct caller){.client = client, .ref = cluster_config_map(cluster, "shared")};
        CHECK_INT(pthread_create(&calling[i], NULL, call_often, &callers[i]), 0);
    }
    for (size_t i = 0; i < CALLERS; i++) {
        CHECK_INT(pthread_join(calling[i], NULL), 0);
        CHECK_INT(callers[i].failures, 0);
    }
    for (size_t i = 0; i < STREAMS; i++) {
        await_first_bytes(&watchers[i].stream);
    }
    CHECK_INT(relay_accepted(relay), 1);
    cancel_trigger(cancel);
    for (size_t i = 0; i < STREAMS; i++) {
        CHECK_INT(pthread_join(watching[i], NULL), 0);
        CHECK_FAILS(watchers[i].result, &watchers[i].err, ERR_CANCELED, "Canceled");
        buf_release(&watchers[i].stream.seen);
    }
    /* Ended streams took nothing along: the connection goes on. */
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    struct err err;
    CHECK_OK(kube_get_path(client, NULL, "/livez", &body, &err), &err);
    CHECK_INT(relay_accepted(relay), 1);
    kube_client_free(client);
    relay_stop(relay);
    cancel_free(cancel);
}

static void c01_http2_can_be_switched_off(void **state)
{
    const struct cluster *cluster = *state;
    AUTO(json) json_t *made = cluster_add_config_map(cluster, "plain", "one");
    struct kube_client *client = cluster_connect(&cluster->config, true);
    struct caller callers[CALLERS];
    pthread_t calling[CALLERS];
    for (size_t i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){.client = client, .ref = cluster_config_map(cluster, "plain")};
        CHECK_INT(pthread_create(&calling[i], NULL, call_often, &callers[i]), 0);
    }
    for (size_t i = 0; i < CALLERS; i++) {
        CHECK_INT(pthread_join(calling[i], NULL), 0);
        CHECK_INT(callers[i].failures, 0);
    }
    kube_client_free(client);
}

static void c02_silent_connection_is_given_up_for_a_new_one(void **state)
{
    const struct cluster *cluster = *state;
    AUTO(json) json_t *made = cluster_add_config_map(cluster, "silent", "one");
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    AUTO(free) char *url = NULL;
    struct kube_config config;
    struct err err;
    pthread_t thread;
    struct relay *relay = relay_to(cluster, &config, &url);
    struct kube_client *client = cluster_connect(&config, false);
    struct watcher watcher = {
        .client = client, .collection = cluster_config_map(cluster, NULL), .idle_timeout_ms = 1000};
    stream_init(&watcher.stream);
    CHECK_INT(pthread_create(&thread, NULL, watch_until_end, &watcher), 0);
    await_first_bytes(&watcher.stream);
    CHECK_OK(kube_get_path(client, NULL, "/livez", &body, &err), &err);
    CHECK_INT(relay_accepted(relay), 1);
    relay_freeze(relay);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_FAILS(watcher.result, &watcher.err, ERR_RETRY, "ConnectionSilent");
    int64_t begun_ms = clock_monotonic_ms();
    CHECK_OK(kube_get_path(client, NULL, "/livez", &body, &err), &err);
    CHECK(clock_monotonic_ms() - begun_ms < 20000); /* not by a time-out of 30 s */
    CHECK_INT(relay_accepted(relay), 2);
    buf_release(&watcher.stream.seen);
    kube_client_free(client);
    relay_stop(relay);
}

static void c04_late_call_takes_its_connection_with_it(void **state)
{
    const struct cluster *cluster = *state;
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    AUTO(free) char *url = NULL;
    struct kube_config config;
    struct err err;
    struct relay *relay = relay_to(cluster, &config, &url);
    struct kube_client *client = cluster_connect(&config, false);
    CHECK_OK(kube_get_path(client, NULL, "/livez", &body, &err), &err);
    relay_freeze(relay);
    const struct call call = {.deadline_ms = clock_monotonic_ms() + 1200};
    CHECK_FAILS(kube_get_path(client, &call, "/livez", &body, &err), &err, ERR_RETRY,
                "DeadlineExceeded");
    CHECK_OK(kube_get_path(client, NULL, "/livez", &body, &err), &err);
    CHECK_INT(relay_accepted(relay), 2);
    kube_client_free(client);
    relay_stop(relay);
}

static void c07_reset_connection_costs_a_read_nothing(void **state)
{
    const struct cluster *cluster = *state;
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    AUTO(free) char *url = NULL;
    struct kube_config config;
    struct err err;
    pthread_t thread;
    struct relay *relay = relay_to(cluster, &config, &url);
    struct kube_client *client = cluster_connect(&config, false);
    AUTO(json) json_t *made = cluster_add_config_map(cluster, "reset", "one");
    struct watcher watcher = {.client = client, .collection = cluster_config_map(cluster, NULL)};
    stream_init(&watcher.stream);
    CHECK_INT(pthread_create(&thread, NULL, watch_until_end, &watcher), 0);
    await_first_bytes(&watcher.stream);
    relay_reset(relay);
    CHECK_OK(kube_get_path(client, NULL, "/livez", &body, &err), &err);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_FAILS(watcher.result, &watcher.err, ERR_RETRY, "ConnectionLost");
    buf_release(&watcher.stream.seen);
    kube_client_free(client);
    relay_stop(relay);
}

int main(void)
{
    http_global_init();
    js_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(watch_streams_objects_or_their_metadata),
        cmocka_unit_test(list_streams_metadata_in_one_object),
        cmocka_unit_test(stream_from_a_compacted_version_is_expired),
        cmocka_unit_test(c01_streams_and_calls_share_a_connection),
        cmocka_unit_test(c01_http2_can_be_switched_off),
        cmocka_unit_test(c02_silent_connection_is_given_up_for_a_new_one),
        cmocka_unit_test(c04_late_call_takes_its_connection_with_it),
        cmocka_unit_test(c07_reset_connection_costs_a_read_nothing),
    };
    return cmocka_run_group_tests_name("kube_connections", tests, cluster_set_up,
                                       cluster_tear_down);
}
