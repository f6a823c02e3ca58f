#include "reconcilers/registry/snapshot_record.h"

#include "controller/base/jsonw.h"

enum { NAMES_MAX_BYTES = 1 << 20 };

enum {
    RESULT_BEGAN,
    RESULT_TAKEN,
    RESULT_STORED,
    RESULT_SHA256,
    RESULT_SIZE,
    RESULT_VOIDED,
    RESULT_SCHEMA,
    RESULT_TABLE,
};

/* There is always a row: with what is void. */
static void take_record(struct arena *arena, const struct sql_rows *rows,
                        struct snapshot_record *ret)
{
    size_t count = (size_t)sql_row_count(rows);
    struct table_name *names = ARENA_ARRAY(arena, struct table_name, count);
    size_t used = 0;

    for (size_t i = 0; i < count; i++) {
        if (!sql_is_null(rows, (int)i, RESULT_SCHEMA)) {
            names[used++] = (struct table_name){
                .schema = arena_strdup(arena, sql_text(rows, (int)i, RESULT_SCHEMA)),
                .table = arena_strdup(arena, sql_text(rows, (int)i, RESULT_TABLE)),
            };
        }
    }
    *ret = (struct snapshot_record){
        .began = sql_bool(rows, 0, RESULT_BEGAN),
        .taken = sql_bool(rows, 0, RESULT_TAKEN),
        .stored = sql_bool(rows, 0, RESULT_STORED),
        .sha256 = arena_strdup(arena, sql_text(rows, 0, RESULT_SHA256)),
        .size_bytes = sql_int(rows, 0, RESULT_SIZE),
        .voided = (int)sql_int(rows, 0, RESULT_VOIDED),
        .unforced = names,
        .unforced_count = used,
    };
}

static void append_of(struct sql *query, const char *tenant_id, const char *tenant_uid)
{
    SQL(query, "tenant_id = ");
    sql_param(query, tenant_id);
    SQL(query, " AND tenant_uid = ");
    sql_param(query, tenant_uid);
}

static void append_in_force(struct sql *query, const char *tenant_id, const char *tenant_uid)
{
    append_of(query, tenant_id, tenant_uid);
    SQL(query, " AND voided_at IS NULL");
}

int snapshot_record_get(struct registry *registry, struct reconcile *rc, const char *tenant_id,
                        const char *tenant_uid, struct snapshot_record *ret, struct err *err)
{
    AUTO(registry_loan) struct registry_loan loan = {0};
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    if (registry_borrow(registry, rc, &loan, err)) {
        return -1;
    }
    sql_init(&query);
    SQL(&query, "SELECT s.id IS NOT NULL, s.taken_at IS NOT NULL, "
                "coalesce(s.stored_at > now() - interval '15 minutes', false), "
                "coalesce(s.sha256, ''), coalesce(s.size_bytes, 0), v.count, u.value->>0, "
                "u.value->>1 FROM (SELECT count(*) FROM public.tenant_snapshots WHERE ");
    append_of(&query, tenant_id, tenant_uid);
    SQL(&query, " AND voided_at IS NOT NULL) v LEFT JOIN (SELECT * FROM public.tenant_snapshots "
                "WHERE ");
    append_in_force(&query, tenant_id, tenant_uid);
    SQL(&query, ") s ON true LEFT JOIN LATERAL jsonb_array_elements(s.unforced) u ON true");
    if (sql_query(loan.conn, &rc->call, &query, &rows, err)) {
        return registry_loan_report(&loan, err);
    }
    take_record(rc->arena, rows, ret);
    return 0;
}

static void render_names(struct buf *text, const struct table_name *names, size_t count)
{
    struct jsonw writer;

    jsonw_init(&writer, text);
    jsonw_array(&writer, NULL);
    for (size_t i = 0; i < count; i++) {
        jsonw_array(&writer, NULL);
        jsonw_text(&writer, NULL, names[i].schema);
        jsonw_text(&writer, NULL, names[i].table);
        jsonw_end_array(&writer);
    }
    jsonw_end_array(&writer);
}

