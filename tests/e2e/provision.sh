# shellcheck shell=bash
# From `kubectl apply` to Ready: each thing that the contract promises a tenant is there, to the table and the type.

# missing DATABASE: the rows (table, column, type, NOT NULL, default) on stdin that the catalog does not have so. Types are patterns.
missing()
{
    local rows
    rows=$(sed "s/.*/(&)/" | paste -sd, -)
    inside "$1" "
        SELECT format('%s.%s: %s%s%s', w.t, w.c, coalesce(format_type(atttypid, atttypmod), 'absent'),
                      CASE WHEN attnotnull THEN ' NOT NULL' END, ' DEFAULT ' || pg_get_expr(adbin, adrelid))
          FROM (VALUES $rows) w (t, c, type, required, value)
          LEFT JOIN pg_attribute ON attrelid = to_regclass('public.' || w.t) AND attname = w.c
          LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
         WHERE format_type(atttypid, atttypmod) IS NULL OR format_type(atttypid, atttypmod) NOT LIKE w.type OR w.required AND NOT attnotnull
            OR w.value IS NOT NULL AND regexp_replace(coalesce(pg_get_expr(adbin, adrelid), ''), '::.*\$', '') <> w.value
         ORDER BY 1"
}

# unindexed DATABASE TABLE.COLUMN...: those that no index begins with.
unindexed()
{
    local database=$1 name
    shift
    for name in "$@"; do
        inside "$database" "SELECT '$name' WHERE NOT EXISTS (
            SELECT FROM pg_index JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY (indkey)
             WHERE indrelid = 'public.${name%.*}'::regclass AND attname = '${name#*.}')"
    done
}

fresh=$(tenant_json acme | kubectl create --dry-run=server --output json --filename -)
check "nobody takes a fresh Tenant for a ready one" 'InProgress {"observedGeneration":-1}' \
    "$(kstatus <<<"$fresh") $(jq -c .status <<<"$fresh")"

tenant_json acme '.spec += {displayName: "Acme Corporation", tier: "premium", owner: {email: "admin@acme.com", name: "Acme Admin"},
    quotas: {storage_mb: 2000, compute_hours: -1}, settings: {theme: "dark"}}' >"$RUN/acme.json"
kubectl apply --filename "$RUN/acme.json" >/dev/null
holds "kubectl wait sees it become Ready" kubectl wait --for=condition=Ready --timeout=60s tenant/acme
need within 5 "it is Ready for the spec as it is" ready acme
id=$(tenant_id acme)
uid=$(of acme .metadata.uid)
matches "status names the registry's id" '^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$' "$id"

