/* Workers are threads that take a key, run the reconcile function with an arena that lives for that
 * one run, and turn its outcome into the queue's verdict, a metric and, if it is news, a log line.
 * The arena belongs to the worker and is cleared between runs, so that the usual reconcile touches
 * warm memory and asks malloc for nothing. */
#include "controller/runtime/controller.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "controller/base/clock.h"
#include "controller/base/metrics.h"
#include "controller/base/thread.h"
#include "controller/runtime/failing_keys.h"
#include "controller/runtime/hot_keys.h"

enum {
    TIMEOUT_DEFAULT_MS = 120000,
    ARENA_MAX_BYTES = 256 * 1024 * 1024,
    CONFLICTS_TOLERATED = 5, /* in a row: from then on they are said like failures */
};

struct worker {
    struct controller *controller;
    pthread_t thread;
    struct arena arena;
};

struct controller {
    struct controller_config config;
    char *name;
    struct queue *queue;
    struct failing_keys *failing;
    struct hot_keys hot;
    const struct cancel *cancel;
    const struct fence *fence;
    struct worker *workers;
    int started;
};

/* ---- metrics ---- */

static const double time_bounds[] = {
    .005, .01, .025, .05, .1,  .15, .2,  .25, .3, .35, .4, .45, .5, .6, .7, .8, .9, 1,  1.25, 1.5,
    1.75, 2,   2.5,  3,   3.5, 4,   4.5, 5,   6,  7,   8,  9,   10, 15, 20, 25, 30, 40, 50,   60};
static struct metric total_metric =
    METRIC_COUNTER("controller_runtime_reconcile_total",
                   "Total number of reconciliations per controller", "controller", "result");
static struct metric errors_metric =
    METRIC_COUNTER("controller_runtime_reconcile_errors_total",
                   "Total number of reconciliation errors per controller", "controller");
static struct metric terminal_metric =
    METRIC_COUNTER("controller_runtime_terminal_reconcile_errors_total",
                   "Total number of terminal reconciliation errors per controller", "controller");
static struct metric panics_metric =
    METRIC_COUNTER("controller_runtime_reconcile_panics_total",
                   "Total number of reconciliation panics per controller", "controller");
static struct metric timeouts_metric =
    METRIC_COUNTER("controller_runtime_reconcile_timeouts_total",
                   "Total number of reconciliation timeouts per controller", "controller");
static struct metric time_metric =
    METRIC_HISTOGRAM("controller_runtime_reconcile_time_seconds",
                     "Length of time per reconciliation per controller", time_bounds, "controller");
static struct metric workers_metric =
    METRIC_GAUGE("controller_runtime_max_concurrent_reconciles",
                 "Maximum number of concurrent reconciles per controller", "controller");
static struct metric active_metric =
    METRIC_GAUGE("controller_runtime_active_workers",
                 "Number of currently used workers per controller", "controller");

/* Shown from the start, so that a rate over them is right from the first reconcile on. */
static void preset_metrics(const char *name, int workers)
{
    static const char *const results[] = {"error", "requeue_after", "requeue", "success"};
    for (size_t i = 0; i < ARRAY_COUNT(results); i++) {
        metric_add(&total_metric, 0, name, results[i]);
    }
    metric_add(&errors_metric, 0, name);
    metric_add(&terminal_metric, 0, name);
    metric_add(&panics_metric, 0, name);
    metric_add(&timeouts_metric, 0, name);
    metric_set(&workers_metric, workers, name);
    metric_set(&active_metric, 0, name);
    metrics_register(&time_metric);
}

static const char *result_label(const struct outcome *outcome)
{
    if (outcome->failed) {
        return "error";
    }
    if (outcome->verdict == QUEUE_BACKOFF) {
        return "requeue";
    }
    if (outcome->verdict == QUEUE_KEEP || outcome->next_ms > 0) {
        return "requeue_after";
    }
    return "success";
}

static void count_outcome(const struct controller *controller, const struct reconcile *rc,
                          const struct outcome *outcome, int64_t took_us)
{
    metric_observe(&time_metric, (double)took_us / 1e6, controller->name);
    if (outcome->canceled) {
        return;
    }
    metric_add(&total_metric, 1, controller->name, result_label(outcome));
    if (!outcome->failed) {
        return;
    }
    metric_add(&errors_metric, 1, controller->name);
    if (outcome->terminal) {
        metric_add(&terminal_metric, 1, controller->name);
    }
    if (err_has_reason(&outcome->err, "DeadlineExceeded") &&
        clock_monotonic_ms() >= rc->call.deadline_ms) {
        metric_add(&timeouts_metric, 1, controller->name);
    }
}

/* ---- log ---- */

/* Whether the outcome is to be told like a failure. */
static bool is_trouble(const struct reconcile *rc, const struct outcome *outcome)
{
    return outcome->failed ||
           (outcome->err.cls == ERR_CONFLICT && rc->failures >= CONFLICTS_TOLERATED);
}

static void log_trouble(struct controller *controller, const struct reconcile *rc,
                        const struct outcome *outcome, int64_t took_ms)
{
    enum failing_news news = failing_keys_note(controller->failing, rc->key, &outcome->err);
    const struct log_field fields[] = {
        KV_ERR(&outcome->err),
        KV("class", err_class_name(outcome->err.cls)),
        KV_INT("duration_ms", took_ms),
        KV_INT("failures", rc->failures + 1),
    };
    enum log_level level = news == FAILING_NEW ? LOG_WARN : LOG_DEBUG;
    if (log_enabled(level)) {
        log_write(rc->call.log, level, "reconcile failed", fields, ARRAY_COUNT(fields));
    }
}

