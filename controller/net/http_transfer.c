/* One request as a curl easy handle. Options are set on the caller's thread, callbacks run on the
 * transport thread if the client has one, and the two never hold the handle at the same time. */
#include "controller/net/http_internal.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "controller/base/clock.h"

enum {
    DEFAULT_CONNECT_TIMEOUT_MS = 30 * 1000,
    DEFAULT_RESPONSE_MAX_BYTES = 16 * 1024 * 1024,
    ERROR_BODY_MAX_BYTES = 64 * 1024,
    HEADERS_MAX_BYTES = 256 * 1024,
    KEEPALIVE_IDLE_S = 30,
    KEEPALIVE_INTERVAL_S = 15,
    LARGE_UPLOAD_BYTES = 64 * 1024,
    SMALL_UPLOAD_BYTES = 16 * 1024,
    /* A request that its caller gave less than this may be late without anything being wrong with
     * the connection. */
    SUSPICIOUS_AFTER_MS = 1000,
    UNACKNOWLEDGED_MAX_MS = 20 * 1000,
    URL_MAX_BYTES = 16 * 1024,
};

/* --- callbacks on the transport thread ------------------------------------------------------ */

static bool is_read(const struct transfer *transfer)
{
    const char *method = transfer->request->method;
    return text_equal(method, "GET") || text_equal(method, "HEAD");
}

/* Called when a connection stands and the request is about to be sent. Curl sends again when a
 * reused connection turns out to be dead; but the server may have acted on the first copy, so only
 * reads may be repeated. */
static int before_sending(void *context, char *remote_ip, char *local_ip, int remote_port,
                          int local_port)
{
    (void)remote_ip;
    (void)local_ip;
    (void)remote_port;
    (void)local_port;
    struct transfer *transfer = context;
    if (transfer->sent_count++ > 0 && !is_read(transfer)) {
        return CURL_PREREQFUNC_ABORT;
    }
    transfer->response->reached_server = true;
    return CURL_PREREQFUNC_OK;
}

static int response_status(const struct transfer *transfer)
{
    long status = 0;
    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
    return (int)status;
}

/* Give the request this result unless it has one. */
static void fail(struct transfer *transfer, const struct err *err)
{
    if (transfer->result == 0) {
        transfer->result = -1;
        transfer->err = *err;
    }
}

static bool is_success(const struct transfer *transfer)
{
    int status = response_status(transfer);
    return status >= 200 && status <= 299;
}

/* The piece goes to whoever asked for the body of a 2xx answer; false when he refused it. */
static bool give_data(struct transfer *transfer, struct str data)
{
    const struct http_request *request = transfer->request;
    struct err err;
    if (request->on_data(request->on_data_context, data, &err) == 0) {
        return true;
    }
    fail(transfer, &err);
    return false;
}

static size_t on_body(char *bytes, size_t size, size_t count, void *context)
{
    struct transfer *transfer = context;
    const struct http_request *request = transfer->request;
    struct buf *body = &transfer->response->body;
    size_t length = size * count;
    transfer->last_byte_ms = clock_monotonic_ms();

    if (!request->on_data) {
        if (buf_append(body, bytes, length)) {
            return length;
        }
        struct err err;
        err_set(&err, ERR_TERMINAL, "ResponseTooLarge", "the answer is larger than %zu bytes",
                body->max_bytes);
        fail(transfer, &err);
        return CURL_WRITEFUNC_ERROR;
    }
    if (is_success(transfer)) {
        return give_data(transfer, (struct str){bytes, length}) ? length : CURL_WRITEFUNC_ERROR;
    }
    size_t room = body->max_bytes - body->len;
    (void)buf_append(body, bytes, length < room ? length : room);
    return length;
}

