/* One `struct store` is one generation of one ObjectStore object: what the object said and a guard.
 * Its clients are a thing of their own, since they change when the Secret with the key does: the
 * next borrower makes new ones, and the old ones go with their last loan.
 *
 * Lock: stores->lock guards the table, all reference counts and which clients a store has. It is
 * never held during I/O. */
#include "reconcilers/storage/stores.h"

#include <pthread.h>
#include <string.h>

#include "controller/base/clock.h"
#include "controller/base/map.h"
#include "controller/base/str.h"
#include "controller/kube/secret_object.h"
#include "controller/runtime/backend.h"
#include "reconcilers/drivers/aws.h"
#include "reconcilers/model/codec.h"
#include "reconcilers/model/names.h"
#include "reconcilers/model/store.h"
#include "reconcilers/model/work.h"

enum { CLIENTS_MAX_AGE_MS = 5 * 60 * 1000 };

struct stores {
    struct kube_client *kube;
    struct cache *cache;
    char *system_namespace;
    int requests;
    pthread_mutex_t lock;
    struct map by_name; /* of struct store */
};

struct clients {
    int references; /* of the store, and one a loan; under stores->lock */
    char *access_key;
    struct secret secret_key;
    struct http_client *http;
    struct s3 *s3;
    struct iam *iam;
};

struct store {
    struct stores *stores;
    int references; /* of the table, and one a loan; under stores->lock */
    struct arena memory;
    struct object_store *spec; /* in memory */
    struct backend *backend;
    struct clients *clients; /* NULL: none yet; under stores->lock */
    int64_t read_ms;         /* when their key was read; the same */
};

/* ---- clients ---- */

static void clients_free(struct clients *clients)
{
    if (!clients) {
        return;
    }
    s3_free(clients->s3);
    iam_free(clients->iam);
    if (clients->http) {
        http_client_free(clients->http);
    }
    secret_release(&clients->secret_key);
    free(clients->access_key);
    free(clients);
}

static void clients_unref(struct stores *stores, struct clients *clients)
{
    if (!clients) {
        return;
    }
    pthread_mutex_lock(&stores->lock);
    bool last = --clients->references == 0;
    pthread_mutex_unlock(&stores->lock);
    if (last) {
        clients_free(clients);
    }
}

static struct s3_config config_of(const struct object_store *spec, const char *access_key,
                                  const struct secret *secret_key)
{
    return (struct s3_config){
        .endpoint = spec->endpoint,
        .region = spec->region,
        .path_style = spec->path_style,
        .access_key = access_key,
        .secret_key = secret_key,
        .bucket_owner = text_is_empty(spec->bucket_owner) ? NULL : spec->bucket_owner,
    };
}

static int clients_open(struct clients *clients, const struct object_store *spec, struct err *err)
{
    const struct s3_config config = config_of(spec, clients->access_key, &clients->secret_key);
    const char *ca = text_is_empty(spec->ca_bundle) ? NULL : spec->ca_bundle;

    if (s3_http_client_new("s3", ca, &clients->http, err) ||
        s3_new(clients->http, &config, &clients->s3, err)) {
        return -1;
    }
    if (spec->account_driver != ACCOUNTS_AWS_IAM) {
        return 0;
    }
    return iam_new(clients->http, spec->account_endpoint, spec->region, clients->access_key,
                   &clients->secret_key, &clients->iam, err);
}

static int missing(struct err *err, const struct object_store *spec, const char *namespace_,
                   const char *what)
{
    return err_set(err, ERR_RETRY, "StorageCredentialsMissing",
                   "ObjectStore \"%s\" names Secret \"%s/%s\", %s", spec->name, namespace_,
                   spec->credentials_secret, what);
}

static int fetch_key(struct store *store, const struct call *call, struct clients *clients,
                     struct err *err)
{
    AUTO(kube_secret) struct kube_secret secret = {0};
    struct stores *stores = store->stores;
    const struct object_store *spec = store->spec;

    if (kube_secret_fetch(stores->kube, call, stores->system_namespace, spec->credentials_secret,
                          NAME_LABEL_TENANT_UID, &secret, err)) {
        return err->cls == ERR_NOT_FOUND
                   ? missing(err, spec, stores->system_namespace, "which does not exist")
                   : err_wrap(err, "Secret \"%s/%s\"", stores->system_namespace,
                              spec->credentials_secret);
    }
    const struct secret *id = kube_secret_get(&secret, "AWS_ACCESS_KEY_ID");
    const struct secret *key = kube_secret_get(&secret, "AWS_SECRET_ACCESS_KEY");
    if (!id || secret_is_empty(id) || !key || secret_is_empty(key)) {
        return missing(err, spec, stores->system_namespace,
                       "which lacks the key AWS_ACCESS_KEY_ID or AWS_SECRET_ACCESS_KEY");
    }
    clients->access_key = xstrdup(secret_bytes(id));
    secret_copy(&clients->secret_key, key);
    return 0;
}

