#include "reconcilers/objects/intent.h"

#include "controller/base/js.h"
#include "controller/kube/object.h"
#include "reconcilers/objects/objects.h"

enum { OBJECT_MAX = 4 << 20, BODY_MAX_BYTES = 1 << 20 };

/* ---- bodies ---- */

void intent_init(struct arena *arena, struct intent *intent, enum child_kind kind,
                 const char *namespace_, const char *name)
{
    struct buf *body = ARENA_NEW(arena, struct buf);
    buf_init(body, BODY_MAX_BYTES);
    *intent = (struct intent){.kind = kind, .namespace_ = namespace_, .name = name, .body = body};
}

void intents_release(struct intent *intents, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        buf_release(intents[i].body);
    }
}

void intent_begin(const struct intent *intent, struct jsonw *writer, const struct tenant_work *work,
                  const struct kube_pair *more)
{
    const struct kube_ref ref = {.resource = child_codecs[intent->kind].resource,
                                 .namespace_ = intent->namespace_,
                                 .name = intent->name};
    jsonw_init(writer, intent->body);
    object_begin(writer, work, &ref, more);
}

/* ---- comparing ---- */

static bool holds(const char *member, const json_t *wanted, const json_t *observed);

/* Lists whose elements have their own names, in the API's schema: others may add elements. */
static bool is_map_by_name(const char *member, const json_t *wanted)
{
    static const char *const lists[] = {"containers", "env", "ports", "volumes", "volumeMounts"};
    for (size_t i = 0; i < ARRAY_COUNT(lists); i++) {
        if (text_equal(member, lists[i])) {
            return json_object_get(json_array_get(wanted, 0), "name") != NULL;
        }
    }
    return false;
}

static const json_t *find_named(const json_t *list, const json_t *name)
{
    size_t i;
    json_t *element;
    json_array_foreach((json_t *)list, i, element)
    {
        if (json_equal(json_object_get(element, "name"), (json_t *)name)) {
            return element;
        }
    }
    return NULL;
}

static bool list_holds(const char *member, const json_t *wanted, const json_t *observed)
{
    bool by_name = is_map_by_name(member, wanted);
    size_t i;
    json_t *element;

    if (!by_name && json_array_size(wanted) != json_array_size(observed)) {
        return false;
    }
    json_array_foreach((json_t *)wanted, i, element)
    {
        const json_t *other = by_name ? find_named(observed, json_object_get(element, "name"))
                                      : json_array_get(observed, i);
        if (!holds("", element, other)) {
            return false;
        }
    }
    return true;
}

static bool object_holds(const json_t *wanted, const json_t *observed)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)wanted, name, value)
    {
        if (!holds(name, value, json_object_get(observed, name))) {
            return false;
        }
    }
    return true;
}

/* "0.5" and "500m", 1 and "1": the server writes quantities in its own way. */
static bool is_quantity(const json_t *value, int64_t *ret_milli)
{
    if (json_is_integer(value)) {
        return !__builtin_mul_overflow((int64_t)json_integer_value(value), 1000, ret_milli);
    }
    return json_is_string(value) &&
           kube_quantity_milli(str_from(json_string_value(value)), ret_milli);
}

static bool scalar_holds(const json_t *wanted, const json_t *observed)
{
    int64_t a = 0;
    int64_t b = 0;
    return json_equal((json_t *)wanted, (json_t *)observed) ||
           (is_quantity(wanted, &a) && is_quantity(observed, &b) && a == b);
}

/* What is empty is left out by the server. */
static bool is_empty(const json_t *value)
{
    return json_is_null(value) || (json_is_object(value) && json_object_size(value) == 0) ||
           (json_is_array(value) && json_array_size(value) == 0) ||
           (json_is_string(value) && json_string_length(value) == 0) || json_is_false(value) ||
           (json_is_integer(value) && json_integer_value(value) == 0);
}

static bool holds(const char *member, const json_t *wanted, const json_t *observed)
{
    if (!observed) {
        return is_empty(wanted);
    }
    if (json_is_object(wanted)) {
        return json_is_object(observed) && object_holds(wanted, observed);
    }
    if (json_is_array(wanted)) {
        return json_is_array(observed) && list_holds(member, wanted, observed);
    }
    return scalar_holds(wanted, observed);
}

bool intent_holds(struct str wanted, struct str observed)
{
    AUTO(json) json_t *a = NULL;
    AUTO(json) json_t *b = NULL;
    struct err ignored;
    return js_parse(wanted, OBJECT_MAX, &a, &ignored) == 0 &&
           js_parse(observed, OBJECT_MAX, &b, &ignored) == 0 && holds("", a, b);
}
