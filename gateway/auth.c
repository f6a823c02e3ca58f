/* Two caches of the same make, set-associative: the digest chooses a set of WAYS entries, in which
 * the one that ends first makes room. A set is looked at under the lock of its stripe, for some
 * tens of nanoseconds. */
#include "gateway/auth.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "controller/base/clock.h"

enum { WAYS = 8, STRIPES = 64, KNOWN_SETS = 8192, REFUSED_SETS = 2048, DOUBTFUL_MS = 300 };

struct entry {
    unsigned char digest[SHA256_BYTES];
    char tenant_id[UUID_TEXT_BYTES];
    struct principal principal;
    int64_t until_ms; /* 0: empty */
    bool renewing;    /* somebody was told to look it up again */
};

struct cache {
    struct entry *entries;
    size_t set_count; /* a power of two */
    struct stripe {
        _Alignas(64) pthread_mutex_t lock;
    } stripes[STRIPES];
};

struct auth {
    _Atomic uint64_t epoch;
    struct cache known;
    struct cache refused;
};

struct auth_hasher {
    EVP_MD *sha256; /* fetched once: doing so for each digest costs more than the digest */
    EVP_MD_CTX *context;
};

struct auth_hasher *auth_hasher_new(void)
{
    struct auth_hasher *hasher = xcalloc(1, sizeof(*hasher));

    hasher->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    hasher->context = EVP_MD_CTX_new();
    if (!hasher->sha256 || !hasher->context) {
        out_of_memory();
    }
    return hasher;
}

void auth_hasher_free(struct auth_hasher *hasher)
{
    if (hasher) {
        EVP_MD_CTX_free(hasher->context);
        EVP_MD_free(hasher->sha256);
        free(hasher);
    }
}

void auth_digest(struct auth_hasher *hasher, struct str token, unsigned char ret[SHA256_BYTES])
{
    if (EVP_DigestInit_ex2(hasher->context, hasher->sha256, NULL) != 1 ||
        EVP_DigestUpdate(hasher->context, token.ptr, token.len) != 1 ||
        EVP_DigestFinal_ex(hasher->context, ret, NULL) != 1) {
        out_of_memory();
    }
}

/* ---- one cache ---- */

static void cache_init(struct cache *cache, size_t set_count)
{
    cache->set_count = set_count;
    cache->entries = xcalloc(set_count * WAYS, sizeof(*cache->entries));
    for (size_t i = 0; i < STRIPES; i++) {
        pthread_mutex_init(&cache->stripes[i].lock, NULL);
    }
}

static void cache_release(struct cache *cache)
{
    for (size_t i = 0; i < STRIPES; i++) {
        pthread_mutex_destroy(&cache->stripes[i].lock);
    }
    free(cache->entries);
}

static size_t set_of(const struct cache *cache, const unsigned char digest[SHA256_BYTES])
{
    uint64_t head;

    memcpy(&head, digest, sizeof(head));
    return head & (cache->set_count - 1);
}

static bool is_of(const struct entry *entry, const char *tenant_id,
                  const unsigned char digest[SHA256_BYTES])
{
    return entry->until_ms > 0 &&
           CRYPTO_memcmp(entry->digest, digest, sizeof(entry->digest)) == 0 &&
           strcmp(entry->tenant_id, tenant_id) == 0;
}

static enum auth_answer cache_find(struct cache *cache, const char *tenant_id,
                                   const unsigned char digest[SHA256_BYTES], int64_t now_ms,
                                   struct principal *ret)
{
    size_t set = set_of(cache, digest);
    struct entry *entries = &cache->entries[set * WAYS];
    enum auth_answer answer = AUTH_UNDECIDED;

    pthread_mutex_lock(&cache->stripes[set % STRIPES].lock);
    for (size_t i = 0; i < WAYS && answer == AUTH_UNDECIDED; i++) {
        struct entry *entry = &entries[i];
        if (is_of(entry, tenant_id, digest) && now_ms < entry->until_ms) {
            *ret = entry->principal;
            bool aging = now_ms > entry->until_ms - AUTH_AGING_MS && !entry->renewing;
            entry->renewing |= aging;
            answer = aging ? AUTH_AGING : AUTH_KNOWN;
        }
    }
    pthread_mutex_unlock(&cache->stripes[set % STRIPES].lock);
    return answer;
}

