/* When a row may change hands: only once the API server itself says that the Tenant of it is gone,
 * and only by annotation or flag. */
#include "tests/check.h"
#include "tests/integration/cluster.h"
#include "tests/integration/postgres.h"
#include "tests/integration/registry_fixture.h"

#include <unistd.h>

#include "controller/base/clock.h"
#include "controller/base/yml.h"
#include "reconcilers/model/codec.h"
#include "reconcilers/registry/snapshot_record.h"
#include "reconcilers/registry/steps.h"

enum { CRD_MAX_BYTES = 1 << 20, PATIENCE_MS = 30 * 1000, PAUSE_NS = 20 * 1000 * 1000 };

static void *cluster; /* of the group: struct cluster */

/* ---- the API server knows Tenants ---- */

static char *read_crd(void)
{
    AUTO(secret) struct secret text = {0};
    json_t *tree = NULL;
    struct err err = {0};

    CHECK_OK(secret_read_file(&text, TENANTRY_SOURCE_DIR "/crds/tenants.yaml", CRD_MAX_BYTES, &err),
             &err);
    CHECK_OK(yml_parse(str_from(secret_bytes(&text)), CRD_MAX_BYTES, &tree, &err), &err);
    char *json = json_dumps(tree, JSON_COMPACT);
    json_decref(tree);
    CHECK_NOT_NULL(json);
    return json;
}

static int set_up_cluster(void **state)
{
    const struct kube_ref crd = {.resource = &KUBE_CRDS, .name = "tenants.tenantry.dev"};
    const struct kube_ref tenants = {.resource = &KUBE_TENANTS};
    int64_t end_ms = clock_monotonic_ms() + PATIENCE_MS;
    struct call call = {0};
    struct err err = {0};
    int result = -1;

    cluster_set_up(&cluster);
    struct kube_client *client = ((struct cluster *)cluster)->client;
    AUTO(free) char *json = read_crd();
    CHECK_OK(kube_apply(client, &call, &crd, "test", str_from(json), NULL, &err), &err);
    while (result && clock_monotonic_ms() < end_ms) {
        AUTO(buf) struct buf body = BUF(CRD_MAX_BYTES);
        const struct timespec pause = {.tv_nsec = PAUSE_NS};
        result = kube_get(client, &call, &tenants, &body, &err);
        nanosleep(&pause, NULL);
    }
    CHECK_OK(result, &err);
    return fixture_make(state);
}

static int tear_down_cluster(void **state)
{
    fixture_remove(state);
    return cluster_tear_down(&cluster);
}

/* ---- a Tenant in the API ---- */

struct object {
    char name[32];
    char uid[64];
};

static int object_count;

/* A Tenant that the API server has, and no controller looks at. */
static void make_object(struct object *object)
{
    (void)snprintf(object->name, sizeof(object->name), "takeover-%d-%d", (int)getpid(),
                   object_count++);
    cluster_create(cluster, &KUBE_TENANTS,
                   "{\"apiVersion\":\"tenantry.dev/v1alpha1\",\"kind\":\"Tenant\",\"metadata\":"
                   "{\"name\":\"%s\"},\"spec\":{\"tier\":\"premium\",\"owner\":{\"email\":"
                   "\"admin@acme.com\",\"name\":\"Acme Admin\"}}}",
                   object->name);
    json_t *json = cluster_get(cluster, &KUBE_TENANTS, object->name);
    const char *uid = json_string_value(json_object_get(json_object_get(json, "metadata"), "uid"));
    CHECK_NOT_NULL(uid);
    (void)snprintf(object->uid, sizeof(object->uid), "%s", uid);
    json_decref(json);
}

static void delete_object(const struct object *object)
{
    cluster_delete(cluster, &KUBE_TENANTS, object->name);
}

static int set_up(void **state)
{
    int result = fixture_set_up(state);

    ((struct fixture *)*state)->services.kube = ((struct cluster *)cluster)->client;
    return result;
}

/* The row of a Tenant that was never in this cluster, as after a rebuild from Git. */
static void make_orphan(const struct fixture *fixture, const char *name, struct run *run)
{
    struct tenant tenant = fixture_tenant(name, "uid-of-an-earlier-cluster");

    run_record(run, fixture, &tenant, &tier_premium);
}

