/* What the files about snapshots share with each other and with tests. */
#ifndef TENANTRY_DATABASE_SNAPSHOT_INTERNAL_H
#define TENANTRY_DATABASE_SNAPSHOT_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/base/arena.h"
#include "controller/base/attributes.h"
#include "controller/base/buf.h"
#include "controller/base/call.h"
#include "controller/base/err.h"
#include "controller/base/hash.h"
#include "reconcilers/database/database_internal.h"
#include "reconcilers/database/servers.h"
#include "reconcilers/database/snapshot.h"
#include "reconcilers/drivers/pg_tools.h"
#include "reconcilers/drivers/sql.h"
#include "reconcilers/registry/snapshot_record.h"

struct snapshot_table {
    struct table_name name;
    const char *owner;
    bool ours;        /* the controller acts as its owner, whom no policy binds unless forced */
    bool forced;      /* FORCE ROW LEVEL SECURITY */
    bool holds_rows;  /* by itself; a partitioned table does not */
    const char *home; /* where a function that counts them stands, for the transaction */
    int64_t rows;     /* once counted */
};

struct snapshot_tables {
    struct snapshot_table *items; /* by schema and name; in the arena */
    size_t count;
};

/* A snapshot that is being taken. */
struct snapshot_taking {
    struct reconcile *rc; /* with the time that a dump may take */
    struct tenant_work *work;
    const struct scope *scope;
    struct snapshot_sink sink;
    bool sink_open;
    struct snapshot_record earlier;
    bool goes_on; /* with the dump that an earlier try stored */
    struct snapshot_tables tables;
    const struct table_name *unforced;
    size_t unforced_count;
    int64_t size_bytes;
    char sha256[SHA256_TEXT_BYTES];
    char data_sha256[SHA256_TEXT_BYTES]; /* of what a stored dump must hold; "" = of whatever */
};

/* Only the part of a database that is the tenant's. */
bool snapshot_is_part(const struct snapshot_taking *taking);
MUST_CHECK int snapshot_borrow(const struct snapshot_taking *taking, const char *database,
                               struct server_loan *loan, struct err *err);
/* For the loan to know why it comes back; -1. */
int snapshot_report(struct server_loan *loan, const struct err *err);
/* The registry is told that one is being made (registry/snapshot_record.h). */
MUST_CHECK int snapshot_begin_record(const struct snapshot_taking *taking,
                                     const struct table_name *unforced, size_t count, bool goes_on,
                                     struct err *err);

/* ---- who gets in (snapshot_seal.c) ---- */

/* Whether there is anything to dump. */
MUST_CHECK int snapshot_find(const struct snapshot_taking *taking, bool *ret_there,
                             struct err *err);
/* The same; then the registry knows of it, the tenant's logins are off and
 * its sessions ended, what it prepared is rolled back, and nobody else is in who could change
 * something: WAIT/DatabaseBusy. */
MUST_CHECK int snapshot_seal(const struct snapshot_taking *taking, bool *ret_there,
                             struct err *err);
/* Of a schema: who had a right on it before an earlier try took it has it again. */
MUST_CHECK int snapshot_open_part(const struct snapshot_taking *taking, struct err *err);
/* Of a schema: nobody but its owner has a right on it any more. */
MUST_CHECK int snapshot_close_part(const struct snapshot_taking *taking, struct err *err);
/* Of a whole database: nobody gets in at all any more, superusers included, and nobody came while
 * it was counted. */
MUST_CHECK int snapshot_close_database(const struct snapshot_taking *taking, struct err *err);

/* ---- the dump itself (snapshot_dump.c) ---- */

/* Errors: TERMINAL/DumpToolTooOld. */
MUST_CHECK int snapshot_check_tool(const struct snapshot_taking *taking,
                                   const struct sql_conn *conn, struct err *err);
/* Whether the dump of an earlier try is in its place: taking->goes_on. */
MUST_CHECK int snapshot_find_stored(struct snapshot_taking *taking, struct err *err);
/* The dump of what `snapshot` shows is in its place, and the registry knows its hash. Where one is
 * gone on with, it is only seen what it must hold. */
MUST_CHECK int snapshot_write_dump(struct snapshot_taking *taking, const char *snapshot,
                                   struct err *err);
/* What is in its place is to the byte what was written, and holds the rows that were counted. */
MUST_CHECK int snapshot_check_dump(struct snapshot_taking *taking, struct err *err);
/* What could not be proven is not gone on with. Should this not be noted, the next run finds out
 * again. */
