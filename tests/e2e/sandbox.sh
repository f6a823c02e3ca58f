# shellcheck shell=bash
# Sandboxes: what stands in the namespace, who may do what there, and how the workloads follow the spec. KWOK plays the nodes, so that no program
# runs; everything else is Kubernetes' own.

# object KIND NAME PROGRAM: of the tenant's namespace.
object()
{
    kubectl get "$1" --namespace tenant-box "$2" --output json | jq -c "$3"
}

# state NAME: of a Deployment, as "copies asked for/available".
state()
{
    object deployment "$1" '"\(.spec.replicas)/\(.status.availableReplicas // 0)"' 2>/dev/null
}

# both: of the two sandboxes.
both()
{
    echo "$(state box-sandbox) $(state box-worker)"
}

tenant neighbour
tenant box '.spec += {tier: "premium", members: [{email: "adm@box.example", role: "admin"}, {email: "mem@box.example"}],
    sandboxes: [{name: "sandbox", env: [{name: "LOG_LEVEL", value: "debug"}, {name: "NODE_ENV", value: "test"}]}, {name: "worker", template: "postgres-client", replicas: 2}]}'
need within 60 "a tenant with two sandboxes is Ready" ready box
id=$(tenant_id box)
check "SandboxesReady" 'True AsSpecified' "$(condition box SandboxesReady)"
check "status names them" '[{"name":"box-sandbox","ready":true,"url":"http://sandbox.tenant-box.svc:80"},{"name":"box-worker","ready":true}]' "$(of box '.status.sandboxes | tojson')"
check "as many copies as asked for" '"1/1" "2/2"' "$(both)"
check "they are counted" '2/5' "$(quotas box | tr ' ' '\n' | sed -n 's/^sandboxes=//p')"
check "the environment: ours, the tenant's, then the template's" "$(jq -cn --arg id "$id" '{TENANT_ID: $id, TENANT_SUBDOMAIN: "box", LOG_LEVEL: "debug", NODE_ENV: "test"}')" \
    "$(object deployment box-sandbox '.spec.template.spec.containers[0].env | map({(.name): .value}) | add')"
check "no token, no root, nothing writable" '[false,true,true,false,["ALL"]]' "$(object deployment box-sandbox '.spec.template.spec | [.automountServiceAccountToken, .securityContext.runAsNonRoot,
    .containers[0].securityContext.readOnlyRootFilesystem, .containers[0].securityContext.allowPrivilegeEscalation, .containers[0].securityContext.capabilities.drop]')"
check "a Service leads to it, and none to what listens nowhere" 'service/sandbox' "$(kubectl get services -n tenant-box -o name)"
check "the Service selects it" "$(object deployment box-sandbox .spec.selector.matchLabels)" "$(object service sandbox .spec.selector)"
check "the quota closes node ports and load balancers" '["0","0"]' "$(object resourcequota tenantry '[.spec.hard["services.nodeports", "services.loadbalancers"]]')"
check "the quota counts Pods and processors by the sandboxes of the tier" '["50","10"]' "$(object resourcequota tenantry '[.spec.hard["pods", "requests.cpu"]]')"
check "one network policy, of every Pod, both ways" '[{},["Ingress","Egress"]]' "$(object networkpolicy tenantry '[.spec.podSelector, .spec.policyTypes]')"
check "out to the internet, but not to private ranges and metadata" '["10.0.0.0/8","169.254.0.0/16","192.168.0.0/16"]' \
    "$(object networkpolicy tenantry '[.spec.egress[].to[] | select(.ipBlock.cidr == "0.0.0.0/0").ipBlock.except[] | select(IN("10.0.0.0/8", "169.254.0.0/16", "192.168.0.0/16"))]')"
check "who is bound to what" 'tenantry-admins tenantry-tenant-admin adm@box.example
tenantry-members tenantry-tenant-member mem@box.example
tenantry-namespace-manager tenantry-namespace-manager tenantry-controller
tenantry-owner tenantry-tenant-admin owner@box.example' "$(kubectl get rolebindings -n tenant-box -o json | jq -r '.items[] | "\(.metadata.name) \(.roleRef.name) \([.subjects[].name] | join(","))"')"
check "one manager, one entry each" '["tenantry Apply"]' "$(kubectl get -n tenant-box networkpolicy,resourcequota,limitrange,service,deployment --show-managed-fields -o json |
    jq -c '[.items[].metadata.managedFields[] | select(.manager | startswith("tenantry")) | "\(.manager) \(.operation)"] | unique')"

# What the server of its database names is opened, and nothing else.
kubectl patch databaseserver primary --type merge -p '{"spec": {"egress": [{"cidr": "10.20.0.0/24"}, {"cidr": "10.30.0.5/32", "ports": [5432, 6432]}]}}' >/dev/null
port=$(kubectl get databaseserver primary -o 'jsonpath={.spec.port}')
becomes 30 "the way to the tenant's database server is opened" "[[\"10.20.0.0/24\",[$port]],[\"10.30.0.5/32\",[5432,6432]]]" \
    object networkpolicy tenantry '[.spec.egress[] | select(.to[0].ipBlock.cidr // "" | startswith("10.")) | [.to[0].ipBlock.cidr, [.ports[].port]]]'
