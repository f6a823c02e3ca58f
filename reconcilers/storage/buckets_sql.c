/* Statements about tenant_buckets and the storage row of tenant_quotas. */
#include "controller/base/buf.h"
#include "controller/base/jsonw.h"
#include "controller/base/str.h"
#include "reconcilers/drivers/sql.h"
#include "reconcilers/registry/registry.h"
#include "reconcilers/storage/storage_internal.h"

enum { ROWS_MAX_BYTES = 64 * 1024 };

int bucket_rows_fetch(struct registry *registry, struct reconcile *rc, const char *tenant_id,
                      struct bucket_row **ret, size_t *ret_count, struct err *err)
{
    AUTO(registry_loan) struct registry_loan loan = {0};
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT name, bucket, store, made FROM public.tenant_buckets WHERE tenant_id = ");
    sql_param(&query, tenant_id);
    SQL(&query, " ORDER BY name LIMIT ");
    sql_integer(&query, BUCKETS_MAX);
    if (registry_borrow(registry, rc, &loan, err)) {
        return -1;
    }
    if (sql_query(loan.conn, &rc->call, &query, &rows, err)) {
        return registry_loan_report(&loan, err);
    }
    size_t count = (size_t)sql_row_count(rows);
    struct bucket_row *list = ARENA_ARRAY(rc->arena, struct bucket_row, count);
    for (size_t i = 0; i < count; i++) {
        list[i] = (struct bucket_row){
            .name = arena_strdup(rc->arena, sql_text(rows, (int)i, 0)),
            .bucket = arena_strdup(rc->arena, sql_text(rows, (int)i, 1)),
            .store = arena_strdup(rc->arena, sql_text(rows, (int)i, 2)),
            .made = text_equal(sql_text(rows, (int)i, 3), "t"),
        };
    }
    *ret = list;
    *ret_count = count;
    return 0;
}

static int execute(struct registry *registry, struct reconcile *rc, struct sql *query,
                   struct err *err)
{
    AUTO(registry_loan) struct registry_loan loan = {0};

    if (registry_borrow(registry, rc, &loan, err)) {
        return -1;
    }
    return sql_exec(loan.conn, &rc->call, query, NULL, err) ? registry_loan_report(&loan, err) : 0;
}

int bucket_rows_add(struct registry *registry, struct reconcile *rc, const char *tenant_id,
                    const struct bucket_row *rows, size_t count, struct err *err)
{
    AUTO(buf) struct buf text = BUF(ROWS_MAX_BYTES);
    AUTO(sql) struct sql query = {0};
    struct jsonw writer;

    jsonw_init(&writer, &text);
    jsonw_array(&writer, NULL);
    for (size_t i = 0; i < count; i++) {
        jsonw_object(&writer, NULL);
        jsonw_text(&writer, "name", rows[i].name);
        jsonw_text(&writer, "bucket", rows[i].bucket);
        jsonw_text(&writer, "store", rows[i].store);
        jsonw_end_object(&writer);
    }
    jsonw_end_array(&writer);
    sql_init(&query);
    SQL(&query, "INSERT INTO public.tenant_buckets (tenant_id, name, bucket, store) SELECT ");
    sql_param(&query, tenant_id);
    SQL(&query, "::uuid, name, bucket, store FROM jsonb_to_recordset(");
    sql_param(&query, buf_text(&text));
    SQL(&query, "::jsonb) AS b (name text, bucket text, store text) "
                "ON CONFLICT (tenant_id, name) DO NOTHING");
    return execute(registry, rc, &query, err);
}

int bucket_row_made(struct registry *registry, struct reconcile *rc, const char *tenant_id,
                    const char *bucket, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "UPDATE public.tenant_buckets SET made = true WHERE NOT made AND tenant_id = ");
    sql_param(&query, tenant_id);
    SQL(&query, " AND bucket = ");
    sql_param(&query, bucket);
    return execute(registry, rc, &query, err);
}

int bucket_row_remove(struct registry *registry, struct reconcile *rc, const char *tenant_id,
                      const char *bucket, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "DELETE FROM public.tenant_buckets WHERE tenant_id = ");
    sql_param(&query, tenant_id);
    SQL(&query, " AND bucket = ");
    sql_param(&query, bucket);
    return execute(registry, rc, &query, err);
}
