/* How a kind's tables are written: shorthand for rows, and what all codecs share. */
#ifndef TENANTRY_MODEL_CODEC_INTERNAL_H
#define TENANTRY_MODEL_CODEC_INTERNAL_H

#include <stddef.h>

#include "controller/base/arena.h"
#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "controller/kube/object.h"
#include "controller/runtime/cache.h"
#include "controller/runtime/fields.h"

#define CODEC_GROUP "tenantry.dev"
#define CODEC_VERSION "v1alpha1"

/* Shorthand for table rows: T is the struct that `at` is a member of. */
#define TEXT(json, T, at) {FIELD_NAME(json), .kind = FIELD_TEXT, .offset = offsetof(T, at)}
#define RAW(json, T, at) {FIELD_NAME(json), .kind = FIELD_RAW, .offset = offsetof(T, at)}
#define INT(json, T, at) {FIELD_NAME(json), .kind = FIELD_INT, .offset = offsetof(T, at)}
#define BOOL(json, T, at) {FIELD_NAME(json), .kind = FIELD_BOOL, .offset = offsetof(T, at)}
#define ENUM(json, T, at, w)                                                                       \
    {FIELD_NAME(json), .kind = FIELD_ENUM, .offset = offsetof(T, at), .words = (w)}
#define DURATION(json, T, at) {FIELD_NAME(json), .kind = FIELD_DURATION, .offset = offsetof(T, at)}
#define OBJECT(json, table) {FIELD_NAME(json), .kind = FIELD_OBJECT, .fields = (table)}
#define OBJECT_AT(json, T, at, table)                                                              \
    {FIELD_NAME(json), .kind = FIELD_OBJECT, .offset = offsetof(T, at), .fields = (table)}
#define LIST(json, kind_, T, at, count)                                                            \
    {FIELD_NAME(json), .kind = (kind_), .offset = offsetof(T, at),                                 \
     .count_offset = offsetof(T, count)}
#define OBJECTS(json, T, at, count, element, table)                                                \
    {FIELD_NAME(json),                                                                             \
     .kind = FIELD_OBJECTS,                                                                        \
     .offset = offsetof(T, at),                                                                    \
     .count_offset = offsetof(T, count),                                                           \
     .element_bytes = sizeof(element),                                                             \
     .fields = (table)}
#define CONDITIONS(T, at)                                                                          \
    {FIELD_NAME("conditions"), .kind = FIELD_CONDITIONS, .offset = offsetof(T, at)}
#define KEPT_TEXT(T, at)                                                                           \
    {.name = #at, .kind = FIELD_TEXT, .packed_only = true, .offset = offsetof(T, at)}
#define KEPT_INT(T, at)                                                                            \
    {.name = #at, .kind = FIELD_INT, .packed_only = true, .offset = offsetof(T, at)}
#define KEPT_BOOL(T, at)                                                                           \
    {.name = #at, .kind = FIELD_BOOL, .packed_only = true, .offset = offsetof(T, at)}
#define END {.name = NULL}

extern const struct field codec_pair_fields[]; /* struct text_pair as {"name", "value"} */
extern const struct field sandbox_fields[];    /* struct sandbox */

void codec_fill_head(struct record_head *head, const char *name, const char *uid,
                     const char *resource_version);

#endif
