# shellcheck shell=bash disable=SC2016
# Tenants, valid and not, and what the refusals say.

LABEL48=$(printf 'a%.0s' {1..48})
LONG=$(printf 'x%.0s' {1..300})

accept tenants "the smallest" '.'
accept tenants "everything" '.spec += {displayName: "Acme Corporation", subdomain: "acme", tier: "premium", state: "Active",
    owner: {email: "admin@acme.com", name: "Acme Admin"}, members: [{email: "dev@acme.com", name: "Dev", role: "member"}],
    database: {isolation: "Database", serverRef: {name: "primary"}, extensions: ["pgcrypto"], migrationsRef: {name: "app-migrations"}},
    sandboxes: [{name: "sandbox", template: "node", replicas: 1, env: [{name: "LOG_LEVEL", value: "debug"}]}],
    buckets: [{name: "uploads"}, {name: "assets"}, {name: "backups"}], quotas: {storage_mb: 2000}, billing: {cycle: "monthly"},
    settings: {theme: "dark"}, backup: {schedule: "0 3 * * *", keep: 7}, deletionPolicy: "Retain", deletionGraceDays: 0}'

# The subdomain, given or taken from metadata.name: the same rules for both.
for name in a a1 1a acme-corp a-b a--b 9-9 "$LABEL48"; do
    accept tenants "subdomain $name" ".spec.subdomain = \"$name\""
    accept tenants "name $name as subdomain" ".metadata.name = \"$name\""
done
for name in -a a- a_b a.b Acme 'a b' ä "" "$LABEL48"a 'a;b' 'a\"b' "a'b" 'a$b' 'a\nb' 'a\u0000b' 'a/b' '../a' 'a%00'; do
    refuse tenants "subdomain $name" ".spec.subdomain = \"$name\"" spec.subdomain
done
refuse tenants "a name too long for a subdomain" ".metadata.name = \"${LABEL48}a\"" "metadata.name is the subdomain"
refuse tenants "a name with a dot as subdomain" '.metadata.name = "a.b"' "metadata.name is the subdomain"
accept tenants "a name with a dot beside a subdomain" '.metadata.name = "a.b" | .spec.subdomain = "ab"'
refuse tenants "a name too long for a label" ".metadata.name = \"$(printf 'a%.0s' {1..64})\" | .spec.subdomain = \"ab\"" "metadata.name"
for prefix in xn-- sthree- amzn-s3-demo-; do
    refuse tenants "prefix $prefix in the subdomain" ".spec.subdomain = \"${prefix}x\"" 'must not begin with "xn--", "sthree-" or "amzn-s3-demo-"'
    refuse tenants "prefix $prefix in the name" ".metadata.name = \"${prefix}x\"" 'must not begin with'
done
for word in www api app admin administrator root system tenantry public localhost postgres postgresql template0 template1 mail smtp \
    imap ftp ns1 dns autoconfig autodiscover wpad auth login oauth sso hostmaster postmaster webmaster security; do
    refuse tenants "reserved subdomain $word" ".spec.subdomain = \"$word\"" "\"$word\" is reserved"
    refuse tenants "reserved name $word" ".metadata.name = \"$word\"" "\"$word\" is reserved"
done
accept tenants "a reserved name beside another subdomain" '.metadata.name = "www" | .spec.subdomain = "acme"'
accept tenants "a subdomain that contains a reserved word" '.spec.subdomain = "api-acme"'

# Required fields, enums, types, unknown fields.
refuse tenants "no spec" 'del(.spec)' "spec: Required value"
refuse tenants "no tier" 'del(.spec.tier)' "spec.tier: Required value"
refuse tenants "an empty tier" '.spec.tier = ""' "spec.tier"
refuse tenants "a null tier" '.spec.tier = null' "spec.tier"
refuse tenants "no owner" 'del(.spec.owner)' "spec.owner: Required value"
refuse tenants "no owner's e-mail" '.spec.owner = {name: "Acme Admin"}' "spec.owner.email: Required value"
refuse tenants "a tier longer than the registry's column" ".spec.tier = \"${LABEL48}abc\"" "spec.tier: Too long"
accept tenants "a tier that does not exist: a condition tells" '.spec.tier = "platinum"'
for state in active ACTIVE Deleted "" ; do
    refuse tenants "state '$state'" ".spec.state = \"$state\"" 'supported values: "Active", "Suspended"'
