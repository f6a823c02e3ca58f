#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "controller/base/js.h"
#include "controller/base/metrics.h"
#include "controller/runtime/queue.h"
#include "tests/check.h"
#include "tests/unit/runtime/eventually.h"

static struct queue *new_queue(void)
{
    const struct queue_config config = {.name = "test"};
    return queue_new(&config);
}

/* The next key, which must be there already; the caller ends its run. */
static struct queue_item get(struct queue *queue)
{
    struct queue_item item;
    CHECK(queue_get(queue, &item));
    return item;
}

static void run(struct queue *queue, const char *expected_key)
{
    struct queue_item item = get(queue);
    CHECK_TEXT(item.key, expected_key);
    queue_done(queue, &item, QUEUE_FORGET, 0);
    CHECK_NULL(item.key);
}

static void c34_repeated_adds_collapse(void **state)
{
    (void)state;
    struct queue *queue = new_queue();
    for (int i = 0; i < 100; i++) {
        queue_add(queue, "a", QUEUE_NORMAL);
    }
    CHECK_INT(queue_depth(queue), 1);
    run(queue, "a");
    CHECK_INT(queue_depth(queue), 0);
    queue_free(queue);
}

static void keys_of_one_priority_are_first_in_first_out(void **state)
{
    (void)state;
    struct queue *queue = new_queue();
    queue_add(queue, "c", QUEUE_NORMAL);
    queue_add(queue, "a", QUEUE_NORMAL);
    queue_add(queue, "b", QUEUE_NORMAL);
    queue_add(queue, "c", QUEUE_NORMAL);
    run(queue, "c");
    run(queue, "a");
    run(queue, "b");
    queue_free(queue);
}

static void c34_a_key_added_while_it_runs_runs_once_more(void **state)
{
    (void)state;
    struct queue *queue = new_queue();
    queue_add(queue, "a", QUEUE_NORMAL);
    struct queue_item item = get(queue);
    queue_add(queue, "a", QUEUE_NORMAL);
    queue_add(queue, "a", QUEUE_NORMAL);
    CHECK_INT(queue_depth(queue), 0); /* not to a second worker */
    queue_done(queue, &item, QUEUE_FORGET, 0);
    run(queue, "a");
    CHECK_INT(queue_depth(queue), 0);
    queue_free(queue);
}

static void c36_an_add_during_a_failing_run_goes_before_its_backoff(void **state)
{
    (void)state;
    struct queue *queue = new_queue();
    queue_add(queue, "a", QUEUE_NORMAL);
    struct queue_item item = get(queue);
    queue_add(queue, "a", QUEUE_NORMAL);
    queue_done(queue, &item, QUEUE_BACKOFF, 3600000);
    item = get(queue);
    CHECK_INT(item.failures, 1);
    CHECK(!item.by_timer);
    queue_done(queue, &item, QUEUE_FORGET, 0);
    queue_free(queue);
}

static void c38_higher_priority_goes_first_and_wins(void **state)
{
    (void)state;
    struct queue *queue = new_queue();
    queue_add(queue, "low", QUEUE_LOW);
    queue_add(queue, "raised", QUEUE_LOW);
    queue_add(queue, "normal", QUEUE_NORMAL);
    queue_add(queue, "high", QUEUE_HIGH);
    queue_add(queue, "raised", QUEUE_HIGH);
    queue_add(queue, "high", QUEUE_LOW); /* does not lower it */
    run(queue, "high");
    run(queue, "raised");
    run(queue, "normal");
    run(queue, "low");
    queue_free(queue);
}

static void c38_a_low_key_does_not_starve_under_a_flood(void **state)
{
    (void)state;
    struct queue *queue = new_queue();
    queue_add(queue, "starving", QUEUE_LOW);
    bool found = false;
    for (int i = 0; i < 10 && !found; i++) {
        queue_add(queue, "x", QUEUE_HIGH);
        queue_add(queue, "y", QUEUE_HIGH);
        struct queue_item item = get(queue);
        found = strcmp(item.key, "starving") == 0;
        queue_done(queue, &item, QUEUE_FORGET, 0);
    }
    CHECK(found);
    queue_free(queue);
}

