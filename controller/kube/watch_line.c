#include "controller/kube/watch_line.h"

static void read_annotations(struct jsonr *reader, struct object_glance *glance)
{
    struct str name;
    struct str value;

    if (!jsonr_object_begin(reader)) {
        return;
    }
    while (jsonr_member(reader, &name)) {
        if (!str_equal(name, STR("k8s.io/initial-events-end"))) {
            jsonr_skip(reader);
        } else if (jsonr_raw_string(reader, &value)) {
            glance->ends_initial_events = str_equal(value, STR("true"));
        }
    }
}

static void read_metadata(struct jsonr *reader, bool with_annotations, struct object_glance *glance)
{
    struct str name;

    if (!jsonr_object_begin(reader)) {
        return;
    }
    glance->has_metadata = true;
    while (jsonr_member(reader, &name)) {
        if (str_equal(name, STR("resourceVersion"))) {
            if (!jsonr_raw_string(reader, &glance->resource_version)) {
                glance->resource_version = (struct str){0};
            }
        } else if (with_annotations && str_equal(name, STR("annotations"))) {
            read_annotations(reader, glance);
        } else {
            jsonr_skip(reader);
        }
    }
}

/* The object at the reader, as far as its kind and metadata: the API server writes them first.
 * *ret_stopped says whether the reader stands there, in the object, or behind all of it. */
static bool read_object(struct jsonr *reader, bool with_annotations, struct object_glance *glance,
                        bool *ret_stopped)
{
    struct str name;

    *ret_stopped = false;
    if (!jsonr_object_begin(reader)) {
        return false;
    }
    while (jsonr_member(reader, &name)) {
        if (str_equal(name, STR("kind"))) {
            if (!jsonr_raw_string(reader, &glance->kind)) {
                glance->kind = (struct str){0};
            }
        } else if (str_equal(name, STR("metadata"))) {
            read_metadata(reader, with_annotations, glance);
        } else {
            jsonr_skip(reader);
        }
        if (glance->kind.len > 0 && glance->has_metadata && !jsonr_failed(reader)) {
            *ret_stopped = true;
            return true;
        }
    }
    return !jsonr_failed(reader);
}

bool object_glance_read(struct str json, struct object_glance *ret)
{
    struct object_glance glance = {0};
    struct jsonr reader;
    bool stopped = false;

    jsonr_init(&reader, json);
    if (!read_object(&reader, false, &glance, &stopped) || (!stopped && !jsonr_at_end(&reader))) {
        return false;
    }
    *ret = glance;
    return true;
}

static enum watch_line_type line_type(struct str name)
{
    static const char *const names[] = {
        [WATCH_LINE_ADDED] = "ADDED",     [WATCH_LINE_MODIFIED] = "MODIFIED",
        [WATCH_LINE_DELETED] = "DELETED", [WATCH_LINE_BOOKMARK] = "BOOKMARK",
        [WATCH_LINE_ERROR] = "ERROR",
    };

    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        if (str_equal_c(name, names[i])) {
            return (enum watch_line_type)i;
        }
    }
    return WATCH_LINE_UNKNOWN;
}

/* The value of "object", behind a type that is known: what is left of the line but its last brace.
 * That it is one whole object shows when it is decoded. */
static bool read_rest(struct jsonr *reader, struct watch_line *line)
{
    struct str rest = {reader->at, (size_t)(reader->end - reader->at)};
    bool stopped = false;

    rest = str_trim(rest);
    if (!str_ends_with(rest, STR("}"))) {
        return false;
    }
    rest.len--;
    line->object = str_trim(rest);
    jsonr_init(reader, line->object);
    return read_object(reader, line->type == WATCH_LINE_BOOKMARK, &line->glance, &stopped) &&
           (stopped || jsonr_at_end(reader));
}

/* In whatever order its members come. */
static bool read_members(struct jsonr *reader, struct watch_line *line)
{
    struct str name;
    struct str type = {0};

    while (jsonr_member(reader, &name)) {
        if (str_equal(name, STR("type"))) {
            if (!jsonr_raw_string(reader, &type)) {
                return false;
            }
        } else if (!str_equal(name, STR("object"))) {
            jsonr_skip(reader);
        } else if (!jsonr_raw(reader, &line->object)) {
            return false;
        }
    }
    bool stopped = false;
    struct jsonr inner;
    line->type = line_type(type);
    jsonr_init(&inner, line->object);
    return jsonr_at_end(reader) && read_object(&inner, true, &line->glance, &stopped);
}

static bool read_line(struct jsonr *reader, struct watch_line *line)
{
    if (!jsonr_object_begin(reader)) {
        return false;
    }
    const struct jsonr begun = *reader;
    struct str type;
    if (jsonr_member_is(reader, STR("\"type\":")) && jsonr_raw_string(reader, &type) &&
        jsonr_member_is(reader, STR("\"object\":"))) {
        line->type = line_type(type);
        return read_rest(reader, line);
    }
    *reader = begun;
    return read_members(reader, line);
}

int watch_line_parse(struct str text, struct watch_line *ret, struct err *err)
{
    struct watch_line line = {0};
    struct jsonr reader;

    jsonr_init(&reader, text);
    if (!read_line(&reader, &line)) {
        return err_set(err, ERR_RETRY, "InvalidEvent",
                       "the server sent a watch event that is no valid JSON");
    }
    *ret = line;
    return 0;
}
