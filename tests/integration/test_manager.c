/* A controller process from its start to its end, against a real kube-apiserver: it reconciles, it
 * says why it is not ready, it leaves its lease behind for the next one, and it never writes once
 * it may no longer. Each test has a namespace of its own. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "controller/base/buf.h"
#include "controller/base/cancel.h"
#include "controller/base/clock.h"
#include "controller/base/js.h"
#include "controller/base/secret.h"
#include "controller/kube/api.h"
#include "controller/kube/config.h"
#include "controller/net/http_client.h"
#include "tests/check.h"

extern char **environ;

enum { BODY_MAX_BYTES = 4 << 20, WAIT_MS = 60000 };

static const struct kube_resource ROLES = {"rbac.authorization.k8s.io", "v1", "roles", "Role",
                                           true};

/* One namespace, an administrator's client there, and a client for the processes' pages. */
struct fixture {
    struct kube_config config;
    struct kube_client *client;
    struct http_client *pages;
    char namespace_[32];
    char folder[64];
    pid_t running[4]; /* what a failed test leaves to be killed */
};

struct process {
    pid_t pid;
    int port;
};

/* ---- waiting ---- */

static void pass_ms(int64_t duration_ms)
{
    if (!cancel_sleep_ms(NULL, duration_ms)) {
        abort(); /* nobody can cancel it */
    }
}

