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
purge mig
kubectl delete configmap --namespace tenantry-system mig-sql >/dev/null
