/* Linear probing, at most three quarters full. A removal moves later items of the run back into the
 * gap, so there are no tombstones to clean up and a table that churns for months stays as fast as
 * new. */
#include "controller/runtime/key_table.h"

#include "controller/base/attributes.h"
#include "controller/base/hash.h"

enum { CAPACITY_MIN = 16 };

void key_table_init(struct key_table *table, struct str (*key_of)(const void *item))
{
    *table = (struct key_table){.key_of = key_of};
}

void key_table_release(struct key_table *table)
{
    free(table->slots);
    table->slots = NULL;
    table->capacity = 0;
    table->count = 0;
}

static size_t home_of(const struct key_table *table, struct str key)
{
    return (size_t)hash_table64(key) & (table->capacity - 1);
}

/* The slot that holds the key, or the empty one where it would go. */
static size_t find_slot(const struct key_table *table, struct str key)
{
    size_t slot = home_of(table, key);
    while (table->slots[slot] && !str_equal(table->key_of(table->slots[slot]), key)) {
        slot = (slot + 1) & (table->capacity - 1);
    }
    return slot;
}

static void resize(struct key_table *table, size_t capacity)
{
    void **old = table->slots;
    size_t old_capacity = table->capacity;
    table->slots = xcalloc(capacity, sizeof(*table->slots));
    table->capacity = capacity;
    for (size_t i = 0; i < old_capacity; i++) {
        if (old[i]) {
            table->slots[find_slot(table, table->key_of(old[i]))] = old[i];
        }
    }
    free(old);
}

void *key_table_get(const struct key_table *table, struct str key)
{
    return table->count ? table->slots[find_slot(table, key)] : NULL;
}

void *key_table_put(struct key_table *table, void *item)
{
    struct str key = table->key_of(item);
    void *before = key_table_get(table, key);

    if (!before) {
        table->count++;
        if (table->count > table->capacity / 4 * 3) {
            resize(table, table->capacity ? table->capacity * 2 : CAPACITY_MIN);
        }
    }
    table->slots[find_slot(table, key)] = item;
    return before;
}

static void close_gap(struct key_table *table, size_t gap)
{
    size_t mask = table->capacity - 1;
    for (size_t slot = (gap + 1) & mask; table->slots[slot]; slot = (slot + 1) & mask) {
        size_t home = home_of(table, table->key_of(table->slots[slot]));
        /* It may move back only if its home does not lie between the gap and where it is. */
        if (((slot - home) & mask) >= ((slot - gap) & mask)) {
            table->slots[gap] = table->slots[slot];
            gap = slot;
        }
    }
    table->slots[gap] = NULL;
}

void *key_table_remove(struct key_table *table, struct str key)
{
    if (table->count == 0) {
        return NULL;
    }
    size_t slot = find_slot(table, key);
    void *item = table->slots[slot];
    if (!item) {
        return NULL;
    }
    close_gap(table, slot);
    table->count--;
    if (table->capacity > CAPACITY_MIN && table->count < table->capacity / 8) {
        resize(table, table->capacity / 2);
    }
    return item;
}

void *key_table_next(const struct key_table *table, size_t *cursor)
{
    while (*cursor < table->capacity) {
        void *item = table->slots[(*cursor)++];
        if (item) {
            return item;
        }
    }
    return NULL;
}

size_t key_table_bytes(const struct key_table *table)
{
    return table->capacity * sizeof(*table->slots);
}