static bool has_same_key(const struct clients *known, const struct clients *fresh)
{
    return known && text_equal(known->access_key, fresh->access_key) &&
           secret_equal(&known->secret_key, &fresh->secret_key);
}

/* Keep what was read, unless it is what is known; the reference that is returned is the caller's.
 */
static struct clients *remember(struct store *store, struct clients *fresh)
{
    struct stores *stores = store->stores;

    pthread_mutex_lock(&stores->lock);
    struct clients *known = store->clients;
    store->read_ms = clock_monotonic_ms();
    if (has_same_key(known, fresh)) {
        known->references++;
        pthread_mutex_unlock(&stores->lock);
        clients_free(fresh);
        return known;
    }
    store->clients = fresh;
    fresh->references = 2;
    pthread_mutex_unlock(&stores->lock);
    clients_unref(stores, known);
    return fresh;
}

static struct clients *recall(struct store *store, int64_t max_age_ms)
{
    pthread_mutex_lock(&store->stores->lock);
    struct clients *known = store->clients;
    if (known && clock_monotonic_ms() - store->read_ms >= max_age_ms) {
        known = NULL;
    }
    if (known) {
        known->references++;
    }
    pthread_mutex_unlock(&store->stores->lock);
    return known;
}

/* A reference that the caller unrefs; NULL with *err. If the Secret cannot be read but was once,
 * the old key serves on: losing the API server must not lose the buckets. */
static struct clients *get_clients(struct store *store, const struct call *call, struct err *err)
{
    struct clients *known = recall(store, CLIENTS_MAX_AGE_MS);
    if (known) {
        return known;
    }
    struct clients *fresh = xcalloc(1, sizeof(*fresh));
    if (fetch_key(store, call, fresh, err) == 0) {
        if (clients_open(fresh, store->spec, err) == 0) {
            return remember(store, fresh);
        }
        (void)err_wrap(err, "ObjectStore \"%s\"", store->spec->name);
        clients_free(fresh);
        return NULL;
    }
    clients_free(fresh);
    bool told = err_has_reason(err, "StorageCredentialsMissing") || err->cls == ERR_CANCELED;
    return told ? NULL : recall(store, INT64_MAX);
}

/* ---- one generation of a store ---- */

static struct store *store_new(struct stores *stores, const struct record *record)
{
    struct store *store = xcalloc(1, sizeof(*store));

    store->stores = stores;
    store->references = 1;
    arena_init(&store->memory, 0);
    store->spec = ARENA_NEW(&store->memory, struct object_store);
    object_store_unpack(record, &store->memory, store->spec);
    AUTO(free) char *name = xasprintf("store %s", store->spec->name);
    store->backend = backend_new(name, stores->requests);
    return store;
}

static void store_unref(struct stores *stores, struct store *store)
{
    if (!store) {
        return;
    }
    pthread_mutex_lock(&stores->lock);
    bool last = --store->references == 0;
    pthread_mutex_unlock(&stores->lock);
    if (!last) {
        return;
    }
    clients_unref(stores, store->clients);
    backend_free(store->backend);
    arena_release(&store->memory);
    free(store);
}

/* ---- the table ---- */

struct stores *stores_new(struct kube_client *kube, struct cache *cache,
                          const char *system_namespace, int requests_per_store)
{
    struct stores *stores = xcalloc(1, sizeof(*stores));

    stores->kube = kube;
    stores->cache = cache;
    stores->system_namespace = xstrdup(system_namespace);
    stores->requests = requests_per_store > 0 ? requests_per_store : 1;
    pthread_mutex_init(&stores->lock, NULL);
    map_init(&stores->by_name);
    return stores;
}

void stores_free(struct stores *stores)
{
    size_t cursor = 0;
    struct str name;
    void *store = NULL;

    if (!stores) {
        return;
    }
    while (map_next(&stores->by_name, &cursor, &name, &store)) {
        store_unref(stores, store);
    }
    map_release(&stores->by_name);
    pthread_mutex_destroy(&stores->lock);
    free(stores->system_namespace);
    free(stores);
}

