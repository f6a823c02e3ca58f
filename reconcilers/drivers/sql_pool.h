/* A few connections to one database, shared by threads. Broken ones and those left in a transaction
 * are closed on return; those idle for 60 s are closed when the pool is next used; one that served
 * 1,000 borrows is replaced, since a backend's caches only grow. Thread-safe. */
#ifndef TENANTRY_DRIVERS_SQL_POOL_H
#define TENANTRY_DRIVERS_SQL_POOL_H

#include "controller/base/attributes.h"
#include "controller/base/call.h"
#include "controller/base/err.h"
#include "reconcilers/drivers/sql.h"

struct sql_pool;

/* Opens one connection for the pool. */
typedef int (*sql_open_fn)(void *context, const struct call *call, struct sql_conn **ret,
                           struct err *err);

struct sql_pool *sql_pool_new(const char *name, int size, sql_open_fn open, void *context);
void sql_pool_free(struct sql_pool *pool); /* all must be returned */

/* Waits for one, up to the call's deadline or 10 s: RETRY/PoolExhausted. */
MUST_CHECK int sql_pool_borrow(struct sql_pool *pool, const struct call *call,
                               struct sql_conn **ret, struct err *err);
void sql_pool_return(struct sql_pool *pool, struct sql_conn *conn); /* NULL is fine */
/* Close the idle ones, and the borrowed ones on return: after credentials changed. */
void sql_pool_reset(struct sql_pool *pool);

/* Block lifetime: AUTO(sql_loan) struct sql_loan loan = {0}; */
struct sql_loan {
    struct sql_pool *pool;
    struct sql_conn *conn;
};
MUST_CHECK int sql_loan_take(struct sql_loan *loan, struct sql_pool *pool, const struct call *call,
                             struct err *err);
static inline void auto_release_sql_loan(struct sql_loan *loan)
{
    if (loan->conn) {
        sql_pool_return(loan->pool, loan->conn);
    }
}

#endif
