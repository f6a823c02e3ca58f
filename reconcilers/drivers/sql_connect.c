/* Making connections. Every address of every host is one attempt with a time limit of its own, so
 * that a host which swallows packets does not eat the time of those behind it; libpq would only
 * move on when the operating system gives up. As libpq does, the next one is tried when a server
 * cannot be reached, is starting, or is not what target_session_attrs asks for, but not when it
 * refuses us. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "controller/base/clock.h"
#include "controller/base/str.h"
#include "reconcilers/drivers/sql.h"
#include "reconcilers/drivers/sql_internal.h"

enum {
    CONNECT_MS = 10 * 1000,
    ATTEMPT_MIN_MS = 2 * 1000,
    SETTINGS_MAX = 64, /* libpq knows about 45 keywords */
    HOSTS_MAX = 32,
};

/* libpq's keywords and values, in the arrays that it wants. Values are borrowed. */
struct settings {
    const char *keywords[SETTINGS_MAX + 1];
    const char *values[SETTINGS_MAX + 1];
    size_t count;
};

static void put(struct settings *settings, const char *keyword, const char *value)
{
    for (size_t i = 0; i < settings->count; i++) {
        if (strcmp(settings->keywords[i], keyword) == 0) {
            settings->values[i] = value;
            return;
        }
    }
    if (value && settings->count < SETTINGS_MAX) {
        settings->keywords[settings->count] = keyword;
        settings->values[settings->count++] = value;
    }
}

static const char *get(const struct settings *settings, const char *keyword)
{
    for (size_t i = 0; i < settings->count; i++) {
        if (strcmp(settings->keywords[i], keyword) == 0) {
            return settings->values[i];
        }
    }
    return NULL;
}

static void put_default(struct settings *settings, const char *keyword, const char *value)
{
    if (text_is_empty(get(settings, keyword))) {
        put(settings, keyword, value);
    }
}

static void ignore_notice(void *context, const PGresult *result)
{
    (void)context;
    (void)result;
}

/* ---- one attempt ---- */

/* Drive libpq until the connection stands. */
static int poll_connection(PGconn *pg, const struct call *call, int64_t until_ms, struct err *err)
{
    int64_t start_ms = clock_monotonic_ms();
    PostgresPollingStatusType state = PGRES_POLLING_WRITING;

    while (state != PGRES_POLLING_OK) {
        if (state == PGRES_POLLING_FAILED || PQstatus(pg) == CONNECTION_BAD) {
            return sql_err_from_connect(PQerrorMessage(pg), err);
        }
        short events = state == PGRES_POLLING_READING ? POLLIN : POLLOUT;
        switch (sql_wait_fd(PQsocket(pg), events, call, until_ms, NULL)) {
        case SQL_WAIT_CANCELED:
            return err_set(err, ERR_CANCELED, "Canceled", "canceled");
        case SQL_WAIT_LATE:
            return sql_err_late(start_ms, "the server did not answer in time", err);
        case SQL_WAIT_READY:
            state = PQconnectPoll(pg);
            break;
        }
    }
    return 0;
}

static int attempt(const struct settings *settings, const struct call *call, int64_t until_ms,
                   PGconn **ret, struct err *err)
{
    PGconn *pg = PQconnectStartParams(settings->keywords, settings->values, 0);

    if (!pg) {
        out_of_memory();
    }
    /* The only way to learn the SQLSTATE of a refusal. */
    PQsetErrorVerbosity(pg, PQERRORS_VERBOSE);
    PQsetNoticeReceiver(pg, ignore_notice, NULL);
    if (poll_connection(pg, call, until_ms, err)) {
        PQfinish(pg);
        return -1;
    }
    if (PQsetnonblocking(pg, 1) != 0) {
        PQfinish(pg);
        return sql_err_lost(err);
    }
    *ret = pg;
    return 0;
}

/* ---- hosts and addresses ---- */

struct route {
    const char *host; /* for the certificate and the messages */
    const char *address;
    const char *port;
};

struct routes {
    struct arena arena;
    struct route items[HOSTS_MAX];
    size_t count;
    struct err failure; /* of the last name that could not be resolved */
};

static void routes_add(struct routes *routes, const char *host, const char *address,
                       const char *port)
{
    if (routes->count < HOSTS_MAX) {
        routes->items[routes->count++] = (struct route){host, address, port};
    }
}

