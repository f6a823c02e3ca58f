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
# How often, that is for one run and for one that follows once the sandbox is there. Secrets are not watched, on purpose: nobody reads them all.
check "no Secret or ConfigMap was asked for more than four times" '' "$(uniq -c "$RUN/cost-reads" | awk '$1 > 4')"

mark=$(audit_mark)
reconcile cost2
check "a look at a tenant reads what no watch tells, once each" 'configmaps cost2-tenant 200
secrets cost2-database 200
secrets cost2-owner 200
secrets cost2-storage 200' "$(kube_reads "$mark" | sort)"
check "and says that it looked" 'patch tenants/status cost2' "$(kube_writes "$mark")"

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
restart_controller
purge cost1 cost2
# Other scenarios begin without a store.
within 30 "the store goes" kubectl delete objectstore default