done
accept tenants "state Suspended" '.spec.state = "Suspended"'
refuse tenants "an unknown deletionPolicy" '.spec.deletionPolicy = "Orphan"' 'supported values: "Retain", "Delete", "Snapshot"'
for policy in Retain Delete Snapshot; do
    accept tenants "deletionPolicy $policy" ".spec.deletionPolicy = \"$policy\""
done
refuse tenants "a negative deletionGraceDays" '.spec.deletionGraceDays = -1' "deletionGraceDays"
refuse tenants "a fractional deletionGraceDays" '.spec.deletionGraceDays = 1.5' "deletionGraceDays"
refuse tenants "an endless deletionGraceDays" '.spec.deletionGraceDays = 99999' "deletionGraceDays"
accept tenants "deletionGraceDays 30" '.spec.deletionGraceDays = 30'
refuse tenants "an unknown billing cycle" '.spec.billing.cycle = "weekly"' 'supported values: "monthly", "annual"'
accept tenants "an annual cycle" '.spec.billing.cycle = "annual"'
refuse tenants "an unknown field" '.spec.teir = "free"' 'unknown field "spec.teir"'

# People.
for email in admin@acme.com a@b.co first.last+tag@sub.example.co.uk "o'brien@acme.ie" x_y-z@a-b.example 1@2.de; do
    accept tenants "e-mail $email" ".spec.owner.email = \"$email\""
    accept tenants "member's e-mail $email" ".spec.members = [{email: \"$email\"}]"
done
for email in not-an-email @acme.com admin@ admin@acme 'admin@acme..com' 'admin@-acme.com' 'Acme Admin <admin@acme.com>' \
    'a@acme.com,b@acme.com' 'a@acme.com\nBcc: x@evil.com' 'a@acme.com\r\nBcc: x@evil.com' 'a b@acme.com' 'system:masters@acme.com' \
    "a'; DROP TABLE users;--@acme.com" '\"a\"@acme.com' 'a\u0000@acme.com' 'a@acme.com\u0000' '$(id)@acme.com' 'a@[127.0.0.1]' "" "ä@acme.com"; do
    refuse tenants "e-mail $email" ".spec.owner.email = \"$email\"" "spec.owner.email"
    refuse tenants "member's e-mail $email" ".spec.members = [{email: \"$email\"}]" "spec.members[0].email"
done
refuse tenants "an e-mail with a message that helps" '.spec.owner.email = "admin@acme"' "must be a plain e-mail address such as admin@acme.com"
refuse tenants "an e-mail of 255 characters" ".spec.owner.email = \"a@$(printf 'b%.0s' {1..60}).$(printf 'c%.0s' {1..60}).$(
    printf 'd%.0s' {1..60}).$(printf 'e%.0s' {1..60}).${LONG:0:9}\"" "spec.owner.email: Too long"
refuse tenants "two members with one e-mail" '.spec.members = [{email: "a@b.co"}, {email: "a@b.co", role: "admin"}]' "Duplicate value"
refuse tenants "the owner among the members" '.spec.members = [{email: "owner@example.com"}]' "the owner is a member already"
refuse tenants "an unknown role" '.spec.members = [{email: "a@b.co", role: "root"}]' 'supported values: "owner", "admin", "member"'
accept tenants "1,000 members" '.spec.members = [range(1000) | {email: "m\(.)@example.com", role: "admin"}]'
refuse tenants "1,001 members" '.spec.members = [range(1001) | {email: "m\(.)@example.com"}]' "Too many"

# The database.
for isolation in Database Schema Row; do
    accept tenants "isolation $isolation" ".spec.database.isolation = \"$isolation\""
