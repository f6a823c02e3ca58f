/* Whether an object says what we want: what the server adds does not count, what others change
 * does. */
#include "tests/check.h"

#include "reconcilers/objects/intent.h"

static bool is_so(const char *wanted, const char *observed)
{
    return intent_holds(str_from(wanted), str_from(observed));
}

static void what_the_server_adds_does_not_count(void **state)
{
    (void)state;
    CHECK(is_so("{\"a\":1}", "{\"a\":1,\"b\":2}"));
    CHECK(is_so("{\"spec\":{\"ports\":[{\"port\":53}]}}",
                "{\"spec\":{\"ports\":[{\"port\":53,\"protocol\":\"TCP\"}]},\"status\":{}}"));
    CHECK(is_so("{\"a\":{}}", "{}"));
    CHECK(is_so("{\"a\":[],\"b\":false,\"c\":\"\",\"d\":0}", "{}"));
}

static void what_is_changed_or_missing_does(void **state)
{
    (void)state;
    CHECK(!is_so("{\"a\":1}", "{\"a\":2}"));
    CHECK(!is_so("{\"a\":1}", "{}"));
    CHECK(!is_so("{\"a\":true}", "{}"));
    CHECK(!is_so("{\"a\":{\"b\":1}}", "{\"a\":{}}"));
    CHECK(!is_so("{\"a\":\"x\"}", "{\"a\":[\"x\"]}"));
    CHECK(!is_so("{\"a\":1}", "no json"));
}

static void lists_are_compared_whole(void **state)
{
    (void)state;
    CHECK(!is_so("{\"egress\":[{\"a\":1}]}", "{\"egress\":[{\"a\":1},{}]}"));
    CHECK(!is_so("{\"subjects\":[{\"name\":\"a\"}]}",
                 "{\"subjects\":[{\"name\":\"a\"},{\"name\":\"b\"}]}"));
    CHECK(!is_so("{\"l\":[1,2]}", "{\"l\":[2,1]}"));
}

static void others_may_add_to_lists_that_are_maps(void **state)
{
    (void)state;
    CHECK(is_so("{\"env\":[{\"name\":\"A\",\"value\":\"1\"}]}",
                "{\"env\":[{\"name\":\"B\",\"value\":\"2\"},{\"name\":\"A\",\"value\":\"1\"}]}"));
    CHECK(!is_so("{\"env\":[{\"name\":\"A\",\"value\":\"1\"}]}",
                 "{\"env\":[{\"name\":\"A\",\"value\":\"2\"}]}"));
    CHECK(!is_so("{\"env\":[{\"name\":\"A\",\"value\":\"1\"}]}", "{\"env\":[]}"));
}

static void quantities_are_equal_by_meaning(void **state)
{
    (void)state;
    CHECK(is_so("{\"cpu\":\"0.5\"}", "{\"cpu\":\"500m\"}"));
    CHECK(is_so("{\"cpu\":1}", "{\"cpu\":\"1\"}"));
    CHECK(is_so("{\"memory\":\"1024Mi\"}", "{\"memory\":\"1Gi\"}"));
    CHECK(!is_so("{\"cpu\":\"0.5\"}", "{\"cpu\":\"50m\"}"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_server_adds_does_not_count),
        cmocka_unit_test(what_is_changed_or_missing_does),
        cmocka_unit_test(lists_are_compared_whole),
        cmocka_unit_test(others_may_add_to_lists_that_are_maps),
        cmocka_unit_test(quantities_are_equal_by_meaning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
