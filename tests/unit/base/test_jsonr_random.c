/* Random texts, good and spoiled, against jansson and the slow reference. The sequence is fixed, so
 * a failure can be repeated. */
#include "controller/base/buf.h"
#include "tests/check.h"
#include "tests/unit/base/jsonr_check.h"

static uint64_t random_state = 0x853C49E6748FEA9BU;

static uint32_t draw(uint32_t bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 33) % bound;
}

static void put_space(struct buf *out)
{
    static const char spaces[] = " \t\r\n";

    while (draw(4) == 0) {
        buf_append_char(out, spaces[draw(4)]);
    }
}

static void put_string(struct buf *out)
{
    static const char *const pieces[] = {
        "a",
        "tenant",
        "f:metadata",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\\\"",
        "\\\\",
        "\\/",
        "\\b",
        "\\f",
        "\\n",
        "\\r",
        "\\t",
        "\\u00e9",
        "\\u20AC",
        "\\uD834\\uDD1E",
        "é",
        "€",
        "𝄞",
        " ",
        "'",
        "\x7F",
        "0123456789abcdef0123456789abcdef",
        "\\\\\\\\\\\\\\\\",
        "\\\\\\\"",
    };
    static const char *const rare[] = {"\\u0000", "\\uD800", "\\uDC00", "\\uD800\\u0041",
                                       "\\uD834x"};

    buf_append_char(out, '"');
    for (uint32_t left = draw(8); left > 0; left--) {
        buf_append_text(out, pieces[draw(ARRAY_COUNT(pieces))]);
    }
    if (draw(200) == 0) {
        buf_append_text(out, rare[draw(ARRAY_COUNT(rare))]);
    }
    buf_append_char(out, '"');
}

static void put_scalar(struct buf *out)
{
    static const char *const scalars[] = {
        "null",
        "true",
        "false",
        "0",
        "-0",
        "7",
        "-12",
        "9223372036854775807",
        "1.5",
        "-0.0",
        "1e5",
        "2E-3",
        "1e+2",
        "0.25",
        "-9223372036854775808",
        "123456789012",
    };

    if (draw(2)) {
        put_string(out);
    } else {
        buf_append_text(out, scalars[draw(ARRAY_COUNT(scalars))]);
    }
}

static void put_value(struct buf *out, int depth)
{
    bool is_object = draw(3) > 0;

    put_space(out);
    if (depth == 0 || draw(3) == 0) {
        put_scalar(out);
        put_space(out);
        return;
    }
    buf_append_char(out, is_object ? '{' : '[');
    put_space(out);
    for (uint32_t left = draw(5); left > 0; left--) {
        if (is_object) {
            put_string(out);
            put_space(out);
            buf_append_char(out, ':');
        }
        put_value(out, depth - 1);
        if (left > 1) {
            buf_append_char(out, ',');
            put_space(out);
        }
    }
    buf_append_char(out, is_object ? '}' : ']');
    put_space(out);
}

static void random_texts_read_like_jansson(void **state)
{
    AUTO(buf) struct buf text = BUF((size_t)1 << 20);
    (void)state;

    for (int i = 0; i < 4000; i++) {
        buf_clear(&text);
        put_value(&text, (int)draw(7));
        check_like_jansson(buf_str(&text));
        check_skip(buf_str(&text));
    }
}

static void spoil(struct buf *text)
{
    static const char bytes[] = "{}[]\",:\\ \n\x01\x80\xC3"
                                "0-9.eEtfnu/x";
    uint32_t at = draw((uint32_t)text->len);

    switch (draw(3)) {
    case 0:
        text->ptr[at] = bytes[draw(sizeof(bytes))]; /* the NUL too */
        break;
    case 1:
        memmove(text->ptr + at, text->ptr + at + 1, text->len - at); /* with the final NUL */
        text->len--;
        break;
    default:
        text->len = at;
        text->ptr[at] = '\0';
        break;
    }
}

static void spoiled_texts_are_judged_like_jansson(void **state)
{
    AUTO(buf) struct buf text = BUF((size_t)1 << 20);
    (void)state;

    for (int i = 0; i < 12000; i++) {
        buf_clear(&text);
        put_value(&text, (int)draw(5));
        for (uint32_t left = 1 + draw(3); left > 0 && text.len > 0; left--) {
            spoil(&text);
        }
        check_like_jansson(buf_str(&text));
        check_skip(buf_str(&text));
    }
}

/* Escapes, quotes and ends at every place of a block. */
static void skipping_minds_every_block_edge(void **state)
{
    static const char *const tails[] = {
        "\"}x",
        "\\\"\"}x",
        "\\\\\"}x",
        "\\\\\\\"\"}x",
        "]\"}x",
        "]\"]x",
        "\\",
        "\\\"}",
        "\"",
        "\"}\\",
        "",
        "\",\"\\\\\":{}}",
        "\\\\\\\\\\\\\\\\\\\\\\\\\\\\\"}",
        "\"\\}",
        "\",[[{}]],{}}",
        "\"]}",
        "\",[}",
    };
    (void)state;

    for (size_t fill = 0; fill < 200; fill++) {
        for (size_t i = 0; i < ARRAY_COUNT(tails); i++) {
            AUTO(buf) struct buf text = BUF(1000);
            buf_append_text(&text, "{\"");
            for (size_t k = 0; k < fill; k++) {
                buf_append_char(&text, "a}b]c{d["[k % 8]);
            }
            buf_append_text(&text, tails[i]);
            check_skip(buf_str(&text));
            check_skip((struct str){text.ptr + 1, text.len - 1}); /* the string itself */
            AUTO(buf) struct buf slashes = BUF(1000);
            buf_append_text(&slashes, "[\"");
            for (size_t k = 0; k < fill; k++) {
                buf_append_char(&slashes, '\\');
            }
            buf_append_text(&slashes, tails[i]);
            check_skip(buf_str(&slashes));
            check_skip((struct str){slashes.ptr + 1, slashes.len - 1});
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(skipping_minds_every_block_edge),
        cmocka_unit_test(random_texts_read_like_jansson),
        cmocka_unit_test(spoiled_texts_are_judged_like_jansson),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
