#include "gateway/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "controller/base/clock.h"
#include "controller/base/log.h"

enum { LOOK_MS = 1000 };

/* What tells one content of a file from the next. */
struct version {
    struct timespec changed;
    ino_t inode;
    off_t size;
};

struct tls {
    const char *certificate_file;
    const char *key_file;
    pthread_mutex_t lock;
    SSL_CTX *context;
    struct version certificate, key;
    int64_t looked_ms;
};

static struct version version_of(const char *path)
{
    struct stat status = {0};

    (void)stat(path, &status);
    return (struct version){status.st_mtim, status.st_ino, status.st_size};
}

static bool is_same(const struct version *a, const struct version *b)
{
    return a->changed.tv_sec == b->changed.tv_sec && a->changed.tv_nsec == b->changed.tv_nsec &&
           a->inode == b->inode && a->size == b->size;
}

static int load(const struct tls *tls, SSL_CTX **ret, struct err *err)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());

    if (!context) {
        out_of_memory();
    }
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    if (SSL_CTX_use_certificate_chain_file(context, tls->certificate_file) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, tls->key_file, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(context) != 1) {
        SSL_CTX_free(context);
        ERR_clear_error();
        return err_set(err, ERR_TERMINAL, "InvalidCertificate",
                       "\"%s\" and \"%s\" are no certificate and its key", tls->certificate_file,
                       tls->key_file);
    }
    *ret = context;
    return 0;
}

int tls_new(const char *certificate_file, const char *key_file, struct tls **ret, struct err *err)
{
    struct tls *tls = xcalloc(1, sizeof(*tls));

    pthread_mutex_init(&tls->lock, NULL);
    tls->certificate_file = certificate_file;
    tls->key_file = key_file;
    tls->certificate = version_of(certificate_file);
    tls->key = version_of(key_file);
    if (load(tls, &tls->context, err)) {
        tls_free(tls);
        return -1;
    }
    *ret = tls;
    return 0;
}

void tls_free(struct tls *tls)
{
    if (tls) {
        SSL_CTX_free(tls->context);
        pthread_mutex_destroy(&tls->lock);
        free(tls);
    }
}

static void look(struct tls *tls)
{
    int64_t now_ms = clock_monotonic_ms();
    struct version certificate = version_of(tls->certificate_file);
    struct version key = version_of(tls->key_file);
    SSL_CTX *fresh = NULL;
    struct err err;

    tls->looked_ms = now_ms;
    if (is_same(&certificate, &tls->certificate) && is_same(&key, &tls->key)) {
        return;
    }
    /* Written one after the other, the two may not belong together yet: then look again. */
    if (load(tls, &fresh, &err)) {
        log_warn(NULL, "the certificate that is there now cannot be used", KV_ERR(&err));
        return;
    }
    SSL_CTX_free(tls->context);
    tls->context = fresh;
    tls->certificate = certificate;
    tls->key = key;
    log_info(NULL, "took a new certificate");
}

SSL *tls_session(struct tls *tls, int fd)
{
    pthread_mutex_lock(&tls->lock);
    if (clock_monotonic_ms() - tls->looked_ms >= LOOK_MS) {
        look(tls);
    }
    SSL *ssl = SSL_new(tls->context);
    pthread_mutex_unlock(&tls->lock);
    if (ssl && SSL_set_fd(ssl, fd) == 1) {
        SSL_set_accept_state(ssl);
        return ssl;
    }
    SSL_free(ssl);
    return NULL;
}
