/* The Tenant and TenantTier controllers, and who wakes whom. */
#ifndef TENANTRY_TENANT_TENANT_H
#define TENANTRY_TENANT_TENANT_H

#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "controller/runtime/controller.h"
#include "reconcilers/model/work.h"

/* The environment of the two reconcile functions. */
struct tenant_environment {
    struct services services;
};

struct outcome tenant_reconcile(struct reconcile *rc);
/* Remove what days of grace kept and are over. The key is TENANT_PURGE_LIST, which looks for such
 * tenants and comes again by itself, or a registry id. */
struct outcome tenant_purge(struct reconcile *rc);
#define TENANT_PURGE_LIST "due"
/* Status of a tier: how many tenants use it, and the label that keeps a used one from deletion. */
struct outcome tier_reconcile(struct reconcile *rc);

/* The queues that changes in the caches are routed to. */
struct tenant_wake {
    struct queue *tenants;
    struct queue *tiers;
    struct queue *database_servers;
    struct queue *watchdogs; /* of database servers too */
    struct queue *sandbox_templates;
    struct queue *object_stores;
    const struct services *services;
};
/* Listen to the caches: a changed Tenant wakes itself, and its tier, server, store and templates
 * for their counts; a changed TenantTier, DatabaseServer, ObjectStore or SandboxTemplate wakes the
 * tenants that use it, or wait for one; and what happened to an object of a tenant wakes that. Call
 * before the caches are fed; wake must outlive them. */
void tenant_wake_install(struct tenant_wake *wake);

/* Once at start: that the table of steps is sound. */
MUST_CHECK int tenant_steps_check(struct err *err);

#endif
