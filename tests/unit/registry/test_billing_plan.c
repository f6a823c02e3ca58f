#include "reconcilers/registry/billing_plan.h"

#include "tests/check.h"

static void a_plan_is_what_the_tier_costs_and_includes(void **state)
{
    static const struct text_pair overage[] = {{"api_requests", "0.000001"},
                                               {"storage_mb", "0.02"}};
    static const struct quota quotas[] = {{"api_requests", 10000}, {"users", -1}};
    AUTO(arena) struct arena arena = {0};
    const struct tier tier = {
        .name = "premium",
        .quotas = quotas,
        .quota_count = ARRAY_COUNT(quotas),
        .currency = "CHF",
        .price_monthly = "49.90",
        .price_annual = "499",
        .overage = overage,
        .overage_count = ARRAY_COUNT(overage),
        .suspend_after_days = 0,
    };
    (void)state;

    arena_init(&arena, 0);
    CHECK_TEXT(billing_plan_render(&arena, &tier),
               "{\"currency\":\"CHF\",\"monthly\":\"49.90\",\"annual\":\"499\","
               "\"overage\":{\"api_requests\":\"0.000001\",\"storage_mb\":\"0.02\"},"
               "\"included\":{\"api_requests\":10000,\"users\":-1},\"suspendAfterDays\":0}");
}

static void what_a_tier_does_not_say_costs_nothing(void **state)
{
    AUTO(arena) struct arena arena = {0};
    const struct tier tier = {.name = "free", .price_annual = "", .suspend_after_days = -1};
    (void)state;

    arena_init(&arena, 0);
    CHECK_TEXT(billing_plan_render(&arena, &tier),
               "{\"currency\":\"EUR\",\"monthly\":\"0\",\"overage\":{},\"included\":{}}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plan_is_what_the_tier_costs_and_includes),
        cmocka_unit_test(what_a_tier_does_not_say_costs_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
