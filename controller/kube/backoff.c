#include "controller/kube/backoff.h"

#include "controller/base/clock.h"

int64_t backoff_next_ms(struct backoff *backoff, int64_t now_ms)
{
    /* Health is counted from the end of the last wait: the wait itself was none. */
    if (backoff->current_ms == 0 || now_ms - backoff->waited_until_ms >= backoff->forget_ms) {
        backoff->current_ms = backoff->base_ms;
    } else if (backoff->current_ms > backoff->cap_ms / 2) {
        backoff->current_ms = backoff->cap_ms;
    } else {
        backoff->current_ms *= 2;
    }
    int64_t wait_ms = backoff->current_ms + clock_jitter_ms(backoff->current_ms);

    backoff->waited_until_ms = now_ms + wait_ms;
    return wait_ms;
}
