/* Sandboxes as the other parts see them. */
#ifndef TENANTRY_SANDBOX_SANDBOX_H
#define TENANTRY_SANDBOX_SANDBOX_H

#include <stdbool.h>

#include "controller/base/arena.h"
#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "controller/runtime/outcome.h"
#include "controller/runtime/reconcile.h"
#include "reconcilers/model/work.h"

enum { ROUTE_LABEL_BYTES = 64, ROUTE_NAME_BYTES = 254 }; /* of RFC 1123 names, with the NUL */

/* How sandboxes are reached from outside of the cluster. */
struct route_settings {
    char gateway_namespace[ROUTE_LABEL_BYTES]; /* of a Gateway of the Gateway API; "" = none */
    char gateway[ROUTE_NAME_BYTES];
    char listener[ROUTE_NAME_BYTES];      /* of it; "" = all */
    char ingress_class[ROUTE_NAME_BYTES]; /* "" = none */
};
/* From flags: NAMESPACE/NAME or NAMESPACE/NAME/LISTENER, and the name of an IngressClass; "" each:
 * none. Errors: TERMINAL/InvalidOption. */
MUST_CHECK int route_settings_parse(const char *gateway, const char *ingress_class,
                                    struct route_settings *ret, struct err *err);

/* Whether the namespace and the controller's binding in it, as far as the watches know, are as they
 * should be. Asks nobody. */
bool namespace_stands(const struct services *services, struct arena *arena,
                      const struct tenant *tenant);
/* Whether everything of ours in the tenant's namespace, as far as the watches know, is as the
 * Tenant and its tier want it, and the status says so. Asks nobody. */
bool sandboxes_stand(const struct services *services, struct arena *arena,
                     const struct tenant *tenant, const struct tier *tier);

/* The status of a SandboxTemplate: how many tenants use it. environment: struct services. */
struct outcome sandbox_template_reconcile(struct reconcile *rc);

#endif
