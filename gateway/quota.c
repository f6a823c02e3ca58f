/* Each slot belongs to one thread, by its tenant, so that the questions about one bucket follow
 * each other. A thread has its own connection to the registry, a queue of slots that somebody wants
 * something of, and a list of slots that hold a lease or waiters, which it looks through from time
 * to time: leases that lie idle go back, waiters for what other gateways hold ask again.
 *
 * Locks: thread.lock (queue), slot.lock (waiters); never both. A slot in a queue or on a list holds
 * a reference to its owner. */
#include "gateway/quota.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "controller/base/clock.h"
#include "controller/base/hash.h"
#include "controller/base/log.h"
#include "controller/base/metrics.h"
#include "controller/base/thread.h"
#include "gateway/quota_sql.h"
#include "gateway/tenants.h"
#include "reconcilers/drivers/sql.h"

enum {
    THREADS = 2,
    LOOK_MS = 50,           /* how often the active slots are looked through */
    LIFE_MS = 15 * 1000,    /* of a lease */
    RETRY_MS = 100,         /* for what others hold, unless they say sooner that they gave */
    PATIENCE_MS = 2 * 1000, /* as long a request waits for others; they may be dead */
    DEAD_MS = 500,          /* and as long nobody else then waits in vain */
};

struct quota_thread {
    struct quota *quota;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wanted;
    struct quota_slot *first, *last; /* the queue */
    bool stopping;
    /* The thread's own. */
    struct quota_session session;
    struct quota_slot *active;
    int64_t looked_ms;
};

struct quota {
    struct quota_thread threads[THREADS];
    char replica[UUID_TEXT_BYTES];
};

static struct metric questions =
    METRIC_COUNTER("tenantry_gateway_quota_questions_total",
                   "Questions to the registry about quotas, by kind.", "kind");

void quota_slot_init(struct quota_slot *slot, struct live *owner, const char *tenant_id,
                     const char *resource)
{
    *slot = (struct quota_slot){.owner = owner, .tenant_id = tenant_id, .resource = resource};
    bucket_init(&slot->bucket);
    pthread_mutex_init(&slot->lock, NULL);
}

void quota_slot_release(struct quota_slot *slot)
{
    pthread_mutex_destroy(&slot->lock);
}

/* ---- the queue ---- */

static struct quota_thread *thread_of(struct quota *quota, const struct quota_slot *slot)
{
    return &quota->threads[hash_table64(str_from(slot->tenant_id)) % THREADS];
}

static void enqueue(struct quota *quota, struct quota_slot *slot)
{
    struct quota_thread *thread = thread_of(quota, slot);

    pthread_mutex_lock(&thread->lock);
    if (!slot->queued) {
        slot->queued = true;
        slot->next = NULL;
        live_ref(slot->owner);
        if (thread->last) {
            thread->last->next = slot;
        } else {
            thread->first = slot;
        }
        thread->last = slot;
        pthread_cond_signal(&thread->wanted);
    }
    pthread_mutex_unlock(&thread->lock);
}

void quota_wait(struct quota *quota, struct quota_slot *slot, struct waiter *waiter)
{
    pthread_mutex_lock(&slot->lock);
    if (!slot->waiters) {
        slot->waiting_since_ms = clock_monotonic_ms();
    }
    waiter->next = slot->waiters;
    slot->waiters = waiter;
    slot->waiting_count++;
    pthread_mutex_unlock(&slot->lock);
    enqueue(quota, slot);
}

void quota_refill(struct quota *quota, struct quota_slot *slot)
{
    enqueue(quota, slot);
}

void quota_recall(struct quota *quota, struct quota_slot *slot, bool hurry)
{
    bucket_reopen(&slot->bucket);
    if (hurry) {
        bucket_hurry(&slot->bucket, clock_monotonic_ms());
    }
    atomic_store(&slot->give, true);
    enqueue(quota, slot);
}

void quota_freed(struct quota *quota, struct quota_slot *slot)
{
    bucket_reopen(&slot->bucket);
    enqueue(quota, slot);
}

/* The next slot wanted, with its reference; NULL when it is time to look through the active ones,
 * or to stop. */
static struct quota_slot *dequeue(struct quota_thread *thread)
{
    struct timespec until;
    int64_t until_us = clock_monotonic_us() + LOOK_MS * INT64_C(1000);

    until.tv_sec = until_us / 1000000;
    until.tv_nsec = until_us % 1000000 * 1000;
    pthread_mutex_lock(&thread->lock);
    while (!thread->first && !thread->stopping &&
           pthread_cond_timedwait(&thread->wanted, &thread->lock, &until) == 0) {
    }
    struct quota_slot *slot = thread->first;
    if (slot) {
        thread->first = slot->next;
        thread->last = thread->first ? thread->last : NULL;
        slot->queued = false;
    }
    pthread_mutex_unlock(&thread->lock);
    return slot;
}

/* ---- waiters ---- */

static int64_t count_waiters(struct quota_slot *slot, int64_t *ret_since_ms)
{
    pthread_mutex_lock(&slot->lock);
    int64_t count = slot->waiting_count;
    *ret_since_ms = slot->waiting_since_ms;
    pthread_mutex_unlock(&slot->lock);
    return count;
}

static void wake_all(struct quota_slot *slot, enum wait_result result)
{
    pthread_mutex_lock(&slot->lock);
    struct waiter *waiter = slot->waiters;
    slot->waiters = NULL;
    slot->waiting_count = 0;
    pthread_mutex_unlock(&slot->lock);
    while (waiter) {
        struct waiter *next = waiter->next;
        waiter->wake(waiter, result);
        waiter = next;
    }
}

/* ---- asking the registry ---- */

