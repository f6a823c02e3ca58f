/* Several objects of one tenant, side by side. */
#include <pthread.h>

#include "controller/runtime/crew.h"
#include "reconcilers/objects/children.h"

enum { SIDE_BY_SIDE_MAX = 16 };

struct batch {
    struct reconcile *rc;
    const struct tenant_work *work;
    const struct intent *intents;
    pthread_mutex_t lock;
    pthread_cond_t idle;
    int running;
};

struct piece {
    struct batch *batch;
    size_t index;
    struct arena arena;
    struct err *failure; /* in the arena; NULL when it went well */
};

static void run_piece(struct piece *piece)
{
    struct reconcile own = *piece->batch->rc;
    enum child_fate fate;
    struct err err;
    own.arena = &piece->arena;
    if (children_ensure(&own, piece->batch->work, &piece->batch->intents[piece->index], &fate,
                        &err)) {
        piece->failure = ARENA_NEW(&piece->arena, struct err);
        *piece->failure = err;
    }
}

static void run_by_hand(void *context)
{
    struct piece *piece = context;
    struct batch *batch = piece->batch;
    run_piece(piece);
    pthread_mutex_lock(&batch->lock);
    if (--batch->running == 0) {
        pthread_cond_signal(&batch->idle);
    }
    pthread_mutex_unlock(&batch->lock);
}

/* What nobody takes, the caller does itself; so does it with the last. */
static void hand_out(struct batch *batch, struct piece *pieces, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        arena_init(&pieces[i].arena, batch->rc->arena->limit_bytes);
        pthread_mutex_lock(&batch->lock);
        batch->running++;
        pthread_mutex_unlock(&batch->lock);
        if (i + 1 == count || !crew_offer(batch->work->services->crew, run_by_hand, &pieces[i])) {
            run_by_hand(&pieces[i]);
        }
    }
    pthread_mutex_lock(&batch->lock);
    while (batch->running > 0) {
        pthread_cond_wait(&batch->idle, &batch->lock);
    }
    pthread_mutex_unlock(&batch->lock);
}

int children_apply(struct reconcile *rc, const struct tenant_work *work,
                   const struct intent *intents, size_t count, struct err *err)
{
    struct batch batch = {.rc = rc, .work = work, .intents = intents};
    struct piece *pieces = ARENA_ARRAY(rc->arena, struct piece, count);
    const struct err *failed = NULL;

    pthread_mutex_init(&batch.lock, NULL);
    pthread_cond_init(&batch.idle, NULL);
    for (size_t i = 0; i < count; i++) {
        pieces[i] = (struct piece){.batch = &batch, .index = i};
    }
    for (size_t i = 0; i < count; i += SIDE_BY_SIDE_MAX) {
        hand_out(&batch, pieces + i, count - i < SIDE_BY_SIDE_MAX ? count - i : SIDE_BY_SIDE_MAX);
    }
    pthread_cond_destroy(&batch.idle);
    pthread_mutex_destroy(&batch.lock);
    for (size_t i = 0; i < count; i++) {
        arena_absorb(rc->arena, &pieces[i].arena);
        const struct err *failure = pieces[i].failure;
        if (failure && (!failed || (failed->cls != ERR_CANCELED && failure->cls == ERR_CANCELED))) {
            failed = failure;
        }
    }
    if (failed) {
        *err = *failed;
        return -1;
    }
    return 0;
}
