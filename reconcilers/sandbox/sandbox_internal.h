/* What the files of this folder share; nobody else includes it, but for tests. */
#ifndef TENANTRY_SANDBOX_INTERNAL_H
#define TENANTRY_SANDBOX_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/base/arena.h"
#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "reconcilers/model/template.h"
#include "reconcilers/model/work.h"
#include "reconcilers/objects/children.h"
#include "reconcilers/sandbox/sandbox.h"

/* ---- sandbox_plan.c: pure ---- */

/* Why a sandbox runs nothing although the spec asks for copies of it. */
enum sandbox_hold {
    HOLD_NONE,
    HOLD_SUSPENDED,     /* the tenant is suspended */
    HOLD_OVER_COUNT,    /* it stands behind the count that the quota allows */
    HOLD_COMPUTE_SPENT, /* compute_hours of this month are used up */
    HOLD_IDLE,          /* nobody has used the tenant for the time that its tier gives */
};

struct planned_sandbox {
    const struct sandbox *spec;
    const struct sandbox_template *template_; /* NULL: there is none of that name */
    const char *full_name;                    /* <subdomain>-<name> */
    const char *host;                         /* <name>.<subdomain>.<domain>; NULL: no route */
    int64_t replicas;                         /* that are to run now */
    enum sandbox_hold hold;
};

struct sandbox_plan {
    const char *namespace_;
    int64_t limit; /* of sandboxes; -1 = none */
    struct planned_sandbox *items;
    size_t count;
    const char *missing_template; /* the first; NULL = all are there */
    enum child_kind route;        /* that leads to those with a host */
};

/* What decides about a tenant's sandboxes. */
struct sandbox_facts {
    const struct tenant *tenant;
    const struct tier *tier; /* NULL: unknown, then nothing runs */
    const char *tenant_id;
    struct cache *templates;
    enum sandbox_hold hold; /* of the whole tenant: HOLD_NONE, or why nothing of it runs */
    const char *domain;
    enum child_kind route; /* CHILD_HTTP_ROUTE, CHILD_INGRESS, or CHILD_KIND_COUNT: none */
};

/* Which sandboxes there are to be, in the spec's order. In the arena. */
void sandbox_plan(struct arena *arena, const struct sandbox_facts *facts, struct sandbox_plan *ret);
/* NULL, or how many more the spec lists than the quota allows, in words. */
const char *sandbox_plan_excess(struct arena *arena, const struct sandbox_plan *plan);

/* The tenant's people by what they may do in its namespace; addresses borrowed, in the arena. */
struct access_plan {
    const char *const *owners;
    const char *const *admins;
    const char *const *members;
    size_t owner_count;
    size_t admin_count;
    size_t member_count;
};
void access_plan(struct arena *arena, const struct tenant *tenant, struct access_plan *ret);

/* ---- rules_objects.c: what is wanted in the namespace besides workloads ---- */

#define SANDBOX_ACCOUNT "tenantry-sandbox"
#define BINDING_OWNER "tenantry-owner"
#define BINDING_ADMINS "tenantry-admins"
#define BINDING_MEMBERS "tenantry-members"
enum { RULES_MAX = 8 };

/* Addresses and ports that sandboxes may reach beside the public internet, as the spec.egress of a
 * server or store has them. */
struct egress {
    const char *json;
    int64_t default_port;
};

/* The bodies are in the arena's keeping until intents_release. */
struct rules_facts {
    const struct tenant_work *work;
    const char *namespace_;
    int64_t limit; /* of sandboxes */
    struct egress egress[2];
    size_t egress_count;
};
size_t rules_intents(struct arena *arena, const struct rules_facts *facts,
                     struct intent ret[RULES_MAX]);

/* ---- workload_objects.c ---- */

/* Deployment, and Service where the template has ports, of each sandbox whose template is there:
 * at most 2 × plan->count. What leads to them is in routes_objects.c. */
size_t workload_intents(struct arena *arena, const struct tenant_work *work,
                        const struct sandbox_plan *plan, struct intent *ret);

/* ---- routes_objects.c: HTTPRoute or Ingress ---- */

/* The kind of route that is made: an HTTPRoute where a Gateway is named and the cluster has the
 * kind, else an Ingress where a class is named. CHILD_KIND_COUNT: none. */
enum child_kind route_kind(const struct route_settings *settings, bool serves_http_routes);
/* One for each sandbox with a host: at most plan->count. */
size_t route_intents(struct arena *arena, const struct tenant_work *work,
                     const struct sandbox_plan *plan, struct intent *ret);

/* ---- sandbox.c ---- */

/* The facts of a run, or of a look from outside of one. */
void sandbox_facts(const struct services *services, const struct tenant *tenant,
                   const struct tier *tier, const char *tenant_id, struct sandbox_facts *ret);

#endif
