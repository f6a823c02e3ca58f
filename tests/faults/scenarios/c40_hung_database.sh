# shellcheck shell=bash
# A database server that accepts connections and never answers: its tenants wait, and all others are made as fast as before (C40).

another_server()
{
    kubectl create secret generic -n tenantry-system hung-credentials --from-literal=username=tenantry_controller \
        --from-literal=password="$(cat -- "$RUN/controller/postgres-password")" --dry-run=client -o json | kubectl apply -f - >/dev/null
    jq -n --argjson port "$TENANTRY_FAULTS_SQL_PORT" --rawfile ca "$RUN/postgres-ca.crt" '{apiVersion: "tenantry.dev/v1alpha1", kind: "DatabaseServer",
        metadata: {name: "hung"}, spec: {hosts: ["127.0.0.1"], port: $port, caBundle: $ca, schedulable: false, credentialsSecretRef: {name: "hung-credentials"}}}' |
        kubectl apply -f - >/dev/null
}

# times PREFIX COUNT: milliseconds from the apply to Ready of tenants on the healthy server, one after another, sorted.
times()
{
    local i start
    for ((i = 1; i <= $2; i++)); do
        tenant "$1$i" '.spec.deletionPolicy = "Delete" | .spec.database.serverRef.name = "primary"'
        start=$(now_ms)
        wait_for 60 ready "$1$i" || return 1
        printf '%d\n' "$(($(now_ms) - start))"
    done | sort -n
}

HUNG=12
all_of()
{
    local i
    for ((i = 1; i <= HUNG; i++)); do
        "$@" "hung$i" || return 1
    done
}

start_controller --leader-elect=false
another_server
for ((i = 1; i <= HUNG; i++)); do
    tenant_json "hung$i" '.spec.deletionPolicy = "Delete" | .spec.database.serverRef.name = "hung"'
done | kubectl apply --filename - >/dev/null
need within 180 "the server behind the proxy serves $HUNG tenants" all_of ready
before=$(times before 6)
rule '{"kind": "sql", "method": ".", "count": -1, "open": true}' '{"type": "blackhole"}' >/dev/null
# More of them than there are workers want something of the server that hangs.
for ((i = 1; i <= HUNG; i++)); do
    edit "hung$i" '{"spec": {"tier": "premium"}}'
done
after=$(times after 6)
say "ms until Ready before: $(tr '\n' ' ' <<<"$before"), while the other server hangs: $(tr '\n' ' ' <<<"$after")"
check "all of the others became Ready" '6 6' "$(wc -l <<<"$before") $(wc -l <<<"$after")"
slowest_before=$(tail -n 1 <<<"$before")
slowest_after=$(tail -n 1 <<<"$after")
# Twice, and two seconds for a machine that does other things: a worker that is held up waits ten seconds and more.
holds "none took longer than before" test "$slowest_after" -le $((slowest_before * 2 + 2000))
says_so()
{
    is "$1" Ready False
}
within 120 "those of the hung server say why they wait" all_of says_so
holds "the controller is well" page healthz
no_rules
reset_connections
within 180 "once it answers, they are Ready" all_of ready
kubectl delete tenant --all --wait=false >/dev/null
nobody_left()
{
    [ -z "$(kubectl get tenants -o name)" ]
}
within 180 "all of them can go" nobody_left
# How many tenants it has is counted a moment later, and until then it may not be deleted.
within 60 "and then the server" kubectl delete databaseserver hung
