/* Whatever somebody changes about a tenant's roles, database or schema is put right by the next
 * look, and the look after that writes nothing. */
#include "tests/check.h"
#include "tests/integration/database_fixture.h"
#include "tests/integration/postgres.h"

#include "reconcilers/database/steps.h"
#include "reconcilers/registry/steps.h"

/* Statements of a superuser about tenant "drift". */
enum place {
    OUTSIDE, /* in the maintenance database */
    /* There too. What a superuser granted, only a superuser can revoke since PostgreSQL 16; until
     * then CREATEROLE could. */
    SUPERUSERS_GRANT,
    INSIDE, /* in the tenant's database */
};
struct drift {
    const char *what;
    enum place place;
    const char *harm;
    const char *probe; /* 0 = as it should be; run in the same place */
};

#define OWNER "\"tenant_drift.owner\""
#define RW "\"tenant_drift.rw\""
#define RO "\"tenant_drift.ro\""
#define APP "\"tenant_drift.app\""
#define LOGIN "\"tenant_drift.a\""
#define HAS_ACL(grantee, privilege)                                                                \
    "SELECT count(*) FROM pg_database, aclexplode(datacl) WHERE datname = 'tenant_drift' AND "     \
    "grantee = " grantee " AND privilege_type = '" privilege "'"
#define LACKS_ACL(grantee, privilege)                                                              \
    "SELECT 1 - count(*) FROM pg_database, aclexplode(datacl) WHERE datname = 'tenant_drift' AND " \
    "grantee = " grantee " AND privilege_type = '" privilege "'"
#define ROLE_HAS(condition)                                                                        \
    "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'tenant\\_drift.%' AND " condition
#define IS_MEMBER(role, member)                                                                    \
    "SELECT count(*) FROM pg_auth_members WHERE roleid = '" role "'::regrole AND member = "        \
    "'" member "'::regrole"
#define OF_DATABASE(condition)                                                                     \
    "SELECT count(*) FROM pg_database WHERE datname = 'tenant_drift' AND " condition

