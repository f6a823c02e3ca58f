/* Children are fed, read, waited for and killed, and what they need to know reaches them through
 * nothing that others can read. */
#include "tests/check.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controller/base/buf.h"
#include "controller/base/clock.h"
#include "reconcilers/drivers/process.h"

static const char *const environment[] = {"PATH=/usr/bin:/bin", "WORD=here", NULL};

static int start(const char *script, bool fed, const int *fds, size_t fd_count,
                 struct process **ret, struct err *err)
{
    const char *const arguments[] = {"sh", "-c", script, NULL};
    struct process_config config = {
        .arguments = arguments, .environment = environment, .fd_count = fd_count, .fed = fed};

    for (size_t i = 0; i < fd_count; i++) {
        config.fds[i] = fds[i];
    }
    return process_start(&config, ret, err);
}

static char *read_all(struct process *process, const struct call *call)
{
    AUTO(buf) struct buf text = BUF(1 << 20);
    struct err err = {0};
    char bytes[100];
    size_t length = 1;

    while (length > 0) {
        CHECK_OK(process_read(process, call, bytes, sizeof(bytes), &length, &err), &err);
        CHECK(buf_append(&text, bytes, length));
    }
    return buf_detach(&text);
}

static void it_gets_its_environment_and_nothing_else(void **state)
{
    AUTO(process) struct process *process = NULL;
    struct call call = {0};
    struct err err = {0};

    (void)state;
    CHECK_INT(setenv("TENANTRY_REGISTRY_URL", "a-secret", 1), 0);
    CHECK_OK(start("echo \"$WORD $TENANTRY_REGISTRY_URL\"; ls /proc/self/fd | wc -l; cat", false,
                   NULL, 0, &process, &err),
             &err);
    AUTO(free) char *text = read_all(process, &call);
    CHECK_TEXT(text, "here \n4\n"); /* 0, 1, 2 and the folder */
    CHECK_OK(process_wait(process, &call, &err), &err);
}

static void a_memory_file_is_its_owners_alone(void **state)
{
    AUTO(process) struct process *process = NULL;
    AUTO(fd) int second = -1;
    AUTO(fd) int first = -1;
    struct call call = {0};
    struct err err = {0};

    (void)state;
    first = process_memory_file("a", STR("one"), &err);
    CHECK(first >= 0);
    second = process_memory_file("b", STR("two"), &err);
    CHECK(second >= 0);
    /* Given in the other order, so that the numbers cross. */
    const int fds[] = {second, first};
    CHECK_OK(start("stat -L -c %a /proc/self/fd/3; cat /proc/self/fd/3 /proc/self/fd/4", false, fds,
                   2, &process, &err),
             &err);
    AUTO(free) char *text = read_all(process, &call);
    CHECK_TEXT(text, "600\ntwoone");
    CHECK_OK(process_wait(process, &call, &err), &err);
}

static void *feed(void *context)
{
    enum { TIMES = 2000 };
    struct process *process = context;
    struct call call = {0};
    struct err err = {0};

    for (int i = 0; i < TIMES; i++) {
        CHECK_OK(process_feed(process, &call, STR("0123456789abcdef0123456789abcdef"), &err), &err);
    }
    process_end_input(process);
    return NULL;
}

/* More than the pipes hold, in both directions at once. */
static void one_thread_feeds_while_another_reads(void **state)
{
    AUTO(process) struct process *process = NULL;
    struct call call = {0};
    struct err err = {0};
    pthread_t thread;

    (void)state;
    CHECK_OK(start("cat", true, NULL, 0, &process, &err), &err);
    CHECK_INT(pthread_create(&thread, NULL, feed, process), 0);
    AUTO(free) char *text = read_all(process, &call);
    pthread_join(thread, NULL);
    CHECK_INT(strlen(text), 64000);
    CHECK_OK(process_wait(process, &call, &err), &err);
}

