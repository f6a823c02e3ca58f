/* Tables hold pointers to records and one reference each. A new view is collected in a table of its
 * own and swapped in under the lock, so a reader sees the old view or the new one, never a mixture.
 *
 * What our own writes answered is stored at once (cache_store_written), without telling the
 * listeners: otherwise every write would wake its own key. But a write may carry somebody else's
 * change with it, whose event then arrives older than the record and would be dropped unseen. So
 * `unseen` keeps, for each such key, the record that the listeners saw last; the next event of the
 * key that is newer than that, whoever caused it, is told to them as a change from there.
 *
 * In a new view the server's word counts even where a record seems newer: resource versions go back
 * when a cluster is restored from a backup. Only a record that we wrote ourselves, and whose event
 * has not come yet, survives one view that does not know it.
 *
 * Threads: the watch feeds from one thread at a time, which alone touches scratch, payload and
 * building. Everything else is guarded by the lock, which is never held while a listener runs. */
#include "controller/runtime/cache.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/base/clock.h"
#include "controller/base/hash.h"
#include "controller/base/log.h"
#include "controller/base/metrics.h"
#include "controller/kube/object.h"
#include "controller/runtime/key_table.h"
#include "controller/runtime/record_internal.h"

enum {
    LISTENERS_MAX = 4,
    PAYLOAD_MAX_BYTES = 16 * 1024 * 1024,
    PAYLOAD_KEPT_BYTES = 256 * 1024, /* a rare huge object must not cost its size for ever */
};

struct unseen {
    const struct record *seen; /* what the listeners know */
    bool kept;                 /* survived a view already */
};

struct listener {
    cache_change_fn notify;
    void *context;
};

struct cache {
    const struct codec *codec;
    struct listener listeners[LISTENERS_MAX];
    size_t listener_count;
    cache_served_fn on_served;
    void *on_served_context;

    struct arena scratch;
    struct buf payload;
    struct key_table building;

    pthread_mutex_t lock;
    struct key_table records;
    struct key_table unseen;
    size_t record_bytes;
    bool synced;
    bool absent; /* the server does not have the kind */
    bool healthy;
    struct err trouble; /* while not healthy */
    double version;     /* the last 15 digits of the newest one that is known of */
};

/* Both may be NULL, but not at once; each holds a reference. */
struct change {
    const struct record *before;
    const struct record *after;
};

static struct metric objects_metric = METRIC_GAUGE(
    "tenantry_cache_objects", "Objects that the cache of a resource holds.", "resource");
static struct metric bytes_metric =
    METRIC_GAUGE("tenantry_cache_bytes", "Memory of a cache's records and table.", "resource");
static struct metric synced_metric =
    METRIC_GAUGE("tenantry_cache_synced", "1 once a first whole view has arrived.", "resource");
static struct metric invalid_metric =
    METRIC_COUNTER("tenantry_cache_invalid_objects_total",
                   "Objects left out because they could not be read.", "resource");

static const double latency_bounds[] = {.001, .0025, .005, .01, .025, .05, .1,
                                        .25,  .5,    1,    2.5, 5,    10};
static struct metric latency_metric = METRIC_HISTOGRAM(
    "informer_processing_latency_seconds", "Time to take an event over and tell the listeners.",
    latency_bounds, "name", "group", "version", "resource");
static struct metric version_metric = METRIC_GAUGE("informer_store_resource_version",
                                                   "The last 15 digits of the newest version seen.",
                                                   "name", "group", "version", "resource");

/* The end of a version, as far as a double holds it exactly. */
static double version_number(const char *resource_version)
{
    const size_t digits = 15;
    size_t length = strlen(resource_version);
    return strtod(resource_version + (length > digits ? length - digits : 0), NULL);
}

/* ---- tables ---- */

static struct str record_item_key(const void *item)
{
    return record_key_str(item);
}

static struct str unseen_item_key(const void *item)
{
    return record_key_str(((const struct unseen *)item)->seen);
}

static const struct record *find(const struct key_table *table, struct str key)
{
    return key_table_get(table, key);
}

/* The table takes the reference over; the one of a record that it replaces goes to the caller. */
static const struct record *put(struct key_table *table, const struct record *record)
{
    return key_table_put(table, (void *)(uintptr_t)record);
}

static void clear_records(struct key_table *table)
{
    size_t cursor = 0;
    for (const struct record *record; (record = key_table_next(table, &cursor));) {
        record_unref(record);
    }
    key_table_release(table);
}

/* ---- life ---- */

