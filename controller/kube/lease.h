/* Leader election by a Lease (coordination.k8s.io/v1), C43-C47. Blocking, on one thread and one
 * connection of its own. The caller learns of leadership through the fence and a callback.
 *
 * Expiry is judged by local time (the boot clock) since the record was last seen to change, never
 * by the timestamps in it. The fence is open until last renewal + renew_deadline_ms. */
#ifndef TENANTRY_KUBE_LEASE_H
#define TENANTRY_KUBE_LEASE_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/base/call.h"
#include "controller/base/err.h"
#include "controller/base/fence.h"
#include "controller/kube/api.h"

struct lease_config {
    const char *namespace_;
    const char *name;
    const char *identity;                            /* NULL: hostname_uuid */
    int64_t lease_duration_ms;                       /* 0 = 15 s */
    int64_t renew_deadline_ms;                       /* 0 = 10 s */
    int64_t retry_period_ms;                         /* 0 = 2 s */
    struct fence *fence;                             /* opened and closed here; required */
    void (*on_leading)(void *context, bool leading); /* called on the lease's thread */
    /* After each try, on the lease's thread: what keeps us from obtaining or renewing, NULL when
     * nothing does, though another may hold the lease. May be NULL. */
    void (*on_trouble)(void *context, const struct err *err);
    void *context;
};

/* TERMINAL/InvalidLeaseTiming unless lease > renew > 1.2 * retry. */
MUST_CHECK int lease_config_check(const struct lease_config *config, struct err *err);

struct lease;
struct lease *lease_new(struct kube_client *client, const struct lease_config *config);
void lease_free(struct lease *lease);

/* Acquire, then renew until canceled (returns 0, lease still held: call lease_release after the
 * workers stopped) or lost (returns -1, CANCELED/LeadershipLost; the fence is closed). */
MUST_CHECK int lease_run(struct lease *lease, const struct call *call, struct err *err);

/* Give the lease back if held: holderIdentity "", leaseDurationSeconds 1. At most 3 s. */
void lease_release(struct lease *lease);

bool lease_is_held(const struct lease *lease);

#endif
