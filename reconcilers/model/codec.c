/* Three kinds, each a few tables: metadata that is kept (packed only, filled from struct
 * kube_meta), spec and status. A record's payload is the fields of one top table, packed
 * (runtime/fields.h); key and resource version stand in the record itself. A Tenant's tables are
 * sorted as the API server sorts the members, so that each is found where it is looked for first.
 */
#include "reconcilers/model/codec.h"

#include <stddef.h>
#include <string.h>

#include "controller/base/hash.h"
#include "controller/kube/object.h"
#include "controller/runtime/fields.h"
#include "controller/runtime/object_type.h"
#include "reconcilers/model/codec_internal.h"
#include "reconcilers/model/names.h"
#include "reconcilers/model/words.h"

enum { REQUEST_MAX_BYTES = 256 }; /* as the CRD says of status.lastHandled... */

const struct kube_resource KUBE_TENANTS = {CODEC_GROUP, CODEC_VERSION, "tenants", "Tenant", false};
const struct kube_resource KUBE_TENANT_TIERS = {CODEC_GROUP, CODEC_VERSION, "tenanttiers",
                                                "TenantTier", false};
const struct kube_resource KUBE_DATABASE_SERVERS = {CODEC_GROUP, CODEC_VERSION, "databaseservers",
                                                    "DatabaseServer", false};

/* ---- Tenant ---- */

const struct field codec_pair_fields[] = {
    TEXT("name", struct text_pair, name),
    TEXT("value", struct text_pair, value),
    END,
};

static const struct field person_fields[] = {
    TEXT("email", struct person, email),
    TEXT("name", struct person, name),
    ENUM("role", struct person, role, member_role_words),
    END,
};
const struct field sandbox_fields[] = {
    TEXT("name", struct sandbox, name),
    TEXT("template", struct sandbox, template_),
    {FIELD_NAME("replicas"), .kind = FIELD_INT, .offset = offsetof(struct sandbox, replicas),
     .absent = SANDBOX_REPLICAS},
    OBJECTS("env", struct sandbox, env, env_count, struct text_pair, codec_pair_fields),
    END,
};
static const struct field server_ref_fields[] = {TEXT("name", struct tenant, server), END};
static const struct field migrations_ref_fields[] = {TEXT("name", struct tenant, migrations), END};
static const struct field tenant_database_fields[] = {
    BOOL("canary", struct tenant, canary),
    LIST("extensions", FIELD_TEXTS, struct tenant, extensions, extension_count),
    ENUM("isolation", struct tenant, isolation, isolation_words),
    OBJECT("migrationsRef", migrations_ref_fields),
    OBJECT("serverRef", server_ref_fields),
    END,
};
static const struct field billing_fields[] = {
    ENUM("cycle", struct tenant, billing_cycle, billing_cycle_words),
    END,
};
static const struct field tenant_spec_fields[] = {
    OBJECT("billing", billing_fields),
    RAW("buckets", struct tenant, buckets),
    OBJECT("database", tenant_database_fields),
    INT("deletionGraceDays", struct tenant, deletion_grace_days),
    ENUM("deletionPolicy", struct tenant, deletion_policy, deletion_policy_words),
    TEXT("displayName", struct tenant, display_name),
    OBJECTS("members", struct tenant, members, member_count, struct person, person_fields),
    OBJECT_AT("owner", struct tenant, owner, person_fields),
    LIST("quotas", FIELD_INT_MAP, struct tenant, quotas, quota_count),
    OBJECTS("sandboxes", struct tenant, sandboxes, sandbox_count, struct sandbox, sandbox_fields),
    LIST("settings", FIELD_TEXT_MAP, struct tenant, settings, setting_count),
    ENUM("state", struct tenant, state, tenant_state_words),
    TEXT("subdomain", struct tenant, subdomain),
    TEXT("tier", struct tenant, tier),
    END,
};

