/* The statements behind a tenant's row. Each takes an open connection; reads write nothing. */
#ifndef TENANTRY_REGISTRY_RECORD_SQL_H
#define TENANTRY_REGISTRY_RECORD_SQL_H

#include <stddef.h>

#include "controller/base/arena.h"
#include "controller/base/attributes.h"
#include "controller/base/call.h"
#include "controller/base/err.h"
#include "reconcilers/drivers/sql.h"
#include "reconcilers/model/placement.h"
#include "reconcilers/model/tenant.h"
#include "reconcilers/registry/record_plan.h"

struct record_observed {
    struct record_candidate *candidates; /* in force first; in the arena */
    size_t count;
    /* As PostgreSQL would store them; NULL when there is no candidate to compare with. */
    const char *mrr; /* NULL too without a tier */
    struct record_documents documents;
};

/* Every row that may concern the tenant: by UID, by subdomain, by the id that it wants to adopt. */
MUST_CHECK int record_observe(struct sql_conn *conn, const struct call *call, struct arena *arena,
                              const struct tenant *tenant, const struct tier *tier,
                              const struct record_documents *documents, struct record_observed *ret,
                              struct err *err);
/* Only by UID, the one in force first. */
MUST_CHECK int record_observe_own(struct sql_conn *conn, const struct call *call,
                                  struct arena *arena, const struct tenant *tenant,
                                  struct record_observed *ret, struct err *err);

/* How many tenants are on each server. */
MUST_CHECK int record_loads(struct sql_conn *conn, const struct call *call, struct arena *arena,
                            struct server_load **ret, size_t *ret_count, struct err *err);

/* Insert a row of these values, mrr from the tier's price. Errors: CONFLICT/Conflict when the
 * subdomain or UID was taken meanwhile. *ret_id is in the arena. */
MUST_CHECK int record_insert(struct sql_conn *conn, const struct call *call, struct arena *arena,
                             const struct record_values *values, const struct tenant *tenant,
                             const struct tier *tier, const char **ret_id, struct err *err);

/* Set these columns, and what follows from a change of status. Errors: CONFLICT/Conflict when the
 * row's Tenant or status is no longer as observed. */
MUST_CHECK int record_update(struct sql_conn *conn, const struct call *call,
                             const struct record_candidate *candidate,
                             const struct record_values *values, const enum record_column *columns,
                             size_t count, struct err *err);

/* purge_policy: what is to be done when the days of grace are over, NULL for nothing. */
MUST_CHECK int record_mark_deleted(struct sql_conn *conn, const struct call *call, const char *id,
                                   const char *purge_policy, struct err *err);

#endif
