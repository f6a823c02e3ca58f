# shellcheck shell=bash
# The tenant's login is replaced, by hand and by age, while a client that follows the Secret is busy.

quick_tier()
{
    jq -n "{apiVersion: \"tenantry.dev/v1alpha1\", kind: \"TenantTier\", metadata: {name: \"rot\"}, spec: {price: {monthly: \"1\"},
        quotas: {users: 3}, database: {connectionLimit: 6, rotationOverlap: \"15s\"}}} | $1" | kubectl apply --filename - >/dev/null
}

ask_for_rotation()
{
    kubectl annotate --overwrite tenant rot "tenantry.dev/rotate-requested-at=$1" >/dev/null
}

login()
{
    of rot ".status.database.login.$1 // \"\""
}

# A client: reads the Secret, connects, asks; over and over until the file is gone. Writes a word a request.
busy_client()
{
    local url
    while [ -e "$RUN/rot-busy" ]; do
        if url=$(uri rot) && sql "$url" 'SELECT count(*) FROM users' >/dev/null 2>>"$RUN/rot-errors"; then
            echo served
        else
            echo failed
        fi
    done >>"$1"
}

quick_tier .
tenant rot '.spec.tier = "rot"'
need within 60 "a tenant is Ready" ready rot
check "it is on its first login" tenant_rot.a "$(login user)"
matches "status says when that was issued" '^20..-..-..T..:..:..' "$(login issuedAt)"
old=$(uri rot)
touch "$RUN/rot-busy"
rm -f "$RUN"/rot-served.*
busy_client "$RUN/rot-served.1" &
client1=$!
busy_client "$RUN/rot-served.2" &
client2=$!

ask_for_rotation one
need becomes 30 "a rotation on demand" tenant_rot.b login user
check "the request is answered" one "$(of rot .status.lastHandledRotateAt)"
check "the Secret names it" tenant_rot.b "$(secret tenant-rot rot-database user)"
check "the one before still works" 1 "$(sql "$old" 'SELECT 1')"
holds "the tenant stays Ready" ready rot
becomes 90 "until it has been quiet for a while" '' login retiringUser
refused "then it is refused" 'password authentication failed' sql "$old" 'SELECT 1'
ask_for_rotation two
need becomes 90 "another one goes back to the first login" tenant_rot.a login user
becomes 90 "and closes the second" '' login retiringUser
ask_for_rotation three
need becomes 90 "and another" tenant_rot.b login user
rm -f "$RUN/rot-busy"
wait "$client1" "$client2"
check "no request of the busy clients failed" '' "$(grep -h failed "$RUN"/rot-served.* || true)"
holds "and there were many" test "$(cat "$RUN"/rot-served.* | wc -l)" -gt 8
within 10 "the rotation is told" event rot CredentialsRotated

becomes 90 "the overlap ends" '' login retiringUser
quick_tier '.spec.database.rotationPeriod = "20s"'
within 90 "a login is replaced once it is as old as the tier says" says tenant_rot.a login user
matches "status says when the next is due" '^20..-..-..T..:..:..' "$(login rotatesAt)"
quick_tier .
becomes 60 "without a period, no more" '' login rotatesAt
password=$(secret tenant-rot rot-database password)
check "no password is in the server's log" '' "$(grep -F -- "$password" "$RUN"/postgres*.log || true)"
purge rot
within 30 "the tier goes" kubectl delete tenanttier rot
