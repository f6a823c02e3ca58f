/* Counters, gauges and histograms in the Prometheus text format (exposition format 0.0.4).
 *
 * A metric is a `struct metric` with static lifetime, declared as data, one table a module:
 *
 *     static struct metric writes = METRIC_COUNTER("tenantry_status_writes_total",
 *                                                  "Status patches sent.", "controller");
 *     metric_add(&writes, 1, "tenant");
 *
 * It registers itself at its first use or by metrics_register (so that it is shown with its zero).
 * Label values are given in the order of the names; a series is made at its first use and stays, so
 * label values are from bounded sets, never tenants' names unless the owner removes them again with
 * metric_drop. A value is cut at 128 bytes; more than 10,000 series of one metric are refused and
 * counted in tenantry_metrics_series_refused_total. Thread-safe. */
#ifndef TENANTRY_BASE_METRICS_H
#define TENANTRY_BASE_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/base/buf.h"

enum metric_kind { METRIC_KIND_COUNTER, METRIC_KIND_GAUGE, METRIC_KIND_HISTOGRAM };
enum { METRIC_LABELS_MAX = 6 };

struct metric_series; /* all series of one metric */

struct metric {
    const char *name;
    const char *help;
    enum metric_kind kind;
    const char *labels[METRIC_LABELS_MAX]; /* NULL-ended unless full */
    const double *bounds;                  /* histogram: ascending upper bounds, without +Inf */
    size_t bound_count;
    /* Owned by metrics.c */
    struct metric *next;
    struct metric_series *series;
    bool registered;
};

#define METRIC_COUNTER(name_, help_, ...)                                                          \
    {                                                                                              \
        .name = (name_), .help = (help_), .kind = METRIC_KIND_COUNTER, .labels = { __VA_ARGS__ }   \
    }
#define METRIC_GAUGE(name_, help_, ...)                                                            \
    {                                                                                              \
        .name = (name_), .help = (help_), .kind = METRIC_KIND_GAUGE, .labels = { __VA_ARGS__ }     \
    }
#define METRIC_HISTOGRAM(name_, help_, bounds_, ...)                                               \
    {                                                                                              \
        .name = (name_), .help = (help_), .kind = METRIC_KIND_HISTOGRAM, .bounds = (bounds_),      \
        .bound_count = sizeof(bounds_) / sizeof((bounds_)[0]), .labels = {                         \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }

/* Show the metric from now on; without labels, with a first value of 0. Idempotent. */
void metrics_register(struct metric *metric);

/* Label values follow, one `const char *` for each of the metric's labels. */
#define metric_add(metric_, amount_, ...)                                                          \
    metric_add_labeled((metric_), (double)(amount_), (const char *const[]){"", ##__VA_ARGS__})
#define metric_set(metric_, value_, ...)                                                           \
    metric_set_labeled((metric_), (double)(value_), (const char *const[]){"", ##__VA_ARGS__})
#define metric_observe(metric_, value_, ...)                                                       \
    metric_observe_labeled((metric_), (double)(value_), (const char *const[]){"", ##__VA_ARGS__})
#define metric_drop(metric_, ...)                                                                  \
    metric_drop_labeled((metric_), (const char *const[]){"", ##__VA_ARGS__})

/* values[0] is ignored (it lets the macros above take no label at all); values[1..] are the labels.
 */
void metric_add_labeled(struct metric *metric, double amount, const char *const *values);
void metric_set_labeled(struct metric *metric, double value, const char *const *values);
void metric_observe_labeled(struct metric *metric, double value, const char *const *values);
void metric_drop_labeled(struct metric *metric, const char *const *values);

/* Current value of a counter or gauge, the count of a histogram; 0 when there is no such series. */
double metric_value_labeled(struct metric *metric, const char *const *values);

/* A function called before each rendering, to set gauges that are cheap to derive (process_*, queue
 * depth). At most 32; a further one is a mistake of the program and aborts. It must not call
 * metrics_on_collect, metrics_off_collect or metrics_render. */
void metrics_on_collect(void (*collect)(void *context), void *context);
/* Take it out again, before context goes away; it does not run any more once this returned. */
void metrics_off_collect(void (*collect)(void *context), void *context);

/* The whole page. False when the buffer's maximum is passed. */
bool metrics_render(struct buf *out);

#endif
