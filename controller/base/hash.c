#include "controller/base/hash.h"

#include "controller/base/secret.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <xxhash.h>

static uint64_t table_seed;
static pthread_once_t seed_once = PTHREAD_ONCE_INIT;

static void make_seed(void)
{
    random_bytes(&table_seed, sizeof(table_seed));
}

uint64_t hash_table64(struct str bytes)
{
    (void)pthread_once(&seed_once, make_seed);
    return XXH3_64bits_withSeed(bytes.ptr, bytes.len, table_seed);
}

struct hash128 hash_128(struct str bytes)
{
    XXH128_hash_t hash = XXH3_128bits(bytes.ptr, bytes.len);

    return (struct hash128){.high = hash.high64, .low = hash.low64};
}

bool hash128_equal(struct hash128 a, struct hash128 b)
{
    return a.high == b.high && a.low == b.low;
}

static void put_hex(const unsigned char *bytes, size_t count, char *to)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < count; i++) {
        to[2 * i] = digits[bytes[i] >> 4];
        to[2 * i + 1] = digits[bytes[i] & 15];
    }
    to[2 * count] = '\0';
}

void hash128_text(struct hash128 hash, char ret_text[HASH128_TEXT_BYTES])
{
    unsigned char bytes[16];

    for (int i = 0; i < 8; i++) {
        bytes[i] = (unsigned char)(hash.high >> (56 - 8 * i));
        bytes[8 + i] = (unsigned char)(hash.low >> (56 - 8 * i));
    }
    put_hex(bytes, sizeof(bytes), ret_text);
}

void hash_sha256(struct str bytes, unsigned char ret_digest[SHA256_BYTES])
{
    const char *from = bytes.len > 0 ? bytes.ptr : "";

    /* Fails only where memory or the library itself is gone. */
    if (EVP_Digest(from, bytes.len, ret_digest, NULL, EVP_sha256(), NULL) != 1) {
        out_of_memory();
    }
}

void hash_sha256_text(struct str bytes, char ret_text[SHA256_TEXT_BYTES])
{
    unsigned char digest[SHA256_BYTES];

    hash_sha256(bytes, digest);
    put_hex(digest, sizeof(digest), ret_text);
}

/* The library's context under a name of ours. */
static EVP_MD_CTX *context_of(struct hash_stream *stream)
{
    return (EVP_MD_CTX *)stream;
}

struct hash_stream *hash_stream_new(void)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();

    if (!context || EVP_DigestInit_ex(context, EVP_sha256(), NULL) != 1) {
        out_of_memory();
    }
    return (struct hash_stream *)context;
}

void hash_stream_add(struct hash_stream *stream, struct str bytes)
{
    if (bytes.len > 0 && EVP_DigestUpdate(context_of(stream), bytes.ptr, bytes.len) != 1) {
        out_of_memory();
    }
}

void hash_stream_end(struct hash_stream *stream, char ret_text[SHA256_TEXT_BYTES])
{
    unsigned char digest[SHA256_BYTES];

    if (EVP_DigestFinal_ex(context_of(stream), digest, NULL) != 1) {
        out_of_memory();
    }
    EVP_MD_CTX_free(context_of(stream));
    put_hex(digest, sizeof(digest), ret_text);
}