/* Split a comma-separated list into the arena. */
static size_t split(struct arena *arena, const char *list, const char *ret[HOSTS_MAX])
{
    size_t count = 0;

    if (text_is_empty(list)) {
        return 0;
    }
    struct str rest = str_from(list);
    bool more = true;
    while (more && count < HOSTS_MAX) {
        more = memchr(rest.ptr, ',', rest.len) != NULL;
        struct str item = str_trim(str_cut(&rest, ','));
        ret[count++] = arena_strndup(arena, item.ptr, item.len);
    }
    return count;
}

static int add_host(struct routes *routes, const char *host, const char *port,
                    const struct call *call, int64_t until_ms, struct err *err)
{
    struct sql_addresses addresses = {0};

    if (sql_host_is_literal(host)) {
        routes_add(routes, host, NULL, port);
        return 0;
    }
    if (sql_resolve(host, call, until_ms, &addresses, err)) {
        routes->failure = *err;
        return err->cls == ERR_CANCELED ? -1 : 0;
    }
    for (size_t i = 0; i < addresses.count; i++) {
        routes_add(routes, host, arena_strdup(&routes->arena, addresses.text[i]), port);
    }
    return 0;
}

/* Every way to reach the server that the settings name, in order. */
static int find_routes(struct routes *routes, const struct settings *settings,
                       const struct call *call, int64_t until_ms, struct err *err)
{
    const char *hosts[HOSTS_MAX] = {0};
    const char *addresses[HOSTS_MAX] = {0};
    const char *ports[HOSTS_MAX] = {0};
    size_t host_count = split(&routes->arena, get(settings, "host"), hosts);
    size_t address_count = split(&routes->arena, get(settings, "hostaddr"), addresses);
    size_t port_count = split(&routes->arena, get(settings, "port"), ports);
    size_t count = host_count > address_count ? host_count : address_count;

    if ((host_count && address_count && host_count != address_count) ||
        (port_count > 1 && port_count != count)) {
        return err_set(err, ERR_TERMINAL, "InvalidConnectionString",
                       "host, hostaddr and port list different numbers of servers");
    }
    if (count == 0) { /* libpq's default socket, or a service file */
        routes_add(routes, NULL, NULL, ports[0]);
    }
    for (size_t i = 0; i < count; i++) {
        const char *port = port_count > 1 ? ports[i] : ports[0];
        if (!text_is_empty(addresses[i])) {
            routes_add(routes, hosts[i], addresses[i], port);
        } else if (add_host(routes, hosts[i], port, call, until_ms, err)) {
            return -1;
        }
    }
    if (routes->count == 0) {
        *err = routes->failure;
        return -1;
    }
    return 0;
}

static bool may_try_next(const struct err *err)
{
    return err->cls != ERR_CANCELED && sql_err_unreachable(err);
}

static int try_routes(struct settings *settings, const struct routes *routes,
                      const struct call *call, int64_t until_ms, PGconn **ret, struct err *err)
{
    for (size_t i = 0; i < routes->count; i++) {
        const struct route *route = &routes->items[i];
        int64_t now_ms = clock_monotonic_ms();
        int64_t share_ms = (until_ms - now_ms) / (int64_t)(routes->count - i);
        int64_t end_ms = now_ms + (share_ms > ATTEMPT_MIN_MS ? share_ms : ATTEMPT_MIN_MS);
        put(settings, "host", route->host);
        put(settings, "hostaddr", route->address);
        put(settings, "port", route->port);
        if (attempt(settings, call, end_ms < until_ms ? end_ms : until_ms, ret, err) == 0) {
            return 0;
        }
        if (route->address && err->cls != ERR_CANCELED) {
            err_wrap(err, "host \"%s\"", route->host ? route->host : route->address);
        }
        if (!may_try_next(err)) {
            return -1;
        }
    }
    return -1;
}

/* Each attempt knows one server only, so what compares servers is ours to do. */
static int try_in_passes(struct settings *settings, const struct routes *routes,
                         const struct call *call, int64_t until_ms, PGconn **ret, struct err *err)
{
    if (text_equal(get(settings, "target_session_attrs"), "prefer-standby")) {
        put(settings, "target_session_attrs", "standby");
        if (try_routes(settings, routes, call, until_ms, ret, err) == 0) {
            return 0;
        }
        if (!may_try_next(err)) {
            return -1;
        }
        put(settings, "target_session_attrs", "any");
    }
    return try_routes(settings, routes, call, until_ms, ret, err);
}

