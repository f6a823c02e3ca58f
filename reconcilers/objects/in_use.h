/* A kind that tenants use (TenantTier, SandboxTemplate): its own status, and the label by which an
 * admission policy keeps it from being deleted while it is used. */
#ifndef TENANTRY_OBJECTS_IN_USE_H
#define TENANTRY_OBJECTS_IN_USE_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "controller/runtime/cache.h"
#include "controller/runtime/condition.h"
#include "controller/runtime/reconcile.h"
#include "reconcilers/model/work.h"

/* The object as its cache has it. */
struct in_use {
    const struct kube_resource *resource;
    struct cache *cache; /* takes what the server answers */
    const char *name;
    const char *uid;
    int64_t generation;
    int64_t observed_generation;
    bool label;
    int64_t tenants; /* as last written */
    const struct condition_set *conditions;
    const char *message; /* of Ready */
};

/* Write label and status if they differ from what `tenants` means; nothing else. */
MUST_CHECK int in_use_write(struct reconcile *rc, const struct services *services,
                            const struct in_use *object, int64_t tenants, struct err *err);

#endif
