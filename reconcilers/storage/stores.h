/* The object stores that tenants' buckets are in: how to reach each, as whom, and what it can do.
 */
#ifndef TENANTRY_STORAGE_STORES_H
#define TENANTRY_STORAGE_STORES_H

#include <stdbool.h>

#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "controller/kube/api.h"
#include "controller/runtime/cache.h"
#include "controller/runtime/outcome.h"
#include "controller/runtime/reconcile.h"
#include "reconcilers/drivers/iam.h"
#include "reconcilers/drivers/s3.h"
#include "reconcilers/model/tenant.h"

struct stores;

/* cache: of ObjectStores, borrowed. Credentials are fetched from Secrets in system_namespace when
 * first needed, every 5 minutes, and after the store refused them. */
struct stores *stores_new(struct kube_client *kube, struct cache *cache,
                          const char *system_namespace, int requests_per_store);
void stores_free(struct stores *stores);
/* Let go of what is kept of a store whose object is gone. */
void stores_forget(struct stores *stores, const char *store);

/* Clients of a store with the controller's key, behind the store's guard.
 *     AUTO(store_loan) struct store_loan loan = {0};
 * Errors: RETRY/StoreNotFound, RETRY/StorageCredentialsMissing, BackendBusy, and what the guard
 * remembers of an unreachable store. */
struct store_loan {
    void *internal; /* NULL: nothing borrowed */
    struct s3 *s3;
    struct iam *iam;                  /* NULL with accounts.driver Static */
    const struct object_store *store; /* as the object says; valid while borrowed */
    struct err failure;               /* set it to the error of what failed, to tell the guard */
};
MUST_CHECK int stores_borrow(struct stores *stores, struct reconcile *rc, const char *store,
                             struct store_loan *loan, struct err *err);
void stores_return(struct store_loan *loan);
static inline void auto_release_store_loan(struct store_loan *loan)
{
    if (loan->internal) {
        stores_return(loan);
    }
}
/* The same store with another key; to be freed before the loan is returned. */
MUST_CHECK int stores_open_as(const struct store_loan *loan, const char *access_key,
                              const struct secret *secret_key, struct s3 **ret, struct err *err);

/* The same store with the controller's key, over connections of its own: for a reader that takes
 * its time, which would hold up all others that share a client. Both to be freed, s3 first, before
 * the loan is returned. */
MUST_CHECK int stores_open_apart(const struct store_loan *loan, struct http_client **ret_http,
                                 struct s3 **ret, struct err *err);

/* The controller of ObjectStore objects: Reachable, Ready, capabilities, tenants, in-use label.
 * rc->environment is struct services. */
struct outcome object_store_reconcile(struct reconcile *rc);

#endif
