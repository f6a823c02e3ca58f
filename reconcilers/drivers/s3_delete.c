/* Deletion: in batches of 1000, one request each, and whatever a batch cannot name by itself. */
#include <stdio.h>
#include <string.h>

#include "controller/base/hash.h"
#include "reconcilers/drivers/s3_internal.h"
#include "reconcilers/drivers/xml.h"

enum { BATCH_MAX = 1000, BODY_MAX_BYTES = 8 * 1024 * 1024, EMPTY_ROUNDS = 20 };

struct s3_batch {
    struct s3 *s3;
    const struct call *call;
    char *bucket;
    struct buf body;
    size_t count; /* in body */
    size_t deleted;
};

struct s3_batch *s3_batch_new(struct s3 *s3, const struct call *call, const char *bucket)
{
    struct s3_batch *batch = xcalloc(1, sizeof(*batch));
    batch->s3 = s3;
    batch->call = call;
    batch->bucket = xstrdup(bucket);
    buf_init(&batch->body, BODY_MAX_BYTES);
    return batch;
}

void s3_batch_free(struct s3_batch *batch)
{
    if (!batch) {
        return;
    }
    buf_release(&batch->body);
    free(batch->bucket);
    free(batch);
}

size_t s3_batch_deleted(const struct s3_batch *batch)
{
    return batch->deleted;
}

/* The first refusal in the answer, which is 200 all the same. */
struct refusals {
    size_t count;
    char key[256];
    char code[64];
    char message[256];
};

static void keep(char *out, size_t bytes, struct str text)
{
    if (!out[0]) {
        size_t length = str_utf8_prefix(text, bytes - 1);
        memcpy(out, text.len > 0 ? text.ptr : "", length);
        out[length] = '\0';
    }
}

static int on_result_element(void *context, const char *path, struct str text, struct err *err)
{
    struct refusals *refusals = context;
    (void)err;

    if (text_equal(path, "Error/Key")) {
        keep(refusals->key, sizeof(refusals->key), text);
    } else if (text_equal(path, "Error/Code")) {
        keep(refusals->code, sizeof(refusals->code), text);
    } else if (text_equal(path, "Error/Message")) {
        keep(refusals->message, sizeof(refusals->message), text);
    } else if (text_equal(path, "Error")) {
        refusals->count++;
    }
    return 0;
}

static int judge(struct s3_batch *batch, struct str answer, struct err *err)
{
    struct refusals refusals = {0};

    if (xml_read(answer, on_result_element, &refusals, err)) {
        return err_wrap(err, "deletion in bucket \"%s\"", batch->bucket);
    }
    batch->deleted +=
        batch->count - (refusals.count < batch->count ? refusals.count : batch->count);
    if (refusals.count == 0) {
        return 0;
    }
    return err_set(err, ERR_RETRY, "StorageForbidden",
                   "bucket \"%s\": %zu objects cannot be deleted, the first \"%s\" (%s: %s)",
                   batch->bucket, refusals.count, refusals.key, refusals.code, refusals.message);
}

static int send_batch(struct s3_batch *batch, struct err *err)
{
    AUTO(aws_answer) struct aws_answer answer = {0};
    const struct sigv4_pair query = {"delete", ""};

    if (batch->count == 0) {
        return 0;
    }
    (void)buf_append_text(&batch->body, "</Delete>");
    if (buf_failed(&batch->body)) {
        return err_set(err, ERR_TERMINAL, "InvalidRequest", "names of objects are too long");
    }
    const struct s3_request request = {.method = "POST",
                                       .bucket = batch->bucket,
                                       .query = &query,
                                       .query_count = 1,
                                       .body = buf_str(&batch->body)};
    int result = s3_perform(batch->s3, batch->call, &request, &answer, err) ||
                         judge(batch, buf_str(&answer.http.body), err)
                     ? -1
                     : 0;
    buf_clear(&batch->body);
    batch->count = 0;
    return result;
}

static int delete_alone(struct s3_batch *batch, const char *key, const char *version,
                        struct err *err)
{
    if (s3_delete(batch->s3, batch->call, batch->bucket, key, version, err)) {
        return -1;
    }
    batch->deleted++;
    return 0;
}

