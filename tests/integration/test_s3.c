/* The S3 client against a real server. */
#include <stdlib.h>
#include <string.h>

#include "controller/base/clock.h"
#include "reconcilers/drivers/aws.h"
#include "reconcilers/drivers/s3.h"
#include "tests/check.h"

static const struct call no_call = {0};

struct fixture {
    struct http_client *http;
    struct s3 *s3;
    char *bucket; /* this test's own, made */
};

static struct s3 *client_of_style(struct http_client *http, const char *endpoint,
                                  const char *secret_text, bool path_style)
{
    AUTO(secret) struct secret secret = {0};
    struct s3 *s3 = NULL;
    struct err err;
    secret_set(&secret, str_from(secret_text ? secret_text : getenv("S3_SECRET_KEY")));
    const struct s3_config config = {
        .endpoint = endpoint ? endpoint : getenv("S3_ENDPOINT"),
        .region = getenv("S3_REGION"),
        .path_style = path_style,
        .access_key = getenv("S3_ACCESS_KEY"),
        .secret_key = &secret,
    };
    CHECK_OK(s3_new(http, &config, &s3, &err), &err);
    return s3;
}

static struct s3 *client(struct http_client *http, const char *endpoint, const char *secret_text)
{
    return client_of_style(http, endpoint, secret_text, true);
}

static const struct s3_tag tag = {"tenantry.dev/tenant-uid", "uid-1"};

static int set_up(void **state)
{
    struct fixture *fixture = xcalloc(1, sizeof(*fixture));
    char unique[UUID_TEXT_BYTES];
    bool created = false;
    struct err err;
    random_uuid(unique);
    CHECK_OK(s3_http_client_new("s3", NULL, &fixture->http, &err), &err);
    fixture->s3 = client(fixture->http, NULL, NULL);
    fixture->bucket = xasprintf("t-%s", unique);
    CHECK_OK(s3_bucket_create(fixture->s3, &no_call, fixture->bucket, &tag, 1, &created, &err),
             &err);
    CHECK(created);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    struct err err;
    CHECK_OK(s3_bucket_empty(fixture->s3, &no_call, fixture->bucket, NULL, &err), &err);
    CHECK_OK(s3_bucket_delete(fixture->s3, &no_call, fixture->bucket, &err), &err);
    s3_free(fixture->s3);
    http_client_free(fixture->http);
    free(fixture->bucket);
    free(fixture);
    return 0;
}

static void makes_a_bucket_once(void **state)
{
    struct fixture *fixture = *state;
    AUTO(s3_tags) struct s3_tags tags = {0};
    const struct s3_tag other = {"tenantry.dev/tenant-uid", "uid-2"};
    bool created = true;
    struct err err;
    CHECK_OK(s3_bucket_head(fixture->s3, &no_call, fixture->bucket, &err), &err);
    CHECK_OK(s3_bucket_create(fixture->s3, &no_call, fixture->bucket, &other, 1, &created, &err),
             &err);
    CHECK(!created);
    CHECK_OK(s3_bucket_tags(fixture->s3, &no_call, fixture->bucket, &tags, &err), &err);
    CHECK_INT(tags.count, 1);
    CHECK_TEXT(s3_tags_get(&tags, "tenantry.dev/tenant-uid"), "uid-1");
    CHECK_NULL(s3_tags_get(&tags, "none"));
}

static void changes_tags(void **state)
{
    struct fixture *fixture = *state;
    AUTO(s3_tags) struct s3_tags tags = {0};
    const struct s3_tag both[] = {{"a", "1 + 2 = ü/3"}, {"b", ""}};
    struct err err;
    CHECK_OK(s3_bucket_set_tags(fixture->s3, &no_call, fixture->bucket, both, 2, &err), &err);
    CHECK_OK(s3_bucket_tags(fixture->s3, &no_call, fixture->bucket, &tags, &err), &err);
    CHECK_INT(tags.count, 2);
    CHECK_TEXT(s3_tags_get(&tags, "a"), "1 + 2 = ü/3");
    CHECK_TEXT(s3_tags_get(&tags, "b"), "");
}

