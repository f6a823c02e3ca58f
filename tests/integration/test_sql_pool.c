/* A pool lends no connection twice and none that is broken, and whoever waits gets one in turn, or
 * is told. */
#include "tests/check.h"
#include "tests/integration/postgres.h"

#include <pthread.h>
#include <stdatomic.h>

#include "controller/base/clock.h"
#include "reconcilers/drivers/sql_internal.h"
#include "reconcilers/drivers/sql_pool.h"

enum { SIZE = 4, THREADS = 16, ROUNDS = 40, AT_ONCE_MS = 2000 };

static atomic_int opened;

static int open_connection(void *context, const struct call *call, struct sql_conn **ret,
                           struct err *err)
{
    AUTO(secret) struct secret uri = {0};

    atomic_fetch_add(&opened, 1);
    (void)context;
    postgres_uri(&uri, "application_name=pool");
    return sql_connect_uri(call, &uri, ret, err);
}

static int open_nothing(void *context, const struct call *call, struct sql_conn **ret,
                        struct err *err)
{
    (void)context;
    (void)call;
    (void)ret;
    return err_set(err, ERR_RETRY, "DatabaseUnreachable", "there is nothing");
}

static struct sql_pool *make_pool(int size)
{
    return sql_pool_new("test", size, open_connection, NULL);
}

static int64_t backend_pid(struct sql_conn *conn)
{
    return postgres_int(conn, "SELECT pg_backend_pid()");
}

/* ---- one thread ---- */

static void a_returned_connection_is_lent_again(void **state)
{
    struct sql_pool *pool = make_pool(2);
    struct sql_conn *conn = NULL;
    struct call call = {0};
    struct err err = {0};

    (void)state;
    CHECK_OK(sql_pool_borrow(pool, &call, &conn, &err), &err);
    int64_t pid = backend_pid(conn);
    sql_pool_return(pool, conn);
    CHECK_OK(sql_pool_borrow(pool, &call, &conn, &err), &err);
    CHECK(backend_pid(conn) == pid);
    sql_pool_return(pool, conn);
    sql_pool_return(pool, NULL);
    sql_pool_free(pool);
    postgres_wait("SELECT 1 - count(*) FROM pg_stat_activity WHERE application_name = 'pool'");
}

static void a_connection_in_a_transaction_is_closed(void **state)
{
    struct sql_pool *pool = make_pool(1);
    struct sql_conn *conn = NULL;
    struct call call = {0};
    struct err err = {0};

    (void)state;
    CHECK_OK(sql_pool_borrow(pool, &call, &conn, &err), &err);
    int64_t pid = backend_pid(conn);
    CHECK_OK(sql_begin(conn, &call, &err), &err);
    sql_pool_return(pool, conn);
    CHECK_OK(sql_pool_borrow(pool, &call, &conn, &err), &err);
    CHECK(backend_pid(conn) != pid);
    sql_pool_return(pool, conn);
    sql_pool_free(pool);
}

static void a_connection_that_died_while_idle_is_not_lent(void **state)
{
    struct sql_pool *pool = make_pool(1);
    struct sql_conn *conn = NULL;
    struct call call = {0};
    struct err err = {0};

    (void)state;
    CHECK_OK(sql_pool_borrow(pool, &call, &conn, &err), &err);
    int64_t pid = backend_pid(conn);
    sql_pool_return(pool, conn);
    postgres_run(NULL, "SELECT pg_terminate_backend(%lld)", (long long)pid);
    postgres_wait("SELECT 1 - count(*) FROM pg_stat_activity WHERE pid = %lld", (long long)pid);
    CHECK_OK(sql_pool_borrow(pool, &call, &conn, &err), &err);
    CHECK(backend_pid(conn) != pid);
    sql_pool_return(pool, conn);
    sql_pool_free(pool);
}

