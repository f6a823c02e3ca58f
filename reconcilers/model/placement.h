/* Which database server a new tenant gets. Reads the cache of DatabaseServers; no I/O of its own.
 */
#ifndef TENANTRY_MODEL_PLACEMENT_H
#define TENANTRY_MODEL_PLACEMENT_H

#include <stdint.h>

#include "controller/base/arena.h"
#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "controller/runtime/cache.h"
#include "reconcilers/model/tenant.h"

/* How many tenants a server carries: rows of (server, count). */
struct server_load {
    const char *server;
    int64_t tenants;
};

/* `wanted` when it is not "" (it must exist, and neither be going nor being drained), else the
 * schedulable server that the tier's placement matches, with capacity left, carrying the fewest
 * tenants (ties by name); one that could not be reached when it was looked at comes after all that
 * could.
 * ret_server is in the arena. Errors: WAIT/NoServer and WAIT/CapacityExhausted with the names and
 * numbers looked at: they heal by themselves once a server is added or freed. */
MUST_CHECK int placement_choose(struct cache *database_servers, struct arena *arena,
                                const struct tier *tier, const char *wanted,
                                const struct server_load *loads, size_t load_count,
                                const char **ret_server, struct err *err);

#endif
