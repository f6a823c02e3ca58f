/* The compact view of one resource: packed, immutable, reference-counted records, never JSON trees.
 *
 * A codec turns an object's JSON into the bytes that the reconcilers need; the cache keeps those
 * with key and resource version in one allocation each, in an open-addressing table. Readers hold a
 * reference and need no lock. An event older than what is known of a key is dropped (C28); a new
 * view replaces the old one atomically for readers and reports what vanished (C26). Thread-safe.
 * docs/cache.md. */
#ifndef TENANTRY_RUNTIME_CACHE_H
#define TENANTRY_RUNTIME_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/base/arena.h"
#include "controller/base/attributes.h"
#include "controller/base/buf.h"
#include "controller/base/err.h"
#include "controller/base/str.h"
#include "controller/kube/api.h"
#include "controller/kube/watch.h"

struct record; /* opaque; see the accessors */

/* "name" or "namespace/name"; NUL-ended, lives as long as the reference. */
const char *record_key(const struct record *record);
/* As the server gave it; lives as long as the reference. */
const char *record_resource_version(const struct record *record);
/* What the codec's pack appended; lives as long as the reference. */
struct str record_payload(const struct record *record);
/* One more reference to the same record, which never changes; returns it. Any thread. */
const struct record *record_ref(const struct record *record);
/* Give a reference back; the last one frees the record. NULL is fine. Any thread. */
void record_unref(const struct record *record);
static inline void auto_release_record(const struct record **record)
{
    record_unref(*record);
}

/* What pack says of an object beside its payload; views into json or scratch. */
struct record_head {
    struct str key;
    struct str uid;
    struct str resource_version;
};

struct object_type;

struct codec {
    const struct kube_resource *resource;
    /* Append the packed form of the object to payload and fill *ret_head. One pass over json.
     * Errors: TERMINAL/InvalidObject: the object is skipped with a warning, and counted. */
    int (*pack)(struct str json, struct arena *scratch, struct buf *payload,
                struct record_head *ret_head, struct err *err);
    const struct object_type *type; /* instead of pack: runtime/object_type.h */
};

enum cache_change { CACHE_ADDED, CACHE_UPDATED, CACHE_REMOVED };

/* Called after the change is visible, in order, by one thread at a time, without any lock held.
 * before is NULL for ADDED, after NULL for REMOVED; initial is true while the first view is loaded.
 */
typedef void (*cache_change_fn)(void *context, enum cache_change change,
                                const struct record *before, const struct record *after,
                                bool initial);

struct cache; /* thread-safe, but for what is said to come before the watch */
/* Empty and not synced; codec is borrowed. */
struct cache *cache_new(const struct codec *codec);
/* Once its watch is freed; records that are referenced live on. NULL is fine. */
void cache_free(struct cache *cache);
/* Before the watch starts; at most 4 listeners. */
void cache_listen(struct cache *cache, cache_change_fn listener, void *context);
typedef void (*cache_served_fn)(void *context, bool is_served);
/* Before the watch starts: have this called when an optional kind comes, and when it goes, on the
 * watch's thread; not for what is so from the start. One cache has one such listener. */
void cache_on_served(struct cache *cache, cache_served_fn served, void *context);
/* The handler to give to watch_new: feeds this cache. */
struct watch_handler cache_watch_handler(struct cache *cache);

/* A reference that the caller unrefs, or NULL. */
const struct record *cache_get(struct cache *cache, const char *key);
/* Whether a first whole view has arrived. */
bool cache_is_synced(struct cache *cache);
/* Whether the server has the kind: false while one whose watch is optional is absent. */
bool cache_is_served(struct cache *cache);
/* How many records stand there now. */
size_t cache_count(struct cache *cache);
/* What all records and their table take of memory. */
size_t cache_bytes(struct cache *cache);
/* Whether the connection behind is healthy, and if not, why. */
bool cache_is_healthy(struct cache *cache, struct err *ret_err);

/* Visit every record that stands there now; visit returns false to stop. The lock is not held while
 * visiting: changes made meanwhile are not seen. */
void cache_each(struct cache *cache, bool (*visit)(void *context, const struct record *record),
                void *context);

/* Read-your-writes (C29): take the object that the server answered to our own write of it, unless
 * the record is gone, of another UID, or newer already. Later events still come, so nothing of
 * others is lost. */
void cache_store_written(struct cache *cache, struct str object_json);

#endif
