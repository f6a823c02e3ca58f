# shellcheck shell=bash
# What hack/postgres/ and hack/up share about PostgreSQL. Source base.sh first.

# Nothing here is meant for the server that the caller's environment names.
unset "${!PG@}"

# postgres_bin: the folder of the newest server's programs; TENANTRY_POSTGRES_BIN names another.
postgres_bin()
{
    local folder
    folder=${TENANTRY_POSTGRES_BIN:-$(find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)}
    if [ -z "$folder" ] || [ ! -x "$folder/initdb" ] || [ ! -x "$folder/postgres" ]; then
        die "no PostgreSQL server found: apt-get install postgresql, or set TENANTRY_POSTGRES_BIN to the folder that holds initdb and postgres"
    fi
    printf '%s\n' "$folder"
}

# postgres_user: as whom the server runs. It refuses root, so root lends it the user `postgres`.
postgres_user()
{
    if [ "$(id -u)" -eq 0 ]; then
        id -u postgres >/dev/null 2>&1 || die "PostgreSQL does not run as root, and there is no user postgres: apt-get install postgresql-common makes it"
        echo postgres
    else
        id -un
    fi
}

# postgres_lend: print, one word a line, the command that runs another as that user in its own place: no helper stays between.
postgres_lend()
{
    local user
    user=$(postgres_user)
    if [ "$user" != "$(id -un)" ]; then
        printf '%s\n' setpriv "--reuid=$user" "--regid=$user" --init-groups --reset-env --
    fi
}

as_postgres()
{
    local -a lend
    mapfile -t lend < <(postgres_lend)
    "${lend[@]}" "$@"
}

# postgres_host RUN: the address that the server of a run folder listens on.
postgres_host()
{
    cat -- "$1/postgres-address" 2>/dev/null || echo 127.0.0.1
}

# postgres_url RUN USER PASSWORD DATABASE: a libpq URI that checks the server's certificate. PASSWORD may be empty.
postgres_url()
{
    printf 'postgresql://%s@%s:%s/%s?sslmode=verify-full&sslrootcert=%s\n' \
        "$2${3:+:$3}" "$(postgres_host "$1")" "$(stable_port "$1" postgres)" "$4" "$1/postgres-ca.crt"
}

# postgres_query URL: run the SQL of stdin in one session, stop at the first error, print rows bare.
postgres_query()
{
    PGCONNECT_TIMEOUT=10 "${PSQL:-psql}" --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 --dbname "$1" --file -
}
