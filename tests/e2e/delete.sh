# shellcheck shell=bash
# deletionPolicy Delete: everything goes, in whatever state the tenant is, and nothing but what is its own.

# left NAME: whatever of the tenant is still on the server, in the cluster, or counted as in force.
left()
{
    server "SELECT 'database ' || datname FROM pg_database WHERE datname = 'tenant_$1' UNION ALL SELECT 'role ' || rolname FROM pg_roles WHERE rolname LIKE 'tenant\\_$1.%' ORDER BY 1"
    registry "SELECT 'record ' || status FROM tenants WHERE subdomain = '$1' AND (status <> 'deleted' OR deleted_at IS NULL)
        UNION ALL SELECT 'retained ' || kind || ' ' || name FROM tenant_retained WHERE subdomain = '$1'"
    kubectl get secret -n tenantry-system --ignore-not-found -o name "$1-owner"
    kubectl get role,rolebinding -n tenantry-system -o name -l "tenantry.dev/tenant=$1"
    kubectl get namespace --ignore-not-found -o name "tenant-$1"
}

tenant del1 '.spec.deletionPolicy = "Delete"'
tenant del2 '.spec.deletionPolicy = "Delete"'
need within 60 "a tenant is Ready" ready del1
need within 60 "another is Ready" ready del2
id=$(tenant_id del1)
as_tenant del1 "CREATE TABLE app.big AS SELECT generate_series(1, 1000) AS n; INSERT INTO applications (user_id, name) SELECT id, 'x' FROM users"
# Things that hang on its roles outside its own schema.
server 'CREATE ROLE e2e_helper' && server 'GRANT "tenant_del1.ro" TO e2e_helper'
inside tenant_del1 'CREATE TABLE public.by_admin (x int); GRANT SELECT ON public.by_admin TO "tenant_del1.ro"'

holds "deleted, it goes" remove del1
within 60 "and nothing of it is left" says '' left del1
check "its registry row stays, for its bills" "deleted t 1" "$(registry "SELECT concat_ws(' ', status, left((deleted_at IS NOT NULL)::text, 1),
    (SELECT count(*) FROM tenant_billing WHERE tenant_id = t.id)) FROM tenants t WHERE id = '$id'")"
check "other roles stay" e2e_helper "$(server "SELECT rolname FROM pg_roles WHERE rolname = 'e2e_helper'")"
server 'DROP ROLE e2e_helper'
holds "the other tenant is untouched" login_works del2
holds "and Ready" ready del2

# The name is free.
tenant del1 '.spec.deletionPolicy = "Delete"'
need within 60 "the same name, made anew" ready del1
check "is another tenant" t "$([ "$(tenant_id del1)" != "$id" ] && echo t)"
check "without the old one's data" 0 "$(as_tenant del1 'SELECT count(*) FROM applications')"
check "both rows are in the registry" 'active deleted' "$(registry "SELECT string_agg(status, ' ' ORDER BY status) FROM tenants WHERE subdomain = 'del1'")"

# Damaged before it was deleted: what is gone is gone.
inside tenant_del1 'DROP OWNED BY "tenant_del1.a"; DROP ROLE "tenant_del1.a"'
server 'DROP DATABASE tenant_del1 WITH (FORCE)'
kubectl delete namespace tenant-del1 --wait=false >/dev/null
holds "half of it gone already, it goes" remove del1
within 60 "and nothing is left" says '' left del1

# Deleted while it is being made.
tenant del3 '.spec.deletionPolicy = "Delete"'
wait_for 30 says 1 registry "SELECT count(*) FROM tenants WHERE subdomain = 'del3'"
holds "deleted while it is made" remove del3
within 60 "nothing is left of that" says '' left del3

# Deleted before anything could be made of it.
tenant del4 '.spec.tier = "no-such-tier" | .spec.deletionPolicy = "Delete"'
need within 30 "a tenant without its tier" is del4 Ready False TierNotFound
holds "goes at once" remove del4
check "nothing was made of it" '' "$(left del4)"

# Its tier has gone.
jq -n '{apiVersion: "tenantry.dev/v1alpha1", kind: "TenantTier", metadata: {name: "passing"}, spec: {quotas: {users: 1}}}' | kubectl apply -f - >/dev/null
tenant del5 '.spec.tier = "passing" | .spec.deletionPolicy = "Delete"'
need within 60 "a tenant on a tier that will go" ready del5
edit del5 '{"spec": {"tier": "gone"}}'
need within 30 "its tier is not there" is del5 Ready False TierNotFound
holds "deleting needs no tier" remove del5
within 60 "nothing is left of it" says '' left del5
within 30 "the tier can be deleted" kubectl delete --ignore-not-found tenanttier passing

# Grace: at first it only goes out of sight.
edit del2 '{"spec": {"deletionGraceDays": 7}}'
need within 30 "days of grace" ready del2
as_tenant del2 "INSERT INTO applications (user_id, name) SELECT id, 'kept' FROM users"
id=$(tenant_id del2)
url=$(uri del2)
holds "the object goes at once" remove del2
check "its database stays" 1 "$(server "SELECT count(*) FROM pg_database WHERE datname = 'tenant_del2'")"
refused "locked" '' sql "$url" 'SELECT 1'
check "listed, to be removed in seven days" t "$(registry "SELECT bool_and(delete_after BETWEEN now() + interval '6 days 23 hours' AND now() + interval '7 days 1 hour')
    FROM tenant_retained WHERE tenant_id = '$id'")"
# Taken back within them, it is whole again, and safe.
tenant del2 ".metadata.annotations = {\"tenantry.dev/adopt\": \"$id\"} | .spec.deletionPolicy = \"Delete\" | .spec.deletionGraceDays = 7"
need within 60 "taken back within these days" ready del2
check "with its data" kept "$(as_tenant del2 'SELECT name FROM applications')"
check "nothing is to be removed" 0 "$(registry "SELECT count(*) FROM tenant_retained WHERE tenant_id = '$id'")"
holds "deleted once more" remove del2
registry "UPDATE tenant_retained SET delete_after = now() - interval '1 second' WHERE tenant_id = '$id'"
within 60 "when the days are over it goes" says '' left del2
