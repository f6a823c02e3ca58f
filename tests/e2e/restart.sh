# shellcheck shell=bash
# A restart with everything in place costs nothing: no request that writes, no statement that does. What was changed while the controller
# was away is done when it is back.

# What runs is metered, a write a period; that is no rest, so the period is longer than the test.
restart_controller --meter-period 24h
for name in rs1 rs2 rs3; do
    tenant "$name"
done
for name in rs1 rs2 rs3; do
    need within 60 "$name is Ready" ready "$name"
done
quiet_server
settled

for signal in KILL TERM; do
    kubectl get tenants -o json | jq -cS '[.items[] | [.metadata.name, .metadata.resourceVersion]]' >"$RUN/versions"
    if [ "$signal" = KILL ]; then controller_kill; else controller_stop; fi
    audit=$(audit_mark)
    log=$(sql_mark)
    xid=$(transactions)
    start_controller --meter-period 24h
    # More than twice each: the first list, and the drift checks that follow it.
    need within 60 "after SIG$signal it is back and looks at its tenants" eval "[ \"\$(tenant_runs)\" -ge $((3 * $(kubectl get tenants -o name | wc -l))) ]"
    check "SIG$signal: it wrote nothing to the API" '' "$(kube_writes "$audit")"
    check "SIG$signal: no transaction on the server changed anything" "$xid" "$(transactions)"
    check "SIG$signal: no statement that could" '' "$(sql_writes "$log")"
    check "SIG$signal: every Tenant is the same version" "$(cat "$RUN/versions")" "$(kubectl get tenants -o json | jq -cS '[.items[] | [.metadata.name, .metadata.resourceVersion]]')"
done
holds "it did renew its Lease" test "$(lease_writes "$audit")" -gt 0

# What happened meanwhile.
controller_kill
edit rs1 '{"spec": {"tier": "premium"}}'
tenant rs4
edit rs2 '{"spec": {"deletionPolicy": "Delete"}}'
kubectl delete tenant rs2 --wait=false >/dev/null
inside tenant_rs3 'DROP TABLE api_keys'
start_controller
within 60 "a Tenant changed meanwhile" ready rs1
check "follows" premium "$(registry "SELECT tier FROM tenants WHERE subdomain = 'rs1'")"
within 60 "a Tenant made meanwhile is Ready" ready rs4
within 60 "a Tenant deleted meanwhile is gone" gone tenant rs2
check "with its database" 0 "$(server "SELECT count(*) FROM pg_database WHERE datname = 'tenant_rs2'")"
within 60 "what was dropped meanwhile is back" says t inside tenant_rs3 "SELECT to_regclass('public.api_keys') IS NOT NULL"

# Killed in the middle of making some, it goes on: each once, none forgotten.
names=(rs5 rs6 rs7 rs8 rs9)
for name in "${names[@]}"; do
    tenant "$name"
done
some_begun()
{
    [ "$(server "SELECT count(*) FROM pg_database WHERE datname ~ '^tenant_rs[5-9]$'")" -ge 1 ]
}
within 60 "it is in the middle of it" some_begun
controller_kill
start_controller
for name in "${names[@]}"; do
    within 90 "$name is Ready" ready "$name"
    within 30 "$name: the owner's password fits" password_fits "$name"
    within 30 "$name: its Secret opens it" login_works "$name"
done
check "each is in the registry once" '1 1 1 1 1' "$(registry "SELECT string_agg(n::text, ' ') FROM (SELECT count(*) n FROM tenants WHERE subdomain ~ '^rs[5-9]$' GROUP BY subdomain) t")"

# Stopped as a Deployment stops it.
pid=$(process_pid "$RUN" controller)
kill -TERM "$pid"
within 20 "SIGTERM ends it" process_gone "$RUN" controller
matches "in good order" 'stopp|ended|bye' "$(tail -n 3 -- "$RUN/controller.log")"
start_controller
server 'ALTER SYSTEM RESET autovacuum' && server 'ALTER SYSTEM RESET log_min_duration_statement' && server "ALTER SYSTEM SET log_statement = 'all'" && server 'SELECT pg_reload_conf()' >/dev/null
purge rs1 rs3 rs4 "${names[@]}"
