#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "controller/base/cancel.h"
#include "controller/base/clock.h"
#include "controller/base/metrics.h"
#include "controller/runtime/backend.h"
#include "controller/runtime/queue.h"
#include "tests/check.h"
#include "tests/unit/runtime/eventually.h"

static struct queue *new_queue(void)
{
    const struct queue_config config = {.name = "backend-test"};
    return queue_new(&config);
}

static int enter(struct backend *backend, struct err *err)
{
    struct reconcile rc = {.key = NULL};
    return backend_enter(backend, &rc, err);
}

static int enter_for(struct backend *backend, struct queue *queue, const char *key, struct err *err)
{
    struct reconcile rc = {.key = key, .queue = queue};
    return backend_enter(backend, &rc, err);
}

static void leave_unreachable(struct backend *backend)
{
    struct err err = {0};
    (void)err_set(&err, ERR_RETRY, "Unreachable", "connection refused");
    err_code(&err, "08001");
    backend_leave(backend, true, &err);
}

/* Three operations in a row that do not reach it. */
static void make_unavailable(struct backend *backend)
{
    struct err err;
    for (int i = 0; i < 3; i++) {
        CHECK_OK(enter(backend, &err), &err);
        leave_unreachable(backend);
    }
}

static void slots_are_given_and_taken_back(void **state)
{
    (void)state;
    struct backend *backend = backend_new("b", 2);
    struct err err;
    for (int i = 0; i < 5; i++) {
        CHECK_OK(enter(backend, &err), &err);
        CHECK_OK(enter(backend, &err), &err);
        backend_leave(backend, false, NULL);
        backend_leave(backend, false, NULL);
    }
    backend_free(backend);
}

static void c40_one_without_progress_turns_the_next_away_after_two_seconds(void **state)
{
    (void)state;
    struct backend *backend = backend_new("b", 1);
    struct queue *queue = new_queue();
    struct err err;
    CHECK_OK(enter(backend, &err), &err); /* and hangs */
    int64_t begun_ms = clock_monotonic_ms();
    CHECK_FAILS(enter_for(backend, queue, "acme", &err), &err, ERR_WAIT, "BackendBusy");
    CHECK(clock_monotonic_ms() - begun_ms >= 1900);
    begun_ms = clock_monotonic_ms();
    CHECK_FAILS(enter_for(backend, queue, "other", &err), &err, ERR_WAIT, "BackendBusy");
    CHECK(clock_monotonic_ms() - begun_ms < 1900); /* at once: it is known to hang */
    CHECK(err.retry_after_ms > 0);

    /* A slot that frees wakes them, one a slot, in their order, and each once. */
    CHECK_INT(queue_depth(queue), 0);
    backend_leave(backend, false, NULL);
    CHECK_INT(queue_depth(queue), 1);
    struct queue_item item;
    CHECK(queue_get(queue, &item));
    CHECK_TEXT(item.key, "acme");
    CHECK_OK(enter_for(backend, queue, "acme", &err), &err);
    backend_leave(backend, false, NULL);
    queue_done(queue, &item, QUEUE_FORGET, 0);
    CHECK(queue_get(queue, &item));
    CHECK_TEXT(item.key, "other");
    queue_done(queue, &item, QUEUE_FORGET, 0);
    backend_free(backend);
    queue_free(queue);
}

struct waiting {
    struct backend *backend;
    const struct cancel *cancel;
    atomic_bool entered;
    struct err err;
    int result;
};

static void *enter_thread(void *context)
{
    struct waiting *waiting = context;
    struct reconcile rc = {.call = {.cancel = waiting->cancel}};
    waiting->result = backend_enter(waiting->backend, &rc, &waiting->err);
    atomic_store(&waiting->entered, true);
    return NULL;
}

static void a_waiter_gets_the_slot_that_frees(void **state)
{
    (void)state;
    struct backend *backend = backend_new("b", 1);
    struct err err;
    CHECK_OK(enter(backend, &err), &err);
    struct waiting waiting = {.backend = backend};
    pthread_t thread;
    int64_t begun_ms = clock_monotonic_ms();
    CHECK_INT(pthread_create(&thread, NULL, enter_thread, &waiting), 0);
    pass_ms(20); /* let it wait, which is what this is about; right either way */
    CHECK(!atomic_load(&waiting.entered));
    backend_leave(backend, false, NULL);
    pthread_join(thread, NULL);
    CHECK_OK(waiting.result, &waiting.err);
    CHECK(clock_monotonic_ms() - begun_ms < 1900); /* woken, not timed out */
    backend_leave(backend, false, NULL);
    backend_free(backend);
}

