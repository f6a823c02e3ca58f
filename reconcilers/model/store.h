/* ObjectStore: its codec, and which store a tenant's buckets are in. */
#ifndef TENANTRY_MODEL_STORE_H
#define TENANTRY_MODEL_STORE_H

#include "controller/base/arena.h"
#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "controller/kube/api.h"
#include "controller/runtime/cache.h"
#include "reconcilers/model/tenant.h"

extern const struct kube_resource KUBE_OBJECT_STORES;
extern const struct codec object_store_codec;

/* Strings in the arena. Errors: TERMINAL/InvalidObject. */
MUST_CHECK int object_store_decode(struct str json, struct arena *arena, struct object_store *ret,
                                   struct err *err);
void object_store_unpack(const struct record *record, struct arena *arena,
                         struct object_store *ret);
/* With what the probe found, since tenants are made by it. */
void object_store_spec_pack(const struct object_store *store, struct buf *out);

/* The store for something that is in none yet: the one named "default", or else the first by name
 * that is not going. NULL when there is none. In the arena. */
const char *object_store_choose(struct cache *stores, struct arena *arena);
/* The store that the tenant's buckets are in, as its status says, or would come into. NULL when it
 * does not exist. */
const struct object_store *object_store_of(struct cache *stores, struct arena *arena,
                                           const struct tenant *tenant);

#endif
