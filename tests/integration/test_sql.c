/* Statements against a real server: values arrive as they were given, and whatever stops a
 * statement (a cancel, a deadline, a fence, a limit, a server that dies or hangs) stops it quickly
 * and is told apart. */
#include "tests/check.h"
#include "tests/integration/postgres.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "controller/base/clock.h"
#include "controller/base/fence.h"
#include "controller/base/hash.h"
#include "controller/base/metrics.h"
#include "reconcilers/drivers/sql_internal.h"

enum {
    AT_ONCE_MS = 2000, /* generous: sanitizers, loaded machines */
    PAUSE_NS = 1000 * 1000,
};

static int run_text(struct sql_conn *conn, const struct call *call, const char *text,
                    struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    sql_append_literal(&query, text, strlen(text));
    return sql_query(conn, call, &query, NULL, err);
}

static int exec_text(struct sql_conn *conn, const struct call *call, const char *text,
                     struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    sql_append_literal(&query, text, strlen(text));
    return sql_exec(conn, call, &query, NULL, err);
}

/* ---- values ---- */

static const char *const hostile[] = {
    "",
    "plain",
    "it's",
    "\"quoted\"",
    "'; DROP TABLE pg_class; --",
    "\\",
    "\\'",
    "\\\\''\\",
    "$1 $$ $x$",
    "%s%n%d",
    "line\nfeed\ttab\r",
    "\x01\x1f\x7f",
    "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80",
    "E'\\x41'",
    "/* */ -- ;",
};

static void hostile_values_arrive_as_they_are(void **state)
{
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("");
    struct call call = {0};
    struct err err = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(hostile); i++) {
        AUTO(sql) struct sql query = {0};
        AUTO(sql_rows) struct sql_rows *rows = NULL;
        sql_init(&query);
        SQL(&query, "SELECT ");
        sql_param(&query, hostile[i]);
        SQL(&query, "::text, ");
        sql_literal(&query, hostile[i]);
        CHECK_OK(sql_query(conn, &call, &query, &rows, &err), &err);
        CHECK_INT(sql_row_count(rows), 1);
        CHECK_TEXT(sql_text(rows, 0, 0), hostile[i]);
        CHECK_TEXT(sql_text(rows, 0, 1), hostile[i]);
    }
}

static void hostile_constants_survive_the_old_string_syntax(void **state)
{
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("");
    struct call call = {0};
    struct err err = {0};

    (void)state;
    postgres_run(conn, "SET standard_conforming_strings = off; SET escape_string_warning = off");
    for (size_t i = 0; i < ARRAY_COUNT(hostile); i++) {
        AUTO(sql) struct sql query = {0};
        AUTO(sql_rows) struct sql_rows *rows = NULL;
        sql_init(&query);
        SQL(&query, "SELECT ");
        sql_literal(&query, hostile[i]);
        CHECK_OK(sql_query(conn, &call, &query, &rows, &err), &err);
        CHECK_TEXT(sql_text(rows, 0, 0), hostile[i]);
    }
}

static void hostile_names_become_names(void **state)
{
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("");
    struct call call = {0};
    struct err err = {0};

    (void)state;
    for (size_t i = 1; i < ARRAY_COUNT(hostile); i++) { /* the empty one is refused */
        AUTO(sql) struct sql query = {0};
        sql_init(&query);
        SQL(&query, "CREATE TEMPORARY TABLE ");
        sql_ident(&query, hostile[i]);
        SQL(&query, " ()");
        CHECK_OK(sql_exec(conn, &call, &query, NULL, &err), &err);
        sql_clear(&query);
        SQL(&query, "SELECT 1 FROM pg_class WHERE relpersistence = 't' AND relname = ");
        sql_param(&query, hostile[i]);
        AUTO(sql_rows) struct sql_rows *rows = NULL;
        CHECK_OK(sql_query(conn, &call, &query, &rows, &err), &err);
        CHECK_INT(sql_row_count(rows), 1);
    }
}

static void bytes_that_are_no_text_are_refused_by_the_server(void **state)
{
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("");
    AUTO(sql) struct sql query = {0};
    struct call call = {0};
    struct err err = {0};

    (void)state;
    sql_init(&query);
    SQL(&query, "SELECT ");
    sql_param(&query, "a\xc0\xa7");
    CHECK_FAILS(sql_query(conn, &call, &query, NULL, &err), &err, ERR_RETRY, "SQLError");
    CHECK_TEXT(err.code, "22021");
    CHECK(sql_is_healthy(conn));
}

