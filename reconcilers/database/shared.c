/* What the tenants of a server share, in isolation modes Schema and Row.
 *
 * It is a scope like a tenant's (mode_shared), seen and mended by the same code; only that it is
 * looked at by one tenant each half drift period, not by each of a hundred thousand. It outlives
 * them all: nothing here is dropped with a tenant. */
#include "reconcilers/database/database_internal.h"
#include "reconcilers/database/schema_internal.h"
#include "reconcilers/database/servers.h"

static bool stands(const struct tenant_work *work, const struct scope *scope, enum server_part part)
{
    return servers_part_stands(work->services->servers, scope->server, part,
                               work->services->drift_period_ms / 2);
}

static int ensure_rows(struct reconcile *rc, const struct tenant_work *work,
                       const struct scope *shared, struct err *err)
{
    if (stands(work, shared, SERVER_SHARED_ROWS)) {
        return 0;
    }
    if (schema_ensure_scope(rc, work, shared, err)) {
        return -1;
    }
    servers_note_part(work->services->servers, shared->server, SERVER_SHARED_ROWS);
    return 0;
}

int shared_ensure(struct reconcile *rc, const struct tenant_work *work, const struct scope *scope,
                  struct err *err)
{
    struct scope shared;

    scope_init_shared(&shared, rc->arena, scope->server, scope->database);
    if (!stands(work, &shared, SERVER_SHARED_DATABASE)) {
        if (database_ensure_scope(rc, work, &shared, err)) {
            return -1;
        }
        servers_note_part(work->services->servers, shared.server, SERVER_SHARED_DATABASE);
    }
    return scope->mode->rows_are_keyed ? ensure_rows(rc, work, &shared, err) : 0;
}
