#include "controller/base/child_end.h"

#include <errno.h>
#include <sys/pidfd.h>
#include <sys/wait.h>

enum { LOOK_AGAIN_MS = 10 };

int child_end_fd(pid_t pid)
{
    return pidfd_open(pid, 0);
}

int64_t child_end_poll_ms(int end_fd, int64_t limit_ms)
{
    return end_fd >= 0 || limit_ms < LOOK_AGAIN_MS ? limit_ms : LOOK_AGAIN_MS;
}

bool child_has_ended(pid_t pid)
{
    siginfo_t info = {0};
    int result = 0;

    do {
        result = waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT);
    } while (result < 0 && errno == EINTR);
    return result < 0 || info.si_pid == pid;
}
