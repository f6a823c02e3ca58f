/* The fence around a tenant's tables, in statements (fence_sql.c): on a connection to the tenant's
 * database, by the controller's own role. rows_fence is in rows.c. */
#ifndef TENANTRY_DATABASE_FENCE_INTERNAL_H
#define TENANTRY_DATABASE_FENCE_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/base/call.h"
#include "controller/base/err.h"
#include "reconcilers/database/database_internal.h"
#include "reconcilers/drivers/sql.h"

struct fence_seen {
    int64_t open;      /* tables without it */
    int64_t fenced;    /* tables with it */
    bool has_function; /* the function behind it stands, and is ours word for word */
};
MUST_CHECK int fence_observe(struct sql_conn *conn, const struct call *call,
                             const struct scope *scope, struct fence_seen *ret, struct err *err);
/* Every table has it; none has. Each in one transaction. Errors: RETRY/LockTimeout when somebody
 * holds a table for long. */
MUST_CHECK int fence_raise(struct sql_conn *conn, const struct call *call,
                           const struct scope *scope, struct err *err);
MUST_CHECK int fence_lower(struct sql_conn *conn, const struct call *call,
                           const struct scope *scope, struct err *err);
/* Give back to the disk what deleted rows held, as far as a plain VACUUM can: the tenant itself may
 * not do it where the tables are not its own. What is locked is left for the next time. */
MUST_CHECK int fence_vacuum(struct sql_conn *conn, const struct call *call,
                            const struct scope *scope, struct err *err);

/* Around the rows that tenants share: the tenant's logins are marked so, or not, if they are not
 * yet. changed: how many were marked otherwise. Nothing is written when none was. */
MUST_CHECK int rows_fence(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                          bool spent, int64_t *ret_changed, struct err *err);

/* What the function says; the listing of the tenant schema knows it by that. */
const char *fence_body(void);

#endif
