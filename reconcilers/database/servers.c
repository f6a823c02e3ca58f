/* One `struct server` is one generation of one DatabaseServer object: what the object said, a
 * guard, a pool to the maintenance database, and the credentials. It never changes but for the
 * credentials: when the object's spec changes, the next borrower makes a new one, and the old one
 * goes with its last loan. So no reader ever sees half of a change, and a corrected address is
 * tried at once instead of waiting for the old one's breaker.
 *
 * Credentials are read from Secrets, which are not watched: when they are needed and older than
 * five minutes, and when the server refuses them. If they cannot be read but were once, the old
 * ones serve on: losing the API server must not lose the databases.
 *
 * Locks: servers->lock guards the table and the reference counts, server->lock the credentials.
 * Neither is taken under the other, nor held during I/O. */
#include "reconcilers/database/servers.h"

#include <pthread.h>
#include <string.h>

#include "controller/base/buf.h"
#include "controller/base/clock.h"
#include "controller/base/map.h"
#include "controller/base/str.h"
#include "controller/kube/secret_object.h"
#include "controller/runtime/backend.h"
#include "reconcilers/database/servers_internal.h"
#include "reconcilers/drivers/sql_pool.h"
#include "reconcilers/model/codec.h"
#include "reconcilers/model/names.h"

enum {
    CREDENTIALS_MAX_AGE_MS = 5 * 60 * 1000,
    CREDENTIALS_RETRY_MS = 10 * 1000,
    CREDENTIALS_MIN_AGE_MS = 1000, /* refused this soon after being read: they are wrong indeed */
    CA_MAX_BYTES = 256 * 1024,
};

#define NO_SUCH_DATABASE "3D000"

struct servers {
    struct kube_client *kube;
    struct cache *cache;
    char *system_namespace;
    int connections;
    server_credentials_fn fetch;
    void *fetch_context;
    int64_t max_age_ms; /* of credentials */
    int64_t retry_ms;
    pthread_mutex_t lock;
    struct map by_name; /* of struct server */
};

struct server {
    struct servers *servers;
    int references; /* of the table, and one a loan; under servers->lock */
    struct arena memory;
    struct database_server *spec; /* in memory */
    struct backend *backend;
    struct sql_pool *pool;        /* to the maintenance database */
    struct sql_pool *shared_pool; /* to the shared database */
    pthread_mutex_t lock;
    struct server_credentials credentials;
    int64_t read_ms;   /* when credentials were read; 0 = never */
    int64_t failed_ms; /* when they were last asked for in vain; 0 = not since read_ms */
    int64_t seen_ms[SERVER_PARTS]; /* when each was seen to stand, 0 = never; under servers->lock */
};

/* ---- credentials ---- */

void server_credentials_release(struct server_credentials *credentials)
{
    free(credentials->user);
    free(credentials->ca_pem);
    secret_release(&credentials->password);
    *credentials = (struct server_credentials){0};
}

static int missing(struct err *err, const struct database_server *server, const char *namespace_,
                   const char *secret, const char *what)
{
    return err_set(err, ERR_RETRY, "ServerCredentialsMissing",
                   "DatabaseServer \"%s\" names Secret \"%s/%s\", %s", server->name, namespace_,
                   secret, what);
}

static int fetch_secret(struct servers *servers, const struct call *call,
                        const struct database_server *server, const char *name,
                        struct kube_secret *ret, struct err *err)
{
    if (kube_secret_fetch(servers->kube, call, servers->system_namespace, name,
                          NAME_LABEL_TENANT_UID, ret, err)) {
        return err->cls == ERR_NOT_FOUND
                   ? missing(err, server, servers->system_namespace, name, "which does not exist")
                   : err_wrap(err, "Secret \"%s/%s\"", servers->system_namespace, name);
    }
    return 0;
}

