/* A hand-written machine over bytes rather than a parser over text, since the text is never whole.
 *
 * `place` says what may come next at the top of the list object and between the elements of its
 * "items"; within a value (LIST_IN_VALUE) only quotes, backslashes and brackets matter until the
 * value's end. A value that is wanted (a name, "metadata", an element) is captured: as a view when
 * begin and end lie in the same piece, else collected in `carry`. */
#include "controller/kube/list_scan.h"

#include "controller/base/arena.h"
#include "controller/base/jsonr.h"

enum {
    DEPTH_MAX = 512, /* far above what the API server stores; only counted, so it costs nothing */
    METADATA_BYTES_MAX = 64 * 1024,
};

void list_scan_init(struct list_scan *scan, size_t item_max_bytes)
{
    *scan = (struct list_scan){
        .carry = BUF(item_max_bytes),
        .resource_version = BUF(METADATA_BYTES_MAX),
        .continue_token = BUF(METADATA_BYTES_MAX),
    };
}

void list_scan_release(struct list_scan *scan)
{
    buf_release(&scan->carry);
    buf_release(&scan->resource_version);
    buf_release(&scan->continue_token);
}

const char *list_scan_resource_version(const struct list_scan *scan)
{
    return buf_text(&scan->resource_version);
}

const char *list_scan_continue(const struct list_scan *scan)
{
    return buf_text(&scan->continue_token);
}

static int invalid(struct err *err, const char *what)
{
    return err_set(err, ERR_RETRY, "InvalidList", "the server's list is no valid JSON: %s", what);
}

static bool is_space(char byte)
{
    return byte == ' ' || byte == '\n' || byte == '\t' || byte == '\r';
}

/* Where the current value ends, `at` being inside it: behind its last byte, or NULL when it goes on
 * after `end`. */
static const char *scan_string(struct list_scan *scan, const char *at, const char *end)
{
    for (; at < end; at++) {
        if (scan->escaped) {
            scan->escaped = false;
        } else if (*at == '\\') {
            scan->escaped = true;
        } else if (*at == '"') {
            scan->in_string = false;
            return at + 1;
        }
    }
    return NULL;
}

static const char *scan_scalar(const char *at, const char *end)
{
    for (; at < end; at++) {
        if (is_space(*at) || *at == ',' || *at == ']' || *at == '}') {
            return at;
        }
    }
    return NULL;
}

static const char *scan_value(struct list_scan *scan, const char *at, const char *end)
{
    if (scan->is_scalar) {
        return scan_scalar(at, end);
    }
    while (at < end) {
        if (scan->in_string) {
            at = scan_string(scan, at, end);
            if (!at || scan->depth == 0) {
                return at;
            }
            continue;
        }
        switch (*at++) {
        case '"':
            scan->in_string = true;
            break;
        case '{':
        case '[':
            scan->depth++;
            break;
        case '}':
        case ']':
            if (--scan->depth == 0) {
                return at;
            }
            break;
        default:
            break;
        }
    }
    return NULL;
}

static int read_metadata(struct list_scan *scan, struct str json, struct err *err)
{
    struct jsonr reader;
    struct str name;
    struct arena scratch;

    arena_init(&scratch, 0);
    jsonr_init(&reader, json);
    if (jsonr_object_begin(&reader)) {
        while (jsonr_member(&reader, &name)) {
            struct buf *target = str_equal_c(name, "resourceVersion") ? &scan->resource_version
                                 : str_equal_c(name, "continue")      ? &scan->continue_token
                                                                      : NULL;
            const char *text = NULL;
            if (!target) {
                jsonr_skip(&reader);
            } else if (jsonr_string(&reader, &scratch, &text)) {
                buf_clear(target);
                buf_append_text(target, text);
            }
        }
    }
    arena_release(&scratch);
    return jsonr_at_end(&reader) ? 0 : invalid(err, "its metadata is malformed");
}

/* The current value is complete in `text`. */
static int use_value(struct list_scan *scan, struct str text, list_item_fn on_item, void *context,
                     struct err *err)
{
    switch (scan->use) {
    case LIST_USE_NAME:
        scan->name = str_equal_c(text, "\"items\"")      ? LIST_NAME_ITEMS
                     : str_equal_c(text, "\"metadata\"") ? LIST_NAME_METADATA
                                                         : LIST_NAME_OTHER;
        scan->place = LIST_BEFORE_COLON;
        return 0;
    case LIST_USE_METADATA:
        scan->place = LIST_AFTER_VALUE;
        return read_metadata(scan, text, err);
    case LIST_USE_ITEM:
        scan->place = LIST_AFTER_ITEM;
        return on_item(context, text, err);
    case LIST_USE_NONE:
    default:
        scan->place = LIST_AFTER_VALUE;
        return 0;
    }
}

static int carry(struct list_scan *scan, struct str part, struct err *err)
{
    size_t maximum =
        scan->use == LIST_USE_ITEM ? scan->carry.max_bytes : (size_t)METADATA_BYTES_MAX;

    if (scan->use == LIST_USE_NONE) {
        return 0;
    }
    if (part.len > maximum - scan->carry.len) {
        return err_set(err, ERR_RETRY, "ObjectTooLarge",
                       "the server's list holds a value longer than %zu bytes", maximum);
    }
    (void)buf_append_str(&scan->carry, part); /* cannot fail: just checked */
    return 0;
}