kubectl patch databaseserver primary --type merge -p '{"spec": {"egress": null}}' >/dev/null
becomes 30 "and closed again" 0 object networkpolicy tenantry '[.spec.egress[] | select(.to[0].ipBlock.cidr // "" | startswith("10."))] | length'

# The benchmark.
need within 60 "another tenant is Ready" ready neighbour
for person in "owner@box.example" "adm@box.example" "mem@box.example --member"; do
    # shellcheck disable=SC2086 # two words
    holds "18 of 18 checks of the multi-tenancy benchmark, as $person" "$ROOT/tests/tenancy/run" --as $person --namespace tenant-box --other tenant-neighbour
done

# What an admin of the tenant tries beyond that.
tries()
{
    local label=$1 fragment=$2
    shift 2
    refused "an admin cannot $label" "$fragment" kubectl --as adm@box.example --namespace tenant-box "$@"
}
kubectl --as adm@box.example -n tenant-box create deployment own --image example.com/own:1 --replicas 0 >/dev/null
check "an admin runs workloads of one's own" deployment.apps/own "$(kubectl get deployment -n tenant-box own -o name)"
holds "an admin scales them" kubectl --as adm@box.example -n tenant-box scale deployment own --replicas 0
tries "scale a sandbox" 'managed by Tenantry' scale deployment box-worker --replicas 9
tries "change a sandbox's image" 'managed by Tenantry' set image deployment/box-sandbox sandbox=example.com/evil
tries "change the copies' own ReplicaSet" 'managed by Tenantry' annotate replicasets --all x=y
tries "delete the network policy" 'managed by Tenantry' delete networkpolicy tenantry
tries "delete all network policies" 'managed by Tenantry' delete networkpolicies --all
tries "lift the quota" 'forbidden' patch resourcequota tenantry --type merge -p '{"spec": {"hard": {"pods": "1000"}}}'
tries "change who is a member" 'managed by Tenantry' patch rolebinding tenantry-members --type merge -p '{"subjects": []}'
tries "make more owners" 'those that its Tenant lists' create rolebinding more --clusterrole tenantry-tenant-admin --user friend@box.example
tries "let Pods pass for a sandbox" 'are kept for objects of the product itself' label deployment own tenantry.dev/sandbox=sandbox
tries "let Pods of a workload pass for one" 'are kept for objects of the product itself' patch deployment own --type merge \
    -p '{"spec": {"template": {"metadata": {"labels": {"tenantry.dev/sandbox": "sandbox"}}}}}'
tries "take a name of ours" 'are kept for objects of the product itself' create configmap tenantry-x
tries "change the Secret with the connection" 'managed by Tenantry' delete secret box-database
tries "label the namespace" 'forbidden' label namespace tenant-box pod-security.kubernetes.io/enforce=privileged --overwrite
tries "make an Ingress, which could claim another's host" 'forbidden' create ingress x --rule 'other.tenants.localhost/=own:80'
holds "an admin reads the tenant's Secrets" kubectl --as adm@box.example -n tenant-box get secret box-database
can yes adm@box.example create pods --subresource=exec -n tenant-box
can no mem@box.example get secrets -n tenant-box
can no mem@box.example create pods --subresource=exec -n tenant-box
can yes mem@box.example get pods --subresource=log -n tenant-box
can yes owner@box.example get secrets/box-owner -n tenantry-system
can no adm@box.example get secrets/box-owner -n tenantry-system
can no owner@box.example get secrets/neighbour-owner -n tenantry-system
holds "an admin restarts a sandbox by deleting its Pod" kubectl --as adm@box.example -n tenant-box delete pods --selector tenantry.dev/sandbox=worker --wait=false
within 30 "it comes back" says '"2/2"' state box-worker
kubectl --as adm@box.example -n tenant-box delete deployment own >/dev/null

# Healed at once, by watch.
kubectl delete networkpolicy -n tenant-box tenantry >/dev/null
within 5 "a deleted network policy is back" kubectl get networkpolicy -n tenant-box tenantry
kubectl patch resourcequota -n tenant-box tenantry --type merge -p '{"spec": {"hard": {"pods": "999"}}}' >/dev/null
becomes 5 "a changed quota" '"50"' object resourcequota tenantry '.spec.hard.pods'
kubectl scale deployment -n tenant-box box-worker --replicas 5 >/dev/null
becomes 10 "a scaled sandbox" '"2/2"' state box-worker
kubectl delete deployment -n tenant-box box-sandbox >/dev/null
becomes 20 "a deleted sandbox" '"1/1"' state box-sandbox
need within 30 "all of it stands" ready box
mark=$(audit_mark)
kubectl label networkpolicy -n tenant-box tenantry example.com/kept=yes >/dev/null
reconcile box
check "what somebody adds in places of their own is left, without a write" 'patch tenants/status box' "$(kube_writes "$mark")"

