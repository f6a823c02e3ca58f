/* The tenants that this gateway serves, found by host without a lock.
 *
 * A `struct record` is what the registry says of one tenant, with the answers that follow from it
 * already written out; it never changes. A `struct live` is what the gateway itself keeps of the
 * tenant while records of it come and go: its quota, its rate. A `struct table` is all records at
 * one moment; it never changes either, and is replaced as a whole.
 *
 * Readers (the front threads) look into the present table between tenants_enter and tenants_leave,
 * which cost one store each; a table that was replaced is freed once every reader has left since
 * (read-copy-update). A record that outlives that is kept by record_ref. */
#ifndef TENANTRY_GATEWAY_TENANTS_H
#define TENANTRY_GATEWAY_TENANTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/base/secret.h"
#include "controller/base/str.h"
#include "gateway/quota.h"
#include "gateway/rate.h"

enum { TENANTS_READERS_MAX = 64 };

struct live {
    atomic_int refs;
    char id[UUID_TEXT_BYTES];
    struct quota_slot requests; /* api_requests */
    struct rate rate;           /* the tier's requests a second */
    struct rate logins;         /* POST /api/login and /api/password */
    struct rate unknown;        /* credentials that turned out to be nobody's */
    _Atomic int64_t used_ms;    /* monotonic; the last request */
    atomic_bool wake;           /* a request came while the sandboxes slept */
};
struct live *live_new(const char *id);
void live_ref(struct live *live);
void live_unref(struct live *live); /* NULL is fine */

enum wake_mode { WAKE_HOLDS, WAKE_REFUSES };

/* What the registry says; texts are borrowed by record_new, which copies them. */
struct tenant_facts {
    const char *id;
    const char *name;
    const char *subdomain;
    const char *tier;
    const char *server;
    const char *database;
    const char *schema;
    const char *settings;        /* JSON text */
    const char *features;        /* JSON text, an array */
    int64_t requests_per_second; /* 0 = no limit */
    int64_t burst;
    bool suspended;
    bool fail_open;
    bool asleep;
    enum wake_mode wake;
};

struct record {
    atomic_int refs;
    struct live *live;
    struct tenant_facts facts; /* texts owned */
    struct str identity;       /* field lines X-Tenant-ID ... X-Tenant-Features, CR LF ended */
    char *memory;
};
/* live is referenced. */
struct record *record_new(const struct tenant_facts *facts, struct live *live);
void record_ref(struct record *record);
void record_unref(struct record *record); /* NULL is fine */
static inline void auto_release_record(struct record **record)
{
    record_unref(*record);
}

struct tenants;
/* domain: "tenants.localhost". */
struct tenants *tenants_new(const char *domain);
void tenants_free(struct tenants *tenants); /* no reader is left */

/* ---- readers; each has a number of its own below TENANTS_READERS_MAX ---- */

void tenants_enter(struct tenants *tenants, int reader);
void tenants_leave(struct tenants *tenants, int reader);
/* By a Host field's value, in any case, with a port and a final dot or without; NULL when no tenant
 * has it. Valid until tenants_leave. */
struct record *tenants_find(const struct tenants *tenants, struct str host);
/* Whether the table was ever filled. */
bool tenants_is_loaded(const struct tenants *tenants);

/* ---- the one writer ---- */

/* Replace the table: the records are the new one's, count of them; the array is copied. */
void tenants_replace(struct tenants *tenants, struct record *const *records, size_t count);
/* Put a record in the place of the one of that id, or add it; record NULL takes it out. */
void tenants_put(struct tenants *tenants, const char *id, struct record *record);
/* What the gateway keeps of a tenant, referenced for the caller; made if need be. Any thread. */
struct live *tenants_live(struct tenants *tenants, const char *id);
/* The same, but NULL when nothing is kept. */
struct live *tenants_live_if_known(struct tenants *tenants, const char *id);
/* Visit everything kept; under a lock, so be quick. */
void tenants_each_live(struct tenants *tenants, void (*visit)(void *context, struct live *live),
                       void *context);
/* The records in force, referenced, in an array that the caller frees. Writer only. */
struct record **tenants_list(struct tenants *tenants, size_t *ret_count);

#endif
