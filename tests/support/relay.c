#include "tests/support/relay.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/check.h"

enum { CONNECTIONS_MAX = 256, COPY_BYTES = 64 * 1024 };

struct connection {
    int client_fd; /* -1: the place is free */
    int server_fd;
    bool frozen;
};

struct relay {
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t obeyed;
    int listen_fd;
    int wake_fd;
    int port;
    int target_port;
    bool stopping;
    bool freeze;
    bool reset;
    size_t accepted;
    struct connection connections[CONNECTIONS_MAX];
};

static struct sockaddr_in loopback(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)port);
    return address;
}

static void connection_close(struct connection *connection, bool reset)
{
    if (reset) { /* closing with a linger time of 0 sends RST */
        const struct linger linger = {.l_onoff = 1, .l_linger = 0};
        (void)setsockopt(connection->client_fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    }
    close(connection->client_fd);
    close(connection->server_fd);
    *connection = (struct connection){.client_fd = -1, .server_fd = -1};
}

static void accept_one(struct relay *relay)
{
    struct sockaddr_in target = loopback(relay->target_port);
    int client_fd = accept4(relay->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    int server_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client_fd < 0 || server_fd < 0 ||
        connect(server_fd, (struct sockaddr *)&target, sizeof(target)) != 0) {
        close(client_fd);
        close(server_fd);
        return;
    }
    for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
        if (relay->connections[i].client_fd < 0) {
            relay->connections[i] =
                (struct connection){.client_fd = client_fd, .server_fd = server_fd};
            relay->accepted++;
            return;
        }
    }
    close(client_fd);
    close(server_fd);
}

/* False when the source has ended. */
static bool copy_some(int from, int to)
{
    static _Thread_local char bytes[COPY_BYTES];
    ssize_t got = recv(from, bytes, sizeof(bytes), 0);
    for (ssize_t sent = 0; sent < got;) {
        ssize_t now = send(to, bytes + sent, (size_t)(got - sent), MSG_NOSIGNAL);
        if (now <= 0) {
            return false;
        }
        sent += now;
    }
    return got > 0;
}

static void obey(struct relay *relay)
{
    uint64_t ignored = 0;
    (void)!read(relay->wake_fd, &ignored, sizeof(ignored));
    for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
        struct connection *connection = &relay->connections[i];
        if (connection->client_fd >= 0) {
            connection->frozen = connection->frozen || relay->freeze;
            if (relay->reset) {
                connection_close(connection, true);
            }
        }
    }
    relay->freeze = false;
    relay->reset = false;
    pthread_cond_broadcast(&relay->obeyed);
}

static void serve(struct connection *connection, const struct pollfd *ready)
{
    if (connection->client_fd < 0 || connection->frozen) {
        return;
    }
    if ((ready[0].revents != 0 && !copy_some(connection->client_fd, connection->server_fd)) ||
        (ready[1].revents != 0 && !copy_some(connection->server_fd, connection->client_fd))) {
        connection_close(connection, false);
    }
}

static void *relay_main(void *context)
{
    struct relay *relay = context;
    struct pollfd ready[2 + 2 * CONNECTIONS_MAX];
    for (;;) {
        pthread_mutex_lock(&relay->lock);
        ready[0] = (struct pollfd){.fd = relay->listen_fd, .events = POLLIN};
        ready[1] = (struct pollfd){.fd = relay->wake_fd, .events = POLLIN};
        for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
            const struct connection *connection = &relay->connections[i];
            bool open = connection->client_fd >= 0 && !connection->frozen;
            ready[2 + 2 * i] = (struct pollfd){open ? connection->client_fd : -1, POLLIN, 0};
            ready[3 + 2 * i] = (struct pollfd){open ? connection->server_fd : -1, POLLIN, 0};
        }
        pthread_mutex_unlock(&relay->lock);
        (void)poll(ready, ARRAY_COUNT(ready), -1);

        pthread_mutex_lock(&relay->lock);
        for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
            serve(&relay->connections[i], &ready[2 + 2 * i]);
        }
        if (ready[1].revents != 0) {
            obey(relay);
        }
        if (ready[0].revents != 0) {
            accept_one(relay);
        }
        bool stopping = relay->stopping;
        pthread_mutex_unlock(&relay->lock);
        if (stopping) {
            return NULL;
        }
    }
}

struct relay *relay_start(int target_port)
{
    struct relay *relay = xcalloc(1, sizeof(*relay));
    struct sockaddr_in address = loopback(0);
    socklen_t length = sizeof(address);
    relay->target_port = target_port;
    relay->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    relay->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (relay->listen_fd < 0 || relay->wake_fd < 0) {
        fail_msg("no descriptor is left");
        return NULL;
    }
    CHECK_INT(bind(relay->listen_fd, (struct sockaddr *)&address, length), 0);
    CHECK_INT(listen(relay->listen_fd, CONNECTIONS_MAX), 0);
    CHECK_INT(getsockname(relay->listen_fd, (struct sockaddr *)&address, &length), 0);
    relay->port = ntohs(address.sin_port);
    for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
        relay->connections[i] = (struct connection){.client_fd = -1, .server_fd = -1};
    }
    pthread_mutex_init(&relay->lock, NULL);
    pthread_cond_init(&relay->obeyed, NULL);
    CHECK_INT(pthread_create(&relay->thread, NULL, relay_main, relay), 0);
    return relay;
}

/* Have the loop do what the flag says; returns when it is done. */
static void order(struct relay *relay, bool *flag)
{
    const uint64_t one = 1;
    pthread_mutex_lock(&relay->lock);
    *flag = true;
    CHECK_INT(write(relay->wake_fd, &one, sizeof(one)), sizeof(one));
    while (*flag) {
        pthread_cond_wait(&relay->obeyed, &relay->lock);
    }
    pthread_mutex_unlock(&relay->lock);
}

void relay_freeze(struct relay *relay)
{
    order(relay, &relay->freeze);
}

void relay_reset(struct relay *relay)
{
    order(relay, &relay->reset);
}

void relay_stop(struct relay *relay)
{
    const uint64_t one = 1;
    pthread_mutex_lock(&relay->lock);
    relay->stopping = true;
    CHECK_INT(write(relay->wake_fd, &one, sizeof(one)), sizeof(one));
    pthread_mutex_unlock(&relay->lock);
    CHECK_INT(pthread_join(relay->thread, NULL), 0);
    for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
        if (relay->connections[i].client_fd >= 0) {
            connection_close(&relay->connections[i], false);
        }
    }
    close(relay->listen_fd);
    close(relay->wake_fd);
    pthread_cond_destroy(&relay->obeyed);
    pthread_mutex_destroy(&relay->lock);
    free(relay);
}

int relay_port(const struct relay *relay)
{
    return relay->port;
}

size_t relay_accepted(struct relay *relay)
{
    pthread_mutex_lock(&relay->lock);
    size_t accepted = relay->accepted;
    pthread_mutex_unlock(&relay->lock);
    return accepted;
}

size_t relay_open(struct relay *relay)
{
    size_t open = 0;
    pthread_mutex_lock(&relay->lock);
    for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
        open += relay->connections[i].client_fd >= 0;
    }
    pthread_mutex_unlock(&relay->lock);
    return open;
}
