/* Rotation of a tenant's login: on demand and by period, while clients follow the Secret; and what
 * a crash between any two of its writes leaves. Overlaps are of seconds here, and end in real time.
 */
#include "tests/check.h"
#include "tests/integration/postgres.h"
#include "tests/integration/tenant_life.h"

#include <pthread.h>
#include <stdatomic.h>

#include "controller/base/clock.h"
#include "reconcilers/database/login_internal.h"
#include "reconcilers/model/names.h"
#include "reconcilers/registry/registry_logins.h"

enum { PATIENCE_MS = 30 * 1000, PAUSE_MS = 50, OVERLAP_MS = 4000, CLIENTS = 3, ROTATIONS = 4 };

#define REGISTRY "dbname=registry_of_database_test"

static void pause_ms(int64_t ms)
{
    const struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    nanosleep(&pause, NULL);
}

/* A tier whose overlap the test can wait for. */
static struct tier quick_tier(void)
{
    struct tier tier = tier_small;
    tier.rotation_overlap_ms = OVERLAP_MS;
    return tier;
}

static void run_with(struct life *life, const struct tier *tier)
{
    life->tier = tier;
    life_drift_check(life);
}

static void request(struct life *life, const struct tier *tier, const char *text)
{
    life->tenant.rotate_requested_at = text;
    run_with(life, tier);
}

static const char *user_of(const struct life *life, struct kube_secret *secret)
{
    life_connection(life, secret);
    return strrchr(life_entry(secret, "user"), '.');
}

/* Drift checks until the retiring login is closed. */
static void wait_until_closed(struct life *life, const struct tier *tier)
{
    int64_t end_ms = clock_monotonic_ms() + PATIENCE_MS;

    while (run_with(life, tier), !text_is_empty(life->run.work.login.retiring_user)) {
        CHECK(clock_monotonic_ms() < end_ms);
        CHECK(atomic_load(&life->run.work.again_ms) > 0);
        pause_ms(PAUSE_MS);
    }
}

static void two_logins_work_under_one_limit_until_the_old_one_is_closed(void **state)
{
    AUTO(life) struct life life;
    AUTO(kube_secret) struct kube_secret before = {0};
    AUTO(kube_secret) struct kube_secret after = {0};
    struct sql_conn *conns[8] = {NULL};
    const struct tier tier = quick_tier();
    struct err err = {0};

    life_init(&life, *state, "turns");
    life_make(&life);
    CHECK_TEXT(user_of(&life, &before), ".a");
    CHECK_TEXT(life.run.work.login.handled_rotate_at, "");
    request(&life, &tier_small, "one");
    CHECK_TEXT(user_of(&life, &after), ".b");
    CHECK_TEXT(life.run.work.login.user, life_entry(&after, "user"));
    CHECK_TEXT(life.run.work.login.retiring_user, life_entry(&before, "user"));
    CHECK_TEXT(life.run.work.login.handled_rotate_at, "one");
    CHECK(!text_equal(life_entry(&before, "password"), life_entry(&after, "password")));

    for (int64_t i = 0; i < tier.connection_limit; i++) {
        conns[i] = life_login(&life, i % 2 ? &before : &after, &err);
        CHECK_NOT_NULL(conns[i]);
    }
    CHECK_NULL(life_login(&life, &before, &err));
    CHECK_TEXT(err.code, "53300");
    CHECK_NULL(life_login(&life, &after, &err));
    CHECK_TEXT(err.code, "53300");
    for (int64_t i = 0; i < tier.connection_limit; i++) {
        sql_close(conns[i]);
    }

    wait_until_closed(&life, &tier);
    CHECK_NULL(life_login(&life, &before, &err));
    life_check_login(&life);
    CHECK_INT(postgres_int(NULL, "SELECT datconnlimit FROM pg_database WHERE datname = '%s'",
                           life.run.work.place.database),
              -1);
    CHECK_INT(postgres_int(NULL,
                           "SELECT count(*) FROM pg_authid WHERE rolname = '%s' AND "
                           "rolpassword IS NULL AND NOT rolcanlogin",
                           life_entry(&before, "user")),
              1);

    /* And nothing goes on after that. */
    const struct quiet since = postgres_quiet_begin();
    run_with(&life, &tier);
    postgres_quiet_end(&since);
    CHECK_INT(atomic_load(&life.run.work.again_ms), 0);
}

