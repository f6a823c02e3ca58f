/* The step Extensions: what spec.database.extensions names, as far as the tier's list allows,
 * stands in the tenant's database. Nothing is ever dropped: columns may have an extension's types,
 * and one that was made by others is theirs. Each is made by itself, so a crash leaves some of
 * them. */
#include "controller/base/str.h"
#include "reconcilers/database/extensions_internal.h"
#include "reconcilers/database/servers.h"
#include "reconcilers/database/steps.h"

static bool is_allowed(const struct tier *tier, const char *name)
{
    for (size_t i = 0; i < tier->extension_count; i++) {
        if (text_equal(tier->extensions[i], name)) {
            return true;
        }
    }
    return false;
}

static int check_allowed(const struct tenant_work *work, const struct scope *scope, struct err *err)
{
    const struct tenant *tenant = work->tenant;

    if (!scope->mode->has_app_schema) {
        return err_set(err, ERR_TERMINAL, "ExtensionRefused",
                       "extensions need isolation Database, since a shared database is not the "
                       "tenant's to extend: remove spec.database.extensions");
    }
    for (size_t i = 0; i < tenant->extension_count; i++) {
        if (!is_allowed(work->tier, tenant->extensions[i])) {
            return err_set(err, ERR_TERMINAL, "ExtensionRefused",
                           "extension \"%s\" is not in the list of tier \"%s\"",
                           tenant->extensions[i], work->tier->name);
        }
    }
    return 0;
}

static int open_schema(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                       const struct extensions_seen *seen, struct err *err)
{
    if (seen->schema_exists && !seen->schema_is_ours) {
        return err_set(err, ERR_TERMINAL, "NameConflict",
                       "schema \"" EXTENSIONS_SCHEMA "\" in database \"%s\" was not made for this: "
                       "rename or drop it",
                       scope->database);
    }
    return seen->schema_is_open
               ? 0
               : extensions_open_schema(conn, call, scope, !seen->schema_exists, err);
}

static int create_missing(struct reconcile *rc, const struct tenant_work *work,
                          const struct scope *scope, struct sql_conn *conn, struct err *err)
{
    const struct tenant *tenant = work->tenant;
    struct extensions_seen seen = {0};

    if (extensions_observe(conn, &rc->call, rc->arena, scope, tenant->extensions,
                           tenant->extension_count, &seen, err) ||
        open_schema(conn, &rc->call, scope, &seen, err)) {
        return -1;
    }
    for (size_t i = 0; i < tenant->extension_count; i++) {
        if (seen.installed[i]) {
            continue;
        }
        if (extensions_create(conn, &rc->call, scope, tenant->extensions[i], err)) {
            return -1;
        }
        work_event(work, EVENT_NORMAL, "ExtensionCreated", "Create",
                   "created extension \"%s\" in database \"%s\"", tenant->extensions[i],
                   scope->database);
    }
    return 0;
}

int extensions_ensure(struct reconcile *rc, void *subject, struct err *err)
{
    struct tenant_work *work = subject;
    AUTO(server_loan) struct server_loan loan = {0};
    struct scope scope;

    if (work->tenant->extension_count == 0 || work->tenant->state == TENANT_SUSPENDED ||
        !work->tier) {
        return 0;
    }
    scope_init(&scope, rc->arena, work);
    if (check_allowed(work, &scope, err) ||
        servers_borrow(work->services->servers, rc, scope.server, scope.database, &loan, err)) {
        return -1;
    }
    if (create_missing(rc, work, &scope, loan.conn, err)) {
        loan.failure = *err;
        return -1;
    }
    return 0;
}
