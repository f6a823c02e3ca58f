/* A view of bytes that somebody else owns; no terminating NUL is promised. For parsing. */
#ifndef TENANTRY_BASE_STR_H
#define TENANTRY_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "controller/base/attributes.h"

struct str {
    const char *ptr; /* may be NULL when len is 0 */
    size_t len;
};

#define STR(literal) ((struct str){"" literal, sizeof(literal) - 1})

static inline struct str str_from(const char *text)
{
    return (struct str){text, text ? strlen(text) : 0};
}

/* Inline, so that comparing with a constant is a comparison of its length and a word or two. */
static inline bool str_equal(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}
static inline bool str_equal_c(struct str a, const char *text)
{
    return str_equal(a, str_from(text));
}
bool str_starts_with(struct str text, struct str prefix);
bool str_ends_with(struct str text, struct str suffix);
struct str str_trim(struct str text); /* without blanks, tabs, CR and LF at both ends */

/* Cut *rest at the first `separator`: returns what stands before it and leaves in *rest what stands
 * behind; without one, returns all and leaves an empty view. */
struct str str_cut(struct str *rest, char separator);

/* The whole view as a decimal number (optional '-'), nothing else; false when it is none or does
 * not fit. */
MUST_CHECK bool str_to_int64(struct str text, int64_t *ret_value);

/* strcmp that takes NULL as "". */
bool text_equal(const char *a, const char *b);
bool text_is_empty(const char *text);

/* Whether the bytes are well-formed UTF-8 without NUL (RFC 3629). */
bool str_is_utf8(struct str text);
/* How many bytes at the front are so: text.len when all are. */
size_t str_utf8_valid(struct str text);

/* Length of the longest prefix of at most max_bytes that ends at a character's edge. */
size_t str_utf8_prefix(struct str text, size_t max_bytes);

#endif
