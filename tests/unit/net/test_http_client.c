#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "controller/base/clock.h"
#include "controller/base/js.h"
#include "controller/net/http_client.h"
#include "tests/check.h"
#include "tests/support/child.h"

/* Less than the time-outs that would end a call otherwise, and enough on a loaded machine. */
enum { SOON_MS = 15 * 1000 };

#ifdef ON_CALLER /* the same is true of a client without a thread */
static const bool WITHOUT_THREAD = true;
#else
static const bool WITHOUT_THREAD = false;
#endif

/* A plain server and a client for it, made for each test. */
struct fixture {
    struct child server;
    char *base; /* "http://127.0.0.1:PORT" */
    struct http_client *client;
};

static int set_up(void **state)
{
    struct fixture *fixture = xcalloc(1, sizeof(*fixture));
    struct err err;
    child_start(&fixture->server, (const char *[]){"python3", TEST_HTTP_SERVER, "plain", NULL});
    char *port = child_line(&fixture->server);
    fixture->base = xasprintf("http://127.0.0.1:%s", port);
    free(port);
    const struct http_client_config config = {
        .name = "test", .user_agent = "tenantry-test/1", .on_caller = WITHOUT_THREAD};
    CHECK_OK(http_client_new(&config, NULL, &fixture->client, &err), &err);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    http_client_free(fixture->client);
    child_stop(&fixture->server);
    free(fixture->base);
    free(fixture);
    return 0;
}

static int perform(const struct fixture *fixture, const struct call *call, const char *path,
                   struct http_request request, struct http_response *response, struct err *err)
{
    AUTO(free) char *url = xasprintf("%s%s", fixture->base, path);
    request.url = url;
    request.method = request.method ? request.method : "GET";
    return http_client_perform(fixture->client, call, &request, response, err);
}

static void get(const struct fixture *fixture, const char *path, struct http_response *response)
{
    struct err err;
    CHECK_OK(perform(fixture, NULL, path, (struct http_request){0}, response, &err), &err);
}

/* What the server noted of each request so far; the caller decrefs. */
static json_t *server_log(const struct fixture *fixture)
{
    AUTO(http_response) struct http_response response = {0};
    json_t *log = NULL;
    struct err err;
    get(fixture, "/log", &response);
    CHECK_OK(js_parse(buf_str(&response.body), response.body.len, &log, &err), &err);
    return log;
}

static const char *logged(const json_t *log, size_t index, const char *path)
{
    return js_text_or(json_array_get(log, index), path, "");
}

static size_t count_method(const json_t *log, const char *method)
{
    size_t count = 0;
    for (size_t i = 0; i < json_array_size(log); i++) {
        count += strcmp(logged(log, i, "/method"), method) == 0;
    }
    return count;
}

/* --- requests and answers -------------------------------------------------------------------- */

static void answer_has_status_body_and_headers(void **state)
{
    AUTO(http_response) struct http_response response = {0};
    get(*state, "/hello", &response);
    CHECK_INT(response.status, 200);
    CHECK_TEXT(buf_text(&response.body), "hello");
    CHECK_TEXT(response.content_type, "text/plain");
    CHECK_TEXT(response.flow_schema_uid, "flow-1");
    CHECK_INT(response.retry_after_ms, -1);
    CHECK(response.reached_server);
}

static void request_carries_method_headers_and_body(void **state)
{
    AUTO(http_response) struct http_response response = {0};
    struct err err;
    const struct http_header headers[] = {{"X-One", "1"}, {"X-Empty", ""}};
    CHECK_OK(perform(*state, NULL, "/hello",
                     (struct http_request){.method = "PATCH",
                                           .headers = headers,
                                           .header_count = 2,
                                           .content_type = "application/merge-patch+json",
                                           .body = STR("{\"a\":1}")},
                     &response, &err),
             &err);
    AUTO(json) json_t *log = server_log(*state);
    CHECK_TEXT(logged(log, 0, "/method"), "PATCH");
    CHECK_TEXT(logged(log, 0, "/body"), "{\"a\":1}");
    CHECK_TEXT(logged(log, 0, "/headers/x-one"), "1");
    CHECK_NOT_NULL(js_at(json_array_get(log, 0), "/headers/x-empty"));
    CHECK_TEXT(logged(log, 0, "/headers/content-type"), "application/merge-patch+json");
    CHECK_TEXT(logged(log, 0, "/headers/user-agent"), "tenantry-test/1");
    CHECK_NULL(js_at(json_array_get(log, 0), "/headers/expect"));
}

