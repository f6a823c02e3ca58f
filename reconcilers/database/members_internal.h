/* What the files about a tenant's members share with each other and with tests. */
#ifndef TENANTRY_DATABASE_MEMBERS_INTERNAL_H
#define TENANTRY_DATABASE_MEMBERS_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/base/arena.h"
#include "controller/base/attributes.h"
#include "controller/base/buf.h"
#include "controller/base/call.h"
#include "controller/base/err.h"
#include "reconcilers/database/database_internal.h"
#include "reconcilers/drivers/sql.h"
#include "reconcilers/registry/registry_members.h"

/* ---- the plan (members_plan.c), pure ---- */

/* A row of the tenant's users. */
struct user_row {
    const char *email;
    const char *full_name;
    const char *role;
    bool disabled;
};

struct members_seen {
    const struct member_row *registered; /* of tenant_users */
    size_t registered_count;
    const struct user_row *users; /* of the spec's and the registry's addresses */
    size_t user_count;
};

enum member_action_kind {
    MEMBER_ADD,      /* to users */
    MEMBER_UPDATE,   /* name and role in users */
    MEMBER_ENABLE,   /* in users, who is there and disabled; name and role too */
    MEMBER_DISABLE,  /* in users, who is there and is not */
    MEMBER_ERASE,    /* from users, with all that is theirs */
    MEMBER_REGISTER, /* in tenant_users: active, in this role */
    MEMBER_SUSPEND,  /* in tenant_users: disabled */
    MEMBER_FORGET,   /* from tenant_users */
};
struct member_action {
    enum member_action_kind kind;
    const char *email;
    const char *name;
    const char *role;
};
struct members_plan {
    struct member_action *actions; /* those on users first */
    size_t count;
    const char *excess; /* NULL, or who did not fit */
};
/* limit: of users, the owner among them; -1 = none. erase: addresses joined by ',', of people who
 * may be removed altogether if the spec does not name them. In the arena. */
void members_plan(struct arena *arena, const struct tenant *tenant, int64_t limit,
                  const char *erase, const struct members_seen *seen, struct members_plan *ret);

/* ---- statements (members_sql.c): on a connection to the tenant's database ---- */

/* Hashes that no password has. */
#define MEMBER_NO_PASSWORD "!"
#define MEMBER_DISABLED "!disabled!" /* what was there before stands behind it */

/* emails: a JSON array. */
MUST_CHECK int members_observe(struct sql_conn *conn, const struct call *call, struct arena *arena,
                               const struct scope *scope, const char *emails,
                               const struct user_row **ret, size_t *ret_count, struct err *err);
/* Those of the actions that concern users. */
MUST_CHECK int members_execute(struct sql_conn *conn, const struct call *call,
                               const struct scope *scope, const struct members_plan *plan,
                               struct err *err);
/* Append the actions of a kind as [{"email":…,"name":…,"role":…}]; returns how many there are. */
size_t members_write(const struct members_plan *plan, enum member_action_kind kind,
                     struct buf *out);

#endif
