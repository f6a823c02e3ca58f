#include <stdio.h>

#include "controller/base/js.h"
#include "controller/runtime/condition.h"
#include "tests/check.h"

static void put(struct condition_set *set, const char *type, enum condition_status status,
                const char *message, int64_t now_s)
{
    condition_put(set, type, status, "Reason", message, 1, now_s);
}

static void c52_time_moves_only_with_the_status(void **state)
{
    (void)state;
    struct condition_set set = {.count = 0};
    put(&set, "Ready", CONDITION_UNKNOWN, "", 100);
    CHECK_INT(condition_get(&set, "Ready")->transition_s, 100);
    condition_put(&set, "Ready", CONDITION_UNKNOWN, "Other", "more", 2, 200);
    CHECK_INT(condition_get(&set, "Ready")->transition_s, 100);
    CHECK_TEXT(condition_get(&set, "Ready")->reason, "Other");
    CHECK_INT(condition_get(&set, "Ready")->observed_generation, 2);
    put(&set, "Ready", CONDITION_TRUE, "", 300);
    CHECK_INT(condition_get(&set, "Ready")->transition_s, 300);
    put(&set, "Ready", CONDITION_FALSE, "", 400);
    CHECK_INT(condition_get(&set, "Ready")->transition_s, 400);
    CHECK_INT(set.count, 1);
}

static void get_and_remove_work_by_type(void **state)
{
    (void)state;
    struct condition_set set = {.count = 0};
    put(&set, "A", CONDITION_TRUE, "", 1);
    put(&set, "B", CONDITION_FALSE, "", 1);
    put(&set, "C", CONDITION_TRUE, "", 1);
    CHECK(condition_is_true(&set, "A"));
    CHECK(!condition_is_true(&set, "B"));
    CHECK(!condition_is_true(&set, "D"));
    CHECK_NULL(condition_get(&set, "D"));
    condition_remove(&set, "B");
    condition_remove(&set, "D");
    CHECK_INT(set.count, 2);
    CHECK_TEXT(set.items[0].type, "A");
    CHECK_TEXT(set.items[1].type, "C");
}

static void c50_equality_looks_at_everything_but_time(void **state)
{
    (void)state;
    struct condition_set a = {.count = 0};
    put(&a, "A", CONDITION_TRUE, "m", 1);
    put(&a, "B", CONDITION_TRUE, "m", 1);
    struct condition_set b = a;
    b.items[0].transition_s = 99;
    CHECK(condition_set_equal(&a, &b));
    b = a;
    b.items[1].message = "n";
    CHECK(!condition_set_equal(&a, &b));
    b = a;
    b.items[1].reason = "Other";
    CHECK(!condition_set_equal(&a, &b));
    b = a;
    b.items[1].observed_generation = 7;
    CHECK(!condition_set_equal(&a, &b));
    b = a;
    b.items[1].status = CONDITION_FALSE;
    CHECK(!condition_set_equal(&a, &b));
    b = a;
    b.items[0] = a.items[1];
    b.items[1] = a.items[0];
    CHECK(!condition_set_equal(&a, &b));
    b = a;
    b.count = 1;
    CHECK(!condition_set_equal(&a, &b));
}

static void write(const struct condition_set *set, struct buf *out)
{
    struct jsonw writer;
    jsonw_init(&writer, out);
    jsonw_array(&writer, NULL);
    condition_set_write(&writer, set);
    jsonw_end_array(&writer);
    CHECK(!buf_failed(out));
}

static bool read(struct str json, struct arena *arena, struct condition_set *ret)
{
    struct jsonr reader;
    jsonr_init(&reader, json);
    return condition_set_read(&reader, arena, ret);
}

static void c52_what_is_written_reads_back_equal(void **state)
{
    (void)state;
    AUTO(arena) struct arena arena = {0};
    AUTO(buf) struct buf out = BUF(1 << 20);
    struct condition_set set = {.count = 0};
    condition_put(&set, "Ready", CONDITION_FALSE, "DatabaseUnreachable",
                  "database \"x\": r\xc3\xa9seau\n\tdown", 3, 1700000000);
    condition_put(&set, "Registered", CONDITION_TRUE, "Registered", "", 0, 5);
    write(&set, &out);

    struct condition_set back;
    CHECK(read(buf_str(&out), &arena, &back));
    CHECK(condition_set_equal(&set, &back));
    CHECK_INT(back.items[0].transition_s, 1700000000);
    CHECK_INT(back.items[1].transition_s, 5);

    json_t *tree = NULL;
    struct err err;
    CHECK_OK(js_parse(buf_str(&out), 1 << 20, &tree, &err), &err);
    CHECK_TEXT(json_string_value(json_object_get(json_array_get(tree, 0), "status")), "False");
    CHECK_TEXT(json_string_value(json_object_get(json_array_get(tree, 0), "lastTransitionTime")),
               "2023-11-14T22:13:20Z");
    /* An observedGeneration of 0 is a value, not an absence. */
    CHECK(json_is_integer(json_object_get(json_array_get(tree, 1), "observedGeneration")));
    json_decref(tree);
}

