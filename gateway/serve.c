/* What is done with a request. The checks come in the contract's order: host, status,
 * authentication, password change, and then what a request consumes: the tier's rate, the quota.
 * Nothing here waits; where somebody must be asked, the request is put aside, and decided anew from
 * its first byte when the answer is there. */
#include <openssl/crypto.h>
#include <stdatomic.h>
#include <string.h>

#include "controller/base/clock.h"
#include "gateway/api.h"
#include "gateway/front_internal.h"
#include "gateway/lookup.h"
#include "gateway/reply.h"

enum { WAKE_HOLD_MS = 30 * 1000, LOGINS_PER_SECOND = 5, LOGINS_BURST = 20 };

/* A request on its way through the checks. */
struct passage {
    struct conn *conn;
    const struct request *request;
    enum reply_style style;
    struct record *record;
    struct principal principal;
    unsigned char digest[SHA256_BYTES];
    bool takes_suspended; /* the route is open to suspended tenants */
};

/* What a check comes to. */
enum check {
    CHECK_PASSED,
    CHECK_ANSWERED,
    CHECK_WAITS,
};

void serve_count(struct front_thread *thread, enum outcome_kind outcome)
{
    (void)atomic_fetch_add_explicit(&thread->outcomes[outcome], 1, memory_order_relaxed);
}

static enum check answer(struct passage *passage, enum outcome_kind outcome, enum reply_kind kind)
{
    serve_count(passage->conn->thread, outcome);
    reply_fixed(passage->conn, passage->request, passage->style, kind);
    return CHECK_ANSWERED;
}

static enum check wait_for(struct passage *passage, enum conn_wait wait)
{
    struct conn *conn = passage->conn;

    conn->wait = wait;
    conn->wait_from_ms = conn->wait_from_ms ? conn->wait_from_ms : conn->thread->now_ms;
    return CHECK_WAITS;
}

/* How this request was woken, once. */
static bool take_woken(struct conn *conn, enum wait_result *ret)
{
    bool woken = conn->has_woken;

    conn->has_woken = false;
    *ret = conn->woken;
    return woken;
}

/* ---- host and status ---- */

static enum check check_tenant(struct passage *passage, struct str host)
{
    struct front_thread *thread = passage->conn->thread;

    if (!tenants_is_loaded(thread->gateway->tenants)) {
        return answer(passage, OUTCOME_UNAVAILABLE, REPLY_QUOTA_ERROR);
    }
    passage->record = tenants_find(thread->gateway->tenants, host);
    if (!passage->record) {
        return answer(passage, OUTCOME_UNKNOWN_TENANT, REPLY_TENANT_NOT_FOUND);
    }
    if (passage->record->facts.suspended && !passage->takes_suspended) {
        return answer(passage, OUTCOME_SUSPENDED, REPLY_SUSPENDED);
    }
    return CHECK_PASSED;
}

/* ---- authentication ---- */

static enum check look_up(struct passage *passage, struct str token)
{
    struct conn *conn = passage->conn;
    enum wait_result woken;

    if (take_woken(conn, &woken) && woken == WAIT_FAULT) {
        return answer(passage, OUTCOME_FAULT, REPLY_DATABASE_ERROR);
    }
    conn->wait = CONN_WAITS; /* before somebody can wake it */
    if (!lookup_start(conn->thread->gateway, passage->record, token, passage->digest,
                      &conn->waiter)) {
        conn->wait = CONN_READS;
        return answer(passage, OUTCOME_RATE, REPLY_RATE);
    }
    return wait_for(passage, CONN_WAITS);
}

static enum check check_login(struct passage *passage)
{
    struct front_thread *thread = passage->conn->thread;
    struct gateway *gateway = thread->gateway;
    struct str token = request_bearer(passage->request->authorization);

