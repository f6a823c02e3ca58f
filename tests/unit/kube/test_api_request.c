/* When a request is repeated and when it is not, against a server that answers by plan. */
#include <jansson.h>
#include <stdlib.h>

#include "controller/base/clock.h"
#include "controller/base/js.h"
#include "controller/kube/api.h"
#include "controller/kube/credentials_internal.h"
#include "tests/check.h"
#include "tests/support/child.h"
#include "tests/support/folder.h"
#include "tests/support/pki.h"

enum { BODY_MAX_BYTES = 1 << 20 };

struct fixture {
    char *folder;
    struct child server;
    struct pki_entity *authority;
    struct pki_entity *server_identity;
    struct kube_config config;
    char *url;
    struct kube_client *client;
    struct http_client *direct; /* to the server's own pages */
};

static const struct kube_ref COLLECTION = {.resource = &KUBE_CONFIG_MAPS, .namespace_ = "apps"};
static const struct kube_ref OBJECT = {
    .resource = &KUBE_CONFIG_MAPS, .namespace_ = "apps", .name = "one"};

static int set_up(void **state)
{
    struct fixture *fixture = xcalloc(1, sizeof(*fixture));
    struct err err;
    fixture->folder = folder_make();
    fixture->authority = pki_authority("test authority");
    fixture->server_identity = pki_issue(fixture->authority, "server", "IP:127.0.0.1", false);
    AUTO(free)
    char *certificate =
        pki_write(fixture->folder, "server.crt", pki_certificate(fixture->server_identity));
    AUTO(free)
    char *key = pki_write(fixture->folder, "server.key",
                          str_from(secret_bytes(pki_key(fixture->server_identity))));
    AUTO(free)
    char *authority =
        pki_write(fixture->folder, "authority.crt", pki_certificate(fixture->authority));
    child_start(&fixture->server, (const char *[]){"python3", TEST_HTTP_SERVER, "tls", certificate,
                                                   key, authority, NULL});
    AUTO(free) char *port = child_line(&fixture->server);
    fixture->url = xasprintf("https://127.0.0.1:%s", port);
    fixture->config.server = fixture->url;
    fixture->config.ca_pem = pki_certificate(fixture->authority);
    CHECK_OK(kube_client_new(&fixture->config, &(struct kube_client_config){.name = "test"},
                             &fixture->client, &err),
             &err);
    const struct http_tls tls = {.ca_pem = fixture->config.ca_pem};
    CHECK_OK(http_client_new(&(struct http_client_config){.name = "direct", .user_agent = "test"},
                             &tls, &fixture->direct, &err),
             &err);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    kube_client_free(fixture->client);
    http_client_free(fixture->direct);
    child_stop(&fixture->server);
    secret_release(&fixture->config.token);
    pki_free(fixture->authority);
    pki_free(fixture->server_identity);
    folder_remove(fixture->folder);
    free(fixture->url);
    free(fixture);
    return 0;
}

static void direct(const struct fixture *fixture, const char *method, const char *path,
                   struct str body, struct http_response *response)
{
    struct err err;
    AUTO(free) char *url = xasprintf("%s%s", fixture->url, path);
    const struct http_request request = {.method = method, .url = url, .body = body};
    CHECK_OK(http_client_perform(fixture->direct, NULL, &request, response, &err), &err);
    CHECK_INT(response->status, 200);
}

/* What the next requests to the API get; forgets the earlier ones. */
static void plan(const struct fixture *fixture, const char *steps)
{
    AUTO(http_response) struct http_response response = {0};
    direct(fixture, "POST", "/plan", str_from(steps), &response);
}

static json_t *requests(const struct fixture *fixture)
{
    AUTO(http_response) struct http_response response = {0};
    json_t *log = NULL;
    struct err err;
    direct(fixture, "GET", "/log", (struct str){0}, &response);
    CHECK_OK(js_parse(buf_str(&response.body), BODY_MAX_BYTES, &log, &err), &err);
    return log;
}

static size_t count_requests(const struct fixture *fixture)
{
    AUTO(json) json_t *log = requests(fixture);
    return json_array_size(log);
}

static int get(const struct fixture *fixture, const struct call *call, struct err *err)
{
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    return kube_get(fixture->client, call, &OBJECT, &body, err);
}

/* --- the server asks for patience ---------------------------------------------------------------
 */

