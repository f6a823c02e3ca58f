#include "reconcilers/storage/storage_internal.h"
#include "tests/check.h"

static const struct object_store store = {.name = "default", .prefix = "p-"};

static void takes_the_spec_before_the_tier(void **state)
{
    (void)state;
    AUTO(arena) struct arena arena = {0};
    const char *const *names = NULL;
    size_t count = 0;
    bool asked = true;
    struct tenant tenant = {.buckets = ""};
    const struct tier tier = {.buckets = "[{\"name\":\"uploads\"},{\"name\":\"assets\"}]"};
    arena_init(&arena, 0);
    buckets_wanted(&arena, &tenant, &tier, &names, &count, &asked);
    CHECK_INT(count, 2);
    CHECK_TEXT(names[1], "assets");
    CHECK(!asked);
    tenant.buckets = "[]";
    buckets_wanted(&arena, &tenant, &tier, &names, &count, &asked);
    CHECK_INT(count, 0);
    CHECK(!asked);
    tenant.buckets = "[{\"name\":\"data\"}]";
    buckets_wanted(&arena, &tenant, &tier, &names, &count, &asked);
    CHECK_INT(count, 1);
    CHECK(asked);
    tenant.buckets = "";
    buckets_wanted(&arena, &tenant, NULL, &names, &count, &asked);
    CHECK_INT(count, 0);
}

static void makes_what_has_no_row_and_keeps_what_has(void **state)
{
    (void)state;
    AUTO(arena) struct arena arena = {0};
    static const char *const names[] = {"uploads", "new"};
    static const struct bucket_row rows[] = {{"gone", "old-acme-gone", "other", true},
                                             {"uploads", "old-acme-uploads", "other", true}};
    struct buckets_plan plan;
    struct err err;
    arena_init(&arena, 0);
    CHECK_OK(buckets_plan(&arena, "acme", names, 2, rows, 2, &store, &plan, &err), &err);
    CHECK_INT(plan.count, 3);
    CHECK_INT(plan.fresh_count, 1);
    CHECK_TEXT(plan.fresh[0].bucket, "p-acme-new");
    CHECK_INT(plan.wanted_count, 2);
    CHECK_TEXT(plan.wanted[0]->bucket, "old-acme-uploads");
    CHECK_TEXT(plan.wanted[1]->bucket, "p-acme-new");
}

static void refuses_a_name_that_is_too_long(void **state)
{
    (void)state;
    AUTO(arena) struct arena arena = {0};
    static const char *const names[] = {"aaaaaaaaaaaaaa"};
    static const char subdomain[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    struct buckets_plan plan;
    struct err err;
    arena_init(&arena, 0);
    CHECK_FAILS(buckets_plan(&arena, subdomain, names, 1, NULL, 0, &store, &plan, &err), &err,
                ERR_TERMINAL, "InvalidName");
}

static void tells_whose_a_bucket_is(void **state)
{
    (void)state;
    struct s3_tags tags = {.tags = {{TAG_TENANT_ID, "id-1"}, {TAG_TENANT_UID, "uid-1"}},
                           .count = 2};
    CHECK_INT(bucket_owner_of(&tags, "id-1"), BUCKET_OURS);
    CHECK_INT(bucket_owner_of(&tags, "id-2"), BUCKET_FOREIGN);
    tags.tags[0].key = "other";
    CHECK_INT(bucket_owner_of(&tags, "id-1"), BUCKET_FOREIGN);
    tags.count = 0;
    CHECK_INT(bucket_owner_of(&tags, "id-1"), BUCKET_UNMARKED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_the_spec_before_the_tier),
        cmocka_unit_test(makes_what_has_no_row_and_keeps_what_has),
        cmocka_unit_test(refuses_a_name_that_is_too_long),
        cmocka_unit_test(tells_whose_a_bucket_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
