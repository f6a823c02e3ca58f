/* The tenant's user at the store's IAM service, with its policy and keys. The user bears the
 * tenant's id as a tag from its first moment on; one that does not is somebody else's. */
#include <string.h>

#include "controller/base/cancel.h"
#include "controller/base/clock.h"
#include "controller/base/str.h"
#include "reconcilers/model/names.h"
#include "reconcilers/storage/keys_internal.h"

enum { SETTLE_MAX_MS = 10 * 1000, SETTLE_FIRST_PAUSE_MS = 20, SETTLE_MAX_PAUSE_MS = 1000 };

/* ---- the user ---- */

static int refuse(const struct keys_run *run, const char *owner, struct err *err)
{
    return err_set(err, ERR_TERMINAL, "NameConflict",
                   "user \"%s\" at the accounts of ObjectStore \"%s\" exists and is not this "
                   "tenant's (its tag %s is \"%s\"): remove it, or rename the tenant; or, if it is "
                   "this tenant's own, tag it %s=%s",
                   run->user, run->loan->store->name, TAG_TENANT_ID, owner, TAG_TENANT_ID,
                   run->work->tenant_id);
}

static int check_owner(const struct keys_run *run, bool *ret_found, struct err *err)
{
    char owner[IAM_TAG_BYTES];

    *ret_found = true;
    if (iam_user_tag(run->loan->iam, &run->rc->call, run->user, TAG_TENANT_ID, owner, err)) {
        *ret_found = false;
        return err->cls == ERR_NOT_FOUND ? 0 : -1;
    }
    return text_equal(owner, run->work->tenant_id) ? 0 : refuse(run, owner, err);
}

/* Made blindly where nothing speaks for a user that is there already. */
static int ensure_user(const struct keys_run *run, bool *ret_created, struct err *err)
{
    bool found = false;

    *ret_created = false;
    if (run->has_secret_object && check_owner(run, &found, err)) {
        return -1;
    }
    if (!found && iam_user_create(run->loan->iam, &run->rc->call, run->user, TAG_TENANT_ID,
                                  run->work->tenant_id, ret_created, err)) {
        return -1;
    }
    return found || *ret_created ? 0 : check_owner(run, &found, err);
}

static const char *backups_bucket(const struct keys_run *run)
{
    return name_bucket(run->rc->arena, run->loan->store->prefix, run->work->tenant->subdomain,
                       BUCKET_BACKUPS);
}

static int ensure_policy(struct keys_run *run, bool fresh, struct err *err)
{
    AUTO(buf) struct buf actual = BUF(IAM_POLICY_MAX_BYTES);
    const struct tenant_work *work = run->work;
    const char *wanted = storage_policy(run->rc->arena, work->buckets, work->bucket_count,
                                        backups_bucket(run), work->storage_spent);

    if (!fresh) {
        if (iam_policy(run->loan->iam, &run->rc->call, run->user, STORAGE_POLICY, &actual, err)) {
            if (err->cls != ERR_NOT_FOUND) {
                return -1;
            }
        } else if (storage_policy_equal(buf_text(&actual), wanted)) {
            return 0;
        }
    }
    run->changed = true;
    return iam_policy_put(run->loan->iam, &run->rc->call, run->user, STORAGE_POLICY, wanted, err);
}

int keys_user_ensure(struct keys_run *run, struct err *err)
{
    bool created = false;

    if (strlen(run->user) > NAME_STORAGE_USER_BYTES) {
        return err_set(err, ERR_TERMINAL, "InvalidName",
                       "the user \"%s\" would have a name of %zu characters, and %d are allowed",
                       run->user, strlen(run->user), NAME_STORAGE_USER_BYTES);
    }
    if (ensure_user(run, &created, err)) {
        return -1;
    }
    run->changed |= created;
    return ensure_policy(run, created, err);
}

/* ---- keys ---- */

static int switch_keys(const struct keys_run *run, bool active, struct err *err)
{
    for (size_t i = 0; i < run->plan.set_count; i++) {
        if (iam_key_set_active(run->loan->iam, &run->rc->call, run->user, run->plan.set[i], active,
                               err)) {
            return -1;
        }
    }
    return 0;
}

