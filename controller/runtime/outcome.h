/* The only place where an error's class becomes a time to look again and a word in the status. */
#ifndef TENANTRY_RUNTIME_OUTCOME_H
#define TENANTRY_RUNTIME_OUTCOME_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/base/err.h"
#include "controller/runtime/queue.h"

struct outcome {
    enum queue_verdict verdict;
    bool canceled;   /* say nothing, write nothing, no metric of failure */
    bool failed;     /* counts as result="error" */
    bool terminal;   /* failed, and only a change of the object helps */
    int64_t next_ms; /* as in queue_done */
    struct err err;  /* cls ERR_OK when none */
};

/* Success; look again after next_ms (0: only on events). */
struct outcome outcome_done(int64_t next_ms);

/* WAIT: again after retry_after_ms or 1 s, no failure counted. RETRY, NOT_FOUND: backoff, at least
 * retry_after_ms. CONFLICT: backoff from the base (soon). TERMINAL: forget; again only after
 * terminal_next_ms (a drift period, so that what others mend is seen) or on a change.
 * CANCELED: keep. */
struct outcome outcome_from_err(const struct err *err, int64_t terminal_next_ms);

/* The more urgent of two for one key: canceled > retry > wait > terminal > done; times: the
 * earlier. */
struct outcome outcome_merge(const struct outcome *a, const struct outcome *b);

/* How a class shows in kstatus' words. */
bool err_is_reconciling(const struct err *err); /* WAIT, RETRY, CONFLICT, NOT_FOUND */
bool err_is_stalled(const struct err *err);     /* TERMINAL */

#endif
