/* The HTTP server on libwebsockets.
 *
 * The listening socket is ours, since libwebsockets would neither tell why it cannot listen nor
 * accept as many connections as we want and no more; it takes part in the service loop as a raw
 * descriptor, and what it accepts is handed over. Everything else happens on the service thread in
 * one callback: a request's page is rendered at once and then written out piece by piece as the
 * connection takes it. */
#include "controller/net/http_server.h"

#include <errno.h>
#include <libwebsockets.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "controller/base/str.h"
#include "controller/base/thread.h"

enum {
    CONNECTIONS_MAX = 64,
    DESCRIPTORS_MAX = CONNECTIONS_MAX + 16, /* the listener and what libwebsockets needs itself */
    REQUESTS_AT_ONCE = 16,
    REQUEST_HEADER_MAX_BYTES = 8 * 1024,
    PATH_MAX_BYTES = 1024,
    PAGE_MAX_BYTES = 64 * 1024 * 1024,
    PIECE_BYTES = 16 * 1024,
    TIMEOUT_S = 10,
    KEEPALIVE_S = 30,
    BACKLOG = 64,
};

struct http_server {
    struct lws_context *context;
    struct lws_vhost *vhost;
    struct lws_protocols protocols[2];
    pthread_t thread;
    atomic_bool stopping;
    int listen_fd;
    bool listening; /* the service loop holds listen_fd and closes it */
    int port;
    struct http_page *pages;
    size_t page_count;
    int connection_count; /* service thread only */
};

/* What libwebsockets keeps for each connection; zeroed. */
struct session {
    struct buf page;
    size_t sent;
    bool counted;
};

/* --- answering ------------------------------------------------------------------------------- */

static const struct http_page *find_page(const struct http_server *server, const char *path)
{
    for (size_t i = 0; i < server->page_count; i++) {
        if (text_equal(server->pages[i].path, path)) {
            return &server->pages[i];
        }
    }
    return NULL;
}

static int write_headers(struct lws *wsi, int status, const char *content_type, size_t length)
{
    unsigned char headers[LWS_PRE + 1024];
    unsigned char *at = headers + LWS_PRE;
    unsigned char *end = headers + sizeof(headers) - 1;
    if (lws_add_http_common_headers(wsi, (unsigned int)status, content_type, length, &at, end) !=
        0) {
        return -1;
    }
    /* Its body is not read, so the connection ends, and the client is told not to use it again. */
    if (status == HTTP_STATUS_METHOD_NOT_ALLOWED &&
        (lws_add_http_header_by_name(wsi, (const unsigned char *)"allow:",
                                     (const unsigned char *)"GET, HEAD", 9, &at, end) != 0 ||
         lws_add_http_header_by_name(wsi, (const unsigned char *)"connection:",
                                     (const unsigned char *)"close", 5, &at, end) != 0)) {
        return -1;
    }
    return lws_finalize_write_http_header(wsi, headers + LWS_PRE, &at, end);
}

static int transaction_done(struct lws *wsi, struct session *session)
{
    buf_release(&session->page);
    session->sent = 0;
    /* Non-zero asks for the connection to be closed. */
    return lws_http_transaction_completed(wsi) != 0 ? -1 : 0;
}

static int begin_answer(struct http_server *server, struct lws *wsi, struct session *session,
                        const char *path)
{
    bool get = lws_hdr_total_length(wsi, WSI_TOKEN_GET_URI) > 0;
    bool head = lws_hdr_total_length(wsi, WSI_TOKEN_HEAD_URI) > 0;
    const char *content_type = "text/plain; charset=utf-8";
    const struct http_page *page = find_page(server, path);
    int status = HTTP_STATUS_OK;

    buf_init(&session->page, PAGE_MAX_BYTES);
    session->sent = 0;
    if (!get && !head) {
        status = HTTP_STATUS_METHOD_NOT_ALLOWED; /* without a page, and the body is not awaited */
    } else if (!page) {
        status = HTTP_STATUS_NOT_FOUND;
        buf_append_text(&session->page, "there is no such page\n");
    } else {
        status = page->render(page->context, &session->page, &content_type);
    }
    if (buf_failed(&session->page)) {
        buf_clear(&session->page);
        status = HTTP_STATUS_INTERNAL_SERVER_ERROR;
        buf_append_text(&session->page, "the page is too large\n");
    }
    if (write_headers(wsi, status, content_type, session->page.len) != 0) {
        return -1;
    }
    if (status == HTTP_STATUS_METHOD_NOT_ALLOWED) {
        return -1;
    }
    if (head || session->page.len == 0) {
        return transaction_done(wsi, session);
    }
    lws_callback_on_writable(wsi);
    return 0;
}

