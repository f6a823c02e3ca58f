#include "tests/integration/database_fixture.h"

#include "reconcilers/database/login_internal.h"
#include "reconcilers/database/servers_internal.h"
#include "reconcilers/database/steps.h"
#include "reconcilers/model/codec.h"
#include "reconcilers/registry/steps.h"
#include "tests/check.h"
#include "tests/integration/postgres.h"

enum {
    CONNECTIONS = 8,
    PASSWORD_CHARACTERS = 24,
    CA_MAX_BYTES = 64 * 1024,
    OBJECT_MAX_BYTES = 256 * 1024,
    NOBODYS_PORT = 1
};

static const struct quota small_quotas[] = {{"api_requests", 1000}, {"users", 5}};
const struct tier tier_small = {
    .name = "small",
    .quotas = small_quotas,
    .quota_count = ARRAY_COUNT(small_quotas),
    .price_monthly = "0",
    .price_annual = "",
    .connection_limit = 5,
    .statement_timeout_ms = 10000,
    .idle_in_transaction_timeout_ms = 60000,
};

/* ---- the server ---- */

#define HOST "127.0.0.1"

/* What an earlier run left. */
static void drop_tenants(void)
{
    for (;;) {
        AUTO(free)
        char *name = postgres_text(
            NULL, "SELECT quote_ident(datname) FROM pg_database WHERE datname LIKE 'tenant\\_%%' "
                  "OR datname LIKE 'tenantry\\_spare\\_%%' "
                  "OR datname = 'tenantry_shared'");
        if (!*name) {
            break;
        }
        postgres_run(NULL, "DROP DATABASE %s WITH (FORCE)", name);
    }
    postgres_run(NULL, "DO $$ DECLARE r text; BEGIN FOR r IN SELECT rolname FROM pg_roles WHERE "
                       "rolname LIKE 'tenant%%\\_%%.%%' OR rolname = 'tenantry_shared' LOOP "
                       "EXECUTE format('DROP OWNED BY %%I', r); "
                       "EXECUTE format('DROP ROLE %%I', r); END LOOP; END $$");
}

static void make_controller(struct fixture *fixture)
{
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("");
    AUTO(secret) struct secret verifier = {0};
    AUTO(sql) struct sql query = {0};
    struct call call = {0};
    struct err err = {0};

    postgres_run(conn, "DROP DATABASE IF EXISTS registry_of_database_test WITH (FORCE)");
    if (postgres_int(conn, "SELECT count(*) FROM pg_roles WHERE rolname = '%s'",
                     FIXTURE_CONTROLLER) == 0) {
        postgres_run(conn, "CREATE ROLE %s LOGIN CREATEDB CREATEROLE", FIXTURE_CONTROLLER);
    }
    postgres_run(conn, "GRANT pg_signal_backend, pg_read_all_stats TO %s", FIXTURE_CONTROLLER);
    secret_generate(&fixture->password, PASSWORD_CHARACTERS);
    CHECK_OK(sql_scram_verifier(conn, &fixture->password, &verifier, &err), &err);
    sql_init(&query);
    SQL(&query, "ALTER ROLE " FIXTURE_CONTROLLER " PASSWORD ");
    sql_literal_secret(&query, &verifier);
    CHECK_OK(sql_exec(conn, &call, &query, NULL, &err), &err);
    postgres_run(conn, "CREATE DATABASE registry_of_database_test OWNER %s TEMPLATE template0",
                 FIXTURE_CONTROLLER);
    postgres_run(conn, "REVOKE CONNECT, TEMPORARY ON DATABASE postgres, template1 FROM PUBLIC");
    postgres_run(conn, "GRANT CONNECT ON DATABASE postgres TO %s", FIXTURE_CONTROLLER);
}

/* The port is all of the fixture's URI that the DatabaseServer does not know by itself. */
static long server_port(void)
{
    const char *uri = getenv("TENANTRY_SERVER_URL");
    const char *colon = strrchr(uri ? uri : "", ':');

    CHECK_NOT_NULL(colon);
    return strtol(colon + 1, NULL, 10);
}

