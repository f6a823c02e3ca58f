#include "controller/base/hash.h"

#include "controller/base/secret.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <string.h>
#include <xxhash.h>

enum { SHA256_BLOCK_BYTES = 64, INNER_PAD = 0x36, OUTER_PAD = 0x5c };

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

static EVP_MD *sha256;
static pthread_once_t sha256_once = PTHREAD_ONCE_INIT;

/* Looked up once: with EVP_sha256() OpenSSL 3 does so for each text, which costs more than to hash
 * a short one. */
static void fetch_sha256(void)
{
    sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    if (!sha256) {
        out_of_memory();
    }
}

static EVP_MD_CTX *begin_sha256(void)
{
    (void)pthread_once(&sha256_once, fetch_sha256);
    EVP_MD_CTX *context = EVP_MD_CTX_new();

    /* Fails only where memory or the library itself is gone. */
    if (!context || EVP_DigestInit_ex(context, sha256, NULL) != 1) {
        out_of_memory();
    }
    return context;
}

static void add_bytes(EVP_MD_CTX *context, const void *bytes, size_t count)
{
    if (count > 0 && EVP_DigestUpdate(context, bytes, count) != 1) {
        out_of_memory();
    }
}

static void finish_sha256(EVP_MD_CTX *context, unsigned char ret_digest[SHA256_BYTES])
{
    if (EVP_DigestFinal_ex(context, ret_digest, NULL) != 1) {
        out_of_memory();
    }
}

static void end_sha256(EVP_MD_CTX *context, unsigned char ret_digest[SHA256_BYTES])
{
    finish_sha256(context, ret_digest);
    EVP_MD_CTX_free(context);
}

/* A context of each thread's own serves all digests that are begun and ended at one go: making one
 * costs as much as to hash a few blocks. At its end it holds nothing but the digest. */
static _Thread_local EVP_MD_CTX *thread_context;
static pthread_key_t thread_key;
static pthread_once_t thread_once = PTHREAD_ONCE_INIT;

static void free_context(void *context)
{
    EVP_MD_CTX_free(context);
}

static void make_key(void)
{
    if (pthread_key_create(&thread_key, free_context) != 0) {
        out_of_memory();
    }
}

static EVP_MD_CTX *restart_sha256(void)
{
    if (!thread_context) {
        (void)pthread_once(&thread_once, make_key);
        thread_context = begin_sha256();
        /* Told, so that it is freed when the thread ends. */
        if (pthread_setspecific(thread_key, thread_context) != 0) {
            out_of_memory();
        }
    } else if (EVP_DigestInit_ex(thread_context, NULL, NULL) != 1) {
        out_of_memory();
    }
    return thread_context;
}

void hash_sha256(struct str bytes, unsigned char ret_digest[SHA256_BYTES])
{
    EVP_MD_CTX *context = restart_sha256();

    add_bytes(context, bytes.ptr, bytes.len);
    finish_sha256(context, ret_digest);
}

static void hash_padded(const unsigned char key[SHA256_BLOCK_BYTES], unsigned char pad,
                        struct str text, unsigned char ret_digest[SHA256_BYTES])
{
    unsigned char padded[SHA256_BLOCK_BYTES];
    EVP_MD_CTX *context = restart_sha256();

    for (size_t i = 0; i < SHA256_BLOCK_BYTES; i++) {
        padded[i] = key[i] ^ pad;
    }
    add_bytes(context, padded, sizeof(padded));
    add_bytes(context, text.ptr, text.len);
    finish_sha256(context, ret_digest);
    explicit_bzero(padded, sizeof(padded));
}

void hash_hmac_sha256(struct str key, struct str text, unsigned char ret_digest[SHA256_BYTES])
{
    unsigned char block[SHA256_BLOCK_BYTES] = {0};
    unsigned char inner[SHA256_BYTES];

    if (key.len > sizeof(block)) {
        hash_sha256(key, block);
    } else if (key.len > 0) {
        memcpy(block, key.ptr, key.len);
    }
    hash_padded(block, INNER_PAD, text, inner);
    hash_padded(block, OUTER_PAD, (struct str){(const char *)inner, sizeof(inner)}, ret_digest);
    explicit_bzero(block, sizeof(block));
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
    return (struct hash_stream *)begin_sha256();
}

void hash_stream_add(struct hash_stream *stream, struct str bytes)
{
    add_bytes(context_of(stream), bytes.ptr, bytes.len);
}

void hash_stream_end(struct hash_stream *stream, char ret_text[SHA256_TEXT_BYTES])
{
    unsigned char digest[SHA256_BYTES];

    end_sha256(context_of(stream), digest);
    put_hex(digest, sizeof(digest), ret_text);
}
