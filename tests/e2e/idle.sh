# shellcheck shell=bash
# Sandboxes that nobody uses sleep, and wake with the next request through a real gateway. Time is not waited for: the registry is told that the last
# request was longer ago.

GATEWAY_PORT=$(stable_port "$RUN" gateway)
KEY=key-$(openssl rand -hex 16)

start_gateway()
{
    process_start "$RUN" gateway "$ROOT/build/release/tenantry-gateway" --listen "127.0.0.1:$GATEWAY_PORT" --domain tenants.localhost \
        --metrics-address '' --registry-url-file "$RUN/gateway/registry-url" --password-file "$RUN/gateway/postgres-password" --drain-delay 0s
    process_wait "$RUN" gateway 60 curl -fsS --noproxy '*' "http://127.0.0.1:$GATEWAY_PORT/readyz"
}

# request [KEY]: the status, Retry-After and body of a decision.
request()
{
    curl -sS --noproxy '*' --max-time 40 -H 'Host: doze.tenants.localhost' -H "Authorization: Bearer ${1:-$KEY}" -w '%{http_code} %header{retry-after}' \
        "http://127.0.0.1:$GATEWAY_PORT/authz"
}

copies()
{
    kubectl get deployments --namespace tenant-doze --output json | jq -r '[.items[] | "\(.metadata.name)=\(.spec.replicas)/\(.status.availableReplicas // 0)"] | sort | join(" ")'
}

# long_ago: the tenant was last used longer ago than its tier gives.
long_ago()
{
    registry "UPDATE tenant_activity SET last_request_at = now() - interval '1 hour', awake_since = now() - interval '1 hour' WHERE tenant_id = '$id'"
}

sleeps()
{
    says t registry "SELECT asleep FROM tenant_activity WHERE tenant_id = '$id'"
}

tier()
{
    jq -n "{apiVersion: \"tenantry.dev/v1alpha1\", kind: \"TenantTier\", metadata: {name: \"sleepy\"}, spec: {quotas: {sandboxes: 3, storage_mb: 50,
        compute_hours: -1, users: 4, api_requests: 1000}, idle: $1}}" | kubectl apply --filename - >/dev/null
}

restart_controller --idle-period 1s
tier '{scaleToZeroAfter: "1m"}'
tenant doze '.spec += {tier: "sleepy", sandboxes: [{name: "sandbox"}, {name: "worker", template: "postgres-client", replicas: 2}]}'
need within 60 "a tenant is Ready" ready doze
id=$(tenant_id doze)
check "its sandboxes run" 'doze-sandbox=1/1 doze-worker=2/2' "$(copies)"
within 20 "its time begins" says t registry "SELECT awake_since > now() - interval '1 minute' FROM tenant_activity WHERE tenant_id = '$id' AND NOT asleep"
inside tenant_doze "INSERT INTO public.api_keys (tenant_id, user_id, key_hash, name) SELECT tenant_id, id, encode(sha256('$KEY'), 'hex'), 'e2e' FROM public.users LIMIT 1"
start_gateway

long_ago
becomes 30 "nobody uses it: nothing runs" 'doze-sandbox=0/0 doze-worker=0/0' copies
becomes 10 "the condition says why" 'True Asleep' condition doze SandboxesReady
check "the tenant is Ready" 'True AsSpecified' "$(condition doze Ready)"
mark=$(audit_mark)
reconcile doze
check "it is left so" 'patch tenants/status doze' "$(kube_writes "$mark")"
mark=$(audit_mark)
restart_controller --idle-period 1s
reconcile doze
check "by another controller, too" 'patch tenants/status doze' "$(kube_writes "$mark" | sort -u)"

check "who is not authenticated wakes nobody" '{"error":"Unauthorized"}401 ' "$(request nobody)"
holds "it sleeps on" sleeps
waiting=()
for i in 1 2 3 4 5; do
    { request && copies; } >"$RUN/idle-$i" &
    waiting[i]=$!
done
for i in 1 2 3 4 5; do wait "${waiting[i]}"; done
check "requests wait until the sandboxes run, and go on" '204 doze-sandbox=1/1 doze-worker=2/2' "$(sort -u "$RUN"/idle-[1-5])"
check "it is awake" f "$(registry "SELECT asleep OR wake_requested_at IS NOT NULL FROM tenant_activity WHERE tenant_id = '$id'")"
becomes 20 "the condition says so" 'True AsSpecified' condition doze SandboxesReady
check "those who waited are counted once each" 5 "$(process_stop "$RUN" gateway TERM 30 && registry "SELECT current_usage FROM tenant_quotas WHERE tenant_id = '$id' AND resource_type = 'api_requests'")"
start_gateway

# Another answer by policy.
tier '{scaleToZeroAfter: "1m", wake: "Refuse"}'
becomes 30 "the gateway is told to refuse instead" Refuse registry "SELECT gateway ->> 'wake' FROM tenants WHERE id = '$id'"
long_ago
becomes 30 "it sleeps again" 'doze-sandbox=0/0 doze-worker=0/0' copies
check "a request is told to come back" '{"error":"Tenant is waking up"}503 5' "$(request)"
becomes 30 "meanwhile it wakes" 'doze-sandbox=1/1 doze-worker=2/2' copies
becomes 20 "and the next goes on" '204 ' request

# What ends sleep besides.
long_ago
becomes 30 "it sleeps" 'doze-sandbox=0/0 doze-worker=0/0' copies
edit doze '{"spec": {"state": "Suspended"}}'
need within 30 "suspended in its sleep" is doze Suspended True
becomes 20 "it is said to be awake: suspension is what holds it" f registry "SELECT asleep FROM tenant_activity WHERE tenant_id = '$id'"
check "a request is told so" '{"error":"Tenant suspended"}403 ' "$(request)"
edit doze '{"spec": {"state": "Active"}}'
becomes 30 "active again it runs" 'doze-sandbox=1/1 doze-worker=2/2' copies
long_ago
becomes 30 "it sleeps once more" 'doze-sandbox=0/0 doze-worker=0/0' copies
tier null
becomes 30 "without a policy everybody wakes" 'doze-sandbox=1/1 doze-worker=2/2' copies
becomes 20 "and is awake" f registry "SELECT asleep FROM tenant_activity WHERE tenant_id = '$id'"
becomes 20 "then nothing listens any more" 0 server "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%idle%' AND pid <> pg_backend_pid()"
process_stop "$RUN" gateway TERM 30
restart_controller
purge doze
within 30 "the tier can go" kubectl delete tenanttier sleepy
