/* The steps Rules and Sandboxes. Rules come first: no Pod of a tenant may start before it is known
 * how much may run and what it may reach.
 *
 * Everything follows from the Tenant, its tier, the templates and the server it is on, so a run
 * after a crash makes exactly what is missing. Scaling to zero and back is the same: the number of
 * copies is never read back from what runs. */
#include <inttypes.h>

#include "controller/base/str.h"
#include "reconcilers/model/codec.h"
#include "reconcilers/model/names.h"
#include "reconcilers/model/store.h"
#include "reconcilers/objects/objects.h"
#include "reconcilers/sandbox/idle.h"
#include "reconcilers/sandbox/meter.h"
#include "reconcilers/sandbox/sandbox.h"
#include "reconcilers/sandbox/sandbox_internal.h"
#include "reconcilers/sandbox/steps.h"

enum { STARTING_RETRY_MS = 30 * 1000, HTTPS_PORT = 443 };

/* ---- facts ---- */

static enum sandbox_hold hold_of(const struct services *services, const struct tenant *tenant,
                                 const char *tenant_id)
{
    if (tenant->state == TENANT_SUSPENDED) {
        return HOLD_SUSPENDED;
    }
    if (meter_is_spent(services->meter, tenant->name)) {
        return HOLD_COMPUTE_SPENT;
    }
    return idle_state_of(services->idle, tenant_id) == IDLE_ASLEEP ? HOLD_IDLE : HOLD_NONE;
}

/* The step Quotas has just asked the registry. */
static void judge_hours(const struct tenant_work *work)
{
    int64_t limit = 0;
    int64_t used = 0;
    if (work_quota(work, "compute_hours", &limit, &used)) {
        meter_set_spent(work->services->meter, work->tenant->name, limit >= 0 && used >= limit);
    }
}

void sandbox_facts(const struct services *services, const struct tenant *tenant,
                   const struct tier *tier, const char *tenant_id, struct sandbox_facts *ret)
{
    *ret = (struct sandbox_facts){
        .tenant = tenant,
        .tier = tier,
        .tenant_id = tenant_id,
        .templates = services->sandbox_templates,
        .hold = hold_of(services, tenant, tenant_id),
        .domain = services->domain,
        .route = route_kind(services->routes, children_serve(services->children, CHILD_HTTP_ROUTE)),
    };
}

static void open_to_server(const struct services *services, struct arena *arena, const char *server,
                           struct rules_facts *facts)
{
    AUTO(record)
    const struct record *record =
        text_is_empty(server) ? NULL : cache_get(services->database_servers, server);
    if (!record) {
        return;
    }
    struct database_server *found = ARENA_NEW(arena, struct database_server);
    database_server_unpack(record, arena, found);
    facts->egress[facts->egress_count++] = (struct egress){found->egress, found->port};
}

static void open_to_store(const struct services *services, struct arena *arena,
                          const struct tenant *tenant, struct rules_facts *facts)
{
    const struct object_store *store = object_store_of(services->object_stores, arena, tenant);
    if (store) {
        facts->egress[facts->egress_count++] = (struct egress){store->egress, HTTPS_PORT};
    }
}

static size_t intents_of_rules(struct arena *arena, const struct tenant_work *work,
                               const struct sandbox_plan *plan, const char *server,
                               struct intent ret[RULES_MAX])
{
    struct rules_facts facts = {.work = work, .namespace_ = plan->namespace_, .limit = plan->limit};
    open_to_server(work->services, arena, server, &facts);
    open_to_store(work->services, arena, work->tenant, &facts);
    return rules_intents(arena, &facts, ret);
}

/* ---- Rules ---- */

static int remove_binding(struct reconcile *rc, const struct tenant_work *work,
                          const char *namespace_, const char *name, bool wanted, struct err *err)
{
    return wanted ? 0 : children_remove(rc, work, CHILD_ROLE_BINDING, namespace_, name, err);
}

