#include "gateway/workers.h"

#include <pthread.h>
#include <stdlib.h>

#include "controller/base/thread.h"

struct workers {
    pthread_mutex_t lock;
    pthread_cond_t wanted;
    struct job *first, *last;
    int queued;
    int queue_max;
    bool stopping;
    int thread_count;
    pthread_t threads[];
};

static struct job *next_job(struct workers *workers)
{
    pthread_mutex_lock(&workers->lock);
    while (!workers->first && !workers->stopping) {
        pthread_cond_wait(&workers->wanted, &workers->lock);
    }
    struct job *job = workers->first;
    if (job) {
        workers->first = job->next;
        workers->last = workers->first ? workers->last : NULL;
        workers->queued--;
    }
    pthread_mutex_unlock(&workers->lock);
    return job;
}

static void *run(void *context)
{
    struct workers *workers = context;
    struct job *job = NULL;

    while ((job = next_job(workers)) != NULL) {
        job->run(job);
    }
    return NULL;
}

struct workers *workers_new(const char *name, int threads, int queue_max)
{
    struct workers *workers = xcalloc(1, sizeof(*workers) + (size_t)threads * sizeof(pthread_t));

    pthread_mutex_init(&workers->lock, NULL);
    pthread_cond_init(&workers->wanted, NULL);
    workers->queue_max = queue_max;
    workers->thread_count = threads;
    for (int i = 0; i < threads; i++) {
        thread_start(&workers->threads[i], name, run, workers);
    }
    return workers;
}

void workers_free(struct workers *workers)
{
    if (!workers) {
        return;
    }
    pthread_mutex_lock(&workers->lock);
    workers->stopping = true;
    pthread_cond_broadcast(&workers->wanted);
    pthread_mutex_unlock(&workers->lock);
    for (int i = 0; i < workers->thread_count; i++) {
        (void)pthread_join(workers->threads[i], NULL);
    }
    pthread_cond_destroy(&workers->wanted);
    pthread_mutex_destroy(&workers->lock);
    free(workers);
}

bool workers_submit(struct workers *workers, struct job *job)
{
    pthread_mutex_lock(&workers->lock);
    bool room = workers->queued < workers->queue_max && !workers->stopping;
    if (room) {
        job->next = NULL;
        if (workers->last) {
            workers->last->next = job;
        } else {
            workers->first = job;
        }
        workers->last = job;
        workers->queued++;
        pthread_cond_signal(&workers->wanted);
    }
    pthread_mutex_unlock(&workers->lock);
    return room;
}
