/* What a tenant has in the cluster: namespace, connection Secret, the owner's Secret and the right
 * to read it; and how Secrets, roles and rows follow each other. Against a real API server and a
 * real PostgreSQL, with the controller's own rights and under the shipped policies. */
#include "tests/check.h"
#include "tests/integration/postgres.h"
#include "tests/integration/tenant_life.h"

#include <crypt.h>
#include <libgen.h>
#include <unistd.h>

#include "controller/base/clock.h"
#include "controller/base/metrics.h"
#include "controller/kube/secret_object.h"
#include "reconcilers/database/owner_internal.h"
#include "reconcilers/database/snapshot.h"
#include "reconcilers/database/steps.h"
#include "reconcilers/model/codec.h"
#include "reconcilers/model/names.h"
#include "reconcilers/objects/objects.h"
#include "reconcilers/registry/steps.h"
#include "reconcilers/sandbox/steps.h"

enum { PATIENCE_MS = 30 * 1000, PAUSE_MS = 20, LOG_MAX_BYTES = 256 << 20 };

/* ---- provisioning ---- */

static void all_of_it_stands_and_a_second_run_writes_nothing(void **state)
{
    AUTO(life) struct life life;
    AUTO(kube_secret) struct kube_secret secret = {0};
    AUTO(kube_secret) struct kube_secret owner = {0};

    life_init(&life, *state, "whole");
    life_make(&life);
    life_connection(&life, &secret);
    static const char *const names[] = {"host",     "port",    "dbname", "user",
                                        "password", "sslmode", "schema", "uri",
                                        "jdbc-uri", "pgpass",  "ca.crt"};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        CHECK(*life_entry(&secret, names[i]));
    }
    CHECK_INT(secret.count, ARRAY_COUNT(names));
    CHECK_INT(strlen(life_entry(&secret, "password")), 32);
    CHECK_TEXT(secret.owner_uid, life.uid);
    CHECK_TEXT(life.run.work.database_secret_namespace, life_namespace(&life));
    life_check_login(&life);
    CHECK(life_owner_fits(&life));
    CHECK(life_find_owner(&life, &owner));
    CHECK_TEXT(life_entry(&owner, "email"), "admin@acme.com");
    CHECK(strlen(life_entry(&owner, "password")) >= 16);

    double requests = life_write_requests();
    CHECK(requests > 0);
    const struct quiet since = postgres_quiet_begin();
    life_drift_check(&life);
    postgres_quiet_end(&since);
    CHECK_INT((int)(life_write_requests() - requests), 0);
}

static void only_the_owner_may_read_the_temporary_password(void **state)
{
    AUTO(life) struct life life;
    struct kube_config config = {0};
    struct kube_client *client = NULL;
    struct err err = {0};
    static const struct kube_client_config client_config = {.name = "person"};
    static const struct {
        const char *user;
        int code;
    } people[] = {{"admin@acme.com", 200}, {"dev@acme.com", 403}};

    life_init(&life, *state, "reading");
    life_make(&life);
    for (size_t i = 0; i < ARRAY_COUNT(people); i++) {
        AUTO(buf) struct buf body = BUF(1 << 20);
        AUTO(free) char *name = xasprintf("%s-owner", life.name);
        const struct kube_header_value identity = {"Impersonate-User", people[i].user};
        const struct kube_ref ref = {&KUBE_SECRETS, "tenantry-system", name, NULL};
        CHECK_OK(kube_config_load(NULL, NULL, &config, &err), &err);
        config.impersonate = &identity;
        config.impersonate_count = 1;
        CHECK_OK(kube_client_new(&config, &client_config, &client, &err), &err);
        int64_t end_ms = clock_monotonic_ms() + PATIENCE_MS;
        int result = -1;
        do { /* the API server learns of a new right by a watch of its own */
            result = kube_get(client, NULL, &ref, &body, &err);
        } while (result && people[i].code == 200 && clock_monotonic_ms() < end_ms);
        if (people[i].code == 200) {
            CHECK_OK(result, &err);
        } else {
            CHECK(result != 0);
            CHECK_TEXT(err.code, "403");
        }
        kube_client_free(client);
        kube_config_release(&config);
    }
}

