# shellcheck shell=bash
# Two controllers at once, neither asking for the Lease, both working on everything: constraints, advisory locks and marks of UID keep them from
# harm (C46).

touch -- "$RUN/controller.log"
from=$(wc -l <"$RUN/controller.log")
start_controller --leader-elect=false
start_second --leader-elect=false
names=()
for ((i = 1; i <= 12; i++)); do
    tenant_json "both$i" '.spec.deletionPolicy = "Delete"'
done | kubectl apply --filename - >/dev/null
for ((i = 1; i <= 12; i++)); do
    names+=("both$i")
done
all_ready()
{
    local name
    for name in "${names[@]}"; do
        ready "$name" || return 1
    done
}
need within 120 "all tenants are Ready" all_ready
check "each has one row in the registry" 12 "$(registry "SELECT count(*) FROM tenants WHERE subdomain LIKE 'both%'")"
check "and one database" 12 "$(server "SELECT count(*) FROM pg_database WHERE datname LIKE 'tenant\\_both%'")"
# wrong: what does not fit. Both may have made a password at once, and agreed on one before they said that the tenant is Ready.
wrong()
{
    local name
    for name in "${names[@]}"; do
        login_works "$name" || echo "login of $name"
        password_fits "$name" || echo "password of $name"
        [ "$(inside "tenant_$name" "SELECT count(*) FROM users WHERE role = 'owner'")" = 1 ] || echo "owners of $name"
    done
}
becomes 30 "every Secret is that of the login that was made, and there is one owner each" '' wrong
edit both1 '{"spec": {"tier": "premium"}}'
edit both2 '{"spec": {"state": "Suspended"}}'
within 60 "changes are made by whoever comes first" eval 'ready both1 && ready both2 && login_fails both2'
check "of both it is not told that anything went wrong for good" '' "$(tail -n +$((from + 1)) -- "$RUN/controller.log" | cat - "$RUN/controller-b.log" | grep '"class":"Terminal"' || true)"
# The counts in the status of tiers and servers follow a moment later.
sleep_until_quiet()
{
    local mark
    mark=$(audit_mark)
    ! wait_for 3 eval "[ -n \"\$(kube_writes $mark)\" ]"
}
within 60 "then there is rest" sleep_until_quiet
kubectl delete tenant "${names[@]}" --wait=false >/dev/null
within 120 "deleted, all of them go" gone tenant "${names[@]}"
check "and leave no database" 0 "$(server "SELECT count(*) FROM pg_database WHERE datname LIKE 'tenant\\_both%'")"
check "nor a role" 0 "$(server "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'tenant\\_both%'")"
holds "both controllers are alive" eval 'page healthz && page_b healthz'
