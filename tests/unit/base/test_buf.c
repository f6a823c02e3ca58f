#include "controller/base/buf.h"

#include "tests/check.h"

static void an_empty_buffer_is_an_empty_text(void **state)
{
    AUTO(buf) struct buf buf = BUF(10);
    (void)state;

    CHECK_TEXT(buf_text(&buf), "");
    CHECK_INT(buf_str(&buf).len, 0);
    CHECK(!buf_failed(&buf));
    buf_clear(&buf);
    buf_consume(&buf, 5);
    CHECK(buf_append(&buf, NULL, 0));
    CHECK_TEXT(buf_text(&buf), "");
}

static void appends_add_up(void **state)
{
    AUTO(buf) struct buf buf = BUF(1000);
    (void)state;

    CHECK(buf_append(&buf, "ab", 2));
    CHECK(buf_append_text(&buf, "cd"));
    CHECK(buf_append_str(&buf, STR("ef")));
    CHECK(buf_append_char(&buf, 'g'));
    CHECK(buf_printf(&buf, "-%d-%s", 7, "h"));
    CHECK_TEXT(buf_text(&buf), "abcdefg-7-h");
    CHECK_INT(buf.len, 11);
    buf_consume(&buf, 7);
    CHECK_TEXT(buf_text(&buf), "-7-h");
    buf_consume(&buf, 100);
    CHECK_TEXT(buf_text(&buf), "");
}

/* Fill to one below, exactly and one above every maximum, by pieces of every size. */
static void the_maximum_is_exact(void **state)
{
    static const char filling[300] = {0};
    (void)state;

    for (size_t max = 0; max < 260; max++) {
        for (size_t piece = 1; piece < 130; piece += 7) {
            AUTO(buf) struct buf buf = BUF(max);
            while (buf.len + piece <= max) {
                CHECK(buf_append(&buf, filling, piece));
                CHECK(buf.capacity <= max + 1);
            }
            CHECK(buf_append(&buf, filling, max - buf.len));
            CHECK_INT(buf.len, max);
            CHECK(!buf_append(&buf, filling, 1));
            CHECK(buf_failed(&buf));
        }
    }
}

static void a_failed_buffer_stays_empty_until_cleared(void **state)
{
    AUTO(buf) struct buf buf = BUF(4);
    (void)state;

    CHECK(buf_append_text(&buf, "abcd"));
    CHECK(!buf_append_text(&buf, "e"));
    CHECK_TEXT(buf_text(&buf), "");
    CHECK(!buf_append_text(&buf, "f"));
    CHECK(!buf_printf(&buf, "%s", ""));
    CHECK_INT(buf.len, 0);
    buf_clear(&buf);
    CHECK(buf_append_text(&buf, "ghij"));
    CHECK_TEXT(buf_text(&buf), "ghij");
    buf_fail(&buf);
    CHECK(buf_failed(&buf) && buf.len == 0);
}

static void formatting_meets_the_maximum_too(void **state)
{
    AUTO(buf) struct buf buf = BUF(5);
    (void)state;

    CHECK(buf_printf(&buf, "%s", "12345"));
    buf_clear(&buf);
    CHECK(!buf_printf(&buf, "%s", "123456"));
    CHECK(buf_failed(&buf));
}

static void an_unlimited_maximum_does_not_wrap(void **state)
{
    AUTO(buf) struct buf buf = BUF(SIZE_MAX);
    (void)state;

    CHECK(buf_append_text(&buf, "x"));
    CHECK_TEXT(buf_text(&buf), "x");
}

static void detach_hands_over_and_empties(void **state)
{
    AUTO(buf) struct buf buf = BUF(100);
    (void)state;

    buf_append_text(&buf, "mine");
    AUTO(free) char *text = buf_detach(&buf);
    AUTO(free) char *none = buf_detach(&buf);
    CHECK_TEXT(text, "mine");
    CHECK_TEXT(none, "");
    CHECK(buf_append_text(&buf, "next"));
    CHECK_TEXT(buf_text(&buf), "next");
}

static void release_leaves_a_usable_buffer(void **state)
{
    struct buf buf;
    (void)state;

    buf_init(&buf, 3);
    buf_append_text(&buf, "abcd");
    buf_release(&buf);
    CHECK(!buf_failed(&buf));
    CHECK(buf_append_text(&buf, "abc") && !buf_append_text(&buf, "d"));
    buf_release(&buf);
}

static void percent_keeps_only_unreserved(void **state)
{
    AUTO(buf) struct buf buf = BUF(10000);
    (void)state;

    buf_append_percent(&buf, STR("AZaz09-._~"));
    CHECK_TEXT(buf_text(&buf), "AZaz09-._~");
    buf_clear(&buf);
    buf_append_percent(&buf, STR("a/b?c=d&e f+%\xC3\xA9"));
    CHECK_TEXT(buf_text(&buf), "a%2Fb%3Fc%3Dd%26e%20f%2B%25%C3%A9");
    buf_clear(&buf);
    for (int byte = 0; byte < 256; byte++) {
        const char raw = (char)byte;
        buf_append_percent(&buf, (struct str){&raw, 1});
    }
    CHECK_INT(buf.len, 66 + 3 * (256 - 66));
}

