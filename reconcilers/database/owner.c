/* The step Owner: the owner's row in the tenant's users, and in tenant_users.
 *
 * The row's id is derived from the tenant's, so that however often a run is repeated there is one
 * row. While must_change_password holds, the Secret's password and the row's hash belong together:
 * the Secret is written first, the row second, the registry's digest last, and a run that finds the
 * digest behind writes the row again. Once the owner has chosen a password, nothing here touches
 * it, and the Secret goes. */
#include "controller/base/str.h"
#include "reconcilers/database/database_internal.h"
#include "reconcilers/database/owner_internal.h"
#include "reconcilers/database/servers.h"
#include "reconcilers/database/steps.h"
#include "reconcilers/registry/registry.h"

/* Behind a write of the hash. Another controller may have made a password at the same time: whoever
 * writes the row last sees the Secret as it stays, and makes the row agree. */
static int settle(struct reconcile *rc, struct tenant_work *work, const struct scope *scope,
                  struct sql_conn *conn, const char *user_id, struct err *err)
{
    enum { ATTEMPTS = 4 };

    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        bool same = false;
        if (owner_credential_again(rc, work, &same, err)) {
            return -1;
        }
        if (same) {
            return owner_credential_confirm(rc, work, err);
        }
        if (owner_set_hash(conn, &rc->call, scope, user_id, &work->owner_hash, err)) {
            return -1;
        }
    }
    return err_set(err, ERR_CONFLICT, "Conflict", "somebody else changes the owner's Secret");
}

/* A new row, with a temporary password that has a hash. */
static int insert(struct reconcile *rc, struct tenant_work *work, const struct scope *scope,
                  struct sql_conn *conn, const struct owner_plan *plan, const char *user_id,
                  struct err *err)
{
    if (secret_is_empty(&work->owner_password) && owner_credential_renew(rc, work, err)) {
        return -1;
    }
    /* The password is known to have been in force in a row that is gone. */
    if (secret_is_empty(&work->owner_hash) &&
        owner_hash(&work->owner_password, &work->owner_hash, err)) {
        return -1;
    }
    if (owner_execute(conn, &rc->call, scope, plan, work->tenant, user_id, &work->owner_hash,
                      err)) {
        return -1;
    }
    if (database_was_complete(work)) {
        work_event(work, EVENT_WARNING, "DriftHealed", "Heal",
                   "put right: the owner's row in users was missing, and has a temporary password");
    }
    return settle(rc, work, scope, conn, user_id, err);
}

/* The owner has still to change the password: Secret and row must agree. */
static int keep_temporary(struct reconcile *rc, struct tenant_work *work, const struct scope *scope,
                          struct sql_conn *conn, const char *user_id, struct err *err)
{
    if (secret_is_empty(&work->owner_password)) {
        if (owner_credential_renew(rc, work, err)) {
            return -1;
        }
        work_event(work, EVENT_WARNING, "DriftHealed", "Heal",
                   "put right: the owner's Secret was gone, and has a new temporary password");
    }
    if (secret_is_empty(&work->owner_hash)) {
        return 0;
    }
    return owner_set_hash(conn, &rc->call, scope, user_id, &work->owner_hash, err) ||
                   settle(rc, work, scope, conn, user_id, err)
               ? -1
               : 0;
}

static int ensure_row(struct reconcile *rc, struct tenant_work *work, const struct scope *scope,
                      struct sql_conn *conn, struct err *err)
{
    char user_id[UUID_TEXT_BYTES];
    struct owner_row *rows = NULL;
    struct owner_plan plan;
    size_t count = 0;

    owner_user_id(scope->tenant_id, user_id);
    if (owner_observe(conn, &rc->call, rc->arena, scope, user_id, work->tenant->owner.email, &rows,
                      &count, err)) {
        return -1;
    }
    owner_plan(work->tenant, user_id, rows, count, &plan);
    if (plan.insert) {
        return insert(rc, work, scope, conn, &plan, user_id, err);
    }
    if (owner_execute(conn, &rc->call, scope, &plan, work->tenant, plan.row->id, NULL, err)) {
        return -1;
    }
    if (plan.row->must_change) {
        return keep_temporary(rc, work, scope, conn, plan.row->id, err);
    }
    return secret_is_empty(&work->owner_password) ? 0 : owner_credential_remove(rc, work, err);
}

int owner_ensure(struct reconcile *rc, void *subject, struct err *err)
{
    struct tenant_work *work = subject;
    AUTO(server_loan) struct server_loan loan = {0};
    struct scope scope;

    scope_init(&scope, rc->arena, work);
    if (registry_owner_put(work->services->registry, rc, work->tenant_id, work->tenant->owner.email,
                           err) ||
        servers_borrow(work->services->servers, rc, scope.server, scope.database, &loan, err)) {
        return -1;
    }
    if (rows_begin(loan.conn, &rc->call, &scope, err) ||
        ensure_row(rc, work, &scope, loan.conn, err) ||
        rows_end(loan.conn, &rc->call, &scope, err)) {
        loan.failure = *err;
        return -1;
    }
    return 0;
}
