#include "tests/integration/cluster.h"

#include <stdlib.h>

#include "controller/base/metrics.h"
#include "tests/check.h"

enum { BODY_BYTES_MAX = 16 * 1024 * 1024 };

int cluster_set_up(void **state)
{
    struct cluster *cluster = xcalloc(1, sizeof(*cluster));
    char uuid[UUID_TEXT_BYTES];
    struct err err;

    CHECK_OK(kube_config_load(NULL, NULL, &cluster->config, &err), &err);
    cluster->client = cluster_client(cluster, "test");
    random_uuid(uuid);
    cluster->namespace_ = xasprintf("test-%.8s", uuid);
    cluster_create(cluster, &KUBE_NAMESPACES,
                   "{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"%s\"}}",
                   cluster->namespace_);
    *state = cluster;
    return 0;
}

int cluster_tear_down(void **state)
{
    struct cluster *cluster = *state;

    cluster_delete(cluster, &KUBE_NAMESPACES, cluster->namespace_);
    kube_client_free(cluster->client);
    kube_config_release(&cluster->config);
    free(cluster->namespace_);
    free(cluster);
    return 0;
}

struct kube_client *cluster_client(struct cluster *cluster, const char *name)
{
    const struct kube_client_config config = {.name = name};
    struct kube_client *client = NULL;
    struct err err;

    CHECK_OK(kube_client_new(&cluster->config, &config, &client, &err), &err);
    return client;
}

int cluster_port(const struct cluster *cluster)
{
    const char *colon = strrchr(cluster->config.server, ':');

    CHECK_NOT_NULL(colon);
    return (int)strtol(colon + 1, NULL, 10);
}

struct kube_client *cluster_client_at(struct cluster *cluster, int port,
                                      struct kube_config *ret_config)
{
    const struct kube_client_config config = {.name = "relayed"};
    struct kube_client *client = NULL;
    struct err err;

    CHECK_OK(kube_config_load(NULL, NULL, ret_config, &err), &err);
    ret_config->server = arena_printf(&ret_config->arena, "https://127.0.0.1:%d", port);
    CHECK_OK(kube_client_new(ret_config, &config, &client, &err), &err);
    (void)cluster;
    return client;
}

static struct kube_ref ref_of(const struct cluster *cluster, const struct kube_resource *resource,
                              const char *name)
{
    return (struct kube_ref){.resource = resource,
                             .namespace_ = resource->namespaced ? cluster->namespace_ : NULL,
                             .name = name};
}

void cluster_create(struct cluster *cluster, const struct kube_resource *resource,
                    const char *format, ...)
{
    const struct kube_ref ref = ref_of(cluster, resource, NULL);
    AUTO(buf) struct buf json = BUF(BODY_BYTES_MAX);
    va_list arguments;
    struct err err;

    va_start(arguments, format);
    buf_vprintf(&json, format, arguments);
    va_end(arguments);
    CHECK_OK(kube_create(cluster->client, NULL, &ref, buf_str(&json), NULL, &err), &err);
}

void cluster_delete(struct cluster *cluster, const struct kube_resource *resource, const char *name)
{
    const struct kube_ref ref = ref_of(cluster, resource, name);
    struct err err;

    CHECK_OK(kube_delete(cluster->client, NULL, &ref, NULL, NULL, &err), &err);
}

void cluster_patch(struct cluster *cluster, const struct kube_resource *resource, const char *name,
                   const char *format, ...)
{
    const struct kube_ref ref = ref_of(cluster, resource, name);
    AUTO(buf) struct buf json = BUF(BODY_BYTES_MAX);
    va_list arguments;
    struct err err;

    va_start(arguments, format);
    buf_vprintf(&json, format, arguments);
    va_end(arguments);
    CHECK_OK(kube_patch(cluster->client, NULL, &ref, KUBE_PATCH_MERGE, "test", buf_str(&json), NULL,
                        &err),
             &err);
}

json_t *cluster_get(struct cluster *cluster, const struct kube_resource *resource, const char *name)
{
    const struct kube_ref ref = ref_of(cluster, resource, name);
    AUTO(buf) struct buf body = BUF(BODY_BYTES_MAX);
    json_t *json = NULL;
    struct err err = {0};

    if (kube_get(cluster->client, NULL, &ref, &body, &err) != 0 && err.cls == ERR_NOT_FOUND) {
        return NULL;
    }
    CHECK_INT(err.cls, ERR_OK);
    CHECK_OK(js_parse(buf_str(&body), BODY_BYTES_MAX, &json, &err), &err);
    return json;
}

double cluster_metric(const char *series)
{
    AUTO(buf) struct buf page = BUF(BODY_BYTES_MAX);
    AUTO(free) char *start = xasprintf("\n%s ", series);

    CHECK(metrics_render(&page));
    const char *at = strstr(buf_text(&page), start);
    return at ? strtod(at + strlen(start), NULL) : 0;
}

void cluster_make_config_map(struct cluster *cluster, const char *name)
{
    cluster_create(cluster, &KUBE_CONFIG_MAPS,
                   "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"%s\","
                   "\"labels\":{\"made-by\":\"test\"}},\"data\":{\"key\":\"one\"}}",
                   name);
}

struct kube_client *cluster_connect(const struct kube_config *config, bool disable_http2)
{
    struct kube_client *client = NULL;
    struct err err;
    const struct kube_client_config client_config = {.name = "test",
                                                     .disable_http2 = disable_http2};
    CHECK_OK(kube_client_new(config, &client_config, &client, &err), &err);
    return client;
}

struct str cluster_text(struct buf *buf, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    buf_clear(buf);
    buf_vprintf(buf, format, arguments);
    va_end(arguments);
    return buf_str(buf);
}

struct kube_ref cluster_config_map(const struct cluster *cluster, const char *name)
{
    return (struct kube_ref){
        .resource = &KUBE_CONFIG_MAPS, .namespace_ = cluster->namespace_, .name = name};
}

struct str cluster_config_map_json(struct buf *buf, const char *name, const char *value)
{
    return cluster_text(
        buf,
        "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"%s\"},"
        "\"data\":{\"key\":\"%s\"}}",
        name, value);
}

json_t *cluster_parse(const struct buf *body)
{
    json_t *value = NULL;
    struct err err;
    CHECK_OK(js_parse(buf_str(body), BODY_BYTES_MAX, &value, &err), &err);
    return value;
}

json_t *cluster_add_config_map(const struct cluster *cluster, const char *name, const char *value)
{
    AUTO(buf) struct buf json = BUF(BODY_BYTES_MAX);
    AUTO(buf) struct buf body = BUF(BODY_BYTES_MAX);
    struct err err;
    const struct kube_ref collection = cluster_config_map(cluster, NULL);
    CHECK_OK(kube_create(cluster->client, NULL, &collection,
                         cluster_config_map_json(&json, name, value), &body, &err),
             &err);
    return cluster_parse(&body);
}
