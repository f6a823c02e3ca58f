/* Two kinds of waiting. A caller waits here, in its worker, at most 2 s, and only while operations
 * end: those are `struct waiter` on its stack, first come first served, each with an eventfd to
 * sleep on beside its cancel token. A key waits in its queue, without a worker: those are `struct
 * sleeper`, remembered so that a freed slot, or a backend that answers again, wakes them at once
 * rather than when their backoff ends.
 *
 * While the breaker is open, one sleeper is told to come back when it may be tried again; its
 * operation is the probe.
 *
 * Lock order: backend lock, then a queue's. */
#include "controller/runtime/backend.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "controller/base/clock.h"
#include "controller/base/metrics.h"
#include "controller/base/str.h"
#include "controller/runtime/key_table.h"
#include "controller/runtime/queue.h"

enum {
    WAIT_MS = 2000,
    BUSY_RETRY_MS = 10000, /* a freed slot wakes the key long before */
    UNREACHABLE_LIMIT = 3,
    OPEN_MIN_MS = 1000,
    OPEN_MAX_MS = 30000,
};

static struct metric in_use = METRIC_GAUGE("tenantry_backend_operations_in_progress",
                                           "Operations that a backend works on now.", "backend");
static struct metric limits =
    METRIC_GAUGE("tenantry_backend_operations_limit", "How many are allowed at once.", "backend");
static struct metric available =
    METRIC_GAUGE("tenantry_backend_available",
                 "0 while the backend is taken to be unreachable, else 1.", "backend");
static struct metric refusals = METRIC_COUNTER(
    "tenantry_backend_refused_total",
    "Operations that were not begun, by reason: Busy or Unavailable.", "backend", "reason");

struct waiter {
    struct waiter *next;
    int fd;
    bool granted;
};

struct sleeper {
    struct sleeper *next;
    struct sleeper *previous;
    struct queue *queue;
    const char *key; /* in id */
    char id[];       /* queue and key: two controllers may know the same names */
};

struct backend {
    char *name;
    int limit;
    pthread_mutex_t lock;
    int in_use;
    int64_t progress_ms; /* when a slot was last taken or freed */
    struct waiter *first_waiter;
    struct waiter **last_waiter;

    struct key_table sleepers; /* by id */
    struct sleeper *first_sleeper;
    struct sleeper *last_sleeper;

    int unreachable_count; /* in a row */
    int64_t open_ms;       /* how long the breaker opens; 0: it is closed */
    int64_t open_until_ms; /* monotonic */
    bool probing;
    bool probe_called; /* a sleeper will come at open_until_ms */
    struct err last_error;
};

static struct str sleeper_id(const void *item)
{
    return str_from(((const struct sleeper *)item)->id);
}

struct backend *backend_new(const char *name, int limit)
{
    struct backend *backend = xcalloc(1, sizeof(*backend));
    backend->name = xstrdup(name);
    backend->limit = limit > 0 ? limit : 1;
    backend->last_waiter = &backend->first_waiter;
    key_table_init(&backend->sleepers, sleeper_id);
    pthread_mutex_init(&backend->lock, NULL);
    metric_set(&in_use, 0, name);
    metric_set(&limits, backend->limit, name);
    metric_set(&available, 1, name);
    metric_add(&refusals, 0, name, "Busy");
    metric_add(&refusals, 0, name, "Unavailable");
    return backend;
}

static void sleeper_unlink(struct backend *backend, struct sleeper *sleeper)
{
    *(sleeper->previous ? &sleeper->previous->next : &backend->first_sleeper) = sleeper->next;
    *(sleeper->next ? &sleeper->next->previous : &backend->last_sleeper) = sleeper->previous;
}

static void sleeper_append(struct backend *backend, struct sleeper *sleeper)
{
    sleeper->next = NULL;
    sleeper->previous = backend->last_sleeper;
    *(backend->last_sleeper ? &backend->last_sleeper->next : &backend->first_sleeper) = sleeper;
    backend->last_sleeper = sleeper;
}

static char *make_id(const struct reconcile *rc)
{
    return xasprintf("%p %s", (void *)rc->queue, rc->key);
}

/* Remember the key; false when it cannot be woken, since it comes from no queue. */
static bool sleep_add(struct backend *backend, const struct reconcile *rc)
{
    if (!rc->queue || !rc->key) {
        return false;
    }
    AUTO(free) char *id = make_id(rc);
    if (key_table_get(&backend->sleepers, str_from(id))) {
        return true;
    }
    size_t size = strlen(id) + 1;
    struct sleeper *sleeper = xcalloc(1, sizeof(*sleeper) + size);
    memcpy(sleeper->id, id, size);
    sleeper->key = strchr(sleeper->id, ' ') + 1;
    sleeper->queue = rc->queue;
    (void)key_table_put(&backend->sleepers, sleeper);
    sleeper_append(backend, sleeper);
    return true;
}

