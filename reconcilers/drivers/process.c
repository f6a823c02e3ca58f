#include "reconcilers/drivers/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "controller/base/buf.h"
#include "controller/base/child_end.h"
#include "controller/base/clock.h"

enum {
    SAID_MAX_BYTES = 4096,
    SAID_SHOWN_BYTES = 300,
    POLL_MS = 1000, /* without a deadline, look again this often */
    SPARE_FD = 16,  /* above every number that a child gets */
};

struct process {
    const char *name; /* borrowed from the arguments */
    pid_t pid;
    int end_fd;
    int in_fd; /* -1 once closed */
    int out_fd;
    int err_fd;
    bool reaped;
    int status;
    struct buf said; /* the beginning of standard error */
};

static int out_of_resources(const char *what, int number, struct err *err)
{
    return err_set(err, ERR_RETRY, "OutOfResources", "%s: %s", what, errno_text(number));
}

/* ---- starting ---- */

struct pipes {
    int in[2], out[2], err[2];
};

static void pipes_release(struct pipes *pipes)
{
    int *const all[] = {pipes->in, pipes->out, pipes->err};
    for (size_t i = 0; i < ARRAY_COUNT(all); i++) {
        auto_release_fd(&all[i][0]);
        auto_release_fd(&all[i][1]);
    }
}
static inline void auto_release_pipes(struct pipes *pipes)
{
    pipes_release(pipes);
}

/* Our ends do not block, so that nothing that keeps a pipe open holds up anything. */
static int pipes_open(struct pipes *pipes, struct err *err)
{
    if (pipe2(pipes->in, O_CLOEXEC) || pipe2(pipes->out, O_CLOEXEC) ||
        pipe2(pipes->err, O_CLOEXEC) || fcntl(pipes->in[1], F_SETFL, O_NONBLOCK) ||
        fcntl(pipes->out[0], F_SETFL, O_NONBLOCK) || fcntl(pipes->err[0], F_SETFL, O_NONBLOCK)) {
        return out_of_resources("no pipe can be made", errno, err);
    }
    return 0;
}

/* Descriptors moved above all numbers that the child is to have, so that none overwrites another.
 */
static int lift(const struct process_config *config, int lifted[PROCESS_FDS_MAX], struct err *err)
{
    for (size_t i = 0; i < config->fd_count; i++) {
        lifted[i] = fcntl(config->fds[i], F_DUPFD_CLOEXEC, SPARE_FD);
        if (lifted[i] < 0) {
            return out_of_resources("no descriptor is left", errno, err);
        }
    }
    return 0;
}

static void add_actions(posix_spawn_file_actions_t *actions, const struct process_config *config,
                        const struct pipes *pipes, const int lifted[PROCESS_FDS_MAX])
{
    if (config->fed) {
        posix_spawn_file_actions_adddup2(actions, pipes->in[0], STDIN_FILENO);
    } else {
        posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    }
    posix_spawn_file_actions_adddup2(actions, pipes->out[1], STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(actions, pipes->err[1], STDERR_FILENO);
    for (size_t i = 0; i < config->fd_count; i++) {
        posix_spawn_file_actions_adddup2(actions, lifted[i], PROCESS_FIRST_FD + (int)i);
    }
    posix_spawn_file_actions_addclosefrom_np(actions, PROCESS_FIRST_FD + (int)config->fd_count);
}

static int spawn(struct process *process, const struct process_config *config,
                 const struct pipes *pipes, const int lifted[PROCESS_FDS_MAX])
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigset_t defaults;

    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE); /* ignored here, which a child would inherit */
    posix_spawn_file_actions_init(&actions);
    add_actions(&actions, config, pipes, lifted);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                              POSIX_SPAWN_SETSIGDEF);
    int failure = posix_spawnp(&process->pid, config->arguments[0], &actions, &attributes,
                               (char *const *)(uintptr_t)config->arguments,
                               (char *const *)(uintptr_t)config->environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return failure;
}

static int start_with(struct process *process, const struct process_config *config,
                      const struct pipes *pipes, struct err *err)
{
    int lifted[PROCESS_FDS_MAX] = {-1, -1, -1, -1};
    int failure = 0;
    int result = lift(config, lifted, err);

    if (result == 0) {
        failure = spawn(process, config, pipes, lifted);
    }
    for (size_t i = 0; i < PROCESS_FDS_MAX; i++) {
        auto_release_fd(&lifted[i]);
    }
    if (failure == ENOENT) {
        return err_set(err, ERR_TERMINAL, "ProgramMissing", "there is no program \"%s\"",
                       config->arguments[0]);
    }
    return failure ? out_of_resources(config->arguments[0], failure, err) : result;
}

