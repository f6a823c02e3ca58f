/* The tenant API where tenants share a database: the same answers, and each tenant its own. */
#include <stdlib.h>

#include "controller/base/hash.h"
#include "controller/base/js.h"
#include "tests/check.h"
#include "tests/integration/gateway_fixture.h"
#include "tests/integration/postgres.h"

enum { SOON_MS = 3000 };

/* Two tenants that share. */
struct pair {
    enum isolation isolation;
    const char *one;
    const char *two;
    char *one_id;
    char *two_id;
};
static struct pair pairs[] = {
    {ISOLATION_SCHEMA, "schemaone", "schematwo", NULL, NULL},
    {ISOLATION_ROW, "rowone", "rowtwo", NULL, NULL},
};

static struct gateway_process gateway;

static int set_up(void **state)
{
    if (gateway_set_up(state)) {
        return -1;
    }
    for (size_t i = 0; i < ARRAY_COUNT(pairs); i++) {
        struct pair *pair = &pairs[i];
        pair->one_id = gateway_tenant_in(*state, pair->isolation, pair->one, 1000);
        pair->two_id = gateway_tenant_in(*state, pair->isolation, pair->two, 1000);
    }
    gateway_start(&gateway);
    return 0;
}

static int tear_down(void **state)
{
    gateway_stop(&gateway);
    for (size_t i = 0; i < ARRAY_COUNT(pairs); i++) {
        free(pairs[i].one_id);
        free(pairs[i].two_id);
    }
    return gateway_tear_down(state);
}

static void expect(const char *method, const char *tenant, const char *path, const char *token,
                   const char *body, int status, struct reply *ret)
{
    http_once(&gateway, method, tenant, path, token, body, ret);
    if (ret->status != status) {
        fail_msg("%s %s of %s: %d %s", method, path, tenant, ret->status, ret->body);
    }
}

static char *key_of(const char *name)
{
    return xasprintf("key-of-%s", name);
}

static void expect_alone(const char *tenant, const char *token)
{
    AUTO(free) char *alice = xasprintf("\"email\":\"alice@%s.com\"", tenant);
    AUTO(json) json_t *users = NULL;
    struct reply reply = {0};
    struct err err;

    expect("GET", tenant, "/api/users", token, NULL, 200, &reply);
    CHECK_NOT_NULL(strstr(reply.body, alice));
    CHECK_OK(js_parse(str_from(reply.body), sizeof(reply.body), &users, &err), &err);
    CHECK_INT(json_array_size(users), 1);
}

static void each_tenant_sees_its_own_users(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(pairs); i++) {
        const struct pair *pair = &pairs[i];
        AUTO(free) char *one = key_of(pair->one);
        AUTO(free) char *two = key_of(pair->two);
        struct reply reply = {0};
        expect_alone(pair->one, one);
        expect_alone(pair->two, two);
        expect("GET", pair->one, "/api/users", two, NULL, 401, &reply);
        expect("GET", pair->two, "/authz", one, NULL, 401, &reply);
        expect("GET", pair->one, "/api/tenant", one, NULL, 200, &reply);
        CHECK_NOT_NULL(strstr(reply.body, pair->one_id));
    }
}

/* Nothing keeps two tenants from having the same key: the host says whose it is. */
static void a_key_that_two_have_is_each_ones(void **state)
{
    AUTO(sql_conn) struct sql_conn *shared = postgres_connect("dbname=tenantry_shared");
    const struct pair *pair = &pairs[1];
    char hash[SHA256_TEXT_BYTES];

    (void)state;
    hash_sha256_text(STR("the-same-key"), hash);
    postgres_run(shared,
                 "INSERT INTO tenantry_rows.api_keys (tenant_id, user_id, key_hash) SELECT "
                 "tenant_id, id, '%s' FROM tenantry_rows.users WHERE tenant_id IN ('%s', '%s')",
                 hash, pair->one_id, pair->two_id);
    expect_alone(pair->one, "the-same-key");
    expect_alone(pair->two, "the-same-key");
}

static void passwords_are_each_ones(void **state)
{
    static const char change[] =
        "{\"current_password\":\"first password\",\"new_password\":\"second password\"}";

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(pairs); i++) {
        const struct pair *pair = &pairs[i];
        struct reply reply = {0};
        AUTO(free) char *one = gateway_log_in(&gateway, pair->one, "first password", true);
        expect("GET", pair->two, "/authz", one, NULL, 401, &reply);
        expect("GET", pair->one, "/authz", one, NULL, 403, &reply);
        expect("POST", pair->one, "/api/password", one, change, 204, &reply);
        expect_alone(pair->one, one);
        AUTO(free) char *again = gateway_log_in(&gateway, pair->one, "second password", false);
        AUTO(free) char *two = gateway_log_in(&gateway, pair->two, "first password", true);
    }
}

static int64_t keys_of(const char *tenant, const char *token)
{
    AUTO(json) json_t *keys = NULL;
    struct reply reply = {0};
    struct err err;

    expect("GET", tenant, "/api/keys", token, NULL, 200, &reply);
    CHECK_OK(js_parse(str_from(reply.body), sizeof(reply.body), &keys, &err), &err);
    return (int64_t)json_array_size(keys);
}

static void keys_are_made_and_revoked_by_their_tenant_alone(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(pairs); i++) {
        const struct pair *pair = &pairs[i];
        AUTO(json) json_t *made = NULL;
        AUTO(free) char *one = key_of(pair->one);
        AUTO(free) char *two = key_of(pair->two);
        struct reply reply = {0};
        struct err err;
        int64_t before = keys_of(pair->two, two);
        expect("POST", pair->one, "/api/keys", one, "{\"name\":\"ci\"}", 201, &reply);
        CHECK_OK(js_parse(str_from(reply.body), sizeof(reply.body), &made, &err), &err);
        const char *key = js_text_or(made, "/key", "");
        AUTO(free) char *path = xasprintf("/api/keys/%s", js_text_or(made, "/id", ""));
        expect_alone(pair->one, key);
        CHECK_INT(keys_of(pair->two, two), before);
        expect("GET", pair->two, "/authz", key, NULL, 401, &reply);
        expect("DELETE", pair->two, path, two, NULL, 404, &reply);
        expect_alone(pair->one, key);
        expect("DELETE", pair->one, path, one, NULL, 204, &reply);
        http_until(&gateway, pair->one, key, 401, SOON_MS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_tenant_sees_its_own_users),
        cmocka_unit_test(a_key_that_two_have_is_each_ones),
        cmocka_unit_test(passwords_are_each_ones),
        cmocka_unit_test(keys_are_made_and_revoked_by_their_tenant_alone),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
