/* The step Snapshot.
 *
 * Order. The registry is told that one is being made, which closes the gateway. Logins off, CONNECT
 * for nobody but the owner role, sessions ended: from here on nobody but superusers gets in, and
 * they are waited for. One session exports a snapshot and keeps it open; row-level security is
 * unforced (snapshot_sql.c tells why that way round); the session counts every table; pg_dump
 * writes the same snapshot into the store; it is read back, hashed and counted by pg_restore;
 * another session counts what is there now. Only when all four agree is the database closed, and
 * then the registry is told that the snapshot stands.
 *
 * Where the database is shared, only the tenant's logins are kept out, and the snapshot is one of
 * its schema, or of its rows (snapshot_part.c). Nothing of a table that others use is changed:
 * their security stays forced.
 *
 * A crash anywhere before that leaves a registry row without taken_at, and perhaps tables whose
 * security is not forced: the row names them, nobody can connect meanwhile, and the next run forces
 * them first. It then begins anew, in the same place of the store; unless the registry knows the
 * hash of a whole dump that was on its way there, and it arrived: then that is proven in its place,
 * its rows against those that are there now. */
#include "reconcilers/database/snapshot.h"

#include <stdio.h>

#include "controller/base/clock.h"
#include "controller/base/hash.h"
#include "controller/base/log.h"
#include "controller/base/str.h"
#include "reconcilers/database/servers_internal.h"
#include "reconcilers/database/snapshot_internal.h"
#include "reconcilers/database/steps.h"
#include "reconcilers/model/names.h"

#define NO_SUCH_DATABASE "3D000"

enum {
    TAKING_MAX_MS = 12 * 60 * 60 * 1000,
    COUNTING_MAX_MS = 2 * 60 * 60 * 1000, /* one table */
    BUSY_RETRY_MS = 5000,
    COUNTS_MAX_BYTES = 8 << 20,
    VERSION_UNIT = 10000, /* 150014 is 15.14 */
};

struct taking {
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
};

static void taking_release(struct taking *taking)
{
    if (taking->sink_open) {
        taking->sink.close(taking->sink.context);
    }
}
static inline void auto_release_taking(struct taking *taking)
{
    taking_release(taking);
}

static int borrow(const struct taking *taking, const char *database, struct server_loan *loan,
                  struct err *err)
{
    return servers_borrow(taking->work->services->servers, taking->rc, taking->scope->server,
                          database, loan, err);
}

static int report(struct server_loan *loan, const struct err *err)
{
    loan->failure = *err;
    return -1;
}

static int busy(const struct taking *taking, const char *obstacles, struct err *err)
{
    (void)err_set(err, ERR_WAIT, "DatabaseBusy",
                  "database \"%s\" on server \"%s\" cannot be dumped for good while others may "
                  "change it: %s; end that, and the deletion goes on",
                  taking->scope->database, taking->scope->server, obstacles);
    err->retry_after_ms = BUSY_RETRY_MS;
    return -1;
}

/* ---- nobody gets in ---- */

static int check_obstacles(const struct taking *taking, struct sql_conn *conn, struct err *err)
{
    const char *obstacles = "";

    if (database_obstacles(conn, &taking->rc->call, taking->rc->arena, taking->scope, &obstacles,
                           err)) {
        return -1;
    }
    return *obstacles ? busy(taking, obstacles, err) : 0;
}

static bool is_part(const struct taking *taking)
{
    return !taking->scope->mode->owns_database;
}

static int run_plan(const struct taking *taking, struct sql_conn *conn, const struct plan *plan,
                    struct err *err)
{
    const struct call *call = &taking->rc->call;
    int left = 0;

    if (database_execute(conn, call, taking->scope, plan, err) ||
        database_end_sessions(conn, call, taking->scope, !is_part(taking), &left, err)) {
        return -1;
    }
    return left > 0 ? busy(taking, "sessions that were told to end and have not yet", err) : 0;
}

/* What the tenant prepared and never committed is no part of what is kept, as of any session that
 * is ended. What may not be rolled back stays, and is named as an obstacle. */
