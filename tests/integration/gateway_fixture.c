#include "tests/integration/gateway_fixture.h"

#include <arpa/inet.h>
#include <crypt.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "controller/base/cancel.h"
#include "controller/base/clock.h"
#include "controller/base/hash.h"
#include "controller/base/js.h"
#include "reconcilers/registry/registry.h"
#include "tests/check.h"
#include "tests/integration/postgres.h"

enum { START_MS = 20000, PATH_BYTES = 128, RETRY_MS = 20, ARGUMENTS_MAX = 32 };

#define REGISTRY "registry_of_database_test"
#define PASSWORD "gateway-test-password"

static char folder[] = "/tmp/tenantry-gateway-XXXXXX";
static int started;

static void write_file(const char *name, const char *text)
{
    char path[PATH_BYTES];

    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "we");
    if (!file || fputs(text, file) < 0 || fclose(file) != 0) {
        fail_msg("cannot write %s", path);
    }
}

void gateway_set_clock(int64_t offset_s)
{
    char text[32];

    (void)snprintf(text, sizeof(text), "%ld\n", (long)offset_s);
    write_file("clock", text);
}

/* ---- set-up ---- */

static void put_server(const struct fixture *fixture)
{
    AUTO(arena) struct arena arena = {0};
    struct reconcile rc = {.key = "primary", .arena = &arena};
    struct server_endpoint endpoint = {0};
    struct err err = {0};

    arena_init(&arena, 0);
    CHECK_OK(servers_endpoint(fixture->services.servers, NULL, &arena, "primary", &endpoint, &err),
             &err);
    const struct registry_server server = {
        .name = "primary",
        .host = endpoint.host,
        .port = endpoint.port,
        .sslmode = endpoint.sslmode,
        .ca_pem = endpoint.ca_pem,
        .target_session_attrs = "",
    };
    CHECK_OK(registry_server_put(fixture->services.registry, &rc, &server, &err), &err);
}

static void make_role(void)
{
    postgres_run(NULL, "DO $$ BEGIN CREATE ROLE tenantry_app; EXCEPTION WHEN duplicate_object "
                       "THEN NULL; END $$");
    postgres_run(NULL, "DO $$ BEGIN CREATE ROLE tenantry_gateway; EXCEPTION WHEN "
                       "duplicate_object THEN NULL; END $$");
    postgres_run(NULL, "ALTER ROLE tenantry_gateway LOGIN NOINHERIT PASSWORD '" PASSWORD "'");
    postgres_run(NULL, "GRANT tenantry_app TO tenantry_gateway");
}

int gateway_set_up(void **state)
{
    AUTO(secret) struct secret uri = {0};

    if (fixture_set_up(state)) {
        return -1;
    }
    make_role();
    put_server(*state);
    CHECK_NOT_NULL(mkdtemp(folder));
    postgres_uri(&uri, "dbname=" REGISTRY "&user=tenantry_gateway&password=" PASSWORD);
    write_file("registry-url", secret_bytes(&uri));
    write_file("password", PASSWORD "\n");
    write_file("sessions", "a-session-key-of-many-characters-0123\n");
    write_file("platform", GATEWAY_PLATFORM_TOKEN "\n");
    gateway_set_clock(0);
    return 0;
}

int gateway_tear_down(void **state)
{
    char path[PATH_BYTES];
    static const char *const names[] = {"registry-url", "password", "sessions", "platform",
                                        "clock"};

    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        (void)snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        (void)unlink(path);
    }
    for (int i = 1; i <= started; i++) {
        (void)snprintf(path, sizeof(path), "%s/log.%d", folder, i);
        (void)unlink(path);
    }
    (void)rmdir(folder);
    postgres_run(NULL, "ALTER ROLE tenantry_gateway NOLOGIN PASSWORD NULL");
    return fixture_tear_down(state);
}

struct sql_conn *gateway_registry(void)
{
    return postgres_connect("dbname=" REGISTRY);
}

/* ---- processes ---- */

