/* Table-driven decode, pack and unpack. Three recursive walks over the same table, each a switch on
 * the kind. Elements of lists are counted on a copy of the reader first: a reader is a few words,
 * lists are short, and exact arrays keep the arena small. */
#include "controller/runtime/fields.h"

#include <string.h>

#include "controller/base/clock.h"
#include "controller/runtime/condition.h"

struct text_entry {
    const char *name;
    const char *value;
};

struct int_entry {
    const char *name;
    int64_t value;
};

static void *member(void *target, size_t offset)
{
    return (char *)target + offset;
}

static const void *member_const(const void *source, size_t offset)
{
    return (const char *)source + offset;
}

/* ---- reading ---- */

static void read_enum(struct jsonr *reader, const char *const *words, void *slot)
{
    struct str word;
    if (!jsonr_raw_string(reader, &word)) {
        return;
    }
    for (unsigned index = 0; words[index]; index++) {
        if (words[index][0] == word.ptr[0] && str_equal_c(word, words[index])) {
            memcpy(slot, &index, sizeof(index));
            return;
        }
    }
}

static void read_duration(struct jsonr *reader, int64_t *slot)
{
    struct str text;
    int64_t duration_ms;
    if (jsonr_raw_string(reader, &text) && clock_parse_duration_ms(text, &duration_ms)) {
        *slot = duration_ms;
    }
}

static size_t count_elements(struct jsonr reader)
{
    size_t count = 0;
    while (count < FIELDS_LIST_MAX && jsonr_element(&reader) && jsonr_skip(&reader)) {
        count++;
    }
    return count;
}

static size_t count_members(struct jsonr reader)
{
    size_t count = 0;
    struct str name;
    while (count < FIELDS_LIST_MAX && jsonr_member(&reader, &name) && jsonr_skip(&reader)) {
        count++;
    }
    return count;
}

static void read_texts(struct jsonr *reader, struct arena *arena, const struct field *field,
                       void *target)
{
    if (!jsonr_array_begin(reader)) {
        return;
    }
    size_t room = count_elements(*reader);
    const char **texts = ARENA_ARRAY(arena, const char *, room);
    size_t count = 0;
    while (jsonr_element(reader)) {
        if (count == room) {
            jsonr_skip(reader);
        } else if (jsonr_string(reader, arena, &texts[count])) {
            count++;
        }
    }
    *(const char *const **)member(target, field->offset) = texts;
    *(size_t *)member(target, field->count_offset) = count;
}

/* What the numbers of a list's element are where the JSON does not name them. */
static void set_absent(const struct field *fields, void *element)
{
    for (const struct field *field = fields; field->name; field++) {
        if (field->kind == FIELD_INT) {
            *(int64_t *)member(element, field->offset) = field->absent;
        }
    }
}

static void read_objects(struct jsonr *reader, struct arena *arena, const struct field *field,
                         void *target)
{
    if (!jsonr_array_begin(reader)) {
        return;
    }
    size_t room = count_elements(*reader);
    char *elements = arena_calloc(arena, room, field->element_bytes);
    size_t count = 0;
    while (jsonr_element(reader)) {
        if (count == room) {
            jsonr_skip(reader);
            continue;
        }
        void *element = elements + count * field->element_bytes;
        set_absent(field->fields, element);
        if (fields_read(reader, arena, field->fields, element)) {
            fields_default(field->fields, element);
            count++;
        }
    }
    *(void **)member(target, field->offset) = elements;
    *(size_t *)member(target, field->count_offset) = count;
}

static const char *member_name(struct arena *arena, struct str raw)
{
    /* Names with escapes are read through the reader once more, so that they come out resolved. */
    if (!raw.len || !memchr(raw.ptr, '\\', raw.len)) {
        return arena_strndup(arena, raw.ptr, raw.len);
    }
    struct jsonr name_reader;
    const char *text = "";
    jsonr_init(&name_reader, (struct str){raw.ptr - 1, raw.len + 2});
    return jsonr_string(&name_reader, arena, &text) ? text : "";
}

static void read_text_map(struct jsonr *reader, struct arena *arena, const struct field *field,
                          void *target)
{
    if (!jsonr_object_begin(reader)) {
        return;
    }
    size_t room = count_members(*reader);
    struct text_entry *entries = ARENA_ARRAY(arena, struct text_entry, room);
    size_t count = 0;
    struct str name;
    while (jsonr_member(reader, &name)) {
        if (count == room) {
            jsonr_skip(reader);
        } else if (jsonr_string(reader, arena, &entries[count].value)) {
            entries[count].name = member_name(arena, name);
            count++;
        }
    }
    *(struct text_entry **)member(target, field->offset) = entries;
    *(size_t *)member(target, field->count_offset) = count;
}

