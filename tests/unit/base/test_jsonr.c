#include "controller/base/jsonr.h"

#include "controller/base/buf.h"
#include "tests/check.h"
#include "tests/unit/base/jsonr_check.h"

#include <stdio.h>

static void syntax_is_exactly_rfc_8259(void **state)
{
    static const char *const texts[] = {
        "{}",
        "[]",
        " [ ] ",
        "{ }",
        "[1,2]",
        "[1 , 2]",
        "{\"a\":1,\"b\":2}",
        "\"\"",
        "0",
        "-1",
        "1.0",
        "1e1",
        "1E+1",
        "1e-1",
        "true",
        "null", /* good; below: bad */
        "",
        " ",
        "[",
        "]",
        "{",
        "}",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{,}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "{1:1}",
        "{\"a\" 1}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":1;\"b\":2}",
        "[1}",
        "{\"a\":1]",
        "01",
        "-",
        "-a",
        "+1",
        ".5",
        "1.",
        "1.e1",
        "1e",
        "1e+",
        "0x1",
        "1a",
        "--1",
        "-01",
        "00",
        "tru",
        "truee",
        "nul",
        "fals",
        "True",
        "NaN",
        "Infinity",
        "'a'",
        "\"",
        "\"a",
        "\"\\\"",
        "\"\\x41\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\",
        "\"\\u",
        "\"a\tb\"",
        "\"a\nb\"",
        "\"\x1F\"",
        "\"\x80\"",
        "\"\xC3\"",
        "\"\xED\xA0\x80\"",
        "[\"a\",\"b\\u00\"]",
        "1 2",
        "{} {}",
        "[] x",
        "\xEF\xBB\xBF{}",
        "/* c */ 1",
        "[1,,2]",
        "{\"a\":1,,\"b\":2}",
        "{\"a\"::1}",
        "\v1",
        "[\f]",
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        check_like_jansson(str_from(texts[i]));
        check_skip(str_from(texts[i]));
    }
    check_like_jansson(STR("\0"));
    check_like_jansson(STR("\"a\0b\""));
    check_like_jansson(STR("[1]\0"));
}

static void strings_are_resolved(void **state)
{
    static const struct {
        const char *json;
        const char *text; /* NULL: no C string can hold it */
    } cases[] = {
        {"\"\"", ""},
        {"\"plain\"", "plain"},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t"},
        {"\"\\u0041\\u00e9\\u20ac\\uD834\\uDD1E\"", "Aé€𝄞"},
        {"\"\\uffff\\u07FF\\u0800\\uD7FF\\uE000\"",
         "\xEF\xBF\xBF\xDF\xBF\xE0\xA0\x80\xED\x9F\xBF\xEE\x80\x80"},
        {"\"\\uDBFF\\uDFFF\"", "\xF4\x8F\xBF\xBF"},
        {"\"exactly sixteen.\"", "exactly sixteen."},
        {"\"more than sixteen bytes, then \\n and more\"",
         "more than sixteen bytes, then \n and more"},
        {"\"a\\u0000b\"", NULL},
        {"\"\\uD800\"", NULL},
        {"\"\\uD800\\n\"", NULL},
        {"\"\\uD800\\uD800\"", NULL},
        {"\"\\uD800\\uE000\"", NULL},
        {"\"\\uD800\\uDBFF\"", NULL},
        {"\"\\uDC00\\uD800\"", NULL},
        {"\"\\uD800x\\uDC00\"", NULL},
    };
    AUTO(arena) struct arena arena = {0};
    (void)state;

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        AUTO(guarded) struct guarded guarded = guarded_copy(str_from(cases[i].json));
        struct jsonr reader;
        const char *text = NULL;
        struct str raw = {0};
        jsonr_init(&reader, guarded.text);
        CHECK(jsonr_string(&reader, &arena, &text) == (cases[i].text != NULL));
        CHECK(jsonr_at_end(&reader)); /* consumed, and no syntax error, in any case */
        if (cases[i].text) {
            CHECK_TEXT(text, cases[i].text);
        }
        jsonr_init(&reader, guarded.text);
        CHECK(jsonr_raw_string(&reader, &raw));
        CHECK(str_equal(raw, (struct str){cases[i].json + 1, strlen(cases[i].json) - 2}));
        CHECK(jsonr_at_end(&reader));
    }
}

