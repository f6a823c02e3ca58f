#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "controller/base/clock.h"
#include "controller/net/http_client.h"
#include "controller/net/http_server.h"
#include "tests/check.h"

enum { LARGE_BYTES = 3 * 1024 * 1024, SOCKET_TIMEOUT_MS = 20 * 1000 };

struct fixture {
    struct http_server *server;
    struct http_client *client;
    atomic_int renders;
};

static int page_hello(void *context, struct buf *out, const char **content_type)
{
    (void)content_type;
    atomic_fetch_add((atomic_int *)context, 1);
    buf_append_text(out, "hello\n");
    return 200;
}

static int page_broken(void *context, struct buf *out, const char **content_type)
{
    (void)context;
    *content_type = "application/json";
    buf_append_text(out, "{\"ready\":false}");
    return 503;
}

static int page_large(void *context, struct buf *out, const char **content_type)
{
    static const char line[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
                               "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    (void)context;
    (void)content_type;
    for (size_t i = 0; i < LARGE_BYTES / (sizeof(line) - 1); i++) {
        buf_append_text(out, line);
    }
    return 200;
}

static int page_endless(void *context, struct buf *out, const char **content_type)
{
    (void)context;
    (void)content_type;
    while (buf_append_text(out, "0123456789abcdef0123456789abcdef0123456789abcdef")) {
    }
    return 200;
}

static int page_empty(void *context, struct buf *out, const char **content_type)
{
    (void)context;
    (void)out;
    (void)content_type;
    return 200;
}

static int set_up(void **state)
{
    struct fixture *fixture = xcalloc(1, sizeof(*fixture));
    struct err err;
    const struct http_page pages[] = {
        {"/hello", page_hello, &fixture->renders},
        {"/broken", page_broken, NULL},
        {"/large", page_large, NULL},
        {"/endless", page_endless, NULL},
        {"/empty", page_empty, NULL},
    };
    const struct http_server_config config = {
        .address = "127.0.0.1:0", .pages = pages, .page_count = ARRAY_COUNT(pages)};
    CHECK_OK(http_server_new(&config, &fixture->server, &err), &err);
    const struct http_client_config client_config = {.name = "test", .user_agent = "test/1"};
    CHECK_OK(http_client_new(&client_config, NULL, &fixture->client, &err), &err);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    http_client_free(fixture->client);
    http_server_free(fixture->server);
    free(fixture);
    return 0;
}

static void request(const struct fixture *fixture, const char *method, const char *path,
                    struct http_response *response)
{
    struct err err;
    AUTO(free)
    char *url = xasprintf("http://127.0.0.1:%d%s", http_server_port(fixture->server), path);
    const struct http_request http = {.method = method, .url = url};
    CHECK_OK(http_client_perform(fixture->client, NULL, &http, response, &err), &err);
}

static void page_is_served(void **state)
{
    AUTO(http_response) struct http_response response = {0};
    request(*state, "GET", "/hello", &response);
    CHECK_INT(response.status, 200);
    CHECK_TEXT(buf_text(&response.body), "hello\n");
    CHECK_TEXT(response.content_type, "text/plain; charset=utf-8");
    request(*state, "GET", "/hello?verbose=1", &response);
    CHECK_INT(response.status, 200);
}

static void page_chooses_status_and_type(void **state)
{
    AUTO(http_response) struct http_response response = {0};
    request(*state, "GET", "/broken", &response);
    CHECK_INT(response.status, 503);
    CHECK_TEXT(response.content_type, "application/json");
    CHECK_TEXT(buf_text(&response.body), "{\"ready\":false}");
    request(*state, "GET", "/empty", &response);
    CHECK_INT(response.status, 200);
    CHECK_INT(response.body.len, 0);
}

static void head_has_no_body(void **state)
{
    AUTO(http_response) struct http_response response = {0};
    request(*state, "HEAD", "/hello", &response);
    CHECK_INT(response.status, 200);
    CHECK_INT(response.body.len, 0);
    request(*state, "GET", "/hello", &response); /* on the same connection */
    CHECK_TEXT(buf_text(&response.body), "hello\n");
}

static void unknown_page_and_method_are_refused(void **state)
{
    AUTO(http_response) struct http_response response = {0};
    static const char *const paths[] = {"/", "/hello/", "/hell", "/../hello", "/%2e%2e/etc/passwd"};
    for (size_t i = 0; i < ARRAY_COUNT(paths); i++) {
        request(*state, "GET", paths[i], &response);
        CHECK(response.status == 404 || response.status == 403 || response.status == 200);
        CHECK_INT(response.status == 200, strcmp(paths[i], "/../hello") == 0);
    }
    static const char *const methods[] = {"POST", "PUT", "DELETE", "PATCH"};
    const struct fixture *fixture = *state;
    int renders = atomic_load(&fixture->renders);
    for (size_t i = 0; i < ARRAY_COUNT(methods); i++) {
        request(*state, methods[i], "/hello", &response);
        CHECK_INT(response.status, 405);
    }
    CHECK_INT(atomic_load(&fixture->renders), renders);
}

static void large_page_arrives_whole(void **state)
{
    AUTO(http_response) struct http_response response = {0};
    request(*state, "GET", "/large", &response);
    CHECK_INT(response.body.len, LARGE_BYTES);
    CHECK_INT(memcmp(buf_text(&response.body) + LARGE_BYTES - 16, "0123456789abcdef", 16), 0);
}

static void page_without_end_is_an_error(void **state)
{
    AUTO(http_response) struct http_response response = {0};
    request(*state, "GET", "/endless", &response);
    CHECK_INT(response.status, 500);
    request(*state, "GET", "/hello", &response);
    CHECK_INT(response.status, 200);
}

enum { CALLERS = 12, REQUESTS_EACH = 50 };

static void *call_often(void *context)
{
    for (int i = 0; i < REQUESTS_EACH; i++) {
        AUTO(http_response) struct http_response response = {0};
        request(context, "GET", i % 10 == 0 ? "/large" : "/hello", &response);
        if (response.status != 200 || response.body.len != (i % 10 == 0 ? LARGE_BYTES : 6)) {
            return context;
        }
    }
    return NULL;
}

static void many_clients_are_served(void **state)
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
}

