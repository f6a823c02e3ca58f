#include "tests/integration/widgets.h"

#include "controller/base/clock.h"
#include "tests/check.h"

#define GROUP "watch.test.tenantry.dev"
#define DEFINITION "widgets." GROUP
enum { WAIT_MS = 20000, PAUSE_MS = 50 };

const struct kube_resource WIDGETS = {GROUP, "v1", "widgets", "Widget", false};

void widgets_define(struct cluster *cluster)
{
    cluster_create(
        cluster, &KUBE_CRDS,
        "{\"apiVersion\":\"apiextensions.k8s.io/v1\",\"kind\":\"CustomResourceDefinition\","
        "\"metadata\":{\"name\":\"" DEFINITION "\"},\"spec\":{\"group\":\"" GROUP "\","
        "\"scope\":\"Cluster\",\"names\":{\"plural\":\"widgets\",\"kind\":\"Widget\"},"
        "\"versions\":[{\"name\":\"v1\",\"served\":true,\"storage\":true,\"schema\":{"
        "\"openAPIV3Schema\":{\"type\":\"object\","
        "\"x-kubernetes-preserve-unknown-fields\":true}}}]}}");
}

void widgets_remove(struct cluster *cluster)
{
    int64_t until_ms = clock_monotonic_ms() + WAIT_MS;

    cluster_delete(cluster, &KUBE_CRDS, DEFINITION);
    for (;;) {
        AUTO(json) json_t *left = cluster_get(cluster, &KUBE_CRDS, DEFINITION);
        if (!left) {
            return;
        }
        CHECK(clock_monotonic_ms() < until_ms);
        CHECK(cancel_sleep_ms(NULL, PAUSE_MS));
    }
}

void widgets_make(struct cluster *cluster, const char *name)
{
    const struct kube_ref ref = {.resource = &WIDGETS};
    AUTO(free)
    char *json = xasprintf("{\"apiVersion\":\"" GROUP "/v1\",\"kind\":\"Widget\","
                           "\"metadata\":{\"name\":\"%s\"}}",
                           name);
    int64_t until_ms = clock_monotonic_ms() + WAIT_MS;
    struct err err = {0};

    while (kube_create(cluster->client, NULL, &ref, str_from(json), NULL, &err) != 0) {
        if (clock_monotonic_ms() > until_ms) {
            fail_msg("no widget: %s %s", err.reason, err.message);
        }
        CHECK(cancel_sleep_ms(NULL, PAUSE_MS));
    }
}
