#include "controller/kube/list_scan.h"

#include <stdlib.h>
#include <time.h>

#include "tests/check.h"

/* What came out, each element followed by '|'. */
struct seen {
    struct buf items;
    size_t count;
    size_t fail_at;
    size_t bytes; /* when items are too many to keep */
    bool is_counting;
    const char *low;
    const char *high;
    size_t views;
};

static int see(void *context, struct str json, struct err *err)
{
    struct seen *seen = context;

    seen->count++;
    seen->bytes += json.len;
    seen->views += json.ptr >= seen->low && json.ptr < seen->high;
    if (seen->count == seen->fail_at) {
        return err_set(err, ERR_TERMINAL, "Refused", "item %zu", seen->count);
    }
    if (!seen->is_counting) {
        buf_append_str(&seen->items, json);
        buf_append_char(&seen->items, '|');
    }
    return 0;
}

static int feed(struct list_scan *scan, struct seen *seen, struct str rest, size_t step,
                struct err *err)
{
    while (rest.len > 0) {
        size_t length = rest.len < step ? rest.len : step;
        char *piece = malloc(length);
        memcpy(piece, rest.ptr, length);
        seen->low = piece;
        seen->high = piece + length;
        int result = list_scan_feed(scan, (struct str){piece, length}, see, seen, err);
        free(piece);
        if (result != 0) {
            return -1;
        }
        rest.ptr += length;
        rest.len -= length;
    }
    return 0;
}

struct expectation {
    const char *text;
    const char *items;
    const char *version;
    const char *token;
};

static void expect_at_every_chunking(const struct expectation *expected)
{
    struct str text = str_from(expected->text);

    for (size_t step = 1; step <= text.len; step++) {
        AUTO(list_scan) struct list_scan scan;
        struct seen seen = {.items = BUF(4096)};
        struct err err;
        list_scan_init(&scan, 1000);
        CHECK_OK(feed(&scan, &seen, text, step, &err), &err);
        CHECK_OK(list_scan_finish(&scan, &err), &err);
        CHECK_TEXT(buf_text(&seen.items), expected->items);
        CHECK_TEXT(list_scan_resource_version(&scan), expected->version);
        CHECK_TEXT(list_scan_continue(&scan), expected->token);
        buf_release(&seen.items);
    }
}

static void finds_every_element_and_the_lists_metadata(void **state)
{
    static const struct expectation cases[] = {
        {"{\"kind\":\"TenantList\",\"apiVersion\":\"tenantry.dev/v1alpha1\",\"metadata\":"
         "{\"resourceVersion\":\"42\",\"continue\":\"abc\"},\"items\":[{\"a\":1},{\"b\":[2,{}]}]}"
         "\n",
         "{\"a\":1}|{\"b\":[2,{}]}|", "42", "abc"},
        /* metadata behind items, white space everywhere, other members with structure */
        {" {\n \"other\" : { \"items\" : [ {\"no\":1} ] , \"metadata\":{\"resourceVersion\":\"9\"} "
         "} ,"
         " \"items\" : [ {\"a\" : \"]}\" } ,\t{\"b\":\"\\\"{\\\\\"} ] , \"metadata\" :"
         " { \"selfLink\":\"\", \"resourceVersion\" : \"7\" } } ",
         "{\"a\" : \"]}\" }|{\"b\":\"\\\"{\\\\\"}|", "7", ""},
        /* an empty list, and the null that a server may write for one */
        {"{\"items\":[],\"metadata\":{\"resourceVersion\":\"1\"}}", "", "1", ""},
        {"{\"metadata\":{\"resourceVersion\":\"1\",\"continue\":\"\"},\"items\":null}", "", "1",
         ""},
        /* scalars before, between and at the end */
        {"{\"n\":-1.5e3,\"t\":true,\"metadata\":{\"remainingItemCount\":3,\"resourceVersion\":"
         "\"5\"},"
         "\"items\":[{}],\"z\":null}",
         "{}|", "5", ""},
        /* bytes of more than one in every place */
        {"{\"\xc3\xa4\":\"\xf0\x9f\x8e\x89\",\"items\":[{\"\xc3\xb6\":\"\xe2\x82\xac\"}],"
         "\"metadata\":{\"resourceVersion\":\"12345678901234567890123\"}}",
         "{\"\xc3\xb6\":\"\xe2\x82\xac\"}|", "12345678901234567890123", ""},
        /* an escaped name is not "items" to us, as it is not to the server that never writes one */
        {"{\"metadata\":{\"resourceVersion\":\"3\",\"continue\":\"x\\u0041\\/"
         "y=\"},\"items\":[1,\"two\"]}",
         "1|\"two\"|", "3", "xA/y="},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        expect_at_every_chunking(&cases[i]);
    }
}

