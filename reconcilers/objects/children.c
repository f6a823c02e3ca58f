/* lock guards the two tables; no request is made and no listener called while it is held. */
#include "reconcilers/objects/children.h"

#include <pthread.h>
#include <string.h>

#include "controller/base/clock.h"
#include "controller/base/map.h"
#include "controller/base/str.h"
#include "reconcilers/model/names.h"
#include "reconcilers/objects/intent.h"
#include "reconcilers/objects/objects.h"

enum {
    DELETING_RETRY_MS = 1000,
    WATCH_LAG_MS = 5000, /* within this time the watch may not have seen what we made */
};

/* That an object which says `content` is as `intent` wants it. */
struct vouch {
    struct hash128 intent;
    struct hash128 content;
    int64_t made_ms; /* monotonic */
};

struct watcher {
    struct children *children;
    enum child_kind kind;
};

struct children {
    struct cache *caches[CHILD_KIND_COUNT];
    struct watcher watchers[CHILD_KIND_COUNT];
    struct watch_config watches[CHILD_KIND_COUNT];
    children_changed_fn changed;
    void *changed_context;
    pthread_mutex_t lock;
    struct map vouches; /* "plural/namespace/name" → struct vouch, heap */
    struct map counts;  /* "plural/namespace" → size_t, heap: objects there are */
};

/* ---- the tables ---- */

static const char *full_key(struct arena *arena, enum child_kind kind, const char *key)
{
    return arena_printf(arena, "%s/%s", child_codecs[kind].resource->plural, key);
}

/* As the caches name an object. */
static const char *cache_key(struct arena *arena, const char *namespace_, const char *name)
{
    return text_is_empty(namespace_) ? name : arena_printf(arena, "%s/%s", namespace_, name);
}

static const char *intent_key(struct arena *arena, const struct intent *intent)
{
    return full_key(arena, intent->kind, cache_key(arena, intent->namespace_, intent->name));
}

static void vouch_put(struct children *children, const char *key, struct hash128 intent,
                      struct hash128 content)
{
    struct vouch *vouch = xcalloc(1, sizeof(*vouch));
    *vouch = (struct vouch){intent, content, clock_monotonic_ms()};
    pthread_mutex_lock(&children->lock);
    free(map_put(&children->vouches, str_from(key), vouch));
    pthread_mutex_unlock(&children->lock);
}

static bool vouch_get(struct children *children, const char *key, struct vouch *ret)
{
    pthread_mutex_lock(&children->lock);
    const struct vouch *vouch = map_get(&children->vouches, str_from(key));
    if (vouch) {
        *ret = *vouch;
    }
    pthread_mutex_unlock(&children->lock);
    return vouch != NULL;
}

static void vouch_drop(struct children *children, const char *key)
{
    pthread_mutex_lock(&children->lock);
    free(map_remove(&children->vouches, str_from(key)));
    pthread_mutex_unlock(&children->lock);
}

static struct str namespace_of(const char *full)
{
    const char *slash = strrchr(full, '/');
    return (struct str){full, slash ? (size_t)(slash - full) : strlen(full)};
}

static void count_move(struct children *children, const char *full, int by)
{
    struct str place = namespace_of(full);
    pthread_mutex_lock(&children->lock);
    size_t *count = map_get(&children->counts, place);
    if (!count) {
        count = xcalloc(1, sizeof(*count));
        (void)map_put(&children->counts, place, count);
    }
    *count += (size_t)by;
    if (*count == 0) {
        free(map_remove(&children->counts, place));
    }
    pthread_mutex_unlock(&children->lock);
}

/* ---- what the watches tell ---- */

/* Whether the tenant has to see what became of its object. */
static bool matters(struct children *children, const char *key, const struct child *before,
                    const struct child *after)
{
    struct vouch vouch;
    if (!after || after->deleting) {
        return true;
    }
    if (vouch_get(children, key, &vouch) && !hash128_equal(vouch.content, after->content)) {
        return true;
    }
    return before && (child_is_available(before) != child_is_available(after) ||
                      !text_equal(before->failure, after->failure));
}

