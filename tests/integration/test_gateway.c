/* The gateway's contract, to the byte, through two gateways as they ship. */
#include <stdlib.h>
#include <sys/socket.h>

#include "controller/base/cancel.h"
#include "controller/base/js.h"
#include "tests/check.h"
#include "tests/integration/gateway_fixture.h"
#include "tests/integration/postgres.h"

/* A change reaches every gateway within a second; a busy machine gets some more. */
enum { SOON_MS = 3000 };

static struct gateway_process one, two;
static char *acme, *other;

static int set_up(void **state)
{
    if (gateway_set_up(state)) {
        return -1;
    }
    acme = gateway_tenant(*state, "acme", 1000);
    other = gateway_tenant(*state, "other", 1000);
    gateway_start(&one);
    gateway_start(&two);
    return 0;
}

static int tear_down(void **state)
{
    gateway_stop(&one);
    gateway_stop(&two);
    free(acme);
    free(other);
    return gateway_tear_down(state);
}

static void expect(const char *method, const char *tenant, const char *path, const char *token,
                   const char *body, int status, const char *answer)
{
    struct reply reply = {0};

    http_once(&one, method, tenant, path, token, body, &reply);
    if (reply.status != status || (answer && strcmp(reply.body, answer) != 0)) {
        fail_msg("%s %s of %s: %d %s", method, path, tenant, reply.status, reply.body);
    }
}

/* Run a statement in the registry, as its administrator. */
#define set_registry(...)                                                                          \
    do {                                                                                           \
        AUTO(sql_conn) struct sql_conn *registry_ = gateway_registry();                            \
        postgres_run(registry_, __VA_ARGS__);                                                      \
    } while (0)

static void who_is_not_known_is_told_so_and_consumes_nothing(void **state)
{
    (void)state;
    int64_t before = gateway_used(acme);
    expect("GET", "nobody", "/authz", "key-of-acme", NULL, 404, "{\"error\":\"Tenant not found\"}");
    expect("GET", "acme", "/authz", NULL, NULL, 401, "{\"error\":\"Unauthorized\"}");
    expect("GET", "acme", "/authz", "key-of-other", NULL, 401, "{\"error\":\"Unauthorized\"}");
    expect("GET", "acme", "/api/users", "wrong", NULL, 401, "{\"error\":\"Unauthorized\"}");
    expect("GET", "acme", "/api/nothing", "key-of-acme", NULL, 404, NULL);
    expect("PUT", "acme", "/api/users", "key-of-acme", NULL, 405, NULL);
    CHECK_INT(gateway_used(acme), before);
}

static void a_decision_tells_who_it_is(void **state)
{
    struct reply reply = {0};
    AUTO(buf) struct buf line = BUF(200);

    (void)state;
    int64_t before = gateway_used(acme);
    http_once(&one, "GET", "acme", "/authz", "key-of-acme", NULL, &reply);
    CHECK_INT(reply.status, 204);
    CHECK(buf_printf(&line, "\r\nX-Tenant-ID: %s\r\n", acme));
    CHECK_NOT_NULL(strstr(reply.head, buf_text(&line)));
    CHECK_NOT_NULL(strstr(reply.head, "\r\nX-Tenant-Tier: small\r\n"));
    CHECK_NOT_NULL(strstr(reply.head, "\r\nX-Tenant-Features: "));
    CHECK_NOT_NULL(strstr(reply.head, "\r\nX-User-Role: owner\r\n"));
    CHECK_NOT_NULL(strstr(reply.head, "\r\nRateLimit-Policy: \"api_requests\";q=1000\r\n"));
    CHECK_NOT_NULL(strstr(reply.head, "\r\nRateLimit: \"api_requests\";r="));
    http_once(&one, "POST", "acme", "/authz/envoy/some/path", "key-of-acme", NULL, &reply);
    CHECK_INT(reply.status, 200);
    http_once(&one, "GET", "nobody", "/authz/nginx", NULL, NULL, &reply);
    CHECK_INT(reply.status, 403);
    CHECK_NOT_NULL(strstr(reply.head, "\r\nX-Tenantry-Status: 404\r\n"));
    CHECK_NOT_NULL(strstr(reply.head, "\r\nX-Tenantry-Body: {\"error\":\"Tenant not found\"}\r\n"));
    CHECK_INT(gateway_used(acme), before + 2);
}