static int fetch_authority(struct servers *servers, const struct call *call,
                           const struct database_server *server, struct server_credentials *ret,
                           struct err *err)
{
    AUTO(kube_secret) struct kube_secret secret = {0};
    const char *key = text_is_empty(server->ca_secret_key) ? "ca.crt" : server->ca_secret_key;

    if (text_is_empty(server->ca_secret)) {
        ret->ca_pem = xstrdup(server->ca_bundle ? server->ca_bundle : "");
        return 0;
    }
    if (fetch_secret(servers, call, server, server->ca_secret, &secret, err)) {
        return -1;
    }
    const struct secret *pem = kube_secret_get(&secret, key);
    if (!pem || secret_is_empty(pem) || secret_length(pem) > CA_MAX_BYTES) {
        return missing(err, server, servers->system_namespace, server->ca_secret,
                       "which has no certificates at the key it names");
    }
    ret->ca_pem = xstrdup(secret_bytes(pem));
    return 0;
}

static int fetch_from_secrets(void *context, const struct call *call,
                              const struct database_server *server, struct server_credentials *ret,
                              struct err *err)
{
    struct servers *servers = context;
    AUTO(kube_secret) struct kube_secret secret = {0};

    if (fetch_secret(servers, call, server, server->credentials_secret, &secret, err)) {
        return -1;
    }
    const struct secret *user = kube_secret_get(&secret, "username");
    const struct secret *password = kube_secret_get(&secret, "password");
    if (!user || secret_is_empty(user) || !password || secret_is_empty(password)) {
        return missing(err, server, servers->system_namespace, server->credentials_secret,
                       "which lacks the key username or password");
    }
    ret->user = xstrdup(secret_bytes(user));
    secret_copy(&ret->password, password);
    return fetch_authority(servers, call, server, ret, err);
}

static void copy_credentials(struct server_credentials *target,
                             const struct server_credentials *source)
{
    target->user = xstrdup(source->user);
    target->ca_pem = xstrdup(source->ca_pem);
    secret_copy(&target->password, &source->password);
}

static bool is_within(int64_t since_ms, int64_t duration_ms)
{
    return since_ms > 0 && clock_monotonic_ms() - since_ms < duration_ms;
}

/* A copy of what is known, if it is younger than max_age_ms, or anything younger was asked for in
 * vain less than retry_ms ago. */
static bool recall(struct server *server, int64_t max_age_ms, int64_t retry_ms,
                   struct server_credentials *ret)
{
    pthread_mutex_lock(&server->lock);
    bool known = is_within(server->read_ms, max_age_ms) || is_within(server->failed_ms, retry_ms);
    if (known) {
        copy_credentials(ret, &server->credentials);
    }
    pthread_mutex_unlock(&server->lock);
    return known;
}

/* Keep what was read; connections made with other credentials are given up. */
static void remember(struct server *server, const struct server_credentials *fresh)
{
    pthread_mutex_lock(&server->lock);
    struct server_credentials *known = &server->credentials;
    bool changed = server->read_ms > 0 && (!text_equal(known->user, fresh->user) ||
                                           !text_equal(known->ca_pem, fresh->ca_pem) ||
                                           !secret_equal(&known->password, &fresh->password));
    server_credentials_release(known);
    copy_credentials(known, fresh);
    server->read_ms = clock_monotonic_ms();
    server->failed_ms = 0;
    pthread_mutex_unlock(&server->lock);
    if (changed) {
        sql_pool_reset(server->pool);
        sql_pool_reset(server->shared_pool);
    }
}

/* What was read last, if there is any, since nothing newer can be had. */
static bool fall_back(struct server *server, struct server_credentials *ret)
{
    pthread_mutex_lock(&server->lock);
    bool known = server->read_ms > 0;
    if (known) {
        server->failed_ms = clock_monotonic_ms();
        copy_credentials(ret, &server->credentials);
    }
    pthread_mutex_unlock(&server->lock);
    return known;
}

