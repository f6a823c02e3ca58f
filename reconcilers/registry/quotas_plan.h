/* Which limits a tenant has, and what in tenant_quotas differs from them: pure. */
#ifndef TENANTRY_REGISTRY_QUOTAS_PLAN_H
#define TENANTRY_REGISTRY_QUOTAS_PLAN_H

#include <stddef.h>
#include <stdint.h>

#include "controller/base/arena.h"
#include "reconcilers/model/tenant.h"

/* A row of tenant_quotas. */
struct quota_row {
    const char *resource;
    int64_t used;
    int64_t limit; /* as stored: unlimited is INT64_MAX */
};

/* -1 (unlimited) is stored as the largest bigint. */
int64_t quota_stored(int64_t limit);

/* The tier's limits under the tenant's overrides, sorted by resource, -1 kept. tier may be NULL.
 * Names are borrowed, the array is in the arena. */
const struct quota *quotas_effective(struct arena *arena, const struct tier *tier,
                                     const struct tenant *tenant, size_t *ret_count);
/* NULL when there is none of that name. */
const struct quota *quotas_find(const struct quota *quotas, size_t count, const char *resource);

struct quotas_plan {
    const struct quota **set; /* missing, or with another limit */
    size_t set_count;
    const struct quota_row **remove; /* no longer named by tier or tenant */
    size_t remove_count;
};
void quotas_plan(struct arena *arena, const struct quota *wanted, size_t wanted_count,
                 const struct quota_row *rows, size_t row_count, struct quotas_plan *ret);

/* NULL, or in the arena what is used above its limit: "users: 7 used of 5; ...". Of absolute
 * resources only: compute_hours and api_requests start again each month, and are simply refused. */
const char *quotas_excess(struct arena *arena, const struct quota *wanted, size_t wanted_count,
                          const struct quota_row *rows, size_t row_count);

#endif
