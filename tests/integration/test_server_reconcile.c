/* The status of a DatabaseServer, as the controller writes it: what is reachable, hardened, used;
 * and not a write when nothing changes. */
#include "tests/check.h"
#include "tests/integration/as_controller.h"
#include "tests/integration/cluster.h"
#include "tests/integration/database_fixture.h"
#include "tests/integration/postgres.h"

#include <unistd.h>

#include "reconcilers/model/codec.h"
#include "reconcilers/model/names.h"

struct world {
    struct cluster *cluster;
    struct fixture *fixture;
    struct as_controller identity;
    char *name; /* of the DatabaseServer */
};

static json_t *server_object(const struct world *world)
{
    return cluster_get(world->cluster, &KUBE_DATABASE_SERVERS, world->name);
}

/* What the watch would bring. */
static void feed(const struct world *world)
{
    struct watch_handler handler = cache_watch_handler(world->fixture->services.database_servers);
    json_t *object = server_object(world);
    AUTO(free) char *text = js_print(object);

    handler.replace_begin(handler.context);
    handler.replace_object(handler.context, str_from(text));
    handler.replace_end(handler.context, js_text_or(object, "/metadata/resourceVersion", ""));
    json_decref(object);
}

static void set_port(const struct world *world, int port)
{
    cluster_patch(world->cluster, &KUBE_DATABASE_SERVERS, world->name, "{\"spec\":{\"port\":%d}}",
                  port);
    feed(world);
}

static int server_port(void)
{
    const char *uri = getenv("TENANTRY_SERVER_URL");
    const char *colon = strrchr(uri ? uri : "", ':');

    CHECK_NOT_NULL(colon);
    return (int)strtol(colon + 1, NULL, 10);
}

static int set_up(void **state)
{
    struct world *world = xcalloc(1, sizeof(*world));
    AUTO(buf) struct buf pem = BUF(1 << 20);
    void *part = NULL;

    cluster_set_up(&part);
    world->cluster = part;
    fixture_set_up(&part);
    world->fixture = part;
    as_controller_init(&world->identity);
    world->fixture->services.kube = world->identity.client;
    world->fixture->services.drift_period_ms = 10000;
    world->name = xasprintf("server-%d", (int)getpid());
    (void)buf_append_json(&pem, str_from(secret_bytes(&world->fixture->ca_pem)));
    cluster_create(world->cluster, &KUBE_DATABASE_SERVERS,
                   "{\"apiVersion\":\"tenantry.dev/v1alpha1\",\"kind\":\"DatabaseServer\","
                   "\"metadata\":{\"name\":\"%s\"},\"spec\":{\"hosts\":[\"127.0.0.1\"],"
                   "\"port\":%d,\"caBundle\":%s,\"credentialsSecretRef\":{\"name\":\"unused\"}}}",
                   world->name, server_port(), buf_text(&pem));
    feed(world);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    void *part = world->fixture;

    cluster_delete(world->cluster, &KUBE_DATABASE_SERVERS, world->name);
    fixture_tear_down(&part);
    as_controller_release(&world->identity);
    part = world->cluster;
    cluster_tear_down(&part);
    free(world->name);
    free(world);
    return 0;
}

static struct outcome reconcile_when(const struct world *world, bool drift_check)
{
    AUTO(arena) struct arena arena;
    struct services services = world->fixture->services;
    struct reconcile rc = {
        .arena = &arena, .key = world->name, .drift_check = drift_check, .environment = &services};

    arena_init(&arena, 0);
    return database_server_reconcile(&rc);
}

static struct outcome reconcile(const struct world *world)
{
    return reconcile_when(world, false);
}

/* "True AsSpecified: message" */
static char *condition(const struct world *world, const char *type)
{
    json_t *object = server_object(world);
    const json_t *list = js_at(object, "/status/conditions");
    char *text = NULL;

    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i);
        if (text_equal(js_text_or(one, "/type", ""), type)) {
            free(text);
            text = xasprintf("%s %s: %s", js_text_or(one, "/status", ""),
                             js_text_or(one, "/reason", ""), js_text_or(one, "/message", ""));
        }
    }
    json_decref(object);
    return text ? text : xstrdup("");
}

static void check_condition(const struct world *world, const char *type, const char *start)
{
    AUTO(free) char *text = condition(world, type);

    if (!str_starts_with(str_from(text), str_from(start))) {
        fail_msg("%s is \"%s\", expected \"%s...\"", type, text, start);
    }
}

