/* The step Registered: find the tenant's row, make it, or take it back, and let it follow the
 * Tenant. The row is the proof of ownership that every other step relies on: who bears the UID owns
 * the names.
 *
 * A crash between any two statements leaves either no row, or one that the next run finds by UID.
 * Making a row is one transaction with its billing period, under a lock that lets capacity be
 * counted truly. */
#include "controller/base/buf.h"
#include "controller/base/str.h"
#include "reconcilers/model/codec.h"
#include "reconcilers/model/names.h"
#include "reconcilers/model/work.h"
#include "reconcilers/registry/billing.h"
#include "reconcilers/registry/record_plan.h"
#include "reconcilers/registry/record_sql.h"
#include "reconcilers/registry/registry.h"
#include "reconcilers/registry/snapshot_record.h"
#include "reconcilers/registry/steps.h"

enum {
    PLACEMENT_LOCK = 0x7e4b, /* ours in the registry's key space: one placement at a time */
    OBJECT_MAX_BYTES = 4 << 20,
};

/* ---- the Tenants of other rows ---- */

enum presence { PRESENCE_GONE, PRESENCE_GOING, PRESENCE_THERE };

/* Ask the API server itself: a cache may be behind, and ownership hangs on the answer. */
static int fetch_presence(struct reconcile *rc, const struct services *services, const char *name,
                          const char *uid, enum presence *ret, struct err *err)
{
    AUTO(buf) struct buf body = BUF(OBJECT_MAX_BYTES);
    struct kube_meta meta = {0};
    const struct kube_ref ref = {.resource = &KUBE_TENANTS, .name = name};

    *ret = PRESENCE_GONE;
    if (kube_get(services->kube, &rc->call, &ref, &body, err)) {
        return err->cls == ERR_NOT_FOUND ? 0 : err_wrap(err, "tenant \"%s\"", name);
    }
    if (kube_object_meta(buf_str(&body), rc->arena, &meta, err)) {
        return -1;
    }
    if (text_equal(meta.uid, uid)) {
        *ret = meta.deletion_timestamp ? PRESENCE_GOING : PRESENCE_THERE;
    }
    return 0;
}

static bool is_cached(const struct services *services, struct arena *arena, const char *name,
                      const char *uid)
{
    AUTO(record) const struct record *record = cache_get(services->tenants, name);
    struct tenant *tenant = ARENA_NEW(arena, struct tenant);

    if (!record) {
        return false;
    }
    tenant_unpack(record, arena, tenant);
    return text_equal(tenant->uid, uid);
}

/* Tell of each row in force that is another Tenant's whether that Tenant still exists. */
static int look_for_tenants(struct reconcile *rc, const struct tenant_work *work,
                            struct record_observed *observed, struct err *err)
{
    const struct services *services = work->services;

    for (size_t i = 0; i < observed->count; i++) {
        struct record_candidate *candidate = &observed->candidates[i];
        const char *uid = candidate->values.text[COLUMN_TENANT_UID];
        const char *name = candidate->values.text[COLUMN_TENANT_NAME];
        enum presence presence = PRESENCE_THERE;
        if (candidate->deleted || text_is_empty(uid) || text_is_empty(name) ||
            text_equal(uid, work->tenant->uid) || !cache_is_synced(services->tenants) ||
            is_cached(services, rc->arena, name, uid)) {
            continue;
        }
        if (fetch_presence(rc, services, name, uid, &presence, err)) {
            return -1;
        }
        candidate->tenant_gone = presence == PRESENCE_GONE;
    }
    return 0;
}

/* ---- the place ---- */

/* The database that tenants without one of their own share on a server. */
static const char *find_shared_database(struct arena *arena, const struct services *services,
                                        const char *name)
{
    AUTO(record) const struct record *record = cache_get(services->database_servers, name);
    struct database_server *server = ARENA_NEW(arena, struct database_server);

    if (!record) {
        return "";
    }
    database_server_unpack(record, arena, server);
    return server->shared_database;
}

static void name_place(struct reconcile *rc, const struct tenant_work *work,
                       struct record_values *wanted)
{
    const char *own = name_database(rc->arena, work->tenant->subdomain);
    const char *shared =
        find_shared_database(rc->arena, work->services, wanted->text[COLUMN_SERVER]);
    enum isolation isolation = record_isolation(work->tenant, work->tier);
    const struct {
        const char *database;
        const char *schema;
    } places[] = {
        [ISOLATION_DATABASE] = {own, "public"},
        [ISOLATION_SCHEMA] = {shared, own},
        [ISOLATION_ROW] = {shared, NAME_SCHEMA_ROWS},
    };

    wanted->text[COLUMN_ISOLATION] = isolation_text(isolation);
    wanted->text[COLUMN_DATABASE_NAME] = places[isolation].database;
    wanted->text[COLUMN_SCHEMA_NAME] = places[isolation].schema;
}

static int choose_place(struct reconcile *rc, const struct tenant_work *work, struct sql_conn *conn,
                        struct record_values *wanted, struct err *err)
{
    const struct tenant *tenant = work->tenant;
    struct server_load *loads = NULL;
    size_t load_count = 0;

