#include "controller/base/arena.h"

#include "tests/check.h"

#include <signal.h>
#include <stdalign.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static void allocations_are_zeroed_aligned_and_apart(void **state)
{
    AUTO(arena) struct arena arena = {0};
    unsigned char *pieces[3000];
    (void)state;

    for (size_t i = 0; i < ARRAY_COUNT(pieces); i++) {
        size_t bytes = i % 97;
        pieces[i] = arena_alloc(&arena, bytes);
        CHECK((uintptr_t)pieces[i] % alignof(max_align_t) == 0);
        for (size_t k = 0; k < bytes; k++) {
            CHECK_INT(pieces[i][k], 0);
        }
        memset(pieces[i], (int)(i % 251), bytes);
    }
    for (size_t i = 0; i < ARRAY_COUNT(pieces); i++) {
        for (size_t k = 0; k < i % 97; k++) {
            CHECK_INT(pieces[i][k], i % 251);
        }
    }
}

static void big_allocations_leave_the_small_block_in_use(void **state)
{
    AUTO(arena) struct arena arena = {0};
    (void)state;

    const char *before = arena_alloc(&arena, 16);
    const struct arena_block *head = arena.head;
    char *big = arena_alloc(&arena, (size_t)1 << 20);
    memset(big, 'x', (size_t)1 << 20);
    const char *after = arena_alloc(&arena, 16);
    CHECK(arena.head == head);
    CHECK(after > before && after - before < 64);
}

static void a_first_big_allocation_serves(void **state)
{
    AUTO(arena) struct arena arena = {0};
    (void)state;

    char *big = arena_alloc(&arena, 300000);
    memset(big, 'x', 300000);
    char *text = arena_strdup(&arena, "next");
    CHECK_TEXT(text, "next");
}

static void sizes_around_every_block_edge_work(void **state)
{
    (void)state;

    for (size_t bytes = 4096 - 40; bytes < 4096 + 40; bytes++) {
        for (size_t scale = 1; scale <= 16; scale *= 2) {
            AUTO(arena) struct arena arena = {0};
            for (int i = 0; i < 3; i++) {
                memset(arena_alloc(&arena, bytes * scale), 0xFF, bytes * scale);
            }
        }
    }
}

static void clear_starts_again_zeroed_and_keeps_one_block(void **state)
{
    AUTO(arena) struct arena arena = {0};
    (void)state;

    for (int i = 0; i < 1000; i++) {
        memset(arena_alloc(&arena, 100), 0xFF, 100);
    }
    memset(arena_alloc(&arena, 200000), 0xFF, 200000);
    arena_clear(&arena);
    CHECK_INT(arena.used_bytes, 0);
    const struct arena_block *kept = arena.head;
    CHECK_NOT_NULL(kept);
    const unsigned char *again = arena_alloc(&arena, 4000);
    CHECK(arena.head == kept);
    for (int i = 0; i < 4000; i++) {
        CHECK_INT(again[i], 0);
    }
}

static void clear_gives_a_huge_block_back(void **state)
{
    AUTO(arena) struct arena arena = {0};
    (void)state;

    arena_alloc(&arena, (size_t)1 << 20);
    arena_clear(&arena);
    CHECK_NULL(arena.head);
    arena_clear(&arena); /* of an empty one */
    CHECK_TEXT(arena_strdup(&arena, "x"), "x");
}

static void texts_are_copied(void **state)
{
    AUTO(arena) struct arena arena = {0};
    char source[] = "tenant";
    (void)state;

    char *copy = arena_strdup(&arena, source);
    char *part = arena_strndup(&arena, source + 1, 3);
    char *empty = arena_strndup(&arena, NULL, 0);
    source[0] = 'X';
    CHECK_TEXT(copy, "tenant");
    CHECK_TEXT(part, "ena");
    CHECK_TEXT(empty, "");
    CHECK_TEXT(arena_printf(&arena, "%s/%05d", "db", 42), "db/00042");
    char *wide = arena_printf(&arena, "%100000s", "x");
    CHECK_INT(strlen(wide), 100000);
}