static const struct drift drifts[] = {
    {"PUBLIC may connect", OUTSIDE, "GRANT CONNECT ON DATABASE tenant_drift TO PUBLIC",
     HAS_ACL("0", "CONNECT")},
    {"a stranger may connect", OUTSIDE, "GRANT CONNECT ON DATABASE tenant_drift TO drift_stranger",
     HAS_ACL("'drift_stranger'::regrole", "CONNECT")},
    {"rw may create schemas", OUTSIDE, "GRANT CREATE ON DATABASE tenant_drift TO " RW,
     HAS_ACL("'" RW "'::regrole", "CREATE")},
    {"rw may pass CONNECT on", OUTSIDE,
     "GRANT CONNECT ON DATABASE tenant_drift TO " RW " WITH GRANT OPTION",
     "SELECT count(*) FROM pg_database, aclexplode(datacl) WHERE datname = 'tenant_drift' AND "
     "is_grantable"},
    {"rw may not connect", OUTSIDE, "REVOKE CONNECT ON DATABASE tenant_drift FROM " RW,
     LACKS_ACL("'" RW "'::regrole", "CONNECT")},
    {"the gateway may not connect", OUTSIDE,
     "REVOKE CONNECT ON DATABASE tenant_drift FROM tenantry_gateway",
     LACKS_ACL("'tenantry_gateway'::regrole", "CONNECT")},
    {"a group role logs in", OUTSIDE, "ALTER ROLE " RW " LOGIN",
     ROLE_HAS("rolcanlogin AND rolname LIKE '%.rw'")},
    {"roles with rights", OUTSIDE,
     "ALTER ROLE " OWNER " CREATEDB CREATEROLE; ALTER ROLE " LOGIN " CREATEDB",
     ROLE_HAS("(rolcreatedb OR rolcreaterole)")},
    {"a role that does not inherit", OUTSIDE, "ALTER ROLE " APP " NOINHERIT",
     ROLE_HAS("NOT rolinherit")},
    {"a login that expired", OUTSIDE, "ALTER ROLE " LOGIN " VALID UNTIL '2001-01-01'",
     ROLE_HAS("rolvaliduntil < now()")},
    {"the login is a member of owner", SUPERUSERS_GRANT, "GRANT " OWNER " TO " LOGIN,
     IS_MEMBER(OWNER, LOGIN)},
    {"the login is a member of owner, by the controller's own grant", OUTSIDE,
     "SET ROLE " FIXTURE_CONTROLLER "; GRANT " OWNER " TO " LOGIN "; RESET ROLE",
     IS_MEMBER(OWNER, LOGIN)},
    {"the login reaches owner by another role", SUPERUSERS_GRANT,
     "GRANT " OWNER " TO drift_stranger; GRANT drift_stranger TO " LOGIN,
     "SELECT pg_has_role('tenant_drift.a', 'tenant_drift.owner', 'MEMBER')::int"},
    {"the login reads everything", SUPERUSERS_GRANT, "GRANT pg_read_all_data TO " APP,
     IS_MEMBER("pg_read_all_data", APP)},
    {"app is no member of rw", OUTSIDE,
     "SET ROLE " FIXTURE_CONTROLLER "; REVOKE " RW " FROM " APP "; RESET ROLE",
     "SELECT 1 - (" IS_MEMBER(RW, APP) ")"},
    {"app may pass rw on", SUPERUSERS_GRANT, "GRANT " RW " TO " APP " WITH ADMIN OPTION",
     "SELECT count(*) FROM pg_auth_members WHERE admin_option AND member = '" APP "'::regrole"},
    {"the controller is no member of owner", OUTSIDE,
     "SET ROLE " FIXTURE_CONTROLLER "; REVOKE " OWNER " FROM " FIXTURE_CONTROLLER "; RESET ROLE",
     "SELECT (NOT pg_has_role('" FIXTURE_CONTROLLER "', 'tenant_drift.owner', 'USAGE'))::int"},
    {"the database lost its mark", OUTSIDE, "COMMENT ON DATABASE tenant_drift IS NULL",
     OF_DATABASE("shobj_description(oid, 'pg_database') IS NULL")},
    {"the owner role lost its mark", OUTSIDE, "COMMENT ON ROLE " OWNER " IS NULL",
     ROLE_HAS("shobj_description(oid, 'pg_authid') IS NULL")},
    {"a group role lost its mark", OUTSIDE, "COMMENT ON ROLE " RO " IS NULL",
     ROLE_HAS("shobj_description(oid, 'pg_authid') IS NULL")},
    {"the database is closed", OUTSIDE, "ALTER DATABASE tenant_drift ALLOW_CONNECTIONS false",
     OF_DATABASE("NOT datallowconn")},
    {"the database has another owner", OUTSIDE,
     "ALTER DATABASE tenant_drift OWNER TO drift_stranger",
     OF_DATABASE("pg_get_userbyid(datdba) <> 'tenant_drift.owner'")},
    {"a role is gone", INSIDE, "DROP OWNED BY " RO "; DROP ROLE " RO,
     "SELECT 1 - count(*) FROM pg_roles WHERE rolname = 'tenant_drift.ro'"},
    {"a drop was interrupted", OUTSIDE,
     "UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'tenant_drift'",
     OF_DATABASE("datconnlimit = -2")},
    {"the database is gone", OUTSIDE, "DROP DATABASE tenant_drift WITH (FORCE)",
     "SELECT 1 - count(*) FROM pg_database WHERE datname = 'tenant_drift'"},

    {"a table is gone", INSIDE, "DROP TABLE users CASCADE",
     "SELECT (to_regclass('users') IS NULL OR NOT EXISTS (SELECT FROM pg_constraint WHERE conname "
     "= 'applications_user_id_fkey'))::int"},
    {"all tables are gone", INSIDE, "DROP TABLE users, applications, deployments, api_keys CASCADE",
     "SELECT 4 - count(*) FROM pg_policy"},
    {"the schema is gone", INSIDE, "DROP SCHEMA public CASCADE",
     "SELECT (to_regnamespace('public') IS NULL)::int"},
    {"row-level security is off", INSIDE, "ALTER TABLE users DISABLE ROW LEVEL SECURITY",
     "SELECT count(*) FROM pg_class WHERE relname = 'users' AND NOT relrowsecurity"},
    {"row-level security is not forced", INSIDE, "ALTER TABLE api_keys NO FORCE ROW LEVEL SECURITY",
     "SELECT count(*) FROM pg_class WHERE relname = 'api_keys' AND NOT relforcerowsecurity"},
    {"a policy is gone", INSIDE, "DROP POLICY tenant ON deployments",
     "SELECT 4 - count(*) FROM pg_policy"},
    {"a policy more", INSIDE, "CREATE POLICY all_of_it ON users USING (true)",
     "SELECT count(*) - 4 FROM pg_policy"},
    {"a policy lets all through", INSIDE, "ALTER POLICY tenant ON users USING (true)",
     "SELECT count(*) FROM pg_policy WHERE pg_get_expr(polqual, polrelid) = 'true'"},
    {"a policy for one role", INSIDE, "ALTER POLICY tenant ON users TO " RW,
     "SELECT count(*) FROM pg_policy WHERE polroles <> '{0}'"},
    {"PUBLIC reads a table", INSIDE, "GRANT SELECT ON users TO PUBLIC",
     "SELECT count(*) FROM pg_class, aclexplode(relacl) WHERE relname = 'users' AND grantee = 0"},
    {"PUBLIC reads a column", INSIDE, "GRANT SELECT (email) ON users TO PUBLIC",
     "SELECT count(*) FROM pg_attribute WHERE attrelid = 'users'::regclass AND attacl IS NOT NULL"},
    {"rw may truncate", INSIDE, "GRANT TRUNCATE ON users TO " RW,
     "SELECT has_table_privilege('tenant_drift.rw', 'users', 'TRUNCATE')::int"},
    {"rw may not insert", INSIDE, "REVOKE INSERT ON users FROM " RW,
     "SELECT (NOT has_table_privilege('tenant_drift.rw', 'users', 'INSERT'))::int"},
    {"the owner may not read", INSIDE, "REVOKE ALL ON users FROM " OWNER,
     "SELECT (NOT has_table_privilege('tenant_drift.owner', 'users', 'SELECT'))::int"},
    {"a table has another owner", INSIDE, "ALTER TABLE users OWNER TO drift_stranger",
     "SELECT count(*) FROM pg_class WHERE relname = 'users' AND pg_get_userbyid(relowner) <> "
     "'tenant_drift.owner'"},
    {"a column is gone", INSIDE, "ALTER TABLE applications DROP COLUMN description",
     "SELECT 1 - count(*) FROM pg_attribute WHERE attrelid = 'applications'::regclass AND attname "
     "= 'description' AND NOT attisdropped"},
    {"a primary key's column is gone", INSIDE, "ALTER TABLE deployments DROP COLUMN id",
     "SELECT 1 - count(*) FROM pg_constraint WHERE conname = 'deployments_pkey'"},
    {"a column has another type", INSIDE, "ALTER TABLE users ALTER COLUMN full_name TYPE text",
     "SELECT count(*) FROM pg_attribute WHERE attrelid = 'users'::regclass AND attname = "
     "'full_name' AND atttypid = 'text'::regtype"},
    {"a default is gone", INSIDE, "ALTER TABLE users ALTER COLUMN tenant_id DROP DEFAULT",
     "SELECT count(*) FROM pg_attribute WHERE attrelid = 'users'::regclass AND attname = "
     "'tenant_id' AND NOT atthasdef"},
    {"a default is another's", INSIDE,
     "ALTER TABLE users ALTER COLUMN tenant_id SET DEFAULT '00000000-0000-0000-0000-000000000000'",
     "SELECT count(*) FROM pg_attrdef WHERE pg_get_expr(adbin, adrelid) LIKE '%00000000-0000%'"},
    {"a column may be null", INSIDE, "ALTER TABLE users ALTER COLUMN email DROP NOT NULL",
     "SELECT count(*) FROM pg_attribute WHERE attrelid = 'users'::regclass AND attname = 'email' "
     "AND NOT attnotnull"},
    {"a unique constraint is gone", INSIDE,
     "ALTER TABLE api_keys DROP CONSTRAINT api_keys_key_hash_key",
     "SELECT 1 - count(*) FROM pg_constraint WHERE conname = 'api_keys_key_hash_key'"},
    {"a reference does not cascade", INSIDE,
     "ALTER TABLE applications DROP CONSTRAINT applications_user_id_fkey, ADD CONSTRAINT "
     "applications_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id)",
     "SELECT count(*) FROM pg_constraint WHERE conname = 'applications_user_id_fkey' AND "
     "confdeltype <> 'c'"},
    {"an index is gone", INSIDE, "DROP INDEX applications_user_id_idx",
     "SELECT (to_regclass('applications_user_id_idx') IS NULL)::int"},
    {"an index is another", INSIDE,
     "DROP INDEX applications_user_id_idx; CREATE INDEX applications_user_id_idx ON applications "
     "(name)",
     "SELECT count(*) FROM pg_indexes WHERE indexname = 'applications_user_id_idx' AND indexdef "
     "LIKE '%(name)'"},
    {"everybody may create in the schema", INSIDE, "GRANT CREATE ON SCHEMA public TO PUBLIC",
     "SELECT has_schema_privilege('tenant_drift.rw', 'public', 'CREATE')::int"},
    {"rw may not use the schema", INSIDE, "REVOKE USAGE ON SCHEMA public FROM " RW,
     "SELECT (NOT has_schema_privilege('tenant_drift.rw', 'public', 'USAGE'))::int"},
    {"the schema has another owner", INSIDE, "ALTER SCHEMA public OWNER TO " FIXTURE_CONTROLLER,
     "SELECT count(*) FROM pg_namespace WHERE nspname = 'public' AND pg_get_userbyid(nspowner) <> "
     "'tenant_drift.owner'"},
    {"schema app is gone", INSIDE, "DROP SCHEMA app CASCADE",
     "SELECT (to_regnamespace('app') IS NULL)::int"},
    {"schema app is another's", INSIDE, "ALTER SCHEMA app OWNER TO " FIXTURE_CONTROLLER,
     "SELECT count(*) FROM pg_namespace WHERE nspname = 'app' AND pg_get_userbyid(nspowner) <> "
     "'tenant_drift.app'"},
    {"the schema lost its mark", INSIDE, "COMMENT ON SCHEMA public IS NULL",
     "SELECT count(*) FROM pg_namespace WHERE nspname = 'public' AND obj_description(oid, "
     "'pg_namespace') IS NULL"},
    {"tables to come are PUBLIC's", INSIDE,
     "ALTER DEFAULT PRIVILEGES FOR ROLE " OWNER
     " IN SCHEMA public GRANT SELECT ON TABLES TO PUBLIC",
     "SELECT count(*) FROM pg_default_acl, aclexplode(defaclacl) WHERE defaclobjtype = 'r' AND "
     "grantee = 0"},
    {"tables to come are not ro's", INSIDE,
     "ALTER DEFAULT PRIVILEGES FOR ROLE " OWNER
     " IN SCHEMA public REVOKE SELECT ON TABLES FROM " RO,
     "SELECT 1 - count(*) FROM pg_default_acl, aclexplode(defaclacl) WHERE defaclobjtype = 'r' "
     "AND grantee = '" RO "'::regrole"},
};

