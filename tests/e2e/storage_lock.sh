# shellcheck shell=bash
# An object that nobody may delete: the deletion of its tenant says which, waits, and goes on once it may.
# shellcheck source=/dev/null
source "$HERE/s3.sh"

"$ROOT/hack/install" "$RUN" >>"$RUN/install.log" 2>&1
within 60 "the store is in reach" kubectl wait --for=condition=Reachable --timeout=1s objectstore/default
tenant lock1 '.spec.deletionPolicy = "Delete"'
need within 60 "a tenant is Ready" ready lock1
check "an object of it" put "$(root put lock1-uploads evidence 5)"
check "is held" ON "$(root hold lock1-uploads evidence ON)"
kubectl delete tenant lock1 --wait=false >/dev/null
need within 60 "the deletion names it" message_holds evidence lock1
check "and why" 'False StorageForbidden' "$(condition lock1 Ready)"
check "it is there" evidence "$(root keys lock1-uploads)"
check "though nobody has a key to it any more" '' "$(root users tenant-lock1)"
check "let go" OFF "$(root hold lock1-uploads evidence OFF)"
within 90 "the deletion goes on by itself" gone tenant lock1
check "and leaves no bucket" '' "$(root buckets lock1-)"
