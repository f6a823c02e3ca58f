/* The API client against a real kube-apiserver, in a namespace of its own. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "controller/base/clock.h"
#include "controller/base/js.h"
#include "controller/base/metrics.h"
#include "controller/kube/api.h"
#include "controller/kube/config.h"
#include "controller/kube/credentials.h"
#include "tests/check.h"
#include "tests/integration/cluster.h"
#include "tests/support/folder.h"
#include "tests/support/pki.h"
#include "tests/support/relay.h"

enum { BODY_MAX_BYTES = 1 << 20, NAME_BYTES = 64 };

static const struct kube_resource GADGETS = {"nobody.example", "v1", "gadgets", "Gadget", true};
static const struct kube_resource SERVICE_ACCOUNTS = {"", "v1", "serviceaccounts", "ServiceAccount",
                                                      true};

static json_t *fetch(const struct cluster *cluster, const char *name)
{
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    struct err err;
    const struct kube_ref ref = cluster_config_map(cluster, name);
    CHECK_OK(kube_get(cluster->client, NULL, &ref, &body, &err), &err);
    return cluster_parse(&body);
}

/* --- verbs ------------------------------------------------------------------------------------ */

static void object_can_be_created_read_changed_and_deleted(void **state)
{
    const struct cluster *cluster = *state;
    struct err err;
    const struct kube_ref ref = cluster_config_map(cluster, "life");
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    AUTO(json) json_t *made = cluster_add_config_map(cluster, "life", "one");
    CHECK_TEXT(js_text_or(made, "/data/key", ""), "one");

    CHECK_OK(kube_patch(cluster->client, NULL, &ref, KUBE_PATCH_MERGE, "tester",
                        STR("{\"data\":{\"key\":\"two\"}}"), &body, &err),
             &err);
    AUTO(json) json_t *patched = cluster_parse(&body);
    CHECK_TEXT(js_text_or(patched, "/data/key", ""), "two");

    json_object_set_new(json_object_get(patched, "data"), "key", json_string("three"));
    AUTO(free) char *whole = js_print(patched);
    CHECK_OK(kube_replace(cluster->client, NULL, &ref, str_from(whole), NULL, &err), &err);
    AUTO(json) json_t *replaced = fetch(cluster, "life");
    CHECK_TEXT(js_text_or(replaced, "/data/key", ""), "three");

    CHECK_OK(
        kube_delete(cluster->client, NULL, &ref, js_text_or(made, "/metadata/uid", ""), NULL, &err),
        &err);
    CHECK_FAILS(kube_get(cluster->client, NULL, &ref, &body, &err), &err, ERR_NOT_FOUND,
                "NotFound");
    CHECK_TEXT(err.code, "404");
}

static void c49_apply_makes_the_object_and_owns_its_fields(void **state)
{
    const struct cluster *cluster = *state;
    AUTO(buf) struct buf json = BUF(BODY_MAX_BYTES);
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    struct err err;
    const struct kube_ref ref = cluster_config_map(cluster, "applied");
    CHECK_OK(kube_apply(cluster->client, NULL, &ref, "tester",
                        cluster_config_map_json(&json, "applied", "ours"), &body, &err),
             &err);
    AUTO(json) json_t *made = cluster_parse(&body);
    CHECK_TEXT(js_text_or(made, "/metadata/managedFields/0/manager", ""), "tester");
    CHECK_TEXT(js_text_or(made, "/metadata/managedFields/0/operation", ""), "Apply");

    /* Somebody else changes our field and adds one of their own: the next apply takes back the one
     * and leaves the other. */
    CHECK_OK(kube_patch(cluster->client, NULL, &ref, KUBE_PATCH_MERGE, "somebody",
                        STR("{\"data\":{\"key\":\"theirs\",\"other\":\"theirs\"}}"), NULL, &err),
             &err);
    CHECK_OK(kube_apply(cluster->client, NULL, &ref, "tester",
                        cluster_config_map_json(&json, "applied", "ours"), &body, &err),
             &err);
    AUTO(json) json_t *applied = cluster_parse(&body);
    CHECK_TEXT(js_text_or(applied, "/data/key", ""), "ours");
    CHECK_TEXT(js_text_or(applied, "/data/other", ""), "theirs");

    /* The same intent again changes nothing. */
    CHECK_OK(kube_apply(cluster->client, NULL, &ref, "tester",
                        cluster_config_map_json(&json, "applied", "ours"), &body, &err),
             &err);
    AUTO(json) json_t *again = cluster_parse(&body);
    CHECK_TEXT(js_text_or(again, "/metadata/resourceVersion", ""),
               js_text_or(applied, "/metadata/resourceVersion", "-"));
}