static int try_record(struct run *run, const struct fixture *fixture, const struct tenant *tenant)
{
    run_init(run, fixture, tenant, &tier_premium);
    return record_ensure(&run->rc, &run->work, &run->err);
}

static void check_owner(const struct fixture *fixture, const char *id, const char *uid)
{
    CHECK_INT(postgres_int(fixture->conn,
                           "SELECT count(*) FROM public.tenants WHERE id = '%s' AND "
                           "tenant_uid = '%s' AND status = 'active' AND deleted_at IS NULL",
                           id, uid),
              1);
}

/* ---- orphans ---- */

static void an_orphan_is_not_taken_unasked(void **state)
{
    const struct fixture *fixture = *state;
    struct object object;
    AUTO(run) struct run old = {0};
    AUTO(run) struct run run = {0};

    make_object(&object);
    make_orphan(fixture, object.name, &old);
    struct tenant tenant = fixture_tenant(object.name, object.uid);
    struct quiet quiet = postgres_quiet_begin();
    CHECK_FAILS(try_record(&run, fixture, &tenant), &run.err, ERR_TERMINAL, "NameConflict");
    postgres_quiet_end(&quiet);
    CHECK_NOT_NULL(strstr(run.err.message, "whose Tenant is gone"));
    CHECK_NOT_NULL(strstr(run.err.message, old.work.tenant_id));
    delete_object(&object);
}

static void an_orphan_is_adopted_by_annotation(void **state)
{
    const struct fixture *fixture = *state;
    struct object object;
    AUTO(run) struct run old = {0};
    AUTO(run) struct run run = {0};
    AUTO(run) struct run again = {0};

    make_object(&object);
    make_orphan(fixture, object.name, &old);
    struct tenant tenant = fixture_tenant(object.name, object.uid);
    tenant.adopt = old.work.tenant_id;
    CHECK_OK(try_record(&run, fixture, &tenant), &run.err);
    CHECK(run.work.adopted);
    CHECK_TEXT(run.work.tenant_id, old.work.tenant_id);
    CHECK_TEXT(run.work.place.database, old.work.place.database);
    check_owner(fixture, old.work.tenant_id, object.uid);
    struct quiet quiet = postgres_quiet_begin();
    CHECK_OK(try_record(&again, fixture, &tenant), &again.err);
    postgres_quiet_end(&quiet);
    CHECK(!again.work.adopted);
    delete_object(&object);
}

static void orphans_are_adopted_by_flag(void **state)
{
    struct fixture fixture = *(struct fixture *)*state;
    struct object object;
    AUTO(run) struct run old = {0};
    AUTO(run) struct run run = {0};

    make_object(&object);
    make_orphan(&fixture, object.name, &old);
    fixture.services.adopt_orphans = true;
    struct tenant tenant = fixture_tenant(object.name, object.uid);
    CHECK_OK(try_record(&run, &fixture, &tenant), &run.err);
    CHECK(run.work.adopted);
    check_owner(&fixture, old.work.tenant_id, object.uid);
    delete_object(&object);
}

static void a_tenant_that_the_cache_does_not_know_yet_is_no_orphan(void **state)
{
    struct fixture fixture = *(struct fixture *)*state;
    struct object object;
    AUTO(run) struct run first = {0};
    AUTO(run) struct run run = {0};

    make_object(&object);
    struct tenant winner = fixture_tenant(object.name, object.uid);
    run_record(&first, &fixture, &winner, &tier_premium);
    fixture.services.adopt_orphans = true;
    struct tenant loser = fixture_tenant("loser", "uid-of-the-loser");
    loser.subdomain = object.name;
    loser.adopt = first.work.tenant_id;
    CHECK_FAILS(try_record(&run, &fixture, &loser), &run.err, ERR_TERMINAL, "NameConflict");
    CHECK_NOT_NULL(strstr(run.err.message, object.name));
    check_owner(&fixture, first.work.tenant_id, object.uid);
    delete_object(&object);
}

