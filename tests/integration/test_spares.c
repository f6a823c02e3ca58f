/* Databases made ahead: closed to everybody until they are a tenant's, given to one tenant and no
 * other, and finished, never doubled, after a crash at any point. */
#include "tests/check.h"
#include "tests/integration/database_fixture.h"
#include "tests/integration/postgres.h"

#include <pthread.h>

#include "controller/base/clock.h"
#include "reconcilers/database/spares.h"
#include "reconcilers/database/steps.h"
#include "reconcilers/model/codec.h"
#include "reconcilers/registry/steps.h"

enum { PATIENCE_MS = 60 * 1000, TENANTS = 6, QUICK = 600 };

/* ---- keeping them ---- */

static struct database_server *server_of(const struct fixture *fixture, struct arena *arena)
{
    AUTO(record)
    const struct record *record = cache_get(fixture->services.database_servers, "primary");
    struct database_server *server = ARENA_NEW(arena, struct database_server);
    database_server_unpack(record, arena, server);
    server->status_spares = 1; /* so that one is looked for when none is wanted */
    return server;
}

/* One run, as the controller of the server makes it. */
static int keep_once(const struct fixture *fixture, struct spares_state *ret, struct err *err)
{
    AUTO(arena) struct arena arena;
    AUTO(sql_conn) struct sql_conn *conn = fixture_connect(fixture, "postgres");
    struct call call = {0};

    arena_init(&arena, 0);
    return spares_keep(fixture->services.servers, conn, &call, &arena, server_of(fixture, &arena),
                       0, ret, err);
}

/* Until there is nothing left to do. */
static int64_t keep(const struct fixture *fixture)
{
    int64_t deadline_ms = clock_monotonic_ms() + PATIENCE_MS;
    struct spares_state spares = {0};
    struct err err = {0};

    do {
        CHECK(clock_monotonic_ms() < deadline_ms);
        CHECK_OK(keep_once(fixture, &spares, &err), &err);
    } while (spares.next_ms > 0);
    return spares.ready;
}

static int64_t count_ready(void)
{
    return postgres_int(NULL, "SELECT count(*) FROM pg_database WHERE datname LIKE "
                              "'tenantry\\_spare\\_%%' AND NOT datallowconn "
                              "AND shobj_description(oid, 'pg_database') = '" SPARE_MARK "'");
}

static int64_t oid_of(const char *database)
{
    return postgres_int(NULL,
                        "SELECT coalesce(max(oid::bigint), 0) FROM pg_database "
                        "WHERE datname = '%s'",
                        database);
}

static void start_with(struct fixture *fixture, int count)
{
    fixture_set_spares(fixture, 0, QUICK);
    (void)keep(fixture);
    fixture_set_spares(fixture, count, QUICK);
    CHECK_INT(keep(fixture), count);
    CHECK_INT(count_ready(), count);
}

/* ---- the tests ---- */

static void a_tenant_is_given_a_spare(void **state)
{
    struct fixture *fixture = *state;
    AUTO(run) struct run run;
    AUTO(run) struct run again;
    const struct tenant tenant = fixture_tenant("given", "uid-1");

    start_with(fixture, 1);
    int64_t oid = oid_of("tenantry_spare_1");
    run_provision(&run, fixture, &tenant);
    CHECK_INT(oid_of("tenant_given"), oid);
    CHECK_INT(count_ready(), 0);
    CHECK_INT(postgres_int(NULL,
                           "SELECT count(*) FROM pg_database WHERE datname = 'tenant_given' "
                           "AND datallowconn AND pg_get_userbyid(datdba) = "
                           "'tenant_given.owner' AND shobj_description(oid, 'pg_database') = "
                           "'tenantry: tenant %s uid uid-1'",
                           run.work.tenant_id),
              1);
    AUTO(free)
    char *grantees = postgres_text(
        NULL, "SELECT string_agg(DISTINCT coalesce(r.rolname, 'PUBLIC'), ' ') FROM pg_database, "
              "aclexplode(datacl) LEFT JOIN pg_roles r ON r.oid = grantee "
              "WHERE datname = 'tenant_given'");
    CHECK_TEXT(grantees, "tenant_given.app tenant_given.owner tenant_given.ro tenant_given.rw "
                         "tenantry_app tenantry_gateway");

    /* The next has none to take, and is made as ever. */
    AUTO(run) struct run next;
    const struct tenant other = fixture_tenant("made", "uid-2");
    run_provision(&next, fixture, &other);
    CHECK(oid_of("tenant_made") > 0);

    CHECK_INT(keep(fixture), 1);
    const struct quiet since = postgres_quiet_begin();
    run_again(&again, fixture, &tenant);
    CHECK_INT(keep(fixture), 1);
    postgres_quiet_end(&since);
}

