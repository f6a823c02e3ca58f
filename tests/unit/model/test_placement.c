/* A new tenant gets the emptiest server that may take it; who may not, and why, is said. */
#include "tests/check.h"

#include "controller/base/buf.h"
#include "reconcilers/model/codec.h"
#include "reconcilers/model/placement.h"

static struct cache *servers_of(const char *const *specs, size_t count)
{
    struct cache *cache = cache_new(&database_server_codec);
    struct watch_handler handler = cache_watch_handler(cache);
    handler.replace_begin(handler.context);
    for (size_t i = 0; i < count; i++) {
        handler.replace_object(handler.context, str_from(specs[i]));
    }
    handler.replace_end(handler.context, "9");
    return cache;
}

#define SERVER(name, labels, spec)                                                                 \
    "{\"metadata\":{\"name\":\"" name "\",\"uid\":\"u-" name                                       \
    "\",\"resourceVersion\":\"1\",\"labels\":{" labels "}},\"spec\":{\"hosts\":[\"h\"]" spec "}}"

static const char *const three[] = {
    SERVER("a", "\"zone\":\"east\"", ",\"capacity\":{\"tenants\":2}"),
    SERVER("b", "\"zone\":\"east\"", ""),
    SERVER("c", "\"zone\":\"west\"", ",\"schedulable\":false"),
};

static void emptiest_matching_server_wins(void **state)
{
    (void)state;
    AUTO(arena) struct arena arena = {0};
    const struct text_pair east[] = {{"zone", "east"}};
    const struct tier tier = {.name = "free", .placement_labels = east, .placement_label_count = 1};
    const struct server_load loads[] = {{"a", 1}, {"b", 4}};
    const char *server = NULL;
    struct err err = {0};
    arena_init(&arena, 0);
    struct cache *cache = servers_of(three, 3);
    CHECK_OK(placement_choose(cache, &arena, &tier, "", loads, 2, &server, &err), &err);
    CHECK_TEXT(server, "a");
    CHECK_OK(placement_choose(cache, &arena, &tier, "", NULL, 0, &server, &err), &err);
    CHECK_TEXT(server, "a"); /* a tie: by name */
    const struct server_load full[] = {{"a", 2}, {"b", 4}};
    CHECK_OK(placement_choose(cache, &arena, &tier, "", full, 2, &server, &err), &err);
    CHECK_TEXT(server, "b");
    cache_free(cache);
}

static void nobody_is_explained(void **state)
{
    (void)state;
    AUTO(arena) struct arena arena = {0};
    const char *const west_values[] = {"west"};
    const struct label_requirement west[] = {{"zone", "In", west_values, 1}};
    const struct tier tier = {.name = "free", .placement = west, .placement_count = 1};
    const char *server = NULL;
    struct err err = {0};
    arena_init(&arena, 0);
    struct cache *cache = servers_of(three, 3);
    CHECK_FAILS(placement_choose(cache, &arena, &tier, "", NULL, 0, &server, &err), &err, ERR_WAIT,
                "NoServer");
    CHECK_NOT_NULL(strstr(err.message, "c: not schedulable"));
    CHECK_FAILS(placement_choose(cache, &arena, &tier, "gone", NULL, 0, &server, &err), &err,
                ERR_WAIT, "NoServer");
    /* One that is closed to others may be named. */
    CHECK_OK(placement_choose(cache, &arena, &tier, "c", NULL, 0, &server, &err), &err);
    CHECK_TEXT(server, "c");
    cache_free(cache);
    const struct tier any = {.name = "free"};
    const struct server_load loads[] = {{"a", 2}};
    cache = servers_of(three, 1);
    CHECK_FAILS(placement_choose(cache, &arena, &any, "", loads, 1, &server, &err), &err, ERR_WAIT,
                "CapacityExhausted");
    CHECK_NOT_NULL(strstr(err.message, "full with 2 of 2 tenants"));
    /* Who names the server gets no room that is not there. */
    CHECK_FAILS(placement_choose(cache, &arena, &any, "a", loads, 1, &server, &err), &err, ERR_WAIT,
                "CapacityExhausted");
    CHECK_NOT_NULL(strstr(err.message, "full with 2 of 2 tenants"));
    cache_free(cache);
    cache = servers_of(NULL, 0);
    CHECK_FAILS(placement_choose(cache, &arena, &any, "", NULL, 0, &server, &err), &err, ERR_WAIT,
                "NoServer");
    cache_free(cache);
}

static void a_server_that_is_drained_takes_nobody(void **state)
{
    (void)state;
    static const char *const specs[] = {SERVER("a", "", ",\"draining\":true")};
    AUTO(arena) struct arena arena = {0};
    const struct tier tier = {.name = "free"};
    const char *server = NULL;
    struct err err = {0};
    arena_init(&arena, 0);
    struct cache *cache = servers_of(specs, 1);
    CHECK_FAILS(placement_choose(cache, &arena, &tier, "", NULL, 0, &server, &err), &err, ERR_WAIT,
                "NoServer");
    CHECK_NOT_NULL(strstr(err.message, "a: being drained"));
    CHECK_FAILS(placement_choose(cache, &arena, &tier, "a", NULL, 0, &server, &err), &err, ERR_WAIT,
                "NoServer");
    CHECK_NOT_NULL(strstr(err.message, "is being drained"));
    cache_free(cache);
}

#define SERVER_THAT_IS(name, reachable)                                                            \
    "{\"metadata\":{\"name\":\"" name "\",\"uid\":\"u-" name                                       \
    "\",\"resourceVersion\":\"1\"},\"spec\":{\"hosts\":[\"h\"]},\"status\":{\"conditions\":["      \
    "{\"type\":\"Reachable\",\"status\":\"" reachable "\",\"reason\":\"X\",\"message\":\"\","      \
    "\"lastTransitionTime\":\"2026-01-01T00:00:00Z\"}]}}"

/* One that is down gets a tenant only where all are: it will come back. */
static void who_can_be_reached_goes_before_who_is_emptier(void **state)
{
    (void)state;
    static const char *const specs[] = {SERVER_THAT_IS("a", "False"), SERVER_THAT_IS("b", "True"),
                                        SERVER_THAT_IS("c", "False")};
    const struct server_load loads[] = {{"a", 1}, {"b", 9}};
    AUTO(arena) struct arena arena = {0};
    const struct tier tier = {.name = "free"};
    const char *server = NULL;
    struct err err = {0};
    arena_init(&arena, 0);
    struct cache *cache = servers_of(specs, 3);
    CHECK_OK(placement_choose(cache, &arena, &tier, "", loads, 2, &server, &err), &err);
    CHECK_TEXT(server, "b");
    cache_free(cache);
    cache = servers_of(specs, 1);
    CHECK_OK(placement_choose(cache, &arena, &tier, "", loads, 2, &server, &err), &err);
    CHECK_TEXT(server, "a");
    cache_free(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(emptiest_matching_server_wins),
        cmocka_unit_test(nobody_is_explained),
        cmocka_unit_test(a_server_that_is_drained_takes_nobody),
        cmocka_unit_test(who_can_be_reached_goes_before_who_is_emptier),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
