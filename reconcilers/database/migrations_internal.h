/* What the files about a tenant's own migrations share with each other and with tests. */
#ifndef TENANTRY_DATABASE_MIGRATIONS_INTERNAL_H
#define TENANTRY_DATABASE_MIGRATIONS_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

#include "controller/base/arena.h"
#include "controller/base/attributes.h"
#include "controller/base/call.h"
#include "controller/base/err.h"
#include "controller/base/hash.h"
#include "controller/base/secret.h"
#include "reconcilers/database/database_internal.h"
#include "reconcilers/drivers/sql.h"

/* ---- the plan (migrations_plan.c), pure ---- */

struct migration_file {
    const char *name; /* "0001_orders.sql" */
    const char *text;
    char checksum[SHA256_TEXT_BYTES];
};
struct migration_done {
    const char *name;
    const char *checksum;
};

/* Sorts the files by the bytes of their names, and says how many of them are applied: they are the
 * first ones, as they were then. Files that were applied and are gone do not matter.
 * Errors: TERMINAL/MigrationEdited names the file that is another one now; TERMINAL/
 * MigrationOutOfOrder one that comes before an applied one. */
MUST_CHECK int migrations_plan(struct migration_file *files, size_t count,
                               const struct migration_done *done, size_t done_count,
                               size_t *ret_applied, struct err *err);

/* ---- statements (migrations_sql.c) ---- */

/* The name of the one-use role: "tenant_acme.migrate". */
const char *migrations_role(struct arena *arena, const struct scope *scope);

/* As the controller, in the maintenance database or the tenant's. The role is made anew, so that
 * nothing of an earlier one is left: member of the owner, and of nothing else but what lets it in,
 * for a quarter of an hour. */
MUST_CHECK int migrations_make_role(struct sql_conn *conn, const struct call *call,
                                    const struct scope *scope, const char *role,
                                    const struct secret *password, struct err *err);
/* Errors: TERMINAL/NameConflict when a role of that name does not bear the tenant's mark. */
MUST_CHECK int migrations_role_exists(struct sql_conn *conn, const struct call *call,
                                      const struct scope *scope, const char *role, bool *ret,
                                      struct err *err);
/* In the tenant's database: what the role owns becomes the owner's, and it is dropped. */
MUST_CHECK int migrations_drop_role(struct sql_conn *conn, const struct call *call,
                                    const struct scope *scope, const char *role, struct err *err);

/* The table of what was applied, in the tenant's schema; made if it is missing. */
MUST_CHECK int migrations_list_done(struct sql_conn *conn, const struct call *call,
                                    struct arena *arena, const struct scope *scope,
                                    const struct migration_done **ret, size_t *ret_count,
                                    struct err *err);
/* Run one file as the role, in one transaction with the note that it was. The file can neither end
 * the transaction nor become anybody but the role or the owner. Errors: TERMINAL/MigrationFailed
 * with the server's words, TERMINAL/MigrationRefused, RETRY/LockTimeout. */
MUST_CHECK int migrations_apply(struct sql_conn *conn, const struct call *call,
                                const struct scope *scope, const char *role,
                                const struct migration_file *file, struct err *err);

#endif
