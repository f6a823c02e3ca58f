# shellcheck shell=bash
# ObjectStores, valid and not.

accept objectstores "the smallest" '.'
accept objectstores "everything" '.spec += {endpoint: "http://10.0.0.1:7070/base", region: "eu-central-1", pathStyle: true, prefix: "acme-",
    bucketOwner: "123456789012", versionRetentionDays: 7, egress: [{cidr: "10.20.0.0/24", ports: [443, 7070]}]}'
accept objectstores "accounts by hand" '.spec.accounts = {driver: "Static"}'
refuse objectstores "no endpoint" 'del(.spec.endpoint)' "spec.endpoint: Required value"
refuse objectstores "no credentials" 'del(.spec.credentialsSecretRef)' "credentialsSecretRef: Required value"
refuse objectstores "no accounts" 'del(.spec.accounts)' "spec.accounts: Required value"
refuse objectstores "a key in the spec" '.spec.secretKey = "x"' 'unknown field "spec.secretKey"'
refuse objectstores "AwsIam without an endpoint" '.spec.accounts = {driver: "AwsIam"}' "AwsIam needs an endpoint"
refuse objectstores "Static with an endpoint" '.spec.accounts.driver = "Static"' "Static has none"
refuse objectstores "another driver" '.spec.accounts.driver = "Ldap"' "Unsupported value"
refuse objectstores "a name of 64 characters" ".metadata.name = \"$(printf 'a%.0s' {1..64})\"" "metadata.name: Too long"

for url in "" s3.example.com ftp://s3.example.com https:// https://user:pw@s3.example.com 'https://s3.example.com?x=1' \
    'https://s3.example.com#x' 'https://s3.example .com' 'https://s3\nx'; do
    refuse objectstores "endpoint '$url'" ".spec.endpoint = \"$url\"" "spec.endpoint"
    refuse objectstores "accounts.endpoint '$url'" ".spec.accounts.endpoint = \"$url\"" "spec.accounts.endpoint"
done
for prefix in "" - -a A a_b ä 'a b' 123456789 xn--a; do
    [ -n "$prefix" ] || continue
    refuse objectstores "prefix '$prefix'" ".spec.prefix = \"$prefix\"" "spec.prefix"
done
for owner in "" 12345678901 1234567890123 12345678901a; do
    refuse objectstores "bucketOwner '$owner'" ".spec.bucketOwner = \"$owner\"" "spec.bucketOwner"
done
for days in 0 -1 3651; do
    refuse objectstores "$days days" ".spec.versionRetentionDays = $days" "versionRetentionDays"
done
for name in "" A 'a b' '../a' 'a/b'; do
    refuse objectstores "credentialsSecretRef '$name'" ".spec.credentialsSecretRef = {name: \"$name\"}" "credentialsSecretRef.name"
done
refuse objectstores "a Secret in another namespace" '.spec.credentialsSecretRef.namespace = "kube-system"' "unknown field"
refuse objectstores "egress to no network" '.spec.egress = [{cidr: "example.com"}]' "cidr"
