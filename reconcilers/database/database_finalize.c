/* Deletion of a tenant's database, by policy.
 *
 * Nothing is touched that the registry does not give to this Tenant's UID and that does not bear
 * the mark of that id (database_owned). Every statement takes what is gone for done, so a crash
 * anywhere is taken up by the next run, which begins by looking.
 *
 * Where the database is shared, "the database" is the tenant's part of it: its schema, or its rows
 * (part.c).
 *
 * Retain: logins off, connections refused, sessions ended, listed. Delete: the same lock, then DROP
 * DATABASE; then whatever the roles own in other databases goes to those databases' owners, since
 * it is not the tenant's database; then the roles. The roles go last because the owner role's mark
 * is what still proves the rest. Prepared transactions are rolled back before the database is
 * closed, because that takes a connection to it. */
#include "controller/base/clock.h"
#include "controller/base/str.h"
#include "reconcilers/database/database_internal.h"
#include "reconcilers/database/part.h"
#include "reconcilers/database/servers.h"
#include "reconcilers/database/steps.h"
#include "reconcilers/model/names.h"
#include "reconcilers/registry/registry.h"

enum { BUSY_RETRY_MS = 5000, DAY_S = 24 * 60 * 60 };

#define NO_SUCH_DATABASE "3D000"

/* ---- policy ---- */

/* When the purge of what grace keeps is due, 0 = never (tenant_purge.c). */
static int64_t delete_after_s(const struct tenant_work *work)
{
    return work_keeps_for_days(work) ? clock_wall_s() + work->tenant->deletion_grace_days * DAY_S
                                     : 0;
}

/* ---- on the server ---- */

struct ending {
    struct reconcile *rc;
    struct tenant_work *work;
    const struct scope *scope;
    struct seen seen;
    struct owned owned;
    int64_t size_bytes;
};

static int borrow(const struct ending *ending, const char *database, struct server_loan *loan,
                  struct err *err)
{
    return servers_borrow(ending->work->services->servers, ending->rc, ending->scope->server,
                          database, loan, err);
}

static int report(struct server_loan *loan, const struct err *err)
{
    loan->failure = *err;
    return -1;
}

static int busy(struct err *err, const struct scope *scope, const char *obstacles)
{
    (void)err_set(err, ERR_WAIT, "DatabaseBusy",
                  "database \"%s\" on server \"%s\" is held by what the controller may not end: "
                  "%s; end that, and the deletion goes on",
                  scope->database, scope->server, obstacles);
    err->retry_after_ms = BUSY_RETRY_MS;
    return -1;
}

static int look(struct ending *ending, struct sql_conn *conn, struct err *err)
{
    struct reconcile *rc = ending->rc;

    if (database_observe(conn, &rc->call, rc->arena, ending->scope, &ending->seen, err)) {
        return -1;
    }
    database_owned(ending->scope, &ending->seen, &ending->owned);
    return 0;
}

/* Logins off, with `close` the database too, and the sessions ended. */
static int lock(struct ending *ending, struct sql_conn *conn, bool close, struct err *err)
{
    struct reconcile *rc = ending->rc;
    struct plan *plan = ARENA_NEW(rc->arena, struct plan);
    bool whole = close && ending->owned.database;
    int left = 0;

    database_plan_lock(ending->scope, &ending->seen, &ending->owned, close, plan);
    if (database_execute(conn, &rc->call, ending->scope, plan, err) ||
        database_end_sessions(conn, &rc->call, ending->scope, whole, &left, err)) {
        return -1;
    }
    return left > 0 ? busy(err, ending->scope, "sessions that were told to end and have not yet")
                    : 0;
}

static bool owns_anything(const struct owned *owned)
{
    bool any = owned->database;
    for (int i = 0; i < ROLE_COUNT; i++) {
        any |= owned->roles[i];
    }
    return any;
}

/* ---- Retain ---- */

static const char *part_name(const struct scope *scope)
{
    return scope->mode->owns_database ? scope->database : scope->schema;
}

