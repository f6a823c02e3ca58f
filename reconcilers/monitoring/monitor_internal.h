/* What the files of this folder share; nobody else includes it. */
#ifndef TENANTRY_MONITORING_INTERNAL_H
#define TENANTRY_MONITORING_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "controller/runtime/reconcile.h"
#include "reconcilers/model/work.h"

/* ---- probe.c ---- */

/* Log in with the tenant's own Secret and read from its schema. Errors say what is wrong. */
MUST_CHECK int probe_database(struct reconcile *rc, const struct services *services,
                              const struct tenant *tenant, struct err *err);
/* List the tenant's first bucket with the tenant's own Secret. The tenant has one. */
MUST_CHECK int probe_bucket(struct reconcile *rc, const struct services *services,
                            const struct tenant *tenant, struct err *err);

/* ---- monitor_metrics.c ---- */

void monitor_metrics_register(void);
/* Series of the tenant follow it; before or after may be NULL. */
void monitor_metrics_follow(const struct tenant *before, const struct tenant *after);
void monitor_metrics_probe(const char *tenant, const char *probe, bool ok, double seconds);
void monitor_metrics_quotas(const struct tenant_work *work);

/* ---- tenant_object.c ---- */

/* The ConfigMap that the tenant may read: written if it differs. */
MUST_CHECK int tenant_object_ensure(struct reconcile *rc, const struct tenant_work *work,
                                    struct err *err);

#endif
