/* Finalizers and Secrets against a real kube-apiserver: what its patches refuse, and how that
 * reads.
 */
#include <stdio.h>
#include <stdlib.h>

#include "controller/base/js.h"
#include "controller/kube/secret_object.h"
#include "controller/net/http_client.h"
#include "controller/runtime/finalizer.h"
#include "tests/check.h"

enum { BODY_MAX_BYTES = 4 << 20 };

static const char OURS[] = "example.test/ours";

struct fixture {
    struct kube_config config;
    struct kube_client *client;
    char namespace_[32];
};

static void create(struct fixture *fixture, const struct kube_ref *collection, const char *format,
                   ...) PRINTF_LIKE(3, 4);
static void create(struct fixture *fixture, const struct kube_ref *collection, const char *format,
                   ...)
{
    AUTO(buf) struct buf json = BUF(BODY_MAX_BYTES);
    struct err err;
    va_list arguments;
    va_start(arguments, format);
    buf_vprintf(&json, format, arguments);
    va_end(arguments);
    CHECK_OK(kube_create(fixture->client, NULL, collection, buf_str(&json), NULL, &err), &err);
}

static int set_up(void **state)
{
    struct fixture *fixture = xcalloc(1, sizeof(*fixture));
    char uuid[UUID_TEXT_BYTES];
    struct err err;
    random_uuid(uuid);
    (void)snprintf(fixture->namespace_, sizeof(fixture->namespace_), "objects-%.8s", uuid);
    CHECK_OK(kube_config_load(NULL, NULL, &fixture->config, &err), &err);
    const struct kube_client_config client_config = {.name = "test"};
    CHECK_OK(kube_client_new(&fixture->config, &client_config, &fixture->client, &err), &err);
    const struct kube_ref namespaces = {.resource = &KUBE_NAMESPACES};
    create(fixture, &namespaces,
           "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"%s\"}}",
           fixture->namespace_);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    struct err err;
    const struct kube_ref ref = {.resource = &KUBE_NAMESPACES, .name = fixture->namespace_};
    CHECK_OK(kube_delete(fixture->client, NULL, &ref, NULL, NULL, &err), &err);
    kube_client_free(fixture->client);
    kube_config_release(&fixture->config);
    free(fixture);
    return 0;
}

static struct kube_ref config_map(const struct fixture *fixture, const char *name)
{
    return (struct kube_ref){
        .resource = &KUBE_CONFIG_MAPS, .namespace_ = fixture->namespace_, .name = name};
}

/* finalizers: JSON array. */
static void create_map(struct fixture *fixture, const char *name, const char *finalizers)
{
    const struct kube_ref collection = config_map(fixture, NULL);
    create(fixture, &collection,
           "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"%s\","
           "\"finalizers\":%s}}",
           name, finalizers);
}

static void merge(struct fixture *fixture, const struct kube_ref *ref, const char *json)
{
    struct err err;
    CHECK_OK(kube_patch(fixture->client, NULL, ref, KUBE_PATCH_MERGE, "test", str_from(json), NULL,
                        &err),
             &err);
}

static json_t *fetch(struct fixture *fixture, const struct kube_ref *ref)
{
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    struct err err;
    json_t *object = NULL;
    CHECK_OK(kube_get(fixture->client, NULL, ref, &body, &err), &err);
    CHECK_OK(js_parse(buf_str(&body), BODY_MAX_BYTES, &object, &err), &err);
    return object;
}

/* The finalizers as one text, "a,b". */
static void check_finalizers(struct fixture *fixture, const struct kube_ref *ref,
                             const char *expected)
{
    AUTO(json) json_t *object = fetch(fixture, ref);
    AUTO(buf) struct buf text = BUF(4096);
    const json_t *list = js_at(object, "/metadata/finalizers");
    for (size_t i = 0; i < json_array_size(list); i++) {
        buf_append_text(&text, i > 0 ? "," : "");
        buf_append_text(&text, json_string_value(json_array_get(list, i)));
    }
    CHECK_TEXT(buf_text(&text), expected);
}