static int continue_answer(struct lws *wsi, struct session *session)
{
    unsigned char piece[LWS_PRE + PIECE_BYTES];
    size_t left = session->page.len - session->sent;
    size_t length = left < PIECE_BYTES ? left : (size_t)PIECE_BYTES;
    if (length == 0) {
        return 0; /* no answer is under way */
    }
    memcpy(piece + LWS_PRE, buf_text(&session->page) + session->sent, length);
    bool last = length == left;
    if (lws_write(wsi, piece + LWS_PRE, length, last ? LWS_WRITE_HTTP_FINAL : LWS_WRITE_HTTP) < 0) {
        return -1;
    }
    session->sent += length;
    /* libwebsockets counts from the request on; a large page may take longer, as long as it goes
     * on. */
    lws_set_timeout(wsi, PENDING_TIMEOUT_HTTP_CONTENT, TIMEOUT_S);
    if (last) {
        return transaction_done(wsi, session);
    }
    lws_callback_on_writable(wsi);
    return 0;
}

/* --- connections ----------------------------------------------------------------------------- */

static void accept_connections(struct http_server *server)
{
    for (;;) {
        int fd = accept4(server->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0) {
            return; /* nobody more, or out of descriptors: the listener stays readable */
        }
        if (server->connection_count >= CONNECTIONS_MAX) {
            close(fd);
            continue;
        }
        /* Closes the descriptor when it fails. */
        (void)lws_adopt_socket_vhost(server->vhost, fd);
    }
}

static void session_opened(struct http_server *server, struct session *session)
{
    if (session && !session->counted) {
        session->counted = true;
        server->connection_count++;
    }
}

static void session_closed(struct http_server *server, struct session *session)
{
    if (session) {
        buf_release(&session->page);
        if (session->counted) {
            session->counted = false;
            server->connection_count--;
        }
    }
}

static int on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in,
                    size_t length)
{
    struct http_server *server = lws_context_user(lws_get_context(wsi));
    struct session *session = user;
    switch (reason) {
    case LWS_CALLBACK_RAW_RX_FILE:
        accept_connections(server);
        return 0;
    case LWS_CALLBACK_HTTP_BIND_PROTOCOL:
        session_opened(server, session);
        return 0;
    case LWS_CALLBACK_HTTP:
        return begin_answer(server, wsi, session, in);
    case LWS_CALLBACK_HTTP_WRITEABLE:
        return continue_answer(wsi, session);
    case LWS_CALLBACK_HTTP_DROP_PROTOCOL:
    case LWS_CALLBACK_CLOSED_HTTP:
        session_closed(server, session);
        return 0;
    default:
        return lws_callback_http_dummy(wsi, reason, user, in, length);
    }
}

static void *server_main(void *context)
{
    struct http_server *server = context;
    while (!atomic_load(&server->stopping) && lws_service(server->context, 0) >= 0) {
    }
    return NULL;
}

/* --- listening ------------------------------------------------------------------------------- */

/* "host:port", "[v6]:port" or ":port", taken apart in place. */
static int split_address(char *text, char **ret_host, char **ret_port, struct err *err)
{
    char *colon = strrchr(text, ':');
    int64_t port = 0;
    if (!colon || !str_to_int64(str_from(colon + 1), &port) || port < 0 || port > 65535) {
        return err_set(err, ERR_TERMINAL, "InvalidAddress",
                       "\"%s\" is no address to listen on; write HOST:PORT or :PORT", text);
    }
    *colon = '\0';
    *ret_port = colon + 1;
    *ret_host = text;
    size_t length = strlen(text);
    if (length >= 2 && text[0] == '[' && text[length - 1] == ']') {
        text[length - 1] = '\0';
        *ret_host = text + 1;
    } else if (strchr(text, ':')) {
        return err_set(err, ERR_TERMINAL, "InvalidAddress",
                       "an IPv6 address to listen on is written in brackets, [%s]:%s", text,
                       *ret_port);
    }
    return 0;
}

static int open_listener(const struct addrinfo *address)
{
    int fd = socket(address->ai_family, address->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK,
                    address->ai_protocol);
    if (fd < 0) {
        return -1;
    }
    const int on = 1;
    const int off = 0;
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (address->ai_family == AF_INET6) { /* [::] takes IPv4 callers too */
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    }
    if (bind(fd, address->ai_addr, address->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
        int reason = errno;
        close(fd);
        errno = reason;
        return -1;
    }
    return fd;
}

static int port_of(int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t length = sizeof(address);
    if (getsockname(fd, (struct sockaddr *)&address, &length) != 0) {
        return 0;
    }
    /* The port stands at the same place for both families. */
    return ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                               : ((struct sockaddr_in *)&address)->sin_port);
}

