/* What keeps a tenant that has nothing left of storage_mb from writing where its key is not ours to
 * restrict: a statement of our own in the policy of each of its buckets but the one for backups.
 * The rest of that policy is the platform's and stays, word for word in meaning. */
#include "controller/base/js.h"
#include "controller/base/str.h"
#include "reconcilers/model/names.h"
#include "reconcilers/storage/keys_internal.h"

enum { BUCKET_POLICY_MAX_BYTES = 64 * 1024 };

#define FENCE_SID "TenantryStorageSpent"

/* ---- the document, pure ---- */

static bool is_fence(const json_t *statement)
{
    return text_equal(js_text_or(statement, "/Sid", ""), FENCE_SID);
}

static json_t *make_fence(const char *bucket)
{
    AUTO(free) char *objects = xasprintf("arn:aws:s3:::%s/*", bucket);
    return json_pack("{s:s, s:s, s:s, s:s, s:s}", "Sid", FENCE_SID, "Effect", "Deny", "Principal",
                     "*", "Action", "s3:PutObject", "Resource", objects);
}

/* A policy with one statement may have it bare. */
static json_t *others(const json_t *policy)
{
    json_t *list = json_array();
    const json_t *statements = js_at(policy, "/Statement");
    size_t index = 0;
    json_t *each = NULL;

    if (json_is_object(statements) && !is_fence(statements)) {
        json_array_append(list, (json_t *)statements);
    }
    json_array_foreach((json_t *)statements, index, each)
    {
        if (!is_fence(each)) {
            json_array_append(list, each);
        }
    }
    return list;
}

static bool has_fence(const json_t *policy)
{
    const json_t *statements = js_at(policy, "/Statement");
    size_t index = 0;
    json_t *each = NULL;
    bool found = json_is_object(statements) && is_fence(statements);

    json_array_foreach((json_t *)statements, index, each)
    {
        found |= is_fence(each);
    }
    return found;
}

int bucket_fence_plan(struct arena *arena, const char *existing, const char *bucket, bool spent,
                      const char **ret, struct err *err)
{
    AUTO(json) json_t *policy = NULL;

    *ret = NULL;
    if (text_is_empty(existing)) {
        policy = json_pack("{s:s}", "Version", "2012-10-17");
    } else if (js_parse(str_from(existing), BUCKET_POLICY_MAX_BYTES, &policy, err)) {
        return err_wrap(err, "the policy of bucket \"%s\"", bucket);
    }
    if (has_fence(policy) == spent) {
        return 0;
    }
    json_t *statements = others(policy);
    if (spent) {
        json_array_append_new(statements, make_fence(bucket));
    }
    bool empty = json_array_size(statements) == 0;
    json_object_set_new(policy, "Statement", statements);
    AUTO(free) char *text = js_print(policy);
    *ret = empty ? "" : arena_strdup(arena, text);
    return 0;
}

/* ---- buckets ---- */

static int fence_bucket(const struct keys_run *run, const char *bucket, struct err *err)
{
    AUTO(buf) struct buf policy = BUF(BUCKET_POLICY_MAX_BYTES);
    const struct call *call = &run->rc->call;
    struct s3 *s3 = run->loan->s3;
    const char *wanted = NULL;

    if (s3_bucket_config(s3, call, bucket, "policy", &policy, err)) {
        if (err->cls != ERR_NOT_FOUND) {
            return -1;
        }
        buf_clear(&policy);
    }
    if (bucket_fence_plan(run->rc->arena, buf_text(&policy), bucket, run->work->storage_spent,
                          &wanted, err)) {
        return -1;
    }
    if (!wanted) {
        return 0;
    }
    return *wanted ? s3_bucket_set_config(s3, call, bucket, "policy", str_from(wanted), err)
                   : s3_bucket_delete_config(s3, call, bucket, "policy", err);
}

int bucket_fence_ensure(const struct keys_run *run, struct err *err)
{
    const struct tenant_work *work = run->work;
    const char *backups = name_bucket(run->rc->arena, run->loan->store->prefix,
                                      work->tenant->subdomain, BUCKET_BACKUPS);
    bool may_differ =
        run->rc->drift_check || work->storage_spent || work->tenant->status.bucket_count > 0;

    if (!run->loan->store->capabilities.policy || !may_differ) {
        return 0;
    }
    for (size_t i = 0; i < work->bucket_count; i++) {
        const char *bucket = work->buckets[i].name;
        if (!text_equal(bucket, backups) && fence_bucket(run, bucket, err)) {
            return -1;
        }
    }
    return 0;
}