done
refuse tenants "an unknown isolation" '.spec.database.isolation = "Cluster"' 'supported values: "Database", "Schema", "Row"'
refuse tenants "extensions with isolation Schema" '.spec.database = {isolation: "Schema", extensions: ["pgcrypto"]}' "extensions need isolation Database"
refuse tenants "extensions with isolation Row" '.spec.database = {isolation: "Row", extensions: ["pgcrypto"]}' "extensions need isolation Database"
accept tenants "no extensions with isolation Row" '.spec.database = {isolation: "Row", extensions: []}'
refuse tenants "one extension twice" '.spec.database.extensions = ["pgcrypto", "pgcrypto"]' "Duplicate value"
accept tenants "extension uuid-ossp" '.spec.database.extensions = ["uuid-ossp", "pg_trgm"]'
refuse tenants "migrations with isolation Row" '.spec.database = {isolation: "Row", migrationsRef: {name: "m"}}' "need isolation Database or Schema"
accept tenants "migrations with isolation Schema" '.spec.database = {isolation: "Schema", migrationsRef: {name: "m"}}'
refuse tenants "a serverRef without a name" '.spec.database.serverRef = {}' "serverRef.name: Required value"
refuse tenants "a serverRef with a namespace" '.spec.database.serverRef = {name: "a", namespace: "b"}' "unknown field"

# Sandboxes and buckets.
accept tenants "sandboxes" '.spec.sandboxes = [{name: "sandbox"}, {name: "worker-2", replicas: 0}]'
accept tenants "no sandboxes" '.spec.sandboxes = []'
for name in -a a- 1a A a_b a.b "" 'a b'; do
    refuse tenants "sandbox '$name'" ".spec.sandboxes = [{name: \"$name\"}]" "spec.sandboxes[0].name"
done
refuse tenants "a sandbox named as the product's own" '.spec.sandboxes = [{name: "tenantry-x"}]' 'kept for objects of the product itself'
refuse tenants "two sandboxes of one name" '.spec.sandboxes = [{name: "a"}, {name: "a"}]' "Duplicate value"
refuse tenants "a negative number of replicas" '.spec.sandboxes = [{name: "a", replicas: -1}]' "replicas"
accept tenants "a sandbox that just fits" ".spec.subdomain = \"$LABEL48\" | .spec.sandboxes = [{name: \"${LABEL48:0:14}\"}]"
refuse tenants "a sandbox that does not fit" ".spec.subdomain = \"$LABEL48\" | .spec.sandboxes = [{name: \"${LABEL48:0:15}\"}]" "has to fit into 63 characters"
refuse tenants "a sandbox that does not fit the name" ".metadata.name = \"$LABEL48\" | .spec.sandboxes = [{name: \"${LABEL48:0:15}\"}]" "has to fit into 63 characters"
accept tenants "a long sandbox at a short subdomain" ".spec.subdomain = \"a\" | .spec.sandboxes = [{name: \"${LABEL48}${LABEL48:0:13}\"}]"
for name in TENANT_ID TENANT_SUBDOMAIN; do
    refuse tenants "env $name" ".spec.sandboxes = [{name: \"a\", env: [{name: \"$name\", value: \"x\"}]}]" "set by the product"
done
for name in 1A 'A B' A=B 'A\nB' "" 'A$(B)'; do
    refuse tenants "env name '$name'" ".spec.sandboxes = [{name: \"a\", env: [{name: \"$name\"}]}]" "env[0].name"
done
accept tenants "buckets" '.spec.buckets = [{name: "uploads"}, {name: "a1"}]'
accept tenants "no buckets" '.spec.buckets = []'
for name in a-b A a_b a.b "" 'a b' s3 s3alias; do
    refuse tenants "bucket '$name'" ".spec.buckets = [{name: \"$name\"}]" "spec.buckets[0].name"
done
refuse tenants "two buckets of one name" '.spec.buckets = [{name: "a"}, {name: "a"}]' "Duplicate value"
refuse tenants "a bucket that does not fit" ".spec.subdomain = \"$LABEL48\" | .spec.buckets = [{name: \"${LABEL48:0:15}\"}]" "has to fit into 63 characters"

# Quotas, settings, backup.
accept tenants "quotas" '.spec.quotas = {storage_mb: 2000, api_requests: -1, sandboxes: 0, widgets: 5}'
for value in -2 1.5 '"5"' 1e30 9007199254740992; do
    refuse tenants "quota $value" ".spec.quotas = {storage_mb: $value}" "quotas"
done
for key in "" A 1a 'a b' 'a-b' "a';--" "a\nb" "$LONG"; do
    refuse tenants "quota named '${key:0:20}'" ".spec.quotas = {\"$key\": 1}" "a resource's name is"
