/* What the watch itself must know of an object or of a line of a watch stream: read as far as kind
 * and metadata, without a copy. Private to kube/watch and its tests. */
#ifndef TENANTRY_KUBE_WATCH_LINE_H
#define TENANTRY_KUBE_WATCH_LINE_H

#include <stdbool.h>

#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "controller/base/jsonr.h"
#include "controller/base/str.h"

/* Views into the text, as raw strings. */
struct object_glance {
    struct str kind; /* empty when absent: items of built-in kinds' lists carry none */
    struct str resource_version;
    bool has_metadata;
    bool ends_initial_events; /* a bookmark's annotation k8s.io/initial-events-end: "true" */
};

enum watch_line_type {
    WATCH_LINE_ADDED,
    WATCH_LINE_MODIFIED,
    WATCH_LINE_DELETED,
    WATCH_LINE_BOOKMARK,
    WATCH_LINE_ERROR,
    WATCH_LINE_UNKNOWN,
};

struct watch_line {
    enum watch_line_type type;
    struct str object; /* its JSON; behind kind and metadata not looked at yet */
    struct object_glance glance;
};

/* Errors: RETRY/InvalidEvent. */
MUST_CHECK int watch_line_parse(struct str line, struct watch_line *ret, struct err *err);

/* An element of a list; false when it is no JSON object. */
MUST_CHECK bool object_glance_read(struct str json, struct object_glance *ret);

#endif
