# shellcheck shell=bash
# What a tenant did not make is never taken and never destroyed: not another tenant's name, not a database, role, namespace or Secret that happens to
# bear the name it would have.

# The name of another tenant.
tenant first '.spec.subdomain = "shared"'
need within 60 "who came first is Ready" ready first
id=$(tenant_id first)
url=$(secret tenant-shared shared-database uri)
sql "$url" "INSERT INTO applications (user_id, name) SELECT id, 'mine' FROM users"
tenant second '.spec.subdomain = "shared" | .spec.deletionPolicy = "Delete" | .spec.tier = "enterprise"'
need within 30 "who comes second has a conflict" is second Ready False NameConflict
check "that waits for the user" 'True NameConflict' "$(condition second Stalled)"
matches "and names the other" 'first' "$(message second)"
check "the first keeps its record" "first free $id" "$(registry "SELECT concat_ws(' ', name, tier, id) FROM tenants WHERE subdomain = 'shared' AND deleted_at IS NULL")"
becomes 30 "its quotas" 'api_requests=0/1000 compute_hours=0/1 sandboxes=1/1 storage_mb=8/100 users=0/1' quotas shared
holds "the second is deleted, with everything that is its own" remove second
holds "which leaves the first Ready" ready first
check "with its data" mine "$(sql "$url" 'SELECT name FROM applications')"
check "its namespace" tenant-shared "$(kubectl get namespace tenant-shared -o 'jsonpath={.metadata.name}')"
check "its owner's Secret" owner@first.example "$(secret tenantry-system shared-owner email)"
holds "and a further look finds it well" reconcile first
holds "still" ready first
tenant second '.spec.subdomain = "shared" | .spec.deletionPolicy = "Delete"'
need within 30 "a second one again" is second Ready False NameConflict
purge first
within 60 "once the first has gone for good, the second gets the name" ready second
check "as another tenant" t "$([ "$(tenant_id second)" != "$id" ] && echo t)"
check "without the first one's data" 0 "$(sql "$(secret tenant-shared shared-database uri)" 'SELECT count(*) FROM applications')"

# A database.
server 'CREATE DATABASE tenant_fdb'
inside tenant_fdb "CREATE TABLE precious AS SELECT 42 AS x"
tenant fdb '.spec.deletionPolicy = "Delete"'
need within 30 "somebody's database of the name" is fdb Ready False NameConflict
check "it is the database's condition that says so" 'False NameConflict' "$(condition fdb DatabaseReady)"
matches "which database" 'tenant_fdb' "$(message fdb)"
holds "a further look" reconcile fdb
check "it was left alone" 'postgres|42' "$(inside tenant_fdb "SELECT pg_get_userbyid(datdba), (SELECT x FROM precious) FROM pg_database WHERE datname = 'tenant_fdb'")"
holds "the tenant is deleted" remove fdb
check "and it still is" 42 "$(inside tenant_fdb 'SELECT x FROM precious')"
tenant fdb '.spec.deletionPolicy = "Delete"'
need within 30 "a conflict again" is fdb Ready False NameConflict
server 'DROP DATABASE tenant_fdb'
within 60 "without it the tenant goes on" ready fdb

# One whose mark was copied from another tenant's.
server 'CREATE DATABASE tenant_fmark'
server "COMMENT ON DATABASE tenant_fmark IS '$(server "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'tenant_fdb'")'"
tenant fmark '.spec.deletionPolicy = "Delete"'
need within 30 "a database with another tenant's mark" is fmark Ready False NameConflict
holds "its tenant is deleted" remove fmark
check "and it is there" 1 "$(server "SELECT count(*) FROM pg_database WHERE datname = 'tenant_fmark'")"
server 'DROP DATABASE tenant_fmark'

# A role.
server 'CREATE ROLE "tenant_frole.owner" LOGIN SUPERUSER'
tenant frole '.spec.deletionPolicy = "Delete"'
need within 30 "somebody's role of the name" is frole Ready False NameConflict
matches "which role" 'tenant_frole\.owner' "$(message frole)"
check "it was left alone" 't|t' "$(server "SELECT rolsuper, rolcanlogin FROM pg_roles WHERE rolname = 'tenant_frole.owner'")"
holds "the tenant is deleted" remove frole
check "and it still is" 't|t' "$(server "SELECT rolsuper, rolcanlogin FROM pg_roles WHERE rolname = 'tenant_frole.owner'")"
check "nothing else is left" '' "$(server "SELECT rolname FROM pg_roles WHERE rolname LIKE 'tenant\\_frole.%' AND rolname <> 'tenant_frole.owner' UNION ALL SELECT datname FROM pg_database WHERE datname = 'tenant_frole'")"
server 'DROP ROLE "tenant_frole.owner"'

# A namespace.
kubectl create namespace tenant-fns >/dev/null
kubectl create configmap -n tenant-fns precious >/dev/null
tenant fns '.spec.deletionPolicy = "Delete"'
need within 30 "somebody's namespace of the name" is fns Ready False NameConflict
matches "which namespace" 'tenant-fns' "$(message fns)"
check "it was left alone" '' "$(kubectl get namespace tenant-fns -o json | jq -r '.metadata.labels | keys[] | select(startswith("tenantry"))')$(kubectl get secret,rolebinding -n tenant-fns -o name)"
holds "the tenant is deleted" remove fns
check "and it still is, with what is in it" configmap/precious "$(kubectl get configmap -n tenant-fns precious -o name)"
tenant fns '.spec.deletionPolicy = "Delete"'
need within 30 "a conflict again" is fns Ready False NameConflict
kubectl delete namespace tenant-fns --timeout=60s >/dev/null
within 60 "without it the tenant goes on" ready fns

# A Secret in the operator's namespace.
kubectl create secret generic -n tenantry-system fsec-owner --from-literal=precious=42 >/dev/null
tenant fsec '.spec.deletionPolicy = "Delete"'
need within 30 "somebody's Secret of the owner's Secret's name" is fsec Ready False NameConflict
matches "is named" 'fsec-owner' "$(message fsec)"
check "it was left alone" '{"precious":"NDI="}' "$(kubectl get secret -n tenantry-system fsec-owner -o json | jq -c .data)"
holds "the tenant is deleted" remove fsec
check "and it still is" '{"precious":"NDI="}' "$(kubectl get secret -n tenantry-system fsec-owner -o json | jq -c .data)"
kubectl delete secret -n tenantry-system fsec-owner >/dev/null
purge second fdb fns
