/* How tenants fare: health checks by the controller, what they say in metrics, and a tenant's own
 * view of its use. docs/monitoring.md.
 *
 * Each active tenant is checked once a period, with jitter, by a few workers of their own: as many
 * at once as there are workers, each for some seconds at most, so that the cost is bounded whatever
 * hangs; with many tenants the period grows. A check logs in to the tenant's database with the
 * tenant's own Secret and reads. What came of it is kept in memory: a change wakes the tenant,
 * whose step Monitoring then says so in its condition. Timings are in metrics alone. Thread-safe.
 */
#ifndef TENANTRY_MONITORING_MONITOR_H
#define TENANTRY_MONITORING_MONITOR_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "controller/runtime/outcome.h"
#include "controller/runtime/queue.h"
#include "controller/runtime/reconcile.h"
#include "reconcilers/model/work.h"

struct monitor;

/* services is borrowed; listens to its cache of tenants, so call it before that is fed. */
struct monitor *monitor_new(const struct services *services, int64_t period_ms);
void monitor_free(struct monitor *monitor);
/* Where checks wait for their turn, and where tenants do. */
void monitor_wire(struct monitor *monitor, struct queue *checks, struct queue *tenants);

/* Check the tenant that the key names. environment: struct monitor. */
struct outcome monitor_reconcile(struct reconcile *rc);

/* Whether the tenant's condition says what the last check found, as far as there was one; true for
 * NULL. */
bool monitor_agrees(struct monitor *monitor, const struct tenant *tenant);

/* The step Monitoring: the tenant was checked and is well; its ConfigMap <subdomain>-tenant shows
 * it its own settings, limits and use. RETRY/ProbeFailed. */
MUST_CHECK int monitoring_ensure(struct reconcile *rc, void *subject, struct err *err);

/* The step MonitoringObjects: ServiceMonitor, PodMonitor and PrometheusRule "tenantry" in the
 * tenant's namespace, each where the cluster has the kind. Errors are those of children_apply. */
MUST_CHECK int monitoring_objects_ensure(struct reconcile *rc, void *subject, struct err *err);
/* Whether they are as they should be, as far as the watches know. Asks nobody. */
bool monitoring_objects_stand(const struct services *services, struct arena *arena,
                              const struct tenant *tenant, const struct tier *tier);
/* What --monitor-label may be: "", or NAME=VALUE of a label that Kubernetes takes and that is not
 * the controller's own. Errors: TERMINAL/InvalidOption, which says what is wrong. Pure. */
MUST_CHECK int monitor_label_check(const char *label, struct err *err);

#endif
