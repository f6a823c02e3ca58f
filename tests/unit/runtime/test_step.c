#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "controller/base/cancel.h"
#include "controller/base/clock.h"
#include "controller/runtime/step.h"
#include "tests/check.h"
#include "tests/unit/runtime/eventually.h"

/* What the steps of these tests work on: what ran, in which order, and what is to fail. */
struct subject {
    pthread_mutex_t lock;
    char order[256];
    const char *fails; /* name of the step that fails */
    enum err_class fails_as;
    const char *unwanted;
    int pause_ms;
    atomic_int inside;
    atomic_int most_inside;
    const char *texts[STEPS_MAX];
    atomic_int text_count;
    const struct log *logs[STEPS_MAX];
};

static void subject_init(struct subject *subject)
{
    *subject = (struct subject){.fails_as = ERR_RETRY};
    pthread_mutex_init(&subject->lock, NULL);
}

static void note(struct subject *subject, const char *name)
{
    pthread_mutex_lock(&subject->lock);
    size_t length = strlen(subject->order);
    (void)snprintf(subject->order + length, sizeof(subject->order) - length, "%s%s",
                   length ? " " : "", name);
    pthread_mutex_unlock(&subject->lock);
}

/* The name of the step that runs, from its log context: the runner puts it there. */
static const char *step_name(const struct reconcile *rc)
{
    CHECK_TEXT(rc->call.log->fields[0].name, "step");
    return rc->call.log->fields[0].value.text;
}

static int ensure(struct reconcile *rc, void *context, struct err *err)
{
    struct subject *subject = context;
    const char *name = step_name(rc);
    int inside = atomic_fetch_add(&subject->inside, 1) + 1;
    int most = atomic_load(&subject->most_inside);
    while (inside > most && !atomic_compare_exchange_weak(&subject->most_inside, &most, inside)) {
    }
    subject->texts[atomic_fetch_add(&subject->text_count, 1)] =
        arena_printf(rc->arena, "text of %s", name);
    if (subject->pause_ms) {
        pass_ms(subject->pause_ms);
    }
    atomic_fetch_sub(&subject->inside, 1);
    if (subject->fails && strcmp(subject->fails, name) == 0) {
        return err_set(err, subject->fails_as, "Broken", "%s is broken", name);
    }
    note(subject, name);
    return 0;
}

static int finalize(struct reconcile *rc, void *context, struct err *err)
{
    struct subject *subject = context;
    const char *name = step_name(rc);
    if (subject->fails && strcmp(subject->fails, name) == 0) {
        return err_set(err, subject->fails_as, "Broken", "%s is broken", name);
    }
    char text[32];
    (void)snprintf(text, sizeof(text), "-%s", name);
    note(subject, text);
    return 0;
}

static bool wanted_d(const void *context)
{
    const struct subject *subject = context;
    return !subject->unwanted || strcmp(subject->unwanted, "d") != 0;
}

/*   a ── b ── c
 *     └─ d ── e      and f alone; c and e need both b and d */
static const struct step table[] = {
    {.name = "a", .condition = "A", .ensure = ensure, .finalize = finalize},
    {.name = "b", .condition = "B", .needs = {"a"}, .ensure = ensure, .finalize = finalize},
    {.name = "d",
     .condition = "B",
     .needs = {"a"},
     .wanted = wanted_d,
     .ensure = ensure,
     .finalize = finalize},
    {.name = "c", .condition = "C", .needs = {"b", "d"}, .ensure = ensure, .finalize = finalize},
    {.name = "e", .condition = "E", .needs = {"d"}, .ensure = ensure},
    {.name = "f", .condition = "F", .ensure = ensure, .finalize = finalize},
};
enum { COUNT = sizeof(table) / sizeof(table[0]) };
enum { A, B, D, C, E, F };

struct fixture {
    struct arena arena;
    struct reconcile rc;
    struct subject subject;
    struct step_result results[COUNT];
};

static void fixture_init(struct fixture *fixture)
{
    arena_init(&fixture->arena, 0);
    fixture->rc = (struct reconcile){.arena = &fixture->arena, .key = "acme"};
    subject_init(&fixture->subject);
}

static void ensure_all(struct fixture *fixture, struct crew *crew)
{
    steps_ensure(&fixture->rc, table, COUNT, &fixture->subject, crew, fixture->results);
}

