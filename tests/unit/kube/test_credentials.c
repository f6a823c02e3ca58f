/* Tokens, certificates and plugins that change while we run. */
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "controller/base/clock.h"
#include "controller/base/js.h"
#include "controller/base/metrics.h"
#include "controller/kube/credentials_internal.h"
#include "tests/check.h"
#include "tests/support/folder.h"
#include "tests/support/pki.h"

struct fixture {
    char *folder;
    struct kube_config config;
    struct kube_exec exec;
    char *token_path;
    char *ca_path;
    char *certificate_path;
    char *key_path;
    char *plugin_path;
    struct pki_entity *authority;
    struct pki_entity *ann;
    struct pki_entity *ben;
};

static int set_up(void **state)
{
    struct fixture *fixture = xcalloc(1, sizeof(*fixture));
    fixture->folder = folder_make();
    fixture->config.server = "https://api.example";
    fixture->authority = pki_authority("test authority");
    fixture->ann = pki_issue(fixture->authority, "ann", NULL, false);
    fixture->ben = pki_issue(fixture->authority, "ben", NULL, false);
    fixture->token_path = xasprintf("%s/token", fixture->folder);
    fixture->ca_path = xasprintf("%s/ca.crt", fixture->folder);
    fixture->certificate_path = xasprintf("%s/tls.crt", fixture->folder);
    fixture->key_path = xasprintf("%s/tls.key", fixture->folder);
    fixture->plugin_path = xasprintf("%s/plugin", fixture->folder);
    *state = fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    clock_set_wall_offset_ms(0);
    pki_free(fixture->authority);
    pki_free(fixture->ann);
    pki_free(fixture->ben);
    free(fixture->token_path);
    free(fixture->ca_path);
    free(fixture->certificate_path);
    free(fixture->key_path);
    free(fixture->plugin_path);
    secret_release(&fixture->config.token);
    folder_remove(fixture->folder);
    free(fixture);
    return 0;
}

static void write_file(const struct fixture *fixture, const char *name, const char *text)
{
    free(folder_write(fixture->folder, name, str_from(text), 0600));
}

static struct kube_credentials *open_credentials(struct fixture *fixture)
{
    struct kube_credentials *credentials = NULL;
    struct err err;
    CHECK_OK(kube_credentials_new(&fixture->config, &credentials, &err), &err);
    return credentials;
}

static void check_token(struct kube_credentials *credentials, const char *expected)
{
    AUTO(secret) struct secret token = {0};
    struct err err;
    CHECK_OK(kube_credentials_token(credentials, NULL, &token, &err), &err);
    CHECK_TEXT(secret_bytes(&token), expected);
}

static void refuse(struct kube_credentials *credentials, const char *text)
{
    AUTO(secret) struct secret token = {0};
    secret_set(&token, str_from(text));
    kube_credentials_refused(credentials, &token);
}

/* --- tokens ------------------------------------------------------------------------------------
 */

static void nobody_has_no_token(void **state)
{
    struct kube_credentials *credentials = open_credentials(*state);
    check_token(credentials, "");
    kube_credentials_free(credentials);
}

static void fixed_token_stays_even_when_refused(void **state)
{
    struct fixture *fixture = *state;
    secret_set(&fixture->config.token, STR("fixed"));
    struct kube_credentials *credentials = open_credentials(fixture);
    check_token(credentials, "fixed");
    refuse(credentials, "fixed");
    check_token(credentials, "fixed");
    kube_credentials_free(credentials);
}

static void c11_token_file_is_read_again_when_due(void **state)
{
    struct fixture *fixture = *state;
    fixture->config.token_file = fixture->token_path;
    write_file(fixture, "token", " one\n");
    struct kube_credentials *credentials = open_credentials(fixture);
    check_token(credentials, "one");
    write_file(fixture, "token", "two");
    check_token(credentials, "one");
    kube_credentials_expire_files(credentials);
    check_token(credentials, "two");
    kube_credentials_free(credentials);
}

