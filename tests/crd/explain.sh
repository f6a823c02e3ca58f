# shellcheck shell=bash
# kubectl explain has something to say about every field.

# fields KIND: the dotted path of each field below spec and status, from the indentation of the recursive listing.
fields()
{
    kubectl explain "$1" --recursive | awk -v kind="$1" '
        /^FIELDS:/ { on = 1; next }
        !on || /enum:/ || !/\t</ { next }
        {
            depth = match($0, /[^ ]/) - 1
            name = $1
            path[depth] = (depth > 2 ? path[depth - 2] : kind) "." name
            if (path[depth] ~ /\.(spec|status)(\.|$)/) print path[depth]
        }'
}

# explain_fault PATH: prints PATH if its description is missing or empty.
explain_fault()
{
    kubectl explain "$1" | awk -v path="$1" '
        /^DESCRIPTION:/ { on = 1; next }
        on && /^FIELDS:/ { exit }
        on && NF { text = text $0 }
        END { gsub(/ /, "", text); if (text == "" || text ~ /<empty>/) print path }' || printf '%s\n' "$1"
}
export -f explain_fault

for kind in tenants tenanttiers databaseservers objectstores sandboxtemplates; do
    fields "$kind" >"$TMP/fields"
    count=$(wc -l <"$TMP/fields")
    if [ "$count" -lt 20 ]; then
        fail "kubectl explain $kind --recursive lists the fields" "only $count found"
    fi
    faults=$(xargs -P 2 -I {} bash -c 'explain_fault {}' <"$TMP/fields")
    PASSED=$((PASSED + count - $(grep -c . <<<"$faults" || true)))
    while read -r path; do
        [ -z "$path" ] || fail "kubectl explain $path" "no description"
    done <<<"$faults"
    check "kubectl explain $kind opens with what it is" 1 "$(kubectl explain "$kind" | grep -cE 'An? (Tenant|TenantTier|DatabaseServer|ObjectStore|SandboxTemplate) (is|says) ')"
done
