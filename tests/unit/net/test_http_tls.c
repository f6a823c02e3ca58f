/* TLS and proxies, against servers with certificates made for the occasion. */
#include <jansson.h>
#include <stdlib.h>

#include "controller/base/js.h"
#include "controller/net/http_client.h"
#include "tests/check.h"
#include "tests/support/child.h"
#include "tests/support/folder.h"
#include "tests/support/pki.h"

struct fixture {
    char *folder;
    struct pki_entity *authority;
    struct pki_entity *server_identity; /* for 127.0.0.1 and named.example */
    struct pki_entity *expired_identity;
    struct pki_entity *ann;
    struct pki_entity *ben;
    struct pki_entity *stranger; /* another authority */
};

struct server {
    struct child child;
    char *base; /* "https://127.0.0.1:PORT" */
    char *port;
};

static void server_start(const struct fixture *fixture, const struct pki_entity *identity,
                         struct server *server)
{
    const struct secret *key = pki_key(identity);
    AUTO(free)
    char *certificate_path =
        folder_write(fixture->folder, "server.crt", pki_certificate(identity), 0600);
    AUTO(free)
    char *key_path = folder_write(fixture->folder, "server.key",
                                  (struct str){secret_bytes(key), secret_length(key)}, 0600);
    AUTO(free)
    char *ca_path =
        folder_write(fixture->folder, "clients.crt", pki_certificate(fixture->authority), 0600);
    child_start(&server->child, (const char *[]){"python3", TEST_HTTP_SERVER, "tls",
                                                 certificate_path, key_path, ca_path, NULL});
    server->port = child_line(&server->child);
    server->base = xasprintf("https://127.0.0.1:%s", server->port);
}

static void server_stop(struct server *server)
{
    child_stop(&server->child);
    free(server->base);
    free(server->port);
}

static int set_up(void **state)
{
    struct fixture *fixture = xcalloc(1, sizeof(*fixture));
    fixture->folder = folder_make();
    fixture->authority = pki_authority("test authority");
    fixture->stranger = pki_authority("stranger");
    const char *names = "IP:127.0.0.1,DNS:named.example";
    fixture->server_identity = pki_issue(fixture->authority, "server", names, false);
    fixture->expired_identity = pki_issue(fixture->authority, "server", names, true);
    fixture->ann = pki_issue(fixture->authority, "ann", NULL, false);
    fixture->ben = pki_issue(fixture->authority, "ben", NULL, false);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    struct pki_entity *const entities[] = {
        fixture->authority,        fixture->stranger, fixture->server_identity,
        fixture->expired_identity, fixture->ann,      fixture->ben};
    for (size_t i = 0; i < ARRAY_COUNT(entities); i++) {
        pki_free(entities[i]);
    }
    folder_remove(fixture->folder);
    free(fixture);
    return 0;
}

static struct http_client *new_client(const struct http_tls *tls, const char *proxy_url)
{
    struct http_client *client = NULL;
    struct err err;
    const struct http_client_config config = {
        .name = "test",
        .user_agent = "tenantry-test/1",
        .proxy_url = proxy_url,
#ifdef ON_CALLER /* the same is true of a client without a thread */
        .on_caller = true,
#endif
    };
    CHECK_OK(http_client_new(&config, tls, &client, &err), &err);
    return client;
}

static int get(struct http_client *client, const char *base, const char *path,
               struct http_request request, struct http_response *response, struct err *err)
{
    AUTO(free) char *url = xasprintf("%s%s", base, path);
    request.url = url;
    request.method = "GET";
    return http_client_perform(client, NULL, &request, response, err);
}

/* One GET of /hello with this trust; -1 with *err when it fails. */
static int try(const char *base, const struct http_tls *tls, struct err *err)
{
    AUTO(http_response) struct http_response response = {0};
    struct http_client *client = new_client(tls, NULL);
    int result = get(client, base, "/hello", (struct http_request){0}, &response, err);
    if (result == 0) {
        CHECK_TEXT(buf_text(&response.body), "hello");
    } else {
        CHECK(!response.reached_server);
    }
    http_client_free(client);
    return result;
}

static json_t *server_log(struct http_client *client, const char *base)
{
    AUTO(http_response) struct http_response response = {0};
    struct err err;
    json_t *log = NULL;
    CHECK_OK(get(client, base, "/log", (struct http_request){0}, &response, &err), &err);
    CHECK_OK(js_parse(buf_str(&response.body), response.body.len, &log, &err), &err);
    return log;
}

/* --- whom we trust ---------------------------------------------------------------------------- */

static void server_of_our_authority_is_trusted(void **state)
{
    const struct fixture *fixture = *state;
    struct server server;
    struct err err;
    server_start(fixture, fixture->server_identity, &server);
    CHECK_OK(
        try(server.base, &(struct http_tls){.ca_pem = pki_certificate(fixture->authority)}, &err),
        &err);
    server_stop(&server);
}

