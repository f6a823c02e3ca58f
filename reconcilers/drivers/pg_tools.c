#include "reconcilers/drivers/pg_tools.h"

#include <stdio.h>
#include <unistd.h>

#include "controller/base/thread.h"
#include "reconcilers/drivers/process.h"
#include "reconcilers/drivers/sql_internal.h"

enum { PIECE_BYTES = 64 * 1024, VERSION_MAX_BYTES = 256, VARIABLES_MAX = 16, ARGUMENTS_MAX = 16 };

static const char *program(struct arena *arena, const char *folder, const char *name)
{
    return text_is_empty(folder) ? name : arena_printf(arena, "%s/%s", folder, name);
}

/* Nothing of our own environment but where programs are. */
static const char *path_variable(struct arena *arena)
{
    const char *path = getenv("PATH");
    return arena_printf(arena, "PATH=%s", path ? path : "/usr/local/bin:/usr/bin:/bin");
}

/* ---- which version ---- */

static int read_all(struct process *process, const struct call *call, struct buf *ret,
                    struct err *err)
{
    char bytes[VERSION_MAX_BYTES];
    size_t length = 0;

    do {
        if (process_read(process, call, bytes, sizeof(bytes), &length, err)) {
            return -1;
        }
        (void)buf_append(ret, bytes, length);
    } while (length > 0);
    return process_wait(process, call, err);
}

static int no_tool(const char *path, struct err *err)
{
    return err_set(
        err, ERR_TERMINAL, "DumpToolMissing",
        "\"%s\" cannot be run: install PostgreSQL's client programs where the controller "
        "runs, or say where they are (--postgres-tools)",
        path);
}

int pg_dump_version(const char *folder, const struct call *call, int *ret_major, struct err *err)
{
    AUTO(arena) struct arena arena = {0};
    AUTO(process) struct process *process = NULL;
    AUTO(buf) struct buf text = BUF(VERSION_MAX_BYTES);

    arena_init(&arena, 0);
    const char *path = program(&arena, folder, "pg_dump");
    const char *const arguments[] = {path, "--version", NULL};
    const char *const environment[] = {path_variable(&arena), "LC_ALL=C", NULL};
    const struct process_config config = {.arguments = arguments, .environment = environment};
    if (process_start(&config, &process, err) || read_all(process, call, &text, err)) {
        return err->cls == ERR_CANCELED || err_has_reason(err, "DeadlineExceeded")
                   ? -1
                   : no_tool(path, err);
    }
    /* "pg_dump (PostgreSQL) 15.14 (Debian ...)" */
    const char *number = strstr(buf_text(&text), ") ");
    long major = number ? strtol(number + 2, NULL, 10) : 0;
    if (major <= 0 || major > 1000) {
        return no_tool(path, err);
    }
    *ret_major = (int)major;
    return 0;
}

/* ---- dumping ---- */

/* A value of a connection string (libpq, "Keyword/Value Connection Strings"). */
static void append_setting(struct buf *text, const char *keyword, const char *value)
{
    (void)buf_printf(text, "%s='", keyword);
    for (const char *at = value; *at; at++) {
        if (*at == '\'' || *at == '\\') {
            (void)buf_append_char(text, '\\');
        }
        (void)buf_append_char(text, *at);
    }
    (void)buf_append_text(text, "' ");
}

static const char *connection_string(struct arena *arena, const struct pg_dump_request *request)
{
    const struct sql_target *target = request->target;
    AUTO(buf) struct buf text = BUF(16UL << 10);
    AUTO(buf) struct buf hosts = BUF(8UL << 10);

    for (size_t i = 0; i < target->host_count; i++) {
        (void)buf_printf(&hosts, "%s%s", i > 0 ? "," : "", target->hosts[i]);
    }
    append_setting(&text, "host", buf_text(&hosts));
    append_setting(&text, "port",
                   arena_printf(arena, "%d", target->port > 0 ? target->port : 5432));
    append_setting(&text, "user", target->user);
    append_setting(&text, "dbname", target->database);
    append_setting(&text, "sslmode",
                   text_is_empty(target->sslmode) ? "verify-full" : target->sslmode);
    append_setting(&text, "gssencmode", "disable");
    append_setting(&text, "application_name", "tenantry-snapshot");
    append_setting(&text, "connect_timeout", "10");
    if (!text_is_empty(target->target_session_attrs)) {
        append_setting(&text, "target_session_attrs", target->target_session_attrs);
    }
    if (request->tenant_id) {
        append_setting(&text, "options",
                       arena_printf(arena, "-c app.tenant_id=%s", request->tenant_id));
    }
    return arena_strdup(arena, buf_text(&text));
}