# 1. The record.
check "the registry's columns" '' "$(missing tenantry_registry <<'E2'
'tenants', 'id', 'uuid', true, 'gen_random_uuid()'
'tenants', 'name', 'character varying(255)', true, NULL
'tenants', 'subdomain', 'character varying(255)', true, NULL
'tenants', 'tier', 'character varying(50)', true, NULL
'tenants', 'status', 'character varying(50)', false, '''active'''
'tenants', 'max_sandboxes', 'integer', false, '5'
'tenants', 'max_storage_mb', 'integer', false, '1000'
'tenants', 'max_compute_hours', 'integer', false, '10'
'tenants', 'max_users', 'integer', false, '5'
'tenants', 'billing_plan', 'character varying(50)', false, NULL
'tenants', 'billing_cycle', 'character varying(50)', false, NULL
'tenants', 'mrr', 'numeric(10,2)', false, '0'
'tenants', 'database_name', 'character varying(255)', true, NULL
'tenants', 'created_at', 'timestamp%', false, NULL
'tenants', 'updated_at', 'timestamp%', false, NULL
'tenants', 'deleted_at', 'timestamp%', false, NULL
'tenant_users', 'id', 'uuid', true, NULL
'tenant_users', 'tenant_id', 'uuid', true, NULL
'tenant_users', 'email', 'character varying(255)', true, NULL
'tenant_users', 'role', 'character varying(50)', true, NULL
'tenant_users', 'status', 'character varying(50)', false, '''active'''
'tenant_users', 'created_at', 'timestamp%', false, NULL
'tenant_quotas', 'id', 'uuid', true, NULL
'tenant_quotas', 'tenant_id', 'uuid', true, NULL
'tenant_quotas', 'resource_type', 'character varying(100)', true, NULL
'tenant_quotas', 'current_usage', 'bigint', false, '0'
'tenant_quotas', 'quota_limit', 'bigint', true, NULL
'tenant_quotas', 'updated_at', 'timestamp%', false, NULL
'tenant_billing', 'id', 'uuid', true, NULL
'tenant_billing', 'tenant_id', 'uuid', true, NULL
'tenant_billing', 'billing_period_start', 'date', true, NULL
'tenant_billing', 'billing_period_end', 'date', true, NULL
'tenant_billing', 'sandboxes_used', 'integer', false, NULL
'tenant_billing', 'storage_gb_used', 'numeric(10,2)', false, NULL
'tenant_billing', 'compute_hours_used', 'numeric(10,2)', false, NULL
'tenant_billing', 'api_requests_made', 'bigint', false, NULL
'tenant_billing', 'amount_due', 'numeric(10,2)', false, NULL
'tenant_billing', 'amount_paid', 'numeric(10,2)', false, NULL
'tenant_billing', 'status', 'character varying(50)', false, '''pending'''
'tenant_billing', 'created_at', 'timestamp%', false, NULL
'tenant_retained', 'id', 'uuid', true, NULL
'tenant_retained', 'tenant_id', 'uuid', false, NULL
'tenant_retained', 'subdomain', '%', false, NULL
'tenant_retained', 'kind', '%', false, NULL
'tenant_retained', 'name', '%', false, NULL
'tenant_retained', 'location', '%', false, NULL
'tenant_retained', 'size_bytes', 'bigint', false, NULL
'tenant_retained', 'retained_at', 'timestamp%', false, NULL
'tenant_retained', 'delete_after', 'timestamp%', false, NULL
E2
)"
check "the registry's indexes" '' "$(unindexed tenantry_registry tenants.subdomain tenants.status tenant_users.tenant_id \
    tenant_quotas.tenant_id)"
# What a program wrote that knows the contract's columns alone.
holds "a program can insert by the contract's columns" registry "BEGIN;
    INSERT INTO tenants (name, subdomain, tier, database_name) VALUES ('Other', 'other-program', 'free', 'x');
    INSERT INTO tenant_users (tenant_id, email, role) SELECT id, 'a@b.example', 'member' FROM tenants WHERE subdomain = 'other-program';
    INSERT INTO tenant_quotas (tenant_id, resource_type, quota_limit) SELECT id, 'users', 1 FROM tenants WHERE subdomain = 'other-program';
    INSERT INTO tenant_billing (tenant_id, billing_period_start, billing_period_end)
        SELECT id, '2026-01-01', '2026-02-01' FROM tenants WHERE subdomain = 'other-program';
    DO \$\$ BEGIN ASSERT (SELECT (t.status, u.status, q.current_usage, b.status) = ('active', 'active', 0, 'pending') FROM tenants t
        JOIN tenant_users u ON u.tenant_id = t.id JOIN tenant_quotas q ON q.tenant_id = t.id JOIN tenant_billing b ON b.tenant_id = t.id
        WHERE subdomain = 'other-program'), 'defaults'; END \$\$;
    DELETE FROM tenants WHERE subdomain = 'other-program';
    DO \$\$ BEGIN ASSERT NOT EXISTS (SELECT FROM tenant_users WHERE email = 'a@b.example'), 'cascade'; END \$\$;
    ROLLBACK"
refused "two live tenants cannot have one subdomain" duplicate registry \
    "INSERT INTO tenants (name, subdomain, tier, database_name) VALUES ('Other', 'acme', 'free', 'x')"
refused "a user is there once" duplicate registry \
    "INSERT INTO tenant_users (tenant_id, email, role) SELECT tenant_id, email, role FROM tenant_users WHERE email = 'admin@acme.com'"
refused "a quota is there once" duplicate registry \
    "INSERT INTO tenant_quotas (tenant_id, resource_type, quota_limit) VALUES ('$id', 'users', 7)"
