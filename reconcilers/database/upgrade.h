/* A step that changes a tenant which serves already, as part of an upgrade of the whole fleet. */
#ifndef TENANTRY_DATABASE_UPGRADE_H
#define TENANTRY_DATABASE_UPGRADE_H

#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "reconcilers/model/work.h"

/* Do run(context) when it is the tenant's turn (registry/fleet.h), and say how it went; at once for
 * a tenant that was never complete. Errors: those of run; WAIT/UpgradeWaiting, WAIT/UpgradeStopped.
 */
MUST_CHECK int upgrade_run(struct reconcile *rc, const struct tenant_work *work, const char *target,
                           int (*run)(void *context, struct err *err), void *context,
                           struct err *err);

#endif