static void log_outcome(struct controller *controller, const struct reconcile *rc,
                        const struct outcome *outcome, int64_t took_ms)
{
    if (outcome->canceled) {
        log_debug(rc->call.log, "reconcile canceled", KV_INT("duration_ms", took_ms));
        return;
    }
    if (is_trouble(rc, outcome)) {
        log_trouble(controller, rc, outcome, took_ms);
    } else if (outcome->err.cls != ERR_OK) {
        log_debug(rc->call.log, "reconcile waits", KV_ERR(&outcome->err),
                  KV_INT("duration_ms", took_ms));
    } else if (failing_keys_note(controller->failing, rc->key, NULL) == FAILING_ENDED) {
        log_info(rc->call.log, "recovered", KV_INT("duration_ms", took_ms));
    } else {
        log_debug(rc->call.log, "reconciled", KV_INT("duration_ms", took_ms));
    }
    if (hot_keys_note(&controller->hot, rc->key, outcome->failed, clock_monotonic_ms())) {
        log_warn(rc->call.log,
                 "reconciled over and over without failing: something changes the object all the "
                 "time, perhaps this program itself",
                 KV_INT("more_than", HOT_KEYS_LIMIT), KV_INT("within_ms", HOT_KEYS_WINDOW_MS));
    }
}

/* ---- workers ---- */

static struct outcome run_guarded(const struct controller *controller, struct reconcile *rc)
{
    struct err err;
    /* A key that comes while the program stops, or after leadership was lost, is not even begun. */
    if (call_check_write(&rc->call, &err) < 0) {
        return outcome_from_err(&err, 0);
    }
    return controller->config.reconcile(rc);
}

static void reconcile_one(struct worker *worker, struct queue_item *item)
{
    static _Atomic uint64_t next_id = 1;
    struct controller *controller = worker->controller;
    uint64_t id = atomic_fetch_add(&next_id, 1);
    const struct log_field fields[] = {
        KV("controller", controller->name),
        KV(controller->name, item->key),
        KV_INT("reconcile_id", (int64_t)id),
    };
    const struct log log = {.fields = fields, .field_count = ARRAY_COUNT(fields)};
    int64_t begun_us = clock_monotonic_us();
    struct reconcile rc = {
        .call =
            {
                .cancel = controller->cancel,
                .fence = controller->fence,
                .deadline_ms = begun_us / 1000 + controller->config.reconcile_timeout_ms,
                .log = &log,
            },
        .arena = &worker->arena,
        .key = item->key,
        .queue = controller->queue,
        .id = id,
        .failures = item->failures,
        .drift_check = item->by_timer,
        .environment = controller->config.environment,
    };

    metric_add(&active_metric, 1, controller->name);
    struct outcome outcome = run_guarded(controller, &rc);
    int64_t took_us = clock_monotonic_us() - begun_us;
    count_outcome(controller, &rc, &outcome, took_us);
    log_outcome(controller, &rc, &outcome, took_us / 1000);
    metric_add(&active_metric, -1, controller->name);
    arena_clear(&worker->arena);
    queue_done(controller->queue, item, outcome.verdict, outcome.next_ms);
}

static void *worker_run(void *context)
{
    struct worker *worker = context;
    struct queue_item item;

    while (queue_get(worker->controller->queue, &item)) {
        reconcile_one(worker, &item);
    }
    arena_release(&worker->arena);
    return NULL;
}

/* ---- the public side ---- */

struct controller *controller_new(const struct controller_config *config)
{
    struct controller *controller = xcalloc(1, sizeof(*controller));
    controller->config = *config;
    controller->name = xstrdup(config->name);
    if (controller->config.workers < 1) {
        controller->config.workers = 1;
    }
    if (controller->config.reconcile_timeout_ms <= 0) {
        controller->config.reconcile_timeout_ms = TIMEOUT_DEFAULT_MS;
    }
    const struct queue_config queue_config = {
        .name = controller->name,
        .backoff_max_ms = config->backoff_max_ms,
    };
    controller->queue = queue_new(&queue_config);
    controller->failing = failing_keys_new();
    hot_keys_init(&controller->hot);
    preset_metrics(controller->name, controller->config.workers);
    return controller;
}

struct queue *controller_queue(struct controller *controller)
{
    return controller->queue;
}

void controller_start(struct controller *controller, const struct cancel *cancel,
                      const struct fence *fence)
{
    int count = controller->config.workers;
    controller->cancel = cancel;
    controller->fence = fence;
    controller->workers = xcalloc((size_t)count, sizeof(controller->workers[0]));
    for (int i = 0; i < count; i++) {
        struct worker *worker = &controller->workers[i];
        char name[32];
        (void)snprintf(name, sizeof(name), "%.11s-%d", controller->name, i);
        worker->controller = controller;
        arena_init(&worker->arena, ARENA_MAX_BYTES);
        thread_start(&worker->thread, name, worker_run, worker);
    }
    controller->started = count;
}

void controller_stop(struct controller *controller)
{
    queue_shutdown(controller->queue);
    for (int i = 0; i < controller->started; i++) {
        pthread_join(controller->workers[i].thread, NULL);
    }
    controller->started = 0;
}

void controller_free(struct controller *controller)
{
    if (!controller) {
        return;
    }
    controller_stop(controller);
    queue_free(controller->queue);
    failing_keys_free(controller->failing);
    hot_keys_release(&controller->hot);
    free(controller->workers);
    free(controller->name);
    free(controller);
}
