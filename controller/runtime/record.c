/* A record is one allocation: a header of 24 bytes, the payload (aligned for any number), the key
 * and the resource version, both ended by a NUL. All but the count of references is immutable. */
#include "controller/runtime/record_internal.h"

#include <stdlib.h>
#include <string.h>

#include "controller/base/hash.h"
#include "controller/kube/object.h"
#include "controller/runtime/object_type.h"

enum {
    KEY_MAX_BYTES = 63 + 1 + 253,
    RESOURCE_VERSION_MAX_BYTES = 64,
};

size_t record_size(const struct record *record)
{
    return offsetof(struct record, bytes) + record->payload_len + record->key_len + 1U +
           record->version_len + 1U;
}

const char *record_key(const struct record *record)
{
    return record->bytes + record->payload_len;
}

struct str record_key_str(const struct record *record)
{
    return (struct str){record_key(record), record->key_len};
}

const char *record_resource_version(const struct record *record)
{
    return record_key(record) + record->key_len + 1;
}

struct str record_version(const struct record *record)
{
    return (struct str){record_resource_version(record), record->version_len};
}

struct str record_payload(const struct record *record)
{
    return (struct str){record->bytes, record->payload_len};
}

const struct record *record_ref(const struct record *record)
{
    /* The count is the one thing in a published record that changes. */
    struct record *counted = (struct record *)(uintptr_t)record;
    atomic_fetch_add_explicit(&counted->references, 1, memory_order_relaxed);
    return record;
}

void record_unref(const struct record *record)
{
    struct record *counted = (struct record *)(uintptr_t)record;
    if (counted && atomic_fetch_sub_explicit(&counted->references, 1, memory_order_acq_rel) == 1) {
        free(counted);
    }
}

static struct record *record_new(const struct record_head *head, struct str payload)
{
    size_t size = offsetof(struct record, bytes) + payload.len + head->key.len + 1 +
                  head->resource_version.len + 1;
    struct record *record = xmalloc(size > sizeof(*record) ? size : sizeof(*record));
    atomic_init(&record->references, 1);
    record->payload_len = (uint32_t)payload.len;
    record->uid_hash = hash_table64(head->uid);
    record->key_len = (uint16_t)head->key.len;
    record->version_len = (uint8_t)head->resource_version.len;

    char *at = record->bytes;
    if (payload.len) {
        memcpy(at, payload.ptr, payload.len);
    }
    at += payload.len;
    memcpy(at, head->key.ptr, head->key.len);
    at += head->key.len;
    *at++ = '\0';
    memcpy(at, head->resource_version.ptr, head->resource_version.len);
    at += head->resource_version.len;
    *at = '\0';
    return record;
}

int record_compare_versions(const struct record *a, const struct record *b)
{
    return kube_rv_compare(record_version(a), record_version(b));
}

static int check_head(const struct record_head *head, struct err *err)
{
    if (head->key.len == 0 || head->key.len > KEY_MAX_BYTES) {
        return err_set(err, ERR_TERMINAL, "InvalidObject", "name is missing or too long");
    }
    if (head->uid.len == 0) {
        return err_set(err, ERR_TERMINAL, "InvalidObject", "UID is missing");
    }
    if (head->resource_version.len == 0 ||
        head->resource_version.len > RESOURCE_VERSION_MAX_BYTES) {
        return err_set(err, ERR_TERMINAL, "InvalidObject",
                       "resource version is missing or too long");
    }
    return 0;
}

static int pack(const struct codec *codec, struct str json, struct arena *scratch,
                struct buf *payload, struct record_head *ret_head, struct err *err)
{
    return codec->pack ? codec->pack(json, scratch, payload, ret_head, err)
                       : object_pack(codec->type, json, scratch, payload, ret_head, err);
}

int record_read(const struct codec *codec, struct str json, struct arena *scratch,
                struct buf *payload, struct record **ret, struct err *err)
{
    struct record_head head = {0};

    buf_clear(payload);
    if (pack(codec, json, scratch, payload, &head, err) < 0 || check_head(&head, err) < 0) {
        return -1;
    }
    if (buf_failed(payload)) {
        return err_set(err, ERR_TERMINAL, "InvalidObject", "the object is too large");
    }
    *ret = record_new(&head, buf_str(payload));
    return 0;
}
