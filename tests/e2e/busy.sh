# shellcheck shell=bash
# Deleting a database that is in use: sessions are ended, those that come back too; one that may not be ended is named and waited for.

left()
{
    server "SELECT datname::text FROM pg_database WHERE datname = 'tenant_$1' UNION ALL SELECT rolname FROM pg_roles WHERE rolname LIKE 'tenant\\_$1.%' ORDER BY 1"
}

# hammer URL: connect again and again, as a program with a pool does, until the file $RUN/hammer is gone.
hammer()
{
    while [ -e "$RUN/hammer" ]; do
        PGCONNECT_TIMEOUT=5 PGAPPNAME=e2e-hammer psql --no-psqlrc --quiet --dbname "$1" --command 'SELECT pg_sleep(10)' >/dev/null 2>&1 || true
    done
}

tenant busy1 '.spec.deletionPolicy = "Delete" | .spec.tier = "premium"'
tenant busy2 '.spec.deletionPolicy = "Delete"'
need within 60 "a tenant is Ready" ready busy1
need within 60 "another is Ready" ready busy2
url=$(uri busy1)
touch "$RUN/hammer"
trap 'rm -f -- "$RUN/hammer"' EXIT
session_open idle "$url" e2e-idle "BEGIN; INSERT INTO applications (user_id, name) SELECT id, 'open' FROM users;"
hammer "$url" &
hammer "$url" &
as_tenant busy1 "BEGIN; INSERT INTO applications (user_id, name) SELECT id, 'prepared' FROM users; PREPARE TRANSACTION 'e2e'"
within 20 "sessions are open, and come back" says t server "SELECT count(*) = 3 FROM pg_stat_activity WHERE datname = 'tenant_busy1' AND application_name LIKE 'e2e-%'"
check "and a transaction is prepared" 1 "$(server "SELECT count(*) FROM pg_prepared_xacts WHERE database = 'tenant_busy1'")"

holds "the tenant goes all the same" remove busy1
check "nothing of it is left" '' "$(left busy1)"
check "no transaction either" 0 "$(server 'SELECT count(*) FROM pg_prepared_xacts')"
rm -f -- "$RUN/hammer"
session_close idle
wait

# A session that may not be ended.
url=$(postgres_url "$RUN" postgres '' tenant_busy2)
session_open admin "$url" e2e-backup 'SELECT 1;'
pid=$(server "SELECT pid FROM pg_stat_activity WHERE application_name = 'e2e-backup'")
kubectl delete tenant busy2 --wait=false >/dev/null
within 60 "a superuser's session is waited for" says 'False DatabaseBusy' condition busy2 Ready
check "and named: pid, user, application" "t t t" "$(m=$(message busy2); echo "$([[ $m == *"$pid"* ]] && echo t) $([[ $m == *postgres* ]] && echo t) $([[ $m == *e2e-backup* ]] && echo t)")"
check "kstatus calls it terminating" Terminating "$(verdict busy2)"
check "the session was not ended" 1 "$(server "SELECT count(*) FROM pg_stat_activity WHERE pid = $pid")"
check "the database is there" 1 "$(server "SELECT count(*) FROM pg_database WHERE datname = 'tenant_busy2'")"
refused "the tenant is out already" '' as_tenant busy2 'SELECT 1'
session_close admin
within 60 "once it has ended, the tenant goes" gone tenant busy2
check "and nothing of it is left" '' "$(left busy2)"

# The server is down while a tenant is deleted.
tenant busy3 '.spec.deletionPolicy = "Delete"'
need within 60 "a third tenant is Ready" ready busy3
"$ROOT/hack/postgres/stop" "$RUN" 2>/dev/null
kubectl delete tenant busy3 --wait=false >/dev/null
within 60 "with the server down, deletion says why it waits" says 'False DatabaseUnreachable' condition busy3 Ready
"$ROOT/hack/postgres/start" "$RUN" --no-fsync --set max_prepared_transactions=10 2>/dev/null
within 90 "with the server back it goes on" gone tenant busy3
check "and ends" '' "$(left busy3)"