static void c51_creating_twice_is_already_exists(void **state)
{
    const struct cluster *cluster = *state;
    AUTO(buf) struct buf json = BUF(BODY_MAX_BYTES);
    struct err err;
    const struct kube_ref collection = cluster_config_map(cluster, NULL);
    AUTO(json) json_t *made = cluster_add_config_map(cluster, "twice", "one");
    CHECK_FAILS(kube_create(cluster->client, NULL, &collection,
                            cluster_config_map_json(&json, "twice", "two"), NULL, &err),
                &err, ERR_CONFLICT, "AlreadyExists");
}

static void c51_replacing_a_stale_version_is_a_conflict(void **state)
{
    const struct cluster *cluster = *state;
    struct err err;
    const struct kube_ref ref = cluster_config_map(cluster, "stale");
    AUTO(json) json_t *made = cluster_add_config_map(cluster, "stale", "one");
    CHECK_OK(kube_patch(cluster->client, NULL, &ref, KUBE_PATCH_MERGE, "tester",
                        STR("{\"data\":{\"key\":\"two\"}}"), NULL, &err),
             &err);
    AUTO(free) char *whole = js_print(made);
    CHECK_FAILS(kube_replace(cluster->client, NULL, &ref, str_from(whole), NULL, &err), &err,
                ERR_CONFLICT, "Conflict");
    CHECK_TEXT(err.code, "409");
}

static void c30_deletion_keeps_to_its_preconditions(void **state)
{
    const struct cluster *cluster = *state;
    struct err err;
    const struct kube_ref ref = cluster_config_map(cluster, "guarded");
    AUTO(json) json_t *made = cluster_add_config_map(cluster, "guarded", "one");
    const char *uid = js_text_or(made, "/metadata/uid", "");
    CHECK_FAILS(kube_delete(cluster->client, NULL, &ref, "00000000-0000-0000-0000-000000000000",
                            NULL, &err),
                &err, ERR_CONFLICT, "Conflict");
    CHECK_FAILS(kube_delete(cluster->client, NULL, &ref, uid, "1", &err), &err, ERR_CONFLICT,
                "Conflict");
    AUTO(json) json_t *alive = fetch(cluster, "guarded");
    CHECK_OK(kube_delete(cluster->client, NULL, &ref, uid,
                         js_text_or(alive, "/metadata/resourceVersion", ""), &err),
             &err);
    CHECK_OK(kube_delete(cluster->client, NULL, &ref, uid, NULL, &err), &err); /* gone is fine */
}

