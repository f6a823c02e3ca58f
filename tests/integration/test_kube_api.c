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
#include "tests/support/folder.h"
#include "tests/support/pki.h"
#include "tests/support/relay.h"

enum { BODY_MAX_BYTES = 1 << 20, NAME_BYTES = 64 };

static const struct kube_resource GADGETS = {"nobody.example", "v1", "gadgets", "Gadget", true};
static const struct kube_resource SERVICE_ACCOUNTS = {"", "v1", "serviceaccounts", "ServiceAccount",
                                                      true};

struct fixture {
    struct kube_config config;
    struct kube_client *client;
    char namespace_[NAME_BYTES];
};

static struct kube_client *new_client(const struct kube_config *config, bool disable_http2)
{
    struct kube_client *client = NULL;
    struct err err;
    const struct kube_client_config client_config = {.name = "test",
                                                     .disable_http2 = disable_http2};
    CHECK_OK(kube_client_new(config, &client_config, &client, &err), &err);
    return client;
}

static struct str text_of(struct buf *buf, const char *format, ...) PRINTF_LIKE(2, 3);

static struct str text_of(struct buf *buf, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    buf_clear(buf);
    buf_vprintf(buf, format, arguments);
    va_end(arguments);
    return buf_str(buf);
}

static int group_set_up(void **state)
{
    struct fixture *fixture = xcalloc(1, sizeof(*fixture));
    char uuid[UUID_TEXT_BYTES];
    AUTO(buf) struct buf json = BUF(BODY_MAX_BYTES);
    struct err err;
    random_uuid(uuid);
    snprintf(fixture->namespace_, sizeof(fixture->namespace_), "api-%.8s", uuid);
    CHECK_OK(kube_config_load(NULL, NULL, &fixture->config, &err), &err);
    fixture->client = new_client(&fixture->config, false);
    const struct kube_ref namespaces = {.resource = &KUBE_NAMESPACES};
    CHECK_OK(kube_create(fixture->client, NULL, &namespaces,
                         text_of(&json,
                                 "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\","
                                 "\"metadata\":{\"name\":\"%s\"}}",
                                 fixture->namespace_),
                         NULL, &err),
             &err);
    *state = fixture;
    return 0;
}

static int group_tear_down(void **state)
{
    struct fixture *fixture = *state;
    struct err err;
    const struct kube_ref ref = {.resource = &KUBE_NAMESPACES, .name = fixture->namespace_};
    CHECK_OK(kube_delete(fixture->client, NULL, &ref, NULL, NULL, &err), &err);
    kube_client_free(fixture->client);
    kube_config_release(&fixture->config);
    free(fixture);
    return 0;
}

static struct kube_ref config_map(const struct fixture *fixture, const char *name)
{
    return (struct kube_ref){
        .resource = &KUBE_CONFIG_MAPS, .namespace_ = fixture->namespace_, .name = name};
}

static struct str config_map_json(struct buf *buf, const char *name, const char *value)
{
    return text_of(buf,
                   "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"%s\"},"
                   "\"data\":{\"key\":\"%s\"}}",
                   name, value);
}

static json_t *parsed(const struct buf *body)
{
    json_t *value = NULL;
    struct err err;
    CHECK_OK(js_parse(buf_str(body), BODY_MAX_BYTES, &value, &err), &err);
    return value;
}

/* Make a ConfigMap; returns its tree, which the caller decrefs. */
static json_t *create(const struct fixture *fixture, const char *name, const char *value)
{
    AUTO(buf) struct buf json = BUF(BODY_MAX_BYTES);
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    struct err err;
    const struct kube_ref collection = config_map(fixture, NULL);
    CHECK_OK(kube_create(fixture->client, NULL, &collection, config_map_json(&json, name, value),
                         &body, &err),
             &err);
    return parsed(&body);
}

static json_t *fetch(const struct fixture *fixture, const char *name)
{
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    struct err err;
    const struct kube_ref ref = config_map(fixture, name);
    CHECK_OK(kube_get(fixture->client, NULL, &ref, &body, &err), &err);
    return parsed(&body);
}

/* --- verbs ------------------------------------------------------------------------------------ */