static void a_query_is_one_statement(void **state)
{
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("");
    struct call call = {0};
    struct err err = {0};

    (void)state;
    CHECK_FAILS(run_text(conn, &call, "SELECT 1; SELECT 2", &err), &err, ERR_RETRY, "SQLError");
    CHECK_TEXT(err.code, "42601");
}

static void values_are_read_by_kind(void **state)
{
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("");
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;
    struct call call = {0};
    struct err err = {0};

    (void)state;
    sql_init(&query);
    SQL(&query, "SELECT 9223372036854775807, true, NULL::text, '', 'x' UNION ALL "
                "SELECT -1, false, 'y', '', 'x'");
    CHECK_OK(sql_query(conn, &call, &query, &rows, &err), &err);
    CHECK_INT(sql_row_count(rows), 2);
    CHECK(sql_int(rows, 0, 0) == INT64_MAX);
    CHECK(sql_bool(rows, 0, 1));
    CHECK(sql_is_null(rows, 0, 2));
    CHECK_TEXT(sql_text(rows, 0, 2), "");
    CHECK(!sql_is_null(rows, 0, 3));
    CHECK_INT(sql_int(rows, 0, 4), 0);
    CHECK_INT(sql_int(rows, 1, 0), -1);
    CHECK(!sql_bool(rows, 1, 1));
    CHECK_TEXT(sql_text(rows, 1, 2), "y");
    CHECK(sql_is_null(rows, 2, 0)); /* there is no such row */
}

static void affected_rows_are_counted(void **state)
{
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("");
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;
    struct call call = {0};
    struct err err = {0};

    (void)state;
    sql_init(&query);
    SQL(&query, "CREATE TEMPORARY TABLE t AS SELECT generate_series(1, 7) AS n");
    CHECK_OK(sql_exec(conn, &call, &query, NULL, &err), &err);
    sql_clear(&query);
    SQL(&query, "UPDATE t SET n = n + 1 WHERE n > 2 RETURNING n");
    CHECK_OK(sql_exec(conn, &call, &query, &rows, &err), &err);
    CHECK_INT(sql_affected(rows), 5);
    CHECK_INT(sql_row_count(rows), 5);
}

static void errors_carry_state_and_primary_message_only(void **state)
{
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("");
    struct call call = {0};
    struct err err = {0};

    (void)state;
    postgres_run(conn, "CREATE TEMPORARY TABLE t (secret text PRIMARY KEY); "
                       "INSERT INTO t VALUES ('hunter2')");
    CHECK_FAILS(exec_text(conn, &call, "INSERT INTO t VALUES ('hunter2')", &err), &err, ERR_RETRY,
                "SQLError");
    CHECK_TEXT(err.code, "23505");
    CHECK_TEXT(err.message, "duplicate key value violates unique constraint \"t_pkey\"");
    CHECK(sql_is_healthy(conn));
}

/* ---- limits ---- */

static void too_many_rows_are_stopped(void **state)
{
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("");
    struct call call = {0};
    struct err err = {0};

    (void)state;
    CHECK_OK(run_text(conn, &call, "SELECT generate_series(1, 100000)", &err), &err);
    /* It would run for days. */
    CHECK_FAILS(run_text(conn, &call, "SELECT generate_series(1, 1000000000000)", &err), &err,
                ERR_RETRY, "ResponseTooLarge");
    CHECK(!sql_is_healthy(conn));
}

static void too_many_bytes_are_stopped(void **state)
{
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("");
    struct call call = {0};
    struct err err = {0};

    (void)state;
    CHECK_FAILS(
        run_text(conn, &call, "SELECT repeat('x', 1048576) FROM generate_series(1, 1000000)", &err),
        &err, ERR_RETRY, "ResponseTooLarge");
}

static void a_statement_that_could_not_be_built_is_not_sent(void **state)
{
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("");
    AUTO(sql) struct sql query = {0};
    struct call call = {0};
    struct err err = {0};

    (void)state;
    sql_init(&query);
    SQL(&query, "SELECT 1 AS ");
    sql_ident(&query, "");
    CHECK_FAILS(sql_query(conn, &call, &query, NULL, &err), &err, ERR_TERMINAL, "InvalidStatement");
    CHECK(sql_is_healthy(conn));
}

/* ---- being stopped ---- */

struct stopper {
    struct cancel *cancel;
    const char *application; /* wait until a statement of it runs */
    int64_t triggered_ms;
};

