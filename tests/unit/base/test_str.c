#include "controller/base/str.h"

#include "tests/check.h"

#define CHECK_STR(actual, expected) CHECK(str_equal_c((actual), (expected)))

static void equality_minds_length_and_null(void **state)
{
    const struct str none = {0};
    (void)state;

    CHECK(str_equal(STR("abc"), str_from("abc")));
    CHECK(!str_equal(STR("abc"), STR("abcd")));
    CHECK(!str_equal(STR("abc"), STR("abd")));
    CHECK(str_equal(none, STR("")));
    CHECK(str_equal_c(none, NULL) && str_equal_c(none, "") && !str_equal_c(none, "x"));
    CHECK(str_equal(STR("a\0b"), STR("a\0b")) && !str_equal(STR("a\0b"), STR("a\0c")));
    CHECK(text_equal(NULL, "") && text_equal("a", "a") && !text_equal("a", NULL));
    CHECK(text_is_empty(NULL) && text_is_empty("") && !text_is_empty(" "));
}

static void prefixes_and_suffixes(void **state)
{
    (void)state;

    CHECK(str_starts_with(STR("tenant-a"), STR("tenant-")));
    CHECK(str_starts_with(STR("x"), STR("")) && str_starts_with((struct str){0}, STR("")));
    CHECK(!str_starts_with(STR("ten"), STR("tenant")));
    CHECK(str_ends_with(STR("a.yaml"), STR(".yaml")));
    CHECK(str_ends_with((struct str){0}, STR("")) && !str_ends_with(STR("l"), STR("yaml")));
    CHECK(!str_ends_with(STR("a.yamL"), STR(".yaml")));
}

static void trim_takes_blanks_from_both_ends_only(void **state)
{
    (void)state;

    CHECK_STR(str_trim(STR(" \t\r\n a b \n")), "a b");
    CHECK_STR(str_trim(STR(" \n")), "");
    CHECK_STR(str_trim((struct str){0}), "");
    CHECK_STR(str_trim(STR("\va\f")), "\va\f");
}

static void cut_walks_all_parts(void **state)
{
    struct str rest = STR("a,,b");
    (void)state;

    CHECK_STR(str_cut(&rest, ','), "a");
    CHECK_STR(str_cut(&rest, ','), "");
    CHECK_STR(rest, "b");
    CHECK_STR(str_cut(&rest, ','), "b");
    CHECK_INT(rest.len, 0);
    CHECK_STR(str_cut(&rest, ','), "");
    rest = STR("end,");
    CHECK_STR(str_cut(&rest, ','), "end");
    CHECK_STR(str_cut(&rest, ','), "");
}

static void numbers_are_decimal_and_fit(void **state)
{
    static const struct {
        const char *text;
        bool good;
        int64_t value;
    } cases[] = {
        {"0", true, 0},
        {"-0", true, 0},
        {"007", true, 7},
        {"42", true, 42},
        {"-42", true, -42},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"99999999999999999999999", false, 0},
        {"", false, 0},
        {"-", false, 0},
        {"--1", false, 0},
        {"+1", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"1e3", false, 0},
        {"0x10", false, 0},
        {"1.0", false, 0},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        int64_t value = 77;
        CHECK(str_to_int64(str_from(cases[i].text), &value) == cases[i].good);
        CHECK_INT(value, cases[i].good ? cases[i].value : 77);
    }
}

