# shellcheck shell=bash
# Isolation Schema and Row: the same Tenant, the same Secret, the same tables, in a database that tenants share.

tenant schema1 '.spec.database.isolation = "Schema"'
tenant row1 '.spec.database.isolation = "Row"'
tenant row2 '.spec.tier = "premium" | .spec.database.isolation = "Row"'
for name in schema1 row1 row2; do
    need within 90 "tenant $name is Ready" ready "$name"
done

check "the status says where the first is" 'Schema tenantry_shared tenant_schema1' "$(of schema1 '.status.database | "\(.isolation) \(.name) \(.schema)"')"
check "and the second" 'Row tenantry_shared tenantry_rows' "$(of row1 '.status.database | "\(.isolation) \(.name) \(.schema)"')"
check "the registry says so too" 'tenantry_shared tenantry_rows Row' \
    "$(registry "SELECT concat_ws(' ', database_name, schema_name, isolation) FROM tenants WHERE id = '$(tenant_id row1)'")"
check "the Secret leads there" 'tenantry_shared tenant_schema1' "$(secret tenant-schema1 schema1-database dbname) $(secret tenant-schema1 schema1-database schema)"
for name in schema1 row1 row2; do
    check "$name sees its owner, with no setting made" "owner@$name.example" "$(as_tenant "$name" 'SELECT email FROM users')"
    holds "and works" as_tenant "$name" "INSERT INTO applications (user_id, name) SELECT id, 'shop' FROM users;
        INSERT INTO deployments (application_id, version) SELECT id, '1' FROM applications"
    holds "its owner's password fits" test -n "$(inside tenantry_shared "SELECT password_hash FROM $(secret "tenant-$name" "$name-database" schema).users WHERE tenant_id = '$(tenant_id "$name")'")"
done
check "the same address may be there twice" '' "$(as_tenant row1 "INSERT INTO users (email, password_hash) VALUES ('owner@row2.example', 'x')")"
check "a setting shows nothing of another's" 0 "$(as_tenant row1 "SET app.tenant_id = '$(tenant_id row2)'; SELECT count(*) FROM users" | tail -n 1)"
refused "a tenant does not reach another's schema" 'permission denied' as_tenant row1 'SELECT * FROM tenant_schema1.users'
refused "nor the owner of all" 'permission denied' as_tenant row1 'SET ROLE "tenantry_rows.owner"'
refused "nor whose login is whose" 'permission denied' as_tenant row1 'TABLE tenantry_rows.tenant_logins'
check "the shared database is closed to PUBLIC" 0 "$(server "SELECT count(*) FROM pg_database, aclexplode(datacl) WHERE datname = 'tenantry_shared' AND grantee = 0")"

# A tenant that locks what it shares is ended; the others are served within half a minute.
session_open locker "$(uri row1)" e2e-locker 'BEGIN; LOCK TABLE users;'
within 10 "a tenant holds everybody up" says 1 server "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE a.application_name = 'e2e-locker' AND l.mode = 'AccessExclusiveLock' AND l.granted"
check "for less than 30 s" 1 "$(sql "$(uri row2)" "SET statement_timeout TO '30s'; SELECT count(*) FROM users" | tail -n 1)"
within 10 "its session is ended" session_gone e2e-locker
session_close locker
within 10 "an Event tells why" test -n "$(kubectl get events --all-namespaces --output json | jq -r '.items[] | select(.reason == "SessionEnded") | .message' | grep -e tenant_row1)"

# Suspended, resumed, drift healed, deleted.
edit row1 '{"spec": {"state": "Suspended"}}'
within 5 "suspended, a tenant is out within 5 s" says f server "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'tenant_row1.a'"
check "and the others are not" 1 "$(as_tenant row2 'SELECT count(*) FROM users')"
edit row1 '{"spec": {"state": "Active"}}'
within 10 "resumed, it is as it was" says 2 as_tenant row1 'SELECT count(*) FROM users'
inside tenantry_shared 'ALTER TABLE tenantry_rows.users DISABLE ROW LEVEL SECURITY'
within 20 "row-level security that was switched off is on again" says t inside tenantry_shared "SELECT relrowsecurity FROM pg_class WHERE oid = 'tenantry_rows.users'::regclass"

gone_id=$(tenant_id row1)
edit row1 '{"spec": {"deletionPolicy": "Delete"}}'
holds "deleted, a tenant of the rows goes" remove row1
check "with its rows and its logins" '0 0 0' "$(inside tenantry_shared "SELECT concat_ws(' ', (SELECT count(*) FROM tenantry_rows.users WHERE tenant_id = '$gone_id'),
    (SELECT count(*) FROM tenantry_rows.tenant_logins WHERE tenant_id = '$gone_id'), (SELECT count(*) FROM pg_roles WHERE rolname LIKE 'tenant\\_row1.%'))")"
check "and nothing of another's" 1 "$(as_tenant row2 'SELECT count(*) FROM deployments')"
kept_id=$(tenant_id schema1)
holds "kept, a tenant with a schema goes" remove schema1
check "and its schema stays, locked and listed" 'schema tenant_schema1 f' "$(registry "SELECT concat_ws(' ', kind, name) FROM tenant_retained WHERE tenant_id = '$kept_id' AND kind = 'schema'") $(
    server "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'tenant_schema1.a'")"
tenant schema1 '.spec.database.isolation = "Schema"'
within 30 "applied anew it is a conflict" is schema1 Ready False NameConflict
kubectl annotate tenant schema1 "tenantry.dev/adopt=$kept_id" >/dev/null
need within 60 "adopted, it is Ready" ready schema1
check "with its data" shop "$(as_tenant schema1 'SELECT name FROM applications')"

purge schema1 row2
