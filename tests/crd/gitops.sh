# shellcheck shell=bash
# Argo CD's view: the health scripts and the actions, run by its interpreter, and the component that carries them.

have go || die "go is needed for this part; see the README"
(cd -- "$HERE/lua" && go build -trimpath -o "$TMP/lua" .) || die "cannot build tests/crd/lua; is the Go module proxy reachable?"
ARGOCD=$ROOT/manifests/gitops/argocd

# condition TYPE STATUS [REASON MESSAGE]
condition()
{
    jq -cn --arg type "$1" --arg status "$2" --arg reason "${3:-Because}" --arg message "${4:-so it is}" \
        '{type: $type, status: $status, reason: $reason, message: $message}'
}
# object METADATA SPEC OBSERVED CONDITION...: metadata is of generation 2.
object()
{
    local metadata=$1 spec=$2 observed=$3
    shift 3
    printf '%s\n' "$@" | jq -cs --argjson metadata "$metadata" --argjson spec "$spec" --argjson observed "$observed" \
        '{metadata: ({name: "acme", generation: 2} + $metadata), spec: $spec, status: {observedGeneration: $observed, conditions: .}}'
}
# health LABEL SCRIPT STATUS FRAGMENT OBJECT
health()
{
    local got
    got=$("$TMP/lua" health "$ARGOCD/$2-health.lua" <<<"$5" 2>&1) || true
    check "health of $1" "$3" "$(jq -r .status <<<"$got" 2>/dev/null || printf '%s' "$got")"
    case $(jq -r .message <<<"$got" 2>/dev/null) in
        *"$4"*) pass ;;
        *) fail "health of $1: message" "expected: $4" "actual:   $got" ;;
    esac
}

READY=$(condition Ready True Provisioned 'everything stands')
NOT_READY=$(condition Ready False DatabaseUnreachable 'cannot connect to pg')
health "a fresh Tenant" tenant Progressing "waiting for the controller" '{"metadata":{"generation":1},"spec":{},"status":{"observedGeneration":-1}}'
health "a Tenant without any status" tenant Progressing "waiting for the controller" '{"metadata":{"generation":1},"spec":{}}'
health "a ready Tenant" tenant Healthy "Provisioned: everything stands" "$(object '{}' '{}' 2 "$READY")"
health "a Tenant that was edited since" tenant Progressing "to see the change" "$(object '{}' '{}' 1 "$READY")"
health "a Tenant seen, without conditions" tenant Progressing "waiting for the controller" '{"metadata":{"generation":2},"spec":{},"status":{"observedGeneration":2}}'
health "a Tenant that is not ready" tenant Progressing "DatabaseUnreachable: cannot connect to pg" "$(object '{}' '{}' 2 "$NOT_READY")"
health "a Tenant at work" tenant Progressing "Retrying" "$(object '{}' '{}' 2 "$NOT_READY" "$(condition Reconciling True Retrying)")"
health "a Tenant that waits for its user" tenant Degraded "TierNotFound: no TenantTier gold" \
    "$(object '{}' '{}' 2 "$NOT_READY" "$(condition Stalled True TierNotFound 'no TenantTier gold')")"
health "a Tenant that no longer stalls" tenant Healthy "everything stands" "$(object '{}' '{}' 2 "$READY" "$(condition Stalled False)")"
health "a suspended Tenant" tenant Suspended "Because" "$(object '{}' '{"state":"Suspended"}' 2 "$READY" "$(condition Suspended True)")"
health "a Tenant on its way into suspension" tenant Progressing "cannot connect" "$(object '{}' '{"state":"Suspended"}' 2 "$NOT_READY" "$(condition Suspended False)")"
health "a Tenant over quota" tenant Healthy "storage_mb" "$(object '{}' '{}' 2 "$READY" "$(condition QuotaExceeded True StorageExceeded 'storage_mb: 1200 of 1000')")"
health "a paused Tenant" tenant Suspended "paused" "$(object '{"annotations":{"tenantry.dev/paused":"true"}}' '{}' 1 "$NOT_READY")"
health "a Tenant being deleted" tenant Progressing "DatabaseBusy" \
    "$(object '{"deletionTimestamp":"2026-01-01T00:00:00Z"}' '{}' 2 "$(condition Ready False DatabaseBusy)")"

health "a fresh TenantTier" tier Progressing "waiting" '{"metadata":{"generation":1},"spec":{},"status":{"observedGeneration":-1}}'
health "a ready TenantTier" tier Healthy "Provisioned" "$(object '{}' '{}' 2 "$READY")"
health "a TenantTier that cannot be used" tier Degraded "cannot" "$(object '{}' '{}' 2 "$NOT_READY")"

