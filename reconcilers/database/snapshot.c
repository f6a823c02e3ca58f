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
 * hash of a whole dump that was on its way there, and it arrived: then that is proven in its place.
 * Somebody may have got in meanwhile, and the numbers of rows would not tell: they are dumped once
 * more, only to be compared. */
#include "reconcilers/database/snapshot.h"

#include "controller/base/clock.h"
#include "reconcilers/database/servers_internal.h"
#include "reconcilers/database/snapshot_internal.h"
#include "reconcilers/database/steps.h"

enum {
    TAKING_MAX_MS = 12 * 60 * 60 * 1000,
    COUNTING_MAX_MS = 2 * 60 * 60 * 1000, /* one table */
    COUNTS_MAX_BYTES = 8 << 20,
};

int snapshot_borrow(const struct snapshot_taking *taking, const char *database,
                    struct server_loan *loan, struct err *err)
{
    return servers_borrow(taking->work->services->servers, taking->rc, taking->scope->server,
                          database, loan, err);
}

int snapshot_report(struct server_loan *loan, const struct err *err)
{
    loan->failure = *err;
    return -1;
}

bool snapshot_is_part(const struct snapshot_taking *taking)
{
    return !taking->scope->mode->owns_database;
}

int snapshot_begin_record(const struct snapshot_taking *taking, const struct table_name *unforced,
                          size_t count, bool goes_on, struct err *err)
{
    return snapshot_record_begin(taking->work->services->registry, taking->rc,
                                 taking->scope->tenant_id, taking->scope->uid, unforced, count,
                                 goes_on, err);
}

static void taking_release(struct snapshot_taking *taking)
{
    if (taking->sink_open) {
        taking->sink.close(taking->sink.context);
    }
}
static inline void auto_release_taking(struct snapshot_taking *taking)
{
    taking_release(taking);
}

/* ---- one moment ---- */

static int force(const struct snapshot_taking *taking, const struct table_name *names, size_t count,
                 bool wanted, struct err *err)
{
    AUTO(server_loan) struct server_loan loan = {0};

    if (count == 0) {
        return 0;
    }
    if (snapshot_borrow(taking, taking->scope->database, &loan, err)) {
        return -1;
    }
    return snapshot_force(loan.conn, &taking->rc->call, names, count, wanted, err)
               ? snapshot_report(&loan, err)
               : 0;
}

/* Whose rows are among others' must be counted by a session that can change something. */
static int count_keyed(const struct snapshot_taking *taking, const char *snapshot,
                       struct snapshot_tables *tables, struct err *err)
{
    AUTO(server_loan) struct server_loan loan = {0};
    const struct call *call = &taking->rc->call;

    if (snapshot_borrow(taking, taking->scope->database, &loan, err)) {
        return -1;
    }
    return snapshot_count_keyed(loan.conn, call, taking->scope, snapshot, tables, err)
               ? snapshot_report(&loan, err)
               : 0;
}

/* Of those that this session sees, as it sees them. */
static int count(struct snapshot_taking *taking, struct sql_conn *conn, const char *snapshot,
                 struct snapshot_tables *tables, struct err *err)
{
    return taking->scope->mode->rows_are_keyed
               ? count_keyed(taking, snapshot, tables, err)
               : snapshot_count(conn, &taking->rc->call, taking->rc->arena, tables, err);
}

/* conn keeps the exported snapshot open until it goes back. */
static int take_on(struct snapshot_taking *taking, struct sql_conn *conn, struct err *err)
{
    struct reconcile *rc = taking->rc;
    const char *snapshot = NULL;

    if (snapshot_check_tool(taking, conn, err) ||
        sql_be_patient(conn, &rc->call, COUNTING_MAX_MS, err) ||
        snapshot_export(conn, &rc->call, rc->arena, &snapshot, err) ||
        snapshot_list(conn, &rc->call, rc->arena, taking->scope, &taking->tables, err) ||
        snapshot_check_owners(&taking->tables, err)) {
        return -1;
    }
    if (!taking->scope->mode->rows_are_keyed) {
        snapshot_unforced(rc->arena, &taking->tables, &taking->earlier, &taking->unforced,
                          &taking->unforced_count);
    }
    return snapshot_begin_record(taking, taking->unforced, taking->unforced_count, taking->goes_on,
                                 err) ||
                   force(taking, taking->unforced, taking->unforced_count, false, err) ||
                   count(taking, conn, snapshot, &taking->tables, err) ||
                   snapshot_write_dump(taking, snapshot, err)
               ? -1
               : 0;
}

static int take_snapshot(struct snapshot_taking *taking, struct err *err)
{
    AUTO(server_loan) struct server_loan loan = {0};

    if (snapshot_borrow(taking, taking->scope->database, &loan, err)) {
        return -1;
    }
    return take_on(taking, loan.conn, err) ? snapshot_report(&loan, err) : 0;
}

