/* Why the view that a handler is given is right.
 *
 * 1. A view is complete and of one moment. It comes either as a watch-list stream, whose objects
 *    count only once the server's bookmark "initial-events-end" closed them, or as a list whose
 *    pages all carry the same resourceVersion. Both are asked with resourceVersion "", which the
 *    server answers no older than what was committed before we asked: so a restart never goes back
 *    in time. Whatever breaks off before the end is thrown away and begun again (replace_begin).
 * 2. From then on, `resource_version` is the version up to which the handler has seen every change:
 *    it is moved only by replace_end, by an event after the handler took it, and by a bookmark. A
 *    stream that ends, for whatever reason and at whatever byte, is asked for again from there; the
 *    server sends each change after it, once and in order. Half a line at the end of a stream was
 *    never handed on, and comes again.
 * 3. When the server cannot continue from there (410 Expired, as a status or inside of the stream;
 *    a version that it does not know yet, after its store was restored; a kind that was gone
 *    meanwhile), the version is forgotten and a new view is loaded. Only these cost a list.
 * 4. A version that lies ahead of the server is not refused: a store that was restored from a
 * backup would have us wait in silence until it caught up, blind meanwhile. So when a stream that
 * lasted long enough for a bookmark gave no line at all, a list of one object tells the server's
 * own version; if ours is the greater, 3 applies.
 * 5. A connection that died without a word is noticed by silence: the server sends bookmarks about
 *    once a minute, so an open stream without a byte for 75 s is given up, its connection torn
 *    down, and asked for again from `resource_version`. A server that twice let this pass without
 *    ever having sent a bookmark does not send them; there a stream may be silent for as long as it
 *    lasts.
 *
 * The machine is `enum watch_state`; watch_state.c decides where to go, this file goes. Of struct
 * watch, what is not atomic is touched by the thread in watch_run and, while that one is blocked in
 * a request, by the transport thread, never by both at once; the request's own synchronisation
 * orders them. */
#include "controller/kube/watch.h"

#include <inttypes.h>
#include <stdatomic.h>

#include "controller/base/buf.h"
#include "controller/base/clock.h"
#include "controller/base/log.h"
#include "controller/kube/backoff.h"
#include "controller/kube/kind_wait.h"
#include "controller/kube/line_splitter.h"
#include "controller/kube/list_scan.h"
#include "controller/kube/object.h"
#include "controller/kube/watch_internal.h"
#include "controller/kube/watch_line.h"
#include "controller/kube/watch_metrics.h"
#include "controller/kube/watch_state.h"

enum {
    PAGE_SIZE = 500,
    OBJECT_BYTES_MAX = 8 * 1024 * 1024,
    VERSION_BYTES_MAX = 128, /* versions are numbers of 64 bits today */
    QUERY_BYTES_MAX = 16 * 1024,
    LIST_TIMEOUT_MS = 120 * 1000, /* twice the server's own */
    RETRY_AFTER_MAX_MS = 5 * 60 * 1000,
    SILENCES_TO_LEARN = 2,
};

const struct watch_timing WATCH_TIMING = {
    .stream_min_s = 300,
    .stream_spread_s = 300,
    .silence_ms = 75000,
    .silence_slack_ms = 5000,
    .hasty_ms = 1000,
    .poll_ms = 2000,
    .optional_poll_ms = 10000,
    .late_ms = 10000,
    .backoff_base_ms = 800,
    .backoff_cap_ms = 30000,
    .backoff_forget_ms = 120000,
};

/* Of the request under way. */
struct watch_request {
    int64_t started_ms;
    int64_t warned_ms; /* that the view is late */
    bool is_open;      /* the server's answer has begun */
    bool is_later_page;
    bool has_objects;
    uint64_t lines;
};

struct watch {
    struct kube_client *client;
    struct watch_config config;
    struct watch_handler handler;
    struct watch_timing timing;

    enum watch_state state;
    enum watch_state resume;
    bool lists_only;
    int64_t pause_ms;
    struct backoff backoff;
    int silences; /* of open streams since the last bookmark ever */
    struct buf resource_version;
    const struct log *log;
    struct watch_request request;

