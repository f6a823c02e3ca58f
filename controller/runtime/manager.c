/* The order of everything. The main thread starts the parts, waits for signals and news, and starts
 * the controllers once three things are true: every cache has its first view, the lease is held,
 * and prepare has succeeded. Nothing else starts workers, so nothing can start them too early or
 * while the program stops.
 *
 * Threads (name; what it owns; what it may block on):
 *   main            the order of start and stop; signals, news (one poll)
 *   http            probes, metrics, debug pages; its sockets, never a lock held during I/O
 *   api, watch, lease   one connection pool each (net/http_client); its sockets
 *   w-RESOURCE      one list-and-watch; its requests, pauses between failures
 *   lease           the lease; its requests, pauses; ends the process when the lease is lost
 *   prepare         the prepare callback until it succeeds; whatever that blocks on
 *   CONTROLLER-N    one reconcile at a time; its queue, requests, backends, the crew
 *   crew-N          pieces of a reconcile; the same
 *   events          the event recorder; its requests
 *   stop            the order of stopping; the ends of all other threads
 *
 * Locks: one a structure, each held for moments and never across a callback or I/O. The order where
 * two are held: backend, queue, metrics' values; this file's, cancel. The caches' are
 * taken alone. */
#include <errno.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "controller/base/clock.h"
#include "controller/base/log.h"
#include "controller/base/thread.h"
#include "controller/kube/credentials.h"
#include "controller/runtime/manager_internal.h"
#include "controller/runtime/process_metrics.h"

enum {
    SYNC_TIMEOUT_MS = 120000,
    PREPARE_PAUSE_MIN_MS = 1000,
    PREPARE_PAUSE_MAX_MS = 30000,
    GRACE_MS = 20000,      /* for reconciles to end by themselves */
    STOP_LIMIT_MS = 29000, /* for everything: an orchestrator kills after 30 s */
    HOST_BYTES = 65,
    SIGNAL_STATUS = 128, /* of a process that a signal ended, as shells show it */
    RIGHTS_PERIOD_MS = 10000,
    TRIM_PERIOD_MS = 10000,
};

static const char EVENT_CONTROLLER[] = "tenantry.dev/controller";

static void signals_of_interest(sigset_t *ret)
{
    sigemptyset(ret);
    sigaddset(ret, SIGTERM);
    sigaddset(ret, SIGINT);
}

void manager_block_signals(void)
{
    sigset_t set;
    signals_of_interest(&set);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    /* Workers allocate little and for long; an arena each would only scatter free memory. What is
     * large, blocks of arenas above all, goes back to the system at once. */
    (void)mallopt(M_ARENA_MAX, 2);
    (void)mallopt(M_MMAP_THRESHOLD, 32 * 1024);
}

/* ---- life ---- */

/* A request was refused: rights may have been taken away. The server judges a watch when it begins
 * and never again, so that a watch whose right is gone would look well for up to ten minutes. Have
 * all of them ask anew, from where they are; that costs no list, and happens every 10 s at most.
 * Those that have no complete view are left alone: they ask as it is, and would have to begin
 * again.
 */
static void recheck_rights(void *context)
{
    struct manager *manager = context;
    int64_t now_ms = clock_monotonic_ms();
    int64_t last_ms = atomic_load(&manager->rights_checked_ms);

    if ((last_ms != 0 && now_ms - last_ms < RIGHTS_PERIOD_MS) ||
        !atomic_compare_exchange_strong(&manager->rights_checked_ms, &last_ms, now_ms)) {
        return;
    }
    log_info(NULL, "a request was forbidden: all watches ask for their rights again");
    pthread_mutex_lock(&manager->lock);
    for (size_t i = 0; i < manager->cache_count; i++) {
        struct watch_stats stats = {0};
        if (manager->caches[i].pass) {
            watch_stats_get(manager->caches[i].watch, &stats);
        }
        if (stats.following) {
            cancel_trigger(manager->caches[i].pass);
        }
    }
    pthread_mutex_unlock(&manager->lock);
}