static void run_gateway(const char *log, const char *const *more)
{
    char url[PATH_BYTES], password[PATH_BYTES], sessions[PATH_BYTES], platform[PATH_BYTES],
        clock[PATH_BYTES];
    int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)snprintf(url, sizeof(url), "--registry-url-file=%s/registry-url", folder);
    (void)snprintf(password, sizeof(password), "--password-file=%s/password", folder);
    (void)snprintf(sessions, sizeof(sessions), "--session-key-file=%s/sessions", folder);
    (void)snprintf(platform, sizeof(platform), "--platform-token-file=%s/platform", folder);
    (void)snprintf(clock, sizeof(clock), "--test-clock=%s/clock", folder);
    if (fd < 0 || dup2(fd, STDERR_FILENO) < 0) {
        _exit(126);
    }
    const char *arguments[ARGUMENTS_MAX] = {
        TENANTRY_GATEWAY, "--listen=127.0.0.1:0", "--metrics-address=", "--drain-delay=0s",
        "--drain-timeout=10s", "--log-format=text", "--threads=2",
        /* the files */
        url, password, sessions, platform, clock};
    size_t count = 0;
    while (arguments[count]) {
        count++;
    }
    for (size_t i = 0; more[i] && count < ARGUMENTS_MAX - 1; i++) {
        arguments[count++] = more[i];
    }
    (void)execv(TENANTRY_GATEWAY, (char *const *)arguments);
    _exit(127);
}

static int logged_port(const char *log)
{
    char text[4096] = "";
    FILE *file = fopen(log, "re");

    if (!file) {
        return 0;
    }
    text[fread(text, 1, sizeof(text) - 1, file)] = '\0';
    (void)fclose(file);
    const char *port = strstr(text, " port=");
    return port ? (int)strtol(port + strlen(" port="), NULL, 10) : 0;
}

void gateway_start_with(struct gateway_process *gateway, const char *const *more)
{
    char log[PATH_BYTES];
    int64_t until_ms = clock_monotonic_ms() + START_MS;

    (void)snprintf(log, sizeof(log), "%s/log.%d", folder, ++started);
    *gateway = (struct gateway_process){.pid = fork()};
    CHECK(gateway->pid >= 0);
    if (gateway->pid == 0) {
        run_gateway(log, more);
    }
    while ((gateway->port = logged_port(log)) == 0) {
        CHECK(clock_monotonic_ms() < until_ms);
        CHECK(cancel_sleep_ms(NULL, RETRY_MS));
    }
}

void gateway_wait_ready(const struct gateway_process *gateway)
{
    struct reply reply = {0};
    int64_t until_ms = clock_monotonic_ms() + START_MS;

    do {
        CHECK(clock_monotonic_ms() < until_ms);
        http_once(gateway, "GET", "x", "/readyz", NULL, NULL, &reply);
    } while (reply.status != 200 && cancel_sleep_ms(NULL, RETRY_MS));
}

void gateway_start(struct gateway_process *gateway)
{
    static const char *const nothing_more[] = {NULL};

    gateway_start_with(gateway, nothing_more);
    gateway_wait_ready(gateway);
}

void gateway_stop(struct gateway_process *gateway)
{
    int status = 0;

    CHECK_INT(kill(gateway->pid, SIGTERM), 0);
    CHECK_INT(waitpid(gateway->pid, &status, 0), gateway->pid);
    CHECK(WIFEXITED(status));
    CHECK_INT(WEXITSTATUS(status), 0);
}

void gateway_kill(struct gateway_process *gateway)
{
    CHECK_INT(kill(gateway->pid, SIGKILL), 0);
    CHECK_INT(waitpid(gateway->pid, NULL, 0), gateway->pid);
}

/* ---- tenants ---- */

char *gateway_tenant(const struct fixture *fixture, const char *name, int64_t limit)
{
    return gateway_tenant_in(fixture, ISOLATION_DATABASE, name, limit);
}

char *gateway_tenant_in(const struct fixture *fixture, enum isolation isolation, const char *name,
                        int64_t limit)
{
    AUTO(run) struct run run = {0};
    AUTO(buf) struct buf more = BUF(200);
    AUTO(sql_conn) struct sql_conn *registry = gateway_registry();
    struct crypt_data data = {0};
    char hash[SHA256_TEXT_BYTES];
    char key[64];
    struct tenant tenant = fixture_tenant(name, name);

    tenant.isolation = isolation;
    run_provision(&run, fixture, &tenant);
    const char *id = run.work.tenant_id;
    const char *schema = run.work.place.schema;
    CHECK(buf_printf(&more, "dbname=%s", run.work.place.database));
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect(buf_text(&more));
    (void)snprintf(key, sizeof(key), "key-of-%s", name);
    hash_sha256_text(str_from(key), hash);
    postgres_run(conn,
                 "INSERT INTO %s.users (tenant_id, email, full_name, role, password_hash, "
                 "must_change_password) VALUES ('%s', 'alice@%s.com', 'Alice', 'owner', '%s', "
                 "true)",
                 schema, id, name,
                 crypt_r("first password", "$2b$04$abcdefghijklmnopqrstuu", &data));
    postgres_run(conn,
                 "INSERT INTO %s.api_keys (tenant_id, user_id, key_hash) SELECT tenant_id, id, "
                 "'%s' FROM %s.users WHERE tenant_id = '%s'",
                 schema, hash, schema, id);
    postgres_run(registry,
                 "INSERT INTO public.tenant_quotas (tenant_id, resource_type, quota_limit) VALUES "
                 "('%s', 'api_requests', %ld), ('%s', 'users', 5), ('%s', 'sandboxes', 2)",
                 id, (long)limit, id, id);
    return xstrdup(id);
}

