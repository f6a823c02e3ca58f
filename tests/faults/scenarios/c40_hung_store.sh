# shellcheck shell=bash
# An object store that accepts connections and never answers: only what needs it waits (C40). Tenants without buckets are made as fast as
# before, and those with buckets get their database, and changes of it, all the same.

"$ROOT/hack/s3/start" "$RUN" >/dev/null
"$ROOT/hack/install" "$RUN" >/dev/null
"$ROOT/tests/faults/stop" "$RUN"
"$ROOT/tests/faults/start" "$RUN"
# shellcheck source=/dev/null
source "$RUN/env"
kubectl patch objectstore default --type merge --patch \
    "{\"spec\": {\"endpoint\": \"$TENANTRY_FAULTS_S3\", \"accounts\": {\"endpoint\": \"$TENANTRY_FAULTS_IAM\"}}}" >/dev/null

# times PREFIX COUNT: milliseconds from the apply to Ready of tenants without buckets, one after another, sorted.
times()
{
    local i start
    for ((i = 1; i <= $2; i++)); do
        tenant "$1$i" '.spec.deletionPolicy = "Delete" | .spec.buckets = []'
        start=$(now_ms)
        wait_for 60 ready "$1$i" || return 1
        printf '%d\n' "$(($(now_ms) - start))"
    done | sort -n
}

WITH=12
all_of()
{
    local i
    for ((i = 1; i <= WITH; i++)); do
        "$@" "with$i" || return 1
    done
}

start_controller --leader-elect=false
for ((i = 1; i <= WITH; i++)); do
    tenant_json "with$i" '.spec.deletionPolicy = "Delete"'
done | kubectl apply --filename - >/dev/null
need within 180 "$WITH tenants with buckets are Ready" all_of ready
before=$(times before 6)
rule '{"kind": "s3|iam", "method": ".", "count": -1}' '{"type": "blackhole"}' >/dev/null
# More of them than there are workers want something of the store that hangs, and of the database, which does not.
for ((i = 1; i <= WITH; i++)); do
    edit "with$i" '{"spec": {"tier": "premium", "buckets": [{"name": "more"}], "owner": {"name": "Another Name"}}}'
done
renamed()
{
    says 'Another Name' inside "tenant_$1" "SELECT full_name FROM users WHERE role = 'owner'"
}
within 30 "their databases follow the spec" all_of renamed
after=$(times after 6)
say "ms until Ready before: $(tr '\n' ' ' <<<"$before"), while the store hangs: $(tr '\n' ' ' <<<"$after")"
check "all tenants without buckets became Ready" '6 6' "$(wc -l <<<"$before") $(wc -l <<<"$after")"
slowest_before=$(tail -n 1 <<<"$before")
slowest_after=$(tail -n 1 <<<"$after")
holds "none took longer than before" test "$slowest_after" -le $((slowest_before * 2 + 2000))
tenant late '.spec.deletionPolicy = "Delete"'
within 30 "a new tenant with buckets has its database" login_works late
within 60 "and says that it waits for the store alone" is late StorageReady False
within 60 "and that its database is there" is late DatabaseReady True
holds "the controller is well" page healthz
no_rules
reset_connections
within 180 "once it answers, they are Ready" all_of ready
within 60 "the new one, too" ready late
kubectl delete tenant --all --wait=false >/dev/null
nobody_left()
{
    [ -z "$(kubectl get tenants -o name)" ]
}
within 180 "all of them can go" nobody_left
kubectl delete objectstore default >/dev/null
"$ROOT/hack/s3/stop" "$RUN" >/dev/null 2>&1
