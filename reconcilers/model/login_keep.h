/* What tenants log in with, remembered between health checks.
 *
 * Secrets are not watched: to watch any is to be allowed to read all of the cluster. So that a
 * check need not ask for its tenant's Secret each time, the steps that read or write the Secret
 * leave here what it holds, and a check asks the API only for what is not here, or what the
 * other side refuses. Nothing but health checks may go by it: what a Secret says is known by
 * reading it.
 *
 * Bounded in tenants and bytes; what goes or is replaced is wiped. By the Tenant's UID, so that
 * another one of the same name never gets it. Thread-safe. */
#ifndef TENANTRY_MODEL_LOGIN_KEEP_H
#define TENANTRY_MODEL_LOGIN_KEEP_H

#include <stdbool.h>
#include <stddef.h>

#include "controller/base/secret.h"

/* With 10,000 tenants, 6 MiB. */
enum { LOGIN_KEEP_TENANTS_MAX = 10000, LOGIN_KEEP_VALUE_MAX_BYTES = 256 };

enum login_kind {
    LOGIN_DATABASE, /* user, password, database */
    LOGIN_STORAGE,  /* access key's id, its secret, "" */
    LOGIN_KINDS,
};

struct login {
    struct secret user;
    struct secret password;
    struct secret database;
};
void login_release(struct login *login);
static inline void auto_release_login(struct login *login)
{
    login_release(login);
}
void login_copy(struct login *target, const struct login *source);
/* Constant time in the values. */
bool login_equal(const struct login *a, const struct login *b);

struct login_keep;
struct login_keep *login_keep_new(size_t tenants_max);
void login_keep_free(struct login_keep *keep);

/* keep may be NULL in what follows: then nothing is kept. */

/* The Secret holds this now, as a step saw it that answers for it. One without user or password,
 * or with a value of more than LOGIN_KEEP_VALUE_MAX_BYTES, is dropped instead, and beyond
 * tenants_max nothing is added. */
void login_keep_put(struct login_keep *keep, const char *tenant_uid, enum login_kind kind,
                    const struct login *login);
/* The same of somebody who read the Secret and may be late: what is kept already stays. */
void login_keep_add(struct login_keep *keep, const char *tenant_uid, enum login_kind kind,
                    const struct login *login);
/* *ret is replaced by a copy; false, and *ret empty, when nothing is kept. */
bool login_keep_get(struct login_keep *keep, const char *tenant_uid, enum login_kind kind,
                    struct login *ret);
/* It was refused. */
void login_keep_drop(struct login_keep *keep, const char *tenant_uid, enum login_kind kind);
/* The tenant is gone. */
void login_keep_forget(struct login_keep *keep, const char *tenant_uid);

#endif
