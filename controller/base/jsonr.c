/* The reader walks with one pointer and never looks back. Two speeds:
 *
 *   read   byte by byte with full syntax checks, except that plain runs inside strings are crossed
 *          16 bytes at a time;
 *   skip   64 bytes at a time: each block becomes bit masks (quotes, backslashes, brackets), the
 *          masks tell what stands inside of strings, and only the brackets that are left are looked
 *          at one by one.
 *
 * Nothing past `end` is ever read: the last, short block is copied out first. */
#include "controller/base/jsonr.h"

#include "controller/base/jsonr_internal.h"

#include <string.h>

void jsonr_init(struct jsonr *reader, struct str text)
{
    const char *start = text.len > 0 ? text.ptr : "";

    *reader = (struct jsonr){.at = start, .end = start + text.len};
}

bool jsonr_failed(const struct jsonr *reader)
{
    return reader->failed;
}

static bool fail(struct jsonr *reader)
{
    reader->failed = true;
    reader->at = reader->end;
    return false;
}

/* From `at`, the first byte that is no white space. The API server sends none, so one comparison
 * has to settle it. */
static inline const char *after_space(const char *at, const char *end)
{
    while (at < end && (unsigned char)*at <= ' ' &&
           (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')) {
        at++;
    }
    return at;
}

static inline void skip_space(struct jsonr *reader)
{
    reader->at = after_space(reader->at, reader->end);
}

bool jsonr_at_end(struct jsonr *reader)
{
    skip_space(reader);
    return !reader->failed && reader->depth == 0 && reader->at == reader->end;
}

static inline enum jsonr_type peek(struct jsonr *reader)
{
    skip_space(reader);
    if (reader->at == reader->end) { /* also after a failure */
        return JSONR_NONE;
    }
    switch (*reader->at) {
    case '{':
        return JSONR_OBJECT;
    case '[':
        return JSONR_ARRAY;
    case '"':
        return JSONR_STRING;
    case 't':
    case 'f':
        return JSONR_BOOL;
    case 'n':
        return JSONR_NULL;
    case '-':
        return JSONR_NUMBER;
    default:
        if (*reader->at >= '0' && *reader->at <= '9') {
            return JSONR_NUMBER;
        }
        fail(reader);
        return JSONR_NONE;
    }
}

enum jsonr_type jsonr_peek(struct jsonr *reader)
{
    return peek(reader);
}

/* True when the value here has this type; otherwise it is consumed. */
static inline bool expect(struct jsonr *reader, enum jsonr_type type)
{
    if (peek(reader) == type) {
        return true;
    }
    (void)jsonr_skip(reader);
    return false;
}

static bool begin(struct jsonr *reader, bool is_object)
{
    if (reader->depth == JSONR_DEPTH_MAX) {
        return fail(reader);
    }
    uint64_t bit = UINT64_C(1) << reader->depth;
    reader->has_item &= ~bit;
    reader->is_object = is_object ? reader->is_object | bit : reader->is_object & ~bit;
    reader->depth++;
    reader->at++;
    return true;
}

/* The same for the types that one byte tells. */
static inline bool expect_byte(struct jsonr *reader, char first)
{
    skip_space(reader);
    if (reader->at < reader->end && *reader->at == first) {
        return true;
    }
    (void)jsonr_skip(reader);
    return false;
}

bool jsonr_object_begin(struct jsonr *reader)
{
    return expect_byte(reader, '{') && begin(reader, true);
}

bool jsonr_array_begin(struct jsonr *reader)
{
    return expect_byte(reader, '[') && begin(reader, false);
}

/* Step over the comma to the next member or element, or over the end of the container. Asked on the
 * wrong kind of level, as after a begin that returned false at the top, it fails. */
static inline bool next_item(struct jsonr *reader, bool is_object)
{
    if (reader->depth <= 0) {
        return fail(reader);
    }
    uint64_t bit = UINT64_C(1) << (reader->depth - 1);
    const char *at = after_space(reader->at, reader->end);
    if (at == reader->end || ((reader->is_object & bit) != 0) != is_object) {
        return fail(reader);
    }
    if (*at == (is_object ? '}' : ']')) {
        reader->at = at + 1;
        reader->depth--;
        return false;
    }
    if (reader->has_item & bit) {
        if (*at != ',') {
            return fail(reader);
        }
        at = after_space(at + 1, reader->end);
    }
    reader->has_item |= bit;
    reader->at = at;
    return true;
}

bool jsonr_element(struct jsonr *reader)
{
    return next_item(reader, false);
}

/* The first byte from `at` on that is a quote, a backslash or a control character, or `end`. *high
 * becomes nonzero when a byte before it has its top bit set. */
static inline const char *plain_run(const char *at, const char *end, uint64_t *high)
{
    while (end - at >= RUN_BYTES) {
        uint64_t tops = 0;
        uint64_t stops = run_stops(at, &tops);
        if (stops) {
            *high |= tops & ((stops & -stops) - 1);
            return at + __builtin_ctzll(stops);
        }
        *high |= tops;
        at += RUN_BYTES;
    }
    while (at < end && *at != '"' && *at != '\\' && (unsigned char)*at >= 0x20) {
        *high |= (unsigned char)*at & 0x80;
        at++;
    }
    return at;
}

static int hex_value(char digit)
{
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    if (digit >= 'a' && digit <= 'f') {
        return digit - 'a' + 10;
    }
    return digit >= 'A' && digit <= 'F' ? digit - 'A' + 10 : -1;
}

/* Four hex digits at `at`, which has that many bytes; -1 when one is none. */
static int32_t hex4(const char *at)
{
    int32_t value = 0;

    for (int i = 0; i < 4; i++) {
        int digit = hex_value(at[i]);
        if (digit < 0) {
            return -1;
        }
        value = value * 16 + digit;
    }
    return value;
}

/* Length of the escape that starts with the backslash at `at`; 0 when malformed. */
static size_t escape_bytes(const char *at, const char *end)
{
    if (end - at < 2) {
        return 0;
    }
    switch (at[1]) {
    case '"':
    case '\\':
    case '/':
    case 'b':
    case 'f':
    case 'n':
    case 'r':
    case 't':
        return 2;
    case 'u':
        return end - at >= 6 && hex4(at + 2) >= 0 ? 6 : 0;
    default:
        return 0;
    }
}

/* The string whose quote stands here, whatever it holds. */
static bool read_any_string(struct jsonr *reader, struct str *ret_raw, bool *ret_has_escape)
{
    const char *start = reader->at + 1;
    const char *at = start;
    uint64_t high = 0;
    bool has_escape = false;

    for (at = plain_run(at, reader->end, &high); at < reader->end && *at == '\\';
         at = plain_run(at, reader->end, &high)) {
        size_t escape = escape_bytes(at, reader->end);
        if (escape == 0) {
            return fail(reader);
        }
        has_escape = true;
        at += escape;
    }
    struct str raw = {start, (size_t)(at - start)};
    if (at == reader->end || *at != '"' || (high && !str_is_utf8(raw))) {
        return fail(reader);
    }
    reader->at = at + 1;
    *ret_raw = raw;
    *ret_has_escape = has_escape;
    return true;
}

/* Read the string whose quote stands here; its syntax and UTF-8 are checked. Most strings are a few
 * plain ASCII characters: a look or two find their end. */
static inline bool read_string(struct jsonr *reader, struct str *ret_raw, bool *ret_has_escape)
{
    const char *start = reader->at + 1;

    const char *at = start;
    uint64_t tops = 0;
    uint64_t stops = 0;

    while (!stops && !tops && reader->end - at >= RUN_BYTES) {
        stops = run_stops(at, &tops);
        at += stops ? __builtin_ctzll(stops) : RUN_BYTES;
    }
    if (!stops || *at != '"' || (tops & ((stops & -stops) - 1))) {
        return read_any_string(reader, ret_raw, ret_has_escape);
    }
    reader->at = at + 1;
    *ret_raw = (struct str){start, (size_t)(at - start)};
    return true;
}

bool jsonr_member(struct jsonr *reader, struct str *ret_raw_name)
{
    bool has_escape = false;

    if (!next_item(reader, true)) {
        return false;
    }
    if (reader->at == reader->end || *reader->at != '"' ||
        !read_string(reader, ret_raw_name, &has_escape)) {
        return fail(reader);
    }
    const char *at = after_space(reader->at, reader->end);
    if (at == reader->end || *at != ':') {
        return fail(reader);
    }
    reader->at = after_space(at + 1, reader->end);
    return true;
}

bool jsonr_member_among(struct jsonr *reader, const struct jsonr_name *names, size_t count,
                        size_t *index)
{
    size_t guess = *index < count ? *index : 0;
    struct str name;

    if (jsonr_member_is(reader, names[guess].quoted)) {
        *index = guess;
        return true;
    }
    if (!jsonr_member(reader, &name)) {
        return false;
    }
    for (size_t i = guess; i < count; i++) {
        if (str_equal(name, names[i].plain)) {
            *index = i;
            return true;
        }
    }
    size_t found = 0;
    while (found < guess && !str_equal(name, names[found].plain)) {
        found++;
    }
    *index = found < guess ? found : count;
    return true;
}

bool jsonr_raw_string(struct jsonr *reader, struct str *ret_raw)
{
    bool has_escape = false;

    return expect_byte(reader, '"') && read_string(reader, ret_raw, &has_escape);
}

static char simple_escape(char letter)
{
    switch (letter) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    default:
        return letter;
    }
}

