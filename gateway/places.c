/* A fixed number of slots, each empty, idle or lent. A database gets at most a quarter of them at
 * once, so that one which hangs does not take them all. A server's answer decides whether the
 * connection may be kept; idle ones are closed after a few seconds, or to make room. */
#include "gateway/places.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/base/clock.h"

enum { IDLE_MS = 10 * 1000, WAIT_MS = 5 * 1000, HOSTS_MAX = 16, PASSWORD_MAX_BYTES = 1024 };

struct slot {
    char *key; /* server and database; NULL: empty */
    struct sql_conn *conn;
    bool lent;
    int64_t idle_since_ms;
};

struct server {
    char *name;
    char *host;
    char *sslmode;
    char *ca_pem;
    char *target_session_attrs;
    int port;
};

struct places {
    const char *password_file;
    pthread_mutex_t lock;
    pthread_cond_t returned;
    struct server *servers;
    size_t server_count;
    int slot_count;
    struct slot slots[];
};

struct places *places_new(const char *password_file, int connections)
{
    struct places *places = xcalloc(1, sizeof(*places) + (size_t)connections * sizeof(struct slot));
    pthread_condattr_t attributes;

    places->password_file = password_file;
    places->slot_count = connections;
    pthread_mutex_init(&places->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&places->returned, &attributes);
    pthread_condattr_destroy(&attributes);
    return places;
}

static void free_servers(struct server *servers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(servers[i].name);
        free(servers[i].host);
        free(servers[i].sslmode);
        free(servers[i].ca_pem);
        free(servers[i].target_session_attrs);
    }
    free(servers);
}

static void empty_slot(struct slot *slot)
{
    sql_close(slot->conn);
    free(slot->key);
    *slot = (struct slot){0};
}

void places_free(struct places *places)
{
    if (!places) {
        return;
    }
    for (int i = 0; i < places->slot_count; i++) {
        empty_slot(&places->slots[i]);
    }
    free_servers(places->servers, places->server_count);
    pthread_cond_destroy(&places->returned);
    pthread_mutex_destroy(&places->lock);
    free(places);
}

void places_set_servers(struct places *places, const struct place_server *servers, size_t count)
{
    struct server *fresh = xcalloc(count + 1, sizeof(*fresh));

    for (size_t i = 0; i < count; i++) {
        fresh[i] = (struct server){
            .name = xstrdup(servers[i].name),
            .host = xstrdup(servers[i].host),
            .sslmode = xstrdup(servers[i].sslmode),
            .ca_pem = xstrdup(servers[i].ca_pem),
            .target_session_attrs = xstrdup(servers[i].target_session_attrs),
            .port = servers[i].port,
        };
    }
    pthread_mutex_lock(&places->lock);
    struct server *old = places->servers;
    size_t old_count = places->server_count;
    places->servers = fresh;
    places->server_count = count;
    pthread_mutex_unlock(&places->lock);
    free_servers(old, old_count);
}

/* ---- connecting ---- */

/* What a connection needs, copied out from under the lock. */
struct target {
    struct arena arena;
    struct sql_target sql;
    const char *hosts[HOSTS_MAX];
};

static void split_hosts(struct target *target, const char *host)
{
    struct str rest = str_from(host);

    while (rest.len > 0 && target->sql.host_count < HOSTS_MAX) {
        struct str one = str_cut(&rest, ',');
        target->hosts[target->sql.host_count++] = arena_strndup(&target->arena, one.ptr, one.len);
    }
    target->sql.hosts = target->hosts;
}

/* A tenant whose row names no server lives on the only one there is. */
static const struct server *find_server(const struct places *places, const char *name)
{
    if (!*name && places->server_count == 1) {
        return &places->servers[0];
    }
    for (size_t i = 0; i < places->server_count; i++) {
        if (strcmp(places->servers[i].name, name) == 0) {
            return &places->servers[i];
        }
    }
    return NULL;
}

static int find_target(struct places *places, const struct tenant_facts *facts,
                       struct target *target, struct err *err)
{
    pthread_mutex_lock(&places->lock);
    const struct server *server = find_server(places, facts->server);
    if (server) {
        target->sql = (struct sql_target){
            .port = server->port,
            .database = facts->database,
            .user = "tenantry_gateway",
            .sslmode = arena_strdup(&target->arena, server->sslmode),
            .ca_pem = *server->ca_pem ? arena_strdup(&target->arena, server->ca_pem) : NULL,
            .target_session_attrs = *server->target_session_attrs
                                        ? arena_strdup(&target->arena, server->target_session_attrs)
                                        : NULL,
            .statement_timeout_ms = WAIT_MS,
        };
        split_hosts(target, server->host);
    }
    pthread_mutex_unlock(&places->lock);
    return server ? 0
                  : err_set(err, ERR_RETRY, "ServerNotFound",
                            "the registry knows no database server \"%s\"", facts->server);
}

static int open_connection(struct places *places, const struct call *call,
                           const struct tenant_facts *facts, struct sql_conn **ret, struct err *err)
{
    AUTO(secret) struct secret password = {0};
    struct target target = {0};

    arena_init(&target.arena, 0);
    int result = find_target(places, facts, &target, err);
    if (result == 0) {
        result = secret_read_file(&password, places->password_file, PASSWORD_MAX_BYTES, err);
    }
    if (result == 0) {
        target.sql.password = &password;
        result = sql_connect(call, &target.sql, ret, err);
    }
    arena_release(&target.arena);
    return result;
}

