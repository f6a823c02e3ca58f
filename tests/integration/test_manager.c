/* A controller process from its start to its end, against a real kube-apiserver: it reconciles, it
 * says why it is not ready, it leaves its lease behind for the next one, and it never writes once
 * it may no longer. Each test has a namespace of its own. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/check.h"
#include "tests/integration/manager_fixture.h"

static const struct kube_resource ROLES = {"rbac.authorization.k8s.io", "v1", "roles", "Role",
                                           true};

/* ---- tests ---- */

static void it_reconciles_what_is_there_and_what_changes(void **state)
{
    struct fixture *fixture = *state;
    fixture_create_map(fixture, "before", "\"in\":\"one\"");
    struct process process = process_start(fixture, "first");
    EVENTUALLY(fixture_map_has(fixture, "before", "/data/out", "one"));
    fixture_create_map(fixture, "after", "\"in\":\"two\"");
    EVENTUALLY(fixture_map_has(fixture, "after", "/data/out", "two"));
    fixture_patch_map(fixture, "before", "{\"data\":{\"in\":\"three\"}}");
    EVENTUALLY(fixture_map_has(fixture, "before", "/data/out", "three"));
    fixture_patch_map(fixture, "before", "{\"data\":{\"out\":\"spoilt\"}}");
    EVENTUALLY(fixture_map_has(fixture, "before", "/data/out", "three"));
    CHECK(fixture_map_has(fixture, "before", "/data/by", "first"));
    process_stop(fixture, &process);
}

static void c42_pages_show_what_it_does(void **state)
{
    struct fixture *fixture = *state;
    fixture_create_map(fixture, "a", "\"in\":\"one\"");
    struct process process = process_start(fixture, "first");
    EVENTUALLY(fixture_map_has(fixture, "a", "/data/out", "one"));
    EVENTUALLY(process_is_ready(fixture, &process));
    CHECK(process_page_says(fixture, &process, "/healthz", 200, "ok"));
    CHECK(process_leads(fixture, &process));
    static const char *const series[] = {
        "\ncontroller_runtime_reconcile_total{controller=\"example\",result=\"success\"} ",
        "\ncontroller_runtime_reconcile_total{controller=\"example\",result=\"error\"} 0\n",
        "\ncontroller_runtime_max_concurrent_reconciles{controller=\"example\"} 2\n",
        "\nworkqueue_depth{name=\"example\",controller=\"example\",priority=\"0\"} 0\n",
        "\ntenantry_cache_objects{resource=\"configmaps\"} 1\n",
        "\ntenantry_cache_synced{resource=\"configmaps\"} 1\n",
        "\nrest_client_requests_total{",
        "\nprocess_resident_memory_bytes ",
        "\ntenantry_build_info{version=",
    };
    for (size_t i = 0; i < ARRAY_COUNT(series); i++) {
        if (!process_page_says(fixture, &process, "/metrics", 200, series[i])) {
            fail_msg("/metrics lacks %s", series[i]);
        }
    }
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    struct err err;
    CHECK_INT(process_page(fixture, &process, "/debug/queue", &body), 200);
    AUTO(json) json_t *queues = NULL;
    CHECK_OK(js_parse(buf_str(&body), BODY_MAX_BYTES, &queues, &err), &err);
    CHECK_TEXT(js_text_or(queues, "/0/name", ""), "example");
    CHECK_INT(process_page(fixture, &process, "/debug/cache", &body), 200);
    AUTO(json) json_t *caches = NULL;
    CHECK_OK(js_parse(buf_str(&body), BODY_MAX_BYTES, &caches, &err), &err);
    CHECK_TEXT(js_text_or(caches, "/0/resource", ""), "configmaps");
    CHECK(js_bool_or(caches, "/0/synced", false));
    CHECK(js_bool_or(caches, "/0/healthy", false));
    CHECK_INT(js_int_or(caches, "/0/objects", -1), 1);
    CHECK_INT(process_page(fixture, &process, "/nothing", &body), 404);
    process_stop(fixture, &process);
}