    if (token.len == 0 || token.len > LOOKUP_TOKEN_MAX_BYTES) {
        return answer(passage, OUTCOME_UNAUTHORIZED, REPLY_UNAUTHORIZED);
    }
    auth_digest(thread->hasher, token, passage->digest);
    switch (auth_find(gateway->auth, passage->record->live->id, passage->digest, thread->now_ms,
                      &passage->principal)) {
    case AUTH_KNOWN:
        return CHECK_PASSED;
    case AUTH_REFUSED:
        return answer(passage, OUTCOME_UNAUTHORIZED, REPLY_UNAUTHORIZED);
    case AUTH_AGING: /* good for now, and looked up again meanwhile */
        (void)!lookup_start(gateway, passage->record, token, passage->digest, NULL);
        return CHECK_PASSED;
    case AUTH_UNDECIDED:
        break;
    }
    return look_up(passage, token);
}

static enum check check_password(struct passage *passage)
{
    return passage->principal.must_change_password
               ? answer(passage, OUTCOME_PASSWORD, REPLY_PASSWORD_CHANGE)
               : CHECK_PASSED;
}

/* ---- consumption ---- */

static enum check check_rate(struct passage *passage)
{
    struct conn *conn = passage->conn;
    const struct tenant_facts *facts = &passage->record->facts;
    struct live *live = passage->record->live;

    atomic_store_explicit(&live->used_ms, conn->thread->now_ms, memory_order_relaxed);
    if (facts->requests_per_second <= 0 || conn->rate_passed) {
        return CHECK_PASSED;
    }
    int64_t sharers = atomic_load(&conn->thread->gateway->replica_count);
    double share = (double)facts->requests_per_second / (double)(sharers > 0 ? sharers : 1);
    int64_t burst = facts->burst / (sharers > 0 ? sharers : 1);
    if (!rate_pass(&live->rate, share, burst > 0 ? burst : 1, conn->thread->now_us)) {
        return answer(passage, OUTCOME_RATE, REPLY_RATE);
    }
    conn->rate_passed = true;
    return CHECK_PASSED;
}

static enum check check_awake(struct passage *passage)
{
    struct conn *conn = passage->conn;

    if (!passage->record->facts.asleep) {
        return CHECK_PASSED;
    }
    if (!conn->wait_from_ms) {
        atomic_store(&passage->record->live->wake, true);
    }
    if (passage->record->facts.wake == WAKE_REFUSES ||
        (conn->wait_from_ms && conn->thread->now_ms - conn->wait_from_ms > WAKE_HOLD_MS)) {
        return answer(passage, OUTCOME_ASLEEP, REPLY_ASLEEP);
    }
    return wait_for(passage, CONN_WAITS_AWAKE);
}

static enum check without_registry(struct passage *passage)
{
    return passage->record->facts.fail_open
               ? CHECK_PASSED
               : answer(passage, OUTCOME_UNAVAILABLE, REPLY_QUOTA_ERROR);
}

static enum check quota_exceeded(struct passage *passage)
{
    serve_count(passage->conn->thread, OUTCOME_QUOTA);
    reply_quota(passage->conn, passage->request, passage->style,
                &passage->record->live->requests.bucket);
    return CHECK_ANSWERED;
}

static enum check ask_for_quota(struct passage *passage)
{
    struct conn *conn = passage->conn;
    struct quota_slot *slot = &passage->record->live->requests;
    enum wait_result woken;

    if (take_woken(conn, &woken) && woken != WAIT_AGAIN) {
        return woken == WAIT_DENIED ? quota_exceeded(passage) : without_registry(passage);
    }
    (void)wait_for(passage, CONN_WAITS);
    quota_wait(conn->thread->gateway->quota, slot, &conn->waiter);
    return CHECK_WAITS;
}

static enum check check_quota(struct passage *passage)
{
    struct front_thread *thread = passage->conn->thread;
    struct quota_slot *slot = &passage->record->live->requests;

