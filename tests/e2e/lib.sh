# shellcheck shell=bash
# What the scenarios share: checks, waits with a timeout, and the tools of whoever uses the product: kubectl as an administrator, psql as
# superuser and as a tenant. Nothing here knows how the controller works. world.sh has been sourced; RESULTS names the file of verdicts.

# ---- verdicts ----

pass()
{
    VERDICT=ok
    printf 'ok - %s: %s\n' "$SCENARIO" "$1" | tee -a -- "$RESULTS"
}

# fail LABEL DETAIL...
fail()
{
    local label=$1 line
    shift
    VERDICT='not ok'
    printf 'not ok - %s: %s\n' "$SCENARIO" "$label" | tee -a -- "$RESULTS"
    for line in "$@"; do
        printf '    %s\n' "${line:0:3000}"
    done
}

# check LABEL EXPECTED ACTUAL
check()
{
    if [ "$2" = "$3" ]; then
        pass "$1"
    else
        fail "$1" "expected: $2" "actual:   $3"
    fi
}

# matches LABEL REGEX ACTUAL
matches()
{
    if [[ $3 =~ $2 ]]; then
        pass "$1"
    else
        fail "$1" "expected to match: $2" "actual:            $3"
    fi
}

# holds LABEL COMMAND...
holds()
{
    local label=$1 output
    shift
    if output=$("$@" 2>&1); then
        pass "$label"
    else
        fail "$label" "failed: $*" "$output"
    fi
}

# refused LABEL FRAGMENT COMMAND...: it fails, and says FRAGMENT, so that it did not fail for some other cause.
refused()
{
    local label=$1 fragment=$2 output
    shift 2
    if output=$("$@" 2>&1); then
        fail "$label" "was let through: $*" "$output"
    elif [[ $output != *"$fragment"* ]]; then
        fail "$label" "expected in the refusal: $fragment" "the refusal: $output"
    else
        pass "$label"
    fi
}

# within SECONDS LABEL COMMAND...: it comes true in that time.
within()
{
    local seconds=$1 label=$2
    shift 2
    if wait_for "$seconds" "$@"; then
        pass "$label"
    else
        fail "$label" "not so after $seconds s: $*" "$(last_words "$@")" "$(tell "$@")"
    fi
}

# tell COMMAND...: of a command that asks after a Tenant, what that has to say for itself.
tell()
{
    case $1 in
        ready | is) last_words of "$2" '[.metadata.generation, .metadata.deletionTimestamp, .status.observedGeneration], (.status.conditions[]? | [.type, .status, .reason, .message]) | @tsv' ;;
        gone) kubectl get tenants -o json 2>/dev/null | jq -r '.items[] | select(.metadata.deletionTimestamp) | .metadata.name as $name | .status.conditions[]?
            | select(.type == "Ready") | [$name, .reason, .message] | @tsv' || true ;;
    esac
}

# last_words COMMAND...: what it says, whether it fails or not.
last_words()
{
    (
        trap - ERR
        set +eE
        "$@" 2>&1 | tail -n 20
    ) || true
}

# becomes SECONDS LABEL EXPECTED COMMAND...: its output does.
becomes()
{
    local seconds=$1 label=$2 expected=$3
    shift 3
    if wait_for "$seconds" says "$expected" "$@"; then
        pass "$label"
    else
        fail "$label" "after $seconds s: $*" "expected: $expected" "actual:   $(last_words "$@")"
    fi
}

# says EXPECTED COMMAND...
says()
{
    local expected=$1
    shift
    [ "$("$@" 2>/dev/null)" = "$expected" ]
}

# refuses FRAGMENT COMMAND...: it fails, and says so.
refuses()
{
    local fragment=$1 output
    shift
    ! output=$("$@" 2>&1) && [[ $output == *"$fragment"* ]]
}

# need CHECK...: one without which the rest of the scenario means nothing.
need()
{
    "$@"
    [ "$VERDICT" = ok ] || exit 1
}

# ---- Tenants ----

# tenant NAME [PROGRAM]: apply the smallest Tenant, changed by a jq PROGRAM.
tenant()
{
    tenant_json "$@" | kubectl apply --filename - >/dev/null
}