static double last_version(struct cache *cache)
{
    pthread_mutex_lock(&cache->lock);
    double version = cache->version;
    pthread_mutex_unlock(&cache->lock);
    return version;
}

static void collect(void *context)
{
    struct cache *cache = context;
    const char *resource = cache->codec->resource->plural;
    metric_set(&objects_metric, cache_count(cache), resource);
    metric_set(&bytes_metric, cache_bytes(cache), resource);
    metric_set(&synced_metric, cache_is_synced(cache), resource);
    metric_set(&version_metric, last_version(cache), resource, cache->codec->resource->group,
               cache->codec->resource->version, resource);
}

struct cache *cache_new(const struct codec *codec)
{
    struct cache *cache = xcalloc(1, sizeof(*cache));
    cache->codec = codec;
    arena_init(&cache->scratch, 0);
    buf_init(&cache->payload, PAYLOAD_MAX_BYTES);
    key_table_init(&cache->building, record_item_key);
    key_table_init(&cache->records, record_item_key);
    key_table_init(&cache->unseen, unseen_item_key);
    pthread_mutex_init(&cache->lock, NULL);
    (void)err_set(&cache->trouble, ERR_WAIT, "NotSynced", "the first list of %s has not arrived",
                  codec->resource->plural);
    metric_add(&invalid_metric, 0, codec->resource->plural);
    metrics_on_collect(collect, cache);
    return cache;
}

static void unseen_free(struct unseen *unseen)
{
    if (unseen) {
        record_unref(unseen->seen);
        free(unseen);
    }
}

void cache_free(struct cache *cache)
{
    if (!cache) {
        return;
    }
    metrics_off_collect(collect, cache);
    size_t cursor = 0;
    for (void *unseen; (unseen = key_table_next(&cache->unseen, &cursor));) {
        unseen_free(unseen);
    }
    key_table_release(&cache->unseen);
    clear_records(&cache->building);
    clear_records(&cache->records);
    arena_release(&cache->scratch);
    buf_release(&cache->payload);
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}

void cache_listen(struct cache *cache, cache_change_fn listener, void *context)
{
    if (cache->listener_count == LISTENERS_MAX) {
        (void)fputs("cache: too many listeners\n", stderr);
        abort();
    }
    cache->listeners[cache->listener_count++] = (struct listener){listener, context};
}

/* ---- telling the listeners ---- */

static void tell(const struct cache *cache, enum cache_change kind, const struct record *before,
                 const struct record *after, bool initial)
{
    for (size_t i = 0; i < cache->listener_count; i++) {
        const struct listener *listener = &cache->listeners[i];
        listener->notify(listener->context, kind, before, after, initial);
    }
}

/* Without the lock. Gives the change's references back. */
static void notify(const struct cache *cache, const struct change *change, bool initial)
{
    const struct record *before = change->before;
    const struct record *after = change->after;

    if (before && after && before->uid_hash == after->uid_hash) {
        tell(cache, CACHE_UPDATED, before, after, initial);
    } else {
        /* With both, another object has taken the name: its predecessor's end was missed. */
        if (before) {
            tell(cache, CACHE_REMOVED, before, NULL, initial);
        }
        if (after) {
            tell(cache, CACHE_ADDED, NULL, after, initial);
        }
    }
    record_unref(before);
    record_unref(after);
}

/* ---- reading objects ---- */

/* Whatever the codec thinks of the object: which one it is. False when not even that is to be had.
 */
static bool read_meta(struct str json, struct arena *scratch, struct kube_meta *ret_meta,
                      struct str *ret_key)
{
    struct err ignored;
    if (kube_object_meta(json, scratch, ret_meta, &ignored) < 0) {
        return false;
    }
    const char *key = ret_meta->namespace_[0]
                          ? arena_printf(scratch, "%s/%s", ret_meta->namespace_, ret_meta->name)
                          : ret_meta->name;
    *ret_key = str_from(key);
    return true;
}

static void report_invalid(const struct cache *cache, const char *key, const struct err *err)
{
    const char *resource = cache->codec->resource->plural;
    metric_add(&invalid_metric, 1, resource);
    log_warn(NULL, "object cannot be read and is left out", KV("resource", resource),
             KV("key", key), KV_ERR(err));
}

static void end_reading(struct cache *cache)
{
    arena_clear(&cache->scratch);
    if (cache->payload.capacity > PAYLOAD_KEPT_BYTES) {
        buf_release(&cache->payload);
        buf_init(&cache->payload, PAYLOAD_MAX_BYTES);
    }
}

/* ---- single events ---- */

/* Under the lock: what the listeners know of the key, as a reference for the caller; live is what
 * the table holds of it. Afterwards nothing of the key is unseen. */