/* A key with characters that XML cannot write goes alone, where it stands in the URL. */
int s3_batch_add(struct s3_batch *batch, const char *key, const char *version, struct err *err)
{
    AUTO(buf) struct buf entry = BUF(BODY_MAX_BYTES);

    (void)buf_append_text(&entry, "<Object><Key>");
    if (!xml_append(&entry, str_from(key))) {
        return delete_alone(batch, key, version, err);
    }
    (void)buf_append_text(&entry, "</Key>");
    if (!text_is_empty(version)) {
        (void)buf_append_text(&entry, "<VersionId>");
        if (!xml_append(&entry, str_from(version))) {
            return delete_alone(batch, key, version, err);
        }
        (void)buf_append_text(&entry, "</VersionId>");
    }
    (void)buf_append_text(&entry, "</Object>");
    if (batch->count == 0) {
        (void)buf_append_text(&batch->body,
                              "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
                              "<Quiet>true</Quiet>");
    }
    (void)buf_append_str(&batch->body, buf_str(&entry));
    batch->count++;
    return batch->count == BATCH_MAX ? send_batch(batch, err) : 0;
}

int s3_batch_finish(struct s3_batch *batch, struct err *err)
{
    return send_batch(batch, err);
}

/* ---- one ---- */

static int delete_one(struct s3 *s3, const struct call *call, const char *bucket, const char *key,
                      const char *parameter, const char *id, struct err *err)
{
    AUTO(aws_answer) struct aws_answer answer = {0};
    const struct sigv4_pair query = {parameter, id};
    const struct s3_request request = {.method = "DELETE",
                                       .bucket = bucket,
                                       .key = key,
                                       .query = &query,
                                       .query_count = text_is_empty(id) ? 0 : 1};

    if (s3_perform(s3, call, &request, &answer, err)) {
        return err->cls == ERR_NOT_FOUND ? 0 : -1;
    }
    return 0;
}

int s3_delete(struct s3 *s3, const struct call *call, const char *bucket, const char *key,
              const char *version, struct err *err)
{
    return delete_one(s3, call, bucket, key, "versionId", version, err);
}

int s3_abort_upload(struct s3 *s3, const struct call *call, const char *bucket, const char *key,
                    const char *upload_id, struct err *err)
{
    return delete_one(s3, call, bucket, key, "uploadId", upload_id, err);
}

/* ---- everything ---- */

struct emptying {
    struct s3 *s3;
    const struct call *call;
    const char *bucket;
    struct s3_batch *batch;
    bool versions; /* what is listed has versions */
    size_t found;
};

static int abort_listed(void *context, const struct s3_item *item, struct err *err)
{
    struct emptying *emptying = context;
    emptying->found++;
    return s3_abort_upload(emptying->s3, emptying->call, emptying->bucket, item->key, item->version,
                           err);
}

static int delete_listed(void *context, const struct s3_item *item, struct err *err)
{
    struct emptying *emptying = context;
    emptying->found++;
    return s3_batch_add(emptying->batch, item->key, item->version, err);
}

static int list_all(struct emptying *emptying, struct err *err)
{
    if (emptying->versions) {
        if (s3_list_versions(emptying->s3, emptying->call, emptying->bucket, "", delete_listed,
                             emptying, err) == 0) {
            return 0;
        }
        if (!err_has_reason(err, "StorageNotImplemented")) {
            return -1;
        }
        emptying->versions = false;
    }
    return s3_list_objects(emptying->s3, emptying->call, emptying->bucket, "", delete_listed,
                           emptying, err);
}

static int one_round(struct emptying *emptying, struct err *err)
{
    emptying->found = 0;
    if (s3_list_uploads(emptying->s3, emptying->call, emptying->bucket, abort_listed, emptying,
                        err) &&
        !err_has_reason(err, "StorageNotImplemented")) {
        return -1;
    }
    return list_all(emptying, err) || s3_batch_finish(emptying->batch, err) ? -1 : 0;
}

/* A list is no snapshot: who writes meanwhile is found by the next round. */
int s3_bucket_empty(struct s3 *s3, const struct call *call, const char *bucket, size_t *ret_deleted,
                    struct err *err)
{
    AUTO(s3_batch) struct s3_batch *batch = s3_batch_new(s3, call, bucket);
    struct emptying emptying = {
        .s3 = s3, .call = call, .bucket = bucket, .batch = batch, .versions = true};
    int result = 0;

    for (int round = 0; round < EMPTY_ROUNDS; round++) {
        result = one_round(&emptying, err);
        if (result || emptying.found == 0) {
            break;
        }
    }
    if (ret_deleted) {
        *ret_deleted = batch->deleted;
    }
    if (result) {
        return err->cls == ERR_NOT_FOUND ? 0 : -1;
    }
    return emptying.found == 0
               ? 0
               : err_set(err, ERR_RETRY, "StorageRefused",
                         "bucket \"%s\" is written to faster than it is emptied", bucket);
}
