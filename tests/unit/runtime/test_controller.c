#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "controller/base/attributes.h"
#include "controller/base/cancel.h"
#include "controller/base/clock.h"
#include "controller/base/log.h"
#include "controller/base/metrics.h"
#include "controller/runtime/controller.h"
#include "tests/check.h"
#include "tests/unit/runtime/eventually.h"

/* What the reconcile function of these tests does, and what it saw. */
struct script {
    struct outcome (*answer)(struct script *script, struct reconcile *rc, int run);
    atomic_int runs;
    atomic_int inside;
    atomic_int most_inside;
    atomic_bool hold;
    atomic_int drift_checks;
    atomic_int odd;
};

static struct outcome reconcile(struct reconcile *rc)
{
    struct script *script = rc->environment;
    int run = atomic_fetch_add(&script->runs, 1);
    int inside = atomic_fetch_add(&script->inside, 1) + 1;
    int most = atomic_load(&script->most_inside);
    while (inside > most && !atomic_compare_exchange_weak(&script->most_inside, &most, inside)) {
    }
    if (rc->drift_check) {
        atomic_fetch_add(&script->drift_checks, 1);
    }
    /* A fresh arena, a deadline ahead, an id, a queue: whatever a step relies on. */
    if (rc->arena->used_bytes != 0 || rc->call.deadline_ms <= clock_monotonic_ms() || rc->id == 0 ||
        !rc->queue || !rc->call.log) {
        atomic_fetch_add(&script->odd, 1);
    }
    (void)arena_alloc(rc->arena, 100000);
    struct outcome outcome = script->answer(script, rc, run);
    atomic_fetch_sub(&script->inside, 1);
    return outcome;
}

static struct outcome failure(enum err_class cls, const char *reason)
{
    struct err err = {0};
    (void)err_set(&err, cls, reason, "it went wrong");
    return outcome_from_err(&err, 0);
}

static struct controller *new_controller(const char *name, int workers, struct script *script)
{
    const struct controller_config config = {
        .name = name, .workers = workers, .reconcile = reconcile, .environment = script};
    return controller_new(&config);
}

/* -1 when there is no such series (yet). */
static double value_of(const char *series)
{
    AUTO(buf) struct buf page = BUF(4 << 20);
    CHECK(metrics_render(&page));
    AUTO(free) char *start = xasprintf("\n%s ", series);
    const char *at = strstr(buf_text(&page), start);
    return at ? strtod(at + strlen(start), NULL) : -1;
}

static double total(const char *name, const char *result)
{
    AUTO(free)
    char *series = xasprintf("controller_runtime_reconcile_total{controller=\"%s\",result=\"%s\"}",
                             name, result);
    return value_of(series);
}

static void metrics_stand_at_zero_from_the_start(void **state)
{
    (void)state;
    struct script script = {.answer = NULL};
    struct controller *controller = new_controller("fresh", 3, &script);
    CHECK(total("fresh", "error") == 0);
    CHECK(total("fresh", "requeue_after") == 0);
    CHECK(total("fresh", "requeue") == 0);
    CHECK(total("fresh", "success") == 0);
    CHECK(value_of("controller_runtime_reconcile_errors_total{controller=\"fresh\"}") == 0);
    CHECK(value_of("controller_runtime_terminal_reconcile_errors_total{controller=\"fresh\"}") ==
          0);
    CHECK(value_of("controller_runtime_reconcile_panics_total{controller=\"fresh\"}") == 0);
    CHECK(value_of("controller_runtime_reconcile_timeouts_total{controller=\"fresh\"}") == 0);
    CHECK(value_of("controller_runtime_max_concurrent_reconciles{controller=\"fresh\"}") == 3);
    CHECK(value_of("controller_runtime_active_workers{controller=\"fresh\"}") == 0);
    controller_free(controller);
}

static struct outcome answer_each_kind(struct script *script, struct reconcile *rc, int run)
{
    (void)script;
    (void)rc;
    switch (run) {
    case 0:
        return failure(ERR_RETRY, "Unreachable");
    case 1:
        return failure(ERR_WAIT, "Busy");
    case 2:
        return failure(ERR_CONFLICT, "Conflict");
    case 3:
        return failure(ERR_TERMINAL, "NameTaken");
    case 4:
        return outcome_done(3600000);
    default:
        return outcome_done(0);
    }
}

