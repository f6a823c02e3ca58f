/* The end of the days of grace in the registry: what is due and when, and that of removing and
 * taking back exactly one happens, whoever else is at work. */
#include "tests/check.h"
#include "tests/integration/postgres.h"
#include "tests/integration/registry_fixture.h"

#include <pthread.h>

#include "controller/base/clock.h"
#include "reconcilers/registry/purge.h"
#include "reconcilers/registry/record_sql.h"
#include "reconcilers/registry/steps.h"

enum { DAY_S = 24 * 60 * 60 };

/* A tenant that was deleted with days of grace; the rest of the deletion is not the registry's. */
static void make_deleted(const struct fixture *fixture, struct run *run, const char *name,
                         const char *uid, int64_t delete_after_s)
{
    static const struct retained item = {"database", "tenant_x", "primary", 1};
    struct tenant tenant = fixture_tenant(name, uid);

    run_record(run, fixture, &tenant, &tier_premium);
    struct tenant *ending = ARENA_NEW(&run->arena, struct tenant);
    *ending = tenant;
    ending->deletion_grace_days = delete_after_s ? 1 : 0;
    run->work.tenant = ending;
    run->work.deletion_policy = DELETION_DELETE;
    CHECK_OK(registry_retain(fixture->services.registry, &run->rc, run->work.tenant_id, name, &item,
                             1, delete_after_s, &run->err),
             &run->err);
    CHECK_OK(record_finalize(&run->rc, &run->work, &run->err), &run->err);
}

static size_t count_due(const struct fixture *fixture, struct run *run, int64_t now_s)
{
    const char *const *ids = NULL;
    size_t count = 0;

    CHECK_OK(purge_list(fixture->services.registry, &run->rc, now_s, &ids, &count, &run->err),
             &run->err);
    return count;
}

static bool is_due(const struct fixture *fixture, struct run *run, int64_t now_s, struct purge *ret)
{
    bool due = false;
    CHECK_OK(purge_find(fixture->services.registry, &run->rc, run->work.tenant_id, now_s, ret, &due,
                        &run->err),
             &run->err);
    return due;
}

static int begin(const struct fixture *fixture, struct run *run, const struct purge *purge)
{
    return purge_begin(fixture->services.registry, &run->rc, run->work.tenant_id, purge, &run->err);
}

static void nothing_is_due_before_its_time(void **state)
{
    const struct fixture *fixture = *state;
    AUTO(run) struct run run = {0};
    AUTO(run) struct run kept = {0};
    struct purge purge;
    int64_t now_s = clock_wall_s();

    make_deleted(fixture, &run, "graced", "uid-graced", now_s + DAY_S);
    make_deleted(fixture, &kept, "kept", "uid-kept", 0);
    const struct quiet quiet = postgres_quiet_begin();
    CHECK_INT(count_due(fixture, &run, now_s), 0);
    CHECK(!is_due(fixture, &run, now_s + DAY_S - 1, &purge));
    CHECK_INT(count_due(fixture, &run, now_s + DAY_S), 1);
    CHECK(is_due(fixture, &run, now_s + DAY_S, &purge));
    CHECK(!is_due(fixture, &kept, now_s + 1000 * (int64_t)DAY_S, &purge));
    postgres_quiet_end(&quiet);
}

static void what_is_due_is_known_by_its_row(void **state)
{
    const struct fixture *fixture = *state;
    AUTO(run) struct run run = {0};
    struct purge purge;
    int64_t now_s = clock_wall_s();

    make_deleted(fixture, &run, "graced", "uid-graced", now_s);
    CHECK(is_due(fixture, &run, now_s, &purge));
    CHECK_TEXT(purge.tenant_name, "graced");
    CHECK_TEXT(purge.tenant_uid, "uid-graced");
    CHECK_TEXT(purge.place.server, "primary");
    CHECK_TEXT(purge.place.database, "tenant_graced");
    CHECK_INT(purge.policy, DELETION_DELETE);
    CHECK(!purge.begun);
    CHECK_OK(begin(fixture, &run, &purge), &run.err);
    CHECK(is_due(fixture, &run, now_s, &purge));
    CHECK(purge.begun);
    const struct quiet quiet = postgres_quiet_begin();
    CHECK_OK(begin(fixture, &run, &purge), &run.err);
    postgres_quiet_end(&quiet);
    CHECK_OK(
        purge_end(fixture->services.registry, &run.rc, run.work.tenant_id, &purge, now_s, &run.err),
        &run.err);
    CHECK(!is_due(fixture, &run, now_s, &purge));
    CHECK_INT(postgres_int(fixture->conn, "SELECT count(*) FROM public.tenant_retained"), 0);
    const struct quiet again = postgres_quiet_begin();
    CHECK_OK(
        purge_end(fixture->services.registry, &run.rc, run.work.tenant_id, &purge, now_s, &run.err),
        &run.err);
    postgres_quiet_end(&again);
}

