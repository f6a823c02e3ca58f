/* Writes JSON text into a buf, with commas and nesting kept right. For requests and log lines:
 * nothing is allocated but the buffer. Failure (buffer full, nesting over 32) is the buffer's. */
#ifndef TENANTRY_BASE_JSONW_H
#define TENANTRY_BASE_JSONW_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/base/buf.h"

struct jsonw {
    struct buf *out;
    uint32_t has_member; /* one bit a level: a comma is due */
    int depth;
};

void jsonw_init(struct jsonw *writer, struct buf *out);

/* name is the member's name inside an object, NULL inside an array or at the top. */
void jsonw_object(struct jsonw *writer, const char *name);
void jsonw_array(struct jsonw *writer, const char *name);
void jsonw_end_object(struct jsonw *writer);
void jsonw_end_array(struct jsonw *writer);
void jsonw_text(struct jsonw *writer, const char *name, const char *value); /* NULL writes null */
void jsonw_str(struct jsonw *writer, const char *name, struct str value);
void jsonw_printf(struct jsonw *writer, const char *name, const char *format, ...)
    PRINTF_LIKE(3, 4); /* a string value */
void jsonw_int(struct jsonw *writer, const char *name, int64_t value);
void jsonw_bool(struct jsonw *writer, const char *name, bool value);
/* value is JSON text already. */
void jsonw_raw(struct jsonw *writer, const char *name, struct str value);

#endif
