/* Objects, whole. */
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "controller/base/hash.h"
#include "reconcilers/drivers/s3_internal.h"

enum { STREAM_TIMEOUT_MS = -1 };

int s3_put(struct s3 *s3, const struct call *call, const char *bucket, const char *key,
           struct str body, struct err *err)
{
    AUTO(aws_answer) struct aws_answer answer = {0};
    const struct s3_request request = {.method = "PUT", .bucket = bucket, .key = key, .body = body};

    return s3_perform(s3, call, &request, &answer, err) ? err_wrap(err, "object \"%s\"", key) : 0;
}

int s3_get(struct s3 *s3, const struct call *call, const char *bucket, const char *key,
           http_data_fn on_data, void *context, struct err *err)
{
    AUTO(aws_answer) struct aws_answer answer = {0};
    const struct s3_request request = {.method = "GET",
                                       .bucket = bucket,
                                       .key = key,
                                       .on_data = on_data,
                                       .on_data_context = context,
                                       .timeout_ms = STREAM_TIMEOUT_MS};

    return s3_perform(s3, call, &request, &answer, err) ? err_wrap(err, "object \"%s\"", key) : 0;
}

int s3_head(struct s3 *s3, const struct call *call, const char *bucket, const char *key,
            struct s3_object_info *ret, struct err *err)
{
    AUTO(aws_answer) struct aws_answer answer = {0};
    const struct s3_request request = {.method = "HEAD", .bucket = bucket, .key = key};

    if (s3_perform(s3, call, &request, &answer, err)) {
        return err_wrap(err, "object \"%s\"", key);
    }
    ret->size_bytes = answer.http.content_length;
    memcpy(ret->etag, answer.http.etag, sizeof(ret->etag));
    return 0;
}

/* ---- reading back ---- */

struct reading {
    EVP_MD_CTX *digest;
    int64_t size_bytes;
};

static int take_piece(void *context, struct str data, struct err *err)
{
    struct reading *reading = context;
    (void)err;
    if (data.len > 0 && EVP_DigestUpdate(reading->digest, data.ptr, data.len) != 1) {
        out_of_memory();
    }
    reading->size_bytes += (int64_t)data.len;
    return 0;
}

static void finish_digest(EVP_MD_CTX *digest, char ret_text[SHA256_TEXT_BYTES])
{
    unsigned char bytes[EVP_MAX_MD_SIZE];
    unsigned int length = 0;

    if (EVP_DigestFinal_ex(digest, bytes, &length) != 1) {
        out_of_memory();
    }
    for (unsigned int i = 0; i < length; i++) {
        (void)snprintf(ret_text + (size_t)2 * i, 3, "%02x", bytes[i]);
    }
}

int s3_verify(struct s3 *s3, const struct call *call, const char *bucket, const char *key,
              const struct s3_summary *expected, struct err *err)
{
    struct reading reading = {.digest = EVP_MD_CTX_new()};
    char sha256[SHA256_TEXT_BYTES] = "";

    if (!reading.digest || EVP_DigestInit_ex(reading.digest, EVP_sha256(), NULL) != 1) {
        out_of_memory();
    }
    int result = s3_get(s3, call, bucket, key, take_piece, &reading, err);
    if (result == 0) {
        finish_digest(reading.digest, sha256);
    }
    EVP_MD_CTX_free(reading.digest);
    if (result) {
        return -1;
    }
    if (reading.size_bytes != expected->size_bytes || !text_equal(sha256, expected->sha256)) {
        return err_set(err, ERR_RETRY, "StorageMismatch",
                       "bucket \"%s\": object \"%s\" reads as %lld bytes with SHA-256 %s, but %lld "
                       "bytes with %s were written",
                       bucket, key, (long long)reading.size_bytes, sha256,
                       (long long)expected->size_bytes, expected->sha256);
    }
    return 0;
}
