/* GET /api/users and GET /api/tenant. */
#include <string.h>

#include "gateway/api_internal.h"

enum { USERS_MAX = 10000 };

static int read_users(struct api_call *call, struct sql_rows **ret, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "SELECT id, email, full_name, role FROM ");
    sql_ident2(&query, call->record->facts.schema, "users");
    SQL(&query, " ORDER BY created_at, id LIMIT ");
    sql_integer(&query, USERS_MAX);
    return api_read(call, &query, ret, err);
}

void api_list_users(struct api_call *call)
{
    AUTO(sql_rows) struct sql_rows *rows = NULL;
    struct jsonw writer;
    struct err err;

    if (read_users(call, &rows, &err)) {
        api_fault(call, &err);
        return;
    }
    jsonw_init(&writer, &call->answer);
    jsonw_array(&writer, NULL);
    for (int row = 0; row < sql_row_count(rows); row++) {
        jsonw_object(&writer, NULL);
        api_member(&writer, "id", rows, row, 0);
        api_member(&writer, "email", rows, row, 1);
        api_member(&writer, "full_name", rows, row, 2);
        api_member(&writer, "role", rows, row, 3);
        jsonw_end_object(&writer);
    }
    jsonw_end_array(&writer);
    call->status = 200;
}

void api_show_tenant(struct api_call *call)
{
    const struct tenant_facts *facts = &call->record->facts;
    const struct call limits = api_deadline();
    struct jsonw writer;
    struct err err;

    jsonw_init(&writer, &call->answer);
    jsonw_object(&writer, NULL);
    jsonw_text(&writer, "id", facts->id);
    jsonw_text(&writer, "name", facts->name);
    jsonw_text(&writer, "subdomain", facts->subdomain);
    jsonw_text(&writer, "tier", facts->tier);
    jsonw_raw(&writer, "features", str_from(facts->features));
    jsonw_raw(&writer, "settings", str_from(facts->settings));
    if (api_append_quotas(call, &limits, &writer, "quotas", &err)) {
        api_fail(call, 503, "Quota system error");
        return;
    }
    jsonw_end_object(&writer);
    call->status = 200;
}
