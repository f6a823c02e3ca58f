/* The rules are in the functions of the registry (0017_fleet.sql), where they hold for all
 * controllers at once; here is how they are called, and what a tenant says while it waits. */
#include "reconcilers/registry/fleet.h"

#include "controller/base/clock.h"
#include "reconcilers/drivers/sql.h"

enum {
    FIRST_WAVE = 1,
    WAIT_MIN_MS = 1000,
    WAIT_MAX_MS = 60 * 1000,
    WAIT_A_TENANT_MS = 10, /* so that all who wait ask a hundred times a second, and no more */
};

#define PATIENCE "10 minutes"

static int call(struct registry *registry, struct reconcile *rc, struct sql *query,
                struct sql_rows **ret, struct err *err)
{
    AUTO(registry_loan) struct registry_loan loan = {0};

    if (registry_borrow(registry, rc, &loan, err)) {
        return -1;
    }
    return sql_exec(loan.conn, &rc->call, query, ret, err) ? registry_loan_report(&loan, err) : 0;
}

static int wait(const struct sql_rows *rows, const char *target, size_t fleet_size, struct err *err)
{
    int64_t wait_ms = (int64_t)fleet_size * WAIT_A_TENANT_MS;

    if (sql_bool(rows, 0, 0)) {
        (void)err_set(err, ERR_WAIT, "UpgradeStopped",
                      "the upgrade to \"%s\" has stopped, since it failed for tenant \"%s\"",
                      target, sql_text(rows, 0, 1));
    } else {
        (void)err_set(err, ERR_WAIT, "UpgradeWaiting",
                      "the upgrade to \"%s\" comes in waves, and waits for tenant \"%s\"", target,
                      sql_text(rows, 0, 1));
    }
    wait_ms = wait_ms < WAIT_MIN_MS ? WAIT_MIN_MS : wait_ms;
    wait_ms = wait_ms > WAIT_MAX_MS ? WAIT_MAX_MS : wait_ms;
    err->retry_after_ms = wait_ms + clock_jitter_ms(wait_ms / 2);
    return -1;
}

int fleet_begin(struct registry *registry, struct reconcile *rc, const char *tenant_id,
                const char *target, size_t fleet_size, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT stopped, waits_for FROM public.fleet_begin(");
    sql_param(&query, target);
    SQL(&query, ", ");
    sql_param(&query, tenant_id);
    SQL(&query, ", ");
    sql_integer(&query, FIRST_WAVE);
    SQL(&query, ", '" PATIENCE "')");
    if (call(registry, rc, &query, &rows, err)) {
        return -1;
    }
    return sql_is_null(rows, 0, 1) ? 0 : wait(rows, target, fleet_size, err);
}

int fleet_end(struct registry *registry, struct reconcile *rc, const char *tenant_id,
              const char *target, const struct err *failure, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "SELECT public.fleet_end(");
    sql_param(&query, target);
    SQL(&query, ", ");
    sql_param(&query, tenant_id);
    SQL(&query, ", ");
    sql_param(&query, failure ? failure->message : NULL);
    SQL(&query, ", ");
    sql_param(&query, failure && failure->cls == ERR_TERMINAL ? "true" : "false");
    SQL(&query, ")");
    return call(registry, rc, &query, NULL, err);
}

int fleet_put_schema(struct registry *registry, struct reconcile *rc, const char *tenant_id,
                     int64_t version, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "SELECT public.fleet_version(");
    sql_param(&query, tenant_id);
    SQL(&query, ", ");
    sql_param_int(&query, version);
    SQL(&query, ", NULL, NULL)");
    return call(registry, rc, &query, NULL, err);
}

int fleet_put_migrations(struct registry *registry, struct reconcile *rc, const char *tenant_id,
                         const char *target, int64_t applied, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "SELECT public.fleet_version(");
    sql_param(&query, tenant_id);
    SQL(&query, ", NULL, ");
    sql_param(&query, target);
    SQL(&query, ", ");
    sql_param_int(&query, applied);
    SQL(&query, ")");
    return call(registry, rc, &query, NULL, err);
}
