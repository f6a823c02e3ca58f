#include "reconcilers/storage/storage_internal.h"
#include "tests/check.h"

static const struct tenant_bucket buckets[] = {{"acme-uploads", "default"},
                                               {"acme-backups", "default"}};

static const char *policy(struct arena *arena, size_t count, bool spent)
{
    return storage_policy(arena, buckets, count, "acme-backups", spent);
}

static void names_buckets_exactly(void **state)
{
    (void)state;
    AUTO(arena) struct arena arena = {0};
    arena_init(&arena, 0);
    CHECK_TEXT(
        policy(&arena, 2, false),
        "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Sid\":\"List\",\"Effect\":\"Allow\","
        "\"Action\":[\"s3:ListBucket\"],\"Resource\":[\"arn:aws:s3:::acme-uploads\","
        "\"arn:aws:s3:::acme-backups\"]},{\"Sid\":\"Objects\",\"Effect\":\"Allow\",\"Action\":["
        "\"s3:GetObject\",\"s3:GetObjectVersion\",\"s3:GetObjectTagging\",\"s3:PutObject\","
        "\"s3:PutObjectTagging\",\"s3:DeleteObject\",\"s3:DeleteObjectTagging\","
        "\"s3:AbortMultipartUpload\",\"s3:ListMultipartUploadParts\"],\"Resource\":["
        "\"arn:aws:s3:::acme-uploads/*\"]},{\"Sid\":\"Backups\",\"Effect\":\"Allow\",\"Action\":["
        "\"s3:GetObject\",\"s3:GetObjectVersion\",\"s3:GetObjectTagging\"],\"Resource\":["
        "\"arn:aws:s3:::acme-backups/*\"]}]}");
}

static void leaves_out_statements_about_nothing(void **state)
{
    (void)state;
    AUTO(arena) struct arena arena = {0};
    arena_init(&arena, 0);
    CHECK_NULL(strstr(policy(&arena, 1, false), "Backups"));
    CHECK_NULL(strstr(policy(&arena, 2, false), "Deny"));
}

static void refuses_writes_when_nothing_is_left(void **state)
{
    (void)state;
    AUTO(arena) struct arena arena = {0};
    arena_init(&arena, 0);
    CHECK_NOT_NULL(strstr(policy(&arena, 2, true),
                          "{\"Sid\":\"StorageSpent\",\"Effect\":\"Deny\",\"Action\":["
                          "\"s3:PutObject\"],\"Resource\":[\"arn:aws:s3:::acme-uploads/*\"]}"));
}

static void compares_what_is_said(void **state)
{
    (void)state;
    CHECK(storage_policy_equal("{\"a\":1,\"b\":[2]}", "{ \"b\": [2],\n\"a\": 1 }"));
    CHECK(!storage_policy_equal("{\"a\":1}", "{\"a\":2}"));
    CHECK(!storage_policy_equal("{\"a\":1}", ""));
    CHECK(!storage_policy_equal("no JSON", "no JSON"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_buckets_exactly),
        cmocka_unit_test(leaves_out_statements_about_nothing),
        cmocka_unit_test(refuses_writes_when_nothing_is_left),
        cmocka_unit_test(compares_what_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
