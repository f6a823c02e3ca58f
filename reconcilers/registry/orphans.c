#include "reconcilers/registry/orphans.h"

#include <string.h>

#include "controller/base/map.h"
#include "reconcilers/registry/record_plan.h"

enum { IDS_MAX_BYTES = 8 << 20 };

/* As an array, which the planner takes for a handful and looks up one by one. */
static void render_ids(struct buf *text, const char *const *ids, size_t count)
{
    const char *separator = "";

    (void)buf_append_char(text, '{');
    for (size_t i = 0; i < count; i++) {
        if (record_is_uuid(ids[i])) {
            (void)buf_printf(text, "%s%s", separator, ids[i]);
            separator = ",";
        }
    }
    (void)buf_append_char(text, '}');
}

/* Rows are those of tenants.id; entries keep their order. */
static void take_claims(struct arena *arena, const struct sql_rows *rows, size_t count,
                        struct registry_claim *claims)
{
    struct map by_id;

    map_init(&by_id);
    for (size_t i = 0; i < count; i++) {
        (void)map_put(&by_id, str_from(claims[i].id), &claims[i]);
    }
    for (int row = 0; row < sql_row_count(rows); row++) {
        struct registry_claim *claim = map_get(&by_id, str_from(sql_text(rows, row, 0)));
        if (claim) {
            claim->retained = sql_bool(rows, row, 1);
            claim->tenant_name = arena_strdup(arena, sql_text(rows, row, 2));
            claim->tenant_uid = arena_strdup(arena, sql_text(rows, row, 3));
        }
    }
    map_release(&by_id);
}

int registry_claims(struct registry *registry, struct reconcile *rc, const char *const *ids,
                    size_t count, struct registry_claim **ret, struct err *err)
{
    AUTO(registry_loan) struct registry_loan loan = {0};
    AUTO(buf) struct buf text = BUF(IDS_MAX_BYTES);
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;
    struct registry_claim *claims = ARENA_ARRAY(rc->arena, struct registry_claim, count);

    for (size_t i = 0; i < count; i++) {
        claims[i] = (struct registry_claim){.id = ids[i], .tenant_name = "", .tenant_uid = ""};
    }
    render_ids(&text, ids, count);
    if (registry_borrow(registry, rc, &loan, err)) {
        return -1;
    }
    sql_init(&query);
    SQL(&query, "SELECT t.id, EXISTS (SELECT FROM public.tenant_retained r WHERE r.tenant_id = "
                "t.id), CASE WHEN t.status <> 'deleted' THEN t.tenant_name END, "
                "CASE WHEN t.status <> 'deleted' THEN t.tenant_uid END FROM public.tenants t "
                "WHERE t.id = ANY (");
    sql_param(&query, buf_text(&text));
    SQL(&query, "::uuid[])");
    if (sql_query(loan.conn, &rc->call, &query, &rows, err)) {
        return registry_loan_report(&loan, err);
    }
    take_claims(rc->arena, rows, count, claims);
    *ret = claims;
    return 0;
}

int registry_count_retained(struct registry *registry, struct reconcile *rc, const char *server,
                            int64_t *ret_count, struct err *err)
{
    AUTO(registry_loan) struct registry_loan loan = {0};
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    if (registry_borrow(registry, rc, &loan, err)) {
        return -1;
    }
    sql_init(&query);
    SQL(&query, "SELECT count(*) FROM public.tenant_retained WHERE location = ");
    sql_param(&query, server);
    SQL(&query, " AND kind <> 'bucket'");
    if (sql_query(loan.conn, &rc->call, &query, &rows, err)) {
        return registry_loan_report(&loan, err);
    }
    *ret_count = sql_int(rows, 0, 0);
    return 0;
}