static char *resource_version(const struct world *world)
{
    json_t *object = server_object(world);
    char *version = xstrdup(js_text_or(object, "/metadata/resourceVersion", ""));

    json_decref(object);
    return version;
}

static void close_everything(void)
{
    postgres_run(NULL,
                 "DO $$ DECLARE d text; BEGIN FOR d IN SELECT datname FROM pg_database WHERE "
                 "datallowconn LOOP EXECUTE format('REVOKE CONNECT, TEMPORARY ON DATABASE %%I FROM "
                 "PUBLIC', d); END LOOP; END $$");
}

static void a_good_server_is_said_to_be_one(void **state)
{
    const struct world *world = *state;
    struct outcome outcome;

    close_everything();
    outcome = reconcile(world);
    CHECK_INT(outcome.err.cls, ERR_OK);
    CHECK(outcome.next_ms >= 8000 && outcome.next_ms <= 12000);
    check_condition(world, "Reachable", "True AsSpecified");
    check_condition(world, "Hardened", "True AsSpecified");
    check_condition(world, "Ready", "True AsSpecified");
    json_t *object = server_object(world);
    AUTO(free) char *version = postgres_text(NULL, "SHOW server_version");
    CHECK_TEXT(js_text_or(object, "/status/version", ""), version);
    CHECK_INT(js_int_or(object, "/status/tenants", -1), 0);
    CHECK_INT(js_int_or(object, "/status/observedGeneration", -1),
              js_int_or(object, "/metadata/generation", -2));
    CHECK_INT(js_int_or(object, "/status/connections", -1),
              postgres_int(NULL, "SELECT setting FROM pg_settings WHERE name = 'max_connections'"));
    json_decref(object);
    /* From PostgreSQL 16 on there is a membership for each who granted it. */
    CHECK_INT(postgres_int(NULL, "SELECT count(DISTINCT m.member) FROM pg_roles a "
                                 "JOIN pg_auth_members m ON "
                                 "m.roleid = a.oid JOIN pg_roles g ON g.oid = m.member WHERE "
                                 "a.rolname = 'tenantry_app' AND g.rolname = 'tenantry_gateway' "
                                 "AND NOT a.rolcanlogin AND NOT g.rolinherit"),
              1);

    /* Seen again, by the watch or only by what was written: no write. */
    AUTO(free) char *before = resource_version(world);
    const struct quiet since = postgres_quiet_begin();
    outcome = reconcile(world);
    CHECK_INT(outcome.err.cls, ERR_OK);
    feed(world);
    (void)reconcile(world);
    postgres_quiet_end(&since);
    AUTO(free) char *after = resource_version(world);
    CHECK_TEXT(after, before);
}

static void what_is_open_is_printed_with_its_remedy(void **state)
{
    const struct world *world = *state;

    postgres_run(NULL, "GRANT CONNECT ON DATABASE template1 TO PUBLIC");
    (void)reconcile(world);
    check_condition(world, "Hardened", "False NotHardened");
    check_condition(world, "Ready", "True AsSpecified");
    AUTO(free) char *text = condition(world, "Hardened");
    const char *statement = strstr(text, "REVOKE CONNECT, TEMPORARY ON DATABASE \"template1\"");
    CHECK_NOT_NULL(statement);
    /* The remedy works as it is printed. */
    postgres_run(NULL, "%s", statement);
    (void)reconcile(world);
    check_condition(world, "Hardened", "True AsSpecified");
}

static void missing_rights_are_printed_with_their_remedy(void **state)
{
    const struct world *world = *state;
    static const char lead[] = "as a superuser, run:";

    postgres_run(NULL, "ALTER ROLE " FIXTURE_CONTROLLER " NOCREATEDB; REVOKE pg_signal_backend "
                       "FROM " FIXTURE_CONTROLLER);
    struct outcome outcome = reconcile(world);
    CHECK_INT(outcome.err.cls, ERR_RETRY);
    check_condition(world, "Reachable", "True AsSpecified");
    check_condition(world, "Ready", "False InsufficientPrivilege");
    AUTO(free) char *text = condition(world, "Ready");
    const char *statements = strstr(text, lead);
    CHECK_NOT_NULL(statements);
    postgres_run(NULL, "%s", statements + strlen(lead));
    outcome = reconcile(world);
    CHECK_INT(outcome.err.cls, ERR_OK);
    check_condition(world, "Ready", "True AsSpecified");
}

