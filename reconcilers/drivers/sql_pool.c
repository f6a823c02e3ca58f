/* A pool of connections. Borrowers that find none wait in a queue, first come, first served: a
 * returned connection, or the right to open one, is handed to the first of them, so nobody starves.
 * Each waits on an eventfd of its own beside its cancellation.
 *
 * One mutex guards all; opening and closing, which talk to the server, happen outside of it. A
 * connection being opened counts as lent. */
#include "reconcilers/drivers/sql_pool.h"

#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "controller/base/clock.h"
#include "reconcilers/drivers/sql_internal.h"

enum {
    WAIT_MS = 10 * 1000,
    IDLE_MAX_MS = 60 * 1000,
    BORROWS_MAX = 1000,
};

struct waiter {
    struct waiter *next;
    int fd;
    bool granted;          /* may have one: */
    struct sql_conn *conn; /* this, or NULL: to be opened */
};

struct sql_pool {
    pthread_mutex_t lock;
    char *name;
    int size;
    sql_open_fn open;
    void *context;
    int lent;              /* borrowed, being opened, or granted */
    struct sql_conn *idle; /* the one used last comes first, so that the others can age */
    int idle_count;
    uint64_t generation; /* older connections are closed */
    struct waiter *first;
    struct waiter **last;
};

struct sql_pool *sql_pool_new(const char *name, int size, sql_open_fn open, void *context)
{
    struct sql_pool *pool = xcalloc(1, sizeof(*pool));

    pthread_mutex_init(&pool->lock, NULL);
    pool->name = xstrdup(name);
    pool->size = size > 0 ? size : 1;
    pool->open = open;
    pool->context = context;
    pool->last = &pool->first;
    return pool;
}

static void close_list(struct sql_conn *list)
{
    while (list) {
        struct sql_conn *next = list->pool_next;
        sql_close(list);
        list = next;
    }
}

void sql_pool_free(struct sql_pool *pool)
{
    if (!pool) {
        return;
    }
    close_list(pool->idle);
    pthread_mutex_destroy(&pool->lock);
    free(pool->name);
    free(pool);
}

/* ---- under the lock ---- */

/* Take what has been idle for too long off the list. */
static struct sql_conn *take_aged(struct sql_pool *pool)
{
    int64_t now_ms = clock_monotonic_ms();
    struct sql_conn **at = &pool->idle;

    while (*at && now_ms - (*at)->pool_idle_since_ms < IDLE_MAX_MS) {
        at = &(*at)->pool_next;
    }
    struct sql_conn *aged = *at; /* all behind it are older still */
    *at = NULL;
    for (struct sql_conn *conn = aged; conn; conn = conn->pool_next) {
        pool->idle_count--;
    }
    return aged;
}

static struct sql_conn *take_idle(struct sql_pool *pool)
{
    struct sql_conn *conn = pool->idle;

    if (conn) {
        pool->idle = conn->pool_next;
        conn->pool_next = NULL;
        pool->idle_count--;
    }
    return conn;
}

static void enqueue(struct sql_pool *pool, struct waiter *waiter)
{
    waiter->next = NULL;
    *pool->last = waiter;
    pool->last = &waiter->next;
}

static void dequeue(struct sql_pool *pool, struct waiter *waiter)
{
    struct waiter **at = &pool->first;

    while (*at && *at != waiter) {
        at = &(*at)->next;
    }
    if (*at) {
        *at = waiter->next;
        if (!*at) {
            pool->last = at;
        }
    }
}

/* One lent place is free: hand it on with conn (may be NULL), or give it back. conn that is left
 * over goes to the idle ones. */
static void release_place(struct sql_pool *pool, struct sql_conn *conn)
{
    struct waiter *waiter = pool->first;

    if (waiter) {
        const uint64_t one = 1;
        dequeue(pool, waiter);
        waiter->granted = true;
        waiter->conn = conn;
        ssize_t written = write(waiter->fd, &one, sizeof(one));
        (void)written; /* an eventfd takes its first count always */
        return;
    }
    pool->lent--;
    if (conn) {
        conn->pool_idle_since_ms = clock_monotonic_ms();
        conn->pool_next = pool->idle;
        pool->idle = conn;
        pool->idle_count++;
    }
}

/* ---- borrowing ---- */

/* An idle connection on which something arrived has heard of its end, since nothing else is ever
 * sent unasked here. */