static const struct record *take_seen(struct cache *cache, const struct record *live)
{
    struct unseen *unseen = key_table_remove(&cache->unseen, record_key_str(live));
    if (!unseen) {
        return record_ref(live);
    }
    const struct record *seen = record_ref(unseen->seen);
    unseen_free(unseen);
    return seen;
}

static void put_live(struct cache *cache, const struct record *record)
{
    cache->version = version_number(record_resource_version(record));
    const struct record *before = put(&cache->records, record);
    cache->record_bytes += record_size(record);
    if (before) {
        cache->record_bytes -= record_size(before);
        record_unref(before);
    }
}

/* Under the lock. False when the event tells nothing new. */
static bool apply_locked(struct cache *cache, struct record *record, struct change *ret)
{
    const struct record *live = find(&cache->records, record_key_str(record));

    if (!live) {
        put_live(cache, record_ref(record));
        *ret = (struct change){.after = record_ref(record)};
        return true;
    }
    if (record_compare_versions(record, live) > 0) {
        ret->before = take_seen(cache, live);
        ret->after = record_ref(record);
        put_live(cache, record_ref(record));
        return true;
    }
    const struct unseen *unseen = key_table_get(&cache->unseen, record_key_str(record));
    if (unseen && record_compare_versions(record, unseen->seen) > 0) {
        ret->after = record_ref(live); /* newer than the event: it includes it */
        ret->before = take_seen(cache, live);
        return true;
    }
    return false;
}

static void apply_event(struct cache *cache, struct str json)
{
    struct record *record = NULL;
    struct err err;

    if (record_read(cache->codec, json, &cache->scratch, &cache->payload, &record, &err) < 0) {
        struct kube_meta meta;
        struct str key;
        bool known = read_meta(json, &cache->scratch, &meta, &key);
        report_invalid(cache, known ? key.ptr : NULL, &err);
        return; /* a record that stands there stays: old is better than gone */
    }
    struct change change = {0};
    pthread_mutex_lock(&cache->lock);
    bool changed = apply_locked(cache, record, &change);
    pthread_mutex_unlock(&cache->lock);
    record_unref(record);
    if (changed) {
        notify(cache, &change, false);
    }
}

static void remove_live(struct cache *cache, const struct record *live)
{
    (void)key_table_remove(&cache->records, record_key_str(live));
    cache->record_bytes -= record_size(live);
    record_unref(live);
}

static void remove_event(struct cache *cache, struct str json)
{
    struct kube_meta meta;
    struct str key;
    if (!read_meta(json, &cache->scratch, &meta, &key)) {
        struct err err;
        (void)err_set(&err, ERR_TERMINAL, "InvalidObject", "a deleted object bears no name");
        report_invalid(cache, NULL, &err);
        return;
    }
    struct change change = {0};
    pthread_mutex_lock(&cache->lock);
    const struct record *live = find(&cache->records, key);
    /* The end of an older object of the name says nothing about the one that is there. */
    if (live && (live->uid_hash == hash_table64(str_from(meta.uid)) ||
                 kube_rv_compare(str_from(meta.resource_version), record_version(live)) >= 0)) {
        change.before = take_seen(cache, live);
        remove_live(cache, live);
    }
    pthread_mutex_unlock(&cache->lock);
    if (change.before) {
        notify(cache, &change, false);
    }
}

static void on_event(void *context, enum watch_event type, struct str json)
{
    struct cache *cache = context;
    const struct kube_resource *resource = cache->codec->resource;
    int64_t begun_us = clock_monotonic_us();
    if (type == WATCH_DELETED) {
        remove_event(cache, json);
    } else {
        apply_event(cache, json);
    }
    end_reading(cache);
    metric_observe(&latency_metric, (double)(clock_monotonic_us() - begun_us) / 1e6,
                   resource->plural, resource->group, resource->version, resource->plural);
}

/* ---- a new view ---- */

static void on_replace_begin(void *context)
{
    struct cache *cache = context;
    clear_records(&cache->building);
}

/* A record that has not changed since is shared rather than doubled, so that loading a view again
 * costs little memory. */
static const struct record *share_if_same(struct cache *cache, struct record *record)
{
    const struct record *result = record;
    pthread_mutex_lock(&cache->lock);
    const struct record *live = find(&cache->records, record_key_str(record));
    if (live && record_compare_versions(live, record) == 0 && live->uid_hash == record->uid_hash) {
        result = record_ref(live);
    }
    pthread_mutex_unlock(&cache->lock);
    if (result != record) {
        record_unref(record);
    }
    return result;
}

