/* The step DatabaseLogin: the connection Secret and the login that it names.
 *
 * The Secret is written before the role is given its password, and the registry is told last which
 * password is in force. So after a crash between any two of the three, the Secret holds the
 * password that counts, the registry's digest differs from it, and the next run gives the role what
 * the Secret says. No password is ever made twice: a Secret that is there and usable is the truth,
 * also when somebody edited it. A lost Secret gets a new password, since the old one is known to
 * nobody here.
 *
 * What the server cannot be asked is whether the role still has that password: catalogs hide
 * verifiers from all but superusers. So each drift check logs in once.
 *
 * Functions take a slot, since rotation will alternate between two. */
#include "controller/base/hash.h"
#include "controller/base/str.h"
#include "reconcilers/database/login_internal.h"
#include "reconcilers/database/servers_internal.h"
#include "reconcilers/database/steps.h"
#include "reconcilers/model/names.h"
#include "reconcilers/objects/objects.h"
#include "reconcilers/registry/registry.h"

enum { PASSWORD_CHARACTERS = 32, CONNECTIONS_DEFAULT = 20 };

struct slot {
    enum role_kind role;
    const char *digest_kind;
};
static const struct slot slot_a = {ROLE_A, "login_a"};

/* What one run of the step knows. */
struct run {
    struct reconcile *rc;
    struct tenant_work *work;
    const struct slot *slot;
    struct scope scope;
    struct login_wanted wanted;
    const char *namespace_;
    const char *secret_name;
    struct secret password;
    char digest[SHA256_TEXT_BYTES];
    bool in_force; /* the registry says that the role has this password */
};

/* ---- the Secret ---- */

static int fetch_secret(const struct run *run, struct kube_secret *ret, bool *ret_found,
                        struct err *err)
{
    const struct tenant_work *work = run->work;

    *ret_found = true;
    if (kube_secret_fetch(work->services->kube, &run->rc->call, run->namespace_, run->secret_name,
                          NAME_LABEL_TENANT_UID, ret, err)) {
        *ret_found = false;
        return err->cls == ERR_NOT_FOUND ? 0 : -1;
    }
    bool own =
        text_equal(ret->owner_uid, work->tenant->uid) || (*ret->owner_uid && object_adopts(work));
    return own ? 0
               : object_refuse(work, "secret", run->namespace_, run->secret_name, ret->owner_uid,
                               err);
}

static int render_secret(const struct run *run, struct kube_secret *ret, struct err *err)
{
    struct login_address address = {
        .database = run->scope.database,
        .schema = run->scope.schema,
        .user = run->scope.roles[run->slot->role],
    };
    if (servers_endpoint(run->work->services->servers, run->rc->arena, run->scope.server,
                         &address.endpoint, err)) {
        return -1;
    }
    login_secret_render(&address, &run->password, ret);
    return 0;
}

static void tell_healed(const struct run *run, const char *what)
{
    if (database_was_complete(run->work)) {
        work_event(run->work, EVENT_WARNING, "DriftHealed", "Heal", "%s", what);
    }
}

/* The Secret as it must be; run->password is then what it holds. */
static int ensure_secret(struct run *run, struct err *err)
{
    AUTO(kube_secret) struct kube_secret current = {0};
    AUTO(kube_secret) struct kube_secret wanted = {0};
    struct kube_pair labels[3];
    bool found = false;

    if (fetch_secret(run, &current, &found, err)) {
        return -1;
    }
    const struct secret *password = kube_secret_get(&current, "password");
    if (login_password_usable(password)) {
        secret_copy(&run->password, password);
    } else {
        secret_generate(&run->password, PASSWORD_CHARACTERS);
    }
    if (render_secret(run, &wanted, err)) {
        return -1;
    }
    if (found && text_equal(current.owner_uid, run->work->tenant->uid) &&
        login_secret_holds(&current, &wanted)) {
        return 0;
    }
    if (kube_secret_apply(run->work->services->kube, &run->rc->call, run->namespace_,
                          run->secret_name, NAME_MANAGER, labels, work_labels(run->work, labels),
                          &wanted, err)) {
        return -1;
    }
    tell_healed(run, found ? "the connection Secret was changed, and says again how to connect"
                           : "the connection Secret was gone, and has a new password");
    return 0;
}

/* ---- the role ---- */

static void read_wanted(struct run *run)
{
    const struct tier *tier = run->work->tier;

    run->wanted = (struct login_wanted){
        .slot = run->slot->role,
        .enabled = run->work->tenant->state == TENANT_ACTIVE,
        .limits_known = tier != NULL,
        .connection_limit = CONNECTIONS_DEFAULT,
    };
    if (tier) {
        run->wanted.connection_limit =
            tier->connection_limit > 0 ? tier->connection_limit : CONNECTIONS_DEFAULT;
        run->wanted.statement_timeout_ms = tier->statement_timeout_ms;
        run->wanted.idle_in_transaction_timeout_ms = tier->idle_in_transaction_timeout_ms;
    }
}