static char *put_utf8(char *to, uint32_t code)
{
    if (code < 0x80) {
        *to++ = (char)code;
        return to;
    }
    if (code < 0x800) {
        *to++ = (char)(0xC0 | code >> 6);
    } else {
        if (code < 0x10000) {
            *to++ = (char)(0xE0 | code >> 12);
        } else {
            *to++ = (char)(0xF0 | code >> 18);
            *to++ = (char)(0x80 | (code >> 12 & 0x3F));
        }
        *to++ = (char)(0x80 | (code >> 6 & 0x3F));
    }
    *to++ = (char)(0x80 | (code & 0x3F));
    return to;
}

/* The character of the \u escape (or surrogate pair of them) at *at, which moves behind it; 0 when
 * a C string in UTF-8 cannot hold it: U+0000 or half a pair. */
static uint32_t unescape_unicode(const char **at, const char *end)
{
    uint32_t code = (uint32_t)hex4(*at + 2);

    *at += 6;
    if (code < 0xD800 || code > 0xDFFF) {
        return code;
    }
    if (code > 0xDBFF || end - *at < 6 || (*at)[0] != '\\' || (*at)[1] != 'u') {
        return 0;
    }
    uint32_t low = (uint32_t)hex4(*at + 2);
    if (low < 0xDC00 || low > 0xDFFF) {
        return 0;
    }
    *at += 6;
    return 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
}

