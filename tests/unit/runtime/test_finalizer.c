#include "controller/runtime/finalizer.h"
#include "tests/check.h"

static void c54_each_of_the_four_cases_has_its_action(void **state)
{
    (void)state;
    CHECK_INT(finalizer_decide(false, false), FINALIZER_ADD);
    CHECK_INT(finalizer_decide(false, true), FINALIZER_ENSURE);
    CHECK_INT(finalizer_decide(true, true), FINALIZER_FINALIZE);
    CHECK_INT(finalizer_decide(true, false), FINALIZER_LEAVE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(c54_each_of_the_four_cases_has_its_action),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
