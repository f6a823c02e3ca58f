#include "tests/support/pki.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdlib.h>

#include "tests/check.h"
#include "tests/support/folder.h"

struct pki_entity {
    X509 *certificate;
    EVP_PKEY *key;
    char *certificate_pem;
    struct secret key_pem;
};

enum { DAY_S = 24 * 60 * 60 };

static void add_extension(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    CHECK_NOT_NULL(extension);
    CHECK_INT(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static X509 *new_certificate(EVP_PKEY *key, const char *common_name, bool expired)
{
    X509 *certificate = X509_new();
    uint32_t serial = 0;
    random_bytes(&serial, sizeof(serial));
    X509_set_version(certificate, X509_VERSION_3);
    ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -2L * DAY_S);
    X509_gmtime_adj(X509_getm_notAfter(certificate), expired ? -1L * DAY_S : 1L * DAY_S);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_UTF8,
                               (const unsigned char *)common_name, -1, -1, 0);
    X509_set_pubkey(certificate, key);
    return certificate;
}

static char *bio_text(BIO *bio)
{
    char *bytes = NULL;
    long length = BIO_get_mem_data(bio, &bytes);
    char *text = xmemdup0(bytes, (size_t)length);
    BIO_free(bio);
    return text;
}

static struct pki_entity *entity_new(X509 *certificate, EVP_PKEY *key, EVP_PKEY *signer)
{
    CHECK(X509_sign(certificate, signer, EVP_sha256()) > 0);
    struct pki_entity *entity = xcalloc(1, sizeof(*entity));
    entity->certificate = certificate;
    entity->key = key;
    BIO *bio = BIO_new(BIO_s_mem());
    CHECK_INT(PEM_write_bio_X509(bio, certificate), 1);
    entity->certificate_pem = bio_text(bio);
    bio = BIO_new(BIO_s_mem());
    CHECK_INT(PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL), 1);
    char *key_pem = bio_text(bio);
    secret_init(&entity->key_pem);
    secret_set(&entity->key_pem, str_from(key_pem));
    free(key_pem);
    return entity;
}

struct pki_entity *pki_authority(const char *common_name)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = new_certificate(key, common_name, false);
    X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
    add_extension(certificate, certificate, NID_basic_constraints, "critical,CA:TRUE");
    add_extension(certificate, certificate, NID_subject_key_identifier, "hash");
    return entity_new(certificate, key, key);
}

struct pki_entity *pki_issue(const struct pki_entity *authority, const char *common_name,
                             const char *names, bool expired)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = new_certificate(key, common_name, expired);
    X509_set_issuer_name(certificate, X509_get_subject_name(authority->certificate));
    if (names) {
        add_extension(certificate, authority->certificate, NID_subject_alt_name, names);
    }
    return entity_new(certificate, key, authority->key);
}

void pki_free(struct pki_entity *entity)
{
    X509_free(entity->certificate);
    EVP_PKEY_free(entity->key);
    free(entity->certificate_pem);
    secret_release(&entity->key_pem);
    free(entity);
}

struct str pki_certificate(const struct pki_entity *entity)
{
    return str_from(entity->certificate_pem);
}

const struct secret *pki_key(const struct pki_entity *entity)
{
    return &entity->key_pem;
}

char *pki_write(const char *folder, const char *name, struct str text)
{
    return folder_write(folder, name, text, 0600);
}