static void object_can_be_created_read_changed_and_deleted(void **state)
{
    const struct fixture *fixture = *state;
    struct err err;
    const struct kube_ref ref = config_map(fixture, "life");
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    AUTO(json) json_t *made = create(fixture, "life", "one");
    CHECK_TEXT(js_text_or(made, "/data/key", ""), "one");

    CHECK_OK(kube_patch(fixture->client, NULL, &ref, KUBE_PATCH_MERGE, "tester",
                        STR("{\"data\":{\"key\":\"two\"}}"), &body, &err),
             &err);
    AUTO(json) json_t *patched = parsed(&body);
    CHECK_TEXT(js_text_or(patched, "/data/key", ""), "two");

    json_object_set_new(json_object_get(patched, "data"), "key", json_string("three"));
    AUTO(free) char *whole = js_print(patched);
    CHECK_OK(kube_replace(fixture->client, NULL, &ref, str_from(whole), NULL, &err), &err);
    AUTO(json) json_t *replaced = fetch(fixture, "life");
    CHECK_TEXT(js_text_or(replaced, "/data/key", ""), "three");

    CHECK_OK(
        kube_delete(fixture->client, NULL, &ref, js_text_or(made, "/metadata/uid", ""), NULL, &err),
        &err);
    CHECK_FAILS(kube_get(fixture->client, NULL, &ref, &body, &err), &err, ERR_NOT_FOUND,
                "NotFound");
    CHECK_TEXT(err.code, "404");
}

static void apply_makes_the_object_and_owns_its_fields(void **state)
{
    const struct fixture *fixture = *state;
    AUTO(buf) struct buf json = BUF(BODY_MAX_BYTES);
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    struct err err;
    const struct kube_ref ref = config_map(fixture, "applied");
    CHECK_OK(kube_apply(fixture->client, NULL, &ref, "tester",
                        config_map_json(&json, "applied", "ours"), &body, &err),
             &err);
    AUTO(json) json_t *made = parsed(&body);
    CHECK_TEXT(js_text_or(made, "/metadata/managedFields/0/manager", ""), "tester");
    CHECK_TEXT(js_text_or(made, "/metadata/managedFields/0/operation", ""), "Apply");

    /* Somebody else changes our field and adds one of their own: the next apply takes back the one
     * and leaves the other. */
    CHECK_OK(kube_patch(fixture->client, NULL, &ref, KUBE_PATCH_MERGE, "somebody",
                        STR("{\"data\":{\"key\":\"theirs\",\"other\":\"theirs\"}}"), NULL, &err),
             &err);
    CHECK_OK(kube_apply(fixture->client, NULL, &ref, "tester",
                        config_map_json(&json, "applied", "ours"), &body, &err),
             &err);
    AUTO(json) json_t *applied = parsed(&body);
    CHECK_TEXT(js_text_or(applied, "/data/key", ""), "ours");
    CHECK_TEXT(js_text_or(applied, "/data/other", ""), "theirs");

    /* The same intent again changes nothing. */
    CHECK_OK(kube_apply(fixture->client, NULL, &ref, "tester",
                        config_map_json(&json, "applied", "ours"), &body, &err),
             &err);
    AUTO(json) json_t *again = parsed(&body);
    CHECK_TEXT(js_text_or(again, "/metadata/resourceVersion", ""),
               js_text_or(applied, "/metadata/resourceVersion", "-"));
}

static void creating_twice_is_already_exists(void **state)
{
    const struct fixture *fixture = *state;
    AUTO(buf) struct buf json = BUF(BODY_MAX_BYTES);
    struct err err;
    const struct kube_ref collection = config_map(fixture, NULL);
    AUTO(json) json_t *made = create(fixture, "twice", "one");
    CHECK_FAILS(kube_create(fixture->client, NULL, &collection,
                            config_map_json(&json, "twice", "two"), NULL, &err),
                &err, ERR_CONFLICT, "AlreadyExists");
}

static void replacing_a_stale_version_is_a_conflict(void **state)
{
    const struct fixture *fixture = *state;
    struct err err;
    const struct kube_ref ref = config_map(fixture, "stale");
    AUTO(json) json_t *made = create(fixture, "stale", "one");
    CHECK_OK(kube_patch(fixture->client, NULL, &ref, KUBE_PATCH_MERGE, "tester",
                        STR("{\"data\":{\"key\":\"two\"}}"), NULL, &err),
             &err);
    AUTO(free) char *whole = js_print(made);
    CHECK_FAILS(kube_replace(fixture->client, NULL, &ref, str_from(whole), NULL, &err), &err,
                ERR_CONFLICT, "Conflict");
    CHECK_TEXT(err.code, "409");
}

static void deletion_keeps_to_its_preconditions(void **state)
{
    const struct fixture *fixture = *state;
    struct err err;
    const struct kube_ref ref = config_map(fixture, "guarded");
    AUTO(json) json_t *made = create(fixture, "guarded", "one");
    const char *uid = js_text_or(made, "/metadata/uid", "");
    CHECK_FAILS(kube_delete(fixture->client, NULL, &ref, "00000000-0000-0000-0000-000000000000",
                            NULL, &err),
                &err, ERR_CONFLICT, "Conflict");
    CHECK_FAILS(kube_delete(fixture->client, NULL, &ref, uid, "1", &err), &err, ERR_CONFLICT,
                "Conflict");
    AUTO(json) json_t *alive = fetch(fixture, "guarded");
    CHECK_OK(kube_delete(fixture->client, NULL, &ref, uid,
                         js_text_or(alive, "/metadata/resourceVersion", ""), &err),
             &err);
    CHECK_OK(kube_delete(fixture->client, NULL, &ref, uid, NULL, &err), &err); /* gone is fine */
}

