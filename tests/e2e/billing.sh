# shellcheck shell=bash
# A tenant's bill, from its first day to its payment, in a time that the test moves: controller and gateway take --test-clock.

CLOCK=$RUN/billing-clock
TOKEN=$(openssl rand -hex 20)
GATEWAY_PORT=$(stable_port "$RUN" gateway)

# move_clock INSTANT: to what GNU date understands.
move_clock()
{
    printf '%s\n' "$(($(date -u -d "$1" +%s) - $(date -u +%s)))" >"$CLOCK.new"
    mv -- "$CLOCK.new" "$CLOCK"
}

# bill START: of the period that begins then.
bill()
{
    registry "SELECT b.status, b.closed_at IS NOT NULL, b.amount_due, b.amount_paid, b.api_requests_made FROM tenant_billing b JOIN tenants t
        ON t.id = b.tenant_id WHERE t.subdomain = 'bill' AND b.billing_period_start = '$1'"
}

start_gateway()
{
    (umask 077 && printf '%s\n' "$TOKEN" >"$RUN/billing-token")
    process_start "$RUN" gateway "$ROOT/build/release/tenantry-gateway" --listen "127.0.0.1:$GATEWAY_PORT" --domain tenants.localhost \
        --metrics-address '' --registry-url-file "$RUN/gateway/registry-url" --password-file "$RUN/gateway/postgres-password" \
        --payment-token-file "$RUN/billing-token" --test-clock "$CLOCK" --drain-delay 0s
    process_wait "$RUN" gateway 60 curl -fsS --noproxy '*' "http://127.0.0.1:$GATEWAY_PORT/readyz"
}

# pay TOKEN AMOUNT: the status and what was answered.
pay()
{
    curl -sS --noproxy '*' --max-time 10 -H 'Host: bill.tenants.localhost' -H "Authorization: Bearer $1" -w '%{http_code}' \
        -d "{\"externalID\": \"e2e-1\", \"periodStart\": \"2033-02-01\", \"amount\": \"$2\", \"currency\": \"EUR\", \"paidAt\": \"2033-04-02T00:00:00Z\"}" \
        "http://127.0.0.1:$GATEWAY_PORT/api/payments"
}

move_clock 2033-02-08T12:00:00Z
restart_controller --test-clock "$CLOCK"
jq -n '{apiVersion: "tenantry.dev/v1alpha1", kind: "TenantTier", metadata: {name: "bill"}, spec: {quotas: {sandboxes: 1, storage_mb: 50,
    compute_hours: 3, users: 4, api_requests: 1000}, price: {monthly: "28", overage: {api_requests: "0.01"}, suspendAfterDaysOverdue: 3}}}' |
    kubectl apply --filename - >/dev/null
tenant bill '.spec.tier = "bill" | .spec.quotas = {api_requests: 5000} | del(.spec.sandboxes)'
need within 90 "a tenant is Ready" ready bill
check "its bill stands from the first day: 21 of 28 days" 'pending|f|21.00|0.00|0' "$(bill 2033-02-01)"
check "its status says so" '2033-02-01 2033-03-01 21.00 EUR pending' \
    "$(kubectl get tenant bill -o 'jsonpath={.status.billing.periodStart} {.status.billing.periodEnd} {.status.billing.amountDue} {.status.billing.currency} {.status.billing.status}')"
registry "UPDATE tenant_quotas SET current_usage = 1200 WHERE resource_type = 'api_requests' AND tenant_id = '$(tenant_id bill)'"
becomes 30 "it grows with use" 'pending|f|23.00|0.00|1200' bill 2033-02-01

move_clock 2033-03-01T00:00:05Z
becomes 60 "the next period begins with the month" 'pending|f|28.00|0.00|0' bill 2033-03-01
becomes 30 "and requests are counted anew" 'api_requests=0/5000' eval "quotas bill | tr ' ' '\n' | grep api_requests"
move_clock 2033-03-02T00:00:05Z
becomes 30 "a day later the bill is closed" 'pending|t|23.00|0.00|1200' bill 2033-02-01
refused "and stays as it is" 'is closed' registry "UPDATE tenant_billing SET amount_due = 0 WHERE billing_period_start = '2033-02-01' AND tenant_id = '$(tenant_id bill)'"
move_clock 2033-03-16T00:00:30Z
becomes 30 "two weeks later it is overdue" 'overdue|t|23.00|0.00|1200' bill 2033-02-01
check "the tenant is served still" 'False NotSuspended' "$(condition bill Suspended)"
move_clock 2033-03-19T00:01:00Z
need within 60 "after the tier's days it is suspended" is bill Suspended True BillingOverdue
check "and Ready, with its spec as it was" 'True Active' "$(kubectl get tenant bill -o 'jsonpath={.status.conditions[?(@.type=="Ready")].status} {.spec.state}')"
check "the registry says so" suspended "$(registry "SELECT status FROM tenants WHERE subdomain = 'bill' AND deleted_at IS NULL")"

start_gateway
check "a payment needs its own credential" '{"error":"Unauthorized"}401' "$(pay "not-$TOKEN" 23.00)"
matches "with it, it is recorded, though the tenant is suspended" '"status": *"paid".*"recorded": *true.*200$' "$(pay "$TOKEN" 23.00)"
matches "once: again it changes nothing" '"recorded": *false.*200$' "$(pay "$TOKEN" 23.00)"
matches "another one of that id is refused" '409$' "$(pay "$TOKEN" 24.00)"
check "the bill is paid" 'paid|t|23.00|23.00|1200' "$(bill 2033-02-01)"
need within 60 "the tenant is active again" is bill Suspended False NotSuspended
within 30 "and its login opened" says t server "SELECT rolcanlogin FROM pg_roles WHERE rolname = 'tenant_bill.a'"
check "the bill explains itself" 'bill: 28 x 21 of 28 days = 21.00; api_requests in 2033-02: 1200 used, 1000 included by bill, the rest x 0.01 = 2.00' \
    "$(registry "SELECT string_agg(l ->> 'text', '; ') FROM jsonb_array_elements(billing_explain('$(tenant_id bill)', '2033-02-01', now()) -> 'lines') l")"

id=$(tenant_id bill)
kubectl delete tenant bill --wait=false >/dev/null
need within 60 "the tenant is deleted" gone tenant bill
becomes 30 "its last period is prorated, and kept" 'pending|f|17.16|0.00|0' registry "SELECT b.status, b.closed_at IS NOT NULL, b.amount_due,
    b.amount_paid, b.api_requests_made FROM tenant_billing b WHERE tenant_id = '$id' AND billing_period_start = '2033-03-01'"
process_stop "$RUN" gateway TERM 30
restart_controller
