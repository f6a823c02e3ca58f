/* The times of a watch, which tests shorten. Private to kube/watch and its tests. */
#ifndef TENANTRY_KUBE_WATCH_INTERNAL_H
#define TENANTRY_KUBE_WATCH_INTERNAL_H

#include <stdint.h>

#include "controller/kube/watch.h"

struct watch_timing {
    int64_t stream_min_s;     /* asked of the server as timeoutSeconds: at least this, */
    int64_t stream_spread_s;  /* and up to as much more, at random */
    int64_t silence_ms;       /* no byte on an open stream, on servers that send bookmarks */
    int64_t silence_slack_ms; /* on others: this much over timeoutSeconds */
    int64_t hasty_ms;         /* a stream that ends sooner without an event is a failure */
    int64_t poll_ms;          /* for a kind that the server does not know */
    int64_t
        optional_poll_ms; /* for one that it need not know, if its definition cannot be watched */
    int64_t late_ms;      /* warn when a first view takes longer, and again each time */
    int64_t backoff_base_ms;
    int64_t backoff_cap_ms;
    int64_t backoff_forget_ms;
};

extern const struct watch_timing WATCH_TIMING;

/* Before watch_run. */
void watch_set_timing(struct watch *watch, const struct watch_timing *timing);
/* Before watch_run: the handler has seen everything up to this version, so no view is loaded. */
void watch_resume_at(struct watch *watch, const char *resource_version);

#endif
