/* A request to stop, seen by every blocking call. Thread-safe.
 *
 * Tokens form a tree: canceling one cancels those below it. Blocking calls poll cancel_fd() beside
 * their own descriptor, or wait in cancel_sleep_ms. A canceled token stays so. */
#ifndef TENANTRY_BASE_CANCEL_H
#define TENANTRY_BASE_CANCEL_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/base/err.h"

struct cancel;

/* parent may be NULL and must outlive the child. Costs a descriptor; aborts when there is none.
 * Caller frees with cancel_free, children first. */
struct cancel *cancel_new(struct cancel *parent);
void cancel_free(struct cancel *cancel);

/* Idempotent. Not async-signal-safe: a signal is taken by sigwait or signalfd. */
void cancel_trigger(struct cancel *cancel);
bool cancel_is_set(const struct cancel *cancel); /* NULL: never */

/* A descriptor that polls readable once canceled; owned by the token. -1, which poll skips, for
 * NULL. */
int cancel_fd(const struct cancel *cancel);

/* Sleep, never shorter than asked; false when canceled (at once if it already is). */
MUST_CHECK bool cancel_sleep_ms(const struct cancel *cancel, int64_t duration_ms);

/* CANCELED/Canceled when set, else 0. */
MUST_CHECK int cancel_check(const struct cancel *cancel, struct err *err);

#endif
