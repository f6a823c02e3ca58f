#include "controller/kube/kind_wait.h"

#include <inttypes.h>

#include "controller/base/clock.h"
#include "controller/kube/line_splitter.h"
#include "controller/kube/watch_line.h"

enum {
    VERSION_BYTES_MAX = 128,
    QUERY_BYTES_MAX = 1024,
    LINE_BYTES_MAX = 2 * 1024 * 1024, /* more than the server stores of one object */
    TRIES_MAX = 6,                    /* 1 + 2 + 4 + 8 + 16 + 32 s after a change */
    HASTY_MS = 500,                   /* half of the shortest stream that is asked for */
};

/* Of the stream under way. */
struct listening {
    struct kind_wait *wait;
    struct line_splitter lines;
    bool has_news;
};

void kind_wait_init(struct kind_wait *wait, const struct kube_resource *resource)
{
    *wait = (struct kind_wait){.resource = resource};
    buf_init(&wait->version, VERSION_BYTES_MAX);
}

void kind_wait_release(struct kind_wait *wait)
{
    buf_release(&wait->version);
}

void kind_wait_forget(struct kind_wait *wait)
{
    buf_clear(&wait->version);
    wait->tries = 0;
}

/* The definition stands like this: is that news? */
static void take_version(struct listening *listening, struct str version)
{
    struct kind_wait *wait = listening->wait;

    if (!str_equal(buf_str(&wait->version), version)) {
        kind_wait_forget(wait);
        buf_append_str(&wait->version, version);
        listening->has_news = true;
    }
}

static int on_line(void *context, struct str text, struct err *err)
{
    struct listening *listening = context;
    struct watch_line line;

    if (watch_line_parse(text, &line, err) != 0) {
        return -1;
    }
    switch (line.type) {
    case WATCH_LINE_ADDED:
    case WATCH_LINE_MODIFIED:
        take_version(listening, line.glance.resource_version);
        break;
    case WATCH_LINE_DELETED:
        kind_wait_forget(listening->wait);
        break;
    case WATCH_LINE_ERROR:
        return kube_status_error(line.object, 0, err);
    case WATCH_LINE_BOOKMARK:
    case WATCH_LINE_UNKNOWN:
    default:
        break;
    }
    /* There is no better way to end a stream than to refuse what else it says. */
    return listening->has_news ? err_set(err, ERR_RETRY, "WatchEnded", "the definition changed")
                               : 0;
}

static int on_data(void *context, struct str data, struct err *err)
{
    struct listening *listening = context;
    return line_splitter_feed(&listening->lines, data, on_line, listening, err);
}

/* From any version that the server has at hand: an older one only brings the news a moment later,
 * and what is there already comes first. */
static void append_query(const struct kind_wait *wait, int64_t stream_s, struct buf *query)
{
    buf_printf(query,
               "watch=1&allowWatchBookmarks=true&timeoutSeconds=%" PRId64
               "&resourceVersion=0&fieldSelector=metadata.name%%3D",
               stream_s);
    buf_append_percent(query, str_from(wait->resource->plural));
    buf_append_char(query, '.');
    buf_append_percent(query, str_from(wait->resource->group));
}

static int64_t stream_seconds(const struct kind_wait *wait, int64_t rest_s)
{
    bool is_new = wait->version.len > 0 && wait->tries < TRIES_MAX;
    return is_new ? INT64_C(1) << wait->tries : rest_s;
}

int kind_wait_run(struct kind_wait *wait, struct kube_client *client, const struct call *call,
                  int64_t rest_s, int64_t silence_ms, struct err *err)
{
    static const struct kube_ref definitions = {.resource = &KUBE_CRDS};
    int64_t started_ms = clock_monotonic_ms();
    struct listening listening = {.wait = wait};
    AUTO(buf) struct buf query = BUF(QUERY_BYTES_MAX);

    append_query(wait, stream_seconds(wait, rest_s), &query);
    wait->tries++;
    line_splitter_init(&listening.lines, LINE_BYTES_MAX);
    const struct kube_stream stream = {
        .query = buf_text(&query),
        .metadata_only = true,
        .timeout_ms = -1, /* the server's timeoutSeconds and the silence end it */
        .idle_timeout_ms = silence_ms,
        .on_data = on_data,
        .on_data_context = &listening,
    };
    int result = kube_stream(client, call, &definitions, &stream, err);
    line_splitter_release(&listening.lines);
    if (listening.has_news) {
        return 0;
    }
    if (result == 0 && clock_monotonic_ms() - started_ms < HASTY_MS) {
        return err_set(err, ERR_RETRY, "WatchTooShort", "the server ended the watch at once");
    }
    return result;
}
