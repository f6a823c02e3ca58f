/* kubeconfig files and what is made of them; the expected views are kubectl's own (tests/data). */
#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "controller/base/buf.h"
#include "controller/base/js.h"
#include "controller/kube/config.h"
#include "tests/check.h"
#include "tests/support/folder.h"

enum { FILE_MAX_BYTES = 1 << 20 };

static int set_up(void **state)
{
    *state = folder_make();
    unsetenv("KUBECONFIG");
    unsetenv("KUBERNETES_SERVICE_HOST");
    unsetenv("KUBERNETES_SERVICE_PORT");
    setenv("HOME", *state, 1);
    return 0;
}

static int tear_down(void **state)
{
    folder_remove(*state);
    return 0;
}

static json_t *parsed(const char *text)
{
    json_t *value = NULL;
    struct err err;
    CHECK_OK(js_parse(str_from(text), FILE_MAX_BYTES, &value, &err), &err);
    return value;
}

/* --- the view --------------------------------------------------------------------------------- */

/* KUBECONFIG for a case: its "list", with the folder for @DIR@, or its config.yaml. */
static char *case_list(const char *folder)
{
    AUTO(free) char *list_path = xasprintf("%s/list", folder);
    if (access(list_path, F_OK) != 0) {
        return xasprintf("%s/config.yaml", folder);
    }
    AUTO(free) char *pattern = file_text(list_path);
    AUTO(buf) struct buf list = BUF(FILE_MAX_BYTES);
    struct str rest = str_trim(str_from(pattern));
    while (rest.len > 0) {
        if (str_starts_with(rest, STR("@DIR@"))) {
            buf_append_text(&list, folder);
            rest = (struct str){rest.ptr + 5, rest.len - 5};
        } else {
            buf_append_char(&list, rest.ptr[0]);
            rest = (struct str){rest.ptr + 1, rest.len - 1};
        }
    }
    return buf_detach(&list);
}

static void check_view(const char *folder)
{
    AUTO(free) char *expected_path = xasprintf("%s/expected.json", folder);
    AUTO(free) char *list = case_list(folder);
    AUTO(free) char *view = NULL;
    struct err err;
    setenv("KUBECONFIG", list, 1);
    if (access(expected_path, F_OK) != 0) {
        CHECK_FAILS(kube_config_view(NULL, &view, &err), &err, ERR_TERMINAL, "InvalidKubeconfig");
        CHECK_NOT_NULL(strstr(err.message, "config.yaml"));
        return;
    }
    CHECK_OK(kube_config_view(NULL, &view, &err), &err);
    AUTO(free) char *expected_text = file_text(expected_path);
    AUTO(json) json_t *expected = parsed(expected_text);
    AUTO(json) json_t *actual = parsed(view);
    if (!json_equal(expected, actual)) {
        fail_msg("%s: the view is %s", folder, view);
    }
}

static void c08_view_is_what_kubectl_prints(void **state)
{
    (void)state;
    DIR *cases = opendir(TEST_DATA "/kubeconfig");
    int count = 0;
    if (!cases) {
        fail_msg("the cases are not there");
        return;
    }
    for (const struct dirent *entry = readdir(cases); entry; entry = readdir(cases)) {
        if (entry->d_type == DT_DIR && entry->d_name[0] != '.') {
            AUTO(free) char *folder = xasprintf(TEST_DATA "/kubeconfig/%s", entry->d_name);
            check_view(folder);
            count++;
        }
    }
    (void)closedir(cases);
    CHECK(count >= 10);
}

/* --- loading ---------------------------------------------------------------------------------- */

/* Load config.yaml with this text. */
static int load(const char *folder, const char *text, const char *context, struct kube_config *ret,
                struct err *err)
{
    AUTO(free) char *path = folder_write(folder, "config.yaml", str_from(text), 0600);
    return kube_config_load(path, context, ret, err);
}

