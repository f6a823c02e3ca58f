/* What a tenant has inside a database that it shares with others: a schema, or rows. As in
 * database_internal.h, each takes a connection to that database, and what is gone is done. */
#ifndef TENANTRY_DATABASE_PART_H
#define TENANTRY_DATABASE_PART_H

#include "reconcilers/database/database_internal.h"

/* Whether there is a schema of the owner role's, or the tables that rows would be in. */
MUST_CHECK int part_exists(struct sql_conn *conn, const struct call *call,
                           const struct scope *scope, bool *ret, struct err *err);
/* Bytes on disk of the schema; of rows, the bytes that they fill. */
MUST_CHECK int part_size(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                         int64_t *ret_bytes, struct err *err);
/* Drop the schema if it is the owner role's; delete the rows, some thousands at a time, and unmap
 * the logins. */
MUST_CHECK int part_drop(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                         struct err *err);

#endif