static size_t list_items(const struct scope *scope, const struct owned *owned, int64_t size_bytes,
                         struct retained items[ROLE_COUNT + 1])
{
    const struct mode *mode = scope->mode;
    size_t count = 0;
    if (owned->database || !mode->owns_database) {
        items[count++] = (struct retained){
            mode->retained_kind,
            part_name(scope),
            scope->server,
            size_bytes,
        };
    }
    for (int i = 0; i < ROLE_COUNT; i++) {
        if (owned->roles[i]) {
            items[count++] = (struct retained){"role", scope->roles[i], scope->server, 0};
        }
    }
    return count;
}

static int list_retained(const struct ending *ending, struct err *err)
{
    struct retained items[ROLE_COUNT + 1];
    const struct scope *scope = ending->scope;
    size_t count = list_items(scope, &ending->owned, ending->size_bytes, items);

    return registry_retain(ending->work->services->registry, ending->rc, scope->tenant_id,
                           scope->subdomain, items, count, delete_after_s(ending->work), err);
}

/* 0 without a shared database. */
static int measure_part(struct ending *ending, struct err *err)
{
    AUTO(server_loan) struct server_loan loan = {0};

    if (ending->scope->mode->owns_database) {
        return 0;
    }
    if (borrow(ending, ending->scope->database, &loan, err)) {
        return err_has_code(err, NO_SUCH_DATABASE) ? 0 : -1;
    }
    return part_size(loan.conn, &ending->rc->call, ending->scope, &ending->size_bytes, err)
               ? report(&loan, err)
               : 0;
}

static int lock_retained(struct ending *ending, struct err *err)
{
    AUTO(server_loan) struct server_loan loan = {0};
    struct reconcile *rc = ending->rc;

    if (borrow(ending, NULL, &loan, err)) {
        return -1;
    }
    if (look(ending, loan.conn, err) ||
        (ending->owned.database &&
         database_size(loan.conn, &rc->call, ending->scope, &ending->size_bytes, err)) ||
        lock(ending, loan.conn, true, err)) {
        return report(&loan, err);
    }
    return 0;
}

static int retain(struct ending *ending, struct err *err)
{
    const struct scope *scope = ending->scope;

    if (lock_retained(ending, err) || measure_part(ending, err)) {
        return -1;
    }
    if (!owns_anything(&ending->owned)) {
        return 0;
    }
    if (list_retained(ending, err)) {
        return -1;
    }
    const char *reason = ending->work->retain_reason;
    bool told = !text_is_empty(reason);
    work_event(ending->work, EVENT_NORMAL, told ? reason : "Retained", "Retain",
               "kept and locked: %s \"%s\" on server \"%s\" (%lld bytes) and the tenant's roles; a "
               "new Tenant with the annotation %s: %s takes them back",
               scope->mode->retained_kind, part_name(scope), scope->server,
               (long long)ending->size_bytes, NAME_ANNOTATION_ADOPT, scope->tenant_id);
    return 0;
}

/* ---- Delete ---- */

/* Logins off. Says what was prepared in the database, and makes sure that one can connect to it
 * then. */
static int stop_logins(struct ending *ending, struct prepared **ret_prepared, size_t *ret_count,
                       struct err *err)
{
    AUTO(server_loan) struct server_loan loan = {0};
    struct reconcile *rc = ending->rc;
    struct plan open = {.actions = {{.kind = ACTION_OPEN_DATABASE}}, .count = 1};

    *ret_count = 0;
    if (borrow(ending, NULL, &loan, err)) {
        return -1;
    }
    if (look(ending, loan.conn, err) || lock(ending, loan.conn, false, err)) {
        return report(&loan, err);
    }
    if (!ending->owned.database && ending->scope->mode->owns_database) {
        return 0;
    }
    if (database_prepared(loan.conn, &rc->call, rc->arena, ending->scope, ret_prepared, ret_count,
                          err) ||
        (*ret_count > 0 && ending->owned.database && !ending->seen.database.allows_connections &&
         database_execute(loan.conn, &rc->call, ending->scope, &open, err))) {
        return report(&loan, err);
    }
    return 0;
}

/* What may not be rolled back stays, and is named as an obstacle. */
static int roll_back_prepared(struct ending *ending, const struct prepared *prepared, size_t count,
                              struct err *err)
{
    AUTO(server_loan) struct server_loan loan = {0};