static int roll_back_prepared(const struct taking *taking, struct sql_conn *conn, struct err *err)
{
    AUTO(server_loan) struct server_loan loan = {0};
    struct reconcile *rc = taking->rc;
    struct prepared *prepared = NULL;
    size_t count = 0;

    if (database_prepared(conn, &rc->call, rc->arena, taking->scope, &prepared, &count, err)) {
        return -1;
    }
    if (count == 0) {
        return 0;
    }
    if (borrow(taking, taking->scope->database, &loan, err)) {
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        if (database_roll_back_prepared(loan.conn, &rc->call, &prepared[i], err) &&
            !err_has_reason(err, "InsufficientPrivilege")) {
            return report(&loan, err);
        }
    }
    return 0;
}

static int begin_record(const struct taking *taking, const struct table_name *unforced,
                        size_t count, bool goes_on, struct err *err)
{
    return snapshot_record_begin(taking->work->services->registry, taking->rc,
                                 taking->scope->tenant_id, taking->scope->uid, unforced, count,
                                 goes_on, err);
}

/* Whether there is something to dump. What an interrupted DROP left is nothing. */
static int find(const struct taking *taking, const struct seen *seen, const struct owned *owned,
                bool *ret, struct err *err)
{
    AUTO(server_loan) struct server_loan loan = {0};
    const struct scope *scope = taking->scope;

    if (!is_part(taking)) {
        *ret = owned->database && seen->database.connection_limit != -2;
        return 0;
    }
    *ret = false;
    if (scope_owns(scope, ROLE_OWNER) && !owned->roles[ROLE_OWNER]) {
        return 0;
    }
    if (borrow(taking, scope->database, &loan, err)) {
        return err_has_code(err, NO_SUCH_DATABASE) ? 0 : -1;
    }
    return snapshot_part_find(loan.conn, &taking->rc->call, scope, ret, err) ? report(&loan, err)
                                                                             : 0;
}

static int seal(const struct taking *taking, bool *ret_there, struct err *err)
{
    AUTO(server_loan) struct server_loan loan = {0};
    struct reconcile *rc = taking->rc;
    struct seen *seen = ARENA_NEW(rc->arena, struct seen);
    struct plan *plan = ARENA_NEW(rc->arena, struct plan);
    struct owned owned;

    if (borrow(taking, NULL, &loan, err)) {
        return -1;
    }
    if (database_observe(loan.conn, &rc->call, rc->arena, taking->scope, seen, err)) {
        return report(&loan, err);
    }
    database_owned(taking->scope, seen, &owned);
    if (find(taking, seen, &owned, ret_there, err)) {
        return -1;
    }
    if (!*ret_there) {
        return 0;
    }
    /* The gateway is closed first: what it still lets through is then before the snapshot. */
    if (begin_record(taking, taking->earlier.unforced, taking->earlier.unforced_count,
                     taking->earlier.stored, err)) {
        return -1;
    }
    database_plan_seal(taking->scope, seen, &owned, plan);
    return run_plan(taking, loan.conn, plan, err) || roll_back_prepared(taking, loan.conn, err) ||
                   check_obstacles(taking, loan.conn, err)
               ? report(&loan, err)
               : 0;
}

/* Nobody gets in at all any more, superusers included, and nobody came while we counted. */
static int close_database(const struct taking *taking, struct err *err)
{
    AUTO(server_loan) struct server_loan loan = {0};
    const struct plan close = {.actions = {{.kind = ACTION_CLOSE_DATABASE}}, .count = 1};

    if (is_part(taking)) {
        return 0;
    }
    if (borrow(taking, NULL, &loan, err)) {
        return -1;
    }
    return run_plan(taking, loan.conn, &close, err) || check_obstacles(taking, loan.conn, err)
               ? report(&loan, err)
               : 0;
}

static int close_part(const struct taking *taking, struct err *err)
{
    AUTO(server_loan) struct server_loan loan = {0};

    if (!is_part(taking)) {
        return 0;
    }
    if (borrow(taking, taking->scope->database, &loan, err)) {
        return -1;
    }
    return snapshot_part_close(loan.conn, &taking->rc->call, taking->scope, err)
               ? report(&loan, err)
               : 0;
}

/* ---- what pg_dump is ---- */

static int check_tool(const struct taking *taking, const struct sql_conn *conn, struct err *err)
{
    const char *folder = taking->work->services->postgres_tools;
    int server = sql_server_version(conn) / VERSION_UNIT;
    int tool = 0;

    if (pg_dump_version(folder, &taking->rc->call, &tool, err)) {
        return -1;
    }
    return tool >= server
               ? 0
               : err_set(err, ERR_TERMINAL, "DumpToolTooOld",
                         "pg_dump is of PostgreSQL %d, and server \"%s\" runs %d, which it cannot "
                         "dump; nothing was deleted: install the client programs of PostgreSQL %d "
                         "where the controller runs (--postgres-tools says where)",
                         tool, taking->scope->server, server, server);
}

