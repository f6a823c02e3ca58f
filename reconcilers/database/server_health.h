/* What a look at a database server finds: whether it serves, what the controller may do there, and
 * what is open that should not be. For server_reconcile.c and tests. */
#ifndef TENANTRY_DATABASE_SERVER_HEALTH_H
#define TENANTRY_DATABASE_SERVER_HEALTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/base/arena.h"
#include "controller/base/attributes.h"
#include "controller/base/buf.h"
#include "controller/base/call.h"
#include "controller/base/err.h"
#include "reconcilers/drivers/sql.h"

struct server_health {
    const char *version; /* "15.14" */
    int version_number;  /* 150014 */
    int64_t max_connections;
    bool read_only;
    /* The controller's role. */
    const char *role;
    bool creates_databases;
    bool creates_roles;
    bool ends_sessions; /* member of pg_signal_backend */
    bool sees_sessions; /* member of pg_read_all_stats: what the watchdog needs */
    bool superuser;
    bool bypasses_rls;
    bool inherits;
    /* tenantry_app and tenantry_gateway. */
    bool has_shared_roles;
    bool shared_roles_too_strong; /* one of them is superuser, or bypasses row-level security */
    /* Databases that every role may connect to. */
    const char *const *open_databases;
    size_t open_count;
};

/* One look; writes nothing. Strings in the arena. */
MUST_CHECK int server_observe(struct sql_conn *conn, const struct call *call, struct arena *arena,
                              struct server_health *ret, struct err *err);

/* What keeps tenants from being made, with the statement that grants it; 0 when nothing does. Pure.
 * Errors: RETRY/InsufficientPrivilege, RETRY/DatabaseReadOnly, TERMINAL/VersionUnsupported. */
MUST_CHECK int server_check_able(const struct server_health *health, struct err *err);
/* The statements that close what is open, separated by blanks; nothing when all is closed. Pure. */
void server_describe_open(const struct server_health *health, struct buf *out);

/* tenantry_app and tenantry_gateway exist. */
MUST_CHECK int server_make_shared_roles(struct sql_conn *conn, const struct call *call,
                                        struct err *err);

#endif