static int position(const struct fixture *fixture, const char *name)
{
    const char *at = strstr(fixture->subject.order, name);
    CHECK_NOT_NULL(at);
    return (int)(at - fixture->subject.order);
}

static void all_run_once_after_what_they_need(void **state)
{
    (void)state;
    struct crew *crew = crew_new(4);
    for (int i = 0; i < 200; i++) {
        struct fixture fixture;
        fixture_init(&fixture);
        ensure_all(&fixture, i % 2 ? crew : NULL);
        for (size_t s = 0; s < COUNT; s++) {
            CHECK_INT(fixture.results[s].state, STEP_DONE);
        }
        CHECK_INT(strlen(fixture.subject.order), COUNT * 2 - 1); /* each once */
        CHECK(position(&fixture, "a") < position(&fixture, "b"));
        CHECK(position(&fixture, "a") < position(&fixture, "d"));
        CHECK(position(&fixture, "b") < position(&fixture, "c"));
        CHECK(position(&fixture, "d") < position(&fixture, "c"));
        CHECK(position(&fixture, "d") < position(&fixture, "e"));
        struct err err;
        CHECK_OK(steps_error(table, fixture.results, COUNT, &err), &err);
        arena_release(&fixture.arena);
    }
    crew_free(crew);
}

static void independent_steps_go_side_by_side(void **state)
{
    (void)state;
    struct crew *crew = crew_new(4);
    struct fixture fixture;
    fixture_init(&fixture);
    fixture.subject.pause_ms = 30;
    ensure_all(&fixture, crew);
    CHECK(atomic_load(&fixture.subject.most_inside) >= 2);
    CHECK(fixture.results[A].duration_ms >= 30);
    arena_release(&fixture.arena);
    crew_free(crew);
}

static void without_hands_the_worker_does_it_alone(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    ensure_all(&fixture, NULL);
    CHECK_TEXT(fixture.subject.order, "a b d c e f");
    CHECK_INT(atomic_load(&fixture.subject.most_inside), 1);
    arena_release(&fixture.arena);
}

static void what_steps_allocate_lives_until_the_end_of_the_reconcile(void **state)
{
    (void)state;
    struct crew *crew = crew_new(4);
    struct fixture fixture;
    fixture_init(&fixture);
    fixture.subject.pause_ms = 2;
    ensure_all(&fixture, crew);
    crew_free(crew); /* its threads are gone, what they allocated is not */
    CHECK_INT(atomic_load(&fixture.subject.text_count), COUNT);
    for (int i = 0; i < COUNT; i++) {
        CHECK(strncmp(fixture.subject.texts[i], "text of ", 8) == 0);
    }
    CHECK(fixture.arena.used_bytes >= COUNT * sizeof("text of x"));
    (void)arena_strdup(&fixture.arena, "and the arena goes on");
    arena_release(&fixture.arena);
}

static void a_failure_blocks_only_those_who_need_it(void **state)
{
    (void)state;
    struct crew *crew = crew_new(4);
    for (int i = 0; i < 2; i++) {
        struct fixture fixture;
        fixture_init(&fixture);
        fixture.subject.fails = "b";
        ensure_all(&fixture, i ? crew : NULL);
        CHECK_INT(fixture.results[A].state, STEP_DONE);
        CHECK_INT(fixture.results[B].state, STEP_FAILED);
        CHECK_TEXT(fixture.results[B].err->message, "b is broken");
        CHECK_INT(fixture.results[C].state, STEP_BLOCKED);
        CHECK_TEXT(fixture.results[C].missing, "b");
        CHECK_INT(fixture.results[D].state, STEP_DONE);
        CHECK_INT(fixture.results[E].state, STEP_DONE);
        CHECK_INT(fixture.results[F].state, STEP_DONE);
        struct err err;
        CHECK_FAILS(steps_error(table, fixture.results, COUNT, &err), &err, ERR_RETRY, "Broken");
        arena_release(&fixture.arena);
    }
    crew_free(crew);
}

static void blocking_goes_down_the_chain(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    fixture.subject.fails = "a";
    ensure_all(&fixture, NULL);
    CHECK_INT(fixture.results[B].state, STEP_BLOCKED);
    CHECK_INT(fixture.results[C].state, STEP_BLOCKED);
    CHECK_INT(fixture.results[E].state, STEP_BLOCKED);
    CHECK_TEXT(fixture.subject.order, "f");
    arena_release(&fixture.arena);
}

