/* The only door to jansson: small documents as trees. Paths are JSON pointers without escapes,
 * "/spec/tier", "/users/0/name"; the path stands in every error. Three states of a member, absent,
 * null and a value, are kept apart: "required" wants a value, "optional" takes absent or null as
 * the default. A tree is not to be shared between threads while anyone changes it. */
#ifndef TENANTRY_BASE_JS_H
#define TENANTRY_BASE_JS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "controller/base/arena.h"
#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "controller/base/str.h"

static inline void auto_release_json(json_t **value)
{
    json_decref(*value);
}

/* Once, before threads start and before any tree is made: seeds jansson's object hashing, and makes
 * a failed allocation of jansson's end the program like any other. */
void js_init(void);

/* Parse one JSON document of at most max_bytes; duplicate members are an error.
 * Caller decrefs *ret. Errors: TERMINAL/InvalidJSON. */
MUST_CHECK int js_parse(struct str text, size_t max_bytes, json_t **ret, struct err *err);

/* Compact text; caller frees. */
char *js_print(const json_t *value);

/* Borrowed value at path, or NULL when any part is absent or null. */
const json_t *js_at(const json_t *root, const char *path);

/* Strings are borrowed from the tree. Errors: TERMINAL/InvalidField (absent or of another type). */
MUST_CHECK int js_get_text(const json_t *root, const char *path, const char **ret, struct err *err);
MUST_CHECK int js_get_int(const json_t *root, const char *path, int64_t *ret, struct err *err);
/* The default when absent or null or of another type. */
const char *js_text_or(const json_t *root, const char *path, const char *fallback);
int64_t js_int_or(const json_t *root, const char *path, int64_t fallback);
bool js_bool_or(const json_t *root, const char *path, bool fallback);

#endif
