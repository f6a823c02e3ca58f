/* Every condition type and reason of the product, in one place: the source of the status, of the
 * metrics' label values, of docs/conditions.md (printed by `tenantry-controller --print-reasons`),
 * and of the unit test that no other reason is used. */
#ifndef TENANTRY_MODEL_CONDITIONS_H
#define TENANTRY_MODEL_CONDITIONS_H

#include <stddef.h>

#define CONDITION_READY "Ready"
#define CONDITION_REGISTERED "Registered"
#define CONDITION_DATABASE "DatabaseReady"
#define CONDITION_SCHEMA "SchemaReady"
#define CONDITION_OWNER "OwnerReady"
#define CONDITION_QUOTAS "QuotasReady"
#define CONDITION_SANDBOXES "SandboxesReady"
#define CONDITION_STORAGE "StorageReady"
#define CONDITION_MONITORING "MonitoringReady"
#define CONDITION_SUSPENDED "Suspended"
#define CONDITION_SERVING "Serving"
#define CONDITION_RECONCILING "Reconciling"
#define CONDITION_STALLED "Stalled"
#define CONDITION_QUOTA_EXCEEDED "QuotaExceeded"
#define CONDITION_MOVE_PENDING "MovePending"
#define CONDITION_REACHABLE "Reachable"
#define CONDITION_HARDENED "Hardened"
#define CONDITION_ORPHANED "Orphaned"
#define CONDITION_DRAINED "Drained"

/* What a condition says when it is as it should be. */
#define MESSAGE_READY "The tenant is as its spec says."
#define MESSAGE_REGISTERED "The tenant has its record in the registry."
#define MESSAGE_DATABASE "Database, roles and connection Secret stand."
#define MESSAGE_SCHEMA "The tenant schema is at its newest version, with row-level security."
#define MESSAGE_OWNER "The owner's account stands."
#define MESSAGE_QUOTAS "Every quota has its row in the registry."
#define MESSAGE_SANDBOXES "Namespace, limits, network policy, access and sandboxes stand."
#define MESSAGE_STORAGE "Buckets, their policy, the key and its Secret stand."
#define MESSAGE_SANDBOXES_ASLEEP                                                                   \
    "Nobody uses the tenant: its sandboxes are scaled to zero, and wake with the next request."
#define MESSAGE_STORAGE_NONE "The tenant has no buckets."
#define MESSAGE_MONITORING "The tenant is watched, and was found well."
#define MESSAGE_NOT_SUSPENDED "The tenant is active."
#define MESSAGE_SUSPENDED "The tenant is suspended; its data is untouched."
#define MESSAGE_HELD "The tenant is suspended since a bill of it is overdue; its data is untouched."
#define MESSAGE_SERVING "Requests to the tenant are served."

struct reason {
    const char *name;    /* CamelCase */
    const char *meaning; /* one sentence */
    const char *action;  /* what the user does about it; "" = nothing */
};

/* NULL-named entry ends. */
extern const struct reason reasons[];
const struct reason *reason_find(const char *name);

#endif