static size_t on_header(char *bytes, size_t size, size_t count, void *context)
{
    struct transfer *transfer = context;
    transfer->last_byte_ms = clock_monotonic_ms();
    transfer->header_bytes += size * count;
    if (transfer->header_bytes > HEADERS_MAX_BYTES) {
        struct err err;
        err_set(&err, ERR_TERMINAL, "ResponseTooLarge",
                "the answer's headers are larger than %d bytes", HEADERS_MAX_BYTES);
        fail(transfer, &err);
        return 0;
    }
    bool is_end = size * count > 0 && (bytes[0] == '\r' || bytes[0] == '\n');
    if (is_end && transfer->request->on_data && is_success(transfer) &&
        !give_data(transfer, STR(""))) {
        return 0;
    }
    return size * count;
}

/* Children of this process must not inherit connections. */
static curl_socket_t open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
    (void)context;
    (void)purpose;
    return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

static int tune_socket(void *context, curl_socket_t socket, curlsocktype purpose)
{
    (void)context;
    (void)purpose;
    unsigned int limit_ms = UNACKNOWLEDGED_MAX_MS;
    (void)setsockopt(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, &limit_ms, sizeof(limit_ms));
    return CURL_SOCKOPT_OK;
}

/* --- setting up, on the caller's thread ------------------------------------------------------ */

/* curl_easy_setopt fails for want of memory, or for options that this libcurl does not have, which
 * the tests would find: both end the program. */
#define SET(transfer_, option_, value_)                                                            \
    do {                                                                                           \
        if (curl_easy_setopt((transfer_)->easy, (option_), (value_)) != CURLE_OK) {                \
            out_of_memory();                                                                       \
        }                                                                                          \
    } while (0)

static const long ON = 1;
static const long OFF = 0;

static void wipe_list(struct curl_slist *list)
{
    for (struct curl_slist *item = list; item; item = item->next) {
        explicit_bzero(item->data, strlen(item->data));
    }
    curl_slist_free_all(list);
}

/* A control character would let a value end its header and begin another one. */
static bool is_header_safe(const char *text)
{
    for (const char *at = text; *at; at++) {
        if (((unsigned char)*at < 0x20 && *at != '\t') || *at == 0x7f) {
            return false;
        }
    }
    return true;
}

static int add_header(struct transfer *transfer, const char *name, const char *value,
                      struct err *err)
{
    if (!is_header_safe(name) || strpbrk(name, ": \t") || !is_header_safe(value)) {
        return err_set(err, ERR_TERMINAL, "InvalidRequest",
                       "the value for the header \"%s\" holds control characters", name);
    }
    /* To curl, "Name:" means without that header, and "Name;" with an empty one. */
    char *line = value[0] ? xasprintf("%s: %s", name, value) : xasprintf("%s;", name);
    struct curl_slist *longer = curl_slist_append(transfer->headers, line);
    explicit_bzero(line, strlen(line));
    free(line);
    if (!longer) {
        out_of_memory();
    }
    transfer->headers = longer;
    return 0;
}

static int add_basic(struct transfer *transfer, struct err *err)
{
    const struct http_request *request = transfer->request;
    const char *password = request->basic_password ? secret_bytes(request->basic_password) : "";
    if (strchr(request->basic_user, ':')) {
        return err_set(err, ERR_TERMINAL, "InvalidRequest", "the user name holds a ':'");
    }
    char *plain = xasprintf("%s:%s", request->basic_user, password);
    size_t length = strlen(plain);
    char *value = xmalloc(sizeof("Basic ") + (length + 2) / 3 * 4);
    memcpy(value, "Basic ", sizeof("Basic "));
    EVP_EncodeBlock((unsigned char *)value + strlen("Basic "), (const unsigned char *)plain,
                    (int)length);
    int result = add_header(transfer, "Authorization", value, err);
    explicit_bzero(value, strlen(value));
    explicit_bzero(plain, length);
    free(value);
    free(plain);
    return result;
}

static bool is_https(const char *url)
{
    return strncasecmp(url, "https://", strlen("https://")) == 0;
}

static int add_authorization(struct transfer *transfer, struct err *err)
{
    const struct http_request *request = transfer->request;
    if (!is_https(request->url)) {
        return 0;
    }
    if (request->bearer && !secret_is_empty(request->bearer)) {
        char *value = xasprintf("Bearer %s", secret_bytes(request->bearer));
        int result = add_header(transfer, "Authorization", value, err);
        explicit_bzero(value, strlen(value));
        free(value);
        return result;
    }
    return text_is_empty(request->basic_user) ? 0 : add_basic(transfer, err);
}

