/* The controller of DatabaseServer objects: look at the server, say in the status how it is, keep
 * the label by which an admission policy protects a server in use. Writes only what differs. */
#include "controller/base/clock.h"
#include "controller/base/str.h"
#include "reconcilers/database/server_health.h"
#include "reconcilers/database/server_orphans.h"
#include "reconcilers/database/servers.h"
#include "reconcilers/database/servers_internal.h"
#include "reconcilers/database/spares.h"
#include "reconcilers/model/codec.h"
#include "reconcilers/model/conditions.h"
#include "reconcilers/model/names.h"
#include "reconcilers/model/work.h"
#include "reconcilers/objects/in_use.h"
#include "reconcilers/registry/orphans.h"
#include "reconcilers/registry/registry.h"

enum { WORDS_MAX_BYTES = 2048 };

#define MESSAGE_REACHABLE "The controller can log in and write."
#define MESSAGE_HARDENED "No database is open to every role."
#define MESSAGE_DRAINED "No tenant lives here, and nothing of one is kept."
#define MESSAGE_SERVER_READY "Tenants can be made and kept here."

/* What one run knows. */
struct visit {
    struct reconcile *rc;
    const struct services *services;
    struct database_server *server;
    int64_t tenants;
    bool looked;                 /* health is filled */
    struct server_health health; /* in rc->arena */
    struct err failure;          /* why it cannot serve; cls ERR_OK when it can */
    struct spares_state spares;
    struct err of_spares; /* why they could not be kept; cls ERR_OK otherwise */
    int64_t retained;     /* kept here of deleted tenants; counted while the server is drained */
    bool orphans_known;   /* looked for in this run */
    const char *orphans;  /* in words, "" if there are none */
};

/* ---- counting ---- */

static bool count_if_here(void *context, const struct record *record)
{
    struct visit *visit = context;
    AUTO(arena) struct arena scratch = {0};
    arena_init(&scratch, 0);
    struct tenant *tenant = ARENA_NEW(&scratch, struct tenant);
    tenant_unpack(record, &scratch, tenant);
    visit->tenants += text_equal(tenant->status.place.server, visit->server->name) ? 1 : 0;
    return true;
}

/* ---- looking ---- */

static int look_on(struct visit *visit, struct sql_conn *conn, struct err *err)
{
    const struct call *call = &visit->rc->call;

    if (server_observe(conn, call, visit->rc->arena, &visit->health, err)) {
        return -1;
    }
    visit->looked = true;
    if (server_check_able(&visit->health, err)) {
        return -1;
    }
    if (!visit->health.has_shared_roles && server_make_shared_roles(conn, call, err)) {
        return -1;
    }
    /* Without spares a tenant takes longer, and that is all. */
    if (spares_keep(visit->services->servers, conn, call, visit->rc->arena, visit->server,
                    visit->tenants, &visit->spares, &visit->of_spares) == 0) {
        visit->of_spares = (struct err){0};
    }
    return 0;
}

static int look(struct visit *visit, struct err *err)
{
    AUTO(server_loan) struct server_loan loan = {0};

    if (servers_borrow(visit->services->servers, visit->rc, visit->server->name, NULL, &loan,
                       err)) {
        return -1;
    }
    if (look_on(visit, loan.conn, err)) {
        loan.failure = *err;
        return -1;
    }
    return 0;
}

/* Once a drift check, and not each time that spares are filled up: it reads every mark on the
 * server. A Tenant that is not in the cache yet must not make its things look like nobody's. */
static int look_for_orphans(struct visit *visit, struct err *err)
{
    AUTO(buf) struct buf words = BUF(WORDS_MAX_BYTES);
    int64_t count = 0;

    if (!visit->rc->drift_check || !visit->looked || visit->spares.next_ms > 0 ||
        !cache_is_synced(visit->services->tenants)) {
        return 0;
    }
    if (server_find_orphans(visit->rc, visit->services, visit->server->name, &count, &words, err)) {
        return -1;
    }
    visit->orphans_known = true;
    visit->orphans =
        count == 0 ? ""
                   : arena_printf(visit->rc->arena,
                                  "%lld databases, schemas and roles bear the mark of a tenant "
                                  "that no Tenant stands for, and are left alone: %s",
                                  (long long)count, buf_text(&words));
    return 0;
}

/* Whoever empties a server must not take one for empty that keeps what was retained. */
static int count_retained(struct visit *visit, struct err *err)
{
    return visit->server->draining
               ? registry_count_retained(visit->services->registry, visit->rc, visit->server->name,
                                         &visit->retained, err)
               : 0;
}