static int add(struct fixture *fixture, const struct kube_ref *ref, const char *uid,
               const char *version, size_t existing, struct err *err)
{
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    int result =
        finalizer_add(fixture->client, NULL, ref, uid, version, existing, OURS, &body, err);
    if (result == 0) {
        CHECK_NOT_NULL(strstr(buf_text(&body), OURS)); /* the object as it then stands */
    }
    return result;
}

static void it_is_added_to_an_empty_list_and_behind_others(void **state)
{
    struct fixture *fixture = *state;
    const struct kube_ref empty = config_map(fixture, "add-empty");
    const struct kube_ref full = config_map(fixture, "add-full");
    struct err err;
    create_map(fixture, "add-empty", "[]");
    create_map(fixture, "add-full", "[\"test.test/a\"]");
    AUTO(json) json_t *first = fetch(fixture, &empty);
    AUTO(json) json_t *second = fetch(fixture, &full);
    CHECK_OK(add(fixture, &empty, js_text_or(first, "/metadata/uid", ""),
                 js_text_or(first, "/metadata/resourceVersion", ""), 0, &err),
             &err);
    CHECK_OK(add(fixture, &full, js_text_or(second, "/metadata/uid", ""),
                 js_text_or(second, "/metadata/resourceVersion", ""), 1, &err),
             &err);
    check_finalizers(fixture, &empty, OURS);
    check_finalizers(fixture, &full, "test.test/a,example.test/ours");
    merge(fixture, &empty, "{\"metadata\":{\"finalizers\":null}}");
    merge(fixture, &full, "{\"metadata\":{\"finalizers\":null}}");
}

static void c54_adding_to_what_changed_meanwhile_is_a_conflict(void **state)
{
    struct fixture *fixture = *state;
    const struct kube_ref ref = config_map(fixture, "stale");
    struct err err;
    create_map(fixture, "stale", "[]");
    AUTO(json) json_t *seen = fetch(fixture, &ref);
    const char *uid = js_text_or(seen, "/metadata/uid", "");
    const char *version = js_text_or(seen, "/metadata/resourceVersion", "");
    merge(fixture, &ref, "{\"metadata\":{\"finalizers\":[\"test.test/a\"]}}");
    CHECK_FAILS(add(fixture, &ref, uid, version, 0, &err), &err, ERR_CONFLICT, "Conflict");
    check_finalizers(fixture, &ref, "test.test/a");

    AUTO(json) json_t *now = fetch(fixture, &ref);
    CHECK_FAILS(add(fixture, &ref, "another-uid", js_text_or(now, "/metadata/resourceVersion", ""),
                    1, &err),
                &err, ERR_CONFLICT, "Conflict");
    check_finalizers(fixture, &ref, "test.test/a");
    merge(fixture, &ref, "{\"metadata\":{\"finalizers\":null}}");
}

static void adding_what_the_server_calls_invalid_is_no_conflict(void **state)
{
    struct fixture *fixture = *state;
    const struct kube_ref ref = config_map(fixture, "invalid");
    struct err err;
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    create_map(fixture, "invalid", "[]");
    AUTO(json) json_t *seen = fetch(fixture, &ref);
    CHECK_FAILS(finalizer_add(fixture->client, NULL, &ref, js_text_or(seen, "/metadata/uid", ""),
                              js_text_or(seen, "/metadata/resourceVersion", ""), 0,
                              "not a name at all", &body, &err),
                &err, ERR_TERMINAL, "Invalid");
}

static void adding_to_what_is_gone_is_not_found(void **state)
{
    struct fixture *fixture = *state;
    const struct kube_ref ref = config_map(fixture, "nothing");
    struct err err;
    CHECK_FAILS(add(fixture, &ref, "uid", "1", 0, &err), &err, ERR_NOT_FOUND, "NotFound");
}

