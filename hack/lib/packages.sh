# shellcheck shell=bash
# What hack/ needs from the machine, and how to get it. Source base.sh first.
#
# Each need is KIND:NAME=PACKAGE. KIND `command` is met by a program on PATH, `library` by a pkg-config module, `file` by a path (a
# pattern will do); PACKAGE is Debian's, installed only if the need is not met. So what was built by hand counts too.

NEEDS_BUILD=(
    command:gcc=gcc command:cmake=cmake command:ninja=ninja-build command:pkg-config=pkg-config file:/usr/include/stdio.h=libc6-dev
    library:libcurl=libcurl4-openssl-dev library:yaml-0.1=libyaml-dev library:jansson=libjansson-dev library:libpq=libpq-dev
    library:libwebsockets=libwebsockets-dev library:openssl=libssl-dev library:libcrypt=libcrypt-dev
    library:cmocka=libcmocka-dev library:libxxhash=libxxhash-dev library:expat=libexpat1-dev
)
NEEDS_RUN=(
    command:curl=curl command:jq=jq command:openssl=openssl command:python3=python3 command:diff=diffutils
    command:flock=util-linux command:setpriv=util-linux file:/etc/ssl/certs/ca-certificates.crt=ca-certificates
    command:psql=postgresql-client "file:/usr/lib/postgresql/*/bin/postgres=postgresql"
    file:/usr/lib/python3/dist-packages/aiosmtpd/__init__.py=python3-aiosmtpd
)
# What tests run beside that: nginx in front of the gateway.
NEEDS_TEST=(
    command:nginx=nginx-light
)
NEEDS_CHECK=(
    command:clang-19=clang-19 command:clang-format-19=clang-format-19 command:clang-tidy-19=clang-tidy-19 command:shellcheck=shellcheck
)
export NEEDS_BUILD NEEDS_RUN NEEDS_TEST NEEDS_CHECK

need_met()
{
    local kind=${1%%:*} name=${1#*:}
    name=${name%=*}
    case $kind in
        command) have "$name" ;;
        library) have pkg-config && pkg-config --exists "$name" ;;
        file)
            [[ -n ${TENANTRY_POSTGRES_BIN:-} && $name == */bin/postgres ]] || compgen -G "$name" >/dev/null
            ;;
        *) die "unknown kind of need: $1" ;;
    esac
}

# missing_packages NEED...: the packages of those that are not met, one a line.
missing_packages()
{
    local need
    for need in "$@"; do
        need_met "$need" || printf '%s\n' "${need##*=}"
    done | sort -u
}

# install_packages PACKAGE...: by apt-get, without asking.
install_packages()
{
    local log drop_in=/etc/postgresql-common/createcluster.d/tenantry.conf
    log=$(mktemp)
    say "installing $*"
    export DEBIAN_FRONTEND=noninteractive
    # PostgreSQL's package would make a server and start it on port 5432, which nobody asked for: this one runs its own.
    case " $* " in
        *' postgresql '*)
            mkdir -p -- "${drop_in%/*}"
            echo 'create_main_cluster = false' >"$drop_in"
            ;;
    esac
    if ! apt-get install -y --no-install-recommends "$@" >"$log" 2>&1; then
        # Most often the lists of packages are missing or old.
        if ! { apt-get update && apt-get install -y --no-install-recommends "$@"; } >"$log" 2>&1; then
            rm -f -- "$drop_in"
            tail -n 15 -- "$log" >&2
            die "apt-get could not install $*; its whole output: $log"
        fi
    fi
    rm -f -- "$drop_in" "$log"
}

# ensure_needs NEED...: install what is missing, or say how to.
ensure_needs()
{
    local -a missing
    local need
    mapfile -t missing < <(missing_packages "$@")
    [ ${#missing[@]} -gt 0 ] || return 0
    have apt-get || die "missing: ${missing[*]} (Debian's names). There is no apt-get here; install them with the package manager of this system and try again"
    [ "$(id -u)" -eq 0 ] || die "missing: ${missing[*]}. Install them and try again:"$'\n'"    sudo apt-get install ${missing[*]}"
    install_packages "${missing[@]}"
    hash -r
    for need in "$@"; do
        need_met "$need" || die "${need##*=} is installed, yet ${need%=*} is not found"
    done
}