static void c11_refused_token_is_read_again_at_once(void **state)
{
    struct fixture *fixture = *state;
    fixture->config.token_file = fixture->token_path;
    write_file(fixture, "token", "one");
    struct kube_credentials *credentials = open_credentials(fixture);
    check_token(credentials, "one");
    write_file(fixture, "token", "two");
    refuse(credentials, "another, older one");
    check_token(credentials, "one");
    refuse(credentials, "one");
    check_token(credentials, "two");
    kube_credentials_free(credentials);
}

static void c11_token_stays_while_its_file_is_unusable(void **state)
{
    struct fixture *fixture = *state;
    fixture->config.token_file = fixture->token_path;
    write_file(fixture, "token", "one");
    struct kube_credentials *credentials = open_credentials(fixture);
    write_file(fixture, "token", " \n");
    kube_credentials_expire_files(credentials);
    check_token(credentials, "one");
    CHECK_INT(unlink(fixture->token_path), 0);
    kube_credentials_expire_files(credentials);
    check_token(credentials, "one");
    write_file(fixture, "token", "two");
    check_token(credentials, "two"); /* still due, since it could not be read */
    kube_credentials_free(credentials);
}

static void c10_token_beside_a_token_file_is_the_start(void **state)
{
    struct fixture *fixture = *state;
    fixture->config.token_file = fixture->token_path;
    secret_set(&fixture->config.token, STR("start"));
    struct kube_credentials *credentials = open_credentials(fixture);
    check_token(credentials, "start");
    write_file(fixture, "token", "file");
    check_token(credentials, "file");
    kube_credentials_free(credentials);
}

static void missing_file_is_named_at_the_start(void **state)
{
    struct fixture *fixture = *state;
    struct kube_credentials *credentials = NULL;
    struct err err;
    fixture->config.token_file = fixture->token_path;
    CHECK_FAILS(kube_credentials_new(&fixture->config, &credentials, &err), &err, ERR_TERMINAL,
                "InvalidCredentials");
    CHECK_NOT_NULL(strstr(err.message, fixture->token_path));
    write_file(fixture, "token", "");
    CHECK_FAILS(kube_credentials_new(&fixture->config, &credentials, &err), &err, ERR_TERMINAL,
                "InvalidCredentials");
    fixture->config.token_file = NULL;
    fixture->config.ca_file = fixture->ca_path;
    CHECK_FAILS(kube_credentials_new(&fixture->config, &credentials, &err), &err, ERR_TERMINAL,
                "InvalidCredentials");
    CHECK_NOT_NULL(strstr(err.message, fixture->ca_path));
    write_file(fixture, "ca.crt", "garbage");
    CHECK_FAILS(kube_credentials_new(&fixture->config, &credentials, &err), &err, ERR_TERMINAL,
                "InvalidCredentials");
}

/* --- TLS files ---------------------------------------------------------------------------------
 */

static void write_identity(const struct fixture *fixture, const struct pki_entity *certificate,
                           const struct pki_entity *key)
{
    write_file(fixture, "tls.crt", pki_certificate(certificate).ptr);
    write_file(fixture, "tls.key", secret_bytes(pki_key(key)));
}

static uint64_t check_tls(struct kube_credentials *credentials, struct str certificate)
{
    struct kube_tls tls = {0};
    uint64_t version = 0;
    struct err err;
    CHECK_OK(kube_credentials_tls(credentials, NULL, &version, &tls, &err), &err);
    CHECK(str_equal(str_trim(tls.tls.certificate_pem), str_trim(certificate)));
    CHECK_OK(http_tls_check(&tls.tls, &err), &err);
    CHECK(!kube_credentials_tls_changed(credentials, version));
    kube_tls_release(&tls);
    return version;
}

