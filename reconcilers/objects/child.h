/* What the cache keeps of one object that belongs to a tenant: whose it is, a hash of what it says,
 * and how a Deployment fares. Never the object itself. */
#ifndef TENANTRY_OBJECTS_CHILD_H
#define TENANTRY_OBJECTS_CHILD_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/base/arena.h"
#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "controller/base/hash.h"
#include "controller/runtime/cache.h"

/* The kinds that are watched, by the label app.kubernetes.io/managed-by=tenantry. A cluster may
 * lack those from CHILD_OPTIONAL on: they are made of CustomResourceDefinitions of others. */
enum child_kind {
    CHILD_DEPLOYMENT,
    CHILD_SERVICE,
    CHILD_SERVICE_ACCOUNT,
    CHILD_RESOURCE_QUOTA,
    CHILD_LIMIT_RANGE,
    CHILD_NETWORK_POLICY,
    CHILD_ROLE_BINDING,
    CHILD_NAMESPACE,
    CHILD_ROLE, /* in the operator's own namespace alone */
    CHILD_INGRESS,
    CHILD_HTTP_ROUTE,
    CHILD_SERVICE_MONITOR,
    CHILD_POD_MONITOR,
    CHILD_PROMETHEUS_RULE,
    CHILD_KIND_COUNT,
};
enum { CHILD_OPTIONAL = CHILD_HTTP_ROUTE }; /* the first of those that a cluster may lack */
extern const struct codec child_codecs[CHILD_KIND_COUNT];

struct child {
    const char *tenant; /* labels; "" when absent */
    const char *tenant_uid;
    bool deleting;
    /* Of all that the object says but status and metadata, and of its labels. */
    struct hash128 content;
    /* Deployments */
    int64_t generation;
    int64_t observed_generation;
    int64_t replicas;    /* asked for */
    int64_t updated;     /* of the newest template */
    int64_t ready;       /* running, and passing their probe */
    int64_t available;   /* ready for long enough */
    const char *failure; /* why Pods cannot be made or do not come up; "" = they can */
};

/* Strings in the arena. Errors: TERMINAL/InvalidObject. */
MUST_CHECK int child_decode(struct str json, struct arena *arena, struct child *ret,
                            struct err *err);
void child_unpack(const struct record *record, struct arena *arena, struct child *ret);

/* Whether a Deployment runs as many copies as it should, of what it should. */
bool child_is_available(const struct child *child);

#endif
