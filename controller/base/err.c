/* Filling the error struct. Arguments may point into the very error that is being filled, as in
 * err_set(err, ERR_RETRY, err->reason, "again: %s", err->message): so text is always made in a
 * local first and copied over at the end. */
#include "controller/base/err.h"

#include "controller/base/str.h"

#include <stdio.h>
#include <string.h>

static const char ellipsis[] = "…";

/* Bytes that are no UTF-8 become '?', so that a message can go into any JSON or log line. */
static void make_utf8(char *text, size_t length)
{
    size_t at = str_utf8_valid((struct str){text, length});

    while (at < length) {
        text[at] = '?';
        at += str_utf8_valid((struct str){text + at, length - at});
    }
}

/* Copy text of `length` bytes into target, cut at a character's edge with a visible ellipsis when
 * it does not fit or `more` says that it was cut already. */
static void copy_message(char target[ERR_MESSAGE_BYTES], char *text, size_t length, bool more)
{
    if (more) {
        /* vsnprintf may have cut inside of a character. */
        length = str_utf8_prefix((struct str){text, length}, length);
    }
    make_utf8(text, length);
    if (more || length >= ERR_MESSAGE_BYTES) {
        const size_t room = ERR_MESSAGE_BYTES - sizeof(ellipsis);
        length = str_utf8_prefix((struct str){text, length}, room);
        memcpy(target, text, length);
        memcpy(target + length, ellipsis, sizeof(ellipsis));
        return;
    }
    memcpy(target, text, length);
    target[length] = '\0';
}

/* vsnprintf into `text`; returns the length that stands there and whether something was cut. */
static size_t format_into(char *text, size_t bytes, bool *ret_cut, const char *format,
                          va_list arguments) PRINTF_LIKE(4, 0);
static size_t format_into(char *text, size_t bytes, bool *ret_cut, const char *format,
                          va_list arguments)
{
    int wanted = vsnprintf(text, bytes, format, arguments);

    *ret_cut = false;
    if (wanted < 0) { /* an unprintable argument: the format alone still tells where */
        wanted = snprintf(text, bytes, "%s", format);
    }
    if ((size_t)wanted >= bytes) {
        *ret_cut = true;
        return bytes - 1;
    }
    return (size_t)wanted;
}

static void copy_word(char *target, size_t bytes, const char *word)
{
    size_t length = word ? strnlen(word, bytes - 1) : 0;

    memmove(target, word ? word : "", length);
    target[length] = '\0';
}

int err_setv(struct err *err, enum err_class cls, const char *reason, const char *format,
             va_list arguments)
{
    char text[ERR_MESSAGE_BYTES];
    bool cut = false;
    size_t length = format_into(text, sizeof(text), &cut, format, arguments);

    copy_message(err->message, text, length, cut);
    copy_word(err->reason, sizeof(err->reason), reason);
    err->cls = cls;
    err->code[0] = '\0';
    err->retry_after_ms = 0;
    return -1;
}

int err_set(struct err *err, enum err_class cls, const char *reason, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    err_setv(err, cls, reason, format, arguments);
    va_end(arguments);
    return -1;
}

int err_wrap(struct err *err, const char *format, ...)
{
    enum { SEPARATOR_BYTES = 2 };
    char text[2 * ERR_MESSAGE_BYTES + SEPARATOR_BYTES];
    va_list arguments;
    bool cut = false;

    va_start(arguments, format);
    size_t length = format_into(text, ERR_MESSAGE_BYTES, &cut, format, arguments);
    va_end(arguments);
    if (!cut) {
        size_t old = strnlen(err->message, sizeof(err->message) - 1);
        memcpy(text + length, ": ", SEPARATOR_BYTES);
        memcpy(text + length + SEPARATOR_BYTES, err->message, old);
        length += SEPARATOR_BYTES + old;
    }
    copy_message(err->message, text, length, cut);
    return -1;
}

int err_reclass(struct err *err, enum err_class cls, const char *reason)
{
    err->cls = cls;
    copy_word(err->reason, sizeof(err->reason), reason);
    return -1;
}

void err_code(struct err *err, const char *code)
{
    copy_word(err->code, sizeof(err->code), code);
}

bool err_has_code(const struct err *err, const char *code)
{
    return strcmp(err->code, code) == 0;
}

bool err_has_reason(const struct err *err, const char *reason)
{
    return strcmp(err->reason, reason) == 0;
}

const char *err_class_name(enum err_class cls)
{
    switch (cls) {
    case ERR_OK:
        return "OK";
    case ERR_WAIT:
        return "Wait";
    case ERR_RETRY:
        return "Retry";
    case ERR_CONFLICT:
        return "Conflict";
    case ERR_NOT_FOUND:
        return "NotFound";
    case ERR_TERMINAL:
        return "Terminal";
    case ERR_CANCELED:
        return "Canceled";
    }
    return "Unknown";
}