static void says_what_is_not_there(void **state)
{
    struct fixture *fixture = *state;
    AUTO(s3_tags) struct s3_tags tags = {0};
    AUTO(buf) struct buf text = BUF(65536);
    struct s3_object_info info;
    struct err err;
    CHECK_FAILS(s3_bucket_head(fixture->s3, &no_call, "no-such-bucket-here", &err), &err,
                ERR_NOT_FOUND, "NotFound");
    CHECK_FAILS(s3_bucket_tags(fixture->s3, &no_call, "no-such-bucket-here", &tags, &err), &err,
                ERR_NOT_FOUND, "NotFound");
    CHECK_FAILS(s3_head(fixture->s3, &no_call, fixture->bucket, "k", &info, &err), &err,
                ERR_NOT_FOUND, "NotFound");
    CHECK_FAILS(s3_bucket_config(fixture->s3, &no_call, fixture->bucket, "policy", &text, &err),
                &err, ERR_NOT_FOUND, "NotFound");
    CHECK_FAILS(s3_bucket_config(fixture->s3, &no_call, fixture->bucket, "lifecycle", &text, &err),
                &err, ERR_TERMINAL, "StorageNotImplemented");
    CHECK_OK(s3_bucket_delete(fixture->s3, &no_call, "no-such-bucket-here", &err), &err);
    CHECK_OK(s3_delete(fixture->s3, &no_call, fixture->bucket, "k", "", &err), &err);
}

static void tells_a_refused_key_from_a_server_that_is_away(void **state)
{
    struct fixture *fixture = *state;
    AUTO(s3) struct s3 *stranger = client(fixture->http, NULL, "wrong");
    AUTO(s3) struct s3 *nowhere = client(fixture->http, "http://127.0.0.1:9", NULL);
    struct err err;
    CHECK_FAILS(s3_bucket_set_versioning(stranger, &no_call, fixture->bucket, &err), &err,
                ERR_RETRY, "StorageCredentials");
    CHECK(!aws_err_unreachable(&err));
    CHECK_FAILS(s3_bucket_head(nowhere, &no_call, fixture->bucket, &err), &err, ERR_RETRY,
                "StorageUnreachable");
    CHECK(aws_err_unreachable(&err));
}

struct seen {
    size_t items, markers, latest;
    int64_t bytes;
    char last[256];
};

static int count_item(void *context, const struct s3_item *item, struct err *err)
{
    struct seen *seen = context;
    (void)err;
    CHECK(item->modified_s > clock_wall_s() - 3600 && item->modified_s < clock_wall_s() + 3600);
    seen->items++;
    seen->markers += item->delete_marker ? 1 : 0;
    seen->latest += item->latest ? 1 : 0;
    seen->bytes += item->size_bytes;
    (void)snprintf(seen->last, sizeof(seen->last), "%s", item->key);
    return 0;
}

static const char *const odd_keys[] = {
    "plain", "a/b/c", "with blank", "a+b", "per%20cent", "ümläut/schlüssel", "<&\"'>", "q?x=1#f"};

static void keeps_odd_keys(void **state)
{
    struct fixture *fixture = *state;
    struct err err;
    for (size_t i = 0; i < ARRAY_COUNT(odd_keys); i++) {
        struct s3_object_info info;
        struct seen seen = {0};
        CHECK_OK(s3_put(fixture->s3, &no_call, fixture->bucket, odd_keys[i], STR("body"), &err),
                 &err);
        CHECK_OK(s3_head(fixture->s3, &no_call, fixture->bucket, odd_keys[i], &info, &err), &err);
        CHECK_INT(info.size_bytes, 4);
        CHECK_OK(s3_list_objects(fixture->s3, &no_call, fixture->bucket, odd_keys[i], count_item,
                                 &seen, &err),
                 &err);
        CHECK_INT(seen.items, 1);
        CHECK_TEXT(seen.last, odd_keys[i]);
    }
    size_t deleted = 0;
    CHECK_OK(s3_bucket_empty(fixture->s3, &no_call, fixture->bucket, &deleted, &err), &err);
    CHECK_INT(deleted, ARRAY_COUNT(odd_keys));
}

