/* Leader election, and why there are not two leaders.
 *
 * A leader may write until its last renewal, counted from before the request was sent, plus
 * renew_deadline: that is when the fence closes by itself, whatever this thread is doing. Another
 * candidate takes the Lease only when the record did not change for lease_duration, counted from
 * when it saw the change, which is after the renewal was sent. Since renew_deadline is the shorter
 * of the two, the old leader's fence is closed before a new leader begins. Both count by their own
 * boot clock, which goes on while the machine is suspended, so wrong wall clocks do not matter, and
 * whoever slept finds its fence closed.
 * What is on its way to a server when the fence closes is not covered: hence steps that are safe
 * under two leaders.
 *
 * A leader renews with the version it wrote last, without reading; when that fails it reads the
 * Lease and decides anew. It gives up when the record names anybody else, nobody included:
 * somebody led meanwhile. Everything runs on the thread in lease_run, and after it in
 * lease_release; only `held` and the fence are seen by others. */
#include "controller/kube/lease.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <unistd.h>

#include "controller/base/clock.h"
#include "controller/base/js.h"
#include "controller/base/metrics.h"
#include "controller/base/secret.h"
#include "controller/kube/lease_record.h"

enum {
    LEASE_DURATION_MS = 15 * 1000,
    RENEW_DEADLINE_MS = 10 * 1000,
    RETRY_PERIOD_MS = 2 * 1000,
    RELEASE_MS = 3 * 1000,
    RELEASE_PAUSE_MS = 200,
    REQUEST_MIN_MS = 1000,
    OBJECT_BYTES_MAX = 256 * 1024,
    HOST_BYTES = 65, /* HOST_NAME_MAX and a NUL */
};

static struct metric master_status = METRIC_GAUGE(
    "leader_election_master_status", "Whether this process leads: 1, or stands by: 0.", "name");
static struct metric slow_path = METRIC_COUNTER(
    "leader_election_slowpath_total", "Renewals that had to read the Lease first.", "name");

struct lease {
    struct kube_client *client;
    struct lease_config config; /* strings owned */
    char *identity;
    json_t *object;      /* the Lease as the server last gave it; NULL: not there, or not known */
    int64_t observed_ms; /* its record was last seen to change */
    int64_t renewed_ms;  /* our last renewal was sent */
    atomic_bool held;
};

static int64_t or_default(int64_t value_ms, int64_t default_ms)
{
    return value_ms > 0 ? value_ms : default_ms;
}

static void resolve_timing(const struct lease_config *config, struct lease_config *ret)
{
    *ret = *config;
    ret->lease_duration_ms = or_default(config->lease_duration_ms, LEASE_DURATION_MS);
    ret->renew_deadline_ms = or_default(config->renew_deadline_ms, RENEW_DEADLINE_MS);
    ret->retry_period_ms = or_default(config->retry_period_ms, RETRY_PERIOD_MS);
}

int lease_config_check(const struct lease_config *config, struct err *err)
{
    struct lease_config timing;

    resolve_timing(config, &timing);
    /* The Lease counts in whole seconds; the second condition is renew > 1.2 * retry. */
    if (timing.lease_duration_ms >= 1000 && timing.lease_duration_ms > timing.renew_deadline_ms &&
        timing.renew_deadline_ms > timing.retry_period_ms + timing.retry_period_ms / 5) {
        return 0;
    }
    return err_set(err, ERR_TERMINAL, "InvalidLeaseTiming",
                   "the lease duration (%" PRId64
                   " ms) must be longer than the renew deadline (%" PRId64
                   " ms), and that longer than 1.2 times the retry period (%" PRId64 " ms)",
                   timing.lease_duration_ms, timing.renew_deadline_ms, timing.retry_period_ms);
}

static char *own_identity(void)
{
    char host[HOST_BYTES] = "";
    char uuid[UUID_TEXT_BYTES];

    if (gethostname(host, sizeof(host) - 1) != 0) {
        host[0] = '\0';
    }
    random_uuid(uuid);
    return xasprintf("%s_%s", host, uuid);
}