static int64_t probe(const struct drift *drift)
{
    if (drift->place != INSIDE) {
        return postgres_int(NULL, "%s", drift->probe);
    }
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("dbname=tenant_drift");
    postgres_run(conn, "SET search_path TO public");
    return postgres_int(conn, "%s", drift->probe);
}

static void do_harm(const struct drift *drift)
{
    if (drift->place != INSIDE) {
        postgres_run(NULL, "%s", drift->harm);
        return;
    }
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("dbname=tenant_drift");
    postgres_run(conn, "SET search_path TO public");
    postgres_run(conn, "%s", drift->harm);
}

static char *schema_comment(const char *database)
{
    AUTO(buf) struct buf more = BUF(100);
    (void)buf_printf(&more, "dbname=%s", database);
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect(buf_text(&more));
    return postgres_text(conn, "SELECT obj_description('public'::regnamespace, 'pg_namespace')");
}

static void every_change_is_put_right(void **state)
{
    const struct tenant tenant = fixture_tenant("drift", "uid-drift");
    AUTO(run) struct run first;

    bool modern = postgres_int(NULL, "SELECT current_setting('server_version_num')") >= POSTGRES_16;

    postgres_run(NULL, "DROP ROLE IF EXISTS drift_stranger; SET ROLE " FIXTURE_CONTROLLER
                       "; CREATE ROLE drift_stranger; RESET ROLE");
    run_provision(&first, *state, &tenant);
    run_make_login(&first, *state, "a-password-of-some-length");
    AUTO(free) char *mark = schema_comment("tenant_drift");
    for (size_t i = 0; i < ARRAY_COUNT(drifts); i++) {
        const struct drift *drift = &drifts[i];
        if (drift->place == SUPERUSERS_GRANT && modern) {
            continue;
        }
        AUTO(run) struct run run;
        AUTO(run) struct run quiet;
        print_message("    %s\n", drift->what);
        CHECK_INT(probe(drift), 0);
        do_harm(drift);
        CHECK(probe(drift) > 0);
        run_again(&run, *state, &tenant);
        CHECK_INT(probe(drift), 0);
        AUTO(free) char *now = schema_comment("tenant_drift");
        CHECK_TEXT(now, mark);
        const struct quiet quiet_since = postgres_quiet_begin();
        run_again(&quiet, *state, &tenant);
        postgres_quiet_end(&quiet_since);
    }
    postgres_run(NULL, "REASSIGN OWNED BY drift_stranger TO CURRENT_USER; DROP OWNED BY "
                       "drift_stranger; DROP ROLE drift_stranger");
}

