#include "reconcilers/storage/store_probe.h"

#include <string.h>

#include "controller/base/str.h"
#include "reconcilers/drivers/aws.h"
#include "reconcilers/storage/bucket_documents.h"

enum { UID_CHARACTERS = 8, CONFIG_MAX_BYTES = 64 * 1024 };

#define NOBODY "tenantry-probe-nobody"
#define PROBE_TAG "tenantry.dev/probe"

const char *store_probe_bucket(struct arena *arena, const struct object_store *store)
{
    return arena_printf(arena, "%stenantry-probe-%.*s", store->prefix, UID_CHARACTERS, store->uid);
}

int store_check(const struct store_loan *loan, const struct call *call, struct arena *arena,
                struct err *err)
{
    char value[IAM_TAG_BYTES];

    /* A bucket that is not there: the answer tells whether the key is good all the same. */
    if (s3_bucket_head(loan->s3, call, store_probe_bucket(arena, loan->store), err) &&
        err->cls != ERR_NOT_FOUND) {
        return -1;
    }
    if (loan->iam && iam_user_tag(loan->iam, call, NOBODY, PROBE_TAG, value, err) &&
        err->cls != ERR_NOT_FOUND) {
        return err_wrap(err, "accounts");
    }
    return 0;
}

/* ---- one feature each ---- */

struct probe {
    const struct store_loan *loan;
    const struct call *call;
    const char *bucket;
    const struct store_capabilities *found; /* by the features before it */
};

static int try_versioning(const struct probe *probe, bool *ret, struct err *err)
{
    return s3_bucket_set_versioning(probe->loan->s3, probe->call, probe->bucket, err) ||
                   s3_bucket_versioning(probe->loan->s3, probe->call, probe->bucket, ret, err)
               ? -1
               : 0;
}

static int try_tags(const struct probe *probe, bool *ret, struct err *err)
{
    AUTO(s3_tags) struct s3_tags tags = {0};
    const struct s3_tag tag = {PROBE_TAG, "yes"};

    if (s3_bucket_set_tags(probe->loan->s3, probe->call, probe->bucket, &tag, 1, err) ||
        s3_bucket_tags(probe->loan->s3, probe->call, probe->bucket, &tags, err)) {
        return -1;
    }
    *ret = text_equal(s3_tags_get(&tags, PROBE_TAG), "yes");
    return 0;
}

static int try_document(const struct probe *probe, const char *kind, const char *document,
                        bool *ret, struct err *err)
{
    if (s3_bucket_set_config(probe->loan->s3, probe->call, probe->bucket, kind, str_from(document),
                             err)) {
        return -1;
    }
    *ret = true;
    return 0;
}

static int try_lifecycle(const struct probe *probe, bool *ret, struct err *err)
{
    AUTO(buf) struct buf document = BUF(CONFIG_MAX_BYTES);
    document_lifecycle(&document, probe->found->versioning ? 1 : 0);
    return try_document(probe, "lifecycle", buf_text(&document), ret, err);
}

static int try_encryption(const struct probe *probe, bool *ret, struct err *err)
{
    return try_document(probe, "encryption", DOCUMENT_ENCRYPTION, ret, err);
}

static int try_public_access_block(const struct probe *probe, bool *ret, struct err *err)
{
    return try_document(probe, "publicAccessBlock", DOCUMENT_PUBLIC_ACCESS_BLOCK, ret, err);
}

/* One that denies what nobody asks for. */
static int try_policy(const struct probe *probe, bool *ret, struct err *err)
{
    AUTO(buf) struct buf document = BUF(CONFIG_MAX_BYTES);
    (void)buf_printf(&document,
                     "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Deny\","
                     "\"Principal\":\"*\",\"Action\":\"s3:GetObject\","
                     "\"Resource\":\"arn:aws:s3:::%s/none\"}]}",
                     probe->bucket);
    return try_document(probe, "policy", buf_text(&document), ret, err);
}

/* A bucket without one has no configuration; a server without the feature has no such thing. */
static int try_object_lock(const struct probe *probe, bool *ret, struct err *err)
{
    AUTO(buf) struct buf text = BUF(CONFIG_MAX_BYTES);
    if (s3_bucket_config(probe->loan->s3, probe->call, probe->bucket, "object-lock", &text, err) &&
        err->cls != ERR_NOT_FOUND) {
        return -1;
    }
    *ret = true;
    return 0;
}

/* No S3 API bounds the bytes of a bucket, so `quota` is not among these, and stays false. */
static const struct {
    size_t at; /* of the bool in struct store_capabilities */
    int (*try)(const struct probe *probe, bool *ret, struct err *err);
} features[] = {
    {offsetof(struct store_capabilities, versioning), try_versioning},
    {offsetof(struct store_capabilities, tags), try_tags},
    {offsetof(struct store_capabilities, lifecycle), try_lifecycle},
    {offsetof(struct store_capabilities, encryption), try_encryption},
    {offsetof(struct store_capabilities, public_access_block), try_public_access_block},
    {offsetof(struct store_capabilities, policy), try_policy},
    {offsetof(struct store_capabilities, object_lock), try_object_lock},
};

/* Whether the server said no, rather than nothing or "not now". */
static bool is_refusal(const struct err *err)
{
    return err->cls != ERR_CANCELED && *err->code != '\0' && !err_has_reason(err, "StorageBusy") &&
           !err_has_reason(err, "StorageCredentials");
}

static int try_features(const struct probe *probe, struct store_capabilities *ret, struct err *err)
{
    for (size_t i = 0; i < ARRAY_COUNT(features); i++) {
        bool *found = (bool *)((char *)ret + features[i].at);
        if (features[i].try(probe, found, err)) {
            *found = false;
            if (!is_refusal(err)) {
                return -1;
            }
        }
    }
    return 0;
}

int store_probe(const struct store_loan *loan, const struct call *call, struct arena *arena,
                struct store_capabilities *ret, struct err *err)
{
    const struct probe probe = {loan, call, store_probe_bucket(arena, loan->store), ret};
    bool created = false;

    *ret = (struct store_capabilities){0};
    if (s3_bucket_create(loan->s3, call, probe.bucket, NULL, 0, &created, err) ||
        try_features(&probe, ret, err) || s3_bucket_delete(loan->s3, call, probe.bucket, err)) {
        return err_wrap(err, "trying what the store can do");
    }
    return 0;
}