static const char complete[] =
    "current-context: one\n"
    "clusters:\n"
    "- name: one\n"
    "  cluster: {server: 'https://one.example:6443/', certificate-authority: pki/ca.crt,\n"
    "            tls-server-name: inner.example, proxy-url: 'http://proxy.example:3128'}\n"
    "- name: two\n"
    "  cluster: {server: 'https://two.example/k8s/', insecure-skip-tls-verify: true,\n"
    "            disable-compression: true, certificate-authority-data: ''}\n"
    "- name: three\n"
    "  cluster: {server: 'three.example:8443', certificate-authority-data: Q0E=}\n"
    "- name: four\n"
    "  cluster: {server: '127.0.0.1:8001'}\n"
    "contexts:\n"
    "- {name: one, context: {cluster: one, user: files, namespace: apps}}\n"
    "- {name: two, context: {cluster: two, user: data}}\n"
    "- {name: three, context: {cluster: three, user: token}}\n"
    "- {name: four, context: {cluster: four}}\n"
    "- {name: five, context: {cluster: two, user: someone}}\n"
    "users:\n"
    "- {name: files, user: {client-certificate: /abs/ann.crt, client-key: ann.key}}\n"
    "- {name: data, user: {client-certificate-data: Q0VSVA==, client-key-data: S0VZ,\n"
    "                      client-certificate: unused.crt}}\n"
    "- {name: token, user: {token: t0ken, tokenFile: run/token}}\n"
    "- {name: someone, user: {username: ann, password: secret, as: ben, as-uid: '7',\n"
    "     as-groups: [g1, g2], as-user-extra: {'reason/why é': [x, y]}}}\n";

static void c08_files_are_found_from_the_kubeconfigs_folder(void **state)
{
    const char *folder = *state;
    struct kube_config config;
    struct err err;
    CHECK_OK(load(folder, complete, NULL, &config, &err), &err);
    AUTO(free) char *ca = xasprintf("%s/pki/ca.crt", folder);
    AUTO(free) char *key = xasprintf("%s/ann.key", folder);
    CHECK_TEXT(config.context, "one");
    CHECK_TEXT(config.namespace_, "apps");
    CHECK_TEXT(config.server, "https://one.example:6443");
    CHECK_TEXT(config.ca_file, ca);
    CHECK_TEXT(config.tls_server_name, "inner.example");
    CHECK_TEXT(config.proxy_url, "http://proxy.example:3128");
    CHECK_TEXT(config.certificate_file, "/abs/ann.crt");
    CHECK_TEXT(config.key_file, key);
    CHECK(!config.insecure_skip_tls_verify);
    CHECK_INT(config.impersonate_count, 0);
    kube_config_release(&config);
}

static void relative_path_of_a_kubeconfig_works_too(void **state)
{
    const char *folder = *state;
    struct kube_config config;
    struct err err;
    AUTO(free) char *path = folder_write(folder, "config.yaml", str_from(complete), 0600);
    int before = open(".", O_PATH | O_CLOEXEC);
    CHECK_INT(chdir(folder), 0);
    CHECK_OK(kube_config_load("config.yaml", NULL, &config, &err), &err);
    CHECK_INT(fchdir(before), 0);
    AUTO(free) char *ca = xasprintf("%s/pki/ca.crt", folder);
    CHECK_TEXT(config.ca_file, ca);
    kube_config_release(&config);
    close(before);
}

static void c09_inline_data_beats_files(void **state)
{
    struct kube_config config;
    struct err err;
    CHECK_OK(load(*state, complete, "two", &config, &err), &err);
    CHECK_TEXT(config.server, "https://two.example/k8s");
    CHECK(config.insecure_skip_tls_verify);
    CHECK(config.disable_compression);
    CHECK(str_equal(config.certificate_pem, STR("CERT")));
    CHECK_NULL(config.certificate_file);
    CHECK_TEXT(secret_bytes(&config.key_pem), "KEY");
    CHECK_TEXT(config.namespace_, "default");
    kube_config_release(&config);
}