static void c05_overload_is_waited_out_as_long_as_the_server_says(void **state)
{
    struct fixture *fixture = *state;
    struct err err;
    plan(fixture, "[{\"status\":429,\"retry\":1},{\"status\":503,\"retry\":0},{\"status\":200}]");
    int64_t begun_ms = clock_monotonic_ms();
    CHECK_OK(get(fixture, NULL, &err), &err);
    CHECK(clock_monotonic_ms() - begun_ms >= 1000);
    CHECK_INT(count_requests(fixture), 3);
}

static void writes_are_repeated_too_when_the_server_asks_for_it(void **state)
{
    struct fixture *fixture = *state;
    struct err err;
    plan(fixture, "[{\"status\":429,\"retry\":0},{\"status\":201}]");
    CHECK_OK(kube_create(fixture->client, NULL, &COLLECTION, STR("{\"a\":1}"), NULL, &err), &err);
    AUTO(json) json_t *log = requests(fixture);
    CHECK_INT(json_array_size(log), 2);
    CHECK_TEXT(js_text_or(log, "/1/body", ""), "{\"a\":1}");
}

static void c05_patience_ends_after_ten_times(void **state)
{
    struct fixture *fixture = *state;
    struct err err;
    AUTO(buf) struct buf steps = BUF(BODY_MAX_BYTES);
    buf_append_text(&steps, "[");
    for (int i = 0; i < 20; i++) {
        buf_printf(&steps, "%s{\"status\":429,\"retry\":0}", i ? "," : "");
    }
    buf_append_text(&steps, "]");
    plan(fixture, buf_text(&steps));
    CHECK_FAILS(get(fixture, NULL, &err), &err, ERR_RETRY, "TooManyRequests");
    CHECK_INT(count_requests(fixture), 11);
}

static void c05_failure_without_a_time_is_the_callers(void **state)
{
    struct fixture *fixture = *state;
    struct err err;
    plan(fixture, "[{\"status\":500},{\"status\":200}]");
    CHECK_FAILS(get(fixture, NULL, &err), &err, ERR_RETRY, "ServerError");
    CHECK_INT(count_requests(fixture), 1);
    plan(fixture, "[{\"status\":429},{\"status\":200}]");
    CHECK_FAILS(get(fixture, NULL, &err), &err, ERR_RETRY, "TooManyRequests");
    CHECK_INT(count_requests(fixture), 1);
}

static void wait_beyond_the_deadline_is_not_begun(void **state)
{
    struct fixture *fixture = *state;
    struct err err;
    plan(fixture, "[{\"status\":429,\"retry\":30},{\"status\":200}]");
    const struct call call = {.deadline_ms = clock_monotonic_ms() + 10000};
    int64_t begun_ms = clock_monotonic_ms();
    CHECK_FAILS(get(fixture, &call, &err), &err, ERR_RETRY, "TooManyRequests");
    CHECK(clock_monotonic_ms() - begun_ms < 5000);
    CHECK_INT(err.retry_after_ms, 30000);
    CHECK_INT(count_requests(fixture), 1);
}

static void canceled_wait_ends_at_once(void **state)
{
    struct fixture *fixture = *state;
    struct err err;
    plan(fixture, "[]");
    struct cancel *cancel = cancel_new(NULL);
    const struct call call = {.cancel = cancel};
    cancel_trigger(cancel);
    CHECK_FAILS(get(fixture, &call, &err), &err, ERR_CANCELED, "Canceled");
    CHECK_INT(count_requests(fixture), 0);
    cancel_free(cancel);
}

/* --- lost connections ----------------------------------------------------------------------------
 */

static void what_does_no_harm_twice_is_repeated(void **state)
{
    struct fixture *fixture = *state;
    struct err err;
    static const char once[] = "[{\"die\":true},{\"status\":200}]";
    plan(fixture, once);
    CHECK_OK(get(fixture, NULL, &err), &err);
    plan(fixture, once);
    CHECK_OK(kube_apply(fixture->client, NULL, &OBJECT, "t", STR("{}"), NULL, &err), &err);
    CHECK_INT(count_requests(fixture), 2);
    plan(fixture, once);
    CHECK_OK(
        kube_patch(fixture->client, NULL, &OBJECT, KUBE_PATCH_MERGE, "t", STR("{}"), NULL, &err),
        &err);
    CHECK_INT(count_requests(fixture), 2);
    plan(fixture, once);
    CHECK_OK(kube_delete(fixture->client, NULL, &OBJECT, "a-uid", NULL, &err), &err);
    CHECK_INT(count_requests(fixture), 2);
}