static void read_int_map(struct jsonr *reader, struct arena *arena, const struct field *field,
                         void *target)
{
    if (!jsonr_object_begin(reader)) {
        return;
    }
    size_t room = count_members(*reader);
    struct int_entry *entries = ARENA_ARRAY(arena, struct int_entry, room);
    size_t count = 0;
    struct str name;
    while (jsonr_member(reader, &name)) {
        if (count == room) {
            jsonr_skip(reader);
        } else if (jsonr_int64(reader, &entries[count].value)) {
            entries[count].name = member_name(arena, name);
            count++;
        }
    }
    *(struct int_entry **)member(target, field->offset) = entries;
    *(size_t *)member(target, field->count_offset) = count;
}

static void read_raw(struct jsonr *reader, struct arena *arena, const char **slot)
{
    struct str raw;
    if (jsonr_peek(reader) == JSONR_NULL) {
        jsonr_skip(reader);
    } else if (jsonr_raw(reader, &raw)) {
        *slot = arena_strndup(arena, raw.ptr, raw.len);
    }
}

static void read_field(struct jsonr *reader, struct arena *arena, const struct field *field,
                       void *target)
{
    void *slot = member(target, field->offset);
    switch (field->kind) {
    case FIELD_TEXT:
        (void)jsonr_string(reader, arena, slot);
        return;
    case FIELD_RAW:
        read_raw(reader, arena, slot);
        return;
    case FIELD_INT:
        (void)jsonr_int64(reader, slot);
        return;
    case FIELD_BOOL:
        (void)jsonr_bool(reader, slot);
        return;
    case FIELD_ENUM:
        read_enum(reader, field->words, slot);
        return;
    case FIELD_DURATION:
        read_duration(reader, slot);
        return;
    case FIELD_OBJECT:
        (void)fields_read(reader, arena, field->fields, slot);
        return;
    case FIELD_TEXTS:
        read_texts(reader, arena, field, target);
        return;
    case FIELD_OBJECTS:
        read_objects(reader, arena, field, target);
        return;
    case FIELD_TEXT_MAP:
        read_text_map(reader, arena, field, target);
        return;
    case FIELD_INT_MAP:
        read_int_map(reader, arena, field, target);
        return;
    case FIELD_CONDITIONS:
        (void)condition_set_read(reader, arena, slot);
        return;
    }
}

/* The field of that name, from `at` on to the table's end. The first letter turns nearly all others
 * away. */
static inline const struct field *find_from(const struct field *at, struct str name)
{
    while (at->name &&
           (at->name[0] != name.ptr[0] || at->packed_only || !str_equal_c(name, at->name))) {
        at++;
    }
    return at->name ? at : NULL;
}

/* Members come in the same order mostly, so the search begins behind the last one that was found.
 */
static inline const struct field *find_field(const struct field *fields, const struct field *next,
                                             struct str name)
{
    const struct field *field = find_from(next, name);
    return field || next == fields ? field : find_from(fields, name);
}

/* False at the object's end. *ret is NULL for a member that the table does not name. */
static inline bool next_member(struct jsonr *reader, const struct field *fields,
                               const struct field *next, const struct field **ret)
{
    struct str name;

    if (next->quoted.len > 0 && jsonr_member_is(reader, next->quoted)) {
        *ret = next;
        return true;
    }
    if (!jsonr_member(reader, &name)) {
        return false;
    }
    *ret = find_field(fields, next, name);
    return true;
}

bool fields_read(struct jsonr *reader, struct arena *arena, const struct field *fields,
                 void *target)
{
    if (!jsonr_object_begin(reader)) {
        return false;
    }
    const struct field *next = fields;
    const struct field *field = NULL;
    while (next_member(reader, fields, next, &field)) {
        if (field) {
            read_field(reader, arena, field, target);
            next = field + 1;
        } else {
            jsonr_skip(reader);
        }
    }
    return !jsonr_failed(reader);
}

void fields_read_member(struct jsonr *reader, struct arena *arena, const struct field *fields,
                        struct str name, void *target)
{
    const struct field *field = find_from(fields, name);

    if (field) {
        read_field(reader, arena, field, target);
    } else {
        jsonr_skip(reader);
    }
}

