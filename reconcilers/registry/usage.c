#include "reconcilers/registry/usage.h"

#include "controller/base/clock.h"
#include "reconcilers/drivers/sql.h"
#include "reconcilers/registry/registry.h"

static int record_one(struct sql_conn *conn, const struct call *call, const char *tenant_id,
                      const struct usage *usage, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    char used_at[CLOCK_TEXT_BYTES];

    clock_format_us(usage->used_at_us, used_at);
    sql_init(&query);
    SQL(&query, "SELECT public.usage_record(");
    sql_param(&query, tenant_id);
    SQL(&query, "::uuid, ");
    sql_param(&query, usage->resource);
    SQL(&query, ", ");
    sql_param(&query, usage->kind == USAGE_LEVEL ? "level" : "count");
    SQL(&query, ", ");
    sql_param(&query, usage->quantity);
    SQL(&query, "::numeric, ");
    sql_param(&query, used_at);
    SQL(&query, "::timestamptz, ");
    sql_param(&query, usage->key);
    SQL(&query, ", ");
    sql_param(&query, usage->source);
    SQL(&query, ", ");
    sql_now(&query);
    SQL(&query, ")");
    if (sql_exec(conn, call, &query, NULL, err) == 0) {
        return 0;
    }
    return err_has_code(err, "TY409")
               ? err_set(err, ERR_TERMINAL, "UsageConflict",
                         "usage \"%s\" is recorded already, and was another one", usage->key)
               : -1;
}

static int record_all(struct sql_conn *conn, const struct call *call, const char *tenant_id,
                      const struct usage *items, size_t count, struct err *err)
{
    if (sql_begin(conn, call, err)) {
        return -1;
    }
    for (size_t i = 0; i < count; i++) {
        if (record_one(conn, call, tenant_id, &items[i], err)) {
            sql_rollback(conn);
            return -1;
        }
    }
    return sql_commit(conn, call, err);
}

int usage_record(struct registry *registry, struct reconcile *rc, const char *tenant_id,
                 const struct usage *items, size_t count, struct err *err)
{
    AUTO(registry_loan) struct registry_loan loan = {0};

    if (count == 0) {
        return 0;
    }
    if (registry_borrow(registry, rc, &loan, err)) {
        return -1;
    }
    return record_all(loan.conn, &rc->call, tenant_id, items, count, err)
               ? registry_loan_report(&loan, err)
               : 0;
}
