/* List and watch one resource for ever: the state machine behind every cache (C16-C28).
 *
 * A watcher runs on a thread of its own in watch_run, with decode on the transport thread: bytes go
 * through a line splitter to the handler, one event at a time, each byte once. The handler is
 * called by one thread at a time, in order, never after watch_run returned.
 *
 *   replace_begin -> (object | remove)* -> replace_end(rv)
 *                          a consistent new view: what it does not name is gone
 *   event(type, object)    a change after it
 *   bookmark(rv)           nothing changed up to rv
 *
 * The first view is consistent (watch-list with resourceVersion "", or a paged list with ""), pages
 * of different versions are never mixed, and a view that breaks off is begun again: the handler
 * must hold what came since replace_begin apart until replace_end. The server may send changes
 * before a view is complete: then an object comes twice, and the later one counts, or is removed
 * again. */
#ifndef TENANTRY_KUBE_WATCH_H
#define TENANTRY_KUBE_WATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/base/call.h"
#include "controller/base/err.h"
#include "controller/base/str.h"
#include "controller/kube/api.h"

enum watch_event { WATCH_ADDED, WATCH_MODIFIED, WATCH_DELETED };

struct watch_handler {
    void (*replace_begin)(void *context);
    /* One object of the new view; json is valid during the call only. */
    void (*replace_object)(void *context, struct str json);
    /* An object of the new view, named before or not, is not part of it after all. */
    void (*replace_remove)(void *context, struct str json);
    void (*replace_end)(void *context, const char *resource_version);
    void (*event)(void *context, enum watch_event type, struct str json);
    void (*bookmark)(void *context, const char *resource_version);
    /* The state of the connection, for readiness: err NULL = healthy. Once a change. */
    void (*health)(void *context, const struct err *err);
    /* Of a kind that is optional, whether the server has it, once a change: that it has, after the
     * view; that it has not, before the view of nothing that follows. NULL where nobody asks. */
    void (*served)(void *context, bool is_served);
    void *context;
};

struct watch_config {
    const struct kube_resource *resource;
    const char *namespace_;     /* NULL: all */
    const char *label_selector; /* NULL: none */
    bool metadata_only;         /* as PartialObjectMetadata */
    bool optional;              /* the server may lack the kind, which is no trouble */
    bool no_watch_list;         /* always list, then watch */
    int64_t page_size;          /* 0 = 500 */
    size_t object_max_bytes;    /* 0 = 8 MiB; a larger event ends the watch with an error */
};

struct watch; /* thread-safe to look at while it runs */

/* config and its strings are borrowed. */
struct watch *watch_new(struct kube_client *client, const struct watch_config *config,
                        const struct watch_handler *handler);
/* Once watch_run has returned on every thread; NULL is fine. */
void watch_free(struct watch *watch);

/* Until canceled. Failures back off (800 ms doubling to 30 s, full jitter, forgotten after 2
 * minutes of health); a missing resource (404: CRD not installed) is polled, but of an optional one
 * the CustomResourceDefinition is watched instead (kube/kind_wait.h), and the kind polled every ten
 * seconds only where the right to that lacks; nothing makes this return but cancel. Called again,
 * it goes on where it was: a view that was complete is resumed. */
void watch_run(struct watch *watch, const struct call *call);

struct watch_stats {
    int64_t last_byte_ms; /* monotonic; 0 = never */
    uint64_t lists;
    uint64_t watches;
    uint64_t events;
    bool synced;    /* a first view was delivered */
    bool following; /* it is complete, and a stream of changes is asked for or open */
};
/* What was counted since watch_new. Any thread. */
void watch_stats_get(struct watch *watch, struct watch_stats *ret);

#endif
