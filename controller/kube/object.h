/* What every Kubernetes object has, read in one pass with jsonr. */
#ifndef TENANTRY_KUBE_OBJECT_H
#define TENANTRY_KUBE_OBJECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/base/arena.h"
#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "controller/base/jsonr.h"
#include "controller/base/str.h"

struct kube_pair {
    const char *name;
    const char *value;
};

struct kube_meta {
    const char *name;
    const char *namespace_; /* "" when cluster-scoped */
    const char *uid;
    const char *resource_version;
    int64_t generation;
    const char *creation_timestamp;
    const char *deletion_timestamp; /* NULL: not being deleted */
    const char *const *finalizers;
    size_t finalizer_count;
    const struct kube_pair *labels;
    size_t label_count;
    const struct kube_pair
        *annotations; /* without kubectl.kubernetes.io/last-applied-configuration */
    size_t annotation_count;
};

/* Read the value of "metadata" at the reader. Strings are in the arena. managedFields are skipped.
 */
MUST_CHECK bool kube_meta_read(struct jsonr *reader, struct arena *arena, struct kube_meta *ret);

/* Read only metadata of a whole object's JSON. Errors: TERMINAL/InvalidObject. */
MUST_CHECK int kube_object_meta(struct str object_json, struct arena *arena, struct kube_meta *ret,
                                struct err *err);

const char *kube_pair_get(const struct kube_pair *pairs, size_t count, const char *name);

/* Compare resource versions (digits, any length, no leading zero): <0, 0, >0. C28. */
int kube_rv_compare(struct str a, struct str b);

/* A resource.Quantity ("100m", "1Gi", "1e3") as milli-units, rounded up; false when malformed. */
MUST_CHECK bool kube_quantity_milli(struct str text, int64_t *ret_milli);

#endif
