/* The transport thread: curl's multi handles driven through one epoll set.
 *
 * Connections live in pools, each a multi handle, and all new requests go to the newest pool. A
 * multiplexed connection that went silent would be given every later request too, and curl has no
 * way to close it while a stream is on it; so the pool is retired instead: requests that are on it
 * end in their time, new ones begin with new connections, and the empty pool takes its connections
 * along. The same serves a change of certificates.
 *
 * The thread sleeps in epoll_wait until a socket, a timer of curl's, an expiry or the wake
 * descriptor. Everything that callers hand over stands under the client's lock, which is never held
 * while curl runs. */
#include "controller/net/http_internal.h"

#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "controller/base/clock.h"
#include "controller/base/thread.h"

enum {
    EVENTS_AT_ONCE = 32,
    IDLE_CONNECTIONS_MAX = 32,
    STREAMS_MAX = 250, /* what kube-apiserver allows on a connection */
    THREAD_NAME_BYTES = 16,
};

/* Marks the wake descriptor among the sockets' events; pools count from 1. */
static const uint64_t WAKE_EVENT = 0;

static uint64_t event_of(const struct pool *pool, curl_socket_t socket)
{
    return (uint64_t)pool->id << 32U | (uint32_t)socket;
}

/* --- pools ----------------------------------------------------------------------------------- */

static int on_socket(CURL *easy, curl_socket_t socket, int what, void *context,
                     void *socket_context)
{
    (void)easy;
    (void)socket_context;
    const struct pool *pool = context;
    int epoll_fd = pool->client->epoll_fd;
    if (what == CURL_POLL_REMOVE) {
        (void)epoll_ctl(epoll_fd, EPOLL_CTL_DEL, socket, NULL);
        return 0;
    }
    struct epoll_event event = {.data.u64 = event_of(pool, socket)};
    event.events = ((what & CURL_POLL_IN) != 0 ? (uint32_t)EPOLLIN : 0) |
                   ((what & CURL_POLL_OUT) != 0 ? (uint32_t)EPOLLOUT : 0);
    if (epoll_ctl(epoll_fd, EPOLL_CTL_MOD, socket, &event) == 0) {
        return 0;
    }
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, socket, &event);
}

static int on_timer(CURLM *multi, long timeout_ms, void *context)
{
    (void)multi;
    struct pool *pool = context;
    pool->timer_at_ms = timeout_ms < 0 ? -1 : clock_monotonic_ms() + timeout_ms;
    return 0;
}

#define SET(pool_, option_, value_)                                                                \
    do {                                                                                           \
        if (curl_multi_setopt((pool_)->multi, (option_), (value_)) != CURLM_OK) {                  \
            out_of_memory();                                                                       \
        }                                                                                          \
    } while (0)

static struct pool *pool_new(struct http_client *client)
{
    struct pool *pool = xcalloc(1, sizeof(*pool));
    pool->client = client;
    pool->id = ++client->last_pool_id;
    pool->timer_at_ms = -1;
    pool->multi = curl_multi_init();
    if (!pool->multi) {
        out_of_memory();
    }
    SET(pool, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX);
    SET(pool, CURLMOPT_MAX_CONCURRENT_STREAMS, (long)STREAMS_MAX);
    SET(pool, CURLMOPT_MAXCONNECTS, (long)IDLE_CONNECTIONS_MAX);
    SET(pool, CURLMOPT_SOCKETFUNCTION, on_socket);
    SET(pool, CURLMOPT_SOCKETDATA, pool);
    SET(pool, CURLMOPT_TIMERFUNCTION, on_timer);
    SET(pool, CURLMOPT_TIMERDATA, pool);
    return pool;
}

static struct pool *current_pool(struct http_client *client)
{
    if (!client->pools || client->pools->retired) {
        struct pool *pool = pool_new(client);
        pool->next = client->pools;
        client->pools = pool;
    }
    return client->pools;
}

static struct pool *pool_by_id(const struct http_client *client, uint32_t id)
{
    struct pool *pool = client->pools;
    while (pool && pool->id != id) {
        pool = pool->next;
    }
    return pool;
}