static bool is_running(struct sql_conn *conn, const char *application)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;
    struct call call = {0};
    struct err err = {0};

    sql_init(&query);
    SQL(&query, "SELECT 1 FROM pg_stat_activity WHERE state = 'active' AND wait_event = 'PgSleep' "
                "AND application_name = ");
    sql_param(&query, application);
    return sql_query(conn, &call, &query, &rows, &err) == 0 && sql_row_count(rows) > 0;
}

static void *trigger_when_running(void *argument)
{
    struct stopper *stopper = argument;
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("");
    int64_t end_ms = clock_monotonic_ms() + 20000;

    while (!is_running(conn, stopper->application) && clock_monotonic_ms() < end_ms) {
        const struct timespec pause = {.tv_nsec = PAUSE_NS};
        nanosleep(&pause, NULL);
    }
    stopper->triggered_ms = clock_monotonic_ms();
    cancel_trigger(stopper->cancel);
    return NULL;
}

static void a_cancel_ends_the_statement_on_both_sides(void **state)
{
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("application_name=canceled");
    struct stopper stopper = {.cancel = cancel_new(NULL), .application = "canceled"};
    struct call call = {.cancel = stopper.cancel};
    struct err err = {0};
    pthread_t thread;

    (void)state;
    CHECK_INT(pthread_create(&thread, NULL, trigger_when_running, &stopper), 0);
    CHECK_FAILS(run_text(conn, &call, "SELECT pg_sleep(25)", &err), &err, ERR_CANCELED, "Canceled");
    int64_t ended_ms = clock_monotonic_ms();
    pthread_join(thread, NULL);
    CHECK(ended_ms - stopper.triggered_ms < AT_ONCE_MS);
    CHECK(!sql_is_healthy(conn));
    postgres_wait("SELECT 1 - count(*) FROM pg_stat_activity WHERE state = 'active' "
                  "AND application_name = 'canceled'");
    cancel_free(stopper.cancel);
}

static void a_deadline_ends_the_statement_on_both_sides(void **state)
{
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("application_name=late");
    int64_t start_ms = clock_monotonic_ms();
    struct call call = {.deadline_ms = start_ms + 200};
    struct err err = {0};

    (void)state;
    CHECK_FAILS(run_text(conn, &call, "SELECT pg_sleep(25)", &err), &err, ERR_RETRY,
                "StatementTimeout");
    CHECK(clock_monotonic_ms() - start_ms >= 200);
    CHECK(clock_monotonic_ms() - start_ms < 200 + AT_ONCE_MS);
    postgres_wait("SELECT 1 - count(*) FROM pg_stat_activity WHERE state = 'active' "
                  "AND application_name = 'late'");
}

static void a_deadline_that_has_passed_sends_nothing(void **state)
{
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("");
    struct call call = {.deadline_ms = clock_monotonic_ms() - 1};
    struct err err = {0};

    (void)state;
    CHECK_FAILS(run_text(conn, &call, "SELECT 1", &err), &err, ERR_RETRY, "DeadlineExceeded");
    CHECK(sql_is_healthy(conn));
}

static void the_servers_statement_timeout_is_told(void **state)
{
    AUTO(sql_conn)
    struct sql_conn *conn = postgres_connect("options=-c%20statement_timeout%3D100");
    struct call call = {0};
    struct err err = {0};

    (void)state;
    CHECK_FAILS(run_text(conn, &call, "SELECT pg_sleep(25)", &err), &err, ERR_RETRY,
                "StatementTimeout");
    CHECK(sql_is_healthy(conn)); /* ended by the server: the connection is as good as before */
}

/* Stopped by the operating system: it neither answers nor obeys a cancel request. */
static void a_hung_server_is_given_up(void **state)
{
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("");
    pid_t pid = (pid_t)postgres_int(conn, "SELECT pg_backend_pid()");
    int64_t start_ms = clock_monotonic_ms();
    struct call call = {.deadline_ms = start_ms + 200};
    struct err err = {0};

    (void)state;
    CHECK_INT(kill(pid, SIGSTOP), 0);
    int result = run_text(conn, &call, "SELECT 1", &err);
    int64_t took_ms = clock_monotonic_ms() - start_ms;
    CHECK_INT(kill(pid, SIGCONT), 0);
    CHECK_INT(result, -1);
    CHECK_TEXT(err.reason, "DatabaseUnreachable");
    CHECK(sql_err_unreachable(&err));
    CHECK(took_ms < 200 + 2 * AT_ONCE_MS);
    CHECK(!sql_is_healthy(conn));
}

