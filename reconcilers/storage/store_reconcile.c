/* The controller of ObjectStore objects: look whether the store takes the controller's key, find
 * out once a generation what it can do, say so in the status, keep the label by which an admission
 * policy protects a store in use. Writes only what differs. */
#include "controller/base/clock.h"
#include "controller/base/str.h"
#include "reconcilers/model/codec.h"
#include "reconcilers/model/conditions.h"
#include "reconcilers/model/names.h"
#include "reconcilers/model/store.h"
#include "reconcilers/model/work.h"
#include "reconcilers/objects/in_use.h"
#include "reconcilers/storage/store_probe.h"
#include "reconcilers/storage/stores.h"

#define MESSAGE_STORE_REACHABLE "The store takes the controller's key."
#define MESSAGE_STORE_READY "Buckets can be made and kept here."

/* What one run knows. */
struct visit {
    struct reconcile *rc;
    const struct services *services;
    struct object_store *store;
    int64_t tenants;
    int64_t probed_generation;
    struct store_capabilities capabilities;
    struct err failure; /* why it cannot serve; cls ERR_OK when it can */
};

static bool count_if_here(void *context, const struct record *record)
{
    struct visit *visit = context;
    AUTO(arena) struct arena scratch = {0};
    arena_init(&scratch, 0);
    struct tenant *tenant = ARENA_NEW(&scratch, struct tenant);
    tenant_unpack(record, &scratch, tenant);
    bool here = false;
    for (size_t i = 0; i < tenant->status.bucket_count; i++) {
        here |= text_equal(tenant->status.buckets[i].store, visit->store->name);
    }
    visit->tenants += here ? 1 : 0;
    return true;
}

/* ---- looking ---- */

/* A server that comes back may have become another one. */
static bool wants_probe(const struct object_store *store)
{
    return store->probed_generation != store->generation ||
           !condition_is_true(&store->conditions, CONDITION_REACHABLE);
}

static int look_at(struct visit *visit, const struct store_loan *loan, struct err *err)
{
    struct reconcile *rc = visit->rc;

    if (store_check(loan, &rc->call, rc->arena, err)) {
        return -1;
    }
    if (!wants_probe(visit->store)) {
        return 0;
    }
    if (store_probe(loan, &rc->call, rc->arena, &visit->capabilities, err)) {
        return -1;
    }
    visit->probed_generation = loan->store->generation;
    return 0;
}

static int look(struct visit *visit, struct err *err)
{
    AUTO(store_loan) struct store_loan loan = {0};

    if (stores_borrow(visit->services->stores, visit->rc, visit->store->name, &loan, err)) {
        return -1;
    }
    if (look_at(visit, &loan, err)) {
        loan.failure = *err;
        return -1;
    }
    return 0;
}

/* ---- the status ---- */

static void put_conditions(struct condition_set *set, const struct visit *visit)
{
    const struct err *failure = &visit->failure;
    bool good = failure->cls == ERR_OK;
    int64_t generation = visit->store->generation;

    condition_put(set, CONDITION_REACHABLE, good ? CONDITION_TRUE : CONDITION_FALSE,
                  good ? "AsSpecified" : failure->reason,
                  good ? MESSAGE_STORE_REACHABLE : failure->message, generation, clock_wall_s());
    condition_put(set, CONDITION_READY, good ? CONDITION_TRUE : CONDITION_FALSE,
                  good ? "AsSpecified" : failure->reason,
                  good ? MESSAGE_STORE_READY : failure->message, generation, clock_wall_s());
}

