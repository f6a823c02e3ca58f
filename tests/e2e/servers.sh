# shellcheck shell=bash
# Several database servers: where a tenant goes, by labels, load and room; a server that is closed, emptied, lost; and one whose primary dies, and whose
# standby takes over, while tenants are being made there.

EAST=$RUN/east WEST=$RUN/west STANDBY=$RUN/west-standby

# register NAME RUN HOSTS [PROGRAM]: a DatabaseServer as an administrator writes it, changed by a jq PROGRAM.
register()
{
    kubectl create secret generic "$1-credentials" --namespace tenantry-system --dry-run=client --output json --from-literal=username=tenantry_controller \
        --from-literal="password=$(cat -- "$2/controller/postgres-password")" | kubectl apply --filename - >/dev/null
    jq -n --arg name "$1" --rawfile ca "$2/postgres-ca.crt" --argjson port "$(stable_port "$2" postgres)" --arg hosts "$3" '{
        apiVersion: "tenantry.dev/v1alpha1", kind: "DatabaseServer", metadata: {name: $name, labels: {zone: $name}},
        spec: {hosts: ($hosts | split(",")), port: $port, caBundle: $ca, credentialsSecretRef: {name: "\($name)-credentials"}}} | '"${4:-.}" |
        kubectl apply --filename - >/dev/null
}

# on FOLDER STATEMENT: as superuser of that server.
on()
{
    PGPASSWORD=$(cat -- "$1/postgres-password") sql "$(postgres_url "$1" postgres '' "${3:-postgres}")" "$2"
}

# server_is NAME TYPE STATUS [REASON]
server_is()
{
    kubectl get databaseserver "$1" --output json | jq -e --arg type "$2" --arg status "$3" --arg reason "${4:-}" '
        any(.status.conditions[]?; .type == $type and .status == $status and ($reason == "" or .reason == $reason))' >/dev/null
}

# set_server NAME MERGE-PATCH
set_server()
{
    kubectl patch databaseserver "$1" --type merge --patch "$2" >/dev/null
}

# lives NAME: on which server.
lives()
{
    of "$1" .status.database.server
}

# opens NAME FOLDER: its Secret opens its database, by the authority of that server, and it sees its owner.
opens()
{
    [ "$(PGSSLROOTCERT=$2/postgres-ca.crt as_tenant "$1" 'SELECT email FROM users')" = "owner@$1.example" ]
}

# ---- two more servers, one of them two hosts ----

for folder in "$EAST" "$WEST"; do
    "$ROOT/hack/postgres/start" "$folder" --no-fsync 2>/dev/null
    "$ROOT/hack/postgres/bootstrap" "$folder" >/dev/null
done
"$ROOT/hack/postgres/start" "$STANDBY" --no-fsync --standby-of "$WEST" 2>/dev/null
within 30 "the standby streams" says 1 on "$WEST" "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
# What the primary has said to be done, the standby has.
on "$WEST" "ALTER SYSTEM SET synchronous_standby_names = '*'"
on "$WEST" 'SELECT pg_reload_conf()' >/dev/null
within 30 "in step with the primary" says sync on "$WEST" 'SELECT sync_state FROM pg_stat_replication'
register east "$EAST" 127.0.0.1 '.spec.capacity = {tenants: 3}'
register west "$WEST" 127.0.0.2,127.0.0.1 '.spec.spareDatabases = {count: 2, perMinute: 600}'
for name in east west; do
    need within 30 "DatabaseServer $name is Ready" server_is "$name" Ready True
    within 10 "and Hardened" server_is "$name" Hardened True
done
becomes 30 "spare databases are made ahead" 2 kubectl get databaseserver west --output 'jsonpath={.status.spareDatabases}'

# ---- where a tenant goes ----

set_server primary '{"spec": {"schedulable": false}}'
kubectl get tenanttier free --output json | jq '{apiVersion, kind, metadata: {name: "western"}, spec: (.spec + {placement: {matchLabels: {zone: "west"}}})}' |
    kubectl apply --filename - >/dev/null
for name in sv1 sv2 sv3 sv4; do
    tenant "$name"
    need within 60 "$name is Ready" ready "$name"
done
check "each went to the emptier of the two that are open" 'east west east west' "$(for name in sv1 sv2 sv3 sv4; do lives "$name"; done | xargs)"
tenant sv5 '.spec.tier = "western"'
tenant sv6 '.spec.database.serverRef.name = "east"'
for name in sv5 sv6; do
    need within 60 "$name is Ready" ready "$name"
done
check "one by its tier's labels, one by its spec" 'west east' "$(lives sv5) $(lives sv6)"
check "the registry says where" 'east west east west west east' "$(registry "SELECT string_agg(server, ' ' ORDER BY subdomain) FROM tenants WHERE subdomain ~ '^sv[1-6]$' AND status = 'active'")"
tenant sv7 '.spec.database.serverRef.name = "east"'
within 30 "a full server takes no more" is sv7 Ready False CapacityExhausted
matches "and tells numbers" 'full with 3 of 3 tenants' "$(message sv7)"
set_server east '{"spec": {"capacity": {"tenants": 4}}}'
within 60 "once there is room, it goes on" ready sv7
check "spares were given, and there are new ones" 2 "$(wait_for 30 says 2 on "$WEST" "SELECT count(*) FROM pg_database WHERE datname LIKE 'tenantry_spare_%'"; on "$WEST" "SELECT count(*) FROM pg_database WHERE datname LIKE 'tenantry_spare_%' AND NOT datallowconn")"