    struct line_splitter lines;
    struct list_scan scan;
    struct buf continue_token;
    struct buf view_version; /* of the pages received so far */

    bool is_healthy;
    bool needs_event; /* the last stream opened well and failed then: opening proves nothing */
    char health_reason[ERR_REASON_BYTES]; /* "" before the first report */

    struct watch_pulse pulse;
    _Atomic uint64_t list_count;
    _Atomic uint64_t watch_count;
    _Atomic uint64_t event_count;
    atomic_bool is_synced;
    atomic_bool is_following;

    bool knows_served; /* of an optional kind: is_served was told */
    bool is_served;
    bool is_blind; /* it is absent, and its definition cannot be watched */
    struct kind_wait kind_wait;
};

struct watch *watch_new(struct kube_client *client, const struct watch_config *config,
                        const struct watch_handler *handler)
{
    struct watch *watch = xcalloc(1, sizeof(*watch));

    watch->client = client;
    watch->config = *config;
    watch->config.page_size = config->page_size > 0 ? config->page_size : PAGE_SIZE;
    watch->config.object_max_bytes =
        config->object_max_bytes > 0 ? config->object_max_bytes : OBJECT_BYTES_MAX;
    watch->handler = *handler;
    watch->lists_only = config->no_watch_list;
    watch->pulse.resource = config->resource->plural;
    buf_init(&watch->resource_version, VERSION_BYTES_MAX);
    buf_init(&watch->view_version, VERSION_BYTES_MAX);
    buf_init(&watch->continue_token, QUERY_BYTES_MAX / 2);
    line_splitter_init(&watch->lines, watch->config.object_max_bytes);
    list_scan_init(&watch->scan, watch->config.object_max_bytes);
    kind_wait_init(&watch->kind_wait, config->resource);
    watch_set_timing(watch, &WATCH_TIMING);
    watch_pulse_register(&watch->pulse);
    return watch;
}

void watch_set_timing(struct watch *watch, const struct watch_timing *timing)
{
    watch->timing = *timing;
    watch->backoff = (struct backoff){.base_ms = timing->backoff_base_ms,
                                      .cap_ms = timing->backoff_cap_ms,
                                      .forget_ms = timing->backoff_forget_ms};
}

void watch_free(struct watch *watch)
{
    if (!watch) {
        return;
    }
    watch_pulse_unregister(&watch->pulse);
    line_splitter_release(&watch->lines);
    list_scan_release(&watch->scan);
    buf_release(&watch->resource_version);
    buf_release(&watch->view_version);
    buf_release(&watch->continue_token);
    kind_wait_release(&watch->kind_wait);
    free(watch);
}

void watch_stats_get(struct watch *watch, struct watch_stats *ret)
{
    *ret = (struct watch_stats){
        .last_byte_ms = atomic_load(&watch->pulse.last_byte_ms),
        .lists = atomic_load(&watch->list_count),
        .watches = atomic_load(&watch->watch_count),
        .events = atomic_load(&watch->event_count),
        .synced = atomic_load(&watch->is_synced),
        .following = atomic_load(&watch->is_following),
    };
}

static void log_trouble(const struct watch *watch, const struct err *err, bool is_news)
{
    if (is_news) {
        log_warn(watch->log, "watch fails", KV_ERR(err));
    } else {
        log_debug(watch->log, "watch still fails", KV_ERR(err));
    }
}

/* Tell the handler and the log, once a change. */
static void set_health(struct watch *watch, const struct err *err)
{
    const char *reason = err ? err->reason : "";
    bool is_news = err ? !text_equal(watch->health_reason, reason) : !watch->is_healthy;

    if (err) {
        log_trouble(watch, err, is_news);
    }
    if (!is_news) {
        return;
    }
    if (!err && watch->health_reason[0] != '\0') {
        log_info(watch->log, "watch recovered");
    }
    watch->is_healthy = !err;
    memset(watch->health_reason, 0, sizeof(watch->health_reason));
    memcpy(watch->health_reason, reason, strlen(reason));
    watch->handler.health(watch->handler.context, err);
}