static void every_method_is_sent_as_such(void **state)
{
    static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "DELETE"};
    struct err err;
    for (size_t i = 0; i < ARRAY_COUNT(methods); i++) {
        AUTO(http_response) struct http_response response = {0};
        CHECK_OK(perform(*state, NULL, "/hello", (struct http_request){.method = methods[i]},
                         &response, &err),
                 &err);
        CHECK_INT(response.status, 200);
    }
    AUTO(json) json_t *log = server_log(*state);
    for (size_t i = 0; i < ARRAY_COUNT(methods); i++) {
        CHECK_TEXT(logged(log, i, "/method"), methods[i]);
        CHECK_TEXT(logged(log, i, "/body"), "");
    }
}

static void dots_in_a_path_are_kept(void **state)
{
    AUTO(http_response) struct http_response response = {0};
    get(*state, "/a/../hello", &response);
    CHECK_INT(response.status, 404);
    AUTO(json) json_t *log = server_log(*state);
    CHECK_TEXT(logged(log, 0, "/path"), "/a/../hello");
}

static void any_status_is_an_answer(void **state)
{
    AUTO(http_response) struct http_response response = {0};
    get(*state, "/status/503?retry=7&body=busy", &response);
    CHECK_INT(response.status, 503);
    CHECK_TEXT(buf_text(&response.body), "busy");
    CHECK_INT(response.retry_after_ms, 7000);
    get(*state, "/status/429?retry=Fri,%2031%20Dec%201999%2023:59:59%20GMT", &response);
    CHECK_INT(response.retry_after_ms, 0);
    get(*state, "/status/429?retry=soon", &response);
    CHECK_INT(response.retry_after_ms, -1);
}

static void redirect_is_not_followed(void **state)
{
    AUTO(http_response) struct http_response response = {0};
    get(*state, "/status/302?location=/hello", &response);
    CHECK_INT(response.status, 302);
    AUTO(json) json_t *log = server_log(*state);
    CHECK_INT(json_array_size(log), 1);
}

static void connection_is_reused(void **state)
{
    AUTO(http_response) struct http_response response = {0};
    for (int i = 0; i < 5; i++) {
        get(*state, "/hello", &response);
    }
    AUTO(json) json_t *log = server_log(*state);
    for (size_t i = 1; i < 5; i++) {
        CHECK_INT(js_int_or(json_array_get(log, i), "/port", -1),
                  js_int_or(json_array_get(log, 0), "/port", -2));
    }
}

static void compressed_answer_is_unpacked(void **state)
{
    AUTO(http_response) struct http_response response = {0};
    get(*state, "/gzip/100000", &response);
    CHECK_INT(response.body.len, 100000);
    CHECK_INT(buf_text(&response.body)[99999], 'z');
}

/* --- limits ---------------------------------------------------------------------------------- */

static void body_over_the_limit_is_refused(void **state)
{
    AUTO(http_response) struct http_response response = {0};
    struct err err;
    CHECK_OK(perform(*state, NULL, "/big/1000", (struct http_request){.response_max_bytes = 1000},
                     &response, &err),
             &err);
    CHECK_FAILS(perform(*state, NULL, "/big/1001",
                        (struct http_request){.response_max_bytes = 1000}, &response, &err),
                &err, ERR_TERMINAL, "ResponseTooLarge");
}

static void compression_does_not_get_past_the_limit(void **state)
{
    AUTO(http_response) struct http_response response = {0};
    struct err err;
    CHECK_FAILS(perform(*state, NULL, "/gzip/10000000",
                        (struct http_request){.response_max_bytes = 100000}, &response, &err),
                &err, ERR_TERMINAL, "ResponseTooLarge");
}

static void endless_headers_are_refused(void **state)
{
    AUTO(http_response) struct http_response response = {0};
    struct err err;
    CHECK_FAILS(perform(*state, NULL, "/headers/400", (struct http_request){0}, &response, &err),
                &err, ERR_TERMINAL, "ResponseTooLarge");
}

