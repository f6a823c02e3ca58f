#include "gateway/reply.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

enum { BODY_MAX_BYTES = 512, FIELD_MAX_BYTES = 512, NUMBER_BYTES = 20 };

/* Seconds to wait, where nobody knows better. */
static const int64_t retry_after_s = 60;

struct fixed {
    int status;
    const char *body;
    const char *fields;
};
static const struct fixed table[REPLY_COUNT] = {
    [REPLY_TENANT_NOT_FOUND] = {404, "{\"error\":\"Tenant not found\"}", ""},
    [REPLY_SUSPENDED] = {403, "{\"error\":\"Tenant suspended\"}", ""},
    [REPLY_UNAUTHORIZED] = {401, "{\"error\":\"Unauthorized\"}", "WWW-Authenticate: Bearer\r\n"},
    [REPLY_PASSWORD_CHANGE] = {403, "{\"error\":\"Password change required\"}", ""},
    [REPLY_QUOTA_MISSING] = {429,
                             "{\"error\":\"Quota exceeded\",\"message\":\"Quota not configured\"}",
                             "Retry-After: 60\r\n"},
    [REPLY_QUOTA_ERROR] = {503, "{\"error\":\"Quota system error\"}", "Retry-After: 1\r\n"},
    [REPLY_DATABASE_ERROR] = {500, "{\"error\":\"Database error\"}", ""},
    [REPLY_INTERNAL_ERROR] = {500, "{\"error\":\"Internal server error\"}", ""},
    [REPLY_RATE] = {429, "{\"error\":\"Too many requests\"}", "Retry-After: 1\r\n"},
    [REPLY_ASLEEP] = {503, "{\"error\":\"Tenant is waking up\"}", "Retry-After: 5\r\n"},
    [REPLY_NOT_FOUND] = {404, "{\"error\":\"Not found\"}", ""},
    [REPLY_METHOD] = {405, "{\"error\":\"Method not allowed\"}", ""},
    [REPLY_OVERLOADED] = {503, "{\"error\":\"Too busy\"}", "Retry-After: 1\r\n"},
};

const char *reply_reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {200, "OK"},
        {201, "Created"},
        {204, "No Content"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {411, "Length Required"},
        {413, "Content Too Large"},
        {417, "Expectation Failed"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {505, "HTTP Version Not Supported"},
    };

    for (size_t i = 0; i < ARRAY_COUNT(reasons); i++) {
        if (reasons[i].status == status) {
            return reasons[i].reason;
        }
    }
    return "Unknown";
}

/* ---- writing ----
 * Room for FRONT_ANSWER_MAX_BYTES is there: conn.c sends what is in the buffer before. */

static char *put(char *at, struct str text)
{
    memcpy(at, text.ptr, text.len);
    return at + text.len;
}

static char *put_text(char *at, const char *text)
{
    return put(at, str_from(text));
}

