# shellcheck shell=bash
# The ValidatingAdmissionPolicies: what RBAC has let through and they hold back. The controller's requests are made under
# its account's name, with exactly its rights.

clean_up

check "no policy has a type error" "" "$(kubectl get validatingadmissionpolicies -l app.kubernetes.io/name=tenantry -o json |
    jq -r '.items[] | select(.status.typeChecking.expressionWarnings) | .metadata.name')"
check "every policy is bound" "" "$(kubectl get validatingadmissionpolicies,validatingadmissionpolicybindings -l app.kubernetes.io/name=tenantry -o json | jq -r '
    [.items[] | select(.kind == "ValidatingAdmissionPolicyBinding") | .spec.policyName] as $bound |
    .items[] | select(.kind == "ValidatingAdmissionPolicy" and (.metadata.name | IN($bound[]) | not)) | .metadata.name')"

# as_controller COMMAND...: the request is the controller's.
as_controller()
{
    AS=$CONTROLLER "$@"
}

OURS='"app.kubernetes.io/managed-by":"tenantry","tenantry.dev/tenant":"crdtest","tenantry.dev/tenant-uid":"8c6f0f2e-0d6a-4c39-9d3a-3f2a3f0f6b11"'
RESTRICTED='"pod-security.kubernetes.io/enforce":"restricted"'

# namespace NAME LABELS / object KIND NAME LABELS [REST]: JSON.
namespace()
{
    printf '{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"%s","labels":{%s}}}' "$1" "$2"
}
secret()
{
    printf '{"apiVersion":"v1","kind":"Secret","metadata":{"name":"%s","labels":{%s}},"stringData":{"password":"x"}}' "$1" "$2"
}
# binding NAME ROLE_KIND ROLE SUBJECTS
binding()
{
    printf '{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"RoleBinding","metadata":{"name":"%s","labels":{%s}},' "$1" "$OURS"
    printf '"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"%s","name":"%s"},"subjects":[%s]}' "$2" "$3" "$4"
}
user()
{
    printf '{"kind":"User","apiGroup":"rbac.authorization.k8s.io","name":"%s"}' "$1"
}
ITSELF='{"kind":"ServiceAccount","name":"tenantry-controller","namespace":"tenantry-system"}'

# Policies take effect a moment after they are applied.
namespaces_held()
{
    as_controller create /api/v1/namespaces "$(namespace crdtest "$OURS,$RESTRICTED")" dryRun=All
    [ "$STATUS" = 403 ]
}
wait_for 30 namespaces_held || fail "the policies take effect" "after 30 s they have not"

# Namespaces.
as_controller create /api/v1/namespaces "$(namespace crdtest "$OURS,$RESTRICTED")"
expect "controller: no namespace of another name" 403 "only namespaces named tenant-*"
as_controller create /api/v1/namespaces "$(namespace tenant-crdtest "$RESTRICTED")"
expect "controller: no namespace without a tenant's labels" 403 "carries the labels app.kubernetes.io/managed-by=tenantry"
as_controller create /api/v1/namespaces "$(namespace tenant-crdtest "$OURS")"
expect "controller: no namespace without the restricted profile" 403 "pod-security.kubernetes.io/enforce=restricted"
as_controller create /api/v1/namespaces "$(namespace tenant-crdtest "$OURS,\"pod-security.kubernetes.io/enforce\":\"privileged\"")"
expect "controller: no namespace with a wider profile" 403 "pod-security.kubernetes.io/enforce=restricted"
as_controller apply /api/v1/namespaces/tenant-crdtest "$(namespace tenant-crdtest "$OURS,$RESTRICTED")"
expect "controller: a tenant's namespace, applied server-side" '200|201'
as_controller patch /api/v1/namespaces/tenant-crdtest '{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":null}}}'
expect "controller: the restricted profile stays" 403 "pod-security.kubernetes.io/enforce=restricted"
as_controller patch /api/v1/namespaces/tenant-crdtest '{"metadata":{"labels":{"tenantry.dev/tenant-uid":null}}}'
expect "controller: a tenant's labels stay" 403 "carries the labels"
as_controller patch /api/v1/namespaces/tenant-crdtest '{"metadata":{"labels":{"tenantry.dev/tenant-uid":"9c6f0f2e-0d6a-4c39-9d3a-3f2a3f0f6b11"}}}'
expect "controller: a restored Tenant's new UID can be written" 200
create /api/v1/namespaces "$(namespace tenant-crdtest-foreign '')"
expect "an administrator may make any namespace" 201
as_controller apply /api/v1/namespaces/tenant-crdtest-foreign "$(namespace tenant-crdtest-foreign "$OURS,$RESTRICTED")"
expect "controller: a foreign namespace cannot be taken over" 403 "neither takes over nor deletes a namespace"
for name in tenant-crdtest-foreign default kube-system tenantry-system; do
    as_controller delete "/api/v1/namespaces/$name?dryRun=All"
    expect "controller: cannot delete namespace $name" 403
    as_controller patch "/api/v1/namespaces/$name" "{\"metadata\":{\"labels\":{$OURS,$RESTRICTED}}}" merge dryRun=All
    expect "controller: cannot label namespace $name" 403 "the controller"
