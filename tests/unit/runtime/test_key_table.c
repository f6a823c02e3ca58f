#include <stdio.h>
#include <stdlib.h>

#include "controller/base/attributes.h"
#include "controller/base/hash.h"
#include "controller/base/map.h"
#include "controller/runtime/key_table.h"
#include "tests/check.h"

struct item {
    int value;
    char key[32];
};

static struct str key_of(const void *item)
{
    return str_from(((const struct item *)item)->key);
}

static struct item *new_item(int number, int value)
{
    struct item *item = xcalloc(1, sizeof(*item));
    (void)snprintf(item->key, sizeof(item->key), "k%d", number);
    item->value = value;
    return item;
}

static void an_empty_table_finds_nothing(void **state)
{
    (void)state;
    struct key_table table;
    size_t cursor = 0;
    key_table_init(&table, key_of);
    CHECK_NULL(key_table_get(&table, STR("a")));
    CHECK_NULL(key_table_remove(&table, STR("a")));
    CHECK_NULL(key_table_next(&table, &cursor));
    key_table_release(&table);
}

static void a_put_of_the_same_key_gives_the_old_item_back(void **state)
{
    (void)state;
    struct key_table table;
    struct item *first = new_item(1, 10);
    struct item *second = new_item(1, 20);
    key_table_init(&table, key_of);
    CHECK_NULL(key_table_put(&table, first));
    CHECK(key_table_put(&table, second) == first);
    CHECK_INT(table.count, 1);
    CHECK(key_table_get(&table, STR("k1")) == second);
    free(first);
    free(second);
    key_table_release(&table);
}

/* Beside a map that is known to be right: the same answers through any mixture of operations. */
static void it_agrees_with_a_map_through_random_operations(void **state)
{
    (void)state;
    enum { NUMBERS = 700, ROUNDS = 200000 };
    struct key_table table;
    struct map model;
    uint32_t random = 12345;
    key_table_init(&table, key_of);
    map_init(&model);

    for (int round = 0; round < ROUNDS; round++) {
        random = random * 1664525U + 1013904223U;
        int number = (int)((random >> 8) % NUMBERS);
        /* Phases of growth and of shrinking, so that both kinds of resizing happen. */
        bool puts = (random >> 24) % 10 < (round / 20000 % 2 ? 2U : 8U);
        char key[32];
        (void)snprintf(key, sizeof(key), "k%d", number);
        if (puts) {
            struct item *item = new_item(number, round);
            void *before = key_table_put(&table, item);
            CHECK(before == map_put(&model, str_from(key), item));
            free(before);
        } else {
            void *removed = key_table_remove(&table, str_from(key));
            CHECK(removed == map_remove(&model, str_from(key)));
            free(removed);
        }
        random = random * 1664525U + 1013904223U;
        (void)snprintf(key, sizeof(key), "k%d", (int)((random >> 8) % NUMBERS));
        CHECK(key_table_get(&table, str_from(key)) == map_get(&model, str_from(key)));
        CHECK_INT(table.count, model.count);
    }
    size_t cursor = 0;
    size_t seen = 0;
    for (struct item *item; (item = key_table_next(&table, &cursor));) {
        CHECK(map_remove(&model, str_from(item->key)) == item);
        free(item);
        seen++;
    }
    CHECK_INT(seen, table.count);
    CHECK_INT(model.count, 0);
    key_table_release(&table);
    map_release(&model);
}

static void memory_shrinks_with_the_content(void **state)
{
    (void)state;
    struct key_table table;
    key_table_init(&table, key_of);
    for (int i = 0; i < 10000; i++) {
        (void)key_table_put(&table, new_item(i, i));
    }
    size_t full_bytes = key_table_bytes(&table);
    CHECK(full_bytes <= sizeof(void *) * 10000 * 3); /* at least a third full after doubling */
    for (int i = 0; i < 10000; i++) {
        char key[32];
        (void)snprintf(key, sizeof(key), "k%d", i);
        free(key_table_remove(&table, str_from(key)));
    }
    CHECK(key_table_bytes(&table) < full_bytes / 100);
    key_table_release(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_table_finds_nothing),
        cmocka_unit_test(a_put_of_the_same_key_gives_the_old_item_back),
        cmocka_unit_test(it_agrees_with_a_map_through_random_operations),
        cmocka_unit_test(memory_shrinks_with_the_content),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