static void on_replace_object(void *context, struct str json)
{
    struct cache *cache = context;
    struct record *record = NULL;
    struct err err;

    if (record_read(cache->codec, json, &cache->scratch, &cache->payload, &record, &err) == 0) {
        record_unref(put(&cache->building, share_if_same(cache, record)));
    } else {
        struct kube_meta meta;
        struct str key = {NULL, 0};
        const struct record *known = NULL;
        if (read_meta(json, &cache->scratch, &meta, &key)) {
            known = cache_get(cache, key.ptr);
        }
        if (known) { /* it is there, though unreadable: it must not count as deleted */
            record_unref(put(&cache->building, known));
        }
        report_invalid(cache, key.ptr, &err);
    }
    end_reading(cache);
}

static void on_replace_remove(void *context, struct str json)
{
    struct cache *cache = context;
    struct kube_meta meta;
    struct str key;
    if (read_meta(json, &cache->scratch, &meta, &key)) {
        record_unref(key_table_remove(&cache->building, key));
    }
    end_reading(cache);
}

struct changes {
    struct change *items;
    size_t count;
};

static void changes_add(struct changes *changes, const struct record *before,
                        const struct record *after)
{
    changes->items[changes->count++] = (struct change){before, after};
}

/* Whether a record that we wrote survives a view that is older than it; once. */
static bool keep_written(struct cache *cache, const struct record *live)
{
    struct unseen *unseen = key_table_get(&cache->unseen, record_key_str(live));
    if (!unseen || unseen->kept) {
        return false;
    }
    unseen->kept = true;
    return true;
}

/* One record of the new view against what is there. */
static void merge_one(struct cache *cache, const struct record *record, struct changes *changes)
{
    const struct record *live = find(&cache->records, record_key_str(record));

    if (!live) {
        changes_add(changes, NULL, record_ref(record));
        return;
    }
    int order = record_compare_versions(record, live);
    if (order < 0 && keep_written(cache, live)) {
        record_unref(put(&cache->building, record_ref(live)));
        return;
    }
    if (order != 0 || key_table_get(&cache->unseen, record_key_str(record))) {
        changes_add(changes, take_seen(cache, live), record_ref(record));
    }
}

/* One record that is there against a new view that does not name it. Of a kind that the server does
 * not have nothing is left, not even what was written a moment before the kind went. */
static void merge_missing(struct cache *cache, const struct record *live, struct str list_version,
                          struct changes *changes)
{
    if (!cache->absent && kube_rv_compare(record_version(live), list_version) > 0 &&
        keep_written(cache, live)) {
        (void)put(&cache->building, record_ref(live));
        return;
    }
    changes_add(changes, take_seen(cache, live), NULL);
}

static void merge_view(struct cache *cache, struct str list_version, struct changes *changes)
{
    size_t cursor = 0;
    for (const struct record *record; (record = key_table_next(&cache->building, &cursor));) {
        merge_one(cache, record, changes);
    }
    cursor = 0;
    for (const struct record *live; (live = key_table_next(&cache->records, &cursor));) {
        if (!find(&cache->building, record_key_str(live))) {
            merge_missing(cache, live, list_version, changes);
        }
    }
}

/* Let the new view take the place of the old one, which is returned in building. */
static void swap_view(struct cache *cache)
{
    struct key_table old = cache->records;
    cache->records = cache->building;
    cache->building = old;
    cache->record_bytes = 0;
    size_t cursor = 0;
    for (const struct record *record; (record = key_table_next(&cache->records, &cursor));) {
        cache->record_bytes += record_size(record);
    }
}

static void on_replace_end(void *context, const char *resource_version)
{
    struct cache *cache = context;
    struct changes changes = {0};

    pthread_mutex_lock(&cache->lock);
    bool initial = !cache->synced;
    changes.items =
        xcalloc(cache->building.count + cache->records.count + 1, sizeof(changes.items[0]));
    merge_view(cache, str_from(resource_version), &changes);
    swap_view(cache);
    cache->synced = true;
    cache->version = version_number(resource_version);
    pthread_mutex_unlock(&cache->lock);

    clear_records(&cache->building);
    for (size_t i = 0; i < changes.count; i++) {
        notify(cache, &changes.items[i], initial);
    }
    free(changes.items);
}

static void on_bookmark(void *context, const char *resource_version)
{
    struct cache *cache = context;
    pthread_mutex_lock(&cache->lock);
    cache->version = version_number(resource_version); /* the watch remembers where to go on */
    pthread_mutex_unlock(&cache->lock);
}

