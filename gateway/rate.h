/* So many events a second with bursts, by the generic cell rate algorithm: one atomic number, the
 * time at which the burst would be used up. Any thread. */
#ifndef TENANTRY_GATEWAY_RATE_H
#define TENANTRY_GATEWAY_RATE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct rate {
    _Atomic int64_t full_us; /* monotonic */
};

/* Let one event pass, or not. per_second > 0, burst > 0. */
static inline bool rate_pass(struct rate *rate, double per_second, int64_t burst, int64_t now_us)
{
    int64_t step_us = (int64_t)(1e6 / per_second);
    int64_t span_us = (int64_t)(1e6 / per_second * (double)burst);
    int64_t full_us = atomic_load_explicit(&rate->full_us, memory_order_relaxed);

    for (;;) {
        int64_t from_us = full_us > now_us ? full_us : now_us;
        if (from_us + step_us - now_us > span_us) {
            return false;
        }
        if (atomic_compare_exchange_weak(&rate->full_us, &full_us, from_us + step_us)) {
            return true;
        }
    }
}

/* Whether an event would pass now. */
static inline bool rate_open(const struct rate *rate, double per_second, int64_t burst,
                             int64_t now_us)
{
    int64_t full_us = atomic_load_explicit(&rate->full_us, memory_order_relaxed);
    int64_t from_us = full_us > now_us ? full_us : now_us;

    return from_us + (int64_t)(1e6 / per_second) - now_us <=
           (int64_t)(1e6 / per_second * (double)burst);
}

#endif