static void server_of_another_authority_is_refused(void **state)
{
    const struct fixture *fixture = *state;
    struct server server;
    struct err err;
    server_start(fixture, fixture->server_identity, &server);
    CHECK_FAILS(
        try(server.base, &(struct http_tls){.ca_pem = pki_certificate(fixture->stranger)}, &err),
        &err, ERR_TERMINAL, "TLSVerificationFailed");
    CHECK_FAILS(try(server.base, NULL, &err), &err, ERR_TERMINAL, "TLSVerificationFailed");
    CHECK_OK(try(server.base, &(struct http_tls){.insecure = true}, &err), &err);
    server_stop(&server);
}

static void expired_certificate_is_refused(void **state)
{
    const struct fixture *fixture = *state;
    struct server server;
    struct err err;
    server_start(fixture, fixture->expired_identity, &server);
    CHECK_FAILS(
        try(server.base, &(struct http_tls){.ca_pem = pki_certificate(fixture->authority)}, &err),
        &err, ERR_TERMINAL, "TLSVerificationFailed");
    server_stop(&server);
}

static void c09_name_is_verified_and_can_be_another_than_the_hosts(void **state)
{
    const struct fixture *fixture = *state;
    struct server server;
    struct err err;
    struct http_tls tls = {.ca_pem = pki_certificate(fixture->authority)};
    server_start(fixture, fixture->server_identity, &server);
    AUTO(free) char *by_name = xasprintf("https://localhost:%s", server.port);
    CHECK_FAILS(try(by_name, &tls, &err), &err, ERR_TERMINAL, "TLSVerificationFailed");
    tls.server_name = "elsewhere.example";
    CHECK_FAILS(try(server.base, &tls, &err), &err, ERR_TERMINAL, "TLSVerificationFailed");
    tls.server_name = "named.example";
    CHECK_OK(try(by_name, &tls, &err), &err);

    struct http_client *client = new_client(&tls, NULL);
    AUTO(json) json_t *log = server_log(client, server.base);
    CHECK_TEXT(js_text_or(json_array_get(log, 0), "/sni", ""), "named.example");
    AUTO(free) char *host = xasprintf("localhost:%s", server.port);
    CHECK_TEXT(js_text_or(json_array_get(log, 0), "/headers/host", ""), host);
    http_client_free(client);
    server_stop(&server);
}

/* --- who we are ------------------------------------------------------------------------------- */

static void c10_credentials_travel_over_tls(void **state)
{
    const struct fixture *fixture = *state;
    AUTO(http_response) struct http_response response = {0};
    AUTO(secret) struct secret token = {0};
    AUTO(secret) struct secret broken = {0};
    struct server server;
    struct err err;
    server_start(fixture, fixture->server_identity, &server);
    struct http_client *client =
        new_client(&(struct http_tls){.ca_pem = pki_certificate(fixture->authority)}, NULL);
    secret_set(&token, STR("t0ken"));
    secret_set(&broken, STR("one\nX-Two: 2"));
    CHECK_OK(get(client, server.base, "/hello", (struct http_request){.bearer = &token}, &response,
                 &err),
             &err);
    CHECK_OK(get(client, server.base, "/hello",
                 (struct http_request){.basic_user = "ann", .basic_password = &token}, &response,
                 &err),
             &err);
    CHECK_FAILS(get(client, server.base, "/hello", (struct http_request){.bearer = &broken},
                    &response, &err),
                &err, ERR_TERMINAL, "InvalidRequest");
    CHECK_NULL(strstr(err.message, "one"));
    AUTO(json) json_t *log = server_log(client, server.base);
    CHECK_TEXT(js_text_or(json_array_get(log, 0), "/headers/authorization", ""), "Bearer t0ken");
    CHECK_TEXT(js_text_or(json_array_get(log, 1), "/headers/authorization", ""),
               "Basic YW5uOnQwa2Vu");
    http_client_free(client);
    server_stop(&server);
}

static struct http_tls identity_of(const struct fixture *fixture, const struct pki_entity *who)
{
    return (struct http_tls){.ca_pem = pki_certificate(fixture->authority),
                             .certificate_pem = pki_certificate(who),
                             .key_pem = pki_key(who)};
}

static void c13_client_certificate_can_be_exchanged_under_way(void **state)
{
    const struct fixture *fixture = *state;
    AUTO(http_response) struct http_response response = {0};
    struct server server;
    struct err err;
    const struct http_tls ann = identity_of(fixture, fixture->ann);
    const struct http_tls ben = identity_of(fixture, fixture->ben);
    const struct http_tls broken = {.ca_pem = STR("no certificate")};
    server_start(fixture, fixture->server_identity, &server);
    struct http_client *client = new_client(&ann, NULL);
    CHECK_OK(get(client, server.base, "/hello", (struct http_request){0}, &response, &err), &err);
    CHECK_FAILS(http_client_set_tls(client, &broken, &err), &err, ERR_TERMINAL, "InvalidTLS");
    CHECK_OK(get(client, server.base, "/hello", (struct http_request){0}, &response, &err), &err);
    CHECK_OK(http_client_set_tls(client, &ben, &err), &err);
    CHECK_OK(get(client, server.base, "/hello", (struct http_request){0}, &response, &err), &err);
    AUTO(json) json_t *log = server_log(client, server.base);
    CHECK_TEXT(js_text_or(json_array_get(log, 0), "/peer", ""), "ann");
    CHECK_TEXT(js_text_or(json_array_get(log, 1), "/peer", ""), "ann");
    CHECK_TEXT(js_text_or(json_array_get(log, 2), "/peer", ""), "ben");
    http_client_free(client);
    server_stop(&server);
}

