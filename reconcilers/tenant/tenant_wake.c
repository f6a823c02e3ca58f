/* Who is woken by what. Keys only: what a woken tenant does follows from the world it finds. */
#include "controller/base/str.h"
#include "reconcilers/model/codec.h"
#include "reconcilers/model/conditions.h"
#include "reconcilers/model/store.h"
#include "reconcilers/model/template.h"
#include "reconcilers/objects/children.h"
#include "reconcilers/tenant/tenant.h"

/* Counts on tiers and servers are for people: changes within this time are written as one. */
enum { COUNT_DELAY_MS = 1000 };

static const struct tier *find_tier(struct cache *tiers, struct arena *arena, const char *name)
{
    AUTO(record) const struct record *record = cache_get(tiers, name);
    if (!record) {
        return NULL;
    }
    struct tier *tier = ARENA_NEW(arena, struct tier);
    tier_unpack(record, arena, tier);
    return tier;
}

static void wake_templates(struct tenant_wake *wake, const struct sandbox *sandboxes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        queue_add_after(wake->sandbox_templates, sandbox_template_name(&sandboxes[i]),
                        COUNT_DELAY_MS, QUEUE_NORMAL);
    }
}

static void wake_counts(struct tenant_wake *wake, const struct record *record)
{
    if (!record) {
        return;
    }
    AUTO(arena) struct arena scratch = {0};
    arena_init(&scratch, 0);
    struct tenant *tenant = ARENA_NEW(&scratch, struct tenant);
    size_t count = 0;
    tenant_unpack(record, &scratch, tenant);
    queue_add_after(wake->tiers, tenant->tier, COUNT_DELAY_MS, QUEUE_NORMAL);
    if (!text_is_empty(tenant->status.place.server)) {
        queue_add_after(wake->database_servers, tenant->status.place.server, COUNT_DELAY_MS,
                        QUEUE_NORMAL);
    }
    for (size_t i = 0; i < tenant->status.bucket_count; i++) {
        queue_add_after(wake->object_stores, tenant->status.buckets[i].store, COUNT_DELAY_MS,
                        QUEUE_NORMAL);
    }
    const struct sandbox *sandboxes =
        tenant_sandboxes(tenant, find_tier(wake->services->tiers, &scratch, tenant->tier), &count);
    wake_templates(wake, sandboxes, count);
}

static void on_tenant(void *context, enum cache_change change, const struct record *before,
                      const struct record *after, bool initial)
{
    struct tenant_wake *wake = context;
    if (change != CACHE_REMOVED) {
        queue_add(wake->tenants, record_key(after), initial ? QUEUE_LOW : QUEUE_NORMAL);
    }
    if (!initial) {
        wake_counts(wake, before);
        wake_counts(wake, after);
    }
}

/* Which tenants a changed tier, server, store or template concerns. */
struct selection {
    struct tenant_wake *wake;
    const char *tier;      /* NULL: not by tier */
    const char *server;    /* NULL: not by server */
    const char *store;     /* NULL: not by store */
    const char *template_; /* NULL: not by template */
};

static bool is_waiting_for_server(const struct tenant *tenant)
{
    return text_is_empty(tenant->status.place.server);
}

static bool uses_template(const struct selection *selection, struct arena *arena,
                          const struct tenant *tenant)
{
    size_t count = 0;
    const struct sandbox *sandboxes = tenant_sandboxes(
        tenant, find_tier(selection->wake->services->tiers, arena, tenant->tier), &count);
    for (size_t i = 0; i < count; i++) {
        if (text_equal(sandbox_template_name(&sandboxes[i]), selection->template_)) {
            return true;
        }
    }
    return false;
}

static bool wake_if_selected(void *context, const struct record *record)
{
    const struct selection *selection = context;
    AUTO(arena) struct arena scratch = {0};
    arena_init(&scratch, 0);
    struct tenant *tenant = ARENA_NEW(&scratch, struct tenant);
    tenant_unpack(record, &scratch, tenant);
    bool by_tier = selection->tier && text_equal(tenant->tier, selection->tier);
    bool by_server =
        selection->server && (text_equal(tenant->status.place.server, selection->server) ||
                              is_waiting_for_server(tenant));
    bool by_store =
        selection->store && (tenant->status.bucket_count == 0 ||
                             text_equal(tenant->status.buckets[0].store, selection->store));
    if (by_tier || by_server || by_store ||
        (selection->template_ && uses_template(selection, &scratch, tenant))) {
        queue_add(selection->wake->tenants, tenant->name, QUEUE_NORMAL);
    }
    return true;
}

static int64_t tier_generation(const struct record *record)
{
    if (!record) {
        return 0;
    }
    AUTO(arena) struct arena scratch = {0};
    arena_init(&scratch, 0);
    struct tier tier;
    tier_unpack(record, &scratch, &tier);
    return tier.generation;
}

static void wake_templates_of_tier(struct tenant_wake *wake, const struct record *record)
{
    if (!record) {
        return;
    }
    AUTO(arena) struct arena scratch = {0};
    arena_init(&scratch, 0);
    struct tier tier;
    tier_unpack(record, &scratch, &tier);
    wake_templates(wake, tier.sandboxes, tier.sandbox_count);
}