done
refuse tenants "33 quotas" '.spec.quotas = ([range(33) | {key: "q\(.)", value: 1}] | from_entries)' "Too many"
accept tenants "settings" '.spec.settings = {theme: "dark", "feature.x": "on", empty: ""}'
refuse tenants "a setting that is no string" '.spec.settings = {dark: true}' "settings.dark"
refuse tenants "a nested setting" '.spec.settings = {a: {b: "c"}}' "settings.a"
for key in "" 'a b' '../a' '-a' 'a/b' "a'" '\u0000' "${LONG:0:129}"; do
    refuse tenants "a setting named '${key:0:20}'" ".spec.settings = {\"$key\": \"x\"}" "a setting's name is"
done
refuse tenants "a setting of 2,049 characters" '.spec.settings = {a: ("x" * 2049)}' "Too long"
for schedule in '0 3 * * *' '*/15 * * * *' '0,30 1-5 * * 1-5' '5 4 1 1 0' '0 0 */2 * *'; do
    accept tenants "schedule $schedule" ".spec.backup = {schedule: \"$schedule\", keep: 7}"
done
for schedule in '0 3 * *' '0 3 * * * *' '60 3 * * *' 'a b c d e' '0  3 * * *' '@reboot now' '0 3 * * *; id' '0 3 * * *\n'; do
    refuse tenants "schedule $schedule" ".spec.backup = {schedule: \"$schedule\"}" "must be five cron fields in UTC"
done
refuse tenants "keeping no backup" '.spec.backup.keep = 0' "backup.keep"

# What must not get through, in every field that ends up in a name, a statement or a path.
INJECTIONS=("'; DROP TABLE tenants;--" '\"; DROP DATABASE postgres; --' "x' OR '1'='1" '$(reboot)' '`reboot`' 'a\u0000b' 'a\nb' 'a\tb'
    '../../etc/passwd' '%s%n' '${jndi:ldap://x}' '{{.Values}}' 'tenant_x\";--' 'ａｃｍｅ' "$LONG")
FIELDS=(.spec.subdomain .spec.tier .spec.state .spec.owner.email '.spec.members[0].email' .spec.database.isolation .spec.database.serverRef.name
    '.spec.database.extensions[0]' .spec.database.migrationsRef.name '.spec.sandboxes[0].name' '.spec.sandboxes[0].template'
    '.spec.sandboxes[0].env[0].name' '.spec.buckets[0].name' .spec.billing.cycle .spec.backup.schedule .spec.deletionPolicy .metadata.name)
for field in "${FIELDS[@]}"; do
    for text in "${INJECTIONS[@]}"; do
        refuse tenants "${text:0:30} in $field" '.spec += {members: [{email: "m@example.com"}], sandboxes: [{name: "a", env: [{name: "A"}]}],
            buckets: [{name: "a"}], backup: {schedule: "0 3 * * *"}} | '"$field = \"$text\"" "${field//[.]*[.]/}"
    done
done
# Text that people write keeps every character, and control characters are refused.
for field in .spec.displayName .spec.owner.name '.spec.members[0].name'; do
    for text in "O'Brien; DROP TABLE tenants;--" '\"quoted\" & <b>bold</b>' '$(reboot)' '%s%n {{.}}' '株式会社アクメ 🚀' "${LONG:0:255}"; do
        keep tenants "${text:0:30} in $field" ".spec.members = [{email: \"m@example.com\"}] | $field = \"$text\"" "$field"
    done
    for text in 'a\u0000b' 'a\nb' 'a\r\nX-Injected: 1' 'a\u001b[31m' 'a\u007f' "" "${LONG:0:256}"; do
        refuse tenants "${text:0:30} in $field" ".spec.members = [{email: \"m@example.com\"}] | $field = \"$text\"" "spec"
    done
done
for field in .spec.settings.theme '.spec.sandboxes[0].env[0].value'; do
    for text in "'; DROP TABLE tenants;--" 'line\nline' '{\"a\":1}' '🚀'; do
        keep tenants "${text:0:30} in $field" ".spec.sandboxes = [{name: \"a\", env: [{name: \"A\"}]}] | $field = \"$text\"" "$field"
    done
    refuse tenants "a NUL in $field" ".spec.sandboxes = [{name: \"a\", env: [{name: \"A\"}]}] | $field = \"a\\u0000b\"" "spec"
done
