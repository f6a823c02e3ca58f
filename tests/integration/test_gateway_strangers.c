/* What strangers may do to the listener: shake hands while the certificate changes, be slow, be
 * many. */
#include <errno.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "controller/base/cancel.h"
#include "controller/base/clock.h"
#include "controller/base/thread.h"
#include "tests/check.h"
#include "tests/integration/gateway_fixture.h"
#include "tests/support/child.h"

enum {
    PATIENCE_MS = 20000,
    RETRY_MS = 20,
    CONNECTIONS = 16,
    HEAD_MS = 10000, /* as long as a head may take (docs/gateway.md) */
    TIMED_MS = 2000, /* --body-timeout and --write-timeout of `timed` */
    UNREAD_MAX_BYTES = 64 << 20,
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    GROWTH_MAX_KIB = 16 * 1024, /* they keep what was freed */
#else
    GROWTH_MAX_KIB = 1024,
#endif
    BORNE_MS = 40000, /* on a busy machine */
    GIVE_UP_MS = 60000,
    SLOWLY_MS = 250, /* from byte to byte */
    NAME_BYTES = 64,
    VISITORS = 3,
};

static char folder[] = "/tmp/tenantry-strangers-XXXXXX";
static struct gateway_process plain, secured, timed;
static SSL_CTX *trusting;

/* One that is slow: how long it was borne with. */
struct slow {
    const char *text; /* and then one byte for ever */
    int fd;
    pthread_t thread;
    int64_t from_ms;
    int64_t lasted_ms;
};
static struct slow slow_head = {.text = "GET /healthz HTTP/1.1\r\nHost: a\r\nX-Slow: "};
/* The beginning of a TLS record that holds a ClientHello. */
static struct slow slow_hands = {.text = "\x16\x03\x01\x02\x01\x01\x01\x01\xfc\x03\x03"};

/* ---- certificates ---- */

static void path_to(const char *name, char ret[NAME_BYTES])
{
    (void)snprintf(ret, NAME_BYTES, "%s/%s", folder, name);
}

/* Make `name` the content of another file, at once. */
static void put(const char *name, const char *from)
{
    char source[NAME_BYTES], fresh[NAME_BYTES], target[NAME_BYTES];

    path_to(from, source);
    path_to("fresh", fresh);
    path_to(name, target);
    CHECK_INT(link(source, fresh), 0);
    CHECK_INT(rename(fresh, target), 0);
    (void)unlink(fresh); /* rename does nothing when both are the same file */
}

static void make_certificates(void)
{
    struct child child = {0};

    CHECK_NOT_NULL(mkdtemp(folder));
    child_start(&child, (const char *const[]){GATEWAY_CERTIFICATES, folder, NULL});
    AUTO(free) char *line = child_line(&child);
    child_stop(&child);
    CHECK_TEXT(line, "made");
    put("tls.crt", "first.crt");
    put("tls.key", "first.key");
}

/* ---- a client ---- */

struct visit {
    int fd;
    SSL *ssl;
};

static void visit_end(struct visit *visit)
{
    SSL_free(visit->ssl);
    if (visit->fd >= 0) {
        (void)close(visit->fd);
    }
}

/* False when hands cannot be shaken, or the certificate is not good. */
static bool visit_begin(struct visit *ret)
{
    *ret = (struct visit){.fd = http_open(secured.port)};
    if (ret->fd < 0) {
        return false;
    }
    ret->ssl = SSL_new(trusting);
    return ret->ssl && SSL_set1_host(ret->ssl, "localhost") == 1 &&
           SSL_set_fd(ret->ssl, ret->fd) == 1 && SSL_connect(ret->ssl) == 1;
}

static bool visit_ask(struct visit *visit)
{
    static const char request[] = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    char answer[1024] = "";
    int length = 0;

    if (SSL_write(visit->ssl, request, sizeof(request) - 1) <= 0) {
        return false;
    }
    while (!strstr(answer, "\r\n\r\nok\n")) {
        int count = SSL_read(visit->ssl, answer + length, (int)sizeof(answer) - 1 - length);
        if (count <= 0) {
            return false;
        }
        length += count;
    }
    return strncmp(answer, "HTTP/1.1 200 ", strlen("HTTP/1.1 200 ")) == 0;
}