static void on_tier(void *context, enum cache_change change, const struct record *before,
                    const struct record *after, bool initial)
{
    struct tenant_wake *wake = context;
    const char *key = record_key(after ? after : before);
    if (change != CACHE_REMOVED) {
        queue_add(wake->tiers, key, initial ? QUEUE_LOW : QUEUE_NORMAL);
    }
    if (!initial && tier_generation(before) != tier_generation(after)) {
        wake_templates_of_tier(wake, before);
        wake_templates_of_tier(wake, after);
        struct selection selection = {.wake = wake, .tier = key};
        cache_each(wake->services->tenants, wake_if_selected, &selection);
    }
}

/* A server matters to its tenants when its spec changed, and when it can be reached again. */
static bool server_mattered(const struct record *before, const struct record *after)
{
    AUTO(arena) struct arena scratch = {0};
    arena_init(&scratch, 0);
    struct database_server *was = ARENA_NEW(&scratch, struct database_server);
    struct database_server *is = ARENA_NEW(&scratch, struct database_server);
    if (!before || !after) {
        return true;
    }
    database_server_unpack(before, &scratch, was);
    database_server_unpack(after, &scratch, is);
    return was->generation != is->generation ||
           (!condition_is_true(&was->conditions, CONDITION_REACHABLE) &&
            condition_is_true(&is->conditions, CONDITION_REACHABLE));
}

static void on_database_server(void *context, enum cache_change change, const struct record *before,
                               const struct record *after, bool initial)
{
    struct tenant_wake *wake = context;
    const char *key = record_key(after ? after : before);
    if (change != CACHE_REMOVED) {
        queue_add(wake->database_servers, key, initial ? QUEUE_LOW : QUEUE_NORMAL);
        queue_add(wake->watchdogs, key, QUEUE_LOW);
    }
    if (!initial && server_mattered(before, after)) {
        struct selection selection = {.wake = wake, .server = key};
        cache_each(wake->services->tenants, wake_if_selected, &selection);
    }
}

/* A store matters when its spec changed, when it was found to be able to do something else, and
 * when it can be reached again. */
static bool store_mattered(const struct record *before, const struct record *after)
{
    AUTO(arena) struct arena scratch = {0};
    arena_init(&scratch, 0);
    struct object_store *was = ARENA_NEW(&scratch, struct object_store);
    struct object_store *is = ARENA_NEW(&scratch, struct object_store);
    if (!before || !after) {
        return true;
    }
    object_store_unpack(before, &scratch, was);
    object_store_unpack(after, &scratch, is);
    return was->generation != is->generation || was->probed_generation != is->probed_generation ||
           (!condition_is_true(&was->conditions, CONDITION_REACHABLE) &&
            condition_is_true(&is->conditions, CONDITION_REACHABLE));
}

static void on_object_store(void *context, enum cache_change change, const struct record *before,
                            const struct record *after, bool initial)
{
    struct tenant_wake *wake = context;
    const char *key = record_key(after ? after : before);
    if (change != CACHE_REMOVED) {
        queue_add(wake->object_stores, key, initial ? QUEUE_LOW : QUEUE_NORMAL);
    }
    if (!initial && store_mattered(before, after)) {
        struct selection selection = {.wake = wake, .store = key};
        cache_each(wake->services->tenants, wake_if_selected, &selection);
    }
}

static int64_t template_generation(const struct record *record)
{
    if (!record) {
        return 0;
    }
    AUTO(arena) struct arena scratch = {0};
    arena_init(&scratch, 0);
    struct sandbox_template template_;
    sandbox_template_unpack(record, &scratch, &template_);
    return template_.generation;
}

static void on_template(void *context, enum cache_change change, const struct record *before,
                        const struct record *after, bool initial)
{
    struct tenant_wake *wake = context;
    const char *key = record_key(after ? after : before);
    if (change != CACHE_REMOVED) {
        queue_add(wake->sandbox_templates, key, initial ? QUEUE_LOW : QUEUE_NORMAL);
    }
    if (!initial && template_generation(before) != template_generation(after)) {
        struct selection selection = {.wake = wake, .template_ = key};
        cache_each(wake->services->tenants, wake_if_selected, &selection);
    }
}

static bool wake_any(void *context, const struct record *record)
{
    const struct tenant_wake *wake = context;
    queue_add(wake->tenants, record_key(record), QUEUE_LOW);
    return true;
}

static void on_child(void *context, const char *tenant)
{
    struct tenant_wake *wake = context;
    if (tenant) {
        queue_add(wake->tenants, tenant, QUEUE_NORMAL);
    } else {
        cache_each(wake->services->tenants, wake_any, wake);
    }
}

void tenant_wake_install(struct tenant_wake *wake)
{
    const struct services *services = wake->services;
    cache_listen(services->tenants, on_tenant, wake);
    cache_listen(services->tiers, on_tier, wake);
    cache_listen(services->database_servers, on_database_server, wake);
    cache_listen(services->sandbox_templates, on_template, wake);
    cache_listen(services->object_stores, on_object_store, wake);
    children_listen(services->children, on_child, wake);
}
