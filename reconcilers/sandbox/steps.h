/* The steps of the sandboxes: the tenant's namespace and everything of ours in it but Secrets.
 * Signatures as in struct step; subject is struct tenant_work. docs/sandboxes.md. */
#ifndef TENANTRY_SANDBOX_STEPS_H
#define TENANTRY_SANDBOX_STEPS_H

#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "controller/runtime/reconcile.h"

/* Namespace: tenant-<subdomain>, with our labels and the binding that lets the controller write the
 * tenant's objects there. TERMINAL/NameConflict when it exists and is not this tenant's. */
MUST_CHECK int namespace_ensure(struct reconcile *rc, void *subject, struct err *err);
/* Deletes it if it carries this Tenant's UID, whatever the policy: it holds no data. */
MUST_CHECK int namespace_finalize(struct reconcile *rc, void *subject, struct err *err);

#endif
