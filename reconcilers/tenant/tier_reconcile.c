/* A TenantTier's own status: how many tenants use it, and the label by which an admission policy
 * keeps a used tier from being deleted. */
#include "reconcilers/model/codec.h"
#include "reconcilers/objects/in_use.h"
#include "reconcilers/tenant/tenant.h"

struct tally {
    const char *tier;
    int64_t tenants;
};

static bool count_if_of_tier(void *context, const struct record *record)
{
    struct tally *tally = context;
    AUTO(arena) struct arena scratch = {0};
    arena_init(&scratch, 0);
    struct tenant *tenant = ARENA_NEW(&scratch, struct tenant);
    tenant_unpack(record, &scratch, tenant);
    tally->tenants += text_equal(tenant->tier, tally->tier) ? 1 : 0;
    return true;
}

struct outcome tier_reconcile(struct reconcile *rc)
{
    const struct tenant_environment *environment = rc->environment;
    const struct services *services = &environment->services;
    AUTO(record) const struct record *record = cache_get(services->tiers, rc->key);
    struct tier *tier = ARENA_NEW(rc->arena, struct tier);
    struct tally tally = {.tier = rc->key};
    struct err err;

    if (!record) {
        return outcome_done(0);
    }
    tier_unpack(record, rc->arena, tier);
    cache_each(services->tenants, count_if_of_tier, &tally);
    const struct in_use object = {
        .resource = &KUBE_TENANT_TIERS,
        .cache = services->tiers,
        .name = tier->name,
        .uid = tier->uid,
        .generation = tier->generation,
        .observed_generation = tier->observed_generation,
        .label = tier->in_use_label,
        .tenants = tier->status_tenants,
        .conditions = &tier->conditions,
        .message = "The tier can be used.",
    };
    return in_use_write(rc, services, &object, tally.tenants, &err) ? outcome_from_err(&err, 0)
                                                                    : outcome_done(0);
}
