/* A stream into one object: a part in memory at a time, so that a part can be sent again. */
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "controller/base/hash.h"
#include "reconcilers/drivers/s3_internal.h"
#include "reconcilers/drivers/xml.h"

enum {
    PART_BYTES = 16 * 1024 * 1024,
    PARTS_MAX = 10000,
    PART_TIMEOUT_MS = 5 * 60 * 1000,
    COMPLETE_MAX_BYTES = 4 * 1024 * 1024,
    NUMBER_BYTES = 12,
};

struct s3_upload {
    struct s3 *s3;
    const struct call *call;
    char *bucket;
    char *key;
    struct buf id;       /* of the multipart upload; empty while there is none */
    struct buf part;     /* not sent yet */
    struct buf complete; /* the list of parts that ends the upload */
    int part_count;      /* sent */
    EVP_MD_CTX *digest;
    int64_t size_bytes;
    bool finished;
};

struct s3_upload *s3_upload_new(struct s3 *s3, const struct call *call, const char *bucket,
                                const char *key)
{
    struct s3_upload *upload = xcalloc(1, sizeof(*upload));
    upload->s3 = s3;
    upload->call = call;
    upload->bucket = xstrdup(bucket);
    upload->key = xstrdup(key);
    buf_init(&upload->id, 4096);
    buf_init(&upload->part, PART_BYTES);
    buf_init(&upload->complete, COMPLETE_MAX_BYTES);
    upload->digest = EVP_MD_CTX_new();
    if (!upload->digest || EVP_DigestInit_ex(upload->digest, EVP_sha256(), NULL) != 1) {
        out_of_memory();
    }
    return upload;
}

static bool is_multipart(const struct s3_upload *upload)
{
    return upload->id.len > 0;
}

void s3_upload_free(struct s3_upload *upload)
{
    struct err ignored;

    if (!upload) {
        return;
    }
    if (is_multipart(upload) && !upload->finished) {
        (void)!s3_abort_upload(upload->s3, upload->call, upload->bucket, upload->key,
                               buf_text(&upload->id), &ignored);
    }
    EVP_MD_CTX_free(upload->digest);
    buf_release(&upload->id);
    buf_release(&upload->part);
    buf_release(&upload->complete);
    free(upload->bucket);
    free(upload->key);
    free(upload);
}

/* ---- parts ---- */

static int on_begin_element(void *context, const char *path, struct str text, struct err *err)
{
    struct s3_upload *upload = context;
    (void)err;
    if (text_equal(path, "UploadId")) {
        buf_clear(&upload->id);
        (void)buf_append_str(&upload->id, text);
    }
    return 0;
}

static int begin(struct s3_upload *upload, struct err *err)
{
    AUTO(aws_answer) struct aws_answer answer = {0};
    const struct sigv4_pair query = {"uploads", ""};
    const struct s3_request request = {.method = "POST",
                                       .bucket = upload->bucket,
                                       .key = upload->key,
                                       .query = &query,
                                       .query_count = 1};

    if (s3_perform(upload->s3, upload->call, &request, &answer, err) ||
        xml_read(buf_str(&answer.http.body), on_begin_element, upload, err)) {
        return -1;
    }
    return is_multipart(upload)
               ? 0
               : err_set(err, ERR_RETRY, "StorageAnswer", "an upload was begun without a name");
}