static void its_own_finalizer_is_added_and_removed_and_nobody_elses(void **state)
{
    struct fixture *fixture = *state;
    struct process process = process_start(fixture, "first");
    fixture_create_map(fixture, "held", "\"in\":\"x\",\"finalize\":\"yes\"");
    EVENTUALLY(
        fixture_map_has(fixture, "held", "/metadata/finalizers/0", "example.test/finalizer"));
    fixture_patch_map(fixture, "held",
                      "{\"metadata\":{\"finalizers\":[\"test.test/a\",\"example.test/finalizer\","
                      "\"test.test/b\"]}}");
    const struct kube_ref ref = fixture_config_map(fixture, "held");
    struct err err;
    CHECK_OK(kube_delete(fixture->client, NULL, &ref, NULL, NULL, &err), &err);
    EVENTUALLY(fixture_map_has(fixture, "held", "/metadata/finalizers/1", "test.test/b"));
    CHECK(fixture_map_has(fixture, "held", "/metadata/finalizers/0", "test.test/a"));
    fixture_patch_map(fixture, "held", "{\"metadata\":{\"finalizers\":null}}");
    EVENTUALLY(fixture_map_is_gone(fixture, "held"));

    fixture_create_map(fixture, "free", "\"in\":\"x\",\"finalize\":\"yes\"");
    EVENTUALLY(
        fixture_map_has(fixture, "free", "/metadata/finalizers/0", "example.test/finalizer"));
    const struct kube_ref second = fixture_config_map(fixture, "free");
    CHECK_OK(kube_delete(fixture->client, NULL, &second, NULL, NULL, &err), &err);
    EVENTUALLY(fixture_map_is_gone(fixture, "free"));
    process_stop(fixture, &process);
}

static void its_events_are_there_after_it_stopped(void **state)
{
    struct fixture *fixture = *state;
    fixture_create_map(fixture, "a", "\"in\":\"one\"");
    struct process process = process_start(fixture, "first");
    EVENTUALLY(fixture_map_has(fixture, "a", "/data/out", "one"));
    process_stop(fixture, &process);
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    struct err err;
    const struct kube_ref events = {.resource = &KUBE_EVENTS, .namespace_ = fixture->namespace_};
    CHECK_OK(kube_get(fixture->client, NULL, &events, &body, &err), &err);
    CHECK_NOT_NULL(strstr(buf_text(&body), "\"note\":\"copied one\""));
    CHECK_NOT_NULL(strstr(buf_text(&body), "\"reportingController\":\"tenantry.dev/controller\""));
}

static void c47_a_stop_frees_the_lease_within_three_seconds(void **state)
{
    struct fixture *fixture = *state;
    struct process process = process_start(fixture, "first");
    EVENTUALLY(process_leads(fixture, &process));
    CHECK(!fixture_lease_is_free(fixture));
    int64_t begun_ms = clock_monotonic_ms();
    process_stop(fixture, &process);
    CHECK(clock_monotonic_ms() - begun_ms < 3000);
    CHECK(fixture_lease_is_free(fixture));
}

static void c47_the_next_one_takes_over_where_the_first_stopped(void **state)
{
    struct fixture *fixture = *state;
    struct process first = process_start(fixture, "first");
    EVENTUALLY(process_leads(fixture, &first));
    struct process second = process_start(fixture, "second");
    EVENTUALLY(process_is_ready(fixture, &second)); /* a standby is ready, and does nothing */
    fixture_create_map(fixture, "a", "\"in\":\"one\"");
    EVENTUALLY(fixture_map_has(fixture, "a", "/data/by", "first"));
    CHECK(!process_leads(fixture, &second));

    int64_t begun_ms = clock_monotonic_ms();
    process_stop(fixture, &first);
    EVENTUALLY(process_leads(fixture, &second));
    CHECK(clock_monotonic_ms() - begun_ms < 6000); /* its retry period is 2 to 2.4 s */
    fixture_create_map(fixture, "b", "\"in\":\"two\"");
    EVENTUALLY(fixture_map_has(fixture, "b", "/data/by", "second"));
    CHECK(fixture_map_has(fixture, "a", "/data/by", "first")); /* nothing done twice */
    process_stop(fixture, &second);
}

