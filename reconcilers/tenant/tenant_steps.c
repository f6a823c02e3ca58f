/* The table of steps: what a tenant is made of, and what needs what. A new concern is a row here.
 */
#include "reconcilers/database/snapshot.h"
#include "reconcilers/database/steps.h"
#include "reconcilers/model/conditions.h"
#include "reconcilers/monitoring/monitor.h"
#include "reconcilers/registry/steps.h"
#include "reconcilers/sandbox/steps.h"
#include "reconcilers/storage/steps.h"
#include "reconcilers/tenant/tenant.h"
#include "reconcilers/tenant/tenant_internal.h"

/* The namespace and the owner's password need only the record, so they are made beside the
 * database; the bcrypt hash of the password alone takes longer than creating a database. Deletion
 * runs upwards, and the record goes last: until then it proves what is ours. */
const struct step tenant_steps[] = {
    {
        .name = "Record",
        .condition = CONDITION_REGISTERED,
        .ensure = record_ensure,
        .finalize = record_finalize,
    },
    {
        .name = "Database",
        .condition = CONDITION_DATABASE,
        .needs = {"Record"},
        .ensure = database_ensure,
        .finalize = database_finalize,
    },
    {
        .name = "OwnerCredential",
        .condition = CONDITION_OWNER,
        .needs = {"Record"},
        .ensure = owner_credential_ensure,
        .finalize = owner_credential_finalize,
    },
    {
        .name = "Namespace",
        .condition = CONDITION_SANDBOXES,
        .needs = {"Record"},
        .ensure = namespace_ensure,
        .finalize = namespace_finalize,
    },
    {
        .name = "Billing",
        .condition = CONDITION_REGISTERED,
        .needs = {"Record"},
        .ensure = billing_ensure,
    },
    {
        .name = "Quotas",
        .condition = CONDITION_QUOTAS,
        .needs = {"Record"},
        .ensure = quotas_ensure,
    },
    {
        .name = "Rules",
        .condition = CONDITION_SANDBOXES,
        .needs = {"Namespace"},
        .ensure = sandbox_rules_ensure,
    },
    {
        .name = "Sandboxes",
        .condition = CONDITION_SANDBOXES,
        .needs = {"Rules", "Quotas"},
        .ensure = sandboxes_ensure,
    },
    {
        .name = "Schema",
        .condition = CONDITION_SCHEMA,
        .needs = {"Database"},
        .ensure = schema_ensure,
    },
    {
        .name = "DatabaseLogin",
        .condition = CONDITION_DATABASE,
        .needs = {"Database", "Namespace"},
        .ensure = database_login_ensure,
        .finalize = database_login_finalize,
    },
    {
        .name = "Owner",
        .condition = CONDITION_OWNER,
        .needs = {"Schema", "OwnerCredential"},
        .ensure = owner_ensure,
    },
    {
        .name = "Monitoring",
        .condition = CONDITION_MONITORING,
        .needs = {"Schema", "DatabaseLogin", "Quotas"},
        .ensure = monitoring_ensure,
    },
    {
        .name = "MonitoringObjects",
        .condition = CONDITION_MONITORING,
        .needs = {"Namespace"},
        .ensure = monitoring_objects_ensure,
    },
    {
        .name = "Extensions",
        .condition = CONDITION_SCHEMA,
        .needs = {"Schema"},
        .ensure = extensions_ensure,
    },
    {
        .name = "Migrations",
        .condition = CONDITION_SCHEMA,
        .needs = {"Extensions"},
        .ensure = migrations_ensure,
        .finalize = migrations_finalize,
    },
    {
        .name = "OwnerMail",
        .condition = CONDITION_OWNER,
        .needs = {"Owner"},
        .ensure = owner_mail_ensure,
    },
    {
        .name = "Members",
        .condition = CONDITION_OWNER,
        .needs = {"Owner"},
        .ensure = members_ensure,
    },
    {
        .name = "Buckets",
        .condition = CONDITION_STORAGE,
        .needs = {"Record"},
        .ensure = buckets_ensure,
        .finalize = buckets_finalize,
    },
    {
        .name = "StorageUsage",
        .condition = CONDITION_STORAGE,
        .needs = {"Buckets", "Quotas"},
        .ensure = storage_usage_ensure,
    },
    {
        .name = "StorageFence",
        .condition = CONDITION_STORAGE,
        .needs = {"StorageUsage", "Migrations", "DatabaseLogin"},
        .ensure = storage_fence_ensure,
    },
    {
        .name = "StorageKeys",
        .condition = CONDITION_STORAGE,
        .needs = {"StorageUsage", "Namespace"},
        .ensure = storage_keys_ensure,
        .finalize = storage_keys_finalize,
    },
    /* Needs everything that is undone, so that it is the first when a tenant is deleted. */
    {
        .name = "Snapshot",
        .needs = {"DatabaseLogin", "Members", "Quotas", "StorageKeys", "Migrations"},
        .finalize = snapshot_finalize,
    },
};
const size_t tenant_step_count = ARRAY_COUNT(tenant_steps);

const struct step_condition tenant_conditions[] = {
    {CONDITION_REGISTERED, MESSAGE_REGISTERED}, {CONDITION_DATABASE, MESSAGE_DATABASE},
    {CONDITION_SCHEMA, MESSAGE_SCHEMA},         {CONDITION_OWNER, MESSAGE_OWNER},
    {CONDITION_QUOTAS, MESSAGE_QUOTAS},         {CONDITION_SANDBOXES, MESSAGE_SANDBOXES},
    {CONDITION_STORAGE, MESSAGE_STORAGE},       {CONDITION_MONITORING, MESSAGE_MONITORING},
};
const size_t tenant_condition_count = ARRAY_COUNT(tenant_conditions);

int tenant_steps_check(struct err *err)
{
    return steps_check(tenant_steps, tenant_step_count, err);
}