done

# It binds itself in a tenant's namespace, and has rights there from then on, and nowhere else.
BINDINGS=/apis/rbac.authorization.k8s.io/v1/namespaces/tenant-crdtest/rolebindings
as_controller request GET /api/v1/namespaces/tenant-crdtest/secrets/crdtest-database
expect "controller: reads no Secret before it has bound itself" 403
as_controller apply "$BINDINGS/tenantry-controller" "$(binding tenantry-controller ClusterRole tenantry-namespace-manager "$ITSELF")"
expect "controller: binds itself in a tenant's namespace" '200|201'
bound()
{
    as_controller request GET /api/v1/namespaces/tenant-crdtest/secrets/crdtest-database
    [ "$STATUS" = 404 ]
}
check "controller: may then read Secrets there" 0 "$(wait_for 30 bound; echo $?)"
as_controller request GET /api/v1/namespaces/tenant-crdtest/secrets
expect "controller: cannot list them" 403
for namespace in tenant-crdtest-foreign default kube-system; do
    as_controller create "/apis/rbac.authorization.k8s.io/v1/namespaces/$namespace/rolebindings" \
        "$(binding tenantry-controller ClusterRole tenantry-namespace-manager "$ITSELF")"
    expect "controller: cannot bind itself in $namespace" 403 "the controller writes only"
    as_controller request GET "/api/v1/namespaces/$namespace/secrets/x"
    expect "controller: reads no Secret in $namespace" 403
done
as_controller create "$BINDINGS" "$(binding x ClusterRole cluster-admin "$(user admin@acme.com)")"
expect "controller: cannot bind cluster-admin" 403
create /apis/rbac.authorization.k8s.io/v1/namespaces/tenant-crdtest/roles '{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role",
    "metadata":{"name":"x"},"rules":[{"apiGroups":[""],"resources":["secrets"],"verbs":["get"]}]}'
as_controller create "$BINDINGS" "$(binding x Role x "$(user admin@acme.com)")"
expect "controller: cannot bind a Role in a tenant's namespace" 403 "only the ClusterRoles named tenantry-*"
for subject in "$(user admin@acme.com)" '{"kind":"Group","apiGroup":"rbac.authorization.k8s.io","name":"system:authenticated"}' \
    '{"kind":"ServiceAccount","name":"default","namespace":"tenant-crdtest"}' "$ITSELF,$(user admin@acme.com)"; do
    as_controller create "$BINDINGS" "$(binding x ClusterRole tenantry-namespace-manager "$subject")"
    expect "controller: gives the manager's role to nobody else: ${subject:0:60}" 403 "for the controller alone"
done

