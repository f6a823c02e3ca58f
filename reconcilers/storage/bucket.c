/* One bucket: made blindly where its row is new, since the answer tells all; looked at first
 * otherwise.
 *
 * Whose it is: a bucket bears the tenant's id as a tag from its first moment on, where the store
 * can do that. One that bears no mark counts as ours if the registry says that we made it, or said
 * that we were about to and nothing is in it: that is what a crash between the two leaves. */
#include "controller/base/str.h"
#include "reconcilers/model/names.h"
#include "reconcilers/registry/registry.h"
#include "reconcilers/storage/bucket_documents.h"
#include "reconcilers/storage/storage_internal.h"

enum { CONFIG_MAX_BYTES = 64 * 1024 };

/* ---- whose it is ---- */

static int refuse(const struct bucket_context *context, const struct bucket_row *row,
                  const char *why, struct err *err)
{
    return err_set(err, ERR_TERMINAL, "NameConflict",
                   "bucket \"%s\" in ObjectStore \"%s\" exists and is not this tenant's (%s), and "
                   "is left as it is: remove it, or give spec.buckets other names; or, if it is "
                   "this tenant's own, as after a restore, tag it %s=%s and %s=%s",
                   row->bucket, row->store, why, TAG_TENANT_UID, context->work->tenant->uid,
                   TAG_TENANT_ID, context->work->tenant_id);
}

static int stop_at_first(void *context, const struct s3_item *item, struct err *err)
{
    bool *any = context;
    (void)item;
    *any = true;
    return err_set(err, ERR_CANCELED, "Canceled", "seen enough");
}

static int is_empty(const struct bucket_context *context, const struct bucket_row *row, bool *ret,
                    struct err *err)
{
    bool any = false;

    if (s3_list_objects(context->loan->s3, &context->rc->call, row->bucket, "", stop_at_first, &any,
                        err) &&
        !any) {
        return -1;
    }
    *ret = !any;
    return 0;
}

int bucket_look(const struct bucket_context *context, const struct bucket_row *row, bool *ret_found,
                bool *ret_ours, struct err *err)
{
    AUTO(s3_tags) struct s3_tags tags = {0};
    enum bucket_owner owner = BUCKET_UNMARKED;
    const struct call *call = &context->rc->call;

    *ret_found = true;
    *ret_ours = false;
    int result = context->loan->store->capabilities.tags
                     ? s3_bucket_tags(context->loan->s3, call, row->bucket, &tags, err)
                     : s3_bucket_head(context->loan->s3, call, row->bucket, err);
    if (result) {
        *ret_found = err->cls != ERR_NOT_FOUND;
        /* Somebody else's bucket, in another account: nothing of it can be seen. */
        return err->cls == ERR_NOT_FOUND || err_has_reason(err, "StorageForbidden") ? 0 : -1;
    }
    owner = bucket_owner_of(&tags, context->work->tenant_id);
    *ret_ours = owner == BUCKET_OURS || (owner == BUCKET_UNMARKED && row->made);
    return owner == BUCKET_UNMARKED && !row->made ? is_empty(context, row, ret_ours, err) : 0;
}

/* ---- making ---- */

static void make_tags(const struct bucket_context *context, struct s3_tag tags[2])
{
    tags[0] = (struct s3_tag){TAG_TENANT_UID, context->work->tenant->uid};
    tags[1] = (struct s3_tag){TAG_TENANT_ID, context->work->tenant_id};
}

static int create(const struct bucket_context *context, const struct bucket_row *row,
                  bool *ret_created, struct err *err)
{
    struct s3_tag tags[2];
    size_t count = context->loan->store->capabilities.tags ? ARRAY_COUNT(tags) : 0;

    make_tags(context, tags);
    if (s3_bucket_create(context->loan->s3, &context->rc->call, row->bucket, tags, count,
                         ret_created, err)) {
        return err_has_reason(err, "NameConflict")
                   ? refuse(context, row, "it belongs to another account", err)
                   : -1;
    }
    return *ret_created ? bucket_row_made(context->work->services->registry, context->rc,
                                          context->work->tenant_id, row->bucket, err)
                        : 0;
}

static int ensure_tags(const struct bucket_context *context, const struct bucket_row *row,
                       struct err *err)
{
    AUTO(s3_tags) struct s3_tags tags = {0};
    struct s3_tag wanted[2];
    const struct call *call = &context->rc->call;