static void json_patch_is_guarded_by_its_test(void **state)
{
    const struct fixture *fixture = *state;
    struct err err;
    const struct kube_ref ref = config_map(fixture, "tested");
    AUTO(json) json_t *made = create(fixture, "tested", "one");
    CHECK_FAILS(kube_patch(fixture->client, NULL, &ref, KUBE_PATCH_JSON, "tester",
                           STR("[{\"op\":\"test\",\"path\":\"/data/key\",\"value\":\"two\"},"
                               "{\"op\":\"replace\",\"path\":\"/data/key\",\"value\":\"three\"}]"),
                           NULL, &err),
                &err, ERR_CONFLICT, "Conflict");
    CHECK_FAILS(kube_patch(fixture->client, NULL, &ref, KUBE_PATCH_JSON, "tester",
                           STR("[{\"op\":\"remove\",\"path\":\"/data/nothing\"}]"), NULL, &err),
                &err, ERR_CONFLICT, "Conflict");
    CHECK_FAILS(kube_patch(fixture->client, NULL, &ref, KUBE_PATCH_JSON, "tester",
                           STR("[{\"op\":\"add\",\"path\":\"/metadata/labels\","
                               "\"value\":{\"a\":\"not a label!\"}}]"),
                           NULL, &err),
                &err, ERR_TERMINAL, "Invalid");
    CHECK_OK(kube_patch(fixture->client, NULL, &ref, KUBE_PATCH_JSON, "tester",
                        STR("[{\"op\":\"test\",\"path\":\"/data/key\",\"value\":\"one\"},"
                            "{\"op\":\"replace\",\"path\":\"/data/key\",\"value\":\"two\"}]"),
                        NULL, &err),
             &err);
    AUTO(json) json_t *patched = fetch(fixture, "tested");
    CHECK_TEXT(js_text_or(patched, "/data/key", ""), "two");
}

/* --- errors ----------------------------------------------------------------------------------- */

static void invalid_object_is_terminal(void **state)
{
    const struct fixture *fixture = *state;
    AUTO(buf) struct buf json = BUF(BODY_MAX_BYTES);
    struct err err;
    const struct kube_ref collection = config_map(fixture, NULL);
    CHECK_FAILS(kube_create(fixture->client, NULL, &collection,
                            config_map_json(&json, "Not_A_Name", "x"), NULL, &err),
                &err, ERR_TERMINAL, "Invalid");
    CHECK_TEXT(err.code, "422");
    CHECK_NOT_NULL(strstr(err.message, "Not_A_Name"));
    CHECK_FAILS(kube_create(fixture->client, NULL, &collection, STR("{not json"), NULL, &err), &err,
                ERR_TERMINAL, "Invalid");
}

static void unknown_kind_is_told_from_a_missing_object(void **state)
{
    const struct fixture *fixture = *state;
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    struct err err;
    const struct kube_ref ref = {
        .resource = &GADGETS, .namespace_ = fixture->namespace_, .name = "one"};
    CHECK_FAILS(kube_get(fixture->client, NULL, &ref, &body, &err), &err, ERR_NOT_FOUND,
                "NotServed");
    CHECK_FAILS(kube_delete(fixture->client, NULL, &ref, NULL, NULL, &err), &err, ERR_NOT_FOUND,
                "NotServed");
}

static void impossible_names_are_not_sent(void **state)
{
    const struct fixture *fixture = *state;
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    AUTO(free) char *long_name = xmalloc(255);
    memset(long_name, 'a', 254);
    long_name[254] = '\0';
    const char *const names[] = {"", ".", "..", "a/b", "../secrets", "a%2fb", long_name};
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        struct err err;
        const struct kube_ref ref = config_map(fixture, names[i]);
        CHECK_FAILS(kube_get(fixture->client, NULL, &ref, &body, &err), &err, ERR_TERMINAL,
                    "InvalidName");
    }
    const char *const odd[] = {"a?b", "a#b", "a b", "ü", "a&b=c;d"};
    for (size_t i = 0; i < ARRAY_COUNT(odd); i++) { /* these reach the server as what they are */
        struct err err;
        const struct kube_ref ref = config_map(fixture, odd[i]);
        CHECK_FAILS(kube_get(fixture->client, NULL, &ref, &body, &err), &err, ERR_NOT_FOUND,
                    "NotFound");
        CHECK_NOT_NULL(strstr(err.message, odd[i]));
    }
    long_name[253] = '\0';
    struct err err;
    const struct kube_ref longest = config_map(fixture, long_name);
    CHECK_FAILS(kube_get(fixture->client, NULL, &longest, &body, &err), &err, ERR_NOT_FOUND,
                "NotFound");
}

