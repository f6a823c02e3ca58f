/* Memory with the lifetime of one reconcile: allocations are freed all together.
 * Not thread-safe: an arena belongs to one thread at a time. */
#ifndef TENANTRY_BASE_ARENA_H
#define TENANTRY_BASE_ARENA_H

#include <stdarg.h>
#include <stddef.h>

#include "controller/base/attributes.h"

struct arena_block;

struct arena {
    struct arena_block *head;
    size_t used_bytes;  /* handed out since init or clear */
    size_t limit_bytes; /* 0 = none; passing it aborts: a bound for runaway loops, not for input */
};

void arena_init(struct arena *arena, size_t limit_bytes);
/* Free everything; the arena may be used again. One block is kept to be used first. */
void arena_clear(struct arena *arena);
void arena_release(struct arena *arena);
static inline void auto_release_arena(struct arena *arena)
{
    arena_release(arena);
}

/* Take over everything that `child` allocated: it then lives as long as this arena, and the child
 * is empty. For pieces of work done in other threads. */
void arena_absorb(struct arena *arena, struct arena *child);

/* Aligned for any type, zeroed. 0 bytes give a valid pointer. Aborts when out of memory. */
NONNULL_RETURN void *arena_alloc(struct arena *arena, size_t bytes);
NONNULL_RETURN void *arena_calloc(struct arena *arena, size_t count, size_t bytes);
NONNULL_RETURN char *arena_strdup(struct arena *arena, const char *text);
NONNULL_RETURN char *arena_strndup(struct arena *arena, const char *bytes, size_t count);
NONNULL_RETURN char *arena_printf(struct arena *arena, const char *format, ...) PRINTF_LIKE(2, 3);
NONNULL_RETURN char *arena_vprintf(struct arena *arena, const char *format, va_list arguments)
    PRINTF_LIKE(2, 0);

#define ARENA_NEW(arena, type) ((type *)arena_alloc((arena), sizeof(type)))
#define ARENA_ARRAY(arena, type, count) ((type *)arena_calloc((arena), (count), sizeof(type)))

#endif
