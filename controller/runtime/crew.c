/* Each hand has its own condition variable, and idle hands wait on a stack: an offer wakes exactly
 * the hand that takes the piece, and the hand that rested least, whose stack is still warm, works
 * next. One mutex guards all; it is never held while a piece runs. */
#include "controller/runtime/crew.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "controller/base/thread.h"

struct hand {
    struct crew *crew;
    struct hand *next_idle;
    pthread_t thread;
    pthread_cond_t woken;
    void (*piece)(void *context); /* NULL while idle */
    void *context;
};

struct crew {
    pthread_mutex_t lock;
    struct hand *idle;
    bool stopping;
    int started;
    int limit;
    struct hand hands[];
};

struct crew *crew_new(int hands)
{
    int limit = hands > 0 ? hands : 0;
    struct crew *crew = xcalloc(1, sizeof(*crew) + (size_t)limit * sizeof(crew->hands[0]));
    pthread_mutex_init(&crew->lock, NULL);
    crew->limit = limit;
    return crew;
}

static void *hand_run(void *context)
{
    struct hand *hand = context;
    struct crew *crew = hand->crew;

    pthread_mutex_lock(&crew->lock);
    for (;;) {
        if (hand->piece) {
            pthread_mutex_unlock(&crew->lock);
            hand->piece(hand->context);
            pthread_mutex_lock(&crew->lock);
            hand->piece = NULL;
            hand->next_idle = crew->idle;
            crew->idle = hand;
        } else if (crew->stopping) {
            break;
        } else {
            pthread_cond_wait(&hand->woken, &crew->lock);
        }
    }
    pthread_mutex_unlock(&crew->lock);
    return NULL;
}

static bool start_hand(struct crew *crew, void (*piece)(void *context), void *context)
{
    struct hand *hand = &crew->hands[crew->started];
    *hand = (struct hand){.crew = crew, .piece = piece, .context = context};
    pthread_cond_init(&hand->woken, NULL);

    char name[16];
    (void)snprintf(name, sizeof(name), "crew-%d", crew->started);
    if (!thread_try_start(&hand->thread, name, hand_run, hand)) {
        pthread_cond_destroy(&hand->woken);
        return false;
    }
    crew->started++;
    return true;
}

bool crew_offer(struct crew *crew, void (*piece)(void *context), void *context)
{
    if (!crew) {
        return false;
    }
    bool taken = false;
    pthread_mutex_lock(&crew->lock);
    struct hand *hand = crew->idle;
    if (hand) {
        crew->idle = hand->next_idle;
        hand->piece = piece;
        hand->context = context;
        pthread_cond_signal(&hand->woken);
        taken = true;
    } else if (crew->started < crew->limit && !crew->stopping) {
        taken = start_hand(crew, piece, context);
    }
    pthread_mutex_unlock(&crew->lock);
    return taken;
}

void crew_free(struct crew *crew)
{
    if (!crew) {
        return;
    }
    pthread_mutex_lock(&crew->lock);
    crew->stopping = true;
    for (int i = 0; i < crew->started; i++) {
        pthread_cond_signal(&crew->hands[i].woken);
    }
    pthread_mutex_unlock(&crew->lock);

    for (int i = 0; i < crew->started; i++) {
        pthread_join(crew->hands[i].thread, NULL);
        pthread_cond_destroy(&crew->hands[i].woken);
    }
    pthread_mutex_destroy(&crew->lock);
    free(crew);
}
