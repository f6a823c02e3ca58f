#include "controller/base/clock.h"

#include "controller/base/secret.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static const int64_t us_per_s = 1000000;
static const int64_t first_s = -INT64_C(62167219200); /* 0000-01-01T00:00:00Z */
static const int64_t last_s = INT64_C(253402300799);  /* 9999-12-31T23:59:59Z */

enum { OFFSET_TEXT_BYTES = 32 };
static const int64_t offset_limit_s = INT64_C(100) * 366 * 24 * 3600;

static atomic_int_least64_t wall_offset_ms;
/* The file of a test clock; NULL, and then never looked at, unless the program was told of one. */
static const char *_Atomic offset_file;
static atomic_int_least64_t next_look_ms;
static atomic_int_least64_t suspended_ms; /* by tests */

static int64_t read_us(clockid_t clock)
{
    struct timespec now = {0};

    (void)clock_gettime(clock, &now); /* cannot fail for a clock that Linux always has */
    return (int64_t)now.tv_sec * us_per_s + now.tv_nsec / 1000;
}

int64_t clock_monotonic_us(void)
{
    return read_us(CLOCK_MONOTONIC);
}

int64_t clock_monotonic_ms(void)
{
    return clock_monotonic_us() / 1000;
}

int64_t clock_boot_ms(void)
{
    return read_us(CLOCK_BOOTTIME) / 1000 + atomic_load(&suspended_ms);
}

void clock_suspend_ms(int64_t duration_ms)
{
    atomic_fetch_add(&suspended_ms, duration_ms);
}

static bool read_offset_file(const char *path)
{
    AUTO(fd) int file = open(path, O_RDONLY | O_CLOEXEC);
    char text[OFFSET_TEXT_BYTES];
    int64_t seconds = 0;

    ssize_t length = file < 0 ? -1 : read(file, text, sizeof(text));
    if (length <= 0 || length == sizeof(text) ||
        !str_to_int64(str_trim((struct str){text, (size_t)length}), &seconds) ||
        seconds > offset_limit_s || seconds < -offset_limit_s) {
        return false;
    }
    atomic_store(&wall_offset_ms, seconds * 1000);
    return true;
}

/* One caller a period looks; the others go on with what it found last. */
static void look_at_offset_file(void)
{
    const char *path = atomic_load(&offset_file);
    int64_t due_ms = atomic_load(&next_look_ms);

    if (path && clock_monotonic_ms() >= due_ms &&
        atomic_compare_exchange_strong(&next_look_ms, &due_ms,
                                       clock_monotonic_ms() + CLOCK_FILE_PERIOD_MS)) {
        (void)read_offset_file(path);
    }
}

int64_t clock_wall_us(void)
{
    return read_us(CLOCK_REALTIME) + clock_wall_offset_ms() * 1000;
}

int64_t clock_wall_s(void)
{
    return clock_wall_us() / us_per_s;
}

void clock_set_wall_offset_ms(int64_t offset_ms)
{
    atomic_store(&wall_offset_ms, offset_ms);
}

int64_t clock_wall_offset_ms(void)
{
    look_at_offset_file();
    return atomic_load(&wall_offset_ms);
}

int clock_follow_file(const char *path, struct err *err)
{
    if (!read_offset_file(path)) {
        return err_set(err, ERR_TERMINAL, "InvalidOption",
                       "\"%s\" holds no number of seconds to shift the clock by", path);
    }
    atomic_store(&offset_file, path);
    return 0;
}

/* Write "2026-01-02T03:04:05"; returns its length. Times that have no four-digit year are moved to
 * the nearest that has. */
static int format_date_time(int64_t wall_s, char text[CLOCK_TEXT_BYTES])
{
    time_t seconds = wall_s < first_s ? first_s : wall_s > last_s ? last_s : wall_s;
    struct tm utc = {0};

    (void)gmtime_r(&seconds, &utc);
    return snprintf(text, CLOCK_TEXT_BYTES, "%04u-%02u-%02uT%02u:%02u:%02u",
                    (unsigned)(utc.tm_year + 1900) % 10000, (unsigned)(utc.tm_mon + 1) % 100,
                    (unsigned)utc.tm_mday % 100, (unsigned)utc.tm_hour % 100,
                    (unsigned)utc.tm_min % 100, (unsigned)utc.tm_sec % 100);
}

void clock_format_s(int64_t wall_s, char ret_text[CLOCK_TEXT_BYTES])
{
    int length = format_date_time(wall_s, ret_text);

    (void)snprintf(ret_text + length, CLOCK_TEXT_BYTES - (size_t)length, "Z");
}