static const struct field quota_use_fields[] = {
    INT("limit", struct quota_use, limit),
    TEXT("resource", struct quota_use, resource),
    INT("used", struct quota_use, used),
    END,
};
static const struct field sandbox_state_fields[] = {
    TEXT("name", struct sandbox_state, name),
    BOOL("ready", struct sandbox_state, ready),
    TEXT("url", struct sandbox_state, url),
    END,
};
static const struct field tenant_bucket_fields[] = {
    TEXT("name", struct tenant_bucket, name),
    TEXT("store", struct tenant_bucket, store),
    END,
};
static const struct field secret_ref_fields[] = {
    TEXT("name", struct tenant_status, database_secret_name),
    TEXT("namespace", struct tenant_status, database_secret_namespace),
    END,
};
static const struct field login_status_fields[] = {
    TEXT("issuedAt", struct tenant_status, login.issued_at),
    TEXT("retiringUntil", struct tenant_status, login.retiring_until),
    TEXT("retiringUser", struct tenant_status, login.retiring_user),
    TEXT("rotatesAt", struct tenant_status, login.rotates_at),
    TEXT("user", struct tenant_status, login.user),
    END,
};
static const struct field migration_status_fields[] = {
    INT("applied", struct tenant_status, migration_count),
    TEXT("last", struct tenant_status, migration_last),
    END,
};
static const struct field status_database_fields[] = {
    ENUM("isolation", struct tenant_status, place.isolation, isolation_words),
    OBJECT("login", login_status_fields),
    OBJECT("migrations", migration_status_fields),
    TEXT("name", struct tenant_status, place.database),
    TEXT("schema", struct tenant_status, place.schema),
    INT("schemaVersion", struct tenant_status, schema_version),
    OBJECT("secretRef", secret_ref_fields),
    TEXT("server", struct tenant_status, place.server),
    END,
};
static const struct field billing_status_fields[] = {
    TEXT("amountDue", struct billing_status, amount_due),
    TEXT("currency", struct billing_status, currency),
    TEXT("overdue", struct billing_status, overdue),
    TEXT("periodEnd", struct billing_status, period_end),
    TEXT("periodStart", struct billing_status, period_start),
    TEXT("status", struct billing_status, status),
    END,
};
static const struct field tenant_status_fields[] = {
    OBJECT_AT("billing", struct tenant_status, billing, billing_status_fields),
    OBJECTS("buckets", struct tenant_status, buckets, bucket_count, struct tenant_bucket,
            tenant_bucket_fields),
    CONDITIONS(struct tenant_status, conditions),
    OBJECT("database", status_database_fields),
    TEXT("inputsHash", struct tenant_status, inputs_hash),
    TEXT("lastHandledReconcileAt", struct tenant_status, handled_reconcile_at),
    TEXT("lastHandledRotateAt", struct tenant_status, login.handled_rotate_at),
    TEXT("namespace", struct tenant_status, namespace_),
    INT("observedGeneration", struct tenant_status, observed_generation),
    OBJECTS("quotas", struct tenant_status, quotas, quota_count, struct quota_use,
            quota_use_fields),
    OBJECTS("sandboxes", struct tenant_status, sandboxes, sandbox_count, struct sandbox_state,
            sandbox_state_fields),
    TEXT("subdomain", struct tenant_status, subdomain),
    TEXT("tenantID", struct tenant_status, tenant_id),
    END,
};

static const struct field tenant_fields[] = {
    KEPT_TEXT(struct tenant, uid),
    KEPT_INT(struct tenant, generation),
    KEPT_BOOL(struct tenant, deleting),
    KEPT_BOOL(struct tenant, has_finalizer),
    KEPT_INT(struct tenant, finalizer_count),
    KEPT_BOOL(struct tenant, paused),
    KEPT_BOOL(struct tenant, force_finalize),
    KEPT_TEXT(struct tenant, adopt),
    KEPT_TEXT(struct tenant, reconcile_requested_at),
    KEPT_TEXT(struct tenant, rotate_requested_at),
    KEPT_TEXT(struct tenant, erase_members),
    KEPT_BOOL(struct tenant, lists_sandboxes),
    OBJECT("spec", tenant_spec_fields),
    OBJECT_AT("status", struct tenant, status, tenant_status_fields),
    END,
};

/* ---- TenantTier ---- */