struct lease *lease_new(struct kube_client *client, const struct lease_config *config)
{
    struct lease *lease = xcalloc(1, sizeof(*lease));

    lease->client = client;
    resolve_timing(config, &lease->config);
    lease->config.namespace_ = xstrdup(config->namespace_);
    lease->config.name = xstrdup(config->name);
    lease->identity = text_is_empty(config->identity) ? own_identity() : xstrdup(config->identity);
    lease->config.identity = lease->identity;
    metric_set(&master_status, 0, lease->config.name);
    metric_add(&slow_path, 0, lease->config.name); /* shown from the start */
    return lease;
}

void lease_free(struct lease *lease)
{
    if (!lease) {
        return;
    }
    json_decref(lease->object);
    free((char *)lease->config.namespace_);
    free((char *)lease->config.name);
    free(lease->identity);
    free(lease);
}

bool lease_is_held(const struct lease *lease)
{
    return atomic_load(&lease->held);
}

/* Take over what the server said the Lease is; NULL: it is not there. */
static void observe(struct lease *lease, json_t *object)
{
    if (!lease_record_equal(lease->object, object)) {
        lease->observed_ms = clock_boot_ms();
    }
    json_decref(lease->object);
    lease->object = object;
}

static int observe_answer(struct lease *lease, const struct buf *body, struct err *err)
{
    json_t *object = NULL;

    if (js_parse(buf_str(body), OBJECT_BYTES_MAX, &object, err) != 0) {
        return err_wrap(err, "lease %s/%s", lease->config.namespace_, lease->config.name);
    }
    observe(lease, object);
    return 0;
}

static int fetch(struct lease *lease, const struct call *call, struct err *err)
{
    const struct kube_ref ref = {.resource = &KUBE_LEASES,
                                 .namespace_ = lease->config.namespace_,
                                 .name = lease->config.name};
    AUTO(buf) struct buf body = BUF(OBJECT_BYTES_MAX);

    if (kube_get(lease->client, call, &ref, &body, err) == 0) {
        return observe_answer(lease, &body, err);
    }
    if (err->cls != ERR_NOT_FOUND) {
        return -1;
    }
    observe(lease, NULL);
    return 0;
}

/* Create or replace the Lease with this record. */
static int put(struct lease *lease, const struct call *call, const struct lease_record *record,
               struct err *err)
{
    const struct lease_config *config = &lease->config;
    struct kube_ref ref = {.resource = &KUBE_LEASES, .namespace_ = config->namespace_};
    AUTO(json)
    json_t *object = lease_record_write(lease->object, config->namespace_, config->name, record);
    AUTO(free) char *text = js_print(object);
    AUTO(buf) struct buf body = BUF(OBJECT_BYTES_MAX);
    int result = -1;

    if (lease->object) {
        ref.name = config->name;
        result = kube_replace(lease->client, call, &ref, str_from(text), &body, err);
    } else {
        result = kube_create(lease->client, call, &ref, str_from(text), &body, err);
    }
    return result == 0 ? observe_answer(lease, &body, err) : -1;
}

/* Write ourselves in as the holder. */
static int put_ours(struct lease *lease, const struct call *call, struct err *err)
{
    int64_t started_ms = clock_boot_ms();
    struct lease_record old = {.holder = "", .acquire_time = "", .renew_time = ""};
    char now[CLOCK_TEXT_BYTES];

    clock_format_us(clock_wall_us(), now);
    if (lease->object) {
        lease_record_read(lease->object, &old);
    }
    bool is_ours = text_equal(old.holder, lease->identity);
    const struct lease_record record = {
        .holder = lease->identity,
        .duration_s = (lease->config.lease_duration_ms + 999) / 1000,
        .transitions = old.transitions + (lease->object && !is_ours ? 1 : 0),
        .acquire_time = is_ours && !text_is_empty(old.acquire_time) ? old.acquire_time : now,
        .renew_time = now,
    };
    if (put(lease, call, &record, err) != 0) {
        return -1;
    }
    lease->renewed_ms = started_ms;
    return 0;
}

/* Acquire or renew, once. Errors: WAIT/LeaseHeld by somebody else, CANCELED/LeadershipLost when we
 * led and somebody else did since, and those of the requests. */