static void an_unwanted_step_is_undone_and_counts_as_done(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    fixture.subject.unwanted = "d";
    ensure_all(&fixture, NULL);
    CHECK_TEXT(fixture.subject.order, "a b -d c e f");
    CHECK_INT(fixture.results[D].state, STEP_DONE);
    arena_release(&fixture.arena);
}

static void c41_nothing_begins_once_canceled(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    struct cancel *cancel = cancel_new(NULL);
    fixture.rc.call.cancel = cancel;
    cancel_trigger(cancel);
    ensure_all(&fixture, NULL);
    CHECK_TEXT(fixture.subject.order, "");
    struct err err;
    CHECK_FAILS(steps_error(table, fixture.results, COUNT, &err), &err, ERR_CANCELED, "Canceled");
    cancel_free(cancel);
    arena_release(&fixture.arena);
}

static void c54_finalizing_goes_in_reverse(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    steps_finalize(&fixture.rc, table, COUNT, &fixture.subject, fixture.results);
    CHECK_TEXT(fixture.subject.order, "-f -c -d -b -a"); /* e has nothing to undo */
    struct err err;
    CHECK_OK(steps_error(table, fixture.results, COUNT, &err), &err);
    arena_release(&fixture.arena);
}

static void a_step_stays_while_one_that_needs_it_is_not_undone(void **state)
{
    (void)state;
    struct fixture fixture;
    fixture_init(&fixture);
    fixture.subject.fails = "c";
    steps_finalize(&fixture.rc, table, COUNT, &fixture.subject, fixture.results);
    CHECK_TEXT(fixture.subject.order, "-f");
    CHECK_INT(fixture.results[C].state, STEP_FAILED);
    CHECK_INT(fixture.results[E].state, STEP_DONE);
    CHECK_INT(fixture.results[D].state, STEP_BLOCKED);
    CHECK_INT(fixture.results[B].state, STEP_BLOCKED);
    CHECK_INT(fixture.results[A].state, STEP_BLOCKED);
    arena_release(&fixture.arena);
}

static void set_failed(struct step_result *result, struct err *why, enum err_class cls,
                       const char *reason, const char *message)
{
    (void)err_set(why, cls, reason, "%s", message);
    result->state = STEP_FAILED;
    result->err = why;
}

static void the_error_that_decides_is_the_gravest(void **state)
{
    (void)state;
    struct step_result results[COUNT] = {{.state = STEP_DONE}};
    for (size_t i = 0; i < COUNT; i++) {
        results[i].state = STEP_DONE;
    }
    struct err err;
    struct err why[COUNT];
    results[F].state = STEP_BLOCKED;
    results[F].missing = "w";
    CHECK_FAILS(steps_error(table, results, COUNT, &err), &err, ERR_WAIT, "Waiting");
    set_failed(&results[C], &why[C], ERR_RETRY, "First", "r");
    set_failed(&results[E], &why[E], ERR_RETRY, "Second", "r");
    CHECK_FAILS(steps_error(table, results, COUNT, &err), &err, ERR_RETRY, "First");
    set_failed(&results[E], &why[E], ERR_TERMINAL, "Terminal", "t");
    CHECK_FAILS(steps_error(table, results, COUNT, &err), &err, ERR_TERMINAL, "Terminal");
    set_failed(&results[F], &why[F], ERR_CANCELED, "Canceled", "c");
    CHECK_FAILS(steps_error(table, results, COUNT, &err), &err, ERR_CANCELED, "Canceled");
}

static const struct condition *condition_of(struct arena *arena, const struct step_result *results,
                                            const char *type, struct condition_set *set)
{
    const struct step_summary summary = {type, "Done", "all is well", 4, 1000};
    steps_condition(arena, set, table, results, COUNT, &summary);
    return condition_get(set, type);
}

