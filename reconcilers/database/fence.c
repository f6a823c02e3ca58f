/* The step StorageFence: with nothing left of storage_mb, INSERT and UPDATE on the tenant's tables
 * fail, DELETE works.
 *
 * A trigger on each table says so in words that a user understands, and takes effect in sessions
 * that are open already; rights would do neither, and the owner of a table always has them. What a
 * tenant owns itself it can take the trigger from, and a table that it makes later has none: the
 * next drift check sees to both.
 *
 * Where tenants share the tables, a word beside the mapping of the tenant's logins does it, which
 * the policies read anyway (rows/keyed.sql): nothing changes for anybody else. */
#include "controller/base/str.h"
#include "reconcilers/database/fence_internal.h"
#include "reconcilers/database/servers.h"
#include "reconcilers/database/steps.h"

/* A tenant that is only just being made has no fence, unless an earlier one left it. */
static bool may_differ(const struct reconcile *rc, const struct tenant_work *work)
{
    return rc->drift_check || work->storage_spent || work->adopted || database_was_complete(work);
}

static void tell(const struct tenant_work *work, const struct scope *scope, bool raised)
{
    if (raised) {
        work_event(work, EVENT_WARNING, "StorageFenced", "Fence",
                   "nothing is left of storage_mb: INSERT and UPDATE fail in database \"%s\" until "
                   "something is deleted or the quota raised",
                   scope->database);
    } else {
        work_event(work, EVENT_NORMAL, "StorageUnfenced", "Fence",
                   "INSERT and UPDATE work again in database \"%s\"", scope->database);
    }
}

static int raise_fence(struct sql_conn *conn, struct reconcile *rc, const struct tenant_work *work,
                       const struct scope *scope, const struct fence_seen *seen, struct err *err)
{
    if ((seen->open > 0 || !seen->has_function) && fence_raise(conn, &rc->call, scope, err)) {
        return -1;
    }
    if (seen->fenced == 0) {
        tell(work, scope, true);
    }
    return rc->drift_check ? fence_vacuum(conn, &rc->call, scope, err) : 0;
}

static int fence(struct sql_conn *conn, struct reconcile *rc, const struct tenant_work *work,
                 const struct scope *scope, struct err *err)
{
    struct fence_seen seen = {0};

    if (fence_observe(conn, &rc->call, scope, &seen, err)) {
        return -1;
    }
    if (work->storage_spent) {
        return raise_fence(conn, rc, work, scope, &seen, err);
    }
    if (seen.fenced == 0 && !seen.has_function) {
        return 0;
    }
    if (fence_lower(conn, &rc->call, scope, err)) {
        return -1;
    }
    tell(work, scope, false);
    return 0;
}

/* Around rows in shared tables. */
static int fence_keyed(struct sql_conn *conn, struct reconcile *rc, const struct tenant_work *work,
                       const struct scope *scope, struct err *err)
{
    int64_t changed = 0;

    if (rows_fence(conn, &rc->call, scope, work->storage_spent, &changed, err)) {
        return -1;
    }
    if (changed > 0) {
        tell(work, scope, work->storage_spent);
    }
    return 0;
}

int storage_fence_ensure(struct reconcile *rc, void *subject, struct err *err)
{
    AUTO(server_loan) struct server_loan loan = {0};
    struct tenant_work *work = subject;
    struct scope scope;

    if (!may_differ(rc, work)) {
        return 0;
    }
    scope_init(&scope, rc->arena, work);
    if (servers_borrow(work->services->servers, rc, scope.server, scope.database, &loan, err)) {
        return -1;
    }
    if (scope.mode->rows_are_keyed ? fence_keyed(loan.conn, rc, work, &scope, err)
                                   : fence(loan.conn, rc, work, &scope, err)) {
        loan.failure = *err;
        return -1;
    }
    return 0;
}
