#include "tests/support/watch_recorder.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "controller/base/buf.h"
#include "controller/base/cancel.h"
#include "controller/base/clock.h"
#include "controller/base/map.h"
#include "controller/kube/object.h"
#include "tests/check.h"

enum { STORY_BYTES_MAX = 16 * 1024 * 1024, WAIT_S = 30, STOP_MS = 2000 };

struct watch_recorder {
    struct watch *watch;
    struct cancel *cancel;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct buf story;
    struct map view;    /* name -> anything */
    struct map loading; /* what came since replace_begin */
    bool is_loading;
    bool is_inside; /* of a handler */
};

static void enter(struct watch_recorder *recorder)
{
    pthread_mutex_lock(&recorder->lock);
    CHECK(!recorder->is_inside); /* one thread at a time */
    recorder->is_inside = true;
}

static void leave(struct watch_recorder *recorder)
{
    recorder->is_inside = false;
    pthread_cond_broadcast(&recorder->changed);
    pthread_mutex_unlock(&recorder->lock);
}

static void tell(struct watch_recorder *recorder, const char *what, struct str json,
                 struct map *map, bool is_there)
{
    struct arena arena;
    struct kube_meta meta;
    struct err err;

    arena_init(&arena, 0);
    CHECK_OK(kube_object_meta(json, &arena, &meta, &err), &err);
    buf_printf(&recorder->story, "%s %s %s\n", what, meta.name, meta.resource_version);
    if (is_there) {
        (void)map_put(map, str_from(meta.name), recorder);
    } else {
        (void)map_remove(map, str_from(meta.name));
    }
    arena_release(&arena);
}

static void on_replace_begin(void *context)
{
    struct watch_recorder *recorder = context;

    enter(recorder);
    map_release(&recorder->loading);
    map_init(&recorder->loading);
    recorder->is_loading = true;
    buf_append_text(&recorder->story, "begin\n");
    leave(recorder);
}

static void on_replace_object(void *context, struct str json)
{
    struct watch_recorder *recorder = context;

    enter(recorder);
    CHECK(recorder->is_loading);
    tell(recorder, "object", json, &recorder->loading, true);
    leave(recorder);
}

static void on_replace_remove(void *context, struct str json)
{
    struct watch_recorder *recorder = context;

    enter(recorder);
    CHECK(recorder->is_loading);
    tell(recorder, "remove", json, &recorder->loading, false);
    leave(recorder);
}

static void on_replace_end(void *context, const char *resource_version)
{
    struct watch_recorder *recorder = context;

    enter(recorder);
    CHECK(recorder->is_loading);
    map_release(&recorder->view);
    recorder->view = recorder->loading;
    map_init(&recorder->loading);
    recorder->is_loading = false;
    buf_printf(&recorder->story, "end %s\n", resource_version);
    leave(recorder);
}

static void on_event(void *context, enum watch_event type, struct str json)
{
    static const char *const names[] = {
        [WATCH_ADDED] = "added", [WATCH_MODIFIED] = "modified", [WATCH_DELETED] = "deleted"};
    struct watch_recorder *recorder = context;

    enter(recorder);
    CHECK(!recorder->is_loading);
    tell(recorder, names[type], json, &recorder->view, type != WATCH_DELETED);
    leave(recorder);
}

static void on_bookmark(void *context, const char *resource_version)
{
    struct watch_recorder *recorder = context;

    enter(recorder);
    CHECK(!recorder->is_loading);
    buf_printf(&recorder->story, "bookmark %s\n", resource_version);
    leave(recorder);
}

static void on_health(void *context, const struct err *err)
{
    struct watch_recorder *recorder = context;

    enter(recorder);
    if (err) {
        buf_printf(&recorder->story, "trouble %s\n", err->reason);
    } else {
        buf_append_text(&recorder->story, "healthy\n");
    }
    leave(recorder);
}

static void on_served(void *context, bool is_served)
{
    struct watch_recorder *recorder = context;

    enter(recorder);
    buf_append_text(&recorder->story, is_served ? "served\n" : "not served\n");
    leave(recorder);
}

static void *run(void *context)
{
    struct watch_recorder *recorder = context;
    const struct call call = {.cancel = recorder->cancel};

    watch_run(recorder->watch, &call);
    return NULL;
}

