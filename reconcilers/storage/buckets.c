/* The step Buckets. The registry's rows come first: they say which store the tenant is in, and what
 * it has, also what the spec names no longer. So nothing that was ever made is forgotten at the
 * end, and a crash leaves at most an empty bucket with a row. */
#include "controller/base/clock.h"
#include "controller/base/str.h"
#include "reconcilers/model/codec.h"
#include "reconcilers/model/names.h"
#include "reconcilers/model/store.h"
#include "reconcilers/registry/registry.h"
#include "reconcilers/storage/steps.h"
#include "reconcilers/storage/storage_internal.h"

enum { DAY_S = 24 * 60 * 60, NOT_PROBED_RETRY_MS = 500 };

/* ---- ensure ---- */

static int ensure_all(struct reconcile *rc, const struct tenant_work *work,
                      const struct store_loan *loan, const struct buckets_plan *plan,
                      struct err *err)
{
    const struct bucket_context context = {rc, work, loan};

    for (size_t i = 0; i < plan->wanted_count; i++) {
        const struct bucket_row *row = plan->wanted[i];
        bool first = false;
        for (size_t j = 0; j < plan->fresh_count; j++) {
            first |= text_equal(plan->fresh[j].bucket, row->bucket);
        }
        if (bucket_ensure(&context, row, first, err)) {
            return -1;
        }
    }
    return 0;
}

/* What the store can do decides how buckets are made, so that comes first; it takes a moment after
 * the store was registered. */
static int check_probed(const struct object_store *store, struct err *err)
{
    if (store->probed_generation >= 0) {
        return 0;
    }
    (void)err_set(err, ERR_WAIT, "Waiting",
                  "what ObjectStore \"%s\" can do is not known yet; its condition Reachable says "
                  "why, if that lasts",
                  store->name);
    err->retry_after_ms = NOT_PROBED_RETRY_MS;
    return -1;
}

static int ensure_in_store(struct reconcile *rc, struct tenant_work *work,
                           const struct store_loan *loan, const char *const *names,
                           size_t name_count, const struct bucket_row *rows, size_t row_count,
                           struct err *err)
{
    struct buckets_plan plan;

    if (check_probed(loan->store, err) ||
        buckets_plan(rc->arena, work->tenant->subdomain, names, name_count, rows, row_count,
                     loan->store, &plan, err) ||
        (plan.fresh_count > 0 && bucket_rows_add(work->services->registry, rc, work->tenant_id,
                                                 plan.fresh, plan.fresh_count, err)) ||
        ensure_all(rc, work, loan, &plan, err)) {
        return -1;
    }
    struct tenant_bucket *buckets = ARENA_ARRAY(rc->arena, struct tenant_bucket, plan.wanted_count);
    for (size_t i = 0; i < plan.wanted_count; i++) {
        buckets[i] = (struct tenant_bucket){plan.wanted[i]->bucket, plan.wanted[i]->store};
    }
    work->buckets = buckets;
    work->bucket_count = plan.wanted_count;
    work->buckets_known = true;
    return 0;
}

static int none(struct tenant_work *work)
{
    work->buckets_known = true;
    return 0;
}

int buckets_ensure(struct reconcile *rc, void *subject, struct err *err)
{
    AUTO(store_loan) struct store_loan loan = {0};
    struct tenant_work *work = subject;
    const char *const *names = NULL;
    struct bucket_row *rows = NULL;
    size_t name_count = 0;
    size_t row_count = 0;
    bool asked = false;

    buckets_wanted(rc->arena, work->tenant, work->tier, &names, &name_count, &asked);
    if (bucket_rows_fetch(work->services->registry, rc, work->tenant_id, &rows, &row_count, err)) {
        return -1;
    }
    const char *store = row_count > 0
                            ? rows[0].store
                            : object_store_choose(work->services->object_stores, rc->arena);
    if (name_count == 0 || (!store && !asked)) {
        return none(work);
    }
    if (!store) {
        return err_set(err, ERR_RETRY, "StoreNotFound",
                       "the tenant asks for buckets, and there is no ObjectStore: create one named "
                       "\"%s\"",
                       NAME_STORE_DEFAULT);
    }
    if (stores_borrow(work->services->stores, rc, store, &loan, err)) {
        return -1;
    }
    if (ensure_in_store(rc, work, &loan, names, name_count, rows, row_count, err)) {
        loan.failure = *err;
        return -1;
    }
    return 0;
}

/* ---- the end ---- */

static int add_size(void *context, const struct s3_item *item, struct err *err)
{
    int64_t *bytes = context;
    (void)err;
    *bytes += item->size_bytes;
    return 0;
}

/* When the purge of what grace keeps is due, 0 = never (tenant_purge.c). */
static int64_t delete_after_s(const struct tenant_work *work)
{
    return work_keeps_for_days(work) ? clock_wall_s() + work->tenant->deletion_grace_days * DAY_S
                                     : 0;
}

