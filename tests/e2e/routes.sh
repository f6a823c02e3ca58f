# shellcheck shell=bash
# How sandboxes are reached from outside: HTTPRoutes once the cluster has the kind, which comes and goes while the controller runs, and Ingresses
# where it has not. The kinds of the Gateway API are its own.

GATEWAY_API=$(module_folder sigs.k8s.io/gateway-api v1.2.1)/config/crd/standard

# routed KIND NAME PROGRAM: of the tenant's namespace.
routed()
{
    kubectl get "$1" --namespace tenant-road "$2" --output json | jq -c "$3"
}

install_kind()
{
    kubectl apply --server-side --filename "$GATEWAY_API/gateway.networking.k8s.io_httproutes.yaml" >/dev/null
    wait_for 30 kubectl get httproutes >/dev/null 2>&1
}

# route_of KIND: what it says, but for what the server fills in.
route_of()
{
    routed "$1" sandbox '.spec | if .parentRefs then [.parentRefs[0].namespace, .parentRefs[0].name, .parentRefs[0].sectionName, .hostnames[], (.rules[].backendRefs[] | "\(.name):\(.port)")]
        else [.ingressClassName, (.rules[] | .host, (.http.paths[] | "\(.path) \(.pathType) \(.backend.service.name):\(.backend.service.port.number)"))] end'
}

# Without flags, nothing is made.
tenant road '.spec += {tier: "premium", sandboxes: [{name: "sandbox"}, {name: "job", template: "postgres-client"}]}'
need within 60 "a tenant with two sandboxes is Ready" ready road
check "nothing leads to it from outside unless the platform says how" '' "$(kubectl get ingress -n tenant-road -o name)"
check "it has an address in the cluster" '"http://sandbox.tenant-road.svc:80"' "$(of road '.status.sandboxes[0].url | tojson')"

# A Gateway is named, but the cluster lacks the kind: an Ingress meanwhile.
restart_controller --sandbox-gateway edge/public/https --sandbox-ingress-class shared
INGRESS='["shared","sandbox.road.tenants.localhost","/ Prefix sandbox:80"]'
becomes 60 "without the Gateway API, an Ingress of the class, of one host" "$INGRESS" route_of ingress
becomes 30 "status says where" '"https://sandbox.road.tenants.localhost"' of road '.status.sandboxes[0].url | tojson'
check "none for what listens nowhere" ingress.networking.k8s.io/sandbox "$(kubectl get ingress -n tenant-road -o name)"
check "the network policy lets the Gateway's namespace in" '["edge"]' \
    "$(routed networkpolicy tenantry '[.spec.ingress[].from[].namespaceSelector.matchLabels["kubernetes.io/metadata.name"] | select(. == "edge")]')"
need within 30 "all of it stands" ready road
kubectl patch ingress -n tenant-road sandbox --type json -p '[{"op": "replace", "path": "/spec/rules/0/host", "value": "other.tenants.localhost"}]' >/dev/null
becomes 10 "changed by somebody, it is set right" "$INGRESS" route_of ingress
refused "an admin of the tenant cannot change it" forbidden kubectl --as owner@road.example -n tenant-road delete ingress sandbox

# The kind comes, while the controller runs.
install_kind
ROUTE='["edge","public","https","sandbox.road.tenants.localhost","sandbox:80"]'
becomes 60 "the Gateway API is installed: an HTTPRoute below the Gateway's listener" "$ROUTE" route_of httproute
within 30 "takes the Ingress's place" gone ingress -n tenant-road sandbox
need within 30 "all of it stands" ready road
kubectl delete httproute -n tenant-road sandbox >/dev/null
becomes 10 "deleted by somebody, it is back" "$ROUTE" route_of httproute
check "it belongs to the tenant" '"road"' "$(routed httproute sandbox '.metadata.labels["tenantry.dev/tenant"]')"
kubectl patch httproute -n tenant-road sandbox --type merge -p '{"spec": {"hostnames": ["other.tenants.localhost"]}}' >/dev/null
becomes 10 "changed, it is set right" "$ROUTE" route_of httproute
check "one manager, one entry" '["tenantry Apply"]' "$(kubectl get httproute -n tenant-road sandbox --show-managed-fields -o json |
    jq -c '[.metadata.managedFields[] | select(.manager | startswith("tenantry")) | "\(.manager) \(.operation)"]')"
need within 30 "all of it stands" ready road
mark=$(audit_mark)
reconcile road
check "a look at what stands writes nothing of it" 'patch tenants/status road' "$(kube_writes "$mark")"
refused "the controller itself writes none outside of the tenants' namespaces" 'only in its own namespace' kubectl --as system:serviceaccount:tenantry-system:tenantry-controller --as-group system:masters \
    --namespace default create ingress x --rule 'other.tenants.localhost/=own:80'

refused "nor, in them, one of another host" 'NAME.SUBDOMAIN.DOMAIN' kubectl --as system:serviceaccount:tenantry-system:tenantry-controller --as-group system:masters \
    --namespace tenant-road patch httproute sandbox --type merge -p '{"spec": {"hostnames": ["other.tenants.localhost"]}}'

# It goes, and comes again.
kubectl delete crd httproutes.gateway.networking.k8s.io >/dev/null
becomes 60 "the kind is taken away: an Ingress again" "$INGRESS" route_of ingress
install_kind
becomes 60 "and comes back" "$ROUTE" route_of httproute

# It ends with the sandbox, and with the flags.
edit road '{"spec": {"sandboxes": [{"name": "job", "template": "postgres-client"}]}}'
within 30 "a sandbox that is taken from the list takes its route along" gone httproute -n tenant-road sandbox
edit road '{"spec": {"sandboxes": [{"name": "sandbox"}]}}'
becomes 30 "one that is added brings it" "$ROUTE" route_of httproute
restart_controller
within 60 "without the flags, nothing leads there any more" gone httproute -n tenant-road sandbox
purge road
kubectl delete crd httproutes.gateway.networking.k8s.io >/dev/null
