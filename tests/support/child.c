#include "tests/support/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "controller/base/child_end.h"
#include "controller/base/clock.h"
#include "tests/check.h"

enum { STOP_TIMEOUT_MS = 5000 };

extern char **environ;

void child_start(struct child *child, const char *const *arguments)
{
    int in[2];
    int out[2];
    CHECK_INT(pipe2(in, O_CLOEXEC), 0);
    CHECK_INT(pipe2(out, O_CLOEXEC), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
    int failure = posix_spawnp(&child->pid, arguments[0], &actions, NULL,
                               (char *const *)(uintptr_t)arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failure != 0) {
        fail_msg("cannot start %s: %s", arguments[0], errno_text(failure));
    }
    close(in[0]);
    close(out[1]);
    child->stdin_fd = in[1];
    child->output = fdopen(out[0], "r");
    CHECK_NOT_NULL(child->output);
}

char *child_line(struct child *child)
{
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length = getline(&line, &capacity, child->output);
    if (length <= 0) {
        fail_msg("a helper program ended without the line that was awaited");
    }
    if (line[length - 1] == '\n') {
        line[length - 1] = '\0';
    }
    return line;
}

void child_stop(struct child *child)
{
    close(child->stdin_fd);
    int end_fd = child_end_fd(child->pid);
    struct pollfd ended = {.fd = end_fd, .events = POLLIN};
    int64_t deadline_ms = clock_monotonic_ms() + STOP_TIMEOUT_MS;
    while (!child_has_ended(child->pid) && clock_monotonic_ms() < deadline_ms) {
        (void)poll(&ended, 1, (int)child_end_poll_ms(end_fd, STOP_TIMEOUT_MS));
    }
    (void)kill(child->pid, SIGKILL); /* nothing to one that has ended and is not reaped yet */
    auto_release_fd(&end_fd);
    (void)waitpid(child->pid, NULL, 0);
    (void)fclose(child->output);
}