static void users_are_this_tenants_alone(void **state)
{
    struct reply reply = {0};

    (void)state;
    http_once(&one, "GET", "acme", "/api/users", "key-of-acme", NULL, &reply);
    CHECK_INT(reply.status, 200);
    CHECK_NOT_NULL(strstr(reply.body, "\"email\":\"alice@acme.com\",\"full_name\":\"Alice\","
                                      "\"role\":\"owner\"}]"));
    CHECK_NULL(strstr(reply.body, "other"));
}

static void the_first_password_must_be_changed(void **state)
{
    static const char change[] =
        "{\"current_password\":\"first password\",\"new_password\":\"second password\"}";

    (void)state;
    expect("POST", "acme", "/api/login", NULL,
           "{\"email\":\"alice@acme.com\",\"password\":\"wrong\"}", 401,
           "{\"error\":\"Unauthorized\"}");
    expect("POST", "acme", "/api/login", NULL, "{\"email\":\"bob@acme.com\",\"password\":\"x\"}",
           401, "{\"error\":\"Unauthorized\"}");
    expect("POST", "acme", "/api/login", NULL, "[]", 400, NULL);
    AUTO(free) char *token = gateway_log_in(&one, "acme", "first password", true);
    expect("GET", "acme", "/api/users", token, NULL, 403,
           "{\"error\":\"Password change required\"}");
    expect("GET", "acme", "/authz", token, NULL, 403, "{\"error\":\"Password change required\"}");
    expect("GET", "other", "/authz", token, NULL, 401, NULL);
    expect("POST", "acme", "/api/password", token, change, 204, "");
    expect("GET", "acme", "/api/users", token, NULL, 200, NULL);
    http_until(&two, "acme", token, 204, SOON_MS);
    expect("POST", "acme", "/api/password", token, change, 401, NULL);
    AUTO(free) char *next = gateway_log_in(&one, "acme", "second password", false);
    expect("GET", "acme", "/api/tenant", next, NULL, 200, NULL);
}

static void change_password(const char *token, const char *from, const char *to)
{
    AUTO(buf) struct buf body = BUF(200);

    CHECK(buf_printf(&body, "{\"current_password\":\"%s\",\"new_password\":\"%s\"}", from, to));
    expect("POST", "acme", "/api/password", token, buf_text(&body), 204, "");
}

/* All but the one that changed it, whoever changes it; what programs show goes on. */
static void a_new_password_ends_sessions(void **state)
{
    AUTO(free) char *mine = gateway_log_in(&one, "acme", "second password", false);
    AUTO(free) char *stolen = gateway_log_in(&one, "acme", "second password", false);
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("dbname=tenant_acme");

    (void)state;
    http_until(&one, "acme", stolen, 204, SOON_MS);
    http_until(&two, "acme", stolen, 204, SOON_MS);
    change_password(mine, "second password", "third password");
    expect("GET", "acme", "/authz", stolen, NULL, 401, "{\"error\":\"Unauthorized\"}");
    http_until(&two, "acme", stolen, 401, SOON_MS);
    expect("GET", "acme", "/authz", mine, NULL, 204, "");
    http_until(&two, "acme", mine, 204, SOON_MS);
    expect("GET", "acme", "/authz", "key-of-acme", NULL, 204, "");
    AUTO(free) char *unseen = gateway_log_in(&one, "acme", "third password", false);
    change_password(mine, "third password", "fourth password");
    expect("GET", "acme", "/authz", unseen, NULL, 401, NULL);
    AUTO(free) char *last = gateway_log_in(&one, "acme", "fourth password", false);
    postgres_run(conn, "UPDATE public.users SET must_change_password = true, password_hash = '!'");
    expect("GET", "acme", "/authz", last, NULL, 401, NULL);
    expect("GET", "acme", "/authz", "key-of-acme", NULL, 204, "");
}