static void c46_a_process_that_slept_past_its_lease_ends_without_a_write(void **state)
{
    struct fixture *fixture = *state;
    struct process first = process_start(fixture, "first");
    EVENTUALLY(process_leads(fixture, &first));
    struct process second = process_start(fixture, "second");
    EVENTUALLY(process_is_ready(fixture, &second));
    fixture_create_map(fixture, "a", "\"in\":\"one\"");
    EVENTUALLY(fixture_map_has(fixture, "a", "/data/by", "first"));

    process_signal(&first, SIGSTOP);
    EVENTUALLY(process_leads(fixture, &second));
    /* The first one finds this change waiting in its socket when it wakes up. */
    fixture_patch_map(fixture, "a", "{\"data\":{\"in\":\"two\"}}");
    EVENTUALLY(fixture_map_has(fixture, "a", "/data/by", "second"));
    fixture_patch_map(fixture, "a", "{\"data\":{\"pause_ms\":\"5000\",\"in\":\"three\"}}");
    process_signal(&first, SIGCONT);
    CHECK_INT(process_end(fixture, &first), 1);
    EVENTUALLY(fixture_map_has(fixture, "a", "/data/out", "three"));
    CHECK(fixture_map_has(fixture, "a", "/data/by", "second"));
    process_stop(fixture, &second);
}

static void c41_a_running_reconcile_ends_before_the_process(void **state)
{
    struct fixture *fixture = *state;
    struct process process = process_start(fixture, "first");
    EVENTUALLY(process_is_ready(fixture, &process));
    fixture_create_map(fixture, "slow", "\"in\":\"one\",\"pause_ms\":\"1500\"");
    EVENTUALLY(
        process_page_says(fixture, &process, "/metrics", 200,
                          "\ncontroller_runtime_active_workers{controller=\"example\"} 1\n"));
    process_signal(&process, SIGTERM);
    EVENTUALLY(!process_is_ready(fixture, &process));
    CHECK_INT(process_end(fixture, &process), 0);
    CHECK(fixture_map_has(fixture, "slow", "/data/out", "one"));
    CHECK(fixture_lease_is_free(fixture));
}

static void c41_a_reconcile_that_does_not_end_is_canceled_after_its_grace(void **state)
{
    struct fixture *fixture = *state;
    struct process process = process_start(fixture, "first");
    EVENTUALLY(process_is_ready(fixture, &process));
    fixture_create_map(fixture, "slow", "\"in\":\"one\",\"pause_ms\":\"600000\"");
    EVENTUALLY(
        process_page_says(fixture, &process, "/metrics", 200,
                          "\ncontroller_runtime_active_workers{controller=\"example\"} 1\n"));
    int64_t begun_ms = clock_monotonic_ms();
    process_stop(fixture, &process);
    CHECK(clock_monotonic_ms() - begun_ms >= 19000);
    CHECK(clock_monotonic_ms() - begun_ms < 29000);
    CHECK(!fixture_map_has(fixture, "slow", "/data/out", "one"));
    CHECK(fixture_lease_is_free(fixture));
}

/* A process that ends at once joins no thread, which ThreadSanitizer would count as a leak. */
static struct process start_to_be_cut_off(struct fixture *fixture)
{
    const char *options = getenv("TSAN_OPTIONS");
    AUTO(free) char *before = xstrdup(options ? options : "");
    AUTO(free) char *changed = xasprintf("%s:report_thread_leaks=0", before);
    CHECK_INT(setenv("TSAN_OPTIONS", changed, 1), 0);
    struct process process = process_start(fixture, "first");
    CHECK_INT(setenv("TSAN_OPTIONS", before, 1), 0);
    return process;
}

static void c41_a_second_signal_ends_it_at_once(void **state)
{
    struct fixture *fixture = *state;
    struct process process = start_to_be_cut_off(fixture);
    EVENTUALLY(process_is_ready(fixture, &process));
    fixture_create_map(fixture, "slow", "\"in\":\"one\",\"pause_ms\":\"15000\"");
    EVENTUALLY(
        process_page_says(fixture, &process, "/metrics", 200,
                          "\ncontroller_runtime_active_workers{controller=\"example\"} 1\n"));
    int64_t begun_ms = clock_monotonic_ms();
    process_signal(&process, SIGTERM);
    EVENTUALLY(process_page_says(fixture, &process, "/readyz", 503, "stopping"));
    process_signal(&process, SIGTERM);
    CHECK_INT(process_end(fixture, &process), 128 + SIGTERM);
    CHECK(clock_monotonic_ms() - begun_ms < 10000);
    CHECK(fixture_map_has(fixture, "slow", "/data/in", "one"));
    CHECK(!fixture_map_has(fixture, "slow", "/data/out", "one"));
}

