/* Spare databases: empty, closed, and ready to become a tenant's, which takes a rename where CREATE
 * DATABASE would copy a template. */
#ifndef TENANTRY_DATABASE_SPARES_H
#define TENANTRY_DATABASE_SPARES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/base/arena.h"
#include "controller/base/attributes.h"
#include "controller/base/call.h"
#include "controller/base/err.h"
#include "reconcilers/drivers/sql.h"
#include "reconcilers/model/tenant.h"

/* "tenantry_spare_1", "tenantry_spare_2", ...: numbers, so that two controllers that fill up at
 * once meet at a name and never make more than asked for. */
#define SPARE_PREFIX "tenantry_spare_"
#define SPARE_MARK "tenantry: spare"

struct spare {
    const char *name;
    bool ours;    /* the controller's role owns it, and it takes no connections */
    bool marked;  /* and bears SPARE_MARK, which it got last: PUBLIC has no right on it */
    bool dropped; /* a DROP was interrupted: only another one can follow */
};

/* Ready to be given away. */
static inline bool spare_is_ready(const struct spare *spare)
{
    return spare->ours && spare->marked && !spare->dropped;
}

enum spares_action { SPARES_KEEP, SPARES_CREATE, SPARES_MARK, SPARES_DROP };

struct spares_plan {
    enum spares_action action;
    const char *name; /* in the arena, or borrowed from what was seen */
    int64_t before;   /* how many are ready */
    int64_t after;    /* how many are, once it was done */
    bool more;        /* there is more to do afterwards */
};
/* The next thing to do so that `wanted` are ready. Never touches a database that is not ours. Pure.
 */
void spares_plan(struct arena *arena, const struct spare *seen, size_t count, int64_t wanted,
                 struct spares_plan *ret);

/* How many there should be: none on a server that takes no tenants. Pure. */
int64_t spares_wanted(const struct database_server *server, int64_t tenants);

/* conn: to the maintenance database. In the arena. */
MUST_CHECK int spares_observe(struct sql_conn *conn, const struct call *call, struct arena *arena,
                              struct spare **ret, size_t *ret_count, struct err *err);
/* Errors: CONFLICT/Conflict when another controller was faster, those of sql_exec. */
MUST_CHECK int spares_execute(struct sql_conn *conn, const struct call *call,
                              const struct spares_plan *plan, struct err *err);

/* Append the subquery that names the spare to make database `name` of, NULL when none is ready.
 * Which one depends on who asks, so that tenants that come at once seldom meet at the same. */
void spares_sql_choose(struct sql *query, const char *name);
/* Append to script, which runs in one transaction, what makes the spare the database `name` of role
 * `owner`, whom the controller can act as by then. Of two that take the same one, the second's
 * script fails as a whole. */
void spares_sql_take(struct sql *script, const char *spare, const char *name, const char *owner);

/* ---- keeping them ---- */

struct servers;
struct spares_state {
    int64_t ready;
    int64_t next_ms; /* when to come again for the next; 0 = nothing is left to do */
};
/* Do the next thing, if its time has come: CREATE DATABASE no more often than the server's object
 * says, whoever calls. Reads nothing where there are none and none are wanted. conn: to the
 * maintenance database. Errors: those of spares_observe and spares_execute. */
MUST_CHECK int spares_keep(struct servers *servers, struct sql_conn *conn, const struct call *call,
                           struct arena *arena, const struct database_server *server,
                           int64_t tenants, struct spares_state *ret, struct err *err);

#endif
