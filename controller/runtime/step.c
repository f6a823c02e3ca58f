/* Who runs a step: an executor. The worker that called is one; each hand of the crew that accepts a
 * ready step becomes one. An executor that has ended a step looks for what that made ready, offers
 * all but one of it to idle hands and goes on with that one itself: so nothing waits for a
 * dispatcher, and a chain of steps never changes its thread. The worker returns when no step runs
 * any more.
 *
 * run.lock guards the states; a step runs without it. Each hand allocates in an arena of its own,
 * which the worker's arena absorbs at the end: what a step allocated lives as long as the
 * reconcile. */
#include "controller/runtime/step.h"

#include <pthread.h>
#include <string.h>

#include "controller/base/clock.h"
#include "controller/base/metrics.h"
#include "controller/base/str.h"

static const double duration_bounds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                         0.25,  0.5,    1,     2.5,  5,     10,   30};
static struct metric step_seconds =
    METRIC_HISTOGRAM("tenantry_step_seconds", "Time that a step of a reconcile took.",
                     duration_bounds, "step", "result");

struct run;

/* A step handed to the crew; its executor goes on with others of the same run. */
struct piece {
    struct run *run;
    size_t index;
    struct arena arena;
};

struct run {
    struct reconcile *rc;
    const struct step *steps;
    size_t count;
    void *subject;
    struct crew *crew;
    struct step_result *results;
    size_t needs[STEPS_MAX]; /* bit i: the step needs steps[i] */
    pthread_mutex_t lock;
    pthread_cond_t idle;
    int running;
    struct piece pieces[STEPS_MAX];
};

static size_t find_step(const struct step *steps, size_t count, const char *name)
{
    size_t i = 0;
    while (i < count && !text_equal(steps[i].name, name)) {
        i++;
    }
    return i;
}

static int check_needs(const struct step *steps, size_t index, struct err *err)
{
    const struct step *step = &steps[index];
    for (size_t n = 0; n < STEP_NEEDS_MAX && step->needs[n]; n++) {
        if (find_step(steps, index, step->needs[n]) == index) {
            return err_set(err, ERR_TERMINAL, "InvalidSteps",
                           "step \"%s\" needs \"%s\", which does not stand above it", step->name,
                           step->needs[n]);
        }
    }
    return 0;
}

