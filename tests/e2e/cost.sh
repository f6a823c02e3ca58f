# shellcheck shell=bash
# What a tenant costs the API server: from `kubectl apply` to Ready nothing is written but what is made, the finalizer and the status twice; and what a
# watch knows is not asked for, but once for what is not there yet, where somebody else may have put something of that name.
"$ROOT/hack/s3/start" "$RUN" >/dev/null 2>&1

# What is looked at from time to time would be counted for the tenant.
restart_controller --drift-period 1h --probe-period 1h --meter-period 24h
"$ROOT/hack/install" "$RUN" >>"$RUN/install.log" 2>&1
within 30 "the store is in reach" kubectl wait --for=condition=Reachable --timeout=1s objectstore/default
# What others share counts its tenants a moment later; of nobody's but the last is it looked at here.
tenant cost1
need within 60 "a tenant is Ready, with buckets" is cost1 StorageReady True
need becomes 30 "and counted" "$(kubectl get tenants -o json | jq '[.items[] | select(.spec.tier == "free")] | length')" \
    kubectl get tenanttier free -o 'jsonpath={.status.tenants}'

mark=$(audit_mark)
tenant cost2
need within 60 "a second one is Ready" ready cost2
kube_writes "$mark" | grep -Ev '^(create events|patch (tenanttiers|databaseservers|objectstores|sandboxtemplates)(/status)?) ' | sort >"$RUN/cost-writes"
kube_reads "$mark" | sort >"$RUN/cost-reads"
check "the API server was written to so often" '1 finalizer, status 2 times' \
    "$(grep -c '^patch tenants cost2$' "$RUN/cost-writes" || true) finalizer, status $(grep -c '^patch tenants/status cost2$' "$RUN/cost-writes" || true) times"
check "and else once for each object that was made" 'configmaps cost2-tenant
deployments cost2-sandbox
limitranges tenantry
namespaces tenant-cost2
networkpolicies tenantry
resourcequotas tenantry
rolebindings cost2-owner
rolebindings tenantry-namespace-manager
rolebindings tenantry-owner
roles cost2-owner
secrets cost2-database
secrets cost2-owner
secrets cost2-storage
serviceaccounts tenantry-sandbox
services sandbox' "$(grep -v '^patch tenants' "$RUN/cost-writes" | sed 's/^patch //' | sort)"
check "nobody was asked for what a watch tells, but for these, which were not there" 'namespaces tenant-cost2 404
rolebindings cost2-owner 404
roles cost2-owner 404' "$(grep -v '^secrets\|^configmaps' "$RUN/cost-reads" | sort)"
# Secrets are not watched, on purpose: nobody reads them all. How often, that is for one run and for one that follows once the sandbox is there. Whoever
# makes a password looks once more behind its use, since another controller may have made one too; the namespace's right is awaited by asking for what is
# not there yet, and elsewhere somebody may have put a Secret of that name.
check "no Secret or ConfigMap was asked for without need" '' "$(sort "$RUN/cost-reads" | uniq -c | awk '$4 == 200 {print $3, $1}
    $4 == 404 && $3 != "cost2-owner" && $3 != "cost2-database" && $2 != "namespaces" && $2 !~ /^role/ {print $3, "404"}' |
    grep -Ev '^(cost2-database [12]|cost2-owner [12]|cost2-storage 1|cost2-tenant 1)$' || true)"

mark=$(audit_mark)
reconcile cost2
check "a look at a tenant reads what no watch tells, once each" 'configmaps cost2-tenant 200
secrets cost2-database 200
secrets cost2-owner 200
secrets cost2-storage 200' "$(kube_reads "$mark" | sort)"
check "and says that it looked" 'patch tenants/status cost2' "$(kube_writes "$mark" | grep -v '^patch [a-z]*/status \(free\|primary\|default\|node\)$')"

# What a watch tells is healed at once, though the next look is an hour away.
healed()
{
    [ "$(kubectl get namespace tenant-cost2 -o 'jsonpath={.metadata.labels.pod-security\.kubernetes\.io/enforce}')" = restricted ]
}
kubectl label namespace tenant-cost2 pod-security.kubernetes.io/enforce- >/dev/null
within 10 "Pod Security is back" healed
kubectl delete rolebinding --namespace tenant-cost2 tenantry-namespace-manager >/dev/null
within 10 "the controller's binding too" kubectl get rolebinding --namespace tenant-cost2 tenantry-namespace-manager
# Who may read the owner's password.
kubectl patch role --namespace tenantry-system cost2-owner --type json \
    --patch '[{"op": "remove", "path": "/rules/0/resourceNames"}]' >/dev/null
narrow()
{
    [ cost2-owner = "$(kubectl get role --namespace tenantry-system cost2-owner --output 'jsonpath={.rules[*].resourceNames[*]}')" ]
}
within 10 "a wider right to read the owner's Secret is narrow again" narrow
kubectl delete rolebinding --namespace tenantry-system cost2-owner >/dev/null
within 10 "who has it, too" kubectl get rolebinding --namespace tenantry-system cost2-owner

# Health is checked with the tenant's own login, which the Secret says once.
health_checks()
{
    metric controller_runtime_reconcile_total 'controller="monitor"'
}
# checked_more TIMES: all tenants, so often.
checked_more()
{
    local goal
    goal=$(($(health_checks) + $1 * $(kubectl get tenants -o name | wc -l)))
    wait_for 60 eval "[ \"\$(health_checks)\" -ge $goal ]"
}
succeeds()
{
    page metrics | sed -n "s/^tenantry_tenant_probe_success{tenant=\"cost2\",probe=\"$1\"} //p"
}
restart_controller --drift-period 1h --probe-period 1s --meter-period 24h
mark=$(audit_mark)
holds "behind a restart the health of all is checked" checked_more 5
check "with their Secrets, each of which is read once" 'secrets cost2-database 200
secrets cost2-storage 200' "$(kube_reads "$mark" | grep cost2 | sort)"
mark=$(audit_mark)
holds "and again" checked_more 5
check "without a read" '' "$(kube_reads "$mark" | grep ' cost' || true)"
user=$(secret tenant-cost2 cost2-database user)
kubectl patch secret --namespace tenant-cost2 cost2-database --patch '{"stringData": {"password": "of-somebody-who-changes-both-0123"}}' >/dev/null
server "ALTER ROLE \"$user\" PASSWORD 'of-somebody-who-changes-both-0123'" >/dev/null
holds "a changed password is learnt of when the old one is refused" checked_more 5
check "by one read" 'secrets cost2-database 200' "$(kube_reads "$mark" | grep ' cost' || true)"
check "and no check failed" '1 1' "$(succeeds database) $(succeeds bucket)"

restart_controller
purge cost1 cost2
# Other scenarios begin without a store.
within 30 "the store goes" kubectl delete objectstore default