static void json_strings_are_escaped(void **state)
{
    static const struct {
        struct str text;
        const char *json;
    } cases[] = {
        {{"", 0}, "\"\""},
        {{"plain", 5}, "\"plain\""},
        {{"q\"b\\s/", 6}, "\"q\\\"b\\\\s/\""},
        {{"\b\f\n\r\t\0\x1F", 7}, "\"\\b\\f\\n\\r\\t\\u0000\\u001f\""},
        {{"é€𝄞", 9}, "\"é€𝄞\""},
        {{"\xFF", 1}, "\"\xEF\xBF\xBD\""},
        {{"a\xE2\x82", 3}, "\"a\xEF\xBF\xBD\xEF\xBF\xBD\""},
        {{"\xED\xA0\x80", 3}, "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\""},
        {{"\x7F\xC2\x80\xC2\x9F\xC2\xA0", 7}, "\"\\u007f\\u0080\\u009f\xC2\xA0\""},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        AUTO(buf) struct buf buf = BUF(100);
        CHECK(buf_append_json(&buf, cases[i].text));
        CHECK_TEXT(buf_text(&buf), cases[i].json);
    }
}

static void escaping_past_the_maximum_fails(void **state)
{
    (void)state;

    for (size_t max = 0; max < 14; max++) {
        AUTO(buf) struct buf buf = BUF(max);
        CHECK(buf_append_json(&buf, STR("ab\x01\"")) == (max >= 12));
        CHECK(buf_failed(&buf) == (max < 12));
    }
}

/* RFC 4648 section 10. */
static void base64_matches_the_rfc(void **state)
{
    static const char *const cases[][2] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        AUTO(buf) struct buf encoded = BUF(100);
        AUTO(buf) struct buf decoded = BUF(100);
        CHECK(buf_append_base64(&encoded, cases[i][0], strlen(cases[i][0])));
        CHECK_TEXT(buf_text(&encoded), cases[i][1]);
        CHECK(buf_decode_base64(&decoded, str_from(cases[i][1])));
        CHECK_TEXT(buf_text(&decoded), cases[i][0]);
    }
}

static void base64_of_any_bytes_comes_back(void **state)
{
    unsigned char bytes[256];
    (void)state;

    for (size_t i = 0; i < sizeof(bytes); i++) {
        bytes[i] = (unsigned char)(i * 151 + 7);
    }
    for (size_t count = 0; count <= sizeof(bytes); count++) {
        AUTO(buf) struct buf encoded = BUF(1000);
        AUTO(buf) struct buf decoded = BUF(count);
        CHECK(buf_append_base64(&encoded, bytes, count));
        CHECK(buf_decode_base64(&decoded, buf_str(&encoded)));
        CHECK_INT(decoded.len, count);
        CHECK(count == 0 || memcmp(decoded.ptr, bytes, count) == 0);
    }
}

static void base64_skips_line_breaks_and_refuses_the_rest(void **state)
{
    static const char *const bad[] = {
        "Z",    "Zg",   "Zg=",   "Zg==Zg==", "Z===", "====",    "Zm9v ", "Zm 9v",
        "Zm9-", "Zm9_", "Zg==x", "Zg=x",     "=Zg=", "Zm9vZg=", "Zm9v=", "Zm\xC3\xA9"};
    AUTO(buf) struct buf buf = BUF(100);
    (void)state;

    CHECK(buf_decode_base64(&buf, STR("\nZm\r\n9v\nYg=\n=\n")));
    CHECK_TEXT(buf_text(&buf), "foob");
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        if (buf_decode_base64(&buf, str_from(bad[i]))) {
            fail_msg("accepted \"%s\"", bad[i]);
        }
        CHECK_TEXT(buf_text(&buf), "foob"); /* what was there is untouched */
        CHECK(!buf_failed(&buf));
    }
}

static void base64_past_the_maximum_fails(void **state)
{
    AUTO(buf) struct buf buf = BUF(5);
    (void)state;

    CHECK(!buf_decode_base64(&buf, STR("Zm9vYmFy")));
    CHECK(buf_failed(&buf));
    CHECK(!buf_decode_base64(&buf, STR("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_buffer_is_an_empty_text),
        cmocka_unit_test(appends_add_up),
        cmocka_unit_test(the_maximum_is_exact),
        cmocka_unit_test(a_failed_buffer_stays_empty_until_cleared),
        cmocka_unit_test(formatting_meets_the_maximum_too),
        cmocka_unit_test(an_unlimited_maximum_does_not_wrap),
        cmocka_unit_test(detach_hands_over_and_empties),
        cmocka_unit_test(release_leaves_a_usable_buffer),
        cmocka_unit_test(percent_keeps_only_unreserved),
        cmocka_unit_test(json_strings_are_escaped),
        cmocka_unit_test(escaping_past_the_maximum_fails),
        cmocka_unit_test(base64_matches_the_rfc),
        cmocka_unit_test(base64_of_any_bytes_comes_back),
        cmocka_unit_test(base64_skips_line_breaks_and_refuses_the_rest),
        cmocka_unit_test(base64_past_the_maximum_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