/* ---- what is not drift, and what cannot be put right ---- */

static void an_index_or_column_more_is_left_alone(void **state)
{
    const struct tenant tenant = fixture_tenant("extra", "uid-extra");
    AUTO(run) struct run first;
    AUTO(run) struct run second;
    AUTO(run) struct run third;

    run_provision(&first, *state, &tenant);
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("dbname=tenant_extra");
    postgres_run(conn, "CREATE INDEX by_name ON public.applications (name); "
                       "ALTER TABLE public.users ADD COLUMN theme text");
    run_again(&second, *state, &tenant);
    CHECK_INT(postgres_int(conn, "SELECT count(*) FROM pg_class WHERE relname = 'by_name'"), 1);
    CHECK_INT(postgres_int(conn, "SELECT count(theme) FROM public.users"), 0);
    const struct quiet quiet_since = postgres_quiet_begin();
    run_again(&third, *state, &tenant);
    postgres_quiet_end(&quiet_since);
}

static void what_data_forbids_is_told_and_does_not_keep_the_rest_open(void **state)
{
    const struct tenant tenant = fixture_tenant("orphans", "uid-orphans");
    AUTO(run) struct run first;
    AUTO(run) struct run second;
    AUTO(run) struct run third;

    run_provision(&first, *state, &tenant);
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("dbname=tenant_orphans");
    postgres_run(conn, "INSERT INTO public.users (email, password_hash) VALUES ('a@b.c', 'x'); "
                       "INSERT INTO public.applications (user_id, name) SELECT id, 'shop' FROM "
                       "public.users; DROP TABLE public.users CASCADE; "
                       "ALTER TABLE public.applications DISABLE ROW LEVEL SECURITY");
    run_init(&second, *state, &tenant);
    CHECK_OK(record_ensure(&second.rc, &second.work, &second.err), &second.err);
    CHECK_FAILS(schema_ensure(&second.rc, &second.work, &second.err), &second.err, ERR_TERMINAL,
                "SchemaDrift");
    CHECK_NOT_NULL(strstr(second.err.message, "constraint applications.applications_user_id_fkey"));
    CHECK_INT(postgres_int(conn, "SELECT count(*) FROM pg_class WHERE relname IN ('users', "
                                 "'applications') AND relrowsecurity AND relforcerowsecurity"),
              2);
    CHECK_INT(postgres_int(conn, "SELECT count(*) FROM public.applications"), 1);

    /* What the message names is put right by a person; then all is well again. */
    postgres_run(conn, "DELETE FROM public.applications");
    run_again(&third, *state, &tenant);
    CHECK_INT(postgres_int(conn, "SELECT count(*) FROM pg_constraint WHERE NOT convalidated"), 0);
}