/* A member has no password at first, and gets one from the tenant's owner. */
static void an_owner_gives_a_member_the_first_password(void **state)
{
    static const char ask[] = "{\"email\":\"dev@acme.com\"}";
    static const char field[] = "\"temporary_password\":\"";
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("dbname=tenant_acme");
    AUTO(buf) struct buf body = BUF(500);
    struct reply reply = {0};

    (void)state;
    postgres_run(conn, "INSERT INTO public.users (email, full_name, role, must_change_password, "
                       "password_hash) VALUES ('dev@acme.com', 'Dev', 'member', true, '!'), "
                       "('gone@acme.com', 'Gone', 'member', true, '!disabled!x')");
    expect("POST", "acme", "/api/password-resets", NULL, ask, 401, NULL);
    expect("POST", "acme", "/api/password-resets", "key-of-acme", "{}", 400, NULL);
    expect("POST", "acme", "/api/password-resets", "key-of-acme", "{\"email\":\"nobody@acme.com\"}",
           404, NULL);
    expect("POST", "acme", "/api/password-resets", "key-of-acme", "{\"email\":\"gone@acme.com\"}",
           404, NULL);
    /* Who has an owner's password is the owner. */
    expect("POST", "acme", "/api/password-resets", "key-of-acme", "{\"email\":\"alice@acme.com\"}",
           404, NULL);
    http_once(&one, "POST", "acme", "/api/password-resets", "key-of-acme", ask, &reply);
    CHECK_INT(reply.status, 200);
    const char *found = strstr(reply.body, field);
    CHECK_NOT_NULL(found);
    AUTO(free) char *password = xasprintf("%.20s", found + strlen(field));
    CHECK(buf_printf(&body, "{\"email\":\"dev@acme.com\",\"password\":\"%s\"}", password));
    http_once(&one, "POST", "acme", "/api/login", NULL, buf_text(&body), &reply);
    CHECK_INT(reply.status, 200);
    CHECK_NOT_NULL(strstr(reply.body, "\"must_change_password\":true"));
    const char *start = strstr(reply.body, "\"token\":\"") + strlen("\"token\":\"");
    AUTO(free) char *token = xasprintf("%.*s", (int)strcspn(start, "\""), start);
    expect("GET", "acme", "/api/users", token, NULL, 403,
           "{\"error\":\"Password change required\"}");
    change_password(token, password, "a password of my own");
    /* A member resets nobody's, and the other tenant's owner not this one's. */
    expect("POST", "acme", "/api/password-resets", token, ask, 403, NULL);
    expect("POST", "other", "/api/password-resets", "key-of-other", ask, 404, NULL);
    /* Given another one, his sessions end. */
    expect("POST", "acme", "/api/password-resets", "key-of-acme", ask, 200, NULL);
    http_until(&one, "acme", token, 401, SOON_MS);
    http_until(&two, "acme", token, 401, SOON_MS);
    postgres_run(conn, "DELETE FROM public.users WHERE email IN ('dev@acme.com', 'gone@acme.com')");
}

static void a_revoked_key_is_dead_everywhere(void **state)
{
    AUTO(json) json_t *json = NULL;
    AUTO(buf) struct buf path = BUF(200);
    struct reply reply = {0};
    struct err err;

    (void)state;
    http_once(&one, "POST", "acme", "/api/keys", "key-of-acme", "{\"name\":\"ci\"}", &reply);
    CHECK_INT(reply.status, 201);
    CHECK_OK(js_parse(str_from(reply.body), sizeof(reply.body), &json, &err), &err);
    const char *key = js_text_or(json, "/key", "");
    http_until(&one, "acme", key, 204, SOON_MS);
    http_until(&two, "acme", key, 204, SOON_MS);
    http_once(&two, "GET", "acme", "/api/keys", key, NULL, &reply);
    CHECK_NULL(strstr(reply.body, key));
    CHECK_NOT_NULL(strstr(reply.body, "\"name\":\"ci\""));
    CHECK(buf_printf(&path, "/api/keys/%s", js_text_or(json, "/id", "")));
    expect("DELETE", "other", buf_text(&path), "key-of-other", NULL, 404, NULL);
    expect("DELETE", "acme", buf_text(&path), "key-of-acme", NULL, 204, "");
    http_until(&one, "acme", key, 401, SOON_MS);
    http_until(&two, "acme", key, 401, SOON_MS);
}

