/* What an object store can do is found by trying it, since no API tells: each feature once, on a
 * bucket of our own that is removed again. For store_reconcile.c and tests. */
#ifndef TENANTRY_STORAGE_STORE_PROBE_H
#define TENANTRY_STORAGE_STORE_PROBE_H

#include "controller/base/arena.h"
#include "controller/base/attributes.h"
#include "controller/base/call.h"
#include "controller/base/err.h"
#include "reconcilers/storage/stores.h"

/* The name of the bucket: the same at each try, so that one that a crash left is found and removed.
 */
const char *store_probe_bucket(struct arena *arena, const struct object_store *store);

/* Whether the store, and its IAM service, take the controller's key. Writes nothing. */
MUST_CHECK int store_check(const struct store_loan *loan, const struct call *call,
                           struct arena *arena, struct err *err);
/* Try everything. What the server refuses, for whatever reason, it cannot do; that it cannot be
 * reached is an error. Repeatable after a crash anywhere. */
MUST_CHECK int store_probe(const struct store_loan *loan, const struct call *call,
                           struct arena *arena, struct store_capabilities *ret, struct err *err);

#endif
