# shellcheck shell=bash
# What the status says, and what the tools of the trade make of it.

tenant st
need within 60 "a tenant is Ready" ready st
check "all conditions that there are" 'DatabaseReady=True MonitoringReady=True OwnerReady=True QuotasReady=True Ready=True Registered=True SandboxesReady=True SchemaReady=True Serving=True StorageReady=True Suspended=False' \
    "$(of st '[.status.conditions[] | "\(.type)=\(.status)"] | sort | join(" ")')"
# shellcheck disable=SC2016 # the dollars are jq's
check "each is of this generation, with reason, time and message" '' "$(of st '.metadata.generation as $generation | .status.conditions[]
    | select(.observedGeneration != $generation or (.reason | test("^[A-Z][A-Za-z]+$") | not) or (.lastTransitionTime | fromdateiso8601 < 1) or .message == "") | .type')"
check "kstatus calls it done" Current "$(verdict st)"
check "the columns" 'NAME TIER STATE READY REASON DATABASE AGE' "$(kubectl get tnt st | sed -n '1{s/  */ /g;s/ $//;p}')"
check "its row" 'st free Active True AsSpecified tenant_st' "$(kubectl get tnt st --no-headers | awk '{print $1, $2, $3, $4, $5, $6}')"
matches "the wide row" 'Database +primary +The tenant is' "$(kubectl get tnt st -o wide --no-headers)"
matches "Events tell of it" . "$(events st)"

# Times move only with the status of a condition.
before=$(of st '[.status.conditions[] | {(.type): .lastTransitionTime}] | add | tojson')
# They have whole seconds: one that is written anew has to differ.
later()
{
    [ "$(date +%s)" -gt "$(jq '[.[] | fromdateiso8601] | max' <<<"$before")" ]
}
need within 5 "a second passes" later
edit st '{"spec": {"displayName": "Another"}}'
need within 60 "it follows a change" ready st
check "times of conditions that stayed as they were stay" "$(jq -cS 'del(.Ready)' <<<"$before")" \
    "$(of st '[.status.conditions[] | {(.type): .lastTransitionTime}] | add | del(.Ready) | tojson' | jq -cS .)"

# What waits for the user is Failed, by kstatus' words, and Ready says why.
edit st '{"spec": {"tier": "no-such-tier"}}'
need within 30 "an unknown tier is a clear condition" is st Ready False TierNotFound
check "it waits for the user" 'True TierNotFound' "$(condition st Stalled)"
check "and is not said to go on by itself" '' "$(condition st Reconciling)"
check "kstatus calls it failed" Failed "$(verdict st)"
matches "the message names the tier" '"no-such-tier"' "$(message st)"
check "the other conditions keep what was" 'True AsSpecified' "$(condition st DatabaseReady)"
edit st '{"spec": {"tier": "free"}}'
need within 60 "it heals" ready st
check "the word is gone" '' "$(condition st Stalled)"

# A look on demand.
holds "an annotation asks for a look, and status says that it was taken" reconcile st

# Nobody else's kind is left alone either: tiers and servers count who uses them.
becomes 30 "the tier counts its tenants" "$(kubectl get tenants -o json | jq '[.items[] | select(.spec.tier == "free")] | length')" \
    kubectl get tenanttier free -o 'jsonpath={.status.tenants}'
refused "a tier in use cannot be deleted" 'in use by tenants' kubectl delete tenanttier free
becomes 30 "the server counts them too" "$(kubectl get tenants -o json | jq '[.items[] | select(.status.database.server == "primary")] | length')" \
    kubectl get databaseserver primary -o 'jsonpath={.status.tenants}'
refused "a server in use cannot be deleted" 'in use by tenants' kubectl delete databaseserver primary
check "the server is reachable and hardened" 'Hardened=True Reachable=True' "$(kubectl get databaseserver primary -o json |
    jq -r '[.status.conditions[] | select(.type | IN("Reachable", "Hardened")) | "\(.type)=\(.status)"] | sort | join(" ")')"
matches "it says its version" '^15|^1[6-9]' "$(kubectl get databaseserver primary -o 'jsonpath={.status.version}')"

# What is open to every role is said, with the statement that closes it.
server 'GRANT CONNECT ON DATABASE template1 TO PUBLIC'
becomes 60 "an open database is not hardened" False kubectl get databaseserver primary -o 'jsonpath={.status.conditions[?(@.type=="Hardened")].status}'
matches "the message prints the REVOKE" 'REVOKE [A-Z, ]*CONNECT.* ON DATABASE "?template1"? FROM PUBLIC' \
    "$(kubectl get databaseserver primary -o 'jsonpath={.status.conditions[?(@.type=="Hardened")].message}')"
server 'REVOKE CONNECT ON DATABASE template1 FROM PUBLIC'
becomes 60 "closed, it is" True kubectl get databaseserver primary -o 'jsonpath={.status.conditions[?(@.type=="Hardened")].status}'

# Metrics under the names that dashboards for controllers know.
for name in controller_runtime_reconcile_total controller_runtime_reconcile_time_seconds_count workqueue_depth workqueue_adds_total; do
    matches "metric $name" "(^|"$'\n'")$name\{[^}]*tenant" "$(page metrics)"
done
holds "healthz" page healthz
holds "readyz" page readyz
purge st