static void lists_and_deletes_over_pages(void **state)
{
    struct fixture *fixture = *state;
    enum { OBJECTS = 1005 };
    struct seen seen = {0};
    size_t deleted = 0;
    struct err err;
    for (int i = 0; i < OBJECTS; i++) {
        AUTO(free) char *key = xasprintf("k%04d", i);
        CHECK_OK(s3_put(fixture->s3, &no_call, fixture->bucket, key, STR("12"), &err), &err);
    }
    CHECK_OK(s3_list_objects(fixture->s3, &no_call, fixture->bucket, "", count_item, &seen, &err),
             &err);
    CHECK_INT(seen.items, OBJECTS);
    CHECK_INT(seen.bytes, 2 * OBJECTS);
    CHECK_OK(s3_bucket_empty(fixture->s3, &no_call, fixture->bucket, &deleted, &err), &err);
    CHECK_INT(deleted, OBJECTS);
}

static void empties_versions_markers_and_uploads(void **state)
{
    struct fixture *fixture = *state;
    struct seen seen = {0};
    bool enabled = false;
    size_t deleted = 0;
    struct err err;
    CHECK_OK(s3_bucket_versioning(fixture->s3, &no_call, fixture->bucket, &enabled, &err), &err);
    CHECK(!enabled);
    CHECK_OK(s3_bucket_set_versioning(fixture->s3, &no_call, fixture->bucket, &err), &err);
    CHECK_OK(s3_bucket_versioning(fixture->s3, &no_call, fixture->bucket, &enabled, &err), &err);
    CHECK(enabled);
    CHECK_OK(s3_put(fixture->s3, &no_call, fixture->bucket, "k", STR("one"), &err), &err);
    CHECK_OK(s3_put(fixture->s3, &no_call, fixture->bucket, "k", STR("three"), &err), &err);
    CHECK_OK(s3_delete(fixture->s3, &no_call, fixture->bucket, "k", "", &err), &err);
    CHECK_OK(s3_list_versions(fixture->s3, &no_call, fixture->bucket, "", count_item, &seen, &err),
             &err);
    CHECK_INT(seen.items, 3);
    CHECK_INT(seen.markers, 1);
    CHECK_INT(seen.latest, 1);
    CHECK_INT(seen.bytes, 8);
    struct s3_upload *upload = s3_upload_new(fixture->s3, &no_call, fixture->bucket, "big");
    AUTO(free) char *part = xcalloc(1, 17 << 20);
    CHECK_OK(s3_upload_write(upload, (struct str){part, 17 << 20}, &err), &err);
    seen = (struct seen){0};
    CHECK_OK(s3_list_uploads(fixture->s3, &no_call, fixture->bucket, count_item, &seen, &err),
             &err);
    CHECK_INT(seen.items, 1);
    CHECK_OK(s3_bucket_empty(fixture->s3, &no_call, fixture->bucket, &deleted, &err), &err);
    CHECK_INT(deleted, 3);
    seen = (struct seen){0};
    CHECK_OK(s3_list_uploads(fixture->s3, &no_call, fixture->bucket, count_item, &seen, &err),
             &err);
    CHECK_INT(seen.items, 0);
    s3_upload_free(upload);
}

static void check_stream(struct fixture *fixture, size_t total)
{
    AUTO(s3_upload)
    struct s3_upload *upload = s3_upload_new(fixture->s3, &no_call, fixture->bucket, "stream");
    AUTO(free) char *piece = xmalloc(100000);
    struct s3_summary summary = {0};
    struct s3_object_info info;
    struct err err;
    for (size_t done = 0; done < total;) {
        size_t length = total - done < 100000 ? total - done : 100000;
        memset(piece, (int)('a' + done % 26), length);
        CHECK_OK(s3_upload_write(upload, (struct str){piece, length}, &err), &err);
        done += length;
    }
    CHECK_OK(s3_upload_finish(upload, &summary, &err), &err);
    CHECK_INT(summary.size_bytes, total);
    CHECK_OK(s3_head(fixture->s3, &no_call, fixture->bucket, "stream", &info, &err), &err);
    CHECK_INT(info.size_bytes, total);
    CHECK_OK(s3_verify(fixture->s3, &no_call, fixture->bucket, "stream", &summary, &err), &err);
    summary.sha256[0] = summary.sha256[0] == '0' ? '1' : '0';
    CHECK_FAILS(s3_verify(fixture->s3, &no_call, fixture->bucket, "stream", &summary, &err), &err,
                ERR_RETRY, "StorageMismatch");
}

