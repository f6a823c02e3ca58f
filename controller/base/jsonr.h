/* A pull reader over JSON text in memory: one pass, no tree, nothing allocated but strings that the
 * caller copies out. It is what keeps watch events cheap (docs/cache.md); jansson (js.h) serves
 * where a tree is wanted and the text is small.
 *
 * Use: jsonr_init, then walk:
 *     if (jsonr_object_begin(&r)) {
 *         while (jsonr_member(&r, &name)) {      // positioned at the member's value
 *             if (str_equal(name, STR("spec")))  ... read it ...  else jsonr_skip(&r);
 *         }
 *     }
 * Every read of a value consumes exactly that value. A value of another type than asked for is
 * consumed and reported by the return value (false), so that a field of the wrong type never
 * derails the walk: but then nothing was begun, so a begin's result must be looked at. A syntax
 * error makes the reader failed: every later call returns false, and jsonr_failed() says so once at
 * the end. Depth is limited (64). Full RFC 8259 syntax, UTF-8 included, is checked for whatever is
 * read; skipped values are checked for nesting and string ends. */
#ifndef TENANTRY_BASE_JSONR_H
#define TENANTRY_BASE_JSONR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "controller/base/arena.h"
#include "controller/base/attributes.h"
#include "controller/base/str.h"

enum jsonr_type {
    JSONR_NONE, /* end of input or failure */
    JSONR_NULL,
    JSONR_BOOL,
    JSONR_NUMBER,
    JSONR_STRING,
    JSONR_ARRAY,
    JSONR_OBJECT,
};

enum { JSONR_DEPTH_MAX = 64 };

struct jsonr {
    const char *at;
    const char *end;
    uint64_t has_item;  /* one bit a level: a member or element was read, so a comma is due */
    uint64_t is_object; /* one bit a level */
    int depth;
    bool failed;
};

/* The text must outlive the reader and the views it gives. */
void jsonr_init(struct jsonr *reader, struct str text);
bool jsonr_failed(const struct jsonr *reader);
/* True when the whole text was consumed, but for white space, without failure. */
bool jsonr_at_end(struct jsonr *reader);

/* Type of the value at the reader; consumes nothing. */
enum jsonr_type jsonr_peek(struct jsonr *reader);

MUST_CHECK bool jsonr_object_begin(struct jsonr *reader);
/* Next member: true with its raw name (escapes not resolved) and the reader at its value; false at
 * the object's end, which is consumed. */
bool jsonr_member(struct jsonr *reader, struct str *ret_raw_name);
/* True when the next member is the one that is guessed, written as `"name":` without white space:
 * the reader is at its value, as after jsonr_member. Otherwise false, and nothing is consumed.
 * For whoever knows what mostly comes next: a right guess costs a fraction of jsonr_member. */
static inline bool jsonr_member_is(struct jsonr *reader, struct str quoted_name)
{
    uint64_t bit = reader->depth > 0 ? UINT64_C(1) << (reader->depth - 1) : 0;
    size_t comma = (reader->has_item & bit) != 0;

    if (!(reader->is_object & bit) ||
        (size_t)(reader->end - reader->at) < quoted_name.len + comma ||
        (comma && *reader->at != ',') || reader->at[comma + 1] != quoted_name.ptr[1] ||
        memcmp(reader->at + comma, quoted_name.ptr, quoted_name.len) != 0) {
        return false;
    }
    reader->has_item |= bit;
    reader->at += comma + quoted_name.len;
    return true;
}

/* A name that is looked for, plain and as jsonr_member_is wants it. */
struct jsonr_name {
    struct str plain;
    struct str quoted;
};
#define JSONR_QUOTED(name) {"\"" name "\":", sizeof("\"" name "\":") - 1}
#define JSONR_NAME(name) {.plain = {name, sizeof(name) - 1}, .quoted = JSONR_QUOTED(name)}

/* Next member, as its index among the names, `count` when it is none of them; false at the object's
 * end. *index says where to begin to look, so that a loop over an object is
 *     for (size_t i = 0; jsonr_member_among(&r, names, COUNT, &i); i++) switch (i) ...
 * and cheap when the names stand in the order in which the members mostly come: the API server
 * sorts those of custom resources. */
bool jsonr_member_among(struct jsonr *reader, const struct jsonr_name *names, size_t count,
                        size_t *index);

MUST_CHECK bool jsonr_array_begin(struct jsonr *reader);
/* True with the reader at the next element; false at the array's end, which is consumed. */
bool jsonr_element(struct jsonr *reader);

/* The string between its quotes, escapes not resolved: enough to compare plain ASCII constants. */
bool jsonr_raw_string(struct jsonr *reader, struct str *ret_raw);
/* The string with escapes resolved, copied to the arena, NUL-ended. One that a C string cannot
 * hold, with U+0000 or half a surrogate pair, is consumed and gives false. */
bool jsonr_string(struct jsonr *reader, struct arena *arena, const char **ret_text);
/* Integers only: false, and consumed, for one with a fraction or exponent, or that does not fit. */
bool jsonr_int64(struct jsonr *reader, int64_t *ret_value);
bool jsonr_bool(struct jsonr *reader, bool *ret_value);
/* Any value as its text in the input, for instance to hash it; checked like a skipped one. */
bool jsonr_raw(struct jsonr *reader, struct str *ret_raw);
bool jsonr_skip(struct jsonr *reader);

#endif
