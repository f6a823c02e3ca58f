#include "gateway/api.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/base/clock.h"
#include "controller/base/log.h"
#include "gateway/api_internal.h"
#include "gateway/places.h"

enum { CALL_MS = 10 * 1000, ANSWER_MAX_BYTES = 32 << 20 };

static const struct api_route routes[] = {
    {METHOD_GET, 0, "/api/users", api_list_users},
    {METHOD_GET, 0, "/api/tenant", api_show_tenant},
    {METHOD_POST, API_WITHOUT_LOGIN | API_WITHOUT_QUOTA | API_SLOW, "/api/login", api_login},
    {METHOD_POST, API_PASSWORD_CHANGE | API_WITHOUT_QUOTA | API_SLOW, "/api/password",
     api_change_password},
    {METHOD_POST, API_SLOW, "/api/password-resets", api_reset_password},
    {METHOD_GET, 0, "/api/keys", api_list_keys},
    {METHOD_POST, 0, "/api/keys", api_create_key},
    {METHOD_DELETE, 0, "/api/keys/", api_revoke_key},
    {METHOD_GET, 0, "/api/quotas", api_list_quotas},
    {METHOD_POST, API_PLATFORM | API_WITHOUT_QUOTA, "/api/quotas", api_change_quotas},
    {METHOD_POST, API_PAYMENTS | API_WITHOUT_QUOTA | API_SUSPENDED, "/api/payments",
     api_record_payment},
};

/* ---- routing ---- */

static bool is_route(const struct api_route *route, struct str path)
{
    struct str wanted = str_from(route->path);

    if (!str_ends_with(wanted, STR("/"))) {
        return str_equal(wanted, path);
    }
    return path.len > wanted.len && path.len - wanted.len < API_ITEM_BYTES &&
           str_starts_with(path, wanted) &&
           !memchr(path.ptr + wanted.len, '/', path.len - wanted.len);
}

const struct api_route *api_find(const struct request *request, bool *ret_path_known)
{
    *ret_path_known = false;
    for (size_t i = 0; i < ARRAY_COUNT(routes); i++) {
        if (is_route(&routes[i], request->path)) {
            *ret_path_known = true;
            if (routes[i].method == request->method ||
                (routes[i].method == METHOD_GET && request->method == METHOD_HEAD)) {
                return &routes[i];
            }
        }
    }
    return NULL;
}

/* ---- calls ---- */

static void run(struct job *job)
{
    struct api_call *call = (struct api_call *)job;

    call->route->run(call);
    if (buf_failed(&call->answer)) {
        buf_clear(&call->answer);
        api_fail(call, 500, "Internal server error");
    }
    call->waiter->wake(call->waiter, WAIT_AGAIN);
}

struct api_call *api_start(struct gateway *gateway, struct record *record,
                           const struct api_route *route, const struct request *request,
                           const char *body, const struct principal *principal,
                           const unsigned char digest[SHA256_BYTES], struct waiter *waiter)
{
    struct api_call *call = xcalloc(1, sizeof(*call));
    size_t base = strlen(route->path);

    call->job.run = run;
    call->gateway = gateway;
    call->record = record;
    record_ref(record);
    call->route = route;
    call->principal = *principal;
    memcpy(call->digest, digest, sizeof(call->digest));
    if (request->path.len > base) {
        (void)snprintf(call->item, sizeof(call->item), "%.*s", (int)(request->path.len - base),
                       request->path.ptr + base);
    }
    call->waiter = waiter;
    buf_init(&call->body, REQUEST_BODY_MAX_BYTES);
    buf_init(&call->answer, ANSWER_MAX_BYTES);
    (void)buf_append(&call->body, body, (size_t)request->content_length);
    if (!workers_submit(route->flags & API_SLOW ? gateway->hashers : gateway->workers,
                        &call->job)) {
        api_call_free(call);
        return NULL;
    }
    return call;
}

void api_call_free(struct api_call *call)
{
    if (call) {
        /* Passwords pass through bodies, keys and tokens through answers. */
        if (call->body.ptr) {
            explicit_bzero(call->body.ptr, call->body.capacity);
        }
        if (call->answer.ptr) {
            explicit_bzero(call->answer.ptr, call->answer.capacity);
        }
        buf_release(&call->body);
        buf_release(&call->answer);
        record_unref(call->record);
        free(call);
    }
}

/* ---- shared by what they do ---- */

struct call api_deadline(void)
{
    return (struct call){.deadline_ms = clock_monotonic_ms() + CALL_MS};
}

void api_fail(struct api_call *call, int status, const char *text)
{
    struct jsonw writer;

    buf_clear(&call->answer);
    call->status = status;
    jsonw_init(&writer, &call->answer);
    jsonw_object(&writer, NULL);
    jsonw_text(&writer, "error", text);
    jsonw_end_object(&writer);
}

void api_fault(struct api_call *call, const struct err *err)
{
    log_warn(NULL, "a request to the tenant API failed",
             KV("tenant", call->record->facts.subdomain), KV("path", call->route->path),
             KV_ERR(err));
    api_fail(call, 500, "Database error");
}

bool api_read_body(struct api_call *call, json_t **ret)
{
    struct err err;

    if (js_parse(buf_str(&call->body), REQUEST_BODY_MAX_BYTES, ret, &err) == 0) {
        if (json_is_object(*ret)) {
            return true;
        }
        json_decref(*ret);
        *ret = NULL;
    }
    api_fail(call, 400, "Invalid JSON");
    return false;
}

/* sql_query or sql_exec. */
typedef int statement(struct sql_conn *conn, const struct call *limits, struct sql *query,
                      struct sql_rows **ret, struct err *err);

static int run_alone(struct api_call *call, statement *perform, struct sql *query,
                     struct sql_rows **ret, struct err *err)
{
    const struct call limits = api_deadline();
    AUTO(place_loan) struct place_loan loan = {0};

    if (places_begin(call->gateway->places, &limits, &call->record->facts, call->principal.user_id,
                     call->principal.role, &loan, err)) {
        return -1;
    }
    return perform(loan.conn, &limits, query, ret, err) || places_commit(&loan, &limits, err) ? -1
                                                                                              : 0;
}

int api_read(struct api_call *call, struct sql *query, struct sql_rows **ret, struct err *err)
{
    return run_alone(call, sql_query, query, ret, err);
}

int api_write(struct api_call *call, struct sql *query, struct sql_rows **ret, struct err *err)
{
    return run_alone(call, sql_exec, query, ret, err);
}

void api_member(struct jsonw *writer, const char *name, const struct sql_rows *rows, int row,
                int column)
{
    jsonw_text(writer, name, sql_is_null(rows, row, column) ? NULL : sql_text(rows, row, column));
}