/* A new key goes into the Secret only once it works, so that whoever reads it there never meets a
 * service that does not know it yet. */
static int create_key(struct keys_run *run, bool active, struct err *err)
{
    run->changed = true;
    if (iam_key_create(run->loan->iam, &run->rc->call, run->user, run->id, &run->secret, err)) {
        return -1;
    }
    if (active) {
        return keys_try(run, false, err);
    }
    return iam_key_set_active(run->loan->iam, &run->rc->call, run->user, run->id, false, err);
}

int keys_user_rotate(struct keys_run *run, struct err *err)
{
    struct iam_key *seen = ARENA_ARRAY(run->rc->arena, struct iam_key, IAM_KEYS_MAX);
    bool active = run->work->tenant->state == TENANT_ACTIVE;
    size_t count = 0;

    if (iam_key_list(run->loan->iam, &run->rc->call, run->user, seen, &count, err)) {
        return -1;
    }
    keys_plan(&run->known, seen, count, active, run->work->tenant->rotate_requested_at,
              clock_wall_s(), &run->plan);
    for (size_t i = 0; i < run->plan.remove_count; i++) {
        if (iam_key_delete(run->loan->iam, &run->rc->call, run->user, run->plan.remove[i], err)) {
            return -1;
        }
    }
    run->changed |= run->plan.set_count > 0;
    if (switch_keys(run, active, err)) {
        return -1;
    }
    return run->plan.create ? create_key(run, active, err) : 0;
}

/* ---- the end ---- */

int keys_user_remove(const struct keys_run *run, struct err *err)
{
    struct iam *iam = run->loan->iam;
    const struct call *call = &run->rc->call;
    struct iam_key seen[IAM_KEYS_MAX];
    size_t count = 0;
    bool found = false;

    if (check_owner(run, &found, err)) {
        return err_has_reason(err, "NameConflict") ? 0 : -1;
    }
    if (!found) {
        return 0;
    }
    if (iam_key_list(iam, call, run->user, seen, &count, err)) {
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        if (iam_key_delete(iam, call, run->user, seen[i].id, err)) {
            return -1;
        }
    }
    return iam_policy_delete(iam, call, run->user, STORAGE_POLICY, err) ||
                   iam_user_delete(iam, call, run->user, err)
               ? -1
               : 0;
}

/* ---- proof ---- */

static bool is_settling(const struct err *err)
{
    return err_has_reason(err, "StorageForbidden") || err_has_reason(err, "StorageCredentials");
}

static int try_bucket(const struct keys_run *run, struct s3 *tenant, const char *bucket,
                      struct err *err)
{
    int64_t end_ms = clock_monotonic_ms() + SETTLE_MAX_MS;
    int64_t pause_ms = SETTLE_FIRST_PAUSE_MS;

    while (s3_bucket_head(tenant, &run->rc->call, bucket, err)) {
        if (!is_settling(err) || clock_monotonic_ms() + pause_ms > end_ms ||
            call_remaining_ms(&run->rc->call, pause_ms + 1) <= pause_ms) {
            return err_wrap(err, "with the tenant's own key");
        }
        if (!cancel_sleep_ms(run->rc->call.cancel, pause_ms)) {
            return cancel_check(run->rc->call.cancel, err);
        }
        pause_ms = pause_ms * 2 < SETTLE_MAX_PAUSE_MS ? pause_ms * 2 : SETTLE_MAX_PAUSE_MS;
    }
    return 0;
}

int keys_try(const struct keys_run *run, bool all, struct err *err)
{
    AUTO(s3) struct s3 *tenant = NULL;
    size_t count = all ? run->work->bucket_count : 1;

    if (stores_open_as(run->loan, run->id, &run->secret, &tenant, err)) {
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        if (try_bucket(run, tenant, run->work->buckets[i].name, err)) {
            return -1;
        }
    }
    return 0;
}
