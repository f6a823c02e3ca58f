/* The few compiler attributes and macros that the whole program is written with. */
#ifndef TENANTRY_BASE_ATTRIBUTES_H
#define TENANTRY_BASE_ATTRIBUTES_H

#include <stddef.h>
#include <stdlib.h>

/* A failure of this function must be looked at. */
#define MUST_CHECK __attribute__((warn_unused_result))
#define PRINTF_LIKE(format_index, first_argument)                                                  \
    __attribute__((format(printf, format_index, first_argument)))
#define NONNULL_RETURN __attribute__((returns_nonnull))
#define NORETURN __attribute__((noreturn))
#define UNUSED __attribute__((unused))

/* Block lifetime: `AUTO(json) json_t *object = NULL;` calls auto_release_json(&object) when the
 * block is left. Each resource kind defines its function with AUTO_DEFINE, or by hand. */
#define AUTO(kind) __attribute__((cleanup(auto_release_##kind)))
#define AUTO_DEFINE(kind, type, release)                                                           \
    static inline void auto_release_##kind(type *value)                                            \
    {                                                                                              \
        if (*value) {                                                                              \
            release(*value);                                                                       \
        }                                                                                          \
    }

/* Move a pointer out of an AUTO variable: yields its value and leaves NULL behind. */
#define TAKE(pointer)                                                                              \
    __extension__({                                                                                \
        __typeof__(pointer) taken_ = (pointer);                                                    \
        (pointer) = NULL;                                                                          \
        taken_;                                                                                    \
    })

#define ARRAY_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* strerror is not thread-safe by the standard; glibc's is, since 2.32. Kept in one place. */
const char *errno_text(int number);

/* Report the fixed line "out of memory" on standard error and abort. All truth is outside of the
 * process, so a restart is the recovery. Every size that an outsider chooses is capped before. */
NORETURN void out_of_memory(void);

/* malloc, calloc, realloc and strdup that abort instead of returning NULL. Caller frees with free.
 */
NONNULL_RETURN void *xmalloc(size_t bytes);
NONNULL_RETURN void *xcalloc(size_t count, size_t bytes);
NONNULL_RETURN void *xrealloc(void *pointer, size_t bytes);
NONNULL_RETURN char *xstrdup(const char *text);
NONNULL_RETURN char *xmemdup0(const char *bytes, size_t count); /* copies and ends with a NUL */
/* Heap-allocated printf. Caller frees. */
NONNULL_RETURN char *xasprintf(const char *format, ...) PRINTF_LIKE(1, 2);

static inline void auto_release_free(void *pointer)
{
    free(*(void **)pointer);
}

/* Close a descriptor held in an AUTO(fd) int fd = -1. */
void auto_release_fd(const int *fd);

#endif
