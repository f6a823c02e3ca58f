/* Sandboxes that sleep: a tenant whose tier says spec.idle.scaleToZeroAfter and whom nobody has
 * asked anything through the gateway for that time has its sandboxes scaled to zero, and back with
 * the next request (docs/sandboxes.md).
 *
 * Who sleeps is decided in the registry (tenant_activity, migrations/0015): by one clock, so that
 * two leaders agree, and for good, so that a restart wakes nobody. A request that meets a sleeping
 * tenant makes the gateway ask for a wake-up, of which the registry tells by LISTEN; the sandboxes
 * are scaled up, and when they are available the tenant is said to be awake, which lets the
 * requests go on that the gateway holds. Thread-safe. */
#ifndef TENANTRY_SANDBOX_IDLE_H
#define TENANTRY_SANDBOX_IDLE_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "controller/runtime/cache.h"
#include "controller/runtime/outcome.h"
#include "controller/runtime/reconcile.h"

struct idle;
struct registry;

enum idle_state {
    IDLE_AWAKE,
    IDLE_ASLEEP,
    IDLE_WAKING, /* sandboxes are to run again; requests are still held */
};

/* tiers tell whether any has a policy: without one, and with nobody asleep, the registry is neither
 * connected to nor asked. period_ms: the longest time between two looks. Borrowed: all. Before
 * tiers is fed, which it listens to. */
struct idle *idle_new(struct registry *registry, struct cache *tiers, struct cache *tenants,
                      int64_t period_ms);
void idle_free(struct idle *idle);
/* own: the queue of idle_reconcile. tenants: where to put the name of one who falls asleep, is to
 * wake, or is awake. */
void idle_wire(struct idle *idle, struct queue *own, struct queue *tenants);

/* Look at who is due, and listen for wake-ups for some seconds. environment: struct idle. One
 * worker only. */
struct outcome idle_reconcile(struct reconcile *rc);

/* Until the registry was asked for the first time, nobody is known to sleep. NULL: known, and
 * nobody does. */
bool idle_is_known(struct idle *idle);
enum idle_state idle_state_of(struct idle *idle, const char *tenant_id);
/* Before that: ask about one tenant; nothing is asked afterwards. */
MUST_CHECK int idle_learn(struct idle *idle, struct reconcile *rc, const char *tenant_id,
                          struct err *err);
/* What is to run of a tenant that is waking does: it is awake. */
MUST_CHECK int idle_end(struct idle *idle, struct reconcile *rc, const char *tenant_id,
                        struct err *err);

#endif