/* Into an empty arena, into one with blocks, and from an empty one: all stays readable, and the
 * child starts again. */
static void absorbing_takes_over_what_the_child_holds(void **state)
{
    AUTO(arena) struct arena arena = {0};
    (void)state;

    for (int round = 0; round < 3; round++) {
        AUTO(arena) struct arena child = {0};
        const char *texts[500];
        size_t before = arena.used_bytes;
        for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
            texts[i] = arena_printf(&child, "%d/%zu", round, i);
        }
        memset(arena_alloc(&child, 100000), 'x', 100000);
        size_t used = child.used_bytes;
        arena_absorb(&arena, &child);
        CHECK_INT(arena.used_bytes, before + used);
        CHECK_INT(child.used_bytes, 0);
        arena_absorb(&arena, &child); /* of nothing */
        CHECK_INT(arena.used_bytes, before + used);
        arena_strdup(&child, "again");
        arena_release(&child);
        for (size_t i = 0; i < ARRAY_COUNT(texts); i++) {
            char expected[32];
            (void)snprintf(expected, sizeof(expected), "%d/%zu", round, i);
            CHECK_TEXT(texts[i], expected);
        }
    }
}

static void arrays_and_objects_have_their_type(void **state)
{
    AUTO(arena) struct arena arena = {0};
    (void)state;

    int64_t *numbers = ARENA_ARRAY(&arena, int64_t, 10);
    struct err *err = ARENA_NEW(&arena, struct err);
    numbers[9] = 1;
    CHECK_INT(err->cls, ERR_OK);
    CHECK_INT(arena.used_bytes, 10 * sizeof(int64_t) + sizeof(struct err));
}

/* Runs `body` in a child and tells whether it ended by SIGABRT. */
static bool aborts(void (*body)(void))
{
    int status = 0;
    pid_t child = fork();

    if (child == 0) {
        close(STDERR_FILENO); /* the line it prints is no news */
        signal(SIGABRT, SIG_DFL);
        body();
        _exit(0);
    }
    CHECK_INT(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void pass_the_limit(void)
{
    struct arena arena;

    arena_init(&arena, 1000);
    arena_alloc(&arena, 600);
    arena_alloc(&arena, 401);
}

static void stay_in_the_limit(void)
{
    struct arena arena;

    arena_init(&arena, 1000);
    arena_alloc(&arena, 600);
    arena_alloc(&arena, 400);
    arena_clear(&arena);
    arena_alloc(&arena, 1000);
    arena_release(&arena);
}

static volatile size_t huge = SIZE_MAX; /* hidden from the compiler, which would warn */

static void overflow_count(void)
{
    struct arena arena = {0};

    arena_calloc(&arena, huge / 2, 3);
}

static void overflow_size(void)
{
    struct arena arena = {0};

    arena_alloc(&arena, 100);
    arena_alloc(&arena, huge - 8);
}

static void overflow_strndup(void)
{
    struct arena arena = {0};

    arena_strndup(&arena, "x", huge);
}

static void the_limit_and_overflows_abort(void **state)
{
    (void)state;

    CHECK(aborts(pass_the_limit));
    CHECK(!aborts(stay_in_the_limit));
    CHECK(aborts(overflow_count));
    CHECK(aborts(overflow_size));
    CHECK(aborts(overflow_strndup));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocations_are_zeroed_aligned_and_apart),
        cmocka_unit_test(big_allocations_leave_the_small_block_in_use),
        cmocka_unit_test(a_first_big_allocation_serves),
        cmocka_unit_test(sizes_around_every_block_edge_work),
        cmocka_unit_test(clear_starts_again_zeroed_and_keeps_one_block),
        cmocka_unit_test(clear_gives_a_huge_block_back),
        cmocka_unit_test(texts_are_copied),
        cmocka_unit_test(absorbing_takes_over_what_the_child_holds),
        cmocka_unit_test(arrays_and_objects_have_their_type),
        cmocka_unit_test(the_limit_and_overflows_abort),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
