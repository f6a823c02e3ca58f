#include "controller/base/clock.h"

#include "tests/check.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static void monotonic_time_never_goes_back(void **state)
{
    int64_t before = clock_monotonic_us();
    (void)state;

    for (int i = 0; i < 100000; i++) {
        int64_t now = clock_monotonic_us();
        CHECK(now >= before);
        before = now;
    }
    CHECK(clock_monotonic_ms() >= before / 1000);
}

static void the_wall_clock_can_be_shifted_alone(void **state)
{
    int64_t monotonic = clock_monotonic_ms();
    int64_t real = (int64_t)time(NULL);
    (void)state;

    CHECK(clock_wall_s() >= real && clock_wall_s() <= real + 60);
    clock_set_wall_offset_ms(INT64_C(86400000));
    CHECK(clock_wall_s() >= real + 86400 && clock_wall_s() <= real + 86460);
    CHECK(clock_wall_us() / 1000000 >= real + 86400);
    CHECK(clock_monotonic_ms() - monotonic < 60000);
    clock_set_wall_offset_ms(0);
    CHECK(clock_wall_s() <= real + 60);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    CHECK_NOT_NULL(file);
    CHECK(fputs(text, file) >= 0);
    CHECK_INT(fclose(file), 0);
}

/* Wait until the wall clock is shifted by that much. */
static void await_offset(int64_t offset_ms)
{
    int64_t until_ms = clock_monotonic_ms() + 10000;

    while (clock_wall_offset_ms() != offset_ms) {
        CHECK(clock_monotonic_ms() < until_ms);
    }
}

static void a_test_clock_follows_its_file(void **state)
{
    char path[] = "/tmp/test_clock_XXXXXX";
    struct err err = {0};
    int file = mkstemp(path);
    (void)state;

    CHECK(file >= 0);
    CHECK_INT(close(file), 0);
    CHECK_FAILS(clock_follow_file("/nowhere", &err), &err, ERR_TERMINAL, "InvalidOption");
    CHECK_FAILS(clock_follow_file(path, &err), &err, ERR_TERMINAL, "InvalidOption"); /* empty */
    write_file(path, "99999999999999");
    CHECK_FAILS(clock_follow_file(path, &err), &err, ERR_TERMINAL, "InvalidOption");
    write_file(path, "86400\n");
    CHECK_OK(clock_follow_file(path, &err), &err);
    CHECK_INT(clock_wall_offset_ms(), 86400000);
    CHECK(clock_wall_s() >= (int64_t)time(NULL) + 86400 - 60);
    write_file(path, " -30 ");
    await_offset(-30000);
    write_file(path, "soon"); /* no number: what was read before holds */
    int64_t until_ms = clock_monotonic_ms() + INT64_C(3) * CLOCK_FILE_PERIOD_MS;
    while (clock_monotonic_ms() < until_ms) {
        CHECK_INT(clock_wall_offset_ms(), -30000);
    }
    write_file(path, "0");
    await_offset(0);
    CHECK_INT(remove(path), 0);
}

static void times_are_formatted_as_rfc_3339(void **state)
{
    static const struct {
        int64_t us;
        const char *text;
        const char *text_us;
    } cases[] = {
        {0, "1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000000Z"},
        {1, "1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000001Z"},
        {-1, "1969-12-31T23:59:59Z", "1969-12-31T23:59:59.999999Z"},
        {INT64_C(951782400000000), "2000-02-29T00:00:00Z", "2000-02-29T00:00:00.000000Z"},
        {INT64_C(1767323045123456), "2026-01-02T03:04:05Z", "2026-01-02T03:04:05.123456Z"},
        {INT64_C(253402300799999999), "9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999999Z"},
        {INT64_C(-62167219200000000), "0000-01-01T00:00:00Z", "0000-01-01T00:00:00.000000Z"},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        char text[CLOCK_TEXT_BYTES];
        int64_t back = 7;
        int64_t seconds = cases[i].us / 1000000 - (cases[i].us % 1000000 < 0);
        clock_format_s(seconds, text);
        CHECK_TEXT(text, cases[i].text);
        CHECK(clock_parse(str_from(text), &back));
        CHECK_INT(back, seconds * 1000000);
        clock_format_us(cases[i].us, text);
        CHECK_TEXT(text, cases[i].text_us);
        CHECK(clock_parse(str_from(text), &back));
        CHECK_INT(back, cases[i].us);
    }
}