static void on_health(void *context, const struct err *err)
{
    struct cache *cache = context;
    pthread_mutex_lock(&cache->lock);
    cache->healthy = err == NULL;
    if (err) {
        cache->trouble = *err;
    }
    pthread_mutex_unlock(&cache->lock);
}

static void on_served(void *context, bool is_served)
{
    struct cache *cache = context;
    pthread_mutex_lock(&cache->lock);
    bool is_news = cache->synced && cache->absent == is_served;
    cache->absent = !is_served;
    pthread_mutex_unlock(&cache->lock);
    if (is_news && cache->on_served) {
        cache->on_served(cache->on_served_context, is_served);
    }
}

struct watch_handler cache_watch_handler(struct cache *cache)
{
    return (struct watch_handler){
        .replace_begin = on_replace_begin,
        .replace_object = on_replace_object,
        .replace_remove = on_replace_remove,
        .replace_end = on_replace_end,
        .event = on_event,
        .bookmark = on_bookmark,
        .health = on_health,
        .served = on_served,
        .context = cache,
    };
}

/* ---- readers ---- */

const struct record *cache_get(struct cache *cache, const char *key)
{
    pthread_mutex_lock(&cache->lock);
    const struct record *record = find(&cache->records, str_from(key));
    if (record) {
        (void)record_ref(record);
    }
    pthread_mutex_unlock(&cache->lock);
    return record;
}

bool cache_is_synced(struct cache *cache)
{
    pthread_mutex_lock(&cache->lock);
    bool synced = cache->synced;
    pthread_mutex_unlock(&cache->lock);
    return synced;
}

bool cache_is_served(struct cache *cache)
{
    pthread_mutex_lock(&cache->lock);
    bool absent = cache->absent;
    pthread_mutex_unlock(&cache->lock);
    return !absent;
}

void cache_on_served(struct cache *cache, cache_served_fn served, void *context)
{
    cache->on_served = served;
    cache->on_served_context = context;
}

size_t cache_count(struct cache *cache)
{
    pthread_mutex_lock(&cache->lock);
    size_t count = cache->records.count;
    pthread_mutex_unlock(&cache->lock);
    return count;
}

size_t cache_bytes(struct cache *cache)
{
    pthread_mutex_lock(&cache->lock);
    size_t bytes = cache->record_bytes + key_table_bytes(&cache->records);
    pthread_mutex_unlock(&cache->lock);
    return bytes;
}

bool cache_is_healthy(struct cache *cache, struct err *ret_err)
{
    pthread_mutex_lock(&cache->lock);
    bool healthy = cache->healthy;
    if (!healthy) {
        *ret_err = cache->trouble;
    }
    pthread_mutex_unlock(&cache->lock);
    return healthy;
}

void cache_each(struct cache *cache, bool (*visit)(void *context, const struct record *record),
                void *context)
{
    pthread_mutex_lock(&cache->lock);
    const struct record **all = xcalloc(cache->records.count + 1, sizeof(*all));
    size_t count = 0;
    size_t cursor = 0;
    for (const struct record *record; (record = key_table_next(&cache->records, &cursor));) {
        all[count++] = record_ref(record);
    }
    pthread_mutex_unlock(&cache->lock);

    bool more = true;
    for (size_t i = 0; i < count; i++) {
        more = more && visit(context, all[i]);
        record_unref(all[i]);
    }
    free(all);
}

/* Under the lock: make the record live if it is a newer version of the same object. */
static void store_locked(struct cache *cache, const struct record *record)
{
    const struct record *live = find(&cache->records, record_key_str(record));
    if (!live || live->uid_hash != record->uid_hash || record_compare_versions(record, live) <= 0) {
        return;
    }
    if (!key_table_get(&cache->unseen, record_key_str(record))) {
        struct unseen *unseen = xcalloc(1, sizeof(*unseen));
        unseen->seen = record_ref(live);
        (void)key_table_put(&cache->unseen, unseen);
    }
    put_live(cache, record_ref(record));
}

void cache_store_written(struct cache *cache, struct str object_json)
{
    AUTO(arena) struct arena scratch = {0};
    AUTO(buf) struct buf payload = BUF(PAYLOAD_MAX_BYTES);
    struct record *record = NULL;
    struct err err;

    if (record_read(cache->codec, object_json, &scratch, &payload, &record, &err) < 0) {
        log_debug(NULL, "answer to a write cannot be read", KV_ERR(&err));
        return; /* the event will bring it */
    }
    pthread_mutex_lock(&cache->lock);
    store_locked(cache, record);
    pthread_mutex_unlock(&cache->lock);
    record_unref(record);
}