tenant_json()
{
    jq -n --arg name "$1" '{apiVersion: "tenantry.dev/v1alpha1", kind: "Tenant", metadata: {name: $name},
        spec: {tier: "free", owner: {email: "owner@\($name).example", name: "Owner of \($name)"}}} | '"${2:-.}"
}

# edit NAME MERGE-PATCH
edit()
{
    kubectl patch tenant "$1" --type merge --patch "$2" >/dev/null
}

# of NAME PROGRAM: what a jq PROGRAM says of the Tenant.
of()
{
    kubectl get tenant "$1" --output json | jq -r "$2"
}

# condition NAME TYPE: "True AsSpecified", or nothing.
condition()
{
    of "$1" ".status.conditions[]? | select(.type == \"$2\") | \"\(.status) \(.reason)\""
}

# message NAME [TYPE]
message()
{
    of "$1" ".status.conditions[]? | select(.type == \"${2:-Ready}\") | .message"
}

# message_holds FRAGMENT NAME [TYPE]
message_holds()
{
    [[ $(message "${@:2}") == *"$1"* ]]
}

# is NAME TYPE STATUS [REASON]: of the spec as it is now.
is()
{
    kubectl get tenant "$1" --output json | jq -e --arg type "$2" --arg status "$3" --arg reason "${4:-}" '
        .metadata.generation as $generation | .status.observedGeneration == $generation and any(.status.conditions[]?;
            .type == $type and .status == $status and .observedGeneration == $generation and ($reason == "" or .reason == $reason))' >/dev/null
}

ready()
{
    is "$1" Ready True
}

# verdict NAME: what kstatus, and with it Flux and others, makes of the Tenant.
verdict()
{
    kubectl get tenant "$1" --output json | kstatus
}

kstatus()
{
    jq -r 'def holds($type): any(.status.conditions[]?; .type == $type and .status == "True");
        if .metadata.deletionTimestamp then "Terminating"
        elif .status == null then "Current"
        elif .status.observedGeneration != .metadata.generation then "InProgress"
        elif holds("Reconciling") then "InProgress"
        elif holds("Stalled") then "Failed"
        elif holds("Ready") then "Current"
        else "InProgress" end'
}

# reconcile NAME: ask for a look at the tenant, and wait until the controller has done it.
reconcile()
{
    local stamp
    stamp=$(date +%s.%N)
    kubectl annotate --overwrite tenant "$1" "tenantry.dev/reconcile-requested-at=$stamp" >/dev/null
    wait_for 60 says "$stamp" of "$1" .status.lastHandledReconcileAt
}

# remove NAME...: delete Tenants and wait until they are gone.
remove()
{
    kubectl delete tenant --wait=false "$@" >/dev/null
    wait_for 90 gone tenant "$@"
}

# purge NAME...: Tenants and all they had, at the end of a scenario.
purge()
{
    local name
    for name in "$@"; do
        edit "$name" '{"spec": {"deletionPolicy": "Delete", "deletionGraceDays": 0}}' 2>/dev/null || true
    done
    kubectl delete tenant --ignore-not-found --wait=false "$@" >/dev/null
    within 90 "what it made is removed at its end: $*" gone tenant "$@"
}

# gone KIND NAME...: none of them is there.
gone()
{
    [ -z "$(kubectl get --ignore-not-found --output name "$@")" ]
}

# events NAME: reasons of the Events about the Tenant, sorted, each once.
events()
{
    kubectl get events --all-namespaces --output json | jq -r --arg name "$1" '
        [.items[] | select(.involvedObject.kind == "Tenant" and .involvedObject.name == $name) | .reason] | unique[]'
}

# event NAME REASON: is there such an Event?
event()
{
    events "$1" | grep -qx -- "$2"
}

# secret NAMESPACE NAME KEY: its value.
secret()
{
    kubectl get secret --namespace "$1" "$2" --output json | jq -r --arg key "$3" '.data[$key] // error("no key " + $key) | @base64d'
}

# can ANSWER USER VERB RESOURCE [OPTION...]
can()
{
    local answer=$1 user=$2 got
    shift 2
    got=$(kubectl auth can-i "$@" --as "$user" 2>/dev/null || true)
    check "$user may${answer/yes/}${answer/no/ not}: $*" "$answer" "$got"
}

# ---- SQL ----

