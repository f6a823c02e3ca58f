/* A kind that tables describe: packed from JSON in one pass, in whatever order its members come. */
#include "tests/check.h"

#include "controller/runtime/object_type.h"
#include "controller/runtime/record_internal.h"

static const struct kube_resource WIDGETS = {"example.tenantry.dev", "v1", "widgets", "Widget",
                                             true};

struct widget {
    struct object object;
    const char *color;
    const char *note; /* beside spec, not in it */
    int64_t size;
};

static const struct field spec[] = {TEXT_FIELD("color", struct widget, color),
                                    INT_FIELD("size", struct widget, size), END_FIELDS};
static const struct field fields[] = {OBJECT_FIELDS, PART_FIELD("spec", spec),
                                      TEXT_FIELD("note", struct widget, note), END_FIELDS};
static const struct object_type type = {&WIDGETS, sizeof(struct widget), fields, "test/finalizer"};
static const struct codec codec = {.resource = &WIDGETS, .type = &type};

#define METADATA                                                                                   \
    "\"metadata\":{\"name\":\"one\",\"namespace\":\"some\",\"uid\":\"u1\",\"resourceVersion\":"    \
    "\"7\",\"generation\":3,\"finalizers\":[\"other\",\"test/finalizer\"],\"managedFields\":[{"    \
    "\"f:spec\":{}}]}"

static int read_json(const char *json, struct arena *arena, struct record **ret, struct err *err)
{
    AUTO(buf) struct buf payload = BUF(1 << 16);
    return record_read(&codec, str_from(json), arena, &payload, ret, err);
}

static void check_widget(const char *json)
{
    AUTO(arena) struct arena arena = {0};
    struct record *record = NULL;
    struct err err;
    arena_init(&arena, 0);
    CHECK_OK(read_json(json, &arena, &record, &err), &err);
    CHECK_TEXT(record_key(record), "some/one");
    CHECK_TEXT(record_resource_version(record), "7");
    const struct widget *widget = object_unpack(&type, record, &arena);
    record_unref(record);
    CHECK_TEXT(widget->object.name, "one");
    CHECK_TEXT(widget->object.namespace_, "some");
    CHECK_TEXT(widget->object.uid, "u1");
    CHECK_INT(widget->object.generation, 3);
    CHECK_INT(widget->object.finalizer_count, 2);
    CHECK(widget->object.has_finalizer);
    CHECK(!widget->object.deleting);
    CHECK_TEXT(widget->color, "red");
    CHECK_TEXT(widget->note, "");
    CHECK_INT(widget->size, 5);
}

static void members_come_in_any_order(void **state)
{
    (void)state;
    check_widget("{" METADATA ",\"spec\":{\"size\":5,\"color\":\"red\"}}");
    check_widget("{\"spec\":{\"color\":\"red\",\"more\":[1],\"size\":5},\"other\":{},\"note\":7,"
                 "\"uid\":\"none of ours\"," METADATA ",\"kind\":\"Widget\"}");
}

static void what_is_no_object_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "[]",
        "{}",
        "{\"metadata\":{}}",
        "{\"metadata\":[]}",
        "{\"metadata\":{\"name\":\"one\",\"resourceVersion\":\"7\"}}",
        "{\"metadata\":{\"uid\":\"u1\",\"resourceVersion\":\"7\"}}",
        "{" METADATA,
        "{" METADATA ",\"spec\":{\"color\":\"red\"}",
        "{" METADATA "} {}",
    };
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        AUTO(arena) struct arena arena = {0};
        struct record *record = NULL;
        struct err err;
        arena_init(&arena, 0);
        CHECK_FAILS(read_json(bad[i], &arena, &record, &err), &err, ERR_TERMINAL, "InvalidObject");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_come_in_any_order),
        cmocka_unit_test(what_is_no_object_is_refused),
    };
    return cmocka_run_group_tests_name("object_type", tests, NULL, NULL);
}
