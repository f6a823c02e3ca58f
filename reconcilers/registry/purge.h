/* The end of the days of grace: what a deletion kept until a certain time is removed after it.
 *
 * The claim (purge_begin) and the taking back by a new Tenant both write the tenant's row, each
 * only as long as the other has not: so exactly one of the two happens, whatever the number of
 * controllers. Once begun it is never undone; the id is used no more, unless policy Snapshot keeps
 * buckets under it. */
#ifndef TENANTRY_REGISTRY_PURGE_H
#define TENANTRY_REGISTRY_PURGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "controller/runtime/reconcile.h"
#include "reconcilers/model/tenant.h"
#include "reconcilers/registry/registry.h"

/* Ids of at most 100 deleted tenants that have something whose time is over, and nothing that is to
 * be kept for longer, the oldest first; now_s in wall seconds. In rc->arena. */
MUST_CHECK int purge_list(struct registry *registry, struct reconcile *rc, int64_t now_s,
                          const char *const **ret_ids, size_t *ret_count, struct err *err);

/* A deleted tenant as the registry knows it. Strings in rc->arena. */
struct purge {
    const char *tenant_name;
    const char *tenant_uid;
    const char *subdomain;
    struct tenant_place place;
    enum deletion_policy policy; /* DELETE or SNAPSHOT */
    bool begun;
};
/* *ret_due is false when there is nothing to remove: it was taken back, or removed already, or some
 * of it is to be kept for longer. */
MUST_CHECK int purge_find(struct registry *registry, struct reconcile *rc, const char *id,
                          int64_t now_s, struct purge *ret, bool *ret_due, struct err *err);
/* From now on nobody takes it back. No write if it had begun. Errors: CONFLICT/Conflict when
 * somebody just did. */
MUST_CHECK int purge_begin(struct registry *registry, struct reconcile *rc, const char *id,
                           const struct purge *purge, struct err *err);
/* Everything is removed that the policy does not keep: forget what is still listed as due. Buckets
 * that policy Snapshot keeps stay listed for good, and with them the id can be taken back, as after
 * a deletion with Retain. */
MUST_CHECK int purge_end(struct registry *registry, struct reconcile *rc, const char *id,
                         const struct purge *purge, int64_t now_s, struct err *err);

#endif