/* --- clients that mean no good ---------------------------------------------------------------- */

static int connect_to(const struct fixture *fixture)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        (void)fputs("no descriptor is left\n", stderr);
        exit(1);
    }
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)http_server_port(fixture->server));
    CHECK_INT(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

/* Read until the server closes; fails when it does not. */
static void await_close(int fd)
{
    int64_t deadline_ms = clock_monotonic_ms() + SOCKET_TIMEOUT_MS;
    for (;;) {
        char bytes[4096];
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        int64_t left_ms = deadline_ms - clock_monotonic_ms();
        if (left_ms <= 0 || poll(&ready, 1, (int)left_ms) != 1) {
            fail_msg("the server did not close the connection");
        }
        if (recv(fd, bytes, sizeof(bytes), 0) <= 0) {
            return;
        }
    }
}

static void garbage_closes_the_connection_and_nothing_else(void **state)
{
    AUTO(http_response) struct http_response response = {0};
    static const char *const garbage[] = {
        "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 this is TLS",
        "GET\r\n\r\n",
        "\r\n\r\n\r\n\r\n",
        "GET /hello HTTP/9.9\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    };
    for (size_t i = 0; i < ARRAY_COUNT(garbage); i++) {
        int fd = connect_to(*state);
        CHECK(send(fd, garbage[i], strlen(garbage[i]), MSG_NOSIGNAL) > 0);
        (void)shutdown(fd, SHUT_WR);
        await_close(fd);
        close(fd);
        request(*state, "GET", "/hello", &response);
        CHECK_INT(response.status, 200);
    }
}

static void endless_header_is_cut_off(void **state)
{
    AUTO(http_response) struct http_response response = {0};
    int fd = connect_to(*state);
    char filler[1024];
    memset(filler, 'f', sizeof(filler));
    CHECK(send(fd, "GET /hello HTTP/1.1\r\nX: ", 24, MSG_NOSIGNAL) > 0);
    for (int i = 0; i < 64; i++) {
        if (send(fd, filler, sizeof(filler), MSG_NOSIGNAL) < 0) {
            break;
        }
    }
    await_close(fd);
    close(fd);
    request(*state, "GET", "/hello", &response);
    CHECK_INT(response.status, 200);
}

static void idle_strangers_lose_their_connection(void **state)
{
    int silent = connect_to(*state);
    int slow = connect_to(*state);
    CHECK(send(slow, "GET /hel", 8, MSG_NOSIGNAL) > 0);
    await_close(silent);
    await_close(slow);
    close(silent);
    close(slow);
}

enum { STRANGERS = 100 };

static void crowd_does_not_keep_others_out_for_long(void **state)
{
    const struct fixture *fixture = *state;
    int strangers[STRANGERS];
    for (size_t i = 0; i < STRANGERS; i++) {
        strangers[i] = connect_to(fixture);
    }
    /* Past the limit connections are closed at once: the last one is, unlike the first. */
    await_close(strangers[STRANGERS - 1]);
    for (size_t i = 0; i < STRANGERS; i++) {
        close(strangers[i]);
    }
    struct err err;
    AUTO(free)
    char *url = xasprintf("http://127.0.0.1:%d/hello", http_server_port(fixture->server));
    const struct http_request http = {.method = "GET", .url = url};
    int64_t deadline_ms = clock_monotonic_ms() + SOCKET_TIMEOUT_MS;
    for (;;) {
        AUTO(http_response) struct http_response response = {0};
        if (http_client_perform(fixture->client, NULL, &http, &response, &err) == 0) {
            CHECK_INT(response.status, 200);
            return;
        }
        CHECK(clock_monotonic_ms() < deadline_ms);
    }
}

/* --- listening -------------------------------------------------------------------------------- */

static int listen_on(const char *address, struct err *err)
{
    struct http_server *server = NULL;
    const struct http_server_config config = {.address = address};
    int result = http_server_new(&config, &server, err);
    if (result == 0) {
        CHECK(http_server_port(server) > 0);
        http_server_free(server);
    }
    return result;
}

static void addresses_are_understood(void **state)
{
    (void)state;
    struct err err;
    CHECK_OK(listen_on(":0", &err), &err);
    CHECK_OK(listen_on("127.0.0.1:0", &err), &err);
    CHECK_OK(listen_on("localhost:0", &err), &err);
    static const char *const wrong[] = {
        "", "8080", "127.0.0.1", "127.0.0.1:", "127.0.0.1:http", ":-1", ":65536", "::1:80"};
    for (size_t i = 0; i < ARRAY_COUNT(wrong); i++) {
        CHECK_FAILS(listen_on(wrong[i], &err), &err, ERR_TERMINAL, "InvalidAddress");
    }
    CHECK_FAILS(listen_on("no-such-host.invalid:0", &err), &err, ERR_TERMINAL, "InvalidAddress");
}

static void taken_port_is_named(void **state)
{
    const struct fixture *fixture = *state;
    struct err err;
    AUTO(free) char *address = xasprintf("127.0.0.1:%d", http_server_port(fixture->server));
    CHECK_FAILS(listen_on(address, &err), &err, ERR_TERMINAL, "ListenFailed");
    CHECK_NOT_NULL(strstr(err.message, address));
}

static void servers_come_and_go(void **state)
{
    (void)state;
    struct err err;
    for (int i = 0; i < 20; i++) {
        CHECK_OK(listen_on("127.0.0.1:0", &err), &err);
    }
}

int main(void)
{
    http_global_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(page_is_served),
        cmocka_unit_test(page_chooses_status_and_type),
        cmocka_unit_test(head_has_no_body),
        cmocka_unit_test(unknown_page_and_method_are_refused),
        cmocka_unit_test(large_page_arrives_whole),
        cmocka_unit_test(page_without_end_is_an_error),
        cmocka_unit_test(many_clients_are_served),
        cmocka_unit_test(garbage_closes_the_connection_and_nothing_else),
        cmocka_unit_test(endless_header_is_cut_off),
        cmocka_unit_test(idle_strangers_lose_their_connection),
        cmocka_unit_test(crowd_does_not_keep_others_out_for_long),
        cmocka_unit_test(addresses_are_understood),
        cmocka_unit_test(taken_port_is_named),
        cmocka_unit_test(servers_come_and_go),
    };
    return cmocka_run_group_tests_name("http_server", tests, set_up, tear_down);
}