static int set_headers(struct transfer *transfer, struct err *err)
{
    const struct http_request *request = transfer->request;
    for (size_t i = 0; i < request->header_count; i++) {
        const struct http_header *header = &request->headers[i];
        if (add_header(transfer, header->name, header->value, err) != 0) {
            return -1;
        }
    }
    if (request->content_type &&
        add_header(transfer, "Content-Type", request->content_type, err) != 0) {
        return -1;
    }
    if (add_authorization(transfer, err) != 0) {
        return -1;
    }
    /* Never wait for the server's permission to send a body. */
    struct curl_slist *longer = curl_slist_append(transfer->headers, "Expect:");
    if (!longer) {
        out_of_memory();
    }
    transfer->headers = longer;
    SET(transfer, CURLOPT_HTTPHEADER, transfer->headers);
    SET(transfer, CURLOPT_HEADEROPT, (long)CURLHEADER_SEPARATE); /* none of it to a proxy */
    return 0;
}

static void set_method(struct transfer *transfer)
{
    const struct http_request *request = transfer->request;
    bool has_body_by_nature =
        text_equal(request->method, "POST") || text_equal(request->method, "PUT");
    if (request->body.len > 0 || has_body_by_nature) {
        SET(transfer, CURLOPT_POST, ON);
        SET(transfer, CURLOPT_POSTFIELDS, request->body.len ? request->body.ptr : "");
        SET(transfer, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.len);
        /* Each transfer has such a buffer while it lasts, and few bodies need a large one. */
        SET(transfer, CURLOPT_UPLOAD_BUFFERSIZE,
            request->body.len <= SMALL_UPLOAD_BYTES ? (long)SMALL_UPLOAD_BYTES
                                                    : (long)LARGE_UPLOAD_BYTES);
    } else if (text_equal(request->method, "HEAD")) {
        SET(transfer, CURLOPT_NOBODY, ON);
        return;
    } else {
        SET(transfer, CURLOPT_HTTPGET, ON);
    }
    SET(transfer, CURLOPT_CUSTOMREQUEST, request->method);
}

static void set_blob(struct transfer *transfer, CURLoption option, const char *bytes, size_t length)
{
    if (!bytes) {
        return;
    }
    /* Not copied: the identity is held for as long as the handle may connect. */
    struct curl_blob blob = {(void *)(uintptr_t)bytes, length, CURL_BLOB_NOCOPY};
    SET(transfer, option, &blob);
}

