/* The recorder is a table of series under one mutex, and a thread that writes.
 *
 * event_record only looks its series up and counts, so it never waits for the network; ten thousand
 * equal failures are one entry whose count grows. A series stands in the queue when something of it
 * is to be written (event_series_due says when); the thread takes one at a time, renders it under
 * the lock and sends it without. While it does, the series is busy and stays. What is bounded: the
 * queue (then new series are dropped), the table (then the longest silent series goes, as it would
 * soon anyway). No other lock is taken under this one but the metrics'. */
#include "controller/kube/event.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "controller/base/cancel.h"
#include "controller/base/clock.h"
#include "controller/base/log.h"
#include "controller/base/map.h"
#include "controller/base/metrics.h"
#include "controller/base/thread.h"
#include "controller/kube/event_internal.h"

enum {
    QUEUE_MAX = 1000,
    SERIES_MAX = 4096,
    REQUEST_MS = 10 * 1000,
};

static struct metric dropped =
    METRIC_COUNTER("tenantry_events_dropped_total", "Events that were not written.", "cause");
static struct metric writes =
    METRIC_COUNTER("tenantry_event_writes_total", "Requests that wrote an Event.", "verb");

TAILQ_HEAD(series_list, event_series);

struct event_recorder {
    struct kube_client *client;
    const struct fence *fence;
    struct event_source source; /* strings owned */
    struct event_timing timing;
    struct cancel *cancel;
    pthread_t thread;

    pthread_mutex_t lock; /* of everything below */
    pthread_cond_t changed;
    struct map table; /* key -> series */
    struct series_list recent;
    struct series_list queue;
    size_t queue_count;
    uint64_t serial;
    int64_t next_sweep_ms;
    bool is_stopping;
    bool is_done;
    int64_t stop_at_ms;
};

static struct str key_str(const struct event_key *key)
{
    return (struct str){(const char *)key->digest, sizeof(key->digest)};
}

/* Under the lock. False when the queue is full. */
static bool enqueue(struct event_recorder *recorder, struct event_series *series)
{
    if (series->is_queued || series->is_busy) {
        return true;
    }
    if (recorder->queue_count == QUEUE_MAX) {
        return false;
    }
    TAILQ_INSERT_TAIL(&recorder->queue, series, queue);
    series->is_queued = true;
    recorder->queue_count++;
    pthread_cond_signal(&recorder->changed);
    return true;
}

static void dequeue(struct event_recorder *recorder, struct event_series *series)
{
    if (series->is_queued) {
        TAILQ_REMOVE(&recorder->queue, series, queue);
        series->is_queued = false;
        recorder->queue_count--;
    }
}

static void forget(struct event_recorder *recorder, struct event_series *series)
{
    dequeue(recorder, series);
    TAILQ_REMOVE(&recorder->recent, series, recent);
    (void)map_remove(&recorder->table, key_str(&series->key));
    event_series_free(series);
}

/* Under the lock: make room in a full table. False when nothing can go. */
static bool make_room(struct event_recorder *recorder)
{
    struct event_series *series = NULL;

    if (recorder->table.count < SERIES_MAX) {
        return true;
    }
    TAILQ_FOREACH(series, &recorder->recent, recent)
    {
        if (!series->is_busy && !series->is_queued) {
            forget(recorder, series);
            return true;
        }
    }
    return false;
}

/* Under the lock. NULL when there is no room. */
static struct event_series *add_series(struct event_recorder *recorder,
                                       const struct event_content *content)
{
    if (recorder->queue_count == QUEUE_MAX || !make_room(recorder)) {
        return NULL;
    }
    /* Microseconds and a serial number: two processes meet only when both are equal. */
    uint64_t unique = ((uint64_t)clock_wall_us() << 10) | (recorder->serial++ & 1023);
    struct event_series *series = event_series_new(content, unique);
    series->first_us = clock_wall_us();
    (void)map_put(&recorder->table, key_str(&series->key), series);
    TAILQ_INSERT_TAIL(&recorder->recent, series, recent);
    return series;
}

static void record(struct event_recorder *recorder, const struct event_content *content)
{
    const struct event_key key = event_key_of(content);
    int64_t now_ms = clock_monotonic_ms();
    bool is_dropped = false;

    pthread_mutex_lock(&recorder->lock);
    struct event_series *series = map_get(&recorder->table, key_str(&key));
    if (series) {
        TAILQ_REMOVE(&recorder->recent, series, recent);
        TAILQ_INSERT_TAIL(&recorder->recent, series, recent);
    } else {
        series = add_series(recorder, content);
    }
    if (series) {
        series->count++;
        series->last_us = clock_wall_us();
        series->last_ms = now_ms;
        if (event_series_due(series, &recorder->timing, now_ms) == EVENT_WRITE_DUE) {
            (void)enqueue(recorder, series); /* a full queue: the next sweep finds it */
        }
    }
    is_dropped = !series;
    pthread_mutex_unlock(&recorder->lock);
    if (is_dropped) {
        metric_add(&dropped, 1, "queue_full");
    }
}

