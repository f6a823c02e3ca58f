#include "tests/unit/base/jsonr_check.h"

#include "controller/base/jsonr.h"
#include "tests/check.h"

#include <jansson.h>
#include <sys/mman.h>
#include <unistd.h>

struct guarded guarded_copy(struct str text)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t pages = text.len / page + 2;
    struct guarded guarded = {.map_bytes = pages * page};
    char *map =
        mmap(NULL, guarded.map_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    CHECK(map != MAP_FAILED);
    char *end = map + (pages - 1) * page;
    CHECK_INT(mprotect(end, page, PROT_NONE), 0);
    if (text.len > 0) {
        memcpy(end - text.len, text.ptr, text.len);
    }
    guarded.map = map;
    guarded.text = (struct str){end - text.len, text.len};
    return guarded;
}

void auto_release_guarded(const struct guarded *guarded)
{
    munmap(guarded->map, guarded->map_bytes);
}

/* Reading a whole text into a jansson tree. */

struct walk {
    struct jsonr reader;
    struct arena arena;
    bool odd; /* valid JSON that jansson or a C string cannot hold */
};

static json_t *walk_value(struct walk *walk);

static json_t *walk_number(struct walk *walk)
{
    struct jsonr before = walk->reader;
    int64_t integer = 0;
    struct str raw;

    if (jsonr_int64(&walk->reader, &integer)) {
        return json_integer(integer);
    }
    if (jsonr_failed(&walk->reader) || !jsonr_raw(&before, &raw)) {
        return NULL;
    }
    char text[400];
    if (raw.len >= sizeof(text)) {
        walk->odd = true;
        return json_null();
    }
    memcpy(text, raw.ptr, raw.len);
    text[raw.len] = '\0';
    json_t *real = json_loads(text, JSON_DECODE_ANY, NULL);
    walk->odd |= !real; /* out of jansson's range */
    return real ? real : json_null();
}

static json_t *walk_string(struct walk *walk)
{
    const char *text = NULL;

    if (jsonr_string(&walk->reader, &walk->arena, &text)) {
        return json_string(text);
    }
    walk->odd |= !jsonr_failed(&walk->reader);
    return json_string("");
}

static json_t *walk_array(struct walk *walk)
{
    json_t *array = json_array();

    if (jsonr_array_begin(&walk->reader)) {
        while (jsonr_element(&walk->reader)) {
            json_array_append_new(array, walk_value(walk));
        }
    }
    return array;
}

/* A raw name as the text it stands for. */
static const char *resolve_name(struct walk *walk, struct str raw)
{
    char *quoted = arena_printf(&walk->arena, "\"%.*s\"", (int)raw.len, raw.ptr);
    const char *name = "";
    struct jsonr reader;

    jsonr_init(&reader, (struct str){quoted, raw.len + 2});
    if (!jsonr_string(&reader, &walk->arena, &name)) {
        CHECK(!jsonr_failed(&reader));
        walk->odd = true;
    }
    return name;
}

static json_t *walk_object(struct walk *walk)
{
    json_t *object = json_object();
    struct str raw_name;

    if (jsonr_object_begin(&walk->reader)) {
        while (jsonr_member(&walk->reader, &raw_name)) {
            const char *name = resolve_name(walk, raw_name);
            walk->odd |= json_object_get(object, name) != NULL; /* given twice */
            json_object_set_new(object, name, walk_value(walk));
        }
    }
    return object;
}

static json_t *walk_value(struct walk *walk)
{
    bool boolean = false;

    switch (jsonr_peek(&walk->reader)) {
    case JSONR_OBJECT:
        return walk_object(walk);
    case JSONR_ARRAY:
        return walk_array(walk);
    case JSONR_STRING:
        return walk_string(walk);
    case JSONR_NUMBER:
        return walk_number(walk);
    case JSONR_BOOL:
        return jsonr_bool(&walk->reader, &boolean) ? json_boolean(boolean) : NULL;
    case JSONR_NULL:
        return jsonr_skip(&walk->reader) ? json_null() : NULL;
    case JSONR_NONE:
        break;
    }
    CHECK(!jsonr_skip(&walk->reader));
    return NULL;
}

