# shellcheck shell=bash
# Nothing left of storage_mb: INSERT and UPDATE fail and say why, DELETE works, and deleting lifts it. In every mode.

insert="INSERT INTO applications (name) VALUES ('x')"
spent='nothing is left of the quota storage_mb'

# fence_of NAME: on how many tables it stands, or of how many logins.
fence_of()
{
    if [ "$mode" = Row ]; then
        inside tenantry_shared "SELECT count(*) FROM tenantry_rows.tenant_logins WHERE spent AND tenant_id = '$(tenant_id "$1")'"
        return
    fi
    inside "$(of "$1" .status.database.name)" "SELECT count(*) FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid
        WHERE tgname = 'tenantry_storage' AND pg_get_userbyid(c.relowner) ~ '^tenant_${1//-/_}[.]'"
}

tenant fence-neighbour '.spec.database.isolation = "Row"'
need within 60 "a neighbour in shared tables is Ready" ready fence-neighbour
for mode in Database Schema Row; do
    name=fence-${mode,,}
    limit=12 rows=3000
    [ "$mode" = Database ] || limit=2 rows=1000 # no database of its own, which has 8 MB when it is empty
    tenant "$name" ".spec.database.isolation = \"$mode\" | .spec.quotas = {storage_mb: $limit}"
    need within 60 "$mode: a tenant with $limit MB is Ready" ready "$name"
    [ "$mode" != Database ] || holds "$mode: it makes a table of its own" as_tenant "$name" 'CREATE TABLE mine AS SELECT 1 AS i'
    holds "$mode: it writes more than fits in" as_tenant "$name" "INSERT INTO applications (name, description)
        SELECT i, (SELECT string_agg(md5(format('%s %s %s', i, s, random())), '') FROM generate_series(1, 125) s) FROM generate_series(1, $rows) i"
    need within 30 "$mode: then INSERT fails, and says why" refuses "$spent" as_tenant "$name" "$insert"
    refused "$mode: so does UPDATE" "$spent" as_tenant "$name" "UPDATE applications SET name = 'y' WHERE name = '1'"
    [ "$mode" != Database ] || refused "$mode: and INSERT into a table of its own" "$spent" as_tenant "$name" 'INSERT INTO mine VALUES (2)'
    [ "$mode" != Database ] || refused "$mode: and COPY" "$spent" as_tenant "$name" 'COPY mine FROM STDIN'
    check "$mode: reading works" "$rows" "$(as_tenant "$name" "SELECT count(*) FROM applications WHERE name <> 'x'")"
    holds "$mode: a neighbour writes as ever" as_tenant fence-neighbour "$insert"
    [ "$mode" != Row ] || check "$mode: nothing of the fence is the neighbour's" '2 0' "$(fence_of "$name") $(fence_of fence-neighbour)"
    check "$mode: an Event tells" StorageFenced "$(kubectl get events --all-namespaces --output json |
        jq -r --arg name "$name" '[.items[] | select(.reason == "StorageFenced" and .involvedObject.name == $name) | .reason][0]')"
    edit "$name" '{"spec": {"owner": {"name": "Another Name"}}}'
    need within 30 "$mode: the platform still keeps its own rows" ready "$name"
    check "$mode: the owner has the new name" 'Another Name' "$(as_tenant "$name" "SELECT full_name FROM users WHERE role = 'owner'")"
    if [ "$mode" = Database ]; then
        as_tenant "$name" 'DROP TRIGGER tenantry_storage ON mine' >/dev/null
        within 30 "$mode: who takes the fence from a table of its own finds it there again" refuses "$spent" as_tenant "$name" 'INSERT INTO mine VALUES (2)'
    fi
    holds "$mode: DELETE works" as_tenant "$name" 'DELETE FROM applications'
    need within 60 "$mode: and lifts it" as_tenant "$name" "$insert"
    becomes 30 "$mode: nothing of the fence is left" 0 fence_of "$name"
    check "$mode: the tenant was never found drifted" 0 "$(kubectl get events --all-namespaces --output json |
        jq --arg name "$name" '[.items[] | select(.reason == "DriftHealed" and .involvedObject.name == $name)] | length')"
done
edit fence-database '{"spec": {"quotas": {"storage_mb": 1}}}'
need within 30 "a limit that is spent already fences" refuses "$spent" as_tenant fence-database "$insert"
edit fence-database '{"spec": {"quotas": {"storage_mb": -1}}}'
within 30 "and one that is raised lifts it" as_tenant fence-database "$insert"
purge fence-database fence-schema fence-row fence-neighbour