/* Go on in the current value; *at moves behind what was read. */
static int in_value(struct list_scan *scan, const char **at, const char *end, list_item_fn on_item,
                    void *context, struct err *err)
{
    const char *begin = *at;
    const char *stop = scan_value(scan, begin, end);
    struct str part = {begin, (size_t)((stop ? stop : end) - begin)};

    if (scan->depth > DEPTH_MAX) {
        return invalid(err, "it is nested too deeply");
    }
    *at = stop ? stop : end;
    /* Also the bound of values that lie within one piece. */
    if (!stop || scan->carry.len > 0 || part.len > scan->carry.max_bytes) {
        if (carry(scan, part, err) != 0) {
            return -1;
        }
        part = buf_str(&scan->carry);
    }
    if (!stop) {
        return 0;
    }
    int result = use_value(scan, part, on_item, context, err);
    buf_clear(&scan->carry);
    return result;
}

/* The first byte of a value is at hand (and not consumed). */
static int begin_value(struct list_scan *scan, char byte, enum list_scan_use use, struct err *err)
{
    bool is_word = (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') || byte == '-';

    if (byte != '{' && byte != '[' && byte != '"' && !is_word) {
        return invalid(err, "a value is missing");
    }
    scan->place = LIST_IN_VALUE;
    scan->use = use;
    scan->depth = 0;
    scan->is_scalar = is_word;
    scan->in_string = false;
    scan->escaped = false;
    buf_clear(&scan->carry);
    return 0;
}

static int before_value(struct list_scan *scan, const char **at, struct err *err)
{
    if (scan->name == LIST_NAME_ITEMS && **at == '[') {
        ++*at;
        scan->place = LIST_BEFORE_FIRST_ITEM;
        return 0;
    }
    return begin_value(scan, **at,
                       scan->name == LIST_NAME_METADATA ? LIST_USE_METADATA : LIST_USE_NONE, err);
}

/* The next byte must be one of two, each leading to a place; it is consumed. */
static int expect(struct list_scan *scan, const char **at, char one, enum list_scan_place place_one,
                  char two, enum list_scan_place place_two, struct err *err)
{
    char byte = *(*at)++;

    if (byte == one) {
        scan->place = place_one;
        return 0;
    }
    if (byte == two) {
        scan->place = place_two;
        return 0;
    }
    return invalid(err, "a comma, colon or bracket is missing");
}

/* The byte at *at is no white space. */
static int between_values(struct list_scan *scan, const char **at, struct err *err)
{
    switch (scan->place) {
    case LIST_BEFORE_OBJECT:
        return expect(scan, at, '{', LIST_BEFORE_FIRST_NAME, '{', LIST_BEFORE_FIRST_NAME, err);
    case LIST_BEFORE_FIRST_NAME:
    case LIST_BEFORE_NAME:
        if (**at == '}' && scan->place == LIST_BEFORE_FIRST_NAME) {
            ++*at;
            scan->place = LIST_AT_END;
            return 0;
        }
        if (**at != '"') {
            return invalid(err, "a member's name is missing");
        }
        return begin_value(scan, **at, LIST_USE_NAME, err);
    case LIST_BEFORE_COLON:
        return expect(scan, at, ':', LIST_BEFORE_VALUE, ':', LIST_BEFORE_VALUE, err);
    case LIST_BEFORE_VALUE:
        return before_value(scan, at, err);
    case LIST_BEFORE_FIRST_ITEM:
    case LIST_BEFORE_ITEM:
        if (**at == ']' && scan->place == LIST_BEFORE_FIRST_ITEM) {
            ++*at;
            scan->place = LIST_AFTER_VALUE;
            return 0;
        }
        return begin_value(scan, **at, LIST_USE_ITEM, err);
    case LIST_AFTER_ITEM:
        return expect(scan, at, ',', LIST_BEFORE_ITEM, ']', LIST_AFTER_VALUE, err);
    case LIST_AFTER_VALUE:
        return expect(scan, at, ',', LIST_BEFORE_NAME, '}', LIST_AT_END, err);
    case LIST_IN_VALUE:
    case LIST_AT_END:
    default:
        return invalid(err, "something follows its end");
    }
}

int list_scan_feed(struct list_scan *scan, struct str data, list_item_fn on_item, void *context,
                   struct err *err)
{
    const char *at = data.ptr;
    const char *end = at + data.len;

    if (data.len == 0) {
        return 0;
    }
    while (at < end) {
        int result = 0;
        if (scan->place == LIST_IN_VALUE) {
            result = in_value(scan, &at, end, on_item, context, err);
        } else if (is_space(*at)) {
            at++;
        } else {
            result = between_values(scan, &at, err);
        }
        if (result != 0) {
            return -1;
        }
    }
    return 0;
}

int list_scan_finish(const struct list_scan *scan, struct err *err)
{
    if (scan->place != LIST_AT_END) {
        return invalid(err, "it ends too early");
    }
    if (scan->resource_version.len == 0) {
        return invalid(err, "it has no metadata.resourceVersion");
    }
    return 0;
}