static void c38_at_least_a_tenth_of_the_runs_are_by_age(void **state)
{
    (void)state;
    struct queue *queue = new_queue();
    char key[32];
    for (int i = 0; i < 100; i++) {
        (void)snprintf(key, sizeof(key), "low-%d", i);
        queue_add(queue, key, QUEUE_LOW);
    }
    int low = 0;
    for (int i = 0; i < 200; i++) {
        queue_add(queue, i % 2 ? "x" : "y", QUEUE_HIGH);
        struct queue_item item = get(queue);
        low += item.priority == QUEUE_LOW;
        queue_done(queue, &item, QUEUE_FORGET, 0);
    }
    CHECK_INT(low, 20);
    queue_free(queue);
}

static void a_delay_is_kept_and_told(void **state)
{
    (void)state;
    struct queue *queue = new_queue();
    int64_t begun_ms = clock_monotonic_ms();
    queue_add_after(queue, "a", 60, QUEUE_NORMAL);
    CHECK_INT(queue_depth(queue), 0);
    struct queue_item item = get(queue);
    CHECK(clock_monotonic_ms() - begun_ms >= 60);
    CHECK(item.by_timer);
    queue_done(queue, &item, QUEUE_FORGET, 0);
    queue_free(queue);
}

static void c36_an_event_does_not_wait_for_a_delay(void **state)
{
    (void)state;
    struct queue *queue = new_queue();
    queue_add(queue, "a", QUEUE_NORMAL);
    struct queue_item item = get(queue);
    queue_done(queue, &item, QUEUE_BACKOFF, 3600000);
    CHECK_INT(queue_depth(queue), 0);
    queue_add(queue, "a", QUEUE_NORMAL);
    item = get(queue);
    CHECK(!item.by_timer);
    CHECK_INT(item.failures, 1); /* an event does not forgive */
    queue_done(queue, &item, QUEUE_FORGET, 0);
    queue_free(queue);
}

static void c36_the_earlier_of_two_delays_counts(void **state)
{
    (void)state;
    struct queue *queue = new_queue();
    queue_add_after(queue, "a", 3600000, QUEUE_NORMAL);
    queue_add_after(queue, "a", 20, QUEUE_NORMAL);
    queue_add_after(queue, "b", 20, QUEUE_NORMAL);
    queue_add_after(queue, "b", 3600000, QUEUE_NORMAL);
    struct queue_item first = get(queue);
    struct queue_item second = get(queue);
    queue_done(queue, &first, QUEUE_FORGET, 0);
    queue_done(queue, &second, QUEUE_FORGET, 0);
    queue_free(queue);
}

static void a_delay_asked_for_during_a_run_starts_then(void **state)
{
    (void)state;
    struct queue *queue = new_queue();
    queue_add(queue, "a", QUEUE_NORMAL);
    struct queue_item item = get(queue);
    queue_add_after(queue, "a", 20, QUEUE_NORMAL);
    queue_done(queue, &item, QUEUE_BACKOFF, 3600000); /* the other timer is earlier */
    item = get(queue);
    CHECK(item.by_timer);
    queue_done(queue, &item, QUEUE_FORGET, 0);
    queue_free(queue);
}

static void c39_forget_with_a_time_comes_back_with_low_priority(void **state)
{
    (void)state;
    struct queue *queue = new_queue();
    queue_add(queue, "a", QUEUE_HIGH);
    struct queue_item item = get(queue);
    queue_done(queue, &item, QUEUE_FORGET, 10);
    item = get(queue);
    CHECK_INT(item.priority, QUEUE_LOW);
    CHECK_INT(item.failures, 0);
    CHECK(item.by_timer);
    queue_done(queue, &item, QUEUE_FORGET, 0);
    queue_free(queue);
}