    if (thread->now_ms >=
        atomic_load_explicit(&thread->gateway->fresh_until_ms, memory_order_relaxed)) {
        return without_registry(passage);
    }
    switch (bucket_spend(&slot->bucket, thread->now_ms)) {
    case BUCKET_ADMITTED_LOW:
        quota_refill(thread->gateway->quota, slot);
        return CHECK_PASSED;
    case BUCKET_ADMITTED:
        return CHECK_PASSED;
    case BUCKET_MISSING:
        return answer(passage, OUTCOME_QUOTA, REPLY_QUOTA_MISSING);
    case BUCKET_DENIED:
        return quota_exceeded(passage);
    case BUCKET_EMPTY:
        break;
    }
    return ask_for_quota(passage);
}

/* ---- decisions ---- */

static enum served conclude(enum check check)
{
    return check == CHECK_WAITS ? SERVED_WAITS : SERVED_ANSWERED;
}

/* The proxy's peers may name the host that was asked for, if they are trusted to. nginx is not
 * asked to: it hands on what the client sent. */
static struct str host_of(const struct passage *passage)
{
    const struct request *request = passage->request;
    bool forwarded = passage->conn->from_trusted && passage->style == STYLE_PLAIN &&
                     request->forwarded_host.len > 0;

    return forwarded ? request->forwarded_host : request->host;
}

static enum served decide(struct conn *conn, const struct request *request, enum reply_style style)
{
    struct passage passage = {.conn = conn, .request = request, .style = style};
    enum check check = check_tenant(&passage, host_of(&passage));

    if (check == CHECK_PASSED) {
        check = check_login(&passage);
    }
    if (check == CHECK_PASSED) {
        check = check_password(&passage);
    }
    if (check == CHECK_PASSED) {
        check = check_rate(&passage);
    }
    if (check == CHECK_PASSED) {
        check = check_awake(&passage);
    }
    if (check == CHECK_PASSED) {
        check = check_quota(&passage);
    }
    if (check == CHECK_PASSED) {
        serve_count(conn->thread, OUTCOME_ALLOWED);
        reply_allowed(conn, request, style, passage.record, &passage.principal);
    }
    return conclude(check);
}

/* ---- the tenant API ---- */

static enum served finish_call(struct conn *conn, const struct request *request)
{
    AUTO(buf) struct buf fields = BUF(1024);
    struct api_call *call = conn->call;

    if (!(call->route->flags & API_WITHOUT_QUOTA)) {
        reply_append_limits(&fields, &call->record->live->requests.bucket, conn->thread->now_ms);
    }
    (void)buf_append_text(&fields, "Cache-Control: no-store\r\n");
    serve_count(conn->thread, call->status >= 500 ? OUTCOME_FAULT : OUTCOME_API);
    reply_text(conn, request, call->status, "application/json", buf_str(&fields),
               buf_str(&call->answer));
    api_call_free(call);
    conn->call = NULL;
    conn->has_woken = false;
    return SERVED_ANSWERED;
}

/* The platform's own programs show a token of their own; wanted is NULL when there is none. */
static enum check check_platform(struct passage *passage, const unsigned char *wanted)
{
    struct front_thread *thread = passage->conn->thread;
    struct str token = request_bearer(passage->request->authorization);

    if (token.len > 0 && wanted) {
        auth_digest(thread->hasher, token, passage->digest);
        if (CRYPTO_memcmp(passage->digest, wanted, SHA256_BYTES) == 0) {
            return CHECK_PASSED;
        }
    }
    return answer(passage, OUTCOME_UNAUTHORIZED, REPLY_UNAUTHORIZED);
}

static enum check check_caller(struct passage *passage, const struct api_route *route)
{
    struct front_thread *thread = passage->conn->thread;
    const struct gateway *gateway = thread->gateway;
    enum check check = CHECK_PASSED;