static void reap_pools(struct http_client *client)
{
    struct pool **place = &client->pools;
    while (*place) {
        struct pool *pool = *place;
        if (pool->retired && pool->active_count == 0) {
            *place = pool->next;
            curl_multi_cleanup(pool->multi);
            free(pool);
        } else {
            place = &pool->next;
        }
    }
}

/* --- transfers ------------------------------------------------------------------------------- */

static void transfer_begin(struct http_client *client, struct transfer *transfer)
{
    transfer->pool = current_pool(client);
    transfer->pool->active_count++;
    transfer->last_byte_ms = clock_monotonic_ms();
    transfer->previous = NULL;
    transfer->next = client->active;
    if (client->active) {
        client->active->previous = transfer;
    }
    client->active = transfer;
    int64_t expiry_ms = transfer_expiry_ms(transfer);
    if (expiry_ms < client->next_expiry_ms) {
        client->next_expiry_ms = expiry_ms;
    }
    if (curl_multi_add_handle(transfer->pool->multi, transfer->easy) != CURLM_OK) {
        out_of_memory();
    }
}

/* Give the transfer back to its caller; it may be gone when this returns. */
static void transfer_end(struct http_client *client, struct transfer *transfer, CURLcode code)
{
    (void)curl_multi_remove_handle(transfer->pool->multi, transfer->easy);
    transfer->pool->active_count--;
    if (transfer->previous) {
        transfer->previous->next = transfer->next;
    } else {
        client->active = transfer->next;
    }
    if (transfer->next) {
        transfer->next->previous = transfer->previous;
    }
    transfer_conclude(transfer, code);
    uint64_t one = 1;
    while (write(transfer->done_fd, &one, sizeof(one)) < 0 && errno == EINTR) {
    }
}

static void collect_finished(struct http_client *client)
{
    for (struct pool *pool = client->pools; pool; pool = pool->next) {
        int left = 0;
        for (CURLMsg *message = curl_multi_info_read(pool->multi, &left); message;
             message = curl_multi_info_read(pool->multi, &left)) {
            struct transfer *transfer = NULL;
            CURLcode code = message->data.result; /* removing the handle frees the message */
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&transfer);
            transfer_end(client, transfer, code);
        }
    }
}

/* Expiries only move forward, so the earliest one found is a lower bound until a transfer begins,
 * and this walks the list no more often than needed. */
static void expire_transfers(struct http_client *client)
{
    int64_t now_ms = clock_monotonic_ms();
    if (now_ms < client->next_expiry_ms) {
        return;
    }
    int64_t next_ms = INT64_MAX;
    struct transfer *next = NULL;
    for (struct transfer *transfer = client->active; transfer; transfer = next) {
        next = transfer->next;
        int64_t expiry_ms = transfer_expiry_ms(transfer);
        if (transfer_expire(transfer, now_ms)) {
            transfer->pool->retired = transfer->pool->retired || transfer->doubtful;
            transfer_end(client, transfer, CURLE_ABORTED_BY_CALLBACK);
        } else if (expiry_ms < next_ms) {
            next_ms = expiry_ms;
        }
    }
    client->next_expiry_ms = next_ms;
}

static void cancel_transfers(struct http_client *client, bool all)
{
    struct transfer *next = NULL;
    for (struct transfer *transfer = client->active; transfer; transfer = next) {
        next = transfer->next;
        if (all || atomic_load(&transfer->aborted)) {
            transfer_cancel(transfer);
            transfer_end(client, transfer, CURLE_ABORTED_BY_CALLBACK);
        }
    }
}

/* --- the loop -------------------------------------------------------------------------------- */

/* Take over what callers left; returns false when the thread is to end. */
static bool take_orders(struct http_client *client)
{
    pthread_mutex_lock(&client->lock);
    struct transfer *incoming = client->incoming;
    bool aborts = client->aborts_wanted;
    bool retire = client->retire_wanted;
    bool stopping = client->stopping;
    client->incoming = NULL;
    client->aborts_wanted = false;
    client->retire_wanted = false;
    pthread_mutex_unlock(&client->lock);

    if (retire && client->pools) {
        client->pools->retired = true;
    }
    struct transfer *ordered = NULL; /* the list is newest first; begin with the oldest */
    while (incoming) {
        struct transfer *transfer = incoming;
        incoming = transfer->next;
        transfer->next = ordered;
        ordered = transfer;
    }
    while (ordered) {
        struct transfer *transfer = ordered;
        ordered = transfer->next;
        transfer_begin(client, transfer);
    }
    if (aborts || stopping) {
        cancel_transfers(client, stopping);
    }
    return !stopping;
}

