/* Every name that is derived from a subdomain (contract: injective, since '_' and '.' are no DNS
 * characters). The only place where such names are made. Results are in the arena. */
#ifndef TENANTRY_MODEL_NAMES_H
#define TENANTRY_MODEL_NAMES_H

#include <stdbool.h>

#include "controller/base/arena.h"
#include "controller/base/attributes.h"
#include "controller/base/err.h"

#define NAME_FINALIZER "tenantry.dev/tenant"
#define NAME_STORE_DEFAULT "default"          /* the ObjectStore that is taken first */
#define NAME_MANAGER "tenantry"               /* field manager of what we make */
#define NAME_STATUS_MANAGER "tenantry-status" /* field manager of status */
#define NAME_SYSTEM_NAMESPACE "tenantry-system"
#define NAME_LABEL_MANAGED_BY "app.kubernetes.io/managed-by" /* = "tenantry" */
#define NAME_LABEL_TENANT "tenantry.dev/tenant"
#define NAME_LABEL_TENANT_UID "tenantry.dev/tenant-uid"
#define NAME_LABEL_SANDBOX "tenantry.dev/sandbox" /* the sandbox's own name */
#define NAME_LABEL_IN_USE "tenantry.dev/in-use"
#define NAME_ANNOTATION_PAUSED "tenantry.dev/paused"
#define NAME_ANNOTATION_ADOPT "tenantry.dev/adopt"
#define NAME_ANNOTATION_RECONCILE "tenantry.dev/reconcile-requested-at"
#define NAME_ANNOTATION_ROTATE "tenantry.dev/rotate-requested-at"
#define NAME_ANNOTATION_ERASE "tenantry.dev/erase-members"
#define NAME_ANNOTATION_FORCE "tenantry.dev/force-finalize"
/* Cluster-wide roles of programs that serve all tenants; on every database server. */
#define NAME_ROLE_APP "tenantry_app"
#define NAME_ROLE_GATEWAY "tenantry_gateway"
/* What the tenants of a server share: who may connect to the shared database, and around the tables
 * of isolation mode Row. */
#define NAME_ROLE_SHARED "tenantry_shared"
#define NAME_SCHEMA_ROWS "tenantry_rows"
#define NAME_TABLE_LOGINS "tenant_logins" /* there: whose login is whose */
#define NAME_ROLE_ROWS_PREFIX "tenantry_rows."
#define NAME_ROLE_ROWS_OWNER NAME_ROLE_ROWS_PREFIX "owner"
#define NAME_ROLE_ROWS_RW NAME_ROLE_ROWS_PREFIX "rw"
#define NAME_ROLE_ROWS_RO NAME_ROLE_ROWS_PREFIX "ro"

enum { NAME_SUBDOMAIN_BYTES = 48, NAME_BUCKET_BYTES = 63, NAME_STORAGE_USER_BYTES = 64 };

/* TERMINAL/InvalidSubdomain with the rule broken: DNS label, length, reserved word or prefix. The
 * CRD says the same of new Tenants; this is the second lock, and knows the platform's own words
 * too. Asked once, when a tenant is registered: a word reserved later locks out nobody who has the
 * name. */
MUST_CHECK int name_check_subdomain(const char *subdomain, struct err *err);
/* Reserve more words; once at start, borrowed. */
void name_reserve(const char *comma_separated);

const char *name_database(struct arena *arena, const char *subdomain); /* tenant_<sub> */
const char *name_role(struct arena *arena, const char *subdomain, const char *suffix);
/* suffix "owner", "rw", "ro", "app", "a", "b": tenant_<sub>.owner */
const char *name_namespace(struct arena *arena, const char *subdomain); /* tenant-<subdomain> */
const char *name_sandbox(struct arena *arena, const char *subdomain,
                         const char *sandbox); /* <subdomain>-<sandbox> */
const char *name_owner_secret(struct arena *arena, const char *subdomain); /* <subdomain>-owner */
const char *name_database_secret(struct arena *arena, const char *subdomain); /* …-database */
const char *name_storage_secret(struct arena *arena, const char *subdomain);  /* …-storage */
/* <prefix><subdomain>-<own name>; prefix is the store's, "" if it has none. */
const char *name_bucket(struct arena *arena, const char *prefix, const char *subdomain,
                        const char *own);
/* <prefix>tenant-<subdomain>: the user at a store's IAM service. */
const char *name_storage_user(struct arena *arena, const char *prefix, const char *subdomain);

#endif
