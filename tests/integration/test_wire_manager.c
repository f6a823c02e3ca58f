/* What a whole controller does on the wire, rule by rule (docs/conformance.md): example_controller
 * behind the fault proxy, whose log is the witness. With the argument "long", what needs minutes.
 */
#include <signal.h>
#include <stdlib.h>

#include "tests/check.h"
#include "tests/integration/manager_fixture.h"
#include "tests/support/faults.h"

enum { WATCH_SILENCE_MS = 75000 };

struct wire {
    struct fixture *fixture;
    struct faults *faults;
    char *path; /* of the ConfigMaps of the test */
    int64_t since;
};

static int set_up(void **state)
{
    struct wire *wire = xcalloc(1, sizeof(*wire));
    CHECK_INT(fixture_set_up((void **)&wire->fixture), 0);
    wire->faults = faults_open();
    wire->path = xasprintf("/namespaces/%s/configmaps", wire->fixture->namespace_);
    wire->since = faults_mark(wire->faults);
    *state = wire;
    return 0;
}

static int tear_down(void **state)
{
    struct wire *wire = *state;
    faults_close(wire->faults);
    CHECK_INT(fixture_tear_down((void **)&wire->fixture), 0);
    free(wire->path);
    free(wire);
    return 0;
}

static struct process start(struct wire *wire, const char *name)
{
    const struct process_options options = {.kubeconfig = faults_kubeconfig(wire->faults)};
    return process_start_with(wire->fixture, name, &options);
}

/* A rule for the ConfigMaps of the test; match: further members, each with a comma before it. */
static int rule(struct wire *wire, const char *match, const char *action)
{
    AUTO(free) char *whole = xasprintf("{'path':'%s'%s}", wire->path, match);
    return faults_rule(wire->faults, whole, action);
}

static size_t count(struct wire *wire, const char *verb, const char *path)
{
    return faults_count(wire->faults, wire->since, verb, path, NULL);
}

static size_t writes(struct wire *wire)
{
    return count(wire, "PATCH", wire->path) + count(wire, "POST", wire->path) +
           count(wire, "PUT", wire->path) + count(wire, "DELETE", wire->path);
}

/* --- overload --------------------------------------------------------------------------------- */

static void c06_a_storm_of_429_loses_nothing(void **state)
{
    enum { COUNT = 20, REFUSALS = 16 }; /* no request may meet more than 10 */
    struct wire *wire = *state;
    struct process process = start(wire, "first");
    EVENTUALLY(process_is_ready(wire->fixture, &process));
    int storm =
        rule(wire, ",'write':true,'count':16", "{'type':'status','code':429,'retry_after':1}");
    for (int i = 0; i < COUNT; i++) {
        AUTO(free) char *name = xasprintf("map-%d", i);
        fixture_create_map(wire->fixture, name, "\"in\":\"one\"");
    }
    for (int i = 0; i < COUNT; i++) {
        AUTO(free) char *name = xasprintf("map-%d", i);
        EVENTUALLY(fixture_map_has(wire->fixture, name, "/data/out", "one"));
    }
    CHECK_INT(faults_fired(wire->faults, storm), REFUSALS);
    /* A request was repeated in its place, and no reconcile failed of it. */
    CHECK(process_page_says(
        wire->fixture, &process, "/metrics", 200,
        "\ncontroller_runtime_reconcile_total{controller=\"example\",result=\"error\"} 0\n"));
    process_stop(wire->fixture, &process);
}

/* --- its own writes --------------------------------------------------------------------------- */

/* The log has a request once its answer is through, a moment after its effect. */
static void check_writes(struct wire *wire, size_t expected)
{
    EVENTUALLY(writes(wire) >= expected);
    CHECK_INT(writes(wire), expected);
}

/* Its own change comes back 10 s late. Until then it does not do it again; but what somebody else
 * changes meanwhile is seen and acted on, once the events come. */