/* Resolve the escapes of a string that was read before. No escape is shorter than what it stands
 * for, so raw.len bytes are enough. */
static bool unescape(struct str raw, char *to)
{
    const char *at = raw.ptr;
    const char *end = raw.ptr + raw.len;

    while (at < end) {
        if (*at != '\\') {
            *to++ = *at++;
        } else if (at[1] != 'u') {
            *to++ = simple_escape(at[1]);
            at += 2;
        } else {
            uint32_t code = unescape_unicode(&at, end);
            if (code == 0) {
                return false;
            }
            to = put_utf8(to, code);
        }
    }
    *to = '\0';
    return true;
}

bool jsonr_string(struct jsonr *reader, struct arena *arena, const char **ret_text)
{
    struct str raw;
    bool has_escape = false;

    if (!expect_byte(reader, '"') || !read_string(reader, &raw, &has_escape)) {
        return false;
    }
    if (!has_escape) {
        *ret_text = arena_strndup(arena, raw.ptr, raw.len);
        return true;
    }
    char *text = arena_alloc(arena, raw.len + 1);
    if (!unescape(raw, text)) {
        return false;
    }
    *ret_text = text;
    return true;
}

/* How many digits stand at the reader; they are consumed. */
static size_t take_digits(struct jsonr *reader)
{
    const char *start = reader->at;

    while (reader->at < reader->end && *reader->at >= '0' && *reader->at <= '9') {
        reader->at++;
    }
    return (size_t)(reader->at - start);
}

static bool take_byte(struct jsonr *reader, char byte)
{
    if (reader->at == reader->end || *reader->at != byte) {
        return false;
    }
    reader->at++;
    return true;
}

