/* The step Database: look at roles and database, plan, execute.
 *
 * Safe against a crash between any two statements: the registry's row, written before this step
 * runs, says whose the names are; each role is made together with its mark; the database is made
 * closed and owned by a marked role, and is opened last (database_plan.c tells why each state in
 * between can be told from a stranger's). Whatever the next run finds, the plan leads from there to
 * the same end. Two controllers at once do no harm: names are unique on the server, and who comes
 * second looks again. */
#include "controller/base/str.h"
#include "reconcilers/database/database_internal.h"
#include "reconcilers/database/servers.h"
#include "reconcilers/database/steps.h"
#include "reconcilers/model/codec.h"
#include "reconcilers/model/conditions.h"
#include "reconcilers/model/names.h"
#include "reconcilers/registry/registry.h"
#include "reconcilers/registry/steps.h"

enum { BUSY_RETRY_MS = 1000, WORDS_MAX_BYTES = 4096 };

/* ---- what the files of this folder share ---- */

static void name_roles(struct scope *scope, struct arena *arena, const struct tenant *tenant)
{
    static const char *const suffixes[ROLE_COUNT] = {"owner", "rw", "ro", "app", "a", "b"};
    static const char *const shared[ROLE_COUNT] = {
        NAME_ROLE_ROWS_OWNER, NAME_ROLE_ROWS_RW, NAME_ROLE_ROWS_RO, NAME_ROLE_SHARED, "", ""};

    for (int i = 0; i < ROLE_COUNT; i++) {
        scope->roles[i] = tenant && scope_owns(scope, i)
                              ? name_role(arena, tenant->subdomain, suffixes[i])
                              : shared[i];
    }
    scope->role_prefix = tenant && scope_owns(scope, ROLE_OWNER)
                             ? name_role(arena, tenant->subdomain, "")
                             : NAME_ROLE_ROWS_PREFIX;
}

void scope_init(struct scope *scope, struct arena *arena, const struct tenant_work *work)
{
    const struct tenant *tenant = work->tenant;

    *scope = (struct scope){
        .mode = mode_of(work->place.isolation),
        .tenant_id = work->tenant_id,
        .uid = tenant->uid,
        .subdomain = tenant->subdomain,
        .server = work->place.server,
        .database = work->place.database,
        .schema = work->place.schema,
        .mark = arena_printf(arena, "tenantry: tenant %s uid %s", work->tenant_id, tenant->uid),
    };
    name_roles(scope, arena, tenant);
}

void scope_init_shared(struct scope *scope, struct arena *arena, const char *server,
                       const char *database)
{
    *scope = (struct scope){
        .mode = &mode_shared,
        .tenant_id = "shared",
        .uid = "",
        .subdomain = "",
        .server = server,
        .database = database,
        .schema = NAME_SCHEMA_ROWS,
        .mark = "tenantry: shared",
    };
    name_roles(scope, arena, NULL);
}

int scope_find(struct scope *scope, struct reconcile *rc, struct tenant_work *work, bool *ret_found,
               struct err *err)
{
    if (text_is_empty(work->tenant_id) && record_find(rc, work, err)) {
        return -1;
    }
    *ret_found = !text_is_empty(work->tenant_id) && !text_is_empty(work->place.server);
    if (*ret_found) {
        scope_init(scope, rc->arena, work);
    }
    return 0;
}

/* The server's object; NULL if it is gone. In scratch. */
static const struct database_server *find_server(const struct tenant_work *work,
                                                 struct arena *scratch)
{
    AUTO(record)
    const struct record *record = cache_get(work->services->database_servers, work->place.server);

    if (!record) {
        return NULL;
    }
    struct database_server *server = ARENA_NEW(scratch, struct database_server);
    database_server_unpack(record, scratch, server);
    return server;
}

bool database_warns_only(const struct tenant_work *work)
{
    AUTO(arena) struct arena scratch = {0};

    arena_init(&scratch, 0);
    const struct database_server *server = find_server(work, &scratch);
    return server && server->drift == DRIFT_WARN;
}

static bool has_spares(const struct tenant_work *work)
{
    AUTO(arena) struct arena scratch = {0};

    arena_init(&scratch, 0);
    const struct database_server *server = find_server(work, &scratch);
    return server && (server->spare_count > 0 || server->status_spares > 0);
}

/* The version of the schema enters the status when everything stood for the first time, and stays
 * whatever happens later. */
bool database_was_complete(const struct tenant_work *work)
{
    return work->tenant->status.schema_version > 0;
}

/* ---- ensuring ---- */

/* Before the marks are rewritten: afterwards nothing tells that these things were another Tenant's,
 * and listed as retained. */
static int forget_retained(struct reconcile *rc, const struct tenant_work *work,
                           const struct scope *scope, struct err *err)
{
    struct registry *registry = work->services->registry;
    return registry_unretain(registry, rc, scope->tenant_id, scope->mode->retained_kind, NULL,
                             err) ||
                   registry_unretain(registry, rc, scope->tenant_id, "role", NULL, err)
               ? -1
               : 0;
}

