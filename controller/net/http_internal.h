/* The seam between the files of the HTTP client; nobody else includes it.
 *
 *   http_client.c     what callers see: take a transfer, hand it over, wait, cancel
 *   http_transfer.c   one request as a curl easy handle: options, callbacks, errors
 *   http_transport.c  the thread: connection pools, sockets, timers
 *   http_direct.c     or none: the request on its caller's thread
 *   http_tls.c        trust and identity: checked once, then shared and immutable */
#ifndef TENANTRY_NET_HTTP_INTERNAL_H
#define TENANTRY_NET_HTTP_INTERNAL_H

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>

#include "controller/net/http_client.h"

/* Trust and identity as new connections use them. Shared by reference; immutable. */
struct tls_identity {
    atomic_int references;
    char *ca_pem; /* NULL: the system's store */
    size_t ca_length;
    char *certificate_pem;
    size_t certificate_length;
    struct secret key;
    char *server_name;
    bool insecure;
};

MUST_CHECK int tls_identity_new(const struct http_tls *tls, struct tls_identity **ret,
                                struct err *err);
/* One holder more, and one less, which may be of NULL; the last one frees it. Any thread. */
struct tls_identity *tls_identity_ref(struct tls_identity *identity);
void tls_identity_unref(struct tls_identity *identity);

/* Connections that may be shared: one curl multi handle. A retired pool gets no new request and
 * goes, with all its connections, when its last request ends. */
struct pool {
    struct pool *next;
    struct http_client *client;
    CURLM *multi;
    uint32_t id;
    size_t active_count;
    int64_t timer_at_ms; /* when curl wants to be called; -1 = not */
    bool retired;
};

enum { TRANSFER_FOREVER_MS = -1 };

/* One request under way. Its caller owns it but for the time between submission and the signal on
 * done_fd, when the transport thread does. */
struct transfer {
    struct transfer *next; /* in the list of incoming, active or spare ones */
    struct transfer *previous;
    struct http_client *client;
    CURL *easy;
    int done_fd; /* eventfd, kept for the life of the struct; -1 in a client without a thread */
    CURLM *own;  /* of a client without a thread: where its connections live; else NULL */
    uint64_t generation; /* of the client when own was made */
    atomic_bool aborted;

    /* The request, set up by the caller. */
    const struct http_request *request;
    struct http_response *response;
    struct tls_identity *tls;
    struct curl_slist *headers;
    struct curl_slist *connect_to;
    int64_t started_ms;
    int64_t expires_ms;     /* INT64_MAX: never */
    bool expires_by_caller; /* by the call's deadline rather than the request's own timeout */
    char curl_text[CURL_ERROR_SIZE];

    /* The transport thread's. */
    struct pool *pool;
    int64_t last_byte_ms;
    size_t header_bytes;
    int sent_count; /* how often curl began to send it */
    int result;     /* 0 or -1 with err */
    bool doubtful;  /* it ended so that nothing should be asked over its connection any more */
    struct err err;
};

/* Make the easy handle ready. Errors: TERMINAL/InvalidRequest. */
MUST_CHECK int transfer_prepare(struct transfer *transfer, struct err *err);
/* When it is to end, by its time-outs and its caller's deadline; INT64_MAX: never. */
int64_t transfer_expiry_ms(const struct transfer *transfer);
/* Give it the error of having expired, unless it has one; it is concluded after that. False, and
 * nothing changed, when it has not expired. */
bool transfer_expire(struct transfer *transfer, int64_t now_ms);
/* The same with the error of being canceled, at any time. */
void transfer_cancel(struct transfer *transfer);
/* Fill response and result from what curl says about the end. */
void transfer_conclude(struct transfer *transfer, CURLcode code);
/* The value of a Retry-After header in milliseconds, at most a day; -1 when it is NULL or neither
 * seconds nor a date. */
int64_t transfer_retry_after_ms(const char *value);
/* Wipe what holds secrets and let go of everything that belongs to one request. */
void transfer_reset(struct transfer *transfer);

struct http_client {
    char *name;
    char *user_agent;
    char *proxy_url;
    bool proxy_from_environment;
    bool disable_http2;
    bool disable_compression;
    bool on_caller; /* there is no thread: wake_fd tells callers of the end, and stays so */
    long connect_timeout_ms;

    int epoll_fd;
    int wake_fd; /* eventfd: something below changed */
    pthread_t thread;

    pthread_mutex_t lock; /* guards what follows, held for moments only */
    pthread_cond_t callers_gone;
    size_t caller_count;
    bool stopping;
    bool retire_wanted;
    bool aborts_wanted;
    struct transfer *incoming; /* newest first */
    struct transfer *spare;
    size_t spare_count;
    struct tls_identity *tls;
    uint64_t generation; /* transfers with connections of an earlier one are not spares */

    /* The transport thread's alone. */
    struct pool *pools; /* newest first */
    uint32_t last_pool_id;
    struct transfer *active;
    int64_t next_expiry_ms; /* no active transfer expires before */
};

/* A multi handle for a transfer of a client without a thread. */
CURLM *direct_new(void);
/* Do it, here and now; result and response are filled. */
void direct_perform(struct transfer *transfer, const struct call *call);

/* Start the thread. Errors: RETRY/OutOfResources. */
MUST_CHECK int transport_start(struct http_client *client, struct err *err);
/* Whatever is under way is to end as canceled; when this returns the thread, if there is one, is
 * gone. */
void transport_end(struct http_client *client);
/* Tell the thread that the guarded part of the client changed. */
void transport_wake(struct http_client *client);

#endif