static int send_part(struct s3_upload *upload, struct err *err)
{
    AUTO(aws_answer) struct aws_answer answer = {0};
    char number[NUMBER_BYTES];

    if (upload->part_count == PARTS_MAX) {
        return err_set(err, ERR_TERMINAL, "StorageRefused",
                       "the stream is longer than %d parts of %d bytes", PARTS_MAX, PART_BYTES);
    }
    if (!is_multipart(upload) && begin(upload, err)) {
        return -1;
    }
    (void)snprintf(number, sizeof(number), "%d", upload->part_count + 1);
    const struct sigv4_pair query[] = {{"partNumber", number}, {"uploadId", buf_text(&upload->id)}};
    const struct s3_request request = {.method = "PUT",
                                       .bucket = upload->bucket,
                                       .key = upload->key,
                                       .query = query,
                                       .query_count = 2,
                                       .body = buf_str(&upload->part),
                                       .timeout_ms = PART_TIMEOUT_MS};
    if (s3_perform(upload->s3, upload->call, &request, &answer, err)) {
        return -1;
    }
    upload->part_count++;
    (void)buf_printf(&upload->complete, "<Part><PartNumber>%s</PartNumber><ETag>", number);
    (void)!xml_append(&upload->complete, str_from(answer.http.etag));
    (void)buf_append_text(&upload->complete, "</ETag></Part>");
    buf_clear(&upload->part);
    return 0;
}

int s3_upload_write(struct s3_upload *upload, struct str piece, struct err *err)
{
    if (piece.len == 0) {
        return 0;
    }
    if (EVP_DigestUpdate(upload->digest, piece.ptr, piece.len) != 1) {
        out_of_memory();
    }
    upload->size_bytes += (int64_t)piece.len;
    while (piece.len > 0) {
        size_t room = PART_BYTES - upload->part.len;
        size_t taken = piece.len < room ? piece.len : room;
        (void)buf_append(&upload->part, piece.ptr, taken);
        piece.ptr += taken;
        piece.len -= taken;
        if (upload->part.len == PART_BYTES && send_part(upload, err)) {
            return err_wrap(err, "object \"%s\"", upload->key);
        }
    }
    return 0;
}

/* ---- the end ---- */

/* Completing takes the server long, so it may answer 200 at once and an error afterwards. */
static int on_complete_element(void *context, const char *path, struct str text, struct err *err)
{
    bool *failed = context;
    (void)text;
    (void)err;
    *failed |= text_equal(path, "Code");
    return 0;
}

static int complete(struct s3_upload *upload, struct err *err)
{
    AUTO(aws_answer) struct aws_answer answer = {0};
    AUTO(buf) struct buf body = BUF(COMPLETE_MAX_BYTES);
    const struct sigv4_pair query = {"uploadId", buf_text(&upload->id)};
    bool failed = false;

    (void)buf_printf(&body,
                     "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
                     "%s</CompleteMultipartUpload>",
                     buf_text(&upload->complete));
    if (buf_failed(&body)) {
        return err_set(err, ERR_TERMINAL, "InvalidRequest", "the list of parts is too long");
    }
    const struct s3_request request = {.method = "POST",
                                       .bucket = upload->bucket,
                                       .key = upload->key,
                                       .query = &query,
                                       .query_count = 1,
                                       .body = buf_str(&body),
                                       .timeout_ms = PART_TIMEOUT_MS};
    if (s3_perform(upload->s3, upload->call, &request, &answer, err) ||
        xml_read(buf_str(&answer.http.body), on_complete_element, &failed, err)) {
        return -1;
    }
    return failed ? aws_explain(&answer, err) : 0;
}

static void summarize(struct s3_upload *upload, struct s3_summary *ret)
{
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned int length = 0;

    if (EVP_DigestFinal_ex(upload->digest, bytes, &length) != 1) {
        out_of_memory();
    }
    ret->size_bytes = upload->size_bytes;
    for (unsigned int i = 0; i < length; i++) {
        (void)snprintf(ret->sha256 + (size_t)2 * i, 3, "%02x", bytes[i]);
    }
}

int s3_upload_finish(struct s3_upload *upload, struct s3_summary *ret, struct err *err)
{
    int result = 0;

    if (!is_multipart(upload)) {
        result = s3_put(upload->s3, upload->call, upload->bucket, upload->key,
                        buf_str(&upload->part), err);
    } else if ((upload->part.len > 0 && send_part(upload, err)) || complete(upload, err)) {
        result = err_wrap(err, "object \"%s\"", upload->key);
    }
    if (result == 0) {
        upload->finished = true;
        summarize(upload, ret);
    }
    return result;
}
