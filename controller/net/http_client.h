/* An HTTP client for many threads: one transport thread runs a curl multi handle, HTTP/2 where the
 * server speaks it, many requests on few connections. A caller blocks in http_client_perform until
 * its request is done, its deadline passes or it is canceled; a body can be streamed to a callback
 * instead.
 *
 * TLS 1.2 or newer, verification always on unless the configuration's `insecure` says otherwise;
 * https and http only; redirects are not followed; key material stays in memory. Dead connections
 * are found by TCP keep-alive (30 s) and TCP_USER_TIMEOUT, and by the idle timeout of a stream; a
 * request that timed out takes its connection with it, since a multiplexed connection would be
 * reused. A request that is no read (GET, HEAD) is sent at most once. */
#ifndef TENANTRY_NET_HTTP_CLIENT_H
#define TENANTRY_NET_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/base/buf.h"
#include "controller/base/call.h"
#include "controller/base/err.h"
#include "controller/base/secret.h"
#include "controller/base/str.h"

struct http_client;

/* Trust and identity; all PEM, all may be empty. Copied by whoever keeps it. */
struct http_tls {
    struct str ca_pem; /* empty: the system's store */
    struct str certificate_pem;
    const struct secret *key_pem;
    const char *server_name; /* SNI and verification name; NULL: the URL's host */
    bool insecure;           /* no verification at all */
};

/* Whether all of it parses and belongs together. Errors: TERMINAL/InvalidTLS. */
MUST_CHECK int http_tls_check(const struct http_tls *tls, struct err *err);

/* Seconds since the first certificate of the PEM became valid; -1 when it holds none. */
int64_t http_certificate_age_s(struct str pem);

struct http_client_config {
    const char *name;            /* of the thread: "api", "watch", "lease" */
    const char *user_agent;      /* required */
    const char *proxy_url;       /* NULL: none; http, https or socks5 */
    bool proxy_from_environment; /* without proxy_url: HTTPS_PROXY, http_proxy, NO_PROXY */
    bool disable_http2;
    bool disable_compression;
    /* No thread: a request goes on its caller's, which saves handing it over. For clients that ask
     * one thing after another: connections are not shared, and HTTP/2 is not spoken. */
    bool on_caller;
    long connect_timeout_ms; /* 0 = 30 s, TCP and TLS together */
};

struct http_header {
    const char *name;
    const char *value;
};

/* Called on the transport thread or the caller's, first with an empty piece once the head of a 2xx
 * answer is there (so that a silent stream is known to be open), then with each piece of its body.
 * Must not block and must not call the client. Returning -1 with *err filled ends the request with
 * that error. */
typedef int (*http_data_fn)(void *context, struct str data, struct err *err);

struct http_request {
    const char *method; /* "GET", "PATCH", ... */
    const char *url;
    const struct http_header *headers;
    size_t header_count;
    const struct secret *bearer;         /* NULL: none. Left out unless the URL is https. */
    const char *basic_user;              /* the same */
    const struct secret *basic_password; /* with basic_user */
    struct str body;
    const char *content_type;
    int64_t timeout_ms;        /* whole request; 0 = 30 s; -1 = none (streams) */
    int64_t idle_timeout_ms;   /* no byte for this long: RETRY/ConnectionSilent; 0 = none */
    size_t response_max_bytes; /* of a body that is kept; 0 = 16 MiB */
    http_data_fn on_data;      /* NULL: the body is kept in the response */
    void *on_data_context;
};

struct http_response {
    int status;
    struct buf body;        /* with on_data: the start (64 KiB) of an answer that is not 2xx */
    int64_t retry_after_ms; /* from Retry-After, seconds or date; -1 = none */
    char content_type[96];
    char flow_schema_uid[40]; /* X-Kubernetes-PF-FlowSchema-UID, "" if none */
    char etag[128];           /* as it stands there, "" if none */
    int64_t content_length;   /* as announced; -1 = not */
    int64_t duration_ms;
    int64_t lookup_us;   /* of the host's name, for a connection made for this; -1 = none was */
    bool reached_server; /* false: certain that the server did not get the request */
};
/* Free the body; the response is empty afterwards, and may be used again. */
void http_response_release(struct http_response *response);
static inline void auto_release_http_response(struct http_response *response)
{
    http_response_release(response);
}

/* Once per process, before threads. Makes the process ignore SIGPIPE, which a write to a closed TLS
 * connection would raise. */
void http_global_init(void);

/* Start the transport thread, if it is to have one. tls may be NULL. Caller frees. Errors:
 * TERMINAL/InvalidTLS. */
MUST_CHECK int http_client_new(const struct http_client_config *config, const struct http_tls *tls,
                               struct http_client **ret, struct err *err);
/* Cancels what is under way, ends the thread. All callers must have returned or be returning. */
void http_client_free(struct http_client *client);

/* Use other trust or identity for connections made from now on, and close the old ones once their
 * requests end. Errors: TERMINAL/InvalidTLS, and then nothing has changed. */
MUST_CHECK int http_client_set_tls(struct http_client *client, const struct http_tls *tls,
                                   struct err *err);

/* Do one request. Any status is a success of this call: the caller judges it. *ret must be zeroed
 * or released; it is filled also on failure as far as known (reached_server). Thread-safe, blocks.
 * Errors: RETRY/ConnectionFailed (no connection: refused, DNS, handshake), RETRY/ConnectionLost,
 * RETRY/ConnectionSilent, RETRY/Timeout, TERMINAL/TLSVerificationFailed, TERMINAL/ResponseTooLarge,
 * TERMINAL/InvalidRequest, CANCELED/Canceled, RETRY/DeadlineExceeded, and whatever on_data
 * returned. */
MUST_CHECK int http_client_perform(struct http_client *client, const struct call *call,
                                   const struct http_request *request, struct http_response *ret,
                                   struct err *err);

#endif