static const struct field requirement_fields[] = {
    TEXT("key", struct label_requirement, key),
    TEXT("operator", struct label_requirement, operator_),
    LIST("values", FIELD_TEXTS, struct label_requirement, values, value_count),
    END,
};
static const struct field price_fields[] = {
    TEXT("currency", struct tier, currency),
    TEXT("monthly", struct tier, price_monthly),
    TEXT("annual", struct tier, price_annual),
    LIST("overage", FIELD_TEXT_MAP, struct tier, overage, overage_count),
    INT("suspendAfterDaysOverdue", struct tier, suspend_after_days),
    END,
};
static const struct field tier_default_fields[] = {
    ENUM("isolation", struct tier, isolation, isolation_words),
    OBJECTS("sandboxes", struct tier, sandboxes, sandbox_count, struct sandbox, sandbox_fields),
    RAW("buckets", struct tier, buckets),
    END,
};
static const struct field placement_fields[] = {
    LIST("matchLabels", FIELD_TEXT_MAP, struct tier, placement_labels, placement_label_count),
    OBJECTS("matchExpressions", struct tier, placement, placement_count, struct label_requirement,
            requirement_fields),
    END,
};
static const struct field tier_database_fields[] = {
    INT("connectionLimit", struct tier, connection_limit),
    DURATION("statementTimeout", struct tier, statement_timeout_ms),
    DURATION("idleInTransactionTimeout", struct tier, idle_in_transaction_timeout_ms),
    DURATION("rotationPeriod", struct tier, rotation_period_ms),
    DURATION("rotationOverlap", struct tier, rotation_overlap_ms),
    END,
};
static const struct field tier_gateway_fields[] = {
    INT("requestsPerSecond", struct tier, requests_per_second),
    INT("burst", struct tier, burst),
    ENUM("failMode", struct tier, fail_mode, fail_mode_words),
    END,
};
static const struct field tier_idle_fields[] = {
    DURATION("scaleToZeroAfter", struct tier, idle_after_ms),
    ENUM("wake", struct tier, idle_wake, idle_wake_words),
    END,
};
static const struct field tier_alert_fields[] = {
    INT("quotaPercent", struct tier, alert_quota_percent),
    DURATION("backupMaxAge", struct tier, alert_backup_age_ms),
    END,
};
static const struct field tier_spec_fields[] = {
    LIST("quotas", FIELD_INT_MAP, struct tier, quotas, quota_count),
    OBJECT("price", price_fields),
    LIST("features", FIELD_TEXTS, struct tier, features, feature_count),
    OBJECT("defaults", tier_default_fields),
    OBJECT("placement", placement_fields),
    LIST("extensions", FIELD_TEXTS, struct tier, extensions, extension_count),
    OBJECT("database", tier_database_fields),
    OBJECT("gateway", tier_gateway_fields),
    OBJECT("idle", tier_idle_fields),
    OBJECT("alerts", tier_alert_fields),
    END,
};
static const struct field tier_status_fields[] = {
    INT("observedGeneration", struct tier, observed_generation),
    INT("tenants", struct tier, status_tenants),
    CONDITIONS(struct tier, conditions),
    END,
};
static const struct field tier_fields[] = {
    KEPT_TEXT(struct tier, uid),
    KEPT_INT(struct tier, generation),
    KEPT_BOOL(struct tier, deleting),
    KEPT_BOOL(struct tier, in_use_label),
    OBJECT("spec", tier_spec_fields),
    OBJECT("status", tier_status_fields),
    END,
};

/* ---- DatabaseServer ---- */

static const struct field ca_secret_fields[] = {
    TEXT("name", struct database_server, ca_secret),
    TEXT("key", struct database_server, ca_secret_key),
    END,
};
static const struct field credentials_fields[] = {
    TEXT("name", struct database_server, credentials_secret),
    END,
};
static const struct field capacity_fields[] = {
    INT("tenants", struct database_server, capacity_tenants),
    INT("connections", struct database_server, capacity_connections),
    END,
};
static const struct field spares_fields[] = {
    INT("count", struct database_server, spare_count),
    INT("perMinute", struct database_server, spare_per_minute),
    END,
};
static const char *const drift_words[] = {"Heal", "Warn", NULL};
static const struct field server_spec_fields[] = {
    LIST("hosts", FIELD_TEXTS, struct database_server, hosts, host_count),
    INT("port", struct database_server, port),
    TEXT("targetSessionAttrs", struct database_server, target_session_attrs),
    TEXT("sslmode", struct database_server, sslmode),
    TEXT("caBundle", struct database_server, ca_bundle),
    OBJECT("caSecretRef", ca_secret_fields),
    OBJECT("credentialsSecretRef", credentials_fields),
    TEXT("sharedDatabase", struct database_server, shared_database),
    TEXT("maintenanceDatabase", struct database_server, maintenance_database),
    OBJECT("capacity", capacity_fields),
    BOOL("schedulable", struct database_server, schedulable),
    BOOL("draining", struct database_server, draining),
    OBJECT("spareDatabases", spares_fields),
    ENUM("drift", struct database_server, drift, drift_words),
    RAW("egress", struct database_server, egress),
    END,
};
static const struct field server_status_fields[] = {
    INT("observedGeneration", struct database_server, observed_generation),
    TEXT("version", struct database_server, status_version),
    INT("tenants", struct database_server, status_tenants),
    INT("spareDatabases", struct database_server, status_spares),
    CONDITIONS(struct database_server, conditions),
    END,
};
static const struct field server_fields[] = {
    KEPT_TEXT(struct database_server, uid),
    KEPT_INT(struct database_server, generation),
    KEPT_BOOL(struct database_server, deleting),
    KEPT_BOOL(struct database_server, in_use_label),
    {.name = "labels",
     .kind = FIELD_TEXT_MAP,
     .packed_only = true,
     .offset = offsetof(struct database_server, labels),
     .count_offset = offsetof(struct database_server, label_count)},
    OBJECT("spec", server_spec_fields),
    OBJECT("status", server_status_fields),
    END,
};