static void activate(struct quota_thread *thread, struct quota_slot *slot)
{
    if (!slot->active) {
        slot->active = true;
        slot->next_active = thread->active;
        thread->active = slot;
        live_ref(slot->owner);
    }
}

static void give(struct quota_thread *thread, struct quota_slot *slot)
{
    struct err err;
    int64_t spent = bucket_close(&slot->bucket);

    metric_add(&questions, 1, "give");
    if (quota_session_give(&thread->session, slot->tenant_id, slot->resource, spent, &err)) {
        log_debug(NULL, "a lease could not be given back; the next question settles it",
                  KV_ERR(&err));
    }
}

/* Nothing was granted, and others hold some: wait for them, but not for ever. */
static void wait_for_others(struct quota_slot *slot, int64_t since_ms, int64_t now_ms)
{
    if (now_ms - since_ms < PATIENCE_MS) {
        slot->retry_ms = now_ms + RETRY_MS;
        return;
    }
    atomic_store(&slot->bucket.deny_until_ms, now_ms + DEAD_MS);
    wake_all(slot, WAIT_DENIED);
}

static void take(struct quota_thread *thread, struct quota_slot *slot)
{
    struct bucket_grant grant = {0};
    struct err err;
    int64_t since_ms = 0;
    int64_t waiting = count_waiters(slot, &since_ms);
    struct bucket_question question = bucket_ask(&slot->bucket, waiting, clock_monotonic_ms());

    if (question.wanted == 0 && waiting == 0) {
        return;
    }
    metric_add(&questions, 1, "take");
    if (quota_session_take(&thread->session, slot->tenant_id, slot->resource, &question, LIFE_MS,
                           &grant, &err)) {
        log_debug(NULL, "the registry cannot be asked for quota", KV_ERR(&err));
        wake_all(slot, WAIT_FAULT);
        return;
    }
    int64_t now_ms = clock_monotonic_ms();
    bool nothing = grant.until <= question.spent;
    bucket_take(&slot->bucket, &grant, LIFE_MS, now_ms);
    slot->retry_ms = 0;
    activate(thread, slot);
    if (grant.found && nothing && grant.others > 0 && waiting > 0) {
        wait_for_others(slot, since_ms, now_ms);
    } else {
        wake_all(slot, WAIT_AGAIN);
    }
}

static void serve(struct quota_thread *thread, struct quota_slot *slot)
{
    if (atomic_exchange(&slot->give, false)) {
        give(thread, slot);
    }
    take(thread, slot);
}

/* ---- the thread ---- */

/* Whether there is nothing more to do about an active slot. */
static bool look_at(struct quota_thread *thread, struct quota_slot *slot, int64_t now_ms)
{
    int64_t since_ms = 0;
    int64_t waiting = count_waiters(slot, &since_ms);

    if (waiting > 0) {
        if (now_ms >= slot->retry_ms) {
            take(thread, slot);
        }
        return false;
    }
    if (bucket_is_idle(&slot->bucket, now_ms)) {
        give(thread, slot);
        return true;
    }
    return slot->bucket.until - bucket_spent(&slot->bucket) <= 0;
}

static void look_through(struct quota_thread *thread)
{
    struct quota_slot **link = &thread->active;
    int64_t now_ms = clock_monotonic_ms();

    if (now_ms - thread->looked_ms < LOOK_MS) {
        return;
    }
    thread->looked_ms = now_ms;
    while (*link) {
        struct quota_slot *slot = *link;
        if (look_at(thread, slot, now_ms)) {
            *link = slot->next_active;
            slot->active = false;
            live_unref(slot->owner);
        } else {
            link = &slot->next_active;
        }
    }
}

static void give_all(struct quota_thread *thread)
{
    while (thread->active) {
        struct quota_slot *slot = thread->active;
        thread->active = slot->next_active;
        slot->active = false;
        if (slot->bucket.until - bucket_spent(&slot->bucket) > 0) {
            give(thread, slot);
        }
        wake_all(slot, WAIT_FAULT);
        live_unref(slot->owner);
    }
}

static void *run(void *context)
{
    struct quota_thread *thread = context;

    for (;;) {
        struct quota_slot *slot = dequeue(thread);
        if (slot) {
            serve(thread, slot);
            live_unref(slot->owner);
        }
        look_through(thread);
        if (!slot) {
            pthread_mutex_lock(&thread->lock);
            bool stopping = thread->stopping;
            pthread_mutex_unlock(&thread->lock);
            if (stopping) {
                give_all(thread);
                return NULL;
            }
        }
    }
}

struct quota *quota_new(const struct secret *url, const char *replica)
{
    struct quota *quota = xcalloc(1, sizeof(*quota));
    pthread_condattr_t attributes;

    metrics_register(&questions);
    (void)snprintf(quota->replica, sizeof(quota->replica), "%s", replica);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    for (int i = 0; i < THREADS; i++) {
        struct quota_thread *thread = &quota->threads[i];
        thread->quota = quota;
        pthread_mutex_init(&thread->lock, NULL);
        pthread_cond_init(&thread->wanted, &attributes);
        quota_session_init(&thread->session, url, quota->replica);
        thread_start(&thread->thread, "quota", run, thread);
    }
    pthread_condattr_destroy(&attributes);
    return quota;
}

void quota_free(struct quota *quota)
{
    if (!quota) {
        return;
    }
    for (int i = 0; i < THREADS; i++) {
        struct quota_thread *thread = &quota->threads[i];
        pthread_mutex_lock(&thread->lock);
        thread->stopping = true;
        pthread_cond_signal(&thread->wanted);
        pthread_mutex_unlock(&thread->lock);
        (void)pthread_join(thread->thread, NULL);
        quota_session_release(&thread->session);
        pthread_cond_destroy(&thread->wanted);
        pthread_mutex_destroy(&thread->lock);
    }
    free(quota);
}