# sql URL STATEMENT: rows bare.
sql()
{
    PGCONNECT_TIMEOUT=10 psql --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 --dbname "$1" --command "$2"
}

server()
{
    sql "$SERVER" "$1"
}

registry()
{
    sql "$REGISTRY" "$1"
}

# inside DATABASE STATEMENT: as superuser, whom no row-level security binds.
inside()
{
    sql "$(postgres_url "$RUN" postgres '' "$1")" "$2"
}

# uri NAME: how the tenant's programs connect.
uri()
{
    secret "tenant-$1" "$1-database" uri
}

# as_tenant NAME STATEMENT
as_tenant()
{
    local url
    url=$(uri "$1") && sql "$url" "$2"
}

# tenant_id NAME: the registry's id.
tenant_id()
{
    of "$1" .status.tenantID
}

# quotas NAME: "resource=used/limit" of the registry, sorted, on one line. An empty database has 8 MB, once it was measured.
quotas()
{
    registry "SELECT string_agg(format('%s=%s/%s', resource_type, current_usage, quota_limit), ' ' ORDER BY resource_type COLLATE \"C\")
        FROM tenant_quotas JOIN tenants ON tenants.id = tenant_id WHERE subdomain = '$1' AND deleted_at IS NULL"
}

# quotas_match REGEX NAME: the whole line does; for a database that grows.
quotas_match()
{
    [[ $(quotas "$2") =~ ^$1$ ]]
}