static void tell(const struct tenant_work *work, const struct scope *scope, const struct seen *seen,
                 const struct plan *plan)
{
    AUTO(buf) struct buf words = BUF(WORDS_MAX_BYTES);

    if (!database_was_complete(work)) {
        if (scope->mode->owns_database && !seen->database.exists) {
            work_event(work, EVENT_NORMAL, "DatabaseCreated", "Create",
                       "created database \"%s\" on server \"%s\"", scope->database, scope->server);
        }
        return;
    }
    database_plan_describe(scope, plan, &words);
    work_event(work, EVENT_WARNING, "DriftHealed", "Heal", "put right: %s", buf_text(&words));
}

static int report_drift(const struct tenant_work *work, const struct scope *scope,
                        const struct plan *drift, struct err *err)
{
    AUTO(buf) struct buf words = BUF(WORDS_MAX_BYTES);

    database_plan_describe(scope, drift, &words);
    work_event(work, EVENT_WARNING, "DriftDetected", "Compare", "left as it is: %s",
               buf_text(&words));
    return err_set(err, ERR_TERMINAL, "DriftDetected",
                   "somebody changed what the controller made, and DatabaseServer \"%s\" says to "
                   "warn only: %s",
                   scope->server, buf_text(&words));
}

static bool is_shared(const struct scope *scope)
{
    return scope->mode == &mode_shared;
}

static bool is_suspended(const struct tenant_work *work, const struct scope *scope)
{
    return work->tenant->state == TENANT_SUSPENDED && !is_shared(scope);
}

static bool is_adopting(const struct tenant_work *work, const struct scope *scope,
                        const struct seen *seen)
{
    return !is_shared(scope) && (work->adopted || database_is_adopted(scope, seen));
}

static int apply(struct reconcile *rc, const struct tenant_work *work, struct sql_conn *conn,
                 const struct scope *scope, const struct seen *seen, const struct plan *plan,
                 struct err *err)
{
    bool suspended = is_suspended(work, scope);
    bool adopting = is_adopting(work, scope, seen);
    struct plan *intended = ARENA_NEW(rc->arena, struct plan);
    struct plan *drift = ARENA_NEW(rc->arena, struct plan);

    database_plan_split(plan, adopting, intended, drift);
    if (adopting && forget_retained(rc, work, scope, err)) {
        return -1;
    }
    if (drift->count > 0 && database_was_complete(work) && database_warns_only(work)) {
        return database_execute(conn, &rc->call, scope, intended, err)
                   ? -1
                   : report_drift(work, scope, drift, err);
    }
    if (database_apply(conn, &rc->call, rc->arena, scope, suspended, seen, plan, err)) {
        return -1;
    }
    if (drift->count > 0) {
        tell(work, scope, seen, drift);
    }
    return 0;
}

static int end_sessions(struct reconcile *rc, struct sql_conn *conn, const struct scope *scope,
                        bool whole_database, struct err *err)
{
    int left = 0;

    if (database_end_sessions(conn, &rc->call, scope, whole_database, &left, err)) {
        return -1;
    }
    if (left > 0) {
        (void)err_set(err, ERR_WAIT, "DatabaseBusy",
                      "%d sessions of the tenant were told to end and have not yet", left);
        err->retry_after_ms = BUSY_RETRY_MS;
        return -1;
    }
    return 0;
}

static int ensure(struct reconcile *rc, const struct tenant_work *work, struct sql_conn *conn,
                  const struct scope *scope, struct err *err)
{
    bool suspended = is_suspended(work, scope);
    struct seen *seen = ARENA_NEW(rc->arena, struct seen);
    struct plan *plan = ARENA_NEW(rc->arena, struct plan);

    if (database_look(conn, &rc->call, rc->arena, scope, suspended, seen, plan, err)) {
        return -1;
    }
    if ((plan->count > 0 || is_adopting(work, scope, seen)) &&
        apply(rc, work, conn, scope, seen, plan, err)) {
        return -1;
    }
    return suspended ? end_sessions(rc, conn, scope, false, err) : 0;
}

int database_ensure_scope(struct reconcile *rc, const struct tenant_work *work,
                          const struct scope *scope, struct err *err)
{
    AUTO(server_loan) struct server_loan loan = {0};

    if (servers_borrow(work->services->servers, rc, scope->server, NULL, &loan, err)) {
        return -1;
    }
    if (ensure(rc, work, loan.conn, scope, err)) {
        loan.failure = *err;
        return -1;
    }
    return 0;
}

/* A login is made by a later step, and by then it is mapped to this tenant and to no other. */
int database_ensure(struct reconcile *rc, void *subject, struct err *err)
{
    struct tenant_work *work = subject;
    struct scope scope;

    scope_init(&scope, rc->arena, work);
    scope.takes_spares =
        scope.mode->owns_database && !database_was_complete(work) && has_spares(work);
    if (!scope.mode->owns_database && shared_ensure(rc, work, &scope, err)) {
        return -1;
    }
    return database_ensure_scope(rc, work, &scope, err) ||
                   (scope.mode->rows_are_keyed && rows_map_logins(rc, work, &scope, err))
               ? -1
               : 0;
}