static int connect_settings(struct settings *settings, const struct call *call, PGconn **ret,
                            struct err *err)
{
    struct routes routes = {0};
    int64_t limit_ms = 0;

    if (call_check(call, err)) {
        return -1;
    }
    bool limited = str_to_int64(str_from(get(settings, "connect_timeout")), &limit_ms);
    limit_ms = limited && limit_ms > 0 && limit_ms < INT32_MAX ? limit_ms * 1000 : CONNECT_MS;
    int64_t until_ms = sql_until_ms(call, limit_ms);
    arena_init(&routes.arena, 0);
    int result = find_routes(&routes, settings, call, until_ms, err);
    if (result == 0) {
        result = try_in_passes(settings, &routes, call, until_ms, ret, err);
    }
    arena_release(&routes.arena);
    return result;
}

/* ---- our settings ---- */

const char *sql_system_authorities(void)
{
    static const char *const files[] = {"/etc/ssl/certs/ca-certificates.crt",
                                        "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"};

    if (PQlibVersion() >= 160000) {
        return "system";
    }
    for (size_t i = 0; i < ARRAY_COUNT(files); i++) {
        if (access(files[i], R_OK) == 0) {
            return files[i];
        }
    }
    return NULL;
}

static void put_common_defaults(struct settings *settings)
{
    put_default(settings, "application_name", "tenantry");
    put_default(settings, "sslmode", "verify-full");
    put_default(settings, "gssencmode", "disable");
    put_default(settings, "keepalives_idle", "30");
    put_default(settings, "keepalives_interval", "10");
    put_default(settings, "keepalives_count", "3");
    put_default(settings, "tcp_user_timeout", "30000");
    put(settings, "client_encoding", "UTF8");
    if (str_starts_with(str_from(get(settings, "sslmode")), STR("verify"))) {
        put_default(settings, "sslrootcert", sql_system_authorities());
    }
}

/* Put a PEM text where libpq can read it as a file, without one on disk. */
static int make_memory_file(const char *text, int *ret_fd, struct err *err)
{
    int fd = memfd_create("ca", MFD_CLOEXEC);
    size_t length = strlen(text);
    size_t written = 0;

    while (fd >= 0 && written < length) {
        ssize_t count = write(fd, text + written, length - written);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count <= 0) {
            break;
        }
        written += (size_t)count;
    }
    if (fd < 0 || written < length) {
        err_set(err, ERR_RETRY, "DatabaseUnreachable",
                "no memory file for the server's certificate authority: %s", errno_text(errno));
        auto_release_fd(&fd);
        return -1;
    }
    *ret_fd = fd;
    return 0;
}

static const char *session_options(struct arena *arena, int64_t statement_ms, int64_t lock_ms,
                                   const char *more)
{
    return arena_printf(arena,
                        "-c statement_timeout=%lld -c lock_timeout=%lld"
                        " -c idle_in_transaction_session_timeout=%d -c search_path=pg_catalog"
                        " -c standard_conforming_strings=on -c datestyle=ISO -c timezone=UTC"
                        " -c bytea_output=hex -c jit=off %s",
                        (long long)statement_ms, (long long)lock_ms,
                        SQL_IDLE_IN_TRANSACTION_TIMEOUT_MS, more ? more : "");
}

static struct sql_conn *wrap(PGconn *pg, int64_t statement_timeout_ms)
{
    struct sql_conn *conn = xcalloc(1, sizeof(*conn));

    conn->pg = pg;
    conn->limit_ms = statement_timeout_ms + SQL_HUNG_MARGIN_MS;
    return conn;
}

static const char *join_hosts(struct arena *arena, const struct sql_target *target)
{
    const char *list = NULL;

    for (size_t i = 0; i < target->host_count; i++) {
        list = list ? arena_printf(arena, "%s,%s", list, target->hosts[i]) : target->hosts[i];
    }
    return list;
}

int sql_connect(const struct call *call, const struct sql_target *target, struct sql_conn **ret,
                struct err *err)
{
    AUTO(arena) struct arena arena = {0};
    AUTO(fd) int ca_fd = -1;
    struct settings settings = {0};
    PGconn *pg = NULL;
    int64_t statement_ms =
        target->statement_timeout_ms > 0 ? target->statement_timeout_ms : SQL_STATEMENT_TIMEOUT_MS;
    int64_t lock_ms = target->lock_timeout_ms > 0 ? target->lock_timeout_ms : SQL_LOCK_TIMEOUT_MS;