health "a fresh DatabaseServer" server Progressing "waiting" '{"metadata":{"generation":1},"spec":{},"status":{"observedGeneration":-1}}'
health "a DatabaseServer in reach" server Healthy "Connected" "$(object '{}' '{}' 2 "$(condition Reachable True Connected)")"
health "a DatabaseServer out of reach" server Degraded "Refused" "$(object '{}' '{}' 2 "$(condition Reachable False Refused)")"
health "a DatabaseServer not yet tried" server Progressing "try the connection" "$(object '{}' '{}' 2 "$(condition Hardened False Open)")"
health "a DatabaseServer with open doors" server Healthy "Open" "$(object '{}' '{}' 2 "$(condition Reachable True)" "$(condition Hardened False Open)")"
health "an ObjectStore in reach" server Healthy "takes the controller's key" "$(object '{}' '{}' 2 "$(condition Reachable True AsSpecified "The store takes the controller's key.")")"
health "an ObjectStore out of reach" server Degraded "StorageUnreachable" "$(object '{}' '{}' 2 "$(condition Reachable False StorageUnreachable)")"

# Actions: which are offered, what they change, and that they change nothing else.
ACTIVE='{"metadata":{"name":"acme"},"spec":{"state":"Active","tier":"free"}}'
SUSPENDED='{"metadata":{"name":"acme"},"spec":{"state":"Suspended","tier":"free"}}'
act()
{
    "$TMP/lua" action "$1" "$ARGOCD/tenant-actions.yaml" <<<"$2" | jq -cS .
}
offered()
{
    "$TMP/lua" discovery "$ARGOCD/tenant-actions.yaml" <<<"$1" | jq -c 'to_entries | map(select(.value.disabled | not) | .key) | sort'
}
check "actions of an active Tenant" '["reconcile","suspend"]' "$(offered "$ACTIVE")"
check "actions of a suspended Tenant" '["reconcile","resume"]' "$(offered "$SUSPENDED")"
check "suspend" "$(jq -cS . <<<"$SUSPENDED")" "$(act suspend "$ACTIVE")"
check "resume" "$(jq -cS . <<<"$ACTIVE")" "$(act resume "$SUSPENDED")"
REQUESTED=$(act reconcile "$ACTIVE")
check "reconcile asks for it by annotation" true "$(jq '.metadata.annotations["tenantry.dev/reconcile-requested-at"] |
    test("^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$")' <<<"$REQUESTED")"
check "reconcile changes nothing else" "$(jq -cS . <<<"$ACTIVE")" "$(jq -cS 'del(.metadata.annotations)' <<<"$REQUESTED")"

# The server takes what the actions write.
for state in Suspended Active; do
    accept tenants "an action's state $state" ".spec.state = \"$state\""
done

# The component extends the ConfigMap of whoever installs Argo CD, with and without a namespace in it.
for namespace in '' 'namespace: argocd'; do
    mkdir -p "$TMP/overlay"
    printf 'apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: argocd-cm\n  %s\ndata:\n  url: https://argocd.example.com\n' "$namespace" >"$TMP/overlay/cm.yaml"
    printf 'resources: [cm.yaml]\ncomponents: [%s]\n' "$(realpath --relative-to="$(realpath "$TMP/overlay")" "$ARGOCD")" >"$TMP/overlay/kustomization.yaml"
    kubectl kustomize "$TMP/overlay" >"$TMP/built.yaml" || true
    check "the component extends argocd-cm (${namespace:-no namespace})" 'ConfigMap/argocd-cm
resource.customizations.actions.tenantry.dev_Tenant
resource.customizations.health.tenantry.dev_DatabaseServer
resource.customizations.health.tenantry.dev_ObjectStore
resource.customizations.health.tenantry.dev_Tenant
resource.customizations.health.tenantry.dev_TenantTier
url' "$(kubectl create --dry-run=client -o json -f "$TMP/built.yaml" | jq -r '"\(.kind)/\(.metadata.name)", (.data | keys[])')"
    check "and carries the scripts whole (${namespace:-no namespace})" "$(cat -- "$ARGOCD/tenant-health.lua")" \
        "$(kubectl create --dry-run=client -o json -f "$TMP/built.yaml" | jq -r '.data["resource.customizations.health.tenantry.dev_Tenant"]')"
done