/* Passwords travel as verifiers: none of them is in the server's log of all statements. */
static void no_password_is_ever_sent(void **state)
{
    AUTO(life) struct life life;
    AUTO(kube_secret) struct kube_secret connection = {0};
    AUTO(kube_secret) struct kube_secret owner = {0};
    AUTO(secret) struct secret log = {0};
    struct err err = {0};

    life_init(&life, *state, "silent");
    life_make(&life);
    life_connection(&life, &connection);
    CHECK(life_find_owner(&life, &owner));
    AUTO(free) char *ca = xstrdup(getenv("TENANTRY_SERVER_CA"));
    AUTO(free) char *path = xasprintf("%s/postgres.log", dirname(ca));
    CHECK_OK(secret_read_file(&log, path, LOG_MAX_BYTES, &err), &err);
    AUTO(free) char *role = xasprintf("CREATE ROLE \"%s.a\"", life.run.work.place.database);
    CHECK_NOT_NULL(strstr(secret_bytes(&log), role)); /* the log does tell of statements */
    CHECK_NOT_NULL(strstr(secret_bytes(&log), "PASSWORD 'SCRAM-SHA-256$"));
    CHECK_NULL(strstr(secret_bytes(&log), life_entry(&connection, "password")));
    CHECK_NULL(strstr(secret_bytes(&log), life_entry(&owner, "password")));
}

/* ---- the connection Secret ---- */

static void provider_sql_227_a_lost_secret_gets_a_new_password(void **state)
{
    AUTO(life) struct life life;
    AUTO(kube_secret) struct kube_secret before = {0};
    AUTO(kube_secret) struct kube_secret after = {0};
    struct err err = {0};

    life_init(&life, *state, "lost");
    life_make(&life);
    life_connection(&life, &before);
    AUTO(free) char *name = xasprintf("%s-database", life.name);
    const struct kube_ref ref = {&KUBE_SECRETS, life_namespace(&life), name, NULL};
    CHECK_OK(kube_delete(life.world->cluster->client, NULL, &ref, NULL, NULL, &err), &err);
    life_drift_check(&life);
    life_connection(&life, &after);
    CHECK(!text_equal(life_entry(&before, "password"), life_entry(&after, "password")));
    life_check_login(&life);
    CHECK_NULL(life_login(&life, &before, &err));
    CHECK_TEXT(err.code, "28P01");
}

static void edit_secret(const struct life *life, const char *key, const char *value)
{
    AUTO(free) char *name = xasprintf("%s-database", life->name);
    AUTO(free) char *json = xasprintf("{\"stringData\":{\"%s\":\"%s\"}}", key, value);
    const struct kube_ref ref = {&KUBE_SECRETS, life_namespace(life), name, NULL};
    struct err err = {0};

    CHECK_OK(kube_patch(life->world->cluster->client, NULL, &ref, KUBE_PATCH_MERGE, "somebody",
                        str_from(json), NULL, &err),
             &err);
}

static void zalando_524_an_edited_secret_is_honoured_or_put_right(void **state)
{
    static const char strong[] = "chosen-by-somebody-24-characters";
    AUTO(life) struct life life;
    AUTO(kube_secret) struct kube_secret secret = {0};

    life_init(&life, *state, "edited");
    life_make(&life);
    edit_secret(&life, "password", strong);
    life_drift_check(&life);
    life_connection(&life, &secret);
    CHECK_TEXT(life_entry(&secret, "password"), strong);
    CHECK_NOT_NULL(strstr(life_entry(&secret, "uri"), strong));
    life_check_login(&life);

    edit_secret(&life, "password", "weak");
    life_drift_check(&life);
    life_connection(&life, &secret);
    CHECK_INT(strlen(life_entry(&secret, "password")), 32);
    life_check_login(&life);

    edit_secret(&life, "host", "elsewhere.example");
    edit_secret(&life, "note", "of somebody");
    life_drift_check(&life);
    life_connection(&life, &secret);
    CHECK_TEXT(life_entry(&secret, "host"), "127.0.0.1");
    CHECK_TEXT(life_entry(&secret, "note"), "of somebody");
}

/* The Secret was not updated when the server's address changed. */
static void movetokube_168_the_secret_follows_the_servers_address(void **state)
{
    AUTO(life) struct life life;
    AUTO(kube_secret) struct kube_secret before = {0};
    AUTO(kube_secret) struct kube_secret after = {0};

    life_init(&life, *state, "moved");
    life_make(&life);
    life_connection(&life, &before);
    CHECK_TEXT(life_entry(&before, "host"), "127.0.0.1");
    fixture_set_host(life.world->fixture, "localhost");
    CHECK_OK(life_run(&life, true, false), &life.run.err);
    life_connection(&life, &after);
    CHECK_TEXT(life_entry(&after, "host"), "localhost");
    CHECK_NOT_NULL(strstr(life_entry(&after, "uri"), "@localhost:"));
    CHECK_TEXT(life_entry(&after, "password"), life_entry(&before, "password"));
    life_check_login(&life);
    fixture_set_host(life.world->fixture, "127.0.0.1");
}