    arena_init(&arena, 0);
    if (target->ca_pem && make_memory_file(target->ca_pem, &ca_fd, err)) {
        return -1;
    }
    put(&settings, "host", join_hosts(&arena, target));
    put(&settings, "port", arena_printf(&arena, "%d", target->port > 0 ? target->port : 5432));
    put(&settings, "dbname", target->database);
    put(&settings, "user", target->user);
    put(&settings, "password", target->password ? secret_bytes(target->password) : NULL);
    put(&settings, "sslmode", target->sslmode);
    put(&settings, "sslrootcert",
        ca_fd >= 0 ? arena_printf(&arena, "/proc/self/fd/%d", ca_fd) : NULL);
    put(&settings, "target_session_attrs", target->target_session_attrs);
    put(&settings, "options", session_options(&arena, statement_ms, lock_ms, NULL));
    put_common_defaults(&settings);
    if (connect_settings(&settings, call, &pg, err)) {
        return -1;
    }
    *ret = wrap(pg, statement_ms);
    return 0;
}

/* Settings of a URI may change the statement timeout; our own patience follows the server's. */
static int read_statement_timeout(struct sql_conn *conn, const struct call *call, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT setting FROM pg_catalog.pg_settings WHERE name = 'statement_timeout'");
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    int64_t timeout_ms = sql_int(rows, 0, 0);
    conn->limit_ms = timeout_ms > 0 ? timeout_ms + SQL_HUNG_MARGIN_MS : INT32_MAX;
    return 0;
}

static int connect_parsed(const PQconninfoOption *parsed, const struct call *call,
                          struct sql_conn **ret, struct err *err)
{
    AUTO(arena) struct arena arena = {0};
    AUTO(sql_conn) struct sql_conn *conn = NULL;
    struct settings settings = {0};
    PGconn *pg = NULL;

    arena_init(&arena, 0);
    for (const PQconninfoOption *option = parsed; option->keyword; option++) {
        put(&settings, option->keyword, option->val);
    }
    const char *options = get(&settings, "options");
    put(&settings, "options",
        session_options(&arena, SQL_STATEMENT_TIMEOUT_MS, SQL_LOCK_TIMEOUT_MS, options));
    put_common_defaults(&settings);
    if (connect_settings(&settings, call, &pg, err)) {
        return -1;
    }
    conn = wrap(pg, SQL_STATEMENT_TIMEOUT_MS);
    if (options && read_statement_timeout(conn, call, err)) {
        return -1;
    }
    *ret = TAKE(conn);
    return 0;
}

int sql_connect_uri(const struct call *call, const struct secret *uri, struct sql_conn **ret,
                    struct err *err)
{
    char *complaint = NULL; /* may quote the password */
    PQconninfoOption *parsed = PQconninfoParse(secret_bytes(uri), &complaint);

    if (complaint) {
        explicit_bzero(complaint, strlen(complaint));
        PQfreemem(complaint);
    }
    if (!parsed) {
        return err_set(err, ERR_TERMINAL, "InvalidConnectionString",
                       "this is no connection string that libpq understands, such as "
                       "postgresql://USER:PASSWORD@HOST:5432/DATABASE?sslmode=verify-full");
    }
    int result = connect_parsed(parsed, call, ret, err);
    for (PQconninfoOption *option = parsed; option->keyword; option++) {
        if (option->val && strcmp(option->keyword, "password") == 0) {
            explicit_bzero(option->val, strlen(option->val));
        }
    }
    PQconninfoFree(parsed);
    return result;
}

void sql_close(struct sql_conn *conn)
{
    if (conn) {
        PQfinish(conn->pg);
        free(conn);
    }
}

void sql_use_up(struct sql_conn *conn)
{
    conn->used_up = true;
}

bool sql_is_healthy(const struct sql_conn *conn)
{
    return !conn->broken && !conn->used_up && PQstatus(conn->pg) == CONNECTION_OK &&
           PQtransactionStatus(conn->pg) == PQTRANS_IDLE;
}

int sql_server_version(const struct sql_conn *conn)
{
    return PQserverVersion(conn->pg);
}