/* The subject of the certificate that a new connection is shown. */
static void shown(char ret[NAME_BYTES])
{
    struct visit visit;

    CHECK(visit_begin(&visit));
    X509 *certificate = SSL_get1_peer_certificate(visit.ssl);
    CHECK_NOT_NULL(certificate);
    CHECK(X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, ret,
                                    NAME_BYTES) > 0);
    X509_free(certificate);
    CHECK(visit_ask(&visit));
    visit_end(&visit);
}

/* ---- the certificate changes ---- */

struct visitors {
    atomic_bool stop;
    _Atomic int64_t good;
    _Atomic int64_t bad;
};

static void *keep_visiting(void *context)
{
    struct visitors *visitors = context;

    while (!atomic_load(&visitors->stop)) {
        struct visit visit;
        bool good = visit_begin(&visit) && visit_ask(&visit);
        (void)atomic_fetch_add(good ? &visitors->good : &visitors->bad, 1);
        visit_end(&visit);
    }
    return NULL;
}

static void wait_for_visits(struct visitors *visitors)
{
    int64_t until_ms = clock_monotonic_ms() + PATIENCE_MS;
    int64_t seen = atomic_load(&visitors->good);

    while (atomic_load(&visitors->good) < seen + 20) {
        CHECK(clock_monotonic_ms() < until_ms);
        CHECK(cancel_sleep_ms(NULL, RETRY_MS));
    }
}

static void replace_certificate(struct visitors *visitors)
{
    int64_t until_ms = clock_monotonic_ms() + PATIENCE_MS;
    char name[NAME_BYTES] = "";

    shown(name);
    CHECK_TEXT(name, "first");
    put("tls.key", "second.key"); /* which does not belong to the certificate that is there */
    wait_for_visits(visitors);
    put("tls.crt", "second.crt");
    do {
        CHECK(clock_monotonic_ms() < until_ms);
        shown(name);
    } while (strcmp(name, "second") != 0);
    put("tls.crt", "first.key"); /* no certificate at all: the second stays */
    wait_for_visits(visitors);
    shown(name);
    CHECK_TEXT(name, "second");
}

static void a_new_certificate_is_taken_and_nobody_turned_away(void **state)
{
    struct visitors visitors = {false};
    pthread_t threads[VISITORS];
    struct visit old;

    (void)state;
    CHECK(visit_begin(&old) && visit_ask(&old));
    for (size_t i = 0; i < VISITORS; i++) {
        thread_start(&threads[i], "visitor", keep_visiting, &visitors);
    }
    replace_certificate(&visitors);
    atomic_store(&visitors.stop, true);
    for (size_t i = 0; i < VISITORS; i++) {
        CHECK_INT(pthread_join(threads[i], NULL), 0);
    }
    CHECK(visit_ask(&old)); /* a connection goes on as it began */
    visit_end(&old);
    CHECK_INT(visitors.bad, 0);
}

/* ---- many ---- */

static bool is_ended(int fd)
{
    char byte;
    ssize_t count = recv(fd, &byte, 1, 0);

    return count == 0 || (count < 0 && errno == ECONNRESET);
}