/* Read the number that starts here, in RFC 8259's grammar. */
static bool read_number(struct jsonr *reader, struct str *ret_number)
{
    const char *start = reader->at;

    take_byte(reader, '-');
    const char *first = reader->at;
    size_t digits = take_digits(reader);
    if (digits == 0 || (*first == '0' && digits > 1)) {
        return fail(reader);
    }
    if (take_byte(reader, '.')) {
        if (take_digits(reader) == 0) {
            return fail(reader);
        }
    }
    if (take_byte(reader, 'e') || take_byte(reader, 'E')) {
        if (!take_byte(reader, '-')) {
            take_byte(reader, '+');
        }
        if (take_digits(reader) == 0) {
            return fail(reader);
        }
    }
    *ret_number = (struct str){start, (size_t)(reader->at - start)};
    return true;
}

/* A number of so many digits at most that nothing can overflow, with no more to it; false, and
 * nothing consumed, for any other. */
static inline bool read_short_int(struct jsonr *reader, int64_t *ret_value)
{
    enum { DIGITS_MAX = 18 };
    const char *at = reader->at;
    bool negative = at < reader->end && *at == '-';
    const char *first = at + negative;
    int64_t value = 0;

    for (at = first; at < reader->end && (unsigned char)(*at - '0') <= 9; at++) {
        if (at - first == DIGITS_MAX) {
            return false;
        }
        value = value * 10 + (*at - '0');
    }
    if (at == first || at == reader->end || *at == '.' || *at == 'e' || *at == 'E' ||
        (*first == '0' && at - first > 1)) {
        return false;
    }
    reader->at = at;
    *ret_value = negative ? -value : value;
    return true;
}

bool jsonr_int64(struct jsonr *reader, int64_t *ret_value)
{
    struct str number;

    skip_space(reader);
    if (read_short_int(reader, ret_value)) {
        return true;
    }
    /* What has a fraction or an exponent is no number to str_to_int64. */
    return expect(reader, JSONR_NUMBER) && read_number(reader, &number) &&
           str_to_int64(number, ret_value);
}

static bool read_literal(struct jsonr *reader, struct str literal)
{
    struct str rest = {reader->at, (size_t)(reader->end - reader->at)};

    if (!str_starts_with(rest, literal)) {
        return fail(reader);
    }
    reader->at += literal.len;
    return true;
}

bool jsonr_bool(struct jsonr *reader, bool *ret_value)
{
    if (!expect(reader, JSONR_BOOL)) {
        return false;
    }
    bool value = *reader->at == 't';
    if (!read_literal(reader, value ? STR("true") : STR("false"))) {
        return false;
    }
    *ret_value = value;
    return true;
}

bool jsonr_raw(struct jsonr *reader, struct str *ret_raw)
{
    skip_space(reader);
    const char *start = reader->at;

    if (!jsonr_skip(reader)) {
        return false;
    }
    *ret_raw = (struct str){start, (size_t)(reader->at - start)};
    return true;
}

/* Where a skip stands between two blocks. */
struct scan {
    const char *at;
    const char *end;
    uint64_t in_string; /* all ones while the block starts inside of a string */
    uint64_t escaped;   /* 1 when the block's first byte is escaped */
};

/* Bits of the bytes that stand behind a backslash that is not escaped itself. */
static inline uint64_t escaped_bits(uint64_t backslashes, uint64_t *carry)
{
    uint64_t escaped = *carry;
    uint64_t rest = backslashes & ~escaped;

    *carry = 0;
    while (rest) {
        uint64_t backslash = rest & -rest;
        uint64_t behind = backslash << 1;
        *carry = behind == 0; /* the backslash is the block's last byte */
        escaped |= behind;
        rest &= ~(backslash | behind);
    }
    return escaped;
}

/* Bit i of the result: parity of the bits up to and with i. Between an opening quote (with it) and
 * its closing one (without it) all bits are set. */
static inline uint64_t prefix_parity(uint64_t bits)
{
    for (int shift = 1; shift < BLOCK_BYTES; shift *= 2) {
        bits ^= bits << shift;
    }
    return bits;
}

/* Classify the next block and resolve escapes: its quotes are real ones. */
static inline void scan_block(struct scan *scan, struct block *ret)
{
    if (scan->end - scan->at >= BLOCK_BYTES) {
        block_classify(scan->at, ret);
    } else {
        char last[BLOCK_BYTES] = {0};
        memcpy(last, scan->at, (size_t)(scan->end - scan->at));
        block_classify(last, ret);
    }
    if (ret->backslashes | scan->escaped) {
        ret->quotes &= ~escaped_bits(ret->backslashes, &scan->escaped);
    }
}

