/* Every key that is wanted has one entry; queue_move() alone changes an entry's state, and keeps it
 * in exactly the container of that state:
 *
 *     IDLE      none: the entry is freed
 *     DELAYED   a binary heap by due time
 *     READY     the FIFO of its priority
 *     RUNNING   the list of running entries; a timer that is asked for meanwhile is kept in due_us
 *     DIRTY     the same list: wanted again, with `wanted` as priority
 *
 * No thread belongs to the queue. One of the idle getters is the timekeeper: it sleeps until the
 * first delay ends, the others until they are signaled. A getter that takes a key signals the next
 * one if there is more to do, or if it leaves the heap without a timekeeper: so a burst wakes as
 * many getters as it needs, one after the other, and a timer wakes one.
 *
 * One mutex guards everything; it is held for a few hundred nanoseconds at a time. Metrics' own
 * locks are taken below it. */
#include "controller/runtime/queue.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "controller/base/clock.h"
#include "controller/base/jsonw.h"
#include "controller/base/metrics.h"
#include "controller/base/str.h"
#include "controller/runtime/key_table.h"

enum {
    BACKOFF_BASE_DEFAULT_MS = 5,
    BACKOFF_MAX_DEFAULT_MS = 300000,
    JITTER_DIVISOR = 10, /* at most a tenth more */
    AGEING_PERIOD = 10,  /* every tenth pop takes the key that waits longest */
    DESCRIBED_KEYS_MAX = 100,
};
static const int64_t DELAY_MAX_MS = INT64_C(10) * 365 * 24 * 3600 * 1000;

enum state { IDLE, DELAYED, READY, RUNNING, DIRTY };
static const char *const state_names[] = {"idle", "delayed", "ready", "running", "dirty"};
static const char *const priority_names[] = {"low", "normal", "high"};
/* As the label: what controller-runtime's queue shows for the first list, events, and above. */
static const char *const priority_labels[] = {"-100", "0", "100"};

struct entry {
    struct entry *next; /* in the list of its state */
    struct entry *previous;
    int64_t since_us;  /* READY: since when; RUNNING, DIRTY: begun when */
    int64_t due_us;    /* DELAYED: when; RUNNING: the earliest timer asked for meanwhile, 0: none */
    uint64_t position; /* READY: order of arrival over all priorities */
    size_t heap_index;
    int failures;
    enum state state;
    enum queue_priority priority; /* DELAYED: of the timer; RUNNING, DIRTY: of this run */
    enum queue_priority wanted;   /* RUNNING, DIRTY: of the next run */
    bool by_timer;
    size_t key_len;
    char key[];
};

struct list {
    struct entry *first;
    struct entry *last;
    size_t count;
};

struct queue {
    char *name;
    int64_t backoff_base_ms;
    int64_t backoff_max_ms;
    pthread_mutex_t lock;
    pthread_cond_t work;  /* for idle getters */
    pthread_cond_t timer; /* for the timekeeper */
    int idle_getters;
    bool has_timekeeper;
    bool is_shut_down;

    struct key_table entries;
    struct list ready[QUEUE_PRIORITY_COUNT];
    struct list running;
    struct entry **heap;
    size_t heap_count;
    size_t heap_capacity;
    uint64_t next_position;
    uint64_t pops;
};

/* ---- metrics ---- */

static const double duration_bounds[] = {1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3,
                                         1e-2, 1e-1, 1,    10,   100,  1000};
static struct metric depth_metric = METRIC_GAUGE(
    "workqueue_depth", "Current depth of workqueue by priority", "name", "controller", "priority");
static struct metric adds_metric = METRIC_COUNTER(
    "workqueue_adds_total", "Total number of adds handled by workqueue", "name", "controller");
static struct metric waited_metric =
    METRIC_HISTOGRAM("workqueue_queue_duration_seconds",
                     "How long in seconds an item stays in workqueue before being requested",
                     duration_bounds, "name", "controller");
static struct metric worked_metric =
    METRIC_HISTOGRAM("workqueue_work_duration_seconds",
                     "How long in seconds processing an item from workqueue takes.",
                     duration_bounds, "name", "controller");
