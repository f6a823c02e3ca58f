# shellcheck shell=bash
# The controller starts onto a view out of the past, in which the Tenant is being deleted. In the present another Tenant bears its name, with
# another UID and a database of the same name. Nothing of the new one is touched (C17, C30).

view=$RUN/view.json
tenants=/apis/tenantry.dev/v1alpha1/tenants

start_controller
tenant stale '.spec.deletionPolicy = "Delete"'
need within 60 "a tenant is Ready" ready stale
old=$(of stale .metadata.uid)
old_id=$(tenant_id stale)
controller_stop
kubectl delete tenant stale --wait=false >/dev/null
kubectl get --raw "$tenants" >"$view"
check "the view of then has it being deleted, and held" "$old true 1" \
    "$(jq -r '.items[] | select(.metadata.name == "stale") | "\(.metadata.uid) \(.metadata.deletionTimestamp != null) \(.metadata.finalizers | length)"' "$view")"

start_controller
need within 60 "it goes, as it should" gone tenant stale
tenant stale '.spec.deletionPolicy = "Delete"'
need within 60 "another takes its name" ready stale
new=$(of stale .metadata.uid)
new_id=$(tenant_id stale)
holds "it is another one" test "$old" != "$new" -a "$old_id" != "$new_id"
as_tenant stale "INSERT INTO applications (user_id, name) SELECT id, 'kept' FROM users LIMIT 1"
database_oid=$(server "SELECT oid FROM pg_database WHERE datname = 'tenant_stale'")
secret_uid=$(kubectl get secret -n tenant-stale stale-database -o 'jsonpath={.metadata.uid}')
password=$(secret tenant-stale stale-database password)
controller_stop

frozen=$(rule "{\"kind\": \"kube\", \"method\": \"GET\", \"path\": \"^$tenants\", \"count\": -1}" "{\"type\": \"frozen\", \"view\": \"$view\"}")
since=$(log_mark)
start_proxied --leader-elect=false
tried()
{
    [ "$(metric controller_runtime_reconcile_total 'controller="tenant"')" -ge 3 ]
}
within 60 "on the stale view it has a try at what it believes" tried
holds "that view is what it was served" test "$(fired "$frozen")" -ge 1
quiet_enough()
{
    curl -fsS --noproxy '*' -o /dev/null "$TENANTRY_FAULTS_URL/quiet?for=1s&timeout=20s"
}
quiet_enough || true
check "the database is the same" "$database_oid" "$(server "SELECT oid FROM pg_database WHERE datname = 'tenant_stale'")"
check "what is in it is there" kept "$(inside tenant_stale "SELECT name FROM applications")"
holds "its login works" login_works stale
check "its Secret is the same" "$secret_uid" "$(kubectl get secret -n tenant-stale stale-database -o 'jsonpath={.metadata.uid}')"
check "with the same password" "$password" "$(secret tenant-stale stale-database password)"
check "the registry knows it" "$new_id" "$(registry "SELECT id FROM tenants WHERE subdomain = 'stale' AND deleted_at IS NULL")"
check "the Tenant stands, with its finalizer" "$new 1 null" "$(of stale '"\(.metadata.uid) \(.metadata.finalizers | length) \(.metadata.deletionTimestamp)"')"
check "no DELETE was let through" '' "$(logged "$since" '.verb == "DELETE" and .status == 200')"

no_rules
reset_connections
tenant stale '.spec.deletionPolicy = "Delete" | .spec.displayName = "The present"'
within 60 "with the present back, it does what that asks for" eval 'ready stale && says "The present" registry "SELECT name FROM tenants WHERE subdomain = '"'stale'"' AND deleted_at IS NULL"'
holds "and the login still works" login_works stale
purge stale
