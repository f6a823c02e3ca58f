# shellcheck shell=bash
# etcd is restored from a backup: resource versions go back, below those that the controller has seen. It notices, takes what is there now for
# the truth, and goes on; of what the backup does not know, the data stays (C23).

start_again()
{
    "$ROOT/hack/controlplane/start" "$RUN" --audit --nodes 1 --no-fsync >/dev/null 2>&1
}

stop_etcd()
{
    process_stop "$RUN" kube-apiserver KILL 10
    process_stop "$RUN" etcd TERM 30
}

# Without the Lease: losing it would end the process, and the next one would know nothing of newer versions.
start_controller --leader-elect=false
tenant before '.spec.deletionPolicy = "Delete"'
need within 60 "a tenant is Ready" ready before
stop_etcd
cp -a -- "$RUN/etcd-data" "$RUN/etcd-backup"
start_again

tenant after '.spec.deletionPolicy = "Delete"'
need within 60 "after the backup another one is made" ready after
for ((i = 1; i <= 30; i++)); do
    edit before "{\"spec\": {\"displayName\": \"Change $i\"}}"
done
named()
{
    registry "SELECT name FROM tenants WHERE subdomain = '$1' AND deleted_at IS NULL"
}
becomes 60 "and the first one is changed" 'Change 30' named before
version=$(of before .metadata.resourceVersion)
restarts=$(metric tenantry_watch_lists_total 'resource="tenants"')

stop_etcd
rm -rf -- "$RUN/etcd-data"
mv -- "$RUN/etcd-backup" "$RUN/etcd-data"
start_again
holds "with the backup in place, versions are lower" test "$(of before .metadata.resourceVersion)" -lt "$version"
holds "and the second one is unknown" gone tenant after
# A watch from a version that is yet to come is silent. That shows when it was silent for 75 s, twice.
went_back()
{
    [ "$(named before)" != 'Change 30' ]
}
within 240 "the first one is made as the backup has it" went_back
edit before '{"spec": {"displayName": "Now"}}'
becomes 60 "a new change is seen, though its version is low" Now named before
holds "there was a new view" test "$(metric tenantry_watch_lists_total 'resource="tenants"')" -gt "$restarts"
within 60 "the controller is ready" controller_ready
check "the second one's database is still there" 1 "$(server "SELECT count(*) FROM pg_database WHERE datname = 'tenant_after'")"
tenant third '.spec.deletionPolicy = "Delete"'
within 60 "and new ones are made" ready third
purge before third
