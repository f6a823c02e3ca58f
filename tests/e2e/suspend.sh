# shellcheck shell=bash
# Suspended: nothing is served, nothing is lost. Back to Active, everything is exactly as it was.

# What must come back as it was: the catalog, the rows, the Secrets.
picture()
{
    server "SELECT rolname, rolcanlogin, rolconnlimit, rolpassword FROM pg_authid WHERE rolname LIKE 'tenant\\_susp.%' ORDER BY 1"
    server "SELECT datname, datallowconn, datconnlimit, datacl FROM pg_database WHERE datname = 'tenant_susp'"
    inside tenant_susp 'SELECT * FROM users ORDER BY id; SELECT * FROM applications ORDER BY id; SELECT * FROM app.notes'
    registry "SELECT id, name, status, tier FROM tenants WHERE subdomain = 'susp'"
    quotas susp
    kubectl get secret -n tenant-susp susp-database -o 'jsonpath={.metadata.uid} {.data}'
    kubectl get secret -n tenantry-system susp-owner -o 'jsonpath={.metadata.uid} {.data}'
}

tenant susp '.spec.tier = "premium"'
need within 60 "a tenant is Ready" ready susp
as_tenant susp "INSERT INTO applications (user_id, name) SELECT id, 'shop' FROM users; CREATE TABLE app.notes AS SELECT 1 AS id, 'hello' AS text"
need within 30 "its storage was measured" measured susp
before=$(picture)
url=$(uri susp)
session_open tenant "$url" e2e-suspended 'BEGIN; SELECT * FROM users;'

edit susp '{"spec": {"state": "Suspended"}}'
need within 30 "Suspended" is susp Suspended True
within 30 "it is Ready, for its spec is realised" ready susp
check "kstatus calls it done" Current "$(verdict susp)"
check "it does not serve" 'False Suspended' "$(condition susp Serving)"
check "the columns say so" 'susp premium Suspended True' "$(kubectl get tnt susp --no-headers | awk '{print $1, $2, $3, $4}')"
check "the registry says so" suspended "$(registry "SELECT status FROM tenants WHERE subdomain = 'susp' AND deleted_at IS NULL")"
check "no role of it may log in" '' "$(server "SELECT rolname FROM pg_roles WHERE rolname LIKE 'tenant\\_susp.%' AND rolcanlogin")"
within 10 "its sessions are ended" session_gone e2e-suspended
refused "its login is refused" 'not permitted to log in' sql "$url" 'SELECT 1'
check "its data is untouched" 'shop|hello' "$(inside tenant_susp 'SELECT a.name, n.text FROM applications a, app.notes n')"
session_close tenant
server 'ALTER ROLE "tenant_susp.a" LOGIN'
within 30 "a login opened by hand is closed again" says f server "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'tenant_susp.a'"

# Suspending needs no tier.
edit susp '{"spec": {"state": "Active", "tier": "none-such"}}'
need within 30 "an unknown tier holds up an active tenant" is susp Ready False TierNotFound
edit susp '{"spec": {"state": "Suspended"}}'
need within 30 "and not a suspended one" is susp Suspended True
within 30 "its logins are closed" says 0 server "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'tenant\\_susp.%' AND rolcanlogin"

edit susp '{"spec": {"state": "Active", "tier": "premium"}}'
need within 30 "Active again" ready susp
check "it is not suspended" 'False NotSuspended' "$(condition susp Suspended)"
check "it serves" 'True AsSpecified' "$(condition susp Serving)"
check "everything is exactly as it was" "$before" "$(picture)"
holds "the old Secret opens it" login_works susp

# Within five seconds of the apply, whatever a client does that never gives up; and back again for the same client.
hammer()
{
    while [ -e "$RUN/hammer" ]; do
        PGCONNECT_TIMEOUT=5 PGAPPNAME=e2e-hammer psql --no-psqlrc --quiet --dbname "$url" --command 'SELECT pg_sleep(10)' >/dev/null 2>&1 || true
    done
}
touch "$RUN/hammer"
trap 'rm -f -- "$RUN/hammer"' EXIT
hammer &
hammer &
within 20 "a client with a pool is connected" says 2 server "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'e2e-hammer'"
edit susp '{"spec": {"state": "Suspended"}}'
within 5 "suspended: its sessions are ended and its login is closed" says '0 f' server "SELECT count(*) || ' ' ||
    (SELECT left(rolcanlogin::text, 1) FROM pg_roles WHERE rolname = 'tenant_susp.a') FROM pg_stat_activity WHERE usename LIKE 'tenant\\_susp.%'"
check "the registry said so before that" suspended "$(registry "SELECT status FROM tenants WHERE subdomain = 'susp' AND deleted_at IS NULL")"
within 30 "it is Ready" ready susp
edit susp '{"spec": {"state": "Active"}}'
within 20 "Active: the client is back by itself" says 2 server "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'e2e-hammer'"
rm -f -- "$RUN/hammer"
server "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'e2e-hammer'" >/dev/null
wait
within 30 "it is Ready again" ready susp
check "and everything as it was" "$before" "$(picture)"

# Applied as suspended from the beginning.
tenant susp2 '.spec.state = "Suspended"'
need within 60 "a tenant that begins suspended is Ready" ready susp2
check "nobody may log in" '' "$(server "SELECT rolname FROM pg_roles WHERE rolname LIKE 'tenant\\_susp2.%' AND rolcanlogin")"
edit susp2 '{"spec": {"state": "Active"}}'
need within 30 "Active" ready susp2
holds "its Secret opens it" login_works susp2

# A suspended tenant can be deleted.
edit susp2 '{"spec": {"state": "Suspended", "deletionPolicy": "Delete"}}'
need within 30 "suspended again" is susp2 Suspended True
holds "deleted while suspended" remove susp2
check "nothing of it is left on the server" '' "$(server "SELECT datname::text FROM pg_database WHERE datname = 'tenant_susp2' UNION ALL SELECT rolname FROM pg_roles WHERE rolname LIKE 'tenant\\_susp2.%'")"
purge susp
