/* The statements behind quotas: one connection to the registry, made anew when it is lost. */
#ifndef TENANTRY_GATEWAY_QUOTA_SQL_H
#define TENANTRY_GATEWAY_QUOTA_SQL_H

#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "controller/base/secret.h"
#include "gateway/bucket.h"
#include "reconcilers/drivers/sql.h"

/* Of one thread. */
struct quota_session {
    const struct secret *url; /* borrowed */
    const char *replica;
    struct sql_conn *conn;
    int64_t closed_until_ms; /* after a failure nobody waits for the next one */
    struct err failure;
};
void quota_session_init(struct quota_session *session, const struct secret *url,
                        const char *replica);
void quota_session_release(struct quota_session *session);

/* quota_take and quota_give of the registry (migrations/0002_gateway.sql). Errors: those of
 * sql_connect_uri and sql_exec. */
MUST_CHECK int quota_session_take(struct quota_session *session, const char *tenant_id,
                                  const char *resource, const struct bucket_question *question,
                                  int64_t life_ms, struct bucket_grant *ret, struct err *err);
MUST_CHECK int quota_session_give(struct quota_session *session, const char *tenant_id,
                                  const char *resource, int64_t spent, struct err *err);

/* The test clock's offset as an interval, appended to a statement. */
void quota_append_ahead(struct sql *query);

#endif
