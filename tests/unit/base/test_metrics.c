#include <math.h>
#include <pthread.h>
#include <stdio.h>

#include "controller/base/metrics.h"
#include "tests/check.h"

enum { PAGE_MAX_BYTES = 16 * 1024 * 1024 };

static const double bounds[] = {0.1, 1, 10};

static struct metric plain = METRIC_COUNTER("test_plain_total", "Without labels.");
static struct metric labeled = METRIC_COUNTER("test_labeled_total", "With labels.", "code", "verb");
static struct metric gauge = METRIC_GAUGE("test_gauge", "Goes up and down.", "name");
static struct metric histogram = METRIC_HISTOGRAM("test_seconds", "A histogram.", bounds, "verb");
static struct metric crowded = METRIC_COUNTER("test_crowded_total", "Too many series.", "id");
static struct metric shared = METRIC_COUNTER("test_shared_total", "From many threads.", "id");
static struct metric collected = METRIC_GAUGE("test_collected", "Set by a collector.");

static void page(struct buf *out)
{
    buf_clear(out);
    CHECK(metrics_render(out));
}

static void has(const struct buf *out, const char *line)
{
    if (!strstr(buf_text(out), line)) {
        fail_msg("no \"%s\" in:\n%s", line, buf_text(out));
    }
}

static void registered_metric_is_shown_with_its_zero(void **state)
{
    (void)state;
    AUTO(buf) struct buf out = BUF(PAGE_MAX_BYTES);
    metrics_register(&plain);
    metrics_register(&plain);
    page(&out);
    has(&out, "# HELP test_plain_total Without labels.\n# TYPE test_plain_total counter\n"
              "test_plain_total 0\n");
    metric_add(&plain, 1);
    metric_add(&plain, 2.5);
    metric_add(&plain, -5); /* a counter does not fall */
    page(&out);
    has(&out, "\ntest_plain_total 3.5\n");
    CHECK(metric_value_labeled(&plain, (const char *const[]){""}) == 3.5);
}

static void series_are_told_apart_by_their_labels(void **state)
{
    (void)state;
    AUTO(buf) struct buf out = BUF(PAGE_MAX_BYTES);
    metric_add(&labeled, 1, "200", "GET");
    metric_add(&labeled, 1, "200", "PUT");
    metric_add(&labeled, 1, "200", "GET");
    metric_add(&labeled, 1, "20", "0GET"); /* the same bytes in a row */
    page(&out);
    has(&out, "test_labeled_total{code=\"200\",verb=\"GET\"} 2\n");
    has(&out, "test_labeled_total{code=\"200\",verb=\"PUT\"} 1\n");
    has(&out, "test_labeled_total{code=\"20\",verb=\"0GET\"} 1\n");
}

static void label_values_are_escaped_cut_and_made_valid(void **state)
{
    (void)state;
    AUTO(buf) struct buf out = BUF(PAGE_MAX_BYTES);
    char long_value[300];
    memset(long_value, 'x', sizeof(long_value));
    long_value[sizeof(long_value) - 1] = '\0';
    metric_set(&gauge, 1, "a\"b\\c\nd");
    metric_set(&gauge, 2, "bad\xff!");
    metric_set(&gauge, 3, long_value);
    metric_set(&gauge, 4, "");
    page(&out);
    has(&out, "test_gauge{name=\"a\\\"b\\\\c\\nd\"} 1\n");
    has(&out, "test_gauge{name=\"bad?!\"} 2\n");
    has(&out, "x\"} 3\n");
    has(&out, "test_gauge{name=\"\"} 4\n");
    CHECK_NULL(strstr(buf_text(&out), long_value));
}