static bool is_alive(struct sql_conn *conn)
{
    struct pollfd fd = {.fd = PQsocket(conn->pg), .events = POLLIN};

    return sql_is_healthy(conn) && poll(&fd, 1, 0) == 0;
}

/* Wait for a place. *ret is a connection, or NULL: the caller may open one. */
static int wait_for_place(struct sql_pool *pool, const struct call *call, struct waiter *waiter,
                          struct sql_conn **ret, struct err *err)
{
    enum sql_wait outcome =
        sql_wait_fd(waiter->fd, POLLIN, call, sql_until_ms(call, WAIT_MS), NULL);

    pthread_mutex_lock(&pool->lock);
    if (!waiter->granted) {
        dequeue(pool, waiter);
    } else if (outcome == SQL_WAIT_CANCELED) {
        release_place(pool, waiter->conn);
    }
    pthread_mutex_unlock(&pool->lock);
    if (outcome == SQL_WAIT_CANCELED) {
        return err_set(err, ERR_CANCELED, "Canceled", "canceled");
    }
    if (!waiter->granted) {
        return err_set(err, ERR_RETRY, "PoolExhausted", "all %d connections to \"%s\" are in use",
                       pool->size, pool->name);
    }
    *ret = waiter->conn;
    return 0;
}

static int take_place(struct sql_pool *pool, const struct call *call, struct sql_conn **ret,
                      struct err *err)
{
    struct waiter waiter = {.fd = -1};
    struct sql_conn *aged = NULL;

    pthread_mutex_lock(&pool->lock);
    aged = take_aged(pool);
    bool wait = pool->lent >= pool->size;
    if (!wait) {
        pool->lent++;
        *ret = take_idle(pool);
    } else {
        waiter.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (waiter.fd >= 0) {
            enqueue(pool, &waiter);
        }
    }
    pthread_mutex_unlock(&pool->lock);
    close_list(aged);
    if (!wait) {
        return 0;
    }
    if (waiter.fd < 0) {
        return err_set(err, ERR_RETRY, "PoolExhausted", "no file descriptor is left to wait with");
    }
    int result = wait_for_place(pool, call, &waiter, ret, err);
    close(waiter.fd);
    return result;
}

static void give_up_place(struct sql_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    release_place(pool, NULL);
    pthread_mutex_unlock(&pool->lock);
}

static uint64_t current_generation(struct sql_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    uint64_t generation = pool->generation;
    pthread_mutex_unlock(&pool->lock);
    return generation;
}

int sql_pool_borrow(struct sql_pool *pool, const struct call *call, struct sql_conn **ret,
                    struct err *err)
{
    struct sql_conn *conn = NULL;

    if (call_check(call, err) || take_place(pool, call, &conn, err)) {
        return -1;
    }
    if (conn && !is_alive(conn)) {
        sql_close(conn);
        conn = NULL;
    }
    if (!conn) {
        /* Before opening, so that a reset meanwhile closes what was opened by old credentials. */
        uint64_t generation = current_generation(pool);
        if (pool->open(pool->context, call, &conn, err)) {
            give_up_place(pool);
            return -1;
        }
        conn->pool_generation = generation;
    }
    conn->pool_borrows++;
    *ret = conn;
    return 0;
}

void sql_pool_return(struct sql_pool *pool, struct sql_conn *conn)
{
    struct sql_conn *unwanted = NULL;

    if (!conn) {
        return;
    }
    bool healthy = sql_is_healthy(conn) && conn->pool_borrows < BORROWS_MAX;
    pthread_mutex_lock(&pool->lock);
    if (!healthy || conn->pool_generation != pool->generation) {
        unwanted = TAKE(conn);
    }
    release_place(pool, conn);
    struct sql_conn *aged = take_aged(pool);
    pthread_mutex_unlock(&pool->lock);
    sql_close(unwanted);
    close_list(aged);
}

void sql_pool_reset(struct sql_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    struct sql_conn *idle = TAKE(pool->idle);
    pool->idle_count = 0;
    pool->generation++;
    pthread_mutex_unlock(&pool->lock);
    close_list(idle);
}

int sql_loan_take(struct sql_loan *loan, struct sql_pool *pool, const struct call *call,
                  struct err *err)
{
    if (sql_pool_borrow(pool, call, &loan->conn, err)) {
        return -1;
    }
    loan->pool = pool;
    return 0;
}
