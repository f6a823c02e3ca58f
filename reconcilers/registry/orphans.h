/* Which of many tenant ids somebody still stands for. */
#ifndef TENANTRY_REGISTRY_ORPHANS_H
#define TENANTRY_REGISTRY_ORPHANS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "controller/runtime/reconcile.h"
#include "reconcilers/registry/registry.h"

struct registry_claim {
    const char *id;
    bool retained;           /* listed in tenant_retained: kept on purpose */
    const char *tenant_name; /* of a row in force, else "" */
    const char *tenant_uid;
};
/* What the registry knows of these ids; ids that are no UUID, or that it has never heard of, claim
 * nothing. *ret has one entry an id, in their order; in rc->arena. Reads only. */
MUST_CHECK int registry_claims(struct registry *registry, struct reconcile *rc,
                               const char *const *ids, size_t count, struct registry_claim **ret,
                               struct err *err);

/* How many things of deleted tenants are kept on the server. */
MUST_CHECK int registry_count_retained(struct registry *registry, struct reconcile *rc,
                                       const char *server, int64_t *ret_count, struct err *err);

#endif