static void without_a_view_of_the_tenants_nobody_is_an_orphan(void **state)
{
    struct fixture fixture = *(struct fixture *)*state;
    AUTO(run) struct run old = {0};
    AUTO(run) struct run run = {0};

    make_orphan(&fixture, "acme", &old);
    fixture.services.adopt_orphans = true;
    fixture.services.tenants = cache_new(&tenant_codec); /* not synced */
    struct tenant tenant = fixture_tenant("acme", "uid-new");
    CHECK_FAILS(try_record(&run, &fixture, &tenant), &run.err, ERR_TERMINAL, "NameConflict");
    check_owner(&fixture, old.work.tenant_id, "uid-of-an-earlier-cluster");
    cache_free(fixture.services.tenants);
}

static void an_api_server_that_is_away_decides_nothing(void **state)
{
    struct fixture fixture = *(struct fixture *)*state;
    struct kube_config config = {0};
    AUTO(run) struct run old = {0};
    AUTO(run) struct run run = {0};

    make_orphan(&fixture, "acme", &old);
    fixture.services.adopt_orphans = true;
    fixture.services.kube = cluster_client_at(cluster, 1, &config);
    struct tenant tenant = fixture_tenant("acme", "uid-new");
    run_init(&run, &fixture, &tenant, &tier_premium);
    run.rc.call.deadline_ms = clock_monotonic_ms() + 1000;
    CHECK_INT(record_ensure(&run.rc, &run.work, &run.err), -1);
    CHECK_INT(run.err.cls, ERR_RETRY);
    check_owner(&fixture, old.work.tenant_id, "uid-of-an-earlier-cluster");
    kube_client_free(fixture.services.kube);
    kube_config_release(&config);
}

static void a_row_of_another_program_is_adopted_by_annotation_only(void **state)
{
    struct fixture fixture = *(struct fixture *)*state;
    struct tenant tenant = fixture_tenant("beta", "uid-1");
    AUTO(run) struct run refused = {0};
    AUTO(run) struct run run = {0};

    postgres_run(fixture.conn, "INSERT INTO public.tenants (name, subdomain, tier, database_name) "
                               "VALUES ('Beta', 'beta', 'free', 'tenant_beta')");
    fixture.services.adopt_orphans = true;
    CHECK_FAILS(try_record(&refused, &fixture, &tenant), &refused.err, ERR_TERMINAL,
                "NameConflict");
    AUTO(free) char *id = postgres_text(fixture.conn, "SELECT id FROM public.tenants");
    tenant.adopt = id;
    CHECK_OK(try_record(&run, &fixture, &tenant), &run.err);
    CHECK(run.work.adopted);
    CHECK_TEXT(run.work.place.server, "primary");
    CHECK_TEXT(run.work.place.database, "tenant_beta");
    CHECK_TEXT(run.work.place.schema, "public");
    check_owner(&fixture, id, "uid-1");
}

/* ---- after a deletion ---- */

static const struct retained database_of_it[] = {{"database", "tenant_x", "primary", 42}};

/* A tenant that was deleted under Retain. */
static void make_retained(const struct fixture *fixture, const char *name, struct run *run)
{
    make_orphan(fixture, name, run);
    CHECK_OK(registry_retain(fixture->services.registry, &run->rc, run->work.tenant_id, name,
                             database_of_it, 1, 0, &run->err),
             &run->err);
    CHECK_OK(record_finalize(&run->rc, &run->work, &run->err), &run->err);
}

static void retained_things_bar_the_name_and_say_both_ways_out(void **state)
{
    struct fixture fixture = *(struct fixture *)*state;
    AUTO(run) struct run old = {0};
    AUTO(run) struct run refused = {0};
    AUTO(run) struct run run = {0};

    make_retained(&fixture, "acme", &old);
    fixture.services.adopt_orphans = true; /* is for rows in force */
    struct tenant tenant = fixture_tenant("acme", "uid-new");
    CHECK_FAILS(try_record(&refused, &fixture, &tenant), &refused.err, ERR_TERMINAL,
                "NameConflict");
    CHECK_NOT_NULL(strstr(refused.err.message, "database tenant_x on primary"));
    CHECK_NOT_NULL(strstr(refused.err.message, old.work.tenant_id));
    CHECK_NOT_NULL(strstr(refused.err.message, "tenant_retained"));
    /* The second way out. */
    postgres_run(fixture.conn, "DELETE FROM public.tenant_retained");
    CHECK_OK(try_record(&run, &fixture, &tenant), &run.err);
    CHECK(strcmp(run.work.tenant_id, old.work.tenant_id) != 0);
}