static void keep_leaves_the_failures_alone(void **state)
{
    (void)state;
    struct queue *queue = new_queue();
    queue_add(queue, "a", QUEUE_NORMAL);
    struct queue_item item = get(queue);
    queue_done(queue, &item, QUEUE_BACKOFF, 0);
    item = get(queue);
    CHECK_INT(item.failures, 1);
    queue_done(queue, &item, QUEUE_KEEP, 1);
    item = get(queue);
    CHECK_INT(item.failures, 1);
    queue_done(queue, &item, QUEUE_KEEP, 0); /* at once */
    item = get(queue);
    queue_done(queue, &item, QUEUE_FORGET, 0);
    queue_free(queue);
}

/* The time of the next run of the only delayed key, from the debug page. */
static int64_t next_run_in_ms(struct queue *queue)
{
    AUTO(buf) struct buf out = BUF(65536);
    queue_describe(queue, &out);
    json_t *page = NULL;
    struct err err;
    CHECK_OK(js_parse(buf_str(&out), 65536, &page, &err), &err);
    int64_t result = js_int_or(page, "/keys/0/next_run_in_ms", -1);
    json_decref(page);
    return result;
}

static void c35_backoff_doubles_from_its_base_up_to_its_cap(void **state)
{
    (void)state;
    const struct queue_config config = {
        .name = "test", .backoff_base_ms = 1000, .backoff_max_ms = 60000};
    struct queue *queue = queue_new(&config);
    static const int64_t expected_ms[] = {1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000};
    for (size_t i = 0; i < ARRAY_COUNT(expected_ms); i++) {
        queue_add(queue, "a", QUEUE_NORMAL);
        struct queue_item item = get(queue);
        CHECK_INT(item.failures, i);
        queue_done(queue, &item, QUEUE_BACKOFF, 0);
        int64_t in_ms = next_run_in_ms(queue);
        CHECK(in_ms > expected_ms[i] - 500 && in_ms <= expected_ms[i] + expected_ms[i] / 10);
    }
    /* What the server asks for is a floor, also above the cap. */
    queue_add(queue, "a", QUEUE_NORMAL);
    struct queue_item item = get(queue);
    queue_done(queue, &item, QUEUE_BACKOFF, 100000);
    CHECK(next_run_in_ms(queue) > 99000);
    queue_free(queue);
}

static void absurd_delays_do_not_overflow(void **state)
{
    (void)state;
    struct queue *queue = new_queue();
    queue_add_after(queue, "a", INT64_MAX, QUEUE_NORMAL);
    CHECK(next_run_in_ms(queue) > INT64_C(3600000));
    queue_add(queue, "a", QUEUE_NORMAL);
    struct queue_item item = get(queue);
    queue_done(queue, &item, QUEUE_BACKOFF, INT64_MAX);
    CHECK(next_run_in_ms(queue) > INT64_C(3600000));
    queue_free(queue);
}

static void *expect_shutdown(void *context)
{
    struct queue_item item;
    return queue_get(context, &item) ? context : NULL;
}

static void c38_shutdown_wakes_every_waiter(void **state)
{
    (void)state;
    enum { WAITERS = 8 };
    struct queue *queue = new_queue();
    pthread_t threads[WAITERS];
    queue_add_after(queue, "later", 3600000, QUEUE_NORMAL); /* one of them keeps the time */
    for (int i = 0; i < WAITERS; i++) {
        CHECK_INT(pthread_create(&threads[i], NULL, expect_shutdown, queue), 0);
    }
    queue_shutdown(queue);
    for (int i = 0; i < WAITERS; i++) {
        void *got = queue;
        pthread_join(threads[i], &got);
        CHECK_NULL(got);
    }
    queue_free(queue);
}

static void after_shutdown_nothing_is_handed_out_and_done_is_fine(void **state)
{
    (void)state;
    struct queue *queue = new_queue();
    queue_add(queue, "running", QUEUE_NORMAL);
    queue_add(queue, "ready", QUEUE_NORMAL);
    struct queue_item item = get(queue);
    queue_shutdown(queue);
    queue_add(queue, "late", QUEUE_NORMAL);
    queue_add_after(queue, "later", 1, QUEUE_NORMAL);
    queue_done(queue, &item, QUEUE_BACKOFF, 0);
    struct queue_item none;
    CHECK(!queue_get(queue, &none));
    CHECK_INT(queue_depth(queue), 1);
    queue_free(queue);
}

