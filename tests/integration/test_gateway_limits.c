/* What a tier says of the gateway: requests a second, and what holds while the registry is lost;
 * and how soon a change of the registry is in force. */
#include <stdio.h>
#include <stdlib.h>

#include "controller/base/cancel.h"
#include "controller/base/clock.h"
#include "tests/check.h"
#include "tests/integration/gateway_fixture.h"
#include "tests/integration/postgres.h"

enum { PATIENCE_MS = 15000, RETRY_MS = 5, PER_SECOND = 5, RATED_MS = 2000, PROMISE_MS = 1000 };

static struct gateway_process gateway;
static char *open_id, *closed_id, *rated_id;

static int set_up(void **state)
{
    if (gateway_set_up(state)) {
        return -1;
    }
    open_id = gateway_tenant(*state, "open", 1000);
    closed_id = gateway_tenant(*state, "closed", 1000);
    rated_id = gateway_tenant(*state, "rated", 1000);
    AUTO(sql_conn) struct sql_conn *registry = gateway_registry();
    postgres_run(registry,
                 "UPDATE public.tenants SET gateway = '{\"failMode\":\"Open\"}' WHERE id = '%s'",
                 open_id);
    gateway_start(&gateway);
    return 0;
}

static int tear_down(void **state)
{
    gateway_stop(&gateway);
    free(open_id);
    free(closed_id);
    free(rated_id);
    return gateway_tear_down(state);
}

static int ask(const char *tenant, const char *token, struct reply *ret)
{
    http_once(&gateway, "GET", tenant, "/authz", token, NULL, ret);
    return ret->status;
}

/* ---- requests a second ---- */

/* What went on since the rate was seen to be used up. */
struct rated {
    int64_t from_ms;
    int64_t admitted;
    int64_t refused;
};

static bool pass_rated(struct rated *rated)
{
    struct reply reply = {0};

    if (ask("rated", "key-of-rated", &reply) == 204) {
        rated->admitted++;
        return true;
    }
    CHECK_INT(reply.status, 429);
    CHECK_TEXT(reply.body, "{\"error\":\"Too many requests\"}");
    CHECK_NOT_NULL(strstr(reply.head, "\r\nRetry-After: 1\r\n"));
    rated->refused++;
    return false;
}

static void a_tiers_requests_a_second_are_kept(void **state)
{
    AUTO(sql_conn) struct sql_conn *registry = gateway_registry();
    struct rated before = {0};
    struct rated rated = {0};
    int64_t until_ms = clock_monotonic_ms() + PATIENCE_MS;

    (void)state;
    postgres_run(registry,
                 "UPDATE public.tenants SET gateway = '{\"requestsPerSecond\":%d,\"burst\":%d}' "
                 "WHERE id = '%s'",
                 PER_SECOND, PER_SECOND, rated_id);
    do {
        CHECK(clock_monotonic_ms() < until_ms);
        rated.from_ms = clock_monotonic_ms();
    } while (pass_rated(&before));
    while (clock_monotonic_ms() - rated.from_ms < RATED_MS) {
        (void)pass_rated(&rated);
    }
    double lasted_s = (double)(clock_monotonic_ms() - rated.from_ms) / 1000;
    print_message("    %ld admitted and %ld refused in %.2f s at %d a second\n",
                  (long)rated.admitted, (long)rated.refused, lasted_s, PER_SECOND);
    CHECK((double)rated.admitted <= (double)PER_SECOND * lasted_s + 1);
    CHECK(rated.admitted >= 2); /* it comes again */
    CHECK(rated.refused > 0);
    until_ms = clock_monotonic_ms() + PATIENCE_MS;
    while (gateway_used(rated_id) !=
           before.admitted + rated.admitted) { /* the refused consumed nothing */
        CHECK(clock_monotonic_ms() < until_ms);
        CHECK(cancel_sleep_ms(NULL, RETRY_MS));
    }
}

static bool pass_at(const struct gateway_process *replica)
{
    struct reply reply = {0};

    http_once(replica, "GET", "rated", "/authz", "key-of-rated", NULL, &reply);
    CHECK(reply.status == 204 || reply.status == 429);
    return reply.status == 204;
}

/* How many a second they let pass, asked in turn, as a balancer would, and faster than they may. */
static double measure(const struct gateway_process *const *replicas, size_t count)
{
    int64_t admitted = 0;
    size_t turn = 0;
    bool any = true;

    while (any) { /* the burst goes first */
        any = false;
        for (size_t i = 0; i < count; i++) {
            any = pass_at(replicas[i]) || any;
        }
    }
    int64_t from_ms = clock_monotonic_ms();
    while (clock_monotonic_ms() - from_ms < RATED_MS) {
        admitted += pass_at(replicas[turn++ % count]) ? 1 : 0;
    }
    double lasted_s = (double)(clock_monotonic_ms() - from_ms) / 1000;
    print_message("    %zu replicas let %.1f a second pass\n", count, (double)admitted / lasted_s);
    return (double)admitted / lasted_s;
}