/* Runs are crossed 16 bytes at a time: each byte value at each place of a run and of its rest. */
static void every_byte_of_a_string_is_judged_everywhere(void **state)
{
    (void)state;

    for (int byte = 0; byte < 256; byte++) {
        for (size_t at = 1; at < 40; at++) {
            char text[42] = "\"abcdefghijklmnopqrstuvwxyz0123456789ABC\"";
            text[at] = (char)byte;
            check_like_jansson((struct str){text, 41});
        }
    }
}

static void integers_fit_or_are_refused(void **state)
{
    static const struct {
        const char *json;
        bool good;
        int64_t value;
    } cases[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"123456789012345678901234567890", false, 0},
        {"1.0", false, 0},
        {"1e3", false, 0},
        {"\"1\"", false, 0},
        {"null", false, 0},
        {"{\"a\":[1]}", false, 0},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct jsonr reader;
        int64_t value = 77;
        jsonr_init(&reader, str_from(cases[i].json));
        CHECK(jsonr_int64(&reader, &value) == cases[i].good);
        CHECK_INT(value, cases[i].good ? cases[i].value : 77);
        CHECK(jsonr_at_end(&reader)); /* consumed either way */
    }
}

/* Each read is asked for each type of value: a wrong one is stepped over and derails nothing. */
static void a_value_of_another_type_is_stepped_over(void **state)
{
    static const char *const values[] = {"null",       "true",    "-1.5",
                                         "\"\\\"x}\"", "[1,[2]]", "{\"a\":{\"b\":\"}\"}}"};
    static const enum jsonr_type types[] = {JSONR_NULL,   JSONR_BOOL,  JSONR_NUMBER,
                                            JSONR_STRING, JSONR_ARRAY, JSONR_OBJECT};
    AUTO(arena) struct arena arena = {0};
    (void)state;

    for (size_t v = 0; v < ARRAY_COUNT(values); v++) {
        for (int read = 0; read < 6; read++) {
            char text[100];
            struct jsonr reader;
            struct str name;
            const char *string = NULL;
            struct str raw = {0};
            int64_t integer = 0;
            bool boolean = false;
            (void)snprintf(text, sizeof(text), "{\"x\": %s , \"y\":5}", values[v]);
            jsonr_init(&reader, str_from(text));
            CHECK(jsonr_object_begin(&reader) && jsonr_member(&reader, &name));
            CHECK(jsonr_peek(&reader) == types[v]);
            bool got = read == 0   ? jsonr_bool(&reader, &boolean)
                       : read == 1 ? jsonr_int64(&reader, &integer)
                       : read == 2 ? jsonr_string(&reader, &arena, &string)
                       : read == 3 ? jsonr_raw_string(&reader, &raw)
                       : read == 4 ? types[v] != JSONR_ARRAY && jsonr_array_begin(&reader)
                                   : types[v] != JSONR_OBJECT && jsonr_object_begin(&reader);
            static const enum jsonr_type wanted[] = {JSONR_BOOL,   JSONR_NONE, JSONR_STRING,
                                                     JSONR_STRING, JSONR_NONE, JSONR_NONE};
            CHECK(got == (types[v] == wanted[read]));
            if ((read == 4 && types[v] == JSONR_ARRAY) || (read == 5 && types[v] == JSONR_OBJECT)) {
                CHECK(jsonr_skip(&reader));
            }
            CHECK(jsonr_member(&reader, &name) && str_equal(name, STR("y")));
            CHECK(jsonr_int64(&reader, &integer));
            CHECK_INT(integer, 5);
            CHECK(!jsonr_member(&reader, &name));
            CHECK(jsonr_at_end(&reader));
        }
    }
}

static void a_failed_reader_stays_failed(void **state)
{
    AUTO(arena) struct arena arena = {0};
    struct jsonr reader;
    struct str view;
    const char *text = NULL;
    int64_t integer = 0;
    bool boolean = false;
    (void)state;

    jsonr_init(&reader, STR("{\"a\" 1, \"b\":2}"));
    CHECK(jsonr_object_begin(&reader));
    CHECK(!jsonr_member(&reader, &view));
    CHECK(jsonr_failed(&reader));
    CHECK(!jsonr_member(&reader, &view));
    CHECK(!jsonr_element(&reader));
    CHECK(!jsonr_object_begin(&reader));
    CHECK(!jsonr_array_begin(&reader));
    CHECK(!jsonr_string(&reader, &arena, &text));
    CHECK(!jsonr_raw_string(&reader, &view));
    CHECK(!jsonr_int64(&reader, &integer));
    CHECK(!jsonr_bool(&reader, &boolean));
    CHECK(!jsonr_raw(&reader, &view));
    CHECK(!jsonr_skip(&reader));
    CHECK(jsonr_peek(&reader) == JSONR_NONE);
    CHECK(!jsonr_at_end(&reader));
}

