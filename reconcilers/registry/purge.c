#include "reconcilers/registry/purge.h"

#include "controller/base/str.h"

enum { LIST_MAX = 100 };

/* ---- which ---- */

/* The steps remove all that a tenant has, so what is to be kept longer, or for ever, keeps the rest
 * of it. */
static void append_none_is_kept(struct sql *query, int64_t now_s)
{
    SQL(query, " AND NOT EXISTS (SELECT FROM public.tenant_retained k WHERE k.tenant_id = t.id "
               "AND (k.delete_after IS NULL OR k.delete_after > to_timestamp(");
    sql_param_int(query, now_s);
    SQL(query, "::bigint)))");
}

static int list(struct sql_conn *conn, struct reconcile *rc, int64_t now_s,
                const char *const **ret_ids, size_t *ret_count, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT r.tenant_id FROM public.tenant_retained r "
                "JOIN public.tenants t ON t.id = r.tenant_id "
                "WHERE t.status = 'deleted' AND t.purge_policy IS NOT NULL "
                "AND r.delete_after <= to_timestamp(");
    sql_param_int(&query, now_s);
    SQL(&query, "::bigint)");
    append_none_is_kept(&query, now_s);
    SQL(&query, " GROUP BY r.tenant_id ORDER BY min(r.delete_after) LIMIT ");
    sql_integer(&query, LIST_MAX);
    if (sql_query(conn, &rc->call, &query, &rows, err)) {
        return -1;
    }
    size_t count = (size_t)sql_row_count(rows);
    const char **ids = ARENA_ARRAY(rc->arena, const char *, count);
    for (size_t i = 0; i < count; i++) {
        ids[i] = arena_strdup(rc->arena, sql_text(rows, (int)i, 0));
    }
    *ret_ids = ids;
    *ret_count = count;
    return 0;
}

int purge_list(struct registry *registry, struct reconcile *rc, int64_t now_s,
               const char *const **ret_ids, size_t *ret_count, struct err *err)
{
    AUTO(registry_loan) struct registry_loan loan = {0};

    if (registry_borrow(registry, rc, &loan, err)) {
        return -1;
    }
    return list(loan.conn, rc, now_s, ret_ids, ret_count, err) ? registry_loan_report(&loan, err)
                                                               : 0;
}

static void take_purge(struct arena *arena, const struct sql_rows *rows, struct purge *ret)
{
    *ret = (struct purge){
        .tenant_name = arena_strdup(arena, sql_text(rows, 0, 0)),
        .tenant_uid = arena_strdup(arena, sql_text(rows, 0, 1)),
        .subdomain = arena_strdup(arena, sql_text(rows, 0, 2)),
        .place =
            {
                .server = arena_strdup(arena, sql_text(rows, 0, 3)),
                .database = arena_strdup(arena, sql_text(rows, 0, 5)),
                .schema = arena_strdup(arena, sql_text(rows, 0, 6)),
            },
        .policy = text_equal(sql_text(rows, 0, 7), deletion_policy_text(DELETION_SNAPSHOT))
                      ? DELETION_SNAPSHOT
                      : DELETION_DELETE,
        .begun = sql_bool(rows, 0, 8),
    };
    if (!isolation_parse(sql_text(rows, 0, 4), &ret->place.isolation)) {
        ret->place.isolation = ISOLATION_DATABASE;
    }
}

static int find(struct sql_conn *conn, struct reconcile *rc, const char *id, int64_t now_s,
                struct purge *ret, bool *ret_due, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT t.tenant_name, t.tenant_uid, t.subdomain, t.server, t.isolation, "
                "t.database_name, t.schema_name, t.purge_policy, t.purge_began_at IS NOT NULL "
                "FROM public.tenants t WHERE t.status = 'deleted' AND t.purge_policy IS NOT NULL "
                "AND t.tenant_uid IS NOT NULL AND EXISTS (SELECT FROM public.tenant_retained r "
                "WHERE r.tenant_id = t.id AND r.delete_after <= to_timestamp(");
    sql_param_int(&query, now_s);
    SQL(&query, "::bigint))");
    append_none_is_kept(&query, now_s);
    SQL(&query, " AND t.id = ");
    sql_param(&query, id);
    if (sql_query(conn, &rc->call, &query, &rows, err)) {
        return -1;
    }
    *ret_due = sql_row_count(rows) == 1;
    if (*ret_due) {
        take_purge(rc->arena, rows, ret);
    }
    return 0;
}

