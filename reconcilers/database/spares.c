/* Keeping spare databases: one look, and at most one thing done, so that a server is never busy
 * with them for longer than one CREATE DATABASE; the next comes when its time has come. */
#include "reconcilers/database/spares.h"

#include "reconcilers/database/servers.h"

enum { MINUTE_MS = 60 * 1000 };

int spares_keep(struct servers *servers, struct sql_conn *conn, const struct call *call,
                struct arena *arena, const struct database_server *server, int64_t tenants,
                struct spares_state *ret, struct err *err)
{
    int64_t wanted = spares_wanted(server, tenants);
    int64_t pace_ms = MINUTE_MS / (server->spare_per_minute > 0 ? server->spare_per_minute : 1);
    struct spare *seen = NULL;
    size_t count = 0;
    struct spares_plan plan;

    *ret = (struct spares_state){0};
    if (wanted == 0 && server->status_spares <= 0) {
        return 0;
    }
    if (spares_observe(conn, call, arena, &seen, &count, err)) {
        return -1;
    }
    spares_plan(arena, seen, count, wanted, &plan);
    ret->ready = plan.before;
    if (plan.action == SPARES_CREATE &&
        servers_part_stands(servers, server->name, SERVER_SPARE, pace_ms)) {
        ret->next_ms = pace_ms;
        return 0;
    }
    if (spares_execute(conn, call, &plan, err)) {
        return -1;
    }
    if (plan.action == SPARES_CREATE) {
        servers_note_part(servers, server->name, SERVER_SPARE);
    }
    ret->ready = plan.after;
    ret->next_ms = plan.more ? pace_ms : 0;
    return 0;
}