/* ---- decoding whole objects ---- */

static const char *annotation(const struct kube_meta *meta, const char *name)
{
    const char *value = kube_pair_get(meta->annotations, meta->annotation_count, name);
    return value ? value : "";
}

/* An annotation that asks for something by changing. Its text goes to the status and the registry,
 * so a longer one than fits stands for itself by its hash. */
static const char *request(const struct kube_meta *meta, struct arena *arena, const char *name)
{
    const char *value = annotation(meta, name);
    if (strlen(value) <= REQUEST_MAX_BYTES) {
        return value;
    }
    char digest[SHA256_TEXT_BYTES];
    hash_sha256_text(str_from(value), digest);
    return arena_strdup(arena, digest);
}

int tenant_decode(struct str json, struct arena *arena, struct tenant *ret, struct err *err)
{
    struct kube_meta meta = {0};
    *ret = (struct tenant){.status.observed_generation = -1, .owner.role = MEMBER_OWNER};
    if (object_read(json, arena, tenant_fields, &meta, ret, err)) {
        return -1;
    }
    ret->name = meta.name;
    ret->uid = meta.uid;
    ret->resource_version = meta.resource_version;
    ret->generation = meta.generation;
    ret->deleting = meta.deletion_timestamp != NULL;
    ret->finalizer_count = (int64_t)meta.finalizer_count;
    for (size_t i = 0; i < meta.finalizer_count; i++) {
        ret->has_finalizer |= text_equal(meta.finalizers[i], NAME_FINALIZER);
    }
    ret->paused = text_equal(annotation(&meta, NAME_ANNOTATION_PAUSED), "true");
    ret->force_finalize = text_equal(annotation(&meta, NAME_ANNOTATION_FORCE), "true");
    ret->adopt = annotation(&meta, NAME_ANNOTATION_ADOPT);
    ret->reconcile_requested_at = request(&meta, arena, NAME_ANNOTATION_RECONCILE);
    ret->erase_members = annotation(&meta, NAME_ANNOTATION_ERASE);
    ret->rotate_requested_at = request(&meta, arena, NAME_ANNOTATION_ROTATE);
    ret->lists_sandboxes = ret->sandboxes != NULL; /* a list of none is a list */
    if (text_is_empty(ret->subdomain)) {
        ret->subdomain = ret->name;
    }
    return 0;
}

int tier_decode(struct str json, struct arena *arena, struct tier *ret, struct err *err)
{
    struct kube_meta meta = {0};
    *ret = (struct tier){.isolation = ISOLATION_DATABASE,
                         .status_tenants = -1,
                         .observed_generation = -1,
                         .currency = "EUR",
                         .price_monthly = "0",
                         .suspend_after_days = -1,
                         .alert_quota_percent = 90,
                         .alert_backup_age_ms = INT64_C(36) * 3600 * 1000};
    if (object_read(json, arena, tier_fields, &meta, ret, err)) {
        return -1;
    }
    ret->name = meta.name;
    ret->uid = meta.uid;
    ret->resource_version = meta.resource_version;
    ret->generation = meta.generation;
    ret->deleting = meta.deletion_timestamp != NULL;
    ret->in_use_label = kube_pair_get(meta.labels, meta.label_count, NAME_LABEL_IN_USE) != NULL;
    return 0;
}