static void what_is_no_list_is_an_error_at_every_chunking(void **state)
{
    static const char *const texts[] = {
        "",
        "[]",
        "{",
        "{}",
        "{\"items\":[]}",
        "{\"items\":[{}],\"metadata\":{}}",
        "{\"items\":[{},],\"metadata\":{\"resourceVersion\":\"1\"}}",
        "{\"items\":[,{}],\"metadata\":{\"resourceVersion\":\"1\"}}",
        "{\"items\":[{}{}],\"metadata\":{\"resourceVersion\":\"1\"}}",
        "{\"items\":[{}]\"metadata\":{\"resourceVersion\":\"1\"}}",
        "{\"items\":[{}],,\"metadata\":{\"resourceVersion\":\"1\"}}",
        "{\"metadata\":{\"resourceVersion\":\"1\"},}",
        "{\"metadata\":{\"resourceVersion\":\"1\"}",
        "{\"metadata\":{\"resourceVersion\":\"1\"},\"items\":[{}",
        "{\"metadata\":{\"resourceVersion\":\"1\"},\"items\":[{}]} x",
        "{\"metadata\"}",
        "{\"metadata\":}",
        "{metadata:{\"resourceVersion\":\"1\"}}",
        "{\"metadata\":{\"resourceVersion\":1}}",
        "{\"metadata\":{\"resourceVersion\":\"1\"]}",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        struct str text = str_from(texts[i]);
        for (size_t step = 1; step <= text.len + 1; step++) {
            AUTO(list_scan) struct list_scan scan;
            struct seen seen = {.items = BUF(4096)};
            struct err err;
            list_scan_init(&scan, 1000);
            int result = feed(&scan, &seen, text, step, &err);
            if (result == 0) {
                result = list_scan_finish(&scan, &err);
            }
            if (result == 0) {
                fail_msg("taken for a list: %s", texts[i]);
            }
            CHECK_TEXT(err.reason, "InvalidList");
            buf_release(&seen.items);
        }
    }
}

static void elements_within_a_piece_are_not_copied(void **state)
{
    AUTO(list_scan) struct list_scan scan;
    struct seen seen = {.items = BUF(4096)};
    struct err err;

    (void)state;
    list_scan_init(&scan, 1000);
    CHECK_OK(feed(&scan, &seen, STR("{\"items\":[{\"a\":1},{\"b\":2},{\"c\""), 1000, &err), &err);
    CHECK_INT(seen.views, 2);
    CHECK_OK(feed(&scan, &seen, STR(":3},{\"d\":4}]"), 1000, &err), &err);
    CHECK_INT(seen.views, 3);
    CHECK_INT(seen.count, 4);
    buf_release(&seen.items);
}

static void an_element_over_the_maximum_is_an_error_however_it_comes(void **state)
{
    static const char text[] =
        "{\"items\":[{\"k\":\"0123456789\"}]}"; /* the element has 18 bytes */

    (void)state;
    for (size_t step = 1; step <= sizeof(text); step++) {
        struct seen seen = {.items = BUF(4096)};
        struct err err;
        AUTO(list_scan) struct list_scan enough;
        AUTO(list_scan) struct list_scan scan;
        list_scan_init(&enough, 18);
        CHECK_OK(feed(&enough, &seen, str_from(text), step, &err), &err);
        list_scan_init(&scan, 17);
        CHECK_FAILS(feed(&scan, &seen, str_from(text), step, &err), &err, ERR_RETRY,
                    "ObjectTooLarge");
        buf_release(&seen.items);
    }
}