static void a_server_that_does_not_answer_is_said_to_and_heals(void **state)
{
    const struct world *world = *state;

    set_port(world, 1);
    struct outcome outcome = reconcile(world);
    CHECK_INT(outcome.err.cls, ERR_RETRY);
    check_condition(world, "Reachable", "False DatabaseUnreachable");
    check_condition(world, "Hardened", "Unknown DatabaseUnreachable");
    check_condition(world, "Ready", "False DatabaseUnreachable");
    set_port(world, server_port());
    outcome = reconcile(world);
    CHECK_INT(outcome.err.cls, ERR_OK);
    check_condition(world, "Reachable", "True AsSpecified");
}

static void a_standby_takes_no_tenants(void **state)
{
    const struct world *world = *state;

    postgres_run(NULL, "ALTER ROLE " FIXTURE_CONTROLLER " SET default_transaction_read_only TO on");
    set_port(world, 1); /* a new generation: no connection of before */
    (void)reconcile(world);
    set_port(world, server_port());
    struct outcome outcome = reconcile(world);
    CHECK_INT(outcome.err.cls, ERR_RETRY);
    check_condition(world, "Reachable", "False DatabaseReadOnly");
    postgres_run(NULL, "ALTER ROLE " FIXTURE_CONTROLLER " RESET default_transaction_read_only");
    set_port(world, 1);
    set_port(world, server_port());
    outcome = reconcile(world);
    CHECK_INT(outcome.err.cls, ERR_OK);
}

/* A Tenant in the cache that lives here. */
static void set_tenants(const struct world *world, int count)
{
    struct watch_handler handler = cache_watch_handler(world->fixture->services.tenants);

    handler.replace_begin(handler.context);
    for (int i = 0; i < count; i++) {
        AUTO(free)
        char *json = xasprintf(
            "{\"metadata\":{\"name\":\"t%d\",\"uid\":\"u%d\",\"resourceVersion\":\"1\"},\"spec\":"
            "{\"tier\":\"free\",\"owner\":{\"email\":\"a@b.c\"}},\"status\":{\"database\":"
            "{\"server\":\"%s\"}}}",
            i, i, i == 2 ? "another" : world->name);
        handler.replace_object(handler.context, str_from(json));
    }
    handler.replace_end(handler.context, "9");
}

static const char *label_of(json_t *object)
{
    const json_t *labels = js_at(object, "/metadata/labels");

    return labels ? json_string_value(json_object_get(labels, NAME_LABEL_IN_USE)) : NULL;
}

static void a_server_in_use_is_counted_and_labelled(void **state)
{
    const struct world *world = *state;
    json_t *object = NULL;

    set_tenants(world, 3);
    (void)reconcile(world);
    object = server_object(world);
    CHECK_INT(js_int_or(object, "/status/tenants", -1), 2);
    CHECK_NOT_NULL(label_of(object));
    json_decref(object);
    set_tenants(world, 0);
    (void)reconcile(world);
    object = server_object(world);
    CHECK_INT(js_int_or(object, "/status/tenants", -1), 0);
    CHECK_NULL(label_of(object));
    json_decref(object);
}

#define ORPHAN_ID "99999999-1111-4222-8333-444444444444"

/* A Tenant in the cache, which knows its id. */
static void set_tenant_of(const struct world *world, const char *id)
{
    static int version = 100; /* a cache keeps what has the version that it knows */
    struct watch_handler handler = cache_watch_handler(world->fixture->services.tenants);
    AUTO(free)
    char *json = xasprintf("{\"metadata\":{\"name\":\"t\",\"uid\":\"u\",\"resourceVersion\":"
                           "\"%d\"},\"spec\":{\"tier\":\"free\",\"owner\":{\"email\":\"a@b.c\"}},"
                           "\"status\":{\"tenantID\":\"%s\"}}",
                           version++, id);

    handler.replace_begin(handler.context);
    handler.replace_object(handler.context, str_from(json));
    handler.replace_end(handler.context, "999");
}