# Secrets there.
SECRETS=/api/v1/namespaces/tenant-crdtest/secrets
as_controller create "$SECRETS" "$(secret crdtest-plain '')"
expect "controller: makes no Secret without labels" 403 "what the controller makes carries the labels"
as_controller create "$SECRETS" "$(secret crdtest-other "${OURS/crdtest/other}")"
expect "controller: makes no Secret of another tenant" 403 "belongs to that tenant"
as_controller apply "$SECRETS/crdtest-database" "$(secret crdtest-database "$OURS")"
expect "controller: applies a tenant's Secret" '200|201'
create "$SECRETS" "$(secret crdtest-own '')"
as_controller patch "$SECRETS/crdtest-own" "{\"metadata\":{\"labels\":{$OURS}}}"
expect "controller: takes over no Secret of the tenant's own" 403 "neither changes nor deletes"
as_controller delete "$SECRETS/crdtest-own"
expect "controller: deletes no Secret of the tenant's own" 403 "neither changes nor deletes"
as_controller delete "$SECRETS/crdtest-database"
expect "controller: deletes its own" 200

# What leads there from outside is of one host, below the tenant's subdomain.
# ingress HOST [METADATA]: JSON.
ingress()
{
    printf '{"apiVersion":"networking.k8s.io/v1","kind":"Ingress","metadata":{"name":"crdtest-way","labels":{%s}%s},' "$OURS" "${2:-}"
    printf '"spec":{"ingressClassName":"x","rules":[{"host":"%s","http":{"paths":[{"path":"/","pathType":"Prefix","backend":{"service":{"name":"x","port":{"number":80}}}}]}}]}}' "$1"
}
INGRESSES=/apis/networking.k8s.io/v1/namespaces/tenant-crdtest/ingresses
for host in console.example.com crdtest.example.com a.b.crdtest.example.com a.crdtest-other.example.com '*.crdtest.example.com'; do
    as_controller create "$INGRESSES" "$(ingress "$host")"
    expect "controller: no Ingress of host $host" 403 'NAME.SUBDOMAIN.DOMAIN'
done
as_controller create "$INGRESSES" "$(ingress a.crdtest.example.com ',"annotations":{"example.com/snippet":"x"}')"
expect "controller: no Ingress with annotations" 403 "writes no annotation"
as_controller create "$INGRESSES" "$(ingress a.crdtest.example.com)"
expect "controller: an Ingress of the tenant's own host" 201
patch "$INGRESSES/crdtest-way" '{"metadata":{"annotations":{"example.com/issuer":"x"}}}'
expect "an administrator annotates it" 200
as_controller apply "$INGRESSES/crdtest-way" "$(ingress b.crdtest.example.com)"
expect "controller: changes it all the same" 200
as_controller patch "$INGRESSES/crdtest-way" '{"metadata":{"annotations":{"example.com/issuer":"y"}}}'
expect "controller: but not the annotation" 403 "writes no annotation"
as_controller delete "$INGRESSES/crdtest-way"
expect "controller: deletes it" 200

# In its own namespace: owners' Secrets, and for each a Role that lets the owner alone read it.
SYSTEM=/api/v1/namespaces/tenantry-system/secrets
RBAC=/apis/rbac.authorization.k8s.io/v1/namespaces/tenantry-system
create "$SYSTEM" "$(secret crdtest-platform '')"
as_controller request GET "$SYSTEM/crdtest-platform"
expect "controller: reads the platform's Secrets" 200
as_controller patch "$SYSTEM/crdtest-platform" '{"stringData":{"password":"y"}}'
expect "controller: changes none of them" 403 "neither changes nor deletes"
as_controller delete "$SYSTEM/crdtest-platform"
expect "controller: deletes none of them" 403 "neither changes nor deletes"
as_controller apply "$SYSTEM/crdtest-owner" "$(secret crdtest-owner "$OURS")"
expect "controller: applies an owner's Secret" '200|201'
# role NAME RULES
role()
{
    printf '{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"%s","labels":{%s}},"rules":[%s]}' "$1" "$OURS" "$2"
}
READ_OWNER='{"apiGroups":[""],"resources":["secrets"],"resourceNames":["crdtest-owner"],"verbs":["get"]}'
as_controller apply "$RBAC/roles/crdtest-owner" "$(role crdtest-owner "$READ_OWNER")"
expect "controller: makes the owner's Role" '200|201'
for rule in '{"apiGroups":[""],"resources":["secrets"],"verbs":["get"]}' '{"apiGroups":[""],"resources":["secrets"],"resourceNames":["crdtest-platform"],"verbs":["get"]}' \
    '{"apiGroups":[""],"resources":["secrets"],"resourceNames":["crdtest-owner","crdtest-platform"],"verbs":["get"]}' \
    '{"apiGroups":[""],"resources":["secrets"],"resourceNames":["crdtest-owner"],"verbs":["get","delete"]}' "$READ_OWNER,$READ_OWNER" \
    '{"apiGroups":[""],"resources":["configmaps"],"resourceNames":["crdtest-owner"],"verbs":["get"]}'; do
    as_controller apply "$RBAC/roles/crdtest-owner" "$(role crdtest-owner "$rule")" dryRun=All
    expect "controller: no wider Role: $rule" 403 "makes only Roles SUBDOMAIN-owner"