static void changes_in_the_registry_reach_every_gateway(void **state)
{
    (void)state;
    http_until(&two, "acme", "key-of-acme", 204, SOON_MS);
    set_registry("UPDATE public.tenants SET status = 'suspended' WHERE id = '%s'", acme);
    http_until(&one, "acme", "key-of-acme", 403, SOON_MS);
    http_until(&two, "acme", "key-of-acme", 403, SOON_MS);
    expect("GET", "acme", "/authz", NULL, NULL, 403, "{\"error\":\"Tenant suspended\"}");
    expect("POST", "acme", "/api/login", NULL, "{}", 403, "{\"error\":\"Tenant suspended\"}");
    set_registry("UPDATE public.tenants SET status = 'active' WHERE id = '%s'", acme);
    http_until(&one, "acme", "key-of-acme", 204, SOON_MS);
    http_until(&two, "acme", "key-of-acme", 204, SOON_MS);
    set_registry("UPDATE public.tenants SET status = 'deleted' WHERE id = '%s'", other);
    http_until(&two, "other", "key-of-other", 404, SOON_MS);
    set_registry("UPDATE public.tenants SET status = 'active' WHERE id = '%s'", other);
    http_until(&two, "other", "key-of-other", 204, SOON_MS);
}

static void a_count_that_others_set_is_honoured(void **state)
{
    (void)state;
    set_registry("UPDATE public.tenant_quotas SET current_usage = 999 WHERE resource_type = "
                 "'api_requests' AND tenant_id = '%s'",
                 other);
    expect("GET", "other", "/authz", "key-of-other", NULL, 204, "");
    expect("GET", "other", "/authz", "key-of-other", NULL, 429,
           "{\"error\":\"Quota exceeded\",\"message\":\"Quota exceeded for api_requests\","
           "\"current\":1000,\"limit\":1000}");
    expect("GET", "other", "/api/users", "key-of-other", NULL, 429, NULL);
    CHECK_INT(gateway_used(other), 1000);
    set_registry("UPDATE public.tenant_quotas SET current_usage = 0 WHERE resource_type = "
                 "'api_requests' AND tenant_id = '%s'",
                 other);
    http_until(&one, "other", "key-of-other", 204, SOON_MS);
    set_registry("DELETE FROM public.tenant_quotas WHERE resource_type = 'api_requests' AND "
                 "tenant_id = '%s'",
                 other);
    http_until(&one, "other", "key-of-other", 429, SOON_MS);
    expect("GET", "other", "/authz", "key-of-other", NULL, 429,
           "{\"error\":\"Quota exceeded\",\"message\":\"Quota not configured\"}");
    set_registry("INSERT INTO public.tenant_quotas (tenant_id, resource_type, quota_limit) "
                 "VALUES ('%s', 'api_requests', 1000)",
                 other);
    http_until(&one, "other", "key-of-other", 204, SOON_MS);
}

static void quotas_change_together_or_not_at_all(void **state)
{
    AUTO(sql_conn) struct sql_conn *registry = gateway_registry();

    (void)state;
    expect("POST", "other", "/api/quotas", "key-of-other", "{\"changes\":{\"users\":1}}", 401,
           NULL);
    expect("POST", "other", "/api/quotas", GATEWAY_PLATFORM_TOKEN,
           "{\"changes\":{\"users\":3,\"sandboxes\":2}}", 200,
           "[{\"resource\":\"sandboxes\",\"current\":2,\"limit\":2,\"remaining\":0},"
           "{\"resource\":\"users\",\"current\":3,\"limit\":5,\"remaining\":2}]");
    expect("POST", "other", "/api/quotas", GATEWAY_PLATFORM_TOKEN,
           "{\"changes\":{\"users\":1,\"sandboxes\":1}}", 429,
           "{\"error\":\"Quota exceeded\",\"message\":\"Quota exceeded for sandboxes\","
           "\"current\":2,\"limit\":2}");
    expect("POST", "other", "/api/quotas", GATEWAY_PLATFORM_TOKEN,
           "{\"changes\":{\"users\":1,\"nothing\":1}}", 429,
           "{\"error\":\"Quota exceeded\",\"message\":\"Quota not configured\"}");
    expect("POST", "other", "/api/quotas", GATEWAY_PLATFORM_TOKEN,
           "{\"changes\":{\"users\":2},\"check\":true}", 200, NULL);
    CHECK_INT(postgres_int(registry,
                           "SELECT current_usage FROM public.tenant_quotas WHERE "
                           "resource_type = 'users' AND tenant_id = '%s'",
                           other),
              3);
    expect("POST", "other", "/api/quotas", GATEWAY_PLATFORM_TOKEN,
           "{\"changes\":{\"users\":-10,\"sandboxes\":-1}}", 200,
           "[{\"resource\":\"sandboxes\",\"current\":1,\"limit\":2,\"remaining\":1},"
           "{\"resource\":\"users\",\"current\":0,\"limit\":5,\"remaining\":5}]");
}

