/* What the files of the SQL driver share with each other and with their tests. */
#ifndef TENANTRY_DRIVERS_SQL_INTERNAL_H
#define TENANTRY_DRIVERS_SQL_INTERNAL_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/base/call.h"
#include "controller/base/err.h"
#include "reconcilers/drivers/sql.h"

enum {
    SQL_STATEMENT_TIMEOUT_MS = 30 * 1000,
    SQL_LOCK_TIMEOUT_MS = 5 * 1000,
    SQL_IDLE_IN_TRANSACTION_TIMEOUT_MS = 60 * 1000,
    /* How much longer than the server's own statement timeout we wait before we take it for hung.
     */
    SQL_HUNG_MARGIN_MS = 5 * 1000,
};

struct sql_conn {
    PGconn *pg;
    bool used_up;     /* whoever has it may go on, and nobody after */
    bool broken;      /* not to be used again, whatever libpq thinks of it */
    int64_t limit_ms; /* of one statement, on our side */

    /* Of the pool that lent it; no one else looks. */
    struct sql_conn *pool_next;
    uint64_t pool_generation;
    int64_t pool_idle_since_ms;
    int pool_borrows;
};

/* ---- waiting (sql.c) ---- */

enum sql_wait { SQL_WAIT_READY, SQL_WAIT_LATE, SQL_WAIT_CANCELED };

/* Wait until fd has one of the poll events, the call is canceled, or the monotonic time until_ms.
 * ret_events (may be NULL) = what poll reported. */
enum sql_wait sql_wait_fd(int fd, short events, const struct call *call, int64_t until_ms,
                          short *ret_events);
/* The monotonic time limit_ms from now, or the call's deadline if that is earlier. */
int64_t sql_until_ms(const struct call *call, int64_t limit_ms);

/* ---- errors (sql_error.c) ---- */

/* Each fills err and returns -1. */
int sql_err_set(struct err *err, const char *sqlstate, const char *message);
int sql_err_from_result(const PGresult *result, struct err *err);
/* From libpq's text of a failed connection, made with PQERRORS_VERBOSE. */
int sql_err_from_connect(const char *text, struct err *err);
/* No result, and the connection is gone. */
int sql_err_lost(struct err *err);

/* No connection in time. Unreachable only if the server had a fair chance since then: a caller
 * whose own time was nearly over must not make others believe that the server is away. */
int sql_err_late(int64_t since_ms, const char *message, struct err *err);

/* ---- connecting (sql_connect.c) ---- */

/* The file with the system's certificate authorities, for libpq before 16, which does not know
 * where it is ("system" from then on); NULL if there is none. */
const char *sql_system_authorities(void);

/* ---- names to addresses (sql_resolve.c) ---- */

enum { SQL_ADDRESSES_MAX = 16, SQL_ADDRESS_BYTES = 64 };

struct sql_addresses {
    char text[SQL_ADDRESSES_MAX][SQL_ADDRESS_BYTES];
    size_t count;
};

/* Whether libpq takes host as it is, without asking a name server: an address or a socket folder.
 */
bool sql_host_is_literal(const char *host);
/* Ask the system's resolver. It cannot be interrupted, so it runs in a thread of its own, which is
 * left to itself when the call is canceled or late. */
MUST_CHECK int sql_resolve(const char *host, const struct call *call, int64_t until_ms,
                           struct sql_addresses *ret, struct err *err);

/* ---- building (sql_build.c) ---- */

/* 0, or TERMINAL/InvalidStatement when the query was marked failed while it was built. */
MUST_CHECK int sql_check_built(const struct sql *query, struct err *err);

#endif