static void json_patch_is_guarded_by_its_test(void **state)
{
    const struct cluster *cluster = *state;
    struct err err;
    const struct kube_ref ref = cluster_config_map(cluster, "tested");
    AUTO(json) json_t *made = cluster_add_config_map(cluster, "tested", "one");
    CHECK_FAILS(kube_patch(cluster->client, NULL, &ref, KUBE_PATCH_JSON, "tester",
                           STR("[{\"op\":\"test\",\"path\":\"/data/key\",\"value\":\"two\"},"
                               "{\"op\":\"replace\",\"path\":\"/data/key\",\"value\":\"three\"}]"),
                           NULL, &err),
                &err, ERR_CONFLICT, "Conflict");
    CHECK_FAILS(kube_patch(cluster->client, NULL, &ref, KUBE_PATCH_JSON, "tester",
                           STR("[{\"op\":\"remove\",\"path\":\"/data/nothing\"}]"), NULL, &err),
                &err, ERR_CONFLICT, "Conflict");
    CHECK_FAILS(kube_patch(cluster->client, NULL, &ref, KUBE_PATCH_JSON, "tester",
                           STR("[{\"op\":\"add\",\"path\":\"/metadata/labels\","
                               "\"value\":{\"a\":\"not a label!\"}}]"),
                           NULL, &err),
                &err, ERR_TERMINAL, "Invalid");
    CHECK_OK(kube_patch(cluster->client, NULL, &ref, KUBE_PATCH_JSON, "tester",
                        STR("[{\"op\":\"test\",\"path\":\"/data/key\",\"value\":\"one\"},"
                            "{\"op\":\"replace\",\"path\":\"/data/key\",\"value\":\"two\"}]"),
                        NULL, &err),
             &err);
    AUTO(json) json_t *patched = fetch(cluster, "tested");
    CHECK_TEXT(js_text_or(patched, "/data/key", ""), "two");
}

/* --- errors ----------------------------------------------------------------------------------- */

static void invalid_object_is_terminal(void **state)
{
    const struct cluster *cluster = *state;
    AUTO(buf) struct buf json = BUF(BODY_MAX_BYTES);
    struct err err;
    const struct kube_ref collection = cluster_config_map(cluster, NULL);
    CHECK_FAILS(kube_create(cluster->client, NULL, &collection,
                            cluster_config_map_json(&json, "Not_A_Name", "x"), NULL, &err),
                &err, ERR_TERMINAL, "Invalid");
    CHECK_TEXT(err.code, "422");
    CHECK_NOT_NULL(strstr(err.message, "Not_A_Name"));
    CHECK_FAILS(kube_create(cluster->client, NULL, &collection, STR("{not json"), NULL, &err), &err,
                ERR_TERMINAL, "Invalid");
}

static void unknown_kind_is_told_from_a_missing_object(void **state)
{
    const struct cluster *cluster = *state;
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    struct err err;
    const struct kube_ref ref = {
        .resource = &GADGETS, .namespace_ = cluster->namespace_, .name = "one"};
    CHECK_FAILS(kube_get(cluster->client, NULL, &ref, &body, &err), &err, ERR_NOT_FOUND,
                "NotServed");
    CHECK_FAILS(kube_delete(cluster->client, NULL, &ref, NULL, NULL, &err), &err, ERR_NOT_FOUND,
                "NotServed");
}

static void c15_impossible_names_are_not_sent(void **state)
{
    const struct cluster *cluster = *state;
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    AUTO(free) char *long_name = xmalloc(255);
    memset(long_name, 'a', 254);
    long_name[254] = '\0';
    const char *const names[] = {"", ".", "..", "a/b", "../secrets", "a%2fb", long_name};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        struct err err;
        const struct kube_ref ref = cluster_config_map(cluster, names[i]);
        CHECK_FAILS(kube_get(cluster->client, NULL, &ref, &body, &err), &err, ERR_TERMINAL,
                    "InvalidName");
    }
    const char *const odd[] = {"a?b", "a#b", "a b", "ü", "a&b=c;d"};
    for (size_t i = 0; i < ARRAY_COUNT(odd); i++) { /* these reach the server as what they are */
        struct err err;
        const struct kube_ref ref = cluster_config_map(cluster, odd[i]);
        CHECK_FAILS(kube_get(cluster->client, NULL, &ref, &body, &err), &err, ERR_NOT_FOUND,
                    "NotFound");
        CHECK_NOT_NULL(strstr(err.message, odd[i]));
    }
    long_name[253] = '\0';
    struct err err;
    const struct kube_ref longest = cluster_config_map(cluster, long_name);
    CHECK_FAILS(kube_get(cluster->client, NULL, &longest, &body, &err), &err, ERR_NOT_FOUND,
                "NotFound");
}