static void a_reset_closes_idle_and_lent_connections(void **state)
{
    struct sql_pool *pool = make_pool(2);
    struct sql_conn *idle = NULL;
    struct sql_conn *lent = NULL;
    struct call call = {0};
    struct err err = {0};

    (void)state;
    CHECK_OK(sql_pool_borrow(pool, &call, &idle, &err), &err);
    CHECK_OK(sql_pool_borrow(pool, &call, &lent, &err), &err);
    int64_t first = backend_pid(idle);
    int64_t second = backend_pid(lent);
    sql_pool_return(pool, idle);
    sql_pool_reset(pool);
    CHECK(backend_pid(lent) == second); /* goes on until it is returned */
    sql_pool_return(pool, lent);
    postgres_wait("SELECT 1 - count(*) FROM pg_stat_activity WHERE pid IN (%lld, %lld)",
                  (long long)first, (long long)second);
    sql_pool_free(pool);
}

static void a_connection_is_replaced_after_a_thousand_borrows(void **state)
{
    struct sql_pool *pool = make_pool(1);
    struct sql_conn *conn = NULL;
    struct call call = {0};
    struct err err = {0};
    int before = atomic_load(&opened);

    (void)state;
    for (int i = 0; i < 1000; i++) {
        CHECK_OK(sql_pool_borrow(pool, &call, &conn, &err), &err);
        sql_pool_return(pool, conn);
    }
    CHECK_INT(atomic_load(&opened) - before, 1);
    CHECK_OK(sql_pool_borrow(pool, &call, &conn, &err), &err);
    CHECK_INT(atomic_load(&opened) - before, 2);
    sql_pool_return(pool, conn);
    sql_pool_free(pool);
}

static void who_cannot_wait_is_told(void **state)
{
    struct sql_pool *pool = make_pool(1);
    struct sql_conn *conn = NULL;
    struct sql_conn *second = NULL;
    struct call call = {0};
    struct err err = {0};

    (void)state;
    CHECK_OK(sql_pool_borrow(pool, &call, &conn, &err), &err);
    int64_t start_ms = clock_monotonic_ms();
    call.deadline_ms = start_ms + 100;
    CHECK_FAILS(sql_pool_borrow(pool, &call, &second, &err), &err, ERR_RETRY, "PoolExhausted");
    CHECK(clock_monotonic_ms() - start_ms >= 100);
    sql_pool_return(pool, conn);
    call.deadline_ms = 0;
    CHECK_OK(sql_pool_borrow(pool, &call, &second, &err), &err);
    sql_pool_return(pool, second);
    sql_pool_free(pool);
}

static void a_failure_to_open_gives_the_place_back(void **state)
{
    struct sql_pool *pool = sql_pool_new("test", 1, open_nothing, NULL);
    struct sql_conn *conn = NULL;
    struct call call = {0};
    struct err err = {0};

    (void)state;
    for (int i = 0; i < 3; i++) {
        CHECK_FAILS(sql_pool_borrow(pool, &call, &conn, &err), &err, ERR_RETRY,
                    "DatabaseUnreachable");
    }
    sql_pool_free(pool);
}

/* ---- many threads ---- */

struct crowd {
    struct sql_pool *pool;
    atomic_int lent;
    atomic_int most;
    atomic_int failures;
    atomic_bool owned[1 << 16]; /* by descriptor of the connection: no two borrowers share one */
};

static bool use(struct crowd *crowd, struct sql_conn *conn)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;
    struct call call = {0};
    struct err err = {0};
    int now = atomic_fetch_add(&crowd->lent, 1) + 1;
    int most = atomic_load(&crowd->most);
    int fd = PQsocket(conn->pg);

    while (now > most && !atomic_compare_exchange_weak(&crowd->most, &most, now)) {
    }
    bool alone = !atomic_exchange(&crowd->owned[fd], true);
    sql_init(&query);
    SQL(&query, "SELECT 40 + ");
    sql_param_int(&query, 2);
    SQL(&query, "::int");
    bool good = sql_query(conn, &call, &query, &rows, &err) == 0 && sql_int(rows, 0, 0) == 42;
    atomic_store(&crowd->owned[fd], false);
    atomic_fetch_sub(&crowd->lent, 1);
    return alone && good;
}

static void *borrow_again_and_again(void *argument)
{
    struct crowd *crowd = argument;
    struct call call = {0};
    struct err err = {0};

    for (int i = 0; i < ROUNDS; i++) {
        struct sql_conn *conn = NULL;
        if (sql_pool_borrow(crowd->pool, &call, &conn, &err)) {
            atomic_fetch_add(&crowd->failures, 1);
            continue;
        }
        if (!use(crowd, conn)) {
            atomic_fetch_add(&crowd->failures, 1);
        }
        if (i % 16 == 15) { /* a broken one now and then */
            conn->broken = true;
        }
        sql_pool_return(crowd->pool, conn);
    }
    return NULL;
}

