/* The one error type.
 *
 * A fallible function returns 0 or -1, is MUST_CHECK, and takes `struct err *err` last, never NULL.
 * On success *err is untouched; on failure it is filled, and nothing else that the function
 * returns may be looked at. The struct lives on the caller's stack and owns nothing, so even a
 * failure to get a resource can be reported.
 *
 * The class decides what happens next (runtime/outcome.h); the reason, CamelCase, becomes a
 * condition's reason; the message reads "context: context: cause", lower case, without final stop,
 * secret or server detail. Wrap only when adding a noun. */
#ifndef TENANTRY_BASE_ERR_H
#define TENANTRY_BASE_ERR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>

#include "controller/base/attributes.h"

enum err_class {
    ERR_OK,
    ERR_WAIT,      /* not wrong, not yet: something else must happen first; look again later      */
    ERR_RETRY,     /* a fault that may pass: try again with backoff                               */
    ERR_CONFLICT,  /* somebody else wrote meanwhile: read again and repeat soon                   */
    ERR_NOT_FOUND, /* the thing asked for is not there                                            */
    ERR_TERMINAL,  /* stays wrong until somebody changes the input: no retry, Stalled             */
    ERR_CANCELED,  /* the program is stopping, or leadership was lost: say nothing, write nothing */
};

enum { ERR_REASON_BYTES = 64, ERR_CODE_BYTES = 8, ERR_MESSAGE_BYTES = 1024 };

struct err {
    enum err_class cls;
    char reason[ERR_REASON_BYTES];   /* CamelCase                                      */
    char code[ERR_CODE_BYTES];       /* SQLSTATE or HTTP status in decimal, "" if none */
    int64_t retry_after_ms;          /* 0 = by backoff                                 */
    char message[ERR_MESSAGE_BYTES]; /* valid UTF-8, ends in "…" where it was cut       */
};

/* Fill *err. Always returns -1, so that `return err_set(...)` is one line. */
int err_set(struct err *err, enum err_class cls, const char *reason, const char *format, ...)
    PRINTF_LIKE(4, 5);
int err_setv(struct err *err, enum err_class cls, const char *reason, const char *format,
             va_list arguments) PRINTF_LIKE(4, 0);

/* Put "…: " in front of the message. Always returns -1. */
int err_wrap(struct err *err, const char *format, ...) PRINTF_LIKE(2, 3);

/* Give a failure another class and reason, keeping message and code. Always returns -1. */
int err_reclass(struct err *err, enum err_class cls, const char *reason);

/* Set the code, cut to fit; NULL stands for "". */
void err_code(struct err *err, const char *code);

bool err_has_code(const struct err *err, const char *code);
bool err_has_reason(const struct err *err, const char *reason);

/* "Wait", "Retry", ... for logs and tests. */
const char *err_class_name(enum err_class cls);

#endif