/* RFC 3629's table, and what stands just outside of it. */
static void utf8_is_exactly_rfc_3629(void **state)
{
    static const struct {
        struct str bytes;
        bool good;
    } cases[] = {
        {{"", 0}, true},
        {{"ascii only, longer than one word", 32}, true},
        {{"\xC2\x80", 2}, true},
        {{"\xDF\xBF", 2}, true},
        {{"\xE0\xA0\x80", 3}, true},
        {{"\xED\x9F\xBF", 3}, true},
        {{"\xEE\x80\x80", 3}, true},
        {{"\xEF\xBF\xBF", 3}, true},
        {{"\xF0\x90\x80\x80", 4}, true},
        {{"\xF4\x8F\xBF\xBF", 4}, true},
        {{"\0", 1}, false},
        {{"long enough for a word\0", 23}, false},
        {{"\x80", 1}, false},
        {{"\xC0\x80", 2}, false},         /* overlong */
        {{"\xC1\xBF", 2}, false},         /* overlong */
        {{"\xE0\x9F\xBF", 3}, false},     /* overlong */
        {{"\xF0\x8F\xBF\xBF", 4}, false}, /* overlong */
        {{"\xED\xA0\x80", 3}, false},     /* surrogate */
        {{"\xED\xBF\xBF", 3}, false},     /* surrogate */
        {{"\xF4\x90\x80\x80", 4}, false}, /* past U+10FFFF */
        {{"\xF5\x80\x80\x80", 4}, false}, /* no such lead */
        {{"\xFF", 1}, false},             /* no such lead */
        {{"\xC2", 1}, false},             /* unfinished */
        {{"\xE2\x82", 2}, false},         /* unfinished */
        {{"\xF0\x9F\x98", 3}, false},     /* unfinished */
        {{"\xE2\x82\x41", 3}, false},     /* third byte wrong */
        {{"\xF0\x9F\x98\x41", 4}, false}, /* fourth byte wrong */
        {{"abcdefg\xC3\xA9hijklmnop", 18}, true},
        {{"abcdefg\xC3hijklmnopqrst", 20}, false},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        if (str_is_utf8(cases[i].bytes) != cases[i].good) {
            fail_msg("case %zu", i);
        }
    }
}

/* A second opinion from the definition: encode every code point and look at each two-byte text. */
static void every_character_is_utf8(void **state)
{
    (void)state;

    for (uint32_t code = 1; code <= 0x10FFFF; code++) {
        unsigned char bytes[4];
        size_t width = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
        static const unsigned char leads[] = {0, 0, 0xC0, 0xE0, 0xF0};
        for (size_t i = width; i-- > 1;) {
            bytes[i] = (unsigned char)(0x80 | (code >> (6 * (width - 1 - i)) & 0x3F));
        }
        bytes[0] = (unsigned char)(leads[width] | code >> (6 * (width - 1)));
        bool surrogate = code >= 0xD800 && code <= 0xDFFF;
        if (str_is_utf8((struct str){(const char *)bytes, width}) == surrogate) {
            fail_msg("U+%04X", code);
        }
    }
}

static void valid_prefix_stops_at_the_first_bad_byte(void **state)
{
    (void)state;

    CHECK_INT(str_utf8_valid(STR("")), 0);
    CHECK_INT(str_utf8_valid(STR("\xFF")), 0);
    CHECK_INT(str_utf8_valid(STR("héllo, this is long enough\xE2\x82")), 27);
    CHECK_INT(str_utf8_valid(STR("12345678\x80")), 8);
    CHECK_INT(str_utf8_valid(STR("1234567\x80")), 7);
}

static void prefix_never_splits_a_character(void **state)
{
    const struct str text = STR("aé€𝄞z"); /* 1 + 2 + 3 + 4 + 1 bytes */
    static const size_t edges[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 11, 11};
    (void)state;

    for (size_t max = 0; max < ARRAY_COUNT(edges); max++) {
        CHECK_INT(str_utf8_prefix(text, max), edges[max]);
    }
    CHECK_INT(str_utf8_prefix((struct str){0}, 5), 0);
    CHECK_INT(str_utf8_prefix(STR("\x80\x80\x80\x80\x80"), 5), 5); /* no lead: left to others */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equality_minds_length_and_null),
        cmocka_unit_test(prefixes_and_suffixes),
        cmocka_unit_test(trim_takes_blanks_from_both_ends_only),
        cmocka_unit_test(cut_walks_all_parts),
        cmocka_unit_test(numbers_are_decimal_and_fit),
        cmocka_unit_test(utf8_is_exactly_rfc_3629),
        cmocka_unit_test(every_character_is_utf8),
        cmocka_unit_test(valid_prefix_stops_at_the_first_bad_byte),
        cmocka_unit_test(prefix_never_splits_a_character),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
