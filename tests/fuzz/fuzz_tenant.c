/* Any bytes as a Tenant, a TenantTier or a DatabaseServer; the first byte says which. What the
 * codec takes has a name and a UID, and comes out of the cache's record as it went in. */
#include <string.h>

#include "controller/base/arena.h"
#include "reconcilers/model/codec.h"
#include "tests/fuzz/fuzz.h"

enum { PACKED_BYTES_MAX = 16 * 1024 * 1024 };

/* A cache whose one view is this one object; NULL record: the object was left out. */
static const struct record *store(struct cache *cache, struct str json, const char *name)
{
    const struct watch_handler handler = cache_watch_handler(cache);
    handler.replace_begin(handler.context);
    handler.replace_object(handler.context, json);
    handler.replace_end(handler.context, "1");
    return cache_get(cache, name);
}

static void check_same(const struct buf *a, const struct buf *b)
{
    FUZZ_CHECK(!buf_failed(a) && !buf_failed(b));
    FUZZ_CHECK(str_equal(buf_str(a), buf_str(b)));
}

static void check_tenant(struct str json, struct arena *arena)
{
    AUTO(buf) struct buf before = BUF(PACKED_BYTES_MAX);
    AUTO(buf) struct buf after = BUF(PACKED_BYTES_MAX);
    struct tenant *decoded = ARENA_NEW(arena, struct tenant);
    struct tenant *unpacked = ARENA_NEW(arena, struct tenant);
    struct err err;
    if (tenant_decode(json, arena, decoded, &err) != 0) {
        return;
    }
    FUZZ_CHECK(decoded->name[0] != '\0' && decoded->uid[0] != '\0');
    struct cache *cache = cache_new(&tenant_codec);
    AUTO(record) const struct record *record = store(cache, json, decoded->name);
    if (record) {
        tenant_unpack(record, arena, unpacked);
        FUZZ_CHECK(strcmp(unpacked->uid, decoded->uid) == 0);
        FUZZ_CHECK(unpacked->status.observed_generation == decoded->status.observed_generation);
        FUZZ_CHECK(condition_set_equal(&unpacked->status.conditions, &decoded->status.conditions));
        tenant_spec_pack(decoded, &before);
        tenant_spec_pack(unpacked, &after);
        check_same(&before, &after);
    }
    cache_free(cache);
}

static void check_tier(struct str json, struct arena *arena)
{
    AUTO(buf) struct buf before = BUF(PACKED_BYTES_MAX);
    AUTO(buf) struct buf after = BUF(PACKED_BYTES_MAX);
    struct tier *decoded = ARENA_NEW(arena, struct tier);
    struct tier *unpacked = ARENA_NEW(arena, struct tier);
    struct err err;
    if (tier_decode(json, arena, decoded, &err) != 0) {
        return;
    }
    struct cache *cache = cache_new(&tier_codec);
    AUTO(record) const struct record *record = store(cache, json, decoded->name);
    if (record) {
        tier_unpack(record, arena, unpacked);
        tier_spec_pack(decoded, &before);
        tier_spec_pack(unpacked, &after);
        check_same(&before, &after);
    }
    cache_free(cache);
}

static void check_server(struct str json, struct arena *arena)
{
    AUTO(buf) struct buf before = BUF(PACKED_BYTES_MAX);
    AUTO(buf) struct buf after = BUF(PACKED_BYTES_MAX);
    struct database_server *decoded = ARENA_NEW(arena, struct database_server);
    struct database_server *unpacked = ARENA_NEW(arena, struct database_server);
    struct err err;
    if (database_server_decode(json, arena, decoded, &err) != 0) {
        return;
    }
    struct cache *cache = cache_new(&database_server_codec);
    AUTO(record) const struct record *record = store(cache, json, decoded->name);
    if (record) {
        database_server_unpack(record, arena, unpacked);
        FUZZ_CHECK(unpacked->label_count == decoded->label_count);
        database_server_spec_pack(decoded, &before);
        database_server_spec_pack(unpacked, &after);
        check_same(&before, &after);
    }
    cache_free(cache);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena;
    if (size < 1) {
        return 0;
    }
    fuzz_quiet();
    struct str json = {(const char *)data + 1, size - 1};
    arena_init(&arena, 0);
    switch (data[0]) {
    case 't':
        check_tenant(json, &arena);
        break;
    case 'i':
        check_tier(json, &arena);
        break;
    case 's':
        check_server(json, &arena);
        break;
    default:
        break;
    }
    arena_release(&arena);
    return 0;
}
