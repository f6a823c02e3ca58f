# shellcheck shell=bash
# Processes of a run folder: RUN/NAME.pid and RUN/NAME.log for each. A pid file alone proves nothing, since pids are
# used again; a process counts as ours only if it runs the expected program and names a path of the run folder in
# its command line, which every one of ours does. Source base.sh first.

# process_program NAME: the file name of the program behind NAME.
process_program()
{
    case $1 in
        controller | controller-*) echo tenantry-controller ;;
        s3 | iam) echo versitygw ;;
        gateway) echo tenantry-gateway ;;
        *) echo "$1" ;;
    esac
}

# process_pid RUN NAME: print the pid of the live process; fails if there is none.
process_pid()
{
    local run=$1 name=$2 pid program
    [ -s "$run/$name.pid" ] || return 1
    read -r pid _ <"$run/$name.pid" || true
    [[ $pid =~ ^[0-9]+$ ]] || return 1
    # readlink fails for a zombie, and appends " (deleted)" when the program was rebuilt meanwhile.
    program=$(readlink -- "/proc/$pid/exe" 2>/dev/null) || return 1
    program=${program% (deleted)}
    [ "${program##*/}" = "$(process_program "$name")" ] || return 1
    tr '\0' '\n' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF -- "$run/" || return 1
    printf '%s\n' "$pid"
}

process_alive()
{
    process_pid "$1" "$2" >/dev/null
}

# process_start RUN NAME COMMAND...: start COMMAND in the background, free of this terminal, session and open files.
process_start()
{
    local run=$1 name=$2
    shift 2
    (umask 077 && : >>"$run/$name.log")
    (
        # A lock or a pipe of the caller's, kept open by a server, would hold the caller up for ever.
        local fd
        for fd in /proc/self/fd/*; do
            fd=${fd##*/}
            if [ "$fd" -gt 2 ]; then
                exec {fd}>&- || true
            fi
        done
        # As in manifests/controller/controller.env, which says why.
        [ "$name" != controller ] || export GLIBC_TUNABLES=glibc.malloc.tcache_count=0 GNUTLS_NO_IMPLICIT_INIT=1
        umask 077
        cd /
        exec setsid "$@"
    ) </dev/null >>"$run/$name.log" 2>&1 &
    printf '%d\n' "$!" >"$run/$name.pid"
    disown "$!"
}

# process_wait RUN NAME SECONDS COMMAND...: until COMMAND succeeds. Ends with the tail of the log if the process
# dies before, or the time is over.
process_wait()
{
    local run=$1 name=$2 seconds=$3 deadline pid
    deadline=$(($(now_ms) + seconds * 1000))
    read -r pid <"$run/$name.pid"
    shift 3
    until "$@" >/dev/null 2>&1; do
        if ! readlink -- "/proc/$pid/exe" >/dev/null; then
            process_show_log "$run" "$name"
            die "$name ended while starting; its whole log: $run/$name.log"
        fi
        if [ "$(now_ms)" -ge "$deadline" ]; then
            process_show_log "$run" "$name"
            die "$name was not ready after $seconds seconds; its whole log: $run/$name.log"
        fi
        sleep 0.1
    done
}

process_show_log()
{
    {
        printf -- '--- last lines of %s\n' "$1/$2.log"
        tail -n 25 -- "$1/$2.log" 2>/dev/null || true
        printf -- '---\n'
    } >&2
}

process_gone()
{
    ! process_alive "$1" "$2"
}

# process_stop RUN NAME [SIGNAL [SECONDS]]: ask it to end, wait, insist with SIGKILL. Returns 1 if nothing ran.
process_stop()
{
    local run=$1 name=$2 signal=${3:-TERM} seconds=${4:-20} pid
    if ! pid=$(process_pid "$run" "$name"); then
        rm -f -- "$run/$name.pid"
        return 1
    fi
    kill -s "$signal" "$pid" 2>/dev/null || true
    if ! wait_for "$seconds" process_gone "$run" "$name"; then
        say "$name (pid $pid) did not end within $seconds seconds of SIG$signal; killing it"
        kill -s KILL "$pid" 2>/dev/null || true
        wait_for 10 process_gone "$run" "$name" || die "$name (pid $pid) cannot be killed"
    fi
    rm -f -- "$run/$name.pid"
}
