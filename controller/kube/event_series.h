/* One series of equal events: what is known of it, and how it is written. Without I/O or locks;
 * private to kube/event and its tests. */
#ifndef TENANTRY_KUBE_EVENT_SERIES_H
#define TENANTRY_KUBE_EVENT_SERIES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "controller/base/buf.h"
#include "controller/base/hash.h"
#include "controller/kube/event.h"

enum {
    EVENT_NOTE_BYTES_MAX = 1024, /* limits of the API */
    EVENT_FIELD_BYTES_MAX = 128,
    EVENT_NAME_BYTES_MAX = 253,
    EVENT_BODY_BYTES_MAX = 16 * 1024,
};

struct event_timing {
    int64_t refresh_ms; /* the count of a series that goes on is written this often */
    int64_t finish_ms;  /* a series that is silent for so long is over */
    int64_t retry_ms;
    int64_t sweep_ms;
    int64_t flush_ms; /* for what is left at the end */
    int tries_max;
};

extern const struct event_timing EVENT_TIMING;

/* Who reports. */
struct event_source {
    const char *controller;
    const char *instance;
};

/* The content, borrowed until event_series_new copies it. */
struct event_content {
    const struct event_object *object;
    enum event_type type;
    struct str reason;
    struct str action;
    struct str note;
};

struct event_key {
    unsigned char digest[SHA256_BYTES];
};

struct event_series {
    struct event_key key;
    const struct kube_resource *resource; /* static */
    char *object_namespace;               /* NULL: cluster-scoped */
    char *object_name;
    char *object_uid;
    enum event_type type;
    char *reason;
    char *action;
    char *note;
    char *name; /* of the Event object */

    int64_t count;
    int64_t first_us; /* wall time */
    int64_t last_us;
    int64_t last_ms;       /* monotonic */
    int64_t written_count; /* 0: not created yet */
    int64_t written_ms;
    int tries;
    int64_t retry_at_ms; /* 0: no write failed */
    bool is_queued;
    bool is_busy; /* being written, without the lock */

    TAILQ_ENTRY(event_series) recent; /* all series, the longest silent first */
    TAILQ_ENTRY(event_series) queue;  /* those to be written, when is_queued */
};

/* Equal content, equal key. */
struct event_key event_key_of(const struct event_content *content);

/* unique: makes the Event's name its own. */
struct event_series *event_series_new(const struct event_content *content, uint64_t unique);
void event_series_free(struct event_series *series);

const char *event_series_namespace(const struct event_series *series);

/* The Event to create, and the merge patch of one that is there. */
void event_series_write(const struct event_series *series, const struct event_source *source,
                        struct buf *out);
void event_series_write_patch(const struct event_series *series, struct buf *out);

enum event_due {
    EVENT_NOTHING_DUE,
    EVENT_WRITE_DUE,
    EVENT_OVER, /* written whole, and silent: forget it */
};
enum event_due event_series_due(const struct event_series *series,
                                const struct event_timing *timing, int64_t now_ms);

#endif
