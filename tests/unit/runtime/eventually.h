/* Wait for something that another thread does, with a limit: a test never just sleeps. */
#ifndef TENANTRY_TESTS_UNIT_RUNTIME_EVENTUALLY_H
#define TENANTRY_TESTS_UNIT_RUNTIME_EVENTUALLY_H

#include "controller/base/cancel.h"
#include "controller/base/clock.h"
#include "tests/check.h"

/* Let time pass that the test is about, such as a piece of work that takes this long. */
static inline void pass_ms(int64_t duration_ms)
{
    if (!cancel_sleep_ms(NULL, duration_ms)) {
        abort(); /* nobody can cancel it */
    }
}

#define EVENTUALLY_MS 20000 /* far above what is needed, for machines under load */

#define EVENTUALLY(condition)                                                                      \
    do {                                                                                           \
        int64_t eventually_end_ms_ = clock_monotonic_ms() + EVENTUALLY_MS;                         \
        while (!(condition)) {                                                                     \
            if (clock_monotonic_ms() > eventually_end_ms_) {                                       \
                fail_msg("%s did not come true within %d ms", #condition, EVENTUALLY_MS);          \
            }                                                                                      \
            pass_ms(1);                                                                            \
        }                                                                                          \
    } while (0)

#endif
