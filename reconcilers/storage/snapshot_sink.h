/* Snapshots (reconcilers/database/snapshot.h) in the tenant's bucket for backups. */
#ifndef TENANTRY_STORAGE_SNAPSHOT_SINK_H
#define TENANTRY_STORAGE_SNAPSHOT_SINK_H

#include "reconcilers/database/snapshot.h"
#include "reconcilers/drivers/s3.h"

/* For services.snapshots: opens snapshots/<database>-<uid>.dump, or -2.dump and so on after
 * earlier deletions of the same Tenant object, in the bucket "backups" of the
 * tenant that is being deleted, which must be there and bear its mark. Reads come over connections
 * of their own, since whoever takes a piece may be slow. Errors: TERMINAL/SnapshotNoStore, and
 * those of stores_borrow. */
extern const struct snapshot_store storage_snapshots;

/* The part of it that knows no tenant. All is borrowed but what sink.close frees; texts as those of
 * struct snapshot_sink. */
void snapshot_sink_init(struct snapshot_sink *sink, struct s3 *writer, struct s3 *reader,
                        const char *bucket, const char *key);

#endif
