#include "controller/base/map.h"

#include "controller/base/buf.h"
#include "tests/check.h"

#include <stdio.h>

static int one, two;

static void an_empty_map_answers(void **state)
{
    struct map map = {0};
    size_t cursor = 0;
    struct str key;
    void *value = NULL;
    (void)state;

    CHECK_NULL(map_get(&map, STR("x")));
    CHECK(!map_has(&map, STR("x")));
    CHECK_NULL(map_remove(&map, STR("x")));
    CHECK(!map_next(&map, &cursor, &key, &value));
    map_release(&map);
}

static void put_replaces_and_remove_returns(void **state)
{
    struct map map;
    char key[] = "key";
    (void)state;

    map_init(&map);
    CHECK_NULL(map_put(&map, str_from(key), &one));
    key[0] = 'X'; /* the key was copied */
    CHECK(map_get(&map, STR("key")) == &one);
    CHECK(map_put(&map, STR("key"), &two) == &one);
    CHECK_INT(map.count, 1);
    CHECK(map_remove(&map, STR("key")) == &two);
    CHECK_NULL(map_remove(&map, STR("key")));
    CHECK_INT(map.count, 0);
    map_release(&map);
}

static void keys_are_bytes_of_any_length(void **state)
{
    struct map map = {0};
    (void)state;

    map_put(&map, STR(""), &one);
    map_put(&map, STR("a\0b"), &two);
    CHECK(map_get(&map, (struct str){0}) == &one);
    CHECK(map_get(&map, STR("a\0b")) == &two);
    CHECK(!map_has(&map, STR("a")));
    CHECK(!map_has(&map, STR("a\0c")));
    map_release(&map);
}

enum { KEYS = 500 };

static struct str name_of(size_t number, char text[16])
{
    int length = snprintf(text, 16, "key-%zu", number);

    return (struct str){text, (size_t)length};
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Compare everything with a plain array. */
static void check_against(const struct map *map, int *const model[KEYS])
{
    char text[16];
    size_t expected = 0;
    size_t walked = 0;
    size_t cursor = 0;
    struct str key;
    void *value = NULL;

    for (size_t i = 0; i < KEYS; i++) {
        CHECK(map_get(map, name_of(i, text)) == model[i]);
        expected += model[i] ? 1 : 0;
    }
    while (map_next(map, &cursor, &key, &value)) {
        CHECK(map_get(map, key) == value);
        walked++;
    }
    CHECK_INT(walked, expected);
    CHECK_INT(map->count, expected);
}

static void random_use_equals_a_plain_array(void **state)
{
    static int values[KEYS];
    int *model[KEYS] = {0};
    struct map map = {0};
    uint64_t random = 88172645463325252U;
    char text[16];
    (void)state;

    for (int step = 0; step < 40000; step++) {
        /* The range grows and shrinks, so that tombstones pile up and tables are rebuilt. */
        size_t range = 1 + (size_t)(step / 100) % KEYS;
        size_t i = next_random(&random) % range;
        if (next_random(&random) % 2) {
            int *value = &values[next_random(&random) % KEYS];
            CHECK(map_put(&map, name_of(i, text), value) == model[i]);
            model[i] = value;
        } else {
            CHECK(map_remove(&map, name_of(i, text)) == model[i]);
            model[i] = NULL;
        }
        if (step % 1000 == 0) {
            check_against(&map, model);
        }
    }
    check_against(&map, model);
    map_release(&map);
}

static void coming_and_going_does_not_grow_the_table(void **state)
{
    struct map map = {0};
    char text[16];
    (void)state;

    for (size_t i = 0; i < 100000; i++) {
        map_put(&map, name_of(i, text), &one);
        CHECK(map_remove(&map, name_of(i, text)) == &one);
    }
    CHECK(map.capacity <= 16);
    map_release(&map);
}

static void the_current_entry_may_go_during_a_walk(void **state)
{
    struct map map = {0};
    char text[16];
    size_t cursor = 0;
    size_t walked = 0;
    struct str key;
    void *value = NULL;
    (void)state;

    for (size_t i = 0; i < KEYS; i++) {
        map_put(&map, name_of(i, text), &one);
    }
    while (map_next(&map, &cursor, &key, &value)) {
        CHECK(map_remove(&map, key) == &one);
        walked++;
    }
    CHECK_INT(walked, KEYS);
    CHECK_INT(map.count, 0);
    map_release(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_map_answers),
        cmocka_unit_test(put_replaces_and_remove_returns),
        cmocka_unit_test(keys_are_bytes_of_any_length),
        cmocka_unit_test(random_use_equals_a_plain_array),
        cmocka_unit_test(coming_and_going_does_not_grow_the_table),
        cmocka_unit_test(the_current_entry_may_go_during_a_walk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