/* ---- busy clients ---- */

struct client {
    const struct life *life;
    pthread_t thread;
    atomic_bool stop;
    atomic_int requests;
    atomic_int failures;
    bool keeps_connection;
    char failure[ERR_MESSAGE_BYTES];
};

static bool ask(struct sql_conn *conn, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "SELECT count(*) FROM public.users");
    return sql_query(conn, NULL, &query, NULL, err) == 0;
}

/* One request: look at the Secret, connect unless that is known already, ask. */
static bool serve(const struct client *client, struct kube_secret *known, struct sql_conn **conn,
                  struct err *err)
{
    struct kube_secret now = {0};

    life_connection(client->life, &now);
    if (!*conn || !client->keeps_connection || !kube_secret_equal(known, &now)) {
        sql_close(*conn);
        *conn = life_login(client->life, &now, err);
    }
    kube_secret_release(known);
    *known = now;
    return *conn && ask(*conn, err);
}

static void *run_client(void *argument)
{
    struct client *client = argument;
    AUTO(kube_secret) struct kube_secret known = {0};
    AUTO(sql_conn) struct sql_conn *conn = NULL;
    struct err err = {0};

    while (!atomic_load(&client->stop)) {
        if (!serve(client, &known, &conn, &err)) {
            (void)snprintf(client->failure, sizeof(client->failure), "%s", err.message);
            atomic_fetch_add(&client->failures, 1);
        }
        atomic_fetch_add(&client->requests, 1);
    }
    return NULL;
}

static int64_t requests_of(struct client *clients)
{
    int64_t fewest = INT64_MAX;
    for (int i = 0; i < CLIENTS; i++) {
        int64_t requests = atomic_load(&clients[i].requests);
        fewest = requests < fewest ? requests : fewest;
    }
    return fewest;
}

static void zalando_1227_no_request_fails_while_a_login_is_replaced(void **state)
{
    static const char *const texts[ROTATIONS] = {"1", "2", "3", "4"};
    AUTO(life) struct life life;
    AUTO(kube_secret) struct kube_secret secret = {0};
    const struct tier tier = quick_tier();
    struct client clients[CLIENTS] = {0};

    life_init(&life, *state, "busy");
    life_make(&life);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i].life = &life;
        clients[i].keeps_connection = i == 0;
        CHECK_INT(pthread_create(&clients[i].thread, NULL, run_client, &clients[i]), 0);
    }
    for (int i = 0; i < ROTATIONS; i++) {
        request(&life, &tier, texts[i]);
        CHECK_TEXT(user_of(&life, &secret), i % 2 ? ".a" : ".b");
        wait_until_closed(&life, &tier);
    }
    int64_t served = requests_of(clients);
    for (int i = 0; i < CLIENTS; i++) {
        atomic_store(&clients[i].stop, true);
        CHECK_INT(pthread_join(clients[i].thread, NULL), 0);
        if (atomic_load(&clients[i].failures) > 0) {
            fail_msg("client %d: %d of %d requests failed, the last with: %s", i,
                     atomic_load(&clients[i].failures), atomic_load(&clients[i].requests),
                     clients[i].failure);
        }
    }
    CHECK(served > ROTATIONS);
}

/* ---- the end of an overlap ---- */

static void a_session_keeps_the_old_login_open_until_its_time_is_over(void **state)
{
    AUTO(life) struct life life;
    AUTO(kube_secret) struct kube_secret before = {0};
    AUTO(kube_secret) struct kube_secret after = {0};
    const struct tier tier = quick_tier();
    struct err err = {0};

    life_init(&life, *state, "held");
    life_make(&life);
    life_connection(&life, &before);
    AUTO(sql_conn) struct sql_conn *held = life_login(&life, &before, &err);
    int64_t start_ms = clock_monotonic_ms();
    request(&life, &tier, "one");
    /* Asked again meanwhile: the slot is still in use. */
    request(&life, &tier, "two");
    CHECK_TEXT(user_of(&life, &after), ".b");
    CHECK_TEXT(life.run.work.login.handled_rotate_at, "one");
    while (text_equal(user_of(&life, &after), ".b")) {
        CHECK(clock_monotonic_ms() - start_ms < PATIENCE_MS);
        if (clock_monotonic_ms() - start_ms < OVERLAP_MS - 1500) {
            CHECK(ask(held, &err));
        }
        run_with(&life, &tier);
        pause_ms(PAUSE_MS);
    }
    CHECK(clock_monotonic_ms() - start_ms >= OVERLAP_MS - 1500); /* times are of whole seconds */
    CHECK(!ask(held, &err));
    CHECK_TEXT(life.run.work.login.handled_rotate_at, "two");
    life_check_login(&life);
}