static void write_findings(struct jsonw *writer, const void *context)
{
    const struct visit *visit = context;
    const struct store_capabilities *found = &visit->capabilities;

    jsonw_int(writer, "probedGeneration", visit->probed_generation);
    if (visit->probed_generation < 0) {
        return;
    }
    jsonw_object(writer, "capabilities");
    jsonw_bool(writer, "versioning", found->versioning);
    jsonw_bool(writer, "lifecycle", found->lifecycle);
    jsonw_bool(writer, "encryption", found->encryption);
    jsonw_bool(writer, "tags", found->tags);
    jsonw_bool(writer, "policy", found->policy);
    jsonw_bool(writer, "publicAccessBlock", found->public_access_block);
    jsonw_bool(writer, "objectLock", found->object_lock);
    jsonw_bool(writer, "quota", found->quota);
    jsonw_end_object(writer);
}

static struct in_use as_in_use(const struct visit *visit)
{
    const struct object_store *store = visit->store;

    return (struct in_use){
        .resource = &KUBE_OBJECT_STORES,
        .cache = visit->services->object_stores,
        .name = store->name,
        .uid = store->uid,
        .generation = store->generation,
        .label = store->in_use_label,
    };
}

static bool is_same_status(const struct visit *visit, const struct condition_set *conditions)
{
    const struct object_store *store = visit->store;
    return store->observed_generation == store->generation &&
           store->probed_generation == visit->probed_generation &&
           store->status_tenants == visit->tenants &&
           memcmp(&store->capabilities, &visit->capabilities, sizeof(store->capabilities)) == 0 &&
           condition_set_equal(conditions, &store->conditions);
}

static int write_status(const struct visit *visit, struct err *err)
{
    const struct in_use object = as_in_use(visit);
    struct condition_set conditions = visit->store->conditions;

    put_conditions(&conditions, visit);
    return is_same_status(visit, &conditions)
               ? 0
               : in_use_write_status(visit->rc, visit->services, &object, visit->tenants,
                                     &conditions, write_findings, visit, err);
}

static int write_label(const struct visit *visit, struct err *err)
{
    const struct in_use object = as_in_use(visit);
    return in_use_write_label(visit->rc, visit->services, &object, visit->tenants > 0, err);
}

/* ---- the reconcile ---- */

static int64_t next_check_ms(const struct services *services)
{
    int64_t period_ms = services->drift_period_ms;
    return period_ms > 0 ? period_ms - period_ms / 5 + clock_jitter_ms(period_ms / 5 * 2 + 1) : 0;
}

static void merge(struct outcome *outcome, const struct err *err, int64_t next_ms)
{
    struct outcome of_write = outcome_from_err(err, next_ms);
    *outcome = outcome_merge(outcome, &of_write);
}

static void begin(struct visit *visit, struct reconcile *rc, const struct record *record)
{
    visit->rc = rc;
    visit->services = rc->environment;
    visit->store = ARENA_NEW(rc->arena, struct object_store);
    object_store_unpack(record, rc->arena, visit->store);
    visit->capabilities = visit->store->capabilities;
    visit->probed_generation = visit->store->probed_generation;
    cache_each(visit->services->tenants, count_if_here, visit);
}

struct outcome object_store_reconcile(struct reconcile *rc)
{
    const struct services *services = rc->environment;
    AUTO(record) const struct record *record = cache_get(services->object_stores, rc->key);
    struct visit *visit = ARENA_NEW(rc->arena, struct visit);
    struct err err;

    if (!record) {
        stores_forget(services->stores, rc->key);
        return outcome_done(0);
    }
    begin(visit, rc, record);
    int64_t next_ms = next_check_ms(services);
    /* An error that was expected leaves its words behind, so that only a failure's are kept. */
    if (look(visit, &err)) {
        if (err.cls == ERR_CANCELED || err_has_reason(&err, "BackendBusy")) {
            return outcome_from_err(&err, next_ms);
        }
        visit->failure = err;
    }
    struct outcome outcome = visit->failure.cls == ERR_OK
                                 ? outcome_done(next_ms)
                                 : outcome_from_err(&visit->failure, next_ms);
    if (write_label(visit, &err)) {
        merge(&outcome, &err, next_ms);
    }
    if (write_status(visit, &err)) {
        merge(&outcome, &err, next_ms);
    }
    return outcome;
}