done
as_controller create "$RBAC/roles" "$(role crdtest-other "${READ_OWNER/crdtest-owner/crdtest-other}")"
expect "controller: no Role of another name" 403 "makes only Roles SUBDOMAIN-owner"
as_controller patch "$RBAC/roles/tenantry-controller" '{"rules":[{"apiGroups":["*"],"resources":["*"],"verbs":["*"]}]}'
expect "controller: does not widen its own Role" 403 "ValidatingAdmissionPolicy 'tenantry-controller-"
as_controller create "$RBAC/rolebindings" "$(binding crdtest-other Role tenantry-controller "$(user admin@acme.com)")"
expect "controller: gives its own Role to nobody" 403 "binds only a Role SUBDOMAIN-owner"
for subject in '{"kind":"Group","apiGroup":"rbac.authorization.k8s.io","name":"system:authenticated"}' "$(user system:admin)" "$(user admin)" \
    '{"kind":"ServiceAccount","name":"default","namespace":"default"}'; do
    as_controller create "$RBAC/rolebindings" "$(binding crdtest-owner Role crdtest-owner "$subject")"
    expect "controller: lets only people read it, not ${subject:0:70}" 403 "Users named by their e-mail address"
done
as_controller create "$RBAC/rolebindings" "$(binding crdtest-owner Role crdtest-owner "$(user admin@acme.com)")"
expect "controller: lets the owner read it" 201
owner_reads()
{
    AS=admin@acme.com request GET "$SYSTEM/crdtest-owner"
    [ "$STATUS" = 200 ]
}
check "the owner reads the Secret with the temporary password" 0 "$(wait_for 30 owner_reads; echo $?)"
AS=admin@acme.com request GET "$SYSTEM/crdtest-platform"
expect "the owner reads no other" 403
AS=admin@globex.com request GET "$SYSTEM/crdtest-owner"
expect "nobody else reads it" 403

# The kinds it serves: status, finalizers and one label; never spec.
make tenants crdtest-kept
as_controller patch "$API/tenants/crdtest-kept" '[{"op":"add","path":"/metadata/finalizers","value":["tenantry.dev/tenant"]}]' json
expect "controller: adds its finalizer" 200
as_controller patch "$API/tenants/crdtest-kept/status" '{"status":{"observedGeneration":1}}'
expect "controller: writes status" 200
as_controller patch "$API/tenants/crdtest-kept" '{"spec":{"state":"Suspended"}}'
expect "controller: writes no spec" 403 "never writes spec"
as_controller patch "$API/tenants/crdtest-kept" '{"metadata":{"labels":{"team":"x"}}}'
expect "controller: writes no label of anybody else" 403 "only tenantry.dev/in-use"
as_controller apply "$API/tenants/crdtest-ghost" "$(jq -c '.metadata.name = "crdtest-ghost"' <<<"${BASE[tenants]}")"
expect "controller: makes no Tenant by applying one" 403
as_controller patch "$API/tenants/crdtest-kept" '[{"op":"test","path":"/metadata/finalizers/0","value":"tenantry.dev/tenant"},{"op":"remove","path":"/metadata/finalizers/0"}]' json
expect "controller: removes its finalizer" 200

