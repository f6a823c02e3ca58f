/* 256 KiB of stack are plenty for what runs here (TLS handshakes, libpq, a few `struct err` of 1.1
 * KiB) and keep a program of fifty threads small, though only touched pages count. Sanitizers widen
 * every frame, so they get more. */
#include "controller/base/thread.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define THREAD_WIDE_FRAMES 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define THREAD_WIDE_FRAMES 1
#endif
#endif

#ifdef THREAD_WIDE_FRAMES
enum { STACK_BYTES = 2 * 1024 * 1024 };
#else
enum { STACK_BYTES = 256 * 1024 };
#endif

enum { NAME_BYTES = 16 }; /* the kernel's limit, with the NUL */

bool thread_try_start(pthread_t *ret, const char *name, void *(*body)(void *context), void *context)
{
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0) {
        return false;
    }
    (void)pthread_attr_setstacksize(&attributes, STACK_BYTES);

    /* The new thread inherits the mask: signals are for the one thread that waits for them. */
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    /* But for those that tell of a fault in this very thread: blocked, they would end the program
     * without a word, and no sanitizer could report. */
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS};
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        sigdelset(&all, faults[i]);
    }
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int failure = pthread_create(ret, &attributes, body, context);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attributes);
    if (failure != 0) {
        return false;
    }
    char short_name[NAME_BYTES];
    (void)snprintf(short_name, sizeof(short_name), "%s", name);
    (void)pthread_setname_np(*ret, short_name);
    return true;
}

void thread_start(pthread_t *ret, const char *name, void *(*body)(void *context), void *context)
{
    if (!thread_try_start(ret, name, body, context)) {
        (void)fprintf(stderr, "cannot start thread %s: too many threads or too little memory\n",
                      name);
        abort();
    }
}