# ---- a server that is emptied ----

set_server east '{"spec": {"draining": true}}'
within 20 "a server that is drained says what is left" server_is east Drained False Draining
matches "in numbers" '^4 tenants live here' "$(kubectl get databaseserver east --output json | jq -r '.status.conditions[] | select(.type == "Drained") | .message')"
tenant sv8
tenant sv9 '.spec.database.serverRef.name = "east"'
need within 60 "a new tenant goes elsewhere" ready sv8
check "to the other" west "$(lives sv8)"
within 20 "and one that names it waits" message_holds 'is being drained' sv9
holds "those that live there stay served" opens sv1 "$EAST"
set_server east '{"spec": {"draining": false}}'
remove sv9

# ---- a primary that dies while tenants are made ----

names=()
for i in 1 2 3 4 5 6 7 8; do
    names+=("svf$i")
    tenant "svf$i" ".spec.tier = \"western\" | .spec.database.isolation = $([ $((i % 4)) -eq 0 ] && echo '"Schema"' || echo '"Database"')"
done
begun()
{
    [ "$(on "$WEST" "SELECT count(*) FROM pg_database WHERE datname LIKE 'tenant_svf%'")" -ge 2 ]
}
need within 60 "tenants are being made on west" begun
process_stop "$WEST" postgres KILL 10
unfinished=0
for name in "${names[@]}"; do
    ready "$name" || unfinished=$((unfinished + 1))
done
holds "it died in the middle of it: $unfinished of ${#names[@]} are not Ready" test "$unfinished" -gt 0
within 30 "the server is said to take no writes" server_is west Reachable False
on "$STANDBY" 'SELECT pg_promote()' >/dev/null
for name in "${names[@]}"; do
    need within 120 "$name is Ready" ready "$name"
    within 20 "its Secret leads to the new primary" opens "$name" "$STANDBY"
done
within 30 "the server is Ready" server_is west Ready True
check "each is in the registry once" 8 "$(registry "SELECT count(*) FROM tenants WHERE subdomain LIKE 'svf%' AND status = 'active'")"
check "nothing was left by what was cut off" '' "$(on "$STANDBY" "SELECT datname FROM pg_database WHERE datname LIKE 'tenant_sv%' AND (NOT datallowconn
    OR datconnlimit = -2 OR shobj_description(oid, 'pg_database') IS NULL OR pg_get_userbyid(datdba) <> datname || '.owner')")"
check "nor a role without its mark" '' "$(on "$STANDBY" "SELECT rolname FROM pg_roles WHERE rolname LIKE 'tenant_sv%' AND shobj_description(oid, 'pg_authid') IS NULL")"
for name in sv2 sv4 sv5 sv8; do
    holds "$name, made before, is where it was" opens "$name" "$STANDBY"
done
becomes 30 "and there are spares" 2 on "$STANDBY" "SELECT count(*) FROM pg_database WHERE datname LIKE 'tenantry_spare_%' AND shobj_description(oid, 'pg_database') = 'tenantry: spare'"

# ---- a server that is lost ----

"$ROOT/hack/postgres/stop" "$EAST" 2>/dev/null
within 30 "a lost server is said to be" server_is east Reachable False DatabaseUnreachable
tenant sv9
need within 60 "new tenants go where there is one" ready sv9
check "although it has more" west "$(lives sv9)"
within 30 "its own tenants say so" is sv1 DatabaseReady False DatabaseUnreachable
holds "the others are served" opens sv2 "$STANDBY"
"$ROOT/hack/postgres/start" "$EAST" --no-fsync 2>/dev/null
within 60 "back, its tenants are Ready by themselves" ready sv1
holds "with what they had" opens sv1 "$EAST"

# ---- the end ----

purge sv1 sv2 sv3 sv4 sv5 sv6 sv7 sv8 sv9 "${names[@]}"
check "of tenants nothing is left on either" '0 0' "$(for folder in "$EAST" "$STANDBY"; do on "$folder" "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'tenant_sv%'"; done | xargs)"
refused "a server that keeps spares is not deleted, which would leave them to nobody" 'spareDatabases.count to 0' kubectl delete databaseserver west
set_server west '{"spec": {"spareDatabases": {"count": 0}}}'
becomes 30 "spares that are not wanted any more are dropped" 0 on "$STANDBY" "SELECT count(*) FROM pg_database WHERE datname LIKE 'tenantry_spare_%'"
set_server primary '{"spec": {"schedulable": true}}'
kubectl delete tenanttier western >/dev/null
for name in east west; do
    within 30 "a server without tenants can be deleted" kubectl delete databaseserver "$name"
done
for folder in "$STANDBY" "$EAST" "$WEST"; do
    "$ROOT/hack/postgres/stop" "$folder" --purge 2>/dev/null
done
