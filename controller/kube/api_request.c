/* One request: credentials and TLS material of now, the retry policy, metrics. */
#include "controller/kube/api_internal.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <strings.h>

#include "controller/base/clock.h"
#include "controller/base/metrics.h"
#include "controller/kube/credentials.h"

enum {
    ASKED_RETRIES_MAX = 10,
    LOST_RETRIES_MAX = 3,
    LOST_PAUSE_MS = 50, /* doubling, half of it random */
    ERROR_MAX_BYTES = 64 * 1024,
    DROPPED_MAX_BYTES = 8 * 1024 * 1024,
};

struct kube_client {
    const struct kube_config *config;
    struct kube_credentials *credentials;
    bool owns_credentials;
    struct http_client *http;
    char *host; /* host:port, for metrics */
    bool is_https;
    void (*on_forbidden)(void *context);
    void *on_forbidden_context;
    pthread_mutex_t tls_lock; /* one thread brings new TLS material to the transport */
    uint64_t tls_version;     /* guarded by it; 0: none yet */
};

static const double duration_bounds[] = {.005, .025, .1, .25, .5, 1, 2, 4, 8, 15, 30, 60};
static const double size_bounds[] = {64,    256,    512,     1024,    4096,    16384,
                                     65536, 262144, 1048576, 4194304, 16777216};

static struct metric request_total = METRIC_COUNTER(
    "rest_client_requests_total", "Requests to the API server.", "code", "method", "host");
static struct metric request_retries =
    METRIC_COUNTER("rest_client_request_retries_total",
                   "Requests to the API server that were repeated.", "code", "verb", "host");
static struct metric request_seconds =
    METRIC_HISTOGRAM("rest_client_request_duration_seconds",
                     "Time until the API server's answer was complete; streams are left out.",
                     duration_bounds, "verb", "host");
static struct metric request_bytes =
    METRIC_HISTOGRAM("rest_client_request_size_bytes", "Bodies sent to the API server.",
                     size_bounds, "verb", "host");
static struct metric response_bytes = METRIC_HISTOGRAM(
    "rest_client_response_size_bytes", "Bodies received from the API server; streams are left out.",
    size_bounds, "verb", "host");

static const double lookup_bounds[] = {.005, .025, .1, .25, .5, 1, 2, 4, 8, 15, 30};
static struct metric lookup_seconds = METRIC_HISTOGRAM(
    "rest_client_dns_resolution_duration_seconds",
    "Time to look up the API server's name, for new connections.", lookup_bounds, "host");
static struct metric transport_entries =
    METRIC_GAUGE("rest_client_transport_cache_entries", "Transports in use; each has connections "
                                                        "of its own.");
static struct metric transport_creations =
    METRIC_COUNTER("rest_client_transport_create_calls_total", "Transports made.", "result");

/* --- client ----------------------------------------------------------------------------------- */

static bool is_loopback(const char *host)
{
    struct in_addr v4;
    const uint32_t loopback_net = 127;
    return strcasecmp(host, "localhost") == 0 || strcmp(host, "::1") == 0 ||
           (inet_pton(AF_INET, host, &v4) == 1 && ntohl(v4.s_addr) >> 24U == loopback_net);
}

/* "host:port" as it stands in the URL, and the host alone. */
static void split_server(const char *server, char **ret_authority, char **ret_host)
{
    const char *start = strstr(server, "://");
    start = start ? start + strlen("://") : server;
    size_t length = strcspn(start, "/");
    *ret_authority = xmemdup0(start, length);
    if (start[0] == '[') {
        *ret_host = xmemdup0(start + 1, strcspn(start + 1, "]"));
    } else {
        *ret_host = xmemdup0(start, strcspn(start, ":/"));
    }
}

