/* Helper programs of tests (servers, plugins): started with a pipe on their standard input, which
 * they read to know when the test is gone, and one on their output, from which the test reads what
 * they report. Failures end the test. */
#ifndef TENANTRY_TESTS_SUPPORT_CHILD_H
#define TENANTRY_TESTS_SUPPORT_CHILD_H

#include <stdio.h>
#include <sys/types.h>

struct child {
    pid_t pid;
    int stdin_fd;
    FILE *output;
};

/* arguments[0] is looked up in PATH; the list is NULL-ended. */
void child_start(struct child *child, const char *const *arguments);
/* The next line of its output, without the line break; the caller frees. */
char *child_line(struct child *child);
/* Close its input, wait for its end (killing it after 5 s). */
void child_stop(struct child *child);

#endif
