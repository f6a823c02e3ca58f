#include "reconcilers/drivers/sigv4.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

enum { DATE_CHARACTERS = 8, CANONICAL_MAX_BYTES = 64 * 1024, SCOPE_MAX_BYTES = 256 };

#define ALGORITHM "AWS4-HMAC-SHA256"

struct sigv4_signer {
    char *access_key;
    char *region;
    char *service;
    struct secret secret_key;
    pthread_mutex_t lock; /* guards what follows */
    char date[DATE_CHARACTERS + 1];
    unsigned char key[SHA256_BYTES];
};

/* ---- the signing key ---- */

static void hmac(const void *key, size_t key_bytes, struct str text,
                 unsigned char ret_digest[SHA256_BYTES])
{
    hash_hmac_sha256((struct str){key, key_bytes}, text, ret_digest);
}

static void derive_key(const struct sigv4_signer *signer, const char *date,
                       unsigned char ret_key[SHA256_BYTES])
{
    unsigned char next[SHA256_BYTES];
    char *first = xasprintf("AWS4%s", secret_bytes(&signer->secret_key));

    hmac(first, strlen(first), str_from(date), ret_key);
    hmac(ret_key, SHA256_BYTES, str_from(signer->region), next);
    hmac(next, SHA256_BYTES, str_from(signer->service), ret_key);
    hmac(ret_key, SHA256_BYTES, STR("aws4_request"), next);
    memcpy(ret_key, next, SHA256_BYTES);
    explicit_bzero(next, sizeof(next));
    explicit_bzero(first, strlen(first));
    free(first);
}

static void get_key(struct sigv4_signer *signer, const char *date,
                    unsigned char ret_key[SHA256_BYTES])
{
    pthread_mutex_lock(&signer->lock);
    if (!text_equal(signer->date, date)) {
        derive_key(signer, date, signer->key);
        memcpy(signer->date, date, sizeof(signer->date));
    }
    memcpy(ret_key, signer->key, SHA256_BYTES);
    pthread_mutex_unlock(&signer->lock);
}

struct sigv4_signer *sigv4_signer_new(const char *access_key, const struct secret *secret_key,
                                      const char *region, const char *service)
{
    struct sigv4_signer *signer = xcalloc(1, sizeof(*signer));
    signer->access_key = xstrdup(access_key);
    signer->region = xstrdup(region);
    signer->service = xstrdup(service);
    secret_copy(&signer->secret_key, secret_key);
    pthread_mutex_init(&signer->lock, NULL);
    return signer;
}

void sigv4_signer_free(struct sigv4_signer *signer)
{
    if (!signer) {
        return;
    }
    pthread_mutex_destroy(&signer->lock);
    explicit_bzero(signer->key, sizeof(signer->key));
    secret_release(&signer->secret_key);
    free(signer->access_key);
    free(signer->region);
    free(signer->service);
    free(signer);
}

const char *sigv4_access_key(const struct sigv4_signer *signer)
{
    return signer->access_key;
}

/* ---- canonical forms ---- */

/* Pointers to the pairs in order of name, then value. Insertion: the lists are short. */
static void sort(const struct sigv4_pair *pairs, size_t count,
                 const struct sigv4_pair *sorted[SIGV4_PAIRS_MAX])
{
    for (size_t i = 0; i < count && i < SIGV4_PAIRS_MAX; i++) {
        size_t at = i;
        while (at > 0) {
            const struct sigv4_pair *left = sorted[at - 1];
            int order = strcmp(left->name, pairs[i].name);
            if (order < 0 || (order == 0 && strcmp(left->value, pairs[i].value) <= 0)) {
                break;
            }
            sorted[at] = left;
            at--;
        }
        sorted[at] = &pairs[i];
    }
}

void sigv4_query(const struct sigv4_pair *pairs, size_t count, struct buf *out)
{
    const struct sigv4_pair *sorted[SIGV4_PAIRS_MAX];

    sort(pairs, count, sorted);
    for (size_t i = 0; i < count; i++) {
        if (i > 0) {
            (void)buf_append_char(out, '&');
        }
        (void)buf_append_percent(out, str_from(sorted[i]->name));
        (void)buf_append_char(out, '=');
        (void)buf_append_percent(out, str_from(sorted[i]->value));
    }
}