static void failure_is_told_in_its_words(void **state)
{
    static const struct {
        const char *script;
        const char *words;
    } cases[] = {
        {"echo 'pg_dump: error: no such table' >&2; echo 'detail: more' >&2; exit 1",
         "failed with exit code 1: no such table"},
        {"echo plain >&2; exit 7", "failed with exit code 7: plain"},
        {"kill -TERM $$", "was killed by signal 15"},
        {"head -c 300000 /dev/zero | tr '\\0' 'x' >&2; exit 2", "failed with exit code 2: xxx"},
    };
    struct call call = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        AUTO(process) struct process *process = NULL;
        struct err err = {0};
        CHECK_OK(start(cases[i].script, false, NULL, 0, &process, &err), &err);
        free(read_all(process, &call));
        CHECK_FAILS(process_wait(process, &call, &err), &err, ERR_RETRY, "ProgramFailed");
        CHECK_NOT_NULL(strstr(err.message, cases[i].words));
    }
}

static void one_that_is_not_there_is_told(void **state)
{
    SKIP_UNDER_VALGRIND();
    const char *const arguments[] = {"/nowhere/pg_dump", NULL};
    const struct process_config config = {.arguments = arguments, .environment = environment};
    struct process *process = NULL;
    struct err err = {0};

    (void)state;
    CHECK_FAILS(process_start(&config, &process, &err), &err, ERR_TERMINAL, "ProgramMissing");
}

static void who_stops_reading_is_noticed(void **state)
{
    AUTO(process) struct process *process = NULL;
    struct call call = {0};
    struct err err = {0};
    int result = 0;

    (void)state;
    CHECK_OK(start("exec 0<&-; exit 3", true, NULL, 0, &process, &err), &err);
    while (result == 0) {
        result = process_feed(process, &call, STR("0123456789abcdef"), &err);
    }
    CHECK_TEXT(err.reason, "ProgramFailed");
}

/* With all that it started. */
static void deadline_and_cancellation_end_it(void **state)
{
    AUTO(process) struct process *process = NULL;
    struct call call = {.deadline_ms = clock_monotonic_ms() + 200};
    struct err err = {0};
    char bytes[16];
    size_t length = 0;

    (void)state;
    CHECK_OK(start("sleep 1000 & echo $!; wait", false, NULL, 0, &process, &err), &err);
    CHECK_OK(process_read(process, &call, bytes, sizeof(bytes) - 1, &length, &err), &err);
    bytes[length] = '\0';
    pid_t grandchild = (pid_t)strtol(bytes, NULL, 10);
    CHECK(grandchild > 1);
    CHECK_FAILS(process_read(process, &call, bytes, sizeof(bytes), &length, &err), &err, ERR_RETRY,
                "DeadlineExceeded");
    process_free(TAKE(process));
    /* It is init's by now, or ours to wait for no longer: it must be dying. */
    const struct timespec pause = {.tv_nsec = 1000000};
    for (int i = 0; i < 5000 && kill(grandchild, 0) == 0; i++) {
        AUTO(free) char *path = xasprintf("/proc/%d/stat", (int)grandchild);
        char text[200] = "";
        AUTO(fd) int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd >= 0 && read(fd, text, sizeof(text) - 1) > 0 && strstr(text, ") Z ")) {
            return;
        }
        nanosleep(&pause, NULL);
    }
    CHECK_INT(kill(grandchild, 0), -1);
    CHECK_INT(errno, ESRCH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_gets_its_environment_and_nothing_else),
        cmocka_unit_test(a_memory_file_is_its_owners_alone),
        cmocka_unit_test(one_thread_feeds_while_another_reads),
        cmocka_unit_test(failure_is_told_in_its_words),
        cmocka_unit_test(one_that_is_not_there_is_told),
        cmocka_unit_test(who_stops_reading_is_noticed),
        cmocka_unit_test(deadline_and_cancellation_end_it),
    };
    (void)signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
