/* Running statements. libpq is used without blocking: a statement is sent, and the socket polled
 * beside the cancellation until its results are there, the deadline has passed, or the program
 * wants to stop; then the server is told to cancel, and the connection is given up, because a
 * cancel request that comes late would hit the next statement instead.
 *
 * Results are taken in single-row mode into memory of our own, so that a statement which returns
 * more than the limits is stopped while it runs rather than after it has filled our memory. */
#include "reconcilers/drivers/sql.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "controller/base/clock.h"
#include "controller/base/metrics.h"
#include "controller/base/str.h"
#include "reconcilers/drivers/sql_internal.h"

enum {
    ROWS_MAX = 100 * 1000,
    ROWS_MAX_BYTES = 64 << 20,
    ROLLBACK_MS = 2 * 1000,
    DRAIN_LATE_MS = 1000,    /* a cancelled statement may take this long to end */
    DRAIN_CANCELED_MS = 250, /* the program is stopping: less patience */
    CANCEL_THREADS_MAX = 32,
    CANCEL_STACK_BYTES = 256 * 1024,
};

struct sql_rows {
    struct arena arena;
    char **cells; /* row by row; NULL is SQL NULL */
    size_t cell_capacity;
    int row_count;
    int column_count;
    int64_t affected;
};

static struct metric queries =
    METRIC_COUNTER("tenantry_sql_queries_total", "SQL statements sent, writes included.");
static struct metric writes =
    METRIC_COUNTER("tenantry_sql_writes_total", "SQL statements sent that may write.");

/* ---- waiting ---- */

int64_t sql_until_ms(const struct call *call, int64_t limit_ms)
{
    return clock_monotonic_ms() + call_remaining_ms(call, limit_ms);
}

enum sql_wait sql_wait_fd(int fd, short events, const struct call *call, int64_t until_ms,
                          short *ret_events)
{
    const struct cancel *cancel = call ? call->cancel : NULL;
    struct pollfd fds[2] = {{.fd = fd, .events = events},
                            {.fd = cancel ? cancel_fd(cancel) : -1, .events = POLLIN}};

    for (;;) {
        int64_t left_ms = until_ms - clock_monotonic_ms();
        int timeout_ms = left_ms <= 0 ? 0 : (int)(left_ms < INT32_MAX ? left_ms : INT32_MAX);
        int ready = poll(fds, ARRAY_COUNT(fds), timeout_ms);
        if (ready < 0 && errno != EINTR) {
            out_of_memory(); /* ENOMEM is all that poll can fail with here */
        }
        if (ready > 0 && fds[1].revents) {
            return SQL_WAIT_CANCELED;
        }
        if (ready > 0 && fds[0].revents) {
            if (ret_events) {
                *ret_events = fds[0].revents;
            }
            return SQL_WAIT_READY;
        }
        if (ready == 0 && left_ms <= 0) {
            return SQL_WAIT_LATE;
        }
    }
}

/* ---- canceling ---- */

static atomic_int cancel_threads;

static void *send_cancel(void *argument)
{
    PGcancel *cancel = argument;
    char ignored[256];

    PQcancel(cancel, ignored, sizeof(ignored));
    PQfreeCancel(cancel);
    atomic_fetch_sub(&cancel_threads, 1);
    return NULL;
}

/* Ask the server to cancel what the connection runs. PQcancel makes a connection of its own and
 * waits for its end, which a hung server never grants; so a thread does it. Where that cannot be
 * started, the server's statement timeout ends the statement. */
static void request_cancel(struct sql_conn *conn)
{
    pthread_attr_t attributes;
    pthread_t thread;
    PGcancel *cancel = PQgetCancel(conn->pg);

    if (!cancel) {
        return;
    }
    if (atomic_fetch_add(&cancel_threads, 1) < CANCEL_THREADS_MAX) {
        pthread_attr_init(&attributes);
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        pthread_attr_setstacksize(&attributes, CANCEL_STACK_BYTES);
        int failure = pthread_create(&thread, &attributes, send_cancel, cancel);
        pthread_attr_destroy(&attributes);
        if (!failure) {
            return;
        }
    }
    atomic_fetch_sub(&cancel_threads, 1);
    PQfreeCancel(cancel);
}

