/* libyaml's events, composed into a JSON tree by recursive descent: one function for each kind of
 * node, each given the event that opens it. Depth and the number of nodes are capped. A failure is
 * recorded where it is found, with its place, and unwinds through NULL. */
#include "controller/base/yml.h"

#include "controller/base/js.h"
#include "controller/base/map.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

enum { NODES_MAX = 10000, DEPTH_MAX = 64 };

struct composer {
    yaml_parser_t parser;
    struct map anchors; /* name -> struct anchor, both owned */
    size_t nodes;
    int depth;
    struct err *err;
};

/* A finished node that aliases may copy. One that contains itself is never finished, so an alias
 * cannot make a cycle. */
struct anchor {
    json_t *value;
    size_t nodes;
};

static void auto_release_yml_event(yaml_event_t *event)
{
    yaml_event_delete(event);
}

static void anchor_free(struct anchor *anchor)
{
    if (anchor) {
        json_decref(anchor->value);
        free(anchor);
    }
}

static void auto_release_composer(struct composer *composer)
{
    size_t cursor = 0;
    struct str name;
    void *anchor = NULL;

    while (map_next(&composer->anchors, &cursor, &name, &anchor)) {
        anchor_free(anchor);
    }
    map_release(&composer->anchors);
    yaml_parser_delete(&composer->parser);
}

/* Fill the error with the place and return -1. */
static int fail_at(struct composer *composer, yaml_mark_t mark, const char *format, ...)
    PRINTF_LIKE(3, 4);
static int fail_at(struct composer *composer, yaml_mark_t mark, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    err_setv(composer->err, ERR_TERMINAL, "InvalidYAML", format, arguments);
    va_end(arguments);
    return err_wrap(composer->err, "invalid YAML at line %zu, column %zu", mark.line + 1,
                    mark.column + 1);
}

static json_t *fail_node(struct composer *composer, const yaml_event_t *event, const char *problem)
{
    (void)fail_at(composer, event->start_mark, "%s", problem);
    return NULL;
}

static int next_event(struct composer *composer, yaml_event_t *event)
{
    yaml_parser_t *parser = &composer->parser;

    if (yaml_parser_parse(parser, event)) {
        return 0;
    }
    if (parser->error == YAML_MEMORY_ERROR) {
        out_of_memory();
    }
    /* The reader, which finds broken UTF-8, has not set the problem's mark. */
    yaml_mark_t mark = parser->error == YAML_READER_ERROR ? parser->mark : parser->problem_mark;
    return fail_at(composer, mark, "%s", parser->problem ? parser->problem : "not well-formed");
}

static const char *text_of(const yaml_event_t *scalar)
{
    return (const char *)scalar->data.scalar.value;
}

static bool is_one_of(const char *text, const char *const *words, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(text, words[i]) == 0) {
            return true;
        }
    }
    return false;
}
#define IS_ONE_OF(text, ...)                                                                       \
    is_one_of((text), (const char *const[]){__VA_ARGS__},                                          \
              ARRAY_COUNT(((const char *const[]){__VA_ARGS__})))

static size_t digits_at(const char *text)
{
    return strspn(text, "0123456789");
}

/* [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )? */
static bool is_float(const char *text)
{
    text += *text == '-' || *text == '+';
    size_t whole = digits_at(text);
    text += whole;
    if (*text == '.') {
        text++;
        size_t fraction = digits_at(text);
        text += fraction;
        whole += fraction;
    }
    if (whole == 0) {
        return false;
    }
    if (*text == 'e' || *text == 'E') {
        text++;
        text += *text == '-' || *text == '+';
        size_t exponent = digits_at(text);
        if (exponent == 0) {
            return false;
        }
        text += exponent;
    }
    return *text == '\0';
}

/* "0x1F" or "0o17": its base, 0 for anything else. */
static int prefixed_base(const char *text)
{
    int base = strncmp(text, "0x", 2) == 0 ? 16 : strncmp(text, "0o", 2) == 0 ? 8 : 0;
    const char *digits = base == 16 ? "0123456789abcdefABCDEF" : "01234567";

    if (base == 0 || text[2] == '\0' || text[2 + strspn(text + 2, digits)] != '\0') {
        return 0;
    }
    return base;
}