static void a_fence_stops_writes_and_no_reads(void **state)
{
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("");
    struct fence fence = {0};
    struct call call = {.fence = &fence};
    struct err err = {0};

    (void)state;
    fence_close(&fence);
    struct quiet quiet = postgres_quiet_begin();
    CHECK_FAILS(exec_text(conn, &call, "CREATE TABLE public.fenced ()", &err), &err, ERR_CANCELED,
                "LeadershipLost");
    postgres_quiet_end(&quiet);
    CHECK_OK(run_text(conn, &call, "SELECT 1", &err), &err);
}

static void a_fence_stops_a_commit(void **state)
{
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("");
    struct fence fence = {0};
    struct call call = {.fence = &fence};
    struct err err = {0};

    (void)state;
    fence_open_until(&fence, INT64_MAX);
    CHECK_OK(sql_begin(conn, &call, &err), &err);
    CHECK_OK(exec_text(conn, &call, "CREATE TABLE public.fenced ()", &err), &err);
    fence_close(&fence);
    CHECK_FAILS(sql_commit(conn, &call, &err), &err, ERR_CANCELED, "LeadershipLost");
    sql_rollback(conn);
    CHECK_INT(postgres_int(NULL, "SELECT count(*) FROM pg_class WHERE relname = 'fenced'"), 0);
}

