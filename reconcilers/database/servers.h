/* The database servers that tenants live on: how to reach each, as whom, and which one a new tenant
 * gets. */
#ifndef TENANTRY_DATABASE_SERVERS_H
#define TENANTRY_DATABASE_SERVERS_H

#include <stdbool.h>

#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "controller/kube/api.h"
#include "controller/runtime/cache.h"
#include "controller/runtime/outcome.h"
#include "controller/runtime/reconcile.h"
#include "reconcilers/drivers/sql.h"
#include "reconcilers/model/tenant.h"

struct servers;

/* cache: of DatabaseServers, borrowed. Credentials are fetched from Secrets in system_namespace
 * when first needed and again when the server refuses them, or every 5 minutes. */
struct servers *servers_new(struct kube_client *kube, struct cache *cache,
                            const char *system_namespace, int connections_per_server);
void servers_free(struct servers *servers);

/* A connection of the controller's own role to `database` on `server`, behind the server's guard.
 * To the maintenance database (database NULL) and the shared one they are pooled; to a tenant's
 * own they are opened and closed. AUTO(server_loan) struct server_loan loan = {0}; Errors:
 * RETRY/ServerNotFound (no such DatabaseServer object), RETRY/ServerCredentialsMissing,
 * BackendBusy, and those of sql_connect. */
struct server_loan {
    void *internal; /* NULL: nothing borrowed */
    struct sql_conn *conn;
    struct err failure; /* set it to the error of a failed query, to tell the guard */
};
MUST_CHECK int servers_borrow(struct servers *servers, struct reconcile *rc, const char *server,
                              const char *database, struct server_loan *loan, struct err *err);
void servers_return(struct server_loan *loan);
static inline void auto_release_server_loan(struct server_loan *loan)
{
    if (loan->internal) {
        servers_return(loan);
    }
}

/* What many tenants of a server need is looked at by one of them a while: each may ask whether
 * another saw it stand less than max_age_ms ago, and say so. Forgotten when the shared database is
 * found missing, or the DatabaseServer changes. */
enum server_part {
    SERVER_SHARED_DATABASE,
    SERVER_SHARED_ROWS,
    SERVER_SPARE, /* one was made */
    SERVER_PARTS
};
bool servers_part_stands(struct servers *servers, const char *server, enum server_part part,
                         int64_t max_age_ms);
void servers_note_part(struct servers *servers, const char *server, enum server_part part);

/* What a client of a tenant on this server must know: in the arena. */
struct server_endpoint {
    const char *host; /* hosts joined by ',' */
    int port;
    const char *sslmode;
    const char *ca_pem; /* "" if none */
    const char *target_session_attrs;
};
MUST_CHECK int servers_endpoint(struct servers *servers, const struct call *call,
                                struct arena *arena, const char *server,
                                struct server_endpoint *ret, struct err *err);

/* The controller of DatabaseServer objects: Reachable, Hardened, Ready, version, tenants, in-use
 * label. rc->environment is struct services. */
struct outcome database_server_reconcile(struct reconcile *rc);

#endif
