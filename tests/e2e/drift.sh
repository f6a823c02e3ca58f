# shellcheck shell=bash
# Whatever somebody changes by hand on the server, in the registry or in the cluster is found at the next drift check and repaired;
# what is the tenant's own stays.

# whole TABLE: is it there, protected, owned and granted as it has to be?
whole()
{
    says "t t t tenant_drift.owner t" inside tenant_drift "SELECT concat_ws(' ', left(relrowsecurity::text, 1), left(relforcerowsecurity::text, 1),
        left((EXISTS (SELECT FROM pg_policy WHERE polrelid = c.oid))::text, 1), pg_get_userbyid(relowner),
        left(has_table_privilege('tenant_drift.rw', c.oid, 'SELECT, INSERT, UPDATE, DELETE')::text, 1))
        FROM pg_class c WHERE oid = to_regclass('public.$1')"
}

policies()
{
    inside tenant_drift "SELECT polrelid::regclass, polname, polpermissive, polcmd, polroles, pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)
        FROM pg_policy ORDER BY 1, 2"
}

role_rights()
{
    server "SELECT rolname, rolcanlogin, rolcreatedb, rolcreaterole, rolinherit, rolconnlimit, rolvaliduntil FROM pg_roles WHERE rolname LIKE 'tenant\\_drift.%' ORDER BY 1"
    server "SELECT roleid::regrole, member::regrole, admin_option FROM pg_auth_members WHERE member::regrole::text LIKE '\"tenant\\_drift.%' ORDER BY 1, 2"
}

# drift_said: of the schema, or of what holds it up.
drift_said()
{
    [[ $(condition drift Ready) =~ ^False\ (DriftDetected|SchemaDrift)$ ]]
}

# parts_work: psql connects by host, user and password of the Secret.
parts_work()
{
    local password host user
    password=$(secret tenant-drift drift-database password) && host=$(secret tenant-drift drift-database host) &&
        user=$(secret tenant-drift drift-database user) &&
        PGPASSWORD=$password sql "host=$host port=$(stable_port "$RUN" postgres) dbname=tenant_drift user=$user sslmode=verify-full" 'SELECT 1'
}

public_may_connect()
{
    server "SELECT count(*) FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba))) WHERE datname = 'tenant_drift' AND grantee = 0 AND privilege_type = 'CONNECT'"
}

tenant drift '.spec.tier = "premium"'
need within 60 "a tenant is Ready" ready drift
id=$(tenant_id drift)
as_tenant drift "INSERT INTO applications (user_id, name) SELECT id, 'shop' FROM users; CREATE TABLE app.notes AS SELECT 1 AS id"
policies_before=$(policies)
roles_before=$(role_rights)

# The schema.
inside tenant_drift 'DROP TABLE api_keys CASCADE'
within 30 "a dropped table" whole api_keys
holds "it takes rows" as_tenant drift "INSERT INTO api_keys (user_id, key_hash) SELECT id, repeat('b', 64) FROM users"
inside tenant_drift "DO \$\$ DECLARE p record; BEGIN FOR p IN SELECT polname, polrelid::regclass AS t FROM pg_policy LOOP EXECUTE format('DROP POLICY %I ON %s', p.polname, p.t); END LOOP; END \$\$"
becomes 30 "dropped policies" "$policies_before" policies
inside tenant_drift 'ALTER TABLE applications DISABLE ROW LEVEL SECURITY; ALTER TABLE users NO FORCE ROW LEVEL SECURITY'
within 30 "row-level security switched off" whole applications
within 30 "row-level security not forced" whole users
inside tenant_drift "CREATE POLICY wide_open ON users FOR SELECT USING (true)"
becomes 30 "a policy that lets more through" "$policies_before" policies
inside tenant_drift 'ALTER TABLE applications OWNER TO "tenant_drift.app"'
within 30 "a table given to the tenant" whole applications
inside tenant_drift 'REVOKE ALL ON users FROM "tenant_drift.rw"'
within 30 "a right taken from the tenant" whole users
inside tenant_drift 'GRANT ALL ON SCHEMA public TO PUBLIC'
within 30 "a right on the schema given to everybody" says f inside tenant_drift "SELECT has_schema_privilege('tenant_drift.a', 'public', 'CREATE')"
check "the tenant's rows were left alone" 'shop 1' "$(inside tenant_drift "SELECT name || ' ' || (SELECT id FROM app.notes) FROM applications")"
inside tenant_drift 'DELETE FROM users'
within 30 "the owner's row" says 'owner@drift.example owner t' inside tenant_drift "SELECT concat_ws(' ', email, role, must_change_password) FROM users"
within 30 "with the password of the Secret" password_fits drift
inside tenant_drift 'DROP TABLE users CASCADE'
within 30 "the table that others refer to" whole users
within 30 "with the owner in it" password_fits drift
holds "and what refers to it" inside tenant_drift "DO \$\$ BEGIN ASSERT EXISTS (SELECT FROM pg_constraint WHERE conrelid = 'applications'::regclass
    AND confrelid = 'users'::regclass AND confdeltype = 'c'), 'foreign key'; END \$\$"