static void header_with_a_line_break_is_refused(void **state)
{
    AUTO(http_response) struct http_response response = {0};
    struct err err;
    const struct http_header header = {"X-One", "1\r\nX-Two: 2"};
    CHECK_FAILS(perform(*state, NULL, "/hello",
                        (struct http_request){.headers = &header, .header_count = 1}, &response,
                        &err),
                &err, ERR_TERMINAL, "InvalidRequest");
}

static void other_protocols_are_refused(void **state)
{
    const struct fixture *fixture = *state;
    static const char *const urls[] = {"file:///etc/passwd", "ftp://127.0.0.1/", "", "hello",
                                       "http://"};
    for (size_t i = 0; i < ARRAY_COUNT(urls); i++) {
        AUTO(http_response) struct http_response response = {0};
        struct err err;
        const struct http_request request = {.method = "GET", .url = urls[i]};
        CHECK_FAILS(http_client_perform(fixture->client, NULL, &request, &response, &err), &err,
                    ERR_TERMINAL, "InvalidRequest");
        CHECK(!response.reached_server);
    }
}

static void c10_credentials_stay_off_plain_connections(void **state)
{
    AUTO(http_response) struct http_response response = {0};
    AUTO(secret) struct secret token = {0};
    struct err err;
    secret_set(&token, STR("very-secret"));
    CHECK_OK(
        perform(*state, NULL, "/hello", (struct http_request){.bearer = &token}, &response, &err),
        &err);
    CHECK_OK(perform(*state, NULL, "/hello",
                     (struct http_request){.basic_user = "ann", .basic_password = &token},
                     &response, &err),
             &err);
    AUTO(json) json_t *log = server_log(*state);
    CHECK_NULL(js_at(json_array_get(log, 0), "/headers/authorization"));
    CHECK_NULL(js_at(json_array_get(log, 1), "/headers/authorization"));
}

/* --- streams --------------------------------------------------------------------------------- */

struct stream {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct buf seen;
    int pieces;
    bool refuse;
};

static void stream_init(struct stream *stream)
{
    *stream = (struct stream){.seen = BUF(1 << 20)};
    pthread_mutex_init(&stream->lock, NULL);
    pthread_cond_init(&stream->changed, NULL);
}

static int on_data(void *context, struct str data, struct err *err)
{
    struct stream *stream = context;
    if (stream->refuse) {
        return err_set(err, ERR_RETRY, "Refused", "not this");
    }
    pthread_mutex_lock(&stream->lock);
    buf_append_str(&stream->seen, data);
    stream->pieces++;
    pthread_cond_broadcast(&stream->changed);
    pthread_mutex_unlock(&stream->lock);
    return 0;
}

static void stream_is_handed_over_as_it_comes(void **state)
{
    AUTO(http_response) struct http_response response = {0};
    struct stream stream;
    struct err err;
    stream_init(&stream);
    CHECK_OK(perform(*state, NULL, "/drip/5/10",
                     (struct http_request){.on_data = on_data, .on_data_context = &stream},
                     &response, &err),
             &err);
    CHECK_TEXT(buf_text(&stream.seen), "piece 0\npiece 1\npiece 2\npiece 3\npiece 4\n");
    CHECK(stream.pieces > 1);
    CHECK_INT(response.body.len, 0);
    buf_release(&stream.seen);
}

static void stream_ends_with_the_readers_error(void **state)
{
    AUTO(http_response) struct http_response response = {0};
    struct stream stream;
    struct err err;
    stream_init(&stream);
    stream.refuse = true;
    CHECK_FAILS(perform(*state, NULL, "/drip/5/10",
                        (struct http_request){.on_data = on_data, .on_data_context = &stream},
                        &response, &err),
                &err, ERR_RETRY, "Refused");
}

static void error_answer_to_a_stream_is_kept_up_to_its_cap(void **state)
{
    AUTO(http_response) struct http_response response = {0};
    struct stream stream;
    struct err err;
    stream_init(&stream);
    CHECK_OK(perform(*state, NULL, "/big/100000?status=410",
                     (struct http_request){.on_data = on_data, .on_data_context = &stream},
                     &response, &err),
             &err);
    CHECK_INT(response.status, 410);
    CHECK_INT(response.body.len, 64 * 1024);
    CHECK_INT(stream.pieces, 0);
}

