#include "controller/runtime/process_metrics.h"

#include <dirent.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "controller/base/metrics.h"

static struct metric build_metric =
    METRIC_GAUGE("tenantry_build_info", "1, with the version of this program.", "version");
static struct metric resident_metric =
    METRIC_GAUGE("process_resident_memory_bytes", "Resident memory size in bytes.", NULL);
static struct metric virtual_metric =
    METRIC_GAUGE("process_virtual_memory_bytes", "Virtual memory size in bytes.", NULL);
static struct metric heap_metric =
    METRIC_GAUGE("tenantry_heap_bytes",
                 "Memory of the C heap: what is in use, and what is free in it.", "state");
static struct metric cpu_metric = METRIC_COUNTER(
    "process_cpu_seconds_total", "Total user and system CPU time spent in seconds.", NULL);
static struct metric fds_metric =
    METRIC_GAUGE("process_open_fds", "Number of open file descriptors.", NULL);
static struct metric max_fds_metric =
    METRIC_GAUGE("process_max_fds", "Maximum number of open file descriptors.", NULL);
static struct metric threads_metric = METRIC_GAUGE("process_threads", "Number of threads.", NULL);
static struct metric start_metric = METRIC_GAUGE(
    "process_start_time_seconds", "Start time of the process since unix epoch in seconds.", NULL);

static bool read_file(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "re");
    if (!file) {
        return false;
    }
    size_t count = fread(text, 1, size - 1, file);
    (void)fclose(file);
    text[count] = '\0';
    return count > 0;
}

static void collect_memory(void)
{
    char text[256];
    if (read_file("/proc/self/statm", text, sizeof(text))) {
        double page_bytes = (double)sysconf(_SC_PAGESIZE);
        char *rest = text;
        metric_set(&virtual_metric, (double)strtoull(rest, &rest, 10) * page_bytes);
        metric_set(&resident_metric, (double)strtoull(rest, &rest, 10) * page_bytes);
    }
}

/* mallinfo2(3): resident memory that neither this nor the libraries explain is fragmentation. */
static void collect_heap(void)
{
    struct mallinfo2 info = mallinfo2();
    metric_set(&heap_metric, (double)info.uordblks + (double)info.hblkhd, "used");
    metric_set(&heap_metric, (double)info.fordblks, "free");
}

static size_t count_entries(const char *path)
{
    DIR *directory = opendir(path);
    size_t count = 0;
    if (!directory) {
        return 0;
    }
    for (const struct dirent *entry; (entry = readdir(directory));) {
        count += entry->d_name[0] != '.';
    }
    (void)closedir(directory);
    return count;
}

static void collect_counts(void)
{
    struct rlimit limit;
    size_t fds = count_entries("/proc/self/fd");
    metric_set(&fds_metric, fds > 0 ? fds - 1 : 0); /* without the one that looked */
    metric_set(&threads_metric, count_entries("/proc/self/task"));
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        metric_set(&max_fds_metric, limit.rlim_cur);
    }
}

static void collect_cpu(void)
{
    struct timespec used;
    if (clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used) == 0) {
        static const char *const no_labels[] = {""};
        double seconds = (double)used.tv_sec + (double)used.tv_nsec / 1e9;
        metric_add(&cpu_metric, seconds - metric_value_labeled(&cpu_metric, no_labels));
    }
}

static void collect(void *context)
{
    (void)context;
    collect_memory();
    collect_heap();
    collect_counts();
    collect_cpu();
}

/* Field 22 of /proc/self/stat, in clock ticks since boot; the second field may hold blanks. */
static bool start_ticks(unsigned long long *ret)
{
    char text[1024];
    if (!read_file("/proc/self/stat", text, sizeof(text))) {
        return false;
    }
    const char *at = strrchr(text, ')');
    for (int field = 2; at && field < 22; field++) {
        at = strchr(at + 1, ' ');
    }
    *ret = at ? strtoull(at, NULL, 10) : 0;
    return *ret > 0;
}

static double start_time_s(void)
{
    struct timespec wall;
    struct timespec boot;
    unsigned long long ticks = 0;
    if (!start_ticks(&ticks) || clock_gettime(CLOCK_REALTIME, &wall) != 0 ||
        clock_gettime(CLOCK_BOOTTIME, &boot) != 0) {
        return 0;
    }
    double booted_s =
        (double)wall.tv_sec - (double)boot.tv_sec + (double)(wall.tv_nsec - boot.tv_nsec) / 1e9;
    return booted_s + (double)ticks / (double)sysconf(_SC_CLK_TCK);
}

void process_metrics_register(void)
{
    metric_set(&build_metric, 1, TENANTRY_VERSION);
    metric_set(&start_metric, start_time_s());
    metrics_off_collect(collect, NULL); /* so that a second call changes nothing */
    metrics_on_collect(collect, NULL);
}