static inline void scan_next(struct scan *scan)
{
    ptrdiff_t left = scan->end - scan->at;

    scan->at += left < BLOCK_BYTES ? left : BLOCK_BYTES;
}

static bool skip_string(struct jsonr *reader)
{
    const char *start = reader->at + 1;
    const char *quote = memchr(start, '"', (size_t)(reader->end - start));

    if (quote && !memchr(start, '\\', (size_t)(quote - start))) {
        reader->at = quote + 1;
        return true;
    }
    struct scan scan = {.at = start, .end = reader->end};
    for (; scan.at < scan.end; scan_next(&scan)) {
        struct block block;
        scan_block(&scan, &block);
        if (block.quotes) {
            reader->at = scan.at + __builtin_ctzll(block.quotes) + 1;
            return true;
        }
    }
    return fail(reader);
}

/* The open containers of a skip: one bit each, the innermost lowest, set for an object. */
struct nesting {
    uint64_t is_object;
    int depth;
};

static inline bool nesting_step(struct nesting *nesting, char bracket, bool opens, int depth_max)
{
    uint64_t is_curly = (unsigned char)bracket >> 5 & 1;

    if (opens) {
        nesting->is_object = nesting->is_object << 1 | is_curly;
        return nesting->depth++ < depth_max;
    }
    bool matches = (nesting->is_object & 1) == is_curly;
    nesting->is_object >>= 1;
    nesting->depth--;
    return matches;
}

/* Leave out of a block's brackets the empty pairs, {} and [], inside of the container:
 * managedFields are full of them, and they change nothing. Near the limit of depth they are looked
 * at, too. */
static inline uint64_t without_pairs(const char *at, const struct nesting *nesting,
                                     uint64_t brackets, uint64_t opening, int depth_max)
{
    const int to_close = '{' ^ '}'; /* the same for the square ones */
    uint64_t pairs = opening & (brackets & ~opening) >> 1;

    if (nesting->depth == 0 || nesting->depth + __builtin_popcountll(opening) > depth_max) {
        return brackets;
    }
    for (; pairs; pairs &= pairs - 1) {
        int i = __builtin_ctzll(pairs);
        if ((at[i] ^ at[i + 1]) == to_close) {
            brackets &= ~(UINT64_C(3) << i);
        }
    }
    return brackets;
}

static bool skip_container(struct jsonr *reader)
{
    struct scan scan = {.at = reader->at, .end = reader->end};
    struct nesting nesting = {0};
    const int depth_max = JSONR_DEPTH_MAX - reader->depth;

    for (; scan.at < scan.end; scan_next(&scan)) {
        struct block block;
        scan_block(&scan, &block);
        uint64_t inside = prefix_parity(block.quotes) ^ scan.in_string;
        scan.in_string = 0 - (inside >> 63);
        uint64_t stray = block.backslashes & ~inside;
        uint64_t rest = without_pairs(scan.at, &nesting, block.brackets & ~inside,
                                      block.opening & ~inside, depth_max);
        for (; rest; rest &= rest - 1) {
            int i = __builtin_ctzll(rest);
            if (!nesting_step(&nesting, scan.at[i], block.opening >> i & 1, depth_max)) {
                return fail(reader);
            }
            if (nesting.depth == 0) {
                stray &= (rest & -rest) - 1;
                reader->at = scan.at + i + 1;
                return stray ? fail(reader) : true;
            }
        }
        if (stray) {
            return fail(reader);
        }
    }
    return fail(reader);
}

bool jsonr_skip(struct jsonr *reader)
{
    struct str number;

    switch (peek(reader)) {
    case JSONR_OBJECT:
    case JSONR_ARRAY:
        return skip_container(reader);
    case JSONR_STRING:
        return skip_string(reader);
    case JSONR_NUMBER:
        return read_number(reader, &number);
    case JSONR_BOOL:
        return read_literal(reader, *reader->at == 't' ? STR("true") : STR("false"));
    case JSONR_NULL:
        return read_literal(reader, STR("null"));
    case JSONR_NONE:
        break;
    }
    return fail(reader);
}
