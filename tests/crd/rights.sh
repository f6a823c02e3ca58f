# shellcheck shell=bash
# What the controller's account may do, and what it may not, by RBAC alone.

# can ANSWER VERB RESOURCE [OPTION...]
can()
{
    local answer=$1 got
    shift
    got=$(kubectl auth can-i "$@" --as="$CONTROLLER" 2>/dev/null || true)
    check "the controller: $*" "$answer" "$got"
}

for kind in tenants tenanttiers databaseservers objectstores sandboxtemplates; do
    for verb in get list watch patch; do
        can yes "$verb" "$kind.tenantry.dev"
    done
    can yes patch "$kind.tenantry.dev/name" --subresource=status
    for verb in create update delete deletecollection; do
        can no "$verb" "$kind.tenantry.dev"
    done
    can yes get "customresourcedefinitions.apiextensions.k8s.io/$kind.tenantry.dev"
    for verb in patch update delete; do
        can no "$verb" "customresourcedefinitions.apiextensions.k8s.io/$kind.tenantry.dev"
    done
done
can no get customresourcedefinitions.apiextensions.k8s.io/certificates.cert-manager.io
# Whether the optional kinds come is seen by watching their definitions, and no others.
for kind in httproutes.gateway.networking.k8s.io servicemonitors.monitoring.coreos.com podmonitors.monitoring.coreos.com \
    prometheusrules.monitoring.coreos.com; do
    for verb in list watch; do
        can yes "$verb" "customresourcedefinitions.apiextensions.k8s.io/$kind"
    done
    for verb in get create patch update delete; do
        can no "$verb" "customresourcedefinitions.apiextensions.k8s.io/$kind"
    done
done
for verb in list watch; do
    can no "$verb" customresourcedefinitions.apiextensions.k8s.io
done

# Secrets: in its own namespace, by name; nowhere else, and never all of them.
for verb in get create patch delete; do
    can yes "$verb" secrets -n tenantry-system
    can no "$verb" secrets -n default
    can no "$verb" secrets -n kube-system
    can no "$verb" secrets --all-namespaces
done
for verb in list watch update deletecollection; do
    can no "$verb" secrets -n tenantry-system
    can no "$verb" secrets --all-namespaces
done
can yes get configmaps -n tenantry-system
for verb in create patch delete list watch; do
    can no "$verb" configmaps -n tenantry-system
done
can no get configmaps -n kube-system

# Namespaces and access. Policies hold these to the tenants' own; see policies.sh.
for verb in get create patch delete; do
    can yes "$verb" namespaces
    can yes "$verb" rolebindings.rbac.authorization.k8s.io -n default
    can yes "$verb" roles.rbac.authorization.k8s.io -n tenantry-system
    can no "$verb" roles.rbac.authorization.k8s.io -n default
    can no "$verb" clusterroles.rbac.authorization.k8s.io
    can no "$verb" clusterrolebindings.rbac.authorization.k8s.io
done
for verb in list watch; do
    can yes "$verb" namespaces
    can yes "$verb" rolebindings.rbac.authorization.k8s.io
    can yes "$verb" roles.rbac.authorization.k8s.io -n tenantry-system
    can no "$verb" roles.rbac.authorization.k8s.io
done
can yes bind clusterroles.rbac.authorization.k8s.io/tenantry-namespace-manager
for role in tenantry-tenant-admin tenantry-tenant-member; do
    can yes bind "clusterroles.rbac.authorization.k8s.io/$role"
done
for role in cluster-admin admin edit view system:node tenantry-controller tenantry-platform-admin; do
    can no bind "clusterroles.rbac.authorization.k8s.io/$role"
done
# In its own namespace the policies alone say which Roles it makes and binds; see policies.sh.
for verb in bind escalate; do
    can yes "$verb" roles.rbac.authorization.k8s.io -n tenantry-system
    can no "$verb" roles.rbac.authorization.k8s.io -n default
done
can no escalate clusterroles.rbac.authorization.k8s.io
can no impersonate users
can no impersonate serviceaccounts
can no create serviceaccounts --subresource=token -n tenantry-system

# Election and Events.
can yes create leases.coordination.k8s.io -n tenantry-system
for verb in get update patch; do
    can yes "$verb" leases.coordination.k8s.io/tenantry-controller -n tenantry-system
    can no "$verb" leases.coordination.k8s.io/kube-scheduler -n kube-system
done
for namespace in default tenantry-system; do
    can yes create events.events.k8s.io -n "$namespace"
    can yes patch events.events.k8s.io -n "$namespace"
    can no delete events.events.k8s.io -n "$namespace"
    can no list events.events.k8s.io -n "$namespace"
done
can no create events.events.k8s.io -n kube-system

# What it made in the tenants' namespaces: it sees all of it, and writes only where it has bound itself.
for kind in deployments.apps services serviceaccounts resourcequotas limitranges networkpolicies.networking.k8s.io ingresses.networking.k8s.io; do
    for verb in list watch; do
        can yes "$verb" "$kind"
    done
    for verb in get create patch delete; do
        can no "$verb" "$kind" -n default
    done
done

# Whatever else would open the cluster.
for resource in pods nodes persistentvolumes serviceaccounts deployments.apps validatingadmissionpolicies.admissionregistration.k8s.io \
    validatingadmissionpolicybindings.admissionregistration.k8s.io mutatingwebhookconfigurations.admissionregistration.k8s.io \
    certificatesigningrequests.certificates.k8s.io apiservices.apiregistration.k8s.io; do
    for verb in get create patch delete; do
        can no "$verb" "$resource"
    done
done
can no create pods --subresource=exec -n tenantry-system
can no get /metrics
can no '*' '*'

check "no rule of ours holds a wildcard" "" "$(kubectl get clusterroles,roles --all-namespaces -l app.kubernetes.io/name=tenantry -o json | jq -r '
    .items[] | .metadata.name as $name | .rules[] | select([.apiGroups[]?, .resources[]?, .verbs[]?, .nonResourceURLs[]?] | index("*")) | $name')"
check "rules for all namespaces name what they bind" "" "$(kubectl get clusterroles -l app.kubernetes.io/name=tenantry -o json | jq -r '
    .items[] | .metadata.name as $name | .rules[] | select((.verbs | index("bind")) and (.resourceNames // [] | length == 0)) | $name')"

# The platform's people.
for user in admin:yes viewer:no; do
    kubectl create clusterrolebinding "crdtest-${user%:*}" --clusterrole="tenantry-platform-${user%:*}" --user="crdtest-${user%:*}" \
        --dry-run=client -o json | kubectl apply -f - >/dev/null
    for kind in tenants tenanttiers databaseservers objectstores sandboxtemplates; do
        check "platform ${user%:*}: list $kind" yes "$(kubectl auth can-i list "$kind.tenantry.dev" --as="crdtest-${user%:*}" 2>/dev/null || true)"
        check "platform ${user%:*}: delete $kind" "${user#*:}" "$(kubectl auth can-i delete "$kind.tenantry.dev" --as="crdtest-${user%:*}" 2>/dev/null || true)"
    done
    kubectl delete clusterrolebinding "crdtest-${user%:*}" >/dev/null
done
