# shellcheck shell=bash
# One control plane, one PostgreSQL server and one controller in a run folder of their own: the world that the end-to-end tests
# and the benchmarks look at. The controller runs under its own least-privilege credentials. Source hack/lib/base.sh first.
source "$ROOT/hack/lib/process.sh"
source "$ROOT/hack/lib/postgres.sh"

# find_controller: the program under test, which TENANTRY_CONTROLLER names, or the release build's.
find_controller()
{
    CONTROLLER=${TENANTRY_CONTROLLER:-$ROOT/build/release/tenantry-controller}
    [ -x "$CONTROLLER" ] || die "there is no $CONTROLLER; hack/build makes it, or TENANTRY_CONTROLLER names another"
}

# world_start RUN fsync|no-fsync [NAME=VALUE...]: everything but the controller, with these settings of PostgreSQL. Sets RUN, KUBECONFIG, AUDIT, METRICS, SERVER and REGISTRY: the
# latter two are libpq URIs of the superuser, whose password is in PGPASSWORD.
world_start()
{
    local -a quick=() settings=()
    local setting
    RUN=$(absolute_folder "$1")
    [ "$2" = fsync ] || quick=(--no-fsync)
    shift 2
    for setting in max_prepared_transactions=10 "$@"; do
        settings+=(--set "$setting")
    done
    "$ROOT/hack/controlplane/start" "$RUN" --audit --nodes 1 "${quick[@]}"
    "$ROOT/hack/postgres/start" "$RUN" "${quick[@]}" "${settings[@]}"
    "$ROOT/hack/postgres/bootstrap" "$RUN" >"$RUN/install.log"
    # shellcheck source=/dev/null
    source "$RUN/env"
    export KUBECONFIG PATH
    "$ROOT/hack/install" "$RUN" >>"$RUN/install.log" 2>&1 || {
        tail -n 20 -- "$RUN/install.log" >&2
        die "hack/install failed"
    }
    AUDIT=$RUN/audit.log
    METRICS=127.0.0.1:$(stable_port "$RUN" metrics)
    SERVER=$(postgres_url "$RUN" postgres '' postgres)
    REGISTRY=$(postgres_url "$RUN" postgres '' tenantry_registry)
    PGPASSWORD=$(cat -- "$RUN/postgres-password")
    # What a tenant's client needs beside its Secret: the authority that signed the server's certificate.
    PGSSLROOTCERT=$RUN/postgres-ca.crt
    export AUDIT METRICS SERVER REGISTRY PGPASSWORD PGSSLROOTCERT
}

world_stop()
{
    process_stop "$RUN" controller TERM 30 || true
    "$ROOT/hack/controlplane/stop" "$RUN" 2>/dev/null || true
    "$ROOT/hack/postgres/stop" "$RUN" "$@" 2>/dev/null || true
    "$ROOT/hack/s3/stop" "$RUN" "$@" 2>/dev/null || true
}

# controller_start [OPTION...]: without waiting for it to be ready. OPTIONs come after the usual ones, and win.
controller_start()
{
    process_start "$RUN" controller "$CONTROLLER" --kubeconfig "$RUN/controller/kubeconfig" \
        --registry-url-file "$RUN/controller/registry-url" --metrics-address "$METRICS" --domain tenants.localhost \
        --metering-period 2s "$@"
}

# module_folder MODULE VERSION: where the Go module's files are, for CustomResourceDefinitions of others.
module_folder()
{
    go mod download -json "$1@$2" | jq -re '.Dir // error(.Error)' || die "the Go module $1 $2 cannot be had"
}

# page PATH: what the controller's listener says; fails unless 2xx.
page()
{
    curl -fsS --noproxy '*' --max-time 5 "http://$METRICS/$1"
}

controller_ready()
{
    page readyz
}

controller_stop()
{
    process_stop "$RUN" controller TERM 30
}

# As a power cut would end it.
controller_kill()
{
    process_stop "$RUN" controller KILL 10
}