static void the_role_follows_the_secret(void **state)
{
    AUTO(life) struct life life;
    AUTO(kube_secret) struct kube_secret before = {0};
    AUTO(kube_secret) struct kube_secret after = {0};

    life_init(&life, *state, "follows");
    life_make(&life);
    life_connection(&life, &before);
    const char *database = life.run.work.place.database;
    AUTO(free) char *kept = xstrdup(database);
    postgres_run(NULL, "ALTER ROLE \"%s.a\" PASSWORD 'of somebody'", kept);
    life_drift_check(&life);
    life_check_login(&life);
    postgres_run(NULL, "ALTER ROLE \"%s.a\" NOLOGIN CONNECTION LIMIT 99", kept);
    life_drift_check(&life);
    life_check_login(&life);
    CHECK_INT(postgres_int(NULL, "SELECT rolconnlimit FROM pg_roles WHERE rolname = '%s.a'", kept),
              tier_small.connection_limit);
    postgres_run(NULL, "DROP ROLE \"%s.a\"", kept);
    life_drift_check(&life);
    life_check_login(&life);
    life_connection(&life, &after);
    CHECK(kube_secret_equal(&before, &after));
}

/* The run ended between Secret and role: the next gives the role what the Secret says. */
static void a_password_is_not_made_twice(void **state)
{
    AUTO(life) struct life life;
    AUTO(kube_secret) struct kube_secret before = {0};
    AUTO(kube_secret) struct kube_secret after = {0};
    AUTO(kube_secret) struct kube_secret owner_before = {0};
    AUTO(kube_secret) struct kube_secret owner_after = {0};
    struct reconcile *rc = &life.run.rc;
    struct tenant_work *work = &life.run.work;
    struct err *err = &life.run.err;

    life_init(&life, *state, "once");
    CHECK_OK(record_ensure(rc, work, err), err);
    CHECK_OK(database_ensure(rc, work, err), err);
    CHECK_OK(owner_credential_ensure(rc, work, err), err);
    CHECK_OK(namespace_ensure(rc, work, err), err);
    fixture_lose_server(life.world->fixture);
    CHECK_FAILS(database_login_ensure(rc, work, err), err, ERR_RETRY, "DatabaseUnreachable");
    CHECK_FAILS(owner_ensure(rc, work, err), err, ERR_RETRY, "DatabaseUnreachable");
    life_connection(&life, &before);
    CHECK(life_find_owner(&life, &owner_before));
    fixture_set_drift(life.world->fixture, "Heal");
    life_make(&life);
    life_connection(&life, &after);
    CHECK_TEXT(life_entry(&before, "password"), life_entry(&after, "password"));
    CHECK(life_find_owner(&life, &owner_after));
    CHECK_TEXT(life_entry(&owner_before, "password"), life_entry(&owner_after, "password"));
    life_check_login(&life);
    CHECK(life_owner_fits(&life));
}

static void suspension_keeps_the_secret_and_resuming_opens_it_again(void **state)
{
    AUTO(life) struct life life;
    AUTO(kube_secret) struct kube_secret before = {0};
    AUTO(kube_secret) struct kube_secret after = {0};
    struct err err = {0};

    life_init(&life, *state, "paused");
    life_make(&life);
    life_connection(&life, &before);
    life.tenant.state = TENANT_SUSPENDED;
    life_drift_check(&life);
    CHECK_NULL(life_login(&life, &before, &err));
    life.tenant.state = TENANT_ACTIVE;
    life_drift_check(&life);
    life_check_login(&life);
    life_connection(&life, &after);
    CHECK(kube_secret_equal(&before, &after));
}

/* ---- the owner ---- */

static void a_lost_owner_secret_gets_a_new_password(void **state)
{
    AUTO(life) struct life life;
    AUTO(kube_secret) struct kube_secret before = {0};
    AUTO(kube_secret) struct kube_secret after = {0};
    struct err err = {0};

    life_init(&life, *state, "owned");
    life_make(&life);
    CHECK(life_find_owner(&life, &before));
    AUTO(free) char *name = xasprintf("%s-owner", life.name);
    const struct kube_ref ref = {&KUBE_SECRETS, "tenantry-system", name, NULL};
    CHECK_OK(kube_delete(life.world->cluster->client, NULL, &ref, NULL, NULL, &err), &err);
    life_drift_check(&life);
    CHECK(life_find_owner(&life, &after));
    CHECK(!text_equal(life_entry(&before, "password"), life_entry(&after, "password")));
    CHECK(life_owner_fits(&life));
}

