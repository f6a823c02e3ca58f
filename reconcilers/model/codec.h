/* Between the API's JSON, the cache's packed records and the plain structs. */
#ifndef TENANTRY_MODEL_CODEC_H
#define TENANTRY_MODEL_CODEC_H

#include "controller/base/arena.h"
#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "controller/kube/api.h"
#include "controller/runtime/cache.h"
#include "reconcilers/model/tenant.h"

extern const struct kube_resource KUBE_TENANTS, KUBE_TENANT_TIERS, KUBE_DATABASE_SERVERS;
extern const struct codec tenant_codec, tier_codec, database_server_codec;

/* Strings in the arena. Errors: TERMINAL/InvalidObject. */
MUST_CHECK int tenant_decode(struct str json, struct arena *arena, struct tenant *ret,
                             struct err *err);
MUST_CHECK int tier_decode(struct str json, struct arena *arena, struct tier *ret, struct err *err);
MUST_CHECK int database_server_decode(struct str json, struct arena *arena,
                                      struct database_server *ret, struct err *err);

/* From a record of the cache; strings in the arena, valid after the record is unreferenced. */
void tenant_unpack(const struct record *record, struct arena *arena, struct tenant *ret);
void tier_unpack(const struct record *record, struct arena *arena, struct tier *ret);
void database_server_unpack(const struct record *record, struct arena *arena,
                            struct database_server *ret);

/* Append the spec in a form that is the same for equal specs in every process: what inputs are
 * hashed from. */
void tenant_spec_pack(const struct tenant *tenant, struct buf *out);
void tier_spec_pack(const struct tier *tier, struct buf *out);
void database_server_spec_pack(const struct database_server *server, struct buf *out);

#endif
