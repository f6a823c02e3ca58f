/* What is done next about spare databases, from what is there. */
#include "tests/check.h"

#include "reconcilers/database/spares.h"

#define READY(number) {SPARE_PREFIX number, true, true, false}
#define UNMARKED(number) {SPARE_PREFIX number, true, false, false}
#define BROKEN(number) {SPARE_PREFIX number, true, true, true}
#define FOREIGN(number) {SPARE_PREFIX number, false, true, false}

static void each_state_has_its_next_step(void **state)
{
    (void)state;
    static const struct {
        struct spare seen[4];
        size_t count;
        int64_t wanted;
        enum spares_action action;
        const char *name;
        int64_t before;
        int64_t after;
        bool more;
    } cases[] = {
        {{{0}}, 0, 0, SPARES_KEEP, NULL, 0, 0, false},
        {{{0}}, 0, 2, SPARES_CREATE, SPARE_PREFIX "1", 0, 1, true},
        {{READY("1")}, 1, 2, SPARES_CREATE, SPARE_PREFIX "2", 1, 2, false},
        {{READY("2")}, 1, 2, SPARES_CREATE, SPARE_PREFIX "1", 1, 2, false},
        {{READY("1"), READY("2")}, 2, 2, SPARES_KEEP, NULL, 2, 2, false},
        /* What a crash left is finished, or cleared away, before anything new is made. */
        {{READY("1"), UNMARKED("2")}, 2, 2, SPARES_MARK, SPARE_PREFIX "2", 1, 2, false},
        {{UNMARKED("1"), UNMARKED("2")}, 2, 2, SPARES_MARK, SPARE_PREFIX "2", 0, 1, true},
        {{BROKEN("1"), READY("2")}, 2, 2, SPARES_DROP, SPARE_PREFIX "1", 1, 1, true},
        /* Too many: the last go. */
        {{READY("1"), READY("2")}, 2, 0, SPARES_DROP, SPARE_PREFIX "2", 2, 1, true},
        {{READY("1")}, 1, 0, SPARES_DROP, SPARE_PREFIX "1", 1, 0, false},
        /* What is not ours is none, and is left alone. */
        {{FOREIGN("1")}, 1, 1, SPARES_CREATE, SPARE_PREFIX "2", 0, 1, false},
        {{FOREIGN("1")}, 1, 0, SPARES_KEEP, NULL, 0, 0, false},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        AUTO(arena) struct arena arena;
        struct spares_plan plan;
        arena_init(&arena, 0);
        spares_plan(&arena, cases[i].seen, cases[i].count, cases[i].wanted, &plan);
        CHECK_INT(plan.action, cases[i].action);
        CHECK_TEXT(plan.name ? plan.name : "", cases[i].name ? cases[i].name : "");
        CHECK_INT(plan.before, cases[i].before);
        CHECK_INT(plan.after, cases[i].after);
        CHECK_INT(plan.more, cases[i].more);
    }
}

static void as_many_are_wanted_as_can_be_used(void **state)
{
    (void)state;
    struct database_server server = {.schedulable = true, .spare_count = 5};

    CHECK_INT(spares_wanted(&server, 1000), 5);
    server.capacity_tenants = 10;
    CHECK_INT(spares_wanted(&server, 2), 5);
    CHECK_INT(spares_wanted(&server, 7), 3);
    CHECK_INT(spares_wanted(&server, 12), 0);
    server.draining = true;
    CHECK_INT(spares_wanted(&server, 0), 0);
    server.draining = false;
    server.schedulable = false;
    CHECK_INT(spares_wanted(&server, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_state_has_its_next_step),
        cmocka_unit_test(as_many_are_wanted_as_can_be_used),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