static bool find_object(const struct life *life, const struct kube_resource *resource)
{
    AUTO(buf) struct buf body = BUF(1 << 20);
    AUTO(free) char *name = xasprintf("%s-owner", life->name);
    const struct kube_ref ref = {resource, "tenantry-system", name, NULL};
    struct err err = {0};

    return kube_get(life->world->cluster->client, NULL, &ref, &body, &err) == 0;
}

static void a_changed_password_ends_the_secret(void **state)
{
    AUTO(life) struct life life;
    AUTO(kube_secret) struct kube_secret secret = {0};

    life_init(&life, *state, "changed");
    life_make(&life);
    CHECK(find_object(&life, &KUBE_ROLES));
    CHECK(find_object(&life, &KUBE_ROLE_BINDINGS));
    AUTO(sql_conn) struct sql_conn *conn = life_database(&life);
    postgres_run(conn, "UPDATE public.users SET password_hash = 'chosen', must_change_password = "
                       "false WHERE role = 'owner'");
    life_drift_check(&life);
    CHECK(!life_find_owner(&life, &secret));
    CHECK(!find_object(&life, &KUBE_ROLES));
    CHECK(!find_object(&life, &KUBE_ROLE_BINDINGS));
    AUTO(free) char *hash = postgres_text(conn, "SELECT password_hash FROM public.users");
    CHECK_TEXT(hash, "chosen");

    /* It stays so. */
    double requests = life_write_requests();
    const struct quiet since = postgres_quiet_begin();
    life_drift_check(&life);
    postgres_quiet_end(&since);
    CHECK_INT((int)(life_write_requests() - requests), 0);

    /* Unless the owner is gone: then there is a way in again, for the same user. */
    AUTO(free) char *id = postgres_text(conn, "SELECT id FROM public.users");
    postgres_run(conn, "DELETE FROM public.users");
    life_drift_check(&life);
    CHECK(life_owner_fits(&life));
    AUTO(free) char *again = postgres_text(conn, "SELECT id FROM public.users");
    CHECK_TEXT(again, id);
}

static void a_renamed_owner_is_not_doubled(void **state)
{
    AUTO(life) struct life life;
    AUTO(kube_secret) struct kube_secret secret = {0};

    life_init(&life, *state, "renamed");
    life_make(&life);
    life.tenant.owner.email = "boss@acme.com";
    life.tenant.owner.name = "The Boss";
    life_drift_check(&life);
    AUTO(sql_conn) struct sql_conn *conn = life_database(&life);
    AUTO(free)
    char *users = postgres_text(conn, "SELECT string_agg(concat_ws(' ', email, full_name, role), "
                                      "', ') FROM public.users");
    CHECK_TEXT(users, "boss@acme.com The Boss owner");
    CHECK(life_find_owner(&life, &secret));
    CHECK_TEXT(life_entry(&secret, "email"), "boss@acme.com");
    CHECK(life_owner_fits(&life));
    AUTO(sql_conn) struct sql_conn *registry = postgres_connect("dbname=registry_of_database_test");
    AUTO(free)
    char *listed = postgres_text(registry,
                                 "SELECT string_agg(concat_ws(' ', email, role), ', ') FROM "
                                 "public.tenant_users WHERE tenant_id = '%s'",
                                 life.run.work.tenant_id);
    CHECK_TEXT(listed, "boss@acme.com owner");
}

/* ---- names of others ---- */

static void a_strangers_namespace_is_left_alone(void **state)
{
    AUTO(life) struct life life;
    AUTO(json) json_t *namespace_ = NULL;

    life_init(&life, *state, "stranger");
    cluster_create(life.world->cluster, &KUBE_NAMESPACES,
                   "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"%s\"}}",
                   life_namespace(&life));
    CHECK(life_run(&life, false, false) != 0);
    CHECK_TEXT(life.run.err.reason, "NameConflict");
    namespace_ = cluster_get(life.world->cluster, &KUBE_NAMESPACES, life_namespace(&life));
    CHECK_NULL(js_text_or(namespace_, "/metadata/labels/tenantry.dev~1tenant", NULL));
    life_end(&life, DELETION_DELETE);
    json_decref(namespace_);
    namespace_ = cluster_get(life.world->cluster, &KUBE_NAMESPACES, life_namespace(&life));
    CHECK_NOT_NULL(namespace_);
    CHECK_NULL(js_at(namespace_, "/metadata/deletionTimestamp"));
    cluster_delete(life.world->cluster, &KUBE_NAMESPACES, life_namespace(&life));
}

