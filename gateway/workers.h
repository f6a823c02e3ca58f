/* Threads for what takes time: statements in tenants' databases, password hashes. The queue is
 * bounded, so that a flood is refused rather than stored. */
#ifndef TENANTRY_GATEWAY_WORKERS_H
#define TENANTRY_GATEWAY_WORKERS_H

#include <stdbool.h>

#include "controller/base/attributes.h"

struct job {
    struct job *next;
    void (*run)(struct job *job); /* owns the job from there on */
};

struct workers;
struct workers *workers_new(const char *name, int threads, int queue_max);
/* Runs what is queued, then ends. */
void workers_free(struct workers *workers);
/* False, and the job stays the caller's, when the queue is full. Any thread. */
MUST_CHECK bool workers_submit(struct workers *workers, struct job *job);

#endif