/* ---- many threads ---- */

enum { KEYS = 20 };

struct crowd {
    struct queue *queue;
    int key_count;
    int producer_rounds;
    int timer_percent;
    bool forgets;             /* no key comes back by itself, which could hide a lost wish */
    atomic_int wanted[KEYS];  /* version that was asked for last */
    atomic_int done[KEYS];    /* version that the last run saw */
    atomic_int running[KEYS]; /* how many workers hold it: never 2 */
    atomic_int overlaps;
    atomic_int runs;
};

static int key_index(const char *key)
{
    return (int)strtol(key + 1, NULL, 10);
}

static uint32_t next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;
    return *state;
}

static void *consume(void *context)
{
    struct crowd *crowd = context;
    uint32_t random = (uint32_t)(uintptr_t)&random | 1U;
    struct queue_item item;
    while (queue_get(crowd->queue, &item)) {
        int i = key_index(item.key);
        if (atomic_fetch_add(&crowd->running[i], 1) != 0) {
            atomic_fetch_add(&crowd->overlaps, 1);
        }
        int seen = atomic_load(&crowd->wanted[i]);
        atomic_store(&crowd->done[i], seen);
        atomic_fetch_add(&crowd->runs, 1);
        atomic_fetch_sub(&crowd->running[i], 1);
        switch (crowd->forgets ? 3 : next_random(&random) % 4) {
        case 0:
            queue_done(crowd->queue, &item, QUEUE_BACKOFF, 0);
            break;
        case 1:
            queue_done(crowd->queue, &item, QUEUE_KEEP, 1);
            break;
        case 2:
            queue_done(crowd->queue, &item, QUEUE_FORGET, 2);
            break;
        default:
            queue_done(crowd->queue, &item, QUEUE_FORGET, 0);
        }
    }
    return NULL;
}

static void *produce(void *context)
{
    struct crowd *crowd = context;
    uint32_t random = (uint32_t)(uintptr_t)&random | 1U;
    for (int round = 0; round < crowd->producer_rounds; round++) {
        int i = (int)(next_random(&random) % (uint32_t)crowd->key_count);
        char key[32];
        (void)snprintf(key, sizeof(key), "k%d", i);
        atomic_fetch_add(&crowd->wanted[i], 1);
        enum queue_priority priority =
            (enum queue_priority)(next_random(&random) % QUEUE_PRIORITY_COUNT);
        if ((int)(next_random(&random) % 100) < crowd->timer_percent) {
            queue_add_after(crowd->queue, key, (int64_t)(next_random(&random) % 5), priority);
        } else {
            queue_add(crowd->queue, key, priority);
        }
    }
    return NULL;
}

static bool all_done(struct crowd *crowd)
{
    for (int i = 0; i < crowd->key_count; i++) {
        if (atomic_load(&crowd->wanted[i]) != atomic_load(&crowd->done[i])) {
            return false;
        }
    }
    return true;
}

