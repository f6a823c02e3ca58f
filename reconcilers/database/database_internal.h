/* What the files about a tenant's database share with each other and with tests: what was seen on
 * the server, the actions that lead from there to what is wanted, and the statements. */
#ifndef TENANTRY_DATABASE_INTERNAL_H
#define TENANTRY_DATABASE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/base/arena.h"
#include "controller/base/attributes.h"
#include "controller/base/buf.h"
#include "controller/base/call.h"
#include "controller/base/err.h"
#include "reconcilers/database/mode.h"
#include "reconcilers/drivers/sql.h"
#include "reconcilers/model/work.h"

/* ---- who is who ---- */

/* One tenant on its server, or what the tenants there share: names as they were taken, and the mark
 * that proves they are its own. */
struct scope {
    const struct mode *mode;
    const char *tenant_id; /* "shared" of what is shared */
    const char *uid;
    const char *subdomain;
    const char *server;
    const char *database;
    const char *schema;
    const char *roles[ROLE_COUNT]; /* "" where the scope has none */
    const char *role_prefix;       /* of the roles around the tables: "tenant_acme." */
    const char *mark;              /* the comment of database and roles */
    bool takes_spares;             /* its database may be one that was made ahead (spares.h) */
};
/* From what Registered decided. Strings are in the arena or borrowed from work. */
void scope_init(struct scope *scope, struct arena *arena, const struct tenant_work *work);
/* What the tenants of a server share in `database`. */
void scope_init_shared(struct scope *scope, struct arena *arena, const char *server,
                       const char *database);
/* Whether the role is the scope's own. */
static inline bool scope_owns(const struct scope *scope, int role)
{
    return (scope->mode->own & ROLE_BIT(role)) != 0;
}
/* The same, for a tenant that is being deleted: false when the registry knows of none. Errors:
 * those of record_find. */
MUST_CHECK int scope_find(struct scope *scope, struct reconcile *rc, struct tenant_work *work,
                          bool *ret_found, struct err *err);

/* "tenantry: tenant <id> uid <uid>", and what stands behind it; or "tenantry: shared", whose id is
 * "shared". */
struct mark {
    struct str id;
    struct str uid;
    struct str rest;
};
/* False when the comment (may be NULL) is none of ours. */
bool mark_parse(const char *comment, struct mark *ret);

/* ---- what was seen ---- */

struct role_seen {
    bool exists;
    bool can_login;
    bool superuser;
    bool create_db;
    bool create_role;
    bool replication;
    bool bypass_rls;
    bool inherits;
    bool expires; /* VALID UNTIL is set */
    int64_t connection_limit;
    const char *comment;  /* "" if none */
    const char *settings; /* of a login in the tenant's database, names joined by ' '; "" if none */
};

struct membership_seen {
    const char *role;
    const char *member;
    bool admin;
};

struct privilege_seen {
    const char *grantee; /* "" = PUBLIC */
    const char *privilege;
    bool grantable;
};

struct database_seen {
    bool exists;
    bool allows_connections;
    int64_t connection_limit; /* -2: a DROP was interrupted, and only another DROP can follow */
    const char *owner;
    bool acts_as_its_owner; /* the controller does, whoever that is */
    const char *comment;
    const struct privilege_seen *privileges;
    size_t privilege_count;
};

struct seen {
    const char *self; /* the controller's role */
    bool acts_as_owner;
    bool shared_roles; /* tenantry_app and tenantry_gateway stand, one a member of the other */
    const char *spare; /* what the database may be made of, if the scope takes spares; "" = none */
    struct role_seen roles[ROLE_COUNT];
    struct database_seen database;
    /* In or of the tenant's roles, but for the controller's own. */
    const struct membership_seen *memberships;
    size_t membership_count;
};

/* ---- what to do ---- */

enum action_kind {
    ACTION_MAKE_SHARED_ROLES,
    ACTION_CREATE_ROLE,
    ACTION_MARK_ROLE,
    ACTION_RESTRICT_ROLE, /* take away the attributes in `flaws` */
    ACTION_DISABLE_LOGIN,
    ACTION_ACT_AS_OWNER,  /* or as another role of the tenant */
    ACTION_GRANT_ROLE,    /* role to member */
    ACTION_REVOKE_ROLE,   /* role from member */
    ACTION_DROP_DATABASE, /* what an interrupted DROP left */
    ACTION_CREATE_DATABASE,
    ACTION_TAKE_DATABASE, /* make the owner role own it */
    ACTION_MARK_DATABASE,
    ACTION_REVOKE_DATABASE, /* everything from grantee */
    ACTION_GRANT_DATABASE,  /* to grantee what it is to have */
    ACTION_OPEN_DATABASE,
    ACTION_CLOSE_DATABASE,
};

