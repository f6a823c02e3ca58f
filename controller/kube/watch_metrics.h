/* What /metrics says of watches. Private to kube/watch. */
#ifndef TENANTRY_KUBE_WATCH_METRICS_H
#define TENANTRY_KUBE_WATCH_METRICS_H

#include <stdatomic.h>
#include <stdint.h>

/* The part of a watch that the gauge of its last byte is derived from. A member of struct watch. */
struct watch_pulse {
    const char *resource;
    _Atomic int64_t last_byte_ms; /* monotonic; 0 = never */
    struct watch_pulse *next;
};

void watch_pulse_register(struct watch_pulse *pulse);
void watch_pulse_unregister(struct watch_pulse *pulse);

void watch_count_restart(const char *resource, const char *reason);
void watch_count_list(const char *resource, const char *method);
void watch_count_ignored(const char *resource, const char *reason);

#endif