int sandbox_rules_ensure(struct reconcile *rc, void *subject, struct err *err)
{
    struct tenant_work *work = subject;
    struct sandbox_facts facts;
    struct sandbox_plan plan;
    struct access_plan access;
    struct intent intents[RULES_MAX];

    sandbox_facts(work->services, work->tenant, work->tier, work->tenant_id, &facts);
    sandbox_plan(rc->arena, &facts, &plan);
    if (!work->tier) {
        return 0; /* suspended, and the tier is gone: what stands stays */
    }
    size_t count = intents_of_rules(rc->arena, work, &plan, work->place.server, intents);
    int result = children_apply(rc, work, intents, count, err);
    intents_release(intents, count);
    access_plan(rc->arena, work->tenant, &access);
    return result ||
                   remove_binding(rc, work, plan.namespace_, BINDING_ADMINS, access.admin_count > 0,
                                  err) ||
                   remove_binding(rc, work, plan.namespace_, BINDING_MEMBERS,
                                  access.member_count > 0, err)
               ? -1
               : 0;
}

/* ---- removing what the spec no longer lists ---- */

static const char *name_of(const struct planned_sandbox *item, enum child_kind kind)
{
    return kind == CHILD_DEPLOYMENT ? item->full_name : item->spec->name;
}

/* Whether the sandbox has an object of the kind; what one without its template has stays. */
static bool has(const struct sandbox_plan *plan, const struct planned_sandbox *item,
                enum child_kind kind)
{
    switch (kind) {
    case CHILD_DEPLOYMENT:
        return true;
    case CHILD_SERVICE:
        return !item->template_ || item->template_->port_count > 0;
    default:
        return plan->route == kind && (item->host || !item->template_);
    }
}

static bool is_planned(const struct sandbox_plan *plan, enum child_kind kind, const char *name)
{
    for (size_t i = 0; i < plan->count; i++) {
        const struct planned_sandbox *item = &plan->items[i];
        if (has(plan, item, kind) && text_equal(name_of(item, kind), name)) {
            return true;
        }
    }
    return false;
}

static size_t count_planned(struct arena *arena, struct children *children,
                            const struct sandbox_plan *plan, enum child_kind kind)
{
    size_t count = 0;
    for (size_t i = 0; i < plan->count; i++) {
        const struct planned_sandbox *item = &plan->items[i];
        struct child child;
        count += has(plan, item, kind) && children_get(children, arena, kind, plan->namespace_,
                                                       name_of(item, kind), &child)
                     ? 1
                     : 0;
    }
    return count;
}

static int remove_unplanned(struct reconcile *rc, const struct tenant_work *work,
                            const struct sandbox_plan *plan, enum child_kind kind, struct err *err)
{
    struct children *children = work->services->children;
    const char *const *found = NULL;
    size_t expected = count_planned(rc->arena, children, plan, kind);
    size_t count = children_beyond(children, rc->arena, kind, plan->namespace_, expected, &found);
    for (size_t i = 0; i < count; i++) {
        if (!is_planned(plan, kind, found[i]) &&
            children_remove(rc, work, kind, plan->namespace_, found[i], err)) {
            return -1;
        }
    }
    return 0;
}

/* ---- what the status says ---- */

static const char *url_of(struct arena *arena, const struct sandbox_plan *plan,
                          const struct planned_sandbox *item)
{
    if (item->host) {
        return arena_printf(arena, "https://%s", item->host);
    }
    if (!item->template_ || item->template_->port_count == 0) {
        return "";
    }
    const struct template_port *port = &item->template_->ports[0];
    return arena_printf(arena, "http://%s.%s.svc:%" PRId64, item->spec->name, plan->namespace_,
                        port->service_port ? port->service_port : port->container_port);
}

static void observe(struct arena *arena, struct children *children, const struct sandbox_plan *plan,
                    struct sandbox_state *ret)
{
    for (size_t i = 0; i < plan->count; i++) {
        const struct planned_sandbox *item = &plan->items[i];
        struct child child = {0};
        bool known = children_get(children, arena, CHILD_DEPLOYMENT, plan->namespace_,
                                  item->full_name, &child);
        ret[i].name = item->full_name;
        ret[i].url = url_of(arena, plan, item);
        ret[i].ready = known && item->replicas > 0 && child.replicas == item->replicas &&
                       child_is_available(&child);
    }
}