static void sleep_drop(struct backend *backend, struct sleeper *sleeper)
{
    (void)key_table_remove(&backend->sleepers, sleeper_id(sleeper));
    sleeper_unlink(backend, sleeper);
    free(sleeper);
}

static struct sleeper *sleeper_of(const struct backend *backend, const struct reconcile *rc)
{
    if (backend->sleepers.count == 0 || !rc->queue || !rc->key) {
        return NULL;
    }
    AUTO(free) char *id = make_id(rc);
    return key_table_get(&backend->sleepers, str_from(id));
}

/* The key may try. A probe stays remembered, behind the others, since it may be in vain; else
 * nobody need wake the key any more. */
static void sleeper_enters(struct backend *backend, const struct reconcile *rc)
{
    struct sleeper *sleeper = sleeper_of(backend, rc);
    if (!sleeper) {
        return;
    }
    if (backend->probing) {
        sleeper_unlink(backend, sleeper);
        sleeper_append(backend, sleeper);
    } else {
        sleep_drop(backend, sleeper);
    }
}

static void wake_sleepers(struct backend *backend, size_t count)
{
    for (; count > 0 && backend->first_sleeper; count--) {
        struct sleeper *sleeper = backend->first_sleeper;
        queue_add(sleeper->queue, sleeper->key, QUEUE_NORMAL);
        sleep_drop(backend, sleeper);
    }
}

/* Have one key come back when the breaker lets a probe through: in turn, so that one key whose
 * work is refused for another reason does not hold all others back. */
static void call_probe(struct backend *backend, int64_t now_ms)
{
    struct sleeper *sleeper = backend->first_sleeper;
    if (backend->probe_called || !sleeper) {
        return;
    }
    backend->probe_called = true;
    sleeper_unlink(backend, sleeper);
    sleeper_append(backend, sleeper);
    int64_t delay_ms = backend->open_until_ms - now_ms;
    queue_add_after(sleeper->queue, sleeper->key, delay_ms > 0 ? delay_ms + 1 : 1, QUEUE_NORMAL);
}

void backend_free(struct backend *backend)
{
    if (!backend) {
        return;
    }
    while (backend->first_sleeper) {
        sleep_drop(backend, backend->first_sleeper);
    }
    key_table_release(&backend->sleepers);
    metric_drop(&in_use, backend->name);
    metric_drop(&limits, backend->name);
    metric_drop(&available, backend->name);
    metric_drop(&refusals, backend->name, "Busy");
    metric_drop(&refusals, backend->name, "Unavailable");
    pthread_mutex_destroy(&backend->lock);
    free(backend->name);
    free(backend);
}

static int refuse_unavailable(struct backend *backend, struct reconcile *rc, struct err *err)
{
    int64_t now_ms = clock_monotonic_ms();
    int64_t left_ms = backend->open_until_ms - now_ms;

    if (sleep_add(backend, rc)) {
        call_probe(backend, now_ms);
    }
    metric_add(&refusals, 1, backend->name, "Unavailable");
    /* In the words of who tried: a status would else change with every probe. */
    *err = backend->last_error;
    err->cls = ERR_RETRY;
    err->retry_after_ms = left_ms > 0 ? left_ms : OPEN_MIN_MS;
    return -1;
}

static int refuse_busy(struct backend *backend, struct reconcile *rc, struct err *err)
{
    bool woken = sleep_add(backend, rc);
    metric_add(&refusals, 1, backend->name, "Busy");
    (void)err_set(err, ERR_WAIT, "BackendBusy",
                  "%s is busy: all %d operations that it is given at once are under way",
                  backend->name, backend->limit);
    err->retry_after_ms = woken ? BUSY_RETRY_MS : WAIT_MS;
    return -1;
}

/* Whether the breaker lets this one pass; the first after its time is the probe. */
static bool may_try(struct backend *backend)
{
    if (backend->open_ms == 0) {
        return true;
    }
    if (backend->probing || clock_monotonic_ms() < backend->open_until_ms) {
        return false;
    }
    backend->probing = true;
    return true;
}

static void take_slot(struct backend *backend)
{
    backend->in_use++;
    backend->progress_ms = clock_monotonic_ms();
    metric_set(&in_use, backend->in_use, backend->name);
}

static void waiter_remove(struct backend *backend, struct waiter *waiter)
{
    struct waiter **place = &backend->first_waiter;
    while (*place && *place != waiter) {
        place = &(*place)->next;
    }
    if (*place) {
        *place = waiter->next;
        if (backend->last_waiter == &waiter->next) {
            backend->last_waiter = place;
        }
    }
}