/* ---- into the store and back ---- */

struct writer {
    struct taking *taking;
    struct hash_stream *hash;
};

static int write_piece(void *context, struct str piece, struct err *err)
{
    struct writer *writer = context;
    const struct snapshot_sink *sink = &writer->taking->sink;

    hash_stream_add(writer->hash, piece);
    writer->taking->size_bytes += (int64_t)piece.len;
    return sink->write(sink->context, &writer->taking->rc->call, piece, err);
}

static int write_dump(struct taking *taking, const char *snapshot, struct err *err)
{
    AUTO(server_credentials) struct server_credentials credentials = {0};
    const struct services *services = taking->work->services;
    struct reconcile *rc = taking->rc;
    struct writer writer = {.taking = taking};
    struct sql_target target = {0};

    if (servers_target(services->servers, rc, taking->scope->server, taking->scope->database,
                       &credentials, &target, err)) {
        return -1;
    }
    const struct scope *scope = taking->scope;
    bool keyed = is_part(taking) && scope->mode->rows_are_keyed;
    const struct pg_dump_request request = {
        .target = &target,
        .snapshot = snapshot,
        .schema = is_part(taking) ? scope->schema : NULL,
        .tenant_id = keyed ? scope->tenant_id : NULL,
        .role = scope->roles[ROLE_OWNER],
        .without_rows = NAME_TABLE_LOGINS,
    };
    taking->size_bytes = 0;
    writer.hash = hash_stream_new();
    int result =
        pg_dump_run(services->postgres_tools, &rc->call, &request, write_piece, &writer, err);
    hash_stream_end(writer.hash, taking->sha256);
    return result ||
                   snapshot_record_stored(services->registry, rc, scope->tenant_id, scope->uid,
                                          taking->sha256, taking->size_bytes, err) ||
                   taking->sink.finish(taking->sink.context, &rc->call, err)
               ? -1
               : 0;
}

/* Nothing is written twice. That it is the same to the byte is seen when it is read back. Where
 * others use the database, what they changed since, and kept the number of rows, would be seen by
 * nobody: there the dump is made anew. */
static int find_stored(struct taking *taking, struct err *err)
{
    const struct snapshot_record *earlier = &taking->earlier;

    if (!earlier->stored || is_part(taking)) {
        return 0;
    }
    taking->size_bytes = earlier->size_bytes;
    (void)snprintf(taking->sha256, sizeof(taking->sha256), "%s", earlier->sha256);
    return taking->sink.holds(taking->sink.context, &taking->rc->call, earlier->size_bytes,
                              &taking->goes_on, err);
}

/* What could not be proven is not gone on with. Should this not be noted, the next run finds out
 * again. */
static void forget_stored(const struct taking *taking)
{
    struct err err;

    if (snapshot_record_stored(taking->work->services->registry, taking->rc,
                               taking->scope->tenant_id, taking->scope->uid, NULL, 0, &err)) {
        log_debug(taking->rc->call.log, "a stored dump is not forgotten", KV_ERR(&err));
    }
}

struct reader {
    struct pg_counter *counter;
    struct hash_stream *hash;
    int64_t size_bytes;
};

static int read_piece(void *context, struct str piece, struct err *err)
{
    struct reader *reader = context;

    hash_stream_add(reader->hash, piece);
    reader->size_bytes += (int64_t)piece.len;
    return pg_counter_feed(reader->counter, piece, err);
}

static int64_t rows_in(const void *dump, const char *schema, const char *table)
{
    return pg_counter_rows(dump, schema, table);
}

