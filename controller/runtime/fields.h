/* A struct's members as data: one table reads them from JSON, packs them into a cache record, and
 * unpacks them again, so that the three can never disagree.
 *
 * JSON is read in one pass, fastest where the table's order is that of the members; members that
 * the table does not name are skipped, values of another type than the table says count as absent
 * (the CRD's schema keeps them out). The packed form is for this process alone: fields in table
 * order, numbers as zigzag varints, texts as length and bytes, or as one small number when they are
 * in the dictionary of words that occur in every object (docs/cache.md). */
#ifndef TENANTRY_RUNTIME_FIELDS_H
#define TENANTRY_RUNTIME_FIELDS_H

#include <stdbool.h>
#include <stddef.h>

#include "controller/base/arena.h"
#include "controller/base/attributes.h"
#include "controller/base/buf.h"
#include "controller/base/jsonr.h"
#include "controller/base/str.h"
#include "controller/runtime/dictionary.h"

enum field_kind {
    FIELD_TEXT,       /* const char *, "" when absent                                            */
    FIELD_RAW,        /* const char *: any value as its JSON text, "" when absent or null         */
    FIELD_INT,        /* int64_t                                                                 */
    FIELD_BOOL,       /* bool                                                                    */
    FIELD_ENUM,       /* an enum: index in `words`; unknown words count as absent                */
    FIELD_DURATION,   /* int64_t milliseconds from "30s"                                         */
    FIELD_OBJECT,     /* `fields`, of the struct at offset (0: the same struct)                  */
    FIELD_TEXTS,      /* const char *const * and size_t count                                    */
    FIELD_OBJECTS,    /* array of structs of element_bytes by `fields`, and size_t count         */
    FIELD_TEXT_MAP,   /* array of {const char *name, *value}, and size_t count                   */
    FIELD_INT_MAP,    /* array of {const char *name; int64_t value}, and size_t count            */
    FIELD_CONDITIONS, /* struct condition_set                                                    */
};

struct field {
    const char *name;  /* JSON member; NULL ends a table */
    struct str quoted; /* the same for jsonr_member_is; may be left out */
    enum field_kind kind;
    bool packed_only; /* not read from JSON here: the caller fills it before packing */
    size_t offset;
    size_t count_offset;
    size_t element_bytes;
    const struct field *fields;
    const char *const *words; /* NULL-ended */
    int64_t absent;           /* of a FIELD_INT in a list's element, where it is absent */
};

#define FIELD_NAME(json) .name = (json), .quoted = JSONR_QUOTED(json)

enum { FIELDS_LIST_MAX = 4096 }; /* elements of any one list or map; more are left out */

/* Read the object at the reader into target, whose members have their defaults already. False when
 * the JSON is malformed; the reader stays failed then. Strings are in the arena. */
bool fields_read(struct jsonr *reader, struct arena *arena, const struct field *fields,
                 void *target);
/* The same for one member of an object: its name was read, and the reader stands at its value,
 * which is skipped when the table does not name it. */
void fields_read_member(struct jsonr *reader, struct arena *arena, const struct field *fields,
                        struct str name, void *target);

/* Set every text of the table that is NULL to "", so that readers need no test. */
void fields_default(const struct field *fields, void *target);

/* dictionary: the same for pack and unpack; NULL: none. */
void fields_pack(const struct field *fields, struct dictionary *dictionary, const void *source,
                 struct buf *out);
/* Strings are in the arena, dictionary words are borrowed. packed must come from fields_pack with
 * the same table: anything else aborts, since it would be memory corruption. */
void fields_unpack(const struct field *fields, struct dictionary *dictionary, struct str packed,
                   struct arena *arena, void *target);

#endif
