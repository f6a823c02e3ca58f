/* The callers' side: a transfer is taken from the spares (its easy handle and descriptor are worth
 * keeping), set up, handed to the transport thread, and waited for beside the caller's cancel
 * descriptor. A caller never returns before the thread let go of its transfer, because that points
 * to the caller's request, response and stream context. */
#include "controller/net/http_client.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "controller/base/clock.h"
#include "controller/net/http_internal.h"

enum { DEFAULT_TIMEOUT_MS = 30 * 1000, SPARES_MAX = 4, OWN_SPARES_MAX = 8 };

void http_global_init(void)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        out_of_memory();
    }
    (void)signal(SIGPIPE, SIG_IGN);
}

void http_response_release(struct http_response *response)
{
    buf_release(&response->body);
    *response = (struct http_response){0};
}

/* --- spare transfers ------------------------------------------------------------------------- */

static void transfer_free(struct transfer *transfer)
{
    curl_easy_cleanup(transfer->easy);
    if (transfer->own) {
        (void)curl_multi_cleanup(transfer->own);
    }
    auto_release_fd(&transfer->done_fd);
    free(transfer);
}

/* NULL when there is no descriptor left. */
static struct transfer *transfer_new(struct http_client *client)
{
    int done_fd = client->on_caller ? -1 : eventfd(0, EFD_CLOEXEC);
    if (done_fd < 0 && !client->on_caller) {
        return NULL;
    }
    struct transfer *transfer = xcalloc(1, sizeof(*transfer));
    transfer->client = client;
    transfer->easy = curl_easy_init();
    if (!transfer->easy) {
        out_of_memory();
    }
    transfer->done_fd = done_fd;
    transfer->own = client->on_caller ? direct_new() : NULL;
    return transfer;
}

static void caller_leaves(struct http_client *client)
{
    pthread_mutex_lock(&client->lock);
    client->caller_count--;
    pthread_cond_broadcast(&client->callers_gone);
    pthread_mutex_unlock(&client->lock);
}

/* Register the caller and lend it a transfer with the TLS identity of now; NULL with *err filled
 * when there is none. */
static struct transfer *take_transfer(struct http_client *client, struct err *err)
{
    struct transfer *transfer = NULL;
    pthread_mutex_lock(&client->lock);
    if (client->stopping) {
        pthread_mutex_unlock(&client->lock);
        err_set(err, ERR_CANCELED, "Canceled", "the client is being closed");
        return NULL;
    }
    if (client->spare) {
        transfer = client->spare;
        client->spare = transfer->next;
        client->spare_count--;
    }
    client->caller_count++;
    struct tls_identity *tls = tls_identity_ref(client->tls);
    uint64_t generation = client->generation;
    pthread_mutex_unlock(&client->lock);

    if (transfer && transfer->own && transfer->generation != generation) {
        transfer_free(transfer);
        transfer = NULL;
    }

    transfer = transfer ? transfer : transfer_new(client);
    if (!transfer) {
        tls_identity_unref(tls);
        caller_leaves(client);
        err_set(err, ERR_RETRY, "OutOfResources", "no file descriptor is left");
        return NULL;
    }
    transfer->tls = tls;
    transfer->generation = generation;
    return transfer;
}

static void give_back_transfer(struct http_client *client, struct transfer *transfer)
{
    transfer_reset(transfer);
    pthread_mutex_lock(&client->lock);
    bool is_fit =
        !transfer->own || (!transfer->doubtful && transfer->generation == client->generation);
    /* Those with connections are worth more. */
    size_t most = client->on_caller ? OWN_SPARES_MAX : SPARES_MAX;
    if (is_fit && client->spare_count < most) {
        transfer->next = client->spare;
        client->spare = transfer;
        client->spare_count++;
        transfer = NULL;
    }
    pthread_mutex_unlock(&client->lock);
    if (transfer) {
        transfer_free(transfer);
    }
    caller_leaves(client);
}

/* --- one request ----------------------------------------------------------------------------- */

static void set_expiry(struct transfer *transfer, const struct call *call)
{
    const struct http_request *request = transfer->request;
    int64_t timeout_ms = request->timeout_ms == 0 ? DEFAULT_TIMEOUT_MS : request->timeout_ms;
    transfer->expires_ms =
        timeout_ms == TRANSFER_FOREVER_MS ? INT64_MAX : transfer->started_ms + timeout_ms;
    transfer->expires_by_caller = false;
    if (call && call->deadline_ms != 0 && call->deadline_ms < transfer->expires_ms) {
        transfer->expires_ms = call->deadline_ms;
        transfer->expires_by_caller = true;
    }
}

/* The thread takes all that came before it was told to stop, and this refuses what comes after. */
static int submit(struct http_client *client, struct transfer *transfer, struct err *err)
{
    pthread_mutex_lock(&client->lock);
    bool stopping = client->stopping;
    if (!stopping) {
        transfer->next = client->incoming;
        client->incoming = transfer;
    }
    pthread_mutex_unlock(&client->lock);
    if (stopping) {
        return err_set(err, ERR_CANCELED, "Canceled", "the client is being closed");
    }
    transport_wake(client);
    return 0;
}

