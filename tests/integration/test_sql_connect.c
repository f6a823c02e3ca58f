/* Connecting: by name and address, with TLS that is checked, past hosts that are dead or silent,
 * and never longer than the caller has time. */
#include "tests/check.h"
#include "tests/integration/postgres.h"
#include "tests/support/pki.h"
#include "tests/support/relay.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "controller/base/clock.h"
#include "reconcilers/drivers/sql_internal.h"

enum { AT_ONCE_MS = 2000, CA_MAX_BYTES = 64 * 1024 };

struct server {
    int port;
    struct secret password;
    struct secret ca;
};

static int set_up(void **state)
{
    struct server *server = xcalloc(1, sizeof(*server));
    AUTO(secret) struct secret uri = {0};
    struct err err = {0};
    char *complaint = NULL;

    postgres_uri(&uri, "");
    PQconninfoOption *options = PQconninfoParse(secret_bytes(&uri), &complaint);
    CHECK_NOT_NULL(options);
    for (PQconninfoOption *option = options; option->keyword; option++) {
        if (strcmp(option->keyword, "port") == 0) {
            server->port = (int)strtol(option->val, NULL, 10);
        } else if (strcmp(option->keyword, "password") == 0) {
            secret_set(&server->password, str_from(option->val));
        } else if (strcmp(option->keyword, "sslrootcert") == 0) {
            CHECK_OK(secret_read_file(&server->ca, option->val, CA_MAX_BYTES, &err), &err);
        }
    }
    PQconninfoFree(options);
    *state = server;
    return 0;
}

static int tear_down(void **state)
{
    struct server *server = *state;

    postgres_done();
    secret_release(&server->password);
    secret_release(&server->ca);
    free(server);
    return 0;
}

static struct sql_target target_of(const struct server *server, const char *const *hosts,
                                   size_t count)
{
    return (struct sql_target){
        .hosts = hosts,
        .host_count = count,
        .port = server->port,
        .database = "postgres",
        .user = "postgres",
        .password = &server->password,
        .sslmode = "verify-full",
        .ca_pem = secret_bytes(&server->ca),
    };
}

static int try_target(const struct sql_target *target, const struct call *call, struct err *err)
{
    struct sql_conn *conn = NULL;
    int result = sql_connect(call, target, &conn, err);

    if (result == 0) {
        sql_close(conn);
    }
    return result;
}

static int open_files(void)
{
    DIR *folder = opendir("/proc/self/fd");
    int count = 0;

    while (folder && readdir(folder)) {
        count++;
    }
    CHECK_NOT_NULL(folder);
    if (folder) {
        (void)closedir(folder);
    }
    return count;
}

/* ---- what a session is like ---- */

static void a_session_has_our_settings(void **state)
{
    static const char *const hosts[] = {"127.0.0.1"};
    static const char *const settings[][2] = {
        {"search_path", "pg_catalog"},
        {"statement_timeout", "1500ms"},
        {"lock_timeout", "700ms"},
        {"idle_in_transaction_session_timeout", "1min"},
        {"standard_conforming_strings", "on"},
        {"client_encoding", "UTF8"},
        {"application_name", "tenantry"},
        {"TimeZone", "UTC"},
    };
    struct sql_target target = target_of(*state, hosts, 1);
    AUTO(sql_conn) struct sql_conn *conn = NULL;
    struct call call = {0};
    struct err err = {0};

    target.statement_timeout_ms = 1500;
    target.lock_timeout_ms = 700;
    CHECK_OK(sql_connect(&call, &target, &conn, &err), &err);
    for (size_t i = 0; i < ARRAY_COUNT(settings); i++) {
        AUTO(free)
        char *value = postgres_text(conn, "SELECT current_setting('%s')", settings[i][0]);
        CHECK_TEXT(value, settings[i][1]);
    }
    CHECK_INT(postgres_int(conn, "SELECT ssl::int FROM pg_stat_ssl WHERE pid = pg_backend_pid()"),
              1);
    CHECK(sql_server_version(conn) >= 130000);
    CHECK(sql_is_healthy(conn));
}