static void cache_put(struct cache *cache, const char *tenant_id,
                      const unsigned char digest[SHA256_BYTES], const struct principal *principal,
                      int64_t until_ms)
{
    size_t set = set_of(cache, digest);
    struct entry *entries = &cache->entries[set * WAYS];
    struct entry *place = &entries[0];

    pthread_mutex_lock(&cache->stripes[set % STRIPES].lock);
    for (size_t i = 0; i < WAYS; i++) {
        if (is_of(&entries[i], tenant_id, digest)) {
            place = &entries[i];
            break;
        }
        place = entries[i].until_ms < place->until_ms ? &entries[i] : place;
    }
    memcpy(place->digest, digest, sizeof(place->digest));
    (void)snprintf(place->tenant_id, sizeof(place->tenant_id), "%s", tenant_id);
    place->principal = principal ? *principal : (struct principal){{0}, {0}, false};
    place->until_ms = until_ms;
    place->renewing = false;
    pthread_mutex_unlock(&cache->stripes[set % STRIPES].lock);
}

/* Forget what `matches`; NULL matches everything. */
static void cache_forget(struct cache *cache, const char *tenant_id, const char *user_id)
{
    for (size_t set = 0; set < cache->set_count; set++) {
        pthread_mutex_lock(&cache->stripes[set % STRIPES].lock);
        for (size_t i = 0; i < WAYS; i++) {
            struct entry *entry = &cache->entries[set * WAYS + i];
            if ((!tenant_id || strcmp(entry->tenant_id, tenant_id) == 0) &&
                (!user_id || strcmp(entry->principal.user_id, user_id) == 0)) {
                entry->until_ms = 0;
            }
        }
        pthread_mutex_unlock(&cache->stripes[set % STRIPES].lock);
    }
}

static void cache_forget_digest(struct cache *cache, const char *tenant_id,
                                const unsigned char digest[SHA256_BYTES])
{
    size_t set = set_of(cache, digest);

    pthread_mutex_lock(&cache->stripes[set % STRIPES].lock);
    for (size_t i = 0; i < WAYS; i++) {
        struct entry *entry = &cache->entries[set * WAYS + i];
        if (is_of(entry, tenant_id, digest)) {
            entry->until_ms = 0;
        }
    }
    pthread_mutex_unlock(&cache->stripes[set % STRIPES].lock);
}

/* ---- both ---- */

struct auth *auth_new(void)
{
    struct auth *auth = aligned_alloc(64, (sizeof(*auth) + 63) / 64 * 64);

    if (!auth) {
        out_of_memory();
    }
    atomic_init(&auth->epoch, 0);
    cache_init(&auth->known, KNOWN_SETS);
    cache_init(&auth->refused, REFUSED_SETS);
    return auth;
}

void auth_free(struct auth *auth)
{
    if (auth) {
        cache_release(&auth->known);
        cache_release(&auth->refused);
        free(auth);
    }
}

enum auth_answer auth_find(struct auth *auth, const char *tenant_id,
                           const unsigned char digest[SHA256_BYTES], int64_t now_ms,
                           struct principal *ret)
{
    struct principal ignored;

    enum auth_answer answer = cache_find(&auth->known, tenant_id, digest, now_ms, ret);
    if (answer != AUTH_UNDECIDED) {
        return answer;
    }
    return cache_find(&auth->refused, tenant_id, digest, now_ms, &ignored) == AUTH_UNDECIDED
               ? AUTH_UNDECIDED
               : AUTH_REFUSED;
}

uint64_t auth_epoch(const struct auth *auth)
{
    return atomic_load(&auth->epoch);
}

void auth_store(struct auth *auth, const char *tenant_id, const unsigned char digest[SHA256_BYTES],
                const struct principal *principal, int64_t until_ms, uint64_t epoch)
{
    if (!principal) { /* it may have been somebody's a moment ago */
        cache_forget_digest(&auth->known, tenant_id, digest);
    }
    bool doubtful = principal && epoch != auth_epoch(auth);
    int64_t limit_ms = clock_monotonic_ms() + (doubtful    ? DOUBTFUL_MS
                                               : principal ? AUTH_KNOWN_MS
                                                           : AUTH_UNKNOWN_MS);

    cache_put(principal ? &auth->known : &auth->refused, tenant_id, digest, principal,
              until_ms < limit_ms ? until_ms : limit_ms);
}

void auth_forget_digest(struct auth *auth, const char *tenant_id,
                        const unsigned char digest[SHA256_BYTES])
{
    (void)atomic_fetch_add(&auth->epoch, 1);
    cache_forget_digest(&auth->known, tenant_id, digest);
    cache_forget_digest(&auth->refused, tenant_id, digest);
}

void auth_forget_user(struct auth *auth, const char *tenant_id, const char *user_id)
{
    (void)atomic_fetch_add(&auth->epoch, 1);
    cache_forget(&auth->known, tenant_id, user_id);
}

void auth_forget_all(struct auth *auth)
{
    (void)atomic_fetch_add(&auth->epoch, 1);
    cache_forget(&auth->known, NULL, NULL);
    cache_forget(&auth->refused, NULL, NULL);
}
