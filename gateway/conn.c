/* The bytes of one connection. Requests are taken one after the other; the next is looked at when
 * the one before is answered and the answer is taken by the peer, so that whoever does not read
 * cannot make us store more. */
#include "gateway/front_internal.h"

#include <errno.h>
#include <openssl/ssl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "gateway/api.h"

enum {
    LINGER_MS = 2 * 1000,
    KEEP_MIN_BYTES = 4096,
    OUT_MAX_BYTES = 64 << 20,
};

/* ---- life ---- */

/* From any thread. */
static void wake(struct waiter *waiter, enum wait_result result)
{
    struct conn *conn = (struct conn *)waiter;
    struct front_thread *thread = conn->thread;

    pthread_mutex_lock(&thread->lock);
    conn->woken = result;
    waiter->next = thread->woken;
    thread->woken = waiter;
    pthread_mutex_unlock(&thread->lock);
    (void)eventfd_write(thread->wake_fd, 1);
}

static void link_first(struct conn *conn)
{
    struct conn *head = &conn->thread->conns;

    conn->prev = head;
    conn->next = head->next;
    head->next->prev = conn;
    head->next = conn;
}

static void unlink_conn(struct conn *conn)
{
    conn->prev->next = conn->next;
    conn->next->prev = conn->prev;
}

struct conn *conn_new(struct front_thread *thread, int fd, SSL *ssl)
{
    struct conn *conn = xcalloc(1, sizeof(*conn));

    conn->waiter.wake = wake;
    conn->thread = thread;
    conn->fd = fd;
    conn->ssl = ssl;
    conn->handshaken = !ssl;
    conn->deadline_ms = thread->now_ms + thread->config->head_ms;
    buf_init(&conn->out, OUT_MAX_BYTES);
    link_first(conn);
    thread->conn_count++;
    (void)atomic_fetch_add_explicit(&thread->connections, 1, memory_order_relaxed);
    return conn;
}

void conn_end(struct conn *conn)
{
    struct front_thread *thread = conn->thread;

    if (conn->dead) {
        return;
    }
    if (conn->wait == CONN_WAITS) { /* whoever wakes it still holds it */
        conn->hung_up = true;
        return;
    }
    conn->dead = true;
    unlink_conn(conn);
    conn->next = thread->dead;
    thread->dead = conn;
    thread->conn_count--;
    (void)atomic_fetch_sub_explicit(&thread->connections, 1, memory_order_relaxed);
}

void conn_bury(struct front_thread *thread)
{
    while (thread->dead) {
        struct conn *conn = thread->dead;
        thread->dead = conn->next;
        SSL_free(conn->ssl);
        (void)close(conn->fd);
        free(conn->in);
        buf_release(&conn->out);
        api_call_free(conn->call);
        free(conn);
    }
}

bool conn_is_idle(const struct conn *conn)
{
    return conn->wait == CONN_READS && conn->in_length == 0 && conn->out.len == conn->out_sent;
}

/* ---- reading and writing ---- */

enum { IO_AGAIN = -1, IO_OVER = -2 };

