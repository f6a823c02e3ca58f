#include "tests/integration/registry_fixture.h"

#include "reconcilers/model/codec.h"
#include "reconcilers/registry/steps.h"
#include "tests/check.h"
#include "tests/integration/postgres.h"

enum { CONNECTIONS = 8, PASSWORD_CHARACTERS = 24 };

static const struct quota premium_quotas[] = {
    {"api_requests", 10000}, {"compute_hours", 10}, {"sandboxes", 5},
    {"storage_mb", 1000},    {"users", 5},
};
static const struct quota free_quotas[] = {
    {"api_requests", 1000}, {"compute_hours", 1}, {"sandboxes", 1},
    {"storage_mb", 100},    {"users", 1},
};
static const struct text_pair tiny_labels[] = {{"size", "small"}};
static const struct text_pair usual_labels[] = {{"size", "usual"}};

const struct tier tier_premium = {
    .name = "premium",
    .quotas = premium_quotas,
    .quota_count = ARRAY_COUNT(premium_quotas),
    .price_monthly = "49",
    .price_annual = "",
    .suspend_after_days = -1,
    .placement_labels = usual_labels,
    .placement_label_count = 1,
};
const struct tier tier_free = {
    .name = "free",
    .quotas = free_quotas,
    .quota_count = ARRAY_COUNT(free_quotas),
    .price_monthly = "0",
    .price_annual = "",
    .suspend_after_days = -1,
    .placement_labels = usual_labels,
    .placement_label_count = 1,
};
const struct tier tier_tiny = {
    .name = "tiny",
    .quotas = free_quotas,
    .quota_count = ARRAY_COUNT(free_quotas),
    .price_monthly = "9.99",
    .price_annual = "100",
    .suspend_after_days = -1,
    .placement_labels = tiny_labels,
    .placement_label_count = 1,
};

static const char *const servers[] = {
    "{\"metadata\":{\"name\":\"primary\",\"uid\":\"u-1\",\"resourceVersion\":\"1\","
    "\"labels\":{\"size\":\"usual\"}},\"spec\":{\"hosts\":[\"127.0.0.1\"]}}",
    "{\"metadata\":{\"name\":\"small\",\"uid\":\"u-2\",\"resourceVersion\":\"1\","
    "\"labels\":{\"size\":\"small\"}},\"spec\":{\"hosts\":[\"127.0.0.1\"],"
    "\"capacity\":{\"tenants\":3}}}",
};

static struct secret password;

static struct cache *fill(const struct codec *codec, const char *const *objects, size_t count)
{
    struct cache *cache = cache_new(codec);
    struct watch_handler handler = cache_watch_handler(cache);

    handler.replace_begin(handler.context);
    for (size_t i = 0; i < count; i++) {
        handler.replace_object(handler.context, str_from(objects[i]));
    }
    handler.replace_end(handler.context, "9");
    return cache;
}

static void make_role_and_database(void)
{
    AUTO(secret) struct secret verifier = {0};
    AUTO(sql) struct sql query = {0};
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("");
    struct call call = {0};
    struct err err = {0};

    postgres_run(conn, "DROP DATABASE IF EXISTS registry_test WITH (FORCE)");
    postgres_run(conn, "DROP ROLE IF EXISTS registry_test");
    secret_generate(&password, PASSWORD_CHARACTERS);
    CHECK_OK(sql_scram_verifier(conn, &password, &verifier, &err), &err);
    sql_init(&query);
    SQL(&query, "CREATE ROLE registry_test LOGIN NOSUPERUSER PASSWORD ");
    sql_literal_secret(&query, &verifier);
    CHECK_OK(sql_exec(conn, &call, &query, NULL, &err), &err);
    postgres_run(conn, "CREATE DATABASE registry_test OWNER registry_test TEMPLATE template0");
}

int fixture_make(void **state)
{
    AUTO(secret) struct secret uri = {0};
    struct call call = {0};
    struct err err = {0};

    (void)state;
    make_role_and_database();
    fixture_uri(&uri);
    struct registry *registry = registry_new(&uri, 1);
    CHECK_OK(registry_migrate(registry, &call, &err), &err);
    registry_free(registry);
    return 0;
}

int fixture_remove(void **state)
{
    (void)state;
    postgres_run(NULL, "DROP DATABASE registry_test WITH (FORCE)");
    postgres_run(NULL, "DROP ROLE registry_test");
    postgres_done();
    secret_release(&password);
    return 0;
}

void fixture_uri(struct secret *ret)
{
    AUTO(buf) struct buf more = BUF(200);

    CHECK(buf_printf(&more, "dbname=registry_test&user=registry_test&password=%s",
                     secret_bytes(&password)));
    postgres_uri(ret, buf_text(&more));
}

void fixture_empty(struct sql_conn *conn)
{
    /* The usage ledger refuses even that, but to a superuser who asks twice. */
    postgres_run(conn, "SET session_replication_role = replica; "
                       "TRUNCATE public.tenants, public.server_loads CASCADE; "
                       "RESET session_replication_role");
}

int fixture_set_up(void **state)
{
    struct fixture *fixture = xcalloc(1, sizeof(*fixture));
    AUTO(secret) struct secret uri = {0};

    fixture_uri(&uri);
    fixture->services = (struct services){
        .registry = registry_new(&uri, CONNECTIONS),
        .tenants = fill(&tenant_codec, NULL, 0),
        .tiers = fill(&tier_codec, NULL, 0),
        .database_servers = fill(&database_server_codec, servers, ARRAY_COUNT(servers)),
        .system_namespace = "tenantry-system",
        .domain = "tenants.localhost",
    };
    fixture->conn = postgres_connect("dbname=registry_test");
    fixture_empty(fixture->conn);
    *state = fixture;
    return 0;
}

int fixture_tear_down(void **state)
{
    struct fixture *fixture = *state;

    sql_close(fixture->conn);
    registry_free(fixture->services.registry);
    cache_free(fixture->services.tenants);
    cache_free(fixture->services.tiers);
    cache_free(fixture->services.database_servers);
    free(fixture);
    return 0;
}

struct tenant fixture_tenant(const char *name, const char *uid)
{
    return (struct tenant){
        .name = name,
        .uid = uid,
        .display_name = "",
        .subdomain = name,
        .tier = "premium",
        .adopt = "",
        .erase_members = "",
        .server = "",
        .owner = {.email = "admin@acme.com", .name = "Acme Admin", .role = MEMBER_OWNER},
    };
}

void run_init(struct run *run, const struct fixture *fixture, const struct tenant *tenant,
              const struct tier *tier)
{
    *run = (struct run){
        .rc = {.key = tenant->name},
        .work = {.services = &fixture->services, .tier = tier},
    };
    arena_init(&run->arena, 0);
    run->rc.arena = &run->arena;
    struct tenant *own = ARENA_NEW(&run->arena, struct tenant);
    *own = *tenant;
    run->work.tenant = own;
}

void run_release(struct run *run)
{
    arena_release(&run->arena);
}

void run_record(struct run *run, const struct fixture *fixture, const struct tenant *tenant,
                const struct tier *tier)
{
    run_init(run, fixture, tenant, tier);
    CHECK_OK(record_ensure(&run->rc, &run->work, &run->err), &run->err);
}
