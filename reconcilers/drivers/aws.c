#include "reconcilers/drivers/aws.h"

#include <curl/curl.h>
#include <openssl/evp.h>
#include <string.h>

#include "controller/base/buf.h"
#include "controller/base/clock.h"
#include "controller/base/hash.h"

enum {
    TRIES = 3,
    PAUSE_MS = 100,
    ANSWER_MAX_BYTES = 8 * 1024 * 1024,
    URL_MAX_BYTES = 12 * 1024,
    AUTHORIZATION_MAX_BYTES = 2048,
    CHECKSUM_MAX_BYTES = 64,
};

/* ---- the address ---- */

static void free_curl_text(char *text)
{
    curl_free(text);
}
AUTO_DEFINE(curl_text, char *, free_curl_text)
AUTO_DEFINE(curl_url, CURLU *, curl_url_cleanup)

static bool is_default_port(const char *scheme, const char *port)
{
    return text_equal(port, text_equal(scheme, "https") ? "443" : "80");
}

static int parse_url(struct aws_service *service, const char *text, struct err *err)
{
    AUTO(curl_url) CURLU *url = curl_url();
    AUTO(curl_text) char *scheme = NULL;
    AUTO(curl_text) char *host = NULL;
    AUTO(curl_text) char *port = NULL;
    AUTO(curl_text) char *path = NULL;
    AUTO(curl_text) char *extra = NULL;

    if (!url) {
        out_of_memory();
    }
    if (curl_url_set(url, CURLUPART_URL, text, 0) != CURLUE_OK ||
        curl_url_get(url, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
        curl_url_get(url, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
        curl_url_get(url, CURLUPART_PATH, &path, 0) != CURLUE_OK ||
        !(text_equal(scheme, "http") || text_equal(scheme, "https")) ||
        curl_url_get(url, CURLUPART_QUERY, &extra, 0) == CURLUE_OK ||
        curl_url_get(url, CURLUPART_USER, &extra, 0) == CURLUE_OK) {
        return err_set(err, ERR_TERMINAL, "InvalidRequest", "\"%.200s\" is no http or https URL",
                       text);
    }
    bool has_port =
        curl_url_get(url, CURLUPART_PORT, &port, 0) == CURLUE_OK && !is_default_port(scheme, port);
    size_t length = strlen(path);
    while (length > 0 && path[length - 1] == '/') {
        length--;
    }
    service->scheme = xstrdup(scheme);
    service->host = has_port ? xasprintf("%s:%s", host, port) : xstrdup(host);
    service->path = xmemdup0(path, length);
    return 0;
}

int aws_service_init(struct aws_service *ret, struct http_client *http, const char *url,
                     const char *region, const char *service, const char *access_key,
                     const struct secret *secret_key, struct err *err)
{
    *ret = (struct aws_service){.http = http};
    if (parse_url(ret, url, err)) {
        return -1;
    }
    ret->signer = sigv4_signer_new(access_key, secret_key, region, service);
    return 0;
}

void aws_service_release(struct aws_service *service)
{
    sigv4_signer_free(service->signer);
    free(service->scheme);
    free(service->host);
    free(service->path);
    *service = (struct aws_service){0};
}

void aws_answer_release(struct aws_answer *answer)
{
    http_response_release(&answer->http);
    *answer = (struct aws_answer){0};
}

/* ---- one try ---- */

/* What goes out, in the form that is signed. */
struct outgoing {
    struct buf url;
    struct buf query;
    struct buf path;
    struct buf authorization;
    struct buf host;
    char time[SIGV4_TIME_BYTES];
    struct sigv4_pair headers[SIGV4_PAIRS_MAX];
    size_t header_count;
};

static void outgoing_release(struct outgoing *outgoing)
{
    buf_release(&outgoing->url);
    buf_release(&outgoing->query);
    buf_release(&outgoing->path);
    buf_release(&outgoing->authorization);
    buf_release(&outgoing->host);
}
static inline void auto_release_outgoing(struct outgoing *outgoing)
{
    outgoing_release(outgoing);
}

static void add(struct outgoing *outgoing, const char *name, const char *value)
{
    outgoing->headers[outgoing->header_count++] = (struct sigv4_pair){name, value};
}

/* The body's digest as the signature and as the checksum want it. */
struct digest {
    char hex[SHA256_TEXT_BYTES];
    char base64[CHECKSUM_MAX_BYTES];
};

static void digest_body(struct str body, struct digest *ret)
{
    unsigned char bytes[SHA256_BYTES];

    hash_sha256(body, bytes);
    for (size_t i = 0; i < sizeof(bytes); i++) {
        (void)snprintf(ret->hex + 2 * i, 3, "%02x", bytes[i]);
    }
    (void)EVP_EncodeBlock((unsigned char *)ret->base64, bytes, sizeof(bytes));
}

static bool is_write(const struct aws_request *request)
{
    return !text_equal(request->method, "GET") && !text_equal(request->method, "HEAD");
}

static int prepare(const struct aws_service *service, const struct aws_request *request,
                   const struct digest *digest, struct outgoing *outgoing, struct err *err)
{
    const char *prefix = request->host_prefix ? request->host_prefix : "";
    int64_t now_s = clock_wall_s();

    (void)buf_printf(&outgoing->host, "%s%s", prefix, service->host);
    (void)buf_printf(&outgoing->path, "%s%s", service->path, request->path);
    sigv4_query(request->query, request->query_count, &outgoing->query);
    sigv4_time(now_s, outgoing->time);
    add(outgoing, "host", buf_text(&outgoing->host));
    add(outgoing, "x-amz-date", outgoing->time);
    add(outgoing, "x-amz-content-sha256", digest->hex);
    if (request->body.len > 0 && !request->content_type) {
        /* The server sees by it that the body arrived whole, and some requests want one. */
        add(outgoing, "x-amz-checksum-sha256", digest->base64);
    }
    for (size_t i = 0; i < request->header_count; i++) {
        add(outgoing, request->headers[i].name, request->headers[i].value);
    }
    const struct sigv4_request to_sign = {
        .method = request->method,
        .path = buf_text(&outgoing->path),
        .query = buf_text(&outgoing->query),
        .headers = outgoing->headers,
        .header_count = outgoing->header_count,
        .payload_hash = digest->hex,
        .time_s = now_s,
    };
    sigv4_sign(service->signer, &to_sign, &outgoing->authorization);
    (void)buf_printf(&outgoing->url, "%s://%s%s%s%s", service->scheme, buf_text(&outgoing->host),
                     buf_text(&outgoing->path), outgoing->query.len > 0 ? "?" : "",
                     buf_text(&outgoing->query));
    if (buf_failed(&outgoing->url) || buf_failed(&outgoing->authorization)) {
        return err_set(err, ERR_TERMINAL, "InvalidRequest", "a name in the request is too long");
    }
    return 0;
}

static int send_prepared(const struct aws_service *service, const struct call *call,
                         const struct aws_request *request, const struct outgoing *outgoing,
                         struct http_response *ret, struct err *err)
{
    struct http_header headers[SIGV4_PAIRS_MAX + 1];
    size_t count = 0;

    /* Host is curl's to send, and the same. */
    for (size_t i = 1; i < outgoing->header_count; i++) {
        headers[count++] =
            (struct http_header){outgoing->headers[i].name, outgoing->headers[i].value};
    }
    headers[count++] = (struct http_header){"Authorization", buf_text(&outgoing->authorization)};
    const struct http_request http = {
        .method = request->method,
        .url = buf_text(&outgoing->url),
        .headers = headers,
        .header_count = count,
        .body = request->body,
        .content_type = request->content_type ? request->content_type : "application/octet-stream",
        .timeout_ms = request->timeout_ms,
        .response_max_bytes =
            request->response_max_bytes ? request->response_max_bytes : ANSWER_MAX_BYTES,
        .on_data = request->on_data,
        .on_data_context = request->on_data_context,
    };
    return http_client_perform(service->http, call, &http, ret, err);
}

static int try_once(const struct aws_service *service, const struct call *call,
                    const struct aws_request *request, const struct digest *digest,
                    struct aws_answer *ret, struct err *err)
{
    AUTO(outgoing)
    struct outgoing outgoing = {.url = BUF(URL_MAX_BYTES),
                                .query = BUF(URL_MAX_BYTES),
                                .path = BUF(URL_MAX_BYTES),
                                .authorization = BUF(AUTHORIZATION_MAX_BYTES),
                                .host = BUF(URL_MAX_BYTES)};

    if (is_write(request) && call_check_write(call, err)) {
        return -1;
    }
    if (prepare(service, request, digest, &outgoing, err) ||
        send_prepared(service, call, request, &outgoing, &ret->http, err)) {
        return -1;
    }
    bool good = ret->http.status >= 200 && ret->http.status <= 299;
    return good ? 0 : aws_explain(ret, err);
}

/* ---- again ---- */

/* An answer that is streamed may have been taken in part. */
static bool may_repeat(const struct aws_request *request, const struct aws_answer *answer,
                       const struct err *err)
{
    if (request->on_data && answer->http.status >= 200 && answer->http.status <= 299) {
        return false;
    }
    if (answer->http.status > 0) {
        return aws_is_passing(answer) && request->repeatable;
    }
    bool lost = err_has_reason(err, "ConnectionLost") && request->repeatable;
    return lost || (err_has_reason(err, "ConnectionFailed") && !answer->http.reached_server &&
                    request->repeatable);
}

static int name_unreachable(const struct aws_service *service, struct err *err)
{
    static const char *const reasons_of_http[] = {"ConnectionFailed", "ConnectionLost",
                                                  "ConnectionSilent", "Timeout"};
    for (size_t i = 0; i < ARRAY_COUNT(reasons_of_http); i++) {
        if (err_has_reason(err, reasons_of_http[i])) {
            (void)err_reclass(err, ERR_RETRY, "StorageUnreachable");
        }
    }
    return err_wrap(err, "%s", service->host);
}

int aws_perform(const struct aws_service *service, const struct call *call,
                const struct aws_request *request, struct aws_answer *ret, struct err *err)
{
    struct digest digest;

    digest_body(request->body, &digest);
    for (int left = TRIES;; left--) {
        aws_answer_release(ret);
        if (try_once(service, call, request, &digest, ret, err) == 0) {
            return 0;
        }
        if (left == 1 || !may_repeat(request, ret, err)) {
            return name_unreachable(service, err);
        }
        int64_t pause_ms = PAUSE_MS + clock_jitter_ms(PAUSE_MS);
        if (call_remaining_ms(call, pause_ms + 1) <= pause_ms ||
            !cancel_sleep_ms(call->cancel, pause_ms)) {
            return name_unreachable(service, err);
        }
    }
}