/* Listed once: how large it is is taken then, and not looked at again. */
static int retain_bucket(const struct bucket_context *context, const struct bucket_row *row,
                         struct err *err)
{
    const struct tenant_work *work = context->work;
    struct retained item = {"bucket", row->bucket, row->store, 0};

    if (s3_list_objects(context->loan->s3, &context->rc->call, row->bucket, "", add_size,
                        &item.size_bytes, err)) {
        return -1;
    }
    return registry_retain(work->services->registry, context->rc, work->tenant_id,
                           work->tenant->subdomain, &item, 1, delete_after_s(work), err);
}

static int delete_bucket(const struct bucket_context *context, const struct bucket_row *row,
                         struct err *err)
{
    const struct call *call = &context->rc->call;
    size_t deleted = 0;

    if (s3_bucket_empty(context->loan->s3, call, row->bucket, &deleted, err) ||
        s3_bucket_delete(context->loan->s3, call, row->bucket, err)) {
        return -1;
    }
    work_event(context->work, EVENT_NORMAL, "BucketDeleted", "Delete",
               "deleted bucket \"%s\" in ObjectStore \"%s\" with %zu objects and versions",
               row->bucket, row->store, deleted);
    return 0;
}

static int forget(const struct bucket_context *context, const struct bucket_row *row,
                  struct err *err)
{
    struct registry *registry = context->work->services->registry;
    const char *id = context->work->tenant_id;

    return registry_unretain(registry, context->rc, id, "bucket", row->bucket, err) ||
                   bucket_row_remove(registry, context->rc, id, row->bucket, err)
               ? -1
               : 0;
}

/* A Snapshot keeps the buckets as Retain does. */
static bool keeps(const struct tenant_work *work)
{
    return work_retains(work) || work->deletion_policy == DELETION_SNAPSHOT;
}

static int end_bucket(const struct bucket_context *context, const struct bucket_row *row,
                      struct err *err)
{
    bool found = false;
    bool ours = false;

    if (bucket_look(context, row, &found, &ours, err)) {
        return -1;
    }
    if (found && ours && keeps(context->work)) {
        return retain_bucket(context, row, err);
    }
    if (found && ours && delete_bucket(context, row, err)) {
        return -1;
    }
    return forget(context, row, err);
}

static int end_all(struct reconcile *rc, struct tenant_work *work, const struct bucket_row *rows,
                   size_t count, struct err *err)
{
    AUTO(store_loan) struct store_loan loan = {0};

    if (stores_borrow(work->services->stores, rc, rows[0].store, &loan, err)) {
        return -1;
    }
    const struct bucket_context context = {rc, work, &loan};
    for (size_t i = 0; i < count; i++) {
        if (end_bucket(&context, &rows[i], err)) {
            loan.failure = *err;
            return -1;
        }
    }
    if (keeps(work)) {
        const char *reason = work->retain_reason;
        work_event(work, EVENT_NORMAL, text_is_empty(reason) ? "Retained" : reason, "Retain",
                   "kept: %zu buckets in ObjectStore \"%s\", from \"%s\" on; their keys are gone, "
                   "and a new Tenant with the annotation %s: %s takes them back",
                   count, rows[0].store, rows[0].bucket, NAME_ANNOTATION_ADOPT, work->tenant_id);
    }
    return 0;
}

/* The user gave the store up: what should be there is listed, and nothing is touched. */
static int let_go(struct reconcile *rc, struct tenant_work *work, const struct bucket_row *rows,
                  size_t count, struct err *err)
{
    const struct err cause = *err;

    for (size_t i = 0; i < count; i++) {
        const struct retained item = {"bucket", rows[i].bucket, rows[i].store, 0};
        if (registry_retain(work->services->registry, rc, work->tenant_id, work->tenant->subdomain,
                            &item, 1, delete_after_s(work), err)) {
            return -1;
        }
    }
    work_event(work, EVENT_WARNING, "ForceFinalized", "Delete",
               "let go of %zu buckets in ObjectStore \"%s\" without touching them, as the "
               "annotation %s says; they are listed as retained: %s",
               count, rows[0].store, NAME_ANNOTATION_FORCE, cause.message);
    return 0;
}

int buckets_finalize(struct reconcile *rc, void *subject, struct err *err)
{
    struct tenant_work *work = subject;
    struct bucket_row *rows = NULL;
    size_t count = 0;

    if (text_is_empty(work->tenant_id)) {
        return 0;
    }
    if (bucket_rows_fetch(work->services->registry, rc, work->tenant_id, &rows, &count, err)) {
        return -1;
    }
    if (count == 0) {
        return 0;
    }
    int result = end_all(rc, work, rows, count, err);
    if (result && work->tenant->force_finalize && err->cls != ERR_CANCELED) {
        return let_go(rc, work, rows, count, err);
    }
    return result;
}