void fields_default(const struct field *fields, void *target)
{
    for (const struct field *field = fields; field->name; field++) {
        if (field->kind == FIELD_TEXT || field->kind == FIELD_RAW) {
            const char **text = member(target, field->offset);
            if (!*text) {
                *text = "";
            }
        } else if (field->kind == FIELD_OBJECT) {
            fields_default(field->fields, member(target, field->offset));
        }
    }
}

/* ---- packing ---- */

struct packer {
    struct dictionary *dictionary;
    struct buf *out;
};

static inline void pack_unsigned(struct packer *packer, uint64_t value)
{
    while (value >= 0x80) {
        (void)buf_append_char(packer->out, (char)(unsigned char)(0x80 | (value & 0x7f)));
        value >>= 7;
    }
    (void)buf_append_char(packer->out, (char)(unsigned char)value);
}

static void pack_int(struct packer *packer, int64_t value)
{
    pack_unsigned(packer, ((uint64_t)value << 1) ^ (uint64_t)(value >> 63));
}

static void pack_text(struct packer *packer, const char *text)
{
    struct str shown = str_from(text);
    if (shown.len == 0) {
        pack_unsigned(packer, 0); /* most texts of most objects; no word is shorter */
        return;
    }
    int number = packer->dictionary ? dictionary_find(packer->dictionary, shown) : -1;
    if (number >= 0) {
        pack_unsigned(packer, (uint64_t)number << 1 | 1);
        return;
    }
    pack_unsigned(packer, (uint64_t)shown.len << 1);
    (void)buf_append_str(packer->out, shown);
}

static void pack_conditions(struct packer *packer, const struct condition_set *set)
{
    pack_unsigned(packer, set->count);
    for (size_t i = 0; i < set->count; i++) {
        const struct condition *condition = &set->items[i];
        pack_text(packer, condition->type);
        pack_unsigned(packer, (uint64_t)condition->status);
        pack_text(packer, condition->reason);
        pack_text(packer, condition->message);
        pack_int(packer, condition->observed_generation);
        pack_int(packer, condition->transition_s);
    }
}

static void pack_fields(struct packer *packer, const struct field *fields, const void *source);

static void pack_list(struct packer *packer, const struct field *field, const void *source)
{
    const void *elements = *(const void *const *)member_const(source, field->offset);
    size_t count = *(const size_t *)member_const(source, field->count_offset);
    const char *const *texts = elements;
    const struct text_entry *text_entries = elements;
    const struct int_entry *int_entries = elements;
    pack_unsigned(packer, count);
    for (size_t i = 0; i < count; i++) {
        if (field->kind == FIELD_TEXTS) {
            pack_text(packer, texts[i]);
        } else if (field->kind == FIELD_TEXT_MAP) {
            pack_text(packer, text_entries[i].name);
            pack_text(packer, text_entries[i].value);
        } else if (field->kind == FIELD_INT_MAP) {
            pack_text(packer, int_entries[i].name);
            pack_int(packer, int_entries[i].value);
        } else {
            pack_fields(packer, field->fields, member_const(elements, i * field->element_bytes));
        }
    }
}

static void pack_fields(struct packer *packer, const struct field *fields, const void *source)
{
    for (const struct field *field = fields; field->name; field++) {
        const void *slot = member_const(source, field->offset);
        unsigned word;
        switch (field->kind) {
        case FIELD_TEXT:
        case FIELD_RAW:
            pack_text(packer, *(const char *const *)slot);
            break;
        case FIELD_INT:
        case FIELD_DURATION:
            pack_int(packer, *(const int64_t *)slot);
            break;
        case FIELD_BOOL:
            pack_unsigned(packer, *(const bool *)slot ? 1 : 0);
            break;
        case FIELD_ENUM:
            memcpy(&word, slot, sizeof(word));
            pack_unsigned(packer, word);
            break;
        case FIELD_OBJECT:
            pack_fields(packer, field->fields, slot);
            break;
        case FIELD_CONDITIONS:
            pack_conditions(packer, slot);
            break;
        case FIELD_TEXTS:
        case FIELD_OBJECTS:
        case FIELD_TEXT_MAP:
        case FIELD_INT_MAP:
            pack_list(packer, field, source);
            break;
        }
    }
}

void fields_pack(const struct field *fields, struct dictionary *dictionary, const void *source,
                 struct buf *out)
{
    struct packer packer = {.dictionary = dictionary, .out = out};
    pack_fields(&packer, fields, source);
}

/* ---- unpacking ---- */

struct unpacker {
    struct dictionary *dictionary;
    struct arena *arena;
    const unsigned char *at;
    const unsigned char *end;
};

