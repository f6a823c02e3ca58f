# shellcheck shell=bash
# What the user changes reaches everything that was made from it, without a restart; use and data stay.

own_tier()
{
    jq -n "{apiVersion: \"tenantry.dev/v1alpha1\", kind: \"TenantTier\", metadata: {name: \"chg\"}, spec: {price: {monthly: \"10\"},
        quotas: {sandboxes: 2, storage_mb: 50, compute_hours: 3, users: 4, api_requests: 500},
        database: {connectionLimit: 7, statementTimeout: \"20s\"}}} | $1" | kubectl apply --filename - >/dev/null
}

limits_of_role()
{
    server "SELECT coalesce(nullif((SELECT datconnlimit FROM pg_database WHERE datname = 'tenant_$1'), -1), (SELECT rolconnlimit FROM pg_roles WHERE rolname = 'tenant_$1.a'))"
}

own_tier .
tenant chg1 '.spec.tier = "chg"'
tenant chg2 '.spec.tier = "chg" | .spec.quotas = {users: 40}'
need within 60 "a tenant on a tier of the platform's own" ready chg1
need within 60 "another on it, with an override" ready chg2
becomes 30 "its limits" 'api_requests=0/500 compute_hours=0/3 sandboxes=0/2 storage_mb=8/50 users=0/40' quotas chg2
check "its limit of connections" 7 "$(limits_of_role chg1)"
check "its statement timeout, as a default" 20s "$(as_tenant chg1 'SHOW statement_timeout')"

# The tier.
registry "UPDATE tenant_quotas SET current_usage = 5 WHERE resource_type = 'api_requests' AND tenant_id IN ('$(tenant_id chg1)', '$(tenant_id chg2)')"
own_tier '.spec.quotas = {sandboxes: 3, storage_mb: 50, users: 6, api_requests: 600, gpu_hours: 9} | .spec.price.monthly = "12.50" | .spec.database.connectionLimit = 8'
becomes 30 "an edit of the tier reaches its tenants; use is kept" 'api_requests=5/600 gpu_hours=0/9 sandboxes=0/3 storage_mb=8/50 users=0/6' quotas chg1
becomes 30 "every one of them; an override stays" 'api_requests=5/600 gpu_hours=0/9 sandboxes=0/3 storage_mb=8/50 users=0/40' quotas chg2
becomes 30 "the record follows" '3|50|6|12.50' registry "SELECT max_sandboxes, max_storage_mb, max_users, mrr FROM tenants WHERE subdomain = 'chg1'"
becomes 30 "the limit of connections follows" 8 limits_of_role chg1
becomes 30 "status follows" 600 of chg1 '.status.quotas[] | select(.resource == "api_requests") | .limit'
within 30 "they are Ready" ready chg1

# The tenant's own tier.
edit chg1 '{"spec": {"tier": "enterprise"}}'
need within 30 "another tier" ready chg1
becomes 30 "its limits hold; use is kept" 'api_requests=5/100000 compute_hours=0/100 sandboxes=1/20 storage_mb=8/10000 users=0/50' quotas chg1
check "the record" 'enterprise|enterprise|499.00|20' "$(registry "SELECT tier, billing_plan, mrr, max_sandboxes FROM tenants WHERE subdomain = 'chg1'")"
check "the limit of connections" 100 "$(limits_of_role chg1)"

# Overrides.
edit chg1 '{"spec": {"quotas": {"sandboxes": -1, "storage_mb": 5}}}'
need within 30 "an override" ready chg1
becomes 30 "it holds" 'api_requests=5/100000 compute_hours=0/100 sandboxes=1/9223372036854775807 storage_mb=8/5 users=0/50' quotas chg1
within 30 "use over a limit is said: an empty database takes more than that" is chg1 QuotaExceeded True
matches "what, and how much" 'storage_mb.*[0-9].*5' "$(message chg1 QuotaExceeded)"
holds "mere use leaves Ready alone" ready chg1
edit chg1 '{"spec": {"quotas": null}}'
need within 30 "the override is taken back" ready chg1
becomes 30 "then it is not exceeded any more" '' condition chg1 QuotaExceeded
becomes 30 "use was kept" 'api_requests=5/100000 compute_hours=0/100 sandboxes=1/20 storage_mb=8/10000 users=0/50' quotas chg1

# What the tenant is called.
edit chg1 '{"spec": {"displayName": "Changed & Sons", "settings": {"theme": "light", "lang": "de"}, "billing": {"cycle": "annual"}}}'
need within 30 "name, settings and cycle" ready chg1
check "the record follows" 'Changed & Sons|de|light|annual' "$(registry "SELECT name, settings ->> 'lang', settings ->> 'theme', billing_cycle FROM tenants WHERE subdomain = 'chg1'")"

# The owner.
owner=$(inside tenant_chg1 'SELECT id, password_hash FROM users')
password=$(secret tenantry-system chg1-owner password)
as_tenant chg1 "INSERT INTO applications (user_id, name) SELECT id, 'kept' FROM users"
edit chg1 '{"spec": {"owner": {"email": "new@chg1.example", "name": "New Owner"}}}'
need within 30 "a renamed owner" ready chg1
check "is the same account, once" "new@chg1.example|New Owner|owner|${owner}" "$(inside tenant_chg1 'SELECT email, full_name, role, id, password_hash FROM users')"
check "in the registry too" new@chg1.example "$(registry "SELECT string_agg(email, ' ') FROM tenant_users WHERE tenant_id = '$(tenant_id chg1)' AND status = 'active'")"
check "what was the owner's is" kept "$(inside tenant_chg1 "SELECT name FROM applications")"
check "the Secret follows; the password stays" "new@chg1.example $password" "$(secret tenantry-system chg1-owner email) $(secret tenantry-system chg1-owner password)"
can yes new@chg1.example get secret/chg1-owner -n tenantry-system
can no owner@chg1.example get secret/chg1-owner -n tenantry-system

# Paused: nothing is done until it is taken off. Another tenant, changed after it, shows that the controller has come by.
kubectl annotate tenant chg1 tenantry.dev/paused=true >/dev/null
edit chg1 '{"spec": {"quotas": {"users": 1}}}'
edit chg2 '{"spec": {"quotas": {"users": 2}}}'
need within 30 "a tenant that is not paused follows" ready chg2
check "a paused one does not" 50 "$(registry "SELECT quota_limit FROM tenant_quotas WHERE resource_type = 'users' AND tenant_id = '$(tenant_id chg1)'")"
kubectl annotate tenant chg1 tenantry.dev/paused- >/dev/null
becomes 30 "until the annotation is taken off" 1 registry "SELECT quota_limit FROM tenant_quotas WHERE resource_type = 'users' AND tenant_id = '$(tenant_id chg1)'"
within 30 "it is Ready" ready chg1

# Where it lives.
edit chg1 '{"spec": {"database": {"isolation": "Schema"}}}'
need within 30 "another isolation waits for a move" is chg1 Ready False MovePending
check "it waits for the user" 'True MovePending' "$(condition chg1 Stalled)"
check "and is a condition of its own" 'True MovePending' "$(condition chg1 MovePending)"
holds "the old place serves" login_works chg1
edit chg1 '{"spec": {"database": null}}'
within 30 "taken back, it is Ready" ready chg1
check "and no move is pending" '' "$(condition chg1 MovePending)"
purge chg1 chg2
need becomes 30 "a tier that nobody uses is free" 0 kubectl get tenanttier chg -o 'jsonpath={.status.tenants}'
within 30 "and can be deleted" kubectl delete --ignore-not-found tenanttier chg