static int attempt(struct lease *lease, const struct call *call, struct err *err)
{
    bool was_held = lease_is_held(lease);
    struct lease_record record;

    if (was_held && lease->object) {
        if (put_ours(lease, call, err) == 0) {
            return 0;
        }
        if (err->cls == ERR_CANCELED) {
            return -1;
        }
        metric_add(&slow_path, 1, lease->config.name);
    }
    if (fetch(lease, call, err) != 0) {
        return -1;
    }
    if (!lease->object) {
        return put_ours(lease, call, err);
    }
    lease_record_read(lease->object, &record);
    enum lease_verdict verdict =
        lease_record_judge(&record, lease->identity, lease->observed_ms, clock_boot_ms(),
                           lease->config.lease_duration_ms);
    if (was_held && verdict != LEASE_OURS) {
        return err_set(err, ERR_CANCELED, "LeadershipLost",
                       "the lease %s/%s was taken from us by \"%s\"", lease->config.namespace_,
                       lease->config.name, record.holder);
    }
    if (verdict == LEASE_TAKEN) {
        return err_set(err, ERR_WAIT, "LeaseHeld", "the lease %s/%s is held by \"%s\"",
                       lease->config.namespace_, lease->config.name, record.holder);
    }
    return put_ours(lease, call, err);
}

static void set_leading(struct lease *lease, bool is_leading)
{
    if (is_leading) {
        fence_open_until(lease->config.fence, lease->renewed_ms + lease->config.renew_deadline_ms);
    } else {
        fence_close(lease->config.fence);
    }
    atomic_store(&lease->held, is_leading);
    metric_set(&master_status, is_leading, lease->config.name);
}

static void tell(const struct lease *lease, bool is_leading)
{
    if (lease->config.on_leading) {
        lease->config.on_leading(lease->config.context, is_leading);
    }
}

/* err NULL: the try succeeded. */
static void tell_trouble(const struct lease *lease, const struct err *err)
{
    if (lease->config.on_trouble) {
        /* That another holds it, or was faster, is as it should be. */
        bool is_trouble = err && err->cls != ERR_WAIT && err->cls != ERR_CONFLICT;
        lease->config.on_trouble(lease->config.context, is_trouble ? err : NULL);
    }
}

static int64_t leadership_left_ms(const struct lease *lease)
{
    return lease->renewed_ms + lease->config.renew_deadline_ms - clock_boot_ms();
}

/* A request may take half of the renew deadline, so that a second one fits in; and never outlasts
 * the leadership that it is to prolong. */
static struct call request_call(const struct lease *lease, const struct call *call)
{
    int64_t half_ms = lease->config.renew_deadline_ms / 2;
    int64_t limit_ms = half_ms > REQUEST_MIN_MS ? half_ms : REQUEST_MIN_MS;
    int64_t left_ms = leadership_left_ms(lease);

    if (lease_is_held(lease) && left_ms < limit_ms) {
        limit_ms = left_ms;
    }
    int64_t deadline_ms = clock_monotonic_ms() + limit_ms;
    /* No fence: the Lease is what opens it. */
    return (struct call){.cancel = call->cancel, .deadline_ms = deadline_ms, .log = call->log};
}

/* The same trouble is said once, then only to debug. */
static void log_trouble(const struct call *call, char reason[ERR_REASON_BYTES],
                        const struct err *err)
{
    bool is_new = !text_equal(reason, err->reason);

    if (!is_new) {
        log_debug(call->log, "lease not obtained", KV_ERR(err));
    } else if (err->cls == ERR_WAIT || err->cls == ERR_CONFLICT) {
        log_info(call->log, "waiting for the lease", KV_ERR(err));
    } else {
        log_warn(call->log, "lease not obtained", KV_ERR(err));
    }
    memcpy(reason, err->reason, ERR_REASON_BYTES);
}

