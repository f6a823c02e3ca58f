/* Credential plugins of every temper, as shell scripts. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "controller/base/clock.h"
#include "controller/base/js.h"
#include "controller/kube/exec_plugin.h"
#include "controller/net/http_client.h"
#include "tests/check.h"
#include "tests/support/folder.h"

enum { TIMEOUT_MS = 20 * 1000, AWAIT_MS = 20 * 1000 };

static const char V1[] = "client.authentication.k8s.io/v1";

#define CREDENTIAL(status)                                                                         \
    "{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\",\"status\":"  \
    "{" status "}}"

/* As where the kernel has no pidfds. Linked in place of the library's (kube.cmake). */
static bool has_no_pidfds;
int __real_pidfd_open(pid_t pid, unsigned int flags); /* NOLINT: the linker's names */
int __wrap_pidfd_open(pid_t pid, unsigned int flags); /* NOLINT */

int __wrap_pidfd_open(pid_t pid, unsigned int flags) /* NOLINT */
{
    if (has_no_pidfds) {
        errno = ENOSYS;
        return -1;
    }
    return __real_pidfd_open(pid, flags);
}

static int set_up(void **state)
{
    has_no_pidfds = false;
    *state = folder_make();
    return 0;
}

static int tear_down(void **state)
{
    folder_remove(*state);
    return 0;
}

/* Run a script as the plugin of `config`, whose exec may hold more than the command. */
static int run_with(const char *folder, const char *script, struct kube_exec exec,
                    struct kube_config config, const struct call *call, int64_t timeout_ms,
                    struct exec_credential *ret, struct err *err)
{
    AUTO(free) char *text = xasprintf("#!/bin/sh\n%s\n", script);
    AUTO(free) char *path = folder_write(folder, "plugin", str_from(text), 0700);
    exec.command = path;
    exec.api_version = V1;
    exec.install_hint = exec.install_hint ? exec.install_hint : "";
    config.server = "https://api.example";
    config.exec = &exec;
    return exec_plugin_run(&config, call, timeout_ms, ret, err);
}

static int run(const char *folder, const char *script, struct exec_credential *ret, struct err *err)
{
    return run_with(folder, script, (struct kube_exec){0}, (struct kube_config){0}, NULL,
                    TIMEOUT_MS, ret, err);
}

/* --- answers -----------------------------------------------------------------------------------
 */

static void c14_token_is_taken_from_what_it_prints(void **state)
{
    AUTO(exec_credential) struct exec_credential credential = {0};
    struct err err;
    CHECK_OK(run(*state,
                 "printf '%s' '" CREDENTIAL("\"token\":\" t0ken\\n\","
                                            "\"expirationTimestamp\":\"2030-01-02T03:04:05Z\"") "'",
                 &credential, &err),
             &err);
    CHECK_TEXT(secret_bytes(&credential.token), "t0ken");
    CHECK_INT(credential.expires_wall_us / 1000000, 1893553445);
    CHECK_NULL(credential.certificate_pem);
}

static void certificate_is_taken_with_its_key(void **state)
{
    AUTO(exec_credential) struct exec_credential credential = {0};
    struct err err;
    CHECK_OK(run(*state,
                 "printf '%s' '" CREDENTIAL("\"clientCertificateData\":\"CERT\","
                                            "\"clientKeyData\":\"KEY\"") "'",
                 &credential, &err),
             &err);
    CHECK_TEXT(credential.certificate_pem, "CERT");
    CHECK_TEXT(secret_bytes(&credential.key_pem), "KEY");
    CHECK(credential.expires_wall_us == INT64_MAX);
    CHECK(secret_is_empty(&credential.token));
}

