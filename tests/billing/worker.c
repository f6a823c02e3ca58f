/* A controller of a fleet of tenants as far as the registry goes, to be killed at any moment: the
 * steps Record, Billing and Quotas for every tenant that is not as wanted, and the billing duty,
 * over and over. What is wanted is in the registry too, in schema fleet, which the test (fleet.py)
 * makes: tables tiers and tenants, each with the object as the API server would give it.
 *
 *     worker REGISTRY-URI-FILE TEST-CLOCK-FILE
 *
 * Runs until it is killed. */
#include <stdio.h>
#include <stdlib.h>

#include "controller/base/cancel.h"
#include "controller/base/clock.h"
#include "controller/base/js.h"
#include "controller/base/log.h"
#include "controller/base/str.h"
#include "reconcilers/model/codec.h"
#include "reconcilers/model/work.h"
#include "reconcilers/registry/billing.h"
#include "reconcilers/registry/registry.h"
#include "reconcilers/registry/steps.h"

enum { CONNECTIONS = 2, PAUSE_MS = 20, PERIOD_MS = 1000, URI_MAX_BYTES = 4096 };

static const char server[] =
    "{\"metadata\":{\"name\":\"primary\",\"uid\":\"u-1\",\"resourceVersion\":\"1\"},"
    "\"spec\":{\"hosts\":[\"127.0.0.1\"]}}";

struct worker {
    struct services services;
    struct sql_conn *conn;
    struct billing_duty duty;
};

static struct cache *fill(const struct codec *codec, const char *object)
{
    struct cache *cache = cache_new(codec);
    struct watch_handler handler = cache_watch_handler(cache);

    handler.replace_begin(handler.context);
    if (object) {
        handler.replace_object(handler.context, str_from(object));
    }
    handler.replace_end(handler.context, "9");
    return cache;
}

/* Another one was faster, or is at it: the next round sees to the rest. Anything else fails the
 * test. */
static void excuse(const struct err *err, const char *what)
{
    if (err->cls == ERR_TERMINAL || err_has_reason(err, "SQLError")) {
        (void)fprintf(stderr, "worker: %s: %s\n", what, err->message);
        exit(EXIT_FAILURE);
    }
}

static int reconcile(struct reconcile *rc, struct tenant_work *work, bool gone, struct err *err)
{
    if (gone) {
        return record_finalize(rc, work, err);
    }
    return record_ensure(rc, work, err) || billing_ensure(rc, work, err) ||
                   quotas_ensure(rc, work, err)
               ? -1
               : 0;
}

static void visit(struct worker *worker, const char *object, const char *tier_object, bool gone)
{
    AUTO(arena) struct arena arena = {0};
    struct tenant *tenant = NULL;
    struct tier *tier = NULL;
    struct err err = {0};

    arena_init(&arena, 0);
    tenant = ARENA_NEW(&arena, struct tenant);
    tier = ARENA_NEW(&arena, struct tier);
    struct tenant_work work = {.services = &worker->services, .tenant = tenant, .tier = tier};
    struct reconcile rc = {.arena = &arena};
    if (tenant_decode(str_from(object), &arena, tenant, &err) ||
        tier_decode(str_from(tier_object), &arena, tier, &err)) {
        excuse(&err, "object");
    }
    rc.key = tenant->name;
    if (reconcile(&rc, &work, gone, &err)) {
        excuse(&err, tenant->name);
    }
}

/* Those whose row is not as wanted, and some others, as drift checks would bring. */
static void visit_tenants(struct worker *worker)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;
    struct call call = {0};
    struct err err = {0};

    sql_init(&query);
    SQL(&query, "SELECT w.object, r.object, w.gone FROM fleet.tenants w "
                "JOIN fleet.tiers r ON r.name = w.object->'spec'->>'tier' "
                "WHERE NOT fleet.as_wanted(w) OR random() < 0.01 ORDER BY random()");
    if (sql_query(worker->conn, &call, &query, &rows, &err)) {
        excuse(&err, "list");
        return;
    }
    for (int i = 0; i < sql_row_count(rows); i++) {
        visit(worker, sql_text(rows, i, 0), sql_text(rows, i, 1), sql_bool(rows, i, 2));
    }
}

static void do_duty(struct worker *worker)
{
    AUTO(arena) struct arena arena = {0};
    struct reconcile rc = {.arena = &arena, .key = BILLING_KEY, .environment = &worker->duty};

    arena_init(&arena, 0);
    struct outcome outcome = billing_reconcile(&rc);
    if (outcome.failed) {
        excuse(&outcome.err, "duty");
    }
}

int main(int argc, char **argv)
{
    static struct worker worker;
    AUTO(secret) struct secret uri = {0};
    struct call call = {0};
    struct err err = {0};

    js_init();
    log_configure(LOG_ERROR, LOG_TEXT);
    if (argc != 3 || secret_read_file(&uri, argv[1], URI_MAX_BYTES, &err) ||
        clock_follow_file(argv[2], &err) || sql_connect_uri(&call, &uri, &worker.conn, &err)) {
        (void)fprintf(stderr, "worker: %s\n", err.message);
        return EXIT_FAILURE;
    }
    worker.services = (struct services){
        .registry = registry_new(&uri, CONNECTIONS),
        .tenants = fill(&tenant_codec, NULL),
        .tiers = fill(&tier_codec, NULL),
        .database_servers = fill(&database_server_codec, server),
        .system_namespace = "tenantry-system",
        .domain = "tenants.localhost",
    };
    worker.duty =
        (struct billing_duty){.registry = worker.services.registry, .period_ms = PERIOD_MS};
    do {
        visit_tenants(&worker);
        do_duty(&worker);
    } while (cancel_sleep_ms(NULL, PAUSE_MS));
    return EXIT_FAILURE;
}
