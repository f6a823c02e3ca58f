/* The entry of every fuzz target, and how a target says that a promise was broken. */
#ifndef TENANTRY_TESTS_FUZZ_H
#define TENANTRY_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "controller/base/log.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Log nothing: what is malformed is warned of, millions of times here. */
static inline void fuzz_quiet(void)
{
    log_configure(LOG_ERROR, LOG_TEXT);
}

#define FUZZ_CHECK(condition)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            (void)fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);          \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#endif
