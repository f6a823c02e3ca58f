/* nginx as people run it, with the configuration that we ship, in front of two gateways: the
 * answers of the contract come out whole, identities go in and no client's copies do, and a gateway
 * that is told to end costs no request.
 *
 * The same holds with Envoy and Traefik, where they are installed (but for the last with Traefik,
 * whose only gateway is the one that goes on):
 *     TENANTRY_FRONT=$PWD/tests/integration/envoy_front ctest --test-dir build/release -R \
 *         test_gateway_nginx */
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "controller/base/cancel.h"
#include "controller/base/clock.h"
#include "controller/base/thread.h"
#include "tests/check.h"
#include "tests/integration/gateway_fixture.h"
#include "tests/integration/postgres.h"
#include "tests/support/child.h"

enum { WAIT_MS = 20000, RETRY_MS = 50 };

static struct gateway_process one, two;
static struct child nginx;
static int port;
static char *acme;

static int free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    CHECK(fd >= 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    CHECK_INT(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    CHECK_INT(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    (void)close(fd);
    return ntohs(address.sin_port);
}

/* It listens, and has read its configuration. */
static bool has_begun(void)
{
    struct reply reply = {0};
    AUTO(fd) int fd = http_open(port);

    return fd >= 0 && http_ask(fd, "GET", "nobody", "/", NULL, NULL, &reply) &&
           strstr(reply.body, "Tenant not found");
}

static void start_nginx(void)
{
    char texts[4][16];
    int64_t until_ms = clock_monotonic_ms() + WAIT_MS;

    port = free_port();
    (void)snprintf(texts[0], sizeof(texts[0]), "%d", port);
    (void)snprintf(texts[1], sizeof(texts[1]), "%d", free_port());
    (void)snprintf(texts[2], sizeof(texts[2]), "%d", one.port);
    (void)snprintf(texts[3], sizeof(texts[3]), "%d", two.port);
    const char *front = getenv("TENANTRY_FRONT");
    const char *const arguments[] = {
        front ? front : NGINX_FRONT, texts[0], texts[1], texts[2], texts[3], NULL};
    child_start(&nginx, arguments);
    while (!has_begun()) {
        CHECK(clock_monotonic_ms() < until_ms);
        CHECK(cancel_sleep_ms(NULL, RETRY_MS));
    }
}

/* Traefik asks with a Host of its own, and is to be believed what the client's was. */
static void start_gateway(struct gateway_process *gateway)
{
    const char *front = getenv("TENANTRY_FRONT");
    bool trusted = front && strstr(front, "traefik");

    gateway_start_with(gateway,
                       (const char *const[]){trusted ? "--trusted-proxies=127.0.0.1" : NULL, NULL});
    gateway_wait_ready(gateway);
}

static int set_up(void **state)
{
    if (gateway_set_up(state)) {
        return -1;
    }
    acme = gateway_tenant(*state, "acme", 100000);
    start_gateway(&one);
    start_gateway(&two);
    start_nginx();
    return 0;
}

static int tear_down(void **state)
{
    child_stop(&nginx);
    gateway_stop(&two);
    free(acme);
    return gateway_tear_down(state);
}

static void ask(const char *tenant, const char *path, const char *token, struct reply *ret)
{
    AUTO(fd) int fd = http_open(port);

    CHECK(fd >= 0);
    CHECK(http_ask(fd, "GET", tenant, path, token, NULL, ret));
}

static void the_contracts_answers_come_through(void **state)
{
    AUTO(sql_conn) struct sql_conn *registry = gateway_registry();
    struct reply reply = {0};

    (void)state;
    ask("nobody", "/", "key-of-acme", &reply);
    CHECK_INT(reply.status, 404);
    CHECK_TEXT(reply.body, "{\"error\":\"Tenant not found\"}");
    ask("acme", "/", NULL, &reply);
    CHECK_INT(reply.status, 401);
    CHECK_TEXT(reply.body, "{\"error\":\"Unauthorized\"}");
    postgres_run(registry, "UPDATE public.tenant_quotas SET current_usage = 100000 WHERE "
                           "resource_type = 'api_requests'");
    int64_t until_ms = clock_monotonic_ms() + WAIT_MS;
    do {
        CHECK(clock_monotonic_ms() < until_ms);
        ask("acme", "/", "key-of-acme", &reply);
    } while (reply.status == 200);
    CHECK_INT(reply.status, 429);
    CHECK_TEXT(reply.body, "{\"error\":\"Quota exceeded\",\"message\":\"Quota exceeded for "
                           "api_requests\",\"current\":100000,\"limit\":100000}");
    CHECK_NOT_NULL(strcasestr(reply.head, "\r\nRetry-After: "));
    CHECK_NOT_NULL(strcasestr(reply.head, "\r\nRateLimit: \"api_requests\";r=0"));
    postgres_run(registry, "UPDATE public.tenant_quotas SET current_usage = 0 WHERE "
                           "resource_type = 'api_requests'");
    do {
        CHECK(clock_monotonic_ms() < until_ms);
        ask("acme", "/", "key-of-acme", &reply);
    } while (reply.status == 429);
    CHECK_INT(reply.status, 200);
}

static void identities_go_in_and_no_copies(void **state)
{
    static const char text[] = "GET /x HTTP/1.1\r\nHost: acme.tenants.localhost\r\n"
                               "Authorization: Bearer key-of-acme\r\nConnection: close\r\n"
                               "X-Tenant-ID: 666\r\nx-tenant-tier: evil\r\n"
                               "X-Tenant-Features: all\r\nX-User-Role: root\r\n"
                               "X-Forwarded-Host: other.tenants.localhost\r\n\r\n";
    AUTO(fd) int fd = http_open(port);
    AUTO(buf) struct buf wanted = BUF(200);
    char answer[4096];

    (void)state;
    CHECK_INT(send(fd, text, sizeof(text) - 1, 0), sizeof(text) - 1);
    ssize_t count = recv(fd, answer, sizeof(answer) - 1, MSG_WAITALL);
    CHECK(count > 0);
    answer[count] = '\0';
    CHECK(buf_printf(&wanted, "\r\n\r\nid=%s tier=small features= role=owner user=", acme));
    CHECK_NOT_NULL(strstr(answer, buf_text(&wanted)));
    CHECK_NULL(strstr(answer, "666"));
}

struct visits {
    atomic_bool stop;
    _Atomic int64_t good;
    _Atomic int64_t bad;
};

static void *keep_visiting(void *context)
{
    struct visits *visits = context;
    struct reply *reply = xcalloc(1, sizeof(*reply));

    while (!atomic_load(&visits->stop)) {
        AUTO(fd) int fd = http_open(port);
        for (int i = 0; i < 20 && !atomic_load(&visits->stop); i++) {
            bool good = http_ask(fd, "GET", "acme", "/", "key-of-acme", NULL, reply) &&
                        reply->status == 200;
            (void)atomic_fetch_add(good ? &visits->good : &visits->bad, 1);
        }
    }
    free(reply);
    return NULL;
}

static void a_gateway_that_ends_costs_no_request(void **state)
{
    struct visits visits = {false};
    pthread_t threads[4];

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(threads); i++) {
        thread_start(&threads[i], "visitor", keep_visiting, &visits);
    }
    while (atomic_load(&visits.good) < 100) {
        CHECK(cancel_sleep_ms(NULL, 1));
    }
    gateway_stop(&one);
    int64_t seen = atomic_load(&visits.good);
    while (atomic_load(&visits.good) < seen + 100) {
        CHECK(cancel_sleep_ms(NULL, 1));
    }
    atomic_store(&visits.stop, true);
    for (size_t i = 0; i < ARRAY_COUNT(threads); i++) {
        CHECK_INT(pthread_join(threads[i], NULL), 0);
    }
    CHECK_INT(visits.bad, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_contracts_answers_come_through),
        cmocka_unit_test(identities_go_in_and_no_copies),
        cmocka_unit_test(a_gateway_that_ends_costs_no_request),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
