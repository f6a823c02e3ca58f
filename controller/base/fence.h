/* Leadership as something every write path checks. A fence is open until a time of the boot clock
 * that the leader elector moves forward with each renewal; past it no write may begin, even if the
 * process slept (SIGSTOP, a suspended machine) and does not know yet that it lost the lease. It
 * narrows the window of two leaders; it is not proof against it, so that steps stay safe under two
 * leaders too. Thread-safe. */
#ifndef TENANTRY_BASE_FENCE_H
#define TENANTRY_BASE_FENCE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/base/err.h"

struct fence {
    _Atomic int64_t open_until_ms; /* clock_boot_ms; INT64_MAX: always open; 0: closed */
};

/* Open until that time of clock_boot_ms, also after it was closed. INT64_MAX: for good. */
void fence_open_until(struct fence *fence, int64_t boot_ms);
/* Closed when it returns: whoever checks from then on is refused. */
void fence_close(struct fence *fence);
/* NULL is open: a program without leader election. */
bool fence_is_open(const struct fence *fence);

/* CANCELED/LeadershipLost when closed, else 0. */
MUST_CHECK int fence_check(const struct fence *fence, struct err *err);

#endif
