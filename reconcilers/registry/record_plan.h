/* What to do about a tenant's row in the registry: pure, from what the API and the registry say. */
#ifndef TENANTRY_REGISTRY_RECORD_PLAN_H
#define TENANTRY_REGISTRY_RECORD_PLAN_H

#include <stdbool.h>
#include <stddef.h>

#include "controller/base/arena.h"
#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "reconcilers/model/tenant.h"

/* The columns that follow the Tenant, in the order of record_columns. */
enum record_column {
    COLUMN_NAME,
    COLUMN_SUBDOMAIN,
    COLUMN_TIER,
    COLUMN_STATUS,
    COLUMN_MAX_SANDBOXES,
    COLUMN_MAX_STORAGE_MB,
    COLUMN_MAX_COMPUTE_HOURS,
    COLUMN_MAX_USERS,
    COLUMN_BILLING_PLAN,
    COLUMN_BILLING_CYCLE,
    COLUMN_MRR,
    COLUMN_TENANT_NAME,
    COLUMN_TENANT_UID,
    COLUMN_SETTINGS,
    COLUMN_FEATURES,
    COLUMN_GATEWAY,
    COLUMN_PLAN,
    COLUMN_HELD,
    COLUMN_CANARY,
    COLUMN_DATABASE_NAME,
    COLUMN_SERVER,
    COLUMN_ISOLATION,
    COLUMN_SCHEMA_NAME,
    COLUMN_COUNT,
};
extern const char *const record_columns[COLUMN_COUNT];

/* Values as PostgreSQL prints them; NULL is SQL NULL, or "no opinion" in what is wanted. */
struct record_values {
    const char *text[COLUMN_COUNT];
};

/* The columns that hold JSON, as text. */
struct record_documents {
    const char *settings;
    const char *features; /* NULL without a tier, as the next */
    const char *gateway;  /* how the gateway treats the tenant (docs/gateway.md) */
    const char *plan;     /* what the tier costs and includes (docs/billing.md) */
};

/* A row that may concern the tenant. */
struct record_candidate {
    const char *id;
    bool deleted;
    bool billed;          /* periods and prices say what the row says */
    bool held;            /* an overdue bill holds the tenant suspended */
    bool tenant_gone;     /* the Tenant of that UID exists no more; false while unsure */
    bool purging;         /* its days of grace are over: it cannot be taken back any more */
    const char *snapshot; /* when a deletion of this Tenant had its dump proven, which counts yet;
                             NULL for none */
    const char *retained; /* what is listed in tenant_retained, in words; "" if nothing */
    struct record_values values;
};

enum record_action {
    RECORD_CREATE,
    RECORD_KEEP,      /* candidate is this Tenant's row already */
    RECORD_TAKE_BACK, /* candidate was left by an earlier Tenant and becomes this one's */
};

struct record_decision {
    enum record_action action;
    const struct record_candidate *candidate; /* NULL for CREATE */
};

/* Which row is the tenant's. Errors: TERMINAL/NameConflict, with every way out; WAIT/Purging while
 * what bears the name is being removed. */
MUST_CHECK int record_decide(const struct tenant *tenant, bool adopt_orphans,
                             const struct record_candidate *candidates, size_t count,
                             struct record_decision *ret, struct err *err);

/* What the row shall say. tier may be NULL: then what follows from it has no opinion, and neither
 * have mrr and the place, which the caller fills. Strings are borrowed or in the arena. */
void record_wanted(struct arena *arena, const struct tenant *tenant, const struct tier *tier,
                   const struct record_documents *documents, struct record_values *ret);

/* Render the documents into the arena. */
void record_render(struct arena *arena, const struct tenant *tenant, const struct tier *tier,
                   struct record_documents *ret);

/* Columns where actual differs from what is wanted; places are only ever filled, never changed.
 * Returns how many. */
size_t record_diff(const struct record_values *actual, const struct record_values *wanted,
                   enum record_column ret_columns[COLUMN_COUNT]);

/* The isolation mode of a tenant without a place. */
enum isolation record_isolation(const struct tenant *tenant, const struct tier *tier);

/* Whether text looks like a UUID, in any case of letters. */
bool record_is_uuid(const char *text);

#endif