static void abort_transfer(struct http_client *client, struct transfer *transfer)
{
    atomic_store(&transfer->aborted, true);
    pthread_mutex_lock(&client->lock);
    client->aborts_wanted = true;
    pthread_mutex_unlock(&client->lock);
    transport_wake(client);
}

/* Until the transport thread is through with the transfer, which it always is in the end: it knows
 * the deadline, and cancellation is passed on. */
static void await(struct http_client *client, struct transfer *transfer, const struct call *call)
{
    struct pollfd descriptors[2] = {{.fd = transfer->done_fd, .events = POLLIN},
                                    {.fd = -1, .events = POLLIN}};
    if (call && call->cancel) {
        descriptors[1].fd = cancel_fd(call->cancel);
    }
    for (;;) {
        (void)poll(descriptors, ARRAY_COUNT(descriptors), -1);
        if (descriptors[0].revents != 0) {
            uint64_t count = 0;
            if (read(transfer->done_fd, &count, sizeof(count)) == sizeof(count)) {
                return;
            }
        }
        if (descriptors[1].revents != 0) {
            abort_transfer(client, transfer);
            descriptors[1].fd = -1;
            descriptors[1].revents = 0;
        }
    }
}

int http_client_perform(struct http_client *client, const struct call *call,
                        const struct http_request *request, struct http_response *ret,
                        struct err *err)
{
    http_response_release(ret);
    ret->retry_after_ms = -1;
    ret->lookup_us = -1;
    if (call_check(call, err) != 0) {
        return -1;
    }
    struct transfer *transfer = take_transfer(client, err);
    if (!transfer) {
        return -1;
    }
    transfer->request = request;
    transfer->response = ret;
    transfer->started_ms = clock_monotonic_ms();
    atomic_store(&transfer->aborted, false);
    set_expiry(transfer, call);
    int result = transfer_prepare(transfer, err);
    if (result == 0 && client->on_caller) {
        direct_perform(transfer, call);
    } else if (result == 0) {
        result = submit(client, transfer, err);
        if (result == 0) {
            await(client, transfer, call);
        }
    }
    if (result == 0) {
        result = transfer->result;
        if (result != 0) {
            *err = transfer->err;
        }
    }
    give_back_transfer(client, transfer);
    return result;
}

/* --- life ------------------------------------------------------------------------------------ */

static char *copy_or_null(const char *text)
{
    return text_is_empty(text) ? NULL : xstrdup(text);
}

static void client_release(struct http_client *client)
{
    while (client->spare) {
        struct transfer *transfer = client->spare;
        client->spare = transfer->next;
        transfer_free(transfer);
    }
    auto_release_fd(&client->epoll_fd);
    auto_release_fd(&client->wake_fd);
    tls_identity_unref(client->tls);
    pthread_cond_destroy(&client->callers_gone);
    pthread_mutex_destroy(&client->lock);
    free(client->name);
    free(client->user_agent);
    if (client->proxy_url) {
        explicit_bzero(client->proxy_url, strlen(client->proxy_url)); /* it may hold a password */
    }
    free(client->proxy_url);
    free(client);
}

int http_client_new(const struct http_client_config *config, const struct http_tls *tls,
                    struct http_client **ret, struct err *err)
{
    struct tls_identity *identity = NULL;
    if (tls_identity_new(tls, &identity, err) != 0) {
        return -1;
    }
    struct http_client *client = xcalloc(1, sizeof(*client));
    client->tls = identity;
    client->name = xstrdup(config->name ? config->name : "client");
    client->user_agent = xstrdup(config->user_agent);
    client->proxy_url = copy_or_null(config->proxy_url);
    client->proxy_from_environment = config->proxy_from_environment;
    client->on_caller = config->on_caller;
    client->disable_http2 = config->disable_http2 || config->on_caller;
    client->disable_compression = config->disable_compression;
    client->connect_timeout_ms = config->connect_timeout_ms;
    pthread_mutex_init(&client->lock, NULL);
    pthread_cond_init(&client->callers_gone, NULL);
    client->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    client->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int result = 0;
    if (client->epoll_fd < 0 || client->wake_fd < 0) {
        result = err_set(err, ERR_RETRY, "OutOfResources", "cannot open descriptors: %s",
                         errno_text(errno));
    } else if (!client->on_caller) {
        result = transport_start(client, err);
    }
    if (result != 0) {
        client_release(client);
        return -1;
    }
    *ret = client;
    return 0;
}

void http_client_free(struct http_client *client)
{
    if (!client) {
        return;
    }
    transport_end(client);
    pthread_mutex_lock(&client->lock);
    while (client->caller_count > 0) {
        pthread_cond_wait(&client->callers_gone, &client->lock);
    }
    pthread_mutex_unlock(&client->lock);
    client_release(client);
}

int http_client_set_tls(struct http_client *client, const struct http_tls *tls, struct err *err)
{
    struct tls_identity *identity = NULL;
    if (tls_identity_new(tls, &identity, err) != 0) {
        return -1;
    }
    pthread_mutex_lock(&client->lock);
    struct tls_identity *old = client->tls;
    client->tls = identity;
    /* No request that comes later may use the connections of now. */
    client->retire_wanted = !client->on_caller;
    client->generation++;
    pthread_mutex_unlock(&client->lock);
    tls_identity_unref(old);
    if (!client->on_caller) {
        transport_wake(client);
    }
    return 0;
}