static void repetition_has_an_end(void **state)
{
    struct fixture *fixture = *state;
    struct err err;
    plan(fixture, "[{\"die\":true},{\"die\":true},{\"die\":true},{\"die\":true},{\"die\":true}]");
    CHECK_FAILS(kube_apply(fixture->client, NULL, &OBJECT, "t", STR("{}"), NULL, &err), &err,
                ERR_RETRY, "ConnectionLost");
    CHECK_INT(count_requests(fixture), 4);
}

static void c05_what_may_have_happened_is_not_repeated(void **state)
{
    struct fixture *fixture = *state;
    struct err err;
    static const char once[] = "[{\"die\":true},{\"status\":200}]";
    plan(fixture, once);
    CHECK_FAILS(kube_create(fixture->client, NULL, &COLLECTION, STR("{}"), NULL, &err), &err,
                ERR_RETRY, "ConnectionLost");
    CHECK_INT(count_requests(fixture), 1);
    plan(fixture, once);
    CHECK_FAILS(kube_replace(fixture->client, NULL, &OBJECT, STR("{}"), NULL, &err), &err,
                ERR_RETRY, "ConnectionLost");
    CHECK_INT(count_requests(fixture), 1);
    plan(fixture, once);
    CHECK_FAILS(
        kube_patch(fixture->client, NULL, &OBJECT, KUBE_PATCH_JSON, "t", STR("[]"), NULL, &err),
        &err, ERR_RETRY, "ConnectionLost");
    CHECK_INT(count_requests(fixture), 1);
    plan(fixture, once);
    CHECK_FAILS(kube_delete(fixture->client, NULL, &OBJECT, NULL, NULL, &err), &err, ERR_RETRY,
                "ConnectionLost");
    CHECK_INT(count_requests(fixture), 1);
}

static void c46_fence_that_closes_meanwhile_ends_the_repetition(void **state)
{
    struct fixture *fixture = *state;
    struct err err;
    struct fence fence = {0};
    const struct call call = {.fence = &fence};
    plan(fixture, "[{\"status\":429,\"retry\":1},{\"status\":200}]");
    fence_open_until(&fence, clock_boot_ms() + 500);
    CHECK_FAILS(kube_apply(fixture->client, &call, &OBJECT, "t", STR("{}"), NULL, &err), &err,
                ERR_CANCELED, "LeadershipLost");
    CHECK_INT(count_requests(fixture), 1);
}

/* --- what is sent --------------------------------------------------------------------------------
 */

static void check_request(const json_t *log, size_t index, const char *method, const char *path,
                          const char *type)
{
    const json_t *entry = json_array_get(log, index);
    CHECK_TEXT(js_text_or(entry, "/method", ""), method);
    CHECK_TEXT(js_text_or(entry, "/path", ""), path);
    CHECK_TEXT(js_text_or(entry, "/headers/content-type", ""), type);
}

static void verbs_become_the_right_requests(void **state)
{
    struct fixture *fixture = *state;
    struct err err;
    const struct kube_ref status = {
        .resource = &KUBE_LEASES, .namespace_ = "apps", .name = "a b", .subresource = "status"};
    const struct kube_ref cluster_scoped = {.resource = &KUBE_NAMESPACES, .name = "one"};
    plan(fixture, "[]");
    CHECK_OK(get(fixture, NULL, &err), &err);
    CHECK_OK(kube_create(fixture->client, NULL, &COLLECTION, STR("{}"), NULL, &err), &err);
    CHECK_OK(kube_apply(fixture->client, NULL, &status, "a&b=c", STR("{}"), NULL, &err), &err);
    CHECK_OK(kube_patch(fixture->client, NULL, &cluster_scoped, KUBE_PATCH_JSON, "t", STR("[]"),
                        NULL, &err),
             &err);
    CHECK_OK(kube_replace(fixture->client, NULL, &OBJECT, STR("{}"), NULL, &err), &err);
    CHECK_OK(kube_delete(fixture->client, NULL, &OBJECT, "u", "7", &err), &err);
    AUTO(json) json_t *log = requests(fixture);
    check_request(log, 0, "GET", "/api/v1/namespaces/apps/configmaps/one", "");
    check_request(log, 1, "POST", "/api/v1/namespaces/apps/configmaps", "application/json");
    check_request(log, 2, "PATCH",
                  "/apis/coordination.k8s.io/v1/namespaces/apps/leases/a%20b/status"
                  "?fieldManager=a%26b%3Dc&force=true",
                  "application/apply-patch+yaml");
    check_request(log, 3, "PATCH", "/api/v1/namespaces/one?fieldManager=t",
                  "application/json-patch+json");
    check_request(log, 4, "PUT", "/api/v1/namespaces/apps/configmaps/one", "application/json");
    check_request(log, 5, "DELETE", "/api/v1/namespaces/apps/configmaps/one", "application/json");
    CHECK_TEXT(js_text_or(log, "/5/body", ""),
               "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\",\"propagationPolicy\":"
               "\"Background\",\"preconditions\":{\"uid\":\"u\",\"resourceVersion\":\"7\"}}");
    CHECK_TEXT(js_text_or(log, "/0/headers/accept", ""), "application/json");
    CHECK_NOT_NULL(strstr(js_text_or(log, "/0/headers/user-agent", ""), "tenantry-controller/"));
}

