# shellcheck shell=bash
# Deletion with a snapshot: a dump in the tenant's backups bucket that holds every row, and only then nothing of the database is left.
# shellcheck source=/dev/null
source "$HERE/s3.sh"

"$ROOT/hack/install" "$RUN" >>"$RUN/install.log" 2>&1
within 60 "the store is in reach" kubectl wait --for=condition=Reachable --timeout=1s objectstore/default

tenant snap1 '.spec.deletionPolicy = "Snapshot"'
need within 90 "a tenant is Ready" ready snap1
id=$(tenant_id snap1)
# As after a restore of the cluster from before an earlier deletion: the same object stands again, and what it gets since is in no dump.
registry "INSERT INTO tenant_snapshots (tenant_id, tenant_uid, location, object, sha256, size_bytes, taken_at) SELECT id, tenant_uid, 'there', 'earlier', repeat('0', 64), 1, now() FROM tenants WHERE id = '$id'"
edit snap1 '{"spec": {"displayName": "Stands again"}}'
within 60 "a receipt for a tenant that stands is void" says 1 registry "SELECT count(*) FROM tenant_snapshots WHERE tenant_id = '$id' AND voided_at IS NOT NULL"
holds "it has rows" as_tenant snap1 "INSERT INTO applications (user_id, name) SELECT id, 'shop ' || n FROM users, generate_series(1, 50) n"
holds "in tables of its own, too" as_tenant snap1 'CREATE TABLE app.notes AS SELECT n FROM generate_series(1, 7) n'
# It was never committed, so it is no part of what is kept, and it holds nothing up.
holds "and a transaction that was prepared and forgotten" as_tenant snap1 "BEGIN; INSERT INTO app.notes VALUES (8); PREPARE TRANSACTION 'forgotten'"
kubectl delete tenant snap1 --wait=false >/dev/null
need within 90 "deleted, it goes" gone tenant snap1
check "with database and roles" '0 0' "$(server "SELECT concat_ws(' ', (SELECT count(*) FROM pg_database WHERE datname = 'tenant_snap1'), (SELECT count(*) FROM pg_roles WHERE rolname LIKE 'tenant\\_snap1.%'))")"
within 30 "and its namespace" gone namespace tenant-snap1
IFS='|' read -r object sum rows <<<"$(registry "SELECT object, sha256, (SELECT sum(value::bigint) FROM jsonb_each_text(row_counts)) FROM tenant_snapshots WHERE tenant_id = '$id' AND taken_at IS NOT NULL AND voided_at IS NULL")"
check "the registry knows the rows of the dump" 58 "$rows"
check "which is written over no earlier one" '-2.dump' "${object: -7}"
check "the bucket stays" snap1-backups "$(root buckets snap1-backups)"
check "and is listed as kept" 1 "$(registry "SELECT count(*) FROM tenant_retained WHERE tenant_id = '$id' AND kind = 'bucket' AND name = 'snap1-backups'")"
check "the dump is in it" fetched "$(root fetch snap1-backups "${object#snap1-backups/}" "$RUN/dump")"
check "with the sum that was noted" "$sum" "$(sha256sum "$RUN/dump" | cut -d' ' -f1)"
server 'CREATE DATABASE e2e_restored TEMPLATE template0'
holds "it can be restored" pg_restore --no-owner --no-privileges --exit-on-error --dbname="$(postgres_url "$RUN" postgres '' e2e_restored)" "$RUN/dump"
check "with every row" 50 "$(inside e2e_restored 'SELECT count(*) FROM public.applications')"
check "and what the tenant made" 7 "$(inside e2e_restored 'SELECT count(*) FROM app.notes')"
server 'DROP DATABASE e2e_restored WITH (FORCE)'

# Where tenants share a database, its part of it is dumped, and the others stay as they are.
for mode in Schema Row; do
    name=snap${mode,,}
    tenant "$name" ".spec.deletionPolicy = \"Snapshot\" | .spec.database.isolation = \"$mode\""
    tenant "stay${mode,,}" ".spec.database.isolation = \"$mode\""
    need within 90 "a tenant with isolation $mode is Ready" ready "$name"
    need within 90 "and another" ready "stay${mode,,}"
    id=$(tenant_id "$name")
    stays=$(tenant_id "stay${mode,,}")
    holds "it has rows" as_tenant "$name" "INSERT INTO applications (user_id, name) SELECT id, 'shop ' || n FROM users, generate_series(1, 50) n"
    kubectl delete tenant "$name" --wait=false >/dev/null
    need within 90 "deleted, it goes" gone tenant "$name"
    check "with its roles" 0 "$(server "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'tenant\\_$name.%'")"
    IFS='|' read -r object rows <<<"$(registry "SELECT object, (SELECT sum(value::bigint) FROM jsonb_each_text(row_counts)) FROM tenant_snapshots WHERE tenant_id = '$id' AND taken_at IS NOT NULL")"
    check "the registry knows the rows of the dump" 51 "$rows"
    check "the dump is in its bucket" fetched "$(root fetch "$name-backups" "${object#"$name-backups/"}" "$RUN/dump-$mode")"
    server 'CREATE DATABASE e2e_restored TEMPLATE template0'
    holds "it can be restored" pg_restore --no-owner --no-privileges --exit-on-error --dbname="$(postgres_url "$RUN" postgres '' e2e_restored)" "$RUN/dump-$mode"
    schema=tenant_$name
    [ "$mode" = Schema ] || schema=tenantry_rows
    check "with every row, and none of another" '50 1' "$(inside e2e_restored "SELECT concat_ws(' ', (SELECT count(*) FROM $schema.applications), (SELECT count(*) FROM $schema.users))")"
    server 'DROP DATABASE e2e_restored WITH (FORCE)'
    schema=tenant_stay${mode,,}
    [ "$mode" = Schema ] || schema=tenantry_rows
    check "the other has its own" 1 "$(inside tenantry_shared "SELECT count(*) FROM $schema.users WHERE tenant_id = '$stays'")"

    # With days of grace it is kept first, and dumped when they are over.
    edit "stay${mode,,}" '{"spec": {"deletionPolicy": "Snapshot", "deletionGraceDays": 7}}'
    need within 30 "days of grace" ready "stay${mode,,}"
    holds "the object goes at once" remove "stay${mode,,}"
    check "its rows stay, and no dump is made" '1 0' "$(inside tenantry_shared "SELECT count(*) FROM $schema.users WHERE tenant_id = '$stays'") $(
        registry "SELECT count(*) FROM tenant_snapshots WHERE tenant_id = '$stays'")"
    registry "UPDATE tenant_retained SET delete_after = now() - interval '1 second' WHERE tenant_id = '$stays'"
    within 90 "when the days are over a dump stands" says 1 registry "SELECT count(*) FROM tenant_snapshots WHERE tenant_id = '$stays' AND taken_at IS NOT NULL"
    within 60 "and the bucket with it stays listed, for good" says "stay${mode,,}-backups" registry "SELECT name FROM tenant_retained WHERE tenant_id = '$stays' AND kind = 'bucket' AND delete_after IS NULL AND name LIKE '%-backups'"
    check "but nothing else" 0 "$(registry "SELECT count(*) FROM tenant_retained WHERE tenant_id = '$stays' AND kind <> 'bucket'")"
    within 60 "and its roles go" says 0 server "SELECT count(*) FROM pg_roles WHERE rolname LIKE 'tenant\\_stay${mode,,}.%'"
    if [ "$mode" = Schema ]; then
        check "with its schema" t "$(inside tenantry_shared "SELECT to_regnamespace('$schema') IS NULL")"
    else
        check "with its rows" 0 "$(inside tenantry_shared "SELECT count(*) FROM $schema.users WHERE tenant_id = '$stays'")"
    fi
done
