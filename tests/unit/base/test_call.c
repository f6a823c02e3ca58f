#include "controller/base/call.h"
#include "controller/base/clock.h"
#include "tests/check.h"

static void call_without_limits_always_goes_on(void **state)
{
    (void)state;
    struct err err;
    const struct call call = {0};
    CHECK_OK(call_check(NULL, &err), &err);
    CHECK_OK(call_check_write(NULL, &err), &err);
    CHECK_OK(call_check(&call, &err), &err);
    CHECK_OK(call_check_write(&call, &err), &err);
    CHECK_INT(call_remaining_ms(NULL, 42), 42);
    CHECK_INT(call_remaining_ms(&call, INT64_MAX), INT64_MAX);
}

static void remaining_time_is_the_shorter_of_two(void **state)
{
    (void)state;
    struct call call = {.deadline_ms = clock_monotonic_ms() + 60000};
    CHECK_INT(call_remaining_ms(&call, 10), 10);
    int64_t left_ms = call_remaining_ms(&call, INT64_MAX);
    CHECK(left_ms > 0 && left_ms <= 60000);
    call.deadline_ms = 1;
    CHECK_INT(call_remaining_ms(&call, 10), 0);
}

static void passed_deadline_ends_reads_and_writes(void **state)
{
    (void)state;
    struct err err;
    const struct call call = {.deadline_ms = clock_monotonic_ms()};
    CHECK_FAILS(call_check(&call, &err), &err, ERR_RETRY, "DeadlineExceeded");
    CHECK_FAILS(call_check_write(&call, &err), &err, ERR_RETRY, "DeadlineExceeded");
}

static void cancellation_comes_before_the_deadline(void **state)
{
    (void)state;
    struct err err;
    struct cancel *cancel = cancel_new(NULL);
    const struct call call = {.cancel = cancel, .deadline_ms = 1};
    cancel_trigger(cancel);
    CHECK_FAILS(call_check(&call, &err), &err, ERR_CANCELED, "Canceled");
    CHECK_FAILS(call_check_write(&call, &err), &err, ERR_CANCELED, "Canceled");
    cancel_free(cancel);
}

static void c46_closed_fence_ends_writes_alone(void **state)
{
    (void)state;
    struct err err;
    struct fence fence = {0};
    const struct call call = {.fence = &fence};
    CHECK_OK(call_check(&call, &err), &err);
    CHECK_FAILS(call_check_write(&call, &err), &err, ERR_CANCELED, "LeadershipLost");
    fence_open_until(&fence, INT64_MAX);
    CHECK_OK(call_check_write(&call, &err), &err);
    fence_close(&fence);
    CHECK_FAILS(call_check_write(&call, &err), &err, ERR_CANCELED, "LeadershipLost");
}

static void c46_fence_closes_by_itself(void **state)
{
    (void)state;
    struct fence fence = {0};
    int64_t until_ms = clock_boot_ms() + 30;
    fence_open_until(&fence, until_ms);
    CHECK(fence_is_open(&fence) || clock_boot_ms() >= until_ms);
    while (clock_boot_ms() < until_ms) {
        CHECK(cancel_sleep_ms(NULL, 1));
    }
    CHECK(!fence_is_open(&fence));
    CHECK(fence_is_open(NULL));
}

/* A suspended machine: its monotonic clock stood still, and with it all timers. */
static void c46_a_fence_is_closed_after_a_suspension(void **state)
{
    (void)state;
    struct fence fence = {0};
    int64_t monotonic_ms = clock_monotonic_ms();
    fence_open_until(&fence, clock_boot_ms() + 10000);
    CHECK(fence_is_open(&fence));
    clock_suspend_ms(10000);
    CHECK(!fence_is_open(&fence));
    CHECK(clock_monotonic_ms() - monotonic_ms < 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(call_without_limits_always_goes_on),
        cmocka_unit_test(remaining_time_is_the_shorter_of_two),
        cmocka_unit_test(passed_deadline_ends_reads_and_writes),
        cmocka_unit_test(cancellation_comes_before_the_deadline),
        cmocka_unit_test(c46_closed_fence_ends_writes_alone),
        cmocka_unit_test(c46_fence_closes_by_itself),
        cmocka_unit_test(c46_a_fence_is_closed_after_a_suspension),
    };
    return cmocka_run_group_tests_name("call", tests, NULL, NULL);
}