static void collection_is_never_deleted(void **state)
{
    const struct cluster *cluster = *state;
    struct err err;
    const struct kube_ref collection = cluster_config_map(cluster, NULL);
    CHECK_FAILS(kube_delete(cluster->client, NULL, &collection, NULL, NULL, &err), &err,
                ERR_TERMINAL, "InvalidName");
}

static void small_buffer_bounds_the_answer_but_not_the_error(void **state)
{
    const struct cluster *cluster = *state;
    AUTO(buf) struct buf small = BUF(64);
    struct err err;
    AUTO(json) json_t *made = cluster_add_config_map(cluster, "small", "one");
    const struct kube_ref ref = cluster_config_map(cluster, "small");
    const struct kube_ref missing = cluster_config_map(cluster, "missing");
    CHECK_FAILS(kube_get(cluster->client, NULL, &ref, &small, &err), &err, ERR_TERMINAL,
                "ResponseTooLarge");
    CHECK_FAILS(kube_get(cluster->client, NULL, &missing, &small, &err), &err, ERR_NOT_FOUND,
                "NotFound");
}

/* --- who we are ------------------------------------------------------------------------------- */

/* Secrets are not shared between two configs: those of a copy are its own. */
static struct kube_config without_identity(const struct kube_config *config)
{
    struct kube_config copy = *config;
    copy.certificate_pem = (struct str){0};
    secret_init(&copy.key_pem);
    secret_init(&copy.token);
    secret_init(&copy.password);
    return copy;
}

static void impersonated_user_is_forbidden(void **state)
{
    const struct cluster *cluster = *state;
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    struct err err;
    const struct kube_header_value headers[] = {{"Impersonate-User", "ann"},
                                                {"Impersonate-Group", "visitors"},
                                                {"Impersonate-Extra-why", "to try"}};
    struct kube_config config = cluster->config;
    config.impersonate = headers;
    config.impersonate_count = ARRAY_COUNT(headers);
    struct kube_client *client = cluster_connect(&config, false);
    const struct kube_ref ref = cluster_config_map(cluster, "any");
    CHECK_FAILS(kube_get(client, NULL, &ref, &body, &err), &err, ERR_RETRY, "Forbidden");
    CHECK_NOT_NULL(strstr(err.message, "\"ann\""));
    kube_client_free(client);
}

static void wrong_token_is_unauthorized(void **state)
{
    const struct cluster *cluster = *state;
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    struct err err;
    struct kube_config config = without_identity(&cluster->config);
    secret_set(&config.token, STR("wrong"));
    struct kube_client *client = cluster_connect(&config, false);
    CHECK_FAILS(kube_get_path(client, NULL, "/api/v1/namespaces", &body, &err), &err, ERR_RETRY,
                "Unauthorized");
    kube_client_free(client);
    secret_release(&config.token);
}

/* A token of the namespace's default service account; the caller frees. */
static char *request_token(const struct cluster *cluster)
{
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    struct err err;
    struct call call = {.deadline_ms = clock_monotonic_ms() + 30000};
    const struct kube_ref ref = {.resource = &SERVICE_ACCOUNTS,
                                 .namespace_ = cluster->namespace_,
                                 .name = "default",
                                 .subresource = "token"};
    for (;;) { /* the account is made a moment after its namespace */
        int result = kube_create(cluster->client, &call, &ref,
                                 STR("{\"apiVersion\":\"authentication.k8s.io/v1\","
                                     "\"kind\":\"TokenRequest\",\"spec\":{}}"),
                                 &body, &err);
        if (result == 0) {
            break;
        }
        CHECK_TEXT(err.reason, "NotFound");
        CHECK(cancel_sleep_ms(NULL, 50));
    }
    AUTO(json) json_t *answer = cluster_parse(&body);
    return xstrdup(js_text_or(answer, "/status/token", ""));
}

