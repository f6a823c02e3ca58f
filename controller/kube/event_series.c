#include "controller/kube/event_series.h"

#include <inttypes.h>

#include "controller/base/clock.h"
#include "controller/base/jsonw.h"

const struct event_timing EVENT_TIMING = {
    .refresh_ms = INT64_C(30) * 60 * 1000,
    .finish_ms = INT64_C(6) * 60 * 1000,
    .retry_ms = 10000,
    .sweep_ms = 10000,
    .flush_ms = 2000,
    .tries_max = 12,
};

struct event_key event_key_of(const struct event_content *content)
{
    const struct event_object *object = content->object;
    AUTO(buf) struct buf text = BUF(EVENT_BODY_BYTES_MAX);
    struct event_key key;

    /* Line breaks keep the parts apart: only the note, which comes last, may hold any. */
    buf_printf(&text, "%s\n%s\n%s\n%s\n%s\n%d\n", object->resource->group, object->resource->kind,
               object->namespace_ ? object->namespace_ : "", object->name,
               object->uid ? object->uid : "", (int)content->type);
    buf_append_str(&text, content->reason);
    buf_append_char(&text, '\n');
    buf_append_str(&text, content->action);
    buf_append_char(&text, '\n');
    buf_append_str(&text, content->note);
    hash_sha256(buf_str(&text), key.digest);
    return key;
}

/* The API counts bytes, so nothing may grow when it is written as JSON: bytes that are no UTF-8
 * become question marks. */
static char *copy_cut(struct str text, size_t max_bytes)
{
    char *copy = xmemdup0(text.ptr ? text.ptr : "", str_utf8_prefix(text, max_bytes));

    if (!str_is_utf8(str_from(copy))) {
        for (char *at = copy; *at; at++) {
            if ((unsigned char)*at >= 0x80) {
                *at = '?';
            }
        }
    }
    return copy;
}

static char *copy_or_null(const char *text)
{
    return text ? xstrdup(text) : NULL;
}

/* "<object>.<unique>", where the object's name is cut to fit and must not end in a separator. */
static char *event_name(const char *object_name, uint64_t unique)
{
    enum { SUFFIX_BYTES = 1 + 16 };
    size_t length = strlen(object_name);

    if (length > EVENT_NAME_BYTES_MAX - SUFFIX_BYTES) {
        length = EVENT_NAME_BYTES_MAX - SUFFIX_BYTES;
        while (length > 0 && (object_name[length - 1] == '.' || object_name[length - 1] == '-')) {
            length--;
        }
    }
    return xasprintf("%.*s.%" PRIx64, (int)length, object_name, unique);
}

struct event_series *event_series_new(const struct event_content *content, uint64_t unique)
{
    struct event_series *series = xcalloc(1, sizeof(*series));

    series->key = event_key_of(content);
    series->resource = content->object->resource;
    series->object_namespace = copy_or_null(content->object->namespace_);
    series->object_name = xstrdup(content->object->name);
    series->object_uid = copy_or_null(content->object->uid);
    series->type = content->type;
    series->reason = copy_cut(content->reason, EVENT_FIELD_BYTES_MAX);
    series->action = copy_cut(content->action, EVENT_FIELD_BYTES_MAX);
    series->note = copy_cut(content->note, EVENT_NOTE_BYTES_MAX);
    series->name = event_name(content->object->name, unique);
    return series;
}

void event_series_free(struct event_series *series)
{
    if (!series) {
        return;
    }
    free(series->object_namespace);
    free(series->object_name);
    free(series->object_uid);
    free(series->reason);
    free(series->action);
    free(series->note);
    free(series->name);
    free(series);
}

const char *event_series_namespace(const struct event_series *series)
{
    return series->object_namespace ? series->object_namespace : "default";
}

static void write_count(struct jsonw *writer, const struct event_series *series)
{
    char last[CLOCK_TEXT_BYTES];

    clock_format_us(series->last_us, last);
    jsonw_object(writer, "series");
    jsonw_int(writer, "count", series->count);
    jsonw_text(writer, "lastObservedTime", last);
    jsonw_end_object(writer);
}

static void write_regarding(struct jsonw *writer, const struct event_series *series)
{
    char api_version[KUBE_API_VERSION_BYTES];

    kube_api_version(series->resource, api_version);
    jsonw_object(writer, "regarding");
    jsonw_text(writer, "apiVersion", api_version);
    jsonw_text(writer, "kind", series->resource->kind);
    if (series->object_namespace) {
        jsonw_text(writer, "namespace", series->object_namespace);
    }
    jsonw_text(writer, "name", series->object_name);
    if (series->object_uid) {
        jsonw_text(writer, "uid", series->object_uid);
    }
    jsonw_end_object(writer);
}

static void write_cut(struct jsonw *writer, const char *name, const char *value)
{
    struct str text = str_from(value);

    jsonw_str(writer, name, (struct str){text.ptr, str_utf8_prefix(text, EVENT_FIELD_BYTES_MAX)});
}

void event_series_write(const struct event_series *series, const struct event_source *source,
                        struct buf *out)
{
    struct jsonw writer;
    char first[CLOCK_TEXT_BYTES];

    clock_format_us(series->first_us, first);
    jsonw_init(&writer, out);
    jsonw_object(&writer, NULL);
    jsonw_text(&writer, "apiVersion", "events.k8s.io/v1");
    jsonw_text(&writer, "kind", "Event");
    jsonw_object(&writer, "metadata");
    jsonw_text(&writer, "name", series->name);
    jsonw_text(&writer, "namespace", event_series_namespace(series));
    jsonw_end_object(&writer);
    jsonw_text(&writer, "eventTime", first);
    write_cut(&writer, "reportingController", source->controller);
    write_cut(&writer, "reportingInstance", source->instance);
    jsonw_text(&writer, "type", series->type == EVENT_WARNING ? "Warning" : "Normal");
    jsonw_text(&writer, "reason", series->reason);
    jsonw_text(&writer, "action", series->action);
    jsonw_text(&writer, "note", series->note);
    write_regarding(&writer, series);
    if (series->count > 1) {
        write_count(&writer, series);
    }
    jsonw_end_object(&writer);
}

void event_series_write_patch(const struct event_series *series, struct buf *out)
{
    struct jsonw writer;

    jsonw_init(&writer, out);
    jsonw_object(&writer, NULL);
    write_count(&writer, series);
    jsonw_end_object(&writer);
}

enum event_due event_series_due(const struct event_series *series,
                                const struct event_timing *timing, int64_t now_ms)
{
    bool is_silent = now_ms - series->last_ms >= timing->finish_ms;

    if (series->retry_at_ms > now_ms) {
        return EVENT_NOTHING_DUE;
    }
    if (series->count == series->written_count) {
        return is_silent ? EVENT_OVER : EVENT_NOTHING_DUE;
    }
    /* The first event and the second are written at once, which makes the series known as one;
     * what follows only now and then, and at the end. */
    if (series->retry_at_ms != 0 || series->written_count < 2 || is_silent ||
        now_ms - series->written_ms >= timing->refresh_ms) {
        return EVENT_WRITE_DUE;
    }
    return EVENT_NOTHING_DUE;
}
