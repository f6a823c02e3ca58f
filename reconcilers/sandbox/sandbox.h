/* Sandboxes as the other parts see them. */
#ifndef TENANTRY_SANDBOX_SANDBOX_H
#define TENANTRY_SANDBOX_SANDBOX_H

#include <stdbool.h>

#include "controller/base/arena.h"
#include "controller/runtime/outcome.h"
#include "controller/runtime/reconcile.h"
#include "reconcilers/model/work.h"

/* Whether everything of ours in the tenant's namespace, as far as the watches know, is as the
 * Tenant and its tier want it, and the status says so. Asks nobody. */
bool sandboxes_stand(const struct services *services, struct arena *arena,
                     const struct tenant *tenant, const struct tier *tier);

/* The status of a SandboxTemplate: how many tenants use it. environment: struct services. */
struct outcome sandbox_template_reconcile(struct reconcile *rc);

#endif