static void c12_in_cluster_account_works_and_its_token_is_refreshed(void **state)
{
    const struct cluster *cluster = *state;
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    struct err err;
    char *folder = folder_make();
    AUTO(free) char *token = request_token(cluster);
    free(folder_write(folder, "token", STR("no token that anyone knows"), 0600));
    free(folder_write(folder, "ca.crt", cluster->config.ca_pem, 0600));
    free(folder_write(folder, "namespace", str_from(cluster->namespace_), 0600));
    const char *host = strstr(cluster->config.server, "://") + 3;
    AUTO(free) char *address = xmemdup0(host, strcspn(host, ":"));
    setenv("KUBERNETES_SERVICE_HOST", address, 1);
    setenv("KUBERNETES_SERVICE_PORT", host + strcspn(host, ":") + 1, 1);
    struct kube_config config;
    CHECK_OK(kube_config_in_cluster(folder, &config, &err), &err);
    CHECK_TEXT(config.namespace_, cluster->namespace_);
    CHECK_TEXT(config.server, cluster->config.server);

    /* The credentials have read the wrong token when the right one comes: the 401 makes them read
     * again, within the same call. */
    struct kube_client *client = cluster_connect(&config, false);
    CHECK_FAILS(kube_get_path(client, NULL, "/api/v1/namespaces", &body, &err), &err, ERR_RETRY,
                "Unauthorized");
    free(folder_write(folder, "token", str_from(token), 0600));
    CHECK_FAILS(kube_get_path(client, NULL, "/api/v1/namespaces", &body, &err), &err, ERR_RETRY,
                "Forbidden");
    AUTO(buf) struct buf account = BUF(256);
    cluster_text(&account, "system:serviceaccount:%s:default", cluster->namespace_);
    CHECK_NOT_NULL(strstr(err.message, buf_text(&account)));
    kube_client_free(client);
    kube_config_release(&config);
    folder_remove(folder);
    unsetenv("KUBERNETES_SERVICE_HOST");
    unsetenv("KUBERNETES_SERVICE_PORT");
}

static void other_authority_is_not_trusted(void **state)
{
    const struct cluster *cluster = *state;
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    struct err err;
    struct pki_entity *stranger = pki_authority("stranger");
    struct kube_config config = without_identity(&cluster->config);
    config.ca_pem = pki_certificate(stranger);
    struct kube_client *client = cluster_connect(&config, false);
    CHECK_FAILS(kube_get_path(client, NULL, "/livez", &body, &err), &err, ERR_RETRY,
                "TLSVerificationFailed");
    kube_client_free(client);
    pki_free(stranger);
}

static void c09_server_name_of_the_configuration_is_verified(void **state)
{
    const struct cluster *cluster = *state;
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    struct err err;
    struct kube_config config = cluster->config;
    config.tls_server_name = "kubernetes.default.svc"; /* which its certificate has */
    struct kube_client *client = cluster_connect(&config, false);
    CHECK_OK(kube_get_path(client, NULL, "/livez", &body, &err), &err);
    kube_client_free(client);
    config.tls_server_name = "elsewhere.example";
    client = cluster_connect(&config, false);
    CHECK_FAILS(kube_get_path(client, NULL, "/livez", &body, &err), &err, ERR_RETRY,
                "TLSVerificationFailed");
    kube_client_free(client);
}

/* --- the fence and the call ------------------------------------------------------------------- */

