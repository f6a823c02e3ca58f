/* Host names to addresses. getaddrinfo blocks for as long as the resolver likes and cannot be
 * interrupted, and libpq calls it from PQconnectPoll; so names are resolved here, in a thread that
 * is abandoned when nobody waits for it any more, and libpq is given addresses only.
 *
 * A lookup is shared by the waiting caller and its thread, by reference count. The thread writes
 * the answer before it makes the eventfd readable; the caller reads it only after that. */
#include <arpa/inet.h>
#include <netdb.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "controller/base/clock.h"
#include "reconcilers/drivers/sql_internal.h"

enum {
    LOOKUPS_MAX = 64, /* abandoned ones included: a resolver that hangs must not eat all memory */
    LOOKUP_STACK_BYTES = 512 * 1024, /* NSS modules are someone else's code */
};

struct lookup {
    atomic_int references;
    atomic_bool done; /* set after the answer is written, before done_fd */
    int done_fd;
    char *host;
    int status; /* of getaddrinfo */
    struct sql_addresses addresses;
};

static atomic_int running_lookups;

bool sql_host_is_literal(const char *host)
{
    unsigned char address[sizeof(struct in6_addr)];

    /* libpq takes an abstract socket as '@'; "fe80::1%eth0" carries a scope. */
    return !host || host[0] == '\0' || host[0] == '/' || host[0] == '@' || strchr(host, '%') ||
           inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

static void unref_lookup(struct lookup *lookup)
{
    if (atomic_fetch_sub(&lookup->references, 1) == 1) {
        close(lookup->done_fd);
        free(lookup->host);
        free(lookup);
    }
}

static void take_addresses(const struct addrinfo *list, struct sql_addresses *ret)
{
    for (; list && ret->count < SQL_ADDRESSES_MAX; list = list->ai_next) {
        if (getnameinfo(list->ai_addr, list->ai_addrlen, ret->text[ret->count], SQL_ADDRESS_BYTES,
                        NULL, 0, NI_NUMERICHOST) == 0) {
            ret->count++;
        }
    }
}

static void *look_up(void *argument)
{
    struct lookup *lookup = argument;
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    const uint64_t one = 1;

    lookup->status = getaddrinfo(lookup->host, NULL, &hints, &list);
    if (lookup->status == 0) {
        take_addresses(list, &lookup->addresses);
        freeaddrinfo(list);
    }
    atomic_fetch_sub(&running_lookups, 1);
    atomic_store(&lookup->done, true);
    ssize_t written = write(lookup->done_fd, &one, sizeof(one));
    (void)written; /* an eventfd takes its first count always */
    unref_lookup(lookup);
    return NULL;
}

static int start_lookup(const char *host, struct lookup **ret, struct err *err)
{
    pthread_attr_t attributes;
    pthread_t thread;
    struct lookup *lookup = xcalloc(1, sizeof(*lookup));

    atomic_init(&lookup->references, 2);
    lookup->host = xstrdup(host);
    lookup->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    bool allowed = atomic_fetch_add(&running_lookups, 1) < LOOKUPS_MAX;
    int failure = 0;
    if (allowed && lookup->done_fd >= 0) {
        pthread_attr_init(&attributes);
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        pthread_attr_setstacksize(&attributes, LOOKUP_STACK_BYTES);
        failure = pthread_create(&thread, &attributes, look_up, lookup);
        pthread_attr_destroy(&attributes);
    }
    if (!allowed || lookup->done_fd < 0 || failure) {
        atomic_fetch_sub(&running_lookups, 1);
        atomic_store(&lookup->references, 1);
        unref_lookup(lookup);
        (void)sql_err_set(err, "08001", "too many look-ups of host names hang already");
        return -1;
    }
    *ret = lookup;
    return 0;
}

int sql_resolve(const char *host, const struct call *call, int64_t until_ms,
                struct sql_addresses *ret, struct err *err)
{
    int64_t start_ms = clock_monotonic_ms();
    struct lookup *lookup = NULL;
    int result = 0;

    if (start_lookup(host, &lookup, err)) {
        return -1;
    }
    switch (sql_wait_fd(lookup->done_fd, POLLIN, call, until_ms, NULL)) {
    case SQL_WAIT_CANCELED:
        result = err_set(err, ERR_CANCELED, "Canceled", "canceled");
        break;
    case SQL_WAIT_LATE:
        sql_err_late(start_ms, "the name server gave no answer in time", err);
        result = err_wrap(err, "host \"%s\"", host);
        break;
    case SQL_WAIT_READY:
        if (atomic_load(&lookup->done)) {
            *ret = lookup->addresses;
        }
        if (lookup->status != 0 || ret->count == 0) {
            sql_err_set(err, "08001",
                        lookup->status != 0 ? gai_strerror(lookup->status) : "no address");
            result = err_wrap(err, "host \"%s\"", host);
        }
        break;
    }
    unref_lookup(lookup);
    return result;
}
