/* compute_hours: how long copies of a tenant's sandboxes have run, observed, and held to the quota.
 *
 * The watch of Deployments tells how many copies are ready; between two of its events that many
 * run. What was observed goes into the registry in spans that follow each other without overlap:
 * the registry keeps until when a tenant is metered, and takes a span only if it begins there or
 * later, in one transaction with the row of usage that it makes. So nothing is counted twice, not
 * by two leaders and not when an answer is lost. The time without an observer, as in a restart, is
 * bridged when it is short, with the smaller of the numbers before and after; a longer one is
 * marked in the usage ledger with a quantity of 0, and nobody pays for it. Thread-safe. */
#ifndef TENANTRY_SANDBOX_METER_H
#define TENANTRY_SANDBOX_METER_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/runtime/cache.h"
#include "controller/runtime/outcome.h"
#include "controller/runtime/reconcile.h"

struct meter;
struct registry;

/* tenants tells ids. period_ms: how often observed time is written down; more often in a tenant's
 * last hour. Borrowed: all. Before deployments is fed, which it listens to. */
struct meter *meter_new(struct registry *registry, struct cache *tenants, struct cache *deployments,
                        int64_t period_ms);
void meter_free(struct meter *meter);
/* Where to put a tenant's name when its hours are spent, or are there again. */
void meter_wake(struct meter *meter, struct queue *tenants);

/* Write down what was observed, for all tenants. environment: struct meter. */
struct outcome meter_reconcile(struct reconcile *rc);

/* Whether this month's hours of the tenant are used up, as far as is known; false for NULL. */
bool meter_is_spent(struct meter *meter, const char *tenant);
/* What the registry said just now. */
void meter_set_spent(struct meter *meter, const char *tenant, bool spent);

#endif