#define check_orphans(world, words) check_orphans_at((world), (words), __LINE__)
static void check_orphans_at(const struct world *world, const char *words, int line)
{
    struct outcome outcome = reconcile_when(world, true);
    CHECK_OK(outcome.err.cls == ERR_OK ? 0 : -1, &outcome.err);
    AUTO(free) char *text = condition(world, "Orphaned");
    if (words) {
        if (!str_starts_with(str_from(text),
                             STR("True OrphansFound: 2 databases, schemas and roles")) ||
            !strstr(text, words)) {
            fail_msg("line %d: Orphaned is \"%s\", expected to hold \"%s\"", line, text, words);
        }
    } else {
        CHECK_TEXT(text, "");
    }
}

/* What no Tenant stands for is told, whatever its marks say; and never dropped. */
static void orphans_are_told_and_left_alone(void **state)
{
    const struct world *world = *state;
    AUTO(sql_conn) struct sql_conn *registry = postgres_connect("dbname=registry_of_database_test");

    set_tenants(world, 0);
    check_orphans(world, NULL);
    postgres_run(NULL,
                 "CREATE ROLE \"tenant_lost.owner\"; COMMENT ON ROLE \"tenant_lost.owner\" IS "
                 "'tenantry: tenant " ORPHAN_ID " uid u'");
    postgres_run(NULL, "CREATE DATABASE tenant_lost TEMPLATE template0");
    postgres_run(NULL, "COMMENT ON DATABASE tenant_lost IS 'tenantry: tenant " ORPHAN_ID " uid u'");
    (void)reconcile(world); /* not at every event */
    AUTO(free) char *quiet = condition(world, "Orphaned");
    CHECK_TEXT(quiet, "");
    check_orphans(world, "tenant id " ORPHAN_ID ": database \"tenant_lost\", role "
                         "\"tenant_lost.owner\"");
    check_condition(world, "Ready", "True AsSpecified");
    feed(world);
    AUTO(free) char *before = resource_version(world);
    check_orphans(world, "tenant_lost");
    AUTO(free) char *after = resource_version(world);
    CHECK_TEXT(after, before);

    /* A Tenant of that id; a row in force of a Tenant that does not know its id yet; something kept
     * on purpose: no orphans. */
    set_tenant_of(world, ORPHAN_ID);
    check_orphans(world, NULL);
    set_tenant_of(world, "");
    check_orphans(world, "tenant_lost");
    postgres_run(registry, "INSERT INTO public.tenants (id, name, subdomain, tier, database_name, "
                           "tenant_name, tenant_uid) VALUES ('" ORPHAN_ID "', 't', 'lost', 'free', "
                           "'tenant_lost', 't', 'u')");
    check_orphans(world, NULL);
    postgres_run(registry, "UPDATE public.tenants SET tenant_uid = 'another'");
    check_orphans(world, "tenant_lost");
    postgres_run(registry, "INSERT INTO public.tenant_retained (tenant_id, subdomain, kind, name, "
                           "location) VALUES ('" ORPHAN_ID "', 'lost', 'database', 'tenant_lost', "
                           "'primary')");
    check_orphans(world, NULL);
    postgres_run(registry, "DELETE FROM public.tenants");
    check_orphans(world, "tenant_lost");
    CHECK_INT(postgres_int(NULL, "SELECT count(*) FROM pg_database WHERE datname = 'tenant_lost'"),
              1);
    postgres_run(NULL, "DROP DATABASE tenant_lost");

    /* In a database that tenants share. */
    postgres_run(NULL, "CREATE DATABASE shared_by_lost TEMPLATE template0");
    struct sql_conn *shared = postgres_connect("dbname=shared_by_lost");
    postgres_run(shared, "CREATE SCHEMA tenant_lost AUTHORIZATION \"tenant_lost.owner\"");
    sql_close(shared);
    check_orphans(world, "tenant id " ORPHAN_ID ": role \"tenant_lost.owner\", schema "
                         "\"tenant_lost\"");
    postgres_run(NULL, "DROP DATABASE shared_by_lost");
    postgres_run(NULL, "DROP ROLE \"tenant_lost.owner\"");
    check_orphans(world, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_server_is_said_to_be_one),
        cmocka_unit_test(what_is_open_is_printed_with_its_remedy),
        cmocka_unit_test(missing_rights_are_printed_with_their_remedy),
        cmocka_unit_test(a_server_that_does_not_answer_is_said_to_and_heals),
        cmocka_unit_test(a_standby_takes_no_tenants),
        cmocka_unit_test(a_server_in_use_is_counted_and_labelled),
        cmocka_unit_test(orphans_are_told_and_left_alone),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
