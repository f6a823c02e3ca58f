/* A TenantTier's placement against a DatabaseServer's labels: two objects, one a line. Of any one
 * requirement and its opposite exactly one matches, and what all requirements ask for is what is
 * chosen. And any text may be a label selector of a watch: it cannot leave its place in the URL. */
#include <string.h>

#include "controller/base/arena.h"
#include "reconcilers/model/codec.h"
#include "reconcilers/model/placement.h"
#include "tests/fuzz/fuzz.h"

enum { URL_BYTES_MAX = 64 * 1024 * 1024 };

static const char *opposite(const char *name)
{
    static const char *const pairs[][2] = {
        {"In", "NotIn"}, {"NotIn", "In"}, {"Exists", "DoesNotExist"}, {"DoesNotExist", "Exists"}};
    for (size_t i = 0; i < ARRAY_COUNT(pairs); i++) {
        if (strcmp(pairs[i][0], name) == 0) {
            return pairs[i][1];
        }
    }
    return NULL;
}

static bool chosen(struct cache *servers, struct arena *arena, const struct tier *tier)
{
    const char *server = NULL;
    struct err err;
    int result = placement_choose(servers, arena, tier, "", NULL, 0, &server, &err);
    FUZZ_CHECK(result == 0 || err.cls == ERR_WAIT);
    return result == 0;
}

static bool alone(struct cache *servers, struct arena *arena, struct label_requirement requirement)
{
    const struct tier tier = {.name = "t", .placement = &requirement, .placement_count = 1};
    return chosen(servers, arena, &tier);
}

static void check_placement(struct cache *servers, struct arena *arena, const struct tier *tier)
{
    struct tier expressions = *tier;
    expressions.placement_label_count = 0;
    bool all = true;
    for (size_t i = 0; i < tier->placement_count; i++) {
        struct label_requirement requirement = tier->placement[i];
        bool matches = alone(servers, arena, requirement);
        all = all && matches;
        requirement.operator_ = opposite(requirement.operator_);
        if (requirement.operator_) {
            FUZZ_CHECK(matches != alone(servers, arena, requirement));
        } else {
            FUZZ_CHECK(!matches); /* what nobody knows matches nothing */
        }
    }
    FUZZ_CHECK(chosen(servers, arena, &expressions) == all);
    FUZZ_CHECK(!chosen(servers, arena, tier) || all);
}

static void check_objects(struct str tier_json, struct str server_json, struct arena *arena)
{
    struct tier *tier = ARENA_NEW(arena, struct tier);
    struct database_server *server = ARENA_NEW(arena, struct database_server);
    struct err err;
    if (tier_decode(tier_json, arena, tier, &err) != 0 ||
        database_server_decode(server_json, arena, server, &err) != 0 || server->deleting ||
        !server->schedulable) {
        return;
    }
    struct cache *servers = cache_new(&database_server_codec);
    const struct watch_handler handler = cache_watch_handler(servers);
    handler.replace_begin(handler.context);
    handler.replace_object(handler.context, server_json);
    handler.replace_end(handler.context, "1");
    if (cache_count(servers) == 1) {
        check_placement(servers, arena, tier);
    }
    cache_free(servers);
}

static void check_url(struct str selector)
{
    AUTO(buf) struct buf url = BUF(URL_BYTES_MAX);
    buf_append_percent(&url, selector);
    FUZZ_CHECK(!buf_failed(&url));
    FUZZ_CHECK(strspn(buf_text(&url), "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                      "0123456789-._~%") == url.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    struct str rest = {(const char *)data, size};
    fuzz_quiet();
    check_url(rest);
    arena_init(&arena, 0);
    struct str tier_json = str_cut(&rest, '\n');
    check_objects(tier_json, rest, &arena);
    arena_release(&arena);
    return 0;
}