/* Without blanks at the ends, and with single ones inside. */
static void append_value(struct buf *out, const char *value)
{
    struct str rest = str_trim(str_from(value));
    bool blank = false;

    for (size_t i = 0; i < rest.len; i++) {
        if (rest.ptr[i] != ' ' || !blank) {
            (void)buf_append_char(out, rest.ptr[i]);
        }
        blank = rest.ptr[i] == ' ';
    }
}

static void append_names(struct buf *out, const struct sigv4_pair *const *sorted, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && text_equal(sorted[i]->name, sorted[i - 1]->name)) {
            continue;
        }
        (void)buf_printf(out, "%s%s", i > 0 ? ";" : "", sorted[i]->name);
    }
}

static void append_headers(struct buf *out, const struct sigv4_pair *const *sorted, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bool again = i > 0 && text_equal(sorted[i]->name, sorted[i - 1]->name);
        if (again) {
            (void)buf_append_char(out, ',');
        } else {
            (void)buf_printf(out, "%s%s:", i > 0 ? "\n" : "", sorted[i]->name);
        }
        append_value(out, sorted[i]->value);
    }
    (void)buf_append_char(out, '\n');
}

void sigv4_canonical_request(const struct sigv4_request *request, struct buf *out)
{
    const struct sigv4_pair *sorted[SIGV4_PAIRS_MAX];
    const char *path = text_is_empty(request->path) ? "/" : request->path;

    sort(request->headers, request->header_count, sorted);
    (void)buf_printf(out, "%s\n%s\n%s\n", request->method, path, request->query);
    append_headers(out, sorted, request->header_count);
    (void)buf_append_char(out, '\n');
    append_names(out, sorted, request->header_count);
    (void)buf_printf(out, "\n%s", request->payload_hash);
}

/* ---- signing ---- */

void sigv4_time(int64_t time_s, char ret_text[SIGV4_TIME_BYTES])
{
    time_t seconds = (time_t)time_s;
    struct tm parts;

    if (!gmtime_r(&seconds, &parts) ||
        strftime(ret_text, SIGV4_TIME_BYTES, "%Y%m%dT%H%M%SZ", &parts) != SIGV4_TIME_BYTES - 1) {
        memcpy(ret_text, "19700101T000000Z", SIGV4_TIME_BYTES);
    }
}

static void append_hex(struct buf *out, const unsigned char *bytes, size_t count)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < count; i++) {
        const char pair[] = {digits[bytes[i] >> 4], digits[bytes[i] & 15]};
        (void)buf_append(out, pair, sizeof(pair));
    }
}

void sigv4_sign(struct sigv4_signer *signer, const struct sigv4_request *request, struct buf *out)
{
    AUTO(buf) struct buf canonical = BUF(CANONICAL_MAX_BYTES);
    AUTO(buf) struct buf to_sign = BUF(CANONICAL_MAX_BYTES);
    AUTO(buf) struct buf scope = BUF(SCOPE_MAX_BYTES);
    const struct sigv4_pair *sorted[SIGV4_PAIRS_MAX];
    unsigned char key[SHA256_BYTES];
    unsigned char signature[SHA256_BYTES];
    char hash[SHA256_TEXT_BYTES];
    char time_text[SIGV4_TIME_BYTES];
    char date[DATE_CHARACTERS + 1] = "";

    sigv4_time(request->time_s, time_text);
    memcpy(date, time_text, DATE_CHARACTERS);
    sigv4_canonical_request(request, &canonical);
    hash_sha256_text(buf_str(&canonical), hash);
    (void)buf_printf(&scope, "%s/%s/%s/aws4_request", date, signer->region, signer->service);
    (void)buf_printf(&to_sign, ALGORITHM "\n%s\n%s\n%s", time_text, buf_text(&scope), hash);
    get_key(signer, date, key);
    hmac(key, sizeof(key), buf_str(&to_sign), signature);
    explicit_bzero(key, sizeof(key));
    (void)buf_printf(out, ALGORITHM " Credential=%s/%s, SignedHeaders=", signer->access_key,
                     buf_text(&scope));
    sort(request->headers, request->header_count, sorted);
    append_names(out, sorted, request->header_count);
    (void)buf_append_text(out, ", Signature=");
    append_hex(out, signature, sizeof(signature));
}