static void nobody_gets_into_a_spare(void **state)
{
    struct fixture *fixture = *state;
    struct err err = {0};

    start_with(fixture, 1);
    struct sql_conn *conn = fixture_connect_as(fixture, "tenantry_spare_1", FIXTURE_CONTROLLER,
                                               secret_bytes(&fixture->password), &err);
    CHECK_NULL(conn);
    CHECK_NOT_NULL(strstr(err.message, "not currently accepting connections"));
    CHECK_INT(postgres_int(NULL, "SELECT count(*) FROM pg_database, aclexplode(datacl) WHERE "
                                 "datname = 'tenantry_spare_1' AND grantee = 0"),
              0);
}

/* Killed between two statements: what the next run finds leads to the same end. */
static void a_crash_leaves_no_debris(void **state)
{
    struct fixture *fixture = *state;
    AUTO(sql_conn) struct sql_conn *conn = fixture_connect(fixture, "postgres");

    start_with(fixture, 2);
    /* After CREATE DATABASE, before its mark. */
    postgres_run(NULL, "DROP DATABASE tenantry_spare_2");
    postgres_run(conn,
                 "CREATE DATABASE tenantry_spare_2 TEMPLATE template0 ALLOW_CONNECTIONS false");
    CHECK_INT(keep(fixture), 2);
    CHECK_INT(count_ready(), 2);
    CHECK_INT(postgres_int(NULL, "SELECT count(*) FROM pg_database, aclexplode(coalesce(datacl, "
                                 "acldefault('d', datdba))) WHERE datname LIKE "
                                 "'tenantry\\_spare\\_%%' AND grantee = 0"),
              0);
    /* In the middle of a DROP DATABASE. */
    postgres_run(NULL, "UPDATE pg_database SET datconnlimit = -2 WHERE datname = "
                       "'tenantry_spare_1'");
    CHECK_INT(keep(fixture), 2);
    CHECK_INT(postgres_int(NULL, "SELECT count(*) FROM pg_database WHERE datconnlimit = -2"), 0);
    /* While it is taken: the transaction that renames it does all the rest, or nothing. */
    int64_t oid = oid_of("tenantry_spare_1");
    postgres_run(conn, "BEGIN");
    postgres_run(conn, "ALTER DATABASE tenantry_spare_1 RENAME TO tenant_killed");
    postgres_run(NULL, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                       "WHERE state = 'idle in transaction'");
    postgres_wait("SELECT count(*) FROM pg_database WHERE datname = 'tenantry_spare_1' AND oid = "
                  "%lld AND NOT EXISTS (SELECT FROM pg_stat_activity WHERE state = "
                  "'idle in transaction')",
                  (long long)oid);
    CHECK_INT(keep(fixture), 2);
    CHECK_INT(oid_of("tenant_killed"), 0);
}

