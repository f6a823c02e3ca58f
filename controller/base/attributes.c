/* The allocation wrappers: the only callers of malloc in the program that see a NULL. */
#include "controller/base/attributes.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

const char *errno_text(int number)
{
    const char *text = strerrordesc_np(number);

    return text ? text : "Unknown error";
}

void out_of_memory(void)
{
    static const char line[] = "out of memory\n";
    /* Nothing can be done when even this fails. */
    ssize_t ignored UNUSED = write(STDERR_FILENO, line, sizeof(line) - 1);

    abort();
}

void *xmalloc(size_t bytes)
{
    void *pointer = malloc(bytes ? bytes : 1);

    if (!pointer) {
        out_of_memory();
    }
    return pointer;
}

void *xcalloc(size_t count, size_t bytes)
{
    void *pointer = calloc(count ? count : 1, bytes ? bytes : 1);

    if (!pointer) {
        out_of_memory();
    }
    return pointer;
}

void *xrealloc(void *pointer, size_t bytes)
{
    void *grown = realloc(pointer, bytes ? bytes : 1);

    if (!grown) {
        out_of_memory();
    }
    return grown;
}

char *xstrdup(const char *text)
{
    return xmemdup0(text, strlen(text));
}

char *xmemdup0(const char *bytes, size_t count)
{
    if (count == SIZE_MAX) {
        out_of_memory();
    }
    char *copy = xmalloc(count + 1);
    if (count > 0) { /* bytes may be NULL with a count of 0, which memcpy does not allow */
        memcpy(copy, bytes, count);
    }
    copy[count] = '\0';
    return copy;
}

char *xasprintf(const char *format, ...)
{
    va_list arguments;
    char *text = NULL;

    va_start(arguments, format);
    int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (length < 0 || !text) {
        out_of_memory();
    }
    return text;
}

void auto_release_fd(const int *fd)
{
    if (*fd >= 0) {
        close(*fd);
    }
}
