/* Passwords: logging in with one, changing it. Hashes are made and compared in threads of their
 * own, since one takes a quarter of a second. Whether there is such a user at all takes the
 * same time and gives the same answer. Who fails again and again has to wait, longer each time; the
 * count is kept here, a replica, so that no stranger can make us write. */
#include <pthread.h>
#include <string.h>

#include "controller/base/clock.h"
#include "controller/base/hash.h"
#include "gateway/api_internal.h"
#include "gateway/feed.h"
#include "gateway/password.h"
#include "gateway/session.h"

enum {
    PASSWORD_MIN_BYTES = 8,
    PASSWORD_MAX_BYTES = 72, /* bcrypt ignores what is behind */
    FAILURES_FREE = 5,       /* mistakes are human */
    FAILURES_SLOTS = 4096,
    WAIT_FIRST_MS = 1000,
    WAIT_LAST_MS = 60 * 1000,
    FORGET_MS = 15 * 60 * 1000,
};

/* ---- those who fail ---- */

struct failures {
    uint64_t whose; /* hash of tenant and address; two that share one share their failures */
    int count;
    int64_t last_ms;
};
static struct failures failures[FAILURES_SLOTS];
static pthread_mutex_t failures_lock = PTHREAD_MUTEX_INITIALIZER;

static uint64_t whose(const struct api_call *call, const char *email)
{
    char text[512];
    int length = snprintf(text, sizeof(text), "%s %s", call->record->facts.id, email);

    length = length < (int)sizeof(text) ? length : (int)sizeof(text) - 1;
    for (int i = 0; i < length; i++) {
        text[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] | 0x20 : text[i]);
    }
    return hash_table64((struct str){text, (size_t)length});
}

static bool must_wait(uint64_t who)
{
    struct failures *slot = &failures[who % FAILURES_SLOTS];
    int64_t now_ms = clock_monotonic_ms();

    pthread_mutex_lock(&failures_lock);
    int over = slot->whose == who ? slot->count - FAILURES_FREE : -1;
    int64_t wait_ms = over < 0 ? 0 : (int64_t)WAIT_FIRST_MS << (over < 6 ? over : 6);
    wait_ms = wait_ms < WAIT_LAST_MS ? wait_ms : WAIT_LAST_MS;
    bool waits = over >= 0 && now_ms - slot->last_ms < wait_ms;
    pthread_mutex_unlock(&failures_lock);
    return waits;
}

static void note(uint64_t who, bool failed)
{
    struct failures *slot = &failures[who % FAILURES_SLOTS];
    int64_t now_ms = clock_monotonic_ms();

    pthread_mutex_lock(&failures_lock);
    if (slot->whose != who || now_ms - slot->last_ms > FORGET_MS || !failed) {
        *slot = (struct failures){.whose = who};
    }
    slot->count += failed ? 1 : 0;
    slot->last_ms = now_ms;
    pthread_mutex_unlock(&failures_lock);
}

/* ---- users ---- */

struct user {
    bool found;
    char id[UUID_TEXT_BYTES];
    bool must_change;
    struct secret hash;
};

/* By address, or by id when email is NULL. */
static int read_user(struct api_call *call, const char *email, struct user *ret, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "SELECT id, coalesce(must_change_password, false), password_hash FROM ");
    sql_ident2(&query, call->record->facts.schema, "users");
    if (email) {
        SQL(&query, " WHERE lower(email) = lower(");
        sql_param(&query, email);
        SQL(&query, ") ORDER BY email = ");
        sql_param(&query, email);
        SQL(&query, " DESC LIMIT 1");
    } else {
        SQL(&query, " WHERE id::text = ");
        sql_param(&query, call->principal.user_id);
    }
    if (api_read(call, &query, &rows, err)) {
        return -1;
    }
    ret->found = sql_row_count(rows) > 0;
    if (ret->found) {
        (void)snprintf(ret->id, sizeof(ret->id), "%s", sql_text(rows, 0, 0));
        ret->must_change = sql_bool(rows, 0, 1);
        secret_set(&ret->hash, str_from(sql_text(rows, 0, 2)));
    }
    return 0;
}

/* ---- login ---- */

