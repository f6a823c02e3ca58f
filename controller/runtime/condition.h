/* Status conditions (metav1.Condition): a list-map by type, whose lastTransitionTime moves only
 * with the status (C50, C52). Values, no I/O. */
#ifndef TENANTRY_RUNTIME_CONDITION_H
#define TENANTRY_RUNTIME_CONDITION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/base/arena.h"
#include "controller/base/jsonr.h"
#include "controller/base/jsonw.h"

enum condition_status { CONDITION_UNKNOWN, CONDITION_FALSE, CONDITION_TRUE };
const char *condition_status_text(enum condition_status status);

struct condition {
    const char *type;
    enum condition_status status;
    const char *reason;
    const char *message;
    int64_t observed_generation;
    int64_t transition_s; /* wall time in seconds */
};

enum { CONDITIONS_MAX = 32, CONDITION_MESSAGE_BYTES = 2048 };

struct condition_set {
    struct condition items[CONDITIONS_MAX];
    size_t count;
};

const struct condition *condition_get(const struct condition_set *set, const char *type);
bool condition_is_true(const struct condition_set *set, const char *type);

/* Set one; strings are borrowed (arena or static), the message cut at CONDITION_MESSAGE_BYTES by
 * the writer. transition_s becomes now_s when the type is new or its status differs, and is kept
 * otherwise. */
void condition_put(struct condition_set *set, const char *type, enum condition_status status,
                   const char *reason, const char *message, int64_t observed_generation,
                   int64_t now_s);
void condition_remove(struct condition_set *set, const char *type);

/* Same types in the same order, and everything in them but transition_s. */
bool condition_set_equal(const struct condition_set *a, const struct condition_set *b);

/* The array's elements, inside an open jsonw array. */
void condition_set_write(struct jsonw *writer, const struct condition_set *set);
/* The array at the reader; strings in the arena. False when it is no array; odd elements are
 * skipped. */
bool condition_set_read(struct jsonr *reader, struct arena *arena, struct condition_set *ret);

#endif
