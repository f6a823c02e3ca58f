/* The connection Secret: everything in it but the password follows from the tenant's place. */
#include <string.h>

#include "controller/base/buf.h"
#include "controller/base/str.h"
#include "reconcilers/database/login_internal.h"

enum {
    VALUE_MAX_BYTES = 64 * 1024,
    PASSWORD_MIN_CHARACTERS = 24,
    PASSWORD_MAX_CHARACTERS = 128,
};

/* ---- buffers that hold a password ---- */

static void auto_release_wiped(struct buf *buf)
{
    if (buf->ptr) {
        explicit_bzero(buf->ptr, buf->capacity);
    }
    buf_release(buf);
}

/* Large enough at first: growing would leave a copy behind in freed memory. */
static void reserve(struct buf *buf)
{
    static const char blank[4096];
    (void)buf_append(buf, blank, sizeof(blank));
    (void)buf_append(buf, blank, sizeof(blank));
    buf_clear(buf);
}

static void put(struct kube_secret *secret, const char *name, const struct buf *value)
{
    AUTO(secret) struct secret copy = {0};
    secret_init(&copy);
    secret_set(&copy, buf_str(value));
    kube_secret_put(secret, name, &copy);
}

/* ---- hosts ---- */

/* "h1:5432,[::1]:5432" */
static void append_authority(struct buf *out, const struct server_endpoint *endpoint)
{
    struct str rest = str_from(endpoint->host);
    for (bool first = true; rest.len > 0; first = false) {
        struct str host = str_cut(&rest, ',');
        bool bare_ipv6 = memchr(host.ptr, ':', host.len) != NULL;
        (void)buf_append_text(out, first ? "" : ",");
        (void)buf_append_text(out, bare_ipv6 ? "[" : "");
        (void)buf_append_str(out, host);
        (void)buf_append_text(out, bare_ipv6 ? "]" : "");
        (void)buf_printf(out, ":%d", endpoint->port);
    }
}

static bool has_several_hosts(const struct server_endpoint *endpoint)
{
    return strchr(endpoint->host, ',') != NULL;
}

/* ---- the forms ---- */

static void put_uri(struct kube_secret *ret, const struct login_address *address,
                    const struct secret *password)
{
    AUTO(wiped) struct buf uri = BUF(VALUE_MAX_BYTES);
    const struct server_endpoint *endpoint = &address->endpoint;

    reserve(&uri);
    (void)buf_append_text(&uri, "postgresql://");
    (void)buf_append_percent(&uri, str_from(address->user));
    (void)buf_append_char(&uri, ':');
    (void)buf_append_percent(&uri, (struct str){secret_bytes(password), secret_length(password)});
    (void)buf_append_char(&uri, '@');
    append_authority(&uri, endpoint);
    (void)buf_append_char(&uri, '/');
    (void)buf_append_percent(&uri, str_from(address->database));
    (void)buf_printf(&uri, "?sslmode=%s", endpoint->sslmode);
    if (has_several_hosts(endpoint) && !text_is_empty(endpoint->target_session_attrs)) {
        (void)buf_printf(&uri, "&target_session_attrs=%s", endpoint->target_session_attrs);
    }
    put(ret, "uri", &uri);
}

static void put_jdbc_uri(struct kube_secret *ret, const struct login_address *address,
                         const struct secret *password)
{
    AUTO(wiped) struct buf uri = BUF(VALUE_MAX_BYTES);
    const struct server_endpoint *endpoint = &address->endpoint;

    reserve(&uri);
    (void)buf_append_text(&uri, "jdbc:postgresql://");
    append_authority(&uri, endpoint);
    (void)buf_append_char(&uri, '/');
    (void)buf_append_percent(&uri, str_from(address->database));
    (void)buf_append_text(&uri, "?user=");
    (void)buf_append_percent(&uri, str_from(address->user));
    (void)buf_append_text(&uri, "&password=");
    (void)buf_append_percent(&uri, (struct str){secret_bytes(password), secret_length(password)});
    (void)buf_printf(&uri, "&sslmode=%s", endpoint->sslmode);
    if (has_several_hosts(endpoint) && !text_equal(endpoint->target_session_attrs, "any")) {
        (void)buf_append_text(&uri, "&targetServerType=primary");
    }
    put(ret, "jdbc-uri", &uri);
}

static void append_pgpass(struct buf *out, struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == ':' || text.ptr[i] == '\\') {
            (void)buf_append_char(out, '\\');
        }
        (void)buf_append_char(out, text.ptr[i]);
    }
}

/* One line a host, as libpq looks them up. */
static void put_pgpass(struct kube_secret *ret, const struct login_address *address,
                       const struct secret *password)
{
    AUTO(wiped) struct buf lines = BUF(VALUE_MAX_BYTES);
    struct str rest = str_from(address->endpoint.host);

    reserve(&lines);
    while (rest.len > 0) {
        append_pgpass(&lines, str_cut(&rest, ','));
        (void)buf_printf(&lines, ":%d:", address->endpoint.port);
        append_pgpass(&lines, str_from(address->database));
        (void)buf_append_char(&lines, ':');
        append_pgpass(&lines, str_from(address->user));
        (void)buf_append_char(&lines, ':');
        append_pgpass(&lines, (struct str){secret_bytes(password), secret_length(password)});
        (void)buf_append_char(&lines, '\n');
    }
    put(ret, "pgpass", &lines);
}

void login_secret_render(const struct login_address *address, const struct secret *password,
                         struct kube_secret *ret)
{
    char port[16];

    (void)snprintf(port, sizeof(port), "%d", address->endpoint.port);
    kube_secret_put_text(ret, "host", address->endpoint.host);
    kube_secret_put_text(ret, "port", port);
    kube_secret_put_text(ret, "dbname", address->database);
    kube_secret_put_text(ret, "user", address->user);
    kube_secret_put(ret, "password", password);
    kube_secret_put_text(ret, "sslmode", address->endpoint.sslmode);
    kube_secret_put_text(ret, "schema", address->schema);
    put_uri(ret, address, password);
    put_jdbc_uri(ret, address, password);
    put_pgpass(ret, address, password);
    if (!text_is_empty(address->endpoint.ca_pem)) {
        kube_secret_put_text(ret, "ca.crt", address->endpoint.ca_pem);
    }
}

bool login_secret_holds(const struct kube_secret *actual, const struct kube_secret *wanted)
{
    bool holds = true;
    for (size_t i = 0; i < wanted->count; i++) {
        const struct secret *value = kube_secret_get(actual, wanted->entries[i].name);
        holds = value && secret_equal(value, &wanted->entries[i].value) && holds;
    }
    return holds;
}

bool login_password_usable(const struct secret *password)
{
    const char *bytes = password ? secret_bytes(password) : "";
    size_t length = password ? secret_length(password) : 0;

    if (length < PASSWORD_MIN_CHARACTERS || length > PASSWORD_MAX_CHARACTERS) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        if (bytes[i] <= ' ' || bytes[i] > '~') {
            return false;
        }
    }
    return true;
}
