/* Where a watch stands and where it goes next: pure decisions, as one table. Private to kube/watch
 * and its tests. */
#ifndef TENANTRY_KUBE_WATCH_STATE_H
#define TENANTRY_KUBE_WATCH_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/base/err.h"

enum watch_state {
    WATCH_LISTING,          /* a watch-list stream: the view, then changes on the same stream */
    WATCH_PAGING,           /* a list in pages */
    WATCH_LISTING_WHOLE,    /* a list in one answer: its pages expired under us */
    WATCH_WATCHING,         /* the view is complete; changes after `resource_version` */
    WATCH_CHECKING,         /* a stream said nothing at all: is our version still in its history? */
    WATCH_BACKING_OFF,      /* waiting after a failure, then `resume` */
    WATCH_WAITING_FOR_KIND, /* the server does not know the resource (yet) */
};

/* How one request ended. */
enum watch_outcome {
    WATCH_SYNCED,            /* a list came whole; a check found nothing wrong */
    WATCH_ENDED,             /* the server ended the stream in good order */
    WATCH_HASTY,             /* so it did, but at once and without any event */
    WATCH_SILENT,            /* an open stream gave no byte for too long */
    WATCH_REFUSED,           /* 400, 422 */
    WATCH_EXPIRED,           /* 410 */
    WATCH_VERSION_TOO_LARGE, /* our version lies ahead of the server: its store was restored */
    WATCH_MISSING,           /* 404 */
    WATCH_FAILED,            /* anything else */
};
enum { WATCH_OUTCOME_COUNT = WATCH_FAILED + 1 };

/* "ended", "silent", ...: label values and log words. */
const char *watch_outcome_name(enum watch_outcome outcome);
/* "listing", "watching", ...: log words. */
const char *watch_state_name(enum watch_state state);

/* What a failed request means, by its error. `is_open`: the server had begun to answer. */
enum watch_outcome watch_outcome_of(const struct err *err, bool is_open);

struct watch_facts {
    enum watch_state state; /* that the request ended in */
    enum watch_outcome outcome;
    bool lists_only;         /* watch-list is not to be used (any more) */
    bool is_later_page;      /* the request was for a page that is not the first */
    bool is_mute;            /* a watch lasted long enough for a bookmark, and gave no line */
    bool has_partial_stream; /* a watch-list gave objects, but no end of them */
};

struct watch_step {
    enum watch_state state;
    enum watch_state resume; /* where WATCH_BACKING_OFF leads */
    bool lists_only;         /* the new value */
    bool is_trouble;         /* to be reported as the state of health */
};

/* What a watch does next; pure, and defined for all facts. */
struct watch_step watch_decide(const struct watch_facts *facts);

#endif