/* --- credentials
 * ---------------------------------------------------------------------------------- */

/* Another client, of the fixture's config as it is now. */
static struct kube_client *reopen(struct fixture *fixture)
{
    struct err err;
    kube_client_free(fixture->client);
    fixture->client = NULL;
    CHECK_OK(kube_client_new(&fixture->config, &(struct kube_client_config){.name = "test"},
                             &fixture->client, &err),
             &err);
    return fixture->client;
}

static void c11_refused_token_is_renewed_once_within_the_call(void **state)
{
    struct fixture *fixture = *state;
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    struct err err;
    AUTO(free) char *token = pki_write(fixture->folder, "token", STR("old"));
    fixture->config.token_file = token;
    struct kube_client *client = reopen(fixture);
    plan(fixture, "[]");
    CHECK_OK(kube_get_path(client, NULL, "/auth/old", &body, &err), &err);
    free(pki_write(fixture->folder, "token", STR("new")));
    CHECK_OK(kube_get_path(client, NULL, "/auth/new", &body, &err), &err);
    CHECK_INT(count_requests(fixture), 3);
    CHECK_FAILS(kube_get_path(client, NULL, "/auth/third", &body, &err), &err, ERR_RETRY,
                "Unauthorized");
    CHECK_INT(count_requests(fixture), 5);
    fixture->config.token_file = NULL;
}

static void fixed_token_is_not_tried_twice(void **state)
{
    struct fixture *fixture = *state;
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    struct err err;
    secret_set(&fixture->config.token, STR("fixed"));
    struct kube_client *client = reopen(fixture);
    plan(fixture, "[]");
    CHECK_FAILS(kube_get_path(client, NULL, "/auth/other", &body, &err), &err, ERR_RETRY,
                "Unauthorized");
    CHECK_INT(count_requests(fixture), 1);
}

/* As the API server's, when it closes the connection behind it. */
static void c11_refusal_whose_text_is_lost_is_a_refusal(void **state)
{
    struct fixture *fixture = *state;
    struct err err;
    static const char cut[] = "[{\"status\":401,\"missing\":100},{\"status\":201}]";
    AUTO(free) char *token = pki_write(fixture->folder, "token", STR("old"));
    fixture->config.token_file = token;
    struct kube_client *client = reopen(fixture);
    plan(fixture, cut);
    CHECK_OK(kube_create(client, NULL, &COLLECTION, STR("{}"), NULL, &err), &err);
    CHECK_INT(count_requests(fixture), 2);
    fixture->config.token_file = NULL;
    secret_set(&fixture->config.token, STR("fixed"));
    client = reopen(fixture);
    plan(fixture, cut);
    CHECK_FAILS(kube_create(client, NULL, &COLLECTION, STR("{}"), NULL, &err), &err, ERR_RETRY,
                "Unauthorized");
    CHECK_INT(count_requests(fixture), 1);
}

static void c14_plugin_is_asked_again_after_a_refusal(void **state)
{
    struct fixture *fixture = *state;
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    struct err err;
    /* Each run gives the next number: token 1, token 2, ... */
    AUTO(free)
    char *script = xasprintf(
        "#!/bin/sh\necho run >> %s/runs\n"
        "printf '{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\","
        "\"status\":{\"token\":\"%%s\"}}' $(grep -c run %s/runs)\n",
        fixture->folder, fixture->folder);
    AUTO(free) char *plugin = folder_write(fixture->folder, "plugin", str_from(script), 0700);
    const struct kube_exec exec = {
        .api_version = "client.authentication.k8s.io/v1", .command = plugin, .install_hint = ""};
    fixture->config.exec = &exec;
    struct kube_client *client = reopen(fixture);
    CHECK_OK(kube_get_path(client, NULL, "/auth/1", &body, &err), &err);
    CHECK_OK(kube_get_path(client, NULL, "/auth/2", &body, &err), &err);
    CHECK_OK(kube_get_path(client, NULL, "/auth/2", &body, &err), &err);
    CHECK_FAILS(kube_get_path(client, NULL, "/auth/none", &body, &err), &err, ERR_RETRY,
                "Unauthorized");
    CHECK_OK(kube_get_path(client, NULL, "/auth/3", &body, &err), &err);
    kube_client_free(fixture->client);
    fixture->client = NULL;
    fixture->config.exec = NULL;
}

