#include "controller/runtime/failing_keys.h"
#include "tests/check.h"

static enum failing_news note(struct failing_keys *keys, const char *key, const char *message)
{
    struct err err = {0};
    (void)err_set(&err, ERR_RETRY, "Reason", "%s", message);
    return failing_keys_note(keys, key, &err);
}

static void an_error_is_news_once_and_its_end_as_well(void **state)
{
    (void)state;
    struct failing_keys *keys = failing_keys_new();
    CHECK_INT(failing_keys_note(keys, "a", NULL), FAILING_NO_NEWS);
    CHECK_INT(note(keys, "a", "refused"), FAILING_NEW);
    CHECK_INT(note(keys, "a", "refused"), FAILING_AS_BEFORE);
    CHECK_INT(note(keys, "b", "refused"), FAILING_NEW);
    CHECK_INT(note(keys, "a", "timed out"), FAILING_NEW);
    CHECK_INT(note(keys, "a", "timed out"), FAILING_AS_BEFORE);
    CHECK_INT(failing_keys_note(keys, "a", NULL), FAILING_ENDED);
    CHECK_INT(failing_keys_note(keys, "a", NULL), FAILING_NO_NEWS);
    CHECK_INT(note(keys, "a", "timed out"), FAILING_NEW);
    failing_keys_free(keys);
}

static void reason_and_code_count_too(void **state)
{
    (void)state;
    struct failing_keys *keys = failing_keys_new();
    struct err err = {0};
    (void)err_set(&err, ERR_RETRY, "One", "same");
    CHECK_INT(failing_keys_note(keys, "a", &err), FAILING_NEW);
    (void)err_set(&err, ERR_RETRY, "Two", "same");
    CHECK_INT(failing_keys_note(keys, "a", &err), FAILING_NEW);
    err_code(&err, "42501");
    CHECK_INT(failing_keys_note(keys, "a", &err), FAILING_NEW);
    CHECK_INT(failing_keys_note(keys, "a", &err), FAILING_AS_BEFORE);
    failing_keys_free(keys);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_is_news_once_and_its_end_as_well),
        cmocka_unit_test(reason_and_code_count_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