/* A name as a pattern that matches nothing else (psql, "Patterns"): names hold no quote. */
static void fill_arguments(struct arena *arena, const struct pg_dump_request *request,
                           const char *arguments[ARGUMENTS_MAX])
{
    size_t count = 1;

    arguments[count++] = "--format=custom";
    arguments[count++] = "--no-password";
    arguments[count++] = "--lock-wait-timeout=30000";
    arguments[count++] = arena_printf(arena, "--snapshot=%s", request->snapshot);
    arguments[count++] = arena_printf(arena, "--dbname=%s", connection_string(arena, request));
    if (request->schema) {
        arguments[count++] = arena_printf(arena, "--schema=\"%s\"", request->schema);
    }
    if (request->tenant_id) {
        arguments[count++] = "--enable-row-security";
        arguments[count++] = arena_printf(arena, "--role=%s", request->role);
        arguments[count++] = arena_printf(arena, "--exclude-table-data=\"%s\".\"%s\"",
                                          request->schema, request->without_rows);
    }
    arguments[count] = NULL;
}

/* The only line of a password file (libpq, "The Password File"). */
static int password_file(const struct secret *password, struct err *err)
{
    AUTO(buf) struct buf line = BUF(4096);

    (void)buf_append_text(&line, "*:*:*:*:");
    for (const char *at = secret_bytes(password); *at; at++) {
        if (*at == ':' || *at == '\\') {
            (void)buf_append_char(&line, '\\');
        }
        (void)buf_append_char(&line, *at);
    }
    (void)buf_append_char(&line, '\n');
    int fd = process_memory_file("pgpass", buf_str(&line), err);
    explicit_bzero(line.ptr, line.capacity);
    return fd;
}

/* Descriptors in the order in which the child gets them. */
struct handover {
    int password_fd;
    int ca_fd; /* -1: none */
};

static int start_dump(const char *folder, const struct pg_dump_request *request,
                      const struct handover *handover, struct process **ret, struct err *err)
{
    AUTO(arena) struct arena arena = {0};
    const char *environment[VARIABLES_MAX] = {0};
    const char *arguments[ARGUMENTS_MAX] = {0};
    const char *system = sql_system_authorities();
    size_t count = 0;

    arena_init(&arena, 0);
    environment[count++] = path_variable(&arena);
    environment[count++] = "LC_ALL=C";
    environment[count++] = "HOME=/nonexistent"; /* no ~/.pgpass, no ~/.postgresql */
    environment[count++] = arena_printf(&arena, "PGPASSFILE=/proc/self/fd/%d", PROCESS_FIRST_FD);
    if (handover->ca_fd >= 0) {
        environment[count++] =
            arena_printf(&arena, "PGSSLROOTCERT=/proc/self/fd/%d", PROCESS_FIRST_FD + 1);
    } else if (system) {
        environment[count++] = arena_printf(&arena, "PGSSLROOTCERT=%s", system);
    }
    arguments[0] = program(&arena, folder, "pg_dump");
    fill_arguments(&arena, request, arguments);
    const struct process_config config = {
        .arguments = arguments,
        .environment = environment,
        .fds = {handover->password_fd, handover->ca_fd},
        .fd_count = handover->ca_fd >= 0 ? 2 : 1,
    };
    return process_start(&config, ret, err);
}