static void collection_is_never_deleted(void **state)
{
    const struct fixture *fixture = *state;
    struct err err;
    const struct kube_ref collection = config_map(fixture, NULL);
    CHECK_FAILS(kube_delete(fixture->client, NULL, &collection, NULL, NULL, &err), &err,
                ERR_TERMINAL, "InvalidName");
}

static void small_buffer_bounds_the_answer_but_not_the_error(void **state)
{
    const struct fixture *fixture = *state;
    AUTO(buf) struct buf small = BUF(64);
    struct err err;
    AUTO(json) json_t *made = create(fixture, "small", "one");
    const struct kube_ref ref = config_map(fixture, "small");
    const struct kube_ref missing = config_map(fixture, "missing");
    CHECK_FAILS(kube_get(fixture->client, NULL, &ref, &small, &err), &err, ERR_TERMINAL,
                "ResponseTooLarge");
    CHECK_FAILS(kube_get(fixture->client, NULL, &missing, &small, &err), &err, ERR_NOT_FOUND,
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
    const struct fixture *fixture = *state;
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    struct err err;
    const struct kube_header_value headers[] = {{"Impersonate-User", "ann"},
                                                {"Impersonate-Group", "visitors"},
                                                {"Impersonate-Extra-why", "to try"}};
    struct kube_config config = fixture->config;
    config.impersonate = headers;
    config.impersonate_count = ARRAY_COUNT(headers);
    struct kube_client *client = new_client(&config, false);
    const struct kube_ref ref = config_map(fixture, "any");
    CHECK_FAILS(kube_get(client, NULL, &ref, &body, &err), &err, ERR_RETRY, "Forbidden");
    CHECK_NOT_NULL(strstr(err.message, "\"ann\""));
    kube_client_free(client);
}

static void wrong_token_is_unauthorized(void **state)
{
    const struct fixture *fixture = *state;
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    struct err err;
    struct kube_config config = without_identity(&fixture->config);
    secret_set(&config.token, STR("wrong"));
    struct kube_client *client = new_client(&config, false);
    CHECK_FAILS(kube_get_path(client, NULL, "/api/v1/namespaces", &body, &err), &err, ERR_RETRY,
                "Unauthorized");
    kube_client_free(client);
    secret_release(&config.token);
}

/* A token of the namespace's default service account; the caller frees. */
static char *request_token(const struct fixture *fixture)
{
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    struct err err;
    struct call call = {.deadline_ms = clock_monotonic_ms() + 30000};
    const struct kube_ref ref = {.resource = &SERVICE_ACCOUNTS,
                                 .namespace_ = fixture->namespace_,
                                 .name = "default",
                                 .subresource = "token"};
    for (;;) { /* the account is made a moment after its namespace */
        int result = kube_create(fixture->client, &call, &ref,
                                 STR("{\"apiVersion\":\"authentication.k8s.io/v1\","
                                     "\"kind\":\"TokenRequest\",\"spec\":{}}"),
                                 &body, &err);
        if (result == 0) {
            break;
        }
        CHECK_TEXT(err.reason, "NotFound");
        CHECK(cancel_sleep_ms(NULL, 50));
    }
    AUTO(json) json_t *answer = parsed(&body);
    return xstrdup(js_text_or(answer, "/status/token", ""));
}

static void in_cluster_account_works_and_its_token_is_refreshed(void **state)
{
    const struct fixture *fixture = *state;
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    struct err err;
    char *folder = folder_make();
    AUTO(free) char *token = request_token(fixture);
    free(folder_write(folder, "token", STR("no token that anyone knows"), 0600));
    free(folder_write(folder, "ca.crt", fixture->config.ca_pem, 0600));
    free(folder_write(folder, "namespace", str_from(fixture->namespace_), 0600));
    const char *host = strstr(fixture->config.server, "://") + 3;
    AUTO(free) char *address = xmemdup0(host, strcspn(host, ":"));
    setenv("KUBERNETES_SERVICE_HOST", address, 1);
    setenv("KUBERNETES_SERVICE_PORT", host + strcspn(host, ":") + 1, 1);
    struct kube_config config;
    CHECK_OK(kube_config_in_cluster(folder, &config, &err), &err);
    CHECK_TEXT(config.namespace_, fixture->namespace_);
    CHECK_TEXT(config.server, fixture->config.server);

    /* The credentials have read the wrong token when the right one comes: the 401 makes them read
     * again, within the same call. */
    struct kube_client *client = new_client(&config, false);
    CHECK_FAILS(kube_get_path(client, NULL, "/api/v1/namespaces", &body, &err), &err, ERR_RETRY,
                "Unauthorized");
    free(folder_write(folder, "token", str_from(token), 0600));
    CHECK_FAILS(kube_get_path(client, NULL, "/api/v1/namespaces", &body, &err), &err, ERR_RETRY,
                "Forbidden");
    AUTO(buf) struct buf account = BUF(256);
    text_of(&account, "system:serviceaccount:%s:default", fixture->namespace_);
    CHECK_NOT_NULL(strstr(err.message, buf_text(&account)));
    kube_client_free(client);
    kube_config_release(&config);
    folder_remove(folder);
    unsetenv("KUBERNETES_SERVICE_HOST");
    unsetenv("KUBERNETES_SERVICE_PORT");
}

static void other_authority_is_not_trusted(void **state)
{
    const struct fixture *fixture = *state;
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    struct err err;
    struct pki_entity *stranger = pki_authority("stranger");
    struct kube_config config = without_identity(&fixture->config);
    config.ca_pem = pki_certificate(stranger);
    struct kube_client *client = new_client(&config, false);
    CHECK_FAILS(kube_get_path(client, NULL, "/livez", &body, &err), &err, ERR_RETRY,
                "TLSVerificationFailed");
    kube_client_free(client);
    pki_free(stranger);
}

static void server_name_of_the_configuration_is_verified(void **state)
{
    const struct fixture *fixture = *state;
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    struct err err;
    struct kube_config config = fixture->config;
    config.tls_server_name = "kubernetes.default.svc"; /* which its certificate has */
    struct kube_client *client = new_client(&config, false);
    CHECK_OK(kube_get_path(client, NULL, "/livez", &body, &err), &err);
    kube_client_free(client);
    config.tls_server_name = "elsewhere.example";
    client = new_client(&config, false);
    CHECK_FAILS(kube_get_path(client, NULL, "/livez", &body, &err), &err, ERR_RETRY,
                "TLSVerificationFailed");
    kube_client_free(client);
}

/* --- the fence and the call ------------------------------------------------------------------- */

static void closed_fence_stops_writes_but_no_reads(void **state)
{
    const struct fixture *fixture = *state;
    AUTO(buf) struct buf json = BUF(BODY_MAX_BYTES);
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    struct err err;
    struct fence fence = {0};
    const struct call call = {.fence = &fence};
    const struct kube_ref collection = config_map(fixture, NULL);
    const struct kube_ref ref = config_map(fixture, "fenced");
    const struct str object = config_map_json(&json, "fenced", "one");
    CHECK_FAILS(kube_create(fixture->client, &call, &collection, object, NULL, &err), &err,
                ERR_CANCELED, "LeadershipLost");
    CHECK_FAILS(kube_apply(fixture->client, &call, &ref, "tester", object, NULL, &err), &err,
                ERR_CANCELED, "LeadershipLost");
    CHECK_FAILS(kube_patch(fixture->client, &call, &ref, KUBE_PATCH_MERGE, "t", object, NULL, &err),
                &err, ERR_CANCELED, "LeadershipLost");
    CHECK_FAILS(kube_replace(fixture->client, &call, &ref, object, NULL, &err), &err, ERR_CANCELED,
                "LeadershipLost");
    CHECK_FAILS(kube_delete(fixture->client, &call, &ref, NULL, NULL, &err), &err, ERR_CANCELED,
                "LeadershipLost");
    CHECK_FAILS(kube_get(fixture->client, &call, &ref, &body, &err), &err, ERR_NOT_FOUND,
                "NotFound");
    fence_open_until(&fence, INT64_MAX);
    CHECK_OK(kube_create(fixture->client, &call, &collection, object, NULL, &err), &err);
}

/* --- streams ---------------------------------------------------------------------------------- */

struct stream {
    struct buf seen;
    pthread_mutex_t lock;
    pthread_cond_t changed;
};

static void stream_init(struct stream *stream)
{
    *stream = (struct stream){.seen = BUF(BODY_MAX_BYTES)};
    pthread_mutex_init(&stream->lock, NULL);
    pthread_cond_init(&stream->changed, NULL);
}

static int on_data(void *context, struct str data, struct err *err)
{
    (void)err;
    struct stream *stream = context;
    pthread_mutex_lock(&stream->lock);
    buf_append_str(&stream->seen, data);
    pthread_cond_broadcast(&stream->changed);
    pthread_mutex_unlock(&stream->lock);
    return 0;
}

static void watch_streams_objects_or_their_metadata(void **state)
{
    const struct fixture *fixture = *state;
    const struct kube_ref collection = config_map(fixture, NULL);
    AUTO(json) json_t *made = create(fixture, "watched", "data-of-the-object");
    for (int metadata_only = 0; metadata_only <= 1; metadata_only++) {
        struct stream stream;
        struct err err;
        stream_init(&stream);
        const struct kube_stream request = {.query = "watch=1&timeoutSeconds=1",
                                            .metadata_only = metadata_only != 0,
                                            .timeout_ms = 20000,
                                            .on_data = on_data,
                                            .on_data_context = &stream};
        CHECK_OK(kube_stream(fixture->client, NULL, &collection, &request, &err), &err);
        CHECK_NOT_NULL(strstr(buf_text(&stream.seen), "{\"type\":\"ADDED\""));
        CHECK_NOT_NULL(strstr(buf_text(&stream.seen), "\"name\":\"watched\""));
        bool has_data = strstr(buf_text(&stream.seen), "data-of-the-object") != NULL;
        bool is_partial = strstr(buf_text(&stream.seen), "PartialObjectMetadata") != NULL;
        CHECK_INT(has_data, metadata_only == 0);
        CHECK_INT(is_partial, metadata_only == 1);
        buf_release(&stream.seen);
    }
}

static void list_streams_metadata_in_one_object(void **state)
{
    const struct fixture *fixture = *state;
    struct stream stream;
    struct err err;
    const struct kube_ref collection = config_map(fixture, NULL);
    AUTO(json) json_t *made = create(fixture, "listed", "data-of-the-object");
    stream_init(&stream);
    const struct kube_stream request = {.query = "limit=500",
                                        .metadata_only = true,
                                        .on_data = on_data,
                                        .on_data_context = &stream};
    CHECK_OK(kube_stream(fixture->client, NULL, &collection, &request, &err), &err);
    AUTO(json) json_t *list = parsed(&stream.seen);
    CHECK_TEXT(js_text_or(list, "/kind", ""), "PartialObjectMetadataList");
    CHECK_NULL(strstr(buf_text(&stream.seen), "data-of-the-object"));
    buf_release(&stream.seen);
}

static void stream_from_a_compacted_version_is_expired(void **state)
{
    const struct fixture *fixture = *state;
    struct stream stream;
    struct err err;
    const struct kube_ref collection = config_map(fixture, NULL);
    stream_init(&stream);
    const struct kube_stream request = {
        .query = "watch=1&timeoutSeconds=1&resourceVersion=1&resourceVersionMatch=NotOlderThan",
        .on_data = on_data,
        .on_data_context = &stream};
    CHECK_FAILS(kube_stream(fixture->client, NULL, &collection, &request, &err), &err, ERR_TERMINAL,
                "Invalid"); /* a match without sendInitialEvents */
    const struct kube_stream future = {.query = "resourceVersion=999999999999&limit=1",
                                       .on_data = on_data,
                                       .on_data_context = &stream};
    CHECK_FAILS(kube_stream(fixture->client, NULL, &collection, &future, &err), &err, ERR_RETRY,
                "ResourceVersionTooLarge");
    CHECK(err.retry_after_ms > 0);
    buf_release(&stream.seen);
}

/* --- connections ------------------------------------------------------------------------------ */

/* The same cluster behind a relay. config.server is in `url`, which the caller frees. */
static struct relay *relay_to(const struct fixture *fixture, struct kube_config *config, char **url)
{
    const char *port = strrchr(fixture->config.server, ':') + 1;
    int64_t number = 0;
    CHECK(str_to_int64(str_from(port), &number));
    struct relay *relay = relay_start((int)number);
    *config = fixture->config;
    *url = xasprintf("https://127.0.0.1:%d", relay_port(relay));
    config->server = *url;
    return relay;
}

enum { CALLERS = 12, CALLS_EACH = 20, STREAMS = 6 };

struct caller {
    struct kube_client *client;
    struct kube_ref ref;
    int failures;
};

static void *call_often(void *context)
{
    struct caller *caller = context;
    for (int i = 0; i < CALLS_EACH; i++) {
        AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
        struct err err;
        caller->failures += kube_get(caller->client, NULL, &caller->ref, &body, &err) != 0;
    }
    return NULL;
}

struct watcher {
    struct kube_client *client;
    struct kube_ref collection;
    struct cancel *cancel;
    struct stream stream;
    int64_t idle_timeout_ms;
    int result;
    struct err err;
};

static void *watch_until_end(void *context)
{
    struct watcher *watcher = context;
    const struct call call = {.cancel = watcher->cancel};
    const struct kube_stream request = {.query = "watch=1&timeoutSeconds=300",
                                        .timeout_ms = -1,
                                        .idle_timeout_ms = watcher->idle_timeout_ms,
                                        .on_data = on_data,
                                        .on_data_context = &watcher->stream};
    watcher->result =
        kube_stream(watcher->client, &call, &watcher->collection, &request, &watcher->err);
    return NULL;
}

static void await_first_bytes(struct stream *stream)
{
    pthread_mutex_lock(&stream->lock);
    while (stream->seen.len == 0) {
        pthread_cond_wait(&stream->changed, &stream->lock);
    }
    pthread_mutex_unlock(&stream->lock);
}

static void streams_and_calls_share_a_connection(void **state)
{
    const struct fixture *fixture = *state;
    AUTO(json) json_t *made = create(fixture, "shared", "one");
    AUTO(free) char *url = NULL;
    struct kube_config config;
    struct relay *relay = relay_to(fixture, &config, &url);
    struct kube_client *client = new_client(&config, false);
    struct cancel *cancel = cancel_new(NULL);
    struct watcher watchers[STREAMS];
    struct caller callers[CALLERS];
    pthread_t watching[STREAMS];
    pthread_t calling[CALLERS];
    for (size_t i = 0; i < STREAMS; i++) {
        watchers[i] = (struct watcher){
            .client = client, .collection = config_map(fixture, NULL), .cancel = cancel};
        stream_init(&watchers[i].stream);
        CHECK_INT(pthread_create(&watching[i], NULL, watch_until_end, &watchers[i]), 0);
    }
    for (size_t i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){.client = client, .ref = config_map(fixture, "shared")};
        CHECK_INT(pthread_create(&calling[i], NULL, call_often, &callers[i]), 0);
    }
    for (size_t i = 0; i < CALLERS; i++) {
        CHECK_INT(pthread_join(calling[i], NULL), 0);
        CHECK_INT(callers[i].failures, 0);
    }
    for (size_t i = 0; i < STREAMS; i++) {
        await_first_bytes(&watchers[i].stream);
    }
    CHECK_INT(relay_accepted(relay), 1);
    cancel_trigger(cancel);
    for (size_t i = 0; i < STREAMS; i++) {
        CHECK_INT(pthread_join(watching[i], NULL), 0);
        CHECK_FAILS(watchers[i].result, &watchers[i].err, ERR_CANCELED, "Canceled");
        buf_release(&watchers[i].stream.seen);
    }
    /* Ended streams took nothing along: the connection goes on. */
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    struct err err;
    CHECK_OK(kube_get_path(client, NULL, "/livez", &body, &err), &err);
    CHECK_INT(relay_accepted(relay), 1);
    kube_client_free(client);
    relay_stop(relay);
    cancel_free(cancel);
}

