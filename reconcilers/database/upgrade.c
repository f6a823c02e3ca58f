/* A crash between the upgrade and the word of it costs nothing: the tenant keeps its turn, and its
 * version is noted when the status learns of it (fleet_put_schema, fleet_put_migrations). */
#include "reconcilers/database/upgrade.h"

#include "reconcilers/database/database_internal.h"
#include "reconcilers/registry/fleet.h"

int upgrade_run(struct reconcile *rc, const struct tenant_work *work, const char *target,
                int (*run)(void *context, struct err *err), void *context, struct err *err)
{
    const struct services *services = work->services;
    struct err of_end;

    if (!database_was_complete(work)) {
        return run(context, err);
    }
    if (fleet_begin(services->registry, rc, work->tenant_id, target, cache_count(services->tenants),
                    err)) {
        return -1;
    }
    int result = run(context, err);
    if (result && err->cls == ERR_CANCELED) {
        return -1;
    }
    if (fleet_end(services->registry, rc, work->tenant_id, target, result ? err : NULL, &of_end) &&
        result == 0) {
        *err = of_end;
        return -1;
    }
    return result;
}
