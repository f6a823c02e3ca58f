#include "controller/base/fence.h"

#include <stddef.h>

#include "controller/base/clock.h"

void fence_open_until(struct fence *fence, int64_t boot_ms)
{
    atomic_store(&fence->open_until_ms, boot_ms);
}

void fence_close(struct fence *fence)
{
    atomic_store(&fence->open_until_ms, 0);
}

bool fence_is_open(const struct fence *fence)
{
    if (!fence) {
        return true;
    }
    int64_t open_until_ms = atomic_load(&fence->open_until_ms);
    /* Two reads that need no order: the worst is a fence judged by a renewal that is older, and an
     * older one closes sooner. */
    return open_until_ms == INT64_MAX || clock_boot_ms() < open_until_ms;
}

int fence_check(const struct fence *fence, struct err *err)
{
    if (fence_is_open(fence)) {
        return 0;
    }
    return err_set(err, ERR_CANCELED, "LeadershipLost",
                   "this process is not the leader, so it may not write");
}
