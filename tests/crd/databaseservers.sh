# shellcheck shell=bash
# DatabaseServers, valid and not.

PEM='-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n'

accept databaseservers "the smallest" '.'
accept databaseservers "everything" ".spec += {hosts: [\"pg-0.db.example.com\", \"pg-1.db.example.com\"], port: 6432, targetSessionAttrs: \"primary\",
    sslmode: \"verify-full\", caBundle: \"$PEM\", credentialsSecretRef: {name: \"primary\"}, sharedDatabase: \"shared\",
    maintenanceDatabase: \"postgres\", capacity: {tenants: 500, connections: 50}, schedulable: false, draining: true, drift: \"Warn\",
    spareDatabases: {count: 10, perMinute: 60},
    egress: [{cidr: \"10.20.0.0/24\", ports: [5432, 6432]}, {cidr: \"fd00::/64\"}]}"
refuse databaseservers "no hosts" 'del(.spec.hosts)' "spec.hosts: Required value"
refuse databaseservers "an empty list of hosts" '.spec.hosts = []' "spec.hosts"
refuse databaseservers "no credentials" 'del(.spec.credentialsSecretRef)' "credentialsSecretRef: Required value"
refuse databaseservers "a password in the spec" '.spec.password = "x"' 'unknown field "spec.password"'
refuse databaseservers "a name of 64 characters" ".metadata.name = \"$(printf 'a%.0s' {1..64})\"" "metadata.name: Too long"

for host in localhost 127.0.0.1 ::1 fd00::5 db.example.com primary.db.svc.cluster.local A1; do
    accept databaseservers "host $host" ".spec.hosts = [\"$host\"]"
done
for host in "" -a a- a..b .a a. 'a b' a,b a:5432 127.0.0.1:5432 '[::1]' /var/run/postgresql @abstract 'a\nb' 'a\u0000' "a' host=evil" \
    'a sslmode=disable' 'a%2fb' :: :::: ä; do
    [ "$host" = :: ] && continue # the unspecified address is an address
    refuse databaseservers "host '$host'" ".spec.hosts = [\"$host\"]" "spec.hosts"
done
refuse databaseservers "a host with a port, and says where it belongs" '.spec.hosts = ["a:5432"]' "a port belongs in spec.port"
refuse databaseservers "a host twice" '.spec.hosts = ["a", "a"]' "Duplicate value"
for port in 0 65536 -1 5432.5 '"5432"'; do
    refuse databaseservers "port $port" ".spec.port = $port" "spec.port"
done
for mode in disable require verify-ca verify-full; do
    accept databaseservers "sslmode $mode" ".spec.sslmode = \"$mode\""
done
for mode in prefer allow "" VERIFY-FULL; do
    refuse databaseservers "sslmode '$mode'" ".spec.sslmode = \"$mode\"" "spec.sslmode: Unsupported value"
done
refuse databaseservers "a standby" '.spec.targetSessionAttrs = "standby"' "Unsupported value"

accept databaseservers "authorities from a Secret" '.spec.caSecretRef = {name: "pg-ca"}'
refuse databaseservers "authorities from both places" ".spec += {caBundle: \"$PEM\", caSecretRef: {name: \"pg-ca\"}}" "exclude each other"
refuse databaseservers "authorities that nobody looks at" ".spec += {caBundle: \"$PEM\", sslmode: \"require\"}" "sslmode has to be verify-full or verify-ca"
refuse databaseservers "a bundle that is none" '.spec.caBundle = "hello"' "must be certificates in PEM"
refuse databaseservers "a private key in the bundle" ".spec.caBundle = \"$PEM-----BEGIN PRIVATE KEY-----\\n\"" "no private key"

for field in sharedDatabase maintenanceDatabase; do
    # shellcheck disable=SC2016 # meant as written
    for name in "" A 1a 'a b' 'a\";--' "a'" '$(id)' 'a\u0000' 'a\nb' 'a?sslmode=disable' 'a/b' template0 template1 tenant_acme "$(printf 'a%.0s' {1..64})"; do
        refuse databaseservers "$field '$name'" ".spec.$field = \"$name\"" "spec.$field"
    done
done
refuse databaseservers "postgres as shared database" '.spec.sharedDatabase = "postgres"' "must be a database of its own"
refuse databaseservers "one database for both" '.spec += {sharedDatabase: "x", maintenanceDatabase: "x"}' "cannot be the maintenanceDatabase"
accept databaseservers "another maintenanceDatabase" '.spec.maintenanceDatabase = "defaultdb"'
for field in credentialsSecretRef caSecretRef; do
    for name in "" A 'a b' '../a' 'a/b' "a'" 'a\u0000'; do
        refuse databaseservers "$field '$name'" ".spec.$field = {name: \"$name\"}" "spec.$field.name"
    done
done
refuse databaseservers "a Secret in another namespace" '.spec.credentialsSecretRef.namespace = "kube-system"' "unknown field"
for capacity in 0 -1; do
    refuse databaseservers "a capacity of $capacity" ".spec.capacity.tenants = $capacity" "capacity.tenants"
done
refuse databaseservers "an unknown drift" '.spec.drift = "Ignore"' 'supported values: "Heal", "Warn"'
for cidr in 10.0.0.0 10.0.0.0/33 a/8 "" '10.0.0.0/8; x'; do
    refuse databaseservers "egress to '$cidr'" ".spec.egress = [{cidr: \"$cidr\"}]" "egress[0].cidr"
done
refuse databaseservers "egress to port 0" '.spec.egress = [{cidr: "10.0.0.0/8", ports: [0]}]' "ports[0]"

for count in -1 1001 '"1"' 1.5; do
    refuse databaseservers "$count spare databases" ".spec.spareDatabases = {count: $count}" "spareDatabases.count"
done
refuse databaseservers "spare databases, but how many" '.spec.spareDatabases = {}' "count: Required value"
refuse databaseservers "spare databases at no pace" '.spec.spareDatabases = {count: 1, perMinute: 0}' "perMinute"
