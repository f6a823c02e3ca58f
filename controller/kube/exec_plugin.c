/* Credential plugins: posix_spawn with pipes, poll until the child is gone, parse.
 *
 * What a plugin prints is a credential, so its output is kept in wiped memory and never shown; what
 * it says on standard error is for people, and its last line goes into the error message. */
#include "controller/kube/exec_plugin.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "controller/base/buf.h"
#include "controller/base/child_end.h"
#include "controller/base/clock.h"
#include "controller/base/js.h"
#include "controller/base/jsonw.h"
#include "controller/base/metrics.h"

enum {
    STDERR_KEPT_BYTES = 4096,
    STDERR_SHOWN_BYTES = 200,
    EXEC_INFO_MAX_BYTES = 1024 * 1024,
    READ_BYTES = 16 * 1024,
};

extern char **environ;

static struct metric call_total = METRIC_COUNTER(
    "rest_client_exec_plugin_call_total", "Runs of the credential plugin.", "code", "call_status");

void exec_credential_release(struct exec_credential *credential)
{
    secret_release(&credential->token);
    secret_release(&credential->key_pem);
    free(credential->certificate_pem);
    *credential = (struct exec_credential){0};
}

/* --- what the plugin is told ------------------------------------------------------------------ */

static void write_cluster(struct jsonw *json, const struct kube_config *config)
{
    jsonw_object(json, "cluster");
    jsonw_text(json, "server", config->server);
    if (config->tls_server_name) {
        jsonw_text(json, "tls-server-name", config->tls_server_name);
    }
    if (config->insecure_skip_tls_verify) {
        jsonw_bool(json, "insecure-skip-tls-verify", true);
    }
    AUTO(secret) struct secret file = {0};
    struct err ignored;
    struct str ca = config->ca_pem;
    if (config->ca_file &&
        secret_read_file(&file, config->ca_file, EXEC_INFO_MAX_BYTES / 2, &ignored) == 0) {
        ca = (struct str){secret_bytes(&file), secret_length(&file)};
    }
    if (ca.len > 0) {
        AUTO(buf) struct buf encoded = BUF((size_t)EXEC_INFO_MAX_BYTES);
        buf_append_base64(&encoded, ca.ptr, ca.len);
        jsonw_str(json, "certificate-authority-data", buf_str(&encoded));
    }
    if (config->proxy_url) {
        jsonw_text(json, "proxy-url", config->proxy_url);
    }
    if (config->disable_compression) {
        jsonw_bool(json, "disable-compression", true);
    }
    if (config->exec->cluster_config_json) {
        jsonw_raw(json, "config", str_from(config->exec->cluster_config_json));
    }
    jsonw_end_object(json);
}

/* "KUBERNETES_EXEC_INFO={...}"; the caller frees. */
static char *exec_info(const struct kube_config *config)
{
    AUTO(buf) struct buf text = BUF((size_t)EXEC_INFO_MAX_BYTES);
    struct jsonw json;
    buf_append_text(&text, "KUBERNETES_EXEC_INFO=");
    jsonw_init(&json, &text);
    jsonw_object(&json, NULL);
    jsonw_text(&json, "kind", "ExecCredential");
    jsonw_text(&json, "apiVersion", config->exec->api_version);
    jsonw_object(&json, "spec");
    jsonw_bool(&json, "interactive", false);
    if (config->exec->provide_cluster_info) {
        write_cluster(&json, config);
    }
    jsonw_end_object(&json);
    jsonw_end_object(&json);
    return buf_detach(&text);
}

static bool has_variable(char *const *list, const char *variable)
{
    size_t name_length = strcspn(variable, "=") + 1;
    for (; *list; list++) {
        if (strncmp(*list, variable, name_length) == 0) {
            return true;
        }
    }
    return false;
}

/* The info, then the plugin's own variables from the last, then our environment: of a name that
 * comes more than once, the first one stays. A NULL-ended list of strings, all to be freed. */