/* An integer or float of the core schema; *ret_matched says whether it is one at all. NULL with
 * that means a number that JSON's types cannot hold. */
static json_t *compose_number(const char *text, bool *ret_matched)
{
    int base = prefixed_base(text);
    const char *unsigned_text = text + (*text == '-' || *text == '+');
    size_t digits = digits_at(unsigned_text);
    int64_t integer = 0;

    *ret_matched = true;
    if (base != 0) {
        errno = 0;
        unsigned long long value = strtoull(text + 2, NULL, base);
        return errno == 0 && value <= INT64_MAX ? json_integer((json_int_t)value) : NULL;
    }
    if (digits > 0 && unsigned_text[digits] == '\0') {
        bool fits = str_to_int64(str_from(*text == '+' ? text + 1 : text), &integer);
        return fits ? json_integer(integer) : NULL;
    }
    if (is_float(text)) {
        double real = strtod(text, NULL);
        return isfinite(real) ? json_real(real) : NULL;
    }
    *ret_matched = IS_ONE_OF(unsigned_text, ".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN");
    return NULL;
}

static json_t *compose_scalar(struct composer *composer, const yaml_event_t *event)
{
    const char *text = text_of(event);
    size_t length = event->data.scalar.length;
    bool is_number = false;

    if (strlen(text) != length) {
        return fail_node(composer, event, "a string contains a NUL character");
    }
    if (event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
        if (IS_ONE_OF(text, "", "~", "null", "Null", "NULL")) {
            return json_null();
        }
        if (IS_ONE_OF(text, "true", "True", "TRUE")) {
            return json_true();
        }
        if (IS_ONE_OF(text, "false", "False", "FALSE")) {
            return json_false();
        }
        json_t *number = compose_number(text, &is_number);
        if (is_number) {
            return number ? number
                          : fail_node(composer, event,
                                      "the number is out of range; quote it if it is text");
        }
    }
    json_t *string = json_stringn(text, length);
    return string ? string : fail_node(composer, event, "a string is not valid UTF-8");
}

static json_t *compose(struct composer *composer, const yaml_event_t *event);

static json_t *compose_sequence(struct composer *composer)
{
    AUTO(json) json_t *array = json_array();

    for (;;) {
        AUTO(yml_event) yaml_event_t event = {0};
        if (next_event(composer, &event)) {
            return NULL;
        }
        if (event.type == YAML_SEQUENCE_END_EVENT) {
            return TAKE(array);
        }
        json_t *item = compose(composer, &event);
        if (!item) {
            return NULL;
        }
        json_array_append_new(array, item);
    }
}

static int check_key(struct composer *composer, const yaml_event_t *key, const json_t *object)
{
    if (key->type != YAML_SCALAR_EVENT || key->data.scalar.anchor || key->data.scalar.tag) {
        return fail_at(composer, key->start_mark,
                       "a key must be a scalar without anchor, alias or tag");
    }
    const char *name = text_of(key);
    if (strlen(name) != key->data.scalar.length) {
        return fail_at(composer, key->start_mark, "a key contains a NUL character");
    }
    if (key->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && strcmp(name, "<<") == 0) {
        return fail_at(composer, key->start_mark, "merge keys are not supported");
    }
    if (json_object_get(object, name)) {
        return fail_at(composer, key->start_mark, "the key \"%s\" stands here twice", name);
    }
    return 0;
}

static json_t *compose_mapping(struct composer *composer)
{
    AUTO(json) json_t *object = json_object();

    for (;;) {
        AUTO(yml_event) yaml_event_t key = {0};
        AUTO(yml_event) yaml_event_t event = {0};
        if (next_event(composer, &key)) {
            return NULL;
        }
        if (key.type == YAML_MAPPING_END_EVENT) {
            return TAKE(object);
        }
        if (check_key(composer, &key, object) || next_event(composer, &event)) {
            return NULL;
        }
        json_t *value = compose(composer, &event);
        if (!value) {
            return NULL;
        }
        if (json_object_set_new(object, text_of(&key), value)) {
            return fail_node(composer, &key, "a key is not valid UTF-8");
        }
    }
}