static void c29_a_late_echo_is_neither_repeated_nor_hides_a_change(void **state)
{
    struct wire *wire = *state;
    struct process process = start(wire, "first");
    EVENTUALLY(process_is_ready(wire->fixture, &process));
    fixture_create_map(wire->fixture, "a", "\"in\":\"one\"");
    EVENTUALLY(fixture_map_has(wire->fixture, "a", "/data/out", "one"));
    check_writes(wire, 1);
    int late = rule(wire, ",'watch':true,'open':true,'count':-1",
                    "{'type':'delay-events','object':'/a$','ms':600000}");
    /* Both events, the user's change and our answer to it, are held back; the user's is let go. */
    fixture_patch_map(wire->fixture, "a", "{\"data\":{\"in\":\"two\"}}");
    faults_remove(wire->faults, late);
    EVENTUALLY(fixture_map_has(wire->fixture, "a", "/data/out", "two"));
    check_writes(wire, 2);
    (void)rule(wire, ",'watch':true,'open':true,'count':-1",
               "{'type':'delay-events','object':'/a$','ms':3000}");
    fixture_patch_map(wire->fixture, "a", "{\"data\":{\"in\":\"three\"}}");
    EVENTUALLY(fixture_map_has(wire->fixture, "a", "/data/out", "three"));
    /* Now its own event is on its way, late; another map wakes workers, and must wake nothing of a.
     */
    fixture_create_map(wire->fixture, "b", "\"in\":\"x\"");
    EVENTUALLY(fixture_map_has(wire->fixture, "b", "/data/out", "x"));
    check_writes(wire, 4);
    /* From outside, inside of that time: it must not be lost with the echo. */
    fixture_patch_map(wire->fixture, "a", "{\"data\":{\"in\":\"four\"}}");
    EVENTUALLY(fixture_map_has(wire->fixture, "a", "/data/out", "four"));
    check_writes(wire, 5);
    process_stop(wire->fixture, &process);
}

/* Whoever writes and hears no answer tries again; what it asks for is the same state, so that once
 * is as good as twice. */
static void c51_lost_answers_and_conflicts_end_well(void **state)
{
    struct wire *wire = *state;
    struct process process = start(wire, "first");
    EVENTUALLY(process_is_ready(wire->fixture, &process));
    (void)rule(wire, ",'method':'PATCH'", "{'type':'lose'}");
    fixture_create_map(wire->fixture, "lost", "\"in\":\"one\"");
    EVENTUALLY(fixture_map_has(wire->fixture, "lost", "/data/out", "one"));
    int conflict = rule(wire, ",'method':'PATCH','count':3", "{'type':'status','code':409}");
    fixture_create_map(wire->fixture, "conflict", "\"in\":\"one\"");
    EVENTUALLY(fixture_map_has(wire->fixture, "conflict", "/data/out", "one"));
    CHECK_INT(faults_fired(wire->faults, conflict), 3);
    /* A conflict is no failure. */
    CHECK(process_page_says(
        wire->fixture, &process, "/metrics", 200,
        "\ncontroller_runtime_reconcile_total{controller=\"example\",result=\"error\"} 0\n"));
    process_stop(wire->fixture, &process);
}

static void c36_a_change_does_not_wait_for_an_old_errors_backoff(void **state)
{
    enum { FAILURES = 9 }; /* 5 ms doubling: the next try would be 2.5 s later */
    struct wire *wire = *state;
    struct process process = start(wire, "first");
    EVENTUALLY(process_is_ready(wire->fixture, &process));
    int refusal = rule(wire, ",'method':'PATCH','count':-1", "{'type':'status','code':500}");
    fixture_create_map(wire->fixture, "a", "\"in\":\"one\"");
    faults_await(wire->faults, refusal, FAILURES);
    faults_remove(wire->faults, refusal);
    int64_t begun_ms = clock_monotonic_ms();
    fixture_patch_map(wire->fixture, "a", "{\"data\":{\"in\":\"two\"}}");
    EVENTUALLY(fixture_map_has(wire->fixture, "a", "/data/out", "two"));
    CHECK(clock_monotonic_ms() - begun_ms < 2400);
    process_stop(wire->fixture, &process);
}