static void c42_what_is_not_prepared_shows_and_heals(void **state)
{
    struct fixture *fixture = *state;
    AUTO(free) char *file = xasprintf("%s/prepared", fixture->folder);
    fixture_create_map(fixture, "a", "\"in\":\"one\"");
    const struct process_options options = {.prepared_file = file};
    struct process process = process_start_with(fixture, "first", &options);
    EVENTUALLY(process_page_says(fixture, &process, "/readyz", 503, "prepare: NotPrepared: "));
    CHECK(process_page_says(fixture, &process, "/healthz", 200, "ok"));
    CHECK(fixture_map_has(fixture, "a", "/data/out", "")); /* no worker before it is prepared */
    AUTO(fd) int fd = open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    EVENTUALLY(fixture_map_has(fixture, "a", "/data/out", "one"));
    EVENTUALLY(process_is_ready(fixture, &process));
    CHECK_INT(unlink(file), 0);
    process_stop(fixture, &process);
}

/* A kubeconfig that acts as a user without rights; the caller frees the path. */
static char *kubeconfig_as(struct fixture *fixture, const char *user)
{
    AUTO(free) char *view = NULL;
    AUTO(json) json_t *config = NULL;
    struct err err;
    CHECK_OK(kube_config_view(NULL, &view, &err), &err);
    CHECK_OK(js_parse(str_from(view), BODY_MAX_BYTES, &config, &err), &err);
    json_t *first = json_array_get(json_object_get(config, "users"), 0);
    CHECK_INT(json_object_set_new(json_object_get(first, "user"), "as", json_string(user)), 0);
    AUTO(free) char *text = js_print(config);
    char *path = xasprintf("%s/kubeconfig", fixture->folder);
    FILE *file = fopen(path, "we");
    if (!file) {
        fail_msg("cannot write %s", path);
        return path;
    }
    CHECK_INT(fwrite(text, 1, strlen(text), file), strlen(text));
    CHECK_INT(fclose(file), 0);
    CHECK_INT(chmod(path, 0600), 0);
    return path;
}

static struct process start_as(struct fixture *fixture, const char *user)
{
    AUTO(free) char *path = kubeconfig_as(fixture, user);
    const struct process_options options = {.kubeconfig = path};
    return process_start_with(fixture, "first", &options);
}

static void grant(struct fixture *fixture, const char *user)
{
    const struct kube_ref roles = {.resource = &ROLES, .namespace_ = fixture->namespace_};
    const struct kube_ref bindings = {.resource = &KUBE_ROLE_BINDINGS,
                                      .namespace_ = fixture->namespace_};
    fixture_create(
        fixture, &roles,
        "{\"apiVersion\":\"rbac.authorization.k8s.io/v1\",\"kind\":\"Role\",\"metadata\":{"
        "\"name\":\"example\"},\"rules\":[{\"apiGroups\":[\"\",\"coordination.k8s.io\","
        "\"events.k8s.io\"],\"resources\":[\"configmaps\",\"leases\",\"events\"],\"verbs\":["
        "\"*\"]}]}");
    fixture_create(
        fixture, &bindings,
        "{\"apiVersion\":\"rbac.authorization.k8s.io/v1\",\"kind\":\"RoleBinding\","
        "\"metadata\":{\"name\":\"example\"},\"roleRef\":{\"apiGroup\":"
        "\"rbac.authorization.k8s.io\",\"kind\":\"Role\",\"name\":\"example\"},\"subjects\":[{"
        "\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"User\",\"name\":\"%s\"}]}",
        user);
}

static void c31_missing_rights_show_within_ten_seconds_and_heal(void **state)
{
    struct fixture *fixture = *state;
    fixture_create_map(fixture, "a", "\"in\":\"one\"");
    int64_t begun_ms = clock_monotonic_ms();
    struct process process = start_as(fixture, "somebody");
    EVENTUALLY(process_page_says(fixture, &process, "/readyz", 503, "configmaps: Forbidden: "));
    EVENTUALLY(process_page_says(fixture, &process, "/readyz", 503, "\nlease: Forbidden: "));
    CHECK(clock_monotonic_ms() - begun_ms < 10000);
    CHECK(process_page_says(fixture, &process, "/healthz", 200, "ok"));
    CHECK(fixture_map_has(fixture, "a", "/data/out", ""));
    grant(fixture, "somebody");
    EVENTUALLY(fixture_map_has(fixture, "a", "/data/out", "one"));
    EVENTUALLY(process_is_ready(fixture, &process));
    process_stop(fixture, &process);
    AUTO(free) char *path = xasprintf("%s/kubeconfig", fixture->folder);
    CHECK_INT(unlink(path), 0);
}