static char **make_environment(const struct kube_config *config)
{
    const struct kube_exec *exec = config->exec;
    size_t inherited = 0;
    while (environ[inherited]) {
        inherited++;
    }
    char **list = xcalloc(inherited + exec->env_count + 2, sizeof(*list));
    size_t count = 0;
    list[count++] = exec_info(config);
    for (size_t i = exec->env_count; i-- > 0;) {
        char *variable = xasprintf("%s=%s", exec->env[i].name, exec->env[i].value);
        if (has_variable(list, variable)) {
            free(variable);
        } else {
            list[count++] = variable;
        }
    }
    for (size_t i = 0; i < inherited; i++) {
        if (!has_variable(list, environ[i])) {
            list[count++] = xstrdup(environ[i]);
        }
    }
    return list;
}

static void free_environment(char **list)
{
    for (size_t i = 0; list[i]; i++) {
        free(list[i]);
    }
    free(list);
}

/* --- running it ------------------------------------------------------------------------------- */

struct run {
    const struct kube_exec *exec;
    pid_t pid;
    int end_fd;
    int out_fd; /* -1 once at its end */
    int err_fd;
    struct buf out;
    struct buf said; /* the end of standard error */
};

static void run_release(struct run *run)
{
    if (run->out.len > 0) {
        explicit_bzero(run->out.ptr, run->out.len);
    }
    buf_release(&run->out);
    buf_release(&run->said);
    auto_release_fd(&run->end_fd);
    auto_release_fd(&run->out_fd);
    auto_release_fd(&run->err_fd);
}
static inline void auto_release_run(struct run *run)
{
    run_release(run);
}

static int unavailable(const struct kube_exec *exec, struct err *err, const char *format, ...)
    PRINTF_LIKE(3, 4);

static int unavailable(const struct kube_exec *exec, struct err *err, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    err_setv(err, ERR_RETRY, "CredentialsUnavailable", format, arguments);
    va_end(arguments);
    return err_wrap(err, "credential plugin %s", exec->command);
}

static int spawn_with(struct run *run, const struct kube_config *config, int out, int errors)
{
    const struct kube_exec *exec = config->exec;
    char **environment = make_environment(config);
    const char **arguments = xcalloc(exec->argument_count + 2, sizeof(*arguments));
    arguments[0] = exec->command;
    for (size_t i = 0; i < exec->argument_count; i++) {
        arguments[i + 1] = exec->arguments[i];
    }
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigset_t defaults;
    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE); /* ignored here, which a child would inherit */
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO);
    posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &defaults);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK |
                                              POSIX_SPAWN_SETSIGDEF);
    int failure = posix_spawnp(&run->pid, exec->command, &actions, &attributes,
                               (char *const *)(uintptr_t)arguments, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    free(arguments);
    free_environment(environment);
    return failure;
}

static int start(struct run *run, const struct kube_config *config, struct err *err)
{
    const struct kube_exec *exec = config->exec;
    int out[2] = {-1, -1};
    int errors[2] = {-1, -1};
    /* Our ends do not block, so that a grandchild that keeps the pipe open holds up nothing. */
    if (pipe2(out, O_CLOEXEC) != 0 || pipe2(errors, O_CLOEXEC) != 0 ||
        fcntl(out[0], F_SETFL, O_NONBLOCK) != 0 || fcntl(errors[0], F_SETFL, O_NONBLOCK) != 0) {
        for (size_t i = 0; i < 2; i++) {
            auto_release_fd(&out[i]);
            auto_release_fd(&errors[i]);
        }
        return unavailable(exec, err, "no pipe can be made: %s", errno_text(errno));
    }
    run->out_fd = out[0];
    run->err_fd = errors[0];
    int failure = spawn_with(run, config, out[1], errors[1]);
    close(out[1]);
    close(errors[1]);
    if (failure != 0) {
        bool missing = failure == ENOENT;
        metric_add(&call_total, 1, "1",
                   missing ? "plugin_not_found_error" : "client_internal_error");
        return unavailable(exec, err, "cannot be started: %s%s%s", errno_text(failure),
                           missing && exec->install_hint[0] ? ". " : "",
                           missing ? exec->install_hint : "");
    }
    run->end_fd = child_end_fd(run->pid);
    return 0;
}

