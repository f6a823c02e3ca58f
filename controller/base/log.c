/* A line is gathered in three steps: the fields of all contexts and the call are listed outermost
 * first, a field whose name comes again further in is dropped, and the rest is rendered into one
 * buffer that goes out with one write. Nothing here blocks on a lock, so a slow standard error
 * slows only the thread that logs. */
#include "controller/base/log.h"

#include "controller/base/buf.h"
#include "controller/base/clock.h"
#include "controller/base/jsonw.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

enum {
    FIELDS_MAX = 48,         /* a line carries about 15 */
    VALUE_MAX_BYTES = 4096,  /* longer ones are cut, with an ellipsis */
    LINE_MAX_BYTES = 1 << 20 /* 48 values, each byte escaped to six: never reached */
};

static atomic_int configured_level = LOG_INFO;
static atomic_int configured_format = LOG_TEXT;

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static const char *const format_names[] = {"text", "json"};

void log_configure(enum log_level lowest, enum log_format format)
{
    atomic_store(&configured_level, (int)lowest);
    atomic_store(&configured_format, (int)format);
}

bool log_parse_level(const char *text, enum log_level *ret)
{
    for (size_t i = 0; i < ARRAY_COUNT(level_names); i++) {
        if (text_equal(text, level_names[i])) {
            *ret = (enum log_level)i;
            return true;
        }
    }
    return false;
}

bool log_parse_format(const char *text, enum log_format *ret)
{
    for (size_t i = 0; i < ARRAY_COUNT(format_names); i++) {
        if (text_equal(text, format_names[i])) {
            *ret = (enum log_format)i;
            return true;
        }
    }
    return false;
}

bool log_enabled(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&configured_level, memory_order_relaxed);
}

struct line {
    const char *time;
    enum log_level level;
    const char *message;
    struct log_field fields[FIELDS_MAX];
    size_t field_count;
};

/* A name that comes again replaces the value that stands further out: JSON readers do not agree on
 * what a name given twice means. */
static void add_field(struct line *line, const struct log_field *field)
{
    size_t kept = 0;

    for (size_t i = 0; i < line->field_count; i++) {
        if (strcmp(line->fields[i].name, field->name) != 0) {
            line->fields[kept++] = line->fields[i];
        }
    }
    line->field_count = kept;
    if (kept < FIELDS_MAX) {
        line->fields[line->field_count++] = *field;
    }
}

static void add_fields(struct line *line, const struct log_field *fields, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct log_field *field = &fields[i];
        if (field->kind == LOG_FIELD_ERR) {
            const struct err *err = field->value.err;
            const struct log_field parts[] = {
                KV("reason", err->reason),
                KV("code", err->code[0] ? err->code : NULL),
                KV("error", err->message),
            };
            add_fields(line, parts, ARRAY_COUNT(parts));
        } else if (field->kind != LOG_FIELD_TEXT || field->value.text) {
            add_field(line, field);
        }
    }
}

static void add_context(struct line *line, const struct log *log)
{
    if (log) {
        add_context(line, log->parent); /* contexts nest a handful deep */
        add_fields(line, log->fields, log->field_count);
    }
}

/* The text's view, cut to what a line may carry. */
static struct str capped(const char *text, bool *ret_cut)
{
    struct str whole = str_from(text);

    *ret_cut = whole.len > VALUE_MAX_BYTES;
    if (*ret_cut) {
        whole.len = str_utf8_prefix(whole, VALUE_MAX_BYTES);
    }
    return whole;
}

static void append_capped_json(struct buf *out, const char *text)
{
    bool cut = false;
    struct str value = capped(text, &cut);

    buf_append_json(out, value);
    if (cut) { /* put the ellipsis in front of the closing quote */
        out->len--;
        buf_append_text(out, "…\"");
    }
}

/* Whether a value reads back unambiguously without quotes. */
static bool is_bare(const char *text)
{
    size_t i = 0;

    for (; text[i] != '\0'; i++) {
        if (text[i] <= ' ' || text[i] > '~' || text[i] == '"' || text[i] == '=' ||
            text[i] == '\\') {
            return false;
        }
    }
    return i > 0 && i <= VALUE_MAX_BYTES;
}

/* Messages are literals of ours; one that is not must still not forge a line. */
static bool is_plain_message(const char *text)
{
    for (size_t i = 0; text[i] != '\0'; i++) {
        if (text[i] < ' ' || text[i] > '~' || text[i] == '"' || text[i] == '=') {
            return false;
        }
    }
    return true;
}

static void render_text(struct buf *out, const struct line *line)
{
    buf_printf(out, "%s %-5s ", line->time, level_names[line->level]);
    if (is_plain_message(line->message)) {
        buf_append_text(out, line->message);
    } else {
        append_capped_json(out, line->message);
    }
    for (size_t i = 0; i < line->field_count; i++) {
        const struct log_field *field = &line->fields[i];
        buf_printf(out, " %s=", field->name);
        if (field->kind == LOG_FIELD_INT) {
            buf_printf(out, "%" PRId64, field->value.integer);
        } else if (field->kind == LOG_FIELD_BOOL) {
            buf_append_text(out, field->value.boolean ? "true" : "false");
        } else if (is_bare(field->value.text)) {
            buf_append_text(out, field->value.text);
        } else {
            append_capped_json(out, field->value.text);
        }
    }
}

static void render_json(struct buf *out, const struct line *line)
{
    AUTO(buf) struct buf value = BUF(LINE_MAX_BYTES);
    struct jsonw writer;

    jsonw_init(&writer, out);
    jsonw_object(&writer, NULL);
    jsonw_text(&writer, "time", line->time);
    jsonw_text(&writer, "level", level_names[line->level]);
    jsonw_text(&writer, "msg", line->message);
    for (size_t i = 0; i < line->field_count; i++) {
        const struct log_field *field = &line->fields[i];
        if (field->kind == LOG_FIELD_INT) {
            jsonw_int(&writer, field->name, field->value.integer);
        } else if (field->kind == LOG_FIELD_BOOL) {
            jsonw_bool(&writer, field->name, field->value.boolean);
        } else {
            buf_clear(&value);
            append_capped_json(&value, field->value.text);
            jsonw_raw(&writer, field->name, buf_str(&value));
        }
    }
    jsonw_end_object(&writer);
}

/* One write for the line. What the rest of the system cannot take is lost: the program's work does
 * not depend on its log. */
static void put_out(struct str text)
{
    while (text.len > 0) {
        ssize_t done = write(STDERR_FILENO, text.ptr, text.len);
        if (done < 0 && errno != EINTR) {
            return;
        }
        size_t taken = done > 0 ? (size_t)done : 0;
        text.ptr += taken;
        text.len -= taken;
    }
}

void log_write(const struct log *log, enum log_level level, const char *message,
               const struct log_field *fields, size_t field_count)
{
    AUTO(buf) struct buf out = BUF(LINE_MAX_BYTES);
    char time[CLOCK_TEXT_BYTES];
    struct line line = {.time = time, .level = level, .message = message};
    int saved_errno = errno; /* logging between a call and the look at its errno is harmless */

    if (!log_enabled(level)) {
        return;
    }
    clock_format_us(clock_wall_us(), time);
    memcpy(time + sizeof("2026-01-02T03:04:05.000") - 1, "Z", 2); /* milliseconds are enough */
    add_context(&line, log);
    add_fields(&line, fields, field_count);
    if (atomic_load(&configured_format) == LOG_JSON) {
        render_json(&out, &line);
    } else {
        render_text(&out, &line);
    }
    buf_append_char(&out, '\n');
    put_out(buf_str(&out));
    errno = saved_errno;
}