void event_record(struct event_recorder *recorder, const struct event_object *object,
                  enum event_type type, const char *reason, const char *action, const char *format,
                  ...)
{
    char note[EVENT_NOTE_BYTES_MAX + 4]; /* room to see that a character is cut */
    va_list arguments;

    if (!recorder) {
        return;
    }
    va_start(arguments, format);
    int length = vsnprintf(note, sizeof(note), format, arguments);
    va_end(arguments);
    if (length < 0) {
        note[0] = '\0';
    }
    struct str whole = str_from(note);
    const struct event_content content = {
        .object = object,
        .type = type,
        .reason = str_from(reason),
        .action = str_from(action),
        .note = {whole.ptr, str_utf8_prefix(whole, EVENT_NOTE_BYTES_MAX)},
    };
    record(recorder, &content);
}

/* Under the lock: put what is due into the queue, and let go of what is over. */
static void sweep(struct event_recorder *recorder, int64_t now_ms)
{
    struct event_series *series = TAILQ_FIRST(&recorder->recent);

    while (series) {
        struct event_series *next = TAILQ_NEXT(series, recent);
        if (!series->is_busy && !series->is_queued) {
            enum event_due due = event_series_due(series, &recorder->timing, now_ms);
            if (due == EVENT_OVER) {
                forget(recorder, series);
            } else if (due == EVENT_WRITE_DUE && !enqueue(recorder, series)) {
                break;
            }
        }
        series = next;
    }
    recorder->next_sweep_ms = now_ms + recorder->timing.sweep_ms;
}

/* Send it: a creation, or the new count. Without the lock. */
static int send_body(struct event_recorder *recorder, const struct kube_ref *ref, struct str body,
                     int64_t deadline_ms, struct err *err)
{
    const struct call call = {
        .cancel = recorder->cancel, .fence = recorder->fence, .deadline_ms = deadline_ms};

    if (!ref->name) {
        metric_add(&writes, 1, "create");
        return kube_create(recorder->client, &call, ref, body, NULL, err);
    }
    metric_add(&writes, 1, "patch");
    return kube_patch(recorder->client, &call, ref, KUBE_PATCH_MERGE, "tenantry", body, NULL, err);
}

/* Under the lock: queue_the_rest passes by what is being written, so that its last count is seen to
 * when that is done. */
static bool has_rest_at_the_end(const struct event_recorder *recorder,
                                const struct event_series *series)
{
    return recorder->is_stopping && series->count != series->written_count;
}

/* Under the lock: the write of `count` ended. */
static void settle(struct event_recorder *recorder, struct event_series *series, int64_t count,
                   const struct err *err)
{
    int64_t now_ms = clock_monotonic_ms();
    bool was_created = series->written_count > 0;

    if (err && !was_created && err_has_reason(err, "AlreadyExists")) {
        /* An earlier try arrived though its answer did not; what it counted is not known. */
        count = 1;
        err = NULL;
    }
    if (!err) {
        series->written_count = count;
        series->written_ms = now_ms;
        series->tries = 0;
        series->retry_at_ms = 0;
    } else if (was_created && err->cls == ERR_NOT_FOUND) {
        series->written_count = 0; /* it expired: create it again */
    } else if ((err->cls == ERR_RETRY || err->cls == ERR_CONFLICT) && !recorder->is_stopping &&
               ++series->tries < recorder->timing.tries_max) {
        series->retry_at_ms = now_ms + recorder->timing.retry_ms;
    } else {
        metric_add(&dropped, 1, err_class_name(err->cls));
        log_debug(NULL, "event dropped", KV("event_reason", series->reason), KV_ERR(err));
        forget(recorder, series);
        return;
    }
    enum event_due due = event_series_due(series, &recorder->timing, now_ms);
    if (due == EVENT_OVER) {
        forget(recorder, series);
    } else if (due == EVENT_WRITE_DUE || has_rest_at_the_end(recorder, series)) {
        (void)enqueue(recorder, series);
    }
}

/* Under the lock, which is given up meanwhile: write the first of the queue. */
static void write_next(struct event_recorder *recorder)
{
    struct event_series *series = TAILQ_FIRST(&recorder->queue);
    AUTO(buf) struct buf body = BUF(EVENT_BODY_BYTES_MAX);
    struct err err = {0};
    int64_t count = series->count;
    int64_t deadline_ms =
        recorder->is_stopping ? recorder->stop_at_ms : clock_monotonic_ms() + REQUEST_MS;
    struct kube_ref ref = {.resource = &KUBE_EVENTS, .namespace_ = event_series_namespace(series)};

    dequeue(recorder, series);
    if (series->written_count == 0) {
        event_series_write(series, &recorder->source, &body);
    } else {
        ref.name = series->name;
        event_series_write_patch(series, &body);
    }
    series->is_busy = true;
    pthread_mutex_unlock(&recorder->lock);
    int result = send_body(recorder, &ref, buf_str(&body), deadline_ms, &err);
    pthread_mutex_lock(&recorder->lock);
    series->is_busy = false;
    settle(recorder, series, count, result == 0 ? NULL : &err);
}

