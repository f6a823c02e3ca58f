/* The expected views in tests/data/kubeconfig are still what kubectl prints, and ours too. */
#include <dirent.h>
#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

#include "controller/base/js.h"
#include "controller/kube/config.h"
#include "tests/check.h"
#include "tests/support/child.h"
#include "tests/support/folder.h"

enum { VIEW_MAX_BYTES = 1 << 20 };

/* All that kubectl prints; NULL when it fails. The caller decrefs. */
static json_t *kubectl_view(void)
{
    struct child kubectl;
    child_start(&kubectl,
                (const char *[]){"kubectl", "config", "view", "--raw", "-o", "json", NULL});
    json_t *view = json_loadf(kubectl.output, 0, NULL);
    child_stop(&kubectl);
    return view;
}

static json_t *our_view(void)
{
    AUTO(free) char *text = NULL;
    json_t *view = NULL;
    struct err err;
    if (kube_config_view(NULL, &text, &err) != 0) {
        return NULL;
    }
    CHECK_OK(js_parse(str_from(text), VIEW_MAX_BYTES, &view, &err), &err);
    return view;
}

static void check_case(const char *folder)
{
    AUTO(free) char *list_path = xasprintf("%s/list", folder);
    AUTO(free) char *list = NULL;
    if (access(list_path, F_OK) == 0) { /* its files are named relative to the folder */
        CHECK_INT(chdir(folder), 0);
        list = xstrdup("a.yaml:missing.yaml::b.yaml:a.yaml");
    } else {
        list = xasprintf("%s/config.yaml", folder);
    }
    setenv("KUBECONFIG", list, 1);
    AUTO(json) json_t *theirs = kubectl_view();
    AUTO(json) json_t *ours = our_view();
    CHECK_INT(theirs != NULL, ours != NULL);
    AUTO(free) char *expected_path = xasprintf("%s/expected.json", folder);
    AUTO(json) json_t *expected = json_load_file(expected_path, 0, NULL);
    CHECK_INT(theirs != NULL, expected != NULL);
    if (theirs && (!json_equal(theirs, ours) || !json_equal(theirs, expected))) {
        AUTO(free) char *text = js_print(theirs);
        fail_msg("%s: kubectl prints %s; run tests/data/kubeconfig/regenerate", folder, text);
    }
}

static void c08_views_agree_with_kubectl(void **state)
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
            check_case(folder);
            count++;
        }
    }
    (void)closedir(cases);
    CHECK(count >= 10);
}

static void kubeconfig_of_the_control_plane_agrees(void **state)
{
    setenv("KUBECONFIG", *state, 1);
    AUTO(json) json_t *theirs = kubectl_view();
    AUTO(json) json_t *ours = our_view();
    CHECK_NOT_NULL(theirs);
    CHECK(json_equal(theirs, ours));
}

int main(void)
{
    js_init();
    AUTO(free) char *kubeconfig = xstrdup(getenv("KUBECONFIG") ? getenv("KUBECONFIG") : "");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(kubeconfig_of_the_control_plane_agrees, kubeconfig),
        cmocka_unit_test(c08_views_agree_with_kubectl),
    };
    return cmocka_run_group_tests_name("kubeconfig", tests, NULL, NULL);
}