static void c54_only_our_entry_is_removed_wherever_it_stands(void **state)
{
    struct fixture *fixture = *state;
    const struct kube_ref ref = config_map(fixture, "middle");
    struct err err;
    create_map(fixture, "middle", "[\"test.test/a\",\"example.test/ours\",\"test.test/b\"]");
    AUTO(json) json_t *object = fetch(fixture, &ref);
    const char *uid = js_text_or(object, "/metadata/uid", "");
    CHECK_OK(finalizer_remove(fixture->client, NULL, &ref, uid, OURS, &err), &err);
    check_finalizers(fixture, &ref, "test.test/a,test.test/b");
    CHECK_OK(finalizer_remove(fixture->client, NULL, &ref, uid, OURS, &err), &err); /* again */
    check_finalizers(fixture, &ref, "test.test/a,test.test/b");
    merge(fixture, &ref, "{\"metadata\":{\"finalizers\":null}}");
}

static void c30_another_object_of_the_name_keeps_its_finalizer(void **state)
{
    struct fixture *fixture = *state;
    const struct kube_ref ref = config_map(fixture, "reborn");
    struct err err;
    create_map(fixture, "reborn", "[\"example.test/ours\"]");
    CHECK_OK(finalizer_remove(fixture->client, NULL, &ref, "the-uid-before", OURS, &err), &err);
    check_finalizers(fixture, &ref, OURS);
    merge(fixture, &ref, "{\"metadata\":{\"finalizers\":null}}");
    const struct kube_ref nothing = config_map(fixture, "nothing");
    CHECK_OK(finalizer_remove(fixture->client, NULL, &nothing, "any", OURS, &err), &err);
}

static void behind_a_closed_fence_no_finalizer_moves(void **state)
{
    struct fixture *fixture = *state;
    const struct kube_ref ref = config_map(fixture, "fenced");
    const struct fence fence = {.open_until_ms = 0};
    const struct call call = {.fence = &fence};
    struct err err;
    create_map(fixture, "fenced", "[\"example.test/ours\"]");
    AUTO(json) json_t *object = fetch(fixture, &ref);
    CHECK_FAILS(finalizer_remove(fixture->client, &call, &ref,
                                 js_text_or(object, "/metadata/uid", ""), OURS, &err),
                &err, ERR_CANCELED, "LeadershipLost");
    check_finalizers(fixture, &ref, OURS);
    merge(fixture, &ref, "{\"metadata\":{\"finalizers\":null}}");
}

/* ---- Secrets ---- */

static void a_secret_reads_back_as_it_was_applied(void **state)
{
    struct fixture *fixture = *state;
    AUTO(kube_secret) struct kube_secret content = {.count = 0};
    AUTO(kube_secret) struct kube_secret back = {.count = 0};
    AUTO(secret) struct secret binary = {0};
    struct err err;
    const struct kube_pair labels[] = {{"example.test/owner", "uid-of-the-owner"}};
    secret_set(&binary, (struct str){"\0\xff\n/+=\"", 7});
    kube_secret_put_text(&content, "password", "p\xc3\xa4ss/word+\"quoted\"");
    kube_secret_put_text(&content, "empty", "");
    kube_secret_put(&content, "binary", &binary);
    CHECK_OK(kube_secret_apply(fixture->client, NULL, fixture->namespace_, "s", "test", labels, 1,
                               &content, &err),
             &err);
    CHECK_OK(kube_secret_fetch(fixture->client, NULL, fixture->namespace_, "s",
                               "example.test/owner", &back, &err),
             &err);
    CHECK(kube_secret_equal(&content, &back));
    CHECK_TEXT(back.owner_uid, "uid-of-the-owner");
    CHECK_INT(strlen(back.uid), 36);
    CHECK(back.resource_version[0] != '\0');
    const struct kube_ref ref = {
        .resource = &KUBE_SECRETS, .namespace_ = fixture->namespace_, .name = "s"};
    AUTO(json) json_t *object = fetch(fixture, &ref);
    CHECK_TEXT(js_text_or(object, "/type", ""), "Opaque");
}