static ssize_t tls_result(struct conn *conn, int result)
{
    switch (SSL_get_error(conn->ssl, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return IO_AGAIN;
    default:
        return IO_OVER;
    }
}

static ssize_t receive(struct conn *conn, char *to, size_t room)
{
    if (conn->ssl) {
        int count = SSL_read(conn->ssl, to, (int)room);
        return count > 0 ? count : tls_result(conn, count);
    }
    ssize_t count = recv(conn->fd, to, room, 0);
    if (count > 0) {
        return count;
    }
    return count < 0 && (errno == EAGAIN || errno == EINTR) ? IO_AGAIN : IO_OVER;
}

static ssize_t transmit(struct conn *conn, const char *from, size_t count)
{
    if (conn->ssl) {
        int sent = SSL_write(conn->ssl, from, (int)(count < INT32_MAX ? count : INT32_MAX));
        return sent > 0 ? sent : tls_result(conn, sent);
    }
    ssize_t sent = send(conn->fd, from, count, MSG_NOSIGNAL);
    if (sent >= 0) {
        return sent;
    }
    return errno == EAGAIN || errno == EINTR ? IO_AGAIN : IO_OVER;
}

/* Send what lies in conn->out. False when the connection is over. */
static bool send_stored(struct conn *conn)
{
    while (conn->out_sent < conn->out.len) {
        ssize_t sent =
            transmit(conn, conn->out.ptr + conn->out_sent, conn->out.len - conn->out_sent);
        if (sent == IO_AGAIN) {
            return true;
        }
        if (sent < 0) {
            return false;
        }
        conn->out_sent += (size_t)sent;
    }
    if (conn->out.ptr) {
        buf_release(&conn->out);
        buf_init(&conn->out, OUT_MAX_BYTES);
        conn->out_sent = 0;
    }
    return true;
}

/* Send what the thread's buffer holds, all of it this connection's. */
static bool flush(struct conn *conn)
{
    struct front_thread *thread = conn->thread;
    size_t sent = 0;

    if (conn->out.len == 0 && thread->out_length > 0) {
        ssize_t count = transmit(conn, thread->out, thread->out_length);
        if (count == IO_OVER) {
            thread->out_length = 0;
            return false;
        }
        sent = count > 0 ? (size_t)count : 0;
    }
    if (sent < thread->out_length) {
        (void)buf_append(&conn->out, thread->out + sent, thread->out_length - sent);
    }
    thread->out_length = 0;
    return !buf_failed(&conn->out) && send_stored(conn);
}

/* ---- requests ---- */

/* Have `length` bytes, which may be a part of conn->in itself, in memory of the connection's own.
 */
static void keep(struct conn *conn, const char *bytes, size_t length)
{
    if (length == 0) {
        free(conn->in);
        conn->in = NULL;
        conn->in_capacity = 0;
    } else if (bytes != conn->in) {
        if (!conn->in) {
            conn->in_capacity = length > KEEP_MIN_BYTES ? length : KEEP_MIN_BYTES;
            conn->in = xmalloc(conn->in_capacity);
        }
        memmove(conn->in, bytes, length);
    }
    conn->in_length = length;
}

static bool have_answer_room(struct conn *conn)
{
    return FRONT_OUT_BYTES - conn->thread->out_length >= FRONT_ANSWER_MAX_BYTES || flush(conn);
}

/* Serve one request at the front of the bytes: how many were used up; 0 when it is not complete, or
 * waits. */
static size_t serve_one(struct conn *conn, struct str bytes)
{
    struct request request;

    switch (request_parse(bytes, &request)) {
    case REQUEST_MORE:
        return 0;
    case REQUEST_BAD:
        serve_refusal(conn, request.refusal);
        return bytes.len;
    case REQUEST_READY:
        break;
    }
    size_t total = request.head_bytes + (size_t)request.content_length;
    conn->body_waits = bytes.len < total;
    if (conn->body_waits) {
        if (request.expects_continue && !conn->continued) {
            static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
            memcpy(conn->thread->out + conn->thread->out_length, go_on, sizeof(go_on) - 1);
            conn->thread->out_length += sizeof(go_on) - 1;
            conn->continued = true;
        }
        return 0;
    }
    if (serve(conn, &request, bytes.ptr + request.head_bytes) == SERVED_WAITS) {
        return 0;
    }
    conn->continued = false;
    conn->has_woken = false;
    conn->wait_from_ms = 0;
    conn->rate_passed = false;
    conn->partial_ms = 0;
    return total;
}

/* Serve what is complete among the bytes, and keep the rest. False when the connection is over. */
static bool serve_all(struct conn *conn, const char *bytes, size_t length)
{
    size_t used = 0;

    while (used < length && !conn->closing && conn->wait == CONN_READS &&
           conn->out.len == conn->out_sent) {
        if (!have_answer_room(conn)) {
            return false;
        }
        size_t count = serve_one(conn, (struct str){bytes + used, length - used});
        if (count == 0) {
            break;
        }
        used += count;
    }
    keep(conn, bytes + used, conn->closing ? 0 : length - used);
    return flush(conn);
}

/* Room behind the kept bytes, or the thread's buffer when none are kept. */
static char *room_to_read(struct conn *conn, size_t *ret_room)
{
    if (!conn->in) {
        *ret_room = FRONT_IN_BYTES;
        return conn->thread->in;
    }
    if (conn->in_length == conn->in_capacity) {
        size_t wanted = 2 * conn->in_capacity;
        conn->in_capacity = wanted < FRONT_IN_BYTES ? wanted : FRONT_IN_BYTES;
        conn->in = xrealloc(conn->in, conn->in_capacity);
    }
    *ret_room = conn->in_capacity - conn->in_length;
    return conn->in + conn->in_length;
}

/* A head that cannot be complete without a line's end is not parsed again for each byte. */
static bool may_be_complete(const struct conn *conn, const char *fresh, size_t count)
{
    return conn->in_length == 0 || conn->in_length >= REQUEST_HEAD_MAX_BYTES ||
           conn->partial_ms == 0 || memchr(fresh, '\n', count) || conn->in_length + count > 1024;
}

/* False when the connection is over. */
static bool read_on(struct conn *conn)
{
    for (;;) {
        size_t room = 0;
        char *to = room_to_read(conn, &room);
        if (room == 0) { /* more than any request may have */
            return false;
        }
        ssize_t count = receive(conn, to, room);
        if (count < 0) {
            return count == IO_AGAIN;
        }
        if (!conn->in) {
            if (!serve_all(conn, to, (size_t)count)) {
                return false;
            }
        } else {
            bool look = may_be_complete(conn, to, (size_t)count);
            conn->in_length += (size_t)count;
            if (look && !serve_all(conn, conn->in, conn->in_length)) {
                return false;
            }
        }
        if (conn->closing || conn->wait != CONN_READS || conn->out.len > conn->out_sent) {
            conn->readable = true;
            return true;
        }
        if ((size_t)count < room && !conn->ssl) {
            return true; /* the next bytes are a new event */
        }
    }
}

/* ---- the connection's turn ---- */

/* Throw away what comes until the peer closes: closing with bytes unread would make the kernel
 * reset the connection, and the answer would be lost with it. */
static bool linger(struct conn *conn)
{
    if (!conn->lingering) {
        conn->lingering = true;
        conn->deadline_ms = conn->thread->now_ms + LINGER_MS;
        if (conn->ssl) {
            (void)SSL_shutdown(conn->ssl);
        }
        (void)shutdown(conn->fd, SHUT_WR);
    }
    for (;;) {
        ssize_t count = recv(conn->fd, conn->thread->in, FRONT_IN_BYTES, 0);
        if (count <= 0) {
            return count < 0 && (errno == EAGAIN || errno == EINTR);
        }
    }
}

static void set_deadline(struct conn *conn)
{
    const struct front_config *config = conn->thread->config;
    int64_t now_ms = conn->thread->now_ms;

    if (conn->lingering || !conn->handshaken) {
        return;
    }
    if (conn->out.len > conn->out_sent) {
        conn->deadline_ms = now_ms + config->write_ms;
    } else if (conn->in_length > 0) {
        /* Slow bytes do not move it on. */
        conn->partial_ms = conn->partial_ms ? conn->partial_ms : now_ms;
        conn->deadline_ms =
            conn->partial_ms + (conn->body_waits ? config->body_ms : config->head_ms);
    } else {
        conn->deadline_ms = now_ms + config->idle_ms;
    }
}

/* -1 when it failed, 0 when it goes on, 1 when it is done. */
static int shake_hands(struct conn *conn)
{
    if (conn->handshaken) {
        return 1;
    }
    int result = SSL_accept(conn->ssl);
    if (result == 1) {
        conn->handshaken = true;
        return 1;
    }
    return tls_result(conn, result) == IO_AGAIN ? 0 : -1;
}

static bool work(struct conn *conn)
{
    int hands = shake_hands(conn);

    if (hands <= 0) {
        return hands == 0;
    }
    if (conn->lingering) {
        return linger(conn);
    }
    if (conn->out.len > conn->out_sent) {
        if (!send_stored(conn)) {
            return false;
        }
        if (conn->out.len > conn->out_sent) {
            conn->readable = true;
            return true;
        }
        /* Requests may lie there that were not looked at while the peer did not read. */
        if (conn->in_length > 0 && !conn->closing && conn->wait == CONN_READS &&
            !serve_all(conn, conn->in, conn->in_length)) {
            return false;
        }
    }
    if (!conn->closing && conn->wait == CONN_READS && !read_on(conn)) {
        return false;
    }
    return !conn->closing || conn->out.len > conn->out_sent || linger(conn);
}

void conn_work(struct conn *conn)
{
    if (conn->dead) {
        return;
    }
    if (conn->wait != CONN_READS) {
        conn->readable = true;
        return;
    }
    unlink_conn(conn);
    link_first(conn);
    conn->readable = false;
    if (work(conn)) {
        set_deadline(conn);
    } else {
        conn_end(conn);
    }
}

void conn_resume(struct conn *conn)
{
    conn->wait = CONN_READS;
    if (conn->hung_up) {
        conn_end(conn);
        return;
    }
    if (!serve_all(conn, conn->in, conn->in_length)) {
        conn_end(conn);
    } else if (conn->wait == CONN_READS) {
        conn_work(conn);
    }
}
