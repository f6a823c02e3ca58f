/* One pass over the bytes. A field name is checked byte by byte against a table of token
 * characters, a value eight bytes at a time for control characters: nearly all bytes of a real
 * request are values. */
#include "gateway/request.h"

#include <string.h>

/* RFC 9110 section 5.6.2: what names and methods are made of. */
static const bool is_token[256] = {
    ['!'] = true, ['#'] = true, ['$'] = true, ['%'] = true, ['&'] = true, ['\''] = true,
    ['*'] = true, ['+'] = true, ['-'] = true, ['.'] = true, ['^'] = true, ['_'] = true,
    ['`'] = true, ['|'] = true, ['~'] = true, ['0'] = true, ['1'] = true, ['2'] = true,
    ['3'] = true, ['4'] = true, ['5'] = true, ['6'] = true, ['7'] = true, ['8'] = true,
    ['9'] = true, ['A'] = true, ['B'] = true, ['C'] = true, ['D'] = true, ['E'] = true,
    ['F'] = true, ['G'] = true, ['H'] = true, ['I'] = true, ['J'] = true, ['K'] = true,
    ['L'] = true, ['M'] = true, ['N'] = true, ['O'] = true, ['P'] = true, ['Q'] = true,
    ['R'] = true, ['S'] = true, ['T'] = true, ['U'] = true, ['V'] = true, ['W'] = true,
    ['X'] = true, ['Y'] = true, ['Z'] = true, ['a'] = true, ['b'] = true, ['c'] = true,
    ['d'] = true, ['e'] = true, ['f'] = true, ['g'] = true, ['h'] = true, ['i'] = true,
    ['j'] = true, ['k'] = true, ['l'] = true, ['m'] = true, ['n'] = true, ['o'] = true,
    ['p'] = true, ['q'] = true, ['r'] = true, ['s'] = true, ['t'] = true, ['u'] = true,
    ['v'] = true, ['w'] = true, ['x'] = true, ['y'] = true, ['z'] = true,
};

enum { METHOD_MAX_BYTES = 24, LENGTH_MAX_DIGITS = 12 };

/* What was seen of fields that may come once. */
struct seen {
    bool host;
    bool content_length;
    bool transfer_encoding;
    bool chunked;
    bool authorization;
    bool forwarded_host;
    bool close;
    bool keep_alive;
    bool http10;
};

static enum request_state refuse(struct request *request, int status)
{
    request->refusal = status;
    return REQUEST_BAD;
}

/* Nothing wrong up to here, but no end either. */
static enum request_state more(struct request *request, struct str bytes)
{
    return bytes.len >= REQUEST_HEAD_MAX_BYTES ? refuse(request, 431) : REQUEST_MORE;
}

/* ---- the request line ---- */

static enum request_method method_of(struct str name)
{
    static const struct {
        struct str name;
        enum request_method method;
    } methods[] = {{{"GET", 3}, METHOD_GET},
                   {{"HEAD", 4}, METHOD_HEAD},
                   {{"POST", 4}, METHOD_POST},
                   {{"DELETE", 6}, METHOD_DELETE}};

    for (size_t i = 0; i < ARRAY_COUNT(methods); i++) {
        if (str_equal(methods[i].name, name)) {
            return methods[i].method;
        }
    }
    return METHOD_OTHER;
}

static bool is_target_byte(unsigned char byte)
{
    return byte > ' ' && byte < 0x7f && byte != '#';
}

/* The line without its CR LF. */
static enum request_state parse_line(struct str line, struct request *request, struct seen *seen)
{
    size_t at = 0;

    while (at < line.len && at < METHOD_MAX_BYTES && is_token[(unsigned char)line.ptr[at]]) {
        at++;
    }
    if (at == 0 || at >= line.len || line.ptr[at] != ' ') {
        return refuse(request, 400);
    }
    request->method = method_of((struct str){line.ptr, at});
    size_t start = ++at;
    while (at < line.len && is_target_byte((unsigned char)line.ptr[at])) {
        at++;
    }
    struct str target = {line.ptr + start, at - start};
    struct str version = {line.ptr + at, line.len - at};
    if (target.len == 0 || target.ptr[0] != '/') {
        return refuse(request, 400);
    }
    seen->http10 = str_equal(version, STR(" HTTP/1.0"));
    if (!seen->http10 && !str_equal(version, STR(" HTTP/1.1"))) {
        return refuse(request, str_starts_with(version, STR(" HTTP/")) ? 505 : 400);
    }
    request->path = str_cut(&target, '?');
    request->query = target;
    return REQUEST_READY;
}

