/* deletionPolicy Snapshot: a dump of the tenant's database, schema or rows that stands in a store,
 * proven to hold every row, before anything is removed. */
#ifndef TENANTRY_DATABASE_SNAPSHOT_H
#define TENANTRY_DATABASE_SNAPSHOT_H

#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "controller/runtime/reconcile.h"
#include "reconcilers/drivers/pg_tools.h"
#include "reconcilers/model/work.h"

/* A place for one dump. It is written once, in pieces, and read back. */
struct snapshot_sink {
    void *context;
    const char *location; /* which store; in rc->arena */
    const char *object;   /* where there; in rc->arena */
    int (*write)(void *context, const struct call *call, struct str piece, struct err *err);
    /* Whether something of so many bytes is there already, from an earlier try. */
    int (*holds)(void *context, const struct call *call, int64_t size_bytes, bool *ret,
                 struct err *err);
    /* All was written: it is there as a whole, for good. */
    int (*finish)(void *context, const struct call *call, struct err *err);
    /* What is there now, from its beginning; take may be called on another thread, while this
     * waits.
     */
    int (*read)(void *context, const struct call *call, pg_dump_fn take, void *take_context,
                struct err *err);
    /* Let go; what was not finished leaves nothing behind. */
    void (*close)(void *context);
};

/* Where tenants' snapshots go: services.snapshots. */
struct snapshot_store {
    void *context;
    /* The same place each time for one deletion of one Tenant object, so that another try replaces
     * the last; `earlier` deletions of the same object have theirs. Errors:
     * TERMINAL/SnapshotNoStore when the tenant has none. */
    int (*open)(void *context, struct reconcile *rc, const struct tenant_work *work, int earlier,
                struct snapshot_sink *ret, struct err *err);
};

/* The step Snapshot, the first to be finalized: under policy Snapshot (without days of grace) the
 * dump stands where it was put, its bytes are read back and equal, the rows in it, table by table,
 * are those of the snapshot it was taken in and those that are there now, and the database takes no
 * connection any more (a schema: nobody has a right on it); work->snapshot_taken is set. When that
 * took its time the run ends with WAIT/Progressing, so that the next one looks at the Tenant anew
 * before it removes anything. Otherwise nothing was removed: TERMINAL/SnapshotNoStore,
 * TERMINAL/DumpToolMissing, TERMINAL/DumpToolTooOld, WAIT/DatabaseBusy, RETRY or
 * TERMINAL/SnapshotIncomplete. */
MUST_CHECK int snapshot_finalize(struct reconcile *rc, void *subject, struct err *err);

#endif