static void streams_of_any_length(void **state)
{
    check_stream(*state, 0);
    check_stream(*state, 100001);
    check_stream(*state, 33UL << 20);
}

static void an_upload_that_is_given_up_leaves_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct s3_upload *upload = s3_upload_new(fixture->s3, &no_call, fixture->bucket, "k");
    AUTO(free) char *part = xcalloc(1, 17 << 20);
    struct s3_object_info info;
    struct seen seen = {0};
    struct err err;
    CHECK_OK(s3_upload_write(upload, (struct str){part, 17 << 20}, &err), &err);
    s3_upload_free(upload);
    CHECK_OK(s3_list_uploads(fixture->s3, &no_call, fixture->bucket, count_item, &seen, &err),
             &err);
    CHECK_INT(seen.items, 0);
    CHECK_FAILS(s3_head(fixture->s3, &no_call, fixture->bucket, "k", &info, &err), &err,
                ERR_NOT_FOUND, "NotFound");
}

static int count(void *context, const struct s3_item *item, struct err *err)
{
    int *found = context;
    (void)err;
    *found += strcmp(item->key, "a b/c+d%e") == 0;
    return 0;
}

/* http://bucket.localhost:PORT/key: another Host, and another path to sign. */
static void finds_buckets_by_host_name(void **state)
{
    struct fixture *fixture = *state;
    const char *colon = strrchr(check_getenv("S3_ENDPOINT"), ':');
    CHECK_NOT_NULL(colon);
    AUTO(free) char *endpoint = xasprintf("http://localhost%s", colon);
    AUTO(s3) struct s3 *s3 = client_of_style(fixture->http, endpoint, NULL, false);
    AUTO(free) char *other = xasprintf("%s-by-host", fixture->bucket);
    struct s3_object_info info;
    bool created = false;
    int found = 0;
    struct err err;

    CHECK_OK(s3_put(s3, &no_call, fixture->bucket, "a b/c+d%e", STR("hello"), &err), &err);
    CHECK_OK(s3_head(fixture->s3, &no_call, fixture->bucket, "a b/c+d%e", &info, &err), &err);
    CHECK(info.size_bytes == 5);
    CHECK_OK(s3_list_objects(s3, &no_call, fixture->bucket, "a b/", count, &found, &err), &err);
    CHECK(found == 1);
    CHECK_OK(s3_bucket_create(s3, &no_call, other, &tag, 1, &created, &err), &err);
    CHECK(created);
    CHECK_OK(s3_bucket_head(fixture->s3, &no_call, other, &err), &err);
    CHECK_OK(s3_bucket_delete(s3, &no_call, other, &err), &err);
    CHECK_FAILS(s3_bucket_head(s3, &no_call, other, &err), &err, ERR_NOT_FOUND, "NotFound");
}

static void writes_nothing_behind_a_closed_fence(void **state)
{
    struct fixture *fixture = *state;
    struct fence fence = {0};
    const struct call call = {.fence = &fence};
    struct s3_object_info info;
    struct err err;
    fence_close(&fence);
    CHECK_FAILS(s3_put(fixture->s3, &call, fixture->bucket, "k", STR("x"), &err), &err,
                ERR_CANCELED, "LeadershipLost");
    CHECK_FAILS(s3_head(fixture->s3, &call, fixture->bucket, "k", &info, &err), &err, ERR_NOT_FOUND,
                "NotFound");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(makes_a_bucket_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(changes_tags, set_up, tear_down),
        cmocka_unit_test_setup_teardown(says_what_is_not_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(tells_a_refused_key_from_a_server_that_is_away, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(keeps_odd_keys, set_up, tear_down),
        cmocka_unit_test_setup_teardown(lists_and_deletes_over_pages, set_up, tear_down),
        cmocka_unit_test_setup_teardown(empties_versions_markers_and_uploads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(streams_of_any_length, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_upload_that_is_given_up_leaves_nothing, set_up,
                                        tear_down),
        cmocka_unit_test_setup_teardown(finds_buckets_by_host_name, set_up, tear_down),
        cmocka_unit_test_setup_teardown(writes_nothing_behind_a_closed_fence, set_up, tear_down),
    };
    http_global_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
