/* A kind that tenants use: its own status, and the label by which an admission policy keeps it from
 * being deleted while it is used. */
#ifndef TENANTRY_OBJECTS_IN_USE_H
#define TENANTRY_OBJECTS_IN_USE_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "controller/base/jsonw.h"
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
    int64_t tenants;                        /* as last written */
    const struct condition_set *conditions; /* as last written */
    const char *message;                    /* of Ready, for in_use_write */
};

/* Write the label if it says otherwise. */
MUST_CHECK int in_use_write_label(struct reconcile *rc, const struct services *services,
                                  const struct in_use *object, bool in_use, struct err *err);
/* Members of the status beside observedGeneration, tenants and conditions. */
typedef void (*in_use_more_fn)(struct jsonw *writer, const void *context);
/* Write the status, which has been compared already. more NULL: nothing beside. */
MUST_CHECK int in_use_write_status(struct reconcile *rc, const struct services *services,
                                   const struct in_use *object, int64_t tenants,
                                   const struct condition_set *conditions, in_use_more_fn more,
                                   const void *context, struct err *err);
/* Of a kind that has but the condition Ready, which is always true (TenantTier, SandboxTemplate):
 * write label and status if they differ from what `tenants` means; nothing else. */
MUST_CHECK int in_use_write(struct reconcile *rc, const struct services *services,
                            const struct in_use *object, int64_t tenants, struct err *err);

#endif