static void c13_certificate_files_are_exchanged_as_a_pair(void **state)
{
    struct fixture *fixture = *state;
    fixture->config.ca_file = fixture->ca_path;
    fixture->config.certificate_file = fixture->certificate_path;
    fixture->config.key_file = fixture->key_path;
    write_file(fixture, "ca.crt", pki_certificate(fixture->authority).ptr);
    write_identity(fixture, fixture->ann, fixture->ann);
    struct kube_credentials *credentials = open_credentials(fixture);
    uint64_t first = check_tls(credentials, pki_certificate(fixture->ann));
    CHECK_INT(first, 1);

    kube_credentials_expire_files(credentials); /* nothing new in them */
    CHECK(!kube_credentials_tls_changed(credentials, first));

    write_identity(fixture, fixture->ben, fixture->ann); /* in the middle of an exchange */
    kube_credentials_expire_files(credentials);
    CHECK(!kube_credentials_tls_changed(credentials, first));
    CHECK_INT(check_tls(credentials, pki_certificate(fixture->ann)), first);

    write_identity(fixture, fixture->ben, fixture->ben);
    CHECK(!kube_credentials_tls_changed(credentials, first)); /* not due */
    kube_credentials_expire_files(credentials);
    CHECK(kube_credentials_tls_changed(credentials, first));
    CHECK_INT(check_tls(credentials, pki_certificate(fixture->ben)), first + 1);
    kube_credentials_free(credentials);
}

static void c13_broken_authorities_do_not_replace_working_ones(void **state)
{
    struct fixture *fixture = *state;
    fixture->config.ca_file = fixture->ca_path;
    write_file(fixture, "ca.crt", pki_certificate(fixture->authority).ptr);
    struct kube_credentials *credentials = open_credentials(fixture);
    uint64_t first = check_tls(credentials, (struct str){0});
    static const char *const broken[] = {"", "garbage", "-----BEGIN CERTIFICATE-----\nAAAA\n"};
    for (size_t i = 0; i < ARRAY_COUNT(broken); i++) {
        write_file(fixture, "ca.crt", broken[i]);
        kube_credentials_expire_files(credentials);
        CHECK(!kube_credentials_tls_changed(credentials, first));
    }
    kube_credentials_free(credentials);
}

/* --- plugins -----------------------------------------------------------------------------------
 */

/* A plugin that writes a line to "runs" each time and prints this status. */
static void write_plugin(struct fixture *fixture, const char *status)
{
    AUTO(free)
    char *script = xasprintf("#!/bin/sh\necho run >> %s/runs\n"
                             "cat <<'END'\n{\"kind\":\"ExecCredential\",\"apiVersion\":"
                             "\"client.authentication.k8s.io/v1\",\"status\":{%s}}\nEND\n",
                             fixture->folder, status);
    free(folder_write(fixture->folder, "plugin", str_from(script), 0700));
    fixture->exec = (struct kube_exec){.api_version = "client.authentication.k8s.io/v1",
                                       .command = fixture->plugin_path,
                                       .install_hint = ""};
    fixture->config.exec = &fixture->exec;
}

static size_t count_runs(const struct fixture *fixture)
{
    AUTO(free) char *path = xasprintf("%s/runs", fixture->folder);
    if (access(path, F_OK) != 0) {
        return 0;
    }
    AUTO(free) char *text = file_text(path);
    return strlen(text) / strlen("run\n");
}

/* A JSON member with a time that is this far from now. */
static char *expires_in(int64_t seconds)
{
    char text[CLOCK_TEXT_BYTES];
    clock_format_s(clock_wall_s() + seconds, text);
    return xasprintf("\"expirationTimestamp\":\"%s\"", text);
}

static void c14_plugin_runs_when_first_needed_and_again_at_expiry(void **state)
{
    struct fixture *fixture = *state;
    AUTO(free) char *expires = expires_in(3600);
    AUTO(free) char *status = xasprintf("\"token\":\"one\",%s", expires);
    write_plugin(fixture, status);
    struct kube_credentials *credentials = open_credentials(fixture);
    CHECK_INT(count_runs(fixture), 0);
    check_token(credentials, "one");
    check_token(credentials, "one");
    CHECK_INT(count_runs(fixture), 1);
    clock_set_wall_offset_ms(INT64_C(3601) * 1000);
    write_plugin(fixture, "\"token\":\"two\"");
    check_token(credentials, "two");
    CHECK_INT(count_runs(fixture), 2);
    clock_set_wall_offset_ms(INT64_C(1000) * 24 * 3600 * 1000); /* without expiry: for good */
    check_token(credentials, "two");
    CHECK_INT(count_runs(fixture), 2);
    kube_credentials_free(credentials);
}

