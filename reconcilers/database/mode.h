/* How the isolation modes differ, as data: which roles stand around a tenant's rows, which of them
 * are its own, who is a member of whom, and what they may do with the database. The rest of this
 * folder asks the mode, and knows no mode by name.
 *
 *            database     schema      owner, rw, ro       logins are members of
 * Database   its own      public      its own             its own .app
 * Schema     shared       its own     its own             its own .rw
 * Row        shared       shared      shared              the shared tenantry_rows.rw
 *
 * What the tenants of one server share (the database, the roles around it, the tables of mode Row)
 * is a scope of its own, MODE_SHARED, made and kept by the same code as a tenant's. */
#ifndef TENANTRY_DATABASE_MODE_H
#define TENANTRY_DATABASE_MODE_H

#include <stdbool.h>
#include <stddef.h>

#include "reconcilers/model/tenant.h"

enum role_kind {
    ROLE_OWNER,
    ROLE_RW,
    ROLE_RO,
    ROLE_APP, /* Database: owns schema app; elsewhere tenantry_shared, whose members get in */
    ROLE_A,
    ROLE_B,
    ROLE_COUNT,
};
enum { ROLE_GROUPS = ROLE_APP + 1 }; /* those before the login slots */

#define ROLE_BIT(kind) (1U << (kind))

/* On a database. */
enum right { RIGHT_CONNECT = 1, RIGHT_CREATE = 2, RIGHT_TEMPORARY = 4, RIGHT_ALL = 7 };

struct edge {
    enum role_kind role;
    enum role_kind member;
};
enum { EDGES_MAX = 4 };

struct mode {
    bool owns_database;  /* made, closed and dropped with the scope */
    bool has_app_schema; /* a schema where the tenant makes what it likes, as .app */
    bool rows_are_keyed; /* every key leads with tenant_id, and logins are mapped to their tenant */
    unsigned own;        /* roles that are made and dropped with the scope */
    unsigned guarded;    /* roles whose members are all in `edges`; the others serve many scopes */
    struct edge edges[EDGES_MAX];
    size_t edge_count;
    unsigned rights[ROLE_COUNT]; /* of enum right, where the database is the scope's */
    unsigned application_rights; /* the same of tenantry_app and tenantry_gateway */
    enum role_kind login_group;  /* what the logins are members of */
    bool logins_begin_as_group;  /* so that both slots own the same things */
    const char *retained_kind;   /* in tenant_retained */
};

const struct mode *mode_of(enum isolation isolation);
extern const struct mode mode_database;
extern const struct mode mode_schema;
extern const struct mode mode_row;
extern const struct mode mode_shared; /* what the tenants of a server share */

#endif