int snapshot_record_begin(struct registry *registry, struct reconcile *rc, const char *tenant_id,
                          const char *tenant_uid, const struct table_name *unforced, size_t count,
                          bool goes_on, struct err *err)
{
    AUTO(registry_loan) struct registry_loan loan = {0};
    AUTO(buf) struct buf names = BUF(NAMES_MAX_BYTES);
    AUTO(sql) struct sql query = {0};

    render_names(&names, unforced, count);
    if (registry_borrow(registry, rc, &loan, err)) {
        return -1;
    }
    sql_init(&query);
    SQL(&query, "WITH closed AS (UPDATE public.tenants SET status = 'suspended', "
                "updated_at = now() WHERE status = 'active' AND id = ");
    sql_param(&query, tenant_id);
    SQL(&query, ") INSERT INTO public.tenant_snapshots (tenant_id, tenant_uid, unforced) VALUES (");
    sql_param(&query, tenant_id);
    SQL(&query, ", ");
    sql_param(&query, tenant_uid);
    SQL(&query, ", ");
    sql_param(&query, buf_text(&names));
    SQL(&query, "::jsonb) ON CONFLICT (tenant_id, tenant_uid) WHERE voided_at IS NULL DO UPDATE "
                "SET unforced = excluded.unforced, began_at = now(), taken_at = NULL");
    if (!goes_on) {
        SQL(&query, ", stored_at = NULL");
    }
    return sql_exec(loan.conn, &rc->call, &query, NULL, err) ? registry_loan_report(&loan, err) : 0;
}

int snapshot_record_stored(struct registry *registry, struct reconcile *rc, const char *tenant_id,
                           const char *tenant_uid, const char *sha256, int64_t size_bytes,
                           struct err *err)
{
    AUTO(registry_loan) struct registry_loan loan = {0};
    AUTO(sql) struct sql query = {0};

    if (registry_borrow(registry, rc, &loan, err)) {
        return -1;
    }
    sql_init(&query);
    if (sha256) {
        SQL(&query, "UPDATE public.tenant_snapshots SET stored_at = now(), sha256 = ");
        sql_param(&query, sha256);
        SQL(&query, ", size_bytes = ");
        sql_param_int(&query, size_bytes);
    } else {
        SQL(&query, "UPDATE public.tenant_snapshots SET stored_at = NULL");
    }
    SQL(&query, " WHERE ");
    append_in_force(&query, tenant_id, tenant_uid);
    return sql_exec(loan.conn, &rc->call, &query, NULL, err) ? registry_loan_report(&loan, err) : 0;
}

int snapshot_record_end(struct registry *registry, struct reconcile *rc, const char *tenant_id,
                        const char *tenant_uid, const struct snapshot_receipt *receipt,
                        struct err *err)
{
    AUTO(registry_loan) struct registry_loan loan = {0};
    AUTO(sql) struct sql query = {0};

    if (registry_borrow(registry, rc, &loan, err)) {
        return -1;
    }
    sql_init(&query);
    SQL(&query,
        "UPDATE public.tenant_snapshots SET unforced = '[]', taken_at = now(), location = ");
    sql_param(&query, receipt->location);
    SQL(&query, ", object = ");
    sql_param(&query, receipt->object);
    SQL(&query, ", sha256 = ");
    sql_param(&query, receipt->sha256);
    SQL(&query, ", size_bytes = ");
    sql_param_int(&query, receipt->size_bytes);
    SQL(&query, ", row_counts = ");
    sql_param(&query, receipt->row_counts);
    SQL(&query, "::jsonb WHERE ");
    append_in_force(&query, tenant_id, tenant_uid);
    return sql_exec(loan.conn, &rc->call, &query, NULL, err) ? registry_loan_report(&loan, err) : 0;
}

int snapshot_record_void(struct sql_conn *conn, const struct call *call, const char *tenant_id,
                         const char *tenant_uid, const char *taken_at, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "UPDATE public.tenant_snapshots SET voided_at = now() WHERE ");
    append_in_force(&query, tenant_id, tenant_uid);
    SQL(&query, " AND taken_at = ");
    sql_param(&query, taken_at);
    SQL(&query, "::timestamptz");
    if (sql_exec(conn, call, &query, &rows, err)) {
        return -1;
    }
    return sql_affected(rows) == 1 ? 0
                                   : err_set(err, ERR_CONFLICT, "Conflict",
                                             "the receipt of a snapshot was changed meanwhile");
}
