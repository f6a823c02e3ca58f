/* A TenantTier's own status: how many tenants use it, and the label by which an admission policy
 * keeps a used tier from being deleted. */
#include "controller/base/clock.h"
#include "controller/base/jsonw.h"
#include "reconcilers/model/codec.h"
#include "reconcilers/model/conditions.h"
#include "reconcilers/model/names.h"
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

static int write_label(struct reconcile *rc, const struct services *services,
                       const struct tier *tier, bool in_use, struct err *err)
{
    AUTO(buf) struct buf json = BUF(4096);
    AUTO(buf) struct buf answer = BUF(4UL << 20);
    struct jsonw writer;
    const struct kube_ref ref = {&KUBE_TENANT_TIERS, NULL, tier->name, NULL};

    if (tier->in_use_label == in_use) {
        return 0;
    }
    jsonw_init(&writer, &json);
    jsonw_object(&writer, NULL);
    jsonw_object(&writer, "metadata");
    jsonw_text(&writer, "uid", tier->uid);
    jsonw_object(&writer, "labels");
    jsonw_text(&writer, NAME_LABEL_IN_USE, in_use ? "true" : NULL);
    jsonw_end_object(&writer);
    jsonw_end_object(&writer);
    jsonw_end_object(&writer);
    if (kube_patch(services->kube, &rc->call, &ref, KUBE_PATCH_MERGE, NAME_MANAGER, buf_str(&json),
                   &answer, err)) {
        return err_wrap(err, "in-use label");
    }
    cache_store_written(services->tiers, buf_str(&answer));
    return 0;
}

static int write_status(struct reconcile *rc, const struct services *services,
                        const struct tier *tier, int64_t tenants, struct err *err)
{
    AUTO(buf) struct buf json = BUF(16UL << 10);
    AUTO(buf) struct buf answer = BUF(4UL << 20);
    struct jsonw writer;
    struct condition_set conditions = tier->conditions;
    const struct kube_ref ref = {&KUBE_TENANT_TIERS, NULL, tier->name, "status"};

    condition_put(&conditions, CONDITION_READY, CONDITION_TRUE, "AsSpecified",
                  "The tier can be used.", tier->generation, clock_wall_s());
    if (tier->status_tenants == tenants && tier->observed_generation == tier->generation &&
        condition_set_equal(&conditions, &tier->conditions)) {
        return 0;
    }
    jsonw_init(&writer, &json);
    jsonw_object(&writer, NULL);
    jsonw_text(&writer, "apiVersion", "tenantry.dev/v1alpha1");
    jsonw_text(&writer, "kind", "TenantTier");
    jsonw_object(&writer, "metadata");
    jsonw_text(&writer, "name", tier->name);
    jsonw_text(&writer, "uid", tier->uid);
    jsonw_end_object(&writer);
    jsonw_object(&writer, "status");
    jsonw_int(&writer, "observedGeneration", tier->generation);
    jsonw_int(&writer, "tenants", tenants);
    jsonw_array(&writer, "conditions");
    condition_set_write(&writer, &conditions);
    jsonw_end_array(&writer);
    jsonw_end_object(&writer);
    jsonw_end_object(&writer);
    if (kube_apply(services->kube, &rc->call, &ref, NAME_STATUS_MANAGER, buf_str(&json), &answer,
                   err)) {
        return err_wrap(err, "status");
    }
    cache_store_written(services->tiers, buf_str(&answer));
    return 0;
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
    if (write_label(rc, services, tier, tally.tenants > 0, &err) ||
        write_status(rc, services, tier, tally.tenants, &err)) {
        return outcome_from_err(&err, 0);
    }
    return outcome_done(0);
}
