/* Time. Durations and deadlines are monotonic milliseconds; wall time is UTC only.
 *
 * The monotonic clock stands still while the machine is suspended, as the timers of the kernel and
 * of the libraries do. What must not outlast a suspension (leadership) is judged by the boot clock,
 * which goes on. A test may shift the wall clock (clock_set_wall_offset_ms, clock_follow_file), and
 * the boot clock forward; never the monotonic one. Thread-safe. */
#ifndef TENANTRY_BASE_CLOCK_H
#define TENANTRY_BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "controller/base/str.h"

/* Since some moment before the process began; never back. */
int64_t clock_monotonic_ms(void);
/* The same in microseconds. */
int64_t clock_monotonic_us(void);
/* The same, with the time that the machine was suspended for (CLOCK_BOOTTIME). */
int64_t clock_boot_ms(void);
/* For tests: as if the machine had been suspended for so much longer. */
void clock_suspend_ms(int64_t duration_ms);
/* Microseconds since 1970-01-01 UTC, shifted as a test asked for. */
int64_t clock_wall_us(void);
/* The same in whole seconds. */
int64_t clock_wall_s(void);
/* For tests: what the wall clock says from now on is so much later; negative: earlier. */
void clock_set_wall_offset_ms(int64_t offset_ms);
/* How far the wall clock is shifted now, 0 outside of tests. Whoever lets a database say what time
 * it is adds this. */
int64_t clock_wall_offset_ms(void);

/* Shift the wall clock by what the file says, a whole number of seconds, read again at most every
 * CLOCK_FILE_PERIOD_MS when somebody asks for the time. Once at start; path must stay valid. A file
 * that cannot be read or holds no number later (it is being written) leaves the clock as it is.
 * Errors: TERMINAL/InvalidOption when that is so at the start. */
enum { CLOCK_FILE_PERIOD_MS = 50 };
MUST_CHECK int clock_follow_file(const char *path, struct err *err);

enum { CLOCK_TEXT_BYTES = 28 };
/* RFC 3339 UTC: "2026-01-02T03:04:05Z", and with microseconds "2026-01-02T03:04:05.000000Z". Times
 * outside of the years 0 to 9999 are moved to the nearest inside. */
void clock_format_s(int64_t wall_s, char ret_text[CLOCK_TEXT_BYTES]);
/* The same from microseconds, with all six digits of them. */
void clock_format_us(int64_t wall_us, char ret_text[CLOCK_TEXT_BYTES]);
/* Parses RFC 3339 with any offset and fraction; what is below a microsecond is dropped. A leap
 * second (":60") is refused, as Go refuses it. */
MUST_CHECK bool clock_parse(struct str text, int64_t *ret_wall_us);

/* Go-style durations: "300ms", "1.5s", "5m", "2h45m", "0". What is below a millisecond is dropped.
 * False when malformed, negative or longer than 292 years. */
MUST_CHECK bool clock_parse_duration_ms(struct str text, int64_t *ret_ms);

/* Uniform in [0, bound_ms), from a per-thread generator: for jitter, not for secrets. bound_ms > 0.
 */
int64_t clock_jitter_ms(int64_t bound_ms);

#endif
