/* How long to wait after a failure: doubling up to a cap, plus a random part of up to as much again
 * (so that many clients of one server spread out), begun anew after a time of health. Not
 * thread-safe. */
#ifndef TENANTRY_KUBE_BACKOFF_H
#define TENANTRY_KUBE_BACKOFF_H

#include <stdint.h>

struct backoff {
    int64_t base_ms;
    int64_t cap_ms;
    int64_t forget_ms;  /* this long without failure: the next wait is base_ms again */
    int64_t current_ms; /* of the last wait, without its random part; 0 = none yet */
    int64_t waited_until_ms;
};

/* The wait that follows a failure at now_ms (monotonic). */
int64_t backoff_next_ms(struct backoff *backoff, int64_t now_ms);

#endif