static void a_login_is_replaced_once_it_is_old(void **state)
{
    AUTO(life) struct life life;
    AUTO(kube_secret) struct kube_secret secret = {0};
    struct tier tier = quick_tier();

    life_init(&life, *state, "aged");
    life_make(&life);
    tier.rotation_period_ms = 3600L * 1000;
    run_with(&life, &tier);
    CHECK_TEXT(user_of(&life, &secret), ".a");
    CHECK(atomic_load(&life.run.work.again_ms) > 3500L * 1000);
    AUTO(sql_conn) struct sql_conn *registry = postgres_connect(REGISTRY);
    postgres_run(registry,
                 "UPDATE public.tenant_credentials SET updated_at = now() - interval '1 hour' "
                 "WHERE kind = 'login_a' AND tenant_id = '%s'",
                 life.run.work.tenant_id);
    run_with(&life, &tier);
    CHECK_TEXT(user_of(&life, &secret), ".b");
    life_check_login(&life);
}

static void suspension_closes_both_and_rotates_nothing(void **state)
{
    AUTO(life) struct life life;
    AUTO(kube_secret) struct kube_secret before = {0};
    AUTO(kube_secret) struct kube_secret after = {0};
    const struct tier tier = quick_tier();
    struct err err = {0};

    life_init(&life, *state, "asleep");
    life_make(&life);
    life_connection(&life, &before);
    request(&life, &tier, "one");
    life.tenant.state = TENANT_SUSPENDED;
    request(&life, &tier, "two");
    CHECK_TEXT(user_of(&life, &after), ".b");
    CHECK_TEXT(life.run.work.login.handled_rotate_at, "one");
    CHECK_NULL(life_login(&life, &before, &err));
    CHECK_NULL(life_login(&life, &after, &err));
    life.tenant.state = TENANT_ACTIVE;
    run_with(&life, &tier);
    CHECK_TEXT(user_of(&life, &after), ".a");
    CHECK_TEXT(life.run.work.login.handled_rotate_at, "two");
    life_check_login(&life);
}

/* ---- crashes ---- */

/* The registry was told, and perhaps the role made: nobody has the password, so it is made anew. */
static void a_rotation_that_was_only_begun_is_done_again(void **state)
{
    AUTO(life) struct life life;
    AUTO(kube_secret) struct kube_secret secret = {0};
    const struct tier tier = quick_tier();
    struct run *run = &life.run;
    char digest[SHA256_TEXT_BYTES];

    life_init(&life, *state, "begun");
    life_make(&life);
    hash_sha256_text(STR("nobody has it"), digest);
    CHECK_OK(registry_logins_begin(run->work.services->registry, &run->rc, run->work.tenant_id, 1,
                                   digest, &run->err),
             &run->err);
    run_with(&life, &tier);
    CHECK_TEXT(user_of(&life, &secret), ".b");
    life_check_login(&life);
    wait_until_closed(&life, &tier);
    life_check_login(&life);
}

/* The Secret names the next login, and the registry does not know: it is not made twice. */
static void a_password_that_was_handed_out_stays(void **state)
{
    AUTO(life) struct life life;
    AUTO(kube_secret) struct kube_secret before = {0};
    AUTO(kube_secret) struct kube_secret after = {0};
    AUTO(sql_conn) struct sql_conn *registry = postgres_connect(REGISTRY);
    const struct tier tier = tier_small;

    life_init(&life, *state, "handed");
    life_make(&life);
    request(&life, &tier, "one");
    life_connection(&life, &before);
    postgres_run(registry,
                 "UPDATE public.tenant_credentials SET request = '', retire_at = NULL, "
                 "seen_at = NULL, state = CASE kind WHEN 'login_a' THEN 'current' ELSE 'next' END "
                 "WHERE kind IN ('login_a', 'login_b') AND tenant_id = '%s'",
                 life.run.work.tenant_id);
    run_with(&life, &tier);
    life_connection(&life, &after);
    CHECK(kube_secret_equal(&before, &after));
    CHECK_TEXT(life.run.work.login.handled_rotate_at, "one");
    CHECK_TEXT(strrchr(life.run.work.login.retiring_user, '.'), ".a");
    life_check_login(&life);
}

