/* A registry, a DatabaseServer "primary" that is the test's PostgreSQL, and a controller's role on
 * it with the rights that the documentation asks for: LOGIN CREATEDB CREATEROLE, pg_signal_backend,
 * and no more. Steps are driven as the runtime drives them. Failures end the test. */
#ifndef TENANTRY_TESTS_INTEGRATION_DATABASE_FIXTURE_H
#define TENANTRY_TESTS_INTEGRATION_DATABASE_FIXTURE_H

#include "controller/runtime/cache.h"
#include "reconcilers/database/database_internal.h"
#include "reconcilers/database/servers.h"
#include "reconcilers/model/work.h"
#include "reconcilers/registry/registry.h"

#define FIXTURE_CONTROLLER "database_test"

struct fixture {
    struct services services;
    struct secret password; /* of FIXTURE_CONTROLLER */
    struct secret ca_pem;
};

int fixture_set_up(void **state);
int fixture_tear_down(void **state);

/* A connection as the controller's role. */
struct sql_conn *fixture_connect(const struct fixture *fixture, const char *database);
/* A connection of any role, whose password is known. NULL, and *err, when it is refused. */
struct sql_conn *fixture_connect_as(const struct fixture *fixture, const char *database,
                                    const char *user, const char *password, struct err *err);

/* Set DatabaseServer primary's spec.port to one where nobody listens. */
void fixture_lose_server(struct fixture *fixture);
/* Set its spec.drift, and the right port again. */
void fixture_set_drift(struct fixture *fixture, const char *drift);

/* Set its spec.hosts: the same server by another name. */
void fixture_set_host(struct fixture *fixture, const char *host);
/* Set its spec.spareDatabases. */
void fixture_set_spares(struct fixture *fixture, int count, int per_minute);

extern const struct tier tier_small; /* 5 connections, 10 s, 60 s idle in a transaction */

/* Tenant `name`, with that as its subdomain. */
struct tenant fixture_tenant(const char *name, const char *uid);

/* One run of a reconcile: what steps are given. */
struct run {
    struct arena arena;
    struct reconcile rc;
    struct tenant tenant;
    struct tenant_work work;
    struct err err;
};
void run_init(struct run *run, const struct fixture *fixture, const struct tenant *tenant);
void run_release(struct run *run);
static inline void auto_release_run(struct run *run)
{
    run_release(run);
}

/* Record, Database, Schema: must succeed. The place and the id are in run->work. */
void run_provision(struct run *run, const struct fixture *fixture, const struct tenant *tenant);
/* The same for a tenant that was complete before, so that differences are drift. */
void run_again(struct run *run, const struct fixture *fixture, const struct tenant *tenant);
/* Give login .a a password and enable it, without a Secret. */
void run_make_login(struct run *run, const struct fixture *fixture, const char *password);
/* As tenant_delete does: with this policy, database_finalize and then record_finalize. Returns the
 * step's result, with its error in run->err. */
int run_delete(struct run *run, const struct fixture *fixture, const struct tenant *tenant,
               enum deletion_policy policy);

#endif