/* How many watches of the ConfigMaps were begun, with the text in their query. */
static size_t watches_begun(struct wire *wire, const char *query)
{
    AUTO(json) json_t *log = faults_log(wire->faults, wire->since);
    size_t begun = 0;
    size_t index = 0;
    json_t *line = NULL;
    json_array_foreach(log, index, line)
    {
        begun += text_equal(js_text_or(line, "/phase", ""), "open") &&
                 strstr(js_text_or(line, "/path", ""), wire->path) &&
                 strstr(js_text_or(line, "/query", ""), query);
    }
    return begun;
}

/* A right that is gone shows only where a watch begins. But a view that takes long would never be
 * complete if it were begun again with each refusal. */
static void c20_a_403_has_watches_ask_anew_but_begins_no_view_again(void **state)
{
    enum { COUNT = 100, FAILING = 10, APART_MS = 100, PERIOD_MS = 10000 };
    struct wire *wire = *state;
    for (int i = 0; i < COUNT; i++) {
        AUTO(free) char *name = xasprintf("map-%d", i);
        fixture_create_map(wire->fixture, name, "\"in\":\"one\",\"out\":\"one\"");
    }
    struct process process = start(wire, "first");
    EVENTUALLY(process_is_ready(wire->fixture, &process));
    EVENTUALLY(watches_begun(wire, "watch=1") > 0);
    int refusal = rule(wire, ",'method':'PATCH','count':-1", "{'type':'status','code':403}");
    wire->since = faults_mark(wire->faults);
    for (int i = 0; i < FAILING; i++) {
        AUTO(free) char *name = xasprintf("refused-%d", i);
        fixture_create_map(wire->fixture, name, "\"in\":\"one\"");
        fixture_pass_ms(APART_MS);
    }
    EVENTUALLY(watches_begun(wire, "&resourceVersion=") > 0);
    int64_t asked_ms = clock_monotonic_ms();
    CHECK_INT(watches_begun(wire, "sendInitialEvents"), 0);

    int slow = rule(wire, ",'query':'sendInitialEvents'", "{'type':'throttle','rate':1000}");
    (void)rule(wire, ",'watch':true,'open':true", "{'type':'watch-error','code':410}");
    faults_await(wire->faults, slow, 1);
    EVENTUALLY(clock_monotonic_ms() - asked_ms > PERIOD_MS);
    int refused = faults_fired(wire->faults, refusal);
    EVENTUALLY(faults_fired(wire->faults, refusal) > refused);
    fixture_pass_ms(1000);
    faults_remove(wire->faults, 0);
    EVENTUALLY(fixture_map_has(wire->fixture, "refused-0", "/data/out", "one"));
    CHECK_INT(watches_begun(wire, "sendInitialEvents"), 1);
    process_stop(wire->fixture, &process);
}