static char *put_number(char *at, int64_t value)
{
    char digits[NUMBER_BYTES];
    size_t count = 0;

    if (value < 0) {
        *at++ = '-';
    }
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do {
        digits[count++] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    while (count > 0) {
        *at++ = digits[--count];
    }
    return at;
}

static char *begin(struct conn *conn)
{
    return conn->thread->out + conn->thread->out_length;
}

static void end(struct conn *conn, char *at)
{
    conn->thread->out_length = (size_t)(at - conn->thread->out);
}

static char *put_status(char *at, int status)
{
    at = put(at, STR("HTTP/1.1 "));
    at = put_number(at, status);
    *at++ = ' ';
    at = put_text(at, reply_reason(status));
    return put(at, STR("\r\n"));
}

/* Date, and how the connection goes on. */
static char *put_tail(char *at, struct conn *conn, const struct request *request)
{
    at = put(at, STR("Date: "));
    at = put(at, (struct str){conn->thread->date, HTTP_DATE_BYTES - 1});
    if (!request->keep_alive || conn->closing || atomic_load(&conn->thread->gateway->draining)) {
        conn->closing = true;
        return put(at, STR("\r\nConnection: close\r\n\r\n"));
    }
    return put(at, STR("\r\n\r\n"));
}

static char *put_body_fields(char *at, size_t length)
{
    at = put(at, STR("Content-Type: application/json\r\nContent-Length: "));
    at = put_number(at, (int64_t)length);
    return put(at, STR("\r\n"));
}

/* ---- quotas in fields ---- */

static int64_t resets_s(const struct bucket *bucket, int64_t now_ms)
{
    int64_t resets_ms = atomic_load_explicit(&bucket->resets_ms, memory_order_relaxed);

    return resets_ms > now_ms ? (resets_ms - now_ms + 999) / 1000 : 0;
}

static char *put_limits(char *at, const struct bucket *bucket, int64_t now_ms)
{
    int64_t limit = atomic_load_explicit(&bucket->limit, memory_order_relaxed);
    int64_t reset = resets_s(bucket, now_ms);

    if (limit < 0 || limit == INT64_MAX) {
        return at;
    }
    at = put(at, STR("RateLimit-Policy: \"api_requests\";q="));
    at = put_number(at, limit);
    at = put(at, STR("\r\nRateLimit: \"api_requests\";r="));
    at = put_number(at, bucket_remaining(bucket));
    if (reset > 0) {
        at = put(at, STR(";t="));
        at = put_number(at, reset);
    }
    return put(at, STR("\r\n"));
}

void reply_append_limits(struct buf *out, const struct bucket *bucket, int64_t now_ms)
{
    char text[FIELD_MAX_BYTES];
    char *at = put_limits(text, bucket, now_ms);

    (void)buf_append(out, text, (size_t)(at - text));
}

/* ---- answers ---- */

/* A refusal in the words that the proxy understands. */
static void refuse(struct conn *conn, const struct request *request, enum reply_style style,
                   int status, struct str body, struct str fields)
{
    char *at = begin(conn);
    bool told = style == STYLE_NGINX;

    at = put_status(at, told && status != 401 ? 403 : status);
    if (told) {
        at = put(at, STR("X-Tenantry-Status: "));
        at = put_number(at, status);
        at = put(at, STR("\r\nX-Tenantry-Body: "));
        at = put(at, body);
        at = put(at, STR("\r\n"));
    }
    at = put(at, fields);
    at = put_body_fields(at, body.len);
    at = put_tail(at, conn, request);
    if (request->method != METHOD_HEAD) {
        at = put(at, body);
    }
    end(conn, at);
}

void reply_fixed(struct conn *conn, const struct request *request, enum reply_style style,
                 enum reply_kind kind)
{
    refuse(conn, request, style, table[kind].status, str_from(table[kind].body),
           str_from(table[kind].fields));
}

void reply_quota(struct conn *conn, const struct request *request, enum reply_style style,
                 const struct bucket *bucket)
{
    char body[BODY_MAX_BYTES];
    char fields[FIELD_MAX_BYTES];
    int64_t now_ms = conn->thread->now_ms;
    int64_t reset = resets_s(bucket, now_ms);

    char *at = put(body, STR("{\"error\":\"Quota exceeded\",\"message\":\"Quota exceeded for "
                             "api_requests\",\"current\":"));
    at = put_number(at, atomic_load(&bucket->used));
    at = put(at, STR(",\"limit\":"));
    at = put_number(at, atomic_load(&bucket->limit));
    *at++ = '}';
    char *field = put(fields, STR("Retry-After: "));
    field = put_number(field, reset > 0 ? reset : retry_after_s);
    field = put(field, STR("\r\n"));
    field = put_limits(field, bucket, now_ms);
    refuse(conn, request, style, 429, (struct str){body, (size_t)(at - body)},
           (struct str){fields, (size_t)(field - fields)});
}

void reply_allowed(struct conn *conn, const struct request *request, enum reply_style style,
                   const struct record *record, const struct principal *principal)
{
    char *at = begin(conn);

    at = put(at, style == STYLE_ENVOY ? STR("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n")
                                      : STR("HTTP/1.1 204 No Content\r\n"));
    at = put(at, record->identity);
    at = put(at, STR("X-User-Role: "));
    at = put_text(at, principal->role);
    at = put(at, STR("\r\nX-User-ID: "));
    at = put_text(at, principal->user_id);
    at = put(at, STR("\r\n"));
    at = put_limits(at, &record->live->requests.bucket, conn->thread->now_ms);
    end(conn, put_tail(at, conn, request));
}

void reply_text(struct conn *conn, const struct request *request, int status, const char *type,
                struct str fields, struct str body)
{
    char *at = begin(conn);

    at = put_status(at, status);
    at = put(at, fields);
    if (status != 204) {
        at = put(at, STR("Content-Type: "));
        at = put_text(at, type);
        at = put(at, STR("\r\nContent-Length: "));
        at = put_number(at, (int64_t)body.len);
        at = put(at, STR("\r\n"));
    }
    at = put_tail(at, conn, request);
    end(conn, at);
    if (status == 204 || request->method == METHOD_HEAD || body.len == 0) {
        return;
    }
    if (body.len <= FRONT_ANSWER_MAX_BYTES / 2) {
        end(conn, put(at, body));
        return;
    }
    /* Behind what is in the thread's buffer: that goes first, then this. */
    (void)buf_append(&conn->out, conn->thread->out, conn->thread->out_length);
    conn->thread->out_length = 0;
    (void)buf_append(&conn->out, body.ptr, body.len);
}
