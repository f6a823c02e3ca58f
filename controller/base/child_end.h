/* The end of a child process, beside whatever else is polled for. Leaves the child to be reaped.
 *
 *     int fd = child_end_fd(pid);
 *     while (!child_has_ended(pid)) {
 *         ... poll fd among others, for child_end_poll_ms(fd, limit_ms) at most ...
 *     } */
#ifndef TENANTRY_BASE_CHILD_END_H
#define TENANTRY_BASE_CHILD_END_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* A descriptor that polls readable once the child has ended, closed on exec; the caller closes it.
 * -1, which poll skips, where there is none: in sandboxes whose kernel does not know pidfd_open(2),
 * or when all descriptors are taken. */
int child_end_fd(pid_t pid);

/* How long to poll beside that descriptor: limit_ms, and without one only so long that the end is
 * noticed soon. */
int64_t child_end_poll_ms(int end_fd, int64_t limit_ms);

/* Also true when there is no such child to wait for. */
bool child_has_ended(pid_t pid);

#endif
