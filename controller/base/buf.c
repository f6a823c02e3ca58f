#include "controller/base/buf.h"

#include <stdio.h>
#include <string.h>

void buf_init(struct buf *buf, size_t max_bytes)
{
    *buf = BUF(max_bytes);
}

void buf_release(struct buf *buf)
{
    free(buf->ptr);
    *buf = BUF(buf->max_bytes);
}

void buf_clear(struct buf *buf)
{
    buf->failed = false;
    buf->len = 0;
    if (buf->ptr) {
        buf->ptr[0] = '\0';
    }
}

void buf_consume(struct buf *buf, size_t count)
{
    if (count >= buf->len) {
        count = buf->len;
    }
    if (count == 0) {
        return;
    }
    buf->len -= count;
    memmove(buf->ptr, buf->ptr + count, buf->len);
    buf->ptr[buf->len] = '\0';
}

bool buf_failed(const struct buf *buf)
{
    return buf->failed;
}

const char *buf_text(const struct buf *buf)
{
    return buf->ptr ? buf->ptr : "";
}

struct str buf_str(const struct buf *buf)
{
    return (struct str){buf_text(buf), buf->len};
}

char *buf_detach(struct buf *buf)
{
    char *text = buf->ptr ? buf->ptr : xstrdup("");

    buf->ptr = NULL;
    buf->len = 0;
    buf->capacity = 0;
    return text;
}

void buf_fail(struct buf *buf)
{
    buf_clear(buf);
    buf->failed = true;
}

static bool fail(struct buf *buf)
{
    buf_fail(buf);
    return false;
}

static bool grow(struct buf *buf, size_t count)
{
    enum { FIRST_BYTES = 64 };

    if (count > buf->max_bytes - buf->len || count >= SIZE_MAX - buf->len) {
        return fail(buf);
    }
    size_t need = buf->len + count + 1;
    size_t capacity = buf->capacity < FIRST_BYTES ? FIRST_BYTES : buf->capacity;
    while (capacity < need) {
        capacity = capacity > SIZE_MAX / 2 ? need : capacity * 2;
    }
    if (capacity - 1 > buf->max_bytes) {
        capacity = buf->max_bytes + 1;
    }
    buf->ptr = xrealloc(buf->ptr, capacity);
    buf->capacity = capacity;
    return true;
}

/* Make room for count more bytes and the NUL. Doubles, but never past the maximum. */
static inline bool reserve(struct buf *buf, size_t count)
{
    if (buf->failed) {
        return false;
    }
    return count < buf->capacity - buf->len || grow(buf, count);
}

bool buf_append(struct buf *buf, const void *bytes, size_t count)
{
    if (!reserve(buf, count)) {
        return false;
    }
    if (count > 0) {
        memcpy(buf->ptr + buf->len, bytes, count);
        buf->len += count;
    }
    buf->ptr[buf->len] = '\0';
    return true;
}

bool buf_append_text(struct buf *buf, const char *text)
{
    return buf_append(buf, text, strlen(text));
}

bool buf_append_str(struct buf *buf, struct str text)
{
    return buf_append(buf, text.ptr, text.len);
}

bool buf_append_char_slow(struct buf *buf, char byte)
{
    return buf_append(buf, &byte, 1);
}

bool buf_printf(struct buf *buf, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    bool done = buf_vprintf(buf, format, arguments);
    va_end(arguments);
    return done;
}

bool buf_vprintf(struct buf *buf, const char *format, va_list arguments)
{
    va_list again;

    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (length < 0) {
        return fail(buf);
    }
    if (!reserve(buf, (size_t)length)) {
        return false;
    }
    (void)vsnprintf(buf->ptr + buf->len, (size_t)length + 1, format, arguments);
    buf->len += (size_t)length;
    return true;
}

static bool is_unreserved(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') ||
           (byte >= '0' && byte <= '9') || byte == '-' || byte == '.' || byte == '_' || byte == '~';
}

bool buf_append_percent(struct buf *buf, struct str text)
{
    static const char digits[] = "0123456789ABCDEF";

    for (size_t i = 0; i < text.len; i++) {
        unsigned char byte = (unsigned char)text.ptr[i];
        const char encoded[3] = {'%', digits[byte >> 4], digits[byte & 15]};
        if (is_unreserved(text.ptr[i])) {
            buf_append_char(buf, text.ptr[i]);
        } else {
            buf_append(buf, encoded, sizeof(encoded));
        }
    }
    return !buf->failed;
}

static bool append_control(struct buf *buf, unsigned char code)
{
    switch (code) {
    case '\b':
        return buf_append_text(buf, "\\b");
    case '\f':
        return buf_append_text(buf, "\\f");
    case '\n':
        return buf_append_text(buf, "\\n");
    case '\r':
        return buf_append_text(buf, "\\r");
    case '\t':
        return buf_append_text(buf, "\\t");
    default:
        return buf_printf(buf, "\\u%04x", code);
    }
}