static void at_rest(struct wire *wire, int objects, int64_t pass_ms)
{
    struct process process = start(wire, "first");
    for (int i = 0; i < objects; i++) {
        AUTO(free) char *name = xasprintf("map-%d", i);
        fixture_create_map(wire->fixture, name, "\"in\":\"one\"");
    }
    for (int i = 0; i < objects; i++) {
        AUTO(free) char *name = xasprintf("map-%d", i);
        EVENTUALLY(fixture_map_has(wire->fixture, name, "/data/out", "one"));
    }
    EVENTUALLY(process_leads(wire->fixture, &process));
    fixture_pass_ms(3000); /* events of the events recorder go out */
    int64_t since = faults_mark(wire->faults);
    fixture_pass_ms(pass_ms);
    AUTO(json) json_t *log = faults_log(wire->faults, since);
    size_t renewals = 0;
    size_t checks = 0;
    size_t index = 0;
    json_t *line = NULL;
    json_array_foreach(log, index, line)
    {
        const char *path = js_text_or(line, "/path", "");
        const char *verb = js_text_or(line, "/verb", "");
        if (strstr(path, "/leases/example") && text_equal(verb, "PUT")) {
            renewals++;
        } else if (text_equal(verb, "GET") && strstr(js_text_or(line, "/query", ""), "limit=1&")) {
            checks++;
        } else if (!strstr(js_text_or(line, "/query", ""), "watch=1")) {
            fail_msg("at rest it sent %s %s", verb, path);
        }
    }
    CHECK(renewals > 0);
    /* A watch that the server left without a bookmark for 75 s asks once whether it is in time. */
    CHECK((int64_t)checks <= pass_ms / WATCH_SILENCE_MS);
    print_message("%d objects at rest for %lld ms: %zu Lease renewals, %zu checks of a silent "
                  "watch, and nothing else\n",
                  objects, (long long)pass_ms, renewals, checks);
    process_stop(wire->fixture, &process);
}

static void c45_c50_at_rest_only_the_lease_is_renewed(void **state)
{
    at_rest(*state, 50, 6000);
}

static void c50_a_thousand_objects_at_rest_for_ten_minutes(void **state)
{
    at_rest(*state, 1000, INT64_C(600000));
}

/* --- leadership ------------------------------------------------------------------------------- */

/* The data path is as slow as it gets; the lease has a connection of its own. */
static void c47_a_slow_list_does_not_cost_the_lease(void **state)
{
    struct wire *wire = *state;
    for (int i = 0; i < 100; i++) {
        AUTO(free) char *name = xasprintf("map-%d", i);
        fixture_create_map(wire->fixture, name, "\"in\":\"one\",\"out\":\"one\"");
    }
    int slow = rule(wire, ",'count':-1", "{'type':'throttle','rate':2000}");
    struct process process = start(wire, "first");
    EVENTUALLY(process_leads(wire->fixture, &process));
    faults_await(wire->faults, slow, 1);
    wire->since = faults_mark(wire->faults);
    EVENTUALLY(count(wire, "PUT", "/leases/example") >= 7); /* longer than the renew deadline */
    CHECK(process_leads(wire->fixture, &process));
    CHECK(!process_is_ready(wire->fixture, &process)); /* the list is still on its way */
    faults_remove(wire->faults, 0);
    EVENTUALLY(process_is_ready(wire->fixture, &process));
    process_stop(wire->fixture, &process);
}

/* Stopped with the lease in its hand, continued when another leads: it ends, and sends nothing. */
static void stopped(struct wire *wire, int64_t stopped_ms)
{
    struct process first = start(wire, "first");
    EVENTUALLY(process_leads(wire->fixture, &first));
    struct process second = process_start(wire->fixture, "second"); /* past the proxy */
    EVENTUALLY(process_is_ready(wire->fixture, &second));
    fixture_create_map(wire->fixture, "a", "\"in\":\"one\"");
    EVENTUALLY(fixture_map_has(wire->fixture, "a", "/data/by", "first"));

    int64_t begun_ms = clock_monotonic_ms();
    process_signal(&first, SIGSTOP);
    EVENTUALLY(process_leads(wire->fixture, &second));
    fixture_patch_map(wire->fixture, "a", "{\"data\":{\"in\":\"two\"}}");
    EVENTUALLY(fixture_map_has(wire->fixture, "a", "/data/by", "second"));
    while (clock_monotonic_ms() - begun_ms < stopped_ms) {
        fixture_pass_ms(100);
    }
    /* Work that waits in its socket when it goes on; the second one takes its time for it. */
    fixture_patch_map(wire->fixture, "a", "{\"data\":{\"pause_ms\":\"5000\",\"in\":\"three\"}}");
    wire->since = faults_mark(wire->faults);
    process_signal(&first, SIGCONT);
    CHECK_INT(process_end(wire->fixture, &first), 1);
    EVENTUALLY(fixture_map_has(wire->fixture, "a", "/data/out", "three"));
    CHECK(fixture_map_has(wire->fixture, "a", "/data/by", "second"));
    CHECK_INT(writes(wire), 0);
    CHECK_INT(count(wire, "PUT", NULL) + count(wire, "POST", NULL) + count(wire, "PATCH", NULL), 0);
    process_stop(wire->fixture, &second);
}