static void a_uris_settings_win(void **state)
{
    AUTO(sql_conn)
    struct sql_conn *conn =
        postgres_connect("application_name=mine&options=-c%20lock_timeout%3D9s");
    AUTO(free) char *name = postgres_text(conn, "SELECT current_setting('application_name')");
    AUTO(free) char *timeout = postgres_text(conn, "SELECT current_setting('lock_timeout')");
    AUTO(free) char *path = postgres_text(conn, "SELECT current_setting('search_path')");

    (void)state;
    CHECK_TEXT(name, "mine");
    CHECK_TEXT(timeout, "9s");
    CHECK_TEXT(path, "pg_catalog");
}

static void connecting_leaves_no_descriptor_behind(void **state)
{
    static const char *const hosts[] = {"127.0.0.1"};
    struct sql_target target = target_of(*state, hosts, 1);
    struct call call = {0};
    struct err err = {0};

    CHECK_OK(try_target(&target, &call, &err), &err);
    int before = open_files();
    for (int i = 0; i < 5; i++) {
        CHECK_OK(try_target(&target, &call, &err), &err);
        target.port = 1;
        CHECK_FAILS(try_target(&target, &call, &err), &err, ERR_RETRY, "DatabaseUnreachable");
        target.port = ((struct server *)*state)->port;
    }
    CHECK_INT(open_files(), before);
}

/* ---- names, certificates, refusals ---- */

static void a_host_name_is_looked_up(void **state)
{
    static const char *const hosts[] = {"localhost"};
    struct sql_target target = target_of(*state, hosts, 1);
    struct call call = {0};
    struct err err = {0};

    /* The certificate is checked against the name, not the address. */
    CHECK_OK(try_target(&target, &call, &err), &err);
}

static void an_unknown_name_is_unreachable(void **state)
{
    static const char *const hosts[] = {"no-such-host.invalid"};
    struct sql_target target = target_of(*state, hosts, 1);
    struct call call = {0};
    struct err err = {0};

    CHECK_FAILS(try_target(&target, &call, &err), &err, ERR_RETRY, "DatabaseUnreachable");
    CHECK_NOT_NULL(strstr(err.message, "no-such-host.invalid"));
}

static void a_certificate_of_another_name_is_refused(void **state)
{
    AUTO(secret) struct secret uri = {0};
    struct sql_conn *conn = NULL;
    struct call call = {0};
    struct err err = {0};

    (void)state;
    postgres_uri(&uri, "host=db.example.com&hostaddr=127.0.0.1");
    CHECK_FAILS(sql_connect_uri(&call, &uri, &conn, &err), &err, ERR_RETRY, "DatabaseUnreachable");
    CHECK_NOT_NULL(strstr(err.message, "db.example.com"));
}

static void a_certificate_of_another_authority_is_refused(void **state)
{
    static const char *const hosts[] = {"127.0.0.1"};
    struct sql_target target = target_of(*state, hosts, 1);
    struct pki_entity *other = pki_authority("other");
    AUTO(free) char *pem = xmemdup0(pki_certificate(other).ptr, pki_certificate(other).len);
    struct call call = {0};
    struct err err = {0};

    target.ca_pem = pem;
    CHECK_FAILS(try_target(&target, &call, &err), &err, ERR_RETRY, "DatabaseUnreachable");
    CHECK_NOT_NULL(strstr(err.message, "certificate verify failed"));
    target.ca_pem = NULL; /* the system's authorities do not know it either */
    CHECK_FAILS(try_target(&target, &call, &err), &err, ERR_RETRY, "DatabaseUnreachable");
    CHECK_NOT_NULL(strstr(err.message, "certificate verify failed"));
    pki_free(other);
}

static void tls_is_verified_unless_told_otherwise(void **state)
{
    const struct server *server = *state;
    AUTO(secret) struct secret uri = {0};
    AUTO(buf) struct buf text = BUF(1000);
    struct sql_conn *conn = NULL;
    struct call call = {0};
    struct err err = {0};

    CHECK(buf_printf(&text, "host=127.0.0.1 port=%d user=postgres dbname=postgres", server->port));
    secret_set(&uri, buf_str(&text));
    CHECK_FAILS(sql_connect_uri(&call, &uri, &conn, &err), &err, ERR_RETRY, "DatabaseUnreachable");
    CHECK_NOT_NULL(strstr(err.message, "certificate verify failed"));
}

