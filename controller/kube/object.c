#include "controller/kube/object.h"

/* Far above what people write; keeps a hostile object from making millions of entries. */
enum { ENTRIES_MAX = 10000 };

static const char LAST_APPLIED[] = "kubectl.kubernetes.io/last-applied-configuration";

/* An array in the arena that doubles; what it leaves behind goes with the arena. */
struct entries {
    struct arena *arena;
    size_t entry_bytes;
    void *entries;
    size_t count;
    size_t capacity;
};

static void *add_entry(struct entries *list)
{
    enum { FIRST = 4 };

    if (list->count == list->capacity) {
        size_t capacity = list->capacity == 0 ? FIRST : list->capacity * 2;
        void *grown = arena_calloc(list->arena, capacity, list->entry_bytes);
        if (list->count > 0) {
            memcpy(grown, list->entries, list->count * list->entry_bytes);
        }
        list->entries = grown;
        list->capacity = capacity;
    }
    return (char *)list->entries + list->entry_bytes * list->count++;
}

/* A map of text to text, labels or annotations; values of another type are left out. */
static bool read_pairs(struct jsonr *reader, struct arena *arena, const struct kube_pair **ret,
                       size_t *ret_count)
{
    struct entries list = {.arena = arena, .entry_bytes = sizeof(struct kube_pair)};
    struct str name;

    if (jsonr_object_begin(reader)) {
        while (jsonr_member(reader, &name)) {
            const char *value = NULL;
            if (str_equal_c(name, LAST_APPLIED)) {
                jsonr_skip(reader);
            } else if (jsonr_string(reader, arena, &value)) {
                struct kube_pair *pair = add_entry(&list);
                *pair = (struct kube_pair){arena_strndup(arena, name.ptr, name.len), value};
            }
            if (list.count > ENTRIES_MAX) {
                return false;
            }
        }
    }
    *ret = list.entries;
    *ret_count = list.count;
    return true;
}

static bool read_finalizers(struct jsonr *reader, struct arena *arena, struct kube_meta *meta)
{
    struct entries list = {.arena = arena, .entry_bytes = sizeof(const char *)};

    if (jsonr_array_begin(reader)) {
        while (jsonr_element(reader)) {
            const char *value = NULL;
            if (jsonr_string(reader, arena, &value)) {
                const char **entry = add_entry(&list);
                *entry = value;
            }
            if (list.count > ENTRIES_MAX) {
                return false;
            }
        }
    }
    meta->finalizers = list.entries;
    meta->finalizer_count = list.count;
    return true;
}

/* managedFields, large and never wanted, is named so that what follows is guessed right. */
enum member {
    ANNOTATIONS,
    CREATION_TIMESTAMP,
    DELETION_TIMESTAMP,
    FINALIZERS,
    GENERATION,
    LABELS,
    MANAGED_FIELDS,
    NAME,
    NAMESPACE,
    RESOURCE_VERSION,
    UID,
};
static const struct jsonr_name members[] = {
    [ANNOTATIONS] = JSONR_NAME("annotations"),
    [CREATION_TIMESTAMP] = JSONR_NAME("creationTimestamp"),
    [DELETION_TIMESTAMP] = JSONR_NAME("deletionTimestamp"),
    [FINALIZERS] = JSONR_NAME("finalizers"),
    [GENERATION] = JSONR_NAME("generation"),
    [LABELS] = JSONR_NAME("labels"),
    [MANAGED_FIELDS] = JSONR_NAME("managedFields"),
    [NAME] = JSONR_NAME("name"),
    [NAMESPACE] = JSONR_NAME("namespace"),
    [RESOURCE_VERSION] = JSONR_NAME("resourceVersion"),
    [UID] = JSONR_NAME("uid"),
};

static bool read_member(struct jsonr *reader, struct arena *arena, size_t member,
                        struct kube_meta *meta)
{
    switch (member) {
    case ANNOTATIONS:
        return read_pairs(reader, arena, &meta->annotations, &meta->annotation_count);
    case CREATION_TIMESTAMP:
        (void)jsonr_string(reader, arena, &meta->creation_timestamp);
        return true;
    case DELETION_TIMESTAMP:
        (void)jsonr_string(reader, arena, &meta->deletion_timestamp);
        return true;
    case FINALIZERS:
        return read_finalizers(reader, arena, meta);
    case GENERATION:
        (void)jsonr_int64(reader, &meta->generation);
        return true;
    case LABELS:
        return read_pairs(reader, arena, &meta->labels, &meta->label_count);
    case NAME:
        (void)jsonr_string(reader, arena, &meta->name);
        return true;
    case NAMESPACE:
        (void)jsonr_string(reader, arena, &meta->namespace_);
        return true;
    case RESOURCE_VERSION:
        (void)jsonr_string(reader, arena, &meta->resource_version);
        return true;
    case UID:
        (void)jsonr_string(reader, arena, &meta->uid);
        return true;
    default:
        jsonr_skip(reader);
        return true;
    }
}

bool kube_meta_read(struct jsonr *reader, struct arena *arena, struct kube_meta *ret)
{
    struct kube_meta meta = {
        .name = "",
        .namespace_ = "",
        .uid = "",
        .resource_version = "",
        .creation_timestamp = "",
    };

    if (!jsonr_object_begin(reader)) {
        return false;
    }
    for (size_t i = 0; jsonr_member_among(reader, members, ARRAY_COUNT(members), &i); i++) {
        if (!read_member(reader, arena, i, &meta)) {
            return false;
        }
    }
    if (jsonr_failed(reader)) {
        return false;
    }
    *ret = meta;
    return true;
}

int kube_object_meta(struct str object_json, struct arena *arena, struct kube_meta *ret,
                     struct err *err)
{
    struct jsonr reader;
    struct str name;
    struct kube_meta meta = {0};

    jsonr_init(&reader, object_json);
    if (!jsonr_object_begin(&reader)) {
        return err_set(err, ERR_TERMINAL, "InvalidObject", "not a JSON object");
    }
    while (jsonr_member(&reader, &name)) {
        if (!str_equal_c(name, "metadata")) {
            jsonr_skip(&reader);
        } else if (!kube_meta_read(&reader, arena, &meta)) {
            return err_set(err, ERR_TERMINAL, "InvalidObject", "metadata is malformed");
        }
    }
    if (!jsonr_at_end(&reader)) {
        return err_set(err, ERR_TERMINAL, "InvalidObject", "the object's JSON is malformed");
    }
    if (text_is_empty(meta.name)) {
        return err_set(err, ERR_TERMINAL, "InvalidObject", "metadata.name is missing");
    }
    *ret = meta;
    return 0;
}

const char *kube_pair_get(const struct kube_pair *pairs, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(pairs[i].name, name) == 0) {
            return pairs[i].value;
        }
    }
    return NULL;
}

int kube_rv_compare(struct str a, struct str b)
{
    if (a.len != b.len) {
        return a.len < b.len ? -1 : 1;
    }
    return a.len == 0 ? 0 : memcmp(a.ptr, b.ptr, a.len);
}
