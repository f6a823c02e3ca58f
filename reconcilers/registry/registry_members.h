/* The people of a tenant that its spec names, in tenant_users. */
#ifndef TENANTRY_REGISTRY_MEMBERS_H
#define TENANTRY_REGISTRY_MEMBERS_H

#include <stdbool.h>
#include <stddef.h>

#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "controller/runtime/reconcile.h"
#include "reconcilers/registry/registry.h"

struct member_row {
    const char *email;
    const char *role;
    const char *status;
    bool managed; /* the spec names this person, or did */
};

/* Everybody, in the reconcile's arena. */
MUST_CHECK int registry_members_list(struct registry *registry, struct reconcile *rc,
                                     const char *tenant_id, const struct member_row **ret,
                                     size_t *ret_count, struct err *err);

enum member_change { MEMBER_ROW_ACTIVE, MEMBER_ROW_DISABLED, MEMBER_ROW_GONE };
/* people: [{"email":…,"role":…}]; the role matters to ACTIVE alone. One statement. */
MUST_CHECK int registry_members_write(struct registry *registry, struct reconcile *rc,
                                      const char *tenant_id, enum member_change change,
                                      const char *people, struct err *err);

#endif