static int check_dump(struct taking *taking, struct err *err)
{
    AUTO(pg_counter) struct pg_counter *counter = NULL;
    const struct call *call = &taking->rc->call;
    char sha256[SHA256_TEXT_BYTES];

    if (pg_counter_new(taking->work->services->postgres_tools, call, &counter, err)) {
        return -1;
    }
    struct reader reader = {.counter = counter, .hash = hash_stream_new()};
    int result = taking->sink.read(taking->sink.context, call, read_piece, &reader, err);
    hash_stream_end(reader.hash, sha256);
    if (result || pg_counter_finish(counter, err)) {
        return err_wrap(err, "reading back %s", taking->sink.object);
    }
    if (!text_equal(sha256, taking->sha256) || reader.size_bytes != taking->size_bytes) {
        return err_set(
            err, ERR_RETRY, "SnapshotIncomplete",
            "%s holds %lld bytes with SHA-256 %s, and %lld with %s were written; nothing "
            "was deleted",
            taking->sink.object, (long long)reader.size_bytes, sha256,
            (long long)taking->size_bytes, taking->sha256);
    }
    return snapshot_compare_dump(&taking->tables, rows_in, counter, err);
}

/* ---- one moment ---- */

static int force(const struct taking *taking, const struct table_name *names, size_t count,
                 bool wanted, struct err *err)
{
    AUTO(server_loan) struct server_loan loan = {0};

    if (count == 0) {
        return 0;
    }
    if (borrow(taking, taking->scope->database, &loan, err)) {
        return -1;
    }
    return snapshot_force(loan.conn, &taking->rc->call, names, count, wanted, err)
               ? report(&loan, err)
               : 0;
}

/* Whose rows are among others' must be counted by a session that can change something. */
static int count_keyed(const struct taking *taking, const char *snapshot,
                       struct snapshot_tables *tables, struct err *err)
{
    AUTO(server_loan) struct server_loan loan = {0};
    const struct call *call = &taking->rc->call;

    if (borrow(taking, taking->scope->database, &loan, err)) {
        return -1;
    }
    return snapshot_count_keyed(loan.conn, call, taking->scope, snapshot, tables, err)
               ? report(&loan, err)
               : 0;
}

/* Of those that this session sees, as it sees them. */
static int count(struct taking *taking, struct sql_conn *conn, const char *snapshot,
                 struct snapshot_tables *tables, struct err *err)
{
    return taking->scope->mode->rows_are_keyed
               ? count_keyed(taking, snapshot, tables, err)
               : snapshot_count(conn, &taking->rc->call, taking->rc->arena, tables, err);
}

/* conn keeps the exported snapshot open until it goes back. */
static int take_on(struct taking *taking, struct sql_conn *conn, struct err *err)
{
    struct reconcile *rc = taking->rc;
    const char *snapshot = NULL;

    if (check_tool(taking, conn, err) || sql_be_patient(conn, &rc->call, COUNTING_MAX_MS, err) ||
        snapshot_export(conn, &rc->call, rc->arena, &snapshot, err) ||
        snapshot_list(conn, &rc->call, rc->arena, taking->scope, &taking->tables, err) ||
        snapshot_check_owners(&taking->tables, err)) {
        return -1;
    }
    if (!taking->scope->mode->rows_are_keyed) {
        snapshot_unforced(rc->arena, &taking->tables, &taking->earlier, &taking->unforced,
                          &taking->unforced_count);
    }
    return begin_record(taking, taking->unforced, taking->unforced_count, taking->goes_on, err) ||
                   force(taking, taking->unforced, taking->unforced_count, false, err) ||
                   count(taking, conn, snapshot, &taking->tables, err) ||
                   (!taking->goes_on && write_dump(taking, snapshot, err))
               ? -1
               : 0;
}

static int take_snapshot(struct taking *taking, struct err *err)
{
    AUTO(server_loan) struct server_loan loan = {0};

    if (borrow(taking, taking->scope->database, &loan, err)) {
        return -1;
    }
    return take_on(taking, loan.conn, err) ? report(&loan, err) : 0;
}

/* Counted anew, by another session: nothing was written since. */
static int check_live(struct taking *taking, struct err *err)
{
    AUTO(server_loan) struct server_loan loan = {0};
    const struct call *call = &taking->rc->call;
    struct snapshot_tables live;

    if (borrow(taking, taking->scope->database, &loan, err)) {
        return -1;
    }
    return sql_be_patient(loan.conn, call, COUNTING_MAX_MS, err) ||
                   snapshot_begin(loan.conn, call, err) ||
                   snapshot_list(loan.conn, call, taking->rc->arena, taking->scope, &live, err) ||
                   count(taking, loan.conn, NULL, &live, err) ||
                   snapshot_compare_live(&taking->tables, &live, err)
               ? report(&loan, err)
               : 0;
}

/* ---- all of it ---- */

