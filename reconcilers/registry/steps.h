/* The steps that live in the registry. Signatures as in struct step; subject is struct tenant_work.
 */
#ifndef TENANTRY_REGISTRY_STEPS_H
#define TENANTRY_REGISTRY_STEPS_H

#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "controller/runtime/reconcile.h"

/* Registered: the row in `tenants` of this Tenant's UID, with the id that lasts, and the place
 * decided. Also mirrors name, tier, status, limits, plan and cycle into it, when they differ.
 * A row of another Tenant is taken over only when that Tenant is gone, as the API server itself
 * says, and annotation adopt names its id or the program was told to adopt orphans; a deleted one
 * by the annotation alone.
 * Errors: TERMINAL/NameConflict (subdomain of another live Tenant, or retained things bear it: both
 * ways out are printed), WAIT/NoServer, WAIT/CapacityExhausted, CONFLICT/Conflict
 * (another was faster). */
MUST_CHECK int record_ensure(struct reconcile *rc, void *subject, struct err *err);
/* For a tenant that is being deleted: work->tenant_id and work->place from the row of its UID,
 * marked deleted or not; both stay empty when there never was one, and then nothing is this
 * Tenant's. Writes nothing. */
MUST_CHECK int record_find(struct reconcile *rc, void *subject, struct err *err);
/* status deleted, deleted_at set; the row stays. Success when there never was one of this UID. */
MUST_CHECK int record_finalize(struct reconcile *rc, void *subject, struct err *err);

/* Registered: the tenant's billing period runs, at the price of its tier, from the day on which it
 * got that tier; work->billing is what the status shows of it. A deletion ends with the record. */
MUST_CHECK int billing_ensure(struct reconcile *rc, void *subject, struct err *err);

/* QuotasReady: one tenant_quotas row a resource: the tier's limits under the tenant's overrides; -1
 * is stored as the largest bigint. current_usage is never touched. Rows of resources that neither
 * tier nor tenant names any more are removed. */
MUST_CHECK int quotas_ensure(struct reconcile *rc, void *subject, struct err *err);

#endif