/* False when canceled before the Lease was ours. */
static bool acquire(struct lease *lease, const struct call *call)
{
    char trouble[ERR_REASON_BYTES] = "";
    int64_t retry_ms = lease->config.retry_period_ms;

    while (!cancel_is_set(call->cancel)) {
        struct call request = request_call(lease, call);
        struct err err = {0};
        if (attempt(lease, &request, &err) == 0) {
            tell_trouble(lease, NULL);
            return true;
        }
        if (cancel_is_set(call->cancel)) {
            break;
        }
        log_trouble(call, trouble, &err);
        tell_trouble(lease, &err);
        /* Up to 1.2 times the period, so that candidates do not march in step. */
        if (!cancel_sleep_ms(call->cancel, retry_ms + clock_jitter_ms(retry_ms / 5 + 1))) {
            break;
        }
    }
    return false;
}

/* Keep the Lease until canceled (0) or lost (-1). */
static int renew(struct lease *lease, const struct call *call, struct err *err)
{
    const struct lease_config *config = &lease->config;
    char trouble[ERR_REASON_BYTES] = "";

    for (;;) {
        int64_t left_ms = leadership_left_ms(lease);
        int64_t pause_ms = config->retry_period_ms < left_ms ? config->retry_period_ms : left_ms;
        if (pause_ms <= 0) {
            return err_set(err, ERR_CANCELED, "LeadershipLost",
                           "the lease %s/%s could not be renewed for %" PRId64 " ms%s%s",
                           config->namespace_, config->name, config->renew_deadline_ms,
                           trouble[0] ? ": " : "", trouble);
        }
        if (!cancel_sleep_ms(call->cancel, pause_ms)) {
            return 0;
        }
        if (leadership_left_ms(lease) <= 0) {
            continue; /* the pause outlasted the leadership */
        }
        struct call request = request_call(lease, call);
        struct err failure = {0};
        if (attempt(lease, &request, &failure) == 0) {
            set_leading(lease, true);
            tell_trouble(lease, NULL);
            trouble[0] = '\0';
            continue;
        }
        if (cancel_is_set(call->cancel)) {
            return 0;
        }
        if (err_has_reason(&failure, "LeadershipLost")) {
            *err = failure;
            return -1;
        }
        log_trouble(call, trouble, &failure);
        tell_trouble(lease, &failure);
    }
}

int lease_run(struct lease *lease, const struct call *call, struct err *err)
{
    const struct log_field fields[] = {KV("lease", lease->config.name),
                                       KV("identity", lease->identity)};
    const struct log log = {
        .parent = call->log, .fields = fields, .field_count = ARRAY_COUNT(fields)};
    const struct call own = {.cancel = call->cancel, .log = &log};

    if (!acquire(lease, &own)) {
        return 0;
    }
    set_leading(lease, true);
    log_info(&log, "leading");
    tell(lease, true);
    if (renew(lease, &own, err) == 0) {
        return 0;
    }
    set_leading(lease, false);
    log_error(&log, "leadership lost", KV_ERR(err));
    tell(lease, false);
    return -1;
}

/* Write nobody as the holder, if it is still us. */
static int put_free(struct lease *lease, const struct call *call, struct err *err)
{
    struct lease_record record;
    char now[CLOCK_TEXT_BYTES];

    if (!lease->object) {
        return 0;
    }
    lease_record_read(lease->object, &record);
    if (!text_equal(record.holder, lease->identity)) {
        return 0;
    }
    clock_format_us(clock_wall_us(), now);
    record.holder = "";
    record.duration_s = 1;
    record.acquire_time = now;
    record.renew_time = now;
    return put(lease, call, &record, err);
}

void lease_release(struct lease *lease)
{
    if (!lease_is_held(lease)) {
        return;
    }
    set_leading(lease, false);
    const struct call call = {.deadline_ms = clock_monotonic_ms() + RELEASE_MS};
    struct err err = {0};
    bool is_read = true;
    while (!is_read || put_free(lease, &call, &err) != 0) {
        log_debug(NULL, "lease not released yet", KV_ERR(&err));
        if (call_remaining_ms(&call, RELEASE_MS) == 0 || !cancel_sleep_ms(NULL, RELEASE_PAUSE_MS)) {
            return;
        }
        /* Our version may be old, or somebody else holds it by now. */
        is_read = fetch(lease, &call, &err) == 0;
    }
}
