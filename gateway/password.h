/* Password hashes (bcrypt), and what they tell of sessions: a session ends when its user's password
 * changes, but for the one that changed it, which goes on. No replica keeps anything for that. A
 * session bears a mark of the hash that was in force at its login, and a hash is salted with what
 * the token that set it hashes to. Any thread; what hashes takes a quarter of a second. */
#ifndef TENANTRY_GATEWAY_PASSWORD_H
#define TENANTRY_GATEWAY_PASSWORD_H

#include <stdbool.h>

#include "controller/base/attributes.h"
#include "controller/base/hash.h"
#include "controller/base/secret.h"

enum { PASSWORD_MARK_BYTES = 17 }; /* 16 hex digits and a NUL */

/* Whether it is the password of that hash. hash NULL: there is no such user, which takes the same
 * time and is false. */
bool password_fits(const char *password, const char *hash);

/* A hash of a new password, set by whoever showed the token with that digest. False when the system
 * has no bcrypt. */
MUST_CHECK bool password_hash(const char *password, const unsigned char setter[SHA256_BYTES],
                              struct secret *ret);
/* Whether the hash was made by password_hash for that setter. */
bool password_was_set_by(const char *hash, const unsigned char setter[SHA256_BYTES]);

/* What a session bears of its user's hash: another for each hash, and nothing can be guessed from
 * it without the salt. */
void password_mark(const char *hash, char ret[PASSWORD_MARK_BYTES]);

#endif