static void c14_plugin_runs_again_for_a_refused_token(void **state)
{
    struct fixture *fixture = *state;
    write_plugin(fixture, "\"token\":\"one\"");
    struct kube_credentials *credentials = open_credentials(fixture);
    check_token(credentials, "one");
    write_plugin(fixture, "\"token\":\"two\"");
    refuse(credentials, "older");
    check_token(credentials, "one");
    refuse(credentials, "one");
    check_token(credentials, "two");
    refuse(credentials, "one"); /* somebody who is late to say so */
    check_token(credentials, "two");
    CHECK_INT(count_runs(fixture), 2);
    kube_credentials_free(credentials);
}

static void c14_what_the_kubeconfig_gives_wins_over_the_plugin(void **state)
{
    struct fixture *fixture = *state;
    write_plugin(fixture, "\"token\":\"plugin\"");
    secret_set(&fixture->config.token, STR("fixed"));
    struct kube_credentials *credentials = open_credentials(fixture);
    check_token(credentials, "fixed");
    CHECK_INT(count_runs(fixture), 0);
    kube_credentials_free(credentials);
}

/* PEM as a JSON string's inside. */
static char *json_pem(struct str pem)
{
    AUTO(buf) struct buf text = BUF(1 << 16);
    buf_append_json(&text, pem);
    return xmemdup0(text.ptr + 1, text.len - 2);
}

static char *certificate_status(const struct pki_entity *certificate, const struct pki_entity *key)
{
    AUTO(free) char *certificate_text = json_pem(pki_certificate(certificate));
    AUTO(free) char *key_text = json_pem(str_from(secret_bytes(pki_key(key))));
    return xasprintf("\"clientCertificateData\":\"%s\",\"clientKeyData\":\"%s\"", certificate_text,
                     key_text);
}

static void c14_plugins_certificate_is_our_identity(void **state)
{
    struct fixture *fixture = *state;
    struct err err;
    AUTO(free) char *ann = certificate_status(fixture->ann, fixture->ann);
    AUTO(free) char *ben = certificate_status(fixture->ben, fixture->ben);
    AUTO(free) char *mixed = certificate_status(fixture->ben, fixture->ann);
    write_plugin(fixture, ann);
    struct kube_credentials *credentials = open_credentials(fixture);
    uint64_t first = check_tls(credentials, pki_certificate(fixture->ann));
    check_token(credentials, "");
    refuse(credentials, ""); /* the same certificate again is no change */
    CHECK_INT(check_tls(credentials, pki_certificate(fixture->ann)), first);
    CHECK_INT(count_runs(fixture), 2);

    write_plugin(fixture, mixed);
    refuse(credentials, "");
    AUTO(secret) struct secret token = {0};
    CHECK_FAILS(kube_credentials_token(credentials, NULL, &token, &err), &err, ERR_RETRY,
                "CredentialsUnavailable");
    write_plugin(fixture, ben);
    check_token(credentials, "");
    CHECK(kube_credentials_tls_changed(credentials, first));
    CHECK_INT(check_tls(credentials, pki_certificate(fixture->ben)), first + 1);
    /* Only where one took another's place. */
    AUTO(buf) struct buf page = BUF(1 << 20);
    metrics_render(&page);
    CHECK_NOT_NULL(
        strstr(buf_text(&page), "\nrest_client_exec_plugin_certificate_rotation_age_count 1\n"));
    kube_credentials_free(credentials);
}

enum { WAITERS = 8 };

struct waiter {
    struct kube_credentials *credentials;
    const struct call *call;
    struct secret token;
    int result;
    struct err err;
};

static void *ask_for_token(void *context)
{
    struct waiter *waiter = context;
    waiter->result =
        kube_credentials_token(waiter->credentials, waiter->call, &waiter->token, &waiter->err);
    return NULL;
}

/* Let the plugin run until "go" exists, after it wrote down that it runs. */
static void write_waiting_plugin(struct fixture *fixture, const char *end)
{
    AUTO(free)
    char *script =
        xasprintf("#!/bin/sh\necho run >> %s/runs\nwhile [ ! -e %s/go ]; do sleep 0.02; done\n%s\n",
                  fixture->folder, fixture->folder, end);
    write_plugin(fixture, "");
    free(folder_write(fixture->folder, "plugin", str_from(script), 0700));
}

