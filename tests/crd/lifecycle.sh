# shellcheck shell=bash
# What may change after creation, defaults, status, columns and selectors.

# stored KIND NAME PROGRAM: what the server has.
stored()
{
    request GET "$API/$1/$2"
    jq -c "$3" <<<"$BODY"
}

clean_up

# Defaults, and none beside them.
make tenants crdtest-plain
check "a Tenant's defaults" '{"billing":{"cycle":"monthly"},"deletionGraceDays":0,"deletionPolicy":"Retain","owner":{"email":"owner@example.com"},"state":"Active","tier":"free"}' \
    "$(stored tenants crdtest-plain '.spec | to_entries | sort_by(.key) | from_entries')"
make tenanttiers crdtest-tier '.spec.price = {}'
check "a TenantTier's defaults" '{"defaults":{"isolation":"Database"},"price":{"currency":"EUR","monthly":"0"},"quotas":{"sandboxes":1}}' \
    "$(stored tenanttiers crdtest-tier '.spec | to_entries | sort_by(.key) | from_entries')"
make databaseservers crdtest-server
check "a DatabaseServer's defaults" '["Heal","postgres",5432,true,"tenantry_shared","verify-full","read-write"]' \
    "$(stored databaseservers crdtest-server '.spec | [.drift, .maintenanceDatabase, .port, .schedulable, .sharedDatabase, .sslmode, .targetSessionAttrs]')"

# A fresh object says that nobody has seen it, whatever its creator writes into status.
for kind in tenants tenanttiers databaseservers; do
    make "$kind" crdtest-status '.status = {observedGeneration: 7, conditions: [{type: "Ready", status: "True", reason: "Fake", message: "",
        lastTransitionTime: "2026-01-01T00:00:00Z"}]}'
    check "$kind: a fresh status" '{"observedGeneration":-1}' "$(stored "$kind" crdtest-status .status)"
    patch "$API/$kind/crdtest-status" '{"status":{"observedGeneration":9}}'
    check "$kind: status is not writable beside its subresource" '{"observedGeneration":-1}' "$(stored "$kind" crdtest-status .status)"
    patch "$API/$kind/crdtest-status/status" '{"spec":null,"metadata":{"labels":{"x":"y"}},"status":{"observedGeneration":1}}'
    check "$kind: spec is not writable through status" '[true,null,{"observedGeneration":1}]' \
        "$(stored "$kind" crdtest-status '[(.spec | length > 0), .metadata.labels, .status]')"
done

# Conditions as the API conventions have them, applied server-side.
condition='{"type":"Ready","status":"True","reason":"Provisioned","message":"everything stands","lastTransitionTime":"2026-01-01T00:00:00Z","observedGeneration":1}'
status_of()
{
    jq -cn --argjson condition "$condition" "{apiVersion: \"tenantry.dev/v1alpha1\", kind: \"Tenant\", metadata: {name: \"crdtest-plain\"},
        status: {observedGeneration: 1, conditions: [\$condition | $1]}}"
}
apply "$API/tenants/crdtest-plain/status" "$(status_of .)"
expect "a condition is taken" 200
apply "$API/tenants/crdtest-plain/status" "$(status_of '.message = ""')" dryRun=All
expect "an empty message is taken" 200
for change in '.reason = ""' '.reason = "not camel case"' '.status = "true"' 'del(.reason)' 'del(.message)' 'del(.lastTransitionTime)' \
    '.lastTransitionTime = "yesterday"' '.type = "a b"' '.observedGeneration = -1' '.message = ("x" * 32769)'; do
    apply "$API/tenants/crdtest-plain/status" "$(status_of "$change")" dryRun=All
    expect "a condition is refused with $change" 422
done
apply "$API/tenants/crdtest-plain/status" "$(status_of '., (.status = "False")')" dryRun=All
expect "two conditions of one type are refused" '4..|500' "duplicate"
check "kubectl wait sees Ready" 0 "$(kubectl wait --for=condition=Ready --timeout=5s tenant/crdtest-plain >/dev/null 2>&1; echo $?)"
patch "$API/tenants/crdtest-plain/status" '{"status":{"tenantID":"8c6f0f2e-0d6a-4c39-9d3a-3f2a3f0f6b11","subdomain":"crdtest-plain","namespace":"tenant-crdtest-plain",
    "inputsHash":"00112233445566778899aabbccddeeff","lastHandledReconcileAt":"2026-01-01T00:00:00Z",
    "database":{"server":"primary","isolation":"Database","name":"tenant_crdtest_plain","schema":"public","schemaVersion":1,
        "secretRef":{"namespace":"tenant-crdtest-plain","name":"crdtest-plain-database"}},
    "sandboxes":[{"name":"crdtest-plain-sandbox","ready":true,"url":"http://x"}],"buckets":[{"name":"crdtest-plain-uploads","store":"default"}],
    "quotas":[{"resource":"api_requests","limit":10000,"used":12},{"resource":"users","limit":-1,"used":0}],
    "billing":{"periodStart":"2026-01-01","periodEnd":"2026-02-01","amountDue":"49.00","currency":"EUR","status":"pending"}}}'
expect "a full status is taken" 200