    if (!context->loan->store->capabilities.tags) {
        return 0;
    }
    make_tags(context, wanted);
    if (s3_bucket_tags(context->loan->s3, call, row->bucket, &tags, err)) {
        return -1;
    }
    if (text_equal(s3_tags_get(&tags, TAG_TENANT_UID), wanted[0].value) &&
        text_equal(s3_tags_get(&tags, TAG_TENANT_ID), wanted[1].value)) {
        return 0;
    }
    return s3_bucket_set_tags(context->loan->s3, call, row->bucket, wanted, 2, err);
}

/* It stands and is ours; *ret_created if this run made it. */
static int ensure_exists(const struct bucket_context *context, const struct bucket_row *row,
                         bool first, bool *ret_created, struct err *err)
{
    bool found = false;
    bool ours = false;

    *ret_created = false;
    if (first && create(context, row, ret_created, err)) {
        return -1;
    }
    if (*ret_created) {
        return 0;
    }
    if (bucket_look(context, row, &found, &ours, err)) {
        return -1;
    }
    if (!found) {
        return create(context, row, ret_created, err);
    }
    if (!ours) {
        return refuse(context, row, "its tags say so, or it cannot be looked at", err);
    }
    if (!row->made && bucket_row_made(context->work->services->registry, context->rc,
                                      context->work->tenant_id, row->bucket, err)) {
        return -1;
    }
    return ensure_tags(context, row, err);
}

/* ---- setting up ---- */

static int ensure_versioning(const struct bucket_context *context, const struct bucket_row *row,
                             bool fresh, struct err *err)
{
    struct s3 *s3 = context->loan->s3;
    const struct call *call = &context->rc->call;
    bool enabled = !context->loan->store->capabilities.versioning;

    if (!enabled && !fresh && s3_bucket_versioning(s3, call, row->bucket, &enabled, err)) {
        return -1;
    }
    return enabled ? 0 : s3_bucket_set_versioning(s3, call, row->bucket, err);
}

static int ensure_document(const struct bucket_context *context, const struct bucket_row *row,
                           bool fresh, const char *kind, const char *document, struct err *err)
{
    AUTO(buf) struct buf actual = BUF(CONFIG_MAX_BYTES);
    const struct call *call = &context->rc->call;

    if (!fresh) {
        if (s3_bucket_config(context->loan->s3, call, row->bucket, kind, &actual, err)) {
            if (err->cls != ERR_NOT_FOUND) {
                return -1;
            }
        } else if (document_says(buf_str(&actual), str_from(document))) {
            return 0;
        }
    }
    return s3_bucket_set_config(context->loan->s3, call, row->bucket, kind, str_from(document),
                                err);
}

static int set_up(const struct bucket_context *context, const struct bucket_row *row, bool fresh,
                  struct err *err)
{
    AUTO(buf) struct buf lifecycle = BUF(CONFIG_MAX_BYTES);
    const struct object_store *store = context->loan->store;
    const struct store_capabilities *can = &store->capabilities;

    document_lifecycle(&lifecycle, can->versioning ? store->version_retention_days : 0);
    const struct {
        bool wanted;
        const char *kind;
        const char *document;
    } documents[] = {
        {can->public_access_block, "publicAccessBlock", DOCUMENT_PUBLIC_ACCESS_BLOCK},
        {can->encryption, "encryption", DOCUMENT_ENCRYPTION},
        {can->lifecycle, "lifecycle", buf_text(&lifecycle)},
    };
    if (ensure_versioning(context, row, fresh, err)) {
        return -1;
    }
    for (size_t i = 0; i < ARRAY_COUNT(documents); i++) {
        if (documents[i].wanted &&
            ensure_document(context, row, fresh, documents[i].kind, documents[i].document, err)) {
            return -1;
        }
    }
    return 0;
}

int bucket_ensure(const struct bucket_context *context, const struct bucket_row *row, bool first,
                  struct err *err)
{
    bool created = false;

    if (ensure_exists(context, row, first, &created, err)) {
        return -1;
    }
    if (created && !first && row->made) {
        work_event(context->work, EVENT_WARNING, "DriftHealed", "Heal",
                   "bucket \"%s\" was gone, and is made anew, empty", row->bucket);
    }
    return set_up(context, row, created, err);
}
