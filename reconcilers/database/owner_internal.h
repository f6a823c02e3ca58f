/* What the files about the tenant's owner share with each other and with tests. */
#ifndef TENANTRY_DATABASE_OWNER_INTERNAL_H
#define TENANTRY_DATABASE_OWNER_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

#include "controller/base/arena.h"
#include "controller/base/attributes.h"
#include "controller/base/call.h"
#include "controller/base/err.h"
#include "controller/base/hash.h"
#include "controller/base/secret.h"
#include "reconcilers/database/database_internal.h"
#include "reconcilers/drivers/sql.h"
#include "reconcilers/model/work.h"

/* ---- the row (owner_plan.c), pure ---- */

struct owner_row {
    const char *id;
    const char *email;
    const char *full_name;
    const char *role;
    bool must_change;
};

/* The id that the owner's row has when we make it: always the same for one tenant, so that a row
 * that was deleted comes back as the one that other rows refer to. */
void owner_user_id(const char *tenant_id, char ret_text[UUID_TEXT_BYTES]);

struct owner_plan {
    bool insert;
    bool set_email;
    bool set_name;
    bool set_role;
    const struct owner_row *row;    /* to be kept or updated; NULL when inserting */
    const struct owner_row *demote; /* who is owner no more; NULL if nobody */
};
/* rows: those of our id or of the owner's address, at most one each. */
void owner_plan(const struct tenant *tenant, const char *user_id, const struct owner_row *rows,
                size_t count, struct owner_plan *ret);

/* ---- statements (owner_sql.c): on a connection to the tenant's database ---- */

MUST_CHECK int owner_observe(struct sql_conn *conn, const struct call *call, struct arena *arena,
                             const struct scope *scope, const char *user_id, const char *email,
                             struct owner_row **ret, size_t *ret_count, struct err *err);
/* hash: of the temporary password; for an insert, which sets must_change_password. */
MUST_CHECK int owner_execute(struct sql_conn *conn, const struct call *call,
                             const struct scope *scope, const struct owner_plan *plan,
                             const struct tenant *tenant, const char *user_id,
                             const struct secret *hash, struct err *err);
/* Replace the hash of a temporary password; not one that the owner chose meanwhile. */
MUST_CHECK int owner_set_hash(struct sql_conn *conn, const struct call *call,
                              const struct scope *scope, const char *user_id,
                              const struct secret *hash, struct err *err);

/* ---- the temporary password (owner_credential.c) ---- */

/* bcrypt, "$2b$", cost 12. */
MUST_CHECK int owner_hash(const struct secret *password, struct secret *ret_hash, struct err *err);
/* Whether a password that somebody put into the Secret may be used: 16 to 72 visible ASCII
 * characters (bcrypt reads no more). */
bool owner_password_usable(const struct secret *password);
/* Make a new password, put it into the Secret, hash it: into work. */
MUST_CHECK int owner_credential_renew(struct reconcile *rc, struct tenant_work *work,
                                      struct err *err);
/* Look at the Secret once more. Another password in it than the one in work goes to work, with its
 * hash, and *ret_same is false. Errors: CONFLICT when there is no usable one any more. */
MUST_CHECK int owner_credential_again(struct reconcile *rc, struct tenant_work *work,
                                      bool *ret_same, struct err *err);
/* Note that the password in work is in force. */
MUST_CHECK int owner_credential_confirm(struct reconcile *rc, const struct tenant_work *work,
                                        struct err *err);
/* Remove the Secret and the right to read it, if they are this tenant's. */
MUST_CHECK int owner_credential_remove(struct reconcile *rc, const struct tenant_work *work,
                                       struct err *err);

#endif
