#include <pthread.h>
#include <stdatomic.h>

#include "controller/runtime/crew.h"
#include "tests/check.h"
#include "tests/unit/runtime/eventually.h"

/* Pieces that stay under way until they are let go. */
struct gate {
    pthread_mutex_t lock;
    pthread_cond_t opened;
    bool open;
    atomic_int inside;
    atomic_int passed;
};

static void gate_init(struct gate *gate)
{
    *gate = (struct gate){.open = false};
    pthread_mutex_init(&gate->lock, NULL);
    pthread_cond_init(&gate->opened, NULL);
}

static void gate_open(struct gate *gate)
{
    pthread_mutex_lock(&gate->lock);
    gate->open = true;
    pthread_cond_broadcast(&gate->opened);
    pthread_mutex_unlock(&gate->lock);
}

static void pass(void *context)
{
    struct gate *gate = context;
    atomic_fetch_add(&gate->inside, 1);
    pthread_mutex_lock(&gate->lock);
    while (!gate->open) {
        pthread_cond_wait(&gate->opened, &gate->lock);
    }
    pthread_mutex_unlock(&gate->lock);
    atomic_fetch_add(&gate->passed, 1);
}

static void no_crew_takes_nothing(void **state)
{
    (void)state;
    struct gate gate;
    gate_init(&gate);
    CHECK(!crew_offer(NULL, pass, &gate));
    struct crew *empty = crew_new(0);
    CHECK(!crew_offer(empty, pass, &gate));
    crew_free(empty);
    crew_free(NULL);
}

static void it_takes_as_many_as_it_has_hands_and_refuses_more(void **state)
{
    (void)state;
    struct gate gate;
    gate_init(&gate);
    struct crew *crew = crew_new(3);
    for (int i = 0; i < 3; i++) {
        CHECK(crew_offer(crew, pass, &gate));
    }
    CHECK(!crew_offer(crew, pass, &gate));
    EVENTUALLY(atomic_load(&gate.inside) == 3); /* side by side */
    gate_open(&gate);
    EVENTUALLY(atomic_load(&gate.passed) == 3);
    crew_free(crew);
}

static void hands_are_used_again(void **state)
{
    (void)state;
    struct gate gate;
    gate_init(&gate);
    gate_open(&gate);
    struct crew *crew = crew_new(2);
    int taken = 0;
    for (int i = 0; i < 2000; i++) {
        taken += crew_offer(crew, pass, &gate);
    }
    EVENTUALLY(atomic_load(&gate.passed) == taken);
    EVENTUALLY(crew_offer(crew, pass, &gate)); /* idle again */
    crew_free(crew);
    CHECK_INT(atomic_load(&gate.passed), taken + 1);
}

static void free_waits_for_what_is_under_way(void **state)
{
    (void)state;
    struct gate gate;
    gate_init(&gate);
    struct crew *crew = crew_new(2);
    CHECK(crew_offer(crew, pass, &gate));
    CHECK(crew_offer(crew, pass, &gate));
    gate_open(&gate);
    crew_free(crew);
    CHECK_INT(atomic_load(&gate.passed), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_crew_takes_nothing),
        cmocka_unit_test(it_takes_as_many_as_it_has_hands_and_refuses_more),
        cmocka_unit_test(hands_are_used_again),
        cmocka_unit_test(free_waits_for_what_is_under_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