static int fetch_credentials(struct server *server, const struct call *call,
                             struct server_credentials *ret, struct err *err)
{
    struct servers *servers = server->servers;

    if (servers->fetch(servers->fetch_context, call, server->spec, ret, err) == 0) {
        remember(server, ret);
        return 0;
    }
    server_credentials_release(ret);
    bool told = err_has_reason(err, "ServerCredentialsMissing") || err->cls == ERR_CANCELED;
    return !told && fall_back(server, ret) ? 0 : -1;
}

/* As long as the API server is out of reach it is asked once in a while, not by each step and each
 * health check of a thousand tenants. */
static int get_credentials(struct server *server, const struct call *call,
                           struct server_credentials *ret, struct err *err)
{
    const struct servers *servers = server->servers;

    return recall(server, servers->max_age_ms, servers->retry_ms, ret)
               ? 0
               : fetch_credentials(server, call, ret, err);
}

/* ---- connecting ---- */

/* libpq finds out that a server takes no writes, and has no SQLSTATE for it. */
static int explain_read_only(struct err *err)
{
    if (strstr(err->message, "session is read-only") || strstr(err->message, "hot standby")) {
        return err_reclass(err, ERR_RETRY, "DatabaseReadOnly");
    }
    return -1;
}

static int open_with(const struct server *server, const struct call *call, const char *database,
                     const struct server_credentials *credentials, struct sql_conn **ret,
                     struct err *err)
{
    const struct database_server *spec = server->spec;
    const struct sql_target target = {
        .hosts = spec->hosts,
        .host_count = spec->host_count,
        .port = (int)spec->port,
        .database = database,
        .user = credentials->user,
        .password = &credentials->password,
        .sslmode = spec->sslmode,
        .ca_pem = *credentials->ca_pem ? credentials->ca_pem : NULL,
        .target_session_attrs =
            text_is_empty(spec->target_session_attrs) ? NULL : spec->target_session_attrs,
    };
    return sql_connect(call, &target, ret, err) ? explain_read_only(err) : 0;
}

static int explain_refusal(const struct server *server, struct err *err)
{
    return err_wrap(err, "Secret \"%s/%s\"", server->servers->system_namespace,
                    server->spec->credentials_secret);
}

/* A refusal may only mean that the password was changed, and the Secret after it. */
static int open_connection(struct server *server, const struct call *call, const char *database,
                           struct sql_conn **ret, struct err *err)
{
    AUTO(server_credentials) struct server_credentials credentials = {0};

    if (get_credentials(server, call, &credentials, err)) {
        return -1;
    }
    if (open_with(server, call, database, &credentials, ret, err) == 0) {
        return 0;
    }
    if (!err_has_reason(err, "DatabaseCredentials")) {
        return -1;
    }
    (void)explain_refusal(server, err);
    struct err refusal = *err;
    server_credentials_release(&credentials);
    if (recall(server, CREDENTIALS_MIN_AGE_MS, 0, &credentials)) {
        return -1;
    }
    if (fetch_credentials(server, call, &credentials, err)) {
        if (!err_has_reason(err, "ServerCredentialsMissing")) {
            *err = refusal;
        }
        return -1;
    }
    if (open_with(server, call, database, &credentials, ret, err)) {
        return err_has_reason(err, "DatabaseCredentials") ? explain_refusal(server, err) : -1;
    }
    return 0;
}

static int open_pooled(void *context, const struct call *call, struct sql_conn **ret,
                       struct err *err)
{
    struct server *server = context;
    return open_connection(server, call, server->spec->maintenance_database, ret, err);
}

static int open_shared(void *context, const struct call *call, struct sql_conn **ret,
                       struct err *err)
{
    struct server *server = context;
    return open_connection(server, call, server->spec->shared_database, ret, err);
}

