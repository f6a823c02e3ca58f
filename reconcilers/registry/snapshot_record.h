/* The registry's account of a snapshot: what was begun, and what stands in a store for a database
 * that is to be removed (tenant_snapshots). One a deletion of one Tenant object. Should that object
 * stand again afterwards, as from a backup of the cluster, what was noted is void. */
#ifndef TENANTRY_REGISTRY_SNAPSHOT_RECORD_H
#define TENANTRY_REGISTRY_SNAPSHOT_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/base/call.h"
#include "controller/base/err.h"
#include "controller/runtime/reconcile.h"
#include "reconcilers/drivers/sql.h"
#include "reconcilers/registry/registry.h"

struct table_name {
    const char *schema;
    const char *table;
};

struct snapshot_record {
    bool began;
    bool taken;
    /* A try that was cut short had written the whole dump, of these bytes, a quarter of an hour ago
     * at most, and sent it to its place; whether it got there is for the store to say. */
    bool stored;
    const char *sha256;
    int64_t size_bytes; /* of what is stored or taken */
    int voided;         /* how many receipts of this object's earlier deletions are void */
    /* Tables whose row-level security a snapshot that was cut short left unforced; in rc->arena. */
    const struct table_name *unforced;
    size_t unforced_count;
};
/* All but voided is empty when none was begun. */
MUST_CHECK int snapshot_record_get(struct registry *registry, struct reconcile *rc,
                                   const char *tenant_id, const char *tenant_uid,
                                   struct snapshot_record *ret, struct err *err);

/* One is being made, and these tables will not be forced meanwhile; an earlier one counts no more,
 * unless this one goes on with what it stored. The gateway lets nobody in from now on, who would
 * still write. */
MUST_CHECK int snapshot_record_begin(struct registry *registry, struct reconcile *rc,
                                     const char *tenant_id, const char *tenant_uid,
                                     const struct table_name *unforced, size_t count, bool goes_on,
                                     struct err *err);
/* The dump is written, and of these bytes; said before it is in its place. sha256 NULL: what is
 * there is not to be used. */
MUST_CHECK int snapshot_record_stored(struct registry *registry, struct reconcile *rc,
                                      const char *tenant_id, const char *tenant_uid,
                                      const char *sha256, int64_t size_bytes, struct err *err);

struct snapshot_receipt {
    const char *location; /* which store */
    const char *object;
    const char *sha256; /* lower-case hex */
    int64_t size_bytes;
    const char *row_counts; /* a JSON object: "schema.table" to a number */
};
/* It stands, and every table is forced again that was. */
MUST_CHECK int snapshot_record_end(struct registry *registry, struct reconcile *rc,
                                   const char *tenant_id, const char *tenant_uid,
                                   const struct snapshot_receipt *receipt, struct err *err);

/* The receipt taken at that time, as record_observe tells it, permits no deletion from now on: its
 * Tenant stands, and what it covers may change. Errors: CONFLICT/Conflict when it is another one by
 * now, or none. */
MUST_CHECK int snapshot_record_void(struct sql_conn *conn, const struct call *call,
                                    const char *tenant_id, const char *tenant_uid,
                                    const char *taken_at, struct err *err);

#endif
