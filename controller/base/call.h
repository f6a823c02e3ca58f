/* What every blocking operation is given by the one who wants it: how long, until when it still
 * makes sense, whether it may write, and whom to log for. Lives on the caller's stack; all pointers
 * may be NULL. */
#ifndef TENANTRY_BASE_CALL_H
#define TENANTRY_BASE_CALL_H

#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/base/cancel.h"
#include "controller/base/err.h"
#include "controller/base/fence.h"
#include "controller/base/log.h"

struct call {
    const struct cancel *cancel;
    const struct fence *fence; /* checked before each write */
    int64_t deadline_ms;       /* monotonic; 0 = none, the operation's own timeout alone counts */
    const struct log *log;
};

/* Milliseconds until the deadline, at most limit_ms; 0 when it has passed. */
int64_t call_remaining_ms(const struct call *call, int64_t limit_ms);

/* CANCELED/Canceled when canceled, RETRY/DeadlineExceeded when late, else 0. Before each read. */
MUST_CHECK int call_check(const struct call *call, struct err *err);
/* The same, and CANCELED/LeadershipLost when the fence is closed. Before each write. */
MUST_CHECK int call_check_write(const struct call *call, struct err *err);

#endif
