/* A small HTTP/1.1 server on libwebsockets, in one thread of its own, for probes, metrics and debug
 * pages: GET and HEAD of a fixed table of paths, nothing else. Requests are limited by
 * libwebsockets' header pool and a timeout of 10 s; a connection limit keeps strangers from eating
 * descriptors. */
#ifndef TENANTRY_NET_HTTP_SERVER_H
#define TENANTRY_NET_HTTP_SERVER_H

#include <stddef.h>

#include "controller/base/attributes.h"
#include "controller/base/buf.h"
#include "controller/base/err.h"

struct http_server;

/* Renders a page into out and returns the status. Called on the server's thread; must be quick and
 * take no lock that is held during I/O. *content_type is "text/plain; charset=utf-8" unless
 * changed. */
typedef int (*http_page_fn)(void *context, struct buf *out, const char **content_type);

struct http_page {
    const char *path; /* exact */
    http_page_fn render;
    void *context;
};

struct http_server_config {
    const char *address; /* "127.0.0.1:8080", "[::]:8080", ":8080"; port 0 picks a free one */
    const struct http_page *pages; /* copied */
    size_t page_count;
};

/* Listen and serve until freed. Errors: TERMINAL/ListenFailed, TERMINAL/InvalidAddress. */
MUST_CHECK int http_server_new(const struct http_server_config *config, struct http_server **ret,
                               struct err *err);
void http_server_free(struct http_server *server);

/* The port listened on. */
int http_server_port(const struct http_server *server);

#endif