    if (record_loads(conn, &rc->call, rc->arena, &loads, &load_count, err) ||
        placement_choose(work->services->database_servers, rc->arena, work->tier, tenant->server,
                         loads, load_count, &wanted->text[COLUMN_SERVER], err)) {
        return -1;
    }
    name_place(rc, work, wanted);
    return 0;
}

static void take_place(struct tenant_work *work, struct arena *arena, const char *id,
                       const struct record_values *actual, const struct record_values *wanted)
{
    const char *place[COLUMN_COUNT] = {0};

    for (size_t i = COLUMN_DATABASE_NAME; i < COLUMN_COUNT; i++) {
        const char *text = actual && actual->text[i] ? actual->text[i] : wanted->text[i];
        place[i] = arena_strdup(arena, text ? text : "");
    }
    (void)snprintf(work->tenant_id, sizeof(work->tenant_id), "%s", id);
    work->place = (struct tenant_place){
        .server = place[COLUMN_SERVER],
        .database = place[COLUMN_DATABASE_NAME],
        .schema = place[COLUMN_SCHEMA_NAME],
    };
    if (!isolation_parse(place[COLUMN_ISOLATION], &work->place.isolation)) {
        work->place.isolation = ISOLATION_DATABASE;
    }
}

/* ---- making and following ---- */

static int insert_record(struct reconcile *rc, const struct tenant_work *work,
                         struct sql_conn *conn, struct record_values *wanted, const char **ret_id,
                         struct err *err)
{
    if (sql_lock(conn, &rc->call, PLACEMENT_LOCK, "placement", err) ||
        choose_place(rc, work, conn, wanted, err) ||
        record_insert(conn, &rc->call, rc->arena, wanted, work->tenant, work->tier, ret_id, err)) {
        return -1;
    }
    return billing_follow(conn, &rc->call, *ret_id, err);
}

static int create(struct reconcile *rc, struct tenant_work *work, struct sql_conn *conn,
                  struct record_values *wanted, struct err *err)
{
    const char *id = NULL;

    if (!work->tier) {
        return err_set(err, ERR_TERMINAL, "TierNotFound",
                       "there is no TenantTier \"%s\", and without it the tenant cannot be made",
                       work->tenant->tier);
    }
    if (name_check_subdomain(work->tenant->subdomain, err) || sql_begin(conn, &rc->call, err)) {
        return -1;
    }
    if (insert_record(rc, work, conn, wanted, &id, err) || sql_commit(conn, &rc->call, err)) {
        sql_rollback(conn);
        return -1;
    }
    take_place(work, rc->arena, id, NULL, wanted);
    return 0;
}

/* A row that some other program made has no place yet. */
static int complete_place(struct reconcile *rc, const struct tenant_work *work,
                          struct sql_conn *conn, const struct record_candidate *candidate,
                          struct record_values *wanted, struct err *err)
{
    if (candidate->values.text[COLUMN_SERVER]) {
        return 0;
    }
    if (!work->tier) {
        return err_set(err, ERR_TERMINAL, "TierNotFound",
                       "there is no TenantTier \"%s\", and without it no server can be chosen",
                       work->tenant->tier);
    }
    return choose_place(rc, work, conn, wanted, err);
}

static int follow(struct reconcile *rc, struct tenant_work *work, struct sql_conn *conn,
                  const struct record_candidate *candidate, struct record_values *wanted,
                  struct err *err)
{
    enum record_column columns[COLUMN_COUNT];

    if (complete_place(rc, work, conn, candidate, wanted, err)) {
        return -1;
    }
    /* Before anybody gets in again who could change what the dump does not hold then. */
    if (candidate->snapshot && snapshot_record_void(conn, &rc->call, candidate->id,
                                                    work->tenant->uid, candidate->snapshot, err)) {
        return -1;
    }
    /* A period that has begun is charged to the tier that it began with. */
    if (!candidate->billed && billing_follow(conn, &rc->call, candidate->id, err)) {
        return -1;
    }
    size_t count = record_diff(&candidate->values, wanted, columns);
    if (count > 0 && record_update(conn, &rc->call, candidate, wanted, columns, count, err)) {
        return -1;
    }
    take_place(work, rc->arena, candidate->id, &candidate->values, wanted);
    return 0;
}

/* A row that was marked deleted comes back to life, and a receipt by which something may be removed
 * is voided, only for a Tenant that is surely there: a stale cache must not bring back what was
 * deleted, nor have what is half removed dumped over what was whole. */
static int check_alive(struct reconcile *rc, const struct tenant_work *work, struct err *err)
{
    const struct tenant *tenant = work->tenant;
    enum presence presence = PRESENCE_GONE;

    if (fetch_presence(rc, work->services, tenant->name, tenant->uid, &presence, err)) {
        return -1;
    }
    return presence == PRESENCE_THERE ? 0
                                      : err_set(err, ERR_CONFLICT, "Conflict",
                                                "the tenant is being deleted, or already gone");
}

