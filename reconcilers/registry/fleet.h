/* Upgrades of many tenants: a few go first, and each wave that follows is as large as all before it
 * together; once one failed nobody else begins. Who is at it, who is done and what failed stands in
 * fleet_upgrades, so that any number of controllers, and a new one after a crash, go by the same.
 *
 * A target is what tenants are upgraded to, in words: "schema 2", or of a tenant's own migrations
 * "migrations CONFIGMAP LAST-FILE CHECKSUM". */
#ifndef TENANTRY_REGISTRY_FLEET_H
#define TENANTRY_REGISTRY_FLEET_H

#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "controller/runtime/reconcile.h"
#include "reconcilers/registry/registry.h"

/* The tenant may begin; it says with fleet_end how it went. Safe to repeat. Errors, until its turn
 * comes: WAIT/UpgradeWaiting, WAIT/UpgradeStopped, naming whom it waits for, and to be asked again
 * the later the more tenants there are. */
MUST_CHECK int fleet_begin(struct registry *registry, struct reconcile *rc, const char *tenant_id,
                           const char *target, size_t fleet_size, struct err *err);
/* failure: NULL when it went well. One that only a change can mend (TERMINAL) stops the others at
 * once, one that passes by itself after ten tries. */
MUST_CHECK int fleet_end(struct registry *registry, struct reconcile *rc, const char *tenant_id,
                         const char *target, const struct err *failure, struct err *err);

/* What the tenant has now: into its row in tenants, and an upgrade to that is done. */
MUST_CHECK int fleet_put_schema(struct registry *registry, struct reconcile *rc,
                                const char *tenant_id, int64_t version, struct err *err);
MUST_CHECK int fleet_put_migrations(struct registry *registry, struct reconcile *rc,
                                    const char *tenant_id, const char *target, int64_t applied,
                                    struct err *err);

#endif