/* The first that does not run as it should: why, in words. */
static int check_running(struct reconcile *rc, const struct tenant_work *work,
                         const struct sandbox_plan *plan, const struct sandbox_state *states,
                         struct err *err)
{
    for (size_t i = 0; i < plan->count; i++) {
        const struct planned_sandbox *item = &plan->items[i];
        struct child child = {0};
        if (item->replicas == 0 || states[i].ready) {
            continue;
        }
        (void)children_get(work->services->children, rc->arena, CHILD_DEPLOYMENT, plan->namespace_,
                           item->full_name, &child);
        if (!text_is_empty(child.failure)) {
            return err_set(err, ERR_RETRY, "SandboxFailed", "sandbox \"%s\": %s", item->spec->name,
                           child.failure);
        }
        (void)err_set(err, ERR_WAIT, "SandboxStarting",
                      "sandbox \"%s\" is not available yet, with the %" PRId64 " copies asked for",
                      item->spec->name, item->replicas);
        err->retry_after_ms = STARTING_RETRY_MS; /* the watch tells sooner */
        return -1;
    }
    return 0;
}

static int check_plan(struct reconcile *rc, const struct sandbox_plan *plan, struct err *err)
{
    const char *excess = sandbox_plan_excess(rc->arena, plan);
    if (plan->missing_template) {
        return err_set(err, ERR_TERMINAL, "TemplateNotFound",
                       "there is no SandboxTemplate \"%s\"; the sandboxes that name it are left as "
                       "they are, and are made once it exists",
                       plan->missing_template);
    }
    return excess ? err_set(err, ERR_TERMINAL, "QuotaExceeded", "%s", excess) : 0;
}

/* ---- Sandboxes ---- */

/* Without its tier it is not known what a tenant that lists none has; what runs must stop all the
 * same. */
static int stop_all(struct reconcile *rc, const struct tenant_work *work, struct err *err)
{
    const struct tenant_status *status = &work->tenant->status;
    const char *namespace_ = name_namespace(rc->arena, work->tenant->subdomain);
    for (size_t i = 0; i < status->sandbox_count; i++) {
        struct child child = {0};
        const struct kube_ref ref = {.resource = child_codecs[CHILD_DEPLOYMENT].resource,
                                     .namespace_ = namespace_,
                                     .name = status->sandboxes[i].name};
        if (!children_get(work->services->children, rc->arena, CHILD_DEPLOYMENT, namespace_,
                          ref.name, &child) ||
            child.replicas == 0) {
            continue;
        }
        if (kube_patch(work->services->kube, &rc->call, &ref, KUBE_PATCH_MERGE, NAME_MANAGER,
                       STR("{\"spec\":{\"replicas\":0}}"), NULL, err)) {
            return err_wrap(err, "Deployment \"%s\"", ref.name);
        }
    }
    return 0;
}

static int make(struct reconcile *rc, const struct tenant_work *work,
                const struct sandbox_plan *plan, struct err *err)
{
    static const enum child_kind kinds[] = {CHILD_DEPLOYMENT, CHILD_SERVICE, CHILD_HTTP_ROUTE,
                                            CHILD_INGRESS};
    struct intent *intents = ARENA_ARRAY(rc->arena, struct intent, 3 * plan->count);
    size_t count = workload_intents(rc->arena, work, plan, intents);
    count += route_intents(rc->arena, work, plan, intents + count);
    int result = children_apply(rc, work, intents, count, err);
    intents_release(intents, count);
    for (size_t i = 0; i < ARRAY_COUNT(kinds) && result == 0; i++) {
        result = remove_unplanned(rc, work, plan, kinds[i], err);
    }
    return result;
}