#define EVENTUALLY(condition)                                                                      \
    do {                                                                                           \
        int64_t eventually_end_ms_ = clock_monotonic_ms() + WAIT_MS;                               \
        while (!(condition)) {                                                                     \
            if (clock_monotonic_ms() > eventually_end_ms_) {                                       \
                fail_msg("%s did not come true within %d ms", #condition, WAIT_MS);                \
            }                                                                                      \
            pass_ms(20);                                                                           \
        }                                                                                          \
    } while (0)

/* ---- objects ---- */

static void create(struct fixture *fixture, const struct kube_ref *collection, const char *format,
                   ...) PRINTF_LIKE(3, 4);
static void create(struct fixture *fixture, const struct kube_ref *collection, const char *format,
                   ...)
{
    AUTO(buf) struct buf json = BUF(BODY_MAX_BYTES);
    struct err err;
    va_list arguments;
    va_start(arguments, format);
    buf_vprintf(&json, format, arguments);
    va_end(arguments);
    CHECK_OK(kube_create(fixture->client, NULL, collection, buf_str(&json), NULL, &err), &err);
}

static struct kube_ref config_map(const struct fixture *fixture, const char *name)
{
    return (struct kube_ref){
        .resource = &KUBE_CONFIG_MAPS, .namespace_ = fixture->namespace_, .name = name};
}

/* data: JSON members. */
static void create_map(struct fixture *fixture, const char *name, const char *data)
{
    const struct kube_ref collection = config_map(fixture, NULL);
    create(fixture, &collection,
           "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"%s\","
           "\"labels\":{\"example\":\"yes\"}},\"data\":{%s}}",
           name, data);
}

static void patch_map(struct fixture *fixture, const char *name, const char *json)
{
    const struct kube_ref ref = config_map(fixture, name);
    struct err err;
    CHECK_OK(kube_patch(fixture->client, NULL, &ref, KUBE_PATCH_MERGE, "test", str_from(json), NULL,
                        &err),
             &err);
}

/* The object as a tree that the caller decrefs; NULL when it is not there. */
static json_t *fetch(struct fixture *fixture, const struct kube_ref *ref)
{
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    struct err err;
    json_t *object = NULL;
    if (kube_get(fixture->client, NULL, ref, &body, &err) != 0) {
        CHECK_INT(err.cls, ERR_NOT_FOUND);
        return NULL;
    }
    CHECK_OK(js_parse(buf_str(&body), BODY_MAX_BYTES, &object, &err), &err);
    return object;
}

static bool map_has(struct fixture *fixture, const char *name, const char *path, const char *value)
{
    const struct kube_ref ref = config_map(fixture, name);
    AUTO(json) json_t *object = fetch(fixture, &ref);
    return object && strcmp(js_text_or(object, path, ""), value) == 0;
}

static bool map_is_gone(struct fixture *fixture, const char *name)
{
    const struct kube_ref ref = config_map(fixture, name);
    AUTO(json) json_t *object = fetch(fixture, &ref);
    return !object;
}

static bool lease_is_free(struct fixture *fixture)
{
    const struct kube_ref ref = {
        .resource = &KUBE_LEASES, .namespace_ = fixture->namespace_, .name = "example"};
    AUTO(json) json_t *lease = fetch(fixture, &ref);
    return !lease || js_text_or(lease, "/spec/holderIdentity", "")[0] == '\0';
}

/* ---- processes ---- */

/* A port that was free a moment ago. */
static int free_port(void)
{
    AUTO(fd) int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    if (fd < 0) {
        fail_msg("no socket");
        return 0;
    }
    CHECK_INT(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    CHECK_INT(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    return ntohs(address.sin_port);
}

static struct process start_at(struct fixture *fixture, int port, const char *name,
                               const char *prepared_file)
{
    struct process process = {.port = port};
    AUTO(free) char *address = xasprintf("127.0.0.1:%d", port);
    const char *const arguments[] = {
        EXAMPLE_CONTROLLER, fixture->namespace_, "example", address, name, prepared_file, NULL};
    CHECK_INT(posix_spawn(&process.pid, EXAMPLE_CONTROLLER, NULL, NULL,
                          (char *const *)(uintptr_t)arguments, environ),
              0);
    size_t place = 0;
    while (fixture->running[place]) {
        place++;
        CHECK(place < ARRAY_COUNT(fixture->running));
    }
    fixture->running[place] = process.pid;
    return process;
}

static struct process start(struct fixture *fixture, const char *name)
{
    return start_at(fixture, free_port(), name, NULL);
}

static void forget(struct fixture *fixture, pid_t pid)
{
    for (size_t i = 0; i < ARRAY_COUNT(fixture->running); i++) {
        fixture->running[i] = fixture->running[i] == pid ? 0 : fixture->running[i];
    }
}

/* Wait for the end; returns the exit status, or 128 + the signal that ended it. */
static int end_of(struct fixture *fixture, struct process *process)
{
    int status = 0;
    int64_t end_ms = clock_monotonic_ms() + WAIT_MS;
    pid_t ended = 0;
    while ((ended = waitpid(process->pid, &status, WNOHANG)) == 0) {
        if (clock_monotonic_ms() > end_ms) {
            fail_msg("the process did not end within %d ms", WAIT_MS);
        }
        pass_ms(10);
    }
    CHECK_INT(ended, process->pid);
    forget(fixture, process->pid);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void tell(const struct process *process, int signal_number)
{
    CHECK_INT(kill(process->pid, signal_number), 0);
}

static void stop(struct fixture *fixture, struct process *process)
{
    tell(process, SIGTERM);
    CHECK_INT(end_of(fixture, process), 0);
}

/* A page of the process: its status, 0 when nobody listens (yet). */
static int page(struct fixture *fixture, const struct process *process, const char *path,
                struct buf *ret_body)
{
    AUTO(free) char *url = xasprintf("http://127.0.0.1:%d%s", process->port, path);
    const struct http_request request = {.method = "GET", .url = url, .timeout_ms = 10000};
    AUTO(http_response) struct http_response response = {0};
    struct err err;
    if (http_client_perform(fixture->pages, NULL, &request, &response, &err) != 0) {
        return 0;
    }
    buf_clear(ret_body);
    buf_append_str(ret_body, buf_str(&response.body));
    return response.status;
}

static bool page_says(struct fixture *fixture, const struct process *process, const char *path,
                      int status, const char *part)
{
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    return page(fixture, process, path, &body) == status && strstr(buf_text(&body), part) != NULL;
}

static bool is_ready(struct fixture *fixture, const struct process *process)
{
    return page_says(fixture, process, "/readyz", 200, "ok");
}

static bool leads(struct fixture *fixture, const struct process *process)
{
    return page_says(fixture, process, "/metrics", 200,
                     "\nleader_election_master_status{name=\"example\"} 1\n");
}

/* ---- the fixture ---- */

static int set_up(void **state)
{
    struct fixture *fixture = xcalloc(1, sizeof(*fixture));
    char uuid[UUID_TEXT_BYTES];
    struct err err;
    random_uuid(uuid);
    (void)snprintf(fixture->namespace_, sizeof(fixture->namespace_), "manager-%.8s", uuid);
    (void)snprintf(fixture->folder, sizeof(fixture->folder), "/tmp/tenantry-manager-XXXXXX");
    CHECK_OK(kube_config_load(NULL, NULL, &fixture->config, &err), &err);
    CHECK_NOT_NULL(mkdtemp(fixture->folder));
    const struct kube_client_config client_config = {.name = "test"};
    CHECK_OK(kube_client_new(&fixture->config, &client_config, &fixture->client, &err), &err);
    const struct http_client_config pages_config = {.name = "pages", .user_agent = "test"};
    CHECK_OK(http_client_new(&pages_config, NULL, &fixture->pages, &err), &err);
    const struct kube_ref namespaces = {.resource = &KUBE_NAMESPACES};
    create(fixture, &namespaces,
           "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"%s\"}}",
           fixture->namespace_);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    struct err err;
    for (size_t i = 0; i < ARRAY_COUNT(fixture->running); i++) {
        if (fixture->running[i]) {
            (void)kill(fixture->running[i], SIGKILL);
            (void)waitpid(fixture->running[i], NULL, 0);
        }
    }
    const struct kube_ref ref = {.resource = &KUBE_NAMESPACES, .name = fixture->namespace_};
    CHECK_OK(kube_delete(fixture->client, NULL, &ref, NULL, NULL, &err), &err);
    http_client_free(fixture->pages);
    kube_client_free(fixture->client);
    kube_config_release(&fixture->config);
    CHECK_INT(rmdir(fixture->folder), 0);
    free(fixture);
    return 0;
}

/* ---- tests ---- */

static void it_reconciles_what_is_there_and_what_changes(void **state)
{
    struct fixture *fixture = *state;
    create_map(fixture, "before", "\"in\":\"one\"");
    struct process process = start(fixture, "first");
    EVENTUALLY(map_has(fixture, "before", "/data/out", "one"));
    create_map(fixture, "after", "\"in\":\"two\"");
    EVENTUALLY(map_has(fixture, "after", "/data/out", "two"));
    patch_map(fixture, "before", "{\"data\":{\"in\":\"three\"}}");
    EVENTUALLY(map_has(fixture, "before", "/data/out", "three"));
    patch_map(fixture, "before", "{\"data\":{\"out\":\"spoilt\"}}");
    EVENTUALLY(map_has(fixture, "before", "/data/out", "three"));
    CHECK(map_has(fixture, "before", "/data/by", "first"));
    stop(fixture, &process);
}

static void pages_show_what_it_does(void **state)
{
    struct fixture *fixture = *state;
    create_map(fixture, "a", "\"in\":\"one\"");
    struct process process = start(fixture, "first");
    EVENTUALLY(map_has(fixture, "a", "/data/out", "one"));
    EVENTUALLY(is_ready(fixture, &process));
    CHECK(page_says(fixture, &process, "/healthz", 200, "ok"));
    CHECK(leads(fixture, &process));
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
        if (!page_says(fixture, &process, "/metrics", 200, series[i])) {
            fail_msg("/metrics lacks %s", series[i]);
        }
    }
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    struct err err;
    CHECK_INT(page(fixture, &process, "/debug/queue", &body), 200);
    AUTO(json) json_t *queues = NULL;
    CHECK_OK(js_parse(buf_str(&body), BODY_MAX_BYTES, &queues, &err), &err);
    CHECK_TEXT(js_text_or(queues, "/0/name", ""), "example");
    CHECK_INT(page(fixture, &process, "/debug/cache", &body), 200);
    AUTO(json) json_t *caches = NULL;
    CHECK_OK(js_parse(buf_str(&body), BODY_MAX_BYTES, &caches, &err), &err);
    CHECK_TEXT(js_text_or(caches, "/0/resource", ""), "configmaps");
    CHECK(js_bool_or(caches, "/0/synced", false));
    CHECK(js_bool_or(caches, "/0/healthy", false));
    CHECK_INT(js_int_or(caches, "/0/objects", -1), 1);
    CHECK_INT(page(fixture, &process, "/nothing", &body), 404);
    stop(fixture, &process);
}

static void its_own_finalizer_is_added_and_removed_and_nobody_elses(void **state)
{
    struct fixture *fixture = *state;
    struct process process = start(fixture, "first");
    create_map(fixture, "held", "\"in\":\"x\",\"finalize\":\"yes\"");
    EVENTUALLY(map_has(fixture, "held", "/metadata/finalizers/0", "example.test/finalizer"));
    patch_map(fixture, "held",
              "{\"metadata\":{\"finalizers\":[\"test.test/a\",\"example.test/finalizer\","
              "\"test.test/b\"]}}");
    const struct kube_ref ref = config_map(fixture, "held");
    struct err err;
    CHECK_OK(kube_delete(fixture->client, NULL, &ref, NULL, NULL, &err), &err);
    EVENTUALLY(map_has(fixture, "held", "/metadata/finalizers/1", "test.test/b"));
    CHECK(map_has(fixture, "held", "/metadata/finalizers/0", "test.test/a"));
    patch_map(fixture, "held", "{\"metadata\":{\"finalizers\":null}}");
    EVENTUALLY(map_is_gone(fixture, "held"));

    create_map(fixture, "free", "\"in\":\"x\",\"finalize\":\"yes\"");
    EVENTUALLY(map_has(fixture, "free", "/metadata/finalizers/0", "example.test/finalizer"));
    const struct kube_ref second = config_map(fixture, "free");
    CHECK_OK(kube_delete(fixture->client, NULL, &second, NULL, NULL, &err), &err);
    EVENTUALLY(map_is_gone(fixture, "free"));
    stop(fixture, &process);
}

static void its_events_are_there_after_it_stopped(void **state)
{
    struct fixture *fixture = *state;
    create_map(fixture, "a", "\"in\":\"one\"");
    struct process process = start(fixture, "first");
    EVENTUALLY(map_has(fixture, "a", "/data/out", "one"));
    stop(fixture, &process);
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    struct err err;
    const struct kube_ref events = {.resource = &KUBE_EVENTS, .namespace_ = fixture->namespace_};
    CHECK_OK(kube_get(fixture->client, NULL, &events, &body, &err), &err);
    CHECK_NOT_NULL(strstr(buf_text(&body), "\"note\":\"copied one\""));
    CHECK_NOT_NULL(strstr(buf_text(&body), "\"reportingController\":\"tenantry.dev/controller\""));
}

static void a_stop_frees_the_lease_within_three_seconds(void **state)
{
    struct fixture *fixture = *state;
    struct process process = start(fixture, "first");
    EVENTUALLY(leads(fixture, &process));
    CHECK(!lease_is_free(fixture));
    int64_t begun_ms = clock_monotonic_ms();
    stop(fixture, &process);
    CHECK(clock_monotonic_ms() - begun_ms < 3000);
    CHECK(lease_is_free(fixture));
}

static void the_next_one_takes_over_where_the_first_stopped(void **state)
{
    struct fixture *fixture = *state;
    struct process first = start(fixture, "first");
    EVENTUALLY(leads(fixture, &first));
    struct process second = start(fixture, "second");
    EVENTUALLY(is_ready(fixture, &second)); /* a standby is ready, and does nothing */
    create_map(fixture, "a", "\"in\":\"one\"");
    EVENTUALLY(map_has(fixture, "a", "/data/by", "first"));
    CHECK(!leads(fixture, &second));

    int64_t begun_ms = clock_monotonic_ms();
    stop(fixture, &first);
    EVENTUALLY(leads(fixture, &second));
    CHECK(clock_monotonic_ms() - begun_ms < 6000); /* its retry period is 2 to 2.4 s */
    create_map(fixture, "b", "\"in\":\"two\"");
    EVENTUALLY(map_has(fixture, "b", "/data/by", "second"));
    CHECK(map_has(fixture, "a", "/data/by", "first")); /* nothing done twice */
    stop(fixture, &second);
}

static void a_process_that_slept_past_its_lease_ends_without_a_write(void **state)
{
    struct fixture *fixture = *state;
    struct process first = start(fixture, "first");
    EVENTUALLY(leads(fixture, &first));
    struct process second = start(fixture, "second");
    EVENTUALLY(is_ready(fixture, &second));
    create_map(fixture, "a", "\"in\":\"one\"");
    EVENTUALLY(map_has(fixture, "a", "/data/by", "first"));

    tell(&first, SIGSTOP);
    EVENTUALLY(leads(fixture, &second));
    /* The first one finds this change waiting in its socket when it wakes up. */
    patch_map(fixture, "a", "{\"data\":{\"in\":\"two\"}}");
    EVENTUALLY(map_has(fixture, "a", "/data/by", "second"));
    patch_map(fixture, "a", "{\"data\":{\"pause_ms\":\"5000\",\"in\":\"three\"}}");
    tell(&first, SIGCONT);
    CHECK_INT(end_of(fixture, &first), 1);
    EVENTUALLY(map_has(fixture, "a", "/data/out", "three"));
    CHECK(map_has(fixture, "a", "/data/by", "second"));
    stop(fixture, &second);
}

static void a_running_reconcile_ends_before_the_process(void **state)
{
    struct fixture *fixture = *state;
    struct process process = start(fixture, "first");
    EVENTUALLY(is_ready(fixture, &process));
    create_map(fixture, "slow", "\"in\":\"one\",\"pause_ms\":\"1500\"");
    EVENTUALLY(page_says(fixture, &process, "/metrics", 200,
                         "\ncontroller_runtime_active_workers{controller=\"example\"} 1\n"));
    tell(&process, SIGTERM);
    EVENTUALLY(!is_ready(fixture, &process));
    CHECK_INT(end_of(fixture, &process), 0);
    CHECK(map_has(fixture, "slow", "/data/out", "one"));
    CHECK(lease_is_free(fixture));
}

static void a_reconcile_that_does_not_end_is_canceled_after_its_grace(void **state)
{
    struct fixture *fixture = *state;
    struct process process = start(fixture, "first");
    EVENTUALLY(is_ready(fixture, &process));
    create_map(fixture, "slow", "\"in\":\"one\",\"pause_ms\":\"600000\"");
    EVENTUALLY(page_says(fixture, &process, "/metrics", 200,
                         "\ncontroller_runtime_active_workers{controller=\"example\"} 1\n"));
    int64_t begun_ms = clock_monotonic_ms();
    stop(fixture, &process);
    CHECK(clock_monotonic_ms() - begun_ms >= 19000);
    CHECK(clock_monotonic_ms() - begun_ms < 29000);
    CHECK(!map_has(fixture, "slow", "/data/out", "one"));
    CHECK(lease_is_free(fixture));
}

static void a_second_signal_ends_it_at_once(void **state)
{
    struct fixture *fixture = *state;
    struct process process = start(fixture, "first");
    EVENTUALLY(is_ready(fixture, &process));
    create_map(fixture, "slow", "\"in\":\"one\",\"pause_ms\":\"15000\"");
    EVENTUALLY(page_says(fixture, &process, "/metrics", 200,
                         "\ncontroller_runtime_active_workers{controller=\"example\"} 1\n"));
    int64_t begun_ms = clock_monotonic_ms();
    tell(&process, SIGTERM);
    EVENTUALLY(page_says(fixture, &process, "/readyz", 503, "stopping"));
    tell(&process, SIGTERM);
    CHECK_INT(end_of(fixture, &process), 128 + SIGTERM);
    CHECK(clock_monotonic_ms() - begun_ms < 10000);
    CHECK(map_has(fixture, "slow", "/data/in", "one"));
    CHECK(!map_has(fixture, "slow", "/data/out", "one"));
}

static void what_is_not_prepared_shows_and_heals(void **state)
{
    struct fixture *fixture = *state;
    AUTO(free) char *file = xasprintf("%s/prepared", fixture->folder);
    create_map(fixture, "a", "\"in\":\"one\"");
    struct process process = start_at(fixture, free_port(), "first", file);
    EVENTUALLY(page_says(fixture, &process, "/readyz", 503, "prepare: NotPrepared: "));
    CHECK(page_says(fixture, &process, "/healthz", 200, "ok"));
    CHECK(map_has(fixture, "a", "/data/out", "")); /* no worker before it is prepared */
    AUTO(fd) int fd = open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    EVENTUALLY(map_has(fixture, "a", "/data/out", "one"));
    EVENTUALLY(is_ready(fixture, &process));
    CHECK_INT(unlink(file), 0);
    stop(fixture, &process);
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
    AUTO(free) char *before = xstrdup(getenv("KUBECONFIG"));
    CHECK_INT(setenv("KUBECONFIG", path, 1), 0);
    struct process process = start(fixture, "first");
    CHECK_INT(setenv("KUBECONFIG", before, 1), 0);
    return process;
}

static void grant(struct fixture *fixture, const char *user)
{
    const struct kube_ref roles = {.resource = &ROLES, .namespace_ = fixture->namespace_};
    const struct kube_ref bindings = {.resource = &KUBE_ROLE_BINDINGS,
                                      .namespace_ = fixture->namespace_};
    create(fixture, &roles,
           "{\"apiVersion\":\"rbac.authorization.k8s.io/v1\",\"kind\":\"Role\",\"metadata\":{"
           "\"name\":\"example\"},\"rules\":[{\"apiGroups\":[\"\",\"coordination.k8s.io\","
           "\"events.k8s.io\"],\"resources\":[\"configmaps\",\"leases\",\"events\"],\"verbs\":["
           "\"*\"]}]}");
    create(fixture, &bindings,
           "{\"apiVersion\":\"rbac.authorization.k8s.io/v1\",\"kind\":\"RoleBinding\","
           "\"metadata\":{\"name\":\"example\"},\"roleRef\":{\"apiGroup\":"
           "\"rbac.authorization.k8s.io\",\"kind\":\"Role\",\"name\":\"example\"},\"subjects\":[{"
           "\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"User\",\"name\":\"%s\"}]}",
           user);
}

static void missing_rights_show_within_ten_seconds_and_heal(void **state)
{
    struct fixture *fixture = *state;
    create_map(fixture, "a", "\"in\":\"one\"");
    int64_t begun_ms = clock_monotonic_ms();
    struct process process = start_as(fixture, "somebody");
    EVENTUALLY(page_says(fixture, &process, "/readyz", 503, "configmaps: Forbidden: "));
    EVENTUALLY(page_says(fixture, &process, "/readyz", 503, "\nlease: Forbidden: "));
    CHECK(clock_monotonic_ms() - begun_ms < 10000);
    CHECK(page_says(fixture, &process, "/healthz", 200, "ok"));
    CHECK(map_has(fixture, "a", "/data/out", ""));
    grant(fixture, "somebody");
    EVENTUALLY(map_has(fixture, "a", "/data/out", "one"));
    EVENTUALLY(is_ready(fixture, &process));
    stop(fixture, &process);
    AUTO(free) char *path = xasprintf("%s/kubeconfig", fixture->folder);
    CHECK_INT(unlink(path), 0);
}

static void an_address_in_use_ends_the_start_with_a_reason(void **state)
{
    struct fixture *fixture = *state;
    struct process first = start(fixture, "first");
    EVENTUALLY(is_ready(fixture, &first));
    struct process second = start_at(fixture, first.port, "second", NULL);
    CHECK_INT(end_of(fixture, &second), EXIT_FAILURE);
    stop(fixture, &first);
}

int main(void)
{
    js_init();
    http_global_init();
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
        TEST(it_reconciles_what_is_there_and_what_changes),
        TEST(pages_show_what_it_does),
        TEST(its_own_finalizer_is_added_and_removed_and_nobody_elses),
        TEST(its_events_are_there_after_it_stopped),
        TEST(a_stop_frees_the_lease_within_three_seconds),
        TEST(the_next_one_takes_over_where_the_first_stopped),
        TEST(a_process_that_slept_past_its_lease_ends_without_a_write),
        TEST(a_running_reconcile_ends_before_the_process),
        TEST(a_reconcile_that_does_not_end_is_canceled_after_its_grace),
        TEST(a_second_signal_ends_it_at_once),
        TEST(what_is_not_prepared_shows_and_heals),
        TEST(missing_rights_show_within_ten_seconds_and_heal),
        TEST(an_address_in_use_ends_the_start_with_a_reason),
#undef TEST
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