/* Tell the handler, once a change, whether the server has the kind. */
static void set_served(struct watch *watch, bool is_served)
{
    if (!watch->config.optional || (watch->knows_served && watch->is_served == is_served)) {
        return;
    }
    log_info(watch->log, is_served ? "the server has this kind"
                                   : "the server does not have this kind: nothing is made of it");
    watch->knows_served = true;
    watch->is_served = is_served;
    if (watch->handler.served) {
        watch->handler.served(watch->handler.context, is_served);
    }
}

/* The handler has seen every change up to `version`. */
static void set_version(struct watch *watch, struct str version)
{
    /* Without a usable one the older stays: what followed it comes again, and nothing is lost. */
    if (version.len == 0 || version.len > VERSION_BYTES_MAX) {
        return;
    }
    buf_clear(&watch->resource_version);
    buf_append_str(&watch->resource_version, version);
}

/* The view is complete. */
static void finish_view(struct watch *watch, struct str version)
{
    static const char *const methods[] = {
        [WATCH_LISTING] = "stream", [WATCH_PAGING] = "pages", [WATCH_LISTING_WHOLE] = "whole"};

    set_version(watch, version);
    atomic_fetch_add(&watch->list_count, 1);
    watch->handler.replace_end(watch->handler.context, buf_text(&watch->resource_version));
    set_served(watch, true);
    watch_count_list(watch->pulse.resource, methods[watch->state]);
    log_debug(watch->log, "view complete", KV("method", methods[watch->state]),
              KV("resource_version", buf_text(&watch->resource_version)),
              KV_INT("duration_ms", clock_monotonic_ms() - watch->request.started_ms));
    atomic_store(&watch->is_synced, true);
    atomic_store(&watch->is_following, true);
    set_health(watch, NULL);
}

static void ignore(struct watch *watch, const char *reason)
{
    watch_count_ignored(watch->pulse.resource, reason);
    log_debug(watch->log, "an object was left out", KV("cause", reason));
}

/* Is this an object of the resource? The others are counted. */
static bool is_wanted(struct watch *watch, const struct object_glance *glance)
{
    const char *kind =
        watch->config.metadata_only ? "PartialObjectMetadata" : watch->config.resource->kind;

    if (glance->kind.len > 0 && !str_equal_c(glance->kind, kind)) {
        ignore(watch, "wrong_kind");
        return false;
    }
    if (!glance->has_metadata) {
        ignore(watch, "no_metadata");
        return false;
    }
    return true;
}

static void on_change(struct watch *watch, const struct watch_line *line)
{
    static const enum watch_event events[] = {[WATCH_LINE_ADDED] = WATCH_ADDED,
                                              [WATCH_LINE_MODIFIED] = WATCH_MODIFIED,
                                              [WATCH_LINE_DELETED] = WATCH_DELETED};
    const struct watch_handler *handler = &watch->handler;

    if (!is_wanted(watch, &line->glance)) {
        return;
    }
    if (watch->state == WATCH_WATCHING) {
        handler->event(handler->context, events[line->type], line->object);
        atomic_fetch_add(&watch->event_count, 1);
        set_version(watch, line->glance.resource_version);
    } else if (line->type == WATCH_LINE_DELETED) {
        handler->replace_remove(handler->context, line->object);
    } else {
        watch->request.has_objects = true;
        handler->replace_object(handler->context, line->object);
    }
}

static int on_bookmark(struct watch *watch, const struct watch_line *line, struct err *err)
{
    struct str version = line->glance.resource_version;

    if (version.len == 0 || version.len > VERSION_BYTES_MAX) {
        return err_set(err, ERR_RETRY, "InvalidEvent", "a bookmark has no resourceVersion");
    }
    if (watch->state == WATCH_WATCHING) {
        watch->silences = 0;
        set_version(watch, version);
        watch->handler.bookmark(watch->handler.context, buf_text(&watch->resource_version));
    } else if (line->glance.ends_initial_events) {
        finish_view(watch, version);
        watch->state = WATCH_WATCHING;
    }
    return 0;
}

