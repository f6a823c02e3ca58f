/* What a Tenant, a TenantTier and a DatabaseServer say, as plain structs: decoded once at the edge,
 * in an arena, never changed after. Absent texts are "", absent lists empty. docs/api.md, crds/. */
#ifndef TENANTRY_MODEL_TENANT_H
#define TENANTRY_MODEL_TENANT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/runtime/condition.h"

enum tenant_state { TENANT_ACTIVE, TENANT_SUSPENDED };
enum isolation { ISOLATION_DEFAULT, ISOLATION_DATABASE, ISOLATION_SCHEMA, ISOLATION_ROW };
enum deletion_policy { DELETION_RETAIN, DELETION_DELETE, DELETION_SNAPSHOT };
enum member_role { MEMBER_MEMBER, MEMBER_ADMIN, MEMBER_OWNER }; /* absent = the least right */
enum drift_mode { DRIFT_HEAL, DRIFT_WARN };
enum billing_cycle { BILLING_MONTHLY, BILLING_ANNUAL };
enum fail_mode { FAIL_CLOSED, FAIL_OPEN };
enum idle_wake { WAKE_HOLD, WAKE_REFUSE };

const char *isolation_text(enum isolation isolation); /* "Database", ...; "" for DEFAULT */
bool isolation_parse(const char *text, enum isolation *ret);
const char *deletion_policy_text(enum deletion_policy policy);
const char *member_role_text(enum member_role role);      /* "owner", ... */
const char *billing_cycle_text(enum billing_cycle cycle); /* "monthly", "annual" */
const char *fail_mode_text(enum fail_mode mode);          /* "Closed", "Open" */
const char *idle_wake_text(enum idle_wake wake);          /* "Hold", "Refuse" */

/* How a store's accounts are kept: by an IAM service, or by the platform's hands. */
enum account_driver { ACCOUNTS_AWS_IAM, ACCOUNTS_STATIC };

/* Laid out as struct kube_pair and as FIELD_TEXT_MAP wants it. */
struct text_pair {
    const char *name;
    const char *value;
};

struct quota {
    const char *resource;
    int64_t limit; /* -1 = unlimited */
};
enum { QUOTAS_MAX = 64 };

struct quota_use {
    const char *resource;
    int64_t limit; /* -1 = unlimited */
    int64_t used;
};

/* A workload that the spec asks for. */
struct sandbox {
    const char *name;
    const char *template_; /* "": SANDBOX_TEMPLATE */
    int64_t replicas;
    const struct text_pair *env;
    size_t env_count;
};
enum { SANDBOX_REPLICAS = 1 }; /* where the spec does not say */
#define SANDBOX_TEMPLATE "node"

/* A workload as it is. */
struct sandbox_state {
    const char *name; /* of the Deployment: <subdomain>-<name> */
    bool ready;       /* every copy asked for is available */
    const char *url;
};

struct person {
    const char *email;
    const char *name;
    enum member_role role;
};

/* Where the tenant's data is. Taken once, then read from status or the registry, never derived
 * again. */
struct tenant_place {
    const char *server; /* DatabaseServer */
    enum isolation isolation;
    const char *database;
    const char *schema;
};

/* Who the connection Secret says to log in as. Times are RFC 3339; "" = none. */
struct login_status {
    const char *user; /* NULL or "": not known */
    const char *issued_at;
    const char *rotates_at;        /* by the tier's period */
    const char *retiring_user;     /* the one before, which still works */
    const char *retiring_until;    /* at the latest */
    const char *handled_rotate_at; /* annotation value last acted upon */
};

/* The billing period that runs now; texts as PostgreSQL prints them, "" when there is none. */
struct billing_status {
    const char *period_start;
    const char *period_end;
    const char *amount_due;
    const char *currency;
    const char *status;
    const char *overdue; /* what earlier periods still want; "" = nothing */
};

struct tenant_bucket {
    const char *name;  /* in full */
    const char *store; /* ObjectStore */
};

struct tenant_status {
    int64_t observed_generation; /* -1: never */
    const char *inputs_hash;     /* of what was last made so; "" = nothing was */
    const char *subdomain;
    const char *tenant_id;
    const char *namespace_;
    const char *handled_reconcile_at; /* annotation value last acted upon */
    struct tenant_place place;
    int64_t schema_version;  /* 0 = none */
    int64_t migration_count; /* of the user's own */
    const char *migration_last;
    const char *database_secret_namespace;
    const char *database_secret_name;
    struct login_status login;
    const struct sandbox_state *sandboxes;
    size_t sandbox_count;
    const struct quota_use *quotas;
    size_t quota_count;
    const struct tenant_bucket *buckets;
    size_t bucket_count;
    struct billing_status billing;
    struct condition_set conditions;
};

struct tenant {
    /* metadata */
    const char *name;
    const char *uid;
    const char *resource_version;
    int64_t generation;
    bool deleting;
    int64_t finalizer_count;
    bool has_finalizer; /* ours */
    bool paused;
    bool force_finalize;
    const char *adopt; /* a tenantID, "" if none */
    const char *reconcile_requested_at;
    const char *rotate_requested_at;
    const char *erase_members; /* addresses joined by ',' */
    /* spec */
    const char *display_name;
    const char *subdomain; /* effective: spec's or metadata.name */
    const char *tier;
    enum tenant_state state;
    struct person owner;
    const struct person *members;
    size_t member_count;
    enum isolation isolation; /* DEFAULT = the tier's */
    const char *server;       /* "" = by placement */
    const char *const *extensions;
    size_t extension_count;
    const char *migrations;
    bool canary; /* upgrades of the fleet come to it first */
    const struct sandbox *sandboxes;
    size_t sandbox_count;
    bool lists_sandboxes;       /* false: the tier's */
    const char *buckets;        /* JSON, "" = the tier's */
    const struct quota *quotas; /* overrides */
    size_t quota_count;
    enum billing_cycle billing_cycle;
    const struct text_pair *settings;
    size_t setting_count;
    enum deletion_policy deletion_policy;
    int64_t deletion_grace_days;
    /* status as last seen */
    struct tenant_status status;
};

