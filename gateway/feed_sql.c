#include "gateway/feed_sql.h"

#include <stdlib.h>

enum { PAGE = 20000, SERVERS_MAX = 1000 };

enum column {
    COLUMN_ID,
    COLUMN_NAME,
    COLUMN_SUBDOMAIN,
    COLUMN_TIER,
    COLUMN_SUSPENDED,
    COLUMN_SERVER,
    COLUMN_DATABASE,
    COLUMN_SCHEMA,
    COLUMN_SETTINGS,
    COLUMN_FEATURES,
    COLUMN_RATE,
    COLUMN_BURST,
    COLUMN_FAIL_OPEN,
    COLUMN_REFUSES,
    COLUMN_ASLEEP,
};

static void append_select(struct sql *query)
{
    SQL(query, "SELECT t.id, t.name, t.subdomain, t.tier, t.status = 'suspended', "
               "coalesce(t.server, ''), t.database_name, coalesce(t.schema_name, 'public'), "
               "t.settings::text, t.features::text, "
               "coalesce((t.gateway ->> 'requestsPerSecond')::bigint, 0), "
               "coalesce((t.gateway ->> 'burst')::bigint, 0), "
               "coalesce(t.gateway ->> 'failMode' = 'Open', false), "
               "coalesce(t.gateway ->> 'wake' = 'Refuse', false), coalesce(a.asleep, false) "
               "FROM public.tenants t LEFT JOIN public.tenant_activity a ON a.tenant_id = t.id "
               "WHERE t.status <> 'deleted'");
}

static void tell_row(const struct sql_rows *rows, int row, feed_row_fn tell, void *context)
{
    const struct tenant_facts facts = {
        .id = sql_text(rows, row, COLUMN_ID),
        .name = sql_text(rows, row, COLUMN_NAME),
        .subdomain = sql_text(rows, row, COLUMN_SUBDOMAIN),
        .tier = sql_text(rows, row, COLUMN_TIER),
        .server = sql_text(rows, row, COLUMN_SERVER),
        .database = sql_text(rows, row, COLUMN_DATABASE),
        .schema = sql_text(rows, row, COLUMN_SCHEMA),
        .settings = sql_text(rows, row, COLUMN_SETTINGS),
        .features = sql_text(rows, row, COLUMN_FEATURES),
        .requests_per_second = sql_int(rows, row, COLUMN_RATE),
        .burst = sql_int(rows, row, COLUMN_BURST),
        .suspended = sql_bool(rows, row, COLUMN_SUSPENDED),
        .fail_open = sql_bool(rows, row, COLUMN_FAIL_OPEN),
        .asleep = sql_bool(rows, row, COLUMN_ASLEEP),
        .wake = sql_bool(rows, row, COLUMN_REFUSES) ? WAKE_REFUSES : WAKE_HOLDS,
    };
    tell(context, &facts);
}

/* A page behind the id `after`; *ret_last is its last id, "" when it was the last page. */
static int read_page(struct sql_conn *conn, const struct call *call, const char *ids,
                     char after[UUID_TEXT_BYTES], feed_row_fn tell, void *context, bool *ret_more,
                     struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    append_select(&query);
    if (ids) {
        SQL(&query, " AND t.id IN (SELECT jsonb_array_elements_text(");
        sql_param(&query, ids);
        SQL(&query, "::jsonb)::uuid)");
    }
    SQL(&query, " AND t.id > ");
    sql_param(&query, after);
    SQL(&query, "::uuid ORDER BY t.id LIMIT ");
    sql_integer(&query, PAGE);
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    int count = sql_row_count(rows);
    for (int row = 0; row < count; row++) {
        tell_row(rows, row, tell, context);
    }
    if (count > 0) {
        (void)snprintf(after, UUID_TEXT_BYTES, "%s", sql_text(rows, count - 1, COLUMN_ID));
    }
    *ret_more = count == PAGE;
    return 0;
}

int feed_read_tenants(struct sql_conn *conn, const struct call *call, const char *ids,
                      feed_row_fn tell, void *context, struct err *err)
{
    char after[UUID_TEXT_BYTES] = "00000000-0000-0000-0000-000000000000";
    bool more = true;

    while (more) {
        if (read_page(conn, call, ids, after, tell, context, &more, err)) {
            return -1;
        }
    }
    return 0;
}

int feed_read_servers(struct sql_conn *conn, const struct call *call, struct places *places,
                      struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT name, host, port, sslmode, ca_pem, target_session_attrs "
                "FROM public.database_servers ORDER BY name LIMIT ");
    sql_integer(&query, SERVERS_MAX);
    if (sql_query(conn, call, &query, &rows, err)) {
        return -1;
    }
    size_t count = (size_t)sql_row_count(rows);
    struct place_server *servers = xcalloc(count + 1, sizeof(*servers));
    for (size_t i = 0; i < count; i++) {
        int row = (int)i;
        servers[i] = (struct place_server){
            .name = sql_text(rows, row, 0),
            .host = sql_text(rows, row, 1),
            .port = (int)sql_int(rows, row, 2),
            .sslmode = sql_text(rows, row, 3),
            .ca_pem = sql_text(rows, row, 4),
            .target_session_attrs = sql_text(rows, row, 5),
        };
    }
    places_set_servers(places, servers, count);
    free(servers);
    return 0;
}

int feed_be_alive(struct sql_conn *conn, const struct call *call, const char *replica, bool leaving,
                  int64_t *ret_count, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT public.gateway_alive(");
    sql_param(&query, replica);
    SQL(&query, ", ");
    sql_param(&query, leaving ? "true" : "false");
    SQL(&query, ")");
    if (sql_exec(conn, call, &query, &rows, err)) {
        return -1;
    }
    *ret_count = sql_int(rows, 0, 0);
    return 0;
}

static void append_ids(struct sql *query, const char *ids)
{
    SQL(query, "ARRAY(SELECT jsonb_array_elements_text(");
    sql_param(query, ids);
    SQL(query, "::jsonb)::uuid)");
}

int feed_tell_used(struct sql_conn *conn, const struct call *call, const char *used,
                   const char *wake, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "SELECT public.gateway_used(");
    append_ids(&query, used);
    SQL(&query, ", ");
    append_ids(&query, wake);
    SQL(&query, ")");
    return sql_exec(conn, call, &query, NULL, err);
}

int feed_notify(struct sql_conn *conn, const struct call *call, const char *payload,
                struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "SELECT pg_notify('tenantry_gateway', ");
    sql_param(&query, payload);
    SQL(&query, ")");
    return sql_exec(conn, call, &query, NULL, err);
}

int feed_ping(struct sql_conn *conn, const struct call *call, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "SELECT 1");
    return sql_query(conn, call, &query, NULL, err);
}