/* ---- slots ---- */

static int lent_to(const struct places *places, const char *key)
{
    int count = 0;

    for (int i = 0; i < places->slot_count; i++) {
        count += places->slots[i].lent && strcmp(places->slots[i].key, key) == 0 ? 1 : 0;
    }
    return count;
}

static void close_idle(struct places *places, int64_t now_ms)
{
    for (int i = 0; i < places->slot_count; i++) {
        struct slot *slot = &places->slots[i];
        if (slot->key && !slot->lent && now_ms - slot->idle_since_ms > IDLE_MS) {
            empty_slot(slot);
        }
    }
}

/* An idle one of that database; else an empty one; else the one idle for longest, emptied; else -1.
 */
static int choose_slot(struct places *places, const char *key)
{
    int chosen = -1;

    if (lent_to(places, key) >= (places->slot_count + 3) / 4) {
        return -1;
    }
    for (int i = 0; i < places->slot_count; i++) {
        const struct slot *slot = &places->slots[i];
        const struct slot *best = chosen < 0 ? NULL : &places->slots[chosen];
        if (slot->lent) {
            continue;
        }
        if (slot->key && strcmp(slot->key, key) == 0) {
            return i;
        }
        if (!best || (best->key && (!slot->key || slot->idle_since_ms < best->idle_since_ms))) {
            chosen = i;
        }
    }
    if (chosen >= 0) {
        empty_slot(&places->slots[chosen]);
    }
    return chosen;
}

static int take_slot(struct places *places, const struct call *call, const char *key, int *ret,
                     struct err *err)
{
    int64_t until_ms = clock_monotonic_ms() + call_remaining_ms(call, WAIT_MS);
    struct timespec until = {until_ms / 1000, until_ms % 1000 * 1000000};
    int slot = -1;
    bool late = false;

    pthread_mutex_lock(&places->lock);
    close_idle(places, clock_monotonic_ms());
    while ((slot = choose_slot(places, key)) < 0 && !late) {
        late = pthread_cond_timedwait(&places->returned, &places->lock, &until) != 0;
    }
    if (slot >= 0) {
        places->slots[slot].lent = true;
        if (!places->slots[slot].key) {
            places->slots[slot].key = xstrdup(key);
        }
    }
    pthread_mutex_unlock(&places->lock);
    *ret = slot;
    return slot >= 0 ? 0
                     : err_set(err, ERR_RETRY, "PoolExhausted",
                               "all connections to tenants' databases are in use");
}

void places_return(struct place_loan *loan)
{
    struct places *places = loan->places;
    struct slot *slot = &places->slots[loan->slot];

    if (loan->conn) {
        sql_rollback(loan->conn);
    }
    bool keep = loan->conn && sql_is_healthy(loan->conn);
    pthread_mutex_lock(&places->lock);
    slot->conn = loan->conn;
    slot->lent = false;
    slot->idle_since_ms = clock_monotonic_ms();
    if (!keep) {
        empty_slot(slot);
    }
    pthread_cond_broadcast(&places->returned);
    pthread_mutex_unlock(&places->lock);
    *loan = (struct place_loan){0};
}

/* ---- transactions ---- */

static void append_setting(struct sql *query, const char *value)
{
    SQL(query, ", ");
    sql_literal(query, value);
    SQL(query, ", true)");
}

/* One round trip. As literals, quoted by the builder, since a script takes no parameters. */
static int enter(struct sql_conn *conn, const struct call *call, const struct tenant_facts *facts,
                 const char *user_id, const char *user_role, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "BEGIN; SET LOCAL ROLE tenantry_app; SELECT set_config('app.tenant_id'");
    append_setting(&query, facts->id);
    SQL(&query, ", set_config('app.user_id'");
    append_setting(&query, user_id);
    SQL(&query, ", set_config('app.user_role'");
    append_setting(&query, user_role);
    return sql_script(conn, call, &query, err);
}

static int make_loan(struct places *places, const struct call *call,
                     const struct tenant_facts *facts, struct place_loan *loan, struct err *err)
{
    AUTO(free) char *key = xasprintf("%s\n%s", facts->server, facts->database);
    int slot = 0;

    if (take_slot(places, call, key, &slot, err)) {
        return -1;
    }
    *loan = (struct place_loan){places, places->slots[slot].conn, slot};
    places->slots[slot].conn = NULL;
    return 0;
}

int places_begin(struct places *places, const struct call *call, const struct tenant_facts *facts,
                 const char *user_id, const char *user_role, struct place_loan *loan,
                 struct err *err)
{
    if (make_loan(places, call, facts, loan, err)) {
        return -1;
    }
    /* A connection that was kept may have been lost meanwhile: then once more with a new one. */
    if (loan->conn) {
        if (enter(loan->conn, call, facts, user_id, user_role, err) == 0) {
            return 0;
        }
        if (!sql_err_unreachable(err)) {
            return -1;
        }
        sql_close(TAKE(loan->conn));
    }
    if (open_connection(places, call, facts, &loan->conn, err)) {
        loan->conn = NULL;
        return -1;
    }
    return enter(loan->conn, call, facts, user_id, user_role, err);
}

int places_commit(struct place_loan *loan, const struct call *call, struct err *err)
{
    return sql_commit(loan->conn, call, err);
}
