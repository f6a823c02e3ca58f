/* Files compiled into the program (cmake/embed.cmake). */
#ifndef TENANTRY_DRIVERS_EMBEDDED_H
#define TENANTRY_DRIVERS_EMBEDDED_H

#include <stddef.h>

struct embedded_file {
    const char *name;  /* without folder; NULL ends an array */
    const char *bytes; /* NUL-ended */
    size_t size;
};

#endif