int steps_check(const struct step *steps, size_t count, struct err *err)
{
    if (count > STEPS_MAX) {
        return err_set(err, ERR_TERMINAL, "InvalidSteps", "%zu steps are more than %d", count,
                       STEPS_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        bool acts =
            steps[i].ensure ? !text_is_empty(steps[i].condition) : steps[i].finalize != NULL;
        if (text_is_empty(steps[i].name) || !acts) {
            return err_set(err, ERR_TERMINAL, "InvalidSteps",
                           "step %zu lacks a name, a condition or what to do", i);
        }
        if (find_step(steps, i, steps[i].name) < i) {
            return err_set(err, ERR_TERMINAL, "InvalidSteps", "two steps are called \"%s\"",
                           steps[i].name);
        }
        if (check_needs(steps, i, err) < 0) {
            return -1;
        }
    }
    return 0;
}

static bool needs_step(const struct step *step, const char *name)
{
    for (size_t n = 0; n < STEP_NEEDS_MAX && step->needs[n]; n++) {
        if (text_equal(step->needs[n], name)) {
            return true;
        }
    }
    return false;
}

static int call_step(const struct step *step, bool undo, struct reconcile *rc, void *subject,
                     struct err *err)
{
    if (call_check(&rc->call, err) < 0) {
        return -1;
    }
    if (undo || (step->wanted && !step->wanted(subject))) {
        return step->finalize ? step->finalize(rc, subject, err) : 0;
    }
    return step->ensure ? step->ensure(rc, subject, err) : 0;
}

/* Run one step in the calling thread. The result's state is left to the caller, who may have to
 * change it under a lock. */
static enum step_state perform(const struct step *step, bool undo, const struct reconcile *rc,
                               struct arena *arena, void *subject, struct step_result *result)
{
    const struct log_field field = KV("step", step->name);
    const struct log log = {.parent = rc->call.log, .fields = &field, .field_count = 1};
    struct reconcile own = *rc;
    own.call.log = &log;
    own.arena = arena;

    int64_t started_us = clock_monotonic_us();
    struct err err = {0};
    int failure = call_step(step, undo, &own, subject, &err);
    int64_t took_us = clock_monotonic_us() - started_us;
    result->duration_ms = took_us / 1000;

    if (!failure || err.cls != ERR_CANCELED) {
        metric_observe(&step_seconds, (double)took_us / 1e6, step->name,
                       failure ? "error" : "success");
    }
    if (failure) {
        struct err *kept = ARENA_NEW(arena, struct err);
        *kept = err;
        result->err = kept;
        log_debug(&log, "step failed", KV_ERR(&err), KV_INT("duration_ms", result->duration_ms));
    } else {
        log_debug(&log, "step done", KV_INT("duration_ms", result->duration_ms));
    }
    return failure ? STEP_FAILED : STEP_DONE;
}

static void block(struct step_result *result, const char *missing)
{
    result->state = STEP_BLOCKED;
    result->missing = missing;
}

/* Whether a pending step may start. One whose need will not come becomes BLOCKED here. */
static bool is_ready(struct run *run, size_t index)
{
    if (run->results[index].state != STEP_PENDING) {
        return false;
    }
    bool ready = true;
    for (size_t i = 0; i < index; i++) {
        if (!(run->needs[index] & ((size_t)1 << i))) {
            continue;
        }
        enum step_state state = run->results[i].state;
        if (state == STEP_FAILED || state == STEP_BLOCKED) {
            block(&run->results[index], run->steps[i].name);
            return false;
        }
        ready = ready && state == STEP_DONE;
    }
    return ready;
}

static void run_piece(void *context);

/* Under the lock: claim what is ready. One step, if any, for the caller; the others go to idle
 * hands, or stay for whoever ends a step next. Returns run->count when there is none. */
static size_t claim(struct run *run)
{
    size_t mine = run->count;
    for (size_t i = 0; i < run->count; i++) {
        if (!is_ready(run, i)) {
            continue;
        }
        if (mine == run->count) {
            mine = i;
            run->results[i].state = STEP_RUNNING;
            run->running++;
            continue;
        }
        struct piece *piece = &run->pieces[i];
        piece->run = run;
        piece->index = i;
        run->results[i].state = STEP_RUNNING; /* before the offer: the hand may begin at once */
        run->running++;
        if (!crew_offer(run->crew, run_piece, piece)) {
            run->results[i].state = STEP_PENDING;
            run->running--;
        }
    }
    return mine;
}

/* Be an executor, beginning with a step already claimed, until nothing is ready. */
static void execute(struct run *run, size_t index, struct arena *arena)
{
    const size_t none = run->count; /* after its last unlock an executor must not touch the run */
    while (index < none) {
        enum step_state state =
            perform(&run->steps[index], false, run->rc, arena, run->subject, &run->results[index]);
        pthread_mutex_lock(&run->lock);
        run->results[index].state = state;
        run->running--;
        index = claim(run);
        if (run->running == 0) {
            pthread_cond_signal(&run->idle);
        }
        pthread_mutex_unlock(&run->lock);
    }
}

static void run_piece(void *context)
{
    struct piece *piece = context;
    execute(piece->run, piece->index, &piece->arena);
}

static void run_begin(struct run *run)
{
    pthread_mutex_init(&run->lock, NULL);
    pthread_cond_init(&run->idle, NULL);
    for (size_t i = 0; i < run->count; i++) {
        run->results[i] = (struct step_result){.state = STEP_PENDING};
        run->needs[i] = 0;
        for (size_t n = 0; n < i; n++) {
            if (needs_step(&run->steps[i], run->steps[n].name)) {
                run->needs[i] |= (size_t)1 << n;
            }
        }
        arena_init(&run->pieces[i].arena, run->rc->arena->limit_bytes);
    }
}

static void run_end(struct run *run)
{
    for (size_t i = 0; i < run->count; i++) {
        arena_absorb(run->rc->arena, &run->pieces[i].arena);
    }
    pthread_cond_destroy(&run->idle);
    pthread_mutex_destroy(&run->lock);
}

void steps_ensure(struct reconcile *rc, const struct step *steps, size_t count, void *subject,
                  struct crew *crew, struct step_result *results)
{
    struct run run = {.rc = rc,
                      .steps = steps,
                      .count = count,
                      .subject = subject,
                      .crew = crew,
                      .results = results};
    run_begin(&run);

    pthread_mutex_lock(&run.lock);
    size_t first = claim(&run);
    pthread_mutex_unlock(&run.lock);
    execute(&run, first, rc->arena);

    pthread_mutex_lock(&run.lock);
    while (run.running > 0) {
        pthread_cond_wait(&run.idle, &run.lock);
    }
    pthread_mutex_unlock(&run.lock);
    run_end(&run);
}

/* The name of a step that needs steps[index] and is not undone; NULL when all are. */
static const char *still_needed_by(const struct step *steps, size_t count, size_t index,
                                   const struct step_result *results)
{
    for (size_t i = index + 1; i < count; i++) {
        if (results[i].state != STEP_DONE && needs_step(&steps[i], steps[index].name)) {
            return steps[i].name;
        }
    }
    return NULL;
}

void steps_finalize(struct reconcile *rc, const struct step *steps, size_t count, void *subject,
                    struct step_result *results)
{
    for (size_t i = 0; i < count; i++) {
        results[i] = (struct step_result){.state = STEP_PENDING};
    }
    for (size_t i = count; i-- > 0;) {
        const char *needed_by = still_needed_by(steps, count, i, results);
        if (needed_by) {
            block(&results[i], needed_by);
            continue;
        }
        results[i].state = STEP_RUNNING;
        results[i].state = perform(&steps[i], true, rc, rc->arena, subject, &results[i]);
    }
}

/* The lower, the more it decides. */
static int error_rank(const struct step_result *result)
{
    if (result->state != STEP_FAILED) {
        return 3; /* blocked, or never run */
    }
    if (result->err->cls == ERR_CANCELED) {
        return 0;
    }
    return result->err->cls == ERR_TERMINAL ? 1 : 2;
}

int steps_error(const struct step *steps, const struct step_result *results, size_t count,
                struct err *err)
{
    size_t worst = count;
    for (size_t i = 0; i < count; i++) {
        if (results[i].state != STEP_DONE &&
            (worst == count || error_rank(&results[i]) < error_rank(&results[worst]))) {
            worst = i;
        }
    }
    if (worst == count) {
        return 0;
    }
    switch (results[worst].state) {
    case STEP_FAILED:
        *err = *results[worst].err;
        return -1;
    case STEP_BLOCKED:
        return err_set(err, ERR_WAIT, "Waiting", "waiting for %s", results[worst].missing);
    default:
        return err_set(err, ERR_WAIT, "Waiting", "step %s has not run", steps[worst].name);
    }
}

void steps_condition(struct arena *arena, struct condition_set *set, const struct step *steps,
                     const struct step_result *results, size_t count,
                     const struct step_summary *summary)
{
    const struct step_result *failed = NULL;
    const struct step_result *waiting = NULL;
    bool any = false;

    for (size_t i = 0; i < count; i++) {
        if (!text_equal(steps[i].condition, summary->type)) {
            continue;
        }
        any = true;
        if (results[i].state == STEP_FAILED && !failed) {
            failed = &results[i];
        } else if (results[i].state != STEP_DONE && !waiting) {
            waiting = &results[i];
        }
    }
    if (!any) {
        return;
    }
    if (failed) {
        condition_put(set, summary->type, CONDITION_FALSE, failed->err->reason,
                      failed->err->message, summary->generation, summary->now_s);
    } else if (waiting) {
        const char *message =
            waiting->missing ? arena_printf(arena, "waiting for %s", waiting->missing) : "";
        condition_put(set, summary->type, CONDITION_UNKNOWN, "Waiting", message,
                      summary->generation, summary->now_s);
    } else {
        condition_put(set, summary->type, CONDITION_TRUE, summary->done_reason,
                      summary->done_message, summary->generation, summary->now_s);
    }
}