static bool is_copy(ExecStatusType status)
{
    return status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH;
}

/* Cancel, and wait a little for the statement's end, so that whoever tries again does not meet the
 * old one. True when the server has ended it. */
static bool abandon(struct sql_conn *conn, int64_t patience_ms)
{
    int64_t until_ms = clock_monotonic_ms() + patience_ms;

    conn->broken = true;
    request_cancel(conn);
    for (;;) {
        while (!PQisBusy(conn->pg)) {
            PGresult *result = PQgetResult(conn->pg);
            if (!result) {
                return PQstatus(conn->pg) == CONNECTION_OK;
            }
            bool copying = is_copy(PQresultStatus(result));
            PQclear(result);
            if (copying) { /* libpq gives this result again and again */
                return false;
            }
        }
        if (sql_wait_fd(PQsocket(conn->pg), POLLIN, NULL, until_ms, NULL) != SQL_WAIT_READY ||
            !PQconsumeInput(conn->pg)) {
            return false;
        }
    }
}

/* ---- rows ---- */

void sql_rows_free(struct sql_rows *rows)
{
    if (rows) {
        arena_release(&rows->arena);
        free(rows->cells);
        free(rows);
    }
}

int sql_row_count(const struct sql_rows *rows)
{
    return rows->row_count;
}

int64_t sql_affected(const struct sql_rows *rows)
{
    return rows->affected;
}

static const char *cell(const struct sql_rows *rows, int row, int column)
{
    if (row < 0 || row >= rows->row_count || column < 0 || column >= rows->column_count) {
        return NULL;
    }
    return rows->cells[(size_t)row * (size_t)rows->column_count + (size_t)column];
}

bool sql_is_null(const struct sql_rows *rows, int row, int column)
{
    return !cell(rows, row, column);
}

const char *sql_text(const struct sql_rows *rows, int row, int column)
{
    const char *text = cell(rows, row, column);

    return text ? text : "";
}

int64_t sql_int(const struct sql_rows *rows, int row, int column)
{
    int64_t value = 0;

    return str_to_int64(str_from(sql_text(rows, row, column)), &value) ? value : 0;
}

bool sql_bool(const struct sql_rows *rows, int row, int column)
{
    return text_equal(sql_text(rows, row, column), "t");
}

/* Take over the rows of one result. False when a limit is passed. */
static bool rows_add(struct sql_rows *rows, const PGresult *result)
{
    int fields = PQnfields(result);

    if (rows->row_count == 0) {
        rows->column_count = fields;
    }
    for (int row = 0; row < PQntuples(result); row++) {
        size_t used = (size_t)rows->row_count * (size_t)rows->column_count;
        if (rows->row_count >= ROWS_MAX || rows->column_count != fields) {
            return false;
        }
        if (used + (size_t)fields > rows->cell_capacity) {
            rows->cell_capacity = 2 * (used + (size_t)fields);
            rows->cells = xrealloc(rows->cells, rows->cell_capacity * sizeof(*rows->cells));
        }
        for (int column = 0; column < fields; column++) {
            size_t length = (size_t)PQgetlength(result, row, column);
            if (rows->arena.used_bytes + length > ROWS_MAX_BYTES) {
                return false;
            }
            rows->cells[used + (size_t)column] =
                PQgetisnull(result, row, column)
                    ? NULL
                    : arena_strndup(&rows->arena, PQgetvalue(result, row, column), length);
        }
        rows->row_count++;
    }
    return true;
}

/* ---- running ---- */

/* What the results of one statement, or script, came to. */
struct answer {
    struct sql_rows *rows; /* NULL: whatever rows come are dropped */
    struct err err;        /* the first error; cls ERR_OK when none */
    bool too_large;
};