static void c46_a_leader_that_was_stopped_writes_nothing_any_more(void **state)
{
    stopped(*state, 0); /* until another leads: about 17 s */
}

static void c46_a_leader_that_was_stopped_for_60_seconds_writes_nothing(void **state)
{
    stopped(*state, 60000);
}

/* Without leader election both work on everything. Nothing is wrong in the end, and once it is
 * right nobody writes any more. */
static void c46_two_at_once_do_no_harm(void **state)
{
    enum { COUNT = 30 };
    struct wire *wire = *state;
    const struct process_options options = {.kubeconfig = faults_kubeconfig(wire->faults),
                                            .no_election = true};
    struct process first = process_start_with(wire->fixture, "one", &options);
    struct process second = process_start_with(wire->fixture, "two", &options);
    EVENTUALLY(process_is_ready(wire->fixture, &first));
    EVENTUALLY(process_is_ready(wire->fixture, &second));
    for (int i = 0; i < COUNT; i++) {
        AUTO(free) char *name = xasprintf("map-%d", i);
        fixture_create_map(wire->fixture, name, "\"in\":\"one\",\"finalize\":\"yes\"");
    }
    for (int i = 0; i < COUNT; i++) {
        AUTO(free) char *name = xasprintf("map-%d", i);
        EVENTUALLY(fixture_map_has(wire->fixture, name, "/data/out", "one"));
        EVENTUALLY(fixture_map_has(wire->fixture, name, "/metadata/finalizers/0",
                                   "example.test/finalizer"));
        CHECK(fixture_map_has(wire->fixture, name, "/metadata/finalizers/1", ""));
    }
    fixture_pass_ms(1000);
    wire->since = faults_mark(wire->faults);
    fixture_pass_ms(3000);
    CHECK_INT(writes(wire), 0);
    for (int i = 0; i < COUNT; i++) {
        AUTO(free) char *name = xasprintf("map-%d", i);
        const struct kube_ref ref = fixture_config_map(wire->fixture, name);
        struct err err;
        CHECK_OK(kube_delete(wire->fixture->client, NULL, &ref, NULL, NULL, &err), &err);
    }
    for (int i = 0; i < COUNT; i++) {
        AUTO(free) char *name = xasprintf("map-%d", i);
        EVENTUALLY(fixture_map_is_gone(wire->fixture, name));
    }
    process_stop(wire->fixture, &first);
    process_stop(wire->fixture, &second);
}

/* --- a view out of the past ------------------------------------------------------------------- */

/* It starts onto a server that lags behind: in that view the object is being deleted. Meanwhile
 * another object bears the name, and loses neither its finalizer nor anything else. */
