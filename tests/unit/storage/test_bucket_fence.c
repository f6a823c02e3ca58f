/* A statement of ours in a bucket's policy, and nothing else of that policy touched. */
#include <string.h>

#include "controller/base/arena.h"
#include "controller/base/js.h"
#include "reconcilers/storage/keys_internal.h"
#include "tests/check.h"

#define OF_PLATFORM                                                                                \
    "{\"Sid\":\"Platform\",\"Effect\":\"Allow\",\"Principal\":{\"AWS\":\"acme\"},"                 \
    "\"Action\":[\"s3:GetObject\"],\"Resource\":\"arn:aws:s3:::acme-uploads/*\"}"
#define FENCE                                                                                      \
    "{\"Sid\":\"TenantryStorageSpent\",\"Effect\":\"Deny\",\"Principal\":\"*\","                   \
    "\"Action\":\"s3:PutObject\",\"Resource\":\"arn:aws:s3:::acme-uploads/*\"}"
#define POLICY(statements) "{\"Version\":\"2012-10-17\",\"Statement\":[" statements "]}"

static void check_plan(const char *existing, bool spent, const char *expected)
{
    AUTO(arena) struct arena arena = {0};
    AUTO(json) json_t *a = NULL;
    AUTO(json) json_t *b = NULL;
    const char *wanted = NULL;
    struct err err;

    arena_init(&arena, 0);
    assert_int_equal(bucket_fence_plan(&arena, existing, "acme-uploads", spent, &wanted, &err), 0);
    if (!expected || !*expected) {
        assert_true(expected ? wanted && !*wanted : !wanted);
        return;
    }
    assert_non_null(wanted);
    assert_int_equal(js_parse(str_from(wanted), 4096, &a, &err), 0);
    assert_int_equal(js_parse(str_from(expected), 4096, &b, &err), 0);
    assert_true(json_equal(a, b));
}

static void test_it_comes_and_goes(void **state)
{
    (void)state;
    check_plan("", true, POLICY(FENCE));
    check_plan(POLICY(FENCE), true, NULL);
    check_plan(POLICY(FENCE), false, "");
    check_plan("", false, NULL);
}

static void test_what_the_platform_says_stays(void **state)
{
    (void)state;
    check_plan(POLICY(OF_PLATFORM), false, NULL);
    check_plan(POLICY(OF_PLATFORM), true, POLICY(OF_PLATFORM "," FENCE));
    check_plan(POLICY(OF_PLATFORM "," FENCE), false, POLICY(OF_PLATFORM));
    check_plan("{\"Version\":\"2012-10-17\",\"Statement\":" OF_PLATFORM "}", true,
               POLICY(OF_PLATFORM "," FENCE));
}

static void test_what_is_no_policy_is_not_replaced(void **state)
{
    AUTO(arena) struct arena arena = {0};
    const char *wanted = NULL;
    struct err err;

    (void)state;
    arena_init(&arena, 0);
    assert_int_equal(bucket_fence_plan(&arena, "<Error/>", "acme-uploads", true, &wanted, &err),
                     -1);
    assert_null(wanted);
    assert_string_equal(err.reason, "InvalidJSON");
}

int main(void)
{
    js_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_comes_and_goes),
        cmocka_unit_test(test_what_the_platform_says_stays),
        cmocka_unit_test(test_what_is_no_policy_is_not_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