static int on_line(void *context, struct str text, struct err *err)
{
    struct watch *watch = context;
    struct watch_line line;

    if (watch_line_parse(text, &line, err) != 0) {
        return -1;
    }
    if (line.type == WATCH_LINE_ERROR) {
        return kube_status_error(line.object, 0, err);
    }
    watch->request.lines++;
    if (watch->state == WATCH_WATCHING) {
        set_health(watch, NULL);
    }
    switch (line.type) {
    case WATCH_LINE_ADDED:
    case WATCH_LINE_MODIFIED:
    case WATCH_LINE_DELETED:
        on_change(watch, &line);
        return 0;
    case WATCH_LINE_BOOKMARK:
        return on_bookmark(watch, &line, err);
    case WATCH_LINE_ERROR:
    case WATCH_LINE_UNKNOWN:
    default:
        ignore(watch, "unknown_type");
        return 0;
    }
}

/* Anything came from the server: at first that the answer has begun. */
static void heard(struct watch *watch)
{
    int64_t now_ms = clock_monotonic_ms();

    bool loads_view = watch->state == WATCH_LISTING || watch->state == WATCH_PAGING ||
                      watch->state == WATCH_LISTING_WHOLE;
    if (loads_view && !watch->request.is_open && !watch->request.is_later_page) {
        watch->handler.replace_begin(watch->handler.context);
    }
    watch->request.is_open = true;
    atomic_store(&watch->pulse.last_byte_ms, now_ms);
    if (watch->state == WATCH_WATCHING) {
        if (!watch->needs_event) {
            set_health(watch, NULL);
        }
    } else if (loads_view && now_ms - watch->request.warned_ms >= watch->timing.late_ms) {
        watch->request.warned_ms = now_ms;
        log_warn(watch->log, "the first view is not complete yet",
                 KV_INT("duration_ms", now_ms - watch->request.started_ms));
    }
}

static int on_stream_data(void *context, struct str data, struct err *err)
{
    struct watch *watch = context;

    heard(watch);
    return line_splitter_feed(&watch->lines, data, on_line, watch, err);
}

static int on_item(void *context, struct str json, struct err *err)
{
    struct watch *watch = context;
    struct object_glance glance;

    if (!object_glance_read(json, &glance)) {
        return err_set(err, ERR_RETRY, "InvalidList",
                       "the server's list holds something that is no object");
    }
    if (is_wanted(watch, &glance)) {
        watch->handler.replace_object(watch->handler.context, json);
    }
    return 0;
}

static int on_page_data(void *context, struct str data, struct err *err)
{
    struct watch *watch = context;

    heard(watch);
    return list_scan_feed(&watch->scan, data, on_item, watch, err);
}

static int on_checked_item(void *context, struct str json, struct err *err)
{
    (void)context;
    (void)json;
    (void)err;
    return 0;
}

static int on_check_data(void *context, struct str data, struct err *err)
{
    struct watch *watch = context;

    heard(watch);
    return list_scan_feed(&watch->scan, data, on_checked_item, watch, err);
}

static void append_selector(struct watch *watch, struct buf *query)
{
    if (!text_is_empty(watch->config.label_selector)) {
        buf_append_text(query, "&labelSelector=");
        buf_append_percent(query, str_from(watch->config.label_selector));
    }
}

static int run_request(struct watch *watch, const struct call *call, const struct buf *query,
                       struct kube_stream *stream, struct err *err)
{
    const struct kube_ref collection = {.resource = watch->config.resource,
                                        .namespace_ = watch->config.namespace_};

    if (buf_failed(query)) {
        return err_set(err, ERR_TERMINAL, "SelectorTooLong", "the query is longer than %d bytes",
                       QUERY_BYTES_MAX);
    }
    stream->query = buf_text(query);
    stream->metadata_only = watch->config.metadata_only;
    stream->on_data_context = watch;
    return kube_stream(watch->client, call, &collection, stream, err);
}

static int64_t silence_limit_ms(const struct watch *watch, int64_t stream_ms)
{
    return watch->silences < SILENCES_TO_LEARN ? watch->timing.silence_ms
                                               : stream_ms + watch->timing.silence_slack_ms;
}

static int64_t stream_seconds(const struct watch_timing *timing)
{
    return timing->stream_min_s + clock_jitter_ms(timing->stream_spread_s + 1);
}