static void replicas_share_a_tiers_requests_a_second(void **state)
{
    enum { SHARED_PER_SECOND = 40 };
    struct gateway_process second;
    const struct gateway_process *const both[] = {&gateway, &second};
    AUTO(sql_conn) struct sql_conn *registry = gateway_registry();
    int64_t until_ms = clock_monotonic_ms() + (int64_t)2 * PATIENCE_MS;

    (void)state;
    postgres_run(registry,
                 "UPDATE public.tenants SET gateway = '{\"requestsPerSecond\":%d,\"burst\":%d}' "
                 "WHERE id = '%s'",
                 SHARED_PER_SECOND, SHARED_PER_SECOND, rated_id);
    gateway_start(&second);
    AUTO(free) char *since = postgres_text(registry, "SELECT clock_timestamp()");
    while (postgres_int(registry,
                        "SELECT count(*) FROM public.gateway_replicas WHERE seen_at > '%s'",
                        since) < 2) {
        CHECK(clock_monotonic_ms() < until_ms);
        CHECK(cancel_sleep_ms(NULL, RETRY_MS));
    }
    double rate = measure(both, 2);
    CHECK(rate <= (double)SHARED_PER_SECOND + 2);
    CHECK(rate >= (double)SHARED_PER_SECOND * 0.6);
    gateway_stop(&second);
    do { /* the one that is left has all of it */
        CHECK(clock_monotonic_ms() < until_ms);
        rate = measure(both, 1);
        CHECK(rate <= (double)SHARED_PER_SECOND + 2);
    } while (rate < (double)SHARED_PER_SECOND * 0.8);
}

/* ---- a lost registry ---- */

static void set_registry_open(bool open)
{
    postgres_run(NULL, "ALTER DATABASE registry_of_database_test WITH ALLOW_CONNECTIONS %s",
                 open ? "true" : "false");
    if (!open) {
        postgres_run(NULL, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname "
                           "= 'registry_of_database_test'");
    }
}

static void what_fails_open_goes_on_without_the_registry(void **state)
{
    enum { BEFORE = 10, MEANWHILE = 50 };
    struct reply reply = {0};
    int64_t until_ms;

    (void)state;
    for (int i = 0; i < BEFORE; i++) {
        CHECK_INT(ask("open", "key-of-open", &reply), 204);
    }
    http_until(&gateway, "closed", "key-of-closed", 204, PATIENCE_MS);
    until_ms = clock_monotonic_ms() + PATIENCE_MS;
    while (gateway_used(open_id) != BEFORE) { /* what it holds is given back */
        CHECK(clock_monotonic_ms() < until_ms);
        CHECK(cancel_sleep_ms(NULL, RETRY_MS));
    }
    set_registry_open(false);
    http_until(&gateway, "closed", "key-of-closed", 503, PATIENCE_MS);
    for (int i = 0; i < MEANWHILE; i++) {
        CHECK_INT(ask("open", "key-of-open", &reply), 204);
    }
    CHECK_INT(ask("open", "nobodys-key", &reply), 401);
    CHECK_INT(ask("open", NULL, &reply), 401);
    CHECK_INT(ask("closed", "key-of-closed", &reply), 503);
    CHECK_TEXT(reply.body, "{\"error\":\"Quota system error\"}");
    set_registry_open(true);
    http_until(&gateway, "closed", "key-of-closed", 204, PATIENCE_MS);
    CHECK_INT(ask("open", "key-of-open", &reply), 204);
    until_ms = clock_monotonic_ms() + PATIENCE_MS;
    while (gateway_used(open_id) != BEFORE + 1) { /* it counts again, and only from here */
        CHECK(clock_monotonic_ms() < until_ms);
        CHECK(cancel_sleep_ms(NULL, RETRY_MS));
    }
}

/* ---- how soon ---- */

/* A change of the tenant's row, and how the gateway shows it. */
struct change {
    const char *what;
    const char *set;
    int status;
    const char *field; /* in the answer's head */
};
static const struct change changes[] = {
    {"suspended", "status = 'suspended'", 403, ""},
    {"active again", "status = 'active'", 204, ""},
    {"another tier", "tier = 'large'", 204, "\r\nX-Tenant-Tier: large\r\n"},
    {"the first tier", "tier = 'small'", 204, "\r\nX-Tenant-Tier: small\r\n"},
    {"deleted", "status = 'deleted'", 404, ""},
    {"there again", "status = 'active'", 204, ""},
};

/* From the commit on, in milliseconds. */
static int64_t time_change(struct sql_conn *registry, const struct change *change)
{
    struct reply reply = {0};

    postgres_run(registry, "UPDATE public.tenants SET %s WHERE id = '%s'", change->set, closed_id);
    int64_t from_ms = clock_monotonic_ms();
    while (ask("closed", "key-of-closed", &reply) != change->status ||
           !strstr(reply.head, change->field)) {
        CHECK(clock_monotonic_ms() - from_ms < PATIENCE_MS);
        CHECK(cancel_sleep_ms(NULL, RETRY_MS));
    }
    return clock_monotonic_ms() - from_ms;
}

/* The best of five rounds counts: a busy machine takes its time now and then. */
static void changes_are_in_force_within_a_second(void **state)
{
    AUTO(sql_conn) struct sql_conn *registry = gateway_registry();
    int64_t best_ms[ARRAY_COUNT(changes)];
    bool late = true;

    (void)state;
    for (int round = 0; round < 5 && late; round++) {
        late = false;
        for (size_t i = 0; i < ARRAY_COUNT(changes); i++) {
            int64_t took_ms = time_change(registry, &changes[i]);
            best_ms[i] = round == 0 || took_ms < best_ms[i] ? took_ms : best_ms[i];
            late |= best_ms[i] > PROMISE_MS;
        }
    }
    for (size_t i = 0; i < ARRAY_COUNT(changes); i++) {
        print_message("    %s: %ld ms\n", changes[i].what, (long)best_ms[i]);
    }
    CHECK(!late);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tiers_requests_a_second_are_kept),
        cmocka_unit_test(replicas_share_a_tiers_requests_a_second),
        cmocka_unit_test(what_fails_open_goes_on_without_the_registry),
        cmocka_unit_test(changes_are_in_force_within_a_second),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