    if (count == 0) {
        return 0;
    }
    if (borrow(ending, ending->scope->database, &loan, err)) {
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        if (database_roll_back_prepared(loan.conn, &ending->rc->call, &prepared[i], err) &&
            !err_has_reason(err, "InsufficientPrivilege")) {
            return report(&loan, err);
        }
    }
    return 0;
}

/* With prepared transactions left the database stays open: only somebody who connects to it can end
 * them. */
static int check_prepared(const struct ending *ending, struct sql_conn *conn, struct err *err)
{
    struct reconcile *rc = ending->rc;
    struct prepared *prepared = NULL;
    const char *obstacles = "";
    size_t count = 0;

    if (database_prepared(conn, &rc->call, rc->arena, ending->scope, &prepared, &count, err)) {
        return -1;
    }
    if (count == 0) {
        return 0;
    }
    if (database_obstacles(conn, &rc->call, rc->arena, ending->scope, &obstacles, err)) {
        return -1;
    }
    return busy(err, ending->scope, obstacles);
}

static int drop_owned_database(const struct ending *ending, struct sql_conn *conn, struct err *err)
{
    struct reconcile *rc = ending->rc;
    const char *obstacles = "";

    if (database_obstacles(conn, &rc->call, rc->arena, ending->scope, &obstacles, err)) {
        return -1;
    }
    if (*obstacles) {
        return busy(err, ending->scope, obstacles);
    }
    return database_drop(conn, &rc->call, ending->scope, err);
}

/* Whether what stands in the shared database under this tenant's names is this tenant's. */
static bool owns_part(const struct ending *ending)
{
    const struct mode *mode = ending->scope->mode;
    bool proven = scope_owns(ending->scope, ROLE_OWNER) ? ending->owned.roles[ROLE_OWNER] : true;
    return !mode->owns_database && proven;
}

static int drop_part(const struct ending *ending, struct err *err)
{
    AUTO(server_loan) struct server_loan loan = {0};

    if (!owns_part(ending)) {
        return 0;
    }
    if (borrow(ending, ending->scope->database, &loan, err)) {
        return err_has_code(err, NO_SUCH_DATABASE) ? 0 : -1;
    }
    return part_drop(loan.conn, &ending->rc->call, ending->scope, err) ? report(&loan, err) : 0;
}

static int drop_database(struct ending *ending, struct err *err)
{
    AUTO(server_loan) struct server_loan loan = {0};

    if (borrow(ending, NULL, &loan, err)) {
        return -1;
    }
    if (look(ending, loan.conn, err) ||
        ((ending->owned.database || owns_part(ending)) && check_prepared(ending, loan.conn, err)) ||
        lock(ending, loan.conn, true, err) ||
        (ending->owned.database && drop_owned_database(ending, loan.conn, err))) {
        return report(&loan, err);
    }
    return 0;
}

/* Where else something hangs on the roles. */
static int find_dependencies(const struct ending *ending, struct dependency **ret,
                             size_t *ret_count, struct err *err)
{
    AUTO(server_loan) struct server_loan loan = {0};
    struct reconcile *rc = ending->rc;

    if (borrow(ending, NULL, &loan, err)) {
        return -1;
    }
    return database_dependencies(loan.conn, &rc->call, rc->arena, ending->scope, &ending->owned,
                                 ret, ret_count, err)
               ? report(&loan, err)
               : 0;
}

static int disown(const struct ending *ending, const struct dependency *dependency, struct err *err)
{
    AUTO(server_loan) struct server_loan loan = {0};
    const char *database = *dependency->database ? dependency->database : NULL;
    const char *words = database ? database : "the whole server";
    bool part = database && !ending->scope->mode->owns_database &&
                text_equal(database, ending->scope->database);

    if (borrow(ending, database, &loan, err)) {
        return err_wrap(err, "roles %s own something or hold rights in database \"%s\"",
                        dependency->roles, words);
    }
    if (database_disown(loan.conn, &ending->rc->call, ending->scope, &ending->owned, part, err)) {
        loan.failure = *err;
        return err_wrap(err, "taking from roles %s what they have in database \"%s\"",
                        dependency->roles, words);
    }
    if (database && !part) {
        work_event(ending->work, EVENT_WARNING, "Reassigned", "Delete",
                   "what roles %s owned in database \"%s\" on server \"%s\" was given to its owner",
                   dependency->roles, database, ending->scope->server);
    }
    return 0;
}

