/* The head of an HTTP/1.1 request (RFC 9112), read strictly: what two readers could take for two
 * different requests is refused, not repaired. Refused are Content-Length beside Transfer-Encoding,
 * either of them twice or in a list, lines folded or ended by a bare LF, white space before a
 * colon, control characters anywhere, two Hosts, two Authorizations, a request line of any other
 * shape than `METHOD SP origin-form SP HTTP/1.x`. Pure; allocates nothing; the views point into the
 * bytes given. */
#ifndef TENANTRY_GATEWAY_REQUEST_H
#define TENANTRY_GATEWAY_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/base/str.h"

enum {
    REQUEST_HEAD_MAX_BYTES = 16 * 1024,
    REQUEST_HEADERS_MAX = 100,
    REQUEST_BODY_MAX_BYTES = 64 * 1024,
};

enum request_method {
    METHOD_GET,
    METHOD_HEAD,
    METHOD_POST,
    METHOD_DELETE,
    METHOD_OTHER,
};

struct request {
    enum request_method method;
    struct str path;           /* begins with '/'; without the query */
    struct str query;          /* behind '?', may be empty */
    struct str host;           /* empty when HTTP/1.0 gave none */
    struct str authorization;  /* empty when there is none */
    struct str forwarded_host; /* X-Forwarded-Host; empty when there is none, or more than one */
    int64_t content_length;    /* 0 when there is none */
    size_t head_bytes;         /* with the empty line */
    bool keep_alive;
    bool expects_continue;
    int refusal; /* of REQUEST_BAD: the status to answer with */
};

enum request_state {
    REQUEST_MORE,  /* the head is not complete */
    REQUEST_READY, /* *ret is filled */
    REQUEST_BAD,   /* answer with ret->refusal and close */
};

enum request_state request_parse(struct str bytes, struct request *ret);

/* The token of `Authorization: Bearer TOKEN` (RFC 6750); empty when it is of another scheme, has no
 * token or a malformed one. */
struct str request_bearer(struct str authorization);

#endif
