/* The program of the runtime's benchmarks, to stand beside bench/baseline/go: a controller for
 * Tenants that finds nothing to do, or for Greetings, without leader election.
 *
 *   bench-controller tenant|greeting METRICS-ADDRESS [RUNS]
 *
 * Prints a line when so many runs have ended: whoever measures waits for it, and takes no time of
 * the machine by asking. */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "controller/base/js.h"
#include "controller/base/jsonw.h"
#include "controller/base/log.h"
#include "controller/net/http_client.h"
#include "controller/runtime/manager.h"
#include "controller/runtime/object_type.h"
#include "reconcilers/model/codec.h"

enum { OBJECT_MAX_BYTES = 8 * 1024 * 1024, WORKERS = 10 };

struct greeting {
    struct object object;
    const char *who;
    const char *message;
};

static const struct field spec[] = {TEXT_FIELD("who", struct greeting, who), END_FIELDS};
static const struct field status[] = {TEXT_FIELD("message", struct greeting, message), END_FIELDS};
static const struct field fields[] = {OBJECT_FIELDS, PART_FIELD("spec", spec),
                                      PART_FIELD("status", status), END_FIELDS};
static const struct kube_resource GREETINGS = {"example.tenantry.dev", "v1", "greetings",
                                               "Greeting", true};
static const struct object_type type = {&GREETINGS, sizeof(struct greeting), fields, NULL};
static const struct codec greeting_codec = {.resource = &GREETINGS, .type = &type};

struct bench {
    struct manager *manager;
    struct cache *cache;
    long awaited_runs; /* 0: nobody waits */
    atomic_long runs;
};

static struct outcome ended(struct bench *bench, struct outcome outcome)
{
    if (atomic_fetch_add(&bench->runs, 1) + 1 == bench->awaited_runs) {
        (void)puts("ended");
        (void)fflush(stdout);
    }
    return outcome;
}

/* A Tenant whose last run made it as its spec says needs nothing. */
static struct outcome reconcile_tenant(struct reconcile *rc)
{
    struct bench *bench = rc->environment;
    AUTO(record) const struct record *record = cache_get(bench->cache, rc->key);
    if (record) {
        struct tenant *tenant = ARENA_NEW(rc->arena, struct tenant);
        tenant_unpack(record, rc->arena, tenant);
    }
    return ended(bench, outcome_done(0));
}

static int say(struct bench *bench, struct reconcile *rc, const struct greeting *greeting,
               const char *message, struct err *err)
{
    const struct kube_ref ref = {&GREETINGS, greeting->object.namespace_, greeting->object.name,
                                 "status"};
    AUTO(buf) struct buf patch = BUF(OBJECT_MAX_BYTES);
    AUTO(buf) struct buf answer = BUF(OBJECT_MAX_BYTES);
    struct jsonw writer;
    jsonw_init(&writer, &patch);
    jsonw_object(&writer, NULL);
    jsonw_object(&writer, "status");
    jsonw_text(&writer, "message", message);
    jsonw_end_object(&writer);
    jsonw_end_object(&writer);
    if (kube_patch(manager_api(bench->manager), &rc->call, &ref, KUBE_PATCH_MERGE, "bench",
                   buf_str(&patch), &answer, err) != 0) {
        return -1;
    }
    cache_store_written(bench->cache, buf_str(&answer));
    return 0;
}

static struct outcome greet(struct reconcile *rc, struct bench *bench)
{
    AUTO(record) const struct record *record = cache_get(bench->cache, rc->key);
    struct err err = {0};
    if (!record) {
        return outcome_done(0);
    }
    const struct greeting *greeting = object_unpack(&type, record, rc->arena);
    const char *message = arena_printf(rc->arena, "Hello, %s!", greeting->who);
    if (greeting->object.deleting || text_equal(greeting->message, message)) {
        return outcome_done(0);
    }
    return say(bench, rc, greeting, message, &err) == 0 ? outcome_done(0)
                                                        : outcome_from_err(&err, 0);
}

static struct outcome reconcile_greeting(struct reconcile *rc)
{
    return ended(rc->environment, greet(rc, rc->environment));
}

static void wake(void *context, enum cache_change change, const struct record *before,
                 const struct record *after, bool initial)
{
    (void)change;
    queue_add(context, record_key(after ? after : before), initial ? QUEUE_LOW : QUEUE_NORMAL);
}

static int run(bool tenants, const char *address, long awaited_runs, const struct kube_config *kube)
{
    struct bench bench = {.awaited_runs = awaited_runs};
    struct err err = {0};
    const struct manager_config config = {
        .kube = kube, .name = "bench", .namespace_ = "default", .metrics_address = address};
    const struct watch_config watch = {.resource = tenants ? &KUBE_TENANTS : &GREETINGS};
    const struct controller_config controller_config = {
        .name = "bench",
        .workers = WORKERS,
        .reconcile = tenants ? reconcile_tenant : reconcile_greeting,
        .environment = &bench,
    };
    if (manager_new(&config, &bench.manager, &err) != 0) {
        log_error(NULL, "cannot start", KV_ERR(&err));
        return EXIT_FAILURE;
    }
    bench.cache = cache_new(tenants ? &tenant_codec : &greeting_codec);
    struct controller *controller = controller_new(&controller_config);
    cache_listen(bench.cache, wake, controller_queue(controller));
    manager_add_controller(bench.manager, controller);
    manager_add_cache(bench.manager, bench.cache, &watch);
    int exit_status = manager_run(bench.manager);
    controller_free(controller);
    manager_free(bench.manager);
    cache_free(bench.cache);
    return exit_status;
}

int main(int argc, char **argv)
{
    struct kube_config kube;
    struct err err = {0};

    manager_block_signals();
    js_init();
    http_global_init();
    if (argc < 3) {
        (void)fprintf(stderr, "usage: %s tenant|greeting METRICS-ADDRESS [RUNS]\n", argv[0]);
        return 2;
    }
    if (kube_config_load(NULL, NULL, &kube, &err) != 0) {
        log_error(NULL, "cannot start", KV_ERR(&err));
        return EXIT_FAILURE;
    }
    long runs = argc > 3 ? strtol(argv[3], NULL, 10) : 0;
    int result = run(text_equal(argv[1], "tenant"), argv[2], runs, &kube);
    kube_config_release(&kube);
    return result;
}