char *gateway_log_in(const struct gateway_process *gateway, const char *tenant,
                     const char *password, bool must_change)
{
    AUTO(json) json_t *json = NULL;
    AUTO(buf) struct buf body = BUF(200);
    struct reply reply = {0};
    struct err err;

    CHECK(buf_printf(&body, "{\"email\":\"Alice@%s.com\",\"password\":\"%s\"}", tenant, password));
    http_once(gateway, "POST", tenant, "/api/login", NULL, buf_text(&body), &reply);
    CHECK_INT(reply.status, 200);
    CHECK_OK(js_parse(str_from(reply.body), sizeof(reply.body), &json, &err), &err);
    CHECK_INT(js_bool_or(json, "/must_change_password", false), must_change);
    CHECK_INT(strlen(js_text_or(json, "/expires_at", "")), strlen("2026-01-01T00:00:00Z"));
    return xstrdup(js_text_or(json, "/token", ""));
}

int64_t gateway_used(const char *tenant_id)
{
    AUTO(sql_conn) struct sql_conn *registry = gateway_registry();

    return postgres_int(registry,
                        "SELECT current_usage FROM public.tenant_quotas WHERE "
                        "resource_type = 'api_requests' AND tenant_id = '%s'",
                        tenant_id);
}

/* ---- HTTP ---- */

int http_open(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct timeval patience = {.tv_sec = 30};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        fail_msg("no socket");
        return -1;
    }
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

/* Until the head is whole, and as much of the body as it promises. */
static bool receive(int fd, struct reply *ret)
{
    char text[sizeof(ret->head) + sizeof(ret->body)] = "";
    size_t length = 0;

    for (;;) {
        const char *end = strstr(text, "\r\n\r\n");
        if (end) {
            const char *field = strcasestr(text, "Content-Length: ");
            size_t wanted =
                field && field < end ? strtoul(field + strlen("Content-Length: "), NULL, 10) : 0;
            size_t head = (size_t)(end + 4 - text);
            if (length >= head + wanted) {
                ret->status = (int)strtol(text + strlen("HTTP/1.1 "), NULL, 10);
                (void)snprintf(ret->head, sizeof(ret->head), "%.*s", (int)head, text);
                (void)snprintf(ret->body, sizeof(ret->body), "%.*s", (int)wanted, text + head);
                return true;
            }
        }
        ssize_t count = recv(fd, text + length, sizeof(text) - 1 - length, 0);
        if (count <= 0) {
            return false;
        }
        length += (size_t)count;
    }
}

bool http_ask(int fd, const char *method, const char *tenant, const char *path, const char *token,
              const char *body, struct reply *ret)
{
    char text[4096];
    int length =
        snprintf(text, sizeof(text),
                 "%s %s HTTP/1.1\r\nHost: %s.tenants.localhost\r\n%s%s%s"
                 "Content-Length: %zu\r\n\r\n%s",
                 method, path, tenant, token ? "Authorization: Bearer " : "", token ? token : "",
                 token ? "\r\n" : "", body ? strlen(body) : 0, body ? body : "");

    return fd >= 0 && send(fd, text, (size_t)length, MSG_NOSIGNAL) == length && receive(fd, ret);
}

void http_once(const struct gateway_process *gateway, const char *method, const char *tenant,
               const char *path, const char *token, const char *body, struct reply *ret)
{
    AUTO(fd) int fd = http_open(gateway->port);

    CHECK(fd >= 0);
    CHECK(http_ask(fd, method, tenant, path, token, body, ret));
}

void http_until(const struct gateway_process *gateway, const char *tenant, const char *token,
                int status, int64_t limit_ms)
{
    int64_t until_ms = clock_monotonic_ms() + limit_ms;
    struct reply reply = {0};

    for (;;) {
        http_once(gateway, "GET", tenant, "/authz", token, NULL, &reply);
        if (reply.status == status) {
            return;
        }
        if (clock_monotonic_ms() > until_ms) {
            fail_msg("%s: still %d and not %d after %ld ms", tenant, reply.status, status,
                     (long)limit_ms);
        }
        CHECK(cancel_sleep_ms(NULL, RETRY_MS));
    }
}