int database_server_decode(struct str json, struct arena *arena, struct database_server *ret,
                           struct err *err)
{
    struct kube_meta meta = {0};
    *ret = (struct database_server){.port = 5432,
                                    .sslmode = "verify-full",
                                    .target_session_attrs = "read-write",
                                    .ca_secret_key = "ca.crt",
                                    .maintenance_database = "postgres",
                                    .shared_database = "tenantry_shared",
                                    .schedulable = true,
                                    .spare_per_minute = 30,
                                    .status_tenants = -1,
                                    .observed_generation = -1};
    if (object_read(json, arena, server_fields, &meta, ret, err)) {
        return -1;
    }
    struct text_pair *labels = ARENA_ARRAY(arena, struct text_pair, meta.label_count);
    for (size_t i = 0; i < meta.label_count; i++) {
        labels[i] = (struct text_pair){meta.labels[i].name, meta.labels[i].value};
    }
    ret->labels = labels;
    ret->label_count = meta.label_count;
    ret->name = meta.name;
    ret->uid = meta.uid;
    ret->resource_version = meta.resource_version;
    ret->generation = meta.generation;
    ret->deleting = meta.deletion_timestamp != NULL;
    ret->in_use_label = kube_pair_get(meta.labels, meta.label_count, NAME_LABEL_IN_USE) != NULL;
    return 0;
}

/* ---- records ---- */

void codec_fill_head(struct record_head *head, const char *name, const char *uid,
                     const char *resource_version)
{
    head->key = str_from(name);
    head->uid = str_from(uid);
    head->resource_version = str_from(resource_version);
}

static int tenant_pack(struct str json, struct arena *scratch, struct buf *payload,
                       struct record_head *ret_head, struct err *err)
{
    struct tenant tenant;
    if (tenant_decode(json, scratch, &tenant, err)) {
        return -1;
    }
    codec_fill_head(ret_head, tenant.name, tenant.uid, tenant.resource_version);
    fields_pack(tenant_fields, &record_dictionary, &tenant, payload);
    return 0;
}

static int tier_pack(struct str json, struct arena *scratch, struct buf *payload,
                     struct record_head *ret_head, struct err *err)
{
    struct tier *tier = ARENA_NEW(scratch, struct tier);
    if (tier_decode(json, scratch, tier, err)) {
        return -1;
    }
    codec_fill_head(ret_head, tier->name, tier->uid, tier->resource_version);
    fields_pack(tier_fields, &record_dictionary, tier, payload);
    return 0;
}

static int database_server_pack(struct str json, struct arena *scratch, struct buf *payload,
                                struct record_head *ret_head, struct err *err)
{
    struct database_server *server = ARENA_NEW(scratch, struct database_server);
    if (database_server_decode(json, scratch, server, err)) {
        return -1;
    }
    codec_fill_head(ret_head, server->name, server->uid, server->resource_version);
    fields_pack(server_fields, &record_dictionary, server, payload);
    return 0;
}

const struct codec tenant_codec = {.resource = &KUBE_TENANTS, .pack = tenant_pack};
const struct codec tier_codec = {.resource = &KUBE_TENANT_TIERS, .pack = tier_pack};
const struct codec database_server_codec = {.resource = &KUBE_DATABASE_SERVERS,
                                            .pack = database_server_pack};

void tenant_unpack(const struct record *record, struct arena *arena, struct tenant *ret)
{
    *ret = (struct tenant){0};
    fields_unpack(tenant_fields, &record_dictionary, record_payload(record), arena, ret);
    ret->name = arena_strdup(arena, record_key(record));
    ret->resource_version = arena_strdup(arena, record_resource_version(record));
}

void tier_unpack(const struct record *record, struct arena *arena, struct tier *ret)
{
    *ret = (struct tier){0};
    fields_unpack(tier_fields, &record_dictionary, record_payload(record), arena, ret);
    ret->name = arena_strdup(arena, record_key(record));
    ret->resource_version = arena_strdup(arena, record_resource_version(record));
}

void database_server_unpack(const struct record *record, struct arena *arena,
                            struct database_server *ret)
{
    *ret = (struct database_server){0};
    fields_unpack(server_fields, &record_dictionary, record_payload(record), arena, ret);
    ret->name = arena_strdup(arena, record_key(record));
    ret->resource_version = arena_strdup(arena, record_resource_version(record));
}

/* ---- specs alone, to hash ---- */

void tenant_spec_pack(const struct tenant *tenant, struct buf *out)
{
    fields_pack(tenant_spec_fields, NULL, tenant, out);
}

void tier_spec_pack(const struct tier *tier, struct buf *out)
{
    fields_pack(tier_spec_fields, NULL, tier, out);
}

void database_server_spec_pack(const struct database_server *server, struct buf *out)
{
    fields_pack(server_spec_fields, NULL, server, out);
}
