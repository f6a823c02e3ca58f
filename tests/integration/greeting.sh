#!/usr/bin/env bash
# The newcomer's controller of docs/runtime.md: the page shows its source as it is, what it is said to do it does, and its metrics are those of
# docs/metrics.md.
#
#   tests/integration/greeting.sh PROGRAM
set -euo pipefail
source "$(dirname -- "${BASH_SOURCE[0]}")/../../hack/lib/base.sh"

PROGRAM=$1
NAMESPACE=greeting-$RANDOM
WORK=$(mktemp -d)

finish()
{
    local status=$?
    set +e
    [ -z "${PID:-}" ] || kill "$PID" 2>/dev/null
    kubectl delete namespace "$NAMESPACE" --wait=false >/dev/null 2>&1
    kubectl delete -f "$ROOT/examples/greeting.yaml" --wait=false >/dev/null 2>&1
    [ "$status" -eq 0 ] || cat -- "$WORK/log" >&2
    rm -rf -- "$WORK"
}
trap finish EXIT

# shown TITLE: the code block that follows the line with TITLE.
shown()
{
    awk -v title="$1" '$0 ~ title {seen = 1} /^```/ && seen {if (inside) exit; inside = 1; next} inside' "$ROOT/docs/runtime.md"
}

for file in examples/greeting.c examples/greeting.yaml; do
    diff -u --label docs/runtime.md <(shown "\`$file\`") "$ROOT/$file" || die "docs/runtime.md shows another $file"
done
[ "$(wc -l <"$ROOT/examples/greeting.c")" -le 65 ] || die "examples/greeting.c has grown beyond what a newcomer reads at once"

message()
{
    kubectl get greeting -n "$NAMESPACE" "$1" -o 'jsonpath={.status.message}'
}

says()
{
    [ "$(message "$1")" = "$2" ]
}

greet()
{
    jq -n --arg name "$1" --arg who "$2" '{apiVersion: "example.tenantry.dev/v1", kind: "Greeting", metadata: {name: $name}, spec: {who: $who}}' |
        kubectl apply -n "$NAMESPACE" -f - >/dev/null
}

# A run that was cut short may have left it.
kubectl delete -f "$ROOT/examples/greeting.yaml" --ignore-not-found --timeout=60s >/dev/null
address=127.0.0.1:$(free_port)
# Before its kind is there: it waits for it.
"$PROGRAM" "$address" >"$WORK/log" 2>&1 &
PID=$!
wait_for 20 eval "curl -s http://$address/readyz | grep -q CRDMissing" || die "it does not say that its kind is missing"
kubectl apply -f "$ROOT/examples/greeting.yaml" >/dev/null
kubectl create namespace "$NAMESPACE" >/dev/null
wait_for 30 eval "curl -fs http://$address/readyz" || die "it does not become ready"
wait_for 20 greet world World || die "the kind is not served"
wait_for 20 says world 'Hello, World!' || die "it did not greet the world: $(message world)"
greet world Moon
wait_for 20 says world 'Hello, Moon!' || die "it did not see the change"
kubectl patch greeting -n "$NAMESPACE" world --subresource status --type merge -p '{"status":{"message":"spoilt"}}' >/dev/null
wait_for 20 says world 'Hello, Moon!' || die "it did not put right what somebody spoilt"
greet nobody ''
wait_for 20 eval "curl -s http://$address/metrics | grep -q 'terminal_reconcile_errors_total{controller=\"greetings\"} 1$'" ||
    die "an object that cannot be is not told"
curl -s "http://$address/metrics" >"$WORK/page"
"$ROOT/tests/integration/check-metrics" "$WORK/page" || die "docs/metrics.md tells something else than /metrics"
runs=$(curl -s "http://$address/metrics" | grep 'controller_runtime_reconcile_total{.*result="success"}')
kill "$PID"
wait "$PID" || die "it did not end well"
PID=
say "as the page says ($runs)"
