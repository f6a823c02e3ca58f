/* A chain of blocks, newest first. The head serves small allocations from its end; blocks double
 * from 1 KiB to 32 KiB. An allocation too big for that gets a block of its own, put behind the head
 * so that the head's free space stays in use. Under AddressSanitizer free space is poisoned, with
 * a gap behind each allocation, so that an overflow inside of a block is still found. */
#include "controller/base/arena.h"

#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define ARENA_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_ASAN 1
#endif
#endif

#ifdef ARENA_ASAN
#include <sanitizer/asan_interface.h>
enum { GAP_BYTES = 16 };
#define POISON(pointer, bytes) __asan_poison_memory_region((pointer), (bytes))
#define UNPOISON(pointer, bytes) __asan_unpoison_memory_region((pointer), (bytes))
#else
enum { GAP_BYTES = 0 };
#define POISON(pointer, bytes) ((void)(pointer), (void)(bytes))
#define UNPOISON(pointer, bytes) ((void)(pointer), (void)(bytes))
#endif

enum {
    BLOCK_MIN_BYTES = 1024, /* most arenas of a batch's pieces stay that small */
    BLOCK_MAX_BYTES = 32 * 1024,
    BIG_BYTES = BLOCK_MAX_BYTES / 4, /* from here on a block of its own: wastes at most a quarter */
    ALIGNMENT = alignof(max_align_t),
};

struct arena_block {
    struct arena_block *next;
    size_t size_bytes; /* of data */
    size_t used_bytes;
    alignas(max_align_t) char data[];
};

static struct arena_block *block_new(size_t data_bytes)
{
    if (data_bytes > SIZE_MAX - sizeof(struct arena_block)) {
        out_of_memory();
    }
    struct arena_block *block = xmalloc(sizeof(*block) + data_bytes);
    block->next = NULL;
    block->size_bytes = data_bytes;
    block->used_bytes = 0;
    POISON(block->data, data_bytes);
    return block;
}

static void block_free(struct arena_block *block)
{
    UNPOISON(block->data, block->size_bytes);
    free(block);
}

void arena_init(struct arena *arena, size_t limit_bytes)
{
    *arena = (struct arena){.limit_bytes = limit_bytes};
}

void arena_clear(struct arena *arena)
{
    struct arena_block *kept = arena->head;

    if (kept && kept->size_bytes > BLOCK_MAX_BYTES) {
        kept = NULL; /* a single huge allocation must not stay for the life of a worker */
    }
    for (struct arena_block *block = arena->head, *next; block; block = next) {
        next = block->next;
        if (block != kept) {
            block_free(block);
        }
    }
    if (kept) {
        kept->next = NULL;
        kept->used_bytes = 0;
        POISON(kept->data, kept->size_bytes);
    }
    arena->head = kept;
    arena->used_bytes = 0;
}

void arena_release(struct arena *arena)
{
    for (struct arena_block *block = arena->head, *next; block; block = next) {
        next = block->next;
        block_free(block);
    }
    arena->head = NULL;
    arena->used_bytes = 0;
}

void arena_absorb(struct arena *arena, struct arena *child)
{
    struct arena_block *last = child->head;

    if (last) {
        while (last->next) {
            last = last->next;
        }
        if (arena->head) { /* behind the head, whose free space stays in use */
            last->next = arena->head->next;
            arena->head->next = child->head;
        } else {
            arena->head = child->head;
        }
    }
    arena->used_bytes += child->used_bytes;
    child->head = NULL;
    child->used_bytes = 0;
}

static void account(struct arena *arena, size_t bytes)
{
    if (bytes > SIZE_MAX - arena->used_bytes - ALIGNMENT - GAP_BYTES) {
        out_of_memory();
    }
    arena->used_bytes += bytes;
    if (arena->limit_bytes > 0 && arena->used_bytes > arena->limit_bytes) {
        (void)fputs("arena limit passed\n", stderr);
        abort();
    }
}

static struct arena_block *add_block(struct arena *arena, size_t need_bytes)
{
    struct arena_block *head = arena->head;

    if (need_bytes >= BIG_BYTES) {
        struct arena_block *own = block_new(need_bytes);
        if (head) {
            own->next = head->next;
            head->next = own;
        } else {
            arena->head = own;
        }
        return own;
    }
    size_t size_bytes = BLOCK_MIN_BYTES;
    if (head) {
        size_bytes =
            head->size_bytes < BLOCK_MAX_BYTES / 2 ? head->size_bytes * 2 : BLOCK_MAX_BYTES;
    }
    while (size_bytes < need_bytes) {
        size_bytes *= 2;
    }
    struct arena_block *block = block_new(size_bytes);
    block->next = head;
    arena->head = block;
    return block;
}

/* Not zeroed. */
static inline char *take(struct arena *arena, size_t bytes)
{
    account(arena, bytes);
    size_t need_bytes = (bytes + GAP_BYTES + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    struct arena_block *block = arena->head;

    if (!block || block->size_bytes - block->used_bytes < need_bytes) {
        block = add_block(arena, need_bytes);
    }
    char *pointer = block->data + block->used_bytes;
    block->used_bytes += need_bytes;
    UNPOISON(pointer, bytes);
    return pointer;
}

void *arena_alloc(struct arena *arena, size_t bytes)
{
    return memset(take(arena, bytes), 0, bytes);
}

void *arena_calloc(struct arena *arena, size_t count, size_t bytes)
{
    size_t total = 0;

    if (__builtin_mul_overflow(count, bytes, &total)) {
        out_of_memory();
    }
    return arena_alloc(arena, total);
}

char *arena_strdup(struct arena *arena, const char *text)
{
    return arena_strndup(arena, text, strlen(text));
}

char *arena_strndup(struct arena *arena, const char *bytes, size_t count)
{
    if (count == SIZE_MAX) {
        out_of_memory();
    }
    char *copy = take(arena, count + 1);
    if (count > 0) {
        memcpy(copy, bytes, count);
    }
    copy[count] = '\0';
    return copy;
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    char *text = arena_vprintf(arena, format, arguments);
    va_end(arguments);
    return text;
}

char *arena_vprintf(struct arena *arena, const char *format, va_list arguments)
{
    va_list again;

    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (length < 0) {
        out_of_memory(); /* past INT_MAX: no other failure is left for narrow text */
    }
    char *text = arena_alloc(arena, (size_t)length + 1);
    (void)vsnprintf(text, (size_t)length + 1, format, arguments);
    return text;
}
