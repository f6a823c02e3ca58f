#include "reconcilers/registry/record_sql.h"

#include "controller/base/str.h"

/* Columns of the result of an observation, before those of record_columns. */
enum {
    RESULT_ID,
    RESULT_DELETED,
    RESULT_BILLED,
    RESULT_HELD,
    RESULT_PURGING,
    RESULT_RETAINED,
    RESULT_SNAPSHOT,
    RESULT_MRR,
    RESULT_SETTINGS,
    RESULT_FEATURES,
    RESULT_GATEWAY,
    RESULT_PLAN,
    RESULT_VALUES,
};

/* A changed row is another's business: look again. */
static int changed_meanwhile(struct err *err)
{
    return err_set(err, ERR_CONFLICT, "Conflict", "the tenant's row was changed meanwhile");
}

/* ---- observing ---- */

/* Money is computed by the database, in decimal numbers; a year is paid in one sum and spread over
 * its months. Capped at what the column holds. */
static void append_mrr(struct sql *query, const struct tenant *tenant, const struct tier *tier)
{
    bool annual = tenant->billing_cycle == BILLING_ANNUAL;

    if (!tier) {
        SQL(query, "NULL::numeric");
        return;
    }
    SQL(query, "least(round(");
    if (annual && !text_is_empty(tier->price_annual)) {
        sql_param(query, tier->price_annual);
        SQL(query, "::numeric / 12");
    } else {
        sql_param(query, text_is_empty(tier->price_monthly) ? "0" : tier->price_monthly);
        SQL(query, "::numeric");
        if (annual) {
            SQL(query, " * 10 / 12");
        }
    }
    SQL(query, ", 2), 99999999.99)");
}

/* The receipt is looked for by the UID of the Tenant that asks, which may not be the row's yet. */
static void append_select(struct sql *query, const struct tenant *tenant)
{
    SQL(query, "SELECT t.id, t.status = 'deleted', public.billing_is_current(t, ");
    sql_now(query);
    SQL(query, "), t.billing_hold_at IS NOT NULL, t.purge_began_at IS NOT NULL, "
               "(SELECT string_agg(format('%s %s on %s', r.kind, r.name, r.location), ', ' "
               "ORDER BY r.kind, r.name) FROM (SELECT * FROM public.tenant_retained "
               "WHERE tenant_id = t.id ORDER BY kind, name LIMIT 8) r), "
               "(SELECT s.taken_at::text FROM public.tenant_snapshots s WHERE s.tenant_id = t.id "
               "AND s.voided_at IS NULL AND s.tenant_uid = ");
    sql_param(query, tenant->uid);
    SQL(query, "), w.mrr, w.settings, w.features, w.gateway, w.plan");
    for (size_t i = 0; i < COLUMN_COUNT; i++) {
        SQL(query, ", ");
        sql_ident2(query, "t", record_columns[i]);
        SQL(query, "::text");
    }
    SQL(query, " FROM public.tenants t CROSS JOIN (SELECT ");
}

static const char *copy(struct arena *arena, const struct sql_rows *rows, int row, int column)
{
    return sql_is_null(rows, row, column) ? NULL : arena_strdup(arena, sql_text(rows, row, column));
}

static void take_candidates(struct arena *arena, const struct sql_rows *rows,
                            struct record_observed *ret)
{
    size_t count = (size_t)sql_row_count(rows);

