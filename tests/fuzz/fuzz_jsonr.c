/* Any bytes through the JSON reader: it reads what jansson reads and refuses what jansson refuses,
 * what it can read it can also skip, and it stays inside of the text (which libFuzzer puts into
 * memory of its exact size). */
#include "controller/base/jsonr.h"

#include "tests/fuzz/fuzz.h"

#include <jansson.h>
#include <string.h>

struct walk {
    struct jsonr reader;
    struct arena arena;
    bool odd; /* valid JSON that a C string or jansson cannot hold */
};

static void walk_value(struct walk *walk);

static void walk_object(struct walk *walk)
{
    struct str name;

    if (!jsonr_object_begin(&walk->reader)) {
        return;
    }
    while (jsonr_member(&walk->reader, &name)) {
        /* jansson resolves names too, and refuses those that a C string cannot hold. */
        walk->odd |= name.len > 0 && memmem(name.ptr, name.len, "\\u", 2) != NULL;
        walk_value(walk);
    }
}

static void walk_array(struct walk *walk)
{
    if (!jsonr_array_begin(&walk->reader)) {
        return;
    }
    while (jsonr_element(&walk->reader)) {
        walk_value(walk);
    }
}

static void walk_value(struct walk *walk)
{
    const char *text = NULL;
    int64_t integer = 0;
    bool boolean = false;

    switch (jsonr_peek(&walk->reader)) {
    case JSONR_OBJECT:
        walk_object(walk);
        return;
    case JSONR_ARRAY:
        walk_array(walk);
        return;
    case JSONR_STRING:
        walk->odd |=
            !jsonr_string(&walk->reader, &walk->arena, &text) && !jsonr_failed(&walk->reader);
        return;
    case JSONR_NUMBER: /* jansson refuses numbers that are too large for it */
        walk->odd |= !jsonr_int64(&walk->reader, &integer) && !jsonr_failed(&walk->reader);
        return;
    case JSONR_BOOL:
        (void)jsonr_bool(&walk->reader, &boolean);
        return;
    case JSONR_NULL:
    case JSONR_NONE:
        break;
    }
    (void)jsonr_skip(&walk->reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct str text = {(const char *)data, size};
    struct walk walk = {0};
    struct jsonr skipper;

    jsonr_init(&walk.reader, text);
    walk_value(&walk);
    FUZZ_CHECK(size == 0 || (walk.reader.at >= text.ptr && walk.reader.at <= text.ptr + size));
    bool good = jsonr_at_end(&walk.reader);
    arena_release(&walk.arena);

    jsonr_init(&skipper, text);
    bool skipped = jsonr_skip(&skipper);
    FUZZ_CHECK(size == 0 || (skipper.at >= text.ptr && skipper.at <= text.ptr + size));
    FUZZ_CHECK(!good || (skipped && jsonr_at_end(&skipper)));

    json_t *tree = json_loadb((const char *)data, size, JSON_DECODE_ANY, NULL);
    /* jansson nests deeper, and overlooks a NUL byte behind a number. */
    bool comparable = !walk.odd && skipped && size > 0 && !memchr(data, '\0', size);
    FUZZ_CHECK(!comparable || good == (tree != NULL));
    json_decref(tree);
    return 0;
}
