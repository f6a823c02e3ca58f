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

/* Rules: ResourceQuota, LimitRange, NetworkPolicy, ServiceAccount and RoleBindings. Every further
 * error is one of children_apply. */
MUST_CHECK int sandbox_rules_ensure(struct reconcile *rc, void *subject, struct err *err);

/* Sandboxes: Deployment and Service of each, with the copies that may run now; those that the spec
 * no longer lists are removed. ERR_WAIT/SandboxStarting until they are available,
 * RETRY/SandboxFailed when Kubernetes says that they will not be, TERMINAL/QuotaExceeded when the
 * spec lists more than the quota allows, TERMINAL/TemplateNotFound. */
MUST_CHECK int sandboxes_ensure(struct reconcile *rc, void *subject, struct err *err);

#endif
