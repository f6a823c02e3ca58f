/* A kind of object described by tables: what a controller needs to keep and read objects of any
 * kind without writing a codec. The struct of the kind begins with a struct object, and its table
 * of fields with OBJECT_FIELDS:
 *
 *     struct greeting {
 *         struct object object;
 *         const char *who;
 *     };
 *     static const struct field spec[] = {TEXT_FIELD("who", struct greeting, who), END_FIELDS};
 *     static const struct field fields[] = {OBJECT_FIELDS, PART_FIELD("spec", spec), END_FIELDS};
 *     static const struct object_type type = {&GREETINGS, sizeof(struct greeting), fields, NULL};
 */
#ifndef TENANTRY_RUNTIME_OBJECT_TYPE_H
#define TENANTRY_RUNTIME_OBJECT_TYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/kube/object.h"
#include "controller/runtime/cache.h"
#include "controller/runtime/fields.h"

/* What every object has. Texts are never NULL. */
struct object {
    const char *name;
    const char *namespace_; /* "" when cluster-scoped */
    const char *uid;
    const char *resource_version;
    int64_t generation;
    int64_t finalizer_count;
    bool deleting;
    bool has_finalizer; /* the type's */
};

struct object_type {
    const struct kube_resource *resource;
    size_t bytes;               /* of the kind's struct */
    const struct field *fields; /* OBJECT_FIELDS, then what is kept of the rest */
    const char *finalizer;      /* NULL: none */
};

#define OBJECT_KEPT_FIELD(kind_, member_)                                                          \
    {.name = #member_,                                                                             \
     .kind = (kind_),                                                                              \
     .packed_only = true,                                                                          \
     .offset = offsetof(struct object, member_)}
#define OBJECT_FIELDS                                                                              \
    OBJECT_KEPT_FIELD(FIELD_TEXT, uid), OBJECT_KEPT_FIELD(FIELD_INT, generation),                  \
        OBJECT_KEPT_FIELD(FIELD_INT, finalizer_count), OBJECT_KEPT_FIELD(FIELD_BOOL, deleting),    \
        OBJECT_KEPT_FIELD(FIELD_BOOL, has_finalizer)
/* A member of JSON that goes to a member of the struct. */
#define TEXT_FIELD(json_, struct_, member_)                                                        \
    {FIELD_NAME(json_), .kind = FIELD_TEXT, .offset = offsetof(struct_, member_)}
#define INT_FIELD(json_, struct_, member_)                                                         \
    {FIELD_NAME(json_), .kind = FIELD_INT, .offset = offsetof(struct_, member_)}
#define BOOL_FIELD(json_, struct_, member_)                                                        \
    {FIELD_NAME(json_), .kind = FIELD_BOOL, .offset = offsetof(struct_, member_)}
/* An object in JSON whose members go to the same struct. */
#define PART_FIELD(json_, table_) {FIELD_NAME(json_), .kind = FIELD_OBJECT, .fields = (table_)}
#define END_FIELDS {.name = NULL}

/* Read a whole object in one pass: its metadata into *meta, what the table names into target, and
 * defaults for the rest. Errors: TERMINAL/InvalidObject, also for one without name or UID. */
MUST_CHECK int object_read(struct str json, struct arena *arena, const struct field *fields,
                           struct kube_meta *meta, void *target, struct err *err);

/* For codecs: see struct codec. Errors: TERMINAL/InvalidObject. */
MUST_CHECK int object_pack(const struct object_type *type, struct str json, struct arena *scratch,
                           struct buf *payload, struct record_head *ret_head, struct err *err);

/* The object in a record, as the kind's struct in the arena; valid after the record is
 * unreferenced. */
void *object_unpack(const struct object_type *type, const struct record *record,
                    struct arena *arena);

#endif