/* Somebody restores the Secret of before the rotation: the login that it names goes on for its
 * time, and does not become the current one again. */
static void an_old_secret_that_comes_back_is_replaced(void **state)
{
    AUTO(life) struct life life;
    AUTO(kube_secret) struct kube_secret before = {0};
    AUTO(kube_secret) struct kube_secret after = {0};
    AUTO(sql_conn) struct sql_conn *conn = NULL;
    const struct tier tier = tier_small; /* its overlap is long */
    struct kube_pair labels[3];
    struct err err = {0};

    life_init(&life, *state, "back");
    life_make(&life);
    life_connection(&life, &before);
    request(&life, &tier, "one");
    AUTO(free) char *name = xasprintf("%s-database", life.name);
    CHECK_OK(kube_secret_apply(life.world->cluster->client, NULL, life_namespace(&life), name,
                               NAME_MANAGER, labels, work_labels(&life.run.work, labels), &before,
                               &err),
             &err);
    run_with(&life, &tier);
    CHECK_TEXT(user_of(&life, &after), ".b");
    CHECK(!text_equal(life_entry(&before, "password"), life_entry(&after, "password")));
    life_check_login(&life);
    conn = life_login(&life, &before, &err);
    CHECK_NOT_NULL(conn);
}

static void a_limit_that_somebody_gave_the_database_is_taken_off(void **state)
{
    AUTO(life) struct life life;

    life_init(&life, *state, "limited");
    life_make(&life);
    postgres_run(NULL, "ALTER DATABASE \"%s\" CONNECTION LIMIT 3", life.run.work.place.database);
    life_drift_check(&life);
    CHECK_INT(postgres_int(NULL, "SELECT datconnlimit FROM pg_database WHERE datname = '%s'",
                           life.run.work.place.database),
              -1);
}

/* Nothing but the roles' own limits counts in a database that others use too. */
static void in_a_shared_database_each_login_has_a_share(void **state)
{
    AUTO(life) struct life life;
    AUTO(kube_secret) struct kube_secret before = {0};
    const struct tier tier = quick_tier();
    struct err err = {0};

    life_init(&life, *state, "shares");
    life.tenant.isolation = ISOLATION_SCHEMA;
    life_make(&life);
    life_connection(&life, &before);
    AUTO(sql_conn) struct sql_conn *first = life_login(&life, &before, &err);
    AUTO(sql_conn) struct sql_conn *second = life_login(&life, &before, &err);
    request(&life, &tier_small, "one");
    CHECK_INT(postgres_int(NULL,
                           "SELECT sum(rolconnlimit) FROM pg_roles WHERE rolname IN "
                           "('%s', '%s')",
                           life.run.work.login.user, life.run.work.login.retiring_user),
              tier.connection_limit);
    CHECK_INT(postgres_int(NULL, "SELECT rolconnlimit FROM pg_roles WHERE rolname = '%s'",
                           life.run.work.login.retiring_user),
              3); /* two in use, and half of what is free */
    sql_close(first);
    sql_close(second);
    first = second = NULL;
    wait_until_closed(&life, &tier);
    run_with(&life, &tier);
    CHECK_INT(postgres_int(NULL, "SELECT rolconnlimit FROM pg_roles WHERE rolname = '%s'",
                           life.run.work.login.user),
              tier.connection_limit);
    life_check_login(&life);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_logins_work_under_one_limit_until_the_old_one_is_closed),
        cmocka_unit_test(zalando_1227_no_request_fails_while_a_login_is_replaced),
        cmocka_unit_test(a_session_keeps_the_old_login_open_until_its_time_is_over),
        cmocka_unit_test(a_login_is_replaced_once_it_is_old),
        cmocka_unit_test(suspension_closes_both_and_rotates_nothing),
        cmocka_unit_test(a_rotation_that_was_only_begun_is_done_again),
        cmocka_unit_test(a_password_that_was_handed_out_stays),
        cmocka_unit_test(an_old_secret_that_comes_back_is_replaced),
        cmocka_unit_test(in_a_shared_database_each_login_has_a_share),
        cmocka_unit_test(a_limit_that_somebody_gave_the_database_is_taken_off),
    };
    return cmocka_run_group_tests(tests, life_set_up, life_tear_down);
}