static void run_crowd(struct crowd *crowd, int producers, int consumers)
{
    pthread_t threads[16];
    int count = 0;
    crowd->queue = new_queue();
    for (int i = 0; i < consumers; i++) {
        CHECK_INT(pthread_create(&threads[count++], NULL, consume, crowd), 0);
    }
    int first_producer = count;
    for (int i = 0; i < producers; i++) {
        CHECK_INT(pthread_create(&threads[count++], NULL, produce, crowd), 0);
    }
    for (int i = first_producer; i < count; i++) {
        pthread_join(threads[i], NULL);
    }
    EVENTUALLY(all_done(crowd)); /* no wish is lost, however threads interleave */
    queue_shutdown(crowd->queue);
    for (int i = 0; i < first_producer; i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK_INT(atomic_load(&crowd->overlaps), 0);
    queue_free(crowd->queue);
}

static void c34_no_key_is_lost_or_run_twice_at_once(void **state)
{
    (void)state;
    struct crowd crowd = {.key_count = KEYS, .producer_rounds = 20000, .timer_percent = 30};
    run_crowd(&crowd, 4, 6);
    CHECK(atomic_load(&crowd.runs) > KEYS);
}

static void c34_few_keys_and_many_workers_never_overlap(void **state)
{
    (void)state;
    struct crowd crowd = {
        .key_count = 2, .producer_rounds = 20000, .timer_percent = 10, .forgets = true};
    run_crowd(&crowd, 3, 8);
}

static void short_bursts_wake_enough_workers(void **state)
{
    (void)state;
    for (int i = 0; i < 200; i++) {
        struct crowd crowd = {
            .key_count = KEYS, .producer_rounds = 15, .timer_percent = 50, .forgets = true};
        run_crowd(&crowd, 2, 4);
    }
}

static void timers_alone_wake_idle_workers(void **state)
{
    (void)state;
    struct crowd crowd = {
        .key_count = KEYS, .producer_rounds = 300, .timer_percent = 100, .forgets = true};
    run_crowd(&crowd, 1, 4);
}

/* ---- waking: each key of these tests runs until all that are to run are running ---- */

struct meeting {
    struct queue *queue;
    int size; /* how many must be there at once */
    atomic_int present;
    atomic_int over; /* runs that ended */
};

static void *meet(void *context)
{
    struct meeting *meeting = context;
    struct queue_item item;
    while (queue_get(meeting->queue, &item)) {
        int64_t end_ms = clock_monotonic_ms() + EVENTUALLY_MS / 2;
        atomic_fetch_add(&meeting->present, 1);
        while (atomic_load(&meeting->present) < meeting->size && clock_monotonic_ms() < end_ms) {
            pass_ms(1);
        }
        atomic_fetch_add(&meeting->over, 1);
        queue_done(meeting->queue, &item, QUEUE_FORGET, 0);
    }
    return NULL;
}

/* Two workers, idle; then what `ask` wants must bring both to work at once. */
static void two_meet(void (*ask)(struct queue *queue))
{
    struct meeting meeting = {.queue = new_queue(), .size = 2};
    pthread_t workers[2];
    for (int i = 0; i < 2; i++) {
        CHECK_INT(pthread_create(&workers[i], NULL, meet, &meeting), 0);
    }
    pass_ms(5); /* they fall asleep, most likely; what follows must hold either way */
    int64_t begun_ms = clock_monotonic_ms();
    ask(meeting.queue);
    EVENTUALLY(atomic_load(&meeting.over) == 2);
    CHECK(clock_monotonic_ms() - begun_ms < EVENTUALLY_MS / 2); /* nobody waited in vain */
    queue_shutdown(meeting.queue);
    for (int i = 0; i < 2; i++) {
        pthread_join(workers[i], NULL);
    }
    queue_free(meeting.queue);
}

static void ask_for_two(struct queue *queue)
{
    queue_add(queue, "a", QUEUE_NORMAL);
    queue_add(queue, "b", QUEUE_NORMAL);
}

static void ask_for_two_beside_a_timer(struct queue *queue)
{
    queue_add_after(queue, "never", 3600000, QUEUE_NORMAL);
    pass_ms(5); /* now one of them keeps the time */
    ask_for_two(queue);
}

static void ask_for_two_timers(struct queue *queue)
{
    queue_add_after(queue, "a", 5, QUEUE_NORMAL);
    queue_add_after(queue, "b", 20, QUEUE_NORMAL);
}

static void ask_for_two_timers_at_once(struct queue *queue)
{
    queue_add_after(queue, "never", 3600000, QUEUE_NORMAL);
    pass_ms(5);
    queue_add_after(queue, "a", 10, QUEUE_NORMAL);
    queue_add_after(queue, "b", 10, QUEUE_NORMAL);
}

static void every_key_that_is_ready_wakes_a_worker(void **state)
{
    (void)state;
    for (int i = 0; i < 40; i++) {
        two_meet(ask_for_two);
        two_meet(ask_for_two_beside_a_timer);
    }
}

static void every_timer_that_ends_wakes_a_worker(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        two_meet(ask_for_two_timers);
        two_meet(ask_for_two_timers_at_once);
    }
}

