/* pg_dump and pg_restore as child processes: dumps as streams in both directions, nothing on a
 * disk.
 *
 * Credentials reach pg_dump through a memory file that only its own user may read, never through
 * arguments or environment. folder: where the two programs are; "" means PATH. */
#ifndef TENANTRY_DRIVERS_PG_TOOLS_H
#define TENANTRY_DRIVERS_PG_TOOLS_H

#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/base/call.h"
#include "controller/base/err.h"
#include "controller/base/hash.h"
#include "controller/base/map.h"
#include "controller/base/str.h"
#include "reconcilers/drivers/sql.h"

/* The major version of pg_dump. Errors: TERMINAL/DumpToolMissing. */
MUST_CHECK int pg_dump_version(const char *folder, const struct call *call, int *ret_major,
                               struct err *err);

/* The next bytes of a dump; -1 with *err stops it. */
typedef int (*pg_dump_fn)(void *context, struct str piece, struct err *err);

struct pg_dump_request {
    const struct sql_target *target;
    const char *snapshot; /* exported by a session that stays open meanwhile */
    const char *schema;   /* this one alone; NULL: the whole database */
    /* Of a schema whose tables many share: the rows that policies show to `role` with
     * app.tenant_id = tenant_id, and no row of the table `without_rows`. NULL: every row. */
    const char *tenant_id;
    const char *role;
    const char *without_rows;
};
/* A dump in custom format, piece by piece, on the caller's thread. Without a tenant_id row_security
 * is off, so that a row that a policy would hide ends it with an error. Errors: RETRY/ProgramFailed
 * with what pg_dump said, those of take, and those of process_start. */
MUST_CHECK int pg_dump_run(const char *folder, const struct call *call,
                           const struct pg_dump_request *request, pg_dump_fn take, void *context,
                           struct err *err);

/* Counts the rows in a dump by having pg_restore read it: so a dump that can be counted can be
 * restored. One thread feeds it. */
struct pg_counter;
MUST_CHECK int pg_counter_new(const char *folder, const struct call *call, struct pg_counter **ret,
                              struct err *err);
/* Ends what is under way; NULL is fine. */
void pg_counter_free(struct pg_counter *counter);
AUTO_DEFINE(pg_counter, struct pg_counter *, pg_counter_free)
MUST_CHECK int pg_counter_feed(struct pg_counter *counter, struct str piece, struct err *err);
/* All was fed. Errors: RETRY/ProgramFailed when the dump is broken. */
MUST_CHECK int pg_counter_finish(struct pg_counter *counter, struct err *err);
/* Rows of the table, after finish; -1 if the dump has no data of it. Names as in the catalog. */
int64_t pg_counter_rows(const struct pg_counter *counter, const char *schema, const char *table);
/* After finish: a SHA-256 of all rows and sequences in it, as pg_restore prints them; the same for
 * two dumps of the same data by the same program, which are never the same to the byte. */
const char *pg_counter_data_sha256(const struct pg_counter *counter);

/* The parser of it, for tests: rows in the COPY blocks of a script that comes in pieces. */
struct copy_scan {
    struct map rows;   /* "schema"."table", quoted as pg_restore does, to int64_t on the heap */
    struct buf line;   /* the beginning of the line that is being read */
    int64_t *counting; /* inside of a block */
    bool of_psql;      /* in a line that is a command to psql */
    struct hash_stream *hash;
};
void copy_scan_init(struct copy_scan *scan);
void copy_scan_release(struct copy_scan *scan);
void copy_scan_feed(struct copy_scan *scan, struct str piece);
int64_t copy_scan_rows(const struct copy_scan *scan, const char *schema, const char *table);
/* Once, at the end. Commands to psql are left out: those about restricted input bear a key that is
 * another each time. */
void copy_scan_sha256(struct copy_scan *scan, char ret_text[SHA256_TEXT_BYTES]);

#endif
