/* Private to kube/event and its tests. */
#ifndef TENANTRY_KUBE_EVENT_INTERNAL_H
#define TENANTRY_KUBE_EVENT_INTERNAL_H

#include "controller/kube/event.h"
#include "controller/kube/event_series.h"

/* Tests shorten the times; before the first event. */
void event_recorder_set_timing(struct event_recorder *recorder, const struct event_timing *timing);

#endif
