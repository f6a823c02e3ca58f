/* API keys: shown once, stored as their SHA-256. A user has his own; owners and admins may see and
 * revoke everybody's. */
#include <string.h>

#include "controller/base/clock.h"
#include "controller/base/hash.h"
#include "controller/base/secret.h"
#include "gateway/api_internal.h"
#include "gateway/feed.h"

enum { KEYS_MAX = 10000, KEY_CHARACTERS = 40, NAME_MAX_BYTES = 255, KEY_BYTES = 64 };

#define KEY_PREFIX "tk_"
#define KEY_COLUMNS                                                                                \
    "id, name, " API_TIME("created_at") ", " API_TIME("expires_at") ", " API_TIME("last_used_at")

static bool is_leading(const struct principal *principal)
{
    return strcmp(principal->role, "owner") == 0 || strcmp(principal->role, "admin") == 0;
}

/* What the caller may see of api_keys. */
static void append_scope(struct sql *query, const struct api_call *call)
{
    SQL(query, " WHERE true");
    if (!is_leading(&call->principal)) {
        SQL(query, " AND user_id::text = ");
        sql_param(query, call->principal.user_id);
    }
}

static void write_key(struct jsonw *writer, const struct sql_rows *rows, int row, const char *key)
{
    jsonw_object(writer, NULL);
    api_member(writer, "id", rows, row, 0);
    if (key) {
        jsonw_text(writer, "key", key);
    }
    api_member(writer, "name", rows, row, 1);
    api_member(writer, "created_at", rows, row, 2);
    api_member(writer, "expires_at", rows, row, 3);
    if (!key) {
        api_member(writer, "last_used_at", rows, row, 4);
    }
    jsonw_end_object(writer);
}

/* ---- list ---- */

static int read_keys(struct api_call *call, struct sql_rows **ret, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "SELECT " KEY_COLUMNS " FROM ");
    sql_ident2(&query, call->record->facts.schema, "api_keys");
    append_scope(&query, call);
    SQL(&query, " ORDER BY created_at, id LIMIT ");
    sql_integer(&query, KEYS_MAX);
    return api_read(call, &query, ret, err);
}

void api_list_keys(struct api_call *call)
{
    AUTO(sql_rows) struct sql_rows *rows = NULL;
    struct jsonw writer;
    struct err err;

    if (read_keys(call, &rows, &err)) {
        api_fault(call, &err);
        return;
    }
    jsonw_init(&writer, &call->answer);
    jsonw_array(&writer, NULL);
    for (int row = 0; row < sql_row_count(rows); row++) {
        write_key(&writer, rows, row, NULL);
    }
    jsonw_end_array(&writer);
    call->status = 200;
}

/* ---- create ---- */

static int insert_key(struct api_call *call, const char *hash, const char *name,
                      const char *expires_at, struct sql_rows **ret, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    const char *user_id = call->principal.user_id;

    sql_init(&query);
    SQL(&query, "INSERT INTO ");
    sql_ident2(&query, call->record->facts.schema, "api_keys");
    SQL(&query, " (tenant_id, user_id, key_hash, name, expires_at) VALUES (");
    sql_param(&query, call->record->facts.id);
    SQL(&query, ", ");
    sql_param(&query, *user_id ? user_id : NULL);
    SQL(&query, ", ");
    sql_param(&query, hash);
    SQL(&query, ", ");
    sql_param(&query, name);
    SQL(&query, ", ");
    sql_param(&query, expires_at);
    SQL(&query, "::timestamptz) RETURNING " KEY_COLUMNS);
    return api_write(call, &query, ret, err);
}

/* False, and the answer is set, when a member is not what it has to be. */
static bool read_wishes(struct api_call *call, const json_t *body, const char **ret_name,
                        const char **ret_expires_at)
{
    const json_t *name = js_at(body, "/name");
    const json_t *expires_at = js_at(body, "/expires_at");
    int64_t expires_us = 0;

    if ((name && !json_is_string(name)) || (expires_at && !json_is_string(expires_at))) {
        api_fail(call, 400, "name and expires_at must be strings");
        return false;
    }
    *ret_name = js_text_or(body, "/name", NULL);
    *ret_expires_at = js_text_or(body, "/expires_at", NULL);
    if (*ret_name && strlen(*ret_name) > NAME_MAX_BYTES) {
        api_fail(call, 400, "name is too long");
        return false;
    }
    if (*ret_expires_at &&
        (!clock_parse(str_from(*ret_expires_at), &expires_us) || expires_us <= clock_wall_us())) {
        api_fail(call, 400, "expires_at must be a time to come, as RFC 3339 has it");
        return false;
    }
    return true;
}

static void make_key(struct secret *ret, char ret_hash[SHA256_TEXT_BYTES])
{
    AUTO(secret) struct secret random = {0};
    char key[KEY_BYTES];

    secret_generate(&random, KEY_CHARACTERS);
    (void)snprintf(key, sizeof(key), KEY_PREFIX "%s", secret_bytes(&random));
    secret_set(ret, str_from(key));
    hash_sha256_text(str_from(key), ret_hash);
    explicit_bzero(key, sizeof(key));
}

void api_create_key(struct api_call *call)
{
    AUTO(json) json_t *body = NULL;
    AUTO(sql_rows) struct sql_rows *rows = NULL;
    AUTO(secret) struct secret key = {0};
    char hash[SHA256_TEXT_BYTES];
    const char *name = NULL;
    const char *expires_at = NULL;
    struct jsonw writer;
    struct err err;

    if (call->body.len > 0 &&
        (!api_read_body(call, &body) || !read_wishes(call, body, &name, &expires_at))) {
        return;
    }
    make_key(&key, hash);
    if (insert_key(call, hash, name, expires_at, &rows, &err)) {
        api_fault(call, &err);
        return;
    }
    jsonw_init(&writer, &call->answer);
    write_key(&writer, rows, 0, secret_bytes(&key));
    call->status = 201;
}

/* ---- revoke ---- */

static int delete_key(struct api_call *call, struct sql_rows **ret, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "DELETE FROM ");
    sql_ident2(&query, call->record->facts.schema, "api_keys");
    append_scope(&query, call);
    SQL(&query, " AND id::text = lower(");
    sql_param(&query, call->item);
    SQL(&query, ") RETURNING key_hash");
    return api_write(call, &query, ret, err);
}

void api_revoke_key(struct api_call *call)
{
    AUTO(sql_rows) struct sql_rows *rows = NULL;
    struct err err;

    if (delete_key(call, &rows, &err)) {
        api_fault(call, &err);
        return;
    }
    if (sql_row_count(rows) == 0) {
        api_fail(call, 404, "Not found");
        return;
    }
    feed_revoke_key(call->gateway->feed, call->record->facts.id, sql_text(rows, 0, 0));
    call->status = 204;
}
