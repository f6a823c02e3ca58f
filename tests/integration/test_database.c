/* A tenant's roles, database and schema on a real server: made once, healed when changed, never
 * another's; and not a write when nothing differs. */
#include "tests/check.h"
#include "tests/integration/database_fixture.h"
#include "tests/integration/postgres.h"

#include "reconcilers/database/schema_internal.h"
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_of_the_contract_stands),
        cmocka_unit_test(a_second_run_writes_nothing),
    };
    return cmocka_run_group_tests(tests, fixture_set_up, fixture_tear_down);
}
