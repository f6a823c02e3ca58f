/* What a tier costs and includes, as the registry keeps it: pure. */
#ifndef TENANTRY_REGISTRY_BILLING_PLAN_H
#define TENANTRY_REGISTRY_BILLING_PLAN_H

#include "controller/base/arena.h"
#include "reconcilers/model/tenant.h"

/* The JSON text of column plan of tenants (docs/billing.md): prices as strings, as the tier has
 * them; included are the tier's own limits, not a tenant's overrides of them. In the arena. */
const char *billing_plan_render(struct arena *arena, const struct tier *tier);

#endif
