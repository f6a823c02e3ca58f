/* One tenant's reconcile as the steps see it: the subject of runtime/step.h. Steps that run side by
 * side share it: each reads what those it needs wrote, and writes only the members marked with its
 * name. */
#ifndef TENANTRY_MODEL_WORK_H
#define TENANTRY_MODEL_WORK_H

#include <stdbool.h>

#include "controller/base/secret.h"
#include "controller/kube/api.h"
#include "controller/kube/event.h"
#include "controller/kube/object.h"
#include "controller/runtime/cache.h"
#include "controller/runtime/reconcile.h"
#include "reconcilers/model/tenant.h"

struct registry;       /* reconcilers/registry/registry.h */
struct servers;        /* reconcilers/database/servers.h */
struct stores;         /* reconcilers/storage/stores.h */
struct children;       /* reconcilers/objects/children.h */
struct crew;           /* controller/runtime/crew.h */
struct mail_settings;  /* reconcilers/database/owner_mail.h */
struct snapshot_store; /* reconcilers/database/snapshot.h */
struct meter;          /* reconcilers/sandbox/meter.h */
struct idle;           /* reconcilers/sandbox/idle.h */
struct monitor;        /* reconcilers/monitoring/monitor.h */
struct login_keep;     /* reconcilers/model/login_keep.h */
struct route_settings; /* reconcilers/sandbox/sandbox.h */

/* Process lifetime; thread-safe parts only. */
struct services {
    struct kube_client *kube;
    struct event_recorder *events;
    struct registry *registry;
    struct servers *servers;
    struct stores *stores;
    struct cache *tenants;
    struct cache *tiers;
    struct cache *database_servers;
    struct cache *object_stores;
    struct cache *sandbox_templates;
    struct children *children;
    struct login_keep *logins;      /* may be NULL: health checks ask for each Secret again */
    struct monitor *monitor;        /* may be NULL: nothing is checked */
    struct meter *meter;            /* may be NULL: compute_hours are not held to */
    struct idle *idle;              /* may be NULL: nobody's sandboxes sleep */
    struct crew *crew;              /* for pieces of a step that go side by side; may be NULL */
    const char *system_namespace;   /* "tenantry-system" */
    const char *domain;             /* "tenants.localhost" */
    const char *ingress_namespaces; /* from which sandboxes may be reached, beside the gateway */
    const struct route_settings *routes; /* to sandboxes; NULL: none */
    const char *monitor_label;           /* "name=value" of what Prometheus selects; "" = none */
    int64_t drift_period_ms;
    const struct snapshot_store *snapshots; /* NULL: no store can take any */
    const char *postgres_tools;             /* folder of pg_dump and pg_restore; "" = PATH */
    const struct mail_settings *mail;       /* NULL: no mail is sent */
    int64_t owner_password_ms;              /* how long a temporary password lives; 0 = for ever */
    bool adopt_orphans;
};

/* Whether the registry holds a tenant suspended. */
enum billing_hold {
    BILLING_HOLD_UNKNOWN, /* nobody has looked yet */
    BILLING_HOLD_NONE,
    BILLING_HOLD_OVERDUE, /* a bill is overdue for longer than the tier lets pass */
};

struct tenant_work {
    const struct services *services;
    const struct tenant *tenant; /* as it applies: Registered suspends it while a bill holds it */
    enum billing_hold billing_hold; /* Registered */
    const struct tier *tier;        /* NULL while finalizing or suspending without one */

    /* finalizing only */
    enum deletion_policy deletion_policy; /* as it applies: Retain when the CRD is going */
    const char *retain_reason;            /* "" or "CRDTerminating" */

    /* Snapshot, finalizing only: under policy Snapshot, what is to be removed stands in a store. */
    bool snapshot_taken;

    /* Registered */
    char tenant_id[UUID_TEXT_BYTES];
    bool adopted;              /* this run took back what an earlier Tenant left */
    struct tenant_place place; /* server, isolation, database, schema: decided by Registered */

    /* OwnerCredential: the temporary password that the Secret now holds, and its bcrypt hash if
     * that had to be made; both empty when the owner has changed it already. */
    struct secret owner_password;
    struct secret owner_hash;
    bool owner_password_fresh;

    /* Namespace: whether this run made it, so that nothing can be in it yet. */
    bool namespace_fresh;

    /* Sandboxes: what status shows; NULL when the step did not get that far. */
    const struct sandbox_state *sandboxes;
    size_t sandbox_count;
    const char *sandbox_excess; /* NULL, or how many more the spec lists than the quota allows */
    bool sandboxes_asleep;      /* nobody uses the tenant: they are scaled to zero, or waking */

    /* DatabaseLogin */
    const char *database_secret_namespace;
    const char *database_secret_name;
    struct login_status login;

    /* Schema */
    int64_t schema_version;

    /* Buckets: those that stand. */
    const struct tenant_bucket *buckets;
    size_t bucket_count;
    bool buckets_known;

    /* StorageUsage: nothing is left of storage_mb. */
    bool storage_spent;

    /* Billing: what status shows. */
    struct billing_status billing;

    /* Quotas: what status shows. */
    const struct quota *quotas;
    int64_t *quotas_used;
    size_t quota_count;
    const char *quota_exceeded; /* NULL, or the message of QuotaExceeded */

    /* Migrations: of the user's own files, how many are applied, and the last one's name. */
    int64_t migration_count;
    const char *migration_last; /* NULL: not looked at */

    /* Members */
    const char *members_excess; /* NULL, or who did not fit into the users quota */

    _Atomic(int64_t) again_ms; /* any step, by work_again(); 0 = nobody asked */
};

/* Whether what a tenant that is being deleted has is kept: by its policy, or for days of grace. */
bool work_retains(const struct tenant_work *work);
/* The latter: it is removed after them. */
bool work_keeps_for_days(const struct tenant_work *work);
/* A step that is done asks to be run again after so many milliseconds, sooner than the drift check
 * if that is sooner. The earliest of all steps counts. Thread-safe. */
void work_again(struct tenant_work *work, int64_t ms);

/* Limit (-1: none) and use of a resource as Quotas found them; false, and nothing set, when there
 * is no quota of that name. */
bool work_quota(const struct tenant_work *work, const char *resource, int64_t *ret_limit,
                int64_t *ret_used);
/* So much is used now: what status will show, if it is written. One step a resource. */
void work_quota_use(struct tenant_work *work, const char *resource, int64_t used);

/* Record an Event about the tenant: what was made, healed, or stands in the way. */
void work_event(const struct tenant_work *work, enum event_type type, const char *reason,
                const char *action, const char *format, ...) PRINTF_LIKE(5, 6);

/* Labels of everything in the cluster that belongs to the tenant: returns the count (at most 3). */
size_t work_labels(const struct tenant_work *work, struct kube_pair labels[3]);

#endif