static struct metric unfinished_metric =
    METRIC_GAUGE("workqueue_unfinished_work_seconds",
                 "How many seconds of work has been done that is in progress and has not been "
                 "observed by work_duration.",
                 "name", "controller");
static struct metric longest_metric =
    METRIC_GAUGE("workqueue_longest_running_processor_seconds",
                 "How many seconds the longest running processor for workqueue has been running.",
                 "name", "controller");
static struct metric retries_metric =
    METRIC_COUNTER("workqueue_retries_total", "Total number of retries handled by workqueue",
                   "name", "controller");

/* ---- containers ---- */

static struct str entry_key(const void *item)
{
    const struct entry *entry = item;
    return (struct str){entry->key, entry->key_len};
}

static void list_append(struct list *list, struct entry *entry)
{
    entry->next = NULL;
    entry->previous = list->last;
    *(list->last ? &list->last->next : &list->first) = entry;
    list->last = entry;
    list->count++;
}

static void list_remove(struct list *list, struct entry *entry)
{
    *(entry->previous ? &entry->previous->next : &list->first) = entry->next;
    *(entry->next ? &entry->next->previous : &list->last) = entry->previous;
    list->count--;
}

static void heap_place(struct queue *queue, size_t index, struct entry *entry)
{
    queue->heap[index] = entry;
    entry->heap_index = index;
}

static void heap_up(struct queue *queue, size_t index, struct entry *entry)
{
    while (index > 0) {
        size_t parent = (index - 1) / 2;
        if (queue->heap[parent]->due_us <= entry->due_us) {
            break;
        }
        heap_place(queue, index, queue->heap[parent]);
        index = parent;
    }
    heap_place(queue, index, entry);
}

static void heap_down(struct queue *queue, size_t index, struct entry *entry)
{
    for (;;) {
        size_t child = index * 2 + 1;
        if (child >= queue->heap_count) {
            break;
        }
        if (child + 1 < queue->heap_count &&
            queue->heap[child + 1]->due_us < queue->heap[child]->due_us) {
            child++;
        }
        if (entry->due_us <= queue->heap[child]->due_us) {
            break;
        }
        heap_place(queue, index, queue->heap[child]);
        index = child;
    }
    heap_place(queue, index, entry);
}

static void heap_add(struct queue *queue, struct entry *entry)
{
    if (queue->heap_count == queue->heap_capacity) {
        queue->heap_capacity = queue->heap_capacity ? queue->heap_capacity * 2 : 16;
        queue->heap = xrealloc(queue->heap, queue->heap_capacity * sizeof(*queue->heap));
    }
    heap_up(queue, queue->heap_count++, entry);
}

static void heap_remove(struct queue *queue, struct entry *entry)
{
    size_t index = entry->heap_index;
    struct entry *last = queue->heap[--queue->heap_count];
    if (last == entry) {
        return;
    }
    if (index > 0 && last->due_us < queue->heap[(index - 1) / 2]->due_us) {
        heap_up(queue, index, last);
    } else {
        heap_down(queue, index, last);
    }
}

/* ---- waking ---- */

/* Under the lock: there is something that a getter has to look at. */
static void wake_one(struct queue *queue)
{
    if (queue->idle_getters > 0) {
        pthread_cond_signal(&queue->work);
    } else if (queue->has_timekeeper) {
        pthread_cond_signal(&queue->timer);
    }
}

/* Under the lock: the first due time is another. */
static void wake_for_timer(struct queue *queue)
{
    if (queue->has_timekeeper) {
        pthread_cond_signal(&queue->timer);
    } else if (queue->idle_getters > 0) {
        pthread_cond_signal(&queue->work); /* it becomes the timekeeper */
    }
}

/* ---- states ---- */

/* The only place where an entry's state changes. due_us, priority and by_timer are set before.
 * An entry that becomes IDLE is freed. */