/* --- time ------------------------------------------------------------------------------------ */

/* Of those requests alone: the server may read what nobody waits for any more at any time. */
static int64_t port_of_hello(const json_t *log, size_t index)
{
    size_t i = 0;
    const json_t *entry = NULL;
    json_array_foreach(log, i, entry)
    {
        if (text_equal(js_text_or(entry, "/path", ""), "/hello") && index-- == 0) {
            return js_int_or(entry, "/port", -1);
        }
    }
    fail_msg("there were fewer requests");
    return -1;
}

static void c04_slow_answer_times_out_and_loses_its_connection(void **state)
{
    AUTO(http_response) struct http_response response = {0};
    struct err err;
    get(*state, "/hello", &response);
    int64_t begun_ms = clock_monotonic_ms();
    CHECK_FAILS(
        perform(*state, NULL, "/hang", (struct http_request){.timeout_ms = 200}, &response, &err),
        &err, ERR_RETRY, "Timeout");
    int64_t took_ms = clock_monotonic_ms() - begun_ms;
    CHECK(took_ms >= 200 && took_ms < SOON_MS);
    CHECK(response.reached_server);
    get(*state, "/hello", &response);
    AUTO(json) json_t *log = server_log(*state);
    CHECK(port_of_hello(log, 0) != port_of_hello(log, 1));
}

static void c02_silent_stream_is_noticed(void **state)
{
    AUTO(http_response) struct http_response response = {0};
    struct stream stream;
    struct err err;
    stream_init(&stream);
    int64_t begun_ms = clock_monotonic_ms();
    CHECK_FAILS(perform(*state, NULL, "/stall",
                        (struct http_request){.on_data = on_data,
                                              .on_data_context = &stream,
                                              .timeout_ms = -1,
                                              .idle_timeout_ms = 300},
                        &response, &err),
                &err, ERR_RETRY, "ConnectionSilent");
    int64_t took_ms = clock_monotonic_ms() - begun_ms;
    CHECK(took_ms >= 300 && took_ms < SOON_MS);
    CHECK_TEXT(buf_text(&stream.seen), "first\n");
    buf_release(&stream.seen);
}

static void stream_that_speaks_now_and_then_is_not_silent(void **state)
{
    AUTO(http_response) struct http_response response = {0};
    struct stream stream;
    struct err err;
    stream_init(&stream);
    CHECK_OK(perform(*state, NULL, "/drip/10/100",
                     (struct http_request){.on_data = on_data,
                                           .on_data_context = &stream,
                                           .timeout_ms = -1,
                                           .idle_timeout_ms = 700},
                     &response, &err),
             &err);
    buf_release(&stream.seen);
}

static void deadline_of_the_call_counts(void **state)
{
    AUTO(http_response) struct http_response response = {0};
    struct err err;
    struct call call = {.deadline_ms = clock_monotonic_ms() + 200};
    CHECK_FAILS(perform(*state, &call, "/hang", (struct http_request){0}, &response, &err), &err,
                ERR_RETRY, "DeadlineExceeded");
    CHECK_FAILS(perform(*state, &call, "/hello", (struct http_request){0}, &response, &err), &err,
                ERR_RETRY, "DeadlineExceeded");
}

struct canceler {
    struct cancel *cancel;
    struct stream *stream;
    int64_t triggered_ms;
};

static void *cancel_after_first_piece(void *context)
{
    struct canceler *canceler = context;
    pthread_mutex_lock(&canceler->stream->lock);
    while (canceler->stream->pieces == 0) {
        pthread_cond_wait(&canceler->stream->changed, &canceler->stream->lock);
    }
    pthread_mutex_unlock(&canceler->stream->lock);
    canceler->triggered_ms = clock_monotonic_ms();
    cancel_trigger(canceler->cancel);
    return NULL;
}

