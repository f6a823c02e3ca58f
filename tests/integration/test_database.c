/* A tenant's roles, database and schema on a real server: made once, healed when changed, never
 * another's; and not a write when nothing differs. */
#include "tests/check.h"
#include "tests/integration/database_fixture.h"
#include "tests/integration/postgres.h"

#include <pthread.h>
#include <stdatomic.h>

#include "controller/base/clock.h"
#include "reconcilers/database/servers_internal.h"
#include "reconcilers/database/steps.h"
#include "reconcilers/registry/steps.h"

/* ---- what stands ---- */

static void everything_of_the_contract_stands(void **state)
{
    AUTO(run) struct run run;
    const struct tenant tenant = fixture_tenant("acme-one", "uid-1");

    run_provision(&run, *state, &tenant);
    CHECK_TEXT(run.work.place.database, "tenant_acme_one");
    CHECK_INT(run.work.schema_version, 1);
    CHECK_INT(postgres_int(NULL, "SELECT count(*) FROM pg_roles WHERE NOT rolcanlogin AND rolname "
                                 "IN ('tenant_acme_one.owner', 'tenant_acme_one.rw', "
                                 "'tenant_acme_one.ro', 'tenant_acme_one.app')"),
              4);
    AUTO(free)
    char *mark = postgres_text(NULL, "SELECT shobj_description(oid, 'pg_database') "
                                     "FROM pg_database WHERE datname = 'tenant_acme_one'");
    AUTO(free) char *wanted = xasprintf("tenantry: tenant %s uid uid-1", run.work.tenant_id);
    CHECK_TEXT(mark, wanted);
    AUTO(free)
    char *acl = postgres_text(
        NULL, "SELECT string_agg(coalesce(r.rolname, 'PUBLIC') || '=' || privilege_type, ' ' "
              "ORDER BY r.rolname, privilege_type) FROM pg_database, aclexplode(datacl) "
              "LEFT JOIN pg_roles r ON r.oid = grantee WHERE datname = 'tenant_acme_one'");
    CHECK_TEXT(acl, "tenant_acme_one.app=TEMPORARY tenant_acme_one.owner=CONNECT "
                    "tenant_acme_one.owner=CREATE tenant_acme_one.owner=TEMPORARY "
                    "tenant_acme_one.ro=CONNECT tenant_acme_one.rw=CONNECT "
                    "tenantry_app=CONNECT tenantry_gateway=CONNECT");

    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("dbname=tenant_acme_one");
    AUTO(free)
    char *tables = postgres_text(
        conn, "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relkind = 'r' "
              "AND relnamespace = 'public'::regnamespace AND relrowsecurity AND "
              "relforcerowsecurity AND relowner = '\"tenant_acme_one.owner\"'::regrole");
    CHECK_TEXT(tables, "api_keys applications deployments users");
    AUTO(free)
    char *schemas = postgres_text(
        conn, "SELECT string_agg(format('%%s:%%s', nspname, pg_get_userbyid(nspowner)), ' ' "
              "ORDER BY nspname) FROM pg_namespace WHERE nspname IN ('public', 'app')");
    CHECK_TEXT(schemas, "app:tenant_acme_one.app public:tenant_acme_one.owner");
    CHECK_INT(postgres_int(conn, "SELECT count(*) FROM pg_policy"), 4);
    CHECK_INT(postgres_int(conn, "SELECT count(*) FROM pg_auth_members m WHERE m.roleid = "
                                 "'\"tenant_acme_one.owner\"'::regrole AND m.member <> "
                                 "'" FIXTURE_CONTROLLER "'::regrole"),
              0);
}

static void a_second_run_writes_nothing(void **state)
{
    AUTO(run) struct run first;
    AUTO(run) struct run second;
    const struct tenant tenant = fixture_tenant("acme-two", "uid-2");

    run_provision(&first, *state, &tenant);
    const struct quiet quiet_since = postgres_quiet_begin();
    run_again(&second, *state, &tenant);
    postgres_quiet_end(&quiet_since);
    CHECK_TEXT(first.work.tenant_id, second.work.tenant_id);
}

/* ---- servers ---- */

enum { THREADS = 6, ROUNDS = 30, FLIPS = 20, PATIENCE_MS = 20 * 1000 };

struct borrower {
    struct fixture *fixture;
    atomic_int failures;
};

static void *borrow_again_and_again(void *context)
{
    struct borrower *borrower = context;

    for (int i = 0; i < ROUNDS; i++) {
        AUTO(arena) struct arena arena;
        AUTO(server_loan) struct server_loan loan = {0};
        struct reconcile rc = {.arena = &arena, .key = "borrower"};
        struct err err = {0};
        AUTO(sql) struct sql query;
        arena_init(&arena, 0);
        sql_init(&query);
        SQL(&query, "SELECT 1");
        if (servers_borrow(borrower->fixture->services.servers, &rc, "primary",
                           i % 3 == 0 ? "registry_of_database_test" : NULL, &loan, &err) ||
            sql_query(loan.conn, &rc.call, &query, NULL, &err)) {
            atomic_fetch_add(&borrower->failures, 1);
        }
    }
    return NULL;
}

/* Each change of the object makes a new pool and guard, and the old ones go with their last loan.
 */
