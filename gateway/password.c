#include "gateway/password.h"

#include <crypt.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

#include "controller/base/buf.h"

enum { COST = 12, SALT_BYTES = 16 };

/* A hash that no password has, to be compared where there is no user. */
#define NOBODYS_HASH "$2b$12$abcdefghijklmnopqrstuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu"

bool password_fits(const char *password, const char *hash)
{
    struct crypt_data data = {0};
    const char *wanted = hash ? hash : NOBODYS_HASH;
    const char *made = crypt_r(password, wanted, &data);
    bool same = made && made[0] != '*' && strlen(made) == strlen(wanted) &&
                CRYPTO_memcmp(made, wanted, strlen(wanted)) == 0;

    explicit_bzero(&data, sizeof(data));
    return same && hash;
}

/* The part of a hash that stands before what the password adds: method, cost, salt. The salt is as
 * good as a random one: no two tokens are the same, and none is kept anywhere. */
static bool make_setting(const unsigned char setter[SHA256_BYTES],
                         char ret[CRYPT_GENSALT_OUTPUT_SIZE])
{
    AUTO(buf) struct buf text = BUF(64);
    unsigned char salt[SHA256_BYTES];

    (void)buf_append_text(&text, "password salt ");
    (void)buf_append(&text, (const char *)setter, SHA256_BYTES);
    hash_sha256(buf_str(&text), salt);
    return crypt_gensalt_rn("$2b$", COST, (const char *)salt, SALT_BYTES, ret,
                            CRYPT_GENSALT_OUTPUT_SIZE) != NULL;
}

bool password_hash(const char *password, const unsigned char setter[SHA256_BYTES],
                   struct secret *ret)
{
    struct crypt_data data = {0};
    char setting[CRYPT_GENSALT_OUTPUT_SIZE];

    const char *made = make_setting(setter, setting) ? crypt_r(password, setting, &data) : NULL;
    bool good = made && made[0] == '$';
    if (good) {
        secret_set(ret, str_from(made));
    }
    explicit_bzero(&data, sizeof(data));
    return good;
}

bool password_was_set_by(const char *hash, const unsigned char setter[SHA256_BYTES])
{
    char setting[CRYPT_GENSALT_OUTPUT_SIZE];

    return make_setting(setter, setting) && strncmp(hash, setting, strlen(setting)) == 0;
}

void password_mark(const char *hash, char ret[PASSWORD_MARK_BYTES])
{
    char text[SHA256_TEXT_BYTES];

    hash_sha256_text(str_from(hash), text);
    (void)snprintf(ret, PASSWORD_MARK_BYTES, "%.*s", PASSWORD_MARK_BYTES - 1, text);
}
