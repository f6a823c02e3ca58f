# shellcheck shell=bash
# One tenant's credentials open nothing of another's, and little of its own that the product relies on.

# at NAME DATABASE STATEMENT: with the login of tenant NAME, in another database.
at()
{
    local url
    url=$(uri "$1")
    sql "${url/\/tenant_$1\?//$2?}" "$3"
}

# forge NAME STATEMENT: as the tenant, with another tenant's id as its setting.
forge()
{
    as_tenant "$1" "SELECT set_config('app.tenant_id', '$2', false); $3" | tail -n 1
}

tenant iso1 '.spec.tier = "premium"'
tenant iso2
need within 60 "a first tenant is Ready" ready iso1
need within 60 "a second tenant is Ready" ready iso2
id1=$(tenant_id iso1)
id2=$(tenant_id iso2)

# Not through the door.
refused "a tenant does not get into another's database" 'permission denied' at iso1 tenant_iso2 'SELECT 1'
refused "nor the other way round" 'permission denied' at iso2 tenant_iso1 'SELECT 1'
for database in tenantry_registry postgres template1; do
    refused "nor into $database" 'permission denied' at iso1 "$database" 'SELECT 1'
done

# At home it works without a setting.
check "the tenant sees its rows with no setting made" 'owner@iso1.example' "$(as_tenant iso1 'SELECT email FROM users')"
holds "it writes rows without naming itself" as_tenant iso1 "INSERT INTO applications (user_id, name) SELECT id, 'shop' FROM users;
    INSERT INTO deployments (application_id, version) SELECT id, '1.0' FROM applications;
    INSERT INTO api_keys (user_id, key_hash) SELECT id, repeat('a', 64) FROM users"
check "they bear its id" "$id1|$id1|$id1" "$(inside tenant_iso1 "SELECT (SELECT tenant_id FROM applications), (SELECT tenant_id FROM deployments), (SELECT tenant_id FROM api_keys)")"
check "defaults are the contract's" 'active|pending|t' "$(as_tenant iso1 "SELECT (SELECT status FROM applications), (SELECT status FROM deployments),
    (SELECT created_at IS NOT NULL FROM api_keys)")"
refused "an address is there once" duplicate as_tenant iso1 "INSERT INTO users (email, password_hash) VALUES ('owner@iso1.example', 'x')"
refused "a key is there once" duplicate as_tenant iso1 "INSERT INTO api_keys (user_id, key_hash) SELECT id, repeat('a', 64) FROM users"
holds "deleting a user takes along what hangs on it" as_tenant iso1 "BEGIN; INSERT INTO users (email, password_hash) VALUES ('b@iso1.example', 'x');
    INSERT INTO applications (user_id, name) SELECT id, 'gone' FROM users WHERE email = 'b@iso1.example';
    INSERT INTO deployments (application_id, version) SELECT id, '1' FROM applications WHERE name = 'gone';
    DELETE FROM users WHERE email = 'b@iso1.example';
    DO \$\$ BEGIN ASSERT (SELECT count(*) FROM deployments) = 1, 'cascade'; END \$\$; COMMIT"

# A setting does not widen what it sees.
check "with its own id as setting it sees the same" 1 "$(forge iso1 "$id1" 'SELECT count(*) FROM users')"
check "with another's it sees nothing" '0|0|0|0' "$(forge iso1 "$id2" "SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM applications),
    (SELECT count(*) FROM deployments), (SELECT count(*) FROM api_keys)")"
refused "it cannot write rows of another tenant" 'row-level security' as_tenant iso1 \
    "INSERT INTO users (tenant_id, email, password_hash) VALUES ('$id2', 'x@y.example', 'x')"
refused "nor make its rows another's" 'row-level security' as_tenant iso1 "UPDATE users SET tenant_id = '$id2'"

# It cannot take the product's protection away.
for role in tenant_iso1.owner tenant_iso2.a tenant_iso2.owner tenantry_controller postgres; do
    refused "it cannot become $role" 'permission denied' as_tenant iso1 "SET ROLE \"$role\""
done
refused "it cannot switch row-level security off" 'must be owner' as_tenant iso1 'ALTER TABLE users DISABLE ROW LEVEL SECURITY'
refused "nor drop a policy" 'must be owner' as_tenant iso1 "DO \$\$ DECLARE p text; BEGIN SELECT polname INTO p FROM pg_policy WHERE polrelid = 'public.users'::regclass LIMIT 1;
    EXECUTE format('DROP POLICY %I ON public.users', p); END \$\$"
refused "nor turn it aside for its session" 'row-level security' as_tenant iso1 "SET row_security = off; SELECT count(*) FROM users"
refused "nor drop a table of the schema" 'must be owner' as_tenant iso1 'DROP TABLE api_keys'
refused "nor empty it past the policies" 'permission denied' as_tenant iso1 'TRUNCATE users CASCADE'
refused "nor make tables in public" 'permission denied' as_tenant iso1 'CREATE TABLE public.mine (x int)'
refused "nor hang a trigger on its tables" 'permission denied' as_tenant iso1 "CREATE FUNCTION app.f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE TRIGGER t BEFORE INSERT ON public.users FOR EACH ROW EXECUTE FUNCTION app.f()"
refused "nor make databases" 'permission denied' as_tenant iso1 'CREATE DATABASE tenant_iso1_more'
refused "nor roles" 'permission denied' as_tenant iso1 'CREATE ROLE tenant_iso1_more'
refused "nor rename its database" 'must be owner' as_tenant iso1 'ALTER DATABASE tenant_iso1 RENAME TO mine'
refused "nor let others in" '' as_tenant iso1 "DO \$\$ BEGIN GRANT CONNECT ON DATABASE tenant_iso1 TO PUBLIC;
    IF NOT EXISTS (SELECT FROM pg_database, aclexplode(datacl) WHERE datname = 'tenant_iso1' AND grantee = 0) THEN RAISE 'not granted'; END IF; END \$\$"
refused "nor read passwords" 'permission denied' as_tenant iso1 'SELECT rolpassword FROM pg_authid'
refused "nor the server's files" 'permission denied' as_tenant iso1 "SELECT pg_read_file('postgresql.conf')"
refused "nor run programs on it" 'external program' as_tenant iso1 "CREATE TABLE app.out (x text); COPY app.out FROM PROGRAM 'id'"
refused "nor end sessions of others" 'must be a' as_tenant iso1 "DO \$\$ BEGIN PERFORM pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE usename <> current_user AND pid <> pg_backend_pid(); RAISE 'none left to end'; END \$\$"

# In app it makes what it likes.
holds "it makes what it likes in schema app" as_tenant iso1 "CREATE TABLE app.notes (id int PRIMARY KEY, text text); INSERT INTO app.notes VALUES (1, 'hello');
    CREATE VIEW app.v AS SELECT * FROM app.notes; CREATE FUNCTION app.one() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE TYPE app.mood AS ENUM ('fine')"
check "which belongs to role app, so that the next login slot can use it" tenant_iso1.app \
    "$(inside tenant_iso1 "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = 'app.notes'::regclass")"
check "the schema app is the tenant's" t "$(inside tenant_iso1 "SELECT has_schema_privilege('tenant_iso1.app', 'app', 'CREATE, USAGE')")"

# The cluster: people of one tenant see nothing of another.
can no owner@iso1.example get secret/iso2-owner -n tenantry-system
can no owner@iso1.example get secret/iso2-database -n tenant-iso2
can no owner@iso1.example get tenants
purge iso1 iso2
