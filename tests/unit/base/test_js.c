#include "controller/base/js.h"

#include "tests/check.h"

static json_t *parse(const char *text)
{
    struct err err = {0};
    json_t *value = NULL;

    CHECK_OK(js_parse(str_from(text), 100000, &value, &err), &err);
    return value;
}

static void documents_that_are_wrong_are_refused(void **state)
{
    static const struct str bad[] = {
        {"", 0},
        {NULL, 0},
        {"{", 1},
        {"{\"a\":1,\"a\":2}", 13},
        {"[1,]", 4},
        {"{} x", 4},
        {"\"\xFF\"", 3},
        {"\"\\u0000\"", 8},
        {"99999999999999999999", 20},
        {"1e999", 5},
        {"nul", 3},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        struct err err = {0};
        json_t *value = NULL;
        CHECK_FAILS(js_parse(bad[i], 1000, &value, &err), &err, ERR_TERMINAL, "InvalidJSON");
        CHECK_NULL(value);
    }
}

static void the_size_is_capped_exactly(void **state)
{
    struct err err = {0};
    json_t *value = NULL;
    (void)state;

    CHECK_FAILS(js_parse(STR("[1]"), 2, &value, &err), &err, ERR_TERMINAL, "InvalidJSON");
    CHECK(strstr(err.message, "limit of 2 bytes") != NULL);
    CHECK_OK(js_parse(STR("[1]"), 3, &value, &err), &err);
    json_decref(value);
}

static void errors_name_the_place(void **state)
{
    struct err err = {0};
    json_t *value = NULL;
    (void)state;

    CHECK_FAILS(js_parse(STR("{\n \"a\": ?\n}"), 100, &value, &err), &err, ERR_TERMINAL,
                "InvalidJSON");
    CHECK(strstr(err.message, "line 2") != NULL);
}

static void printing_gives_back_what_was_parsed(void **state)
{
    static const char text[] = "{\"z\":[1,2.5,null,true,\"é\\n\"],\"a\":{}}";
    AUTO(json) json_t *value = parse(text);
    AUTO(json) json_t *scalar = parse(" 7 ");
    (void)state;

    AUTO(free) char *printed = js_print(value);
    AUTO(free) char *number = js_print(scalar);
    CHECK_TEXT(printed, text);
    CHECK_TEXT(number, "7");
}

static void paths_reach_members_and_elements(void **state)
{
    AUTO(json)
    json_t *root =
        parse("{\"a\":{\"b\":[10,{\"c\":\"x\"}],\"n\":null,\"\":3},\"a.b/c\":1,\"0\":\"zero\"}");
    (void)state;

    CHECK(js_at(root, "") == root);
    CHECK_INT(json_integer_value(js_at(root, "/a/b/0")), 10);
    CHECK_TEXT(json_string_value(js_at(root, "/a/b/1/c")), "x");
    CHECK_TEXT(json_string_value(js_at(root, "/0")), "zero");
    CHECK_INT(json_integer_value(js_at(root, "/a/")), 3);
    static const char *const absent[] = {
        "/a/n",    "/a/n/x",  "/x", "/a/b/2",   "/a/b/-1", "/a/b/x",
        "/a/b/1x", "/a/b/0/", "a",  "/a/b/0/c", "/A",      "/a/b/99999999999999999999"};
    for (size_t i = 0; i < ARRAY_COUNT(absent); i++) {
        if (js_at(root, absent[i])) {
            fail_msg("found something at %s", absent[i]);
        }
    }
    CHECK_NULL(js_at(NULL, "/a"));
}

static void required_values_are_there_and_of_their_type(void **state)
{
    AUTO(json) json_t *root = parse("{\"s\":\"t\",\"i\":5,\"n\":null,\"r\":5.0}");
    struct err err = {0};
    const char *text = "untouched";
    int64_t number = 77;
    (void)state;

    CHECK_FAILS(js_get_text(root, "/x", &text, &err), &err, ERR_TERMINAL, "InvalidField");
    CHECK_TEXT(err.message, "/x is missing");
    CHECK_FAILS(js_get_text(root, "/n", &text, &err), &err, ERR_TERMINAL, "InvalidField");
    CHECK_FAILS(js_get_text(root, "/i", &text, &err), &err, ERR_TERMINAL, "InvalidField");
    CHECK_TEXT(err.message, "/i is not a string");
    CHECK_FAILS(js_get_int(root, "/s", &number, &err), &err, ERR_TERMINAL, "InvalidField");
    CHECK_FAILS(js_get_int(root, "/r", &number, &err), &err, ERR_TERMINAL, "InvalidField");
    CHECK_TEXT(text, "untouched");
    CHECK_INT(number, 77);
    CHECK_OK(js_get_text(root, "/s", &text, &err), &err);
    CHECK_OK(js_get_int(root, "/i", &number, &err), &err);
    CHECK_TEXT(text, "t");
    CHECK_INT(number, 5);
}

static void optional_values_fall_back(void **state)
{
    AUTO(json) json_t *root = parse("{\"s\":\"\",\"i\":0,\"b\":false,\"n\":null}");
    (void)state;

    CHECK_TEXT(js_text_or(root, "/s", "f"), "");
    CHECK_TEXT(js_text_or(root, "/n", "f"), "f");
    CHECK_TEXT(js_text_or(root, "/i", "f"), "f");
    CHECK_INT(js_int_or(root, "/i", 9), 0);
    CHECK_INT(js_int_or(root, "/n", 9), 9);
    CHECK_INT(js_int_or(root, "/x", 9), 9);
    CHECK(!js_bool_or(root, "/b", true));
    CHECK(js_bool_or(root, "/n", true));
    CHECK(js_bool_or(root, "/s", true));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(documents_that_are_wrong_are_refused),
        cmocka_unit_test(the_size_is_capped_exactly),
        cmocka_unit_test(errors_name_the_place),
        cmocka_unit_test(printing_gives_back_what_was_parsed),
        cmocka_unit_test(paths_reach_members_and_elements),
        cmocka_unit_test(required_values_are_there_and_of_their_type),
        cmocka_unit_test(optional_values_fall_back),
    };

    js_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
