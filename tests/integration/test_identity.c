/* Who we are to a real kube-apiserver, by its own word (SelfSubjectReview), when a kubeconfig says
 * it in one of the ways that are not a plain certificate. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/base/clock.h"
#include "controller/kube/config.h"
#include "controller/net/http_client.h"
#include "tests/check.h"
#include "tests/integration/cluster.h"
#include "tests/support/folder.h"

enum { BODY_MAX_BYTES = 1 << 20 };

static const struct kube_resource REVIEWS = {"authentication.k8s.io", "v1", "selfsubjectreviews",
                                             "SelfSubjectReview", false};
static const struct kube_resource SERVICE_ACCOUNTS = {"", "v1", "serviceaccounts", "ServiceAccount",
                                                      true};

/* A kubeconfig in a folder of its own, beside the files that it names. */
struct identity {
    struct cluster *cluster;
    char *folder;
};

static int set_up(void **state)
{
    struct identity *identity = xcalloc(1, sizeof(*identity));
    CHECK_INT(cluster_set_up((void **)&identity->cluster), 0);
    *state = identity;
    return 0;
}

static int tear_down(void **state)
{
    struct identity *identity = *state;
    CHECK_INT(cluster_tear_down((void **)&identity->cluster), 0);
    free(identity);
    return 0;
}

static int begin(void **state)
{
    struct identity *identity = *state;
    identity->folder = folder_make();
    return 0;
}

static int end(void **state)
{
    struct identity *identity = *state;
    folder_remove(TAKE(identity->folder));
    return 0;
}

static void put(const struct identity *identity, const char *name, struct str text)
{
    free(folder_write(identity->folder, name, text, 0600));
}

/* A client by a kubeconfig whose user is this, in YAML; its files are in its folder. */
static struct kube_client *client_of(const struct identity *identity, const char *user,
                                     struct kube_config *ret_config)
{
    const struct kube_client_config client_config = {.name = "identity"};
    struct kube_client *client = NULL;
    struct err err;
    AUTO(free)
    char *text = xasprintf("apiVersion: v1\nkind: Config\ncurrent-context: it\n"
                           "clusters: [{name: it, cluster: {server: \"%s\", "
                           "certificate-authority: ca.crt}}]\n"
                           "contexts: [{name: it, context: {cluster: it, user: it}}]\n"
                           "users: [{name: it, user: {%s}}]\n",
                           identity->cluster->config.server, user);
    put(identity, "ca.crt", identity->cluster->config.ca_pem);
    AUTO(free) char *path = folder_write(identity->folder, "config", str_from(text), 0600);
    CHECK_OK(kube_config_load(path, NULL, ret_config, &err), &err);
    CHECK_OK(kube_client_new(ret_config, &client_config, &client, &err), &err);
    return client;
}

/* Whom the server takes this client for: the review's userInfo, in a tree that the caller
 * decrefs. */
static json_t *review(struct kube_client *client)
{
    const struct kube_ref collection = {.resource = &REVIEWS};
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    json_t *answer = NULL;
    struct err err;
    CHECK_OK(kube_create(client, NULL, &collection,
                         STR("{\"apiVersion\":\"authentication.k8s.io/v1\",\"kind\":"
                             "\"SelfSubjectReview\"}"),
                         &body, &err),
             &err);
    CHECK_OK(js_parse(buf_str(&body), BODY_MAX_BYTES, &answer, &err), &err);
    return answer;
}

static bool has_group(const json_t *answer, const char *group)
{
    size_t i = 0;
    const json_t *item = NULL;
    json_array_foreach(
        json_object_get(json_object_get(json_object_get(answer, "status"), "userInfo"), "groups"),
        i, item)
    {
        if (strcmp(json_string_value(item), group) == 0) {
            return true;
        }
    }
    return false;
}

/* The administrator's certificate and key, as files. */
static void put_certificate(const struct identity *identity)
{
    const struct kube_config *config = &identity->cluster->config;
    put(identity, "client.crt", config->certificate_pem);
    put(identity, "client.key",
        (struct str){secret_bytes(&config->key_pem), secret_length(&config->key_pem)});
}

static void c09_the_server_sees_whom_we_act_as(void **state)
{
    const struct identity *identity = *state;
    struct kube_config config;
    put_certificate(identity);
    struct kube_client *client =
        client_of(identity,
                  "client-certificate: client.crt, client-key: client.key, as: ben, as-uid: \"7\", "
                  "as-groups: [builders], as-user-extra: {\"example.com/why\": [\"a test\"]}",
                  &config);
    AUTO(json) json_t *answer = review(client);
    CHECK_TEXT(js_text_or(answer, "/status/userInfo/username", ""), "ben");
    CHECK_TEXT(js_text_or(answer, "/status/userInfo/uid", ""), "7");
    CHECK(has_group(answer, "builders"));
    CHECK(!has_group(answer, "system:masters"));
    const json_t *extra =
        json_object_get(json_object_get(json_object_get(answer, "status"), "userInfo"), "extra");
    const json_t *why = json_array_get(json_object_get(extra, "example.com/why"), 0);
    CHECK_TEXT(json_string_value(why), "a test");
    kube_client_free(client);
    kube_config_release(&config);
}

