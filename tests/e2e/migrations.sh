# shellcheck shell=bash
# The platform's own SQL in each tenant's database: once each, in order, and refused when an old file is edited.

config_map()
{
    kubectl create configmap --namespace tenantry-system mig-sql "$@" --dry-run=client --output yaml | kubectl apply --filename - >/dev/null
}

migrated()
{
    of mig '.status.database.migrations | "\(.applied) \(.last)"'
}

first='0001_orders.sql=CREATE TABLE orders (id int PRIMARY KEY)'
tenant mig '.spec.database.migrationsRef = {name: "mig-sql"}'
need within 60 "a ConfigMap that is not there is waited for" is mig SchemaReady False MigrationsNotFound
config_map --from-literal="$first"
need within 60 "with it the tenant is Ready" ready mig
check "status says what is applied" '1 0001_orders.sql' "$(migrated)"
holds "the tenant may use the table" as_tenant mig 'INSERT INTO public.orders VALUES (1)'
config_map --from-literal="$first" --from-literal='0002_note.sql=ALTER TABLE orders ADD COLUMN note text'
becomes 30 "another file is applied" '2 0002_note.sql' migrated
check "once each: the row is still there" 1 "$(inside tenant_mig 'SELECT count(*) FROM orders')"
config_map --from-literal="$first" --from-literal='0002_note.sql=ALTER TABLE orders ADD COLUMN note int'
need within 30 "an edited old file is refused" is mig SchemaReady False MigrationEdited
check "it waits for the user" 'True MigrationEdited' "$(condition mig Stalled)"
config_map --from-literal="$first" --from-literal='0002_note.sql=ALTER TABLE orders ADD COLUMN note text' --from-literal='0003_bad.sql=CREATE TABLE half (); COMMIT; SELECT 1'
need within 60 "one that fails is told" is mig SchemaReady False MigrationFailed
check "and nothing of it is kept" 0 "$(inside tenant_mig "SELECT count(*) FROM pg_class WHERE relname = 'half'")"
check "no role of it is left" 0 "$(server "SELECT count(*) FROM pg_roles WHERE rolname = 'tenant_mig.migrate'")"
config_map --from-literal="$first" --from-literal='0002_note.sql=ALTER TABLE orders ADD COLUMN note text' --from-literal='0003_good.sql=CREATE TABLE whole ()'
within 60 "put right, it goes on" ready mig
check "in order" '3 0003_good.sql' "$(migrated)"

# ---- many tenants: a canary, waves, a stop ----

names=(mig1 mig2 mig3 mig4 mig5)
for name in "${names[@]}"; do
    tenant "$name" ".spec.database.migrationsRef = {name: \"mig-fleet\"} | .spec.database.canary = $([ "$name" = mig4 ] && echo true || echo false)"
done
fleet='0001_items.sql=CREATE TABLE items (id int)'
kubectl create configmap --namespace tenantry-system mig-fleet --from-literal="$fleet" >/dev/null
for name in "${names[@]}"; do
    need within 90 "$name is Ready" ready "$name"
done
check "the registry knows what each has" 5 "$(registry "SELECT count(*) FROM tenants WHERE schema_version = 1 AND migrations_applied = 1 AND migrations_target LIKE 'migrations mig-fleet 0001_items.sql %'")"
fleet_map()
{
    kubectl create configmap --namespace tenantry-system mig-fleet --from-literal="$fleet" "$@" --dry-run=client --output yaml | kubectl apply --filename - 2>/dev/null >/dev/null
}
# upgrade FILE STATE: how many tenants.
upgrade()
{
    registry "SELECT count(*) FROM fleet_upgrades f JOIN tenants t ON t.id = f.tenant_id WHERE f.target LIKE 'migrations mig-fleet $1 %' AND f.state = '$2'"
}
# On the canary there is something that the new file does not expect.
inside tenant_mig4 'INSERT INTO items VALUES (1), (1)'
fleet_map --from-literal='0002_unique.sql=ALTER TABLE items ADD UNIQUE (id)'
need within 60 "the canary fails" is mig4 SchemaReady False MigrationFailed
for name in mig1 mig2 mig3 mig5; do
    within 60 "$name does not begin" is "$name" SchemaReady False UpgradeStopped
    check "and is served as it was" 0 "$(as_tenant "$name" 'SELECT count(*) FROM items')"
done
check "nobody but the canary was touched" '1 0' "$(upgrade 0002_unique.sql failed) $(upgrade 0002_unique.sql 'done')"
matches "they say for whom they wait" 'failed for tenant "mig4"' "$(message mig1 SchemaReady)"
inside tenant_mig4 'DELETE FROM items WHERE ctid IN (SELECT max(ctid) FROM items)'
for name in "${names[@]}"; do
    within 120 "mended there, it goes on: $name" ready "$name"
done
check "with all" '0 5' "$(upgrade 0002_unique.sql failed) $(upgrade 0002_unique.sql 'done')"
check "the canary first, then in waves" 'mig4 0 1 2 2 3' "$(registry "SELECT string_agg(w, ' ' ORDER BY n) FROM (SELECT 0 n, (array_agg(t.subdomain ORDER BY f.began_at))[1] w FROM fleet_upgrades f JOIN tenants t ON t.id = f.tenant_id WHERE f.target LIKE 'migrations mig-fleet 0002%'
    UNION ALL SELECT row_number() OVER (ORDER BY wave), wave::text FROM fleet_upgrades WHERE target LIKE 'migrations mig-fleet 0002%') x")"
check "each has it once" '1 1 1 1 1' "$(for name in "${names[@]}"; do inside "tenant_$name" "SELECT count(*) FROM pg_constraint WHERE conrelid = 'items'::regclass AND contype = 'u'"; done | xargs)"

# A lock that a tenant holds is waited for, and is no failure.
session_open holder "$(postgres_url "$RUN" postgres '' tenant_mig4)" e2e-holder 'BEGIN; LOCK TABLE items;'
fleet_map --from-literal='0002_unique.sql=ALTER TABLE items ADD UNIQUE (id)' --from-literal='0003_note.sql=ALTER TABLE items ADD COLUMN note text'
within 60 "it is tried again" is mig4 SchemaReady False LockTimeout
check "and stops nobody for good" '0' "$(upgrade 0003_note.sql failed)"
session_close holder
for name in "${names[@]}"; do
    within 120 "$name has it in the end" ready "$name"
done
check "all have" 5 "$(upgrade 0003_note.sql 'done')"

purge mig "${names[@]}"
kubectl delete configmap --namespace tenantry-system mig-sql mig-fleet >/dev/null