/* One thing that is to be kept keeps all: what removes it does not ask which is due. */
static void what_is_kept_for_longer_keeps_the_rest(void **state)
{
    static const char *const kept[] = {"NULL", "now() + interval '1 year'"};
    static const struct retained bucket = {"bucket", "graced-uploads", "default", 1};
    const struct fixture *fixture = *state;
    AUTO(run) struct run run = {0};
    struct purge purge;
    int64_t now_s = clock_wall_s();

    make_deleted(fixture, &run, "graced", "uid-graced", now_s);
    CHECK_OK(registry_retain(fixture->services.registry, &run.rc, run.work.tenant_id, "graced",
                             &bucket, 1, now_s, &run.err),
             &run.err);
    for (size_t i = 0; i < ARRAY_COUNT(kept); i++) {
        CHECK_INT(count_due(fixture, &run, now_s), i == 0 ? 1 : 0);
        postgres_run(fixture->conn,
                     "UPDATE public.tenant_retained SET delete_after = %s WHERE kind = 'bucket'",
                     kept[i]);
        CHECK_INT(count_due(fixture, &run, now_s), 0);
        CHECK(!is_due(fixture, &run, now_s, &purge));
    }
    postgres_run(fixture->conn, "DELETE FROM public.tenant_retained WHERE kind = 'bucket'");
    CHECK(is_due(fixture, &run, now_s, &purge));
}

/* While a tenant is still being deleted its row is in force, and what it listed already is not
 * touched by anybody else. */
static void a_deletion_under_way_is_left_alone(void **state)
{
    const struct fixture *fixture = *state;
    AUTO(run) struct run run = {0};
    struct purge purge;
    int64_t now_s = clock_wall_s();

    make_deleted(fixture, &run, "graced", "uid-graced", now_s);
    postgres_run(fixture->conn, "UPDATE public.tenants SET status = 'active'");
    CHECK_INT(count_due(fixture, &run, now_s), 0);
    CHECK(!is_due(fixture, &run, now_s, &purge));
}

/* ---- taking back against removing ---- */

/* What record_ensure does once it has decided to take a row back. */
static int take_back(const struct fixture *fixture, struct run *run, struct sql_conn *conn,
                     const struct tenant *tenant, struct err *err)
{
    static const enum record_column columns[] = {COLUMN_STATUS, COLUMN_TENANT_UID};
    struct record_observed observed;
    struct record_documents documents;
    struct record_values wanted = {{0}};

    (void)fixture;
    record_render(&run->arena, tenant, NULL, &documents);
    wanted.text[COLUMN_STATUS] = "active";
    wanted.text[COLUMN_TENANT_UID] = tenant->uid;
    CHECK_OK(
        record_observe(conn, &run->rc.call, &run->arena, tenant, NULL, &documents, &observed, err),
        err);
    CHECK_INT(observed.count, 1);
    return record_update(conn, &run->rc.call, &observed.candidates[0], &wanted, columns,
                         ARRAY_COUNT(columns), err);
}

