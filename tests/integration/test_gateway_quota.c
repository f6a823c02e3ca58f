/* Three gateways and one quota: never a request over the limit, exactly the limit while all live,
 * and a count that is exact at the end but for what a killed one had not spent.
 *
 * TENANTRY_QUOTA_REQUESTS asks for more than the few thousand requests of every day:
 *     TENANTRY_QUOTA_REQUESTS=1000000 ctest --test-dir build/release -R test_gateway_quota */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "controller/base/cancel.h"
#include "controller/base/clock.h"
#include "controller/base/thread.h"
#include "tests/check.h"
#include "tests/integration/gateway_fixture.h"
#include "tests/integration/postgres.h"

enum { GATEWAYS = 3, CLIENTS = 9, USUAL_REQUESTS = 3000, SETTLE_MS = 20000 };

static struct gateway_process gateways[GATEWAYS];

/* Some clients at work until so many requests were made. */
struct storm {
    const char *tenant;
    char key[64];
    int64_t wanted;
    _Atomic int64_t begun;
    _Atomic int64_t admitted;
    _Atomic int64_t refused;
    _Atomic int64_t lost;
    _Atomic int64_t other;
    _Atomic int last_other; /* the status of the last of these */
};

struct client {
    struct storm *storm;
    int gateway;
};

static void *keep_asking(void *context)
{
    struct client *client = context;
    struct storm *storm = client->storm;
    struct reply *reply = xcalloc(1, sizeof(*reply));
    int fd = -1;

    while (atomic_fetch_add(&storm->begun, 1) < storm->wanted) {
        if (fd < 0 && (fd = http_open(gateways[client->gateway].port)) < 0) {
            atomic_fetch_sub(&storm->begun, 1); /* it is dead: others make the request */
            break;
        }
        if (!http_ask(fd, "GET", storm->tenant, "/authz", storm->key, NULL, reply)) {
            atomic_fetch_add(&storm->lost, 1);
            (void)close(fd);
            fd = -1;
        } else if (reply->status == 204) {
            atomic_fetch_add(&storm->admitted, 1);
        } else if (reply->status == 429) {
            atomic_fetch_add(&storm->refused, 1);
        } else {
            atomic_fetch_add(&storm->other, 1);
            atomic_store(&storm->last_other, reply->status);
        }
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    free(reply);
    return NULL;
}

static void begin(struct storm *storm, struct client clients[CLIENTS], pthread_t threads[CLIENTS])
{
    (void)snprintf(storm->key, sizeof(storm->key), "key-of-%s", storm->tenant);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){storm, i % GATEWAYS};
        thread_start(&threads[i], "client", keep_asking, &clients[i]);
    }
}

static void end(pthread_t threads[CLIENTS])
{
    for (int i = 0; i < CLIENTS; i++) {
        CHECK_INT(pthread_join(threads[i], NULL), 0);
    }
}

static int64_t requests(void)
{
    const char *text = getenv("TENANTRY_QUOTA_REQUESTS");

    return text ? strtol(text, NULL, 10) : USUAL_REQUESTS;
}

/* Until nothing is held any more: leases were given back, or ended. */
static void settle(const char *id)
{
    AUTO(sql_conn) struct sql_conn *registry = gateway_registry();
    int64_t until_ms = clock_monotonic_ms() + SETTLE_MS;

    while (postgres_int(registry,
                        "SELECT coalesce(sum(until - spent), 0) FROM public.quota_leases WHERE "
                        "expires_at > clock_timestamp() AND tenant_id = '%s'",
                        id) > 0) {
        if (clock_monotonic_ms() > until_ms) {
            return; /* a lease that was spent to the end is not told of */
        }
        CHECK(cancel_sleep_ms(NULL, 100));
    }
}

/* Every gateway has heard of the tenant. */
static void wait_for_all(const char *tenant)
{
    for (int i = 0; i < GATEWAYS; i++) {
        http_until(&gateways[i], tenant, "nobodys", 401, 5000);
    }
}

/* What is no yes and no no. */
static void check_no_other(const struct storm *storm)
{
    if (storm->other > 0) {
        print_message("    %ld answers neither 204 nor 429, the last of them %d\n",
                      (long)storm->other, storm->last_other);
    }
    CHECK_INT(storm->other, 0);
}

