/* Fills an API server: creates, changes or deletes objects by many requests at once.
 *
 *   bench-load greetings|tenants create|touch|status|delete COUNT [FIRST]
 *
 * "touch" gives every Greeting another spec.who; "status" writes a Tenant's status as the
 * controller would. Prints the milliseconds that it took. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/base/clock.h"
#include "controller/base/js.h"
#include "controller/kube/api.h"
#include "controller/kube/config.h"
#include "controller/net/http_client.h"
#include "reconcilers/model/codec.h"

enum { THREADS = 16, BODY_MAX_BYTES = 64 * 1024 };

static const struct kube_resource GREETINGS = {"example.tenantry.dev", "v1", "greetings",
                                               "Greeting", true};

struct load {
    struct kube_client *client;
    bool tenants;
    const char *verb;
    int first;
    int count;
    atomic_int next;
    atomic_int failed;
};

static void write_object(struct buf *out, const struct load *load, int number)
{
    if (load->tenants) {
        buf_printf(out,
                   "{\"apiVersion\":\"tenantry.dev/v1alpha1\",\"kind\":\"Tenant\",\"metadata\":{"
                   "\"name\":\"load-%06d\"},\"spec\":{\"displayName\":\"Tenant number %d\","
                   "\"tier\":\"premium\",\"owner\":{\"email\":\"owner-%d@example.com\",\"name\":"
                   "\"Owner %d\"}}}",
                   number, number, number, number);
    } else {
        buf_printf(out,
                   "{\"apiVersion\":\"example.tenantry.dev/v1\",\"kind\":\"Greeting\","
                   "\"metadata\":{\"name\":\"load-%06d\"},\"spec\":{\"who\":\"number %d\"}}",
                   number, number);
    }
}

static void write_status(struct buf *out, int number)
{
    static const char *const types[] = {"Ready",      "Registered",  "DatabaseReady",
                                        "OwnerReady", "QuotasReady", "Serving"};
    buf_printf(out,
               "{\"status\":{\"observedGeneration\":1,\"subdomain\":\"load-%06d\",\"conditions\":[",
               number);
    for (size_t i = 0; i < ARRAY_COUNT(types); i++) {
        buf_printf(out,
                   "%s{\"type\":\"%s\",\"status\":\"True\",\"reason\":\"AsSpecified\",\"message\":"
                   "\"The tenant is as its spec says.\",\"observedGeneration\":1,"
                   "\"lastTransitionTime\":\"2026-01-02T03:04:05Z\"}",
                   i ? "," : "", types[i]);
    }
    buf_append_text(out, "]}}");
}

static int one(const struct load *load, int number, struct err *err)
{
    AUTO(buf) struct buf body = BUF(BODY_MAX_BYTES);
    AUTO(free) char *name = xasprintf("load-%06d", number);
    struct kube_ref ref = {.resource = load->tenants ? &KUBE_TENANTS : &GREETINGS,
                           .namespace_ = load->tenants ? NULL : "default"};
    if (strcmp(load->verb, "create") == 0) {
        write_object(&body, load, number);
        return kube_create(load->client, NULL, &ref, buf_str(&body), NULL, err);
    }
    ref.name = name;
    if (strcmp(load->verb, "delete") == 0) {
        return kube_delete(load->client, NULL, &ref, NULL, NULL, err);
    }
    if (strcmp(load->verb, "status") == 0) {
        ref.subresource = "status";
        write_status(&body, number);
    } else {
        buf_printf(&body, "{\"spec\":{\"who\":\"changed %lld\"}}", (long long)clock_wall_us());
    }
    return kube_patch(load->client, NULL, &ref, KUBE_PATCH_MERGE, "bench", buf_str(&body), NULL,
                      err);
}

static void *work(void *context)
{
    struct load *load = context;
    for (int i = atomic_fetch_add(&load->next, 1); i < load->count;
         i = atomic_fetch_add(&load->next, 1)) {
        struct err err;
        if (one(load, load->first + i, &err) != 0 && atomic_fetch_add(&load->failed, 1) == 0) {
            (void)fprintf(stderr, "bench-load: %s %s\n", err.reason, err.message);
        }
    }
    return NULL;
}

int main(int argc, char **argv)
{
    const struct kube_client_config client_config = {.name = "load", .user_agent = "bench-load"};
    struct kube_config config;
    pthread_t threads[THREADS];
    struct err err;

    js_init();
    http_global_init();
    if (argc < 4) {
        (void)fprintf(stderr, "usage: see the head of bench/load.c\n");
        return 2;
    }
    struct load load = {.tenants = strcmp(argv[1], "tenants") == 0,
                        .verb = argv[2],
                        .count = (int)strtol(argv[3], NULL, 10),
                        .first = argc > 4 ? (int)strtol(argv[4], NULL, 10) : 0};
    if (kube_config_load(NULL, NULL, &config, &err) != 0 ||
        kube_client_new(&config, &client_config, &load.client, &err) != 0) {
        (void)fprintf(stderr, "bench-load: %s\n", err.message);
        return 1;
    }
    int64_t begun_ms = clock_monotonic_ms();
    for (size_t i = 0; i < THREADS; i++) {
        if (pthread_create(&threads[i], NULL, work, &load) != 0) {
            return 1;
        }
    }
    for (size_t i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    (void)printf("%lld\n", (long long)(clock_monotonic_ms() - begun_ms));
    kube_client_free(load.client);
    kube_config_release(&config);
    return atomic_load(&load.failed) ? 1 : 0;
}
