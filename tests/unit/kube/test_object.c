#include "controller/kube/object.h"

#include "controller/base/buf.h"
#include "tests/check.h"

static void reads_every_field_of_metadata(void **state)
{
    static const char json[] =
        "{\"apiVersion\":\"tenantry.dev/v1alpha1\",\"kind\":\"Tenant\",\"metadata\":{"
        "\"annotations\":{\"kubectl.kubernetes.io/last-applied-configuration\":\"{\\\"a\\\":1}\","
        "\"tenantry.dev/paused\":\"true\",\"note\":\"Gr\\u00fc\\u00dfe \\\"x\\\"\"},"
        "\"creationTimestamp\":\"2026-01-02T03:04:05Z\","
        "\"deletionTimestamp\":\"2026-01-03T03:04:05Z\",\"deletionGracePeriodSeconds\":0,"
        "\"finalizers\":[\"tenantry.dev/tenant\",\"other/one\"],\"generation\":7,"
        "\"labels\":{\"a\":\"1\",\"b\":\"\"},\"managedFields\":[{\"manager\":\"x\","
        "\"fieldsV1\":{\"f:metadata\":{\"f:name\":{}}}}],\"name\":\"acme\",\"namespace\":\"ns\","
        "\"resourceVersion\":\"123\",\"uid\":\"u-1\"},\"spec\":{\"metadata\":{\"name\":\"not\"}}}";
    struct arena arena;
    struct kube_meta meta;
    struct err err;

    (void)state;
    arena_init(&arena, 0);
    CHECK_OK(kube_object_meta(str_from(json), &arena, &meta, &err), &err);
    CHECK_TEXT(meta.name, "acme");
    CHECK_TEXT(meta.namespace_, "ns");
    CHECK_TEXT(meta.uid, "u-1");
    CHECK_TEXT(meta.resource_version, "123");
    CHECK_INT(meta.generation, 7);
    CHECK_TEXT(meta.creation_timestamp, "2026-01-02T03:04:05Z");
    CHECK_TEXT(meta.deletion_timestamp, "2026-01-03T03:04:05Z");
    CHECK_INT(meta.finalizer_count, 2);
    CHECK_TEXT(meta.finalizers[0], "tenantry.dev/tenant");
    CHECK_TEXT(meta.finalizers[1], "other/one");
    CHECK_INT(meta.label_count, 2);
    CHECK_TEXT(kube_pair_get(meta.labels, meta.label_count, "a"), "1");
    CHECK_TEXT(kube_pair_get(meta.labels, meta.label_count, "b"), "");
    CHECK_NULL(kube_pair_get(meta.labels, meta.label_count, "c"));
    CHECK_INT(meta.annotation_count, 2);
    CHECK_TEXT(kube_pair_get(meta.annotations, meta.annotation_count, "tenantry.dev/paused"),
               "true");
    CHECK_TEXT(kube_pair_get(meta.annotations, meta.annotation_count, "note"), "Gr\xc3\xbc\xc3\x9f"
                                                                               "e \"x\"");
    arena_release(&arena);
}

static void absent_and_null_and_wrong_types_are_defaults(void **state)
{
    static const char *const objects[] = {
        "{\"metadata\":{\"name\":\"acme\"}}",
        "{\"metadata\":{\"name\":\"acme\",\"uid\":null,\"labels\":null,\"finalizers\":null,"
        "\"generation\":null,\"creationTimestamp\":null,\"deletionTimestamp\":null}}",
        "{\"metadata\":{\"name\":\"acme\",\"uid\":1,\"labels\":[\"a\"],\"finalizers\":{\"a\":1},"
        "\"generation\":\"7\",\"annotations\":{\"a\":{\"b\":1}},\"deletionTimestamp\":false}}",
        "{\"metadata\":{\"name\":\"acme\",\"labels\":{\"a\":1},\"finalizers\":[null,3,{}]}}",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(objects); i++) {
        struct arena arena;
        struct kube_meta meta;
        struct err err;
        arena_init(&arena, 0);
        CHECK_OK(kube_object_meta(str_from(objects[i]), &arena, &meta, &err), &err);
        CHECK_TEXT(meta.name, "acme");
        CHECK_TEXT(meta.namespace_, "");
        CHECK_TEXT(meta.uid, "");
        CHECK_TEXT(meta.creation_timestamp, "");
        CHECK_NULL(meta.deletion_timestamp);
        CHECK_INT(meta.generation, 0);
        CHECK_INT(meta.finalizer_count, 0);
        CHECK_INT(meta.label_count, 0);
        CHECK_INT(meta.annotation_count, 0);
        arena_release(&arena);
    }
}

static void what_is_no_object_is_refused(void **state)
{
    static const char *const objects[] = {
        "",
        "[]",
        "null",
        "{}",
        "{\"metadata\":null}",
        "{\"metadata\":{}}",
        "{\"metadata\":{\"name\":\"\"}}",
        "{\"metadata\":{\"name\":3}}",
        "{\"metadata\":{\"name\":\"a\"}",
        "{\"metadata\":{\"name\":\"a\"}}}",
        "{\"metadata\":{\"name\":\"a\",}}",
        "{\"metadata\":{\"name\":\"a\\u0000b\"}}",
        "{\"metadata\":{\"name\":\"\xff\"}}",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(objects); i++) {
        struct arena arena;
        struct kube_meta meta;
        struct err err;
        arena_init(&arena, 0);
        CHECK_FAILS(kube_object_meta(str_from(objects[i]), &arena, &meta, &err), &err, ERR_TERMINAL,
                    "InvalidObject");
        arena_release(&arena);
    }
}

