#include "controller/kube/backoff.h"

#include "tests/check.h"

static struct backoff new_backoff(void)
{
    return (struct backoff){.base_ms = 800, .cap_ms = 30000, .forget_ms = 120000};
}

static void c24_doubles_up_to_the_cap_with_jitter_of_as_much_again(void **state)
{
    static const int64_t expected_ms[] = {800, 1600, 3200, 6400, 12800, 25600, 30000, 30000};
    struct backoff backoff = new_backoff();
    int64_t now_ms = 1000;

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(expected_ms); i++) {
        int64_t wait_ms = backoff_next_ms(&backoff, now_ms);
        assert_in_range(wait_ms, expected_ms[i], 2 * expected_ms[i] - 1);
        now_ms += wait_ms;
    }
}

static void is_spread_over_the_whole_range(void **state)
{
    int low = 0;
    int high = 0;

    (void)state;
    for (int i = 0; i < 1000; i++) {
        struct backoff backoff = new_backoff();
        int64_t wait_ms = backoff_next_ms(&backoff, 0);
        low += wait_ms < 1000;
        high += wait_ms >= 1400;
    }
    /* A quarter each; that less than a tenth falls there by chance does not happen. */
    CHECK(low > 100);
    CHECK(high > 100);
}

static void c24_begins_anew_after_a_time_of_health(void **state)
{
    struct backoff backoff = new_backoff();
    int64_t now_ms = 5000;

    (void)state;
    for (int i = 0; i < 6; i++) {
        now_ms += backoff_next_ms(&backoff, now_ms);
    }
    assert_in_range(backoff_next_ms(&backoff, now_ms + 119999), 30000, 60000);
    now_ms = backoff.waited_until_ms;
    assert_in_range(backoff_next_ms(&backoff, now_ms + 120000), 800, 1599);
}

static void the_wait_itself_is_no_health(void **state)
{
    struct backoff backoff = {.base_ms = 100, .cap_ms = 1000000, .forget_ms = 150};

    (void)state;
    int64_t now_ms = 0;
    for (int i = 0; i < 5; i++) {
        now_ms += backoff_next_ms(&backoff, now_ms) + 10;
    }
    assert_in_range(backoff.current_ms, 1600, 1600);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(c24_doubles_up_to_the_cap_with_jitter_of_as_much_again),
        cmocka_unit_test(is_spread_over_the_whole_range),
        cmocka_unit_test(c24_begins_anew_after_a_time_of_health),
        cmocka_unit_test(the_wait_itself_is_no_health),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
