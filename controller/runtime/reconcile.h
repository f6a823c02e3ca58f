/* What a reconcile is given: key, memory, time, permission to write, a place for log lines.
 * One per run; parallel steps of a run get copies with arenas of their own that live until its end.
 */
#ifndef TENANTRY_RUNTIME_RECONCILE_H
#define TENANTRY_RUNTIME_RECONCILE_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/base/arena.h"
#include "controller/base/call.h"
#include "controller/base/log.h"

struct queue;

struct reconcile {
    struct call call;    /* lends cancel, fence, deadline, log */
    struct arena *arena; /* freed when the reconcile ends */
    const char *key;
    struct queue *queue; /* the controller's own, for a backend to wake the key */
    uint64_t id;         /* unique in the process; in every log line */
    int failures;        /* consecutive, before this run */
    bool drift_check;    /* woken by its own timer rather than by a change */
    void *environment;   /* the controller's, see controller_config */
};

#endif