static void c14_bad_answers_are_named_without_showing_them(void **state)
{
    (void)state;
    static const struct {
        const char *answer;
        const char *names;
    } cases[] = {
        {"", "JSON"},
        {"s3cret", "JSON"},
        {"{\"token\":\"s3cret\"", "JSON"},
        {"[\"s3cret\"]", "JSON"},
        {"{\"kind\":\"Secret\",\"status\":{\"token\":\"s3cret\"}}", "no ExecCredential"},
        {"{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1beta1\","
         "\"status\":{\"token\":\"s3cret\"}}",
         "apiVersion"},
        {"{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\"}",
         "status"},
        {CREDENTIAL(""), "neither"},
        {CREDENTIAL("\"token\":17"), "neither"},
        {CREDENTIAL("\"clientCertificateData\":\"s3cret\""), "key"},
        {CREDENTIAL("\"clientKeyData\":\"s3cret\""), "certificate"},
        {CREDENTIAL("\"token\":\"s3cret\",\"expirationTimestamp\":\"tomorrow\""), "time"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        AUTO(exec_credential) struct exec_credential credential = {0};
        struct err err;
        CHECK_FAILS(exec_plugin_parse(str_from(cases[i].answer), V1, &credential, &err), &err,
                    ERR_RETRY, "CredentialsUnavailable");
        CHECK(secret_is_empty(&credential.token));
        CHECK_NULL(strstr(err.message, "s3cret"));
        if (!strstr(err.message, cases[i].names)) {
            fail_msg("\"%s\" does not name %s", err.message, cases[i].names);
        }
    }
}

static void failure_shows_its_last_words(void **state)
{
    AUTO(exec_credential) struct exec_credential credential = {0};
    struct err err;
    CHECK_FAILS(run(*state, "echo first >&2; printf 'please log in\\033[1m again\\n' >&2; exit 3",
                    &credential, &err),
                &err, ERR_RETRY, "CredentialsUnavailable");
    CHECK_NOT_NULL(strstr(err.message, "exit code 3: please log in [1m again"));
    CHECK_NULL(strstr(err.message, "first"));
    CHECK_FAILS(run(*state, "kill -9 $$", &credential, &err), &err, ERR_RETRY,
                "CredentialsUnavailable");
    CHECK_NOT_NULL(strstr(err.message, "signal 9"));
}

static void missing_plugin_shows_how_to_install_it(void **state)
{
    SKIP_UNDER_VALGRIND();
    AUTO(exec_credential) struct exec_credential credential = {0};
    struct err err;
    AUTO(free) char *path = xasprintf("%s/nothing", (const char *)*state);
    const struct kube_exec exec = {
        .command = path, .api_version = V1, .install_hint = "get it from the cloud"};
    const struct kube_config config = {.server = "https://api.example", .exec = &exec};
    CHECK_FAILS(exec_plugin_run(&config, NULL, TIMEOUT_MS, &credential, &err), &err, ERR_RETRY,
                "CredentialsUnavailable");
    CHECK_NOT_NULL(strstr(err.message, path));
    CHECK_NOT_NULL(strstr(err.message, "get it from the cloud"));
}

/* --- surroundings ------------------------------------------------------------------------------
 */

/* The script's words as the token. */
#define SAY(words) "printf '" CREDENTIAL("\"token\":\"%s\"") "' \"" words "\""

static void check_says(const char *folder, const char *script, struct kube_exec exec,
                       struct kube_config config, const char *expected)
{
    AUTO(exec_credential) struct exec_credential credential = {0};
    struct err err;
    CHECK_OK(run_with(folder, script, exec, config, NULL, TIMEOUT_MS, &credential, &err), &err);
    CHECK_TEXT(secret_bytes(&credential.token), expected);
}

static void c14_arguments_reach_it_untouched_by_a_shell(void **state)
{
    static const char *const arguments[] = {"two words", "$HOME; rm x", "", "*"};
    check_says(*state, SAY("$#|$1|$2|$3|$4"),
               (struct kube_exec){.arguments = arguments, .argument_count = 4},
               (struct kube_config){0}, "4|two words|$HOME; rm x||*");
}

static void own_environment_wins_over_ours(void **state)
{
    static const struct kube_exec_env env[] = {{"TEST_ONE", "own"}, {"TEST_ONE", "last"}};
    setenv("TEST_ONE", "inherited", 1);
    setenv("TEST_ONE_MORE", "kept", 1);
    check_says(*state, SAY("$TEST_ONE|$TEST_ONE_MORE"),
               (struct kube_exec){.env = env, .env_count = 2}, (struct kube_config){0},
               "last|kept");
    unsetenv("TEST_ONE");
    unsetenv("TEST_ONE_MORE");
}

static void c14_it_learns_of_the_cluster_when_it_wants_to(void **state)
{
    const char *const print = SAY("$(printf '%s' \"$KUBERNETES_EXEC_INFO\" | tr '\\042' \\')");
    check_says(*state, print, (struct kube_exec){0}, (struct kube_config){0},
               "{'kind':'ExecCredential','apiVersion':'client.authentication.k8s.io/v1',"
               "'spec':{'interactive':false}}");
    check_says(*state, print,
               (struct kube_exec){.provide_cluster_info = true,
                                  .cluster_config_json = "{\"audience\":\"cloud\"}"},
               (struct kube_config){.ca_pem = STR("CA"),
                                    .tls_server_name = "inner.example",
                                    .proxy_url = "http://proxy.example"},
               "{'kind':'ExecCredential','apiVersion':'client.authentication.k8s.io/v1',"
               "'spec':{'interactive':false,'cluster':{'server':'https://api.example',"
               "'tls-server-name':'inner.example','certificate-authority-data':'Q0E=',"
               "'proxy-url':'http://proxy.example','config':{'audience':'cloud'}}}}");
}

static void input_is_empty_and_nothing_is_inherited(void **state)
{
    /* A descriptor that somebody forgot to mark as not to be inherited, and our deafness to SIGPIPE
     * (signal 13). */
    int leaked = fcntl(STDERR_FILENO, F_DUPFD, 100);
    CHECK(leaked >= 100);
    AUTO(free)
    char *script = xasprintf("[ ! -e /proc/$$/fd/%d ] && closed=closed\n"
                             "ignored=0x$(sed -n 's/^SigIgn:[^0-9a-f]*//p' /proc/$$/status)\n" SAY(
                                 "$(cat)|$closed|$((ignored & 0x1000))"),
                             leaked, "%s");
    check_says(*state, script, (struct kube_exec){0}, (struct kube_config){0}, "|closed|0");
    close(leaked);
}

/* --- time and size -----------------------------------------------------------------------------
 */

static pid_t read_pid(const char *folder)
{
    int64_t pid = 0;
    AUTO(free) char *path = xasprintf("%s/pid", folder);
    AUTO(free) char *text = file_text(path);
    CHECK(str_to_int64(str_trim(str_from(text)), &pid));
    return (pid_t)pid;
}

/* Until the process is gone, or dead and not yet collected by whoever inherited it. */
static void await_death(pid_t pid)
{
    int64_t deadline_ms = clock_monotonic_ms() + AWAIT_MS;
    AUTO(free) char *path = xasprintf("/proc/%d/stat", (int)pid);
    while (access(path, F_OK) == 0) {
        AUTO(free) char *stat = file_text(path);
        if (!stat[0] || strstr(stat, ") Z ")) {
            return;
        }
        CHECK(clock_monotonic_ms() < deadline_ms);
        CHECK(cancel_sleep_ms(NULL, 5));
    }
}

static void c14_hanging_plugin_is_killed_with_its_children(void **state)
{
    const char *folder = *state;
    AUTO(exec_credential) struct exec_credential credential = {0};
    AUTO(free) char *script = xasprintf("sleep 600 & echo $! > %s/pid; wait", folder);
    struct err err;
    int64_t begun_ms = clock_monotonic_ms();
    CHECK_FAILS(run_with(folder, script, (struct kube_exec){0}, (struct kube_config){0}, NULL, 1000,
                         &credential, &err),
                &err, ERR_RETRY, "CredentialsUnavailable");
    int64_t took_ms = clock_monotonic_ms() - begun_ms;
    CHECK(took_ms >= 1000 && took_ms < 10000);
    CHECK_NOT_NULL(strstr(err.message, "in time"));
    await_death(read_pid(folder));
}

static void deadline_of_the_call_counts(void **state)
{
    AUTO(exec_credential) struct exec_credential credential = {0};
    struct err err;
    const struct call call = {.deadline_ms = clock_monotonic_ms() + 200};
    CHECK_FAILS(run_with(*state, "sleep 600", (struct kube_exec){0}, (struct kube_config){0}, &call,
                         TIMEOUT_MS, &credential, &err),
                &err, ERR_RETRY, "DeadlineExceeded");
}

struct canceler {
    const char *folder;
    struct cancel *cancel;
    int64_t triggered_ms;
};

static void *cancel_once_it_runs(void *context)
{
    struct canceler *canceler = context;
    AUTO(free) char *path = xasprintf("%s/pid", canceler->folder);
    while (access(path, F_OK) != 0) {
        if (!cancel_sleep_ms(NULL, 5)) {
            break;
        }
    }
    canceler->triggered_ms = clock_monotonic_ms();
    cancel_trigger(canceler->cancel);
    return NULL;
}

static void cancellation_is_heeded_at_once(void **state)
{
    const char *folder = *state;
    AUTO(exec_credential) struct exec_credential credential = {0};
    AUTO(free)
    char *script =
        xasprintf("echo $$ > %s/pid.new; mv %s/pid.new %s/pid; sleep 600", folder, folder, folder);
    struct err err;
    pthread_t thread;
    struct canceler canceler = {.folder = folder, .cancel = cancel_new(NULL)};
    const struct call call = {.cancel = canceler.cancel};
    CHECK_INT(pthread_create(&thread, NULL, cancel_once_it_runs, &canceler), 0);
    CHECK_FAILS(run_with(folder, script, (struct kube_exec){0}, (struct kube_config){0}, &call,
                         TIMEOUT_MS, &credential, &err),
                &err, ERR_CANCELED, "Canceled");
    int64_t returned_ms = clock_monotonic_ms();
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK(returned_ms - canceler.triggered_ms < 10000); /* not after TIMEOUT_MS */
    cancel_free(canceler.cancel);
    await_death(read_pid(folder));
}

static void a_kernel_without_pidfds_holds_up_nothing(void **state)
{
    AUTO(exec_credential) struct exec_credential credential = {0};
    struct err err;
    has_no_pidfds = true;
    CHECK_FAILS(run(*state, "exec >&2; sleep 0.1; kill -9 $$", &credential, &err), &err, ERR_RETRY,
                "CredentialsUnavailable");
    CHECK_NOT_NULL(strstr(err.message, "signal 9"));
    int64_t begun_ms = clock_monotonic_ms();
    CHECK_OK(run(*state, "sleep 0.1; echo '" CREDENTIAL("\"token\":\"t\"") "'", &credential, &err),
             &err);
    CHECK(clock_monotonic_ms() - begun_ms < TIMEOUT_MS / 2);
    CHECK_TEXT(secret_bytes(&credential.token), "t");
    CHECK_FAILS(run_with(*state, "sleep 600", (struct kube_exec){0}, (struct kube_config){0}, NULL,
                         200, &credential, &err),
                &err, ERR_RETRY, "CredentialsUnavailable");
}

static void c14_endless_output_is_cut_off(void **state)
{
    AUTO(exec_credential) struct exec_credential credential = {0};
    struct err err;
    CHECK_FAILS(run(*state, "yes", &credential, &err), &err, ERR_RETRY, "CredentialsUnavailable");
    CHECK_NOT_NULL(strstr(err.message, "1048576 bytes"));
}

static void endless_complaints_do_no_harm(void **state)
{
    AUTO(exec_credential) struct exec_credential credential = {0};
    struct err err;
    CHECK_OK(run(*state,
                 "yes complaint | head -c 3000000 >&2; echo '" CREDENTIAL("\"token\":\"t\"") "'",
                 &credential, &err),
             &err);
    CHECK_TEXT(secret_bytes(&credential.token), "t");
}

static void child_that_lives_on_is_not_waited_for(void **state)
{
    const char *folder = *state;
    AUTO(exec_credential) struct exec_credential credential = {0};
    AUTO(free)
    char *script =
        xasprintf("sleep 600 & echo $! > %s/pid; echo '" CREDENTIAL("\"token\":\"t\"") "'", folder);
    struct err err;
    int64_t begun_ms = clock_monotonic_ms();
    CHECK_OK(run(folder, script, &credential, &err), &err);
    CHECK(clock_monotonic_ms() - begun_ms < 10000);
    CHECK_INT(kill(read_pid(folder), SIGKILL), 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    js_init();
    http_global_init();
    const struct CMUnitTest tests[] = {
        TEST(c14_token_is_taken_from_what_it_prints),
        TEST(certificate_is_taken_with_its_key),
        TEST(c14_bad_answers_are_named_without_showing_them),
        TEST(failure_shows_its_last_words),
        TEST(missing_plugin_shows_how_to_install_it),
        TEST(c14_arguments_reach_it_untouched_by_a_shell),
        TEST(own_environment_wins_over_ours),
        TEST(c14_it_learns_of_the_cluster_when_it_wants_to),
        TEST(input_is_empty_and_nothing_is_inherited),
        TEST(c14_hanging_plugin_is_killed_with_its_children),
        TEST(deadline_of_the_call_counts),
        TEST(cancellation_is_heeded_at_once),
        TEST(a_kernel_without_pidfds_holds_up_nothing),
        TEST(c14_endless_output_is_cut_off),
        TEST(endless_complaints_do_no_harm),
        TEST(child_that_lives_on_is_not_waited_for),
    };
    return cmocka_run_group_tests_name("exec_plugin", tests, NULL, NULL);
}