struct label_requirement {
    const char *key;
    const char *operator_; /* In, NotIn, Exists, DoesNotExist */
    const char *const *values;
    size_t value_count;
};

struct tier {
    const char *name;
    const char *uid;
    const char *resource_version;
    int64_t generation;
    bool deleting;
    const struct quota *quotas;
    size_t quota_count;
    const char *currency;
    const char *price_monthly;       /* decimal text; "0" */
    const char *price_annual;        /* "" = ten times monthly */
    const struct text_pair *overage; /* price of a unit above the limit, by resource */
    size_t overage_count;
    int64_t suspend_after_days; /* of a bill being overdue; -1 = never */
    const char *const *features;
    size_t feature_count;
    enum isolation isolation;
    const struct sandbox *sandboxes; /* of tenants that list none */
    size_t sandbox_count;
    int64_t idle_after_ms;                    /* 0 = never */
    int64_t alert_quota_percent;              /* of a quota that may be used without an alert */
    int64_t alert_backup_age_ms;              /* that the newest backup may have */
    const char *buckets;                      /* JSON, of tenants that list none */
    const struct text_pair *placement_labels; /* matchLabels */
    size_t placement_label_count;
    const struct label_requirement *placement; /* matchExpressions */
    size_t placement_count;
    const char *const *extensions;
    size_t extension_count;
    int64_t connection_limit; /* 0 = none said: 20 */
    int64_t statement_timeout_ms;
    int64_t idle_in_transaction_timeout_ms;
    int64_t rotation_period_ms;  /* 0 = only on demand */
    int64_t rotation_overlap_ms; /* 0 = none said: 10 minutes */
    /* How the gateway treats tenants of the tier. */
    int64_t requests_per_second; /* 0 = no limit */
    int64_t burst;               /* 0 = requests_per_second */
    enum fail_mode fail_mode;    /* when the registry cannot be asked */
    enum idle_wake idle_wake;    /* of a request to a tenant that sleeps */
    bool in_use_label;           /* carries tenantry.dev/in-use */
    int64_t status_tenants;      /* as last written, -1 = never */
    int64_t observed_generation;
    struct condition_set conditions;
};

struct database_server {
    const char *name;
    const char *uid;
    const char *resource_version;
    int64_t generation;
    bool deleting;
    const struct text_pair *labels;
    size_t label_count;
    const char *const *hosts;
    size_t host_count;
    int64_t port;
    const char *target_session_attrs;
    const char *sslmode;
    const char *ca_bundle;
    const char *ca_secret;
    const char *ca_secret_key;
    const char *credentials_secret;
    const char *shared_database;
    const char *maintenance_database;
    int64_t capacity_tenants;     /* 0 = no limit */
    int64_t capacity_connections; /* 0 = no limit */
    bool schedulable;
    bool draining;
    int64_t spare_count;      /* empty databases to have ready; 0 = none */
    int64_t spare_per_minute; /* how fast they are made */
    enum drift_mode drift;
    const char *egress; /* JSON: what sandboxes may reach; "" = nothing */
    bool in_use_label;
    const char *status_version;
    int64_t status_tenants;
    int64_t status_spares; /* that were ready when last counted */
    int64_t observed_generation;
    struct condition_set conditions;
};

/* What a sandbox runs. JSON texts are "" when absent. */
struct sandbox_template {
    const char *name;
    const char *uid;
    const char *resource_version;
    int64_t generation;
    bool deleting;
    const char *image;
    const char *const *command;
    size_t command_count;
    const char *const *args;
    size_t arg_count;
    const char *working_dir;
    const struct template_port *ports;
    size_t port_count;
    const struct text_pair *env;
    size_t env_count;
    const char *resources;      /* JSON: requests and limits */
    const char *liveness;       /* JSON: a probe */
    const char *readiness;      /* JSON */
    const char *startup;        /* JSON */
    const char *const *scratch; /* folders that can be written to */
    size_t scratch_count;
    const char *runtime_class;
    int64_t run_as_user; /* 0 = the image's, which must be a number other than 0 */
    int64_t termination_grace_s;
    bool in_use_label;
    int64_t status_tenants;
    int64_t observed_generation;
    struct condition_set conditions;
};

struct template_port {
    const char *name;
    int64_t container_port;
    int64_t service_port; /* 0 = the same */
};

/* What an object store can do, as a probe found it. */
struct store_capabilities {
    bool versioning;
    bool lifecycle;
    bool encryption;
    bool tags;
    bool policy;
    bool public_access_block;
    bool object_lock;
    bool quota;
};

struct object_store {
    const char *name;
    const char *uid;
    const char *resource_version;
    int64_t generation;
    bool deleting;
    const char *endpoint;
    const char *region;
    bool path_style;
    const char *ca_bundle;
    const char *credentials_secret;
    enum account_driver account_driver;
    const char *account_endpoint;
    const char *prefix;       /* of every bucket's name */
    const char *bucket_owner; /* account id that buckets must belong to; "" = not asked */
    int64_t version_retention_days;
    const char *egress; /* JSON; what sandboxes may reach */
    bool in_use_label;
    int64_t status_tenants;
    int64_t probed_generation; /* of the spec that capabilities were found for; -1 = never */
    struct store_capabilities capabilities;
    int64_t observed_generation;
    struct condition_set conditions;
};

#endif