void snapshot_forget_stored(const struct snapshot_taking *taking);

/* ---- statements (snapshot_sql.c): conn is to the scope's database ---- */

/* Begin a transaction that sees one moment, and is never committed. */
MUST_CHECK int snapshot_begin(struct sql_conn *conn, const struct call *call, struct err *err);
/* The same, and let others see the same: *ret_snapshot, in the
 * arena, for as long as it stays open. */
MUST_CHECK int snapshot_export(struct sql_conn *conn, const struct call *call, struct arena *arena,
                               const char **ret_snapshot, struct err *err);
/* Every table but the system's and extensions'; in a database that is shared, those of the scope's
 * schema. */
MUST_CHECK int snapshot_list(struct sql_conn *conn, const struct call *call, struct arena *arena,
                             const struct scope *scope, struct snapshot_tables *ret,
                             struct err *err);
/* Count the rows of each with row_security off: a row that a policy would hide is an error, so what
 * is counted is everything. To plan even a count, the server runs the functions in the expressions
 * of indexes, which may be the tenant's, as whoever asks. So the owner of each table asks, from
 * inside a function that nobody can leave, and not the controller, whose rights reach further:
 * ending others' sessions takes no more than those. The transaction cannot write from then on, and
 * its end takes the functions with it. */
MUST_CHECK int snapshot_count(struct sql_conn *conn, const struct call *call, struct arena *arena,
                              struct snapshot_tables *tables, struct err *err);
/* FORCE, or NO FORCE, of those tables that are still there, each by itself. */
MUST_CHECK int snapshot_force(struct sql_conn *conn, const struct call *call,
                              const struct table_name *names, size_t count, bool force,
                              struct err *err);

/* ---- a part of a shared database (snapshot_part.c): likewise ---- */

/* Whether it is there, and is all that the tenant has in the database: large objects belong to no
 * schema, and TERMINAL/SnapshotIncomplete says how many of them there are. */
MUST_CHECK int snapshot_part_find(struct sql_conn *conn, const struct call *call,
                                  const struct scope *scope, bool *ret, struct err *err);
/* Take every right on the tenant's schema from everybody but its owner; nothing in tables that
 * tenants share. */
MUST_CHECK int snapshot_part_close(struct sql_conn *conn, const struct call *call,
                                   const struct scope *scope, struct err *err);
/* Undo it, after a try that failed or was cut short: a dump says who had which right. */
MUST_CHECK int snapshot_part_open(struct sql_conn *conn, const struct call *call,
                                  const struct scope *scope, struct err *err);
/* Count the tenant's rows in tables that are shared, as the snapshot that was exported (NULL: as of
 * now) has them. Each table is counted as its owner with FORCE taken off and row_security off, so
 * that a row that a policy would hide is an error, in a transaction that is rolled back: nobody
 * else ever sees the table unforced. It is locked meanwhile, which takes as long as to find the
 * rows by the first column of the primary key, 20 s at most: RETRY/StatementTimeout.
 * RETRY/LockTimeout where somebody else holds it. */
MUST_CHECK int snapshot_count_keyed(struct sql_conn *conn, const struct call *call,
                                    const struct scope *scope, const char *snapshot,
                                    struct snapshot_tables *tables, struct err *err);

/* ---- comparing (snapshot_plan.c), pure ---- */

/* Tables that nobody but another role may read or alter: TERMINAL/SnapshotIncomplete names them. */
MUST_CHECK int snapshot_check_owners(const struct snapshot_tables *tables, struct err *err);
/* Those that were forced, and those of an earlier try. In the arena. */
void snapshot_unforced(struct arena *arena, const struct snapshot_tables *tables,
                       const struct snapshot_record *earlier, const struct table_name **ret,
                       size_t *ret_count);
/* RETRY/SnapshotIncomplete with the first table that differs. */
MUST_CHECK int snapshot_compare_live(const struct snapshot_tables *tables,
                                     const struct snapshot_tables *live, struct err *err);
/* rows_in: the rows of a table in the dump, -1 for none. */
MUST_CHECK int snapshot_compare_dump(const struct snapshot_tables *tables,
                                     int64_t (*rows_in)(const void *dump, const char *schema,
                                                        const char *table),
                                     const void *dump, struct err *err);
/* Append the counts as the receipt keeps them: a JSON object, rows by table. Whether all of it
 * fitted is buf_failed's to say. */
void snapshot_render_counts(const struct snapshot_tables *tables, struct buf *out);

#endif