static void run_timers(struct http_client *client)
{
    int64_t now_ms = clock_monotonic_ms();
    for (struct pool *pool = client->pools; pool; pool = pool->next) {
        if (pool->timer_at_ms >= 0 && pool->timer_at_ms <= now_ms) {
            int running = 0;
            pool->timer_at_ms = -1;
            (void)curl_multi_socket_action(pool->multi, CURL_SOCKET_TIMEOUT, 0, &running);
        }
    }
}

static int wait_ms(const struct http_client *client)
{
    int64_t until_ms = client->next_expiry_ms;
    for (const struct pool *pool = client->pools; pool; pool = pool->next) {
        if (pool->timer_at_ms >= 0 && pool->timer_at_ms < until_ms) {
            until_ms = pool->timer_at_ms;
        }
    }
    if (until_ms == INT64_MAX) {
        return -1;
    }
    int64_t left_ms = until_ms - clock_monotonic_ms();
    if (left_ms <= 0) {
        return 0;
    }
    return left_ms < INT_MAX ? (int)left_ms : INT_MAX;
}

static void serve_socket(struct http_client *client, const struct epoll_event *event)
{
    /* The pool may have gone, and the descriptor changed hands, by an earlier event of this batch;
     * curl takes a descriptor that it does not know as nothing to do. */
    struct pool *pool = pool_by_id(client, (uint32_t)(event->data.u64 >> 32U));
    if (!pool) {
        return;
    }
    int what = ((event->events & EPOLLIN) != 0 ? CURL_CSELECT_IN : 0) |
               ((event->events & EPOLLOUT) != 0 ? CURL_CSELECT_OUT : 0) |
               ((event->events & (EPOLLERR | EPOLLHUP)) != 0 ? CURL_CSELECT_ERR : 0);
    int running = 0;
    (void)curl_multi_socket_action(pool->multi, (curl_socket_t)(uint32_t)event->data.u64, what,
                                   &running);
}

static void serve_sockets(struct http_client *client)
{
    struct epoll_event events[EVENTS_AT_ONCE];
    int count = epoll_wait(client->epoll_fd, events, EVENTS_AT_ONCE, wait_ms(client));
    for (int i = 0; i < count; i++) {
        if (events[i].data.u64 == WAKE_EVENT) {
            uint64_t ignored = 0;
            (void)!read(client->wake_fd, &ignored, sizeof(ignored));
        } else {
            serve_socket(client, &events[i]);
        }
    }
}

static void *transport_main(void *context)
{
    struct http_client *client = context;

    while (take_orders(client)) {
        run_timers(client);
        collect_finished(client);
        expire_transfers(client);
        reap_pools(client);
        serve_sockets(client);
        collect_finished(client);
    }
    for (struct pool *pool = client->pools; pool; pool = pool->next) {
        pool->retired = true;
    }
    reap_pools(client);
    return NULL;
}

void transport_wake(struct http_client *client)
{
    uint64_t one = 1;
    while (write(client->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR) {
    }
}

int transport_start(struct http_client *client, struct err *err)
{
    client->next_expiry_ms = INT64_MAX;
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = WAKE_EVENT};
    if (epoll_ctl(client->epoll_fd, EPOLL_CTL_ADD, client->wake_fd, &event) != 0) {
        return err_set(err, ERR_RETRY, "OutOfResources", "epoll: %s", errno_text(errno));
    }
    char name[THREAD_NAME_BYTES];
    (void)snprintf(name, sizeof(name), "http-%s", client->name);
    if (!thread_try_start(&client->thread, name, transport_main, client)) {
        return err_set(err, ERR_RETRY, "OutOfResources", "cannot start a thread");
    }
    return 0;
}

void transport_end(struct http_client *client)
{
    pthread_mutex_lock(&client->lock);
    client->stopping = true;
    pthread_mutex_unlock(&client->lock);
    transport_wake(client);
    if (!client->on_caller) {
        pthread_join(client->thread, NULL);
    }
}
