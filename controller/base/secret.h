/* Values that must not be seen: passwords, tokens, keys. There is no way to format one, and the
 * memory is wiped on release. Whoever needs the bytes says secret_bytes() and can be searched for.
 */
#ifndef TENANTRY_BASE_SECRET_H
#define TENANTRY_BASE_SECRET_H

#include <stdbool.h>
#include <stddef.h>

#include "controller/base/attributes.h"
#include "controller/base/err.h"
#include "controller/base/str.h"

struct secret {
    char *hidden_ptr; /* NUL-ended; NULL when empty */
    size_t hidden_len;
};

void secret_init(struct secret *secret);
void secret_set(struct secret *secret, struct str bytes); /* copies; wipes what was there */
void secret_copy(struct secret *target, const struct secret *source);
void secret_release(struct secret *secret);
static inline void auto_release_secret(struct secret *secret)
{
    secret_release(secret);
}

bool secret_is_empty(const struct secret *secret);
/* Constant time in the content. */
bool secret_equal(const struct secret *a, const struct secret *b);
/* The bytes, NUL-ended, "" when empty. Valid until the secret changes. Never log, never format. */
const char *secret_bytes(const struct secret *secret);
size_t secret_length(const struct secret *secret);

/* A password of `characters` letters and digits (62 symbols, unbiased) from the system's CSPRNG. */
void secret_generate(struct secret *secret, size_t characters);

/* Read a file of at most max_bytes; trailing line breaks are trimmed.
 * Errors: RETRY/FileUnreadable, TERMINAL/FileTooLarge. */
MUST_CHECK int secret_read_file(struct secret *secret, const char *path, size_t max_bytes,
                                struct err *err);

/* Fill bytes from the system's CSPRNG; aborts if there is none. */
void random_bytes(void *bytes, size_t count);

enum { UUID_TEXT_BYTES = 37 };
/* A random (version 4) UUID in lower case (RFC 9562). */
void random_uuid(char ret_text[UUID_TEXT_BYTES]);

/* Once at start: no core dumps, not attachable by processes of the same user. */
void secret_harden_process(void);

#endif