static void many_labels_are_read_and_too_many_refused(void **state)
{
    static const size_t counts[] = {1000, 10000, 10001};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(counts); i++) {
        AUTO(buf) struct buf json = BUF(1U << 20);
        struct arena arena;
        struct kube_meta meta;
        struct err err;
        arena_init(&arena, 0);
        buf_append_text(&json, "{\"metadata\":{\"name\":\"a\",\"labels\":{\"l\":\"0\"");
        for (size_t n = 1; n < counts[i]; n++) {
            buf_printf(&json, ",\"l%zu\":\"%zu\"", n, n);
        }
        buf_append_text(&json, "}}}");
        int result = kube_object_meta(buf_str(&json), &arena, &meta, &err);
        CHECK_INT(result, counts[i] <= 10000 ? 0 : -1);
        if (result == 0) {
            CHECK_INT(meta.label_count, counts[i]);
            CHECK_TEXT(kube_pair_get(meta.labels, meta.label_count, "l999"), "999");
        }
        arena_release(&arena);
    }
}

static int sign(int value)
{
    return (value > 0) - (value < 0);
}

static void c28_versions_compare_as_numbers_of_any_length(void **state)
{
    static const struct {
        const char *a;
        const char *b;
        int expected;
    } cases[] = {
        {"1", "1", 0},
        {"1", "2", -1},
        {"9", "10", -1},
        {"99", "100", -1},
        {"123", "122", 1},
        {"18446744073709551615", "18446744073709551616", -1},
        {"99999999999999999999999999999999999998", "99999999999999999999999999999999999999", -1},
        {"", "1", -1},
        {"", "", 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct str a = str_from(cases[i].a);
        struct str b = str_from(cases[i].b);
        CHECK_INT(sign(kube_rv_compare(a, b)), cases[i].expected);
        CHECK_INT(sign(kube_rv_compare(b, a)), -cases[i].expected);
    }
}

static void quantities_are_read_as_milli_units_rounded_up(void **state)
{
    static const struct {
        const char *text;
        int64_t milli;
    } cases[] = {
        {"0", 0},
        {"1", 1000},
        {"+1", 1000},
        {"-1", -1000},
        {"1.5", 1500},
        {".5", 500},
        {"5.", 5000},
        {"100m", 100},
        {"100n", 1},
        {"1000000n", 1},
        {"1000001n", 2},
        {"1u", 1},
        {"-100n", 0},
        {"-1500m", -1500},
        {"1k", 1000000},
        {"1M", 1000000000},
        {"1G", 1000000000000},
        {"1T", 1000000000000000},
        {"1P", 1000000000000000000},
        {"9E", -1},
        {"0E", 0},
        {"1Ki", 1024000},
        {"1.5Gi", 1610612736000},
        {"1Ti", 1099511627776000},
        {"8Pi", 9007199254740992000},
        {"1e3", 1000000},
        {"1E3", 1000000},
        {"1e+3", 1000000},
        {"12e-1", 1200},
        {"1e-9", 1},
        {"0.1Ki", 102400},
        {"0.0001", 1},
        {"0.001", 1},
        {"0.0010000000000000000000000000000000000001", 2},
        {"0.0010000000000000000000000000000000000000", 1},
        {"000000000000000000000000000000000000000000001", 1000},
        {"9223372036854775807m", INT64_MAX},
        {"9223372036854775.807", INT64_MAX},
        {"0e99", 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        int64_t milli = 0;
        bool is_good = kube_quantity_milli(str_from(cases[i].text), &milli);
        if (text_equal(cases[i].text, "9E")) {
            CHECK(!is_good); /* more milli-units than fit */
            continue;
        }
        if (!is_good || milli != cases[i].milli) {
            fail_msg("%s: %s, %lld milli, expected %lld", cases[i].text,
                     is_good ? "read" : "refused", (long long)milli, (long long)cases[i].milli);
        }
    }
}

static void what_is_no_quantity_is_refused(void **state)
{
    static const char *const texts[] = {
        "",      " ",
        "-",     "+",
        ".",     "m",
        "Gi",    "1 ",
        " 1",    "1Zi",
        "1ki",   "1K",
        "1mi",   "1..2",
        "1.2.",  "--1",
        "1e",    "1e+",
        "1e-",   "1e1.5",
        "1E+-3", "0x10",
        "1,5",   "1e100",
        "1e99",  "NaN",
        "inf",   "9223372036854775808m",
        "1e3Ki", "99999999999999999999999999999999999999",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        int64_t milli = 0;
        if (kube_quantity_milli(str_from(texts[i]), &milli)) {
            fail_msg("\"%s\" was read as %lld milli", texts[i], (long long)milli);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_field_of_metadata),
        cmocka_unit_test(absent_and_null_and_wrong_types_are_defaults),
        cmocka_unit_test(what_is_no_object_is_refused),
        cmocka_unit_test(many_labels_are_read_and_too_many_refused),
        cmocka_unit_test(c28_versions_compare_as_numbers_of_any_length),
        cmocka_unit_test(quantities_are_read_as_milli_units_rounded_up),
        cmocka_unit_test(what_is_no_quantity_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
