/* Metrics: a registry of static structs, each with its series in a hash table.
 *
 * One mutex guards all values: an update is a hash lookup and an addition, some hundred
 * nanoseconds, thousands of times less than what is being counted (requests, reconciles), so finer
 * locks would buy nothing. Collectors run before that mutex is taken, because they set metrics
 * themselves; a second mutex keeps a collector from being removed while it runs.
 *
 * Lock order: collect_lock, then value_lock. */
#include "controller/base/metrics.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>

#include "controller/base/map.h"

enum {
    SERIES_MAX = 10000,
    COLLECTORS_MAX = 64, /* more than the caches and queues that a manager takes */
    LABEL_VALUE_MAX_BYTES = 128,
    KEY_MAX_BYTES = METRIC_LABELS_MAX * (LABEL_VALUE_MAX_BYTES + 1),
};

/* Ends each value in a series' key; no byte of UTF-8. */
static const char KEY_SEPARATOR = '\xff';

struct series {
    struct series *previous; /* in the order of creation, so that pages are stable */
    struct series *next;
    char *labels; /* rendered: `a="x",b="y"` */
    double value; /* a histogram's sum */
    uint64_t count;
    uint64_t *buckets; /* histogram: not cumulative, bound_count of them */
};

/* All series of one metric. */
struct metric_series {
    struct map by_key;
    struct series *first;
    struct series *last;
};

struct key {
    char bytes[KEY_MAX_BYTES];
    size_t len;
};

struct collector {
    void (*collect)(void *context);
    void *context;
};

static pthread_mutex_t value_lock = PTHREAD_MUTEX_INITIALIZER;
static struct metric *first_metric; /* sorted by name */

static pthread_mutex_t collect_lock = PTHREAD_MUTEX_INITIALIZER;
static struct collector collectors[COLLECTORS_MAX];
static size_t collector_count;

static struct metric refused =
    METRIC_COUNTER("tenantry_metrics_series_refused_total",
                   "Updates dropped because their metric had too many series.", "metric");

static size_t label_count(const struct metric *metric)
{
    size_t count = 0;
    while (count < METRIC_LABELS_MAX && metric->labels[count]) {
        count++;
    }
    return count;
}

/* One value as it is kept: cut to a sane length, and valid UTF-8, since one bad byte would make
 * the whole page unreadable to Prometheus. */
static size_t clean_value(const char *value, char out[LABEL_VALUE_MAX_BYTES])
{
    struct str text = str_from(value);
    text.len = str_utf8_prefix(text, LABEL_VALUE_MAX_BYTES);
    bool valid = str_is_utf8(text);
    for (size_t i = 0; i < text.len; i++) {
        bool bad = !valid && ((unsigned char)text.ptr[i] & 0x80U) != 0;
        out[i] = text.ptr[i];
        if (bad) {
            out[i] = '?';
        }
    }
    return text.len;
}

static void make_key(const struct metric *metric, const char *const *values, struct key *key)
{
    key->len = 0;
    size_t labels = label_count(metric);
    for (size_t i = 0; i < labels; i++) {
        key->len += clean_value(values[i + 1], key->bytes + key->len);
        key->bytes[key->len++] = KEY_SEPARATOR;
    }
}

static void append_label(struct buf *out, const char *name, struct str value)
{
    buf_printf(out, "%s%s=\"", out->len ? "," : "", name);
    for (size_t i = 0; i < value.len; i++) {
        switch (value.ptr[i]) {
        case '\\':
            buf_append_text(out, "\\\\");
            break;
        case '"':
            buf_append_text(out, "\\\"");
            break;
        case '\n':
            buf_append_text(out, "\\n");
            break;
        default:
            buf_append_char(out, value.ptr[i]);
        }
    }
    buf_append_char(out, '"');
}

