/* The IAM client against a real service, and what its users may do at the S3 server beside it. */
#include <stdlib.h>

#include "reconcilers/drivers/iam.h"
#include "reconcilers/drivers/s3.h"
#include "tests/check.h"

static const struct call no_call = {0};
#define TAG "tenantry.dev/tenant-uid"

struct fixture {
    struct http_client *http;
    struct iam *iam;
    struct s3 *root;
    char *user; /* this test's own, made; a bucket of the same name too */
};

static struct s3 *client(const struct fixture *fixture, const char *access_key,
                         const struct secret *secret)
{
    struct s3 *s3 = NULL;
    struct err err;
    const struct s3_config config = {
        .endpoint = getenv("S3_ENDPOINT"),
        .region = getenv("S3_REGION"),
        .path_style = true,
        .access_key = access_key,
        .secret_key = secret,
    };
    CHECK_OK(s3_new(fixture->http, &config, &s3, &err), &err);
    return s3;
}

static int set_up(void **state)
{
    struct fixture *fixture = xcalloc(1, sizeof(*fixture));
    AUTO(secret) struct secret secret = {0};
    char unique[UUID_TEXT_BYTES];
    bool created = false;
    struct err err;
    random_uuid(unique);
    secret_set(&secret, str_from(getenv("S3_SECRET_KEY")));
    fixture->user = xasprintf("t-%s", unique);
    CHECK_OK(s3_http_client_new("iam", NULL, &fixture->http, &err), &err);
    CHECK_OK(iam_new(fixture->http, getenv("IAM_ENDPOINT"), getenv("S3_REGION"),
                     getenv("S3_ACCESS_KEY"), &secret, &fixture->iam, &err),
             &err);
    fixture->root = client(fixture, getenv("S3_ACCESS_KEY"), &secret);
    CHECK_OK(iam_user_create(fixture->iam, &no_call, fixture->user, TAG, "uid-1", &created, &err),
             &err);
    CHECK(created);
    CHECK_OK(s3_bucket_create(fixture->root, &no_call, fixture->user, NULL, 0, &created, &err),
             &err);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    struct iam_key keys[IAM_KEYS_MAX];
    size_t count = 0;
    struct err err;
    CHECK_OK(s3_bucket_empty(fixture->root, &no_call, fixture->user, NULL, &err), &err);
    CHECK_OK(s3_bucket_delete(fixture->root, &no_call, fixture->user, &err), &err);
    CHECK_OK(iam_key_list(fixture->iam, &no_call, fixture->user, keys, &count, &err), &err);
    for (size_t i = 0; i < count; i++) {
        CHECK_OK(iam_key_delete(fixture->iam, &no_call, fixture->user, keys[i].id, &err), &err);
    }
    CHECK_OK(iam_policy_delete(fixture->iam, &no_call, fixture->user, "p", &err), &err);
    CHECK_OK(iam_user_delete(fixture->iam, &no_call, fixture->user, &err), &err);
    CHECK_OK(iam_user_delete(fixture->iam, &no_call, fixture->user, &err), &err);
    s3_free(fixture->root);
    iam_free(fixture->iam);
    http_client_free(fixture->http);
    free(fixture->user);
    free(fixture);
    return 0;
}

static void makes_a_user_once(void **state)
{
    struct fixture *fixture = *state;
    char value[IAM_TAG_BYTES];
    bool created = true;
    struct err err;
    CHECK_OK(iam_user_create(fixture->iam, &no_call, fixture->user, TAG, "uid-2", &created, &err),
             &err);
    CHECK(!created);
    CHECK_OK(iam_user_tag(fixture->iam, &no_call, fixture->user, TAG, value, &err), &err);
    CHECK_TEXT(value, "uid-1");
    CHECK_OK(iam_user_set_tag(fixture->iam, &no_call, fixture->user, TAG, "uid-3", &err), &err);
    CHECK_OK(iam_user_tag(fixture->iam, &no_call, fixture->user, TAG, value, &err), &err);
    CHECK_TEXT(value, "uid-3");
    CHECK_OK(iam_user_tag(fixture->iam, &no_call, fixture->user, "other", value, &err), &err);
    CHECK_TEXT(value, "");
    CHECK_FAILS(iam_user_tag(fixture->iam, &no_call, "no-such-user", TAG, value, &err), &err,
                ERR_NOT_FOUND, "NotFound");
}