static void times_without_a_four_digit_year_are_moved(void **state)
{
    char text[CLOCK_TEXT_BYTES];
    (void)state;

    clock_format_s(INT64_MAX, text);
    CHECK_TEXT(text, "9999-12-31T23:59:59Z");
    clock_format_s(INT64_MIN, text);
    CHECK_TEXT(text, "0000-01-01T00:00:00Z");
    clock_format_us(INT64_MAX, text);
    CHECK(strncmp(text, "9999-12-31T23:59:59.", 20) == 0);
    clock_format_us(INT64_MIN, text);
    CHECK(strncmp(text, "0000-01-01T00:00:00.", 20) == 0);
}

static void every_day_comes_back(void **state)
{
    (void)state;

    for (int64_t day = -719528; day < 2932896; day += 13) { /* year 0 to 9999 */
        char text[CLOCK_TEXT_BYTES];
        int64_t back = 0;
        clock_format_s(day * 86400 + day % 60 + 60, text);
        CHECK(clock_parse(str_from(text), &back));
        CHECK_INT(back, (day * 86400 + day % 60 + 60) * 1000000);
    }
}

static void offsets_and_fractions_are_understood(void **state)
{
    static const struct {
        const char *text;
        int64_t us;
    } cases[] = {
        {"1970-01-01T01:00:00+01:00", 0},
        {"1969-12-31T23:30:00-00:30", 0},
        {"1970-01-01t00:00:00z", 0},
        {"1970-01-01T00:00:00-00:00", 0},
        {"1970-01-02T00:59:00+23:59", INT64_C(3600000000)},
        {"1970-01-01T00:00:00.5Z", 500000},
        {"1970-01-01T00:00:00.123456789012345Z", 123456},
        {"1970-01-01T00:00:00.0000009+00:00", 0},
        {"2024-02-29T12:00:00Z", INT64_C(1709208000000000)},
        {"1900-03-01T00:00:00Z", INT64_C(-2203891200000000)},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        int64_t us = -7;
        if (!clock_parse(str_from(cases[i].text), &us) || us != cases[i].us) {
            fail_msg("%s gave %lld", cases[i].text, (long long)us);
        }
    }
}

static void wrong_times_are_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "1970-01-01",
        "1970-01-01T00:00:00",
        "1970-01-01 00:00:00Z",
        "1970-01-01T00:00Z",
        "1970-01-01T00:00:00.Z",
        "1970-01-01T00:00:00,5Z",
        "1970-00-01T00:00:00Z",
        "1970-13-01T00:00:00Z",
        "1970-01-00T00:00:00Z",
        "1970-01-32T00:00:00Z",
        "1970-04-31T00:00:00Z",
        "1970-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "1970-01-01T24:00:00Z",
        "1970-01-01T00:60:00Z",
        "1970-01-01T00:00:60Z",
        "1970-01-01T00:00:00+24:00",
        "1970-01-01T00:00:00+01:60",
        "1970-01-01T00:00:00+0100",
        "1970-01-01T00:00:00+01",
        "1970-01-01T00:00:00Zx",
        " 1970-01-01T00:00:00Z",
        "+970-01-01T00:00:00Z",
        "1970-1-01T00:00:00Z",
        "12345-01-01T00:00:00Z",
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        int64_t us = 0;
        if (clock_parse(str_from(bad[i]), &us)) {
            fail_msg("accepted \"%s\"", bad[i]);
        }
    }
    CHECK(!clock_parse((struct str){0}, &(int64_t){0}));
}

static void every_prefix_of_a_time_is_refused(void **state)
{
    static const char whole[] = "2026-01-02T03:04:05.123+01:30";
    int64_t us = 0;
    (void)state;

    for (size_t length = 0; length < sizeof(whole) - 1; length++) {
        AUTO(free) char *exact = malloc(length ? length : 1); /* a read past its end is found */
        memcpy(exact, whole, length);
        CHECK(!clock_parse((struct str){exact, length}, &us));
    }
    CHECK(clock_parse(str_from(whole), &us));
}

