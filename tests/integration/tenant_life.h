/* One tenant and its runs, with all its objects: a cluster and a PostgreSQL server, both real, and
 * the steps in their order, with the controller's own rights and under the shipped policies.
 * Failures end the test. */
#ifndef TENANTRY_TESTS_INTEGRATION_TENANT_LIFE_H
#define TENANTRY_TESTS_INTEGRATION_TENANT_LIFE_H

#include "controller/kube/secret_object.h"
#include "tests/integration/as_controller.h"
#include "tests/integration/cluster.h"
#include "tests/integration/database_fixture.h"

struct world {
    struct cluster *cluster; /* as an administrator */
    struct fixture *fixture; /* its API client acts as the controller */
    struct as_controller identity;
    char suffix[16]; /* names of an earlier run may still be going */
};

struct life {
    struct world *world;
    char *name;
    char *uid;
    struct tenant tenant;
    const struct tier *tier; /* NULL: tier_small */
    struct run run;          /* the last */
};

/* For cmocka's groups: *state is a struct world. */
int life_set_up(void **state);
int life_tear_down(void **state);
/* Tenant "<name>-<pid>", not made yet. AUTO(life) struct life life; */
void life_init(struct life *life, void *state, const char *name);
void auto_release_life(struct life *life);

/* One run of all steps; its error is in life->run.err. complete: the tenant stood before, so that
 * differences are drift. */
int life_run(struct life *life, bool complete, bool drift_check);
/* Must succeed. */
void life_make(struct life *life);
void life_drift_check(struct life *life);
void life_end(struct life *life, enum deletion_policy policy);

const char *life_namespace(const struct life *life);
/* False when there is none. *ret is released first. */
bool life_find_secret(const struct life *life, const char *namespace_, const char *name,
                      struct kube_secret *ret);
void life_connection(const struct life *life, struct kube_secret *ret);
bool life_find_owner(const struct life *life, struct kube_secret *ret);
/* Must be there. */
const char *life_entry(const struct kube_secret *secret, const char *name);
/* A client that knows nothing but the Secret. NULL, and *err, when it is refused. */
struct sql_conn *life_login(const struct life *life, const struct kube_secret *secret,
                            struct err *err);
void life_check_login(const struct life *life);
/* The tenant's database, as the superuser; closed by the caller. */
struct sql_conn *life_database(const struct life *life);
/* Whether the owner's Secret holds the password whose hash is in users. */
bool life_owner_fits(const struct life *life);
/* How many write requests the controller has sent. */
double life_write_requests(void);

#endif