/* The pool of a database, NULL if it has none: a tenant's own. */
static struct sql_pool *find_pool(const struct server *server, const char *database)
{
    if (!database) {
        return server->pool;
    }
    return text_equal(database, server->spec->shared_database) ? server->shared_pool : NULL;
}

/* ---- one generation of a server ---- */

static struct server *server_new(struct servers *servers, const struct record *record)
{
    struct server *server = xcalloc(1, sizeof(*server));

    server->servers = servers;
    server->references = 1;
    arena_init(&server->memory, 0);
    server->spec = ARENA_NEW(&server->memory, struct database_server);
    database_server_unpack(record, &server->memory, server->spec);
    pthread_mutex_init(&server->lock, NULL);
    AUTO(free) char *name = xasprintf("server %s", server->spec->name);
    int connections = servers->connections;
    if (server->spec->capacity_connections > 0 &&
        server->spec->capacity_connections < connections) {
        connections = (int)server->spec->capacity_connections;
    }
    server->backend = backend_new(name, connections);
    server->pool = sql_pool_new(server->spec->name, connections, open_pooled, server);
    server->shared_pool = sql_pool_new(server->spec->name, connections, open_shared, server);
    return server;
}

static void server_free(struct server *server)
{
    if (!server) {
        return;
    }
    sql_pool_free(server->pool);
    sql_pool_free(server->shared_pool);
    backend_free(server->backend);
    server_credentials_release(&server->credentials);
    pthread_mutex_destroy(&server->lock);
    arena_release(&server->memory);
    free(server);
}

static void server_unref(struct server *server)
{
    if (!server) {
        return;
    }
    pthread_mutex_lock(&server->servers->lock);
    bool last = --server->references == 0;
    pthread_mutex_unlock(&server->servers->lock);
    if (last) {
        server_free(server);
    }
}

/* ---- the table of servers ---- */

struct servers *servers_new(struct kube_client *kube, struct cache *cache,
                            const char *system_namespace, int connections_per_server)
{
    struct servers *servers = xcalloc(1, sizeof(*servers));

    servers->kube = kube;
    servers->cache = cache;
    servers->system_namespace = xstrdup(system_namespace);
    servers->connections = connections_per_server > 0 ? connections_per_server : 1;
    servers->fetch = fetch_from_secrets;
    servers->fetch_context = servers;
    servers_set_credentials_age(servers, CREDENTIALS_MAX_AGE_MS, CREDENTIALS_RETRY_MS);
    pthread_mutex_init(&servers->lock, NULL);
    map_init(&servers->by_name);
    return servers;
}

void servers_free(struct servers *servers)
{
    size_t cursor = 0;
    struct str name;
    void *server = NULL;

    if (!servers) {
        return;
    }
    while (map_next(&servers->by_name, &cursor, &name, &server)) {
        server_free(server);
    }
    map_release(&servers->by_name);
    pthread_mutex_destroy(&servers->lock);
    free(servers->system_namespace);
    free(servers);
}

void servers_set_credentials(struct servers *servers, server_credentials_fn fetch, void *context)
{
    servers->fetch = fetch;
    servers->fetch_context = context;
}

void servers_set_credentials_age(struct servers *servers, int64_t max_age_ms, int64_t retry_ms)
{
    servers->max_age_ms = max_age_ms;
    servers->retry_ms = retry_ms;
}

void servers_forget(struct servers *servers, const char *server)
{
    pthread_mutex_lock(&servers->lock);
    struct server *known = map_remove(&servers->by_name, str_from(server));
    pthread_mutex_unlock(&servers->lock);
    server_unref(known);
}

/* Whether the object still says what the server was made from. A record that was looked up a moment
 * earlier than the server was made may be older than it. */
static bool is_current(const struct server *server, const struct record *record)
{
    AUTO(arena) struct arena scratch = {0};
    arena_init(&scratch, 0);
    struct database_server *now = ARENA_NEW(&scratch, struct database_server);
    database_server_unpack(record, &scratch, now);
    return now->generation <= server->spec->generation && text_equal(now->uid, server->spec->uid);
}