static uint64_t unpack_unsigned(struct unpacker *unpacker)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        if (unpacker->at == unpacker->end) {
            abort();
        }
        unsigned char byte = *unpacker->at++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            return value;
        }
    }
    abort();
}

static int64_t unpack_int(struct unpacker *unpacker)
{
    uint64_t value = unpack_unsigned(unpacker);
    return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
}

static const char *unpack_text(struct unpacker *unpacker)
{
    uint64_t head = unpack_unsigned(unpacker);
    uint64_t rest = head >> 1;
    if (head & 1) {
        const char *word =
            unpacker->dictionary ? dictionary_word(unpacker->dictionary, rest) : NULL;
        if (!word) {
            abort();
        }
        return word;
    }
    if (rest > (uint64_t)(unpacker->end - unpacker->at)) {
        abort();
    }
    const char *text = arena_strndup(unpacker->arena, (const char *)unpacker->at, (size_t)rest);
    unpacker->at += rest;
    return text;
}

static void unpack_conditions(struct unpacker *unpacker, struct condition_set *set)
{
    set->count = (size_t)unpack_unsigned(unpacker);
    if (set->count > CONDITIONS_MAX) {
        abort();
    }
    for (size_t i = 0; i < set->count; i++) {
        struct condition *condition = &set->items[i];
        condition->type = unpack_text(unpacker);
        condition->status = (enum condition_status)unpack_unsigned(unpacker);
        condition->reason = unpack_text(unpacker);
        condition->message = unpack_text(unpacker);
        condition->observed_generation = unpack_int(unpacker);
        condition->transition_s = unpack_int(unpacker);
    }
}

static void unpack_fields(struct unpacker *unpacker, const struct field *fields, void *target);

static void unpack_list(struct unpacker *unpacker, const struct field *field, void *target)
{
    static const size_t bytes_of[] = {
        [FIELD_TEXTS] = sizeof(const char *),
        [FIELD_TEXT_MAP] = sizeof(struct text_entry),
        [FIELD_INT_MAP] = sizeof(struct int_entry),
    };
    size_t count = (size_t)unpack_unsigned(unpacker);
    size_t bytes = field->kind == FIELD_OBJECTS ? field->element_bytes : bytes_of[field->kind];
    if (count > FIELDS_LIST_MAX) {
        abort();
    }
    char *elements = arena_calloc(unpacker->arena, count, bytes);
    for (size_t i = 0; i < count; i++) {
        void *element = elements + i * bytes;
        if (field->kind == FIELD_OBJECTS) {
            unpack_fields(unpacker, field->fields, element);
            continue;
        }
        *(const char **)element = unpack_text(unpacker); /* text, or the name of an entry */
        if (field->kind == FIELD_TEXT_MAP) {
            ((struct text_entry *)element)->value = unpack_text(unpacker);
        } else if (field->kind == FIELD_INT_MAP) {
            ((struct int_entry *)element)->value = unpack_int(unpacker);
        }
    }
    *(void **)member(target, field->offset) = elements;
    *(size_t *)member(target, field->count_offset) = count;
}

static void unpack_fields(struct unpacker *unpacker, const struct field *fields, void *target)
{
    for (const struct field *field = fields; field->name; field++) {
        void *slot = member(target, field->offset);
        unsigned word;
        switch (field->kind) {
        case FIELD_TEXT:
        case FIELD_RAW:
            *(const char **)slot = unpack_text(unpacker);
            break;
        case FIELD_INT:
        case FIELD_DURATION:
            *(int64_t *)slot = unpack_int(unpacker);
            break;
        case FIELD_BOOL:
            *(bool *)slot = unpack_unsigned(unpacker) != 0;
            break;
        case FIELD_ENUM:
            word = (unsigned)unpack_unsigned(unpacker);
            memcpy(slot, &word, sizeof(word));
            break;
        case FIELD_OBJECT:
            unpack_fields(unpacker, field->fields, slot);
            break;
        case FIELD_CONDITIONS:
            unpack_conditions(unpacker, slot);
            break;
        case FIELD_TEXTS:
        case FIELD_OBJECTS:
        case FIELD_TEXT_MAP:
        case FIELD_INT_MAP:
            unpack_list(unpacker, field, target);
            break;
        }
    }
}

void fields_unpack(const struct field *fields, struct dictionary *dictionary, struct str packed,
                   struct arena *arena, void *target)
{
    struct unpacker unpacker = {
        .dictionary = dictionary,
        .arena = arena,
        .at = (const unsigned char *)packed.ptr,
        .end = (const unsigned char *)packed.ptr + packed.len,
    };
    unpack_fields(&unpacker, fields, target);
}
