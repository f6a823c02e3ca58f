#include "reconcilers/drivers/s3.h"

#include <string.h>

#include "reconcilers/drivers/s3_internal.h"

enum { PATH_MAX_BYTES = 8 * 1024 };
enum { CONNECT_TIMEOUT_MS = 10 * 1000 };

int s3_http_client_new(const char *name, const char *ca_pem, struct http_client **ret,
                       struct err *err)
{
    const struct http_client_config config = {
        .name = name,
        .user_agent = "tenantry",
        .proxy_from_environment = true,
        .on_caller = true,
        .disable_compression = true,
        .connect_timeout_ms = CONNECT_TIMEOUT_MS,
    };
    const struct http_tls tls = {.ca_pem = str_from(ca_pem)};
    return http_client_new(&config, &tls, ret, err);
}

int s3_new(struct http_client *http, const struct s3_config *config, struct s3 **ret,
           struct err *err)
{
    struct s3 *s3 = xcalloc(1, sizeof(*s3));

    if (aws_service_init(&s3->service, http, config->endpoint, config->region, "s3",
                         config->access_key, config->secret_key, err)) {
        s3_free(s3);
        return -1;
    }
    s3->region = xstrdup(config->region);
    s3->bucket_owner = config->bucket_owner ? xstrdup(config->bucket_owner) : NULL;
    s3->path_style = config->path_style;
    *ret = s3;
    return 0;
}

void s3_free(struct s3 *s3)
{
    if (!s3) {
        return;
    }
    aws_service_release(&s3->service);
    free(s3->region);
    free(s3->bucket_owner);
    free(s3);
}

/* Slashes in keys stay as they are; everything else but unreserved characters is encoded (S3
 * encodes once, unlike other services). */
static void append_key(struct buf *out, const char *key)
{
    struct str rest = str_from(key);

    while (rest.len > 0) {
        const char *slash = memchr(rest.ptr, '/', rest.len);
        size_t length = slash ? (size_t)(slash - rest.ptr) : rest.len;
        (void)buf_append_percent(out, (struct str){rest.ptr, length});
        if (slash) {
            (void)buf_append_char(out, '/');
            length++;
        }
        rest.ptr += length;
        rest.len -= length;
    }
}

int s3_perform(struct s3 *s3, const struct call *call, const struct s3_request *request,
               struct aws_answer *ret, struct err *err)
{
    AUTO(buf) struct buf path = BUF(PATH_MAX_BYTES);
    AUTO(buf) struct buf prefix = BUF(PATH_MAX_BYTES);
    const struct sigv4_pair owner = {"x-amz-expected-bucket-owner", s3->bucket_owner};

    (void)buf_append_char(&path, '/');
    if (s3->path_style) {
        (void)buf_append_percent(&path, str_from(request->bucket));
        (void)buf_append_text(&path, request->key ? "/" : "");
    } else {
        (void)buf_printf(&prefix, "%s.", request->bucket);
    }
    if (request->key) {
        append_key(&path, request->key);
    }
    if (buf_failed(&path)) {
        return err_set(err, ERR_TERMINAL, "InvalidRequest", "an object's name is too long");
    }
    const struct aws_request aws = {
        .method = request->method,
        .host_prefix = s3->path_style ? NULL : buf_text(&prefix),
        .path = buf_text(&path),
        .query = request->query,
        .query_count = request->query_count,
        .headers = &owner,
        .header_count = s3->bucket_owner ? 1 : 0,
        .body = request->body,
        .on_data = request->on_data,
        .on_data_context = request->on_data_context,
        .timeout_ms = request->timeout_ms,
        .repeatable = true,
    };
    if (aws_perform(&s3->service, call, &aws, ret, err)) {
        return err_wrap(err, "bucket \"%s\"", request->bucket);
    }
    return 0;
}
