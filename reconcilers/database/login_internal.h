/* What the files about a tenant's logins share with each other and with tests. */
#ifndef TENANTRY_DATABASE_LOGIN_INTERNAL_H
#define TENANTRY_DATABASE_LOGIN_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/base/call.h"
#include "controller/base/err.h"
#include "controller/base/secret.h"
#include "controller/kube/secret_object.h"
#include "reconcilers/database/database_internal.h"
#include "reconcilers/database/servers.h"
#include "reconcilers/drivers/sql.h"

/* ---- the Secret (login_secret.c), pure ---- */

/* Where and as whom a client of the tenant connects. */
struct login_address {
    struct server_endpoint endpoint;
    const char *database;
    const char *schema;
    const char *user;
};
/* Every entry of the connection Secret. *ret must be zeroed. */
void login_secret_render(const struct login_address *address, const struct secret *password,
                         struct kube_secret *ret);
/* Whether `actual` has every entry of `wanted` with its value; what else it has does not matter. */
bool login_secret_holds(const struct kube_secret *actual, const struct kube_secret *wanted);
/* Whether a password that somebody put into the Secret may be used: 24 to 128 visible ASCII
 * characters. */
bool login_password_usable(const struct secret *password);

/* ---- the role (login_plan.c), pure ---- */

struct login_wanted {
    enum role_kind slot; /* ROLE_A or ROLE_B */
    bool enabled;
    bool limits_known; /* false: the tier is not known, and limits stay as they are */
    int64_t connection_limit;
    int64_t statement_timeout_ms; /* 0 = the server's own */
    int64_t idle_in_transaction_timeout_ms;
};

/* Session settings of a login in the tenant's database. They are defaults, which the tenant may
 * change: they are set when they are missing, or when what we want has changed, which the digest in
 * the role's mark tells. */
enum login_default {
    DEFAULT_ROLE = 1 << 0, /* sessions begin as .app, so that both slots share what they make */
    DEFAULT_SEARCH_PATH = 1 << 1,
    DEFAULT_STATEMENT_TIMEOUT = 1 << 2,
    DEFAULT_IDLE_TIMEOUT = 1 << 3,
};

struct login_plan {
    bool create;
    bool set_password;
    bool set_login; /* to wanted.enabled */
    bool set_limit;
    bool set_mark;
    unsigned set_defaults;   /* of enum login_default */
    unsigned reset_defaults; /* no longer wanted */
};
/* The mark of a login: the tenant's, and a digest of the settings. In the arena. */
const char *login_mark(struct arena *arena, const struct scope *scope,
                       const struct login_wanted *wanted);
/* password_in_force: the role is known to have the password that the Secret holds. */
void login_plan(struct arena *arena, const struct scope *scope, const struct role_seen *seen,
                const struct login_wanted *wanted, bool password_in_force, struct login_plan *ret);
bool login_plan_is_empty(const struct login_plan *plan);

/* ---- statements (login_sql.c) ---- */

/* Execute the plan in one transaction. password is what the role gets if the plan says so. */
MUST_CHECK int login_execute(struct sql_conn *conn, const struct call *call, struct arena *arena,
                             const struct scope *scope, const struct login_wanted *wanted,
                             const struct login_plan *plan, const struct secret *password,
                             struct err *err);

#endif
