# shellcheck shell=bash
# What holds for the schema of every kind: everything bounded and described, no default inside a list.

schema_faults()
{
    kubectl get crd "${CRDS[@]}" -o json | jq -r '
        def walk_schema($path; $in_list):
            . as $s
            | (if $in_list and has("default") then "\($path): a default inside a list" else empty end),
              (if (.description // "") == "" and ($path | endswith("metadata") or endswith("metadata.name") | not)
               then "\($path): no description" else empty end),
              (if has("x-kubernetes-preserve-unknown-fields") then "\($path): keeps unknown fields" else empty end),
              (if .type == "string" and (has("enum") or has("maxLength") or (.format // "" | startswith("date")) | not)
                  and ($path | test("\\.(apiVersion|kind)$") | not)
               then "\($path): a string without maxLength" else empty end),
              (if .type == "integer" and (has("minimum") and has("format") | not)
               then "\($path): an integer without minimum or format" else empty end),
              (if .type == "array" and (has("maxItems") and has("x-kubernetes-list-type") | not)
               then "\($path): a list without maxItems or list type" else empty end),
              (if has("additionalProperties") and (has("maxProperties") | not)
               then "\($path): a map without maxProperties" else empty end),
              ((.properties // {}) | to_entries[] | .key as $k | .value | walk_schema("\($path).\($k)"; $in_list)),
              (if has("items") then .items | walk_schema("\($path)[]"; true) else empty end),
              (if (.additionalProperties | type) == "object" then .additionalProperties | walk_schema("\($path){}"; $in_list)
               else empty end);
        .items[] | .spec.names.kind as $kind | .spec.versions[].schema.openAPIV3Schema | walk_schema($kind; false)'
}

check "every field is bounded and described" "" "$(schema_faults)"

for crd in "${CRDS[@]}"; do
    check "$crd: no condition complains" "" "$(kubectl get crd "$crd" -o json | jq -r '
        .status.conditions[] | select((.type | IN("NamesAccepted", "Established")) != (.status == "True")) | "\(.type) \(.message)"')"
    check "$crd: cluster-scoped, in category tenantry, with a status subresource" 'Cluster ["tenantry"] {}' "$(
        kubectl get crd "$crd" -o json | jq -cr '"\(.spec.scope) \(.spec.names.categories) \(.spec.versions[0].subresources.status)"')"
done
check "short names" "dbs objs sbt tnt tier" "$(kubectl get crd "${CRDS[@]}" -o json | jq -r '[.items[] | select(.spec.names.plural == (
    "databaseservers", "objectstores", "sandboxtemplates", "tenants", "tenanttiers")) | .spec.names] | sort_by(.plural) | map(.shortNames[0]) | join(" ")')"
check "applying everything again changes nothing" "" "$(kubectl apply -k "$ROOT/manifests/install" | grep -v ' unchanged$' || true)"
check "applying the tiers again changes nothing" "" "$(kubectl apply -k "$ROOT/manifests/tiers" | grep -v ' unchanged$' || true)"
check "applying the templates again changes nothing" "" "$(kubectl apply -k "$ROOT/manifests/templates" | grep -v ' unchanged$' || true)"
check "kubectl diff is clean after apply" 0 "$(kubectl diff -k "$ROOT/manifests/install" >/dev/null 2>&1; echo $?)"
check "crds/ can be applied as a folder" 0 "$(kubectl apply --dry-run=server -f "$ROOT/crds" >/dev/null 2>&1; echo $?)"

for base in "$ROOT"/manifests/*/Kustomization "$ROOT"/crds/Kustomization; do
    check "${base#"$ROOT/"} builds and the server takes it" "" "$(kubectl apply --dry-run=server -k "${base%/*}" 2>&1 >/dev/null)"
done
for sample in "$ROOT"/manifests/samples/*.yaml; do
    check "${sample#"$ROOT/"} is valid" "" "$(kubectl apply --dry-run=server -f "$sample" 2>&1 >/dev/null)"
done

# The tiers of the product, to the number.
check "the shipped tiers" 'free 1 100 1 1 1000 0 EUR Database
premium 5 1000 10 5 10000 49 EUR Database
enterprise 20 10000 100 50 100000 499 EUR Database' "$(kubectl get tenanttiers free premium enterprise -o json | jq -r '
    .items[] | [.metadata.name, (.spec.quotas | .sandboxes, .storage_mb, .compute_hours, .users, .api_requests),
        .spec.price.monthly, .spec.price.currency, .spec.defaults.isolation] | map(tostring) | join(" ")')"
check "the shipped tiers' sandboxes and buckets" '["sandbox/node"] ["uploads","assets","backups"]' "$(
    kubectl get tenanttiers free premium enterprise -o json | jq -cr '.items[].spec.defaults |
        "\([.sandboxes[] | "\(.name)/\(.template)"]) \([.buckets[].name])"' | sort -u)"