static void take_result(struct sql_conn *conn, PGresult *result, struct answer *answer)
{
    int64_t affected = 0;

    switch (PQresultStatus(result)) {
    case PGRES_SINGLE_TUPLE:
    case PGRES_TUPLES_OK:
    case PGRES_COMMAND_OK: /* without rows, if it is no RETURNING */
        if (!answer->rows) {
            break;
        }
        answer->too_large |= !rows_add(answer->rows, result);
        if (str_to_int64(str_from(PQcmdTuples(result)), &affected)) {
            answer->rows->affected = affected;
        }
        break;
    case PGRES_EMPTY_QUERY:
        break;
    case PGRES_FATAL_ERROR:
        if (answer->err.cls == ERR_OK) {
            sql_err_from_result(result, &answer->err);
        }
        break;
    default: /* COPY, replication: nothing that we ever send */
        conn->broken = true;
        if (answer->err.cls == ERR_OK) {
            err_set(&answer->err, ERR_TERMINAL, "InvalidStatement",
                    "the server answered with a protocol that is not used here");
        }
        break;
    }
}

/* Wait until libpq has something for us. */
static int wait_readable(struct sql_conn *conn, const struct call *call, int64_t until_ms,
                         struct err *err)
{
    short events = 0;

    for (;;) {
        int unsent = PQflush(conn->pg);
        if (unsent < 0) { /* the server may have said why before it closed the connection */
            (void)PQconsumeInput(conn->pg);
            return PQisBusy(conn->pg) ? sql_err_lost(err) : 0;
        }
        if (unsent == 0 && !PQisBusy(conn->pg)) {
            return 0;
        }
        short wanted = (short)(unsent ? POLLIN | POLLOUT : POLLIN);
        switch (sql_wait_fd(PQsocket(conn->pg), wanted, call, until_ms, &events)) {
        case SQL_WAIT_CANCELED:
            abandon(conn, DRAIN_CANCELED_MS);
            return err_set(err, ERR_CANCELED, "Canceled", "canceled");
        case SQL_WAIT_LATE:
            if (abandon(conn, DRAIN_LATE_MS)) {
                return sql_err_set(err, "57014", "the statement was canceled at its deadline");
            }
            return sql_err_set(err, "08006", "the server hangs: it gave no answer in time");
        case SQL_WAIT_READY:
            break;
        }
        if ((events & ~POLLOUT) && !PQconsumeInput(conn->pg) &&
            PQstatus(conn->pg) != CONNECTION_OK && !PQisBusy(conn->pg)) {
            return 0; /* the loss is the next result */
        }
    }
}

static int collect(struct sql_conn *conn, const struct call *call, struct answer *answer,
                   struct err *err)
{
    int64_t until_ms = sql_until_ms(call, conn->limit_ms);

    for (;;) {
        if (wait_readable(conn, call, until_ms, err)) {
            return -1;
        }
        PGresult *result = PQgetResult(conn->pg);
        if (!result) {
            return 0;
        }
        take_result(conn, result, answer);
        PQclear(result);
        if (answer->too_large && answer->err.cls == ERR_OK) {
            err_set(&answer->err, ERR_RETRY, "ResponseTooLarge",
                    "the statement gave more than %d rows or %d MiB", ROWS_MAX,
                    ROWS_MAX_BYTES >> 20);
        }
        if (answer->too_large || conn->broken) {
            abandon(conn, DRAIN_CANCELED_MS);
            return 0;
        }
    }
}

static int send_text(struct sql_conn *conn, const struct sql *query, bool script, struct err *err)
{
    const char *text = buf_text(&query->text);
    int sent = script ? PQsendQuery(conn->pg, text)
                      : PQsendQueryParams(conn->pg, text, query->parameter_count, NULL,
                                          query->parameters, NULL, NULL, 0);

    if (!sent) {
        conn->broken = true;
        return sql_err_lost(err);
    }
    if (!script) {
        PQsetSingleRowMode(conn->pg);
    }
    return 0;
}

enum kind { KIND_READ, KIND_WRITE, KIND_SCRIPT };

static int run(struct sql_conn *conn, const struct call *call, const struct sql *query,
               enum kind kind, struct sql_rows **ret_rows, struct err *err)
{
    AUTO(sql_rows) struct sql_rows *rows = xcalloc(1, sizeof(*rows));
    struct answer answer = {.rows = kind == KIND_SCRIPT ? NULL : rows};

