/* Hashes: a fast seeded one for tables, a fast 128-bit one for "did anything change", SHA-256 for
 * whatever an attacker may aim at. */
#ifndef TENANTRY_BASE_HASH_H
#define TENANTRY_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/base/str.h"

struct hash128 {
    uint64_t high;
    uint64_t low;
};

/* 64 bits for hash tables; seeded per process, so not comparable between processes. */
uint64_t hash_table64(struct str bytes);

/* XXH3-128, the same in every process and release: may be stored. */
struct hash128 hash_128(struct str bytes);
/* Not in constant time: for changes, not for secrets. */
bool hash128_equal(struct hash128 a, struct hash128 b);

enum { HASH128_TEXT_BYTES = 33 };
/* 32 lower-case hex digits and a NUL. */
void hash128_text(struct hash128 hash, char ret_text[HASH128_TEXT_BYTES]);

enum { SHA256_BYTES = 32, SHA256_TEXT_BYTES = 65 };
/* SHA-256 (FIPS 180-4), and as 64 lower-case hex digits with a NUL. */
void hash_sha256(struct str bytes, unsigned char ret_digest[SHA256_BYTES]);
/* The same as 64 lower-case hex digits and a NUL. */
void hash_sha256_text(struct str bytes, char ret_text[SHA256_TEXT_BYTES]);

/* HMAC-SHA-256 (RFC 2104) of the text under a key of any length. */
void hash_hmac_sha256(struct str key, struct str text, unsigned char ret_digest[SHA256_BYTES]);

/* SHA-256 of what comes in pieces: of all that was added since hash_stream_new. hash_stream_end
 * frees it. Not thread-safe. */
struct hash_stream;
/* Caller ends it with hash_stream_end, on every way out. */
struct hash_stream *hash_stream_new(void);
/* bytes are not kept. */
void hash_stream_add(struct hash_stream *stream, struct str bytes);
/* The digest as 64 lower-case hex digits and a NUL; the stream is freed. */
void hash_stream_end(struct hash_stream *stream, char ret_text[SHA256_TEXT_BYTES]);

#endif
