/* The step StorageKeys. The Secret is the truth about which key is in force; what the IAM service
 * lists beyond what it says is a key whose making was cut off, and goes. So after a crash anywhere
 * between making a key and writing the Secret, the next run removes that key and makes another, and
 * never are there more than two. */
#include "controller/base/str.h"
#include "reconcilers/model/conditions.h"
#include "reconcilers/model/login_keep.h"
#include "reconcilers/model/names.h"
#include "reconcilers/objects/objects.h"
#include "reconcilers/storage/keys_internal.h"
#include "reconcilers/storage/steps.h"

static void run_init(struct keys_run *run, struct reconcile *rc, struct tenant_work *work,
                     const struct store_loan *loan)
{
    const char *subdomain = work->tenant->subdomain;

    *run = (struct keys_run){
        .rc = rc,
        .work = work,
        .loan = loan,
        .namespace_ = name_namespace(rc->arena, subdomain),
        .secret_name = name_storage_secret(rc->arena, subdomain),
        .user = name_storage_user(rc->arena, loan->store->prefix, subdomain),
    };
}

static void run_release(struct keys_run *run)
{
    kube_secret_release(&run->current);
    secret_release(&run->secret);
}

/* ---- Static: the platform makes the key ---- */

static int take_static_key(struct keys_run *run, struct err *err)
{
    AUTO(kube_secret) struct kube_secret given = {0};
    const struct services *services = run->work->services;
    const char *name =
        arena_printf(run->rc->arena, "%s-storage-static", run->work->tenant->subdomain);

    if (kube_secret_fetch(services->kube, &run->rc->call, services->system_namespace, name,
                          NAME_LABEL_TENANT_UID, &given, err)) {
        if (err->cls != ERR_NOT_FOUND) {
            return -1;
        }
        return err_set(err, ERR_RETRY, "StorageCredentialsMissing",
                       "ObjectStore \"%s\" makes no accounts: put the tenant's key into Secret "
                       "\"%s/%s\", as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
                       run->loan->store->name, services->system_namespace, name);
    }
    const struct secret *id = kube_secret_get(&given, "AWS_ACCESS_KEY_ID");
    const struct secret *secret = kube_secret_get(&given, "AWS_SECRET_ACCESS_KEY");
    if (!id || secret_is_empty(id) || secret_length(id) >= IAM_KEY_BYTES || !secret ||
        secret_is_empty(secret)) {
        return err_set(err, ERR_RETRY, "StorageCredentialsMissing",
                       "Secret \"%s/%s\" lacks AWS_ACCESS_KEY_ID or AWS_SECRET_ACCESS_KEY",
                       services->system_namespace, name);
    }
    bool active = run->work->tenant->state == TENANT_ACTIVE;
    (void)snprintf(run->id, sizeof(run->id), "%s", active ? secret_bytes(id) : "");
    secret_set(&run->secret, str_from(active ? secret_bytes(secret) : ""));
    run->plan = (struct keys_plan){.previous_id = "", .rotation = ""};
    return 0;
}

/* ---- ensure ---- */

static int ensure_key(struct keys_run *run, struct err *err)
{
    if (!run->loan->iam) {
        return take_static_key(run, err) || bucket_fence_ensure(run, err) ? -1 : 0;
    }
    return keys_user_ensure(run, err) || keys_user_rotate(run, err) ? -1 : 0;
}

/* Ready means seen to work, and seen again when there is reason to. */
static int prove(const struct keys_run *run, struct err *err)
{
    const struct condition_set *before = &run->work->tenant->status.conditions;
    bool doubtful = run->changed || !condition_is_true(before, CONDITION_STORAGE);

    if (run->work->tenant->state != TENANT_ACTIVE || (!doubtful && !run->rc->drift_check)) {
        return 0;
    }
    return keys_try(run, doubtful, err);
}

static void tell(const struct keys_run *run)
{
    if (run->loan->iam && run->plan.create && *run->plan.previous_id) {
        work_event(run->work, EVENT_NORMAL, "KeyRotated", "Rotate",
                   "Secret \"%s/%s\" has a new key; the one before works for another %d minutes",
                   run->namespace_, run->secret_name, KEY_GRACE_S / 60);
    }
}

/* The Secret holds this; health checks need not ask for it. */
static void remember(const struct keys_run *run)
{
    AUTO(login) struct login login = {0};

    secret_set(&login.user, str_from(run->id));
    secret_copy(&login.password, &run->secret);
    login_keep_put(run->work->services->logins, run->work->tenant->uid, LOGIN_STORAGE, &login);
}

static int ensure(struct keys_run *run, struct err *err)
{
    if (keys_secret_read(run, err) || ensure_key(run, err) || keys_secret_ensure(run, err)) {
        return -1;
    }
    remember(run);
    tell(run);
    return prove(run, err);
}

/* ---- none ---- */

static int delete_secret(struct reconcile *rc, const struct tenant_work *work, struct err *err)
{
    const struct kube_ref ref = {
        .resource = &KUBE_SECRETS,
        .namespace_ = name_namespace(rc->arena, work->tenant->subdomain),
        .name = name_storage_secret(rc->arena, work->tenant->subdomain),
    };
    /* Without the namespace there is no right to look into it, and nothing to delete. */
    if (object_delete_own(rc, work, &ref, err)) {
        return err_has_reason(err, "Forbidden") ? 0 : -1;
    }
    return 0;
}

/* The account of a tenant that has, or had, buckets in a store. */
static int remove_account(struct reconcile *rc, struct tenant_work *work, struct err *err)
{
    AUTO(store_loan) struct store_loan loan = {0};
    struct bucket_row *rows = NULL;
    struct keys_run run;
    size_t count = 0;

    if (bucket_rows_fetch(work->services->registry, rc, work->tenant_id, &rows, &count, err)) {
        return -1;
    }
    if (count == 0) {
        return 0;
    }
    if (stores_borrow(work->services->stores, rc, rows[0].store, &loan, err)) {
        return -1;
    }
    run_init(&run, rc, work, &loan);
    if (loan.iam && keys_user_remove(&run, err)) {
        loan.failure = *err;
        return -1;
    }
    return delete_secret(rc, work, err);
}

int storage_keys_ensure(struct reconcile *rc, void *subject, struct err *err)
{
    AUTO(store_loan) struct store_loan loan = {0};
    struct tenant_work *work = subject;
    struct keys_run run;

    if (work->bucket_count == 0) {
        return remove_account(rc, work, err);
    }
    if (stores_borrow(work->services->stores, rc, work->buckets[0].store, &loan, err)) {
        return -1;
    }
    run_init(&run, rc, work, &loan);
    int result = ensure(&run, err);
    run_release(&run);
    if (result) {
        loan.failure = *err;
    }
    return result;
}

int storage_keys_finalize(struct reconcile *rc, void *subject, struct err *err)
{
    struct tenant_work *work = subject;

    if (text_is_empty(work->tenant_id)) {
        return 0;
    }
    if (remove_account(rc, work, err)) {
        return work->tenant->force_finalize && err->cls != ERR_CANCELED ? 0 : -1;
    }
    return 0;
}