/* A reference that the caller unrefs. */
static int server_get(struct servers *servers, const char *name, struct server **ret,
                      struct err *err)
{
    AUTO(record) const struct record *record = cache_get(servers->cache, name);
    struct server *outdated = NULL;

    if (!record) {
        servers_forget(servers, name);
        return err_set(err, ERR_RETRY, "ServerNotFound", "there is no DatabaseServer \"%s\"", name);
    }
    pthread_mutex_lock(&servers->lock);
    struct server *server = map_get(&servers->by_name, str_from(name));
    if (!server || !is_current(server, record)) {
        server = server_new(servers, record);
        outdated = map_put(&servers->by_name, str_from(name), server);
    }
    server->references++;
    pthread_mutex_unlock(&servers->lock);
    server_unref(outdated);
    *ret = server;
    return 0;
}

/* ---- what is seen once for many ---- */

bool servers_part_stands(struct servers *servers, const char *server, enum server_part part,
                         int64_t max_age_ms)
{
    pthread_mutex_lock(&servers->lock);
    const struct server *known = map_get(&servers->by_name, str_from(server));
    bool stands = known && known->seen_ms[part] > 0 &&
                  clock_monotonic_ms() - known->seen_ms[part] < max_age_ms;
    pthread_mutex_unlock(&servers->lock);
    return stands;
}

void servers_note_part(struct servers *servers, const char *server, enum server_part part)
{
    pthread_mutex_lock(&servers->lock);
    struct server *known = map_get(&servers->by_name, str_from(server));
    if (known) {
        known->seen_ms[part] = clock_monotonic_ms();
    }
    pthread_mutex_unlock(&servers->lock);
}

static void forget_parts(struct server *server)
{
    pthread_mutex_lock(&server->servers->lock);
    for (int i = 0; i < SERVER_PARTS; i++) {
        server->seen_ms[i] = 0;
    }
    pthread_mutex_unlock(&server->servers->lock);
}

/* ---- loans ---- */

struct borrowed {
    struct server *server;
    struct sql_pool *pool; /* where the connection came from, or NULL */
};

static int open_guarded(struct server *server, struct reconcile *rc, const char *database,
                        struct sql_conn **ret, struct err *err)
{
    struct sql_pool *pool = find_pool(server, database);

    if (backend_enter(server->backend, rc, err)) {
        return err->cls == ERR_RETRY ? err_wrap(err, "server \"%s\"", server->spec->name) : -1;
    }
    int result = pool ? sql_pool_borrow(pool, &rc->call, ret, err)
                      : open_connection(server, &rc->call, database, ret, err);
    if (result) {
        if (pool == server->shared_pool && err_has_code(err, NO_SUCH_DATABASE)) {
            forget_parts(server);
        }
        backend_leave(server->backend, sql_err_unreachable(err), err);
        return err_wrap(err, "server \"%s\"", server->spec->name);
    }
    return 0;
}

int servers_borrow(struct servers *servers, struct reconcile *rc, const char *server,
                   const char *database, struct server_loan *loan, struct err *err)
{
    struct server *borrowed_server = NULL;

    if (server_get(servers, server, &borrowed_server, err)) {
        return -1;
    }
    if (open_guarded(borrowed_server, rc, database, &loan->conn, err)) {
        server_unref(borrowed_server);
        return -1;
    }
    struct borrowed *borrowed = xcalloc(1, sizeof(*borrowed));
    borrowed->server = borrowed_server;
    borrowed->pool = find_pool(borrowed_server, database);
    loan->internal = borrowed;
    loan->failure = (struct err){0};
    return 0;
}

