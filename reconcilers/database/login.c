/* The step DatabaseLogin: the connection Secret and the login that it names.
 *
 * The Secret is written before the role is given its password, and the registry is told last which
 * password is in force. So after a crash between any two of the three, the Secret holds the
 * password that counts, the registry's digest differs from it, and the next run gives the role what
 * the Secret says. No password is ever made twice: a Secret that is there and usable is the truth,
 * also when somebody edited it. A lost Secret gets a new password, since the old one is known to
 * nobody here.
 *
 * Two controllers that make a password at once end with the same one: settle_password.
 *
 * What the server cannot be asked is whether the role still has that password: catalogs hide
 * verifiers from all but superusers. So each drift check logs in once.
 *
 * There are two slots, of which the Secret names one; login_rotate.c lets them take turns. */
#include <stdio.h>

#include "controller/base/clock.h"
#include "controller/base/hash.h"
#include "controller/base/str.h"
#include "reconcilers/database/login_internal.h"
#include "reconcilers/database/servers_internal.h"
#include "reconcilers/database/steps.h"
#include "reconcilers/model/login_keep.h"
#include "reconcilers/model/names.h"
#include "reconcilers/objects/objects.h"
#include "reconcilers/registry/registry.h"

enum { PASSWORD_CHARACTERS = 32, CONNECTIONS_DEFAULT = 20, OVERLAP_DEFAULT_S = 10 * 60 };

static enum role_kind slot_role(int slot)
{
    return slot == 0 ? ROLE_A : ROLE_B;
}

const char *login_user(const struct login_run *run, int slot)
{
    return run->scope.roles[slot_role(slot)];
}

void login_digest(const struct secret *password, char ret_text[SHA256_TEXT_BYTES])
{
    hash_sha256_text((struct str){secret_bytes(password), secret_length(password)}, ret_text);
}

/* ---- the Secret ---- */