static void misuse_fails_instead_of_derailing(void **state)
{
    struct jsonr reader;
    struct str name;
    (void)state;

    jsonr_init(&reader, STR("[1]")); /* an object was expected, and the result not looked at */
    bool begun = jsonr_object_begin(&reader);
    CHECK(!begun && !jsonr_member(&reader, &name));
    CHECK(jsonr_failed(&reader));
    jsonr_init(&reader, STR("{\"a\":1}"));
    CHECK(jsonr_object_begin(&reader));
    CHECK(!jsonr_element(&reader)); /* elements of an object */
    CHECK(jsonr_failed(&reader));
    jsonr_init(&reader, STR("{\"a\":1,\"b\":2}"));
    CHECK(jsonr_object_begin(&reader) && jsonr_member(&reader, &name));
    CHECK(!jsonr_member(&reader, &name)); /* the value was not read */
    CHECK(jsonr_failed(&reader));
}

static bool read_nested(int depth, bool by_skip, int begun)
{
    AUTO(buf) struct buf text = BUF(1000);
    struct jsonr reader;

    for (int i = 0; i < depth; i++) {
        buf_append_text(&text, "[");
    }
    for (int i = 0; i < depth; i++) {
        buf_append_text(&text, "]");
    }
    jsonr_init(&reader, buf_str(&text));
    for (int i = 0; i < (by_skip ? begun : depth); i++) {
        if (!jsonr_array_begin(&reader)) {
            return false;
        }
        bool more = jsonr_element(&reader);
        CHECK(more == (i < depth - 1));
    }
    if (by_skip && !jsonr_skip(&reader)) {
        return false;
    }
    while (reader.depth > 0) {
        CHECK(!jsonr_element(&reader));
    }
    return jsonr_at_end(&reader);
}

static void depth_is_limited_the_same_for_reading_and_skipping(void **state)
{
    (void)state;

    for (int depth = 60; depth < 70; depth++) {
        bool good = depth <= JSONR_DEPTH_MAX;
        CHECK(read_nested(depth, false, 0) == good);
        CHECK(read_nested(depth, true, 0) == good);
        CHECK(read_nested(depth, true, 1) == good);
        CHECK(read_nested(depth, true, 59) == good);
    }
    CHECK(!read_nested(400, true, 0));
}