static void *end_session(void *argument)
{
    struct stopper *stopper = argument;

    /* `cancel` here carries no token of the statement: only the session is ended. */
    trigger_when_running(stopper);
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("");
    struct call call = {0};
    struct err err = {0};
    AUTO(sql) struct sql query = {0};
    sql_init(&query);
    SQL(&query, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = ");
    sql_param(&query, stopper->application);
    CHECK_OK(sql_query(conn, &call, &query, NULL, &err), &err);
    return NULL;
}

static void a_session_that_is_ended_is_unreachable(void **state)
{
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("application_name=ended");
    struct stopper stopper = {.cancel = cancel_new(NULL), .application = "ended"};
    struct call call = {0};
    struct err err = {0};
    pthread_t thread;

    (void)state;
    CHECK_INT(pthread_create(&thread, NULL, end_session, &stopper), 0);
    CHECK_FAILS(run_text(conn, &call, "SELECT pg_sleep(25)", &err), &err, ERR_RETRY,
                "DatabaseUnreachable");
    CHECK_TEXT(err.code, "57P01");
    pthread_join(thread, NULL);
    CHECK(!sql_is_healthy(conn));
    CHECK_FAILS(run_text(conn, &call, "SELECT 1", &err), &err, ERR_RETRY, "DatabaseUnreachable");
    cancel_free(stopper.cancel);
}

static void *kill_session(void *argument)
{
    struct stopper *stopper = argument;
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("");
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;
    struct call call = {0};
    struct err err = {0};

    trigger_when_running(stopper);
    sql_init(&query);
    SQL(&query, "SELECT pid FROM pg_stat_activity WHERE application_name = ");
    sql_param(&query, stopper->application);
    CHECK_OK(sql_query(conn, &call, &query, &rows, &err), &err);
    CHECK_INT(kill((pid_t)sql_int(rows, 0, 0), SIGKILL), 0);
    return NULL;
}

/* The whole server restarts after that. */
static void a_server_that_crashes_is_unreachable(void **state)
{
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("application_name=killed");
    struct stopper stopper = {.cancel = cancel_new(NULL), .application = "killed"};
    AUTO(secret) struct secret uri = {0};
    struct call call = {0};
    struct err err = {0};
    pthread_t thread;

    (void)state;
    CHECK_INT(pthread_create(&thread, NULL, kill_session, &stopper), 0);
    CHECK_FAILS(run_text(conn, &call, "SELECT pg_sleep(25)", &err), &err, ERR_RETRY,
                "DatabaseUnreachable");
    pthread_join(thread, NULL);
    cancel_free(stopper.cancel);
    postgres_done();

    /* While it recovers it is unreachable too, never anything else. */
    int64_t end_ms = clock_monotonic_ms() + 20000;
    int result = -1;
    postgres_uri(&uri, "");
    while (result && clock_monotonic_ms() < end_ms) {
        struct sql_conn *again = NULL;
        result = sql_connect_uri(&call, &uri, &again, &err);
        if (result == 0) {
            sql_close(again);
        } else {
            CHECK_TEXT(err.reason, "DatabaseUnreachable");
        }
    }
    CHECK_INT(result, 0);
}

static void a_read_only_database_is_told(void **state)
{
    AUTO(sql_conn)
    struct sql_conn *conn = postgres_connect("options=-c%20default_transaction_read_only%3Don");
    struct call call = {0};
    struct err err = {0};

    (void)state;
    CHECK_FAILS(exec_text(conn, &call, "CREATE TABLE public.t ()", &err), &err, ERR_RETRY,
                "DatabaseReadOnly");
    CHECK_TEXT(err.code, "25006");
}

/* ---- transactions ---- */

static void a_transaction_is_undone_by_rollback(void **state)
{
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("");
    struct call call = {0};
    struct err err = {0};

    (void)state;
    CHECK_OK(sql_begin(conn, &call, &err), &err);
    CHECK(!sql_is_healthy(conn));
    CHECK_OK(exec_text(conn, &call, "CREATE TABLE public.undone ()", &err), &err);
    sql_rollback(conn);
    sql_rollback(conn); /* nothing to do */
    CHECK(sql_is_healthy(conn));
    CHECK_INT(postgres_int(NULL, "SELECT count(*) FROM pg_class WHERE relname = 'undone'"), 0);
}

static void a_failed_transaction_cannot_be_committed(void **state)
{
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("");
    struct call call = {0};
    struct err err = {0};

    (void)state;
    CHECK_OK(sql_begin(conn, &call, &err), &err);
    CHECK_FAILS(run_text(conn, &call, "SELECT 1/0", &err), &err, ERR_RETRY, "SQLError");
    CHECK_FAILS(sql_commit(conn, &call, &err), &err, ERR_RETRY, "SQLError");
    sql_rollback(conn);
    CHECK(sql_is_healthy(conn));
}

static void a_script_is_all_or_nothing(void **state)
{
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("");
    AUTO(sql) struct sql query = {0};
    struct call call = {0};
    struct err err = {0};

    (void)state;
    sql_init(&query);
    SQL(&query, "CREATE TABLE public.half (); SELECT 'a', 'b'; SELECT 1; SELECT 1/0; SELECT 2");
    CHECK_FAILS(sql_script(conn, &call, &query, &err), &err, ERR_RETRY, "SQLError");
    CHECK_TEXT(err.code, "22012");
    CHECK(sql_is_healthy(conn));
    CHECK_INT(postgres_int(NULL, "SELECT count(*) FROM pg_class WHERE relname = 'half'"), 0);
    sql_clear(&query);
    SQL(&query, "SELECT ");
    sql_param(&query, "x");
    CHECK_FAILS(sql_script(conn, &call, &query, &err), &err, ERR_TERMINAL, "InvalidStatement");
}

static void copy_is_not_for_us(void **state)
{
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("");
    struct call call = {0};
    struct err err = {0};

    (void)state;
    CHECK_FAILS(run_text(conn, &call, "COPY pg_class TO STDOUT", &err), &err, ERR_TERMINAL,
                "InvalidStatement");
    CHECK(!sql_is_healthy(conn));
}

static void a_lock_is_waited_for_and_then_given_up(void **state)
{
    AUTO(sql_conn) struct sql_conn *holder = postgres_connect("");
    AUTO(sql_conn)
    struct sql_conn *waiter = postgres_connect("options=-c%20lock_timeout%3D100");
    struct call call = {0};
    struct err err = {0};

    (void)state;
    CHECK_OK(sql_begin(holder, &call, &err), &err);
    CHECK_OK(sql_lock(holder, &call, 7, "it's", &err), &err);
    CHECK_OK(sql_begin(waiter, &call, &err), &err);
    CHECK_OK(sql_lock(waiter, &call, 8, "it's", &err), &err);
    CHECK_FAILS(sql_lock(waiter, &call, 7, "it's", &err), &err, ERR_RETRY, "LockTimeout");
    sql_rollback(waiter);
    CHECK_OK(sql_commit(holder, &call, &err), &err);
    CHECK_OK(sql_begin(waiter, &call, &err), &err);
    CHECK_OK(sql_lock(waiter, &call, 7, "it's", &err), &err);
}

/* ---- the rest ---- */

static void a_verifier_lets_its_password_in(void **state)
{
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("");
    AUTO(secret) struct secret password = {0};
    AUTO(secret) struct secret verifier = {0};
    AUTO(sql) struct sql query = {0};
    AUTO(buf) struct buf more = BUF(1000);
    struct call call = {0};
    struct err err = {0};

    (void)state;
    secret_generate(&password, 24);
    CHECK_OK(sql_scram_verifier(conn, &password, &verifier, &err), &err);
    CHECK_INT(strncmp(secret_bytes(&verifier), "SCRAM-SHA-256$", 14), 0);
    CHECK_NULL(strstr(secret_bytes(&verifier), secret_bytes(&password)));
    postgres_run(NULL, "DROP ROLE IF EXISTS scram_test");
    sql_init(&query);
    SQL(&query, "CREATE ROLE scram_test LOGIN PASSWORD ");
    sql_literal_secret(&query, &verifier);
    CHECK_OK(sql_exec(conn, &call, &query, NULL, &err), &err);
    CHECK(buf_printf(&more, "user=scram_test&password=%s", secret_bytes(&password)));
    struct sql_conn *as_role = postgres_connect(buf_text(&more));
    AUTO(free) char *user = postgres_text(as_role, "SELECT current_user");
    CHECK_TEXT(user, "scram_test");
    sql_close(as_role);
    postgres_run(NULL, "DROP ROLE scram_test");
}

static double count(const char *name)
{
    AUTO(buf) struct buf page = BUF(1 << 20);
    AUTO(buf) struct buf line = BUF(200);

    CHECK(metrics_render(&page));
    CHECK(buf_printf(&line, "\n%s ", name));
    const char *at = strstr(buf_text(&page), buf_text(&line));
    return at ? strtod(at + line.len, NULL) : -1;
}

static void reads_and_writes_are_counted(void **state)
{
    AUTO(sql_conn) struct sql_conn *conn = postgres_connect("");
    struct call call = {0};
    struct err err = {0};

    (void)state;
    CHECK_OK(exec_text(conn, &call, "CREATE TEMPORARY TABLE t ()", &err), &err);
    double queries = count("tenantry_sql_queries_total");
    double writes = count("tenantry_sql_writes_total");
    CHECK_OK(run_text(conn, &call, "SELECT 1", &err), &err);
    CHECK_OK(exec_text(conn, &call, "DROP TABLE t", &err), &err);
    CHECK(count("tenantry_sql_queries_total") == queries + 2);
    CHECK(count("tenantry_sql_writes_total") == writes + 1);
}

static int close_all(void **state)
{
    (void)state;
    postgres_done();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hostile_values_arrive_as_they_are),
        cmocka_unit_test(hostile_constants_survive_the_old_string_syntax),
        cmocka_unit_test(hostile_names_become_names),
        cmocka_unit_test(bytes_that_are_no_text_are_refused_by_the_server),
        cmocka_unit_test(a_query_is_one_statement),
        cmocka_unit_test(values_are_read_by_kind),
        cmocka_unit_test(affected_rows_are_counted),
        cmocka_unit_test(errors_carry_state_and_primary_message_only),
        cmocka_unit_test(too_many_rows_are_stopped),
        cmocka_unit_test(too_many_bytes_are_stopped),
        cmocka_unit_test(a_statement_that_could_not_be_built_is_not_sent),
        cmocka_unit_test(a_cancel_ends_the_statement_on_both_sides),
        cmocka_unit_test(a_deadline_ends_the_statement_on_both_sides),
        cmocka_unit_test(a_deadline_that_has_passed_sends_nothing),
        cmocka_unit_test(the_servers_statement_timeout_is_told),
        cmocka_unit_test(a_hung_server_is_given_up),
        cmocka_unit_test(a_fence_stops_writes_and_no_reads),
        cmocka_unit_test(a_fence_stops_a_commit),
        cmocka_unit_test(a_session_that_is_ended_is_unreachable),
        cmocka_unit_test(a_server_that_crashes_is_unreachable),
        cmocka_unit_test(a_read_only_database_is_told),
        cmocka_unit_test(a_transaction_is_undone_by_rollback),
        cmocka_unit_test(a_failed_transaction_cannot_be_committed),
        cmocka_unit_test(a_script_is_all_or_nothing),
        cmocka_unit_test(copy_is_not_for_us),
        cmocka_unit_test(a_lock_is_waited_for_and_then_given_up),
        cmocka_unit_test(a_verifier_lets_its_password_in),
        cmocka_unit_test(reads_and_writes_are_counted),
    };

    return cmocka_run_group_tests(tests, NULL, close_all);
}