static void host_without_scheme_is_taken_as_kubectl_takes_it(void **state)
{
    struct kube_config config;
    struct err err;
    CHECK_OK(load(*state, complete, "three", &config, &err), &err);
    CHECK_TEXT(config.server, "https://three.example:8443");
    CHECK(str_equal(config.ca_pem, STR("CA")));
    CHECK_TEXT(secret_bytes(&config.token), "t0ken");
    CHECK_NOT_NULL(strstr(config.token_file, "/run/token"));
    kube_config_release(&config);
    CHECK_OK(load(*state, complete, "four", &config, &err), &err);
    CHECK_TEXT(config.server, "http://127.0.0.1:8001");
    kube_config_release(&config);
}

static void c09_impersonation_becomes_headers(void **state)
{
    static const struct kube_header_value expected[] = {
        {"Impersonate-User", "ben"},
        {"Impersonate-Uid", "7"},
        {"Impersonate-Group", "g1"},
        {"Impersonate-Group", "g2"},
        {"Impersonate-Extra-reason%2Fwhy%20%C3%A9", "x"},
        {"Impersonate-Extra-reason%2Fwhy%20%C3%A9", "y"},
    };
    struct kube_config config;
    struct err err;
    CHECK_OK(load(*state, complete, "five", &config, &err), &err);
    CHECK_TEXT(config.username, "ann");
    CHECK_TEXT(secret_bytes(&config.password), "secret");
    CHECK_INT(config.impersonate_count, ARRAY_COUNT(expected));
    for (size_t i = 0; i < ARRAY_COUNT(expected); i++) {
        CHECK_TEXT(config.impersonate[i].name, expected[i].name);
        CHECK_TEXT(config.impersonate[i].value, expected[i].value);
    }
    kube_config_release(&config);
}

static void c14_plugin_is_read_with_all_it_needs(void **state)
{
    const char *folder = *state;
    struct kube_config config;
    struct err err;
    AUTO(free) char *path = xstrdup(TEST_DATA "/kubeconfig/exec/config.yaml");
    CHECK_OK(kube_config_load(path, "cloud", &config, &err), &err);
    (void)folder;
    const struct kube_exec *exec = config.exec;
    CHECK_NOT_NULL(exec);
    CHECK_TEXT(exec->api_version, "client.authentication.k8s.io/v1");
    CHECK_TEXT(exec->command, TEST_DATA "/kubeconfig/exec/./bin/login");
    CHECK_INT(exec->argument_count, 3);
    CHECK_TEXT(exec->arguments[1], "two words");
    CHECK_TEXT(exec->arguments[2], "");
    CHECK_INT(exec->env_count, 2);
    CHECK_TEXT(exec->env[0].name, "REGION");
    CHECK_TEXT(exec->env[1].value, "");
    CHECK(exec->provide_cluster_info);
    CHECK_TEXT(exec->cluster_config_json, "{\"audience\":\"cloud\",\"depth\":{\"n\":1}}");
    CHECK_TEXT(exec->install_hint, "install login");
    kube_config_release(&config);
}

/* --- what is refused ---------------------------------------------------------------------------
 */

#define WITH(cluster, user)                                                                        \
    "current-context: c\ncontexts: [{name: c, context: {cluster: c, user: u}}]\n"                  \
    "clusters: [{name: c, cluster: {" cluster "}}]\nusers: [{name: u, user: {" user "}}]\n"
#define SERVER "server: 'https://a.example'"

