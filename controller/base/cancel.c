/* One mutex for all trees: triggers and births are rare, and a token's children belong to many
 * threads. Asking costs one atomic load. */
#include "controller/base/cancel.h"

#include "controller/base/clock.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct cancel {
    atomic_bool set;
    int fd;
    struct cancel *parent;
    struct cancel *first_child; /* the family links: under tree_mutex */
    struct cancel *next_sibling;
    struct cancel *previous_sibling;
};

static pthread_mutex_t tree_mutex = PTHREAD_MUTEX_INITIALIZER;

/* Under tree_mutex. The flag goes first: whoever wakes by the descriptor must see it. */
static void set_one(struct cancel *cancel)
{
    if (!atomic_exchange(&cancel->set, true)) {
        /* An eventfd takes any number short of 2^64 - 1 without blocking. */
        (void)eventfd_write(cancel->fd, 1);
    }
}

/* Under tree_mutex. A descendant of `cancel` that comes after `at` in depth-first order. */
static struct cancel *next_in_tree(const struct cancel *top, struct cancel *at)
{
    if (at->first_child) {
        return at->first_child;
    }
    while (at != top && !at->next_sibling) {
        at = at->parent;
    }
    return at == top ? NULL : at->next_sibling;
}

struct cancel *cancel_new(struct cancel *parent)
{
    struct cancel *cancel = xcalloc(1, sizeof(*cancel));

    atomic_init(&cancel->set, false);
    cancel->parent = parent;
    cancel->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (cancel->fd < 0) {
        (void)fprintf(stderr, "no descriptor for a cancel token: %s\n", errno_text(errno));
        abort();
    }
    if (!parent) {
        return cancel;
    }
    pthread_mutex_lock(&tree_mutex);
    cancel->next_sibling = parent->first_child;
    if (parent->first_child) {
        parent->first_child->previous_sibling = cancel;
    }
    parent->first_child = cancel;
    if (atomic_load(&parent->set)) {
        set_one(cancel);
    }
    pthread_mutex_unlock(&tree_mutex);
    return cancel;
}

void cancel_free(struct cancel *cancel)
{
    if (!cancel) {
        return;
    }
    if (cancel->parent) {
        pthread_mutex_lock(&tree_mutex);
        if (cancel->previous_sibling) {
            cancel->previous_sibling->next_sibling = cancel->next_sibling;
        } else {
            cancel->parent->first_child = cancel->next_sibling;
        }
        if (cancel->next_sibling) {
            cancel->next_sibling->previous_sibling = cancel->previous_sibling;
        }
        pthread_mutex_unlock(&tree_mutex);
    }
    close(cancel->fd);
    free(cancel);
}

void cancel_trigger(struct cancel *cancel)
{
    pthread_mutex_lock(&tree_mutex);
    for (struct cancel *at = cancel; at; at = next_in_tree(cancel, at)) {
        set_one(at);
    }
    pthread_mutex_unlock(&tree_mutex);
}

bool cancel_is_set(const struct cancel *cancel)
{
    return cancel && atomic_load(&cancel->set);
}

int cancel_fd(const struct cancel *cancel)
{
    return cancel ? cancel->fd : -1;
}

bool cancel_sleep_ms(const struct cancel *cancel, int64_t duration_ms)
{
    struct pollfd poll_fd = {.fd = cancel_fd(cancel), .events = POLLIN}; /* poll skips a -1 */
    int64_t now_us = clock_monotonic_us();
    int64_t deadline_us = 0;

    if (duration_ms < 0) {
        duration_ms = 0;
    }
    if (__builtin_mul_overflow(duration_ms, (int64_t)1000, &deadline_us) ||
        __builtin_add_overflow(deadline_us, now_us, &deadline_us)) {
        deadline_us = INT64_MAX;
    }
    for (; now_us < deadline_us; now_us = clock_monotonic_us()) {
        if (cancel_is_set(cancel)) {
            return false;
        }
        int64_t left_ms = (deadline_us - now_us) / 1000 + 1; /* rounded up: never wake early */
        (void)poll(&poll_fd, 1, left_ms > INT_MAX ? INT_MAX : (int)left_ms);
    }
    return !cancel_is_set(cancel);
}

int cancel_check(const struct cancel *cancel, struct err *err)
{
    if (cancel_is_set(cancel)) {
        return err_set(err, ERR_CANCELED, "Canceled", "canceled");
    }
    return 0;
}
