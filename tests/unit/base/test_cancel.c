#include "controller/base/cancel.h"

#include "controller/base/clock.h"
#include "tests/check.h"

#include <poll.h>
#include <pthread.h>

static bool polls_readable(const struct cancel *cancel)
{
    struct pollfd poll_fd = {.fd = cancel_fd(cancel), .events = POLLIN};

    return poll(&poll_fd, 1, 0) == 1 && (poll_fd.revents & POLLIN);
}

static void check_set(const struct cancel *cancel, bool set)
{
    struct err err = {0};

    CHECK(cancel_is_set(cancel) == set);
    CHECK(polls_readable(cancel) == set);
    CHECK(cancel_sleep_ms(cancel, 0) == !set);
    if (set) {
        CHECK_FAILS(cancel_check(cancel, &err), &err, ERR_CANCELED, "Canceled");
    } else {
        CHECK_OK(cancel_check(cancel, &err), &err);
    }
}

static void a_token_stays_canceled(void **state)
{
    struct cancel *cancel = cancel_new(NULL);
    (void)state;

    check_set(cancel, false);
    cancel_trigger(cancel);
    check_set(cancel, true);
    cancel_trigger(cancel);
    check_set(cancel, true);
    cancel_free(cancel);
}

static void no_token_is_never_canceled(void **state)
{
    struct err err = {0};
    int64_t before = clock_monotonic_us();
    (void)state;

    CHECK(!cancel_is_set(NULL));
    CHECK_INT(cancel_fd(NULL), -1);
    CHECK_OK(cancel_check(NULL, &err), &err);
    CHECK(cancel_sleep_ms(NULL, 20));
    CHECK(clock_monotonic_us() - before >= 20000);
    CHECK(cancel_sleep_ms(NULL, -5));
    cancel_free(NULL);
}

/*     a
 *    / \
 *   b   c
 *  / \   \
 * d   e   f */
static void canceling_reaches_all_below_and_none_beside(void **state)
{
    struct cancel *a = cancel_new(NULL);
    struct cancel *b = cancel_new(a);
    struct cancel *c = cancel_new(a);
    struct cancel *d = cancel_new(b);
    struct cancel *e = cancel_new(b);
    struct cancel *f = cancel_new(c);
    (void)state;

    cancel_trigger(d);
    check_set(d, true);
    check_set(b, false);
    check_set(e, false);
    cancel_trigger(b);
    check_set(b, true);
    check_set(e, true);
    check_set(a, false);
    check_set(c, false);
    check_set(f, false);
    struct cancel *late = cancel_new(b);
    check_set(late, true); /* born canceled */
    cancel_trigger(a);
    check_set(a, true);
    check_set(c, true);
    check_set(f, true);
    struct cancel *all[] = {late, d, f, e, c, b, a};
    for (size_t i = 0; i < ARRAY_COUNT(all); i++) {
        cancel_free(all[i]);
    }
}

static void a_freed_child_is_forgotten(void **state)
{
    struct cancel *parent = cancel_new(NULL);
    struct cancel *children[5];
    static const int order[] = {2, 0, 4, 1};
    (void)state;

    for (int i = 0; i < 5; i++) {
        children[i] = cancel_new(parent);
    }
    for (size_t i = 0; i < ARRAY_COUNT(order); i++) {
        cancel_free(children[order[i]]);
    }
    cancel_trigger(parent);
    check_set(children[3], true);
    cancel_free(children[3]);
    cancel_free(parent);
}

static void sleep_lasts_as_long_as_asked(void **state)
{
    struct cancel *cancel = cancel_new(NULL);
    (void)state;

    for (int64_t ms = 0; ms < 12; ms += 3) {
        int64_t before = clock_monotonic_us();
        CHECK(cancel_sleep_ms(cancel, ms));
        CHECK(clock_monotonic_us() - before >= ms * 1000);
    }
    cancel_free(cancel);
}

struct sleeper {
    pthread_t thread;
    const struct cancel *cancel;
    int64_t duration_ms;
    bool slept;
};

static void *sleep_in_thread(void *argument)
{
    struct sleeper *sleeper = argument;

    sleeper->slept = cancel_sleep_ms(sleeper->cancel, sleeper->duration_ms);
    return NULL;
}

/* The join returns only because the trigger wakes them: each would sleep for ages. */
static void canceling_wakes_sleepers_at_once(void **state)
{
    struct cancel *parent = cancel_new(NULL);
    struct cancel *child = cancel_new(parent);
    struct sleeper sleepers[] = {{.cancel = parent, .duration_ms = INT64_MAX},
                                 {.cancel = child, .duration_ms = INT64_MAX / 1000},
                                 {.cancel = child, .duration_ms = INT64_C(10000000000)}};
    (void)state;

    for (size_t i = 0; i < ARRAY_COUNT(sleepers); i++) {
        CHECK_INT(pthread_create(&sleepers[i].thread, NULL, sleep_in_thread, &sleepers[i]), 0);
    }
    CHECK(cancel_sleep_ms(NULL, 10)); /* lets them reach their poll; either way they must wake */
    cancel_trigger(parent);
    for (size_t i = 0; i < ARRAY_COUNT(sleepers); i++) {
        CHECK_INT(pthread_join(sleepers[i].thread, NULL), 0);
        CHECK(!sleepers[i].slept);
    }
    cancel_free(child);
    cancel_free(parent);
}

static void *breed(void *argument)
{
    struct cancel *parent = argument;

    for (int i = 0; i < 300; i++) {
        struct cancel *child = cancel_new(parent);
        struct cancel *grandchild = cancel_new(child);
        if (i % 3 == 0) {
            cancel_trigger(child);
            CHECK(cancel_is_set(grandchild));
        }
        /* Set with the parent, whenever that was: no child slips through. */
        bool parent_was_set = cancel_is_set(parent);
        struct cancel *late = cancel_new(parent);
        CHECK(!parent_was_set || cancel_is_set(late));
        cancel_free(late);
        cancel_free(grandchild);
        cancel_free(child);
    }
    return NULL;
}

static void families_change_while_others_cancel(void **state)
{
    struct cancel *parent = cancel_new(NULL);
    pthread_t threads[3];
    (void)state;

    for (size_t i = 0; i < ARRAY_COUNT(threads); i++) {
        CHECK_INT(pthread_create(&threads[i], NULL, breed, parent), 0);
    }
    CHECK(cancel_sleep_ms(NULL, 1));
    for (int i = 0; i < 100; i++) {
        cancel_trigger(parent);
    }
    for (size_t i = 0; i < ARRAY_COUNT(threads); i++) {
        CHECK_INT(pthread_join(threads[i], NULL), 0);
    }
    cancel_free(parent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_token_stays_canceled),
        cmocka_unit_test(no_token_is_never_canceled),
        cmocka_unit_test(canceling_reaches_all_below_and_none_beside),
        cmocka_unit_test(a_freed_child_is_forgotten),
        cmocka_unit_test(sleep_lasts_as_long_as_asked),
        cmocka_unit_test(canceling_wakes_sleepers_at_once),
        cmocka_unit_test(families_change_while_others_cancel),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