static void canceling_ends_the_wait(void **state)
{
    (void)state;
    struct backend *backend = backend_new("b", 1);
    struct cancel *cancel = cancel_new(NULL);
    struct err err;
    CHECK_OK(enter(backend, &err), &err);
    struct waiting waiting = {.backend = backend, .cancel = cancel};
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, enter_thread, &waiting), 0);
    cancel_trigger(cancel);
    pthread_join(thread, NULL);
    CHECK_FAILS(waiting.result, &waiting.err, ERR_CANCELED, "Canceled");
    backend_leave(backend, false, NULL);
    CHECK_OK(enter(backend, &err), &err); /* no slot was lost to the canceled one */
    backend_leave(backend, false, NULL);
    cancel_free(cancel);
    backend_free(backend);
}

static void c40_three_unreachable_in_a_row_open_the_breaker(void **state)
{
    (void)state;
    struct backend *backend = backend_new("db", 2);
    struct err err;
    CHECK_OK(enter(backend, &err), &err);
    leave_unreachable(backend);
    CHECK_OK(enter(backend, &err), &err);
    leave_unreachable(backend);
    CHECK_OK(enter(backend, &err), &err);
    backend_leave(backend, false, NULL); /* reached: counted from the start again */
    make_unavailable(backend);
    CHECK_FAILS(enter(backend, &err), &err, ERR_RETRY, "Unreachable");
    CHECK_NOT_NULL(strstr(err.message, "connection refused"));
    CHECK(err_has_code(&err, "08001"));
    CHECK(err.retry_after_ms > 0 && err.retry_after_ms <= 1000);
    backend_free(backend);
}

static void a_refused_statement_is_not_unreachable(void **state)
{
    (void)state;
    struct backend *backend = backend_new("db", 2);
    struct err err;
    struct err refused = {0};
    (void)err_set(&refused, ERR_TERMINAL, "NameTaken", "taken");
    for (int i = 0; i < 10; i++) {
        CHECK_OK(enter(backend, &err), &err);
        backend_leave(backend, false, &refused);
    }
    CHECK_OK(enter(backend, &err), &err);
    backend_leave(backend, false, NULL);
    backend_free(backend);
}

static void one_probe_goes_through_and_success_closes_it(void **state)
{
    (void)state;
    struct backend *backend = backend_new("db", 4);
    struct queue *queue = new_queue();
    struct err err;
    make_unavailable(backend);
    CHECK_FAILS(enter_for(backend, queue, "a", &err), &err, ERR_RETRY, "Unreachable");
    CHECK_FAILS(enter_for(backend, queue, "b", &err), &err, ERR_RETRY, "Unreachable");
    CHECK_FAILS(enter_for(backend, queue, "c", &err), &err, ERR_RETRY, "Unreachable");

    /* One of them is called to probe when the time has come. */
    struct queue_item item;
    CHECK(queue_get(queue, &item));
    CHECK_TEXT(item.key, "a");
    CHECK_OK(enter_for(backend, queue, "a", &err), &err);
    CHECK_FAILS(enter_for(backend, queue, "b", &err), &err, ERR_RETRY, "Unreachable");
    CHECK_INT(queue_depth(queue), 0);
    backend_leave(backend, false, NULL);

    /* It answers: whoever waits is woken, and nobody is refused. */
    queue_done(queue, &item, QUEUE_FORGET, 0);
    CHECK(queue_depth(queue) >= 2);
    CHECK_OK(enter_for(backend, queue, "b", &err), &err);
    CHECK_OK(enter_for(backend, queue, "c", &err), &err);
    backend_leave(backend, false, NULL);
    backend_leave(backend, false, NULL);
    backend_free(backend);
    queue_free(queue);
}