static int make_clients(struct manager *manager, struct err *err)
{
    struct {
        const char *name;
        struct kube_client **client;
    } wanted[] = {
        {"api", &manager->api},
        {"watch", &manager->watch_client},
        {"lease", &manager->lease_client},
    };
    if (kube_credentials_new(manager->config.kube, &manager->credentials, err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < ARRAY_COUNT(wanted); i++) {
        const struct kube_client_config config = {
            .name = wanted[i].name,
            .disable_http2 = manager->config.disable_http2,
            .credentials = manager->credentials,
            .on_forbidden = wanted[i].client == &manager->watch_client ? NULL : recheck_rights,
            .on_forbidden_context = manager,
        };
        if (kube_client_new(manager->config.kube, &config, wanted[i].client, err) < 0) {
            return -1;
        }
    }
    return 0;
}

static int make_recorder(struct manager *manager, struct err *err)
{
    char host[HOST_BYTES] = "";
    if (gethostname(host, sizeof(host) - 1) != 0) {
        host[0] = '\0';
    }
    AUTO(free) char *instance = xasprintf("%s-%s", manager->name, host);
    return event_recorder_new(manager->api, &manager->fence, EVENT_CONTROLLER, instance,
                              &manager->events, err);
}

static void make_lease(struct manager *manager);

int manager_new(const struct manager_config *config, struct manager **ret, struct err *err)
{
    manager_block_signals();
    struct manager *manager = xcalloc(1, sizeof(*manager));
    manager->config = *config;
    manager->name = xstrdup(config->name);
    manager->namespace_ = xstrdup(config->namespace_);
    if (manager->config.sync_timeout_ms <= 0) {
        manager->config.sync_timeout_ms = SYNC_TIMEOUT_MS;
    }
    pthread_mutex_init(&manager->lock, NULL);
    manager->work = cancel_new(NULL);
    manager->prepare_stop = cancel_new(manager->work);
    manager->watch_stop = cancel_new(NULL);
    manager->lease_stop = cancel_new(NULL);
    manager->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    manager_add_standard_pages(manager);
    process_metrics_register();
    if (manager->wake_fd < 0) {
        (void)err_set(err, ERR_RETRY, "TooManyOpenFiles", "cannot make an eventfd");
    } else if (make_clients(manager, err) == 0 && make_recorder(manager, err) == 0) {
        make_lease(manager);
        *ret = manager;
        return 0;
    }
    manager_free(manager);
    return -1;
}

void manager_free(struct manager *manager)
{
    if (!manager) {
        return;
    }
    http_server_free(manager->server);
    event_recorder_free(manager->events);
    for (size_t i = 0; i < manager->cache_count; i++) {
        watch_free(manager->caches[i].watch);
    }
    lease_free(manager->lease);
    kube_client_free(manager->lease_client);
    kube_client_free(manager->watch_client);
    kube_client_free(manager->api);
    kube_credentials_free(manager->credentials);
    cancel_free(manager->lease_stop);
    cancel_free(manager->watch_stop);
    cancel_free(manager->prepare_stop);
    cancel_free(manager->work);
    if (manager->wake_fd >= 0) {
        (void)close(manager->wake_fd);
    }
    pthread_mutex_destroy(&manager->lock);
    free(manager->namespace_);
    free(manager->name);
    free(manager);
}

struct kube_client *manager_api(struct manager *manager)
{
    return manager->api;
}

struct event_recorder *manager_events(struct manager *manager)
{
    return manager->events;
}

const struct fence *manager_fence(struct manager *manager)
{
    return &manager->fence;
}

const struct cancel *manager_cancel(struct manager *manager)
{
    return manager->work;
}

NORETURN static void too_many(const char *what)
{
    (void)fprintf(stderr, "manager: too many %s\n", what);
    abort();
}

void manager_add_controller(struct manager *manager, struct controller *controller)
{
    if (manager->controller_count == MANAGER_CONTROLLERS_MAX) {
        too_many("controllers");
    }
    manager->controllers[manager->controller_count++] = controller;
}

void manager_add_page(struct manager *manager, const char *path, http_page_fn render, void *context)
{
    if (manager->page_count == MANAGER_PAGES_MAX) {
        too_many("pages");
    }
    manager->pages[manager->page_count++] =
        (struct http_page){.path = path, .render = render, .context = context};
}

static void wake_main(struct manager *manager)
{
    (void)eventfd_write(manager->wake_fd, 1);
}

/* ---- caches: everything goes through to the cache; what main waits for wakes it ---- */

static void pass_replace_begin(void *context)
{
    const struct managed_cache *managed = context;
    managed->inner.replace_begin(managed->inner.context);
}

static void pass_replace_object(void *context, struct str json)
{
    const struct managed_cache *managed = context;
    managed->inner.replace_object(managed->inner.context, json);
}

static void pass_replace_remove(void *context, struct str json)
{
    const struct managed_cache *managed = context;
    managed->inner.replace_remove(managed->inner.context, json);
}

static void pass_replace_end(void *context, const char *resource_version)
{
    const struct managed_cache *managed = context;
    managed->inner.replace_end(managed->inner.context, resource_version);
    wake_main(managed->manager);
}

static void pass_event(void *context, enum watch_event type, struct str json)
{
    const struct managed_cache *managed = context;
    managed->inner.event(managed->inner.context, type, json);
}

static void pass_bookmark(void *context, const char *resource_version)
{
    const struct managed_cache *managed = context;
    managed->inner.bookmark(managed->inner.context, resource_version);
}

static void pass_health(void *context, const struct err *err)
{
    const struct managed_cache *managed = context;
    managed->inner.health(managed->inner.context, err);
    wake_main(managed->manager);
}

static void pass_served(void *context, bool is_served)
{
    const struct managed_cache *managed = context;
    managed->inner.served(managed->inner.context, is_served);
}

void manager_add_cache(struct manager *manager, struct cache *cache,
                       const struct watch_config *watch)
{
    if (manager->cache_count == MANAGER_CACHES_MAX) {
        too_many("caches");
    }
    struct managed_cache *managed = &manager->caches[manager->cache_count++];
    *managed = (struct managed_cache){
        .manager = manager,
        .cache = cache,
        .watch_config = *watch,
        .inner = cache_watch_handler(cache),
    };
    const struct watch_handler handler = {
        .replace_begin = pass_replace_begin,
        .replace_object = pass_replace_object,
        .replace_remove = pass_replace_remove,
        .replace_end = pass_replace_end,
        .event = pass_event,
        .bookmark = pass_bookmark,
        .health = pass_health,
        .served = pass_served,
        .context = managed,
    };
    managed->watch = watch_new(manager->watch_client, &managed->watch_config, &handler);
}

static void set_pass(struct managed_cache *managed, struct cancel *pass)
{
    pthread_mutex_lock(&managed->manager->lock);
    managed->pass = pass;
    pthread_mutex_unlock(&managed->manager->lock);
}

static void *watch_thread(void *context)
{
    struct managed_cache *managed = context;

    while (!cancel_is_set(managed->manager->watch_stop)) {
        struct cancel *pass = cancel_new(managed->manager->watch_stop);
        const struct call call = {.cancel = pass};
        set_pass(managed, pass);
        watch_run(managed->watch, &call);
        set_pass(managed, NULL);
        cancel_free(pass);
    }
    return NULL;
}

static void start_watches(struct manager *manager)
{
    for (size_t i = 0; i < manager->cache_count; i++) {
        struct managed_cache *managed = &manager->caches[i];
        char name[32];
        (void)snprintf(name, sizeof(name), "w-%.13s", managed->watch_config.resource->plural);
        thread_start(&managed->thread, name, watch_thread, managed);
        managed->started = true;
    }
}

static bool all_synced(struct manager *manager)
{
    for (size_t i = 0; i < manager->cache_count; i++) {
        if (!cache_is_synced(manager->caches[i].cache)) {
            return false;
        }
    }
    return true;
}

static void report_unsynced(struct managed_cache *managed, int64_t waited_ms)
{
    struct err err;
    if (!cache_is_synced(managed->cache) && !managed_cache_is_ready(managed, &err)) {
        log_error(NULL, "cache is not synced: nothing is reconciled until it is",
                  KV("resource", managed->watch_config.resource->plural), KV_ERR(&err),
                  KV_INT("waited_ms", waited_ms));
    }
}

/* Say which caches still lack their first view, and why: the program goes on waiting, since it may
 * be that rights or a CustomResourceDefinition are about to be installed. */
static void report_all_unsynced(struct manager *manager)
{
    int64_t waited_ms = clock_monotonic_ms() - manager->started_ms;
    for (size_t i = 0; i < manager->cache_count; i++) {
        report_unsynced(&manager->caches[i], waited_ms);
    }
}

/* ---- lease ---- */

static void on_leading(void *context, bool leading)
{
    struct manager *manager = context;
    atomic_store(&manager->leading, leading);
    wake_main(manager);
}

static void on_lease_trouble(void *context, const struct err *err)
{
    struct manager *manager = context;
    pthread_mutex_lock(&manager->lock);
    manager->lease_error = err ? *err : (struct err){.cls = ERR_OK};
    pthread_mutex_unlock(&manager->lock);
}

static void make_lease(struct manager *manager)
{
    if (!manager->config.leader_election) {
        return;
    }
    const struct lease_config config = {
        .namespace_ = manager->namespace_,
        .name = manager->name,
        .fence = &manager->fence,
        .on_leading = on_leading,
        .on_trouble = on_lease_trouble,
        .context = manager,
    };
    manager->lease = lease_new(manager->lease_client, &config);
}

static void *lease_thread(void *context)
{
    struct manager *manager = context;
    const struct call call = {.cancel = manager->lease_stop};
    struct err err;
    if (lease_run(manager->lease, &call, &err) < 0) {
        /* Another may lead already. Whatever ran here must not write once more, and the surest way
         * is to be gone: no destructors, no last words to anyone but the log, written already. */
        _exit(EXIT_FAILURE);
    }
    lease_release(manager->lease);
    return NULL;
}

static void start_lease(struct manager *manager)
{
    if (manager->lease) {
        thread_start(&manager->lease_thread, "lease-holder", lease_thread, manager);
        manager->lease_started = true;
        return;
    }
    fence_open_until(&manager->fence, INT64_MAX);
    atomic_store(&manager->leading, true);
}

/* ---- prepare ---- */

static void note_prepare_error(struct manager *manager, const struct err *err)
{
    pthread_mutex_lock(&manager->lock);
    bool same = text_equal(manager->prepare_error.message, err->message) &&
                text_equal(manager->prepare_error.reason, err->reason);
    manager->prepare_error = *err;
    pthread_mutex_unlock(&manager->lock);
    if (same) {
        log_debug(NULL, "prepare failed", KV_ERR(err));
    } else {
        log_warn(NULL,
                 "prepare failed, and is tried again: nothing is reconciled until it succeeds",
                 KV_ERR(err));
    }
}

static void *prepare_thread(void *context)
{
    struct manager *manager = context;
    const struct call call = {.cancel = manager->prepare_stop, .fence = &manager->fence};
    int64_t pause_ms = PREPARE_PAUSE_MIN_MS;
    struct err err = {0};

    while (manager->config.prepare(manager->config.prepare_context, &call, &err) < 0) {
        if (cancel_is_set(manager->prepare_stop)) {
            return NULL;
        }
        note_prepare_error(manager, &err);
        int64_t wait_ms = pause_ms > err.retry_after_ms ? pause_ms : err.retry_after_ms;
        if (!cancel_sleep_ms(manager->prepare_stop, wait_ms + clock_jitter_ms(wait_ms / 10 + 1))) {
            return NULL;
        }
        pause_ms = pause_ms * 2 < PREPARE_PAUSE_MAX_MS ? pause_ms * 2 : PREPARE_PAUSE_MAX_MS;
    }
    log_info(NULL, "prepared");
    atomic_store(&manager->prepared, true);
    wake_main(manager);
    return NULL;
}

static void start_prepare(struct manager *manager)
{
    if (!manager->config.prepare) {
        atomic_store(&manager->prepared, true);
        return;
    }
    if (!manager->prepare_started) {
        thread_start(&manager->prepare_thread, "prepare", prepare_thread, manager);
        manager->prepare_started = true;
    }
}

/* ---- the way up ---- */

static void note_synced(struct manager *manager)
{
    if (manager->caches_were_synced) {
        return;
    }
    manager->caches_were_synced = true;
    log_info(NULL, "caches are synced",
             KV_INT("duration_ms", clock_monotonic_ms() - manager->started_ms));
}

/* A burst leaves free memory scattered over the heap: every ten seconds it goes back to the system.
 * To walk through a heap of ten megabytes takes less than a millisecond. */
static void trim_memory(struct manager *manager)
{
    int64_t now_ms = clock_monotonic_ms();

    if (now_ms >= manager->next_trim_ms) {
        manager->next_trim_ms = now_ms + TRIM_PERIOD_MS;
        (void)malloc_trim(0);
    }
}

static void start_controllers(struct manager *manager)
{
    for (size_t i = 0; i < manager->controller_count; i++) {
        controller_start(manager->controllers[i], manager->work, &manager->fence);
    }
    manager->controllers_started = true;
    log_info(NULL, "controllers started");
}

/* Whatever can be started now. */
static void advance(struct manager *manager)
{
    bool synced = manager->caches_were_synced || all_synced(manager);
    if (synced) {
        note_synced(manager);
        trim_memory(manager);
    } else if (clock_monotonic_ms() >= manager->next_sync_report_ms) {
        manager->next_sync_report_ms += manager->config.sync_timeout_ms;
        report_all_unsynced(manager);
    }
    if (!atomic_load(&manager->leading)) {
        return;
    }
    start_prepare(manager);
    if (synced && atomic_load(&manager->prepared) && !manager->controllers_started) {
        start_controllers(manager);
    }
}

/* Wait for a signal or for news, at most until then (monotonic). Returns the signal's number, or 0.
 */
static int wait_for_news(struct manager *manager, int signal_fd, int64_t until_ms)
{
    int64_t left_ms = until_ms - clock_monotonic_ms();
    int timeout_ms = (int)(left_ms > 0 ? left_ms : 0);
    struct pollfd fds[2] = {
        {.fd = signal_fd, .events = POLLIN},
        {.fd = manager->wake_fd, .events = POLLIN},
    };
    if (poll(fds, 2, timeout_ms) < 0) {
        return 0;
    }
    if (fds[1].revents) {
        eventfd_t ignored;
        (void)eventfd_read(manager->wake_fd, &ignored);
    }
    struct signalfd_siginfo info;
    if (fds[0].revents && read(signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        return (int)info.ssi_signo;
    }
    return 0;
}

static int run_until_signal(struct manager *manager, int signal_fd)
{
    int signal_number = 0;
    while (signal_number == 0) {
        advance(manager);
        int64_t until_ms =
            manager->caches_were_synced ? manager->next_trim_ms : manager->next_sync_report_ms;
        signal_number = wait_for_news(manager, signal_fd, until_ms);
    }
    return signal_number;
}

/* ---- the way down ---- */

static void stop_controllers(struct manager *manager)
{
    for (size_t i = 0; i < manager->controller_count; i++) {
        queue_shutdown(controller_queue(manager->controllers[i])); /* all at once: no key more */
    }
    for (size_t i = 0; i < manager->controller_count; i++) {
        controller_stop(manager->controllers[i]);
    }
}

/* The order: no new work, running work ends, its events go out, caches stop, and only then may
 * another one lead. */
static void *stop_thread(void *context)
{
    struct manager *manager = context;

    cancel_trigger(manager->prepare_stop);
    if (manager->prepare_started) {
        pthread_join(manager->prepare_thread, NULL);
    }
    stop_controllers(manager);
    cancel_trigger(manager->work);
    event_recorder_free(manager->events);
    manager->events = NULL;
    cancel_trigger(manager->watch_stop);
    for (size_t i = 0; i < manager->cache_count; i++) {
        if (manager->caches[i].started) {
            pthread_join(manager->caches[i].thread, NULL);
        }
    }
    cancel_trigger(manager->lease_stop);
    if (manager->lease_started) {
        pthread_join(manager->lease_thread, NULL);
    }
    atomic_store(&manager->stopped, true);
    wake_main(manager);
    return NULL;
}

static const char *signal_name(int number)
{
    return number == SIGTERM ? "SIGTERM" : "SIGINT";
}

NORETURN static void end_at_once(int signal_number)
{
    log_warn(NULL, "second signal: ending at once", KV("signal", signal_name(signal_number)));
    _exit(SIGNAL_STATUS + signal_number);
}

/* What the time that stopping takes asks for. */
static void press(struct manager *manager, int64_t took_ms)
{
    if (took_ms >= STOP_LIMIT_MS) {
        log_error(NULL, "did not stop in time: ending at once", KV_INT("waited_ms", took_ms));
        _exit(EXIT_FAILURE);
    }
    if (took_ms >= GRACE_MS && !cancel_is_set(manager->work)) {
        log_warn(NULL, "reconciles still run: canceling them", KV_INT("waited_ms", took_ms));
        cancel_trigger(manager->work);
    }
}

static void stop(struct manager *manager, int signal_fd, int signal_number)
{
    int64_t begun_ms = clock_monotonic_ms();
    pthread_t thread;

    log_info(NULL, "stopping", KV("signal", signal_name(signal_number)));
    atomic_store(&manager->stopping, true);
    thread_start(&thread, "stop", stop_thread, manager);
    while (!atomic_load(&manager->stopped)) {
        bool hurried = cancel_is_set(manager->work);
        int again =
            wait_for_news(manager, signal_fd, begun_ms + (hurried ? STOP_LIMIT_MS : GRACE_MS));
        if (again != 0) {
            end_at_once(again);
        }
        press(manager, clock_monotonic_ms() - begun_ms);
    }
    pthread_join(thread, NULL);
    log_info(NULL, "stopped", KV_INT("duration_ms", clock_monotonic_ms() - begun_ms));
}

static int open_pages(struct manager *manager, struct err *err)
{
    if (!manager->config.metrics_address) {
        return 0;
    }
    const struct http_server_config config = {
        .address = manager->config.metrics_address,
        .pages = manager->pages,
        .page_count = manager->page_count,
    };
    if (http_server_new(&config, &manager->server, err) < 0) {
        return err_wrap(err, "metrics address \"%s\"", manager->config.metrics_address);
    }
    log_info(NULL, "serving probes and metrics", KV("address", manager->config.metrics_address),
             KV_INT("port", http_server_port(manager->server)));
    return 0;
}

int manager_run(struct manager *manager)
{
    manager_block_signals();
    sigset_t set;
    signals_of_interest(&set);
    AUTO(fd) int signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    struct err err;

    if (signal_fd < 0) {
        log_error(NULL, "cannot wait for signals", KV("error", errno_text(errno)));
        return EXIT_FAILURE;
    }
    if (open_pages(manager, &err) < 0) {
        log_error(NULL, "cannot start", KV_ERR(&err));
        return EXIT_FAILURE;
    }
    manager->started_ms = clock_monotonic_ms();
    manager->next_sync_report_ms = manager->started_ms + manager->config.sync_timeout_ms;
    start_watches(manager);
    start_lease(manager);
    int signal_number = run_until_signal(manager, signal_fd);
    stop(manager, signal_fd, signal_number);

    /* The pages look at controllers and caches, which the caller frees next. */
    http_server_free(manager->server);
    manager->server = NULL;
    return EXIT_SUCCESS;
}