/* Otherwise every pass would find a difference to what the server has, and write. */
static void c52_a_long_message_is_cut_and_equal_to_itself(void **state)
{
    (void)state;
    AUTO(arena) struct arena arena = {0};
    AUTO(buf) struct buf out = BUF(1 << 20);
    char message[CONDITION_MESSAGE_BYTES * 2 + 1];
    /* One byte, then characters of two: the limit falls inside of one. */
    message[0] = 'x';
    for (size_t i = 1; i < sizeof(message); i++) {
        message[i] = i % 2 ? '\xc3' : '\xa9';
    }
    message[sizeof(message) - 2] = '\0';
    struct condition_set set = {.count = 0};
    put(&set, "Ready", CONDITION_FALSE, message, 1);
    write(&set, &out);
    struct condition_set back;
    CHECK(read(buf_str(&out), &arena, &back));
    CHECK_INT(strlen(back.items[0].message), CONDITION_MESSAGE_BYTES - 1);
    CHECK(str_is_utf8(str_from(back.items[0].message)));
    CHECK(condition_set_equal(&set, &back));
}

static void odd_elements_are_skipped(void **state)
{
    (void)state;
    AUTO(arena) struct arena arena = {0};
    struct condition_set set;
    CHECK(read(STR("[1,\"x\",{},{\"type\":7},{\"type\":\"A\",\"status\":true,\"extra\":{\"a\":[]}},"
                   "{\"type\":\"A\",\"status\":\"True\"},null,"
                   "{\"type\":\"B\",\"status\":\"True\",\"observedGeneration\":\"x\","
                   "\"lastTransitionTime\":\"never\"}]"),
               &arena, &set));
    CHECK_INT(set.count, 2);
    CHECK_TEXT(set.items[0].type, "A"); /* the first of two counts */
    CHECK_INT(set.items[0].status, CONDITION_UNKNOWN);
    CHECK_TEXT(set.items[1].type, "B");
    CHECK_INT(set.items[1].status, CONDITION_TRUE);
    CHECK_TEXT(set.items[1].reason, "");
}

static void what_is_no_array_is_refused(void **state)
{
    (void)state;
    AUTO(arena) struct arena arena = {0};
    struct condition_set set;
    CHECK(!read(STR("{}"), &arena, &set));
    CHECK(!read(STR("null"), &arena, &set));
    CHECK(!read(STR("[{\"type\":\"A\""), &arena, &set));
}

static void a_flood_of_foreign_conditions_is_bounded(void **state)
{
    (void)state;
    AUTO(arena) struct arena arena = {0};
    AUTO(buf) struct buf json = BUF(1 << 20);
    buf_append_char(&json, '[');
    for (int i = 0; i < 100; i++) {
        buf_printf(&json, "%s{\"type\":\"T%d\",\"status\":\"True\"}", i ? "," : "", i);
    }
    buf_append_char(&json, ']');
    struct condition_set set;
    CHECK(read(buf_str(&json), &arena, &set));
    CHECK_INT(set.count, CONDITIONS_MAX);
    put(&set, "Ready", CONDITION_TRUE, "", 1);
    CHECK_INT(set.count, CONDITIONS_MAX);
    CHECK(condition_is_true(&set, "Ready"));
}

int main(void)
{
    js_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(c52_time_moves_only_with_the_status),
        cmocka_unit_test(get_and_remove_work_by_type),
        cmocka_unit_test(c50_equality_looks_at_everything_but_time),
        cmocka_unit_test(c52_what_is_written_reads_back_equal),
        cmocka_unit_test(c52_a_long_message_is_cut_and_equal_to_itself),
        cmocka_unit_test(odd_elements_are_skipped),
        cmocka_unit_test(what_is_no_array_is_refused),
        cmocka_unit_test(a_flood_of_foreign_conditions_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