static void c46_closed_fence_stops_writes_but_no_reads(void **state)
{
    const struct cluster *cluster = *state;
    AUTO(buf) struct buf json = BUF(BODY_MAX_BYTES);
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    struct err err;
    struct fence fence = {0};
    const struct call call = {.fence = &fence};
    const struct kube_ref collection = cluster_config_map(cluster, NULL);
    const struct kube_ref ref = cluster_config_map(cluster, "fenced");
    const struct str object = cluster_config_map_json(&json, "fenced", "one");
    CHECK_FAILS(kube_create(cluster->client, &call, &collection, object, NULL, &err), &err,
                ERR_CANCELED, "LeadershipLost");
    CHECK_FAILS(kube_apply(cluster->client, &call, &ref, "tester", object, NULL, &err), &err,
                ERR_CANCELED, "LeadershipLost");
    CHECK_FAILS(kube_patch(cluster->client, &call, &ref, KUBE_PATCH_MERGE, "t", object, NULL, &err),
                &err, ERR_CANCELED, "LeadershipLost");
    CHECK_FAILS(kube_replace(cluster->client, &call, &ref, object, NULL, &err), &err, ERR_CANCELED,
                "LeadershipLost");
    CHECK_FAILS(kube_delete(cluster->client, &call, &ref, NULL, NULL, &err), &err, ERR_CANCELED,
                "LeadershipLost");
    CHECK_FAILS(kube_get(cluster->client, &call, &ref, &body, &err), &err, ERR_NOT_FOUND,
                "NotFound");
    fence_open_until(&fence, INT64_MAX);
    CHECK_OK(kube_create(cluster->client, &call, &collection, object, NULL, &err), &err);
}

/* --- metrics ------------------------------------------------------------------------------------
 */

static void requests_are_counted_under_the_usual_names(void **state)
{
    const struct cluster *cluster = *state;
    AUTO(buf) struct buf page = BUF((size_t)4 * BODY_MAX_BYTES);
    AUTO(buf) struct buf line = BUF(1024);
    CHECK(metrics_render(&page));
    cluster_text(&line, "rest_client_requests_total{code=\"404\",method=\"GET\",host=\"%s\"} ",
                 strstr(cluster->config.server, "://") + 3);
    CHECK_NOT_NULL(strstr(buf_text(&page), buf_text(&line)));
    cluster_text(&line, "rest_client_request_duration_seconds_count{verb=\"PATCH\",host=\"%s\"} ",
                 strstr(cluster->config.server, "://") + 3);
    CHECK_NOT_NULL(strstr(buf_text(&page), buf_text(&line)));
}

int main(void)
{
    http_global_init();
    js_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(object_can_be_created_read_changed_and_deleted),
        cmocka_unit_test(c49_apply_makes_the_object_and_owns_its_fields),
        cmocka_unit_test(c51_creating_twice_is_already_exists),
        cmocka_unit_test(c51_replacing_a_stale_version_is_a_conflict),
        cmocka_unit_test(c30_deletion_keeps_to_its_preconditions),
        cmocka_unit_test(json_patch_is_guarded_by_its_test),
        cmocka_unit_test(invalid_object_is_terminal),
        cmocka_unit_test(unknown_kind_is_told_from_a_missing_object),
        cmocka_unit_test(c15_impossible_names_are_not_sent),
        cmocka_unit_test(collection_is_never_deleted),
        cmocka_unit_test(small_buffer_bounds_the_answer_but_not_the_error),
        cmocka_unit_test(impersonated_user_is_forbidden),
        cmocka_unit_test(wrong_token_is_unauthorized),
        cmocka_unit_test(c12_in_cluster_account_works_and_its_token_is_refreshed),
        cmocka_unit_test(other_authority_is_not_trusted),
        cmocka_unit_test(c09_server_name_of_the_configuration_is_verified),
        cmocka_unit_test(c46_closed_fence_stops_writes_but_no_reads),
        cmocka_unit_test(requests_are_counted_under_the_usual_names),
    };
    return cmocka_run_group_tests_name("kube_api", tests, cluster_set_up, cluster_tear_down);
}
