/* A reconciler as data: a table of steps, each making one thing so (docs/steps.md).
 *
 * A step runs once all that it needs is done; steps that need nothing of each other run side by
 * side. A failed step does not stop the others, only those that need it. Several steps may share
 * one condition, which is True when all of them are done. Steps are idempotent and level-triggered:
 * each observes, plans in a pure function, executes. Deletion runs the table in reverse. The runner
 * knows no domain word. */
#ifndef TENANTRY_RUNTIME_STEP_H
#define TENANTRY_RUNTIME_STEP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "controller/runtime/condition.h"
#include "controller/runtime/crew.h"
#include "controller/runtime/reconcile.h"

enum { STEPS_MAX = 32, STEP_NEEDS_MAX = 6 };

struct step {
    const char *name;                  /* unique */
    const char *condition;             /* what it counts towards; NULL without ensure */
    const char *needs[STEP_NEEDS_MAX]; /* names of steps above it, NULL-ended */
    bool (*wanted)(
        const void *subject); /* NULL = always; false: finalize runs instead, if present */
    /* subject: the decoded object, shared by parallel steps: a step writes only its own part. */
    int (*ensure)(struct reconcile *rc, void *subject,
                  struct err *err); /* NULL = nothing to make, only something before undoing */
    int (*finalize)(struct reconcile *rc, void *subject,
                    struct err *err); /* NULL = nothing to undo */
};

enum step_state {
    STEP_PENDING,
    STEP_RUNNING,
    STEP_DONE,
    STEP_FAILED,
    STEP_BLOCKED, /* something that it needs is not done */
};

struct step_result {
    enum step_state state;
    int64_t duration_ms;
    const struct err *err; /* why it FAILED, in the reconcile's arena */
    const char *missing;   /* the step that a BLOCKED one waits for */
};

/* Whether the table is sound: unique names, needs only above, at most STEPS_MAX. For start and
 * tests. */
MUST_CHECK int steps_check(const struct step *steps, size_t count, struct err *err);

/* Run all; results[i] belongs to steps[i]. Returns when nothing more can run. crew may be NULL. */
void steps_ensure(struct reconcile *rc, const struct step *steps, size_t count, void *subject,
                  struct crew *crew, struct step_result *results);
/* The reverse: a step is finalized once all steps that need it are; one at a time. */
void steps_finalize(struct reconcile *rc, const struct step *steps, size_t count, void *subject,
                    struct step_result *results);

/* 0 when all are done; else -1 and the error that decides: CANCELED, then TERMINAL, then the first
 * FAILED of the table. */
MUST_CHECK int steps_error(const struct step *steps, const struct step_result *results,
                           size_t count, struct err *err);

/* What a condition that steps share says when all of them are done, and of which generation and
 * when. Borrowed. */
struct step_summary {
    const char *type;
    const char *done_reason;
    const char *done_message;
    int64_t generation;
    int64_t now_s;
};

/* One condition from the steps that share it: True/`done_reason` when all are done; False with the
 * reason and message of the first that failed; Unknown/Waiting when only blocked. What is not
 * borrowed from the results or the summary is in the arena. */
void steps_condition(struct arena *arena, struct condition_set *set, const struct step *steps,
                     const struct step_result *results, size_t count,
                     const struct step_summary *summary);

#endif