static void durations_are_read_like_go(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } cases[] = {
        {"0", 0},
        {"+0", 0},
        {"0s", 0},
        {"300ms", 300},
        {"1.5s", 1500},
        {"1.s", 1000},
        {".5s", 500},
        {"+5s", 5000},
        {"5m", 300000},
        {"2h45m", 9900000},
        {"1h1m1s1ms", 3661001},
        {"1s1h", 3601000}, /* any order */
        {"999us", 0},
        {"1500\xC2\xB5s", 1},
        {"2000\xCE\xBCs", 2},
        {"1999999ns", 1},
        {"500us500us", 1},
        {"0.000000001h", 0},
        {"1.000000000000000000000000000001s", 1000},
        {"0.3333333333333333333h", 1199999},
        {"2562047h47m16.854775807s", INT64_C(9223372036854)},
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        int64_t ms = -7;
        if (!clock_parse_duration_ms(str_from(cases[i].text), &ms) || ms != cases[i].ms) {
            fail_msg("%s gave %lld", cases[i].text, (long long)ms);
        }
    }
}

static void wrong_durations_are_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "+",
        "-",
        "-5s",
        "-0",
        "5",
        "1.5",
        "s",
        ".s",
        "1 s",
        " 1s",
        "1s ",
        "1d",
        "1S",
        "1sm",
        "1s5",
        "1..5s",
        "1e3s",
        "0x1s",
        "00",
        "0 ",
        "++5s",
        "1m-5s",
        "1\xC2s",
        "1,5s",
        "2562047h47m16.854775808s",
        "9223372036854775808ns",
        "99999999999999999999h",
        "2562048h",
    };
    (void)state;

    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        int64_t ms = -7;
        if (clock_parse_duration_ms(str_from(bad[i]), &ms)) {
            fail_msg("accepted \"%s\" as %lld", bad[i], (long long)ms);
        }
        CHECK_INT(ms, -7);
    }
}

static void jitter_is_in_its_range_and_even(void **state)
{
    enum { BOUND = 10, DRAWS = 100000 };
    int seen[BOUND] = {0};
    (void)state;

    for (int i = 0; i < DRAWS; i++) {
        int64_t drawn = clock_jitter_ms(BOUND);
        CHECK(drawn >= 0 && drawn < BOUND);
        seen[drawn]++;
    }
    for (int i = 0; i < BOUND; i++) { /* 10,000 each, standard deviation 95: ten of them */
        CHECK(seen[i] > 9000 && seen[i] < 11000);
    }
    CHECK_INT(clock_jitter_ms(1), 0);
    CHECK(clock_jitter_ms(INT64_MAX) >= 0);
}

static void *draw(void *ret)
{
    *(int64_t *)ret = clock_jitter_ms(INT64_MAX);
    return NULL;
}

static void threads_draw_different_jitter(void **state)
{
    int64_t drawn[2] = {0};
    pthread_t threads[2];
    (void)state;

    for (int i = 0; i < 2; i++) {
        CHECK_INT(pthread_create(&threads[i], NULL, draw, &drawn[i]), 0);
    }
    for (int i = 0; i < 2; i++) {
        CHECK_INT(pthread_join(threads[i], NULL), 0);
    }
    CHECK(drawn[0] != drawn[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(monotonic_time_never_goes_back),
        cmocka_unit_test(the_wall_clock_can_be_shifted_alone),
        cmocka_unit_test(a_test_clock_follows_its_file),
        cmocka_unit_test(times_are_formatted_as_rfc_3339),
        cmocka_unit_test(times_without_a_four_digit_year_are_moved),
        cmocka_unit_test(every_day_comes_back),
        cmocka_unit_test(offsets_and_fractions_are_understood),
        cmocka_unit_test(wrong_times_are_refused),
        cmocka_unit_test(every_prefix_of_a_time_is_refused),
        cmocka_unit_test(durations_are_read_like_go),
        cmocka_unit_test(wrong_durations_are_refused),
        cmocka_unit_test(jitter_is_in_its_range_and_even),
        cmocka_unit_test(threads_draw_different_jitter),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