struct watch_recorder *recorder_start(struct kube_client *client, const struct watch_config *config,
                                      const struct watch_timing *timing)
{
    return recorder_start_at(client, config, timing, NULL);
}

struct watch_recorder *recorder_start_at(struct kube_client *client,
                                         const struct watch_config *config,
                                         const struct watch_timing *timing,
                                         const char *resource_version)
{
    struct watch_recorder *recorder = xcalloc(1, sizeof(*recorder));
    const struct watch_handler handler = {
        .replace_begin = on_replace_begin,
        .replace_object = on_replace_object,
        .replace_remove = on_replace_remove,
        .replace_end = on_replace_end,
        .event = on_event,
        .bookmark = on_bookmark,
        .health = on_health,
        .served = on_served,
        .context = recorder,
    };
    pthread_condattr_t monotonic;

    pthread_mutex_init(&recorder->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&recorder->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    buf_init(&recorder->story, STORY_BYTES_MAX);
    map_init(&recorder->view);
    map_init(&recorder->loading);
    recorder->cancel = cancel_new(NULL);
    recorder->watch = watch_new(client, config, &handler);
    if (timing) {
        watch_set_timing(recorder->watch, timing);
    }
    if (resource_version) {
        watch_resume_at(recorder->watch, resource_version);
    }
    CHECK_INT(pthread_create(&recorder->thread, NULL, run, recorder), 0);
    return recorder;
}

void recorder_stop(struct watch_recorder *recorder)
{
    int64_t start_ms = clock_monotonic_ms();

    cancel_trigger(recorder->cancel);
    pthread_join(recorder->thread, NULL);
    CHECK(clock_monotonic_ms() - start_ms < STOP_MS);
    watch_free(recorder->watch);
    cancel_free(recorder->cancel);
    buf_release(&recorder->story);
    map_release(&recorder->view);
    map_release(&recorder->loading);
    pthread_cond_destroy(&recorder->changed);
    pthread_mutex_destroy(&recorder->lock);
    free(recorder);
}

struct watch *recorder_watch(struct watch_recorder *recorder)
{
    return recorder->watch;
}

char *recorder_story(struct watch_recorder *recorder)
{
    pthread_mutex_lock(&recorder->lock);
    char *copy = xstrdup(buf_text(&recorder->story));
    pthread_mutex_unlock(&recorder->lock);
    return copy;
}

static size_t count_text(const struct buf *story, const char *text)
{
    size_t count = 0;

    for (const char *at = strstr(buf_text(story), text); at; at = strstr(at + 1, text)) {
        count++;
    }
    return count;
}

size_t recorder_count(struct watch_recorder *recorder, const char *text)
{
    pthread_mutex_lock(&recorder->lock);
    size_t count = count_text(&recorder->story, text);
    pthread_mutex_unlock(&recorder->lock);
    return count;
}

void recorder_wait_times(struct watch_recorder *recorder, const char *text, size_t times)
{
    struct timespec until;
    bool is_late = false;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += WAIT_S;
    pthread_mutex_lock(&recorder->lock);
    while (count_text(&recorder->story, text) < times && !is_late) {
        is_late = pthread_cond_timedwait(&recorder->changed, &recorder->lock, &until) == ETIMEDOUT;
    }
    pthread_mutex_unlock(&recorder->lock);
    if (is_late) {
        AUTO(free) char *story = recorder_story(recorder);
        fail_msg("waited %d s for %zu times \"%s\" in:\n%s", WAIT_S, times, text, story);
    }
}

size_t recorder_wait(struct watch_recorder *recorder, const char *text)
{
    recorder_wait_times(recorder, text, 1);
    return recorder_count(recorder, text);
}

size_t recorder_view_size(struct watch_recorder *recorder)
{
    pthread_mutex_lock(&recorder->lock);
    size_t size = recorder->view.count;
    pthread_mutex_unlock(&recorder->lock);
    return size;
}

bool recorder_view_has(struct watch_recorder *recorder, const char *name)
{
    pthread_mutex_lock(&recorder->lock);
    bool has = map_has(&recorder->view, str_from(name));
    pthread_mutex_unlock(&recorder->lock);
    return has;
}