static char *render_labels(const struct metric *metric, const struct key *key)
{
    AUTO(buf) struct buf text = BUF((size_t)64 * 1024);
    struct str rest = {key->bytes, key->len};
    size_t labels = label_count(metric);
    for (size_t i = 0; i < labels; i++) {
        append_label(&text, metric->labels[i], str_cut(&rest, KEY_SEPARATOR));
    }
    return buf_detach(&text);
}

static struct series *series_add(struct metric *metric, const struct key *key)
{
    struct metric_series *all = metric->series;
    struct series *series = xcalloc(1, sizeof(*series));
    series->labels = render_labels(metric, key);
    if (metric->bound_count) {
        series->buckets = xcalloc(metric->bound_count, sizeof(*series->buckets));
    }
    series->previous = all->last;
    if (all->last) {
        all->last->next = series;
    } else {
        all->first = series;
    }
    all->last = series;
    (void)map_put(&all->by_key, (struct str){key->bytes, key->len}, series);
    return series;
}

static void series_remove(struct metric *metric, const struct key *key)
{
    struct metric_series *all = metric->series;
    struct series *series = map_remove(&all->by_key, (struct str){key->bytes, key->len});
    if (!series) {
        return;
    }
    *(series->previous ? &series->previous->next : &all->first) = series->next;
    *(series->next ? &series->next->previous : &all->last) = series->previous;
    free(series->labels);
    free(series->buckets);
    free(series);
}

static void register_locked(struct metric *metric)
{
    if (metric->registered) {
        return;
    }
    struct metric **place = &first_metric;
    while (*place && strcmp((*place)->name, metric->name) < 0) {
        place = &(*place)->next;
    }
    metric->next = *place;
    *place = metric;
    metric->series = xcalloc(1, sizeof(*metric->series));
    map_init(&metric->series->by_key);
    metric->registered = true;
    if (label_count(metric) == 0) {
        series_add(metric, &(struct key){.len = 0});
    }
}

/* The series to update, made when it is new; NULL when the metric is full. */
static struct series *series_for_update(struct metric *metric, const char *const *values)
{
    register_locked(metric);
    struct key key;
    make_key(metric, values, &key);
    struct series *series = map_get(&metric->series->by_key, (struct str){key.bytes, key.len});
    if (series) {
        return series;
    }
    if (metric->series->by_key.count < SERIES_MAX) {
        return series_add(metric, &key);
    }
    if (metric != &refused) {
        struct series *count = series_for_update(&refused, (const char *const[]){"", metric->name});
        if (count) {
            count->value += 1;
        }
    }
    return NULL;
}

void metrics_register(struct metric *metric)
{
    pthread_mutex_lock(&value_lock);
    register_locked(metric);
    pthread_mutex_unlock(&value_lock);
}

void metric_add_labeled(struct metric *metric, double amount, const char *const *values)
{
    if (metric->kind == METRIC_KIND_COUNTER && amount < 0) {
        return; /* a counter that falls reads as a restart of the process */
    }
    pthread_mutex_lock(&value_lock);
    struct series *series = series_for_update(metric, values);
    if (series) {
        series->value += amount;
    }
    pthread_mutex_unlock(&value_lock);
}

void metric_set_labeled(struct metric *metric, double value, const char *const *values)
{
    pthread_mutex_lock(&value_lock);
    struct series *series = series_for_update(metric, values);
    if (series) {
        series->value = value;
    }
    pthread_mutex_unlock(&value_lock);
}

void metric_observe_labeled(struct metric *metric, double value, const char *const *values)
{
    pthread_mutex_lock(&value_lock);
    struct series *series = series_for_update(metric, values);
    if (series) {
        series->value += value;
        series->count++;
        size_t bucket = 0;
        while (bucket < metric->bound_count && value > metric->bounds[bucket]) {
            bucket++;
        }
        if (bucket < metric->bound_count) {
            series->buckets[bucket]++;
        }
    }
    pthread_mutex_unlock(&value_lock);
}

void metric_drop_labeled(struct metric *metric, const char *const *values)
{
    pthread_mutex_lock(&value_lock);
    if (metric->registered) {
        struct key key;
        make_key(metric, values, &key);
        series_remove(metric, &key);
    }
    pthread_mutex_unlock(&value_lock);
}

