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

static bool note(struct hot_key *slot, uint64_t hash, bool failed, int64_t now_ms)
{
    bool expired = now_ms - slot->begun_ms > HOT_KEYS_WINDOW_MS;

    if (slot->hash != hash) {
        /* Whoever counts there keeps the place as long as its window lasts; a warning's minute is
         * not worth keeping another key out. */
        if (slot->hash != 0 && !expired) {
            return false;
        }
        *slot = (struct hot_key){.hash = hash, .begun_ms = now_ms};
    } else if (expired || failed) {
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
    bool warn = note(&keys->slots[hash % HOT_KEYS_SLOTS], hash, failed, now_ms);
    pthread_mutex_unlock(&keys->lock);
    return warn;
}
