/* What a tenant's key may do. */
#include "controller/base/buf.h"
#include "controller/base/js.h"
#include "controller/base/jsonw.h"
#include "controller/base/str.h"
#include "reconcilers/storage/storage_internal.h"

enum { POLICY_MAX_BYTES = IAM_POLICY_MAX_BYTES };

static const char *const list_actions[] = {"s3:ListBucket", NULL};
static const char *const read_actions[] = {"s3:GetObject", "s3:GetObjectVersion",
                                           "s3:GetObjectTagging", NULL};
static const char *const object_actions[] = {"s3:GetObject",
                                             "s3:GetObjectVersion",
                                             "s3:GetObjectTagging",
                                             "s3:PutObject",
                                             "s3:PutObjectTagging",
                                             "s3:DeleteObject",
                                             "s3:DeleteObjectTagging",
                                             "s3:AbortMultipartUpload",
                                             "s3:ListMultipartUploadParts",
                                             NULL};
static const char *const write_actions[] = {"s3:PutObject", NULL};

struct statement {
    const char *sid;
    const char *effect;
    const char *const *actions;
    bool of_objects; /* the objects in them, rather than the buckets */
    bool with_backups;
    bool with_others; /* the buckets that are not for backups */
};

static const struct statement statements[] = {
    {"List", "Allow", list_actions, false, true, true},
    {"Objects", "Allow", object_actions, true, false, true},
    {"Backups", "Allow", read_actions, true, true, false},
};
static const struct statement fence = {"StorageSpent", "Deny", write_actions, true, false, true};

struct subject {
    const struct tenant_bucket *buckets;
    size_t count;
    const char *backups;
};

static bool is_meant(const struct statement *statement, const struct subject *subject,
                     const char *bucket)
{
    bool backups = text_equal(bucket, subject->backups);
    return backups ? statement->with_backups : statement->with_others;
}

static bool has_any(const struct statement *statement, const struct subject *subject)
{
    for (size_t i = 0; i < subject->count; i++) {
        if (is_meant(statement, subject, subject->buckets[i].name)) {
            return true;
        }
    }
    return false;
}

/* A statement about nothing is malformed, and is left out. */
static void write_statement(struct jsonw *writer, struct arena *arena,
                            const struct statement *statement, const struct subject *subject)
{
    if (!has_any(statement, subject)) {
        return;
    }
    jsonw_object(writer, NULL);
    jsonw_text(writer, "Sid", statement->sid);
    jsonw_text(writer, "Effect", statement->effect);
    jsonw_array(writer, "Action");
    for (const char *const *action = statement->actions; *action; action++) {
        jsonw_text(writer, NULL, *action);
    }
    jsonw_end_array(writer);
    jsonw_array(writer, "Resource");
    for (size_t i = 0; i < subject->count; i++) {
        const char *bucket = subject->buckets[i].name;
        if (is_meant(statement, subject, bucket)) {
            jsonw_text(writer, NULL,
                       arena_printf(arena, "arn:aws:s3:::%s%s", bucket,
                                    statement->of_objects ? "/*" : ""));
        }
    }
    jsonw_end_array(writer);
    jsonw_end_object(writer);
}

const char *storage_policy(struct arena *arena, const struct tenant_bucket *buckets, size_t count,
                           const char *backups_bucket, bool spent)
{
    AUTO(buf) struct buf text = BUF(POLICY_MAX_BYTES);
    const struct subject subject = {buckets, count, backups_bucket};
    struct jsonw writer;

    jsonw_init(&writer, &text);
    jsonw_object(&writer, NULL);
    jsonw_text(&writer, "Version", "2012-10-17");
    jsonw_array(&writer, "Statement");
    for (size_t i = 0; i < ARRAY_COUNT(statements); i++) {
        write_statement(&writer, arena, &statements[i], &subject);
    }
    if (spent) {
        write_statement(&writer, arena, &fence, &subject);
    }
    jsonw_end_array(&writer);
    jsonw_end_object(&writer);
    return arena_strdup(arena, buf_text(&text));
}

bool storage_policy_equal(const char *a, const char *b)
{
    AUTO(json) json_t *tree_a = NULL;
    AUTO(json) json_t *tree_b = NULL;
    struct err ignored;

    return js_parse(str_from(a), POLICY_MAX_BYTES, &tree_a, &ignored) == 0 &&
           js_parse(str_from(b), POLICY_MAX_BYTES, &tree_b, &ignored) == 0 &&
           json_equal(tree_a, tree_b);
}