static void on_change(void *context, enum cache_change change, const struct record *before,
                      const struct record *after, bool initial)
{
    const struct watcher *watcher = context;
    struct children *children = watcher->children;
    AUTO(arena) struct arena scratch = {0};
    arena_init(&scratch, 0);
    struct child was = {0};
    struct child is = {0};
    const char *key = full_key(&scratch, watcher->kind, record_key(after ? after : before));

    if (before) {
        child_unpack(before, &scratch, &was);
    }
    if (after) {
        child_unpack(after, &scratch, &is);
    }
    bool tell = !initial && matters(children, key, before ? &was : NULL, after ? &is : NULL);
    if (change == CACHE_ADDED) {
        count_move(children, key, 1);
    } else if (change == CACHE_REMOVED) {
        count_move(children, key, -1);
        vouch_drop(children, key);
    }
    const char *tenant = after ? is.tenant : was.tenant;
    if (tell && children->changed && !text_is_empty(tenant)) {
        children->changed(children->changed_context, tenant);
    }
}

static void on_served(void *context, bool is_served)
{
    const struct watcher *watcher = context;
    const struct children *children = watcher->children;
    (void)is_served;
    if (children->changed) {
        children->changed(children->changed_context, NULL);
    }
}

/* ---- life ---- */

struct children *children_new(const char *system_namespace)
{
    struct children *children = xcalloc(1, sizeof(*children));
    pthread_mutex_init(&children->lock, NULL);
    map_init(&children->vouches);
    map_init(&children->counts);
    for (unsigned kind = 0; kind < CHILD_KIND_COUNT; kind++) {
        children->watchers[kind] = (struct watcher){children, (enum child_kind)kind};
        children->caches[kind] = cache_new(&child_codecs[kind]);
        cache_listen(children->caches[kind], on_change, &children->watchers[kind]);
        cache_on_served(children->caches[kind], on_served, &children->watchers[kind]);
        children->watches[kind] = (struct watch_config){
            .resource = child_codecs[kind].resource,
            .namespace_ = kind == CHILD_ROLE ? system_namespace : NULL,
            .label_selector = NAME_LABEL_MANAGED_BY "=tenantry," NAME_LABEL_TENANT,
            .optional = kind >= CHILD_OPTIONAL,
        };
    }
    return children;
}

static void free_map(struct map *map)
{
    size_t cursor = 0;
    struct str key;
    void *value;
    while (map_next(map, &cursor, &key, &value)) {
        free(value);
    }
    map_release(map);
}

void children_free(struct children *children)
{
    if (!children) {
        return;
    }
    for (unsigned kind = 0; kind < CHILD_KIND_COUNT; kind++) {
        cache_free(children->caches[kind]);
    }
    free_map(&children->vouches);
    free_map(&children->counts);
    pthread_mutex_destroy(&children->lock);
    free(children);
}

struct cache *children_cache(struct children *children, enum child_kind kind)
{
    return children->caches[kind];
}

bool children_serve(const struct children *children, enum child_kind kind)
{
    return cache_is_served(children->caches[kind]);
}

const struct watch_config *children_watch(const struct children *children, enum child_kind kind)
{
    return &children->watches[kind];
}

void children_listen(struct children *children, children_changed_fn changed, void *context)
{
    children->changed = changed;
    children->changed_context = context;
}

/* ---- looking ---- */

bool children_get(struct children *children, struct arena *arena, enum child_kind kind,
                  const char *namespace_, const char *name, struct child *ret)
{
    AUTO(record)
    const struct record *record =
        cache_get(children->caches[kind], cache_key(arena, namespace_, name));
    if (!record) {
        return false;
    }
    child_unpack(record, arena, ret);
    return true;
}

struct listing {
    struct arena *arena;
    struct str prefix;
    const char **names;
    size_t count;
    size_t room;
};

static bool take_name(void *context, const struct record *record)
{
    struct listing *listing = context;
    struct str key = str_from(record_key(record));
    if (str_starts_with(key, listing->prefix) && listing->count < listing->room) {
        listing->names[listing->count++] =
            arena_strdup(listing->arena, key.ptr + listing->prefix.len);
    }
    return true;
}

