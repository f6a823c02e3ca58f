/* The name, the namespace and the version stand in the record's key and head already; the rest is
 * the type's table, packed. */
#include "controller/runtime/object_type.h"

#include <string.h>

#include "controller/base/jsonr.h"
#include "controller/kube/object.h"

static void take_meta(const struct object_type *type, const struct kube_meta *meta,
                      struct object *object)
{
    object->name = meta->name;
    object->namespace_ = meta->namespace_;
    object->uid = meta->uid;
    object->resource_version = meta->resource_version;
    object->generation = meta->generation;
    object->finalizer_count = (int64_t)meta->finalizer_count;
    object->deleting = meta->deletion_timestamp != NULL;
    for (size_t i = 0; i < meta->finalizer_count; i++) {
        object->has_finalizer |= text_equal(meta->finalizers[i], type->finalizer);
    }
}

int object_read(struct str json, struct arena *arena, const struct field *fields,
                struct kube_meta *meta, void *target, struct err *err)
{
    struct jsonr reader;
    struct str name;
    bool has_meta = false;

    jsonr_init(&reader, json);
    bool is_object = jsonr_object_begin(&reader);
    while (is_object && jsonr_member(&reader, &name)) {
        if (str_equal(name, STR("metadata"))) {
            has_meta = kube_meta_read(&reader, arena, meta);
        } else {
            fields_read_member(&reader, arena, fields, name, target);
        }
    }
    if (!jsonr_at_end(&reader) || !has_meta || text_is_empty(meta->name) ||
        text_is_empty(meta->uid)) {
        return err_set(err, ERR_TERMINAL, "InvalidObject", "not an object with name and uid");
    }
    fields_default(fields, target);
    return 0;
}

int object_pack(const struct object_type *type, struct str json, struct arena *scratch,
                struct buf *payload, struct record_head *ret_head, struct err *err)
{
    struct kube_meta meta = {0};
    void *target = arena_alloc(scratch, type->bytes);
    struct object *object = target;

    if (object_read(json, scratch, type->fields, &meta, target, err) != 0) {
        return -1;
    }
    take_meta(type, &meta, object);
    fields_pack(type->fields, NULL, target, payload);
    *ret_head = (struct record_head){
        .key = text_is_empty(meta.namespace_)
                   ? str_from(meta.name)
                   : str_from(arena_printf(scratch, "%s/%s", meta.namespace_, meta.name)),
        .uid = str_from(meta.uid),
        .resource_version = str_from(meta.resource_version),
    };
    return 0;
}

void *object_unpack(const struct object_type *type, const struct record *record,
                    struct arena *arena)
{
    void *target = arena_alloc(arena, type->bytes);
    struct object *object = target;
    const char *key = record_key(record);
    const char *slash = strchr(key, '/');

    fields_unpack(type->fields, NULL, record_payload(record), arena, target);
    object->namespace_ = slash ? arena_strndup(arena, key, (size_t)(slash - key)) : "";
    object->name = arena_strdup(arena, slash ? slash + 1 : key);
    object->resource_version = arena_strdup(arena, record_resource_version(record));
    return target;
}