/* Wait for a child that was killed or has ended. */
static int reap(const struct run *run)
{
    int status = 0;
    while (waitpid(run->pid, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
}

static int stop(struct run *run)
{
    (void)kill(-run->pid, SIGKILL);
    (void)kill(run->pid, SIGKILL); /* should its group not exist yet */
    return reap(run);
}

/* Read what is there. Returns false when the output is too large. */
static bool drain(struct run *run)
{
    char bytes[READ_BYTES];
    for (ssize_t got = 0; run->out_fd >= 0;) {
        got = read(run->out_fd, bytes, sizeof(bytes));
        if (got <= 0) {
            if (got == 0) {
                auto_release_fd(&run->out_fd);
                run->out_fd = -1;
            }
            break;
        }
        if (!buf_append(&run->out, bytes, (size_t)got)) {
            explicit_bzero(bytes, sizeof(bytes));
            return false;
        }
    }
    explicit_bzero(bytes, sizeof(bytes));
    for (ssize_t got = 0; run->err_fd >= 0;) {
        got = read(run->err_fd, bytes, STDERR_KEPT_BYTES);
        if (got <= 0) {
            if (got == 0) {
                auto_release_fd(&run->err_fd);
                run->err_fd = -1;
            }
            break;
        }
        size_t excess = run->said.len + (size_t)got;
        buf_consume(&run->said, excess > STDERR_KEPT_BYTES ? excess - STDERR_KEPT_BYTES : 0);
        buf_append(&run->said, bytes, (size_t)got);
    }
    return true;
}

/* 0 when the child has ended; its status is in *ret_status. */
static int await_end(struct run *run, const struct call *call, int64_t deadline_ms, int *ret_status,
                     struct err *err)
{
    for (;;) {
        struct pollfd descriptors[] = {
            {.fd = run->end_fd, .events = POLLIN},
            {.fd = run->out_fd, .events = POLLIN},
            {.fd = run->err_fd, .events = POLLIN},
            {.fd = call && call->cancel ? cancel_fd(call->cancel) : -1, .events = POLLIN},
        };
        int64_t left_ms = deadline_ms - clock_monotonic_ms();
        if (call_check(call, err) != 0) {
            (void)stop(run);
            return err_wrap(err, "credential plugin %s", run->exec->command);
        }
        if (left_ms <= 0) {
            (void)stop(run);
            metric_add(&call_total, 1, "1", "plugin_execution_error");
            return unavailable(run->exec, err, "did not end in time and was killed");
        }
        int64_t poll_ms = child_end_poll_ms(run->end_fd, left_ms);
        (void)poll(descriptors, ARRAY_COUNT(descriptors), (int)call_remaining_ms(call, poll_ms));
        bool ended = child_has_ended(run->pid);
        if (!drain(run)) {
            (void)stop(run);
            metric_add(&call_total, 1, "1", "plugin_execution_error");
            return unavailable(run->exec, err, "printed more than %d bytes and was killed",
                               EXEC_PLUGIN_OUTPUT_MAX_BYTES);
        }
        if (ended) {
            *ret_status = reap(run);
            return 0;
        }
    }
}

/* The last line that it said on standard error, as far as it fits and can be shown. */
static char *last_words(const struct run *run)
{
    struct str text = str_trim(buf_str(&run->said));
    while (text.len > 0) {
        const char *line_break = memchr(text.ptr, '\n', text.len);
        if (!line_break) {
            break;
        }
        size_t skip = (size_t)(line_break - text.ptr) + 1;
        text = (struct str){text.ptr + skip, text.len - skip};
    }
    text.len = str_utf8_prefix(text, STDERR_SHOWN_BYTES);
    char *words = xmemdup0(text.len ? text.ptr : "", text.len);
    for (char *at = words; *at; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7f) {
            *at = ' ';
        }
    }
    return words;
}

static int check_status(const struct run *run, int status, struct err *err)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        metric_add(&call_total, 1, "0", "no_error");
        return 0;
    }
    char code[16];
    snprintf(code, sizeof(code), "%d", WIFEXITED(status) ? WEXITSTATUS(status) : 1);
    metric_add(&call_total, 1, code, "plugin_execution_error");
    AUTO(free) char *words = last_words(run);
    if (WIFSIGNALED(status)) {
        return unavailable(run->exec, err, "was killed by signal %d", WTERMSIG(status));
    }
    return unavailable(run->exec, err, "failed with exit code %s%s%s", code, words[0] ? ": " : "",
                       words);
}

