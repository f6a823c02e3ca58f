/* The statements behind the feed. */
#ifndef TENANTRY_GATEWAY_FEED_SQL_H
#define TENANTRY_GATEWAY_FEED_SQL_H

#include <stddef.h>
#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/base/buf.h"
#include "controller/base/call.h"
#include "controller/base/err.h"
#include "gateway/places.h"
#include "gateway/tenants.h"
#include "reconcilers/drivers/sql.h"

typedef void (*feed_row_fn)(void *context, const struct tenant_facts *facts);

/* Tell of each tenant that is not deleted: all, or those of the JSON array of ids. */
MUST_CHECK int feed_read_tenants(struct sql_conn *conn, const struct call *call, const char *ids,
                                 feed_row_fn tell, void *context, struct err *err);
MUST_CHECK int feed_read_servers(struct sql_conn *conn, const struct call *call,
                                 struct places *places, struct err *err);
/* A sign of life: *ret_count = how many gateways give one. */
MUST_CHECK int feed_be_alive(struct sql_conn *conn, const struct call *call, const char *replica,
                             bool leaving, int64_t *ret_count, struct err *err);
/* Tenants that were in use, and those to be woken, as JSON arrays of ids. */
MUST_CHECK int feed_tell_used(struct sql_conn *conn, const struct call *call, const char *used,
                              const char *wake, struct err *err);
MUST_CHECK int feed_notify(struct sql_conn *conn, const struct call *call, const char *payload,
                           struct err *err);
/* Any statement at all, to see that there is an answer. */
MUST_CHECK int feed_ping(struct sql_conn *conn, const struct call *call, struct err *err);

#endif