/* ---- fields ---- */

static bool name_is(struct str name, struct str lower)
{
    return name.len == lower.len && strncasecmp(name.ptr, lower.ptr, lower.len) == 0;
}

/* False when it was there before. */
static bool once(bool *seen)
{
    bool first = !*seen;

    *seen = true;
    return first;
}

static int take_length(struct str value, struct request *request, struct seen *seen)
{
    if (!once(&seen->content_length) || value.len == 0 || value.len > LENGTH_MAX_DIGITS) {
        return 400;
    }
    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] < '0' || value.ptr[i] > '9') {
            return 400;
        }
        request->content_length = request->content_length * 10 + (value.ptr[i] - '0');
    }
    return 0;
}

static void take_connection(struct str value, struct seen *seen)
{
    while (value.len > 0) {
        struct str option = str_trim(str_cut(&value, ','));
        seen->close |= name_is(option, STR("close"));
        seen->keep_alive |= name_is(option, STR("keep-alive"));
    }
}

/* Host is a name, perhaps with a port: nothing else can be a tenant's. */
static int take_host(struct str value, struct request *request, struct seen *seen)
{
    if (!once(&seen->host)) {
        return 400;
    }
    for (size_t i = 0; i < value.len; i++) {
        unsigned char byte = (unsigned char)value.ptr[i];
        if (byte <= ' ' || byte >= 0x7f || strchr("/?#@\\,\"", byte)) {
            return 400;
        }
    }
    request->host = value;
    return 0;
}

static int take_expectation(struct str value, struct request *request)
{
    request->expects_continue = name_is(value, STR("100-continue"));
    return request->expects_continue ? 0 : 417;
}

static int take_authorization(struct str value, struct request *request, struct seen *seen)
{
    request->authorization = value;
    return once(&seen->authorization) ? 0 : 400;
}

static int take_encoding(struct str value, struct seen *seen)
{
    seen->chunked = name_is(value, STR("chunked"));
    return once(&seen->transfer_encoding) ? 0 : 400;
}

/* 0, or the status to refuse with. By length first: few fields get past that. */
static int take_field(struct str name, struct str value, struct request *request, struct seen *seen)
{
    switch (name.len) {
    case 4:
        return name_is(name, STR("host")) ? take_host(value, request, seen) : 0;
    case 6:
        return name_is(name, STR("expect")) ? take_expectation(value, request) : 0;
    case 10:
        if (name_is(name, STR("connection"))) {
            take_connection(value, seen);
        }
        return 0;
    case 13:
        return name_is(name, STR("authorization")) ? take_authorization(value, request, seen) : 0;
    case 14:
        return name_is(name, STR("content-length")) ? take_length(value, request, seen) : 0;
    case 16:
        if (name_is(name, STR("x-forwarded-host"))) {
            request->forwarded_host =
                once(&seen->forwarded_host) ? value : (struct str){.ptr = "", .len = 0};
        }
        return 0;
    case 17:
        return name_is(name, STR("transfer-encoding")) ? take_encoding(value, seen) : 0;
    default:
        return 0;
    }
}

/* Whether none of the eight bytes is a control character. */
static bool is_clean(const char *at)
{
    const uint64_t ones = UINT64_C(0x0101010101010101);
    const uint64_t tops = UINT64_C(0x8080808080808080);
    uint64_t word;

    memcpy(&word, at, sizeof(word));
    /* A top bit for each byte below 0x20, and for each that is 0x7f. A borrow can set one more bit,
     * but only above a true one. */
    uint64_t low = (word - ones * 0x20) & ~word;
    uint64_t del = ((word ^ ones * 0x7f) - ones) & ~(word ^ ones * 0x7f);
    return !((low | del) & tops);
}