static void c09_mistakes_are_named(void **state)
{
    static const struct {
        const char *text;
        const char *names;
    } cases[] = {
        {WITH("", ""), "\"server\""},
        {WITH("server: 'ftp://a.example'", ""), "\"server\""},
        {WITH("server: 'https://'", ""), "\"server\""},
        {WITH("server: 'https://a.example/?x=1'", ""), "\"server\""},
        {WITH("server: 'https://user:pw@a.example'", ""), "\"server\""},
        {WITH(SERVER ", proxy-url: 'gopher://p'", ""), "\"proxy-url\""},
        {WITH(SERVER ", proxy-url: 17", ""), "\"proxy-url\""},
        {WITH(SERVER ", insecure-skip-tls-verify: true, certificate-authority: a", ""), "exclude"},
        {WITH(SERVER ", insecure-skip-tls-verify: 'true'", ""), "insecure-skip-tls-verify"},
        {WITH(SERVER ", certificate-authority-data: '*'", ""), "certificate-authority-data"},
        {WITH(SERVER, "token: a, username: b"), "exclude"},
        {WITH(SERVER, "password: b"), "username"},
        {WITH(SERVER, "token: 1234"), "\"token\""},
        {WITH(SERVER, "client-certificate: a"), "client-key"},
        {WITH(SERVER, "client-key: a"), "client-certificate"},
        {WITH(SERVER, "as-uid: a"), "\"as\""},
        {WITH(SERVER, "as-groups: [a]"), "\"as\""},
        {WITH(SERVER, "as-groups: a"), "as-groups"},
        {WITH(SERVER, "as: a, as-user-extra: {b: c}"), "as-user-extra"},
        {WITH(SERVER, "auth-provider: {name: gcp}"), "auth-provider"},
        {WITH(SERVER, "exec: {command: a, apiVersion: client.authentication.k8s.io/v1}"),
         "interactiveMode"},
        {WITH(SERVER, "exec: {command: a, apiVersion: client.authentication.k8s.io/v1alpha1}"),
         "apiVersion"},
        {WITH(SERVER, "exec: {apiVersion: client.authentication.k8s.io/v1beta1}"), "command"},
        {WITH(SERVER, "exec: {command: a, apiVersion: client.authentication.k8s.io/v1, "
                      "interactiveMode: Always}"),
         "person"},
        {WITH(SERVER, "exec: {command: a, apiVersion: client.authentication.k8s.io/v1, "
                      "interactiveMode: Sometimes}"),
         "interactiveMode"},
        {WITH(SERVER, "exec: {command: a, apiVersion: client.authentication.k8s.io/v1beta1, "
                      "env: [{value: x}]}"),
         "env"},
        {"current-context: x\n", "context \"x\""},
        {"current-context: c\ncontexts: [{name: c, context: {cluster: x}}]\n", "cluster \"x\""},
        {"current-context: c\ncontexts: [{name: c, context: {cluster: c, user: x}}]\n"
         "clusters: [{name: c, cluster: {" SERVER "}}]\n",
         "user \"x\""},
        {"clusters: []\n", "current-context"},
        {"", "current-context"},
        {"a: b: c\n", "config.yaml"},
        {"- 1\n", "map"},
    };
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct kube_config config;
        struct err err;
        CHECK_FAILS(load(*state, cases[i].text, NULL, &config, &err), &err, ERR_TERMINAL,
                    "InvalidKubeconfig");
        if (!strstr(err.message, cases[i].names)) {
            fail_msg("\"%s\" does not name %s", err.message, cases[i].names);
        }
    }
}

static void secrets_stay_out_of_messages(void **state)
{
    struct kube_config config;
    struct err err;
    CHECK_FAILS(load(*state,
                     WITH(SERVER ", proxy-url: 'ftp://ann:pr0xysecret@p'",
                          "token: t0psecret, username: ann, password: passw0rd"),
                     NULL, &config, &err),
                &err, ERR_TERMINAL, "InvalidKubeconfig");
    CHECK_NULL(strstr(err.message, "pr0xysecret"));
    CHECK_FAILS(load(*state, WITH(SERVER, "token: t0psecret, username: ann, password: passw0rd"),
                     NULL, &config, &err),
                &err, ERR_TERMINAL, "InvalidKubeconfig");
    CHECK_NULL(strstr(err.message, "t0psecret"));
    CHECK_NULL(strstr(err.message, "passw0rd"));
}

static void c08_named_file_must_be_there(void **state)
{
    struct kube_config config;
    struct err err;
    AUTO(free) char *path = xasprintf("%s/nothing", (const char *)*state);
    CHECK_FAILS(kube_config_load(path, NULL, &config, &err), &err, ERR_TERMINAL,
                "InvalidKubeconfig");
    CHECK_NOT_NULL(strstr(err.message, path));
    CHECK_FAILS(kube_config_load(*state, NULL, &config, &err), &err, ERR_TERMINAL,
                "InvalidKubeconfig"); /* a folder */
}

