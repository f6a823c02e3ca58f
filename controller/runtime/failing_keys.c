#include "controller/runtime/failing_keys.h"

#include <pthread.h>
#include <stdlib.h>

#include "controller/base/hash.h"
#include "controller/base/map.h"

struct failing_keys {
    pthread_mutex_t lock;
    struct map hashes; /* of the errors, struct hash128 on the heap */
};

struct failing_keys *failing_keys_new(void)
{
    struct failing_keys *keys = xcalloc(1, sizeof(*keys));
    pthread_mutex_init(&keys->lock, NULL);
    map_init(&keys->hashes);
    return keys;
}

void failing_keys_free(struct failing_keys *keys)
{
    if (!keys) {
        return;
    }
    size_t cursor = 0;
    struct str key;
    void *hash = NULL;
    while (map_next(&keys->hashes, &cursor, &key, &hash)) {
        free(hash);
    }
    map_release(&keys->hashes);
    pthread_mutex_destroy(&keys->lock);
    free(keys);
}

static struct hash128 hash_err(const struct err *err)
{
    AUTO(free) char *text = xasprintf("%s\n%s\n%s", err->reason, err->code, err->message);
    return hash_128(str_from(text));
}

static enum failing_news note_failure(struct failing_keys *keys, struct str key,
                                      const struct err *err)
{
    struct hash128 hash = hash_err(err);
    struct hash128 *known = map_get(&keys->hashes, key);

    if (known && hash128_equal(*known, hash)) {
        return FAILING_AS_BEFORE;
    }
    if (!known) {
        known = xmalloc(sizeof(*known));
        (void)map_put(&keys->hashes, key, known);
    }
    *known = hash;
    return FAILING_NEW;
}

enum failing_news failing_keys_note(struct failing_keys *keys, const char *key,
                                    const struct err *err)
{
    enum failing_news news = FAILING_NO_NEWS;
    pthread_mutex_lock(&keys->lock);
    if (err) {
        news = note_failure(keys, str_from(key), err);
    } else if (keys->hashes.count > 0) {
        void *hash = map_remove(&keys->hashes, str_from(key));
        news = hash ? FAILING_ENDED : FAILING_NO_NEWS;
        free(hash);
    }
    pthread_mutex_unlock(&keys->lock);
    return news;
}
