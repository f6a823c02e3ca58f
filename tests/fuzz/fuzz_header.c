/* What a server says in headers: Retry-After as seconds or a date, and times and durations as they
 * stand in objects. Waits are bounded whatever is said; times that are taken print and parse back.
 */
#include <string.h>

#include "controller/base/clock.h"
#include "controller/net/http_internal.h"
#include "tests/fuzz/fuzz.h"

static const int64_t day_ms = INT64_C(24) * 60 * 60 * 1000;

static void check_retry_after(const char *text)
{
    int64_t wait_ms = transfer_retry_after_ms(text);
    FUZZ_CHECK(wait_ms >= -1 && wait_ms <= day_ms);
    FUZZ_CHECK(wait_ms == -1 || wait_ms % 1000 == 0);
}

static void check_time(struct str text)
{
    char printed[CLOCK_TEXT_BYTES];
    int64_t wall_us = 0;
    int64_t again_us = 0;
    if (clock_parse(text, &wall_us)) {
        clock_format_us(wall_us, printed);
        FUZZ_CHECK(clock_parse(str_from(printed), &again_us));
        /* An offset can lead out of the years that have four digits. */
        FUZZ_CHECK(again_us == wall_us || strncmp(printed, "0000-", 5) == 0 ||
                   strncmp(printed, "9999-", 5) == 0);
    }
}

static void check_duration(struct str text)
{
    int64_t duration_ms = 0;
    FUZZ_CHECK(!clock_parse_duration_ms(text, &duration_ms) || duration_ms >= 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = xmemdup0((const char *)data, size);
    check_retry_after(text);
    check_time((struct str){text, size});
    check_duration((struct str){text, size});
    free(text);
    return 0;
}