static void sixteen_threads_share_four_connections(void **state)
{
    struct crowd *crowd = xcalloc(1, sizeof(*crowd));
    pthread_t threads[THREADS];

    (void)state;
    crowd->pool = make_pool(SIZE);
    for (int i = 0; i < THREADS; i++) {
        CHECK_INT(pthread_create(&threads[i], NULL, borrow_again_and_again, crowd), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK_INT(atomic_load(&crowd->failures), 0);
    CHECK(atomic_load(&crowd->most) <= SIZE);
    CHECK(atomic_load(&crowd->most) > 1);
    sql_pool_free(crowd->pool);
    free(crowd);
}

struct waiter_thread {
    struct sql_pool *pool;
    struct cancel *cancel;
    atomic_bool begun;
    int result;
    struct err err;
};

static void *wait_for_one(void *argument)
{
    struct waiter_thread *waiter = argument;
    struct call call = {.cancel = waiter->cancel};
    struct sql_conn *conn = NULL;

    atomic_store(&waiter->begun, true);
    waiter->result = sql_pool_borrow(waiter->pool, &call, &conn, &waiter->err);
    if (waiter->result == 0) {
        sql_pool_return(waiter->pool, conn);
    }
    return NULL;
}

static void start_waiter(struct waiter_thread *waiter, pthread_t *thread)
{
    CHECK_INT(pthread_create(thread, NULL, wait_for_one, waiter), 0);
    while (!atomic_load(&waiter->begun)) {
        sched_yield();
    }
}

static void a_cancel_ends_the_waiting(void **state)
{
    struct waiter_thread waiter = {.pool = make_pool(1), .cancel = cancel_new(NULL)};
    struct sql_conn *conn = NULL;
    struct call call = {0};
    struct err err = {0};
    pthread_t thread;

    (void)state;
    CHECK_OK(sql_pool_borrow(waiter.pool, &call, &conn, &err), &err);
    start_waiter(&waiter, &thread);
    int64_t start_ms = clock_monotonic_ms();
    cancel_trigger(waiter.cancel);
    pthread_join(thread, NULL);
    CHECK(clock_monotonic_ms() - start_ms < AT_ONCE_MS);
    CHECK_INT(waiter.result, -1);
    CHECK_INT(waiter.err.cls, ERR_CANCELED);
    sql_pool_return(waiter.pool, conn);
    CHECK_OK(sql_pool_borrow(waiter.pool, &call, &conn, &err), &err); /* no place was lost */
    sql_pool_return(waiter.pool, conn);
    sql_pool_free(waiter.pool);
    cancel_free(waiter.cancel);
}

static void a_returned_connection_goes_to_who_waits(void **state)
{
    struct waiter_thread waiter = {.pool = make_pool(1)};
    struct sql_conn *conn = NULL;
    struct call call = {0};
    struct err err = {0};
    pthread_t thread;

    (void)state;
    CHECK_OK(sql_pool_borrow(waiter.pool, &call, &conn, &err), &err);
    start_waiter(&waiter, &thread);
    sql_pool_return(waiter.pool, conn);
    pthread_join(thread, NULL);
    CHECK_INT(waiter.result, 0);
    sql_pool_free(waiter.pool);
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
        cmocka_unit_test(a_returned_connection_is_lent_again),
        cmocka_unit_test(a_connection_in_a_transaction_is_closed),
        cmocka_unit_test(a_connection_that_died_while_idle_is_not_lent),
        cmocka_unit_test(a_reset_closes_idle_and_lent_connections),
        cmocka_unit_test(a_connection_is_replaced_after_a_thousand_borrows),
        cmocka_unit_test(who_cannot_wait_is_told),
        cmocka_unit_test(a_failure_to_open_gives_the_place_back),
        cmocka_unit_test(sixteen_threads_share_four_connections),
        cmocka_unit_test(a_cancel_ends_the_waiting),
        cmocka_unit_test(a_returned_connection_goes_to_who_waits),
    };

    return cmocka_run_group_tests(tests, NULL, close_all);
}
