/* What the registry knows of a tenant's two login slots (kinds login_a and login_b of
 * tenant_credentials): digests of their passwords, which of them the connection Secret names, and
 * what a rotation has left to do. All times are the registry server's, in seconds since 1970. */
#ifndef TENANTRY_REGISTRY_LOGINS_H
#define TENANTRY_REGISTRY_LOGINS_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "controller/base/hash.h"
#include "controller/runtime/reconcile.h"
#include "reconcilers/registry/registry.h"

enum { LOGIN_SLOTS = 2, LOGIN_REQUEST_BYTES = 257 };

enum login_state {
    LOGIN_NONE,     /* never made, or only its digest is known */
    LOGIN_CURRENT,  /* the Secret names it */
    LOGIN_NEXT,     /* being made, not handed out yet */
    LOGIN_RETIRING, /* may still be used by whoever has not seen the new Secret */
    LOGIN_RETIRED,  /* closed */
};

struct login_record {
    char digest[SHA256_TEXT_BYTES]; /* "" if none */
    enum login_state state;
    int64_t issued_s; /* when the digest was written */
    int64_t retire_s; /* RETIRING: closed at the latest then */
    int64_t seen_s;   /* RETIRING: a session of it was seen last */
};

struct login_records {
    struct login_record slots[LOGIN_SLOTS];
    int current;                       /* index of the slot that the Secret is to name */
    char request[LOGIN_REQUEST_BYTES]; /* the annotation last answered */
    int64_t now_s;
};

MUST_CHECK int registry_logins_get(struct registry *registry, struct reconcile *rc,
                                   const char *tenant_id, struct login_records *ret,
                                   struct err *err);
/* The password of this digest is in force in the current slot. request: what counts as answered if
 * it is the tenant's first. *ret_issued_s: now. */
MUST_CHECK int registry_logins_put(struct registry *registry, struct reconcile *rc,
                                   const char *tenant_id, int slot, const char *digest,
                                   const char *request, int64_t *ret_issued_s, struct err *err);
/* The slot is about to get the password of this digest. */
MUST_CHECK int registry_logins_begin(struct registry *registry, struct reconcile *rc,
                                     const char *tenant_id, int slot, const char *digest,
                                     struct err *err);
/* The Secret names the slot: it is the current one, and the other one retires within overlap_s. In
 * one statement. */
MUST_CHECK int registry_logins_switch(struct registry *registry, struct reconcile *rc,
                                      const char *tenant_id, int slot, const char *request,
                                      int64_t overlap_s, struct err *err);
/* A session of the retiring slot was seen now. */
MUST_CHECK int registry_logins_seen(struct registry *registry, struct reconcile *rc,
                                    const char *tenant_id, int slot, struct err *err);
MUST_CHECK int registry_logins_retired(struct registry *registry, struct reconcile *rc,
                                       const char *tenant_id, int slot, struct err *err);

#endif