static void feed_server(struct fixture *fixture, const char *host, long port, const char *drift,
                        const char *more)
{
    static int generation;
    AUTO(buf) struct buf json = BUF(OBJECT_MAX_BYTES);
    struct watch_handler handler = cache_watch_handler(fixture->services.database_servers);

    generation++;
    (void)buf_printf(&json,
                     "{\"metadata\":{\"name\":\"primary\",\"uid\":\"u-1\",\"generation\":%d,"
                     "\"resourceVersion\":\"%d\"},\"spec\":{\"hosts\":[\"%s\"],"
                     "\"port\":%ld,\"sslmode\":\"verify-full\",\"drift\":\"%s\"%s,\"caBundle\":",
                     generation, generation, host, port, drift, more);
    (void)buf_append_json(&json, str_from(secret_bytes(&fixture->ca_pem)));
    CHECK(buf_append_text(&json, ",\"credentialsSecretRef\":{\"name\":\"unused\"}}}"));
    handler.replace_begin(handler.context);
    handler.replace_object(handler.context, buf_str(&json));
    handler.replace_end(handler.context, "99");
}

static int give_credentials(void *context, const struct call *call,
                            const struct database_server *server, struct server_credentials *ret,
                            struct err *err)
{
    const struct fixture *fixture = context;

    (void)call;
    (void)err;
    ret->user = xstrdup(FIXTURE_CONTROLLER);
    ret->ca_pem = xstrdup(server->ca_bundle);
    secret_copy(&ret->password, &fixture->password);
    return 0;
}

static struct cache *empty(const struct codec *codec)
{
    struct cache *cache = cache_new(codec);
    struct watch_handler handler = cache_watch_handler(cache);

    handler.replace_begin(handler.context);
    handler.replace_end(handler.context, "9");
    return cache;
}

static void make_registry(struct fixture *fixture)
{
    AUTO(secret) struct secret uri = {0};
    AUTO(buf) struct buf more = BUF(200);
    struct call call = {0};
    struct err err = {0};

    CHECK(buf_printf(&more, "dbname=registry_of_database_test&user=%s&password=%s",
                     FIXTURE_CONTROLLER, secret_bytes(&fixture->password)));
    postgres_uri(&uri, buf_text(&more));
    fixture->services.registry = registry_new(&uri, CONNECTIONS);
    CHECK_OK(registry_migrate(fixture->services.registry, &call, &err), &err);
}

int fixture_set_up(void **state)
{
    struct fixture *fixture = xcalloc(1, sizeof(*fixture));
    const char *ca = getenv("TENANTRY_SERVER_CA");
    struct err err = {0};

    drop_tenants();
    make_controller(fixture);
    CHECK_NOT_NULL(ca);
    CHECK_OK(secret_read_file(&fixture->ca_pem, ca, CA_MAX_BYTES, &err), &err);
    fixture->services = (struct services){
        .tenants = empty(&tenant_codec),
        .tiers = empty(&tier_codec),
        .database_servers = empty(&database_server_codec),
        .system_namespace = "tenantry-system",
        .domain = "tenants.localhost",
    };
    make_registry(fixture);
    feed_server(fixture, HOST, server_port(), "Heal", "");
    fixture->services.servers =
        servers_new(NULL, fixture->services.database_servers, "tenantry-system", CONNECTIONS);
    servers_set_credentials(fixture->services.servers, give_credentials, fixture);
    *state = fixture;
    return 0;
}

int fixture_tear_down(void **state)
{
    struct fixture *fixture = *state;

    servers_free(fixture->services.servers);
    registry_free(fixture->services.registry);
    cache_free(fixture->services.tenants);
    cache_free(fixture->services.tiers);
    cache_free(fixture->services.database_servers);
    secret_release(&fixture->password);
    secret_release(&fixture->ca_pem);
    free(fixture);
    drop_tenants();
    postgres_run(NULL, "DROP DATABASE registry_of_database_test WITH (FORCE)");
    postgres_done();
    return 0;
}

void fixture_set_drift(struct fixture *fixture, const char *drift)
{
    feed_server(fixture, HOST, server_port(), drift, "");
}

void fixture_lose_server(struct fixture *fixture)
{
    feed_server(fixture, HOST, NOBODYS_PORT, "Heal", "");
}

void fixture_set_host(struct fixture *fixture, const char *host)
{
    feed_server(fixture, host, server_port(), "Heal", "");
}

void fixture_set_spares(struct fixture *fixture, int count, int per_minute)
{
    AUTO(free)
    char *spec =
        xasprintf(",\"spareDatabases\":{\"count\":%d,\"perMinute\":%d}", count, per_minute);
    feed_server(fixture, HOST, server_port(), "Heal", spec);
}