void check_like_jansson(struct str text)
{
    struct guarded guarded = guarded_copy(text);
    struct walk walk = {0};
    json_error_t problem = {0};

    jsonr_init(&walk.reader, guarded.text);
    json_t *ours = walk_value(&walk);
    bool good = jsonr_at_end(&walk.reader);
    /* A NUL byte is nowhere valid, but jansson overlooks one behind a number. */
    json_t *theirs =
        text.len > 0 && memchr(text.ptr, '\0', text.len)
            ? NULL
            : json_loadb(text.ptr, text.len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &problem);
    /* What is odd gives no common ground to compare on. */
    if (!walk.odd && theirs && (!good || !json_equal(ours, theirs))) {
        fail_msg("jansson reads it, the reader %s: %.*s", good ? "differently" : "does not",
                 (int)text.len, text.ptr);
    }
    if (!walk.odd && !theirs && good) {
        fail_msg("jansson refuses it (%s), the reader does not: %.*s", problem.text, (int)text.len,
                 text.ptr);
    }
    json_decref(ours);
    json_decref(theirs);
    arena_release(&walk.arena);
    auto_release_guarded(&guarded);
}

/* A slow, plain skip to compare with. */

static bool slow_skip_string(struct str text, size_t *at)
{
    for ((*at)++; *at < text.len; (*at)++) {
        if (text.ptr[*at] == '\\') {
            (*at)++;
        } else if (text.ptr[*at] == '"') {
            (*at)++;
            return true;
        }
    }
    return false;
}

/* The containers that are open, innermost last. */
struct stack {
    char open[JSONR_DEPTH_MAX];
    int depth;
};

static bool slow_bracket(struct stack *stack, char byte)
{
    if (byte == '{' || byte == '[') {
        if (stack->depth == JSONR_DEPTH_MAX) {
            return false;
        }
        stack->open[stack->depth++] = byte;
        return true;
    }
    if (stack->depth == 0) {
        return false;
    }
    stack->depth--;
    return stack->open[stack->depth] == (byte == '}' ? '{' : '[');
}

/* Skip the container at *at, by the rules that the header states for skipping. */
static bool slow_skip_container(struct str text, size_t *at)
{
    struct stack stack = {.depth = 0};

    do {
        char byte = text.ptr[*at];
        if (byte == '"') {
            if (!slow_skip_string(text, at)) {
                return false;
            }
            continue;
        }
        if (byte == '\\' || (strchr("{}[]", byte) && byte && !slow_bracket(&stack, byte))) {
            return false;
        }
        (*at)++;
    } while (*at < text.len && stack.depth > 0);
    return stack.depth == 0;
}

void check_skip(struct str text)
{
    AUTO(guarded) struct guarded guarded = guarded_copy(text);
    struct jsonr reader;
    struct str raw = {0};
    size_t end = 0;

    jsonr_init(&reader, guarded.text);
    enum jsonr_type type = jsonr_peek(&reader);
    if (type != JSONR_OBJECT && type != JSONR_ARRAY && type != JSONR_STRING) {
        return;
    }
    size_t start = (size_t)(reader.at - guarded.text.ptr);
    end = start;
    bool good =
        type == JSONR_STRING ? slow_skip_string(text, &end) : slow_skip_container(text, &end);
    if (jsonr_raw(&reader, &raw) != good) {
        fail_msg("skip %s: %.*s", good ? "refuses" : "accepts", (int)text.len, text.ptr);
    }
    CHECK(jsonr_failed(&reader) == !good);
    if (good) {
        CHECK_INT(raw.len, end - start);
        CHECK(raw.ptr == guarded.text.ptr + start);
    }
}
