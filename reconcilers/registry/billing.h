/* Billing inside the registry (docs/billing.md). All arithmetic is PostgreSQL's, in functions of
 * the registry's migrations; here is when they are called. */
#ifndef TENANTRY_REGISTRY_BILLING_H
#define TENANTRY_REGISTRY_BILLING_H

#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/base/call.h"
#include "controller/base/err.h"
#include "controller/runtime/outcome.h"
#include "controller/runtime/queue.h"
#include "controller/runtime/reconcile.h"
#include "reconcilers/drivers/sql.h"

struct registry;

/* Afterwards the tenant's billing periods reach up to today, and its tier and price are noted from
 * today on, or that it is no more. Idempotent; part of the caller's transaction if there is one. */
MUST_CHECK int billing_follow(struct sql_conn *conn, const struct call *call, const char *id,
                              struct err *err);

/* The duty of the leader that meters, opens and closes periods, and settles bills: a controller
 * with one key, BILLING_KEY, that looks again after period_ms, and when an hour begins. Nothing is
 * written when nothing was used and no edge was passed. Any number may run at once. */
struct billing_duty {
    struct registry *registry;
    struct queue *tenants; /* those that have to be looked at, since they are held or let go */
    int64_t period_ms;
    int64_t
        full_hour; /* hours since 1970 in which every open bill was looked at last; 0 at first */
};
extern const char BILLING_KEY[];
struct outcome billing_reconcile(struct reconcile *rc); /* environment: struct billing_duty */

#endif