static void write_identity(const struct fixture *fixture, const char *name)
{
    struct pki_entity *entity = pki_issue(fixture->authority, name, NULL, false);
    free(pki_write(fixture->folder, "tls.crt", pki_certificate(entity)));
    free(pki_write(fixture->folder, "tls.key", str_from(secret_bytes(pki_key(entity)))));
    pki_free(entity);
}

static void c13_renewed_certificate_is_used_from_the_next_request_on(void **state)
{
    struct fixture *fixture = *state;
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    struct kube_credentials *credentials = NULL;
    struct kube_client *client = NULL;
    struct err err;
    AUTO(free) char *certificate = xasprintf("%s/tls.crt", fixture->folder);
    AUTO(free) char *key = xasprintf("%s/tls.key", fixture->folder);
    fixture->config.certificate_file = certificate;
    fixture->config.key_file = key;
    write_identity(fixture, "ann");
    CHECK_OK(kube_credentials_new(&fixture->config, &credentials, &err), &err);
    const struct kube_client_config config = {.name = "rotate", .credentials = credentials};
    CHECK_OK(kube_client_new(&fixture->config, &config, &client, &err), &err);
    plan(fixture, "[]");
    CHECK_OK(kube_get_path(client, NULL, "/hello", &body, &err), &err);
    write_identity(fixture, "ben");
    CHECK_OK(kube_get_path(client, NULL, "/hello", &body, &err), &err);
    kube_credentials_expire_files(credentials);
    CHECK_OK(kube_get_path(client, NULL, "/hello", &body, &err), &err);
    AUTO(json) json_t *log = requests(fixture);
    CHECK_TEXT(js_text_or(log, "/0/peer", ""), "ann");
    CHECK_TEXT(js_text_or(log, "/1/peer", ""), "ann");
    CHECK_TEXT(js_text_or(log, "/2/peer", ""), "ben");
    kube_client_free(client);
    kube_credentials_free(credentials);
}

static void credentials_can_be_shared_between_clients(void **state)
{
    struct fixture *fixture = *state;
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    struct kube_credentials *credentials = NULL;
    struct kube_client *clients[2] = {0};
    struct err err;
    secret_set(&fixture->config.token, STR("shared"));
    CHECK_OK(kube_credentials_new(&fixture->config, &credentials, &err), &err);
    for (size_t i = 0; i < ARRAY_COUNT(clients); i++) {
        const struct kube_client_config config = {.name = "one", .credentials = credentials};
        CHECK_OK(kube_client_new(&fixture->config, &config, &clients[i], &err), &err);
        CHECK_OK(kube_get_path(clients[i], NULL, "/auth/shared", &body, &err), &err);
    }
    kube_client_free(clients[0]);
    CHECK_OK(kube_get_path(clients[1], NULL, "/auth/shared", &body, &err), &err);
    kube_client_free(clients[1]);
    kube_credentials_free(credentials);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    js_init();
    http_global_init();
    const struct CMUnitTest tests[] = {
        TEST(c05_overload_is_waited_out_as_long_as_the_server_says),
        TEST(writes_are_repeated_too_when_the_server_asks_for_it),
        TEST(c05_patience_ends_after_ten_times),
        TEST(c05_failure_without_a_time_is_the_callers),
        TEST(wait_beyond_the_deadline_is_not_begun),
        TEST(canceled_wait_ends_at_once),
        TEST(what_does_no_harm_twice_is_repeated),
        TEST(repetition_has_an_end),
        TEST(c05_what_may_have_happened_is_not_repeated),
        TEST(c46_fence_that_closes_meanwhile_ends_the_repetition),
        TEST(verbs_become_the_right_requests),
        TEST(c11_refused_token_is_renewed_once_within_the_call),
        TEST(fixed_token_is_not_tried_twice),
        TEST(c11_refusal_whose_text_is_lost_is_a_refusal),
        TEST(c14_plugin_is_asked_again_after_a_refusal),
        TEST(c13_renewed_certificate_is_used_from_the_next_request_on),
        TEST(credentials_can_be_shared_between_clients),
    };
    return cmocka_run_group_tests_name("api_request", tests, NULL, NULL);
}