    if (route->flags & API_PLATFORM) {
        check = check_platform(passage, gateway->has_platform ? gateway->platform : NULL);
    } else if (route->flags & API_PAYMENTS) {
        check = check_platform(passage, gateway->has_payments ? gateway->payments : NULL);
    } else if (!(route->flags & API_WITHOUT_LOGIN)) {
        check = check_login(passage);
    }
    if (check == CHECK_PASSED && !(route->flags & API_PASSWORD_CHANGE)) {
        check = check_password(passage);
    }
    if (check == CHECK_PASSED && (route->flags & API_SLOW) &&
        !rate_pass(&passage->record->live->logins, LOGINS_PER_SECOND, LOGINS_BURST,
                   thread->now_us)) {
        check = answer(passage, OUTCOME_RATE, REPLY_RATE);
    }
    if (check == CHECK_PASSED && !(route->flags & API_WITHOUT_QUOTA)) {
        check = check_rate(passage);
        check = check == CHECK_PASSED ? check_quota(passage) : check;
    }
    return check;
}

static enum served serve_api(struct conn *conn, const struct request *request, const char *body)
{
    struct passage passage = {.conn = conn, .request = request, .style = STYLE_PLAIN};
    bool path_known = false;

    if (conn->call) {
        return finish_call(conn, request);
    }
    const struct api_route *route = api_find(request, &path_known);
    passage.takes_suspended = route && (route->flags & API_SUSPENDED);
    enum check check = check_tenant(&passage, request->host);
    if (check == CHECK_PASSED && !route) {
        check = answer(&passage, OUTCOME_API, path_known ? REPLY_METHOD : REPLY_NOT_FOUND);
    }
    if (check == CHECK_PASSED) {
        check = check_caller(&passage, route);
    }
    if (check == CHECK_PASSED) {
        conn->wait = CONN_WAITS;
        conn->call = api_start(conn->thread->gateway, passage.record, route, request, body,
                               &passage.principal, passage.digest, &conn->waiter);
        if (!conn->call) {
            conn->wait = CONN_READS;
            check = answer(&passage, OUTCOME_RATE, REPLY_OVERLOADED);
        } else {
            check = wait_for(&passage, CONN_WAITS);
        }
    }
    return conclude(check);
}

/* ---- all requests ---- */

static enum served serve_page(struct conn *conn, const struct request *request, bool good)
{
    serve_count(conn->thread, OUTCOME_PAGE);
    reply_text(conn, request, good ? 200 : 503, "text/plain; charset=utf-8", STR(""),
               good ? STR("ok\n") : STR("not ready\n"));
    return SERVED_ANSWERED;
}

static bool is_ready(const struct gateway *gateway, int64_t now_ms)
{
    return !atomic_load(&gateway->draining) && tenants_is_loaded(gateway->tenants) &&
           now_ms < atomic_load(&gateway->fresh_until_ms);
}

enum served serve(struct conn *conn, const struct request *request, const char *body)
{
    struct str path = request->path;

    if (str_equal(path, STR("/authz/nginx"))) {
        return decide(conn, request, STYLE_NGINX);
    }
    if (str_equal(path, STR("/authz/envoy")) || str_starts_with(path, STR("/authz/envoy/"))) {
        return decide(conn, request, STYLE_ENVOY);
    }
    if (str_equal(path, STR("/authz")) || str_starts_with(path, STR("/authz/"))) {
        return decide(conn, request, STYLE_PLAIN);
    }
    if (str_starts_with(path, STR("/api/"))) {
        return serve_api(conn, request, body);
    }
    if (str_equal(path, STR("/healthz"))) {
        return serve_page(conn, request, true);
    }
    if (str_equal(path, STR("/readyz"))) {
        return serve_page(conn, request, is_ready(conn->thread->gateway, conn->thread->now_ms));
    }
    struct passage passage = {.conn = conn, .request = request, .style = STYLE_PLAIN};
    enum check check = check_tenant(&passage, request->host);
    if (check == CHECK_PASSED) {
        check = answer(&passage, OUTCOME_PAGE, REPLY_NOT_FOUND);
    }
    return conclude(check);
}

void serve_refusal(struct conn *conn, int status)
{
    const struct request request = {.keep_alive = false};

    serve_count(conn->thread, OUTCOME_REFUSED);
    conn->closing = true;
    reply_text(conn, &request, status, "application/json", STR(""),
               STR("{\"error\":\"Bad request\"}"));
}