/* How many bytes from `at` on may stand in a field's value: all but control characters, and tab. */
static size_t value_length(const char *at, const char *end)
{
    const char *start = at;

    for (;;) {
        while (end - at >= 8 && is_clean(at)) {
            at += 8;
        }
        const char *stop = end - at > 8 ? at + 8 : end;
        while (at < stop && (((unsigned char)*at >= ' ' && *at != 0x7f) || *at == '\t')) {
            at++;
        }
        if (at < stop || at == end) {
            return (size_t)(at - start);
        }
    }
}

/* One field line at *at, which moves behind it. */
static enum request_state parse_field(const char **at, const char *end, struct request *request,
                                      struct seen *seen)
{
    const char *name = *at;
    const char *colon = name;

    while (colon < end && is_token[(unsigned char)*colon]) {
        colon++;
    }
    if (colon == end) {
        return REQUEST_MORE;
    }
    if (colon == name || *colon != ':') {
        return refuse(request, 400);
    }
    const char *value = colon + 1;
    const char *stop = value + value_length(value, end);
    if (stop == end || (*stop == '\r' && stop + 1 == end)) {
        return REQUEST_MORE;
    }
    if (stop[0] != '\r' || stop[1] != '\n') {
        return refuse(request, 400);
    }
    *at = stop + 2;
    int refusal = take_field((struct str){name, (size_t)(colon - name)},
                             str_trim((struct str){value, (size_t)(stop - value)}), request, seen);
    return refusal ? refuse(request, refusal) : REQUEST_READY;
}

/* What follows from all fields together. */
static enum request_state conclude(struct request *request, const struct seen *seen)
{
    if (seen->transfer_encoding) {
        /* Both, or an encoding in HTTP/1.0, is how requests are smuggled. */
        bool smuggled = seen->content_length || seen->http10;
        return refuse(request, smuggled ? 400 : seen->chunked ? 411 : 501);
    }
    if (!seen->host && !seen->http10) {
        return refuse(request, 400);
    }
    if (request->content_length > REQUEST_BODY_MAX_BYTES) {
        return refuse(request, 413);
    }
    request->keep_alive = seen->http10 ? seen->keep_alive && !seen->close : !seen->close;
    request->expects_continue &= request->content_length > 0 && !seen->http10;
    return REQUEST_READY;
}

enum request_state request_parse(struct str bytes, struct request *ret)
{
    const char *at = bytes.ptr;
    const char *end = at + bytes.len;
    struct seen seen = {0};

    *ret = (struct request){0};
    const char *line = at;
    while (at < end && *at != '\r' && *at != '\n') {
        at++;
    }
    if (end - at < 2) {
        return at < end && *at == '\n' ? refuse(ret, 400) : more(ret, bytes);
    }
    if (at[0] != '\r' || at[1] != '\n') {
        return refuse(ret, 400);
    }
    enum request_state state = parse_line((struct str){line, (size_t)(at - line)}, ret, &seen);
    at += 2;
    for (int count = 0; state == REQUEST_READY; count++) {
        if (end - at < 2) {
            return more(ret, bytes);
        }
        if (at[0] == '\r') {
            ret->head_bytes = (size_t)(at + 2 - bytes.ptr);
            return at[1] == '\n' ? conclude(ret, &seen) : refuse(ret, 400);
        }
        if (count >= REQUEST_HEADERS_MAX) {
            return refuse(ret, 431);
        }
        state = parse_field(&at, end, ret, &seen);
    }
    return state == REQUEST_MORE ? more(ret, bytes) : state;
}

/* ---- credentials ---- */

struct str request_bearer(struct str authorization)
{
    struct str scheme = str_cut(&authorization, ' ');
    struct str token = str_trim(authorization);
    const struct str none = {.ptr = "", .len = 0};

    if (!name_is(scheme, STR("bearer"))) {
        return none;
    }
    for (size_t i = 0; i < token.len; i++) { /* RFC 6750 section 2.1: b64token */
        unsigned char byte = (unsigned char)token.ptr[i];
        bool alnum = (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
                     (byte >= 'a' && byte <= 'z');
        if (!alnum && (byte == 0 || !strchr("-._~+/=", byte))) {
            return none;
        }
    }
    return token;
}