# What is in use cannot be deleted, and only the controller says what is in use.
for kind in tenanttiers databaseservers objectstores sandboxtemplates; do
    make "$kind" crdtest-used
    patch "$API/$kind/crdtest-used" '{"metadata":{"labels":{"tenantry.dev/in-use":"true"}}}'
    expect "$kind: nobody else sets the in-use label" 403 "set by the controller alone"
    as_controller patch "$API/$kind/crdtest-used" '{"metadata":{"labels":{"tenantry.dev/in-use":"true"}}}'
    expect "$kind: the controller sets the in-use label" 200
    delete "$API/$kind/crdtest-used"
    expect "$kind: in use, it cannot be deleted" 403 '"crdtest-used" is in use by tenants'
    delete "$API/$kind/crdtest-used?dryRun=All"
    expect "$kind: in use, it cannot be deleted, tried dry" 403 'kubectl get tenants --'
    for change in '{"tenantry.dev/in-use":null}' '{"tenantry.dev/in-use":"false"}' null; do
        patch "$API/$kind/crdtest-used" "{\"metadata\":{\"labels\":$change}}"
        expect "$kind: nobody else changes the in-use label to $change" 403 "set by the controller alone"
    done
    patch "$API/$kind/crdtest-used" '{"metadata":{"labels":{"team":"a"}}}'
    expect "$kind: other labels can be set" 200
    as_controller patch "$API/$kind/crdtest-used" '{"metadata":{"labels":{"team":"b"}}}'
    expect "$kind: but not by the controller" 403 "only tenantry.dev/in-use"
    as_controller patch "$API/$kind/crdtest-used" '{"metadata":{"labels":{"tenantry.dev/in-use":null}}}'
    expect "$kind: the controller removes the in-use label" 200
    delete "$API/$kind/crdtest-used"
    expect "$kind: out of use, it can be deleted" 200
done
make tenanttiers crdtest-edited
as_controller patch "$API/tenanttiers/crdtest-edited" '{"spec":{"quotas":{"sandboxes":99}}}'
expect "controller: edits no tier" 403 "never writes spec"

# The platform's own list of reserved subdomains.
LIST=/api/v1/namespaces/tenantry-system/configmaps/tenantry-reserved-subdomains
for word in billing status docs support; do
    refuse tenants "subdomain $word, which the platform's list holds" ".spec.subdomain = \"$word\"" "is reserved by this platform"
    refuse tenants "name $word, which the platform's list holds" ".metadata.name = \"$word\"" "is reserved by this platform"
done
accept tenants "a subdomain that contains a word of the list" '.spec.subdomain = "doc"'
accept tenants "a subdomain that begins with a word of the list" '.spec.subdomain = "docs-x"'
request GET "$LIST"
LIST_BEFORE=$(jq -c '{data}' <<<"$BODY")
# reserve WORDS, then is SUBDOMAIN refused (422) or taken (201)?
reserve()
{
    patch "$LIST" "$(jq -cn --arg words "$1" '{data: {subdomains: $words}}')"
}
answers()
{
    create "$API/tenants" "$(jq -c --arg name "$1" '.metadata.name = $name' <<<"${BASE[tenants]}")" dryRun=All
    [ "$STATUS" = "$2" ]
}
reserve $'crdtest-x,crdtest-y\ncrdtest-z'
for word in crdtest-x crdtest-y crdtest-z; do
    check "the list takes effect when it is edited: $word" 0 "$(wait_for 30 answers "$word" 422; echo $?)"
done
check "a word taken off the list is free" 0 "$(wait_for 30 answers docs 201; echo $?)"
delete "$LIST"
check "without the list, only the fixed words are refused" 0 "$(wait_for 30 answers crdtest-x 201; echo $?)"
refuse tenants "subdomain www, without the list" '.spec.subdomain = "www"' "is reserved"
kubectl apply -k "$ROOT/manifests/policies" >/dev/null
check "the list is back" "$LIST_BEFORE" "$(request GET "$LIST"; jq -c '{data}' <<<"$BODY")"
clean_up
check "everything made for the tests is gone" 0 "$(wait_for 60 gone /api/v1/namespaces/tenant-crdtest; echo $?)"
