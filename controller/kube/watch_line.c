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

/* The object at the reader, which is consumed. */
static bool read_object(struct jsonr *reader, bool with_annotations, struct object_glance *glance)
{
    struct str name;

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
    }
    return !jsonr_failed(reader);
}

bool object_glance_read(struct str json, struct object_glance *ret)
{
    struct object_glance glance = {0};
    struct jsonr reader;

    jsonr_init(&reader, json);
    if (!read_object(&reader, false, &glance) || !jsonr_at_end(&reader)) {
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

static bool read_line(struct jsonr *reader, struct watch_line *line)
{
    struct str name;
    struct str type = {0};

    if (!jsonr_object_begin(reader)) {
        return false;
    }
    while (jsonr_member(reader, &name)) {
        if (str_equal(name, STR("type"))) {
            if (!jsonr_raw_string(reader, &type)) {
                return false;
            }
        } else if (str_equal(name, STR("object"))) {
            (void)jsonr_peek(reader); /* moves to the value's first byte */
            line->object.ptr = reader->at;
            /* Annotations matter of bookmarks alone; the type mostly comes first. */
            bool may_be_bookmark = type.len == 0 || line_type(type) == WATCH_LINE_BOOKMARK;
            if (!read_object(reader, may_be_bookmark, &line->glance)) {
                return false;
            }
            line->object.len = (size_t)(reader->at - line->object.ptr);
        } else {
            jsonr_skip(reader);
        }
    }
    line->type = line_type(type);
    return jsonr_at_end(reader) && line->object.len > 0;
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
