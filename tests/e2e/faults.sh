# shellcheck shell=bash
# What others break: a server that is down, credentials that do not fit, a database that takes no writes, a registry that is closed. Each is a
# condition that says what to do, nothing is lost, and all heals without a restart.

# another_server NAME PORT USER PASSWORD: a further DatabaseServer, with a Secret of its own.
another_server()
{
    kubectl create secret generic -n tenantry-system "$1-credentials" --from-literal=username="$3" --from-literal=password="$4" --dry-run=client -o json | kubectl apply -f - >/dev/null
    jq -n --arg name "$1" --argjson port "$2" --rawfile ca "$RUN/postgres-ca.crt" '{apiVersion: "tenantry.dev/v1alpha1", kind: "DatabaseServer",
        metadata: {name: $name}, spec: {hosts: ["127.0.0.1"], port: $port, caBundle: $ca, schedulable: false, credentialsSecretRef: {name: "\($name)-credentials"}}}' | kubectl apply -f - >/dev/null
}

server_condition()
{
    kubectl get databaseserver "$1" -o json | jq -r '.status.conditions[]? | select(.type == "Reachable") | "\(.status) \(.reason)"'
}

port=$(stable_port "$RUN" postgres)
password=$(cat -- "$RUN/controller/postgres-password")
pid=$(process_pid "$RUN" controller)

# Nobody listens.
another_server deaf "$(stable_port "$RUN" nobody)" tenantry_controller "$password"
within 60 "a server that does not answer is not reachable" says 'False DatabaseUnreachable' server_condition deaf
tenant flt1 '.spec.database.serverRef.name = "deaf"'
need within 60 "its tenant says so" is flt1 Ready False DatabaseUnreachable
check "and that it is tried again" 'True DatabaseUnreachable' "$(condition flt1 Reconciling)"
check "kstatus calls it in progress" InProgress "$(verdict flt1)"
matches "the message names the server" 'deaf' "$(message flt1)"
tenant flt2
within 30 "tenants elsewhere do not wait for it" ready flt2
another_server deaf "$port" tenantry_controller "$password"
within 90 "once it answers, its tenant is Ready" ready flt1

# Credentials that do not fit.
another_server strict "$port" tenantry_controller wrong
within 60 "wrong credentials" says 'False DatabaseCredentials' server_condition strict
tenant flt3 '.spec.database.serverRef.name = "strict"'
need within 60 "its tenant says so" is flt3 Ready False DatabaseCredentials
matches "and which Secret to correct" 'strict-credentials' "$(message flt3)"
another_server strict "$port" tenantry_controller "$password"
within 90 "corrected, its tenant is Ready" ready flt3
another_server bare "$port" x y
within 60 "a user that does not exist" says 'False DatabaseCredentials' server_condition bare
kubectl delete secret -n tenantry-system bare-credentials >/dev/null
tenant flt4 '.spec.database.serverRef.name = "bare"'
need within 60 "no credentials at all" is flt4 Ready False ServerCredentialsMissing
matches "which Secret" 'bare-credentials' "$(message flt4)"
another_server bare "$port" tenantry_controller "$password"
within 90 "once there are some, its tenant is Ready" ready flt4

# A server that takes no writes.
server 'ALTER SYSTEM SET default_transaction_read_only = on' && server 'SELECT pg_reload_conf()' >/dev/null
tenant flt5
need within 90 "a server that takes no writes" is flt5 Ready False DatabaseReadOnly
check "is tried again" 'True DatabaseReadOnly' "$(condition flt5 Reconciling)"
PGOPTIONS='-c default_transaction_read_only=off' server 'ALTER SYSTEM RESET default_transaction_read_only' && server 'SELECT pg_reload_conf()' >/dev/null
within 90 "once it does, the tenant is Ready" ready flt5

# A registry that nobody gets into.
server 'ALTER DATABASE tenantry_registry ALLOW_CONNECTIONS false'
server "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'tenantry_registry' AND pid <> pg_backend_pid()" >/dev/null
tenant flt6
within 90 "a registry that nobody gets into is named" message_holds 'registry: ' flt6
check "and its tenant not Ready" False "$(condition flt6 Ready | cut -d' ' -f1)"
check "and tried again" True "$(condition flt6 Reconciling | cut -d' ' -f1)"
server 'ALTER DATABASE tenantry_registry ALLOW_CONNECTIONS true'
within 90 "open again, the tenant is Ready" ready flt6

# The server goes down under everybody, and comes back.
id=$(tenant_id flt2)
"$ROOT/hack/postgres/stop" "$RUN" 2>/dev/null
within 60 "a server that has gone down" says 'False DatabaseUnreachable' server_condition primary
tenant flt7
need within 90 "a tenant applied meanwhile says so" is flt7 Ready False DatabaseUnreachable
check "and that it is tried again" 'True DatabaseUnreachable' "$(condition flt7 Reconciling)"
audit=$(audit_mark)
tried()
{
    [ "$(metric controller_runtime_reconcile_total 'controller="databaseserver"')" -ge "$1" ]
}
within 60 "it goes on trying" tried $(($(metric controller_runtime_reconcile_total 'controller="databaseserver"') + 6))
check "and says it once" 0 "$(kube_writes "$audit" | grep -c databaseservers/status || true)"
holds "the controller lives" page healthz
"$ROOT/hack/postgres/start" "$RUN" --no-fsync --set max_prepared_transactions=10 2>/dev/null
for name in flt1 flt2 flt3 flt4 flt5 flt6 flt7; do
    within 120 "with the server back, $name is Ready" ready "$name"
done
check "nothing was made twice" "$id" "$(tenant_id flt2)"
holds "nothing was lost" login_works flt2
within 60 "the server is reachable" says 'True' eval 'server_condition primary | cut -d" " -f1'

check "all that by one and the same process" "$pid" "$(process_pid "$RUN" controller)"

# The API server goes away. Who leads and cannot renew the Lease ends, since another may lead now; it is started again as any Deployment would.
"$ROOT/hack/controlplane/stop" "$RUN" 2>/dev/null
within 60 "without an API server the leader gives up" process_gone "$RUN" controller
matches "and says why" 'leadership lost' "$(tail -n 5 -- "$RUN/controller.log")"
"$ROOT/hack/controlplane/start" "$RUN" --audit --nodes 0 --no-fsync 2>/dev/null
start_controller
inside tenant_flt2 'DROP TABLE api_keys'
within 60 "started again, it works" says t inside tenant_flt2 "SELECT to_regclass('public.api_keys') IS NOT NULL"

# One that needs no Lease waits for the API server.
restart_controller --leader-elect=false
pid=$(process_pid "$RUN" controller)
"$ROOT/hack/controlplane/stop" "$RUN" 2>/dev/null
within 60 "without an API server it says that it is not ready" eval '! page readyz'
holds "and lives" page healthz
"$ROOT/hack/controlplane/start" "$RUN" --audit --nodes 0 --no-fsync 2>/dev/null
within 120 "with it back it is ready" page readyz
inside tenant_flt2 'DROP TABLE api_keys'
within 60 "and works" says t inside tenant_flt2 "SELECT to_regclass('public.api_keys') IS NOT NULL"

check "as the process that it was" "$pid" "$(process_pid "$RUN" controller)"
restart_controller
purge flt1 flt2 flt3 flt4 flt5 flt6 flt7
for name in deaf strict bare; do
    within 30 "the server $name can be deleted" kubectl delete --ignore-not-found databaseserver "$name"
done
