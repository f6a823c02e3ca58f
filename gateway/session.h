/* Sessions: tokens that prove themselves by a signature (HMAC-SHA-256), so that no replica has to
 * keep any. A token names tenant, user, the end of its life and the password it came from;
 * whether the user still is one, and has that password, is looked up. Signed with the first key of
 * a file, accepted with any, so that keys can be changed without ending sessions: put the new one
 * first, take the old one out when its tokens are over. */
#ifndef TENANTRY_GATEWAY_SESSION_H
#define TENANTRY_GATEWAY_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "controller/base/attributes.h"
#include "controller/base/buf.h"
#include "controller/base/err.h"
#include "controller/base/secret.h"
#include "controller/base/str.h"
#include "gateway/password.h"

enum { SESSION_TOKEN_MAX_BYTES = 256 };

struct sessions;
/* key_file: a key a line, each of at least 32 characters; NULL makes one up, which dies with the
 * process. Errors: TERMINAL/InvalidSessionKey, and those of secret_read_file. */
MUST_CHECK int sessions_new(const char *key_file, int64_t life_s, struct sessions **ret,
                            struct err *err);
void sessions_free(struct sessions *sessions);
/* Read the file again; what was read before stays in force when it is no good. Any thread. */
MUST_CHECK int sessions_reload(struct sessions *sessions, struct err *err);

/* Append a token; mark: password_mark of the hash in force; *ret_expires_s: wall seconds. */
void sessions_issue(struct sessions *sessions, const char *tenant_id, const char *user_id,
                    const char *mark, struct buf *out, int64_t *ret_expires_s);

struct session {
    char user_id[UUID_TEXT_BYTES];
    char mark[PASSWORD_MARK_BYTES];
    int64_t expires_s;
};
/* Whether it looks like one of ours at all. */
bool session_is_token(struct str token);
/* True for a token of this tenant that is in force. */
bool sessions_check(struct sessions *sessions, struct str token, const char *tenant_id,
                    struct session *ret);

#endif