# Columns.
columns()
{
    kubectl get "$@" | tr -s ' ' | sed 's/ $//'
}
check "Tenant: columns" "NAME TIER STATE READY REASON DATABASE AGE" "$(columns tnt crdtest-plain | head -1)"
check "Tenant: wide columns" "NAME TIER STATE READY REASON DATABASE AGE ISOLATION SERVER MESSAGE" "$(columns tnt crdtest-plain -o wide | head -1)"
check "Tenant: a row" "crdtest-plain free Active True Provisioned tenant_crdtest_plain AGE Database primary everything stands" \
    "$(columns tnt crdtest-plain -o wide --no-headers | sed -E 's/ [0-9]+[smh][0-9smh]* / AGE /')"
check "TenantTier: columns" "NAME ISOLATION MONTHLY CURRENCY TENANTS READY AGE SANDBOXES STORAGE USERS MESSAGE" "$(columns tier crdtest-tier -o wide | head -1)"
check "DatabaseServer: columns" "NAME HOST REACHABLE HARDENED VERSION TENANTS SCHEDULABLE AGE DRIFT SHARED SPARES MESSAGE" "$(columns dbs crdtest-server -o wide | head -1)"
check "the category lists all kinds" "databaseserver sandboxtemplate tenant tenanttier" "$(kubectl get tenantry -o name | sed 's/\..*//' | sort -u | tr '\n' ' ' | sed 's/ $//')"

# Selectors.
for selector in spec.tier=free spec.state=Active status.subdomain=crdtest-plain status.database.server=primary \
    status.tenantID=8c6f0f2e-0d6a-4c39-9d3a-3f2a3f0f6b11; do
    check "selectable: $selector" tenant.tenantry.dev/crdtest-plain "$(kubectl get tenants --field-selector "$selector" -o name | grep -x '.*/crdtest-plain' || true)"
done
check "a selector leaves others out" "" "$(kubectl get tenants --field-selector spec.tier=nothing -o name)"

# The subdomain: neither changed, added nor removed. Everything else can be edited.
make tenants crdtest-sub '.spec.subdomain = "crdtest-one"'
patch "$API/tenants/crdtest-sub" '{"spec":{"subdomain":"crdtest-two"}}'
expect "the subdomain cannot be changed" 422 "the subdomain is immutable"
patch "$API/tenants/crdtest-sub" '{"spec":{"subdomain":null}}'
expect "the subdomain cannot be removed" 422 "the subdomain is immutable"
patch "$API/tenants/crdtest-plain" '{"spec":{"subdomain":"crdtest-three"}}'
expect "the subdomain cannot be added" 422 "the subdomain is immutable"
patch "$API/tenants/crdtest-plain" '{"spec":{"subdomain":"crdtest-plain"}}'
expect "the subdomain cannot be added, though it is the name" 422 "the subdomain is immutable"
patch "$API/tenants/crdtest-sub" '{"spec":{"subdomain":"crdtest-one","displayName":"New","tier":"premium","state":"Suspended",
    "owner":{"email":"new@example.com"},"members":[{"email":"m@example.com"}],"database":{"isolation":"Row","serverRef":{"name":"other"}},
    "quotas":{"users":9},"buckets":[],"sandboxes":[],"deletionPolicy":"Delete","deletionGraceDays":30,"billing":{"cycle":"annual"}}}'
expect "everything else can be edited" 200
patch "$API/tenants/crdtest-sub" '{"spec":{"sandboxes":[{"name":"'"$(printf 'a%.0s' {1..52})"'"}]}}'
expect "an edit is held to the length of names" 422 "has to fit into 63 characters"

# A word that becomes reserved later does not lock the Tenants that bear it: their finalizers can still be removed.
make tenants crdtest-late
CRD_PATH=/apis/apiextensions.k8s.io/v1/customresourcedefinitions/tenants.tenantry.dev
request GET "$CRD_PATH"
patch "$CRD_PATH" "$(jq -c --arg more "'www', 'crdtest-late', 'crdtest-probe'" '
    .spec.versions[0].schema.openAPIV3Schema["x-kubernetes-validations"] | to_entries[] | select(.value.rule | contains("\u0027www\u0027")) |
    [{op: "replace", path: "/spec/versions/0/schema/openAPIV3Schema/x-kubernetes-validations/\(.key)/rule",
        value: (.value.rule | sub("\u0027www\u0027"; $more))}]' <<<"$BODY")" json
expect "the list of reserved words can be changed" 200
probe_refused()
{
    create "$API/tenants" "$(jq -c '.metadata.name = "crdtest-probe"' <<<"${BASE[tenants]}")" dryRun=All
    [ "$STATUS" = 422 ]
}
check "a word can be reserved later" 0 "$(wait_for 30 probe_refused; echo $?)"
patch "$API/tenants/crdtest-late" '{"metadata":{"finalizers":["tenantry.dev/test"]},"spec":{"displayName":"Late"}}'
expect "a Tenant with a word reserved later can be edited" 200
patch "$API/tenants/crdtest-late" '{"metadata":{"finalizers":null}}'
expect "its finalizer can be removed" 200
kubectl apply -k "$ROOT/crds" >/dev/null
probe_accepted()
{
    create "$API/tenants" "$(jq -c '.metadata.name = "crdtest-probe"' <<<"${BASE[tenants]}")" dryRun=All
    [ "$STATUS" = 201 ]
}
check "the word is free again" 0 "$(wait_for 30 probe_accepted; echo $?)"
clean_up
