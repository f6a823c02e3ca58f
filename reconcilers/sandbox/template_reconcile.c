/* A SandboxTemplate's own status. */
#include "controller/base/str.h"
#include "reconcilers/model/codec.h"
#include "reconcilers/model/template.h"
#include "reconcilers/objects/in_use.h"
#include "reconcilers/sandbox/sandbox.h"

struct tally {
    const struct services *services;
    const char *template_;
    int64_t tenants;
};

static bool uses(const struct sandbox *sandboxes, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (text_equal(sandbox_template_name(&sandboxes[i]), name)) {
            return true;
        }
    }
    return false;
}

static bool count_if_using(void *context, const struct record *record)
{
    struct tally *tally = context;
    AUTO(arena) struct arena scratch = {0};
    arena_init(&scratch, 0);
    struct tenant *tenant = ARENA_NEW(&scratch, struct tenant);
    tenant_unpack(record, &scratch, tenant);
    AUTO(record) const struct record *of_tier = cache_get(tally->services->tiers, tenant->tier);
    struct tier tier = {0};
    size_t count = 0;
    if (of_tier) {
        tier_unpack(of_tier, &scratch, &tier);
    }
    const struct sandbox *sandboxes = tenant_sandboxes(tenant, of_tier ? &tier : NULL, &count);
    tally->tenants += uses(sandboxes, count, tally->template_) ? 1 : 0;
    return true;
}

struct outcome sandbox_template_reconcile(struct reconcile *rc)
{
    const struct services *services = rc->environment;
    const struct sandbox_template *template_ =
        sandbox_template_find(services->sandbox_templates, rc->arena, rc->key);
    struct tally tally = {.services = services, .template_ = rc->key};
    struct err err;

    if (!template_) {
        return outcome_done(0);
    }
    cache_each(services->tenants, count_if_using, &tally);
    const struct in_use object = {
        .resource = &KUBE_SANDBOX_TEMPLATES,
        .cache = services->sandbox_templates,
        .name = template_->name,
        .uid = template_->uid,
        .generation = template_->generation,
        .observed_generation = template_->observed_generation,
        .label = template_->in_use_label,
        .tenants = template_->status_tenants,
        .conditions = &template_->conditions,
        .message = "The template can be used.",
    };
    return in_use_write(rc, services, &object, tally.tenants, &err) ? outcome_from_err(&err, 0)
                                                                    : outcome_done(0);
}