static void http2_can_be_switched_off(void **state)
{
    const struct fixture *fixture = *state;
    AUTO(json) json_t *made = create(fixture, "plain", "one");
    struct kube_client *client = new_client(&fixture->config, true);
    struct caller callers[CALLERS];
    pthread_t calling[CALLERS];
    for (size_t i = 0; i < CALLERS; i++) {
        callers[i] = (struct caller){.client = client, .ref = config_map(fixture, "plain")};
        CHECK_INT(pthread_create(&calling[i], NULL, call_often, &callers[i]), 0);
    }
    for (size_t i = 0; i < CALLERS; i++) {
        CHECK_INT(pthread_join(calling[i], NULL), 0);
        CHECK_INT(callers[i].failures, 0);
    }
    kube_client_free(client);
}

static void silent_connection_is_given_up_for_a_new_one(void **state)
{
    const struct fixture *fixture = *state;
    AUTO(json) json_t *made = create(fixture, "silent", "one");
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    AUTO(free) char *url = NULL;
    struct kube_config config;
    struct err err;
    pthread_t thread;
    struct relay *relay = relay_to(fixture, &config, &url);
    struct kube_client *client = new_client(&config, false);
    struct watcher watcher = {
        .client = client, .collection = config_map(fixture, NULL), .idle_timeout_ms = 1000};
    stream_init(&watcher.stream);
    CHECK_INT(pthread_create(&thread, NULL, watch_until_end, &watcher), 0);
    await_first_bytes(&watcher.stream);
    CHECK_OK(kube_get_path(client, NULL, "/livez", &body, &err), &err);
    CHECK_INT(relay_accepted(relay), 1);
    relay_freeze(relay);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_FAILS(watcher.result, &watcher.err, ERR_RETRY, "ConnectionSilent");
    int64_t begun_ms = clock_monotonic_ms();
    CHECK_OK(kube_get_path(client, NULL, "/livez", &body, &err), &err);
    CHECK(clock_monotonic_ms() - begun_ms < 2000);
    CHECK_INT(relay_accepted(relay), 2);
    buf_release(&watcher.stream.seen);
    kube_client_free(client);
    relay_stop(relay);
}