static void c49_applying_again_drops_what_is_no_longer_wanted(void **state)
{
    struct fixture *fixture = *state;
    AUTO(kube_secret) struct kube_secret content = {.count = 0};
    AUTO(kube_secret) struct kube_secret less = {.count = 0};
    AUTO(kube_secret) struct kube_secret back = {.count = 0};
    struct err err;
    kube_secret_put_text(&content, "old", "1");
    kube_secret_put_text(&content, "kept", "2");
    kube_secret_put_text(&less, "kept", "3");
    CHECK_OK(kube_secret_apply(fixture->client, NULL, fixture->namespace_, "t", "test", NULL, 0,
                               &content, &err),
             &err);
    CHECK_OK(kube_secret_apply(fixture->client, NULL, fixture->namespace_, "t", "test", NULL, 0,
                               &less, &err),
             &err);
    CHECK_OK(kube_secret_fetch(fixture->client, NULL, fixture->namespace_, "t",
                               "example.test/owner", &back, &err),
             &err);
    CHECK(kube_secret_equal(&less, &back));
    CHECK_TEXT(back.owner_uid, "");
}

static void a_secret_that_is_not_there_is_not_found(void **state)
{
    struct fixture *fixture = *state;
    AUTO(kube_secret) struct kube_secret back = {.count = 0};
    struct err err;
    CHECK_FAILS(kube_secret_fetch(fixture->client, NULL, fixture->namespace_, "nothing",
                                  "example.test/owner", &back, &err),
                &err, ERR_NOT_FOUND, "NotFound");
}

static void foreign_secrets_larger_than_ours_are_read_as_far_as_they_fit(void **state)
{
    struct fixture *fixture = *state;
    AUTO(kube_secret) struct kube_secret back = {.count = 0};
    AUTO(buf) struct buf data = BUF(BODY_MAX_BYTES);
    struct err err;
    for (int i = 0; i < 40; i++) {
        buf_printf(&data, "%s\"k%02d\":\"dg==\"", i > 0 ? "," : "", i);
    }
    buf_printf(&data, ",\"%0100d\":\"dg==\",\"nothing\":null", 0);
    const struct kube_ref collection = {.resource = &KUBE_SECRETS,
                                        .namespace_ = fixture->namespace_};
    create(fixture, &collection,
           "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"metadata\":{\"name\":\"large\"},"
           "\"data\":{%s}}",
           buf_text(&data));
    CHECK_OK(
        kube_secret_fetch(fixture->client, NULL, fixture->namespace_, "large", "x", &back, &err),
        &err);
    CHECK_INT(back.count, KUBE_SECRET_ENTRIES_MAX);
    for (size_t i = 0; i < back.count; i++) {
        CHECK(strlen(back.entries[i].name) < 10);
    }
}

int main(void)
{
    js_init();
    http_global_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_added_to_an_empty_list_and_behind_others),
        cmocka_unit_test(c54_adding_to_what_changed_meanwhile_is_a_conflict),
        cmocka_unit_test(adding_what_the_server_calls_invalid_is_no_conflict),
        cmocka_unit_test(adding_to_what_is_gone_is_not_found),
        cmocka_unit_test(c54_only_our_entry_is_removed_wherever_it_stands),
        cmocka_unit_test(c30_another_object_of_the_name_keeps_its_finalizer),
        cmocka_unit_test(behind_a_closed_fence_no_finalizer_moves),
        cmocka_unit_test(a_secret_reads_back_as_it_was_applied),
        cmocka_unit_test(c49_applying_again_drops_what_is_no_longer_wanted),
        cmocka_unit_test(a_secret_that_is_not_there_is_not_found),
        cmocka_unit_test(foreign_secrets_larger_than_ours_are_read_as_far_as_they_fit),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