static int drop_roles(const struct ending *ending, struct err *err)
{
    AUTO(server_loan) struct server_loan loan = {0};

    if (borrow(ending, NULL, &loan, err)) {
        return -1;
    }
    if (database_drop_roles(loan.conn, &ending->rc->call, ending->scope, &ending->owned, err)) {
        return report(&loan, err);
    }
    return 0;
}

static int forget_retained(const struct ending *ending, struct err *err)
{
    struct registry *registry = ending->work->services->registry;
    const struct scope *scope = ending->scope;

    return registry_unretain(registry, ending->rc, scope->tenant_id, scope->mode->retained_kind,
                             NULL, err) ||
                   registry_unretain(registry, ending->rc, scope->tenant_id, "role", NULL, err)
               ? -1
               : 0;
}

static int destroy(struct ending *ending, struct err *err)
{
    struct prepared *prepared = NULL;
    struct dependency *dependencies = NULL;
    size_t prepared_count = 0;
    size_t dependency_count = 0;

    if (stop_logins(ending, &prepared, &prepared_count, err) ||
        roll_back_prepared(ending, prepared, prepared_count, err) || drop_database(ending, err) ||
        drop_part(ending, err) ||
        find_dependencies(ending, &dependencies, &dependency_count, err)) {
        return -1;
    }
    bool any = owns_anything(&ending->owned);
    for (size_t i = 0; i < dependency_count; i++) {
        if (disown(ending, &dependencies[i], err)) {
            return -1;
        }
    }
    if (drop_roles(ending, err) || forget_retained(ending, err)) {
        return -1;
    }
    if (any) {
        work_event(ending->work, EVENT_NORMAL, "DatabaseDeleted", "Delete",
                   "deleted %s \"%s\" and the tenant's roles on server \"%s\"",
                   ending->scope->mode->retained_kind, part_name(ending->scope),
                   ending->scope->server);
    }
    return 0;
}

/* ---- the step ---- */

/* The user gave the server up: what should be there is listed, and nothing is touched. */
static int let_go(struct ending *ending, struct err *err)
{
    const struct err cause = *err;

    ending->owned = (struct owned){.database = ending->scope->mode->owns_database};
    for (int i = 0; i < ROLE_COUNT; i++) {
        ending->owned.roles[i] = scope_owns(ending->scope, i);
    }
    ending->size_bytes = 0;
    if (list_retained(ending, err)) {
        return -1;
    }
    work_event(ending->work, EVENT_WARNING, "ForceFinalized", "Delete",
               "let go of database \"%s\" on server \"%s\" without touching it, as the annotation "
               "%s says; it is listed as retained: %s",
               ending->scope->database, ending->scope->server, NAME_ANNOTATION_FORCE,
               cause.message);
    return 0;
}

/* The step Snapshot runs before, and this one not at all without it; but nothing that cannot be
 * undone hangs on a table of steps alone. */
static int check_snapshot(const struct tenant_work *work, struct err *err)
{
    if (work->deletion_policy != DELETION_SNAPSHOT || work_retains(work) || work->snapshot_taken) {
        return 0;
    }
    return err_set(err, ERR_WAIT, "SnapshotIncomplete",
                   "no snapshot of the database stands yet; nothing was deleted");
}

int database_finalize(struct reconcile *rc, void *subject, struct err *err)
{
    struct tenant_work *work = subject;
    struct scope scope;
    bool found = false;

    if (check_snapshot(work, err) || scope_find(&scope, rc, work, &found, err)) {
        return -1;
    }
    if (!found) {
        return 0;
    }
    struct ending *ending = ARENA_NEW(rc->arena, struct ending);
    *ending = (struct ending){.rc = rc, .work = work, .scope = &scope};
    int result = work_retains(work) ? retain(ending, err) : destroy(ending, err);
    if (result && work->tenant->force_finalize && err->cls != ERR_CANCELED) {
        return let_go(ending, err);
    }
    return result;
}
