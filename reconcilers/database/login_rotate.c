/* Rotation between the two login slots: the flow. login_rotate_plan.c decides. */
#include "controller/base/clock.h"
#include "reconcilers/database/login_internal.h"
#include "reconcilers/database/servers.h"

enum { PASSWORD_CHARACTERS = 32 };

static int other_slot(const struct login_run *run)
{
    return 1 - run->records.current;
}

static int refresh(struct login_run *run, struct err *err)
{
    return registry_logins_get(run->work->services->registry, run->rc, run->scope.tenant_id,
                               &run->records, err);
}

static int hand_over(struct login_run *run, int slot, struct err *err)
{
    return registry_logins_switch(run->work->services->registry, run->rc, run->scope.tenant_id,
                                  slot, run->rotation.request, run->rotation.overlap_s, err) ||
                   refresh(run, err)
               ? -1
               : 0;
}

static void tell(const struct login_run *run)
{
    char until[CLOCK_TEXT_BYTES];
    int old = other_slot(run);

    clock_format_s(run->records.slots[old].retire_s, until);
    work_event(run->work, EVENT_NORMAL, "CredentialsRotated", "Rotate",
               "Secret \"%s/%s\" names login \"%s\" now; \"%s\" works until it has not been used "
               "for a while, at the latest until %s",
               run->namespace_, run->secret_name, login_user(run, run->records.current),
               login_user(run, old), until);
}

int login_rotate_finish(struct login_run *run, struct err *err)
{
    if (hand_over(run, other_slot(run), err)) {
        return -1;
    }
    tell(run);
    return 0;
}

static int64_t older_share(int64_t limit, const struct login_use *older,
                           const struct login_use *newer)
{
    int64_t used = older->sessions + newer->sessions;
    int64_t share = older->sessions + (limit > used ? (limit - used) / 2 : 0);

    return share < limit ? share
                         : limit - 1; /* the newer one gets in, whatever the older one holds */
}

static int share_limit(struct login_run *run, struct sql_conn *conn, int older, struct err *err)
{
    const struct call *call = &run->rc->call;
    struct login_use of_older;
    struct login_use of_newer;

    if (login_observe_use(conn, call, login_user(run, older), &of_older, err) ||
        login_observe_use(conn, call, login_user(run, 1 - older), &of_newer, err)) {
        return -1;
    }
    int64_t limit = run->wanted.connection_limit;
    int64_t share = older_share(limit, &of_older, &of_newer);
    run->wanted.connection_limit = limit - share;
    return share == of_older.limit
               ? 0
               : login_set_limit(conn, call, login_user(run, older), share, err);
}

int login_share_limit(struct login_run *run, int older, struct err *err)
{
    AUTO(server_loan) struct server_loan loan = {0};

    if (run->scope.mode->owns_database || !run->wanted.limits_known) {
        return 0;
    }
    if (servers_borrow(run->work->services->servers, run->rc, run->scope.server, NULL, &loan,
                       err)) {
        return -1;
    }
    if (share_limit(run, loan.conn, older, err)) {
        loan.failure = *err;
        return -1;
    }
    return 0;
}

/* Both slots are open until the one before is closed, under one limit. */
static int begin(struct login_run *run, struct err *err)
{
    struct registry *registry = run->work->services->registry;
    AUTO(secret) struct secret password = {0};
    char digest[SHA256_TEXT_BYTES];
    int slot = other_slot(run);
    bool ignored = false;

    if (login_share_limit(run, run->records.current, err)) {
        return -1;
    }
    struct login_wanted wanted = run->wanted;
    secret_init(&password);
    secret_generate(&password, PASSWORD_CHARACTERS);
    login_digest(&password, digest);
    wanted.slot = slot == 0 ? ROLE_A : ROLE_B;
    wanted.database_limit = wanted.connection_limit;
    if (registry_logins_begin(registry, run->rc, run->scope.tenant_id, slot, digest, err) ||
        login_ensure_role(run, &wanted, &password, false, &ignored, err) ||
        login_apply_secret(run, slot, &password, err) || hand_over(run, slot, err)) {
        return -1;
    }
    secret_copy(&run->password, &password);
    tell(run);
    return 0;
}

static int close_retiring(struct login_run *run, struct sql_conn *conn, struct err *err)
{
    struct reconcile *rc = run->rc;
    const char *user = login_user(run, other_slot(run));

    if (login_close(conn, &rc->call, &run->scope, user, -1, err) ||
        registry_logins_retired(run->work->services->registry, rc, run->scope.tenant_id,
                                other_slot(run), err) ||
        refresh(run, err)) {
        return -1;
    }
    work_event(run->work, EVENT_NORMAL, "CredentialsRetired", "Rotate", "login \"%s\" is closed",
               user);
    if (!run->scope.mode->owns_database) {
        work_again(run->work, 1); /* the other one gets the whole limit */
    }
    return 0;
}

/* One look at the sessions of the retiring slot, and what follows from it. */
static int attend(struct login_run *run, struct sql_conn *conn, struct rotation_plan *ret,
                  struct err *err)
{
    struct reconcile *rc = run->rc;
    struct login_use use;

    if (login_observe_use(conn, &rc->call, login_user(run, other_slot(run)), &use, err)) {
        return -1;
    }
    rotation_plan(&run->records, &run->rotation, use.sessions, ret);
    if (ret->action == ROTATION_NOTICE) {
        return registry_logins_seen(run->work->services->registry, rc, run->scope.tenant_id,
                                    other_slot(run), err);
    }
    return ret->action == ROTATION_CLOSE ? close_retiring(run, conn, err) : 0;
}

static int attend_retiring(struct login_run *run, struct rotation_plan *ret, struct err *err)
{
    AUTO(server_loan) struct server_loan loan = {0};

    if (servers_borrow(run->work->services->servers, run->rc, run->scope.server, NULL, &loan,
                       err)) {
        return -1;
    }
    if (attend(run, loan.conn, ret, err)) {
        loan.failure = *err;
        return -1;
    }
    return 0;
}

static bool is_retiring(const struct login_run *run)
{
    return run->records.slots[other_slot(run)].state == LOGIN_RETIRING;
}

int login_rotate(struct login_run *run, struct err *err)
{
    struct rotation_plan plan = {0};

    if (is_retiring(run) && attend_retiring(run, &plan, err)) {
        return -1;
    }
    if (!is_retiring(run)) {
        rotation_plan(&run->records, &run->rotation, 0, &plan);
    }
    if (plan.action == ROTATION_BEGIN) {
        if (begin(run, err)) {
            return -1;
        }
        rotation_plan(&run->records, &run->rotation, 0, &plan);
    }
    if (plan.again_ms > 0) {
        work_again(run->work, plan.again_ms);
    }
    return 0;
}
