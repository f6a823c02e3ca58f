# shellcheck shell=bash
# Whatever stands in a field is data: never SQL, never a name of something else, never a format. And what may not be is refused, with what to do.

# try NAME PROGRAM: would the API server take it?
try()
{
    tenant_json "$@" | kubectl apply --dry-run=server --filename -
}

hostile=$'Robert\'); DROP TABLE tenants;-- "quoted" $1 $$x$$ \\\\ \\x27 %s%n {{.}} `id` $(id) é 漢字 \U1F600'
export HOSTILE=$hostile OWNER="o'brien+%s\$a{b}@x.example"
tenant inj '.spec += {displayName: env.HOSTILE, owner: {email: env.OWNER, name: env.HOSTILE}, quotas: {constructor: 3, or: 4},
    settings: {a: env.HOSTILE, b: (env.HOSTILE + "\n\t\u0001"), c: "null", d: "", "e.f-g_h": "x"}}'
need within 60 "a tenant full of hostile text is Ready" ready inj
check "its name, byte by byte" "$hostile" "$(registry "SELECT name FROM tenants WHERE subdomain = 'inj'")"
check "its settings" "$(of inj .spec.settings | jq -cS .)" "$(registry "SELECT settings FROM tenants WHERE subdomain = 'inj'" | jq -cS .)"
check "its owner" "$OWNER|$hostile" "$(inside tenant_inj 'SELECT email, full_name FROM users')"
check "the owner in the registry and in the Secret" "$OWNER $OWNER" \
    "$(registry "SELECT email FROM tenant_users WHERE tenant_id = '$(tenant_id inj)'") $(secret tenantry-system inj-owner email)"
becomes 30 "its quotas" 'api_requests=0/1000 compute_hours=0/1 constructor=0/3 or=0/4 sandboxes=1/1 storage_mb=8/100 users=0/1' quotas inj
holds "the registry stands" registry 'SELECT 1 FROM tenants LIMIT 1'
can yes "$OWNER" get secret/inj-owner -n tenantry-system
hostile2=${hostile//Robert/Bobby}
edit inj "$(jq -nc --arg x "$hostile2" '{spec: {displayName: $x, owner: {name: $x, email: "second'"'"'s@x.example"}}}')"
need within 30 "renamed" ready inj
check "to as hostile a name" "$hostile2|second's@x.example" "$(registry "SELECT name, email FROM tenants t JOIN tenant_users u ON tenant_id = t.id WHERE subdomain = 'inj'")"

# As long as may be.
long=$(printf 'a%.0s' {1..48})
tenant_json long ".spec.subdomain = \"$long\" | .spec.displayName = \"ü\" * 255 | .spec.owner.name = \"ß\" * 255 | .spec.owner.email = (\"e\" * 64) + \"@\" + ((\"d\" * 60) + \".\") * 3 + \"com\"
    | .spec.settings = ([range(64) | {(\"k\" * 100 + tostring): (\"é\" * 2048)}] | add) | .spec.quotas = ([range(32) | {(\"q\" * 90 + tostring): .}] | add)" | kubectl create -f - >/dev/null
need within 60 "the longest of everything is Ready" ready long
check "with its database" "tenant_$long" "$(of long .status.database.name)"
check "its whole name" 255 "$(registry "SELECT length(name) FROM tenants WHERE subdomain = '$long'")"
check "its Secret opens it" 1 "$(as_tenant "$long" 'SELECT 1')"

# What the API server refuses, and how it says so.
refused "reserved words" 'is reserved for the platform itself; choose another' try postgres
refused "a reserved word as subdomain" 'is reserved for the platform itself; choose another' try fine '.spec.subdomain = "www"'
refused "a word that this platform reserves" 'is reserved by this platform' try grafana
refused "a prefix that DNS keeps" 'must not begin with' try xn--acme
refused "a subdomain that is none" 'spec.subdomain' try fine '.spec.subdomain = "a_b"'
refused "one that would be another's database" 'spec.subdomain' try fine '.spec.subdomain = "acme\"; DROP DATABASE postgres; --"'
refused "one that is too long" 'spec.subdomain' try fine ".spec.subdomain = \"a$long\""
refused "an address that is none" 'owner.email' try fine '.spec.owner.email = "a@b@c.example"'
refused "a line end in a name" 'displayName' try fine '.spec.displayName = "a\nb"'
refused "a resource that is none" 'resource' try fine '.spec.quotas = {"a;b": 1}'
refused "a limit that is none" 'quotas' try fine '.spec.quotas = {users: -2}'

# What only the controller knows: words of its own command line.
tenant e2e-kept
need within 30 "a word reserved on the command line" is e2e-kept Ready False InvalidSubdomain
matches "the message names it" 'e2e-kept' "$(message e2e-kept)"
check "it waits for the user" 'True InvalidSubdomain' "$(condition e2e-kept Stalled)"
check "nothing was made of it" '0 0' "$(server "SELECT count(*) FROM pg_database WHERE datname = 'tenant_e2e_kept'") $(registry "SELECT count(*) FROM tenants WHERE subdomain = 'e2e-kept'")"
holds "it can be deleted" remove e2e-kept

# A tier that is not there yet.
tenant early '.spec.tier = "not-yet"'
need within 30 "an unknown tier" is early Ready False TierNotFound
check "waits for the user" 'True TierNotFound' "$(condition early Stalled)"
check "and nothing is made" '0 0' "$(server "SELECT count(*) FROM pg_database WHERE datname = 'tenant_early'") $(registry "SELECT count(*) FROM tenants WHERE subdomain = 'early'")"
jq -n '{apiVersion: "tenantry.dev/v1alpha1", kind: "TenantTier", metadata: {name: "not-yet"}, spec: {quotas: {users: 3}}}' | kubectl apply -f - >/dev/null
within 60 "once the tier is there, it is Ready" ready early
check "with the tier's quotas, and no others" 'users=0/3' "$(quotas early)"

# A tier that asks for a server which is not there yet.
jq -n '{apiVersion: "tenantry.dev/v1alpha1", kind: "TenantTier", metadata: {name: "far"}, spec: {quotas: {users: 1}, placement: {matchLabels: {region: "mars"}}}}' | kubectl apply -f - >/dev/null
tenant far '.spec.tier = "far"'
need within 30 "no server for it" is far Ready False NoServer
kubectl label databaseserver primary region=mars >/dev/null
within 60 "once one fits, it is Ready" ready far
kubectl label databaseserver primary region- >/dev/null
tenant nowhere '.spec.database.serverRef.name = "no-such-server"'
within 30 "a server that does not exist is named" message_holds no-such-server nowhere
check "and the tenant not Ready" False "$(condition nowhere Ready | cut -d' ' -f1)"

purge inj long early far nowhere
within 30 "tiers that nobody uses can be deleted" kubectl delete --ignore-not-found tenanttier not-yet far
