/* One table reads, packs and unpacks: what comes back is what went in, for whatever values. */
#include "tests/check.h"

#include <stddef.h>

#include "controller/base/clock.h"
#include "controller/runtime/condition.h"
#include "controller/runtime/fields.h"

enum color { COLOR_NONE, COLOR_RED, COLOR_BLUE };
static const char *const color_words[] = {"", "Red", "Blue", NULL};

struct pair {
    const char *name;
    const char *value;
};
struct number {
    const char *name;
    int64_t value;
};
struct child {
    const char *name;
    enum color color;
    const char *const *tags;
    size_t tag_count;
};
struct thing {
    const char *text;
    int64_t integer;
    bool flag;
    enum color color;
    int64_t period_ms;
    const char *inner;
    const struct child *children;
    size_t child_count;
    const struct pair *pairs;
    size_t pair_count;
    const struct number *numbers;
    size_t number_count;
    struct condition_set conditions;
};

static const struct field child_fields[] = {
    {.name = "name", .kind = FIELD_TEXT, .offset = offsetof(struct child, name)},
    {.name = "color",
     .kind = FIELD_ENUM,
     .offset = offsetof(struct child, color),
     .words = color_words},
    {.name = "tags",
     .kind = FIELD_TEXTS,
     .offset = offsetof(struct child, tags),
     .count_offset = offsetof(struct child, tag_count)},
    {.name = NULL},
};
static const struct field inner_fields[] = {
    {.name = "inner", .kind = FIELD_TEXT, .offset = offsetof(struct thing, inner)},
    {.name = NULL},
};
static const struct field thing_fields[] = {
    {.name = "text", .kind = FIELD_TEXT, .offset = offsetof(struct thing, text)},
    {.name = "integer", .kind = FIELD_INT, .offset = offsetof(struct thing, integer)},
    {.name = "flag", .kind = FIELD_BOOL, .offset = offsetof(struct thing, flag)},
    {.name = "color",
     .kind = FIELD_ENUM,
     .offset = offsetof(struct thing, color),
     .words = color_words},
    {.name = "period", .kind = FIELD_DURATION, .offset = offsetof(struct thing, period_ms)},
    {.name = "nested", .kind = FIELD_OBJECT, .fields = inner_fields},
    {.name = "children",
     .kind = FIELD_OBJECTS,
     .offset = offsetof(struct thing, children),
     .count_offset = offsetof(struct thing, child_count),
     .element_bytes = sizeof(struct child),
     .fields = child_fields},
    {.name = "pairs",
     .kind = FIELD_TEXT_MAP,
     .offset = offsetof(struct thing, pairs),
     .count_offset = offsetof(struct thing, pair_count)},
    {.name = "numbers",
     .kind = FIELD_INT_MAP,
     .offset = offsetof(struct thing, numbers),
     .count_offset = offsetof(struct thing, number_count)},
    {.name = "conditions", .kind = FIELD_CONDITIONS, .offset = offsetof(struct thing, conditions)},
    {.name = NULL},
};
static const char *const words[] = {"Ready", "known", NULL};
static struct dictionary dictionary = DICTIONARY(words);

static const char whole[] =
    "{\"text\":\"a\\u00e4\\n\",\"integer\":-9223372036854775808,\"flag\":true,\"color\":\"Blue\","
    "\"period\":\"1h1m\",\"nested\":{\"inner\":\"known\",\"other\":[{}]},\"ignored\":{\"text\":"
    "\"x\"},"
    "\"children\":[{\"name\":\"one\",\"tags\":[\"t1\",\"t\\\"2\"]},{\"color\":\"Red\"}],"
    "\"pairs\":{\"k\\\"1\":\"v1\",\"k2\":\"known\"},\"numbers\":{\"n\":9223372036854775807},"
    "\"conditions\":[{\"type\":\"Ready\",\"status\":\"True\",\"reason\":\"R\",\"message\":\"m\","
    "\"observedGeneration\":7,\"lastTransitionTime\":\"2026-01-02T03:04:05Z\"}]}";

static void check_whole(const struct thing *thing)
{
    CHECK_TEXT(thing->text, "a\xc3\xa4\n");
    CHECK(thing->integer == INT64_MIN);
    CHECK(thing->flag);
    CHECK_INT(thing->color, COLOR_BLUE);
    CHECK_INT(thing->period_ms, 3660000);
    CHECK_TEXT(thing->inner, "known");
    CHECK_INT(thing->child_count, 2);
    CHECK_TEXT(thing->children[0].name, "one");
    CHECK_INT(thing->children[0].color, COLOR_NONE);
    CHECK_INT(thing->children[0].tag_count, 2);
    CHECK_TEXT(thing->children[0].tags[1], "t\"2");
    CHECK_TEXT(thing->children[1].name, "");
    CHECK_INT(thing->children[1].color, COLOR_RED);
    CHECK_INT(thing->pair_count, 2);
    CHECK_TEXT(thing->pairs[0].name, "k\"1");
    CHECK_TEXT(thing->pairs[1].value, "known");
    CHECK_INT(thing->number_count, 1);
    CHECK(thing->numbers[0].value == INT64_MAX);
    CHECK_INT(thing->conditions.count, 1);
    CHECK_INT(thing->conditions.items[0].observed_generation, 7);
    CHECK(condition_is_true(&thing->conditions, "Ready"));
}