static void *thousand_updates_a_second(void *context)
{
    struct crowd *crowd = context;
    int64_t begun_us = clock_monotonic_us();
    for (int i = 0; i < 1000; i++) {
        atomic_fetch_add(&crowd->wanted[0], 1);
        queue_add(crowd->queue, "k0", QUEUE_NORMAL);
        while (clock_monotonic_us() < begun_us + INT64_C(1000) * (i + 1)) {
            pass_ms(1);
        }
    }
    return NULL;
}

static void *reconcile_slowly(void *context)
{
    struct crowd *crowd = context;
    struct queue_item item;
    while (queue_get(crowd->queue, &item)) {
        if (atomic_fetch_add(&crowd->running[0], 1) != 0) {
            atomic_fetch_add(&crowd->overlaps, 1);
        }
        int seen = atomic_load(&crowd->wanted[0]);
        pass_ms(5);
        atomic_store(&crowd->done[0], seen);
        atomic_fetch_add(&crowd->runs, 1);
        atomic_fetch_sub(&crowd->running[0], 1);
        queue_done(crowd->queue, &item, QUEUE_FORGET, 0);
    }
    return NULL;
}

static void c34_a_thousand_updates_a_second_of_one_key_stay_one_worker(void **state)
{
    (void)state;
    enum { WORKERS = 8 };
    struct crowd crowd = {.key_count = 1};
    crowd.queue = new_queue();
    pthread_t workers[WORKERS];
    pthread_t producer;
    for (int i = 0; i < WORKERS; i++) {
        CHECK_INT(pthread_create(&workers[i], NULL, reconcile_slowly, &crowd), 0);
    }
    CHECK_INT(pthread_create(&producer, NULL, thousand_updates_a_second, &crowd), 0);
    pthread_join(producer, NULL);
    EVENTUALLY(all_done(&crowd));
    queue_shutdown(crowd.queue);
    for (int i = 0; i < WORKERS; i++) {
        pthread_join(workers[i], NULL);
    }
    CHECK_INT(atomic_load(&crowd.overlaps), 0);
    CHECK(atomic_load(&crowd.runs) >= 2);
    CHECK(atomic_load(&crowd.runs) <= 300); /* updates that come during a run are merged */
    queue_free(crowd.queue);
}

/* ---- what is shown ---- */

static bool page_has(const struct buf *page, const char *line)
{
    return strstr(buf_text(page), line) != NULL;
}

static void metrics_bear_the_names_that_dashboards_know(void **state)
{
    (void)state;
    const struct queue_config config = {.name = "shown"};
    struct queue *queue = queue_new(&config);
    queue_add(queue, "a", QUEUE_LOW);
    queue_add(queue, "b", QUEUE_NORMAL);
    queue_add(queue, "c", QUEUE_NORMAL);
    struct queue_item item = get(queue);
    queue_done(queue, &item, QUEUE_BACKOFF, 3600000);
    item = get(queue);

    AUTO(buf) struct buf page = BUF(1 << 20);
    CHECK(metrics_render(&page));
#define LABELS "name=\"shown\",controller=\"shown\""
    CHECK(page_has(&page, "workqueue_depth{" LABELS ",priority=\"-100\"} 1\n"));
    CHECK(page_has(&page, "workqueue_depth{" LABELS ",priority=\"0\"} 0\n"));
    CHECK(page_has(&page, "workqueue_adds_total{" LABELS "} 3\n"));
    CHECK(page_has(&page, "workqueue_retries_total{" LABELS "} 1\n"));
    CHECK(page_has(&page, "workqueue_queue_duration_seconds_count{" LABELS "} 2\n"));
    CHECK(page_has(&page, "workqueue_queue_duration_seconds_bucket{" LABELS ",le=\"1e-08\"}"));
    CHECK(page_has(&page, "workqueue_queue_duration_seconds_bucket{" LABELS ",le=\"1000\"} 2\n"));
    CHECK(page_has(&page, "workqueue_work_duration_seconds_count{" LABELS "} 1\n"));
    CHECK(page_has(&page, "workqueue_unfinished_work_seconds{" LABELS "} "));
    CHECK(page_has(&page, "workqueue_longest_running_processor_seconds{" LABELS "} "));
#undef LABELS
    queue_done(queue, &item, QUEUE_FORGET, 0);
    queue_free(queue);
}