# Roles and the database. A role goes in one transaction, so that nothing of it is healed between its rights and itself.
inside tenant_drift 'DROP OWNED BY "tenant_drift.ro"; DROP ROLE "tenant_drift.ro"'
becomes 30 "a dropped role" "$roles_before" role_rights
inside tenant_drift 'DROP OWNED BY "tenant_drift.a"; DROP ROLE "tenant_drift.a"'
becomes 30 "a dropped login" "$roles_before" role_rights
within 30 "it opens with the Secret as it was" login_works drift
server 'ALTER ROLE "tenant_drift.a" CREATEDB CREATEROLE CONNECTION LIMIT 999'
becomes 30 "rights over the server" "$roles_before" role_rights
server 'GRANT "tenant_drift.owner" TO "tenant_drift.a"'
becomes 30 "membership of owner" "$roles_before" role_rights
server 'REVOKE "tenant_drift.app" FROM "tenant_drift.a"'
becomes 30 "a membership taken away" "$roles_before" role_rights
server "ALTER ROLE \"tenant_drift.a\" PASSWORD 'somebody elses'"
within 30 "another password" login_works drift
server 'ALTER ROLE "tenant_drift.a" NOLOGIN'
within 30 "a closed login" login_works drift
server 'GRANT CONNECT ON DATABASE tenant_drift TO PUBLIC'
becomes 30 "CONNECT for everybody" 0 public_may_connect
server 'ALTER DATABASE tenant_drift ALLOW_CONNECTIONS false'
within 30 "a closed database" login_works drift
server 'ALTER DATABASE tenant_drift OWNER TO postgres'
within 30 "what only a superuser can put right is said" is drift Ready False InsufficientPrivilege
matches "what it is" 'owned by "postgres"' "$(message drift)"
server 'ALTER DATABASE tenant_drift OWNER TO "tenant_drift.owner"'
within 30 "put right, the tenant is Ready" ready drift

# The registry.
registry "UPDATE tenant_quotas SET quota_limit = 1, current_usage = 3 WHERE tenant_id = '$id' AND resource_type = 'users'"
within 30 "a limit; use is whoever counts" quotas_match 'api_requests=0/10000 compute_hours=0/10 sandboxes=1/5 storage_mb=[89]/1000 users=3/5' drift
registry "DELETE FROM tenant_quotas WHERE tenant_id = '$id' AND resource_type = 'sandboxes'; INSERT INTO tenant_quotas (tenant_id, resource_type, quota_limit) VALUES ('$id', 'bogus', 1)"
within 30 "a quota's row, and one too many" quotas_match 'api_requests=0/10000 compute_hours=0/10 sandboxes=1/5 storage_mb=[89]/1000 users=3/5' drift
registry "DELETE FROM tenant_users WHERE tenant_id = '$id'"
becomes 30 "the owner's row in the registry" 'owner@drift.example owner' registry "SELECT email || ' ' || role FROM tenant_users WHERE tenant_id = '$id'"
registry "UPDATE tenants SET name = 'x', tier = 'free', status = 'suspended', max_users = 99 WHERE id = '$id'"
becomes 30 "the record" 'drift|premium|active|5' registry "SELECT name, tier, status, max_users FROM tenants WHERE id = '$id'"