/* ---- the status ---- */

static void put(struct condition_set *set, const struct visit *visit, const char *type,
                enum condition_status status, const char *reason, const char *message)
{
    condition_put(set, type, status, reason, message, visit->server->generation, clock_wall_s());
}

static void put_hardened(struct condition_set *set, const struct visit *visit, struct buf *words)
{
    if (!visit->looked) {
        put(set, visit, CONDITION_HARDENED, CONDITION_UNKNOWN, visit->failure.reason,
            "The server could not be looked at.");
        return;
    }
    (void)buf_append_text(words, "Open to more than it should be; as a superuser, run:");
    size_t start = words->len;
    server_describe_open(&visit->health, words);
    if (words->len == start) {
        put(set, visit, CONDITION_HARDENED, CONDITION_TRUE, "AsSpecified", MESSAGE_HARDENED);
    } else {
        put(set, visit, CONDITION_HARDENED, CONDITION_FALSE, "NotHardened", buf_text(words));
    }
}

/* A server that answers but takes no writes is not reachable in the sense that matters. */
static bool is_reached(const struct visit *visit)
{
    return visit->looked && !visit->health.read_only;
}

static void put_drained(struct condition_set *set, const struct visit *visit)
{
    if (!visit->server->draining) {
        condition_remove(set, CONDITION_DRAINED);
    } else if (visit->tenants + visit->retained > 0) {
        put(set, visit, CONDITION_DRAINED, CONDITION_FALSE, "Draining",
            arena_printf(
                visit->rc->arena,
                "%lld tenants live here, and %lld things of deleted tenants are kept here.",
                (long long)visit->tenants, (long long)visit->retained));
    } else {
        put(set, visit, CONDITION_DRAINED, CONDITION_TRUE, "AsSpecified", MESSAGE_DRAINED);
    }
}

static void put_conditions(struct condition_set *set, const struct visit *visit, struct buf *words)
{
    const struct err *failure = &visit->failure;

    if (is_reached(visit)) {
        put(set, visit, CONDITION_REACHABLE, CONDITION_TRUE, "AsSpecified", MESSAGE_REACHABLE);
    } else {
        put(set, visit, CONDITION_REACHABLE, CONDITION_FALSE, failure->reason, failure->message);
    }
    put_hardened(set, visit, words);
    if (visit->orphans_known && *visit->orphans) {
        put(set, visit, CONDITION_ORPHANED, CONDITION_TRUE, "OrphansFound", visit->orphans);
    } else if (visit->orphans_known) {
        condition_remove(set, CONDITION_ORPHANED);
    }
    put_drained(set, visit);
    if (failure->cls == ERR_OK) {
        put(set, visit, CONDITION_READY, CONDITION_TRUE, "AsSpecified", MESSAGE_SERVER_READY);
    } else {
        put(set, visit, CONDITION_READY, CONDITION_FALSE, failure->reason, failure->message);
    }
}

/* How many stand ready, as far as is known. */
static int64_t count_spares(const struct visit *visit)
{
    return visit->failure.cls == ERR_OK && visit->of_spares.cls == ERR_OK
               ? visit->spares.ready
               : visit->server->status_spares;
}

struct findings {
    const struct visit *visit;
    const char *version;
    int64_t spares;
};

static void write_findings(struct jsonw *writer, const void *context)
{
    const struct findings *findings = context;

    if (!text_is_empty(findings->version)) {
        jsonw_text(writer, "version", findings->version);
    }
    if (findings->visit->looked) {
        jsonw_int(writer, "connections", findings->visit->health.max_connections);
    }
    if (findings->spares > 0) {
        jsonw_int(writer, "spareDatabases", findings->spares);
    }
}

static struct in_use as_in_use(const struct visit *visit)
{
    const struct database_server *server = visit->server;

    return (struct in_use){
        .resource = &KUBE_DATABASE_SERVERS,
        .cache = visit->services->database_servers,
        .name = server->name,
        .uid = server->uid,
        .generation = server->generation,
        .label = server->in_use_label,
    };
}

