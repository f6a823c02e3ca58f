/* Forward-only, versioned, checksummed migrations of a database that is ours alone (the registry).
 *
 * Files are named NNNN_words.sql. Each runs once, in order, in a transaction with its row in
 * `schema_migrations` (version, name, checksum, applied_at), under an advisory lock, so that two
 * programs starting at once are safe. A file whose checksum differs from the applied one, a gap, or
 * a database newer than the program is refused: TERMINAL/MigrationMismatch, with what to do. */
#ifndef TENANTRY_DRIVERS_MIGRATE_H
#define TENANTRY_DRIVERS_MIGRATE_H

#include "controller/base/attributes.h"
#include "controller/base/call.h"
#include "controller/base/err.h"
#include "reconcilers/drivers/embedded.h"
#include "reconcilers/drivers/sql.h"

/* Sends no write at all when everything is applied. *ret_applied = how many ran now. */
MUST_CHECK int migrate(struct sql_conn *conn, const struct call *call,
                       const struct embedded_file *files, int *ret_applied, struct err *err);

#endif
