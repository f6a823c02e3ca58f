/* PEM material is parsed when it is given, so that a broken file is named at once and never
 * replaces one that works; curl parses it again for each connection, from memory. */
#include "controller/net/http_internal.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

static void free_bio(BIO *bio)
{
    BIO_free(bio);
}
AUTO_DEFINE(bio, BIO *, free_bio)
AUTO_DEFINE(x509, X509 *, X509_free)
AUTO_DEFINE(pkey, EVP_PKEY *, EVP_PKEY_free)

static BIO *bio_from(const char *bytes, size_t length)
{
    BIO *bio = length <= INT_MAX ? BIO_new_mem_buf(bytes, (int)length) : NULL;
    if (!bio) {
        out_of_memory();
    }
    return bio;
}

/* A private key that is encrypted cannot be used: nobody is there to type its passphrase, and
 * OpenSSL's default would be to ask on the terminal. */
static int no_passphrase(char *out, int size, int writing, void *context)
{
    (void)out;
    (void)size;
    (void)writing;
    (void)context;
    return 0;
}

static X509 *read_certificate(BIO *bio)
{
    return PEM_read_bio_X509(bio, NULL, no_passphrase, NULL);
}

static int check_authorities(struct str pem, struct err *err)
{
    AUTO(bio) BIO *bio = bio_from(pem.ptr, pem.len);
    size_t count = 0;
    for (;;) {
        AUTO(x509) X509 *certificate = read_certificate(bio);
        if (!certificate) {
            break;
        }
        count++;
    }
    unsigned long reason = ERR_peek_last_error();
    ERR_clear_error();
    /* "No start line" is how the end of the list looks; anything else is a broken entry. */
    if (count == 0 || ERR_GET_REASON(reason) != PEM_R_NO_START_LINE) {
        return err_set(err, ERR_TERMINAL, "InvalidTLS",
                       count == 0 ? "the certificate authority holds no PEM certificate"
                                  : "the certificate authority's PEM holds a broken certificate");
    }
    return 0;
}

static int check_identity(struct str certificate_pem, const struct secret *key_pem, struct err *err)
{
    AUTO(bio) BIO *certificate_bio = bio_from(certificate_pem.ptr, certificate_pem.len);
    AUTO(x509) X509 *certificate = read_certificate(certificate_bio);
    if (!certificate) {
        ERR_clear_error();
        return err_set(err, ERR_TERMINAL, "InvalidTLS",
                       "the client certificate is no PEM certificate");
    }
    if (!key_pem || secret_is_empty(key_pem)) {
        return err_set(err, ERR_TERMINAL, "InvalidTLS",
                       "there is a client certificate but no key for it");
    }
    AUTO(bio) BIO *key_bio = bio_from(secret_bytes(key_pem), secret_length(key_pem));
    AUTO(pkey) EVP_PKEY *key = PEM_read_bio_PrivateKey(key_bio, NULL, no_passphrase, NULL);
    if (!key) {
        ERR_clear_error();
        return err_set(err, ERR_TERMINAL, "InvalidTLS",
                       "the client key is no PEM private key, or it is encrypted: give it without "
                       "a passphrase");
    }
    if (X509_check_private_key(certificate, key) != 1) {
        ERR_clear_error();
        return err_set(err, ERR_TERMINAL, "InvalidTLS",
                       "the client key does not belong to the client certificate");
    }
    return 0;
}

int64_t http_certificate_age_s(struct str pem)
{
    enum { DAY_S = 24 * 60 * 60 };
    if (pem.len == 0) {
        return -1;
    }
    AUTO(bio) BIO *bio = bio_from(pem.ptr, pem.len);
    AUTO(x509) X509 *certificate = read_certificate(bio);
    int days = 0;
    int seconds = 0;
    if (!certificate ||
        ASN1_TIME_diff(&days, &seconds, X509_get0_notBefore(certificate), NULL) != 1) {
        ERR_clear_error();
        return -1;
    }
    return (int64_t)days * DAY_S + seconds;
}

int http_tls_check(const struct http_tls *tls, struct err *err)
{
    if (!tls) {
        return 0;
    }
    if (tls->ca_pem.len > 0 && check_authorities(tls->ca_pem, err) != 0) {
        return -1;
    }
    if (tls->certificate_pem.len > 0) {
        return check_identity(tls->certificate_pem, tls->key_pem, err);
    }
    if (tls->key_pem && !secret_is_empty(tls->key_pem)) {
        return err_set(err, ERR_TERMINAL, "InvalidTLS",
                       "there is a client key but no certificate for it");
    }
    return 0;
}

static char *copy_pem(struct str pem, size_t *ret_length)
{
    *ret_length = pem.len;
    return pem.len > 0 ? xmemdup0(pem.ptr, pem.len) : NULL;
}

int tls_identity_new(const struct http_tls *tls, struct tls_identity **ret, struct err *err)
{
    static const struct http_tls defaults;
    tls = tls ? tls : &defaults;
    if (http_tls_check(tls, err) != 0) {
        return -1;
    }
    struct tls_identity *identity = xcalloc(1, sizeof(*identity));
    atomic_init(&identity->references, 1);
    identity->ca_pem = copy_pem(tls->ca_pem, &identity->ca_length);
    identity->certificate_pem = copy_pem(tls->certificate_pem, &identity->certificate_length);
    secret_init(&identity->key);
    if (tls->key_pem) {
        secret_copy(&identity->key, tls->key_pem);
    }
    identity->server_name = text_is_empty(tls->server_name) ? NULL : xstrdup(tls->server_name);
    identity->insecure = tls->insecure;
    *ret = identity;
    return 0;
}

struct tls_identity *tls_identity_ref(struct tls_identity *identity)
{
    atomic_fetch_add(&identity->references, 1);
    return identity;
}

void tls_identity_unref(struct tls_identity *identity)
{
    if (!identity || atomic_fetch_sub(&identity->references, 1) != 1) {
        return;
    }
    free(identity->ca_pem);
    free(identity->certificate_pem);
    secret_release(&identity->key);
    free(identity->server_name);
    free(identity);
}
