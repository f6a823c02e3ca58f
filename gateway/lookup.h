/* Look up whose a token is: a key by its hash in the tenant's database, a session by its signature
 * and then its user there. What comes of it is put into the cache (gateway/auth.h). */
#ifndef TENANTRY_GATEWAY_LOOKUP_H
#define TENANTRY_GATEWAY_LOOKUP_H

#include <stdbool.h>

#include "controller/base/attributes.h"
#include "controller/base/hash.h"
#include "controller/base/str.h"
#include "gateway/gateway.h"
#include "gateway/tenants.h"
#include "gateway/wait.h"

enum { LOOKUP_TOKEN_MAX_BYTES = 512 };

/* Start one in a worker. The waiter, which may be NULL, is woken with WAIT_AGAIN or WAIT_FAULT.
 * False when there is too much to do already. */
MUST_CHECK bool lookup_start(struct gateway *gateway, struct record *record, struct str token,
                             const unsigned char digest[SHA256_BYTES], struct waiter *waiter);

#endif