/* Under the lock: until something is queued, the sweep is due or the end has come. */
static void wait_for_work(struct event_recorder *recorder)
{
    struct timespec until = {.tv_sec = recorder->next_sweep_ms / 1000,
                             .tv_nsec = recorder->next_sweep_ms % 1000 * 1000 * 1000};

    if (recorder->table.count == 0) {
        pthread_cond_wait(&recorder->changed, &recorder->lock);
    } else {
        pthread_cond_timedwait(&recorder->changed, &recorder->lock, &until);
    }
}

static bool is_over(const struct event_recorder *recorder)
{
    return recorder->is_stopping &&
           (recorder->queue_count == 0 || clock_monotonic_ms() >= recorder->stop_at_ms);
}

static void *run(void *context)
{
    struct event_recorder *recorder = context;

    pthread_mutex_lock(&recorder->lock);
    while (!is_over(recorder)) {
        int64_t now_ms = clock_monotonic_ms();
        if (now_ms >= recorder->next_sweep_ms && !recorder->is_stopping) {
            sweep(recorder, now_ms);
        }
        if (recorder->queue_count > 0) {
            write_next(recorder);
        } else if (!recorder->is_stopping) {
            wait_for_work(recorder);
        }
    }
    recorder->is_done = true;
    pthread_cond_signal(&recorder->changed);
    pthread_mutex_unlock(&recorder->lock);
    return NULL;
}

static void destroy(struct event_recorder *recorder)
{
    struct event_series *series = NULL;

    while ((series = TAILQ_FIRST(&recorder->recent))) {
        forget(recorder, series);
    }
    map_release(&recorder->table);
    pthread_cond_destroy(&recorder->changed);
    pthread_mutex_destroy(&recorder->lock);
    cancel_free(recorder->cancel);
    free((char *)recorder->source.controller);
    free((char *)recorder->source.instance);
    free(recorder);
}

int event_recorder_new(struct kube_client *client, const struct fence *fence,
                       const char *controller, const char *instance, struct event_recorder **ret,
                       struct err *err)
{
    struct event_recorder *recorder = xcalloc(1, sizeof(*recorder));
    pthread_condattr_t monotonic;

    recorder->client = client;
    recorder->fence = fence;
    recorder->source = (struct event_source){xstrdup(controller), xstrdup(instance)};
    recorder->timing = EVENT_TIMING;
    recorder->cancel = cancel_new(NULL);
    map_init(&recorder->table);
    TAILQ_INIT(&recorder->recent);
    TAILQ_INIT(&recorder->queue);
    pthread_mutex_init(&recorder->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&recorder->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    metrics_register(&dropped);
    metrics_register(&writes);
    if (!thread_try_start(&recorder->thread, "events", run, recorder)) {
        destroy(recorder);
        return err_set(err, ERR_RETRY, "OutOfResources", "cannot start the event recorder");
    }
    *ret = recorder;
    return 0;
}

void event_recorder_set_timing(struct event_recorder *recorder, const struct event_timing *timing)
{
    pthread_mutex_lock(&recorder->lock);
    recorder->timing = *timing;
    recorder->next_sweep_ms = 0;
    pthread_cond_signal(&recorder->changed);
    pthread_mutex_unlock(&recorder->lock);
}

/* Under the lock: the last counts of series that go on are worth a write. */
static void queue_the_rest(struct event_recorder *recorder)
{
    struct event_series *series = NULL;

    TAILQ_FOREACH(series, &recorder->recent, recent)
    {
        if (series->count != series->written_count) {
            (void)enqueue(recorder, series);
        }
    }
}

/* Under the lock: until the thread has written all, or its time is over. */
static void wait_until_done(struct event_recorder *recorder)
{
    struct timespec until = {.tv_sec = recorder->stop_at_ms / 1000,
                             .tv_nsec = recorder->stop_at_ms % 1000 * 1000 * 1000};

    while (!recorder->is_done) {
        if (pthread_cond_timedwait(&recorder->changed, &recorder->lock, &until) == ETIMEDOUT) {
            return;
        }
    }
}

void event_recorder_free(struct event_recorder *recorder)
{
    if (!recorder) {
        return;
    }
    pthread_mutex_lock(&recorder->lock);
    queue_the_rest(recorder);
    recorder->is_stopping = true;
    recorder->stop_at_ms = clock_monotonic_ms() + recorder->timing.flush_ms;
    pthread_cond_broadcast(&recorder->changed);
    wait_until_done(recorder);
    pthread_mutex_unlock(&recorder->lock);
    cancel_trigger(recorder->cancel);
    pthread_join(recorder->thread, NULL);
    destroy(recorder);
}
