/* A hash table of items that carry their own key: one pointer a slot, so that a hundred thousand
 * records cost little beside themselves. Not thread-safe; owns no item. */
#ifndef TENANTRY_RUNTIME_KEY_TABLE_H
#define TENANTRY_RUNTIME_KEY_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "controller/base/str.h"

struct key_table {
    struct str (*key_of)(const void *item);
    void **slots;
    size_t capacity; /* a power of two, or 0 */
    size_t count;
};

void key_table_init(struct key_table *table, struct str (*key_of)(const void *item));
/* Frees the table, never the items. */
void key_table_release(struct key_table *table);

/* NULL when absent. */
void *key_table_get(const struct key_table *table, struct str key);
/* Returns the item of the same key that it takes the place of, or NULL. */
void *key_table_put(struct key_table *table, void *item);
/* Returns the item removed, or NULL. */
void *key_table_remove(struct key_table *table, struct str key);

/* Walk all items in no order: start with *cursor = 0; NULL at the end. Meanwhile an item may take
 * the place of another with the same key; nothing else may change. */
void *key_table_next(const struct key_table *table, size_t *cursor);

size_t key_table_bytes(const struct key_table *table);

#endif
