/* LISTEN and NOTIFY: what comes without being asked for. */
#include <poll.h>

#include "controller/base/clock.h"
#include "reconcilers/drivers/sql.h"
#include "reconcilers/drivers/sql_internal.h"

int sql_listen(struct sql_conn *conn, const struct call *call, const char *channel, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "LISTEN ");
    sql_ident(&query, channel);
    return sql_query(conn, call, &query, NULL, err);
}

static int deliver(struct sql_conn *conn, sql_notification_fn heard, void *context)
{
    PGnotify *notification = NULL;
    int count = 0;

    while ((notification = PQnotifies(conn->pg)) != NULL) {
        heard(context, notification->relname, notification->extra);
        PQfreemem(notification);
        count++;
    }
    return count;
}

int sql_hear(struct sql_conn *conn, const struct call *call, int64_t wait_ms,
             sql_notification_fn heard, void *context, struct err *err)
{
    int64_t until_ms = sql_until_ms(call, wait_ms);

    /* What came together with the answer to a statement lies in libpq already. */
    while (deliver(conn, heard, context) == 0) {
        switch (sql_wait_fd(PQsocket(conn->pg), POLLIN, call, until_ms, NULL)) {
        case SQL_WAIT_CANCELED:
            return err_set(err, ERR_CANCELED, "Canceled", "canceled");
        case SQL_WAIT_LATE:
            return 0;
        case SQL_WAIT_READY:
            if (!PQconsumeInput(conn->pg) || PQstatus(conn->pg) != CONNECTION_OK) {
                conn->broken = true;
                return sql_err_lost(err);
            }
            break;
        }
    }
    return 0;
}
