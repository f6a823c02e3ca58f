/* A Tenant survives the way JSON -> struct -> record -> struct, and odd input does no harm. */
#include "tests/check.h"

#include "controller/base/arena.h"
#include "reconcilers/model/codec.h"
#include "reconcilers/model/names.h"

static char *read_data(const char *name)
{
    char *path = xasprintf("%s/tests/data/%s", TENANTRY_SOURCE_DIR, name);
    FILE *file = fopen(path, "rbe");
    CHECK_NOT_NULL(file);
    char *text = xcalloc(1, 65536);
    size_t size = fread(text, 1, 65535, file);
    assert_true(size > 0);
    (void)fclose(file);
    free(path);
    return text;
}

static void check_acme(const struct tenant *tenant)
{
    CHECK_TEXT(tenant->name, "acme");
    CHECK_TEXT(tenant->uid, "8c6f7c3e-1111-4222-8333-444455556666");
    CHECK_TEXT(tenant->resource_version, "4711");
    CHECK_INT(tenant->generation, 3);
    CHECK(!tenant->deleting);
    CHECK(tenant->has_finalizer);
    CHECK_INT(tenant->finalizer_count, 2);
    CHECK_TEXT(tenant->reconcile_requested_at, "2026-01-02T03:04:05Z");
    CHECK_TEXT(tenant->display_name, "Acme \"\xc3\x84\" Corporation");
    CHECK_TEXT(tenant->subdomain, "acme");
    CHECK_TEXT(tenant->tier, "premium");
    CHECK_INT(tenant->state, TENANT_SUSPENDED);
    CHECK_TEXT(tenant->owner.email, "admin@acme.com");
    CHECK_INT(tenant->owner.role, MEMBER_OWNER);
    CHECK_INT(tenant->member_count, 2);
    CHECK_TEXT(tenant->members[0].email, "dev@acme.com");
    CHECK_INT(tenant->members[0].role, MEMBER_MEMBER); /* absent: the least right */
    CHECK_TEXT(tenant->members[1].name, "");
    CHECK_INT(tenant->members[1].role, MEMBER_ADMIN);
    CHECK_INT(tenant->isolation, ISOLATION_SCHEMA);
    CHECK_TEXT(tenant->server, "primary");
    CHECK_INT(tenant->extension_count, 2);
    CHECK_TEXT(tenant->extensions[1], "citext");
    CHECK_TEXT(tenant->migrations, "");
    CHECK_INT(tenant->quota_count, 2);
    CHECK_TEXT(tenant->quotas[1].resource, "api_requests");
    CHECK_INT(tenant->quotas[1].limit, -1);
    CHECK_INT(tenant->billing_cycle, BILLING_ANNUAL);
    CHECK_INT(tenant->setting_count, 1);
    CHECK_TEXT(tenant->settings[0].value, "dark");
    CHECK_INT(tenant->deletion_policy, DELETION_DELETE);
    CHECK_INT(tenant->deletion_grace_days, 7);
    CHECK_INT(tenant->status.observed_generation, 2);
    CHECK_TEXT(tenant->status.tenant_id, "0b5e2a2e-1111-4222-8333-444455556666");
    CHECK_INT(tenant->status.place.isolation, ISOLATION_DATABASE);
    CHECK_TEXT(tenant->status.place.database, "tenant_acme");
    CHECK_TEXT(tenant->status.database_secret_name, "acme-database");
    CHECK_INT(tenant->status.schema_version, 1);
    CHECK_INT(tenant->status.quota_count, 1);
    CHECK_INT(tenant->status.quotas[0].used, 1);
    CHECK_INT(tenant->status.conditions.count, 2);
    CHECK(condition_is_true(&tenant->status.conditions, "Ready"));
    CHECK_INT(tenant->status.conditions.items[0].transition_s, 1767323046);
    CHECK_TEXT(tenant->status.conditions.items[1].reason, "Other");
}

static void tenant_is_read_whole(void **state)
{
    (void)state;
    AUTO(free) char *json = read_data("tenant_acme.json");
    AUTO(arena) struct arena arena = {0};
    struct tenant tenant;
    struct err err = {0};
    arena_init(&arena, 0);
    CHECK_OK(tenant_decode(str_from(json), &arena, &tenant, &err), &err);
    check_acme(&tenant);
}