/* No repair cuts off what somebody wrote. */
static void what_is_too_long_for_a_column_stays(void **state)
{
    const struct tenant tenant = fixture_tenant("long", "uid-long");
    AUTO(run) struct run first;
    AUTO(run) struct run second;
    AUTO(run) struct run third;
    AUTO(run) struct run fourth;

    run_provision(&first, *state, &tenant);
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("dbname=tenant_long");
    postgres_run(conn, "ALTER TABLE public.users ALTER COLUMN full_name TYPE text; "
                       "INSERT INTO public.users (email, password_hash, full_name) "
                       "VALUES ('a@b.c', 'x', repeat('y', 300))");
    run_init(&second, *state, &tenant);
    CHECK_OK(record_ensure(&second.rc, &second.work, &second.err), &second.err);
    CHECK_FAILS(schema_ensure(&second.rc, &second.work, &second.err), &second.err, ERR_TERMINAL,
                "SchemaDrift");
    CHECK_INT(postgres_int(conn, "SELECT length(full_name) FROM public.users"), 300);

    postgres_run(
        conn,
        "ALTER TABLE public.users ALTER COLUMN full_name TYPE jsonb USING to_jsonb(full_name)");
    run_init(&third, *state, &tenant);
    CHECK_OK(record_ensure(&third.rc, &third.work, &third.err), &third.err);
    CHECK_FAILS(schema_ensure(&third.rc, &third.work, &third.err), &third.err, ERR_TERMINAL,
                "SchemaDrift");
    CHECK_INT(postgres_int(conn, "SELECT length(full_name #>> '{}') FROM public.users"), 300);

    postgres_run(conn, "UPDATE public.users SET full_name = '1'");
    run_again(&fourth, *state, &tenant);
    CHECK_INT(postgres_int(conn, "SELECT count(*) FROM pg_attribute WHERE attrelid = "
                                 "'public.users'::regclass AND attname = 'full_name' "
                                 "AND format_type(atttypid, atttypmod) = 'character varying(255)'"),
              1);
}