static int listen_on(struct http_server *server, const char *address_text, struct err *err)
{
    AUTO(free) char *text = xstrdup(address_text);
    char *host = text;
    char *port = text;
    if (split_address(text, &host, &port, err) != 0) {
        return -1;
    }
    bool any = host[0] == '\0';
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int failure = getaddrinfo(any ? "::" : host, port, &hints, &found);
    if (failure != 0) {
        return err_set(err, ERR_TERMINAL, "InvalidAddress", "cannot find the address \"%s\": %s",
                       address_text, gai_strerror(failure));
    }
    server->listen_fd = open_listener(found);
    freeaddrinfo(found);
    if (server->listen_fd < 0 && any && errno == EAFNOSUPPORT) { /* a kernel without IPv6 */
        struct sockaddr_in v4 = {.sin_family = AF_INET};
        int64_t number = 0;
        v4.sin_port = str_to_int64(str_from(port), &number) ? htons((uint16_t)number) : 0;
        server->listen_fd = open_listener(&(struct addrinfo){.ai_family = AF_INET,
                                                             .ai_socktype = SOCK_STREAM,
                                                             .ai_addr = (struct sockaddr *)&v4,
                                                             .ai_addrlen = sizeof(v4)});
    }
    if (server->listen_fd < 0) {
        return err_set(err, ERR_TERMINAL, "ListenFailed", "cannot listen on %s: %s", address_text,
                       errno_text(errno));
    }
    server->port = port_of(server->listen_fd);
    return 0;
}

/* --- life ------------------------------------------------------------------------------------ */

static int start_service(struct http_server *server, struct err *err)
{
    server->protocols[0] = (struct lws_protocols){
        .name = "http", .callback = on_event, .per_session_data_size = sizeof(struct session)};
    struct lws_context_creation_info info = {0};
    info.port = CONTEXT_PORT_NO_LISTEN;
    info.protocols = server->protocols;
    info.user = server;
    info.options = LWS_SERVER_OPTION_EXPLICIT_VHOSTS;
    info.gid = -1;
    info.uid = -1;
    info.fd_limit_per_thread = DESCRIPTORS_MAX;
    info.max_http_header_pool = REQUESTS_AT_ONCE;
    info.max_http_header_data = REQUEST_HEADER_MAX_BYTES;
    info.timeout_secs = TIMEOUT_S;
    info.keepalive_timeout = KEEPALIVE_S;
    server->context = lws_create_context(&info);
    server->vhost = server->context ? lws_create_vhost(server->context, &info) : NULL;
    if (!server->vhost) {
        return err_set(err, ERR_RETRY, "OutOfResources", "the HTTP server cannot start");
    }
    lws_sock_file_fd_type listener = {.filefd = server->listen_fd};
    if (!lws_adopt_descriptor_vhost(server->vhost, LWS_ADOPT_RAW_FILE_DESC, listener, "http",
                                    NULL)) {
        return err_set(err, ERR_RETRY, "OutOfResources", "the HTTP server cannot start");
    }
    server->listening = true;
    return 0;
}

static int start_thread(struct http_server *server, struct err *err)
{
    if (!thread_try_start(&server->thread, "http-server", server_main, server)) {
        return err_set(err, ERR_RETRY, "OutOfResources", "cannot start a thread");
    }
    return 0;
}

static void server_release(struct http_server *server)
{
    if (server->context) {
        lws_context_destroy(server->context);
    }
    if (!server->listening) {
        auto_release_fd(&server->listen_fd);
    }
    free(server->pages);
    free(server);
}

int http_server_new(const struct http_server_config *config, struct http_server **ret,
                    struct err *err)
{
    /* What it would say goes to standard error, past our log. */
    lws_set_log_level(0, NULL);
    struct http_server *server = xcalloc(1, sizeof(*server));
    server->listen_fd = -1;
    server->page_count = config->page_count;
    server->pages = xcalloc(config->page_count + 1, sizeof(*server->pages));
    if (config->page_count > 0) {
        memcpy(server->pages, config->pages, config->page_count * sizeof(*server->pages));
    }
    if (listen_on(server, config->address, err) != 0 || start_service(server, err) != 0 ||
        start_thread(server, err) != 0) {
        server_release(server);
        return -1;
    }
    *ret = server;
    return 0;
}

void http_server_free(struct http_server *server)
{
    if (!server) {
        return;
    }
    atomic_store(&server->stopping, true);
    lws_cancel_service(server->context);
    pthread_join(server->thread, NULL);
    server_release(server);
}

int http_server_port(const struct http_server *server)
{
    return server->port;
}