static void queue_move(struct queue *queue, struct entry *entry, enum state state, int64_t now_us)
{
    switch (entry->state) {
    case DELAYED:
        heap_remove(queue, entry);
        break;
    case READY:
        list_remove(&queue->ready[entry->priority], entry);
        break;
    case RUNNING:
    case DIRTY:
        list_remove(&queue->running, entry);
        break;
    case IDLE:
        break;
    }
    entry->state = state;
    switch (state) {
    case DELAYED:
        heap_add(queue, entry);
        if (entry->heap_index == 0) {
            wake_for_timer(queue);
        }
        break;
    case READY:
        entry->due_us = 0;
        entry->since_us = now_us;
        entry->position = queue->next_position++;
        list_append(&queue->ready[entry->priority], entry);
        break;
    case RUNNING:
        entry->since_us = now_us;
        entry->wanted = QUEUE_LOW;
        list_append(&queue->running, entry);
        break;
    case DIRTY:
        list_append(&queue->running, entry);
        break;
    case IDLE:
        (void)key_table_remove(&queue->entries, entry_key(entry));
        free(entry);
        break;
    }
}

static struct entry *entry_get(struct queue *queue, const char *key)
{
    struct str text = str_from(key);
    struct entry *entry = key_table_get(&queue->entries, text);
    if (entry) {
        return entry;
    }
    entry = xcalloc(1, sizeof(*entry) + text.len + 1);
    memcpy(entry->key, key, text.len + 1);
    entry->key_len = text.len;
    (void)key_table_put(&queue->entries, entry);
    return entry;
}

static enum queue_priority higher(enum queue_priority a, enum queue_priority b)
{
    return a > b ? a : b;
}

static void count_add(struct queue *queue)
{
    metric_add(&adds_metric, 1, queue->name, queue->name);
}

static void add_locked(struct queue *queue, const char *key, enum queue_priority priority)
{
    struct entry *entry = entry_get(queue, key);
    int64_t now_us = clock_monotonic_us();

    switch (entry->state) {
    case IDLE:
    case DELAYED:
        entry->priority = entry->state == IDLE ? priority : higher(entry->priority, priority);
        entry->by_timer = false;
        queue_move(queue, entry, READY, now_us);
        count_add(queue);
        wake_one(queue);
        break;
    case READY:
        entry->by_timer = false;
        if (priority > entry->priority) {
            list_remove(&queue->ready[entry->priority], entry);
            entry->priority = priority;
            list_append(&queue->ready[priority], entry);
        }
        break;
    case RUNNING:
        queue_move(queue, entry, DIRTY, now_us);
        entry->wanted = higher(entry->wanted, priority);
        count_add(queue);
        break;
    case DIRTY:
        entry->wanted = higher(entry->wanted, priority);
        break;
    }
}

static int64_t after_ms(int64_t now_us, int64_t delay_ms)
{
    return now_us + (delay_ms < DELAY_MAX_MS ? delay_ms : DELAY_MAX_MS) * 1000;
}

static void add_after_locked(struct queue *queue, const char *key, int64_t delay_ms,
                             enum queue_priority priority)
{
    struct entry *entry = entry_get(queue, key);
    int64_t now_us = clock_monotonic_us();
    int64_t due_us = after_ms(now_us, delay_ms);

    switch (entry->state) {
    case DELAYED:
        entry->priority = higher(entry->priority, priority);
        if (due_us < entry->due_us) {
            heap_remove(queue, entry);
            entry->due_us = due_us;
            entry->state = IDLE; /* in no container, for the move below */
            queue_move(queue, entry, DELAYED, now_us);
        }
        break;
    case IDLE:
        entry->priority = priority;
        entry->by_timer = true;
        entry->due_us = due_us;
        queue_move(queue, entry, DELAYED, now_us);
        break;
    case RUNNING:
        if (entry->due_us == 0 || due_us < entry->due_us) {
            entry->due_us = due_us;
        }
        entry->wanted = higher(entry->wanted, priority);
        break;
    case READY:
    case DIRTY:
        break; /* it runs sooner than that */
    }
}

/* Make ready whatever is due. The caller sees to it that somebody looks. */
static void promote_due(struct queue *queue, int64_t now_us)
{
    while (queue->heap_count > 0 && queue->heap[0]->due_us <= now_us) {
        struct entry *entry = queue->heap[0];
        int64_t due_us = entry->due_us;
        queue_move(queue, entry, READY, due_us); /* it has waited since it was due */
        count_add(queue);
    }
}

/* ---- the public side ---- */

static size_t depth_locked(const struct queue *queue)
{
    size_t depth = 0;
    for (int i = 0; i < QUEUE_PRIORITY_COUNT; i++) {
        depth += queue->ready[i].count;
    }
    return depth;
}

