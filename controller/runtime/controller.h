/* One controller: a queue, its workers, a reconcile function, and the metrics that dashboards know.
 */
#ifndef TENANTRY_RUNTIME_CONTROLLER_H
#define TENANTRY_RUNTIME_CONTROLLER_H

#include "controller/runtime/cache.h"
#include "controller/runtime/outcome.h"
#include "controller/runtime/queue.h"
#include "controller/runtime/reconcile.h"

struct controller_config {
    const char *name; /* "tenant" */
    int workers;
    int64_t reconcile_timeout_ms; /* 0 = 120,000 */
    int64_t backoff_max_ms;       /* between two tries of what fails; 0 = 300,000 */
    /* Bring the world closer to what the key's object asks for. Called by workers, never twice at
     * once for one key. Logs nothing above debug: the outcome is logged here, a repeated one only
     * once. */
    struct outcome (*reconcile)(struct reconcile *rc);
    void *environment;
};

struct controller;
struct controller *controller_new(const struct controller_config *config);
void controller_free(struct controller *controller);
struct queue *controller_queue(struct controller *controller);

/* Start the workers; parent cancel, fence as in struct call. */
void controller_start(struct controller *controller, const struct cancel *cancel,
                      const struct fence *fence);
/* Shut the queue down, wait for the running reconciles. Canceling first makes them stop early. */
void controller_stop(struct controller *controller);

#endif