static void each_outcome_counts_under_its_result(void **state)
{
    (void)state;
    struct script script = {.answer = answer_each_kind};
    struct controller *controller = new_controller("kinds", 1, &script);
    struct queue *queue = controller_queue(controller);
    controller_start(controller, NULL, NULL);
    for (int run = 0; run < 6; run++) {
        queue_add(queue, "acme", QUEUE_NORMAL);
        EVENTUALLY(atomic_load(&script.runs) > run);
    }
    controller_stop(controller);
    CHECK_INT(atomic_load(&script.odd), 0);
    CHECK(total("kinds", "error") == 2);
    CHECK(total("kinds", "requeue") == 1);
    CHECK(total("kinds", "requeue_after") == 2);
    CHECK(total("kinds", "success") == atomic_load(&script.runs) - 5);
    CHECK(value_of("controller_runtime_reconcile_errors_total{controller=\"kinds\"}") == 2);
    CHECK(value_of("controller_runtime_terminal_reconcile_errors_total{controller=\"kinds\"}") ==
          1);
    CHECK(value_of("controller_runtime_reconcile_time_seconds_count{controller=\"kinds\"}") ==
          atomic_load(&script.runs));
    controller_free(controller);
}

static struct outcome succeed_later(struct script *script, struct reconcile *rc, int run)
{
    (void)script;
    (void)rc;
    return run < 5 ? failure(ERR_RETRY, "Unreachable") : outcome_done(0);
}

static void c35_a_failed_key_is_tried_until_it_succeeds(void **state)
{
    (void)state;
    struct script script = {.answer = succeed_later};
    struct controller *controller = new_controller("retry", 2, &script);
    queue_add(controller_queue(controller), "acme", QUEUE_NORMAL);
    controller_start(controller, NULL, NULL);
    EVENTUALLY(atomic_load(&script.runs) == 6);
    EVENTUALLY(total("retry", "success") == 1);
    CHECK(total("retry", "error") == 5);
    CHECK_INT(atomic_load(&script.drift_checks), 5); /* its own timers, not a change */
    controller_free(controller);
}

static struct outcome hold(struct script *script, struct reconcile *rc, int run)
{
    (void)rc;
    (void)run;
    while (atomic_load(&script->hold)) {
        pass_ms(1);
    }
    return outcome_done(0);
}

static void as_many_run_at_once_as_there_are_workers(void **state)
{
    (void)state;
    struct script script = {.answer = hold, .hold = true};
    struct controller *controller = new_controller("width", 3, &script);
    for (int i = 0; i < 10; i++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "k%d", i);
        queue_add(controller_queue(controller), key, QUEUE_NORMAL);
    }
    controller_start(controller, NULL, NULL);
    EVENTUALLY(atomic_load(&script.inside) == 3);
    CHECK(value_of("controller_runtime_active_workers{controller=\"width\"}") == 3);
    CHECK_INT(queue_depth(controller_queue(controller)), 7);
    atomic_store(&script.hold, false);
    EVENTUALLY(atomic_load(&script.runs) == 10);
    controller_stop(controller);
    CHECK_INT(atomic_load(&script.most_inside), 3);
    CHECK(value_of("controller_runtime_active_workers{controller=\"width\"}") == 0);
    controller_free(controller);
}

static void *let_go(void *context)
{
    struct script *script = context;
    EVENTUALLY(atomic_load(&script->inside) == 1);
    atomic_store(&script->hold, false);
    return NULL;
}

static void c41_stop_waits_for_what_runs_and_begins_nothing_more(void **state)
{
    (void)state;
    struct script script = {.answer = hold, .hold = true};
    struct controller *controller = new_controller("stop", 1, &script);
    queue_add(controller_queue(controller), "first", QUEUE_NORMAL);
    controller_start(controller, NULL, NULL);
    EVENTUALLY(atomic_load(&script.inside) == 1);
    queue_shutdown(controller_queue(controller));
    queue_add(controller_queue(controller), "second", QUEUE_NORMAL);
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, let_go, &script), 0);
    controller_stop(controller);
    CHECK_INT(atomic_load(&script.inside), 0);
    CHECK_INT(atomic_load(&script.runs), 1);
    pthread_join(thread, NULL);
    controller_free(controller);
}

static void c46_behind_a_closed_fence_nothing_is_begun(void **state)
{
    (void)state;
    struct script script = {.answer = hold};
    struct fence fence = {.open_until_ms = 0};
    struct controller *controller = new_controller("fenced", 2, &script);
    queue_add(controller_queue(controller), "acme", QUEUE_NORMAL);
    controller_start(controller, NULL, &fence);
    EVENTUALLY(value_of("controller_runtime_reconcile_time_seconds_count{controller=\"fenced\"}") >=
               1);
    CHECK_INT(atomic_load(&script.runs), 0);
    CHECK(total("fenced", "error") == 0); /* not a failure */
    fence_open_until(&fence, INT64_MAX);
    queue_add(controller_queue(controller), "acme", QUEUE_NORMAL);
    EVENTUALLY(atomic_load(&script.runs) >= 1);
    controller_free(controller);
}

static struct outcome wait_for_deadline(struct script *script, struct reconcile *rc, int run)
{
    (void)script;
    (void)run;
    struct err err;
    while (call_check(&rc->call, &err) == 0) {
        pass_ms(1);
    }
    return outcome_from_err(&err, 0);
}

