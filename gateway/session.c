/* TOKEN = "ts1." BASE64(tenant id ' ' user id ' ' mark of the password ' ' random number ' ' expiry
 * in wall seconds) "." BASE64(HMAC of what stands before the dot). Base64 has no character that a
 * Bearer token may not have. */
#include "gateway/session.h"

#include <inttypes.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdlib.h>

#include "controller/base/clock.h"
#include "controller/base/hash.h"

enum { KEYS_MAX = 8, KEY_MIN_CHARACTERS = 32, FILE_MAX_BYTES = 4096, CLAIMS_MAX_BYTES = 128 };

#define PREFIX "ts1."

struct sessions {
    const char *key_file;
    int64_t life_s;
    pthread_mutex_t lock;
    struct secret keys[KEYS_MAX];
    size_t key_count;
};

static void clear_keys(struct sessions *sessions)
{
    for (size_t i = 0; i < sessions->key_count; i++) {
        secret_release(&sessions->keys[i]);
    }
    sessions->key_count = 0;
}

static int check_keys(struct str text, struct err *err)
{
    size_t count = 0;

    while (text.len > 0) {
        struct str line = str_trim(str_cut(&text, '\n'));
        if (line.len > 0 && line.len < KEY_MIN_CHARACTERS) {
            return err_set(err, ERR_TERMINAL, "InvalidSessionKey",
                           "a session key has fewer than %d characters", KEY_MIN_CHARACTERS);
        }
        count += line.len > 0 ? 1 : 0;
    }
    if (count == 0 || count > KEYS_MAX) {
        return err_set(err, ERR_TERMINAL, "InvalidSessionKey",
                       "the file of session keys holds none, or more than %d", KEYS_MAX);
    }
    return 0;
}

int sessions_reload(struct sessions *sessions, struct err *err)
{
    AUTO(secret) struct secret text = {0};

    if (!sessions->key_file) {
        return 0;
    }
    if (secret_read_file(&text, sessions->key_file, FILE_MAX_BYTES, err)) {
        return err_wrap(err, "session keys");
    }
    struct str rest = {secret_bytes(&text), secret_length(&text)};
    if (check_keys(rest, err)) {
        return -1;
    }
    pthread_mutex_lock(&sessions->lock);
    clear_keys(sessions);
    while (rest.len > 0) {
        struct str line = str_trim(str_cut(&rest, '\n'));
        if (line.len > 0) {
            secret_set(&sessions->keys[sessions->key_count++], line);
        }
    }
    pthread_mutex_unlock(&sessions->lock);
    return 0;
}

int sessions_new(const char *key_file, int64_t life_s, struct sessions **ret, struct err *err)
{
    struct sessions *sessions = xcalloc(1, sizeof(*sessions));

    pthread_mutex_init(&sessions->lock, NULL);
    sessions->key_file = key_file;
    sessions->life_s = life_s;
    if (!key_file) {
        secret_generate(&sessions->keys[0], 2UL * KEY_MIN_CHARACTERS);
        sessions->key_count = 1;
    } else if (sessions_reload(sessions, err)) {
        sessions_free(sessions);
        return -1;
    }
    *ret = sessions;
    return 0;
}

void sessions_free(struct sessions *sessions)
{
    if (sessions) {
        clear_keys(sessions);
        pthread_mutex_destroy(&sessions->lock);
        free(sessions);
    }
}

static void sign(const struct secret *key, struct str text, unsigned char ret[SHA256_BYTES])
{
    hash_hmac_sha256((struct str){secret_bytes(key), secret_length(key)}, text, ret);
}

void sessions_issue(struct sessions *sessions, const char *tenant_id, const char *user_id,
                    const char *mark, struct buf *out, int64_t *ret_expires_s)
{
    AUTO(buf) struct buf claims = BUF(CLAIMS_MAX_BYTES);
    unsigned char mac[SHA256_BYTES];
    size_t start = out->len;
    int64_t expires_s = clock_wall_s() + sessions->life_s;
    uint64_t random = 0; /* two logins of one second are two sessions */

    random_bytes(&random, sizeof(random));
    (void)buf_printf(&claims, "%s %s %s %" PRIx64 " %" PRId64, tenant_id, user_id, mark, random,
                     expires_s);
    (void)buf_append_text(out, PREFIX);
    (void)buf_append_base64(out, buf_text(&claims), claims.len);
    pthread_mutex_lock(&sessions->lock);
    sign(&sessions->keys[0], (struct str){buf_text(out) + start, out->len - start}, mac);
    pthread_mutex_unlock(&sessions->lock);
    (void)buf_append_char(out, '.');
    (void)buf_append_base64(out, mac, sizeof(mac));
    *ret_expires_s = expires_s;
}

bool session_is_token(struct str token)
{
    return str_starts_with(token, STR(PREFIX));
}

static bool is_signed(struct sessions *sessions, struct str text, struct str signature)
{
    AUTO(buf) struct buf given = BUF(SESSION_TOKEN_MAX_BYTES);
    unsigned char mac[SHA256_BYTES];
    bool good = false;

    if (!buf_decode_base64(&given, signature) || given.len != sizeof(mac)) {
        return false;
    }
    pthread_mutex_lock(&sessions->lock);
    for (size_t i = 0; i < sessions->key_count; i++) {
        sign(&sessions->keys[i], text, mac);
        good |= CRYPTO_memcmp(mac, buf_text(&given), sizeof(mac)) == 0;
    }
    pthread_mutex_unlock(&sessions->lock);
    return good;
}

bool sessions_check(struct sessions *sessions, struct str token, const char *tenant_id,
                    struct session *ret)
{
    AUTO(buf) struct buf claims = BUF(CLAIMS_MAX_BYTES);
    struct session session = {.expires_s = 0};

    if (token.len > SESSION_TOKEN_MAX_BYTES || !session_is_token(token)) {
        return false;
    }
    struct str rest = {token.ptr + sizeof(PREFIX) - 1, token.len - (sizeof(PREFIX) - 1)};
    struct str encoded = str_cut(&rest, '.');
    struct str text = {token.ptr, sizeof(PREFIX) - 1 + encoded.len};
    if (!is_signed(sessions, text, rest) || !buf_decode_base64(&claims, encoded)) {
        return false;
    }
    struct str fields = buf_str(&claims);
    bool same = str_equal_c(str_cut(&fields, ' '), tenant_id);
    struct str user = str_cut(&fields, ' ');
    struct str mark = str_cut(&fields, ' ');
    (void)str_cut(&fields, ' ');
    if (!same || user.len >= sizeof(session.user_id) || mark.len >= sizeof(session.mark) ||
        !str_to_int64(fields, &session.expires_s) || session.expires_s <= clock_wall_s()) {
        return false;
    }
    memcpy(session.user_id, user.ptr, user.len);
    memcpy(session.mark, mark.ptr, mark.len);
    *ret = session;
    return true;
}
