/* XML from S3 and IAM servers, read by expat in one pass. What an answer may make us do is bounded:
 * no document type (so no entities but the five), at most 16 levels, at most 64 KiB of text an
 * element; the whole is bounded by whoever received it. */
#ifndef TENANTRY_DRIVERS_XML_H
#define TENANTRY_DRIVERS_XML_H

#include "controller/base/attributes.h"
#include "controller/base/buf.h"
#include "controller/base/err.h"
#include "controller/base/str.h"

/* Called when an element ends. path: its name behind those it stands in, without the root's name
 * and without namespaces, such as "Version/Key" ("" for the root itself). text: what stands in it
 * outside of elements. Valid during the call. Returning -1 with *err filled ends the reading. */
typedef int (*xml_end_fn)(void *context, const char *path, struct str text, struct err *err);

/* Errors: RETRY/StorageAnswer when it is no well-formed XML or passes a bound, and what on_end
 * returned. */
MUST_CHECK int xml_read(struct str document, xml_end_fn on_end, void *context, struct err *err);

/* Append text with what XML reserves escaped. False when it holds a character that XML 1.0 cannot
 * write in any form (a control character, or no UTF-8); then nothing is appended. */
MUST_CHECK bool xml_append(struct buf *out, struct str text);

#endif
