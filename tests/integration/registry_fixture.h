/* A registry in a database of its own, owned by a role without any special right, and Tenants to
 * put into it. Failures end the test. */
#ifndef TENANTRY_TESTS_INTEGRATION_REGISTRY_FIXTURE_H
#define TENANTRY_TESTS_INTEGRATION_REGISTRY_FIXTURE_H

#include "controller/runtime/cache.h"
#include "reconcilers/model/work.h"
#include "reconcilers/registry/registry.h"

struct fixture {
    struct services services;
    struct sql_conn *conn; /* the superuser's, to the registry */
};

/* For cmocka's group: a registry, migrated; gone afterwards. */
int fixture_make(void **state);
int fixture_remove(void **state);
/* For each test: *state is a struct fixture with that registry, empty, one DatabaseServer "primary"
 * and one "small" (for tier "tiny", room for 3 tenants), and no Tenant in the cache. */
/* Remove all tenants and whatever hangs on them; conn is a superuser's. */
void fixture_empty(struct sql_conn *conn);
int fixture_set_up(void **state);
int fixture_tear_down(void **state);
/* The URI of the role that owns the registry. */
void fixture_uri(struct secret *ret);

/* Of contract: quotas 5, 1000, 10, 5, 10000, 49 a month. */
extern const struct tier tier_premium, tier_free, tier_tiny;

/* Tenant `name` with that name as subdomain. */
struct tenant fixture_tenant(const char *name, const char *uid);

/* One run of a step: what it is given, with a Tenant of its own, and what it left. */
struct run {
    struct arena arena;
    struct reconcile rc;
    struct tenant_work work;
    struct err err;
};
void run_init(struct run *run, const struct fixture *fixture, const struct tenant *tenant,
              const struct tier *tier);
void run_release(struct run *run);
static inline void auto_release_run(struct run *run)
{
    run_release(run);
}

/* Run record_ensure, which must succeed; the id is in run->work.tenant_id. */
void run_record(struct run *run, const struct fixture *fixture, const struct tenant *tenant,
                const struct tier *tier);

#endif
