/* Starts and stops everything in order: caches, probes and metrics at once; leader election; the
 * controllers once the caches are synced and the lease is held. On SIGTERM or SIGINT: workers
 * finish what they do, then caches stop, then the lease is released, then the program ends with 0;
 * all within 30 s; a second signal ends it at once. A lost lease ends the program with 1, without
 * finishing anything (C46).
 *
 * Threads (name, owns, may block on):  see the table at the top of manager.c and docs/runtime.md.
 */
#ifndef TENANTRY_RUNTIME_MANAGER_H
#define TENANTRY_RUNTIME_MANAGER_H

#include <stdbool.h>

#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "controller/kube/api.h"
#include "controller/kube/config.h"
#include "controller/kube/event.h"
#include "controller/net/http_server.h"
#include "controller/runtime/cache.h"
#include "controller/runtime/controller.h"

struct manager_config {
    const struct kube_config *kube; /* borrowed */
    const char *name;               /* "tenantry-controller": lease name, event instance prefix */
    const char *namespace_;         /* of the Lease: "tenantry-system" */
    const char *metrics_address;    /* NULL: no server */
    bool leader_election;
    bool disable_http2;
    int64_t sync_timeout_ms; /* 0 = 120,000; caches not synced by then: reason in log and /readyz */
    /* Called on the leader before controllers start, until it succeeds (with backoff): for instance
     * registry migrations. May be NULL. */
    int (*prepare)(void *context, const struct call *call, struct err *err);
    void *prepare_context;
};

struct manager;
MUST_CHECK int manager_new(const struct manager_config *config, struct manager **ret,
                           struct err *err);
void manager_free(struct manager *manager);

/* Clients whose life the manager owns; the recorder may be given to event_record. */
struct kube_client *manager_api(struct manager *manager);
struct event_recorder *manager_events(struct manager *manager);
const struct fence *manager_fence(struct manager *manager);
const struct cancel *manager_cancel(struct manager *manager);

/* Before manager_run. The manager runs the cache's watch and the controllers; it owns neither. */
void manager_add_cache(struct manager *manager, struct cache *cache,
                       const struct watch_config *watch);
void manager_add_controller(struct manager *manager, struct controller *controller);
/* A page more on the metrics listener. */
void manager_add_page(struct manager *manager, const char *path, http_page_fn render,
                      void *context);

/* Runs until a signal or a lost lease; returns the exit status. Blocks signals in all threads: call
 * it from main before any other thread exists, or after manager_block_signals. */
int manager_run(struct manager *manager);
/* Once, first thing in main. */
void manager_block_signals(void);

#endif