/* The only dump may be in one of them. */
static void buckets_that_a_snapshot_keeps_stay_listed(void **state)
{
    static const struct retained buckets[] = {{"bucket", "graced-uploads", "default", 1},
                                              {"bucket", "graced-backups", "default", 1}};
    const struct fixture *fixture = *state;
    AUTO(run) struct run run = {0};
    struct purge purge;
    struct err err = {0};
    int64_t now_s = clock_wall_s();
    const struct tenant tenant = fixture_tenant("graced", "uid-new");

    make_deleted(fixture, &run, "graced", "uid-graced", now_s);
    postgres_run(fixture->conn, "UPDATE public.tenants SET purge_policy = 'Snapshot'");
    CHECK_OK(registry_retain(fixture->services.registry, &run.rc, run.work.tenant_id, "graced",
                             buckets, ARRAY_COUNT(buckets), now_s, &run.err),
             &run.err);
    CHECK(is_due(fixture, &run, now_s, &purge));
    CHECK_INT(purge.policy, DELETION_SNAPSHOT);
    CHECK_OK(begin(fixture, &run, &purge), &run.err);
    CHECK_OK(
        purge_end(fixture->services.registry, &run.rc, run.work.tenant_id, &purge, now_s, &run.err),
        &run.err);
    CHECK_INT(postgres_int(fixture->conn, "SELECT count(*) FROM public.tenant_retained"), 2);
    CHECK_INT(postgres_int(fixture->conn, "SELECT count(*) FROM public.tenant_retained WHERE kind "
                                          "= 'bucket' AND delete_after IS NULL"),
              2);
    CHECK(!is_due(fixture, &run, now_s + 1000 * (int64_t)DAY_S, &purge));
    const struct quiet quiet = postgres_quiet_begin();
    CHECK_OK(
        purge_end(fixture->services.registry, &run.rc, run.work.tenant_id, &purge, now_s, &run.err),
        &run.err);
    postgres_quiet_end(&quiet);
    /* As under Retain. */
    CHECK_OK(take_back(fixture, &run, fixture->conn, &tenant, &err), &err);
}

static void what_was_taken_back_is_not_removed(void **state)
{
    const struct fixture *fixture = *state;
    AUTO(run) struct run run = {0};
    struct purge purge;
    struct err err = {0};
    int64_t now_s = clock_wall_s();
    const struct tenant tenant = fixture_tenant("graced", "uid-new");

    make_deleted(fixture, &run, "graced", "uid-graced", now_s);
    CHECK(is_due(fixture, &run, now_s, &purge)); /* seen before, and the Tenant comes then */
    CHECK_OK(take_back(fixture, &run, fixture->conn, &tenant, &err), &err);
    CHECK_FAILS(begin(fixture, &run, &purge), &run.err, ERR_CONFLICT, "Conflict");
    CHECK(!is_due(fixture, &run, now_s, &purge));
    CHECK_INT(postgres_int(fixture->conn, "SELECT count(*) FROM public.tenants WHERE status = "
                                          "'active' AND purge_policy IS NULL"),
              1);
}

/* The days of an earlier deletion, which are over, are none of a later one's: neither of what other
 * steps list, nor of what they do not get to. */
static void what_was_taken_back_gets_its_days_anew(void **state)
{
    static const struct retained bucket = {"bucket", "graced-uploads", "default", 1};
    const struct fixture *fixture = *state;
    AUTO(run) struct run run = {0};
    struct purge purge;
    struct err err = {0};
    int64_t now_s = clock_wall_s();
    struct tenant tenant = fixture_tenant("graced", "uid-new");

    make_deleted(fixture, &run, "graced", "uid-graced", now_s);
    CHECK_OK(registry_retain(fixture->services.registry, &run.rc, run.work.tenant_id, "graced",
                             &bucket, 1, now_s, &run.err),
             &run.err);
    CHECK_OK(take_back(fixture, &run, fixture->conn, &tenant, &err), &err);
    CHECK_INT(postgres_int(fixture->conn, "SELECT count(*) FROM public.tenant_retained"), 0);

    tenant.deletion_grace_days = 1;
    run.work.tenant = &tenant;
    CHECK_OK(registry_retain(fixture->services.registry, &run.rc, run.work.tenant_id, "graced",
                             &bucket, 1, now_s + DAY_S, &run.err),
             &run.err);
    CHECK_OK(record_finalize(&run.rc, &run.work, &run.err), &run.err);
    CHECK_INT(count_due(fixture, &run, now_s), 0);
    CHECK(!is_due(fixture, &run, now_s, &purge));
    CHECK(is_due(fixture, &run, now_s + DAY_S, &purge));
}