# measured NAME: what it has was looked at, which nothing is written for any more as long as it stays so.
measured()
{
    [[ $(quotas "$1") != *storage_mb=0/* ]]
}

# login_works NAME: with what the Secret says.
login_works()
{
    says 1 as_tenant "$1" 'SELECT 1'
}

login_fails()
{
    ! login_works "$1"
}

# password_fits NAME: does the owner's temporary password belong to the hash in the tenant's database?
password_fits()
{
    local hash
    hash=$(inside "tenant_${1//-/_}" "SELECT password_hash FROM public.users WHERE role = 'owner'")
    [ -n "$hash" ] || return 1
    # libcrypt, as any program that checks a login would use it.
    secret tenantry-system "$1-owner" password |
        HASH=$hash perl -e '$_ = <STDIN>; chomp; exit(crypt($_, $ENV{HASH}) eq $ENV{HASH} ? 0 : 1)'
}

# session_open NAME URL APPLICATION STATEMENT: a psql that stays connected after STATEMENT, until session_close NAME or the end.
declare -A SESSION_INPUT=() SESSION_PID=()
session_open()
{
    local pipe=$RUN/session-$1 input
    rm -f -- "$pipe"
    mkfifo -- "$pipe"
    PGAPPNAME=$3 psql --no-psqlrc --quiet --dbname "$2" <"$pipe" >"$RUN/session-$1.log" 2>&1 &
    SESSION_PID[$1]=$!
    exec {input}>"$pipe"
    SESSION_INPUT[$1]=$input
    printf '%s\n' "$4" >&"$input"
    wait_for 20 session_seen "$3" || die "the session $1 did not connect: $(cat -- "$RUN/session-$1.log")"
}

session_seen()
{
    says t server "SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = '$1' AND state LIKE 'idle%'"
}

session_close()
{
    local input=${SESSION_INPUT[$1]}
    exec {input}>&-
    wait "${SESSION_PID[$1]}" 2>/dev/null || true
    unset "SESSION_PID[$1]" "SESSION_INPUT[$1]"
}

# session_gone NAME: the server has ended it, or it was closed.
session_gone()
{
    says 0 server "SELECT count(*) FROM pg_stat_activity WHERE application_name = '$1'"
}

# ---- who wrote what ----

# audit_mark: a place in the API server's audit log.
audit_mark()
{
    stat --format %s -- "$AUDIT"
}

# kube_writes MARK: "verb resource name" of each request of the controller since then that wrote, Leases aside.
kube_writes()
{
    tail -c +"$(($1 + 1))" -- "$AUDIT" | jq -r 'select(.user.username == "system:serviceaccount:tenantry-system:tenantry-controller")
        | select(.verb | IN("create", "update", "patch", "delete", "deletecollection"))
        | select(.objectRef.resource != "leases" and .objectRef.resource != "selfsubjectaccessreviews")
        | "\(.verb) \(.objectRef.resource)\(if .objectRef.subresource then "/" + .objectRef.subresource else "" end) \(.objectRef.name // "")"'
}

# kube_reads MARK: "resource name status" of each object that the controller asked for since then, Leases aside.
kube_reads()
{
    tail -c +"$(($1 + 1))" -- "$AUDIT" | jq -r 'select(.user.username == "system:serviceaccount:tenantry-system:tenantry-controller")
        | select(.verb | IN("get", "list")) | select(.objectRef.resource != "leases")
        | "\(.objectRef.resource) \(.objectRef.name // "") \(.responseStatus.code)"'
}

# kube_missing MARK: the resource of each request of the controller since then, watches too, to which the server said that it has no such thing.
kube_missing()
{
    tail -c +"$(($1 + 1))" -- "$AUDIT" | jq -r 'select(.user.username == "system:serviceaccount:tenantry-system:tenantry-controller")
        | select(.responseStatus.code == 404) | .objectRef.resource'
}

# lease_writes MARK: how many.
lease_writes()
{
    tail -c +"$(($1 + 1))" -- "$AUDIT" | jq -r 'select(.user.username == "system:serviceaccount:tenantry-system:tenantry-controller")
        | select(.verb | IN("create", "update", "patch")) | select(.objectRef.resource == "leases") | .verb' | wc -l
}

# transactions: the next transaction id of the server. Only what writes takes one; quiet_server keeps the server itself from it.
transactions()
{
    server 'SELECT pg_snapshot_xmax(pg_current_snapshot())'
}

# quiet_server: no autovacuum, whose statistics would be counted as writes; and a line in the log for each statement, which says the
# transaction's id if it has one: what changes anything, in a function or a common table expression too, takes one.
quiet_server()
{
    server 'ALTER SYSTEM SET autovacuum = off'
    server 'ALTER SYSTEM SET log_min_duration_statement = 0'
    server 'ALTER SYSTEM SET log_statement = none' # else a line with the statement would come before its id
    server 'SELECT pg_reload_conf()' >/dev/null
    wait_for 20 says 'off 0' server "SELECT current_setting('autovacuum') || ' ' || current_setting('log_min_duration_statement')"
    wait_for 60 says 0 server "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'autovacuum worker'"
}

# settled [SECONDS]: in that time, 300 unless told otherwise, all that is told a while after a Tenant is Ready has been told: what its database takes is measured at the first drift check,
# and stands in the tenant's ConfigMap and in its bill.
settled()
{
    local before count names
    count=$(kubectl get tenants -o name | wc -l)
    # Of what lies in shared tables nobody can say whose it is, nor is anything measured of a tenant that was retained.
    names=$(kubectl get tenants -o json | jq -r '[.items[] | select(.spec.database.isolation != "Row") | .metadata.name] | join(",")')
    need becomes 120 "what they store is measured" 0 registry "SELECT count(*) FROM tenant_quotas q JOIN tenants t ON t.id = q.tenant_id
        WHERE q.resource_type = 'storage_mb' AND q.current_usage = 0 AND t.subdomain = ANY (string_to_array('$names', ','))"
    before=$(tenant_runs)
    need within "${1:-300}" "all are gone over twice more" eval "[ \$((\$(tenant_runs) - $before)) -ge $((count * 2)) ]"
    need becomes 60 "what they use is metered" '' registry "SELECT billing_work(now(), true)"
}

# tenant_runs: how many times the controller has gone over a tenant since it started.
tenant_runs()
{
    metric controller_runtime_reconcile_total 'controller="tenant"'
}

sql_mark()
{
    stat --format %s -- "$RUN/postgres.log"
}

# sql_writes MARK: statements of the log since then whose transaction changed something, the superuser's (the test's own) aside.
sql_writes()
{
    tail -c +"$(($1 + 1))" -- "$RUN/postgres.log" | grep -E ' xid=[1-9][0-9]* LOG: +duration' | grep -v ' postgres@' || true
}

# metric NAME LABELS: the sum over the series whose labels hold that text.
metric()
{
    page metrics | awk -v name="$1" -v labels="$2" 'index($0, name) == 1 && index($0, labels) {sum += $NF} END {printf "%d\n", sum}'
}