static int write_status(struct visit *visit, struct err *err)
{
    AUTO(buf) struct buf words = BUF(WORDS_MAX_BYTES);
    const struct database_server *server = visit->server;
    const struct in_use object = as_in_use(visit);
    struct condition_set conditions = server->conditions;
    /* What an unreachable server ran last is still worth knowing. */
    const struct findings findings = {
        visit, visit->looked ? visit->health.version : server->status_version, count_spares(visit)};

    put_conditions(&conditions, visit, &words);
    if (server->observed_generation == server->generation &&
        server->status_tenants == visit->tenants && server->status_spares == findings.spares &&
        text_equal(server->status_version, findings.version) &&
        condition_set_equal(&conditions, &server->conditions)) {
        return 0;
    }
    return in_use_write_status(visit->rc, visit->services, &object, visit->tenants, &conditions,
                               write_findings, &findings, err);
}

/* An object that is deleted while spares stand would leave them to nobody. */
static int write_label(struct visit *visit, struct err *err)
{
    const struct in_use object = as_in_use(visit);
    return in_use_write_label(visit->rc, visit->services, &object,
                              visit->tenants > 0 || count_spares(visit) > 0, err);
}

/* ---- the registry's copy ---- */

/* The gateway knows no Kubernetes, and finds the servers in the registry. */
static int tell_registry(struct visit *visit, struct err *err)
{
    struct server_endpoint endpoint = {0};

    if (!visit->looked) {
        return 0;
    }
    if (servers_endpoint(visit->services->servers, &visit->rc->call, visit->rc->arena,
                         visit->server->name, &endpoint, err)) {
        return -1;
    }
    const struct registry_server server = {
        .name = visit->server->name,
        .host = endpoint.host,
        .port = endpoint.port,
        .sslmode = endpoint.sslmode,
        .ca_pem = endpoint.ca_pem,
        .target_session_attrs = endpoint.target_session_attrs ? endpoint.target_session_attrs : "",
    };
    return registry_server_put(visit->services->registry, visit->rc, &server, err);
}

static struct outcome forget(struct reconcile *rc, const struct services *services)
{
    struct err err;

    servers_forget(services->servers, rc->key);
    server_forget_orphans(rc->key);
    return registry_server_remove(services->registry, rc, rc->key, &err) ? outcome_from_err(&err, 0)
                                                                         : outcome_done(0);
}

/* ---- the reconcile ---- */

static int64_t next_check_ms(const struct services *services)
{
    int64_t period_ms = services->drift_period_ms;
    return period_ms > 0 ? period_ms - period_ms / 5 + clock_jitter_ms(period_ms / 5 * 2 + 1) : 0;
}

static void merge(struct outcome *outcome, const struct err *err, int64_t next_ms)
{
    struct outcome of_write = outcome_from_err(err, next_ms);
    *outcome = outcome_merge(outcome, &of_write);
}

/* Everything but the look itself: each by itself, so that none waits for another. */
static void finish(struct visit *visit, int64_t next_ms, struct outcome *outcome)
{
    static int (*const rest[])(struct visit *, struct err *) = {
        count_retained, look_for_orphans, write_label, write_status, tell_registry,
    };
    struct err err;

    for (size_t i = 0; i < ARRAY_COUNT(rest); i++) {
        if (rest[i](visit, &err)) {
            merge(outcome, &err, next_ms);
        }
    }
    if (visit->of_spares.cls != ERR_OK) {
        merge(outcome, &visit->of_spares, next_ms);
    }
}

struct outcome database_server_reconcile(struct reconcile *rc)
{
    const struct services *services = rc->environment;
    AUTO(record) const struct record *record = cache_get(services->database_servers, rc->key);
    struct visit *visit = ARENA_NEW(rc->arena, struct visit);

    if (!record) {
        return forget(rc, services);
    }
    visit->rc = rc;
    visit->services = services;
    visit->server = ARENA_NEW(rc->arena, struct database_server);
    database_server_unpack(record, rc->arena, visit->server);
    cache_each(services->tenants, count_if_here, visit);
    int64_t next_ms = next_check_ms(services);
    if (look(visit, &visit->failure) &&
        (visit->failure.cls == ERR_CANCELED || err_has_reason(&visit->failure, "BackendBusy"))) {
        return outcome_from_err(&visit->failure, next_ms);
    }
    if (visit->spares.next_ms > 0 && (next_ms == 0 || visit->spares.next_ms < next_ms)) {
        next_ms = visit->spares.next_ms;
    }
    struct outcome outcome = visit->failure.cls == ERR_OK
                                 ? outcome_done(next_ms)
                                 : outcome_from_err(&visit->failure, next_ms);
    finish(visit, next_ms, &outcome);
    return outcome;
}
