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
#include "reconcilers/database/database_internal.h"
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
void snapshot_render_counts(const struct snapshot_tables *tables, struct buf *out);

#endif
