/* cmocka's assertions under names that print both values and the place, and a few more. Every test
 * includes this instead of cmocka.h, whose include order is delicate. */
#ifndef TENANTRY_TESTS_CHECK_H
#define TENANTRY_TESTS_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "controller/base/err.h"

#define CHECK_INT(actual, expected) assert_int_equal((actual), (expected))
#define CHECK_TEXT(actual, expected) assert_string_equal((actual), (expected))
#define CHECK_NULL(pointer) assert_null(pointer)
#ifdef __clang_analyzer__ /* which does not know that cmocka's assertions do not come back */
#define CHECK(condition) ((condition) ? (void)0 : __builtin_trap())
#define CHECK_NOT_NULL(pointer) CHECK(pointer)
#else
#define CHECK(condition) assert_true(condition)
#define CHECK_NOT_NULL(pointer) assert_non_null(pointer)
#endif

/* What the environment has to hold for this test. Borrowed. */
static inline const char *check_getenv(const char *name)
{
    const char *value = getenv(name);

    CHECK_NOT_NULL(value);
    return value;
}

/* For tests of what valgrind changes: how long things take, and that it makes a plain fork of
 * posix_spawn, which never hears of a program that is not there. */
#define SKIP_UNDER_VALGRIND()                                                                      \
    do {                                                                                           \
        if (getenv("TENANTRY_VALGRIND")) {                                                         \
            skip();                                                                                \
        }                                                                                          \
    } while (0)

/* The call must succeed; prints the error when it does not. */
#define CHECK_OK(call, err_ptr)                                                                    \
    do {                                                                                           \
        if ((call) != 0) {                                                                         \
            fail_msg("%s failed: %s [%s %s] %s", #call, err_class_name((err_ptr)->cls),            \
                     (err_ptr)->reason, (err_ptr)->code, (err_ptr)->message);                      \
        }                                                                                          \
    } while (0)

/* The call must fail with this class and reason. */
#define CHECK_FAILS(call, err_ptr, class_, reason_)                                                \
    do {                                                                                           \
        if ((call) == 0) {                                                                         \
            fail_msg("%s succeeded, expected %s/%s", #call, err_class_name(class_), (reason_));    \
        }                                                                                          \
        if ((err_ptr)->cls != (class_) || strcmp((err_ptr)->reason, (reason_)) != 0) {             \
            fail_msg("%s failed as %s/%s (%s), expected %s/%s", #call,                             \
                     err_class_name((err_ptr)->cls), (err_ptr)->reason, (err_ptr)->message,        \
                     err_class_name(class_), (reason_));                                           \
        }                                                                                          \
    } while (0)

#endif
