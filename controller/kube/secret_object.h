/* Secrets of the API as values that cannot be printed. */
#ifndef TENANTRY_KUBE_SECRET_OBJECT_H
#define TENANTRY_KUBE_SECRET_OBJECT_H

#include <stdbool.h>
#include <stddef.h>

#include "controller/base/attributes.h"
#include "controller/base/call.h"
#include "controller/base/err.h"
#include "controller/base/secret.h"
#include "controller/kube/api.h"
#include "controller/kube/object.h"

enum { KUBE_SECRET_ENTRIES_MAX = 24 };

struct kube_secret_entry {
    char name[64];
    struct secret value;
};

struct kube_secret {
    char uid[64];
    char resource_version[64];
    char owner_uid[64]; /* of the label that secret_object_apply sets from its label_uid, or "" */
    struct kube_secret_entry entries[KUBE_SECRET_ENTRIES_MAX];
    size_t count;
};
void kube_secret_release(struct kube_secret *secret);
static inline void auto_release_kube_secret(struct kube_secret *secret)
{
    kube_secret_release(secret);
}
/* Borrowed; NULL when there is no such entry. */
const struct secret *kube_secret_get(const struct kube_secret *secret, const char *name);
/* Put a value (copied); past KUBE_SECRET_ENTRIES_MAX aborts: names are ours. */
void kube_secret_put(struct kube_secret *secret, const char *name, const struct secret *value);
void kube_secret_put_text(struct kube_secret *secret, const char *name, const char *text);

/* Fetch one. owner_label names the label read into owner_uid. *ret must be zeroed.
 * Errors: NOT_FOUND/NotFound and those of kube_get. */
MUST_CHECK int kube_secret_fetch(struct kube_client *client, const struct call *call,
                                 const char *namespace_, const char *name, const char *owner_label,
                                 struct kube_secret *ret, struct err *err);

/* Server-side apply of exactly these entries and labels (type Opaque). */
MUST_CHECK int kube_secret_apply(struct kube_client *client, const struct call *call,
                                 const char *namespace_, const char *name, const char *manager,
                                 const struct kube_pair *labels, size_t label_count,
                                 const struct kube_secret *content, struct err *err);

/* Whether b has the same entries with the same values. Constant time in the values. */
bool kube_secret_equal(const struct kube_secret *a, const struct kube_secret *b);

#endif
