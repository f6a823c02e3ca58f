/* The listener: a few threads, each with an epoll loop and a listening socket of its own on the
 * same port (SO_REUSEPORT), so that they share nothing on the way of a request. A connection stays
 * with its thread.
 *
 * In the steady state a request costs one epoll_wait, one recv and one send, and allocates nothing:
 * it is read into a buffer of the thread's, decided where it lies, and answered from another. Only
 * a request that comes in pieces, or has to wait for somebody, is given memory of its own.
 *
 * Everything that a stranger controls has a bound: 16 KiB of head, 100 fields, 64 KiB of body, 10 s
 * to send a head, 30 s a body, 75 s of silence between requests, a number of connections; when that
 * is reached, whoever was silent for longest makes room. */
#ifndef TENANTRY_GATEWAY_FRONT_H
#define TENANTRY_GATEWAY_FRONT_H

#include <stddef.h>
#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "gateway/gateway.h"

struct front_config {
    const char *address; /* "127.0.0.1:3000", "[::]:3000", ":3000"; port 0 picks a free one */
    int threads;
    int connections_max;
    const char *certificate_file; /* PEM; NULL: no TLS */
    const char *key_file;
    /* How long a peer may take: a head or handshake; a request with its body; nothing of an answer;
     * between requests. */
    int64_t head_ms;
    int64_t body_ms;
    int64_t write_ms;
    int64_t idle_ms;
    int64_t drain_ms; /* how long connections may go on after front_drain */
};

struct front;
/* Listen and serve. Errors: TERMINAL/InvalidAddress, TERMINAL/ListenFailed, those of tls_new. */
MUST_CHECK int front_new(struct gateway *gateway, const struct front_config *config,
                         struct front **ret, struct err *err);
int front_port(const struct front *front);
/* Take no new connections, and end each after the answer under way; returns when none is left, or
 * the time is over. */
void front_drain(struct front *front);
void front_free(struct front *front);

#endif
