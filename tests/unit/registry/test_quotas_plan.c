/* The limits of a tenant, and what has to be written so that they stand. */
#include "tests/check.h"

#include "reconcilers/registry/quotas_plan.h"

static const struct quota tier_quotas[] = {
    {"users", 5}, {"api_requests", 10000}, {"sandboxes", 5}, {"storage_mb", 1000}};
static const struct tier tier = {
    .name = "premium",
    .quotas = tier_quotas,
    .quota_count = ARRAY_COUNT(tier_quotas),
};

static void overrides_win_and_add(void **state)
{
    static const struct quota overrides[] = {{"storage_mb", -1}, {"gpus", 2}};
    AUTO(arena) struct arena arena = {0};
    const struct tenant tenant = {.quotas = overrides, .quota_count = ARRAY_COUNT(overrides)};
    size_t count = 0;

    (void)state;
    arena_init(&arena, 0);
    const struct quota *quotas = quotas_effective(&arena, &tier, &tenant, &count);
    static const struct quota expected[] = {
        {"api_requests", 10000}, {"gpus", 2}, {"sandboxes", 5}, {"storage_mb", -1}, {"users", 5}};
    CHECK_INT(count, ARRAY_COUNT(expected));
    for (size_t i = 0; i < count; i++) {
        CHECK_TEXT(quotas[i].resource, expected[i].resource);
        CHECK_INT(quotas[i].limit, expected[i].limit);
    }
}

static void unlimited_is_the_largest_bigint(void **state)
{
    (void)state;
    CHECK(quota_stored(-1) == INT64_MAX);
    CHECK(quota_stored(0) == 0);
    CHECK(quota_stored(7) == 7);
}

static void nothing_is_planned_when_all_is_equal(void **state)
{
    AUTO(arena) struct arena arena = {0};
    static const struct quota wanted[] = {{"storage_mb", -1}, {"users", 5}};
    static const struct quota_row rows[] = {{"users", 99, 5}, {"storage_mb", 0, INT64_MAX}};
    struct quotas_plan plan;

    (void)state;
    arena_init(&arena, 0);
    quotas_plan(&arena, wanted, ARRAY_COUNT(wanted), rows, ARRAY_COUNT(rows), &plan);
    CHECK_INT(plan.set_count, 0);
    CHECK_INT(plan.remove_count, 0);
}

static void missing_changed_and_unnamed_rows_are_planned(void **state)
{
    AUTO(arena) struct arena arena = {0};
    static const struct quota wanted[] = {{"gpus", 2}, {"storage_mb", 1000}, {"users", 5}};
    static const struct quota_row rows[] = {
        {"users", 1, 5}, {"storage_mb", 1, 9999}, {"floppies", 3, 4}};
    struct quotas_plan plan;

    (void)state;
    arena_init(&arena, 0);
    quotas_plan(&arena, wanted, ARRAY_COUNT(wanted), rows, ARRAY_COUNT(rows), &plan);
    CHECK_INT(plan.set_count, 2);
    CHECK_TEXT(plan.set[0]->resource, "gpus");
    CHECK_TEXT(plan.set[1]->resource, "storage_mb");
    CHECK_INT(plan.remove_count, 1);
    CHECK_TEXT(plan.remove[0]->resource, "floppies");
}

static void excess_names_what_is_over_and_only_what_stays(void **state)
{
    AUTO(arena) struct arena arena = {0};
    static const struct quota wanted[] = {{"api_requests", 10},
                                          {"compute_hours", 1},
                                          {"sandboxes", 1},
                                          {"storage_mb", -1},
                                          {"users", 5}};
    static const struct quota_row rows[] = {{"api_requests", 11, 10},
                                            {"compute_hours", 2, 1},
                                            {"sandboxes", 3, 1},
                                            {"storage_mb", 1000000, INT64_MAX},
                                            {"users", 7, 5}};

    (void)state;
    arena_init(&arena, 0);
    CHECK_TEXT(quotas_excess(&arena, wanted, ARRAY_COUNT(wanted), rows, ARRAY_COUNT(rows)),
               "sandboxes: 3 used of 1; users: 7 used of 5");
    CHECK_NULL(quotas_excess(&arena, wanted, ARRAY_COUNT(wanted), rows, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(overrides_win_and_add),
        cmocka_unit_test(unlimited_is_the_largest_bigint),
        cmocka_unit_test(nothing_is_planned_when_all_is_equal),
        cmocka_unit_test(missing_changed_and_unnamed_rows_are_planned),
        cmocka_unit_test(excess_names_what_is_over_and_only_what_stays),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
