# shellcheck shell=bash
# Deletion with a snapshot: a dump in the tenant's backups bucket that holds every row, and only then nothing of the database is left. In each isolation mode.
# shellcheck source=/dev/null
source "$HERE/s3.sh"

"$ROOT/hack/install" "$RUN" >>"$RUN/install.log" 2>&1
within 60 "the store is in reach" kubectl wait --for=condition=Reachable --timeout=1s objectstore/default

# what_is_left NAME: databases, schemas, roles, rows, namespace.
what_is_left()
{
    local name=$1
    server "SELECT concat_ws(' ', (SELECT count(*) FROM pg_database WHERE datname = 'tenant_$name'), (SELECT count(*) FROM pg_roles WHERE rolname LIKE 'tenant\\_$name.%'))"
    kubectl get --ignore-not-found --output name namespace "tenant-$name"
}

# snapshot_of NAME MODE
snapshot_of()
{
    local name=$1 mode=$2 id row bucket object sum
    tenant "$name" ".spec.deletionPolicy = \"Snapshot\" | .spec.database.isolation = \"$mode\""
    need within 90 "$mode: a tenant is Ready" ready "$name"
    id=$(tenant_id "$name")
    holds "it has rows" as_tenant "$name" "INSERT INTO applications (user_id, name) SELECT id, 'shop ' || n FROM users, generate_series(1, 50) n"
    if [ "$mode" = Database ]; then
        holds "in tables of its own, too" as_tenant "$name" 'CREATE TABLE app.notes AS SELECT n FROM generate_series(1, 7) n'
        # It was never committed, so it is no part of what is kept, and it holds nothing up.
        holds "and a transaction that was prepared and forgotten" as_tenant "$name" "BEGIN; INSERT INTO app.notes VALUES (8); PREPARE TRANSACTION 'forgotten'"
    fi
    kubectl delete tenant "$name" --wait=false >/dev/null
    need within 90 "deleted, it goes" gone tenant "$name"
    check "with all of its database" '0 0' "$(what_is_left "$name" | xargs)"
    row=$(registry "SELECT location, object, sha256, (SELECT sum(value::bigint) FROM jsonb_each_text(row_counts)) FROM tenant_snapshots WHERE tenant_id = '$id' AND taken_at IS NOT NULL")
    IFS='|' read -r bucket object sum row <<<"$row"
    check "the registry knows the rows of the dump" "$([ "$mode" = Database ] && echo 58 || echo 51)" "$row"
    check "the bucket stays" "$name-backups" "$(root buckets "$name-backups")"
    matches "and is listed as kept" "$name-backups" "$(registry "SELECT string_agg(name, ' ') FROM tenant_retained WHERE tenant_id = '$id' AND kind = 'bucket'")"
    check "the dump is in it" fetched "$(root fetch "$name-backups" "${object#"$name-backups/"}" "$RUN/dump")"
    check "with the sum that was noted" "$sum" "$(sha256sum "$RUN/dump" | cut -d' ' -f1)"
    server 'CREATE DATABASE e2e_restored TEMPLATE template0'
    holds "it can be restored" pg_restore --no-owner --no-privileges --exit-on-error --dbname="$(postgres_url "$RUN" postgres '' e2e_restored)" "$RUN/dump"
    check "with every row" 50 "$(inside e2e_restored "SELECT count(*) FROM $([ "$mode" = Database ] && echo public || echo "tenant_$name").applications" 2>/dev/null)"
    [ "$mode" != Database ] || check "and what the tenant made" 7 "$(inside e2e_restored 'SELECT count(*) FROM app.notes')"
    server 'DROP DATABASE e2e_restored WITH (FORCE)'
    printf '%s %s\n' "$bucket" "$object"
}

snapshot_of snap1 Database
snapshot_of snap2 Schema
tenant snap1 '.spec.deletionPolicy = "Delete"'
within 30 "while the bucket is kept, the name is a conflict" is snap1 Ready False NameConflict
kubectl delete tenant snap1 --wait=false >/dev/null
within 60 "which a Tenant leaves without a trace" gone tenant snap1
check "of what was kept" snap1-backups "$(root buckets snap1-backups)"
