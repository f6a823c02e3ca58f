/* Events (events.k8s.io/v1) about objects, recorded without ever blocking the caller.
 *
 * The first event of a kind (object, type, reason, action, note) is created; the second makes it a
 * series with count 2; later ones count locally, refreshed every 30 minutes and finished after 6
 * minutes of silence (C55). The queue holds 1,000, and drops what comes when full (counted in a
 * metric). One thread. */
#ifndef TENANTRY_KUBE_EVENT_H
#define TENANTRY_KUBE_EVENT_H

#include "controller/base/attributes.h"
#include "controller/base/call.h"
#include "controller/base/err.h"
#include "controller/kube/api.h"

enum event_type { EVENT_NORMAL, EVENT_WARNING };

struct event_object {
    const struct kube_resource *resource;
    const char *namespace_; /* NULL: cluster-scoped; its events go to namespace "default" */
    const char *name;
    const char *uid;
};

struct event_recorder;

/* controller: reportingController, "tenantry.dev/controller"; instance: the pod's or host's name.
 */
MUST_CHECK int event_recorder_new(struct kube_client *client, const struct fence *fence,
                                  const char *controller, const char *instance,
                                  struct event_recorder **ret, struct err *err);
/* Sends what is queued for at most 2 s, then frees. */
void event_recorder_free(struct event_recorder *recorder);

/* Copies everything. reason and action CamelCase; note is cut at 1,024 bytes at a character's edge.
 * recorder may be NULL: nothing is recorded. Thread-safe. */
void event_record(struct event_recorder *recorder, const struct event_object *object,
                  enum event_type type, const char *reason, const char *action, const char *format,
                  ...) PRINTF_LIKE(6, 7);

#endif