    if (sql_check_built(query, err) ||
        (kind == KIND_READ ? call_check(call, err) : call_check_write(call, err))) {
        return -1;
    }
    if (conn->broken || PQstatus(conn->pg) != CONNECTION_OK) {
        return sql_err_lost(err);
    }
    metric_add(&queries, 1);
    if (kind != KIND_READ) {
        metric_add(&writes, 1);
    }
    if (send_text(conn, query, kind == KIND_SCRIPT, err) || collect(conn, call, &answer, err)) {
        return -1;
    }
    if (PQstatus(conn->pg) != CONNECTION_OK) {
        conn->broken = true;
    }
    if (answer.err.cls != ERR_OK) {
        *err = answer.err;
        return -1;
    }
    if (ret_rows) {
        *ret_rows = TAKE(rows);
    }
    return 0;
}

int sql_query(struct sql_conn *conn, const struct call *call, struct sql *query,
              struct sql_rows **ret_rows, struct err *err)
{
    return run(conn, call, query, KIND_READ, ret_rows, err);
}

int sql_exec(struct sql_conn *conn, const struct call *call, struct sql *query,
             struct sql_rows **ret_rows, struct err *err)
{
    return run(conn, call, query, KIND_WRITE, ret_rows, err);
}

int sql_script(struct sql_conn *conn, const struct call *call, struct sql *query, struct err *err)
{
    if (query->parameter_count > 0) {
        return err_set(err, ERR_TERMINAL, "InvalidStatement", "a script takes no parameters");
    }
    return run(conn, call, query, KIND_SCRIPT, NULL, err);
}

/* ---- transactions ---- */

int sql_be_patient(struct sql_conn *conn, const struct call *call, int64_t timeout_ms,
                   struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "SELECT set_config('statement_timeout', ");
    sql_param_int(&query, timeout_ms);
    SQL(&query, "::text, false), set_config('idle_in_transaction_session_timeout', '0', false)");
    if (sql_query(conn, call, &query, NULL, err)) {
        return -1;
    }
    conn->limit_ms = timeout_ms + SQL_HUNG_MARGIN_MS;
    return 0;
}

int sql_begin(struct sql_conn *conn, const struct call *call, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "BEGIN");
    return sql_query(conn, call, &query, NULL, err);
}

int sql_commit(struct sql_conn *conn, const struct call *call, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "COMMIT");
    if (PQtransactionStatus(conn->pg) == PQTRANS_INERROR) {
        /* The server would answer with a rollback and call it a success. */
        return err_set(err, ERR_RETRY, "SQLError", "the transaction has failed before its commit");
    }
    if (call_check_write(call, err)) {
        return -1;
    }
    return sql_query(conn, call, &query, NULL, err);
}

void sql_rollback(struct sql_conn *conn)
{
    AUTO(sql) struct sql query = {0};
    struct call call = {.deadline_ms = clock_monotonic_ms() + ROLLBACK_MS};
    struct err ignored;

    if (conn->broken || PQtransactionStatus(conn->pg) == PQTRANS_IDLE) {
        return;
    }
    sql_init(&query);
    SQL(&query, "ROLLBACK");
    if (sql_query(conn, &call, &query, NULL, &ignored)) {
        conn->broken = true;
    }
}

int sql_lock(struct sql_conn *conn, const struct call *call, int32_t lock_class, const char *text,
             struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "SELECT pg_advisory_xact_lock(");
    sql_param_int(&query, lock_class);
    SQL(&query, "::int4, hashtext(");
    sql_param(&query, text);
    SQL(&query, "))");
    return sql_query(conn, call, &query, NULL, err);
}

int sql_scram_verifier(struct sql_conn *conn, const struct secret *password,
                       struct secret *ret_verifier, struct err *err)
{
    /* The user's name does not enter a SCRAM verifier. */
    char *verifier = PQencryptPasswordConn(conn->pg, secret_bytes(password), "", "scram-sha-256");

    if (!verifier) {
        return err_set(err, ERR_RETRY, "SQLError", "no SCRAM verifier could be made");
    }
    secret_set(ret_verifier, str_from(verifier));
    explicit_bzero(verifier, strlen(verifier));
    PQfreemem(verifier);
    return 0;
}
