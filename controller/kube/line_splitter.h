/* Cuts a stream that arrives in pieces of any size into lines, looking at each byte once. A line
 * that lies within one piece is handed on as it is; only one that spans pieces is copied, into a
 * buffer that keeps its memory and never passes the maximum. What follows the last newline when the
 * stream ends is half a line and is dropped with the splitter. Not thread-safe. */
#ifndef TENANTRY_KUBE_LINE_SPLITTER_H
#define TENANTRY_KUBE_LINE_SPLITTER_H

#include <stddef.h>

#include "controller/base/attributes.h"
#include "controller/base/buf.h"
#include "controller/base/err.h"
#include "controller/base/str.h"

/* One line without its newline, valid during the call. Returning -1 with *err filled stops the
 * feed. */
typedef int (*line_fn)(void *context, struct str line, struct err *err);

struct line_splitter {
    struct buf carry; /* the begin of a line whose end has not come yet */
};

void line_splitter_init(struct line_splitter *splitter, size_t line_max_bytes);
void line_splitter_release(struct line_splitter *splitter);
/* Forget half a line: before another stream. */
void line_splitter_reset(struct line_splitter *splitter);

/* Errors: RETRY/LineTooLong, and what on_line returned; the splitter must be reset after either. */
MUST_CHECK int line_splitter_feed(struct line_splitter *splitter, struct str data, line_fn on_line,
                                  void *context, struct err *err);

#endif
