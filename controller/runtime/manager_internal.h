/* What manager.c and manager_pages.c share. */
#ifndef TENANTRY_RUNTIME_MANAGER_INTERNAL_H
#define TENANTRY_RUNTIME_MANAGER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "controller/base/cancel.h"
#include "controller/base/fence.h"
#include "controller/kube/lease.h"
#include "controller/kube/watch.h"
#include "controller/runtime/manager.h"

enum { MANAGER_CACHES_MAX = 24, MANAGER_CONTROLLERS_MAX = 16, MANAGER_PAGES_MAX = 16 };

struct managed_cache {
    struct manager *manager;
    struct cache *cache;
    struct watch_config watch_config;
    struct watch_handler inner; /* the cache's */
    struct watch *watch;
    pthread_t thread;
    bool started;
    struct cancel *pass; /* below watch_stop; ends the stream of now. Guarded by manager->lock */
};

struct manager {
    struct manager_config config;
    char *name;
    char *namespace_;
    struct kube_credentials *credentials; /* shared by the three clients */
    struct kube_client *api;
    struct kube_client *watch_client;
    struct kube_client *lease_client;
    struct event_recorder *events;
    struct fence fence;
    struct cancel *work;         /* for whoever works: reconciles, prepare */
    struct cancel *prepare_stop; /* below work */
    struct cancel *watch_stop;
    struct cancel *lease_stop;
    struct lease *lease;
    struct http_server *server;

    struct managed_cache caches[MANAGER_CACHES_MAX];
    size_t cache_count;
    struct controller *controllers[MANAGER_CONTROLLERS_MAX];
    size_t controller_count;
    struct http_page pages[MANAGER_PAGES_MAX];
    size_t page_count;

    int wake_fd; /* something below changed: the main thread looks again */
    pthread_t lease_thread;
    pthread_t prepare_thread;
    bool lease_started;
    bool prepare_started;
    bool controllers_started;
    bool caches_were_synced;
    int64_t started_ms;
    int64_t next_sync_report_ms;
    int64_t next_trim_ms;

    atomic_bool leading;
    atomic_bool prepared;
    atomic_bool stopping;
    atomic_bool stopped;

    _Atomic int64_t rights_checked_ms; /* when the watches were last made to ask again */

    pthread_mutex_t lock; /* of the two below, ERR_OK while there is none; and of each pass */
    struct err prepare_error;
    struct err lease_error;
};

/* Whether the cache has a whole view and its watch is well; else why not. */
bool managed_cache_is_ready(struct managed_cache *managed, struct err *ret_err);

/* The pages that every manager has. */
void manager_add_standard_pages(struct manager *manager);

#endif
