# shellcheck shell=bash
# What the parts share. Requests go as JSON through `kubectl proxy` on a socket in the test's own folder: exact to the byte,
# and fast enough for hundreds of cases. ROOT and TMP come from run.

PASSED=0
FAILED=0
CONTROLLER=system:serviceaccount:tenantry-system:tenantry-controller
CRDS=(tenants.tenantry.dev tenanttiers.tenantry.dev databaseservers.tenantry.dev objectstores.tenantry.dev sandboxtemplates.tenantry.dev)
API=/apis/tenantry.dev/v1alpha1

# The smallest valid object of each kind; a case is one of these and a jq program that changes it.
declare -A BASE=(
    [tenants]='{"apiVersion":"tenantry.dev/v1alpha1","kind":"Tenant","metadata":{"name":"crdtest"},
        "spec":{"tier":"free","owner":{"email":"owner@example.com"}}}'
    [tenanttiers]='{"apiVersion":"tenantry.dev/v1alpha1","kind":"TenantTier","metadata":{"name":"crdtest"},
        "spec":{"quotas":{"sandboxes":1}}}'
    [databaseservers]='{"apiVersion":"tenantry.dev/v1alpha1","kind":"DatabaseServer","metadata":{"name":"crdtest"},
        "spec":{"hosts":["db.example.com"],"credentialsSecretRef":{"name":"primary"}}}'
    [objectstores]='{"apiVersion":"tenantry.dev/v1alpha1","kind":"ObjectStore","metadata":{"name":"crdtest"},
        "spec":{"endpoint":"https://s3.example.com","credentialsSecretRef":{"name":"store"},
            "accounts":{"driver":"AwsIam","endpoint":"https://iam.example.com"}}}'
    [sandboxtemplates]='{"apiVersion":"tenantry.dev/v1alpha1","kind":"SandboxTemplate","metadata":{"name":"crdtest"},
        "spec":{"image":"example.com/app:1"}}'
)

pass()
{
    PASSED=$((PASSED + 1))
}

# fail LABEL DETAIL...
fail()
{
    FAILED=$((FAILED + 1))
    printf 'FAIL %s\n' "$1"
    shift
    printf '     %s\n' "$@" | head -c 2000
}

# check LABEL EXPECTED ACTUAL
check()
{
    if [ "$2" = "$3" ]; then
        pass
    else
        fail "$1" "expected: $2" "actual:   $3"
    fi
}

install_all()
{
    say "installing crds and manifests"
    kubectl apply -k "$ROOT/manifests/install" >"$TMP/install.log" || die "kubectl apply -k manifests/install failed"
    kubectl wait --for=condition=Established --timeout=60s crd "${CRDS[@]}" >>"$TMP/install.log"
    # Discovery may lag behind the condition by a moment.
    wait_for 30 kubectl apply -k "$ROOT/manifests/tiers" || kubectl apply -k "$ROOT/manifests/tiers"
    wait_for 30 kubectl apply -k "$ROOT/manifests/templates" || kubectl apply -k "$ROOT/manifests/templates"
}

start_proxy()
{
    kubectl proxy --unix-socket "$TMP/proxy.sock" >"$TMP/proxy.log" 2>&1 &
    printf '%d\n' "$!" >"$TMP/proxy.pid"
    wait_for 10 request GET /version || die "kubectl proxy does not answer: $(cat -- "$TMP/proxy.log")"
}

