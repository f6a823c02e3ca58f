# shellcheck shell=bash
# deletionPolicy Retain, the default: data stay, locked and listed, until someone takes them back by their id.

tenant keep '.spec.tier = "premium" | .spec.displayName = "Keepers"'
need within 60 "a tenant is Ready" ready keep
check "Retain is the default" Retain "$(of keep .spec.deletionPolicy)"
id=$(tenant_id keep)
uid=$(of keep .metadata.uid)
url=$(uri keep)
as_tenant keep "INSERT INTO applications (user_id, name) SELECT id, 'shop' FROM users; CREATE TABLE app.notes AS SELECT 1 AS id, 'hello' AS text"
registry "UPDATE tenant_quotas SET current_usage = 77 WHERE tenant_id = '$id' AND resource_type = 'api_requests'"
users=$(inside tenant_keep 'SELECT * FROM users')
session_open tenant "$url" e2e-kept 'BEGIN; SELECT 1;'

holds "deleted, the object goes" remove keep
check "the database stays" 'tenant_keep|tenant_keep.owner' "$(server "SELECT datname, pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'tenant_keep'")"
check "the roles stay, closed" 'a=f app=f owner=f ro=f rw=f' "$(server "SELECT string_agg(split_part(rolname, '.', 2) || '=' || left(rolcanlogin::text, 1), ' ' ORDER BY rolname)
    FROM pg_roles WHERE rolname LIKE 'tenant\\_keep.%'")"
within 10 "its sessions are ended" session_gone e2e-kept
session_close tenant
refused "its login is refused" '' sql "$url" 'SELECT 1'
check "what stays is listed" "database tenant_keep primary,role tenant_keep.a primary,role tenant_keep.app primary,role tenant_keep.owner primary,role tenant_keep.ro primary,role tenant_keep.rw primary" \
    "$(registry "SELECT string_agg(format('%s %s %s', kind, name, location), ',' ORDER BY kind, name) FROM tenant_retained WHERE tenant_id = '$id' AND subdomain = 'keep'")"
check "with its size, and for ever" 't|t' "$(registry "SELECT bool_or(kind = 'database' AND size_bytes > 1000000), bool_and(delete_after IS NULL AND retained_at IS NOT NULL) FROM tenant_retained WHERE tenant_id = '$id'")"
within 10 "an Event tells of it" event keep Retained
within 60 "the namespace goes" gone namespace tenant-keep
check "the owner's Secret goes" '' "$(kubectl get secret,role,rolebinding -n tenantry-system --ignore-not-found -o name -l tenantry.dev/tenant=keep)"
check "the record is marked" 'deleted t' "$(registry "SELECT status || ' ' || left((deleted_at IS NOT NULL)::text, 1) FROM tenants WHERE id = '$id'")"

# Applied anew, it does not silently get what somebody else had.
tenant keep '.spec.tier = "premium" | .spec.displayName = "Keepers"'
need within 30 "the name applied anew is a conflict" is keep Ready False NameConflict
check "that waits for the user" 'True NameConflict' "$(condition keep Stalled)"
matches "the message tells of adoption, with the id" "tenantry\.dev/adopt: $id" "$(message keep)"
matches "and of removal" 'remove' "$(message keep)"
matches "and what it is about" 'tenant_keep' "$(message keep)"
check "nothing was touched" f "$(server "SELECT bool_or(rolcanlogin) FROM pg_roles WHERE rolname LIKE 'tenant\\_keep.%'")"
kubectl annotate tenant keep tenantry.dev/adopt=00000000-0000-4000-8000-000000000000 >/dev/null
within 30 "an id that is none is said to be none" message_holds 00000000-0000-4000-8000-000000000000 keep
check "and changes nothing" 'False NameConflict' "$(condition keep Ready)"