/* Sleep until the slot is handed over, the time is up, or the caller is canceled. */
static void sleep_until_granted(const struct waiter *waiter, const struct call *call)
{
    int64_t end_ms = clock_monotonic_ms() + call_remaining_ms(call, WAIT_MS);
    struct pollfd fds[2] = {
        {.fd = waiter->fd, .events = POLLIN},
        {.fd = cancel_fd(call->cancel), .events = POLLIN},
    };
    for (;;) {
        int64_t left_ms = end_ms - clock_monotonic_ms();
        int ready = poll(fds, 2, left_ms > 0 ? (int)left_ms : 0);
        if (ready > 0 || (ready == 0 && left_ms <= 0) || (ready < 0 && errno != EINTR)) {
            return;
        }
    }
}

/* Under the lock, which is let go while sleeping. True: the slot is ours. */
static bool wait_for_slot(struct backend *backend, const struct call *call)
{
    struct waiter waiter = {.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    if (waiter.fd < 0) {
        return false; /* no descriptor left: busy indeed */
    }
    *backend->last_waiter = &waiter;
    backend->last_waiter = &waiter.next;
    pthread_mutex_unlock(&backend->lock);

    sleep_until_granted(&waiter, call);

    pthread_mutex_lock(&backend->lock);
    if (!waiter.granted) {
        waiter_remove(backend, &waiter);
    }
    (void)close(waiter.fd);
    return waiter.granted;
}

static int enter_locked(struct backend *backend, struct reconcile *rc, struct err *err)
{
    if (!may_try(backend)) {
        return refuse_unavailable(backend, rc, err);
    }
    if (backend->in_use < backend->limit) {
        take_slot(backend);
    } else if (backend->probing) {
        /* Operations from before the breaker opened still hang in every slot. */
        backend->probing = false;
        backend->open_until_ms = clock_monotonic_ms() + backend->open_ms;
        backend->probe_called = false;
        return refuse_unavailable(backend, rc, err);
    } else if (clock_monotonic_ms() - backend->progress_ms >= WAIT_MS ||
               !wait_for_slot(backend, &rc->call)) {
        return call_check(&rc->call, err) < 0 ? -1 : refuse_busy(backend, rc, err);
    }
    sleeper_enters(backend, rc);
    return 0;
}

int backend_enter(struct backend *backend, struct reconcile *rc, struct err *err)
{
    if (call_check(&rc->call, err) < 0) {
        return -1;
    }
    pthread_mutex_lock(&backend->lock);
    int result = enter_locked(backend, rc, err);
    pthread_mutex_unlock(&backend->lock);
    return result;
}

/* Hand the slot to whoever waits longest, else give it back. */
static void pass_slot(struct backend *backend)
{
    struct waiter *waiter = backend->first_waiter;

    backend->progress_ms = clock_monotonic_ms();
    if (!waiter) {
        backend->in_use--;
        metric_set(&in_use, backend->in_use, backend->name);
        return;
    }
    backend->first_waiter = waiter->next;
    if (!backend->first_waiter) {
        backend->last_waiter = &backend->first_waiter;
    }
    waiter->granted = true;
    (void)eventfd_write(waiter->fd, 1);
}

static void note_reached(struct backend *backend)
{
    backend->unreachable_count = 0;
    if (backend->open_ms > 0) {
        backend->open_ms = 0;
        backend->probing = false;
        backend->probe_called = false;
        metric_set(&available, 1, backend->name);
        wake_sleepers(backend, SIZE_MAX);
    } else if (!backend->first_waiter) {
        wake_sleepers(backend, 1);
    }
}

static void note_unreachable(struct backend *backend, const struct err *err)
{
    int64_t now_ms = clock_monotonic_ms();
    bool probe_failed = backend->probing;

    if (err) {
        backend->last_error = *err;
    }
    backend->unreachable_count++;
    if (!probe_failed && (backend->open_ms > 0 || backend->unreachable_count < UNREACHABLE_LIMIT)) {
        return;
    }
    int64_t open_ms = probe_failed ? backend->open_ms * 2 : OPEN_MIN_MS;
    backend->open_ms = open_ms < OPEN_MAX_MS ? open_ms : OPEN_MAX_MS;
    backend->open_until_ms = now_ms + backend->open_ms;
    backend->probing = false;
    backend->probe_called = false;
    metric_set(&available, 0, backend->name);
    call_probe(backend, now_ms);
}

void backend_leave(struct backend *backend, bool unreachable, const struct err *err)
{
    pthread_mutex_lock(&backend->lock);
    pass_slot(backend);
    if (unreachable) {
        note_unreachable(backend, err);
    } else if (!err || err->cls != ERR_CANCELED) {
        note_reached(backend);
    } else {
        backend->probing = false; /* says nothing about the backend: the next one probes */
        backend->probe_called = false;
    }
    pthread_mutex_unlock(&backend->lock);
}