static void await_runs(const struct fixture *fixture, size_t count)
{
    int64_t deadline_ms = clock_monotonic_ms() + 20000;
    while (count_runs(fixture) < count) {
        CHECK(clock_monotonic_ms() < deadline_ms);
        CHECK(cancel_sleep_ms(NULL, 5));
    }
}

static void c14_one_run_serves_all_who_wait(void **state)
{
    struct fixture *fixture = *state;
    pthread_t threads[WAITERS];
    struct waiter waiters[WAITERS] = {0};
    write_waiting_plugin(fixture,
                         "echo '{\"kind\":\"ExecCredential\",\"apiVersion\":"
                         "\"client.authentication.k8s.io/v1\",\"status\":{\"token\":\"t\"}}'");
    struct kube_credentials *credentials = open_credentials(fixture);
    for (size_t i = 0; i < WAITERS; i++) {
        waiters[i].credentials = credentials;
        CHECK_INT(pthread_create(&threads[i], NULL, ask_for_token, &waiters[i]), 0);
    }
    await_runs(fixture, 1);
    write_file(fixture, "go", "");
    for (size_t i = 0; i < WAITERS; i++) {
        CHECK_INT(pthread_join(threads[i], NULL), 0);
        CHECK_OK(waiters[i].result, &waiters[i].err);
        CHECK_TEXT(secret_bytes(&waiters[i].token), "t");
        secret_release(&waiters[i].token);
    }
    CHECK_INT(count_runs(fixture), 1);
    kube_credentials_free(credentials);
}

static void waiter_can_be_canceled_and_others_go_on(void **state)
{
    struct fixture *fixture = *state;
    pthread_t running;
    pthread_t waiting;
    struct cancel *cancel = cancel_new(NULL);
    const struct call call = {.cancel = cancel};
    write_waiting_plugin(fixture,
                         "echo '{\"kind\":\"ExecCredential\",\"apiVersion\":"
                         "\"client.authentication.k8s.io/v1\",\"status\":{\"token\":\"t\"}}'");
    struct kube_credentials *credentials = open_credentials(fixture);
    /* The one who runs the plugin is canceled; the one who waited runs it again. */
    struct waiter first = {.credentials = credentials, .call = &call};
    struct waiter second = {.credentials = credentials};
    CHECK_INT(pthread_create(&running, NULL, ask_for_token, &first), 0);
    await_runs(fixture, 1);
    CHECK_INT(pthread_create(&waiting, NULL, ask_for_token, &second), 0);
    cancel_trigger(cancel);
    CHECK_INT(pthread_join(running, NULL), 0);
    CHECK_FAILS(first.result, &first.err, ERR_CANCELED, "Canceled");
    await_runs(fixture, 2);
    write_file(fixture, "go", "");
    CHECK_INT(pthread_join(waiting, NULL), 0);
    CHECK_OK(second.result, &second.err);
    CHECK_TEXT(secret_bytes(&second.token), "t");
    secret_release(&second.token);
    kube_credentials_free(credentials);
    cancel_free(cancel);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    js_init();
    http_global_init();
    const struct CMUnitTest tests[] = {
        TEST(nobody_has_no_token),
        TEST(fixed_token_stays_even_when_refused),
        TEST(c11_token_file_is_read_again_when_due),
        TEST(c11_refused_token_is_read_again_at_once),
        TEST(c11_token_stays_while_its_file_is_unusable),
        TEST(c10_token_beside_a_token_file_is_the_start),
        TEST(missing_file_is_named_at_the_start),
        TEST(c13_certificate_files_are_exchanged_as_a_pair),
        TEST(c13_broken_authorities_do_not_replace_working_ones),
        TEST(c14_plugin_runs_when_first_needed_and_again_at_expiry),
        TEST(c14_plugin_runs_again_for_a_refused_token),
        TEST(c14_what_the_kubeconfig_gives_wins_over_the_plugin),
        TEST(c14_plugins_certificate_is_our_identity),
        TEST(c14_one_run_serves_all_who_wait),
        TEST(waiter_can_be_canceled_and_others_go_on),
    };
    return cmocka_run_group_tests_name("credentials", tests, NULL, NULL);
}
