#include "gateway/quota_sql.h"

#include <stdlib.h>

#include "controller/base/clock.h"

enum { STATEMENT_MS = 3000, CLOSED_MS = 250, CONNECT_MS = 2000 };

void quota_session_init(struct quota_session *session, const struct secret *url,
                        const char *replica)
{
    *session = (struct quota_session){.url = url, .replica = replica};
}

void quota_session_release(struct quota_session *session)
{
    sql_close(session->conn);
    *session = (struct quota_session){0};
}

/* A connection that works, as far as can be known. */
static int open_session(struct quota_session *session, struct err *err)
{
    struct call call = {.deadline_ms = clock_monotonic_ms() + CONNECT_MS};

    if (session->conn && sql_is_healthy(session->conn)) {
        return 0;
    }
    sql_close(session->conn);
    session->conn = NULL;
    if (clock_monotonic_ms() < session->closed_until_ms) {
        *err = session->failure;
        return -1;
    }
    if (sql_connect_uri(&call, session->url, &session->conn, err)) {
        session->conn = NULL;
        session->failure = *err;
        session->closed_until_ms = clock_monotonic_ms() + CLOSED_MS;
        return -1;
    }
    return 0;
}

/* A connection that was lost while it lay idle shows at the next statement only; nothing harmful
 * can come of asking twice, since spent and until are told as they stand. */
static int run(struct quota_session *session, struct sql *query, struct sql_rows **ret_rows,
               struct err *err)
{
    for (int attempt = 0; attempt < 2; attempt++) {
        struct call call = {.deadline_ms = clock_monotonic_ms() + STATEMENT_MS};
        if (open_session(session, err)) {
            return -1;
        }
        if (sql_exec(session->conn, &call, query, ret_rows, err) == 0) {
            return 0;
        }
        if (!sql_err_unreachable(err)) {
            return -1;
        }
    }
    return -1;
}

void quota_append_ahead(struct sql *query)
{
    sql_param_int(query, clock_wall_offset_ms());
    SQL(query, "::float8 * interval '1 ms'");
}

int quota_session_take(struct quota_session *session, const char *tenant_id, const char *resource,
                       const struct bucket_question *question, int64_t life_ms,
                       struct bucket_grant *ret, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT until, used, quota_limit, others, seconds FROM public.quota_take(");
    sql_param(&query, tenant_id);
    SQL(&query, ", ");
    sql_param(&query, resource);
    SQL(&query, ", ");
    sql_param(&query, session->replica);
    SQL(&query, ", ");
    sql_param_int(&query, question->spent);
    SQL(&query, ", ");
    sql_param_int(&query, question->wanted);
    SQL(&query, ", ");
    sql_param_int(&query, life_ms);
    SQL(&query, "::float8 * interval '1 ms', ");
    quota_append_ahead(&query);
    SQL(&query, ")");
    if (run(session, &query, &rows, err)) {
        return -1;
    }
    *ret = (struct bucket_grant){
        .found = !sql_is_null(rows, 0, 2),
        .until = sql_int(rows, 0, 0),
        .used = sql_int(rows, 0, 1),
        .limit = sql_int(rows, 0, 2),
        .others = sql_int(rows, 0, 3),
        .seconds_left = sql_is_null(rows, 0, 4) ? -1 : strtod(sql_text(rows, 0, 4), NULL),
    };
    return 0;
}

int quota_session_give(struct quota_session *session, const char *tenant_id, const char *resource,
                       int64_t spent, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "SELECT public.quota_give(");
    sql_param(&query, tenant_id);
    SQL(&query, ", ");
    sql_param(&query, resource);
    SQL(&query, ", ");
    sql_param(&query, session->replica);
    SQL(&query, ", ");
    sql_param_int(&query, spent);
    SQL(&query, ", ");
    quota_append_ahead(&query);
    SQL(&query, ")");
    return run(session, &query, NULL, err);
}
