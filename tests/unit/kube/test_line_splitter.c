#include "controller/kube/line_splitter.h"

#include <stdlib.h>
#include <time.h>

#include "tests/check.h"

/* What came out, each line followed by '|'. */
struct seen {
    struct buf lines;
    size_t count;
    size_t fail_at;  /* the line that the reader refuses, counted from 1 */
    const char *low; /* of the piece being fed: to see whether lines are views into it */
    const char *high;
    size_t views;
};

static int see(void *context, struct str line, struct err *err)
{
    struct seen *seen = context;

    seen->count++;
    seen->views += line.ptr >= seen->low && line.ptr < seen->high;
    if (seen->count == seen->fail_at) {
        return err_set(err, ERR_TERMINAL, "Refused", "line %zu", seen->count);
    }
    buf_append_str(&seen->lines, line);
    buf_append_char(&seen->lines, '|');
    return 0;
}

/* Feed the text in pieces of `step` bytes, each in memory of its own, so that a sanitizer sees a
 * read past its end, and a kept pointer. */
static int feed(struct line_splitter *splitter, struct seen *seen, const char *text, size_t step,
                struct err *err)
{
    struct str rest = str_from(text);

    while (rest.len > 0) {
        size_t length = rest.len < step ? rest.len : step;
        char *piece = malloc(length);
        memcpy(piece, rest.ptr, length);
        seen->low = piece;
        seen->high = piece + length;
        int result = line_splitter_feed(splitter, (struct str){piece, length}, see, seen, err);
        free(piece);
        if (result != 0) {
            return -1;
        }
        rest.ptr += length;
        rest.len -= length;
    }
    return 0;
}

static const char TEXT[] = "{\"a\":1}\n\n{\"name\":\"Gr\xc3\xbc\xc3\x9f"
                           "e \xf0\x9f\x8e\x89\"}\n"
                           "third\nhalf a line";
static const char LINES[] = "{\"a\":1}|{\"name\":\"Gr\xc3\xbc\xc3\x9f"
                            "e \xf0\x9f\x8e\x89\"}|third|";

static void c25_any_chunking_gives_the_same_lines(void **state)
{
    (void)state;
    for (size_t step = 1; step <= sizeof(TEXT); step++) {
        struct line_splitter splitter;
        struct seen seen = {.lines = BUF(4096)};
        struct err err;
        line_splitter_init(&splitter, 1000);
        CHECK_OK(feed(&splitter, &seen, TEXT, step, &err), &err);
        CHECK_TEXT(buf_text(&seen.lines), LINES);
        CHECK_INT(seen.count, 3);
        buf_release(&seen.lines);
        line_splitter_release(&splitter);
    }
}

static void lines_within_a_piece_are_not_copied(void **state)
{
    struct line_splitter splitter;
    struct seen seen = {.lines = BUF(4096)};
    struct err err;

    (void)state;
    line_splitter_init(&splitter, 1000);
    CHECK_OK(feed(&splitter, &seen, "one\ntwo\nthree\nfo", 100, &err), &err);
    CHECK_INT(seen.views, 3);
    CHECK_OK(feed(&splitter, &seen, "ur\nfive\n", 100, &err), &err);
    CHECK_INT(seen.views, 4);
    CHECK_TEXT(buf_text(&seen.lines), "one|two|three|four|five|");
    buf_release(&seen.lines);
    line_splitter_release(&splitter);
}

static void a_line_over_the_maximum_is_an_error_however_it_comes(void **state)
{
    (void)state;
    for (size_t step = 1; step <= 12; step++) {
        struct line_splitter splitter;
        struct seen seen = {.lines = BUF(4096)};
        struct err err;
        line_splitter_init(&splitter, 8);
        CHECK_OK(feed(&splitter, &seen, "12345678\n", step, &err), &err);
        CHECK_FAILS(feed(&splitter, &seen, "123456789\nabc\n", step, &err), &err, ERR_RETRY,
                    "LineTooLong");
        line_splitter_reset(&splitter);
        CHECK_OK(feed(&splitter, &seen, "new\n", step, &err), &err);
        CHECK_TEXT(buf_text(&seen.lines), "12345678|new|");
        buf_release(&seen.lines);
        line_splitter_release(&splitter);
    }
}

static void an_endless_line_takes_no_more_memory_than_the_maximum(void **state)
{
    struct line_splitter splitter;
    struct seen seen = {.lines = BUF(64)};
    struct err err;
    char piece[1000];
    int result = 0;
    int fed = 0;

    (void)state;
    memset(piece, 'x', sizeof(piece));
    line_splitter_init(&splitter, 10000);
    while (result == 0) {
        result =
            line_splitter_feed(&splitter, (struct str){piece, sizeof(piece)}, see, &seen, &err);
        fed++;
    }
    CHECK_INT(fed, 11);
    CHECK(splitter.carry.capacity <= 10001);
    buf_release(&seen.lines);
    line_splitter_release(&splitter);
}

static void the_readers_failure_stops_the_feed(void **state)
{
    struct line_splitter splitter;
    struct seen seen = {.lines = BUF(64), .fail_at = 2};
    struct err err;

    (void)state;
    line_splitter_init(&splitter, 100);
    CHECK_FAILS(feed(&splitter, &seen, "a\nb\nc\n", 100, &err), &err, ERR_TERMINAL, "Refused");
    CHECK_INT(seen.count, 2);
    buf_release(&seen.lines);
    line_splitter_release(&splitter);
}

static double cpu_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double seconds_for_one_line_byte_by_byte(size_t bytes)
{
    struct line_splitter splitter;
    struct seen seen = {.lines = BUF(4U << 20)};
    struct err err;
    double start = cpu_seconds();

    line_splitter_init(&splitter, 8U << 20);
    for (size_t i = 0; i < bytes; i++) {
        CHECK_OK(line_splitter_feed(&splitter, STR("x"), see, &seen, &err), &err);
    }
    CHECK_OK(line_splitter_feed(&splitter, STR("\n"), see, &seen, &err), &err);
    CHECK_INT(seen.lines.len, bytes + 1);
    line_splitter_release(&splitter);
    buf_release(&seen.lines);
    return cpu_seconds() - start;
}

static void c25_a_large_object_in_pieces_of_one_byte_takes_linear_time(void **state)
{
    (void)state;
    /* Scanning again at each byte would be 10^12 steps, many minutes. */
    double seconds = seconds_for_one_line_byte_by_byte(1400000);
    CHECK(seconds < 1.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(c25_any_chunking_gives_the_same_lines),
        cmocka_unit_test(lines_within_a_piece_are_not_copied),
        cmocka_unit_test(a_line_over_the_maximum_is_an_error_however_it_comes),
        cmocka_unit_test(an_endless_line_takes_no_more_memory_than_the_maximum),
        cmocka_unit_test(the_readers_failure_stops_the_feed),
        cmocka_unit_test(c25_a_large_object_in_pieces_of_one_byte_takes_linear_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
