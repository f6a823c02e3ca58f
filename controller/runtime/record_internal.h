/* What a record looks like inside: for cache.c, record.c and their tests. */
#ifndef TENANTRY_RUNTIME_RECORD_INTERNAL_H
#define TENANTRY_RUNTIME_RECORD_INTERNAL_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/runtime/cache.h"

struct record {
    _Atomic uint32_t references;
    uint32_t payload_len;
    uint64_t uid_hash; /* enough to know another object of the same name */
    uint16_t key_len;
    uint8_t version_len;
    alignas(8) char bytes[]; /* payload, key, NUL, resource version, NUL */
};

/* A new record of the object, with one reference. payload and scratch are room to work in.
 * Errors: TERMINAL/InvalidObject and whatever the codec says. */
MUST_CHECK int record_read(const struct codec *codec, struct str json, struct arena *scratch,
                           struct buf *payload, struct record **ret, struct err *err);

size_t record_size(const struct record *record);
struct str record_key_str(const struct record *record);
struct str record_version(const struct record *record);
int record_compare_versions(const struct record *a, const struct record *b);

#endif
