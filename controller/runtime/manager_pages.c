/* Probes, metrics and debug pages. Rendered on the HTTP server's thread: they take only locks that
 * are never held during I/O. */
#include <inttypes.h>

#include "controller/base/clock.h"
#include "controller/base/jsonw.h"
#include "controller/base/metrics.h"
#include "controller/runtime/manager_internal.h"

enum { HTTP_OK = 200, HTTP_INTERNAL_ERROR = 500, HTTP_UNAVAILABLE = 503 };

/* How long after its end a lease may stand unnoticed: the thread that renews it hangs. */
enum { LEASE_WATCHDOG_MS = 20000 };

bool managed_cache_is_ready(struct managed_cache *managed, struct err *ret_err)
{
    if (!cache_is_healthy(managed->cache, ret_err)) {
        return false;
    }
    if (!cache_is_synced(managed->cache)) {
        (void)err_set(ret_err, ERR_WAIT, "NotSynced", "the first list is under way");
        return false;
    }
    return true;
}

static int page_healthz(void *context, struct buf *out, const char **content_type)
{
    const struct manager *manager = context;
    (void)content_type;
    int64_t open_until_ms = atomic_load(&manager->fence.open_until_ms);
    if (manager->config.leader_election && atomic_load(&manager->leading) && open_until_ms > 0 &&
        clock_boot_ms() - open_until_ms > LEASE_WATCHDOG_MS) {
        buf_append_text(out, "lease: not renewed, and not given up\n");
        return HTTP_INTERNAL_ERROR;
    }
    buf_append_text(out, "ok\n");
    return HTTP_OK;
}

static void append_trouble(struct buf *out, const char *what, const struct err *err)
{
    buf_printf(out, "%s: %s: %s\n", what, err->reason, err->message);
}

static struct err copy_err(struct manager *manager, const struct err *err)
{
    pthread_mutex_lock(&manager->lock);
    struct err copy = *err;
    pthread_mutex_unlock(&manager->lock);
    return copy;
}

/* A standby has nothing to prepare, and is ready to take over; unless it never could. */
static void append_leader_trouble(struct manager *manager, struct buf *out)
{
    struct err err = copy_err(manager, &manager->lease_error);
    if (err.cls != ERR_OK) {
        append_trouble(out, "lease", &err);
    }
    if (!atomic_load(&manager->leading) || atomic_load(&manager->prepared)) {
        return;
    }
    err = copy_err(manager, &manager->prepare_error);
    if (err.cls != ERR_OK) {
        append_trouble(out, "prepare", &err);
    } else {
        buf_append_text(out, "prepare: under way\n");
    }
}

static int page_readyz(void *context, struct buf *out, const char **content_type)
{
    struct manager *manager = context;
    (void)content_type;

    if (atomic_load(&manager->stopping)) {
        buf_append_text(out, "stopping\n");
        return HTTP_UNAVAILABLE;
    }
    for (size_t i = 0; i < manager->cache_count; i++) {
        struct managed_cache *managed = &manager->caches[i];
        struct err err;
        if (!managed_cache_is_ready(managed, &err)) {
            append_trouble(out, managed->watch_config.resource->plural, &err);
        }
    }
    append_leader_trouble(manager, out);
    if (out->len > 0) {
        return HTTP_UNAVAILABLE;
    }
    buf_append_text(out, "ok\n");
    return HTTP_OK;
}

static int page_metrics(void *context, struct buf *out, const char **content_type)
{
    (void)context;
    *content_type = "text/plain; version=0.0.4; charset=utf-8";
    return metrics_render(out) ? HTTP_OK : HTTP_INTERNAL_ERROR;
}

static int page_queues(void *context, struct buf *out, const char **content_type)
{
    const struct manager *manager = context;
    *content_type = "application/json";
    buf_append_char(out, '[');
    for (size_t i = 0; i < manager->controller_count; i++) {
        buf_append_text(out, i > 0 ? ",\n" : "");
        queue_describe(controller_queue(manager->controllers[i]), out);
    }
    buf_append_text(out, "]\n");
    return buf_failed(out) ? HTTP_INTERNAL_ERROR : HTTP_OK;
}

static void describe_cache(struct jsonw *writer, struct managed_cache *managed)
{
    struct err err;
    bool healthy = cache_is_healthy(managed->cache, &err);
    jsonw_object(writer, NULL);
    jsonw_text(writer, "resource", managed->watch_config.resource->plural);
    jsonw_bool(writer, "synced", cache_is_synced(managed->cache));
    jsonw_bool(writer, "healthy", healthy);
    if (!healthy) {
        jsonw_text(writer, "reason", err.reason);
        jsonw_text(writer, "error", err.message);
    }
    jsonw_int(writer, "objects", (int64_t)cache_count(managed->cache));
    jsonw_int(writer, "bytes", (int64_t)cache_bytes(managed->cache));
    if (managed->watch) {
        struct watch_stats stats;
        watch_stats_get(managed->watch, &stats);
        jsonw_int(writer, "lists", (int64_t)stats.lists);
        jsonw_int(writer, "watches", (int64_t)stats.watches);
        jsonw_int(writer, "events", (int64_t)stats.events);
        if (stats.last_byte_ms > 0) {
            jsonw_int(writer, "silent_ms", clock_monotonic_ms() - stats.last_byte_ms);
        }
    }
    jsonw_end_object(writer);
}

static int page_caches(void *context, struct buf *out, const char **content_type)
{
    struct manager *manager = context;
    *content_type = "application/json";
    struct jsonw writer;
    jsonw_init(&writer, out);
    jsonw_array(&writer, NULL);
    for (size_t i = 0; i < manager->cache_count; i++) {
        describe_cache(&writer, &manager->caches[i]);
    }
    jsonw_end_array(&writer);
    buf_append_char(out, '\n');
    return buf_failed(out) ? HTTP_INTERNAL_ERROR : HTTP_OK;
}

void manager_add_standard_pages(struct manager *manager)
{
    manager_add_page(manager, "/healthz", page_healthz, manager);
    manager_add_page(manager, "/readyz", page_readyz, manager);
    manager_add_page(manager, "/metrics", page_metrics, manager);
    manager_add_page(manager, "/debug/queue", page_queues, manager);
    manager_add_page(manager, "/debug/cache", page_caches, manager);
}
