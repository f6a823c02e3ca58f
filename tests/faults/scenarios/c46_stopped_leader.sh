# shellcheck shell=bash
# The leader is stopped with the Lease in its hand, as a machine that is paused. When it goes on another leads, and it finds work waiting in its
# sockets: it writes nothing, sends no statement, and ends (C46).

start_proxied
need within 60 "the first one leads" leads page
start_second
tenant stop1 '.spec.deletionPolicy = "Delete"'
need within 60 "a tenant is Ready" ready stop1
check "the second one stands by" 1 "$(page_b metrics | grep -c '^leader_election_master_status{.*} 0$')"
holds "the first one's requests are seen" test -n "$(logged 0 '.kind == "kube" and .write')"
holds "and its statements" test -n "$(logged 0 '.kind == "sql" and .path == "tenantry_registry"')"
pid=$(process_pid "$RUN" controller)
start=$(now_ms)
kill -STOP "$pid"
within 60 "stopped, it is followed by the second" leads page_b
tenant stop2 '.spec.deletionPolicy = "Delete"'
within 60 "which does the work" ready stop2
long_enough()
{
    [ "$LONG" = no ] || [ $(($(now_ms) - start)) -ge 60000 ]
}
wait_for 70 long_enough
tenant stop3 '.spec.deletionPolicy = "Delete"'
edit stop1 '{"spec": {"displayName": "Changed"}}'
since=$(log_mark)
kill -CONT "$pid"
within 30 "continued after $((($(now_ms) - start) / 1000)) s, it ends" process_gone "$RUN" controller
matches "and says why" 'leadership lost' "$(tail -n 3 -- "$RUN/controller.log")"
check "it wrote nothing to the API" '' "$(logged "$since" '.kind == "kube" and (.write or .verb == "PUT")')"
check "and sent no statement" '' "$(logged "$since" '.kind == "sql" and .verb != "CONNECT"')"
within 60 "the second one did what waited" eval 'ready stop3 && ready stop1'
purge stop1 stop2 stop3