enum role_flaw {
    FLAW_SUPERUSER = 1 << 0,
    FLAW_CREATE_DB = 1 << 1,
    FLAW_CREATE_ROLE = 1 << 2,
    FLAW_REPLICATION = 1 << 3,
    FLAW_BYPASS_RLS = 1 << 4,
    FLAW_NO_INHERIT = 1 << 5,
    FLAW_LOGIN = 1 << 6, /* of a group role */
    FLAW_CONNECTION_LIMIT = 1 << 7,
    FLAW_EXPIRES = 1 << 8,
};

struct action {
    enum action_kind kind;
    const char *role;   /* of the role's own, or the role granted */
    const char *member; /* GRANT_ROLE, REVOKE_ROLE; the grantee of a database, "" = PUBLIC; whom
                           TAKE_DATABASE takes it from; the spare that CREATE_DATABASE renames */
    unsigned flaws;     /* of enum role_flaw */
    bool foreign;       /* TAKE_DATABASE: the controller must first become a member of its owner */
};
enum { ACTIONS_MAX = 128 };

struct plan {
    struct action actions[ACTIONS_MAX];
    size_t count;
    bool truncated; /* more was to be done: look again afterwards */
};

/* Whether database and roles that exist are this tenant's. Pure. Errors: TERMINAL/NameConflict with
 * the ways out. */
MUST_CHECK int database_check_owned(const struct scope *scope, const struct seen *seen,
                                    struct err *err);
/* What of the roles and the database is surely this tenant's: by kind, and the database. Pure. */
struct owned {
    bool roles[ROLE_COUNT];
    bool database;
};
void database_owned(const struct scope *scope, const struct seen *seen, struct owned *ret);
/* Whether the scope's database, or without one any of its roles, was there. Pure. */
bool database_stood(const struct scope *scope, const struct seen *seen);

/* The actions that make database and roles so, in order; none when they are. Pure. seen has passed
 * database_check_owned. */
void database_plan(const struct scope *scope, const struct seen *seen, bool suspended,
                   struct plan *ret);
/* Split a plan in what follows from the spec, and what somebody changed. adopting: marks and the
 * closed database are those of an earlier Tenant. Pure. */
void database_plan_split(const struct plan *plan, bool adopting, struct plan *ret_intended,
                         struct plan *ret_drift);
/* Whether the marks are those of another Tenant that had this id before. Pure. */
bool database_is_adopted(const struct scope *scope, const struct seen *seen);
/* The actions that lock what is owned: no login, and with `close` no connection. Pure. */
void database_plan_lock(const struct scope *scope, const struct seen *seen,
                        const struct owned *owned, bool close, struct plan *ret);
/* What a role is to have on the scope's database, of enum right; "" = PUBLIC. Pure. */
unsigned database_rights(const struct scope *scope, const char *grantee);
/* The actions after which nobody but the owner role, which the controller acts as, and superusers
 * get in, and the controller acts as every role that may own something there. Where the database is
 * shared, only the tenant's logins are kept out. Pure. */
void database_plan_seal(const struct scope *scope, const struct seen *seen,
                        const struct owned *owned, struct plan *ret);
/* The actions in words, for an Event: "PUBLIC lost its rights on the database; ..." */
void database_plan_describe(const struct scope *scope, const struct plan *plan, struct buf *out);

/* ---- statements: each takes a connection to the maintenance database ---- */

MUST_CHECK int database_observe(struct sql_conn *conn, const struct call *call, struct arena *arena,
                                const struct scope *scope, struct seen *ret, struct err *err);
MUST_CHECK int database_size(struct sql_conn *conn, const struct call *call,
                             const struct scope *scope, int64_t *ret_bytes, struct err *err);
/* Execute the plan: one script for what may share a transaction, the others by themselves. */
MUST_CHECK int database_execute(struct sql_conn *conn, const struct call *call,
                                const struct scope *scope, const struct plan *plan,
                                struct err *err);
/* observe, check_owned, plan. Changes nothing. */
MUST_CHECK int database_look(struct sql_conn *conn, const struct call *call, struct arena *arena,
                             const struct scope *scope, bool suspended, struct seen *ret_seen,
                             struct plan *ret_plan, struct err *err);
/* Execute what a look found to be done; where something stood already, look again afterwards, since
 * a statement may succeed and change nothing. Errors: RETRY/InsufficientPrivilege with what only a
 * superuser can put right, CONFLICT/Conflict when another was faster. */
MUST_CHECK int database_apply(struct sql_conn *conn, const struct call *call, struct arena *arena,
                              const struct scope *scope, bool suspended, const struct seen *seen,
                              const struct plan *plan, struct err *err);

/* End the sessions of the tenant's logins, and with whole_database all others in its database but
 * those of superusers; wait up to 2 s until they are gone. *ret_left: how many are not. Sends no
 * write when there is none. */
MUST_CHECK int database_end_sessions(struct sql_conn *conn, const struct call *call,
                                     const struct scope *scope, bool whole_database, int *ret_left,
                                     struct err *err);