static void kong_2629_exactly_the_limit_is_admitted(void **state)
{
    struct client clients[CLIENTS];
    pthread_t threads[CLIENTS];
    int64_t limit = requests() / 3 * 2;
    AUTO(free) char *id = gateway_tenant(*state, "exact", limit);
    struct storm storm = {.tenant = "exact", .wanted = requests()};

    wait_for_all("exact");
    begin(&storm, clients, threads);
    end(threads);
    check_no_other(&storm);
    CHECK_INT(storm.lost, 0);
    CHECK_INT(storm.admitted, limit);
    CHECK_INT(storm.refused, requests() - limit);
    CHECK_INT(gateway_used(id), limit);
}

static void a_killed_gateway_costs_no_more_than_its_block(void **state)
{
    struct client clients[CLIENTS];
    pthread_t threads[CLIENTS];
    int64_t limit = 10 * requests();
    AUTO(free) char *id = gateway_tenant(*state, "killed", limit);
    struct storm storm = {.tenant = "killed", .wanted = requests()};

    wait_for_all("killed");
    begin(&storm, clients, threads);
    int64_t moment = requests() / 4 + clock_jitter_ms(requests() / 2);
    while (atomic_load(&storm.begun) < moment) {
        CHECK(cancel_sleep_ms(NULL, 1));
    }
    gateway_kill(&gateways[0]);
    end(threads);
    settle(id);
    int64_t lost = atomic_load(&storm.lost);
    int64_t unspent = gateway_used(id) - storm.admitted;
    check_no_other(&storm);
    CHECK_INT(storm.refused, 0);
    CHECK(lost <= CLIENTS);
    CHECK(unspent >= 0);
    CHECK(unspent <= limit / 100 + 1 + lost);
    printf("killed after %ld requests: %ld admitted, %ld answers lost, %ld counted\n", (long)moment,
           (long)storm.admitted, (long)lost, (long)gateway_used(id));
    gateway_start(&gateways[0]);
}

static void a_stopped_gateway_gives_everything_back(void **state)
{
    struct client clients[CLIENTS];
    pthread_t threads[CLIENTS];
    AUTO(free) char *id = gateway_tenant(*state, "stopped", 1000 * requests());
    struct storm storm = {.tenant = "stopped", .wanted = requests() / 3};

    wait_for_all("stopped");
    begin(&storm, clients, threads);
    end(threads);
    for (int i = 0; i < GATEWAYS; i++) {
        gateway_stop(&gateways[i]);
    }
    CHECK_INT(storm.admitted, storm.wanted);
    CHECK_INT(gateway_used(id), storm.admitted);
    for (int i = 0; i < GATEWAYS; i++) {
        gateway_start(&gateways[i]);
    }
}

/* A program of others' that counts in the same row by itself, as the contract lets it. */
static void a_program_that_counts_in_the_same_row_is_no_way_round(void **state)
{
    struct client clients[CLIENTS];
    pthread_t threads[CLIENTS];
    int64_t limit = requests() / 2;
    AUTO(free) char *id = gateway_tenant(*state, "shared", limit);
    AUTO(sql_conn) struct sql_conn *registry = gateway_registry();
    struct storm storm = {.tenant = "shared", .wanted = requests() / 3};
    int64_t counted = 0;

    wait_for_all("shared");
    begin(&storm, clients, threads);
    for (int i = 0; i < 200; i++) {
        counted += postgres_int(registry,
                                "WITH one AS (UPDATE public.tenant_quotas SET current_usage = "
                                "current_usage + 1 WHERE resource_type = 'api_requests' AND "
                                "tenant_id = '%s' AND current_usage < quota_limit RETURNING 1) "
                                "SELECT count(*) FROM one",
                                id);
    }
    end(threads);
    settle(id);
    check_no_other(&storm);
    CHECK_INT(gateway_used(id), storm.admitted + counted);
}

static int set_up(void **state)
{
    if (gateway_set_up(state)) {
        return -1;
    }
    for (int i = 0; i < GATEWAYS; i++) {
        gateway_start(&gateways[i]);
    }
    return 0;
}

static int tear_down(void **state)
{
    for (int i = 0; i < GATEWAYS; i++) {
        gateway_stop(&gateways[i]);
    }
    return gateway_tear_down(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kong_2629_exactly_the_limit_is_admitted),
        cmocka_unit_test(a_killed_gateway_costs_no_more_than_its_block),
        cmocka_unit_test(a_program_that_counts_in_the_same_row_is_no_way_round),
        cmocka_unit_test(a_stopped_gateway_gives_everything_back),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
