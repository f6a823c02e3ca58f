/* PostgreSQL through libpq: connections that can be canceled, queries that cannot be injected.
 *
 * A query is built from literals, quoted identifiers, quoted literals and bound parameters; a `char
 * *` reaches its text by no other path. Connections are non-blocking inside: connect and every
 * query honour the call's deadline and cancellation (then PQcancel is sent). client_encoding is
 * UTF8, standard_conforming_strings on, search_path pg_catalog, application_name "tenantry",
 * statement, lock and idle-in-transaction timeouts set. A connection belongs to one thread at a
 * time.
 *
 * A statement that was canceled, or had no time left, is canceled on the server too, and its
 * connection is not used again. TLS is verified (verify-full, the system's authorities) unless the
 * settings say otherwise.
 *
 * Errors carry the SQLSTATE in err.code; class and reason follow from it (sql_error_table):
 * - 08..., 57P01, 57P02, 57P03, 57P05, no connection: RETRY/DatabaseUnreachable
 * - 28...: RETRY/DatabaseCredentials
 * - 53...: RETRY/DatabaseOverloaded
 * - 25006: RETRY/DatabaseReadOnly
 * - 57014: RETRY/StatementTimeout (also by the call's deadline)
 * - 55P03: RETRY/LockTimeout
 * - 55006: WAIT/DatabaseBusy
 * - 40001, 40P01: CONFLICT/SerializationFailure
 * - 42501: RETRY/InsufficientPrivilege
 * - anything else: RETRY/SQLError; the caller knows better where it expected it
 * And without a SQLSTATE:
 * - CANCELED/Canceled, CANCELED/LeadershipLost (of writes), RETRY/DeadlineExceeded
 * - RETRY/ResponseTooLarge: more rows or bytes than allowed
 * - TERMINAL/InvalidStatement: it could not be built
 * - TERMINAL/InvalidConnectionString
 * Messages hold the primary message of the server at most, never statement, detail or context. */
#ifndef TENANTRY_DRIVERS_SQL_H
#define TENANTRY_DRIVERS_SQL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/base/arena.h"
#include "controller/base/attributes.h"
#include "controller/base/buf.h"
#include "controller/base/call.h"
#include "controller/base/err.h"
#include "controller/base/secret.h"

enum { SQL_IDENTIFIER_BYTES = 63 }; /* NAMEDATALEN - 1, PostgreSQL "Identifiers and Key Words" */
enum { SQL_PARAMETERS_MAX = 32 };

/* ---- building ---- */

struct sql {
    struct buf text;                            /* at most 1 MiB */
    const char *parameters[SQL_PARAMETERS_MAX]; /* borrowed; NULL is SQL NULL */
    int parameter_count;
    struct arena arena; /* of numbers turned into text */
    bool failed; /* too long, an identifier over 63 bytes or not UTF-8, too many parameters */
};
/* Empty; released by the caller. */
void sql_init(struct sql *query);
/* Empty again, with its memory kept for the next text. */
void sql_clear(struct sql *query);
/* Wipe and free it. */
void sql_release(struct sql *query);
static inline void auto_release_sql(struct sql *query)
{
    sql_release(query);
}

/* Append text that is a literal in our source: SQL(&q, "DROP ROLE "); */
#define SQL(query, literal) sql_append_literal((query), "" literal, sizeof(literal) - 1)
/* For the macro SQL alone: length bytes of a literal, as they are. */
void sql_append_literal(struct sql *query, const char *text, size_t length);
/* Append embedded SQL (a migration that ships inside the program). */
struct embedded_file;
void sql_append_file(struct sql *query, const struct embedded_file *file);
/* The same with what stands in the comments that hold just this text made part of the statements:
 * of PRIMARY KEY (<comment> id) a key of two columns. */
#define SQL_UNCOMMENT(query, file, literal)                                                        \
    sql_append_uncommented((query), (file), "/*" literal "*/", sizeof("/*" literal "*/") - 1)
void sql_append_uncommented(struct sql *query, const struct embedded_file *file,
                            const char *comment, size_t length);
/* Append a quoted identifier; over 63 bytes, empty or not UTF-8 makes the query failed. */
void sql_ident(struct sql *query, const char *name);
/* "schema"."name" */
void sql_ident2(struct sql *query, const char *schema, const char *name);
/* Append a quoted string constant, for statements that take no parameters (DDL). */
void sql_literal(struct sql *query, const char *value);
void sql_literal_secret(struct sql *query, const struct secret *value); /* SCRAM verifiers */
void sql_integer(struct sql *query, int64_t value);
/* Bind a parameter and append its $n. value is borrowed until the query has run. */
void sql_param(struct sql *query, const char *value);
void sql_param_int(struct sql *query, int64_t value);
/* Append what time it is: the server's clock, so that all programs have one, shifted as the test
 * clock is. */
void sql_now(struct sql *query);