static void answer_token(struct api_call *call, const struct user *user)
{
    AUTO(buf) struct buf token = BUF(SESSION_TOKEN_MAX_BYTES);
    char expires_at[CLOCK_TEXT_BYTES];
    char mark[PASSWORD_MARK_BYTES];
    int64_t expires_s = 0;
    struct jsonw writer;

    password_mark(secret_bytes(&user->hash), mark);
    sessions_issue(call->gateway->sessions, call->record->facts.id, user->id, mark, &token,
                   &expires_s);
    clock_format_s(expires_s, expires_at);
    jsonw_init(&writer, &call->answer);
    jsonw_object(&writer, NULL);
    jsonw_text(&writer, "token", buf_text(&token));
    jsonw_text(&writer, "expires_at", expires_at);
    if (user->must_change) {
        jsonw_bool(&writer, "must_change_password", true);
    }
    jsonw_end_object(&writer);
    call->status = 200;
}

static void try_login(struct api_call *call, const char *email, const char *password)
{
    struct user user = {.found = false};
    struct err err;
    uint64_t who = whose(call, email);

    if (must_wait(who)) {
        api_fail(call, 429, "Too many requests");
        return;
    }
    if (read_user(call, email, &user, &err)) {
        api_fault(call, &err);
        return;
    }
    bool same = password_fits(password, user.found ? secret_bytes(&user.hash) : NULL);
    note(who, !same);
    if (same) {
        answer_token(call, &user);
    } else {
        api_fail(call, 401, "Unauthorized");
    }
    secret_release(&user.hash);
}

void api_login(struct api_call *call)
{
    AUTO(json) json_t *body = NULL;

    if (!api_read_body(call, &body)) {
        return;
    }
    const char *email = js_text_or(body, "/email", NULL);
    const char *password = js_text_or(body, "/password", NULL);
    if (!email || !password || strlen(email) > 255) {
        api_fail(call, 400, "email and password are required");
        return;
    }
    try_login(call, email, password);
}

/* ---- changing ---- */

static int write_password(struct api_call *call, const struct secret *old_hash,
                          const struct secret *hash, bool *ret_written, struct err *err)
{
    AUTO(sql) struct sql query = {0};
    AUTO(sql_rows) struct sql_rows *rows = NULL;

    sql_init(&query);
    SQL(&query, "UPDATE ");
    sql_ident2(&query, call->record->facts.schema, "users");
    SQL(&query, " SET must_change_password = false, password_hash = ");
    sql_param(&query, secret_bytes(hash));
    SQL(&query, " WHERE id::text = ");
    sql_param(&query, call->principal.user_id);
    SQL(&query, " AND password_hash = ");
    sql_param(&query, secret_bytes(old_hash));
    if (api_write(call, &query, &rows, err)) {
        return -1;
    }
    *ret_written = sql_affected(rows) == 1;
    return 0;
}

static void replace_password(struct api_call *call, const struct user *user, const char *password)
{
    AUTO(secret) struct secret hash = {0};
    bool written = false;
    struct err err;

    if (!password_hash(password, call->digest, &hash)) {
        api_fail(call, 500, "Internal server error");
    } else if (write_password(call, &user->hash, &hash, &written, &err)) {
        api_fault(call, &err);
    } else if (!written) {
        api_fail(call, 409, "The password was changed meanwhile");
    } else {
        feed_revoke_user(call->gateway->feed, call->record->facts.id, call->principal.user_id);
        call->status = 204;
    }
}

static void try_change(struct api_call *call, const char *current, const char *fresh)
{
    struct user user = {.found = false};
    struct err err;
    uint64_t who = whose(call, call->principal.user_id);

    if (must_wait(who)) {
        api_fail(call, 429, "Too many requests");
        return;
    }
    if (read_user(call, NULL, &user, &err)) {
        api_fault(call, &err);
        return;
    }
    bool same = password_fits(current, user.found ? secret_bytes(&user.hash) : NULL);
    note(who, !same);
    if (same) {
        replace_password(call, &user, fresh);
    } else {
        api_fail(call, 401, "Unauthorized");
    }
    secret_release(&user.hash);
}

void api_change_password(struct api_call *call)
{
    AUTO(json) json_t *body = NULL;

    if (!api_read_body(call, &body)) {
        return;
    }
    const char *current = js_text_or(body, "/current_password", NULL);
    const char *fresh = js_text_or(body, "/new_password", NULL);
    if (!current || !fresh) {
        api_fail(call, 400, "current_password and new_password are required");
    } else if (strlen(fresh) < PASSWORD_MIN_BYTES || strlen(fresh) > PASSWORD_MAX_BYTES) {
        api_fail(call, 400, "new_password must have 8 to 72 characters");
    } else if (strcmp(current, fresh) == 0) {
        api_fail(call, 400, "new_password must be another one");
    } else {
        try_change(call, current, fresh);
    }
}