static void late_call_takes_its_connection_with_it(void **state)
{
    const struct fixture *fixture = *state;
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    AUTO(free) char *url = NULL;
    struct kube_config config;
    struct err err;
    struct relay *relay = relay_to(fixture, &config, &url);
    struct kube_client *client = new_client(&config, false);
    CHECK_OK(kube_get_path(client, NULL, "/livez", &body, &err), &err);
    relay_freeze(relay);
    const struct call call = {.deadline_ms = clock_monotonic_ms() + 1200};
    CHECK_FAILS(kube_get_path(client, &call, "/livez", &body, &err), &err, ERR_RETRY,
                "DeadlineExceeded");
    CHECK_OK(kube_get_path(client, NULL, "/livez", &body, &err), &err);
    CHECK_INT(relay_accepted(relay), 2);
    kube_client_free(client);
    relay_stop(relay);
}

static void reset_connection_costs_a_read_nothing(void **state)
{
    const struct fixture *fixture = *state;
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    AUTO(free) char *url = NULL;
    struct kube_config config;
    struct err err;
    pthread_t thread;
    struct relay *relay = relay_to(fixture, &config, &url);
    struct kube_client *client = new_client(&config, false);
    AUTO(json) json_t *made = create(fixture, "reset", "one");
    struct watcher watcher = {.client = client, .collection = config_map(fixture, NULL)};
    stream_init(&watcher.stream);
    CHECK_INT(pthread_create(&thread, NULL, watch_until_end, &watcher), 0);
    await_first_bytes(&watcher.stream);
    relay_reset(relay);
    CHECK_OK(kube_get_path(client, NULL, "/livez", &body, &err), &err);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_FAILS(watcher.result, &watcher.err, ERR_RETRY, "ConnectionLost");
    buf_release(&watcher.stream.seen);
    kube_client_free(client);
    relay_stop(relay);
}

