#include "controller/runtime/hot_keys.h"

#include <string.h>

#include "controller/base/hash.h"
#include "controller/base/str.h"

void hot_keys_init(struct hot_keys *keys)
{
    memset(keys->slots, 0, sizeof(keys->slots));
    pthread_mutex_init(&keys->lock, NULL);
}

void hot_keys_release(struct hot_keys *keys)
{
    pthread_mutex_destroy(&keys->lock);
}

enum { SET_SLOTS = 8 }; /* where a key may stand, from its hash on */

/* The key's slot: its own, else the one that is missed least, which the key then takes. */
static struct hot_key *slot_of(struct hot_keys *keys, uint64_t hash, int64_t now_ms)
{
    struct hot_key *set = &keys->slots[hash % (HOT_KEYS_SLOTS / SET_SLOTS) * SET_SLOTS];
    struct hot_key *coldest = &set[0];
    for (struct hot_key *slot = set; slot < set + SET_SLOTS; slot++) {
        if (slot->hash == hash) {
            return slot;
        }
        if (now_ms - slot->begun_ms > HOT_KEYS_WINDOW_MS) {
            slot->count = 0;
        }
        if (slot->count < coldest->count) {
            coldest = slot;
        }
    }
    *coldest = (struct hot_key){.hash = hash, .begun_ms = now_ms};
    return coldest;
}

static bool note(struct hot_key *slot, bool failed, int64_t now_ms)
{
    if (failed || now_ms - slot->begun_ms > HOT_KEYS_WINDOW_MS) {
        slot->begun_ms = now_ms;
        slot->count = 0;
    }
    if (failed) {
        return false; /* backoff slows it down, and its error is logged */
    }
    slot->count++;
    if (slot->count <= HOT_KEYS_LIMIT ||
        (slot->warned_ms != 0 && now_ms - slot->warned_ms < HOT_KEYS_WARN_EVERY_MS)) {
        return false;
    }
    slot->warned_ms = now_ms;
    return true;
}

bool hot_keys_note(struct hot_keys *keys, const char *key, bool failed, int64_t now_ms)
{
    uint64_t hash = hash_table64(str_from(key));
    hash = hash ? hash : 1;
    pthread_mutex_lock(&keys->lock);
    bool warn = note(slot_of(keys, hash, now_ms), failed, now_ms);
    pthread_mutex_unlock(&keys->lock);
    return warn;
}
