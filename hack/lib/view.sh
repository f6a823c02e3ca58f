# shellcheck shell=bash
# Watching a Tenant become Ready. Source base.sh first; kubectl and jq are used.

# One event of `kubectl get --watch --output json` into lines for watch_tenant: a verdict, then type, status, reason and message of each condition.
# Ready counts only for the generation that the spec is at.
# shellcheck disable=SC2016 # the dollars are jq's
VIEW_FILTER='
    (.metadata.generation) as $generation
    | [.status.conditions[]? | . + {current: ((.observedGeneration // $generation) == $generation)}] as $conditions
    | (if any($conditions[]; .type == "Ready" and .status == "True" and .current) and .status.observedGeneration == $generation
       then "ready" else "waiting" end),
      ($conditions[] | [.type, .status, .reason, (.message | gsub("[[:cntrl:]]"; " "))] | join("\u001f")),
      "end"'

# view_table ROW...: all conditions over those drawn before, on a terminal.
view_table()
{
    local row type status reason message width=${COLUMNS:-$(tput cols 2>/dev/null || echo 100)} colour
    [ "$VIEW_LINES" -eq 0 ] || printf '\033[%dA' "$VIEW_LINES" >&2
    for row in "$@"; do
        IFS=$'\x1f' read -r type status reason message <<<"$row"
        colour=33
        [ "$status" != True ] || colour=32
        row=$(printf '%-18s %-8s %-24s %s' "$type" "$status" "$reason" "$message")
        printf '\033[2K\033[%dm%s\033[0m\n' "$colour" "${row:0:$((width - 1))}" >&2
    done
    VIEW_LINES=$#
}

# view_changes ROW...: a line for each condition that is not as it was, where there is no terminal.
view_changes()
{
    local row type rest status reason message
    for row in "$@"; do
        type=${row%%$'\x1f'*}
        rest=${row#*$'\x1f'}
        if [ "${VIEW_SEEN[$type]:-}" != "$rest" ]; then
            VIEW_SEEN[$type]=$rest
            IFS=$'\x1f' read -r type status reason message <<<"$row"
            printf '%6.1fs  %-18s %-8s %-24s %s\n' "$(($(now_ms) - VIEW_START))e-3" "$type" "$status" "$reason" "$message" >&2
        fi
    done
}

# watch_tenant RUN NAME SECONDS: show the conditions of Tenant NAME as they change, until it is Ready. Returns 1 when the time is over.
watch_tenant()
{
    local pipe=$1/.view line verdict=waiting kubectl_pid ready=1
    local -a rows=()
    declare -gA VIEW_SEEN=()
    VIEW_LINES=0
    VIEW_START=$(now_ms)
    rm -f -- "$pipe"
    mkfifo -m 0600 -- "$pipe"
    timeout "$3" kubectl get tenant "$2" --watch --output json >"$pipe" 2>/dev/null &
    kubectl_pid=$!
    while IFS= read -r line; do
        case $line in
            ready | waiting)
                verdict=$line
                rows=()
                ;;
            end)
                if [ -t 2 ]; then view_table "${rows[@]}"; else view_changes "${rows[@]}"; fi
                if [ "$verdict" = ready ]; then
                    ready=0
                    break
                fi
                ;;
            *) rows+=("$line") ;;
        esac
    done < <(jq --unbuffered --raw-output "$VIEW_FILTER" <"$pipe")
    kill "$kubectl_pid" 2>/dev/null || true
    wait "$kubectl_pid" 2>/dev/null || true
    rm -f -- "$pipe"
    return "$ready"
}