# The cluster.
kubectl delete secret -n tenant-drift drift-database >/dev/null
within 30 "a deleted connection Secret" login_works drift
kubectl patch secret -n tenant-drift drift-database --type merge --patch '{"stringData": {"password": "edited", "uri": "postgresql://nowhere/"}}' >/dev/null
within 30 "an edited one" login_works drift
within 30 "its password works beside uri" parts_work
kubectl patch secret -n tenant-drift drift-database --type json --patch '[{"op": "remove", "path": "/data/jdbc-uri"}, {"op": "add", "path": "/data/host", "value": "ZXZpbA=="}]' >/dev/null
within 30 "single keys of it" parts_work
within 30 "and one that was taken out" secret tenant-drift drift-database jdbc-uri
kubectl delete secret -n tenantry-system drift-owner >/dev/null
within 30 "a deleted owner's Secret" password_fits drift
kubectl patch secret -n tenantry-system drift-owner --type merge --patch '{"stringData": {"password": "edited"}}' >/dev/null
within 30 "an edited one" password_fits drift
kubectl delete role,rolebinding -n tenantry-system -l tenantry.dev/tenant=drift >/dev/null
within 30 "the owner's right to read it" says yes kubectl auth can-i get secret/drift-owner -n tenantry-system --as owner@drift.example
kubectl delete rolebinding -n tenant-drift -l app.kubernetes.io/managed-by=tenantry >/dev/null
kubectl delete secret -n tenant-drift drift-database >/dev/null
within 30 "the controller's own right in the namespace" login_works drift
kubectl label --overwrite namespace tenant-drift pod-security.kubernetes.io/enforce=baseline example.com/kept=yes >/dev/null
within 30 "a label of the namespace" says restricted kubectl get namespace tenant-drift -o 'jsonpath={.metadata.labels.pod-security\.kubernetes\.io/enforce}'
check "one that somebody added is left" yes "$(kubectl get namespace tenant-drift -o 'jsonpath={.metadata.labels.example\.com/kept}')"
kubectl label namespace tenant-drift tenantry.dev/tenant- >/dev/null
need within 30 "without the label that says whose it is, the namespace is nobody's" is drift Ready False NameConflict
matches "until it has its labels again, which the message prints" "tenantry\.dev/tenant=drift and tenantry\.dev/tenant-uid=$(of drift .metadata.uid)" "$(message drift)"
kubectl label namespace tenant-drift tenantry.dev/tenant=drift >/dev/null
within 30 "then all is well" ready drift
kubectl delete namespace tenant-drift --timeout=60s >/dev/null
within 60 "a deleted namespace, with the Secret" login_works drift
within 30 "after all this the tenant is Ready" ready drift
matches "an Event told of repairs" DriftHealed "$(events drift)"
check "the id is the same" "$id" "$(tenant_id drift)"

# Once the owner has chosen a password of his own, the temporary one is nobody's business any more.
own_hash="\$2b\$12\$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZ01234"
as_tenant drift "UPDATE users SET must_change_password = false, password_hash = '$own_hash' WHERE role = 'owner'"
within 30 "the Secret goes once the owner has changed the password" gone secret -n tenantry-system drift-owner
holds "a further look" reconcile drift
holds "does not bring it back" gone secret -n tenantry-system drift-owner
check "nor touch the owner's own" "$own_hash|f" \
    "$(inside tenant_drift "SELECT password_hash, must_change_password FROM users WHERE role = 'owner'")"
within 30 "the tenant is Ready" ready drift

# A server whose drift is only to be told.
kubectl patch databaseserver primary --type merge --patch '{"spec": {"drift": "Warn"}}' >/dev/null
inside tenant_drift 'ALTER TABLE applications DISABLE ROW LEVEL SECURITY'
within 30 "told to warn, it says what is otherwise" drift_said
matches "by name" applications "$(message drift)"
check "and leaves it" f "$(inside tenant_drift "SELECT relrowsecurity FROM pg_class WHERE oid = 'applications'::regclass")"
kubectl patch databaseserver primary --type merge --patch '{"spec": {"drift": "Heal"}}' >/dev/null
within 30 "told to heal, it does" whole applications
within 30 "and is Ready" ready drift
purge drift