/* Somebody else's database of such a name is nobody's spare. */
static void what_is_not_ours_is_left_alone(void **state)
{
    struct fixture *fixture = *state;
    AUTO(run) struct run run;
    const struct tenant tenant = fixture_tenant("careful", "uid-3");

    start_with(fixture, 0);
    postgres_run(NULL,
                 "CREATE DATABASE tenantry_spare_1 TEMPLATE template0 ALLOW_CONNECTIONS false");
    postgres_run(NULL, "COMMENT ON DATABASE tenantry_spare_1 IS '" SPARE_MARK "'");
    int64_t oid = oid_of("tenantry_spare_1");
    fixture_set_spares(fixture, 1, QUICK);
    CHECK_INT(keep(fixture), 1);
    CHECK(oid_of("tenantry_spare_2") > 0);
    run_provision(&run, fixture, &tenant);
    fixture_set_spares(fixture, 0, QUICK);
    CHECK_INT(keep(fixture), 0);
    CHECK_INT(oid_of("tenantry_spare_1"), oid);
    CHECK_INT(oid_of("tenantry_spare_2"), 0);
    postgres_run(NULL, "DROP DATABASE tenantry_spare_1");
}

static void no_more_are_made_in_a_minute_than_asked_for(void **state)
{
    struct fixture *fixture = *state;
    struct spares_state first = {0};
    struct spares_state second = {0};
    struct err err = {0};

    start_with(fixture, 0);
    fixture_set_spares(fixture, 3, 1);
    CHECK_OK(keep_once(fixture, &first, &err), &err);
    CHECK_OK(keep_once(fixture, &second, &err), &err);
    CHECK_INT(first.ready, 1);
    CHECK_INT(first.next_ms, 60 * 1000);
    CHECK_INT(second.ready, 1);
    CHECK_INT(second.next_ms, 60 * 1000);
    fixture_set_spares(fixture, 3, QUICK);
    CHECK_INT(keep(fixture), 3);
}

struct racer {
    const struct fixture *fixture;
    char *name;
    int failed;
};

/* As the queue would: a conflict is tried again at once. */
static void *provision(void *context)
{
    struct racer *racer = context;
    int64_t deadline_ms = clock_monotonic_ms() + PATIENCE_MS;
    const struct tenant tenant = fixture_tenant(racer->name, racer->name);
    int result = -1;

    while (result && clock_monotonic_ms() < deadline_ms) {
        AUTO(run) struct run run;
        run_init(&run, racer->fixture, &tenant);
        result = record_ensure(&run.rc, &run.work, &run.err) ||
                 database_ensure(&run.rc, &run.work, &run.err) ||
                 schema_ensure(&run.rc, &run.work, &run.err);
    }
    racer->failed = result;
    return NULL;
}

/* More come at once than there are spares: each gets a database of its own. */
static void no_spare_is_given_twice(void **state)
{
    struct fixture *fixture = *state;
    struct racer racers[TENANTS];
    pthread_t threads[TENANTS];

    start_with(fixture, TENANTS / 2);
    for (int i = 0; i < TENANTS; i++) {
        racers[i] = (struct racer){.fixture = fixture, .name = xasprintf("racer-%d", i)};
        CHECK_INT(pthread_create(&threads[i], NULL, provision, &racers[i]), 0);
    }
    for (int i = 0; i < TENANTS; i++) {
        pthread_join(threads[i], NULL);
        CHECK_INT(racers[i].failed, 0);
        free(racers[i].name);
    }
    CHECK_INT(count_ready(), 0);
    CHECK_INT(postgres_int(NULL, "SELECT count(*) FROM pg_database WHERE datname LIKE "
                                 "'tenant\\_racer\\_%%' AND pg_get_userbyid(datdba) = datname || "
                                 "'.owner'"),
              TENANTS);
    CHECK_INT(postgres_int(NULL, "SELECT count(*) FROM pg_database WHERE datname LIKE "
                                 "'tenantry\\_spare\\_%%'"),
              0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tenant_is_given_a_spare),
        cmocka_unit_test(nobody_gets_into_a_spare),
        cmocka_unit_test(a_crash_leaves_no_debris),
        cmocka_unit_test(what_is_not_ours_is_left_alone),
        cmocka_unit_test(no_more_are_made_in_a_minute_than_asked_for),
        cmocka_unit_test(no_spare_is_given_twice),
    };
    return cmocka_run_group_tests(tests, fixture_set_up, fixture_tear_down);
}
