/* Throw-away certificates for tests, made in memory. Failures end the test. */
#ifndef TENANTRY_TESTS_SUPPORT_PKI_H
#define TENANTRY_TESTS_SUPPORT_PKI_H

#include <stdbool.h>

#include "controller/base/secret.h"
#include "controller/base/str.h"

struct pki_entity; /* a certificate with its key */

struct pki_entity *pki_authority(const char *common_name);
/* names: subjectAltName as OpenSSL writes it, "DNS:localhost,IP:127.0.0.1"; NULL: none. */
struct pki_entity *pki_issue(const struct pki_entity *authority, const char *common_name,
                             const char *names, bool expired);
void pki_free(struct pki_entity *entity);

/* Valid as long as the entity. */
struct str pki_certificate(const struct pki_entity *entity);
const struct secret *pki_key(const struct pki_entity *entity);

/* folder_write (folder.h), readable by the owner alone. */
char *pki_write(const char *folder, const char *name, struct str text);

#endif
