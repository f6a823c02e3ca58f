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
#include "reconcilers/registry/registry_logins.h"

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
    int64_t database_limit; /* -1 = none: while two logins are open, what bounds them together */
    int64_t statement_timeout_ms; /* 0 = the server's own */
    int64_t idle_in_transaction_timeout_ms;
    bool extensions; /* their schema is in the search path */
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
    bool set_database_limit;
    bool set_mark;
    unsigned set_defaults;   /* of enum login_default */
    unsigned reset_defaults; /* no longer wanted */
};
/* The mark of a login: the tenant's, and a digest of the settings. In the arena. */
const char *login_mark(struct arena *arena, const struct scope *scope,
                       const struct login_wanted *wanted);
/* password_in_force: the role is known to have the password that the Secret holds. */
void login_plan(struct arena *arena, const struct scope *scope, const struct seen *all,
                const struct login_wanted *wanted, bool password_in_force, struct login_plan *ret);
bool login_plan_is_empty(const struct login_plan *plan);

/* ---- rotation (login_rotate_plan.c), pure ---- */

struct rotation_wanted {
    bool active;         /* suspended tenants are not rotated, and keep no second login open */
    const char *request; /* the annotation; "" = none */
    int64_t period_s;    /* 0 = none */
    int64_t overlap_s;
};
enum rotation_action {
    ROTATION_NONE,
    ROTATION_BEGIN,  /* give the other slot a password, and hand it out */
    ROTATION_NOTICE, /* a session of the retiring slot is there: note when */
    ROTATION_CLOSE,  /* the retiring slot's time is over */
};
struct rotation_plan {
    enum rotation_action action;
    int64_t again_ms; /* when to plan again; 0 = on a change only */
};
/* sessions: of the retiring slot, if there is one. */
void rotation_plan(const struct login_records *records, const struct rotation_wanted *wanted,
                   int64_t sessions, struct rotation_plan *ret);

/* ---- one run of the step (login.c, login_rotate.c) ---- */

struct login_run {
    struct reconcile *rc;
    struct tenant_work *work;
    struct scope scope;
    struct login_wanted wanted; /* of the current slot */
    struct rotation_wanted rotation;
    const char *namespace_;
    const char *secret_name;
    struct login_records records;
    struct secret password; /* of the current slot, as the Secret holds it */
    char digest[SHA256_TEXT_BYTES];
    bool in_force; /* the registry says that the current role has this password */
};
/* "tenant_acme.b" */
const char *login_user(const struct login_run *run, int slot);
void login_digest(const struct secret *password, char ret_text[SHA256_TEXT_BYTES]);
/* The Secret names this slot with this password. */
MUST_CHECK int login_apply_secret(const struct login_run *run, int slot,
                                  const struct secret *password, struct err *err);
/* The role of a slot is as wanted, with this password unless it is in force. *ret_password_set. */
MUST_CHECK int login_ensure_role(const struct login_run *run, const struct login_wanted *wanted,
                                 const struct secret *password, bool in_force,
                                 bool *ret_password_set, struct err *err);

/* Look whether a rotation is due, or one has something left to do, and do it. Order, so that the
 * Secret never names a login that does not work: the registry is told what comes, the role gets its
 * password, the Secret names it, the registry knows. A crash in between leaves the Secret naming
 * either login, and both work. run->records is the new state afterwards. */
MUST_CHECK int login_rotate(struct login_run *run, struct err *err);
/* Two logins are open, or about to be, in a database that others use too: each gets a share of the
 * limit, of which the sum is the limit: what it uses, and half of what is free. The older one's is
 * set here, the other one's is run->wanted.connection_limit. Where the database is the tenant's own
 * its limit bounds both, and nothing is done. */
MUST_CHECK int login_share_limit(struct login_run *run, int older, struct err *err);
/* An earlier run handed out the next login and ended before it could say so. */
MUST_CHECK int login_rotate_finish(struct login_run *run, struct err *err);

/* ---- statements (login_sql.c) ---- */

struct login_use {
    int64_t sessions;
    int64_t limit; /* CONNECTION LIMIT; 0 when there is no such role */
};
MUST_CHECK int login_observe_use(struct sql_conn *conn, const struct call *call, const char *user,
                                 struct login_use *ret, struct err *err);
MUST_CHECK int login_set_limit(struct sql_conn *conn, const struct call *call, const char *user,
                               int64_t limit, struct err *err);
/* No more logins of the role; its password is gone, and its sessions are told to end. */
MUST_CHECK int login_close(struct sql_conn *conn, const struct call *call,
                           const struct scope *scope, const char *user, int64_t database_limit,
                           struct err *err);

/* Execute the plan in one transaction. password is what the role gets if the plan says so. */
MUST_CHECK int login_execute(struct sql_conn *conn, const struct call *call, struct arena *arena,
                             const struct scope *scope, const struct login_wanted *wanted,
                             const struct login_plan *plan, const struct secret *password,
                             struct err *err);

#endif
