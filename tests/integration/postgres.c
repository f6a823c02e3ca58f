#include "tests/integration/postgres.h"

#include "controller/base/clock.h"
#include "controller/base/metrics.h"
#include "tests/check.h"

enum {
    PATIENCE_MS = 20 * 1000,
    PAUSE_NS = 5 * 1000 * 1000,
    MORE_MAX_BYTES = 4096,
    STATEMENT_MAX_BYTES = 1 << 20,
    METRICS_MAX_BYTES = 1 << 20,
};

static struct sql_conn *own; /* of this thread only: tests use it from their main thread */

void postgres_uri(struct secret *ret, const char *more)
{
    const char *uri = getenv("TENANTRY_SERVER_URL");
    AUTO(buf) struct buf text = BUF(MORE_MAX_BYTES);

    if (!uri) {
        fail_msg("TENANTRY_SERVER_URL is not set: run this test by ctest, which starts a server");
    }
    CHECK(buf_printf(&text, "%s%s%s", uri, *more ? "&" : "", more));
    secret_set(ret, buf_str(&text));
}

struct sql_conn *postgres_connect(const char *more)
{
    AUTO(secret) struct secret uri = {0};
    struct sql_conn *conn = NULL;
    struct call call = {0};
    struct err err = {0};

    postgres_uri(&uri, more);
    CHECK_OK(sql_connect_uri(&call, &uri, &conn, &err), &err);
    return conn;
}

static struct sql_conn *own_connection(void)
{
    if (own && !sql_is_healthy(own)) {
        sql_close(TAKE(own));
    }
    if (!own) {
        own = postgres_connect("");
    }
    return own;
}

void postgres_done(void)
{
    sql_close(TAKE(own));
}

static void build(struct sql *query, const char *format, va_list arguments) PRINTF_LIKE(2, 0);
static void build(struct sql *query, const char *format, va_list arguments)
{
    AUTO(buf) struct buf text = BUF(STATEMENT_MAX_BYTES);

    sql_init(query);
    CHECK(buf_vprintf(&text, format, arguments));
    sql_append_literal(query, buf_text(&text), text.len);
}

void postgres_run(struct sql_conn *conn, const char *format, ...)
{
    AUTO(sql) struct sql query = {0};
    struct call call = {0};
    struct err err = {0};
    va_list arguments;

    va_start(arguments, format);
    build(&query, format, arguments);
    va_end(arguments);
    CHECK_OK(sql_script(conn ? conn : own_connection(), &call, &query, &err), &err);
}

static char *first_text(struct sql_conn *conn, struct sql *query)
{
    AUTO(sql_rows) struct sql_rows *rows = NULL;
    struct call call = {0};
    struct err err = {0};

    CHECK_OK(sql_query(conn ? conn : own_connection(), &call, query, &rows, &err), &err);
    return xstrdup(sql_row_count(rows) > 0 ? sql_text(rows, 0, 0) : "");
}

char *postgres_text(struct sql_conn *conn, const char *format, ...)
{
    AUTO(sql) struct sql query = {0};
    va_list arguments;

    va_start(arguments, format);
    build(&query, format, arguments);
    va_end(arguments);
    return first_text(conn, &query);
}

static int64_t first_int(struct sql_conn *conn, struct sql *query)
{
    AUTO(free) char *text = first_text(conn, query);
    int64_t value = 0;

    if (!str_to_int64(str_from(text), &value)) {
        fail_msg("\"%s\" gave \"%s\", which is no number", buf_text(&query->text), text);
    }
    return value;
}

int64_t postgres_int(struct sql_conn *conn, const char *format, ...)
{
    AUTO(sql) struct sql query = {0};
    va_list arguments;

    va_start(arguments, format);
    build(&query, format, arguments);
    va_end(arguments);
    return first_int(conn, &query);
}

void postgres_wait(const char *format, ...)
{
    AUTO(sql) struct sql query = {0};
    va_list arguments;
    int64_t end_ms = clock_monotonic_ms() + PATIENCE_MS;

    va_start(arguments, format);
    build(&query, format, arguments);
    va_end(arguments);
    while (first_int(NULL, &query) <= 0) {
        if (clock_monotonic_ms() > end_ms) {
            fail_msg("waited in vain for: %s", buf_text(&query.text));
        }
        const struct timespec pause = {.tv_nsec = PAUSE_NS};
        nanosleep(&pause, NULL);
    }
}

int64_t postgres_next_xid(void)
{
    return postgres_int(NULL, "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint");
}

static double count_writes(void)
{
    static const char line[] = "\ntenantry_sql_writes_total ";
    AUTO(buf) struct buf page = BUF(METRICS_MAX_BYTES);

    CHECK(metrics_render(&page));
    const char *at = strstr(buf_text(&page), line);
    return at ? strtod(at + strlen(line), NULL) : 0;
}

struct quiet postgres_quiet_begin(void)
{
    return (struct quiet){
        .next_xid = postgres_next_xid(),
        .writes = count_writes(),
    };
}

void postgres_quiet_end(const struct quiet *quiet)
{
    struct quiet now = postgres_quiet_begin();

    CHECK_INT(now.next_xid - quiet->next_xid, 0);
    CHECK_INT((int)(now.writes - quiet->writes), 0);
}
