#include "reconcilers/drivers/sigv4.h"

#include <pthread.h>
#include <string.h>
#include <time.h>

enum { DATE_CHARACTERS = 8, CANONICAL_MAX_BYTES = 64 * 1024 };

#define ALGORITHM "AWS4-HMAC-SHA256"

struct sigv4_signer {
    char *access_key;
    char *region;
    char *service;
    struct secret secret_key;
    pthread_mutex_t lock; /* guards what follows */
    char date[DATE_CHARACTERS + 1];
    unsigned char key[SHA256_BYTES]; /* of that date */
    char *scope;                     /* of that date */
    struct buf scratch;
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

/* What changes once a day: four of five digests, and the scope. */
static void follow_date(struct sigv4_signer *signer, const char *time_text)
{
    if (memcmp(signer->date, time_text, DATE_CHARACTERS) == 0) {
        return;
    }
    memcpy(signer->date, time_text, DATE_CHARACTERS);
    derive_key(signer, signer->date, signer->key);
    free(signer->scope);
    signer->scope =
        xasprintf("%s/%s/%s/aws4_request", signer->date, signer->region, signer->service);
}

struct sigv4_signer *sigv4_signer_new(const char *access_key, const struct secret *secret_key,
                                      const char *region, const char *service)
{
    struct sigv4_signer *signer = xcalloc(1, sizeof(*signer));
    signer->access_key = xstrdup(access_key);
    signer->region = xstrdup(region);
    signer->service = xstrdup(service);
    signer->scratch = BUF(CANONICAL_MAX_BYTES);
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
    free(signer->scope);
    buf_release(&signer->scratch);
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

/* Without blanks at the ends, and with single ones inside; most values have none at all. */
static void append_value(struct buf *out, const char *value)
{
    struct str rest = str_trim(str_from(value));

    while (rest.len > 0) {
        const char *blank = memchr(rest.ptr, ' ', rest.len);
        size_t taken = blank ? (size_t)(blank - rest.ptr) + 1 : rest.len;
        (void)buf_append(out, rest.ptr, taken);
        while (taken < rest.len && rest.ptr[taken] == ' ') {
            taken++;
        }
        rest = (struct str){rest.ptr + taken, rest.len - taken};
    }
}

/* texts ends with NULL. Printing by a format costs as much as a digest. */
static void append_all(struct buf *out, const char *const *texts)
{
    for (; *texts; texts++) {
        (void)buf_append_text(out, *texts);
    }
}

static void append_names(struct buf *out, const struct sigv4_pair *const *sorted, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && text_equal(sorted[i]->name, sorted[i - 1]->name)) {
            continue;
        }
        if (i > 0) {
            (void)buf_append_char(out, ';');
        }
        (void)buf_append_text(out, sorted[i]->name);
    }
}

static void append_headers(struct buf *out, const struct sigv4_pair *const *sorted, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bool again = i > 0 && text_equal(sorted[i]->name, sorted[i - 1]->name);
        if (again) {
            (void)buf_append_char(out, ',');
        } else {
            append_all(out, (const char *[]){i > 0 ? "\n" : "", sorted[i]->name, ":", NULL});
        }
        append_value(out, sorted[i]->value);
    }
    (void)buf_append_char(out, '\n');
}

static void append_request(struct buf *out, const struct sigv4_request *request,
                           const struct sigv4_pair *const *sorted)
{
    const char *path = text_is_empty(request->path) ? "/" : request->path;

    append_all(out,
               (const char *[]){request->method, "\n", path, "\n", request->query, "\n", NULL});
    append_headers(out, sorted, request->header_count);
    (void)buf_append_char(out, '\n');
    append_names(out, sorted, request->header_count);
    append_all(out, (const char *[]){"\n", request->payload_hash, NULL});
}

void sigv4_canonical_request(const struct sigv4_request *request, struct buf *out)
{
    const struct sigv4_pair *sorted[SIGV4_PAIRS_MAX];

    sort(request->headers, request->header_count, sorted);
    append_request(out, request, sorted);
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

static void sign_locked(struct sigv4_signer *signer, const struct sigv4_request *request,
                        const char *time_text, struct buf *out)
{
    const struct sigv4_pair *sorted[SIGV4_PAIRS_MAX];
    struct buf *scratch = &signer->scratch;
    unsigned char signature[SHA256_BYTES];
    char hash[SHA256_TEXT_BYTES];

    follow_date(signer, time_text);
    sort(request->headers, request->header_count, sorted);
    buf_clear(scratch);
    append_request(scratch, request, sorted);
    bool cut = buf_failed(scratch);
    hash_sha256_text(buf_str(scratch), hash);
    buf_clear(scratch);
    append_all(scratch,
               (const char *[]){ALGORITHM, "\n", time_text, "\n", signer->scope, "\n", hash, NULL});
    hmac(signer->key, sizeof(signer->key), buf_str(scratch), signature);
    append_all(out, (const char *[]){ALGORITHM, " Credential=", signer->access_key, "/",
                                     signer->scope, ", SignedHeaders=", NULL});
    append_names(out, sorted, request->header_count);
    (void)buf_append_text(out, ", Signature=");
    append_hex(out, signature, sizeof(signature));
    if (cut) {
        buf_fail(out);
    }
}

void sigv4_sign(struct sigv4_signer *signer, const struct sigv4_request *request, struct buf *out)
{
    char time_text[SIGV4_TIME_BYTES];

    sigv4_time(request->time_s, time_text);
    pthread_mutex_lock(&signer->lock);
    sign_locked(signer, request, time_text, out);
    pthread_mutex_unlock(&signer->lock);
}
