/* What the files of the front share: front.c the loop, conn.c the bytes of a connection, serve.c
 * what is done with a request, reply.c how answers are written. Everything here belongs to one
 * front thread. */
#ifndef TENANTRY_GATEWAY_FRONT_INTERNAL_H
#define TENANTRY_GATEWAY_FRONT_INTERNAL_H

#include <openssl/types.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/base/buf.h"
#include "gateway/front.h"
#include "gateway/request.h"
#include "gateway/wait.h"

enum {
    FRONT_IN_BYTES = REQUEST_HEAD_MAX_BYTES + REQUEST_BODY_MAX_BYTES,
    FRONT_OUT_BYTES = 64 * 1024,
    FRONT_ANSWER_MAX_BYTES = 8 * 1024, /* of what is written into the thread's buffer at once */
    HTTP_DATE_BYTES = 30,
};

/* Counted by each thread for itself, added up when somebody asks. */
enum outcome_kind {
    OUTCOME_ALLOWED,
    OUTCOME_API,
    OUTCOME_PAGE,
    OUTCOME_UNKNOWN_TENANT,
    OUTCOME_SUSPENDED,
    OUTCOME_UNAUTHORIZED,
    OUTCOME_PASSWORD,
    OUTCOME_RATE,
    OUTCOME_QUOTA,
    OUTCOME_ASLEEP,
    OUTCOME_UNAVAILABLE,
    OUTCOME_FAULT,
    OUTCOME_REFUSED, /* a malformed request, or one past a limit */
    OUTCOME_COUNT,
};

struct api_call;
struct front_thread;

enum conn_wait {
    CONN_READS,       /* waits for bytes */
    CONN_WAITS,       /* for somebody who will wake it */
    CONN_WAITS_AWAKE, /* for the tenant's sandboxes: looked at from time to time */
};

struct conn {
    struct waiter waiter; /* first: a waiter is its connection */
    struct front_thread *thread;
    struct conn *prev, *next; /* all of the thread, the one that was active last in front */
    int fd;
    SSL *ssl; /* NULL: plain */
    bool handshaken;
    bool from_trusted; /* the peer's X-Forwarded-Host counts */
    enum conn_wait wait;
    enum wait_result woken;
    int64_t deadline_ms;  /* monotonic */
    int64_t wait_from_ms; /* the request has been waiting since then; 0: none waits */
    int64_t partial_ms;   /* a request has been incomplete since then; 0: none is */
    bool has_woken;       /* woken says with what */
    bool rate_passed;     /* of the request that waits: it was counted already */
    bool readable;        /* bytes came while it was waiting */
    bool hung_up;         /* the peer is gone; free it once nobody will wake it */
    bool closing;         /* when all is sent */
    bool lingering;       /* all is sent; what still comes is thrown away until the peer closes */
    bool dead;            /* freed at the end of the batch of events */
    bool continued;       /* 100 Continue was sent */
    bool body_waits;      /* the head is complete, its body is not */
    char *in;             /* bytes of a request not answered yet; NULL: none */
    size_t in_length;
    size_t in_capacity;
    struct buf out; /* what the peer did not take yet */
    size_t out_sent;
    struct api_call *call; /* under way, or done */
};

struct front_thread {
    struct front *front;
    const struct front_config *config; /* the front's */
    struct gateway *gateway;
    struct auth_hasher *hasher;
    pthread_t thread;
    int index; /* as a reader of the tenants */
    int epoll_fd;
    int listen_fd;
    int wake_fd;
    int64_t now_ms;
    int64_t now_us;
    int64_t date_s;
    char date[HTTP_DATE_BYTES]; /* "Sun, 06 Nov 1994 08:49:37 GMT" */
    struct conn conns;          /* the head of the list */
    struct conn *dead;          /* by next */
    int conn_count;
    pthread_mutex_t lock;
    struct waiter *woken; /* under lock */
    size_t out_length;
    _Atomic uint64_t outcomes[OUTCOME_COUNT];
    _Atomic int64_t connections;
    _Atomic uint64_t accepted;
    char in[FRONT_IN_BYTES];
    char out[FRONT_OUT_BYTES];
};

/* ---- conn.c ---- */

/* A new connection in the list, its socket not yet watched. */
struct conn *conn_new(struct front_thread *thread, int fd, SSL *ssl);
/* Bytes came, or room for some: read, serve what is complete, write. Ends the connection when it is
 * over. */
void conn_work(struct conn *conn);
/* It was woken, or is looked at again while it waits: decide anew. */
void conn_resume(struct conn *conn);
/* Close it now; its memory goes when nobody will wake it any more, by conn_bury. */
void conn_end(struct conn *conn);
/* Free what ended: between two batches of events. */
void conn_bury(struct front_thread *thread);
/* Whether it only waits for a next request. */
bool conn_is_idle(const struct conn *conn);

/* ---- serve.c ---- */

enum served {
    SERVED_ANSWERED, /* an answer is in the thread's buffer, or in conn->out */
    SERVED_WAITS,    /* conn->wait says for what; the request's bytes must be kept */
};
/* Decide about one whole request, whose body is at `body`. */
enum served serve(struct conn *conn, const struct request *request, const char *body);
void serve_count(struct front_thread *thread, enum outcome_kind outcome);
/* A request that cannot be read: an answer of that status, and the connection closes. */
void serve_refusal(struct conn *conn, int status);

#endif