/* A bill that stays overdue suspends the tenant beside its spec, which is its owner's: from here on
 * the run goes on with a Tenant that is suspended. */
static void take_hold(struct arena *arena, struct tenant_work *work, bool held)
{
    work->billing_hold = held ? BILLING_HOLD_OVERDUE : BILLING_HOLD_NONE;
    if (held) {
        struct tenant *suspended = ARENA_NEW(arena, struct tenant);
        *suspended = *work->tenant;
        suspended->state = TENANT_SUSPENDED;
        work->tenant = suspended;
    }
}

static int ensure(struct reconcile *rc, struct tenant_work *work, struct sql_conn *conn,
                  struct err *err)
{
    const struct tenant *tenant = work->tenant;
    struct record_documents documents = {0};
    struct record_observed observed = {0};
    struct record_values wanted = {0};
    struct record_decision decision = {0};

    record_render(rc->arena, tenant, work->tier, &documents);
    if (record_observe(conn, &rc->call, rc->arena, tenant, work->tier, &documents, &observed,
                       err) ||
        look_for_tenants(rc, work, &observed, err) ||
        record_decide(tenant, work->services->adopt_orphans, observed.candidates, observed.count,
                      &decision, err)) {
        return -1;
    }
    bool held = decision.candidate && decision.candidate->held;
    take_hold(rc->arena, work, held);
    record_wanted(rc->arena, work->tenant, work->tier, &documents, &wanted);
    wanted.text[COLUMN_HELD] = held ? "true" : "false";
    if (decision.action == RECORD_CREATE || !decision.candidate) {
        return create(rc, work, conn, &wanted, err);
    }
    wanted.text[COLUMN_MRR] = observed.mrr;
    wanted.text[COLUMN_SETTINGS] = observed.documents.settings;
    wanted.text[COLUMN_FEATURES] = observed.documents.features;
    wanted.text[COLUMN_GATEWAY] = observed.documents.gateway;
    wanted.text[COLUMN_PLAN] = observed.documents.plan;
    if ((decision.candidate->deleted || decision.candidate->snapshot) &&
        check_alive(rc, work, err)) {
        return -1;
    }
    if (follow(rc, work, conn, decision.candidate, &wanted, err)) {
        return -1;
    }
    if (decision.action == RECORD_TAKE_BACK) {
        work->adopted = true;
        work_event(work, EVENT_NORMAL, "Adopted", "Register",
                   "took back registry id %s and what it owns", work->tenant_id);
    }
    return 0;
}

int record_ensure(struct reconcile *rc, void *subject, struct err *err)
{
    struct tenant_work *work = subject;
    AUTO(registry_loan) struct registry_loan loan = {0};

    if (registry_borrow(work->services->registry, rc, &loan, err)) {
        return -1;
    }
    return ensure(rc, work, loan.conn, err) ? registry_loan_report(&loan, err) : 0;
}

/* ---- finding and ending ---- */

int record_find(struct reconcile *rc, void *subject, struct err *err)
{
    struct tenant_work *work = subject;
    AUTO(registry_loan) struct registry_loan loan = {0};
    struct record_observed observed = {0};

    if (registry_borrow(work->services->registry, rc, &loan, err)) {
        return -1;
    }
    if (record_observe_own(loan.conn, &rc->call, rc->arena, work->tenant, &observed, err)) {
        return registry_loan_report(&loan, err);
    }
    if (observed.count > 0) {
        const struct record_candidate *candidate = &observed.candidates[0];
        take_place(work, rc->arena, candidate->id, &candidate->values, &candidate->values);
    }
    return 0;
}

/* What the days of grace end with. */
static const char *purge_policy(const struct tenant_work *work)
{
    return work_keeps_for_days(work) ? deletion_policy_text(work->deletion_policy) : NULL;
}

/* The last bill takes what was used until then. */
static int end_record(struct reconcile *rc, struct sql_conn *conn,
                      const struct record_candidate *candidate, const char *purge_policy,
                      struct err *err)
{
    if (candidate->deleted) {
        return 0;
    }
    if (sql_begin(conn, &rc->call, err)) {
        return -1;
    }
    if (record_mark_deleted(conn, &rc->call, candidate->id, purge_policy, err) ||
        billing_follow(conn, &rc->call, candidate->id, err) || sql_commit(conn, &rc->call, err)) {
        sql_rollback(conn);
        return -1;
    }
    return 0;
}

int record_finalize(struct reconcile *rc, void *subject, struct err *err)
{
    struct tenant_work *work = subject;
    AUTO(registry_loan) struct registry_loan loan = {0};
    struct record_observed observed = {0};

    if (registry_borrow(work->services->registry, rc, &loan, err)) {
        return -1;
    }
    if (record_observe_own(loan.conn, &rc->call, rc->arena, work->tenant, &observed, err)) {
        return registry_loan_report(&loan, err);
    }
    if (observed.count > 0 &&
        end_record(rc, loan.conn, &observed.candidates[0], purge_policy(work), err)) {
        return registry_loan_report(&loan, err);
    }
    return 0;
}
