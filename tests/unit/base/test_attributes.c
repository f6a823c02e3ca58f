#include "controller/base/attributes.h"

#include "tests/check.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static int releases;

static void count_release(const int *value)
{
    releases += *value;
}
AUTO_DEFINE(counted, const int *, count_release)

static void auto_releases_on_every_way_out(void **state)
{
    static const int one = 1;
    (void)state;

    releases = 0;
    for (int i = 0; i < 3; i++) {
        AUTO(counted) const int *value = &one;
        if (i == 1) {
            continue;
        }
        CHECK_INT(*value, 1);
    }
    CHECK_INT(releases, 3);
}

static void auto_leaves_null_alone_and_take_empties(void **state)
{
    static const int one = 1;
    const int *taken = NULL;
    (void)state;

    releases = 0;
    {
        AUTO(counted) const int *none UNUSED = NULL;
        AUTO(counted) const int *value = &one;
        taken = TAKE(value);
        CHECK_NULL(value);
    }
    CHECK(taken == &one);
    CHECK_INT(releases, 0);
}

static void auto_fd_closes_but_not_minus_one(void **state)
{
    int number = -1;
    (void)state;

    {
        AUTO(fd) int none UNUSED = -1;
        AUTO(fd) int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        CHECK(fd >= 0);
        number = fd;
    }
    CHECK_INT(fcntl(number, F_GETFD), -1);
    CHECK_INT(errno, EBADF);
}

static void allocations_of_nothing_are_valid(void **state)
{
    (void)state;

    AUTO(free) void *a = xmalloc(0);
    AUTO(free) void *b = xcalloc(0, 0);
    AUTO(free) void *c = xrealloc(NULL, 0);
    AUTO(free) char *d = xmemdup0(NULL, 0);
    CHECK_NOT_NULL(a);
    CHECK_NOT_NULL(b);
    CHECK_NOT_NULL(c);
    CHECK_TEXT(d, "");
}

static void copies_are_whole(void **state)
{
    (void)state;

    AUTO(free) char *text = xstrdup("tenant");
    AUTO(free) char *part = xmemdup0("tenant", 3);
    AUTO(free) char *made = xasprintf("%s-%d", "tenant", 7);
    CHECK_TEXT(text, "tenant");
    CHECK_TEXT(part, "ten");
    CHECK_TEXT(made, "tenant-7");
}

static void errno_text_always_says_something(void **state)
{
    (void)state;

    CHECK_TEXT(errno_text(ENOENT), "No such file or directory");
    CHECK_TEXT(errno_text(-5), "Unknown error");
    CHECK_TEXT(errno_text(123456), "Unknown error");
}

/* In a child, whose standard error is a pipe: the fixed line, then SIGABRT. */
static void out_of_memory_says_so_and_aborts(void **state)
{
    int ends[2];
    char line[64] = {0};
    int status = 0;
    (void)state;

    CHECK_INT(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        signal(SIGABRT, SIG_DFL); /* a sanitizer's or cmocka's own handler would answer for us */
        out_of_memory();
    }
    close(ends[1]);
    CHECK(read(ends[0], line, sizeof(line) - 1) > 0);
    close(ends[0]);
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    CHECK_TEXT(line, "out of memory\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(auto_releases_on_every_way_out),
        cmocka_unit_test(auto_leaves_null_alone_and_take_empties),
        cmocka_unit_test(auto_fd_closes_but_not_minus_one),
        cmocka_unit_test(allocations_of_nothing_are_valid),
        cmocka_unit_test(copies_are_whole),
        cmocka_unit_test(errno_text_always_says_something),
        cmocka_unit_test(out_of_memory_says_so_and_aborts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
