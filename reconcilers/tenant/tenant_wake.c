/* Who is woken by what. Keys only: what a woken tenant does follows from the world it finds. */
#include "controller/base/str.h"
#include "reconcilers/model/codec.h"
#include "reconcilers/model/conditions.h"
#include "reconcilers/tenant/tenant.h"

/* Counts on tiers and servers are for people: changes within this time are written as one. */
enum { COUNT_DELAY_MS = 1000 };

static void wake_counts(struct tenant_wake *wake, const struct record *record)
{
    if (!record) {
        return;
    }
    AUTO(arena) struct arena scratch = {0};
    arena_init(&scratch, 0);
    struct tenant *tenant = ARENA_NEW(&scratch, struct tenant);
    tenant_unpack(record, &scratch, tenant);
    queue_add_after(wake->tiers, tenant->tier, COUNT_DELAY_MS, QUEUE_NORMAL);
    if (!text_is_empty(tenant->status.place.server)) {
        queue_add_after(wake->database_servers, tenant->status.place.server, COUNT_DELAY_MS,
                        QUEUE_NORMAL);
    }
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

/* Which tenants a changed tier or server concerns. */
struct selection {
    struct tenant_wake *wake;
    const char *tier;   /* NULL: not by tier */
    const char *server; /* NULL: not by server */
};

static bool is_waiting_for_server(const struct tenant *tenant)
{
    return text_is_empty(tenant->status.place.server);
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
    if (by_tier || by_server) {
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

static void on_tier(void *context, enum cache_change change, const struct record *before,
                    const struct record *after, bool initial)
{
    struct tenant_wake *wake = context;
    const char *key = record_key(after ? after : before);
    if (change != CACHE_REMOVED) {
        queue_add(wake->tiers, key, initial ? QUEUE_LOW : QUEUE_NORMAL);
    }
    if (!initial && tier_generation(before) != tier_generation(after)) {
        struct selection selection = {.wake = wake, .tier = key};
        cache_each(wake->tenant_cache, wake_if_selected, &selection);
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
    }
    if (!initial && server_mattered(before, after)) {
        struct selection selection = {.wake = wake, .server = key};
        cache_each(wake->tenant_cache, wake_if_selected, &selection);
    }
}

void tenant_wake_install(struct tenant_wake *wake, struct cache *tenants, struct cache *tiers,
                         struct cache *database_servers)
{
    wake->tenant_cache = tenants;
    cache_listen(tenants, on_tenant, wake);
    cache_listen(tiers, on_tier, wake);
    cache_listen(database_servers, on_database_server, wake);
}