double metric_value_labeled(struct metric *metric, const char *const *values)
{
    double value = 0;
    pthread_mutex_lock(&value_lock);
    if (metric->registered) {
        struct key key;
        make_key(metric, values, &key);
        const struct series *series =
            map_get(&metric->series->by_key, (struct str){key.bytes, key.len});
        if (series) {
            value = metric->kind == METRIC_KIND_HISTOGRAM ? (double)series->count : series->value;
        }
    }
    pthread_mutex_unlock(&value_lock);
    return value;
}

void metrics_on_collect(void (*collect)(void *context), void *context)
{
    pthread_mutex_lock(&collect_lock);
    if (collector_count == COLLECTORS_MAX) {
        fputs("metrics: too many collectors\n", stderr);
        abort();
    }
    collectors[collector_count++] = (struct collector){collect, context};
    pthread_mutex_unlock(&collect_lock);
}

void metrics_off_collect(void (*collect)(void *context), void *context)
{
    pthread_mutex_lock(&collect_lock);
    for (size_t i = 0; i < collector_count; i++) {
        if (collectors[i].collect == collect && collectors[i].context == context) {
            collectors[i] = collectors[--collector_count];
            break;
        }
    }
    pthread_mutex_unlock(&collect_lock);
}

static void append_number(struct buf *out, double value)
{
    if (isnan(value)) {
        buf_append_text(out, "NaN");
        return;
    }
    if (isinf(value)) {
        buf_append_text(out, value > 0 ? "+Inf" : "-Inf");
        return;
    }
    /* The shortest text that reads back as the same number. */
    char text[32];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, value);
        if (strtod(text, NULL) == value) {
            break;
        }
    }
    buf_append_text(out, text);
}

static void append_sample(struct buf *out, const struct metric *metric, const char *suffix,
                          const char *labels, double value)
{
    buf_printf(out, "%s%s", metric->name, suffix);
    if (labels[0]) {
        buf_printf(out, "{%s}", labels);
    }
    buf_append_char(out, ' ');
    append_number(out, value);
    buf_append_char(out, '\n');
}

static void append_bucket(struct buf *out, const struct metric *metric, const struct series *series,
                          double bound, uint64_t count)
{
    buf_printf(out, "%s_bucket{%s%sle=\"", metric->name, series->labels,
               series->labels[0] ? "," : "");
    append_number(out, bound);
    buf_printf(out, "\"} %llu\n", (unsigned long long)count);
}

static void render_histogram(struct buf *out, const struct metric *metric,
                             const struct series *series)
{
    uint64_t below = 0;
    for (size_t i = 0; i < metric->bound_count; i++) {
        below += series->buckets[i];
        append_bucket(out, metric, series, metric->bounds[i], below);
    }
    append_bucket(out, metric, series, (double)INFINITY, series->count);
    append_sample(out, metric, "_sum", series->labels, series->value);
    append_sample(out, metric, "_count", series->labels, (double)series->count);
}

static void render_metric(struct buf *out, const struct metric *metric)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", metric->name, metric->help, metric->name,
               kinds[metric->kind]);
    for (const struct series *series = metric->series->first; series; series = series->next) {
        if (metric->kind == METRIC_KIND_HISTOGRAM) {
            render_histogram(out, metric, series);
        } else {
            append_sample(out, metric, "", series->labels, series->value);
        }
    }
}

bool metrics_render(struct buf *out)
{
    pthread_mutex_lock(&collect_lock);
    for (size_t i = 0; i < collector_count; i++) {
        collectors[i].collect(collectors[i].context);
    }
    pthread_mutex_unlock(&collect_lock);

    pthread_mutex_lock(&value_lock);
    for (const struct metric *metric = first_metric; metric; metric = metric->next) {
        render_metric(out, metric);
    }
    pthread_mutex_unlock(&value_lock);
    return !buf_failed(out);
}
