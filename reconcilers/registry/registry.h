/* The registry: the platform's own database, where what must outlive the cluster stands (contract
 * §2): ids, ownership, quotas, people, billing, what is retained. Programs of others read and
 * update it too. */
#ifndef TENANTRY_REGISTRY_REGISTRY_H
#define TENANTRY_REGISTRY_REGISTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/base/call.h"
#include "controller/base/err.h"
#include "controller/base/secret.h"
#include "controller/runtime/backend.h"
#include "controller/runtime/reconcile.h"
#include "reconcilers/drivers/sql.h"
#include "reconcilers/drivers/sql_pool.h"

struct registry;

/* url: a libpq URI. No connection is made yet. */
struct registry *registry_new(const struct secret *url, int connections);
void registry_free(struct registry *registry);

/* Bring the schema to this program's version, and close the database to PUBLIC where the role owns
 * it (a warning is logged where it does not). Writes nothing when all is so already. Idempotent,
 * safe with several programs. Errors: TERMINAL/MigrationMismatch, RETRY/InsufficientPrivilege with
 * what to grant, and those of sql_connect_uri. */
MUST_CHECK int registry_migrate(struct registry *registry, const struct call *call,
                                struct err *err);

/* A connection of the caller's own, beside the pool: to listen on. Errors: those of
 * sql_connect_uri. */
MUST_CHECK int registry_connect(struct registry *registry, const struct call *call,
                                struct sql_conn **ret, struct err *err);

/* Borrow a connection for one step, behind the registry's backend guard.
 *     AUTO(registry_loan) struct registry_loan loan = {0};
 *     if (registry_borrow(registry, rc, &loan, err)) {
 *         return -1;
 *     }
 *     if (sql_query(loan.conn, ...)) {
 *         return registry_loan_report(&loan, err);
 *     }
 */
struct registry_loan {
    struct registry *registry;
    struct sql_conn *conn;
    struct err failure;
};
MUST_CHECK int registry_borrow(struct registry *registry, struct reconcile *rc,
                               struct registry_loan *loan, struct err *err);
/* After a failed query: tells the guard, puts "registry: " in front. Returns -1. */
int registry_loan_report(struct registry_loan *loan, struct err *err);
void registry_return(struct registry_loan *loan);
static inline void auto_release_registry_loan(struct registry_loan *loan)
{
    if (loan->registry) {
        registry_return(loan);
    }
}

/* The digest last known to be in force of a secret of the tenant ("owner", "login_a", "login_b"),
 * to tell a Secret that was lost or edited without ever storing a password. "" when there is none.
 * Digests are SHA-256 of generated passwords of over 140 bits. */
MUST_CHECK int registry_digest_get(struct registry *registry, struct reconcile *rc,
                                   const char *tenant_id, const char *kind, char ret[65],
                                   struct err *err);
MUST_CHECK int registry_digest_put(struct registry *registry, struct reconcile *rc,
                                   const char *tenant_id, const char *kind, const char *digest,
                                   struct err *err);

/* What was left behind for the tenant, listed in tenant_retained; one row a (tenant, kind, name,
 * location), repeated calls change nothing. delete_after_s: wall seconds, 0 = never. */
struct retained {
    const char *kind; /* database, schema, rows, role, bucket */
    const char *name;
    const char *location;
    int64_t size_bytes;
};
MUST_CHECK int registry_retain(struct registry *registry, struct reconcile *rc,
                               const char *tenant_id, const char *subdomain,
                               const struct retained *items, size_t count, int64_t delete_after_s,
                               struct err *err);
/* Forget such rows: after adoption, or once the thing was removed. name NULL = all of the tenant.
 */
MUST_CHECK int registry_unretain(struct registry *registry, struct reconcile *rc,
                                 const char *tenant_id, const char *kind, const char *name,
                                 struct err *err);

/* Where a DatabaseServer is found, for the gateway: a row of database_servers; no write when equal.
 * With it the rights of role tenantry_gateway in the registry, where that role exists and lacks
 * them. Nothing here is secret. */
struct registry_server {
    const char *name;
    const char *host; /* hosts joined by ',' */
    int port;
    const char *sslmode;
    const char *ca_pem;               /* "" if none */
    const char *target_session_attrs; /* "" if none */
};
MUST_CHECK int registry_server_put(struct registry *registry, struct reconcile *rc,
                                   const struct registry_server *server, struct err *err);
/* Forget a server whose object is gone. */
MUST_CHECK int registry_server_remove(struct registry *registry, struct reconcile *rc,
                                      const char *name, struct err *err);
/* Grant role tenantry_gateway what it needs in the registry, if it exists and lacks any of it. */
MUST_CHECK int registry_grant_gateway(struct sql_conn *conn, const struct call *call,
                                      struct err *err);

/* current_usage of a resource that the controller itself sees the level of (storage_mb,
 * sandboxes); no write when equal or without a row. */
MUST_CHECK int registry_quota_use(struct registry *registry, struct reconcile *rc,
                                  const char *tenant_id, const char *resource, int64_t used,
                                  struct err *err);

/* tenant_users row of a person; idempotent, no write when equal. status "active" or "disabled". */
MUST_CHECK int registry_user_put(struct registry *registry, struct reconcile *rc,
                                 const char *tenant_id, const char *email, const char *role,
                                 const char *status, struct err *err);
/* After the owner's address changed: the row of role owner becomes this address. */
MUST_CHECK int registry_owner_put(struct registry *registry, struct reconcile *rc,
                                  const char *tenant_id, const char *email, struct err *err);

#endif