# Suspended and back, to the exact number.
edit box '{"spec": {"state": "Suspended"}}'
need within 30 "suspended" is box Suspended True
becomes 20 "nothing runs" '"0/0" "0/0"' both
need within 30 "it is Ready" ready box
edit box '{"spec": {"state": "Active"}}'
becomes 30 "every copy is back" '"1/1" "2/2"' both

# Running time is metered, and held to the quota.
within 60 "running time reaches the ledger" says t registry "SELECT coalesce(sum(quantity) > 0, false) FROM usage_ledger WHERE tenant_id = '$id' AND resource = 'compute_hours' AND source = 'sandbox'"
check "no span begins before another ends" 0 "$(registry "SELECT count(*) FROM usage_ledger a JOIN usage_ledger b ON a.tenant_id = b.tenant_id AND a.id < b.id
    AND b.used_at < a.used_at WHERE a.tenant_id = '$id' AND a.resource = 'compute_hours' AND b.resource = 'compute_hours'")"
registry "SELECT usage_record('$id', 'compute_hours', 'count', 9.999, now(), 'e2e', 'e2e', now())" >/dev/null
becomes 60 "the month's hours are used up: nothing runs any more" '"0/0" "0/0"' both
check "that is known to the quota" 10 "$(registry "SELECT current_usage FROM tenant_quotas WHERE tenant_id = '$id' AND resource_type = 'compute_hours'")"
within 30 "the condition says so" message_holds 'compute_hours' box QuotaExceeded
check "mere use leaves Ready alone" 'True AsSpecified' "$(condition box Ready)"
edit box '{"spec": {"quotas": {"compute_hours": 20}}}'
becomes 30 "a larger quota starts everything again" '"1/1" "2/2"' both
edit box '{"spec": {"quotas": {"compute_hours": -1}}}'

# The count of the quota.
edit box '{"spec": {"quotas": {"sandboxes": 1, "compute_hours": -1}}}'
need within 30 "more than the quota allows" is box Ready False QuotaExceeded
check "kstatus calls it failed" Failed "$(verdict box)"
check "the condition names the excess" 'True LimitsExceeded' "$(condition box QuotaExceeded)"
matches "in words" 'sandboxes: 2 asked for, 1 allowed' "$(message box QuotaExceeded)"
becomes 20 "the last in the list is scaled to zero" '"1/1" "0/0"' both
check "what is counted is what is allowed" '1/1' "$(quotas box | tr ' ' '\n' | sed -n 's/^sandboxes=//p')"
edit box '{"spec": {"quotas": {"sandboxes": null}}}'
need within 30 "the quota is back" ready box
becomes 20 "and the copies" '"2/2"' state box-worker

# Another template, an edited one, a missing one.
kubectl patch sandboxtemplate node --type merge -p '{"spec": {"terminationGracePeriodSeconds": 7}}' >/dev/null
becomes 30 "an edit of the template reaches its sandboxes" 7 object deployment box-sandbox .spec.template.spec.terminationGracePeriodSeconds
kubectl patch sandboxtemplate node --type merge -p '{"spec": {"terminationGracePeriodSeconds": 30}}' >/dev/null
refused "a template in use cannot be deleted" 'is in use by tenants' kubectl delete sandboxtemplate postgres-client
edit box '{"spec": {"sandboxes": [{"name": "sandbox"}, {"name": "worker", "template": "none-such"}]}}'
need within 30 "a template that does not exist" is box Ready False TemplateNotFound
check "what ran goes on" '"2/2"' "$(state box-worker)"

# Removed from the list.
edit box '{"spec": {"sandboxes": [{"name": "sandbox"}]}}'
need within 30 "fewer sandboxes" ready box
check "what is not listed is gone" '' "$(kubectl get deployment -n tenant-box box-worker -o name --ignore-not-found)"
within 30 "the template is free" kubectl delete --dry-run=server sandboxtemplate postgres-client

# Somebody else's object of the name.
kubectl create service clusterip mine -n tenant-box --tcp 80 >/dev/null
uid=$(object service mine .metadata.uid)
edit box '{"spec": {"sandboxes": [{"name": "sandbox"}, {"name": "mine"}]}}'
need within 30 "a Service of the name that is not ours" is box SandboxesReady False NameConflict
check "is left alone" "$uid null" "$(object service mine .metadata.uid) $(object service mine '.metadata.labels["tenantry.dev/tenant"]')"
kubectl delete service -n tenant-box mine >/dev/null
within 60 "once it is gone, ours is made" ready box

# People come and go.
edit box '{"spec": {"members": [{"email": "mem@box.example", "role": "admin"}]}}'
becomes 30 "a member who becomes an admin" '["mem@box.example"]' object rolebinding tenantry-admins '[.subjects[].name]'
within 30 "is no member any more" gone rolebinding -n tenant-box tenantry-members
within 30 "who was an admin is none" says no kubectl auth can-i list pods -n tenant-box --as adm@box.example
purge box neighbour
