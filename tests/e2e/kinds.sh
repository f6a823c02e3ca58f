# shellcheck shell=bash
# The kinds themselves go: no tenant loses anything by that, whatever its policy; without them the controller waits and says for what; with them back,
# tenants can be taken back. Last, since nobody's Tenant survives it.

tenant crd1 '.spec.deletionPolicy = "Delete"'
tenant crd2
tenant crd3 '.spec.deletionPolicy = "Snapshot"'
need within 60 "a tenant that is to be deleted with all it has" ready crd1
need within 60 "one that is not" ready crd2
need within 60 "and one that is to be dumped and deleted" ready crd3
id=$(tenant_id crd1)
as_tenant crd1 "INSERT INTO applications (user_id, name) SELECT id, 'survivor' FROM users"

kubectl delete crd tenants.tenantry.dev --wait=false >/dev/null
within 90 "the kind goes, with all its Tenants" gone crd tenants.tenantry.dev
for name in crd1 crd2 crd3; do
    check "$name: its database stays" 1 "$(server "SELECT count(*) FROM pg_database WHERE datname = 'tenant_$name'")"
    check "$name: it is listed" 1 "$(registry "SELECT count(*) FROM tenant_retained WHERE name = 'tenant_$name' AND kind = 'database'")"
done
within 10 "an Event tells why" event crd1 CRDTerminating

# Without its kinds the controller waits.
restart_without_kinds()
{
    controller_stop
    controller_start --drift-period 2s
    wait_for 30 page healthz
}
holds "it starts without its kind" restart_without_kinds
refused "and is not ready" '' page readyz
says_why()
{
    curl -sS --noproxy '*' --max-time 5 "http://$METRICS/readyz" | grep -q 'tenants: .*'
}
within 30 "readyz says for what it waits" says_why
matches "the log says what to do" 'crds|CRD|CustomResourceDefinition' "$(tail -n 50 -- "$RUN/controller.log")"
pid=$(process_pid "$RUN" controller)
kubectl apply --server-side --force-conflicts --field-manager tenantry-install --kustomize "$ROOT/crds" >/dev/null
within 60 "once the kind is there it is ready" page readyz
check "without a restart" "$pid" "$(process_pid "$RUN" controller)"

tenant crd1 ".metadata.annotations = {\"tenantry.dev/adopt\": \"$id\"}"
need within 60 "a tenant is taken back" ready crd1
check "with its data" survivor "$(as_tenant crd1 'SELECT name FROM applications')"
check "and its id" "$id" "$(tenant_id crd1)"
for name in crd2 crd3; do
    id=$(registry "SELECT tenant_id FROM tenant_retained WHERE name = 'tenant_$name'")
    tenant "$name" ".metadata.annotations = {\"tenantry.dev/adopt\": \"$id\"}"
    need within 60 "$name too" ready "$name"
done
check "no snapshot was taken" 0 "$(registry "SELECT count(*) FROM tenant_snapshots WHERE tenant_id::text = '$id'")"
purge crd1 crd2 crd3
