/* One table in the shape of a switch: class of error -> what the queue does. Nothing else in the
 * program decides about retries. */
#include "controller/runtime/outcome.h"

enum { WAIT_DEFAULT_MS = 1000 };

struct outcome outcome_done(int64_t next_ms)
{
    return (struct outcome){.verdict = QUEUE_FORGET, .next_ms = next_ms > 0 ? next_ms : 0};
}

struct outcome outcome_from_err(const struct err *err, int64_t terminal_next_ms)
{
    struct outcome outcome = {.err = *err, .next_ms = err->retry_after_ms};

    switch (err->cls) {
    case ERR_OK:
        return outcome_done(0);
    case ERR_WAIT:
        outcome.verdict = QUEUE_KEEP;
        outcome.next_ms = err->retry_after_ms > 0 ? err->retry_after_ms : WAIT_DEFAULT_MS;
        break;
    case ERR_RETRY:
    case ERR_NOT_FOUND:
        outcome.verdict = QUEUE_BACKOFF;
        outcome.failed = true;
        break;
    case ERR_CONFLICT: /* not a fault: the next run reads what the other one wrote */
        outcome.verdict = QUEUE_BACKOFF;
        outcome.next_ms = 0;
        break;
    case ERR_TERMINAL:
        outcome.verdict = QUEUE_FORGET;
        outcome.next_ms = terminal_next_ms > 0 ? terminal_next_ms : 0;
        outcome.failed = true;
        outcome.terminal = true;
        break;
    case ERR_CANCELED:
        outcome.verdict = QUEUE_KEEP;
        outcome.next_ms = WAIT_DEFAULT_MS; /* nobody will come: but if so, not in a hot loop */
        outcome.canceled = true;
        break;
    }
    return outcome;
}

static int urgency(const struct outcome *outcome)
{
    if (outcome->canceled) {
        return 4;
    }
    if (outcome->verdict == QUEUE_BACKOFF) {
        return 3;
    }
    if (outcome->verdict == QUEUE_KEEP) {
        return 2;
    }
    return outcome->terminal ? 1 : 0;
}

/* When to look again; with FORGET, 0 means never. */
static int64_t time_of(const struct outcome *outcome)
{
    bool never = outcome->verdict == QUEUE_FORGET && outcome->next_ms <= 0;
    return never ? INT64_MAX : outcome->next_ms;
}

struct outcome outcome_merge(const struct outcome *a, const struct outcome *b)
{
    const struct outcome *first = urgency(a) >= urgency(b) ? a : b;
    const struct outcome *second = first == a ? b : a;
    struct outcome merged = *first;

    if (first->canceled) {
        return merged;
    }
    int64_t next_ms = time_of(a) < time_of(b) ? time_of(a) : time_of(b);
    merged.next_ms = next_ms == INT64_MAX ? 0 : next_ms;
    /* What is waited for must not hide what is wrong. */
    if (second->failed && !first->failed) {
        merged.failed = true;
        merged.terminal = second->terminal;
        merged.err = second->err;
    }
    return merged;
}

bool err_is_reconciling(const struct err *err)
{
    return err->cls == ERR_WAIT || err->cls == ERR_RETRY || err->cls == ERR_CONFLICT ||
           err->cls == ERR_NOT_FOUND;
}

bool err_is_stalled(const struct err *err)
{
    return err->cls == ERR_TERMINAL;
}