static void retained_things_are_adopted_with_their_id(void **state)
{
    const struct fixture *fixture = *state;
    struct object object;
    AUTO(run) struct run old = {0};
    AUTO(run) struct run run = {0};

    make_object(&object);
    make_retained(fixture, object.name, &old);
    struct tenant tenant = fixture_tenant(object.name, object.uid);
    tenant.adopt = old.work.tenant_id;
    CHECK_OK(try_record(&run, fixture, &tenant), &run.err);
    CHECK(run.work.adopted);
    CHECK_TEXT(run.work.tenant_id, old.work.tenant_id);
    check_owner(fixture, old.work.tenant_id, object.uid);
    CHECK_INT(postgres_int(fixture->conn, "SELECT count(*) FROM public.tenant_billing"), 1);
    delete_object(&object);
}

static void a_row_marked_deleted_by_hand_comes_back(void **state)
{
    const struct fixture *fixture = *state;
    struct object object;
    AUTO(run) struct run first = {0};
    AUTO(run) struct run run = {0};

    make_object(&object);
    struct tenant tenant = fixture_tenant(object.name, object.uid);
    run_record(&first, fixture, &tenant, &tier_premium);
    postgres_run(fixture->conn, "UPDATE public.tenants SET status = 'deleted', deleted_at = now()");
    CHECK_OK(try_record(&run, fixture, &tenant), &run.err);
    check_owner(fixture, first.work.tenant_id, object.uid);
    delete_object(&object);
}

static void a_stale_cache_brings_nothing_deleted_back(void **state)
{
    const struct fixture *fixture = *state;
    struct tenant tenant = fixture_tenant("acme", "uid-that-is-gone");
    AUTO(run) struct run first = {0};
    AUTO(run) struct run run = {0};

    run_record(&first, fixture, &tenant, &tier_premium);
    CHECK_OK(record_finalize(&first.rc, &first.work, &first.err), &first.err);
    struct quiet quiet = postgres_quiet_begin();
    CHECK_FAILS(try_record(&run, fixture, &tenant), &run.err, ERR_CONFLICT, "Conflict");
    postgres_quiet_end(&quiet);
}

#define WITH_FIXTURE(test) cmocka_unit_test_setup_teardown(test, set_up, fixture_tear_down)

/* ---- with the receipt of a snapshot ---- */

/* The dump of a deletion of this Tenant was proven; the row as that left it. */
static void make_receipt(const struct fixture *fixture, const struct tenant *tenant,
                         const char *row, struct run *run)
{
    static const struct snapshot_receipt receipt = {"here", "the-dump", "5", 7, "{}"};
    struct registry *registry = fixture->services.registry;
    const char *id = run->work.tenant_id;

    run_record(run, fixture, tenant, &tier_premium);
    CHECK_OK(snapshot_record_begin(registry, &run->rc, id, tenant->uid, NULL, 0, false, &run->err),
             &run->err);
    CHECK_OK(snapshot_record_end(registry, &run->rc, id, tenant->uid, &receipt, &run->err),
             &run->err);
    postgres_run(fixture->conn, "%s", row);
}

static struct snapshot_record get_receipt(const struct fixture *fixture, struct run *run,
                                          const char *uid)
{
    struct snapshot_record record;

    CHECK_OK(snapshot_record_get(fixture->services.registry, &run->rc, run->work.tenant_id, uid,
                                 &record, &run->err),
             &run->err);
    return record;
}

static const char *const rows_with_receipts[] = {
    "UPDATE public.tenants SET status = 'deleted', deleted_at = now()",
    "SELECT", /* the drop was waited for, and the row is in force yet */
};