static void the_debug_page_tells_each_state(void **state)
{
    (void)state;
    struct queue *queue = new_queue();
    queue_add(queue, "running", QUEUE_HIGH);
    struct queue_item item = get(queue);
    queue_add(queue, "ready \"quoted\"", QUEUE_LOW);
    queue_add_after(queue, "delayed", 3600000, QUEUE_NORMAL);
    for (int i = 0; i < 200; i++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "more-%d", i);
        queue_add_after(queue, key, 7200000, QUEUE_NORMAL);
    }
    AUTO(buf) struct buf out = BUF(1 << 20);
    queue_describe(queue, &out);
    json_t *page = NULL;
    struct err err;
    CHECK_OK(js_parse(buf_str(&out), 1 << 20, &page, &err), &err);
    CHECK_TEXT(js_text_or(page, "/name", ""), "test");
    CHECK_INT(js_int_or(page, "/running", -1), 1);
    CHECK_INT(js_int_or(page, "/ready/low", -1), 1);
    CHECK_INT(js_int_or(page, "/delayed", -1), 201);
    CHECK_TEXT(js_text_or(page, "/keys/0/key", ""), "running");
    CHECK_TEXT(js_text_or(page, "/keys/0/state", ""), "running");
    CHECK_TEXT(js_text_or(page, "/keys/1/key", ""), "ready \"quoted\"");
    CHECK_TEXT(js_text_or(page, "/keys/2/key", ""), "delayed");
    CHECK_INT(json_array_size(js_at(page, "/keys")), 100);
    json_decref(page);
    queue_done(queue, &item, QUEUE_FORGET, 0);
    queue_free(queue);
}

int main(void)
{
    js_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(c34_repeated_adds_collapse),
        cmocka_unit_test(keys_of_one_priority_are_first_in_first_out),
        cmocka_unit_test(c34_a_key_added_while_it_runs_runs_once_more),
        cmocka_unit_test(c36_an_add_during_a_failing_run_goes_before_its_backoff),
        cmocka_unit_test(c38_higher_priority_goes_first_and_wins),
        cmocka_unit_test(c38_a_low_key_does_not_starve_under_a_flood),
        cmocka_unit_test(c38_at_least_a_tenth_of_the_runs_are_by_age),
        cmocka_unit_test(a_delay_is_kept_and_told),
        cmocka_unit_test(c36_an_event_does_not_wait_for_a_delay),
        cmocka_unit_test(c36_the_earlier_of_two_delays_counts),
        cmocka_unit_test(a_delay_asked_for_during_a_run_starts_then),
        cmocka_unit_test(c39_forget_with_a_time_comes_back_with_low_priority),
        cmocka_unit_test(keep_leaves_the_failures_alone),
        cmocka_unit_test(c35_backoff_doubles_from_its_base_up_to_its_cap),
        cmocka_unit_test(absurd_delays_do_not_overflow),
        cmocka_unit_test(c38_shutdown_wakes_every_waiter),
        cmocka_unit_test(after_shutdown_nothing_is_handed_out_and_done_is_fine),
        cmocka_unit_test(c34_no_key_is_lost_or_run_twice_at_once),
        cmocka_unit_test(c34_few_keys_and_many_workers_never_overlap),
        cmocka_unit_test(short_bursts_wake_enough_workers),
        cmocka_unit_test(timers_alone_wake_idle_workers),
        cmocka_unit_test(every_key_that_is_ready_wakes_a_worker),
        cmocka_unit_test(every_timer_that_ends_wakes_a_worker),
        cmocka_unit_test(c34_a_thousand_updates_a_second_of_one_key_stay_one_worker),
        cmocka_unit_test(metrics_bear_the_names_that_dashboards_know),
        cmocka_unit_test(the_debug_page_tells_each_state),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