static int start_transport(struct kube_client *client,
                           const struct kube_client_config *client_config, bool near,
                           struct err *err)
{
    const struct kube_config *config = client->config;
    const struct http_client_config http_config = {
        .name = client_config->name,
        .user_agent = client_config->user_agent ? client_config->user_agent
                                                : "tenantry-controller/" TENANTRY_VERSION,
        .proxy_url = config->proxy_url,
        /* As in Go: a proxy that the environment names is for other machines. */
        .proxy_from_environment = !near,
        .disable_http2 = client_config->disable_http2,
        .disable_compression = config->disable_compression || near, /* it would only cost time */
    };
    /* Identity comes with the first request, since a plugin may have to make it first. */
    return http_client_new(&http_config, NULL, &client->http, err);
}

int kube_client_new(const struct kube_config *config,
                    const struct kube_client_config *client_config, struct kube_client **ret,
                    struct err *err)
{
    struct kube_client *client = xcalloc(1, sizeof(*client));
    AUTO(free) char *host = NULL;
    client->config = config;
    client->credentials = client_config->credentials;
    client->on_forbidden = client_config->on_forbidden;
    client->on_forbidden_context = client_config->on_forbidden_context;
    client->is_https = strncasecmp(config->server, "https://", strlen("https://")) == 0;
    pthread_mutex_init(&client->tls_lock, NULL);
    split_server(config->server, &client->host, &host);
    if (!client->credentials) {
        if (kube_credentials_new(config, &client->credentials, err) != 0) {
            kube_client_free(client);
            return -1;
        }
        client->owns_credentials = true;
    }
    if (start_transport(client, client_config, is_loopback(host), err) != 0) {
        kube_client_free(client);
        return -1;
    }
    metric_add(&transport_entries, 1);
    metric_add(&transport_creations, 1, "miss");
    *ret = client;
    return 0;
}

void kube_client_free(struct kube_client *client)
{
    if (!client) {
        return;
    }
    if (client->http) {
        metric_add(&transport_entries, -1);
    }
    http_client_free(client->http);
    if (client->owns_credentials) {
        kube_credentials_free(client->credentials);
    }
    pthread_mutex_destroy(&client->tls_lock);
    free(client->host);
    free(client);
}

/* Bring the transport up to date with the credentials' TLS material. */
static int sync_tls(struct kube_client *client, const struct call *call, struct err *err)
{
    if (!client->is_https) {
        return 0;
    }
    int result = 0;
    pthread_mutex_lock(&client->tls_lock);
    if (kube_credentials_tls_changed(client->credentials, client->tls_version)) {
        struct kube_tls tls = {0};
        uint64_t version = 0;
        result = kube_credentials_tls(client->credentials, call, &version, &tls, err);
        if (result == 0) {
            result = http_client_set_tls(client->http, &tls.tls, err);
            kube_tls_release(&tls);
        }
        if (result == 0) {
            client->tls_version = version;
        }
    }
    pthread_mutex_unlock(&client->tls_lock);
    return result;
}

/* --- one attempt ------------------------------------------------------------------------------ */

/* A request with what its attempts share. */
struct exchange {
    struct kube_client *client;
    const struct call *call;
    const struct api_request *request;
    char *url;
    struct http_header *headers;
    size_t header_count;
    struct secret token; /* of the last attempt */
    struct http_response response;
    int asked_retries;
    int lost_retries;
    bool refreshed;
};

static void exchange_init(struct exchange *exchange)
{
    const struct kube_config *config = exchange->client->config;
    const struct api_request *request = exchange->request;
    exchange->url = xasprintf("%s%s", config->server, request->path);
    exchange->headers = xcalloc(config->impersonate_count + 1, sizeof(*exchange->headers));
    exchange->headers[0] =
        (struct http_header){"Accept", request->accept ? request->accept : "application/json"};
    for (size_t i = 0; i < config->impersonate_count; i++) {
        const struct kube_header_value *header = &config->impersonate[i];
        exchange->headers[i + 1] = (struct http_header){header->name, header->value};
    }
    exchange->header_count = config->impersonate_count + 1;
}