static void has_two_keys_at_most(void **state)
{
    struct fixture *fixture = *state;
    AUTO(secret) struct secret secret = {0};
    struct iam_key keys[IAM_KEYS_MAX];
    char id[IAM_KEY_BYTES];
    size_t count = 0;
    struct err err;
    CHECK_OK(iam_key_create(fixture->iam, &no_call, fixture->user, id, &secret, &err), &err);
    CHECK(secret_length(&secret) >= 30);
    CHECK_OK(iam_key_create(fixture->iam, &no_call, fixture->user, id, &secret, &err), &err);
    CHECK(iam_key_create(fixture->iam, &no_call, fixture->user, id, &secret, &err) != 0);
    CHECK_OK(iam_key_list(fixture->iam, &no_call, fixture->user, keys, &count, &err), &err);
    CHECK_INT(count, 2);
    CHECK(keys[0].active && keys[1].active);
    CHECK_OK(iam_key_set_active(fixture->iam, &no_call, fixture->user, keys[0].id, false, &err),
             &err);
    CHECK_OK(iam_key_delete(fixture->iam, &no_call, fixture->user, keys[1].id, &err), &err);
    CHECK_OK(iam_key_delete(fixture->iam, &no_call, fixture->user, keys[1].id, &err), &err);
    CHECK_OK(iam_key_list(fixture->iam, &no_call, fixture->user, keys, &count, &err), &err);
    CHECK_INT(count, 1);
    CHECK(!keys[0].active);
}

static char *policy(const char *bucket)
{
    return xasprintf("{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\","
                     "\"Action\":[\"s3:PutObject\",\"s3:GetObject\"],"
                     "\"Resource\":[\"arn:aws:s3:::%s/*\"]}]}",
                     bucket);
}

static void a_key_does_what_the_policy_says_while_it_is_active(void **state)
{
    struct fixture *fixture = *state;
    AUTO(secret) struct secret secret = {0};
    AUTO(free) char *document = policy(fixture->user);
    AUTO(buf) struct buf stored = BUF(65536);
    char id[IAM_KEY_BYTES];
    struct err err;
    CHECK_OK(iam_key_create(fixture->iam, &no_call, fixture->user, id, &secret, &err), &err);
    AUTO(s3) struct s3 *tenant = client(fixture, id, &secret);
    CHECK_FAILS(s3_put(tenant, &no_call, fixture->user, "k", STR("x"), &err), &err, ERR_RETRY,
                "StorageForbidden");
    CHECK_OK(iam_policy_put(fixture->iam, &no_call, fixture->user, "p", document, &err), &err);
    CHECK_OK(iam_policy(fixture->iam, &no_call, fixture->user, "p", &stored, &err), &err);
    CHECK_TEXT(buf_text(&stored), document);
    CHECK_OK(s3_put(tenant, &no_call, fixture->user, "k", STR("x"), &err), &err);
    CHECK_FAILS(s3_delete(tenant, &no_call, fixture->user, "k", "", &err), &err, ERR_RETRY,
                "StorageForbidden");
    CHECK_OK(iam_key_set_active(fixture->iam, &no_call, fixture->user, id, false, &err), &err);
    CHECK(s3_put(tenant, &no_call, fixture->user, "k", STR("x"), &err) != 0);
    CHECK_OK(iam_key_set_active(fixture->iam, &no_call, fixture->user, id, true, &err), &err);
    CHECK_OK(s3_put(tenant, &no_call, fixture->user, "k", STR("x"), &err), &err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(makes_a_user_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(has_two_keys_at_most, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_key_does_what_the_policy_says_while_it_is_active, set_up,
                                        tear_down),
    };
    http_global_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