static void a_wrong_password_is_told(void **state)
{
    static const char *const hosts[] = {"127.0.0.1", "127.0.0.1"};
    struct sql_target target = target_of(*state, hosts, 2);
    AUTO(secret) struct secret wrong = {0};
    struct call call = {0};
    struct err err = {0};

    secret_set(&wrong, STR("not-the-password"));
    target.password = &wrong;
    CHECK_FAILS(try_target(&target, &call, &err), &err, ERR_RETRY, "DatabaseCredentials");
    CHECK_TEXT(err.code, "28P01");
    CHECK_NULL(strstr(err.message, "not-the-password"));
}

static void an_unknown_database_is_told(void **state)
{
    static const char *const hosts[] = {"127.0.0.1"};
    struct sql_target target = target_of(*state, hosts, 1);
    struct call call = {0};
    struct err err = {0};

    target.database = "no\"such'database";
    CHECK_FAILS(try_target(&target, &call, &err), &err, ERR_RETRY, "SQLError");
    CHECK_TEXT(err.code, "3D000");
}

static void a_string_that_is_none_is_refused_without_quoting_it(void **state)
{
    static const char *const bad[] = {"nonsense", "postgresql://u:hunter2@[::1", "hunter2=x",
                                      "host='hunter2", "postgresql://h/d?hunter2=1"};
    struct call call = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        AUTO(secret) struct secret uri = {0};
        struct sql_conn *conn = NULL;
        struct err err = {0};
        secret_set(&uri, str_from(bad[i]));
        CHECK_FAILS(sql_connect_uri(&call, &uri, &conn, &err), &err, ERR_TERMINAL,
                    "InvalidConnectionString");
        CHECK_NULL(strstr(err.message, "hunter2"));
    }
}

/* ---- hosts that do not answer ---- */

/* A port that takes connections and says nothing, on an address where the real server is not. */
static int listen_silently(const char *address, int port)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};

    if (fd < 0) {
        fail_msg("no socket");
        return -1;
    }
    CHECK_INT(inet_pton(AF_INET, address, &place.sin_addr), 1);
    CHECK_INT(bind(fd, (struct sockaddr *)&place, sizeof(place)), 0);
    CHECK_INT(listen(fd, 8), 0);
    return fd;
}

static void a_silent_host_is_given_up_at_the_deadline(void **state)
{
    static const char *const hosts[] = {"127.0.0.2"};
    const struct server *server = *state;
    struct sql_target target = target_of(server, hosts, 1);
    AUTO(fd) int fd = listen_silently("127.0.0.2", server->port);
    int64_t start_ms = clock_monotonic_ms();
    struct call call = {.deadline_ms = start_ms + 2100};
    struct err err = {0};

    CHECK(fd >= 0);
    CHECK_FAILS(try_target(&target, &call, &err), &err, ERR_RETRY, "DatabaseUnreachable");
    CHECK(clock_monotonic_ms() - start_ms >= 2100);
    CHECK(clock_monotonic_ms() - start_ms < 2100 + AT_ONCE_MS);
    /* Without a fair chance nothing is said about the server. */
    call.deadline_ms = clock_monotonic_ms() + 100;
    CHECK_FAILS(try_target(&target, &call, &err), &err, ERR_RETRY, "DeadlineExceeded");
    CHECK(!sql_err_unreachable(&err));
}

static void a_dead_and_a_silent_host_are_passed_by(void **state)
{
    static const char *const hosts[] = {"127.0.0.3", "127.0.0.2", "no-such-host.invalid",
                                        "127.0.0.1"};
    const struct server *server = *state;
    struct sql_target target = target_of(server, hosts, 4);
    AUTO(fd) int fd = listen_silently("127.0.0.2", server->port);
    struct call call = {0};
    struct err err = {0};

    CHECK(fd >= 0);
    CHECK_OK(try_target(&target, &call, &err), &err);
}

static void the_host_that_takes_writes_is_found(void **state)
{
    static const char *const hosts[] = {"127.0.0.1"};
    struct sql_target target = target_of(*state, hosts, 1);
    struct call call = {0};
    struct err err = {0};

    target.target_session_attrs = "read-write";
    CHECK_OK(try_target(&target, &call, &err), &err);
    target.target_session_attrs = "standby";
    CHECK_FAILS(try_target(&target, &call, &err), &err, ERR_RETRY, "DatabaseUnreachable");
    target.target_session_attrs = "prefer-standby";
    CHECK_OK(try_target(&target, &call, &err), &err);
}

struct visitor {
    int listening_fd;
    struct cancel *cancel;
    int64_t triggered_ms;
};