check "the record" 'Acme Corporation|acme|premium|active|5|2000|5|premium|monthly|49.00|tenant_acme|t' \
    "$(registry "SELECT name, subdomain, tier, status, max_sandboxes, max_storage_mb, max_users, billing_plan, billing_cycle, mrr,
        database_name, deleted_at IS NULL FROM tenants WHERE id = '$id'")"
check "a billing period is open, from the month's first day to the next's" 't|t|pending' \
    "$(registry "SELECT billing_period_start = date_trunc('month', now() AT TIME ZONE 'UTC')::date,
        billing_period_end = (date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month')::date, status
        FROM tenant_billing WHERE tenant_id = '$id'")"

# 2. The database.
check "the database: encoding, and who owns it" 'UTF8|tenant_acme.owner|t' \
    "$(server "SELECT pg_encoding_to_char(encoding), pg_get_userbyid(datdba), datallowconn FROM pg_database WHERE datname = 'tenant_acme'")"
check "its comment says whose it is" t "$(server "SELECT position('$id' IN d) > 0 AND position('$uid' IN d) > 0
    FROM (SELECT shobj_description(oid, 'pg_database') d FROM pg_database WHERE datname = 'tenant_acme') c")"
check "its roles: login, and no right over the server" 'a=t app=f owner=f ro=f rw=f' \
    "$(server "SELECT string_agg(split_part(rolname, '.', 2) || '=' || left(rolcanlogin::text, 1), ' ' ORDER BY rolname) FROM pg_roles
        WHERE rolname LIKE 'tenant\\_acme.%' AND NOT (rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls)")"
# shellcheck disable=SC2016 # the dollars are of verifiers
check "the password stands as a SCRAM verifier, and only the login has one" 'tenant_acme.a SCRAM-SHA-256$4096:' \
    "$(server "SELECT string_agg(rolname || ' ' || left(rolpassword, 19), ' ') FROM pg_authid WHERE rolname LIKE 'tenant\\_acme.%' AND rolpassword IS NOT NULL")"
check "the login is a member of app and rw, by no path of owner" 't|t|f' \
    "$(server "SELECT pg_has_role('tenant_acme.a', 'tenant_acme.app', 'MEMBER'), pg_has_role('tenant_acme.a', 'tenant_acme.rw', 'MEMBER'),
        pg_has_role('tenant_acme.a', 'tenant_acme.owner', 'MEMBER')")"
check "no role of the tenant's can become the controller or anybody else's" '' \
    "$(server "SELECT m.rolname || ' -> ' || r.rolname FROM pg_roles m, pg_roles r WHERE m.rolname LIKE 'tenant\\_acme.%'
        AND r.rolname NOT LIKE 'tenant\\_acme.%' AND pg_has_role(m.oid, r.oid, 'MEMBER') AND NOT m.rolsuper")"
check "the tier limits its connections" 25 "$(server "SELECT coalesce(nullif((SELECT datconnlimit FROM pg_database WHERE datname = 'tenant_acme'), -1),
    (SELECT rolconnlimit FROM pg_roles WHERE rolname = 'tenant_acme.a'))")"
check "PUBLIC may connect to no database" '' "$(server "SELECT datname FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba)))
    WHERE grantee = 0 AND privilege_type = 'CONNECT'")"