static int note(const struct taking *taking, struct err *err)
{
    AUTO(buf) struct buf counts = BUF(COUNTS_MAX_BYTES);

    snapshot_render_counts(&taking->tables, &counts);
    const struct snapshot_receipt receipt = {
        .location = taking->sink.location,
        .object = taking->sink.object,
        .sha256 = taking->sha256,
        .size_bytes = taking->size_bytes,
        .row_counts = buf_text(&counts),
    };
    return snapshot_record_end(taking->work->services->registry, taking->rc,
                               taking->scope->tenant_id, taking->scope->uid, &receipt, err);
}

/* What went wrong on the way is told by its own reason, if that says what to do, or else as what it
 * comes to. */
static int explain(const struct taking *taking, struct err *err)
{
    if (err_has_reason(err, "SnapshotIncomplete")) {
        forget_stored(taking);
    }
    if (err_has_reason(err, "ProgramFailed") || err_has_reason(err, "ProgramMissing") ||
        err_has_reason(err, "InsufficientPrivilege") || err_has_reason(err, "SQLError") ||
        err_has_reason(err, "LockTimeout") || err_has_reason(err, "StatementTimeout")) {
        (void)err_reclass(err, ERR_RETRY, "SnapshotIncomplete");
        return err_wrap(err, "nothing was deleted");
    }
    return -1;
}

static int take_all(struct taking *taking, struct err *err)
{
    const struct services *services = taking->work->services;
    bool there = false;

    /* Before anybody is locked out: without a place for it nothing changes. */
    if (services->snapshots->open(services->snapshots->context, taking->rc, taking->work,
                                  &taking->sink, err)) {
        return -1;
    }
    taking->sink_open = true;
    if (seal(taking, &there, err)) {
        return -1;
    }
    if (!there) {
        taking->work->snapshot_taken = true; /* nothing is there that could be lost */
        return 0;
    }
    if (find_stored(taking, err) ||
        force(taking, taking->earlier.unforced, taking->earlier.unforced_count, true, err) ||
        take_snapshot(taking, err) || check_dump(taking, err) || close_part(taking, err) ||
        check_live(taking, err) ||
        force(taking, taking->unforced, taking->unforced_count, true, err) ||
        close_database(taking, err) || note(taking, err)) {
        return explain(taking, err);
    }
    work_event(taking->work, EVENT_NORMAL, "SnapshotTaken", "Snapshot",
               "%s \"%s\" on server \"%s\" stands in %s as %s: %lld bytes, SHA-256 %s",
               taking->scope->mode->retained_kind,
               is_part(taking) ? taking->scope->schema : taking->scope->database,
               taking->scope->server, taking->sink.location, taking->sink.object,
               (long long)taking->size_bytes, taking->sha256);
    (void)err_set(err, ERR_WAIT, "Progressing", "the snapshot stands, and the deletion goes on");
    err->retry_after_ms = 1;
    return -1;
}

static int check_store(const struct tenant_work *work, struct err *err)
{
    if (work->services->snapshots) {
        return 0;
    }
    return err_set(
        err, ERR_TERMINAL, "SnapshotNoStore",
        "deletionPolicy Snapshot needs an object store to put the snapshot in, and there "
        "is none; nothing was deleted: add an ObjectStore, or set deletionPolicy to "
        "Retain or Delete");
}

int snapshot_finalize(struct reconcile *rc, void *subject, struct err *err)
{
    AUTO(taking) struct taking taking = {.work = subject};
    struct tenant_work *work = subject;
    struct reconcile patient = *rc;
    struct scope scope;
    bool found = false;

    if (work->deletion_policy != DELETION_SNAPSHOT || work_retains(work)) {
        return 0;
    }
    if (check_store(work, err) || scope_find(&scope, rc, work, &found, err)) {
        return -1;
    }
    if (!found) {
        work->snapshot_taken = true;
        return 0;
    }
    if (rc->call.deadline_ms > 0) {
        patient.call.deadline_ms = clock_monotonic_ms() + TAKING_MAX_MS;
    }
    taking.rc = &patient;
    taking.scope = &scope;
    if (snapshot_record_get(work->services->registry, rc, scope.tenant_id, scope.uid,
                            &taking.earlier, err)) {
        return -1;
    }
    work->snapshot_taken = taking.earlier.taken;
    return taking.earlier.taken ? 0 : take_all(&taking, err);
}