static void *trigger_when_visited(void *argument)
{
    struct visitor *visitor = argument;

    (void)sql_wait_fd(visitor->listening_fd, POLLIN, NULL, clock_monotonic_ms() + 20000, NULL);
    visitor->triggered_ms = clock_monotonic_ms();
    cancel_trigger(visitor->cancel);
    return NULL;
}

static void a_cancel_ends_connecting(void **state)
{
    static const char *const hosts[] = {"127.0.0.2"};
    const struct server *server = *state;
    struct sql_target target = target_of(server, hosts, 1);
    AUTO(fd) int fd = listen_silently("127.0.0.2", server->port);
    struct visitor visitor = {.listening_fd = fd, .cancel = cancel_new(NULL)};
    struct call call = {.cancel = visitor.cancel};
    struct err err = {0};
    pthread_t thread;

    CHECK(fd >= 0);
    CHECK_INT(pthread_create(&thread, NULL, trigger_when_visited, &visitor), 0);
    CHECK_FAILS(try_target(&target, &call, &err), &err, ERR_CANCELED, "Canceled");
    int64_t ended_ms = clock_monotonic_ms();
    pthread_join(thread, NULL);
    CHECK(ended_ms - visitor.triggered_ms < AT_ONCE_MS);
    cancel_free(visitor.cancel);
}

static void a_cable_that_is_out_is_noticed_by_the_deadline(void **state)
{
    const struct server *server = *state;
    struct relay *relay = relay_start(server->port);
    AUTO(buf) struct buf more = BUF(100);
    AUTO(sql) struct sql query = {0};
    struct err err = {0};

    CHECK(buf_printf(&more, "port=%d", relay_port(relay)));
    struct sql_conn *conn = postgres_connect(buf_text(&more));
    relay_freeze(relay);
    int64_t start_ms = clock_monotonic_ms();
    struct call call = {.deadline_ms = start_ms + 200};
    sql_init(&query);
    SQL(&query, "SELECT 1");
    CHECK_INT(sql_query(conn, &call, &query, NULL, &err), -1);
    CHECK_TEXT(err.reason, "DatabaseUnreachable");
    CHECK(clock_monotonic_ms() - start_ms < 200 + 2 * AT_ONCE_MS);
    CHECK(!sql_is_healthy(conn));
    sql_close(conn);
    relay_stop(relay);
}

static void a_reset_connection_is_unreachable(void **state)
{
    const struct server *server = *state;
    struct relay *relay = relay_start(server->port);
    AUTO(buf) struct buf more = BUF(100);
    AUTO(sql) struct sql query = {0};
    struct call call = {0};
    struct err err = {0};

    CHECK(buf_printf(&more, "port=%d", relay_port(relay)));
    struct sql_conn *conn = postgres_connect(buf_text(&more));
    relay_reset(relay);
    sql_init(&query);
    SQL(&query, "SELECT 1");
    CHECK_INT(sql_query(conn, &call, &query, NULL, &err), -1);
    CHECK_TEXT(err.reason, "DatabaseUnreachable");
    CHECK(!sql_is_healthy(conn));
    sql_close(conn);
    relay_stop(relay);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_has_our_settings),
        cmocka_unit_test(a_uris_settings_win),
        cmocka_unit_test(connecting_leaves_no_descriptor_behind),
        cmocka_unit_test(a_host_name_is_looked_up),
        cmocka_unit_test(an_unknown_name_is_unreachable),
        cmocka_unit_test(a_certificate_of_another_name_is_refused),
        cmocka_unit_test(a_certificate_of_another_authority_is_refused),
        cmocka_unit_test(tls_is_verified_unless_told_otherwise),
        cmocka_unit_test(a_wrong_password_is_told),
        cmocka_unit_test(an_unknown_database_is_told),
        cmocka_unit_test(a_string_that_is_none_is_refused_without_quoting_it),
        cmocka_unit_test(a_silent_host_is_given_up_at_the_deadline),
        cmocka_unit_test(a_dead_and_a_silent_host_are_passed_by),
        cmocka_unit_test(the_host_that_takes_writes_is_found),
        cmocka_unit_test(a_cancel_ends_connecting),
        cmocka_unit_test(a_cable_that_is_out_is_noticed_by_the_deadline),
        cmocka_unit_test(a_reset_connection_is_unreachable),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
