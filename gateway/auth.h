/* Who is calling: what is known of credentials, without asking anybody.
 *
 * A token is known by its SHA-256, under the tenant that it was shown to, so that no comparison
 * here tells anything about a token by its time. What is known is forgotten after at most
 * AUTH_KNOWN_MS, or when told to. Tokens that are nobody's are remembered too, apart, so that they
 * cannot crowd out the good ones. Fixed memory; any thread. */
#ifndef TENANTRY_GATEWAY_AUTH_H
#define TENANTRY_GATEWAY_AUTH_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/base/hash.h"
#include "controller/base/secret.h"
#include "controller/base/str.h"

enum {
    AUTH_KNOWN_MS = 8 * 1000, /* a change by SQL shows after this */
    AUTH_AGING_MS = 2 * 1000, /* before its end a look-up in good time keeps it known */
    AUTH_UNKNOWN_MS = 4 * 1000,
    AUTH_ROLE_BYTES = 16,
};

/* A user, or a key without one. */
struct principal {
    char user_id[UUID_TEXT_BYTES]; /* "" for a key that belongs to nobody */
    char role[AUTH_ROLE_BYTES];    /* owner, admin, member */
    bool must_change_password;     /* and came with a session, so that it matters */
};

enum auth_answer {
    AUTH_KNOWN,
    AUTH_AGING, /* known, and soon forgotten: this caller, and no other, should look it up again */
    AUTH_REFUSED,   /* nobody's, as was found a moment ago */
    AUTH_UNDECIDED, /* look it up */
};

struct auth;
struct auth *auth_new(void);
void auth_free(struct auth *auth);

/* A digest of one token; the context belongs to one thread. */
struct auth_hasher;
struct auth_hasher *auth_hasher_new(void);
void auth_hasher_free(struct auth_hasher *hasher);
void auth_digest(struct auth_hasher *hasher, struct str token, unsigned char ret[SHA256_BYTES]);

enum auth_answer auth_find(struct auth *auth, const char *tenant_id,
                           const unsigned char digest[SHA256_BYTES], int64_t now_ms,
                           struct principal *ret);
/* Moves with each forgetting. Taken before a look-up begins and given to auth_store, it keeps what
 * was looked up before a revocation from being stored after it for long. */
uint64_t auth_epoch(const struct auth *auth);
/* principal NULL: it is nobody's. until_ms: monotonic, cut to the times above. */
void auth_store(struct auth *auth, const char *tenant_id, const unsigned char digest[SHA256_BYTES],
                const struct principal *principal, int64_t until_ms, uint64_t epoch);

void auth_forget_digest(struct auth *auth, const char *tenant_id,
                        const unsigned char digest[SHA256_BYTES]);
/* user_id NULL: everybody of the tenant. */
void auth_forget_user(struct auth *auth, const char *tenant_id, const char *user_id);
/* Everything: after notifications were missed. */
void auth_forget_all(struct auth *auth);

#endif