static int stream(struct process *process, const struct call *call, pg_dump_fn take, void *context,
                  struct err *err)
{
    AUTO(free) char *bytes = xmalloc(PIECE_BYTES);
    size_t length = 0;

    for (;;) {
        if (process_read(process, call, bytes, PIECE_BYTES, &length, err)) {
            return -1;
        }
        if (length == 0) {
            return process_wait(process, call, err);
        }
        if (take(context, (struct str){bytes, length}, err)) {
            return -1;
        }
    }
}

int pg_dump_run(const char *folder, const struct call *call, const struct pg_dump_request *request,
                pg_dump_fn take, void *context, struct err *err)
{
    AUTO(process) struct process *process = NULL;
    AUTO(fd) int password_fd = password_file(request->target->password, err);
    AUTO(fd) int ca_fd = -1;

    if (password_fd < 0) {
        return -1;
    }
    if (request->target->ca_pem) {
        ca_fd = process_memory_file("ca", str_from(request->target->ca_pem), err);
        if (ca_fd < 0) {
            return -1;
        }
    }
    const struct handover handover = {password_fd, ca_fd};
    if (start_dump(folder, request, &handover, &process, err)) {
        return -1;
    }
    return stream(process, call, take, context, err);
}

/* ---- counting ---- */

struct pg_counter {
    const struct call *call; /* borrowed */
    struct process *process;
    struct copy_scan scan; /* the thread's, until it is joined */
    struct err failure;    /* the thread's, likewise */
    pthread_t thread;
    bool running;
    char data_sha256[SHA256_TEXT_BYTES];
};

static int scan_piece(void *context, struct str piece, struct err *err)
{
    struct pg_counter *counter = context;

    (void)err;
    copy_scan_feed(&counter->scan, piece);
    return 0;
}

static void *read_output(void *context)
{
    struct pg_counter *counter = context;

    if (stream(counter->process, counter->call, scan_piece, counter, &counter->failure) == 0) {
        counter->failure.cls = ERR_OK;
    }
    return NULL;
}

int pg_counter_new(const char *folder, const struct call *call, struct pg_counter **ret,
                   struct err *err)
{
    AUTO(arena) struct arena arena = {0};
    AUTO(pg_counter) struct pg_counter *counter = xcalloc(1, sizeof(*counter));

    arena_init(&arena, 0);
    copy_scan_init(&counter->scan);
    counter->call = call;
    const char *const arguments[] = {program(&arena, folder, "pg_restore"), "--data-only",
                                     "--file=-", NULL};
    const char *const environment[] = {path_variable(&arena), "LC_ALL=C", NULL};
    const struct process_config config = {
        .arguments = arguments, .environment = environment, .fed = true};
    if (process_start(&config, &counter->process, err)) {
        return -1;
    }
    if (!thread_try_start(&counter->thread, "pg-counter", read_output, counter)) {
        return err_set(err, ERR_RETRY, "OutOfResources", "no thread is left to read a dump");
    }
    counter->running = true;
    *ret = TAKE(counter);
    return 0;
}

static void join(struct pg_counter *counter)
{
    if (counter->running) {
        process_end_input(counter->process);
        pthread_join(counter->thread, NULL);
        counter->running = false;
    }
}

void pg_counter_free(struct pg_counter *counter)
{
    if (counter) {
        join(counter);
        process_free(counter->process);
        copy_scan_release(&counter->scan);
        free(counter);
    }
}

int pg_counter_feed(struct pg_counter *counter, struct str piece, struct err *err)
{
    return process_feed(counter->process, counter->call, piece, err);
}

int pg_counter_finish(struct pg_counter *counter, struct err *err)
{
    join(counter);
    if (counter->failure.cls == ERR_OK) {
        copy_scan_sha256(&counter->scan, counter->data_sha256);
        return 0;
    }
    *err = counter->failure;
    return -1;
}

int64_t pg_counter_rows(const struct pg_counter *counter, const char *schema, const char *table)
{
    return copy_scan_rows(&counter->scan, schema, table);
}

const char *pg_counter_data_sha256(const struct pg_counter *counter)
{
    return counter->data_sha256;
}