/* --- where it is looked for --------------------------------------------------------------------
 */

static void home_is_the_last_place_to_look(void **state)
{
    const char *folder = *state;
    struct kube_config config;
    struct err err;
    CHECK_FAILS(kube_config_load(NULL, NULL, &config, &err), &err, ERR_TERMINAL, "NoCluster");
    CHECK_NOT_NULL(strstr(err.message, "/.kube/config"));
    AUTO(free) char *hidden = xasprintf("%s/.kube", folder);
    CHECK_INT(mkdir(hidden, 0700), 0);
    free(folder_write(hidden, "config", str_from(WITH(SERVER, "")), 0600));
    CHECK_OK(kube_config_load(NULL, NULL, &config, &err), &err);
    CHECK_TEXT(config.server, "https://a.example");
    kube_config_release(&config);
    AUTO(free)
    char *other =
        folder_write(folder, "other", str_from(WITH("server: 'https://b.example'", "")), 0600);
    setenv("KUBECONFIG", other, 1);
    CHECK_OK(kube_config_load(NULL, NULL, &config, &err), &err);
    CHECK_TEXT(config.server, "https://b.example");
    kube_config_release(&config);
}

static void c12_pod_is_recognized_when_no_file_says_otherwise(void **state)
{
    const char *folder = *state;
    struct kube_config config;
    struct err err;
    CHECK_FAILS(kube_config_in_cluster(folder, &config, &err), &err, ERR_TERMINAL, "NotInCluster");
    setenv("KUBERNETES_SERVICE_HOST", "fd00::1", 1);
    setenv("KUBERNETES_SERVICE_PORT", "443", 1);
    CHECK_FAILS(kube_config_in_cluster(folder, &config, &err), &err, ERR_TERMINAL, "NotInCluster");
    free(folder_write(folder, "token", STR("t\n"), 0600));
    free(folder_write(folder, "ca.crt", STR("ca"), 0600));
    CHECK_OK(kube_config_in_cluster(folder, &config, &err), &err);
    CHECK_TEXT(config.server, "https://[fd00::1]:443");
    CHECK_TEXT(config.namespace_, "default");
    CHECK_TEXT(config.context, "in-cluster");
    kube_config_release(&config);
    free(folder_write(folder, "namespace", STR("apps\n"), 0600));
    setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1", 1);
    CHECK_OK(kube_config_in_cluster(folder, &config, &err), &err);
    CHECK_TEXT(config.server, "https://10.96.0.1:443");
    CHECK_TEXT(config.namespace_, "apps");
    kube_config_release(&config);
    setenv("KUBERNETES_SERVICE_HOST", "a/b@c", 1);
    CHECK_FAILS(kube_config_in_cluster(folder, &config, &err), &err, ERR_TERMINAL, "NotInCluster");
    /* Without a folder it is the mounted account that is looked for, and there is none here. */
    setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1", 1);
    CHECK_FAILS(kube_config_load(NULL, NULL, &config, &err), &err, ERR_TERMINAL, "NotInCluster");
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)

int main(void)
{
    js_init();
    const struct CMUnitTest tests[] = {
        TEST(c08_view_is_what_kubectl_prints),
        TEST(c08_files_are_found_from_the_kubeconfigs_folder),
        TEST(relative_path_of_a_kubeconfig_works_too),
        TEST(c09_inline_data_beats_files),
        TEST(host_without_scheme_is_taken_as_kubectl_takes_it),
        TEST(c09_impersonation_becomes_headers),
        TEST(c14_plugin_is_read_with_all_it_needs),
        TEST(c09_mistakes_are_named),
        TEST(secrets_stay_out_of_messages),
        TEST(c08_named_file_must_be_there),
        TEST(home_is_the_last_place_to_look),
        TEST(c12_pod_is_recognized_when_no_file_says_otherwise),
    };
    return cmocka_run_group_tests_name("kube_config", tests, NULL, NULL);
}
