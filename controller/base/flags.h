/* A command line as a table: each row is a flag, the member that it sets, its range and its help.
 */
#ifndef TENANTRY_BASE_FLAGS_H
#define TENANTRY_BASE_FLAGS_H

#include <stddef.h>
#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/base/err.h"

enum flag_kind {
    FLAG_TEXT,     /* const char *, points into argv        */
    FLAG_INT,      /* int64_t                               */
    FLAG_BOOL,     /* bool; the flag alone means true       */
    FLAG_DURATION, /* int64_t, milliseconds                 */
    FLAG_LEVEL,    /* enum log_level                        */
    FLAG_FORMAT,   /* enum log_format                       */
};

struct flag {
    const char *name; /* without dashes */
    enum flag_kind kind;
    size_t offset;  /* of the member in the options */
    int64_t lowest; /* of FLAG_INT and FLAG_DURATION */
    int64_t highest;
    const char *help;
};

/* Take what stands behind argv[0], "--name=value", "--name value" or "--name" for a boolean, into
 * `options`, which hold the defaults; "-h" is "--help". The last one of a name counts. Errors:
 * TERMINAL/InvalidOption, naming the flag, and then `options` are half filled. */
MUST_CHECK int flags_parse(const struct flag *flags, size_t count, int argc, char **argv,
                           void *options, struct err *err);

/* One line a flag, to standard output. */
void flags_print(const struct flag *flags, size_t count);

#endif