/* A tenant that is waking is awake once all runs that may, or nothing may for another reason. Until
 * then it is as well as one that sleeps: a wait is no news. */
static int end_sleep(struct reconcile *rc, struct tenant_work *work, int checked, struct err *err)
{
    if (idle_state_of(work->services->idle, work->tenant_id) != IDLE_WAKING) {
        return checked;
    }
    if (checked == 0) {
        return idle_end(work->services->idle, rc, work->tenant_id, err);
    }
    if (!err_has_reason(err, "SandboxStarting")) {
        return checked;
    }
    work->sandboxes_asleep = true;
    work_again(work, err->retry_after_ms);
    return 0;
}

int sandboxes_ensure(struct reconcile *rc, void *subject, struct err *err)
{
    struct tenant_work *work = subject;
    struct sandbox_facts facts;
    struct sandbox_plan plan;

    if (!work->tier) {
        return stop_all(rc, work, err);
    }
    judge_hours(work);
    if (idle_learn(work->services->idle, rc, work->tenant_id, err)) {
        return -1;
    }
    sandbox_facts(work->services, work->tenant, work->tier, work->tenant_id, &facts);
    sandbox_plan(rc->arena, &facts, &plan);
    int result = make(rc, work, &plan, err);
    struct sandbox_state *states = ARENA_ARRAY(rc->arena, struct sandbox_state, plan.count);
    observe(rc->arena, work->services->children, &plan, states);
    work->sandboxes = states;
    work->sandbox_count = plan.count;
    work->sandboxes_asleep = facts.hold == HOLD_IDLE;
    work->sandbox_excess =
        facts.hold == HOLD_COMPUTE_SPENT
            ? "compute_hours: this month's are used up; the sandboxes are scaled "
              "to zero until the next, or until the quota is raised"
            : sandbox_plan_excess(rc->arena, &plan);
    if (result || check_plan(rc, &plan, err)) {
        return -1;
    }
    return end_sleep(rc, work, check_running(rc, work, &plan, states, err), err);
}

/* ---- from outside of a run ---- */

static bool states_equal(const struct tenant_status *status, const struct sandbox_state *states,
                         size_t count)
{
    if (status->sandbox_count != count) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (!text_equal(status->sandboxes[i].name, states[i].name) ||
            status->sandboxes[i].ready != states[i].ready) {
            return false;
        }
    }
    return true;
}

bool sandboxes_stand(const struct services *services, struct arena *arena,
                     const struct tenant *tenant, const struct tier *tier)
{
    struct tenant_work *work = ARENA_NEW(arena, struct tenant_work);
    struct sandbox_facts facts;
    struct sandbox_plan plan;

    if (!tier) {
        return true; /* what a suspended tenant has stays as it is */
    }
    if (tier->idle_after_ms > 0 && !idle_is_known(services->idle)) {
        return true; /* it is looked at once that is known */
    }
    if (idle_state_of(services->idle, tenant->status.tenant_id) == IDLE_WAKING) {
        return false; /* whoever waits for it is told by a run */
    }
    *work = (struct tenant_work){.services = services, .tenant = tenant, .tier = tier};
    (void)snprintf(work->tenant_id, sizeof(work->tenant_id), "%s", tenant->status.tenant_id);
    sandbox_facts(services, tenant, tier, work->tenant_id, &facts);
    sandbox_plan(arena, &facts, &plan);
    struct intent *intents = ARENA_ARRAY(arena, struct intent, RULES_MAX + 3 * plan.count);
    struct sandbox_state *states = ARENA_ARRAY(arena, struct sandbox_state, plan.count);
    size_t count = intents_of_rules(arena, work, &plan, tenant->status.place.server, intents);
    count += workload_intents(arena, work, &plan, intents + count);
    count += route_intents(arena, work, &plan, intents + count);
    bool stand = children_stand(services, arena, tenant, intents, count);
    intents_release(intents, count);
    observe(arena, services->children, &plan, states);
    return stand && states_equal(&tenant->status, states, plan.count);
}
