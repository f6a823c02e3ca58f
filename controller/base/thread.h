/* Threads as this program wants them: named, signals blocked, small stacks. */
#ifndef TENANTRY_BASE_THREAD_H
#define TENANTRY_BASE_THREAD_H

#include <pthread.h>
#include <stdbool.h>

#include "controller/base/attributes.h"

/* Start a thread; name is cut at 15 characters. False when the system has no more to give. */
MUST_CHECK bool thread_try_start(pthread_t *ret, const char *name, void *(*body)(void *context),
                                 void *context);

/* The same for a thread that the program cannot do without: says so and aborts. */
void thread_start(pthread_t *ret, const char *name, void *(*body)(void *context), void *context);

#endif