static void a_server_may_change_while_it_is_used(void **state)
{
    struct borrower borrower = {.fixture = *state};
    pthread_t threads[THREADS];

    for (int i = 0; i < THREADS; i++) {
        CHECK_INT(pthread_create(&threads[i], NULL, borrow_again_and_again, &borrower), 0);
    }
    for (int i = 0; i < FLIPS; i++) {
        fixture_set_drift(*state, i % 2 == 0 ? "Warn" : "Heal");
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK_INT(atomic_load(&borrower.failures), 0);
    postgres_wait("SELECT (count(*) <= 8)::int FROM pg_stat_activity WHERE usename = '%s' AND "
                  "datname = 'postgres'",
                  FIXTURE_CONTROLLER);
}

/* The administrator changes the role's password, then the Secret. */
static void a_changed_password_is_fetched_again(void **state)
{
    struct fixture *fixture = *state;
    AUTO(secret) struct secret verifier = {0};
    AUTO(sql) struct sql query;
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("");
    struct call call = {0};
    struct err err = {0};
    int64_t end_ms = clock_monotonic_ms() + PATIENCE_MS;
    int result = -1;

    secret_generate(&fixture->password, 24);
    CHECK_OK(sql_scram_verifier(conn, &fixture->password, &verifier, &err), &err);
    sql_init(&query);
    SQL(&query, "ALTER ROLE " FIXTURE_CONTROLLER " PASSWORD ");
    sql_literal_secret(&query, &verifier);
    CHECK_OK(sql_exec(conn, &call, &query, NULL, &err), &err);
    while (result && clock_monotonic_ms() < end_ms) {
        AUTO(arena) struct arena arena;
        AUTO(server_loan) struct server_loan loan = {0};
        struct reconcile rc = {.arena = &arena, .key = "login"};
        arena_init(&arena, 0);
        result = servers_borrow(fixture->services.servers, &rc, "primary",
                                "registry_of_database_test", &loan, &err);
        if (result) { /* what was read a second ago is not read again at once */
            CHECK_TEXT(err.reason, "DatabaseCredentials");
        }
    }
    CHECK_OK(result, &err);
}

/* Who gives credentials, as long as it can. */
struct giver {
    bool is_away;
    int asked;
};

static int give_while_there(void *context, const struct call *call,
                            const struct database_server *server, struct server_credentials *ret,
                            struct err *err)
{
    struct giver *giver = context;

    (void)call;
    (void)server;
    giver->asked++;
    if (giver->is_away) {
        return err_set(err, ERR_RETRY, "ConnectionFailed", "nobody is there");
    }
    ret->user = xstrdup("somebody");
    ret->ca_pem = xstrdup("who vouches");
    secret_set(&ret->password, STR("secret"));
    return 0;
}

/* With a thousand tenants, each health check would ask an API server that is away. */
static void who_cannot_give_credentials_is_asked_once_in_a_while(void **state)
{
    enum { AGE_MS = 20, TIMES = 50 };
    const struct fixture *fixture = *state;
    AUTO(arena) struct arena arena;
    struct giver giver = {0};
    struct server_endpoint endpoint;
    struct err err = {0};
    struct servers *servers =
        servers_new(NULL, fixture->services.database_servers, "tenantry-system", 1);

    arena_init(&arena, 0);
    servers_set_credentials(servers, give_while_there, &giver);
    servers_set_credentials_age(servers, AGE_MS, PATIENCE_MS);
    CHECK_OK(servers_endpoint(servers, NULL, &arena, "primary", &endpoint, &err), &err);
    giver.is_away = true;
    CHECK(cancel_sleep_ms(NULL, AGE_MS + 1));
    for (int i = 0; i < TIMES; i++) {
        CHECK_OK(servers_endpoint(servers, NULL, &arena, "primary", &endpoint, &err), &err);
        CHECK_TEXT(endpoint.ca_pem, "who vouches");
    }
    CHECK_INT(giver.asked, 2);

    /* And once it is there again and the while is over, it is asked as before. */
    giver.is_away = false;
    servers_set_credentials_age(servers, AGE_MS, 0);
    CHECK_OK(servers_endpoint(servers, NULL, &arena, "primary", &endpoint, &err), &err);
    CHECK_INT(giver.asked, 3);
    servers_free(servers);
}

static void an_unknown_server_is_named(void **state)
{
    const struct fixture *fixture = *state;
    AUTO(arena) struct arena arena;
    AUTO(server_loan) struct server_loan loan = {0};
    struct reconcile rc = {.arena = &arena, .key = "nobody"};
    struct err err = {0};

    arena_init(&arena, 0);
    CHECK_FAILS(servers_borrow(fixture->services.servers, &rc, "nowhere", NULL, &loan, &err), &err,
                ERR_RETRY, "ServerNotFound");
    CHECK_NOT_NULL(strstr(err.message, "\"nowhere\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_of_the_contract_stands),
        cmocka_unit_test(a_second_run_writes_nothing),
        cmocka_unit_test(a_server_may_change_while_it_is_used),
        cmocka_unit_test(who_cannot_give_credentials_is_asked_once_in_a_while),
        cmocka_unit_test(an_unknown_server_is_named),
        cmocka_unit_test(a_changed_password_is_fetched_again),
    };
    return cmocka_run_group_tests(tests, fixture_set_up, fixture_tear_down);
}
