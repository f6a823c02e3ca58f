/* The quotas of all tenants: buckets (gateway/bucket.h, where the proof is) and the threads that
 * ask the registry for them. A request that finds its bucket empty waits here; one question serves
 * all that wait for it. */
#ifndef TENANTRY_GATEWAY_QUOTA_H
#define TENANTRY_GATEWAY_QUOTA_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "controller/base/err.h"
#include "controller/base/secret.h"
#include "gateway/bucket.h"
#include "gateway/wait.h"

struct live;
struct quota;

/* One resource of one tenant. */
struct quota_slot {
    struct bucket bucket;
    struct live *owner; /* whose part it is; referenced while the threads have to do with it */
    const char *tenant_id;
    const char *resource;
    pthread_mutex_t lock;
    struct waiter *waiters; /* under lock */
    int64_t waiting_count;
    int64_t waiting_since_ms;
    /* Under the thread's lock. */
    struct quota_slot *next;
    bool queued;
    bool active;
    /* The thread's own. */
    struct quota_slot *next_active;
    int64_t retry_ms;
    atomic_bool give;
};
void quota_slot_init(struct quota_slot *slot, struct live *owner, const char *tenant_id,
                     const char *resource);
void quota_slot_release(struct quota_slot *slot);

/* url: of the registry, as tenantry_gateway; copied. replica: this process's id. */
struct quota *quota_new(const struct secret *url, const char *replica);
/* Give everything back that is held, and end. */
void quota_free(struct quota *quota);

/* Wait for the slot's bucket to be filled: the waiter is woken once, from another thread, with
 * WAIT_AGAIN (look into the bucket again), WAIT_DENIED or WAIT_FAULT (the registry fails). */
void quota_wait(struct quota *quota, struct quota_slot *slot, struct waiter *waiter);
/* Ask for more before it is empty. */
void quota_refill(struct quota *quota, struct quota_slot *slot);
/* Give back at once what is held: another gateway is short (hurry), or the count was set. */
void quota_recall(struct quota *quota, struct quota_slot *slot, bool hurry);
/* Something was given back by others. */
void quota_freed(struct quota *quota, struct quota_slot *slot);

#endif