static void auto_release_exchange(struct exchange *exchange)
{
    free(exchange->url);
    free(exchange->headers);
    secret_release(&exchange->token);
    http_response_release(&exchange->response);
}

static void count_attempt(const struct exchange *exchange, bool answered)
{
    const struct http_response *response = &exchange->response;
    const char *method = exchange->request->method;
    const char *host = exchange->client->host;
    char code[16];
    snprintf(code, sizeof(code), "%d", response->status);
    if (response->lookup_us >= 0) {
        metric_observe(&lookup_seconds, (double)response->lookup_us / 1e6, host);
    }
    metric_add(&request_total, 1, answered ? code : "<error>", method, host);
    if (exchange->request->body.len > 0) {
        metric_observe(&request_bytes, exchange->request->body.len, method, host);
    }
    if (!exchange->request->on_data) {
        metric_observe(&request_seconds, (double)response->duration_ms / 1000, method, host);
        if (answered) {
            metric_observe(&response_bytes, response->body.len, method, host);
        }
    }
}

static size_t response_limit(const struct api_request *request)
{
    size_t limit = request->ret_body ? request->ret_body->max_bytes : (size_t)DROPPED_MAX_BYTES;
    /* Room for an error, however small the answer that is hoped for. */
    return limit > ERROR_MAX_BYTES ? limit : (size_t)ERROR_MAX_BYTES;
}

/* Whether the credentials were refused, and only the text that says so was lost. The API server
 * does not read the body of such a request, resets its stream and closes the connection (GOAWAY) in
 * one go, which curl may take for a broken connection: but a status that has come stands
 * (RFC 9113 section 8.1), and this one says that nothing took effect. */
static bool is_refusal_cut_short(const struct http_response *response, const struct err *err)
{
    return response->status == 401 && err_has_reason(err, "ConnectionLost");
}

static int attempt(struct exchange *exchange, struct err *err)
{
    struct kube_client *client = exchange->client;
    const struct api_request *request = exchange->request;
    const struct call *call = exchange->call;
    if ((request->is_write ? call_check_write(call, err) : call_check(call, err)) != 0) {
        return -1;
    }
    if (client->is_https &&
        kube_credentials_token(client->credentials, call, &exchange->token, err) != 0) {
        return -1;
    }
    if (sync_tls(client, call, err) != 0) {
        return -1;
    }
    const struct http_request http = {
        .method = request->method,
        .url = exchange->url,
        .headers = exchange->headers,
        .header_count = exchange->header_count,
        .bearer = &exchange->token,
        .basic_user = client->config->username,
        .basic_password = &client->config->password,
        .body = request->body,
        .content_type = request->content_type,
        .timeout_ms = request->timeout_ms,
        .idle_timeout_ms = request->idle_timeout_ms,
        .response_max_bytes = response_limit(request),
        .on_data = request->on_data,
        .on_data_context = request->on_data_context,
    };
    int result = http_client_perform(client->http, call, &http, &exchange->response, err);
    count_attempt(exchange, exchange->response.status != 0);
    return result != 0 && is_refusal_cut_short(&exchange->response, err) ? 0 : result;
}

/* --- what follows an attempt ------------------------------------------------------------------ */

/* Wait before another attempt; false when the call leaves no time for that or is canceled. */
static bool pause_for(const struct exchange *exchange, int64_t pause_ms)
{
    const struct call *call = exchange->call;
    if (call_remaining_ms(call, INT64_MAX) <= pause_ms) {
        return false;
    }
    return cancel_sleep_ms(call ? call->cancel : NULL, pause_ms);
}

static void count_retry(const struct exchange *exchange)
{
    char code[16];
    snprintf(code, sizeof(code), "%d", exchange->response.status);
    metric_add(&request_retries, 1, exchange->response.status ? code : "<error>",
               exchange->request->method, exchange->client->host);
}