static void gauge_shows_any_number(void **state)
{
    (void)state;
    AUTO(buf) struct buf out = BUF(PAGE_MAX_BYTES);
    static const struct {
        double value;
        const char *line;
    } cases[] = {
        {0.1, "test_gauge{name=\"n\"} 0.1\n"},
        {-3, "test_gauge{name=\"n\"} -3\n"},
        {1e15 + 1, "test_gauge{name=\"n\"} 1000000000000001\n"},
        {1.0 / 3, "test_gauge{name=\"n\"} 0.3333333333333333\n"},
        {(double)INFINITY, "test_gauge{name=\"n\"} +Inf\n"},
        {-(double)INFINITY, "test_gauge{name=\"n\"} -Inf\n"},
        {(double)NAN, "test_gauge{name=\"n\"} NaN\n"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        metric_set(&gauge, cases[i].value, "n");
        page(&out);
        has(&out, cases[i].line);
    }
    metric_set(&gauge, 5, "n");
    metric_add(&gauge, -7, "n");
    page(&out);
    has(&out, "test_gauge{name=\"n\"} -2\n");
}

static void histogram_counts_are_cumulative(void **state)
{
    (void)state;
    AUTO(buf) struct buf out = BUF(PAGE_MAX_BYTES);
    static const double values[] = {0.05, 0.1, 0.5, 10, 11};
    for (size_t i = 0; i < ARRAY_COUNT(values); i++) {
        metric_observe(&histogram, values[i], "GET");
    }
    page(&out);
    has(&out, "# TYPE test_seconds histogram\n"
              "test_seconds_bucket{verb=\"GET\",le=\"0.1\"} 2\n"
              "test_seconds_bucket{verb=\"GET\",le=\"1\"} 3\n"
              "test_seconds_bucket{verb=\"GET\",le=\"10\"} 4\n"
              "test_seconds_bucket{verb=\"GET\",le=\"+Inf\"} 5\n"
              "test_seconds_sum{verb=\"GET\"} 21.65\n"
              "test_seconds_count{verb=\"GET\"} 5\n");
    CHECK(metric_value_labeled(&histogram, (const char *const[]){"", "GET"}) == 5);
}

static void dropped_series_is_gone_and_can_come_again(void **state)
{
    (void)state;
    AUTO(buf) struct buf out = BUF(PAGE_MAX_BYTES);
    metric_set(&gauge, 1, "one");
    metric_set(&gauge, 2, "two");
    metric_set(&gauge, 3, "three");
    metric_drop(&gauge, "two");
    metric_drop(&gauge, "never was");
    page(&out);
    CHECK_NULL(strstr(buf_text(&out), "name=\"two\""));
    has(&out, "test_gauge{name=\"one\"} 1\ntest_gauge{name=\"three\"} 3\n");
    metric_add(&gauge, 7, "two");
    CHECK(metric_value_labeled(&gauge, (const char *const[]){"", "two"}) == 7);
    metric_drop(&gauge, "one");
    metric_drop(&gauge, "two");
    metric_drop(&gauge, "three");
    CHECK(metric_value_labeled(&gauge, (const char *const[]){"", "two"}) == 0);
}

static void too_many_series_are_refused_and_counted(void **state)
{
    (void)state;
    AUTO(buf) struct buf out = BUF(PAGE_MAX_BYTES);
    char id[16];
    for (int i = 0; i < 10005; i++) {
        snprintf(id, sizeof(id), "%d", i);
        metric_add(&crowded, 1, id);
    }
    metric_add(&crowded, 1, "0"); /* those that are there go on */
    CHECK(metric_value_labeled(&crowded, (const char *const[]){"", "0"}) == 2);
    CHECK(metric_value_labeled(&crowded, (const char *const[]){"", "9999"}) == 1);
    CHECK(metric_value_labeled(&crowded, (const char *const[]){"", "10000"}) == 0);
    page(&out);
    has(&out, "tenantry_metrics_series_refused_total{metric=\"test_crowded_total\"} 5\n");
    for (int i = 0; i < 10000; i++) {
        snprintf(id, sizeof(id), "%d", i);
        metric_drop(&crowded, id);
    }
}

static void metrics_stand_in_the_order_of_their_names(void **state)
{
    (void)state;
    AUTO(buf) struct buf out = BUF(PAGE_MAX_BYTES);
    page(&out);
    const char *first = strstr(buf_text(&out), "# TYPE test_labeled_total");
    const char *second = strstr(buf_text(&out), "# TYPE test_plain_total");
    CHECK(first && second && first < second);
}

static void collect(void *context)
{
    metric_set(&collected, *(const int *)context);
}

static void collectors_run_before_each_page(void **state)
{
    (void)state;
    AUTO(buf) struct buf out = BUF(PAGE_MAX_BYTES);
    int value = 41;
    metrics_on_collect(collect, &value);
    page(&out);
    has(&out, "\ntest_collected 41\n");
    value = 42;
    page(&out);
    has(&out, "\ntest_collected 42\n");
    metrics_off_collect(collect, &value);
    value = 43;
    page(&out);
    has(&out, "\ntest_collected 42\n");
}

static void page_that_does_not_fit_is_a_failure(void **state)
{
    (void)state;
    AUTO(buf) struct buf out = BUF(100);
    CHECK(!metrics_render(&out));
}

enum { THREADS = 8, ADDITIONS = 2000 };

static void *add_often(void *context)
{
    char id[16];
    snprintf(id, sizeof(id), "%d", *(const int *)context % 2);
    for (int i = 0; i < ADDITIONS; i++) {
        metric_add(&shared, 1, id);
    }
    return NULL;
}

static void nothing_is_lost_between_threads(void **state)
{
    (void)state;
    AUTO(buf) struct buf out = BUF(PAGE_MAX_BYTES);
    pthread_t threads[THREADS];
    int numbers[THREADS];
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        CHECK_INT(pthread_create(&threads[i], NULL, add_often, &numbers[i]), 0);
    }
    page(&out);
    for (int i = 0; i < THREADS; i++) {
        CHECK_INT(pthread_join(threads[i], NULL), 0);
    }
    const double each = THREADS * ADDITIONS / 2.0;
    CHECK(metric_value_labeled(&shared, (const char *const[]){"", "0"}) == each);
    CHECK(metric_value_labeled(&shared, (const char *const[]){"", "1"}) == each);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(registered_metric_is_shown_with_its_zero),
        cmocka_unit_test(series_are_told_apart_by_their_labels),
        cmocka_unit_test(label_values_are_escaped_cut_and_made_valid),
        cmocka_unit_test(gauge_shows_any_number),
        cmocka_unit_test(histogram_counts_are_cumulative),
        cmocka_unit_test(dropped_series_is_gone_and_can_come_again),
        cmocka_unit_test(too_many_series_are_refused_and_counted),
        cmocka_unit_test(metrics_stand_in_the_order_of_their_names),
        cmocka_unit_test(collectors_run_before_each_page),
        cmocka_unit_test(page_that_does_not_fit_is_a_failure),
        cmocka_unit_test(nothing_is_lost_between_threads),
    };
    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
