/* Which sandboxes a tenant has, how many copies of each run now, and who may do what beside them.
 */
#include <inttypes.h>

#include "controller/base/str.h"
#include "reconcilers/model/names.h"
#include "reconcilers/registry/quotas_plan.h"
#include "reconcilers/sandbox/sandbox_internal.h"

/* What has no limit is not granted at all. */
static int64_t limit_of(struct arena *arena, const struct sandbox_facts *facts)
{
    size_t count = 0;
    if (!facts->tier) {
        return 0;
    }
    const struct quota *quotas = quotas_effective(arena, facts->tier, facts->tenant, &count);
    const struct quota *quota = quotas_find(quotas, count, "sandboxes");
    return quota ? quota->limit : 0;
}

static bool is_over(const struct sandbox_plan *plan, size_t index)
{
    return plan->limit >= 0 && index >= (uint64_t)plan->limit;
}

/* The name comes before the subdomain, as a label of its own: a name and a subdomain joined by
 * anything that may stand in both would be another tenant's host, too. */
static const char *host_of(struct arena *arena, const struct sandbox_facts *facts,
                           const struct planned_sandbox *item)
{
    if (facts->route == CHILD_KIND_COUNT || !item->template_ || item->template_->port_count == 0) {
        return NULL;
    }
    return arena_printf(arena, "%s.%s.%s", item->spec->name, facts->tenant->subdomain,
                        facts->domain);
}

void sandbox_plan(struct arena *arena, const struct sandbox_facts *facts, struct sandbox_plan *ret)
{
    const struct tenant *tenant = facts->tenant;
    const struct sandbox *sandboxes = tenant_sandboxes(tenant, facts->tier, &ret->count);

    ret->namespace_ = name_namespace(arena, tenant->subdomain);
    ret->limit = limit_of(arena, facts);
    ret->missing_template = NULL;
    ret->route = facts->route;
    ret->items = ARENA_ARRAY(arena, struct planned_sandbox, ret->count);
    for (size_t i = 0; i < ret->count; i++) {
        struct planned_sandbox *item = &ret->items[i];
        const char *template_ = sandbox_template_name(&sandboxes[i]);
        item->spec = &sandboxes[i];
        item->full_name = name_sandbox(arena, tenant->subdomain, sandboxes[i].name);
        item->template_ = sandbox_template_find(facts->templates, arena, template_);
        item->host = host_of(arena, facts, item);
        item->hold = facts->hold;
        if (item->hold == HOLD_NONE && is_over(ret, i)) {
            item->hold = HOLD_OVER_COUNT;
        }
        item->replicas = item->hold == HOLD_NONE ? sandboxes[i].replicas : 0;
        if (!item->template_ && !ret->missing_template) {
            ret->missing_template = template_;
        }
    }
}

const char *sandbox_plan_excess(struct arena *arena, const struct sandbox_plan *plan)
{
    if (plan->limit < 0 || plan->count <= (uint64_t)plan->limit) {
        return NULL;
    }
    return arena_printf(arena,
                        "sandboxes: %zu asked for, %" PRId64 " allowed; the last %" PRIu64
                        " in the list are scaled to zero",
                        plan->count, plan->limit, (uint64_t)plan->count - (uint64_t)plan->limit);
}

static const char *const *people(struct arena *arena, const struct tenant *tenant,
                                 enum member_role role, size_t *ret_count)
{
    const char **list = ARENA_ARRAY(arena, const char *, tenant->member_count + 1);
    size_t count = 0;
    if (role == MEMBER_OWNER) {
        list[count++] = tenant->owner.email;
    }
    for (size_t i = 0; i < tenant->member_count; i++) {
        if (tenant->members[i].role == role) {
            list[count++] = tenant->members[i].email;
        }
    }
    *ret_count = count;
    return list;
}

void access_plan(struct arena *arena, const struct tenant *tenant, struct access_plan *ret)
{
    ret->owners = people(arena, tenant, MEMBER_OWNER, &ret->owner_count);
    ret->admins = people(arena, tenant, MEMBER_ADMIN, &ret->admin_count);
    ret->members = people(arena, tenant, MEMBER_MEMBER, &ret->member_count);
}
