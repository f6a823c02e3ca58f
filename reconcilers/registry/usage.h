/* Usage that somebody else than the metering of tenant_quotas knows: hours of sandboxes, levels of
 * what is measured. Rows are only ever added to the ledger, each once by its key (docs/billing.md).
 * One source a resource: what is recorded here with kind USAGE_LEVEL must not be counted in
 * current_usage by others as well. */
#ifndef TENANTRY_REGISTRY_USAGE_H
#define TENANTRY_REGISTRY_USAGE_H

#include <stddef.h>
#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "controller/runtime/reconcile.h"

struct registry;

enum usage_kind {
    USAGE_COUNT, /* so much was used; of a resource that starts again each month, current_usage
                    counts it too, by whole units */
    USAGE_LEVEL, /* so much is in use from then on, until the next row */
};

struct usage {
    const char *resource; /* as in tenant_quotas: "compute_hours" */
    enum usage_kind kind;
    const char *quantity; /* a decimal number, at most six digits after the point: "0.25" */
    int64_t used_at_us;   /* wall time; of a span of time its beginning. Whoever counts spans cuts
                             them at the end of a month. */
    const char *key;      /* the same for the same usage, however often it is delivered */
    const char *source;   /* who delivers it: "sandbox" */
};

/* All of them are in the ledger afterwards, and bill and quota have followed; none if it fails. A
 * row that stands there already is left alone. Usage of a period that is closed counts in the next.
 * Errors: TERMINAL/UsageConflict when a key was used for something else. */
MUST_CHECK int usage_record(struct registry *registry, struct reconcile *rc, const char *tenant_id,
                            const struct usage *items, size_t count, struct err *err);

#endif
