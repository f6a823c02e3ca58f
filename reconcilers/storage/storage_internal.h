/* What the files about a tenant's buckets and keys share with each other and with tests. */
#ifndef TENANTRY_STORAGE_INTERNAL_H
#define TENANTRY_STORAGE_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/base/arena.h"
#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "controller/kube/secret_object.h"
#include "reconcilers/model/work.h"
#include "reconcilers/storage/stores.h"

#define BUCKET_BACKUPS "backups"
#define TAG_TENANT_UID "tenantry.dev/tenant-uid"
#define TAG_TENANT_ID "tenantry.dev/tenant-id"
#define STORAGE_POLICY "tenantry"

enum { BUCKETS_MAX = 40 }; /* of a tenant, with those that it no longer names */

/* ---- rows of tenant_buckets (buckets_sql.c) ---- */

/* A bucket that the tenant has, or that is about to be made: the row comes first. */
struct bucket_row {
    const char *name;   /* its own: "uploads" */
    const char *bucket; /* in full */
    const char *store;
    bool made; /* known to have been made for this tenant */
};
/* In the arena, by name. */
MUST_CHECK int bucket_rows_fetch(struct registry *registry, struct reconcile *rc,
                                 const char *tenant_id, struct bucket_row **ret, size_t *ret_count,
                                 struct err *err);
MUST_CHECK int bucket_rows_add(struct registry *registry, struct reconcile *rc,
                               const char *tenant_id, const struct bucket_row *rows, size_t count,
                               struct err *err);
MUST_CHECK int bucket_row_made(struct registry *registry, struct reconcile *rc,
                               const char *tenant_id, const char *bucket, struct err *err);
MUST_CHECK int bucket_row_remove(struct registry *registry, struct reconcile *rc,
                                 const char *tenant_id, const char *bucket, struct err *err);

/* ---- what is wanted (buckets_plan.c), pure ---- */

/* Own names of the buckets that the tenant is to have, in the arena. *ret_asked: the tenant's own
 * spec says so, rather than its tier. */
void buckets_wanted(struct arena *arena, const struct tenant *tenant, const struct tier *tier,
                    const char *const **ret_names, size_t *ret_count, bool *ret_asked);

struct buckets_plan {
    struct bucket_row *rows; /* all that the tenant has or will have */
    size_t count;
    struct bucket_row *fresh; /* of these, the ones without a row yet */
    size_t fresh_count;
    const struct bucket_row **wanted; /* of these, the ones that are named */
    size_t wanted_count;
};
/* store: where new ones come. Errors: TERMINAL/InvalidName. */
MUST_CHECK int buckets_plan(struct arena *arena, const char *subdomain, const char *const *names,
                            size_t name_count, const struct bucket_row *rows, size_t row_count,
                            const struct object_store *store, struct buckets_plan *ret,
                            struct err *err);

/* Whose a bucket is, by its tags. */
enum bucket_owner { BUCKET_OURS, BUCKET_UNMARKED, BUCKET_FOREIGN };
enum bucket_owner bucket_owner_of(const struct s3_tags *tags, const char *tenant_id);

/* ---- one bucket (bucket.c) ---- */

struct bucket_context {
    struct reconcile *rc;
    const struct tenant_work *work;
    const struct store_loan *loan;
};
/* It stands, is ours, and is set up as the store can. first: its row is new. */
MUST_CHECK int bucket_ensure(const struct bucket_context *context, const struct bucket_row *row,
                             bool first, struct err *err);
/* Whether it is there, and ours by its tags, or by its row where there are none. */
MUST_CHECK int bucket_look(const struct bucket_context *context, const struct bucket_row *row,
                           bool *ret_found, bool *ret_ours, struct err *err);

/* ---- the tenant's key (keys_plan.c, keys_policy.c), pure ---- */

/* The inline policy: exact ARNs, object actions and ListBucket only, backups to be read. */
const char *storage_policy(struct arena *arena, const struct tenant_bucket *buckets, size_t count,
                           const char *backups_bucket, bool spent);
/* Whether two documents say the same, whatever their blanks and the order of their members. */
bool storage_policy_equal(const char *a, const char *b);

enum { KEY_GRACE_S = 60 * 60 };
/* What the Secret says of the keys. Texts are "" where it says nothing. */
struct keys_known {
    const char *id;
    bool has_secret;
    const char *previous_id;
    int64_t previous_until_s;
    const char *rotation; /* the request that it was last rotated for */
};
struct keys_plan {
    const char *remove[IAM_KEYS_MAX]; /* before anything is made */
    size_t remove_count;
    const char *set[IAM_KEYS_MAX]; /* to be switched to what is wanted */
    size_t set_count;
    bool create;
    /* Of the Secret as it is to be, beside the new key if there is one. */
    const char *previous_id;
    int64_t previous_until_s;
    const char *rotation;
};
/* seen: what the IAM service lists. A key that the Secret does not know is one whose making was cut
 * off: nobody knows its secret, and it goes. */
void keys_plan(const struct keys_known *known, const struct iam_key *seen, size_t seen_count,
               bool active, const char *rotate_requested_at, int64_t now_s, struct keys_plan *ret);

#endif