size_t children_beyond(struct children *children, struct arena *arena, enum child_kind kind,
                       const char *namespace_, size_t expected, const char *const **ret_names)
{
    const char *place = full_key(arena, kind, namespace_);
    pthread_mutex_lock(&children->lock);
    const size_t *known = map_get(&children->counts, str_from(place));
    size_t count = known ? *known : 0;
    pthread_mutex_unlock(&children->lock);

    *ret_names = NULL;
    if (count <= expected) {
        return 0;
    }
    struct listing listing = {
        .arena = arena,
        .prefix = str_from(arena_printf(arena, "%s/", namespace_)),
        .names = ARENA_ARRAY(arena, const char *, count),
        .room = count,
    };
    cache_each(children->caches[kind], take_name, &listing);
    *ret_names = listing.names;
    return listing.count;
}

static bool is_own(const struct tenant_work *work, const struct child *child)
{
    const struct kube_pair labels[] = {{NAME_LABEL_TENANT, child->tenant},
                                       {NAME_LABEL_TENANT_UID, child->tenant_uid}};
    const struct kube_meta meta = {.labels = labels, .label_count = ARRAY_COUNT(labels)};
    return object_is_own(work, &meta);
}

bool children_stand(const struct services *services, struct arena *arena,
                    const struct tenant *tenant, const struct intent *intents, size_t count)
{
    struct children *children = services->children;
    for (size_t i = 0; i < count; i++) {
        const struct intent *intent = &intents[i];
        struct child child = {0};
        struct vouch vouch;
        const char *key = intent_key(arena, intent);
        bool vouched = vouch_get(children, key, &vouch);
        if (vouched && !hash128_equal(vouch.intent, hash_128(buf_str(intent->body)))) {
            return false;
        }
        if (!children_get(children, arena, intent->kind, intent->namespace_, intent->name,
                          &child)) {
            if (!vouched || vouch.made_ms + WATCH_LAG_MS < clock_monotonic_ms()) {
                return false;
            }
            continue;
        }
        if (child.deleting || !text_equal(child.tenant_uid, tenant->uid) ||
            (vouched && !hash128_equal(vouch.content, child.content))) {
            return false;
        }
    }
    return true;
}

/* ---- making ---- */

static int refuse(const struct tenant_work *work, const struct intent *intent,
                  const char *uid_label, struct err *err)
{
    return object_refuse(work, child_codecs[intent->kind].resource->kind, intent->namespace_,
                         intent->name, uid_label, err);
}

static int wait_for_end(struct arena *arena, const struct intent *intent, struct err *err)
{
    (void)err_set(err, ERR_WAIT,
                  intent->kind == CHILD_NAMESPACE ? "NamespaceTerminating" : "ObjectTerminating",
                  "%s \"%s\" is being deleted, and is made anew once it is gone",
                  child_codecs[intent->kind].resource->kind,
                  cache_key(arena, intent->namespace_, intent->name));
    err->retry_after_ms = DELETING_RETRY_MS;
    return -1;
}

/* The role of a binding cannot be changed: a binding to another one is replaced. */
static int send(struct reconcile *rc, const struct tenant_work *work, const struct intent *intent,
                const struct kube_ref *ref, struct buf *ret_answer, struct err *err)
{
    struct kube_client *kube = work->services->kube;
    struct str body = buf_str(intent->body);

    if (kube_apply(kube, &rc->call, ref, NAME_MANAGER, body, ret_answer, err) == 0) {
        return 0;
    }
    if (intent->kind != CHILD_ROLE_BINDING || !err_has_reason(err, "Invalid") ||
        object_delete_own(rc, work, ref, err)) {
        return -1;
    }
    return kube_apply(kube, &rc->call, ref, NAME_MANAGER, body, ret_answer, err);
}

static int apply(struct reconcile *rc, const struct tenant_work *work, const struct intent *intent,
                 const struct kube_ref *ref, const char *key, struct err *err)
{
    struct children *children = work->services->children;
    AUTO(buf) struct buf answer = BUF(OBJECT_MAX_BYTES);
    struct child made = {0};

    if (buf_failed(intent->body)) {
        return err_set(err, ERR_TERMINAL, "ObjectTooLarge", "%s \"%s\" would be too large",
                       ref->resource->kind, cache_key(rc->arena, ref->namespace_, ref->name));
    }
    if (send(rc, work, intent, ref, &answer, err)) {
        return err_wrap(err, "%s \"%s\"", ref->resource->kind,
                        cache_key(rc->arena, ref->namespace_, ref->name));
    }
    if (child_decode(buf_str(&answer), rc->arena, &made, err)) {
        return -1;
    }
    vouch_put(children, key, hash_128(buf_str(intent->body)), made.content);
    cache_store_written(children->caches[intent->kind], buf_str(&answer));
    return 0;
}

