/* What the files about the tenant's key share. */
#ifndef TENANTRY_STORAGE_KEYS_INTERNAL_H
#define TENANTRY_STORAGE_KEYS_INTERNAL_H

#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "controller/base/secret.h"
#include "controller/kube/secret_object.h"
#include "reconcilers/model/work.h"
#include "reconcilers/storage/storage_internal.h"
#include "reconcilers/storage/stores.h"

/* What one run of the step knows. */
struct keys_run {
    struct reconcile *rc;
    struct tenant_work *work;
    const struct store_loan *loan;
    const char *user;
    const char *namespace_;
    const char *secret_name;
    struct kube_secret current; /* the Secret as it is */
    bool has_secret_object;
    struct keys_known known; /* what it says */
    bool changed;            /* this run changed who may do what */
    /* What it is to say. */
    char id[IAM_KEY_BYTES];
    struct secret secret;
    struct keys_plan plan;
};

/* ---- the Secret (keys_secret.c) ---- */

/* Read it into current and known. Errors: TERMINAL/NameConflict when it is not this tenant's. */
MUST_CHECK int keys_secret_read(struct keys_run *run, struct err *err);
/* Write it if it does not say what it is to say. */
MUST_CHECK int keys_secret_ensure(struct keys_run *run, struct err *err);

/* ---- buckets, where the key is not ours (bucket_fence.c) ---- */

/* Buckets but the one for backups refuse objects while nothing is left of storage_mb, as far as the
 * store has policies; a policy that the platform set stays. */
MUST_CHECK int bucket_fence_ensure(const struct keys_run *run, struct err *err);
/* The policy of a bucket as it is to be, in the arena: NULL when it may stay, "" when there is to
 * be none. existing: "" = none. Pure. Errors: TERMINAL/InvalidJSON. */
MUST_CHECK int bucket_fence_plan(struct arena *arena, const char *existing, const char *bucket,
                                 bool spent, const char **ret, struct err *err);

/* ---- the user (keys_user.c) ---- */

/* The user is there, ours, and may do what the tenant may. */
MUST_CHECK int keys_user_ensure(struct keys_run *run, struct err *err);
/* run->plan carried out up to a new key, which works; id and secret are those in force. */
MUST_CHECK int keys_user_rotate(struct keys_run *run, struct err *err);
/* No user of the tenant's is left. One that is not ours is left as it is. */
MUST_CHECK int keys_user_remove(const struct keys_run *run, struct err *err);
/* The key in force opens what it should: one look at each bucket, or at the first alone. Waits a
 * while, since services take a moment to learn of keys and policies. */
MUST_CHECK int keys_try(const struct keys_run *run, bool all, struct err *err);

#endif