void stores_forget(struct stores *stores, const char *store)
{
    pthread_mutex_lock(&stores->lock);
    struct store *known = map_remove(&stores->by_name, str_from(store));
    pthread_mutex_unlock(&stores->lock);
    store_unref(stores, known);
}

/* Whether the object still says what the store was made from: its spec, and what was found by the
 * probe since. */
static bool is_current(const struct store *store, const struct record *record)
{
    AUTO(arena) struct arena scratch = {0};
    AUTO(buf) struct buf was = BUF(1UL << 20);
    AUTO(buf) struct buf is = BUF(1UL << 20);
    arena_init(&scratch, 0);
    struct object_store *now = ARENA_NEW(&scratch, struct object_store);
    object_store_unpack(record, &scratch, now);
    object_store_spec_pack(store->spec, &was);
    object_store_spec_pack(now, &is);
    return now->generation < store->spec->generation ||
           (text_equal(now->uid, store->spec->uid) && str_equal(buf_str(&was), buf_str(&is)) &&
            now->probed_generation == store->spec->probed_generation);
}

/* A reference that the caller unrefs; NULL with *err. */
static struct store *store_get(struct stores *stores, const char *name, struct err *err)
{
    AUTO(record) const struct record *record = cache_get(stores->cache, name);
    struct store *outdated = NULL;

    if (!record) {
        stores_forget(stores, name);
        (void)err_set(err, ERR_RETRY, "StoreNotFound", "there is no ObjectStore \"%s\"", name);
        return NULL;
    }
    pthread_mutex_lock(&stores->lock);
    struct store *store = map_get(&stores->by_name, str_from(name));
    if (!store || !is_current(store, record)) {
        store = store_new(stores, record);
        outdated = map_put(&stores->by_name, str_from(name), store);
    }
    store->references++;
    pthread_mutex_unlock(&stores->lock);
    store_unref(stores, outdated);
    return store;
}

/* ---- loans ---- */

struct borrowed {
    struct store *store;
    struct clients *clients;
};

int stores_borrow(struct stores *stores, struct reconcile *rc, const char *name,
                  struct store_loan *loan, struct err *err)
{
    struct store *store = store_get(stores, name, err);
    if (!store) {
        return -1;
    }
    struct clients *clients = get_clients(store, &rc->call, err);
    if (!clients || backend_enter(store->backend, rc, err)) {
        clients_unref(stores, clients);
        store_unref(stores, store);
        return -1;
    }
    struct borrowed *borrowed = xcalloc(1, sizeof(*borrowed));
    *borrowed = (struct borrowed){store, clients};
    *loan = (struct store_loan){
        .internal = borrowed, .s3 = clients->s3, .iam = clients->iam, .store = store->spec};
    return 0;
}

void stores_return(struct store_loan *loan)
{
    struct borrowed *borrowed = loan->internal;
    struct store *store = borrowed->store;
    struct stores *stores = store->stores;
    bool unreachable = aws_err_unreachable(&loan->failure);

    if (err_has_reason(&loan->failure, "StorageCredentials")) {
        /* The key may have been changed, and the Secret after it: the next borrower looks. */
        pthread_mutex_lock(&stores->lock);
        store->read_ms = clock_monotonic_ms() - CLIENTS_MAX_AGE_MS;
        pthread_mutex_unlock(&stores->lock);
    }
    backend_leave(store->backend, unreachable, unreachable ? &loan->failure : NULL);
    clients_unref(stores, borrowed->clients);
    store_unref(stores, store);
    free(borrowed);
    *loan = (struct store_loan){0};
}

int stores_open_as(const struct store_loan *loan, const char *access_key,
                   const struct secret *secret_key, struct s3 **ret, struct err *err)
{
    const struct borrowed *borrowed = loan->internal;
    const struct s3_config config = config_of(loan->store, access_key, secret_key);

    return s3_new(borrowed->clients->http, &config, ret, err);
}

int stores_open_apart(const struct store_loan *loan, struct http_client **ret_http, struct s3 **ret,
                      struct err *err)
{
    const struct borrowed *borrowed = loan->internal;
    const struct object_store *spec = loan->store;
    const struct s3_config config =
        config_of(spec, borrowed->clients->access_key, &borrowed->clients->secret_key);
    const char *ca = text_is_empty(spec->ca_bundle) ? NULL : spec->ca_bundle;
    struct http_client *http = NULL;

    if (s3_http_client_new("s3-snapshot", ca, &http, err)) {
        return -1;
    }
    if (s3_new(http, &config, ret, err)) {
        http_client_free(http);
        return -1;
    }
    *ret_http = http;
    return 0;
}
