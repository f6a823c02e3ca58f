/* The reader judged by others: jansson for reading, a slow reference for skipping. Every text is
 * read from memory that ends at an unmapped page, so that one byte read too far ends the test with
 * or without a sanitizer. */
#ifndef TENANTRY_TESTS_UNIT_BASE_JSONR_CHECK_H
#define TENANTRY_TESTS_UNIT_BASE_JSONR_CHECK_H

#include "controller/base/str.h"

/* A copy of the text whose last byte is the last one of a mapping. */
struct guarded {
    char *map;
    size_t map_bytes;
    struct str text;
};

struct guarded guarded_copy(struct str text);
void auto_release_guarded(const struct guarded *guarded);

/* Read the text with jansson and with the reader: they must agree on whether it is JSON, and on
 * what it says. */
void check_like_jansson(struct str text);

/* Skip the container or string at the text's front: the reader must stop where a plain loop over
 * its bytes stops, or refuse with it. */
void check_skip(struct str text);

#endif