void clock_format_us(int64_t wall_us, char ret_text[CLOCK_TEXT_BYTES])
{
    int64_t fraction = wall_us % us_per_s;
    int64_t seconds = wall_us / us_per_s;

    if (fraction < 0) { /* before 1970 division rounds the wrong way */
        fraction += us_per_s;
        seconds--;
    }
    int length = format_date_time(seconds, ret_text);
    (void)snprintf(ret_text + length, CLOCK_TEXT_BYTES - (size_t)length, ".%06uZ",
                   (unsigned)fraction % 1000000);
}

static bool is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

/* Consume exactly `count` digits. */
static bool take_number(struct str *rest, size_t count, int *ret)
{
    int value = 0;

    if (rest->len < count) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        if (!is_digit(rest->ptr[i])) {
            return false;
        }
        value = value * 10 + (rest->ptr[i] - '0');
    }
    rest->ptr += count;
    rest->len -= count;
    *ret = value;
    return true;
}

static bool take_byte(struct str *rest, char byte)
{
    if (rest->len == 0 || rest->ptr[0] != byte) {
        return false;
    }
    rest->ptr++;
    rest->len--;
    return true;
}

/* Their number, negative when one is no digit. */
static inline int two_digits(const char *at)
{
    unsigned tens = (unsigned char)at[0] - (unsigned)'0';
    unsigned ones = (unsigned char)at[1] - (unsigned)'0';

    return tens > 9 || ones > 9 ? -1 : (int)(tens * 10 + ones);
}