static void a_condition_sums_up_the_steps_that_share_it(void **state)
{
    (void)state;
    AUTO(arena) struct arena arena = {0};
    struct step_result results[COUNT] = {{.state = STEP_DONE}};
    struct condition_set set = {.count = 0};
    arena_init(&arena, 0);
    results[B].state = STEP_DONE;
    results[D].state = STEP_DONE;
    const struct condition *condition = condition_of(&arena, results, "B", &set);
    CHECK_INT(condition->status, CONDITION_TRUE);
    CHECK_TEXT(condition->reason, "Done");
    CHECK_TEXT(condition->message, "all is well");
    CHECK_INT(condition->observed_generation, 4);

    struct err why;
    set_failed(&results[D], &why, ERR_TERMINAL, "NameTaken", "taken");
    condition = condition_of(&arena, results, "B", &set);
    CHECK_INT(condition->status, CONDITION_FALSE);
    CHECK_TEXT(condition->reason, "NameTaken");
    CHECK_TEXT(condition->message, "taken");

    CHECK_NULL(condition_of(&arena, results, "Unheard", &set));
}

static void each_condition_says_what_it_waits_for(void **state)
{
    (void)state;
    AUTO(arena) struct arena arena = {0};
    struct step_result results[COUNT] = {{.state = STEP_DONE}};
    struct condition_set set = {.count = 0};
    arena_init(&arena, 0);
    results[B] = (struct step_result){.state = STEP_BLOCKED, .missing = "a"};
    results[D] = (struct step_result){.state = STEP_BLOCKED, .missing = "a"};
    results[C] = (struct step_result){.state = STEP_BLOCKED, .missing = "b"};
    results[E] = (struct step_result){.state = STEP_PENDING};
    const struct condition *of_b = condition_of(&arena, results, "B", &set);
    const struct condition *of_c = condition_of(&arena, results, "C", &set);
    const struct condition *of_e = condition_of(&arena, results, "E", &set);

    CHECK_INT(of_b->status, CONDITION_UNKNOWN);
    CHECK_TEXT(of_b->reason, "Waiting");
    CHECK_TEXT(of_b->message, "waiting for a");
    CHECK_INT(of_c->status, CONDITION_UNKNOWN);
    CHECK_TEXT(of_c->message, "waiting for b");
    CHECK_TEXT(of_e->reason, "Waiting");
    CHECK_TEXT(of_e->message, "");
}

static void check_table(const struct step *steps, size_t count, const char *says)
{
    struct err err;
    CHECK_FAILS(steps_check(steps, count, &err), &err, ERR_TERMINAL, "InvalidSteps");
    CHECK_NOT_NULL(strstr(err.message, says));
}

static void unsound_tables_are_refused(void **state)
{
    (void)state;
    struct err err;
    CHECK_OK(steps_check(table, COUNT, &err), &err);
    const struct step twice[] = {{.name = "a", .condition = "A", .ensure = ensure},
                                 {.name = "a", .condition = "B", .ensure = ensure}};
    check_table(twice, 2, "two steps");
    const struct step below[] = {{.name = "a", .condition = "A", .needs = {"b"}, .ensure = ensure},
                                 {.name = "b", .condition = "B", .ensure = ensure}};
    check_table(below, 2, "above");
    const struct step itself[] = {
        {.name = "a", .condition = "A", .needs = {"a"}, .ensure = ensure}};
    check_table(itself, 1, "above");
    const struct step empty[] = {{.name = "a", .condition = "A"}};
    check_table(empty, 1, "lacks");
    struct step many[STEPS_MAX + 1] = {{.name = "a"}};
    check_table(many, STEPS_MAX + 1, "more than");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_run_once_after_what_they_need),
        cmocka_unit_test(independent_steps_go_side_by_side),
        cmocka_unit_test(without_hands_the_worker_does_it_alone),
        cmocka_unit_test(what_steps_allocate_lives_until_the_end_of_the_reconcile),
        cmocka_unit_test(a_failure_blocks_only_those_who_need_it),
        cmocka_unit_test(blocking_goes_down_the_chain),
        cmocka_unit_test(an_unwanted_step_is_undone_and_counts_as_done),
        cmocka_unit_test(c41_nothing_begins_once_canceled),
        cmocka_unit_test(c54_finalizing_goes_in_reverse),
        cmocka_unit_test(a_step_stays_while_one_that_needs_it_is_not_undone),
        cmocka_unit_test(the_error_that_decides_is_the_gravest),
        cmocka_unit_test(a_condition_sums_up_the_steps_that_share_it),
        cmocka_unit_test(each_condition_says_what_it_waits_for),
        cmocka_unit_test(unsound_tables_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
