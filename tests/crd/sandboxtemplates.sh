# shellcheck shell=bash
# SandboxTemplates: what the schema takes and refuses.

accept sandboxtemplates "the smallest" .
accept sandboxtemplates "everything" '.spec += {command: ["node"], args: ["-e", "x"], workingDir: "/srv",
    ports: [{name: "http", containerPort: 8080, servicePort: 80}, {name: "metrics", containerPort: 9090}],
    env: [{name: "A", value: "b"}, {name: "B"}], resources: {requests: {cpu: "50m", memory: 1000000}, limits: {cpu: 1, memory: "0.5Gi"}},
    probes: {readiness: {httpGet: {path: "/healthz", port: "http"}, periodSeconds: 5}, liveness: {tcpSocket: {port: 8080}},
        startup: {exec: {command: ["true"]}, failureThreshold: 30}},
    scratch: ["/tmp"], runtimeClassName: "gvisor", runAsUser: 1000, terminationGracePeriodSeconds: 0}'
for file in "$ROOT"/manifests/templates/*.yaml; do
    create "$API/sandboxtemplates" "$(kubectl create --dry-run=client -o json -f "$file" | jq -c '.metadata.name = "crdtest"')" dryRun=All
    expect "the shipped template ${file##*/} is taken" 201
done
refuse sandboxtemplates "none of an image" 'del(.spec.image)' "spec.image"
refuse sandboxtemplates "an empty image" '.spec.image = ""' "spec.image"
refuse sandboxtemplates "an image with blanks" '.spec.image = "a b"' "spec.image"
for name in TENANT_ID TENANT_SUBDOMAIN; do
    refuse sandboxtemplates "env $name" ".spec.env = [{name: \"$name\", value: \"x\"}]" "set by the product"
done
refuse sandboxtemplates "two variables of one name" '.spec.env = [{name: "A"}, {name: "A"}]' "Duplicate value"
refuse sandboxtemplates "a port that takes root" '.spec.ports = [{name: "http", containerPort: 80}]' "containerPort"
refuse sandboxtemplates "two ports of one name" '.spec.ports = [{name: "a", containerPort: 8080}, {name: "a", containerPort: 8081}]' "Duplicate value"
refuse sandboxtemplates "two ports of one number" '.spec.ports = [{name: "a", containerPort: 8080}, {name: "b", containerPort: 8080, servicePort: 1}]' \
    "same containerPort"
refuse sandboxtemplates "two ports of one number in the Service" '.spec.ports = [{name: "a", containerPort: 8080}, {name: "b", containerPort: 8081, servicePort: 8080}]' \
    "same port of the Service"
refuse sandboxtemplates "root" '.spec.runAsUser = 0' "runAsUser"
refuse sandboxtemplates "a probe that asks nothing" '.spec.probes.liveness = {periodSeconds: 1}' "exactly one of"
refuse sandboxtemplates "a probe that asks twice" '.spec.probes.liveness = {tcpSocket: {port: 1}, exec: {command: ["x"]}}' "exactly one of"
refuse sandboxtemplates "a probe of another host" '.spec.probes.liveness = {httpGet: {port: 1, host: "example.com"}}' "host"
refuse sandboxtemplates "a folder that is no path" '.spec.scratch = ["tmp"]' "scratch"
refuse sandboxtemplates "the root folder as scratch" '.spec.scratch = ["/"]' "scratch"
refuse sandboxtemplates "an amount that is none" '.spec.resources.limits.cpu = "much"' "resources"
for field in privileged hostNetwork securityContext volumes; do
    refuse sandboxtemplates "the unknown field $field" ".spec.$field = true" "unknown field"
done
refuse sandboxtemplates "a name that is too long" '.metadata.name = ("a" * 64)' "name"
