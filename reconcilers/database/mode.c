#include "reconcilers/database/mode.h"

enum {
    GROUPS = ROLE_BIT(ROLE_OWNER) | ROLE_BIT(ROLE_RW) | ROLE_BIT(ROLE_RO) | ROLE_BIT(ROLE_APP),
    LOGINS = ROLE_BIT(ROLE_A) | ROLE_BIT(ROLE_B),
    NOT_APP = ROLE_BIT(ROLE_OWNER) | ROLE_BIT(ROLE_RW) | ROLE_BIT(ROLE_RO),
};

/* A login reaches the tables by way of rw, and never the owner, who could switch row-level security
 * off. CONNECT on a shared database hangs on one role, since rights of each tenant would overflow
 * the database's catalog row at some 2,400 roles. */
const struct mode mode_database = {
    .owns_database = true,
    .has_app_schema = true,
    .own = GROUPS | LOGINS,
    .guarded = GROUPS | LOGINS,
    .edges = {{ROLE_RW, ROLE_APP}, {ROLE_APP, ROLE_A}, {ROLE_APP, ROLE_B}},
    .edge_count = 3,
    .rights =
        {
            [ROLE_OWNER] = RIGHT_ALL,
            [ROLE_RW] = RIGHT_CONNECT,
            [ROLE_RO] = RIGHT_CONNECT,
            [ROLE_APP] = RIGHT_TEMPORARY,
        },
    .application_rights = RIGHT_CONNECT,
    .login_group = ROLE_APP,
    .logins_begin_as_group = true,
    .retained_kind = "database",
};

const struct mode mode_schema = {
    .own = NOT_APP | LOGINS,
    .guarded = NOT_APP | LOGINS,
    .edges = {{ROLE_APP, ROLE_RW}, {ROLE_APP, ROLE_RO}, {ROLE_RW, ROLE_A}, {ROLE_RW, ROLE_B}},
    .edge_count = 4,
    .login_group = ROLE_RW,
    .retained_kind = "schema",
};

const struct mode mode_row = {
    .rows_are_keyed = true,
    .own = LOGINS,
    .guarded = LOGINS,
    .edges = {{ROLE_RW, ROLE_A}, {ROLE_RW, ROLE_B}},
    .edge_count = 2,
    .login_group = ROLE_RW,
    .retained_kind = "rows",
};

const struct mode mode_shared = {
    .owns_database = true,
    .rows_are_keyed = true,
    .own = GROUPS,
    .guarded = ROLE_BIT(ROLE_OWNER),
    .edges = {{ROLE_APP, ROLE_RW}, {ROLE_APP, ROLE_RO}},
    .edge_count = 2,
    .rights =
        {
            [ROLE_OWNER] = RIGHT_ALL,
            [ROLE_APP] = RIGHT_CONNECT | RIGHT_TEMPORARY,
        },
    .application_rights = RIGHT_CONNECT,
    .login_group = ROLE_RW,
    .retained_kind = "database",
};

const struct mode *mode_of(enum isolation isolation)
{
    switch (isolation) {
    case ISOLATION_SCHEMA:
        return &mode_schema;
    case ISOLATION_ROW:
        return &mode_row;
    case ISOLATION_DEFAULT:
    case ISOLATION_DATABASE:
        break;
    }
    return &mode_database;
}
