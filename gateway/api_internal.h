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

/* Each fills call->status and call->answer. */
void api_list_users(struct api_call *call);
void api_show_tenant(struct api_call *call);
void api_login(struct api_call *call);
void api_change_password(struct api_call *call);
void api_reset_password(struct api_call *call);
void api_list_keys(struct api_call *call);
void api_create_key(struct api_call *call);
void api_revoke_key(struct api_call *call);
void api_list_quotas(struct api_call *call);
void api_change_quotas(struct api_call *call);
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