# 3. The tenant schema.
check "the tenant schema's columns" '' "$(missing tenant_acme <<'E2'
'users', 'id', 'uuid', true, NULL
'users', 'email', 'character varying(255)', true, NULL
'users', 'password_hash', 'character varying(255)', true, NULL
'users', 'full_name', 'character varying(255)', false, NULL
'users', 'role', 'character varying(50)', false, '''member'''
'users', 'must_change_password', 'boolean', false, NULL
'users', 'created_at', 'timestamp%', false, NULL
'users', 'tenant_id', 'uuid', true, NULL
'applications', 'id', 'uuid', true, NULL
'applications', 'user_id', 'uuid', false, NULL
'applications', 'name', 'character varying(255)', true, NULL
'applications', 'description', 'text', false, NULL
'applications', 'sandbox_id', 'character varying(255)', false, NULL
'applications', 'status', 'character varying(50)', false, '''active'''
'applications', 'created_at', 'timestamp%', false, NULL
'applications', 'tenant_id', 'uuid', true, NULL
'deployments', 'id', 'uuid', true, NULL
'deployments', 'application_id', 'uuid', false, NULL
'deployments', 'version', 'character varying(50)', true, NULL
'deployments', 'status', 'character varying(50)', false, '''pending'''
'deployments', 'deployed_at', 'timestamp%', false, NULL
'deployments', 'created_at', 'timestamp%', false, NULL
'deployments', 'tenant_id', 'uuid', true, NULL
'api_keys', 'id', 'uuid', true, NULL
'api_keys', 'user_id', 'uuid', false, NULL
'api_keys', 'key_hash', 'character varying(255)', true, NULL
'api_keys', 'name', 'character varying(255)', false, NULL
'api_keys', 'last_used_at', 'timestamp%', false, NULL
'api_keys', 'expires_at', 'timestamp%', false, NULL
'api_keys', 'created_at', 'timestamp%', false, NULL
'api_keys', 'tenant_id', 'uuid', true, NULL
E2
)"
check "its indexes" '' "$(unindexed tenant_acme applications.user_id deployments.application_id)"
check "row-level security is enabled and forced on every table, with a policy" 'api_keys applications deployments users' \
    "$(inside tenant_acme "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
        AND relrowsecurity AND relforcerowsecurity AND EXISTS (SELECT FROM pg_policy WHERE polrelid = pg_class.oid)
        AND relname IN ('users', 'applications', 'deployments', 'api_keys')")"
check "no table is without it" '' "$(inside tenant_acme "SELECT relname FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT (relrowsecurity AND relforcerowsecurity)")"
check "role owner owns them" tenant_acme.owner "$(inside tenant_acme "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')")"

# 4. The owner.
check "the owner's row" 'admin@acme.com|Acme Admin|owner|t|t' "$(inside tenant_acme "SELECT email, full_name, role, must_change_password,
    password_hash ~ '^\\\$2b\\\$12\\\$[./A-Za-z0-9]{53}\$' FROM users")"
check "the owner in the registry" 'admin@acme.com|owner|active' "$(registry "SELECT email, role, status FROM tenant_users WHERE tenant_id = '$id'")"
check "the owner's Secret: email and password" '["email","password"]' "$(kubectl get secret -n tenantry-system acme-owner -o json | jq -c '.data | keys')"
check "its email" admin@acme.com "$(secret tenantry-system acme-owner email)"
matches "its password is strong" '^[!-~]{20,}$' "$(secret tenantry-system acme-owner password)"
holds "the hash is the password's" password_fits acme
can yes admin@acme.com get secret/acme-owner -n tenantry-system
can no admin@acme.com list secrets -n tenantry-system
can no admin@acme.com get secret/primary-credentials -n tenantry-system
can no somebody@else.example get secret/acme-owner -n tenantry-system

# 5. The quotas.
becomes 30 "the quotas: the tier's, under the tenant's own; -1 is the largest bigint" \
    'api_requests=0/10000 compute_hours=0/9223372036854775807 sandboxes=1/5 storage_mb=8/2000 users=0/5' quotas acme
check "the quotas in status" '{"api_requests":10000,"compute_hours":-1,"sandboxes":5,"storage_mb":2000,"users":5}' \
    "$(of acme '[.status.quotas[] | {(.resource): .limit}] | add | tojson | fromjson' | jq -cS .)"

# The namespace and the connection Secret.
check "the namespace is labelled as the tenant's" "tenantry acme $uid" "$(kubectl get namespace tenant-acme -o json | jq -r '.metadata.labels |
    "\(.["app.kubernetes.io/managed-by"]) \(.["tenantry.dev/tenant"]) \(.["tenantry.dev/tenant-uid"])"')"
check "nothing hangs on an owner reference, which a restored cluster would collect" '' "$(kubectl get namespace/tenant-acme -o json | jq -r '.metadata.ownerReferences // empty'
    kubectl get secret -n tenant-acme -o json | jq -r '.items[].metadata.ownerReferences // empty'
    kubectl get secret -n tenantry-system acme-owner -o json | jq -r '.metadata.ownerReferences // empty')"
