/* The Secret with everything that a client of the tenant's buckets needs. */
#include "controller/base/str.h"
#include "reconcilers/model/names.h"
#include "reconcilers/objects/objects.h"
#include "reconcilers/storage/keys_internal.h"

enum { NUMBER_BYTES = 24, LIST_MAX_BYTES = 8192 };

#define ENTRY_ID "AWS_ACCESS_KEY_ID"
#define ENTRY_SECRET "AWS_SECRET_ACCESS_KEY"
/* For the controller itself: they tell how far a rotation is. */
#define ENTRY_PREVIOUS "previous-access-key-id"
#define ENTRY_PREVIOUS_UNTIL "previous-until"
#define ENTRY_ROTATION "rotation"

static const char *entry(const struct keys_run *run, const char *name)
{
    const struct secret *value = kube_secret_get(&run->current, name);
    return value ? arena_strdup(run->rc->arena, secret_bytes(value)) : "";
}

static void read_known(struct keys_run *run)
{
    const struct secret *secret = kube_secret_get(&run->current, ENTRY_SECRET);
    int64_t until_s = 0;

    if (!str_to_int64(str_from(entry(run, ENTRY_PREVIOUS_UNTIL)), &until_s)) {
        until_s = 0;
    }
    run->known = (struct keys_known){
        .id = entry(run, ENTRY_ID),
        .has_secret = secret && !secret_is_empty(secret),
        .previous_id = entry(run, ENTRY_PREVIOUS),
        .previous_until_s = until_s,
        .rotation = entry(run, ENTRY_ROTATION),
    };
    (void)snprintf(run->id, sizeof(run->id), "%s", run->known.id);
    if (secret) {
        secret_copy(&run->secret, secret);
    }
}

int keys_secret_read(struct keys_run *run, struct err *err)
{
    const struct tenant_work *work = run->work;

    if (work->namespace_fresh) {
        read_known(run);
        return 0; /* nothing is in a namespace that this run made */
    }
    run->has_secret_object = true;
    if (kube_secret_fetch(work->services->kube, &run->rc->call, run->namespace_, run->secret_name,
                          NAME_LABEL_TENANT_UID, &run->current, err)) {
        if (err->cls != ERR_NOT_FOUND) {
            return -1;
        }
        run->has_secret_object = false;
    } else if (!text_equal(run->current.owner_uid, work->tenant->uid) &&
               !(*run->current.owner_uid && object_adopts(work))) {
        return object_refuse(work, "secret", run->namespace_, run->secret_name,
                             run->current.owner_uid, err);
    }
    read_known(run);
    return 0;
}

static void put_buckets(const struct keys_run *run, struct kube_secret *wanted)
{
    AUTO(buf) struct buf list = BUF(LIST_MAX_BYTES);
    for (size_t i = 0; i < run->work->bucket_count; i++) {
        (void)buf_printf(&list, "%s%s", i > 0 ? "," : "", run->work->buckets[i].name);
    }
    kube_secret_put_text(wanted, "buckets", buf_text(&list));
}

static void render(const struct keys_run *run, struct kube_secret *wanted)
{
    const struct object_store *store = run->loan->store;
    char until[NUMBER_BYTES];

    (void)snprintf(until, sizeof(until), "%lld", (long long)run->plan.previous_until_s);
    kube_secret_put_text(wanted, ENTRY_ID, run->id);
    kube_secret_put(wanted, ENTRY_SECRET, &run->secret);
    kube_secret_put_text(wanted, "AWS_REGION", store->region);
    kube_secret_put_text(wanted, "AWS_ENDPOINT_URL_S3", store->endpoint);
    kube_secret_put_text(wanted, "endpoint", store->endpoint);
    kube_secret_put_text(wanted, "region", store->region);
    kube_secret_put_text(wanted, "path-style", store->path_style ? "true" : "false");
    put_buckets(run, wanted);
    kube_secret_put_text(wanted, "ca.crt", store->ca_bundle);
    kube_secret_put_text(wanted, ENTRY_PREVIOUS, run->plan.previous_id);
    kube_secret_put_text(wanted, ENTRY_PREVIOUS_UNTIL, until);
    kube_secret_put_text(wanted, ENTRY_ROTATION, run->plan.rotation);
}

/* Whether all of `wanted` is there; what else is, does not matter. */
static bool holds(const struct kube_secret *actual, const struct kube_secret *wanted)
{
    for (size_t i = 0; i < wanted->count; i++) {
        const struct secret *value = kube_secret_get(actual, wanted->entries[i].name);
        if (!value || !secret_equal(value, &wanted->entries[i].value)) {
            return false;
        }
    }
    return true;
}

int keys_secret_ensure(struct keys_run *run, struct err *err)
{
    AUTO(kube_secret) struct kube_secret wanted = {0};
    struct kube_pair labels[3];
    const struct tenant_work *work = run->work;

    render(run, &wanted);
    if (run->has_secret_object && text_equal(run->current.owner_uid, work->tenant->uid) &&
        holds(&run->current, &wanted)) {
        return 0;
    }
    run->changed = true;
    return kube_secret_apply(work->services->kube, &run->rc->call, run->namespace_,
                             run->secret_name, NAME_MANAGER, labels, work_labels(work, labels),
                             &wanted, err);
}
