# shellcheck shell=bash
# Object storage, as boto3 sees it: with the platform's key, with a tenant's own, and with another tenant's.
# shellcheck source=/dev/null
source "$HERE/s3.sh"

# A tenant without a store has none, and gets its buckets once there is one.
tenant store1
need within 60 "without an ObjectStore a tenant is Ready" ready store1
check "and has no buckets" null "$(of store1 .status.buckets)"
"$ROOT/hack/install" "$RUN" >>"$RUN/install.log" 2>&1
within 30 "the store is in reach" kubectl wait --for=condition=Reachable --timeout=1s objectstore/default
check "what it can do was found out" 'objectLock policy tags versioning' \
    "$(kubectl get objectstore default -o json | jq -r '[.status.capabilities | to_entries[] | select(.value).key] | sort | join(" ")')"
check "and the bucket for that is gone" '' "$(root buckets tenantry-probe)"
need becomes 30 "the tenant has its buckets" 'store1-assets store1-backups store1-uploads' root buckets store1-
within 30 "and is Ready" is store1 StorageReady True
# Sandboxes may reach what the store names, and nothing else of private ranges.
openings()
{
    kubectl get networkpolicy --namespace tenant-store1 tenantry --output json |
        jq -c '[.spec.egress[] | select(.to[0].ipBlock.cidr // "" | startswith("10.")) | [.to[0].ipBlock.cidr, [.ports[].port]]]'
}
kubectl patch objectstore default --type merge -p '{"spec": {"egress": [{"cidr": "10.40.0.7/32"}, {"cidr": "10.50.0.0/16", "ports": [7070]}]}}' >/dev/null
becomes 30 "the way to the tenant's store is opened" '[["10.40.0.7/32",[443]],["10.50.0.0/16",[7070]]]' openings
kubectl patch objectstore default --type merge -p '{"spec": {"egress": null}}' >/dev/null
becomes 30 "and closed again" '[]' openings
within 30 "it is Ready still" is store1 StorageReady True
check "the status names them" 'store1-uploads store1-assets store1-backups' "$(of store1 '[.status.buckets[].name] | join(" ")')"
check "they are marked" "tenantry.dev/tenant-id=$(tenant_id store1) tenantry.dev/tenant-uid=$(of store1 .metadata.uid)" "$(root tags store1-uploads)"
check "they keep versions" Enabled "$(root versioning store1-uploads)"
check "the policy names them exactly" \
    'arn:aws:s3:::store1-assets arn:aws:s3:::store1-assets/* arn:aws:s3:::store1-backups arn:aws:s3:::store1-backups/* arn:aws:s3:::store1-uploads arn:aws:s3:::store1-uploads/*' \
    "$(root resources tenant-store1)"
refused "a store in use cannot be deleted" 'in use by tenants' kubectl delete objectstore default

# What the key opens, and what not.
tenant store2 '.spec.buckets = [{name: "data"}]'
need within 60 "a second tenant, with buckets of its own, is Ready" ready store2
check "it has those" 'store2-data' "$(root buckets store2-)"
one=$(key store1)
two=$(key store2)
check "a tenant writes" put "$(with "$one" put store1-uploads a 5)"
check "and reads" 5 "$(with "$one" get store1-uploads a)"
check "and lists" a "$(with "$one" keys store1-uploads)"
check "the platform writes backups" put "$(root put store1-backups dump 7)"
check "the tenant reads them" 7 "$(with "$one" get store1-backups dump)"
# newest_backup: seconds ago, to the minute, or nothing.
newest_backup()
{
    page metrics | awk -v now="$(date +%s)" 'index($0, "tenantry_tenant_backup_last_success_timestamp_seconds{tenant=\"store1\"}") == 1 {print int((now - $2) / 60)}'
}
becomes 30 "how old the newest backup is can be measured" 0 newest_backup
refused "and writes none" AccessDenied with "$one" put store1-backups mine 5
refused "nor deletes them" AccessDenied with "$one" delete store1-backups dump
check "the platform deletes it" deleted "$(root delete store1-backups dump)"
becomes 30 "without a backup, nothing is measured" '' newest_backup
for call in "get store1-uploads a" "put store1-uploads b 5" "keys store1-uploads" "delete store1-uploads a"; do
    # shellcheck disable=SC2086 # words
    refused "another tenant's key: $call" AccessDenied with "$two" $call
done
refused "no bucket can be made" AccessDenied with "$one" create store1-more
refused "no policy can be read" AccessDenied with "$one" policy store1-uploads

# Whoever changes what was made is undone.
root leak_key tenant-store1 >/dev/null
becomes 30 "a key that nobody knows the secret of goes" Active root access_keys tenant-store1
check "and the tenant's stays the same" "$one" "$(key store1)"
kubectl delete secret --namespace tenant-store1 store1-storage >/dev/null
within 30 "a lost Secret comes back" kubectl get secret --namespace tenant-store1 store1-storage
within 30 "with a key that works" says a with "$(key store1)" keys store1-uploads
refused "and the old one does not" InvalidAccessKeyId with "$one" get store1-uploads a

# Suspended.
one=$(key store1)
edit store1 '{"spec": {"state": "Suspended"}}'
need within 30 "suspended" is store1 Suspended True
within 30 "it is Ready" ready store1
refused "its key opens nothing" InvalidAccessKeyId with "$one" get store1-uploads a
check "it is there, and switched off" Inactive "$(root access_keys tenant-store1)"
edit store1 '{"spec": {"state": "Active"}}'
need within 30 "active again" ready store1
check "the Secret is what it was" "$one" "$(key store1)"
check "and opens the data" 5 "$(with "$one" get store1-uploads a)"

# Rotation: both keys work for a while.
kubectl annotate tenant store1 tenantry.dev/rotate-requested-at=now >/dev/null
within 30 "a rotation makes a second key" says 'Active Active' root access_keys tenant-store1
within 30 "which the Secret has" [ "$one" != "$(key store1)" ]
check "the new one works" 5 "$(with "$(key store1)" get store1-uploads a)"
check "the one before does, too" 5 "$(with "$one" get store1-uploads a)"
purge store1 store2