/* A watch-list or a watch, until the server ends it. */
static int run_stream(struct watch *watch, const struct call *call, struct err *err)
{
    int64_t stream_s = stream_seconds(&watch->timing);
    AUTO(buf) struct buf query = BUF(QUERY_BYTES_MAX);

    buf_printf(&query, "watch=1&allowWatchBookmarks=true&timeoutSeconds=%" PRId64, stream_s);
    if (watch->state == WATCH_LISTING) {
        buf_append_text(&query, "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan"
                                "&resourceVersion=");
    } else {
        buf_append_text(&query, "&resourceVersion=");
        buf_append_percent(&query, buf_str(&watch->resource_version));
    }
    append_selector(watch, &query);
    line_splitter_reset(&watch->lines);
    atomic_fetch_add(&watch->watch_count, 1);

    struct kube_stream stream = {
        .timeout_ms = -1, /* the server's timeoutSeconds and our silence limit end it */
        .idle_timeout_ms = silence_limit_ms(watch, stream_s * 1000),
        .on_data = on_stream_data,
    };
    return run_request(watch, call, &query, &stream, err);
}

/* A list, or a page of one, up to its end. */
static int run_list(struct watch *watch, const struct call *call, const struct buf *query,
                    http_data_fn on_data, struct err *err)
{
    struct kube_stream stream = {
        .timeout_ms = LIST_TIMEOUT_MS,
        .idle_timeout_ms = watch->timing.silence_ms,
        .on_data = on_data,
    };

    list_scan_release(&watch->scan);
    list_scan_init(&watch->scan, watch->config.object_max_bytes);
    return run_request(watch, call, query, &stream, err) == 0 ? list_scan_finish(&watch->scan, err)
                                                              : -1;
}

/* One page, or the whole list. On success continue_token tells whether more follows. */
static int run_page(struct watch *watch, const struct call *call, struct err *err)
{
    AUTO(buf) struct buf query = BUF(QUERY_BYTES_MAX);

    if (!watch->request.is_later_page) {
        buf_clear(&watch->view_version);
    }
    if (watch->state == WATCH_PAGING) {
        buf_printf(&query, "limit=%" PRId64, watch->config.page_size);
    } else {
        buf_append_text(&query, "resourceVersion=");
    }
    if (watch->request.is_later_page) {
        buf_append_text(&query, "&continue=");
        buf_append_percent(&query, buf_str(&watch->continue_token));
    }
    append_selector(watch, &query);
    if (run_list(watch, call, &query, on_page_data, err) != 0) {
        return -1;
    }
    const char *version = list_scan_resource_version(&watch->scan);
    if (watch->view_version.len > 0 && !str_equal_c(buf_str(&watch->view_version), version)) {
        return err_set(err, ERR_RETRY, "InvalidList", "the server mixed versions in one list");
    }
    buf_clear(&watch->view_version);
    buf_append_text(&watch->view_version, version);
    buf_clear(&watch->continue_token);
    buf_append_text(&watch->continue_token, list_scan_continue(&watch->scan));
    if (buf_failed(&watch->view_version) || buf_failed(&watch->continue_token)) {
        return err_set(err, ERR_RETRY, "InvalidList", "the server's continue token is too long");
    }
    return 0;
}

/* Compare our version with the server's, which is consistent: no older than our question. */
static int run_check(struct watch *watch, const struct call *call, struct err *err)
{
    AUTO(buf) struct buf query = BUF(QUERY_BYTES_MAX);

    buf_append_text(&query, "limit=1");
    append_selector(watch, &query);
    if (run_list(watch, call, &query, on_check_data, err) != 0) {
        return -1;
    }
    const char *version = list_scan_resource_version(&watch->scan);
    if (kube_rv_compare(str_from(version), buf_str(&watch->resource_version)) < 0) {
        return err_set(err, ERR_RETRY, "ResourceVersionTooLarge",
                       "the server is at version %s, behind ours, %s: its store was restored",
                       version, buf_text(&watch->resource_version));
    }
    return 0;
}

/* A stream that the server ended: was it any good? Fills *err when not. */
static enum watch_outcome judge_end(struct watch *watch, struct err *err)
{
    int64_t lasted_ms = clock_monotonic_ms() - watch->request.started_ms;