/* A token of the namespace's own account; the caller frees. */
static char *request_token(const struct cluster *cluster)
{
    const struct kube_ref ref = {.resource = &SERVICE_ACCOUNTS,
                                 .namespace_ = cluster->namespace_,
                                 .name = "default",
                                 .subresource = "token"};
    const int64_t end_ms = clock_monotonic_ms() + 30000;
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    json_t *answer = NULL;
    struct err err;
    while (kube_create(cluster->client, NULL, &ref,
                       STR("{\"apiVersion\":\"authentication.k8s.io/v1\","
                           "\"kind\":\"TokenRequest\",\"spec\":{}}"),
                       &body, &err) != 0) {
        CHECK_TEXT(err.reason, "NotFound"); /* it is made a moment after its namespace */
        CHECK(clock_monotonic_ms() < end_ms);
        CHECK(cancel_sleep_ms(NULL, 50));
    }
    CHECK_OK(js_parse(buf_str(&body), BODY_MAX_BYTES, &answer, &err), &err);
    char *token = xstrdup(js_text_or(answer, "/status/token", ""));
    json_decref(answer);
    return token;
}

/* What the plugin prints at its run of that number. */
static void put_answer(const struct identity *identity, int run, json_t *status)
{
    AUTO(free) char *name = xasprintf("plugin.%d", run);
    AUTO(json)
    json_t *credential =
        json_pack("{s:s, s:s, s:o}", "apiVersion", "client.authentication.k8s.io/v1", "kind",
                  "ExecCredential", "status", status);
    AUTO(free) char *text = js_print(credential);
    put(identity, name, str_from(text));
}

/* A client whose plugin gives one of these answers after the other. */
static struct kube_client *client_of_plugin(const struct identity *identity,
                                            struct kube_config *ret_config)
{
    free(folder_write(identity->folder, "plugin",
                      STR("#!/bin/sh\n"
                          "echo run >>\"$0.runs\"\n"
                          "exec cat \"$0.$(($(wc -l <\"$0.runs\")))\"\n"),
                      0700));
    return client_of(identity,
                     "exec: {apiVersion: client.authentication.k8s.io/v1, command: ./plugin, "
                     "interactiveMode: Never}",
                     ret_config);
}

static void check_runs(const struct identity *identity, const char *expected)
{
    AUTO(free) char *path = xasprintf("%s/plugin.runs", identity->folder);
    AUTO(free) char *text = file_text(path);
    CHECK_TEXT(text, expected);
}

static void c14_the_server_sees_whom_a_plugins_certificate_names(void **state)
{
    const struct identity *identity = *state;
    const struct kube_config *admin = &identity->cluster->config;
    struct kube_config config;
    AUTO(free) char *certificate = xmemdup0(admin->certificate_pem.ptr, admin->certificate_pem.len);
    put_answer(identity, 1,
               json_pack("{s:s, s:s}", "clientCertificateData", certificate, "clientKeyData",
                         secret_bytes(&admin->key_pem)));
    struct kube_client *client = client_of_plugin(identity, &config);
    AUTO(json) json_t *expected = review(identity->cluster->client);
    AUTO(json) json_t *answer = review(client);
    CHECK_TEXT(js_text_or(answer, "/status/userInfo/username", ""),
               js_text_or(expected, "/status/userInfo/username", "-"));
    CHECK(has_group(answer, "system:masters"));
    check_runs(identity, "run\n");
    kube_client_free(client);
    kube_config_release(&config);
}

static void c14_a_token_that_the_server_refuses_is_replaced_within_the_call(void **state)
{
    const struct identity *identity = *state;
    struct kube_config config;
    AUTO(free) char *token = request_token(identity->cluster);
    AUTO(free)
    char *account = xasprintf("system:serviceaccount:%s:default", identity->cluster->namespace_);
    put_answer(identity, 1, json_pack("{s:s}", "token", "no token that anyone knows"));
    put_answer(identity, 2, json_pack("{s:s}", "token", token));
    struct kube_client *client = client_of_plugin(identity, &config);
    for (int i = 0; i < 2; i++) { /* and it is kept */
        AUTO(json) json_t *answer = review(client);
        CHECK_TEXT(js_text_or(answer, "/status/userInfo/username", ""), account);
    }
    check_runs(identity, "run\nrun\n");
    kube_client_free(client);
    kube_config_release(&config);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
    const struct CMUnitTest tests[] = {
        TEST(c09_the_server_sees_whom_we_act_as),
        TEST(c14_the_server_sees_whom_a_plugins_certificate_names),
        TEST(c14_a_token_that_the_server_refuses_is_replaced_within_the_call),
    };
#undef TEST
    http_global_init();
    js_init();
    return cmocka_run_group_tests_name("identity", tests, set_up, tear_down);
}