static void requests_are_counted_under_the_usual_names(void **state)
{
    const struct fixture *fixture = *state;
    AUTO(buf) struct buf page = BUF(4 * BODY_MAX_BYTES);
    AUTO(buf) struct buf line = BUF(1024);
    (void)fixture;
    CHECK(metrics_render(&page));
    text_of(&line, "rest_client_requests_total{code=\"404\",method=\"GET\",host=\"%s\"} ",
            strstr(fixture->config.server, "://") + 3);
    CHECK_NOT_NULL(strstr(buf_text(&page), buf_text(&line)));
    text_of(&line, "rest_client_request_duration_seconds_count{verb=\"PATCH\",host=\"%s\"} ",
            strstr(fixture->config.server, "://") + 3);
    CHECK_NOT_NULL(strstr(buf_text(&page), buf_text(&line)));
}

int main(void)
{
    http_global_init();
    js_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(object_can_be_created_read_changed_and_deleted),
        cmocka_unit_test(apply_makes_the_object_and_owns_its_fields),
        cmocka_unit_test(creating_twice_is_already_exists),
        cmocka_unit_test(replacing_a_stale_version_is_a_conflict),
        cmocka_unit_test(deletion_keeps_to_its_preconditions),
        cmocka_unit_test(json_patch_is_guarded_by_its_test),
        cmocka_unit_test(invalid_object_is_terminal),
        cmocka_unit_test(unknown_kind_is_told_from_a_missing_object),
        cmocka_unit_test(impossible_names_are_not_sent),
        cmocka_unit_test(collection_is_never_deleted),
        cmocka_unit_test(small_buffer_bounds_the_answer_but_not_the_error),
        cmocka_unit_test(impersonated_user_is_forbidden),
        cmocka_unit_test(wrong_token_is_unauthorized),
        cmocka_unit_test(in_cluster_account_works_and_its_token_is_refreshed),
        cmocka_unit_test(other_authority_is_not_trusted),
        cmocka_unit_test(server_name_of_the_configuration_is_verified),
        cmocka_unit_test(closed_fence_stops_writes_but_no_reads),
        cmocka_unit_test(watch_streams_objects_or_their_metadata),
        cmocka_unit_test(list_streams_metadata_in_one_object),
        cmocka_unit_test(stream_from_a_compacted_version_is_expired),
        cmocka_unit_test(streams_and_calls_share_a_connection),
        cmocka_unit_test(http2_can_be_switched_off),
        cmocka_unit_test(silent_connection_is_given_up_for_a_new_one),
        cmocka_unit_test(late_call_takes_its_connection_with_it),
        cmocka_unit_test(reset_connection_costs_a_read_nothing),
        cmocka_unit_test(requests_are_counted_under_the_usual_names),
    };
    return cmocka_run_group_tests_name("kube_api", tests, group_set_up, group_tear_down);
}