/* ---- connecting ---- */

struct sql_target {
    const char *const *hosts; /* names, addresses or socket folders */
    size_t host_count;
    int port;
    const char *database;
    const char *user;
    const struct secret *password;
    const char *sslmode; /* "verify-full", ... */
    const char *ca_pem;  /* NULL: the system's; kept in memory (memfd), never on disk */
    const char *target_session_attrs; /* NULL: "any" */
    int64_t statement_timeout_ms;     /* 0 = 30 s */
    int64_t lock_timeout_ms;          /* 0 = 5 s */
};

struct sql_conn;
/* Caller closes. */
MUST_CHECK int sql_connect(const struct call *call, const struct sql_target *target,
                           struct sql_conn **ret, struct err *err);
/* By a libpq URI or key=value string, whose settings win over our defaults. */
MUST_CHECK int sql_connect_uri(const struct call *call, const struct secret *uri,
                               struct sql_conn **ret, struct err *err);
void sql_close(struct sql_conn *conn); /* NULL is fine */
static inline void auto_release_sql_conn(struct sql_conn **conn)
{
    sql_close(*conn);
}
/* Neither broken, nor used up, nor in a transaction. */
bool sql_is_healthy(const struct sql_conn *conn);
/* The session may be left with what others must not find: a pool does not take it back. */
void sql_use_up(struct sql_conn *conn);
int sql_server_version(const struct sql_conn *conn); /* 150020 */
bool sql_err_unreachable(const struct err *err);
/* Whether the server does not take this user, password or database. */
bool sql_err_refuses_login(const struct err *err);

/* ---- running ---- */

struct sql_rows;
void sql_rows_free(struct sql_rows *rows);
static inline void auto_release_sql_rows(struct sql_rows **rows)
{
    sql_rows_free(*rows);
}
int sql_row_count(const struct sql_rows *rows);
int64_t sql_affected(const struct sql_rows *rows); /* rows touched by INSERT, UPDATE, DELETE */
bool sql_is_null(const struct sql_rows *rows, int row, int column);
const char *sql_text(const struct sql_rows *rows, int row, int column); /* "" for NULL; borrowed */
int64_t sql_int(const struct sql_rows *rows, int row, int column); /* 0 for NULL or no number */
bool sql_bool(const struct sql_rows *rows, int row, int column);

/* A statement that reads. At most 100,000 rows and 64 MiB. ret_rows may be NULL. */
MUST_CHECK int sql_query(struct sql_conn *conn, const struct call *call, struct sql *query,
                         struct sql_rows **ret_rows, struct err *err);
/* A statement that writes: the fence is checked first, and it counts in tenantry_sql_writes_total.
 */
MUST_CHECK int sql_exec(struct sql_conn *conn, const struct call *call, struct sql *query,
                        struct sql_rows **ret_rows, struct err *err);
/* Several statements in one round trip and one implicit transaction; no parameters. Writes. */
MUST_CHECK int sql_script(struct sql_conn *conn, const struct call *call, struct sql *query,
                          struct err *err);

/* For work whose length nobody knows, such as counting the rows of a database: from now on a
 * statement may take timeout_ms, and the session may wait in a transaction for ever. */
MUST_CHECK int sql_be_patient(struct sql_conn *conn, const struct call *call, int64_t timeout_ms,
                              struct err *err);

MUST_CHECK int sql_begin(struct sql_conn *conn, const struct call *call, struct err *err);
MUST_CHECK int sql_commit(struct sql_conn *conn, const struct call *call, struct err *err);
void sql_rollback(
    struct sql_conn *conn); /* no-op outside a transaction; a failure breaks the conn */

/* pg_advisory_xact_lock(class, hashtext(text)) inside a transaction, waiting up to lock_timeout. */
MUST_CHECK int sql_lock(struct sql_conn *conn, const struct call *call, int32_t lock_class,
                        const char *text, struct err *err);

/* ---- notifications ---- */

/* From now on the connection hears what is notified on the channel, once what is notified commits.
 */
MUST_CHECK int sql_listen(struct sql_conn *conn, const struct call *call, const char *channel,
                          struct err *err);
typedef void (*sql_notification_fn)(void *context, const char *channel, const char *payload);
/* Tell what was heard; when that is nothing, wait for it up to wait_ms. Success too when nothing
 * came. A server that is gone without a word shows only at the next statement. Errors:
 * CANCELED/Canceled, RETRY/DatabaseUnreachable. */
MUST_CHECK int sql_hear(struct sql_conn *conn, const struct call *call, int64_t wait_ms,
                        sql_notification_fn heard, void *context, struct err *err);

/* A SCRAM-SHA-256 verifier of password made on our side, so that no password is ever sent. */
MUST_CHECK int sql_scram_verifier(struct sql_conn *conn, const struct secret *password,
                                  struct secret *ret_verifier, struct err *err);

#endif