/* Ask the server itself: the watch knows nothing of an object without our labels. */
static int look_and_apply(struct reconcile *rc, const struct tenant_work *work,
                          const struct intent *intent, const struct kube_ref *ref, const char *key,
                          enum child_fate *ret, struct err *err)
{
    AUTO(buf) struct buf body = BUF(OBJECT_MAX_BYTES);
    struct kube_meta meta = {0};
    struct child child = {0};
    bool found = false;

    if (object_look(rc, work, ref, &body, &meta, &found, err)) {
        return -1;
    }
    if (found && !object_is_own(work, &meta)) {
        return refuse(work, intent,
                      kube_pair_get(meta.labels, meta.label_count, NAME_LABEL_TENANT_UID), err);
    }
    if (found && meta.deletion_timestamp) {
        return wait_for_end(rc->arena, intent, err);
    }
    if (!found || !intent_holds(buf_str(intent->body), buf_str(&body))) {
        *ret = found ? CHILD_CHANGED : CHILD_CREATED;
        return apply(rc, work, intent, ref, key, err);
    }
    *ret = CHILD_KEPT;
    if (child_decode(buf_str(&body), rc->arena, &child, err)) {
        return -1;
    }
    vouch_put(work->services->children, key, hash_128(buf_str(intent->body)), child.content);
    return 0;
}

/* Whether nobody but this run can have made anything where the object is to be. */
static bool is_untouched(struct arena *arena, const struct tenant_work *work,
                         const struct intent *intent)
{
    return text_equal(intent->namespace_, name_namespace(arena, work->tenant->subdomain)) &&
           work->namespace_fresh;
}

int children_ensure(struct reconcile *rc, const struct tenant_work *work,
                    const struct intent *intent, enum child_fate *ret, struct err *err)
{
    struct children *children = work->services->children;
    const struct kube_ref ref = {.resource = child_codecs[intent->kind].resource,
                                 .namespace_ = intent->namespace_,
                                 .name = intent->name};
    const char *key = intent_key(rc->arena, intent);
    struct child child = {0};
    struct vouch vouch;

    /* What is still known from a namespace that was just made is of another one before it. */
    if (is_untouched(rc->arena, work, intent)) {
        *ret = CHILD_CREATED;
        return apply(rc, work, intent, &ref, key, err);
    }
    if (!children_get(children, rc->arena, intent->kind, ref.namespace_, ref.name, &child)) {
        return look_and_apply(rc, work, intent, &ref, key, ret, err);
    }
    if (!is_own(work, &child)) {
        return refuse(work, intent, child.tenant_uid, err);
    }
    if (child.deleting) {
        return wait_for_end(rc->arena, intent, err);
    }
    if (!vouch_get(children, key, &vouch)) {
        return look_and_apply(rc, work, intent, &ref, key, ret, err);
    }
    bool same_intent = hash128_equal(vouch.intent, hash_128(buf_str(intent->body)));
    if (same_intent && hash128_equal(vouch.content, child.content)) {
        *ret = CHILD_KEPT;
        return 0;
    }
    if (same_intent) {
        return look_and_apply(rc, work, intent, &ref, key, ret, err);
    }
    *ret = CHILD_CHANGED;
    return apply(rc, work, intent, &ref, key, err);
}

/* ---- removing ---- */

/* The watch tells of it a moment later: until then no run may take it for what it was. */
int children_delete(struct reconcile *rc, const struct tenant_work *work, enum child_kind kind,
                    const char *namespace_, const char *name, struct err *err)
{
    const struct kube_ref ref = {
        .resource = child_codecs[kind].resource, .namespace_ = namespace_, .name = name};

    vouch_drop(work->services->children,
               full_key(rc->arena, kind, cache_key(rc->arena, namespace_, name)));
    return object_delete_own(rc, work, &ref, err);
}

int children_remove(struct reconcile *rc, const struct tenant_work *work, enum child_kind kind,
                    const char *namespace_, const char *name, struct err *err)
{
    struct child child = {0};

    if (!children_get(work->services->children, rc->arena, kind, namespace_, name, &child) ||
        child.deleting || !is_own(work, &child)) {
        return 0;
    }
    return children_delete(rc, work, kind, namespace_, name, err);
}