static int fetch_secret(const struct login_run *run, struct kube_secret *ret, bool *ret_found,
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

static int render_secret(const struct login_run *run, int slot, const struct secret *password,
                         struct kube_secret *ret, struct err *err)
{
    struct login_address address = {
        .database = run->scope.database,
        .schema = run->scope.schema,
        .user = login_user(run, slot),
    };
    if (servers_endpoint(run->work->services->servers, &run->rc->call, run->rc->arena,
                         run->scope.server, &address.endpoint, err)) {
        return -1;
    }
    login_secret_render(&address, password, ret);
    return 0;
}

static int write_secret(const struct login_run *run, const struct kube_secret *content,
                        struct err *err)
{
    struct kube_pair labels[3];

    return kube_secret_apply(run->work->services->kube, &run->rc->call, run->namespace_,
                             run->secret_name, NAME_MANAGER, labels, work_labels(run->work, labels),
                             content, err);
}

int login_apply_secret(const struct login_run *run, int slot, const struct secret *password,
                       struct err *err)
{
    AUTO(kube_secret) struct kube_secret content = {0};

    return render_secret(run, slot, password, &content, err) || write_secret(run, &content, err)
               ? -1
               : 0;
}

static void tell_healed(const struct login_run *run, const char *what)
{
    if (database_was_complete(run->work)) {
        work_event(run->work, EVENT_WARNING, "DriftHealed", "Heal", "%s", what);
    }
}

static const char *entry(const struct kube_secret *secret, const char *name)
{
    const struct secret *value = kube_secret_get(secret, name);
    return value ? secret_bytes(value) : "";
}

/* Whether an earlier run ended between handing out the next login and saying so. */
static bool names_next(const struct login_run *run, const struct kube_secret *secret,
                       const char *digest)
{
    int other = 1 - run->records.current;
    const struct login_record *record = &run->records.slots[other];

    return record->state == LOGIN_NEXT && text_equal(record->digest, digest) &&
           text_equal(entry(secret, "user"), login_user(run, other));
}

/* Whether the password in the Secret is to be that of the current login: it is already, or somebody
 * edited it. One that stands beside another login's name is not: it is an old Secret come back. */
static bool is_for_current(const struct login_run *run, const struct kube_secret *secret,
                           const char *digest)
{
    return text_equal(run->records.slots[run->records.current].digest, digest) ||
           text_equal(entry(secret, "user"), login_user(run, run->records.current));
}

/* run->password: what the Secret says, or a new one. */
static int choose_password(struct login_run *run, const struct kube_secret *current,
                           struct err *err)
{
    const struct secret *password = kube_secret_get(current, "password");
    char digest[SHA256_TEXT_BYTES] = "";

    if (login_password_usable(password)) {
        login_digest(password, digest);
        if (names_next(run, current, digest) && login_rotate_finish(run, err)) {
            return -1;
        }
    }
    if (*digest && is_for_current(run, current, digest)) {
        secret_copy(&run->password, password);
    } else {
        secret_generate(&run->password, PASSWORD_CHARACTERS);
    }
    return 0;
}

/* The Secret as it must be; run->password is then what it holds. */
static int ensure_secret(struct login_run *run, struct err *err)
{
    AUTO(kube_secret) struct kube_secret current = {0};
    AUTO(kube_secret) struct kube_secret wanted = {0};
    bool found = false;

    /* In a namespace that this run made there is nothing yet. Should another controller be about
     * to change that, settle_password finds out. */
    if ((!run->work->namespace_fresh && fetch_secret(run, &current, &found, err)) ||
        choose_password(run, &current, err) ||
        render_secret(run, run->records.current, &run->password, &wanted, err)) {
        return -1;
    }
    if (found && text_equal(current.owner_uid, run->work->tenant->uid) &&
        login_secret_holds(&current, &wanted)) {
        return 0;
    }
    if (write_secret(run, &wanted, err)) {
        return -1;
    }
    tell_healed(run, found ? "the connection Secret was changed, and says again how to connect"
                           : "the connection Secret was gone, and has a new password");
    return 0;
}

/* ---- the role ---- */

static void read_wanted(struct login_run *run)
{
    const struct tier *tier = run->work->tier;
    const struct tenant *tenant = run->work->tenant;

    run->wanted = (struct login_wanted){
        .enabled = tenant->state == TENANT_ACTIVE,
        .limits_known = tier != NULL,
        .connection_limit = CONNECTIONS_DEFAULT,
        .database_limit = -1,
        .extensions = tenant->extension_count > 0 && run->scope.mode->has_app_schema,
    };
    run->rotation = (struct rotation_wanted){
        .active = tenant->state == TENANT_ACTIVE,
        .request = tenant->rotate_requested_at,
        .overlap_s = OVERLAP_DEFAULT_S,
    };
    if (tier) {
        run->wanted.connection_limit =
            tier->connection_limit > 0 ? tier->connection_limit : CONNECTIONS_DEFAULT;
        run->wanted.statement_timeout_ms = tier->statement_timeout_ms;
        run->wanted.idle_in_transaction_timeout_ms = tier->idle_in_transaction_timeout_ms;
        run->rotation.period_s = tier->rotation_period_ms / 1000;
        run->rotation.overlap_s =
            tier->rotation_overlap_ms > 0 ? tier->rotation_overlap_ms / 1000 : OVERLAP_DEFAULT_S;
    }
}

/* The current slot is known only once the Secret was looked at. */
static void read_slot(struct login_run *run)
{
    const struct login_records *records = &run->records;
    enum login_state other = records->slots[1 - records->current].state;

    run->wanted.slot = slot_role(records->current);
    if (other == LOGIN_RETIRING || other == LOGIN_NEXT) {
        run->wanted.database_limit = run->wanted.connection_limit;
    }
    login_digest(&run->password, run->digest);
    run->in_force = text_equal(records->slots[records->current].digest, run->digest);
}

/* Once a drift check: the server refuses the password that should be in force. */
static int check_password(struct login_run *run, struct err *err)
{
    if (!run->rc->drift_check || !run->in_force || !run->wanted.enabled) {
        return 0;
    }
    if (servers_try_login(run->work->services->servers, run->rc, run->scope.server,
                          run->scope.database, login_user(run, run->records.current),
                          &run->password, err) == 0) {
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

static int ensure_role_on(const struct login_run *run, struct sql_conn *conn,
                          const struct login_wanted *wanted, const struct secret *password,
                          bool in_force, bool *ret_password_set, struct err *err)
{
    struct reconcile *rc = run->rc;
    struct seen *seen = ARENA_NEW(rc->arena, struct seen);
    struct login_plan plan;

    if (database_observe(conn, &rc->call, rc->arena, &run->scope, seen, err) ||
        database_check_owned(&run->scope, seen, err)) {
        return -1;
    }
    login_plan(rc->arena, &run->scope, seen, wanted, in_force, &plan);
    if (login_plan_is_empty(&plan)) {
        return 0;
    }
    *ret_password_set = plan.set_password;
    return login_execute(conn, &rc->call, rc->arena, &run->scope, wanted, &plan, password, err);
}

int login_ensure_role(const struct login_run *run, const struct login_wanted *wanted,
                      const struct secret *password, bool in_force, bool *ret_password_set,
                      struct err *err)
{
    AUTO(server_loan) struct server_loan loan = {0};

    *ret_password_set = false;
    if (servers_borrow(run->work->services->servers, run->rc, run->scope.server, NULL, &loan,
                       err)) {
        return -1;
    }
    if (ensure_role_on(run, loan.conn, wanted, password, in_force, ret_password_set, err)) {
        loan.failure = *err;
        return -1;
    }
    return 0;
}

/* ---- the step ---- */

static const char *format_time(const struct login_run *run, int64_t wall_s)
{
    char text[CLOCK_TEXT_BYTES];

    clock_format_s(wall_s, text);
    return arena_strdup(run->rc->arena, text);
}

/* The Secret holds this; health checks need not ask for it. */
static void remember(const struct login_run *run)
{
    AUTO(login) struct login login = {0};

    secret_set(&login.user, str_from(login_user(run, run->records.current)));
    secret_set(&login.database, str_from(run->scope.database));
    secret_copy(&login.password, &run->password);
    login_keep_put(run->work->services->logins, run->work->tenant->uid, LOGIN_DATABASE, &login);
}

static void report(const struct login_run *run)
{
    const struct login_records *records = &run->records;
    const struct login_record *current = &records->slots[records->current];
    const struct login_record *other = &records->slots[1 - records->current];
    struct tenant_work *work = run->work;

    work->database_secret_namespace = run->namespace_;
    work->database_secret_name = run->secret_name;
    work->login = (struct login_status){
        .user = login_user(run, records->current),
        .issued_at = format_time(run, current->issued_s),
        .handled_rotate_at = arena_strdup(run->rc->arena, records->request),
    };
    if (run->rotation.period_s > 0) {
        work->login.rotates_at = format_time(run, current->issued_s + run->rotation.period_s);
    }
    if (other->state == LOGIN_RETIRING) {
        work->login.retiring_user = login_user(run, 1 - records->current);
        work->login.retiring_until = format_time(run, other->retire_s);
    }
}

/* Tell the registry which password is in force, now that it is. */
static int confirm(struct login_run *run, struct err *err)
{
    struct login_records *records = &run->records;
    struct login_record *current = &records->slots[records->current];
    bool first = !*current->digest;

    if (registry_logins_put(run->work->services->registry, run->rc, run->scope.tenant_id,
                            records->current, run->digest, run->rotation.request,
                            &current->issued_s, err)) {
        return -1;
    }
    (void)snprintf(current->digest, sizeof(current->digest), "%s", run->digest);
    current->state = LOGIN_CURRENT;
    records->now_s = current->issued_s;
    if (first) {
        (void)snprintf(records->request, sizeof(records->request), "%s", run->rotation.request);
    }
    return 0;
}

/* Another controller may make or change the Secret at the same time, with a password of its own. So
 * each looks at the Secret once more behind its write to the role. A Secret that changes after that
 * is followed by a write of whoever changed it: the last write to the role says what the Secret
 * says. */
static int settle_password(struct login_run *run, struct err *err)
{
    enum { ATTEMPTS = 4 };
    AUTO(kube_secret) struct kube_secret current = {0};
    bool found = false;

    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        bool set = false;
        kube_secret_release(&current);
        if (fetch_secret(run, &current, &found, err)) {
            return -1;
        }
        const struct secret *password = kube_secret_get(&current, "password");
        if (found && password && secret_equal(password, &run->password)) {
            return 0;
        }
        if (!found || !login_password_usable(password) ||
            !text_equal(entry(&current, "user"), login_user(run, run->records.current))) {
            break;
        }
        secret_copy(&run->password, password);
        read_slot(run);
        if (login_ensure_role(run, &run->wanted, &run->password, false, &set, err)) {
            return -1;
        }
    }
    return err_set(err, ERR_CONFLICT, "Conflict", "somebody else changes the connection Secret");
}

static int ensure(struct login_run *run, struct err *err)
{
    bool password_set = false;

    if (registry_logins_get(run->work->services->registry, run->rc, run->scope.tenant_id,
                            &run->records, err) ||
        ensure_secret(run, err)) {
        return -1;
    }
    read_slot(run);
    bool two_open = run->records.slots[1 - run->records.current].state == LOGIN_RETIRING;
    if ((two_open && login_share_limit(run, 1 - run->records.current, err)) ||
        check_password(run, err) ||
        login_ensure_role(run, &run->wanted, &run->password, run->in_force, &password_set, err) ||
        (password_set && settle_password(run, err)) ||
        (!run->in_force && password_set && confirm(run, err)) || login_rotate(run, err)) {
        return -1;
    }
    remember(run);
    report(run);
    return 0;
}

int database_login_ensure(struct reconcile *rc, void *subject, struct err *err)
{
    struct tenant_work *work = subject;
    struct login_run *run = ARENA_NEW(rc->arena, struct login_run);

    *run = (struct login_run){
        .rc = rc,
        .work = work,
        .namespace_ = name_namespace(rc->arena, work->tenant->subdomain),
        .secret_name = name_database_secret(rc->arena, work->tenant->subdomain),
    };
    secret_init(&run->password);
    scope_init(&run->scope, rc->arena, work);
    read_wanted(run);
    int result = ensure(run, err);
    secret_release(&run->password);
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

    /* Without the namespace there is no right to look into it, and nothing to delete. */
    if (object_delete_own(rc, work, &ref, err)) {
        return err_has_reason(err, "Forbidden") ? 0 : -1;
    }
    return 0;
}
