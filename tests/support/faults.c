#include "tests/support/faults.h"

#include <stdlib.h>

#include "controller/base/buf.h"
#include "controller/base/clock.h"
#include "controller/kube/config.h"
#include "controller/net/http_client.h"
#include "tests/check.h"

enum { BODY_BYTES_MAX = 256 * 1024 * 1024, TIMEOUT_MS = 60 * 1000 };

struct faults {
    char *url;
    char *kubeconfig;
    struct kube_config config;
    struct http_client *http;
};

/* ret_body: NULL, or an empty buffer. */
static int ask(struct faults *faults, const char *method, const char *path, const char *body,
               struct buf *ret_body)
{
    AUTO(free) char *url = xasprintf("%s%s", faults->url, path);
    const struct http_request request = {
        .method = method,
        .url = url,
        .body = str_from(body ? body : ""),
        .content_type = body ? "application/json" : NULL,
        .timeout_ms = TIMEOUT_MS,
        .response_max_bytes = BODY_BYTES_MAX,
    };
    AUTO(http_response) struct http_response response = {0};
    struct err err;
    CHECK_OK(http_client_perform(faults->http, NULL, &request, &response, &err), &err);
    if (ret_body) {
        buf_append_str(ret_body, buf_str(&response.body));
    }
    return response.status;
}

static json_t *ask_json(struct faults *faults, const char *method, const char *path,
                        const char *body)
{
    AUTO(buf) struct buf answer = BUF(BODY_BYTES_MAX);
    json_t *json = NULL;
    struct err err;
    int status = ask(faults, method, path, body, &answer);
    if (status < 200 || status > 299) {
        fail_msg("the fault proxy says %d to %s %s: %s", status, method, path, buf_text(&answer));
    }
    CHECK_OK(js_parse(buf_str(&answer), BODY_BYTES_MAX, &json, &err), &err);
    return json;
}

struct faults *faults_open(void)
{
    struct faults *faults = xcalloc(1, sizeof(*faults));
    const struct http_client_config http_config = {.name = "faults", .user_agent = "test"};
    const char *url = getenv("TENANTRY_FAULTS_URL");
    const char *direct = getenv("KUBECONFIG");
    struct err err;
    CHECK_NOT_NULL(url);
    CHECK_NOT_NULL(direct);
    faults->url = xstrdup(url);
    const char *slash = strrchr(direct, '/');
    CHECK_NOT_NULL(slash);
    faults->kubeconfig = xasprintf("%.*s/faults/kubeconfig", (int)(slash - direct), direct);
    CHECK_OK(kube_config_load(faults->kubeconfig, NULL, &faults->config, &err), &err);
    CHECK_OK(http_client_new(&http_config, NULL, &faults->http, &err), &err);
    faults_remove(faults, 0);
    return faults;
}

void faults_close(struct faults *faults)
{
    faults_remove(faults, 0);
    http_client_free(faults->http);
    kube_config_release(&faults->config);
    free(faults->kubeconfig);
    free(faults->url);
    free(faults);
}

const char *faults_kubeconfig(const struct faults *faults)
{
    return faults->kubeconfig;
}

const struct kube_config *faults_config(const struct faults *faults)
{
    return &faults->config;
}

struct kube_client *faults_client(struct faults *faults, const char *name)
{
    const struct kube_client_config config = {.name = name};
    struct kube_client *client = NULL;
    struct err err;
    CHECK_OK(kube_client_new(&faults->config, &config, &client, &err), &err);
    return client;
}

int faults_rule(struct faults *faults, const char *match, const char *action)
{
    AUTO(free) char *rule = xasprintf("{\"match\":%s,\"action\":%s}", match, action);
    for (char *at = rule; *at; at++) {
        if (*at == '\'') {
            *at = '"';
        }
    }
    AUTO(json) json_t *answer = ask_json(faults, "POST", "/rules", rule);
    return (int)js_int_or(answer, "/id", 0);
}

void faults_remove(struct faults *faults, int rule)
{
    AUTO(free) char *path = rule ? xasprintf("/rules/%d", rule) : xstrdup("/rules");
    CHECK_INT(ask(faults, "DELETE", path, NULL, NULL), 204);
}

void faults_await(struct faults *faults, int rule, int fired)
{
    AUTO(free) char *path = xasprintf("/rules/%d?fired=%d&timeout=55s", rule, fired);
    if (ask(faults, "GET", path, NULL, NULL) != 200) {
        fail_msg("rule %d did not strike %d times", rule, fired);
    }
}

int faults_fired(struct faults *faults, int rule)
{
    AUTO(free) char *path = xasprintf("/rules/%d", rule);
    AUTO(json) json_t *answer = ask_json(faults, "GET", path, NULL);
    return (int)js_int_or(answer, "/fired", 0);
}

void faults_reset_connections(struct faults *faults)
{
    CHECK_INT(ask(faults, "DELETE", "/connections?kind=kube", NULL, NULL), 200);
}

void faults_show_certificate(struct faults *faults, const char *certificate, const char *key)
{
    AUTO(free)
    char *body = xasprintf("{\"kind\":\"kube\",\"cert\":\"%s\",\"key\":\"%s\"}", certificate, key);
    CHECK_INT(ask(faults, "POST", "/certificate", body, NULL), 204);
}

size_t faults_connections(struct faults *faults)
{
    AUTO(json) json_t *list = ask_json(faults, "GET", "/connections?kind=kube", NULL);
    return json_array_size(list);
}

json_t *faults_log(struct faults *faults, int64_t since)
{
    AUTO(free) char *path = xasprintf("/log?since=%lld", (long long)since);
    AUTO(buf) struct buf answer = BUF(BODY_BYTES_MAX);
    json_t *lines = json_array();
    CHECK_INT(ask(faults, "GET", path, NULL, &answer), 200);
    struct str rest = buf_str(&answer);
    while (rest.len > 0) {
        struct str text = str_cut(&rest, '\n');
        json_t *line = NULL;
        struct err err;
        CHECK_OK(js_parse(text, BODY_BYTES_MAX, &line, &err), &err);
        CHECK_INT(json_array_append_new(lines, line), 0);
    }
    return lines;
}

int64_t faults_mark(struct faults *faults)
{
    AUTO(json) json_t *lines = faults_log(faults, 0);
    size_t count = json_array_size(lines);
    return count ? js_int_or(json_array_get(lines, count - 1), "/seq", 0) : 0;
}

static bool has(const json_t *line, const char *member, const char *part)
{
    return !part || strstr(js_text_or(line, member, ""), part) != NULL;
}

size_t faults_count(struct faults *faults, int64_t since, const char *verb, const char *path,
                    const char *query)
{
    AUTO(json) json_t *lines = faults_log(faults, since);
    size_t count = 0;
    size_t index = 0;
    const json_t *line = NULL;
    json_array_foreach(lines, index, line)
    {
        bool is_end_of_watch = has(line, "/query", "watch=1") &&
                               js_text_or(line, "/phase", "")[0] == '\0' &&
                               js_int_or(line, "/status", 0) == 200;
        if (!is_end_of_watch &&
            (verb[0] == '\0' || text_equal(js_text_or(line, "/verb", ""), verb)) &&
            has(line, "/path", path) && has(line, "/query", query)) {
            count++;
        }
    }
    return count;
}
