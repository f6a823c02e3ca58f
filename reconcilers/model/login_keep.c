/* lock guards the table, and is held for moments only. */
#include "reconcilers/model/login_keep.h"

#include <pthread.h>
#include <stdlib.h>

#include "controller/base/map.h"
#include "controller/base/str.h"

/* A kind of which nothing is known has no user. */
struct kept {
    struct login logins[LOGIN_KINDS];
};

struct login_keep {
    size_t tenants_max;
    pthread_mutex_t lock;
    struct map tenants; /* Tenant's UID → struct kept, heap */
};

/* ---- logins ---- */

void login_release(struct login *login)
{
    secret_release(&login->user);
    secret_release(&login->password);
    secret_release(&login->database);
}

void login_copy(struct login *target, const struct login *source)
{
    secret_copy(&target->user, &source->user);
    secret_copy(&target->password, &source->password);
    secret_copy(&target->database, &source->database);
}

bool login_equal(const struct login *a, const struct login *b)
{
    bool user = secret_equal(&a->user, &b->user);
    bool password = secret_equal(&a->password, &b->password);
    bool database = secret_equal(&a->database, &b->database);

    return user && password && database;
}

static bool is_worth_keeping(const struct login *login)
{
    return !secret_is_empty(&login->user) && !secret_is_empty(&login->password) &&
           secret_length(&login->user) <= LOGIN_KEEP_VALUE_MAX_BYTES &&
           secret_length(&login->password) <= LOGIN_KEEP_VALUE_MAX_BYTES &&
           secret_length(&login->database) <= LOGIN_KEEP_VALUE_MAX_BYTES;
}

/* ---- life ---- */

static void kept_free(struct kept *kept)
{
    if (!kept) {
        return;
    }
    for (int kind = 0; kind < LOGIN_KINDS; kind++) {
        login_release(&kept->logins[kind]);
    }
    free(kept);
}

struct login_keep *login_keep_new(size_t tenants_max)
{
    struct login_keep *keep = xcalloc(1, sizeof(*keep));

    keep->tenants_max = tenants_max;
    pthread_mutex_init(&keep->lock, NULL);
    map_init(&keep->tenants);
    return keep;
}

void login_keep_free(struct login_keep *keep)
{
    size_t cursor = 0;
    struct str uid;
    void *kept = NULL;

    if (!keep) {
        return;
    }
    while (map_next(&keep->tenants, &cursor, &uid, &kept)) {
        kept_free(kept);
    }
    map_release(&keep->tenants);
    pthread_mutex_destroy(&keep->lock);
    free(keep);
}

/* ---- what is kept ---- */

/* The tenant's, made if there is room; NULL if not. */
static struct kept *place_for(struct login_keep *keep, const char *tenant_uid)
{
    struct kept *kept = map_get(&keep->tenants, str_from(tenant_uid));

    if (!kept && keep->tenants.count < keep->tenants_max) {
        kept = xcalloc(1, sizeof(*kept));
        (void)map_put(&keep->tenants, str_from(tenant_uid), kept);
    }
    return kept;
}

static void put(struct login_keep *keep, const char *tenant_uid, enum login_kind kind,
                const struct login *login, bool replace)
{
    if (!keep) {
        return;
    }
    pthread_mutex_lock(&keep->lock);
    struct kept *kept = place_for(keep, tenant_uid);
    if (kept && (replace || secret_is_empty(&kept->logins[kind].user))) {
        login_copy(&kept->logins[kind], login);
    }
    pthread_mutex_unlock(&keep->lock);
}

void login_keep_put(struct login_keep *keep, const char *tenant_uid, enum login_kind kind,
                    const struct login *login)
{
    if (is_worth_keeping(login)) {
        put(keep, tenant_uid, kind, login, true);
    } else {
        login_keep_drop(keep, tenant_uid, kind);
    }
}

void login_keep_add(struct login_keep *keep, const char *tenant_uid, enum login_kind kind,
                    const struct login *login)
{
    if (is_worth_keeping(login)) {
        put(keep, tenant_uid, kind, login, false);
    }
}

bool login_keep_get(struct login_keep *keep, const char *tenant_uid, enum login_kind kind,
                    struct login *ret)
{
    bool found = false;

    login_release(ret);
    if (!keep) {
        return false;
    }
    pthread_mutex_lock(&keep->lock);
    const struct kept *kept = map_get(&keep->tenants, str_from(tenant_uid));
    if (kept && !secret_is_empty(&kept->logins[kind].user)) {
        login_copy(ret, &kept->logins[kind]);
        found = true;
    }
    pthread_mutex_unlock(&keep->lock);
    return found;
}

void login_keep_drop(struct login_keep *keep, const char *tenant_uid, enum login_kind kind)
{
    if (!keep) {
        return;
    }
    pthread_mutex_lock(&keep->lock);
    struct kept *kept = map_get(&keep->tenants, str_from(tenant_uid));
    if (kept) {
        login_release(&kept->logins[kind]);
    }
    pthread_mutex_unlock(&keep->lock);
}

void login_keep_forget(struct login_keep *keep, const char *tenant_uid)
{
    if (!keep) {
        return;
    }
    pthread_mutex_lock(&keep->lock);
    kept_free(map_remove(&keep->tenants, str_from(tenant_uid)));
    pthread_mutex_unlock(&keep->lock);
}
