/* What the parts of one gateway share: made in main.c, with the lifetime of the process. */
#ifndef TENANTRY_GATEWAY_GATEWAY_H
#define TENANTRY_GATEWAY_GATEWAY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "controller/base/secret.h"

struct gateway {
    struct tenants *tenants;
    struct auth *auth;
    struct sessions *sessions;
    struct quota *quota;
    struct places *places;
    struct workers *workers; /* statements in tenants' databases */
    struct workers *hashers; /* password hashes */
    struct feed *feed;
    struct sql_pool *registry;  /* for the API */
    unsigned char platform[32]; /* SHA-256 of the platform's own token */
    bool has_platform;
    unsigned char payments[32]; /* and that of whoever takes payments */
    bool has_payments;
    struct trust *trust; /* whose X-Forwarded-Host counts */
    char replica[UUID_TEXT_BYTES];
    /* Monotonic: until then what is known from the registry counts as true. 0 = it cannot be
     * reached. */
    _Atomic int64_t fresh_until_ms;
    _Atomic int64_t replica_count; /* gateways alive, this one included */
    atomic_bool draining;          /* SIGTERM came */
};

#endif