/* Send that, and wait for the page. */
static void get_page(int fd, const char *text)
{
    char answer[1024] = "";
    size_t length = 0;

    CHECK_INT(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
    while (!strstr(answer, "\r\n\r\nok\n")) {
        ssize_t count = recv(fd, answer + length, sizeof(answer) - 1 - length, 0);
        CHECK(count > 0);
        length += count > 0 ? (size_t)count : 0;
    }
}

/* An answer, and behind it the beginning of a request: the gateway has read both. */
static void be_busy(int fd)
{
    get_page(fd, "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /heal");
}

static void the_idle_make_room_and_the_busy_do_not(void **state)
{
    struct reply reply = {0};
    int fds[CONNECTIONS];
    int64_t until_ms = clock_monotonic_ms() + PATIENCE_MS;

    (void)state;
    for (int i = 0; i < CONNECTIONS; i++) {
        fds[i] = http_open(plain.port);
        CHECK(http_ask(fds[i], "GET", "x", "/healthz", NULL, NULL, &reply));
    }
    int more = http_open(plain.port);
    CHECK(http_ask(more, "GET", "x", "/healthz", NULL, NULL, &reply));
    CHECK_INT(reply.status, 200);
    CHECK(is_ended(fds[0])); /* the one that was silent for longest */
    (void)close(fds[0]);
    fds[0] = more;
    for (int i = 0; i < CONNECTIONS; i++) {
        be_busy(fds[i]);
    }
    AUTO(fd) int refused = http_open(plain.port);
    CHECK(!http_ask(refused, "GET", "x", "/healthz", NULL, NULL, &reply));
    for (int i = 0; i < CONNECTIONS; i++) {
        get_page(fds[i], "thz HTTP/1.1\r\nHost: a\r\n\r\n");
        (void)close(fds[i]);
    }
    bool served = false;
    while (!served) {
        AUTO(fd) int fd = http_open(plain.port);
        served = http_ask(fd, "GET", "x", "/healthz", NULL, NULL, &reply);
        CHECK(clock_monotonic_ms() < until_ms);
    }
}

/* ---- slow ---- */

/* A head, or a handshake, a byte at a time, for as long as it is borne. */
static void *be_slow(void *context)
{
    struct slow *slow = context;
    const char *at = slow->text + 1;

    while (clock_monotonic_ms() - slow->from_ms < GIVE_UP_MS &&
           send(slow->fd, *at ? at : "x", 1, MSG_NOSIGNAL) == 1 &&
           cancel_sleep_ms(NULL, SLOWLY_MS)) {
        at += *at ? 1 : 0;
    }
    slow->lasted_ms = clock_monotonic_ms() - slow->from_ms;
    (void)close(slow->fd);
    return NULL;
}

static void begin_slowly(struct slow *slow, int port)
{
    slow->fd = http_open(port);
    slow->from_ms = clock_monotonic_ms();
    CHECK_INT(send(slow->fd, slow->text, 1, MSG_NOSIGNAL), 1);
    thread_start(&slow->thread, "slow", be_slow, slow);
}

/* A body a byte at a time, whatever the pace. */
static void a_slow_body_is_let_go(void **state)
{
    struct slow body = {.text =
                            "POST /api/login HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\n{"};

    (void)state;
    body.fd = http_open(timed.port);
    body.from_ms = clock_monotonic_ms();
    CHECK_INT(send(body.fd, body.text, strlen(body.text), MSG_NOSIGNAL), strlen(body.text));
    body.text = "{";
    (void)be_slow(&body);
    print_message("    borne for %ld ms\n", (long)body.lasted_ms);
    CHECK(body.lasted_ms >= TIMED_MS - SLOWLY_MS);
    CHECK(body.lasted_ms < BORNE_MS);
}

static int64_t memory_kib(const struct gateway_process *gateway)
{
    char path[NAME_BYTES], line[256];
    int64_t kib = 0;

    (void)snprintf(path, sizeof(path), "/proc/%d/status", (int)gateway->pid);
    FILE *file = fopen(path, "re");
    CHECK_NOT_NULL(file);
    while (fgets(line, sizeof(line), file)) {
        if (strncmp(line, "VmRSS:", 6) == 0) {
            kib = strtoll(line + 6, NULL, 10);
        }
    }
    (void)fclose(file);
    return kib;
}

/* Requests without end from somebody who reads no answer: they are left in the kernel, and cost us
 * no memory; in the end the connection goes. */
static void who_does_not_read_is_not_read_from(void **state)
{
    static const char request[] = "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n";
    char many[64 * sizeof(request)] = "";
    size_t length = 0, sent = 0;
    AUTO(fd) int fd = http_open(timed.port);
    int64_t from_ms = clock_monotonic_ms();
    int64_t before_kib = memory_kib(&timed);
    ssize_t count = 0;

    (void)state;
    for (int i = 0; i < 64; i++) {
        memcpy(many + length, request, sizeof(request) - 1);
        length += sizeof(request) - 1;
    }
    while (sent < UNREAD_MAX_BYTES) {
        count = send(fd, many, length, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (count < 0 && errno != EAGAIN) {
            break;
        }
        sent += count > 0 ? (size_t)count : 0;
        CHECK(clock_monotonic_ms() - from_ms < BORNE_MS);
        if (count < 0) {
            CHECK(cancel_sleep_ms(NULL, RETRY_MS));
        }
    }
    int64_t lasted_ms = clock_monotonic_ms() - from_ms;
    print_message("    %zu KiB of requests in %ld ms, %+ld KiB of memory\n", sent >> 10,
                  (long)lasted_ms, (long)(memory_kib(&timed) - before_kib));
    CHECK(count < 0 && (errno == EPIPE || errno == ECONNRESET));
    CHECK(lasted_ms >= TIMED_MS - SLOWLY_MS);
    CHECK(sent < UNREAD_MAX_BYTES);
    CHECK(memory_kib(&timed) - before_kib < GROWTH_MAX_KIB);
}

/* They began before the other tests; each has its time and a little more. */
static void the_slow_are_let_go(void **state)
{
    struct slow *const both[] = {&slow_head, &slow_hands};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(both); i++) {
        CHECK_INT(pthread_join(both[i]->thread, NULL), 0);
        print_message("    borne for %ld ms\n", (long)both[i]->lasted_ms);
        CHECK(both[i]->lasted_ms >= HEAD_MS - SLOWLY_MS);
        CHECK(both[i]->lasted_ms < BORNE_MS);
    }
}

/* ---- set-up ---- */

static void trust_authority(void)
{
    char path[NAME_BYTES];

    path_to("ca.crt", path);
    trusting = SSL_CTX_new(TLS_client_method());
    CHECK_NOT_NULL(trusting);
    CHECK_INT(SSL_CTX_load_verify_locations(trusting, path, NULL), 1);
    SSL_CTX_set_verify(trusting, SSL_VERIFY_PEER, NULL);
}

static int set_up(void **state)
{
    char certificate[2 * NAME_BYTES], key[2 * NAME_BYTES];

    if (gateway_set_up(state)) {
        return -1;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    make_certificates();
    trust_authority();
    (void)snprintf(certificate, sizeof(certificate), "--tls-certificate-file=%s/tls.crt", folder);
    (void)snprintf(key, sizeof(key), "--tls-key-file=%s/tls.key", folder);
    gateway_start_with(&secured, (const char *const[]){certificate, key, NULL});
    /* One more, for the slow one. */
    gateway_start_with(&plain, (const char *const[]){"--threads=1", "--max-connections=17", NULL});
    gateway_start_with(&timed, (const char *const[]){"--threads=1", "--body-timeout=2s",
                                                     "--write-timeout=2s", NULL});
    begin_slowly(&slow_head, plain.port);
    begin_slowly(&slow_hands, secured.port);
    return 0;
}

static int tear_down(void **state)
{
    static const char *const names[] = {"ca.crt",    "ca.key",     "first.crt",
                                        "first.key", "second.crt", "tls.crt",
                                        "tls.key",   "second.key", "openssl.log"};
    char path[NAME_BYTES];

    gateway_stop(&plain);
    gateway_stop(&timed);
    gateway_stop(&secured);
    SSL_CTX_free(trusting);
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        path_to(names[i], path);
        (void)unlink(path);
    }
    (void)rmdir(folder);
    return gateway_tear_down(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_idle_make_room_and_the_busy_do_not),
        cmocka_unit_test(a_new_certificate_is_taken_and_nobody_turned_away),
        cmocka_unit_test(a_slow_body_is_let_go),
        cmocka_unit_test(who_does_not_read_is_not_read_from),
        cmocka_unit_test(the_slow_are_let_go),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