static void set_rules(struct fixture *fixture, const char *resources)
{
    const struct kube_ref role = {
        .resource = &ROLES, .namespace_ = fixture->namespace_, .name = "example"};
    AUTO(free)
    char *patch = xasprintf("{\"rules\":[{\"apiGroups\":[\"\",\"coordination.k8s.io\","
                            "\"events.k8s.io\"],\"resources\":[%s],\"verbs\":[\"*\"]}]}",
                            resources);
    struct err err;
    CHECK_OK(kube_patch(fixture->client, NULL, &role, KUBE_PATCH_MERGE, "test", str_from(patch),
                        NULL, &err),
             &err);
}

static int64_t lists_of_cache(struct fixture *fixture, const struct process *process)
{
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    AUTO(json) json_t *caches = NULL;
    struct err err;
    CHECK_INT(process_page(fixture, process, "/debug/cache", &body), 200);
    CHECK_OK(js_parse(buf_str(&body), BODY_MAX_BYTES, &caches, &err), &err);
    return js_int_or(caches, "/0/lists", -1);
}

/* A watch is judged by the server when it begins; what tells that rights went is a write. */
static void c31_rights_that_are_taken_away_show_at_once_and_heal(void **state)
{
    struct fixture *fixture = *state;
    struct process process = start_as(fixture, "somebody");
    EVENTUALLY(process_page_says(fixture, &process, "/readyz", 503, "configmaps: Forbidden: "));
    grant(fixture, "somebody");
    EVENTUALLY(process_is_ready(fixture, &process));
    fixture_create_map(fixture, "a", "\"in\":\"one\",\"pause_ms\":\"2000\"");
    EVENTUALLY(
        process_page_says(fixture, &process, "/metrics", 200,
                          "\ncontroller_runtime_active_workers{controller=\"example\"} 1\n"));
    set_rules(fixture, "\"leases\",\"events\"");
    int64_t begun_ms = clock_monotonic_ms();
    EVENTUALLY(process_page_says(fixture, &process, "/readyz", 503, "configmaps: Forbidden: "));
    CHECK(clock_monotonic_ms() - begun_ms < 30000);
    set_rules(fixture, "\"configmaps\",\"leases\",\"events\"");
    EVENTUALLY(process_is_ready(fixture, &process));
    EVENTUALLY(fixture_map_has(fixture, "a", "/data/out", "one"));
    CHECK_INT(lists_of_cache(fixture, &process), 1); /* resumed, not listed again */
    process_stop(fixture, &process);
    AUTO(free) char *path = xasprintf("%s/kubeconfig", fixture->folder);
    CHECK_INT(unlink(path), 0);
}

static void an_address_in_use_ends_the_start_with_a_reason(void **state)
{
    struct fixture *fixture = *state;
    struct process first = process_start(fixture, "first");
    EVENTUALLY(process_is_ready(fixture, &first));
    const struct process_options options = {.port = first.port};
    struct process second = process_start_with(fixture, "second", &options);
    CHECK_INT(process_end(fixture, &second), EXIT_FAILURE);
    process_stop(fixture, &first);
}

int main(void)
{
    js_init();
    http_global_init();
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)
        TEST(it_reconciles_what_is_there_and_what_changes),
        TEST(c42_pages_show_what_it_does),
        TEST(its_own_finalizer_is_added_and_removed_and_nobody_elses),
        TEST(its_events_are_there_after_it_stopped),
        TEST(c47_a_stop_frees_the_lease_within_three_seconds),
        TEST(c47_the_next_one_takes_over_where_the_first_stopped),
        TEST(c46_a_process_that_slept_past_its_lease_ends_without_a_write),
        TEST(c41_a_running_reconcile_ends_before_the_process),
        TEST(c41_a_reconcile_that_does_not_end_is_canceled_after_its_grace),
        TEST(c41_a_second_signal_ends_it_at_once),
        TEST(c42_what_is_not_prepared_shows_and_heals),
        TEST(c31_missing_rights_show_within_ten_seconds_and_heal),
        TEST(c31_rights_that_are_taken_away_show_at_once_and_heal),
        TEST(an_address_in_use_ends_the_start_with_a_reason),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
