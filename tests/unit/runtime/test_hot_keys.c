#include <stdio.h>

#include "controller/runtime/hot_keys.h"
#include "tests/check.h"

static struct hot_keys keys;

static int setup(void **state)
{
    (void)state;
    hot_keys_init(&keys);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    hot_keys_release(&keys);
    return 0;
}

/* How often the key warns when it is reconciled `count` times, one each step_ms. */
static int warnings(const char *key, int count, int64_t begin_ms, int64_t step_ms)
{
    int warned = 0;
    for (int i = 0; i < count; i++) {
        warned += hot_keys_note(&keys, key, false, begin_ms + i * step_ms);
    }
    return warned;
}

static void twenty_in_ten_seconds_are_fine_and_one_more_is_not(void **state)
{
    (void)state;
    CHECK_INT(warnings("a", HOT_KEYS_LIMIT, 1000, 10), 0);
    CHECK(hot_keys_note(&keys, "a", false, 2000));
}

static void it_warns_once_a_minute(void **state)
{
    (void)state;
    CHECK_INT(warnings("a", 59 * 100, 1000, 10), 1);
    CHECK_INT(warnings("a", 60 * 100, 60000, 10), 1);
}

static void a_slow_key_never_warns(void **state)
{
    (void)state;
    CHECK_INT(warnings("a", 10000, 1000, 600), 0);
}

static void failures_begin_the_count_again(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        CHECK_INT(warnings("a", HOT_KEYS_LIMIT, 1000, 1), 0);
        CHECK(!hot_keys_note(&keys, "a", true, 1000));
    }
}

static void a_hot_key_is_found_among_many_others(void **state)
{
    (void)state;
    int warned = 0;
    for (int round = 0; round < 60; round++) {
        for (int i = 0; i < 300; i++) {
            char key[32];
            (void)snprintf(key, sizeof(key), "cold-%d", i);
            CHECK(!hot_keys_note(&keys, key, false, 1000 + round * 1000));
        }
        for (int i = 0; i < 30; i++) {
            warned += hot_keys_note(&keys, "hot", false, 1000 + round * 1000);
        }
    }
    CHECK(warned >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(twenty_in_ten_seconds_are_fine_and_one_more_is_not, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(it_warns_once_a_minute, setup, teardown),
        cmocka_unit_test_setup_teardown(a_slow_key_never_warns, setup, teardown),
        cmocka_unit_test_setup_teardown(failures_begin_the_count_again, setup, teardown),
        cmocka_unit_test_setup_teardown(a_hot_key_is_found_among_many_others, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
