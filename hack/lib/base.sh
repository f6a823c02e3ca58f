# shellcheck shell=bash
# What every script under hack/ shares: where things are, how to speak, wait, take a lock and find a free port.
# To be sourced. A script opens with:
#
#     #!/usr/bin/env bash
#     set -euo pipefail
#     source "$(dirname -- "${BASH_SOURCE[0]}")/lib/base.sh"

# The checkout that this file belongs to, and the folder for slow first-time work, outside of it.
ROOT=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/../.." && pwd -P)
CACHE=${TENANTRY_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/tenantry}
export ROOT CACHE

# The script's name as a user would type it from the checkout, for messages.
SELF=$(cd -- "$(dirname -- "$0")" && pwd -P)/${0##*/}
SELF=${SELF#"$ROOT/"}

# say TEXT...: a line of progress. It goes to stderr, so that a script's stdout is its result alone.
say()
{
    printf '%s: %s\n' "$SELF" "$*" >&2
}

# die TEXT...: what went wrong, and what the user should do about it.
die()
{
    printf '%s: error: %s\n' "$SELF" "$*" >&2
    exit 1
}

# usage: the comment at the head of the script, and exit 2.
usage()
{
    sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' -- "$0" >&2
    exit 2
}

have()
{
    command -v -- "$1" >/dev/null 2>&1
}

# need_value OPTION COUNT: refuse an option that stands last, without its value. COUNT is the caller's $#.
need_value()
{
    [ "$2" -ge 2 ] || die "option $1 needs a value"
}

# absolute_folder PATH: make the folder if need be and print its physical path. Run folders end up in command
# lines and in configuration files of several syntaxes, so characters that any of them would have to quote are refused.
absolute_folder()
{
    [ -n "$1" ] || die "a run folder is needed"
    mkdir -p -- "$1"
    local path
    path=$(cd -- "$1" && pwd -P)
    case $path in
        *[!A-Za-z0-9/._+@-]*) die "the path of a run folder may hold only letters, digits and / . _ + @ -: $path" ;;
    esac
    printf '%s\n' "$path"
}

# now_ms: milliseconds of the monotonic clock (the machine's uptime, to 10 ms).
now_ms()
{
    local uptime
    read -r uptime _ </proc/uptime
    uptime=${uptime/./}
    printf '%d\n' "$((10#$uptime * 10))"
}

# wait_for SECONDS COMMAND...: until COMMAND succeeds; returns 1 when the time is over. COMMAND's output is dropped.
wait_for()
{
    local deadline=$(($(now_ms) + $1 * 1000))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$(now_ms)" -lt "$deadline" ] || return 1
        sleep 0.1
    done
}

# lock_folder FOLDER [NAME]: one script at a time in a run folder. The lock is held until this process ends; what
# process_start starts does not inherit it. A script that calls others that lock the folder uses a NAME of its own.
lock_folder()
{
    exec {LOCK_FD}>"$1/.lock${2:+-$2}"
    flock -w 600 "$LOCK_FD" || die "another script has been at work in $1 for ten minutes; end it and try again"
}

# write_secret FILE: stdin into FILE, readable by nobody else at any moment, replaced in one step.
write_secret()
{
    (umask 077 && cat >"$1.new")
    mv -f -- "$1.new" "$1"
}

# random_password: 32 letters and digits, about 190 bits.
random_password()
{
    openssl rand -base64 96 | tr -dc 'A-Za-z0-9' | cut -c1-32
}

# env_set FILE NAME VALUE: set NAME in a file that a shell can source, keeping its other lines.
env_set()
{
    local file=$1 name=$2 value=$3
    {
        [ ! -e "$file" ] || grep -v "^export $name=" -- "$file" || true
        printf "export %s='%s'\n" "$name" "${value//\'/\'\\\'\'}"
    } | write_secret "$file"
}

# env_add_path FILE FOLDER: sourcing FILE puts FOLDER first in PATH, once.
env_add_path()
{
    local file=$1
    # shellcheck disable=SC2016 # PATH is for the shell that sources the file
    local start='^case ":\$PATH:"'
    local line="case \":\$PATH:\" in *':$2:'*) ;; *) export PATH=\"$2:\$PATH\" ;; esac"
    {
        [ ! -e "$file" ] || grep -v "$start" -- "$file" || true
        printf '%s\n' "$line"
    } | write_secret "$file"
}

port_in_use()
{
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# free_port: a port of 127.0.0.1 on which nobody listens. Ports below the kernel's ephemeral range are taken, so that no outgoing
# connection can grab one between here and its use, and each is reserved for two minutes by a folder, so that two scripts never get the same.
free_port()
{
    local folder=${TMPDIR:-/tmp}/tenantry-ports-$UID port try
    [ -d "$folder" ] || mkdir -m 0700 -- "$folder" 2>/dev/null || [ -d "$folder" ]
    [ -O "$folder" ] || die "$folder belongs to another user; remove it"
    find "$folder" -mindepth 1 -maxdepth 1 -type d -mmin +2 -exec rmdir -- {} + 2>/dev/null || true
    for try in {1..200}; do
        port=$((20000 + (RANDOM * 32768 + RANDOM) % 10000))
        if mkdir -- "$folder/$port" 2>/dev/null && ! port_in_use "$port"; then
            printf '%d\n' "$port"
            return 0
        fi
    done
    die "found no free port between 20000 and 29999 in $try tries"
}

# stable_port RUN NAME: the port that NAME has in this run folder, chosen at the first start and kept, so that
# addresses handed out stay good over a restart.
stable_port()
{
    local file="$1/ports/$2" port
    mkdir -p -- "$1/ports"
    if [ ! -s "$file" ]; then
        port=$(free_port)
        printf '%s\n' "$port" >"$file.new"
        mv -f -- "$file.new" "$file"
    fi
    cat -- "$file"
}

# fresh_port RUN NAME: the same for a server that is about to be started: where another program has taken the port meanwhile, another.
fresh_port()
{
    local port
    port=$(stable_port "$1" "$2")
    if port_in_use "$port"; then
        say "port $port, which $2 had, is taken by another program; it gets another"
        rm -f -- "$1/ports/$2"
    fi
    stable_port "$1" "$2"
}
