/* A child process with pipes: started without a shell, watched until it has ended, killed with all
 * that it started when its owner lets go of it. What it says on standard error is for people, and
 * the beginning of it goes into the error message.
 *
 * One thread may read while another one feeds; everything else is the owner's. Reads and feeds
 * honour the call's deadline and cancellation. */
#ifndef TENANTRY_DRIVERS_PROCESS_H
#define TENANTRY_DRIVERS_PROCESS_H

#include <stdbool.h>
#include <stddef.h>

#include "controller/base/attributes.h"
#include "controller/base/call.h"
#include "controller/base/err.h"
#include "controller/base/str.h"

enum { PROCESS_FIRST_FD = 3, PROCESS_FDS_MAX = 4 };

struct process_config {
    const char *const *arguments; /* NULL-ended; the first is looked up on PATH if it has no '/' */
    const char *const *environment; /* NULL-ended; the whole of it */
    int fds[PROCESS_FDS_MAX];       /* open in the child as PROCESS_FIRST_FD and on; borrowed */
    size_t fd_count;
    bool fed; /* standard input is what process_feed writes; else it is empty */
};

struct process;
/* Errors: TERMINAL/ProgramMissing, RETRY/OutOfResources. */
MUST_CHECK int process_start(const struct process_config *config, struct process **ret,
                             struct err *err);
/* Kills it if it has not ended. NULL is fine. */
void process_free(struct process *process);
AUTO_DEFINE(process, struct process *, process_free)

/* What comes next on its standard output; *ret_length 0 at its end. */
MUST_CHECK int process_read(struct process *process, const struct call *call, char *bytes,
                            size_t capacity, size_t *ret_length, struct err *err);
/* Write to its standard input, all of it. Errors: RETRY/ProgramFailed when it reads no more. */
MUST_CHECK int process_feed(struct process *process, const struct call *call, struct str bytes,
                            struct err *err);
/* No more input comes. */
void process_end_input(struct process *process);
/* After its output has ended: its exit. Errors: RETRY/ProgramFailed with the first line that it
 * said of an error, if it did not end with 0. */
MUST_CHECK int process_wait(struct process *process, const struct call *call, struct err *err);

/* A memory file that only its owner may read: for what a child has to find in a file, and nobody on
 * a disk. It opens as /proc/self/fd/N. -1 and *err: RETRY/OutOfResources. Caller closes. */
MUST_CHECK int process_memory_file(const char *name, struct str content, struct err *err);

#endif