int exec_plugin_run(const struct kube_config *config, const struct call *call, int64_t timeout_ms,
                    struct exec_credential *ret, struct err *err)
{
    const struct kube_exec *exec = config->exec;
    AUTO(run)
    struct run run = {.exec = exec,
                      .end_fd = -1,
                      .out_fd = -1,
                      .err_fd = -1,
                      .out = BUF((size_t)EXEC_PLUGIN_OUTPUT_MAX_BYTES),
                      .said = BUF((size_t)2 * STDERR_KEPT_BYTES)};
    int status = 0;
    int64_t deadline_ms = clock_monotonic_ms() + timeout_ms;
    if (call_check(call, err) != 0 || start(&run, config, err) != 0) {
        return -1;
    }
    if (await_end(&run, call, deadline_ms, &status, err) != 0 ||
        check_status(&run, status, err) != 0) {
        return -1;
    }
    if (exec_plugin_parse(buf_str(&run.out), exec->api_version, ret, err) != 0) {
        return err_wrap(err, "credential plugin %s", exec->command);
    }
    return 0;
}

/* --- what it answers -------------------------------------------------------------------------- */

static int bad_answer(struct err *err, const char *what)
{
    return err_set(err, ERR_RETRY, "CredentialsUnavailable", "%s", what);
}

static int read_status(const json_t *status, struct exec_credential *credential, struct err *err)
{
    struct str token = str_trim(str_from(js_text_or(status, "/token", "")));
    const char *certificate = js_text_or(status, "/clientCertificateData", "");
    const char *key = js_text_or(status, "/clientKeyData", "");
    const char *expires = js_text_or(status, "/expirationTimestamp", "");
    if (token.len == 0 && !certificate[0] && !key[0]) {
        return bad_answer(err, "gave neither a token nor a certificate");
    }
    if (!certificate[0] != !key[0]) {
        return bad_answer(err, "gave a certificate without its key or a key without certificate");
    }
    credential->expires_wall_us = INT64_MAX;
    if (expires[0] && !clock_parse(str_from(expires), &credential->expires_wall_us)) {
        return bad_answer(err, "gave an expirationTimestamp that is no time");
    }
    secret_set(&credential->token, token);
    if (certificate[0]) {
        credential->certificate_pem = xstrdup(certificate);
        secret_set(&credential->key_pem, str_from(key));
    }
    return 0;
}

/* The tree's texts, which jansson frees without wiping them. */
static void wipe_status(const json_t *status)
{
    static const char *const members[] = {"token", "clientKeyData"};
    for (size_t i = 0; i < ARRAY_COUNT(members); i++) {
        const json_t *value = json_object_get(status, members[i]);
        if (json_is_string(value)) {
            explicit_bzero((char *)(uintptr_t)json_string_value(value), json_string_length(value));
        }
    }
}

int exec_plugin_parse(struct str json, const char *api_version, struct exec_credential *ret,
                      struct err *err)
{
    AUTO(json) json_t *root = NULL;
    struct err detail;
    /* Not the parser's own words: they quote the text, and the text is a credential. */
    if (js_parse(json, EXEC_PLUGIN_OUTPUT_MAX_BYTES, &root, &detail) != 0 ||
        !json_is_object(root)) {
        return bad_answer(err, "did not print an ExecCredential object as JSON");
    }
    const json_t *status = js_at(root, "/status");
    AUTO(exec_credential) struct exec_credential credential = {0};
    int result = -1;
    if (!text_equal(js_text_or(root, "/kind", ""), "ExecCredential")) {
        result = bad_answer(err, "printed an object that is no ExecCredential");
    } else if (!text_equal(js_text_or(root, "/apiVersion", ""), api_version)) {
        result = err_set(err, ERR_RETRY, "CredentialsUnavailable",
                         "printed another apiVersion than %s, which the kubeconfig asks for",
                         api_version);
    } else if (!json_is_object(status)) {
        result = bad_answer(err, "printed an ExecCredential without status");
    } else {
        result = read_status(status, &credential, err);
    }
    wipe_status(status);
    if (result == 0) {
        exec_credential_release(ret);
        *ret = credential;
        credential = (struct exec_credential){0};
    }
    return result;
}