int purge_find(struct registry *registry, struct reconcile *rc, const char *id, int64_t now_s,
               struct purge *ret, bool *ret_due, struct err *err)
{
    AUTO(registry_loan) struct registry_loan loan = {0};

    if (registry_borrow(registry, rc, &loan, err)) {
        return -1;
    }
    return find(loan.conn, rc, id, now_s, ret, ret_due, err) ? registry_loan_report(&loan, err) : 0;
}

/* ---- beginning and ending ---- */

int purge_begin(struct registry *registry, struct reconcile *rc, const char *id,
                const struct purge *purge, struct err *err)
{
    AUTO(registry_loan) struct registry_loan loan = {0};
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    if (purge->begun) {
        return 0;
    }
    if (registry_borrow(registry, rc, &loan, err)) {
        return -1;
    }
    sql_init(&query);
    SQL(&query, "UPDATE public.tenants SET purge_began_at = coalesce(purge_began_at, now()), "
                "updated_at = now() WHERE status = 'deleted' AND tenant_uid = ");
    sql_param(&query, purge->tenant_uid);
    SQL(&query, " AND id = ");
    sql_param(&query, id);
    if (sql_exec(loan.conn, &rc->call, &query, &rows, err)) {
        return registry_loan_report(&loan, err);
    }
    return sql_affected(rows) == 1 ? 0
                                   : err_set(err, ERR_CONFLICT, "Conflict",
                                             "what was to be removed was just taken back");
}

static void append_due(struct sql *query, const char *id, int64_t now_s)
{
    SQL(query, " public.tenant_retained WHERE delete_after <= to_timestamp(");
    sql_param_int(query, now_s);
    SQL(query, "::bigint) AND tenant_id = ");
    sql_param(query, id);
}

/* In one statement: a bucket that is kept by itself would make the rest look as if it were to be
 * kept too (append_none_is_kept). */
static void append_end(struct sql *query, const char *id, const struct purge *purge, int64_t now_s)
{
    if (purge->policy != DELETION_SNAPSHOT) {
        SQL(query, "DELETE FROM");
        append_due(query, id, now_s);
        return;
    }
    SQL(query, "WITH gone AS (DELETE FROM");
    append_due(query, id, now_s);
    SQL(query, " AND kind <> 'bucket'), kept AS (UPDATE public.tenant_retained r SET delete_after "
               "= NULL FROM (SELECT id FROM");
    append_due(query, id, now_s);
    SQL(query, " AND kind = 'bucket') due WHERE r.id = due.id RETURNING r.tenant_id) "
               "UPDATE public.tenants t SET purge_policy = NULL, purge_began_at = NULL, "
               "updated_at = now() WHERE t.status = 'deleted' AND EXISTS (SELECT FROM kept) "
               "AND t.tenant_uid = ");
    sql_param(query, purge->tenant_uid);
    SQL(query, " AND t.id = ");
    sql_param(query, id);
}

int purge_end(struct registry *registry, struct reconcile *rc, const char *id,
              const struct purge *purge, int64_t now_s, struct err *err)
{
    AUTO(registry_loan) struct registry_loan loan = {0};
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    if (registry_borrow(registry, rc, &loan, err)) {
        return -1;
    }
    sql_init(&query);
    SQL(&query, "SELECT FROM");
    append_due(&query, id, now_s);
    if (sql_query(loan.conn, &rc->call, &query, &rows, err)) {
        return registry_loan_report(&loan, err);
    }
    if (sql_row_count(rows) == 0) {
        return 0;
    }
    sql_clear(&query);
    append_end(&query, id, purge, now_s);
    return sql_exec(loan.conn, &rc->call, &query, NULL, err) ? registry_loan_report(&loan, err) : 0;
}
