# shellcheck shell=bash
# What the runtime's benchmarks share: a control plane of their own, the two controllers, what a process costs, and the form of a result. Each bench
# is one file, bench/bN_NAME, that prints lines "bench N  figure  ours  baseline  ratio". Source hack/lib/base.sh first.
source "$ROOT/hack/lib/process.sh"

PROGRAMS=${TENANTRY_BENCH_PROGRAMS:-$ROOT/build/release}
ROUNDS=${ROUNDS:-5}

# compare FIGURE UNIT OURS BASELINE [GOAL]: one line of the result.
compare()
{
    awk -v bench="${0##*/}" -v figure="$1" -v unit="$2" -v ours="$3" -v base="$4" -v goal="${5:-}" 'BEGIN {
        ratio = base > 0 ? sprintf("%.3f", ours / base) : "-"
        printf "%-12s %-46s ours %10s %-4s baseline %10s %-4s ratio %8s%s\n", bench, figure, ours, unit, base, unit, ratio, goal == "" ? "" : "   goal " goal
    }'
}

# exactly FIGURE UNIT OURS GOAL: one that has no baseline but the goal.
exactly()
{
    printf '%-12s %-46s ours %10s %-4s goal %s\n' "${0##*/}" "$1" "$3" "$2" "$4"
}

median()
{
    sort -n | awk '{line[NR] = $1} END {print NR % 2 ? line[(NR + 1) / 2] : (line[NR / 2] + line[NR / 2 + 1]) / 2}'
}

# build_programs: what is measured, and the baseline in Go, into the cache folder.
build_programs()
{
    [ -x "$PROGRAMS/bench-controller" ] || "$ROOT/hack/build" release
    have go || die "Go is not on PATH, and the baseline is written in it"
    local sources=$ROOT/bench/baseline/go
    BASELINE=$CACHE/bench-baseline-$(cat -- "$sources"/*.go "$sources/go.mod" | sha256sum | cut -c1-16)
    if [ ! -x "$BASELINE" ]; then
        say "building the baseline on controller-runtime"
        mkdir -p -- "$CACHE"
        (cd "$sources" && go build -o "$BASELINE.partial" .) && mv -- "$BASELINE.partial" "$BASELINE"
    fi
}

# bench_world [OPTION...]: a control plane with both kinds and an audit log.
bench_world()
{
    RUN=$(mktemp -d -t tenantry-bench-XXXXXX)
    trap bench_end EXIT
    "$ROOT/hack/controlplane/start" "$RUN" --audit --nodes 0 --no-fsync "$@" 2>/dev/null
    # shellcheck source=/dev/null
    source "$RUN/env"
    export KUBECONFIG PATH
    kubectl apply --server-side -f "$ROOT/examples/greeting.yaml" -k "$ROOT/crds" >/dev/null 2>&1 || {
        kubectl apply --server-side -f "$ROOT/examples/greeting.yaml" >/dev/null
        kubectl apply --server-side -k "$ROOT/crds" >/dev/null
    }
    kubectl wait --for=condition=Established --timeout=60s crd greetings.example.tenantry.dev tenants.tenantry.dev >/dev/null
    ADDRESS=127.0.0.1:$(free_port)
    # shellcheck disable=SC2034 # for who sources this
    API=$(kubectl config view --minify --output 'jsonpath={.clusters[0].cluster.server}')
}

bench_end()
{
    set +e
    [ -z "${PID:-}" ] || kill -KILL "$PID" 2>/dev/null
    "$ROOT/hack/controlplane/stop" "$RUN" 2>/dev/null
    rm -rf -- "$RUN"
}

# begin ours|baseline tenant|greeting [RUNS]: start that controller; PID is its process. Its line after so many runs is what await_runs waits for.
begin()
{
    local -a program=("$PROGRAMS/bench-controller")
    [ "$1" = ours ] || program=("$BASELINE" controller)
    [ -p "$RUN/ended" ] || mkfifo "$RUN/ended"
    exec {ENDED}<>"$RUN/ended"
    "${program[@]}" "${@:2:1}" "$ADDRESS" "${@:3}" 1>&"$ENDED" 2>"$RUN/$1.log" &
    PID=$!
    WHO=$1
}

# finish [SIGNAL]: end it.
finish()
{
    kill -"${1:-TERM}" "$PID" 2>/dev/null || true
    wait "$PID" 2>/dev/null || true
    exec {ENDED}<&-
    PID=
}

# await_runs: milliseconds from now until it has ended as many runs as begin was told. It is not asked meanwhile: that would cost the time that is measured.
await_runs()
{
    local start
    start=$(now_ms)
    until read -r -t 5 -u "$ENDED" _; do
        kill -0 "$PID" 2>/dev/null || die "$WHO ended: $(tail -n 3 -- "$RUN/$WHO.log")"
        [ $(($(now_ms) - start)) -lt 300000 ] || die "$WHO has not ended its runs after five minutes"
    done
    echo $(($(now_ms) - start))
}

# cpu_ms, resident_kib, peak_kib: of the process.
cpu_ms()
{
    awk -v hz="$(getconf CLK_TCK)" '{sub(/.*\) /, ""); print int(($12 + $13) * 1000 / hz)}' "/proc/$PID/stat"
}

resident_kib()
{
    awk '/^VmRSS/ {print $2}' "/proc/$PID/status"
}

peak_kib()
{
    awk '/^VmHWM/ {print $2}' "/proc/$PID/status"
}

# wrong: how many Greetings are not yet as they should be.
wrong()
{
    kubectl get greetings -o json | jq '[.items[] | select(.status.message != "Hello, \(.spec.who)!")] | length'
}

settled()
{
    [ "$(wrong)" = 0 ]
}

audit_mark()
{
    stat --format %s -- "$RUN/audit.log"
}

# requests MARK AGENT [VERB...]: how many whose user agent begins so, of these verbs or any.
requests()
{
    local mark=$1 agent=$2
    shift 2
    tail -c +"$((mark + 1))" -- "$RUN/audit.log" | jq -r --arg agent "$agent" --arg verbs "$*" '
        select(.userAgent | startswith($agent)) | select(.objectRef.resource != "leases")
        | select($verbs == "" or (.verb as $verb | $verbs | split(" ") | index($verb))) | .verb' | wc -l
}

agent()
{
    [ "$1" = ours ] && echo tenantry-controller || echo bench-baseline
}