/* Before somebody leaves who looked: what he saw must not be left without anybody to see it. */
static void pass_on(struct queue *queue)
{
    if (depth_locked(queue) > 0) {
        wake_one(queue);
    } else if (queue->heap_count > 0 && !queue->has_timekeeper) {
        wake_for_timer(queue);
    }
}

static void collect(void *context)
{
    struct queue *queue = context;
    double unfinished_s = 0;
    double longest_s = 0;

    pthread_mutex_lock(&queue->lock);
    int64_t now_us = clock_monotonic_us();
    promote_due(queue, now_us);
    pass_on(queue);
    for (const struct entry *entry = queue->running.first; entry; entry = entry->next) {
        double seconds = (double)(now_us - entry->since_us) / 1e6;
        unfinished_s += seconds;
        longest_s = seconds > longest_s ? seconds : longest_s;
    }
    for (int i = 0; i < QUEUE_PRIORITY_COUNT; i++) {
        metric_set(&depth_metric, queue->ready[i].count, queue->name, queue->name,
                   priority_labels[i]);
    }
    pthread_mutex_unlock(&queue->lock);
    metric_set(&unfinished_metric, unfinished_s, queue->name, queue->name);
    metric_set(&longest_metric, longest_s, queue->name, queue->name);
}

struct queue *queue_new(const struct queue_config *config)
{
    struct queue *queue = xcalloc(1, sizeof(*queue));
    queue->name = xstrdup(config->name);
    queue->backoff_base_ms =
        config->backoff_base_ms > 0 ? config->backoff_base_ms : BACKOFF_BASE_DEFAULT_MS;
    queue->backoff_max_ms =
        config->backoff_max_ms > 0 ? config->backoff_max_ms : BACKOFF_MAX_DEFAULT_MS;
    key_table_init(&queue->entries, entry_key);
    pthread_mutex_init(&queue->lock, NULL);

    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&queue->work, &monotonic);
    pthread_cond_init(&queue->timer, &monotonic);
    pthread_condattr_destroy(&monotonic);

    metric_add(&adds_metric, 0, queue->name, queue->name);
    metric_add(&retries_metric, 0, queue->name, queue->name);
    metrics_register(&waited_metric);
    metrics_register(&worked_metric);
    metrics_on_collect(collect, queue);
    return queue;
}

void queue_free(struct queue *queue)
{
    if (!queue) {
        return;
    }
    metrics_off_collect(collect, queue);
    size_t cursor = 0;
    for (void *entry = NULL; (entry = key_table_next(&queue->entries, &cursor));) {
        free(entry);
    }
    key_table_release(&queue->entries);
    free(queue->heap);
    pthread_cond_destroy(&queue->timer);
    pthread_cond_destroy(&queue->work);
    pthread_mutex_destroy(&queue->lock);
    free(queue->name);
    free(queue);
}

void queue_add(struct queue *queue, const char *key, enum queue_priority priority)
{
    pthread_mutex_lock(&queue->lock);
    if (!queue->is_shut_down) {
        add_locked(queue, key, priority);
    }
    pthread_mutex_unlock(&queue->lock);
}

void queue_add_after(struct queue *queue, const char *key, int64_t delay_ms,
                     enum queue_priority priority)
{
    pthread_mutex_lock(&queue->lock);
    if (queue->is_shut_down) {
        /* nothing runs any more */
    } else if (delay_ms > 0) {
        add_after_locked(queue, key, delay_ms, priority);
    } else {
        add_locked(queue, key, priority);
    }
    pthread_mutex_unlock(&queue->lock);
}

/* The entry to run next, or NULL. */
static struct entry *pick(struct queue *queue)
{
    struct entry *picked = NULL;
    bool oldest = (queue->pops + 1) % AGEING_PERIOD == 0;

    for (int i = QUEUE_PRIORITY_COUNT; i-- > 0;) {
        struct entry *first = queue->ready[i].first;
        if (first && (!picked || (oldest && first->position < picked->position))) {
            picked = first;
        }
    }
    queue->pops += picked ? 1 : 0;
    return picked;
}