    *ret = (struct record_observed){
        .candidates = ARENA_ARRAY(arena, struct record_candidate, count),
        .count = count,
        .mrr = copy(arena, rows, 0, RESULT_MRR),
        .documents = {.settings = copy(arena, rows, 0, RESULT_SETTINGS),
                      .features = copy(arena, rows, 0, RESULT_FEATURES),
                      .gateway = copy(arena, rows, 0, RESULT_GATEWAY),
                      .plan = copy(arena, rows, 0, RESULT_PLAN)},
    };
    for (size_t i = 0; i < count; i++) {
        struct record_candidate *candidate = &ret->candidates[i];
        int row = (int)i;
        candidate->id = copy(arena, rows, row, RESULT_ID);
        candidate->deleted = sql_bool(rows, row, RESULT_DELETED);
        candidate->billed = sql_bool(rows, row, RESULT_BILLED);
        candidate->held = sql_bool(rows, row, RESULT_HELD);
        candidate->purging = sql_bool(rows, row, RESULT_PURGING);
        candidate->snapshot = copy(arena, rows, row, RESULT_SNAPSHOT);
        candidate->retained = arena_strdup(arena, sql_text(rows, row, RESULT_RETAINED));
        for (int column = 0; column < COLUMN_COUNT; column++) {
            candidate->values.text[column] = copy(arena, rows, row, RESULT_VALUES + column);
        }
    }
}

int record_observe(struct sql_conn *conn, const struct call *call, struct arena *arena,
                   const struct tenant *tenant, const struct tier *tier,
                   const struct record_documents *documents, struct record_observed *ret,
                   struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    append_select(&query, tenant);
    append_mrr(&query, tenant, tier);
    SQL(&query, "::numeric(10,2)::text AS mrr, ");
    sql_param(&query, documents->settings);
    SQL(&query, "::jsonb::text AS settings, ");
    sql_param(&query, documents->features);
    SQL(&query, "::jsonb::text AS features, ");
    sql_param(&query, documents->gateway);
    SQL(&query, "::jsonb::text AS gateway, ");
    sql_param(&query, documents->plan);
    SQL(&query, "::jsonb::text AS plan) w WHERE t.tenant_uid = ");
    sql_param(&query, tenant->uid);
    SQL(&query, " OR t.subdomain = ");
    sql_param(&query, tenant->subdomain);
    SQL(&query, " OR t.id = ");
    sql_param(&query, record_is_uuid(tenant->adopt) ? tenant->adopt : NULL);
    /* What decides comes first; of a name's long history the rest does not matter. */
    SQL(&query, "::uuid ORDER BY t.status = 'deleted', t.tenant_uid IS DISTINCT FROM ");
    sql_param(&query, tenant->uid);
    SQL(&query, ", t.id IS DISTINCT FROM ");
    sql_param(&query, record_is_uuid(tenant->adopt) ? tenant->adopt : NULL);
    SQL(&query, "::uuid, NOT EXISTS (SELECT FROM public.tenant_retained r "
                "WHERE r.tenant_id = t.id), t.deleted_at DESC, t.id LIMIT 20");
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    take_candidates(arena, rows, ret);
    return 0;
}

int record_observe_own(struct sql_conn *conn, const struct call *call, struct arena *arena,
                       const struct tenant *tenant, struct record_observed *ret, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    append_select(&query, tenant);
    SQL(&query, "NULL AS mrr, NULL AS settings, NULL AS features, NULL AS gateway, NULL AS plan) w "
                "WHERE t.tenant_uid = ");
    sql_param(&query, tenant->uid);
    SQL(&query, " ORDER BY t.status = 'deleted', t.deleted_at DESC, t.id LIMIT 1");
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    take_candidates(arena, rows, ret);
    return 0;
}

int record_loads(struct sql_conn *conn, const struct call *call, struct arena *arena,
                 struct server_load **ret, size_t *ret_count, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT server, tenants FROM public.server_loads");
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    size_t count = (size_t)sql_row_count(rows);
    struct server_load *loads = ARENA_ARRAY(arena, struct server_load, count);
    for (size_t i = 0; i < count; i++) {
        loads[i].server = copy(arena, rows, (int)i, 0);
        loads[i].tenants = sql_int(rows, (int)i, 1);
    }
    *ret = loads;
    *ret_count = count;
    return 0;
}

/* ---- writing ---- */

/* A statement whose unique violation means that another was faster. */
static int exec_unique(struct sql_conn *conn, const struct call *call, struct sql *query,
                       struct sql_rows **ret_rows, struct err *err)
{
    if (sql_exec(conn, call, query, ret_rows, err) == 0) {
        return 0;
    }
    return err_has_code(err, "23505") ? changed_meanwhile(err) : -1;
}

