#include "controller/runtime/app.h"

#include "controller/base/js.h"
#include "controller/base/log.h"
#include "controller/net/http_client.h"

enum { OBJECT_MAX_BYTES = 8 * 1024 * 1024, WORKERS = 4 };

/* Everything with the lifetime of the process. */
struct app {
    struct app_config config;
    struct codec codec;
    struct watch_config watch;
    struct kube_config kube;
    struct manager *manager;
    struct cache *cache;
    struct controller *controller;
};

struct kube_client *app_api(struct app *app)
{
    return manager_api(app->manager);
}

struct event_recorder *app_events(struct app *app)
{
    return manager_events(app->manager);
}

int app_patch_status(struct app *app, struct reconcile *rc, const struct object *object,
                     struct str status_json, struct err *err)
{
    const struct kube_ref ref = {.resource = app->config.type->resource,
                                 .namespace_ =
                                     text_is_empty(object->namespace_) ? NULL : object->namespace_,
                                 .name = object->name,
                                 .subresource = "status"};
    AUTO(buf) struct buf patch = BUF(OBJECT_MAX_BYTES);
    AUTO(buf) struct buf answer = BUF(OBJECT_MAX_BYTES);
    buf_printf(&patch, "{\"metadata\":{\"uid\":\"%s\"},\"status\":", object->uid);
    buf_append_str(&patch, status_json);
    buf_append_char(&patch, '}');
    if (buf_failed(&patch)) {
        return err_set(err, ERR_TERMINAL, "ResponseTooLarge", "the status has grown too large");
    }
    if (kube_patch(app_api(app), &rc->call, &ref, KUBE_PATCH_MERGE, app->config.name,
                   buf_str(&patch), &answer, err) != 0) {
        return err_wrap(err, "status");
    }
    cache_store_written(app->cache, buf_str(&answer));
    return 0;
}

static struct outcome reconcile(struct reconcile *rc)
{
    struct app *app = rc->environment;
    AUTO(record) const struct record *record = cache_get(app->cache, rc->key);
    struct err err = {0};
    if (!record) {
        return outcome_done(0); /* gone */
    }
    void *object = object_unpack(app->config.type, record, rc->arena);
    if (app->config.reconcile(app, rc, object, &err) != 0) {
        return outcome_from_err(&err, app->config.recheck_ms);
    }
    return outcome_done(app->config.recheck_ms);
}

static void wake(void *context, enum cache_change change, const struct record *before,
                 const struct record *after, bool initial)
{
    (void)change;
    queue_add(context, record_key(after ? after : before), initial ? QUEUE_LOW : QUEUE_NORMAL);
}

static int wire(struct app *app, struct err *err)
{
    const struct app_config *config = &app->config;
    const struct manager_config manager_config = {
        .kube = &app->kube,
        .name = config->name,
        .namespace_ = config->namespace_,
        .metrics_address = config->metrics_address,
        .leader_election = true,
    };
    const struct controller_config controller_config = {
        .name = config->type->resource->plural,
        .workers = config->workers > 0 ? config->workers : WORKERS,
        .reconcile = reconcile,
        .environment = app,
    };
    if (kube_config_load(NULL, NULL, &app->kube, err) != 0 ||
        manager_new(&manager_config, &app->manager, err) != 0) {
        return -1;
    }
    app->cache = cache_new(&app->codec);
    app->controller = controller_new(&controller_config);
    cache_listen(app->cache, wake, controller_queue(app->controller));
    manager_add_controller(app->manager, app->controller);
    manager_add_cache(app->manager, app->cache, &app->watch);
    return 0;
}

int app_run(const struct app_config *config)
{
    struct app app = {
        .config = *config,
        .codec = {.resource = config->type->resource, .type = config->type},
        .watch = {.resource = config->type->resource,
                  .namespace_ = config->watch_namespace,
                  .label_selector = config->label_selector},
    };
    struct err err = {0};
    int status = EXIT_FAILURE;

    manager_block_signals();
    js_init();
    http_global_init();
    if (wire(&app, &err) != 0) {
        log_error(NULL, "cannot start", KV_ERR(&err));
    } else {
        status = manager_run(app.manager);
    }
    controller_free(app.controller);
    manager_free(app.manager);
    if (app.cache) {
        cache_free(app.cache);
    }
    kube_config_release(&app.kube);
    return status;
}
