/* A guard in front of each outside system (a database server, an object store): how many at once,
 * and whether it makes sense now. So that one that hangs delays only those who need it (C40).
 *
 * Entering takes a slot. When all are taken, the caller waits, up to 2 s, while the backend makes
 * progress; if it does not (no operation ended within 2 s), the caller is turned away at once with
 * WAIT/BackendBusy and its key is made ready again when a slot frees. After 3 operations in a row
 * that ended as unreachable the breaker opens: without a try, RETRY with reason, words and code of
 * the last error, for 1 s doubling to 30 s; then one is let through to probe. Thread-safe. */
#ifndef TENANTRY_RUNTIME_BACKEND_H
#define TENANTRY_RUNTIME_BACKEND_H

#include <stdbool.h>

#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "controller/runtime/reconcile.h"

struct backend;
struct backend *backend_new(const char *name, int limit); /* name is copied; metric label */
void backend_free(struct backend *backend);

MUST_CHECK int backend_enter(struct backend *backend, struct reconcile *rc, struct err *err);
/* err NULL = the operation reached the backend (whatever it answered); else whether it was
 * unreachable is told by `unreachable`. */
void backend_leave(struct backend *backend, bool unreachable, const struct err *err);

#endif
