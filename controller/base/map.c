/* Linear probing. A removed entry leaves a tombstone, so that a probe walks on and a walk with
 * map_next may remove what it stands on; tombstones go when the table is rebuilt. The hash is kept
 * in the slot: most foreign keys are told apart, and the table rebuilt, without touching a key. */
#include "controller/base/map.h"

#include "controller/base/hash.h"

enum { FIRST_CAPACITY = 8 };

struct map_slot {
    char *key;   /* NULL: free or tombstone; NUL-ended for a debugger's eyes */
    void *value; /* &tombstone in a tombstone */
    size_t key_len;
    uint64_t hash;
};

static char tombstone;

static bool is_free(const struct map_slot *slot)
{
    return !slot->key && !slot->value;
}

void map_init(struct map *map)
{
    *map = (struct map){0};
}

void map_release(struct map *map)
{
    for (size_t i = 0; i < map->capacity; i++) {
        free(map->slots[i].key);
    }
    free(map->slots);
    *map = (struct map){0};
}

static bool slot_holds(const struct map_slot *slot, struct str key, uint64_t hash)
{
    return slot->key && slot->hash == hash &&
           str_equal((struct str){slot->key, slot->key_len}, key);
}

static struct map_slot *find(const struct map *map, struct str key, uint64_t hash)
{
    /* The load limit keeps a free slot in every table, so the probe ends. */
    for (size_t i = hash; map->capacity > 0; i++) {
        struct map_slot *slot = &map->slots[i & (map->capacity - 1)];
        if (is_free(slot)) {
            break;
        }
        if (slot_holds(slot, key, hash)) {
            return slot;
        }
    }
    return NULL;
}

void *map_get(const struct map *map, struct str key)
{
    struct map_slot *slot = map->count > 0 ? find(map, key, hash_table64(key)) : NULL;

    return slot ? slot->value : NULL;
}

bool map_has(const struct map *map, struct str key)
{
    return map_get(map, key) != NULL;
}

/* The first slot on the key's probe that holds no key. */
static struct map_slot *vacant(const struct map *map, uint64_t hash)
{
    size_t i = hash;

    while (map->slots[i & (map->capacity - 1)].key) {
        i++;
    }
    return &map->slots[i & (map->capacity - 1)];
}

/* Rebuild at a capacity at least twice what is held, without tombstones. */
static void rebuild(struct map *map)
{
    struct map fresh = {.capacity = FIRST_CAPACITY, .count = map->count};

    while (fresh.capacity < 2 * (map->count + 1)) {
        fresh.capacity *= 2;
    }
    fresh.slots = xcalloc(fresh.capacity, sizeof(*fresh.slots));
    for (size_t i = 0; i < map->capacity; i++) {
        if (map->slots[i].key) {
            *vacant(&fresh, map->slots[i].hash) = map->slots[i];
        }
    }
    free(map->slots);
    *map = fresh;
}

void *map_put(struct map *map, struct str key, void *value)
{
    uint64_t hash = hash_table64(key);
    struct map_slot *slot = find(map, key, hash);

    if (slot) {
        void *before = slot->value;
        slot->value = value;
        return before;
    }
    if ((map->count + map->tombstones + 1) * 4 > map->capacity * 3) {
        rebuild(map);
    }
    slot = vacant(map, hash);
    map->tombstones -= is_free(slot) ? 0 : 1;
    *slot = (struct map_slot){
        .key = xmemdup0(key.ptr, key.len), .value = value, .key_len = key.len, .hash = hash};
    map->count++;
    return NULL;
}

void *map_remove(struct map *map, struct str key)
{
    struct map_slot *slot = map->count > 0 ? find(map, key, hash_table64(key)) : NULL;

    if (!slot) {
        return NULL;
    }
    void *value = slot->value;
    free(slot->key);
    *slot = (struct map_slot){.value = &tombstone};
    map->count--;
    map->tombstones++;
    return value;
}

bool map_next(const struct map *map, size_t *cursor, struct str *ret_key, void **ret_value)
{
    while (*cursor < map->capacity) {
        const struct map_slot *slot = &map->slots[(*cursor)++];
        if (slot->key) {
            *ret_key = (struct str){slot->key, slot->key_len};
            *ret_value = slot->value;
            return true;
        }
    }
    return false;
}
