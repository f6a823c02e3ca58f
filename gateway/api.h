/* The tenant API: what a request asks for beyond a decision, done by workers in the tenant's own
 * database, in one transaction under row-level security. */
#ifndef TENANTRY_GATEWAY_API_H
#define TENANTRY_GATEWAY_API_H

#include <stdbool.h>

#include "controller/base/buf.h"
#include "controller/base/hash.h"
#include "gateway/auth.h"
#include "gateway/gateway.h"
#include "gateway/request.h"
#include "gateway/tenants.h"
#include "gateway/wait.h"
#include "gateway/workers.h"

enum {
    API_WITHOUT_LOGIN = 1,   /* nobody need be known */
    API_WITHOUT_QUOTA = 2,   /* consumes none */
    API_PASSWORD_CHANGE = 4, /* open to who must change his password first */
    API_PLATFORM = 16,       /* for the platform's own token, and nobody else */
    API_SLOW = 8,            /* hashes a password: rate-limited, by threads of its own */
    API_PAYMENTS = 32,       /* for the token of whoever takes payments, and nobody else */
    API_SUSPENDED = 64,      /* open to suspended tenants too */
};

struct api_call;
struct api_route {
    enum request_method method;
    int flags;
    const char *path; /* ends with '/': one segment more, the item's name */
    void (*run)(struct api_call *call);
};
/* NULL when there is no such path; *ret_path_known says whether another method has it. */
const struct api_route *api_find(const struct request *request, bool *ret_path_known);

enum { API_ITEM_BYTES = 128 };

struct api_call {
    struct job job;
    struct gateway *gateway;
    struct record *record; /* referenced */
    const struct api_route *route;
    struct principal principal;
    unsigned char digest[SHA256_BYTES]; /* of the token that was shown */
    char item[API_ITEM_BYTES];          /* the path's last segment, of routes that have one */
    struct buf body;
    struct waiter *waiter;
    /* The answer. */
    int status;
    struct buf answer; /* JSON, or empty with 204 */
};

/* Hand it to a worker; the waiter is woken when the answer is there. NULL when there is too much to
 * do already. The caller frees. */
struct api_call *api_start(struct gateway *gateway, struct record *record,
                           const struct api_route *route, const struct request *request,
                           const char *body, const struct principal *principal,
                           const unsigned char digest[SHA256_BYTES], struct waiter *waiter);
void api_call_free(struct api_call *call); /* NULL is fine */

#endif
