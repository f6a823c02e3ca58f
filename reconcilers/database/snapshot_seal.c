/* Who gets in while a snapshot is taken, and who still does: first the tenant's logins, then, where
 * the database is all the tenant's, everybody. */
#include "reconcilers/database/snapshot_internal.h"

#define NO_SUCH_DATABASE "3D000"

enum { BUSY_RETRY_MS = 5000 };

static int busy(const struct snapshot_taking *taking, const char *obstacles, struct err *err)
{
    (void)err_set(err, ERR_WAIT, "DatabaseBusy",
                  "database \"%s\" on server \"%s\" cannot be dumped for good while others may "
                  "change it: %s; end that, and the deletion goes on",
                  taking->scope->database, taking->scope->server, obstacles);
    err->retry_after_ms = BUSY_RETRY_MS;
    return -1;
}

static int check_obstacles(const struct snapshot_taking *taking, struct sql_conn *conn,
                           struct err *err)
{
    const char *obstacles = "";

    if (database_obstacles(conn, &taking->rc->call, taking->rc->arena, taking->scope, &obstacles,
                           err)) {
        return -1;
    }
    return *obstacles ? busy(taking, obstacles, err) : 0;
}

static int run_plan(const struct snapshot_taking *taking, struct sql_conn *conn,
                    const struct plan *plan, struct err *err)
{
    const struct call *call = &taking->rc->call;
    int left = 0;

    if (database_execute(conn, call, taking->scope, plan, err) ||
        database_end_sessions(conn, call, taking->scope, !snapshot_is_part(taking), &left, err)) {
        return -1;
    }
    return left > 0 ? busy(taking, "sessions that were told to end and have not yet", err) : 0;
}

/* What the tenant prepared and never committed is no part of what is kept, as of any session that
 * is ended. What may not be rolled back stays, and is named as an obstacle. */
static int roll_back_prepared(const struct snapshot_taking *taking, struct sql_conn *conn,
                              struct err *err)
{
    AUTO(server_loan) struct server_loan loan = {0};
    struct reconcile *rc = taking->rc;
    struct prepared *prepared = NULL;
    size_t count = 0;

    if (database_prepared(conn, &rc->call, rc->arena, taking->scope, &prepared, &count, err)) {
        return -1;
    }
    if (count == 0) {
        return 0;
    }
    if (snapshot_borrow(taking, taking->scope->database, &loan, err)) {
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        if (database_roll_back_prepared(loan.conn, &rc->call, &prepared[i], err) &&
            !err_has_reason(err, "InsufficientPrivilege")) {
            return snapshot_report(&loan, err);
        }
    }
    return 0;
}

/* Whether there is something to dump. What an interrupted DROP left is nothing. */
static int find(const struct snapshot_taking *taking, const struct seen *seen,
                const struct owned *owned, bool *ret, struct err *err)
{
    AUTO(server_loan) struct server_loan loan = {0};
    const struct scope *scope = taking->scope;

    if (!snapshot_is_part(taking)) {
        *ret = owned->database && seen->database.connection_limit != -2;
        return 0;
    }
    *ret = false;
    if (scope_owns(scope, ROLE_OWNER) && !owned->roles[ROLE_OWNER]) {
        return 0;
    }
    if (snapshot_borrow(taking, scope->database, &loan, err)) {
        return err_has_code(err, NO_SUCH_DATABASE) ? 0 : -1;
    }
    return snapshot_part_find(loan.conn, &taking->rc->call, scope, ret, err)
               ? snapshot_report(&loan, err)
               : 0;
}

/* The same, with all that was looked at, and the connection that it was looked at over. */
static int look(const struct snapshot_taking *taking, struct server_loan *loan, struct seen *seen,
                struct owned *owned, bool *ret_there, struct err *err)
{
    struct reconcile *rc = taking->rc;

    if (snapshot_borrow(taking, NULL, loan, err)) {
        return -1;
    }
    if (database_observe(loan->conn, &rc->call, rc->arena, taking->scope, seen, err)) {
        return snapshot_report(loan, err);
    }
    database_owned(taking->scope, seen, owned);
    return find(taking, seen, owned, ret_there, err);
}

int snapshot_find(const struct snapshot_taking *taking, bool *ret_there, struct err *err)
{
    AUTO(server_loan) struct server_loan loan = {0};
    struct seen *seen = ARENA_NEW(taking->rc->arena, struct seen);
    struct owned owned;

    return look(taking, &loan, seen, &owned, ret_there, err);
}

int snapshot_seal(const struct snapshot_taking *taking, bool *ret_there, struct err *err)
{
    AUTO(server_loan) struct server_loan loan = {0};
    struct arena *arena = taking->rc->arena;
    struct seen *seen = ARENA_NEW(arena, struct seen);
    struct plan *plan = ARENA_NEW(arena, struct plan);
    struct owned owned;

    if (look(taking, &loan, seen, &owned, ret_there, err)) {
        return -1;
    }
    if (!*ret_there) {
        return 0;
    }
    /* The gateway is closed first: what it still lets through is then before the snapshot. */
    if (snapshot_begin_record(taking, taking->earlier.unforced, taking->earlier.unforced_count,
                              taking->earlier.stored, err)) {
        return -1;
    }
    database_plan_seal(taking->scope, seen, &owned, plan);
    return run_plan(taking, loan.conn, plan, err) || roll_back_prepared(taking, loan.conn, err) ||
                   check_obstacles(taking, loan.conn, err)
               ? snapshot_report(&loan, err)
               : 0;
}

int snapshot_close_database(const struct snapshot_taking *taking, struct err *err)
{
    AUTO(server_loan) struct server_loan loan = {0};
    const struct plan close = {.actions = {{.kind = ACTION_CLOSE_DATABASE}}, .count = 1};

    if (snapshot_is_part(taking)) {
        return 0;
    }
    if (snapshot_borrow(taking, NULL, &loan, err)) {
        return -1;
    }
    return run_plan(taking, loan.conn, &close, err) || check_obstacles(taking, loan.conn, err)
               ? snapshot_report(&loan, err)
               : 0;
}

static int on_part(const struct snapshot_taking *taking,
                   int (*act)(struct sql_conn *conn, const struct call *call,
                              const struct scope *scope, struct err *err),
                   struct err *err)
{
    AUTO(server_loan) struct server_loan loan = {0};

    if (!snapshot_is_part(taking)) {
        return 0;
    }
    if (snapshot_borrow(taking, taking->scope->database, &loan, err)) {
        return -1;
    }
    return act(loan.conn, &taking->rc->call, taking->scope, err) ? snapshot_report(&loan, err) : 0;
}

int snapshot_open_part(const struct snapshot_taking *taking, struct err *err)
{
    return taking->earlier.began ? on_part(taking, snapshot_part_open, err) : 0;
}

int snapshot_close_part(const struct snapshot_taking *taking, struct err *err)
{
    return on_part(taking, snapshot_part_close, err);
}
