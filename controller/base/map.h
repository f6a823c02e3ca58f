/* A hash table from text to pointer, open addressing. Not thread-safe. Keys are copied. */
#ifndef TENANTRY_BASE_MAP_H
#define TENANTRY_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>

#include "controller/base/str.h"

struct map_slot;

struct map {
    struct map_slot *slots;
    size_t capacity; /* a power of two, or 0 */
    size_t count;
    size_t tombstones;
};

void map_init(struct map *map);
/* Frees the table and keys, never the values. */
void map_release(struct map *map);

/* NULL when absent. */
void *map_get(const struct map *map, struct str key);
bool map_has(const struct map *map, struct str key);
/* Returns the value that stood there before, or NULL. value may not be NULL. */
void *map_put(struct map *map, struct str key, void *value);
/* Returns the value removed, or NULL. */
void *map_remove(struct map *map, struct str key);

/* Walk all entries in no order: start with *cursor = 0; false at the end. The current entry may be
 * removed during the walk; nothing may be added. The key stays valid until its entry is removed. */
bool map_next(const struct map *map, size_t *cursor, struct str *ret_key, void **ret_value);

#endif