static void broken_material_is_named(void **state)
{
    const struct fixture *fixture = *state;
    struct err err;
    AUTO(secret) struct secret garbage = {0};
    secret_set(&garbage, STR("-----BEGIN PRIVATE KEY-----\nno\n-----END PRIVATE KEY-----\n"));
    const struct str ann = pki_certificate(fixture->ann);
    AUTO(free) char *half = xasprintf("%s-----BEGIN CERTIFICATE-----\nAAAA\n", ann.ptr);
    const struct {
        struct http_tls tls;
        const char *names;
    } cases[] = {
        {{.ca_pem = STR("garbage")}, "authority"},
        {{.ca_pem = str_from(half)}, "authority"},
        {{.certificate_pem = STR("garbage"), .key_pem = pki_key(fixture->ann)}, "certificate"},
        {{.certificate_pem = ann}, "key"},
        {{.certificate_pem = ann, .key_pem = &garbage}, "key"},
        {{.certificate_pem = ann, .key_pem = pki_key(fixture->ben)}, "belong"},
        {{.key_pem = pki_key(fixture->ann)}, "certificate"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        CHECK_FAILS(http_tls_check(&cases[i].tls, &err), &err, ERR_TERMINAL, "InvalidTLS");
        CHECK_NOT_NULL(strstr(err.message, cases[i].names));
    }
    const struct http_tls fine = identity_of(fixture, fixture->ann);
    CHECK_OK(http_tls_check(&fine, &err), &err);
}

/* --- proxies ---------------------------------------------------------------------------------- */

static void c09_proxy_tunnels_and_sees_no_credentials(void **state)
{
    const struct fixture *fixture = *state;
    AUTO(http_response) struct http_response response = {0};
    AUTO(secret) struct secret token = {0};
    struct server server;
    struct child proxy;
    struct err err;
    server_start(fixture, fixture->server_identity, &server);
    child_start(&proxy, (const char *[]){"python3", TEST_HTTP_SERVER, "proxy", NULL});
    AUTO(free) char *proxy_port = child_line(&proxy);
    AUTO(free) char *proxy_base = xasprintf("http://127.0.0.1:%s", proxy_port);
    AUTO(free) char *far = xasprintf("https://far.example:%s", server.port);
    secret_set(&token, STR("t0ken"));
    struct http_client *client =
        new_client(&(struct http_tls){.ca_pem = pki_certificate(fixture->authority),
                                      .server_name = "named.example"},
                   proxy_base);
    CHECK_OK(get(client, far, "/hello", (struct http_request){.bearer = &token}, &response, &err),
             &err);
    CHECK_TEXT(buf_text(&response.body), "hello");
    CHECK_TEXT(response.content_type, "text/plain");
    http_client_free(client);

    struct http_client *direct = new_client(NULL, NULL);
    AUTO(json) json_t *log = server_log(direct, proxy_base);
    AUTO(free) char *wanted = xasprintf("far.example:%s", server.port);
    CHECK_INT(json_array_size(log), 1);
    CHECK_TEXT(js_text_or(json_array_get(log, 0), "/path", ""), wanted);
    CHECK_NULL(js_at(json_array_get(log, 0), "/headers/authorization"));
    http_client_free(direct);
    child_stop(&proxy);
    server_stop(&server);
}

static void dead_proxy_is_a_failed_connection(void **state)
{
    (void)state;
    struct err err;
    AUTO(http_response) struct http_response response = {0};
    struct http_client *client = new_client(NULL, "http://127.0.0.1:1");
    CHECK_FAILS(get(client, "https://far.example", "/", (struct http_request){0}, &response, &err),
                &err, ERR_RETRY, "ConnectionFailed");
    CHECK(!response.reached_server);
    http_client_free(client);
}

int main(void)
{
    http_global_init();
    js_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(server_of_our_authority_is_trusted),
        cmocka_unit_test(server_of_another_authority_is_refused),
        cmocka_unit_test(expired_certificate_is_refused),
        cmocka_unit_test(c09_name_is_verified_and_can_be_another_than_the_hosts),
        cmocka_unit_test(c10_credentials_travel_over_tls),
        cmocka_unit_test(c13_client_certificate_can_be_exchanged_under_way),
        cmocka_unit_test(broken_material_is_named),
        cmocka_unit_test(c09_proxy_tunnels_and_sees_no_credentials),
        cmocka_unit_test(dead_proxy_is_a_failed_connection),
    };
    return cmocka_run_group_tests_name("http_tls", tests, set_up, tear_down);
}
