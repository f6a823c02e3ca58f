/* What the files of the API share. */
#ifndef TENANTRY_GATEWAY_API_INTERNAL_H
#define TENANTRY_GATEWAY_API_INTERNAL_H

#include "controller/base/attributes.h"
#include "controller/base/call.h"
#include "controller/base/err.h"
#include "controller/base/js.h"
#include "controller/base/jsonw.h"
#include "gateway/api.h"
#include "reconcilers/drivers/sql.h"

/* What each route does, in a worker's thread: fills call->status and call->answer, also with what
 * went wrong (docs/gateway.md has the answers). */
/* GET /api/users: those of the tenant, without their hashes. */
void api_list_users(struct api_call *call);
/* GET /api/tenant: name, tier, features, settings, quotas with what remains. */
void api_show_tenant(struct api_call *call);
/* POST /api/login: a session for an address and its password; who fails often has to wait. */
void api_login(struct api_call *call);
/* POST /api/password: the caller's own, who proves the current one; ends his sessions. */
void api_change_password(struct api_call *call);
/* POST /api/password-resets: a temporary password for a user, by an owner or admin. */
void api_reset_password(struct api_call *call);
/* GET /api/keys: the caller's; everybody's for an owner or admin. */
void api_list_keys(struct api_call *call);
/* POST /api/keys: a key of the caller's, shown this once. */
void api_create_key(struct api_call *call);
/* DELETE /api/keys/ID: of those that the caller sees; every gateway refuses it from then on. */
void api_revoke_key(struct api_call *call);
/* GET /api/quotas. */
void api_list_quotas(struct api_call *call);
/* POST /api/quotas: all of the changes, or none where one does not fit (429). */
void api_change_quotas(struct api_call *call);
/* POST /api/payments: recorded once by its external id. */
void api_record_payment(struct api_call *call);

/* The answer {"error": text}. */
void api_fail(struct api_call *call, int status, const char *text);
/* A fault of a database: logged, and told in the contract's words. */
void api_fault(struct api_call *call, const struct err *err);

/* The call for everything that one API request does. */
struct call api_deadline(void);

/* The body as a JSON object; false, and the answer is set, when it is none. */
MUST_CHECK bool api_read_body(struct api_call *call, json_t **ret);

/* One statement that reads, or writes, in the tenant's database and as the caller, in a transaction
 * that is committed when this returns 0. The errors are those of places_begin and sql_query. */
MUST_CHECK int api_read(struct api_call *call, struct sql *query, struct sql_rows **ret,
                        struct err *err);
MUST_CHECK int api_write(struct api_call *call, struct sql *query, struct sql_rows **ret,
                         struct err *err);

/* Append "to_char(COLUMN ...)": RFC 3339, UTC. column is a literal of our source. */
#define API_TIME(column) "to_char(" column " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"

/* A column as a JSON member, null when it is NULL. */
void api_member(struct jsonw *writer, const char *name, const struct sql_rows *rows, int row,
                int column);

/* Append the tenant's quotas as a JSON array member, from the registry. */
MUST_CHECK int api_append_quotas(struct api_call *call, const struct call *limits,
                                 struct jsonw *writer, const char *name, struct err *err);

#endif