static json_t *compose_alias(struct composer *composer, const yaml_event_t *event)
{
    const char *name = (const char *)event->data.alias.anchor;
    const struct anchor *anchor = map_get(&composer->anchors, str_from(name));

    if (!anchor) {
        return fail_node(composer, event, "the alias names no finished anchor");
    }
    /* Counted before it is copied: this is what stops a nest of aliases. */
    composer->nodes += anchor->nodes;
    if (composer->nodes > NODES_MAX) {
        return fail_node(composer, event, "the document has too many nodes");
    }
    return json_deep_copy(anchor->value);
}

static void add_anchor(struct composer *composer, const char *name, json_t *value, size_t nodes)
{
    struct anchor *anchor = xmalloc(sizeof(*anchor));

    *anchor = (struct anchor){.value = json_incref(value), .nodes = nodes};
    /* A name may be used again: later aliases mean the later node. */
    anchor_free(map_put(&composer->anchors, str_from(name), anchor));
}

static json_t *compose_container(struct composer *composer, const yaml_event_t *event)
{
    if (composer->depth == DEPTH_MAX) {
        return fail_node(composer, event, "the document is nested too deeply");
    }
    composer->depth++;
    json_t *value = event->type == YAML_SEQUENCE_START_EVENT ? compose_sequence(composer)
                                                             : compose_mapping(composer);
    composer->depth--;
    return value;
}

/* The node that `event` opens; a new reference, or NULL with the error set. */
static json_t *compose(struct composer *composer, const yaml_event_t *event)
{
    const size_t nodes_before = composer->nodes;
    const yaml_char_t *anchor = NULL;
    const yaml_char_t *tag = NULL;
    json_t *value = NULL;

    if (++composer->nodes > NODES_MAX) {
        return fail_node(composer, event, "the document has too many nodes");
    }
    if (event->type == YAML_ALIAS_EVENT) {
        return compose_alias(composer, event);
    }
    if (event->type == YAML_SCALAR_EVENT) {
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
    } else if (event->type == YAML_SEQUENCE_START_EVENT) {
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
    } else {
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
    }
    if (tag) {
        return fail_node(composer, event, "tags are not supported");
    }
    value = event->type == YAML_SCALAR_EVENT ? compose_scalar(composer, event)
                                             : compose_container(composer, event);
    if (value && anchor) {
        add_anchor(composer, (const char *)anchor, value, composer->nodes - nodes_before);
    }
    return value;
}

/* Compose the document whose start was read, and see to it that what follows is well-formed at
 * least as far as the next document's start: else a stray bracket would cut a file unseen. */
static json_t *compose_document(struct composer *composer)
{
    AUTO(yml_event) yaml_event_t first = {0};
    AUTO(yml_event) yaml_event_t end = {0};
    AUTO(yml_event) yaml_event_t behind = {0};
    AUTO(json) json_t *root = NULL;

    if (next_event(composer, &first)) {
        return NULL;
    }
    root = compose(composer, &first);
    if (!root || next_event(composer, &end) || next_event(composer, &behind)) {
        return NULL;
    }
    return TAKE(root);
}

int yml_parse(struct str text, size_t max_bytes, json_t **ret, struct err *err)
{
    AUTO(composer) struct composer composer = {.err = err};
    AUTO(yml_event) yaml_event_t stream = {0};
    AUTO(yml_event) yaml_event_t document = {0};
    json_t *root = NULL;

    if (text.len > max_bytes) {
        return err_set(err, ERR_TERMINAL, "InvalidYAML",
                       "YAML text of %zu bytes is larger than the limit of %zu bytes", text.len,
                       max_bytes);
    }
    if (!yaml_parser_initialize(&composer.parser)) {
        out_of_memory();
    }
    yaml_parser_set_encoding(&composer.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&composer.parser,
                                 (const unsigned char *)(text.len > 0 ? text.ptr : ""), text.len);
    if (next_event(&composer, &stream) || next_event(&composer, &document)) {
        return -1;
    }
    root = document.type == YAML_STREAM_END_EVENT ? json_null() : compose_document(&composer);
    if (!root) {
        return -1;
    }
    *ret = root;
    return 0;
}
