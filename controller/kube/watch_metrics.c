/* The list of live watches has one lock, held for moments: a watch joins when made and leaves when
 * freed, and the collector walks it. Nothing is called under it but the metrics themselves. */
#include "controller/kube/watch_metrics.h"

#include <pthread.h>
#include <stdbool.h>

#include "controller/base/clock.h"
#include "controller/base/metrics.h"
#include "controller/base/str.h"

static struct metric restarts =
    METRIC_COUNTER("tenantry_watch_restarts_total",
                   "Requests of a list or watch that ended, by the reason.", "resource", "reason");
static struct metric lists =
    METRIC_COUNTER("tenantry_watch_lists_total", "Complete views received, by the way they came.",
                   "resource", "method");
static struct metric ignored = METRIC_COUNTER(
    "tenantry_watch_ignored_total", "Objects and events that were left out.", "resource", "reason");
static struct metric last_byte_age =
    METRIC_GAUGE("tenantry_watch_last_byte_age_seconds",
                 "Time since the server was last heard of on this watch.", "resource");

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct watch_pulse *pulses;
static bool is_collecting;

/* Two watches of one resource share a series: the one that is worse off counts. */
static int64_t oldest_byte_ms(const char *resource)
{
    int64_t oldest = INT64_MAX;

    for (struct watch_pulse *pulse = pulses; pulse; pulse = pulse->next) {
        int64_t last = atomic_load(&pulse->last_byte_ms);
        if (last > 0 && last < oldest && text_equal(pulse->resource, resource)) {
            oldest = last;
        }
    }
    return oldest;
}

static void collect(void *context)
{
    (void)context;
    int64_t now_ms = clock_monotonic_ms();

    pthread_mutex_lock(&lock);
    for (struct watch_pulse *pulse = pulses; pulse; pulse = pulse->next) {
        int64_t oldest = oldest_byte_ms(pulse->resource);
        if (oldest != INT64_MAX) {
            metric_set(&last_byte_age, (double)(now_ms - oldest) / 1000.0, pulse->resource);
        }
    }
    pthread_mutex_unlock(&lock);
}

void watch_pulse_register(struct watch_pulse *pulse)
{
    bool is_first = false;

    pthread_mutex_lock(&lock);
    is_first = !is_collecting;
    is_collecting = true;
    pulse->next = pulses;
    pulses = pulse;
    pthread_mutex_unlock(&lock);
    if (is_first) {
        metrics_register(&restarts);
        metrics_register(&lists);
        metrics_register(&ignored);
        metrics_register(&last_byte_age);
        metrics_on_collect(collect, NULL);
    }
}

void watch_pulse_unregister(struct watch_pulse *pulse)
{
    pthread_mutex_lock(&lock);
    for (struct watch_pulse **at = &pulses; *at; at = &(*at)->next) {
        if (*at == pulse) {
            *at = pulse->next;
            break;
        }
    }
    metric_drop(&last_byte_age, pulse->resource);
    pthread_mutex_unlock(&lock);
}

void watch_count_restart(const char *resource, const char *reason)
{
    metric_add(&restarts, 1, resource, reason);
}

void watch_count_list(const char *resource, const char *method)
{
    metric_add(&lists, 1, resource, method);
}

void watch_count_ignored(const char *resource, const char *reason)
{
    metric_add(&ignored, 1, resource, reason);
}
