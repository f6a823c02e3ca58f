/* What limits a tenant's sessions where a setting cannot: settings of a role are defaults, which
 * the role may change in its session. */
#ifndef TENANTRY_DATABASE_WATCHDOG_H
#define TENANTRY_DATABASE_WATCHDOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/base/arena.h"
#include "controller/base/attributes.h"
#include "controller/base/call.h"
#include "controller/base/err.h"
#include "controller/runtime/outcome.h"
#include "controller/runtime/reconcile.h"
#include "reconcilers/drivers/sql.h"

/* The controller "watchdog": rc->key names a DatabaseServer. Ends the sessions of tenants there
 * that go too far, with an Event on the DatabaseServer for each, and comes again every 5 s. Reads
 * one query of pg_stat_activity; writes nothing when there is nobody to end. rc->environment is
 * struct services. */
struct outcome watchdog_patrol(struct reconcile *rc);

/* Times in ms; the tenant's own stand in the mark of its login. */
struct watchdog_limits {
    const char *shared_database; /* where tenants can be in each other's way */
    int64_t shared_idle_ms;      /* idle in a transaction there */
    int64_t shared_lock_ms;      /* a transaction that holds others up, or is about to */
    int64_t grace_ms;            /* over a tenant's own times, since its settings should end it */
};
extern const struct watchdog_limits watchdog_limits; /* but for the database */

struct offender {
    int64_t pid;
    const char *started; /* with the pid, one session for ever */
    const char *login;
    const char *database;
    const char *what; /* "idle in a transaction for 31 s" */
    bool locks;       /* it holds or wants a strong lock: see watchdog_confirm */
};
/* Who goes too far; strings in the arena. Needs pg_read_all_stats: without it nobody is seen. */
MUST_CHECK int watchdog_observe(struct sql_conn *conn, const struct call *call, struct arena *arena,
                                const struct watchdog_limits *limits, struct offender **ret,
                                size_t *ret_count, struct err *err);
/* Whether an offender's strong locks are on tables that others share, and not on temporary ones of
 * its own. conn: to the offender's database. */
MUST_CHECK int watchdog_confirm(struct sql_conn *conn, const struct call *call,
                                const struct offender *offender, bool *ret, struct err *err);
/* A session that is gone meanwhile is a success. */
MUST_CHECK int watchdog_end(struct sql_conn *conn, const struct call *call,
                            const struct offender *offender, struct err *err);

#endif