static void c17_c30_a_stale_view_destroys_nothing(void **state)
{
    struct wire *wire = *state;
    struct process process = start(wire, "first");
    const struct kube_ref ref = fixture_config_map(wire->fixture, "a");
    struct err err;
    fixture_create_map(wire->fixture, "a", "\"in\":\"old\",\"finalize\":\"yes\"");
    EVENTUALLY(
        fixture_map_has(wire->fixture, "a", "/metadata/finalizers/0", "example.test/finalizer"));
    EVENTUALLY(fixture_map_has(wire->fixture, "a", "/data/out", "old"));
    process_stop(wire->fixture, &process);
    CHECK_OK(kube_delete(wire->fixture->client, NULL, &ref, NULL, NULL, &err), &err);
    EVENTUALLY(!fixture_map_has(wire->fixture, "a", "/metadata/deletionTimestamp", ""));
    AUTO(json) json_t *old = fixture_fetch(wire->fixture, &ref);
    /* The view is taken at the first question, and stays. */
    (void)rule(wire, ",'method':'GET','count':-1", "{'type':'frozen'}");
    struct kube_client *past = faults_client(wire->faults, "past");
    const struct kube_ref collection = fixture_config_map(wire->fixture, NULL);
    AUTO(buf) struct buf view = BUF(BODY_MAX_BYTES);
    CHECK_OK(kube_get(past, NULL, &collection, &view, &err), &err);
    CHECK_NOT_NULL(strstr(buf_text(&view), js_text_or(old, "/metadata/uid", "-")));
    kube_client_free(past);

    fixture_patch_map(wire->fixture, "a", "{\"metadata\":{\"finalizers\":null}}");
    EVENTUALLY(fixture_map_is_gone(wire->fixture, "a"));
    const struct kube_ref maps = fixture_config_map(wire->fixture, NULL);
    fixture_create(wire->fixture, &maps,
                   "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"a\","
                   "\"labels\":{\"example\":\"yes\"},\"finalizers\":[\"example.test/finalizer\"]},"
                   "\"data\":{\"in\":\"new\",\"finalize\":\"yes\"}}");
    wire->since = faults_mark(wire->faults);
    process = start(wire, "second");
    EVENTUALLY(process_is_ready(wire->fixture, &process));
    EVENTUALLY(count(wire, "PATCH", "/configmaps/a") >= 3); /* it tries, and is refused */
    CHECK(fixture_map_has(wire->fixture, "a", "/metadata/finalizers/0", "example.test/finalizer"));
    CHECK(fixture_map_has(wire->fixture, "a", "/metadata/deletionTimestamp", ""));
    CHECK(fixture_map_has(wire->fixture, "a", "/data/in", "new"));
    CHECK(!fixture_map_has(wire->fixture, "a", "/metadata/uid",
                           js_text_or(old, "/metadata/uid", "-")));
    /* With the present back, it does what the new one asks for. */
    faults_remove(wire->faults, 0);
    faults_reset_connections(wire->faults);
    EVENTUALLY(fixture_map_has(wire->fixture, "a", "/data/out", "new"));
    process_stop(wire->fixture, &process);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(c06_a_storm_of_429_loses_nothing),
        TEST(c29_a_late_echo_is_neither_repeated_nor_hides_a_change),
        TEST(c51_lost_answers_and_conflicts_end_well),
        TEST(c20_a_403_has_watches_ask_anew_but_begins_no_view_again),
        TEST(c36_a_change_does_not_wait_for_an_old_errors_backoff),
        TEST(c45_c50_at_rest_only_the_lease_is_renewed),
        TEST(c47_a_slow_list_does_not_cost_the_lease),
        TEST(c46_a_leader_that_was_stopped_writes_nothing_any_more),
        TEST(c46_two_at_once_do_no_harm),
        TEST(c17_c30_a_stale_view_destroys_nothing),
    };
    const struct CMUnitTest long_tests[] = {
        TEST(c46_a_leader_that_was_stopped_for_60_seconds_writes_nothing),
        TEST(c50_a_thousand_objects_at_rest_for_ten_minutes),
    };
#undef TEST

    js_init();
    http_global_init();
    if (argc > 2) {
        cmocka_set_test_filter(argv[2]);
    }
    if (argc > 1 && strcmp(argv[1], "long") == 0) {
        return cmocka_run_group_tests_name("wire_manager_long", long_tests, NULL, NULL);
    }
    return cmocka_run_group_tests_name("wire_manager", tests, NULL, NULL);
}
