/* Two passes over the servers: the first collects who may take the tenant at all, the second tells
 * the user why nobody may. Loads come from the registry, the one place that knows about tenants
 * whose objects are gone. */
#include "reconcilers/model/placement.h"

#include <stdlib.h>
#include <string.h>

#include "controller/base/buf.h"
#include "controller/base/str.h"
#include "controller/runtime/condition.h"
#include "reconcilers/model/codec.h"
#include "reconcilers/model/conditions.h"

struct search {
    struct arena *arena;
    const struct tier *tier;
    const struct server_load *loads;
    size_t load_count;
    const char *best;
    int64_t best_load;
    bool best_is_down;
    struct buf *looked_at; /* "a: full with 3 of 3 tenants; b: not schedulable"; full is no harm */
    bool any_full;
};

static bool value_in(const struct label_requirement *requirement, const char *value)
{
    for (size_t i = 0; i < requirement->value_count; i++) {
        if (strcmp(requirement->values[i], value) == 0) {
            return true;
        }
    }
    return false;
}

static const char *label_of(const struct database_server *server, const char *key)
{
    for (size_t i = 0; i < server->label_count; i++) {
        if (strcmp(server->labels[i].name, key) == 0) {
            return server->labels[i].value;
        }
    }
    return NULL;
}

static bool meets(const struct database_server *server, const struct label_requirement *requirement)
{
    const char *value = label_of(server, requirement->key);
    if (strcmp(requirement->operator_, "In") == 0) {
        return value && value_in(requirement, value);
    }
    if (strcmp(requirement->operator_, "NotIn") == 0) {
        return !value || !value_in(requirement, value);
    }
    if (strcmp(requirement->operator_, "Exists") == 0) {
        return value != NULL;
    }
    return strcmp(requirement->operator_, "DoesNotExist") == 0 && !value;
}

static bool matches_tier(const struct database_server *server, const struct tier *tier)
{
    for (size_t i = 0; i < tier->placement_label_count; i++) {
        const char *value = label_of(server, tier->placement_labels[i].name);
        if (!value || strcmp(value, tier->placement_labels[i].value) != 0) {
            return false;
        }
    }
    for (size_t i = 0; i < tier->placement_count; i++) {
        if (!meets(server, &tier->placement[i])) {
            return false;
        }
    }
    return true;
}

static int64_t load_of(const struct search *search, const char *server)
{
    for (size_t i = 0; i < search->load_count; i++) {
        if (strcmp(search->loads[i].server, server) == 0) {
            return search->loads[i].tenants;
        }
    }
    return 0;
}

/* One that was never looked at is not down. */
static bool is_down(const struct database_server *server)
{
    const struct condition *reachable = condition_get(&server->conditions, CONDITION_REACHABLE);
    return reachable && reachable->status == CONDITION_FALSE;
}

static bool is_better(const struct search *search, const struct database_server *server,
                      int64_t load)
{
    bool down = is_down(server);
    if (!search->best || down != search->best_is_down) {
        return !search->best || !down;
    }
    return load < search->best_load ||
           (load == search->best_load && strcmp(server->name, search->best) < 0);
}

static void consider(struct search *search, const struct database_server *server)
{
    int64_t load = load_of(search, server->name);
    const char *separator = search->looked_at->len ? "; " : "";
    if (server->deleting || !server->schedulable) {
        (void)buf_printf(search->looked_at, "%s%s: not schedulable", separator, server->name);
    } else if (server->draining) {
        (void)buf_printf(search->looked_at, "%s%s: being drained", separator, server->name);
    } else if (!matches_tier(server, search->tier)) {
        (void)buf_printf(search->looked_at, "%s%s: labels do not match the tier's placement",
                         separator, server->name);
    } else if (server->capacity_tenants > 0 && load >= server->capacity_tenants) {
        search->any_full = true;
        (void)buf_printf(search->looked_at, "%s%s: full with %lld of %lld tenants", separator,
                         server->name, (long long)load, (long long)server->capacity_tenants);
    } else if (is_better(search, server, load)) {
        search->best = arena_strdup(search->arena, server->name);
        search->best_load = load;
        search->best_is_down = is_down(server);
    }
}

static bool visit(void *context, const struct record *record)
{
    struct search *search = context;
    AUTO(arena) struct arena scratch = {0};
    arena_init(&scratch, 0);
    struct database_server server;
    database_server_unpack(record, &scratch, &server);
    consider(search, &server);
    return true;
}

/* Who names a server knows its labels, and may use one that is closed to others; but nobody can
 * have room that is not there. */
static int check_wanted(struct cache *cache, struct search *search, const char *wanted,
                        const char **ret_server, struct err *err)
{
    AUTO(arena) struct arena scratch = {0};
    AUTO(record) const struct record *record = cache_get(cache, wanted);
    struct database_server server;

    if (!record) {
        return err_set(err, ERR_WAIT, "NoServer",
                       "spec.database.serverRef names DatabaseServer \"%s\", which does not exist",
                       wanted);
    }
    arena_init(&scratch, 0);
    database_server_unpack(record, &scratch, &server);
    int64_t load = load_of(search, wanted);
    if (server.deleting) {
        return err_set(
            err, ERR_WAIT, "NoServer",
            "spec.database.serverRef names DatabaseServer \"%s\", which is being deleted", wanted);
    }
    if (server.draining) {
        return err_set(
            err, ERR_WAIT, "NoServer",
            "spec.database.serverRef names DatabaseServer \"%s\", which is being drained", wanted);
    }
    if (server.capacity_tenants > 0 && load >= server.capacity_tenants) {
        return err_set(
            err, ERR_WAIT, "CapacityExhausted",
            "spec.database.serverRef names DatabaseServer \"%s\", which is full with %lld "
            "of %lld tenants",
            wanted, (long long)load, (long long)server.capacity_tenants);
    }
    *ret_server = arena_strdup(search->arena, wanted);
    return 0;
}

int placement_choose(struct cache *database_servers, struct arena *arena, const struct tier *tier,
                     const char *wanted, const struct server_load *loads, size_t load_count,
                     const char **ret_server, struct err *err)
{
    AUTO(buf) struct buf looked_at = BUF(64UL << 10);
    struct search search = {
        .arena = arena,
        .tier = tier,
        .loads = loads,
        .load_count = load_count,
        .looked_at = &looked_at,
    };
    if (!text_is_empty(wanted)) {
        return check_wanted(database_servers, &search, wanted, ret_server, err);
    }
    cache_each(database_servers, visit, &search);
    if (search.best) {
        *ret_server = search.best;
        return 0;
    }
    if (looked_at.len == 0) {
        return err_set(err, ERR_WAIT, "NoServer",
                       "there is no DatabaseServer object; create one (manifests/samples)");
    }
    return err_set(err, ERR_WAIT, search.any_full ? "CapacityExhausted" : "NoServer",
                   "no DatabaseServer can take a tenant of tier \"%s\": %s", tier->name,
                   buf_text(&looked_at));
}