static bool is_leap(int year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

/* Days since 1970-01-01 in the Gregorian calendar, also before its time. Not timegm(), which takes
 * a lock, looks at the time zone and searches: every condition of every object bears a time. */
static int64_t days_since_epoch(int year, int month, int day)
{
    static const int days_before[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    enum { LEAP_DAYS_BEFORE_1970 = 477, DAYS_A_YEAR = 365 };
    int past = year - 1; /* the last whole year; -1 in year 0, itself a leap year */
    int leap_days = year == 0 ? -1 : past / 4 - past / 100 + past / 400;

    return (int64_t)(year - 1970) * DAYS_A_YEAR + leap_days - LEAP_DAYS_BEFORE_1970 +
           days_before[month - 1] + (month > 2 && is_leap(year)) + day - 1;
}

/* "2026-01-02T03:04:05" with each field in its range, as seconds since the epoch. */
static bool take_date_time(struct str *rest, int64_t *ret_s)
{
    static const int month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    enum { BYTES = 19 };
    const char *at = rest->ptr;

    if (rest->len < BYTES || at[4] != '-' || at[7] != '-' || (at[10] != 'T' && at[10] != 't') ||
        at[13] != ':' || at[16] != ':') {
        return false;
    }
    int century = two_digits(at);
    int of_century = two_digits(at + 2);
    int month = two_digits(at + 5);
    int day = two_digits(at + 8);
    int hour = two_digits(at + 11);
    int minute = two_digits(at + 14);
    int second = two_digits(at + 17);
    if ((century | of_century | month | day | hour | minute | second) < 0) {
        return false;
    }
    int year = century * 100 + of_century;
    if (month < 1 || month > 12 || day < 1 || hour > 23 || minute > 59 || second > 59 ||
        day > month_days[month - 1] + (is_leap(year) && month == 2 ? 1 : 0)) {
        return false;
    }
    *ret_s = days_since_epoch(year, month, day) * INT64_C(86400) + (int64_t)hour * 3600 +
             (int64_t)minute * 60 + second;
    rest->ptr += BYTES;
    rest->len -= BYTES;
    return true;
}

/* An optional ".123456789": digits past the microsecond are dropped. */
static bool take_fraction_us(struct str *rest, int64_t *ret_us)
{
    int64_t us = 0;
    int64_t scale = us_per_s / 10;

    if (take_byte(rest, '.')) {
        if (rest->len == 0 || !is_digit(rest->ptr[0])) {
            return false;
        }
        while (rest->len > 0 && is_digit(rest->ptr[0])) {
            us += (rest->ptr[0] - '0') * scale;
            scale /= 10;
            rest->ptr++;
            rest->len--;
        }
    }
    *ret_us = us;
    return true;
}

/* "Z" or "+01:30": seconds east of UTC. */
static bool take_offset_s(struct str *rest, int64_t *ret_s)
{
    int hours = 0;
    int minutes = 0;

    if (take_byte(rest, 'Z') || take_byte(rest, 'z')) {
        *ret_s = 0;
        return true;
    }
    bool west = take_byte(rest, '-');
    if ((!west && !take_byte(rest, '+')) || !take_number(rest, 2, &hours) ||
        !take_byte(rest, ':') || !take_number(rest, 2, &minutes) || hours > 23 || minutes > 59) {
        return false;
    }
    int64_t offset = (int64_t)hours * 3600 + (int64_t)minutes * 60;
    *ret_s = west ? -offset : offset;
    return true;
}

bool clock_parse(struct str text, int64_t *ret_wall_us)
{
    int64_t local_s = 0;
    int64_t fraction_us = 0;
    int64_t offset_s = 0;

    if (!take_date_time(&text, &local_s) || !take_fraction_us(&text, &fraction_us) ||
        !take_offset_s(&text, &offset_s) || text.len > 0) {
        return false;
    }
    *ret_wall_us = (local_s - offset_s) * us_per_s + fraction_us;
    return true;
}

struct unit {
    struct str name;
    int64_t ns;
};

static bool take_unit(struct str *rest, int64_t *ret_ns)
{
    /* Longer names first: "ms" would also match "m". */
    static const struct unit units[] = {
        {{"ns", 2}, 1},
        {{"us", 2}, 1000},
        {{"\xC2\xB5s", 3}, 1000}, /* micro sign */
        {{"\xCE\xBCs", 3}, 1000}, /* Greek mu */
        {{"ms", 2}, INT64_C(1000000)},
        {{"s", 1}, INT64_C(1000000000)},
        {{"m", 1}, INT64_C(60000000000)},
        {{"h", 1}, INT64_C(3600000000000)},
    };

    for (size_t i = 0; i < ARRAY_COUNT(units); i++) {
        if (str_starts_with(*rest, units[i].name)) {
            rest->ptr += units[i].name.len;
            rest->len -= units[i].name.len;
            *ret_ns = units[i].ns;
            return true;
        }
    }
    return false;
}

static struct str take_digits(struct str *rest)
{
    struct str digits = {rest->ptr, 0};

    while (digits.len < rest->len && is_digit(rest->ptr[digits.len])) {
        digits.len++;
    }
    rest->ptr += digits.len;
    rest->len -= digits.len;
    return digits;
}

/* One "1.5h": number, optional fraction, unit. Adds to *total_ns; false also when that overflows.
 */
static bool take_duration_part(struct str *rest, int64_t *total_ns)
{
    struct str whole = take_digits(rest);
    struct str fraction = {0};
    int64_t value = 0;
    int64_t unit_ns = 0;

    if (take_byte(rest, '.')) {
        fraction = take_digits(rest);
    }
    if ((whole.len == 0 && fraction.len == 0) || !take_unit(rest, &unit_ns) ||
        (whole.len > 0 && !str_to_int64(whole, &value)) ||
        __builtin_mul_overflow(value, unit_ns, &value)) {
        return false;
    }
    for (size_t i = 0; i < fraction.len; i++) {
        unit_ns /= 10;
        if (__builtin_add_overflow(value, (fraction.ptr[i] - '0') * unit_ns, &value)) {
            return false;
        }
    }
    return !__builtin_add_overflow(*total_ns, value, total_ns);
}

bool clock_parse_duration_ms(struct str text, int64_t *ret_ms)
{
    int64_t total_ns = 0;

    take_byte(&text, '+');
    if (!str_equal(text, STR("0"))) { /* the only number that needs no unit */
        if (text.len == 0) {
            return false;
        }
        while (text.len > 0) {
            if (!take_duration_part(&text, &total_ns)) {
                return false;
            }
        }
    }
    *ret_ms = total_ns / 1000000;
    return true;
}

/* splitmix64: one word of state, so a generator a thread costs nothing and needs no lock. */
static uint64_t next_random(void)
{
    static _Thread_local uint64_t state;
    static _Thread_local bool seeded;

    if (!seeded) {
        random_bytes(&state, sizeof(state));
        seeded = true;
    }
    state += UINT64_C(0x9E3779B97F4A7C15);
    uint64_t mixed = state;
    mixed = (mixed ^ mixed >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    mixed = (mixed ^ mixed >> 27) * UINT64_C(0x94D049BB133111EB);
    return mixed ^ mixed >> 31;
}

int64_t clock_jitter_ms(int64_t bound_ms)
{
    uint64_t bound = bound_ms > 0 ? (uint64_t)bound_ms : 1;
    uint64_t fair = UINT64_MAX - UINT64_MAX % bound; /* a multiple of bound: no value is favoured */
    uint64_t random = next_random();

    while (random >= fair) {
        random = next_random();
    }
    return (int64_t)(random % bound);
}