/* The cluster is back from a backup, and fills what a later deletion would remove. */
static void a_receipt_is_void_once_its_tenant_stands_again(void **state)
{
    const struct fixture *fixture = *state;

    for (size_t i = 0; i < ARRAY_COUNT(rows_with_receipts); i++) {
        struct object object;
        AUTO(run) struct run first = {0};
        AUTO(run) struct run run = {0};
        AUTO(run) struct run billed = {0}; /* what a row that is back owes is looked at anew */
        AUTO(run) struct run again = {0};

        fixture_empty(fixture->conn);
        make_object(&object);
        struct tenant tenant = fixture_tenant(object.name, object.uid);
        make_receipt(fixture, &tenant, rows_with_receipts[i], &first);
        struct snapshot_record record = get_receipt(fixture, &first, object.uid);
        CHECK(record.taken);
        CHECK_INT(record.size_bytes, 7);
        CHECK_OK(try_record(&run, fixture, &tenant), &run.err);
        CHECK_TEXT(run.work.tenant_id, first.work.tenant_id);
        record = get_receipt(fixture, &run, object.uid);
        CHECK(!record.began && !record.taken);
        CHECK_INT(record.voided, 1);
        CHECK_INT(postgres_int(fixture->conn, "SELECT count(*) FROM public.tenant_snapshots WHERE "
                                              "object = 'the-dump' AND taken_at IS NOT NULL"),
                  1);
        CHECK_OK(try_record(&billed, fixture, &tenant), &billed.err);
        struct quiet quiet = postgres_quiet_begin();
        CHECK_OK(try_record(&again, fixture, &tenant), &again.err);
        postgres_quiet_end(&quiet);
        delete_object(&object);
    }
}

/* Whoever looked before the deletion must not have what is half removed by now dumped again. */
static void a_receipt_counts_for_a_tenant_that_is_gone(void **state)
{
    const struct fixture *fixture = *state;

    for (size_t i = 0; i < ARRAY_COUNT(rows_with_receipts); i++) {
        struct object object;
        AUTO(run) struct run first = {0};
        AUTO(run) struct run run = {0};

        fixture_empty(fixture->conn);
        make_object(&object);
        struct tenant tenant = fixture_tenant(object.name, object.uid);
        make_receipt(fixture, &tenant, rows_with_receipts[i], &first);
        delete_object(&object);
        struct quiet quiet = postgres_quiet_begin();
        CHECK_FAILS(try_record(&run, fixture, &tenant), &run.err, ERR_CONFLICT, "Conflict");
        postgres_quiet_end(&quiet);
        CHECK(get_receipt(fixture, &first, object.uid).taken);
    }
}

/* It was of an earlier deletion, and by the time it is to be voided there is a new one. */
static void a_newer_receipt_is_not_voided(void **state)
{
    const struct fixture *fixture = *state;
    const struct tenant tenant = fixture_tenant("acme", "uid-1");
    AUTO(run) struct run run = {0};
    struct err err = {0};

    make_receipt(fixture, &tenant, "SELECT", &run);
    CHECK_FAILS(snapshot_record_void(fixture->conn, &run.rc.call, run.work.tenant_id, "uid-1",
                                     "2020-01-01 00:00:00+00", &err),
                &err, ERR_CONFLICT, "Conflict");
    CHECK(get_receipt(fixture, &run, "uid-1").taken);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FIXTURE(an_orphan_is_not_taken_unasked),
        WITH_FIXTURE(an_orphan_is_adopted_by_annotation),
        WITH_FIXTURE(orphans_are_adopted_by_flag),
        WITH_FIXTURE(a_tenant_that_the_cache_does_not_know_yet_is_no_orphan),
        WITH_FIXTURE(without_a_view_of_the_tenants_nobody_is_an_orphan),
        WITH_FIXTURE(an_api_server_that_is_away_decides_nothing),
        WITH_FIXTURE(a_row_of_another_program_is_adopted_by_annotation_only),
        WITH_FIXTURE(retained_things_bar_the_name_and_say_both_ways_out),
        WITH_FIXTURE(retained_things_are_adopted_with_their_id),
        WITH_FIXTURE(a_row_marked_deleted_by_hand_comes_back),
        WITH_FIXTURE(a_stale_cache_brings_nothing_deleted_back),
        WITH_FIXTURE(a_receipt_is_void_once_its_tenant_stands_again),
        WITH_FIXTURE(a_receipt_counts_for_a_tenant_that_is_gone),
        WITH_FIXTURE(a_newer_receipt_is_not_voided),
    };

    return cmocka_run_group_tests(tests, set_up_cluster, tear_down_cluster);
}