void servers_return(struct server_loan *loan)
{
    struct borrowed *borrowed = loan->internal;
    struct server *server = borrowed->server;
    bool unreachable = sql_err_unreachable(&loan->failure);

    /* A step may end in the middle of a transaction of its own. */
    sql_rollback(loan->conn);
    if (borrowed->pool) {
        sql_pool_return(borrowed->pool, loan->conn);
    } else {
        sql_close(loan->conn);
    }
    backend_leave(server->backend, unreachable, unreachable ? &loan->failure : NULL);
    server_unref(server);
    free(borrowed);
    *loan = (struct server_loan){0};
}

/* ---- what clients must know ---- */

static int try_login(struct server *server, struct reconcile *rc, const char *database,
                     const char *user, const struct secret *password, struct err *err)
{
    AUTO(server_credentials) struct server_credentials credentials = {0};
    AUTO(sql_conn) struct sql_conn *conn = NULL;

    if (get_credentials(server, &rc->call, &credentials, err) ||
        backend_enter(server->backend, rc, err)) {
        return -1;
    }
    free(credentials.user);
    credentials.user = xstrdup(user);
    secret_copy(&credentials.password, password);
    int result = open_with(server, &rc->call, database, &credentials, &conn, err);
    bool unreachable = result && sql_err_unreachable(err);
    backend_leave(server->backend, unreachable, unreachable ? err : NULL);
    return result;
}

int servers_try_login(struct servers *servers, struct reconcile *rc, const char *server,
                      const char *database, const char *user, const struct secret *password,
                      struct err *err)
{
    struct server *known = NULL;

    if (server_get(servers, server, &known, err)) {
        return -1;
    }
    int result = try_login(known, rc, database, user, password, err);
    server_unref(known);
    return result;
}

int servers_target(struct servers *servers, struct reconcile *rc, const char *server,
                   const char *database, struct server_credentials *credentials,
                   struct sql_target *ret, struct err *err)
{
    struct server *known = NULL;

    if (server_get(servers, server, &known, err)) {
        return -1;
    }
    int result = get_credentials(known, &rc->call, credentials, err);
    if (result == 0) {
        const struct database_server *spec = known->spec;
        const char **hosts = ARENA_ARRAY(rc->arena, const char *, spec->host_count);
        for (size_t i = 0; i < spec->host_count; i++) {
            hosts[i] = arena_strdup(rc->arena, spec->hosts[i]);
        }
        *ret = (struct sql_target){
            .hosts = hosts,
            .host_count = spec->host_count,
            .port = (int)spec->port,
            .database = database,
            .user = credentials->user,
            .password = &credentials->password,
            .sslmode = arena_strdup(rc->arena, spec->sslmode),
            .ca_pem = *credentials->ca_pem ? credentials->ca_pem : NULL,
            .target_session_attrs = arena_strdup(rc->arena, spec->target_session_attrs),
        };
    }
    server_unref(known);
    return result;
}

static const char *join_hosts(struct arena *arena, const struct database_server *spec)
{
    const char *joined = "";
    for (size_t i = 0; i < spec->host_count; i++) {
        joined = arena_printf(arena, "%s%s%s", joined, i > 0 ? "," : "", spec->hosts[i]);
    }
    return joined;
}

int servers_endpoint(struct servers *servers, const struct call *call, struct arena *arena,
                     const char *server, struct server_endpoint *ret, struct err *err)
{
    AUTO(server_credentials) struct server_credentials credentials = {0};
    struct server *known = NULL;

    if (server_get(servers, server, &known, err)) {
        return -1;
    }
    int result = get_credentials(known, call, &credentials, err);
    if (result == 0) {
        *ret = (struct server_endpoint){
            .host = join_hosts(arena, known->spec),
            .port = (int)known->spec->port,
            .sslmode = arena_strdup(arena, known->spec->sslmode),
            .ca_pem = arena_strdup(arena, credentials.ca_pem),
            .target_session_attrs = arena_strdup(arena, known->spec->target_session_attrs),
        };
    }
    server_unref(known);
    return result;
}
