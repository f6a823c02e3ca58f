/* Threads:
 *
 *   front N   owns its connections and buffers; blocks in epoll_wait alone; locks thread.lock to
 *             take the list of those woken
 *   others    wake a connection by putting it on that list (conn.c: wake)
 *
 * Within a batch of events a thread is a reader of the tenants' table. */
#include "gateway/front.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "controller/base/clock.h"
#include "controller/base/log.h"
#include "controller/base/metrics.h"
#include "controller/base/thread.h"
#include "gateway/auth.h"
#include "gateway/front_internal.h"
#include "gateway/tenants.h"
#include "gateway/tls.h"
#include "gateway/trust.h"

enum {
    EVENTS = 256,
    BACKLOG = 1024,
    TICK_MS = 100,
    SWEEP_MS = 1000,
    ACCEPT_AT_ONCE = 64,
    THREADS_MAX = 32,
    DRAIN_IDLE_MS = 2000, /* a silent connection is closed this long after the draining began */
    PORT_BYTES = 6,
};

struct front {
    struct gateway *gateway;
    struct front_config config;
    struct tls *tls; /* NULL: plain */
    int port;
    int thread_count;
    _Atomic int64_t drain_from_ms; /* 0: not draining */
    atomic_bool stopping;
    struct front_thread *threads[THREADS_MAX];
};

static struct metric requests = METRIC_GAUGE("tenantry_gateway_requests_total",
                                             "Requests answered, by what was decided.", "outcome");
static struct metric connections =
    METRIC_GAUGE("tenantry_gateway_connections", "Connections open.");
static struct metric accepted =
    METRIC_GAUGE("tenantry_gateway_connections_accepted_total", "Connections ever taken.");

/* ---- listening ---- */

static int parse_address(const char *address, char **ret_host, char ret_port[PORT_BYTES],
                         struct err *err)
{
    const char *colon = strrchr(address, ':');
    size_t host_length = colon ? (size_t)(colon - address) : 0;
    const char *host = address;

    if (!colon || strlen(colon + 1) == 0 || strlen(colon + 1) >= PORT_BYTES ||
        strspn(colon + 1, "0123456789") != strlen(colon + 1)) {
        return err_set(err, ERR_TERMINAL, "InvalidAddress", "\"%s\" is no address:port", address);
    }
    if (host_length >= 2 && host[0] == '[' && host[host_length - 1] == ']') {
        host++;
        host_length -= 2;
    }
    *ret_host = host_length > 0 ? xmemdup0(host, host_length) : NULL;
    (void)snprintf(ret_port, PORT_BYTES, "%s", colon + 1);
    return 0;
}

static int listen_on(const struct addrinfo *info)
{
    int one = 1;
    int zero = 0;
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        return -1;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
    if (info->ai_family == AF_INET6) {
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
    }
    if (bind(fd, info->ai_addr, info->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0) {
        return fd;
    }
    int number = errno;
    (void)close(fd);
    errno = number;
    return -1;
}

static int port_of(int fd)
{
    struct sockaddr_storage name = {0};
    socklen_t length = sizeof(name);

    if (getsockname(fd, (struct sockaddr *)&name, &length) != 0) {
        return 0;
    }
    return ntohs(name.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&name)->sin6_port
                                            : ((struct sockaddr_in *)&name)->sin_port);
}

/* Whether somebody listens there already: SO_REUSEPORT would share the port with another program
 * of the same user, and each would get a part of the connections. */