/* Counted anew, by another session: nothing was written since. */
static int check_live(struct snapshot_taking *taking, struct err *err)
{
    AUTO(server_loan) struct server_loan loan = {0};
    const struct call *call = &taking->rc->call;
    struct snapshot_tables live;

    if (snapshot_borrow(taking, taking->scope->database, &loan, err)) {
        return -1;
    }
    return sql_be_patient(loan.conn, call, COUNTING_MAX_MS, err) ||
                   snapshot_begin(loan.conn, call, err) ||
                   snapshot_list(loan.conn, call, taking->rc->arena, taking->scope, &live, err) ||
                   count(taking, loan.conn, NULL, &live, err) ||
                   snapshot_compare_live(&taking->tables, &live, err)
               ? snapshot_report(&loan, err)
               : 0;
}

/* ---- all of it ---- */

static int note(const struct snapshot_taking *taking, struct err *err)
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
static int explain(const struct snapshot_taking *taking, struct err *err)
{
    if (err_has_reason(err, "SnapshotIncomplete")) {
        snapshot_forget_stored(taking);
    }
    if (err_has_reason(err, "ProgramFailed") || err_has_reason(err, "ProgramMissing") ||
        err_has_reason(err, "InsufficientPrivilege") || err_has_reason(err, "SQLError") ||
        err_has_reason(err, "LockTimeout") || err_has_reason(err, "StatementTimeout")) {
        (void)err_reclass(err, ERR_RETRY, "SnapshotIncomplete");
        return err_wrap(err, "nothing was deleted");
    }
    return -1;
}

static int open_sink(struct snapshot_taking *taking, struct err *err)
{
    const struct snapshot_store *store = taking->work->services->snapshots;

    if (taking->sink_open) {
        return 0;
    }
    if (store->open(store->context, taking->rc, taking->work, taking->earlier.voided, &taking->sink,
                    err)) {
        return -1;
    }
    taking->sink_open = true;
    return 0;
}

static int take_all(struct snapshot_taking *taking, struct err *err)
{
    bool there = false;

    /* Before anybody is locked out: without a place for it nothing changes. */
    if (open_sink(taking, err) || snapshot_seal(taking, &there, err)) {
        return -1;
    }
    if (!there) {
        taking->work->snapshot_taken = true; /* nothing is there that could be lost */
        return 0;
    }
    if (snapshot_find_stored(taking, err) || snapshot_open_part(taking, err) ||
        force(taking, taking->earlier.unforced, taking->earlier.unforced_count, true, err) ||
        take_snapshot(taking, err) || snapshot_check_dump(taking, err) ||
        snapshot_close_part(taking, err) || check_live(taking, err) ||
        force(taking, taking->unforced, taking->unforced_count, true, err) ||
        snapshot_close_database(taking, err) || note(taking, err)) {
        return explain(taking, err);
    }
    work_event(taking->work, EVENT_NORMAL, "SnapshotTaken", "Snapshot",
               "%s \"%s\" on server \"%s\" stands in %s as %s: %lld bytes, SHA-256 %s",
               taking->scope->mode->retained_kind,
               snapshot_is_part(taking) ? taking->scope->schema : taking->scope->database,
               taking->scope->server, taking->sink.location, taking->sink.object,
               (long long)taking->size_bytes, taking->sha256);
    (void)err_set(err, ERR_WAIT, "Progressing", "the snapshot stands, and the deletion goes on");
    err->retry_after_ms = 1;
    return -1;
}

/* What the receipt says, once more before something is removed by it: days may have passed. Its
 * bytes were proven then; that they are there is proven by their number. */
static int see_object(struct snapshot_taking *taking, bool *ret_stands, struct err *err)
{
    return open_sink(taking, err) || taking->sink.holds(taking->sink.context, &taking->rc->call,
                                                        taking->earlier.size_bytes, ret_stands, err)
               ? -1
               : 0;
}

/* A dump was proven earlier. It is taken anew if it is gone; unless nothing is left to be removed:
 * then neither a dump nor a store that is gone holds up the rest of the deletion. */
static int rely(struct snapshot_taking *taking, struct err *err)
{
    struct tenant_work *work = taking->work;
    struct err unseen;
    bool stands = false;
    bool there = true;

    int result = see_object(taking, &stands, err);
    if (stands || (snapshot_find(taking, &there, &unseen) == 0 && !there)) {
        work->snapshot_taken = true;
        return 0;
    }
    if (result) {
        return -1;
    }
    work_event(work, EVENT_WARNING, "SnapshotIncomplete", "Snapshot",
               "%s was proven, and is no longer in %s with its %lld bytes: nothing more is removed "
               "before what is there is dumped anew",
               taking->sink.object, taking->sink.location, (long long)taking->earlier.size_bytes);
    return take_all(taking, err);
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
    AUTO(taking) struct snapshot_taking taking = {.work = subject};
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
    return taking.earlier.taken ? rely(&taking, err) : take_all(&taking, err);
}
