#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "controller/base/clock.h"
#include "controller/base/metrics.h"
#include "controller/runtime/process_metrics.h"
#include "tests/check.h"

static double value_of(const char *series)
{
    AUTO(buf) struct buf page = BUF(1 << 20);
    CHECK(metrics_render(&page));
    char start[128];
    (void)snprintf(start, sizeof(start), "\n%s ", series);
    const char *at = strstr(buf_text(&page), start);
    CHECK_NOT_NULL(at);
    return strtod(at + strlen(start), NULL);
}

static void memory_grows_with_what_is_touched(void **state)
{
    (void)state;
    enum { BYTES = 64 * 1024 * 1024 };
    double before = value_of("process_resident_memory_bytes");
    CHECK(before > 100000);
    volatile char *memory = malloc(BYTES);
    CHECK_NOT_NULL(memory);
    for (size_t i = 0; i < BYTES; i += 4096) {
        memory[i] = 1;
    }
    CHECK(value_of("process_resident_memory_bytes") > before + (double)BYTES * 0.5);
    CHECK(value_of("process_virtual_memory_bytes") > before);
    free((void *)memory);
}

static void descriptors_are_counted(void **state)
{
    (void)state;
    double before = value_of("process_open_fds");
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    CHECK(value_of("process_open_fds") == before + 1);
    (void)close(fd);
    CHECK(value_of("process_open_fds") == before);
    CHECK(value_of("process_max_fds") >= before);
}

static void cpu_time_only_grows(void **state)
{
    (void)state;
    double before = value_of("process_cpu_seconds_total");
    int64_t end_ms = clock_monotonic_ms() + 60;
    while (clock_monotonic_ms() < end_ms) {
    }
    double after = value_of("process_cpu_seconds_total");
    CHECK(after > before);
    CHECK(after < before + 60);
}

/* Sanitizers bring an allocator of their own, which mallinfo2 knows nothing of. */
static void the_heap_tells_used_from_free(void **state)
{
    (void)state;
    enum { BLOCKS = 1000, BLOCK_BYTES = 1000 };
    static char *blocks[BLOCKS];
    double used = value_of("tenantry_heap_bytes{state=\"used\"}");
    if (used == 0) {
        skip();
    }
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = xmalloc(BLOCK_BYTES);
    }
    CHECK(value_of("tenantry_heap_bytes{state=\"used\"}") - used >= BLOCKS * BLOCK_BYTES);
    for (size_t i = 0; i + 1 < BLOCKS; i++) {
        free(blocks[i]);
    }
    CHECK(value_of("tenantry_heap_bytes{state=\"free\"}") >= (BLOCKS - 1) * BLOCK_BYTES);
    free(blocks[BLOCKS - 1]);
}

static void the_start_lies_a_moment_ago(void **state)
{
    (void)state;
    double age_s = (double)clock_wall_us() / 1e6 - value_of("process_start_time_seconds");
    CHECK(age_s > -1);
    CHECK(age_s < 120);
}

static void the_build_is_named(void **state)
{
    (void)state;
    CHECK(value_of("tenantry_build_info{version=\"" TENANTRY_VERSION "\"}") == 1);
}

int main(void)
{
    process_metrics_register();
    process_metrics_register();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_grows_with_what_is_touched),
        cmocka_unit_test(descriptors_are_counted),
        cmocka_unit_test(cpu_time_only_grows),
        cmocka_unit_test(the_heap_tells_used_from_free),
        cmocka_unit_test(the_start_lies_a_moment_ago),
        cmocka_unit_test(the_build_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