static void what_is_packed_comes_back(void **state)
{
    (void)state;
    AUTO(arena) struct arena arena = {0};
    AUTO(buf) struct buf packed = BUF(4096);
    struct thing read = {0};
    struct thing back = {0};
    struct jsonr reader;

    arena_init(&arena, 0);
    jsonr_init(&reader, str_from(whole));
    CHECK(fields_read(&reader, &arena, thing_fields, &read));
    fields_default(thing_fields, &read);
    check_whole(&read);
    fields_pack(thing_fields, &dictionary, &read, &packed);
    fields_unpack(thing_fields, &dictionary, buf_str(&packed), &arena, &back);
    check_whole(&back);
}

static void nothing_is_packed_small(void **state)
{
    (void)state;
    AUTO(arena) struct arena arena = {0};
    AUTO(buf) struct buf packed = BUF(4096);
    struct thing empty = {0};
    struct thing back;

    arena_init(&arena, 0);
    fields_default(thing_fields, &empty);
    fields_pack(thing_fields, &dictionary, &empty, &packed);
    CHECK_INT(packed.len, 10); /* one byte a field */
    fields_unpack(thing_fields, &dictionary, buf_str(&packed), &arena, &back);
    CHECK_TEXT(back.text, "");
    CHECK_INT(back.child_count, 0);
}

/* Cut a valid text anywhere and change any byte: the reader says no or yields something, and never
 * reads past the end (which the sanitizers watch). */
static void damaged_json_does_no_harm(void **state)
{
    (void)state;
    size_t length = sizeof(whole) - 1;
    for (size_t cut = 0; cut < length; cut++) {
        AUTO(arena) struct arena arena = {0};
        AUTO(free) char *copy = xmemdup0(whole, cut);
        struct thing thing = {0};
        struct jsonr reader;
        arena_init(&arena, 0);
        jsonr_init(&reader, (struct str){copy, cut});
        CHECK(!fields_read(&reader, &arena, thing_fields, &thing));
    }
    for (size_t at = 0; at < length; at++) {
        AUTO(arena) struct arena arena = {0};
        AUTO(free) char *copy = xmemdup0(whole, length);
        struct thing thing = {0};
        struct jsonr reader;
        copy[at] = (char)(copy[at] ^ (1 << clock_jitter_ms(7)));
        arena_init(&arena, 0);
        jsonr_init(&reader, (struct str){copy, length});
        (void)fields_read(&reader, &arena, thing_fields, &thing);
    }
}

/* Each word is found, and what is nearly one is not. */
static void a_dictionary_knows_its_words_alone(void **state)
{
    static const char *const many[] = {"a",  "b",  "ab", "ba",  "aa",    "bb",    "aba", "bab",
                                       "cc", "aZ", "Za", "a b", "Ready", "Reedy", "R",   NULL};
    static struct dictionary filled = DICTIONARY(many);

    (void)state;
    for (int i = 0; many[i]; i++) {
        AUTO(free) char *longer = xasprintf("%sx", many[i]);
        CHECK_INT(dictionary_find(&filled, str_from(many[i])), i);
        CHECK_TEXT(dictionary_word(&filled, (uint64_t)i), many[i]);
        CHECK_INT(dictionary_find(&filled, str_from(longer)), -1);
    }
    CHECK_INT(dictionary_find(&filled, STR("")), -1);
    CHECK_INT(dictionary_find(&filled, STR("Raedy")), -1); /* same length, same ends */
    CHECK(!dictionary_word(&filled, 15));
    CHECK(!dictionary_word(&filled, UINT64_MAX));
}

static void long_lists_are_capped(void **state)
{
    (void)state;
    AUTO(arena) struct arena arena = {0};
    AUTO(buf) struct buf json = BUF(1UL << 20);
    struct child child = {0};
    struct jsonr reader;

    (void)buf_append_text(&json, "{\"tags\":[\"x\"");
    for (int i = 0; i < FIELDS_LIST_MAX + 10; i++) {
        (void)buf_append_text(&json, ",\"x\"");
    }
    (void)buf_append_text(&json, "],\"name\":\"after\"}");
    arena_init(&arena, 0);
    jsonr_init(&reader, buf_str(&json));
    CHECK(fields_read(&reader, &arena, child_fields, &child));
    CHECK_INT(child.tag_count, FIELDS_LIST_MAX);
    CHECK_TEXT(child.name, "after");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_packed_comes_back),
        cmocka_unit_test(nothing_is_packed_small),
        cmocka_unit_test(damaged_json_does_no_harm),
        cmocka_unit_test(a_dictionary_knows_its_words_alone),
        cmocka_unit_test(long_lists_are_capped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
