#include "controller/kube/watch_line.h"

#include "tests/check.h"

static struct watch_line parse(const char *text)
{
    struct watch_line line;
    struct err err;

    CHECK_OK(watch_line_parse(str_from(text), &line, &err), &err);
    return line;
}

static void expect_str(struct str actual, const char *expected)
{
    AUTO(free) char *copy = xmemdup0(actual.len > 0 ? actual.ptr : "", actual.len);

    CHECK_TEXT(copy, expected);
}

static void reads_type_object_kind_and_version(void **state)
{
    static const struct {
        const char *name;
        enum watch_line_type type;
    } cases[] = {
        {"ADDED", WATCH_LINE_ADDED},     {"MODIFIED", WATCH_LINE_MODIFIED},
        {"DELETED", WATCH_LINE_DELETED}, {"BOOKMARK", WATCH_LINE_BOOKMARK},
        {"ERROR", WATCH_LINE_ERROR},     {"SURPRISE", WATCH_LINE_UNKNOWN},
        {"added", WATCH_LINE_UNKNOWN},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        AUTO(free)
        char *text = xasprintf(
            "{\"type\":\"%s\",\"object\":{\"apiVersion\":\"v1\",\"kind\":\"Tenant\",\"metadata\":"
            "{\"name\":\"a\",\"managedFields\":[{\"resourceVersion\":\"no\"}],"
            "\"resourceVersion\":\"17\"},\"spec\":{\"kind\":\"x\",\"metadata\":{}}}}",
            cases[i].name);
        struct watch_line line = parse(text);
        CHECK_INT(line.type, cases[i].type);
        expect_str(line.glance.kind, "Tenant");
        expect_str(line.glance.resource_version, "17");
        CHECK(line.glance.has_metadata);
        CHECK(!line.glance.ends_initial_events);
        CHECK(str_starts_with(line.object, STR("{\"apiVersion\"")));
        CHECK(str_ends_with(line.object, STR("\"metadata\":{}}}")));
    }
}

static void the_members_order_does_not_matter(void **state)
{
    (void)state;
    struct watch_line line = parse(
        " { \"more\" : [1], \"object\" : {\"metadata\":{\"resourceVersion\":\"3\"},\"kind\":\"K\"}"
        " , \"type\" : \"DELETED\" } ");
    CHECK_INT(line.type, WATCH_LINE_DELETED);
    expect_str(line.object, "{\"metadata\":{\"resourceVersion\":\"3\"},\"kind\":\"K\"}");
    expect_str(line.glance.kind, "K");
    expect_str(line.glance.resource_version, "3");
}

static void knows_the_end_of_the_initial_events(void **state)
{
    static const struct {
        const char *annotations;
        bool ends;
    } cases[] = {
        {"{\"k8s.io/initial-events-end\":\"true\"}", true},
        {"{\"a\":\"true\",\"k8s.io/initial-events-end\":\"true\",\"z\":{}}", true},
        {"{\"k8s.io/initial-events-end\":\"false\"}", false},
        {"{\"k8s.io/initial-events-end\":true}", false},
        {"{\"other\":\"true\"}", false},
        {"null", false},
        {"[\"k8s.io/initial-events-end\"]", false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        AUTO(free)
        char *text =
            xasprintf("{\"type\":\"BOOKMARK\",\"object\":{\"kind\":\"Tenant\",\"metadata\":{"
                      "\"resourceVersion\":\"5\",\"creationTimestamp\":null,\"annotations\":%s}}}",
                      cases[i].annotations);
        struct watch_line line = parse(text);
        CHECK_INT(line.glance.ends_initial_events, cases[i].ends);
        expect_str(line.glance.resource_version, "5");
    }
}

static void odd_objects_are_read_as_far_as_they_go(void **state)
{
    (void)state;
    struct watch_line line = parse("{\"type\":\"ADDED\",\"object\":{}}");
    CHECK(!line.glance.has_metadata);
    expect_str(line.glance.kind, "");
    line = parse("{\"type\":\"ADDED\",\"object\":{\"kind\":7,\"metadata\":\"x\"}}");
    CHECK(!line.glance.has_metadata);
    expect_str(line.glance.kind, "");
    line = parse("{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"resourceVersion\":7}}}");
    CHECK(line.glance.has_metadata);
    expect_str(line.glance.resource_version, "");
    line = parse("{\"object\":{}}");
    CHECK_INT(line.type, WATCH_LINE_UNKNOWN);
}

static void what_is_no_event_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "null",
        "[]",
        "{}",
        "{\"type\":\"ADDED\"}",
        "{\"type\":\"ADDED\",\"object\":null}",
        "{\"type\":\"ADDED\",\"object\":[]}",
        "{\"type\":7,\"object\":{}}",
        "{\"type\":\"ADDED\",\"object\":{}",
        "{\"type\":\"ADDED\",\"object\":{}}}",
        "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"resourceVersion\":\"1}}}",
        "{\"type\":\"ADDED\" \"object\":{}}",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
        struct watch_line line;
        struct err err;
        CHECK_FAILS(watch_line_parse(str_from(texts[i]), &line, &err), &err, ERR_RETRY,
                    "InvalidEvent");
    }
}

/* What stands behind kind and metadata is looked at by whoever decodes the object. */
static void a_line_is_read_as_far_as_it_matters(void **state)
{
    (void)state;
    struct watch_line line =
        parse("{\"type\":\"MODIFIED\",\"object\":{\"kind\":\"K\",\"metadata\":{"
              "\"resourceVersion\":\"8\"},\"spec\":[}} ");
    CHECK_INT(line.type, WATCH_LINE_MODIFIED);
    expect_str(line.object, "{\"kind\":\"K\",\"metadata\":{\"resourceVersion\":\"8\"},\"spec\":[}");
    expect_str(line.glance.resource_version, "8");
}

static void a_glance_at_a_lists_element_needs_a_whole_object(void **state)
{
    struct object_glance glance;

    (void)state;
    CHECK(object_glance_read(STR("{\"metadata\":{}}"), &glance));
    CHECK(glance.has_metadata);
    CHECK(object_glance_read(STR("{\"kind\":\"Secret\"}"), &glance));
    CHECK(!glance.has_metadata);
    CHECK(!object_glance_read(STR("3"), &glance));
    CHECK(!object_glance_read(STR("\"text\""), &glance));
    CHECK(!object_glance_read(STR("{\"metadata\":{}"), &glance));
    CHECK(!object_glance_read(STR("{\"metadata\":{}]"), &glance));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_type_object_kind_and_version),
        cmocka_unit_test(the_members_order_does_not_matter),
        cmocka_unit_test(knows_the_end_of_the_initial_events),
        cmocka_unit_test(odd_objects_are_read_as_far_as_they_go),
        cmocka_unit_test(what_is_no_event_is_refused),
        cmocka_unit_test(a_line_is_read_as_far_as_it_matters),
        cmocka_unit_test(a_glance_at_a_lists_element_needs_a_whole_object),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