/* Sleep until there may be something to do. */
static void wait_for_work(struct queue *queue)
{
    if (queue->has_timekeeper || queue->heap_count == 0) {
        queue->idle_getters++;
        pthread_cond_wait(&queue->work, &queue->lock);
        queue->idle_getters--;
        return;
    }
    int64_t due_us = queue->heap[0]->due_us;
    struct timespec until = {.tv_sec = (time_t)(due_us / 1000000),
                             .tv_nsec = (long)(due_us % 1000000) * 1000};
    queue->has_timekeeper = true;
    (void)pthread_cond_timedwait(&queue->timer, &queue->lock, &until);
    queue->has_timekeeper = false;
}

bool queue_get(struct queue *queue, struct queue_item *ret)
{
    pthread_mutex_lock(&queue->lock);
    struct entry *entry = NULL;
    int64_t now_us = 0;
    for (;;) {
        if (queue->is_shut_down) {
            pthread_mutex_unlock(&queue->lock);
            return false;
        }
        now_us = clock_monotonic_us();
        promote_due(queue, now_us);
        entry = pick(queue);
        if (entry) {
            break;
        }
        wait_for_work(queue);
    }
    int64_t waited_us = now_us - entry->since_us;
    *ret = (struct queue_item){
        .key = xmemdup0(entry->key, entry->key_len),
        .priority = entry->priority,
        .failures = entry->failures,
        .by_timer = entry->by_timer,
        .waited_ms = waited_us / 1000,
    };
    queue_move(queue, entry, RUNNING, now_us);
    pass_on(queue);
    pthread_mutex_unlock(&queue->lock);
    metric_observe(&waited_metric, (double)waited_us / 1e6, queue->name, queue->name);
    return true;
}

static int64_t backoff_ms(const struct queue *queue, int failures, int64_t at_least_ms)
{
    int64_t delay_ms = queue->backoff_base_ms;
    for (int i = 1; i < failures && delay_ms < queue->backoff_max_ms; i++) {
        delay_ms *= 2;
    }
    delay_ms = delay_ms < queue->backoff_max_ms ? delay_ms : queue->backoff_max_ms;
    delay_ms = delay_ms > at_least_ms ? delay_ms : at_least_ms;
    return delay_ms + clock_jitter_ms(delay_ms / JITTER_DIVISOR + 1);
}

/* How long until the verdict wants the key again; -1: not at all. */
static int64_t verdict_delay_ms(const struct queue *queue, struct entry *entry,
                                enum queue_verdict verdict, int64_t next_ms)
{
    switch (verdict) {
    case QUEUE_BACKOFF:
        entry->failures++;
        return backoff_ms(queue, entry->failures, next_ms < DELAY_MAX_MS ? next_ms : DELAY_MAX_MS);
    case QUEUE_KEEP:
        return next_ms > 0 ? next_ms : 0;
    case QUEUE_FORGET:
        break;
    }
    entry->failures = 0;
    return next_ms > 0 ? next_ms : -1;
}

/* A key that comes back by itself was asked for by nobody just now, so it goes behind those. */
static enum queue_priority timer_priority(enum queue_verdict verdict, enum queue_priority of_run)
{
    if (verdict == QUEUE_FORGET) {
        return QUEUE_LOW;
    }
    return of_run < QUEUE_NORMAL ? of_run : QUEUE_NORMAL;
}

static void done_locked(struct queue *queue, struct entry *entry, enum queue_verdict verdict,
                        int64_t next_ms, int64_t now_us)
{
    int64_t delay_ms = verdict_delay_ms(queue, entry, verdict, next_ms);
    if (entry->state == DIRTY) {
        entry->priority = entry->wanted;
        entry->by_timer = false;
        queue_move(queue, entry, READY, now_us);
        wake_one(queue);
        return;
    }
    int64_t timer_us = entry->due_us; /* asked for by others while it ran */
    if (delay_ms < 0 && timer_us == 0) {
        queue_move(queue, entry, IDLE, now_us);
        return;
    }
    enum queue_priority own = delay_ms < 0 ? QUEUE_LOW : timer_priority(verdict, entry->priority);
    int64_t due_us = delay_ms < 0 ? INT64_MAX : after_ms(now_us, delay_ms);
    entry->due_us = timer_us != 0 && timer_us < due_us ? timer_us : due_us;
    entry->priority = timer_us != 0 ? higher(own, entry->wanted) : own;
    entry->by_timer = true;
    if (entry->due_us <= now_us) {
        queue_move(queue, entry, READY, now_us);
        count_add(queue);
        wake_one(queue);
    } else {
        queue_move(queue, entry, DELAYED, now_us);
    }
}

