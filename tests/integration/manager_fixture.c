#include "tests/integration/manager_fixture.h"

#include <arpa/inet.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "controller/base/secret.h"
#include "tests/check.h"

extern char **environ;

/* ---- waiting ---- */

void fixture_pass_ms(int64_t duration_ms)
{
    if (!cancel_sleep_ms(NULL, duration_ms)) {
        abort(); /* nobody can cancel it */
    }
}

/* ---- objects ---- */

void fixture_create(struct fixture *fixture, const struct kube_ref *collection, const char *format,
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

struct kube_ref fixture_config_map(const struct fixture *fixture, const char *name)
{
    return (struct kube_ref){
        .resource = &KUBE_CONFIG_MAPS, .namespace_ = fixture->namespace_, .name = name};
}

/* data: JSON members. */
void fixture_create_map(struct fixture *fixture, const char *name, const char *data)
{
    const struct kube_ref collection = fixture_config_map(fixture, NULL);
    fixture_create(fixture, &collection,
                   "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"%s\","
                   "\"labels\":{\"example\":\"yes\"}},\"data\":{%s}}",
                   name, data);
}

void fixture_patch_map(struct fixture *fixture, const char *name, const char *json)
{
    const struct kube_ref ref = fixture_config_map(fixture, name);
    struct err err;
    CHECK_OK(kube_patch(fixture->client, NULL, &ref, KUBE_PATCH_MERGE, "test", str_from(json), NULL,
                        &err),
             &err);
}

/* The object as a tree that the caller decrefs; NULL when it is not there. */
json_t *fixture_fetch(struct fixture *fixture, const struct kube_ref *ref)
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

bool fixture_map_has(struct fixture *fixture, const char *name, const char *path, const char *value)
{
    const struct kube_ref ref = fixture_config_map(fixture, name);
    AUTO(json) json_t *object = fixture_fetch(fixture, &ref);
    return object && strcmp(js_text_or(object, path, ""), value) == 0;
}

bool fixture_map_is_gone(struct fixture *fixture, const char *name)
{
    const struct kube_ref ref = fixture_config_map(fixture, name);
    AUTO(json) json_t *object = fixture_fetch(fixture, &ref);
    return !object;
}

bool fixture_lease_is_free(struct fixture *fixture)
{
    const struct kube_ref ref = {
        .resource = &KUBE_LEASES, .namespace_ = fixture->namespace_, .name = "example"};
    AUTO(json) json_t *lease = fixture_fetch(fixture, &ref);
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

static void note_running(struct fixture *fixture, pid_t pid)
{
    size_t place = 0;
    while (fixture->running[place]) {
        place++;
        CHECK(place < ARRAY_COUNT(fixture->running));
    }
    fixture->running[place] = pid;
}

struct process process_start_with(struct fixture *fixture, const char *name,
                                  const struct process_options *options)
{
    struct process process = {.port = options->port ? options->port : free_port()};
    AUTO(free) char *address = xasprintf("127.0.0.1:%d", process.port);
    AUTO(free) char *before = xstrdup(getenv("KUBECONFIG"));
    const char *const arguments[] = {EXAMPLE_CONTROLLER,
                                     fixture->namespace_,
                                     options->no_election ? "-" : "example",
                                     address,
                                     name,
                                     options->prepared_file,
                                     NULL};
    if (options->kubeconfig) {
        CHECK_INT(setenv("KUBECONFIG", options->kubeconfig, 1), 0);
    }
    CHECK_INT(posix_spawn(&process.pid, EXAMPLE_CONTROLLER, NULL, NULL,
                          (char *const *)(uintptr_t)arguments, environ),
              0);
    CHECK_INT(setenv("KUBECONFIG", before, 1), 0);
    note_running(fixture, process.pid);
    return process;
}

struct process process_start(struct fixture *fixture, const char *name)
{
    const struct process_options options = {0};
    return process_start_with(fixture, name, &options);
}

static void forget(struct fixture *fixture, pid_t pid)
{
    for (size_t i = 0; i < ARRAY_COUNT(fixture->running); i++) {
        fixture->running[i] = fixture->running[i] == pid ? 0 : fixture->running[i];
    }
}

/* Wait for the end; returns the exit status, or 128 + the signal that ended it. */
int process_end(struct fixture *fixture, struct process *process)
{
    int status = 0;
    int64_t end_ms = clock_monotonic_ms() + WAIT_MS;
    pid_t ended = 0;
    while ((ended = waitpid(process->pid, &status, WNOHANG)) == 0) {
        if (clock_monotonic_ms() > end_ms) {
            fail_msg("the process did not end within %d ms", WAIT_MS);
        }
        fixture_pass_ms(10);
    }
    CHECK_INT(ended, process->pid);
    forget(fixture, process->pid);
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

void process_signal(const struct process *process, int signal_number)
{
    CHECK_INT(kill(process->pid, signal_number), 0);
}

void process_stop(struct fixture *fixture, struct process *process)
{
    process_signal(process, SIGTERM);
    CHECK_INT(process_end(fixture, process), 0);
}

/* A page of the process: its status, 0 when nobody listens (yet). */
int process_page(struct fixture *fixture, const struct process *process, const char *path,
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

bool process_page_says(struct fixture *fixture, const struct process *process, const char *path,
                       int status, const char *part)
{
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    return process_page(fixture, process, path, &body) == status &&
           strstr(buf_text(&body), part) != NULL;
}

bool process_is_ready(struct fixture *fixture, const struct process *process)
{
    return process_page_says(fixture, process, "/readyz", 200, "ok");
}

bool process_leads(struct fixture *fixture, const struct process *process)
{
    return process_page_says(fixture, process, "/metrics", 200,
                             "\nleader_election_master_status{name=\"example\"} 1\n");
}

/* ---- the fixture ---- */

int fixture_set_up(void **state)
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
    fixture_create(fixture, &namespaces,
                   "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"%s\"}}",
                   fixture->namespace_);
    *state = fixture;
    return 0;
}

int fixture_tear_down(void **state)
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
