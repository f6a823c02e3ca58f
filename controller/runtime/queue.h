/* The work queue: keys, each at most once, each in one worker at a time, with delays, backoff by
 * key and priorities (C34-C38).
 *
 * A key is in one of five states, moved by one function: IDLE (unknown), DELAYED (a timer), READY,
 * RUNNING, DIRTY (running, and wanted again). Adding a key that is delayed makes it ready at once:
 * a new event never waits for an old error's backoff. Among ready keys the higher priority goes
 * first, FIFO within one; every tenth pop takes the longest waiting key whatever its priority, so
 * that none starves. Thread-safe. docs/queue.md. */
#ifndef TENANTRY_RUNTIME_QUEUE_H
#define TENANTRY_RUNTIME_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/base/buf.h"

enum queue_priority { QUEUE_LOW = 0, QUEUE_NORMAL = 1, QUEUE_HIGH = 2, QUEUE_PRIORITY_COUNT = 3 };

struct queue_config {
    const char *name;        /* metric labels name and controller */
    int64_t backoff_base_ms; /* 0 = 5 */
    int64_t backoff_max_ms;  /* 0 = 300,000 */
};

struct queue;
struct queue *queue_new(const struct queue_config *config);
void queue_free(struct queue *queue);

/* Make the key ready now; if it is running, it runs once more after. The higher priority wins. */
void queue_add(struct queue *queue, const char *key, enum queue_priority priority);
/* Make the key ready in delay_ms, unless it is ready or delayed to an earlier time already. If it
 * is running, the timer starts now. */
void queue_add_after(struct queue *queue, const char *key, int64_t delay_ms,
                     enum queue_priority priority);

struct queue_item {
    char *key; /* heap; handed back to queue_done, which frees it */
    enum queue_priority priority;
    int failures;      /* consecutive, before this run */
    bool by_timer;     /* a delay made it ready, and nobody added it since */
    int64_t waited_ms; /* ready until popped */
};

/* Block for the next key. False once the queue is shut down: every waiter is woken. */
MUST_CHECK bool queue_get(struct queue *queue, struct queue_item *ret);

enum queue_verdict {
    QUEUE_FORGET, /* success: failures back to 0; next_ms > 0 = again after that, 0 = only on events
                   */
    QUEUE_BACKOFF, /* failure: again after max(backoff, next_ms); jittered up by at most 10 % */
    QUEUE_KEEP,    /* neither: failures unchanged, again after next_ms */
};
/* End the run of an item. An add that came meanwhile makes the key ready at once, whatever the
 * verdict. */
void queue_done(struct queue *queue, struct queue_item *item, enum queue_verdict verdict,
                int64_t next_ms);

/* No more items are handed out; adds are ignored. Running ones may still be done. */
void queue_shutdown(struct queue *queue);

size_t queue_depth(struct queue *queue); /* ready keys */
/* A JSON object for /debug/queue: counts, and at most 100 keys with state, failures, next run. */
void queue_describe(struct queue *queue, struct buf *out);

#endif
