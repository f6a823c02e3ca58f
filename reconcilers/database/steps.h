/* The steps that live on a database server. Signatures as in struct step; subject is struct
 * tenant_work. */
#ifndef TENANTRY_DATABASE_STEPS_H
#define TENANTRY_DATABASE_STEPS_H

#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "controller/runtime/reconcile.h"
#include "reconcilers/model/work.h"

/* Database: roles owner, rw, ro, app; the database, owned by owner, closed to PUBLIC before anyone
 * can connect, commented with tenant id and UID; our application roles' CONNECT. Healed on drift.
 * Errors: TERMINAL/NameConflict, WAIT/DatabaseBusy, RETRY/DatabaseUnreachable, ... */
MUST_CHECK int database_ensure(struct reconcile *rc, void *subject, struct err *err);
/* By work->deletion_policy: Retain locks (logins off, sessions ended, connections refused) and
 * lists in tenant_retained; Delete ends sessions and drops database and roles that bear this
 * tenant's mark. WAIT/DatabaseBusy names pid, user, application of who may not be ended. */
MUST_CHECK int database_finalize(struct reconcile *rc, void *subject, struct err *err);

/* DatabaseLogin: the login slot .a and the connection Secret that names it: the Secret is written
 * first and is the truth; the role follows it. */
MUST_CHECK int database_login_ensure(struct reconcile *rc, void *subject, struct err *err);
MUST_CHECK int database_login_finalize(struct reconcile *rc, void *subject, struct err *err);

/* Schema: the tenant schema at its newest version, row-level security on and forced, policies,
 * grants. */
MUST_CHECK int schema_ensure(struct reconcile *rc, void *subject, struct err *err);

/* OwnerCredential: the temporary password in Secret <subdomain>-owner, and its bcrypt hash, while
 * the owner must still change it. Needs no database, so it runs beside the making of one. */
MUST_CHECK int owner_credential_ensure(struct reconcile *rc, void *subject, struct err *err);
MUST_CHECK int owner_credential_finalize(struct reconcile *rc, void *subject, struct err *err);
/* Whether the owner's right to read that Secret, as far as the watches know of one, is as it should
 * be. Asks nobody; that all of it is gone only owner_credential_ensure sees. */
bool owner_rights_stand(const struct services *services, struct arena *arena,
                        const struct tenant *tenant);

/* Owner: the users row (role owner, bcrypt cost 12, must_change_password) and the tenant_users row.
 * A renamed owner is renamed, not doubled. Removes the Secret once the owner has changed the
 * password. */
MUST_CHECK int owner_ensure(struct reconcile *rc, void *subject, struct err *err);

/* Migrations: the user's own SQL files (spec.database.migrationsRef), each once, in order, by a
 * one-use role that is a member of the tenant's owner only. Errors: TERMINAL/MigrationFailed,
 * MigrationEdited, MigrationOutOfOrder, MigrationRefused, RETRY/MigrationsNotFound, LockTimeout. */
MUST_CHECK int migrations_ensure(struct reconcile *rc, void *subject, struct err *err);
MUST_CHECK int migrations_finalize(struct reconcile *rc, void *subject, struct err *err);

/* Extensions: those of spec.database.extensions stand in the tenant's database. Errors:
 * TERMINAL/ExtensionRefused (not in the tier's list), TERMINAL/ExtensionUnavailable,
 * TERMINAL/InsufficientPrivilege with the statement for a superuser, TERMINAL/NameConflict. */
MUST_CHECK int extensions_ensure(struct reconcile *rc, void *subject, struct err *err);

/* StorageFence: with nothing left of storage_mb (work->storage_spent), INSERT and UPDATE on the
 * tenant's tables fail with disk_full (53100), and DELETE works; else nothing stands in the way.
 * Errors: RETRY/LockTimeout, RETRY/DatabaseUnreachable. */
MUST_CHECK int storage_fence_ensure(struct reconcile *rc, void *subject, struct err *err);

/* OwnerMail: the owner was told by mail that the tenant is there, if a relay is configured and the
 * temporary password still waits. Errors: those of smtp_send. */
MUST_CHECK int owner_mail_ensure(struct reconcile *rc, void *subject, struct err *err);

/* Members: the spec's members as users (no password yet) and in tenant_users, as far as the users
 * quota has room; who is named no longer is disabled. work->members_excess says who did not fit. */
MUST_CHECK int members_ensure(struct reconcile *rc, void *subject, struct err *err);

#endif