struct sql_conn *fixture_connect_as(const struct fixture *fixture, const char *database,
                                    const char *user, const char *password, struct err *err)
{
    AUTO(secret) struct secret word = {0};
    static const char *const hosts[] = {"127.0.0.1"};
    struct sql_conn *conn = NULL;
    struct call call = {0};

    secret_set(&word, str_from(password));
    const struct sql_target target = {
        .hosts = hosts,
        .host_count = 1,
        .port = (int)server_port(),
        .database = database,
        .user = user,
        .password = &word,
        .sslmode = "verify-full",
        .ca_pem = secret_bytes(&fixture->ca_pem),
    };
    return sql_connect(&call, &target, &conn, err) ? NULL : conn;
}

struct sql_conn *fixture_connect(const struct fixture *fixture, const char *database)
{
    struct err err = {0};
    struct sql_conn *conn = fixture_connect_as(fixture, database, FIXTURE_CONTROLLER,
                                               secret_bytes(&fixture->password), &err);

    if (!conn) {
        fail_msg("cannot connect: %s", err.message);
    }
    return conn;
}

/* ---- tenants and runs ---- */

struct tenant fixture_tenant(const char *name, const char *uid)
{
    return (struct tenant){
        .name = name,
        .uid = uid,
        .display_name = "",
        .subdomain = name,
        .tier = "small",
        .adopt = "",
        .erase_members = "",
        .rotate_requested_at = "",
        .server = "",
        .owner = {.email = "admin@acme.com", .name = "Acme Admin", .role = MEMBER_OWNER},
    };
}

void run_init(struct run *run, const struct fixture *fixture, const struct tenant *tenant)
{
    *run = (struct run){
        .rc = {.key = tenant->name},
        .tenant = *tenant,
        .work = {.services = &fixture->services, .tier = &tier_small},
    };
    arena_init(&run->arena, 0);
    run->rc.arena = &run->arena;
    run->work.tenant = &run->tenant;
}

void run_release(struct run *run)
{
    secret_release(&run->work.owner_password);
    secret_release(&run->work.owner_hash);
    arena_release(&run->arena);
}

static void provision(struct run *run)
{
    CHECK_OK(record_ensure(&run->rc, &run->work, &run->err), &run->err);
    CHECK_OK(database_ensure(&run->rc, &run->work, &run->err), &run->err);
    CHECK_OK(schema_ensure(&run->rc, &run->work, &run->err), &run->err);
}

void run_provision(struct run *run, const struct fixture *fixture, const struct tenant *tenant)
{
    run_init(run, fixture, tenant);
    provision(run);
}

void run_again(struct run *run, const struct fixture *fixture, const struct tenant *tenant)
{
    run_init(run, fixture, tenant);
    run->tenant.status.schema_version = 1;
    provision(run);
}

void run_make_login(struct run *run, const struct fixture *fixture, const char *password)
{
    AUTO(sql_conn) struct sql_conn *conn = fixture_connect(fixture, "postgres");
    AUTO(secret) struct secret word = {0};
    struct scope scope;
    struct seen seen;
    struct login_plan plan;
    const struct login_wanted wanted = {
        .slot = ROLE_A,
        .enabled = true,
        .limits_known = true,
        .connection_limit = tier_small.connection_limit,
        .database_limit = -1,
        .statement_timeout_ms = tier_small.statement_timeout_ms,
        .idle_in_transaction_timeout_ms = tier_small.idle_in_transaction_timeout_ms,
    };

    scope_init(&scope, &run->arena, &run->work);
    secret_set(&word, str_from(password));
    CHECK_OK(database_observe(conn, &run->rc.call, &run->arena, &scope, &seen, &run->err),
             &run->err);
    login_plan(&run->arena, &scope, &seen, &wanted, false, &plan);
    CHECK_OK(
        login_execute(conn, &run->rc.call, &run->arena, &scope, &wanted, &plan, &word, &run->err),
        &run->err);
}

int run_delete(struct run *run, const struct fixture *fixture, const struct tenant *tenant,
               enum deletion_policy policy)
{
    run_init(run, fixture, tenant);
    run->tenant.deleting = true;
    run->work.tier = NULL;
    run->work.deletion_policy = policy;
    run->work.retain_reason = "";
    if (database_finalize(&run->rc, &run->work, &run->err)) {
        return -1;
    }
    return record_finalize(&run->rc, &run->work, &run->err);
}
