#include "controller/base/js.h"

#include <stdio.h>
#include <string.h>

void js_init(void)
{
    /* A tree that cannot be allocated ends the program like any other memory; so no caller has to
     * look for NULL behind every jansson constructor. */
    json_set_alloc_funcs(xmalloc, free);
    json_object_seed(0);
}

int js_parse(struct str text, size_t max_bytes, json_t **ret, struct err *err)
{
    json_error_t problem;

    if (text.len > max_bytes) {
        return err_set(err, ERR_TERMINAL, "InvalidJSON",
                       "JSON text of %zu bytes is larger than the limit of %zu bytes", text.len,
                       max_bytes);
    }
    json_t *value = json_loadb(text.len > 0 ? text.ptr : "", text.len,
                               JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &problem);
    if (!value) {
        return err_set(err, ERR_TERMINAL, "InvalidJSON", "invalid JSON at line %d, column %d: %s",
                       problem.line, problem.column, problem.text);
    }
    *ret = value;
    return 0;
}

char *js_print(const json_t *value)
{
    char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);

    if (!text) {
        /* jansson refuses only cycles, which our trees cannot have, and a lack of memory. */
        out_of_memory();
    }
    return text;
}

/* One step of a path: a member of an object, or an element of an array by its decimal index. */
static const json_t *step_into(const json_t *value, struct str segment)
{
    int64_t index = 0;

    if (json_is_object(value)) {
        return json_object_getn(value, segment.ptr, segment.len);
    }
    if (json_is_array(value) && str_to_int64(segment, &index) && index >= 0) {
        return json_array_get(value, (size_t)index);
    }
    return NULL;
}

const json_t *js_at(const json_t *root, const char *path)
{
    const json_t *value = root;
    struct str rest = str_from(path);

    while (value && rest.len > 0) {
        if (rest.ptr[0] != '/') {
            return NULL;
        }
        const char *name = rest.ptr + 1;
        const char *slash = memchr(name, '/', rest.len - 1);
        const char *end = slash ? slash : rest.ptr + rest.len;
        value = step_into(value, (struct str){name, (size_t)(end - name)});
        rest = (struct str){end, rest.len - (size_t)(end - rest.ptr)};
    }
    return json_is_null(value) ? NULL : value;
}

static int wrong_type(const json_t *value, const char *path, const char *wanted, struct err *err)
{
    if (!value) {
        return err_set(err, ERR_TERMINAL, "InvalidField", "%s is missing", path);
    }
    return err_set(err, ERR_TERMINAL, "InvalidField", "%s is not %s", path, wanted);
}

int js_get_text(const json_t *root, const char *path, const char **ret, struct err *err)
{
    const json_t *value = js_at(root, path);

    if (!json_is_string(value)) {
        return wrong_type(value, path, "a string", err);
    }
    *ret = json_string_value(value);
    return 0;
}

int js_get_int(const json_t *root, const char *path, int64_t *ret, struct err *err)
{
    const json_t *value = js_at(root, path);

    if (!json_is_integer(value)) {
        return wrong_type(value, path, "an integer", err);
    }
    *ret = json_integer_value(value);
    return 0;
}

const char *js_text_or(const json_t *root, const char *path, const char *fallback)
{
    const json_t *value = js_at(root, path);

    return json_is_string(value) ? json_string_value(value) : fallback;
}

int64_t js_int_or(const json_t *root, const char *path, int64_t fallback)
{
    const json_t *value = js_at(root, path);

    return json_is_integer(value) ? json_integer_value(value) : fallback;
}

bool js_bool_or(const json_t *root, const char *path, bool fallback)
{
    const json_t *value = js_at(root, path);

    return json_is_boolean(value) ? json_is_true(value) : fallback;
}