static void cancellation_is_heeded_at_once(void **state)
{
    AUTO(http_response) struct http_response response = {0};
    struct stream stream;
    struct err err;
    pthread_t thread;
    stream_init(&stream);
    struct canceler canceler = {.cancel = cancel_new(NULL), .stream = &stream};
    struct call call = {.cancel = canceler.cancel};
    CHECK_INT(pthread_create(&thread, NULL, cancel_after_first_piece, &canceler), 0);
    CHECK_FAILS(perform(*state, &call, "/stall",
                        (struct http_request){
                            .on_data = on_data, .on_data_context = &stream, .timeout_ms = -1},
                        &response, &err),
                &err, ERR_CANCELED, "Canceled");
    int64_t returned_ms = clock_monotonic_ms();
    CHECK_INT(pthread_join(thread, NULL), 0);
    int64_t took_ms = returned_ms - canceler.triggered_ms;
    CHECK(took_ms < SOON_MS);
    CHECK_FAILS(perform(*state, &call, "/hello", (struct http_request){0}, &response, &err), &err,
                ERR_CANCELED, "Canceled");
    cancel_free(canceler.cancel);
    buf_release(&stream.seen);
}

/* --- broken connections ---------------------------------------------------------------------- */

static void c04_refused_connection_reached_nobody(void **state)
{
    const struct fixture *fixture = *state;
    AUTO(http_response) struct http_response response = {0};
    struct err err;
    const struct http_request request = {.method = "POST", .url = "http://127.0.0.1:1/"};
    CHECK_FAILS(http_client_perform(fixture->client, NULL, &request, &response, &err), &err,
                ERR_RETRY, "ConnectionFailed");
    CHECK(!response.reached_server);
}

static void unknown_host_reached_nobody(void **state)
{
    const struct fixture *fixture = *state;
    AUTO(http_response) struct http_response response = {0};
    struct err err;
    const struct http_request request = {.method = "GET", .url = "http://no-such-host.invalid/"};
    CHECK_FAILS(http_client_perform(fixture->client, NULL, &request, &response, &err), &err,
                ERR_RETRY, "ConnectionFailed");
    CHECK(!response.reached_server);
}

static void cut_answer_is_a_lost_connection(void **state)
{
    AUTO(http_response) struct http_response response = {0};
    struct err err;
    CHECK_FAILS(perform(*state, NULL, "/cut", (struct http_request){0}, &response, &err), &err,
                ERR_RETRY, "ConnectionLost");
    CHECK(response.reached_server);
}

static void c05_write_whose_answer_was_lost_is_sent_once(void **state)
{
    AUTO(http_response) struct http_response response = {0};
    struct err err;
    static const char *const methods[] = {"POST", "PUT", "PATCH", "DELETE"};
    for (size_t i = 0; i < ARRAY_COUNT(methods); i++) {
        get(*state, "/hello", &response); /* so that the connection is a reused one */
        CHECK_FAILS(perform(*state, NULL, "/die",
                            (struct http_request){.method = methods[i], .body = STR("{}")},
                            &response, &err),
                    &err, ERR_RETRY, "ConnectionLost");
        CHECK(response.reached_server);
        AUTO(json) json_t *log = server_log(*state);
        CHECK_INT(count_method(log, methods[i]), 1);
    }
}

static void read_whose_answer_was_lost_is_repeated(void **state)
{
    AUTO(http_response) struct http_response response = {0};
    get(*state, "/hello", &response);
    get(*state, "/die/1", &response);
    CHECK_TEXT(buf_text(&response.body), "alive");
}

static void connections_of_before_a_new_identity_are_not_used_again(void **state)
{
    const struct fixture *fixture = *state;
    AUTO(http_response) struct http_response response = {0};
    struct err err;
    get(fixture, "/hello", &response);
    CHECK_OK(http_client_set_tls(fixture->client, NULL, &err), &err);
    get(fixture, "/hello", &response);
    AUTO(json) json_t *log = server_log(fixture);
    CHECK(js_int_or(json_array_get(log, 0), "/port", -1) !=
          js_int_or(json_array_get(log, 1), "/port", -1));
}

/* --- many callers ---------------------------------------------------------------------------- */

enum { CALLERS = 16, REQUESTS_EACH = 25 };

