#include "controller/base/jsonw.h"

#include "tests/check.h"

#include <jansson.h>

static void commas_and_names_fall_in_place(void **state)
{
    AUTO(buf) struct buf buf = BUF(1000);
    struct jsonw writer;
    (void)state;

    jsonw_init(&writer, &buf);
    jsonw_object(&writer, NULL);
    jsonw_text(&writer, "text", "a\"b");
    jsonw_text(&writer, "none", NULL);
    jsonw_str(&writer, "view", STR("x\0y"));
    jsonw_int(&writer, "min", INT64_MIN);
    jsonw_bool(&writer, "yes", true);
    jsonw_array(&writer, "list");
    jsonw_int(&writer, NULL, 1);
    jsonw_object(&writer, NULL);
    jsonw_end_object(&writer);
    jsonw_array(&writer, NULL);
    jsonw_end_array(&writer);
    jsonw_bool(&writer, NULL, false);
    jsonw_end_array(&writer);
    jsonw_printf(&writer, "made \"so\"", "%s-%d\n", "t", 5);
    jsonw_raw(&writer, "raw", STR("{\"a\":[]}"));
    jsonw_end_object(&writer);
    CHECK_TEXT(buf_text(&buf), "{\"text\":\"a\\\"b\",\"none\":null,\"view\":\"x\\u0000y\","
                               "\"min\":-9223372036854775808,\"yes\":true,"
                               "\"list\":[1,{},[],false],\"made \\\"so\\\"\":\"t-5\\n\","
                               "\"raw\":{\"a\":[]}}");
}

static void a_scalar_alone_is_a_document(void **state)
{
    AUTO(buf) struct buf buf = BUF(100);
    struct jsonw writer;
    (void)state;

    jsonw_init(&writer, &buf);
    jsonw_text(&writer, NULL, "x");
    CHECK_TEXT(buf_text(&buf), "\"x\"");
}

/* Open `depth` containers of alternating kind with a member on each level, and close them. */
static void nest(struct buf *buf, int depth)
{
    struct jsonw writer;

    jsonw_init(&writer, buf);
    for (int i = 0; i < depth; i++) {
        const char *name = i % 2 ? "x" : NULL; /* the level outside of odd ones is an object */
        if (i % 2 == 0) {
            jsonw_object(&writer, name);
            jsonw_int(&writer, "a", i);
        } else {
            jsonw_array(&writer, name);
            jsonw_int(&writer, NULL, i);
        }
    }
    for (int i = depth; i-- > 0;) {
        if (i % 2 == 0) {
            jsonw_text(&writer, "z", "end");
            jsonw_end_object(&writer);
        } else {
            jsonw_text(&writer, NULL, "end");
            jsonw_end_array(&writer);
        }
    }
}

static void nesting_is_right_up_to_its_limit(void **state)
{
    (void)state;

    for (int depth = 1; depth <= 32; depth++) {
        AUTO(buf) struct buf buf = BUF(10000);
        nest(&buf, depth);
        json_t *parsed = json_loads(buf_text(&buf), 0, NULL);
        CHECK_NOT_NULL(parsed);
        json_decref(parsed);
    }
    AUTO(buf) struct buf buf = BUF(10000);
    nest(&buf, 33);
    CHECK(buf_failed(&buf));
}

static void one_end_too_many_fails(void **state)
{
    AUTO(buf) struct buf buf = BUF(100);
    struct jsonw writer;
    (void)state;

    jsonw_init(&writer, &buf);
    jsonw_array(&writer, NULL);
    jsonw_end_array(&writer);
    CHECK(!buf_failed(&buf));
    jsonw_end_array(&writer);
    CHECK(buf_failed(&buf));
}

static void a_full_buffer_fails_the_text(void **state)
{
    (void)state;

    for (size_t max = 0; max < 20; max++) {
        AUTO(buf) struct buf buf = BUF(max);
        struct jsonw writer;
        jsonw_init(&writer, &buf);
        jsonw_object(&writer, NULL);
        jsonw_printf(&writer, "a", "%s", "12345");
        jsonw_int(&writer, "b", 1);
        jsonw_end_object(&writer);
        CHECK(buf_failed(&buf) == (max < strlen("{\"a\":\"12345\",\"b\":1}")));
        CHECK(!buf_failed(&buf) || buf.len == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commas_and_names_fall_in_place),
        cmocka_unit_test(a_scalar_alone_is_a_document),
        cmocka_unit_test(nesting_is_right_up_to_its_limit),
        cmocka_unit_test(one_end_too_many_fails),
        cmocka_unit_test(a_full_buffer_fails_the_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