static void record_holds_the_same_tenant_in_half_a_kilobyte(void **state)
{
    (void)state;
    AUTO(free) char *json = read_data("tenant_acme.json");
    AUTO(arena) struct arena arena = {0};
    arena_init(&arena, 0);
    struct cache *cache = cache_new(&tenant_codec);
    struct watch_handler handler = cache_watch_handler(cache);
    handler.replace_begin(handler.context);
    handler.replace_object(handler.context, str_from(json));
    handler.replace_end(handler.context, "5000");
    const struct record *record = cache_get(cache, "acme");
    CHECK_NOT_NULL(record);
    struct tenant tenant;
    tenant_unpack(record, &arena, &tenant);
    check_acme(&tenant);
    CHECK(record_payload(record).len <= 400);
    record_unref(record);
    cache_free(cache);
}

static void values_of_another_type_count_as_absent(void **state)
{
    (void)state;
    static const char *const odd[] = {
        "{\"metadata\":{\"name\":\"a\",\"uid\":\"u\"},\"spec\":{\"tier\":7,\"quotas\":[1],"
        "\"owner\":[]}}",
        "{\"metadata\":{\"name\":\"a\",\"uid\":\"u\"},\"spec\":{\"members\":{\"x\":1},\"state\":"
        "\"Nope\","
        "\"settings\":{\"a\":{},\"b\":\"c\"}}}",
        "{\"metadata\":{\"name\":\"a\",\"uid\":\"u\"},\"spec\":null,\"status\":\"x\"}",
    };
    for (size_t i = 0; i < ARRAY_COUNT(odd); i++) {
        AUTO(arena) struct arena arena = {0};
        struct tenant tenant;
        struct err err = {0};
        arena_init(&arena, 0);
        CHECK_OK(tenant_decode(str_from(odd[i]), &arena, &tenant, &err), &err);
        CHECK_TEXT(tenant.tier, "");
        CHECK_INT(tenant.state, TENANT_ACTIVE);
        CHECK_INT(tenant.member_count, 0);
        CHECK_INT(tenant.deletion_policy, DELETION_RETAIN);
        CHECK_INT(tenant.status.observed_generation, -1);
    }
}

static void what_is_no_object_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",   "[]",
        "{",  "{\"metadata\":{\"name\":\"a\"}}",
        "{}", "{\"metadata\":{\"name\":\"a\",\"uid\":\"u\"},\"spec\":{]}"};
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        AUTO(arena) struct arena arena = {0};
        struct tenant tenant;
        struct err err = {0};
        arena_init(&arena, 0);
        CHECK_FAILS(tenant_decode(str_from(bad[i]), &arena, &tenant, &err), &err, ERR_TERMINAL,
                    "InvalidObject");
    }
}

static void server_and_tier_have_their_defaults(void **state)
{
    (void)state;
    AUTO(arena) struct arena arena = {0};
    struct database_server server;
    struct tier tier;
    struct err err = {0};
    arena_init(&arena, 0);
    CHECK_OK(database_server_decode(
                 STR("{\"metadata\":{\"name\":\"p\",\"uid\":\"u\",\"labels\":{\"zone\":\"a\","
                     "\"tenantry.dev/in-use\":\"true\"}},\"spec\":{\"hosts\":[\"h1\",\"h2\"],"
                     "\"drift\":\"Warn\",\"capacity\":{\"tenants\":3}}}"),
                 &arena, &server, &err),
             &err);
    CHECK_INT(server.port, 5432);
    CHECK_TEXT(server.sslmode, "verify-full");
    CHECK_TEXT(server.maintenance_database, "postgres");
    CHECK(server.schedulable);
    CHECK(server.in_use_label);
    CHECK_INT(server.label_count, 2);
    CHECK_INT(server.host_count, 2);
    CHECK_INT(server.drift, DRIFT_WARN);
    CHECK_INT(server.capacity_tenants, 3);
    CHECK_OK(tier_decode(STR("{\"metadata\":{\"name\":\"t\",\"uid\":\"u\"},\"spec\":{\"quotas\":"
                             "{\"users\":5},\"database\":{\"statementTimeout\":\"1m30s\"}}}"),
                         &arena, &tier, &err),
             &err);
    CHECK_INT(tier.isolation, ISOLATION_DATABASE);
    CHECK_INT(tier.statement_timeout_ms, 90000);
    CHECK_TEXT(tier.price_monthly, "0");
    CHECK_INT(tier.quota_count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tenant_is_read_whole),
        cmocka_unit_test(record_holds_the_same_tenant_in_half_a_kilobyte),
        cmocka_unit_test(values_of_another_type_count_as_absent),
        cmocka_unit_test(what_is_no_object_is_refused),
        cmocka_unit_test(server_and_tier_have_their_defaults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