static bool is_taken(const struct addrinfo *info)
{
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int one = 1;

    if (fd < 0) {
        return false;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    bool taken = bind(fd, info->ai_addr, info->ai_addrlen) != 0;
    int number = errno;
    (void)close(fd);
    errno = number;
    return taken;
}

static int open_listener(struct front *front, bool first, int *ret_fd, struct err *err)
{
    AUTO(free) char *host = NULL;
    char port[PORT_BYTES];
    struct addrinfo *list = NULL;
    const struct addrinfo hints = {.ai_family = AF_UNSPEC,
                                   .ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV};

    if (parse_address(front->config.address, &host, port, err)) {
        return -1;
    }
    if (front->port > 0) {
        (void)snprintf(port, sizeof(port), "%u", (unsigned)front->port & 0xffffU);
    }
    if (getaddrinfo(host ? host : "::", port, &hints, &list) != 0) {
        return err_set(err, ERR_TERMINAL, "InvalidAddress", "\"%s\" is no address to listen on",
                       front->config.address);
    }
    int fd = first && front->port == 0 && strcmp(port, "0") != 0 && is_taken(list)
                 ? -1
                 : listen_on(list);
    int number = errno;
    freeaddrinfo(list);
    if (fd < 0) {
        return err_set(err, ERR_TERMINAL, "ListenFailed", "cannot listen on \"%s\": %s",
                       front->config.address, errno_text(number));
    }
    front->port = port_of(fd);
    *ret_fd = fd;
    return 0;
}

/* ---- time ---- */

static void look_at_clock(struct front_thread *thread)
{
    thread->now_us = clock_monotonic_us();
    thread->now_ms = thread->now_us / 1000;
    int64_t now_s = clock_wall_s();
    if (now_s != thread->date_s) {
        static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
        static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                             "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
        struct tm utc;
        time_t seconds = now_s;
        (void)gmtime_r(&seconds, &utc);
        (void)snprintf(thread->date, sizeof(thread->date), "%s, %02u %s %04u %02u:%02u:%02u GMT",
                       days[utc.tm_wday % 7], (unsigned)utc.tm_mday % 100, months[utc.tm_mon % 12],
                       (unsigned)(utc.tm_year + 1900) % 10000, (unsigned)utc.tm_hour % 100,
                       (unsigned)utc.tm_min % 100, (unsigned)utc.tm_sec % 100);
        thread->date_s = now_s;
    }
}

/* ---- connections ---- */

/* Full: whoever was silent for longest goes. */
static void make_room(struct front_thread *thread)
{
    for (struct conn *conn = thread->conns.prev; conn != &thread->conns; conn = conn->prev) {
        if (conn_is_idle(conn)) {
            conn_end(conn);
            return;
        }
    }
}

static void take_connection(struct front_thread *thread, int fd, const struct sockaddr *peer)
{
    struct front *front = thread->front;
    int one = 1;
    int limit = front->config.connections_max / front->thread_count;

    if (thread->conn_count >= limit) {
        make_room(thread);
    }
    SSL *ssl = front->tls ? tls_session(front->tls, fd) : NULL;
    if (thread->conn_count >= limit || (front->tls && !ssl)) {
        (void)close(fd);
        return;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    struct conn *conn = conn_new(thread, fd, ssl);
    conn->from_trusted = trust_has(thread->gateway->trust, peer);
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
                                .data.ptr = conn};
    if (epoll_ctl(thread->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        conn_end(conn);
    }
    (void)atomic_fetch_add_explicit(&thread->accepted, 1, memory_order_relaxed);
}

static void take_connections(struct front_thread *thread)
{
    for (int i = 0; i < ACCEPT_AT_ONCE && thread->listen_fd >= 0; i++) {
        struct sockaddr_storage peer = {0};
        socklen_t length = sizeof(peer);
        int fd = accept4(thread->listen_fd, (struct sockaddr *)&peer, &length,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            return; /* none left, or no descriptor: those that end make room */
        }
        take_connection(thread, fd, (struct sockaddr *)&peer);
    }
}

static void resume_woken(struct front_thread *thread)
{
    eventfd_t ignored;

    (void)eventfd_read(thread->wake_fd, &ignored);
    pthread_mutex_lock(&thread->lock);
    struct waiter *woken = thread->woken;
    thread->woken = NULL;
    pthread_mutex_unlock(&thread->lock);
    while (woken) {
        struct conn *conn = (struct conn *)woken;
        woken = woken->next;
        conn->has_woken = true;
        conn_resume(conn);
    }
}

/* Look again at requests that wait for sandboxes, and end what takes too long. */
static void tick(struct front_thread *thread, bool sweep)
{
    int64_t drain_ms = atomic_load(&thread->front->drain_from_ms);
    struct conn *next = NULL;

    for (struct conn *conn = thread->conns.next; conn != &thread->conns; conn = next) {
        next = conn->next;
        if (conn->wait == CONN_WAITS_AWAKE) {
            conn_resume(conn);
        } else if (sweep && conn->wait == CONN_READS &&
                   (thread->now_ms >= conn->deadline_ms ||
                    (drain_ms && conn_is_idle(conn) &&
                     thread->now_ms - drain_ms > DRAIN_IDLE_MS))) {
            conn_end(conn);
        }
    }
}

/* ---- the loop ---- */

static void handle(struct front_thread *thread, const struct epoll_event *event)
{
    if (event->data.ptr == &thread->listen_fd) {
        take_connections(thread);
    } else if (event->data.ptr == &thread->wake_fd) {
        resume_woken(thread);
    } else {
        struct conn *conn = event->data.ptr;
        if (event->events & (EPOLLERR | EPOLLHUP) && !conn->dead) {
            conn_end(conn);
        } else {
            conn_work(conn);
        }
    }
}

/* Take what the kernel has accepted already, then listen no more. */
static void stop_listening(struct front_thread *thread)
{
    if (thread->listen_fd >= 0) {
        take_connections(thread);
        (void)close(thread->listen_fd);
        thread->listen_fd = -1;
    }
}

static bool is_over(struct front_thread *thread)
{
    struct front *front = thread->front;
    int64_t drain_ms = atomic_load(&front->drain_from_ms);

    if (atomic_load(&front->stopping)) {
        return true;
    }
    if (drain_ms == 0) {
        return false;
    }
    stop_listening(thread);
    return thread->conn_count == 0 || thread->now_ms - drain_ms > front->config.drain_ms;
}

static void *run(void *context)
{
    struct front_thread *thread = context;
    struct epoll_event events[EVENTS];
    int64_t ticked_ms = 0;
    int64_t swept_ms = 0;

    look_at_clock(thread);
    while (!is_over(thread)) {
        int count = epoll_wait(thread->epoll_fd, events, EVENTS, TICK_MS);
        look_at_clock(thread);
        tenants_enter(thread->gateway->tenants, thread->index);
        for (int i = 0; i < count; i++) {
            handle(thread, &events[i]);
        }
        if (thread->now_ms - ticked_ms >= TICK_MS) {
            bool sweep = thread->now_ms - swept_ms >= SWEEP_MS;
            tick(thread, sweep);
            ticked_ms = thread->now_ms;
            swept_ms = sweep ? thread->now_ms : swept_ms;
        }
        tenants_leave(thread->gateway->tenants, thread->index);
        conn_bury(thread);
    }
    return NULL;
}

/* ---- metrics ---- */

static const char *const outcome_names[OUTCOME_COUNT] = {
    [OUTCOME_ALLOWED] = "allowed",
    [OUTCOME_API] = "api",
    [OUTCOME_PAGE] = "page",
    [OUTCOME_UNKNOWN_TENANT] = "unknown_tenant",
    [OUTCOME_SUSPENDED] = "suspended",
    [OUTCOME_UNAUTHORIZED] = "unauthorized",
    [OUTCOME_PASSWORD] = "password_change",
    [OUTCOME_RATE] = "rate",
    [OUTCOME_QUOTA] = "quota",
    [OUTCOME_ASLEEP] = "asleep",
    [OUTCOME_UNAVAILABLE] = "unavailable",
    [OUTCOME_FAULT] = "fault",
    [OUTCOME_REFUSED] = "refused",
};

static void add_up(void *context)
{
    struct front *front = context;
    uint64_t outcomes[OUTCOME_COUNT] = {0};
    uint64_t taken = 0;
    int64_t open = 0;

    for (int i = 0; i < front->thread_count; i++) {
        struct front_thread *thread = front->threads[i];
        for (int j = 0; j < OUTCOME_COUNT; j++) {
            outcomes[j] += atomic_load_explicit(&thread->outcomes[j], memory_order_relaxed);
        }
        taken += atomic_load_explicit(&thread->accepted, memory_order_relaxed);
        open += atomic_load_explicit(&thread->connections, memory_order_relaxed);
    }
    for (int j = 0; j < OUTCOME_COUNT; j++) {
        metric_set(&requests, outcomes[j], outcome_names[j]);
    }
    metric_set(&connections, open);
    metric_set(&accepted, taken);
}

/* ---- life ---- */

static void watch(const struct front_thread *thread, int fd, void *mark)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = mark};

    if (epoll_ctl(thread->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        out_of_memory(); /* ENOMEM and ENOSPC are all that can be */
    }
}

static int make_thread(struct front *front, int index, struct err *err)
{
    struct front_thread *thread = xcalloc(1, sizeof(*thread));

    front->threads[index] = thread;
    front->thread_count = index + 1;
    *thread = (struct front_thread){
        .front = front, .config = &front->config, .gateway = front->gateway, .index = index};
    thread->listen_fd = -1;
    thread->conns.next = thread->conns.prev = &thread->conns;
    pthread_mutex_init(&thread->lock, NULL);
    thread->hasher = auth_hasher_new();
    thread->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    thread->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (thread->epoll_fd < 0 || thread->wake_fd < 0) {
        return err_set(err, ERR_TERMINAL, "ListenFailed", "no descriptors: %s", errno_text(errno));
    }
    if (open_listener(front, index == 0, &thread->listen_fd, err)) {
        return -1;
    }
    watch(thread, thread->wake_fd, &thread->wake_fd);
    watch(thread, thread->listen_fd, &thread->listen_fd);
    return 0;
}

/* As many descriptors as connections may need. */
static void raise_limit(int wanted)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < (rlim_t)wanted) {
        limit.rlim_cur = limit.rlim_max < (rlim_t)wanted ? limit.rlim_max : (rlim_t)wanted;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int make_front(struct front *front, struct err *err)
{
    const struct front_config *config = &front->config;

    if (config->certificate_file &&
        tls_new(config->certificate_file, config->key_file, &front->tls, err)) {
        return -1;
    }
    for (int i = 0; i < config->threads && i < THREADS_MAX; i++) {
        if (make_thread(front, i, err)) {
            return -1;
        }
    }
    return 0;
}

int front_new(struct gateway *gateway, const struct front_config *config, struct front **ret,
              struct err *err)
{
    struct front *front = xcalloc(1, sizeof(*front));

    front->gateway = gateway;
    front->config = *config;
    raise_limit(config->connections_max + 128);
    if (make_front(front, err)) {
        front_free(front);
        return -1;
    }
    for (int i = 0; i < front->thread_count; i++) {
        thread_start(&front->threads[i]->thread, "front", run, front->threads[i]);
    }
    metrics_on_collect(add_up, front);
    *ret = front;
    return 0;
}

int front_port(const struct front *front)
{
    return front->port;
}

static void join(struct front *front)
{
    for (int i = 0; i < front->thread_count; i++) {
        if (front->threads[i]->thread) {
            (void)pthread_join(front->threads[i]->thread, NULL);
            front->threads[i]->thread = 0;
        }
    }
}

void front_drain(struct front *front)
{
    atomic_store(&front->gateway->draining, true);
    atomic_store(&front->drain_from_ms, clock_monotonic_ms());
    join(front);
}

void front_free(struct front *front)
{
    if (!front) {
        return;
    }
    metrics_off_collect(add_up, front);
    atomic_store(&front->stopping, true);
    join(front);
    for (int i = 0; i < front->thread_count; i++) {
        struct front_thread *thread = front->threads[i];
        while (thread->conns.next != &thread->conns) {
            thread->conns.next->wait = CONN_READS;
            conn_end(thread->conns.next);
        }
        conn_bury(thread);
        auth_hasher_free(thread->hasher);
        auto_release_fd(&thread->listen_fd);
        auto_release_fd(&thread->epoll_fd);
        auto_release_fd(&thread->wake_fd);
        pthread_mutex_destroy(&thread->lock);
        free(thread);
    }
    tls_free(front->tls);
    free(front);
}
