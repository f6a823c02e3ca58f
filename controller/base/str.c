#include "controller/base/str.h"

bool str_starts_with(struct str text, struct str prefix)
{
    return text.len >= prefix.len && str_equal((struct str){text.ptr, prefix.len}, prefix);
}

bool str_ends_with(struct str text, struct str suffix)
{
    if (text.len < suffix.len) {
        return false;
    }
    return suffix.len == 0 ||
           memcmp(text.ptr + (text.len - suffix.len), suffix.ptr, suffix.len) == 0;
}

static bool is_blank(char byte)
{
    return byte == ' ' || byte == '\t' || byte == '\r' || byte == '\n';
}

struct str str_trim(struct str text)
{
    while (text.len > 0 && is_blank(text.ptr[0])) {
        text.ptr++;
        text.len--;
    }
    while (text.len > 0 && is_blank(text.ptr[text.len - 1])) {
        text.len--;
    }
    return text;
}

struct str str_cut(struct str *rest, char separator)
{
    struct str whole = *rest;
    const char *found = whole.len ? memchr(whole.ptr, separator, whole.len) : NULL;

    if (!found) {
        *rest = (struct str){0};
        return whole;
    }
    size_t before = (size_t)(found - whole.ptr);
    *rest = (struct str){found + 1, whole.len - before - 1};
    return (struct str){whole.ptr, before};
}

bool str_to_int64(struct str text, int64_t *ret_value)
{
    bool negative = text.len > 0 && text.ptr[0] == '-';
    int64_t value = 0;

    if (text.len == (negative ? 1 : 0)) {
        return false;
    }
    for (size_t i = negative ? 1 : 0; i < text.len; i++) {
        if (text.ptr[i] < '0' || text.ptr[i] > '9') {
            return false;
        }
        /* Built up with its sign, because the smallest number has no positive counterpart. */
        int64_t digit = negative ? '0' - text.ptr[i] : text.ptr[i] - '0';
        if (__builtin_mul_overflow(value, (int64_t)10, &value) ||
            __builtin_add_overflow(value, digit, &value)) {
            return false;
        }
    }
    *ret_value = value;
    return true;
}

bool text_equal(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "") == 0;
}

bool text_is_empty(const char *text)
{
    return !text || text[0] == '\0';
}

static bool is_continuation(unsigned char byte)
{
    return (byte & 0xC0) == 0x80;
}

/* Length of the well-formed character at `at` (RFC 3629 section 4), 0 when there is none. The
 * second byte's range is what shuts out overlong forms, surrogates and numbers past U+10FFFF. */
static size_t character_bytes(const unsigned char *at, size_t left)
{
    unsigned char first = at[0];
    unsigned char low = 0x80;
    unsigned char high = 0xBF;
    size_t width = 0;

    if (first < 0x80) {
        return first != 0;
    }
    if (first >= 0xC2 && first <= 0xDF) {
        width = 2;
    } else if (first >= 0xE0 && first <= 0xEF) {
        width = 3;
        low = first == 0xE0 ? 0xA0 : low;
        high = first == 0xED ? 0x9F : high;
    } else if (first >= 0xF0 && first <= 0xF4) {
        width = 4;
        low = first == 0xF0 ? 0x90 : low;
        high = first == 0xF4 ? 0x8F : high;
    } else {
        return 0;
    }
    if (left < width || at[1] < low || at[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < width; i++) {
        if (!is_continuation(at[i])) {
            return 0;
        }
    }
    return width;
}

/* Eight bytes at once while they are plain ASCII without NUL, which nearly all text is. */
static size_t ascii_prefix(const unsigned char *at, size_t count)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    const uint64_t tops = UINT64_C(0x8080808080808080);
    size_t done = 0;

    while (count - done >= sizeof(uint64_t)) {
        uint64_t word = 0;
        memcpy(&word, at + done, sizeof(word));
        if (((word | (word - ones)) & tops) != 0) { /* a top bit, or a borrow out of a 0 */
            break;
        }
        done += sizeof(word);
    }
    return done;
}

size_t str_utf8_valid(struct str text)
{
    const unsigned char *bytes = (const unsigned char *)text.ptr;
    size_t at = 0;

    while (at < text.len) {
        at += ascii_prefix(bytes + at, text.len - at);
        /* One word's worth of single steps before the fast loop is tried again. */
        for (size_t stop = at + sizeof(uint64_t); at < text.len && at < stop;) {
            size_t width = character_bytes(bytes + at, text.len - at);
            if (width == 0) {
                return at;
            }
            at += width;
        }
    }
    return at;
}

bool str_is_utf8(struct str text)
{
    return str_utf8_valid(text) == text.len;
}

size_t str_utf8_prefix(struct str text, size_t max_bytes)
{
    const unsigned char *bytes = (const unsigned char *)text.ptr;

    if (text.len < max_bytes) {
        max_bytes = text.len;
    }
    /* Step back over an unfinished last character: at most three continuation bytes and a lead. */
    for (size_t back = 1; back <= 4 && back <= max_bytes; back++) {
        unsigned char byte = bytes[max_bytes - back];
        if (is_continuation(byte)) {
            continue;
        }
        if (byte < 0x80) {
            break;
        }
        size_t width = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : 2;
        return back < width ? max_bytes - back : max_bytes;
    }
    return max_bytes;
}