/* Write what stands at the front of rest, which is no plain ASCII; returns the bytes dealt with. */
static size_t append_special(struct buf *buf, struct str rest)
{
    const unsigned char *bytes = (const unsigned char *)rest.ptr;

    if (bytes[0] == '"' || bytes[0] == '\\') {
        const char escaped[2] = {'\\', rest.ptr[0]};
        buf_append(buf, escaped, sizeof(escaped));
        return 1;
    }
    if (bytes[0] < 0x80) {
        append_control(buf, bytes[0]);
        return 1;
    }
    size_t width = bytes[0] >= 0xF0 ? 4 : bytes[0] >= 0xE0 ? 3 : 2;
    if (width > rest.len || !str_is_utf8((struct str){rest.ptr, width})) {
        buf_append_text(buf, "\xEF\xBF\xBD");
        return 1;
    }
    if (bytes[0] == 0xC2 && bytes[1] < 0xA0) {
        /* C1 controls: legal in JSON, but a terminal that shows a log may obey them. */
        append_control(buf, bytes[1]);
    } else {
        buf_append(buf, rest.ptr, width);
    }
    return width;
}

static bool is_plain(char byte)
{
    return byte >= ' ' && byte <= '~' && byte != '"' && byte != '\\';
}

bool buf_append_json(struct buf *buf, struct str text)
{
    size_t at = 0;

    buf_append_char(buf, '"');
    while (at < text.len && !buf->failed) {
        size_t run = at;
        while (run < text.len && is_plain(text.ptr[run])) {
            run++;
        }
        buf_append(buf, text.ptr + at, run - at);
        at = run;
        if (at < text.len) {
            at += append_special(buf, (struct str){text.ptr + at, text.len - at});
        }
    }
    return buf_append_char(buf, '"');
}

static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=";
enum { PADDING = 64 };

bool buf_append_base64(struct buf *buf, const void *bytes, size_t count)
{
    const unsigned char *from = bytes;

    for (size_t i = 0; i < count; i += 3) {
        size_t left = count - i;
        uint32_t group = (uint32_t)from[i] << 16;
        group |= left > 1 ? (uint32_t)from[i + 1] << 8 : 0;
        group |= left > 2 ? (uint32_t)from[i + 2] : 0;
        const char quad[4] = {
            base64_digits[group >> 18],
            base64_digits[group >> 12 & 63],
            base64_digits[left > 1 ? group >> 6 & 63 : PADDING],
            base64_digits[left > 2 ? group & 63 : PADDING],
        };
        buf_append(buf, quad, sizeof(quad));
    }
    return !buf->failed;
}

static int base64_value(char digit)
{
    if (digit >= 'A' && digit <= 'Z') {
        return digit - 'A';
    }
    if (digit >= 'a' && digit <= 'z') {
        return digit - 'a' + 26;
    }
    if (digit >= '0' && digit <= '9') {
        return digit - '0' + 52;
    }
    return digit == '+' ? 62 : digit == '/' ? 63 : -1;
}

/* Take the next four characters that are no line breaks; returns how many there were. */
static int take_quad(struct str *rest, char quad[4])
{
    int taken = 0;

    while (taken < 4 && rest->len > 0) {
        char byte = rest->ptr[0];
        rest->ptr++;
        rest->len--;
        if (byte != '\r' && byte != '\n') {
            quad[taken++] = byte;
        }
    }
    return taken;
}

/* Decode one quad; returns the bytes in it (1 to 3), or 0 when it is malformed. */
static size_t decode_quad(const char quad[4], char ret_bytes[3])
{
    size_t padding = quad[3] == '=' ? (quad[2] == '=' ? 2 : 1) : 0;
    uint32_t group = 0;

    for (size_t i = 0; i < 4; i++) {
        int value = i < 4 - padding ? base64_value(quad[i]) : 0;
        if (value < 0) {
            return 0;
        }
        group = group << 6 | (uint32_t)value;
    }
    ret_bytes[0] = (char)(group >> 16 & 255);
    ret_bytes[1] = (char)(group >> 8 & 255);
    ret_bytes[2] = (char)(group & 255);
    return 3 - padding;
}

bool buf_decode_base64(struct buf *buf, struct str text)
{
    size_t start = buf->len;
    char quad[4] = {0};
    size_t decoded = 3;

    for (int taken = take_quad(&text, quad); taken > 0; taken = take_quad(&text, quad)) {
        char bytes[3];
        /* Anything behind a padded quad is as wrong as a part of one. */
        decoded = taken == 4 && decoded == 3 ? decode_quad(quad, bytes) : 0;
        if (decoded == 0) {
            buf->len = start;
            if (buf->ptr) {
                buf->ptr[start] = '\0';
            }
            return false;
        }
        if (!buf_append(buf, bytes, decoded)) {
            return false;
        }
    }
    return !buf->failed;
}
