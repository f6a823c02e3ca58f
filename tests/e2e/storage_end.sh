# shellcheck shell=bash
# Object storage at its ends: the limit, a bucket that is somebody else's, deletion, a store that is away.
# shellcheck source=/dev/null
source "$HERE/s3.sh"

"$ROOT/hack/install" "$RUN" >>"$RUN/install.log" 2>&1
within 60 "the store is in reach" kubectl wait --for=condition=Reachable --timeout=1s objectstore/default
tenant store1
need within 60 "a tenant is Ready" ready store1
check "with its buckets" 'store1-assets store1-backups store1-uploads' "$(root buckets store1-)"
one=$(key store1)
check "and writes" put "$(with "$one" put store1-uploads a 5)"

# The limit: an empty database is about 8 MB.
edit store1 '{"spec": {"quotas": {"storage_mb": 12}}}'
need within 30 "a limit of 12 MB" ready store1
one=$(key store1)
check "6 MB fit in before anybody measured" put "$(with "$one" put store1-uploads big 6291456)"
within 30 "then nothing can be written" refuses AccessDenied with "$one" put store1-assets more 5
matches "the registry says how much is used" 'storage_mb=1[45]/12' "$(quotas store1)"
within 30 "the tenant is Ready all the same" ready store1
check "reading goes on" 6291456 "$(with "$one" get store1-uploads big)"
check "and so does deleting" deleted "$(with "$one" delete store1-uploads big)"
within 30 "which lifts it" says put with "$one" put store1-assets more 5

# A bucket that is somebody else's.
root create store3-uploads >/dev/null
root put store3-uploads precious 5 >/dev/null
tenant store3
need within 60 "a bucket of the name is a conflict" is store3 StorageReady False NameConflict
within 5 "which is named" message_holds store3-uploads store3 StorageReady
check "it is left as it is" precious "$(root keys store3-uploads)"
edit store3 '{"spec": {"deletionPolicy": "Delete"}}'
remove store3
check "also when the tenant is deleted" precious "$(root keys store3-uploads)"

# Deletion: kept by default, and taken back.
id=$(tenant_id store1)
with "$one" upload store1-uploads half >/dev/null
remove store1
check "kept buckets are listed" 'store1-assets store1-backups store1-uploads' \
    "$(registry "SELECT string_agg(name, ' ' ORDER BY name) FROM tenant_retained WHERE tenant_id = '$id' AND kind = 'bucket'")"
check "and stand" 'store1-assets store1-backups store1-uploads' "$(root buckets store1-)"
check "without a user" '' "$(root users tenant-store1)"
tenant store1 ".metadata.annotations[\"tenantry.dev/adopt\"] = \"$id\" | .spec.deletionPolicy = \"Delete\""
need within 60 "a new Tenant takes them back" ready store1
check "with what is in them" 5 "$(with "$(key store1)" get store1-uploads a)"
check "marked as its own" "tenantry.dev/tenant-id=$id tenantry.dev/tenant-uid=$(of store1 .metadata.uid)" "$(root tags store1-uploads)"
remove store1
check "Delete leaves no bucket, with versions, markers and uploads" '' "$(root buckets store1-)"
check "nor a user" '' "$(root users tenant-store1)"
check "nor a row" 0 "$(registry "SELECT count(*) FROM tenant_buckets WHERE tenant_id = '$id'")"

# Accounts that the platform makes itself: the limit holds there by the buckets' policies.
kubectl patch objectstore default --type merge --patch '{"spec": {"accounts": {"driver": "Static", "endpoint": null}}}' >/dev/null
tenant store5 '.spec.quotas = {storage_mb: 12}'
need within 60 "without the key it waits" is store5 StorageReady False StorageCredentialsMissing
read -r id secret <<<"$(root make_user static5 store5-uploads store5-assets store5-backups)"
kubectl create secret generic store5-storage-static --namespace tenantry-system \
    --from-literal="AWS_ACCESS_KEY_ID=$id" --from-literal="AWS_SECRET_ACCESS_KEY=$secret" >/dev/null
need within 60 "with it, it is Ready" ready store5
one=$(key store5)
check "the tenant has that key" "$id" "$(cut -d ' ' -f 2 <<<"$one")"
check "6 MB fit in before anybody measured" put "$(with "$one" put store5-uploads big 6291456)"
within 30 "then nothing can be written with a key of the platform's either" refuses AccessDenied with "$one" put store5-assets more 5
check "reading goes on" 6291456 "$(with "$one" get store5-uploads big)"
check "and so does deleting" deleted "$(with "$one" delete store5-uploads big)"
within 30 "which lifts it" says put with "$one" put store5-assets more 5
within 30 "and leaves no policy" refuses NoSuchBucketPolicy root policy store5-uploads
purge store5
kubectl delete secret store5-storage-static --namespace tenantry-system >/dev/null
kubectl patch objectstore default --type merge --patch "{\"spec\": {\"accounts\": {\"driver\": \"AwsIam\", \"endpoint\": \"$IAM_ENDPOINT\"}}}" >/dev/null
within 60 "the store makes accounts again" kubectl wait --for=condition=Reachable --timeout=1s objectstore/default

# Its health is watched, with the tenant's own key.
# bucket_health NAME: 1 or 0.
bucket_health()
{
    page metrics | sed -n "s/^tenantry_tenant_probe_success{tenant=\"$1\",probe=\"bucket\"} //p"
}

tenant store6 '.spec.tier = "premium"'
need within 60 "a tenant with buckets is Ready" ready store6
becomes 30 "the health check reads a bucket" 1 bucket_health store6

# A store that is away holds up nothing else.
"$ROOT/hack/s3/stop" "$RUN" >/dev/null 2>&1
tenant store4
need within 60 "without the store, the tenant waits for it" is store4 StorageReady False StorageUnreachable
within 30 "and its database stands" is store4 DatabaseReady True
becomes 60 "the health check tells" 0 bucket_health store6
"$ROOT/hack/s3/start" "$RUN" >/dev/null 2>&1
within 60 "once it is back, all is" ready store4
within 60 "and whoever was there before" ready store6
becomes 30 "whose bucket is well" 1 bucket_health store6
purge store4 store6