static void what_is_being_removed_is_not_taken_back(void **state)
{
    const struct fixture *fixture = *state;
    AUTO(run) struct run run = {0};
    AUTO(run) struct run next = {0};
    struct purge purge;
    struct err err = {0};
    int64_t now_s = clock_wall_s();
    struct tenant tenant = fixture_tenant("graced", "uid-new");

    make_deleted(fixture, &run, "graced", "uid-graced", now_s);
    CHECK(is_due(fixture, &run, now_s, &purge));
    CHECK_OK(begin(fixture, &run, &purge), &run.err);
    CHECK_FAILS(take_back(fixture, &run, fixture->conn, &tenant, &err), &err, ERR_CONFLICT,
                "Conflict");
    run_init(&next, fixture, &tenant, &tier_premium);
    CHECK_FAILS(record_ensure(&next.rc, &next.work, &next.err), &next.err, ERR_WAIT, "Purging");
    CHECK_OK(
        purge_end(fixture->services.registry, &run.rc, run.work.tenant_id, &purge, now_s, &run.err),
        &run.err);
    CHECK_OK(record_ensure(&next.rc, &next.work, &next.err), &next.err);
    CHECK(strcmp(next.work.tenant_id, run.work.tenant_id) != 0);
}

struct rival {
    const struct fixture *fixture;
    const char *id;
    const struct purge *purge;
    bool began;
};

static void *remove_it(void *context)
{
    struct rival *rival = context;
    AUTO(arena) struct arena arena = {0};
    struct reconcile rc = {.arena = &arena, .key = rival->id};
    struct err err = {0};

    arena_init(&arena, 0);
    rival->began =
        purge_begin(rival->fixture->services.registry, &rc, rival->id, rival->purge, &err) == 0;
    return NULL;
}

static void exactly_one_of_both_happens(void **state)
{
    enum { ROUNDS = 40 };
    const struct fixture *fixture = *state;
    int64_t now_s = clock_wall_s();

    for (int i = 0; i < ROUNDS; i++) {
        AUTO(run) struct run run = {0};
        AUTO(free) char *uid = xasprintf("uid-%d", i);
        struct purge purge;
        struct err err = {0};
        pthread_t thread;
        const struct tenant tenant = fixture_tenant("graced", "uid-new");

        fixture_empty(fixture->conn);
        make_deleted(fixture, &run, "graced", uid, now_s);
        CHECK(is_due(fixture, &run, now_s, &purge));
        struct rival rival = {.fixture = fixture, .id = run.work.tenant_id, .purge = &purge};
        CHECK_INT(pthread_create(&thread, NULL, remove_it, &rival), 0);
        bool taken = take_back(fixture, &run, fixture->conn, &tenant, &err) == 0;
        pthread_join(thread, NULL);
        CHECK(taken != rival.began);
        CHECK_INT(postgres_int(fixture->conn, "SELECT count(*) FROM public.tenants WHERE (status = "
                                              "'deleted') = (purge_began_at IS NOT NULL)"),
                  1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_is_due_before_its_time, fixture_set_up,
                                        fixture_tear_down),
        cmocka_unit_test_setup_teardown(what_is_due_is_known_by_its_row, fixture_set_up,
                                        fixture_tear_down),
        cmocka_unit_test_setup_teardown(a_deletion_under_way_is_left_alone, fixture_set_up,
                                        fixture_tear_down),
        cmocka_unit_test_setup_teardown(what_is_kept_for_longer_keeps_the_rest, fixture_set_up,
                                        fixture_tear_down),
        cmocka_unit_test_setup_teardown(buckets_that_a_snapshot_keeps_stay_listed, fixture_set_up,
                                        fixture_tear_down),
        cmocka_unit_test_setup_teardown(what_was_taken_back_is_not_removed, fixture_set_up,
                                        fixture_tear_down),
        cmocka_unit_test_setup_teardown(what_was_taken_back_gets_its_days_anew, fixture_set_up,
                                        fixture_tear_down),
        cmocka_unit_test_setup_teardown(what_is_being_removed_is_not_taken_back, fixture_set_up,
                                        fixture_tear_down),
        cmocka_unit_test_setup_teardown(exactly_one_of_both_happens, fixture_set_up,
                                        fixture_tear_down),
    };
    return cmocka_run_group_tests(tests, fixture_make, fixture_remove);
}