static int read_digest(struct run *run, struct err *err)
{
    char stored[SHA256_TEXT_BYTES];

    hash_sha256_text((struct str){secret_bytes(&run->password), secret_length(&run->password)},
                     run->digest);
    if (registry_digest_get(run->work->services->registry, run->rc, run->scope.tenant_id,
                            run->slot->digest_kind, stored, err)) {
        return -1;
    }
    run->in_force = text_equal(stored, run->digest);
    return 0;
}

/* Once a drift check: the server refuses the password that should be in force. */
static int check_password(struct run *run, struct err *err)
{
    if (!run->rc->drift_check || !run->in_force || !run->wanted.enabled) {
        return 0;
    }
    if (servers_try_login(run->work->services->servers, run->rc, run->scope.server,
                          run->scope.database, run->scope.roles[run->slot->role], &run->password,
                          err) == 0) {
        return 0;
    }
    if (err->cls == ERR_CANCELED || sql_err_unreachable(err)) {
        return -1;
    }
    /* Any other refusal (no connection left, say) tells that the password was accepted, or will be
     * seen in the role's attributes. */
    if (err_has_code(err, "28P01")) {
        run->in_force = false;
        tell_healed(run, "the login had another password than the connection Secret says");
    }
    return 0;
}

static int ensure_role_on(const struct run *run, struct sql_conn *conn, bool *ret_password_set,
                          struct err *err)
{
    struct reconcile *rc = run->rc;
    struct seen *seen = ARENA_NEW(rc->arena, struct seen);
    struct login_plan plan;

    if (database_observe(conn, &rc->call, rc->arena, &run->scope, seen, err) ||
        database_check_owned(&run->scope, seen, err)) {
        return -1;
    }
    login_plan(rc->arena, &run->scope, &seen->roles[run->slot->role], &run->wanted, run->in_force,
               &plan);
    if (login_plan_is_empty(&plan)) {
        return 0;
    }
    *ret_password_set = plan.set_password;
    return login_execute(conn, &rc->call, rc->arena, &run->scope, &run->wanted, &plan,
                         &run->password, err);
}

static int ensure_role(struct run *run, bool *ret_password_set, struct err *err)
{
    AUTO(server_loan) struct server_loan loan = {0};

    *ret_password_set = false;
    if (servers_borrow(run->work->services->servers, run->rc, run->scope.server, NULL, &loan,
                       err)) {
        return -1;
    }
    if (ensure_role_on(run, loan.conn, ret_password_set, err)) {
        loan.failure = *err;
        return -1;
    }
    return 0;
}

/* ---- the step ---- */

static int ensure(struct run *run, struct err *err)
{
    bool password_set = false;

    if (ensure_secret(run, err) || read_digest(run, err) || check_password(run, err) ||
        ensure_role(run, &password_set, err)) {
        return -1;
    }
    run->work->database_secret_namespace = run->namespace_;
    run->work->database_secret_name = run->secret_name;
    if (run->in_force || !password_set) {
        return 0;
    }
    return registry_digest_put(run->work->services->registry, run->rc, run->scope.tenant_id,
                               run->slot->digest_kind, run->digest, err);
}

int database_login_ensure(struct reconcile *rc, void *subject, struct err *err)
{
    struct tenant_work *work = subject;
    struct run run = {
        .rc = rc,
        .work = work,
        .slot = &slot_a,
        .namespace_ = name_namespace(rc->arena, work->tenant->subdomain),
        .secret_name = name_database_secret(rc->arena, work->tenant->subdomain),
    };

    secret_init(&run.password);
    scope_init(&run.scope, rc->arena, work);
    read_wanted(&run);
    int result = ensure(&run, err);
    secret_release(&run.password);
    return result;
}

/* The role is locked or dropped by Database, whose finalizer runs after this one; what is undone
 * here is the Secret alone, for the case that the namespace is not ours to delete. */
int database_login_finalize(struct reconcile *rc, void *subject, struct err *err)
{
    struct tenant_work *work = subject;
    const struct kube_ref ref = {
        .resource = &KUBE_SECRETS,
        .namespace_ = name_namespace(rc->arena, work->tenant->subdomain),
        .name = name_database_secret(rc->arena, work->tenant->subdomain),
    };

    if (deletion_check(work, err)) {
        return -1;
    }
    /* Without the namespace there is no right to look into it, and nothing to delete. */
    if (object_delete_own(rc, work, &ref, err)) {
        return err_has_reason(err, "Forbidden") ? 0 : -1;
    }
    return 0;
}
