/* Connections to the databases that tenants live in: a few for all tenants together, opened when
 * needed, lent for one transaction, closed when they lie idle. Each transaction acts as
 * tenantry_app with one tenant's context, which ends with it. Thread-safe. */
#ifndef TENANTRY_GATEWAY_PLACES_H
#define TENANTRY_GATEWAY_PLACES_H

#include <stddef.h>
#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/base/call.h"
#include "controller/base/err.h"
#include "gateway/tenants.h"
#include "reconcilers/drivers/sql.h"

struct places;

/* password_file: of role tenantry_gateway, the same on each server; read at each connection, so
 * that it may change. */
struct places *places_new(const char *password_file, int connections);
void places_free(struct places *places); /* all must be returned */

/* A row of the registry's database_servers. */
struct place_server {
    const char *name;
    const char *host; /* hosts joined by ',' */
    int port;
    const char *sslmode;
    const char *ca_pem;
    const char *target_session_attrs;
};
/* The servers from now on; copied. */
void places_set_servers(struct places *places, const struct place_server *servers, size_t count);

/* A connection within a transaction as tenantry_app, app.tenant_id being the tenant, app.user_id
 * and app.user_role the user ("" if none). AUTO(place_loan) struct place_loan loan = {0}; Without
 * places_commit the transaction is rolled back. Errors: RETRY/ServerNotFound, RETRY/PoolExhausted,
 * and those of sql_connect. */
struct place_loan {
    struct places *places;
    struct sql_conn *conn;
    int slot;
};
MUST_CHECK int places_begin(struct places *places, const struct call *call,
                            const struct tenant_facts *facts, const char *user_id,
                            const char *user_role, struct place_loan *loan, struct err *err);
MUST_CHECK int places_commit(struct place_loan *loan, const struct call *call, struct err *err);
void places_return(struct place_loan *loan);
static inline void auto_release_place_loan(struct place_loan *loan)
{
    if (loan->places) {
        places_return(loan);
    }
}

#endif