void queue_done(struct queue *queue, struct queue_item *item, enum queue_verdict verdict,
                int64_t next_ms)
{
    pthread_mutex_lock(&queue->lock);
    struct entry *entry = key_table_get(&queue->entries, str_from(item->key));
    if (!entry || (entry->state != RUNNING && entry->state != DIRTY)) {
        (void)fprintf(stderr, "queue %s: done with a key that does not run\n", queue->name);
        abort();
    }
    int64_t now_us = clock_monotonic_us();
    int64_t worked_us = now_us - entry->since_us;
    done_locked(queue, entry, verdict, next_ms, now_us);
    pthread_mutex_unlock(&queue->lock);

    metric_observe(&worked_metric, (double)worked_us / 1e6, queue->name, queue->name);
    if (verdict != QUEUE_FORGET) {
        metric_add(&retries_metric, 1, queue->name, queue->name);
    }
    free(item->key);
    item->key = NULL;
}

void queue_shutdown(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->is_shut_down = true;
    pthread_cond_broadcast(&queue->work);
    pthread_cond_broadcast(&queue->timer);
    pthread_mutex_unlock(&queue->lock);
}

size_t queue_depth(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    promote_due(queue, clock_monotonic_us());
    pass_on(queue);
    size_t depth = depth_locked(queue);
    pthread_mutex_unlock(&queue->lock);
    return depth;
}

static void describe_entry(struct jsonw *writer, const struct entry *entry, int64_t now_us)
{
    jsonw_object(writer, NULL);
    jsonw_text(writer, "key", entry->key);
    jsonw_text(writer, "state", state_names[entry->state]);
    jsonw_text(writer, "priority", priority_names[entry->priority]);
    jsonw_int(writer, "failures", entry->failures);
    if (entry->state == DELAYED) {
        jsonw_int(writer, "next_run_in_ms", (entry->due_us - now_us) / 1000);
    } else {
        jsonw_int(writer, "for_ms", (now_us - entry->since_us) / 1000);
    }
    jsonw_end_object(writer);
}

static void describe_keys(const struct queue *queue, struct jsonw *writer, int64_t now_us)
{
    size_t left = DESCRIBED_KEYS_MAX;
    const struct list *lists[] = {&queue->running, &queue->ready[QUEUE_HIGH],
                                  &queue->ready[QUEUE_NORMAL], &queue->ready[QUEUE_LOW]};

    for (size_t i = 0; i < ARRAY_COUNT(lists); i++) {
        const struct entry *entry = lists[i]->first;
        for (; entry && left > 0; entry = entry->next, left--) {
            describe_entry(writer, entry, now_us);
        }
    }
    for (size_t i = 0; i < queue->heap_count && left > 0; i++, left--) {
        describe_entry(writer, queue->heap[i], now_us); /* nearly in the order of time */
    }
}

void queue_describe(struct queue *queue, struct buf *out)
{
    struct jsonw writer;
    jsonw_init(&writer, out);
    pthread_mutex_lock(&queue->lock);
    int64_t now_us = clock_monotonic_us();
    promote_due(queue, now_us);
    pass_on(queue);

    jsonw_object(&writer, NULL);
    jsonw_text(&writer, "name", queue->name);
    jsonw_object(&writer, "ready");
    for (int i = QUEUE_PRIORITY_COUNT; i-- > 0;) {
        jsonw_int(&writer, priority_names[i], (int64_t)queue->ready[i].count);
    }
    jsonw_end_object(&writer);
    jsonw_int(&writer, "running", (int64_t)queue->running.count);
    jsonw_int(&writer, "delayed", (int64_t)queue->heap_count);
    jsonw_bool(&writer, "shut_down", queue->is_shut_down);
    jsonw_array(&writer, "keys");
    describe_keys(queue, &writer, now_us);
    jsonw_end_array(&writer);
    jsonw_end_object(&writer);
    pthread_mutex_unlock(&queue->lock);
}
