/* TLS for the listener: a certificate and key from files, taken anew when they change, without
 * ending connections. TLS 1.2 and newer. Thread-safe. */
#ifndef TENANTRY_GATEWAY_TLS_H
#define TENANTRY_GATEWAY_TLS_H

#include <openssl/types.h>

#include "controller/base/attributes.h"
#include "controller/base/err.h"

struct tls;
/* The files are looked at once a second, when a connection comes; what cannot be used is logged and
 * the one before stays in force. Errors: TERMINAL/InvalidCertificate. */
MUST_CHECK int tls_new(const char *certificate_file, const char *key_file, struct tls **ret,
                       struct err *err);
void tls_free(struct tls *tls);
/* A session for an accepted socket; NULL when there is no memory for one. */
SSL *tls_session(struct tls *tls, int fd);

#endif
