/* Reads a Kubernetes list as it arrives, in pieces of any size, and hands on each element of the
 * top-level "items" as its JSON text; beside that it keeps the list's own resourceVersion and
 * continue token, wherever "metadata" stands. So a list of any length needs the memory of one
 * object, and none at all for objects that lie within one piece. Each byte is looked at once.
 *
 * The scanner follows strings and nesting only: the text of an element is checked by whoever reads
 * it. Not thread-safe. */
#ifndef TENANTRY_KUBE_LIST_SCAN_H
#define TENANTRY_KUBE_LIST_SCAN_H

#include <stdbool.h>
#include <stddef.h>

#include "controller/base/attributes.h"
#include "controller/base/buf.h"
#include "controller/base/err.h"
#include "controller/base/str.h"

/* One element, valid during the call. Returning -1 with *err filled stops the feed. */
typedef int (*list_item_fn)(void *context, struct str json, struct err *err);

enum list_scan_place {
    LIST_BEFORE_OBJECT,
    LIST_BEFORE_FIRST_NAME,
    LIST_BEFORE_NAME,
    LIST_BEFORE_COLON,
    LIST_BEFORE_VALUE,
    LIST_BEFORE_FIRST_ITEM,
    LIST_BEFORE_ITEM,
    LIST_AFTER_ITEM,
    LIST_IN_VALUE,
    LIST_AFTER_VALUE,
    LIST_AT_END,
};

/* What the value under the scanner is for. */
enum list_scan_use { LIST_USE_NONE, LIST_USE_NAME, LIST_USE_METADATA, LIST_USE_ITEM };

enum list_scan_name { LIST_NAME_OTHER, LIST_NAME_METADATA, LIST_NAME_ITEMS };

struct list_scan {
    enum list_scan_place place;
    enum list_scan_use use;
    enum list_scan_name name; /* of the current member of the list object */
    int depth;                /* inside the current value */
    bool is_scalar;           /* it is a number, true, false or null, and ends where those do */
    bool in_string;
    bool escaped;
    struct buf carry; /* the part of the current value that came in earlier pieces */
    struct buf resource_version;
    struct buf continue_token;
};

void list_scan_init(struct list_scan *scan, size_t item_max_bytes);
void list_scan_release(struct list_scan *scan);
static inline void auto_release_list_scan(struct list_scan *scan)
{
    list_scan_release(scan);
}

/* Errors: RETRY/InvalidList, RETRY/ObjectTooLarge, and what on_item returned. */
MUST_CHECK int list_scan_feed(struct list_scan *scan, struct str data, list_item_fn on_item,
                              void *context, struct err *err);

/* The answer ended: was it a whole list with a resourceVersion? Errors: RETRY/InvalidList. */
MUST_CHECK int list_scan_finish(const struct list_scan *scan, struct err *err);

/* After list_scan_finish. The token is "" on the last page. */
const char *list_scan_resource_version(const struct list_scan *scan);
const char *list_scan_continue(const struct list_scan *scan);

#endif