kubectl annotate --overwrite tenant keep "tenantry.dev/adopt=$id" >/dev/null
need within 60 "adopted, it is Ready" ready keep
check "it has its id" "$id" "$(tenant_id keep)"
check "the record is in force again" 'active t Keepers' "$(registry "SELECT concat_ws(' ', status, left((deleted_at IS NULL)::text, 1), name) FROM tenants WHERE id = '$id'")"
check "once" 1 "$(registry "SELECT count(*) FROM tenants WHERE subdomain = 'keep'")"
check "nothing is listed as retained" 0 "$(registry "SELECT count(*) FROM tenant_retained WHERE tenant_id = '$id'")"
check "its data are there" 'shop|hello' "$(as_tenant keep 'SELECT a.name, n.text FROM applications a, app.notes n')"
check "its people" "$(cut -d'|' -f1,2 <<<"$users")" "$(inside tenant_keep 'SELECT * FROM users' | cut -d'|' -f1,2)"
check "its use" 77 "$(registry "SELECT current_usage FROM tenant_quotas WHERE tenant_id = '$id' AND resource_type = 'api_requests'")"
holds "a new Secret opens it" login_works keep
holds "the owner has a password that fits" password_fits keep
check "the old one does not open it" t "$([ "$url" != "$(uri keep)" ] && echo t)"
check "database and namespace bear the new UID" "t $(of keep .metadata.uid)" "$(server "SELECT left((shobj_description(oid, 'pg_database') LIKE '%$(of keep .metadata.uid)%')::text, 1) FROM pg_database WHERE datname = 'tenant_keep'") $(
    kubectl get namespace tenant-keep -o 'jsonpath={.metadata.labels.tenantry\.dev/tenant-uid}')"
check "which is another" t "$([ "$uid" != "$(of keep .metadata.uid)" ] && echo t)"
within 10 "an Event tells of it" event keep Adopted
kubectl annotate tenant keep tenantry.dev/adopt- >/dev/null
holds "the annotation can go" reconcile keep
holds "and the tenant stays Ready" ready keep

# Somebody else cannot adopt a tenant that lives.
tenant thief ".metadata.annotations = {\"tenantry.dev/adopt\": \"$id\"} | .spec.deletionPolicy = \"Delete\""
need within 30 "a tenant that lives is nobody else's to adopt" is thief Ready False NameConflict
holds "that one goes" remove thief
holds "and the tenant does not mind" login_works keep

# A snapshot without a store says so and loses nothing.
edit keep '{"spec": {"deletionPolicy": "Snapshot"}}'
within 30 "a policy that cannot be carried out yet does not hold up the tenant" ready keep
kubectl delete tenant keep --wait=false >/dev/null
within 30 "a snapshot needs a store" says 'False SnapshotNoStore' condition keep Ready
check "nothing was deleted" 1 "$(server "SELECT count(*) FROM pg_database WHERE datname = 'tenant_keep'")"
edit keep '{"spec": {"deletionPolicy": "Retain"}}'
within 60 "another policy lets it go on" gone tenant keep

# The cluster is lost with all its objects, and built again from Git. The controller was not there to see them go.
tenant lost '.spec.deletionPolicy = "Delete"'
need within 60 "a tenant in a cluster that will be lost" ready lost
id=$(tenant_id lost)
as_tenant lost "INSERT INTO applications (user_id, name) SELECT id, 'survivor' FROM users"
controller_kill
edit lost '{"metadata": {"finalizers": null}}'
kubectl delete tenant lost >/dev/null
kubectl delete namespace tenant-lost --timeout=60s >/dev/null
kubectl delete secret,role,rolebinding -n tenantry-system -l tenantry.dev/tenant=lost >/dev/null
start_controller
tenant lost
need within 60 "applied anew, it is a conflict" is lost Ready False NameConflict
matches "with the id to adopt" "$id" "$(message lost)"
restart_controller --adopt-orphans
need within 60 "told to adopt what has lost its Tenant, it does" ready lost
check "the id survives" "$id" "$(tenant_id lost)"
check "and the data" survivor "$(as_tenant lost 'SELECT name FROM applications')"
restart_controller
purge lost
tenant keep ".metadata.annotations = {\"tenantry.dev/adopt\": \"$(registry "SELECT id FROM tenants WHERE subdomain = 'keep'")\"}"
need within 60 "what was kept is taken back once more" ready keep
purge keep
check "and removed for good" 0 "$(server "SELECT count(*) FROM pg_database WHERE datname = 'tenant_keep'")"
