/* The steps about object storage. Signatures as in struct step; subject is struct tenant_work. */
#ifndef TENANTRY_STORAGE_STEPS_H
#define TENANTRY_STORAGE_STEPS_H

#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "controller/runtime/reconcile.h"

/* StorageReady, first part: each bucket that the spec, or else the tier, names stands in the
 * tenant's store, marked as the tenant's, with versions, encryption and closed to the public as far
 * as the store can. One that is no longer named stays, with what is in it, out of reach of the
 * tenant's key. Without any ObjectStore in the cluster a tenant that names none itself has none.
 * Errors: RETRY/StoreNotFound, TERMINAL/NameConflict (a bucket of the name that is not this
 * tenant's), TERMINAL/InvalidName (too long with the store's prefix), and the store's own. */
MUST_CHECK int buckets_ensure(struct reconcile *rc, void *subject, struct err *err);
/* By policy: listed in tenant_retained, or removed with all that is in them. Nothing is touched
 * that does not bear the tenant's mark. Errors: TERMINAL/NameConflict never; the store's own, such
 * as RETRY/StorageForbidden when an object is locked. */
MUST_CHECK int buckets_finalize(struct reconcile *rc, void *subject, struct err *err);

/* What the tenant uses of storage_mb (its buckets but the one for backups, and its database) is
 * measured at drift checks and stands in tenant_quotas; work->storage_spent says whether nothing is
 * left. Old versions and uploads are removed on the way where the store does not do it by itself.
 */
MUST_CHECK int storage_usage_ensure(struct reconcile *rc, void *subject, struct err *err);

/* StorageReady, last part: the tenant's user with a policy on exactly its buckets, its key, and the
 * Secret with all that a client needs; proven by a look with that key. Two keys at most: after a
 * rotation the one before works on for an hour. Suspended: no key works. Nothing left of
 * storage_mb: no object can be written.
 * Errors: TERMINAL/NameConflict (a user of the name that is not ours),
 * RETRY/StorageCredentialsMissing (Static), and the store's own. */
MUST_CHECK int storage_keys_ensure(struct reconcile *rc, void *subject, struct err *err);
/* Neither user nor keys are left, whatever the policy: they are made anew when the buckets are
 * taken back. */
MUST_CHECK int storage_keys_finalize(struct reconcile *rc, void *subject, struct err *err);

#endif