    if (watch->request.lines == 0 && lasted_ms < watch->timing.hasty_ms) {
        (void)err_set(err, ERR_RETRY, "WatchTooShort",
                      "the server ended the watch after %" PRId64 " ms without an event",
                      lasted_ms);
        return WATCH_HASTY;
    }
    if (watch->state != WATCH_WATCHING) {
        (void)err_set(err, ERR_RETRY, "WatchEnded",
                      "the server ended the stream before the view was complete");
    }
    return WATCH_ENDED;
}

static void say_missing(const struct watch *watch, struct err *err)
{
    const struct kube_resource *resource = watch->config.resource;
    char api_version[KUBE_API_VERSION_BYTES];

    kube_api_version(resource, api_version);
    (void)err_set(err, ERR_WAIT, "CRDMissing",
                  "the server has no %s of %s: install its CustomResourceDefinition",
                  resource->plural, api_version);
}

/* The server said that it does not have the kind, and need not: there is nothing of it. */
static void take_absence(struct watch *watch)
{
    const struct watch_handler *handler = &watch->handler;

    atomic_store(&watch->pulse.last_byte_ms, clock_monotonic_ms());
    if (!watch->knows_served || watch->is_served) {
        set_served(watch, false);
        kind_wait_forget(&watch->kind_wait);
        handler->replace_begin(handler->context);
        handler->replace_end(handler->context, "0");
        atomic_store(&watch->is_synced, true);
    }
    set_health(watch, NULL);
}

static bool keeps_version(enum watch_state state)
{
    return state == WATCH_WATCHING || state == WATCH_CHECKING;
}

/* Take the step that follows a request which ended with `outcome`. */
static void move_on(struct watch *watch, enum watch_outcome outcome, struct err *err)
{
    const struct watch_facts facts = {
        .state = watch->state,
        .outcome = outcome,
        .lists_only = watch->lists_only,
        .is_later_page = watch->request.is_later_page,
        .is_mute = watch->request.lines == 0 &&
                   clock_monotonic_ms() - watch->request.started_ms >= watch->timing.silence_ms,
        .has_partial_stream = watch->request.has_objects,
    };
    const struct watch_step step = watch_decide(&facts);
    bool is_absence = outcome == WATCH_MISSING && watch->config.optional;

    watch_count_restart(watch->pulse.resource, watch_outcome_name(outcome));
    log_debug(watch->log, "watch goes on", KV("outcome", watch_outcome_name(outcome)),
              KV("from", watch_state_name(watch->state)), KV("to", watch_state_name(step.state)));
    if (outcome == WATCH_SILENT) {
        watch->silences++;
    }
    if (is_absence) {
        take_absence(watch);
    } else if (outcome == WATCH_MISSING) {
        say_missing(watch, err);
    }
    if (step.is_trouble && !is_absence) {
        watch->needs_event = watch->request.is_open;
        set_health(watch, err);
    }
    watch->lists_only = step.lists_only;
    watch->resume = step.resume;
    watch->state = step.state;
    buf_clear(&watch->continue_token);
    if (!keeps_version(step.state) && !keeps_version(step.resume)) {
        buf_clear(&watch->resource_version);
    }
    if (step.state == WATCH_BACKING_OFF) {
        int64_t wait_ms = backoff_next_ms(&watch->backoff, clock_monotonic_ms());
        int64_t asked_ms =
            err->retry_after_ms < RETRY_AFTER_MAX_MS ? err->retry_after_ms : RETRY_AFTER_MAX_MS;
        watch->pause_ms = wait_ms > asked_ms ? wait_ms : asked_ms;
    }
}

static void stream_state(struct watch *watch, const struct call *call)
{
    struct err err = {0};

    atomic_store(&watch->is_following, watch->state == WATCH_WATCHING);
    int result = run_stream(watch, call, &err);
    atomic_store(&watch->is_following, false);
    if (cancel_is_set(call->cancel)) {
        return;
    }
    /* A connection that breaks is a way of ending: servers restart. */
    bool is_ended = result == 0 || (watch->state == WATCH_WATCHING && watch->request.is_open &&
                                    err_has_reason(&err, "ConnectionLost"));
    move_on(watch,
            is_ended ? judge_end(watch, &err) : watch_outcome_of(&err, watch->request.is_open),
            &err);
}

