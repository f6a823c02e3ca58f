/* POST /api/password-resets: an owner or admin gives a user of the tenant a temporary password, the
 * first one of a new member among them. It is made here and shown this once; the user has to change
 * it at the next login. Nobody gives an owner another password, since who has it is the owner. */
#include <string.h>

#include "gateway/api_internal.h"
#include "gateway/feed.h"
#include "gateway/password.h"

enum { PASSWORD_CHARACTERS = 20, EMAIL_MAX_BYTES = 255 };

/* Of those who are disabled the hash begins with "!disabled!" (docs/members.md). */
static int write_password(struct api_call *call, const char *email, const struct secret *hash,
                          struct sql_rows **ret, struct err *err)
{
    AUTO(sql) struct sql query = {0};

    sql_init(&query);
    SQL(&query, "UPDATE ");
    sql_ident2(&query, call->record->facts.schema, "users");
    SQL(&query, " SET must_change_password = true, password_hash = ");
    sql_param(&query, secret_bytes(hash));
    SQL(&query, " WHERE email = ");
    sql_param(&query, email);
    SQL(&query, " AND role IS DISTINCT FROM 'owner' AND password_hash NOT LIKE '!disabled!%' "
                "RETURNING id");
    return api_write(call, &query, ret, err);
}

static void answer(struct api_call *call, const char *email, const struct secret *password)
{
    struct jsonw writer;

    jsonw_init(&writer, &call->answer);
    jsonw_object(&writer, NULL);
    jsonw_text(&writer, "email", email);
    jsonw_text(&writer, "temporary_password", secret_bytes(password));
    jsonw_bool(&writer, "must_change_password", true);
    jsonw_end_object(&writer);
    call->status = 200;
}

static void reset(struct api_call *call, const char *email)
{
    AUTO(secret) struct secret password = {0};
    AUTO(secret) struct secret hash = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;
    struct err err;

    secret_generate(&password, PASSWORD_CHARACTERS);
    if (!password_hash(secret_bytes(&password), call->digest, &hash)) {
        api_fail(call, 500, "Internal server error");
    } else if (write_password(call, email, &hash, &rows, &err)) {
        api_fault(call, &err);
    } else if (sql_row_count(rows) == 0) {
        api_fail(call, 404, "No such user, or one whose password is not reset");
    } else {
        feed_revoke_user(call->gateway->feed, call->record->facts.id, sql_text(rows, 0, 0));
        answer(call, email, &password);
    }
}

void api_reset_password(struct api_call *call)
{
    AUTO(json) json_t *body = NULL;
    const char *role = call->principal.role;

    if (strcmp(role, "owner") != 0 && strcmp(role, "admin") != 0) {
        api_fail(call, 403, "Only an owner or admin resets passwords");
        return;
    }
    if (!api_read_body(call, &body)) {
        return;
    }
    const char *email = js_text_or(body, "/email", NULL);
    if (!email || strlen(email) > EMAIL_MAX_BYTES) {
        api_fail(call, 400, "email is required");
        return;
    }
    reset(call, email);
}