static void a_superusers_table_is_told_with_what_to_do(void **state)
{
    const struct tenant tenant = fixture_tenant("taken", "uid-taken");
    AUTO(run) struct run first;
    AUTO(run) struct run second;

    run_provision(&first, *state, &tenant);
    postgres_run(NULL, "ALTER DATABASE tenant_taken OWNER TO postgres");
    run_init(&second, *state, &tenant);
    CHECK_OK(record_ensure(&second.rc, &second.work, &second.err), &second.err);
    CHECK_FAILS(database_ensure(&second.rc, &second.work, &second.err), &second.err, ERR_RETRY,
                "InsufficientPrivilege");
    CHECK_NOT_NULL(strstr(second.err.message, "the database was owned by \"postgres\""));
}

static void warn_tells_and_leaves(void **state)
{
    const struct tenant tenant = fixture_tenant("warned", "uid-warned");
    AUTO(run) struct run first;
    AUTO(run) struct run second;
    AUTO(run) struct run third;
    static const char open[] =
        "SELECT has_database_privilege('drift_public', 'tenant_warned', 'CONNECT')::int";

    run_provision(&first, *state, &tenant);
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("dbname=tenant_warned");
    postgres_run(NULL,
                 "CREATE ROLE drift_public; GRANT CONNECT ON DATABASE tenant_warned TO PUBLIC");
    postgres_run(conn, "DROP POLICY tenant ON public.users");
    fixture_set_drift(*state, "Warn");
    run_init(&second, *state, &tenant);
    second.tenant.status.schema_version = 1;
    CHECK_OK(record_ensure(&second.rc, &second.work, &second.err), &second.err);
    CHECK_FAILS(database_ensure(&second.rc, &second.work, &second.err), &second.err, ERR_TERMINAL,
                "DriftDetected");
    CHECK_NOT_NULL(strstr(second.err.message, "PUBLIC had rights on the database"));
    CHECK_FAILS(schema_ensure(&second.rc, &second.work, &second.err), &second.err, ERR_TERMINAL,
                "DriftDetected");
    CHECK_NOT_NULL(strstr(second.err.message, "policy users.tenant is missing"));
    CHECK_INT(postgres_int(NULL, "%s", open), 1);
    CHECK_INT(postgres_int(conn, "SELECT count(*) FROM pg_policy"), 3);
    CHECK_INT(
        postgres_int(conn, "SELECT count(*) FROM pg_namespace WHERE nspname LIKE '%%scratch'"), 0);
    fixture_set_drift(*state, "Heal");
    run_again(&third, *state, &tenant);
    CHECK_INT(postgres_int(NULL, "%s", open), 0);
    CHECK_INT(postgres_int(conn, "SELECT count(*) FROM pg_policy"), 4);
    postgres_run(NULL, "DROP ROLE drift_public");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_change_is_put_right),
        cmocka_unit_test(an_index_or_column_more_is_left_alone),
        cmocka_unit_test(what_data_forbids_is_told_and_does_not_keep_the_rest_open),
        cmocka_unit_test(what_is_too_long_for_a_column_stays),
        cmocka_unit_test(a_superusers_table_is_told_with_what_to_do),
        cmocka_unit_test(warn_tells_and_leaves),
    };
    return cmocka_run_group_tests(tests, fixture_set_up, fixture_tear_down);
}
