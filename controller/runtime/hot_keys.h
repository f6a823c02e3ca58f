/* Finds keys that are reconciled over and over though nothing fails: the mark of a controller whose
 * own writes wake it again, or of two that fight. Of fixed size: under many keys at once it may
 * miss one, but one that loops comes back. Thread-safe. */
#ifndef TENANTRY_RUNTIME_HOT_KEYS_H
#define TENANTRY_RUNTIME_HOT_KEYS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum {
    HOT_KEYS_SLOTS = 256,
    HOT_KEYS_WINDOW_MS = 10000,
    HOT_KEYS_LIMIT = 20, /* more than that many in a window */
    HOT_KEYS_WARN_EVERY_MS = 60000,
};

struct hot_key {
    uint64_t hash; /* 0: free */
    int64_t begun_ms;
    int64_t warned_ms; /* 0: never */
    int count;
};

struct hot_keys {
    pthread_mutex_t lock;
    struct hot_key slots[HOT_KEYS_SLOTS];
};

void hot_keys_init(struct hot_keys *keys);
void hot_keys_release(struct hot_keys *keys);

/* The key was reconciled. True when it is time to warn: at most once a minute and key. */
bool hot_keys_note(struct hot_keys *keys, const char *key, bool failed, int64_t now_ms);

#endif