/* After an attempt that got no full answer: whether it is worth another one. */
static bool retry_lost(struct exchange *exchange, struct err *err)
{
    if (err_has_reason(err, "TLSVerificationFailed")) {
        err_reclass(err, ERR_RETRY, "TLSVerificationFailed");
    }
    if (!exchange->request->is_repeatable || !err_has_reason(err, "ConnectionLost") ||
        exchange->lost_retries >= LOST_RETRIES_MAX) {
        return false;
    }
    int64_t pause_ms = (int64_t)LOST_PAUSE_MS << exchange->lost_retries;
    exchange->lost_retries++;
    return pause_for(exchange, pause_ms / 2 + clock_jitter_ms(pause_ms / 2));
}

/* After a 401: whether there are other credentials to try. */
static bool retry_refused(struct exchange *exchange)
{
    const struct kube_config *config = exchange->client->config;
    if (exchange->refreshed || (!config->token_file && !config->exec)) {
        return false;
    }
    exchange->refreshed = true;
    kube_credentials_refused(exchange->client->credentials, &exchange->token);
    return true;
}

/* After a 429 or 5xx: whether the server said when to come again. */
static bool retry_asked(struct exchange *exchange)
{
    const struct http_response *response = &exchange->response;
    bool overloaded = response->status == 429 || response->status >= 500;
    if (!overloaded || response->retry_after_ms < 0 || exchange->request->on_data ||
        exchange->asked_retries >= ASKED_RETRIES_MAX) {
        return false;
    }
    exchange->asked_retries++;
    log_debug(exchange->call ? exchange->call->log : NULL, "the API server asks to come later",
              KV("method", exchange->request->method), KV_INT("status", response->status),
              KV_INT("retry_after_ms", response->retry_after_ms),
              KV("flow_schema", response->flow_schema_uid));
    return pause_for(exchange, response->retry_after_ms);
}

/* Whether the answer is to be tried once more; else *ret_result and *err stand. */
static bool judge_answer(struct exchange *exchange, int *ret_result, struct err *err)
{
    const struct http_response *response = &exchange->response;
    *ret_result = 0;
    if (response->status >= 200 && response->status <= 299) {
        return false;
    }
    bool again = response->status == 401 ? retry_refused(exchange) : retry_asked(exchange);
    if (again) {
        return true;
    }
    if (response->status == 403 && exchange->client->on_forbidden) {
        exchange->client->on_forbidden(exchange->client->on_forbidden_context);
    }
    *ret_result = api_status_error(buf_str(&response->body), response->status,
                                   exchange->request->is_json_patch, err);
    if (response->retry_after_ms > 0) {
        err->retry_after_ms = response->retry_after_ms;
    }
    return false;
}

static int hand_over(struct exchange *exchange, struct err *err)
{
    struct buf *target = exchange->request->ret_body;
    struct buf *body = &exchange->response.body;
    if (!target) {
        return 0;
    }
    if (body->len > target->max_bytes) {
        return err_set(err, ERR_TERMINAL, "ResponseTooLarge", "the answer is larger than %zu bytes",
                       target->max_bytes);
    }
    body->max_bytes = target->max_bytes;
    buf_release(target);
    *target = *body;
    *body = (struct buf){0};
    return 0;
}

int api_perform(struct kube_client *client, const struct call *call,
                const struct api_request *request, struct err *err)
{
    AUTO(exchange) struct exchange exchange = {.client = client, .call = call, .request = request};
    exchange_init(&exchange);
    for (;;) {
        bool again = false;
        int result = attempt(&exchange, err);
        if (result != 0) {
            again = retry_lost(&exchange, err);
        } else {
            again = judge_answer(&exchange, &result, err);
        }
        if (!again) {
            return result == 0 ? hand_over(&exchange, err) : -1;
        }
        count_retry(&exchange);
    }
}
