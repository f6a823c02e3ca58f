/* The step Schema: the tenant schema in the tenant's database. One look is two queries; what it
 * finds to do is done in one transaction (schema_plan.c tells how drift is found, schema_sql.c how
 * it is put right). A crash leaves the schema as it was before, or with its new mark. */
#include "controller/base/str.h"
#include "reconcilers/database/database_internal.h"
#include "reconcilers/database/schema_internal.h"
#include "reconcilers/database/servers.h"
#include "reconcilers/database/steps.h"
#include "reconcilers/database/upgrade.h"
#include "reconcilers/registry/fleet.h"

enum { WORDS_MAX_BYTES = 4096 };

static void tell(const struct tenant_work *work, const struct scope *scope,
                 const struct schema_outcome *outcome)
{
    AUTO(buf) struct buf words = BUF(WORDS_MAX_BYTES);

    schema_describe(outcome->differences, outcome->difference_count, &words);
    switch (outcome->decision.action) {
    case SCHEMA_KEEP:
        return;
    case SCHEMA_CREATE:
        if (database_was_complete(work)) {
            work_event(work, EVENT_WARNING, "DriftHealed", "Heal",
                       "put right in database \"%s\": the whole tenant schema was missing",
                       scope->database);
        } else if (!scope->mode->owns_database) {
            work_event(work, EVENT_NORMAL, "SchemaCreated", "Create",
                       "created schema \"%s\" in database \"%s\" on server \"%s\"", scope->schema,
                       scope->database, scope->server);
        }
        return;
    case SCHEMA_MIGRATE:
        work_event(work, EVENT_NORMAL, "SchemaUpgraded", "Migrate",
                   "the tenant schema in database \"%s\" went from version %lld to %lld",
                   scope->database, (long long)outcome->decision.version,
                   (long long)schema_newest());
        return;
    case SCHEMA_COMPARE:
        if (outcome->decision.upgrade && outcome->healed) {
            work_event(work, EVENT_NORMAL, "SchemaUpgraded", "Migrate",
                       "what tenants share in database \"%s\" is as this program makes it: %s",
                       scope->database, buf_text(&words));
        } else if (outcome->difference_count > 0) {
            work_event(work, EVENT_WARNING, outcome->healed ? "DriftHealed" : "DriftDetected",
                       outcome->healed ? "Heal" : "Compare", "%s in database \"%s\": %s",
                       outcome->healed ? "put right" : "left as it is", scope->database,
                       buf_text(&words));
        }
        return;
    }
}

static int refuse_drift(const struct scope *scope, const struct schema_outcome *outcome,
                        struct err *err)
{
    AUTO(buf) struct buf words = BUF(WORDS_MAX_BYTES);

    schema_describe(outcome->differences, outcome->difference_count, &words);
    return err_set(err, ERR_TERMINAL, "DriftDetected",
                   "somebody changed the tenant schema in database \"%s\", and DatabaseServer "
                   "\"%s\" says to warn only: %s",
                   scope->database, scope->server, buf_text(&words));
}

static int ensure(struct reconcile *rc, const struct tenant_work *work, const struct scope *scope,
                  struct sql_conn *conn, struct err *err)
{
    struct schema_outcome *outcome = ARENA_NEW(rc->arena, struct schema_outcome);
    bool only_compare = database_was_complete(work) && database_warns_only(work);
    bool expected = work->tenant->status.schema_version > 0;
    int result =
        schema_converge(conn, &rc->call, rc->arena, scope, expected, only_compare, outcome, err);

    if (result == 0 || err_has_reason(err, "SchemaDrift")) {
        tell(work, scope, outcome);
    }
    if (result == 0 && outcome->difference_count > 0 && !outcome->healed) {
        return refuse_drift(scope, outcome, err);
    }
    return result;
}

int schema_ensure_scope(struct reconcile *rc, const struct tenant_work *work,
                        const struct scope *scope, struct err *err)
{
    AUTO(server_loan) struct server_loan loan = {0};

    if (servers_borrow(work->services->servers, rc, scope->server, scope->database, &loan, err)) {
        return -1;
    }
    if (ensure(rc, work, scope, loan.conn, err)) {
        loan.failure = *err;
        return -1;
    }
    return 0;
}

struct turn {
    struct reconcile *rc;
    const struct tenant_work *work;
    const struct scope *scope;
};

static int take_turn(void *context, struct err *err)
{
    const struct turn *turn = context;
    return schema_ensure_scope(turn->rc, turn->work, turn->scope, err);
}

/* A tenant that stands at an older version waits for its turn in the fleet; a new one has nothing
 * to lose. */
static int ensure_own(struct reconcile *rc, const struct tenant_work *work,
                      const struct scope *scope, struct err *err)
{
    struct turn turn = {.rc = rc, .work = work, .scope = scope};
    int64_t version = work->tenant->status.schema_version;

    if (version == 0 || version >= schema_newest()) {
        return take_turn(&turn, err);
    }
    const char *target = arena_printf(rc->arena, "schema %lld", (long long)schema_newest());
    return upgrade_run(rc, work, target, take_turn, &turn, err);
}

/* Tables that all tenants share were seen to by Database, before it let this one in. */
int schema_ensure(struct reconcile *rc, void *subject, struct err *err)
{
    struct tenant_work *work = subject;
    struct scope scope;

    scope_init(&scope, rc->arena, work);
    if (!scope.mode->rows_are_keyed && ensure_own(rc, work, &scope, err)) {
        return -1;
    }
    work->schema_version = schema_newest();
    return work->tenant->status.schema_version == work->schema_version
               ? 0
               : fleet_put_schema(work->services->registry, rc, work->tenant_id,
                                  work->schema_version, err);
}