static void set_tls(struct transfer *transfer)
{
    const struct tls_identity *tls = transfer->tls;
    SET(transfer, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(transfer, CURLOPT_SSL_VERIFYPEER, tls->insecure ? OFF : ON);
    SET(transfer, CURLOPT_SSL_VERIFYHOST, tls->insecure ? 0L : 2L);
    /* A resumed session is not verified again, which would outlive a change of the authorities. */
    SET(transfer, CURLOPT_SSL_SESSIONID_CACHE, OFF);
    if (tls->ca_pem) {
        set_blob(transfer, CURLOPT_CAINFO_BLOB, tls->ca_pem, tls->ca_length);
        /* Without this the system's folder of authorities would be trusted beside ours. */
        SET(transfer, CURLOPT_CAPATH, NULL);
    }
    if (tls->certificate_pem) {
        set_blob(transfer, CURLOPT_SSLCERT_BLOB, tls->certificate_pem, tls->certificate_length);
        SET(transfer, CURLOPT_SSLCERTTYPE, "PEM");
        set_blob(transfer, CURLOPT_SSLKEY_BLOB, secret_bytes(&tls->key), secret_length(&tls->key));
        SET(transfer, CURLOPT_SSLKEYTYPE, "PEM");
    }
}

static int invalid_url(const struct transfer *transfer, struct err *err)
{
    return err_set(err, ERR_TERMINAL, "InvalidRequest", "\"%.200s\" is no http or https URL",
                   transfer->request->url);
}

static void free_curl_text(char *text)
{
    curl_free(text);
}
AUTO_DEFINE(curl_text, char *, free_curl_text)
AUTO_DEFINE(curl_url, CURLU *, curl_url_cleanup)

/* Connect to the URL's host, but have TLS ask for and verify another name: curl takes that name
 * from the URL, so it goes there, and the connection is led back to the real host. */
static int set_server_name(struct transfer *transfer, struct err *err)
{
    AUTO(curl_url) CURLU *url = curl_url();
    AUTO(curl_text) char *host = NULL;
    AUTO(curl_text) char *port = NULL;
    AUTO(curl_text) char *changed = NULL;
    if (!url) {
        out_of_memory();
    }
    if (curl_url_set(url, CURLUPART_URL, transfer->request->url, CURLU_PATH_AS_IS) != CURLUE_OK ||
        curl_url_get(url, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
        curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) != CURLUE_OK ||
        curl_url_set(url, CURLUPART_HOST, transfer->tls->server_name, 0) != CURLUE_OK ||
        curl_url_get(url, CURLUPART_URL, &changed, 0) != CURLUE_OK) {
        return invalid_url(transfer, err);
    }
    char *authority = xasprintf("%s:%s", host, port);
    int result = add_header(transfer, "Host", authority, err);
    free(authority);
    if (result != 0) {
        return -1;
    }
    char *redirection = xasprintf("::%s:%s", host, port); /* whatever host and port: to this one */
    transfer->connect_to = curl_slist_append(NULL, redirection);
    free(redirection);
    if (!transfer->connect_to) {
        out_of_memory();
    }
    SET(transfer, CURLOPT_CONNECT_TO, transfer->connect_to);
    SET(transfer, CURLOPT_URL, changed);
    return 0;
}

static int set_url(struct transfer *transfer, struct err *err)
{
    const char *url = transfer->request->url;
    bool known = is_https(url) || strncasecmp(url, "http://", strlen("http://")) == 0;
    if (!known || strlen(url) > URL_MAX_BYTES || !is_header_safe(url)) {
        return invalid_url(transfer, err);
    }
    SET(transfer, CURLOPT_PATH_AS_IS, ON);
    if (transfer->tls->server_name && is_https(url)) {
        return set_server_name(transfer, err);
    }
    SET(transfer, CURLOPT_URL, url);
    return 0;
}

static void set_connection(struct transfer *transfer)
{
    const struct http_client *client = transfer->client;
    SET(transfer, CURLOPT_PROTOCOLS_STR, "http,https");
    SET(transfer, CURLOPT_HTTP_VERSION,
        client->disable_http2 ? (long)CURL_HTTP_VERSION_1_1 : (long)CURL_HTTP_VERSION_2TLS);
    SET(transfer, CURLOPT_PIPEWAIT, client->disable_http2 ? OFF : ON);
    SET(transfer, CURLOPT_CONNECTTIMEOUT_MS,
        client->connect_timeout_ms ? client->connect_timeout_ms : (long)DEFAULT_CONNECT_TIMEOUT_MS);
    SET(transfer, CURLOPT_TCP_KEEPALIVE, ON);
    SET(transfer, CURLOPT_TCP_KEEPIDLE, (long)KEEPALIVE_IDLE_S);
    SET(transfer, CURLOPT_TCP_KEEPINTVL, (long)KEEPALIVE_INTERVAL_S);
    SET(transfer, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    SET(transfer, CURLOPT_SOCKOPTFUNCTION, tune_socket);
    SET(transfer, CURLOPT_NOSIGNAL, ON);
    /* A canceled request must not wait for a name server that does not answer. */
    SET(transfer, CURLOPT_QUICK_EXIT, ON);
    if (client->proxy_url) {
        SET(transfer, CURLOPT_PROXY, client->proxy_url);
    } else if (!client->proxy_from_environment) {
        SET(transfer, CURLOPT_PROXY, "");
    }
    SET(transfer, CURLOPT_SUPPRESS_CONNECT_HEADERS, ON);
}

static void set_response(struct transfer *transfer)
{
    const struct http_request *request = transfer->request;
    size_t kept = request->response_max_bytes ? request->response_max_bytes
                                              : (size_t)DEFAULT_RESPONSE_MAX_BYTES;
    buf_init(&transfer->response->body, request->on_data ? (size_t)ERROR_BODY_MAX_BYTES : kept);
    SET(transfer, CURLOPT_WRITEFUNCTION, on_body);
    SET(transfer, CURLOPT_WRITEDATA, transfer);
    SET(transfer, CURLOPT_HEADERFUNCTION, on_header);
    SET(transfer, CURLOPT_HEADERDATA, transfer);
    SET(transfer, CURLOPT_PREREQFUNCTION, before_sending);
    SET(transfer, CURLOPT_PREREQDATA, transfer);
    SET(transfer, CURLOPT_ERRORBUFFER, transfer->curl_text);
    if (!transfer->client->disable_compression) {
        SET(transfer, CURLOPT_ACCEPT_ENCODING, "gzip");
    }
}

int transfer_prepare(struct transfer *transfer, struct err *err)
{
    transfer->curl_text[0] = '\0';
    transfer->header_bytes = 0;
    transfer->sent_count = 0;
    transfer->result = 0;
    transfer->doubtful = false;
    set_connection(transfer);
    set_tls(transfer);
    set_method(transfer);
    set_response(transfer);
    SET(transfer, CURLOPT_PRIVATE, transfer);
    SET(transfer, CURLOPT_USERAGENT, transfer->client->user_agent);
    if (set_url(transfer, err) != 0) {
        return -1;
    }
    return set_headers(transfer, err);
}

void transfer_reset(struct transfer *transfer)
{
    curl_easy_reset(transfer->easy);
    wipe_list(transfer->headers);
    curl_slist_free_all(transfer->connect_to);
    tls_identity_unref(transfer->tls);
    transfer->headers = NULL;
    transfer->connect_to = NULL;
    transfer->tls = NULL;
    transfer->request = NULL;
    transfer->response = NULL;
}

/* --- the end of a transfer ------------------------------------------------------------------- */

static const char *header_value(const struct transfer *transfer, const char *name)
{
    struct curl_header *header = NULL;
    if (curl_easy_header(transfer->easy, name, 0, CURLH_HEADER, -1, &header) != CURLHE_OK) {
        return NULL;
    }
    return header->value;
}

/* RFC 9110 section 10.2.3: seconds, or a date. */
int64_t transfer_retry_after_ms(const char *value)
{
    int64_t seconds = 0;
    if (!value) {
        return -1;
    }
    if (!str_to_int64(str_trim(str_from(value)), &seconds)) {
        time_t at = curl_getdate(value, NULL);
        if (at == (time_t)-1) {
            return -1;
        }
        seconds = (int64_t)at - clock_wall_s();
    }
    const int64_t limit_s = INT64_C(24) * 60 * 60; /* whatever a server says */
    if (seconds < 0) {
        seconds = 0;
    }
    return (seconds < limit_s ? seconds : limit_s) * 1000;
}

static void copy_header(const struct transfer *transfer, const char *name, char *out, size_t bytes)
{
    const char *value = header_value(transfer, name);
    snprintf(out, bytes, "%s", value ? value : "");
}

static int64_t lookup_us(const struct transfer *transfer)
{
    long connections = 0;
    curl_off_t time_us = 0;
    bool is_known =
        curl_easy_getinfo(transfer->easy, CURLINFO_NUM_CONNECTS, &connections) == CURLE_OK &&
        curl_easy_getinfo(transfer->easy, CURLINFO_NAMELOOKUP_TIME_T, &time_us) == CURLE_OK;
    return is_known && connections > 0 ? (int64_t)time_us : -1;
}

static void conclude_response(struct transfer *transfer)
{
    struct http_response *response = transfer->response;
    response->status = response_status(transfer);
    response->duration_ms = clock_monotonic_ms() - transfer->started_ms;
    response->lookup_us = lookup_us(transfer);
    response->retry_after_ms = transfer_retry_after_ms(header_value(transfer, "Retry-After"));
    copy_header(transfer, "Content-Type", response->content_type, sizeof(response->content_type));
    copy_header(transfer, "X-Kubernetes-PF-FlowSchema-UID", response->flow_schema_uid,
                sizeof(response->flow_schema_uid));
    copy_header(transfer, "ETag", response->etag, sizeof(response->etag));
    curl_off_t length = -1;
    curl_easy_getinfo(transfer->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    response->content_length = (int64_t)length;
}

static int set_curl_error(const struct transfer *transfer, CURLcode code, struct err *err)
{
    const char *text = transfer->curl_text[0] ? transfer->curl_text : curl_easy_strerror(code);
    switch (code) {
    case CURLE_OUT_OF_MEMORY:
        out_of_memory();
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
        return err_set(err, ERR_TERMINAL, "InvalidRequest", "the request cannot be made: %s", text);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
        return err_set(err, ERR_TERMINAL, "TLSVerificationFailed",
                       "the server's certificate is not trusted: %s", text);
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CIPHER:
        return err_set(err, ERR_TERMINAL, "InvalidTLS", "the TLS settings do not work: %s", text);
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PROXY:
    case CURLE_OPERATION_TIMEDOUT: /* of connecting: the other timeouts are not curl's */
        return err_set(err, ERR_RETRY, "ConnectionFailed", "cannot connect: %s", text);
    case CURLE_ABORTED_BY_CALLBACK: /* of ours, before_sending */
        return err_set(err, ERR_RETRY, "ConnectionLost",
                       "the connection broke before an answer came, so that nobody knows whether "
                       "the request took effect");
    default:
        /* Before anything was sent it is a connection that could not be made, by whatever name
         * (a handshake that breaks off is a receive error, a proxy's refusal as well). */
        if (!transfer->response->reached_server) {
            return err_set(err, ERR_RETRY, "ConnectionFailed", "cannot connect: %s", text);
        }
        return err_set(err, ERR_RETRY, "ConnectionLost", "the connection broke: %s", text);
    }
}

void transfer_conclude(struct transfer *transfer, CURLcode code)
{
    conclude_response(transfer);
    if (code != CURLE_OK) {
        struct err err;
        set_curl_error(transfer, code, &err);
        fail(transfer, &err);
    }
}

/* --- ending it before curl does -------------------------------------------------------------- */

int64_t transfer_expiry_ms(const struct transfer *transfer)
{
    int64_t idle_ms = transfer->request->idle_timeout_ms;
    int64_t silent_at_ms = idle_ms > 0 ? transfer->last_byte_ms + idle_ms : INT64_MAX;
    return silent_at_ms < transfer->expires_ms ? silent_at_ms : transfer->expires_ms;
}

bool transfer_expire(struct transfer *transfer, int64_t now_ms)
{
    struct err err;
    int64_t waited_ms = now_ms - transfer->started_ms;
    if (now_ms < transfer_expiry_ms(transfer)) {
        return false;
    }
    transfer->doubtful = true;
    if (now_ms < transfer->expires_ms) {
        err_set(&err, ERR_RETRY, "ConnectionSilent", "nothing came from the server for %lld ms",
                (long long)(now_ms - transfer->last_byte_ms));
    } else if (transfer->expires_by_caller) {
        err_set(&err, ERR_RETRY, "DeadlineExceeded",
                "the time given to this step is over, %lld ms into a request",
                (long long)waited_ms);
        transfer->doubtful = waited_ms >= SUSPICIOUS_AFTER_MS;
    } else {
        err_set(&err, ERR_RETRY, "Timeout", "no full answer from the server within %lld ms",
                (long long)waited_ms);
    }
    fail(transfer, &err);
    return true;
}

void transfer_cancel(struct transfer *transfer)
{
    struct err err;
    err_set(&err, ERR_CANCELED, "Canceled", "canceled");
    fail(transfer, &err);
}