static void *call_often(void *context)
{
    const struct fixture *fixture = context;
    for (int i = 0; i < REQUESTS_EACH; i++) {
        AUTO(http_response) struct http_response response = {0};
        struct err err;
        if (perform(fixture, NULL, "/hello", (struct http_request){0}, &response, &err) != 0 ||
            response.status != 200 || strcmp(buf_text(&response.body), "hello") != 0) {
            return context;
        }
    }
    return NULL;
}

static void many_threads_share_a_client(void **state)
{
    pthread_t threads[CALLERS];
    for (size_t i = 0; i < CALLERS; i++) {
        CHECK_INT(pthread_create(&threads[i], NULL, call_often, *state), 0);
    }
    for (size_t i = 0; i < CALLERS; i++) {
        void *failure = NULL;
        CHECK_INT(pthread_join(threads[i], &failure), 0);
        CHECK_NULL(failure);
    }
    AUTO(json) json_t *log = server_log(*state);
    CHECK_INT(json_array_size(log), CALLERS * REQUESTS_EACH);
}

struct freed {
    const struct fixture *fixture;
    struct http_client *client;
    struct stream *stream;
    struct err err;
    int result;
};

static void *stream_until_freed(void *context)
{
    struct freed *freed = context;
    AUTO(http_response) struct http_response response = {0};
    AUTO(free) char *url = xasprintf("%s/stall", freed->fixture->base);
    const struct http_request request = {.method = "GET",
                                         .url = url,
                                         .on_data = on_data,
                                         .on_data_context = freed->stream,
                                         .timeout_ms = -1};
    freed->result = http_client_perform(freed->client, NULL, &request, &response, &freed->err);
    return NULL;
}

static void freeing_the_client_cancels_what_is_under_way(void **state)
{
    struct stream stream;
    struct err err;
    pthread_t thread;
    stream_init(&stream);
    struct freed freed = {.fixture = *state, .stream = &stream};
    const struct http_client_config config = {
        .name = "freed", .user_agent = "tenantry-test/1", .on_caller = WITHOUT_THREAD};
    CHECK_OK(http_client_new(&config, NULL, &freed.client, &err), &err);
    CHECK_INT(pthread_create(&thread, NULL, stream_until_freed, &freed), 0);
    pthread_mutex_lock(&stream.lock);
    while (stream.pieces == 0) {
        pthread_cond_wait(&stream.changed, &stream.lock);
    }
    pthread_mutex_unlock(&stream.lock);
    http_client_free(freed.client);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_FAILS(freed.result, &freed.err, ERR_CANCELED, "Canceled");
    buf_release(&stream.seen);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    http_global_init();
    js_init();
    const struct CMUnitTest tests[] = {
        TEST(answer_has_status_body_and_headers),
        TEST(request_carries_method_headers_and_body),
        TEST(every_method_is_sent_as_such),
        TEST(dots_in_a_path_are_kept),
        TEST(any_status_is_an_answer),
        TEST(redirect_is_not_followed),
        TEST(connection_is_reused),
        TEST(compressed_answer_is_unpacked),
        TEST(body_over_the_limit_is_refused),
        TEST(compression_does_not_get_past_the_limit),
        TEST(endless_headers_are_refused),
        TEST(header_with_a_line_break_is_refused),
        TEST(other_protocols_are_refused),
        TEST(c10_credentials_stay_off_plain_connections),
        TEST(stream_is_handed_over_as_it_comes),
        TEST(stream_ends_with_the_readers_error),
        TEST(error_answer_to_a_stream_is_kept_up_to_its_cap),
        TEST(c04_slow_answer_times_out_and_loses_its_connection),
        TEST(c02_silent_stream_is_noticed),
        TEST(stream_that_speaks_now_and_then_is_not_silent),
        TEST(deadline_of_the_call_counts),
        TEST(cancellation_is_heeded_at_once),
        TEST(c04_refused_connection_reached_nobody),
        TEST(unknown_host_reached_nobody),
        TEST(cut_answer_is_a_lost_connection),
        TEST(c05_write_whose_answer_was_lost_is_sent_once),
        TEST(read_whose_answer_was_lost_is_repeated),
        TEST(connections_of_before_a_new_identity_are_not_used_again),
        TEST(many_threads_share_a_client),
        TEST(freeing_the_client_cancels_what_is_under_way),
    };
    return cmocka_run_group_tests_name("http_client", tests, NULL, NULL);
}
