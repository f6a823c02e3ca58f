/* A growable byte buffer with a mandatory maximum, always ended by a NUL that is not counted.
 *
 * An append that would pass the maximum fails, and the buffer is then `failed` and empty for good:
 * so a chain of appends is checked once at its end with buf_failed(), and a cut text can never be
 * taken for a whole one. */
#ifndef TENANTRY_BASE_BUF_H
#define TENANTRY_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/base/str.h"

struct buf {
    char *ptr; /* NULL until the first append; use buf_text() */
    size_t len;
    size_t capacity;
    size_t max_bytes;
    bool failed;
};

/* Empty; nothing is allocated yet. The same as BUF. */
void buf_init(struct buf *buf, size_t max_bytes);
/* Free what it holds; it is empty and usable afterwards, with the same maximum. */
void buf_release(struct buf *buf);
static inline void auto_release_buf(struct buf *buf)
{
    buf_release(buf);
}
#define BUF(maximum) ((struct buf){.max_bytes = (maximum)})

/* Forget the content and a failure; keep the memory. */
void buf_clear(struct buf *buf);
/* Drop the first count bytes. */
void buf_consume(struct buf *buf, size_t count);
/* Whether anything appended since the last clear did not fit, or buf_fail was called. */
bool buf_failed(const struct buf *buf);
/* Make it failed: for a writer that cannot complete its text. */
void buf_fail(struct buf *buf);
/* The content, "" when nothing was appended. Valid until the next append. */
const char *buf_text(const struct buf *buf);
/* The same with its length. */
struct str buf_str(const struct buf *buf);
/* The content as a heap string that the caller frees; the buffer is empty afterwards. */
char *buf_detach(struct buf *buf);

/* Each returns false, and marks the buffer failed, when the maximum is passed. */
bool buf_append(struct buf *buf, const void *bytes, size_t count);
/* Up to the NUL, which is not counted. */
bool buf_append_text(struct buf *buf, const char *text);
/* text may not lie in the buffer itself. */
bool buf_append_str(struct buf *buf, struct str text);
/* For buf_append_char alone: when the byte may not fit into what is allocated. */
bool buf_append_char_slow(struct buf *buf, char byte);
/* Inline, for writers that go byte by byte. */
static inline bool buf_append_char(struct buf *buf, char byte)
{
    if (buf->failed || buf->len + 1 >= buf->capacity) {
        return buf_append_char_slow(buf, byte);
    }
    buf->ptr[buf->len++] = byte;
    buf->ptr[buf->len] = '\0';
    return true;
}
/* As printf(3) writes it. */
bool buf_printf(struct buf *buf, const char *format, ...) PRINTF_LIKE(2, 3);
/* As vprintf(3) writes it; arguments are used up. */
bool buf_vprintf(struct buf *buf, const char *format, va_list arguments) PRINTF_LIKE(2, 0);

/* Percent-encode everything but RFC 3986 unreserved characters. For one path segment or query
 * value. */
bool buf_append_percent(struct buf *buf, struct str text);
/* A JSON string with its quotes (RFC 8259); invalid UTF-8 becomes U+FFFD. */
bool buf_append_json(struct buf *buf, struct str text);
/* Standard base64 with padding (RFC 4648 section 4). */
bool buf_append_base64(struct buf *buf, const void *bytes, size_t count);

/* Append what standard base64 text stands for, line breaks skipped. False when malformed, with
 * nothing appended, or past buf's maximum, which fails the buffer. */
MUST_CHECK bool buf_decode_base64(struct buf *buf, struct str text);

#endif