int record_insert(struct sql_conn *conn, const struct call *call, struct arena *arena,
                  const struct record_values *values, const struct tenant *tenant,
                  const struct tier *tier, const char **ret_id, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "INSERT INTO public.tenants (created_at, updated_at, mrr");
    for (size_t i = 0; i < COLUMN_COUNT; i++) {
        if (values->text[i]) {
            SQL(&query, ", ");
            sql_ident(&query, record_columns[i]);
        }
    }
    SQL(&query, ") VALUES (");
    sql_now(&query);
    SQL(&query, ", ");
    sql_now(&query);
    SQL(&query, ", ");
    append_mrr(&query, tenant, tier);
    for (size_t i = 0; i < COLUMN_COUNT; i++) {
        if (values->text[i]) {
            SQL(&query, ", ");
            sql_param(&query, values->text[i]);
        }
    }
    SQL(&query, ") RETURNING id");
    if (exec_unique(conn, call, &query, &rows, err)) {
        return -1;
    }
    *ret_id = copy(arena, rows, 0, 0);
    return 0;
}

/* Whether what the id left behind, and is listed as such, is in force again. */
static bool is_taken_back(const struct record_candidate *candidate,
                          const enum record_column *columns, size_t count)
{
    bool changes_hands = candidate->deleted;

    for (size_t i = 0; i < count; i++) {
        changes_hands |= columns[i] == COLUMN_TENANT_UID;
    }
    return changes_hands && !text_is_empty(candidate->retained);
}

/* In the statement that takes the row back. A later deletion would find what is still listed, keep
 * the time for its removal, which is long over, and grant no days of grace at all. */
static void append_unlist(struct sql *query)
{
    SQL(query, " RETURNING id), listed AS (DELETE FROM public.tenant_retained r USING back "
               "WHERE r.tenant_id = back.id) SELECT id FROM back");
}

int record_update(struct sql_conn *conn, const struct call *call,
                  const struct record_candidate *candidate, const struct record_values *values,
                  const enum record_column *columns, size_t count, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;
    bool taken_back = is_taken_back(candidate, columns, count);

    sql_init(&query);
    if (taken_back) {
        SQL(&query, "WITH back AS (");
    }
    SQL(&query, "UPDATE public.tenants SET updated_at = ");
    sql_now(&query);
    for (size_t i = 0; i < count; i++) {
        SQL(&query, ", ");
        sql_ident(&query, record_columns[columns[i]]);
        SQL(&query, " = ");
        sql_param(&query, values->text[columns[i]]);
        if (columns[i] == COLUMN_STATUS && candidate->deleted) {
            SQL(&query, ", deleted_at = NULL, purge_policy = NULL");
        }
    }
    SQL(&query, " WHERE id = ");
    sql_param(&query, candidate->id);
    SQL(&query, " AND tenant_uid IS NOT DISTINCT FROM ");
    sql_param(&query, candidate->values.text[COLUMN_TENANT_UID]);
    SQL(&query, " AND status = ");
    sql_param(&query, candidate->values.text[COLUMN_STATUS]);
    SQL(&query, " AND purge_began_at IS NULL");
    if (taken_back) {
        append_unlist(&query);
    }
    if (exec_unique(conn, call, &query, &rows, err)) {
        return -1;
    }
    return sql_affected(rows) == 1 ? 0 : changed_meanwhile(err);
}

int record_mark_deleted(struct sql_conn *conn, const struct call *call, const char *id,
                        const char *purge_policy, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "UPDATE public.tenants SET status = 'deleted', deleted_at = ");
    sql_now(&query);
    SQL(&query, ", updated_at = ");
    sql_now(&query);
    SQL(&query, ", purge_policy = ");
    sql_param(&query, purge_policy);
    SQL(&query, " WHERE status <> 'deleted' AND id = ");
    sql_param(&query, id);
    return sql_exec(conn, call, &query, NULL, err);
}