static int take(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

int process_start(const struct process_config *config, struct process **ret, struct err *err)
{
    AUTO(pipes) struct pipes pipes = {{-1, -1}, {-1, -1}, {-1, -1}};
    struct process *process = NULL;

    if (pipes_open(&pipes, err)) {
        return -1;
    }
    process = xcalloc(1, sizeof(*process));
    process->name = config->arguments[0];
    process->in_fd = process->out_fd = process->err_fd = process->end_fd = -1;
    buf_init(&process->said, SAID_MAX_BYTES);
    if (start_with(process, config, &pipes, err)) {
        free(process);
        return -1;
    }
    process->in_fd = config->fed ? take(&pipes.in[1]) : -1;
    process->out_fd = take(&pipes.out[0]);
    process->err_fd = take(&pipes.err[0]);
    process->end_fd = child_end_fd(process->pid);
    *ret = process;
    return 0;
}

static void reap(struct process *process)
{
    while (!process->reaped) {
        pid_t ended = waitpid(process->pid, &process->status, 0);
        process->reaped = ended == process->pid || (ended < 0 && errno != EINTR);
    }
}

void process_free(struct process *process)
{
    if (!process) {
        return;
    }
    if (!process->reaped) {
        (void)kill(-process->pid, SIGKILL);
        (void)kill(process->pid, SIGKILL); /* should its group not exist yet */
        reap(process);
    }
    auto_release_fd(&process->end_fd);
    auto_release_fd(&process->in_fd);
    auto_release_fd(&process->out_fd);
    auto_release_fd(&process->err_fd);
    buf_release(&process->said);
    free(process);
}

/* ---- talking ---- */

/* Keep the beginning, where the cause stands; read on, so that the child is not held up. */
static void listen_to_errors(struct process *process)
{
    char bytes[SAID_MAX_BYTES];

    while (process->err_fd >= 0) {
        ssize_t got = read(process->err_fd, bytes, sizeof(bytes));
        if (got <= 0) {
            if (got == 0) {
                auto_release_fd(&process->err_fd);
                process->err_fd = -1;
            }
            return;
        }
        size_t room = SAID_MAX_BYTES - 1 - process->said.len;
        (void)buf_append(&process->said, bytes, (size_t)got < room ? (size_t)got : room);
    }
}

/* Wait until fd is ready, or the child says something on standard error where err_fd is given. Of a
 * child whose end has no descriptor, a moment. */
static int wait_for(int fd, short events, int err_fd, const struct call *call, struct err *err)
{
    struct pollfd descriptors[] = {
        {.fd = fd, .events = events},
        {.fd = err_fd, .events = POLLIN},
        {.fd = call->cancel ? cancel_fd(call->cancel) : -1, .events = POLLIN},
    };

    if (call_check(call, err)) {
        return -1;
    }
    int64_t poll_ms = child_end_poll_ms(fd, POLL_MS);
    (void)poll(descriptors, ARRAY_COUNT(descriptors), (int)call_remaining_ms(call, poll_ms));
    return call_check(call, err);
}

int process_read(struct process *process, const struct call *call, char *bytes, size_t capacity,
                 size_t *ret_length, struct err *err)
{
    for (;;) {
        listen_to_errors(process);
        ssize_t got = read(process->out_fd, bytes, capacity);
        if (got >= 0) {
            *ret_length = (size_t)got;
            return 0;
        }
        if (errno != EAGAIN && errno != EINTR) {
            return out_of_resources(process->name, errno, err);
        }
        if (wait_for(process->out_fd, POLLIN, process->err_fd, call, err)) {
            return err_wrap(err, "%s", process->name);
        }
    }
}

int process_feed(struct process *process, const struct call *call, struct str bytes,
                 struct err *err)
{
    while (bytes.len > 0) {
        ssize_t put = write(process->in_fd, bytes.ptr, bytes.len);
        if (put > 0) {
            bytes.ptr += put;
            bytes.len -= (size_t)put;
            continue;
        }
        if (errno != EAGAIN && errno != EINTR) {
            return err_set(err, ERR_RETRY, "ProgramFailed", "%s reads no more: %s", process->name,
                           errno_text(errno));
        }
        if (wait_for(process->in_fd, POLLOUT, -1, call, err)) {
            return err_wrap(err, "%s", process->name);
        }
    }
    return 0;
}

void process_end_input(struct process *process)
{
    auto_release_fd(&process->in_fd);
    process->in_fd = -1;
}

/* ---- ending ---- */

/* The first line that tells of an error, as far as it can be shown. */
static char *first_words(const struct process *process)
{
    struct str text = buf_str(&process->said);
    const char *error = text.len ? strstr(buf_text(&process->said), "error: ") : NULL;

    if (error) {
        text = str_from(error + strlen("error: "));
    }
    text = str_trim(text);
    const char *line_break = text.len ? memchr(text.ptr, '\n', text.len) : NULL;
    if (line_break) {
        text.len = (size_t)(line_break - text.ptr);
    }
    text.len = str_utf8_prefix(text, SAID_SHOWN_BYTES);
    char *words = xmemdup0(text.len ? text.ptr : "", text.len);
    for (char *at = words; *at; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7f) {
            *at = ' ';
        }
    }
    return words;
}

int process_wait(struct process *process, const struct call *call, struct err *err)
{
    while (!child_has_ended(process->pid)) {
        listen_to_errors(process);
        if (wait_for(process->end_fd, POLLIN, process->err_fd, call, err)) {
            return err_wrap(err, "%s", process->name);
        }
    }
    listen_to_errors(process);
    reap(process);
    if (WIFEXITED(process->status) && WEXITSTATUS(process->status) == 0) {
        return 0;
    }
    AUTO(free) char *words = first_words(process);
    if (WIFSIGNALED(process->status)) {
        return err_set(err, ERR_RETRY, "ProgramFailed", "%s was killed by signal %d", process->name,
                       WTERMSIG(process->status));
    }
    return err_set(err, ERR_RETRY, "ProgramFailed", "%s failed with exit code %d: %s",
                   process->name, WEXITSTATUS(process->status), words);
}

/* ---- memory files ---- */

int process_memory_file(const char *name, struct str content, struct err *err)
{
    int fd = memfd_create(name, MFD_CLOEXEC);

    while (fd >= 0 && content.len > 0) {
        ssize_t put = write(fd, content.ptr, content.len);
        if (put < 0 && errno != EINTR) {
            break;
        }
        content.ptr += put > 0 ? put : 0;
        content.len -= put > 0 ? (size_t)put : 0;
    }
    if (fd < 0 || content.len > 0 || fchmod(fd, S_IRUSR | S_IWUSR)) {
        int number = errno;
        auto_release_fd(&fd);
        (void)out_of_resources("no memory file can be made", number, err);
        return -1;
    }
    return fd;
}