static void a_restored_cluster_is_taken_back_by_adoption(void **state)
{
    AUTO(life) struct life life;
    AUTO(kube_secret) struct kube_secret before = {0};
    AUTO(kube_secret) struct kube_secret after = {0};

    life_init(&life, *state, "restored");
    life_make(&life);
    life_connection(&life, &before);
    /* The same objects and databases, and a Tenant with a new UID. */
    AUTO(free) char *old = life.uid;
    life.uid = xasprintf("uid-new-%s", life.name);
    life.tenant.uid = life.uid;
    AUTO(sql_conn) struct sql_conn *registry = postgres_connect("dbname=registry_of_database_test");
    postgres_run(registry, "UPDATE public.tenants SET tenant_uid = '%s' WHERE tenant_uid = '%s'",
                 life.uid, old);
    CHECK(life_run(&life, false, false) != 0);
    CHECK_TEXT(life.run.err.reason, "NameConflict");
    AUTO(free) char *id = xstrdup(life.run.work.tenant_id);
    life.tenant.adopt = id;
    life_make(&life);
    life_connection(&life, &after);
    CHECK_TEXT(after.owner_uid, life.uid);
    CHECK_TEXT(life_entry(&before, "password"), life_entry(&after, "password"));
    life_check_login(&life);
    double requests = life_write_requests();
    life_drift_check(&life);
    CHECK_INT((int)(life_write_requests() - requests), 0);
}

/* ---- the end ---- */

static void deletion_leaves_no_object(void **state)
{
    AUTO(life) struct life life;
    AUTO(kube_secret) struct kube_secret secret = {0};
    int64_t end_ms = clock_monotonic_ms() + PATIENCE_MS;

    life_init(&life, *state, "ended");
    life_make(&life);
    life_end(&life, DELETION_RETAIN);
    CHECK(!life_find_owner(&life, &secret));
    CHECK(!find_object(&life, &KUBE_ROLES));
    for (;;) {
        AUTO(json)
        json_t *namespace_ =
            cluster_get(life.world->cluster, &KUBE_NAMESPACES, life_namespace(&life));
        const struct timespec pause = {.tv_nsec = PAUSE_MS * 1000000L};
        if (!namespace_) {
            break;
        }
        CHECK_NOT_NULL(js_at(namespace_, "/metadata/deletionTimestamp"));
        CHECK(clock_monotonic_ms() < end_ms);
        nanosleep(&pause, NULL);
    }
    life_end(&life, DELETION_RETAIN); /* again, as after a crash */
}

static void a_snapshot_without_a_store_leaves_every_object(void **state)
{
    AUTO(life) struct life life;
    AUTO(kube_secret) struct kube_secret secret = {0};
    struct tenant_work *work = &life.run.work;
    struct reconcile *rc = &life.run.rc;
    struct err *err = &life.run.err;

    life_init(&life, *state, "snapshot");
    life_make(&life);
    work->deletion_policy = DELETION_SNAPSHOT;
    /* What else is undone waits for this step: tests/unit/tenant proves the order. */
    CHECK_FAILS(snapshot_finalize(rc, work, err), err, ERR_TERMINAL, "SnapshotNoStore");
    CHECK(life_find_owner(&life, &secret));
    life_check_login(&life);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_of_it_stands_and_a_second_run_writes_nothing),
        cmocka_unit_test(only_the_owner_may_read_the_temporary_password),
        cmocka_unit_test(no_password_is_ever_sent),
        cmocka_unit_test(provider_sql_227_a_lost_secret_gets_a_new_password),
        cmocka_unit_test(zalando_524_an_edited_secret_is_honoured_or_put_right),
        cmocka_unit_test(movetokube_168_the_secret_follows_the_servers_address),
        cmocka_unit_test(the_role_follows_the_secret),
        cmocka_unit_test(a_password_is_not_made_twice),
        cmocka_unit_test(suspension_keeps_the_secret_and_resuming_opens_it_again),
        cmocka_unit_test(a_lost_owner_secret_gets_a_new_password),
        cmocka_unit_test(a_changed_password_ends_the_secret),
        cmocka_unit_test(a_renamed_owner_is_not_doubled),
        cmocka_unit_test(a_strangers_namespace_is_left_alone),
        cmocka_unit_test(a_restored_cluster_is_taken_back_by_adoption),
        cmocka_unit_test(deletion_leaves_no_object),
        cmocka_unit_test(a_snapshot_without_a_store_leaves_every_object),
    };
    return cmocka_run_group_tests(tests, life_set_up, life_tear_down);
}
