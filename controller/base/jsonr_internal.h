/* Many bytes of JSON text at once, for jsonr.c alone. SSE2 belongs to every x86-64; elsewhere, or
 * with TENANTRY_JSONR_PORTABLE, words of 8 bytes do the same. */
#ifndef TENANTRY_BASE_JSONR_INTERNAL_H
#define TENANTRY_BASE_JSONR_INTERNAL_H

#include <stdint.h>
#include <string.h>

#if defined(__SSE2__) && !defined(TENANTRY_JSONR_PORTABLE)
#define JSONR_SSE2 1
#include <emmintrin.h>
#endif

enum { BLOCK_BYTES = 64 };

/* One bit for each byte of a block, the lowest for the first. */
struct block {
    uint64_t quotes;
    uint64_t backslashes;
    uint64_t brackets; /* [ ] { } */
    uint64_t opening;  /* of those, [ and { */
};

#ifdef JSONR_SSE2

enum { RUN_BYTES = 16 };

static inline __m128i load16(const char *at)
{
    return _mm_loadu_si128((const __m128i *)at);
}

static inline uint64_t mask16(__m128i matches)
{
    return (uint64_t)(uint32_t)_mm_movemask_epi8(matches);
}

static inline __m128i equal16(__m128i bytes, char byte)
{
    return _mm_cmpeq_epi8(bytes, _mm_set1_epi8(byte));
}

static inline void block_classify(const char *at, struct block *ret)
{
    *ret = (struct block){0};
    for (int i = 0; i < BLOCK_BYTES; i += RUN_BYTES) {
        __m128i bytes = load16(at + i);
        /* The square brackets are the curly ones without bit 5. */
        __m128i curly = _mm_or_si128(bytes, _mm_set1_epi8(0x20));
        __m128i opening = equal16(curly, '{');
        __m128i brackets = _mm_or_si128(opening, equal16(curly, '}'));
        ret->quotes |= mask16(equal16(bytes, '"')) << i;
        ret->backslashes |= mask16(equal16(bytes, '\\')) << i;
        ret->brackets |= mask16(brackets) << i;
        ret->opening |= mask16(opening) << i;
    }
}

/* Bits for the bytes that end a plain run in a string: quote, backslash and controls. *high gets
 * the bytes with the top bit. */
static inline uint64_t run_stops(const char *at, uint64_t *high)
{
    __m128i bytes = load16(at);
    __m128i control = _mm_cmpeq_epi8(_mm_min_epu8(bytes, _mm_set1_epi8(0x1F)), bytes);
    __m128i stops = _mm_or_si128(equal16(bytes, '"'), equal16(bytes, '\\'));

    *high = mask16(bytes);
    return mask16(_mm_or_si128(stops, control));
}

#else

enum { RUN_BYTES = 8 };

#define EACH_BYTE(byte) (UINT64_C(0x0101010101010101) * (uint64_t)(byte))

static inline uint64_t load8(const char *at)
{
    uint64_t word = 0;

    memcpy(&word, at, sizeof(word));
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    return word;
}

/* Gather the top bits of 8 bytes into the low 8 bits. */
static inline uint64_t mask8(uint64_t tops)
{
    return ((tops >> 7) & EACH_BYTE(1)) * UINT64_C(0x0102040810204080) >> 56;
}

/* The top bit of every byte that equals `byte`, exact: no carry crosses a byte. */
static inline uint64_t equal8(uint64_t word, unsigned char byte)
{
    uint64_t differs = word ^ EACH_BYTE(byte);

    return ~(((differs & EACH_BYTE(0x7F)) + EACH_BYTE(0x7F)) | differs) & EACH_BYTE(0x80);
}

static inline void block_classify(const char *at, struct block *ret)
{
    *ret = (struct block){0};
    for (int i = 0; i < BLOCK_BYTES; i += RUN_BYTES) {
        uint64_t word = load8(at + i);
        /* The square brackets are the curly ones without bit 5. */
        uint64_t curly = word | EACH_BYTE(0x20);
        ret->quotes |= mask8(equal8(word, '"')) << i;
        ret->backslashes |= mask8(equal8(word, '\\')) << i;
        uint64_t opening = equal8(curly, '{');
        ret->brackets |= mask8(opening | equal8(curly, '}')) << i;
        ret->opening |= mask8(opening) << i;
    }
}

static inline uint64_t run_stops(const char *at, uint64_t *high)
{
    uint64_t word = load8(at);
    /* A control character has its three top bits clear. */
    uint64_t control = equal8(word & EACH_BYTE(0xE0), 0);

    *high = mask8(word);
    return mask8(equal8(word, '"') | equal8(word, '\\') | control);
}

#endif

#endif