check "the connection Secret's keys" '' "$(kubectl get secret -n tenant-acme acme-database -o json |
    jq -r '["host", "port", "dbname", "user", "password", "sslmode", "schema", "uri", "jdbc-uri", "pgpass"] - (.data | keys) | .[]')"
check "what they say" "127.0.0.1 $(stable_port "$RUN" postgres) tenant_acme tenant_acme.a verify-full public" \
    "$(for key in host port dbname user sslmode schema; do secret tenant-acme acme-database "$key"; done | paste -sd' ' -)"
check "psql works with uri" 'tenant_acme|tenant_acme.a' "$(as_tenant acme 'SELECT current_database(), session_user')"
check "psql works with the parts" tenant_acme.a "$(PGPASSWORD=$(secret tenant-acme acme-database password) sql "host=$(secret tenant-acme acme-database host)
    port=$(secret tenant-acme acme-database port) dbname=$(secret tenant-acme acme-database dbname) user=$(secret tenant-acme acme-database user)
    sslmode=$(secret tenant-acme acme-database sslmode)" 'SELECT session_user')"
(umask 077 && secret tenant-acme acme-database pgpass >"$RUN/pgpass")
check "psql works with pgpass" tenant_acme.a "$(unset PGPASSWORD && PGPASSFILE=$RUN/pgpass sql \
    "host=127.0.0.1 port=$(stable_port "$RUN" postgres) dbname=tenant_acme user=tenant_acme.a sslmode=verify-full" 'SELECT session_user')"
matches "jdbc-uri is one" "^jdbc:postgresql://127\.0\.0\.1:$(stable_port "$RUN" postgres)/tenant_acme\?" "$(secret tenant-acme acme-database jdbc-uri)"
check "status says where" "{\"server\":\"primary\",\"isolation\":\"Database\",\"name\":\"tenant_acme\",\"schema\":\"public\",\"namespace\":\"tenant-acme\",\"secret\":\"tenant-acme/acme-database\"}" \
    "$(of acme '{server: .status.database.server, isolation: .status.database.isolation, name: .status.database.name, schema: .status.database.schema,
        namespace: .status.namespace, secret: "\(.status.database.secretRef.namespace)/\(.status.database.secretRef.name)"} | tojson')"

# No password in clear anywhere but in its Secret.
for key in tenant-acme/acme-database tenantry-system/acme-owner; do
    secret "${key%/*}" "${key#*/}" password >"$RUN/needle"
    check "no log holds the password of $key" '' "$(grep -lF -f "$RUN/needle" -- "$RUN"/*.log || true)"
    check "the registry does not hold it" 0 "$(PGCONNECT_TIMEOUT=10 pg_dump --data-only --dbname "$REGISTRY" | grep -cF -f "$RUN/needle" || true)"
done
check "statements did reach the log" t "$(grep -q 'tenantry_controller@' "$RUN/postgres.log" && echo t)"

# GitOps.
holds "kubectl diff is clean after all this" kubectl diff --filename "$RUN/acme.json"
check "spec is the user's alone" '' "$(kubectl get tenant acme --show-managed-fields -o json | jq -r '.metadata.managedFields[]
    | select(.manager | startswith("tenantry")) | select(.fieldsV1 | has("f:spec")) | .manager')"

# A name with "-", and a subdomain that is not the name.
tenant hyphen '.spec.subdomain = "my-corp-1"'
need within 60 "a subdomain of its own, with -" ready hyphen
check "it names database, namespace and Secret" 'my-corp-1 tenant_my_corp_1 tenant-my-corp-1 my-corp-1-database' \
    "$(of hyphen '.status | "\(.subdomain) \(.database.name) \(.namespace) \(.database.secretRef.name)"')"
check "and the owner's Secret" secret/my-corp-1-owner "$(kubectl get secret -n tenantry-system my-corp-1-owner -o name)"
becomes 30 "the free tier's quotas" 'api_requests=0/1000 compute_hours=0/1 sandboxes=1/1 storage_mb=8/100 users=0/1' quotas my-corp-1
purge acme hyphen