/* What keeps the database from being dropped, in words; "" if nothing. In the arena. */
MUST_CHECK int database_obstacles(struct sql_conn *conn, const struct call *call,
                                  struct arena *arena, const struct scope *scope, const char **ret,
                                  struct err *err);

/* A transaction that was prepared in the database and never ended. */
struct prepared {
    const char *gid;
    const char *owner;
};
MUST_CHECK int database_prepared(struct sql_conn *conn, const struct call *call,
                                 struct arena *arena, const struct scope *scope,
                                 struct prepared **ret, size_t *ret_count, struct err *err);
/* conn: to the database where it was prepared. */
MUST_CHECK int database_roll_back_prepared(struct sql_conn *conn, const struct call *call,
                                           const struct prepared *prepared, struct err *err);

/* A database that is gone is a success. Errors: WAIT/DatabaseBusy. */
MUST_CHECK int database_drop(struct sql_conn *conn, const struct call *call,
                             const struct scope *scope, struct err *err);

/* A database other than the tenant's that holds something of its roles. */
struct dependency {
    const char *database; /* "" = something shared by all databases */
    const char *roles;    /* in words */
};
MUST_CHECK int database_dependencies(struct sql_conn *conn, const struct call *call,
                                     struct arena *arena, const struct scope *scope,
                                     const struct owned *owned, struct dependency **ret,
                                     size_t *ret_count, struct err *err);
/* Give what the owned roles own in conn's database to that database's owner, or to the controller
 * where it may not; and take every right from them. Nothing is dropped but with `drop`, in a
 * database where all they have is the tenant's. */
MUST_CHECK int database_disown(struct sql_conn *conn, const struct call *call,
                               const struct scope *scope, const struct owned *owned, bool drop,
                               struct err *err);
/* Roles that are gone are a success. Errors: WAIT/DatabaseBusy, naming where something still hangs
 * on them. */
MUST_CHECK int database_drop_roles(struct sql_conn *conn, const struct call *call,
                                   const struct scope *scope, const struct owned *owned,
                                   struct err *err);

/* Make the controller's role a member of `role`, with its rights. */
void database_sql_act_as(struct sql *query, struct sql_conn *conn, const char *role);
/* tenantry_app and tenantry_gateway, on a server that has not got them; any number of programs may
 * do so at once. */
void database_sql_shared_roles(struct sql *query);
/* PostgreSQL 16 and later keep the rights to inherit and to SET ROLE with each grant. */
enum { POSTGRES_16 = 160000 };

/* ---- making it so ---- */

/* Roles, and the database where the scope has one, are as the plan says. */
MUST_CHECK int database_ensure_scope(struct reconcile *rc, const struct tenant_work *work,
                                     const struct scope *scope, struct err *err);
/* What the tenants of scope->server share stands: database, roles, and for isolation Row the
 * tables. Looked at by one tenant each half drift period (shared.c). */
MUST_CHECK int shared_ensure(struct reconcile *rc, const struct tenant_work *work,
                             const struct scope *scope, struct err *err);
/* Both login slots are the tenant's in the table that row-level security goes by, whether the roles
 * exist or not. */
MUST_CHECK int rows_map_logins(struct reconcile *rc, const struct tenant_work *work,
                               const struct scope *scope, struct err *err);

/* A transaction in which conn, to the scope's database, sees and writes the rows of the scope's
 * tenant and no others, as a role that no tenant can become; rows_end commits it. Without a
 * statement where the tables are the tenant's alone: there the controller sees them anyway. */
MUST_CHECK int rows_begin(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                          struct err *err);
MUST_CHECK int rows_end(struct sql_conn *conn, const struct call *call, const struct scope *scope,
                        struct err *err);

/* Statements on tables of the scope's that a tenant may have put code on (tables.c): none of it
 * gets the controller's rights. Outside of a transaction, but for where the tables are shared. */
MUST_CHECK int tables_read(struct sql_conn *conn, const struct call *call,
                           const struct scope *scope, struct sql *query, struct sql_rows **ret,
                           struct err *err);
/* What runs at the end of this transaction, such as deferred triggers, writes nothing. */
MUST_CHECK int tables_make_read_only(struct sql_conn *conn, const struct call *call,
                                     struct err *err);
/* In a transaction of its own. Parameters have the type text: what they are compared with, or
 * written to, takes that or a cast. The connection goes back to no pool. Errors: those of sql_exec;
 * CONFLICT/SerializationFailure and SQLSTATE 23505 also when two do it at once. */
MUST_CHECK int tables_write(struct sql_conn *conn, const struct call *call,
                            const struct scope *scope, struct sql *query, struct err *err);

/* Whether the server's object says to warn of drift only. */
bool database_warns_only(const struct tenant_work *work);
/* Whether the tenant was complete once, so that what differs now was changed by somebody. */
bool database_was_complete(const struct tenant_work *work);

#endif
