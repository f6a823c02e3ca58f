/* Tests against a real PostgreSQL: the server that the fixture of the test started, whose
 * superuser's URI is in TENANTRY_SERVER_URL. Failures end the test. */
#ifndef TENANTRY_TESTS_INTEGRATION_POSTGRES_H
#define TENANTRY_TESTS_INTEGRATION_POSTGRES_H

#include <stdint.h>

#include "controller/base/secret.h"
#include "reconcilers/drivers/sql.h"

/* The superuser's URI with more settings, "dbname=x&user=y", which win over those before. */
void postgres_uri(struct secret *ret, const char *more);

/* A connection by such a URI. */
struct sql_conn *postgres_connect(const char *more);

/* Run a statement, or several, as it stands; in the superuser's own connection if conn is NULL. */
void postgres_run(struct sql_conn *conn, const char *format, ...) PRINTF_LIKE(2, 3);

/* The first value that a query gives, in the superuser's own connection or in conn. */
char *postgres_text(struct sql_conn *conn, const char *format, ...) PRINTF_LIKE(2, 3); /* free it */
int64_t postgres_int(struct sql_conn *conn, const char *format, ...) PRINTF_LIKE(2, 3);

/* Ask until the query gives a number over 0; the test fails after 20 s. */
void postgres_wait(const char *format, ...) PRINTF_LIKE(1, 2);

/* The next transaction id that the server would hand out: equal before and after when no
 * transaction has written. */
int64_t postgres_next_xid(void);

/* Nothing is written between the two: neither did the server hand out a transaction id, nor did we
 * send a statement that might have written. */
struct quiet {
    int64_t next_xid;
    double writes; /* tenantry_sql_writes_total */
};
struct quiet postgres_quiet_begin(void);
void postgres_quiet_end(const struct quiet *quiet);

/* Close the superuser's own connection. */
void postgres_done(void);

#endif
