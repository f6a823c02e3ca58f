/* The step StorageUsage: how much of storage_mb is used, looked at at drift checks alone; between
 * them the registry's row says what was seen last.
 *
 * A tenant's usage is what it could get back by deleting: the newest versions of its objects, and
 * its database. Older versions are the platform's cost of undoing: they go after the store's days.
 * One listing of a bucket serves both. */
#include "controller/base/clock.h"
#include "controller/base/str.h"
#include "reconcilers/database/part.h"
#include "reconcilers/database/servers.h"
#include "reconcilers/drivers/sql.h"
#include "reconcilers/model/names.h"
#include "reconcilers/registry/registry.h"
#include "reconcilers/storage/backup_age.h"
#include "reconcilers/storage/bucket_documents.h"
#include "reconcilers/storage/steps.h"
#include "reconcilers/storage/storage_internal.h"

enum { MEGABYTE_SHIFT = 20, DAY_S = 24 * 60 * 60 };

struct measuring {
    struct reconcile *rc;
    struct tenant_work *work;
    const struct store_loan *loan;
    const char *bucket;
    struct s3_batch *batch; /* NULL: the store removes what is old by itself */
    int64_t now_s;
    int64_t bytes;
    int64_t newest_s; /* when the newest object of the bucket was stored; 0 = it has none */
};

/* ---- buckets ---- */

static void count(struct measuring *measuring, const struct s3_item *item)
{
    measuring->bytes += item->size_bytes;
    if (item->modified_s > measuring->newest_s) {
        measuring->newest_s = item->modified_s;
    }
}

static int on_object(void *context, const struct s3_item *item, struct err *err)
{
    (void)err;
    count(context, item);
    return 0;
}

static int on_version(void *context, const struct s3_item *item, struct err *err)
{
    struct measuring *measuring = context;
    int64_t kept_s = measuring->loan->store->version_retention_days * DAY_S;

    if (item->latest) {
        if (!item->delete_marker) {
            count(measuring, item);
        }
        return 0;
    }
    if (!measuring->batch || item->modified_s + kept_s > measuring->now_s) {
        return 0;
    }
    return s3_batch_add(measuring->batch, item->key, item->version, err);
}

static int on_upload(void *context, const struct s3_item *item, struct err *err)
{
    struct measuring *measuring = context;

    if (item->modified_s + (int64_t)UPLOAD_RETENTION_DAYS * DAY_S > measuring->now_s) {
        return 0;
    }
    return s3_abort_upload(measuring->loan->s3, &measuring->rc->call, measuring->bucket, item->key,
                           item->version, err);
}

/* A server that knows no uploads has none. */
static int sweep_uploads(struct measuring *measuring, struct err *err)
{
    return s3_list_uploads(measuring->loan->s3, &measuring->rc->call, measuring->bucket, on_upload,
                           measuring, err) &&
                   !err_has_reason(err, "StorageNotImplemented")
               ? -1
               : 0;
}

/* In one listing: what counts, and what is old. */
static int measure_and_sweep(struct measuring *measuring, struct err *err)
{
    struct s3 *s3 = measuring->loan->s3;
    const struct call *call = &measuring->rc->call;
    const struct store_capabilities *can = &measuring->loan->store->capabilities;
    const char *bucket = measuring->bucket;

    if (!can->versioning) {
        return s3_list_objects(s3, call, bucket, "", on_object, measuring, err) ||
                       (!can->lifecycle && sweep_uploads(measuring, err))
                   ? -1
                   : 0;
    }
    AUTO(s3_batch) struct s3_batch *batch = can->lifecycle ? NULL : s3_batch_new(s3, call, bucket);
    measuring->batch = batch;
    if (s3_list_versions(s3, call, bucket, "", on_version, measuring, err) ||
        (batch && (s3_batch_finish(batch, err) || sweep_uploads(measuring, err)))) {
        return -1;
    }
    if (batch && s3_batch_deleted(batch) > 0) {
        work_event(measuring->work, EVENT_NORMAL, "VersionsExpired", "Sweep",
                   "removed %zu versions from bucket \"%s\" that were older than %lld days",
                   s3_batch_deleted(batch), bucket,
                   (long long)measuring->loan->store->version_retention_days);
    }
    return 0;
}