static void a_lost_registry_is_told_and_comes_back(void **state)
{
    (void)state;
    postgres_run(NULL, "ALTER DATABASE registry_of_database_test WITH ALLOW_CONNECTIONS false");
    postgres_run(NULL, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = "
                       "'registry_of_database_test'");
    http_until(&one, "acme", "key-of-acme", 503, SOON_MS);
    expect("GET", "acme", "/authz", "key-of-acme", NULL, 503, "{\"error\":\"Quota system error\"}");
    postgres_run(NULL, "ALTER DATABASE registry_of_database_test WITH ALLOW_CONNECTIONS true");
    http_until(&one, "acme", "key-of-acme", 204, 10000);
    http_until(&two, "acme", "key-of-acme", 204, 10000);
    set_registry("UPDATE public.tenants SET status = 'suspended' WHERE id = '%s'", acme);
    http_until(&two, "acme", "key-of-acme", 403, SOON_MS);
    set_registry("UPDATE public.tenants SET status = 'active' WHERE id = '%s'", acme);
    http_until(&two, "acme", "key-of-acme", 204, SOON_MS);
}

static void a_new_month_begins_anew(void **state)
{
    AUTO(sql_conn) struct sql_conn *registry = gateway_registry();

    (void)state;
    postgres_run(registry,
                 "UPDATE public.tenant_quotas SET current_usage = 1000 WHERE "
                 "resource_type = 'api_requests' AND tenant_id = '%s'",
                 acme);
    http_until(&one, "acme", "key-of-acme", 429, SOON_MS);
    gateway_set_clock(32L * 24 * 3600);
    http_until(&one, "acme", "key-of-acme", 204, SOON_MS);
    CHECK(gateway_used(acme) < 100);
    CHECK_INT(postgres_int(registry,
                           "SELECT used FROM public.quota_periods WHERE resource_type = "
                           "'api_requests' AND tenant_id = '%s'",
                           acme),
              1000);
    gateway_set_clock(0);
}

static void what_a_stranger_sends_is_bounded(void **state)
{
    AUTO(fd) int fd = http_open(one.port);
    static const char smuggled[] = "POST /authz HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n"
                                   "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /authz";
    struct reply reply = {0};
    char text[4096];

    (void)state;
    CHECK_INT(send(fd, smuggled, sizeof(smuggled) - 1, 0), sizeof(smuggled) - 1);
    ssize_t count = recv(fd, text, sizeof(text) - 1, MSG_WAITALL);
    CHECK(count > 0);
    text[count] = '\0';
    CHECK_INT(strncmp(text, "HTTP/1.1 400 ", strlen("HTTP/1.1 400 ")), 0);
    CHECK_NULL(strstr(text + 1, "HTTP/1.1")); /* one answer, and the end */
    http_once(&one, "GET", "acme", "/healthz", NULL, NULL, &reply);
    CHECK_INT(reply.status, 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_not_known_is_told_so_and_consumes_nothing),
        cmocka_unit_test(a_decision_tells_who_it_is),
        cmocka_unit_test(users_are_this_tenants_alone),
        cmocka_unit_test(the_first_password_must_be_changed),
        cmocka_unit_test(a_new_password_ends_sessions),
        cmocka_unit_test(an_owner_gives_a_member_the_first_password),
        cmocka_unit_test(a_revoked_key_is_dead_everywhere),
        cmocka_unit_test(changes_in_the_registry_reach_every_gateway),
        cmocka_unit_test(a_count_that_others_set_is_honoured),
        cmocka_unit_test(quotas_change_together_or_not_at_all),
        cmocka_unit_test(a_lost_registry_is_told_and_comes_back),
        cmocka_unit_test(a_new_month_begins_anew),
        cmocka_unit_test(what_a_stranger_sends_is_bounded),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