static void page_state(struct watch *watch, const struct call *call)
{
    struct err err = {0};

    watch->request.is_later_page = watch->continue_token.len > 0;
    int result = run_page(watch, call, &err);
    if (cancel_is_set(call->cancel)) {
        return;
    }
    if (result != 0) {
        move_on(watch, watch_outcome_of(&err, watch->request.is_open), &err);
    } else if (watch->continue_token.len == 0) {
        finish_view(watch, buf_str(&watch->view_version));
        list_scan_release(&watch->scan);
        move_on(watch, WATCH_SYNCED, &err);
    }
}

static void check_state(struct watch *watch, const struct call *call)
{
    struct err err = {0};
    int result = run_check(watch, call, &err);

    if (!cancel_is_set(call->cancel)) {
        move_on(watch, result == 0 ? WATCH_SYNCED : watch_outcome_of(&err, watch->request.is_open),
                &err);
    }
}

/* Wait, or find that it is time to stop: the loop sees that by itself. */
static void pause_state(struct watch *watch, const struct call *call)
{
    if (cancel_sleep_ms(call->cancel, watch->pause_ms)) {
        watch->state = watch->resume;
    }
}

/* Until the definition of an optional kind comes; false when it cannot be watched. */
static bool wait_for_definition(struct watch *watch, const struct call *call)
{
    struct err err = {0};

    int result = kind_wait_run(&watch->kind_wait, watch->client, call,
                               stream_seconds(&watch->timing), watch->timing.silence_ms, &err);
    /* A server in a hurry is late with its bookmarks: that asks for another look, not for a poll.
     */
    bool is_told = result == 0 || err_has_reason(&err, "ConnectionSilent");
    if (cancel_is_set(call->cancel)) {
        return true;
    }
    atomic_store(&watch->pulse.last_byte_ms, clock_monotonic_ms());
    if (!is_told && !watch->is_blind) {
        log_info(watch->log, "cannot watch for the definition of this kind: asking for the kind",
                 KV_ERR(&err));
    }
    watch->is_blind = !is_told;
    return is_told;
}

/* The same, until the server may have the kind. */
static void wait_state(struct watch *watch, const struct call *call)
{
    int64_t poll_ms =
        watch->config.optional ? watch->timing.optional_poll_ms : watch->timing.poll_ms;

    if ((watch->config.optional && wait_for_definition(watch, call)) ||
        cancel_sleep_ms(call->cancel, poll_ms + clock_jitter_ms(poll_ms / 2 + 1))) {
        watch->state = watch->lists_only ? WATCH_PAGING : WATCH_LISTING;
    }
}

void watch_resume_at(struct watch *watch, const char *resource_version)
{
    set_version(watch, str_from(resource_version));
}

void watch_run(struct watch *watch, const struct call *call)
{
    const struct log_field fields[] = {KV("resource", watch->pulse.resource)};
    const struct log log = {
        .parent = call->log, .fields = fields, .field_count = ARRAY_COUNT(fields)};
    const struct call own = {.cancel = call->cancel, .log = &log};

    watch->log = &log;
    watch->state = watch->resource_version.len > 0 ? WATCH_WATCHING
                   : watch->lists_only             ? WATCH_PAGING
                                                   : WATCH_LISTING;
    buf_clear(&watch->continue_token);
    while (!cancel_is_set(call->cancel)) {
        int64_t now_ms = clock_monotonic_ms();
        watch->request = (struct watch_request){.started_ms = now_ms, .warned_ms = now_ms};
        switch (watch->state) {
        case WATCH_LISTING:
        case WATCH_WATCHING:
            stream_state(watch, &own);
            break;
        case WATCH_PAGING:
        case WATCH_LISTING_WHOLE:
            page_state(watch, &own);
            break;
        case WATCH_CHECKING:
            check_state(watch, &own);
            break;
        case WATCH_WAITING_FOR_KIND:
            wait_state(watch, &own);
            break;
        case WATCH_BACKING_OFF:
        default:
            pause_state(watch, &own);
            break;
        }
    }
    watch->log = NULL;
}