/* Whatever is guessed, the same members come, with the same values. */
static void a_guess_changes_nothing(void **state)
{
    static const struct jsonr_name names[] = {JSONR_NAME("a"), JSONR_NAME("bb"), JSONR_NAME("c")};
    static const struct {
        const char *text;
        const char *members; /* a digit each, 3 for one that has no name; ! for failure */
    } cases[] = {
        {"{}", ""},
        {"{\"a\":1,\"bb\":[],\"c\":{\"a\":2}}", "012"},
        {"{\"c\":1,\"bb\":{},\"a\":\"bb\"}", "210"},
        {" { \"a\" : 1 , \"c\" :2,\"a\":3 } ", "020"},
        {"{\"ab\":1,\"b\":2,\"\":3,\"bbb\":4,\"c\":5}", "33332"},
        {"{\"\\u0061\":1,\"a\":2}", "30"}, /* names are compared as they are written */
        {"{\"a\":1\"bb\":2}", "0!"},
        {"{\"a\":1,}", "0!"},
        {"{,\"a\":1}", "!"},
        {"{\"a\":1,\"bb\"", "0!"},
        {"{\"a\":", "0!"},
        {"{\"a\"", "!"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        for (size_t first = 0; first < 5; first++) {
            struct guarded copy = guarded_copy(str_from(cases[i].text));
            AUTO(buf) struct buf seen = BUF(100);
            struct jsonr reader;
            jsonr_init(&reader, copy.text);
            CHECK(jsonr_object_begin(&reader));
            for (size_t at = first; jsonr_member_among(&reader, names, ARRAY_COUNT(names), &at);
                 at++) {
                (void)buf_append_char(&seen, (char)('0' + at));
                (void)jsonr_skip(&reader);
            }
            if (!jsonr_at_end(&reader)) {
                (void)buf_append_char(&seen, '!');
            }
            CHECK_TEXT(buf_text(&seen), cases[i].members);
            auto_release_guarded(&copy);
        }
    }
}

static void a_guess_in_an_array_is_wrong(void **state)
{
    struct jsonr reader;

    (void)state;
    jsonr_init(&reader, STR("[\"a\":1]"));
    CHECK(!jsonr_member_is(&reader, STR("\"a\":")));
    CHECK(jsonr_array_begin(&reader));
    CHECK(!jsonr_member_is(&reader, STR("\"a\":")));
    CHECK(jsonr_element(&reader));
}

/* Empty pairs are left out where blocks of 64 bytes are scanned, wherever in a block they stand. */
static void empty_pairs_are_skipped_right(void **state)
{
    static const struct {
        const char *value;
        bool good;
    } cases[] = {
        {"[{},[],{}]", true},
        {"{\"a\":{},\"b\":[{}]}", true},
        {"{}", true},
        {"[]", true},
        {"[[],\"{}\",{\"[]\":[]}]", true},
        {"[{]}", false},
        {"[{},[}]", false},
        {"[[{}]", false},
        {"[{}}", false},
        {"{\"a\":[}{]}", false},
        {"[\"{\",{},\"]\"]", true},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        for (int before = 0; before < 70; before++) {
            AUTO(buf) struct buf text = BUF(1000);
            struct jsonr reader;
            (void)buf_printf(&text, "[[%*s%s]]", before, "", cases[i].value);
            jsonr_init(&reader, buf_str(&text));
            CHECK((jsonr_skip(&reader) && jsonr_at_end(&reader)) == cases[i].good);
        }
    }
}

static void an_empty_text_has_no_value(void **state)
{
    struct jsonr reader;
    (void)state;

    jsonr_init(&reader, (struct str){0});
    CHECK(jsonr_at_end(&reader));
    CHECK(jsonr_peek(&reader) == JSONR_NONE);
    CHECK(!jsonr_failed(&reader)); /* looking is no failure, reading is */
    CHECK(!jsonr_skip(&reader));
    CHECK(jsonr_failed(&reader));
}

static void raw_values_are_their_text(void **state)
{
    static const char text[] = "{\"spec\" : {\"a\": [1, \"]\"] }, \"n\":-1.5e3 ,\"s\":\"x\\\"\"}";
    struct jsonr reader;
    struct str name;
    struct str raw = {0};
    (void)state;

    jsonr_init(&reader, str_from(text));
    CHECK(jsonr_object_begin(&reader));
    CHECK(jsonr_member(&reader, &name) && jsonr_raw(&reader, &raw));
    CHECK(str_equal_c(raw, "{\"a\": [1, \"]\"] }"));
    CHECK(jsonr_member(&reader, &name) && jsonr_raw(&reader, &raw));
    CHECK(str_equal_c(raw, "-1.5e3"));
    CHECK(jsonr_member(&reader, &name) && jsonr_raw(&reader, &raw));
    CHECK(str_equal_c(raw, "\"x\\\"\""));
    CHECK(!jsonr_member(&reader, &name) && jsonr_at_end(&reader));
}

static void every_prefix_of_a_document_fails(void **state)
{
    static const char whole[] = "{\"type\":\"ADDED\",\"object\":{\"n\":[-1.5e+3,true,false,null,{}]"
                                ",\"s\":\"\\u00e9\\n€\"}}";
    (void)state;

    check_like_jansson(str_from(whole));
    for (size_t length = 0; length < sizeof(whole) - 1; length++) {
        AUTO(guarded) struct guarded guarded = guarded_copy((struct str){whole, length});
        struct jsonr reader;
        check_like_jansson(guarded.text); /* who refuses them all */
        jsonr_init(&reader, guarded.text);
        CHECK(!jsonr_skip(&reader));
        CHECK(jsonr_failed(&reader));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(syntax_is_exactly_rfc_8259),
        cmocka_unit_test(strings_are_resolved),
        cmocka_unit_test(every_byte_of_a_string_is_judged_everywhere),
        cmocka_unit_test(integers_fit_or_are_refused),
        cmocka_unit_test(a_value_of_another_type_is_stepped_over),
        cmocka_unit_test(a_failed_reader_stays_failed),
        cmocka_unit_test(misuse_fails_instead_of_derailing),
        cmocka_unit_test(depth_is_limited_the_same_for_reading_and_skipping),
        cmocka_unit_test(a_guess_changes_nothing),
        cmocka_unit_test(a_guess_in_an_array_is_wrong),
        cmocka_unit_test(empty_pairs_are_skipped_right),
        cmocka_unit_test(an_empty_text_has_no_value),
        cmocka_unit_test(raw_values_are_their_text),
        cmocka_unit_test(every_prefix_of_a_document_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
