/* What the files about the tenant schema share with each other and with tests. */
#ifndef TENANTRY_DATABASE_SCHEMA_INTERNAL_H
#define TENANTRY_DATABASE_SCHEMA_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/base/arena.h"
#include "controller/base/attributes.h"
#include "controller/base/buf.h"
#include "controller/base/call.h"
#include "controller/base/err.h"
#include "controller/base/hash.h"
#include "reconcilers/database/database_internal.h"
#include "reconcilers/drivers/sql.h"

/* ---- the listing: everything about the schema that we made, in words that are the same for every
 * tenant (schema_sql.c) ---- */

struct schema_line {
    const char *item; /* "column users.email"; unique, ascending by bytes */
    const char *definition;
};
struct schema_listing {
    const struct schema_line *lines;
    size_t count;
};

/* ---- what was seen, what to do (schema_plan.c), pure ---- */

struct schema_seen {
    bool exists;
    const char *owner;
    const char *comment;       /* "" if none */
    const char *owner_comment; /* of the owner role */
    bool has_tables;           /* at least one of ours */
    const char *app_owner;     /* of schema app; "" when there is none */
    const char *hash;          /* of the listing; "" without a schema */
};

enum schema_action {
    SCHEMA_KEEP,
    SCHEMA_CREATE,  /* nothing of it is there */
    SCHEMA_MIGRATE, /* from an older version */
    SCHEMA_COMPARE, /* something differs from when it was made: compare with a fresh one */
};

struct schema_decision {
    enum schema_action action;
    int64_t version;  /* of what is there; 0 = none */
    bool take_schema; /* it is not the owner role's, or not there */
    bool make_app;    /* schema app is missing or another's */
    bool upgrade;     /* another program made it: what differs is no drift */
};

/* Errors: TERMINAL/MigrationMismatch when the schema is newer than this program,
 * TERMINAL/NameConflict when it is somebody else's. */
MUST_CHECK int schema_decide(const struct scope *scope, const struct schema_seen *seen,
                             int64_t newest, struct schema_decision *ret, struct err *err);

/* The comment of a schema: this and the version; of one that tenants share also how its functions
 * and mapping are made, after another word. The hash of the listing when it was made is for
 * nobody to write but us: the schema's owner may comment on it, but not on itself. So it stands
 * behind the mark of the owner role, after this word. */
#define SCHEMA_MARK_START "tenantry: schema "
#define SCHEMA_KEYED_WORD " rows "
#define SCHEMA_HASH_WORD "schema "

enum schema_difference_kind { SCHEMA_MISSING, SCHEMA_DIFFERENT, SCHEMA_EXTRA };
struct schema_difference {
    enum schema_difference_kind kind;
    const char *item;
};
enum { SCHEMA_DIFFERENCES_MAX = 256 };
/* Where actual is not as wanted; returns how many, at most SCHEMA_DIFFERENCES_MAX. Columns,
 * constraints and indexes that somebody added are no difference, as long as no code is in them. */
size_t schema_diff(const struct schema_listing *wanted, const struct schema_listing *actual,
                   struct schema_difference ret[SCHEMA_DIFFERENCES_MAX]);
/* Append them in words, for an event or an error. */
void schema_describe(const struct schema_difference *differences, size_t count, struct buf *out);

/* The schema of the scope stands, in its database, at the newest version. */
MUST_CHECK int schema_ensure_scope(struct reconcile *rc, const struct tenant_work *work,
                                   const struct scope *scope, struct err *err);

/* ---- statements (schema_sql.c): on a connection to the tenant's database, by the controller's own
 * role ---- */

/* The version that this program makes a tenant schema to be. */
int64_t schema_newest(void);
/* The tables of the schema, separated by blanks. */
const char *schema_tables(const struct scope *scope);
#define SCHEMA_FUNCTIONS "tenant writer" /* of a schema that tenants share */
/* Policies and rights of a schema without any, as the owner role (schema_rights.c). */
void schema_append_rights(struct sql *script, const struct scope *scope, const char *schema);
/* Of these, who may reach into the schema at all. */
void schema_append_usage(struct sql *script, const struct scope *scope, const char *schema);
/* A hash of what this program puts beside the tables of a schema that tenants share. */
void schema_keyed_version(char ret_text[HASH128_TEXT_BYTES]);

/* A query of the first thing on the tables that runs as whoever touches them: a trigger, a rule, an
 * expression with a function that is not the server's. No row when there is none. */
void schema_append_code(struct sql *query, const struct scope *scope);

MUST_CHECK int schema_observe(struct sql_conn *conn, const struct call *call, struct arena *arena,
                              const struct scope *scope, struct schema_seen *ret, struct err *err);

/* What was found and done. */
struct schema_outcome {
    struct schema_decision decision;
    struct schema_difference differences[SCHEMA_DIFFERENCES_MAX];
    size_t difference_count;
    bool healed; /* false where only_compare kept it from being done */
};
/* Observe, decide, and make it so in one transaction; with only_compare, differences are found and
 * left. expected: there should be one, so that one look tells all. *ret in the arena. Errors:
 * TERMINAL/MigrationMismatch, RETRY/SchemaDrift when something cannot be put right,
 * CONFLICT/Conflict. */
MUST_CHECK int schema_converge(struct sql_conn *conn, const struct call *call, struct arena *arena,
                               const struct scope *scope, bool expected, bool only_compare,
                               struct schema_outcome *ret, struct err *err);

#endif
