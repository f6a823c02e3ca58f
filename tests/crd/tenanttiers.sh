# shellcheck shell=bash
# TenantTiers, valid and not.

accept tenanttiers "the smallest" '.'
accept tenanttiers "everything" '.spec += {quotas: {sandboxes: 5, storage_mb: 1000, compute_hours: 10, users: 5, api_requests: 10000, builds: -1},
    price: {currency: "EUR", monthly: "49", annual: "490.50", overage: {api_requests: "0.000001"}}, features: ["custom-domain", "sso"],
    defaults: {isolation: "Schema", sandboxes: [{name: "sandbox", template: "node"}], buckets: [{name: "uploads"}],
        backup: {schedule: "0 3 * * *", keep: 7}},
    placement: {matchLabels: {"tenantry.dev/region": "eu"}, matchExpressions: [{key: "disk", operator: "In", values: ["ssd"]},
        {key: "old", operator: "DoesNotExist"}]},
    extensions: ["pgcrypto", "uuid-ossp"], idle: {scaleToZeroAfter: "30m"},
    database: {connectionLimit: 20, statementTimeout: "30s", idleInTransactionTimeout: "1m30s"}}'
refuse tenanttiers "no quotas" 'del(.spec.quotas)' "spec.quotas: Required value"
refuse tenanttiers "an unknown field" '.spec.quota = {}' 'unknown field "spec.quota"'
refuse tenanttiers "a name of 51 characters" ".metadata.name = \"$(printf 'a%.0s' {1..51})\"" "metadata.name: Too long"
accept tenanttiers "a name of 50 characters" ".metadata.name = \"$(printf 'a%.0s' {1..50})\""

for limit in -1 0 9007199254740991; do
    accept tenanttiers "limit $limit" ".spec.quotas.sandboxes = $limit"
done
for limit in -2 1.5 '"5"'; do
    refuse tenanttiers "limit $limit" ".spec.quotas.sandboxes = $limit" "quotas"
done
for key in "" A 'a b' a-b "a';--"; do
    refuse tenanttiers "a resource named '$key'" ".spec.quotas = {\"$key\": 1}" "a resource's name is"
done

for amount in 0 49 49.90 0.000001 99999999.999999; do
    accept tenanttiers "price $amount" ".spec.price = {monthly: \"$amount\", annual: \"$amount\", overage: {storage_mb: \"$amount\"}}"
done
for amount in -1 +1 1. .5 1e3 1,5 0x10 "1 " '1\n' NaN "" 1.0000001 123456789 '٣'; do
    for field in .monthly .annual .overage.storage_mb; do
        refuse tenanttiers "price '$amount' in $field" ".spec.price$field = \"$amount\"" "spec.price$field"
    done
done
for days in 0 30 3650; do
    accept tenanttiers "suspended $days days after a bill was due" ".spec.price.suspendAfterDaysOverdue = $days"
done
for days in -1 3651 '"7"'; do
    refuse tenanttiers "suspension after $days days" ".spec.price.suspendAfterDaysOverdue = $days" spec.price.suspendAfterDaysOverdue
done
refuse tenanttiers "a price that is a number" '.spec.price.monthly = 49' "must be of type string"
for currency in eur EURO E "" 'E R'; do
    refuse tenanttiers "currency '$currency'" ".spec.price.currency = \"$currency\"" "spec.price.currency"
done

for time in 0s 500ms 30s 5m 1h 1m30s 168h; do
    accept tenanttiers "timeout $time" ".spec.database = {statementTimeout: \"$time\", idleInTransactionTimeout: \"$time\"}"
done
for time in 30 s -1s 1.5s 1d "1 s" "30s; DROP" "" 169h 999999999h999999999h; do
    refuse tenanttiers "statementTimeout '$time'" ".spec.database.statementTimeout = \"$time\"" "statementTimeout"
    refuse tenanttiers "idleInTransactionTimeout '$time'" ".spec.database.idleInTransactionTimeout = \"$time\"" "idleInTransactionTimeout"
done
refuse tenanttiers "idleness of a second" '.spec.idle.scaleToZeroAfter = "1s"' "must be between 1m and 8760h"
refuse tenanttiers "a connectionLimit of 0" '.spec.database.connectionLimit = 0' "connectionLimit"

refuse tenanttiers "an unknown isolation" '.spec.defaults.isolation = "None"' 'supported values: "Database", "Schema", "Row"'
refuse tenanttiers "a default sandbox that some subdomain has no room for" '.spec.defaults.sandboxes = [{name: "abcdefghijklmno"}]' "Too long"
refuse tenanttiers "a default bucket that some subdomain has no room for" '.spec.defaults.buckets = [{name: "abcdefghijklmno"}]' "Too long"
refuse tenanttiers "a default bucket with a dash" '.spec.defaults.buckets = [{name: "a-b"}]' "buckets[0].name"
refuse tenanttiers "a default backup without a schedule" '.spec.defaults.backup = {keep: 3}' "schedule: Required value"
refuse tenanttiers "an operator that does not exist" '.spec.placement.matchExpressions = [{key: "a", operator: "Gt", values: ["1"]}]' "supported values"
refuse tenanttiers "In without values" '.spec.placement.matchExpressions = [{key: "a", operator: "In"}]' "In and NotIn need values"
refuse tenanttiers "Exists with values" '.spec.placement.matchExpressions = [{key: "a", operator: "Exists", values: ["b"]}]' "In and NotIn need values"

# shellcheck disable=SC2016 # meant as written
for text in "'; DROP TABLE tenants;--" '$(reboot)' 'a\u0000b' 'a\nb' 'a b'; do
    refuse tenanttiers "$text as an extension" ".spec.extensions = [\"$text\"]" "spec.extensions[0]"
    refuse tenanttiers "$text as a feature" ".spec.features = [\"$text\"]" "spec.features[0]"
    refuse tenanttiers "$text as a template" ".spec.defaults.sandboxes = [{name: \"a\", template: \"$text\"}]" "template"
    refuse tenanttiers "$text as a label" ".spec.placement.matchLabels = {a: \"$text\"}" "matchLabels"
done