static void nesting_without_end_is_an_error(void **state)
{
    AUTO(list_scan) struct list_scan scan;
    struct seen seen = {.items = BUF(64)};
    struct err err;
    int result = 0;

    (void)state;
    list_scan_init(&scan, 1000000);
    CHECK_OK(feed(&scan, &seen, STR("{\"items\":["), 100, &err), &err);
    for (int i = 0; i < 100000 && result == 0; i++) {
        result = list_scan_feed(&scan, STR("["), see, &seen, &err);
    }
    CHECK_INT(result, -1);
    CHECK_TEXT(err.reason, "InvalidList");
    buf_release(&seen.items);
}

static void the_readers_failure_stops_the_feed(void **state)
{
    AUTO(list_scan) struct list_scan scan;
    struct seen seen = {.items = BUF(64), .fail_at = 2};
    struct err err;

    (void)state;
    list_scan_init(&scan, 1000);
    CHECK_FAILS(feed(&scan, &seen, STR("{\"items\":[{},{},{}]}"), 100, &err), &err, ERR_TERMINAL,
                "Refused");
    CHECK_INT(seen.count, 2);
    buf_release(&seen.items);
}

static double cpu_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void c25_a_large_object_in_pieces_of_one_byte_takes_linear_time(void **state)
{
    SKIP_UNDER_VALGRIND();
    enum { OBJECT_BYTES = 1400 * 1000 };
    AUTO(list_scan) struct list_scan scan;
    struct seen seen = {.items = BUF(4U << 20)};
    struct err err;
    double start = cpu_seconds();

    (void)state;
    list_scan_init(&scan, 8U << 20);
    CHECK_OK(feed(&scan, &seen, STR("{\"items\":[{\"data\":\""), 1, &err), &err);
    for (int i = 0; i < OBJECT_BYTES; i++) {
        CHECK_OK(list_scan_feed(&scan, STR("x"), see, &seen, &err), &err);
    }
    CHECK_OK(feed(&scan, &seen, STR("\"}]}"), 1, &err), &err);
    CHECK_INT(seen.bytes, OBJECT_BYTES + (int)strlen("{\"data\":\"\"}"));
    CHECK(cpu_seconds() - start < 1.0);
    buf_release(&seen.items);
}

/* A list of any length passes through the memory of one object. */
static void c25_memory_does_not_grow_with_the_list(void **state)
{
    AUTO(list_scan) struct list_scan scan;
    struct seen seen = {.items = BUF(64), .is_counting = true};
    struct err err;

    (void)state;
    list_scan_init(&scan, 8U << 20);
    CHECK_OK(feed(&scan, &seen, STR("{\"items\":[{}"), 100, &err), &err);
    for (int i = 0; i < 100000; i++) {
        CHECK_OK(list_scan_feed(&scan, STR(",{\"metadata\":{\"name\":\"te"), see, &seen, &err),
                 &err);
        CHECK_OK(list_scan_feed(&scan, STR("nant\"}}"), see, &seen, &err), &err);
    }
    CHECK_INT(seen.count, 100001);
    CHECK(scan.carry.capacity <= 128);
    buf_release(&seen.items);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_every_element_and_the_lists_metadata),
        cmocka_unit_test(what_is_no_list_is_an_error_at_every_chunking),
        cmocka_unit_test(elements_within_a_piece_are_not_copied),
        cmocka_unit_test(an_element_over_the_maximum_is_an_error_however_it_comes),
        cmocka_unit_test(nesting_without_end_is_an_error),
        cmocka_unit_test(the_readers_failure_stops_the_feed),
        cmocka_unit_test(c25_a_large_object_in_pieces_of_one_byte_takes_linear_time),
        cmocka_unit_test(c25_memory_does_not_grow_with_the_list),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
