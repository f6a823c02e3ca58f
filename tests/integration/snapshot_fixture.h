/* Tenants that are deleted with policy Snapshot, over database_fixture.h, and a store for their
 * dumps that is a file. Failures end the test. */
#ifndef TENANTRY_TESTS_INTEGRATION_SNAPSHOT_FIXTURE_H
#define TENANTRY_TESTS_INTEGRATION_SNAPSHOT_FIXTURE_H

#include <stdio.h>

#include "reconcilers/database/snapshot.h"
#include "tests/integration/database_fixture.h"

#define SNAPSHOT_PASSWORD "a-password-of-some-length"

struct file_store {
    struct snapshot_store store;
    char *path;
    FILE *file;
    int opened;
    int earlier;              /* deletions that have a dump of their own, as was said last */
    int finished;             /* how many dumps were written whole */
    bool cut_short;           /* reading back ends as when the program ends; once */
    bool away;                /* there is no store any more */
    bool damages;             /* what it gives back is not what was written */
    const char *during_write; /* SQL that a superuser runs when the first piece comes */
    const char *database;
};

extern struct file_store snapshot_file;
extern char *snapshot_folder; /* where it is; for other programs too */

int snapshot_set_up(void **state);
int snapshot_tear_down(void **state);

/* An empty store. database: where during_write runs. */
struct fixture *snapshot_use_store(void **state, const char *database);

/* All that is there of a tenant, with a login. */
void snapshot_make(struct run *run, const struct fixture *fixture, const struct tenant *tenant);
void snapshot_begin_end(struct run *run, const struct fixture *fixture,
                        const struct tenant *tenant);
/* One run of the steps that concern us, as the table orders them. */
int snapshot_end_once(struct run *run);
/* Until it is done or fails; a run that ends by having taken the snapshot goes on. */
int snapshot_end(struct run *run, const struct fixture *fixture, const struct tenant *tenant);

/* Restore the dump into an empty database and look. Roles are those of the tenant, gone by now. */
struct sql_conn *snapshot_restore(void);
void snapshot_drop_restored(struct sql_conn *conn);

#endif
