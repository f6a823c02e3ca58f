/* The login slots in tenant_credentials: one query reads both, and each step of a rotation is one
 * statement, so that a crash leaves the state before it or after it. */
#include "reconcilers/registry/registry_logins.h"

#include <stdio.h>

#include "controller/base/str.h"
#include "reconcilers/drivers/sql.h"

static const char *const kinds[LOGIN_SLOTS] = {"login_a", "login_b"};
static const char *const state_words[] = {"", "current", "next", "retiring", "retired"};

static enum login_state parse_state(const char *text)
{
    for (int i = LOGIN_NONE + 1; i <= LOGIN_RETIRED; i++) {
        if (text_equal(text, state_words[i])) {
            return (enum login_state)i;
        }
    }
    return LOGIN_NONE;
}

static void take_row(const struct sql_rows *rows, int row, struct login_records *ret)
{
    int slot = text_equal(sql_text(rows, row, 0), kinds[1]) ? 1 : 0;
    struct login_record *record = &ret->slots[slot];

    (void)snprintf(record->digest, sizeof(record->digest), "%s", sql_text(rows, row, 1));
    record->state = parse_state(sql_text(rows, row, 2));
    record->issued_s = sql_int(rows, row, 3);
    record->retire_s = sql_int(rows, row, 4);
    record->seen_s = sql_int(rows, row, 5);
    ret->now_s = sql_int(rows, row, 7);
    if (record->state == LOGIN_CURRENT) {
        ret->current = slot;
    }
}

static int read_records(struct sql_conn *conn, const struct call *call, const char *tenant_id,
                        struct login_records *ret, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT kind, digest, state, extract(epoch FROM updated_at)::bigint, "
                "extract(epoch FROM retire_at)::bigint, extract(epoch FROM seen_at)::bigint, "
                "request, extract(epoch FROM now())::bigint FROM public.tenant_credentials "
                "WHERE kind IN ('login_a', 'login_b') AND tenant_id = ");
    sql_param(&query, tenant_id);
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    *ret = (struct login_records){0};
    for (int i = 0; i < sql_row_count(rows); i++) {
        take_row(rows, i, ret);
    }
    for (int i = 0; i < sql_row_count(rows); i++) {
        if (text_equal(sql_text(rows, i, 0), kinds[ret->current])) {
            (void)snprintf(ret->request, sizeof(ret->request), "%s", sql_text(rows, i, 6));
        }
    }
    return 0;
}

int registry_logins_get(struct registry *registry, struct reconcile *rc, const char *tenant_id,
                        struct login_records *ret, struct err *err)
{
    AUTO(registry_loan) struct registry_loan loan = {0};

    if (registry_borrow(registry, rc, &loan, err)) {
        return -1;
    }
    return read_records(loan.conn, &rc->call, tenant_id, ret, err)
               ? registry_loan_report(&loan, err)
               : 0;
}

static int execute(struct registry *registry, struct reconcile *rc, struct sql *query,
                   struct sql_rows **ret_rows, struct err *err)
{
    AUTO(registry_loan) struct registry_loan loan = {0};

    if (registry_borrow(registry, rc, &loan, err)) {
        return -1;
    }
    return sql_exec(loan.conn, &rc->call, query, ret_rows, err) ? registry_loan_report(&loan, err)
                                                                : 0;
}

int registry_logins_put(struct registry *registry, struct reconcile *rc, const char *tenant_id,
                        int slot, const char *digest, const char *request, int64_t *ret_issued_s,
                        struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "INSERT INTO public.tenant_credentials (tenant_id, kind, digest, state, request) "
                "VALUES (");
    sql_param(&query, tenant_id);
    SQL(&query, ", ");
    sql_param(&query, kinds[slot]);
    SQL(&query, ", ");
    sql_param(&query, digest);
    SQL(&query, ", 'current', ");
    sql_param(&query, request);
    SQL(&query, ") ON CONFLICT (tenant_id, kind) DO UPDATE SET digest = excluded.digest, "
                "state = 'current', updated_at = now() "
                "RETURNING extract(epoch FROM updated_at)::bigint");
    if (execute(registry, rc, &query, &rows, err)) {
        return -1;
    }
    *ret_issued_s = sql_int(rows, 0, 0);
    return 0;
}

int registry_logins_begin(struct registry *registry, struct reconcile *rc, const char *tenant_id,
                          int slot, const char *digest, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "INSERT INTO public.tenant_credentials (tenant_id, kind, digest, state) VALUES (");
    sql_param(&query, tenant_id);
    SQL(&query, ", ");
    sql_param(&query, kinds[slot]);
    SQL(&query, ", ");
    sql_param(&query, digest);
    SQL(&query, ", 'next') ON CONFLICT (tenant_id, kind) DO UPDATE SET digest = excluded.digest, "
                "state = 'next', retire_at = NULL, seen_at = NULL");
    return execute(registry, rc, &query, NULL, err);
}

int registry_logins_switch(struct registry *registry, struct reconcile *rc, const char *tenant_id,
                           int slot, const char *request, int64_t overlap_s, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "WITH next AS (SELECT ");
    sql_param(&query, kinds[slot]);
    SQL(&query, "::text AS kind) UPDATE public.tenant_credentials c SET "
                "state = CASE WHEN c.kind = next.kind THEN 'current' ELSE 'retiring' END, "
                "updated_at = CASE WHEN c.kind = next.kind THEN now() ELSE c.updated_at END, "
                "seen_at = CASE WHEN c.kind = next.kind THEN NULL ELSE now() END, "
                "retire_at = CASE WHEN c.kind = next.kind THEN NULL ELSE now() + ");
    sql_param_int(&query, overlap_s);
    SQL(&query, "::bigint * interval '1 second' END, request = ");
    sql_param(&query, request);
    SQL(&query, " FROM next WHERE c.kind IN ('login_a', 'login_b') AND c.tenant_id = ");
    sql_param(&query, tenant_id);
    return execute(registry, rc, &query, NULL, err);
}

static int update(struct registry *registry, struct reconcile *rc, const char *tenant_id, int slot,
                  bool retired, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "UPDATE public.tenant_credentials SET ");
    if (retired) {
        SQL(&query, "state = 'retired', retire_at = NULL, seen_at = NULL");
    } else {
        SQL(&query, "seen_at = now()");
    }
    SQL(&query, " WHERE state IN ('retiring', 'next') AND kind = ");
    sql_param(&query, kinds[slot]);
    SQL(&query, " AND tenant_id = ");
    sql_param(&query, tenant_id);
    return execute(registry, rc, &query, NULL, err);
}

int registry_logins_seen(struct registry *registry, struct reconcile *rc, const char *tenant_id,
                         int slot, struct err *err)
{
    return update(registry, rc, tenant_id, slot, false, err);
}

int registry_logins_retired(struct registry *registry, struct reconcile *rc, const char *tenant_id,
                            int slot, struct err *err)
{
    return update(registry, rc, tenant_id, slot, true, err);
}