static void a_failed_probe_opens_it_for_longer_and_calls_another(void **state)
{
    (void)state;
    struct backend *backend = backend_new("db", 4);
    struct queue *queue = new_queue();
    struct err err;
    make_unavailable(backend);
    CHECK_FAILS(enter_for(backend, queue, "a", &err), &err, ERR_RETRY, "Unreachable");
    CHECK_FAILS(enter_for(backend, queue, "b", &err), &err, ERR_RETRY, "Unreachable");
    struct queue_item item;
    CHECK(queue_get(queue, &item));
    CHECK_OK(enter_for(backend, queue, item.key, &err), &err);
    leave_unreachable(backend);
    queue_done(queue, &item, QUEUE_BACKOFF, 3600000);
    CHECK_FAILS(enter_for(backend, queue, "c", &err), &err, ERR_RETRY, "Unreachable");
    CHECK(err.retry_after_ms > 1000 && err.retry_after_ms <= 2000);
    CHECK(queue_get(queue, &item)); /* another key probes, although the first backs off for long */
    CHECK_TEXT(item.key, "b");
    queue_done(queue, &item, QUEUE_FORGET, 0);
    backend_free(backend);
    queue_free(queue);
}

static void it_shows_in_the_metrics(void **state)
{
    (void)state;
    struct backend *backend = backend_new("shown", 1);
    struct err err;
    make_unavailable(backend);
    CHECK_FAILS(enter(backend, &err), &err, ERR_RETRY, "Unreachable");
    AUTO(buf) struct buf page = BUF(1 << 20);
    CHECK(metrics_render(&page));
    CHECK_NOT_NULL(strstr(buf_text(&page), "tenantry_backend_available{backend=\"shown\"} 0\n"));
    CHECK_NOT_NULL(strstr(buf_text(&page),
                          "tenantry_backend_refused_total{backend=\"shown\",reason=\"Unavailable\"}"
                          " 1\n"));
    CHECK_NOT_NULL(
        strstr(buf_text(&page), "tenantry_backend_operations_in_progress{backend=\"shown\"} 0\n"));
    backend_free(backend);
}

/* ---- many threads on few slots ---- */

enum { LIMIT = 3 };

struct crowd {
    struct backend *backend;
    atomic_int inside;
    atomic_int violations;
    atomic_int entered;
};

static void *hammer(void *context)
{
    struct crowd *crowd = context;
    for (int i = 0; i < 300; i++) {
        struct err err;
        if (enter(crowd->backend, &err) == 0) {
            if (atomic_fetch_add(&crowd->inside, 1) >= LIMIT) {
                atomic_fetch_add(&crowd->violations, 1);
            }
            if (i % 50 == 0) {
                pass_ms(1);
            }
            atomic_fetch_add(&crowd->entered, 1);
            atomic_fetch_sub(&crowd->inside, 1);
            backend_leave(crowd->backend, false, NULL);
        }
    }
    return NULL;
}

static void c40_the_limit_holds_under_load(void **state)
{
    (void)state;
    struct crowd crowd = {.backend = backend_new("b", LIMIT)};
    pthread_t threads[12];
    for (size_t i = 0; i < ARRAY_COUNT(threads); i++) {
        CHECK_INT(pthread_create(&threads[i], NULL, hammer, &crowd), 0);
    }
    for (size_t i = 0; i < ARRAY_COUNT(threads); i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK_INT(atomic_load(&crowd.violations), 0);
    CHECK_INT(atomic_load(&crowd.inside), 0);
    CHECK_INT(atomic_load(&crowd.entered), 300 * 12); /* it made progress all the time */
    backend_free(crowd.backend);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slots_are_given_and_taken_back),
        cmocka_unit_test(c40_one_without_progress_turns_the_next_away_after_two_seconds),
        cmocka_unit_test(a_waiter_gets_the_slot_that_frees),
        cmocka_unit_test(canceling_ends_the_wait),
        cmocka_unit_test(c40_three_unreachable_in_a_row_open_the_breaker),
        cmocka_unit_test(a_refused_statement_is_not_unreachable),
        cmocka_unit_test(one_probe_goes_through_and_success_closes_it),
        cmocka_unit_test(a_failed_probe_opens_it_for_longer_and_calls_another),
        cmocka_unit_test(it_shows_in_the_metrics),
        cmocka_unit_test(c40_the_limit_holds_under_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
