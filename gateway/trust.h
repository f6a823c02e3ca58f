/* Peers whose X-Forwarded-Host counts: a list of networks. */
#ifndef TENANTRY_GATEWAY_TRUST_H
#define TENANTRY_GATEWAY_TRUST_H

#include <stdbool.h>
#include <sys/socket.h>

#include "controller/base/attributes.h"
#include "controller/base/err.h"

struct trust;
/* "10.0.0.0/8,::1,192.0.2.7"; "" trusts nobody. Errors: TERMINAL/InvalidOption. */
MUST_CHECK int trust_new(const char *networks, struct trust **ret, struct err *err);
void trust_free(struct trust *trust);
bool trust_has(const struct trust *trust, const struct sockaddr *peer);

#endif
