/* What the files about extensions share with each other. */
#ifndef TENANTRY_DATABASE_EXTENSIONS_INTERNAL_H
#define TENANTRY_DATABASE_EXTENSIONS_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

#include "controller/base/attributes.h"
#include "controller/base/call.h"
#include "controller/base/err.h"
#include "reconcilers/database/database_internal.h"
#include "reconcilers/drivers/sql.h"

/* The schema that holds them, the controller's own: an extension's script runs with a superuser's
 * rights, so nobody else may have put anything where it looks first. */
#define EXTENSIONS_SCHEMA "extensions"

struct extensions_seen {
    bool schema_exists;
    bool schema_is_ours;
    bool schema_is_open; /* to the tenant's roles, for USAGE */
    bool *installed;     /* in the order of the names asked for; in the arena */
};

/* conn: to the tenant's database, as for the others. names: as an array's text, of count. */
MUST_CHECK int extensions_observe(struct sql_conn *conn, const struct call *call,
                                  struct arena *arena, const struct scope *scope,
                                  const char *const *names, size_t count,
                                  struct extensions_seen *ret, struct err *err);
/* The schema is there, and the tenant's roles may use what is in it. */
MUST_CHECK int extensions_open_schema(struct sql_conn *conn, const struct call *call,
                                      const struct scope *scope, bool create, struct err *err);
/* Errors: TERMINAL/ExtensionUnavailable (the server has no such one), TERMINAL/
 * InsufficientPrivilege with the statement that a superuser has to run. */
MUST_CHECK int extensions_create(struct sql_conn *conn, const struct call *call,
                                 const struct scope *scope, const char *name, struct err *err);

#endif
