#include "controller/base/call.h"

#include "controller/base/clock.h"

int64_t call_remaining_ms(const struct call *call, int64_t limit_ms)
{
    if (!call || call->deadline_ms == 0) {
        return limit_ms;
    }
    int64_t now_ms = clock_monotonic_ms();
    if (call->deadline_ms <= now_ms) {
        return 0;
    }
    int64_t left_ms = call->deadline_ms - now_ms;
    return left_ms < limit_ms ? left_ms : limit_ms;
}

int call_check(const struct call *call, struct err *err)
{
    if (!call) {
        return 0;
    }
    /* Cancellation first: a program that stops says nothing, even about what is late. */
    if (cancel_check(call->cancel, err) != 0) {
        return -1;
    }
    if (call_remaining_ms(call, 1) == 0) {
        return err_set(err, ERR_RETRY, "DeadlineExceeded", "the time given to this step is over");
    }
    return 0;
}

int call_check_write(const struct call *call, struct err *err)
{
    if (call_check(call, err) != 0) {
        return -1;
    }
    return fence_check(call ? call->fence : NULL, err);
}
