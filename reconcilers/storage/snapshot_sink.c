#include "reconcilers/storage/snapshot_sink.h"

#include "controller/base/str.h"
#include "reconcilers/storage/storage_internal.h"

/* ---- one object ---- */

struct object {
    struct s3 *writer;
    struct s3 *reader;
    char *bucket;
    char *key;
    struct s3_upload *upload; /* from the first piece until it is finished */
    /* Of a tenant's; none in a test of this part alone. */
    struct store_loan loan;
    struct http_client *http;
};

static int write_piece(void *context, const struct call *call, struct str piece, struct err *err)
{
    struct object *object = context;

    if (!object->upload) {
        object->upload = s3_upload_new(object->writer, call, object->bucket, object->key);
    }
    return s3_upload_write(object->upload, piece, err);
}

static int holds(void *context, const struct call *call, int64_t size_bytes, bool *ret,
                 struct err *err)
{
    const struct object *object = context;
    struct s3_object_info info = {0};

    *ret = false;
    if (s3_head(object->writer, call, object->bucket, object->key, &info, err)) {
        return err->cls == ERR_NOT_FOUND ? 0 : -1;
    }
    *ret = info.size_bytes == size_bytes;
    return 0;
}

static int finish(void *context, const struct call *call, struct err *err)
{
    struct object *object = context;
    struct s3_summary summary;

    (void)call;
    if (!object->upload) {
        return err_set(err, ERR_RETRY, "SnapshotIncomplete", "the dump is empty");
    }
    int result = s3_upload_finish(object->upload, &summary, err);
    s3_upload_free(TAKE(object->upload));
    return result;
}

struct taking {
    pg_dump_fn take;
    void *context;
};

static int take_piece(void *context, struct str piece, struct err *err)
{
    const struct taking *taking = context;
    return piece.len > 0 ? taking->take(taking->context, piece, err) : 0;
}

static int read_back(void *context, const struct call *call, pg_dump_fn take, void *take_context,
                     struct err *err)
{
    const struct object *object = context;
    struct taking taking = {take, take_context};

    return s3_get(object->reader, call, object->bucket, object->key, take_piece, &taking, err);
}

static void close_object(void *context)
{
    struct object *object = context;
    bool lent = object->loan.internal != NULL;

    s3_upload_free(object->upload);
    if (lent) {
        s3_free(object->reader);
        http_client_free(object->http);
        stores_return(&object->loan);
    }
    free(object->bucket);
    free(object->key);
    free(object);
}

static struct object *init(struct snapshot_sink *sink, struct s3 *writer, struct s3 *reader,
                           const char *bucket, const char *key)
{
    struct object *object = xcalloc(1, sizeof(*object));

    object->writer = writer;
    object->reader = reader;
    object->bucket = xstrdup(bucket);
    object->key = xstrdup(key);
    *sink = (struct snapshot_sink){
        .context = object,
        .location = "",
        .object = object->key,
        .write = write_piece,
        .holds = holds,
        .finish = finish,
        .read = read_back,
        .close = close_object,
    };
    return object;
}

void snapshot_sink_init(struct snapshot_sink *sink, struct s3 *writer, struct s3 *reader,
                        const char *bucket, const char *key)
{
    (void)init(sink, writer, reader, bucket, key);
}

/* ---- a tenant's ---- */

static int no_store(struct err *err)
{
    return err_set(err, ERR_TERMINAL, "SnapshotNoStore",
                   "deletionPolicy Snapshot puts the snapshot into the tenant's bucket \"%s\", and "
                   "the tenant has none; nothing was deleted: give it one (an ObjectStore, and "
                   "spec.buckets), or set deletionPolicy to Retain or Delete",
                   BUCKET_BACKUPS);
}

static const struct bucket_row *find_backups(const struct bucket_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (text_equal(rows[i].name, BUCKET_BACKUPS)) {
            return &rows[i];
        }
    }
    return NULL;
}

static int open_in(struct store_loan *loan, struct reconcile *rc, const struct tenant_work *work,
                   int earlier, const struct bucket_row *row, struct snapshot_sink *ret,
                   struct err *err)
{
    const struct bucket_context context = {rc, work, loan};
    struct http_client *http = NULL;
    struct s3 *reader = NULL;
    bool found = false;
    bool ours = false;

    if (bucket_look(&context, row, &found, &ours, err)) {
        return -1;
    }
    if (!found || !ours) {
        return no_store(err);
    }
    if (stores_open_apart(loan, &http, &reader, err)) {
        return -1;
    }
    bool whole = work->place.isolation == ISOLATION_DATABASE;
    const char *number = earlier > 0 ? arena_printf(rc->arena, "-%d", earlier + 1) : "";
    const char *key =
        arena_printf(rc->arena, "snapshots/%s-%s%s.dump",
                     whole ? work->place.database : work->place.schema, work->tenant->uid, number);
    struct object *object = init(ret, loan->s3, reader, row->bucket, key);
    object->http = http;
    object->loan = *loan;
    *loan = (struct store_loan){0};
    ret->location = arena_printf(rc->arena, "ObjectStore \"%s\"", row->store);
    ret->object = arena_printf(rc->arena, "%s/%s", row->bucket, key);
    return 0;
}

static int open_snapshot(void *context, struct reconcile *rc, const struct tenant_work *work,
                         int earlier, struct snapshot_sink *ret, struct err *err)
{
    AUTO(store_loan) struct store_loan loan = {0};
    struct bucket_row *rows = NULL;
    size_t count = 0;

    (void)context;
    if (bucket_rows_fetch(work->services->registry, rc, work->tenant_id, &rows, &count, err)) {
        return -1;
    }
    const struct bucket_row *row = find_backups(rows, count);
    if (!row) {
        return no_store(err);
    }
    if (stores_borrow(work->services->stores, rc, row->store, &loan, err)) {
        return -1;
    }
    if (open_in(&loan, rc, work, earlier, row, ret, err)) {
        loan.failure = *err;
        return -1;
    }
    return 0;
}

const struct snapshot_store storage_snapshots = {.open = open_snapshot};