/* Backups are swept as well, and not counted; of them it matters how old the newest is. */
static int measure_buckets(struct measuring *measuring, struct err *err)
{
    const struct tenant_work *work = measuring->work;
    const char *backups = name_bucket(measuring->rc->arena, measuring->loan->store->prefix,
                                      work->tenant->subdomain, BUCKET_BACKUPS);
    int64_t newest_backup_s = 0;

    for (size_t i = 0; i < work->bucket_count; i++) {
        int64_t before = measuring->bytes;
        measuring->bucket = work->buckets[i].name;
        measuring->newest_s = 0;
        if (measure_and_sweep(measuring, err)) {
            return -1;
        }
        if (text_equal(measuring->bucket, backups)) {
            measuring->bytes = before;
            newest_backup_s = measuring->newest_s;
        }
    }
    backup_age_set(work->tenant->name, newest_backup_s);
    return 0;
}

/* ---- the database ---- */

static int query_database_size(struct sql_conn *conn, const struct call *call, const char *database,
                               int64_t *ret_bytes, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT pg_catalog.pg_database_size(oid) FROM pg_catalog.pg_database "
                "WHERE datname = ");
    sql_param(&query, database);
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    *ret_bytes = sql_row_count(rows) > 0 ? sql_int(rows, 0, 0) : 0;
    return 0;
}

/* The whole of a database of its own; of a shared one, what is the tenant's in it. */
static int measure_database(struct measuring *measuring, struct err *err)
{
    AUTO(server_loan) struct server_loan loan = {0};
    struct reconcile *rc = measuring->rc;
    struct scope scope;
    int64_t bytes = 0;

    if (text_is_empty(measuring->work->place.database)) {
        return 0;
    }
    scope_init(&scope, rc->arena, measuring->work);
    bool is_own = scope.mode->owns_database;
    if (servers_borrow(measuring->work->services->servers, rc, scope.server,
                       is_own ? NULL : scope.database, &loan, err)) {
        return -1;
    }
    if (is_own ? query_database_size(loan.conn, &rc->call, scope.database, &bytes, err)
               : part_size(loan.conn, &rc->call, &scope, &bytes, err)) {
        loan.failure = *err;
        return -1;
    }
    measuring->bytes += bytes;
    return 0;
}

/* ---- the step ---- */

/* used: what the registry says; in and out. Nothing is sent when that is so still. */
static int measure(struct reconcile *rc, struct tenant_work *work, int64_t *used, struct err *err)
{
    AUTO(store_loan) struct store_loan loan = {0};
    struct measuring measuring = {.rc = rc, .work = work, .loan = &loan, .now_s = clock_wall_s()};

    if (work->bucket_count > 0) {
        if (stores_borrow(work->services->stores, rc, work->buckets[0].store, &loan, err)) {
            return -1;
        }
        if (measure_buckets(&measuring, err)) {
            loan.failure = *err;
            return -1;
        }
        stores_return(&loan);
    } else {
        backup_age_set(work->tenant->name, 0);
    }
    if (measure_database(&measuring, err)) {
        return -1;
    }
    int64_t rest = (measuring.bytes & ((1 << MEGABYTE_SHIFT) - 1)) > 0 ? 1 : 0;
    int64_t megabytes = (measuring.bytes >> MEGABYTE_SHIFT) + rest;
    if (megabytes == *used) {
        return 0;
    }
    *used = megabytes;
    work_quota_use(work, "storage_mb", megabytes);
    return registry_quota_use(work->services->registry, rc, work->tenant_id, "storage_mb",
                              megabytes, err);
}

int storage_usage_ensure(struct reconcile *rc, void *subject, struct err *err)
{
    struct tenant_work *work = subject;
    int64_t limit = -1;
    int64_t used = -1;

    (void)work_quota(work, "storage_mb", &limit, &used);
    if (rc->drift_check && measure(rc, work, &used, err)) {
        return -1;
    }
    work->storage_spent = limit >= 0 && used >= limit;
    return 0;
}
