#include "controller/base/jsonw.h"

#include <inttypes.h>

enum { JSONW_DEPTH_MAX = 32 };

void jsonw_init(struct jsonw *writer, struct buf *out)
{
    *writer = (struct jsonw){.out = out};
}

/* Comma and name in front of a value. The bit of depth 0 stays clear: the top has one value. */
static void lead(struct jsonw *writer, const char *name)
{
    if (writer->depth > 0) {
        uint32_t bit = UINT32_C(1) << (writer->depth - 1);
        if (writer->has_member & bit) {
            buf_append_char(writer->out, ',');
        }
        writer->has_member |= bit;
    }
    if (name) {
        buf_append_json(writer->out, str_from(name));
        buf_append_char(writer->out, ':');
    }
}

static void begin(struct jsonw *writer, const char *name, char bracket)
{
    lead(writer, name);
    if (writer->depth == JSONW_DEPTH_MAX) { /* our own bug: the text must not pass for a good one */
        buf_fail(writer->out);
        return;
    }
    writer->has_member &= ~(UINT32_C(1) << writer->depth);
    writer->depth++;
    buf_append_char(writer->out, bracket);
}

static void end(struct jsonw *writer, char bracket)
{
    if (writer->depth == 0) {
        buf_fail(writer->out);
        return;
    }
    writer->depth--;
    buf_append_char(writer->out, bracket);
}

void jsonw_object(struct jsonw *writer, const char *name)
{
    begin(writer, name, '{');
}

void jsonw_array(struct jsonw *writer, const char *name)
{
    begin(writer, name, '[');
}

void jsonw_end_object(struct jsonw *writer)
{
    end(writer, '}');
}

void jsonw_end_array(struct jsonw *writer)
{
    end(writer, ']');
}

void jsonw_text(struct jsonw *writer, const char *name, const char *value)
{
    lead(writer, name);
    if (value) {
        buf_append_json(writer->out, str_from(value));
    } else {
        buf_append_text(writer->out, "null");
    }
}

void jsonw_str(struct jsonw *writer, const char *name, struct str value)
{
    lead(writer, name);
    buf_append_json(writer->out, value);
}

void jsonw_printf(struct jsonw *writer, const char *name, const char *format, ...)
{
    AUTO(buf) struct buf value = BUF(writer->out->max_bytes);
    va_list arguments;

    va_start(arguments, format);
    buf_vprintf(&value, format, arguments);
    va_end(arguments);
    if (buf_failed(&value)) {
        buf_fail(writer->out);
        return;
    }
    jsonw_str(writer, name, buf_str(&value));
}

void jsonw_int(struct jsonw *writer, const char *name, int64_t value)
{
    lead(writer, name);
    buf_printf(writer->out, "%" PRId64, value);
}

void jsonw_bool(struct jsonw *writer, const char *name, bool value)
{
    lead(writer, name);
    buf_append_text(writer->out, value ? "true" : "false");
}

void jsonw_raw(struct jsonw *writer, const char *name, struct str value)
{
    lead(writer, name);
    buf_append_str(writer->out, value);
}