static void c40_a_reconcile_past_its_time_counts_as_timeout(void **state)
{
    (void)state;
    struct script script = {.answer = wait_for_deadline};
    const struct controller_config config = {.name = "slow",
                                             .workers = 1,
                                             .reconcile = reconcile,
                                             .reconcile_timeout_ms = 20,
                                             .environment = &script};
    struct controller *controller = controller_new(&config);
    queue_add(controller_queue(controller), "acme", QUEUE_NORMAL);
    controller_start(controller, NULL, NULL);
    EVENTUALLY(value_of("controller_runtime_reconcile_timeouts_total{controller=\"slow\"}") >= 1);
    controller_free(controller);
}

/* ---- what is logged: standard error is a file meanwhile ---- */

struct capture {
    char path[64];
    int fd;
    int saved;
};

static void capture_begin(struct capture *capture)
{
    (void)snprintf(capture->path, sizeof(capture->path), "/tmp/tenantry-log-XXXXXX");
    capture->fd = mkstemp(capture->path);
    capture->saved = dup(STDERR_FILENO);
    if (capture->fd < 0 || capture->saved < 0 || dup2(capture->fd, STDERR_FILENO) < 0) {
        fail_msg("cannot catch standard error");
    }
}

static void capture_end(struct capture *capture, char *text, size_t size)
{
    if (capture->saved < 0 || dup2(capture->saved, STDERR_FILENO) < 0) {
        abort(); /* nothing could be said any more */
    }
    ssize_t length = pread(capture->fd, text, size - 1, 0);
    CHECK(length >= 0);
    text[length] = '\0';
    (void)close(capture->saved);
    (void)close(capture->fd);
    CHECK_INT(unlink(capture->path), 0);
}

static int occurrences(const char *text, const char *part)
{
    int count = 0;
    for (const char *at = text; (at = strstr(at, part)); at += strlen(part)) {
        count++;
    }
    return count;
}

static void a_failure_is_said_once_and_its_end_too(void **state)
{
    (void)state;
    static char text[65536];
    struct script script = {.answer = succeed_later};
    struct capture capture;
    struct controller *controller = new_controller("tenant", 1, &script);
    capture_begin(&capture);
    queue_add(controller_queue(controller), "acme", QUEUE_NORMAL);
    controller_start(controller, NULL, NULL);
    EVENTUALLY(atomic_load(&script.runs) == 6);
    controller_stop(controller);
    capture_end(&capture, text, sizeof(text));
    controller_free(controller);
    CHECK_INT(occurrences(text, "reconcile failed"), 1);
    CHECK_INT(occurrences(text, "recovered"), 1);
    CHECK_NOT_NULL(strstr(text, "tenant=acme"));
    CHECK_NOT_NULL(strstr(text, "Unreachable"));
    CHECK_NOT_NULL(strstr(text, "it went wrong"));
    CHECK_NOT_NULL(strstr(text, "reconcile_id="));
    CHECK_NOT_NULL(strstr(text, "duration_ms="));
}

static struct outcome wake_itself(struct script *script, struct reconcile *rc, int run)
{
    (void)script;
    if (run < 40) {
        queue_add(rc->queue, rc->key, QUEUE_NORMAL);
    }
    return outcome_done(0);
}

static void a_loop_is_warned_of_once(void **state)
{
    (void)state;
    static char text[65536];
    struct script script = {.answer = wake_itself};
    struct capture capture;
    struct controller *controller = new_controller("loop", 1, &script);
    capture_begin(&capture);
    queue_add(controller_queue(controller), "acme", QUEUE_NORMAL);
    controller_start(controller, NULL, NULL);
    EVENTUALLY(atomic_load(&script.runs) == 41);
    controller_stop(controller);
    capture_end(&capture, text, sizeof(text));
    controller_free(controller);
    CHECK_INT(occurrences(text, "over and over"), 1);
    CHECK_NOT_NULL(strstr(text, "loop=acme"));
}

int main(void)
{
    log_configure(LOG_INFO, LOG_TEXT);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metrics_stand_at_zero_from_the_start),
        cmocka_unit_test(each_outcome_counts_under_its_result),
        cmocka_unit_test(c35_a_failed_key_is_tried_until_it_succeeds),
        cmocka_unit_test(as_many_run_at_once_as_there_are_workers),
        cmocka_unit_test(c41_stop_waits_for_what_runs_and_begins_nothing_more),
        cmocka_unit_test(c46_behind_a_closed_fence_nothing_is_begun),
        cmocka_unit_test(c40_a_reconcile_past_its_time_counts_as_timeout),
        cmocka_unit_test(a_failure_is_said_once_and_its_end_too),
        cmocka_unit_test(a_loop_is_warned_of_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
