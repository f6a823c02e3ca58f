/* What the files about servers share with each other and with tests. */
#ifndef TENANTRY_DATABASE_SERVERS_INTERNAL_H
#define TENANTRY_DATABASE_SERVERS_INTERNAL_H

#include "controller/base/attributes.h"
#include "controller/base/call.h"
#include "controller/base/err.h"
#include "controller/base/secret.h"
#include "reconcilers/database/servers.h"
#include "reconcilers/model/tenant.h"

/* Whom the controller is on a server, and by whose word the server is the right one. */
struct server_credentials {
    char *user; /* heap */
    struct secret password;
    char *ca_pem; /* heap; "" if the machine's own authorities count */
};
void server_credentials_release(struct server_credentials *credentials);
static inline void auto_release_server_credentials(struct server_credentials *credentials)
{
    server_credentials_release(credentials);
}

/* Where credentials come from: by default the Secrets that the object names. *ret is zeroed.
 * Errors: RETRY/ServerCredentialsMissing and those of kube_secret_fetch. */
typedef int (*server_credentials_fn)(void *context, const struct call *call,
                                     const struct database_server *server,
                                     struct server_credentials *ret, struct err *err);
/* Before the first use; for programs without a cluster. */
void servers_set_credentials(struct servers *servers, server_credentials_fn fetch, void *context);
/* Before the first use. Credentials are asked for again after max_age_ms; where that fails, those
 * read last count, and are not asked for anew for retry_ms. */
void servers_set_credentials_age(struct servers *servers, int64_t max_age_ms, int64_t retry_ms);

/* How another program connects as the controller. *ret lives as long as rc->arena and *credentials,
 * which the caller releases. Errors: RETRY/ServerNotFound, RETRY/ServerCredentialsMissing. */
MUST_CHECK int servers_target(struct servers *servers, struct reconcile *rc, const char *server,
                              const char *database, struct server_credentials *credentials,
                              struct sql_target *ret, struct err *err);

/* Let go of what is kept of a server whose object is gone. */
void servers_forget(struct servers *servers, const char *server);

/* Whether a login of the tenant's works: connects as it, and closes. Errors: those of
 * servers_borrow; RETRY/DatabaseCredentials when the server refuses it. */
MUST_CHECK int servers_try_login(struct servers *servers, struct reconcile *rc, const char *server,
                                 const char *database, const char *user,
                                 const struct secret *password, struct err *err);

#endif