# request METHOD PATH [CURL OPTION...]: sets STATUS and BODY. Fails only when nothing answers. AS=user impersonates.
request()
{
    local method=$1 path=$2
    shift 2
    if [ -n "${AS:-}" ]; then
        set -- "$@" -H "Impersonate-User: $AS"
    fi
    BODY=$(curl -sS --max-time 20 --unix-socket "$TMP/proxy.sock" -X "$method" -w '\n%{http_code}' "$@" "http://localhost$path") || return 1
    STATUS=${BODY##*$'\n'}
    BODY=${BODY%$'\n'*}
}

message()
{
    jq -r '.message // ""' <<<"$BODY"
}

# create PATH JSON [QUERY]: POST; dry-run with QUERY dryRun=All.
create()
{
    request POST "$1?fieldValidation=Strict&fieldManager=crdtest${3:+&$3}" -H 'Content-Type: application/json' --data-binary @- <<<"$2"
}

# patch PATH JSON [TYPE] [QUERY]: TYPE merge (default) or json.
patch()
{
    request PATCH "$1?fieldManager=crdtest${4:+&$4}" -H "Content-Type: application/${3:-merge}-patch+json" --data-binary @- <<<"$2"
}

# apply PATH JSON [QUERY]: server-side apply with force.
apply()
{
    request PATCH "$1?fieldManager=crdtest&force=true${3:+&$3}" -H 'Content-Type: application/apply-patch+yaml' --data-binary @- <<<"$2"
}

# delete PATH
delete()
{
    request DELETE "$1"
}

# expect LABEL STATUS [FRAGMENT]: of the last request; the message has to hold FRAGMENT.
expect()
{
    # Looked for in the JSON as it came, which saves hundreds of runs of jq.
    local fragment=${3:-}
    fragment=${fragment//\"/\\\"}
    if [[ ! $STATUS =~ ^($2)$ ]]; then
        fail "$1" "expected HTTP $2, got $STATUS: $(message)"
    elif [[ $BODY != *"$fragment"* ]]; then
        fail "$1" "expected in the message: $3" "the message:             $(message)"
    else
        pass
    fi
}

# accept KIND LABEL PROGRAM: the base object changed by the jq PROGRAM is taken.
accept()
{
    create "$API/$1" "$(jq -c "$3" <<<"${BASE[$1]}")" dryRun=All
    expect "$1 accepts $2" 201
}

# refuse KIND LABEL PROGRAM FRAGMENT: it is refused, and the message says FRAGMENT.
refuse()
{
    create "$API/$1" "$(jq -c "$3" <<<"${BASE[$1]}")" dryRun=All
    expect "$1 refuses $2" '400|403|422' "$4"
}

# keep KIND LABEL PROGRAM PATH: it is taken, and the value at the jq PATH comes back byte for byte.
keep()
{
    local object
    object=$(jq -c "$3" <<<"${BASE[$1]}")
    create "$API/$1" "$object" dryRun=All
    expect "$1 keeps $2" 201
    check "$1 keeps $2 unchanged" "$(jq -c "$4" <<<"$object")" "$(jq -c "$4" <<<"$BODY")"
}

# make KIND NAME [PROGRAM]: create an object for good; clean_up removes it.
make()
{
    create "$API/$1" "$(jq -c --arg name "$2" ".metadata.name = \$name | ${3:-.}" <<<"${BASE[$1]}")"
    if [ "$STATUS" != 201 ]; then
        die "cannot create $1/$2: $(message)"
    fi
}

# remove PATH: whatever holds it. Gone already is fine.
remove()
{
    AS=$CONTROLLER patch "$1" '{"metadata":{"labels":{"tenantry.dev/in-use":null}}}'
    patch "$1" '{"metadata":{"finalizers":null}}'
    delete "$1"
}

# clean_up: every object of ours that a part made, also in a run that was cut short.
clean_up()
{
    local kind name
    for kind in tenants tenanttiers databaseservers objectstores sandboxtemplates; do
        request GET "$API/$kind"
        for name in $(jq -r '.items[].metadata.name | select(startswith("crdtest"))' <<<"$BODY"); do
            remove "$API/$kind/$name"
        done
    done
    kubectl delete namespace --ignore-not-found --wait=true --timeout=120s tenant-crdtest tenant-crdtest-foreign crdtest >/dev/null
    kubectl -n tenantry-system delete secret,role,rolebinding --ignore-not-found crdtest-owner crdtest-platform crdtest-other \
        >/dev/null
}

# gone PATH: is there nothing?
gone()
{
    request GET "$1"
    [ "$STATUS" = 404 ]
}
